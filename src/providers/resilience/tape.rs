//! What a call has told its speech-to-text stream since the segment began, to be told to another one.

use crate::providers::{SegmentId, SttStream};
use std::collections::VecDeque;

/// What happened to the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Started(SegmentId),
    Finished(SegmentId),
}

/// The tape. Bounded: of a segment longer than it, the end is kept.
#[derive(Debug)]
pub(in crate::providers) struct Tape {
    samples: VecDeque<i16>,
    /// Samples that have left the tape.
    forgotten: u64,
    /// Steps of the present segment with their place among all samples.
    steps: Vec<(u64, Step)>,
    pre_roll: usize,
    longest: usize,
    expected: Vec<String>,
}

impl Tape {
    /// Keeps `pre_roll` samples of what belongs to no segment and `longest` of what does.
    pub(in crate::providers) fn new(pre_roll: usize, longest: usize) -> Self {
        let longest = longest.max(pre_roll);
        Self { samples: VecDeque::new(), forgotten: 0, steps: Vec::new(), pre_roll, longest, expected: Vec::new() }
    }

    /// See [`SttStream::push`].
    pub(in crate::providers) fn push(&mut self, samples: &[i16]) {
        self.samples.extend(samples);
        if let Some((finished_at, Step::Finished(_))) = self.steps.last() {
            // Of the pause behind a segment, as much is kept as of any that belongs to none.
            let end = usize::try_from(finished_at.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
            let excess = self.samples.len().saturating_sub(end).saturating_sub(self.pre_roll);
            if excess > 0 {
                self.samples.drain(end..end + excess);
            }
        }
        let keep = if self.steps.is_empty() { self.pre_roll } else { self.longest };
        self.forget_all_but(keep);
    }

    /// See [`SttStream::start`].
    pub(in crate::providers) fn start(&mut self, segment: SegmentId) {
        if self.segment() != Some(segment) {
            self.steps.clear();
            self.forget_all_but(self.pre_roll);
        }
        self.steps.push((self.now(), Step::Started(segment)));
    }

    /// See [`SttStream::finish`].
    pub(in crate::providers) fn finish(&mut self, segment: SegmentId) {
        if self.segment() == Some(segment) {
            self.steps.push((self.now(), Step::Finished(segment)));
        }
    }

    /// See [`SttStream::discard`]; also after a segment's words have been taken for good.
    pub(in crate::providers) fn discard(&mut self) {
        self.steps.clear();
        self.forget_all_but(self.pre_roll);
    }

    /// See [`SttStream::expect`].
    pub(in crate::providers) fn expect(&mut self, phrases: &[String]) {
        self.expected = phrases.to_vec();
    }

    /// The present segment.
    pub(in crate::providers) fn segment(&self) -> Option<SegmentId> {
        self.steps.last().map(|(_, step)| match step {
            Step::Started(segment) | Step::Finished(segment) => *segment,
        })
    }

    /// Whether the present segment waits for its words.
    pub(in crate::providers) fn is_finished(&self) -> bool {
        matches!(self.steps.last(), Some((_, Step::Finished(_))))
    }

    /// Tells everything to a fresh stream. Pauses within the segment are not told: the words of the whole are wanted.
    pub(in crate::providers) fn replay(&self, stream: &mut dyn SttStream) {
        if !self.expected.is_empty() {
            stream.expect(&self.expected);
        }
        let all: Vec<i16> = self.samples.iter().copied().collect();
        let Some((first, _)) = self.steps.first() else {
            stream.push(&all);
            return;
        };
        let before = usize::try_from(first.saturating_sub(self.forgotten)).unwrap_or(0).min(all.len());
        let (before, within) = all.split_at(before);
        stream.push(before);
        if let Some(segment) = self.segment() {
            stream.start(segment);
            stream.push(within);
            if self.is_finished() {
                stream.finish(segment);
            }
        }
    }

    fn now(&self) -> u64 {
        self.forgotten + self.samples.len() as u64
    }

    fn forget_all_but(&mut self, keep: usize) {
        let excess = self.samples.len().saturating_sub(keep);
        self.samples.drain(..excess);
        self.forgotten += excess as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Told(Vec<String>);

    impl SttStream for Told {
        fn push(&mut self, samples: &[i16]) {
            let ends = samples.first().zip(samples.last());
            self.0.push(ends.map_or_else(|| "nothing".into(), |(a, b)| format!("{a}..{b}")));
        }
        fn start(&mut self, segment: SegmentId) {
            self.0.push(format!("start {}", segment.0));
        }
        fn finish(&mut self, segment: SegmentId) {
            self.0.push(format!("finish {}", segment.0));
        }
        fn discard(&mut self) {
            self.0.push("discard".into());
        }
        fn expect(&mut self, phrases: &[String]) {
            self.0.push(format!("expect {}", phrases.join("|")));
        }
    }

    fn told(tape: &Tape) -> Vec<String> {
        let mut told = Told::default();
        tape.replay(&mut told);
        told.0
    }

    fn numbers(from: i16, to: i16) -> Vec<i16> {
        (from..to).collect()
    }

    #[test]
    fn a_segment_is_told_with_its_pre_roll_and_without_its_pauses() {
        let mut tape = Tape::new(10, 1_000);
        tape.push(&numbers(0, 100));
        tape.start(SegmentId(1));
        tape.push(&numbers(100, 200));
        tape.finish(SegmentId(1));
        tape.push(&numbers(200, 210));
        tape.start(SegmentId(1));
        tape.push(&numbers(210, 220));
        assert_eq!(told(&tape), ["90..99", "start 1", "100..219"]);
        tape.finish(SegmentId(1));
        assert_eq!(told(&tape), ["90..99", "start 1", "100..219", "finish 1"]);
    }

    #[test]
    fn a_pause_takes_no_more_memory_than_a_pre_roll_however_long_it_is() {
        let mut tape = Tape::new(10, 1_000);
        tape.start(SegmentId(1));
        tape.push(&numbers(0, 100));
        tape.finish(SegmentId(1));
        (0..500).for_each(|n| tape.push(&numbers(1_000 + n, 1_001 + n)));
        assert_eq!(tape.samples.len(), 110);
        tape.start(SegmentId(1));
        tape.push(&numbers(2_000, 2_100));
        assert_eq!(tape.samples.len(), 210);
        let kept: Vec<i16> = tape.samples.iter().copied().skip(98).take(4).collect();
        assert_eq!(kept, [98, 99, 1_490, 1_491]);
        tape.start(SegmentId(2));
        assert_eq!(told(&tape)[..2], ["2090..2099", "start 2"]);
    }

    #[test]
    fn what_is_expected_is_told_before_anything_is_heard() {
        let mut tape = Tape::new(10, 1_000);
        tape.expect(&["window seat".into(), "aisle".into()]);
        tape.push(&numbers(0, 5));
        assert_eq!(told(&tape), ["expect window seat|aisle", "0..4"]);
        tape.expect(&[]);
        assert_eq!(told(&tape), ["0..4"]);
    }

    #[test]
    fn a_fresh_segment_forgets_the_old_one_and_a_discarded_one_leaves_the_pre_roll() {
        let mut tape = Tape::new(10, 1_000);
        tape.start(SegmentId(1));
        tape.push(&numbers(0, 100));
        tape.start(SegmentId(2));
        tape.push(&numbers(100, 110));
        assert_eq!(told(&tape), ["90..99", "start 2", "100..109"]);
        tape.discard();
        assert_eq!(told(&tape), ["100..109"]);
    }

    #[test]
    fn of_a_segment_that_is_too_long_the_end_is_told() {
        let mut tape = Tape::new(10, 50);
        tape.push(&numbers(0, 10));
        tape.start(SegmentId(1));
        tape.push(&numbers(10, 200));
        assert_eq!(told(&tape), ["nothing", "start 1", "150..199"]);
    }
}
