//! The driver of one call with a bot: one task that moves audio and words between the line and the socket.

use super::ear::Ear;
use super::limits::{MARK_INTERVAL, ONSET_FRAMES, PUMP_INTERVAL, QUEUES_DROPPED, SAYING};
use super::link::{Link, LinkEvent, NORMAL};
use super::meter::Meter;
use super::mouth::{Mouth, Reached};
use super::notice::Notice as RareWaker;
use super::setup::{BotSetup, Connecting};
use super::socket::{Lost, SocketEvent};
use crate::agent::bridge::BridgeEnd;
use crate::agent::{Effect, RequestId};
use crate::base::{Pii, SampleRate};
use crate::call::handover::{Decided, FarEvent};
use crate::call::legs::Legs;
use crate::call::quality::NEAR;
use crate::call::referral;
use crate::call::switchboard::Takeover;
use crate::call::{CallEvent, LineEvent};
use crate::media::LegEvent;
use crate::media::sys::prefetch;
use crate::providers::bot::{BotMessage, Greeting, Notice, Wire, WireError};
use bytes::BytesMut;
use serde_json::Map;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// WebSocket close code of a bot that is cut off (RFC 6455 §7.4.1).
const POLICY_VIOLATION: u16 = 1_008;
/// A timer that nothing needs fires this late.
const FAR_FUTURE: Duration = Duration::from_secs(3_600);

/// Who is to be heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaker {
    Bot,
    /// The line for callers whose bot cannot be reached.
    Fallback,
    /// The call ends or belongs to people: nobody.
    Nobody,
}

/// One call with its bot. [`Self::run`] it to the end.
pub(in crate::call) struct BotCall {
    pub(in crate::call) legs: Legs,
    pub(in crate::call) setup: Arc<BotSetup>,
    direction: &'static str,
    parameters: Vec<(String, Pii<String>)>,
    hung_up: bool,
    requests: RequestId,
    wire: Wire,
    link: Link,
    ear: Ear,
    mouth: Mouth,
    meter: Meter,
    speaker: Speaker,
    /// Notices that wait for a connection: marks above all, which a bot counts on.
    notices: VecDeque<Reached>,
    said: mpsc::Sender<Option<Arc<[i16]>>>,
    sayings: mpsc::Receiver<Option<Arc<[i16]>>>,
    saying: usize,
    voiced: u32,
    onset: Option<Instant>,
    sent: u64,
    ended: Option<String>,
    rare: RareWaker,
}

/// What a call waits for.
enum Step {
    /// The media leg has something.
    Media,
    Line(LineEvent),
    Link(LinkEvent),
    Far(FarEvent),
    ReferFailed(String),
    Takeover(Takeover),
    Said(Option<Arc<[i16]>>),
    Deadline,
}

impl BotCall {
    /// A call on an answered line.
    pub(in crate::call) fn new(
        legs: Legs,
        setup: Arc<BotSetup>,
        begun: Option<Connecting>,
        direction: &'static str,
        variables: &[(String, Pii<String>)],
    ) -> Self {
        let (said, sayings) = mpsc::channel(SAYING);
        let wire = setup.wire();
        let rate = legs.line.media.sample_rate();
        Self {
            parameters: setup.parameters(variables),
            link: Link::new(&setup, begun),
            ear: Ear::new(wire.format(), rate, setup.bridge.buffer),
            mouth: Mouth::new(rate, setup.bridge.queue),
            meter: Meter::new(Instant::now()),
            wire,
            legs,
            setup,
            direction,
            hung_up: false,
            requests: RequestId(0),
            speaker: Speaker::Bot,
            notices: VecDeque::new(),
            said,
            sayings,
            saying: 0,
            voiced: 0,
            onset: None,
            sent: 0,
            ended: None,
            rare: RareWaker::new(),
        }
    }

    /// Drives the call until it is over and reports its end.
    pub(in crate::call) async fn run(mut self: Box<Self>) {
        let timer = tokio::time::sleep_until((self.legs.started + FAR_FUTURE).into());
        tokio::pin!(timer);
        loop {
            self.settle(Instant::now());
            if let Some(reason) = self.ended.take() {
                self.report_end(reason);
                return;
            }
            match self.step(timer.as_mut()).await {
                Step::Media => self.hear(),
                Step::Line(event) => self.on_line(event),
                Step::Link(event) => self.on_link(event).await,
                Step::Far(event) => self.legs.on_far_side(event),
                Step::ReferFailed(reason) => self.legs.on_refer_failure(reason),
                Step::Takeover(takeover) => self.on_takeover(takeover),
                Step::Said(samples) => self.on_said(samples),
                Step::Deadline => self.on_deadline(),
            }
        }
    }

    /// The next thing that happens. The line's frames and beats wake a call a hundred times a second; while it only talks
    /// with its bot, everything else is looked at when that has woken it.
    async fn step(&mut self, mut timer: Pin<&mut Sleep>) -> Step {
        if self.legs.line.is_settled() && self.legs.far.is_idle() {
            return self.routine_step(timer).await;
        }
        self.rare.again();
        self.wind(timer.as_mut());
        tokio::select! {
            event = self.legs.line.next() => event.map_or(Step::Media, Step::Line),
            event = self.link.next() => Step::Link(event),
            event = self.legs.far.next() => Step::Far(event),
            Some(reason) = self.legs.refer_failed.recv() => Step::ReferFailed(reason),
            Some(takeover) = self.legs.takeovers.recv() => Step::Takeover(takeover),
            Some(samples) = self.sayings.recv() => Step::Said(samples),
            () = timer => Step::Deadline,
        }
    }

    async fn routine_step(&mut self, mut timer: Pin<&mut Sleep>) -> Step {
        poll_fn(|cx| {
            if pin!(self.legs.line.media.ready()).poll(cx).is_ready() {
                self.prefetch();
                return Poll::Ready(Step::Media);
            }
            if let Poll::Ready(event) = pin!(self.link.next()).poll(cx) {
                return Poll::Ready(Step::Link(event));
            }
            self.wind(timer.as_mut());
            if !self.rare.is_due(cx) {
                return Poll::Pending;
            }
            let rare = async {
                tokio::select! {
                    event = self.legs.line.next_signal() => event.map_or(Step::Media, Step::Line),
                    Some(reason) = self.legs.refer_failed.recv() => Step::ReferFailed(reason),
                    Some(takeover) = self.legs.takeovers.recv() => Step::Takeover(takeover),
                    Some(samples) = self.sayings.recv() => Step::Said(samples),
                    () = timer.as_mut() => Step::Deadline,
                }
            };
            let step = pin!(rare).poll(&mut Context::from_waker(self.rare.waker()));
            if step.is_ready() {
                self.rare.again();
            }
            step
        })
        .await
    }

    /// Asks for what moving audio needs: with many calls nothing of one is in the processor's cache any more when it is polled
    /// again.
    fn prefetch(&mut self) {
        prefetch(&self.ear);
        prefetch(&self.mouth);
        prefetch(&self.wire);
        if let Some(socket) = self.link.socket() {
            prefetch(socket);
        }
    }

    /// Sets the timer to the next deadline. One that fires too early costs less than one that is set each time.
    fn wind(&self, timer: Pin<&mut Sleep>) {
        let now = Instant::now();
        let pump = (!self.mouth.is_empty()).then(|| now + PUMP_INTERVAL);
        let mark = self.mouth.has_marks().then(|| now + MARK_INTERVAL);
        let rest = self.legs.hangup.is_some().then(|| now + MARK_INTERVAL);
        let fallback = (self.speaker == Speaker::Fallback).then(|| now + MARK_INTERVAL);
        let machines = [self.link.timeout(), self.mouth.timeout(), self.legs.handover_timeout()];
        let quality = Some(self.legs.quality_at);
        let next = machines.into_iter().chain([pump, mark, rest, fallback, quality]).flatten().min();
        let next = next.unwrap_or(now + FAR_FUTURE);
        let set: Instant = timer.deadline().into();
        if next < set || set <= now {
            timer.reset(next.into());
        }
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        self.legs.on_handover_timeout(now);
        self.legs.tell_quality_when_due(now);
        if let Err(lost) = self.link.handle_timeout(now) {
            self.on_lost(&lost);
        }
    }

    /// Lets audio, marks and a handover go on as far as they can.
    fn settle(&mut self, now: Instant) {
        self.legs.line.media.keep_time(self.link.socket().is_some_and(|socket| socket.keeps_time()));
        self.legs.line.media.detect_voice(self.setup.bridge.barge_in);
        if !self.legs.far.coupled {
            self.mouth.pump(&mut self.legs.line.media.downlink, now);
        }
        while let Some(reached) = self.mouth.reached(&self.legs.line.media.downlink) {
            self.tell_mark(reached);
        }
        let silent = self.mouth.is_silent(&self.legs.line.media.downlink) && self.saying == 0;
        if self.legs.handover.is_some() {
            self.legs.drive_handover(now, silent);
        }
        self.tell_decided();
        if silent && self.legs.handover.is_none() && self.speaker == Speaker::Fallback {
            self.go_on(self.setup.bridge.fallback.then.clone(), "the bot cannot be reached", false);
        }
        if silent
            && self.legs.hangup.is_some()
            && self.legs.handover.is_none()
            && !self.legs.far.bridged
            && !self.hung_up
        {
            self.hung_up = true;
            self.legs.line.hang_up();
        }
        self.send_caller_audio();
    }

    /// Caller audio and what the media worker reports.
    fn hear(&mut self) {
        while let Some(frame) = self.legs.line.media.uplink.try_pop() {
            if self.legs.line.is_held() {
                continue;
            }
            if let Some(key) = self.legs.line.key_in(&frame) {
                self.on_key(key);
            }
            if self.setup.bridge.barge_in {
                self.listen_for_voice(frame.voiced, frame.arrived);
            }
            if self.speaker == Speaker::Bot {
                self.ear.push(frame.samples.samples());
            }
        }
        while let Some(event) = self.legs.line.media.events.try_pop() {
            self.on_media(event);
        }
        if self.legs.line.media.take_beat()
            && let Some(socket) = self.link.socket()
        {
            socket.beat();
        }
    }

    fn on_media(&mut self, event: LegEvent) {
        match event {
            LegEvent::Digit(_) if self.legs.far.passes_keys || !self.legs.line.takes_event_keys() => {}
            LegEvent::Digit(key) => self.on_key(key),
            LegEvent::PlayoutEnded { at, .. } => {
                if let Some(onset) = self.onset.take() {
                    let stopped_after = at.saturating_duration_since(onset);
                    self.legs.events.send(CallEvent::BargeIn { call: self.legs.call, stopped_after });
                }
            }
            LegEvent::MediaTimeout { silent_for } => {
                tracing::info!(call = %self.legs.call, seconds = silent_for.as_secs(), "media_timeout");
                self.finish("no audio came from the peer");
            }
            LegEvent::Starved { turn, frames } => self.mouth.starved(turn, Duration::from_millis(20) * frames),
            LegEvent::Panicked => self.finish("the media worker met a bug in this call"),
            _ => {}
        }
    }

    /// The caller's voice over the bot's, where it is to silence the bot here.
    fn listen_for_voice(&mut self, voiced: bool, at: Instant) {
        self.voiced = if voiced { self.voiced + 1 } else { 0 };
        if self.voiced != ONSET_FRAMES || self.mouth.is_silent(&self.legs.line.media.downlink) {
            return;
        }
        self.onset = at.checked_sub(Duration::from_millis(20) * (ONSET_FRAMES - 1));
        let before = self.wire.format().rate.samples_in_ms(20 * ONSET_FRAMES) as u32;
        let timestamp = self.ear.timestamp().wrapping_sub(before);
        self.clear();
        self.notify(&Notice::BargeIn { timestamp });
    }

    fn on_key(&mut self, key: char) {
        if self.legs.far.coupled {
            if let Some(far) = &mut self.legs.far.line {
                far.press(key);
            }
            return;
        }
        self.legs.events.send(CallEvent::Digit { call: self.legs.call, key: Pii::new(key) });
        self.notify(&Notice::Digit(key));
    }

    fn on_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Digit(key) => self.on_key(key),
            LineEvent::Held(held) => self.on_held(held),
            LineEvent::HoldRefused(code) => {
                let message = format!("the peer refused it with {code}");
                self.notify(&Notice::Fault { code: "hold_refused", message: &message });
            }
            LineEvent::Ended(cause) => {
                self.ended = Some(self.legs.reason_of_end(&cause));
            }
            LineEvent::TransferProgress(code) => self.legs.on_refer_progress(code),
            LineEvent::Transferred(outcome) => self.legs.on_refer_decided(outcome),
            LineEvent::TransferRequested(_) => referral::refuse(&self.legs.line),
            // Of a call that is up.
            LineEvent::MediaFailed(reason) => self.finish(&reason),
            LineEvent::Answered(_) | LineEvent::EarlyMedia(_) | LineEvent::Ringing(_) => {}
        }
    }

    /// Whoever is on hold hears the peer's music; what the bot says meanwhile would come late, and is void.
    fn on_held(&mut self, held: bool) {
        if self.legs.far.coupled {
            self.legs.play_to_who_waits();
            return;
        }
        if held {
            self.clear();
        }
        self.notify(&Notice::Held(held));
    }

    /// Another call takes the place of one of our legs (RFC 3891 §3).
    fn on_takeover(&mut self, takeover: Takeover) {
        let Takeover { replaced, line } = takeover;
        if replaced == self.legs.line.leg {
            self.clear();
            self.legs.seat.release(self.legs.line.leg);
            self.legs.seat.hold(NEAR, &line);
            // Dropping the old line hangs it up.
            self.legs.line = *line;
            let rate = self.legs.line.media.sample_rate();
            self.ear.set_line_rate(rate);
            self.mouth.set_line_rate(rate);
            if self.legs.far.coupled {
                self.legs.couple();
            }
        } else if self.legs.far.line.as_ref().is_some_and(|far| far.leg == replaced) {
            self.legs.adopt_far(*line);
        } else {
            return;
        }
        self.legs.events.send(CallEvent::LegReplaced { call: self.legs.call, by: "replaces" });
    }

    async fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Opened => self.on_opened(),
            LinkEvent::NotOpened(reason) => self.on_not_opened(&reason),
            LinkEvent::Due => self.link.attempt(),
            LinkEvent::Socket(SocketEvent::Writable) => {}
            LinkEvent::Socket(SocketEvent::Lost(lost)) => self.on_lost(&lost),
            LinkEvent::Socket(SocketEvent::Text(text)) => {
                let mut samples = Vec::new();
                let read = self.wire.read_text(&text, &mut samples);
                self.on_read(read, &samples).await;
            }
            LinkEvent::Socket(SocketEvent::Binary(octets)) => {
                // Made anew each time: memory that calls use one after the other stays in the processor's cache.
                let mut samples = Vec::new();
                let read = self.wire.read_binary(&octets, &mut samples);
                self.on_read(read, &samples).await;
            }
        }
    }

    fn on_opened(&mut self) {
        let resumed = self.link.opened > 1;
        self.report_bot(if resumed { "reconnected" } else { "connected" }, "");
        self.meter.restart(Instant::now());
        let call = self.legs.call.to_string();
        let greeting = Greeting {
            direction: self.direction,
            call: &call,
            parameters: &self.parameters,
            destinations: &self.setup.destinations,
            resumed,
        };
        let Some(socket) = self.link.socket() else { return };
        socket.keep_time();
        let mut sent = Ok(());
        self.wire.open(&greeting, &mut |opcode, message| {
            if sent.is_ok() {
                sent = socket.send(opcode, message);
            }
        });
        if let Err(lost) = sent {
            return self.on_lost(&lost);
        }
        for Reached { name, played } in std::mem::take(&mut self.notices) {
            self.notify(&Notice::Mark { name: &name, played });
        }
    }

    fn on_not_opened(&mut self, reason: &str) {
        tracing::info!(call = %self.legs.call, reason, "bot_not_reached");
        self.report_bot("not_reached", reason);
        if self.speaker == Speaker::Bot && !self.link.retry(Instant::now()) {
            self.fall_back();
        }
    }

    fn on_lost(&mut self, lost: &Lost) {
        if self.speaker != Speaker::Bot {
            return self.link.give_up(NORMAL, "");
        }
        match lost {
            Lost::Done => {
                self.report_bot("done", "");
                self.done();
            }
            lost => {
                tracing::info!(call = %self.legs.call, reason = %lost, "bot_lost");
                self.report_bot("lost", &lost.to_string());
                if let Lost::CutOff(reason) = lost {
                    self.link.give_up(POLICY_VIOLATION, reason);
                }
                if !(lost.may_be_retried() && self.link.retry(Instant::now())) {
                    self.fall_back();
                }
            }
        }
    }

    /// The bot has done its part: what it said is heard to its end.
    fn done(&mut self) {
        self.go_on(self.setup.bridge.when_done.clone(), "the bot has finished", true);
    }

    /// Without the bot.
    fn go_on(&mut self, end: BridgeEnd, reason: &str, completed: bool) {
        self.link.give_up(NORMAL, reason);
        self.speaker = Speaker::Nobody;
        let target = match end {
            BridgeEnd::Hangup => None,
            BridgeEnd::Transfer(index) => self.setup.destinations.get(index).map(|(name, _)| name.clone()),
        };
        match target {
            Some(destination) => self.ask_transfer(destination, Pii::new(Map::new())),
            None => {
                self.execute(Effect::Hangup { reason: reason.to_owned(), completed, headers: Vec::new() });
            }
        }
    }

    /// The bot cannot be reached: the caller hears why, in so many words or beeps.
    fn fall_back(&mut self) {
        self.link.give_up(NORMAL, "");
        self.report_bot("fallback", "");
        self.clear();
        self.speaker = Speaker::Fallback;
        let fallback = Arc::clone(&self.setup.fallback);
        self.mouth.say(SampleRate::NARROWBAND, &fallback);
    }

    async fn on_read(&mut self, read: Result<BotMessage, WireError>, samples: &[i16]) {
        let outcome = match (self.meter.message(Instant::now()), read) {
            (Err(lost), _) => Err(lost),
            (Ok(()), Ok(message)) => self.on_message(message, samples).await,
            (Ok(()), Err(error)) => {
                self.notify(&Notice::Fault { code: error.code(), message: &error.to_string() });
                self.meter.fault()
            }
        };
        if let Err(lost) = outcome {
            self.on_lost(&lost);
        }
    }

    async fn on_message(&mut self, message: BotMessage, samples: &[i16]) -> Result<(), Lost> {
        if self.speaker != Speaker::Bot || self.legs.hangup.is_some() {
            return Ok(());
        }
        match message {
            BotMessage::Audio(format) => {
                // Nobody would hear it, and a transfer waits until everything was said.
                if self.legs.line.is_held() || self.legs.handover.is_some() {
                    return Ok(());
                }
                self.mouth.push(format.rate, samples);
                let most = self.setup.bridge.queue.as_millis() as u64 * QUEUES_DROPPED;
                if self.mouth.dropped_ms() > most {
                    return Err(Lost::CutOff("it sends audio faster than anyone can hear it"));
                }
            }
            BotMessage::Clear => self.clear(),
            BotMessage::Complaint(text) => self.report_bot("complaint", &text),
            BotMessage::Digits(digits) => digits.expose().chars().for_each(|key| self.legs.line.press(key)),
            BotMessage::Format(format) => self.ear.set_format(format),
            BotMessage::Hangup { reason, completed } => {
                self.execute(Effect::Hangup { reason, completed, headers: Vec::new() });
            }
            BotMessage::Hold(on) => {
                let done = if on { self.legs.line.hold(true).await } else { self.legs.line.resume().await };
                let music = on.then(|| self.legs.switchboard.sounds.hold_music.at(self.legs.line.sample_rate()));
                match done {
                    Ok(()) => drop(self.legs.line.media.set_background(music)),
                    Err(error) => {
                        self.notify(&Notice::Fault { code: "hold_refused", message: &error.to_string() });
                    }
                }
            }
            BotMessage::Mark(name) => {
                if !self.mouth.mark(name) {
                    self.notify(&Notice::Fault { code: "too_many_marks", message: "this mark was not set" });
                }
            }
            BotMessage::Say(text) => self.say(text),
            BotMessage::Stop => return Err(Lost::Done),
            BotMessage::Transfer { destination, context } => {
                if self.legs.handover.is_some() {
                    self.notify(&Notice::Fault { code: "busy", message: "a transfer is under way" });
                } else {
                    self.ask_transfer(destination, context);
                }
            }
            BotMessage::Unknown => self.meter.unknown += 1,
        }
        Ok(())
    }

    fn ask_transfer(&mut self, destination: String, context: Pii<Map<String, serde_json::Value>>) {
        self.requests.0 += 1;
        self.execute(Effect::Transfer { request: self.requests, destination, context, announcement: None });
    }

    /// Tells the bot what became of a transfer; without a bot, a failed one ends the call.
    fn tell_decided(&mut self) {
        let Some(Decided { destination, accepted, reason, .. }) = self.legs.far.decided.take() else { return };
        self.notify(&Notice::Transferred { destination: &destination, accepted, reason: &reason });
        if accepted {
            self.link.give_up(NORMAL, "transferred");
            self.speaker = Speaker::Nobody;
        } else if self.speaker == Speaker::Nobody {
            self.finish_when_silent("the transfer failed");
        }
    }

    fn finish_when_silent(&mut self, reason: &str) {
        self.execute(Effect::Hangup { reason: reason.to_owned(), completed: false, headers: Vec::new() });
    }

    /// Speaks a text of the bot as soon as it is synthesised.
    fn say(&mut self, text: Pii<String>) {
        let Some(voice) = self.setup.voice.clone() else {
            return self.notify(&Notice::Fault { code: "no_voice", message: "this server has loaded no voice" });
        };
        if self.saying >= SAYING {
            return self.notify(&Notice::Fault { code: "busy", message: "too much to say at once" });
        }
        self.saying += 1;
        let said = self.said.clone();
        tokio::spawn(async move {
            let line = voice.whole_line(text.expose(), false).await;
            let line = line.inspect_err(|error| tracing::info!(%error, "bot_text_not_spoken")).ok();
            // The call may be over by then.
            let _ = said.send(line).await;
        });
    }

    fn on_said(&mut self, samples: Option<Arc<[i16]>>) {
        self.saying = self.saying.saturating_sub(1);
        match samples {
            Some(samples) if self.speaker == Speaker::Bot => {
                self.mouth.say(SampleRate::NARROWBAND, &samples);
            }
            Some(_) => {}
            None => self.notify(&Notice::Fault { code: "not_spoken", message: "the voice is busy or has failed" }),
        }
    }

    fn clear(&mut self) {
        for reached in self.mouth.clear(&mut self.legs.line.media.downlink) {
            self.tell_mark(reached);
        }
    }

    fn tell_mark(&mut self, reached: Reached) {
        if self.link.socket().is_some() {
            self.notify(&Notice::Mark { name: &reached.name, played: reached.played });
        } else if !self.link.is_gone() && self.notices.len() < super::limits::MARKS {
            self.notices.push_back(reached);
        }
    }

    /// Tells the bot something, where there is one and its protocol has a word for it.
    fn notify(&mut self, notice: &Notice<'_>) {
        let Some(socket) = self.link.socket() else { return };
        let mut out = BytesMut::new();
        let Some(opcode) = self.wire.notice(notice, &mut out) else { return };
        if let Err(lost) = socket.send(opcode, out) {
            self.on_lost(&lost);
        }
    }

    /// Hands what the caller said to the socket, while that takes it.
    fn send_caller_audio(&mut self) {
        let Some(socket) = self.link.socket() else { return };
        let mut failed = None;
        while socket.is_writable()
            && let Some(frame) = self.ear.pop()
        {
            let mut out = BytesMut::with_capacity(AUDIO_MESSAGE_BYTES);
            let opcode = self.wire.audio(frame.timestamp, frame.octets(), &mut out);
            self.sent += 1;
            if let Err(lost) = socket.send(opcode, out) {
                failed = Some(lost);
                break;
            }
        }
        if let Some(lost) = failed {
            self.on_lost(&lost);
        }
    }

    fn report_bot(&self, state: &'static str, detail: &str) {
        self.legs.events.send(CallEvent::Bot { call: self.legs.call, state, detail: detail.to_owned() });
    }

    fn finish(&mut self, reason: &str) {
        self.legs.hangup.get_or_insert_with(|| (reason.to_owned(), false));
        self.hung_up = true;
        self.legs.line.hang_up();
    }

    fn report_end(mut self, reason: String) {
        self.notify(&Notice::Stop { reason: &reason });
        let gaps = match &self.wire {
            Wire::Lean(lean) => lean.gaps(),
            Wire::Twilio(_) => 0,
        };
        let figures = [
            ("bot_connections", self.link.opened),
            ("bot_frames_sent", self.sent),
            ("bot_frames_dropped", self.ear.dropped()),
            ("bot_audio_ms", self.mouth.accepted_ms()),
            ("bot_audio_dropped_ms", self.mouth.dropped_ms()),
            ("bot_unknown_messages", self.meter.unknown),
            ("bot_faulty_messages", self.meter.faulty),
            ("bot_gaps", gaps),
        ];
        self.legs.tell_end(reason.clone(), &figures);
        self.link.give_up(NORMAL, &reason);
    }
}

/// Longest message of caller audio: the widest frame in binary, or a narrow one as base64 in its JSON.
const AUDIO_MESSAGE_BYTES: usize = 1_024;
