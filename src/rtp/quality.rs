//! How good a call sounds, estimated from what the network did to it: the E-model (ITU-T G.107) with its defaults for
//! everything that is not the network's, and the opinion score that follows from it.
//!
//! The scale is that of narrow-band telephony: a flawless call over G.711 has R = 93.2 and a mean opinion score (MOS) of
//! 4.41. Wide-band codecs are judged on the same scale, so the figure tells what losses and delay cost, not how much nicer
//! wide band sounds.

use std::time::Duration;

/// R of a call without any loss or delay, all parameters at their defaults (G.107 table 3).
const R_DEFAULT: f64 = 93.2;
/// The delay from which talking over each other begins, in ms (Cole and Rosenbluth's fit of G.107's delay curve).
const DELAY_KNEE_MS: f64 = 177.3;

/// What losing packets does to a codec (G.113 appendix I).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Impairment {
    /// What the codec itself costs (Ie).
    pub equipment: f64,
    /// How well it stands losses (Bpl): the percentage at which half of what is left to lose is lost.
    pub robustness: f64,
}

impl Impairment {
    /// G.711 with concealment (G.113 appendix I, table I.4).
    pub const G711: Self = Self { equipment: 0.0, robustness: 25.1 };
    /// G.722 with concealment by repetition. G.113 has no figure for it on this scale: an estimate, below G.711's because a
    /// loss also upsets its adaptive state.
    pub const G722: Self = Self { equipment: 0.0, robustness: 15.0 };
    /// Opus with its own concealment. An estimate, as above.
    pub const OPUS: Self = Self { equipment: 0.0, robustness: 20.0 };
    /// Opus whose packets also carry the packet before: single losses are repaired. An estimate, as above.
    pub const OPUS_REDUNDANT: Self = Self { equipment: 0.0, robustness: 45.0 };
}

/// Counts what was to be played and what of it was missing, in whatever unit it is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LossRuns {
    played: u64,
    lost: u64,
    runs: u64,
    in_run: bool,
}

impl LossRuns {
    /// Counts the next unit.
    pub fn record(&mut self, is_lost: bool) {
        self.played += 1;
        self.lost += u64::from(is_lost);
        self.runs += u64::from(is_lost && !self.in_run);
        self.in_run = is_lost;
    }

    /// The share that was missing, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.played == 0 { 0.0 } else { self.lost as f64 / self.played as f64 }
    }

    /// How much longer the gaps are than losses at random would make them (G.107 §7.1, BurstR); at least 1.
    #[must_use]
    pub fn burst_ratio(&self) -> f64 {
        if self.runs == 0 {
            return 1.0;
        }
        let mean_run = self.lost as f64 / self.runs as f64;
        (mean_run * (1.0 - self.loss())).max(1.0)
    }
}

/// An estimate of what a listener would say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quality {
    /// The rating factor R, 0 to 93.2.
    pub r_factor: f64,
    /// The mean opinion score, 1 (bad) to 4.41.
    pub mos: f64,
}

impl Quality {
    /// Estimates a listener's opinion. `loss` is the share (0 to 1) of packets that came too late or not at all, `burst_ratio`
    /// as of [`LossRuns::burst_ratio`], `delay` the whole way from mouth to ear: half the round trip, the jitter buffer, and
    /// a packet's own duration.
    #[must_use]
    pub fn estimate(codec: Impairment, loss: f64, burst_ratio: f64, delay: Duration) -> Self {
        let percent = loss.clamp(0.0, 1.0) * 100.0;
        let robustness = percent / burst_ratio.max(1.0) + codec.robustness;
        let equipment = codec.equipment + (95.0 - codec.equipment) * percent / robustness;
        let ms = delay.as_secs_f64() * 1_000.0;
        let waiting = 0.024 * ms + 0.11 * (ms - DELAY_KNEE_MS).max(0.0);
        Self::of((R_DEFAULT - equipment - waiting).clamp(0.0, R_DEFAULT))
    }

    /// The opinion that belongs to a rating (G.107 annex B).
    #[must_use]
    pub fn of(r_factor: f64) -> Self {
        let r = r_factor.clamp(0.0, 100.0);
        let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
        Self { r_factor: r, mos: mos.clamp(1.0, 4.5) }
    }
}

/// The way from mouth to ear as far as it is known: half the round trip, what the jitter buffer holds, and a packet.
#[must_use]
pub fn mouth_to_ear(round_trip: Option<Duration>, buffered: Duration, ptime: Duration) -> Duration {
    round_trip.unwrap_or_default() / 2 + buffered + ptime
}

#[cfg(test)]
mod tests {
    use super::*;

    fn g711(loss: f64, burst_ratio: f64, delay_ms: u64) -> Quality {
        Quality::estimate(Impairment::G711, loss, burst_ratio, Duration::from_millis(delay_ms))
    }

    fn assert_near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }

    #[test]
    fn ratings_have_the_scores_of_annex_b() {
        // Table B.1 of G.107.
        for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            assert_near(Quality::of(r).mos, mos, 0.007);
        }
        assert_near(Quality::of(0.0).mos, 1.0, 1e-9);
        assert_near(Quality::of(100.0).mos, 4.5, 1e-9);
    }

    #[test]
    fn a_flawless_call_over_g711_scores_four_point_four() {
        let best = g711(0.0, 1.0, 0);
        assert_near(best.r_factor, 93.2, 1e-9);
        assert_near(best.mos, 4.41, 0.005);
    }

    #[test]
    fn losses_and_delay_cost_what_the_model_says() {
        // Ie,eff = 95 · 1 / (1 + 25.1) = 3.64; 95 · 5 / 30.1 = 15.78.
        assert_near(g711(0.01, 1.0, 0).r_factor, 93.2 - 3.64, 0.01);
        assert_near(g711(0.05, 1.0, 0).r_factor, 93.2 - 15.78, 0.01);
        // Twice as bursty: 95 · 5 / (2.5 + 25.1) = 17.21.
        assert_near(g711(0.05, 2.0, 0).r_factor, 93.2 - 17.21, 0.01);
        assert_near(g711(0.0, 1.0, 150).r_factor, 93.2 - 3.6, 0.01);
        assert_near(g711(0.0, 1.0, 400).r_factor, 93.2 - 9.6 - 24.5, 0.01);
    }

    #[test]
    fn more_harm_never_sounds_better_and_no_figure_leaves_the_scale() {
        let codecs = [Impairment::G711, Impairment::G722, Impairment::OPUS, Impairment::OPUS_REDUNDANT];
        for codec in codecs {
            for burst in [0.0, 1.0, 3.0, 50.0] {
                for delay in [0, 100, 1_000, 60_000] {
                    let mut before = 4.5;
                    for loss in 0..=120 {
                        let delay = Duration::from_millis(delay);
                        let quality = Quality::estimate(codec, f64::from(loss) / 100.0, burst, delay);
                        assert!(quality.mos <= before && (1.0..=4.42).contains(&quality.mos), "{quality:?}");
                        before = quality.mos;
                    }
                }
            }
        }
    }

    #[test]
    fn runs_of_losses_are_told_from_single_ones() {
        let mut single = LossRuns::default();
        let mut bursts = LossRuns::default();
        (0..1_000).for_each(|n| single.record(n % 10 == 0));
        (0..1_000).for_each(|n| bursts.record(n % 50 < 5));
        assert_eq!((single.loss(), bursts.loss()), (0.1, 0.1));
        assert_eq!(single.burst_ratio(), 1.0);
        assert_near(bursts.burst_ratio(), 4.5, 1e-9);
        assert_eq!((LossRuns::default().loss(), LossRuns::default().burst_ratio()), (0.0, 1.0));
    }

    #[test]
    fn the_way_from_mouth_to_ear_is_summed_up() {
        let ms = Duration::from_millis;
        assert_eq!(mouth_to_ear(Some(ms(80)), ms(30), ms(20)), ms(90));
        assert_eq!(mouth_to_ear(None, ms(30), ms(20)), ms(50));
    }
}
