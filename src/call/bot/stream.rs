//! The TCP stream to a bot, in one of two ways: as the runtime's, which says when there is something to read, or unknown
//! to it, read when the call says so.
//!
//! Audio of the bot is wanted once in every turn of the line, at a known time. A stream that the runtime watches costs a
//! wake-up for each piece of it besides.

use super::limits::READ_BYTES;
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

thread_local! {
    /// What streams that nobody watches are read into, one after the other: it stays in the processor's cache, and one
    /// system call brings all there is.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// See the module.
#[derive(Debug)]
pub(super) struct BotStream {
    way: Way,
    /// Read from the system and not yet by whoever reads here.
    rest: Vec<u8>,
}

#[derive(Debug)]
enum Way {
    /// The runtime wakes whoever waits for it.
    Watched(TcpStream),
    /// Nobody is woken: whoever polls it polls it again. Read only once it was [allowed](BotStream::allow_reading), until it
    /// is empty.
    Unwatched { stream: std::net::TcpStream, may_read: bool },
    /// The system refused to change between the two.
    Broken,
}

impl BotStream {
    /// A stream that the runtime watches.
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { way: Way::Watched(stream), rest: Vec::new() }
    }

    /// Leaves the runtime.
    pub(super) fn unwatch(&mut self) {
        if let Way::Watched(stream) = std::mem::replace(&mut self.way, Way::Broken)
            && let Ok(stream) = stream.into_std()
        {
            self.way = Way::Unwatched { stream, may_read: true };
        }
    }

    /// Goes back to the runtime that is entered.
    pub(super) fn watch(&mut self) {
        match std::mem::replace(&mut self.way, Way::Broken) {
            Way::Unwatched { stream, .. } => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    self.way = Way::Watched(stream);
                }
            }
            other => self.way = other,
        }
    }

    /// Lets an unwatched stream be read until it is empty.
    pub(super) fn allow_reading(&mut self) {
        if let Way::Unwatched { may_read, .. } = &mut self.way {
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

/// Moves as much of `octets` into `buffer` as fits; how much that is.
fn hand_over(octets: &[u8], buffer: &mut ReadBuf<'_>) -> usize {
    let fits = octets.get(..octets.len().min(buffer.remaining())).unwrap_or_default();
    buffer.put_slice(fits);
    fits.len()
}

impl AsyncRead for BotStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { way, rest } = self.get_mut();
        if !rest.is_empty() {
            rest.drain(..hand_over(rest, buffer));
            if rest.is_empty() {
                *rest = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        match way {
            Way::Watched(stream) => Pin::new(stream).poll_read(cx, buffer),
            Way::Unwatched { may_read: false, .. } => Poll::Pending,
            Way::Unwatched { stream, may_read } => ROOM.with_borrow_mut(|room| {
                let read = attempt(|| stream.read(room));
                // As much as there was room for: there may be more. Nothing at all is the end, which stays.
                *may_read = matches!(read, Poll::Ready(Ok(count)) if count == room.len() || count == 0);
                read.map_ok(|count| {
                    let octets = room.get(..count).unwrap_or_default();
                    let (_, later) = octets.split_at(hand_over(octets, buffer));
                    rest.extend_from_slice(later);
                })
            }),
            Way::Broken => broken(),
        }
    }
}

impl AsyncWrite for BotStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().way {
            Way::Watched(stream) => Pin::new(stream).poll_write(cx, octets),
            Way::Unwatched { stream, .. } => attempt(|| stream.write(octets)),
            Way::Broken => broken(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TCP streams keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Way::Unwatched { stream, .. } => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Way::Broken => broken(),
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
        (BotStream::new(near.unwrap()), far.unwrap().0)
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
        assert!(poll_immediate(near.read(&mut room)).await.is_none(), "that was all of it");
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
