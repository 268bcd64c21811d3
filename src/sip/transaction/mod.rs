//! The four transaction machines of RFC 3261 §17 with the Accepted states of RFC 6026, and their table.
//!
//! A machine knows states and timers only. It is fed what happened and says in a [`Step`] what to send and what to
//! tell the transaction user; the bytes live with the endpoint. Each machine is one `match (state, input)` under the
//! RFC's diagram, and each cell of that table has a test.

pub mod client_invite;
pub mod client_non_invite;
pub mod key;
pub mod server_invite;
pub mod server_non_invite;

pub use client_invite::ClientInvite;
pub use client_non_invite::ClientNonInvite;
pub use key::Key;
pub use server_invite::ServerInvite;
pub use server_non_invite::ServerNonInvite;

use super::timer::Timer;

/// What a client transaction learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientInput {
    /// A response with this status code arrived.
    Response(u16),
    /// A timer fired.
    Timer(Timer),
    /// The transport could not send.
    TransportError,
}

/// What a server transaction learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerInput {
    /// The request arrived again.
    Request,
    /// The ACK of a final response other than 2xx arrived (INVITE only).
    Ack,
    /// The transaction user answers with this status code.
    Respond(u16),
    /// A timer fired.
    Timer(Timer),
    /// The transport could not send.
    TransportError,
}

/// What to send after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    /// The request, again.
    Request,
    /// An ACK for the final response that just came (RFC 3261 §17.1.1.3), or the same ACK again.
    Ack,
    /// The last response handed to the machine, for the first time or again.
    Response,
}

/// What to tell the transaction user after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tell {
    /// The response that just came.
    Response,
    /// The ACK that was waited for did not come, or no final response came.
    TimedOut,
    /// The transport failed.
    TransportFailed,
}

/// The outcome of one input: at most one message and one piece of news.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Step {
    /// Message to send.
    pub send: Option<Send>,
    /// News for the transaction user.
    pub tell: Option<Tell>,
}

impl Step {
    /// Nothing to do.
    pub const NONE: Self = Self { send: None, tell: None };

    const fn send(what: Send) -> Self {
        Self { send: Some(what), tell: None }
    }

    const fn tell(what: Tell) -> Self {
        Self { send: None, tell: Some(what) }
    }

    const fn both(send: Send, tell: Tell) -> Self {
        Self { send: Some(send), tell: Some(tell) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fmt::Debug;

    /// State, input, next state, step.
    pub(crate) type Cell<S, I> = (S, I, S, Step);

    /// Every input a client machine can get, with both ends of each class of status codes.
    pub(crate) const CLIENT_INPUTS: [ClientInput; 19] = {
        let mut inputs = [ClientInput::TransportError; 19];
        let codes = [100, 199, 200, 299, 300, 699];
        let mut i = 0;
        while i < codes.len() {
            inputs[i] = ClientInput::Response(codes[i]);
            i += 1;
        }
        let mut t = 0;
        while t < Timer::ALL.len() {
            inputs[i + t] = ClientInput::Timer(Timer::ALL[t]);
            t += 1;
        }
        inputs
    };

    /// Every input a server machine can get.
    pub(crate) const SERVER_INPUTS: [ServerInput; 21] = {
        let mut inputs = [ServerInput::TransportError; 21];
        let codes = [100, 199, 200, 299, 300, 699];
        let mut i = 0;
        while i < codes.len() {
            inputs[i] = ServerInput::Respond(codes[i]);
            i += 1;
        }
        let mut t = 0;
        while t < Timer::ALL.len() {
            inputs[i + t] = ServerInput::Timer(Timer::ALL[t]);
            t += 1;
        }
        inputs[18] = ServerInput::Request;
        inputs[19] = ServerInput::Ack;
        inputs
    };

    /// Runs every state with every input; a pair without a cell must change nothing and do nothing.
    pub(crate) fn assert_table<S: Copy + PartialEq + Debug, I: Copy + PartialEq + Debug>(
        states: &[S],
        inputs: &[I],
        cells: &[Cell<S, I>],
        run: impl Fn(S, I) -> (S, Step),
    ) {
        for (state, input, ..) in cells {
            assert!(states.contains(state) && inputs.contains(input), "unreachable cell {state:?} {input:?}");
        }
        for state in states {
            for input in inputs {
                let expected = cells
                    .iter()
                    .find(|(s, i, ..)| s == state && i == input)
                    .map_or((*state, Step::NONE), |(_, _, next, step)| (*next, *step));
                assert_eq!(run(*state, *input), expected, "in {state:?} on {input:?}");
            }
        }
    }
}
