//! How fast a vendor may be sent audio that has piled up.

use std::time::{Duration, Instant};

/// A vendor's bounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// Seconds of audio per second, above 1: at 1 what has piled up is never caught up with.
    pub speed: f64,
    /// Audio that may go at once.
    pub burst: Duration,
}

impl Default for Pace {
    /// The whole ring at once is no burden to a vendor that has not said so.
    fn default() -> Self {
        Self { speed: 8.0, burst: Duration::from_secs(3) }
    }
}

/// A bucket of audio that may be sent.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    credit: Duration,
    at: Instant,
}

impl Pacer {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, credit: pace.burst, at: now }
    }

    /// Takes so much, or says when it may be asked for again.
    pub(super) fn take(&mut self, audio: Duration, now: Instant) -> Result<(), Instant> {
        let earned = now.saturating_duration_since(self.at).mul_f64(self.pace.speed);
        self.credit = (self.credit + earned).min(self.pace.burst.max(audio));
        self.at = now;
        match self.credit.checked_sub(audio) {
            Some(left) => {
                self.credit = left;
                Ok(())
            }
            None => {
                let missing = (audio - self.credit).div_f64(self.pace.speed.max(0.1));
                Err(now + missing.max(Duration::from_millis(1)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_burst_goes_at_the_vendor_s_speed() {
        let mut now = Instant::now();
        let began = now;
        let mut pacer = Pacer::new(Pace { speed: 2.0, burst: Duration::from_secs(1) }, now);
        let packet = Duration::from_millis(100);
        for _ in 0..30 {
            while let Err(again) = pacer.take(packet, now) {
                assert!(again > now);
                now = again;
            }
        }
        let took = now - began;
        assert!(took >= Duration::from_millis(990) && took < Duration::from_millis(1_040), "{took:?}");
    }
}
