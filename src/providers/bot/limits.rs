//! Bounds of the wire protocols of bots, each with the attack or need that it answers.

/// Largest message of a bot: half a minute of speech in one piece is usual, a message without end would fill the memory.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Longest name of a mark: it is kept until it has been played, and sent back.
pub const MARK_BYTES: usize = 256;
/// Most keys of one `dtmf` message: an account number with its terminator is shorter.
pub const DIGITS: usize = 64;
/// Longest name of a destination, which is one out of the agent file.
pub const NAME_BYTES: usize = 64;
/// Longest reason or complaint that is kept, in bytes; the rest is cut.
pub const REASON_BYTES: usize = 256;
/// Most entries of the context of a transfer: what a person reads while a phone rings.
pub const CONTEXT_ENTRIES: usize = 32;
/// Longest text to say, in characters: about two minutes of speech.
pub const SAY_CHARS: usize = 2_000;
