//! Caps of the connections to vendors, each with what it answers.

use std::time::Duration;

/// A vendor that cannot be reached in this time is taken for gone: the fallback must be in use within 1.5 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_200);
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
