//! Caps of a call's speech-to-text stream, each with what it answers.

use std::time::Duration;

/// Audio kept to be told again to a fresh connection; also the longest pre-roll.
pub const RING: Duration = Duration::from_secs(15);
/// From the vendor having been asked for all words to an answer with what is known.
pub const FLUSH_TIMEOUT: Duration = Duration::from_millis(700);
/// From then on, to the end of all hope: until then the next answer of a vendor that answers one request after the other is
/// taken for that one.
pub const LATE: Duration = Duration::from_secs(3);
/// From [`finish`](crate::providers::SttStream::finish) to its answer, whatever happens: a caller is waiting. Without a
/// connection that takes audio, [`PATIENCE`](crate::providers::limits::PATIENCE).
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_300);
/// Audio sent after a vendor's end of turn in which no word can have been begun and ended: the voice detector, which asks
/// for the words, is itself later than that.
pub const SETTLED: Duration = Duration::from_millis(300);
/// Connections that may break within [`RECOVERY`] before the vendor is given up.
pub const RECONNECTS: u32 = 2;
/// After so long without a break, those before are forgotten.
pub const RECOVERY: Duration = Duration::from_secs(30);
/// Wait before the second attempt in a row; the first is made at once.
pub const RECONNECT_WAIT: Duration = Duration::from_millis(150);
/// Audio of a segment after which a vendor that answers every request must have said something; its silence to less than
/// that is no failure of the connection, but another vendor is asked where there is one.
pub const ENOUGH_AUDIO: Duration = Duration::from_secs(1);
/// Requests for words that may stay without any message from a vendor that answers only to words.
pub const SILENT_FINISHES: u32 = 2;
/// Most octets of words in one segment, against a vendor that repeats itself for ever.
pub const SEGMENT_TEXT_BYTES: usize = 64 * 1024;
/// Pieces of audio between the call and the stream's task: ten seconds of 20 ms. More means that the task does not run.
pub const INBOX_PIECES: usize = 500;
/// Audio that may wait between the two while nobody is listened to: it is only kept for the next segment's pre-roll, and
/// what begins a segment fetches it at once.
pub const LULL: Duration = Duration::from_millis(500);
/// Events waiting for the call. It reads them at once; when it does not, partials are dropped.
pub const EVENTS: usize = 64;
/// Places of [`EVENTS`] kept for what must not be dropped.
pub const EVENTS_KEPT: usize = 16;
