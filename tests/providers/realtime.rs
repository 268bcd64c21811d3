//! The vendors of speech-to-speech, each against its fake over TLS: a conversation, a tool, an interruption, a connection
//! that breaks in the middle of the call, every class of error.

use crate::fakes::realtime_deepgram::DeepgramAgent;
use crate::fakes::realtime_elevenlabs::ElevenLabsAgents;
use crate::fakes::realtime_gemini::GeminiLive;
use crate::fakes::realtime_openai::OpenAiRealtime;
use crate::fakes::realtime_script::Log;
use crate::fakes::realtime_ultravox::Ultravox;
use crate::fakes::voice::{self, Voice};
use crate::fakes::{FakeServer, Misbehaviour};
use offhook::base::chat::{Message, ToolSpec};
use offhook::base::{Pii, SampleRate};
use offhook::providers::catalogue::{REALTIME, offer};
use offhook::providers::format::AudioFormat;
use offhook::providers::realtime::{AnswerId, RealtimeEvent, RealtimeRequest, RealtimeStream, TurnsBy};
use offhook::providers::{Network, ProviderError, Settings, SpeechToSpeech};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Far more than anything on the loopback takes; reached only by a failure.
const LIMIT: Duration = Duration::from_secs(20);
/// The deadlines of tests in which the vendor is to miss them.
const SHORT: Duration = Duration::from_millis(300);
/// Long enough for something that must not come to come.
const QUIET: Duration = Duration::from_millis(300);
const KEY: &str = "the-secret-key";
const RATE: u32 = 8_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    OpenAi,
    Deepgram,
    ElevenLabs,
    Gemini,
    Ultravox,
}

const ALL: [Which; 5] = [Which::OpenAi, Which::Deepgram, Which::ElevenLabs, Which::Gemini, Which::Ultravox];

impl Which {
    fn vendor(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Deepgram => "deepgram",
            Self::ElevenLabs => "elevenlabs",
            Self::Gemini => "gemini",
            Self::Ultravox => "ultravox",
        }
    }

    fn serve(self, log: &Log) -> FakeServer {
        let log = log.clone();
        match self {
            Self::OpenAi => FakeServer::start(OpenAiRealtime { key: KEY, log }),
            Self::Deepgram => FakeServer::start(DeepgramAgent { key: KEY, log }),
            Self::ElevenLabs => FakeServer::start(ElevenLabsAgents { key: KEY, log }),
            Self::Gemini => FakeServer::start(GeminiLive { key: KEY, log }),
            Self::Ultravox => FakeServer::start(Ultravox { key: KEY, log }),
        }
    }
}

/// A vendor, its fake and a session.
struct Rig {
    server: FakeServer,
    log: Log,
    vendor: Arc<dyn SpeechToSpeech>,
}

struct Call {
    stream: Box<dyn RealtimeStream>,
    events: mpsc::Receiver<RealtimeEvent>,
}

/// An answer as it was heard.
#[derive(Default, Debug)]
struct Heard {
    answer: AnswerId,
    samples: Vec<i16>,
    words: String,
    caller: Vec<String>,
}

impl Rig {
    fn new(which: Which) -> Self {
        Self::with(which, |_| ())
    }

    fn with(which: Which, change: impl FnOnce(&mut Settings)) -> Self {
        let log = Log::default();
        let server = which.serve(&log);
        let offer = offer(REALTIME, which.vendor()).unwrap();
        let path = match which {
            Which::OpenAi | Which::Deepgram => "/v1",
            Which::Ultravox => "/api",
            Which::ElevenLabs | Which::Gemini => "",
        };
        let mut settings = Settings {
            name: which.vendor().into(),
            key: Some(Pii::new(KEY.into())),
            url: server.http_url(path),
            model: if which == Which::ElevenLabs { "agent_1".into() } else { offer.model.into() },
            voice: offer.voice.into(),
            language: "en-GB".into(),
            options: Default::default(),
            concurrency: 2,
            connect_timeout: LIMIT,
            first_timeout: LIMIT,
            stall_timeout: LIMIT,
        };
        change(&mut settings);
        let network = Network::new(server.ca_pem().as_bytes()).unwrap();
        let vendor = (offer.build)(&settings, &network).unwrap();
        Self { server, log, vendor }
    }

    fn request(turns: TurnsBy) -> RealtimeRequest {
        RealtimeRequest {
            tools: vec![ToolSpec {
                name: "weather".into(),
                description: "Tells the weather.".into(),
                parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
            }],
            messages: Pii::new(vec![Message::Caller(Pii::new("an earlier question".into()))]),
            ..RealtimeRequest::new(SampleRate(RATE), AudioFormat::MULAW, turns, "Be kind.")
        }
    }

    fn open(&self, request: RealtimeRequest) -> Call {
        let (stream, events) = self.vendor.open(request).unwrap();
        Call { stream, events }
    }

    /// A session that is set up.
    async fn ready(&self, turns: TurnsBy) -> Call {
        let mut call = self.open(Self::request(turns));
        assert!(matches!(call.next().await, RealtimeEvent::Ready));
        call
    }

    fn assert_no_complaints(&self) {
        assert_eq!(self.server.complaints(), Vec::<String>::new());
    }
}

impl Call {
    async fn next(&mut self) -> RealtimeEvent {
        timeout(LIMIT, self.events.recv()).await.expect("an event within the limit").expect("a session")
    }

    async fn push(&mut self, samples: &[i16]) {
        for frame in samples.chunks(160) {
            self.stream.push(frame);
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Speaks, and is silent for long enough.
    async fn say(&mut self, words: &str) {
        let silence = voice::silence(Duration::from_millis(100), RATE);
        self.push(&silence).await;
        self.push(&Voice::default().speak(words, RATE)).await;
        self.push(&voice::silence(Duration::from_millis(400), RATE)).await;
    }

    /// What is said until the end of an answer, or until a tool is called.
    async fn answer(&mut self) -> Result<Heard, offhook::base::chat::ToolCall> {
        let mut heard = Heard::default();
        loop {
            match self.next().await {
                RealtimeEvent::Audio { answer, samples } => {
                    heard.answer = answer;
                    heard.samples.extend(samples);
                }
                RealtimeEvent::AgentSaid { text, .. } => heard.words.push_str(text.expose()),
                RealtimeEvent::CallerSaid(text) => heard.caller.push(text.into_exposed()),
                RealtimeEvent::AudioEnded { .. } => return Ok(heard),
                RealtimeEvent::Call(call) => return Err(call),
                RealtimeEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    async fn failure(&mut self) -> ProviderError {
        loop {
            if let RealtimeEvent::Failed(error) = self.next().await {
                return error;
            }
        }
    }

    /// Whether audio of this answer comes in a while. What is here already came before.
    async fn hears_more_of(&mut self, answer: AnswerId) -> bool {
        while self.events.try_recv().is_ok() {}
        let more = async {
            loop {
                match self.events.recv().await {
                    Some(RealtimeEvent::Audio { answer: of, .. }) if of == answer => return,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        timeout(QUIET, more).await.is_ok()
    }
}

async fn converse(rig: &Rig, turns: TurnsBy) {
    let mut call = rig.ready(turns).await;
    call.say("hello there").await;
    if turns == TurnsBy::Local {
        call.stream.commit();
    }
    let mut heard = call.answer().await.expect("an answer");
    assert!(voice::says(&heard.samples, RATE, "you said hello there"), "{:?}", heard.words);
    if heard.caller.is_empty() {
        // The caller's words may come after the answer to them.
        heard.caller.push(match call.next().await {
            RealtimeEvent::CallerSaid(text) => text.into_exposed(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(heard.caller, ["hello there"]);
    if !heard.words.is_empty() {
        assert_eq!(heard.words, "you said hello there");
    }
    rig.assert_no_complaints();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_answered_by_each_vendor_s_turn_taking() {
    for which in ALL {
        converse(&Rig::new(which), TurnsBy::Vendor).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_answered_when_our_turn_taking_says_so() {
    for which in [Which::OpenAi, Which::Gemini] {
        converse(&Rig::new(which), TurnsBy::Local).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_opening_is_said_and_counted() {
    for which in ALL {
        let rig = Rig::new(which);
        let mut call =
            rig.open(RealtimeRequest { opening: Some("good morning".into()), ..Rig::request(TurnsBy::Vendor) });
        let heard = call.answer().await.expect("an answer");
        assert!(voice::says(&heard.samples, RATE, "good morning"), "{which:?}");
        let reading = rig.vendor.meter().unwrap().read();
        assert_eq!((reading.requests, reading.first_p50 > Duration::ZERO), (1, true), "{which:?}");
        assert!(reading.audio >= Duration::from_millis(150), "{which:?}: {:?}", reading.audio);
        let is_passed = rig.vendor.meter().unwrap().conversions.resampled() == 0;
        assert_eq!(is_passed, which != Which::Gemini, "µ-law goes through untouched where the vendor takes it");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_is_called_and_its_answer_spoken() {
    for which in ALL {
        let rig = Rig::new(which);
        let mut call = rig.ready(TurnsBy::Vendor).await;
        call.say("weather please").await;
        let wanted = call.answer().await.expect_err("a call");
        assert_eq!(wanted.name, "weather", "{which:?}");
        assert_eq!(wanted.arguments.expose()["city"], "Basel", "{which:?}");
        call.stream.tool_result(&wanted.id, &wanted.name, r#"{"sky":"blue"}"#, false);
        let heard = call.answer().await.expect("an answer");
        assert!(voice::says(&heard.samples, RATE, "it is sunny today"), "{which:?}");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sound_of_an_interrupted_answer_is_heard() {
    for which in ALL {
        let rig = Rig::new(which);
        rig.server.misbehave(Misbehaviour::LateAudioAfterCancel);
        let turns = if matches!(which, Which::OpenAi | Which::Gemini) { TurnsBy::Local } else { TurnsBy::Vendor };
        let mut call = rig.ready(turns).await;
        call.say("count please").await;
        if turns == TurnsBy::Local {
            call.stream.commit();
        }
        let answer = loop {
            if let RealtimeEvent::Audio { answer, .. } = call.next().await {
                break answer;
            }
        };
        sleep(Duration::from_millis(60)).await;
        while call.events.try_recv().is_ok() {}
        call.stream.interrupt(answer, Duration::from_millis(100));
        assert!(!call.hears_more_of(answer).await, "{which:?}");
        call.say("hello there").await;
        if turns == TurnsBy::Local {
            call.stream.commit();
        }
        let heard = call.answer().await.expect("an answer");
        assert!(heard.answer > answer, "{which:?}");
        assert!(voice::says(&heard.samples, RATE, "you said hello there"), "{which:?}");
        if which == Which::OpenAi {
            let cut = rig.log.all().into_iter().find(|event| event["type"] == "conversation.item.truncate");
            assert_eq!(cut.map(|cut| cut["audio_end_ms"].clone()), Some(json!(100)));
        }
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendor_s_own_ear_interrupts() {
    for which in ALL {
        let rig = Rig::new(which);
        rig.server.misbehave(Misbehaviour::LateAudioAfterCancel);
        let mut call = rig.ready(TurnsBy::Vendor).await;
        call.say("count please").await;
        let answer = loop {
            if let RealtimeEvent::Audio { answer, .. } = call.next().await {
                break answer;
            }
        };
        call.push(&Voice::default().speak("wait", RATE)).await;
        while !matches!(call.next().await, RealtimeEvent::SpeechStarted) {}
        assert!(!call.hears_more_of(answer).await, "{which:?}");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_replaced_and_told_what_was_said() {
    for which in ALL {
        let rig = Rig::new(which);
        let mut call = rig.ready(TurnsBy::Vendor).await;
        call.say("hello there").await;
        call.answer().await.expect("an answer");
        // The words of both sides may lag behind.
        while timeout(QUIET, call.events.recv()).await.is_ok() {}
        rig.server.cut_connections();
        while !matches!(call.next().await, RealtimeEvent::FellOver { .. }) {}
        call.say("thanks").await;
        let heard = call.answer().await.expect("an answer");
        assert!(voice::says(&heard.samples, RATE, "you said thanks"), "{which:?}");
        assert!(heard.answer > AnswerId(1), "numbers only grow");
        let told = rig.log.all().iter().map(Value::to_string).collect::<Vec<_>>();
        let again =
            told.iter().filter(|message| message.contains("you said hello there") || message.contains("handle_1"));
        assert_eq!(again.count(), 1, "{which:?}: {told:?}");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_caller_types_is_answered() {
    for which in ALL {
        let rig = Rig::new(which);
        let mut call = rig.ready(TurnsBy::Vendor).await;
        call.stream.tell("thanks");
        let heard = call.answer().await.expect("an answer");
        assert!(voice::says(&heard.samples, RATE, "you said thanks"), "{which:?}");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_whose_fault_it_is() {
    for which in ALL {
        for (code, kind) in [
            (400, "bad_request"),
            (401, "authentication"),
            (402, "quota"),
            (403, "authentication"),
            (429, "rate_limited"),
            (503, "transient"),
        ] {
            let rig = Rig::new(which);
            rig.server.misbehave(Misbehaviour::Status { code, retry_after: Some(7) });
            let error = rig.open(Rig::request(TurnsBy::Vendor)).failure().await;
            assert_eq!(error.kind(), kind, "{which:?} {code}: {error}");
            assert!(!error.to_string().contains(KEY));
            assert_eq!(rig.vendor.meter().unwrap().read().failures.get(kind), Some(&1), "{which:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_does_not_answer_is_given_up_in_time() {
    for which in ALL {
        for what in [Misbehaviour::StallInTls, Misbehaviour::StallAfterUpgrade, Misbehaviour::Silence] {
            let rig = Rig::with(which, |settings| settings.connect_timeout = SHORT);
            rig.server.misbehave(what);
            let error = rig.open(Rig::request(TurnsBy::Vendor)).failure().await;
            assert_eq!(error.kind(), "timeout", "{which:?} {what:?}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_is_given_up_in_time() {
    for which in ALL {
        let rig = Rig::with(which, |settings| settings.first_timeout = SHORT);
        let mut call = rig.ready(TurnsBy::Vendor).await;
        rig.server.misbehave(Misbehaviour::Silence);
        call.stream.tell("thanks");
        let error = call.failure().await;
        assert_eq!(error.to_string(), format!("{}: no first audio within 300 ms", which.vendor()));
        assert!(timeout(LIMIT, call.events.recv()).await.unwrap().is_none(), "nothing follows");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_of_life_comes_by_ping_and_where_none_comes_the_connection_is_replaced() {
    // The time for a sign of life goes with the time for an answer: 2 s.
    let rig = Rig::with(Which::OpenAi, |settings| settings.first_timeout = Settings::FIRST_TIMEOUT * 2);
    let mut call = rig.ready(TurnsBy::Vendor).await;
    rig.server.misbehave(Misbehaviour::Silence);
    call.stream.probe();
    assert!(matches!(call.next().await, RealtimeEvent::Alive));
    rig.server.behave();
    rig.server.misbehave_on(1, Misbehaviour::StallAfterUpgrade);
    call.stream.probe();
    loop {
        match call.next().await {
            // It came before the fake had stopped to read.
            RealtimeEvent::Alive => call.stream.probe(),
            RealtimeEvent::FellOver { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    call.say("hello").await;
    assert!(call.answer().await.is_ok(), "over the fresh connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vendor_invents_tomorrow_is_ignored() {
    for which in ALL {
        let rig = Rig::new(which);
        rig.server.misbehave(Misbehaviour::UnknownTypes);
        converse(&rig, TurnsBy::Vendor).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_session_leaves_nothing_behind() {
    for which in ALL {
        let rig = Rig::new(which);
        for _ in 0..3 {
            let call = rig.ready(TurnsBy::Vendor).await;
            drop(call);
            let is_gone = |server: &FakeServer| {
                // The pooled connection of HTTP stays.
                server.open_connections() <= u64::from(matches!(which, Which::ElevenLabs | Which::Ultravox))
            };
            assert!(rig.server.until(LIMIT, is_gone).await, "{which:?}");
        }
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sessions_than_the_key_allows_are_refused() {
    let rig = Rig::new(Which::OpenAi);
    let first = rig.ready(TurnsBy::Vendor).await;
    let _second = rig.ready(TurnsBy::Vendor).await;
    let busy = rig.vendor.open(Rig::request(TurnsBy::Vendor)).err().expect("a refusal");
    assert_eq!(busy.kind(), "busy");
    drop(first);
    assert!(rig.server.until(LIMIT, |server| server.open_connections() == 1).await);
    let began = std::time::Instant::now();
    while rig.vendor.open(Rig::request(TurnsBy::Vendor)).is_err() {
        assert!(began.elapsed() < LIMIT, "the place is not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_audio_that_a_vendor_is_said_to_take_is_announced_and_understood() {
    for which in ALL {
        let rig = Rig::new(which);
        for format in rig.vendor.capabilities().formats {
            let rate = format.rate;
            let mut call = rig.open(RealtimeRequest { rate, line: format, ..Rig::request(TurnsBy::Vendor) });
            assert!(matches!(call.next().await, RealtimeEvent::Ready));
            let pause = voice::silence(Duration::from_millis(600), rate.0);
            let samples = [Voice::default().speak("hello there", rate.0), pause].concat();
            for frame in samples.chunks(rate.samples_in_ms(20)) {
                call.stream.push(frame);
                sleep(Duration::from_millis(2)).await;
            }
            let heard = call.answer().await.expect("an answer");
            assert!(voice::says(&heard.samples, rate.0, "you said hello there"), "{which:?} {format:?}");
        }
        let resampled = rig.vendor.meter().unwrap().conversions.resampled();
        // Gemini hears what it is given and speaks at 24 kHz.
        assert_eq!(resampled > 0, which == Which::Gemini, "{which:?}");
        rig.assert_no_complaints();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_does_what_it_is_said_to_and_is_told_nothing_that_it_does_not_understand() {
    for which in ALL {
        let rig = Rig::new(which);
        let has = rig.vendor.capabilities();
        let of = |what: &[Which]| what.contains(&which);
        assert_eq!(has.local_turns, of(&[Which::OpenAi, Which::Gemini]), "{which:?}");
        assert!(has.tools, "{which:?}");
        let turns = if has.local_turns { TurnsBy::Local } else { TurnsBy::Vendor };
        let mut call = rig.ready(turns).await;
        call.say("count please").await;
        if has.local_turns {
            // Nobody but us takes the caller for finished.
            assert!(timeout(QUIET, call.events.recv()).await.is_err(), "{which:?}");
            call.stream.commit();
        }
        let answer = loop {
            if let RealtimeEvent::Audio { answer, .. } = call.next().await {
                break answer;
            }
        };
        call.stream.interrupt(answer, Duration::from_millis(100));
        let connections = rig.server.connections();
        call.stream.update("Be brief.", &[]);
        let is_told = |rig: &Rig| rig.log.all().iter().any(|message| message.to_string().contains("Be brief."));
        let deadline = std::time::Instant::now() + LIMIT;
        while has.update && !is_told(&rig) && std::time::Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        if has.update {
            assert!(is_told(&rig) && rig.server.connections() == connections, "{which:?}: within the session");
        } else {
            let is_fresh = rig.server.until(LIMIT, |server| server.connections() > connections);
            assert!(is_fresh.await, "{which:?}: over a fresh one");
        }
        let told = rig.log.all().iter().any(|message| message["type"] == "conversation.item.truncate");
        assert_eq!(told, has.truncate, "{which:?}");
    }
}
