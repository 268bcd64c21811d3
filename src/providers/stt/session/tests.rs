//! A session at a vendor of the plainest kind, in virtual time.

use super::*;
use crate::base::{Pii, SampleRate};
use crate::providers::SttCapabilities;
use crate::providers::stt::owed::{Answer, Owed};
use crate::providers::stt::pace::Pace;

/// Says `finish`, `idle`, `bye`; hears `i TEXT`, `f TEXT`, `s FROM TO TEXT` (ms), `done`, `lang`, `old`, `ready`, `fail`.
#[derive(Clone)]
struct Plain {
    answers: Answers,
    awaits_ready: bool,
    pace: Pace,
    /// It answers each request for certain, one after the other.
    orders: bool,
}

impl SttVendor for Plain {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW],
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: true,
            languages: &[],
        }
    }
    fn packet_ms(&self) -> u32 {
        100
    }
    fn pace(&self) -> Pace {
        self.pace
    }
    fn answers(&self) -> Answers {
        self.answers
    }
    fn connect(&self, _: &SttRequest, _: AudioFormat) -> Box<dyn SttProtocol> {
        Box::new(Speaking { awaits_ready: self.awaits_ready, leaving: false, owed: self.orders.then(Owed::default) })
    }
}

struct Speaking {
    awaits_ready: bool,
    leaving: bool,
    owed: Option<Owed>,
}

impl SttProtocol for Speaking {
    fn handshake(&self) -> Handshake {
        Handshake { url: "wss://plain.example".into(), headers: Vec::new() }
    }
    fn opened(&mut self, out: &mut Outbox) {
        out.text("hello");
    }
    fn awaits_ready(&self) -> bool {
        self.awaits_ready
    }
    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        out.binary(octets.to_vec());
        0
    }
    fn finish(&mut self, out: &mut Outbox) -> usize {
        out.text("finish");
        self.owed.iter_mut().for_each(Owed::ask);
        0
    }
    fn give_up(&mut self) {
        self.owed.iter_mut().for_each(|owed| owed.give_up(true));
    }
    fn forget(&mut self) {
        self.owed.iter_mut().for_each(Owed::forget);
    }
    fn received(&mut self, frame: Frame, _: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let Frame::Text(text) = frame else { return Ok(()) };
        let (kind, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let words = Pii::new(rest.to_owned());
        heard.extend(self.owed.and_then(|owed| owed.overdue()).filter(|_| kind != "done").map(Heard::Overdue));
        match kind {
            "ready" => heard.push(Heard::Ready),
            "i" => heard.push(Heard::Interim { text: words, span: None }),
            "f" => heard.push(Heard::Final { text: words, confidence: Some(0.8), span: None }),
            "s" => {
                let mut parts = rest.splitn(3, ' ');
                let mut ms = || parts.next().and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
                let span = ms().zip(ms());
                let text = Pii::new(parts.next().unwrap_or_default().to_owned());
                heard.push(Heard::Final { text, confidence: None, span });
            }
            "done" => match self.owed.as_mut().map(Owed::answered) {
                None | Some(Answer::InTime) => heard.push(Heard::Flushed),
                Some(Answer::Overdue(_) | Answer::Unasked) => {}
            },
            "lang" => heard.push(Heard::Language { tag: rest.to_owned(), confidence: None }),
            "old" => heard.push(Heard::Expiring),
            "eot" => heard.push(Heard::EndOfTurn { eager: rest == "eager" }),
            "fail" => return Err(ProviderError::Quota { provider: "plain".into(), reason: "no money".into() }),
            _ => {}
        }
        Ok(())
    }
    fn idle_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(4))
    }
    fn idle(&mut self, out: &mut Outbox) -> usize {
        out.text("idle");
        0
    }
    fn goodbye(&mut self, out: &mut Outbox) {
        self.leaving = true;
        out.text("bye");
    }
    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        let good = self.leaving && closed.code == Some(1000);
        (!good).then(|| ProviderError::Transient { provider: "plain".into(), reason: closed.reason.clone() })
    }
}

/// A session, its clock, and what it did.
struct Call {
    session: Session,
    now: Instant,
    counts: Conversions,
    events: Vec<String>,
    sent: Vec<String>,
    /// Octets of audio on the present connection.
    audio: Vec<u8>,
    opens: usize,
    stopped: bool,
    last: Duration,
    next_octet: i16,
}

const MS: Duration = Duration::from_millis(1);

impl Call {
    fn new(vendor: Plain) -> Self {
        let terms = Terms {
            name: "plain".into(),
            connect_timeout: 1_000 * MS,
            stall_timeout: 1_400 * MS,
            flush_timeout: 700 * MS,
        };
        let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(SampleRate(8_000), 300 * MS) };
        let now = Instant::now();
        let session = Session::new(terms, Arc::new(vendor), request, now).expect("a session");
        let mut call = Self {
            session,
            now,
            counts: Conversions::default(),
            events: Vec::new(),
            sent: Vec::new(),
            audio: Vec::new(),
            opens: 0,
            stopped: false,
            last: Duration::ZERO,
            next_octet: 0,
        };
        call.drain();
        call
    }

    fn plain() -> Self {
        let mut call =
            Self::new(Plain { answers: Answers::Finish, awaits_ready: false, pace: Pace::default(), orders: false });
        call.open();
        call
    }

    fn open(&mut self) {
        self.audio.clear();
        self.sent.clear();
        self.session.opened(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open(_) => self.opens += 1,
                Output::Send(Frame::Text(text)) => self.sent.push(text),
                Output::Send(Frame::Binary(octets)) => self.audio.extend_from_slice(&octets),
                Output::Close(code) => self.sent.push(format!("close {code}")),
                Output::Leave => self.sent.push("leave".into()),
                Output::Moved(_) => {}
                Output::Stop => self.stopped = true,
                Output::Event(event) => self.events.push(match event {
                    SttEvent::Partial { segment, text } => format!("{} {}…", segment.0, text.expose()),
                    SttEvent::Final { segment, text, took, .. } => {
                        self.last = took;
                        format!("{} {}.", segment.0, text.expose())
                    }
                    SttEvent::Failed { segment, error } => format!("{} failed: {}", segment.0, error.kind()),
                    SttEvent::EndOfTurn { segment, eager } => format!("{} end of turn {eager}", segment.0),
                    SttEvent::Language { tag, .. } => format!("language {tag}"),
                    SttEvent::Unheard { segment } => format!("{} unheard", segment.0),
                    other => format!("{other:?}"),
                }),
            }
        }
    }

    /// Lets time pass with the caller's line on.
    fn speak(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 20 {
            self.next_octet += 1;
            let sample = self.next_octet;
            self.session.push(&[sample * 8; 160], self.now, &self.counts);
            self.drain();
            self.wait(20);
        }
    }

    /// Lets time pass with no audio at all.
    fn wait(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        let mut wakes = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.session.timeout(self.now);
            self.drain();
            wakes += 1;
            assert!(wakes < 1_000, "it never sleeps");
        }
        self.now = until;
    }

    fn start(&mut self, segment: u32) {
        self.session.start(SegmentId(segment), self.now);
        self.drain();
    }

    fn finish(&mut self, segment: u32) {
        self.session.finish(SegmentId(segment), self.now);
        self.drain();
    }

    fn hear(&mut self, message: &str) {
        self.session.received(Frame::Text(message.into()), self.now);
        self.drain();
    }

    fn lose(&mut self) {
        self.session.closed(&Closed { code: None, reason: "reset".into() }, self.now);
        self.drain();
    }
}

#[test]
fn a_segment_is_sent_from_its_pre_roll_on_and_answered_when_the_vendor_has_told_all() {
    let mut call = Call::plain();
    call.speak(1_000);
    assert!(call.audio.is_empty(), "nobody speaks");
    call.start(1);
    assert_eq!(call.audio.len(), 300 * 8);
    call.speak(510);
    assert_eq!(call.audio.len(), 800 * 8, "whole packets");
    call.hear("i a tab");
    call.hear("i a table");
    call.finish(1);
    assert_eq!(call.audio.len(), 800 * 8);
    assert_eq!(call.sent, ["hello", "finish"]);
    call.speak(200);
    call.hear("f a table for two");
    call.hear("done");
    assert_eq!(call.events, ["1 a tab…", "1 a table…", "1 a table for two…", "1 a table for two."]);
    assert_eq!(call.last, 200 * MS);
    assert_eq!(call.audio.len(), 800 * 8, "nothing after the end");
}

#[test]
fn a_vendor_that_forgets_to_tell_all_is_waited_for_only_so_long() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(400);
    call.hear("i yes");
    call.finish(1);
    call.wait(690);
    assert_eq!(call.events, ["1 yes…"]);
    call.wait(20);
    assert_eq!(call.events, ["1 yes…", "1 yes."]);
    assert_eq!(call.last, 700 * MS);
    call.hear("done");
    call.start(2);
    call.speak(200);
    call.finish(2);
    call.hear("f no");
    call.hear("done");
    assert_eq!(call.events[2..], ["2 no…", "2 no."], "the late answer counts for nothing");
}

#[test]
fn a_resumed_segment_is_answered_as_a_whole_and_overtaken_words_come_as_a_partial() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(400);
    call.finish(1);
    call.start(1);
    call.hear("f my number is");
    call.hear("done");
    assert_eq!(call.events, ["1 my number is…"], "the start has overtaken the finish");
    call.speak(400);
    call.finish(1);
    call.hear("f seven");
    call.hear("done");
    assert_eq!(call.events[1..], ["1 my number is seven…", "1 my number is seven."]);
}

#[test]
fn each_finish_has_its_answer() {
    let mut call = Call::plain();
    call.finish(7);
    assert_eq!(call.events, ["7 ."], "of nothing");
    call.start(8);
    call.speak(200);
    call.finish(8);
    call.finish(8);
    call.hear("f yes");
    call.hear("done");
    assert_eq!(call.events[1..], ["8 yes…", "8 yes.", "8 yes."]);
    call.finish(8);
    assert_eq!(call.events[4..], ["8 yes."], "nothing has been said since");
}

#[test]
fn late_words_without_times_never_enter_the_next_segment() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(600);
    call.finish(1);
    call.start(2);
    call.hear("f old words");
    call.hear("i older");
    assert_eq!(call.events, [] as [&str; 0]);
    call.hear("done");
    call.speak(300);
    call.hear("i new");
    assert_eq!(call.events, ["2 new…"]);
}

/// A call at a vendor that answers each request for certain.
fn ordered() -> Call {
    let mut call =
        Call::new(Plain { answers: Answers::Finish, awaits_ready: false, pace: Pace::default(), orders: true });
    call.open();
    call
}

#[test]
fn words_that_come_after_their_request_was_given_up_are_not_the_next_segment_s() {
    let mut call = ordered();
    call.start(1);
    call.speak(600);
    call.hear("i old");
    call.finish(1);
    call.wait(900);
    assert_eq!(call.events, ["1 old…", "1 old."], "it was waited for only so long");
    call.start(2);
    call.speak(200);
    for late in ["i old words", "f old words", "done"] {
        call.hear(late);
    }
    assert_eq!(call.events.len(), 2);
    second_segment_is_heard(&mut call);
}

/// After two events, those of the first.
fn second_segment_is_heard(call: &mut Call) {
    call.hear("i new");
    call.finish(2);
    call.hear("f new words");
    call.hear("done");
    assert_eq!(call.events[2..], ["2 new…", "2 new words…", "2 new words."]);
}

#[test]
fn words_that_come_after_their_request_was_given_up_are_still_their_segment_s_when_it_goes_on() {
    let mut call = ordered();
    call.start(1);
    call.speak(600);
    call.finish(1);
    call.wait(900);
    call.start(1);
    call.speak(100);
    call.hear("f my number is");
    call.hear("done");
    call.finish(1);
    call.hear("f seven");
    call.hear("done");
    assert_eq!(call.events.last().map(String::as_str), Some("1 my number is seven."));
}

#[test]
fn a_vendor_that_leaves_an_answer_out_after_all_is_heard_again() {
    let mut call = ordered();
    call.start(1);
    call.speak(600);
    call.hear("i old");
    call.finish(1);
    call.wait(3_800);
    call.start(2);
    call.speak(400);
    second_segment_is_heard(&mut call);
}

#[test]
fn audio_that_is_not_needed_any_more_takes_no_memory() {
    let mut call = Call::plain();
    call.speak(20_000);
    let held = |call: &Call| call.session.ring.end() - call.session.ring.begin();
    assert_eq!(held(&call), 300 * 8, "the pre-roll");
    call.start(1);
    call.speak(3_000);
    assert_eq!(held(&call), 3_300 * 8, "what a fresh connection would have to hear");
    call.finish(1);
    call.hear("f all of it");
    call.hear("done");
    call.speak(5_000);
    assert_eq!(held(&call), 300 * 8);
    call.start(1);
    call.speak(400);
    call.lose();
    assert_eq!(call.opens, 2);
    call.open();
    assert!(!call.audio.is_empty());
}

#[test]
fn a_task_has_to_wake_for_a_packet_while_the_caller_speaks_and_seldom_otherwise() {
    let mut call = Call::plain();
    call.speak(1_000);
    assert_eq!(call.session.appetite(), 500 * MS);
    call.start(1);
    assert_eq!(call.session.appetite(), 100 * MS);
    call.speak(60);
    assert_eq!(call.session.appetite(), 40 * MS);
    call.finish(1);
    assert_eq!(call.session.appetite(), 500 * MS);
}

#[test]
fn a_request_that_is_never_answered_does_not_deafen_the_next_segment() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(300);
    call.session.discard(call.now);
    call.drain();
    call.start(2);
    call.speak(600);
    call.hear("i old");
    assert_eq!(call.events, [] as [&str; 0]);
    call.speak(120);
    call.hear("i new");
    assert_eq!(call.events, ["2 new…"]);
}

#[test]
fn words_of_a_turn_that_the_vendor_has_ended_are_not_asked_for_again() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(600);
    call.hear("f table for two");
    call.hear("eot");
    call.speak(200);
    call.finish(1);
    assert_eq!(call.events.last().map(String::as_str), Some("1 table for two."), "at once");
    assert_eq!(call.sent, ["hello"]);
    call.start(1);
    call.speak(200);
    call.hear("i please");
    call.finish(1);
    assert_eq!(call.sent, ["hello", "finish"]);
    call.hear("f please");
    call.hear("done");
    assert_eq!(call.events.last().map(String::as_str), Some("1 table for two please."));
}

#[test]
fn a_segment_that_is_cut_off_is_told_to_the_vendor_as_ended() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(600);
    call.session.discard(call.now);
    call.drain();
    assert_eq!(call.sent, ["hello", "finish"]);
    call.start(2);
    call.hear("f noise");
    call.hear("done");
    call.speak(200);
    call.hear("i new");
    assert_eq!(call.events, ["2 new…"]);
}

#[test]
fn late_words_with_times_are_told_from_early_ones() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(1_000);
    call.finish(1);
    call.start(2);
    call.speak(600);
    call.hear("s 1050 1300 new");
    call.hear("s 100 900 old");
    assert_eq!(call.events, ["2 new…"]);
}

#[test]
fn a_broken_connection_is_replaced_and_the_segment_told_again() {
    let mut call = Call::plain();
    call.speak(400);
    call.start(1);
    call.speak(1_000);
    call.hear("f one");
    let before = call.audio.clone();
    call.lose();
    assert_eq!(call.opens, 2);
    call.speak(300);
    call.open();
    assert_eq!(call.audio.len(), 1_600 * 8, "pre-roll, what was sent and what has come since, at once");
    assert_eq!(call.audio[..before.len()], before[..]);
    call.hear("f one two");
    call.finish(1);
    call.hear("done");
    assert_eq!(call.events.last().map(String::as_str), Some("1 one two."), "nothing twice");
}

#[test]
fn what_stood_before_a_pause_is_not_told_again() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(500);
    call.finish(1);
    call.hear("f one");
    call.hear("done");
    call.start(1);
    call.speak(400);
    call.lose();
    call.open();
    assert_eq!(call.audio.len(), 400 * 8);
    call.finish(1);
    call.hear("f two");
    call.hear("done");
    assert_eq!(call.events.last().map(String::as_str), Some("1 one two."));
}

#[test]
fn of_a_segment_longer_than_the_ring_the_end_is_told_again() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(20_000);
    call.lose();
    call.open();
    call.wait(3_000);
    assert_eq!(call.audio.len(), 15_000 * 8);
}

#[test]
fn what_has_piled_up_goes_no_faster_than_the_vendor_takes_it() {
    let pace = Pace { speed: 2.0, burst: 1_000 * MS };
    let mut call = Call::new(Plain { answers: Answers::Words, awaits_ready: false, pace, orders: false });
    call.start(1);
    call.speak(900);
    call.finish(1);
    call.open();
    assert_eq!(call.audio.len(), 900 * 8, "the burst");
    call.hear("done");
    call.start(2);
    call.speak(900);
    call.lose();
    call.speak(1_100);
    call.open();
    assert_eq!(call.audio.len(), 1_000 * 8);
    call.finish(2);
    assert!(!call.sent.contains(&"finish".to_owned()), "not before all has been told");
    call.wait(600);
    assert!(call.audio.len() >= 2_000 * 8 && call.sent.contains(&"finish".to_owned()), "{}", call.audio.len());
}

#[test]
fn a_vendor_that_breaks_again_and_again_is_given_up() {
    let mut call = Call::plain();
    call.start(4);
    for _ in 0..2 {
        call.lose();
        call.wait(200);
        call.open();
    }
    assert_eq!((call.opens, call.stopped), (3, false));
    call.lose();
    assert_eq!(call.events, ["4 failed: transient"]);
    assert!(call.stopped);
    assert_eq!(call.session.poll_timeout(), None);
}

#[test]
fn a_vendor_all_of_whose_connections_break_after_five_seconds_has_failed_within_fifteen() {
    let mut call = Call::plain();
    call.start(4);
    for _ in 0..2 {
        call.wait(5_000);
        call.lose();
        call.wait(200);
        call.open();
        assert!(!call.stopped);
    }
    call.wait(5_000);
    call.lose();
    assert!(call.stopped);
    assert_eq!(call.events.last().map(String::as_str), Some("4 failed: transient"));
}

#[test]
fn what_another_try_does_not_mend_is_told_at_once() {
    let mut call = Call::plain();
    call.start(2);
    call.hear("fail");
    assert_eq!((call.events.as_slice(), call.opens), (["2 failed: quota".to_owned()].as_slice(), 1));
    assert!(call.stopped);
}

#[test]
fn a_finish_without_any_connection_fails_in_time() {
    let mut call =
        Call::new(Plain { answers: Answers::Words, awaits_ready: false, pace: Pace::default(), orders: false });
    call.start(1);
    call.speak(500);
    call.finish(1);
    call.wait(990);
    assert_eq!(call.events, [] as [&str; 0]);
    call.wait(20);
    assert_eq!(call.events, ["1 failed: timeout"]);
}

#[test]
fn a_vendor_that_says_nothing_to_what_it_must_answer_has_failed() {
    let mut call = Call::plain();
    call.start(1);
    call.speak(1_200);
    call.finish(1);
    call.wait(800);
    assert_eq!(call.events, ["1 failed: timeout"]);
}

#[test]
fn a_vendor_that_answers_words_only_may_pass_over_noise_once() {
    let mut call =
        Call::new(Plain { answers: Answers::Words, awaits_ready: false, pace: Pace::default(), orders: false });
    call.open();
    for segment in [1, 2] {
        call.start(segment);
        call.speak(1_200);
        call.finish(segment);
        call.wait(800);
    }
    assert_eq!(call.events, ["1 unheard", "1 .", "2 failed: timeout"]);
}

#[test]
fn an_answer_that_the_vendor_gave_is_told_from_one_that_it_owes() {
    for answers in [Answers::Finish, Answers::Words] {
        let mut call = Call::new(Plain { answers, awaits_ready: false, pace: Pace::default(), orders: false });
        call.open();
        call.start(1);
        call.speak(300);
        call.finish(1);
        call.wait(700);
        assert_eq!(call.events, ["1 unheard", "1 ."], "a short word that nobody has answered");
        call.start(2);
        call.speak(300);
        call.finish(2);
        call.hear("f ");
        call.hear("done");
        assert_eq!(call.events[2..], ["2 ."], "an empty answer is an answer");
    }
}

#[test]
fn a_vendor_that_answers_all_audio_is_given_up_while_the_caller_still_speaks() {
    let mut call =
        Call::new(Plain { answers: Answers::Audio, awaits_ready: false, pace: Pace::default(), orders: false });
    call.open();
    call.start(1);
    call.speak(1_000);
    call.hear("i one");
    call.speak(1_380);
    assert_eq!(call.events, ["1 one…"]);
    call.speak(40);
    assert_eq!(call.events[1..], ["1 failed: timeout"]);
}

#[test]
fn audio_waits_for_a_vendor_that_is_not_ready_yet_and_not_for_ever() {
    let vendor = Plain { answers: Answers::Words, awaits_ready: true, pace: Pace::default(), orders: false };
    let mut call = Call::new(vendor.clone());
    call.open();
    call.start(1);
    call.speak(400);
    assert!(call.audio.is_empty());
    call.hear("ready");
    assert_eq!(call.audio.len(), 400 * 8);
    let mut call = Call::new(vendor);
    call.open();
    call.wait(1_010);
    assert_eq!(call.events, ["0 failed: timeout"]);
}

#[test]
fn an_idle_connection_is_kept_and_an_old_one_changed_at_a_pause() {
    let mut call = Call::plain();
    call.wait(9_000);
    assert_eq!(call.sent, ["hello", "idle", "idle"]);
    call.start(1);
    call.speak(400);
    call.hear("old");
    assert_eq!(call.opens, 1, "not while the caller speaks");
    call.speak(200);
    call.finish(1);
    call.hear("f yes");
    call.hear("done");
    assert_eq!(call.events.last().map(String::as_str), Some("1 yes."));
    assert_eq!((call.opens, call.sent.ends_with(&["finish".into(), "bye".into(), "leave".into()])), (2, true));
    call.open();
    assert!(call.audio.is_empty(), "what has been answered is not told again");
}

#[test]
fn hints_belong_to_who_is_speaking_and_the_language_comes_before_the_words() {
    let mut call = Call::plain();
    call.hear("eot");
    call.start(1);
    call.speak(200);
    call.hear("eot eager");
    call.finish(1);
    call.hear("eot");
    call.hear("lang de");
    call.hear("f Guten Tag");
    call.hear("done");
    assert_eq!(call.events, ["1 end of turn true", "language de", "1 Guten Tag…", "1 Guten Tag."]);
}

#[test]
fn the_end_of_the_call_is_the_vendor_s_own_goodbye() {
    let mut call = Call::plain();
    call.start(1);
    call.session.end();
    call.drain();
    assert_eq!(call.sent, ["hello", "bye"]);
}
