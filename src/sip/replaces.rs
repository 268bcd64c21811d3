//! Replaces: RFC 3891. What becomes of a call that wants to take over another.

use super::StatusCode;

/// How far the dialog has come that a Replaces header names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// There is none, or it is not the caller's to replace.
    Unknown,
    /// It rings at us: the callee may not replace it (§3).
    Incoming,
    /// We are calling, and the peer rings.
    Outgoing,
    /// It is up.
    Confirmed,
    /// It has ended, but is still remembered.
    Over,
}

/// Whether a call may replace what it names, or the status that refuses it (§3).
///
/// # Errors
/// 481 for what is not there or not to be replaced, 486 when only an early dialog was meant and it is up, 603 when it
/// has ended.
pub fn judge(named: Named, early_only: bool) -> Result<(), StatusCode> {
    match named {
        Named::Unknown | Named::Incoming => Err(StatusCode::CALL_DOES_NOT_EXIST),
        Named::Over => Err(StatusCode::DECLINE),
        Named::Confirmed if early_only => Err(StatusCode::BUSY_HERE),
        Named::Confirmed | Named::Outgoing => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_the_named_dialog_has_its_answer() {
        for (named, early_only, refused) in [
            (Named::Unknown, false, Some(481)),
            (Named::Incoming, false, Some(481)),
            (Named::Incoming, true, Some(481)),
            (Named::Outgoing, true, None),
            (Named::Outgoing, false, None),
            (Named::Confirmed, false, None),
            (Named::Confirmed, true, Some(486)),
            (Named::Over, false, Some(603)),
        ] {
            assert_eq!(judge(named, early_only).err().map(StatusCode::code), refused, "{named:?} {early_only}");
        }
    }
}
