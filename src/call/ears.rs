//! The neural voice detector of one call, its verdicts brought back to the arrival times of the frames they judge.

use crate::audio::Resampler;
use crate::base::SampleRate;
use crate::providers::{VoiceDetector, VoiceStream, VoiceVerdict};
use std::collections::VecDeque;
use std::time::Instant;

/// Frames remembered: two seconds; an older verdict says nothing about the present.
const FRAMES_REMEMBERED: usize = 100;

/// See the module.
pub(super) struct Ears {
    stream: Option<Box<dyn VoiceStream>>,
    pushed: u64,
    arrivals: VecDeque<(u64, Instant)>,
    /// From the line's rate to the detector's; `None` where both are 8 kHz.
    converter: Option<Resampler>,
    converted: Vec<i16>,
    rate: SampleRate,
}

impl Ears {
    /// Opens the detector; without one the call relies on the cheap detector.
    pub(super) fn open(detector: &dyn VoiceDetector, rate: SampleRate) -> Self {
        let converter = (rate != SampleRate::NARROWBAND).then(|| Resampler::new(rate, SampleRate::NARROWBAND).ok());
        Self {
            stream: detector.open().ok(),
            pushed: 0,
            arrivals: VecDeque::new(),
            converter: converter.flatten(),
            converted: Vec::new(),
            rate,
        }
    }

    /// One frame that arrived `at`. The verdict that it brought, if any: through which arrival, and how likely that was
    /// speech.
    pub(super) fn push(&mut self, samples: &[i16], at: Instant, gate_open: bool) -> Option<(Instant, f32)> {
        // In samples of the detector's rate.
        let narrow = samples.len() as u64 * u64::from(SampleRate::NARROWBAND.0) / u64::from(self.rate.0.max(1));
        self.pushed += narrow;
        self.arrivals.push_back((self.pushed, at));
        if self.arrivals.len() > FRAMES_REMEMBERED {
            self.arrivals.pop_front();
        }
        let stream = self.stream.as_mut()?;
        let verdict = match &mut self.converter {
            Some(converter) => {
                self.converted.clear();
                converter.push(samples, &mut self.converted);
                stream.push(&self.converted, gate_open)
            }
            None => stream.push(samples, gate_open),
        }?;
        Some((self.arrival(verdict)?, verdict.probability))
    }

    fn arrival(&mut self, verdict: VoiceVerdict) -> Option<Instant> {
        while self.arrivals.get(1).is_some_and(|(end, _)| *end <= verdict.until_sample) {
            self.arrivals.pop_front();
        }
        self.arrivals.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ProviderError;
    use std::time::Duration;

    struct Echo(u64);

    impl VoiceStream for Echo {
        fn push(&mut self, samples: &[i16], _: bool) -> Option<VoiceVerdict> {
            self.0 += samples.len() as u64;
            let verdict = VoiceVerdict { probability: 0.9, windows: 1, until_sample: self.0 - 40 };
            self.0.is_multiple_of(320).then_some(verdict)
        }
    }

    struct Detector;

    impl VoiceDetector for Detector {
        fn open(&self) -> Result<Box<dyn VoiceStream>, ProviderError> {
            Ok(Box::new(Echo(0)))
        }
    }

    #[test]
    fn a_verdict_is_dated_by_the_last_frame_it_covers_whole() {
        let t0 = Instant::now();
        let mut ears = Ears::open(&Detector, SampleRate::NARROWBAND);
        let at = |frame: u64| t0 + Duration::from_millis(20 * frame);
        let verdicts: Vec<_> = (0..4).map(|frame| ears.push(&[0; 160], at(frame), true)).collect();
        // Sample 280 lies in the second frame, the first is whole.
        assert_eq!(verdicts, [None, Some((at(0), 0.9)), None, Some((at(2), 0.9))]);
    }

    #[test]
    fn a_wide_line_is_heard_at_the_detector_s_rate() {
        let t0 = Instant::now();
        let mut ears = Ears::open(&Detector, SampleRate::WIDEBAND);
        let at = |frame: u64| t0 + Duration::from_millis(20 * frame);
        let verdicts: Vec<_> = (0..4).filter_map(|frame| ears.push(&[0; 320], at(frame), true)).collect();
        assert_eq!(verdicts, [(at(0), 0.9), (at(2), 0.9)]);
    }
}
