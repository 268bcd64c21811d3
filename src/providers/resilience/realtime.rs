//! Speech-to-speech providers in order: when a session fails for good the next provider opens one and is told what was
//! said.

#[cfg(test)]
mod tests;

use super::{Member, pick};
use crate::base::Pii;
use crate::base::chat::{Message, ToolSpec};
use crate::providers::realtime::{
    AnswerId, RealtimeCapabilities, RealtimeEvent, RealtimeRequest, RealtimeSession, RealtimeStream, SpeechToSpeech,
};
use crate::providers::{Meter, ProviderError, ProviderName};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events between us and the call.
const EVENTS: usize = 256;
/// Messages told to the provider that takes over: the last of them.
const MESSAGES_MAX: usize = 40;

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
        let is_first = tried.is_empty();
        tried.push(place);
        let Some(member) = members.get(place) else { break };
        let mut request = request.clone();
        if !is_first || place > 0 {
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
        let session = Arc::new(Mutex::new(Session { stream, request, newest: 0, base: 0 }));
        let (events, receiver) = mpsc::channel(EVENTS);
        let relay =
            Relay { session: Arc::clone(&session), members: Arc::clone(&self.members), tried, place, inner, events };
        let task = tokio::spawn(relay.run());
        Ok((Box::new(SteadyStream { session, abort: task.abort_handle() }), receiver))
    }
}

/// What the call's side and the relay share.
struct Session {
    stream: Box<dyn RealtimeStream>,
    /// What a fresh session would be opened with: grows with what is said.
    request: RealtimeRequest,
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
}

fn locked(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

struct SteadyStream {
    session: Arc<Mutex<Session>>,
    abort: tokio::task::AbortHandle,
}

impl Drop for SteadyStream {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl RealtimeStream for SteadyStream {
    fn push(&mut self, samples: &[i16]) {
        locked(&self.session).stream.push(samples);
    }
    fn commit(&mut self) {
        locked(&self.session).stream.commit();
    }
    fn interrupt(&mut self, answer: AnswerId, heard: Duration) {
        let mut session = locked(&self.session);
        if let Some(own) = answer.0.checked_sub(session.base).filter(|own| *own > 0) {
            session.stream.interrupt(AnswerId(own), heard);
        }
    }
    fn tool_result(&mut self, call: &str, tool: &str, content: &str, failed: bool) {
        let mut session = locked(&self.session);
        session.remember(Message::ToolResult {
            call: call.to_owned(),
            tool: tool.to_owned(),
            content: Pii::new(content.to_owned()),
            failed,
        });
        session.stream.tool_result(call, tool, content, failed);
    }
    fn update(&mut self, instructions: &str, tools: &[ToolSpec]) {
        let mut session = locked(&self.session);
        session.request.instructions = instructions.to_owned();
        session.request.tools = tools.to_vec();
        session.stream.update(instructions, tools);
    }
    fn tell(&mut self, text: &str) {
        let mut session = locked(&self.session);
        session.remember(Message::Caller(Pii::new(text.to_owned())));
        session.stream.tell(text);
    }
}

struct Relay {
    session: Arc<Mutex<Session>>,
    members: Arc<[Member<dyn SpeechToSpeech>]>,
    tried: Vec<usize>,
    place: usize,
    inner: mpsc::Receiver<RealtimeEvent>,
    events: mpsc::Sender<RealtimeEvent>,
}

impl Relay {
    async fn run(mut self) {
        loop {
            let event = tokio::select! {
                event = self.inner.recv() => event,
                () = self.events.closed() => return,
            };
            let error = match event {
                Some(RealtimeEvent::Failed(error)) => error,
                None => ProviderError::Stopped { provider: self.provider_name() },
                Some(mut event) => {
                    self.number(&mut event);
                    self.note(&event);
                    if self.events.send(event).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let from = self.provider_name();
            if let Some(member) = self.members.get(self.place) {
                member.health.failed(&error);
            }
            let request = locked(&self.session).request.clone();
            let told = match open(&self.members, &request, &mut self.tried) {
                Ok((place, (stream, inner))) => {
                    let mut session = locked(&self.session);
                    session.stream = stream;
                    session.base = session.newest;
                    drop(session);
                    (self.place, self.inner) = (place, inner);
                    let to = self.provider_name();
                    tracing::warn!(%from, %to, kind = error.kind(), "speech_to_speech_changed");
                    RealtimeEvent::FellOver { from, to }
                }
                Err(_) => RealtimeEvent::Failed(error),
            };
            let is_over = matches!(told, RealtimeEvent::Failed(_));
            if self.events.send(told).await.is_err() || is_over {
                return;
            }
        }
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
        let message = match event {
            RealtimeEvent::Ready | RealtimeEvent::AudioEnded { .. } => {
                if let Some(member) = self.members.get(self.place) {
                    member.health.succeeded();
                }
                return;
            }
            RealtimeEvent::CallerSaid(text) => Message::Caller(text.clone()),
            RealtimeEvent::AgentSaid { text, .. } => Message::Agent { text: text.clone(), calls: Vec::new() },
            RealtimeEvent::Call(call) => Message::Agent { text: Pii::new(String::new()), calls: vec![call.clone()] },
            _ => return,
        };
        locked(&self.session).remember(message);
    }

    fn provider_name(&self) -> ProviderName {
        self.members.get(self.place).map(|member| member.provider.name()).unwrap_or_default()
    }
}
