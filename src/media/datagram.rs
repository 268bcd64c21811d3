//! Datagrams on the RTP port that are neither RTP nor RTCP: the DTLS handshake, which the call's side leads.

use super::limits::MAX_DATAGRAM;
use std::net::SocketAddr;

/// One datagram of a handshake (first octet 20–63, RFC 7983 §7) from an address that may take part in it.
#[derive(Clone, Copy)]
pub struct Datagram {
    from: SocketAddr,
    len: u16,
    octets: [u8; MAX_DATAGRAM],
}

impl Datagram {
    /// A copy; octets beyond [`MAX_DATAGRAM`] are left out.
    pub(super) fn new(from: SocketAddr, octets: &[u8]) -> Self {
        let mut datagram = Self { from, len: octets.len().min(MAX_DATAGRAM) as u16, octets: [0; MAX_DATAGRAM] };
        for (slot, octet) in datagram.octets.iter_mut().zip(octets) {
            *slot = *octet;
        }
        datagram
    }

    /// Whether a datagram that begins like this belongs to DTLS (RFC 7983 §7).
    pub(super) fn is_dtls(octets: &[u8]) -> bool {
        octets.first().is_some_and(|first| (20..=63).contains(first))
    }

    /// Where it came from: answer there.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// What was in it.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Datagram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Datagram({} octets from {})", self.len, self.from)
    }
}
