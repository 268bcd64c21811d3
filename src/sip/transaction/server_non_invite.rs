//! Non-INVITE server transaction: RFC 3261 §17.2.2.
//!
//! ```text
//!                    | request came: hand to the TU
//!                    v
//!               +--------+  request: absorb
//!               | Trying |
//!               +--------+-- 200-699 from the TU: send --+
//!                    | 1xx from the TU: send             |
//!                    v                                   |
//!              +------------+  request: send the last    |
//!              | Proceeding |  response; 1xx: send       |
//!              +------------+-- transport error: tell -----+
//!                    | 200-699 from the TU: send         | |
//!                    v                                   | |
//!              +-----------+                             | |
//!              | Completed |<----------------------------+ |
//!              |           |  request: send the response   |
//!              +-----------+-- transport error: tell -----+|
//!                    | timer J                            ||
//!                    v                                    vv
//!    +---------------------------------------------------------------+
//!    |                          Terminated                           |
//!    +---------------------------------------------------------------+
//! ```

use super::{Send, ServerInput, Step, Tell};
use crate::sip::timer::{Timer, TimerTable};
use std::time::Instant;

/// States of the non-INVITE server transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The request waits for a response.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// The final response was sent; a repeated request gets it again.
    Completed,
    /// Over: to be forgotten.
    Terminated,
}

/// A non-INVITE server transaction, made when the request came.
#[derive(Clone, Debug)]
pub struct ServerNonInvite {
    state: State,
    timers: TimerTable,
    reliable: bool,
}

impl ServerNonInvite {
    /// In state Trying.
    #[must_use]
    pub fn new(reliable: bool) -> Self {
        Self { state: State::Trying, timers: TimerTable::default(), reliable }
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

    /// Takes one due timer; feed it to [`Self::handle`] as [`ServerInput::Timer`].
    pub fn expire(&mut self, now: Instant) -> Option<Timer> {
        self.timers.expire(now)
    }

    /// One step of the machine.
    pub fn handle(&mut self, now: Instant, input: ServerInput) -> Step {
        use ServerInput::{Ack, Request, Respond, TransportError};
        match (self.state, input) {
            (State::Trying | State::Proceeding, Respond(100..=199)) => {
                self.state = State::Proceeding;
                Step::send(Send::Response)
            }
            (State::Trying | State::Proceeding, Respond(200..=699)) => {
                self.state = State::Completed;
                self.timers.start(Timer::J, now, self.reliable);
                Step::send(Send::Response)
            }
            (State::Proceeding | State::Completed, Request) => Step::send(Send::Response),
            (State::Proceeding | State::Completed, TransportError) => {
                self.terminate();
                Step::tell(Tell::TransportFailed)
            }
            (State::Completed, ServerInput::Timer(Timer::J)) => {
                self.terminate();
                Step::NONE
            }
            (
                State::Trying | State::Proceeding | State::Completed | State::Terminated,
                Request | Ack | Respond(_) | ServerInput::Timer(_) | TransportError,
            ) => Step::NONE,
        }
    }

    fn terminate(&mut self) {
        self.state = State::Terminated;
        self.timers.stop_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Cell, SERVER_INPUTS};
    use super::State::{Completed, Proceeding, Terminated, Trying};
    use super::*;
    use crate::sip::timer::T1_64;

    fn machine_in(state: State, now: Instant) -> ServerNonInvite {
        let mut m = ServerNonInvite::new(false);
        let _ = match state {
            Trying => Step::NONE,
            Proceeding => m.handle(now, ServerInput::Respond(100)),
            Completed => m.handle(now, ServerInput::Respond(200)),
            Terminated => {
                let _ = m.handle(now, ServerInput::Respond(200));
                m.handle(now, ServerInput::TransportError)
            }
        };
        m
    }

    #[test]
    fn every_state_and_input_has_its_cell() {
        let send = Step::send(Send::Response);
        let failed = Step::tell(Tell::TransportFailed);
        let mut cells: Vec<Cell<State, ServerInput>> = vec![
            (Proceeding, ServerInput::Request, Proceeding, send),
            (Proceeding, ServerInput::TransportError, Terminated, failed),
            (Completed, ServerInput::Request, Completed, send),
            (Completed, ServerInput::TransportError, Terminated, failed),
            (Completed, ServerInput::Timer(Timer::J), Terminated, Step::NONE),
        ];
        for from in [Trying, Proceeding] {
            cells.extend([
                (from, ServerInput::Respond(100), Proceeding, send),
                (from, ServerInput::Respond(199), Proceeding, send),
                (from, ServerInput::Respond(200), Completed, send),
                (from, ServerInput::Respond(299), Completed, send),
                (from, ServerInput::Respond(300), Completed, send),
                (from, ServerInput::Respond(699), Completed, send),
            ]);
        }
        super::super::tests::assert_table(
            &[Trying, Proceeding, Completed, Terminated],
            &SERVER_INPUTS,
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

    #[test]
    fn completed_lasts_timer_j() {
        let now = Instant::now();
        assert_eq!(machine_in(Completed, now).next_timeout(), Some(now + T1_64));
        let mut reliable = ServerNonInvite::new(true);
        let _ = reliable.handle(now, ServerInput::Respond(200));
        assert_eq!(reliable.next_timeout(), Some(now));
    }
}
