//! Loss and jitter of a received stream (RFC 3550 §6.4.1, appendices A.1, A.3 and A.8).

use std::time::{Duration, Instant};

/// Statistics of one source. Feed it every packet the source lock admits; start a fresh one when the source
/// changes.
#[derive(Clone, Copy, Debug)]
pub struct Reception {
    clock_rate: u32,
    first: Option<u16>,
    highest: u32,
    received: u32,
    last: Option<(Instant, u32)>,
    /// Jitter in ticks, times 16 as in appendix A.8.
    jitter_q4: u32,
    reported: (u32, u32),
}

impl Default for Reception {
    /// On a clock of 8 kHz.
    fn default() -> Self {
        Self::at(8_000)
    }
}

impl Reception {
    /// Of a source whose timestamps tick `clock_rate` times per second.
    #[must_use]
    pub const fn at(clock_rate: u32) -> Self {
        Self { clock_rate, first: None, highest: 0, received: 0, last: None, jitter_q4: 0, reported: (0, 0) }
    }

    /// The stream goes on with a codec of another clock: what its jitter was stays the same time.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            let ticks = u64::from(self.jitter_q4) * u64::from(clock_rate) / u64::from(self.clock_rate.max(1));
            self.jitter_q4 = u32::try_from(ticks).unwrap_or(u32::MAX);
            (self.clock_rate, self.last) = (clock_rate, None);
        }
    }

    /// Counts a packet. `timestamp` is of the codec's clock; pass `None` for telephone-events, whose timestamp stands
    /// still.
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
            let rate = i64::from(self.clock_rate);
            let transit =
                elapsed_us.saturating_mul(rate) / 1_000_000 - i64::from(timestamp.wrapping_sub(last_timestamp) as i32);
            // A jump of a second is a new talk spurt or a restarted clock, not jitter.
            if transit.abs() < rate {
                let jitter = i64::from(self.jitter_q4);
                self.jitter_q4 = (jitter + transit.abs() - ((jitter + 8) >> 4)).max(0) as u32;
            }
        }
        self.last = Some((arrival, timestamp));
    }

    /// Interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        Duration::from_micros(u64::from(self.jitter_q4) * 62_500 / u64::from(self.clock_rate.max(1)))
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
    fn jitter_converges_to_the_mean_deviation_on_every_clock() {
        for rate in [8_000, 16_000, 48_000] {
            let start = Instant::now();
            let mut reception = Reception::at(rate);
            for n in 0..500u32 {
                // Alternately on time and 10 ms late: successive transits differ by 10 ms.
                let late = if n % 2 == 0 { 0 } else { 10 };
                let arrival = start + Duration::from_millis(u64::from(n * 20 + late));
                reception.record(arrival, n as u16, Some(n * rate / 50));
            }
            assert!((9_000..=10_500).contains(&reception.jitter().as_micros()), "{:?}", reception.jitter());
            let ticks = rate / 100;
            assert!(
                (ticks * 9 / 10..=ticks * 21 / 20).contains(&reception.jitter_ticks()),
                "{}",
                reception.jitter_ticks()
            );
            reception.set_clock_rate(8_000);
            assert!((9_000..=10_500).contains(&reception.jitter().as_micros()), "{:?}", reception.jitter());
        }
    }
}
