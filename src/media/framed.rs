//! A ring of frames that takes as much memory as the samples in it, whatever the rate: samples in one ring, what is
//! known about each frame in another.

use rtrb::{Consumer, Producer, RingBuffer};

/// The writing end.
#[derive(Debug)]
pub(super) struct FrameProducer<H> {
    heads: Producer<(H, u16)>,
    samples: Producer<i16>,
}

/// The reading end.
#[derive(Debug)]
pub(super) struct FrameConsumer<H> {
    heads: Consumer<(H, u16)>,
    samples: Consumer<i16>,
}

/// Both ends of a ring of `frames` frames of up to `frame_samples` samples. Allocates.
pub(super) fn ring<H: Copy>(frames: usize, frame_samples: usize) -> (FrameProducer<H>, FrameConsumer<H>) {
    let (head_producer, heads) = RingBuffer::new(frames);
    let (sample_producer, samples) = RingBuffer::new(frames * frame_samples);
    (FrameProducer { heads: head_producer, samples: sample_producer }, FrameConsumer { heads, samples })
}

impl<H: Copy> FrameProducer<H> {
    /// Puts a frame in; false when there is no room.
    pub(super) fn push(&mut self, head: H, samples: &[i16]) -> bool {
        let Ok(len) = u16::try_from(samples.len()) else { return false };
        // The samples first: a reader that sees the head finds them.
        self.heads.slots() > 0
            && self.samples.push_entire_slice(samples).is_ok()
            && self.heads.push((head, len)).is_ok()
    }

    /// Frames that still fit.
    pub(super) fn free(&self) -> usize {
        self.heads.slots()
    }

    /// Whether the reading end is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.heads.is_abandoned()
    }

    /// Frames put in and not yet taken out.
    pub(super) fn waiting(&self) -> usize {
        self.heads.buffer().capacity().saturating_sub(self.heads.slots())
    }
}

impl<H: Copy> FrameConsumer<H> {
    /// Whether the writing end is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.heads.is_abandoned()
    }

    /// What is known about the oldest frame, and its length in samples.
    pub(super) fn peek(&self) -> Option<(H, usize)> {
        self.heads.peek().ok().map(|(head, len)| (*head, usize::from(*len)))
    }

    /// Takes the oldest frame out and copies as much of it as fits into `out`; its length is the whole frame's.
    pub(super) fn pop(&mut self, out: &mut [i16]) -> Option<(H, usize)> {
        let (head, len) = self.heads.pop().ok()?;
        let len = usize::from(len);
        if let Ok(chunk) = self.samples.read_chunk(len) {
            let (first, second) = chunk.as_slices();
            let (head, tail) = out.split_at_mut(first.len().min(out.len()));
            for (out, samples) in [(head, first), (tail, second)] {
                let len = out.len().min(samples.len());
                if let (Some(out), Some(samples)) = (out.get_mut(..len), samples.get(..len)) {
                    out.copy_from_slice(samples);
                }
            }
            chunk.commit_all();
        }
        Some((head, len))
    }

    /// Frames waiting.
    pub(super) fn waiting(&self) -> usize {
        self.heads.slots()
    }

    /// Whether no frame is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_around_the_end_of_the_ring() {
        let (mut producer, mut consumer) = ring::<usize>(3, 7);
        let (mut out, mut next) = ([0; 7], 0i16);
        for n in 0..50 {
            let frame: Vec<i16> = (0..n % 8).map(|k| next + k as i16).collect();
            next += frame.len() as i16;
            assert!(producer.push(n, &frame));
            assert_eq!(consumer.peek(), Some((n, frame.len())));
            assert_eq!(consumer.pop(&mut out), Some((n, frame.len())));
            assert_eq!(out[..frame.len()], frame);
        }
        assert!(consumer.pop(&mut out).is_none() && consumer.is_empty());
    }

    #[test]
    fn a_full_ring_takes_nothing_and_loses_nothing() {
        let (mut producer, mut consumer) = ring::<u8>(2, 4);
        assert!(producer.push(1, &[1; 4]) && producer.push(2, &[2; 4]));
        assert!(!producer.push(3, &[3; 4]));
        assert_eq!((producer.free(), producer.waiting(), consumer.waiting()), (0, 2, 2));
        let mut out = [0; 2];
        assert_eq!(consumer.pop(&mut out), Some((1, 4)), "what does not fit into the buffer is skipped");
        assert!(!producer.push(3, &[3; 5]), "five samples have no room");
        assert!(producer.push(3, &[]));
        assert_eq!(consumer.pop(&mut out), Some((2, 4)));
        assert_eq!(out, [2; 2]);
    }
}
