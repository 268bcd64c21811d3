//! The driver of one agent call: hears, decides through the pure machines, speaks.

use super::conversing::Conversing;
use super::ears::Ears;
use super::fallback::AgentVoice;
use super::hearing::Hearing;
use super::legs::Legs;
use super::line::describe;
use super::playout::{self, Downlink, Playout, Spoken};
use super::referral::Referral;
use super::sounds::at_rate;
use super::terms::{AgentSetup, Engines};
use super::thinking::{Thinking, ThoughtNews};
use super::{CallEvent, Line, LineEvent, Unanswered};
use crate::agent::{Conversation, Input, UtteranceId};
use crate::base::{Pii, Random, SampleRate, TurnId};
use crate::media::LegEvent;
use crate::providers::speakable::{SpokenText, spoken};
use crate::providers::{ProviderError, SpeakRequest, SpeechStream, SttEvent, SttRequest, SttStream, TtsChunk};
use crate::sip::event::EndCause;
use crate::tools::Gate;
use crate::turn::{self, DigitCollector, Ledger, Stage, TurnInput, TurnOutput, TurnTaker};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the shallow ring of the media worker is topped up while the agent speaks.
const PUMP_INTERVAL: Duration = Duration::from_millis(100);
/// A busy text-to-speech engine is asked again after this long, this often, before the call hears the spare line.
const SYNTHESIS_RETRY: Duration = Duration::from_millis(150);
const SYNTHESIS_ATTEMPTS: u32 = 6;
/// Rounds of the machines feeding each other before the driver looks at the outside world again.
const ROUNDS: usize = 64;

impl Downlink for crate::media::Downlink {
    fn push(&mut self, turn: TurnId, samples: &[i16]) -> usize {
        Self::push(self, turn, samples)
    }
    fn end_of_turn(&mut self, turn: TurnId) {
        Self::end_of_turn(self, turn);
    }
    fn flush_through(&mut self, turn: TurnId) {
        Self::flush_through(self, turn);
    }
    fn played(&self, turn: TurnId) -> u64 {
        Self::played(self, turn)
    }
}

/// One call with its machines. [`Self::run`] it to the end.
pub(super) struct Session {
    pub(super) legs: Legs,
    pub(super) setup: Arc<AgentSetup>,
    pub(super) engines: Engines,
    pub(super) conversation: Conversation,
    pub(super) turn: TurnTaker,
    pub(super) digits: DigitCollector,
    pub(super) ledger: Ledger,
    pub(super) playout: Playout,
    /// Answers of tasks started by effects, as inputs of the conversation.
    pub(super) answers: mpsc::UnboundedSender<Input>,
    /// The call that the peer asked for by REFER.
    pub(super) referral: Option<Referral>,
    /// The peer hung up, as it may, before that call is decided; in words.
    pub(super) referrer_gone: Option<String>,
    /// What the agent wants the BYE to say.
    pub(super) bye_headers: Vec<(String, String)>,
    pub(super) gate: Gate,
    /// Time taken by finished tool calls, for the gate's budget.
    pub(super) tool_time: mpsc::UnboundedSender<Duration>,
    tool_times: mpsc::UnboundedReceiver<Duration>,
    answered: mpsc::UnboundedReceiver<Input>,
    speech: Option<Box<dyn SttStream>>,
    speech_events: Option<mpsc::Receiver<SttEvent>>,
    ears: Ears,
    hearing: Option<Hearing>,
    /// The language model at work.
    pub(super) thinking: Thinking,
    thoughts: mpsc::UnboundedReceiver<ThoughtNews>,
    /// The speech-to-speech model that has the call.
    pub(super) conversing: Option<Box<Conversing>>,
    synthesis: Option<(UtteranceId, SpeechStream)>,
    /// What the voice was given in place of the text, where it wants it spelled out.
    spelled_out: Option<SpokenText>,
    /// The rate that it was asked for.
    synthesis_rate: SampleRate,
    synthesis_retry: Option<(Instant, u32)>,
    pub(super) barge_in: Option<Instant>,
    pub(super) queued: bool,
    pub(super) ended: Option<String>,
}

impl Session {
    /// A session on an answered line.
    pub(super) fn new(
        mut legs: Legs,
        setup: Arc<AgentSetup>,
        engines: Engines,
        variables: Vec<(String, Pii<String>)>,
    ) -> Self {
        let now = Instant::now();
        let rate = legs.line.sample_rate();
        legs.voice = Some(AgentVoice::of(&setup.agent, Arc::clone(&engines.tts), setup.speed));
        let (answers, answered) = mpsc::unbounded_channel();
        let (tool_time, tool_times) = mpsc::unbounded_channel();
        let (thinking, thoughts) = Thinking::new();
        let mut session = Self {
            conversation: Conversation::new(Arc::clone(&setup.agent), Random::system().hex(32)),
            turn: TurnTaker::new(setup.turn.clone()),
            digits: DigitCollector::default(),
            ledger: Ledger::default(),
            playout: Playout::default(),
            gate: Gate::new(legs.call, Arc::clone(&setup.tool_set), setup.budget),
            ears: Ears::open(engines.voice.as_ref(), rate),
            hearing: None,
            legs,
            setup,
            engines,
            answers,
            answered,
            tool_time,
            tool_times,
            referral: None,
            referrer_gone: None,
            bye_headers: Vec::new(),
            speech: None,
            speech_events: None,
            thinking,
            thoughts,
            conversing: None,
            synthesis: None,
            spelled_out: None,
            synthesis_rate: rate,
            synthesis_retry: None,
            barge_in: None,
            queued: false,
            ended: None,
        };
        let local_time = session.setup.local_time();
        session.conversation.handle(now, Input::CallStarted { variables, local_time });
        session.hearing = Hearing::on(session.setup.agent.listening, &mut session.legs.line.media);
        session.open_speech(now);
        session
    }

    fn open_speech(&mut self, now: Instant) {
        let request = SttRequest {
            line: self.legs.line.audio_format(),
            language: self.setup.agent.speech.stt.language.clone(),
            ..SttRequest::new(self.legs.line.sample_rate(), self.setup.turn.pre_roll)
        };
        match self.engines.stt.open(request) {
            Ok((stream, events)) => {
                self.speech = Some(stream);
                self.speech_events = Some(events);
            }
            Err(error) => self.trouble(now, "speech_to_text", &error),
        }
    }

    /// Drives the call until it is over and reports its end.
    pub(super) async fn run(mut self: Box<Self>) {
        loop {
            self.settle(Instant::now());
            if let Some(reason) = self.ended.take() {
                self.legs.tell_end(reason, &[]);
                return;
            }
            let deadline = self.deadline();
            tokio::select! {
                event = self.legs.line.next(), if self.referrer_gone.is_none() => match event {
                    Some(event) => self.on_line(event),
                    None => self.hear(),
                },
                event = receive(&mut self.speech_events) => self.on_transcript(event),
                event = self.legs.far.next() => self.on_far_side(event),
                Some(reason) = self.legs.refer_failed.recv() => self.on_refer_failure(reason),
                outcome = receive_referral(&mut self.referral) => self.on_referral(outcome),
                Some(takeover) = self.legs.takeovers.recv() => self.on_takeover(takeover),
                chunk = receive_chunk(&mut self.synthesis) => self.on_chunk(chunk),
                Some(news) = self.thoughts.recv() => self.on_thought(news),
                event = Conversing::next(&mut self.conversing) => self.on_conversing(event),
                Some(input) = self.answered.recv() => self.conversation.handle(Instant::now(), input),
                Some(took) = self.tool_times.recv() => self.gate.settle(took),
                () = sleep_until(deadline) => self.on_deadline(),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let pump = (!self.playout.is_empty()).then(|| Instant::now() + PUMP_INTERVAL);
        let retry = self.synthesis_retry.map(|(at, _)| at);
        let conversing = self.conversing.as_ref().and_then(|conversing| conversing.timeout());
        let machines = [self.turn.poll_timeout(), self.digits.poll_timeout(), self.handover_timeout(), conversing];
        machines.into_iter().chain([pump, retry, Some(self.legs.quality_at)]).flatten().min()
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        self.turn.handle_timeout(now);
        self.on_handover_timeout(now);
        self.on_conversing_timeout(now);
        self.legs.tell_quality_when_due(now);
        if let Some(answer) = self.digits.expire(now) {
            self.answer_by_key(now, answer);
        }
    }

    /// Caller audio and what the media worker reports.
    fn hear(&mut self) {
        while let Some(mut frame) = self.legs.line.media.uplink.try_pop() {
            if self.legs.line.is_held() {
                continue;
            }
            if let Some(key) = self.legs.line.key_in(&frame) {
                self.on_key(key);
            }
            if let Some(hearing) = &mut self.hearing {
                hearing.hear(&mut frame);
            }
            if let Some(conversing) = &mut self.conversing {
                conversing.hear(&frame);
                if !conversing.turns_are_local() {
                    continue;
                }
            }
            if let Some(speech) = &mut self.speech {
                speech.push(frame.samples.samples());
            }
            self.turn.handle(frame.arrived, TurnInput::Frame { voiced: frame.voiced });
            let gate_open = self.turn.wants_probability(frame.arrived);
            if let Some((through, probability)) = self.ears.push(frame.samples.samples(), frame.arrived, gate_open) {
                self.turn.handle(Instant::now(), TurnInput::Probability { through, probability });
            }
        }
        while let Some(event) = self.legs.line.media.events.try_pop() {
            self.on_media(event);
        }
    }

    fn on_media(&mut self, event: LegEvent) {
        match event {
            LegEvent::Digit(_) if self.legs.far.passes_keys || !self.legs.line.takes_event_keys() => {}
            LegEvent::Digit(key) if self.legs.far.coupled => {
                if let Some(far) = &mut self.legs.far.line {
                    far.press(key);
                }
            }
            LegEvent::Digit(key) => self.on_key(key),
            LegEvent::PlayoutStarted { turn, at, .. } => {
                if self.playout.is_current(turn) {
                    self.turn.handle(at, TurnInput::Playout(turn::Playout::Audible));
                    if let Some(record) = self.ledger.finish(turn, at) {
                        self.legs.events.send(CallEvent::TurnLatency { call: self.legs.call, record });
                    }
                }
            }
            LegEvent::PlayoutEnded { at, .. } => {
                if let Some(onset) = self.barge_in.take() {
                    let stopped_after = at.saturating_duration_since(onset);
                    self.legs.events.send(CallEvent::BargeIn { call: self.legs.call, stopped_after });
                }
            }
            LegEvent::MediaTimeout { silent_for } => {
                tracing::info!(call = %self.legs.call, seconds = silent_for.as_secs(), "media_timeout");
                self.finish("no audio came from the peer");
            }
            LegEvent::Panicked => self.finish("the media worker met a bug in this call"),
            LegEvent::SourceLocked(_) | LegEvent::Starved { .. } => {}
        }
    }

    fn on_key(&mut self, key: char) {
        let now = Instant::now();
        self.legs.events.send(CallEvent::Digit { call: self.legs.call, key: Pii::new(key) });
        self.turn.handle(now, TurnInput::Key);
        if let Some(answer) = self.digits.key(now, key) {
            self.answer_by_key(now, answer);
        }
    }

    fn answer_by_key(&mut self, now: Instant, answer: Pii<String>) {
        self.silence_agent(now);
        self.ledger.begin(now);
        self.conversation.handle(now, Input::Digits(answer));
    }

    fn on_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Digit(key) => match self.legs.far.line.as_mut().filter(|_| self.legs.far.coupled) {
                Some(far) => far.press(key),
                None => self.on_key(key),
            },
            LineEvent::Held(held) => self.on_held(held),
            LineEvent::Ended(cause @ (EndCause::Remote | EndCause::Transferred)) if self.referral.is_some() => {
                self.referrer_gone = Some(describe(&cause));
                self.on_held(true);
            }
            LineEvent::Ended(cause) => {
                self.ended = Some(self.legs.reason_of_end(&cause));
            }
            LineEvent::TransferProgress(code) => self.on_refer_progress(code),
            LineEvent::TransferRequested(request) => self.on_transfer_requested(&request),
            LineEvent::Transferred(outcome) => self.on_refer_decided(outcome),
            // Of a call that is up, or of a hold that the agent did not ask for.
            LineEvent::MediaFailed(reason) => self.finish(&reason),
            LineEvent::Answered(_) | LineEvent::EarlyMedia(_) | LineEvent::HoldRefused(_) | LineEvent::Ringing(_) => {}
        }
    }

    fn on_transcript(&mut self, event: Option<SttEvent>) {
        let now = Instant::now();
        match event {
            Some(SttEvent::Partial { text, .. }) => {
                self.legs.events.send(CallEvent::CallerPartial { call: self.legs.call, text })
            }
            Some(SttEvent::Final { segment, text, confidence, .. }) => {
                self.turn.handle(now, TurnInput::Transcript { segment, text, confidence });
            }
            Some(SttEvent::Failed { segment, error }) => {
                self.turn.handle(now, TurnInput::TranscriptFailed { segment });
                tracing::info!(call = %self.legs.call, %error, "transcript_failed");
            }
            Some(SttEvent::FellOver { from, to }) => {
                let (from, to) = (from.into_owned(), to.into_owned());
                let event = CallEvent::ProviderChanged { call: self.legs.call, stage: "speech_to_text", from, to };
                self.legs.events.send(event);
            }
            // Turn-taking goes by the voice; what else a vendor offers is of no use to it.
            Some(_) => {}
            None => {
                self.speech_events = None;
                self.speech = None;
                self.trouble(now, "speech_to_text", &ProviderError::Stopped { provider: "speech_to_text".into() });
            }
        }
    }

    fn on_chunk(&mut self, chunk: Option<Result<TtsChunk, ProviderError>>) {
        let now = Instant::now();
        let Some((utterance, _)) = self.synthesis else { return };
        match chunk {
            Some(Ok(mut chunk)) => {
                self.ledger.mark(Stage::FirstAudio, now);
                if let Some(spelled_out) = &self.spelled_out {
                    for mark in &mut chunk.marks {
                        mark.text_end = spelled_out.written_until(mark.text_end);
                    }
                }
                let rate = self.legs.line.sample_rate();
                self.playout.audio(utterance, playout::at_rate(chunk, self.synthesis_rate, rate));
            }
            Some(Err(error)) => {
                self.synthesis = None;
                self.say_spare_line(now, utterance, &error);
            }
            None => {
                self.synthesis = None;
                self.playout.synthesised(utterance);
            }
        }
    }

    /// Lets the machines feed each other until nothing is left to do.
    fn settle(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            let mut idle = true;
            while let Some(output) = self.turn.poll_output() {
                idle = false;
                self.on_turn(now, output);
            }
            while let Some(effect) = self.conversation.poll_effect() {
                idle = false;
                self.execute(now, effect);
            }
            self.synthesise(now);
            for spoken in self.playout.pump(&mut self.legs.line.media.downlink) {
                idle = false;
                self.report_spoken(now, spoken);
            }
            self.announce_playout(now);
            if idle {
                break;
            }
        }
        self.drive_handover(now);
        if self.playout.is_empty()
            && self.synthesis.is_none()
            && self.legs.hangup.is_some()
            && self.legs.handover.is_none()
        {
            self.legs.line.hang_up_with(std::mem::take(&mut self.bye_headers));
        }
    }

    /// Tells turn-taking when there is something to say and when all of it was said.
    pub(super) fn announce_playout(&mut self, now: Instant) {
        let queued = !self.playout.is_empty();
        if queued {
            let interruptible = self.playout.interruptible();
            if !std::mem::replace(&mut self.queued, true) {
                self.turn.handle(now, TurnInput::Playout(turn::Playout::Queued { interruptible }));
            }
        } else if std::mem::take(&mut self.queued) {
            self.turn.handle(now, TurnInput::Playout(turn::Playout::Drained));
        }
    }

    fn on_turn(&mut self, now: Instant, output: TurnOutput) {
        match output {
            TurnOutput::StartSegment(segment) => self.with_speech(|speech| speech.start(segment)),
            TurnOutput::FinishSegment(segment) => self.with_speech(|speech| speech.finish(segment)),
            TurnOutput::DiscardSegment => self.with_speech(|speech| speech.discard()),
            TurnOutput::Hold { onset, audible } => {
                self.barge_in = audible.then_some(onset);
                self.playout.hold(&mut self.legs.line.media.downlink);
            }
            TurnOutput::Resume => {
                self.barge_in = None;
                self.playout.resume();
                self.legs.events.send(CallEvent::FalseBargeIn { call: self.legs.call });
            }
            TurnOutput::Turn { text, confidence, last_voiced, transcript_at, .. } => {
                self.silence_agent(now);
                self.ledger.begin(last_voiced);
                self.ledger.mark(Stage::Transcript, transcript_at);
                self.ledger.mark(Stage::EndOfTurn, now);
                if self.commit_to_model() {
                    // Its own transcript is what it answers to.
                    return;
                }
                self.legs.events.send(CallEvent::CallerSaid { call: self.legs.call, text: text.clone(), confidence });
                self.conversation.handle(now, Input::CallerSaid { text, confidence });
            }
            TurnOutput::NoInput => self.conversation.handle(now, Input::Silence),
            TurnOutput::TranscriptMissing => {
                let busy = ProviderError::Busy { provider: "speech_to_text".into(), waiting: 0 };
                self.trouble(now, "speech_to_text", &busy);
            }
        }
    }

    /// The line is another one than before, whose rate was this: the engines and what is still to be said follow.
    pub(super) fn follow_rate(&mut self, before: SampleRate) {
        let rate = self.legs.line.sample_rate();
        self.hearing = Hearing::on(self.setup.agent.listening, &mut self.legs.line.media);
        if before == rate {
            return;
        }
        self.playout.change_rate(before, rate);
        self.ears = Ears::open(self.engines.voice.as_ref(), rate);
        self.follow_rate_conversing();
        if self.speech.is_some() {
            self.open_speech(Instant::now());
        }
    }

    /// Lets go of the engines: the call belongs to people, whom nobody listens to.
    pub(super) fn rest_engines(&mut self) {
        (self.speech, self.speech_events, self.synthesis, self.conversing) = (None, None, None, None);
        self.thinking.stop_all();
    }

    pub(super) fn with_speech(&mut self, act: impl FnOnce(&mut dyn SttStream)) {
        if let Some(speech) = &mut self.speech {
            act(speech.as_mut());
        }
    }

    /// Voids what the agent has not said yet and tells the conversation what was heard.
    pub(super) fn silence_agent(&mut self, now: Instant) {
        self.synthesis = None;
        self.synthesis_retry = None;
        for spoken in self.playout.void(&mut self.legs.line.media.downlink) {
            self.report_spoken(now, spoken);
        }
        self.announce_playout(now);
    }

    fn report_spoken(&mut self, now: Instant, spoken: Spoken) {
        if self.on_model_spoken(now, &spoken) {
            return;
        }
        let Spoken { utterance, heard, complete, .. } = spoken;
        if complete || !heard.is_empty() {
            let event = CallEvent::AgentSaid { call: self.legs.call, heard: Pii::new(heard.clone()), complete };
            self.legs.events.send(event);
        }
        self.conversation.handle(now, Input::SpeechEnded { utterance, heard, complete });
    }

    /// Asks for the audio of the next utterance that has none.
    fn synthesise(&mut self, now: Instant) {
        let attempts = match self.synthesis_retry {
            Some((at, _)) if now < at => return,
            Some((_, attempts)) => attempts,
            None => 0,
        };
        if self.synthesis.is_some() {
            return;
        }
        let Some((utterance, text, fixed)) = self.playout.next_to_synthesise() else { return };
        let wants_it = self.engines.tts.capabilities().wants_speakable_text;
        let spelled_out = wants_it.then(|| spoken(text, &self.setup.agent.language));
        let text = spelled_out.as_ref().map_or(text, |spoken| spoken.text.as_str()).to_owned();
        let request = SpeakRequest {
            line: self.legs.line.audio_format(),
            voice: self.setup.agent.speech.tts.voice.clone(),
            cacheable: fixed,
            language: Some(self.setup.agent.language.clone()),
            speed: self.setup.agent.speech.tts.speed.unwrap_or(self.setup.speed),
            ..SpeakRequest::new(text, self.legs.line.sample_rate())
        };
        match self.engines.tts.speak(request) {
            Ok(stream) => {
                self.synthesis = Some((utterance, stream));
                self.spelled_out = spelled_out;
                self.synthesis_rate = self.legs.line.sample_rate();
                self.synthesis_retry = None;
            }
            Err(ProviderError::Busy { .. }) if attempts + 1 < SYNTHESIS_ATTEMPTS => {
                self.synthesis_retry = Some((now + SYNTHESIS_RETRY, attempts + 1));
            }
            Err(error) => {
                self.synthesis_retry = None;
                self.say_spare_line(now, utterance, &error);
            }
        }
    }

    /// Text-to-speech is down: the caller hears the line that was made while the server started.
    fn say_spare_line(&mut self, now: Instant, utterance: UtteranceId, error: &ProviderError) {
        let spare = at_rate(&self.setup.spare_line, SampleRate::NARROWBAND, self.legs.line.sample_rate());
        self.playout.audio(utterance, TtsChunk { samples: spare.to_vec(), ..TtsChunk::default() });
        self.playout.synthesised(utterance);
        self.trouble(now, "text_to_speech", error);
    }

    pub(super) fn trouble(&mut self, now: Instant, stage: &'static str, error: &ProviderError) {
        self.legs.events.send(CallEvent::EngineTrouble { call: self.legs.call, stage, detail: error.to_string() });
        let busy = matches!(error, ProviderError::Busy { .. });
        self.conversation.handle(now, Input::ProviderDown { stage, busy });
    }

    fn finish(&mut self, reason: &str) {
        self.legs.hangup.get_or_insert_with(|| (reason.to_owned(), false));
        self.legs.line.hang_up();
    }
}

async fn receive_referral(referral: &mut Option<Referral>) -> Result<Line, Unanswered> {
    match referral {
        Some(referral) => referral.await.unwrap_or(Err(Unanswered::GivenUp)),
        None => std::future::pending().await,
    }
}

async fn receive<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn receive_chunk(synthesis: &mut Option<(UtteranceId, SpeechStream)>) -> Option<Result<TtsChunk, ProviderError>> {
    match synthesis {
        Some((_, stream)) => stream.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
