//! What both halves of a leg, the call's and the worker's, read and write without locks.

use futures_util::task::AtomicWaker;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

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
    /// The call wants to hear of each turn, shortly before the leg speaks.
    pub(super) keeps_time: AtomicBool,
    /// Nobody asks whether the caller's frames are voiced.
    pub(super) voice_is_idle: AtomicBool,
    /// It is that time.
    pub(super) beat: AtomicBool,
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
    pub(super) srtp_failures: AtomicU64,
    pub(super) jitter_us: AtomicU32,
    pub(super) delay_us: AtomicU32,
    pub(super) round_trip_us: AtomicU32,
    pub(super) far_loss: AtomicU32,
    pub(super) far_jitter_us: AtomicU32,
    pub(super) peer_left: AtomicBool,
    /// The bits of an `f32`.
    pub(super) mos: AtomicU32,
    pub(super) bridge_dropped: AtomicU64,
    pub(super) sends_to: SharedAddress,
    pub(super) hears_from: SharedAddress,
    pub(super) refused_from: SharedAddress,
}

/// Reads of an address before a writer that never rests is given up on; it is one figure among many.
const ADDRESS_READS: usize = 16;

/// An address that one thread writes and others read, without locks: a sequence lock (odd while it is written).
#[derive(Debug, Default)]
pub(super) struct SharedAddress {
    version: AtomicU32,
    /// Upper and lower half of the IPv6 (or mapped IPv4) address, and the port; port 0 is no address.
    words: [AtomicU64; 3],
}

impl SharedAddress {
    /// Writes it. Only the leg's worker does.
    pub(super) fn store(&self, address: SocketAddr) {
        let bits = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip([(bits >> 64) as u64, bits as u64, u64::from(address.port())]) {
            word.store(value, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// The address last written.
    pub(super) fn load(&self) -> Option<SocketAddr> {
        for _ in 0..ADDRESS_READS {
            let before = self.version.load(Ordering::Acquire);
            let [upper, lower, port] =
                std::array::from_fn(|n| self.words.get(n).map_or(0, |w| w.load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                let ip = Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower));
                return (port != 0).then(|| SocketAddr::new(IpAddr::V6(ip).to_canonical(), port as u16));
            }
        }
        None
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let shared = SharedAddress::default();
        assert_eq!(shared.load(), None);
        for address in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            shared.store(address.parse().unwrap());
            assert_eq!(shared.load(), Some(address.parse().unwrap()));
        }
    }
}
