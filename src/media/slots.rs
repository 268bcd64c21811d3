//! The ticks of the wheel and the slots they belong to.

use super::limits::{LEGS_PER_SLOT, SLOT, SLOTS, SPEAK_AFTER};
use std::time::{Duration, Instant};

/// The slots that legs are put into. To wake up for a slot costs something whether one leg is served or forty, so that few
/// legs share few slots, each served later than it could be by half the distance between two of them on average. They are
/// apart by [`SPEAK_AFTER`] in pairs, so that what one half of a turn wakes the worker for serves other legs' other half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OpenSlots(&'static [usize]);

/// From the fewest on, each with those before it.
const OPEN: [&[usize]; 3] = [&[0, 5], &[0, 2, 5, 7], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]];

impl OpenSlots {
    /// Those for so many legs.
    pub(super) fn of(legs: usize) -> Self {
        let [few, some, all] = OPEN;
        let fits = |open: &&[usize]| legs <= LEGS_PER_SLOT * open.len();
        Self([few, some].into_iter().find(fits).unwrap_or(all))
    }

    /// Whether the slot of this tick is one of them.
    pub(super) fn has(self, tick: u64) -> bool {
        self.0.contains(&slot_of(tick))
    }
}

/// When a tick is due.
pub(super) fn time_of(epoch: Instant, tick: u64) -> Instant {
    epoch + Duration::from_nanos(SLOT.as_nanos() as u64 * tick)
}

/// The last tick that is due.
pub(super) fn tick_at(epoch: Instant, now: Instant) -> u64 {
    (now.saturating_duration_since(epoch).as_nanos() / SLOT.as_nanos()) as u64
}

/// The slot of a tick.
pub(super) fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// The slot whose legs speak at this tick.
pub(super) fn speaking_slot(tick: u64) -> usize {
    slot_of(tick + (SLOTS - SPEAK_AFTER) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_slots(legs: usize) -> Vec<u64> {
        (0..SLOTS as u64).filter(|tick| OpenSlots::of(legs).has(*tick)).collect()
    }

    #[test]
    fn few_legs_share_few_slots_and_many_have_them_all() {
        assert_eq!(open_slots(1), [0, 5]);
        assert_eq!(open_slots(100), [0, 5]);
        assert_eq!(open_slots(101), [0, 2, 5, 7]);
        assert_eq!(open_slots(200), [0, 2, 5, 7]);
        assert_eq!(open_slots(201).len(), SLOTS);
        assert_eq!(open_slots(2_048).len(), SLOTS);
    }

    #[test]
    fn no_slot_has_more_legs_than_it_may_before_another_is_used() {
        for legs in 1..=LEGS_PER_SLOT * SLOTS {
            assert!(legs <= open_slots(legs).len() * LEGS_PER_SLOT, "{legs}");
        }
    }

    #[test]
    fn halved_legs_speak_in_slots_in_which_others_are_heard() {
        for legs in [1, 101, 201] {
            let mut speaking: Vec<_> = open_slots(legs).into_iter().map(|tick| speaking_slot(tick) as u64).collect();
            speaking.sort_unstable();
            assert_eq!(speaking, open_slots(legs));
        }
    }

    #[test]
    fn a_slot_that_is_open_to_few_legs_is_open_to_more() {
        for legs in 1..LEGS_PER_SLOT * SLOTS {
            let more = open_slots(legs + 1);
            assert!(open_slots(legs).iter().all(|slot| more.contains(slot)), "{legs}");
        }
    }

    #[test]
    fn a_tick_lasts_a_slot() {
        let epoch = Instant::now();
        assert_eq!(tick_at(epoch, epoch + SLOT * 7), 7);
        assert_eq!(tick_at(epoch, time_of(epoch, 12)), 12);
        assert_eq!(tick_at(epoch, epoch + SLOT * 8 - Duration::from_nanos(1)), 7);
    }
}
