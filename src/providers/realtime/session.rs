//! A speech-to-speech session as a pure machine: what the call says goes in, what the vendor says goes in, and time; what
//! has to be done on a connection and what the call has to know comes out. Times are counted from the session's start.

mod connection;
#[cfg(test)]
mod tests;

use super::answers::Answers;
use super::ear::Ear;
use super::history::History;
use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, ToolResult};
use super::transcript::{Said, Transcript};
use super::{AnswerId, RealtimeEvent, RealtimeRequest, TurnsBy};
use crate::base::Pii;
use crate::base::chat::{ToolCall, ToolSpec};
use crate::providers::format::Decoder;
use crate::providers::limits::PATIENCE;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, Request};
use crate::providers::{Meter, ProviderError, ProviderName, Settings};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Tool calls that may wait for their results at once; a vendor that asks for more is broken.
const CALLS_MAX: usize = 64;

/// What has to be done on the connection, in order.
#[derive(Debug)]
pub enum Wish {
    /// Send this request; its answer goes to [`Session::fetched`].
    Fetch(Request),
    /// Open a WebSocket; the outcome goes to [`Session::connected`].
    Connect(Handshake),
    /// Write a message.
    Send(Frame),
    /// Ask for a sign of life, which goes to [`Session::alive`].
    Ping,
    /// Write what waits, close with this code and forget the connection.
    Close(u16),
    /// Forget the connection, and what is being opened.
    Drop,
}

/// Deadlines, from [`Settings`].
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Of a connection, until it takes audio.
    pub connect: Duration,
    /// From the caller's last word, a tool's result or an opening to the first audio.
    pub first: Duration,
    /// Between two pieces of the audio of an answer.
    pub stall: Duration,
    /// For a sign of life that was asked for.
    pub life: Duration,
}

impl From<&Settings> for Deadlines {
    fn from(settings: &Settings) -> Self {
        Self {
            connect: settings.connect_timeout,
            first: settings.first_timeout,
            stall: settings.stall_timeout,
            life: settings.patience(PATIENCE),
        }
    }
}

/// What a session is waiting for the vendor to say.
#[derive(Clone, Copy)]
struct Due {
    since: Duration,
    /// `None` while there is no connection: then the connection's deadline counts.
    until: Option<Duration>,
    /// Only answers after this one are the one waited for.
    after: AnswerId,
    /// The caller spoke, and its audio asks by itself; otherwise words do.
    audio: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Fetching {
        until: Duration,
    },
    Connecting {
        until: Duration,
    },
    /// The connection is open and not set up.
    Opening {
        until: Duration,
    },
    Live,
    Waiting {
        until: Duration,
    },
    Over,
}

/// What the call said while a connection was being set up.
enum Later {
    Commit,
    Result { call: String, tool: String, content: Pii<String>, failed: bool },
    Tell(Pii<String>),
    Update,
}

/// See the module.
pub struct Session {
    name: ProviderName,
    vendor: Arc<dyn RealtimeVendor>,
    deadlines: Deadlines,
    meter: Arc<Meter>,
    request: RealtimeRequest,
    formats: RealtimeFormats,
    history: History,
    answers: Answers,
    transcript: Transcript,
    ear: Ear,
    decoder: Option<(AnswerId, Decoder)>,
    protocol: Option<Box<dyn RealtimeProtocol>>,
    phase: Phase,
    out: Outbox,
    scratch: Vec<Answered>,
    wishes: VecDeque<Wish>,
    events: VecDeque<RealtimeEvent>,
    later: Vec<Later>,
    due: Option<Due>,
    /// When the audio under way must have gone on.
    flow_until: Option<Duration>,
    /// When silence means the end of the answer, for a vendor that does not mark it.
    ends_at: Option<Duration>,
    /// When a sign of life that was asked for is missing.
    life_until: Option<Duration>,
    /// By the vendor's judgement.
    caller_speaks: bool,
    /// Calls without result, each with whether this connection made it.
    open_calls: Vec<(String, bool)>,
    /// The answer that made the open calls is void.
    calls_void: bool,
    sent_at: Duration,
    /// When the connection has lived as long as the vendor allows, nearly.
    lifetime_ends: Option<Duration>,
    connection: connection::Course,
}

impl Session {
    /// A session that begins to connect at once.
    ///
    /// # Errors
    /// [`ProviderError::BadRequest`] for rates that cannot be converted.
    pub fn new(
        name: ProviderName,
        vendor: Arc<dyn RealtimeVendor>,
        deadlines: Deadlines,
        meter: Arc<Meter>,
        request: RealtimeRequest,
    ) -> Result<Self, ProviderError> {
        let formats = vendor.format(&request);
        let bad = |reason: String| ProviderError::BadRequest { provider: name.clone(), reason };
        let ear = Ear::new(request.rate, formats).map_err(|e| bad(e.to_string()))?;
        Decoder::inbound(formats.output, request.rate).map_err(|e| bad(e.to_string()))?;
        let history = History::new(request.messages.expose());
        let mut session = Self {
            name,
            vendor,
            deadlines,
            meter,
            request,
            formats,
            history,
            answers: Answers::default(),
            transcript: Transcript::default(),
            ear,
            decoder: None,
            protocol: None,
            phase: Phase::Waiting { until: Duration::ZERO },
            out: Outbox::default(),
            scratch: Vec::new(),
            wishes: VecDeque::new(),
            events: VecDeque::new(),
            later: Vec::new(),
            due: None,
            flow_until: None,
            ends_at: None,
            life_until: None,
            caller_speaks: false,
            open_calls: Vec::new(),
            calls_void: false,
            sent_at: Duration::ZERO,
            lifetime_ends: None,
            connection: connection::Course::default(),
        };
        if session.request.opening.is_some() || session.request.answer_due {
            session.ask(Duration::ZERO, false);
        }
        session.connect(Duration::ZERO);
        Ok(session)
    }

    /// Caller audio.
    pub fn push(&mut self, now: Duration, samples: &[i16]) {
        self.ear.push(samples, &self.meter.conversions);
        let lost = self.ear.take_lost();
        if !lost.is_zero() {
            tracing::warn!(provider = %self.name, lost_ms = lost.as_millis() as u64, "caller_audio_lost");
        }
        self.send_audio(now);
    }

    /// How many more samples of the caller make a packet.
    #[must_use]
    pub fn appetite(&self) -> usize {
        let rate = self.request.rate.0 as usize;
        (self.ear.missing().as_micros() as usize).saturating_mul(rate) / 1_000_000
    }

    /// See [`super::RealtimeStream::commit`].
    pub fn commit(&mut self, now: Duration) {
        if self.due.is_some() || self.answers.any_under_way() {
            self.cancel();
        }
        self.history.turn();
        self.calls_void = false;
        self.ear.finish();
        self.send_audio(now);
        self.ask(now, true);
        self.now_or_later(now, Later::Commit);
    }

    /// See [`super::RealtimeStream::interrupt`].
    pub fn interrupt(&mut self, now: Duration, answer: AnswerId, heard: Duration) {
        if !self.answers.is_void(answer) {
            if self.due.is_some() || self.answers.any_under_way() {
                self.cancel();
            }
            self.void();
        }
        let is_live = self.phase == Phase::Live;
        let local = self.answers.local(answer).filter(|_| is_live);
        if let Some(found) = self.answers.get(answer)
            && !found.cut
        {
            found.cut = true;
            found.over = true;
            let heard = heard.min(found.audio);
            let words = found.words_heard(heard).to_owned();
            if !std::mem::replace(&mut found.reported, true) && !words.is_empty() {
                self.transcript.agent(found.after, answer, Pii::new(words.clone()));
            }
            self.history.agent(answer.0, &words);
            if let (Some(local), Some(protocol)) = (local, &mut self.protocol) {
                protocol.heard(local, heard, &mut self.out);
            }
        }
        self.report_words();
        self.flush(now);
    }

    /// See [`super::RealtimeStream::probe`].
    pub fn probe(&mut self, now: Duration) {
        if self.phase == Phase::Live {
            self.wishes.push_back(Wish::Ping);
            self.life_until = Some(now + self.deadlines.life);
        }
    }

    /// The vendor has answered to [`Wish::Ping`]; its messages say as much.
    pub fn alive(&mut self) {
        if self.life_until.take().is_some() {
            self.events.push_back(RealtimeEvent::Alive);
        }
    }

    /// See [`super::RealtimeStream::tool_result`].
    pub fn tool_result(&mut self, now: Duration, call: &str, tool: &str, content: &str, failed: bool) {
        let Some(place) = self.open_calls.iter().position(|(open, _)| open == call) else { return };
        let (_, is_known) = self.open_calls.remove(place);
        self.history.result(call, tool, content, failed);
        if self.is_to_go_on() {
            self.ask(now, false);
        }
        self.now_or_later(
            now,
            if is_known {
                let (call, tool, content) = (call.to_owned(), tool.to_owned(), Pii::new(content.to_owned()));
                Later::Result { call, tool, content, failed }
            } else {
                // This connection has not heard of the call.
                Later::Tell(Pii::new(format!("(The answer of the tool {tool}: {content})")))
            },
        );
    }

    /// See [`super::RealtimeStream::update`].
    pub fn update(&mut self, now: Duration, instructions: &str, tools: &[ToolSpec]) {
        self.request.instructions = instructions.to_owned();
        self.request.tools = tools.to_vec();
        self.now_or_later(now, Later::Update);
    }

    /// See [`super::RealtimeStream::tell`].
    pub fn tell(&mut self, now: Duration, text: &str) {
        self.history.told(text);
        if !self.answers.any_under_way() {
            self.ask(now, false);
        }
        self.now_or_later(now, Later::Tell(Pii::new(text.to_owned())));
    }

    /// The answer to [`Wish::Fetch`].
    pub fn fetched(&mut self, now: Duration, answer: Result<Vec<u8>, ProviderError>) {
        if matches!(self.phase, Phase::Fetching { .. }) {
            match answer {
                Ok(body) => self.begin(now, Some(&body)),
                Err(error) => self.broken(now, error),
            }
        }
    }

    /// The outcome of [`Wish::Connect`].
    pub fn connected(&mut self, now: Duration, outcome: Result<(), ProviderError>) {
        let Phase::Connecting { until } = self.phase else { return };
        match outcome {
            Ok(()) => {
                self.meter.connected();
                self.phase = Phase::Opening { until };
                if let Some(protocol) = &mut self.protocol {
                    protocol.opened(&mut self.out);
                }
                self.flush(now);
            }
            Err(error) => self.broken(now, error),
        }
    }

    /// A message of the vendor.
    pub fn received(&mut self, now: Duration, frame: Frame) {
        self.alive();
        let Some(protocol) = &mut self.protocol else { return };
        let mut answered = std::mem::take(&mut self.scratch);
        let result = protocol.received(frame, &mut self.out, &mut answered);
        for event in answered.drain(..) {
            self.answered(now, event);
        }
        self.scratch = answered;
        if let Err(error) = result {
            self.broken(now, error);
        }
        self.move_when_quiet(now);
        self.flush(now);
    }

    /// The vendor closed the connection, or it broke.
    pub fn disconnected(&mut self, now: Duration, closed: &Closed) {
        let Some(protocol) = &self.protocol else { return };
        let error = protocol.closed(closed);
        self.broken(now, error);
    }

    /// The connection failed otherwise.
    pub fn failed(&mut self, now: Duration, error: ProviderError) {
        if self.protocol.is_some() {
            self.broken(now, error);
        }
    }

    /// When [`Self::timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Fetching { until }
            | Phase::Connecting { until }
            | Phase::Opening { until }
            | Phase::Waiting { until } => Some(until),
            Phase::Live => None,
            Phase::Over => return None,
        };
        let due = self.due.and_then(|due| due.until);
        let (words, life) = (self.transcript.due(), self.life_until);
        let all = [phase, due, self.flow_until, self.ends_at, self.keep_alive_at(), self.move_by(), words, life];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Duration) {
        let passed = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let provider = self.name.clone();
        let late = |stage, after| ProviderError::Timeout { provider, stage, after };
        match self.phase {
            Phase::Over => return,
            Phase::Waiting { until } if until <= now => return self.connect(now),
            Phase::Fetching { until } | Phase::Connecting { until } | Phase::Opening { until } if until <= now => {
                return self.broken(now, late("connection", self.deadlines.connect));
            }
            _ => {}
        }
        if passed(self.ends_at) {
            self.ends_at = None;
            for answer in self.answers.under_way() {
                self.ended(answer);
            }
        }
        self.transcript.expire(now);
        self.report_words();
        if passed(self.due.and_then(|due| due.until)) {
            return self.give_up(late("first audio", self.deadlines.first));
        }
        if passed(self.flow_until) {
            return self.give_up(late("further audio", self.deadlines.stall));
        }
        if passed(self.life_until) {
            return self.broken(now, late("sign of life", self.deadlines.life));
        }
        if passed(self.keep_alive_at())
            && let Some(protocol) = &mut self.protocol
        {
            self.sent_at = now;
            protocol.idle(&mut self.out);
        }
        if passed(self.move_by()) {
            self.move_on(now);
        }
        self.move_when_quiet(now);
        self.flush(now);
    }

    /// What has to be done next.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// What the call has to know next.
    pub fn poll_event(&mut self) -> Option<RealtimeEvent> {
        while let Some(event) = self.events.pop_front() {
            let (RealtimeEvent::Audio { answer, .. } | RealtimeEvent::AudioEnded { answer }) = &event else {
                return Some(event);
            };
            if !self.answers.is_void(*answer) {
                return Some(event);
            }
        }
        None
    }

    /// Whether an answer was interrupted: no event of it is wanted.
    #[must_use]
    pub fn is_void(&self, answer: AnswerId) -> bool {
        self.answers.is_void(answer)
    }

    /// The session has failed for good: no event follows those that are there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The call is over: says goodbye to the vendor.
    pub fn goodbye(&mut self, now: Duration) {
        if let Some(protocol) = &mut self.protocol
            && matches!(self.phase, Phase::Live | Phase::Opening { .. })
        {
            protocol.goodbye(&mut self.out);
            self.flush(now);
        }
        self.phase = Phase::Over;
    }

    fn answered(&mut self, now: Duration, event: Answered) {
        match event {
            Answered::Ready => self.ready(now),
            Answered::SpeechStarted => {
                self.caller_speaks = true;
                self.void();
                self.events.push_back(RealtimeEvent::SpeechStarted);
            }
            Answered::SpeechStopped => {
                self.caller_speaks = false;
                self.calls_void = false;
                self.history.turn();
                self.ask(now, true);
                self.events.push_back(RealtimeEvent::SpeechStopped);
            }
            Answered::Audio { answer, octets } => self.audio(now, self.answers.global(answer), &octets),
            Answered::AudioEnded { answer } => self.ended(self.answers.global(answer)),
            Answered::CallerSaid(text) => {
                self.understood();
                self.transcript.unplaced(text);
                self.report_words();
            }
            Answered::CallerTurn { turn, before } => {
                if before.is_none() {
                    self.answers.turn(turn);
                }
                self.transcript.turn(now, turn, before);
                self.report_words();
            }
            Answered::TurnSaid { turn, text } => {
                if text.is_some() {
                    self.understood();
                }
                self.transcript.caller(turn, text);
                self.report_words();
            }
            Answered::AgentSaid { answer, text } => self.agent_said(self.answers.global(answer), &text),
            Answered::AgentCorrected { answer, text } => {
                let answer = self.answers.global(answer);
                if let Some(found) = self.answers.get(answer) {
                    found.words.clone_from(text.expose());
                    found.corrected = true;
                    self.history.agent(answer.0, text.expose());
                }
            }
            Answered::Call { answer, call } => self.called(now, answer, call),
            Answered::CallsCancelled(calls) => self.open_calls.retain(|(open, _)| !calls.contains(open)),
            Answered::Used(usage) => {
                self.meter.used(usage);
                self.events.push_back(RealtimeEvent::Used(usage));
            }
            Answered::Resumable(handle) => self.connection.handle = Some(handle),
            Answered::Expiring { within } => self.expiring(now, within),
        }
    }

    /// The caller's words are known to the vendor.
    fn understood(&mut self) {
        self.ear.understood();
        if let Some(due) = &mut self.due {
            due.audio = false;
        }
    }

    /// Reports the words that no others have to come before.
    fn report_words(&mut self) {
        while let Some(said) = self.transcript.next() {
            match said {
                Said::Caller(text) => {
                    self.history.caller(text.expose());
                    self.events.push_back(RealtimeEvent::CallerSaid(text));
                }
                Said::Unheard => self.history.unheard(),
                Said::Agent(answer, text) => self.events.push_back(RealtimeEvent::AgentSaid { answer, text }),
            }
        }
    }

    fn audio(&mut self, now: Duration, answer: AnswerId, octets: &[u8]) {
        if self.answers.is_void(answer) || self.answers.begin(answer).is_none_or(|found| found.cut) {
            return;
        }
        if let Some(due) = self.due.filter(|due| answer > due.after) {
            self.meter.first(now.saturating_sub(due.since));
            self.due = None;
            self.ear.understood();
        }
        self.request.opening = None;
        self.connection.proven(now);
        if self.decoder.as_ref().is_none_or(|(of, _)| *of != answer) {
            // The rates were tried when the session began.
            self.decoder = Decoder::inbound(self.formats.output, self.request.rate).ok().map(|fresh| (answer, fresh));
        }
        let Some((_, decoder)) = &mut self.decoder else { return };
        let mut samples = Vec::with_capacity(octets.len());
        decoder.decode(octets, &mut samples, &self.meter.conversions);
        let rate = u64::from(self.formats.output.rate.0.max(1)) * self.formats.output.encoding.sample_bytes() as u64;
        let length = Duration::from_micros(octets.len() as u64 * 1_000_000 / rate);
        self.meter.moved(length);
        if let Some(found) = self.answers.get(answer) {
            found.audio += length;
            found.over = false;
        }
        match self.protocol.as_ref().and_then(|protocol| protocol.ends_after()) {
            Some(gap) => self.ends_at = Some(now + gap),
            None => self.flow_until = Some(now + self.deadlines.stall),
        }
        if !samples.is_empty() {
            self.events.push_back(RealtimeEvent::Audio { answer, samples });
        }
    }

    fn agent_said(&mut self, answer: AnswerId, text: &Pii<String>) {
        let is_void = self.answers.is_void(answer);
        let Some(found) = self.answers.begin(answer) else { return };
        if found.cut || is_void && found.reported {
            return;
        }
        found.add_words(text.expose());
        let (reported, words, after) = (found.reported, found.words.trim().to_owned(), found.after);
        self.history.agent(answer.0, &words);
        if reported && !text.expose().trim().is_empty() {
            self.transcript.agent(after, answer, Pii::new(text.expose().trim().to_owned()));
            self.report_words();
        }
    }

    /// Nothing more comes of an answer.
    fn ended(&mut self, answer: AnswerId) {
        let is_void = self.answers.is_void(answer);
        let Some(found) = self.answers.begin(answer) else { return };
        if std::mem::replace(&mut found.over, true) || is_void {
            return;
        }
        let (words, after) = (found.words.trim().to_owned(), found.after);
        let is_first = !std::mem::replace(&mut found.reported, true);
        let had_sound = !found.audio.is_zero();
        let is_empty = !had_sound && words.is_empty();
        let only_calls = found.calls && is_empty;
        self.flow_until = None;
        if self.due.is_some_and(|due| answer > due.after) && !only_calls {
            self.due = None;
        }
        if let Some((_, mut decoder)) = self.decoder.take_if(|(of, _)| *of == answer) {
            let mut samples = Vec::new();
            decoder.finish(&mut samples);
            if !samples.is_empty() && had_sound {
                self.events.push_back(RealtimeEvent::Audio { answer, samples });
            }
        }
        if is_first && !words.is_empty() {
            self.transcript.agent(after, answer, Pii::new(words));
            self.report_words();
        }
        if !is_empty {
            self.events.push_back(RealtimeEvent::AudioEnded { answer });
        }
    }

    fn called(&mut self, now: Duration, answer: Option<AnswerId>, call: ToolCall) {
        self.connection.proven(now);
        if let Some(answer) = answer {
            self.answers.begin(self.answers.global(answer));
        }
        if self.open_calls.len() >= CALLS_MAX {
            let reason = format!("more than {CALLS_MAX} tool calls at once");
            return self.broken(now, ProviderError::Protocol { provider: self.name.clone(), reason });
        }
        if let Some(found) = self.answers.under_way().last().and_then(|answer| self.answers.get(*answer)) {
            found.calls = true;
        }
        self.due = None;
        self.flow_until = None;
        self.calls_void = false;
        self.ear.understood();
        self.open_calls.push((call.id.clone(), true));
        self.history.call(call.clone());
        self.events.push_back(RealtimeEvent::Call(call));
    }

    /// No call waits for its result any more, and nobody has interrupted the answer that made them.
    fn is_to_go_on(&self) -> bool {
        self.open_calls.is_empty() && !self.calls_void && !self.caller_speaks
    }

    /// An answer is expected from here on.
    fn ask(&mut self, now: Duration, audio: bool) {
        let until = (self.phase == Phase::Live).then(|| now + self.deadlines.first);
        self.due = Some(Due { since: now, until, after: self.answers.newest(), audio });
    }

    /// Everything so far is void, on our side.
    fn void(&mut self) {
        self.due = None;
        self.flow_until = None;
        self.ends_at = None;
        self.decoder = None;
        self.calls_void = true;
        self.later.retain(|later| !matches!(later, Later::Commit));
        self.answers.void_all();
    }

    /// Everything so far is void, and the vendor is told.
    fn cancel(&mut self) {
        self.void();
        if self.phase == Phase::Live
            && let Some(protocol) = &mut self.protocol
        {
            protocol.cancel(&mut self.out);
        }
    }

    fn now_or_later(&mut self, now: Duration, later: Later) {
        match self.phase {
            Phase::Live => self.perform(now, later),
            // The next connection is told by its request and the history.
            _ if self.protocol.is_none() && !matches!(later, Later::Commit) => {}
            _ => self.later.push(later),
        }
        self.flush(now);
    }

    fn perform(&mut self, now: Duration, later: Later) {
        let go_on = self.is_to_go_on();
        let Some(protocol) = &mut self.protocol else { return };
        let out = &mut self.out;
        match later {
            Later::Commit => protocol.commit(out),
            Later::Result { call, tool, content, failed } => {
                let result = ToolResult { call: &call, tool: &tool, content: content.expose(), failed };
                protocol.tool_result(&result, go_on, out);
            }
            Later::Tell(text) => protocol.tell(text.expose(), out),
            Later::Update => {
                if !protocol.update(&self.request.instructions, &self.request.tools, out) {
                    self.connection.wants_change(now);
                }
            }
        }
    }

    fn send_audio(&mut self, now: Duration) {
        if self.phase != Phase::Live {
            return;
        }
        let Some(protocol) = &mut self.protocol else { return };
        let packet = self.ear.packet();
        while let Some(octets) = self.ear.next() {
            protocol.audio(&octets, &mut self.out);
            self.meter.moved(packet);
            self.ear.sent(octets);
        }
        self.flush(now);
    }

    /// Hands over what the vendor's machine wants written.
    fn flush(&mut self, now: Duration) {
        while let Some(frame) = self.out.next_frame() {
            self.sent_at = now;
            self.wishes.push_back(Wish::Send(frame));
        }
        if let Some(code) = self.out.wants_close() {
            self.out = Outbox::default();
            self.wishes.push_back(Wish::Close(code));
        }
    }

    fn keep_alive_at(&self) -> Option<Duration> {
        let protocol = self.protocol.as_ref().filter(|_| self.phase == Phase::Live)?;
        protocol.idle_after().map(|after| self.sent_at + after)
    }

    fn is_quiet(&self) -> bool {
        self.phase == Phase::Live
            && self.due.is_none()
            && self.open_calls.is_empty()
            && !self.caller_speaks
            && !self.answers.any_under_way()
            && (self.request.turns != TurnsBy::Local || self.later.is_empty())
    }
}
