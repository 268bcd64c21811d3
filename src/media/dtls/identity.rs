//! Who we are in a DTLS handshake: a self-signed certificate, made once per process and never written down. Peers know it by
//! the fingerprint in the session description (RFC 8122), not by a name or an authority.

use super::cookie::Cookies;
use super::provider::{Key, Provider};
use crate::base::Random;
use crate::sdp::{Fingerprint, HashFunction};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Octets of what one handshake message puts into a datagram: with the headers around it below every path's limit with IPv6
/// and UDP headers, so that none is cut in pieces.
const MTU: usize = 1_150;
/// When a flight is repeated, seven times at most (RFC 6347 §4.2.4.1 allows less than its 1 s).
const RETRY: Duration = Duration::from_millis(600);
/// Draws for a private key: all but one of 2^32 random numbers are one.
const DRAWS: usize = 8;

/// The certificate, its key and the settings of every handshake of this process.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) client: Arc<HandshakeConfig>,
    pub(super) server: Arc<HandshakeConfig>,
    pub(super) fingerprint: Fingerprint,
    /// From which the cookies of servers come, with how many there were.
    pub(super) cookies: Arc<([u8; 32], AtomicU64)>,
}

impl Identity {
    /// A new key (ECDSA, P-256) and certificate. A millisecond or so.
    ///
    /// `None` when `random` does not give a key or the DTLS library refuses its settings: then there is no DTLS-SRTP.
    #[must_use]
    pub fn new(random: &mut Random) -> Option<Self> {
        let key = (0..DRAWS).find_map(|_| {
            let mut secret = [0; 32];
            for chunk in secret.chunks_mut(8) {
                chunk.copy_from_slice(&random.next_u64().to_be_bytes());
            }
            let key = SigningKey::from_slice(&secret).ok();
            secret = [0; 32];
            std::hint::black_box(&secret);
            key
        })?;
        let certificate = certificate_of(&key, random.next_u64());
        let fingerprint = fingerprint_of(HashFunction::Sha256, &certificate);
        let chain = Certificate::from_signing_key(vec![certificate.into()], Arc::new(Key::new(key)));
        let mut cookies = [0; 32];
        for chunk in cookies.chunks_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_be_bytes());
        }
        Some(Self {
            client: Arc::new(settings(chain.clone()).build(true, None).ok()?),
            server: Arc::new(settings(chain).build(false, None).ok()?),
            fingerprint,
            cookies: Arc::new((cookies, AtomicU64::new(0))),
        })
    }

    /// What the cookies of one more handshake are made with.
    pub(super) fn cookies(&self) -> Cookies {
        let (secret, count) = &*self.cookies;
        let count = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Cookies(Sha256::new().chain_update(secret).chain_update(count).finalize().into())
    }

    /// What our `a=fingerprint` says (sha-256).
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// The settings of every handshake.
pub(super) fn settings(chain: Certificate) -> ConfigBuilder {
    ConfigBuilder::default()
        .with_crypto_provider(Arc::new(Provider))
        .with_certificates(vec![chain])
        .with_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
        ])
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // No authority vouches for a certificate; its fingerprint does, before the library sees it.
        .with_insecure_skip_verify(true)
        .with_flight_interval(RETRY)
        .with_mtu(MTU)
}

/// The hash of a certificate in DER.
pub(super) fn fingerprint_of(hash: HashFunction, certificate: &[u8]) -> Fingerprint {
    let octets = match hash {
        HashFunction::Sha256 => Sha256::digest(certificate).to_vec(),
        HashFunction::Sha384 => Sha384::digest(certificate).to_vec(),
        HashFunction::Sha512 => Sha512::digest(certificate).to_vec(),
    };
    Fingerprint { hash, octets }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xA0;

/// 1.2.840.10045.4.3.2, ecdsa-with-SHA256 (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: [u8; 8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
/// 1.2.840.10045.2.1, a public key on an elliptic curve (RFC 5480 §2.1.1).
const EC_PUBLIC_KEY: [u8; 7] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// 1.2.840.10045.3.1.7, the curve P-256 (RFC 5480 §2.1.1.1).
const PRIME256V1: [u8; 8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// 2.5.4.3, a common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// One element in DER: tag, length, the parts behind each other.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7F => out.push(length as u8),
        0x80..=0xFF => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A certificate of version 3 without extensions (RFC 5280 §4.1), signed by its own key. Its name says nothing, and its
/// validity has no well-defined end (§4.1.2.5): what counts is its fingerprint, and a start time would tell how long the
/// process has been running.
fn certificate_of(key: &SigningKey, serial: u64) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[&element(OBJECT, &[&ECDSA_WITH_SHA256])]);
    let common_name = element(SEQUENCE, &[&element(OBJECT, &[&COMMON_NAME]), &element(UTF8_STRING, &[b"media"])]);
    let name = element(SEQUENCE, &[&element(SET, &[&common_name])]);
    let validity = element(
        SEQUENCE,
        &[&element(UTC_TIME, &[b"200101000000Z"]), &element(GENERALIZED_TIME, &[b"99991231235959Z"])],
    );
    let curve = element(SEQUENCE, &[&element(OBJECT, &[&EC_PUBLIC_KEY]), &element(OBJECT, &[&PRIME256V1])]);
    let point = key.verifying_key().to_sec1_point(false);
    let public = element(SEQUENCE, &[&curve, &element(BIT_STRING, &[&[0], point.as_bytes()])]);
    // Positive and without a leading zero octet, as DER wants it.
    let serial = (serial >> 1 | 1 << 62).to_be_bytes();
    let body = element(
        SEQUENCE,
        &[
            &element(EXPLICIT_0, &[&element(INTEGER, &[&[2]])]),
            &element(INTEGER, &[&serial]),
            &algorithm,
            &name,
            &validity,
            &name,
            &public,
        ],
    );
    let signature: DerSignature = key.sign(&body);
    element(SEQUENCE, &[&body, &algorithm, &element(BIT_STRING, &[&[0], signature.as_bytes()])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::signature::Verifier;
    use x509_cert::Certificate;
    use x509_cert::der::{Decode, Encode};

    #[test]
    fn the_certificate_is_one_and_signs_itself() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let der = &certificate_of(&key, 3);
        let read = Certificate::from_der(der).unwrap();
        assert_eq!(read.to_der().unwrap(), *der);
        let body = read.tbs_certificate();
        assert_eq!(body.subject().to_string(), "CN=media");
        let public = body.subject_public_key_info().subject_public_key.raw_bytes();
        assert_eq!(public, key.verifying_key().to_sec1_point(false).as_bytes());
        let signature = DerSignature::from_bytes(read.signature().raw_bytes()).unwrap();
        key.verifying_key().verify(&body.to_der().unwrap(), &signature).unwrap();
        let [one, other] = [3, 4].map(|seed| Identity::new(&mut Random::seeded(seed)).unwrap());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
