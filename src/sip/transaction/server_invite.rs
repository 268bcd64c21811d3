//! INVITE server transaction: RFC 3261 §17.2.1 with RFC 6026 §8.5.
//!
//! ```text
//!                         | INVITE came: hand to the TU, which sends 100 at once
//!                         v
//!                    +------------+  INVITE: send the last response
//!                    | Proceeding |--+
//!                    |            |<-+ 101-199 from the TU: send
//!                    +------------+ transport error: tell -----+
//!      300-699 from |            | 2xx from the TU: send       |
//!      the TU: send |            +-----------------+           |
//!                   v                              v           |
//!    INVITE,   +-----------+                 +----------+      |
//!    timer G:  | Completed |--+              | Accepted |--+ INVITE: absorb
//!    send  +---|           |<-+              |          |<-+ 2xx from the TU: send
//!          +-->+-----------+                 +----------+      |
//!     ACK |      | timer H: tell time-out         | timer L    |
//!         v      | transport error: tell          |            |
//!  +-----------+ |                                |            |
//!  | Confirmed | |  INVITE and ACK are absorbed   |            |
//!  +-----------+ |                                |            |
//!    timer I |   |                                |            |
//!            v   v                                v            v
//!    +---------------------------------------------------------------+
//!    |                          Terminated                           |
//!    +---------------------------------------------------------------+
//! ```

use super::{Send, ServerInput, Step, Tell};
use crate::sip::timer::{Doubling, Timer, TimerTable};
use std::time::Instant;

/// States of the INVITE server transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The INVITE waits for a final response.
    Proceeding,
    /// A final response of 300–699 was sent and is repeated until its ACK.
    Completed,
    /// The ACK came.
    Confirmed,
    /// A 2xx was sent; repeating it is the transaction user's work (RFC 6026).
    Accepted,
    /// Over: to be forgotten.
    Terminated,
}

/// An INVITE server transaction, made when the INVITE came.
#[derive(Clone, Debug)]
pub struct ServerInvite {
    state: State,
    timers: TimerTable,
    resend: Doubling,
    reliable: bool,
}

impl ServerInvite {
    /// In state Proceeding. The caller hands it `Respond(100)` at once, so that a repeated INVITE gets an answer.
    #[must_use]
    pub fn new(reliable: bool) -> Self {
        Self { state: State::Proceeding, timers: TimerTable::default(), resend: Doubling::UP_TO_T2, reliable }
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
            (State::Proceeding, Request | Respond(100..=199)) => Step::send(Send::Response),
            (State::Proceeding, Respond(200..=299)) => {
                self.enter(State::Accepted);
                self.timers.start(Timer::L, now, self.reliable);
                Step::send(Send::Response)
            }
            (State::Proceeding, Respond(300..=699)) => {
                self.enter(State::Completed);
                self.timers.start(Timer::G, now, self.reliable);
                self.timers.start(Timer::H, now, self.reliable);
                Step::send(Send::Response)
            }
            (State::Proceeding | State::Completed | State::Accepted, TransportError) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TransportFailed)
            }
            (State::Completed, Request) => Step::send(Send::Response),
            (State::Completed, ServerInput::Timer(Timer::G)) => {
                self.timers.set(Timer::G, now + self.resend.next_interval());
                Step::send(Send::Response)
            }
            (State::Completed, ServerInput::Timer(Timer::H)) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TimedOut)
            }
            (State::Completed, Ack) => {
                self.enter(State::Confirmed);
                self.timers.start(Timer::I, now, self.reliable);
                Step::NONE
            }
            (State::Accepted, Respond(200..=299)) => Step::send(Send::Response),
            (State::Confirmed, ServerInput::Timer(Timer::I)) | (State::Accepted, ServerInput::Timer(Timer::L)) => {
                self.enter(State::Terminated);
                Step::NONE
            }
            (
                State::Proceeding | State::Completed | State::Confirmed | State::Accepted | State::Terminated,
                Request | Ack | Respond(_) | ServerInput::Timer(_) | TransportError,
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
    use super::super::tests::{Cell, SERVER_INPUTS};
    use super::State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    use super::*;
    use crate::sip::timer::{T1, T1_64, T4};

    fn machine_in(state: State, now: Instant) -> ServerInvite {
        let mut m = ServerInvite::new(false);
        let _ = match state {
            Proceeding => Step::NONE,
            Completed => m.handle(now, ServerInput::Respond(486)),
            Confirmed => {
                let _ = m.handle(now, ServerInput::Respond(486));
                m.handle(now, ServerInput::Ack)
            }
            Accepted => m.handle(now, ServerInput::Respond(200)),
            Terminated => m.handle(now, ServerInput::TransportError),
        };
        m
    }

    #[test]
    fn every_state_and_input_has_its_cell() {
        let send = Step::send(Send::Response);
        let (timed_out, failed) = (Step::tell(Tell::TimedOut), Step::tell(Tell::TransportFailed));
        let cells: Vec<Cell<State, ServerInput>> = vec![
            (Proceeding, ServerInput::Request, Proceeding, send),
            (Proceeding, ServerInput::Respond(100), Proceeding, send),
            (Proceeding, ServerInput::Respond(199), Proceeding, send),
            (Proceeding, ServerInput::Respond(200), Accepted, send),
            (Proceeding, ServerInput::Respond(299), Accepted, send),
            (Proceeding, ServerInput::Respond(300), Completed, send),
            (Proceeding, ServerInput::Respond(699), Completed, send),
            (Proceeding, ServerInput::TransportError, Terminated, failed),
            (Completed, ServerInput::Request, Completed, send),
            (Completed, ServerInput::Ack, Confirmed, Step::NONE),
            (Completed, ServerInput::Timer(Timer::G), Completed, send),
            (Completed, ServerInput::Timer(Timer::H), Terminated, timed_out),
            (Completed, ServerInput::TransportError, Terminated, failed),
            (Confirmed, ServerInput::Timer(Timer::I), Terminated, Step::NONE),
            (Accepted, ServerInput::Respond(200), Accepted, send),
            (Accepted, ServerInput::Respond(299), Accepted, send),
            (Accepted, ServerInput::Timer(Timer::L), Terminated, Step::NONE),
            (Accepted, ServerInput::TransportError, Terminated, failed),
        ];
        super::super::tests::assert_table(
            &[Proceeding, Completed, Confirmed, Accepted, Terminated],
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
    fn a_refusal_is_repeated_up_to_t2_until_64_t1_when_no_ack_comes() {
        let start = Instant::now();
        let mut m = machine_in(Completed, start);
        let mut sent = Vec::new();
        let mut last = Step::NONE;
        while let Some(due) = m.next_timeout() {
            while let Some(timer) = m.expire(due) {
                last = m.handle(due, ServerInput::Timer(timer));
                if last.send.is_some() {
                    sent.push((due - start).as_millis());
                }
            }
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((last, m.state()), (Step::tell(Tell::TimedOut), Terminated));
    }

    #[test]
    fn waits_last_timer_i_and_timer_l() {
        let now = Instant::now();
        assert_eq!(machine_in(Confirmed, now).next_timeout(), Some(now + T4));
        assert_eq!(machine_in(Accepted, now).next_timeout(), Some(now + T1_64));
        let mut reliable = ServerInvite::new(true);
        let _ = reliable.handle(now, ServerInput::Respond(404));
        assert_eq!(reliable.next_timeout(), Some(now + T1_64), "no timer G over a reliable transport");
        let _ = reliable.handle(now + T1, ServerInput::Ack);
        assert_eq!(reliable.next_timeout(), Some(now + T1), "timer I is zero over a reliable transport");
    }
}
