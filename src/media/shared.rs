//! What both halves of a leg, the call's and the worker's, read and write without locks.

use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Turns whose count of played samples stays readable after they ended.
const PLAYED_TURNS: usize = 8;

/// Atomics of one leg.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Woken when the uplink or the events have something.
    pub(super) waker: AtomicWaker,
    /// The call dropped its half.
    pub(super) closed: AtomicBool,
    /// All audio of turns below this number is void.
    pub(super) flushed_below: AtomicU64,
    /// Counts flushes; a tone queued under an older count is void.
    pub(super) tones: AtomicU32,
    /// The call waits for the waker.
    pub(super) waiting: AtomicBool,
    /// No more audio will come of turns below this number.
    pub(super) ended_below: AtomicU64,
    /// `turn << 32 | samples sent`, by turn modulo [`PLAYED_TURNS`].
    played: [AtomicU64; PLAYED_TURNS],
    pub(super) stats: Counters,
}

/// Counters of one leg, written by its worker only.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) concealed_ms: AtomicU64,
    pub(super) starved: AtomicU64,
    pub(super) uplink_dropped: AtomicU64,
    pub(super) events_dropped: AtomicU64,
    pub(super) send_errors: AtomicU64,
    pub(super) jitter_us: AtomicU32,
    pub(super) delay_us: AtomicU32,
    pub(super) round_trip_us: AtomicU32,
    pub(super) far_loss: AtomicU32,
}

impl Shared {
    /// Records how many samples of `turn` were sent.
    pub(super) fn store_played(&self, turn: u32, samples: u32) {
        if let Some(slot) = self.played.get(turn as usize % PLAYED_TURNS) {
            slot.store(u64::from(turn) << 32 | u64::from(samples), Ordering::Release);
        }
    }

    /// How many samples of `turn` were sent; 0 for a turn that never played or is long over.
    pub(super) fn played(&self, turn: u32) -> u64 {
        let packed = self.played.get(turn as usize % PLAYED_TURNS).map_or(0, |slot| slot.load(Ordering::Acquire));
        if (packed >> 32) as u32 == turn { packed & u64::from(u32::MAX) } else { 0 }
    }
}
