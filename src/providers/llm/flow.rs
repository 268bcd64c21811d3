//! How an answer flows: when the next piece is due, and whether the words come fast enough to be of any use. Pure.

use std::time::{Duration, Instant};

/// Characters a second below which words drip: a quarter of the pace in which they are spoken.
const CHARACTERS_PER_SECOND: u32 = 4;

/// One answer.
#[derive(Debug)]
pub(super) struct Flow {
    /// When the first piece must have come.
    first_by: Instant,
    stall: Duration,
    /// The last piece, and how long the words so far keep a voice busy that speaks no faster than they may drip.
    begun: Option<(Instant, Instant)>,
}

impl Flow {
    /// An answer that is asked for `now`: its first piece within `first`, and none later than `stall` after the one before
    /// it or after the words before it have run out.
    pub(super) fn new(first: Duration, stall: Duration, now: Instant) -> Self {
        Self { first_by: now + first, stall, begun: None }
    }

    /// A piece with so many characters to be said; none in a tool call's.
    pub(super) fn piece(&mut self, characters: usize, now: Instant) {
        let words = Duration::from_secs(characters as u64) / CHARACTERS_PER_SECOND;
        let lasts = self.begun.map_or(now, |(_, lasts)| lasts);
        // What is none of the words takes its own time.
        let lasts = if characters == 0 { lasts.max(now) } else { lasts };
        self.begun = Some((now, lasts + words));
    }

    /// When the vendor is too late.
    pub(super) fn deadline(&self) -> Instant {
        self.begun.map_or(self.first_by, |(last, lasts)| last.min(lasts) + self.stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(1_400);
    const STALL: Duration = Duration::from_millis(1_000);

    /// Pieces of so many characters, so many milliseconds apart; after how long the vendor was given up.
    fn given_up(characters: usize, gap: u64, pieces: u32) -> Option<Duration> {
        let began = Instant::now();
        let mut flow = Flow::new(FIRST, STALL, began);
        for n in 0..pieces {
            let now = began + Duration::from_millis(gap) * (n + 1);
            if flow.deadline() <= now {
                return Some(flow.deadline() - began);
            }
            flow.piece(characters, now);
        }
        None
    }

    #[test]
    fn words_in_the_pace_of_a_slow_machine_are_borne_with_and_a_drip_is_not() {
        assert_eq!(given_up(4, 50, 500), None, "twenty tokens a second");
        assert_eq!(given_up(4, 900, 500), None, "a token a second is just about enough");
        let dripping = given_up(1, 400, 500).expect("a character at a time");
        assert!(dripping >= STALL && dripping < STALL * 4, "{dripping:?}");
    }

    #[test]
    fn a_piece_that_does_not_come_is_waited_for_only_so_long_however_many_words_there_are() {
        assert_eq!(given_up(1, 1_500, 2), Some(FIRST));
        let now = Instant::now();
        let mut flow = Flow::new(FIRST, STALL, now);
        flow.piece(1_000, now);
        assert_eq!(flow.deadline(), now + STALL);
    }

    #[test]
    fn a_tool_call_among_the_words_takes_its_own_time() {
        let began = Instant::now();
        let mut flow = Flow::new(FIRST, STALL, began);
        flow.piece(1, began);
        for n in 1..=20 {
            let now = began + STALL / 2 * n;
            assert!(flow.deadline() > now, "{n}");
            flow.piece(0, now);
        }
    }
}
