use super::*;
use crate::base::SampleRate;
use crate::base::chat::Message;
use crate::providers::format::AudioFormat;
use crate::providers::realtime::protocol::{Start, TurnId};
use serde_json::Map;
use std::sync::Mutex;

/// A vendor that is told by its messages what to report, and notes what it is told.
struct Puppet {
    starts: Mutex<Vec<String>>,
    lifetime: Option<Duration>,
    ends_after: Option<Duration>,
    updates: bool,
}

struct Strings {
    ends_after: Option<Duration>,
    updates: bool,
}

impl RealtimeVendor for Arc<Puppet> {
    fn format(&self, _: &RealtimeRequest) -> RealtimeFormats {
        RealtimeFormats { input: AudioFormat::MULAW, output: AudioFormat::MULAW, packet_ms: 20 }
    }
    fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let words = |message: &Message| match message {
            Message::Caller(text) => format!("caller {}", text.expose()),
            Message::Agent { text, calls } if calls.is_empty() => format!("agent {}", text.expose()),
            Message::Agent { calls, .. } => format!("calls {}", calls[0].name),
            Message::ToolResult { content, .. } => format!("result {}", content.expose()),
        };
        let told: Vec<String> = start.request.messages.expose().iter().map(words).collect();
        let line = format!("{} due={} handle={:?}", told.join("; "), start.answer_due, start.handle);
        self.starts.lock().unwrap().push(line);
        Ok(Box::new(Strings { ends_after: self.ends_after, updates: self.updates }))
    }
}

impl RealtimeProtocol for Strings {
    fn handshake(&self) -> Handshake {
        Handshake { url: "wss://puppet".into(), headers: Vec::new() }
    }
    fn opened(&mut self, out: &mut Outbox) {
        out.text("hello");
    }
    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        out.text(format!("audio {}", octets.len()));
    }
    fn commit(&mut self, out: &mut Outbox) {
        out.text("commit");
    }
    fn cancel(&mut self, out: &mut Outbox) {
        out.text("cancel");
    }
    fn heard(&mut self, answer: AnswerId, heard: Duration, out: &mut Outbox) {
        out.text(format!("heard {} {}", answer.0, heard.as_millis()));
    }
    fn tool_result(&mut self, result: &ToolResult<'_>, go_on: bool, out: &mut Outbox) {
        out.text(format!("result {} {go_on}", result.content));
    }
    fn update(&mut self, _: &str, _: &[ToolSpec], out: &mut Outbox) -> bool {
        out.text("update");
        self.updates
    }
    fn tell(&mut self, text: &str, out: &mut Outbox) {
        out.text(format!("tell {text}"));
    }
    fn received(&mut self, frame: Frame, _: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let Frame::Text(text) = frame else { return Ok(()) };
        let words: Vec<&str> = text.split(' ').collect();
        let answer = AnswerId(words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0));
        let rest = Pii::new(words[1..].join(" "));
        events.push(match words[0] {
            "ready" => Answered::Ready,
            "started" => Answered::SpeechStarted,
            "stopped" => Answered::SpeechStopped,
            "audio" => Answered::Audio { answer, octets: vec![0xFF; 800] },
            "end" => Answered::AudioEnded { answer },
            "caller" => Answered::CallerSaid(rest),
            "turn" => Answered::CallerTurn { turn: TurnId(answer.0), before: None },
            "heard" => Answered::TurnSaid { turn: TurnId(answer.0), text: words.get(2).map(|w| Pii::new((*w).into())) },
            "said" => Answered::AgentSaid { answer, text: Pii::new(words[2..].join(" ")) },
            "call" => {
                let (id, name) = (words[1].to_owned(), "slots".to_owned());
                Answered::Call {
                    answer: None,
                    call: ToolCall { id, name, arguments: Pii::new(Map::new()), opaque: None },
                }
            }
            "resumable" => Answered::Resumable(words[1].to_owned()),
            "expiring" => Answered::Expiring { within: Duration::from_secs(10) },
            _ => return Err(ProviderError::BadRequest { provider: "puppet".into(), reason: text }),
        });
        Ok(())
    }
    fn idle_after(&self) -> Option<Duration> {
        Some(ms(5_000))
    }
    fn idle(&mut self, out: &mut Outbox) {
        out.text("alive");
    }
    fn ends_after(&self) -> Option<Duration> {
        self.ends_after
    }
    fn closed(&self, closed: &Closed) -> ProviderError {
        ProviderError::Transient { provider: "puppet".into(), reason: closed.reason.clone() }
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

struct Rig {
    puppet: Arc<Puppet>,
    meter: Arc<Meter>,
    session: Session,
    now: Duration,
}

impl Rig {
    fn new(turns: TurnsBy) -> Self {
        Self::with(turns, None, None, true)
    }

    fn with(turns: TurnsBy, lifetime: Option<Duration>, ends_after: Option<Duration>, updates: bool) -> Self {
        let puppet = Arc::new(Puppet { starts: Mutex::default(), lifetime, ends_after, updates });
        let meter = Arc::new(Meter::default());
        let request = RealtimeRequest::new(SampleRate::NARROWBAND, AudioFormat::MULAW, turns, "");
        let deadlines = Deadlines { connect: ms(1_000), first: ms(1_400), stall: ms(900), life: ms(1_000) };
        let vendor = Arc::new(Arc::clone(&puppet));
        let session = Session::new("puppet".into(), vendor, deadlines, Arc::clone(&meter), request).unwrap();
        Self { puppet, meter, session, now: ms(0) }
    }

    /// A session that takes audio.
    fn live(turns: TurnsBy) -> Self {
        let mut rig = Self::new(turns);
        rig.connect();
        rig
    }

    fn connect(&mut self) {
        assert!(self.wishes().ends_with(&["connect".to_owned()]));
        self.session.connected(self.now, Ok(()));
        assert_eq!(self.wishes(), ["hello"]);
        self.hear("ready");
    }

    fn hear(&mut self, text: &str) {
        self.session.received(self.now, Frame::Text(text.into()));
    }

    fn break_off(&mut self) {
        self.session.disconnected(self.now, &Closed { code: Some(1011), reason: "gone".into() });
    }

    /// Lets time pass, timeouts included.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.timeout(self.now);
        }
        self.now = end;
    }

    fn wishes(&mut self) -> Vec<String> {
        let mut wishes = Vec::new();
        while let Some(wish) = self.session.poll_wish() {
            wishes.push(match wish {
                Wish::Send(Frame::Text(text)) => text,
                Wish::Send(_) => "octets".into(),
                Wish::Connect(_) => "connect".into(),
                Wish::Fetch(_) => "fetch".into(),
                Wish::Ping => "ping".into(),
                Wish::Close(code) => format!("close {code}"),
                Wish::Drop => "drop".into(),
            });
        }
        wishes
    }

    fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.session.poll_event() {
            events.push(match event {
                RealtimeEvent::Ready => "ready".into(),
                RealtimeEvent::SpeechStarted => "started".into(),
                RealtimeEvent::SpeechStopped => "stopped".into(),
                RealtimeEvent::Audio { answer, samples } => format!("audio {} {}", answer.0, samples.len()),
                RealtimeEvent::AudioEnded { answer } => format!("end {}", answer.0),
                RealtimeEvent::BrokeOff { answer } => format!("broke off {}", answer.0),
                RealtimeEvent::CallerSaid(text) => format!("caller {}", text.expose()),
                RealtimeEvent::AgentSaid { answer, text } => format!("said {} {}", answer.0, text.expose()),
                RealtimeEvent::Call(call) => format!("call {}", call.id),
                RealtimeEvent::FellOver { .. } => "fell over".into(),
                RealtimeEvent::Failed(error) => format!("failed {error}"),
                other => format!("{other:?}"),
            });
        }
        events
    }

    fn last_start(&self) -> String {
        self.puppet.starts.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

#[test]
fn a_turn_goes_its_way() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.session.push(rig.now, &[0; 200]);
    rig.session.commit(rig.now);
    assert_eq!(rig.wishes(), ["audio 160", "audio 40", "commit"]);
    rig.pass(ms(400));
    for message in ["audio 1", "said 1 Good", "said 1  morning.", "caller Hello", "end 1"] {
        rig.hear(message);
    }
    let expected = ["ready", "audio 1 800", "caller Hello", "said 1 Good morning.", "end 1"];
    assert_eq!(rig.events(), expected);
    assert_eq!(rig.meter.read().first_p50, ms(400));
    rig.pass(ms(60_000));
    assert_eq!(rig.events(), Vec::<String>::new(), "no deadline is left");
}

#[test]
fn an_interruption_voids_what_waits_and_what_still_comes() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.session.commit(rig.now);
    for message in ["said 1 one two three four five six seven eight nine ten", "audio 1", "audio 1"] {
        rig.hear(message);
    }
    rig.wishes();
    rig.session.interrupt(rig.now, AnswerId(1), ms(100));
    assert_eq!(rig.wishes(), ["cancel", "heard 1 100"]);
    rig.hear("audio 1");
    rig.hear("said 1 eleven");
    rig.hear("end 1");
    assert_eq!(rig.events(), ["ready", "said 1 one two three four five"], "half of 200 ms were heard");
    rig.session.interrupt(rig.now, AnswerId(1), ms(100));
    assert_eq!(rig.wishes(), Vec::<String>::new(), "once is enough");
    rig.hear("audio 2");
    assert_eq!(rig.events(), ["audio 2 800"]);
}

#[test]
fn an_answer_that_is_whole_but_not_played_is_cut_in_the_history() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    for message in ["audio 1", "said 1 one two three four", "end 1", "started"] {
        rig.hear(message);
    }
    assert_eq!(rig.events(), ["ready", "said 1 one two three four", "started"], "what waits is not played");
    rig.wishes();
    rig.session.interrupt(rig.now, AnswerId(1), ms(60));
    assert_eq!(rig.wishes(), ["heard 1 60"], "the vendor has interrupted by itself");
    assert_eq!(rig.events(), Vec::<String>::new(), "its words were reported already");
    rig.break_off();
    assert_eq!(rig.last_start(), "agent one two due=false handle=None");
}

#[test]
fn two_answers_in_the_queue_are_cut_each_by_its_own_measure() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    for message in ["audio 1", "end 1", "audio 2", "end 2"] {
        rig.hear(message);
    }
    rig.wishes();
    rig.session.interrupt(rig.now, AnswerId(1), ms(40));
    rig.session.interrupt(rig.now, AnswerId(2), ms(0));
    assert_eq!(rig.wishes(), ["heard 1 40", "heard 2 0"]);
}

#[test]
fn an_answer_that_does_not_begin_is_given_up() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.session.commit(rig.now);
    rig.pass(ms(1_399));
    assert!(!rig.session.is_over());
    rig.pass(ms(1));
    assert_eq!(rig.events(), ["ready", "failed puppet: no first audio within 1400 ms"]);
    assert!(rig.session.is_over());
}

#[test]
fn an_answer_that_stops_in_the_middle_is_given_up() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("audio 1");
    rig.pass(ms(900));
    let expected = ["ready", "audio 1 800", "broke off 1", "end 1", "failed puppet: no further audio within 900 ms"];
    assert_eq!(rig.events(), expected);
}

#[test]
fn a_vendor_without_an_end_mark_ends_by_silence() {
    let mut rig = Rig::with(TurnsBy::Vendor, None, Some(ms(700)), true);
    rig.connect();
    rig.hear("audio 1");
    rig.pass(ms(699));
    assert_eq!(rig.events(), ["ready", "audio 1 800"]);
    rig.pass(ms(1));
    assert_eq!(rig.events(), ["end 1"]);
    rig.pass(ms(10_000));
    assert!(!rig.session.is_over());
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_an_answer_is_replaced_and_asked_again() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    for message in ["stopped", "caller When?", "said 1 At", "audio 1"] {
        rig.hear(message);
    }
    rig.break_off();
    assert_eq!(rig.events(), ["ready", "stopped", "caller When?", "audio 1 800", "broke off 1", "said 1 At", "end 1"]);
    rig.connect();
    assert_eq!(rig.last_start(), "caller When?; agent At due=true handle=None");
    rig.hear("audio 1");
    assert_eq!(rig.events(), ["fell over", "audio 2 800"]);
}

#[test]
fn audio_that_nobody_understood_is_sent_again() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.session.push(rig.now, &[0; 320]);
    rig.session.commit(rig.now);
    assert_eq!(rig.wishes(), ["audio 160", "audio 160", "commit"]);
    rig.break_off();
    rig.session.push(rig.now, &[0; 160]);
    rig.connect();
    assert_eq!(rig.last_start(), " due=false handle=None", "its audio asks");
    assert_eq!(rig.wishes(), ["audio 160", "audio 160", "audio 160", "commit"]);
}

#[test]
fn a_commit_while_there_is_no_connection_is_kept() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.break_off();
    rig.session.push(rig.now, &[0; 160]);
    rig.session.commit(rig.now);
    rig.connect();
    assert_eq!(rig.wishes(), ["audio 160", "commit"]);
}

#[test]
fn a_first_connection_is_not_tried_twice() {
    let mut rig = Rig::new(TurnsBy::Local);
    let error = ProviderError::Transient { provider: "puppet".into(), reason: "refused".into() };
    rig.session.connected(rig.now, Err(error));
    assert_eq!(rig.events(), ["failed puppet is not available: refused"]);
}

#[test]
fn reconnecting_ends_at_its_deadline() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.break_off();
    let mut tries = 0;
    while !rig.session.is_over() {
        tries += rig.wishes().iter().filter(|wish| *wish == "connect").count();
        let error = ProviderError::Transient { provider: "puppet".into(), reason: "refused".into() };
        rig.session.connected(rig.now, Err(error));
        rig.pass(ms(50));
    }
    assert!((3..=5).contains(&tries), "{tries}");
    assert!(rig.now <= ms(1_100), "{:?}", rig.now);
}

#[test]
fn a_connection_that_breaks_again_and_again_is_given_up() {
    let mut rig = Rig::live(TurnsBy::Local);
    for _ in 0..3 {
        rig.break_off();
        rig.connect();
    }
    rig.break_off();
    assert!(rig.session.is_over());
}

#[test]
fn a_vendor_all_of_whose_connections_break_after_five_seconds_has_failed_within_twenty() {
    let mut rig = Rig::live(TurnsBy::Local);
    for _ in 0..3 {
        rig.pass(ms(5_000));
        rig.break_off();
        rig.connect();
        assert!(!rig.session.is_over());
    }
    rig.pass(ms(5_000));
    rig.break_off();
    assert!(rig.session.is_over());
    assert_eq!(rig.events().last().map(|event| event.starts_with("failed")), Some(true));
}

#[test]
fn a_connection_near_its_end_is_exchanged_at_a_quiet_moment() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("resumable h1");
    rig.hear("audio 1");
    rig.hear("expiring");
    assert_eq!(rig.wishes(), Vec::<String>::new(), "not while it speaks");
    rig.hear("end 1");
    assert_eq!(rig.wishes(), ["close 1000", "connect"]);
    assert_eq!(rig.last_start(), " due=false handle=Some(\"h1\")");
    rig.session.connected(rig.now, Ok(()));
    rig.hear("ready");
    assert_eq!(rig.events(), ["ready", "audio 1 800", "end 1", "fell over"]);
}

#[test]
fn a_connection_near_its_end_is_exchanged_in_the_end_even_if_somebody_speaks() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("started");
    rig.hear("expiring");
    rig.wishes();
    rig.pass(ms(8_999));
    assert_eq!(rig.wishes(), ["alive"]);
    rig.pass(ms(1));
    assert_eq!(rig.wishes(), ["close 1000", "connect"]);
}

#[test]
fn a_connection_does_not_outlive_what_its_vendor_allows() {
    let mut rig = Rig::with(TurnsBy::Vendor, Some(ms(60_000)), None, true);
    rig.connect();
    rig.pass(ms(59_999));
    assert!(!rig.wishes().contains(&"connect".to_owned()));
    rig.pass(ms(1));
    assert_eq!(rig.wishes().last().map(String::as_str), Some("connect"));
}

#[test]
fn what_cannot_change_within_a_connection_changes_with_the_next() {
    let mut rig = Rig::with(TurnsBy::Vendor, None, None, false);
    rig.connect();
    rig.hear("audio 1");
    rig.session.update(rig.now, "Be brief.", &[]);
    assert_eq!(rig.wishes(), ["update"]);
    rig.hear("end 1");
    assert_eq!(rig.wishes(), ["close 1000", "connect"]);
    assert_eq!(rig.session.request.instructions, "Be brief.");
}

#[test]
fn a_vendor_goes_on_when_the_last_call_has_its_result() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("call a");
    rig.hear("call b");
    rig.wishes();
    rig.session.tool_result(rig.now, "a", "slots", "noon", false);
    rig.session.tool_result(rig.now, "x", "slots", "nobody asked", false);
    rig.session.tool_result(rig.now, "b", "slots", "one", false);
    assert_eq!(rig.wishes(), ["result noon false", "result one true"]);
}

#[test]
fn a_result_does_not_speak_over_the_caller() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("call a");
    rig.hear("started");
    rig.wishes();
    rig.session.tool_result(rig.now, "a", "slots", "noon", false);
    assert_eq!(rig.wishes(), ["result noon false"]);
    rig.pass(ms(4_000));
    assert!(!rig.session.is_over(), "no answer is due");
}

#[test]
fn the_result_of_a_call_that_a_lost_connection_made_is_told_in_words() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("call a");
    rig.break_off();
    rig.connect();
    assert_eq!(rig.last_start(), " due=false handle=None", "half a call is not told");
    rig.session.tool_result(rig.now, "a", "slots", "noon", false);
    assert_eq!(rig.wishes(), ["tell (The answer of the tool slots: noon)"]);
}

#[test]
fn an_idle_connection_is_kept_alive() {
    let mut rig = Rig::live(TurnsBy::Local);
    rig.pass(ms(5_000));
    assert_eq!(rig.wishes(), ["alive"]);
    rig.session.push(rig.now, &[0; 160]);
    rig.pass(ms(4_999));
    assert_eq!(rig.wishes(), ["audio 160"]);
}

#[test]
fn a_connection_that_is_not_set_up_in_time_is_given_up() {
    let mut rig = Rig::new(TurnsBy::Local);
    rig.wishes();
    rig.session.connected(rig.now, Ok(()));
    rig.pass(ms(1_000));
    assert_eq!(rig.events(), ["failed puppet: no connection within 1000 ms"]);
}

#[test]
fn what_was_told_before_the_connection_is_not_told_twice() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.break_off();
    let error = ProviderError::Transient { provider: "puppet".into(), reason: "refused".into() };
    rig.session.connected(rig.now, Err(error));
    rig.session.tell(rig.now, "four two");
    rig.pass(ms(100));
    rig.connect();
    assert_eq!(rig.last_start(), "caller four two due=true handle=None");
    assert_eq!(rig.wishes(), Vec::<String>::new());
}

#[test]
fn the_caller_s_words_stand_before_the_answer_to_them_and_in_their_order() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.hear("stopped");
    rig.hear("turn 1");
    for message in ["audio 1", "said 1 At noon.", "end 1", "stopped", "turn 2", "heard 2 Thanks"] {
        rig.hear(message);
    }
    assert_eq!(rig.events(), ["ready", "stopped", "audio 1 800", "end 1", "stopped"], "audio does not wait");
    rig.hear("heard 1 When?");
    assert_eq!(rig.events(), ["caller When?", "said 1 At noon.", "caller Thanks"]);
    rig.break_off();
    assert_eq!(rig.last_start(), "caller When?; agent At noon.; caller Thanks due=true handle=None");
}

#[test]
fn words_that_do_not_come_hold_an_answer_back_only_so_long() {
    for is_failed in [false, true] {
        let mut rig = Rig::live(TurnsBy::Vendor);
        for message in ["stopped", "turn 1", "audio 1", "said 1 Pardon?", "end 1"] {
            rig.hear(message);
        }
        rig.events();
        if is_failed {
            rig.hear("heard 1");
        } else {
            rig.pass(super::super::transcript::PATIENCE - ms(1));
            assert_eq!(rig.events(), Vec::<String>::new());
            rig.pass(ms(1));
        }
        assert_eq!(rig.events(), ["said 1 Pardon?"]);
        if !is_failed {
            rig.hear("heard 1 What");
            assert_eq!(rig.events(), ["caller What"], "better late");
        }
    }
}

#[test]
fn words_that_are_known_are_told_before_a_connection_is_left() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    for message in ["turn 1", "turn 2", "heard 2 two"] {
        rig.hear(message);
    }
    rig.events();
    rig.break_off();
    assert_eq!(rig.events(), ["caller two"]);
    rig.connect();
    for message in ["turn 1", "audio 1", "said 1 yes", "end 1", "heard 1 three"] {
        rig.hear(message);
    }
    assert_eq!(rig.events(), ["fell over", "audio 1 800", "end 1", "caller three", "said 1 yes"], "it counts anew");
}

#[test]
fn a_connection_that_gives_no_sign_of_life_is_replaced_and_hears_the_caller_again() {
    let mut rig = Rig::live(TurnsBy::Vendor);
    rig.session.push(rig.now, &[0; 320]);
    rig.session.probe(rig.now);
    assert_eq!(rig.wishes(), ["audio 160", "audio 160", "ping"]);
    rig.pass(ms(999));
    assert_eq!(rig.wishes(), Vec::<String>::new());
    rig.pass(ms(1));
    rig.connect();
    assert_eq!(rig.wishes(), ["audio 160", "audio 160"]);
    assert_eq!(rig.events(), ["ready", "fell over"]);
}

#[test]
fn any_word_of_the_vendor_is_a_sign_of_life_and_the_answer_to_a_ping_is_one() {
    for is_message in [false, true] {
        let mut rig = Rig::live(TurnsBy::Vendor);
        rig.events();
        rig.session.alive();
        assert_eq!(rig.events(), Vec::<String>::new(), "nobody asked");
        rig.session.probe(rig.now);
        if is_message {
            rig.hear("started");
        } else {
            rig.session.alive();
        }
        assert_eq!(rig.events()[0], "Alive");
        rig.pass(ms(4_000));
        assert!(!rig.wishes().contains(&"connect".to_owned()));
    }
}
