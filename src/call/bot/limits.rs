//! Bounds of a call with a bot, each with the attack or need that it answers.

use std::time::Duration;

/// A connection on which nothing came for this long is asked for a sign of life (RFC 6455 §5.5.2).
pub(super) const PING_AFTER: Duration = Duration::from_secs(5);
/// A connection on which nothing came for this long is dead: TCP alone notices a pulled cable after a quarter of an hour.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(15);
/// A bot that has read nothing for this long has stalled.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Octets that wait to be written beside caller audio: marks and keys that a stalled bot does not read.
pub(super) const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Read buffer of one connection: a message of 20 ms and its header. Larger ones make it grow.
pub(super) const READ_BUFFER_BYTES: usize = 1024;
/// Octets that the system is asked for at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Caller audio is written together up to this size.
pub(super) const WRITE_CHUNK_BYTES: usize = 8 * 1024;
/// Messages a bot may send at once: a minute of audio in pieces of 20 ms.
pub(super) const MESSAGES_BURST: f64 = 4_000.0;
/// Messages a bot may send each second, in the long run: twenty times what live audio takes.
pub(super) const MESSAGES_PER_SECOND: f64 = 1_000.0;
/// Messages that cannot be read, after which a bot speaks another language: its connection is closed.
pub(super) const FAULTS: u32 = 50;
/// Audio beyond a full queue is dropped; after this many times the queue, the bot is not listening and is cut off.
pub(super) const QUEUES_DROPPED: u64 = 3;
/// Marks that wait to be played.
pub(super) const MARKS: usize = 1_024;
/// A turn without more audio is over when everything was played for this long.
pub(super) const DRY_AFTER: Duration = Duration::from_millis(80);
/// How often the shallow ring of the media worker is topped up while the bot speaks.
pub(super) const PUMP_INTERVAL: Duration = Duration::from_millis(100);
/// How soon a mark is looked at when nothing else wakes the call.
pub(super) const MARK_INTERVAL: Duration = Duration::from_millis(20);
/// Frames of 20 ms with voice, in a row, that count as the caller's speaking.
pub(super) const ONSET_FRAMES: u32 = 6;
/// Waits between attempts to reach a bot again, the first and the longest.
pub(super) const RECONNECT_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A connection that held this long starts the count of attempts anew.
pub(super) const STEADY_AFTER: Duration = Duration::from_secs(10);
/// How long a polite end of a connection may take.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
/// Voices at work for one call's `say`: synthesis is dear, and a bot could ask for it in a loop.
pub(super) const SAYING: usize = 4;
