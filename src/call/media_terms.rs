//! What media with a peer is to be like: codecs, encryption, and how Opus is run.

use crate::audio::codec::OpusSettings;
use crate::base::SampleRate;
use crate::media::dtls::Identity;
use crate::sdp::{Codec, CodecPreference, Keying, OpusParameters, SrtpPolicy, StreamTerms};

/// The part of a peer's terms that offers and answers are made from. A list of codecs makes terms with everything else as
/// it is by default: in clear, the offerer's order, no comfort noise.
#[derive(Clone, Debug)]
pub struct MediaTerms {
    /// Codecs, best first.
    pub codecs: Vec<Codec>,
    /// Whose order decides in answers of ours.
    pub preference: CodecPreference,
    /// Whether media is encrypted.
    pub srtp: SrtpPolicy,
    /// How keys are agreed, best first.
    pub keying: Vec<Keying>,
    /// Keys may be agreed in signalling that anybody on the way can read.
    pub danger_sdes_without_tls: bool,
    /// Our certificate; [`Keying::Dtls`] needs it.
    pub identity: Option<Identity>,
    /// Comfort noise is offered, and agreed where the peer offers it: neither side then sends silence.
    pub comfort_noise: bool,
    /// How Opus is run; its sample rate is the most that a line has.
    pub opus: OpusSettings,
}

impl Default for MediaTerms {
    fn default() -> Self {
        Self {
            codecs: Codec::G711.to_vec(),
            preference: CodecPreference::default(),
            srtp: SrtpPolicy::default(),
            keying: vec![Keying::Sdes],
            danger_sdes_without_tls: false,
            identity: None,
            comfort_noise: false,
            opus: OpusSettings::default(),
        }
    }
}

impl From<&Self> for MediaTerms {
    fn from(terms: &Self) -> Self {
        terms.clone()
    }
}

impl From<&[Codec]> for MediaTerms {
    fn from(codecs: &[Codec]) -> Self {
        Self { codecs: codecs.to_vec(), ..Self::default() }
    }
}

impl<const N: usize> From<&[Codec; N]> for MediaTerms {
    fn from(codecs: &[Codec; N]) -> Self {
        codecs.as_slice().into()
    }
}

impl MediaTerms {
    /// What offers and answers of one call are made from. `over_tls`: whether its signalling is encrypted on the way to
    /// the peer.
    #[must_use]
    pub fn stream(&self, over_tls: bool) -> StreamTerms {
        StreamTerms {
            preference: self.preference,
            comfort_noise: self.comfort_noise,
            opus: OpusParameters { in_band_fec: self.opus.fec, dtx: self.opus.dtx, ..OpusParameters::ours() },
            srtp: self.srtp,
            keying: self.keying.clone(),
            private_signalling: over_tls || self.danger_sdes_without_tls,
            fingerprint: self.identity.as_ref().map(|identity| identity.fingerprint().clone()),
            ..StreamTerms::from(self.codecs.as_slice())
        }
    }

    /// How Opus is run towards a peer that says this of itself.
    #[must_use]
    pub fn opus_towards(&self, peer: &OpusParameters) -> OpusSettings {
        let bitrate = peer.max_average_bitrate.map_or(self.opus.bitrate, |most| self.opus.bitrate.min(most));
        // A copy in-band helps only whom can use it, and silence is left out only where both want it.
        OpusSettings { bitrate, fec: self.opus.fec && peer.in_band_fec, dtx: self.opus.dtx && peer.dtx, ..self.opus }
    }

    /// The highest rate that a line by these terms can have.
    #[must_use]
    pub fn max_sample_rate(&self) -> SampleRate {
        let rate = |codec: &Codec| match codec {
            Codec::Opus => self.opus.sample_rate,
            other => other.sample_rate(),
        };
        self.codecs.iter().map(rate).max().unwrap_or(SampleRate::NARROWBAND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_wide_as_the_widest_codec() {
        let rate = |codecs: &[Codec]| MediaTerms::from(codecs).max_sample_rate().0;
        assert_eq!(rate(&Codec::G711), 8_000);
        assert_eq!(rate(&[Codec::Pcmu, Codec::G722]), 16_000);
        let mut terms = MediaTerms::from(&[Codec::Opus]);
        terms.opus.sample_rate = SampleRate(48_000);
        assert_eq!(terms.max_sample_rate().0, 48_000);
    }

    #[test]
    fn opus_is_run_within_what_the_peer_says() {
        let mut terms = MediaTerms::default();
        terms.opus.dtx = true;
        let plain = terms.opus_towards(&OpusParameters::default());
        assert!(!plain.fec && !plain.dtx && plain.bitrate == terms.opus.bitrate);
        let narrow = OpusParameters {
            max_average_bitrate: Some(16_000),
            in_band_fec: true,
            dtx: true,
            ..OpusParameters::default()
        };
        let narrow = terms.opus_towards(&narrow);
        assert!(narrow.fec && narrow.dtx && narrow.bitrate == 16_000);
    }

    #[test]
    fn keys_go_into_descriptions_over_tls_or_by_a_danger_switch() {
        let mut terms = MediaTerms { srtp: SrtpPolicy::Required, ..MediaTerms::default() };
        assert!(terms.stream(true).private_signalling && !terms.stream(false).private_signalling);
        terms.danger_sdes_without_tls = true;
        assert!(terms.stream(false).private_signalling);
    }
}
