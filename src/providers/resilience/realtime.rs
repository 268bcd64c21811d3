//! Speech-to-speech providers in order: when a session fails for good, the next provider opens one and is told what was
//! said. When it is late with what it owes the call, the next one is asked besides, and whoever speaks first serves. A
//! provider that is alone is asked once more itself, over a fresh session, and given up where that is late too.

mod caller;
mod debt;
#[cfg(test)]
mod tests;

use super::{Member, may_do_better, pick};
use crate::base::Pii;
use crate::base::chat::{Message, ToolSpec};
use crate::providers::limits::LAST_TRY;
use crate::providers::realtime::{
    AnswerId, Patience, RealtimeCapabilities, RealtimeEvent, RealtimeRequest, RealtimeSession, RealtimeStream,
    SpeechToSpeech, TurnsBy,
};
use crate::providers::{Meter, ProviderError, ProviderName};
use caller::{Caller, Change};
use debt::{Debt, TAPE};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Events between us and the call.
const EVENTS: usize = 256;
/// Messages told to the provider that takes over: the last of them.
const MESSAGES_MAX: usize = 40;
/// Events of a provider that is asked besides, until it is known whether it serves; more come of none that has not spoken.
const WAITING_MAX: usize = 64;
/// Providers tried again after all have failed once, this long after the first of them.
const SECOND_ROUND: Duration = Duration::from_secs(30);

/// Speech-to-speech providers in order, as one. Never empty.
pub struct SteadySpeechToSpeech {
    members: Arc<[Member<dyn SpeechToSpeech>]>,
}

impl SteadySpeechToSpeech {
    /// The first that is well serves. `None` without any.
    #[must_use]
    pub fn new(members: Vec<Member<dyn SpeechToSpeech>>) -> Option<Self> {
        (!members.is_empty()).then(|| Self { members: members.into() })
    }

    fn first(&self) -> Option<&Arc<dyn SpeechToSpeech>> {
        self.members.first().map(|member| &member.provider)
    }
}

fn open(
    members: &[Member<dyn SpeechToSpeech>],
    request: &RealtimeRequest,
    tried: &mut Vec<usize>,
) -> Result<(usize, RealtimeSession), ProviderError> {
    let mut failure = ProviderError::Stopped { provider: "every provider".into() };
    while let Some(place) = pick(members, tried) {
        tried.push(place);
        let Some(member) = members.get(place) else { break };
        let mut request = request.clone();
        if place > 0 {
            // The voice of the agent file is one of the first provider's.
            request.voice = None;
        }
        match member.provider.open(request) {
            Ok(session) => return Ok((place, session)),
            Err(error) => {
                member.health.failed(&error);
                failure = error;
            }
        }
    }
    Err(failure)
}

fn reports(members: &[Member<dyn SpeechToSpeech>], place: usize) -> bool {
    members.get(place).is_some_and(|member| member.provider.reports_speech())
}

impl SpeechToSpeech for SteadySpeechToSpeech {
    fn name(&self) -> ProviderName {
        self.first().map_or(ProviderName::Borrowed("none"), |first| first.name())
    }

    fn capabilities(&self) -> RealtimeCapabilities {
        let none = RealtimeCapabilities {
            formats: Vec::new(),
            local_turns: false,
            tools: false,
            truncate: false,
            update: false,
        };
        self.first().map_or(none, |first| first.capabilities())
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.first().and_then(|first| first.meter())
    }

    fn open(&self, request: RealtimeRequest) -> Result<RealtimeSession, ProviderError> {
        let mut tried = Vec::new();
        let (place, (stream, inner)) = open(&self.members, &request, &mut tried)?;
        let tape_ms = u32::try_from(TAPE.as_millis()).unwrap_or(u32::MAX);
        let mut debt = Debt::new(request.rate.samples_in_ms(tape_ms));
        debt.opening(request.opening.is_some() || request.answer_due, Instant::now());
        let session = Arc::new(Mutex::new(Session {
            stream,
            rival: None,
            request,
            debt,
            caller: Caller::default(),
            reports: reports(&self.members, place),
            newest: 0,
            base: 0,
        }));
        let stirred = Arc::new(Notify::new());
        let (events, receiver) = mpsc::channel(EVENTS);
        let relay = Relay {
            session: Arc::clone(&session),
            members: Arc::clone(&self.members),
            tried,
            tried_since: Instant::now(),
            place,
            inner,
            rival: None,
            stirred: Arc::clone(&stirred),
            events,
        };
        let task = tokio::spawn(relay.run());
        Ok((Box::new(SteadyStream { session, stirred, abort: task.abort_handle() }), receiver))
    }
}

/// What the call's side and the relay share.
struct Session {
    stream: Box<dyn RealtimeStream>,
    /// Of the provider that is asked besides.
    rival: Option<Box<dyn RealtimeStream>>,
    /// What a fresh session would be opened with: grows with what is said.
    request: RealtimeRequest,
    debt: Debt,
    caller: Caller,
    /// [`SpeechToSpeech::reports_speech`] of the provider in use.
    reports: bool,
    /// The greatest answer's number so far, and that of the providers before this one: each counts from 1.
    newest: u32,
    base: u32,
}

impl Session {
    fn remember(&mut self, message: Message) {
        let mut messages = std::mem::take(&mut self.request.messages).into_exposed();
        messages.push(message);
        let excess = messages.len().saturating_sub(MESSAGES_MAX);
        messages.drain(..excess);
        // A result whose call is forgotten means nothing.
        while matches!(messages.first(), Some(Message::ToolResult { .. })) {
            messages.remove(0);
        }
        self.request.messages = Pii::new(messages);
        self.request.opening = None;
    }

    /// What another provider is opened with at this moment.
    fn request(&self) -> RealtimeRequest {
        let answer_due = self.request.opening.is_none() && self.debt.is_in_words();
        RealtimeRequest { answer_due, ..self.request.clone() }
    }
}

fn locked(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

struct SteadyStream {
    session: Arc<Mutex<Session>>,
    /// Something is owed from now on, or no longer.
    stirred: Arc<Notify>,
    abort: tokio::task::AbortHandle,
}

impl Drop for SteadyStream {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl SteadyStream {
    /// Tells whoever may serve.
    fn both(&self, tell: impl Fn(&mut dyn RealtimeStream), note: impl FnOnce(&mut Session)) {
        let mut session = locked(&self.session);
        note(&mut session);
        tell(session.stream.as_mut());
        if let Some(rival) = &mut session.rival {
            tell(rival.as_mut());
        }
    }
}

impl RealtimeStream for SteadyStream {
    fn push(&mut self, samples: &[i16]) {
        self.both(|stream| stream.push(samples), |session| session.debt.pushed(samples));
    }
    fn voice(&mut self, is_voice: bool, length: Duration) {
        let mut session = locked(&self.session);
        if session.request.turns == TurnsBy::Local {
            return;
        }
        match session.caller.heard(is_voice, length, Instant::now()) {
            None => return,
            Some(Change::Speaks) => session.debt.speaks(),
            Some(Change::Finished(said)) => {
                let reports = session.reports;
                if session.debt.overheard(said, reports) {
                    session.stream.probe();
                }
            }
        }
        drop(session);
        self.stirred.notify_one();
    }
    fn commit(&mut self) {
        self.both(|stream| stream.commit(), |session| session.debt.committed(Instant::now()));
        self.stirred.notify_one();
    }
    fn interrupt(&mut self, answer: AnswerId, heard: Duration) {
        let mut session = locked(&self.session);
        session.debt.void();
        session.rival = None;
        if let Some(own) = answer.0.checked_sub(session.base).filter(|own| *own > 0) {
            session.stream.interrupt(AnswerId(own), heard);
        }
        drop(session);
        self.stirred.notify_one();
    }
    fn tool_result(&mut self, call: &str, tool: &str, content: &str, failed: bool) {
        let mut session = locked(&self.session);
        session.remember(Message::ToolResult {
            call: call.to_owned(),
            tool: tool.to_owned(),
            content: Pii::new(content.to_owned()),
            failed,
        });
        session.debt.result(Instant::now());
        session.stream.tool_result(call, tool, content, failed);
        drop(session);
        self.stirred.notify_one();
    }
    fn update(&mut self, instructions: &str, tools: &[ToolSpec]) {
        self.both(
            |stream| stream.update(instructions, tools),
            |session| {
                session.request.instructions = instructions.to_owned();
                session.request.tools = tools.to_vec();
            },
        );
    }
    fn tell(&mut self, text: &str) {
        self.both(
            |stream| stream.tell(text),
            |session| {
                session.remember(Message::Caller(Pii::new(text.to_owned())));
                session.debt.told(Instant::now());
            },
        );
        self.stirred.notify_one();
    }
}

/// A provider that is asked besides the one that is late.
struct Rival {
    place: usize,
    inner: mpsc::Receiver<RealtimeEvent>,
    /// What it said so far.
    waiting: Vec<RealtimeEvent>,
}

struct Relay {
    session: Arc<Mutex<Session>>,
    members: Arc<[Member<dyn SpeechToSpeech>]>,
    tried: Vec<usize>,
    tried_since: Instant,
    place: usize,
    inner: mpsc::Receiver<RealtimeEvent>,
    rival: Option<Rival>,
    stirred: Arc<Notify>,
    events: mpsc::Sender<RealtimeEvent>,
}

impl Relay {
    async fn run(mut self) {
        loop {
            let (late_at, over_at) = (self.late_at(), locked(&self.session).debt.over_at());
            let goes_on = tokio::select! {
                biased;
                () = self.events.closed() => false,
                event = self.inner.recv() => self.on_event(event).await,
                event = of_rival(&mut self.rival) => self.on_rival(event).await,
                () = self.stirred.notified() => true,
                () = until(late_at) => {
                    self.challenge();
                    true
                }
                () = until(over_at) => self.last_try_over().await,
            };
            if !goes_on {
                return self.end();
            }
        }
    }

    /// Nobody has a verdict on who was asked last.
    fn end(&self) {
        if let Some(rival) = &self.rival {
            self.member(rival.place, |member| member.health.abandoned());
        }
    }

    fn member(&self, place: usize, tell: impl FnOnce(&Member<dyn SpeechToSpeech>)) {
        if let Some(member) = self.members.get(place) {
            tell(member);
        }
    }

    fn provider_name(&self, place: usize) -> ProviderName {
        self.members.get(place).map(|member| member.provider.name()).unwrap_or_default()
    }

    /// How long the provider in use is waited for; `None` as long as it takes.
    fn patience(&self) -> Option<Patience> {
        self.members.get(self.place)?.provider.patience()
    }

    /// When another session is to be asked besides; `None` without one.
    fn late_at(&self) -> Option<Instant> {
        let patience = self.patience().filter(|_| self.rival.is_none())?;
        let debt = &locked(&self.session).debt;
        let is_anybody_left = self.tried.len() < self.members.len() || self.is_alone() && debt.may_try_again();
        debt.late_at(patience).filter(|_| is_anybody_left)
    }

    fn is_alone(&self) -> bool {
        self.members.len() == 1
    }

    /// A provider that is alone stands behind itself, once.
    fn try_again(&mut self) {
        let (is_alone, patience) = (self.is_alone(), self.patience());
        let last_try = patience.map_or(LAST_TRY, |patience| patience.last_try);
        let debt = &mut locked(&self.session).debt;
        if is_alone && debt.may_try_again() {
            debt.tries_again(Instant::now() + last_try);
            self.tried.clear();
        }
    }

    /// Asks the next provider besides.
    fn challenge(&mut self) {
        self.try_again();
        let request = locked(&self.session).request();
        let Ok((place, (mut stream, inner))) = open(&self.members, &request, &mut self.tried) else {
            return locked(&self.session).debt.cannot_try();
        };
        let (of, to) = (self.provider_name(self.place), self.provider_name(place));
        tracing::info!(late = %of, asked = %to, "speech_to_speech_late");
        let mut session = locked(&self.session);
        session.debt.replay(stream.as_mut());
        session.rival = Some(stream);
        drop(session);
        self.rival = Some(Rival { place, inner, waiting: Vec::new() });
    }

    /// What the provider in use says. False at the end.
    async fn on_event(&mut self, event: Option<RealtimeEvent>) -> bool {
        let error = match event {
            Some(RealtimeEvent::Failed(error)) => error,
            None => ProviderError::Stopped { provider: self.provider_name(self.place) },
            Some(event) => {
                let is_answer = matches!(
                    event,
                    RealtimeEvent::Audio { .. }
                        | RealtimeEvent::AudioEnded { .. }
                        | RealtimeEvent::Call(_)
                        | RealtimeEvent::SpeechStarted
                );
                let is_session = matches!(event, RealtimeEvent::Ready) && !locked(&self.session).debt.is_answer();
                let is_life =
                    is_life(&event) && locked(&self.session).debt.lives(!matches!(event, RealtimeEvent::Alive));
                if is_answer || is_session || is_life {
                    self.drop_rival();
                }
                return self.deliver(event).await;
            }
        };
        self.member(self.place, |member| member.health.failed(&error));
        match self.rival.take() {
            Some(rival) => self.take_over(rival, None, error).await,
            None => self.change(error).await,
        }
    }

    /// The provider that is alone has had its last try. False when it is given up.
    async fn last_try_over(&self) -> bool {
        if !locked(&self.session).debt.is_lost() {
            return true;
        }
        let late = self.late();
        self.member(self.place, |member| member.health.failed(&late));
        let _ = self.events.send(RealtimeEvent::Failed(late)).await;
        false
    }

    /// The provider in use has failed, and nobody is asked besides.
    async fn change(&mut self, error: ProviderError) -> bool {
        if self.tried_since.elapsed() >= SECOND_ROUND {
            self.tried = vec![self.place];
            self.tried_since = Instant::now();
        }
        if may_do_better(&error) {
            self.try_again();
        }
        let request = locked(&self.session).request();
        let Ok((place, (mut stream, inner))) = open(&self.members, &request, &mut self.tried) else {
            let _ = self.events.send(RealtimeEvent::Failed(error)).await;
            return false;
        };
        {
            let mut session = locked(&self.session);
            session.debt.replay(stream.as_mut());
            session.debt.opening(request.opening.is_some(), Instant::now());
            session.rival = Some(stream);
        }
        self.take_over(Rival { place, inner, waiting: Vec::new() }, None, error).await
    }

    /// What the provider says that was asked besides.
    async fn on_rival(&mut self, event: Option<RealtimeEvent>) -> bool {
        let Some(rival) = &mut self.rival else { return true };
        let lost = match event {
            Some(RealtimeEvent::Failed(error)) => Some(error),
            None => Some(ProviderError::Stopped { provider: ProviderName::Borrowed("provider") }),
            Some(event) => {
                let is_session = matches!(event, RealtimeEvent::Ready) && !locked(&self.session).debt.is_answer();
                if is_session || matches!(event, RealtimeEvent::Audio { .. } | RealtimeEvent::Call(_)) {
                    let late = self.late();
                    self.member(self.place, |member| member.health.failed(&late));
                    let Some(rival) = self.rival.take() else { return true };
                    return self.take_over(rival, Some(event), late).await;
                }
                if matches!(event, RealtimeEvent::Ready) {
                    locked(&self.session).debt.fresh_ready();
                }
                if rival.waiting.len() < WAITING_MAX {
                    rival.waiting.push(event);
                }
                None
            }
        };
        if let Some(error) = lost {
            let place = rival.place;
            // The call has no use for it any more, where the call has dropped it.
            let is_wanted = locked(&self.session).rival.take().is_some();
            self.rival = None;
            self.member(place, |member| match is_wanted {
                true => member.health.failed(&error),
                false => member.health.abandoned(),
            });
            if !is_wanted {
                self.may_be_asked_again(place);
            }
        }
        true
    }

    /// The provider in use has paid: nobody else is needed.
    fn drop_rival(&mut self) {
        if let Some(rival) = self.rival.take() {
            locked(&self.session).rival = None;
            self.member(rival.place, |member| member.health.abandoned());
            self.may_be_asked_again(rival.place);
        }
    }

    /// Nobody needed it.
    fn may_be_asked_again(&mut self, place: usize) {
        self.tried.retain(|tried| *tried != place || *tried == self.place);
    }

    fn late(&self) -> ProviderError {
        let after = self.patience().map(|patience| patience.answer).unwrap_or_default();
        ProviderError::Timeout { provider: self.provider_name(self.place), stage: "answer", after }
    }

    /// `rival` serves from here on, with what it has said so far.
    async fn take_over(&mut self, rival: Rival, first: Option<RealtimeEvent>, error: ProviderError) -> bool {
        let from = self.provider_name(self.place);
        let knows_words = {
            let mut session = locked(&self.session);
            if let Some(stream) = session.rival.take() {
                session.stream = stream;
            }
            session.base = session.newest;
            session.reports = reports(&self.members, rival.place);
            session.debt.is_in_words()
        };
        (self.place, self.inner) = (rival.place, rival.inner);
        let to = self.provider_name(self.place);
        tracing::warn!(%from, %to, kind = error.kind(), "speech_to_speech_changed");
        if self.events.send(RealtimeEvent::FellOver { from, to }).await.is_err() {
            return false;
        }
        for event in rival.waiting.into_iter().chain(first) {
            let is_known = knows_words && matches!(event, RealtimeEvent::CallerSaid(_));
            if !is_known && !self.deliver(event).await {
                return false;
            }
        }
        true
    }

    /// Hands an event of the provider in use to the call. False when the call has left.
    async fn deliver(&self, mut event: RealtimeEvent) -> bool {
        self.number(&mut event);
        self.note(&event);
        matches!(event, RealtimeEvent::BrokeOff { .. } | RealtimeEvent::Alive) || self.events.send(event).await.is_ok()
    }

    /// Numbers answers across providers.
    fn number(&self, event: &mut RealtimeEvent) {
        if let RealtimeEvent::Audio { answer, .. }
        | RealtimeEvent::AudioEnded { answer }
        | RealtimeEvent::AgentSaid { answer, .. } = event
        {
            let mut session = locked(&self.session);
            answer.0 = answer.0.saturating_add(session.base);
            session.newest = session.newest.max(answer.0);
        }
    }

    fn note(&self, event: &RealtimeEvent) {
        let now = Instant::now();
        let mut session = locked(&self.session);
        match event {
            RealtimeEvent::Ready => {
                session.debt.ready(now);
                if !session.debt.is_answer() {
                    self.member(self.place, |member| member.health.succeeded());
                }
            }
            RealtimeEvent::Audio { .. } => session.debt.paid(now),
            RealtimeEvent::AudioEnded { .. } => {
                session.debt.paid(now);
                if !session.debt.is_broken_off() {
                    self.member(self.place, |member| member.health.succeeded());
                }
            }
            RealtimeEvent::BrokeOff { .. } => session.debt.broke_off(),
            RealtimeEvent::FellOver { .. } => session.debt.mended(),
            RealtimeEvent::SpeechStarted => session.debt.taken(now),
            RealtimeEvent::SpeechStopped => session.debt.finished(now),
            RealtimeEvent::CallerSaid(text) => {
                session.debt.understood();
                session.remember(Message::Caller(text.clone()));
            }
            RealtimeEvent::AgentSaid { text, .. } => {
                session.remember(Message::Agent { text: text.clone(), calls: Vec::new() });
            }
            RealtimeEvent::Call(call) => {
                session.debt.called(now);
                session.remember(Message::Agent { text: Pii::new(String::new()), calls: vec![call.clone()] });
            }
            _ => {}
        }
    }
}

/// Whether an event shows that the vendor itself is there; that its connection was exchanged does not.
fn is_life(event: &RealtimeEvent) -> bool {
    !matches!(
        event,
        RealtimeEvent::Ready
            | RealtimeEvent::FellOver { .. }
            | RealtimeEvent::BrokeOff { .. }
            | RealtimeEvent::Failed(_)
    )
}

async fn of_rival(rival: &mut Option<Rival>) -> Option<RealtimeEvent> {
    match rival {
        Some(rival) => rival.inner.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
