//! The circuit breaker of one server outside: after failures in a row it answers at once, so that callers are
//! not kept waiting on a dead server and the server is not hammered while it recovers.
//!
//! ```text
//!            failures in a row                 wait is over
//!   Closed ────────────────────▶ Open(until) ──────────────▶ HalfOpen (one probe)
//!     ▲                             ▲                          │      │
//!     │         success             └───────── failure ────────┘      │
//!     └───────────────────────────────────────────────────────────────┘
//! ```

use super::{Random, backoff::Backoff};
use std::time::{Duration, Instant};

/// When a circuit opens and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerTerms {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub ceiling: Duration,
    /// A probe that nobody has reported on for this long is forgotten.
    pub probe: Duration,
}

/// The state of one circuit. Pure: time and randomness are parameters.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    backoff: Backoff,
    terms: BreakerTerms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probe_since: Instant },
}

/// The circuit is open: no request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    /// How long until the next probe may be sent.
    pub retry_in: Duration,
}

impl Breaker {
    /// A closed circuit.
    #[must_use]
    pub fn new(terms: BreakerTerms) -> Self {
        Self { state: State::Closed { failures: 0 }, backoff: Backoff::new(terms.first, terms.ceiling), terms }
    }

    /// Whether requests go through without being probes.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Opens the circuit for so long: the server said so, or what is wrong does not pass by itself.
    pub fn open_until(&mut self, until: Instant) {
        self.state = State::Open { until };
    }

    /// Asks for leave to send one request. Its outcome must be reported with [`Breaker::succeeded`],
    /// [`Breaker::failed`] or [`Breaker::abandoned`]; a probe nobody reports on is forgotten in time.
    ///
    /// # Errors
    /// [`CircuitOpen`] while the circuit is open or its one probe is under way.
    pub fn admit(&mut self, now: Instant) -> Result<(), CircuitOpen> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(CircuitOpen { retry_in: until - now }),
            State::Open { .. } => {
                self.state = State::HalfOpen { probe_since: now };
                Ok(())
            }
            State::HalfOpen { probe_since } => {
                let forgotten = probe_since + self.terms.probe;
                if now < forgotten {
                    return Err(CircuitOpen { retry_in: forgotten - now });
                }
                self.state = State::HalfOpen { probe_since: now };
                Ok(())
            }
        }
    }

    /// The server answered and is well, whatever it thought of the request. A late success while the
    /// circuit is open says nothing about now and changes nothing.
    pub fn succeeded(&mut self) {
        match self.state {
            State::Closed { .. } | State::HalfOpen { .. } => {
                self.state = State::Closed { failures: 0 };
                self.backoff.reset();
            }
            State::Open { .. } => {}
        }
    }

    /// The server could not be reached, did not answer in time or said it is broken. Returns true when
    /// this failure opened the circuit.
    pub fn failed(&mut self, now: Instant, random: &mut Random) -> bool {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            State::HalfOpen { .. } => self.terms.failures,
            State::Open { .. } => return false,
        };
        if failures < self.terms.failures {
            self.state = State::Closed { failures };
            return false;
        }
        self.state = State::Open { until: now + self.backoff.next_wait(random) };
        true
    }

    /// The request ended without a verdict on the server: refused by ourselves, or the caller hung up.
    /// A probe given up frees the place for the next.
    pub fn abandoned(&mut self, now: Instant) {
        if let State::HalfOpen { .. } = self.state {
            self.state = State::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKER_FAILURES: u32 = 5;
    const BREAKER_FIRST: Duration = Duration::from_secs(5);
    const BREAKER_CEILING: Duration = Duration::from_secs(120);

    fn breaker() -> Breaker {
        Breaker::new(BreakerTerms {
            failures: BREAKER_FAILURES,
            first: BREAKER_FIRST,
            ceiling: BREAKER_CEILING,
            probe: Duration::from_secs(20),
        })
    }

    fn opened(now: Instant, random: &mut Random) -> Breaker {
        let mut breaker = breaker();
        for n in 1..=BREAKER_FAILURES {
            assert!(breaker.admit(now).is_ok());
            assert_eq!(breaker.failed(now, random), n == BREAKER_FAILURES);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit_and_a_success_between_starts_over() {
        let (now, mut random) = (Instant::now(), Random::seeded(1));
        let mut breaker = breaker();
        for _ in 0..10 {
            for _ in 1..BREAKER_FAILURES {
                assert!(!breaker.failed(now, &mut random));
            }
            breaker.succeeded();
        }
        assert!(breaker.admit(now).is_ok());
        assert!(opened(now, &mut random).admit(now).is_err());
    }

    #[test]
    fn an_open_circuit_lets_one_probe_through_when_its_wait_is_over() {
        let (start, mut random) = (Instant::now(), Random::seeded(2));
        let mut breaker = opened(start, &mut random);
        let wait = breaker.admit(start).unwrap_err().retry_in;
        assert!((BREAKER_FIRST / 2..=BREAKER_FIRST).contains(&wait), "{wait:?}");
        assert!(breaker.admit(start + wait - Duration::from_millis(1)).is_err());
        assert!(breaker.admit(start + wait).is_ok(), "the probe");
        assert!(breaker.admit(start + wait).is_err(), "only one probe at a time");
        breaker.succeeded();
        assert!(breaker.admit(start + wait).is_ok());
    }

    #[test]
    fn each_failed_probe_keeps_the_circuit_open_longer_up_to_the_ceiling() {
        let (mut now, mut random) = (Instant::now(), Random::seeded(3));
        let mut breaker = opened(now, &mut random);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = breaker.admit(now).unwrap_err().retry_in;
            waits.push(wait);
            now += wait;
            assert!(breaker.admit(now).is_ok());
            assert!(breaker.failed(now, &mut random));
        }
        assert!(waits.iter().all(|wait| *wait <= BREAKER_CEILING));
        assert!(waits[7] >= BREAKER_CEILING / 2, "{waits:?}");
    }

    #[test]
    fn a_probe_that_nobody_reports_on_does_not_lock_the_circuit_for_ever() {
        let (mut now, mut random) = (Instant::now(), Random::seeded(4));
        let mut breaker = opened(now, &mut random);
        now += breaker.admit(now).unwrap_err().retry_in;
        assert!(breaker.admit(now).is_ok());
        let forgotten = breaker.admit(now).unwrap_err().retry_in;
        assert!(breaker.admit(now + forgotten).is_ok());

        breaker.abandoned(now + forgotten);
        assert!(breaker.admit(now + forgotten).is_ok(), "an abandoned probe frees its place");
    }

    #[test]
    fn a_success_that_arrives_after_the_circuit_opened_does_not_close_it() {
        let (now, mut random) = (Instant::now(), Random::seeded(5));
        let mut breaker = opened(now, &mut random);
        breaker.succeeded();
        assert!(breaker.admit(now).is_err());
    }
}
