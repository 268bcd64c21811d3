//! Packet numbers: the rollover counter (RFC 3711 §3.3.1, appendix A) and the replay window (§3.3.2).

/// Packets below the highest one whose arrival is remembered. RFC 3711 demands 64; more answers reordering, not attacks.
pub(super) const REPLAY_WINDOW: u64 = 128;

/// Which of the last [`REPLAY_WINDOW`] numbers were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl ReplayWindow {
    /// Whether a packet of this number may still come.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        match highest.checked_sub(index) {
            None => true,
            Some(behind) if behind < REPLAY_WINDOW => self.seen >> behind & 1 == 0,
            Some(_) => false,
        }
    }

    /// Remembers a number, which must be of an authenticated packet.
    pub(super) fn record(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if index >= highest {
            let ahead = index - highest;
            self.seen = if ahead < REPLAY_WINDOW { self.seen << ahead } else { 0 } | 1;
            self.highest = Some(index);
        } else if highest - index < REPLAY_WINDOW {
            self.seen |= 1 << (highest - index);
        }
    }

    /// The highest number seen.
    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// The number a packet most likely has: the sequence number with the rollover counter that brings it nearest to the highest
/// number so far. A number before the first turn of the counter does not exist: `None`.
pub(super) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let (rollovers, last) = (highest >> 16, highest as u16);
    let rollovers = if last < 0x8000 && sequence.wrapping_sub(last) > 0x8000 && sequence > last {
        rollovers.checked_sub(1)?
    } else if last >= 0x8000 && last - 0x8000 > sequence {
        rollovers + 1
    } else {
        rollovers
    };
    Some(rollovers << 16 | u64::from(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_appendix() {
        for (highest, sequence, expected) in [
            (0, 0, Some(0)),
            (5, 65_535, None),
            (0x1_0005, 65_535, Some(0xFFFF)),
            (0xFFFF, 0, Some(0x1_0000)),
            (0x1_FFFE, 3, Some(0x2_0003)),
            (0x2_7FFF, 0xFFFF, Some(0x2_FFFF)),
            (0x2_7FFE, 0xFFFF, Some(0x1_FFFF)),
            (0x2_8000, 0, Some(0x2_0000)),
            (0x2_8001, 0, Some(0x3_0000)),
        ] {
            assert_eq!(estimate(highest, sequence), expected, "{highest:x} {sequence:x}");
        }
    }

    #[test]
    fn each_number_is_fresh_once_and_never_below_the_window() {
        let mut window = ReplayWindow::default();
        for index in [1_000, 1_001, 1_128, 1_003, 1_255, 1_129] {
            assert!(window.is_fresh(index), "{index}");
            window.record(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(!window.is_fresh(1_127), "128 behind the highest is too old to tell");
        assert!(!window.is_fresh(1_128) && !window.is_fresh(1_129), "seen, and still in the window");
        assert!(window.is_fresh(1_130) && window.is_fresh(1_254) && window.is_fresh(1_256));
        window.record(1 << 40);
        assert!(!window.is_fresh(1_255) && window.is_fresh((1 << 40) - 1));
    }
}
