//! Silero's network for 8 kHz, computed here: a general runtime spends more time between its nodes than in them.
//!
//! ```text
//! 32 samples known, 256 more, the last 32 mirrored
//!   → 4 frames of 128, 64 apart → magnitudes of 65 bins
//!   → 65→128 (4 frames) → 128→64 (2) → 64→64 (1) → 64→128 (1), each over 3 frames, with ReLU
//!   → LSTM of 128 → ReLU → 128→1 → sigmoid
//! ```
//! Weights lie by input: what one input adds to all outputs is one row. So every loop runs over outputs, which are
//! independent, and the compiler makes vector instructions of it.

use super::tensors::Tensors;
use super::{CONTEXT, WINDOW};
use std::array::from_fn;

/// Bins of the spectrum, from 0 Hz to 4 kHz.
const BINS: usize = 65;
/// Real and imaginary parts of the bins.
const PARTS: usize = 2 * BINS;
/// Samples of a frame of the spectrum, and from one frame to the next.
const FRAME: usize = 128;
const HOP: usize = 64;
/// Frames of a window.
const FRAMES: usize = 4;
/// Numbers that the network remembers, twice over.
pub(super) const HIDDEN: usize = 128;
/// Input, forget, cell and output gate of each.
const GATES: usize = 4 * HIDDEN;
/// Samples of the window, what was before it, and its end mirrored.
const MIRRORED: usize = CONTEXT;
const PADDED: usize = CONTEXT + WINDOW + MIRRORED;

/// The weights, shared by all calls.
pub(super) struct Network {
    /// For each sample of a frame, what it adds to the parts of the spectrum.
    basis: Vec<[f32; PARTS]>,
    first: Convolution<128>,
    second: Convolution<64>,
    third: Convolution<64>,
    fourth: Convolution<128>,
    from_input: Vec<[f32; GATES]>,
    from_hidden: Vec<[f32; GATES]>,
    gates: [f32; GATES],
    output: [f32; HIDDEN],
    output_bias: f32,
}

/// What the LSTM remembers.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    hidden: [f32; HIDDEN],
    cell: [f32; HIDDEN],
}

impl Default for Memory {
    fn default() -> Self {
        Self { hidden: [0.0; HIDDEN], cell: [0.0; HIDDEN] }
    }
}

impl Network {
    /// # Errors
    /// Which tensor is missing or of another shape.
    pub(super) fn load(tensors: &Tensors<'_>) -> Result<Self, String> {
        let gates_in = tensors.get("decoder.rnn.bias_ih", &[GATES])?;
        let gates_hidden = tensors.get("decoder.rnn.bias_hh", &[GATES])?;
        let output = tensors.get("decoder.decoder.2.weight", &[1, HIDDEN, 1])?;
        Ok(Self {
            basis: rows(&tensors.get("stft.forward_basis_buffer", &[PARTS, 1, FRAME])?, FRAME),
            first: Convolution::load(tensors, 0, BINS)?,
            second: Convolution::load(tensors, 1, 128)?,
            third: Convolution::load(tensors, 2, 64)?,
            fourth: Convolution::load(tensors, 3, 64)?,
            from_input: rows(&tensors.get("decoder.rnn.weight_ih", &[GATES, HIDDEN])?, HIDDEN),
            from_hidden: rows(&tensors.get("decoder.rnn.weight_hh", &[GATES, HIDDEN])?, HIDDEN),
            gates: from_fn(|gate| gates_in[gate] + gates_hidden[gate]),
            output: from_fn(|n| output[n]),
            output_bias: tensors.get("decoder.decoder.2.bias", &[1])?[0],
        })
    }

    /// The probability of speech in the last [`WINDOW`] of the samples, which follow what `memory` remembers.
    pub(super) fn probability(&self, samples: &[f32; CONTEXT + WINDOW], memory: &mut Memory) -> f32 {
        let spectrum = self.spectrum(samples);
        let [a, b, c, d] = from_fn(|at| self.first.at(at, 1, &spectrum));
        let [a, b] = from_fn(|at| self.second.at(at, 2, &[a, b, c, d]));
        let encoded = self.fourth.at(0, 1, &[self.third.at(0, 2, &[a, b])]);
        self.remember(&encoded, memory);
        let sum: f32 = memory.hidden.iter().zip(&self.output).map(|(hidden, weight)| hidden.max(0.0) * weight).sum();
        sigmoid(self.output_bias + sum)
    }

    fn spectrum(&self, samples: &[f32; CONTEXT + WINDOW]) -> [[f32; BINS]; FRAMES] {
        let mut padded = [0.0; PADDED];
        let (whole, mirrored) = padded.split_at_mut(CONTEXT + WINDOW);
        whole.copy_from_slice(samples);
        // The last sample is the mirror.
        mirrored.iter_mut().zip(samples.iter().rev().skip(1)).for_each(|(slot, sample)| *slot = *sample);
        from_fn(|frame| {
            let mut parts = [0.0; PARTS];
            accumulate(&mut parts, &self.basis, &padded[frame * HOP..frame * HOP + FRAME]);
            from_fn(|bin| (parts[bin] * parts[bin] + parts[BINS + bin] * parts[BINS + bin]).sqrt())
        })
    }

    /// One step of the LSTM.
    fn remember(&self, input: &[f32; HIDDEN], memory: &mut Memory) {
        let mut gates = self.gates;
        accumulate(&mut gates, &self.from_input, input);
        accumulate(&mut gates, &self.from_hidden, &memory.hidden);
        for n in 0..HIDDEN {
            let [take, keep, fresh, show] = from_fn(|gate| gates[gate * HIDDEN + n]);
            memory.cell[n] = sigmoid(keep) * memory.cell[n] + sigmoid(take) * tanh(fresh);
            memory.hidden[n] = sigmoid(show) * tanh(memory.cell[n]);
        }
    }
}

/// A convolution over time: kernel 3, a frame of zeros before the first and after the last, ReLU.
struct Convolution<const OUT: usize> {
    /// For each frame of the kernel and each input, what it adds to the outputs.
    kernel: [Vec<[f32; OUT]>; 3],
    bias: [f32; OUT],
}

impl<const OUT: usize> Convolution<OUT> {
    fn load(tensors: &Tensors<'_>, layer: usize, inputs: usize) -> Result<Self, String> {
        let weights = tensors.get(&format!("encoder.{layer}.reparam_conv.weight"), &[OUT, inputs, 3])?;
        let bias = tensors.get(&format!("encoder.{layer}.reparam_conv.bias"), &[OUT])?;
        let row = |input: usize, frame: usize| from_fn(|output| weights[(output * inputs + input) * 3 + frame]);
        Ok(Self {
            kernel: from_fn(|frame| (0..inputs).map(|input| row(input, frame)).collect()),
            bias: from_fn(|output| bias[output]),
        })
    }

    /// Frame `at` of the result, when each of its frames is `stride` of the input's.
    fn at<const IN: usize>(&self, at: usize, stride: usize, inputs: &[[f32; IN]]) -> [f32; OUT] {
        let mut sums = self.bias;
        for (frame, weights) in self.kernel.iter().enumerate() {
            if let Some(input) = (at * stride + frame).checked_sub(1).and_then(|frame| inputs.get(frame)) {
                accumulate(&mut sums, weights, input);
            }
        }
        sums.map(|sum| sum.max(0.0))
    }
}

/// A matrix of `OUT` rows of `inputs` numbers, turned over.
fn rows<const OUT: usize>(matrix: &[f32], inputs: usize) -> Vec<[f32; OUT]> {
    (0..inputs).map(|input| from_fn(|output| matrix[output * inputs + input])).collect()
}

/// Adds to the sums what the inputs add to them. Inputs of zero, of which a ReLU leaves many, cost nothing.
#[inline]
fn accumulate<const OUT: usize>(sums: &mut [f32; OUT], weights: &[[f32; OUT]], inputs: &[f32]) {
    let mut rows = weights.iter().zip(inputs).filter(|(_, input)| **input != 0.0);
    // Four at a time, so that the sums are loaded and stored a quarter as often.
    while let Some((a, w)) = rows.next() {
        let [(b, x), (c, y), (d, z)] = from_fn(|_| rows.next().unwrap_or((a, &0.0)));
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *sum += w * a + x * b + y * c + z * d;
        }
    }
}

#[inline]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline]
fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

/// The exponential function to 6 parts in a million, without a branch or a call, so that loops over it become vectors.
#[inline]
fn exp(x: f32) -> f32 {
    /// Added to a small number, it leaves no room for a fraction: the sum's last bits are the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let rest = x - (rounded - ROUND) * std::f32::consts::LN_2;
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    // Taylor's series, where |rest| ≤ ln 2 / 2.
    let terms = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    f32::from_bits(power) * terms.iter().fold(0.0, |sum, term| sum * rest + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_a_few_millionths() {
        for step in -870..=870 {
            let x = step as f32 / 10.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 6e-6, "{x}: {} {exact}", exp(x));
        }
        for step in -1_000..=1_000 {
            let x = step as f32 / 100.0;
            assert!((tanh(x) - x.tanh()).abs() < 1e-6 && (sigmoid(x) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6, "{x}");
        }
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY) < 1e-30), (1.0, true));
    }

    #[test]
    fn a_convolution_sees_one_frame_before_and_one_after() {
        let weight = |w: f32| vec![[w, -w]];
        let layer = Convolution { kernel: [weight(1.0), weight(10.0), weight(100.0)], bias: [0.5, 0.5] };
        let frames = [[1.0], [2.0], [3.0], [4.0]];
        assert_eq!([0, 1, 3].map(|at| layer.at(at, 1, &frames)), [[210.5, 0.0], [321.5, 0.0], [43.5, 0.0]]);
        assert_eq!([0, 1].map(|at| layer.at(at, 2, &frames)), [[210.5, 0.0], [432.5, 0.0]]);
    }

    #[test]
    fn sums_are_those_of_every_input() {
        let weights: Vec<[f32; 3]> = (0..11).map(|n| [n as f32, 1.0, -1.0]).collect();
        for count in 0..11 {
            let inputs: Vec<f32> = (0..count).map(|n| if n % 3 == 0 { 0.0 } else { n as f32 }).collect();
            let mut sums = [1.0; 3];
            accumulate(&mut sums, &weights, &inputs);
            let sum: f32 = inputs.iter().sum();
            assert_eq!(sums, [1.0 + inputs.iter().map(|x| x * x).sum::<f32>(), 1.0 + sum, 1.0 - sum], "{count}");
        }
    }
}
