//! A token bucket with time as a parameter.

use std::time::{Duration, Instant};

/// Lets `rate` things a second pass, and as many at once as it is deep. 16 bytes of state, so that a table of them is
/// cheap.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f32,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(now: Instant, depth: f32) -> Self {
        Self { tokens: depth, filled_at: now }
    }

    /// Fills the bucket for the time that passed, up to `depth`, and says whether a token is there.
    pub fn has_token(&mut self, now: Instant, rate_per_s: f32, depth: f32) -> bool {
        let passed = now.saturating_duration_since(self.filled_at);
        if passed > Duration::ZERO {
            self.tokens = passed.as_secs_f32().mul_add(rate_per_s, self.tokens);
            self.filled_at = now;
        }
        self.tokens = self.tokens.min(depth);
        self.tokens >= 1.0
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant, rate_per_s: f32, depth: f32) -> bool {
        let has = self.has_token(now, rate_per_s, depth);
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_passes_its_depth_at_once_and_its_rate_from_then_on() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, 5.0);
        let mut passed = |at: Instant, tries: u32| (0..tries).filter(|_| bucket.take(at, 2.0, 5.0)).count();
        assert_eq!(passed(start, 100), 5);
        assert_eq!(passed(start + Duration::from_secs(1), 100), 2);
        assert_eq!(passed(start + Duration::from_secs(3600), 100), 5);
    }

    #[test]
    fn many_tiny_steps_of_time_fill_as_much_as_one_large_step() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, 10.0);
        let passed =
            (0..1_000_000u64).filter(|i| bucket.take(start + Duration::from_micros(10 * i), 20.0, 10.0)).count();
        assert!((205..=211).contains(&passed), "{passed}");
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::full(start, 1.0);
        assert!(bucket.take(start, 1.0, 1.0));
        assert!(!bucket.take(start - Duration::from_secs(5), 1.0, 1.0));
        assert!(bucket.take(start + Duration::from_secs(1), 1.0, 1.0));
    }
}
