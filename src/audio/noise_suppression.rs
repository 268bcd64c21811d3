//! Noise suppression in front of speech recognition, by a recurrent network (nnnoiseless, derived from RNNoise).
//!
//! The network works at 48 kHz in frames of 10 ms, so the line is converted to that and back. Its output lags its input
//! by 10 ms, and each conversion adds 5: 20 ms in all, 10 ms on a line of 48 kHz. Far too dear for a media thread.

use super::resample::{ResampleError, Resampler};
use crate::base::SampleRate;
use nnnoiseless::DenoiseState;

/// The rate that the network was trained for.
const NETWORK_RATE: SampleRate = SampleRate(48_000);

/// Suppresses the noise of one stream. Allocates when it is made; the line's own scratch memory grows once.
pub struct NoiseSuppressor {
    network: Box<DenoiseState<'static>>,
    up: Resampler,
    down: Resampler,
    raised: Vec<i16>,
    /// Samples at 48 kHz that wait for a whole frame of the network.
    waiting: Vec<f32>,
    clean: Vec<i16>,
    /// Converted back, not yet given out.
    ready: Vec<i16>,
}

impl NoiseSuppressor {
    /// A suppressor for a line of `rate` samples per second.
    ///
    /// # Errors
    /// The rate cannot be converted to 48 kHz.
    pub fn new(rate: SampleRate) -> Result<Self, ResampleError> {
        Ok(Self {
            network: DenoiseState::new(),
            up: Resampler::new(rate, NETWORK_RATE)?,
            down: Resampler::new(NETWORK_RATE, rate)?,
            raised: Vec::new(),
            waiting: Vec::new(),
            clean: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Replaces samples by what is left of them 20 ms before; a stream begins with silence. Pieces of 20 ms are best.
    pub fn process(&mut self, samples: &mut [i16]) {
        self.raised.clear();
        self.up.push(samples, &mut self.raised);
        self.waiting.extend(self.raised.iter().map(|s| f32::from(*s)));
        self.clean.clear();
        let mut out = [0.0; DenoiseState::FRAME_SIZE];
        let mut frames = self.waiting.chunks_exact(DenoiseState::FRAME_SIZE);
        for frame in frames.by_ref() {
            self.network.process_frame(&mut out, frame);
            let clipped = out.iter().map(|s| s.clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16);
            self.clean.extend(clipped);
        }
        let used = self.waiting.len() - frames.remainder().len();
        self.waiting.drain(..used);
        self.down.push(&self.clean, &mut self.ready);
        // What is not ready yet is silence: only at the start, and with pieces that are no whole frames.
        let missing = samples.len().saturating_sub(self.ready.len());
        let (start, rest) = samples.split_at_mut(missing);
        let len = rest.len();
        start.fill(0);
        for (sample, clean) in rest.iter_mut().zip(self.ready.drain(..len)) {
            *sample = clean;
        }
    }
}

impl std::fmt::Debug for NoiseSuppressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NoiseSuppressor({} samples ready)", self.ready.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use crate::audio::noise::PhoneLine;
    use crate::audio::wav;

    fn suppressed(samples: &[i16], rate: SampleRate) -> Vec<i16> {
        let mut suppressor = NoiseSuppressor::new(rate).unwrap();
        let mut out = samples.to_vec();
        out.chunks_mut(rate.samples_in_ms(20)).for_each(|frame| suppressor.process(frame));
        out
    }

    #[test]
    fn noise_falls_and_speech_stays() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/phone.wav");
        let speech = wav::read_at(file, SampleRate::NARROWBAND).unwrap();
        let mut line = vec![0; 16_000];
        line.extend(&speech);
        PhoneLine::new(-40.0, 2).pass(&mut line);
        let out = suppressed(&line, SampleRate::NARROWBAND);
        let (before, after) = (level_dbfs(&line[8_000..15_000]), level_dbfs(&out[8_000..15_000]));
        assert!(after < before - 10.0, "noise {before:.0} became {after:.0} dBFS");
        let (before, after) = (level_dbfs(&line[16_000..]), level_dbfs(&out[16_000..]));
        assert!(after > before - 4.0, "speech {before:.0} became {after:.0} dBFS");
    }

    #[test]
    fn the_delay_is_twenty_milliseconds_at_every_rate_but_the_network_s_own() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/book.wav");
        for (rate, delay_ms) in [(8_000, 20.0), (16_000, 20.0), (48_000, 10.0)] {
            let speech = wav::read_at(file, SampleRate(rate)).unwrap();
            let speech = &speech[..rate as usize];
            let out = suppressed(speech, SampleRate(rate));
            let like = |lag: usize| -> f64 {
                speech.iter().zip(&out[lag..]).step_by(3).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let best = (0..rate as usize / 20).max_by(|a, b| like(*a).total_cmp(&like(*b))).unwrap();
            let ms = best as f64 * 1_000.0 / f64::from(rate);
            assert!((ms - delay_ms).abs() < 1.0, "{rate} Hz: {ms:.1} ms");
        }
    }

    #[test]
    fn pieces_of_any_length_keep_the_length() {
        let mut suppressor = NoiseSuppressor::new(SampleRate::WIDEBAND).unwrap();
        for len in [1, 0, 320, 7, 319, 641] {
            suppressor.process(&mut vec![100; len]);
        }
        assert!(suppressor.ready.len() < 1_000 && suppressor.waiting.len() < 480);
    }
}
