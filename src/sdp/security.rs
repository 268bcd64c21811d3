//! Encryption as offer and answer speak of it: what is allowed, what was agreed, and the keys.

use std::fmt;

/// Whether media to a peer is encrypted (SRTP, RFC 3711).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SrtpPolicy {
    /// Never: encrypted offers are refused, ours are plain.
    #[default]
    Off,
    /// Where the peer does it: both kinds of offers are taken, ours are encrypted first and plain when that is refused.
    Preferred,
    /// Always: a plain offer or answer is refused.
    Required,
}

/// How keys for SRTP are agreed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Keying {
    /// By a DTLS handshake in the media path (DTLS-SRTP, RFC 5763).
    Dtls,
    /// In the session description itself (RFC 4568); whoever reads the signalling reads the media.
    Sdes,
}

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
}

impl fmt::Display for SrtpSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Most octets of a master key and its salt.
const KEYING_MATERIAL: usize = 32 + 12;

/// Master key and salt of one direction. `Debug` shows neither, and the memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKey {
    suite: SrtpSuite,
    octets: [u8; KEYING_MATERIAL],
    lifetime: Option<u64>,
}

impl SrtpKey {
    /// Key and salt behind each other, as `inline:` and the DTLS exporter have them. `None` unless the length is that of
    /// the suite.
    #[must_use]
    pub fn new(suite: SrtpSuite, octets: &[u8]) -> Option<Self> {
        let mut key = Self { suite, octets: [0; KEYING_MATERIAL], lifetime: None };
        let room = key.octets.get_mut(..octets.len())?;
        room.copy_from_slice(octets);
        (octets.len() == suite.key_length() + suite.salt_length()).then_some(key)
    }

    /// The same key, good for so many RTP or RTCP packets only (RFC 4568 §6.1).
    #[must_use]
    pub fn with_lifetime(mut self, packets: Option<u64>) -> Self {
        self.lifetime = packets;
        self
    }

    /// How many RTP or RTCP packets it may protect, where its writer limits that.
    #[must_use]
    pub fn lifetime(&self) -> Option<u64> {
        self.lifetime
    }

    /// The suite it is for.
    #[must_use]
    pub fn suite(&self) -> SrtpSuite {
        self.suite
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
}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKey({}, {{redacted}})", self.suite)
    }
}

impl Drop for SrtpKey {
    fn drop(&mut self) {
        self.octets = [0; KEYING_MATERIAL];
        // Keeps the stores above from being optimised away.
        std::hint::black_box(&self.octets);
    }
}

/// A hash function of `a=fingerprint` (RFC 8122 §5). MD5 and SHA-1 can be forged and are not read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HashFunction {
    /// `sha-256`.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl HashFunction {
    /// The name in `a=fingerprint`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Octets of its result.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The hash of a certificate in DER, by which a DTLS peer is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Which hash.
    pub hash: HashFunction,
    /// Its [`HashFunction::length`] octets.
    pub octets: Vec<u8>,
}

/// Who opens the DTLS handshake (RFC 4145 §4, RFC 5763 §5), seen from the side that writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setup {
    /// The writer is the DTLS client.
    Active,
    /// The answerer chooses; in offers only.
    ActPass,
    /// The writer is the DTLS server.
    Passive,
}

/// How the agreed stream is protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// RTP in clear.
    Plain,
    /// SRTP with the keys of the descriptions.
    Sdes {
        /// The suite of both directions.
        suite: SrtpSuite,
        /// Of what we send.
        send: SrtpKey,
        /// Of what the peer sends.
        receive: SrtpKey,
    },
    /// SRTP with the keys of a DTLS handshake that is to follow on the RTP port.
    Dtls {
        /// What the peer's certificate must hash to: one of them is enough (RFC 8122 §5).
        fingerprints: Vec<Fingerprint>,
        /// **Our** role: [`Setup::Active`] sends the ClientHello, [`Setup::Passive`] waits for it.
        setup: Setup,
        /// The peer's `a=tls-id` (RFC 8842 §4); another one asks for a new handshake.
        tls_id: Option<String>,
    },
}

impl Security {
    /// Whether media is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        !matches!(self, Self::Plain)
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
