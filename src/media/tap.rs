//! Both directions of a leg for whoever records it, beside the way to the call.

use super::framed::{FrameConsumer, FrameProducer, ring};
use super::limits::TAP_FRAMES;
use crate::audio::Frame;
use crate::audio::frame::FRAME_MS;
use crate::base::SampleRate;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Twenty milliseconds of both directions; silence where nothing was heard or said.
#[derive(Clone, Copy, Debug)]
pub struct TapFrame {
    /// What came from the peer.
    pub caller: Frame,
    /// What went to the peer.
    pub agent: Frame,
}

/// The reading end: one frame per 20 ms from [`super::Leg::tap`] on. Dropping it ends the tap.
///
/// It holds two seconds ([`TAP_FRAMES`]); a reader that is slower loses the newest frames, counted by [`Self::dropped`].
#[derive(Debug)]
pub struct Tap {
    ring: FrameConsumer<()>,
    sample_rate: SampleRate,
    dropped: Arc<AtomicU64>,
    both: Vec<i16>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct TapPort {
    ring: FrameProducer<()>,
    dropped: Arc<AtomicU64>,
    both: Box<[i16]>,
}

/// Both ends of a tap. Allocates.
pub(super) fn tap(sample_rate: SampleRate) -> (TapPort, Tap) {
    let both = 2 * sample_rate.samples_in_ms(FRAME_MS);
    let (producer, consumer) = ring(TAP_FRAMES, both);
    let dropped = Arc::new(AtomicU64::new(0));
    let port = TapPort { ring: producer, dropped: Arc::clone(&dropped), both: vec![0; both].into_boxed_slice() };
    (port, Tap { ring: consumer, sample_rate, dropped, both: vec![0; both] })
}

impl Tap {
    /// The oldest frame not yet taken.
    pub fn try_pop(&mut self) -> Option<TapFrame> {
        self.ring.pop(&mut self.both)?;
        let (caller, agent) = self.both.split_at(self.both.len() / 2);
        Some(TapFrame { caller: Frame::from_samples(caller), agent: Frame::from_samples(agent) })
    }

    /// Samples per second of both directions: the line rate.
    #[must_use]
    pub fn sample_rate(&self) -> SampleRate {
        self.sample_rate
    }

    /// Whether the leg has ended this tap or is gone itself: what waits is all there will be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Frames that were lost because nobody took them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl TapPort {
    /// Writes 20 ms; `None` is silence. False when nobody reads any more.
    pub(super) fn push(&mut self, caller: Option<&[i16]>, agent: Option<&[i16]>) -> bool {
        let half = self.both.len() / 2;
        for (side, samples) in self.both.chunks_exact_mut(half.max(1)).zip([caller, agent]) {
            side.fill(0);
            for (slot, sample) in side.iter_mut().zip(samples.unwrap_or_default()) {
                *slot = *sample;
            }
        }
        if !self.ring.push((), &self.both) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        !self.ring.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_out_in_step_and_a_slow_reader_loses_the_newest() {
        let (mut port, mut tap) = tap(SampleRate::WIDEBAND);
        port.push(Some(&[7; 320]), None);
        port.push(None, Some(&[9; 320]));
        let frame = tap.try_pop().unwrap();
        assert_eq!((frame.caller.samples(), frame.agent.samples()), (&[7; 320][..], &[0; 320][..]));
        let frame = tap.try_pop().unwrap();
        assert_eq!((frame.caller.samples(), frame.agent.samples()), (&[0; 320][..], &[9; 320][..]));
        for n in 0..TAP_FRAMES as i16 + 5 {
            assert!(port.push(Some(&[n; 320]), None));
        }
        assert_eq!((tap.dropped(), tap.try_pop().unwrap().caller.samples()[0]), (5, 0));
        drop(tap);
        assert!(!port.push(None, None));
    }
}
