//! Messages out of a stream: RFC 3261 §18.3, keep-alives of RFC 5626 §3.5.1 and §4.4.1, and how long a peer may take.
//!
//! Incremental and bounded: whatever is fed, at most one unfinished message is kept, and each byte is looked at once. A
//! fault is final, since after it nobody knows where the next message begins: the connection is to be closed.

use super::limits;
use super::message::frame_parts;
use super::parse::Fault;
use std::time::{Duration, Instant};

/// How long the parts of a message, and the silence between messages, may take. Answers slow-loris connections
/// (security class 12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamDeadlines {
    /// From the first byte of a message to the empty line after its headers.
    pub header: Duration,
    /// From there to the end of its body.
    pub body: Duration,
    /// Between messages or keep-alives.
    pub idle: Duration,
}

impl StreamDeadlines {
    /// For a peer that we have nothing to do with yet: 5 s, 5 s, 120 s.
    pub const STRANGER: Self =
        Self { header: Duration::from_secs(5), body: Duration::from_secs(5), idle: Duration::from_secs(120) };

    /// For trunks and registrars, whose connections are kept between calls: an hour of silence.
    pub const PEER: Self = Self { idle: Duration::from_secs(3_600), ..Self::STRANGER };
}

/// What a stream holds.
#[derive(Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// One whole message, without the line breaks before it.
    Message(Vec<u8>),
    /// A keep-alive that wants a single CRLF as answer (RFC 5626 §3.5.1).
    Ping,
    /// The answer to a keep-alive of ours.
    Pong,
}

impl std::fmt::Debug for StreamItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "Message({} bytes)", bytes.len()),
            Self::Ping => f.write_str("Ping"),
            Self::Pong => f.write_str("Pong"),
        }
    }
}

/// Why a stream has to be closed. The fault is the peer's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamFault {
    /// No message can be told apart any more.
    #[error("no SIP message can be read: {0}")]
    Framing(#[from] Fault),
    /// The headers took too long.
    #[error("the headers of a message were not complete in time")]
    SlowHeader,
    /// The body took too long.
    #[error("the body of a message was not complete in time")]
    SlowBody,
    /// Nothing came for too long.
    #[error("nothing was received for too long")]
    Idle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Between,
    Head,
    Body { missing: usize },
}

/// Cuts one stream into messages. Time is a parameter.
#[derive(Debug)]
pub struct Framer {
    deadlines: StreamDeadlines,
    part: Part,
    /// When the part began; between messages, when the last whole item came.
    since: Instant,
    /// The unfinished message.
    buffer: Vec<u8>,
    /// Where its last line begins, and the header field that the line belongs to.
    line: usize,
    field: usize,
    /// Lines that are no folds.
    fields: usize,
    /// Line breaks since the last item.
    breaks: u8,
    awaits_pong: bool,
}

impl Framer {
    /// A framer for a stream opened at `now`.
    #[must_use]
    pub fn new(now: Instant, deadlines: StreamDeadlines) -> Self {
        Self {
            deadlines,
            part: Part::Between,
            since: now,
            buffer: Vec::new(),
            line: 0,
            field: 0,
            fields: 0,
            breaks: 0,
            awaits_pong: false,
        }
    }

    /// Changes what the peer is allowed.
    pub fn set_deadlines(&mut self, deadlines: StreamDeadlines) {
        self.deadlines = deadlines;
    }

    /// A ping was sent: the next lone line break is its answer.
    pub fn expect_pong(&mut self) {
        self.awaits_pong = true;
    }

    /// Takes the next item out of `input`, which is advanced past what was read; `None` when all of it was. Call it until
    /// then for each piece received.
    ///
    /// # Errors
    /// [`StreamFault::Framing`]: over a limit, or no usable Content-Length. Close the stream.
    pub fn next(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<StreamItem>, StreamFault> {
        while let Some(first) = input.first().copied() {
            match self.part {
                Part::Between if matches!(first, b'\r' | b'\n' | 0) => {
                    *input = input.get(1..).unwrap_or_default();
                    if first == b'\n'
                        && let Some(item) = self.line_break()
                    {
                        self.since = now;
                        return Ok(Some(item));
                    }
                }
                Part::Between => self.begin(now),
                Part::Head => {
                    if self.read_line(input)? {
                        let (_, body) = frame_parts(&self.buffer)?.unwrap_or_default();
                        if body == 0 {
                            return Ok(Some(self.finish(now)));
                        }
                        self.since = now;
                        self.part = Part::Body { missing: body };
                    }
                }
                Part::Body { missing } => {
                    let (piece, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
                    self.buffer.extend_from_slice(piece);
                    let missing = missing.saturating_sub(piece.len());
                    *input = rest;
                    self.part = Part::Body { missing };
                    if missing == 0 {
                        return Ok(Some(self.finish(now)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The peer's time begins anew: it was we who did not read.
    pub fn postpone(&mut self, now: Instant) {
        self.since = now;
    }

    /// When the peer's time is over, unless more comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.since
            + match self.part {
                Part::Between => self.deadlines.idle,
                Part::Head => self.deadlines.header,
                Part::Body { .. } => self.deadlines.body,
            }
    }

    /// Checks the peer's time.
    ///
    /// # Errors
    /// It is over: close the stream.
    pub fn handle_timeout(&self, now: Instant) -> Result<(), StreamFault> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        Err(match self.part {
            Part::Between => StreamFault::Idle,
            Part::Head => StreamFault::SlowHeader,
            Part::Body { .. } => StreamFault::SlowBody,
        })
    }

    /// Bytes kept of an unfinished message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn line_break(&mut self) -> Option<StreamItem> {
        if std::mem::take(&mut self.awaits_pong) {
            self.breaks = 0;
            return Some(StreamItem::Pong);
        }
        self.breaks = self.breaks.saturating_add(1);
        (self.breaks == 2).then(|| {
            self.breaks = 0;
            StreamItem::Ping
        })
    }

    fn begin(&mut self, now: Instant) {
        self.part = Part::Head;
        self.since = now;
        (self.line, self.field, self.fields, self.breaks) = (0, 0, 0, 0);
    }

    fn finish(&mut self, now: Instant) -> StreamItem {
        self.part = Part::Between;
        self.since = now;
        StreamItem::Message(std::mem::take(&mut self.buffer))
    }

    /// Takes bytes up to the end of a line; true when that line is the empty one after the headers.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<bool, StreamFault> {
        let longest = limits::HEADER_LINE_BYTES.saturating_add(1);
        let end = input.iter().take(longest).position(|b| *b == b'\n');
        let length = end.map_or_else(|| longest.min(input.len()), |end| end.saturating_add(1));
        let (piece, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        self.buffer.extend_from_slice(piece);
        *input = rest;
        let too_long = |expected| {
            let fault = Fault::new(self.buffer.len(), expected).answered(super::StatusCode::MESSAGE_TOO_LARGE);
            Err(StreamFault::Framing(fault))
        };
        if self.buffer.len() > limits::MESSAGE_BYTES {
            return too_long("the end of the headers");
        }
        let line = self.buffer.get(self.line..).unwrap_or_default();
        let is_fold = matches!(line.first(), Some(b' ' | b'\t'));
        let field = if is_fold { self.field } else { self.line };
        if self.buffer.len().saturating_sub(field) > limits::HEADER_LINE_BYTES {
            return too_long("a shorter header");
        }
        if end.is_none() {
            return Ok(false);
        }
        let is_empty = matches!(line, b"\n" | b"\r\n");
        self.field = field;
        self.line = self.buffer.len();
        if !is_fold && !is_empty {
            self.fields = self.fields.saturating_add(1);
            // The start line is counted along.
            if self.fields > limits::HEADER_FIELDS.saturating_add(1) {
                return too_long("fewer headers");
            }
        }
        Ok(is_empty)
    }
}

#[cfg(test)]
#[path = "tests/stream.rs"]
mod tests;
