//! How many datagrams a turn asks a socket for.

use crate::media::sys::BATCH;

/// A peer that sends one packet in 20 ms has no second one waiting, and looking for it costs a tenth of the turn. So one is
/// read after a turn that found exactly one, and a whole batch after any other, which is how floods and bursts are drained.
#[derive(Debug, Default)]
pub(super) struct Reading {
    one: bool,
    turns: u8,
}

impl Reading {
    /// One turn of so many asks for a whole batch in any case: what piled up behind a hiccup is found within 80 ms.
    const LOOK_EVERY: u8 = 4;

    /// Datagrams to ask for first in this turn; `missed` turns were skipped before it.
    pub(super) fn first(&mut self, missed: u32) -> usize {
        self.turns = (self.turns + 1) % Self::LOOK_EVERY;
        if self.one && missed == 0 && self.turns != 0 { 1 } else { BATCH }
    }

    /// Takes note of what the turn found in all.
    pub(super) fn note(&mut self, taken: usize) {
        self.one = taken == 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reading: &mut Reading, taken: usize) -> usize {
        let first = reading.first(0);
        reading.note(taken.min(first));
        first
    }

    #[test]
    fn one_is_asked_for_while_one_comes_and_a_batch_now_and_then() {
        let mut reading = Reading::default();
        let turns: Vec<usize> = (0..9).map(|_| asked(&mut reading, 1)).collect();
        assert_eq!(turns, [BATCH, 1, 1, BATCH, 1, 1, 1, BATCH, 1]);
    }

    #[test]
    fn a_batch_is_asked_for_after_silence_after_several_and_after_a_missed_turn() {
        for taken in [0, 2, BATCH] {
            let mut reading = Reading::default();
            reading.note(taken);
            assert_eq!(reading.first(0), BATCH, "{taken}");
        }
        let mut reading = Reading::default();
        reading.note(1);
        assert_eq!((reading.first(1), reading.first(0)), (BATCH, 1));
    }

    #[test]
    fn what_piles_up_is_found_within_four_turns() {
        let (mut reading, mut waiting) = (Reading::default(), 0);
        reading.note(1);
        let mut most = 0;
        for turn in 0..40 {
            waiting += if turn == 10 { 4 } else { 1 };
            let first = reading.first(0);
            let taken = waiting.min(first);
            reading.note(taken);
            waiting -= taken;
            most = if waiting == 0 { 0 } else { most + 1 };
            assert!(most < 4, "turn {turn}");
        }
    }
}
