//! The last audio of a call in the vendor's format, addressed by its place since the call began.

use std::collections::VecDeque;
use std::ops::Range;

/// Memory beyond so many times what is held is given back.
const SPARE: usize = 4;

/// Octets by absolute place. Of more than its capacity, the end is kept.
#[derive(Debug)]
pub(super) struct Ring {
    octets: VecDeque<u8>,
    begin: u64,
    capacity: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { octets: VecDeque::new(), begin: 0, capacity }
    }

    /// The first place that is still there.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// The place after the last.
    pub(super) fn end(&self) -> u64 {
        self.begin + self.octets.len() as u64
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.octets.extend(octets);
        let excess = self.octets.len().saturating_sub(self.capacity);
        self.octets.drain(..excess);
        self.begin += excess as u64;
    }

    /// Forgets what is before `place`, and gives back the memory of a stretch that was longer.
    pub(super) fn forget_before(&mut self, place: u64) {
        let excess = usize::try_from(place.saturating_sub(self.begin)).unwrap_or(usize::MAX).min(self.octets.len());
        self.octets.drain(..excess);
        self.begin += excess as u64;
        if self.octets.capacity() > self.octets.len().saturating_mul(SPARE) {
            self.octets.shrink_to(self.octets.len() * 2);
        }
    }

    /// A copy of what is there of a range.
    pub(super) fn copy(&self, range: Range<u64>) -> Vec<u8> {
        let place =
            |at: u64| usize::try_from(at.saturating_sub(self.begin)).unwrap_or(usize::MAX).min(self.octets.len());
        let (from, to) = (place(range.start), place(range.end));
        self.octets.range(from..to.max(from)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_keep_their_place_when_the_oldest_leave() {
        let mut ring = Ring::new(4);
        ring.push(&[0, 1, 2]);
        ring.push(&[3, 4, 5]);
        assert_eq!((ring.begin(), ring.end()), (2, 6));
        assert_eq!(ring.copy(0..4), [2, 3]);
        assert_eq!(ring.copy(5..9), [5]);
        assert_eq!(ring.copy(0..1), [] as [u8; 0], "it has left");
    }

    #[test]
    fn what_nobody_needs_any_more_gives_its_memory_back() {
        let mut ring = Ring::new(100_000);
        (0..500).for_each(|_| ring.push(&[7; 160]));
        ring.forget_before(79_000);
        assert_eq!((ring.begin(), ring.end()), (79_000, 80_000));
        assert!(ring.octets.capacity() <= 4_000, "{}", ring.octets.capacity());
        ring.forget_before(1);
        assert_eq!((ring.begin(), ring.copy(79_999..80_001)), (79_000, vec![7]));
        ring.forget_before(u64::MAX);
        assert_eq!(ring.begin(), 80_000);
    }
}
