//! Every vendor of speech to text against a server that keeps us to its rules, over TLS.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::fakes::{
    Conversation, FakeServer, Message, Misbehaviour, Reply, Request, Say, Vendor, stt_assemblyai::AssemblyAi,
    stt_azure::Azure, stt_cartesia::Cartesia, stt_deepgram::Deepgram, stt_elevenlabs::ElevenLabs, stt_openai::OpenAi,
    stt_vosk::Vosk, stt_whisper::Whisper as FakeWhisper, voice,
};
use offhook::{
    base::{Pii, SampleRate, SegmentId},
    providers::{
        Network, ProviderError, Settings, SpeechToText, SttEvent, SttRequest, SttStream, catalogue,
        format::AudioFormat,
        registry::{Local, ProviderSpec, Registry},
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

/// Two accounts with a vendor that says which language it hears.
fn two_ears() -> (FakeServer, FakeServer, Registry) {
    let (home, german) = (FakeServer::start(Cartesia), FakeServer::start(Cartesia));
    let account = |name: &str, server: &FakeServer| ProviderSpec {
        name: name.into(),
        key: Some(Pii::new("good-key".into())),
        url: Some(server.http_url("")),
        ..ProviderSpec::of_vendor("cartesia")
    };
    let network = Network::new(home.ca_pem().as_bytes()).expect("a network");
    let specs = vec![account("ears", &home), account("ears-de", &german)];
    let registry = Registry::new(specs, network, Box::new(|_| None), Local::default());
    (home, german, registry)
}

impl Call {
    /// The provider that the last words came from, if it is another than before.
    fn changed_to(&mut self) -> Option<String> {
        let mut changed = self.hints.drain(..).filter_map(|hint| match hint {
            SttEvent::FellOver { to, .. } => Some(to.into_owned()),
            _ => None,
        });
        changed.next_back()
    }
}

#[tokio::test]
async fn a_caller_who_changes_the_language_is_heard_by_its_provider_and_loses_no_word() {
    let (home, german, registry) = two_ears();
    let languages = [("de".to_owned(), vec!["ears-de".to_owned()])].into();
    let ears = registry.speech_to_text_by_language(&["ears".to_owned()], None, "en-US", &languages);
    let mut call = Call::open(ears.expect("a router").as_ref());
    let opened_with = |server: &FakeServer| {
        server.requests().iter().map(|request| request.param("language").map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(call.turn(1, "table for two").await.as_deref(), Ok("table for two"));
    assert_eq!((call.changed_to(), german.connections()), (None, 0), "begun in its own setting");
    assert_eq!(opened_with(&home), [None]);

    assert_eq!(call.turn(2, "guten danke").await.as_deref(), Ok("guten danke"), "told again to the other one");
    assert_eq!(call.changed_to().as_deref(), Some("ears-de"));
    assert_eq!(opened_with(&german), [Some("de".to_owned())]);
    assert!(home.until(LIMIT, |server| server.open_connections() == 0).await, "the first is let go");

    assert_eq!(call.turn(3, "arigato arigato").await.as_deref(), Ok("arigato arigato"));
    assert_eq!(call.changed_to(), None, "a language without a provider stays where it is");
    // In the middle of a segment: what was said of it before the change is there once.
    call.stream.start(SegmentId(4));
    call.say("table for");
    call.stream.finish(SegmentId(4));
    call.stream.start(SegmentId(4));
    call.say("two friday");
    call.stream.finish(SegmentId(4));
    let mut words = call.answer().await.expect("words").1;
    if words == "table for" {
        words = call.answer().await.expect("more words").1;
    }
    assert_eq!(words, "table for two friday");
    assert_eq!(call.changed_to().as_deref(), Some("ears"), "and back");
    assert_eq!(opened_with(&home), [None, None]);
    leaves_cleanly("home", call, &home).await;
    assert!(german.until(LIMIT, |server| server.open_connections() == 0).await);
    assert_eq!(german.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_caller_with_two_languages_does_not_move_the_call_to_and_fro() {
    let (home, german, registry) = two_ears();
    let languages = [("de".to_owned(), vec!["ears-de".to_owned()])].into();
    let ears = registry.speech_to_text_by_language(&["ears".to_owned()], Some("multi"), "en-US", &languages);
    let mut call = Call::open(ears.expect("a router").as_ref());
    let mut changes = 0;
    for segment in 1..=12 {
        let text = if segment % 2 == 0 { "table please" } else { "guten danke" };
        assert_eq!(call.turn(segment, text).await.as_deref(), Ok(text), "{segment}");
        changes += u32::from(call.changed_to().is_some());
    }
    assert_eq!(changes, 2, "there and back, and no further");
    assert_eq!((home.connections(), german.connections()), (2, 1));
    assert_eq!(home.requests()[0].param("language"), Some("multi"));
    leaves_cleanly("home", call, &home).await;
}

#[tokio::test]
async fn every_form_of_audio_that_a_vendor_is_said_to_take_is_announced_and_understood() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let provider = case.build(&server);
        for format in provider.capabilities().formats {
            let rate = format.rate.0;
            let request = SttRequest { line: format, ..SttRequest::new(format.rate, PRE_ROLL) };
            let (stream, events) = provider.open(request).expect("a place");
            let mut call = Call { stream, events, hints: Vec::new() };
            call.stream.start(SegmentId(1));
            call.push(&voice::Voice::default().speak("table for two", rate));
            call.push(&voice::silence(Duration::from_millis(120), rate));
            call.stream.finish(SegmentId(1));
            // The fake reads octets in the form that was announced: in any other these would be no words.
            let answer = call.answer().await.map(|(_, text)| text);
            assert_eq!(answer.as_deref(), Ok("table for two"), "{name} {format:?}");
        }
        let meter = provider.meter().expect("a meter");
        assert!(meter.conversions.passed() > 0 && meter.conversions.resampled() == 0, "{name}");
        assert_eq!(server.complaints(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn a_vendor_hints_at_what_it_is_said_to_and_at_nothing_else() {
    for case in CASES {
        let (name, server) = (case.name(), case.server());
        let provider = case.build(&server);
        let has = provider.capabilities();
        let mut call = Call::open(provider.as_ref());
        call.stream.start(SegmentId(1));
        call.say("table for");
        if has.partials {
            call.until(|event| matches!(event, SttEvent::Partial { text, .. } if text.expose().contains("table")))
                .await;
        }
        call.say("two");
        // In pieces, as on a telephone: a pause is seen when more silence comes.
        for _ in 0..10 {
            call.push(&voice::silence(Duration::from_millis(100), RATE));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let is_end = |event: &SttEvent| matches!(event, SttEvent::EndOfTurn { .. });
        if has.end_of_turn {
            call.until(is_end).await;
        }
        call.stream.finish(SegmentId(1));
        let answer = call.answer().await.map(|(_, text)| text);
        assert_eq!(answer.as_deref(), Ok("table for two"), "{name}");
        let said = |wanted: &dyn Fn(&SttEvent) -> bool| call.hints.iter().any(wanted);
        assert!(has.partials || !said(&|event| matches!(event, SttEvent::Partial { .. })), "{name}");
        assert!(has.end_of_turn || !said(&is_end), "{name}");
        assert!(has.detects_language || !said(&|event| matches!(event, SttEvent::Language { .. })), "{name}");
        // Each of these has a test beside its adapter in which words come with their times.
        let timed = ["deepgram", "deepgram-flux", "assemblyai", "azure", "vosk"];
        assert_eq!(has.timestamps, timed.contains(&case.vendor), "{name}");
    }
}

/// Answers what ends a segment with the vendor's own message for German words.
struct German(&'static str);

struct Talk(&'static str);

impl Vendor for German {
    fn websocket(&self, _: &Request) -> Result<Box<dyn Conversation>, Reply> {
        Ok(Box::new(Talk(self.0)))
    }
}

impl Conversation for Talk {
    fn opened(&mut self) -> Vec<Say> {
        let first = match self.0 {
            "assemblyai" => json!({"type": "Begin", "id": "r", "expires_at": 1_900_000_000}),
            "elevenlabs" => json!({"message_type": "session_started", "session_id": "r"}),
            "deepgram-flux" => json!({"type": "Connected", "request_id": "r", "sequence_id": 0}),
            _ => return Vec::new(),
        };
        vec![Say::json(&first)]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let message = message.json();
        let ends = match self.0 {
            "elevenlabs" => message["commit"] == true,
            _ => ["Finalize", "ForceEndTurn", "ForceEndpoint"].iter().any(|kind| message["type"] == *kind),
        };
        let says = match self.0 {
            "assemblyai" => json!({"type": "Turn", "turn_order": 0, "turn_is_formatted": false, "end_of_turn": true,
                "transcript": "danke", "language_code": "de", "language_confidence": 0.9, "words": []}),
            "elevenlabs" => json!({"message_type": "committed_transcript_with_timestamps", "text": "danke",
                "language_code": "de", "words": []}),
            "deepgram-flux" => json!({"type": "TurnInfo", "event": "EndOfTurn", "turn_index": 0, "sequence_id": 1,
                "transcript": "danke", "languages": ["de"], "words": [], "end_of_turn_confidence": 0.9}),
            _ => json!({"type": "Results", "is_final": true, "from_finalize": true, "start": 0.0, "duration": 0.3,
                "channel": {"alternatives": [{"transcript": "danke", "languages": ["de"], "words": []}]}}),
        };
        if ends { vec![Say::json(&says)] } else { Vec::new() }
    }
}

#[tokio::test]
async fn the_language_is_told_by_each_vendor_that_is_asked_to_detect_it() {
    for (vendor, ask) in [
        ("deepgram", &(|s: &mut Settings| s.language = "multi".into()) as &dyn Fn(&mut Settings)),
        ("deepgram-flux", &|s: &mut Settings| s.model = "flux-general-multi".into()),
        ("assemblyai", &|s: &mut Settings| drop(s.options.insert("language_detection".into(), json!(true)))),
        ("elevenlabs", &|s: &mut Settings| drop(s.options.insert("include_language_detection".into(), json!(true)))),
    ] {
        let server = FakeServer::start(German(vendor));
        let case = CASES.into_iter().find(|case| case.vendor == vendor).expect("a case");
        let mut settings = case.settings(&server);
        assert!(!build(&settings, vendor, &server).capabilities().detects_language, "{vendor}");
        ask(&mut settings);
        let provider = build(&settings, vendor, &server);
        assert!(provider.capabilities().detects_language, "{vendor}");
        let mut call = Call::open(provider.as_ref());
        call.stream.start(SegmentId(1));
        call.say("danke");
        call.stream.finish(SegmentId(1));
        let told = call.until(|event| matches!(event, SttEvent::Language { .. } | SttEvent::Failed { .. })).await;
        assert!(matches!(&told, SttEvent::Language { tag, .. } if tag == "de"), "{vendor}: {told:?}");
    }
}
