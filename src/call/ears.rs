//! The neural voice detector of one call, its verdicts brought back to the arrival times of the frames they judge.

use crate::audio::Resampler;
use crate::base::SampleRate;
use crate::providers::{OpenVoice, VoiceDetector, VoiceVerdict};
use std::collections::VecDeque;
use std::time::Instant;

/// Frames remembered: two seconds; an older verdict says nothing about the present.
const FRAMES_REMEMBERED: usize = 100;

/// See the module.
pub(super) struct Ears {
    open: Option<OpenVoice>,
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
            open: detector.open().ok(),
            pushed: 0,
            arrivals: VecDeque::new(),
            converter: converter.flatten(),
            converted: Vec::new(),
            rate,
        }
    }

    /// One frame that arrived `at`.
    pub(super) fn push(&mut self, samples: &[i16], at: Instant, gate_open: bool) {
        // In samples of the detector's rate.
        let narrow = samples.len() as u64 * u64::from(SampleRate::NARROWBAND.0) / u64::from(self.rate.0.max(1));
        self.pushed += narrow;
        self.arrivals.push_back((self.pushed, at));
        if self.arrivals.len() > FRAMES_REMEMBERED {
            self.arrivals.pop_front();
        }
        let Some((stream, _)) = &mut self.open else { return };
        match &mut self.converter {
            Some(converter) => {
                self.converted.clear();
                converter.push(samples, &mut self.converted);
                stream.push(&self.converted, gate_open);
            }
            None => stream.push(samples, gate_open),
        }
    }

    /// The next verdict: through which arrival, and how likely that was speech. Pending for ever without a detector.
    /// Cancel-safe.
    pub(super) async fn verdict(&mut self) -> (Instant, f32) {
        loop {
            let Some((_, verdicts)) = &mut self.open else { return std::future::pending().await };
            match verdicts.recv().await {
                Some(verdict) => {
                    if let Some(through) = self.arrival(verdict) {
                        return (through, verdict.probability);
                    }
                }
                None => self.open = None,
            }
        }
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
    use crate::providers::{ProviderError, VoiceStream};
    use std::time::Duration;
    use tokio::sync::mpsc;

    struct Echo(mpsc::Sender<VoiceVerdict>, u64);

    impl VoiceStream for Echo {
        fn push(&mut self, samples: &[i16], _: bool) {
            self.1 += samples.len() as u64;
            if self.1.is_multiple_of(320) {
                let _ = self.0.try_send(VoiceVerdict { probability: 0.9, windows: 1, until_sample: self.1 - 40 });
            }
        }
    }

    struct Detector;

    impl VoiceDetector for Detector {
        fn open(&self) -> Result<OpenVoice, ProviderError> {
            let (sender, receiver) = mpsc::channel(4);
            Ok((Box::new(Echo(sender, 0)), receiver))
        }
    }

    #[tokio::test]
    async fn a_verdict_is_dated_by_the_last_frame_it_covers_whole() {
        let t0 = Instant::now();
        let mut ears = Ears::open(&Detector, SampleRate::NARROWBAND);
        for frame in 0..4 {
            ears.push(&[0; 160], t0 + Duration::from_millis(20 * frame), true);
        }
        assert_eq!(ears.verdict().await.0, t0, "sample 280 lies in the second frame, the first is whole");
        assert_eq!(ears.verdict().await.0, t0 + Duration::from_millis(40));
    }

    #[tokio::test]
    async fn a_wide_line_is_heard_at_the_detector_s_rate() {
        let t0 = Instant::now();
        let mut ears = Ears::open(&Detector, SampleRate::WIDEBAND);
        for frame in 0..4 {
            ears.push(&[0; 320], t0 + Duration::from_millis(20 * frame), true);
        }
        assert_eq!(ears.verdict().await.0, t0);
        assert_eq!(ears.verdict().await.0, t0 + Duration::from_millis(40));
    }
}
