//! The counters of a leg, readable by whoever does not hold it.

use super::leg::LegStats;
use super::shared::{Counters, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Reads a leg's counters from any thread, also after the leg is gone: they then stay as they were last.
#[derive(Clone, Debug)]
pub struct LegMeter(Arc<Shared>);

impl LegMeter {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> LegStats {
        read(&self.0.stats)
    }
}

/// The counters as they stand. Each is right by itself; two of them may be a packet apart.
pub(super) fn read(counters: &Counters) -> LegStats {
    let c = counters;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let micros = |counter: &AtomicU32| Duration::from_micros(u64::from(counter.load(Ordering::Relaxed)));
    LegStats {
        sent: count(&c.sent),
        received: count(&c.received),
        lost: count(&c.lost),
        late: count(&c.late),
        duplicated: count(&c.duplicated),
        rejected: count(&c.rejected),
        concealed: Duration::from_millis(count(&c.concealed_ms)),
        starved: count(&c.starved),
        uplink_dropped: count(&c.uplink_dropped),
        events_dropped: count(&c.events_dropped),
        send_errors: count(&c.send_errors),
        srtp_failures: count(&c.srtp_failures),
        jitter: micros(&c.jitter_us),
        delay: micros(&c.delay_us),
        round_trip: micros(&c.round_trip_us),
        far_loss: c.far_loss.load(Ordering::Relaxed) as f32 / 256.0,
        far_jitter: micros(&c.far_jitter_us),
        peer_left: c.peer_left.load(Ordering::Relaxed),
        mos: f32::from_bits(c.mos.load(Ordering::Relaxed)),
        bridge_dropped: count(&c.bridge_dropped),
        sends_to: c.sends_to.load(),
        hears_from: c.hears_from.load(),
        refused_from: c.refused_from.load(),
    }
}
