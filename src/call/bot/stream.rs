//! The TCP stream to a bot, in one of two ways: as the runtime's, which says when there is something to read, or unknown
//! to it, read when the call says so.
//!
//! Audio of the bot is wanted once in every turn of the line, at a known time. A stream that the runtime watches costs a
//! wake-up for each piece of it besides.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub(super) enum BotStream {
    /// The runtime wakes whoever waits for it.
    Watched(TcpStream),
    /// Nobody is woken: whoever polls it polls it again. Read only once it was [allowed](Self::allow_reading), until it is
    /// empty.
    Unwatched { stream: std::net::TcpStream, may_read: bool },
    /// The system refused to change between the two.
    Broken,
}

impl BotStream {
    /// Leaves the runtime.
    pub(super) fn unwatch(&mut self) {
        if let Self::Watched(stream) = std::mem::replace(self, Self::Broken)
            && let Ok(stream) = stream.into_std()
        {
            *self = Self::Unwatched { stream, may_read: true };
        }
    }

    /// Goes back to the runtime that is entered.
    pub(super) fn watch(&mut self) {
        match std::mem::replace(self, Self::Broken) {
            Self::Unwatched { stream, .. } => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    *self = Self::Watched(stream);
                }
            }
            other => *self = other,
        }
    }

    /// Lets an unwatched stream be read until it is empty.
    pub(super) fn allow_reading(&mut self) {
        if let Self::Unwatched { may_read, .. } = self {
            *may_read = true;
        }
    }
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(ErrorKind::NotConnected.into()))
}

/// Tries until it is not interrupted; without a result there is none at this moment.
fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            result => return Poll::Ready(result),
        }
    }
}

impl AsyncRead for BotStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unwatched { may_read: false, .. } => Poll::Pending,
            Self::Unwatched { stream, may_read } => {
                let room = buffer.initialize_unfilled();
                let length = room.len();
                let read = attempt(|| stream.read(room));
                // As much as there was room for: there may be more. Nothing at all is the end, which stays.
                *may_read = matches!(read, Poll::Ready(Ok(count)) if count == length || count == 0);
                read.map_ok(|count| buffer.advance(count))
            }
            Self::Broken => broken(),
        }
    }
}

impl AsyncWrite for BotStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Unwatched { stream, .. } => attempt(|| stream.write(octets)),
            Self::Broken => broken(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TCP streams keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unwatched { stream, .. } => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Self::Broken => broken(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_immediate;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (BotStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (BotStream::Watched(near.unwrap()), far.unwrap().0)
    }

    #[tokio::test]
    async fn an_unwatched_stream_is_read_only_when_it_may_and_until_it_is_empty() {
        let (mut near, mut far) = pair().await;
        near.unwatch();
        let mut room = [0; 8];
        assert!(poll_immediate(near.read(&mut room)).await.is_none(), "nothing has come");
        far.write_all(b"0123456789").await.unwrap();
        far.flush().await.unwrap();
        assert!(poll_immediate(near.read(&mut room)).await.is_none(), "nobody asked");
        // It is on its way within the machine.
        let first = loop {
            near.allow_reading();
            if let Some(count) = poll_immediate(near.read(&mut room)).await {
                break count.unwrap();
            }
            tokio::task::yield_now().await;
        };
        let second = poll_immediate(near.read(&mut room)).await;
        assert_eq!((first, second.unwrap().unwrap()), (8, 2));
        assert!(poll_immediate(near.read(&mut room)).await.is_none(), "a short read was the last");
        near.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        far.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
    }

    #[tokio::test]
    async fn a_stream_that_is_watched_again_wakes_its_reader_and_shows_its_end() {
        let (mut near, mut far) = pair().await;
        near.unwatch();
        near.watch();
        far.write_all(b"hello").await.unwrap();
        drop(far);
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"hello");
    }
}
