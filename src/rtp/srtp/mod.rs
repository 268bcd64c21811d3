//! SRTP and SRTCP in place (RFC 3711, RFC 7714): encryption, authentication, replay protection.
//!
//! One context per direction: [`SrtpSender`] for what we send, [`SrtpReceiver`] for the one source that the source lock
//! tracks. Neither allocates after `new`; a packet is changed in its own buffer. What fails is an [`SrtpError`] to be
//! counted: bad packets never end a call (CVE-2021-41105). A packet of a source that is not ours (yet) can be
//! authenticated without keeping anything ([`SrtpReceiver::check`]), so forged sources cost no memory.
//!
//! Not done, and refused where asked for: MKI, key derivation rates, unencrypted or unauthenticated streams.

mod cipher;
mod index;
mod receiver;
mod sender;

pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;

use super::packet::HEADER_LEN;
use thiserror::Error;

/// Octets a protected RTP packet may be longer than a plain one: room to leave in buffers that are sent.
pub const MAX_RTP_OVERHEAD: usize = 16;
/// Octets a protected RTCP packet may be longer than a plain one: tag and index.
pub const MAX_RTCP_OVERHEAD: usize = 20;

/// Why a packet was not protected or unprotected. Drop it and count it; the context is as it was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SrtpError {
    /// The sender's: too short for what its header or the suite demands, or not RTP at all.
    #[error("shorter than a packet of its suite")]
    Truncated,
    /// The sender's: a source that this context does not follow.
    #[error("from another source than the one that was settled on")]
    OtherSource,
    /// The sender's: it was seen before, or is older than the window of 128 packets.
    #[error("seen before, or too old to tell")]
    Replayed,
    /// The sender's: the authentication tag is wrong. Another key, or a forgery.
    #[error("not authenticated with the agreed key")]
    Unauthentic,
    /// The sender's: an SRTCP packet without encryption, which was not agreed.
    #[error("not encrypted although encryption was agreed")]
    Unencrypted,
    /// Nobody's: as many packets as one key may protect have passed (RFC 3711 §9.2, or the lifetime of the key line).
    #[error("the key has protected as many packets as it may; a re-offer brings the next")]
    KeyExhausted,
    /// Ours: the buffer has no room for the tag.
    #[error("no room for the authentication tag")]
    NoRoom,
    /// Ours: a packet number would be used twice with one key, which would reveal both packets.
    #[error("packet number used twice")]
    IndexReused,
}

/// Header length with contributing sources and extension, sequence number and source of an RTP packet: what of it stays
/// readable.
fn read_rtp(packet: &[u8]) -> Result<(usize, u16, u32), SrtpError> {
    let (&[flags, _, s0, s1, ..], &[.., r0, r1, r2, r3]) = packet
        .first_chunk::<HEADER_LEN>()
        .filter(|header| header.first().is_some_and(|flags| flags >> 6 == 2))
        .map(|header| (header, header))
        .ok_or(SrtpError::Truncated)?;
    let mut length = HEADER_LEN + usize::from(flags & 0x0F) * 4;
    if flags & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4).and_then(|words| <[u8; 2]>::try_from(words).ok());
        length += 4 + 4 * usize::from(u16::from_be_bytes(words.ok_or(SrtpError::Truncated)?));
    }
    if length > packet.len() {
        return Err(SrtpError::Truncated);
    }
    Ok((length, u16::from_be_bytes([s0, s1]), u32::from_be_bytes([r0, r1, r2, r3])))
}

/// The source of the first packet of a compound RTCP packet.
fn rtcp_source(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet.first_chunk() {
        Some(&[flags, _, _, _, r0, r1, r2, r3]) if flags >> 6 == 2 => Ok(u32::from_be_bytes([r0, r1, r2, r3])),
        _ => Err(SrtpError::Truncated),
    }
}

#[cfg(test)]
mod tests;
