//! The figures of a leg, for whoever reads them on the call's side.

use super::Engine;
use crate::media::LegMedia;
use crate::rtp::quality::{Impairment, Quality, mouth_to_ear};
use crate::sdp::Codec;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Engine {
    pub(super) fn publish(&mut self, media: &LegMedia) {
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
        let far_jitter = self.receiver.far_jitter_ticks.map_or(0, |ticks| {
            u32::try_from(u64::from(ticks) * 1_000_000 / u64::from(media.codec.clock_rate())).unwrap_or(u32::MAX)
        });
        stats.far_jitter_us.store(far_jitter, Ordering::Relaxed);
        stats.peer_left.store(self.receiver.goodbye, Ordering::Relaxed);
        stats.mos.store(self.mos(media).to_bits(), Ordering::Relaxed);
    }

    /// What a listener on our side would say; zero before anything was heard.
    fn mos(&self, media: &LegMedia) -> f32 {
        if self.receiver.counters.packets == 0 {
            return 0.0;
        }
        let codec = match media.codec {
            Codec::Pcmu | Codec::Pcma => Impairment::G711,
            Codec::G722 => Impairment::G722,
            Codec::Opus if media.opus.fec => Impairment::OPUS_REDUNDANT,
            Codec::Opus => Impairment::OPUS,
        };
        let ptime = Duration::from_millis(u64::from(media.ptime_ms));
        let delay = mouth_to_ear(self.receiver.round_trip, self.receiver.held, ptime);
        Quality::estimate(codec, self.runs.loss(), self.runs.burst_ratio(), delay).mos as f32
    }
}
