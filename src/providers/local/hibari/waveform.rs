//! The waveform stage: spectral frames out of the voice network become samples.
//!
//! Each frame is 12.5 ms and describes three sounds that are added in the frequency domain (601 bins):
//! a pulse train at the pitch `f0`, filtered by magnitude `lh` and phase `theta`; Gaussian noise shaped by
//! `ln`; and a free component of magnitude `lr` and phase `phi`. One inverse short-time Fourier transform
//! (length 1200, hop 300, periodic Hann window) turns the sum into audio at 24 kHz.

use crate::base::{Random, SampleRate};
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::f32::consts::PI;
use std::sync::Arc;

/// The rate of every sample this engine makes.
pub const VOICE_RATE: SampleRate = SampleRate(24_000);
/// Samples between two frames: 12.5 ms.
pub const HOP: usize = 300;
/// Frequency bins of a frame.
pub const BINS: usize = WINDOW / 2 + 1;
const WINDOW: usize = 4 * HOP;
/// Below this pitch (Hz) a frame is unvoiced.
const VOICED_HZ: f32 = 40.0;
/// The pulse train has every harmonic up to here (Hz).
const HIGHEST_HARMONIC_HZ: f32 = 11_000.0;
/// Log magnitudes are capped here, so that a broken frame is loud but finite.
const LOG_MAGNITUDE_CAP: f32 = 7.0;
/// Near a multiple of 2π the closed form of the pulse train is 0/0; its limit is used instead.
const PULSE_PEAK: f32 = 2e-3;
/// Every utterance draws the same noise, so the same text gives the same samples (and can be cached).
const NOISE_SEED: u64 = 0x0ff_400c;

/// The network's description of one utterance: five `[BINS, frames]` matrices, row by row, and the pitch.
#[derive(Clone, Copy, Debug)]
pub struct Spectra<'a> {
    /// Log magnitude of the voiced part.
    pub lh: &'a [f32],
    /// Phase of the voiced part before `tanh`, in units of π after it.
    pub theta: &'a [f32],
    /// Log magnitude of the noise.
    pub ln: &'a [f32],
    /// Log magnitude of the free part.
    pub lr: &'a [f32],
    /// Phase of the free part, radians.
    pub phi: &'a [f32],
    /// Pitch in Hz, one per frame; 0 where unvoiced.
    pub f0: &'a [f32],
}

/// Turns spectra into samples. Holds only plans and scratch space: one per thread.
pub struct Vocoder {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    hann: Vec<f32>,
    block: Vec<f32>,
    bins: Vec<Complex32>,
    forward_scratch: Vec<Complex32>,
    inverse_scratch: Vec<Complex32>,
}

impl std::fmt::Debug for Vocoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocoder").finish_non_exhaustive()
    }
}

impl Default for Vocoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Vocoder {
    /// Plans the transforms.
    #[must_use]
    pub fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(WINDOW), planner.plan_fft_inverse(WINDOW));
        let hann = (0..WINDOW).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f32 / WINDOW as f32).cos()).collect();
        Self {
            hann,
            block: vec![0.0; WINDOW],
            bins: vec![Complex32::default(); BINS],
            forward_scratch: forward.make_scratch_vec(),
            inverse_scratch: inverse.make_scratch_vec(),
            forward,
            inverse,
        }
    }

    /// The samples of one utterance: [`HOP`] per frame, at [`VOICE_RATE`]. Empty when the matrices do not
    /// belong together.
    #[must_use]
    pub fn render(&mut self, spectra: &Spectra<'_>) -> Vec<f32> {
        let frames = spectra.f0.len();
        let size = frames * BINS;
        let matrices = [spectra.lh, spectra.theta, spectra.ln, spectra.lr, spectra.phi];
        if frames == 0 || matrices.iter().any(|m| m.len() != size) {
            return Vec::new();
        }
        let pulses = reflected(&pulse_train(spectra.f0));
        let mut noise = Noise(Random::seeded(NOISE_SEED));
        let mut out = vec![0.0f32; (frames + 3) * HOP];
        let mut weight = vec![0.0f32; out.len()];
        // A cosine of amplitude 1 has a peak of half the window's sum in the transform: scale it to 1.
        let source_gain = 4.0 / WINDOW as f32;
        let inverse_gain = 1.0 / WINDOW as f32;
        for frame in 0..frames {
            let at = frame * HOP;
            for ((sample, pulse), w) in self.block.iter_mut().zip(&pulses[at..at + WINDOW]).zip(&self.hann) {
                *sample = pulse * w * source_gain;
            }
            // The lengths are the plan's own, so neither transform can refuse.
            let _ = self.forward.process_with_scratch(&mut self.block, &mut self.bins, &mut self.forward_scratch);
            for (bin, value) in self.bins.iter_mut().enumerate() {
                let k = bin * frames + frame;
                let voiced = Complex32::from_polar(magnitude(spectra.lh[k]), PI * spectra.theta[k].tanh());
                let free = Complex32::from_polar(magnitude(spectra.lr[k]), spectra.phi[k]);
                let hiss = Complex32::new(noise.next(), noise.next()) * magnitude(spectra.ln[k]);
                *value = *value * voiced + hiss + free;
            }
            self.bins[0].im = 0.0;
            self.bins[BINS - 1].im = 0.0;
            let _ = self.inverse.process_with_scratch(&mut self.bins, &mut self.block, &mut self.inverse_scratch);
            let (out, weight) = (&mut out[at..at + WINDOW], &mut weight[at..at + WINDOW]);
            for (((o, total), sample), w) in out.iter_mut().zip(weight).zip(&self.block).zip(&self.hann) {
                *o += sample * w * inverse_gain;
                *total += w * w;
            }
        }
        let half = WINDOW / 2;
        out.iter().zip(&weight).skip(half).take(frames * HOP).map(|(o, w)| o / w.max(1e-11)).collect()
    }
}

fn magnitude(log: f32) -> f32 {
    log.min(LOG_MAGNITUDE_CAP).exp()
}

/// Pseudo-Gaussian noise of unit variance: the sum of four uniform numbers, made Gaussian by the overlap-add
/// that mixes thousands of them into every sample.
struct Noise(Random);

impl Noise {
    fn next(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xffff).sum();
        // Four uniforms of 16 bits: mean 2·65535, variance 4·65536²/12.
        (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
    }
}

/// All harmonics of the pitch curve up to 11 kHz at amplitude 1, one sample each 1/24000 s, zero where unvoiced:
/// Σ cos(h·t) for h ≤ H is sin((H+½)t) / (2 sin(t/2)) − ½.
fn pulse_train(f0: &[f32]) -> Vec<f32> {
    let frames = f0.len();
    let mut phase = 0.0f64;
    let mut out = Vec::with_capacity(frames * HOP);
    for frame in 0..frames {
        let (before, here) = (f0[frame.saturating_sub(1)], f0[frame]);
        let after = f0[(frame + 1).min(frames - 1)];
        for sample in 0..HOP {
            // A frame's value holds at the middle of its hop; between two middles it is interpolated.
            let x = (sample as f32 + 0.5) / HOP as f32 - 0.5;
            let pitch = if x < 0.0 { before * -x + here * (1.0 + x) } else { here * (1.0 - x) + after * x };
            let hz = pitch.max(VOICED_HZ);
            phase = (phase + f64::from(hz) / f64::from(VOICE_RATE.0)).fract();
            if pitch <= VOICED_HZ {
                out.push(0.0);
                continue;
            }
            let t = (phase * std::f64::consts::TAU) as f32;
            let top = (HIGHEST_HARMONIC_HZ / hz).floor() + 0.5;
            let below = 2.0 * (t * 0.5).sin();
            out.push(if below.abs() <= PULSE_PEAK { top } else { (top * t).sin() / below } - 0.5);
        }
    }
    out
}

/// `x` with half a window mirrored at both ends, so that the first and last frame are centred on the edges.
fn reflected(x: &[f32]) -> Vec<f32> {
    let half = WINDOW / 2;
    let at = |i: isize| {
        let last = x.len() as isize - 1;
        let i = if i < 0 { -i } else { i };
        let i = if i > last { 2 * last - i } else { i };
        x.get(i.max(0) as usize).copied().unwrap_or(0.0)
    };
    let half = half as isize;
    (-half..x.len() as isize + half).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(frames: usize) -> Vec<f32> {
        vec![-40.0; frames * BINS]
    }

    fn rms(x: &[f32]) -> f32 {
        (x.iter().map(|s| s * s).sum::<f32>() / x.len() as f32).sqrt()
    }

    #[test]
    fn a_flat_voiced_filter_gives_a_pulse_train_at_the_pitch() {
        let frames = 40;
        let (quiet, zero) = (silent(frames), vec![0.0; frames * BINS]);
        let flat = vec![-3.0; frames * BINS];
        let f0 = vec![200.0; frames];
        let spectra = Spectra { lh: &flat, theta: &zero, ln: &quiet, lr: &quiet, phi: &zero, f0: &f0 };
        let audio = Vocoder::new().render(&spectra);
        assert_eq!(audio.len(), frames * HOP);
        let period = 24_000 / 200;
        let middle = &audio[3000..9000];
        let same: f32 = middle.iter().zip(&middle[period..]).map(|(a, b)| a * b).sum();
        let energy: f32 = middle[..middle.len() - period].iter().map(|a| a * a).sum();
        assert!(same / energy > 0.98, "periodic at 5 ms: {}", same / energy);
    }

    #[test]
    fn unvoiced_frames_carry_only_noise_and_the_noise_is_the_same_each_time() {
        let frames = 40;
        let (quiet, zero) = (silent(frames), vec![0.0; frames * BINS]);
        let hiss = vec![-2.0; frames * BINS];
        let loud = vec![2.0; frames * BINS];
        let f0 = vec![0.0; frames];
        let spectra = Spectra { lh: &loud, theta: &zero, ln: &hiss, lr: &quiet, phi: &zero, f0: &f0 };
        let first = Vocoder::new().render(&spectra);
        assert_eq!(first, Vocoder::new().render(&spectra));
        let level = rms(&first[3000..9000]);
        assert!(level > 1e-3 && level < 0.1, "{level}");
    }

    #[test]
    fn matrices_that_do_not_belong_together_give_no_samples() {
        let (m, f0) = (vec![0.0; 3 * BINS], vec![0.0; 4]);
        let spectra = Spectra { lh: &m, theta: &m, ln: &m, lr: &m, phi: &m, f0: &f0 };
        assert!(Vocoder::new().render(&spectra).is_empty());
    }

    #[test]
    fn noise_has_unit_variance_and_no_offset() {
        let mut noise = Noise(Random::seeded(1));
        let x: Vec<f32> = (0..20_000).map(|_| noise.next()).collect();
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        assert!(mean.abs() < 0.02 && (rms(&x) - 1.0).abs() < 0.02, "{mean} {}", rms(&x));
    }
}
