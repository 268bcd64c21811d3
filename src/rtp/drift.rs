//! How fast the sender's clock runs against ours: the slope of the fastest transits (minimum delay) over minutes.

/// One fastest transit is noted in each of these.
const STEP_US: i64 = 2_000_000;
/// So many are looked at: two minutes.
const STEPS: usize = 60;
/// Fewer say nothing.
const STEPS_MIN: usize = 8;
/// Crystals are off by up to 100 ppm each; a slope beyond this is a route that changes, not a clock.
const PLAUSIBLE_PPM: f64 = 500.0;
/// A slope is believed when it is so many times its own standard error.
const CERTAINTY: f64 = 4.0;
/// Slopes that differ from nothing by less than this are left alone.
const NEGLIGIBLE_PPM: f64 = 10.0;

/// The fastest transits of the last two minutes.
#[derive(Debug)]
pub(super) struct Drift {
    transits: [i64; STEPS],
    noted: usize,
    fastest: i64,
    step_started: Option<i64>,
    ppm: Option<f64>,
}

impl Drift {
    pub(super) const fn new() -> Self {
        Self { transits: [0; STEPS], noted: 0, fastest: i64::MAX, step_started: None, ppm: None }
    }

    /// Parts per million by which the sender's clock is the slower one, once that is sure. Clocks do not change their
    /// minds: the last sure figure stays while later ones are unsure.
    pub(super) fn ppm(&self) -> Option<f64> {
        self.ppm
    }

    /// Notes the transit of a packet.
    pub(super) fn record(&mut self, arrival_us: i64, transit_us: i64) {
        let started = *self.step_started.get_or_insert(arrival_us);
        let elapsed = arrival_us - started;
        if elapsed >= STEP_US {
            if elapsed >= 2 * STEP_US {
                // Steps without a packet have no transit: begin anew after a pause.
                self.noted = 0;
            } else {
                if let Some(slot) = self.transits.get_mut(self.noted % STEPS) {
                    *slot = self.fastest;
                }
                self.noted += 1;
                self.estimate();
            }
            self.fastest = i64::MAX;
            self.step_started = Some(if elapsed >= 2 * STEP_US { arrival_us } else { started + STEP_US });
        }
        self.fastest = self.fastest.min(transit_us);
    }

    /// Least squares over the steps noted.
    fn estimate(&mut self) {
        let count = self.noted.min(STEPS);
        if count < STEPS_MIN {
            return;
        }
        let oldest = self.noted - count;
        let transit = |n: usize| self.transits.get((oldest + n) % STEPS).copied().unwrap_or(0);
        let first = transit(0);
        let middle = (count - 1) as f64 / 2.0;
        let (mut cross, mut spread, mut sum, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for n in 0..count {
            let (x, y) = (n as f64 - middle, (transit(n) - first) as f64);
            cross += x * y;
            spread += x * x;
            sum += y;
            squares += y * y;
        }
        let slope = cross / spread;
        let unexplained = (squares - sum * sum / count as f64 - slope * cross).max(0.0);
        let error = (unexplained / (count - 2) as f64 / spread).sqrt();
        let seconds = STEP_US as f64 / 1e6;
        let (ppm, error) = (slope / seconds, error / seconds);
        let is_sure =
            ppm.abs() <= PLAUSIBLE_PPM && (ppm.abs() >= CERTAINTY * error || error < NEGLIGIBLE_PPM / CERTAINTY);
        if is_sure {
            self.ppm = Some(if ppm.abs() < NEGLIGIBLE_PPM { 0.0 } else { ppm });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    fn watched(seconds: i64, mut transit: impl FnMut(i64) -> i64) -> Option<f64> {
        let mut drift = Drift::new();
        for at in (0..seconds * 1_000_000).step_by(20_000) {
            let transit = transit(at);
            drift.record(at + transit, transit);
        }
        drift.ppm()
    }

    #[test]
    fn the_drift_of_two_clocks_is_found_within_a_minute_under_jitter() {
        let mut random = Random::seeded(8);
        for ppm in [-200, -50, 50, 200] {
            let found = watched(60, |at| at / 1_000 * ppm / 1_000 + random.below(20_000) as i64);
            assert!(found.is_some_and(|found| (found - ppm as f64).abs() < 25.0), "{ppm}: {found:?}");
        }
    }

    #[test]
    fn clocks_of_one_pace_are_found_not_to_drift() {
        assert_eq!(watched(30, |_| 5_000), Some(0.0));
    }

    #[test]
    fn jitter_alone_is_not_taken_for_drift() {
        for seed in 0..20 {
            let mut random = Random::seeded(seed);
            let found = watched(300, |_| random.below(30_000) as i64).unwrap_or(0.0);
            assert!(found.abs() < 30.0, "seed {seed}: {found}");
        }
    }

    #[test]
    fn a_short_look_and_a_route_that_changes_say_nothing() {
        assert_eq!(watched(10, |at| at / 5_000), None);
        assert_eq!(watched(100, |at| at / 500), None);
    }
}
