//! Speech-to-speech as the call sees it, and as a vendor's protocol machine sees it ([`protocol`]).

mod answers;
mod deepgram;
mod ear;
mod elevenlabs;
mod gemini;
mod history;
mod json;
mod openai;
pub mod protocol;
pub mod session;
pub mod stream;
mod transcript;
#[cfg(test)]
mod trial;
mod ultravox;
pub mod vendors;

use super::format::AudioFormat;
use super::meter::Meter;
use super::{ProviderError, ProviderName};
use crate::base::chat::{Message, ToolCall, ToolSpec, Usage};
use crate::base::{Pii, SampleRate};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Who decides when the caller has finished and when it interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TurnsBy {
    /// Our own turn-taking: the vendor's is switched off, where it can be.
    #[default]
    Local,
    /// The vendor's, on the audio alone.
    Vendor,
    /// The vendor's, on the meaning of what was said, where it has that.
    VendorSemantic,
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct RealtimeRequest {
    /// Rate of the samples pushed and of those wanted.
    pub rate: SampleRate,
    /// How the line carries them.
    pub line: AudioFormat,
    /// Who takes care of turns.
    pub turns: TurnsBy,
    /// The system prompt.
    pub instructions: String,
    /// The tools.
    pub tools: Vec<ToolSpec>,
    /// What was said before, oldest first.
    pub messages: Pii<Vec<Message>>,
    /// The agent's first words; `None` waits for the caller.
    pub opening: Option<String>,
    /// The last of `messages` waits for an answer that nobody has given.
    pub answer_due: bool,
    /// The voice by the provider's id; `None` for the provider's setting.
    pub voice: Option<String>,
    /// BCP 47; `None` for the provider's setting.
    pub language: Option<String>,
}

impl RealtimeRequest {
    /// A session without tools, history and opening, in the provider's own voice and language.
    #[must_use]
    pub fn new(rate: SampleRate, line: AudioFormat, turns: TurnsBy, instructions: impl Into<String>) -> Self {
        Self {
            rate,
            line,
            turns,
            instructions: instructions.into(),
            tools: Vec::new(),
            messages: Pii::default(),
            opening: None,
            answer_due: false,
            voice: None,
            language: None,
        }
    }
}

/// What a vendor can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealtimeCapabilities {
    /// Audio it takes and gives, its favourite first.
    pub formats: Vec<AudioFormat>,
    /// Its own turn-taking can be switched off.
    pub local_turns: bool,
    /// Calls tools.
    pub tools: bool,
    /// Can be told how much of its answer was heard.
    pub truncate: bool,
    /// Instructions and tools can change within a session.
    pub update: bool,
}

/// Names an answer of the vendor within a session; numbers only grow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AnswerId(pub u32);

/// How long a vendor is waited for before another is asked besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For a session that takes audio.
    pub session: Duration,
    /// For the first sound of an answer that is owed.
    pub answer: Duration,
    /// For the same from a fresh session of the vendor's own, where there is no other.
    pub last_try: Duration,
}

/// A speech-to-speech vendor.
pub trait SpeechToSpeech: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> ProviderName;
    /// What it can do.
    fn capabilities(&self) -> RealtimeCapabilities;
    /// What it has done so far.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }
    /// How long it is waited for before another is asked besides; `None` as long as it takes.
    fn patience(&self) -> Option<Patience> {
        None
    }
    /// Whether its own turn-taking reports every beginning of speech ([`RealtimeEvent::SpeechStarted`]), not only
    /// interruptions: then its saying nothing while the caller speaks is a fault.
    fn reports_speech(&self) -> bool {
        false
    }
    /// Opens a session. Events arrive on the receiver until the session is dropped or fails.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when as many sessions are open as the key allows.
    fn open(&self, request: RealtimeRequest) -> Result<RealtimeSession, ProviderError>;
}

/// A session and its events.
pub type RealtimeSession = (Box<dyn RealtimeStream>, mpsc::Receiver<RealtimeEvent>);

/// One call's session. No method blocks.
pub trait RealtimeStream: Send {
    /// Caller audio, silence too.
    fn push(&mut self, samples: &[i16]);
    /// With [`TurnsBy::Local`]: the caller has finished; answer. An answer still under way is void by this.
    fn commit(&mut self);
    /// The caller interrupts: every answer begun or asked for so far is void, and `heard` of the audio of `answer` was
    /// played. No event of a void answer follows except one [`RealtimeEvent::AgentSaid`], unless it is in the receiver
    /// already: those have no greater number than the greatest seen. Called for each answer whose audio is thrown away,
    /// in their order; `heard` is zero for one that did not begin to play.
    fn interrupt(&mut self, answer: AnswerId, heard: Duration);
    /// The answer to a [`RealtimeEvent::Call`]; the vendor goes on once all calls of its answer have theirs.
    fn tool_result(&mut self, call: &str, tool: &str, content: &str, failed: bool);
    /// New instructions and tools from the next answer on.
    fn update(&mut self, instructions: &str, tools: &[ToolSpec]);
    /// Whether the `length` of audio that was just pushed is voice by our own ears. With the vendor's turn-taking, it is
    /// known by that when the vendor owes the caller something; others need not be told.
    fn voice(&mut self, is_voice: bool, length: Duration) {
        let _ = (is_voice, length);
    }
    /// Asks the vendor for a sign of life, which comes as a [`RealtimeEvent::Alive`]. Without one, its connection is
    /// exchanged for a fresh one.
    fn probe(&mut self) {}
    /// The caller typed or did something that the vendor should take for the caller's words, and answer.
    fn tell(&mut self, text: &str);
}

/// What a session reports.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RealtimeEvent {
    /// The session takes audio.
    Ready,
    /// With the vendor's turn-taking: the caller began to speak. What plays must stop at once.
    SpeechStarted,
    /// With the vendor's turn-taking: the caller has finished.
    SpeechStopped,
    /// Samples of an answer at the requested rate.
    Audio {
        /// Which answer.
        answer: AnswerId,
        /// Mono samples.
        samples: Vec<i16>,
    },
    /// All audio of an answer has come. An answer without sound and words has no such event.
    AudioEnded {
        /// Which answer.
        answer: AnswerId,
    },
    /// The answer ends here, before its end, for want of a connection; [`Self::AudioEnded`] follows.
    BrokeOff {
        /// Which answer.
        answer: AnswerId,
    },
    /// The caller's words.
    CallerSaid(Pii<String>),
    /// The agent's words: whole, just before [`Self::AudioEnded`], or as far as they were heard when the answer was
    /// interrupted before that. Words that the vendor tells later than that come by themselves.
    AgentSaid {
        /// Which answer.
        answer: AnswerId,
        /// The words.
        text: Pii<String>,
    },
    /// The vendor wants a tool.
    Call(ToolCall),
    /// What an answer cost.
    Used(Usage),
    /// The vendor has answered to [`RealtimeStream::probe`].
    Alive,
    /// The session has moved to another connection or provider; what was said was told to it again.
    FellOver {
        /// The one that failed.
        from: ProviderName,
        /// The one in use.
        to: ProviderName,
    },
    /// The session is over for good.
    Failed(ProviderError),
}
