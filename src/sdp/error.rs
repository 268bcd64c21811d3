//! Why a session description cannot be used.

use thiserror::Error;

/// What is wrong with the peer's description. All are the peer's to mend except [`SdpError::AnswerMismatch`]
/// after an offer of ours, which ends the call.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The peer's answer does not fit our offer (other number or kind of `m=` lines).
    #[error("the peer's answer does not fit our offer: {0}")]
    AnswerMismatch(&'static str),
    /// No `c=` line for the audio stream.
    #[error("the peer gave no address (c=) for its audio")]
    NoAddress,
    /// There is no audio stream, or it is switched off with port 0.
    #[error("the peer offers no audio stream over RTP")]
    NoAudio,
    /// No codec that both sides know.
    #[error("no codec in common; the peer knows {offered}")]
    NoCommonCodec {
        /// The encoding names or payload types of the peer, as written.
        offered: String,
    },
    /// Keys would have to be agreed in descriptions that travel in clear.
    #[error(
        "keys for SRTP (a=crypto) would travel where anybody can read them: use TLS for the signalling, or set \
         danger_sdes_without_tls = true for this peer"
    )]
    KeysInClear,
    /// Encryption was wanted, and no way to agree on keys is common.
    #[error("the peer offers {offered} with no keys that can be used here: {wanted}")]
    NoCommonKeying {
        /// The transport offered.
        offered: String,
        /// What would do.
        wanted: &'static str,
    },
    /// Media in clear, where encryption is required here.
    #[error(
        "the peer wants {offered}, media in clear, where SRTP is required here or was agreed before: switch SRTP on for us at the peer"
    )]
    OnlyPlain {
        /// The transport.
        offered: String,
    },
    /// Every audio stream is encrypted (RFC 3711), which is switched off here.
    #[error(
        "the peer offers {offered} only and srtp is \"off\" here: set srtp = \"preferred\", or allow RTP/AVP at the peer"
    )]
    OnlySecure {
        /// The transport offered.
        offered: String,
    },
    /// Not a session description.
    #[error("not a session description: {0}")]
    Syntax(String),
    /// A count or length above [`super::limits`].
    #[error("the peer's description exceeds a limit: {0}")]
    TooLarge(&'static str),
}

impl SdpError {
    /// The SIP status for an INVITE or re-INVITE whose offer caused this.
    #[must_use]
    pub const fn sip_status(&self) -> u16 {
        match self {
            Self::Syntax(_) => 400,
            Self::TooLarge(_) => 413,
            Self::AnswerMismatch(_)
            | Self::KeysInClear
            | Self::NoAddress
            | Self::NoAudio
            | Self::NoCommonCodec { .. }
            | Self::NoCommonKeying { .. }
            | Self::OnlyPlain { .. }
            | Self::OnlySecure { .. } => 488,
        }
    }

    /// The code and text of a Warning header beside that status (RFC 3261 §20.43).
    #[must_use]
    pub fn warning(&self) -> (u16, String) {
        let code = match self {
            Self::KeysInClear | Self::NoCommonKeying { .. } | Self::OnlyPlain { .. } | Self::OnlySecure { .. } => 302,
            Self::NoAudio => 304,
            Self::NoCommonCodec { .. } => 305,
            Self::NoAddress => 301,
            Self::AnswerMismatch(_) | Self::Syntax(_) | Self::TooLarge(_) => 399,
        };
        // A quoted string: neither quotes nor control characters of the peer's own text.
        let keep = |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { ' ' };
        (code, self.to_string().chars().map(keep).take(160).collect())
    }
}
