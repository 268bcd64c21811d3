//! Where a call may be handed to. A flow names a destination's id, nothing else.

use std::time::Duration;

/// How long a destination's phone rings, unless its entry says otherwise.
pub const RING_FOR: Duration = Duration::from_secs(40);

/// A place to transfer to, as declared under `destinations:`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Its name in the agent file.
    pub id: String,
    /// Whom the caller reaches there, for people and for "I'll connect you to …".
    pub description: String,
    /// How to reach it.
    pub target: Target,
    /// When the caller is handed over.
    pub mode: TransferMode,
    /// How long its phone rings before the caller is the agent's again.
    pub ring_for: Duration,
    /// Said to whoever answers there before the caller is connected; a template over the call's variables. Only of an
    /// attended transfer: otherwise it is not we who call.
    pub announce: Option<String>,
    /// The extension or trunk to call it through; `None` is the one that the call came by.
    pub through: Option<String>,
}

/// When a caller is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TransferMode {
    /// At once: the peer, or a second call of ours, rings the target.
    #[default]
    Blind,
    /// When somebody is there: we call the target, and the two are connected once it has answered.
    Attended,
}

impl TransferMode {
    /// The words of the agent file.
    pub const NAMES: [(&'static str, Self); 2] = [("attended", Self::Attended), ("blind", Self::Blind)];
}

/// How a destination is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// An extension on the PBX or trunk the call came through, or a number: digits, `*`, `#`, and `+` in front.
    Extension(String),
    /// A full SIP or SIPS URI (RFC 3261 §19.1).
    Uri(String),
}
