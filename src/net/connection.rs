//! One stream: a task that opens it, cuts messages out of it, writes what is queued and keeps it alive.

use super::connections::ConnectionId;
use super::keep_alive::{Due, KeepAlive, PING, PONG};
use super::limits::{QUEUED_OVERHEAD_BYTES, SEND_QUEUE_BYTES};
use super::tls::{PeerCertificates, tls_in_words};
use crate::base::Random;
use crate::sip::{Framer, StreamDeadlines, StreamItem};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep_until, timeout};

/// Bytes read at a time: most messages are shorter, and thousands of idle streams hold one such buffer each.
const READ_BYTES: usize = 4_096;
/// Queued messages are written together up to this size.
const WRITE_BYTES: usize = 16 * 1024;
/// While more than this waits to be written, nothing more is read.
const READING_STOPS_BYTES: usize = SEND_QUEUE_BYTES / 2;
/// How long a polite end of a stream may take.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// What a stream tells the driver.
#[derive(Debug)]
pub(super) enum Report {
    /// It is open; with the certificates that the peer has shown.
    Open(ConnectionId, PeerCertificates),
    /// A message came.
    Message(ConnectionId, Vec<u8>),
    /// It has ended, and why.
    Closed(ConnectionId, String),
}

/// What the driver tells a stream.
#[derive(Debug)]
pub(super) enum Order {
    Send(Vec<u8>),
    /// What the peer is allowed from here on.
    Deadlines(StreamDeadlines),
    /// The period of pings; `None` sends none.
    KeepAlive(Option<Duration>),
}

/// The driver's end of a stream. Dropped, the stream writes what is queued and closes.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    queued: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Handle {
    /// Queues a message; false when the queue is full, so that the stream has to be cut off.
    pub(super) fn send(&self, bytes: Vec<u8>) -> bool {
        let cost = bytes.len().saturating_add(QUEUED_OVERHEAD_BYTES);
        if self.queued.load(Ordering::Relaxed).saturating_add(cost) > SEND_QUEUE_BYTES {
            return false;
        }
        self.queued.fetch_add(cost, Ordering::Relaxed);
        self.order(Order::Send(bytes));
        true
    }

    pub(super) fn order(&self, order: Order) {
        // A stream that has ended has reported so.
        let _ = self.orders.send(order);
    }

    /// Ends the stream at once, whatever is queued.
    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

/// The stream's end of what ties it to the driver.
#[derive(Debug)]
pub(super) struct Line {
    id: ConnectionId,
    reports: mpsc::Sender<Report>,
    orders: mpsc::UnboundedReceiver<Order>,
    queued: Arc<AtomicUsize>,
    limits: StreamLimits,
}

/// What a stream's peer is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamLimits {
    pub(super) deadlines: StreamDeadlines,
    /// How long it may leave unread what we write.
    pub(super) write_time: Duration,
}

/// Starts the task of a stream. `open` makes the stream, or says in words why there is none.
pub(super) fn spawn<S, O>(
    id: ConnectionId,
    reports: mpsc::Sender<Report>,
    limits: StreamLimits,
    open: impl FnOnce() -> O,
) -> Handle
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    O: Future<Output = Result<(S, PeerCertificates), String>> + Send + 'static,
{
    let (orders, received) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let mut line = Line { id, reports, orders: received, queued: Arc::clone(&queued), limits };
    let open = open();
    let task = tokio::spawn(async move {
        let reason = match open.await {
            Ok((stream, certificates)) => {
                if line.reports.send(Report::Open(id, certificates)).await.is_err() {
                    return;
                }
                line.carry(stream).await
            }
            Err(reason) => reason,
        };
        // Without a driver nobody wants to know.
        let _ = line.reports.send(Report::Closed(id, reason)).await;
    });
    Handle { orders, queued, task: task.abort_handle() }
}

impl Line {
    /// Moves bytes until the stream ends, and says why it did.
    async fn carry(&mut self, stream: impl AsyncRead + AsyncWrite) -> String {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut framer = Framer::new(Instant::now(), self.limits.deadlines);
        let mut pulse: Option<(KeepAlive, Random)> = None;
        let mut buffer = vec![0; READ_BYTES];
        let mut out = Vec::new();
        let mut written = 0;
        let mut must_flush = false;
        let mut wrote_at = Instant::now();
        loop {
            let wake = framer.poll_timeout();
            let wake = pulse.as_ref().map_or(wake, |(pulse, _)| pulse.poll_timeout().min(wake));
            let rest = out.get(written..).unwrap_or_default();
            let is_writing = must_flush || !rest.is_empty();
            let wake = if is_writing { wake.min(wrote_at + self.limits.write_time) } else { wake };
            // A peer that asks faster than it reads our answers is slowed down rather than cut off.
            let has_room = self.queued.load(Ordering::Relaxed).saturating_add(rest.len()) < READING_STOPS_BYTES;
            tokio::select! {
                read = reader.read(&mut buffer), if has_room => {
                    let mut input = match read {
                        Ok(0) => return "the peer closed the connection".to_owned(),
                        Ok(length) => buffer.get(..length).unwrap_or_default(),
                        Err(error) => return in_words(&error),
                    };
                    let now = Instant::now();
                    loop {
                        match framer.next(now, &mut input) {
                            Ok(None) => break,
                            Ok(Some(StreamItem::Message(bytes))) => {
                                if let Some((pulse, _)) = &mut pulse {
                                    pulse.handle_message();
                                }
                                if self.reports.send(Report::Message(self.id, bytes)).await.is_err() {
                                    return "the server has stopped".to_owned();
                                }
                            }
                            Ok(Some(StreamItem::Ping)) => out.extend_from_slice(PONG),
                            Ok(Some(StreamItem::Pong)) => {
                                if let Some((pulse, _)) = &mut pulse {
                                    pulse.handle_pong();
                                }
                            }
                            Err(fault) => return fault.to_string(),
                        }
                    }
                    if !is_writing {
                        wrote_at = now;
                    }
                }
                wrote = push(&mut writer, rest), if is_writing => match wrote {
                    Ok(0) if rest.is_empty() => must_flush = false,
                    Ok(0) => return "the connection takes no more".to_owned(),
                    Ok(count) => {
                        wrote_at = Instant::now();
                        written = written.saturating_add(count);
                        must_flush = true;
                        if written == out.len() {
                            out.clear();
                            written = 0;
                        }
                    }
                    Err(error) => return in_words(&error),
                },
                order = self.orders.recv(), if !is_writing => match order {
                    Some(order) => {
                        wrote_at = Instant::now();
                        self.obey(order, &mut framer, &mut pulse, &mut out);
                        while out.len() < WRITE_BYTES && let Ok(order) = self.orders.try_recv() {
                            self.obey(order, &mut framer, &mut pulse, &mut out);
                        }
                    }
                    None => {
                        // Whether the peer takes notice changes nothing.
                        let _ = timeout(SHUTDOWN_TIME, writer.shutdown()).await;
                        return "closed by us".to_owned();
                    }
                },
                () = sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if is_writing && now >= wrote_at + self.limits.write_time {
                        return "the peer does not read what is sent to it".to_owned();
                    }
                    if !is_writing {
                        wrote_at = now;
                    }
                    if !has_room {
                        framer.postpone(now);
                    }
                    if let Err(fault) = framer.handle_timeout(now) {
                        return fault.to_string();
                    }
                    if let Some((pulse, random)) = &mut pulse {
                        match pulse.handle_timeout(now, random) {
                            Some(Due::Ping) => {
                                framer.expect_pong();
                                out.extend_from_slice(PING);
                            }
                            Some(Due::Dead) => return "the peer does not answer keep-alives any more".to_owned(),
                            None => {}
                        }
                    }
                }
            }
        }
    }

    fn obey(&self, order: Order, framer: &mut Framer, pulse: &mut Option<(KeepAlive, Random)>, out: &mut Vec<u8>) {
        match order {
            Order::Send(bytes) => {
                self.queued.fetch_sub(bytes.len().saturating_add(QUEUED_OVERHEAD_BYTES), Ordering::Relaxed);
                out.extend_from_slice(&bytes);
            }
            Order::Deadlines(deadlines) => framer.set_deadlines(deadlines),
            Order::KeepAlive(period) => {
                let mut random = Random::system();
                *pulse = period.map(|period| (KeepAlive::new(Instant::now(), period, &mut random), random));
            }
        }
    }
}

/// Writes some of `bytes`, or flushes when there are none.
async fn push(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    writer.write(bytes).await
}

/// What a person can do something with.
pub(super) fn in_words(error: &io::Error) -> String {
    if let Some(words) = tls_in_words(error) {
        return words;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there, or a firewall rejects us".to_owned()
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the peer broke the connection off".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no route to that address".to_owned()
        }
        io::ErrorKind::TimedOut => "the peer does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "the peer closed the connection in the middle of TLS".to_owned(),
        _ => error.to_string(),
    }
}
