//! The connection to a bot as the WebSocket's machine wants it: reads and writes that never wait.

use super::connect::Connection;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::client_with_config;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, WebSocket};

/// See the module. One task reads and writes, so there is one to wake.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) connection: Connection,
    waker: Waker,
}

impl Pipe {
    /// From here on this task is woken where it has to wait.
    pub(super) fn serve(&mut self, cx: &Context<'_>) {
        self.waker.clone_from(cx.waker());
    }

    fn attempt<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Connection>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        match poll(Pin::new(&mut self.connection), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(room);
        self.attempt(|connection, cx| connection.poll_read(cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.attempt(|connection, cx| connection.poll_write(cx, octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(|connection, cx| connection.poll_flush(cx))
    }
}

/// Whether there is nothing to do but to wait for the other end.
pub(super) fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Asks the other end of a connection for a WebSocket (RFC 6455 §4.1).
///
/// # Errors
/// It answered with something else, or the connection broke.
pub(super) async fn upgrade(
    connection: Connection,
    request: Request,
    config: WebSocketConfig,
) -> Result<WebSocket<Pipe>, Error> {
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let mut shaken = client_with_config(request, Pipe { connection, waker }, Some(config));
    loop {
        let mut middle = match shaken {
            Ok((socket, _)) => return Ok(socket),
            Err(HandshakeError::Failure(error)) => return Err(error),
            Err(HandshakeError::Interrupted(middle)) => middle,
        };
        let mut has_waited = false;
        poll_fn(|cx| {
            middle.get_mut().get_mut().serve(cx);
            if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        shaken = middle.handshake();
    }
}
