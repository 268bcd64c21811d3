//! The timers of RFC 3261 §17 and RFC 6026, as a table without heap or sleep.
//!
//! A machine sets and stops its timers here and says through [`TimerTable::next`] when it wants to be woken.
//! Nothing in this file asks the clock.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Estimate of the round trip, RFC 3261 §17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);
/// Ceiling of the retransmission interval of non-INVITE requests and of INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: how long a transaction keeps trying (timers B, F, H, J, L, M).
pub const T1_64: Duration = Duration::from_secs(32);
/// Timer D over an unreliable transport: at least 32 s.
pub const TIMER_D: Duration = Duration::from_secs(32);

/// A timer of one transaction, by its letter in RFC 3261 §17 table 4 and RFC 6026 §7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Timer {
    /// INVITE request retransmission, unreliable transports only; starts at T1 and doubles.
    A,
    /// INVITE transaction time-out: 64·T1 without any response.
    B,
    /// Wait for retransmitted final responses to INVITE: 32 s, 0 over a reliable transport.
    D,
    /// Non-INVITE request retransmission, unreliable transports only; starts at T1, doubles up to T2.
    E,
    /// Non-INVITE transaction time-out: 64·T1 without a final response.
    F,
    /// INVITE final response retransmission, unreliable transports only; starts at T1, doubles up to T2.
    G,
    /// Wait for the ACK of a final response other than 2xx: 64·T1.
    H,
    /// Wait for retransmitted ACKs: T4, 0 over a reliable transport.
    I,
    /// Wait for retransmitted non-INVITE requests: 64·T1, 0 over a reliable transport.
    J,
    /// Wait for retransmitted responses to a non-INVITE request: T4, 0 over a reliable transport.
    K,
    /// Wait in the server's Accepted state for retransmitted INVITEs: 64·T1 (RFC 6026).
    L,
    /// Wait in the client's Accepted state for 2xx responses, retransmitted or of other forks: 64·T1 (RFC 6026).
    M,
}

impl Timer {
    /// Every timer, in the order of the letters.
    pub const ALL: [Self; 12] =
        [Self::A, Self::B, Self::D, Self::E, Self::F, Self::G, Self::H, Self::I, Self::J, Self::K, Self::L, Self::M];

    /// The first duration of this timer, RFC 3261 table 4. `None` for a retransmission timer that a reliable
    /// transport does not need; zero for a wait that it does not need.
    #[must_use]
    pub fn initial(self, reliable: bool) -> Option<Duration> {
        match self {
            Self::A | Self::E | Self::G if reliable => None,
            Self::A | Self::E | Self::G => Some(T1),
            Self::B | Self::F | Self::H | Self::L | Self::M => Some(T1_64),
            Self::D | Self::I | Self::J | Self::K if reliable => Some(Duration::ZERO),
            Self::D => Some(TIMER_D),
            Self::I | Self::K => Some(T4),
            Self::J => Some(T1_64),
        }
    }
}

/// The names of a set of timers that run side by side: at most [`MAX_TIMERS`].
pub trait TimerName: Copy + 'static {
    /// Every name.
    const ALL: &'static [Self];

    /// Its slot: the position in [`Self::ALL`].
    fn slot(self) -> usize;
}

impl TimerName for Timer {
    const ALL: &'static [Self] = &Self::ALL;

    fn slot(self) -> usize {
        self as usize
    }
}

/// Slots of a [`TimerTable`].
pub const MAX_TIMERS: usize = 16;

/// When each timer of one set is due.
#[derive(Clone, Debug)]
pub struct TimerTable<T = Timer>([Option<Instant>; MAX_TIMERS], PhantomData<T>);

impl<T> Default for TimerTable<T> {
    fn default() -> Self {
        Self([None; MAX_TIMERS], PhantomData)
    }
}

impl<T: TimerName> TimerTable<T> {
    /// Starts `timer`, or moves it if it runs already.
    pub fn set(&mut self, timer: T, due: Instant) {
        if let Some(slot) = self.0.get_mut(timer.slot()) {
            *slot = Some(due);
        }
    }

    /// Stops `timer` if it runs.
    pub fn stop(&mut self, timer: T) {
        if let Some(slot) = self.0.get_mut(timer.slot()) {
            *slot = None;
        }
    }

    /// Whether `timer` runs.
    #[must_use]
    pub fn is_running(&self, timer: T) -> bool {
        self.0.get(timer.slot()).is_some_and(Option::is_some)
    }

    /// Stops every timer.
    pub fn stop_all(&mut self) {
        self.0 = [None; MAX_TIMERS];
    }

    /// The moment at which the first running timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one timer that is due at `now` out of the table, the earliest first. Call until it gives `None`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let (timer, _) = T::ALL
            .iter()
            .filter_map(|timer| Some((*timer, (*self.0.get(timer.slot())?)?)))
            .filter(|(_, due)| *due <= now)
            .min_by_key(|(_, due)| *due)?;
        self.stop(timer);
        Some(timer)
    }
}

impl TimerTable {
    /// Starts `timer` with its first duration; nothing happens when a reliable transport does not need it.
    pub fn start(&mut self, timer: Timer, now: Instant, reliable: bool) {
        if let Some(wait) = timer.initial(reliable) {
            self.set(timer, now + wait);
        }
    }
}

/// The interval of a retransmission that doubles from T1 up to a ceiling.
#[derive(Clone, Copy, Debug)]
pub struct Doubling {
    interval: Duration,
    ceiling: Duration,
}

impl Doubling {
    /// Timer A: no ceiling below timer B.
    pub const INVITE: Self = Self { interval: T1, ceiling: T1_64 };
    /// Timers E and G and the retransmission of a 2xx: ceiling T2.
    pub const UP_TO_T2: Self = Self { interval: T1, ceiling: T2 };

    /// Doubles the interval and gives it.
    pub fn next_interval(&mut self) -> Duration {
        self.interval = self.interval.saturating_mul(2).min(self.ceiling);
        self.interval
    }

    /// Goes to the ceiling at once, as timer E does after a provisional response.
    pub fn jump_to_ceiling(&mut self) {
        self.interval = self.ceiling;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timer_finds_its_own_slot() {
        let now = Instant::now();
        let mut table = TimerTable::<Timer>::default();
        for (i, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, i);
            table.set(timer, now + Duration::from_secs(i as u64));
        }
        for (i, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(table.next(), Some(now + Duration::from_secs(i as u64)));
            assert_eq!(table.expire(now + Duration::from_secs(100)), Some(timer));
        }
        assert_eq!((table.next(), table.expire(now + T1_64)), (None, None));
    }

    #[test]
    fn a_timer_fires_once_and_not_before_it_is_due() {
        let now = Instant::now();
        let mut table = TimerTable::<Timer>::default();
        table.start(Timer::A, now, false);
        assert_eq!(table.expire(now + T1 - Duration::from_nanos(1)), None);
        assert_eq!(table.expire(now + T1), Some(Timer::A));
        assert_eq!(table.expire(now + T1), None);
    }

    #[test]
    fn reliable_transports_need_no_retransmission_and_no_waits() {
        for timer in [Timer::A, Timer::E, Timer::G] {
            assert_eq!(timer.initial(true), None);
        }
        for timer in [Timer::D, Timer::I, Timer::J, Timer::K] {
            assert_eq!(timer.initial(true), Some(Duration::ZERO));
        }
        for timer in [Timer::B, Timer::F, Timer::H, Timer::L, Timer::M] {
            assert_eq!(timer.initial(true), timer.initial(false));
        }
    }

    #[test]
    fn intervals_double_up_to_their_ceiling() {
        let mut e = Doubling::UP_TO_T2;
        let seen: Vec<u128> = (0..5).map(|_| e.next_interval().as_millis()).collect();
        assert_eq!(seen, [1000, 2000, 4000, 4000, 4000]);
        let mut a = Doubling::INVITE;
        let seen: Vec<u128> = (0..7).map(|_| a.next_interval().as_millis()).collect();
        assert_eq!(seen, [1000, 2000, 4000, 8000, 16000, 32000, 32000]);
    }
}
