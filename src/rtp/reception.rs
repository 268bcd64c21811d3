//! Loss and jitter of a received stream (RFC 3550 §6.4.1, appendices A.1, A.3 and A.8).

use std::time::{Duration, Instant};

/// Statistics of one source. Feed it every packet the source lock admits; start a fresh one when the source
/// changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reception {
    first: Option<u16>,
    highest: u32,
    received: u32,
    last: Option<(Instant, u32)>,
    /// Jitter in ticks, times 16 as in appendix A.8.
    jitter_q4: u32,
    reported: (u32, u32),
}

impl Reception {
    /// Counts a packet. `timestamp` is of the codec's clock of 8 kHz; pass `None` for telephone-events,
    /// whose timestamp stands still.
    pub fn record(&mut self, arrival: Instant, sequence: u16, timestamp: Option<u32>) {
        self.received = self.received.wrapping_add(1);
        if self.first.is_none() {
            self.first = Some(sequence);
            self.highest = u32::from(sequence);
        } else {
            let ahead = sequence.wrapping_sub(self.highest as u16);
            if ahead < 0x8000 {
                self.highest = self.highest.wrapping_add(u32::from(ahead));
            }
        }
        let Some(timestamp) = timestamp else { return };
        if let Some((last_arrival, last_timestamp)) = self.last {
            let elapsed_us = arrival.saturating_duration_since(last_arrival).as_micros() as i64;
            let transit = elapsed_us * 8 / 1_000 - i64::from(timestamp.wrapping_sub(last_timestamp) as i32);
            // A jump of a second is a new talk spurt or a restarted clock, not jitter.
            if transit.unsigned_abs() < 8_000 {
                let jitter = i64::from(self.jitter_q4);
                self.jitter_q4 = (jitter + transit.abs() - ((jitter + 8) >> 4)).max(0) as u32;
            }
        }
        self.last = Some((arrival, timestamp));
    }

    /// Interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        Duration::from_micros(u64::from(self.jitter_q4) * 125 / 16)
    }

    /// Interarrival jitter in ticks of the clock, as a report block carries it.
    #[must_use]
    pub fn jitter_ticks(&self) -> u32 {
        self.jitter_q4 >> 4
    }

    /// Packets received, duplicates included.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Highest sequence number with its count of wraps in the upper half.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// Packets that should have come.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.first.map_or(0, |first| self.highest.wrapping_sub(u32::from(first)).wrapping_add(1))
    }

    /// Packets missing so far; never below zero although duplicates count as received.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.received)
    }

    /// Fraction lost since the last call, in 256ths (RFC 3550 appendix A.3).
    pub fn fraction_lost(&mut self) -> u8 {
        let (expected, received) = (self.expected(), self.received);
        let interval = expected.wrapping_sub(self.reported.0);
        let lost = interval.saturating_sub(received.wrapping_sub(self.reported.1));
        self.reported = (expected, received);
        if interval == 0 { 0 } else { (u64::from(lost) * 256 / u64::from(interval)).min(255) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_counts_gaps_across_the_wrap_and_forgives_late_packets() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for sequence in [65_533, 65_534, 0, 1, 4, 3] {
            reception.record(now, sequence, None);
        }
        assert_eq!((reception.expected(), reception.lost()), (8, 2));
        assert_eq!(reception.fraction_lost(), 64);
        reception.record(now, 2, None);
        assert_eq!(reception.lost(), 1);
        assert_eq!(reception.fraction_lost(), 0);
    }

    #[test]
    fn jitter_converges_to_the_mean_deviation() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in 0..500u32 {
            // Alternately on time and 10 ms late: successive transits differ by 10 ms.
            let late = if n % 2 == 0 { 0 } else { 10 };
            let arrival = start + Duration::from_millis(u64::from(n * 20 + late));
            reception.record(arrival, n as u16, Some(n * 160));
        }
        assert!((9_000..=10_500).contains(&reception.jitter().as_micros()), "{:?}", reception.jitter());
    }
}
