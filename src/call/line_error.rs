//! Why a call has no line, and what its peer is told.

use super::unanswered::Unanswered;
use crate::media::MediaError;
use crate::net::NetError;
use crate::sdp::SdpError;
use std::time::Duration;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The network side refused or has stopped.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No media for this call.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The peer's session description cannot be used.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The peer did not take the call.
    #[error("the call was not answered: {0}")]
    NotAnswered(Unanswered),
    /// Nothing may be called by this name, or nothing can be made of it.
    #[error("{0}")]
    NotDialled(String),
}

impl LineError {
    /// The SIP status that refuses an INVITE for this reason.
    #[must_use]
    pub fn sip_status(&self) -> u16 {
        match self {
            Self::Media(error) => error.sip_status(),
            Self::Sdp(error) => error.sip_status(),
            Self::NotAnswered(unanswered) => unanswered.sip_status(),
            Self::NotDialled(_) => 403,
            Self::Net(_) => 500,
        }
    }

    /// When the caller may try again, where that helps: the `Retry-After` of a 503 (RFC 3261 §20.33).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Media(error) => error.retry_after(),
            Self::NotAnswered(Unanswered::Unavailable { retry_after, .. }) => *retry_after,
            Self::Net(_) | Self::NotAnswered(_) | Self::NotDialled(_) | Self::Sdp(_) => None,
        }
    }

    /// The Warning header beside that status, where there is something to say (RFC 3261 §20.43).
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self::Sdp(error) = self else { return None };
        let (code, text) = error.warning();
        Some(format!("{code} offhook \"{text}\""))
    }
}
