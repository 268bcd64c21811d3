//! Audio at the rate of a codec: what telephones play and record, against the 8 kHz that the tests compare at.

use std::{f64::consts::PI, path::Path};

use super::super::support::RATE;

/// Taps on either side of a sample, per step of the factor.
const TAPS: usize = 16;

/// `samples` at `factor` times their rate.
pub fn raise(samples: &[i16], factor: usize) -> Vec<i16> {
    if factor == 1 {
        return samples.to_vec();
    }
    let taps = low_pass(factor);
    let mut raised = vec![0.0; (samples.len() + 2 * TAPS) * factor + 1];
    for (n, sample) in samples.iter().enumerate().filter(|(_, sample)| **sample != 0) {
        let place = &mut raised[n * factor..];
        place.iter_mut().zip(&taps).for_each(|(sum, tap)| *sum += f64::from(*sample) * tap * factor as f64);
    }
    raised[TAPS * factor..][..samples.len() * factor].iter().map(|sum| round(*sum)).collect()
}

/// `samples` at their rate divided by `factor`.
pub fn lower(samples: &[i16], factor: usize) -> Vec<i16> {
    if factor == 1 {
        return samples.to_vec();
    }
    let taps = low_pass(factor);
    let silence = vec![0; TAPS * factor];
    let padded = [&silence, samples, &silence].concat();
    let sum = |at: usize| padded[at * factor..].iter().zip(&taps).map(|(sample, tap)| f64::from(*sample) * tap).sum();
    (0..samples.len() / factor).map(|at| round(sum(at))).collect()
}

/// The taps of a windowed sinc that passes what the lower of two rates, `factor` apart, can hold, [`TAPS`] steps of that
/// rate to either side of its middle; their sum is one.
fn low_pass(factor: usize) -> Vec<f64> {
    let reach = (TAPS * factor) as isize;
    let tap = |at: isize| {
        let x = at as f64 / factor as f64;
        let sinc = if at == 0 { 1.0 } else { (0.92 * PI * x).sin() / (0.92 * PI * x) };
        0.92 * sinc * (0.5 + 0.5 * (PI * x / TAPS as f64).cos()) / factor as f64
    };
    (-reach..=reach).map(tap).collect()
}

fn round(value: f64) -> i16 {
    value.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

/// Writes `samples`, which are at [`RATE`], as a 16-bit WAV file at `rate`, the same on every channel.
pub fn write_wav_at(path: &Path, samples: &[i16], rate: u32, channels: u16) {
    let spec =
        hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for sample in raise(samples, (rate / RATE) as usize) {
        for _ in 0..channels {
            writer.write_sample(sample).expect("the file can be written");
        }
    }
    writer.finalize().expect("the file can be finished");
}

/// The first channel of a 16-bit WAV file of any multiple of [`RATE`], brought to it.
pub fn read_wav_lowered(path: &Path) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = reader.spec();
    assert_eq!((spec.sample_rate % RATE, spec.bits_per_sample), (0, 16), "{}", path.display());
    let samples: Vec<i16> = reader.samples::<i16>().step_by(spec.channels.into()).map_while(Result::ok).collect();
    lower(&samples, (spec.sample_rate / RATE) as usize)
}
