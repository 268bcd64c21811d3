//! What a media worker reports to its call.

use crate::base::TurnId;
use rtrb::Consumer;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Something that happened on a leg, in order.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum LegEvent {
    /// The caller pressed a key (RFC 4733): `0`–`9`, `*`, `#`, `A`–`D`. Exactly one per press.
    Digit(char),
    /// No packet has come for this long although audio is expected. Reported once per silence.
    MediaTimeout {
        /// Since the last packet, or since audio was expected.
        silent_for: Duration,
    },
    /// The worker met a bug in this leg and stopped serving it; no other leg is affected. End the call.
    Panicked,
    /// The last sample of a turn was sent, or the turn was flushed. Exactly one per turn that was pushed
    /// to or ended; none for [`TurnId::NONE`].
    PlayoutEnded {
        /// Which.
        turn: TurnId,
        /// When the last packet left.
        at: Instant,
        /// Samples of it that were sent.
        samples_played: u64,
    },
    /// The first packet of a turn with audio above silence was sent.
    PlayoutStarted {
        /// Which.
        turn: TurnId,
        /// When the packet left.
        at: Instant,
        /// Its RTP timestamp.
        rtp_timestamp: u32,
    },
    /// The peer's audio comes from here: the SDP address, or where its NAT sends from. Audio goes there too.
    SourceLocked(SocketAddr),
    /// A turn had no audio ready while it was playing, and silence was sent instead. Reported when its audio
    /// resumes or it ends.
    Starved {
        /// Which.
        turn: TurnId,
        /// Frames of 20 ms.
        frames: u32,
    },
}

/// The events of one leg. The call empties it whenever [`super::Leg::ready`] resolves.
#[derive(Debug)]
pub struct Events {
    pub(super) ring: Consumer<LegEvent>,
}

impl Events {
    /// The oldest event not yet taken.
    pub fn try_pop(&mut self) -> Option<LegEvent> {
        self.ring.pop().ok()
    }
}
