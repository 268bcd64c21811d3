//! How much a bot sends, and whether that is too much.

use super::limits::{FAULTS, MESSAGES_BURST, MESSAGES_PER_SECOND};
use super::socket::Lost;
use std::time::Instant;

/// Counts of one call; what is allowed is counted anew on each connection.
#[derive(Debug)]
pub(super) struct Meter {
    /// Messages that this side does not know.
    pub(super) unknown: u64,
    /// Messages that are none of the protocol.
    pub(super) faulty: u64,
    faults: u32,
    credit: f64,
    at: Instant,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { unknown: 0, faulty: 0, faults: 0, credit: MESSAGES_BURST, at: now }
    }

    /// Another connection.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.faults, self.credit, self.at) = (0, MESSAGES_BURST, now);
    }

    /// A message came.
    pub(super) fn message(&mut self, now: Instant) -> Result<(), Lost> {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * MESSAGES_PER_SECOND;
        self.credit = (self.credit + earned).min(MESSAGES_BURST) - 1.0;
        self.at = now;
        if self.credit < 0.0 { Err(Lost::CutOff("too many messages")) } else { Ok(()) }
    }

    /// It could not be read.
    pub(super) fn fault(&mut self) -> Result<(), Lost> {
        self.faulty += 1;
        self.faults += 1;
        if self.faults > FAULTS { Err(Lost::CutOff("too many messages that are none of the protocol")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minute_of_audio_at_once_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert!((0..3_000).all(|_| meter.message(start).is_ok()));
        assert!((0..2_000).any(|_| meter.message(start).is_err()));
        let mut meter = Meter::new(start);
        let live = |n: u64| start + Duration::from_millis(n * 20);
        assert!((0..10_000).all(|n| meter.message(live(n)).is_ok()));
    }

    #[test]
    fn rubbish_is_borne_for_a_while_on_each_connection() {
        let mut meter = Meter::new(Instant::now());
        for _ in 0..2 {
            assert!((0..FAULTS).all(|_| meter.fault().is_ok()));
            assert!(meter.fault().is_err());
            meter.restart(Instant::now());
        }
        assert_eq!(meter.faulty, 2 * u64::from(FAULTS + 1));
    }
}
