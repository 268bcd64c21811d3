//! Whole clips from one sample rate to another: the models hear 16 kHz and speak 24 kHz, the phone has 8.

use crate::base::SampleRate;
use std::f64::consts::PI;

/// Zero crossings of the sinc on each side of its centre, counted at the lower of the two rates: pass band flat
/// to 0.92 of half that rate, images and aliases below the noise of G.711.
const ZERO_CROSSINGS: usize = 24;

/// Where the filter is half-way down, as a part of half the lower rate.
const CUTOFF: f64 = 0.95;

/// Converts whole clips between two fixed rates, with no delay: sample `n` of the result lies at the same moment
/// as sample `n · from ÷ to` of the input. Silence is assumed before and after the clip.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// `to ÷ from` in lowest terms.
    up: usize,
    down: usize,
    /// One filter per position between two input samples, each `taps` long.
    phases: Vec<f32>,
    taps: usize,
}

impl Resampler {
    /// Designs the filters (a windowed sinc). A rate of zero counts as one.
    #[must_use]
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        let (from, to) = (from.0.max(1), to.0.max(1));
        let divisor = gcd(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        // Cut-off in cycles per input sample.
        let cutoff = CUTOFF / 2.0 * (f64::from(to) / f64::from(from)).min(1.0);
        let half = (ZERO_CROSSINGS as f64 / (2.0 * cutoff)).ceil() as usize;
        let taps = if up == down { 1 } else { half * 2 };
        let mut phases = Vec::with_capacity(up * taps);
        for phase in 0..up {
            let offset = phase as f64 / up as f64;
            let filter: Vec<f64> = (0..taps)
                .map(|tap| {
                    let distance = tap as f64 - (taps / 2).saturating_sub(1) as f64 - offset;
                    sinc(2.0 * cutoff * distance) * blackman(distance / half as f64)
                })
                .collect();
            // The same gain at every position, or a steady tone would buzz.
            let sum: f64 = filter.iter().sum();
            phases.extend(filter.iter().map(|f| (f / sum) as f32));
        }
        if up == down {
            phases = vec![1.0];
        }
        Self { up, down, phases, taps }
    }

    /// The whole clip at the new rate; `input · to ÷ from` samples, rounded up.
    #[must_use]
    pub fn clip(&self, input: &[f32]) -> Vec<f32> {
        let length = (input.len() * self.up).div_ceil(self.down);
        let lead = (self.taps / 2).saturating_sub(1);
        (0..length)
            .map(|n| {
                let position = n * self.down;
                let (whole, phase) = (position / self.up, position % self.up);
                let filter = self.phases.get(phase * self.taps..(phase + 1) * self.taps).unwrap_or_default();
                let filter = filter.get(lead.saturating_sub(whole)..).unwrap_or_default();
                let window = input.get(whole.saturating_sub(lead)..).unwrap_or_default();
                filter.iter().zip(window).map(|(f, s)| f * s).sum()
            })
            .collect()
    }
}

/// 16-bit samples as −1.0–1.0.
#[must_use]
pub fn to_float(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&s| f32::from(s) / 32_768.0).collect()
}

/// −1.0–1.0 as 16-bit samples; louder is clipped.
#[must_use]
pub fn to_i16(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|s| (s * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Blackman window over −1.0–1.0; zero outside.
fn blackman(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { 0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    /// Energy of `a` and of `a − b` over the middle, in decibels apart.
    fn error_db(a: &[f32], b: &[f32]) -> f64 {
        let middle = a.len() / 4..a.len() * 3 / 4;
        let energy: f64 = a[middle.clone()].iter().map(|x| f64::from(x * x)).sum();
        let error: f64 = a[middle.clone()].iter().zip(&b[middle]).map(|(x, y)| f64::from((x - y).powi(2))).sum();
        10.0 * (error / energy).log10()
    }

    #[test]
    fn a_tone_in_the_telephone_band_is_the_same_tone_at_the_other_rate() {
        for (from, to) in [(8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (24_000, 16_000), (44_100, 16_000)] {
            let resampler = Resampler::new(SampleRate(from), SampleRate(to));
            for hertz in [50.0, 300.0, 1_003.0, 3_383.0] {
                let out = resampler.clip(&tone(hertz, from, from as usize / 2));
                let wanted = tone(hertz, to, to as usize / 2);
                assert_eq!(out.len(), wanted.len());
                let error = error_db(&wanted, &out);
                assert!(error < -45.0, "{hertz} Hz from {from} to {to}: {error:.1} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_removed() {
        let resampler = Resampler::new(SampleRate(24_000), SampleRate(8_000));
        for hertz in [4_600.0, 6_100.0, 11_000.0] {
            let out = resampler.clip(&tone(hertz, 24_000, 12_000));
            let power: f32 = out[1_000..3_000].iter().map(|x| x * x).sum::<f32>() / 2_000.0;
            assert!(10.0 * power.log10() < -50.0, "{hertz} Hz leaves {:.1} dB", 10.0 * power.log10());
        }
    }

    #[test]
    fn equal_rates_and_empty_clips_pass_through() {
        let same = Resampler::new(SampleRate(8_000), SampleRate(8_000));
        assert_eq!(same.clip(&[0.5, -0.25, 1.0]), [0.5, -0.25, 1.0]);
        assert!(Resampler::new(SampleRate(8_000), SampleRate(16_000)).clip(&[]).is_empty());
    }

    #[test]
    fn loud_samples_are_clipped_not_wrapped() {
        assert_eq!(to_i16(&[1.5, -1.5, 0.0, 0.5]), [32_767, -32_768, 0, 16_384]);
    }
}
