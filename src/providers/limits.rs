//! Caps of the connections to vendors, each with what it answers; the deadlines of a fail-over and what they add up to.
//!
//! ```text
//!   fault shows ─────── patience ───────▶ the next is asked besides ── TAKE_OVER ──▶ it is in use: FAIL_OVER
//!   (asked, or sound owed)                whoever begins first serves
//! ```

use std::time::Duration;

/// The promise: from a fault's showing to the next provider's being in use. A fault shows when the request has been sent,
/// or when sound is owed and none is left to play.
pub const FAIL_OVER: Duration = Duration::from_millis(1_500);
/// What of [`FAIL_OVER`] a next provider is left to open a connection of its own and to begin: a language model's first
/// word takes 320 ms at the median, a voice's first sound 190–290 ms, a transcript less.
pub const TAKE_OVER: Duration = Duration::from_millis(500);
/// A provider that has owed its first word, its connection or its transcript for so long fails over.
pub const PATIENCE: Duration = FAIL_OVER.saturating_sub(TAKE_OVER);
/// The same for a voice, which is quicker when it is well, and whose successor has more to do: all callers of a vendor that
/// died come at once, each over a fresh connection.
pub const VOICE_PATIENCE: Duration = PATIENCE.saturating_sub(Duration::from_millis(200));
/// What a vendor that nobody stands behind is left on a fresh connection of its own, once it is late by [`PATIENCE`]. With
/// the silence that ends a turn (0.45 s) and the call's own words about the failure (0.3 s) it adds up to 3 s at the most,
/// which is what a caller is made to wait.
pub const LAST_TRY: Duration = Duration::from_millis(1_200);
/// From the caller's last word to an answer of a vendor that lives and takes the turns itself: the longest of their own
/// patience is 8 s (OpenAI's semantic detection of turns at its lowest eagerness; Deepgram's Flux waits 5 s), and
/// [`PATIENCE`] is ours.
pub const TURN_OPEN: Duration = Duration::from_secs(8).saturating_add(PATIENCE);
/// A vendor that cannot be reached in this time is taken for gone.
pub const CONNECT_TIMEOUT: Duration = PATIENCE;
/// Speech that has fallen so far behind the clock, everything played, is a fault: the caller hears a hole.
pub const BEHIND: Duration = VOICE_PATIENCE;
/// Largest message of a WebSocket: two seconds of 24 kHz audio in base64 and some; a vendor that sends more is broken.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Octets that may wait to be written: about ten seconds of caller audio in base64. More means that nobody reads.
pub const UNSENT_BYTES: usize = 512 * 1024;
/// Octets of an answer of HTTP that is not streamed audio.
pub const ANSWER_BYTES: usize = 1 << 20;
/// Octets of one event of a stream (SSE) without its end.
pub const EVENT_BYTES: usize = 256 * 1024;
/// Octets of an error's body that are read.
pub const ERROR_BYTES: usize = 8 * 1024;
/// Idle connections of HTTP kept per vendor.
pub const HTTP_IDLE_PER_HOST: usize = 32;
/// And for how long.
pub const HTTP_IDLE: Duration = Duration::from_secs(50);
/// Time for the closing handshake of a WebSocket, in the background.
pub const GOODBYE: Duration = Duration::from_secs(2);
/// Silence on a WebSocket after which a ping asks for a sign of life.
pub const PING_AFTER: Duration = Duration::from_secs(5);
/// Silence after which a half-open connection is given up.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);
