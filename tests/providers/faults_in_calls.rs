//! What a caller notices when vendors fail: whole calls over SIP and RTP, through a second vendor of each stage.

use crate::chaos::served;
use crate::fakes::voice;
use crate::fakes::{FakeServer, Misbehaviour, Vendor, llm_anthropic, llm_openai, plain, stt_assemblyai, stt_deepgram};
use crate::fakes::{tts_cartesia, tts_elevenlabs};
use crate::pipelines::{CALLER, caller_says};
use crate::support::{Phone, TestServer};
use futures_util::future::join_all;
use offhook::base::Pii;
use offhook::call::{Engines, LineError, Unanswered};
use offhook::media::MediaError;
use offhook::providers::Network;
use offhook::providers::limits::FAIL_OVER;
use offhook::providers::registry::{Local, ProviderSpec, Registry};
use offhook::sip::event::EndCause;
use offhook::tools::EgressPolicy;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const AGENT: &str = "
agent: assistant
start: talk
speech_to_text: [deepgram, assemblyai]
language_model: [openai, anthropic]
text_to_speech: [elevenlabs, cartesia]
nodes:
  talk:
    converse: You answer the telephone of a restaurant.
    speak_first: false
    exits: {done: bye}
  bye: {hangup: done, say: Goodbye then., completed: true}
";
const ANSWER: &str = "Hello there. How can I help?";

struct Vendors {
    ears: [FakeServer; 2],
    minds: [FakeServer; 2],
    voices: [FakeServer; 2],
}

impl Vendors {
    /// Recognisers that know the words by the length of the audio alone, for many calls at once.
    fn lean() -> Self {
        let ears = [FakeServer::start(plain::Deepgram), FakeServer::start(plain::AssemblyAi)];
        Self { ears, ..Self::start() }
    }

    fn start() -> Self {
        let patience = Duration::from_secs(10);
        let open_ai = llm_openai::OpenAi { key: "key", flavour: llm_openai::Flavour::OpenAi };
        Self {
            ears: [
                FakeServer::start(stt_deepgram::Deepgram { patience }),
                FakeServer::start(stt_assemblyai::AssemblyAi),
            ],
            minds: [FakeServer::start(open_ai), FakeServer::start(llm_anthropic::Anthropic { key: "key" })],
            voices: [start(tts_elevenlabs::ElevenLabs), start(tts_cartesia::Cartesia)],
        }
    }

    fn registry(&self) -> Registry {
        let spec = |vendor: &str, key: &str, path: &str, server: &FakeServer| ProviderSpec {
            key: Some(Pii::new(key.to_owned())),
            url: Some(server.http_url(path)),
            ..ProviderSpec::of_vendor(vendor)
        };
        let specs = vec![
            spec("deepgram", "good-key", "", &self.ears[0]),
            spec("assemblyai", "good-key", "", &self.ears[1]),
            spec("openai", "key", "/v1", &self.minds[0]),
            spec("anthropic", "key", "/v1", &self.minds[1]),
            spec("elevenlabs", tts_elevenlabs::KEY, "", &self.voices[0]),
            spec("cartesia", tts_cartesia::KEY, "", &self.voices[1]),
        ];
        let network = Network::new(self.ears[0].ca_pem().as_bytes()).unwrap();
        Registry::new(specs, network, Box::new(|_| None), Local::default())
    }

    async fn serve(&self) -> TestServer {
        let registry = self.registry();
        let names = |names: [&str; 2]| names.map(str::to_owned);
        let equip = |engines: &mut Engines| {
            engines.stt = registry.speech_to_text(&names(["deepgram", "assemblyai"])).unwrap();
            engines.llm = Some(registry.language_model(&names(["openai", "anthropic"]), None).unwrap());
            engines.tts = registry.text_to_speech(&names(["elevenlabs", "cartesia"])).unwrap();
        };
        TestServer::start_thinking(AGENT, &[], EgressPolicy::default(), equip, |_| ()).await
    }
}

fn start(fake: impl Vendor) -> FakeServer {
    FakeServer::start(fake)
}

/// What is heard of the agent up to 600 ms of silence.
async fn answer(phone: &mut Phone) -> Vec<u32> {
    phone.heard = Some(Vec::new());
    phone.wait_for(true, 2).await;
    phone.wait_for(false, 30).await;
    let heard = phone.heard.take().unwrap_or_default();
    voice::hear(&heard, 8_000).iter().map(|(pitch, ..)| *pitch).collect()
}

fn pitches(text: &str) -> Vec<u32> {
    text.split_whitespace().map(voice::pitch).collect()
}

async fn goodbye(phone: &mut Phone, server: &mut TestServer) {
    phone.play(&caller_says("thanks")).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_completed_while_the_first_vendor_of_every_stage_refuses() {
    let vendors = Vendors::start();
    for first in [&vendors.ears[0], &vendors.minds[0], &vendors.voices[0]] {
        first.misbehave(Misbehaviour::Refuse);
    }
    let mut server = vendors.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.play(&caller_says("table for two friday please")).await;
    assert_eq!(answer(&mut phone).await, pitches(ANSWER));
    goodbye(&mut phone, &mut server).await;
    for second in [&vendors.ears[1], &vendors.minds[1], &vendors.voices[1]] {
        assert!(!second.requests().is_empty());
        assert_eq!(second.complaints(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voice_that_dies_in_the_middle_of_a_word_is_followed_by_the_next() {
    let vendors = Vendors::start();
    vendors.voices[0].misbehave(Misbehaviour::CloseMidWord(1011));
    let mut server = vendors.serve().await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.play(&caller_says("table for two friday please")).await;
    let mut heard = answer(&mut phone).await;
    // The word in whose middle the first died is said again.
    heard.dedup();
    assert_eq!(heard, pitches(ANSWER));
    assert!(!vendors.voices[1].requests().is_empty());
    goodbye(&mut phone, &mut server).await;
}

/// Whole calls at once; `OFFHOOK_FAULTY_CALLS` names another number.
const CALLS: usize = 50;
/// Callers beside them, one call after the other, whose vendors are well: what they wait says what the machine can do at
/// that time.
const HEALTHY: usize = 4;
/// Before a caller who was turned away calls again.
const AGAIN: Duration = Duration::from_millis(500);
/// From the caller's last sound to the agent's first. By as much as one healthy call waits longer than another, the machine
/// is late, and this is.
const HEARD: Duration = Duration::from_secs(3);
/// Where the threads of all calls' media stood ready and were left unserved for longer than this, a gap may have cut a
/// word in two or away.
const UNSERVED: Duration = Duration::from_millis(500);
/// Time for connections to be closed and tasks to end.
const LEFT: Duration = Duration::from_secs(15);

/// One turn of a call that is up: how long the caller waited, and what was heard.
async fn turn(phone: &mut Phone, words: &[i16]) -> (Duration, Vec<u32>) {
    phone.play(words).await;
    let silent_since = Instant::now();
    phone.heard = Some(Vec::new());
    phone.wait_for(true, 2).await;
    let waited = silent_since.elapsed();
    // The next sentence may have to find its way to another voice.
    phone.wait_for(false, 70).await;
    let heard = phone.heard.take().unwrap_or_default();
    (waited, voice::hear(&heard, 8_000).iter().map(|(pitch, ..)| *pitch).collect())
}

/// A call that is up. A server that asks to be called again is, and media of the callers' own that are late are waited for.
async fn dial(phone: &Phone, target: SocketAddr) -> Phone {
    loop {
        let refused = match phone.try_dial_also(target).await {
            Ok(mut phone) => match phone.line.answered().await {
                Ok(_) => return phone,
                Err(refused) => refused,
            },
            Err(refused) => refused,
        };
        match refused {
            LineError::NotAnswered(Unanswered::Unavailable { retry_after: Some(_), .. })
            | LineError::Media(MediaError::Overloaded { .. }) => tokio::time::sleep(AGAIN).await,
            other => panic!("{other}"),
        }
    }
}

/// A whole call with one turn: how long the caller waited, what was heard, and how it ended.
async fn whole_call(phone: &Phone, target: SocketAddr, words: &[i16]) -> ((Duration, Vec<u32>), EndCause) {
    let mut phone = dial(phone, target).await;
    let turn = turn(&mut phone, words).await;
    phone.line.hang_up();
    (turn, phone.ended().await)
}

/// The same but for one word that is missing, or heard as two.
fn differs_by_one(heard: &[u32], wanted: &[u32]) -> bool {
    let (long, short) = if heard.len() > wanted.len() { (heard, wanted) } else { (wanted, heard) };
    (0..long.len()).any(|place| {
        let mut rest = long.to_vec();
        rest.remove(place);
        rest == short
    })
}

/// The least, the median and the most.
fn spread(answered: &[((Duration, Vec<u32>), EndCause)]) -> [Duration; 3] {
    let mut waits: Vec<_> = answered.iter().map(|((waited, _), _)| *waited).collect();
    waits.sort_unstable();
    [0, waits.len() / 2, waits.len() - 1].map(|place| waits[place])
}

/// As many whole calls at once while the first vendor of a stage has this fault; nothing of them is left behind.
async fn all_are_answered(stage: &str, fault: Misbehaviour, whose: fn(&Vendors) -> &[FakeServer; 2]) {
    let calls = std::env::var("OFFHOOK_FAULTY_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(CALLS);
    let (vendors, well) = (Vendors::lean(), Vendors::lean());
    let [first, second] = whose(&vendors);
    first.misbehave(fault);
    let (server, beside) = (vendors.serve().await, well.serve().await);
    let words = caller_says("table for two friday");
    let (target, target_beside) = (server.server.sip.local_addr(), beside.server.sip.local_addr());
    let mut one = Phone::call(&server.server, CALLER).await.unwrap();
    one.line.hang_up();
    one.ended().await;
    let all = [&vendors, &well];
    let before = left_in(all, |left| left.ears == 0).await;
    let (before_it, is_over) = (served(), AtomicBool::new(false));
    let faulty = async {
        let answered = join_all((0..calls).map(|_| whole_call(&one, target, &words))).await;
        is_over.store(true, Ordering::Relaxed);
        answered
    };
    let healthy = join_all((0..HEALTHY).map(|_| async {
        let mut answered = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            answered.push(whole_call(&one, target_beside, &words).await);
        }
        answered
    }));
    let (answered, healthy) = tokio::join!(faulty, healthy);
    let healthy = healthy.concat();
    let ([_, median, worst], [best_beside, _, worst_beside]) = (spread(&answered), spread(&healthy));
    println!("{stage}, {fault:?}: {calls} calls, heard after {median:?} at the median, {worst:?} at the most");
    println!("  beside them {} with vendors that are well: {best_beside:?} to {worst_beside:?}", healthy.len());
    let mut unserved = Duration::ZERO;
    for (thread, now) in served() {
        let then = before_it.get(&thread).copied().unwrap_or_default();
        let (ran, waited) = (now.ran.saturating_sub(then.ran), now.waited.saturating_sub(then.waited));
        println!("  {thread}: ran for {} ms, waited for {} ms", ran.as_millis(), waited.as_millis());
        unserved += if thread.starts_with("media-") { waited } else { Duration::ZERO };
    }
    let wanted = pitches(ANSWER);
    for ((_, heard), end) in answered.iter().chain(&healthy) {
        assert_eq!(end, &EndCause::Local, "{stage}");
        let is_heard = heard == &wanted || unserved > UNSERVED && differs_by_one(heard, &wanted);
        assert!(is_heard, "{stage}: {heard:?}, and the media threads were left unserved for {unserved:?}");
    }
    let late = worst_beside - best_beside;
    assert!(worst <= HEARD + late, "{stage}: {worst:?}, with the machine late by {late:?}");
    assert!(worst <= worst_beside + FAIL_OVER, "{stage}: {worst:?}, and {worst_beside:?} without a fault");
    assert!(!second.requests().is_empty(), "{stage}: nobody asked the second");
    // A connection that is kept for later calls is a descriptor at each end, and at most two tasks.
    let is_clean = |left: &Left| {
        let kept = 2 * left.kept.saturating_sub(before.kept) as usize;
        left.ears == 0 && left.tasks <= before.tasks + kept && left.descriptors <= before.descriptors + kept
    };
    let after = left_in(all, is_clean).await;
    println!("  left before and after: {before:?}, {after:?}");
    assert!(is_clean(&after), "{stage}: {before:?}, {after:?}");
}

/// What there is while no call is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Left {
    /// Connections of recognisers, each of which belongs to a call.
    ears: u64,
    /// Connections that are kept for later calls.
    kept: u64,
    tasks: usize,
    descriptors: usize,
}

impl Left {
    fn of(vendors: [&Vendors; 2]) -> Self {
        let open = |of: fn(&Vendors) -> &[FakeServer; 2]| -> u64 {
            vendors.iter().flat_map(|vendors| of(vendors)).map(FakeServer::open_connections).sum()
        };
        Self {
            ears: open(|vendors| &vendors.ears),
            kept: open(|vendors| &vendors.minds) + open(|vendors| &vendors.voices),
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }
}

/// What there is once it is as it should be, or after [`LEFT`].
async fn left_in(vendors: [&Vendors; 2], holds: impl Fn(&Left) -> bool) -> Left {
    let began = Instant::now();
    loop {
        let left = Left::of(vendors);
        if holds(&left) || began.elapsed() >= LEFT {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_are_answered_while_the_first_recogniser_hears_nothing() {
    all_are_answered("speech_to_text", Misbehaviour::StallAfterUpgrade, |vendors| &vendors.ears).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_are_answered_while_the_first_model_says_nothing() {
    all_are_answered("language_model", Misbehaviour::Silence, |vendors| &vendors.minds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_are_answered_while_the_first_voice_cannot_be_reached() {
    all_are_answered("text_to_speech", Misbehaviour::StallInTls, |vendors| &vendors.voices).await;
}
