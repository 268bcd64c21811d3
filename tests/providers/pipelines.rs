//! Whole calls through every pipeline of vendors: real SIP and RTP, our adapters over TLS, vendors that are faked from
//! their documentation. The caller's words are tones that the recognisers know; the voices answer in the same language,
//! so what the caller hears is compared word by word.

use crate::account::{Account, account};
use crate::fakes::voice::{self, Voice};
use crate::fakes::{llm_openai, realtime_openai, realtime_script, stt_cartesia, tts_elevenlabs, tts_servers};
use crate::roster::{Played, played};
use crate::secrets;
use crate::support::{Phone, TestServer};
use futures_util::future::join_all;
use offhook::call::{CallEvent, Engines};
use offhook::providers::registry::{Local, Registry};
use offhook::providers::tts::PhraseCache;
use offhook::providers::{Meter, Network, StageKind};
use offhook::sip::event::EndCause;
use offhook::tools::EgressPolicy;
use std::sync::Arc;
use std::time::Duration;

pub const CALLER: [u8; 4] = [127, 0, 0, 1];

/// The stages of an agent, by the lines of its file.
pub struct Pipeline {
    pub lines: String,
    pub accounts: Vec<Account>,
}

impl Pipeline {
    fn agent(&self) -> String {
        format!(
            "
agent: assistant
start: talk
{}
nodes:
  talk:
    converse: You answer the telephone of a restaurant.
    speak_first: false
    exits: {{done: bye}}
  bye: {{hangup: done, say: Goodbye then., completed: true}}
",
            self.lines
        )
    }

    fn registry(&self) -> Registry {
        let network = Network::new(self.accounts[0].server.ca_pem().as_bytes()).unwrap();
        let specs = self.accounts.iter().map(|account| account.spec.clone()).collect();
        Registry::new(specs, network, Box::new(|_| None), Local::default())
    }

    pub async fn serve(&self) -> (TestServer, Arc<Registry>, Vec<Arc<Meter>>) {
        let registry = Arc::new(self.registry());
        let agent = offhook::agent::Agent::parse("agent.yaml", &self.agent(), &[]).unwrap_or_else(|e| panic!("{e}"));
        let speech = agent.speech.clone();
        let mut meters = Vec::new();
        let equip = |engines: &mut Engines| {
            let local = |names: &[String]| names.iter().any(|name| name == "local");
            if !local(&speech.stt.providers) {
                let (stt, home) = (&speech.stt, &agent.language);
                engines.stt = registry
                    .speech_to_text_by_language(&stt.providers, stt.language.as_deref(), home, &stt.languages)
                    .unwrap();
                meters.extend(engines.stt.meter());
            }
            if !local(&speech.tts.providers) {
                engines.tts = registry.text_to_speech(&speech.tts.providers).unwrap();
                meters.extend(engines.tts.meter());
            }
            engines.llm =
                speech.llm.as_ref().map(|llm| registry.language_model(&llm.providers, llm.temperature).unwrap());
            engines.realtime = speech.realtime.as_ref().map(|r| registry.speech_to_speech(&r.providers).unwrap());
            meters.extend(engines.realtime.as_ref().and_then(|realtime| realtime.meter()));
        };
        let server = TestServer::start_thinking(&self.agent(), &[], EgressPolicy::default(), equip, |_| ()).await;
        (server, registry, meters)
    }

    fn assert_no_complaints(&self) {
        for account in &self.accounts {
            assert_eq!(account.server.complaints(), Vec::<String>::new(), "{}", account.spec.name);
        }
    }
}

/// The caller's voice: words long enough for turn-taking to take them for speech.
pub fn caller_says(text: &str) -> Vec<i16> {
    let voice = Voice { word: Duration::from_millis(140), gap: Duration::from_millis(60) };
    voice.speak(text, 8_000)
}

/// The agent's answer: everything up to 600 ms of silence.
async fn answer(phone: &mut Phone) -> Vec<i16> {
    phone.heard = Some(Vec::new());
    phone.wait_for(true, 2).await;
    phone.wait_for(false, 30).await;
    phone.heard.take().unwrap_or_default()
}

async fn call_through(pipeline: &Pipeline) -> (TestServer, Vec<Arc<Meter>>) {
    let (mut server, _registry, meters) = pipeline.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.play(&caller_says("table for two friday please")).await;
    let heard = answer(&mut phone).await;
    assert!(voice::says(&heard, 8_000, "Hello there. How can I help?"), "{:?}", voice::hear(&heard, 8_000));
    let said = server
        .event("the caller's words", |e| match e {
            CallEvent::CallerSaid { text, .. } => Some(text.expose().to_lowercase()),
            _ => None,
        })
        .await;
    assert_eq!(said.trim_end_matches('.'), "table for two friday please");
    let record = server
        .event("a latency record", |e| match e {
            CallEvent::TurnLatency { record, .. } => Some(record.clone()),
            _ => None,
        })
        .await;
    let stages: Vec<_> = record.stages.iter().map(|(stage, _)| stage.name()).collect();
    for stage in ["caller_silent", "transcript", "end_of_turn", "first_token", "first_audio", "first_packet"] {
        assert!(stages.contains(&stage), "{stage} is not among {stages:?}");
    }
    phone.play(&caller_says("thanks")).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
    pipeline.assert_no_complaints();
    (server, meters)
}

/// Vendors that have no form of a telephone line's audio.
const OF_OTHER_FORMS: [&str; 4] = ["openai", "openai-compatible", "piper", "gemini"];

/// A G.711 line met the vendors in its own form: no frame changed its rate.
fn assert_passed_through(meters: &[Arc<Meter>]) {
    for meter in meters {
        let conversions = &meter.conversions;
        assert!(conversions.passed() > 0);
        assert_eq!(conversions.resampled(), 0);
    }
}

/// A whole call through these vendors, in the line's own form where they have it.
async fn holds_a_call(ears: Played, mind: Played, voice: Played) {
    println!("{}, {} and {} hold a call", ears.name(), mind.name(), voice.name());
    let pipeline = Pipeline {
        lines: "speech_to_text: ears\nlanguage_model: mind\ntext_to_speech: voice".into(),
        accounts: vec![ears.account("ears"), mind.account("mind"), voice.account("voice")],
    };
    let (_server, meters) = call_through(&pipeline).await;
    let [of_ears, of_voice] = &meters[..] else { panic!("{} meters", meters.len()) };
    assert_passed_through(std::slice::from_ref(of_ears));
    if !OF_OTHER_FORMS.contains(&voice.vendor) {
        assert_passed_through(std::slice::from_ref(of_voice));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vendor_of_the_catalogue_holds_its_part_of_a_whole_call() {
    secrets::watch();
    let stages = [StageKind::SpeechToText, StageKind::LanguageModel, StageKind::TextToSpeech].map(played);
    let most = stages.iter().map(Vec::len).max().unwrap_or_default();
    let calls = (0..most).map(|n| {
        let [ears, mind, voice] = [0, 1, 2].map(|stage| stages[stage][n % stages[stage].len()]);
        holds_a_call(ears, mind, voice)
    });
    join_all(calls).await;
    secrets::assert_no_key_was_logged();
}

async fn converses(vendor: Played) {
    println!("{} holds a call", vendor.name());
    let pipeline = Pipeline { lines: "speech_to_speech: vendor".into(), accounts: vec![vendor.account("vendor")] };
    let (mut server, _registry, meters) = pipeline.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(false, 10).await;
    phone.play(&caller_says("hello there")).await;
    let heard = answer(&mut phone).await;
    assert!(voice::says(&heard, 8_000, "you said hello there"), "{}: {:?}", vendor.name(), voice::hear(&heard, 8_000));
    phone.line.hang_up();
    assert_eq!(phone.ended().await, EndCause::Local);
    let mut records = Vec::new();
    while let Ok(event) = server.events.try_recv() {
        if let CallEvent::TurnLatency { record, .. } = event {
            records.push(record);
        }
    }
    println!("{}: {records:?}", vendor.name());
    let [record] = records.as_slice() else { panic!("{}: {records:?}", vendor.name()) };
    let stages: Vec<_> = record.stages.iter().map(|(stage, _)| stage.name()).collect();
    for stage in ["caller_silent", "first_token", "first_audio", "first_packet"] {
        assert!(stages.contains(&stage), "{}: {stage} is not among {stages:?}", vendor.name());
    }
    // The only one that does not say when it took the caller for finished.
    assert_eq!(stages.contains(&"end_of_turn"), vendor.vendor != "gemini", "{}: {stages:?}", vendor.name());
    let waited = record.total().unwrap_or_default();
    assert!(!waited.is_zero() && waited < Duration::from_secs(3), "{}: {waited:?}", vendor.name());
    pipeline.assert_no_complaints();
    if !OF_OTHER_FORMS.contains(&vendor.vendor) || vendor.vendor == "openai" {
        assert_passed_through(&meters);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vendor_of_speech_to_speech_holds_a_whole_call() {
    secrets::watch();
    join_all(played(StageKind::SpeechToSpeech).into_iter().map(converses)).await;
    secrets::assert_no_key_was_logged();
}

fn openai_chat() -> Account {
    let fake = llm_openai::OpenAi { key: "key-of-openai", flavour: llm_openai::Flavour::OpenAi };
    account("openai", "key-of-openai", "/v1", fake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_of_speech_to_speech_ends_a_call_by_the_flow_s_exit() {
    let log = realtime_script::Log::default();
    let fake = realtime_openai::OpenAiRealtime { key: "key-of-openai", log: log.clone() };
    let accounts = vec![account("openai", "key-of-openai", "/v1", fake)];
    let pipeline = Pipeline { lines: "speech_to_speech: openai".into(), accounts };
    let (mut server, ..) = pipeline.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(false, 10).await;
    phone.play(&caller_says("stop")).await;
    phone.play(&voice::silence(Duration::from_millis(600), 8_000)).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
    pipeline.assert_no_complaints();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_goes_on_in_another_language_is_understood_from_the_first_word_of_it() {
    let ears = |name: &str| {
        let mut account = account("cartesia", "good-key", "", stt_cartesia::Cartesia);
        account.spec.name = name.into();
        account
    };
    let voice = account("elevenlabs", tts_elevenlabs::KEY, "", tts_elevenlabs::ElevenLabs);
    let accounts = vec![ears("ears"), ears("ears-de"), openai_chat(), voice];
    let lines = "speech_to_text: {use: ears, languages: {de: ears-de}}\nlanguage_model: openai\n\
                 text_to_speech: elevenlabs";
    let pipeline = Pipeline { lines: lines.into(), accounts };
    let (mut server, _registry, meters) = pipeline.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.play(&caller_says("guten danke")).await;
    let to = phone.while_talking(server.event("another provider", |e| match e {
        CallEvent::ProviderChanged { stage: "speech_to_text", to, .. } => Some(to.clone()),
        _ => None,
    }));
    assert_eq!(to.await, "ears-de");
    let said = phone.while_talking(server.event("the caller's words", |e| match e {
        CallEvent::CallerSaid { text, .. } => Some(text.expose().clone()),
        _ => None,
    }));
    assert_eq!(said.await, "guten danke");
    let heard = answer(&mut phone).await;
    assert!(voice::says(&heard, 8_000, "Hello there. How can I help?"), "{:?}", voice::hear(&heard, 8_000));
    let german = &pipeline.accounts[1].server;
    assert_eq!(german.requests()[0].param("language"), Some("de"));
    drop(phone);
    pipeline.assert_no_complaints();
    assert_passed_through(&meters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_an_agent_file_are_asked_of_the_vendor_once_and_those_of_a_call_each_time() {
    let agent = "agent: practice\nstart: hello\ntext_to_speech: openai\nnodes:\n  \
                 hello: {say: Good morning to you, next: number}\n  \
                 number: {say: \"Your number is {{ call.caller_number }} indeed\", next: bye}\n  \
                 bye: {hangup: done, say: Goodbye then, completed: true}\n";
    let voice = account("openai", tts_servers::KEY, "/v1", tts_servers::OpenAi);
    let place = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // A server that has just been started: it knows of the other's lines by the directory alone.
        let network = Network::new(voice.server.ca_pem().as_bytes()).unwrap();
        let cache = Arc::new(PhraseCache::open(place.path(), 1 << 20).unwrap());
        let registry = Registry::new(vec![voice.spec.clone()], network, Box::new(|_| None), Local::default());
        let tts = registry.with_phrases(cache).text_to_speech(&["openai".to_owned()]).unwrap();
        let equip = |engines: &mut Engines| engines.tts = tts;
        let server = TestServer::start_thinking(agent, &[], EgressPolicy::default(), equip, |_| ()).await;
        let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
        phone.heard = Some(Vec::new());
        phone.wait_for(true, 2).await;
        for _ in 0..20 {
            phone.pass_frame().await;
        }
        let heard = phone.heard.take().unwrap_or_default();
        assert!(voice::says(&heard, 8_000, "morning to you"), "{:?}", voice::hear(&heard, 8_000));
        assert_eq!(phone.ended().await, EndCause::Remote);
    }
    let mut asked: Vec<String> = voice
        .server
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| request.json()["input"].as_str().unwrap_or_default().to_owned())
        .collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        ["Good morning to you", "Goodbye then", "Your number is phone indeed", "Your number is phone indeed"]
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2, "nothing of the call is on the disk");
    assert_eq!(voice.server.complaints(), Vec::<String>::new());
}
