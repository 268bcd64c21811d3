//! Identifiers that appear in events, logs and audio frames.

use std::fmt;

/// One call, unique within a server process. Shown as `call-000001`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call-{:06}", self.0)
    }
}

/// One turn of the agent within a call. Numbers only grow, so a media worker drops all audio of a
/// cancelled turn by comparing with one atomic ("everything up to and including this turn is void").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct TurnId(pub u32);

impl TurnId {
    /// The value before the first turn: audio that belongs to no turn, such as a tone.
    pub const NONE: Self = Self(0);

    /// The turn after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn-{}", self.0)
    }
}

/// One stretch of caller speech, counted by turn-taking. A segment may be paused and resumed (the caller took a
/// breath) until the turn is committed; the next turn starts a segment of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SegmentId(pub u32);
