//! Waiting longer after each failure, with jitter so that many clients do not return at once.

use super::Random;
use std::time::Duration;

/// Exponential back-off: the n-th wait is `first · 2ⁿ`, capped at `ceiling`, then drawn from its upper half.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits start near `first` and never exceed `ceiling`.
    #[must_use]
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, failures: 0 }
    }

    /// Counts one more failure and says how long to wait before the next try.
    pub fn next_wait(&mut self, random: &mut Random) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(20)).min(self.ceiling);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + random.unit() / 2.0)
    }

    /// Forgets the failures after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_within_the_upper_half() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut random = Random::seeded(3);
        for full in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let wait = backoff.next_wait(&mut random).as_secs_f64();
            assert!((full / 2.0..=full).contains(&wait), "{wait} not in the upper half of {full}");
        }
        backoff.reset();
        assert!(backoff.next_wait(&mut random) <= Duration::from_secs(1));
    }
}
