//! The WebSocket of one call: never waits, writes what is ready in one piece, notices that nobody is there.

use super::limits::{DEAD_AFTER, GOODBYE, PING_AFTER, STALLED_AFTER};
use super::pipe::{Pipe, would_block};
use super::stream::BotStream;
use crate::providers::bot::Opcode;
use bytes::{Bytes, BytesMut};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// Why a connection is of no more use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The bot closed it in good order (1000): it has done its part.
    #[error("the bot has finished")]
    Done,
    /// The bot closed it with another code: it goes away, restarts, or met a bug.
    #[error("the bot closed the connection with {0}")]
    Closed(u16),
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came, not even an answer to a ping.
    #[error("the bot gave no sign of life for {} s", DEAD_AFTER.as_secs())]
    Silent,
    /// The bot does not read.
    #[error("the bot has read nothing for {} s", STALLED_AFTER.as_secs())]
    Stalled,
    /// The bot does not keep to the protocol; it was told so.
    #[error("the bot was cut off: {0}")]
    CutOff(&'static str),
}

impl Lost {
    /// Whether another connection may go better.
    pub(super) fn may_be_retried(&self) -> bool {
        !matches!(self, Self::Done | Self::CutOff(_))
    }
}

/// What a connection has to tell.
#[derive(Debug)]
pub(super) enum SocketEvent {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// What was queued has been written: there is room again.
    Writable,
    Lost(Lost),
}

/// See the module.
#[derive(Debug)]
pub struct Socket {
    socket: WebSocket<Pipe>,
    /// Something is queued and not yet written.
    dirty: bool,
    /// Nothing is to be read before [`Self::beat`]; `None` while the runtime says when there is.
    drained: Option<bool>,
    /// Since when the other end takes nothing.
    blocked_since: Option<Instant>,
    heard_at: Instant,
    pinged: bool,
    pub(super) opened_at: Instant,
}

impl Socket {
    pub(super) fn new(socket: WebSocket<Pipe>, now: Instant) -> Self {
        Self { socket, dirty: false, drained: None, blocked_since: None, heard_at: now, pinged: false, opened_at: now }
    }

    fn stream(&mut self) -> &mut BotStream {
        self.socket.get_mut().connection.stream()
    }

    /// From here on it is read when [`Self::beat`] says so, and whoever waits for [`Self::next`] polls it again then.
    pub(super) fn keep_time(&mut self) {
        self.stream().unwatch();
        self.drained = Some(false);
    }

    /// It is time to read what has come.
    pub(super) fn beat(&mut self) {
        if let Some(drained) = &mut self.drained {
            *drained = false;
            self.stream().allow_reading();
        }
    }

    /// Whether it waits for [`Self::beat`].
    pub(super) fn keeps_time(&self) -> bool {
        self.drained.is_some()
    }

    /// Whether caller audio may be queued at this moment.
    pub(super) fn is_writable(&self) -> bool {
        self.blocked_since.is_none()
    }

    /// Queues a message; [`Self::next`] writes it.
    pub(super) fn send(&mut self, opcode: Opcode, message: BytesMut) -> Result<(), Lost> {
        let message = match opcode {
            Opcode::Binary => Message::Binary(message.freeze()),
            Opcode::Text => {
                let text = Utf8Bytes::try_from(message.freeze());
                Message::Text(text.map_err(|_| Lost::Broken("a text of ours is no UTF-8".to_owned()))?)
            }
        };
        self.queue(message)
    }

    fn queue(&mut self, message: Message) -> Result<(), Lost> {
        self.dirty = true;
        match self.socket.write(message) {
            Ok(()) => Ok(()),
            // It is queued.
            Err(error) if would_block(&error) => Ok(()),
            Err(Error::WriteBufferFull(_)) => Err(Lost::Stalled),
            Err(error) => Err(lost(error)),
        }
    }

    /// The next thing that comes, after everything queued has been written as far as it can be. Cancel-safe.
    pub(super) async fn next(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<SocketEvent> {
        self.socket.get_mut().serve(cx);
        if self.dirty {
            match self.socket.flush() {
                // Closed by both ends: nothing is left to be written.
                Ok(()) | Err(Error::ConnectionClosed) => {
                    self.dirty = false;
                    if self.blocked_since.take().is_some() {
                        return Poll::Ready(SocketEvent::Writable);
                    }
                }
                Err(error) if would_block(&error) => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                }
                Err(error) => return Poll::Ready(SocketEvent::Lost(lost(error))),
            }
        }
        if self.drained == Some(true) {
            return Poll::Pending;
        }
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(error) if would_block(&error) => {
                    if let Some(drained) = &mut self.drained {
                        *drained = true;
                    }
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(SocketEvent::Lost(lost(error))),
            };
            self.heard_at = Instant::now();
            self.pinged = false;
            return Poll::Ready(match message {
                Message::Text(text) => SocketEvent::Text(text),
                Message::Binary(octets) => SocketEvent::Binary(octets),
                Message::Close(frame) => {
                    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                    SocketEvent::Lost(if code == CloseCode::Normal { Lost::Done } else { Lost::Closed(code.into()) })
                }
                // The answer to a ping has been queued by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    self.dirty = true;
                    continue;
                }
            });
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(super) fn timeout(&self) -> Instant {
        let life = self.heard_at + if self.pinged { DEAD_AFTER } else { PING_AFTER };
        self.blocked_since.map_or(life, |since| life.min(since + STALLED_AFTER))
    }

    /// Time has passed: asks for a sign of life, or gives the connection up.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        let passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if self.blocked_since.is_some_and(|since| passed(since, STALLED_AFTER)) {
            return Err(Lost::Stalled);
        }
        if passed(self.heard_at, DEAD_AFTER) {
            return Err(Lost::Silent);
        }
        if !self.pinged && passed(self.heard_at, PING_AFTER) {
            self.pinged = true;
            self.queue(Message::Ping(Bytes::new()))?;
        }
        Ok(())
    }

    /// Says goodbye and writes what is queued, for a short time, by itself.
    pub(super) fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from(reason) };
        self.stream().watch();
        self.drained = None;
        tokio::spawn(async move {
            let goodbye = async {
                // Where the bot has closed first, the answer to that is what waits to be written.
                let _ = self.queue(Message::Close(Some(frame)));
                while !matches!(self.next().await, SocketEvent::Lost(_)) {}
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        });
    }
}

fn lost(error: Error) -> Lost {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => Lost::Broken("it ended".to_owned()),
        Error::Capacity(_) => Lost::CutOff("a message is too large"),
        Error::Protocol(_) | Error::Utf8(_) | Error::AttackAttempt => Lost::CutOff("it speaks no WebSocket"),
        other => Lost::Broken(other.to_string()),
    }
}
