//! Conversion between two rates of which one is twice the other: one half-band filter, of which every second tap is zero.
//!
//! Flat to 0.44 of the lower rate, 90 dB down from 0.56 of it on; [`DELAY`] is 3 ms at 8 kHz. It costs a third of an FFT
//! and keeps a hundredth of its memory.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Pairs of equal taps around the middle one.
const PAIRS: usize = 24;
/// Samples at the lower rate that the filter looks back on.
const HISTORY: usize = 2 * PAIRS - 1;
/// Samples at the lower rate by which the output lags.
const MIDDLE: usize = PAIRS - 1;
/// Samples at the higher rate by which a doubled stream lags; a halved one lags by [`MIDDLE`] at the lower.
const DELAY: usize = HISTORY;
/// Samples at the lower rate that are filtered at once: what a vector unit likes.
const BLOCK: usize = 16;
/// Samples at the lower rate that are taken in at once, 10 ms of 8 kHz.
const CHUNK: usize = 5 * BLOCK;
/// Shape of the Kaiser window: 90 dB.
const BETA: f64 = 9.5;

/// A tap for each pair, from the outermost; all of them together pass a constant unchanged.
static TAPS: LazyLock<[f32; PAIRS]> = LazyLock::new(|| {
    let tap = |n: usize| {
        let distance = (2 * (PAIRS - n) - 1) as f64;
        let sinc = (PI * distance / 2.0).sin() / distance;
        let inside = 1.0 - (distance / (2 * PAIRS) as f64).powi(2);
        sinc * bessel(BETA * inside.sqrt())
    };
    let taps: [f64; PAIRS] = std::array::from_fn(tap);
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / (2.0 * sum)) as f32)
});

/// The modified Bessel function of the first kind, of order zero.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

/// A sample, rounded; beyond full scale it is clipped.
pub(super) fn rounded(sample: f32) -> i16 {
    // A float this large has no fraction: its low bits are the number.
    const SHIFT: f32 = 12_582_912.0;
    (sample.clamp(f32::from(i16::MIN), f32::from(i16::MAX)) + SHIFT).to_bits() as i16
}

/// The past at the lower rate, and what is being filtered.
#[derive(Debug)]
struct Line([f32; HISTORY + CHUNK + BLOCK]);

impl Line {
    const fn new() -> Self {
        Self([0.0; HISTORY + CHUNK + BLOCK])
    }

    /// Takes in up to [`CHUNK`] samples.
    fn write(&mut self, samples: impl Iterator<Item = i16>) {
        for (slot, sample) in self.0.iter_mut().skip(HISTORY).take(CHUNK).zip(samples) {
            *slot = f32::from(sample);
        }
    }

    /// Half-way between the two middle samples of the past of each of the block's samples.
    fn between(&self, at: usize, taps: &[f32; PAIRS]) -> [f32; BLOCK] {
        let mut sums = [0.0; BLOCK];
        let from = |at: usize| self.0.get(at..).and_then(<[f32]>::first_chunk::<BLOCK>);
        for (n, tap) in taps.iter().enumerate() {
            let (Some(old), Some(young)) = (from(at + n), from(at + HISTORY - n)) else { break };
            for ((sum, old), young) in sums.iter_mut().zip(old).zip(young) {
                *sum += tap * (old + young);
            }
        }
        sums
    }

    /// The younger of those two.
    fn middle(&self, at: usize) -> &[f32] {
        self.0.get(at + HISTORY - MIDDLE..).unwrap_or_default()
    }

    /// Lets `count` samples become past.
    fn advance(&mut self, count: usize) {
        self.0.copy_within(count..count + HISTORY, 0);
    }
}

/// Doubles a rate.
#[derive(Debug)]
pub(super) struct Doubler(Line);

impl Doubler {
    pub(super) const DELAY: usize = DELAY;

    pub(super) fn new() -> Self {
        Self(Line::new())
    }

    /// Appends two samples for each.
    pub(super) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let taps = &*TAPS;
        for piece in samples.chunks(CHUNK) {
            self.0.write(piece.iter().copied());
            for at in (0..piece.len()).step_by(BLOCK) {
                let between = self.0.between(at, taps);
                let pairs = between.iter().zip(self.0.middle(at)).take(piece.len() - at);
                out.extend(pairs.flat_map(|(between, middle)| [rounded(*between), rounded(*middle)]));
            }
            self.0.advance(piece.len());
        }
    }

    /// Appends what lags and forgets the stream.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) {
        self.push(&[0; PAIRS], out);
        self.0 = Line::new();
    }
}

/// Halves a rate.
#[derive(Debug)]
pub(super) struct Halver {
    /// The first samples of pairs, and the second ones.
    first: Line,
    second: Line,
    /// The first of a pair that is not whole.
    odd: Option<i16>,
}

impl Halver {
    pub(super) const DELAY: usize = MIDDLE;

    pub(super) fn new() -> Self {
        Self { first: Line::new(), second: Line::new(), odd: None }
    }

    /// Appends a sample for each two.
    pub(super) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let mut samples = samples;
        if let Some(first) = self.odd {
            let Some((second, rest)) = samples.split_first() else { return };
            self.odd = None;
            samples = rest;
            self.halve(&[[first, *second]], out);
        }
        let (pairs, rest) = samples.as_chunks::<2>();
        self.odd = rest.first().copied();
        for piece in pairs.chunks(CHUNK) {
            self.halve(piece, out);
        }
    }

    fn halve(&mut self, pairs: &[[i16; 2]], out: &mut Vec<i16>) {
        let taps = &*TAPS;
        self.first.write(pairs.iter().map(|[first, _]| *first));
        self.second.write(pairs.iter().map(|[_, second]| *second));
        for at in (0..pairs.len()).step_by(BLOCK) {
            let between = self.second.between(at, taps);
            let sums = between.iter().zip(self.first.middle(at)).take(pairs.len() - at);
            out.extend(sums.map(|(between, middle)| rounded((between + middle) / 2.0)));
        }
        self.first.advance(pairs.len());
        self.second.advance(pairs.len());
    }

    /// Appends what lags and forgets the stream.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) {
        self.push(&[0; 2 * PAIRS], out);
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use std::f64::consts::TAU;

    fn tone(hz: f64, rate: f64) -> Vec<i16> {
        (0..rate as usize).map(|t| (16_000.0 * (t as f64 * hz / rate * TAU).sin()).round() as i16).collect()
    }

    fn error_dbfs(made: &[i16], wanted: &[i16]) -> f32 {
        level_dbfs(&made.iter().zip(wanted).map(|(a, b)| a - b).collect::<Vec<_>>())
    }

    #[test]
    fn tones_to_three_and_a_half_kilohertz_come_out_as_if_sampled_at_the_other_rate() {
        for hz in [60.0, 1_000.0, 3_000.0, 3_400.0, 3_500.0] {
            let (narrow, wide) = (tone(hz, 8_000.0), tone(hz, 16_000.0));
            let (mut up, mut down) = (Vec::new(), Vec::new());
            Doubler::new().push(&narrow, &mut up);
            Halver::new().push(&wide, &mut down);
            let (up, down) =
                (error_dbfs(&up[1_047..9_047], &wide[1_000..]), error_dbfs(&down[1_023..5_023], &narrow[1_000..]));
            assert!(up < -85.0 && down < -85.0, "{hz} Hz: {up} and {down} dB");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_ninety_decibels_down() {
        for hz in [4_500.0, 5_000.0, 6_500.0, 7_900.0] {
            let mut out = Vec::new();
            Halver::new().push(&tone(hz, 16_000.0), &mut out);
            assert!(level_dbfs(&out[100..]) < -90.0, "{hz} Hz: {} dB", level_dbfs(&out[100..]));
        }
    }

    #[test]
    fn a_stream_ends_with_what_lagged_and_the_next_one_begins_anew() {
        let (mut doubler, mut halver) = (Doubler::new(), Halver::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for out in [&mut first, &mut second] {
            doubler.push(&[7_000; 101], out);
            doubler.finish(out);
        }
        assert_eq!(first, second);
        assert!(first.len() >= 202 + Doubler::DELAY, "{}", first.len());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for out in [&mut first, &mut second] {
            halver.push(&[7_000; 101], out);
            halver.finish(out);
        }
        assert_eq!(first, second);
        assert!(first.len() >= 50 + Halver::DELAY, "{}", first.len());
    }

    #[test]
    fn samples_are_rounded_to_the_nearest_and_clipped() {
        let samples = [0.4, 0.6, -0.6, 32_766.6, 40_000.0, -32_768.4, -1e9, 1e9];
        assert_eq!(samples.map(rounded), [0, 1, -1, 32_767, 32_767, -32_768, -32_768, 32_767]);
    }
}
