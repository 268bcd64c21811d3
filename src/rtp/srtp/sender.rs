//! Protecting what we send.

use super::cipher::{Cipher, RTCP_CLEAR, Stream};
use super::{SrtpError, read_rtp, rtcp_source};
use crate::base::SrtpKey;

/// Most RTP packets under one key (RFC 3711 §9.2).
pub(super) const MAX_RTP_PACKETS: u64 = 1 << 48;
/// Most RTCP packets under one key (RFC 3711 §9.2).
pub(super) const MAX_RTCP_PACKETS: u64 = 1 << 31;

/// The context of what one leg sends. The rollover counter follows the sequence numbers of the packets, which must go up.
#[derive(Debug)]
pub struct SrtpSender {
    master: SrtpKey,
    rtp: Cipher,
    rtcp: Cipher,
    stream: Option<Sending>,
    packets: u64,
    rtcp_packets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sending {
    ssrc: u32,
    /// Rollover counter and sequence number of the last packet.
    index: u64,
}

impl SrtpSender {
    /// A context that has sent nothing. Derives the session keys: some microseconds.
    #[must_use]
    pub fn new(master: &SrtpKey) -> Self {
        Self {
            rtp: Cipher::new(master, Stream::Rtp),
            rtcp: Cipher::new(master, Stream::Rtcp),
            master: master.clone(),
            stream: None,
            packets: 0,
            rtcp_packets: 0,
        }
    }

    /// Takes the keys of `fresh` after a further offer or answer. With the same master key nothing changes, above all not
    /// the rollover counter; otherwise counting starts over under the other key. What is given up lies in `fresh` then,
    /// to be dropped where dropping is cheap.
    pub fn rekey(&mut self, fresh: &mut Self) {
        if self.master.octets() == fresh.master.octets() && self.master.suite() == fresh.master.suite() {
            return;
        }
        std::mem::swap(self, fresh);
    }

    /// Octets by which an RTP packet grows.
    #[must_use]
    pub fn rtp_overhead(&self) -> usize {
        self.master.suite().rtp_overhead()
    }

    /// Protects the RTP packet in the first `len` octets of `packet` in place and returns its length with the tag, which
    /// is [`Self::rtp_overhead`] longer.
    ///
    /// # Errors
    /// The buffer has no room for the tag, it holds no RTP packet, or the key is used up. Send nothing then.
    pub fn protect(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let plain = packet.get(..len).ok_or(SrtpError::NoRoom)?;
        let (header, sequence, ssrc) = read_rtp(plain)?;
        if self.packets >= self.master.lifetime().unwrap_or(MAX_RTP_PACKETS).min(MAX_RTP_PACKETS) {
            return Err(SrtpError::KeyExhausted);
        }
        let index = match self.stream {
            Some(sent) if sent.ssrc == ssrc => {
                let ahead = sequence.wrapping_sub(sent.index as u16);
                if ahead == 0 || ahead >= 0x8000 {
                    return Err(SrtpError::IndexReused);
                }
                sent.index + u64::from(ahead)
            }
            _ => u64::from(sequence),
        };
        if index >= MAX_RTP_PACKETS {
            return Err(SrtpError::KeyExhausted);
        }
        let protected = self.rtp.seal_rtp(packet, header, len, ssrc, index)?;
        self.stream = Some(Sending { ssrc, index });
        self.packets += 1;
        Ok(protected)
    }

    /// Protects the compound RTCP packet in the first `len` octets of `packet` in place and returns its length with index
    /// and tag.
    ///
    /// # Errors
    /// As [`Self::protect`].
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let plain = packet.get(..len).filter(|plain| plain.len() >= RTCP_CLEAR).ok_or(SrtpError::Truncated)?;
        let ssrc = rtcp_source(plain)?;
        if self.rtcp_packets >= self.master.lifetime().unwrap_or(MAX_RTCP_PACKETS).min(MAX_RTCP_PACKETS) {
            return Err(SrtpError::KeyExhausted);
        }
        let protected = self.rtcp.seal_rtcp(packet, len, ssrc, self.rtcp_packets as u32)?;
        self.rtcp_packets += 1;
        Ok(protected)
    }
}
