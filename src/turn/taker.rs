//! The turn-taker: one caller, one agent, who may speak when.
//!
//! ```text
//!            onset                pause, transcript asked for           silence long enough for the words
//!   Quiet ────────────▶ Speaking ─────────────────────────▶ Paused ───────────────────────────▶ Turn
//!     ▲                    ▲                                  │ │
//!     │                    └───────────── onset ──────────────┘ │ nothing was said, or only "mm-hm"
//!     └────────────────────────────────────────────────────────┘ (a held agent goes on)
//! ```
//! An onset while the agent has something to say holds the agent at once; a turn then ends what was held, a
//! false alarm lets it go on where it stopped.

use super::TurnSettings;
use super::backchannel::is_backchannel;
use super::end_of_turn::completeness;
use super::voice::{VoiceActivity, VoiceEvent};
use crate::base::{Expect, Pii, SegmentId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the agent's voice is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Playout {
    /// There is something to say; no sound of it has left.
    Queued {
        /// False for a notice that must be heard to its end.
        interruptible: bool,
    },
    /// The first voiced packet of it has left.
    Audible,
    /// All of it has been played.
    Drained,
}

/// What the turn-taker learns.
#[derive(Clone, Debug)]
pub enum TurnInput {
    /// A frame from the caller that arrived at the given time, judged by the cheap detector.
    Frame {
        /// True when the cheap detector hears a voice.
        voiced: bool,
    },
    /// The neural detector's verdict on the audio that arrived up to `through`.
    Probability {
        /// Arrival of the last sample judged.
        through: Instant,
        /// 0.0–1.0.
        probability: f32,
    },
    /// The answer to the last [`TurnOutput::FinishSegment`]; one that `StartSegment` overtook must not come any more.
    Transcript {
        /// Which segment.
        segment: SegmentId,
        /// All words of the segment; empty when there were none.
        text: Pii<String>,
        /// 0.0–1.0.
        confidence: f32,
    },
    /// There will be no answer to [`TurnOutput::FinishSegment`].
    TranscriptFailed {
        /// Which segment.
        segment: SegmentId,
    },
    /// The agent waits for the caller once it has said all it has queued.
    Listen {
        /// The kind of answer expected.
        expect: Expect,
        /// Silence after which [`TurnOutput::NoInput`] is due.
        no_input: Duration,
    },
    /// The agent's voice.
    Playout(Playout),
    /// A key was pressed: the caller is there.
    Key,
}

/// What should happen.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnOutput {
    /// Speech-to-text: the caller speaks (again).
    StartSegment(SegmentId),
    /// Speech-to-text: the caller paused, report the words so far.
    FinishSegment(SegmentId),
    /// Speech-to-text: forget the segment.
    DiscardSegment,
    /// Silence the agent at once, keep what it has not said.
    Hold {
        /// Arrival of the caller's first voiced frame, for the barge-in latency.
        onset: Instant,
        /// Whether any of it has been heard: only then is this a barge-in.
        audible: bool,
    },
    /// False alarm: go on where the agent was held.
    Resume,
    /// The caller has finished. If the agent was held, what it had not said is void.
    Turn {
        /// Which segment.
        segment: SegmentId,
        /// The words.
        text: Pii<String>,
        /// 0.0–1.0.
        confidence: f32,
        /// Arrival of the last voiced frame.
        last_voiced: Instant,
        /// When the transcript arrived.
        transcript_at: Instant,
        /// True when the agent was held by this turn.
        interrupted: bool,
    },
    /// The caller has said nothing for the time the agent gave.
    NoInput,
    /// No transcript came for what the caller said.
    TranscriptMissing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Agent {
    Silent,
    Queued { interruptible: bool },
    Audible { interruptible: bool },
    Held { was_audible: bool },
}

#[derive(Debug)]
struct Transcript {
    text: Pii<String>,
    confidence: f32,
    at: Instant,
}

/// See the module's diagram.
///
/// Rule for the caller: [`Self::handle`] each input with its time, take every [`Self::poll_output`], and call
/// [`Self::handle_timeout`] when [`Self::poll_timeout`] says so.
#[derive(Debug)]
pub struct TurnTaker {
    settings: TurnSettings,
    voice: VoiceActivity,
    agent: Agent,
    segment: SegmentId,
    /// Arrival of the segment's first voiced frame; `None` while the caller is quiet.
    turn_started: Option<Instant>,
    /// Set in `Paused`: the last voiced frame, and when the transcript was asked for.
    paused: Option<(Instant, Instant)>,
    asked: u32,
    answered: u32,
    transcript: Option<Transcript>,
    listen: Option<(Expect, Duration)>,
    expect: Expect,
    quiet_since: Option<Instant>,
    outputs: VecDeque<TurnOutput>,
}

impl TurnTaker {
    /// Nobody speaks, nobody listens.
    #[must_use]
    pub fn new(settings: TurnSettings) -> Self {
        Self {
            voice: VoiceActivity::new(&settings),
            settings,
            agent: Agent::Silent,
            segment: SegmentId::default(),
            turn_started: None,
            paused: None,
            asked: 0,
            answered: 0,
            transcript: None,
            listen: None,
            expect: Expect::Open,
            quiet_since: None,
            outputs: VecDeque::new(),
        }
    }

    /// Whether the neural detector should be asked about the frame that just arrived.
    #[must_use]
    pub fn wants_probability(&self, now: Instant) -> bool {
        self.voice.wants_probability(now)
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, now: Instant, input: TurnInput) {
        match input {
            TurnInput::Frame { voiced } => {
                let event = self.voice.frame(now, voiced);
                self.on_voice(now, event);
            }
            TurnInput::Probability { through, probability } => {
                let event = self.voice.probability(through, probability);
                self.on_voice(now, event);
            }
            TurnInput::Transcript { segment, text, confidence } => {
                if segment == self.segment && self.turn_started.is_some() {
                    self.answered += 1;
                    if self.paused.is_some() && self.answered >= self.asked {
                        self.transcript = Some(Transcript { text, confidence, at: now });
                    }
                }
            }
            TurnInput::TranscriptFailed { segment } => {
                if segment == self.segment && self.turn_started.is_some() {
                    self.answered += 1;
                    if self.paused.is_some() && self.answered >= self.asked {
                        self.give_up_transcript();
                    }
                }
            }
            TurnInput::Listen { expect, no_input } => {
                self.listen = Some((expect, no_input));
                self.expect = expect;
                self.quiet_since = None;
            }
            TurnInput::Playout(playout) => self.on_playout(now, playout),
            TurnInput::Key => self.quiet_since = Some(now),
        }
        self.evaluate(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let event = self.voice.tick(now);
        self.on_voice(now, event);
        self.evaluate(now);
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = match (&self.paused, &self.transcript) {
            (Some((last_voiced, _)), Some(transcript)) if !self.must_wait_for_agent() => {
                Some(*last_voiced + self.wait(transcript))
            }
            (Some((_, asked)), None) => Some(*asked + self.settings.transcript_deadline),
            _ => None,
        };
        let no_input = self.listen.and_then(|(_, wait)| Some(self.quiet_since? + wait));
        [end, no_input, self.voice.poll_timeout()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<TurnOutput> {
        self.outputs.pop_front()
    }

    fn on_voice(&mut self, now: Instant, event: Option<VoiceEvent>) {
        match event {
            Some(VoiceEvent::Onset { at }) => {
                if self.turn_started.is_none() {
                    self.segment = SegmentId(self.segment.0 + 1);
                    self.turn_started = Some(at);
                }
                (self.asked, self.answered) = (0, 0);
                self.paused = None;
                self.transcript = None;
                self.outputs.push_back(TurnOutput::StartSegment(self.segment));
                self.hold(at);
            }
            Some(VoiceEvent::Pause { last_voiced }) if self.turn_started.is_some() => {
                self.paused = Some((last_voiced, now));
                self.asked += 1;
                self.outputs.push_back(TurnOutput::FinishSegment(self.segment));
            }
            Some(VoiceEvent::Pause { .. }) | None => {}
        }
    }

    fn on_playout(&mut self, now: Instant, playout: Playout) {
        match (playout, self.agent) {
            (Playout::Queued { interruptible }, Agent::Silent | Agent::Queued { .. }) => {
                self.agent = Agent::Queued { interruptible };
                if let Some(onset) = self.turn_started {
                    self.hold(onset);
                }
            }
            (Playout::Queued { interruptible }, Agent::Audible { .. }) => self.agent = Agent::Audible { interruptible },
            (Playout::Queued { .. }, Agent::Held { .. }) => {}
            (Playout::Audible, Agent::Queued { interruptible }) => self.agent = Agent::Audible { interruptible },
            (Playout::Audible, _) => {}
            (Playout::Drained, Agent::Held { .. }) => {}
            (Playout::Drained, _) => {
                self.agent = Agent::Silent;
                self.quiet_since = Some(now);
            }
        }
    }

    fn hold(&mut self, onset: Instant) {
        if let Agent::Queued { interruptible: true } | Agent::Audible { interruptible: true } = self.agent {
            let audible = matches!(self.agent, Agent::Audible { .. });
            self.agent = Agent::Held { was_audible: audible };
            self.outputs.push_back(TurnOutput::Hold { onset, audible });
        }
    }

    fn must_wait_for_agent(&self) -> bool {
        matches!(self.agent, Agent::Queued { interruptible: false } | Agent::Audible { interruptible: false })
    }

    fn wait(&self, transcript: &Transcript) -> Duration {
        completeness(transcript.text.expose(), self.expect).wait(&self.settings)
    }

    fn evaluate(&mut self, now: Instant) {
        if let Some(started) = self.turn_started {
            self.quiet_since = None;
            self.evaluate_turn(now, started);
            return;
        }
        if self.agent == Agent::Silent && self.listen.is_some() {
            let since = *self.quiet_since.get_or_insert(now);
            if self.listen.is_some_and(|(_, no_input)| now.saturating_duration_since(since) >= no_input) {
                self.listen = None;
                self.outputs.push_back(TurnOutput::NoInput);
            }
        }
    }

    fn evaluate_turn(&mut self, now: Instant, started: Instant) {
        let too_long = now.saturating_duration_since(started) >= self.settings.longest_turn;
        let Some((last_voiced, asked)) = self.paused else {
            if too_long {
                self.paused = Some((now, now));
                self.asked += 1;
                self.outputs.push_back(TurnOutput::FinishSegment(self.segment));
            }
            return;
        };
        let Some(transcript) = &self.transcript else {
            if now.saturating_duration_since(asked) >= self.settings.transcript_deadline {
                self.give_up_transcript();
            }
            return;
        };
        let held = matches!(self.agent, Agent::Held { .. });
        let empty = transcript.text.expose().trim().is_empty();
        if empty || (held && is_backchannel(&transcript.text, self.expect == Expect::YesNo)) {
            self.end_segment();
            self.outputs.push_back(TurnOutput::DiscardSegment);
            self.resume();
            return;
        }
        let silent = now.saturating_duration_since(last_voiced);
        if self.must_wait_for_agent() || (silent < self.wait(transcript) && !too_long) {
            return;
        }
        if let Some(Transcript { text, confidence, at }) = self.transcript.take() {
            self.outputs.push_back(TurnOutput::Turn {
                segment: self.segment,
                text,
                confidence,
                last_voiced,
                transcript_at: at,
                interrupted: held,
            });
        }
        self.end_segment();
        self.listen = None;
        if held {
            self.agent = Agent::Silent;
        }
    }

    fn give_up_transcript(&mut self) {
        self.end_segment();
        self.outputs.push_back(TurnOutput::DiscardSegment);
        self.resume();
        self.outputs.push_back(TurnOutput::TranscriptMissing);
    }

    fn resume(&mut self) {
        if let Agent::Held { was_audible } = self.agent {
            self.agent = if was_audible {
                Agent::Audible { interruptible: true }
            } else {
                Agent::Queued { interruptible: true }
            };
            self.outputs.push_back(TurnOutput::Resume);
        }
    }

    fn end_segment(&mut self) {
        self.voice.reset();
        self.turn_started = None;
        self.paused = None;
        self.transcript = None;
    }
}

#[cfg(test)]
#[path = "taker_tests.rs"]
mod tests;
