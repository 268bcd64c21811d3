//! Suites and master keys of SRTP: what descriptions and handshakes agree on, and what the ciphers use.

use super::Random;
use std::fmt;

/// Most octets of a master key and its salt (AEAD_AES_256_GCM).
pub const MAX_KEYING_MATERIAL: usize = 32 + 12;

/// A crypto-suite of RFC 4568 §6.2 or RFC 7714 §14.2, strongest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SrtpSuite {
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AES_CM_128_HMAC_SHA1_80`, which everybody has.
    AesCm128HmacSha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`: the same with a short tag for RTP.
    AesCm128HmacSha1Tag32,
}

impl SrtpSuite {
    /// Every suite, best first.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1Tag80, Self::AesCm128HmacSha1Tag32];

    /// The name in `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of that name; names compare without case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of the master key.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 16,
        }
    }

    /// Octets of the master salt (RFC 3711 §8.2, RFC 7714 §12).
    #[must_use]
    pub const fn salt_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 14,
        }
    }

    /// Octets by which an RTP packet grows.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 16,
            Self::AesCm128HmacSha1Tag80 => 10,
            Self::AesCm128HmacSha1Tag32 => 4,
        }
    }

    /// Octets by which an RTCP packet grows: its tag, never the short one (RFC 4568 §6.2.2), and its index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 16 + 4,
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 10 + 4,
        }
    }
}

impl fmt::Display for SrtpSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Master key and salt of one direction. `Debug` shows neither, and the memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKey {
    suite: SrtpSuite,
    octets: [u8; MAX_KEYING_MATERIAL],
    lifetime: Option<u64>,
}

impl SrtpKey {
    /// Key and salt behind each other, as `inline:` and the DTLS exporter have them. `None` unless the length is that of
    /// the suite.
    #[must_use]
    pub fn new(suite: SrtpSuite, octets: &[u8]) -> Option<Self> {
        let mut key = Self { suite, octets: [0; MAX_KEYING_MATERIAL], lifetime: None };
        let room = key.octets.get_mut(..octets.len())?;
        room.copy_from_slice(octets);
        (octets.len() == suite.key_length() + suite.salt_length()).then_some(key)
    }

    /// Key and salt that lie apart. `None` unless both lengths are those of the suite.
    #[must_use]
    pub fn from_parts(suite: SrtpSuite, key: &[u8], salt: &[u8]) -> Option<Self> {
        let mut whole = Self { suite, octets: [0; MAX_KEYING_MATERIAL], lifetime: None };
        let (key_room, rest) = whole.octets.split_at_mut_checked(suite.key_length())?;
        let salt_room = rest.get_mut(..suite.salt_length())?;
        if key.len() != key_room.len() || salt.len() != salt_room.len() {
            return None;
        }
        key_room.copy_from_slice(key);
        salt_room.copy_from_slice(salt);
        Some(whole)
    }

    /// A key that nobody can guess when `random` is [`Random::system`].
    #[must_use]
    pub fn random(suite: SrtpSuite, random: &mut Random) -> Self {
        let mut key = Self { suite, octets: [0; MAX_KEYING_MATERIAL], lifetime: None };
        let (used, _) = key.octets.split_at_mut(suite.key_length() + suite.salt_length());
        for chunk in used.chunks_mut(8) {
            for (slot, octet) in chunk.iter_mut().zip(random.next_u64().to_be_bytes()) {
                *slot = octet;
            }
        }
        key
    }

    /// The same key, good for `packets` RTP or RTCP packets only (the lifetime of a key line, RFC 4568 §6.1).
    #[must_use]
    pub fn with_lifetime(mut self, packets: Option<u64>) -> Self {
        self.lifetime = packets;
        self
    }

    /// The suite it is for.
    #[must_use]
    pub fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// How many RTP or RTCP packets it may protect where the key line limits that below the suite's own bounds.
    #[must_use]
    pub fn lifetime(&self) -> Option<u64> {
        self.lifetime
    }

    /// The master key. **Secret**: for the cipher, and for nothing that is kept or shown.
    #[must_use]
    pub fn master_key(&self) -> &[u8] {
        self.octets.get(..self.suite.key_length()).unwrap_or_default()
    }

    /// The master salt. **Secret** as the key.
    #[must_use]
    pub fn master_salt(&self) -> &[u8] {
        let start = self.suite.key_length();
        self.octets.get(start..start + self.suite.salt_length()).unwrap_or_default()
    }

    /// Key and salt behind each other. **Secret**.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.suite.key_length() + self.suite.salt_length()).unwrap_or_default()
    }
}

/// The keys of both directions of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SrtpKeys {
    /// Of what we send.
    pub send: SrtpKey,
    /// Of what the peer sends.
    pub receive: SrtpKey,
}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKey({}, {{redacted}})", self.suite)
    }
}

impl Drop for SrtpKey {
    fn drop(&mut self) {
        self.octets = [0; MAX_KEYING_MATERIAL];
        // Keeps the store above from being optimised away.
        std::hint::black_box(&self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_by_its_suite_and_never_shown() {
        let octets: Vec<u8> = (1..=44).collect();
        for suite in SrtpSuite::ALL {
            let length = suite.key_length() + suite.salt_length();
            let key = SrtpKey::new(suite, &octets[..length]).unwrap();
            assert_eq!([key.master_key(), key.master_salt()].concat(), &octets[..length]);
            assert!(SrtpKey::new(suite, &octets[..length - 1]).is_none());
            assert_eq!(format!("{key:?}"), format!("SrtpKey({suite}, {{redacted}})"));
        }
        assert!(SrtpKey::new(SrtpSuite::AeadAes256Gcm, &[0; 45]).is_none());
    }
}
