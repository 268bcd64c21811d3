//! The audio codecs this server speaks.

/// An audio codec as it is named in SDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// G.711 µ-law at 8 kHz, static payload type 0 (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law at 8 kHz, static payload type 8 (RFC 3551 §4.5.14).
    Pcma,
}

impl Codec {
    /// Every codec, in the order of preference used when configuration names none.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The encoding name of `a=rtpmap`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Ticks of the RTP timestamp per second.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        8_000
    }

    /// The payload type RFC 3551 §6 assigns.
    #[must_use]
    pub const fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The codec behind a payload type that has no `a=rtpmap` (RFC 3551 §6).
    #[must_use]
    pub const fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// The codec named by an `a=rtpmap`; names compare without case (RFC 8866 §6.6), channels must be one.
    #[must_use]
    pub fn from_rtpmap(encoding_name: &str, clock_rate: u32, channels: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| {
            codec.encoding_name().eq_ignore_ascii_case(encoding_name)
                && codec.clock_rate() == clock_rate
                && channels == 1
        })
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.encoding_name())
    }
}
