//! Takes calls in, places them, and knows all that are up.

use super::classify::Exemplars;
use super::dial_policy::{Approved, Callee};
use super::fallback::whole_line;
use super::gateway::CallerIdentity;
use super::line::describe;
use super::outbound::{Outbound, place};
use super::session::{Session, SessionSeed};
use super::sounds::Sounds;
use super::switchboard::{Switchboard, Takeover};
use super::{CallEvent, EventStream, Gateway, Line, LineError, LineEvent, NumberFormat, Unanswered};
use crate::agent::Agent;
use crate::base::{CallId, Pii, Random, SampleRate};
use crate::media::{LegMode, Workers};
use crate::net::{Arrival, Inbox, LegEvents, Sip};
use crate::providers::{Embedder, ProviderError, SpeechToText, TextToSpeech, VoiceDetector};
use crate::sdp::Codec;
use crate::sip::event::{EndCause, Header, IncomingCall, Party, Peer, RegistrationState};
use crate::sip::{DialogPolicy, RegistrationId, Uri};
use crate::tools::{CallBudget, HttpTools, ToolSet};
use crate::turn::TurnSettings;
use std::collections::HashMap;
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
        whole_line(engines.tts.as_ref(), SPARE_LINE, speed).await
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

/// What a caller gets before its call is answered.
#[derive(Clone, Debug, Default)]
pub enum BeforeAnswer {
    /// Nothing: the agent answers at once.
    #[default]
    Nothing,
    /// Its phone rings for this long (180).
    Ringing(Duration),
    /// It hears this once as early media (183), 8 kHz: an announcement that costs it nothing. Callers whose phone made
    /// no offer hear ringing.
    Announcement(Arc<[i16]>),
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
    /// What callers get before the agent answers.
    pub before_answer: BeforeAnswer,
    /// How numbers are written in calls to it.
    pub numbers: NumberFormat,
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
            before_answer: BeforeAnswer::default(),
            numbers: NumberFormat::default(),
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
    /// What callers hear while nobody talks to them.
    pub sounds: Sounds,
}

/// A call to place.
pub struct Dial {
    /// What talks when the callee answers.
    pub route: Route,
    /// The way out.
    pub gateway: Arc<Gateway>,
    /// Whom to call.
    pub to: Approved,
    /// Whom the call says it is from; `None` takes the gateway's identity.
    pub identity: Option<CallerIdentity>,
    /// Further header fields of the INVITE.
    pub headers: Vec<(String, String)>,
    /// How long to let it ring.
    pub ring_for: Duration,
}

/// See the module. Share it with an [`Arc`].
pub struct Supervisor {
    switchboard: Arc<Switchboard>,
    events: EventStream,
    trunks: HashMap<String, Route>,
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
            switchboard: Switchboard::new(sip, workers, config.gateways, config.sounds),
            events,
            trunks: config.trunks,
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
        self.switchboard.gateways.get(name)
    }

    /// The agent that answers a trunk's calls.
    #[must_use]
    pub fn trunk_agent(&self, name: &str) -> Option<&str> {
        self.trunks.get(name).map(|route| route.agent.as_str())
    }

    /// Calls that are up or being answered.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// The media workers.
    #[must_use]
    pub fn workers(&self) -> &Arc<Workers> {
        &self.switchboard.workers
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

    /// The latest state of the registration of this extension or trunk.
    #[must_use]
    pub fn registration_state(&self, name: &str) -> Option<RegistrationState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
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

    /// Places a call and drives it to its end; returns when it is over. Dropping the future gives the call up.
    ///
    /// # Errors
    /// The callee did not answer, and why in words: busy, declined, no answer, …
    pub async fn dial(self: &Arc<Self>, dial: Dial) -> Result<(), LineError> {
        let _count = Count::new(self);
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let asked = Instant::now();
        let Dial { route, gateway, to, identity, headers, ring_for } = dial;
        let called = match to.callee() {
            Callee::Number(number) => number.clone(),
            Callee::Address(uri) => uri.view().user().unwrap_or_default().to_owned(),
        };
        let outbound = Outbound { identity, headers, ring_for, ..Outbound::to(to) };
        let ring = self.ring_out(call, &gateway, &outbound, mode(&route.program));
        let answered = tokio::time::timeout(ring_for, ring).await;
        let (line, answer) =
            answered.unwrap_or(Err(LineError::NotAnswered(Unanswered::NoAnswer))).inspect_err(|error| {
                self.events.send(CallEvent::CallUnanswered { call, reason: error.to_string() });
            })?;
        let called = Pii::new(called);
        let mut variables = vec![("called_number".to_owned(), called.clone())];
        variables.extend(header_variables(&answer, &route));
        let started = Started {
            call,
            line,
            route,
            gateway,
            variables,
            direction: "outbound",
            setup: asked.elapsed(),
            caller_name: Some(called),
            called_number: None,
        };
        self.drive(started).await;
        Ok(())
    }

    /// Places a call and waits for the answer, telling what happens until then.
    async fn ring_out(
        &self,
        call: CallId,
        gateway: &Gateway,
        outbound: &Outbound,
        mode: LegMode,
    ) -> Result<(Line, Vec<Header>), LineError> {
        let Switchboard { sip, workers, .. } = &*self.switchboard;
        let mut line = place(sip, workers, gateway, outbound, mode).await?;
        loop {
            let (code, early_media) = match line.next().await {
                Some(LineEvent::Answered(headers)) => return Ok((line, headers)),
                Some(LineEvent::Ended(cause)) => return Err(LineError::NotAnswered(line.unanswered(&cause))),
                Some(LineEvent::Ringing(code)) => (code, false),
                Some(LineEvent::EarlyMedia(code)) => (code, true),
                Some(_) => continue,
                None => {
                    while line.media.uplink.try_pop().is_some() {}
                    while line.media.events.try_pop().is_some() {}
                    continue;
                }
            };
            self.events.send(CallEvent::CallProgress { call, code, early_media });
        }
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
        self.note_registration_state(&name, state);
    }

    /// Takes note of where the registration of the extension or trunk `name` stands. Whoever looks up its registrar says
    /// so here when that fails; everything else comes from the endpoint.
    pub fn note_registration_state(&self, name: &str, state: RegistrationState) {
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
        self.events.send(CallEvent::Registration { extension: name.to_owned(), state: word, detail });
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), state);
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
        if let Some(replaced) = incoming.replaces {
            let Some(mode) = self.switchboard.mode_of(replaced) else {
                return self.refuse(call, &incoming, 481, "nobody holds the call that this one wants to replace");
            };
            match self.pick_up(&incoming, events, &route.terms, mode).await {
                Ok(line) => self.switchboard.hand(Takeover { replaced, line }),
                Err(error) => self.refuse_for(call, &incoming, &error),
            }
            return;
        }
        let line = match self.pick_up(&incoming, events, &route.terms, mode(&route.program)).await {
            Ok(line) => line,
            Err(error) => return self.refuse_for(call, &incoming, &error),
        };
        let variables = variables(&incoming, &route);
        let gateway = self.gateway(&route.peer).cloned().unwrap_or_else(|| {
            let terms = route.terms.clone();
            Arc::new(Gateway::back_to(&route.peer, incoming.transport, incoming.source, &called, terms))
        });
        let started = Started {
            call,
            line,
            route,
            gateway,
            variables,
            direction: "inbound",
            setup: arrived.elapsed(),
            caller_name: Some(name_of(&incoming.from)).filter(|name| !name.expose().is_empty()),
            called_number: Some(Pii::new(called)).filter(|number| !number.expose().is_empty()),
        };
        self.drive(started).await;
    }

    /// Answers a call, after what its caller is to hear before.
    async fn pick_up(
        &self,
        incoming: &IncomingCall,
        events: LegEvents,
        terms: &PeerTerms,
        mode: LegMode,
    ) -> Result<Line, LineError> {
        let Switchboard { sip, workers, .. } = &*self.switchboard;
        let line = Line::prepare(sip, incoming, events, workers, &terms.codecs, mode, &mut Random::system())?;
        let mut line = line.with_digits(terms.digits);
        let wait = match &terms.before_answer {
            BeforeAnswer::Nothing => Duration::ZERO,
            BeforeAnswer::Ringing(wait) => {
                line.ring();
                *wait
            }
            BeforeAnswer::Announcement(samples) => {
                line.progress();
                line.media.set_background(Some(Arc::clone(samples)))?;
                SampleRate::NARROWBAND.duration_of(samples.len())
            }
        };
        if !wait.is_zero() {
            let gone = async {
                loop {
                    match line.next().await {
                        Some(LineEvent::Ended(cause)) => return cause,
                        Some(_) => {}
                        None => {
                            while line.media.uplink.try_pop().is_some() {}
                            while line.media.events.try_pop().is_some() {}
                        }
                    }
                }
            };
            if let Ok(cause) = tokio::time::timeout(wait, gone).await {
                return Err(LineError::NotAnswered(Unanswered::of(&cause)));
            }
            line.media.set_background(None)?;
        }
        line.pick_up().await?;
        Ok(line)
    }

    fn refuse_for(&self, call: CallId, incoming: &IncomingCall, error: &LineError) {
        self.refuse_with(call, incoming, error.sip_status(), &error.to_string(), error.warning());
    }

    fn refuse(&self, call: CallId, incoming: &IncomingCall, code: u16, reason: &str) {
        self.refuse_with(call, incoming, code, reason, None);
    }

    fn refuse_with(&self, call: CallId, incoming: &IncomingCall, code: u16, reason: &str, warning: Option<String>) {
        tracing::info!(%call, code, reason, "call_refused");
        self.events.send(CallEvent::CallRefused { call, code, reason: reason.to_owned() });
        let leg = incoming.leg;
        self.switchboard.sip.post(move |endpoint, now| {
            let retry = (code == 503).then_some(("Retry-After", "10"));
            let warning = warning.as_deref().map(|warning| ("Warning", warning));
            let headers: Vec<(&str, &str)> = retry.into_iter().chain(warning).collect();
            // The caller may have hung up meanwhile.
            let _ = endpoint.reject(now, leg, code, &headers);
        });
    }

    async fn drive(&self, started: Started) {
        let Started { call, line, route, gateway, variables, direction, setup, caller_name, called_number } = started;
        tracing::info!(%call, direction, peer = route.peer, agent = route.agent, "call_started");
        self.events.send(CallEvent::CallStarted {
            call,
            direction,
            peer: route.peer,
            agent: route.agent,
            codec: line.codec().map_or_else(|| "pending".to_owned(), |c| c.to_string()),
            setup,
        });
        match route.program {
            Program::Agent(agent, engines) => {
                let seed = SessionSeed {
                    call,
                    line,
                    setup: agent,
                    engines,
                    events: self.events.clone(),
                    variables,
                    switchboard: Arc::clone(&self.switchboard),
                    gateway,
                    caller_name,
                    called_number,
                    terms: route.terms,
                };
                Session::new(seed).run().await;
            }
            Program::Echo => echo(call, line, &self.switchboard, &self.events).await,
        }
    }
}

/// A call that is up, with all that its driver needs.
struct Started {
    call: CallId,
    line: Line,
    route: Route,
    gateway: Arc<Gateway>,
    variables: Vec<(String, Pii<String>)>,
    direction: &'static str,
    setup: Duration,
    caller_name: Option<Pii<String>>,
    called_number: Option<Pii<String>>,
}

/// The caller's name, or its number where it gave none.
fn name_of(from: &Pii<Party>) -> Pii<String> {
    let Party { display, uri } = from.expose();
    let number = || crate::sip::uri::unescaped(uri.view().user().unwrap_or_default());
    Pii::new(display.clone().filter(|name| !name.is_empty()).unwrap_or_else(number))
}

fn mode(program: &Program) -> LegMode {
    match program {
        Program::Agent(..) => LegMode::Agent,
        Program::Echo => LegMode::Echo,
    }
}

fn variables(incoming: &IncomingCall, route: &Route) -> Vec<(String, Pii<String>)> {
    let user = |uri: &Uri| Pii::new(crate::sip::uri::unescaped(uri.view().user().unwrap_or_default()));
    let mut all = vec![
        ("caller_number".to_owned(), user(&incoming.from.expose().uri)),
        ("caller_name".to_owned(), Pii::new(incoming.from.expose().display.clone().unwrap_or_default())),
        ("called_number".to_owned(), user(&incoming.to.expose().uri)),
    ];
    all.extend(header_variables(&incoming.headers, route));
    all
}

/// The headers that the peer's profile and the agent want, as variables `sip_<name>`.
fn header_variables(headers: &[Header], route: &Route) -> Vec<(String, Pii<String>)> {
    let of_agent = match &route.program {
        Program::Agent(setup, _) => setup.header_variables.as_slice(),
        Program::Echo => &[],
    };
    let mut all: Vec<(String, Pii<String>)> = Vec::new();
    for wanted in route.terms.header_variables.iter().chain(of_agent) {
        let variable = format!("sip_{}", wanted.to_lowercase().replace('-', "_"));
        let value = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone());
        if let Some(value) = value.filter(|_| all.iter().all(|(known, _)| *known != variable)) {
            all.push((variable, value));
        }
    }
    all
}

async fn echo(call: CallId, mut line: Line, switchboard: &Arc<Switchboard>, events: &EventStream) {
    let started = Instant::now();
    let (mut seat, mut takeovers) = switchboard.seat(line.leg, LegMode::Echo);
    let cause = loop {
        tokio::select! {
            event = line.next() => match event {
                Some(LineEvent::Ended(cause)) => break cause,
                Some(LineEvent::TransferRequested(_)) => super::referral::refuse(&line),
                Some(_) => {}
                None => while line.media.events.try_pop().is_some() {},
            },
            Some(takeover) = takeovers.recv() => {
                seat.release(line.leg);
                seat.hold(takeover.line.leg);
                // Dropping the old line hangs it up.
                line = takeover.line;
                events.send(CallEvent::LegReplaced { call, by: "replaces" });
            }
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
