//! The two roles of RFC 3264 for one audio stream.

use super::{Codec, Direction, SdpError};
use crate::base::Random;
use std::net::{IpAddr, SocketAddr};

/// What both sides agreed on. The caller configures the media leg with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// Where the peer says it receives RTP. The IP is unspecified (`0.0.0.0`, `::`) when the peer gave a host
    /// name ([`Self::remote_name`]) or put the call on hold the old way; then nothing can be sent there.
    pub remote: SocketAddr,
    /// The host name of the peer's `c=` line, when it was one: resolve it, or rely on the source lock.
    pub remote_name: Option<String>,
    /// Where the peer receives RTCP; `None` when it is multiplexed with RTP or the address is unknown.
    pub rtcp: Option<SocketAddr>,
    /// The codec to send and expect.
    pub codec: Codec,
    /// Its payload type to send, the peer's number.
    pub payload_type: u8,
    /// Payload type of `telephone-event/8000` (RFC 4733), when agreed.
    pub telephone_event: Option<u8>,
    /// Audio per packet that we send, in milliseconds: the peer's `ptime`, within its `maxptime`, 10–60.
    pub ptime_ms: u8,
    /// **Our** direction: whether we send and whether we expect audio.
    pub direction: Direction,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
}

impl Negotiated {
    /// Whether the peer has put us on hold: it does not want to hear us.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.direction.sends()
    }
}

/// Our answer to an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The description to put in the response or ACK.
    pub sdp: String,
    /// What was agreed.
    pub negotiated: Negotiated,
}

/// One audio stream of one dialog, with the `o=` line's session id and version (RFC 3264 §8).
///
/// Use one per dialog, for its whole life: the version grows by one whenever the text changes. Every offer
/// is answered from itself alone, never from what was agreed before.
#[derive(Debug)]
pub struct Negotiation {
    pub(super) session_id: u64,
    pub(super) version: u64,
    pub(super) address: IpAddr,
    pub(super) rtp_port: u16,
    pub(super) codecs: Vec<Codec>,
    pub(super) last: Option<String>,
    pub(super) offered: Option<Direction>,
}

impl Negotiation {
    /// A negotiation that advertises `address:rtp_port` and knows `codecs`, best first.
    #[must_use]
    pub fn new(address: IpAddr, rtp_port: u16, codecs: Vec<Codec>, random: &mut Random) -> Self {
        Self { session_id: random.next_u64() >> 2, version: 0, address, rtp_port, codecs, last: None, offered: None }
    }

    /// Our offer, for an INVITE of ours or for the 200 to an INVITE without one. Remembered until
    /// [`Self::accept_answer`].
    pub fn offer(&mut self, direction: Direction) -> String {
        self.write_offer(direction)
    }

    /// Answers the peer's `offer`. `direction` is what we want; the answer never exceeds what the offer allows.
    ///
    /// # Errors
    /// The offer cannot be used; answer with [`SdpError::sip_status`] and keep the session as it is.
    pub fn answer(&mut self, offer: &[u8], direction: Direction) -> Result<Answer, SdpError> {
        self.write_answer(offer, direction)
    }

    /// Reads the peer's answer to our last offer.
    ///
    /// # Errors
    /// The answer cannot be used: the call cannot have media and ends.
    pub fn accept_answer(&mut self, answer: &[u8]) -> Result<Negotiated, SdpError> {
        self.read_answer(answer)
    }

    fn write_offer(&mut self, _direction: Direction) -> String {
        todo!()
    }
    fn write_answer(&mut self, _offer: &[u8], _direction: Direction) -> Result<Answer, SdpError> {
        todo!()
    }
    fn read_answer(&mut self, _answer: &[u8]) -> Result<Negotiated, SdpError> {
        todo!()
    }
}
