//! Where a call may be handed to. A flow names a destination's id, nothing else.

/// A place to transfer to, as declared under `destinations:`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Its name in the agent file.
    pub id: String,
    /// Whom the caller reaches there, for people and for "I'll connect you to …".
    pub description: String,
    /// How to reach it.
    pub target: Target,
}

/// How a destination is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// An extension on the PBX or trunk the call came through: `*`, `#` and digits.
    Extension(String),
    /// A full SIP or SIPS URI (RFC 3261 §19.1).
    Uri(String),
}
