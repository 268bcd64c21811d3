use super::*;
use crate::base::SampleRate;
use crate::providers::{
    Embedder, ProviderError, ProviderName, SpeakRequest, SpeechStream, SttCapabilities, SttEvent, SttRequest,
    SttStream, TtsCapabilities, VoiceDetector, VoiceStream,
};
use tokio::sync::mpsc;

fn agent(lines: &str) -> Agent {
    let file = format!("agent: a\n{lines}");
    Agent::parse("a.yaml", &file, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn flow(lines: &str) -> Agent {
    agent(&format!("{lines}start: bye\nnodes: {{bye: {{hangup: done}}}}\n"))
}

fn needed(agents: &[Agent]) -> Option<(bool, bool)> {
    parts(agents.iter()).map(|parts| (parts.stt, parts.tts))
}

#[test]
fn only_the_offline_models_that_some_agent_names_are_loaded() {
    let vendors = "speech_to_text: deepgram\ntext_to_speech: cartesia\n";
    assert_eq!(needed(&[]), None);
    assert_eq!(needed(&[flow("")]), Some((true, true)), "the offline engines are the default");
    assert_eq!(needed(&[flow(vendors)]), Some((false, false)), "intents and voice activity alone");
    assert_eq!(needed(&[flow("speech_to_text: deepgram\n")]), Some((false, true)));
    assert_eq!(needed(&[flow("text_to_speech: cartesia\n")]), Some((true, false)));
    let spare = "speech_to_text: [deepgram, local]\ntext_to_speech: [cartesia, local]\n";
    assert_eq!(needed(&[flow(spare)]), Some((true, true)), "a fallback is a name as well");
    let routed = "speech_to_text: {use: cartesia, languages: {en: local}}\ntext_to_speech: cartesia\n";
    assert_eq!(needed(&[flow(routed)]), Some((true, false)), "so is the provider of a language");
    assert_eq!(needed(&[flow(vendors), flow("text_to_speech: cartesia\n")]), Some((true, false)), "of all together");
}

#[test]
fn a_bot_needs_no_model_but_the_voice_of_its_fallback() {
    let bot = |lines: &str| agent(&format!("{lines}bridge:\n  url: wss://bot.example/\n  protocol: twilio\n"));
    let says = "  fallback: {say: Please call again.}\n";
    assert_eq!(needed(&[bot("")]), None);
    let speaking = agent(&format!("bridge:\n  url: wss://bot.example/\n  protocol: twilio\n{says}"));
    assert_eq!(needed(&[speaking]), Some((false, true)));
    let elsewhere = format!("text_to_speech: cartesia\nbridge:\n  url: wss://bot.example/\n  protocol: twilio\n{says}");
    assert_eq!(needed(&[agent(&elsewhere)]), None);
}

/// Engines of which only the voice is ever asked.
#[derive(Clone)]
struct Stub(fn(SpeakRequest) -> Result<SpeechStream, ProviderError>);

fn down() -> ProviderError {
    ProviderError::Transient { provider: "stub".into(), reason: "down".to_owned() }
}

impl SpeechToText for Stub {
    fn name(&self) -> ProviderName {
        "stub".into()
    }
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: Vec::new(),
            partials: false,
            end_of_turn: false,
            timestamps: false,
            detects_language: false,
            languages: &[],
        }
    }
    fn open(&self, _: SttRequest) -> Result<(Box<dyn SttStream>, mpsc::Receiver<SttEvent>), ProviderError> {
        Err(down())
    }
}

impl TextToSpeech for Stub {
    fn name(&self) -> ProviderName {
        "stub".into()
    }
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: Vec::new(),
            word_timestamps: false,
            cancel: false,
            wants_speakable_text: false,
            languages: &[],
        }
    }
    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        (self.0)(request)
    }
}

impl Embedder for Stub {
    fn embed(&self, _: Vec<String>) -> Result<crate::providers::embed::Embeddings, ProviderError> {
        Err(down())
    }
}

impl VoiceDetector for Stub {
    fn open(&self) -> Result<Box<dyn VoiceStream>, ProviderError> {
        Err(down())
    }
}

async fn spare_line(speak: fn(SpeakRequest) -> Result<SpeechStream, ProviderError>) -> Arc<[i16]> {
    let stub = Arc::new(Stub(speak));
    let engines = Engines {
        stt: stub.clone(),
        tts: stub.clone(),
        llm: None,
        realtime: None,
        embedder: stub.clone(),
        voice: stub,
        exemplars: Arc::default(),
    };
    let prepared = prepare(Arc::new(flow("")), &engines, EgressPolicy::default(), CallBudget::default(), &[]).await;
    prepared.unwrap_or_else(|error| panic!("{error}")).spare_line.clone()
}

/// A line of this many samples, and an error behind it.
fn line(samples: usize, error: Option<ProviderError>) -> SpeechStream {
    let (sender, stream) = mpsc::channel(2);
    let chunk = crate::providers::TtsChunk { samples: vec![7; samples], ..Default::default() };
    sender.try_send(Ok(chunk)).expect("room");
    if let Some(error) = error {
        sender.try_send(Err(error)).expect("room");
    }
    stream
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_is_down_at_the_start_leaves_a_tone_in_place_of_the_apology() {
    let tone = AgentSetup::spare_tone();
    assert!(tone.len() > SampleRate::NARROWBAND.0 as usize && tone.iter().any(|sample| *sample != 0));
    let spoken = spare_line(|request| {
        assert!(request.cacheable && request.text.starts_with("I'm sorry"), "{}", request.text);
        Ok(line(4_000, None))
    });
    assert_eq!(spoken.await.as_ref(), [7; 4_000]);
    assert_eq!(spare_line(|_| Err(down())).await, tone, "it refuses");
    assert_eq!(spare_line(|_| Ok(line(4_000, Some(down())))).await, tone, "it breaks off");
    let silent = |_| {
        let (sender, stream) = mpsc::channel(1);
        std::mem::forget(sender);
        Ok(stream)
    };
    let began = tokio::time::Instant::now();
    assert_eq!(spare_line(silent).await, tone, "it says nothing");
    assert_eq!(began.elapsed(), SPARE_LINE_WAIT, "and keeps nobody waiting for longer");
}
