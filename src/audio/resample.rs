//! Streaming conversion between sample rates: by a half-band filter where one rate is twice the other, 3 ms of delay at
//! 8 kHz, and by FFT (rubato) otherwise, 5 ms.

use super::half_band::{Doubler, Halver, rounded};
use crate::base::SampleRate;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use thiserror::Error;

/// Milliseconds per chunk: a frame.
const CHUNK_MS: u32 = 20;
/// Chunks are halved inside, which halves the delay and still leaves 3.4 kHz untouched.
const SUB_CHUNKS: usize = 2;

/// The rates cannot be converted: zero, or without a common measure in 20 ms. Configuration's fault.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("cannot convert {} samples per second to {}: {reason}", from.0, to.0)]
pub struct ResampleError {
    /// Rate in.
    pub from: SampleRate,
    /// Rate out.
    pub to: SampleRate,
    /// What is wrong.
    pub reason: String,
}

/// Converts one mono stream. Feed it pieces of any length; what it works on in chunks of 20 ms, it keeps the rest of.
pub struct Resampler {
    way: Way,
    delay: usize,
}

enum Way {
    /// Both rates are equal: samples pass through.
    Same,
    Double(Box<Doubler>),
    Halve(Box<Halver>),
    Fft(Box<Chunks>),
}

/// Conversion in chunks of 20 ms.
struct Chunks {
    fft: Fft<f32>,
    input: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
}

impl Resampler {
    /// A converter from one rate to another. Allocates all it will ever need.
    ///
    /// # Errors
    /// A rate is zero or too odd.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Self, ResampleError> {
        let error = |reason: String| ResampleError { from, to, reason };
        let chunk = from.samples_in_ms(CHUNK_MS);
        if chunk == 0 || to.samples_in_ms(CHUNK_MS) == 0 {
            return Err(error("a rate is below 50".into()));
        }
        let (rate_in, rate_out) = (from.0 as usize, to.0 as usize);
        if rate_in == rate_out {
            return Ok(Self { way: Way::Same, delay: 0 });
        }
        if Some(rate_out) == rate_in.checked_mul(2) {
            return Ok(Self { way: Way::Double(Box::new(Doubler::new())), delay: Doubler::DELAY });
        }
        if Some(rate_in) == rate_out.checked_mul(2) {
            return Ok(Self { way: Way::Halve(Box::new(Halver::new())), delay: Halver::DELAY });
        }
        let fft = Fft::new_custom(rate_in, rate_out, chunk, SUB_CHUNKS, 1, WindowFunction::Hann, FixedSync::Input)
            .map_err(|e| error(e.to_string()))?;
        let (delay, most) = (fft.output_delay(), fft.output_frames_max());
        let chunks = Chunks { fft, input: vec![0.0; chunk], filled: 0, output: vec![0.0; most] };
        Ok(Self { way: Way::Fft(Box::new(chunks)), delay })
    }

    /// Samples at the output rate by which the output lags the input.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.delay
    }

    /// Appends the conversion of `samples`, as far as whole chunks allow, to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        match &mut self.way {
            Way::Same => out.extend_from_slice(samples),
            Way::Double(doubler) => doubler.push(samples, out),
            Way::Halve(halver) => halver.push(samples, out),
            Way::Fft(chunks) => chunks.push(samples, out),
        }
    }

    /// Ends the stream: appends what is still inside, so that `out` has at least the length of the whole input at the
    /// other rate plus [`Self::delay`].
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        match &mut self.way {
            Way::Same => {}
            Way::Double(doubler) => doubler.finish(out),
            Way::Halve(halver) => halver.finish(out),
            Way::Fft(chunks) => chunks.finish(out),
        }
    }
}

impl Chunks {
    fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let mut rest = samples;
        while !rest.is_empty() {
            let room = self.input.get_mut(self.filled..).unwrap_or_default();
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            for (slot, sample) in room.iter_mut().zip(now) {
                *slot = f32::from(*sample);
            }
            self.filled += now.len();
            rest = later;
            if self.filled == self.input.len() {
                self.convert(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<i16>) {
        for _ in 0..2 {
            self.input.iter_mut().skip(self.filled).for_each(|s| *s = 0.0);
            self.convert(out);
        }
    }

    fn convert(&mut self, out: &mut Vec<i16>) {
        self.filled = 0;
        let (frames_in, frames_out) = (self.input.len(), self.output.len());
        let Ok(input) = SequentialSlice::new(&self.input, 1, frames_in) else { return };
        let Ok(mut output) = SequentialSlice::new_mut(&mut self.output, 1, frames_out) else { return };
        // The sizes are those the converter asked for.
        let Ok((_, made)) = self.fft.process_into_buffer(&input, &mut output, None) else { return };
        out.extend(self.output.iter().take(made).map(|sample| rounded(*sample)));
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resampler({} samples of delay)", self.delay)
    }
}

/// Converts a whole clip and removes the delay: the result is as long as the input at the other rate.
///
/// # Errors
/// As [`Resampler::new`].
pub fn convert(samples: &[i16], from: SampleRate, to: SampleRate) -> Result<Vec<i16>, ResampleError> {
    let mut resampler = Resampler::new(from, to)?;
    let wanted = (samples.len() as u64 * u64::from(to.0)).div_ceil(u64::from(from.0)) as usize;
    let mut out = Vec::with_capacity(wanted + 2 * to.samples_in_ms(CHUNK_MS));
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out.drain(..resampler.delay().min(out.len()));
    out.resize(wanted, 0);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;

    fn tone(hz: f32, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples).map(|t| (8_000.0 * (t as f32 * hz / rate as f32 * std::f32::consts::TAU).sin()) as i16).collect()
    }

    #[test]
    fn tones_of_the_telephone_band_pass_unchanged() {
        for (from, to) in [(8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (48_000, 16_000)] {
            for hz in [333.0, 1_000.0, 3_380.0] {
                let out = convert(&tone(hz, from, from as usize), SampleRate(from), SampleRate(to)).unwrap();
                assert_eq!(out.len(), to as usize);
                let wanted = tone(hz, to, to as usize);
                let middle = 2_000..6_000;
                let error: Vec<i16> = out[middle.clone()].iter().zip(&wanted[middle]).map(|(a, b)| a - b).collect();
                assert!(level_dbfs(&error) < -52.0, "{from} to {to}, {hz} Hz: {}", level_dbfs(&error));
            }
        }
    }

    #[test]
    fn the_rates_of_compact_discs_keep_their_level() {
        for from in [11_025, 22_050, 44_100] {
            let input = tone(1_000.0, from, from as usize);
            let out = convert(&input, SampleRate(from), SampleRate(8_000)).unwrap();
            assert!((level_dbfs(&out[2_000..6_000]) - level_dbfs(&input)).abs() < 0.1, "{from}");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_removed() {
        let out = convert(&tone(5_000.0, 16_000, 16_000), SampleRate(16_000), SampleRate(8_000)).unwrap();
        assert!(level_dbfs(&out[1_000..7_000]) < -70.0);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_stream() {
        let input = tone(440.0, 24_000, 12_345);
        let whole = convert(&input, SampleRate(24_000), SampleRate(8_000)).unwrap();
        let mut resampler = Resampler::new(SampleRate(24_000), SampleRate(8_000)).unwrap();
        let mut out = Vec::new();
        for piece in input.chunks(333) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        assert_eq!(out[resampler.delay()..][..whole.len()], whole[..]);
    }

    #[test]
    fn the_delay_is_three_milliseconds_between_a_rate_and_its_double_and_five_otherwise() {
        assert_eq!(Resampler::new(SampleRate(8_000), SampleRate(16_000)).unwrap().delay(), 47);
        assert_eq!(Resampler::new(SampleRate(16_000), SampleRate(8_000)).unwrap().delay(), 23);
        assert_eq!(Resampler::new(SampleRate(24_000), SampleRate(8_000)).unwrap().delay(), 40);
    }

    #[test]
    fn equal_rates_pass_through_and_zero_is_refused() {
        assert_eq!(convert(&[1, 2, 3], SampleRate(8_000), SampleRate(8_000)).unwrap(), [1, 2, 3]);
        assert!(Resampler::new(SampleRate(0), SampleRate(8_000)).is_err());
        assert!(convert(&[], SampleRate(8_000), SampleRate(16_000)).unwrap().is_empty());
    }

    #[test]
    fn full_scale_clips_and_does_not_wrap() {
        let square: Vec<i16> = (0..1_600).map(|t| if t / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = convert(&square, SampleRate(8_000), SampleRate(16_000)).unwrap();
        let flips = out.windows(2).filter(|w| (i32::from(w[0]) - i32::from(w[1])).abs() > 60_000).count();
        assert_eq!(flips, 0);
    }
}
