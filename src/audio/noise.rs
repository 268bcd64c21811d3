//! What a telephone line does to a voice: a band of 300 to 3,400 Hz and a little noise. For demonstrations and
//! tests, at 8 kHz.

use crate::base::Random;
use std::f32::consts::{FRAC_1_SQRT_2, TAU};

/// Samples per second.
const RATE: f32 = 8_000.0;

/// Second-order section in transposed direct form II.
#[derive(Clone, Copy, Debug)]
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

impl Biquad {
    /// A Butterworth section, 12 dB per octave; `high` passes what is above `hz`.
    fn new(hz: f32, high: bool, q: f32) -> Self {
        let w = TAU * hz / RATE;
        let (sin, cos) = w.sin_cos();
        let alpha = sin / (2.0 * q);
        let (edge, middle) = if high { ((1.0 + cos) / 2.0, -(1.0 + cos)) } else { ((1.0 - cos) / 2.0, 1.0 - cos) };
        let a0 = 1.0 + alpha;
        Self { b: [edge / a0, middle / a0, edge / a0], a: [-2.0 * cos / a0, (1.0 - alpha) / a0], state: [0.0; 2] }
    }

    fn next(&mut self, x: f32) -> f32 {
        let ([b0, b1, b2], [a1, a2], [s1, s2]) = (self.b, self.a, self.state);
        let y = b0 * x + s1;
        self.state = [b1 * x - a1 * y + s2, b2 * x - a2 * y];
        y
    }
}

/// A telephone line: band limit, then noise that repeats itself for the same seed.
#[derive(Debug)]
pub struct PhoneLine {
    filters: [Biquad; 3],
    random: Random,
    noise: f32,
    colour: f32,
}

impl PhoneLine {
    /// A line with noise of `noise_dbfs` (root mean square; −60 is a quiet office, −45 a noisy one).
    #[must_use]
    pub fn new(noise_dbfs: f32, seed: u64) -> Self {
        let filters = [
            Biquad::new(300.0, true, FRAC_1_SQRT_2),
            // Two sections make the upper edge as steep as the lower one sounds.
            Biquad::new(3_400.0, false, 0.541),
            Biquad::new(3_400.0, false, 1.307),
        ];
        Self { filters, random: Random::seeded(seed), noise: 32_768.0 * 10f32.powf(noise_dbfs / 20.0), colour: 0.0 }
    }

    /// Sends samples down the line, in place.
    pub fn pass(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let mut x = f32::from(*sample) + self.next_noise();
            for filter in &mut self.filters {
                x = filter.next(x);
            }
            *sample = x.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
        }
    }

    /// Noise that falls with frequency, as rooms and lines have it.
    fn next_noise(&mut self) -> f32 {
        // The sum of three uniform numbers is near enough to a bell curve; its variance is 1/4.
        let bell = (self.random.unit() + self.random.unit() + self.random.unit() - 1.5) as f32 * 2.0;
        self.colour = 0.7 * self.colour + 0.714 * bell;
        self.noise * self.colour
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;

    fn tone(hz: f32) -> Vec<i16> {
        (0..8_000).map(|t| (8_000.0 * (t as f32 * hz / RATE * TAU).sin()) as i16).collect()
    }

    #[test]
    fn the_band_passes_and_the_rest_does_not() {
        let gain = |hz| {
            let mut line = tone(hz);
            let before = level_dbfs(&line);
            PhoneLine::new(-120.0, 1).pass(&mut line);
            level_dbfs(&line[1_000..]) - before
        };
        assert!(gain(1_000.0).abs() < 0.5 && gain(600.0).abs() < 1.0 && gain(2_500.0).abs() < 1.0);
        assert!((gain(300.0) + 3.0).abs() < 0.5 && (gain(3_400.0) + 3.0).abs() < 0.7);
        assert!(gain(50.0) < -28.0 && gain(3_900.0) < -25.0);
    }

    #[test]
    fn noise_has_the_level_asked_for_and_repeats_itself() {
        let noise = |dbfs, seed| {
            let mut line = vec![0; 16_000];
            PhoneLine::new(dbfs, seed).pass(&mut line);
            line
        };
        for dbfs in [-40.0, -55.0] {
            let level = level_dbfs(&noise(dbfs, 3));
            assert!((level - dbfs).abs() < 3.0, "{level} for {dbfs}");
        }
        assert_eq!(noise(-50.0, 3), noise(-50.0, 3));
        assert_ne!(noise(-50.0, 3), noise(-50.0, 4));
    }
}
