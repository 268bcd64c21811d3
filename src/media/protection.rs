//! SRTP in the path of a leg: nothing in clear leaves or is heard where encryption was agreed.

use super::leg_media::{LegMedia, LegSecurity};
use crate::rtp::srtp::{SrtpReceiver, SrtpSender};

/// The contexts of both directions.
#[derive(Debug)]
pub(super) struct Srtp {
    pub(super) sender: SrtpSender,
    pub(super) receiver: SrtpReceiver,
}

/// How a leg's packets are protected.
#[derive(Debug)]
pub(super) enum Protection {
    Plain,
    /// Keys are still being agreed: nothing is sent and nothing is heard.
    Pending,
    Srtp(Box<Srtp>),
}

impl Protection {
    /// What was agreed. Allocates.
    pub(super) fn new(media: &LegMedia) -> Self {
        match &media.security {
            LegSecurity::Plain => Self::Plain,
            LegSecurity::Pending => Self::Pending,
            LegSecurity::Srtp { send, receive } => {
                Self::Srtp(Box::new(Srtp { sender: SrtpSender::new(send), receiver: SrtpReceiver::new(receive) }))
            }
        }
    }

    /// Goes on counting where the contexts before were: under the same key a packet number must never come twice.
    pub(super) fn take_over(&mut self, before: &mut Self) {
        if let (Self::Srtp(fresh), Self::Srtp(used)) = (&mut *self, &mut *before) {
            used.sender.rekey(&mut fresh.sender);
            used.receiver.rekey(&mut fresh.receiver);
            std::mem::swap(fresh, used);
        }
    }

    /// Whether packets may pass.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Pending)
    }

    /// The context of what the peer sends, where it is encrypted.
    pub(super) fn receiver(&mut self) -> Option<&mut SrtpReceiver> {
        match self {
            Self::Srtp(srtp) => Some(&mut srtp.receiver),
            Self::Plain | Self::Pending => None,
        }
    }

    /// Makes the packet in the first `len` octets fit to be sent; its length then, or `None` when it must not leave.
    pub(super) fn protect(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        match self {
            Self::Plain => Some(len),
            Self::Pending => None,
            Self::Srtp(srtp) => srtp.sender.protect(packet, len).ok(),
        }
    }

    /// The same for RTCP.
    pub(super) fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        match self {
            Self::Plain => Some(len),
            Self::Pending => None,
            Self::Srtp(srtp) => srtp.sender.protect_rtcp(packet, len).ok(),
        }
    }

    /// What an RTCP packet says, decrypted in place; `None` when it must not be believed.
    pub(super) fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Plain => Some(packet),
            Self::Pending => None,
            Self::Srtp(srtp) => {
                let len = srtp.receiver.unprotect_rtcp(packet).ok()?;
                packet.get(..len)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SrtpKey, SrtpSuite};
    use crate::media::leg::example;
    use crate::rtp::Header;

    fn keyed(send: u8, receive: u8) -> Protection {
        let key = |octet| SrtpKey::new(SrtpSuite::AesCm128HmacSha1Tag80, &[octet; 30]).unwrap();
        let security = LegSecurity::Srtp { send: key(send), receive: key(receive) };
        Protection::new(&LegMedia { security, ..example() })
    }

    fn packet(sequence: u16) -> [u8; 64] {
        let mut packet = [7; 64];
        let header = Header { sequence, timestamp: 160 * u32::from(sequence), ssrc: 9, ..Header::default() };
        packet[..12].copy_from_slice(&header.to_octets());
        packet
    }

    #[test]
    fn before_there_are_keys_nothing_passes_in_either_direction() {
        let mut pending = Protection::new(&LegMedia { security: LegSecurity::Pending, ..example() });
        assert!(!pending.is_open() && pending.receiver().is_none());
        assert_eq!(pending.protect(&mut packet(1), 40), None);
        assert_eq!(pending.protect_rtcp(&mut [0x80; 64], 28), None);
        assert_eq!(pending.open_rtcp(&mut [0x80; 64]), None);
    }

    #[test]
    fn the_same_keys_again_go_on_counting_and_other_keys_start_over() {
        let mut first = keyed(1, 2);
        let mut sent = packet(65_535);
        assert_eq!(first.protect(&mut sent, 40), Some(50));
        let mut again = keyed(1, 2);
        again.take_over(&mut first);
        // A number that was used is refused: the context knows what was sent before.
        assert_eq!(again.protect(&mut packet(65_535), 40), None);
        assert_eq!(again.protect(&mut packet(0), 40), Some(50));
        let mut rekeyed = keyed(3, 2);
        rekeyed.take_over(&mut again);
        assert_eq!(rekeyed.protect(&mut packet(1), 40), Some(50));
    }

    #[test]
    fn what_one_side_protects_the_other_opens() {
        let (mut near, mut far) = (keyed(1, 2), keyed(2, 1));
        let mut rtp = packet(5);
        let len = near.protect(&mut rtp, 40).unwrap();
        assert_ne!(rtp[12..40], packet(5)[12..40]);
        assert_eq!(far.receiver().unwrap().unprotect(&mut rtp[..len]), Ok(40));
        assert_eq!(rtp[..40], packet(5)[..40]);
        let mut rtcp = [0; 64];
        rtcp[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 9]);
        let len = near.protect_rtcp(&mut rtcp, 8).unwrap();
        assert_eq!(far.open_rtcp(&mut rtcp[..len]), Some(&[0x80, 201, 0, 1, 0, 0, 0, 9][..]));
        rtcp[4] ^= 1;
        assert_eq!(far.open_rtcp(&mut rtcp[..len]), None);
    }
}
