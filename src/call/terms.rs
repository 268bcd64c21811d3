//! What calls start from: the engines, an agent ready to talk, and the ways of the peer.

use super::bot::BotSetup;
use super::classify::Exemplars;
use super::fallback::{AgentVoice, beeps};
use super::media_terms::MediaTerms;
use super::number_format::NumberFormat;
use crate::agent::Agent;
use crate::providers::{
    Embedder, LanguageModel, ProviderError, SpeechToSpeech, SpeechToText, TextToSpeech, VoiceDetector,
};
use crate::sip::DialogPolicy;
use crate::tools::{CallBudget, HttpTools, ToolSet};
use crate::turn::TurnSettings;
use std::sync::Arc;
use std::time::Duration;

/// What a caller is told when nothing can be synthesised at that moment.
const SPARE_LINE: &str = "I'm sorry, I can't speak with you at the moment. Please call again in a few minutes.";

/// The engines of an agent, shared by all its calls.
#[derive(Clone)]
pub struct Engines {
    /// Speech to text.
    pub stt: Arc<dyn SpeechToText>,
    /// Text to speech.
    pub tts: Arc<dyn TextToSpeech>,
    /// The language model of `converse` nodes, where the agent has one.
    pub llm: Option<Arc<dyn LanguageModel>>,
    /// The speech-to-speech model of `converse` nodes, where the agent has one.
    pub realtime: Option<Arc<dyn SpeechToSpeech>>,
    /// Intents.
    pub embedder: Arc<dyn Embedder>,
    /// Neural voice activity.
    pub voice: Arc<dyn VoiceDetector>,
    /// Embeddings of the agents' example phrases.
    pub exemplars: Arc<Exemplars>,
}

/// An agent, ready to take calls.
pub struct AgentSetup {
    /// The checked agent file.
    pub agent: Arc<Agent>,
    /// Its tools' closed list.
    pub tool_set: Arc<ToolSet>,
    /// The client that runs them.
    pub tools: Arc<HttpTools>,
    /// The waits of turn-taking.
    pub turn: TurnSettings,
    /// Pace of the voice.
    pub speed: f32,
    /// Headers of the INVITE that become variables `sip_<name>`.
    pub header_variables: Vec<String>,
    /// Time zone of the business.
    pub time_zone: jiff::tz::TimeZone,
    /// What one call may spend on tools.
    pub budget: CallBudget,
    /// What the caller hears when text-to-speech is down.
    pub spare_line: Arc<[i16]>,
}

impl AgentSetup {
    /// Local time of the business.
    #[must_use]
    pub fn local_time(&self) -> jiff::Zoned {
        jiff::Timestamp::now().to_zoned(self.time_zone.clone())
    }

    /// Synthesises the spare line of an agent in its own voice, at `speed` where its file names no other.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn synthesise_spare_line(
        agent: &Agent,
        engines: &Engines,
        speed: f32,
    ) -> Result<Arc<[i16]>, ProviderError> {
        AgentVoice::of(agent, Arc::clone(&engines.tts), speed).whole_line(SPARE_LINE, true).await
    }

    /// What stands in for the spare line where it cannot be synthesised: the tone of a call that cannot be completed.
    #[must_use]
    pub fn spare_tone() -> Arc<[i16]> {
        beeps()
    }
}

/// What answers a call.
#[derive(Clone)]
pub enum Program {
    /// An agent file with its engines.
    Agent(Arc<AgentSetup>, Engines),
    /// A bot outside, over a WebSocket.
    Bot(Arc<BotSetup>),
    /// The caller hears themselves: for line checks and load tests.
    Echo,
}

/// How a call is handed over to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TransferBy {
    /// REFER; where the peer refuses it, a second call of ours that is bridged with the first.
    #[default]
    ReferThenBridge,
    /// REFER alone: the call comes back to the agent where the peer refuses it.
    Refer,
    /// A second call of ours, bridged with the first.
    Bridge,
}

/// How a peer's keys come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigitsBy {
    /// RTP telephone-events (RFC 4733); SIP INFO counts as well where no events were agreed.
    #[default]
    Rfc4733,
    /// SIP INFO; RTP events, which the peer sends as well, are not counted twice.
    Info,
    /// Tones in the audio.
    Inband,
}

/// What a caller gets before its call is answered.
#[derive(Clone, Debug, Default)]
pub enum BeforeAnswer {
    /// Nothing: the agent answers at once.
    #[default]
    Nothing,
    /// Its phone rings for this long (180).
    Ringing(Duration),
    /// It hears this once as early media (183), 8 kHz: an announcement that costs it nothing. Callers whose phone made
    /// no offer hear ringing.
    Announcement(Arc<[i16]>),
}

/// What a peer wants otherwise than others: the part of its profile that calls need.
#[derive(Clone, Debug)]
pub struct PeerTerms {
    /// Codecs and encryption.
    pub media: MediaTerms,
    /// Header of a REFER that carries the context of a transfer to the human; `None` sends none.
    pub context_header: Option<String>,
    /// Transfers to a number name it as `tel:` instead of `sip:`.
    pub refer_as_tel: bool,
    /// A REFER carries `Diversion` (RFC 5806) with the number that was called.
    pub refer_with_diversion: bool,
    /// How calls are handed over.
    pub transfer: TransferBy,
    /// How keys come.
    pub digits: DigitsBy,
    /// Headers of the INVITE, by name, that become variables `sip_<name>` of the call.
    pub header_variables: Vec<String>,
    /// What calls of this peer may do; goes into INVITEs of ours as well.
    pub dialog: DialogPolicy,
    /// The called numbers that are served; empty serves all.
    pub called_numbers: Vec<String>,
    /// What callers get before the agent answers.
    pub before_answer: BeforeAnswer,
    /// How numbers are written in calls to it.
    pub numbers: NumberFormat,
}

impl Default for PeerTerms {
    fn default() -> Self {
        Self {
            media: MediaTerms::default(),
            context_header: Some("X-Offhook-Context".to_owned()),
            refer_as_tel: false,
            refer_with_diversion: false,
            transfer: TransferBy::default(),
            digits: DigitsBy::default(),
            header_variables: Vec::new(),
            dialog: DialogPolicy::default(),
            called_numbers: Vec::new(),
            before_answer: BeforeAnswer::default(),
            numbers: NumberFormat::default(),
        }
    }
}

/// Where a peer's calls go.
#[derive(Clone)]
pub struct Route {
    /// The extension's or trunk's name.
    pub peer: String,
    /// The agent's name.
    pub agent: String,
    /// What answers.
    pub program: Program,
    /// The peer's ways.
    pub terms: PeerTerms,
}
