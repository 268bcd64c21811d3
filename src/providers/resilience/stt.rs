//! Speech-to-text providers in order, changed within a call: the next one hears the present segment from its start. A
//! provider that is alone hears it once more itself, over a fresh stream.

use super::tape::Tape;
use super::{Member, may_do_better, pick};
use crate::providers::stt::limits::{ENOUGH_AUDIO, FLUSH_TIMEOUT, RECOVERY};
use crate::providers::stt::{SegmentId, SpeechToText, SttCapabilities, SttEvent, SttRequest, SttStream};
use crate::providers::{Meter, ProviderError, ProviderName};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Audio of one segment that a provider which takes over hears again.
const SEGMENT_MAX_MS: u32 = 15_000;
/// From [`SttStream::finish`] to its answer; every adapter's own deadline is shorter, so this one finds adapters that hang.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Providers tried again after all have failed once, this long after the first of them.
const SECOND_ROUND: Duration = Duration::from_secs(2);
/// How often answers that are overdue are looked for.
const LOOK_OUT: Duration = Duration::from_millis(250);
/// Events between us and the call.
const EVENTS: usize = 32;

/// Speech-to-text providers in order, as one. Never empty.
pub struct SteadySpeechToText {
    members: Arc<[Member<dyn SpeechToText>]>,
}

impl SteadySpeechToText {
    /// The first that is well serves. `None` without any.
    #[must_use]
    pub fn new(members: Vec<Member<dyn SpeechToText>>) -> Option<Self> {
        (!members.is_empty()).then(|| Self { members: members.into() })
    }

    fn first(&self) -> Option<&Arc<dyn SpeechToText>> {
        self.members.first().map(|member| &member.provider)
    }
}

type Open = (Box<dyn SttStream>, mpsc::Receiver<SttEvent>);

/// Opens the first that can be, of those not tried.
fn open(
    members: &[Member<dyn SpeechToText>],
    request: &SttRequest,
    tried: &mut Vec<usize>,
) -> Result<(usize, Open), ProviderError> {
    let mut failure = ProviderError::Stopped { provider: "every provider".into() };
    while let Some(place) = pick(members, tried) {
        tried.push(place);
        let Some(member) = members.get(place) else { break };
        match member.provider.open(request.clone()) {
            Ok(opened) => return Ok((place, opened)),
            Err(error) => {
                member.health.failed(&error);
                failure = error;
            }
        }
    }
    Err(failure)
}

impl SpeechToText for SteadySpeechToText {
    fn name(&self) -> ProviderName {
        self.first().map_or(ProviderName::Borrowed("none"), |first| first.name())
    }

    fn capabilities(&self) -> SttCapabilities {
        let none = SttCapabilities {
            formats: Vec::new(),
            partials: false,
            end_of_turn: false,
            timestamps: false,
            detects_language: false,
            languages: &[],
        };
        self.first().map_or(none, |first| first.capabilities())
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.first().and_then(|first| first.meter())
    }

    fn open(&self, request: SttRequest) -> Result<Open, ProviderError> {
        let mut tried = Vec::new();
        let (place, (stream, inner)) = open(&self.members, &request, &mut tried)?;
        let pre_roll_ms = u32::try_from(request.pre_roll.as_millis()).unwrap_or(SEGMENT_MAX_MS).min(SEGMENT_MAX_MS);
        let rate = request.rate;
        let tape = Tape::new(rate.samples_in_ms(pre_roll_ms), rate.samples_in_ms(SEGMENT_MAX_MS));
        let line = Arc::new(Mutex::new(Line { stream: Some(stream), tape, finished_at: None }));
        let (events, receiver) = mpsc::channel(EVENTS);
        let relay = Relay {
            line: Arc::clone(&line),
            members: Arc::clone(&self.members),
            request,
            tried,
            tried_since: Instant::now(),
            asked_again: None,
            unheard: None,
            place,
            inner,
            events,
        };
        let task = tokio::spawn(relay.run());
        Ok((Box::new(SteadyStream { line, abort: task.abort_handle() }), receiver))
    }
}

/// What the call's side and the relay share.
struct Line {
    stream: Option<Box<dyn SttStream>>,
    tape: Tape,
    /// When the words that are waited for were asked for.
    finished_at: Option<Instant>,
}

struct SteadyStream {
    line: Arc<Mutex<Line>>,
    abort: tokio::task::AbortHandle,
}

fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for SteadyStream {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl SttStream for SteadyStream {
    fn push(&mut self, samples: &[i16]) {
        let mut line = locked(&self.line);
        line.tape.push(samples);
        if let Some(stream) = &mut line.stream {
            stream.push(samples);
        }
    }

    fn start(&mut self, segment: SegmentId) {
        let mut line = locked(&self.line);
        line.finished_at = None;
        line.tape.start(segment);
        if let Some(stream) = &mut line.stream {
            stream.start(segment);
        }
    }

    fn finish(&mut self, segment: SegmentId) {
        let mut line = locked(&self.line);
        line.finished_at = Some(Instant::now());
        line.tape.finish(segment);
        if let Some(stream) = &mut line.stream {
            stream.finish(segment);
        }
    }

    fn discard(&mut self) {
        let mut line = locked(&self.line);
        line.finished_at = None;
        line.tape.discard();
        if let Some(stream) = &mut line.stream {
            stream.discard();
        }
    }

    fn expect(&mut self, phrases: &[String]) {
        let mut line = locked(&self.line);
        line.tape.expect(phrases);
        if let Some(stream) = &mut line.stream {
            stream.expect(phrases);
        }
    }
}

/// Hands events on, and changes the provider when one fails.
struct Relay {
    line: Arc<Mutex<Line>>,
    members: Arc<[Member<dyn SpeechToText>]>,
    request: SttRequest,
    tried: Vec<usize>,
    tried_since: Instant,
    /// When a provider that is alone was opened once more, without a word from it since.
    asked_again: Option<Instant>,
    /// The segment of which nobody has said a thing: its words are empty for want of an answer.
    unheard: Option<SegmentId>,
    place: usize,
    inner: mpsc::Receiver<SttEvent>,
    events: mpsc::Sender<SttEvent>,
}

impl Relay {
    async fn run(mut self) {
        loop {
            let event = tokio::select! {
                event = self.inner.recv() => event,
                () = tokio::time::sleep(LOOK_OUT) => {
                    if self.is_overdue() && !self.change(&self.no_transcript(ANSWER_TIMEOUT)).await {
                        return;
                    }
                    continue;
                }
                () = self.events.closed() => return,
            };
            let event = match event {
                Some(SttEvent::Failed { segment, error }) => {
                    if self.change(&error).await {
                        continue;
                    }
                    // It may have been only this once: the stream stays until it closes.
                    locked(&self.line).finished_at = None;
                    SttEvent::Failed { segment, error }
                }
                Some(SttEvent::Unheard { segment }) => {
                    if self.change(&self.no_transcript(FLUSH_TIMEOUT)).await {
                        continue;
                    }
                    self.unheard = Some(segment);
                    SttEvent::Unheard { segment }
                }
                Some(SttEvent::Final { segment, audio, .. }) if self.is_missed(segment, audio) => {
                    locked(&self.line).finished_at = None;
                    SttEvent::Failed { segment, error: self.no_transcript(FLUSH_TIMEOUT) }
                }
                Some(event) => {
                    if let SttEvent::Final { segment, .. } = &event {
                        locked(&self.line).finished_at = None;
                        if self.unheard != Some(*segment) {
                            self.well();
                        }
                    } else if matches!(event, SttEvent::Partial { .. }) {
                        self.well();
                    }
                    event
                }
                None => {
                    let error = ProviderError::Stopped { provider: self.provider_name() };
                    if self.change(&error).await {
                        continue;
                    }
                    return;
                }
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    fn well(&mut self) {
        if let Some(member) = self.members.get(self.place) {
            member.health.succeeded();
        }
        self.asked_again = None;
        self.forget_old_tries();
    }

    fn provider_name(&self) -> ProviderName {
        self.members.get(self.place).map(|member| member.provider.name()).unwrap_or_default()
    }

    /// Whether these empty words are those of clear speech to which two streams have said nothing.
    fn is_missed(&self, segment: SegmentId, audio: Duration) -> bool {
        self.unheard == Some(segment) && self.asked_again.is_some() && audio >= ENOUGH_AUDIO
    }

    fn no_transcript(&self, after: Duration) -> ProviderError {
        ProviderError::Timeout { provider: self.provider_name(), stage: "transcript", after }
    }

    fn is_overdue(&self) -> bool {
        locked(&self.line).finished_at.is_some_and(|at| at.elapsed() >= ANSWER_TIMEOUT)
    }

    /// Moves the call to the next provider, or to a fresh stream of one that is alone. False when there is none left.
    async fn change(&mut self, error: &ProviderError) -> bool {
        let from = self.provider_name();
        if let Some(member) = self.members.get(self.place) {
            member.health.failed(error);
        }
        self.forget_old_tries();
        let has_tried = self.asked_again.is_some_and(|at| at.elapsed() < RECOVERY);
        if self.members.len() == 1 && !has_tried && may_do_better(error) {
            self.asked_again = Some(Instant::now());
            self.tried.clear();
        }
        let Ok((place, (mut stream, inner))) = open(&self.members, &self.request, &mut self.tried) else {
            return false;
        };
        {
            let mut line = locked(&self.line);
            line.tape.replay(stream.as_mut());
            if line.finished_at.is_some() {
                line.finished_at = Some(Instant::now());
            }
            line.stream = Some(stream);
        }
        (self.place, self.inner) = (place, inner);
        let to = self.provider_name();
        tracing::warn!(%from, %to, kind = error.kind(), "speech_to_text_changed");
        self.events.send(SttEvent::FellOver { from, to }).await.is_ok()
    }

    fn forget_old_tries(&mut self) {
        if self.tried_since.elapsed() >= SECOND_ROUND {
            self.tried = vec![self.place];
            self.tried_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
