//! Caller audio on its way to the call.

use super::limits;
use crate::audio::Frame;
use crate::audio::frame::NARROWBAND_FRAME;
use rtrb::Consumer;
use std::time::Instant;

/// Twenty milliseconds of caller audio.
#[derive(Clone, Copy, Debug)]
pub struct UplinkFrame {
    /// 160 samples at 8 kHz.
    pub samples: Frame,
    /// RTP timestamp of the first sample. Grows by 160 per frame except where audio was skipped or repeated.
    pub rtp_timestamp: u32,
    /// When the packet with the first sample reached the kernel. For concealed frames, when it was made.
    pub arrived: Instant,
    /// The voice detector's decision.
    pub voiced: bool,
    /// Level of the frame in dB below full scale.
    pub level_dbfs: f32,
    /// Some of it is made up for lost or missing packets, or is silence while the peer sends nothing.
    pub concealed: bool,
}

/// An [`UplinkFrame`] as it crosses the ring: half the size.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingFrame {
    pub(super) samples: [i16; NARROWBAND_FRAME],
    pub(super) rtp_timestamp: u32,
    pub(super) arrived: Instant,
    pub(super) voiced: bool,
    pub(super) level_dbfs: f32,
    pub(super) concealed: bool,
}

/// The caller's side of a leg: one frame per 20 ms from the first packet on, silence included.
///
/// It holds one second ([`limits::UPLINK_FRAMES`]); a call that reads slower loses the newest frames, which
/// [`super::LegStats::uplink_dropped`] counts.
#[derive(Debug)]
pub struct Uplink {
    pub(super) ring: Consumer<RingFrame>,
}

impl Uplink {
    /// The oldest frame not yet taken.
    pub fn try_pop(&mut self) -> Option<UplinkFrame> {
        let frame = self.ring.pop().ok()?;
        Some(UplinkFrame {
            samples: Frame::from_samples(&frame.samples),
            rtp_timestamp: frame.rtp_timestamp,
            arrived: frame.arrived,
            voiced: frame.voiced,
            level_dbfs: frame.level_dbfs,
            concealed: frame.concealed,
        })
    }

    /// Frames waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.slots().min(limits::UPLINK_FRAMES)
    }

    /// Whether no frame is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}
