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
    let reach = (TAPS * factor) as isize;
    let value = |at: usize| {
        let first = (at as isize - reach).div_euclid(factor as isize) + 1;
        (first..=((at as isize + reach) / factor as isize))
            .filter_map(|n| {
                Some(
                    f64::from(*samples.get(usize::try_from(n).ok()?)?)
                        * low_pass(at as isize - n * factor as isize, factor),
                )
            })
            .sum::<f64>()
    };
    (0..samples.len() * factor).map(|at| round(value(at) * factor as f64)).collect()
}

/// `samples` at their rate divided by `factor`.
pub fn lower(samples: &[i16], factor: usize) -> Vec<i16> {
    if factor == 1 {
        return samples.to_vec();
    }
    let reach = (TAPS * factor) as isize;
    let value = |at: isize| {
        (at - reach..=at + reach)
            .filter_map(|n| Some(f64::from(*samples.get(usize::try_from(n).ok()?)?) * low_pass(at - n, factor)))
            .sum::<f64>()
    };
    (0..samples.len() / factor).map(|at| round(value((at * factor) as isize))).collect()
}

/// A windowed sinc that passes what the lower of two rates, `factor` apart, can hold; its sum is one.
fn low_pass(at: isize, factor: usize) -> f64 {
    let (x, reach) = (at as f64 / factor as f64, TAPS as f64);
    if x.abs() >= reach {
        return 0.0;
    }
    let sinc = if at == 0 { 1.0 } else { (0.92 * PI * x).sin() / (0.92 * PI * x) };
    0.92 * sinc * (0.5 + 0.5 * (PI * x / reach).cos()) / factor as f64
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
