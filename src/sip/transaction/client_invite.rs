//! INVITE client transaction: RFC 3261 §17.1.1 with RFC 6026 §8.4.
//!
//! ```text
//!                         | INVITE from the TU: send INVITE, set A and B
//!    timer A: send        v
//!    INVITE, double  +---------+  timer B: tell time-out
//!              +-----| Calling |------------------------------+
//!              +---->|         |  transport error: tell       |
//!                    +---------+------------------------------+
//!     300-699: send ACK,  |  |  | 2xx: tell                   |
//!     tell  +-------------+  |  +---------------+             |
//!           |        1xx:    v  tell            |             |
//!           |        +------------+             |             |
//!           |<-------| Proceeding |--+ 1xx: tell|             |
//!           |300-699 |            |<-+          |             |
//!           |        +------------+------------>|             |
//!           v               2xx: tell           v             |
//!    +-----------+                        +----------+        |
//!    | Completed |--+ 300-699: send ACK   | Accepted |--+ 2xx: tell
//!    |           |<-+                     |          |<-+     |
//!    +-----------+                        +----------+        |
//!         | timer D, transport error (tell)     | timer M     |
//!         v                                     v             v
//!    +---------------------------------------------------------------+
//!    |                          Terminated                           |
//!    +---------------------------------------------------------------+
//! ```

use super::{ClientInput, Send, Step, Tell};
use crate::sip::timer::{Doubling, Timer, TimerTable};
use std::time::Instant;

/// States of the INVITE client transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The INVITE was sent; nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A final response of 300–699 came; its repetitions are acknowledged.
    Completed,
    /// A 2xx came; repetitions and those of other forks go to the transaction user (RFC 6026).
    Accepted,
    /// Over: to be forgotten.
    Terminated,
}

/// An INVITE client transaction. The caller sends the INVITE when it makes the machine.
#[derive(Clone, Debug)]
pub struct ClientInvite {
    state: State,
    timers: TimerTable,
    resend: Doubling,
    reliable: bool,
}

impl ClientInvite {
    /// In state Calling at `now`, the moment the INVITE is sent.
    #[must_use]
    pub fn new(now: Instant, reliable: bool) -> Self {
        let mut timers = TimerTable::default();
        timers.start(Timer::A, now, reliable);
        timers.start(Timer::B, now, reliable);
        Self { state: State::Calling, timers, resend: Doubling::INVITE, reliable }
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
            (State::Calling, ClientInput::Timer(Timer::A)) => {
                self.timers.set(Timer::A, now + self.resend.next_interval());
                Step::send(Send::Request)
            }
            (State::Calling, ClientInput::Timer(Timer::B)) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TimedOut)
            }
            (State::Calling | State::Completed, TransportError) => {
                self.enter(State::Terminated);
                Step::tell(Tell::TransportFailed)
            }
            (State::Calling | State::Proceeding, Response(100..=199)) => {
                self.enter(State::Proceeding);
                Step::tell(Tell::Response)
            }
            (State::Calling | State::Proceeding, Response(200..=299)) => {
                self.enter(State::Accepted);
                self.timers.start(Timer::M, now, self.reliable);
                Step::tell(Tell::Response)
            }
            (State::Calling | State::Proceeding, Response(300..=699)) => {
                self.enter(State::Completed);
                self.timers.start(Timer::D, now, self.reliable);
                Step::both(Send::Ack, Tell::Response)
            }
            (State::Completed, Response(300..=699)) => Step::send(Send::Ack),
            (State::Accepted, Response(200..=299)) => Step::tell(Tell::Response),
            (State::Completed, ClientInput::Timer(Timer::D)) | (State::Accepted, ClientInput::Timer(Timer::M)) => {
                self.enter(State::Terminated);
                Step::NONE
            }
            (
                State::Calling | State::Proceeding | State::Completed | State::Accepted | State::Terminated,
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
    use super::State::{Accepted, Calling, Completed, Proceeding, Terminated};
    use super::*;
    use crate::sip::timer::{T1, T1_64, TIMER_D};

    fn machine_in(state: State, now: Instant) -> ClientInvite {
        let mut m = ClientInvite::new(now, false);
        let code = match state {
            Calling => return m,
            Proceeding => 180,
            Completed => 486,
            Accepted => 200,
            Terminated => {
                let _ = m.handle(now, ClientInput::TransportError);
                return m;
            }
        };
        let _ = m.handle(now, ClientInput::Response(code));
        m
    }

    #[test]
    fn every_state_and_input_has_its_cell() {
        let ack_tell = Step::both(Send::Ack, Tell::Response);
        let tell = Step::tell(Tell::Response);
        let (timed_out, failed) = (Step::tell(Tell::TimedOut), Step::tell(Tell::TransportFailed));
        let cells: Vec<Cell<State, ClientInput>> = vec![
            (Calling, ClientInput::Response(100), Proceeding, tell),
            (Calling, ClientInput::Response(199), Proceeding, tell),
            (Calling, ClientInput::Response(200), Accepted, tell),
            (Calling, ClientInput::Response(299), Accepted, tell),
            (Calling, ClientInput::Response(300), Completed, ack_tell),
            (Calling, ClientInput::Response(699), Completed, ack_tell),
            (Calling, ClientInput::Timer(Timer::A), Calling, Step::send(Send::Request)),
            (Calling, ClientInput::Timer(Timer::B), Terminated, timed_out),
            (Calling, ClientInput::TransportError, Terminated, failed),
            (Proceeding, ClientInput::Response(100), Proceeding, tell),
            (Proceeding, ClientInput::Response(199), Proceeding, tell),
            (Proceeding, ClientInput::Response(200), Accepted, tell),
            (Proceeding, ClientInput::Response(299), Accepted, tell),
            (Proceeding, ClientInput::Response(300), Completed, ack_tell),
            (Proceeding, ClientInput::Response(699), Completed, ack_tell),
            (Completed, ClientInput::Response(300), Completed, Step::send(Send::Ack)),
            (Completed, ClientInput::Response(699), Completed, Step::send(Send::Ack)),
            (Completed, ClientInput::Timer(Timer::D), Terminated, Step::NONE),
            (Completed, ClientInput::TransportError, Terminated, failed),
            (Accepted, ClientInput::Response(200), Accepted, tell),
            (Accepted, ClientInput::Response(299), Accepted, tell),
            (Accepted, ClientInput::Timer(Timer::M), Terminated, Step::NONE),
        ];
        super::super::tests::assert_table(
            &[Calling, Proceeding, Completed, Accepted, Terminated],
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

    #[test]
    fn invite_is_sent_seven_times_and_times_out_after_64_t1() {
        let start = Instant::now();
        let mut m = ClientInvite::new(start, false);
        let mut sent_at_ms = vec![0];
        let mut now = start;
        while let Some(due) = m.next_timeout() {
            now = due;
            while let Some(timer) = m.expire(now) {
                let step = m.handle(now, ClientInput::Timer(timer));
                if step.send == Some(Send::Request) {
                    sent_at_ms.push((now - start).as_millis());
                }
            }
        }
        assert_eq!(sent_at_ms, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((m.state(), now - start), (Terminated, T1_64));
    }

    #[test]
    fn a_provisional_response_stops_the_retransmission_and_the_time_out() {
        let now = Instant::now();
        assert_eq!(machine_in(Proceeding, now).next_timeout(), None);
    }

    #[test]
    fn waits_last_timer_d_and_timer_m() {
        let now = Instant::now();
        assert_eq!(machine_in(Completed, now).next_timeout(), Some(now + TIMER_D));
        assert_eq!(machine_in(Accepted, now).next_timeout(), Some(now + T1_64));
        let mut reliable = ClientInvite::new(now, true);
        assert_eq!(reliable.next_timeout(), Some(now + T1_64), "no timer A over a reliable transport");
        let _ = reliable.handle(now + T1, ClientInput::Response(404));
        assert_eq!(reliable.next_timeout(), Some(now + T1), "timer D is zero over a reliable transport");
    }
}
