//! What a caller notices when vendors fail: whole calls over SIP and RTP, through a second vendor of each stage.

use crate::fakes::voice::{self, Voice};
use crate::fakes::{FakeServer, Misbehaviour, Vendor, llm_anthropic, llm_openai, stt_assemblyai, stt_deepgram};
use crate::fakes::{tts_cartesia, tts_elevenlabs};
use crate::support::{Phone, TestServer};
use offhook::base::Pii;
use offhook::call::{CallEvent, Engines};
use offhook::providers::Network;
use offhook::providers::registry::{Local, ProviderSpec, Registry};
use offhook::sip::event::EndCause;
use offhook::tools::EgressPolicy;
use std::time::Duration;

const CALLER: [u8; 4] = [127, 0, 0, 1];
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

/// The caller's voice: words long enough for turn-taking to take them for speech.
fn caller_says(text: &str) -> Vec<i16> {
    Voice { word: Duration::from_millis(140), gap: Duration::from_millis(60) }.speak(text, 8_000)
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
    let completed = server
        .event("the end", |e| if let CallEvent::CallEnded { completed, .. } = e { Some(*completed) } else { None })
        .await;
    assert!(completed);
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
