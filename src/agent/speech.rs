//! Which providers listen, think and speak for an agent, and how. Names only: what they stand for is looked up
//! in the catalogue of providers.

use std::collections::BTreeMap;

/// The name of the offline engines that come with the server.
pub const LOCAL: &str = "local";

/// The providers of one agent. Each list is in the order of preference: the next one serves when the one before
/// is down.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SpeechChoice {
    /// Who turns speech into text.
    pub stt: SpeechToText,
    /// The language model of `converse` nodes.
    pub llm: Option<LanguageModel>,
    /// Who speaks.
    pub tts: TextToSpeech,
    /// The speech-to-speech model of `converse` nodes. With `llm` beside it, that one serves when this one fails.
    pub realtime: Option<SpeechToSpeech>,
}

/// `speech_to_text:`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpeechToText {
    /// Names, at least one.
    pub providers: Vec<String>,
    /// BCP 47; the agent's own language when absent.
    pub language: Option<String>,
    /// Providers for single languages in place of `providers`, by language.
    pub languages: BTreeMap<String, Vec<String>>,
}

/// `language_model:`
#[derive(Clone, PartialEq, Debug)]
pub struct LanguageModel {
    /// Names, at least one.
    pub providers: Vec<String>,
    /// 0.0–2.0; the provider's own when absent.
    pub temperature: Option<f32>,
    /// Most tokens of one answer; the provider's own limit when absent.
    pub max_tokens: Option<u32>,
}

/// `text_to_speech:`
#[derive(Clone, PartialEq, Debug)]
pub struct TextToSpeech {
    /// Names, at least one.
    pub providers: Vec<String>,
    /// The vendor's id of the voice; the provider's own when absent.
    pub voice: Option<String>,
    /// Rate of speech, 1.0 is the voice's own; the server's setting when absent.
    pub speed: Option<f32>,
}

/// `speech_to_speech:`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpeechToSpeech {
    /// Names, at least one.
    pub providers: Vec<String>,
    /// The vendor's id of the voice; the provider's own when absent.
    pub voice: Option<String>,
    /// Who decides when the caller has finished speaking.
    pub turns: Turns,
}

/// Who takes turns with the caller in a speech-to-speech session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Turns {
    /// This server's turn-taking.
    Local,
    /// The vendor's.
    #[default]
    Vendor,
}

impl Turns {
    /// Both with their names in the agent file.
    pub const NAMES: [(&'static str, Self); 2] = [("local", Self::Local), ("vendor", Self::Vendor)];
}

impl Default for SpeechToText {
    fn default() -> Self {
        Self { providers: vec![LOCAL.to_owned()], language: None, languages: BTreeMap::new() }
    }
}

impl Default for TextToSpeech {
    fn default() -> Self {
        Self { providers: vec![LOCAL.to_owned()], voice: None, speed: None }
    }
}

impl SpeechChoice {
    /// Every provider named anywhere, each once per stage, with the key it stands under.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let stt = self.stt.providers.iter().chain(self.stt.languages.values().flatten());
        let llm = self.llm.iter().flat_map(|llm| &llm.providers);
        let realtime = self.realtime.iter().flat_map(|realtime| &realtime.providers);
        let stages = stt
            .map(|name| ("speech_to_text", name))
            .chain(llm.map(|name| ("language_model", name)))
            .chain(self.tts.providers.iter().map(|name| ("text_to_speech", name)))
            .chain(realtime.map(|name| ("speech_to_speech", name)));
        stages.map(|(stage, name)| (stage, name.as_str()))
    }
}
