//! The cryptography that the DTLS library is given: what RFC 5764 and today's peers need, by `ring`, and no more. So there is
//! neither CBC nor SHA-1 to agree on.

use super::cookie;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use ring::rand::SystemRandom;
use ring::{aead, agreement, digest, hmac, signature};
use rtc_dtls::crypto_provider::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm,
    KeyExchangeAlgorithm, Mac, PublicKey, PublicKeyEncoding, RTCCrypto, RTCCryptoProvider, RTCRandom, SecretVec,
    SignatureScheme, SigningKey as KeyOfLibrary,
};

/// Octets of a tag of AES-GCM.
const TAG: usize = 16;

/// What every handshake is given.
pub(super) struct Provider;

impl RTCCryptoProvider for Provider {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self
    }
}

impl RTCRandom for Provider {
    fn fill(&self, output: &mut [u8]) -> Result<(), CryptoError> {
        if cookie::fill(output) {
            return Ok(());
        }
        getrandom::fill(output).map_err(|_| CryptoError::RandomnessFailed)
    }
}

impl RTCCrypto for Provider {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        match algorithm {
            CryptoAlgorithm::Signature(scheme) => verification(scheme).is_some(),
            CryptoAlgorithm::KeyExchange(curve) => agreement_of(curve).is_some(),
            CryptoAlgorithm::Hash(HashAlgorithm::Sha256)
            | CryptoAlgorithm::Hmac(HmacAlgorithm::Sha256)
            | CryptoAlgorithm::Aead(AeadAlgorithm::Aes128Gcm) => true,
            _ => false,
        }
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match algorithm {
            HashAlgorithm::Sha256 => Ok(digest::digest(&digest::SHA256, data).as_ref().to_vec()),
            other => Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Hash(other))),
        }
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        match algorithm {
            HmacAlgorithm::Sha256 => Ok(Box::new(HmacSha256(hmac::Key::new(hmac::HMAC_SHA256, key)))),
            other => Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Hmac(other))),
        }
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        match algorithm {
            AeadAlgorithm::Aes128Gcm => {
                let key = aead::UnboundKey::new(&aead::AES_128_GCM, key).map_err(|_| CryptoError::InvalidPrivateKey)?;
                Ok(Box::new(Gcm(aead::LessSafeKey::new(key))))
            }
            other => Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Aead(other))),
        }
    }

    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let unsupported = CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::KeyExchange(algorithm));
        let curve = agreement_of(algorithm).ok_or(unsupported)?;
        let failed = |_| CryptoError::RandomnessFailed;
        let private = agreement::EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(failed)?;
        let public = private.compute_public_key().map_err(failed)?.as_ref().to_vec();
        Ok(Box::new(Exchange { algorithm, curve, private, public }))
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let unsupported = CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Signature(scheme));
        let (algorithm, encoding) = verification(scheme).ok_or(unsupported)?;
        if public_key.encoding != encoding {
            return Err(CryptoError::InvalidPublicKey);
        }
        signature::UnparsedPublicKey::new(algorithm, public_key.bytes)
            .verify(message, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }
}

/// How a signature of a peer is verified.
fn verification(scheme: SignatureScheme) -> Option<(&'static dyn signature::VerificationAlgorithm, PublicKeyEncoding)> {
    let (ec, rsa) = (PublicKeyEncoding::EcUncompressedPoint, PublicKeyEncoding::RsaPkcs1Der);
    match scheme {
        SignatureScheme::EcdsaP256Sha256 => Some((&signature::ECDSA_P256_SHA256_ASN1, ec)),
        SignatureScheme::EcdsaP384Sha256 => Some((&signature::ECDSA_P384_SHA256_ASN1, ec)),
        SignatureScheme::EcdsaP384Sha384 => Some((&signature::ECDSA_P384_SHA384_ASN1, ec)),
        SignatureScheme::RsaPkcs1Sha256 => Some((&signature::RSA_PKCS1_2048_8192_SHA256, rsa)),
        SignatureScheme::RsaPkcs1Sha384 => Some((&signature::RSA_PKCS1_2048_8192_SHA384, rsa)),
        SignatureScheme::RsaPkcs1Sha512 => Some((&signature::RSA_PKCS1_2048_8192_SHA512, rsa)),
        _ => None,
    }
}

fn agreement_of(curve: KeyExchangeAlgorithm) -> Option<&'static agreement::Algorithm> {
    match curve {
        KeyExchangeAlgorithm::P256 => Some(&agreement::ECDH_P256),
        KeyExchangeAlgorithm::P384 => Some(&agreement::ECDH_P384),
        KeyExchangeAlgorithm::X25519 => Some(&agreement::X25519),
        _ => None,
    }
}

struct HmacSha256(hmac::Key);

impl HmacSha256 {
    fn of(&self, input: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        input.iter().for_each(|part| context.update(part));
        context.sign()
    }
}

impl Mac for HmacSha256 {
    fn output_len(&self) -> usize {
        digest::SHA256_OUTPUT_LEN
    }

    fn sign(&mut self, input: &[&[u8]], output: &mut [u8]) -> Result<(), CryptoError> {
        let (required, actual) = (self.output_len(), output.len());
        let room = output.get_mut(..required).ok_or(CryptoError::OutputTooSmall { required, actual })?;
        room.copy_from_slice(self.of(input).as_ref());
        Ok(())
    }

    fn verify(&mut self, input: &[&[u8]], expected: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, &input.concat(), expected).map_err(|_| CryptoError::AuthenticationFailed)
    }
}

struct Gcm(aead::LessSafeKey);

fn nonce_of(nonce: &[u8]) -> Result<aead::Nonce, CryptoError> {
    let wrong = CryptoError::InvalidNonceLength { expected: aead::NONCE_LEN, actual: nonce.len() };
    aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong)
}

impl AeadCipher for Gcm {
    fn tag_len(&self) -> usize {
        TAG
    }

    fn seal_in_place(
        &mut self,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        tag_out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let wrong = CryptoError::InvalidTagLength { expected: TAG, actual: tag_out.len() };
        let room = <&mut [u8; TAG]>::try_from(tag_out).map_err(|_| wrong)?;
        let tag = self.0.seal_in_place_separate_tag(nonce_of(nonce)?, aead::Aad::from(aad), text);
        room.copy_from_slice(tag.map_err(|_| CryptoError::AuthenticationFailed)?.as_ref());
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), CryptoError> {
        let wrong = CryptoError::InvalidTagLength { expected: TAG, actual: tag.len() };
        let tag = aead::Tag::try_from(tag).map_err(|_| wrong)?;
        let opened = self.0.open_in_place_separate_tag(nonce_of(nonce)?, aead::Aad::from(aad), tag, text, 0..);
        opened.map(drop).map_err(|_| CryptoError::AuthenticationFailed)
    }
}

struct Exchange {
    algorithm: KeyExchangeAlgorithm,
    curve: &'static agreement::Algorithm,
    private: agreement::EphemeralPrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn algorithm(&self) -> KeyExchangeAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer_public_key: &[u8]) -> Result<SecretVec, CryptoError> {
        let peer = agreement::UnparsedPublicKey::new(self.curve, peer_public_key);
        agreement::agree_ephemeral(self.private, &peer, |secret| SecretVec::new(secret.to_vec()))
            .map_err(|_| CryptoError::InvalidPublicKey)
    }
}

/// Our private key, as the library signs with it.
pub(super) struct Key {
    secret: SigningKey,
    public: Vec<u8>,
}

impl Key {
    pub(super) fn new(secret: SigningKey) -> Self {
        let public = secret.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        Self { secret, public }
    }
}

impl KeyOfLibrary for Key {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        scheme == SignatureScheme::EcdsaP256Sha256
    }

    fn public_key(&self) -> PublicKey<'_> {
        PublicKey { encoding: PublicKeyEncoding::EcUncompressedPoint, bytes: &self.public }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !self.supports(scheme) {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Signature(scheme)));
        }
        let signature: DerSignature = self.secret.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}
