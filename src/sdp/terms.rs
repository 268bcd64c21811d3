//! What we are ready to agree on with one peer.

use super::{Codec, Fingerprint, Keying, OpusParameters, SdpError, SrtpPolicy};
use crate::base::SrtpSuite;

/// Whose order of codecs decides when we answer an offer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CodecPreference {
    /// Ours: the best of our list that the peer offers.
    Ours,
    /// The peer's: the first of its offer that we know, as RFC 3264 §6.1 recommends.
    #[default]
    Theirs,
}

/// The terms of one audio stream. Start from a list of codecs ([`From`]) and change fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamTerms {
    /// Codecs, best first.
    pub codecs: Vec<Codec>,
    /// Whose order decides in answers of ours.
    pub preference: CodecPreference,
    /// Comfort noise (RFC 3389) is offered, and agreed where the peer offers it.
    pub comfort_noise: bool,
    /// What we say of our Opus.
    pub opus: OpusParameters,
    /// Whether media is encrypted.
    pub srtp: SrtpPolicy,
    /// How keys are agreed: the first that can be used is offered, every one of them is taken.
    pub keying: Vec<Keying>,
    /// Suites for [`Keying::Sdes`], best first.
    pub suites: Vec<SrtpSuite>,
    /// Our descriptions travel where strangers cannot read them (TLS), or the operator lets keys be read. Without it
    /// [`Keying::Sdes`] is neither offered nor taken.
    pub private_signalling: bool,
    /// The hash of our certificate; [`Keying::Dtls`] needs it.
    pub fingerprint: Option<Fingerprint>,
}

impl Default for StreamTerms {
    /// G.711 in clear.
    fn default() -> Self {
        Self {
            codecs: Codec::G711.to_vec(),
            preference: CodecPreference::default(),
            comfort_noise: false,
            opus: OpusParameters::ours(),
            srtp: SrtpPolicy::Off,
            keying: vec![Keying::Sdes],
            suites: SrtpSuite::ALL.to_vec(),
            private_signalling: false,
            fingerprint: None,
        }
    }
}

impl From<Vec<Codec>> for StreamTerms {
    fn from(codecs: Vec<Codec>) -> Self {
        Self { codecs, ..Self::default() }
    }
}

impl From<&[Codec]> for StreamTerms {
    fn from(codecs: &[Codec]) -> Self {
        codecs.to_vec().into()
    }
}

impl<const N: usize> From<&[Codec; N]> for StreamTerms {
    fn from(codecs: &[Codec; N]) -> Self {
        codecs.to_vec().into()
    }
}

impl StreamTerms {
    /// Whether keys may be agreed this way here.
    pub(super) fn allows(&self, keying: Keying) -> bool {
        match keying {
            Keying::Dtls => self.fingerprint.is_some(),
            Keying::Sdes => self.private_signalling && !self.suites.is_empty(),
        }
    }

    /// How offers of ours agree on keys; `None` leaves them plain.
    #[must_use]
    pub fn offered_keying(&self) -> Option<Keying> {
        let may_encrypt = self.srtp != SrtpPolicy::Off;
        self.keying.iter().copied().find(|keying| may_encrypt && self.allows(*keying))
    }

    /// Whether an offer can be made by these terms.
    ///
    /// # Errors
    /// [`SdpError::KeysInClear`] when encryption is required and the only way to agree on keys would show them to
    /// everybody on the way. An offer made all the same has no keys, and the peer will refuse it.
    pub fn check_offer(&self) -> Result<(), SdpError> {
        let is_impossible = self.srtp == SrtpPolicy::Required && self.offered_keying().is_none();
        if is_impossible { Err(SdpError::KeysInClear) } else { Ok(()) }
    }
}
