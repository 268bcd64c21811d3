//! The latency ledger: where the time of each turn went, from the caller's last voiced frame to our first voiced packet.

use crate::base::TurnId;
use std::time::{Duration, Instant};

/// A moment of a turn, in the order in which they happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// The caller's last voiced frame, by its RTP timestamp.
    CallerSilent,
    /// The transcript that the turn was committed with had arrived.
    Transcript,
    /// Turn-taking was certain that the caller had finished.
    EndOfTurn,
    /// The agent's first words were decided (a language model's first token).
    FirstToken,
    /// The first audio of those words came from text-to-speech.
    FirstAudio,
    /// The first voiced packet of the answer was sent.
    FirstPacket,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 6] =
        [Self::CallerSilent, Self::Transcript, Self::EndOfTurn, Self::FirstToken, Self::FirstAudio, Self::FirstPacket];

    /// The name used in events and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CallerSilent => "caller_silent",
            Self::Transcript => "transcript",
            Self::EndOfTurn => "end_of_turn",
            Self::FirstToken => "first_token",
            Self::FirstAudio => "first_audio",
            Self::FirstPacket => "first_packet",
        }
    }
}

/// One answered turn: each stage in time after [`Stage::CallerSilent`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TurnRecord {
    /// The agent's turn that answered.
    pub turn: TurnId,
    /// Stage and time since the caller's last voiced frame. A transcript may be ready before later stages; a stage that did
    /// not happen (the agent answered with a tool only), or of which nobody tells (a speech-to-speech model that keeps the
    /// end of the caller's turn to itself), is missing.
    pub stages: Vec<(Stage, Duration)>,
}

impl TurnRecord {
    /// When `stage` happened, after the caller fell silent.
    #[must_use]
    pub fn at(&self, stage: Stage) -> Option<Duration> {
        self.stages.iter().find(|(s, _)| *s == stage).map(|(_, d)| *d)
    }

    /// Caller silent → first voiced packet.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        self.at(Stage::FirstPacket)
    }
}

/// Collects the marks of the turn under way and keeps the finished records of one call.
#[derive(Debug, Default)]
pub struct Ledger {
    current: [Option<Instant>; Stage::ALL.len()],
    records: Vec<TurnRecord>,
}

/// Records kept per call; a call with more turns keeps the latest.
const RECORDS_KEPT: usize = 1_000;

impl Ledger {
    /// The caller has finished: a turn begins with the moment of their last voiced frame.
    pub fn begin(&mut self, caller_silent: Instant) {
        self.current = [None; Stage::ALL.len()];
        self.mark(Stage::CallerSilent, caller_silent);
    }

    /// A turn has begun, and its answer has not been heard.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.current.first().is_some_and(Option::is_some)
    }

    /// Marks a stage; only the first mark of each counts. Ignored while no turn is under way.
    pub fn mark(&mut self, stage: Stage, at: Instant) {
        let under_way = stage == Stage::CallerSilent || self.is_under_way();
        if let (true, Some(slot)) = (under_way, self.current.get_mut(stage as usize)) {
            slot.get_or_insert(at);
        }
    }

    /// The answer's first voiced packet left: the record is complete and returned.
    pub fn finish(&mut self, turn: TurnId, first_packet: Instant) -> Option<TurnRecord> {
        self.mark(Stage::FirstPacket, first_packet);
        let silent = (*self.current.first()?)?;
        let stages = Stage::ALL
            .into_iter()
            .zip(self.current)
            .filter_map(|(stage, at)| Some((stage, at?.saturating_duration_since(silent))))
            .collect();
        self.current = [None; Stage::ALL.len()];
        let record = TurnRecord { turn, stages };
        if self.records.len() >= RECORDS_KEPT {
            self.records.remove(0);
        }
        self.records.push(record.clone());
        Some(record)
    }

    /// The finished records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[TurnRecord] {
        &self.records
    }
}

/// The value at or below which `percent` of the sorted durations lie (nearest rank); zero for none.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_each_stage_relative_to_the_last_voiced_frame() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let mut ledger = Ledger::default();
        ledger.mark(Stage::FirstAudio, t0);
        assert_eq!(ledger.finish(TurnId(1), t0), None, "a greeting answers no turn");
        assert!(!ledger.is_under_way());
        ledger.begin(t0);
        assert!(ledger.is_under_way());
        ledger.mark(Stage::EndOfTurn, t0 + ms(300));
        ledger.mark(Stage::FirstAudio, t0 + ms(340));
        ledger.mark(Stage::FirstAudio, t0 + ms(900));
        let record = ledger.finish(TurnId(2), t0 + ms(350)).unwrap();
        assert_eq!(record.at(Stage::FirstAudio), Some(ms(340)), "the first mark counts");
        assert_eq!(record.at(Stage::Transcript), None);
        assert_eq!(record.total(), Some(ms(350)));
        assert!(!ledger.is_under_way());
        assert_eq!(ledger.finish(TurnId(3), t0 + ms(999)), None, "a turn is recorded once");
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let sorted: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50.0), Duration::from_millis(10));
        assert_eq!(percentile(&sorted, 95.0), Duration::from_millis(19));
        assert_eq!(percentile(&[], 50.0), Duration::ZERO);
    }
}
