//! Non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! ```text
//!                         | request from the TU: send it, set E and F
//!    timer E: send        v
//!    request, double +--------+  timer F: tell time-out
//!    to T2     +-----| Trying |  transport error: tell
//!              +---->|        |-------------------------------+
//!                    +--------+                               |
//!      200-699: tell  |    | 1xx: tell                        |
//!           +---------+    v                                  |
//!           |        +------------+ timer E: send, again T2   |
//!           |        | Proceeding |--+                        |
//!           |        |            |<-+ 1xx: tell              |
//!           |        +------------+ timer F, transport error: |
//!           | 200-699: tell |                       tell ---->|
//!           v               v                                 |
//!    +-----------+                                            |
//!    | Completed |  responses are absorbed                    |
//!    +-----------+                                            |
//!           | timer K                                         |
//!           v                                                 v
//!    +---------------------------------------------------------------+
//!    |                          Terminated                           |
//!    +---------------------------------------------------------------+
//! ```

use super::{ClientInput, Send, Step, Tell};
use crate::sip::timer::{Doubling, Timer, TimerTable};
use std::time::Instant;

/// States of the non-INVITE client transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The request was sent; nothing came back.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// The final response came; repetitions are absorbed.
    Completed,
    /// Over: to be forgotten.
    Terminated,
}

/// A non-INVITE client transaction. The caller sends the request when it makes the machine.
#[derive(Clone, Debug)]
pub struct ClientNonInvite {
    state: State,
    timers: TimerTable,
    resend: Doubling,
    reliable: bool,
}

impl ClientNonInvite {
    /// In state Trying at `now`, the moment the request is sent.
    #[must_use]
    pub fn new(now: Instant, reliable: bool) -> Self {
        let mut timers = TimerTable::default();
        timers.start(Timer::E, now, reliable);
        timers.start(Timer::F, now, reliable);
        Self { state: State::Trying, timers, resend: Doubling::UP_TO_T2, reliable }
    }

    /// The state it is in.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Takes one due timer; feed it to [`Self::handle`] as [`ClientInput::Timer`].
    pub fn expire(&mut self, now: Instant) -> Option<Timer> {
        self.timers.expire(now)
    }

    /// One step of the machine.
    pub fn handle(&mut self, now: Instant, input: ClientInput) -> Step {
        use ClientInput::{Response, TransportError};
        match (self.state, input) {
            (State::Trying | State::Proceeding, ClientInput::Timer(Timer::E)) => {
                self.timers.set(Timer::E, now + self.resend.next_interval());
                Step::send(Send::Request)
            }
            (State::Trying | State::Proceeding, ClientInput::Timer(Timer::F)) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TimedOut)
            }
            (State::Trying | State::Proceeding, TransportError) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TransportFailed)
            }
            (State::Trying | State::Proceeding, Response(100..=199)) => {
                self.state = State::Proceeding;
                self.resend.jump_to_ceiling();
                Step::tell(Tell::Response)
            }
            (State::Trying | State::Proceeding, Response(200..=699)) => {
                self.enter(State::Completed);
                self.timers.start(Timer::K, now, self.reliable);
                Step::tell(Tell::Response)
            }
            (State::Completed, ClientInput::Timer(Timer::K)) => {
                self.enter(State::Terminated);
                Step::NONE
            }
            (
                State::Trying | State::Proceeding | State::Completed | State::Terminated,
                Response(_) | ClientInput::Timer(_) | TransportError,
            ) => Step::NONE,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.timers.stop_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLIENT_INPUTS, Cell};
    use super::State::{Completed, Proceeding, Terminated, Trying};
    use super::*;
    use crate::sip::timer::{T1, T1_64, T4};

    fn machine_in(state: State, now: Instant) -> ClientNonInvite {
        let mut m = ClientNonInvite::new(now, false);
        let _ = match state {
            Trying => Step::NONE,
            Proceeding => m.handle(now, ClientInput::Response(100)),
            Completed => m.handle(now, ClientInput::Response(200)),
            Terminated => m.handle(now, ClientInput::TransportError),
        };
        m
    }

    #[test]
    fn every_state_and_input_has_its_cell() {
        let tell = Step::tell(Tell::Response);
        let (timed_out, failed) = (Step::tell(Tell::TimedOut), Step::tell(Tell::TransportFailed));
        let mut cells: Vec<Cell<State, ClientInput>> =
            vec![(Completed, ClientInput::Timer(Timer::K), Terminated, Step::NONE)];
        for from in [Trying, Proceeding] {
            cells.extend([
                (from, ClientInput::Response(100), Proceeding, tell),
                (from, ClientInput::Response(199), Proceeding, tell),
                (from, ClientInput::Response(200), Completed, tell),
                (from, ClientInput::Response(299), Completed, tell),
                (from, ClientInput::Response(300), Completed, tell),
                (from, ClientInput::Response(699), Completed, tell),
                (from, ClientInput::Timer(Timer::E), from, Step::send(Send::Request)),
                (from, ClientInput::Timer(Timer::F), Terminated, timed_out),
                (from, ClientInput::TransportError, Terminated, failed),
            ]);
        }
        super::super::tests::assert_table(
            &[Trying, Proceeding, Completed, Terminated],
            &CLIENT_INPUTS,
            &cells,
            |state, input| {
                let now = Instant::now();
                let mut m = machine_in(state, now);
                assert_eq!(m.state(), state);
                let step = m.handle(now, input);
                (m.state(), step)
            },
        );
    }

    fn resent_ms(m: &mut ClientNonInvite, start: Instant) -> Vec<u128> {
        let mut sent = Vec::new();
        while let Some(due) = m.next_timeout() {
            while let Some(timer) = m.expire(due) {
                if m.handle(due, ClientInput::Timer(timer)).send == Some(Send::Request) {
                    sent.push((due - start).as_millis());
                }
            }
        }
        sent
    }

    #[test]
    fn request_is_resent_at_doubling_intervals_up_to_t2() {
        let start = Instant::now();
        let mut m = ClientNonInvite::new(start, false);
        assert_eq!(
            resent_ms(&mut m, start),
            [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500],
            "RFC 3261 §17.1.2.2"
        );
        assert_eq!(m.state(), Terminated);
    }

    #[test]
    fn after_a_provisional_response_the_request_is_resent_every_t2() {
        let start = Instant::now();
        let mut m = machine_in(Proceeding, start);
        assert_eq!(resent_ms(&mut m, start), [500, 4500, 8500, 12500, 16500, 20500, 24500, 28500]);
    }

    #[test]
    fn completed_lasts_t4_or_nothing_over_a_reliable_transport() {
        let now = Instant::now();
        assert_eq!(machine_in(Completed, now).next_timeout(), Some(now + T4));
        let mut reliable = ClientNonInvite::new(now, true);
        assert_eq!(reliable.next_timeout(), Some(now + T1_64), "no timer E over a reliable transport");
        let _ = reliable.handle(now + T1, ClientInput::Response(200));
        assert_eq!(reliable.next_timeout(), Some(now + T1));
    }
}
