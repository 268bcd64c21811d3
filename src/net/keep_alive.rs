//! When to send keep-alives, and when their silence means that a flow is dead (RFC 5626 §4.4). Pure.

use crate::base::Random;
use std::time::{Duration, Instant};

/// Keep-alives of streams: 96–120 s (RFC 5626 §4.4.1: between 80 % and 100 % of the upper bound).
pub const STREAM_PERIOD: Duration = Duration::from_secs(120);

/// How long the answer to a ping may take.
pub const PONG_TIME: Duration = Duration::from_secs(10);

/// The least period that is obeyed: a typing error must not become a flood.
const PERIOD_FLOOR: Duration = Duration::from_secs(1);

/// What to send: a double CRLF (RFC 5626 §3.5.1).
pub(super) const PING: &[u8] = b"\r\n\r\n";

/// The answer to a ping.
pub(super) const PONG: &[u8] = b"\r\n";

/// What a keep-alive wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Send a ping.
    Ping,
    /// The peer, which has answered pings before, does not any more: the flow is dead.
    Dead,
}

/// The keep-alive of one flow.
#[derive(Debug)]
pub(super) struct KeepAlive {
    period: Duration,
    next: Instant,
    /// Until when the answer to the last ping has to come.
    pong_until: Option<Instant>,
    /// Many peers read pings and never answer; an answer is owed only by those that gave one.
    answers: bool,
}

impl KeepAlive {
    pub(super) fn new(now: Instant, period: Duration, random: &mut Random) -> Self {
        let mut this = Self { period: period.max(PERIOD_FLOOR), next: now, pong_until: None, answers: false };
        this.next = now + this.jittered(random);
        this
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.pong_until.filter(|_| self.answers).map_or(self.next, |until| until.min(self.next))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, random: &mut Random) -> Option<Due> {
        if self.answers && self.pong_until.is_some_and(|until| until <= now) {
            return Some(Due::Dead);
        }
        if now < self.next {
            return None;
        }
        self.next = now + self.jittered(random);
        self.pong_until = Some(now + PONG_TIME);
        Some(Due::Ping)
    }

    /// The peer answered a ping.
    pub(super) fn handle_pong(&mut self) {
        self.answers = true;
        self.pong_until = None;
    }

    /// The peer sent something else, which shows that the flow lives.
    pub(super) fn handle_message(&mut self) {
        self.pong_until = None;
    }

    fn jittered(&self, random: &mut Random) -> Duration {
        self.period.mul_f64(0.8 + 0.2 * random.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn pings_come_between_80_and_100_percent_of_the_period() {
        let (mut random, mut now) = (Random::seeded(1), Instant::now());
        let mut flow = KeepAlive::new(now, STREAM_PERIOD, &mut random);
        let mut waits = Vec::new();
        for _ in 0..100 {
            let next = flow.poll_timeout();
            assert_eq!(flow.handle_timeout(next - S, &mut random), None);
            assert_eq!(flow.handle_timeout(next, &mut random), Some(Due::Ping));
            waits.push(next - now);
            now = next;
        }
        assert!(waits.iter().all(|w| (96 * S..=120 * S).contains(w)));
        assert!(waits.iter().max().unwrap().saturating_sub(*waits.iter().min().unwrap()) > 15 * S);
    }

    #[test]
    fn a_peer_that_never_answers_is_not_taken_for_dead() {
        let (mut random, now) = (Random::seeded(2), Instant::now());
        let mut flow = KeepAlive::new(now, STREAM_PERIOD, &mut random);
        for _ in 0..10 {
            let next = flow.poll_timeout();
            assert_eq!(flow.handle_timeout(next, &mut random), Some(Due::Ping));
        }
    }

    #[test]
    fn a_peer_that_stops_answering_is_dead_after_ten_seconds() {
        let (mut random, now) = (Random::seeded(3), Instant::now());
        let mut flow = KeepAlive::new(now, STREAM_PERIOD, &mut random);
        let first = flow.poll_timeout();
        assert_eq!(flow.handle_timeout(first, &mut random), Some(Due::Ping));
        flow.handle_pong();
        let second = flow.poll_timeout();
        assert_eq!(flow.handle_timeout(second, &mut random), Some(Due::Ping));
        assert_eq!(flow.poll_timeout(), second + PONG_TIME);
        assert_eq!(flow.handle_timeout(second + PONG_TIME - S, &mut random), None);
        assert_eq!(flow.handle_timeout(second + PONG_TIME, &mut random), Some(Due::Dead));
    }

    #[test]
    fn a_message_instead_of_the_answer_shows_that_the_flow_lives() {
        let (mut random, now) = (Random::seeded(4), Instant::now());
        let mut flow = KeepAlive::new(now, STREAM_PERIOD, &mut random);
        let first = flow.poll_timeout();
        flow.handle_timeout(first, &mut random);
        flow.handle_pong();
        let second = flow.poll_timeout();
        flow.handle_timeout(second, &mut random);
        flow.handle_message();
        assert_eq!(flow.handle_timeout(second + PONG_TIME, &mut random), None);
    }
}
