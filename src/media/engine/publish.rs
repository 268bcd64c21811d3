//! The figures of a leg, for whoever reads them on the call's side.

use super::Engine;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Engine {
    pub(super) fn publish(&mut self) {
        let shared = &self.shared.stats;
        let sends_to = self.receiver.destination().filter(|_| self.sent > 0);
        let addresses = [sends_to, self.receiver.hears_from(), self.receiver.counters.refused_from];
        let cells = [&shared.sends_to, &shared.hears_from, &shared.refused_from];
        for ((shown, address), cell) in self.shown.iter_mut().zip(addresses).zip(cells) {
            if let Some(address) = address.filter(|_| *shown != address) {
                *shown = Some(address);
                cell.store(address);
            }
        }
        let (stats, counters) = (&self.shared.stats, &self.receiver.counters);
        let reception = &self.receiver.reception;
        for (shown, value) in [
            (&stats.sent, self.sent),
            (&stats.received, counters.packets),
            (&stats.lost, counters.lost_before + u64::from(reception.lost())),
            (&stats.late, counters.late),
            (&stats.duplicated, counters.duplicated),
            (&stats.rejected, counters.rejected),
            (&stats.concealed_ms, counters.concealed_ms),
            (&stats.starved, self.player.starved),
            (&stats.uplink_dropped, self.uplink_dropped),
            (&stats.send_errors, self.send_errors),
            (&stats.srtp_failures, self.srtp_failures + counters.unauthentic),
            (&stats.bridge_dropped, self.bridge.as_ref().map_or(0, |bridge| bridge.dropped)),
        ] {
            shown.store(value, Ordering::Relaxed);
        }
        let micros = |d: Duration| u32::try_from(d.as_micros()).unwrap_or(u32::MAX);
        stats.jitter_us.store(micros(reception.jitter()), Ordering::Relaxed);
        stats.round_trip_us.store(self.receiver.round_trip.map_or(0, micros), Ordering::Relaxed);
        stats.far_loss.store(u32::from(self.receiver.far_loss.unwrap_or(0)), Ordering::Relaxed);
        stats.delay_us.store(micros(self.receiver.held), Ordering::Relaxed);
    }
}
