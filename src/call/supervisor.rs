//! Takes calls in, places them, and knows all that are up.

use super::classify::Exemplars;
use super::fallback::spare_line;
use super::line::describe;
use super::session::{Session, SessionSeed};
use super::{CallEvent, EventStream, Gateway, Line, LineError, LineEvent};
use crate::agent::Agent;
use crate::base::{CallId, Pii, Random};
use crate::media::{LegMode, Workers};
use crate::net::{Arrival, Inbox, LegEvents, Sip};
use crate::providers::{Embedder, ProviderError, SpeechToText, TextToSpeech, VoiceDetector};
use crate::sdp::Codec;
use crate::sip::event::{EndCause, IncomingCall, Peer, RegistrationState};
use crate::sip::{DialogPolicy, LegId, OutgoingInvite, RegistrationId, Uri};
use crate::tools::{CallBudget, HttpTools, ToolSet};
use crate::turn::TurnSettings;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What a caller is told when nothing can be synthesised at that moment.
const SPARE_LINE: &str = "I'm sorry, I can't speak with you at the moment. Please call again in a few minutes.";

/// The engines that all calls share.
#[derive(Clone)]
pub struct Engines {
    /// Speech to text.
    pub stt: Arc<dyn SpeechToText>,
    /// Text to speech.
    pub tts: Arc<dyn TextToSpeech>,
    /// Intents.
    pub embedder: Arc<dyn Embedder>,
    /// Neural voice activity.
    pub voice: Arc<dyn VoiceDetector>,
    /// Embeddings of the agents' example phrases.
    pub exemplars: Arc<Exemplars>,
}

/// An agent, ready to take calls.
pub struct AgentSetup {
    /// The checked agent file.
    pub agent: Arc<Agent>,
    /// Its tools' closed list.
    pub tool_set: Arc<ToolSet>,
    /// The client that runs them.
    pub tools: Arc<HttpTools>,
    /// The waits of turn-taking.
    pub turn: TurnSettings,
    /// Pace of the voice.
    pub speed: f32,
    /// Headers of the INVITE that become variables `sip_<name>`.
    pub header_variables: Vec<String>,
    /// Time zone of the business.
    pub time_zone: jiff::tz::TimeZone,
    /// What one call may spend on tools.
    pub budget: CallBudget,
    /// What the caller hears when text-to-speech is down.
    pub spare_line: Arc<[i16]>,
}

impl AgentSetup {
    /// Local time of the business.
    #[must_use]
    pub fn local_time(&self) -> jiff::Zoned {
        jiff::Timestamp::now().to_zoned(self.time_zone.clone())
    }

    /// Synthesises the spare line of an agent.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn synthesise_spare_line(engines: &Engines, speed: f32) -> Result<Arc<[i16]>, ProviderError> {
        spare_line(engines.tts.as_ref(), SPARE_LINE, speed).await
    }
}

/// What answers a call.
#[derive(Clone)]
pub enum Program {
    /// An agent file with its engines.
    Agent(Arc<AgentSetup>, Engines),
    /// The caller hears themselves: for line checks and load tests.
    Echo,
}

/// How a call is handed over to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TransferBy {
    /// REFER; where the peer refuses it, a second call of ours that is bridged with the first.
    #[default]
    ReferThenBridge,
    /// REFER alone: the call comes back to the agent where the peer refuses it.
    Refer,
    /// A second call of ours, bridged with the first.
    Bridge,
}

/// How a peer's keys come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigitsBy {
    /// RTP telephone-events (RFC 4733); SIP INFO counts as well where no events were agreed.
    #[default]
    Rfc4733,
    /// SIP INFO; RTP events, which the peer sends as well, are not counted twice.
    Info,
    /// Tones in the audio.
    Inband,
}

/// What a peer wants otherwise than others: the part of its profile that calls need.
#[derive(Clone, Debug)]
pub struct PeerTerms {
    /// Codecs, best first.
    pub codecs: Vec<Codec>,
    /// Header of a REFER that carries the context of a transfer to the human; `None` sends none.
    pub context_header: Option<String>,
    /// Transfers to a number name it as `tel:` instead of `sip:`.
    pub refer_as_tel: bool,
    /// A REFER carries `Diversion` (RFC 5806) with the number that was called.
    pub refer_with_diversion: bool,
    /// How calls are handed over.
    pub transfer: TransferBy,
    /// How keys come.
    pub digits: DigitsBy,
    /// Headers of the INVITE, by name, that become variables `sip_<name>` of the call.
    pub header_variables: Vec<String>,
    /// What calls of this peer may do; goes into INVITEs of ours as well.
    pub dialog: DialogPolicy,
    /// The called numbers that are served; empty serves all.
    pub called_numbers: Vec<String>,
}

impl Default for PeerTerms {
    fn default() -> Self {
        Self {
            codecs: Codec::ALL.to_vec(),
            context_header: Some("X-Offhook-Context".to_owned()),
            refer_as_tel: false,
            refer_with_diversion: false,
            transfer: TransferBy::default(),
            digits: DigitsBy::default(),
            header_variables: Vec::new(),
            dialog: DialogPolicy::default(),
            called_numbers: Vec::new(),
        }
    }
}

/// Where a peer's calls go.
#[derive(Clone)]
pub struct Route {
    /// The extension's or trunk's name.
    pub peer: String,
    /// The agent's name.
    pub agent: String,
    /// What answers.
    pub program: Program,
    /// The peer's ways.
    pub terms: PeerTerms,
}

/// The routes of a server.
#[derive(Default)]
pub struct SupervisorConfig {
    /// Calls of known peers, by the peer's name.
    pub trunks: HashMap<String, Route>,
    /// The ways out, by the name of the extension or trunk.
    pub gateways: HashMap<String, Arc<Gateway>>,
}

/// A call to place.
pub struct Dial {
    /// What talks when the callee answers.
    pub route: Route,
    /// Makes the INVITE out of our offer.
    pub prepare: Box<dyn FnOnce(Vec<u8>) -> OutgoingInvite + Send>,
    /// The address our SDP names towards this peer.
    pub local_ip: IpAddr,
    /// Host and port that transfers to an extension are addressed to, without a user.
    pub transfer_base: Uri,
}

/// See the module. Share it with an [`Arc`].
pub struct Supervisor {
    sip: Sip,
    workers: Arc<Workers>,
    events: EventStream,
    trunks: HashMap<String, Route>,
    gateways: HashMap<String, Arc<Gateway>>,
    registrations: Mutex<HashMap<RegistrationId, Route>>,
    states: Mutex<HashMap<String, RegistrationState>>,
    next_call: AtomicU64,
    active: AtomicUsize,
    changed: Notify,
}

impl Supervisor {
    /// A supervisor without calls.
    #[must_use]
    pub fn new(sip: Sip, workers: Arc<Workers>, events: EventStream, config: SupervisorConfig) -> Arc<Self> {
        Arc::new(Self {
            sip,
            workers,
            events,
            trunks: config.trunks,
            gateways: config.gateways,
            registrations: Mutex::default(),
            states: Mutex::default(),
            next_call: AtomicU64::new(1),
            active: AtomicUsize::new(0),
            changed: Notify::new(),
        })
    }

    /// Calls of this registration go to `route`. Say so before the first call can come.
    pub fn route_registration(&self, registration: RegistrationId, route: Route) {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner).insert(registration, route);
    }

    /// The way out through an extension or trunk.
    #[must_use]
    pub fn gateway(&self, name: &str) -> Option<&Arc<Gateway>> {
        self.gateways.get(name)
    }

    /// Calls that are up or being answered.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// The media workers.
    #[must_use]
    pub fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// Waits until no call is up.
    pub async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.active_calls() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The latest state of every registration, by the extension's name.
    #[must_use]
    pub fn registration_states(&self) -> HashMap<String, RegistrationState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a change of calls or registrations.
    pub async fn change(&self) {
        self.changed.notified().await;
    }

    /// Serves arrivals until the network side ends.
    pub async fn run(self: Arc<Self>, mut inbox: Inbox) {
        while let Some(arrival) = inbox.recv().await {
            match arrival {
                Arrival::Call(call, events) => {
                    let supervisor = Arc::clone(&self);
                    self.spawn(async move { supervisor.take(*call, events).await });
                }
                Arrival::Registration(id, state) => self.note_registration(id, state),
            }
        }
    }

    /// Places a call and drives it to its end; returns when it is over.
    ///
    /// # Errors
    /// The callee did not answer.
    pub async fn dial(self: &Arc<Self>, dial: Dial) -> Result<(), LineError> {
        let _count = Count::new(self);
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let asked = Instant::now();
        let mut random = Random::system();
        let mode = mode(&dial.route.program);
        let codecs = dial.route.terms.codecs.clone();
        let line =
            Line::dial(&self.sip, dial.local_ip, &self.workers, &codecs, mode, &mut random, dial.prepare).await?;
        self.drive(call, line, dial.route, Vec::new(), "outbound", asked.elapsed(), dial.transfer_base).await;
        Ok(())
    }

    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let count = Count::new(self);
        tokio::spawn(async move {
            let _count = count;
            work.await;
        });
    }

    fn note_registration(&self, id: RegistrationId, state: RegistrationState) {
        let name = {
            let registrations = self.registrations.lock().unwrap_or_else(PoisonError::into_inner);
            registrations.get(&id).map_or_else(|| id.to_string(), |route| route.peer.clone())
        };
        let (word, detail) = match &state {
            RegistrationState::Registering => ("registering", String::new()),
            RegistrationState::Registered { expires_at, contact } => {
                let seconds = expires_at.saturating_duration_since(Instant::now()).as_secs();
                ("registered", format!("reachable at {contact}, granted for {seconds} s"))
            }
            RegistrationState::Failed { reason, .. } => ("failed", reason.clone()),
            RegistrationState::Unregistered => ("unregistered", String::new()),
        };
        match &state {
            RegistrationState::Failed { .. } => {
                tracing::warn!(extension = name, reason = detail, "registration_failed")
            }
            _ => tracing::info!(extension = name, detail, "registration_{word}"),
        }
        self.events.send(CallEvent::Registration { extension: name.clone(), state: word, detail });
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(name, state);
        self.changed.notify_waiters();
    }

    async fn take(self: Arc<Self>, incoming: IncomingCall, events: LegEvents) {
        let arrived = Instant::now();
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let route = match &incoming.peer {
            Peer::Known(name) => self.trunks.get(name).cloned(),
            Peer::Registration(id) => {
                self.registrations.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
            }
        };
        let Some(route) = route else {
            return self.refuse(call, &incoming, 404, "no agent is assigned to this trunk or extension");
        };
        let called = incoming.request_uri.expose().view().user().unwrap_or_default().to_owned();
        if !route.terms.called_numbers.is_empty() && !route.terms.called_numbers.contains(&called) {
            return self.refuse(call, &incoming, 404, "the called number is not served on this trunk");
        }
        let mut random = Random::system();
        let (codecs, mode) = (&route.terms.codecs, mode(&route.program));
        let answered = Line::answer(&self.sip, &incoming, events, &self.workers, codecs, mode, &mut random).await;
        let line = match answered {
            Ok(line) => line,
            Err(error) => return self.refuse(call, &incoming, error.sip_status(), &error.to_string()),
        };
        let variables = variables(&incoming, &route.program);
        let transfer_base = Uri::sip_address(incoming.source);
        self.drive(call, line, route, variables, "inbound", arrived.elapsed(), transfer_base).await;
    }

    fn refuse(&self, call: CallId, incoming: &IncomingCall, code: u16, reason: &str) {
        tracing::info!(%call, code, reason, "call_refused");
        self.events.send(CallEvent::CallRefused { call, code, reason: reason.to_owned() });
        let leg = incoming.leg;
        self.sip.post(move |endpoint, now| {
            let headers: &[(&str, &str)] = if code == 503 { &[("Retry-After", "10")] } else { &[] };
            // The caller may have hung up meanwhile.
            let _ = endpoint.reject(now, leg, code, headers);
        });
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where all parts of a call meet")]
    async fn drive(
        &self,
        call: CallId,
        line: Line,
        route: Route,
        variables: Vec<(String, Pii<String>)>,
        direction: &'static str,
        setup: Duration,
        transfer_base: Uri,
    ) {
        tracing::info!(%call, direction, peer = route.peer, agent = route.agent, "call_started");
        self.events.send(CallEvent::CallStarted {
            call,
            direction,
            peer: route.peer,
            agent: route.agent,
            codec: line.codec().map_or_else(|| "pending".to_owned(), |c| c.to_string()),
            setup,
        });
        let guard = HangUp { sip: self.sip.clone(), leg: line.leg };
        match route.program {
            Program::Agent(agent, engines) => {
                let events = self.events.clone();
                let seed = SessionSeed {
                    call,
                    line,
                    setup: agent,
                    engines,
                    events,
                    variables,
                    transfer_base,
                    terms: route.terms,
                };
                Session::new(seed).run().await;
            }
            Program::Echo => echo(call, line, &self.events).await,
        }
        drop(guard);
    }
}

fn mode(program: &Program) -> LegMode {
    match program {
        Program::Agent(..) => LegMode::Agent,
        Program::Echo => LegMode::Echo,
    }
}

fn variables(incoming: &IncomingCall, program: &Program) -> Vec<(String, Pii<String>)> {
    let user = |uri: &Uri| Pii::new(crate::sip::uri::unescaped(uri.view().user().unwrap_or_default()));
    let mut all = vec![
        ("caller_number".to_owned(), user(&incoming.from.expose().uri)),
        ("caller_name".to_owned(), Pii::new(incoming.from.expose().display.clone().unwrap_or_default())),
        ("called_number".to_owned(), user(&incoming.to.expose().uri)),
    ];
    if let Program::Agent(setup, _) = program {
        for wanted in &setup.header_variables {
            if let Some((_, value)) = incoming.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)) {
                all.push((format!("sip_{}", wanted.to_lowercase().replace('-', "_")), value.clone()));
            }
        }
    }
    all
}

async fn echo(call: CallId, mut line: Line, events: &EventStream) {
    let started = Instant::now();
    let cause = loop {
        match line.next().await {
            Some(LineEvent::Ended(cause)) => break cause,
            Some(_) => {}
            None => while line.media.events.try_pop().is_some() {},
        }
    };
    let stats = line.media.stats();
    events.send(CallEvent::CallEnded {
        call,
        reason: describe(&cause),
        completed: cause == EndCause::Remote,
        duration: started.elapsed(),
        media: vec![
            ("sent", stats.sent),
            ("received", stats.received),
            ("lost", stats.lost),
            ("rejected", stats.rejected),
        ],
    });
}

/// Ends the leg when its driver is gone, by a bug or by a panic: no zombie call.
struct HangUp {
    sip: Sip,
    leg: LegId,
}

impl Drop for HangUp {
    fn drop(&mut self) {
        let leg = self.leg;
        self.sip.post(move |endpoint, now| {
            // Usually the leg has ended already.
            let _ = endpoint.hangup(now, leg, &[]);
        });
    }
}

/// Counts a call while it lives.
struct Count(Arc<Supervisor>);

impl Count {
    fn new(supervisor: &Arc<Supervisor>) -> Self {
        supervisor.active.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(supervisor))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}
