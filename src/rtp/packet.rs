//! The RTP packet (RFC 3550 §5.1): a borrowed view to read, a header to write.

use thiserror::Error;

/// Octets of a header without contributing sources and extension.
pub const HEADER_LEN: usize = 12;

/// Why a datagram is not an RTP packet. All are the sender's fault; drop and count them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PacketError {
    /// The version is not 2: STUN, DTLS or garbage.
    #[error("not RTP version 2")]
    Version,
    /// It ends inside the header, the sources or the extension.
    #[error("shorter than its header says")]
    Truncated,
    /// The padding is longer than the payload, or zero.
    #[error("padding does not fit the payload")]
    Padding,
    /// The payload type lies where RTCP's packet types lie (RFC 5761 §4).
    #[error("an RTCP packet")]
    Rtcp,
}

/// One received packet. Borrows the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// Payload without padding.
    pub payload: &'a [u8],
}

/// The fields of the fixed header that differ from packet to packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// First packet of a talk spurt. Peers set it wrongly; nothing may depend on it.
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    /// Grows by one per packet.
    pub sequence: u16,
    /// Sampling instant of the first octet, in ticks of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

fn octets<const N: usize>(datagram: &[u8], at: usize) -> Result<[u8; N], PacketError> {
    datagram.get(at..at + N).and_then(|s| s.try_into().ok()).ok_or(PacketError::Truncated)
}

impl<'a> Packet<'a> {
    /// Reads a datagram; every length is checked.
    ///
    /// # Errors
    /// It is not an RTP packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let header = Header::read(datagram)?;
        let [flags] = octets(datagram, 0)?;
        let mut start = HEADER_LEN + usize::from(flags & 0x0F) * 4;
        if flags & 0x10 != 0 {
            let words = u16::from_be_bytes(octets(datagram, start + 2)?);
            start += 4 + usize::from(words) * 4;
        }
        let mut payload = datagram.get(start..).ok_or(PacketError::Truncated)?;
        if flags & 0x20 != 0 {
            let padding = usize::from(payload.last().copied().unwrap_or(0));
            let kept = payload.len().checked_sub(padding).filter(|_| padding > 0).ok_or(PacketError::Padding)?;
            payload = payload.get(..kept).unwrap_or_default();
        }
        Ok(Self { header, payload })
    }
}

impl Header {
    /// Reads the fixed header only: all that may be read of a packet whose payload and padding are still encrypted.
    ///
    /// # Errors
    /// It is not an RTP packet.
    pub fn read(datagram: &[u8]) -> Result<Self, PacketError> {
        let [flags, kind] = octets(datagram, 0)?;
        if flags >> 6 != 2 {
            return Err(PacketError::Version);
        }
        if is_rtcp_type(kind) {
            return Err(PacketError::Rtcp);
        }
        Ok(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7F,
            sequence: u16::from_be_bytes(octets(datagram, 2)?),
            timestamp: u32::from_be_bytes(octets(datagram, 4)?),
            ssrc: u32::from_be_bytes(octets(datagram, 8)?),
        })
    }

    /// The header as octets: version 2, no padding, no extension, no contributing source.
    #[must_use]
    pub fn to_octets(self) -> [u8; HEADER_LEN] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.to_be_bytes();
        let kind = self.payload_type & 0x7F | if self.marker { 0x80 } else { 0 };
        [0x80, kind, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
    }
}

/// Whether the second octet of a datagram is an RTCP packet type (RFC 5761 §4: 64–95 with the marker bit).
#[must_use]
pub const fn is_rtcp_type(second_octet: u8) -> bool {
    matches!(second_octet, 192..=223)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut p = vec![0x80 | flags, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        p.extend_from_slice(rest);
        p
    }

    #[test]
    fn sources_extension_and_padding_are_taken_off() {
        let datagram =
            packet(0x32, &[9; 8].into_iter().chain([0xBE, 0xDE, 0, 1, 1, 2, 3, 4, 7, 7, 0, 2]).collect::<Vec<_>>());
        let parsed = Packet::parse(&datagram).unwrap();
        assert_eq!(parsed.payload, [7, 7]);
        assert_eq!(parsed.header, Header { marker: true, payload_type: 0, sequence: 1, timestamp: 2, ssrc: 3 });
    }

    #[test]
    fn every_cut_inside_the_header_is_truncated() {
        let whole = packet(0x12, &[0; 8 + 4 + 8].map(|_: u8| 0));
        let mut whole = whole;
        whole[12 + 8 + 3] = 2;
        for cut in 0..12 + 8 + 4 + 8 {
            assert_eq!(Packet::parse(&whole[..cut]), Err(PacketError::Truncated), "{cut}");
        }
        assert!(Packet::parse(&whole).unwrap().payload.is_empty());
    }

    #[test]
    fn padding_must_fit_and_be_at_least_one() {
        for (payload, expected) in [
            (&[5u8, 4, 3][..], Ok(0)),
            (&[5, 4], Err(PacketError::Padding)),
            (&[5, 0], Err(PacketError::Padding)),
            (&[], Err(PacketError::Padding)),
        ] {
            assert_eq!(Packet::parse(&packet(0x20, payload)).map(|p| p.payload.len()), expected);
        }
    }

    #[test]
    fn stun_dtls_and_rtcp_are_told_apart() {
        assert_eq!(Packet::parse(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0]), Err(PacketError::Version));
        assert_eq!(Packet::parse(&[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(PacketError::Version));
        for kind in 192..=223 {
            assert_eq!(Packet::parse(&[0x80, kind, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]), Err(PacketError::Rtcp));
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(datagram in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(&datagram) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= datagram.len());
            }
        }

        #[test]
        fn a_written_header_is_read_back(marker: bool, payload_type in 0u8..64, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            prop_assert_eq!(Packet::parse(&header.to_octets()).unwrap().header, header);
        }
    }
}
