//! Vendors that fail in every way there is, under fifty calls at once: nobody is stuck, the next vendor answers in time,
//! and nothing is left behind. Our adapters and their order of fallbacks over TLS, against the fakes; what a caller
//! notices of it is in `faults_in_calls`, over SIP and RTP.

use crate::account::{Account, account};
use crate::chaos::{Expected, FAULTS, Heard, Matrix, REFUSALS, TOLERATED, call};
use crate::fakes::realtime_deepgram::DeepgramAgent;
use crate::fakes::realtime_openai::OpenAiRealtime;
use crate::fakes::realtime_script::Log;
use crate::fakes::voice::{self, Voice};
use crate::fakes::{Misbehaviour, llm_anthropic, llm_openai, plain, tts_cartesia, tts_deepgram, tts_elevenlabs};
use offhook::base::chat::{Message, Prompt};
use offhook::base::{Pii, SampleRate, SegmentId};
use offhook::providers::format::AudioFormat;
use offhook::providers::realtime::{RealtimeEvent, RealtimeRequest, TurnsBy};
use offhook::providers::registry::{Local, Registry};
use offhook::providers::{
    LanguageModel, Network, SpeakRequest, SpeechStream, SpeechToSpeech, SpeechToText, SttEvent, SttRequest,
    TextToSpeech, Thought,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const RATE: u32 = 8_000;
const FRAME: Duration = Duration::from_millis(20);
/// What the recognisers take for [`plain::WORDS`].
const SPEECH: Duration = Duration::from_millis(1_100);
/// A word of the caller's.
const SHORT: Duration = Duration::from_millis(300);
/// The age at which the connections of a vendor that seemed well fail.
const SOON: Duration = Duration::from_secs(1);

fn stt(vendor: &'static str) -> Account {
    match vendor {
        "assemblyai" => account(vendor, "good-key", "", plain::AssemblyAi),
        "openai" => account(vendor, "good-key", "/v1", plain::OpenAi),
        _ => account(vendor, "good-key", "", plain::Deepgram),
    }
}

pub fn stt_of(registry: &Registry, names: &[String]) -> Arc<dyn SpeechToText> {
    registry.speech_to_text(names).expect("recognisers")
}

/// Segments of speech of this length, in this pace, and the words of the last.
async fn listen(stt: Arc<dyn SpeechToText>, segments: u32, speech: Duration, pace: Duration) -> Result<Heard, String> {
    let line = AudioFormat::MULAW;
    let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), Duration::from_millis(100)) };
    let (mut stream, mut events) = stt.open(request).map_err(|error| error.to_string())?;
    let samples = voice::silence(speech, RATE);
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

/// A segment with a pause, and the words of the whole.
async fn resume(stt: Arc<dyn SpeechToText>) -> Result<String, String> {
    let line = AudioFormat::MULAW;
    let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), Duration::from_millis(100)) };
    let (mut stream, mut events) = stt.open(request).map_err(|error| error.to_string())?;
    let samples = voice::silence(SPEECH, RATE);
    stream.start(SegmentId(1));
    samples.chunks(160).for_each(|frame| stream.push(frame));
    // What is asked for before there is a connection is asked for once.
    while !matches!(events.recv().await, Some(SttEvent::Partial { .. }) | None) {}
    stream.finish(SegmentId(1));
    stream.start(SegmentId(1));
    samples.chunks(160).for_each(|frame| stream.push(frame));
    stream.finish(SegmentId(1));
    loop {
        match events.recv().await {
            Some(SttEvent::Final { text, .. }) => return Ok(text.into_exposed()),
            Some(SttEvent::Failed { error, .. }) => return Err(error.to_string()),
            Some(_) => {}
            None => return Err("the stream ended".into()),
        }
    }
}

#[tokio::test]
async fn words_before_a_pause_that_are_completed_behind_those_after_it_are_told_first_and_once() {
    for fault in [Misbehaviour::OutOfOrderFinals, Misbehaviour::DuplicateFinals] {
        let Account { server, spec } = stt("openai");
        server.misbehave(fault);
        let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
        let names = [spec.name.clone()];
        let registry = Registry::new(vec![spec], network, Box::new(|_| None), Local::default());
        let words = resume(stt_of(&registry, &names)).await;
        assert_eq!(words, Ok(format!("{} {}", plain::WORDS, plain::AFTER_A_PAUSE)), "{fault:?}");
    }
}

#[test]
fn every_fault_of_a_recogniser_is_made_up_for_by_the_next() {
    let words = plain::WORDS;
    let mut matrix = Matrix::new("speech_to_text", || stt("deepgram"), || stt("assemblyai"));
    let one = call(|registry, names| async move { listen(stt_of(&registry, &names), 1, SPEECH, Duration::ZERO).await });
    matrix.warm_up(words, &one);
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        matrix.fault(*fault, *expected, words, &one);
    }
    // A word as short as "yes": too little audio for a vendor to owe an answer, and the line has heard somebody speak.
    let short =
        call(|registry, names| async move { listen(stt_of(&registry, &names), 1, SHORT, Duration::ZERO).await });
    for fault in [Misbehaviour::Silence, Misbehaviour::StallAfterUpgrade] {
        matrix.fault(fault, Expected::Moves, words, &short);
        matrix.of(|| stt("deepgram"), " of a short word");
    }
    matrix.finish();
}

#[test]
fn calls_whose_recogniser_fails_after_a_while_all_move_over_and_lose_no_word() {
    let mut matrix = Matrix::new("speech_to_text, later", || stt("deepgram"), || stt("assemblyai"));
    for fault in [Misbehaviour::CloseMidWord(1011), Misbehaviour::StallAfterUpgrade] {
        let three = call(|registry, names| async move {
            let heard = listen(stt_of(&registry, &names), 3, SPEECH, FRAME).await?;
            if heard.moved { Ok(heard) } else { Err("it did not move over".into()) }
        });
        matrix.later(SOON, fault, Expected::AllMove, plain::WORDS, &three);
    }
    matrix.finish();
}

/// What the models say to "Hello?".
pub const ANSWER: &str = "Hello there. How can I help?";
/// The longest that an answer may take to fail.
const LONGEST: Duration = Duration::from_secs(5);
/// The time between two octets of a drip.
const DRIP: Duration = Duration::from_millis(20);

fn model(vendor: &'static str) -> Account {
    match vendor {
        "anthropic" => account(vendor, "key", "/v1", llm_anthropic::Anthropic { key: "key" }),
        _ => account(vendor, "key", "/v1", llm_openai::OpenAi { key: "key", flavour: llm_openai::Flavour::OpenAi }),
    }
}

pub fn model_of(registry: &Registry, names: &[String]) -> Arc<dyn LanguageModel> {
    registry.language_model(names, None).expect("models")
}

pub fn prompt(words: &str) -> Arc<Prompt> {
    Arc::new(Prompt {
        instructions: "You answer a clinic's telephone.".into(),
        messages: vec![Message::Caller(Pii::new(words.into()))],
        tools: Vec::new(),
        output_tokens_max: 0,
    })
}

pub async fn think(model: Arc<dyn LanguageModel>, words: &str) -> Result<Heard, String> {
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

#[test]
fn every_fault_of_a_language_model_is_made_up_for_by_the_next() {
    let mut matrix = Matrix::new("language_model", || model("openai"), || model("anthropic"));
    let ask = call(|registry, names| async move { think(model_of(&registry, &names), "Hello?").await });
    matrix.warm_up(ANSWER, &ask);
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        matrix.fault(*fault, *expected, ANSWER, &ask);
    }
    matrix.finish();
}

#[test]
fn an_answer_that_breaks_off_says_so_at_once_and_the_next_one_is_whole() {
    let mut matrix = Matrix::new("language_model, later", || model("openai"), || model("anthropic"));
    let ask = call(|registry, names| async move { think(model_of(&registry, &names), "Hello?").await });
    matrix.warm_up(ANSWER, &ask);
    let both = call(|registry, names| async move {
        let model = model_of(&registry, &names);
        // One that fails before its first word is the second's to answer, and goes on for ten seconds.
        let mut heard = Heard::default();
        let long = tokio::time::timeout(SOON + LONGEST, read(&model, "talk long", &mut heard)).await;
        if heard.words.is_empty() {
            return Err(format!("nothing was said: {long:?}"));
        }
        think(model, "Hello?").await
    });
    for fault in [Misbehaviour::HalfMessage, Misbehaviour::CloseMidWord(1011), Misbehaviour::SlowDrip(DRIP)] {
        matrix.later(SOON, fault, Expected::Moves, ANSWER, &both);
    }
    matrix.finish();
}

fn speaker(vendor: &'static str) -> Account {
    match vendor {
        "cartesia" => account(vendor, tts_cartesia::KEY, "", tts_cartesia::Cartesia),
        "deepgram" => account(vendor, tts_deepgram::KEY, "", tts_deepgram::Deepgram),
        _ => account(vendor, tts_elevenlabs::KEY, "", tts_elevenlabs::ElevenLabs),
    }
}

pub fn speaker_of(registry: &Registry, names: &[String]) -> Arc<dyn TextToSpeech> {
    registry.text_to_speech(names).expect("voices")
}

pub const OPENING: &str = "good morning how may I help";
pub const LINE: &str = "Good morning, how may I help you?";

pub fn spoken(text: &str) -> SpeakRequest {
    SpeakRequest { line: AudioFormat::MULAW, ..SpeakRequest::new(text, SampleRate(RATE)) }
}

/// All that is said; a word that was broken off and said again counts once.
pub async fn say(tts: &dyn TextToSpeech, text: &str) -> Result<Heard, String> {
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

#[test]
fn every_fault_of_a_voice_is_made_up_for_by_the_next() {
    let wanted = crate::chaos::pitches(LINE.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("text_to_speech", || speaker("elevenlabs"), || speaker("cartesia"));
    let line = call(|registry, names| async move { say(speaker_of(&registry, &names).as_ref(), LINE).await });
    matrix.warm_up(&wanted, &line);
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        matrix.fault(*fault, *expected, &wanted, &line);
    }
    // What was cancelled is late; the next line is heard alone.
    let cancelled = call(|registry, names| async move {
        let tts = speaker_of(&registry, &names);
        let mut cancelled = tts.speak(spoken(LINE)).map_err(|error| error.to_string())?;
        cancelled.recv().await;
        drop(cancelled);
        say(tts.as_ref(), LINE).await
    });
    matrix.fault(Misbehaviour::LateAudioAfterCancel, Expected::Either, &wanted, &cancelled);
    matrix.of(|| speaker("deepgram"), " of deepgram");
    matrix.finish();
}

#[test]
fn a_voice_that_fails_after_a_while_is_replaced_in_every_call() {
    let wanted = crate::chaos::pitches(LINE.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("text_to_speech, later", || speaker("elevenlabs"), || speaker("cartesia"));
    let line = call(|registry, names| async move { say(speaker_of(&registry, &names).as_ref(), LINE).await });
    matrix.warm_up(&wanted, &line);
    let both = call(|registry, names| async move {
        let tts = speaker_of(&registry, &names);
        say(tts.as_ref(), LINE).await?;
        tokio::time::sleep(SOON).await;
        say(tts.as_ref(), LINE).await
    });
    for fault in [Misbehaviour::CloseMidWord(1011), Misbehaviour::StallAfterUpgrade, Misbehaviour::SlowDrip(DRIP)] {
        matrix.later(SOON, fault, Expected::Either, &wanted, &both);
    }
    matrix.finish();
}

fn conversation(vendor: &'static str) -> Account {
    let log = Log::default();
    match vendor {
        "deepgram" => account(vendor, "key", "/v1", DeepgramAgent { key: "key", log }),
        _ => account(vendor, "key", "/v1", OpenAiRealtime { key: "key", log }),
    }
}

pub fn conversation_of(registry: &Registry, names: &[String]) -> Arc<dyn SpeechToSpeech> {
    registry.speech_to_speech(names).expect("vendors of speech to speech")
}

pub fn session() -> RealtimeRequest {
    RealtimeRequest {
        opening: Some(OPENING.into()),
        ..RealtimeRequest::new(SampleRate(RATE), AudioFormat::MULAW, TurnsBy::Vendor, "Be kind.")
    }
}

/// The agent's opening, as it is heard.
pub async fn open(vendor: Arc<dyn SpeechToSpeech>) -> Result<Heard, String> {
    let asked = Instant::now();
    let (_stream, mut events) = vendor.open(session()).map_err(|error| error.to_string())?;
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

#[test]
fn every_fault_of_a_vendor_of_speech_to_speech_is_made_up_for_by_the_next() {
    let wanted = crate::chaos::pitches(OPENING.split_whitespace().map(voice::pitch));
    let mut matrix = Matrix::new("speech_to_speech", || conversation("openai"), || conversation("deepgram"));
    let opening = call(|registry, names| async move { open(conversation_of(&registry, &names)).await });
    matrix.warm_up(&wanted, &opening);
    for (fault, expected) in FAULTS.iter().chain(&REFUSALS).chain(&TOLERATED) {
        matrix.fault(*fault, *expected, &wanted, &opening);
    }
    let turn = call(|registry, names| async move { converse(conversation_of(&registry, &names), false).await });
    matrix.fault(Misbehaviour::DuplicateFinals, Expected::Either, &you_said(), &turn);
    matrix.of(|| conversation("openai"), " of a turn");
    matrix.finish();
}

/// Turns of the caller at most, until the call has moved over.
const TURNS_MAX: usize = 30;
/// Between the end of an answer and the caller's next turn.
const BREATH: Duration = Duration::from_millis(100);

/// How the answer to every turn begins.
pub fn you_said() -> String {
    crate::chaos::pitches("you said".split(' ').map(voice::pitch))
}

/// Turns of the caller by our own turn-taking, each of which is answered: two, or until the session has moved to another
/// vendor and answered there.
async fn converse(vendor: Arc<dyn SpeechToSpeech>, moves: bool) -> Result<Heard, String> {
    let request = RealtimeRequest { turns: TurnsBy::Local, opening: None, ..session() };
    let (mut stream, mut events) = vendor.open(request).map_err(|error| error.to_string())?;
    let mut hello = Voice::default().speak("hello", RATE);
    hello.extend(voice::silence(SHORT, RATE));
    let mut heard = Heard::default();
    for turn in 1..=TURNS_MAX {
        let was_moved = heard.moved;
        hello.chunks(160).for_each(|frame| stream.push(frame));
        stream.commit();
        let (asked, mut first, mut said) = (Instant::now(), None, 0);
        loop {
            match events.recv().await {
                Some(RealtimeEvent::Audio { samples, .. }) => {
                    first.get_or_insert_with(|| asked.elapsed());
                    heard.samples.extend(samples);
                }
                Some(RealtimeEvent::AudioEnded { .. }) => {
                    let words = voice::hear(&std::mem::take(&mut heard.samples), RATE);
                    heard.words = crate::chaos::pitches(words.iter().map(|(pitch, ..)| *pitch));
                    // One that was cut off by the end of its connection is said anew.
                    if heard.words.starts_with(&you_said()) {
                        break;
                    }
                }
                Some(RealtimeEvent::CallerSaid(_)) => said += 1,
                Some(RealtimeEvent::FellOver { from, to }) => {
                    heard.samples.clear();
                    heard.moved |= from != to;
                }
                Some(RealtimeEvent::Failed(error)) => return Err(error.to_string()),
                Some(_) => {}
                None => return Err("the session ended".into()),
            }
        }
        heard.first = heard.first.max(first.unwrap_or_default());
        heard.words = you_said();
        tokio::time::sleep(BREATH).await;
        while let Ok(event) = events.try_recv() {
            said += u32::from(matches!(event, RealtimeEvent::CallerSaid(_)));
        }
        if !moves && said != 1 {
            return Err(format!("turn {turn} has {said} transcripts"));
        }
        if if moves { was_moved } else { turn == 2 } {
            return Ok(heard);
        }
    }
    // One that began after the first vendor was known to be ill has been with the second from the start.
    Ok(heard)
}

#[test]
fn conversations_whose_vendor_fails_after_a_while_all_move_over_and_every_turn_is_answered() {
    let mut matrix = Matrix::new("speech_to_speech, later", || conversation("openai"), || conversation("deepgram"));
    let turns = call(|registry, names| async move { converse(conversation_of(&registry, &names), false).await });
    matrix.warm_up(&you_said(), &turns);
    let until_moved = call(|registry, names| async move { converse(conversation_of(&registry, &names), true).await });
    for fault in [Misbehaviour::CloseMidWord(1011), Misbehaviour::StallAfterUpgrade, Misbehaviour::SlowDrip(DRIP)] {
        matrix.later(SOON / 2, fault, Expected::AllMove, &you_said(), &until_moved);
    }
    matrix.finish();
}
