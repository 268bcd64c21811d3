//! The last audio of a call in the vendor's format, addressed by its place since the call began.

use std::collections::VecDeque;
use std::ops::Range;

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
}
