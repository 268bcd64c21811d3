//! The way to the bot through a call: being opened, open, waiting for another attempt, or given up.

use super::connect::ConnectError;
use super::limits::{RECONNECT_WAIT, STEADY_AFTER};
use super::setup::{BotSetup, Connecting};
use super::socket::{Lost, Socket, SocketEvent};
use crate::base::Random;
use crate::base::backoff::Backoff;
use std::sync::Arc;
use std::time::Instant;

/// WebSocket close code of an end in good order (RFC 6455 §7.4.1).
pub(super) const NORMAL: u16 = 1_000;

/// Where the link stands.
enum State {
    Opening(Connecting),
    Open(Box<Socket>),
    /// Another attempt at this time.
    Waiting(Instant),
    Gone,
}

/// What comes from there.
pub(super) enum LinkEvent {
    /// It is open: the first time, or again.
    Opened,
    /// An attempt failed.
    NotOpened(String),
    Socket(SocketEvent),
    /// It is time for another attempt.
    Due,
}

/// See the module.
pub(super) struct Link {
    setup: Arc<BotSetup>,
    state: State,
    attempts: u32,
    backoff: Backoff,
    /// Times it was opened.
    pub(super) opened: u64,
}

impl Link {
    /// Goes on with an attempt that began while the phone rang, or begins one.
    pub(super) fn new(setup: &Arc<BotSetup>, begun: Option<Connecting>) -> Self {
        let opening = begun.unwrap_or_else(|| setup.connect());
        let (first, ceiling) = RECONNECT_WAIT;
        Self {
            setup: Arc::clone(setup),
            state: State::Opening(opening),
            attempts: 0,
            backoff: Backoff::new(first, ceiling),
            opened: 0,
        }
    }

    /// The open connection.
    pub(super) fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.state {
            State::Open(socket) => Some(socket),
            _ => None,
        }
    }

    /// Whether it was given up.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// The next thing from there; pending while there is nothing, and while [`Self::timeout`] has not come. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Open(socket) => LinkEvent::Socket(socket.next().await),
            State::Opening(opening) => {
                let opened = opening.await.unwrap_or_else(|_| Err(ConnectError::Unreachable("a bug".to_owned())));
                match opened {
                    Ok(socket) => {
                        self.state = State::Open(Box::new(socket));
                        self.opened += 1;
                        LinkEvent::Opened
                    }
                    Err(error) => {
                        self.state = State::Gone;
                        LinkEvent::NotOpened(error.to_string())
                    }
                }
            }
            State::Waiting(at) if *at <= Instant::now() => LinkEvent::Due,
            State::Waiting(_) | State::Gone => std::future::pending().await,
        }
    }

    /// The connection is of no more use, or none came about: another attempt follows after a while. False when there
    /// were enough.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        if let State::Open(socket) = &self.state
            && now.saturating_duration_since(socket.opened_at) >= STEADY_AFTER
        {
            self.attempts = 0;
            self.backoff.reset();
        }
        self.give_up(NORMAL, "");
        self.attempts += 1;
        if self.attempts > self.setup.bridge.reconnects {
            return false;
        }
        self.state = State::Waiting(now + self.backoff.next_wait(&mut Random::system()));
        true
    }

    /// Makes the attempt that is due.
    pub(super) fn attempt(&mut self) {
        self.state = State::Opening(self.setup.connect());
    }

    /// Gives the bot up; an open connection is closed with this code.
    pub(super) fn give_up(&mut self, code: u16, reason: &str) {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Open(socket) => socket.close(code, reason),
            State::Opening(opening) => opening.abort(),
            State::Waiting(_) | State::Gone => {}
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Open(socket) => Some(socket.timeout()),
            State::Waiting(at) => Some(*at),
            _ => None,
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        match &mut self.state {
            State::Open(socket) if socket.timeout() <= now => socket.handle_timeout(now),
            _ => Ok(()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let State::Opening(opening) = &self.state {
            opening.abort();
        }
    }
}
