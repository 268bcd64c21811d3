//! One connection by octets: reads and writes at once, drips, stalls and lets go.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;

/// The octets read at a time.
const SCRATCH: usize = 8 * 1024;

/// How long a goodbye may take to be written.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the client may take to leave behind a goodbye; a close with octets unread would be a reset.
const LEAVE: Duration = Duration::from_millis(100);

/// How often a stalled connection is looked at for whether its client is still there.
const STALL_LOOK: Duration = Duration::from_millis(50);

/// A TCP connection whose handle can be kept beside the stream that uses it, to reset it from there.
#[derive(Clone)]
pub struct Tcp(Arc<TcpStream>);

impl Tcp {
    /// Takes over a connection. One task reads and writes it.
    pub fn new(tcp: TcpStream) -> Self {
        // Without it the fake is slower, not wrong.
        let _ = tcp.set_nodelay(true);
        Self(Arc::new(tcp))
    }

    /// Makes the close of the connection a reset.
    pub fn close_by_reset(&self) {
        // A socket that is closed already needs no reset.
        let _ = self.0.set_zero_linger();
    }

    /// Waits a moment without a read or a write; false when the client has closed its side.
    pub async fn stall(&self) -> bool {
        tokio::time::sleep(STALL_LOOK).await;
        match tokio::time::timeout(Duration::ZERO, self.0.ready(Interest::READABLE)).await {
            Ok(Ok(ready)) => !ready.is_read_closed(),
            Ok(Err(_)) => false,
            Err(_) => true,
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(into.initialize_unfilled()) {
                Ok(n) => {
                    into.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(octets) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}

/// A stream over a TCP connection.
pub trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The connection below.
    fn tcp(&self) -> &Tcp;
}

impl Line for Tcp {
    fn tcp(&self) -> &Tcp {
        self
    }
}

impl Line for TlsStream<Tcp> {
    fn tcp(&self) -> &Tcp {
        self.get_ref().0
    }
}

/// What ended a [`Wire::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more in the inbox.
    Heard,
    /// The outbox is empty and flushed.
    Drained,
    /// The time asked for has come.
    Due,
    /// The client is gone.
    Gone,
}

/// A line with what came from it and what is to go.
pub struct Wire<L> {
    line: L,
    /// Octets read and not yet understood.
    pub inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    unflushed: bool,
    /// The time between two octets, when they drip.
    pub drip: Option<Duration>,
    next_octet: Instant,
    alarm: Pin<Box<Sleep>>,
    scratch: Box<[u8; SCRATCH]>,
}

impl<L: Line> Wire<L> {
    /// A fresh line.
    pub fn new(line: L) -> Self {
        let now = Instant::now();
        Self {
            line,
            inbox: Vec::new(),
            outbox: Vec::new(),
            sent: 0,
            unflushed: false,
            drip: None,
            next_octet: now,
            alarm: Box::pin(sleep_until(now)),
            scratch: Box::new([0; SCRATCH]),
        }
    }

    /// Puts octets behind those that wait to go.
    pub fn push(&mut self, octets: &[u8]) {
        self.outbox.extend_from_slice(octets);
    }

    /// True while octets wait to go.
    pub fn pending(&self) -> bool {
        self.unflushed || self.sent < self.outbox.len()
    }

    /// Writes and reads until something happened. Dropping the future loses nothing.
    pub async fn turn(&mut self, wake: Option<Instant>) -> Turn {
        poll_fn(|cx| self.poll_turn(cx, wake)).await
    }

    /// Writes all that waits; false when the client left before. What comes meanwhile stays in the inbox.
    pub async fn drain(&mut self) -> bool {
        while self.pending() {
            if self.turn(None).await == Turn::Gone {
                return false;
            }
        }
        true
    }

    /// Waits for `time`; false when the client left before.
    pub async fn wait(&mut self, time: Instant) -> bool {
        loop {
            match self.turn(Some(time)).await {
                Turn::Due => return true,
                Turn::Gone => return false,
                Turn::Heard | Turn::Drained => {}
            }
        }
    }

    /// Says goodbye as the transport does (TLS `close_notify`, FIN) behind what waits to go, and waits a little for
    /// the client to do the same.
    pub async fn hang_up(mut self) {
        let goodbye = async { self.drain().await && self.line.shutdown().await.is_ok() };
        if tokio::time::timeout(GOODBYE, goodbye).await == Ok(true) {
            // A client that stays is dropped.
            let _ = tokio::time::timeout(LEAVE, self.deafen()).await;
        }
    }

    /// Reads and forgets until the client leaves.
    pub async fn deafen(&mut self) {
        while self.turn(None).await != Turn::Gone {
            self.inbox.clear();
        }
    }

    /// Returns after a moment, true as long as the client is there; nothing is read or written.
    pub async fn stall(&self) -> bool {
        self.line.tcp().stall().await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, wake: Option<Instant>) -> Poll<Turn> {
        loop {
            if self.pending() {
                match self.poll_write(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Turn::Drained),
                    Poll::Ready(Err(_)) => return Poll::Ready(Turn::Gone),
                    Poll::Pending => {}
                }
            }
            let mut into = ReadBuf::new(&mut self.scratch[..]);
            match Pin::new(&mut self.line).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                    self.inbox.extend_from_slice(into.filled());
                    return Poll::Ready(Turn::Heard);
                }
                Poll::Ready(_) => return Poll::Ready(Turn::Gone),
                Poll::Pending => {}
            }
            let octet = (self.drip.is_some() && self.sent < self.outbox.len()).then_some(self.next_octet);
            let Some(alarm) = wake.into_iter().chain(octet).min() else { return Poll::Pending };
            if self.alarm.deadline() != alarm || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(alarm);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if wake.is_some_and(|wake| wake <= Instant::now()) {
                return Poll::Ready(Turn::Due);
            }
        }
    }

    /// Ready when all is written and flushed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outbox.len() {
            let mut end = self.outbox.len();
            if let Some(interval) = self.drip {
                let now = Instant::now();
                if now < self.next_octet {
                    break;
                }
                self.next_octet = now + interval;
                end = self.sent + 1;
            }
            match Pin::new(&mut self.line).poll_write(cx, &self.outbox[self.sent..end])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => self.sent += n,
                Poll::Pending => return Poll::Pending,
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.line).poll_flush(cx))?;
            self.unflushed = false;
        }
        if self.sent < self.outbox.len() {
            return Poll::Pending;
        }
        self.outbox.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
