//! Every vendor of speech to text against a server that keeps us to its rules, over TLS.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::fakes::{
    FakeServer, Misbehaviour, stt_assemblyai::AssemblyAi, stt_azure::Azure, stt_cartesia::Cartesia, stt_deepgram::Deepgram,
    stt_elevenlabs::ElevenLabs, stt_openai::OpenAi, stt_vosk::Vosk, stt_whisper::Whisper as FakeWhisper, voice,
};
use offhook::{
    base::{Pii, SampleRate, SegmentId},
    providers::{
        Network, ProviderError, Settings, SpeechToText, SttEvent, SttRequest, SttStream, catalogue,
        format::AudioFormat,
        stt::whisper::{BatchSpeechToText, Whisper},
    },
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

/// Far more than anything on the loopback takes, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(10);
const PRE_ROLL: Duration = Duration::from_millis(100);
const RATE: u32 = 8_000;

/// A vendor under test.
#[derive(Clone, Copy)]
struct Case {
    vendor: &'static str,
    path: &'static str,
    options: &'static [(&'static str, Option<bool>)],
    has_key: bool,
    /// It answers noise and silence of ours too, so that its silence is noticed at once.
    answers: bool,
}

const CASES: [Case; 9] = [
    Case { vendor: "deepgram", path: "", options: &[], has_key: true, answers: true },
    Case { vendor: "deepgram-flux", path: "", options: &[], has_key: true, answers: false },
    Case { vendor: "assemblyai", path: "", options: &[], has_key: true, answers: false },
    Case { vendor: "openai", path: "/v1", options: &[], has_key: true, answers: true },
    Case { vendor: "elevenlabs", path: "", options: &[], has_key: true, answers: true },
    Case { vendor: "cartesia", path: "", options: &[], has_key: true, answers: true },
    Case { vendor: "cartesia", path: "", options: &[("turns", Some(true))], has_key: true, answers: false },
    Case { vendor: "azure", path: "", options: &[], has_key: true, answers: true },
    Case { vendor: "vosk", path: "", options: &[], has_key: false, answers: true },
];

impl Case {
    fn server(&self) -> FakeServer {
        let patience = Duration::from_secs(10);
        match self.vendor {
            "assemblyai" => FakeServer::start(AssemblyAi),
            "azure" => FakeServer::start(Azure),
            "openai" => FakeServer::start(OpenAi),
            "elevenlabs" => FakeServer::start(ElevenLabs { patience }),
            "cartesia" => FakeServer::start(Cartesia),
            "vosk" => FakeServer::start(Vosk),
            _ => FakeServer::start(Deepgram { patience }),
        }
    }

    fn settings(&self, server: &FakeServer) -> Settings {
        let options = self.options.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Settings {
            name: self.vendor.into(),
            key: self.has_key.then(|| Pii::new("good-key".into())),
            url: server.http_url(self.path),
            model: catalogue::offer(catalogue::STT, self.vendor).expect("an offer").model.into(),
            voice: String::new(),
            language: String::new(),
            options,
            concurrency: 4,
            connect_timeout: Duration::from_millis(1_200),
            first_timeout: Settings::FIRST_TIMEOUT,
            stall_timeout: Settings::STALL_TIMEOUT,
        }
    }

    fn name(&self) -> String {
        format!("{}{}", self.vendor, if self.options.is_empty() { "" } else { " turns" })
    }

    fn build(&self, server: &FakeServer) -> Arc<dyn SpeechToText> {
        build(&self.settings(server), self.vendor, server)
    }

    fn call(&self, server: &FakeServer) -> Call {
        Call::open(self.build(server).as_ref())
    }
}

fn build(settings: &Settings, vendor: &str, server: &FakeServer) -> Arc<dyn SpeechToText> {
    let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
    let offer = catalogue::offer(catalogue::STT, vendor).expect("an offer");
    (offer.build)(settings, &network).expect("good settings")
}

/// A call's stream, and what it has said.
struct Call {
    stream: Box<dyn SttStream>,
    events: mpsc::Receiver<SttEvent>,
    hints: Vec<SttEvent>,
}

impl Call {
    fn open(provider: &dyn SpeechToText) -> Self {
        let line = AudioFormat::MULAW;
        let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), PRE_ROLL) };
        let (stream, events) = provider.open(request).expect("a place");
        Self { stream, events, hints: Vec::new() }
    }

    fn push(&mut self, samples: &[i16]) {
        samples.chunks(160).for_each(|frame| self.stream.push(frame));
    }

    /// The words with silence before them, which is the pre-roll.
    fn say(&mut self, text: &str) {
        self.push(&voice::silence(Duration::from_millis(120), RATE));
        self.push(&voice::Voice::default().speak(text, RATE));
        self.push(&voice::silence(Duration::from_millis(80), RATE));
    }

    async fn next(&mut self) -> Option<SttEvent> {
        timeout(LIMIT, self.events.recv()).await.expect("an event in time")
    }

    /// What answers the `finish` of a segment.
    async fn answer(&mut self) -> Result<(SegmentId, String), ProviderError> {
        loop {
            match self.next().await {
                Some(SttEvent::Final { segment, text, .. }) => return Ok((segment, text.into_exposed())),
                Some(SttEvent::Failed { error, .. }) => return Err(error),
                Some(other) => self.hints.push(other),
                None => panic!("the stream ended without an answer: {:?}", self.hints),
            }
        }
    }

    /// A segment from its start to its words.
    async fn turn(&mut self, segment: u32, text: &str) -> Result<String, ProviderError> {
        self.stream.start(SegmentId(segment));
        self.say(text);
        self.stream.finish(SegmentId(segment));
        let (answered, text) = self.answer().await?;
        assert_eq!(answered, SegmentId(segment));
        Ok(text)
    }

    async fn until(&mut self, wanted: impl Fn(&SttEvent) -> bool) -> SttEvent {
        loop {
            let event = self.next().await.expect("more events");
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn partial(&mut self, wanted: &str) {
        self.until(|event| matches!(event, SttEvent::Partial { text, .. } if text.expose() == wanted)).await;
    }
}

async fn leaves_cleanly(name: &str, call: Call, server: &FakeServer) {
    drop(call);
    assert!(server.until(LIMIT, |server| server.open_connections() == 0).await, "{name} left a connection open");
    assert_eq!(server.complaints(), Vec::<String>::new(), "{name}");
}

#[tokio::test]
async fn each_segment_s_words_are_its_own_and_the_goodbye_is_the_vendor_s() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let provider = case.build(&server);
        let mut call = Call::open(provider.as_ref());
        assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"), "{name}");
        assert_eq!(call.turn(2, "friday please").await.as_deref(), Ok("friday please"), "{name}");
        let partials = call.hints.iter().filter(|hint| matches!(hint, SttEvent::Partial { .. })).count();
        assert!(partials >= 2, "{name}: {partials} partials");
        leaves_cleanly(&name, call, &server).await;
        let reading = provider.meter().expect("a meter").read();
        assert_eq!((reading.requests, reading.failures.len()), (2, 0), "{name}");
        assert!(reading.connections >= 1 && reading.audio >= Duration::from_millis(600), "{name}: {reading:?}");
    }
}

#[tokio::test]
async fn a_segment_that_is_resumed_is_answered_as_a_whole() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let mut call = case.call(&server);
        assert_eq!(call.turn(1, "table for").await.as_deref(), Ok("table for"), "{name}");
        assert_eq!(call.turn(1, "seven thanks").await.as_deref(), Ok("table for seven thanks"), "{name}");
        leaves_cleanly(&name, call, &server).await;
    }
}

#[tokio::test]
async fn words_of_a_segment_that_was_cut_off_never_come_back() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let mut call = case.call(&server);
        call.stream.start(SegmentId(1));
        call.say("table for two");
        call.partial("table for two").await;
        call.stream.discard();
        assert_eq!(call.turn(2, "yes seven").await.as_deref(), Ok("yes seven"), "{name}");
        call.stream.start(SegmentId(3));
        call.say("friday please");
        call.stream.finish(SegmentId(3));
        assert_eq!(call.turn(4, "thanks").await.as_deref(), Ok("thanks"), "{name}");
        leaves_cleanly(&name, call, &server).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_replaced_and_no_word_is_lost_or_doubled() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let mut call = case.call(&server);
        call.stream.start(SegmentId(1));
        call.say("table for two");
        call.partial("table for two").await;
        server.cut_connections();
        assert!(server.until(LIMIT, |server| server.connections() >= 2).await, "{name}");
        call.push(&voice::Voice::default().speak("please", RATE));
        call.push(&voice::silence(Duration::from_millis(80), RATE));
        call.stream.finish(SegmentId(1));
        let answer = call.answer().await.map(|(_, text)| text);
        assert_eq!(answer.as_deref(), Ok("table for two please"), "{name}");
        drop(call);
        assert!(server.until(LIMIT, |server| server.open_connections() == 0).await, "{name}");
    }
}

#[tokio::test]
async fn a_refused_connection_says_whose_fault_it_is() {
    let kinds = [
        (401, "authentication"),
        (402, "quota"),
        (400, "bad_request"),
        (429, "rate_limited"),
        (500, "transient"),
        (503, "transient"),
    ];
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        for (status, kind) in kinds {
            server.misbehave(Misbehaviour::Status { code: status, retry_after: Some(7) });
            let mut call = case.call(&server);
            let error = call.answer().await.expect_err("a failure");
            assert_eq!(error.kind(), kind, "{name} {status}: {error}");
            if let ProviderError::RateLimited { retry_after, .. } = &error {
                assert_eq!(*retry_after, Some(Duration::from_secs(7)), "{name}");
            }
            assert!(!format!("{error} {error:?}").contains("good-key"), "{name}");
            assert!(call.next().await.is_none(), "{name}: the stream ends behind its failure");
            server.behave();
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_by_the_vendor_s_own_answer() {
    for case in CASES.iter().filter(|case| case.has_key) {
        let server = case.server();
        let settings = Settings { key: Some(Pii::new("bad-key".into())), ..case.settings(&server) };
        let mut call = Call::open(build(&settings, case.vendor, &server).as_ref());
        let error = call.answer().await.expect_err("a failure");
        assert_eq!(error.kind(), "authentication", "{}: {error}", case.name());
        assert!(!format!("{error:?}").contains("bad-key"), "{}", case.name());
    }
}

#[tokio::test]
async fn nobody_there_fails_fast() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        server.misbehave(Misbehaviour::Refuse);
        let began = Instant::now();
        let error = case.call(&server).answer().await.expect_err("a failure");
        assert_eq!(error.kind(), "transient", "{name}: {error}");
        assert!(began.elapsed() < Duration::from_secs(3), "{name} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_vendor_that_accepts_and_says_nothing_is_found_out() {
    for case in CASES.iter().filter(|case| case.answers) {
        let (name, server) = (case.name(), case.server());
        server.misbehave(Misbehaviour::Silence);
        let mut call = case.call(&server);
        call.stream.start(SegmentId(1));
        call.push(&voice::silence(Duration::from_millis(1_500), RATE));
        call.stream.finish(SegmentId(1));
        let began = Instant::now();
        let error = call.answer().await.expect_err("a failure");
        // A Vosk server closes behind the last of its silence.
        assert_eq!(error.kind(), if name == "vosk" { "transient" } else { "timeout" }, "{name}: {error}");
        assert!(began.elapsed() < Duration::from_secs(3), "{name} took {:?}", began.elapsed());
        assert!(call.next().await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn what_a_vendor_invents_tomorrow_does_no_harm() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        server.misbehave(Misbehaviour::UnknownTypes);
        let mut call = case.call(&server);
        assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"), "{name}");
        leaves_cleanly(&name, call, &server).await;
    }
}

#[tokio::test]
async fn a_result_that_comes_twice_counts_once() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        server.misbehave(Misbehaviour::DuplicateFinals);
        let mut call = case.call(&server);
        assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"), "{name}");
        assert_eq!(call.turn(1, "please").await.as_deref(), Ok("table for two please"), "{name}");
        assert_eq!(call.turn(2, "yes").await.as_deref(), Ok("yes"), "{name}");
        leaves_cleanly(&name, call, &server).await;
    }
}

#[tokio::test]
async fn damaged_messages_and_closes_in_mid_word_end_in_words_or_a_failure_and_never_in_a_hang() {
    let damages = [
        Misbehaviour::WrongJson,
        Misbehaviour::HalfMessage,
        Misbehaviour::HugeFrame(2 << 20),
        Misbehaviour::CloseMidWord(1011),
        Misbehaviour::CloseMidWord(1006),
        Misbehaviour::StallAfterUpgrade,
    ];
    for case in CASES {
        for damage in damages {
            let (name, server) = (case.name(), case.server());
            server.misbehave(damage);
            let mut call = case.call(&server);
            let began = Instant::now();
            for segment in 1..=2 {
                if call.turn(segment, "table for two friday please yes seven thanks").await.is_err() {
                    break;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(6), "{name} {damage:?} took {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive_in_the_vendor_s_own_way() {
    let patience = Duration::from_millis(600);
    for (vendor, server) in [
        ("deepgram", FakeServer::start(Deepgram { patience })),
        ("deepgram-flux", FakeServer::start(Deepgram { patience })),
        ("elevenlabs", FakeServer::start(ElevenLabs { patience })),
    ] {
        let case = CASES.into_iter().find(|case| case.vendor == vendor).expect("a case");
        let mut settings = case.settings(&server);
        settings.options.insert("keep_alive_ms".into(), Value::from(150));
        let mut call = Call::open(build(&settings, vendor, &server).as_ref());
        let quiet = timeout(3 * patience, call.events.recv()).await;
        assert!(quiet.is_err(), "{vendor}: {quiet:?}");
        assert_eq!(server.connections(), 1, "{vendor}");
        assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"), "{vendor}");
        assert_eq!(server.connections(), 1, "{vendor}");
        leaves_cleanly(vendor, call, &server).await;
    }
}

#[tokio::test]
async fn a_vendor_s_end_of_turn_is_a_hint_and_an_early_one_can_be_taken_back() {
    let server = FakeServer::start(Deepgram { patience: Duration::from_secs(10) });
    let case = CASES.into_iter().find(|case| case.vendor == "deepgram-flux").expect("a case");
    let mut settings = case.settings(&server);
    settings.options.insert("eager_eot_threshold".into(), json!(0.4));
    let mut call = Call::open(build(&settings, case.vendor, &server).as_ref());
    call.stream.start(SegmentId(1));
    call.say("table for");
    call.push(&voice::silence(Duration::from_millis(40), RATE));
    call.until(|event| matches!(event, SttEvent::EndOfTurn { eager: true, .. })).await;
    call.say("two");
    call.until(|event| matches!(event, SttEvent::TurnResumed { .. })).await;
    call.push(&voice::silence(Duration::from_millis(400), RATE));
    call.until(|event| matches!(event, SttEvent::EndOfTurn { eager: false, segment: SegmentId(1) })).await;
    call.stream.finish(SegmentId(1));
    assert_eq!(call.answer().await.map(|(_, text)| text).as_deref(), Ok("table for two"));
    leaves_cleanly("deepgram-flux", call, &server).await;
}

#[tokio::test]
async fn what_the_flow_expects_reaches_the_vendor_and_outlives_its_connection() {
    for vendor in ["deepgram", "deepgram-flux", "assemblyai", "azure"] {
        let case = CASES.into_iter().find(|case| case.vendor == vendor).expect("a case");
        let server = case.server();
        let mut settings = case.settings(&server);
        settings.options.insert("expected_words".into(), json!(true));
        let mut call = Call::open(build(&settings, vendor, &server).as_ref());
        for phrases in [&["table for"][..], &["seven"], &["friday", "yes please"]] {
            call.stream.expect(&phrases.iter().map(|phrase| (*phrase).to_owned()).collect::<Vec<_>>());
        }
        for (segment, said, sure) in [(1, "table for two", false), (2, "friday please", true), (3, "yes", true)] {
            if segment == 3 {
                server.cut_connections();
                assert!(server.until(LIMIT, |server| server.connections() >= 2).await, "{vendor}");
            }
            call.stream.start(SegmentId(segment));
            call.say(said);
            // The request and its answer are on their way.
            tokio::time::sleep(Duration::from_millis(120)).await;
            call.stream.finish(SegmentId(segment));
            let answer = call.until(|event| matches!(event, SttEvent::Final { .. })).await;
            let SttEvent::Final { text, confidence, .. } = answer else { panic!("{answer:?}") };
            assert_eq!((text.expose().as_str(), confidence > 0.95), (said, sure), "{vendor}: {confidence}");
        }
        leaves_cleanly(vendor, call, &server).await;
    }
}

#[tokio::test]
async fn turns_that_are_formatted_are_told_once() {
    let server = FakeServer::start(AssemblyAi);
    let case = CASES.into_iter().find(|case| case.vendor == "assemblyai").expect("a case");
    let mut settings = case.settings(&server);
    settings.options.insert("format_turns".into(), json!(true));
    let mut call = Call::open(build(&settings, case.vendor, &server).as_ref());
    assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"));
    assert_eq!(call.turn(1, "please").await.as_deref(), Ok("table for two please"));
    leaves_cleanly("assemblyai", call, &server).await;
}

#[tokio::test]
async fn a_key_s_places_are_counted_and_given_back() {
    let case = CASES.into_iter().find(|case| case.vendor == "deepgram").expect("a case");
    let server = case.server();
    let settings = Settings { concurrency: 1, ..case.settings(&server) };
    let provider = build(&settings, case.vendor, &server);
    let call = Call::open(provider.as_ref());
    let request = SttRequest::new(SampleRate(RATE), PRE_ROLL);
    let busy = provider.open(request.clone()).err().map(|error| error.kind());
    assert_eq!(busy, Some("busy"));
    drop(call);
    let began = Instant::now();
    while provider.open(request.clone()).is_err() {
        assert!(began.elapsed() < LIMIT, "the place is not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_line_that_is_not_companded_is_heard_as_well() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let provider = case.build(&server);
        let (stream, events) = provider.open(SttRequest::new(SampleRate(16_000), PRE_ROLL)).expect("a place");
        let mut call = Call { stream, events, hints: Vec::new() };
        call.stream.start(SegmentId(1));
        call.push(&voice::Voice::default().speak("table for two", 16_000));
        call.push(&voice::silence(Duration::from_millis(120), 16_000));
        call.stream.finish(SegmentId(1));
        let answer = call.answer().await.map(|(_, text)| text);
        assert_eq!(answer.as_deref(), Ok("table for two"), "{name}");
        leaves_cleanly(&name, call, &server).await;
    }
}

#[tokio::test]
async fn a_recording_is_transcribed_and_its_refusals_are_told() {
    let server = FakeServer::start(FakeWhisper);
    let case = Case { vendor: "whisper", path: "/v1", options: &[], has_key: true, answers: true };
    let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
    let whisper = Whisper::new(&case.settings(&server), &network).expect("good settings");
    let wav = voice::wav(&voice::Voice::default().speak("table for two", RATE), RATE);
    let words = whisper.transcribe(wav.clone().into()).await.expect("words");
    assert_eq!(words.expose(), "table for two");
    assert_eq!(server.complaints(), Vec::<String>::new());
    let too_large = whisper.transcribe(vec![0; 26_000_000].into()).await.map_err(|error| error.kind());
    assert_eq!(too_large, Err("bad_request"));
    for (damage, kind) in [
        (Misbehaviour::status(401), "authentication"),
        (Misbehaviour::status(429), "rate_limited"),
        (Misbehaviour::HalfMessage, "transient"),
    ] {
        server.misbehave(damage);
        let error = whisper.transcribe(wav.clone().into()).await.expect_err("a failure");
        assert_eq!(error.kind(), kind, "{damage:?}: {error}");
        server.behave();
    }
}
