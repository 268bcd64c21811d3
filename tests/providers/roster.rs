//! Every vendor of the catalogue with the fake that plays it. Whoever adds a vendor adds a line here, or the tests of faults,
//! of whole calls and of keys fail.

use crate::account::Account;
use crate::fakes::llm_openai::{Flavour, OpenAi as OpenAiModel};
use crate::fakes::realtime_script::Log;
use crate::fakes::{
    Certificate, FakeServer, llm_anthropic, llm_gemini, realtime_deepgram, realtime_elevenlabs, realtime_gemini,
    realtime_openai, realtime_ultravox, stt_assemblyai, stt_azure, stt_cartesia, stt_deepgram, stt_elevenlabs,
    stt_openai, stt_vosk, tts_cartesia, tts_deepgram, tts_elevenlabs, tts_servers,
};
use offhook::base::Pii;
use offhook::providers::StageKind;
use offhook::providers::listing::vendors;
use offhook::providers::registry::{ProviderSpec, StageSpec};
use std::collections::BTreeMap;
use std::time::Duration;

/// A key that its vendor's fake accepts, and that no other text contains.
const KEY: &str = "the-key-of-a-vendor";
/// The one of the fakes of speech to text.
const STT_KEY: &str = "good-key";
/// Without audio for so long, a recogniser closes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a vendor that shows this certificate.
type Fake = fn(Certificate) -> FakeServer;

/// A vendor, by one of its interfaces.
#[derive(Clone, Copy)]
pub struct Played {
    pub stage: StageKind,
    pub vendor: &'static str,
    /// Which of its interfaces; empty for the usual one.
    pub variant: &'static str,
    /// Empty for a server without one.
    pub key: &'static str,
    path: &'static str,
    /// Empty for the catalogue's.
    model: &'static str,
    /// As they stand in `offhook.toml`.
    options: &'static str,
    fake: Fake,
}

impl Played {
    const fn new(stage: StageKind, vendor: &'static str, key: &'static str, fake: Fake) -> Self {
        Self { stage, vendor, variant: "", key, path: "", model: "", options: "", fake }
    }

    const fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    const fn with_model(self, model: &'static str) -> Self {
        Self { model, ..self }
    }

    const fn by(self, variant: &'static str, model: &'static str, options: &'static str) -> Self {
        Self { variant, model, options, ..self }
    }

    /// The vendor with its interface: also a good name of a provider.
    pub fn name(&self) -> String {
        if self.variant.is_empty() { self.vendor.to_owned() } else { format!("{}-{}", self.vendor, self.variant) }
    }

    /// Starts its fake, and a provider of that name that is configured for it.
    pub fn account(&self, name: &str) -> Account {
        self.account_with(name, Certificate::Good)
    }

    /// The same with this certificate.
    pub fn account_with(&self, name: &str, certificate: Certificate) -> Account {
        let server = self.serve(certificate);
        let options: BTreeMap<_, _> = toml::from_str(self.options).expect("a line of TOML");
        let model = (!self.model.is_empty()).then(|| self.model.to_owned());
        let spec = ProviderSpec {
            name: name.to_owned(),
            key: (!self.key.is_empty()).then(|| Pii::new(self.key.to_owned())),
            url: Some(server.http_url(self.path)),
            stages: BTreeMap::from([(self.stage, StageSpec { model, options, ..StageSpec::default() })]),
            ..ProviderSpec::of_vendor(self.vendor)
        };
        Account { server, spec }
    }

    /// The same as lines of `offhook.toml`; the key stands in `key_file`.
    pub fn in_toml(&self, name: &str, server: &FakeServer, key_file: &str) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("key_file = \"{key_file}\"\n") };
        let model = if self.model.is_empty() { String::new() } else { format!("model = \"{}\"\n", self.model) };
        format!(
            "[[provider]]\nname = \"{name}\"\nvendor = \"{}\"\n{key}url = \"{}\"\nfirst_timeout = \"5s\"\n\
             [provider.{}]\n{model}options = {{ {} }}\n",
            self.vendor,
            server.http_url(self.path),
            self.stage.name(),
            self.options
        )
    }

    /// Starts its fake alone, which shows this certificate.
    pub fn serve(&self, certificate: Certificate) -> FakeServer {
        (self.fake)(certificate)
    }
}

const fn stt(vendor: &'static str, fake: Fake) -> Played {
    Played::new(StageKind::SpeechToText, vendor, STT_KEY, fake)
}

const fn llm(vendor: &'static str, fake: Fake) -> Played {
    Played::new(StageKind::LanguageModel, vendor, KEY, fake).at("/v1")
}

const fn tts(vendor: &'static str, key: &'static str, fake: Fake) -> Played {
    Played::new(StageKind::TextToSpeech, vendor, key, fake)
}

const fn realtime(vendor: &'static str, fake: Fake) -> Played {
    Played::new(StageKind::SpeechToSpeech, vendor, KEY, fake)
}

fn model(c: Certificate, flavour: Flavour) -> FakeServer {
    FakeServer::start_with(c, OpenAiModel { key: KEY, flavour })
}

const PLAYED: &[Played] = &[
    stt("deepgram", |c| FakeServer::start_with(c, stt_deepgram::Deepgram { patience: PATIENCE })),
    stt("deepgram-flux", |c| FakeServer::start_with(c, stt_deepgram::Deepgram { patience: PATIENCE })),
    stt("assemblyai", |c| FakeServer::start_with(c, stt_assemblyai::AssemblyAi)),
    stt("openai", |c| FakeServer::start_with(c, stt_openai::OpenAi)).at("/v1"),
    stt("elevenlabs", |c| FakeServer::start_with(c, stt_elevenlabs::ElevenLabs { patience: PATIENCE })),
    stt("cartesia", |c| FakeServer::start_with(c, stt_cartesia::Cartesia)),
    stt("cartesia", |c| FakeServer::start_with(c, stt_cartesia::Cartesia)).by("turns", "", "turns = true"),
    stt("azure", |c| FakeServer::start_with(c, stt_azure::Azure)),
    Played { key: "", ..stt("vosk", |c| FakeServer::start_with(c, stt_vosk::Vosk)) },
    llm("openai", |c| model(c, Flavour::OpenAi)),
    llm("openai-chat", |c| model(c, Flavour::OpenAi)),
    llm("anthropic", |c| FakeServer::start_with(c, llm_anthropic::Anthropic { key: KEY })),
    llm("gemini", |c| FakeServer::start_with(c, llm_gemini::Gemini { key: KEY }))
        .at("/v1beta")
        .with_model("gemini-3.8-flash"),
    llm("groq", |c| model(c, Flavour::Groq)),
    llm("together", |c| model(c, Flavour::Together)),
    llm("vllm", |c| model(c, Flavour::Server)).with_model("model"),
    Played { key: "", ..llm("ollama", |c| model(c, Flavour::Ollama)) },
    llm("llama.cpp", |c| model(c, Flavour::Server)),
    llm("openai-compatible", |c| model(c, Flavour::Server)).with_model("model"),
    tts("elevenlabs", tts_elevenlabs::KEY, |c| FakeServer::start_with(c, tts_elevenlabs::ElevenLabs)),
    tts("elevenlabs", tts_elevenlabs::KEY, |c| FakeServer::start_with(c, tts_elevenlabs::ElevenLabs)).by(
        "http",
        "",
        r#"transport = "http""#,
    ),
    tts("cartesia", tts_cartesia::KEY, |c| FakeServer::start_with(c, tts_cartesia::Cartesia)),
    tts("deepgram", tts_deepgram::KEY, |c| FakeServer::start_with(c, tts_deepgram::Deepgram)),
    tts("deepgram", tts_deepgram::KEY, |c| FakeServer::start_with(c, tts_deepgram::Deepgram)).by(
        "flux",
        "flux-thalia-en",
        "",
    ),
    tts("openai", tts_servers::KEY, |c| FakeServer::start_with(c, tts_servers::OpenAi)).at("/v1"),
    tts("openai-compatible", tts_servers::KEY, |c| FakeServer::start_with(c, tts_servers::OpenAi)).at("/v1"),
    tts("piper", "", |c| FakeServer::start_with(c, tts_servers::Piper)),
    realtime("openai", |c| {
        FakeServer::start_with(c, realtime_openai::OpenAiRealtime { key: KEY, log: Log::default() })
    })
    .at("/v1"),
    realtime("deepgram", |c| {
        FakeServer::start_with(c, realtime_deepgram::DeepgramAgent { key: KEY, log: Log::default() })
    })
    .at("/v1"),
    realtime("elevenlabs", |c| {
        FakeServer::start_with(c, realtime_elevenlabs::ElevenLabsAgents { key: KEY, log: Log::default() })
    })
    .with_model("agent_1"),
    realtime("gemini", |c| FakeServer::start_with(c, realtime_gemini::GeminiLive { key: KEY, log: Log::default() })),
    realtime("ultravox", |c| FakeServer::start_with(c, realtime_ultravox::Ultravox { key: KEY, log: Log::default() }))
        .at("/api"),
];

/// Vendors of the catalogue that hold no part of a call, with the reason.
const UNPLAYED: &[(StageKind, &str, &str)] = &[(
    StageKind::SpeechToText,
    "whisper",
    "transcribes whole recordings, and is refused where an agent names it; `tests/providers/stt.rs` holds it",
)];

/// Every vendor of a stage by each of its interfaces, in the order of the catalogue.
///
/// # Panics
/// The catalogue and this list are not of the same vendors.
pub fn played(stage: StageKind) -> Vec<Played> {
    let of_stage: Vec<Played> = PLAYED.iter().copied().filter(|played| played.stage == stage).collect();
    let mut listed: Vec<&str> = of_stage.iter().map(|played| played.vendor).collect();
    listed.extend(UNPLAYED.iter().filter(|(of, ..)| *of == stage).map(|(_, vendor, _)| *vendor));
    listed.dedup();
    let (mut here, mut there) = (listed, vendors(stage));
    here.sort_unstable();
    there.sort_unstable();
    assert_eq!(here, there, "each vendor of {} is played here, or excused with a reason", stage.name());
    of_stage
}
