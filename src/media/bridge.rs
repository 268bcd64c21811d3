//! Two legs coupled: what one hears, the other sends, from worker to worker without the call.
//!
//! Each direction is a ring of frames of 20 ms at the line rate of the leg that spoke. Both wheels turn at the same pace,
//! so one frame goes in and one comes out per turn; the ring only takes up the difference of their phases.

use super::MediaError;
use super::converter::Converter;
use super::framed::{FrameConsumer, FrameProducer, ring};
use super::limits::BRIDGE_FRAMES;
use crate::audio::frame::{FRAME_MS, FULLBAND_FRAME};
use crate::base::SampleRate;

/// Frames that wait in a ring without being dropped: the phases of two legs differ by less than a turn, and a leg that
/// is moved to an earlier slot gains one.
const CUSHION: usize = 3;

/// One leg's half of a bridge.
#[derive(Debug)]
pub(super) struct BridgePort {
    /// Frames with a key that was pressed (RFC 4733), or with audio.
    to: FrameProducer<Option<char>>,
    from: FrameConsumer<Option<char>>,
    /// From the other leg's line rate to ours, where they differ.
    converter: Option<Converter>,
    /// Keys cross it.
    keys: bool,
    /// Frames that the other side did not take in time.
    pub(super) dropped: u64,
}

/// Both halves of a bridge between legs of these line rates. Allocates.
pub(super) fn ports(keys: bool, near: SampleRate, far: SampleRate) -> Result<(BridgePort, BridgePort), MediaError> {
    let (there, from_there) = ring(BRIDGE_FRAMES, near.samples_in_ms(FRAME_MS));
    let (back, from_back) = ring(BRIDGE_FRAMES, far.samples_in_ms(FRAME_MS));
    let port = |to, from, converter| BridgePort { to, from, converter, keys, dropped: 0 };
    Ok((port(there, from_back, Converter::new(far, near)?), port(back, from_there, Converter::new(near, far)?)))
}

impl BridgePort {
    /// Hands audio of this leg to the other one.
    pub(super) fn push_audio(&mut self, samples: &[i16]) {
        if !self.to.push(None, samples) {
            self.dropped += 1;
        }
    }

    /// Hands a key of this leg to the other one, if keys cross.
    pub(super) fn push_key(&mut self, key: char) {
        if self.keys && !self.to.push(Some(key), &[]) {
            self.dropped += 1;
        }
    }

    /// Puts the next 20 ms of the other leg into `frame`; false when it has nothing to say. Keys go to `press`.
    pub(super) fn pull(&mut self, frame: &mut [i16], mut press: impl FnMut(char)) -> bool {
        // The other leg ran ahead: what is old is dropped, or the delay would stay for the rest of the call.
        let mut spare = self.from.waiting().saturating_sub(CUSHION);
        let mut samples = [0; FULLBAND_FRAME];
        while let Some((key, len)) = self.from.pop(&mut samples) {
            if let Some(key) = key {
                press(key);
                continue;
            }
            if spare > 0 {
                spare -= 1;
                self.dropped += 1;
                continue;
            }
            let samples = samples.get(..len).unwrap_or_default();
            let samples = match &mut self.converter {
                Some(converter) => converter.convert(samples),
                None => samples,
            };
            for (slot, sample) in frame.iter_mut().zip(samples) {
                *slot = *sample;
            }
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: SampleRate = SampleRate::NARROWBAND;

    fn pull(port: &mut BridgePort, samples: usize) -> Option<Vec<i16>> {
        let mut frame = vec![0; samples];
        port.pull(&mut frame, |_| ()).then_some(frame)
    }

    #[test]
    fn audio_passes_unchanged_between_equal_rates_and_is_converted_between_others() {
        let (mut near, mut far) = ports(true, NARROW, NARROW).unwrap();
        let samples: Vec<i16> = (0..160).map(|n| n * 50).collect();
        near.push_audio(&samples);
        assert_eq!(pull(&mut far, 160), Some(samples));
        assert_eq!(pull(&mut far, 160), None);
        let (mut near, mut far) = ports(true, NARROW, SampleRate::WIDEBAND).unwrap();
        for _ in 0..3 {
            near.push_audio(&[3_000; 160]);
            far.push_audio(&[-3_000; 320]);
            let (there, back) = (pull(&mut far, 320).unwrap(), pull(&mut near, 160).unwrap());
            assert_eq!((there.len(), back.len()), (320, 160));
        }
        near.push_audio(&[3_000; 160]);
        assert!(pull(&mut far, 320).unwrap().iter().all(|s| s.abs_diff(3_000) < 60));
    }

    #[test]
    fn keys_pass_beside_the_audio_and_are_never_dropped_with_it() {
        let (mut near, mut far) = ports(true, NARROW, NARROW).unwrap();
        near.push_key('4');
        for n in 0..6 {
            near.push_audio(&[n; 160]);
        }
        let (mut keys, mut first) = (String::new(), [0; 160]);
        assert!(far.pull(&mut first, |key| keys.push(key)));
        assert!(first[0] > 0, "old audio was skipped");
        assert_eq!((keys.as_str(), far.dropped), ("4", 4));
    }

    #[test]
    fn a_side_that_is_not_served_costs_frames_and_no_memory() {
        let (mut near, far) = ports(true, NARROW, NARROW).unwrap();
        for _ in 0..BRIDGE_FRAMES + 5 {
            near.push_audio(&[0; 160]);
        }
        assert_eq!(near.dropped, 5);
        drop(far);
    }
}
