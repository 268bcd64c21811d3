//! When the next call is placed.

use super::limits::RATE;
use std::time::Duration;

/// A rate of new calls that may rise to its height.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// New calls each second, at its height.
    rate: f64,
    /// Time in which it rises from nothing.
    ramp: Duration,
}

/// Lowest rate while it rises, in calls per second: the first call does not wait for ever.
const LOWEST: f64 = 0.5;

impl Pace {
    /// `rate` new calls each second, reached by a straight rise over `ramp`. A rate out of bounds is brought within.
    #[must_use]
    pub fn new(rate: f64, ramp: Duration) -> Self {
        Self { rate: rate.clamp(LOWEST, RATE), ramp }
    }

    /// Time from the call placed `elapsed` after the start to the next one.
    #[must_use]
    pub fn gap(self, elapsed: Duration) -> Duration {
        let risen = if elapsed < self.ramp { elapsed.as_secs_f64() / self.ramp.as_secs_f64() } else { 1.0 };
        Duration::from_secs_f64(1.0 / (self.rate * risen).max(LOWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(pace: Pace, seconds: u64) -> usize {
        let mut at = Duration::ZERO;
        let mut calls = 0;
        while at < Duration::from_secs(seconds) {
            calls += 1;
            at += pace.gap(at);
        }
        calls
    }

    #[test]
    fn without_a_ramp_the_rate_holds_from_the_first_second() {
        assert_eq!(placed(Pace::new(20.0, Duration::ZERO), 10), 200);
    }

    #[test]
    fn a_ramp_places_about_half_as_many_while_it_lasts() {
        let calls = placed(Pace::new(100.0, Duration::from_secs(10)), 10);
        assert!((450..=550).contains(&calls), "{calls}");
        let after = placed(Pace::new(100.0, Duration::from_secs(10)), 20) - calls;
        assert!((990..=1_010).contains(&after), "{after}");
    }

    #[test]
    fn a_rate_of_nothing_or_of_everything_is_brought_within_bounds() {
        assert_eq!(Pace::new(0.0, Duration::ZERO).gap(Duration::ZERO), Duration::from_secs(2));
        assert_eq!(Pace::new(f64::INFINITY, Duration::ZERO).gap(Duration::ZERO), Duration::from_micros(500));
    }
}
