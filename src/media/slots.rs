//! The ticks of the wheel and the slots they belong to.

use super::limits::{LEGS_PER_SLOT, SLOT, SLOTS, SPEAK_AFTER};
use std::time::{Duration, Instant};

/// Slots from one to the next of those that legs are put into while there are this many. To wake up for a slot costs
/// something whether one leg is served or forty, so that few legs share few slots, each served later than it could be by
/// half the distance on average: every fifth slot while two hold them all, every second one while five do, then every one.
pub(super) fn spacing(legs: usize) -> u64 {
    let fits = |spacing: &u64| legs <= LEGS_PER_SLOT * SLOTS / *spacing as usize;
    [5, 2].into_iter().find(fits).unwrap_or(1)
}

/// Whether legs are put into the slot of this tick.
pub(super) fn is_open(tick: u64, spacing: u64) -> bool {
    (slot_of(tick) as u64).is_multiple_of(spacing)
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
        (0..SLOTS as u64).filter(|tick| is_open(*tick, spacing(legs))).collect()
    }

    #[test]
    fn few_legs_share_few_slots_and_many_have_them_all() {
        assert_eq!(open_slots(1), [0, 5]);
        assert_eq!(open_slots(80), [0, 5]);
        assert_eq!(open_slots(81), [0, 2, 4, 6, 8]);
        assert_eq!(open_slots(200), [0, 2, 4, 6, 8]);
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
    fn the_fewest_slots_are_those_that_halved_legs_speak_in_too() {
        let mut speaking: Vec<_> = open_slots(1).into_iter().map(speaking_slot).collect();
        speaking.sort_unstable();
        assert_eq!(speaking, [0, 5]);
    }

    #[test]
    fn a_tick_lasts_a_slot() {
        let epoch = Instant::now();
        assert_eq!(tick_at(epoch, epoch + SLOT * 7), 7);
        assert_eq!(tick_at(epoch, time_of(epoch, 12)), 12);
        assert_eq!(tick_at(epoch, epoch + SLOT * 8 - Duration::from_nanos(1)), 7);
    }
}
