//! Encryption as offer and answer speak of it: what is allowed, what was agreed, and the keys.

use crate::base::{SrtpKey, SrtpSuite};

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
