//! The neural voice detector of one call, its verdicts brought back to the arrival times of the frames they judge.

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
}

impl Ears {
    /// Opens the detector; without one the call relies on the cheap detector.
    pub(super) fn open(detector: &dyn VoiceDetector) -> Self {
        Self { open: detector.open().ok(), pushed: 0, arrivals: VecDeque::new() }
    }

    /// One frame that arrived `at`.
    pub(super) fn push(&mut self, samples: &[i16], at: Instant, gate_open: bool) {
        self.pushed += samples.len() as u64;
        self.arrivals.push_back((self.pushed, at));
        if self.arrivals.len() > FRAMES_REMEMBERED {
            self.arrivals.pop_front();
        }
        if let Some((stream, _)) = &mut self.open {
            stream.push(samples, gate_open);
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
        let mut ears = Ears::open(&Detector);
        for frame in 0..4 {
            ears.push(&[0; 160], t0 + Duration::from_millis(20 * frame), true);
        }
        assert_eq!(ears.verdict().await.0, t0, "sample 280 lies in the second frame, the first is whole");
        assert_eq!(ears.verdict().await.0, t0 + Duration::from_millis(40));
    }
}
