//! How a stream is protected: what offers of ours ask for, and what is taken of the peer's.

use super::crypto::Crypto;
use super::stream::{Profile, Stream};
use super::{Keying, SdpError, Security, Setup, SrtpPolicy, StreamTerms};
use crate::base::{Random, SrtpKey, SrtpSuite};
use sdp_types::{Attribute, Media};

/// Our own keys, one for each suite, for the whole life of a dialog: a stream that goes on keeps its key. `Debug` shows
/// none of them.
#[derive(Debug)]
pub(super) struct OwnKeys(Vec<SrtpKey>);

impl OwnKeys {
    /// Draws keys where the terms may need them. `random` must be the system's: the keys are as secret as it is.
    pub(super) fn draw(terms: &StreamTerms, random: &mut Random) -> Self {
        let needs_keys = terms.srtp != SrtpPolicy::Off && terms.keying.contains(&Keying::Sdes);
        let suites = terms.suites.iter().filter(|_| needs_keys);
        Self(suites.map(|suite| SrtpKey::random(*suite, random)).collect())
    }

    fn of(&self, suite: SrtpSuite) -> Option<&SrtpKey> {
        self.0.iter().find(|key| key.suite() == suite)
    }

    /// What an offer says about keys. In a session that is up it repeats what was agreed.
    pub(super) fn offer(
        &self,
        terms: &StreamTerms,
        keying: Option<Keying>,
        agreed: Option<&Security>,
    ) -> Vec<Attribute> {
        match (agreed, keying) {
            (Some(Security::Sdes { send, .. }), _) => vec![Crypto::attribute("1", send)],
            (Some(Security::Dtls { .. }), _) | (None, Some(Keying::Dtls)) => handshake(terms, Setup::ActPass),
            (None, Some(Keying::Sdes)) => {
                let tagged = self.0.iter().enumerate();
                tagged.map(|(n, key)| Crypto::attribute(&(n + 1).to_string(), key)).collect()
            }
            (Some(Security::Plain), _) | (None, None) => Vec::new(),
        }
    }

    /// How a stream that the peer offers would be protected, and what our answer says about it.
    pub(super) fn answer(
        &self,
        terms: &StreamTerms,
        media: &Media,
        peer: &Stream,
        agreed: Option<&Security>,
    ) -> Result<(Security, Vec<Attribute>), SdpError> {
        let offered = || media.proto.chars().take(40).collect();
        if terms.srtp == SrtpPolicy::Off {
            let is_plain = peer.profile == Profile::Plain;
            return if is_plain {
                Ok((Security::Plain, Vec::new()))
            } else {
                Err(SdpError::OnlySecure { offered: offered() })
            };
        }
        let usable = terms.keying.iter().filter(|keying| terms.allows(**keying));
        for keying in usable {
            let found = match keying {
                Keying::Sdes => self.take_keys(terms, peer),
                Keying::Dtls => take_handshake(terms, peer, agreed, Setup::ActPass),
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        // A stream that was encrypted stays so: a change to clear would be a downgrade that nobody hears.
        if peer.profile == Profile::Plain && agreed.is_some_and(Security::is_secure) {
            return Err(SdpError::OnlyPlain { offered: offered() });
        }
        let is_clear = !peer.crypto.is_empty() && !terms.private_signalling && terms.keying.contains(&Keying::Sdes);
        match (peer.profile, terms.srtp) {
            (Profile::Plain, SrtpPolicy::Off | SrtpPolicy::Preferred) => Ok((Security::Plain, Vec::new())),
            _ if is_clear => Err(SdpError::KeysInClear),
            (Profile::Plain, SrtpPolicy::Required) => Err(SdpError::OnlyPlain { offered: offered() }),
            (Profile::Secure | Profile::Dtls, _) => {
                Err(SdpError::NoCommonKeying { offered: offered(), wanted: wanted(terms) })
            }
        }
    }

    /// How the stream of an answer to our offer is protected. `asked` is how our offer wanted to agree on keys.
    pub(super) fn accept(
        &self,
        terms: &StreamTerms,
        media: &Media,
        peer: &Stream,
        asked: Option<Keying>,
        agreed: Option<&Security>,
    ) -> Result<Security, SdpError> {
        let found = match asked {
            None if terms.srtp == SrtpPolicy::Required => return Err(SdpError::KeysInClear),
            None => return Ok(Security::Plain),
            // A suite that was not offered is no answer, but then `take_keys` has no key of ours for it.
            Some(Keying::Sdes) => self.take_keys(terms, peer),
            // RFC 4145 §4.1: a writer that says nothing is active.
            Some(Keying::Dtls) => take_handshake(terms, peer, agreed, Setup::Active),
        };
        match found {
            Some((security, _)) => Ok(security),
            None if peer.profile == Profile::Plain
                && terms.srtp != SrtpPolicy::Required
                && !agreed.is_some_and(Security::is_secure) =>
            {
                Ok(Security::Plain)
            }
            None if peer.profile == Profile::Plain => {
                Err(SdpError::OnlyPlain { offered: media.proto.chars().take(40).collect() })
            }
            None => {
                Err(SdpError::NoCommonKeying { offered: media.proto.chars().take(40).collect(), wanted: wanted(terms) })
            }
        }
    }

    /// The best suite of ours among the peer's keys.
    fn take_keys(&self, terms: &StreamTerms, peer: &Stream) -> Option<(Security, Vec<Attribute>)> {
        let theirs = |suite: &SrtpSuite| peer.crypto.iter().find(|crypto| crypto.key.suite() == *suite);
        let crypto = terms.suites.iter().find_map(theirs).filter(|_| peer.profile != Profile::Dtls)?;
        let send = self.of(crypto.key.suite())?;
        let answer = Crypto::attribute(&crypto.tag, send);
        let (suite, send, receive) = (crypto.key.suite(), send.clone(), crypto.key.clone());
        Some((Security::Sdes { suite, send, receive }, vec![answer]))
    }
}

/// A handshake with the peer: the one that was agreed, where its certificate and id are the same.
fn take_handshake(
    terms: &StreamTerms,
    peer: &Stream,
    agreed: Option<&Security>,
    unwritten: Setup,
) -> Option<(Security, Vec<Attribute>)> {
    let theirs = &peer.handshake;
    if theirs.fingerprints.is_empty() {
        return None;
    }
    let setup = match agreed {
        Some(Security::Dtls { fingerprints, setup, tls_id })
            if *fingerprints == theirs.fingerprints && *tls_id == theirs.tls_id =>
        {
            *setup
        }
        _ => theirs.setup.unwrap_or(unwritten).other_side(),
    };
    let (fingerprints, tls_id) = (theirs.fingerprints.clone(), theirs.tls_id.clone());
    Some((Security::Dtls { fingerprints, setup, tls_id }, handshake(terms, setup)))
}

fn handshake(terms: &StreamTerms, setup: Setup) -> Vec<Attribute> {
    let fingerprint = terms.fingerprint.iter().map(|ours| Attribute::with_value("fingerprint", ours.to_string()));
    fingerprint.chain([Attribute::with_value("setup", setup.name())]).collect()
}

/// What a peer must offer so that keys can be agreed.
fn wanted(terms: &StreamTerms) -> &'static str {
    match (terms.allows(Keying::Sdes), terms.allows(Keying::Dtls)) {
        (true, true) => "a=crypto with one key and no MKI, or a=fingerprint with sha-256",
        (false, true) => "a=fingerprint with sha-256 (DTLS-SRTP)",
        (true, false) => "a=crypto with AES_CM_128_HMAC_SHA1_80 or a GCM suite, one key and no MKI",
        (false, false) => "TLS for the signalling, and a=crypto",
    }
}
