//! Conversion between the rate of a codec and the line rate, 20 ms at a time, without allocation.

use crate::audio::Resampler;
use crate::audio::frame::FRAME_MS;
use crate::audio::resample::ResampleError;
use crate::base::SampleRate;

/// Converts a stream frame by frame.
#[derive(Debug)]
pub(super) struct Converter {
    resampler: Resampler,
    converted: Vec<i16>,
}

impl Converter {
    /// A converter, `None` when both rates are equal. Allocates all it will ever need.
    pub(super) fn new(from: SampleRate, to: SampleRate) -> Result<Option<Self>, ResampleError> {
        if from == to {
            return Ok(None);
        }
        // Two frames, because a resampler may hold one back.
        let converted = Vec::with_capacity(2 * to.samples_in_ms(FRAME_MS));
        Ok(Some(Self { resampler: Resampler::new(from, to)?, converted }))
    }

    /// Converts one frame of 20 ms.
    pub(super) fn convert(&mut self, frame: &[i16]) -> &[i16] {
        self.converted.clear();
        self.resampler.push(frame, &mut self.converted);
        &self.converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_every_pair_of_line_rates_comes_out_whole_and_within_the_buffer() {
        let rates = [8_000, 16_000, 24_000, 48_000].map(SampleRate);
        for from in rates {
            for to in rates.into_iter().filter(|to| *to != from) {
                let mut converter = Converter::new(from, to).unwrap().unwrap();
                let room = converter.converted.capacity();
                for _ in 0..50 {
                    let made = converter.convert(&vec![1_000; from.samples_in_ms(20)]).len();
                    assert_eq!(made, to.samples_in_ms(20), "{from:?} to {to:?}");
                }
                assert_eq!(converter.converted.capacity(), room);
                assert!(converter.convert(&vec![1_000; from.samples_in_ms(20)]).iter().all(|s| s.abs_diff(1_000) < 20));
            }
            assert!(Converter::new(from, from).unwrap().is_none());
        }
    }
}
