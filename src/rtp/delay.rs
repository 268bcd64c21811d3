//! How long to hold packets back: the delay that all but a few percent of them stay within.

use super::drift::Drift;

/// Width of a histogram bin in microseconds.
const BIN_US: i64 = 2_500;
/// Bins; later packets count in the last one, so no target exceeds 320 ms.
const BINS: usize = 128;
/// Share of packets that must arrive in time.
const COVERED: f64 = 0.96;
/// A packet weighs half as much as one that came 350 packets, 7 s, later.
const GROWTH: f64 = 1.002;
/// The fastest packet is forgotten after one to two of these: a route that became slower, or clocks that
/// drift apart, must not count as jitter for ever.
const FASTEST_WINDOW_US: i64 = 4_000_000;
/// A transit further off than this is another clock, not a delay.
const DISCONTINUITY_US: i64 = 1_000_000;
/// No more delay is wanted than the slowest packet of the last one to two of these needed: a network that became calm
/// is believed within seconds, however long it was rough before.
const CALM_WINDOW_US: i64 = 1_500_000;

/// Learns the spread of packet delays against the fastest recent packet.
#[derive(Debug)]
pub struct DelayEstimate {
    weights: Box<[f64; BINS]>,
    total: f64,
    weight: f64,
    fastest: i64,
    fastest_before: i64,
    window_started: i64,
    heard: bool,
    late_before: i64,
    media_before: i64,
    slowest: i64,
    slowest_before: i64,
    calm_window_started: i64,
    drift: Drift,
}

impl DelayEstimate {
    /// Begins with the belief that there is no jitter.
    #[must_use]
    pub fn new() -> Self {
        let mut estimate = Self {
            weights: Box::new([0.0; BINS]),
            total: 0.0,
            weight: 0.0,
            fastest: 0,
            fastest_before: 0,
            window_started: 0,
            heard: false,
            late_before: 0,
            media_before: 0,
            slowest: 0,
            slowest_before: 0,
            calm_window_started: 0,
            drift: Drift::new(),
        };
        estimate.clear();
        estimate
    }

    /// Forgets what was learned, without allocating.
    pub fn clear(&mut self) {
        self.weights.fill(0.0);
        (self.total, self.weight, self.heard) = (0.0, 1.0, false);
        (self.late_before, self.media_before) = (0, 0);
        (self.slowest, self.slowest_before) = (0, 0);
        self.drift = Drift::new();
    }

    /// By how many parts per million the sender's clock runs slower than ours (faster, when negative). `None` until it
    /// was watched for long enough to be sure.
    #[must_use]
    pub fn drift_ppm(&self) -> Option<f64> {
        self.drift.ppm()
    }

    /// Records a packet that arrived at `arrival_us` and whose timestamp stands for `media_us`, both on
    /// clocks of their own that only need to run at the same pace.
    pub fn record(&mut self, arrival_us: i64, media_us: i64) {
        let transit = arrival_us - media_us;
        if !self.heard || (transit - self.fastest.min(self.fastest_before)).abs() > DISCONTINUITY_US {
            self.heard = true;
            (self.fastest, self.fastest_before, self.window_started) = (transit, transit, arrival_us);
            (self.slowest, self.slowest_before, self.calm_window_started) = (0, 0, arrival_us);
            self.drift = Drift::new();
        }
        self.drift.record(arrival_us, transit);
        if arrival_us - self.window_started > FASTEST_WINDOW_US {
            self.fastest_before = self.fastest;
            self.fastest = transit;
            self.window_started = arrival_us;
        }
        self.fastest = self.fastest.min(transit);
        let late = (transit - self.base()).max(0);
        if arrival_us - self.calm_window_started > CALM_WINDOW_US {
            (self.slowest_before, self.slowest) = (self.slowest, 0);
            self.calm_window_started = arrival_us;
        }
        self.slowest = self.slowest.max(late);
        // A packet that only queued behind the late one before it tells nothing further: a stall of a second
        // is one event, not fifty.
        let queued = late > 0 && late <= self.late_before - (media_us - self.media_before) + BIN_US;
        (self.late_before, self.media_before) = (late, media_us);
        if queued {
            return;
        }
        let bin = usize::try_from(late / BIN_US).unwrap_or(0).min(BINS - 1);
        if let Some(bin) = self.weights.get_mut(bin) {
            *bin += self.weight;
            self.total += self.weight;
        }
        self.weight *= GROWTH;
        if self.weight > 1e12 {
            self.weights.iter_mut().for_each(|w| *w *= 1e-12);
            self.total *= 1e-12;
            self.weight *= 1e-12;
        }
    }

    /// The transit of the fastest recent packet.
    #[must_use]
    pub fn base(&self) -> i64 {
        self.fastest.min(self.fastest_before)
    }

    /// The delay after the fastest packet within which 96 % of the packets arrive, in microseconds; no more than the
    /// slowest of the last seconds needed.
    #[must_use]
    pub fn target_us(&self) -> i64 {
        let slowest = self.slowest.max(self.slowest_before) / BIN_US;
        // On a calm network nothing is looked up.
        if slowest == 0 { 0 } else { self.covering_us().min((slowest + 1) * BIN_US) }
    }

    fn covering_us(&self) -> i64 {
        let mut above = self.total * (1.0 - COVERED);
        for (n, weight) in self.weights.iter().enumerate().rev() {
            above -= weight;
            if above < 0.0 {
                // The first bin is within what clocks and schedulers do on their own.
                return if n == 0 { 0 } else { (n as i64 + 1) * BIN_US };
            }
        }
        0
    }
}

impl Default for DelayEstimate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    fn after(packets: i64, late_us: &mut dyn FnMut(i64) -> i64) -> DelayEstimate {
        let mut estimate = DelayEstimate::new();
        for n in 0..packets {
            estimate.record(n * 20_000 + 77_000_000 + late_us(n), n * 20_000);
        }
        estimate
    }

    #[test]
    fn punctual_packets_need_next_to_no_delay() {
        assert_eq!(after(100, &mut |_| 0).target_us(), 0);
    }

    #[test]
    fn uniform_jitter_needs_almost_all_of_its_spread() {
        let mut random = Random::seeded(4);
        let target = after(1_000, &mut |_| random.below(30_000) as i64).target_us();
        assert!((26_000..=30_000).contains(&target), "{target}");
    }

    #[test]
    fn a_slower_route_is_forgotten_as_delay_within_ten_seconds() {
        let estimate = after(1_000, &mut |n| if n < 400 { 0 } else { 50_000 });
        assert_eq!(estimate.base(), 77_050_000);
    }

    #[test]
    fn another_clock_starts_anew() {
        let estimate = after(100, &mut |n| if n < 50 { 0 } else { 3_600_000_000 });
        assert_eq!(estimate.base(), 3_677_000_000);
        assert_eq!(estimate.target_us(), 0);
    }

    #[test]
    fn weights_survive_a_day_of_packets() {
        let mut estimate = after(20_000, &mut |_| 0);
        for n in 20_000..60_000 {
            estimate.record(n * 20_000 + 77_000_000 + (n % 5) * 5_000, n * 20_000);
        }
        assert_eq!(estimate.target_us(), 22_500);
    }
}
