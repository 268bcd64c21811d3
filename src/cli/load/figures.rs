//! What is counted and measured, and how it adds up.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Longest time that a histogram tells from a longer one, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// A distribution of times in microseconds, to three digits, up to a minute.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order"))
    }
}

impl Times {
    /// Notes one time.
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// How many were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that the given share (0 to 1) of all stays within, in milliseconds; `None` when there is none.
    #[must_use]
    pub fn ms(&self, share: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share) as f64 / 1_000.0)
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1_000.0)
    }

    /// How many lie from `from_us` to below `to_us`.
    #[must_use]
    pub fn count_between(&self, from_us: u64, to_us: u64) -> u64 {
        self.0.count_between(from_us, to_us.saturating_sub(1).max(from_us))
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }
}

/// What the audio thread saw.
#[derive(Clone, Debug, Default)]
pub struct Sound {
    /// Audio there and back: from sending a marked packet to the kernel's time of its return.
    pub round_trip: Times,
    /// How far the gap between two consecutive packets of the far side is from what their RTP timestamps say.
    pub pacing: Times,
    /// From the caller's last voiced packet to the far side's first voiced one.
    pub turn: Times,
    /// Turns to which nothing was said for as long as the caller waits.
    pub unanswered_turns: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets that the kernel did not take.
    pub unsent: u64,
    /// Packets received, duplicates included.
    pub received: u64,
    /// Packets that the far side sent, by its sequence numbers, and that did not come.
    pub missing: i64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Marks of ours that came back.
    pub marks_back: u64,
    /// Marks of ours that had not come back within a second.
    pub marks_lost: u64,
    /// Datagrams that are no RTP or belong to no call.
    pub strays: u64,
}

impl Sound {
    /// Adds those of a later time.
    pub fn add(&mut self, other: &Self) {
        self.round_trip.add(&other.round_trip);
        self.pacing.add(&other.pacing);
        self.turn.add(&other.turn);
        self.unanswered_turns += other.unanswered_turns;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.received += other.received;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.marks_back += other.marks_back;
        self.marks_lost += other.marks_lost;
        self.strays += other.strays;
    }

    /// Percent of what should have come that did not: by our marks when the far side echoes them, else by its
    /// sequence numbers. `None` when nothing came at all.
    #[must_use]
    pub fn loss_percent(&self) -> Option<f64> {
        let by_numbers = percent(self.missing.max(0) as u64, self.received.saturating_sub(self.duplicates));
        if self.marks_back == 0 {
            return by_numbers;
        }
        let by_marks = percent(self.marks_lost, self.marks_back);
        by_marks.into_iter().chain(by_numbers).reduce(f64::max)
    }
}

/// The percentage that `lost` is of both.
fn percent(lost: u64, there: u64) -> Option<f64> {
    (there > 0).then(|| lost as f64 / (lost + there) as f64 * 100.0)
}

/// Why a call was not completed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// A final response of 300 and above.
    Status(u16, String),
    /// No final response in time.
    NoAnswer,
    /// A 200 without an audio stream that we could send to.
    NoAudio,
    /// The far side hung up before its time.
    HungUp,
    /// No response to the BYE.
    NoGoodbye,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code, reason) => write!(f, "{code} {reason}"),
            Self::NoAnswer => f.write_str("no answer in time"),
            Self::NoAudio => f.write_str("answered without audio that we understand"),
            Self::HungUp => f.write_str("hung up by the far side before its time"),
            Self::NoGoodbye => f.write_str("no response to BYE"),
        }
    }
}

/// What the signalling thread saw.
#[derive(Clone, Debug, Default)]
pub struct Signalling {
    /// From the first INVITE to its 200, the time of a challenge included.
    pub setup: Times,
    /// INVITEs, those sent again left out.
    pub placed: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Answered calls that were hung up as intended.
    pub completed: u64,
    /// Requests sent again because nothing came.
    pub retransmissions: u64,
    /// Calls that failed, by reason.
    pub failures: BTreeMap<Failure, u64>,
}

impl Signalling {
    /// Adds those of a later time.
    pub fn add(&mut self, other: &Self) {
        self.setup.add(&other.setup);
        self.placed += other.placed;
        self.answered += other.answered;
        self.completed += other.completed;
        self.retransmissions += other.retransmissions;
        for (why, count) in &other.failures {
            *self.failures.entry(why.clone()).or_default() += count;
        }
    }

    /// Notes a call that failed.
    pub fn fail(&mut self, why: Failure) {
        *self.failures.entry(why).or_default() += 1;
    }

    /// Calls that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// Everything that was seen in some time.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Of the audio.
    pub sound: Sound,
    /// Of the signalling.
    pub signalling: Signalling,
}

impl Figures {
    /// Adds those of a later time.
    pub fn add(&mut self, other: &Self) {
        self.sound.add(&other.sound);
        self.signalling.add(&other.signalling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_digits_and_add_up() {
        let mut times = Times::default();
        assert_eq!((times.ms(0.5), times.max_ms()), (None, None));
        (1..=99).for_each(|ms| times.record(ms * 1_000));
        let mut more = Times::default();
        more.record(100_000_000);
        times.add(&more);
        assert_eq!(times.count(), 100);
        assert!((times.ms(0.5).unwrap() - 50.0).abs() < 0.1, "{:?}", times.ms(0.5));
        assert!(times.max_ms().unwrap() >= 60_000.0, "what is longer than a minute counts as a minute");
        assert_eq!(times.count_between(1, 10_000), 9);
    }

    #[test]
    fn loss_is_the_worse_of_marks_and_numbers_and_unknown_when_nothing_came() {
        let sound = |received, missing, marks_back, marks_lost| Sound {
            received,
            missing,
            marks_back,
            marks_lost,
            ..Sound::default()
        };
        assert_eq!(sound(0, 0, 0, 50).loss_percent(), None);
        assert_eq!(sound(75, 25, 0, 100).loss_percent(), Some(25.0), "a far side that does not echo");
        assert_eq!(sound(100, 0, 90, 10).loss_percent(), Some(10.0));
        assert_eq!(sound(90, -1, 100, 0).loss_percent(), Some(0.0));
    }

    #[test]
    fn failures_of_one_kind_are_one_row() {
        let mut one = Signalling::default();
        one.fail(Failure::Status(503, "Service Unavailable".into()));
        one.fail(Failure::NoAnswer);
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(sum.failed(), 4);
        assert_eq!(sum.failures.len(), 2);
        assert_eq!(sum.failures[&Failure::NoAnswer], 2);
    }
}
