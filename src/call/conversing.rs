//! A speech-to-speech model has the call: its audio is played, its interruptions and tools are the flow's.

use super::CallEvent;
use super::playout::Spoken;
use super::session::Session;
use crate::agent::speech::Turns;
use crate::agent::{Expect, Input, RequestId, Speaker, UtteranceId};
use crate::base::chat::{Message, ToolSpec};
use crate::base::{Pii, SampleRate};
use crate::media::UplinkFrame;
use crate::providers::realtime::{AnswerId, RealtimeEvent, RealtimeRequest, RealtimeStream, TurnsBy};
use crate::providers::{ProviderError, TtsChunk};
use crate::turn::{Stage, TurnInput};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Utterances of a model count from here, far from those of the conversation.
const FIRST_LIVE: u32 = 1 << 30;
/// Answers whose words may still come after they were cut off.
const CUT_OFF_KEPT: usize = 8;
/// Letters spoken in a second, where nobody tells: what was heard of an answer whose words come after it was cut off.
const LETTERS_PER_SECOND: f64 = 15.0;
/// Voice of the caller that may be a word. Less is a click.
const WORD: Duration = Duration::from_millis(100);
/// What a model that is to speak first is told.
const SPEAK_FIRST: &str = "(The call has just been answered. Begin the conversation.)";

/// A session that has the call.
pub(super) struct Conversing {
    request: RequestId,
    stream: Box<dyn RealtimeStream>,
    events: mpsc::Receiver<RealtimeEvent>,
    turns: TurnsBy,
    rate: SampleRate,
    /// Answers in the queue, by the utterance that plays them.
    answers: BTreeMap<UtteranceId, AnswerId>,
    last_utterance: UtteranceId,
    /// How much was heard of answers that were cut off.
    cut_off: Vec<(AnswerId, Duration)>,
    last_voiced: Option<Instant>,
    unanswered: Unanswered,
    caller_speaks: bool,
    no_input: Duration,
    /// When the caller has been silent for too long.
    silence_at: Option<Instant>,
    /// The flow goes on: no further answer is taken, the one under way is played to its end.
    ending: bool,
}

/// What the caller has said by our own ears, since the vendor last took a turn for finished or began to answer. Of a vendor
/// that says nothing about the end of a turn, it is all that is known of where the turn's answer began to be waited for.
#[derive(Debug, Default)]
struct Unanswered {
    voice: Duration,
    last: Option<Instant>,
}

impl Unanswered {
    /// An interruption, of which the voice over the answer was not told from the answer's echo.
    fn over_answer(last: Instant) -> Self {
        Self { voice: WORD, last: Some(last) }
    }

    /// A piece of voice of this length has arrived.
    fn voice(&mut self, arrived: Instant, length: Duration) {
        self.voice = self.voice.saturating_add(length);
        self.last = Some(arrived);
    }

    /// The last voice, where there was as much as a word: an answer begins.
    fn take(&mut self) -> Option<Instant> {
        let Self { voice, last } = std::mem::take(self);
        last.filter(|_| voice >= WORD)
    }
}

/// What the flow gives a session.
pub(super) struct Brief {
    pub(super) instructions: String,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) messages: Pii<Vec<Message>>,
    pub(super) opening: Option<String>,
    pub(super) speak_first: bool,
    pub(super) no_input: Duration,
}

impl Conversing {
    /// Whether the caller's audio is judged by our own turn-taking.
    pub(super) fn turns_are_local(&self) -> bool {
        self.turns == TurnsBy::Local
    }

    /// One frame of the caller.
    pub(super) fn hear(&mut self, frame: &UplinkFrame) {
        if frame.voiced {
            self.last_voiced = Some(frame.arrived);
        }
        if !self.ending {
            let samples = frame.samples.samples();
            self.stream.push(samples);
            if !self.turns_are_local() {
                // Over an answer, it may be the answer's echo.
                let is_voice = frame.voiced && self.answers.is_empty();
                let length = self.rate.duration_of(samples.len());
                if is_voice {
                    self.unanswered.voice(frame.arrived, length);
                }
                self.stream.voice(is_voice, length);
            }
        }
    }

    /// When [`Session::on_conversing_timeout`] is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.silence_at.filter(|_| !self.ending)
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(conversing: &mut Option<Box<Self>>) -> Option<RealtimeEvent> {
        match conversing {
            Some(conversing) => conversing.events.recv().await,
            None => std::future::pending().await,
        }
    }

    fn answer_of(&mut self, answer: AnswerId) -> (UtteranceId, bool) {
        if let Some((utterance, _)) = self.answers.iter().find(|(_, known)| **known == answer) {
            return (*utterance, false);
        }
        self.last_utterance = UtteranceId(self.last_utterance.0 + 1);
        self.answers.insert(self.last_utterance, answer);
        (self.last_utterance, true)
    }
}

impl Session {
    /// Hands the caller to a speech-to-speech model.
    pub(super) fn converse(&mut self, now: Instant, request: RequestId, brief: Brief) {
        let choice = self.setup.agent.speech.realtime.clone();
        let (Some(realtime), Some(choice)) = (self.engines.realtime.clone(), choice) else {
            self.conversation.handle(now, Input::RealtimeFailed { request });
            return;
        };
        let turns = match choice.turns {
            Turns::Local if realtime.capabilities().local_turns => TurnsBy::Local,
            Turns::Local | Turns::Vendor => TurnsBy::Vendor,
        };
        let rate = self.legs.line.sample_rate();
        let opened = realtime.open(RealtimeRequest {
            tools: brief.tools,
            messages: brief.messages,
            opening: brief.opening.clone(),
            voice: choice.voice,
            language: Some(self.setup.agent.language.clone()),
            ..RealtimeRequest::new(rate, self.legs.line.audio_format(), turns, brief.instructions)
        });
        match opened {
            Ok((mut stream, events)) => {
                if brief.opening.is_none() && brief.speak_first {
                    stream.tell(SPEAK_FIRST);
                }
                self.conversing = Some(Box::new(Conversing {
                    request,
                    stream,
                    events,
                    turns,
                    rate,
                    answers: BTreeMap::new(),
                    last_utterance: UtteranceId(FIRST_LIVE + request.0 * (1 << 12)),
                    cut_off: Vec::new(),
                    last_voiced: None,
                    unanswered: Unanswered::default(),
                    caller_speaks: false,
                    no_input: brief.no_input,
                    silence_at: (!brief.speak_first && brief.opening.is_none()).then(|| now + brief.no_input),
                    ending: false,
                }));
            }
            Err(error) => self.conversing_failed(now, request, &error),
        }
    }

    /// The flow takes the call back.
    pub(super) fn end_converse(&mut self, request: RequestId) {
        let playout = &self.playout;
        if let Some(conversing) = self.conversing.as_mut().filter(|conversing| conversing.request == request) {
            conversing.ending = true;
            conversing.answers.retain(|utterance, _| playout.has(*utterance));
        }
        self.let_go_when_done();
    }

    /// The answer to a tool call of the model.
    pub(super) fn answer_tool(&mut self, call: &str, tool: &str, content: &str, failed: bool) {
        if let Some(conversing) = self.conversing.as_mut().filter(|conversing| !conversing.ending) {
            conversing.stream.tool_result(call, tool, content, failed);
        }
    }

    /// Our own turn-taking is certain that the caller has finished.
    pub(super) fn commit_to_model(&mut self) -> bool {
        match self.conversing.as_mut().filter(|conversing| !conversing.ending) {
            Some(conversing) => {
                conversing.stream.commit();
                true
            }
            None => false,
        }
    }

    /// What the model has to tell.
    pub(super) fn on_conversing(&mut self, event: Option<RealtimeEvent>) {
        let now = Instant::now();
        let Some(conversing) = self.conversing.as_mut() else { return };
        let request = conversing.request;
        match event {
            Some(RealtimeEvent::Audio { answer, samples }) => {
                if conversing.cut_off.iter().any(|(cut, _)| *cut == answer) {
                    return;
                }
                let (utterance, is_first) = conversing.answer_of(answer);
                if is_first {
                    if conversing.ending {
                        conversing.answers.remove(&utterance);
                        return;
                    }
                    conversing.silence_at = None;
                    if let Some(silent) = conversing.unanswered.take()
                        && !self.ledger.is_under_way()
                    {
                        // The vendor has not said when it took the caller for finished.
                        self.ledger.begin(silent);
                    }
                    self.ledger.mark(Stage::FirstToken, now);
                    self.ledger.mark(Stage::FirstAudio, now);
                    self.playout.speak_live(utterance);
                }
                self.playout.audio(utterance, TtsChunk { samples, ..TtsChunk::default() });
                self.announce_playout(now);
            }
            Some(RealtimeEvent::AudioEnded { answer }) => {
                let (utterance, is_first) = conversing.answer_of(answer);
                if is_first {
                    conversing.answers.remove(&utterance);
                }
                self.playout.synthesised(utterance);
                self.let_go_when_done();
            }
            Some(RealtimeEvent::AgentSaid { answer, text }) => self.on_model_words(now, answer, text),
            Some(RealtimeEvent::CallerSaid(text)) => {
                self.ledger.mark(Stage::Transcript, now);
                let event = CallEvent::CallerSaid { call: self.legs.call, text: text.clone(), confidence: 1.0 };
                self.legs.events.send(event);
                self.conversation.handle(now, Input::RealtimeSaid { request, speaker: Speaker::Caller, text });
            }
            Some(RealtimeEvent::SpeechStarted) => {
                conversing.caller_speaks = true;
                conversing.silence_at = None;
                let onset = conversing.last_voiced.unwrap_or(now);
                conversing.unanswered = Unanswered::over_answer(onset);
                if self.queued {
                    self.barge_in = Some(onset);
                }
                self.silence_agent(now);
            }
            Some(RealtimeEvent::SpeechStopped) => {
                conversing.caller_speaks = false;
                conversing.unanswered = Unanswered::default();
                self.ledger.begin(conversing.last_voiced.unwrap_or(now));
                self.ledger.mark(Stage::EndOfTurn, now);
            }
            Some(RealtimeEvent::Call(call)) => {
                self.conversation.handle(now, Input::RealtimeCall { request, call });
            }
            Some(RealtimeEvent::FellOver { from, to }) => {
                let event = CallEvent::ProviderChanged {
                    call: self.legs.call,
                    stage: "speech_to_speech",
                    from: from.into_owned(),
                    to: to.into_owned(),
                };
                self.legs.events.send(event);
            }
            Some(RealtimeEvent::Failed(error)) => self.conversing_failed(now, request, &error),
            None => {
                let error = ProviderError::Stopped { provider: "speech_to_speech".into() };
                self.conversing_failed(now, request, &error);
            }
            Some(_) => {}
        }
    }

    fn on_model_words(&mut self, now: Instant, answer: AnswerId, text: Pii<String>) {
        let Some(conversing) = self.conversing.as_mut() else { return };
        if let Some(place) = conversing.cut_off.iter().position(|(cut, _)| *cut == answer) {
            let (_, heard) = conversing.cut_off.remove(place);
            let letters = (heard.as_secs_f64() * LETTERS_PER_SECOND) as usize;
            let heard = cut_at_word(text.expose(), letters);
            self.report_model_words(now, heard, false);
            return;
        }
        let (utterance, is_first) = conversing.answer_of(answer);
        if is_first {
            // Words without audio, or all of it is played already.
            conversing.answers.remove(&utterance);
            self.report_model_words(now, text.into_exposed(), true);
        } else {
            self.playout.word(utterance, text.into_exposed());
        }
    }

    /// An utterance of the model is over; true when it was one of its.
    pub(super) fn on_model_spoken(&mut self, now: Instant, spoken: &Spoken) -> bool {
        let Some(conversing) = self.conversing.as_mut() else { return spoken.utterance.0 >= FIRST_LIVE };
        let Some(answer) = conversing.answers.remove(&spoken.utterance) else {
            return spoken.utterance.0 >= FIRST_LIVE;
        };
        if spoken.complete {
            if conversing.turns_are_local() {
                let no_input = conversing.no_input;
                self.turn.handle(now, TurnInput::Listen { expect: Expect::Open, no_input });
            } else if !conversing.caller_speaks {
                conversing.silence_at = Some(now + conversing.no_input);
            }
        } else {
            let heard = Duration::from_secs_f64(spoken.played as f64 / f64::from(conversing.rate.0.max(1)));
            if !conversing.ending {
                conversing.stream.interrupt(answer, heard);
            }
            if spoken.heard.is_empty() {
                conversing.cut_off.push((answer, heard));
                let excess = conversing.cut_off.len().saturating_sub(CUT_OFF_KEPT);
                conversing.cut_off.drain(..excess);
            }
        }
        if !spoken.heard.is_empty() {
            self.report_model_words(now, spoken.heard.clone(), spoken.complete);
        }
        self.let_go_when_done();
        true
    }

    fn report_model_words(&mut self, now: Instant, heard: String, complete: bool) {
        let Some(request) = self.conversing.as_ref().map(|conversing| conversing.request) else { return };
        let text = Pii::new(heard);
        self.legs.events.send(CallEvent::AgentSaid { call: self.legs.call, heard: text.clone(), complete });
        self.conversation.handle(now, Input::RealtimeSaid { request, speaker: Speaker::Agent, text });
    }

    /// The caller has been silent for too long.
    pub(super) fn on_conversing_timeout(&mut self, now: Instant) {
        let due = self.conversing.as_mut().filter(|conversing| conversing.timeout().is_some_and(|at| at <= now));
        if let Some(conversing) = due {
            conversing.silence_at = None;
            self.conversation.handle(now, Input::Silence);
        }
    }

    fn conversing_failed(&mut self, now: Instant, request: RequestId, error: &ProviderError) {
        self.conversing = None;
        self.silence_agent(now);
        let detail = error.to_string();
        self.legs.events.send(CallEvent::EngineTrouble { call: self.legs.call, stage: "speech_to_speech", detail });
        self.conversation.handle(now, Input::RealtimeFailed { request });
    }

    /// The line has another rate than the session was opened with.
    pub(super) fn follow_rate_conversing(&mut self) {
        if let Some(request) = self.conversing.as_ref().map(|conversing| conversing.request) {
            let provider = "speech_to_speech".into();
            let reason = "the line changed its sample rate".to_owned();
            self.conversing_failed(Instant::now(), request, &ProviderError::Failed { provider, reason });
        }
    }

    /// A session that the flow has ended goes when its last answer is whole.
    fn let_go_when_done(&mut self) {
        let playout = &self.playout;
        let is_done = self.conversing.as_ref().is_some_and(|conversing| {
            conversing.ending && !conversing.answers.keys().any(|utterance| playout.awaits_audio(*utterance))
        });
        if is_done {
            self.conversing = None;
        }
    }
}

fn cut_at_word(text: &str, letters: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(letters) else { return text.to_owned() };
    let whole = text.get(..end).unwrap_or_default();
    whole.rfind(char::is_whitespace).and_then(|at| whole.get(..at)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Unanswered, cut_at_word};
    use std::time::{Duration, Instant};

    #[test]
    fn an_answer_is_waited_for_from_the_last_voice_of_as_much_as_a_word_and_once() {
        let (began, frame) = (Instant::now(), Duration::from_millis(20));
        let mut unanswered = Unanswered::default();
        assert_eq!(unanswered.take(), None, "a greeting answers nobody");
        unanswered.voice(began, frame);
        assert_eq!(unanswered.take(), None, "a click");
        (0..6).for_each(|n| unanswered.voice(began + n * frame, frame));
        assert_eq!(unanswered.take(), Some(began + 5 * frame));
        assert_eq!(unanswered.take(), None, "the next answer has no turn of its own");
        assert_eq!(Unanswered::over_answer(began).take(), Some(began));
    }

    #[test]
    fn what_was_heard_ends_at_a_word() {
        assert_eq!(cut_at_word("Good morning, how are you?", 15), "Good morning,");
        assert_eq!(cut_at_word("Good morning", 100), "Good morning");
        assert_eq!(cut_at_word("Good morning", 2), "");
    }
}
