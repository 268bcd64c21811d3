//! Why a call of ours was not taken, in words.

use crate::sip::event::{EndCause, Missing};
use std::fmt;
use std::time::Duration;

/// What became of a call that nobody took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// 486, 600: the callee talks to someone else.
    Busy,
    /// 401, 403, 407: the peer does not let us call there.
    Forbidden {
        /// Its status.
        code: u16,
        /// Its phrase.
        phrase: String,
    },
    /// 603, or 480 with a person behind it.
    Declined,
    /// 408, 480, 487, or the ring time ran out: it rang and nobody picked up, or the phone is not there.
    NoAnswer,
    /// 404, 410, 484, 604: there is no such number.
    NoSuchNumber,
    /// 500–599: the peer cannot at the moment.
    Unavailable {
        /// Its status.
        code: u16,
        /// When it may be tried again.
        retry_after: Option<Duration>,
    },
    /// 3xx: the peer names another target, which is not followed.
    Redirected,
    /// 488, 606: no common media.
    NoCommonMedia,
    /// Any other refusal.
    Refused {
        /// Its status.
        code: u16,
        /// Its phrase.
        phrase: String,
    },
    /// Nothing came back, or the message could not be sent.
    Unreachable,
    /// We gave up ourselves.
    GivenUp,
    /// The peer's answer cannot be used.
    Unusable(String),
}

impl Unanswered {
    /// What the end of a leg that was never up means.
    #[must_use]
    pub fn of(cause: &EndCause) -> Self {
        match cause {
            EndCause::Rejected { code, phrase, retry_after } => Self::of_status(*code, phrase, *retry_after),
            EndCause::TimedOut(Missing::FinalResponse) => Self::NoAnswer,
            EndCause::TimedOut(_) | EndCause::Transport | EndCause::DialogLost => Self::Unreachable,
            EndCause::Local | EndCause::Cancelled | EndCause::Remote | EndCause::Transferred => Self::GivenUp,
        }
    }

    fn of_status(code: u16, phrase: &str, retry_after: Option<Duration>) -> Self {
        let phrase = phrase.to_owned();
        match code {
            300..=399 => Self::Redirected,
            401 | 403 | 407 => Self::Forbidden { code, phrase },
            404 | 410 | 484 | 604 => Self::NoSuchNumber,
            408 | 480 | 487 => Self::NoAnswer,
            486 | 600 => Self::Busy,
            488 | 606 => Self::NoCommonMedia,
            603 => Self::Declined,
            500..=599 => Self::Unavailable { code, retry_after },
            _ => Self::Refused { code, phrase },
        }
    }

    /// The status that tells somebody else about it: whoever asked us to call by REFER, for one.
    #[must_use]
    pub fn sip_status(&self) -> u16 {
        match self {
            Self::Busy => 486,
            Self::Declined => 603,
            Self::NoAnswer | Self::GivenUp => 480,
            Self::NoSuchNumber | Self::Redirected => 404,
            Self::NoCommonMedia | Self::Unusable(_) => 488,
            Self::Forbidden { code, .. } | Self::Unavailable { code, .. } | Self::Refused { code, .. } => *code,
            Self::Unreachable => 503,
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("busy"),
            Self::Forbidden { code, phrase } => {
                write!(
                    f,
                    "the peer does not let us call there ({code} {phrase}): check the credentials and the dial plan"
                )
            }
            Self::Declined => f.write_str("declined"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::NoSuchNumber => f.write_str("there is no such number"),
            Self::Unavailable { code, retry_after } => {
                write!(f, "the peer cannot place the call at the moment ({code})")?;
                retry_after.map_or(Ok(()), |after| write!(f, "; it asks to try again in {} s", after.as_secs()))
            }
            Self::Redirected => f.write_str("the peer names another number, which is not followed"),
            Self::NoCommonMedia => f.write_str("no codec in common"),
            Self::Refused { code, phrase } => write!(f, "refused: {code} {phrase}"),
            Self::Unreachable => f.write_str("the peer does not respond"),
            Self::GivenUp => f.write_str("given up before the answer"),
            Self::Unusable(why) => write!(f, "the peer's answer cannot be used: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_words_and_a_status_for_whoever_asked() {
        let rejected =
            |code| EndCause::Rejected { code, phrase: "X".into(), retry_after: Some(Duration::from_secs(7)) };
        for (cause, words, status) in [
            (rejected(486), "busy", 486),
            (rejected(600), "busy", 486),
            (rejected(603), "declined", 603),
            (rejected(480), "no answer", 480),
            (EndCause::TimedOut(Missing::FinalResponse), "no answer", 480),
            (rejected(404), "there is no such number", 404),
            (rejected(503), "the peer cannot place the call at the moment (503); it asks to try again in 7 s", 503),
            (rejected(302), "the peer names another number, which is not followed", 404),
            (rejected(488), "no codec in common", 488),
            (rejected(420), "refused: 420 X", 420),
            (EndCause::TimedOut(Missing::Response), "the peer does not respond", 503),
            (EndCause::Local, "given up before the answer", 480),
        ] {
            let unanswered = Unanswered::of(&cause);
            assert_eq!((unanswered.to_string().as_str(), unanswered.sip_status()), (words, status), "{cause:?}");
        }
        assert!(Unanswered::of(&rejected(403)).to_string().contains("credentials"));
    }
}
