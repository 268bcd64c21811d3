//! Why a leg cannot have media.

use crate::audio::codec::CodecError;
use crate::audio::resample::ResampleError;
use std::time::Duration;
use thiserror::Error;

/// Whose fault it is and what to do is in the text of each variant.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MediaError {
    /// Ours: the system refused a socket.
    #[error("cannot bind an RTP socket on {address}: {source}")]
    Bind {
        /// The address tried.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Ours: a codec does not run with the settings it was given.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Ours: a codec's rate cannot be converted to that of the line.
    #[error(transparent)]
    Rate(#[from] ResampleError),
    /// Ours: the call sends commands faster than the worker takes them.
    #[error("the media worker has not taken the last {0} commands of this call; it is overloaded or dead")]
    Busy(usize),
    /// The peer's, or ours: a call that was encrypted cannot go on in clear. Refuse the offer with 488.
    #[error("the media of this call was encrypted and may not go on in clear")]
    Downgrade,
    /// Configuration: the range holds no even port followed by an odd one.
    #[error("the RTP port range {0}-{1} holds no pair of an even port and the odd port above it")]
    EmptyRange(u16, u16),
    /// Configuration or load: every port is in use or in quarantine. Answer 503 and widen the range.
    #[error(
        "no RTP port is free: {in_use} in use, {quarantined} in quarantine, {taken} taken by other programs; \
         widen `ports`"
    )]
    NoFreePort {
        /// Ports of living calls.
        in_use: usize,
        /// Ports of calls that ended a moment ago.
        quarantined: usize,
        /// Ports that could not be bound.
        taken: usize,
        /// How long a port rests after its call.
        quarantine: Duration,
    },
    /// Load: the workers begin their work too late already. Answer 503; there are more calls than this machine carries.
    #[error("the media workers are late in {late_percent:.1} % of their turns; this machine carries no further call")]
    Overloaded {
        /// Share of late turns over the last seconds, of the worker that would have taken the call.
        late_percent: f32,
        /// How long lateness is remembered.
        window: Duration,
    },
    /// Load: every worker serves as many legs as it may. Answer 503.
    #[error("every media worker is full")]
    TooManyLegs,
    /// Ours: the system refused a thread.
    #[error("cannot start a media thread: {0}")]
    Thread(std::io::Error),
}

/// When a place on a worker may have become free: calls end at any time.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(10);

/// `Retry-After` counts whole seconds, and none would call the peer back at once.
const fn at_least_a_second(time: Duration) -> Duration {
    let seconds = time.as_secs() + (time.subsec_nanos() > 0) as u64;
    Duration::from_secs(if seconds == 0 { 1 } else { seconds })
}

impl MediaError {
    /// When to try again, for the `Retry-After` of a 503 (RFC 3261 §21.5.4).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            // By then the ports of calls that have ended are free again, whatever is in use now.
            Self::NoFreePort { quarantine, .. } => Some(at_least_a_second(*quarantine)),
            // By then the lateness is forgiven, if it is over.
            Self::Overloaded { window, .. } => Some(at_least_a_second(*window)),
            Self::TooManyLegs | Self::Busy(_) => Some(RETRY_WHEN_FULL),
            _ => None,
        }
    }

    /// The SIP status for an INVITE that met this.
    #[must_use]
    pub const fn sip_status(&self) -> u16 {
        match self {
            Self::NoFreePort { .. } | Self::Overloaded { .. } | Self::TooManyLegs | Self::Busy(_) => 503,
            Self::Downgrade => 488,
            Self::Bind { .. } | Self::Codec(_) | Self::Rate(_) | Self::EmptyRange(..) | Self::Thread(_) => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_time_that_its_cause_takes_to_pass() {
        let quarantine = Duration::from_millis(4_200);
        let no_port = MediaError::NoFreePort { in_use: 1, quarantined: 2, taken: 0, quarantine };
        assert_eq!(no_port.retry_after(), Some(Duration::from_secs(5)));
        let late = |window| MediaError::Overloaded { late_percent: 3.0, window };
        assert_eq!(late(Duration::from_secs(8)).retry_after(), Some(Duration::from_secs(8)));
        assert_eq!(late(Duration::ZERO).retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(MediaError::Downgrade.retry_after(), None, "trying again would not help");
        for error in [no_port, late(Duration::ZERO), MediaError::TooManyLegs, MediaError::Busy(4)] {
            assert_eq!(error.sip_status() == 503, error.retry_after().is_some(), "{error}");
        }
    }
}
