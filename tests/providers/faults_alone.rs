//! A vendor that nobody stands behind, and that says nothing any more while its transport lives: pings are answered, and
//! nothing else is. Every vendor of a call's ear or conversation is asked once more, over a fresh connection, and hears the
//! same; where that is of no use either, the caller hears the agent file's own words in time.

use crate::account::Account;
use crate::chaos::{pitches, served};
use crate::fakes::Misbehaviour;
use crate::fakes::voice::{self, Voice};
use crate::faults::{OPENING, RATE, conversation_of, session, stt_of};
use crate::pipelines::{CALLER, Pipeline, caller_says};
use crate::roster::{Played, played};
use crate::support::Phone;
use futures_util::future::join_all;
use offhook::base::{SampleRate, SegmentId};
use offhook::providers::format::AudioFormat;
use offhook::providers::limits::{PATIENCE, TURN_OPEN};
use offhook::providers::realtime::{RealtimeEvent, RealtimeRequest, TurnsBy};
use offhook::providers::registry::{Local, Registry};
use offhook::providers::{Network, SpeechToSpeech, SpeechToText, StageKind, SttEvent, SttRequest, SttStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const FRAME: Duration = Duration::from_millis(20);
/// From the caller's last word to the answer of a fresh connection, or to the vendor's being given up. The rest of 3 s is the
/// silence that ends a turn and the call's own words.
const GIVEN_UP: Duration = Duration::from_millis(2_500);
/// Somebody who waits for longer waits for nothing.
const STUCK: Duration = Duration::from_secs(20);
/// From the caller's last sound to the agent's first.
const HEARD: Duration = Duration::from_secs(3);

/// How long the threads of this process stood ready and were not served: so much is the machine's.
fn unserved() -> Duration {
    served().values().map(|served| served.waited).sum()
}

fn registry(account: &Account) -> (Registry, Vec<String>) {
    let network = Network::new(account.server.ca_pem().as_bytes()).expect("a network");
    let names = vec![account.spec.name.clone()];
    (Registry::new(vec![account.spec.clone()], network, Box::new(|_| None), Local::default()), names)
}

/// A second and more of words, which nobody takes for noise.
fn clear_speech(words: &str) -> Vec<i16> {
    let voice = Voice { word: Duration::from_millis(450), gap: Duration::from_millis(100) };
    [voice::silence(Duration::from_millis(120), RATE), voice.speak(words, RATE)].concat()
}

struct Ear {
    stream: Box<dyn SttStream>,
    events: mpsc::Receiver<SttEvent>,
}

impl Ear {
    fn open(stt: &Arc<dyn SpeechToText>) -> Self {
        let line = AudioFormat::MULAW;
        let request = SttRequest { line, ..SttRequest::new(SampleRate(RATE), Duration::from_millis(100)) };
        let (stream, events) = stt.open(request).expect("a stream");
        Self { stream, events }
    }

    /// What a segment is heard as, and after how long.
    async fn hear(&mut self, segment: u32, samples: &[i16]) -> (Result<String, &'static str>, Duration) {
        self.stream.start(SegmentId(segment));
        for frame in samples.chunks(160) {
            self.stream.push(frame);
            tokio::time::sleep(FRAME).await;
        }
        self.stream.finish(SegmentId(segment));
        let asked = Instant::now();
        let heard = loop {
            match self.events.recv().await {
                Some(SttEvent::Final { segment: of, text, .. }) if of.0 == segment => break Ok(text.into_exposed()),
                Some(SttEvent::Failed { error, .. }) => break Err(error.kind()),
                Some(_) => {}
                None => break Err("closed"),
            }
        };
        (heard, asked.elapsed())
    }
}

const WORDS: &str = "table for two";
/// Two streams, each of which replaces two connections that broke.
const CONNECTIONS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recogniser_that_falls_silent_is_asked_again_over_a_fresh_connection_that_hears_the_same() {
    let hears = |played: Played| async move {
        let account = played.account("alone");
        let (registry, names) = registry(&account);
        let mut ear = Ear::open(&stt_of(&registry, &names));
        let (speech, name) = (clear_speech(WORDS), played.name());
        assert_eq!(ear.hear(1, &speech).await.0.as_deref(), Ok(WORDS), "{name}");
        account.server.misbehave_on(account.server.connections(), Misbehaviour::Silence);
        let before = unserved();
        let (heard, after) = ear.hear(2, &speech).await;
        assert_eq!(heard.as_deref(), Ok(WORDS), "{name}");
        println!("{name}: {after:?}");
        assert!(after <= GIVEN_UP + unserved().saturating_sub(before), "{name}: {after:?}");
        assert_eq!(account.server.complaints(), Vec::<String>::new(), "{name}");
    };
    join_all(played(StageKind::SpeechToText).into_iter().map(hears)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recogniser_that_stays_silent_to_clear_speech_has_failed_in_time() {
    let fails = |played: Played| async move {
        let account = played.account("alone");
        account.server.misbehave(Misbehaviour::Silence);
        let (registry, names) = registry(&account);
        let mut ear = Ear::open(&stt_of(&registry, &names));
        let before = unserved();
        let (heard, after) = ear.hear(1, &clear_speech(WORDS)).await;
        let (name, connections) = (played.name(), account.server.connections());
        println!("{name}: {heard:?} after {after:?}, {connections} connections");
        // Vosk's server ends a connection that is asked for words.
        assert!(matches!(heard, Err("timeout" | "transient")), "{name}: {heard:?}");
        assert!(after <= GIVEN_UP + unserved().saturating_sub(before), "{name}: {after:?}");
        assert!(connections == 2 || played.vendor == "vosk" && connections <= CONNECTIONS, "{name}: {connections}");
    };
    join_all(played(StageKind::SpeechToText).into_iter().map(fails)).await;
}

/// A caller in a session: what it says goes with our own view of it, 20 ms at a time.
struct Caller {
    stream: Box<dyn offhook::providers::realtime::RealtimeStream>,
    events: mpsc::Receiver<RealtimeEvent>,
    turns: TurnsBy,
}

impl Caller {
    fn open(vendor: &Arc<dyn SpeechToSpeech>, turns: TurnsBy) -> Self {
        let (stream, events) = vendor.open(RealtimeRequest { turns, ..session() }).expect("a session");
        Self { stream, events, turns }
    }

    async fn pass(&mut self, frame: &[i16]) {
        self.stream.push(frame);
        self.stream.voice(frame.iter().any(|sample| *sample != 0), FRAME);
        tokio::time::sleep(FRAME).await;
    }

    async fn says(&mut self, samples: &[i16]) {
        for frame in samples.chunks(160) {
            self.pass(frame).await;
        }
        if self.turns == TurnsBy::Local {
            self.stream.commit();
        }
    }

    /// The next whole answer as its pitches, or why there is none; silence goes on meanwhile.
    async fn hears(&mut self) -> (Result<String, &'static str>, Duration) {
        let asked = Instant::now();
        let (mut samples, mut first) = (Vec::new(), None);
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = tokio::time::sleep(FRAME) => {
                    if asked.elapsed() > STUCK {
                        return (Err("stuck"), asked.elapsed());
                    }
                    self.stream.push(&[0; 160]);
                    self.stream.voice(false, FRAME);
                    continue;
                }
            };
            match event {
                Some(RealtimeEvent::Audio { samples: more, .. }) => {
                    first.get_or_insert_with(|| asked.elapsed());
                    samples.extend(more);
                }
                Some(RealtimeEvent::AudioEnded { .. }) => {
                    let words = pitches(voice::hear(&samples, RATE).iter().map(|(pitch, ..)| *pitch));
                    return (Ok(words), first.unwrap_or_default());
                }
                Some(RealtimeEvent::Failed(error)) => return (Err(error.kind()), asked.elapsed()),
                Some(_) => {}
                None => return (Err("closed"), asked.elapsed()),
            }
        }
    }
}

/// Each vendor by its own turn-taking, and by ours where it leaves that to us.
fn conversations() -> Vec<(Played, TurnsBy)> {
    let all = played(StageKind::SpeechToSpeech);
    let leaves_turns = |played: &&Played| ["openai", "gemini"].contains(&played.vendor);
    let local = all.iter().filter(leaves_turns).map(|played| (*played, TurnsBy::Local));
    all.iter().map(|played| (*played, TurnsBy::Vendor)).chain(local).collect()
}

/// A vendor that takes the turns, and does not report that the caller speaks, may be waiting for more as long as its pings are
/// answered.
fn given_up(vendor: &str, turns: TurnsBy) -> Duration {
    let reports = ["openai", "deepgram"].contains(&vendor);
    if reports || turns == TurnsBy::Local { GIVEN_UP } else { TURN_OPEN + (GIVEN_UP - PATIENCE) }
}

/// A vendor that nobody stands behind, a caller who has heard its opening words, and a name for both.
async fn opened(played: Played, turns: TurnsBy) -> (Account, Caller, String) {
    let account = played.account("alone");
    let (registry, names) = registry(&account);
    let mut caller = Caller::open(&conversation_of(&registry, &names), turns);
    let name = format!("{} with {turns:?}", played.name());
    assert_eq!(caller.hears().await.0, Ok(said(OPENING)), "{name}");
    (account, caller, name)
}

fn said(words: &str) -> String {
    pitches(words.split(' ').map(voice::pitch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_conversation_that_falls_silent_is_gone_on_with_over_a_fresh_session_that_hears_the_same() {
    let hears = |(played, turns): (Played, TurnsBy)| async move {
        let (account, mut caller, name) = opened(played, turns).await;
        // The last is that of the session; one of HTTP may stand before it.
        account.server.misbehave_on(account.server.connections(), Misbehaviour::Silence);
        let before = unserved();
        caller.says(&clear_speech("hello there")).await;
        let (answer, after) = caller.hears().await;
        println!("{name}: {answer:?} after {after:?}");
        assert_eq!(answer, Ok(said("you said hello there")), "{name}");
        assert!(after <= given_up(played.vendor, turns) + unserved().saturating_sub(before), "{name}: {after:?}");
        assert_eq!(account.server.complaints(), Vec::<String>::new(), "{name}");
    };
    join_all(conversations().into_iter().map(hears)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_conversation_that_stays_silent_is_given_up_in_time() {
    let fails = |(played, turns): (Played, TurnsBy)| async move {
        let (account, mut caller, name) = opened(played, turns).await;
        let asked = account.server.requests().len();
        account.server.misbehave(Misbehaviour::Silence);
        let before = unserved();
        caller.says(&clear_speech("hello there")).await;
        let (answer, after) = caller.hears().await;
        let more = account.server.requests().len() - asked;
        println!("{name}: {answer:?} after {after:?}, {more} more requests");
        assert_eq!(answer, Err("timeout"), "{name}");
        assert!(after <= given_up(played.vendor, turns) + unserved().saturating_sub(before), "{name}: {after:?}");
        assert_eq!(more, 1, "{name}");
    };
    join_all(conversations().into_iter().map(fails)).await;
}

/// What the agent file says where a vendor is down.
const SORRY: &str = "sorry about that it will be mended as soon as may be so please call again in a while";
/// Frames in which the beginning of it is heard, and its end is not yet.
const BEGINNING: usize = 40;
/// The same where the call has said that it is there, and asks a model a second time for as long as it did at first.
const SECOND_TRY: usize = BEGINNING + 100;

/// A whole call whose vendor of one stage falls silent: the first `frames` that are heard of the agent then.
async fn whole_call(lines: &str, accounts: Vec<Account>, silent: usize, frames: usize) -> Vec<u32> {
    let lines = format!("{lines}\non: {{provider_down: {{say: {SORRY}, hangup: provider_down}}}}");
    let pipeline = Pipeline { lines, accounts };
    let (server, ..) = pipeline.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(false, 10).await;
    // Every vendor's fake knows these, and nobody takes so many for noise.
    let words = caller_says("please please please please please please please");
    phone.play(&words).await;
    phone.wait_for(true, 2).await;
    phone.wait_for(false, 60).await;
    pipeline.accounts[silent].server.misbehave(Misbehaviour::Silence);
    let before = unserved();
    phone.play(&words).await;
    let silent_since = Instant::now();
    phone.heard = Some(Vec::new());
    phone.wait_for(true, 2).await;
    let waited = silent_since.elapsed();
    let late = unserved().saturating_sub(before);
    println!("{}: heard after {waited:?}, the machine late by {late:?}", pipeline.lines);
    assert!(waited <= HEARD + late, "{}: {waited:?}", pipeline.lines);
    for _ in 0..frames {
        phone.pass_frame().await;
    }
    let heard = phone.heard.take().unwrap_or_default();
    voice::hear(&heard, RATE).iter().map(|(pitch, ..)| *pitch).collect()
}

fn of_stage(stage: StageKind, name: &str) -> Account {
    let played = played(stage).into_iter().find(|played| played.name() == name).expect("a vendor that is played");
    played.account(match stage {
        StageKind::SpeechToText => "ears",
        StageKind::LanguageModel => "mind",
        StageKind::TextToSpeech => "voice",
        StageKind::SpeechToSpeech => "talk",
    })
}

const THREE: &str = "speech_to_text: ears\nlanguage_model: mind\ntext_to_speech: voice";

fn three() -> Vec<Account> {
    vec![
        of_stage(StageKind::SpeechToText, "deepgram"),
        of_stage(StageKind::LanguageModel, "openai"),
        of_stage(StageKind::TextToSpeech, "elevenlabs"),
    ]
}

fn says_sorry(heard: &[u32]) -> bool {
    let beginning: Vec<u32> = SORRY.split(' ').take(3).map(voice::pitch).collect();
    heard.windows(beginning.len()).any(|words| words == beginning)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whom_a_lone_recogniser_does_not_hear_any_more_is_told_so() {
    let heard = whole_call(THREE, three(), 0, BEGINNING).await;
    assert!(says_sorry(&heard), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whom_a_lone_model_does_not_answer_any_more_is_told_so() {
    let heard = whole_call(THREE, three(), 1, SECOND_TRY).await;
    assert!(says_sorry(&heard), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_lone_voice_says_nothing_any_more_hears_the_spare_line() {
    let heard = whole_call(THREE, three(), 2, BEGINNING).await;
    assert!(!heard.contains(&voice::pitch("Hello")), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whom_a_lone_conversation_does_not_answer_any_more_is_told_so() {
    for turns in ["vendor", "local"] {
        let lines =
            format!("speech_to_text: ears\nspeech_to_speech: {{use: talk, turns: {turns}}}\ntext_to_speech: voice");
        let accounts = vec![
            of_stage(StageKind::SpeechToSpeech, "openai"),
            of_stage(StageKind::SpeechToText, "deepgram"),
            of_stage(StageKind::TextToSpeech, "elevenlabs"),
        ];
        let heard = whole_call(&lines, accounts, 0, BEGINNING).await;
        assert!(says_sorry(&heard), "{turns}: {heard:?}");
    }
}
