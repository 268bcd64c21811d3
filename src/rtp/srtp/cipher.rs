//! Session keys and what is done with them: AES-CM with HMAC-SHA1 (RFC 3711 §4), AES-GCM (RFC 7714).

use super::SrtpError;
use crate::base::{SrtpKey, SrtpSuite};
use aes::cipher::consts::U12;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Longest datagram that is authenticated in a copy: nothing longer comes through a media socket.
pub(super) const MAX_CHECKED: usize = 2_048;
/// Octets of an authentication key (RFC 3711 §8.2).
const AUTH_KEY: usize = 20;
/// Octets of the tag of AES-GCM.
const GCM_TAG: usize = 16;
/// Set in an SRTCP index: the packet is encrypted (RFC 3711 §3.4).
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// For which packets keys are derived: the labels of RFC 3711 §4.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Rtp,
    Rtcp,
}

impl Stream {
    const fn labels(self) -> [u8; 3] {
        match self {
            Self::Rtp => [0, 1, 2],
            Self::Rtcp => [3, 4, 5],
        }
    }
}

/// The keys of one direction for RTP or for RTCP.
pub(super) struct Cipher(Kind);

enum Kind {
    Cm { aes: Aes128Enc, salt: [u8; 14], mac: Hmac<Sha1>, tag: usize },
    Gcm128 { gcm: AesGcm<Aes128Enc, U12>, salt: [u8; 12] },
    Gcm256 { gcm: AesGcm<Aes256Enc, U12>, salt: [u8; 12] },
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher({redacted})")
    }
}

/// Session key material of `label`: the keystream of AES-CM under the master key, at the master salt (RFC 3711 §4.3.3; a
/// salt of 12 octets is padded at its end, RFC 7714 §11; keys of 256 bits as RFC 6188 §3).
pub(super) fn derive<const N: usize>(key: &[u8], salt: &[u8], label: u8) -> [u8; N] {
    let mut iv = [0; 16];
    for (slot, octet) in iv.iter_mut().zip(salt) {
        *slot = *octet;
    }
    // The label stands above an index of 48 bits, which is zero without a key derivation rate.
    let [_, _, _, _, _, _, _, seventh, ..] = &mut iv;
    *seventh ^= label;
    let mut out = [0; N];
    if let Ok(aes) = Aes256Enc::new_from_slice(key) {
        keystream(&aes, &iv, &mut out);
    } else if let Ok(aes) = Aes128Enc::new_from_slice(key) {
        keystream(&aes, &iv, &mut out);
    }
    out
}

/// Applies the keystream of a cipher in counter mode to `data`.
pub(super) fn keystream<C>(aes: &C, iv: &[u8; 16], data: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    CtrCore::<&C, Ctr128BE>::inner_iv_init(aes, iv.into()).apply_keystream_partial(data.into());
}

/// The initial counter of AES-CM: salt, source and index (RFC 3711 §4.1.1).
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = *salt;
    let salt = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, 0, 0]);
    (salt ^ u128::from(ssrc) << 64 ^ u128::from(index & 0xFFFF_FFFF_FFFF) << 16).to_be_bytes()
}

/// The nonce of AES-GCM (RFC 7714 §8.1, §9.1): two zero octets, source, 48 bits of index, all under the salt.
fn gcm_nonce(salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let [s0, s1, s2, s3] = ssrc.to_be_bytes();
    let [_, _, i0, i1, i2, i3, i4, i5] = index.to_be_bytes();
    let mut nonce = [0, 0, s0, s1, s2, s3, i0, i1, i2, i3, i4, i5];
    for (slot, octet) in nonce.iter_mut().zip(salt) {
        *slot ^= octet;
    }
    nonce
}

/// Counts the octets left of `tag`, which are compared in constant time.
fn tag_fits(mac: &Hmac<Sha1>, parts: [&[u8]; 2], tag: &[u8]) -> bool {
    let mut mac = mac.clone();
    parts.into_iter().for_each(|part| mac.update(part));
    mac.verify_truncated_left(tag).is_ok()
}

fn put_tag(mac: &Hmac<Sha1>, parts: [&[u8]; 2], tag: &mut [u8]) {
    let mut mac = mac.clone();
    parts.into_iter().for_each(|part| mac.update(part));
    for (slot, octet) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
        *slot = octet;
    }
}

impl Cipher {
    /// The keys for `stream` out of a master key.
    pub(super) fn new(master: &SrtpKey, stream: Stream) -> Self {
        let [encryption, authentication, salting] = stream.labels();
        let (key, salt, suite) = (master.master_key(), master.master_salt(), master.suite());
        match suite {
            SrtpSuite::AeadAes256Gcm => Self::gcm256(&derive(key, salt, encryption), derive(key, salt, salting)),
            SrtpSuite::AeadAes128Gcm => Self::gcm128(&derive(key, salt, encryption), derive(key, salt, salting)),
            SrtpSuite::AesCm128HmacSha1Tag80 | SrtpSuite::AesCm128HmacSha1Tag32 => {
                let tag = match stream {
                    Stream::Rtp => suite.rtp_overhead(),
                    Stream::Rtcp => suite.rtcp_overhead() - 4,
                };
                let authentication = derive(key, salt, authentication);
                Self::cm(&derive(key, salt, encryption), &authentication, derive(key, salt, salting), tag)
            }
        }
    }

    /// AES-CM and HMAC-SHA1 with session keys.
    pub(super) fn cm(key: &[u8; 16], authentication: &[u8; AUTH_KEY], salt: [u8; 14], tag: usize) -> Self {
        // A key of HMAC may have any length, so that no failure exists: RFC 2104 §3.
        let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(authentication)
            .unwrap_or_else(|_| <Hmac<Sha1> as KeyInit>::new(&Default::default()));
        Self(Kind::Cm { aes: Aes128Enc::new(key.into()), salt, mac, tag })
    }

    /// AES-GCM with a session key of 128 bits.
    pub(super) fn gcm128(key: &[u8; 16], salt: [u8; 12]) -> Self {
        Self(Kind::Gcm128 { gcm: AesGcm::new(key.into()), salt })
    }

    /// AES-GCM with a session key of 256 bits.
    pub(super) fn gcm256(key: &[u8; 32], salt: [u8; 12]) -> Self {
        Self(Kind::Gcm256 { gcm: AesGcm::new(key.into()), salt })
    }

    /// Octets of the tag.
    pub(super) fn tag(&self) -> usize {
        match &self.0 {
            Kind::Cm { tag, .. } => *tag,
            Kind::Gcm128 { .. } | Kind::Gcm256 { .. } => GCM_TAG,
        }
    }

    /// Protects an RTP packet in place: `header` octets stay readable, the payload goes on to `len`, the tag goes behind it.
    /// Returns the length with the tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let whole = packet.get_mut(..len + self.tag()).ok_or(SrtpError::NoRoom)?;
        let (clear, rest) = whole.split_at_mut_checked(header).ok_or(SrtpError::Truncated)?;
        let (payload, tag) = rest.split_at_mut_checked(len - header).ok_or(SrtpError::Truncated)?;
        match &self.0 {
            Kind::Cm { aes, salt, mac, .. } => {
                keystream(aes, &cm_iv(salt, ssrc, index), payload);
                let rollovers = ((index >> 16) as u32).to_be_bytes();
                let (signed, tag) = whole.split_at_mut_checked(len).ok_or(SrtpError::NoRoom)?;
                put_tag(mac, [signed, &rollovers], tag);
            }
            Kind::Gcm128 { gcm, salt } => gcm_seal(gcm, &gcm_nonce(*salt, ssrc, index), clear, payload, tag)?,
            Kind::Gcm256 { gcm, salt } => gcm_seal(gcm, &gcm_nonce(*salt, ssrc, index), clear, payload, tag)?,
        }
        Ok(len + self.tag())
    }

    /// Authenticates an RTP packet and decrypts it in place. Returns the length without the tag; a packet that is not
    /// authentic is left as it came.
    pub(super) fn open_rtp(&self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(self.tag()).filter(|len| *len >= header).ok_or(SrtpError::Truncated)?;
        let (signed, tag) = packet.split_at_mut_checked(len).ok_or(SrtpError::Truncated)?;
        if let Kind::Cm { mac, .. } = &self.0 {
            let rollovers = ((index >> 16) as u32).to_be_bytes();
            if !tag_fits(mac, [signed, &rollovers], tag) {
                return Err(SrtpError::Unauthentic);
            }
        }
        let (clear, payload) = signed.split_at_mut_checked(header).ok_or(SrtpError::Truncated)?;
        match &self.0 {
            Kind::Cm { aes, salt, .. } => keystream(aes, &cm_iv(salt, ssrc, index), payload),
            Kind::Gcm128 { gcm, salt } => gcm_open(gcm, &gcm_nonce(*salt, ssrc, index), clear, payload, tag)?,
            Kind::Gcm256 { gcm, salt } => gcm_open(gcm, &gcm_nonce(*salt, ssrc, index), clear, payload, tag)?,
        }
        Ok(len)
    }

    /// Whether an RTP packet is authentic. Works on a copy where the suite cannot tell otherwise.
    pub(super) fn check_rtp(&self, packet: &[u8], header: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let len = packet.len().checked_sub(self.tag()).filter(|len| *len >= header).ok_or(SrtpError::Truncated)?;
        if let Kind::Cm { mac, .. } = &self.0 {
            let (signed, tag) = packet.split_at_checked(len).ok_or(SrtpError::Truncated)?;
            let rollovers = ((index >> 16) as u32).to_be_bytes();
            return if tag_fits(mac, [signed, &rollovers], tag) { Ok(()) } else { Err(SrtpError::Unauthentic) };
        }
        let mut copy = [0; MAX_CHECKED];
        let copy = copy.get_mut(..packet.len()).ok_or(SrtpError::Truncated)?;
        copy.copy_from_slice(packet);
        self.open_rtp(copy, header, ssrc, index).map(|_| ())
    }

    /// Protects an RTCP packet of `len` octets in place; its index goes behind it with the mark of encryption.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], len: usize, ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let whole = packet.get_mut(..len + self.tag() + 4).ok_or(SrtpError::NoRoom)?;
        let word = (index | ENCRYPTED).to_be_bytes();
        let (clear, rest) = whole.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::Truncated)?;
        let (body, trailer) = rest.split_at_mut_checked(len - RTCP_CLEAR).ok_or(SrtpError::Truncated)?;
        match &self.0 {
            Kind::Cm { aes, salt, mac, .. } => {
                keystream(aes, &cm_iv(salt, ssrc, u64::from(index)), body);
                if let Some(place) = trailer.first_chunk_mut() {
                    *place = word;
                }
                let (signed, tag) = whole.split_at_mut_checked(len + 4).ok_or(SrtpError::NoRoom)?;
                put_tag(mac, [signed, &[]], tag);
            }
            Kind::Gcm128 { gcm, salt } => {
                let (tag, place) = trailer.split_at_mut_checked(GCM_TAG).ok_or(SrtpError::NoRoom)?;
                place.copy_from_slice(&word);
                gcm_seal(gcm, &gcm_nonce(*salt, ssrc, u64::from(index)), &rtcp_aad(clear, word), body, tag)?;
            }
            Kind::Gcm256 { gcm, salt } => {
                let (tag, place) = trailer.split_at_mut_checked(GCM_TAG).ok_or(SrtpError::NoRoom)?;
                place.copy_from_slice(&word);
                gcm_seal(gcm, &gcm_nonce(*salt, ssrc, u64::from(index)), &rtcp_aad(clear, word), body, tag)?;
            }
        }
        Ok(len + self.tag() + 4)
    }

    /// The index of an SRTCP packet, with the mark of encryption. `None` when it is too short.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        packet.len().checked_sub(self.tag() + 4).filter(|len| *len >= RTCP_CLEAR)?;
        let before = match &self.0 {
            Kind::Cm { tag, .. } => packet.len().checked_sub(*tag)?,
            Kind::Gcm128 { .. } | Kind::Gcm256 { .. } => packet.len(),
        };
        packet.get(..before)?.last_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// Authenticates an encrypted RTCP packet and decrypts it in place. Returns the length of what was inside.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let len = packet.len().checked_sub(self.tag() + 4).filter(|len| *len >= RTCP_CLEAR);
        let len = len.ok_or(SrtpError::Truncated)?;
        let word = (index | ENCRYPTED).to_be_bytes();
        if let Kind::Cm { mac, .. } = &self.0 {
            let (signed, tag) = packet.split_at_checked(len + 4).ok_or(SrtpError::Truncated)?;
            if !tag_fits(mac, [signed, &[]], tag) {
                return Err(SrtpError::Unauthentic);
            }
        }
        let (clear, rest) = packet.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::Truncated)?;
        let (body, trailer) = rest.split_at_mut_checked(len - RTCP_CLEAR).ok_or(SrtpError::Truncated)?;
        let tag = trailer.get(..GCM_TAG).unwrap_or_default();
        match &self.0 {
            Kind::Cm { aes, salt, .. } => keystream(aes, &cm_iv(salt, ssrc, u64::from(index)), body),
            Kind::Gcm128 { gcm, salt } => {
                gcm_open(gcm, &gcm_nonce(*salt, ssrc, u64::from(index)), &rtcp_aad(clear, word), body, tag)?;
            }
            Kind::Gcm256 { gcm, salt } => {
                gcm_open(gcm, &gcm_nonce(*salt, ssrc, u64::from(index)), &rtcp_aad(clear, word), body, tag)?;
            }
        }
        Ok(len)
    }
}

/// Octets of an RTCP packet that are never encrypted: its first header and source.
pub(super) const RTCP_CLEAR: usize = 8;

/// What is authenticated besides the encrypted part of SRTCP (RFC 7714 §9.2): the clear header and the index.
fn rtcp_aad(clear: &[u8], word: [u8; 4]) -> [u8; RTCP_CLEAR + 4] {
    let mut aad = [0; RTCP_CLEAR + 4];
    for (slot, octet) in aad.iter_mut().zip(clear.iter().copied().chain(word)) {
        *slot = octet;
    }
    aad
}

fn gcm_seal<G: AeadInOut<NonceSize = U12, TagSize = aes::cipher::consts::U16>>(
    gcm: &G,
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
    tag: &mut [u8],
) -> Result<(), SrtpError> {
    let sealed = gcm.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(data)).map_err(|_| SrtpError::NoRoom)?;
    for (slot, octet) in tag.iter_mut().zip(sealed) {
        *slot = octet;
    }
    Ok(())
}

fn gcm_open<G: AeadInOut<NonceSize = U12, TagSize = aes::cipher::consts::U16>>(
    gcm: &G,
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
    tag: &[u8],
) -> Result<(), SrtpError> {
    let tag: &[u8; GCM_TAG] = tag.try_into().map_err(|_| SrtpError::Truncated)?;
    gcm.decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(data), tag.into()).map_err(|_| SrtpError::Unauthentic)
}
