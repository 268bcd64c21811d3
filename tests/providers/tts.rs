//! Each vendor of text to speech against its fake: what is sent, what is heard, and what a vendor's failure does.

use crate::fakes::voice::{self, Voice};
use crate::fakes::{FakeServer, Misbehaviour, tts_cartesia, tts_deepgram, tts_elevenlabs, tts_servers};
use offhook::base::{Pii, SampleRate};
use offhook::providers::catalogue::{TTS, offer};
use offhook::providers::format::AudioFormat;
use offhook::providers::registry::{Local, ProviderSpec, Registry, StageSpec};
use offhook::providers::tts::PhraseCache;
use offhook::providers::{
    Network, ProviderError, Settings, SpeakRequest, SpeechStream, StageKind, TextToSpeech, WordMark,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);
const TEXT: &str = "Good morning, this is the Lindenhof practice. How may I help you today?";
/// About six seconds.
const LONG: &str = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa \
    quebec romeo sierra tango uniform victor whisky xray yankee zulu alpha bravo charlie delta echo foxtrot golf hotel \
    india juliet kilo lima mike november oscar papa quebec romeo sierra tango uniform victor whisky xray yankee zulu \
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo.";
const NEXT: &str = "Of course, tell me more.";

/// A vendor as it is configured here.
#[derive(Clone, Copy, Debug)]
struct Case {
    vendor: &'static str,
    key: &'static str,
    base: &'static str,
    model: &'static str,
    options: &'static str,
    /// Gives µ-law; tells word times.
    mulaw: bool,
    timed: bool,
}

const fn case(vendor: &'static str, key: &'static str, base: &'static str, mulaw: bool, timed: bool) -> Case {
    Case { vendor, key, base, model: "", options: "{}", mulaw, timed }
}

const ELEVENLABS: Case = case("elevenlabs", tts_elevenlabs::KEY, "", true, true);
const ELEVENLABS_HTTP: Case = Case { options: r#"{"transport":"http"}"#, ..ELEVENLABS };
const CARTESIA: Case = case("cartesia", tts_cartesia::KEY, "", true, true);
const AURA: Case = case("deepgram", tts_deepgram::KEY, "", true, false);
const FLUX: Case = Case { model: "flux-thalia-en", ..AURA };
const OPENAI: Case = case("openai", tts_servers::KEY, "/v1", false, false);
const COMPATIBLE: Case = case("openai-compatible", tts_servers::KEY, "/v1", false, false);
const PIPER: Case = case("piper", "", "", false, false);

const SOCKETS: [Case; 4] = [ELEVENLABS, CARTESIA, AURA, FLUX];
const ALL: [Case; 8] = [ELEVENLABS, ELEVENLABS_HTTP, CARTESIA, AURA, FLUX, OPENAI, COMPATIBLE, PIPER];

impl Case {
    fn is_socket(&self) -> bool {
        SOCKETS.iter().any(|other| (other.vendor, other.options) == (self.vendor, self.options))
    }

    fn server(&self) -> FakeServer {
        match self.vendor {
            "elevenlabs" => FakeServer::start(tts_elevenlabs::ElevenLabs),
            "cartesia" => FakeServer::start(tts_cartesia::Cartesia),
            "deepgram" => FakeServer::start(tts_deepgram::Deepgram),
            "piper" => FakeServer::start(tts_servers::Piper),
            _ => FakeServer::start(tts_servers::OpenAi),
        }
    }

    fn settings(&self, server: &FakeServer) -> Settings {
        let offer = offer(TTS, self.vendor).unwrap();
        let options: BTreeMap<String, Value> = serde_json::from_str(self.options).unwrap();
        Settings {
            name: self.vendor.into(),
            key: (!self.key.is_empty()).then(|| Pii::new(self.key.to_owned())),
            url: server.http_url(self.base),
            model: if self.model.is_empty() { offer.model } else { self.model }.to_owned(),
            voice: offer.voice.to_owned(),
            language: "en-US".into(),
            options,
            concurrency: 20,
            connect_timeout: Duration::from_secs(3),
            first_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(2),
        }
    }

    fn build(&self, server: &FakeServer, change: impl FnOnce(&mut Settings)) -> Arc<dyn TextToSpeech> {
        let mut settings = self.settings(server);
        change(&mut settings);
        let network = Network::new(server.ca_pem().as_bytes()).unwrap();
        (offer(TTS, self.vendor).unwrap().build)(&settings, &network).unwrap()
    }

    fn start(&self) -> (FakeServer, Arc<dyn TextToSpeech>) {
        let server = self.server();
        let tts = self.build(&server, |_| {});
        (server, tts)
    }
}

#[derive(Default, Debug)]
struct Heard {
    samples: Vec<i16>,
    marks: Vec<WordMark>,
    error: Option<ProviderError>,
}

fn request(text: &str) -> SpeakRequest {
    SpeakRequest { line: AudioFormat::MULAW, ..SpeakRequest::new(text, SampleRate::NARROWBAND) }
}

async fn collect(mut stream: SpeechStream) -> Heard {
    let mut heard = Heard::default();
    let all = async {
        while let Some(item) = stream.recv().await {
            assert!(heard.error.is_none(), "nothing comes behind an error");
            match item {
                Ok(chunk) => {
                    heard.samples.extend(chunk.samples);
                    heard.marks.extend(chunk.marks);
                }
                Err(error) => heard.error = Some(error),
            }
        }
    };
    tokio::time::timeout(LIMIT, all).await.expect("a stream ends");
    heard
}

async fn say(tts: &Arc<dyn TextToSpeech>, text: &str) -> Heard {
    match tts.speak(request(text)) {
        Ok(stream) => collect(stream).await,
        Err(error) => Heard { error: Some(error), ..Heard::default() },
    }
}

async fn kind_of(tts: &Arc<dyn TextToSpeech>, text: &str) -> &'static str {
    say(tts, text).await.error.map_or("none", |error| error.kind())
}

fn assert_says(case: Case, heard: &Heard, text: &str) {
    assert_eq!(heard.error, None, "{case:?}");
    let sounds: Vec<u32> = voice::hear(&heard.samples, 8_000).iter().map(|(pitch, ..)| *pitch).collect();
    let wanted: Vec<u32> = text.split_whitespace().map(voice::pitch).collect();
    assert_eq!(sounds, wanted, "{case:?}: all of the text and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vendor_speaks_a_text_and_marks_its_words() {
    for case in ALL {
        let (server, tts) = case.start();
        let heard = say(&tts, TEXT).await;
        assert_says(case, &heard, TEXT);
        let words: Vec<&str> = TEXT.split_whitespace().collect();
        let mut from = 0;
        let marked: Vec<&str> = heard
            .marks
            .iter()
            .map(|mark| TEXT[std::mem::replace(&mut from, mark.text_end)..mark.text_end].trim())
            .collect();
        assert_eq!(marked, words, "{case:?}");
        if case.timed {
            for (mark, word) in heard.marks.iter().zip(Voice::default().words(TEXT)) {
                let spoken = (word.end.as_secs_f64() * 8_000.0) as usize;
                assert!(mark.sample_end.abs_diff(spoken) <= 80, "{case:?} {word:?} {mark:?}");
            }
        } else {
            assert_eq!(heard.marks.last().map(|mark| mark.sample_end), Some(heard.samples.len()), "{case:?}");
        }
        let meter = tts.meter().unwrap();
        let (passed, resampled) = (meter.conversions.passed(), meter.conversions.resampled());
        assert_eq!((passed > 0, resampled > 0), (case.mulaw, !case.mulaw), "{case:?}");
        let read = meter.read();
        assert_eq!((read.requests, read.characters), (1, TEXT.chars().count() as u64), "{case:?}");
        assert!(read.audio >= Voice::default().duration(TEXT) && !read.first_p50.is_zero(), "{case:?} {read:?}");
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_gets_its_own_format_where_the_vendor_has_it() {
    for (case, line, rate) in [
        (ELEVENLABS, AudioFormat::ALAW, SampleRate::NARROWBAND),
        (CARTESIA, AudioFormat::ALAW, SampleRate::NARROWBAND),
        (AURA, AudioFormat::pcm(16_000), SampleRate::WIDEBAND),
        (CARTESIA, AudioFormat::pcm(48_000), SampleRate(48_000)),
    ] {
        let (server, tts) = case.start();
        let request = SpeakRequest { line, ..SpeakRequest::new("one two three", rate) };
        let heard = collect(tts.speak(request).unwrap()).await;
        assert!(voice::says(&heard.samples, rate.0, "one two three"), "{case:?} {line:?}");
        assert_eq!(tts.meter().unwrap().conversions.resampled(), 0, "{case:?} {line:?}");
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}

/// A form of audio in the words of the fakes' notes.
fn in_words(format: AudioFormat) -> String {
    format!("{:?} {}", format.encoding, format.rate.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_audio_that_a_vendor_is_said_to_give_is_asked_for_and_comes_unchanged() {
    for case in ALL {
        // The servers that copy OpenAI answer with a WAV file of a rate of their own, unless they are asked for samples.
        let case = if case.vendor == COMPATIBLE.vendor {
            Case { options: r#"{"response_format":"pcm"}"#, ..case }
        } else {
            case
        };
        let (server, tts) = case.start();
        let declared = tts.capabilities().formats;
        for format in &declared {
            let request = SpeakRequest { line: *format, ..SpeakRequest::new("one two three", format.rate) };
            let heard = collect(tts.speak(request).unwrap()).await;
            assert!(voice::says(&heard.samples, format.rate.0, "one two three"), "{case:?} {format:?}");
        }
        let conversions = &tts.meter().unwrap().conversions;
        assert!(conversions.passed() > 0 && conversions.resampled() == 0, "{case:?}");
        let mut asked = server.notes();
        asked.sort_unstable();
        asked.dedup();
        let mut wanted: Vec<String> = declared.into_iter().map(in_words).collect();
        wanted.sort_unstable();
        assert_eq!(asked, wanted, "{case:?}: each once, and no other");
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_is_told_to_stop_exactly_where_it_is_said_to_understand_that() {
    for case in ALL {
        let (server, tts) = case.start();
        let mut cut_off = tts.speak(request(LONG)).unwrap();
        tokio::time::timeout(LIMIT, cut_off.recv()).await.unwrap().unwrap().unwrap();
        drop(cut_off);
        let is_told = |server: &FakeServer| match case.is_socket() {
            true => server.notes().iter().any(|note| note == "told to stop"),
            false => server.abandoned() > 0,
        };
        let capabilities = tts.capabilities();
        assert_eq!(capabilities.word_timestamps, case.timed, "{case:?}");
        if capabilities.cancel {
            assert!(server.until(LIMIT, is_told).await, "{case:?}");
        } else if case.is_socket() {
            // Piper's file is there as a whole before a word of it is heard: nothing is left to stop.
            assert_says(case, &say(&tts, NEXT).await, NEXT);
            assert!(!is_told(&server), "{case:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_barge_in_only_the_next_answer_is_heard() {
    for case in ALL {
        let (server, tts) = case.start();
        server.misbehave(Misbehaviour::LateAudioAfterCancel);
        for _ in 0..3 {
            let mut cut_off = tts.speak(request(LONG)).unwrap();
            tokio::time::timeout(LIMIT, cut_off.recv()).await.unwrap().unwrap().unwrap();
            drop(cut_off);
            assert_says(case, &say(&tts, NEXT).await, NEXT);
        }
        if case.is_socket() && case.vendor != "elevenlabs" {
            assert!(server.connections() <= 4, "{case:?}: {} connections", server.connections());
        }
        if ["openai"].contains(&case.vendor) {
            assert!(server.until(LIMIT, |server| server.abandoned() == 3).await, "{case:?}");
        }
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_call_that_hung_up_and_a_provider_that_is_gone() {
    for case in ALL {
        let (server, tts) = case.start();
        let cut_off: Vec<_> = (0..4).map(|_| tts.speak(request(LONG)).unwrap()).collect();
        assert!(server.until(LIMIT, |server| !server.requests().is_empty()).await);
        drop((cut_off, tts));
        assert!(server.until(LIMIT, |server| server.open_connections() == 0).await, "{case:?}");
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let ended = async {
            while tasks() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, ended).await.is_ok(), "{case:?}: {} tasks", tasks());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_ready_when_the_call_has_rung_and_serves_one_text_after_the_other() {
    for case in SOCKETS {
        let (server, tts) = case.start();
        tts.warm();
        tts.warm();
        let meter = tts.meter().unwrap();
        let wanted = if case.vendor == "deepgram" { 2 } else { 1 };
        assert!(server.until(LIMIT, |server| server.requests().len() == wanted).await, "{case:?}");
        let ready = async {
            while meter.read().connections < wanted as u64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.unwrap();
        if case.model.is_empty() {
            for text in [TEXT, NEXT, TEXT] {
                assert_says(case, &say(&tts, text).await, text);
            }
            assert_eq!(server.connections(), wanted as u64, "{case:?}");
        }
        drop(tts);
        assert!(
            server.until(LIMIT, |server| server.open_connections() == 0).await,
            "{case:?}: closed with its provider"
        );
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
    for case in [OPENAI, ELEVENLABS_HTTP] {
        let (server, tts) = case.start();
        tts.warm();
        assert!(server.until(LIMIT, |server| server.requests().len() == 1).await);
        let meter = tts.meter().unwrap();
        while meter.read().connections == 0 {
            tokio::task::yield_now().await;
        }
        assert_says(case, &say(&tts, NEXT).await, NEXT);
        assert!(server.connections() <= 2, "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_speak_at_once_within_the_vendor_s_limits() {
    for case in SOCKETS {
        let (server, tts) = case.start();
        let streams: Vec<_> = (0..12).map(|_| tokio::spawn(collect(tts.speak(request(TEXT)).unwrap()))).collect();
        for stream in streams {
            assert_says(case, &stream.await.unwrap(), TEXT);
        }
        let wanted = match case.vendor {
            "elevenlabs" => 3,
            "cartesia" => 2,
            _ => 12,
        };
        assert_eq!(server.connections(), wanted, "{case:?}");
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_utterances_than_the_key_allows_are_refused_until_one_is_over() {
    for case in [CARTESIA, OPENAI] {
        let server = case.server();
        let tts = case.build(&server, |settings| settings.concurrency = 2);
        let mut first = tts.speak(request(LONG)).unwrap();
        let second = tts.speak(request(TEXT)).unwrap();
        assert_eq!(tts.speak(request(TEXT)).unwrap_err().kind(), "busy", "{case:?}");
        assert_says(case, &collect(second).await, TEXT);
        assert_says(case, &say(&tts, NEXT).await, NEXT);
        first.recv().await.unwrap().unwrap();
        assert_eq!(tts.meter().unwrap().read().failures["busy"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_its_audio_late_gets_all_of_it() {
    for case in ALL {
        let (server, tts) = case.start();
        let stream = tts.speak(request(LONG)).unwrap();
        let meter = tts.meter().unwrap();
        let all = Voice::default().duration(LONG);
        let waits = async {
            while meter.read().audio < all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // By request, what was not taken is not asked for: those vendors are read as far as buffers allow.
        let _ = tokio::time::timeout(Duration::from_secs(2), waits).await;
        assert_says(case, &collect(stream).await, LONG);
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_whose_fault_it_is() {
    for case in ALL {
        for (code, kind) in
            [(400, "bad_request"), (401, "authentication"), (402, "quota"), (429, "rate_limited"), (500, "transient")]
        {
            let (server, tts) = case.start();
            server.misbehave(Misbehaviour::Status { code, retry_after: Some(7) });
            let error = say(&tts, TEXT).await.error.expect("an error");
            assert_eq!(error.kind(), kind, "{case:?} {code}");
            if let ProviderError::RateLimited { retry_after, .. } = error {
                assert_eq!(retry_after, Some(Duration::from_secs(7)), "{case:?}");
            }
            assert_eq!(tts.meter().unwrap().read().failures.get(kind), Some(&1), "{case:?}");
            server.behave();
            assert_says(case, &say(&tts, NEXT).await, NEXT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_s_own_words_tell_what_a_status_does_not() {
    for (case, key) in
        [(ELEVENLABS, tts_elevenlabs::POOR), (ELEVENLABS_HTTP, tts_elevenlabs::POOR), (OPENAI, tts_servers::POOR)]
    {
        let server = case.server();
        let tts = case.build(&server, |settings| settings.key = Some(Pii::new(key.to_owned())));
        assert_eq!(kind_of(&tts, TEXT).await, "quota", "{case:?}");
    }
    for case in [ELEVENLABS, CARTESIA, AURA, OPENAI] {
        let server = case.server();
        let wrong = case.build(&server, |settings| settings.key = Some(Pii::new("wrong".to_owned())));
        let error = say(&wrong, TEXT).await.error.unwrap();
        assert_eq!(error.kind(), "authentication", "{case:?}");
        assert!(!error.to_string().contains("wrong\"") && !format!("{error:?}").contains(case.key), "{error}");
    }
    for (case, voice, kind) in [
        (ELEVENLABS, "nobody", "bad_request"),
        (ELEVENLABS_HTTP, "nobody", "bad_request"),
        (CARTESIA, "nobody", "bad_request"),
        (CARTESIA, "broke", "quota"),
        (AURA, "aura-nobody", "bad_request"),
        (OPENAI, "nobody", "bad_request"),
        (PIPER, "nobody", "bad_request"),
    ] {
        let (_server, tts) = case.start();
        let request = SpeakRequest { voice: Some(voice.into()), ..request(TEXT) };
        let error = collect(tts.speak(request).unwrap()).await.error.unwrap();
        assert_eq!(error.kind(), kind, "{case:?} {error}");
        if case.vendor == "cartesia" {
            assert_says(case, &say(&tts, NEXT).await, NEXT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vendor_invents_tomorrow_is_ignored() {
    for case in ALL {
        let (server, tts) = case.start();
        server.misbehave(Misbehaviour::UnknownTypes);
        if case.vendor == "elevenlabs" && !case.is_socket() {
            // The fake adds fields to whole bodies and events only; the lines have unknown fields of their own.
            server.behave();
        }
        assert_says(case, &say(&tts, TEXT).await, TEXT);
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_an_error_at_once_and_the_next_connection_is_a_new_one() {
    for case in SOCKETS {
        for what in [Misbehaviour::WrongJson, Misbehaviour::HalfMessage, Misbehaviour::HugeFrame(3 << 20)] {
            let (server, tts) = case.start();
            server.misbehave(what);
            let error = say(&tts, TEXT).await.error.expect("an error");
            assert!(error.is_retryable() && error.counts_against_health(), "{case:?} {what:?} {error}");
            assert!(!matches!(error, ProviderError::Timeout { .. }), "{case:?} {what:?} {error}");
            server.behave();
            assert_says(case, &say(&tts, NEXT).await, NEXT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_accepts_and_says_nothing_is_given_up_in_time() {
    for case in ALL {
        for (what, stage) in [
            (Misbehaviour::Silence, "first audio"),
            (Misbehaviour::StallAfterUpgrade, "first audio"),
            (Misbehaviour::StallInTls, "connection"),
        ] {
            let server = case.server();
            let tts = case.build(&server, |settings| {
                settings.first_timeout = Duration::from_millis(400);
                settings.connect_timeout = Duration::from_millis(300);
            });
            server.misbehave(what);
            let began = Instant::now();
            let error = say(&tts, TEXT).await.error.expect("an error");
            let after = Duration::from_millis(if stage == "connection" { 300 } else { 400 });
            assert!(
                matches!(error, ProviderError::Timeout { stage: s, after: a, .. } if s == stage && a == after),
                "{case:?} {what:?} {error}"
            );
            assert!(began.elapsed() < Duration::from_secs(3), "{case:?} {what:?} {:?}", began.elapsed());
            server.behave();
            assert_says(case, &say(&tts, NEXT).await, NEXT);
            drop(tts);
            assert!(server.until(LIMIT, |server| server.open_connections() == 0).await, "{case:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_stops_in_the_middle_is_given_up_and_what_came_is_heard() {
    for case in [CARTESIA, AURA, OPENAI] {
        let server = case.server();
        let tts = case.build(&server, |settings| settings.stall_timeout = Duration::from_millis(200));
        let mut stream = tts.speak(request(LONG)).unwrap();
        let first = stream.recv().await.unwrap().unwrap();
        server.misbehave(Misbehaviour::Silence);
        server.misbehave(Misbehaviour::SlowDrip(Duration::from_secs(1)));
        let heard = collect(stream).await;
        let error = heard.error.expect("an error");
        assert!(matches!(error, ProviderError::Timeout { stage: "further audio", .. }), "{case:?} {error}");
        assert!(!first.samples.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_takes_only_its_own_utterances_with_it() {
    for case in [AURA, FLUX] {
        let (server, tts) = case.start();
        server.misbehave_on(1, Misbehaviour::CloseMidWord(1011));
        let first = tts.speak(request(LONG)).unwrap();
        assert!(server.until(LIMIT, |server| server.requests().len() == 1).await);
        let second = tts.speak(request(TEXT)).unwrap();
        let broken = collect(first).await;
        assert_eq!(broken.error.map(|error| error.kind()), Some("transient"), "{case:?}");
        assert_says(case, &collect(second).await, TEXT);
        assert_says(case, &say(&tts, NEXT).await, NEXT);
    }
    for case in [OPENAI, PIPER] {
        let (server, tts) = case.start();
        server.misbehave_on(1, Misbehaviour::HalfMessage);
        assert_eq!(kind_of(&tts, TEXT).await, "transient", "{case:?}");
        assert_says(case, &say(&tts, NEXT).await, NEXT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_has_died_costs_the_caller_no_word() {
    for case in SOCKETS {
        let (server, tts) = case.start();
        assert_says(case, &say(&tts, TEXT).await, TEXT);
        server.cut_connections();
        assert_says(case, &say(&tts, NEXT).await, NEXT);
        assert_eq!(server.connections(), 2, "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_as_the_vendor_wants_it() {
    for (case, option) in
        [(CARTESIA, "idle_seconds"), (AURA, "idle_seconds"), (FLUX, "idle_seconds"), (ELEVENLABS, "inactivity_timeout")]
    {
        let server = case.server();
        let tts = case.build(&server, |settings| drop(settings.options.insert(option.into(), json!(1))));
        assert_says(case, &say(&tts, NEXT).await, NEXT);
        assert!(server.until(LIMIT, |server| server.open_connections() == 0).await, "{case:?}");
        assert_says(case, &say(&tts, TEXT).await, TEXT);
        assert_eq!(server.complaints(), Vec::<String>::new(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_an_error_at_once() {
    for case in ALL {
        let (server, tts) = case.start();
        server.misbehave(Misbehaviour::Refuse);
        let began = Instant::now();
        assert_eq!(kind_of(&tts, TEXT).await, "transient", "{case:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn voices_are_listed_page_by_page() {
    for (case, expected) in [
        (ELEVENLABS, vec![("id-Abe", "Abe", "en"), ("id-Bea", "Bea", "en")]),
        (CARTESIA, vec![("ann", "ANN", "en"), ("ben", "BEN", "en")]),
        (AURA, vec![("aura-2-thalia-en", "thalia", "en")]),
        (PIPER, vec![("en_US-lessac-medium", "lessac", "en-US")]),
    ] {
        let (server, tts) = case.start();
        let voices = tts.voices().expect("a list").await.unwrap();
        let voices: Vec<_> = voices.iter().map(|v| (v.id.as_str(), v.name.as_str(), v.languages[0].as_str())).collect();
        assert_eq!(voices, expected, "{case:?}");
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
    let (_server, tts) = OPENAI.start();
    assert!(tts.voices().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_vendor_cannot_follow_are_refused_with_what_would_be_right() {
    let server = CARTESIA.server();
    let network = Network::new(server.ca_pem().as_bytes()).unwrap();
    let refused = |case: Case, change: &dyn Fn(&mut Settings)| {
        let mut settings = case.settings(&server);
        change(&mut settings);
        (offer(TTS, case.vendor).unwrap().build)(&settings, &network)
            .err()
            .map(|error| error.reason)
            .unwrap_or_default()
    };
    for case in ALL {
        let known = refused(case, &|settings| drop(settings.options.insert("colour".into(), json!("red"))));
        assert!(known.contains("unknown option `colour`; it knows: "), "{case:?} {known}");
    }
    assert!(refused(CARTESIA, &|settings| settings.key = None).contains("key"));
    assert!(refused(ELEVENLABS, &|settings| settings.voice.clear()).contains("voice"));
    let option =
        |name: &'static str, value: Value| move |s: &mut Settings| drop(s.options.insert(name.into(), value.clone()));
    assert!(refused(ELEVENLABS, &option("transport", json!("pigeon"))).contains("`websocket` or `http`"));
    assert!(refused(AURA, &option("flushes_per_minute", json!("many"))).contains("whole number"));
    assert!(refused(OPENAI, &option("response_format", json!("mp3"))).contains("`pcm` or `wav`"));
}

/// A voice of one's own with a phrase cache, as the configuration puts them together; a process would be no other.
fn with_phrases(server: &FakeServer, directory: &Path, most: u64, spec: ProviderSpec) -> Arc<dyn TextToSpeech> {
    let network = Network::new(server.ca_pem().as_bytes()).unwrap();
    let name = spec.name.clone();
    let cache = Arc::new(PhraseCache::open(directory, most).unwrap());
    let registry = Registry::new(vec![spec], network, Box::new(|_| None), Local::default()).with_phrases(cache);
    registry.text_to_speech(&[name]).unwrap()
}

fn own_voice(server: &FakeServer) -> ProviderSpec {
    let stages = [(StageKind::TextToSpeech, StageSpec::default())].into();
    ProviderSpec {
        key: Some(Pii::new(tts_servers::KEY.to_owned())),
        url: Some(server.http_url("/v1")),
        stages,
        ..ProviderSpec::of_vendor("openai")
    }
}

/// The texts that the vendor was asked to speak.
fn spoken(server: &FakeServer) -> usize {
    server.requests().iter().filter(|request| request.method == "POST").count()
}

fn fixed(text: &str) -> SpeakRequest {
    SpeakRequest { cacheable: true, ..request(text) }
}

async fn played(tts: &Arc<dyn TextToSpeech>, request: SpeakRequest) -> Heard {
    collect(tts.speak(request).unwrap()).await
}

const MEGABYTE: u64 = 1 << 20;
const GREETING: &str = "Good morning, this is the Lindenhof practice";

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_line_is_paid_for_once_and_outlives_its_vendor() {
    let (server, place) = (OPENAI.server(), tempfile::tempdir().unwrap());
    let tts = with_phrases(&server, place.path(), MEGABYTE, own_voice(&server));
    let first = played(&tts, fixed(GREETING)).await;
    assert_says(OPENAI, &first, GREETING);
    let again = played(&tts, fixed(GREETING)).await;
    assert_eq!((spoken(&server), &again.samples, &again.marks), (1, &first.samples, &first.marks));
    // What is of the call alone is asked for each time, and nothing of it is kept.
    for n in 2..4 {
        played(&tts, request("Your number is zero one seven one, Mrs. Miller")).await;
        assert_eq!(spoken(&server), n);
    }
    let files: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let octets = std::fs::read(&files[0]).unwrap();
    let holds = |text: &str| octets.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds("Lindenhof") && !holds(tts_servers::KEY) && !files[0].to_string_lossy().contains("Lindenhof"));
    // Another process, with the vendor gone.
    server.misbehave(Misbehaviour::Refuse);
    let later = with_phrases(&server, place.path(), MEGABYTE, own_voice(&server));
    assert_eq!(played(&later, fixed(GREETING)).await.samples, first.samples);
    assert_eq!(played(&later, fixed("Another line")).await.error.map(|error| error.kind()), Some("transient"));
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_changes_the_sound_of_a_fixed_line_makes_it_another_line() {
    let (server, place) = (OPENAI.server(), tempfile::tempdir().unwrap());
    let of = |spec: ProviderSpec| with_phrases(&server, place.path(), MEGABYTE, spec);
    let line = || fixed("Please hold the line");
    let stage = |change: &dyn Fn(&mut StageSpec)| {
        let mut spec = own_voice(&server);
        spec.stages.values_mut().for_each(change);
        spec
    };
    played(&of(own_voice(&server)), line()).await;
    let same = [
        ProviderSpec { name: "voice-2".into(), ..own_voice(&server) },
        ProviderSpec { concurrency: Some(3), first_timeout: Some(LIMIT), ..own_voice(&server) },
    ];
    for spec in same {
        played(&of(spec), line()).await;
        assert_eq!(spoken(&server), 1, "a name or a deadline is no other sound");
    }
    let option = |s: &mut StageSpec| drop(s.options.insert("instructions".into(), json!("Whisper.")));
    let others = [
        ("vendor", ProviderSpec { vendor: "openai-compatible".into(), ..own_voice(&server) }),
        (
            "url",
            ProviderSpec {
                url: Some(format!("https://127.0.0.1:{}/v1", server.address().port())),
                ..own_voice(&server)
            },
        ),
        ("model", stage(&|s| s.model = Some("tts-2".into()))),
        ("voice", stage(&|s| s.voice = Some("nova".into()))),
        ("language", stage(&|s| s.language = Some("de".into()))),
        ("option", stage(&option)),
    ];
    for (n, (what, spec)) in (2..).zip(others) {
        let heard = played(&of(spec), line()).await;
        assert_eq!((heard.error, spoken(&server)), (None, n), "{what}");
    }
    let tts = of(own_voice(&server));
    let before = spoken(&server);
    let requests = [
        ("text", SpeakRequest { text: "Please hold the line.".into(), ..line() }),
        ("voice", SpeakRequest { voice: Some("nova".into()), ..line() }),
        ("language", SpeakRequest { language: Some("de".into()), ..line() }),
        ("speed", SpeakRequest { speed: 1.2, ..line() }),
        ("form", SpeakRequest { line: AudioFormat::ALAW, ..line() }),
        ("rate", SpeakRequest { rate: SampleRate(16_000), line: AudioFormat::pcm(16_000), ..line() }),
    ];
    for (n, (what, request)) in (before + 1..).zip(requests) {
        played(&tts, request).await;
        assert_eq!(spoken(&server), n, "{what}");
    }
    played(&tts, line()).await;
    assert_eq!(spoken(&server), before + 6, "the first is there as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phrases_take_no_more_room_than_they_may_and_damaged_ones_are_made_anew() {
    let (server, place) = (OPENAI.server(), tempfile::tempdir().unwrap());
    let most = 9_000;
    let tts = with_phrases(&server, place.path(), most, own_voice(&server));
    let size =
        || -> u64 { std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum() };
    for line in ["One two three", "Four five six", "Seven eight nine", "Ten eleven twelve"] {
        played(&tts, fixed(line)).await;
        assert!(size() > 0 && size() <= most, "{} octets", size());
    }
    let asked = spoken(&server);
    let last = played(&tts, fixed("Ten eleven twelve")).await;
    assert_eq!(spoken(&server), asked, "the line used last is there");
    played(&tts, fixed("One two three")).await;
    assert_eq!(spoken(&server), asked + 1, "the one not used for longest is not");
    let asked = asked + 1;
    for entry in std::fs::read_dir(place.path()).unwrap() {
        let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_len(100).unwrap();
    }
    for times in [1, 1] {
        // Once more asked for, then from the new file.
        let tts = with_phrases(&server, place.path(), most, own_voice(&server));
        assert_eq!(played(&tts, fixed("Ten eleven twelve")).await.samples, last.samples);
        assert_eq!(spoken(&server), asked + times);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_nothing_is_kept() {
    let server = OPENAI.server();
    let network = Network::new(server.ca_pem().as_bytes()).unwrap();
    let registry = Registry::new(vec![own_voice(&server)], network, Box::new(|_| None), Local::default());
    let tts = registry.text_to_speech(&["openai".to_owned()]).unwrap();
    for n in 1..3 {
        assert_says(OPENAI, &played(&tts, fixed(GREETING)).await, GREETING);
        assert_eq!(spoken(&server), n);
    }
}
