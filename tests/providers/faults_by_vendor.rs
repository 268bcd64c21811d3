//! Every fault of every vendor of the catalogue, by each of its interfaces: a call in which the vendor is the first of two
//! hears all of its words, from the first or from the next. What becomes of each stands in `tests/fakes/README.md`, which
//! is compared with what was seen. Many calls at once are in `faults`, with one vendor of each stage.

use crate::account::Account;
use crate::chaos::{Call, Expected, Heard, Matrix, Outcome, call, pitches};
use crate::fakes::Misbehaviour;
use crate::fakes::voice::{self, Voice};
use crate::faults::{ANSWER, LINE, OPENING, RATE, conversation_of, model_of, open, say, session, speaker_of, spoken};
use crate::faults::{stt_of, think, you_said};
use crate::roster::{Played, played};
use crate::secrets;
use offhook::base::{SampleRate, SegmentId};
use offhook::providers::format::AudioFormat;
use offhook::providers::realtime::{AnswerId, RealtimeEvent};
use offhook::providers::{SpeechToSpeech, SpeechToText, StageKind, SttEvent, SttRequest};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Cases at once: they mostly wait.
const AT_ONCE: usize = 20;

/// What can go wrong, with its heading in the table.
const COLUMNS: [(&str, Misbehaviour); 16] = [
    ("refuses", Misbehaviour::Refuse),
    ("stalls in TLS", Misbehaviour::StallInTls),
    ("401", Misbehaviour::Status { code: 401, retry_after: None }),
    ("429, retry-after", Misbehaviour::Status { code: 429, retry_after: Some(7) }),
    ("503", Misbehaviour::Status { code: 503, retry_after: None }),
    ("stalls after the upgrade", Misbehaviour::StallAfterUpgrade),
    ("silence", Misbehaviour::Silence),
    ("drips", Misbehaviour::SlowDrip(Duration::from_millis(20))),
    ("half a message", Misbehaviour::HalfMessage),
    ("closes in mid-word", Misbehaviour::CloseMidWord(1011)),
    ("wrong JSON", Misbehaviour::WrongJson),
    ("huge frame", Misbehaviour::HugeFrame((1 << 20) + 1)),
    ("unknown types", Misbehaviour::UnknownTypes),
    ("finals twice", Misbehaviour::DuplicateFinals),
    ("finals out of order", Misbehaviour::OutOfOrderFinals),
    ("audio after cancel", Misbehaviour::LateAudioAfterCancel),
];

/// What is to become of a call; `None` where the stage has no such thing.
fn expected(played: &Played, fault: Misbehaviour) -> Option<Expected> {
    let stage = played.stage;
    let has_finals = matches!(stage, StageKind::SpeechToText | StageKind::SpeechToSpeech);
    let has_audio = matches!(stage, StageKind::TextToSpeech | StageKind::SpeechToSpeech);
    let is_voice = stage == StageKind::TextToSpeech;
    // Samples alone, or a file of them: nothing in them can be no JSON, and silence before samples is silence.
    let is_bare = is_voice && played.vendor.starts_with("openai");
    let is_file = is_voice && played.vendor == "piper";
    match fault {
        Misbehaviour::UnknownTypes => Some(Expected::Tolerated),
        // It answers every message once, so that an answer that is held back is one that is missing.
        Misbehaviour::OutOfOrderFinals if played.vendor == "vosk" => Some(Expected::Moves),
        // Its messages have neither numbers nor times, and those of a transcript add to each other.
        Misbehaviour::DuplicateFinals if stage == StageKind::SpeechToText && played.name() == "cartesia" => None,
        Misbehaviour::OutOfOrderFinals if stage == StageKind::SpeechToText && played.vendor == "cartesia" => None,
        Misbehaviour::DuplicateFinals | Misbehaviour::OutOfOrderFinals => has_finals.then_some(Expected::Tolerated),
        Misbehaviour::LateAudioAfterCancel => has_audio.then_some(Expected::Tolerated),
        Misbehaviour::WrongJson if is_bare || is_file => Some(Expected::Tolerated),
        Misbehaviour::HugeFrame(_) if played.name() == "openai" && is_bare => Some(Expected::Tolerated),
        // White space before JSON is none of it.
        Misbehaviour::HugeFrame(_) if played.variant == "http" => Some(Expected::Tolerated),
        Misbehaviour::CloseMidWord(_) if is_bare || played.variant == "http" => Some(Expected::EndsEarly),
        // Nobody knows which of its words were heard.
        Misbehaviour::CloseMidWord(_) | Misbehaviour::HalfMessage if is_file => Some(Expected::Repeats),
        _ => Some(Expected::Moves),
    }
}

/// Runs every fault of every vendor of a stage in front of the vendor `next`; `call` says what a call does in which fault.
fn every_fault(stage: StageKind, next: &str, words: &str, call: impl Fn(Misbehaviour) -> (Call, String)) {
    secrets::watch();
    let vendors = played(stage);
    let next = *vendors.iter().find(|played| played.name() == next).expect("a vendor that is played");
    let account = |played: Played, name: &'static str| move || -> Account { played.account(name) };
    let fallback = Arc::new(account(next, "next"));
    let mut matrix = Matrix::of_calls(1, AT_ONCE, stage.name(), Arc::new(account(next, "first")), fallback);
    matrix.warm_up(words, &call(Misbehaviour::Refuse).0);
    for played in &vendors {
        for (_, fault) in COLUMNS {
            if let Some(expected) = expected(played, fault) {
                let (call, words) = call(fault);
                matrix.fault(fault, expected, &words, &call);
                matrix.of(account(*played, "first"), &format!(" of {}", played.name()));
            }
        }
    }
    let outcomes = matrix.finish();
    secrets::assert_no_key_was_logged();
    let seen = table(&vendors, &outcomes);
    println!("{seen}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes/README.md");
    let written = std::fs::read_to_string(file).expect("the table of faults");
    assert!(written.contains(&seen), "write into tests/fakes/README.md what was seen:\n{seen}");
}

/// What was seen, in Markdown.
fn table(vendors: &[Played], outcomes: &[Outcome]) -> String {
    let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut seen = row(std::iter::once("").chain(COLUMNS.iter().map(|(heading, _)| *heading)).collect());
    seen += &format!("|{}\n", "---|".repeat(COLUMNS.len() + 1));
    for played in vendors {
        let name = played.name();
        let cells = COLUMNS.iter().map(|(_, fault)| {
            let case = format!("{fault:?} of {name}");
            outcomes.iter().find(|outcome| outcome.name == case).map_or("", |outcome| match outcome.expected {
                Expected::Moves | Expected::AllMove => "next",
                Expected::Repeats => "again",
                Expected::EndsEarly => "short",
                Expected::Tolerated | Expected::Either => "same",
            })
        });
        seen += &row(std::iter::once(name.as_str()).chain(cells).collect());
    }
    seen
}

/// What the caller says.
const WORDS: &str = "table for two";

/// Two utterances, each of which is heard once.
async fn listen(stt: Arc<dyn SpeechToText>) -> Result<Heard, String> {
    let line = AudioFormat::MULAW;
    let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), Duration::from_millis(100)) };
    let (mut stream, mut events) = stt.open(request).map_err(|error| error.to_string())?;
    let mut samples = voice::silence(Duration::from_millis(120), RATE);
    samples.extend(Voice::default().speak(WORDS, RATE));
    samples.extend(voice::silence(Duration::from_millis(80), RATE));
    let mut heard = Heard::default();
    for segment in [SegmentId(1), SegmentId(2)] {
        stream.start(segment);
        samples.chunks(160).for_each(|frame| stream.push(frame));
        stream.finish(segment);
        let asked = Instant::now();
        heard.words = loop {
            match events.recv().await {
                Some(SttEvent::Final { segment: of, text, .. }) if of == segment => break text.into_exposed(),
                Some(SttEvent::Failed { error, .. }) => return Err(error.to_string()),
                Some(_) => {}
                None => return Err("the stream ended".into()),
            }
        };
        if heard.words != WORDS {
            return Err(format!("{segment:?} is heard as {:?}", heard.words));
        }
        heard.first = heard.first.max(asked.elapsed());
    }
    heard.whole = heard.first;
    Ok(heard)
}

#[test]
fn every_fault_of_every_recogniser_is_made_up_for() {
    let listening = call(|registry, names| async move { listen(stt_of(&registry, &names)).await });
    every_fault(StageKind::SpeechToText, "deepgram", WORDS, |_| (Arc::clone(&listening), WORDS.into()));
}

#[test]
fn every_fault_of_every_language_model_is_made_up_for() {
    let asking = call(|registry, names| async move { think(model_of(&registry, &names), "Hello?").await });
    every_fault(StageKind::LanguageModel, "anthropic", ANSWER, |_| (Arc::clone(&asking), ANSWER.into()));
}

#[test]
fn every_fault_of_every_voice_is_made_up_for() {
    let wanted = pitches(LINE.split_whitespace().map(voice::pitch));
    let saying = call(|registry, names| async move { say(speaker_of(&registry, &names).as_ref(), LINE).await });
    // What was cancelled is late; the next line is heard alone.
    let cancelling = call(|registry, names| async move {
        let tts = speaker_of(&registry, &names);
        let mut cancelled = tts.speak(spoken(LINE)).map_err(|error| error.to_string())?;
        cancelled.recv().await;
        drop(cancelled);
        say(tts.as_ref(), LINE).await
    });
    every_fault(StageKind::TextToSpeech, "cartesia", &wanted, |fault| {
        let is_late = fault == Misbehaviour::LateAudioAfterCancel;
        (Arc::clone(if is_late { &cancelling } else { &saying }), wanted.clone())
    });
}

/// The opening and the answer to the caller's word, which comes behind the opening or into it.
async fn converse(vendor: Arc<dyn SpeechToSpeech>, interrupts: bool) -> Result<Heard, String> {
    let (mut stream, mut events) = vendor.open(session()).map_err(|error| error.to_string())?;
    let mut hello = Voice::default().speak("hello", RATE);
    hello.extend(voice::silence(Duration::from_millis(400), RATE));
    let (mut heard, mut answer, mut asked) = (Heard::default(), AnswerId::default(), None::<Instant>);
    loop {
        let mut is_his_turn = false;
        match events.recv().await {
            Some(RealtimeEvent::Audio { answer: of, samples }) => {
                if of != answer {
                    answer = of;
                    heard.samples.clear();
                    heard.first = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
                }
                heard.samples.extend(samples);
                is_his_turn = interrupts;
            }
            Some(RealtimeEvent::AudioEnded { .. }) => {
                let words = voice::hear(&heard.samples, RATE);
                if pitches(words.iter().map(|(pitch, ..)| *pitch)).starts_with(&you_said()) {
                    heard.whole = heard.first;
                    return Ok(heard);
                }
                is_his_turn = true;
            }
            Some(RealtimeEvent::FellOver { .. }) => {
                heard.samples.clear();
                asked = None;
            }
            Some(RealtimeEvent::Failed(error)) => return Err(error.to_string()),
            Some(_) => {}
            None => return Err("the session ended".into()),
        }
        if is_his_turn && asked.is_none() {
            asked = Some(Instant::now());
            for frame in hello.chunks(160) {
                stream.push(frame);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[test]
fn every_fault_of_every_vendor_of_speech_to_speech_is_made_up_for() {
    let opening = pitches(OPENING.split_whitespace().map(voice::pitch));
    let answer = pitches("you said hello".split(' ').map(voice::pitch));
    let listening = call(|registry, names| async move { open(conversation_of(&registry, &names)).await });
    let answering = call(|registry, names| async move { converse(conversation_of(&registry, &names), false).await });
    let interrupting = call(|registry, names| async move { converse(conversation_of(&registry, &names), true).await });
    every_fault(StageKind::SpeechToSpeech, "deepgram", &opening, |fault| match fault {
        Misbehaviour::DuplicateFinals | Misbehaviour::OutOfOrderFinals => (Arc::clone(&answering), answer.clone()),
        Misbehaviour::LateAudioAfterCancel => (Arc::clone(&interrupting), answer.clone()),
        _ => (Arc::clone(&listening), opening.clone()),
    });
}
