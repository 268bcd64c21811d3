//! Two legs coupled: what one hears, the other sends, from worker to worker without the call.
//!
//! Each direction is a ring of frames of 20 ms, still encoded. Both wheels turn at the same pace, so one frame goes in
//! and one comes out per turn; the ring only takes up the difference of their phases.

use super::limits::BRIDGE_FRAMES;
use super::receive::law;
use crate::audio::frame::NARROWBAND_FRAME;
use crate::sdp::Codec;
use rtrb::{Consumer, Producer, RingBuffer};

/// Frames that wait in a ring without being dropped: the phases of two legs differ by less than a turn, and a leg that
/// is moved to an earlier slot gains one.
const CUSHION: usize = 3;

/// Twenty milliseconds on their way from one leg to the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct BridgeFrame {
    /// In this codec; `None` when only a key is carried.
    pub(super) codec: Option<Codec>,
    pub(super) octets: [u8; NARROWBAND_FRAME],
    /// A key that was pressed (RFC 4733).
    pub(super) key: Option<char>,
}

/// One leg's half of a bridge.
#[derive(Debug)]
pub(super) struct BridgePort {
    to: Producer<BridgeFrame>,
    from: Consumer<BridgeFrame>,
    /// Keys cross it.
    keys: bool,
    /// Frames that the other side did not take in time.
    pub(super) dropped: u64,
}

/// Both halves of a bridge.
pub(super) fn ports(keys: bool) -> (BridgePort, BridgePort) {
    let (there, from_there) = RingBuffer::new(BRIDGE_FRAMES);
    let (back, from_back) = RingBuffer::new(BRIDGE_FRAMES);
    let port = |to, from| BridgePort { to, from, keys, dropped: 0 };
    (port(there, from_back), port(back, from_there))
}

impl BridgePort {
    /// Hands audio of this leg to the other one.
    pub(super) fn push_audio(&mut self, codec: Codec, octets: [u8; NARROWBAND_FRAME]) {
        self.push(BridgeFrame { codec: Some(codec), octets, key: None });
    }

    /// Hands a key of this leg to the other one, if keys cross.
    pub(super) fn push_key(&mut self, key: char) {
        if !self.keys {
            return;
        }
        self.push(BridgeFrame { codec: None, octets: [0; NARROWBAND_FRAME], key: Some(key) });
    }

    fn push(&mut self, frame: BridgeFrame) {
        if self.to.push(frame).is_err() {
            self.dropped += 1;
        }
    }

    /// The next 20 ms from the other leg in `codec`; `None` when it has nothing to say. Keys go to `press`.
    pub(super) fn pull(&mut self, codec: Codec, mut press: impl FnMut(char)) -> Option<[u8; NARROWBAND_FRAME]> {
        // The other leg ran ahead: what is old is dropped, or the delay would stay for the rest of the call.
        let mut spare = self.from.slots().saturating_sub(CUSHION);
        while let Ok(frame) = self.from.pop() {
            if let Some(key) = frame.key {
                press(key);
            }
            let Some(own) = frame.codec else { continue };
            if spare > 0 {
                spare -= 1;
                self.dropped += 1;
                continue;
            }
            let mut octets = frame.octets;
            law(own).transcode(law(codec), &mut octets);
            return Some(octets);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_passes_unchanged_between_equal_codecs_and_is_transcoded_between_others() {
        let (mut near, mut far) = ports(true);
        let octets = std::array::from_fn(|n| n as u8);
        near.push_audio(Codec::Pcmu, octets);
        near.push_audio(Codec::Pcmu, [0xFF; 160]);
        assert_eq!(far.pull(Codec::Pcmu, |_| ()), Some(octets));
        assert_eq!(far.pull(Codec::Pcma, |_| ()), Some([0xD5; 160]), "silence stays silence");
        assert_eq!(far.pull(Codec::Pcma, |_| ()), None);
        far.push_audio(Codec::Pcma, octets);
        assert_eq!(near.pull(Codec::Pcma, |_| ()), Some(octets));
    }

    #[test]
    fn keys_pass_beside_the_audio_and_are_never_dropped_with_it() {
        let (mut near, mut far) = ports(true);
        near.push_key('4');
        for n in 0..6 {
            near.push_audio(Codec::Pcmu, [n; 160]);
        }
        let mut keys = String::new();
        let first = far.pull(Codec::Pcmu, |key| keys.push(key));
        assert!(first.is_some_and(|octets| octets[0] > 0), "old audio was skipped");
        assert_eq!((keys.as_str(), far.dropped), ("4", 4));
    }

    #[test]
    fn a_side_that_is_not_served_costs_frames_and_no_memory() {
        let (mut near, far) = ports(true);
        for _ in 0..BRIDGE_FRAMES + 5 {
            near.push_audio(Codec::Pcmu, [0; 160]);
        }
        assert_eq!(near.dropped, 5);
        drop(far);
    }
}
