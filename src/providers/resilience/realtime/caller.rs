//! The caller by our own ears, where the vendor takes its turns: when it has finished speaking. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// Voice that is speaking. A cough is shorter.
const SPOKEN: Duration = Duration::from_millis(400);
/// Silence that ends it. A gap between two words is shorter.
const PAUSE: Duration = Duration::from_millis(300);

/// What the caller does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It speaks.
    Speaks,
    /// It has spoken, and stopped a moment ago.
    Finished(Utterance),
}

/// What the caller has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Utterance {
    /// With its first voice.
    pub(super) from: Instant,
    /// With its last.
    pub(super) to: Instant,
    /// Voice in it.
    pub(super) voice: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Caller {
    utterance: Option<Utterance>,
    silence: Duration,
}

impl Caller {
    /// Takes a piece of audio that has just ended.
    pub(super) fn heard(&mut self, is_voice: bool, length: Duration, now: Instant) -> Option<Change> {
        if !is_voice {
            self.silence = self.silence.saturating_add(length);
            let finished = self.utterance.take_if(|_| self.silence >= PAUSE)?;
            return (finished.voice >= SPOKEN).then_some(Change::Finished(finished));
        }
        self.silence = Duration::ZERO;
        let from = now.checked_sub(length).unwrap_or(now);
        let utterance = self.utterance.get_or_insert(Utterance { from, to: now, voice: Duration::ZERO });
        let before = utterance.voice;
        utterance.voice = before.saturating_add(length);
        utterance.to = now;
        (before < SPOKEN && utterance.voice >= SPOKEN).then_some(Change::Speaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes with their times, of stretches of voice and silence by turns, in ms.
    fn changes(stretches: &[u64]) -> Vec<(bool, u64)> {
        let (mut caller, began) = (Caller::default(), Instant::now());
        let (mut now, mut changes) = (began, Vec::new());
        let frame = Duration::from_millis(20);
        for (place, stretch) in stretches.iter().enumerate() {
            for _ in 0..stretch / 20 {
                now += frame;
                let change = caller.heard(place % 2 == 0, frame, now);
                let at = (now - began).as_millis() as u64;
                changes.extend(change.map(|change| (matches!(change, Change::Finished(_)), at)));
            }
        }
        changes
    }

    #[test]
    fn speech_ends_with_a_pause_and_not_between_words() {
        assert_eq!(changes(&[300, 200, 300, 1_000]), [(false, 600), (true, 1_100)]);
    }

    #[test]
    fn a_cough_is_no_speech() {
        assert_eq!(changes(&[380, 1_000, 200, 1_000]), []);
    }

    #[test]
    fn each_utterance_counts_for_itself() {
        assert_eq!(
            changes(&[500, 400, 300, 400, 500, 400]),
            [(false, 400), (true, 800), (false, 2_000), (true, 2_400)]
        );
    }
}
