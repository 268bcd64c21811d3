//! Takes calls in, places them, and knows all that are up.

use super::bot::{BotCall, BotThreads, Connecting};
use super::dial_policy::{Approved, Callee};
use super::gateway::CallerIdentity;
use super::legs::{Counterpart, Legs};
use super::line::describe;
use super::outbound::{Outbound, place};
use super::quality::{self, NEAR, QUALITY_INTERVAL};
use super::recording::Recordings;
use super::session::Session;
use super::sounds::{Sounds, at_rate};
use super::switchboard::{CallFacts, CallStanding, Switchboard, Takeover};
use super::terms::{BeforeAnswer, PeerTerms, Program, Route};
use super::{CallEvent, EventStream, Gateway, Line, LineError, LineEvent, Unanswered};
use crate::base::{CallId, Pii, Random, SampleRate};
use crate::media::{LegMode, Workers};
use crate::net::{Arrival, Inbox, LegEvents, Sip};
use crate::sip::event::{EndCause, Header, IncomingCall, Party, Peer, RegistrationState};
use crate::sip::{RegistrationId, Uri};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The routes of a server.
#[derive(Default)]
pub struct SupervisorConfig {
    /// Calls of known peers, by the peer's name.
    pub trunks: HashMap<String, Route>,
    /// Known peers that calls cannot be told apart from by address, by the peer's name: the called number decides.
    pub neighbours: HashMap<String, Vec<String>>,
    /// The ways out, by the name of the extension or trunk.
    pub gateways: HashMap<String, Arc<Gateway>>,
    /// What callers hear while nobody talks to them.
    pub sounds: Sounds,
    /// Where calls are recorded, if they are.
    pub recordings: Option<Recordings>,
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
    recordings: Option<Recordings>,
    trunks: HashMap<String, Route>,
    neighbours: HashMap<String, Vec<String>>,
    registrations: Mutex<HashMap<RegistrationId, Route>>,
    states: Mutex<HashMap<String, RegistrationState>>,
    bots: BotThreads,
    next_call: AtomicU64,
    active: AtomicUsize,
    changed: Notify,
}

impl Supervisor {
    /// A supervisor without calls.
    #[must_use]
    pub fn new(sip: Sip, workers: Arc<Workers>, events: EventStream, config: SupervisorConfig) -> Arc<Self> {
        Arc::new(Self {
            bots: BotThreads::new(workers.count()),
            switchboard: Switchboard::new(sip, workers, config.gateways, config.sounds),
            events,
            recordings: config.recordings,
            trunks: config.trunks,
            neighbours: config.neighbours,
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

    /// The calls that are up, in the order they began, with how their lines sound at this moment. A call that is still
    /// being answered is not among them.
    #[must_use]
    pub fn calls(&self) -> Vec<CallStanding> {
        self.switchboard.calls()
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
                    self.spawn(async move {
                        // What answering takes is freed before the call goes on for long.
                        if let Some(started) = Box::pin(Arc::clone(&supervisor).take(*call, events)).await {
                            supervisor.drive(started).await;
                        }
                    });
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
        let mut begun = None;
        let ring = self.ring_out(call, &gateway, &outbound, &route.program, &mut begun);
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
            begun,
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
        program: &Program,
        begun: &mut Option<Connecting>,
    ) -> Result<(Line, Vec<Header>), LineError> {
        let Switchboard { sip, workers, .. } = &*self.switchboard;
        let mut line = place(sip, workers, gateway, outbound, mode(program)).await?;
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
            if begun.is_none() {
                *begun = reach_outside(program);
            }
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

    /// The trunk that a call from the known peer `name` is for: itself, or the neighbour that serves the called number.
    fn trunk_for(&self, name: &str, called: &str) -> Option<&Route> {
        let own = self.trunks.get(name);
        if own.is_some_and(|route| serves(route, called)) {
            return own;
        }
        let others = self.neighbours.get(name).into_iter().flatten().filter_map(|name| self.trunks.get(name));
        others.into_iter().find(|route| serves(route, called)).or(own)
    }

    /// Answers a call; `None` when it was refused, or was one leg's replacement.
    async fn take(self: Arc<Self>, incoming: IncomingCall, events: LegEvents) -> Option<Started> {
        let arrived = Instant::now();
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let user = |uri: &Uri| uri.view().user().map(crate::sip::uri::unescaped).unwrap_or_default();
        let (route, called) = match &incoming.peer {
            Peer::Known(name) => {
                let called = user(incoming.request_uri.expose());
                (self.trunk_for(name, &called).cloned(), called)
            }
            // The Request-URI is our own Contact: the number is in To.
            Peer::Registration(id) => (
                self.registrations.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned(),
                user(&incoming.to.expose().uri),
            ),
        };
        let Some(route) = route else {
            self.refuse(call, &incoming, 404, "no agent is assigned to this trunk or extension");
            return None;
        };
        if !serves(&route, &called) {
            self.refuse(call, &incoming, 404, "the called number is not served on this trunk");
            return None;
        }
        if let Some(replaced) = incoming.replaces {
            let Some(mode) = self.switchboard.mode_of(replaced) else {
                self.refuse(call, &incoming, 481, "nobody holds the call that this one wants to replace");
                return None;
            };
            match self.pick_up(&incoming, events, &route.terms, mode).await {
                Ok(line) => self.switchboard.hand(Takeover { replaced, line: Box::new(line) }),
                Err(error) => self.refuse_for(call, &incoming, &error),
            }
            return None;
        }
        let begun = reach_outside(&route.program);
        let line = match self.pick_up(&incoming, events, &route.terms, mode(&route.program)).await {
            Ok(line) => line,
            Err(error) => {
                if let Some(begun) = begun {
                    begun.abort();
                }
                self.refuse_for(call, &incoming, &error);
                return None;
            }
        };
        let variables = variables(&incoming, &route);
        let gateway = self.gateway(&route.peer).cloned().unwrap_or_else(|| {
            let terms = route.terms.clone();
            Arc::new(Gateway::back_to(&route.peer, incoming.transport, incoming.source, &called, terms))
        });
        Some(Started {
            call,
            line,
            route,
            gateway,
            variables,
            direction: "inbound",
            setup: arrived.elapsed(),
            begun,
            caller_name: Some(name_of(&incoming.from)).filter(|name| !name.expose().is_empty()),
            called_number: Some(Pii::new(called)).filter(|number| !number.expose().is_empty()),
        })
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
        let line = Line::prepare(sip, incoming, events, workers, &terms.media, mode, &mut Random::system())?;
        let mut line = line.with_digits(terms.digits);
        let wait = match &terms.before_answer {
            BeforeAnswer::Nothing => Duration::ZERO,
            BeforeAnswer::Ringing(wait) => {
                line.ring();
                *wait
            }
            BeforeAnswer::Announcement(samples) => {
                line.progress();
                let rate = line.sample_rate();
                line.media.set_background(Some(at_rate(samples, SampleRate::NARROWBAND, rate)))?;
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
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        headers.extend(error.retry_after().map(|after| ("Retry-After", after.as_secs().to_string())));
        headers.extend(error.warning().map(|warning| ("Warning", warning)));
        self.refuse_with(call, incoming, error.sip_status(), &error.to_string(), headers);
    }

    fn refuse(&self, call: CallId, incoming: &IncomingCall, code: u16, reason: &str) {
        self.refuse_with(call, incoming, code, reason, Vec::new());
    }

    fn refuse_with(
        &self,
        call: CallId,
        incoming: &IncomingCall,
        code: u16,
        reason: &str,
        headers: Vec<(&'static str, String)>,
    ) {
        tracing::info!(%call, code, reason, "call_refused");
        self.events.send(CallEvent::CallRefused { call, code, reason: reason.to_owned() });
        let leg = incoming.leg;
        self.switchboard.sip.post(move |endpoint, now| {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            // The caller may have hung up meanwhile.
            let _ = endpoint.reject(now, leg, code, &headers);
        });
    }

    /// The rest of a call: a future of just the size that its program needs.
    fn drive(&self, started: Started) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Started { call, mut line, route, gateway, variables, direction, setup, begun, caller_name, called_number } =
            started;
        let Route { peer, agent, program, terms } = route;
        tracing::info!(%call, direction, peer, agent, "call_started");
        self.events.send(CallEvent::CallStarted {
            call,
            direction,
            peer: peer.clone(),
            agent: agent.clone(),
            codec: line.codec().map_or_else(|| "pending".to_owned(), |c| c.to_string()),
            setup,
        });
        if let Some(recordings) = &self.recordings
            && let Ok(tap) = line.media.tap()
            && !recordings.record(call, tap.sample_rate(), tap)
        {
            tracing::warn!(%call, "recording_refused");
        }
        let facts = CallFacts { call, direction, peer, agent, since: Instant::now() };
        let (switchboard, events) = (Arc::clone(&self.switchboard), self.events.clone());
        let counterpart = Counterpart { gateway, terms, caller_name, called_number };
        match program {
            Program::Agent(agent, engines) => {
                let legs = Legs::new(line, facts, counterpart, switchboard, events);
                let session = Box::new(Session::new(legs, agent, engines, variables));
                Box::pin(session.run())
            }
            Program::Bot(bot) => {
                let legs = Legs::new(line, facts, counterpart, switchboard, events);
                let bot = Box::new(BotCall::new(legs, bot, begun, direction, &variables));
                Box::pin(self.bots.host(Box::pin(bot.run())))
            }
            Program::Echo => Box::pin(echo(Box::new(line), facts, switchboard, events)),
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
    /// The connection to a bot that was begun while the phone rang.
    begun: Option<Connecting>,
    caller_name: Option<Pii<String>>,
    called_number: Option<Pii<String>>,
}

/// Begins to reach what a program needs outside, while the phone rings: its bot, its providers.
fn reach_outside(program: &Program) -> Option<Connecting> {
    match program {
        Program::Bot(setup) => Some(setup.connect()),
        Program::Agent(_, engines) => {
            engines.tts.warm();
            if let Some(llm) = &engines.llm {
                llm.warm();
            }
            None
        }
        Program::Echo => None,
    }
}

/// The caller's name, or its number where it gave none.
fn name_of(from: &Pii<Party>) -> Pii<String> {
    let Party { display, uri } = from.expose();
    let number = || crate::sip::uri::unescaped(uri.view().user().unwrap_or_default());
    Pii::new(display.clone().filter(|name| !name.is_empty()).unwrap_or_else(number))
}

/// Whether calls to this number are answered.
fn serves(route: &Route, called: &str) -> bool {
    let numbers = &route.terms.called_numbers;
    numbers.is_empty() || numbers.iter().any(|number| number == called)
}

fn mode(program: &Program) -> LegMode {
    match program {
        Program::Agent(..) => LegMode::Agent,
        Program::Bot(_) => LegMode::Relay,
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
        Program::Bot(setup) => setup.header_variables(),
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

async fn echo(mut line: Box<Line>, facts: CallFacts, switchboard: Arc<Switchboard>, events: EventStream) {
    let (call, started) = (facts.call, facts.since);
    let (mut seat, mut takeovers) = switchboard.seat(&line, LegMode::Echo, facts);
    let mut due = tokio::time::interval_at((started + QUALITY_INTERVAL).into(), QUALITY_INTERVAL);
    let tell =
        |line: &Line| events.send(CallEvent::MediaQuality { call, leg: NEAR, quality: Box::new(line.quality()) });
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
                seat.hold(NEAR, &takeover.line);
                // Dropping the old line hangs it up.
                line = takeover.line;
                events.send(CallEvent::LegReplaced { call, by: "replaces" });
            }
            _ = due.tick() => tell(&line),
        }
    };
    tell(&line);
    events.send(CallEvent::CallEnded {
        call,
        reason: describe(&cause),
        completed: cause == EndCause::Remote,
        duration: started.elapsed(),
        media: quality::near_figures(&line.media.stats()),
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
