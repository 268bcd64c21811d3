//! RTP ports: random, even, and not given away again at once.

use super::MediaError;
use crate::base::Random;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The ports of a range and what they are doing. Pure: time and randomness are given.
#[derive(Debug)]
pub struct PortPool {
    free: Vec<u16>,
    quarantined: VecDeque<(Instant, u16)>,
    in_use: usize,
    quarantine: Duration,
}

impl PortPool {
    /// All even ports of `range` whose odd neighbour above lies in it too.
    ///
    /// # Errors
    /// There is none.
    pub fn new(range: RangeInclusive<u16>, quarantine: Duration) -> Result<Self, MediaError> {
        let free: Vec<u16> =
            range.clone().filter(|port| *port != 0 && port % 2 == 0 && range.contains(&(port + 1))).collect();
        if free.is_empty() {
            return Err(MediaError::EmptyRange(*range.start(), *range.end()));
        }
        Ok(Self { free, quarantined: VecDeque::new(), in_use: 0, quarantine })
    }

    /// A random free port; `None` when all are in use or in quarantine.
    pub fn take(&mut self, now: Instant, random: &mut Random) -> Option<u16> {
        while let Some((until, port)) = self.quarantined.front().copied() {
            if until > now {
                break;
            }
            self.quarantined.pop_front();
            self.free.push(port);
        }
        if self.free.is_empty() {
            return None;
        }
        let port = self.free.swap_remove(random.below(self.free.len() as u64) as usize);
        self.in_use += 1;
        Some(port)
    }

    /// Takes a port back. It is free again after the quarantine.
    pub fn give_back(&mut self, now: Instant, port: u16) {
        self.in_use = self.in_use.saturating_sub(1);
        self.quarantined.push_back((now + self.quarantine, port));
    }

    /// Ports in use and in quarantine.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.in_use, self.quarantined.len())
    }
}

/// The pool as legs share it.
#[derive(Clone, Debug)]
pub(super) struct Ports(Arc<Mutex<PortPool>>);

impl Ports {
    pub(super) fn new(pool: PortPool) -> Self {
        Self(Arc::new(Mutex::new(pool)))
    }

    /// Runs `f` on the pool. A panic elsewhere leaves the pool whole, so poisoning is ignored.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut PortPool) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn lease(&self, port: u16) -> PortLease {
        PortLease { ports: self.clone(), port }
    }
}

/// A port of a living call. Dropping it starts the quarantine.
#[derive(Debug)]
pub(super) struct PortLease {
    ports: Ports,
    port: u16,
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let now = Instant::now();
        self.ports.with(|pool| pool.give_back(now, self.port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn pool(range: RangeInclusive<u16>) -> PortPool {
        PortPool::new(range, Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn only_even_ports_with_their_odd_neighbour_are_given() {
        let (mut pool, mut random) = (pool(10_001..=10_010), Random::seeded(1));
        let now = Instant::now();
        let taken: HashSet<u16> = std::iter::from_fn(|| pool.take(now, &mut random)).collect();
        assert_eq!(taken, HashSet::from([10_002, 10_004, 10_006, 10_008]));
        assert_eq!(pool.counts(), (4, 0));
    }

    #[test]
    fn a_range_without_a_pair_is_an_error() {
        for range in [9..=9, 8..=8, 7..=8, RangeInclusive::new(9, 3), 0..=1] {
            assert!(matches!(PortPool::new(range, Duration::ZERO), Err(MediaError::EmptyRange(..))));
        }
    }

    #[test]
    fn a_port_rests_for_the_quarantine() {
        let (mut pool, mut random, now) = (pool(10_000..=10_001), Random::seeded(1), Instant::now());
        assert_eq!(pool.take(now, &mut random), Some(10_000));
        pool.give_back(now, 10_000);
        assert_eq!(pool.take(now + Duration::from_millis(4_999), &mut random), None);
        assert_eq!(pool.take(now + Duration::from_secs(5), &mut random), Some(10_000));
    }

    #[test]
    fn ten_thousand_calls_leak_no_port() {
        let (mut pool, mut random) = (pool(16_384..=16_583), Random::seeded(1));
        let mut now = Instant::now();
        let mut open = VecDeque::new();
        for call in 0..10_000u64 {
            now += Duration::from_millis(100);
            open.push_back(pool.take(now, &mut random).unwrap_or_else(|| panic!("no port for call {call}")));
            if open.len() > 40 {
                pool.give_back(now, open.remove(random.below(40) as usize).unwrap());
            }
            assert_eq!(open.iter().collect::<HashSet<_>>().len(), open.len(), "a port was given twice");
        }
        while let Some(port) = open.pop_front() {
            pool.give_back(now, port);
        }
        now += Duration::from_secs(5);
        assert_eq!(std::iter::from_fn(|| pool.take(now, &mut random)).count(), 100);
    }

    #[test]
    fn ports_cannot_be_guessed_from_the_one_before() {
        let (mut pool, mut random) = (pool(16_384..=49_151), Random::seeded(2));
        let now = Instant::now();
        let ports: Vec<u16> = (0..1_000).map(|_| pool.take(now, &mut random).unwrap()).collect();
        let near = ports.windows(2).filter(|w| w[0].abs_diff(w[1]) < 200).count();
        assert!(near < 40, "{near} of 999 are near their predecessor");
    }
}
