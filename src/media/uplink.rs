//! Caller audio on its way to the call.

use super::framed::FrameConsumer;
use crate::audio::Frame;
use crate::audio::frame::FULLBAND_FRAME;
use std::time::Instant;

/// Twenty milliseconds of caller audio.
#[derive(Clone, Copy, Debug)]
pub struct UplinkFrame {
    /// 20 ms at [`super::Leg::sample_rate`].
    pub samples: Frame,
    /// RTP timestamp of the first sample. Grows by 20 ms of the codec's clock per frame except where audio was skipped
    /// or repeated.
    pub rtp_timestamp: u32,
    /// When the packet with the first sample reached the kernel. For concealed frames, when it was made.
    pub arrived: Instant,
    /// The voice detector's decision; false where it is not asked ([`super::Leg::detect_voice`]).
    pub voiced: bool,
    /// Level of the frame in dB below full scale.
    pub level_dbfs: f32,
    /// Some of it is made up for lost or missing packets, or is silence while the peer sends nothing.
    pub concealed: bool,
}

/// What is known about 20 ms that were heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) rtp_timestamp: u32,
    pub(super) arrived: Instant,
    pub(super) voiced: bool,
    pub(super) level_dbfs: f32,
    pub(super) concealed: bool,
    /// The peer sends nothing: what was made is silence or comfort noise.
    pub(super) idle: bool,
}

/// The caller's side of a leg: one frame per 20 ms from the first packet on, silence included.
///
/// It holds 640 ms ([`super::limits::UPLINK_FRAMES`]), of a relayed leg 400; a call that reads slower loses the newest
/// frames, which [`super::LegStats::uplink_dropped`] counts.
#[derive(Debug, Default)]
pub struct Uplink {
    /// `None` before the first [`super::Leg::configure`].
    pub(super) ring: Option<FrameConsumer<Heard>>,
}

impl Uplink {
    /// The oldest frame not yet taken.
    pub fn try_pop(&mut self) -> Option<UplinkFrame> {
        let ring = self.ring.as_mut()?;
        let (_, len) = ring.peek()?;
        let mut samples = Frame::silence(len.min(FULLBAND_FRAME));
        let (heard, _) = ring.pop(samples.samples_mut())?;
        Some(UplinkFrame {
            samples,
            rtp_timestamp: heard.rtp_timestamp,
            arrived: heard.arrived,
            voiced: heard.voiced,
            level_dbfs: heard.level_dbfs,
            concealed: heard.concealed,
        })
    }

    /// Frames waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.as_ref().map_or(0, FrameConsumer::waiting)
    }

    /// Whether no frame is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.as_ref().is_none_or(FrameConsumer::is_empty)
    }
}
