//! Vendors that fail in every way there is, under fifty calls at once: nobody is stuck, the next vendor answers in time,
//! and nothing is left behind. Our adapters and their order of fallbacks over TLS, against the fakes; what a caller
//! notices of it is in `provider_chaos_calls`, over SIP and RTP.

use crate::chaos::{Expected, FAULTS, Heard, Matrix, REFUSALS, TOLERATED, account};
use crate::fakes::realtime_deepgram::DeepgramAgent;
use crate::fakes::realtime_openai::OpenAiRealtime;
use crate::fakes::realtime_script::Log;
use crate::fakes::voice;
use crate::fakes::{
    FakeServer, Misbehaviour, llm_anthropic, llm_openai, plain, tts_cartesia, tts_deepgram, tts_elevenlabs,
};
use offhook::base::chat::{Message, Prompt};
use offhook::base::{Pii, SampleRate, SegmentId};
use offhook::providers::format::AudioFormat;
use offhook::providers::realtime::{RealtimeEvent, RealtimeRequest, TurnsBy};
use offhook::providers::registry::Registry;
use offhook::providers::{
    LanguageModel, SpeakRequest, SpeechStream, SpeechToSpeech, SpeechToText, SttEvent, SttRequest, TextToSpeech,
    Thought,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RATE: u32 = 8_000;
const FRAME: Duration = Duration::from_millis(20);
/// What the recognisers take for [`plain::WORDS`].
const SPEECH: Duration = Duration::from_millis(1_100);
/// The age at which the connections of a vendor that seemed well fail.
const SOON: Duration = Duration::from_secs(1);

fn stt(vendor: &'static str) -> crate::chaos::Account {
    match vendor {
        "assemblyai" => account(vendor, "good-key", "", plain::AssemblyAi),
        _ => account(vendor, "good-key", "", plain::Deepgram),
    }
}

fn stt_of(registry: &Registry, names: &[String]) -> Arc<dyn SpeechToText> {
    registry.speech_to_text(names).expect("recognisers")
}

/// Segments of speech, in this pace, and the words of the last.
async fn listen(stt: Arc<dyn SpeechToText>, segments: u32, pace: Duration) -> Result<Heard, String> {
    let line = AudioFormat::MULAW;
    let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), Duration::from_millis(100)) };
    let (mut stream, mut events) = stt.open(request).map_err(|error| error.to_string())?;
    let samples = voice::silence(SPEECH, RATE);
    let mut heard = Heard::default();
    for segment in (1..=segments).map(SegmentId) {
        stream.start(segment);
        for frame in samples.chunks(160) {
            stream.push(frame);
            tokio::time::sleep(pace).await;
        }
        stream.finish(segment);
        let asked = Instant::now();
        heard.words = loop {
            match events.recv().await {
                Some(SttEvent::Final { text, .. }) => break text.into_exposed(),
                Some(SttEvent::FellOver { .. }) => heard.moved = true,
                Some(SttEvent::Failed { error, .. }) => return Err(error.to_string()),
                Some(_) => {}
                None => return Err("the stream ended".into()),
            }
        };
        if heard.words != plain::WORDS {
            return Err(format!("{segment:?} is heard as {:?}", heard.words));
        }
        heard.first = heard.first.max(asked.elapsed());
    }
    heard.whole = heard.first;
    Ok(heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_recogniser_is_made_up_for_by_the_next() {
    let words = plain::WORDS;
    let mut matrix = Matrix::new("speech_to_text", || stt("deepgram"), || stt("assemblyai"));
    let call = |registry: Arc<Registry>, names: Vec<String>| async move {
        listen(stt_of(&registry, &names), 1, Duration::ZERO).await
    };
    matrix.warm_up(words, call).await;
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            listen(stt_of(&registry, &names), 1, Duration::ZERO).await
        };
        matrix.run(|primary| primary.misbehave(*fault), &format!("{fault:?}"), *expected, words, call).await;
    }
    matrix.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_whose_recogniser_fails_after_a_while_all_move_over_and_lose_no_word() {
    let mut matrix = Matrix::new("speech_to_text, later", || stt("deepgram"), || stt("assemblyai"));
    for fault in [Misbehaviour::CloseMidWord(1011), Misbehaviour::StallAfterUpgrade] {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            let heard = listen(stt_of(&registry, &names), 3, FRAME).await?;
            if heard.moved { Ok(heard) } else { Err("it did not move over".into()) }
        };
        let spoil = |primary: &FakeServer| primary.misbehave_after(SOON, fault);
        matrix.run(spoil, &format!("{fault:?}"), Expected::Either, plain::WORDS, call).await;
    }
    matrix.finish();
}

fn model(vendor: &'static str) -> crate::chaos::Account {
    match vendor {
        "anthropic" => account(vendor, "key", "/v1", llm_anthropic::Anthropic { key: "key" }),
        _ => account(vendor, "key", "/v1", llm_openai::OpenAi { key: "key", flavour: llm_openai::Flavour::OpenAi }),
    }
}

fn model_of(registry: &Registry, names: &[String]) -> Arc<dyn LanguageModel> {
    registry.language_model(names, None).expect("models")
}

fn prompt(words: &str) -> Arc<Prompt> {
    Arc::new(Prompt {
        instructions: "You answer a clinic's telephone.".into(),
        messages: vec![Message::Caller(Pii::new(words.into()))],
        tools: Vec::new(),
        output_tokens_max: 0,
    })
}

async fn think(model: Arc<dyn LanguageModel>, words: &str) -> Result<Heard, String> {
    let mut heard = Heard::default();
    read(&model, words, &mut heard).await?;
    Ok(heard)
}

async fn read(model: &Arc<dyn LanguageModel>, words: &str, heard: &mut Heard) -> Result<(), String> {
    let asked = Instant::now();
    let mut stream = model.think(prompt(words)).map_err(|error| error.to_string())?;
    loop {
        match stream.recv().await {
            Some(Ok(Thought::Text(words))) => {
                if heard.words.is_empty() {
                    heard.first = asked.elapsed();
                }
                heard.words.push_str(words.expose());
            }
            Some(Ok(Thought::Call(_))) => {}
            Some(Ok(Thought::Finished { .. })) => {
                heard.whole = asked.elapsed();
                return Ok(());
            }
            // A model can not be asked for the rest of another's sentence: the call says what it has and asks anew.
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the stream ended".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_language_model_is_made_up_for_by_the_next() {
    let mut matrix = Matrix::new("language_model", || model("openai"), || model("anthropic"));
    let call =
        |registry: Arc<Registry>, names: Vec<String>| async move { think(model_of(&registry, &names), "Hello?").await };
    matrix.warm_up("Hello there. How can I help?", call).await;
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            think(model_of(&registry, &names), "Hello?").await
        };
        let words = "Hello there. How can I help?";
        matrix.run(|primary| primary.misbehave(*fault), &format!("{fault:?}"), *expected, words, call).await;
    }
    matrix.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_says_so_at_once_and_the_next_one_is_whole() {
    let mut matrix = Matrix::new("language_model, later", || model("openai"), || model("anthropic"));
    let call =
        |registry: Arc<Registry>, names: Vec<String>| async move { think(model_of(&registry, &names), "Hello?").await };
    matrix.warm_up("Hello there. How can I help?", call).await;
    for fault in [Misbehaviour::HalfMessage, Misbehaviour::CloseMidWord(1011)] {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            let model = model_of(&registry, &names);
            // One that fails before its first word is the second's to answer, and goes on for ten seconds.
            let mut heard = Heard::default();
            let long = tokio::time::timeout(SOON + crate::chaos::MOVED, read(&model, "talk long", &mut heard)).await;
            if heard.words.is_empty() {
                return Err(format!("nothing was said: {long:?}"));
            }
            think(model, "Hello?").await
        };
        let spoil = |primary: &FakeServer| primary.misbehave_after(SOON, fault);
        let words = "Hello there. How can I help?";
        matrix.run(spoil, &format!("{fault:?}"), Expected::Either, words, call).await;
    }
    matrix.finish();
}

fn speaker(vendor: &'static str) -> crate::chaos::Account {
    match vendor {
        "cartesia" => account(vendor, tts_cartesia::KEY, "", tts_cartesia::Cartesia),
        "deepgram" => account(vendor, tts_deepgram::KEY, "", tts_deepgram::Deepgram),
        _ => account(vendor, tts_elevenlabs::KEY, "", tts_elevenlabs::ElevenLabs),
    }
}

fn speaker_of(registry: &Registry, names: &[String]) -> Arc<dyn TextToSpeech> {
    registry.text_to_speech(names).expect("voices")
}

const OPENING: &str = "good morning how may I help";
const LINE: &str = "Good morning, how may I help you?";

fn spoken(text: &str) -> SpeakRequest {
    SpeakRequest { line: AudioFormat::MULAW, ..SpeakRequest::new(text, SampleRate(RATE)) }
}

/// All that is said; a word that was broken off and said again counts once.
async fn say(tts: &dyn TextToSpeech, text: &str) -> Result<Heard, String> {
    let asked = Instant::now();
    let mut stream: SpeechStream = tts.speak(spoken(text)).map_err(|error| error.to_string())?;
    let mut heard = Heard::default();
    while let Some(item) = stream.recv().await {
        let chunk = item.map_err(|error| error.to_string())?;
        if heard.samples.is_empty() {
            heard.first = asked.elapsed();
        }
        heard.samples.extend(chunk.samples);
    }
    heard.whole = asked.elapsed();
    Ok(heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_voice_is_made_up_for_by_the_next() {
    let wanted = crate::chaos::pitches(LINE.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("text_to_speech", || speaker("elevenlabs"), || speaker("cartesia"));
    let call = |registry: Arc<Registry>, names: Vec<String>| async move {
        say(speaker_of(&registry, &names).as_ref(), LINE).await
    };
    matrix.warm_up(&wanted, call).await;
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            say(speaker_of(&registry, &names).as_ref(), LINE).await
        };
        matrix.run(|primary| primary.misbehave(*fault), &format!("{fault:?}"), *expected, &wanted, call).await;
    }
    matrix.primary = || speaker("deepgram");
    // What was cancelled is late; the next line is heard alone.
    let call = |registry: Arc<Registry>, names: Vec<String>| async move {
        let tts = speaker_of(&registry, &names);
        let mut cancelled = tts.speak(spoken(LINE)).map_err(|error| error.to_string())?;
        cancelled.recv().await;
        drop(cancelled);
        say(tts.as_ref(), LINE).await
    };
    let fault = Misbehaviour::LateAudioAfterCancel;
    matrix.run(|primary| primary.misbehave(fault), &format!("{fault:?}"), Expected::Either, &wanted, call).await;
    matrix.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_that_fails_after_a_while_is_replaced_in_every_call() {
    let wanted = crate::chaos::pitches(LINE.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("text_to_speech, later", || speaker("elevenlabs"), || speaker("cartesia"));
    let call = |registry: Arc<Registry>, names: Vec<String>| async move {
        say(speaker_of(&registry, &names).as_ref(), LINE).await
    };
    matrix.warm_up(&wanted, call).await;
    for fault in [Misbehaviour::CloseMidWord(1011), Misbehaviour::StallAfterUpgrade] {
        let call = |registry: Arc<Registry>, names: Vec<String>| async move {
            let tts = speaker_of(&registry, &names);
            say(tts.as_ref(), LINE).await?;
            tokio::time::sleep(SOON).await;
            say(tts.as_ref(), LINE).await
        };
        let spoil = |primary: &FakeServer| primary.misbehave_after(SOON, fault);
        matrix.run(spoil, &format!("{fault:?}"), Expected::Either, &wanted, call).await;
    }
    matrix.finish();
}

fn conversation(vendor: &'static str) -> crate::chaos::Account {
    let log = Log::default();
    match vendor {
        "deepgram" => account(vendor, "key", "/v1", DeepgramAgent { key: "key", log }),
        _ => account(vendor, "key", "/v1", OpenAiRealtime { key: "key", log }),
    }
}

fn conversation_of(registry: &Registry, names: &[String]) -> Arc<dyn SpeechToSpeech> {
    registry.speech_to_speech(names).expect("vendors of speech to speech")
}

/// The agent's opening, as it is heard.
async fn open(vendor: Arc<dyn SpeechToSpeech>) -> Result<Heard, String> {
    let request = RealtimeRequest {
        rate: SampleRate(RATE),
        line: AudioFormat::MULAW,
        turns: TurnsBy::Vendor,
        instructions: "Be kind.".into(),
        tools: Vec::new(),
        messages: Pii::new(Vec::new()),
        opening: Some(OPENING.into()),
        answer_due: false,
        voice: None,
        language: None,
    };
    let asked = Instant::now();
    let (_stream, mut events) = vendor.open(request).map_err(|error| error.to_string())?;
    let mut heard = Heard::default();
    loop {
        match events.recv().await {
            Some(RealtimeEvent::Audio { samples, .. }) => {
                if heard.samples.is_empty() {
                    heard.first = asked.elapsed();
                }
                heard.samples.extend(samples);
            }
            Some(RealtimeEvent::AudioEnded { .. }) => {
                heard.whole = asked.elapsed();
                return Ok(heard);
            }
            Some(RealtimeEvent::FellOver { .. }) => {
                // The opening is said anew.
                heard.samples.clear();
                heard.moved = true;
            }
            Some(RealtimeEvent::Failed(error)) => return Err(error.to_string()),
            Some(_) => {}
            None => return Err("the session ended".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_vendor_of_speech_to_speech_is_made_up_for_by_the_next() {
    let wanted = crate::chaos::pitches(OPENING.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("speech_to_speech", || conversation("openai"), || conversation("deepgram"));
    let call =
        |registry: Arc<Registry>, names: Vec<String>| async move { open(conversation_of(&registry, &names)).await };
    matrix.warm_up(&wanted, call).await;
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        matrix.run(|primary| primary.misbehave(*fault), &format!("{fault:?}"), *expected, &wanted, call).await;
    }
    matrix.finish();
}
