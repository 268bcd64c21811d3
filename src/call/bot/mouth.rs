//! Audio of the bot on its way to the caller: a deep queue above the shallow ring of the media worker, and the marks
//! that stand between its pieces.
//!
//! Audio runs into the ring in turns: one lasts until the bot has said nothing more for a moment and everything was
//! played, or until it is voided. Times are counted in 1/48,000 s, which every rate divides.

use super::ear::converter;
use super::limits::{DRY_AFTER, MARKS};
use crate::audio::Resampler;
use crate::base::{SampleRate, TurnId};
use crate::call::playout::Downlink;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Units of time of a position, per second.
const UNITS: u64 = 48_000;

/// Samples below this are silence: −54 dBFS at their peak.
const SILENT: u16 = 64;

/// A mark that was reached, or voided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reached {
    pub(super) name: String,
    pub(super) played: bool,
}

/// A run of audio without an end known beforehand.
#[derive(Clone, Copy, Debug)]
struct Turn {
    id: TurnId,
    /// Units of the bot's audio taken in.
    taken: u64,
    /// Samples of the line handed to the ring.
    pushed: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mouth {
    line_rate: SampleRate,
    /// Rate of what waits in `queue`.
    rate: SampleRate,
    resampler: Option<Resampler>,
    queue: VecDeque<i16>,
    /// Converted for the line, from `next` on not yet in the ring.
    converted: Vec<i16>,
    next: usize,
    limit: Duration,
    /// The turn that is open.
    turn: Option<Turn>,
    /// The turn before, which may still be heard.
    ended: Option<Turn>,
    last: TurnId,
    marks: VecDeque<(TurnId, u64, String)>,
    /// Units by which the bot's audio came too late to be played in time, and which silence in it may make good.
    late: u64,
    dry_since: Option<Instant>,
    dropped: u64,
    accepted: u64,
}

impl Mouth {
    /// Lets at most `limit` of audio wait.
    pub(super) fn new(line_rate: SampleRate, limit: Duration) -> Self {
        Self {
            line_rate,
            rate: line_rate,
            resampler: None,
            queue: VecDeque::new(),
            converted: Vec::new(),
            next: 0,
            limit,
            turn: None,
            ended: None,
            last: TurnId::NONE,
            marks: VecDeque::new(),
            late: 0,
            dry_since: None,
            dropped: 0,
            accepted: 0,
        }
    }

    /// Goes on with another line, of this rate. What waited for the old one is void: [`Self::clear`] comes first.
    pub(super) fn set_line_rate(&mut self, rate: SampleRate) {
        (self.line_rate, self.last) = (rate, TurnId::NONE);
        self.resampler = converter(self.rate, rate);
    }

    /// Milliseconds of audio that were taken in.
    pub(super) fn accepted_ms(&self) -> u64 {
        self.accepted * 1_000 / UNITS
    }

    /// Milliseconds of audio that found the queue full.
    pub(super) fn dropped_ms(&self) -> u64 {
        self.dropped * 1_000 / UNITS
    }

    /// Takes in audio of the bot.
    pub(super) fn push(&mut self, rate: SampleRate, samples: &[i16]) {
        let units = samples.len() as u64 * (UNITS / u64::from(rate.0.max(1)));
        let taken = self.say(rate, samples);
        self.accepted += taken;
        self.dropped += units - taken;
    }

    /// Takes in audio of our own, which is not counted as the bot's. The units that found room.
    pub(super) fn say(&mut self, rate: SampleRate, samples: &[i16]) -> u64 {
        let unit = UNITS / u64::from(rate.0.max(1));
        if rate != self.rate {
            self.convert_all();
            self.rate = rate;
            self.resampler = converter(rate, self.line_rate);
        }
        let waiting = self.rate.duration_of(self.queue.len()) + self.line_rate.duration_of(self.converted.len());
        let room = self.limit.saturating_sub(waiting).as_nanos() * u128::from(rate.0) / 1_000_000_000;
        let taken = samples.len().min(room as usize);
        self.queue.extend(samples.get(..taken).unwrap_or_default());
        let units = taken as u64 * unit;
        if taken > 0 {
            self.dry_since = None;
            self.current().taken += units;
        }
        units
    }

    fn current(&mut self) -> &mut Turn {
        let last = &mut self.last;
        self.turn.get_or_insert_with(|| {
            *last = last.next();
            Turn { id: *last, taken: 0, pushed: 0 }
        })
    }

    /// The line was silent for this long in the middle of a turn: its audio came late. A bot that streams without end
    /// would stay behind by that for the rest of the call; so as much of its silence is left out.
    pub(super) fn starved(&mut self, turn: TurnId, span: Duration) {
        if self.turn.is_some_and(|open| open.id == turn) {
            self.late += span.as_millis() as u64 * UNITS / 1_000;
        }
    }

    /// Leaves out a chunk at the front of the queue when it is silent and the bot is behind, unless the line would miss it:
    /// `waiting` samples are in the ring.
    fn skip_silence(&mut self, turn: &mut Turn, waiting: u64) -> bool {
        let chunk = self.rate.samples_in_ms(20);
        let units = chunk as u64 * (UNITS / u64::from(self.rate.0.max(1)));
        let is_silent = |sample: &i16| sample.unsigned_abs() < SILENT;
        let is_spare = self.queue.len() >= 2 * chunk || waiting >= self.line_rate.samples_in_ms(20) as u64;
        if !is_spare || self.late < units || self.queue.len() < chunk || !self.queue.iter().take(chunk).all(is_silent) {
            return false;
        }
        let front = turn.taken.saturating_sub(self.queue.len() as u64 * (UNITS / u64::from(self.rate.0.max(1))));
        for (_, at, _) in self.marks.iter_mut().filter(|(id, at, _)| *id == turn.id && *at > front) {
            *at = at.saturating_sub(units).max(front);
        }
        self.queue.drain(..chunk);
        turn.taken -= units.min(turn.taken);
        self.late -= units;
        true
    }

    /// Sets a mark behind everything taken in so far. False when there are too many.
    pub(super) fn mark(&mut self, name: String) -> bool {
        if self.marks.len() >= MARKS {
            return false;
        }
        let (turn, at) = match (&self.turn, &self.ended) {
            (Some(turn), _) => (turn.id, turn.taken),
            (None, ended) => (ended.map_or(self.last, |turn| turn.id), u64::MAX),
        };
        self.marks.push_back((turn, at, name));
        true
    }

    /// The next mark that was reached.
    pub(super) fn reached(&mut self, downlink: &impl Downlink) -> Option<Reached> {
        let (turn, at, _) = self.marks.front()?;
        let due = match (&self.turn, &self.ended) {
            (Some(open), _) if open.id == *turn => {
                downlink.played(*turn) >= at.saturating_mul(u64::from(self.line_rate.0)) / UNITS
            }
            // Of a turn that has ended the last word is the last sample that went out.
            (_, Some(ended)) if ended.id == *turn => {
                let wanted = at.saturating_mul(u64::from(self.line_rate.0)) / UNITS;
                downlink.played(*turn) >= wanted.min(ended.pushed)
            }
            _ => true,
        };
        due.then(|| self.marks.pop_front()).flatten().map(|(_, _, name)| Reached { name, played: true })
    }

    /// Whether marks wait.
    pub(super) fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether there is audio that was not handed to the ring.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.next == self.converted.len()
    }

    /// Whether everything taken in was played.
    pub(super) fn is_silent(&self, downlink: &impl Downlink) -> bool {
        let over = self.ended.is_none_or(|turn| downlink.played(turn.id) >= turn.pushed);
        self.turn.is_none() && self.is_empty() && over
    }

    /// Moves audio into the ring, and ends the turn when nothing has come for a moment.
    pub(super) fn pump(&mut self, downlink: &mut impl Downlink, now: Instant) {
        let Some(mut turn) = self.turn else { return };
        loop {
            let rest = self.converted.get(self.next..).unwrap_or_default();
            if !rest.is_empty() {
                let taken = downlink.push(turn.id, rest);
                self.next += taken;
                turn.pushed += taken as u64;
                if self.next < self.converted.len() {
                    break;
                }
            }
            (self.converted, self.next) = (Vec::new(), 0);
            let waiting = turn.pushed.saturating_sub(downlink.played(turn.id));
            while self.skip_silence(&mut turn, waiting) {}
            if self.queue.is_empty() {
                break;
            }
            self.convert(self.rate.samples_in_ms(20));
        }
        self.turn = Some(turn);
        if !self.is_empty() {
            return;
        }
        // The last of it may wait in a converter or as half a frame; what was played can be less by that.
        let margin = 2 * self.line_rate.samples_in_ms(20) as u64;
        if downlink.played(turn.id) + margin < turn.pushed {
            return;
        }
        let since = *self.dry_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= DRY_AFTER {
            self.end_turn(downlink);
        }
    }

    fn end_turn(&mut self, downlink: &mut impl Downlink) {
        let Some(mut turn) = self.turn.take() else { return };
        if let Some(resampler) = &mut self.resampler {
            let (mut tail, wanted) = (Vec::new(), turn.taken * u64::from(self.line_rate.0) / UNITS);
            resampler.finish(&mut tail);
            let missing = wanted.saturating_sub(turn.pushed) as usize;
            let tail = tail.get(..missing.min(tail.len())).unwrap_or_default();
            turn.pushed += downlink.push(turn.id, tail) as u64;
        }
        downlink.end_of_turn(turn.id);
        self.ended = Some(turn);
        (self.dry_since, self.late) = (None, 0);
    }

    /// When [`Self::pump`] has to be called though nothing happens.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.dry_since.map(|since| since + DRY_AFTER)
    }

    /// Voids everything not played yet, at once. Marks that wait are reached, unplayed.
    pub(super) fn clear(&mut self, downlink: &mut impl Downlink) -> Vec<Reached> {
        self.queue = VecDeque::new();
        (self.converted, self.next) = (Vec::new(), 0);
        if let Some(resampler) = &mut self.resampler {
            resampler.finish(&mut Vec::new());
        }
        downlink.flush_through(self.last);
        (self.turn, self.ended, self.dry_since, self.late) = (None, None, None, 0);
        self.marks.drain(..).map(|(_, _, name)| Reached { name, played: false }).collect()
    }

    /// Converts `samples` of the queue, or all there are when there are fewer. What is empty keeps no memory: most calls
    /// have nothing waiting between two pieces, and memory that they use one after the other stays in the processor's cache.
    fn convert(&mut self, samples: usize) {
        let count = samples.min(self.queue.len());
        self.converted.reserve(self.line_rate.samples_in_ms(20));
        match &mut self.resampler {
            Some(resampler) => {
                let (front, back) = self.queue.as_slices();
                resampler.push(front.get(..count.min(front.len())).unwrap_or_default(), &mut self.converted);
                let more = count.saturating_sub(front.len());
                resampler.push(back.get(..more).unwrap_or_default(), &mut self.converted);
                self.queue.drain(..count);
            }
            None => self.converted.extend(self.queue.drain(..count)),
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    fn convert_all(&mut self) {
        self.convert(self.queue.len());
        if let Some(resampler) = &mut self.resampler {
            resampler.finish(&mut self.converted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::hand_played_ring::HandPlayedRing;

    /// A quarter of a second.
    const ROOM: usize = 2_000;

    fn mouth() -> Mouth {
        Mouth::new(SampleRate::NARROWBAND, Duration::from_secs(2))
    }

    const RATE: SampleRate = SampleRate::NARROWBAND;

    #[test]
    fn a_mark_is_reached_when_the_audio_before_it_was_played_and_no_sooner() {
        let (mut mouth, mut ring, now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(RATE, &[1; 400]);
        assert!(mouth.mark("one".into()));
        mouth.push(RATE, &[1; 400]);
        assert!(mouth.mark("two".into()));
        mouth.pump(&mut ring, now);
        ring.play(399);
        assert_eq!(mouth.reached(&ring), None);
        ring.play(1);
        assert_eq!(mouth.reached(&ring), Some(Reached { name: "one".into(), played: true }));
        assert_eq!(mouth.reached(&ring), None);
        ring.play(400);
        assert_eq!(mouth.reached(&ring).unwrap().name, "two");
        assert!(!mouth.has_marks());
    }

    #[test]
    fn a_mark_with_nothing_before_it_is_reached_at_once() {
        let (mut mouth, ring) = (mouth(), HandPlayedRing::new(ROOM));
        assert!(mouth.mark("early".into()));
        assert_eq!(mouth.reached(&ring).unwrap().name, "early");
    }

    #[test]
    fn a_clear_voids_what_waits_and_reaches_its_marks_unplayed() {
        let (mut mouth, mut ring, now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(RATE, &[1; 8_000]);
        assert!(mouth.mark("end".into()));
        mouth.pump(&mut ring, now);
        ring.play(100);
        assert_eq!(mouth.clear(&mut ring), [Reached { name: "end".into(), played: false }]);
        assert_eq!(ring.flushed, Some(TurnId(1)));
        assert!(mouth.is_silent(&ring));
        mouth.push(RATE, &[1; 160]);
        mouth.pump(&mut ring, now);
        assert_eq!(ring.waiting, [(TurnId(2), 160)], "a turn of its own, which the flush does not reach");
    }

    #[test]
    fn a_turn_ends_only_when_nothing_has_come_for_a_moment_after_all_was_played() {
        let (mut mouth, mut ring, mut now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(RATE, &[1; 1_600]);
        mouth.pump(&mut ring, now);
        now += DRY_AFTER;
        mouth.pump(&mut ring, now);
        assert!(ring.ended.is_empty(), "it is being heard");
        ring.play(1_600);
        mouth.pump(&mut ring, now);
        mouth.push(RATE, &[1; 160]);
        now += DRY_AFTER;
        mouth.pump(&mut ring, now);
        assert!(ring.ended.is_empty(), "more has come");
        ring.play(160);
        mouth.pump(&mut ring, now);
        assert!(mouth.timeout().is_some_and(|at| at <= now + DRY_AFTER));
        now += DRY_AFTER;
        mouth.pump(&mut ring, now);
        assert_eq!(ring.ended, [TurnId(1)]);
        assert!(mouth.is_silent(&ring));
    }

    #[test]
    fn audio_beyond_the_queue_is_dropped_and_counted() {
        let mut mouth = mouth();
        mouth.push(RATE, &vec![1; 24_000]);
        assert_eq!((mouth.accepted_ms(), mouth.dropped_ms()), (2_000, 1_000));
    }

    #[test]
    fn a_wide_bot_is_heard_on_a_narrow_line_for_as_long_and_its_marks_are_in_time() {
        let (mut mouth, mut ring, mut now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(SampleRate(24_000), &[1; 1_200]);
        assert!(mouth.mark("end".into()));
        mouth.pump(&mut ring, now);
        ring.play(10_000);
        mouth.pump(&mut ring, now);
        assert_eq!(mouth.reached(&ring), None, "the last part waits in the converter");
        now += DRY_AFTER;
        mouth.pump(&mut ring, now);
        ring.play(10_000);
        assert_eq!(ring.played(TurnId(1)), 400);
        assert_eq!(mouth.reached(&ring).unwrap().name, "end");
    }

    #[test]
    fn a_bot_that_fell_behind_catches_up_in_its_silence_and_keeps_its_marks() {
        let (mut mouth, mut ring, now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(RATE, &[1_000; 160]);
        mouth.pump(&mut ring, now);
        ring.play(160);
        mouth.starved(TurnId(1), Duration::from_millis(60));
        mouth.push(RATE, &[1_000; 320]);
        mouth.push(RATE, &[0; 800]);
        mouth.push(RATE, &[1_000; 320]);
        assert!(mouth.mark("end".into()));
        mouth.pump(&mut ring, now);
        // Of 1,440 samples three chunks of silence are left out.
        ring.play(959);
        assert_eq!(mouth.reached(&ring), None);
        ring.play(1);
        assert_eq!(ring.played(TurnId(1)), 160 + 960);
        assert_eq!(mouth.reached(&ring).map(|mark| mark.name), Some("end".to_owned()));
    }

    #[test]
    fn a_bot_that_streams_without_end_catches_up_chunk_by_chunk_and_never_below_what_the_line_needs() {
        let (mut mouth, mut ring, now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        let mut beat = |mouth: &mut Mouth, samples: [i16; 160]| {
            mouth.push(RATE, &samples);
            mouth.pump(&mut ring, now);
            let waiting = ring.waiting.iter().map(|(_, n)| n).sum::<usize>();
            ring.play(160);
            waiting
        };
        assert_eq!(beat(&mut mouth, [1_000; 160]), 160);
        // One piece came late, and the next ones behind it.
        mouth.starved(TurnId(1), Duration::from_millis(40));
        mouth.push(RATE, &[1_000; 160]);
        assert_eq!(beat(&mut mouth, [1_000; 160]), 320);
        assert_eq!(beat(&mut mouth, [0; 160]), 160, "left out");
        assert_eq!(beat(&mut mouth, [0; 160]), 160, "needed");
        assert_eq!(beat(&mut mouth, [1_000; 160]), 160);
    }

    #[test]
    fn another_rate_in_the_middle_of_a_turn_loses_nothing() {
        let (mut mouth, mut ring, now) = (mouth(), HandPlayedRing::new(ROOM), Instant::now());
        mouth.push(SampleRate::WIDEBAND, &[1; 640]);
        mouth.push(RATE, &[1; 320]);
        mouth.pump(&mut ring, now);
        ring.play(10_000);
        assert!(ring.played(TurnId(1)) >= 640, "{}", ring.played(TurnId(1)));
    }
}
