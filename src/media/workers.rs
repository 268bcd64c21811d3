//! The worker threads as the server holds them.

use super::{Leg, LegMode, MediaConfig, MediaError};
use crate::base::Random;
use std::time::Duration;

/// What the workers have done since they were started.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats {
    /// Legs served at this moment, per worker.
    pub legs: Vec<usize>,
    /// The priority each worker got: `realtime 5`, `nice -11`, `normal`.
    pub priority: Vec<String>,
    /// Slots run with at least one leg.
    pub slots: u64,
    /// Of those, begun more than 2 ms late.
    pub late_slots: u64,
    /// Turns of 20 ms that were skipped because a worker was held up for longer.
    pub missed_turns: u64,
    /// The worst lateness of a slot.
    pub worst_late: Duration,
    /// CPU time of the worker threads.
    pub cpu: Duration,
    /// RTP ports in use.
    pub ports_in_use: usize,
    /// RTP ports in quarantine.
    pub ports_quarantined: usize,
}

/// The media threads. Dropping it stops them, after which no leg sends or receives any more.
#[derive(Debug)]
pub struct Workers {}

impl Workers {
    /// Starts the threads and logs the priority they got.
    ///
    /// # Errors
    /// The port range is unusable, or the system refuses a thread.
    pub fn start(_config: MediaConfig, _random: Random) -> Result<Self, MediaError> {
        todo!()
    }

    /// Opens a leg on the least busy worker: binds a random free port. Nothing is sent before
    /// [`Leg::configure`].
    ///
    /// # Errors
    /// No port is free, the system refuses a socket, or every worker is full.
    pub fn open(&self, _mode: LegMode) -> Result<Leg, MediaError> {
        todo!()
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        todo!()
    }
}
