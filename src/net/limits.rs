//! Caps of the network side, each with the attack it answers (security class 12), and its waits.

use std::time::Duration;

/// Streams open at one time. Bounds file descriptors and buffers whatever comes in.
pub const CONNECTIONS: usize = 4_096;

/// Streams from one address that only a wide network of a known peer admits: one host must not take all places.
pub const CONNECTIONS_PER_SOURCE: usize = 32;

/// Streams from one address that we have calls or registrations with, or that is a trunk's own: such a peer may open many
/// (one for each worker of a proxy, one for each call), yet not all.
pub const CONNECTIONS_PER_PEER: usize = 1_024;

/// Bytes waiting to be written to one stream. A peer that does not read is cut off instead of filling memory; while half
/// of it waits, nothing more is read from that peer.
pub const SEND_QUEUE_BYTES: usize = 256 * 1024;

/// What one queued message costs besides its bytes, so that many small ones are bounded too.
pub const QUEUED_OVERHEAD_BYTES: usize = 64;

/// Messages read from streams and not yet handled, all streams together; readers wait beyond that, in turn.
pub const STREAM_MESSAGES: usize = 256;

/// Accepted streams waiting for the endpoint's word; beyond that the kernel's backlog holds them.
pub const ACCEPTED: usize = 64;

/// Inbound TLS handshakes at one time: each costs a signature, which is what a handshake flood aims at.
pub const HANDSHAKES: usize = 200;

/// How long an inbound TLS handshake may take.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// How long a connection of ours, its TLS handshake included, may take to open: below the wait after which an INVITE
/// is given up (64·T1), so that the next target gets its turn.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a peer may take nothing of what waits to be written (64·T1): one that never reads would hold its stream for
/// ever.
pub const WRITE_TIME: Duration = Duration::from_secs(32);

/// How long the kernel may keep bytes of ours unacknowledged before the stream is dead (64·T1).
pub const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(32);

/// How long nothing may come by a stream on which a request was left without an answer: then the next one opens another.
/// Longer than the 3.5 s after which a peer says at least 100 (RFC 4320 §4.1), and shorter than any wait for an answer.
pub const SILENCE: Duration = Duration::from_secs(5);

/// Addresses besides its own that one stream stands for. A peer that gives another in each message gains nothing.
pub const ALIASES: usize = 4;

/// Messages of a stream that are searched for such addresses.
pub const ALIAS_MESSAGES: u8 = 8;

/// Streams that broke and whose peers' own addresses are remembered, and errors kept for questions.
pub const REMEMBERED: usize = 1_024;
