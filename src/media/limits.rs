//! Bounds of the media workers, each with the need or attack it answers.

use std::time::Duration;

/// Both directions waiting for whoever records them, in frames of 20 ms: two seconds ride out a slow disk; when it is
/// full further frames are dropped and counted.
pub const TAP_FRAMES: usize = 100;
/// Caller audio waiting for the call, in frames of 20 ms: 640 ms ride out a busy runtime; when it is full further frames are
/// dropped and counted. Every call that listens keeps all of it in memory.
pub const UPLINK_FRAMES: usize = 32;
/// Agent audio waiting to be sent, in frames of 20 ms: 1.04 s, five times as long as a call may look away from it, so that
/// the line never starves. Depth costs no barge-in latency, as a flush drops everything at once, but memory on every call.
pub const DOWNLINK_FRAMES: usize = 52;
/// As [`UPLINK_FRAMES`] for a call that takes audio in every turn ([`super::LegMode::Relay`]): 400 ms.
pub const RELAY_UPLINK_FRAMES: usize = 20;
/// As [`DOWNLINK_FRAMES`] for a call that brings audio in every turn: 320 ms, three times as long as such a call looks away
/// while its bot says nothing. What is to be said later waits above, in the call.
pub const RELAY_DOWNLINK_FRAMES: usize = 16;
/// Ring slots kept for the ends of turns, so that [`super::Downlink::end_of_turn`] does not fail on a full ring.
pub const DOWNLINK_RESERVE: usize = 8;
/// Events waiting for the call: 3 s of a caller pressing keys as fast as possible.
pub const EVENTS: usize = 64;
/// Frames of 20 ms between two bridged legs: 320 ms, after which a worker that stands still costs audio, not memory.
pub const BRIDGE_FRAMES: usize = 16;
/// Datagrams of a handshake waiting for the call: a flight has three or four; a flood of them finds no more room.
pub const HANDSHAKE_DATAGRAMS: usize = 8;
/// Commands waiting for the worker; re-INVITEs come far slower than its 20 ms turns.
pub const COMMANDS: usize = 32;
/// Legs one worker serves. A core carries about 1,500 agent calls; more would only make all of them late.
pub const LEGS_PER_WORKER: usize = 2_048;
/// Datagrams read from one socket per turn: a flood of 10,000 packets/s brings 200 per turn, and the real
/// peer's packet must still be found among them; beyond, the flood is left in the kernel.
pub const DATAGRAMS_PER_TURN: usize = 256;
/// Largest datagram kept: what fits into a frame of Ethernet. 60 ms of G.711 is 480 octets, Opus has up to 960, and a
/// flight of DTLS fills datagrams.
pub const MAX_DATAGRAM: usize = 1_500;
/// Slots of the wheel; each is 20 ms ÷ 10 = 2 ms.
pub const SLOTS: usize = 10;
/// Slots between the two halves of a turn of a leg whose call listens: 10 ms, in which an answer to what was just heard
/// comes back from a call, its bot in another process included. One that takes longer leaves 20 ms later.
pub const SPEAK_AFTER: usize = 5;
/// Slots between the beat of a leg whose call keeps time ([`super::Leg::keep_time`]) and what it says next: 4 ms, in which
/// the call reads what its bot has sent.
pub const BEAT_BEFORE: usize = 2;
/// Legs that slots are filled up to before the wheel uses more of them: to wake up for a slot costs about as much as a tenth of
/// serving so many.
pub const LEGS_PER_SLOT: usize = 50;
/// One slot of the wheel.
pub const SLOT: Duration = Duration::from_millis(2);
/// One turn of the wheel.
pub const TURN: Duration = Duration::from_millis(20);
