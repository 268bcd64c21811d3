//! Peers with RSA certificates, as pjsip, linphone and FreeSWITCH make them.

use super::super::identity::settings;
use super::*;
use crate::sdp::HashFunction;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{CryptoError, PublicKey, PublicKeyEncoding, SignatureScheme, SigningKey};
use std::sync::Arc;

const CERTIFICATE_2048: &[u8] = include_bytes!("../../../../tests/data/dtls/rsa.der");
const KEY_2048: &[u8] = include_bytes!("../../../../tests/data/dtls/rsa.key.der");
const CERTIFICATE_1024: &[u8] = include_bytes!("../../../../tests/data/dtls/rsa-1024.der");

struct RsaKey(RsaKeyPair);

impl SigningKey for RsaKey {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        scheme == SignatureScheme::RsaPkcs1Sha256
    }

    fn public_key(&self) -> PublicKey<'_> {
        PublicKey { encoding: PublicKeyEncoding::RsaPkcs1Der, bytes: self.0.public_key().as_ref() }
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        Ok(signature)
    }
}

/// A phone that shows this certificate, and signs with the key of 2,048 bits.
fn phone(certificate: &[u8]) -> Identity {
    let key = Arc::new(RsaKey(RsaKeyPair::from_pkcs8(KEY_2048).unwrap()));
    let chain = Certificate::from_signing_key(vec![certificate.to_vec().into()], key);
    Identity {
        client: Arc::new(settings(chain.clone()).build(true, None).unwrap()),
        server: Arc::new(settings(chain).build(false, None).unwrap()),
        fingerprint: fingerprint_of(HashFunction::Sha256, certificate),
        ..identity(1)
    }
}

/// A phone and one of ours.
pub(super) fn pair_with(seed: u64, phone: Identity, phone_is_client: bool, lost_percent: u64) -> Pair {
    let mut pair = Pair::new(seed, lost_percent);
    let (now, prints) = (pair.now, vec![phone.fingerprint().clone()]);
    if phone_is_client {
        let ours = vec![identity(seed + 1).fingerprint().clone()];
        pair.client = Handshake::new(now, &phone, Setup::Active, address(SERVER), ours);
        pair.server.fingerprints = prints;
    } else {
        let ours = vec![identity(seed).fingerprint().clone()];
        pair.server = Handshake::new(now, &phone, Setup::Passive, address(CLIENT), ours);
        pair.client.fingerprints = prints;
    }
    pair
}

#[test]
fn a_phone_with_an_rsa_certificate_agrees_with_us_in_both_roles() {
    for phone_is_client in [true, false] {
        for (lost_percent, seeds) in [(0, 3), (25, 6)] {
            for seed in 0..seeds {
                let mut pair = pair_with(900 + 2 * seed, phone(CERTIFICATE_2048), phone_is_client, lost_percent);
                pair.run();
                let is_through = pair.outcomes.iter().flatten().all(Result::is_ok);
                assert!(is_through, "{phone_is_client} {lost_percent} {seed}: {:?}", pair.outcomes);
                let [client, server] = pair.keys();
                assert_eq!((&client.send, &client.receive), (&server.receive, &server.send), "{seed}");
            }
        }
    }
}

#[test]
fn whoever_shows_the_certificate_of_a_phone_without_its_key_gets_no_keys() {
    for is_client in [true, false] {
        // The certificate is as good as the phone's to look at, but its key is another.
        let mut shown = CERTIFICATE_2048.to_vec();
        let modulus = shown.windows(4).position(|window| window == [0x02, 0x82, 0x01, 0x01]).unwrap();
        shown[modulus + 100] ^= 1;
        let mut pair = pair_with(940, phone(&shown), is_client, 0);
        let ours = usize::from(is_client);
        pair.run_until(|pair| pair.outcomes[ours].is_some());
        assert!(matches!(pair.outcomes[ours], Some(Err(DtlsError::Timeout(_)))), "{:?}", pair.outcomes);
    }
}

/// How a server ends whose peer's certificate has too short a key.
pub(super) fn server_shown_a_weak_key() -> (Result<Established, DtlsError>, Duration) {
    let mut pair = Pair::new(83, 0);
    pair.server.fingerprints = vec![fingerprint_of(HashFunction::Sha256, CERTIFICATE_1024)];
    let length = CERTIFICATE_1024.len();
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [_, d, e, f] = (length as u32 + 3).to_be_bytes();
    let body = [&[d, e, f, a, b, c], CERTIFICATE_1024].concat();
    server_of(pair, &long_message(CERTIFICATE, 2, &body))
}

/// A record in clear with this handshake message, of any length.
fn long_message(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let [_, m0, m1, m2] = (body.len() as u32).to_be_bytes();
    let [r0, r1] = ((body.len() + MESSAGE_HEADER) as u16).to_be_bytes();
    let mut record = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 2, r0, r1];
    record.extend([kind, m0, m1, m2, 0, number, 0, 0, 0, m0, m1, m2]);
    record.extend(body);
    record
}
