//! Is the caller speaking? Joins the cheap per-frame detector with the neural one that runs behind it.

use super::TurnSettings;
use std::time::{Duration, Instant};

/// Length of one frame.
const FRAME: Duration = Duration::from_millis(20);

/// A change of state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoiceEvent {
    /// The caller speaks; the first voiced frame arrived `at`.
    Onset {
        /// Arrival of the first voiced frame.
        at: Instant,
    },
    /// The caller has been silent for [`TurnSettings::pause`].
    Pause {
        /// Arrival of the last voiced frame.
        last_voiced: Instant,
    },
}

/// The detector. Feed every frame with [`Self::frame`] and neural results, as they come, with [`Self::probability`].
#[derive(Debug)]
pub struct VoiceActivity {
    onset: Duration,
    onset_unconfirmed: Duration,
    onset_gap: Duration,
    pause: Duration,
    probability_on: f32,
    probability_off: f32,
    state: State,
    /// Through when the neural detector has judged, and what it said last.
    judged: Option<(Instant, f32)>,
    last_gate: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Quiet,
    Candidate { first: Instant, voiced: u32, last: Instant, confirmed: bool },
    Speaking { last_voiced: Instant, pause_reported: bool },
}

impl VoiceActivity {
    /// A detector for one call, quiet at first.
    #[must_use]
    pub fn new(settings: &TurnSettings) -> Self {
        Self {
            onset: settings.onset,
            onset_unconfirmed: settings.onset_unconfirmed,
            onset_gap: settings.onset_gap,
            pause: settings.pause,
            probability_on: settings.probability_on,
            probability_off: settings.probability_off,
            state: State::Quiet,
            judged: None,
            last_gate: None,
        }
    }

    /// Whether the neural detector should see this stretch: the gate has been open within the last 400 ms.
    #[must_use]
    pub fn wants_probability(&self, now: Instant) -> bool {
        matches!(self.state, State::Speaking { .. })
            || self.last_gate.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_millis(400))
    }

    /// True from onset until [`Self::reset`], pauses included.
    #[must_use]
    pub fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speaking { .. })
    }

    /// Arrival of the last voiced frame of the present stretch.
    #[must_use]
    pub fn last_voiced(&self) -> Option<Instant> {
        match self.state {
            State::Speaking { last_voiced, .. } => Some(last_voiced),
            State::Candidate { last, .. } => Some(last),
            State::Quiet => None,
        }
    }

    /// The turn is over: the next voice is an onset again.
    pub fn reset(&mut self) {
        self.state = State::Quiet;
    }

    /// One frame that arrived `at`, `voiced` by the cheap detector.
    pub fn frame(&mut self, at: Instant, voiced: bool) -> Option<VoiceEvent> {
        if voiced {
            self.last_gate = Some(at);
        }
        match &mut self.state {
            State::Quiet if voiced => {
                let confirmed = self.judged.is_some_and(|(through, p)| {
                    p >= self.probability_on && at.saturating_duration_since(through) <= 2 * FRAME
                });
                self.state = State::Candidate { first: at, voiced: 1, last: at, confirmed };
                None
            }
            State::Quiet => None,
            State::Candidate { voiced: count, last, .. } => {
                if voiced {
                    *count += 1;
                    *last = at;
                } else if at.saturating_duration_since(*last) >= self.onset_gap {
                    self.state = State::Quiet;
                    return None;
                }
                self.check_onset()
            }
            State::Speaking { last_voiced, .. } => {
                let neural_is_current = self
                    .judged
                    .is_some_and(|(through, _)| at.saturating_duration_since(through) <= Duration::from_millis(160));
                if voiced && !neural_is_current {
                    *last_voiced = (*last_voiced).max(at);
                }
                self.check_pause(at)
            }
        }
    }

    /// The neural detector's verdict on the audio that arrived up to `through`.
    pub fn probability(&mut self, through: Instant, probability: f32) -> Option<VoiceEvent> {
        self.judged = Some((through, probability));
        match &mut self.state {
            State::Quiet => None,
            State::Candidate { confirmed, .. } => {
                if probability >= self.probability_on {
                    *confirmed = true;
                }
                self.check_onset()
            }
            State::Speaking { last_voiced, pause_reported } => {
                let threshold = if *pause_reported { self.probability_on } else { self.probability_off };
                if probability < threshold {
                    return None;
                }
                *last_voiced = (*last_voiced).max(through);
                std::mem::take(pause_reported).then_some(VoiceEvent::Onset { at: through })
            }
        }
    }

    /// Time has passed without a frame (the peer sends none while silent).
    pub fn tick(&mut self, now: Instant) -> Option<VoiceEvent> {
        self.check_pause(now)
    }

    /// When [`Self::tick`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Speaking { last_voiced, pause_reported: false } => Some(last_voiced + self.pause),
            _ => None,
        }
    }

    fn check_onset(&mut self) -> Option<VoiceEvent> {
        let State::Candidate { first, voiced, last, confirmed } = self.state else { return None };
        let judged_since = self.judged.is_some_and(|(through, _)| through >= first);
        let length = FRAME * voiced;
        let onset = (confirmed && length >= self.onset) || (!judged_since && length >= self.onset_unconfirmed);
        onset.then(|| {
            self.state = State::Speaking { last_voiced: last, pause_reported: false };
            VoiceEvent::Onset { at: first }
        })
    }

    fn check_pause(&mut self, now: Instant) -> Option<VoiceEvent> {
        let State::Speaking { last_voiced, pause_reported } = &mut self.state else { return None };
        let silent = now.saturating_duration_since(*last_voiced);
        if *pause_reported && silent < self.pause {
            *pause_reported = false;
            return Some(VoiceEvent::Onset { at: now });
        }
        (silent >= self.pause && !std::mem::replace(pause_reported, true))
            .then_some(VoiceEvent::Pause { last_voiced: *last_voiced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(voice: &mut VoiceActivity, t0: Instant, from: u64, voiced: &[bool], p: Option<f32>) -> Vec<VoiceEvent> {
        let mut events = Vec::new();
        for (i, v) in voiced.iter().enumerate() {
            let at = t0 + FRAME * (from as u32 + i as u32);
            events.extend(voice.frame(at, *v));
            if let Some(p) = p {
                events.extend(voice.probability(at, p));
            }
        }
        events
    }

    #[test]
    fn three_voiced_frames_with_neural_consent_are_an_onset_at_the_first_frame() {
        let t0 = Instant::now();
        let mut voice = VoiceActivity::new(&TurnSettings::default());
        let events = frames(&mut voice, t0, 0, &[true; 3], Some(0.9));
        assert_eq!(events, [VoiceEvent::Onset { at: t0 }]);
    }

    #[test]
    fn noise_that_the_neural_detector_denies_is_no_onset() {
        let t0 = Instant::now();
        let mut voice = VoiceActivity::new(&TurnSettings::default());
        assert!(frames(&mut voice, t0, 0, &[true; 100], Some(0.1)).is_empty());
    }

    #[test]
    fn without_a_neural_answer_a_longer_run_is_an_onset() {
        let t0 = Instant::now();
        let mut voice = VoiceActivity::new(&TurnSettings::default());
        assert!(frames(&mut voice, t0, 0, &[true; 7], None).is_empty());
        assert_eq!(frames(&mut voice, t0, 7, &[true], None), [VoiceEvent::Onset { at: t0 }]);
    }

    #[test]
    fn a_pause_is_reported_once_and_speech_after_it_is_an_onset_again() {
        let t0 = Instant::now();
        let mut voice = VoiceActivity::new(&TurnSettings::default());
        frames(&mut voice, t0, 0, &[true; 5], Some(0.9));
        let pauses = frames(&mut voice, t0, 5, &[false; 30], Some(0.05));
        assert_eq!(pauses, [VoiceEvent::Pause { last_voiced: t0 + FRAME * 4 }]);
        let again = frames(&mut voice, t0, 35, &[true; 4], Some(0.9));
        assert_eq!(again.len(), 1);
        assert!(matches!(again[0], VoiceEvent::Onset { .. }));
    }
}
