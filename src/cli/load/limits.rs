//! Bounds of the load generator, each with its reason.

use std::time::Duration;

/// Calls at the same time: the generator's own state is about 10 kB for each, and one thread sends their audio.
pub const CALLS: usize = 10_000;
/// New calls each second: far above what a server that is worth measuring takes, far below what floods a network card.
pub const RATE: f64 = 2_000.0;
/// Time between two packets of a call.
pub const PACKET: Duration = Duration::from_millis(20);
/// The 20 ms are cut into this many slices, and each call has its slice: packets leave evenly, not in bursts.
pub const SLICES: u32 = 20;
/// Packets of one call whose time of sending is remembered: 5 s.
pub const REMEMBERED: usize = 256;
/// A marked packet that is not back after this many packets, one second, is lost.
pub const LOST_AFTER: u32 = 50;
/// Packets between two tones: one second, so that a round trip below that is unambiguous.
pub const TONE_EVERY: u32 = 50;
/// An INVITE without a final response after this long has failed (RFC 3261's 64·T1 for one that has not even a 100).
pub const ANSWER: Duration = Duration::from_secs(32);
/// A call rings at most this long: RFC 3261 lets it ring for three minutes, a load test need not.
pub const RINGING: Duration = Duration::from_secs(60);
/// A BYE without a response after this long has failed.
pub const GOODBYE: Duration = Duration::from_secs(8);
/// SIP's first retransmission interval (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// SIP's longest retransmission interval of a request other than INVITE (RFC 3261 §17.1.2.1).
pub const T2: Duration = Duration::from_secs(4);
/// Time between two hang-ups at the end: all at once would measure the burst, not the server.
pub const HANG_UP_GAP: Duration = Duration::from_millis(2);
/// Largest SIP datagram.
pub const SIP_DATAGRAM: usize = 65_535;
/// Receive buffer of a socket: the audio of 10,000 calls for 40 ms, should the thread be late.
pub const RECEIVE_BUFFER: usize = 8 << 20;
/// Longest caller speech: a minute. It is kept encoded, once for all calls.
pub const SPEECH: Duration = Duration::from_secs(60);
