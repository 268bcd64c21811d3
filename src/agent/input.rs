//! What a conversation learns from the world.

use super::conversation::Speaker;
use super::effect::{RequestId, UtteranceId};
use crate::base::Pii;
use crate::base::chat::{Finish, ToolCall};
use serde_json::Value;

/// Something that happened. Hand it to `Conversation::handle` with its time.
#[derive(Clone, Debug)]
pub enum Input {
    /// The call is up; variables from the INVITE (`caller_number`, `called_number`, `sip_<header>`), all claimed by the
    /// caller's side.
    CallStarted {
        /// Name and value.
        variables: Vec<(String, Pii<String>)>,
        /// Local date and time of the business, for "tomorrow" and "next Tuesday".
        local_time: jiff::Zoned,
    },
    /// A whole turn of the caller.
    CallerSaid {
        /// The words.
        text: Pii<String>,
        /// 0.0–1.0 from the speech-to-text engine.
        confidence: f32,
    },
    /// The keypad digits of one answer, complete by count, terminator or pause.
    Digits(Pii<String>),
    /// Nothing was heard for the time given in `Listen`.
    Silence,
    /// An utterance is over, played to its end or cut off by the caller.
    SpeechEnded {
        /// Which.
        utterance: UtteranceId,
        /// The part that really was played; the whole text when `complete`.
        heard: String,
        /// False when the caller interrupted.
        complete: bool,
    },
    /// The answer to `Effect::Classify`.
    Classified {
        /// Which request.
        request: RequestId,
        /// Labels with their likeness, −1.0–1.0, best first; empty when the engine could not answer.
        ranking: Vec<(String, f32)>,
    },
    /// The answer to `Effect::CallTool`.
    ToolFinished {
        /// Which request.
        request: RequestId,
        /// The tool's JSON answer, or why there is none.
        outcome: Result<Value, ToolFailure>,
    },
    /// The answer to `Effect::Transfer`. After success the call is no longer ours.
    TransferFinished {
        /// Which request.
        request: RequestId,
        /// True when the target answered.
        accepted: bool,
        /// SIP status and reason, for the record.
        reason: String,
    },
    /// An engine the call needs is not available.
    ProviderDown {
        /// `speech_to_text`, `text_to_speech`, `intents`, `language_model`.
        stage: &'static str,
        /// True when it is only busy and trying again makes sense.
        busy: bool,
    },
    /// A part of the answer to `Effect::Think`.
    Thought {
        /// Which request.
        request: RequestId,
        /// What came.
        event: ThoughtEvent,
    },
    /// The speech-to-speech model wants a tool. Answered by `Effect::ToolAnswer`, unless the call ends its session.
    RealtimeCall {
        /// Of `Effect::Converse`.
        request: RequestId,
        /// Name and arguments, unchecked.
        call: ToolCall,
    },
    /// Something was said while the speech-to-speech model had the call.
    RealtimeSaid {
        /// Of `Effect::Converse`.
        request: RequestId,
        /// Who.
        speaker: Speaker,
        /// The words; the agent's only as far as they were played.
        text: Pii<String>,
    },
    /// The speech-to-speech session is gone or never came about, all its providers tried.
    RealtimeFailed {
        /// Of `Effect::Converse`.
        request: RequestId,
    },
}

/// A part of a language model's answer.
#[derive(Clone, Debug)]
pub enum ThoughtEvent {
    /// A sentence or clause, ready to be said.
    Speech(Pii<String>),
    /// It wants a tool.
    Call(ToolCall),
    /// The answer is whole.
    Finished(Finish),
    /// There is no more of the answer, all providers tried.
    Failed {
        /// `timeout`, `rate_limited`, `not_configured`, … for the record.
        kind: &'static str,
        /// Whether the same request may succeed when it is made again at once.
        retryable: bool,
    },
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFailure {
    /// Machine-readable: `timeout`, `refused`, `status_409`, `not_json`, `not_allowed`, `circuit_open`.
    /// Matched against the `on:` edges of the tool's node; `error` there takes what has no edge of its own.
    pub kind: String,
    /// One sentence for the log.
    pub detail: String,
    /// The JSON body that came with an error status, such as the alternatives of a 409.
    pub body: Option<Value>,
}

impl ToolFailure {
    /// A failure without a body.
    pub fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into(), body: None }
    }

    /// Adds the JSON body that came with an error status.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}
