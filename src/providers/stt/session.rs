//! One call's ear at a vendor, as a pure machine between the call and the vendor's protocol.
//!
//! ```text
//!   push ─▶ ring ─▶ packets ─▶ protocol ─▶ Send        start … finish: audio flows; else keep-alives
//!                                 │
//!   Partial, Final … ◀─ segment ◀─┘ Heard              broken: Open again, the segment's audio is told again
//! ```
//!
//! Audio is sent only while a segment is listened to, from `pre_roll` before its start. Words are a segment's when the
//! vendor's own times say so; without times, when every request for words that was made before the segment has been
//! answered. A request that is not answered in time is given up; the words that answer it after all are told from those of
//! the next segment where the vendor names or orders its answers ([`SttProtocol::give_up`]). Where it does neither, words
//! that are later than [`FLUSH_TIMEOUT`](super::limits::FLUSH_TIMEOUT) count as the present segment's. After each
//! input, [`Session::poll`] until it is empty, then come back by [`Session::poll_timeout`].

use super::limits::{
    ANSWER_TIMEOUT, ENOUGH_AUDIO, LATE, LULL, RECONNECT_WAIT, RECONNECTS, RECOVERY, RING, SETTLED, SILENT_FINISHES,
};
use super::pace::Pacer;
use super::protocol::{Answers, Heard, Span, SttProtocol, SttVendor};
use super::ring::Ring;
use super::segment::{Segment, Want};
use crate::audio::resample::ResampleError;
use crate::base::SegmentId;
use crate::providers::format::{AudioFormat, Conversions, Converter};
use crate::providers::limits::PATIENCE;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{ProviderError, ProviderName, SttEvent, SttRequest};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The deadlines of a session.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The provider's name.
    pub name: ProviderName,
    /// From the open connection to the vendor's word that it takes audio.
    pub connect_timeout: Duration,
    /// Between two messages of a vendor that answers all audio.
    pub stall_timeout: Duration,
    /// From all audio having been sent to an answer with what is known.
    pub flush_timeout: Duration,
}

/// What the shell has to do.
#[derive(Debug)]
pub enum Output {
    /// Open a connection, in place of any other, and report [`Session::opened`] or [`Session::broken`].
    Open(Handshake),
    /// Send this message.
    Send(Frame),
    /// Close the connection with this code, behind what was sent.
    Close(u16),
    /// Leave the connection to the vendor to close; a fresh one is opened.
    Leave,
    /// Tell the call.
    Event(SttEvent),
    /// So much audio went to the vendor.
    Moved(Duration),
    /// The stream is at its end, for good.
    Stop,
}

/// See the module.
pub struct Session {
    terms: Terms,
    vendor: Arc<dyn SttVendor>,
    request: SttRequest,
    format: AudioFormat,
    converter: Converter,
    octets: Vec<u8>,
    ring: Ring,
    pre_roll: u64,
    packet: u64,
    /// Place in the call's audio up to which the connection has been sent.
    sent_to: u64,
    link: Link,
    segment: Option<Segment>,
    /// The last segment there was.
    last: SegmentId,
    /// See [`Self::expect`].
    expected: Vec<String>,
    breaks: u32,
    broken_at: Option<Instant>,
    silent_finishes: u32,
    out: VecDeque<Output>,
    stopped: bool,
}

enum Link {
    /// To be opened at this time.
    Down(Instant),
    Opening(Box<dyn SttProtocol>),
    Up(Box<Connection>),
}

struct Connection {
    protocol: Box<dyn SttProtocol>,
    ready: bool,
    opened_at: Instant,
    last_sent_at: Instant,
    last_heard_at: Instant,
    /// Octets of audio it has been sent, silence of the protocol's own included.
    clock: u64,
    pacer: Pacer,
    paced_until: Option<Instant>,
    /// Requests for words, and those answered.
    asked: u64,
    answered: u64,
    asked_at: Instant,
    /// When answers to requests that were given up are not expected any more.
    forget_at: Option<Instant>,
    /// Audio has been sent since the last request.
    dangling: bool,
    expiring: bool,
    /// Where the last words that stand end, by the vendor's times.
    heard_to: Duration,
}

impl Session {
    /// For a call; opens its first connection at once.
    ///
    /// # Errors
    /// A rate that cannot be resampled.
    pub fn new(
        terms: Terms,
        vendor: Arc<dyn SttVendor>,
        request: SttRequest,
        now: Instant,
    ) -> Result<Self, ResampleError> {
        let format = vendor.format(&request);
        let octets_in = |time: Duration| format.bytes_of(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        let packet = format.bytes_of(vendor.packet_ms()).max(format.encoding.sample_bytes());
        let mut session = Self {
            converter: Converter::outbound(request.rate, format)?,
            octets: Vec::new(),
            ring: Ring::new(octets_in(RING)),
            pre_roll: octets_in(request.pre_roll.min(RING)) as u64,
            packet: packet as u64,
            sent_to: 0,
            link: Link::Down(now),
            segment: None,
            last: SegmentId::default(),
            expected: Vec::new(),
            breaks: 0,
            broken_at: None,
            silent_finishes: 0,
            out: VecDeque::new(),
            stopped: false,
            terms,
            vendor,
            request,
            format,
        };
        session.run(now);
        Ok(session)
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Self::timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let answer = self.segment.as_ref().and_then(|segment| segment.want.as_ref()).map(Want::due);
        let link = match &self.link {
            Link::Down(at) => Some(*at),
            Link::Opening(_) => None,
            Link::Up(connection) => self.connection_due(connection),
        };
        answer.into_iter().chain(link).min()
    }

    fn connection_due(&self, connection: &Connection) -> Option<Instant> {
        if !connection.ready {
            return Some(connection.opened_at + self.terms.connect_timeout);
        }
        let idle = connection.protocol.idle_after().map(|after| connection.last_sent_at + after);
        let old = self.is_at_pause().then(|| self.vendor.lifetime()).flatten().map(|l| connection.opened_at + l);
        [connection.paced_until, idle, old, self.stall_due(connection)].into_iter().flatten().min()
    }

    fn stall_due(&self, connection: &Connection) -> Option<Instant> {
        let segment = self.segment.as_ref()?;
        let sent_since = segment.sent_since.filter(|_| self.vendor.answers() == Answers::Audio && segment.listening)?;
        (sent_since.max(connection.last_heard_at) + self.terms.stall_timeout).into()
    }

    /// Nothing is being said and no words are waited for.
    fn is_at_pause(&self) -> bool {
        self.segment.as_ref().is_none_or(|segment| !segment.listening && segment.want.is_none())
    }

    /// See [`SttStream::push`](crate::providers::SttStream::push).
    pub fn push(&mut self, samples: &[i16], now: Instant, counts: &Conversions) {
        self.octets.clear();
        self.converter.encode(samples, &mut self.octets, counts);
        self.ring.push(&self.octets);
        let recent = self.ring.end().saturating_sub(self.pre_roll);
        let needed = self.segment.as_ref().and_then(Segment::unheard_from);
        self.ring.forget_before(needed.unwrap_or(recent).min(recent));
        self.run(now);
    }

    /// How much audio may come before there is anything to be done with it: what a packet lacks while the caller is
    /// listened to, [`LULL`] otherwise.
    #[must_use]
    pub fn appetite(&self) -> Duration {
        match &self.segment {
            Some(segment) if segment.listening => {
                let waiting = self.ring.end().saturating_sub(self.sent_to);
                duration_of(self.format, self.packet.saturating_sub(waiting))
            }
            _ => LULL,
        }
    }

    /// See [`SttStream::start`](crate::providers::SttStream::start).
    pub fn start(&mut self, id: SegmentId, now: Instant) {
        let end = self.ring.end();
        let recent = end.saturating_sub(self.pre_roll).max(self.ring.begin());
        match &mut self.segment {
            Some(segment) if segment.id > id => return,
            Some(segment) if segment.id == id => {
                // A pause that is longer than the pre-roll is not told.
                if !segment.listening && self.sent_to >= segment.end {
                    self.sent_to = self.sent_to.max(recent);
                }
                segment.resume();
            }
            _ => {
                self.cut(now);
                let begin = recent.max(self.segment.as_ref().map_or(0, |old| old.end_of_audio(self.sent_to)));
                self.sent_to = self.sent_to.max(begin).min(end);
                let (after, clock) = self.connection().map_or((0, 0), |link| (link.asked, link.clock));
                self.segment = Some(Segment::new(id, self.sent_to, after, clock));
            }
        }
        self.last = id;
        self.run(now);
    }

    /// See [`SttStream::finish`](crate::providers::SttStream::finish).
    pub fn finish(&mut self, id: SegmentId, now: Instant) {
        let end = self.ring.end();
        let is_ready = matches!(&self.link, Link::Up(connection) if connection.ready);
        let latest = now + if is_ready { ANSWER_TIMEOUT } else { PATIENCE };
        match self.segment.as_mut().filter(|segment| segment.id == id) {
            Some(segment) => segment.finish(end, now, latest),
            None => {
                let (text, audio, took) = Default::default();
                self.out.push_back(Output::Event(SttEvent::Final { segment: id, text, confidence: 0.0, audio, took }));
            }
        }
        self.run(now);
    }

    /// See [`SttStream::discard`](crate::providers::SttStream::discard).
    pub fn discard(&mut self, now: Instant) {
        self.cut(now);
        self.segment = None;
        self.run(now);
    }

    /// See [`SttStream::expect`](crate::providers::SttStream::expect).
    pub fn expect(&mut self, phrases: Vec<String>) {
        if phrases == self.expected {
            return;
        }
        self.expected = phrases;
        self.tell_expected();
    }

    /// Tells the vendor what is expected, once it takes messages.
    fn tell_expected(&mut self) {
        let mut outbox = Outbox::default();
        if let Link::Up(connection) = &mut self.link
            && connection.ready
        {
            connection.protocol.expect(&self.expected, &mut outbox);
        }
        self.flush(outbox);
    }

    /// The connection that [`Output::Open`] asked for is open.
    pub fn opened(&mut self, now: Instant) {
        let Link::Opening(mut protocol) = std::mem::replace(&mut self.link, Link::Down(now)) else { return };
        let mut outbox = Outbox::default();
        protocol.opened(&mut outbox);
        let connection = Connection {
            ready: !protocol.awaits_ready(),
            protocol,
            opened_at: now,
            last_sent_at: now,
            last_heard_at: now,
            clock: 0,
            pacer: Pacer::new(self.vendor.pace(), now),
            paced_until: None,
            asked: 0,
            answered: 0,
            asked_at: now,
            forget_at: None,
            dangling: false,
            expiring: false,
            heard_to: Duration::ZERO,
        };
        self.link = Link::Up(Box::new(connection));
        self.flush(outbox);
        if !self.expected.is_empty() {
            self.tell_expected();
        }
        match &mut self.segment {
            Some(segment) => self.sent_to = segment.tell_again(self.ring.begin()),
            None => self.sent_to = self.ring.end(),
        }
        self.run(now);
    }

    /// The vendor's message.
    pub fn received(&mut self, frame: Frame, now: Instant) {
        let Link::Up(connection) = &mut self.link else { return };
        connection.last_heard_at = now;
        self.silent_finishes = 0;
        if let Some(segment) = self.segment.as_mut().filter(|segment| segment.sent_since.is_some()) {
            segment.answered = true;
        }
        connection.forget(now);
        if now >= connection.asked_at + self.terms.flush_timeout {
            connection.give_up(now);
        }
        let mut outbox = Outbox::default();
        let mut heard = Vec::new();
        let result = connection.protocol.received(frame, &mut outbox, &mut heard);
        self.flush(outbox);
        let mut overdue = None;
        for heard in heard {
            overdue = self.hear(heard, overdue, now);
        }
        match result {
            Ok(()) => self.run(now),
            Err(error) => self.broken(error, now),
        }
    }

    /// The connection has ended.
    pub fn closed(&mut self, closed: &Closed, now: Instant) {
        let Link::Up(connection) = &self.link else { return };
        match connection.protocol.closed(closed) {
            Some(error) => self.broken(error, now),
            None if connection.clock == 0 => {
                let reason = "it closes connections at once".to_owned();
                self.broken(ProviderError::Protocol { provider: self.terms.name.clone(), reason }, now);
            }
            None => {
                self.link = Link::Down(now);
                self.run(now);
            }
        }
    }

    /// The connection could not be opened, or broke.
    pub fn broken(&mut self, error: ProviderError, now: Instant) {
        if self.stopped {
            return;
        }
        if self.broken_at.is_some_and(|at| now.saturating_duration_since(at) >= RECOVERY) {
            self.breaks = 0;
        }
        self.broken_at = Some(now);
        self.breaks += 1;
        let hopeless = matches!(
            error,
            ProviderError::Busy { .. } | ProviderError::RateLimited { .. } | ProviderError::Timeout { .. }
        );
        if hopeless || !error.is_retryable() || self.breaks > RECONNECTS {
            self.fail(error);
            return;
        }
        tracing::info!(provider = %self.terms.name, kind = error.kind(), breaks = self.breaks, "speech_to_text_reconnects");
        let wait = if self.breaks > 1 { RECONNECT_WAIT } else { Duration::ZERO };
        self.link = Link::Down(now + wait);
        self.run(now);
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        self.run(now);
    }

    /// The call is over: says goodbye. What [`Self::poll`] gives then is the last.
    pub fn end(&mut self) {
        self.out.clear();
        self.stopped = true;
        if let Link::Up(connection) = &mut self.link {
            let mut outbox = Outbox::default();
            connection.protocol.goodbye(&mut outbox);
            self.flush(outbox);
        }
    }

    fn fail(&mut self, error: ProviderError) {
        let segment = self.segment.as_ref().map_or(self.last, |segment| segment.id);
        self.out.push_back(Output::Event(SttEvent::Failed { segment, error }));
        // A vendor that is not told goes on, and is paid for it.
        if let Link::Up(connection) = &mut self.link {
            let mut outbox = Outbox::default();
            connection.protocol.goodbye(&mut outbox);
            self.flush(outbox);
            self.out.push_back(Output::Leave);
        }
        self.out.push_back(Output::Stop);
        self.stopped = true;
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.link {
            Link::Up(connection) => Some(connection),
            Link::Down(_) | Link::Opening(_) => None,
        }
    }

    fn flush(&mut self, mut outbox: Outbox) {
        while let Some(frame) = outbox.next_frame() {
            self.out.push_back(Output::Send(frame));
        }
        if let Some(code) = outbox.wants_close() {
            self.out.push_back(Output::Close(code));
        }
    }

    /// Has the vendor report what it was sent of a segment that nobody waits for, so that none of it enters the next.
    fn cut(&mut self, now: Instant) {
        let mut outbox = Outbox::default();
        if let Link::Up(connection) = &mut self.link
            && connection.dangling
        {
            connection.clock += connection.protocol.finish(&mut outbox) as u64;
            connection.asked += 1;
            connection.asked_at = now;
            connection.dangling = false;
        }
        self.flush(outbox);
    }

    /// Everything that is due.
    fn run(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        if let Link::Down(at) = self.link
            && at <= now
        {
            self.open();
        }
        self.send(now);
        self.change_connection(now);
        self.keep_alive(now);
        self.answer(now);
    }

    fn open(&mut self) {
        let protocol = self.vendor.connect(&self.request, self.format);
        self.out.push_back(Output::Open(protocol.handshake()));
        self.link = Link::Opening(protocol);
    }

    /// Sends the audio that may go.
    fn send(&mut self, now: Instant) {
        let Link::Up(connection) = &mut self.link else { return };
        connection.paced_until = None;
        let Some(segment) = self.segment.as_mut().filter(|_| connection.ready) else { return };
        let end = if segment.listening { self.ring.end() } else { segment.end };
        let finishing = segment.want.as_ref().is_some_and(|want| want.asked.is_none());
        self.sent_to = self.sent_to.max(self.ring.begin());
        let mut outbox = Outbox::default();
        let mut moved = 0;
        while end > self.sent_to && (end - self.sent_to >= self.packet || finishing) {
            let until = end.min(self.sent_to + self.packet);
            let octets = self.ring.copy(self.sent_to..until);
            if let Err(again) = connection.pacer.take(duration_of(self.format, octets.len() as u64), now) {
                connection.paced_until = Some(again);
                break;
            }
            connection.clock += (connection.protocol.audio(&octets, &mut outbox) + octets.len()) as u64;
            connection.last_sent_at = now;
            connection.dangling = true;
            segment.sent_since.get_or_insert(now);
            segment.sent += octets.len() as u64;
            moved += octets.len() as u64;
            self.sent_to = until;
        }
        if finishing && self.sent_to >= end {
            // Where the turn is over for the vendor too, its words stand already. Else it is asked even without fresh audio:
            // of what was sent before, words may still be on their way.
            let since_end = segment.ended.map(|place| duration_of(self.format, end.saturating_sub(place)));
            if since_end.is_some_and(|since| since <= SETTLED) {
                connection.dangling = false;
            } else if connection.dangling || connection.answered < connection.asked {
                connection.clock += connection.protocol.finish(&mut outbox) as u64;
                connection.asked += 1;
                connection.asked_at = now;
                connection.dangling = false;
                connection.last_sent_at = now;
            }
            segment.asked(connection.asked, now + self.terms.flush_timeout);
        }
        if moved > 0 {
            self.out.push_back(Output::Moved(duration_of(self.format, moved)));
        }
        self.flush(outbox);
    }

    /// Goes over to a fresh connection, at a pause.
    fn change_connection(&mut self, now: Instant) {
        let pause = self.is_at_pause();
        let Link::Up(connection) = &mut self.link else { return };
        let old = self.vendor.lifetime().is_some_and(|lifetime| now >= connection.opened_at + lifetime);
        if !(connection.expiring || old) || !pause {
            return;
        }
        let mut outbox = Outbox::default();
        connection.protocol.goodbye(&mut outbox);
        self.flush(outbox);
        self.out.push_back(Output::Leave);
        self.open();
    }

    fn keep_alive(&mut self, now: Instant) {
        let Link::Up(connection) = &mut self.link else { return };
        if !connection.ready {
            if now >= connection.opened_at + self.terms.connect_timeout {
                let (provider, after) = (self.terms.name.clone(), self.terms.connect_timeout);
                self.fail(ProviderError::Timeout { provider, stage: "connection", after });
            }
            return;
        }
        let mut outbox = Outbox::default();
        if connection.protocol.idle_after().is_some_and(|after| now >= connection.last_sent_at + after) {
            connection.clock += connection.protocol.idle(&mut outbox) as u64;
            connection.last_sent_at = now;
        }
        self.flush(outbox);
    }

    /// Gives the answer that is due, or up.
    fn answer(&mut self, now: Instant) {
        let stalled = match &self.link {
            Link::Up(connection) => self.stall_due(connection).is_some_and(|due| now >= due),
            _ => false,
        };
        if self.stopped {
            return;
        }
        if stalled {
            let (provider, after) = (self.terms.name.clone(), self.terms.stall_timeout);
            self.fail(ProviderError::Timeout { provider, stage: "sign of life", after });
            return;
        }
        let Some(segment) = &mut self.segment else { return };
        let Some(want) = &segment.want else { return };
        let complete = match (&self.link, want.asked) {
            (Link::Up(connection), Some(asked)) => connection.answered >= asked,
            _ => false,
        };
        if !complete && now < want.due() {
            return;
        }
        if !complete {
            let is_up = matches!(&self.link, Link::Up(connection) if connection.ready);
            let enough = duration_of(self.format, segment.sent) >= ENOUGH_AUDIO;
            let must_answer = enough && self.vendor.answers() != Answers::Words;
            let unheard = !segment.answered && segment.sent > 0;
            self.silent_finishes += u32::from(unheard);
            let is_deaf = !segment.answered && (must_answer || self.silent_finishes >= SILENT_FINISHES);
            if !is_up || is_deaf {
                let (provider, after) = (self.terms.name.clone(), now.saturating_duration_since(want.since));
                self.fail(ProviderError::Timeout { provider, stage: "transcript", after });
                return;
            }
            if unheard && segment.words.text().expose().is_empty() {
                self.out.push_back(Output::Event(SttEvent::Unheard { segment: segment.id }));
            }
            if let Link::Up(connection) = &mut self.link {
                connection.give_up(now);
            }
        }
        let events = segment.answer(now, self.format, complete);
        self.out.extend(events.into_iter().map(Output::Event));
        self.change_connection(now);
    }

    /// Takes what the vendor says, which answers the request `overdue` where that was given up; the number of the one that
    /// the next answers comes back.
    fn hear(&mut self, heard: Heard, overdue: Option<u64>, now: Instant) -> Option<u64> {
        let Link::Up(connection) = &mut self.link else { return None };
        match heard {
            Heard::Overdue(request) => return Some(request),
            Heard::Ready => {
                let is_news = !std::mem::replace(&mut connection.ready, true);
                if is_news && !self.expected.is_empty() {
                    self.tell_expected();
                }
            }
            Heard::Expiring => connection.expiring = true,
            Heard::Language { tag, confidence } => {
                self.out.push_back(Output::Event(SttEvent::Language { tag, confidence }));
            }
            Heard::Flushed => {
                connection.answered = connection.asked.min(connection.answered + 1);
                if let Some(segment) = &mut self.segment {
                    segment.flushed(connection.answered, self.sent_to);
                }
                self.answer(now);
            }
            Heard::Interim { text, span } => {
                let segment = owner(&mut self.segment, connection, span, overdue, self.format)?;
                segment.ended = segment.ended.filter(|_| text.expose().is_empty());
                segment.words.interim(text);
                self.out.extend(segment.partial().map(Output::Event));
            }
            Heard::Final { text, confidence, span } => {
                let segment = owner(&mut self.segment, connection, span, overdue, self.format)?;
                segment.ended = segment.ended.filter(|_| text.expose().is_empty());
                segment.words.stand(&text, confidence, self.sent_to);
                if let Some((_, end)) = span.filter(|_| !text.expose().is_empty()) {
                    connection.heard_to = connection.heard_to.max(end);
                }
                self.out.extend(segment.partial().map(Output::Event));
            }
            Heard::EndOfTurn { eager } => {
                if let Some(segment) = self.segment.as_mut().filter(|segment| segment.hears(connection.answered)) {
                    segment.ended = (!eager).then_some(self.sent_to);
                    self.out.push_back(Output::Event(SttEvent::EndOfTurn { segment: segment.id, eager }));
                }
            }
            Heard::TurnResumed => {
                if let Some(segment) = self.segment.as_ref().filter(|segment| segment.hears(connection.answered)) {
                    self.out.push_back(Output::Event(SttEvent::TurnResumed { segment: segment.id }));
                }
            }
        }
        None
    }
}

impl Connection {
    /// What is not answered by now is not waited for.
    fn give_up(&mut self, now: Instant) {
        if self.answered < self.asked {
            self.answered = self.asked;
            self.protocol.give_up();
            self.forget_at.get_or_insert(now + LATE);
        }
    }

    /// And after [`LATE`] not expected.
    fn forget(&mut self, now: Instant) {
        if self.forget_at.take_if(|at| *at <= now).is_some() {
            self.protocol.forget();
        }
    }
}

/// The present segment, when words are its own and have not been told before.
fn owner<'a>(
    segment: &'a mut Option<Segment>,
    connection: &Connection,
    span: Option<Span>,
    overdue: Option<u64>,
    format: AudioFormat,
) -> Option<&'a mut Segment> {
    let segment = segment.as_mut()?;
    let own = match (span, overdue) {
        (Some((start, end)), _) => (start + end) / 2 >= duration_of(format, segment.clock).max(connection.heard_to),
        (None, Some(request)) => request > segment.after,
        (None, None) => connection.answered >= segment.after,
    };
    own.then_some(segment)
}

/// How long so many octets last.
pub(super) fn duration_of(format: AudioFormat, octets: u64) -> Duration {
    let samples = usize::try_from(octets).unwrap_or(usize::MAX) / format.encoding.sample_bytes();
    format.rate.duration_of(samples)
}

#[cfg(test)]
mod tests;
