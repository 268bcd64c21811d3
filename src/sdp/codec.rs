//! The audio codecs this server speaks.

use crate::base::SampleRate;

/// An audio codec as it is named in SDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// G.711 µ-law at 8 kHz, static payload type 0 (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law at 8 kHz, static payload type 8 (RFC 3551 §4.5.14).
    Pcma,
    /// G.722 at 64 kbit/s, 16 kHz audio, static payload type 9; its RTP clock runs at 8,000 by a historical error that
    /// RFC 3551 §4.5.2 keeps.
    G722,
    /// Opus (RFC 7587): a dynamic payload type and an RTP clock of 48,000 whatever the audio's rate is.
    Opus,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// Both laws of G.711, which every telephone speaks: what is offered when nobody says otherwise.
    pub const G711: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The encoding name of `a=rtpmap`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Ticks of the RTP timestamp per second. Of G.722 this is half its sample rate (RFC 3551 §4.5.2).
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// The rate of the audio that this codec is run at unless a setting says otherwise. Opus encodes and decodes at any
    /// of 8, 16, 24 and 48 kHz; 16 kHz is what speech models hear.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::NARROWBAND,
            Self::G722 | Self::Opus => SampleRate::WIDEBAND,
        }
    }

    /// Channels as `a=rtpmap` writes them; `None` leaves them out. RFC 7587 §7 wants `2` for Opus even when all that is
    /// sent is mono.
    #[must_use]
    pub const fn rtpmap_channels(self) -> Option<u32> {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => None,
            Self::Opus => Some(2),
        }
    }

    /// The payload type in offers of ours: the one RFC 3551 §6 assigns, or for Opus the dynamic number that most others
    /// choose.
    #[must_use]
    pub const fn offered_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 107,
        }
    }

    /// The codec behind a payload type that has no `a=rtpmap` (RFC 3551 §6).
    #[must_use]
    pub const fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// The codec named by an `a=rtpmap`. Names compare without case (RFC 8866 §6.6). Channels must be one, of Opus two
    /// (RFC 7587 §7), or left out.
    #[must_use]
    pub fn from_rtpmap(encoding_name: &str, clock_rate: u32, channels: Option<u32>) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| {
            codec.encoding_name().eq_ignore_ascii_case(encoding_name)
                && codec.clock_rate() == clock_rate
                && channels.is_none_or(|channels| codec.rtpmap_channels().unwrap_or(1) == channels)
        })
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.encoding_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtpmaps_are_read_by_name_rate_and_channels() {
        for (name, rate, channels, expected) in [
            ("PCMU", 8_000, None, Some(Codec::Pcmu)),
            ("pcma", 8_000, Some(1), Some(Codec::Pcma)),
            ("PCMU", 8_000, Some(2), None),
            ("PCMU", 16_000, None, None),
            ("G722", 8_000, None, Some(Codec::G722)),
            ("G722", 16_000, None, None),
            ("OPUS", 48_000, Some(2), Some(Codec::Opus)),
            ("opus", 48_000, None, Some(Codec::Opus)),
            ("opus", 48_000, Some(1), None),
            ("opus", 16_000, Some(2), None),
            ("G729", 8_000, None, None),
        ] {
            assert_eq!(Codec::from_rtpmap(name, rate, channels), expected, "{name}/{rate}/{channels:?}");
        }
    }

    #[test]
    fn static_payload_types_are_those_of_rfc_3551() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
            assert_eq!(Codec::from_static_payload_type(codec.offered_payload_type()), Some(codec));
        }
        assert_eq!(Codec::from_static_payload_type(107), None, "Opus has none");
    }
}
