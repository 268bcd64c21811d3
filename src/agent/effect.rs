//! What a conversation wants done, as values. `call/effects.rs` is the only place that does any of it.

pub use crate::base::Expect;
use crate::base::Pii;
use crate::base::chat::{Message, Prompt, ToolSpec};
use serde_json::Value;
use std::time::Duration;

/// One thing said by the agent; numbers only grow within a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UtteranceId(pub u32);

/// One request whose answer comes back as an [`super::Input`]; numbers only grow within a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RequestId(pub u32);

/// Something with an effect outside the conversation.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Say this. Several `Speak`s without a `Listen` between them are said one after the other.
    Speak {
        /// Comes back in [`super::Input::SpeechEnded`].
        utterance: UtteranceId,
        /// Plain text, already filled in from its template.
        text: String,
        /// Whether the caller may interrupt it. A legal notice may not be interrupted.
        interruptible: bool,
        /// It stands in the agent file like this, the same for every caller: its audio may be kept.
        fixed: bool,
    },
    /// The agent has said all it wants and now waits for the caller.
    Listen(Listen),
    /// Which of these labels does the text mean? Answered by [`super::Input::Classified`].
    Classify {
        /// Comes back with the answer.
        request: RequestId,
        /// What the caller said.
        text: Pii<String>,
        /// The labels, each with example phrases.
        labels: Vec<Label>,
    },
    /// Run a tool. Answered by [`super::Input::ToolFinished`].
    CallTool {
        /// Comes back with the result.
        request: RequestId,
        /// A tool id out of the agent file.
        tool: String,
        /// Arguments checked against the tool's declaration.
        arguments: Pii<serde_json::Map<String, Value>>,
        /// Idempotency key: the same for each retry of the same action.
        idempotency_key: String,
        /// True when the caller said yes to a read-back and nothing has changed since.
        confirmed: bool,
    },
    /// Ask the language model. Answered by any number of [`super::Input::Thought`], the last of them
    /// [`super::ThoughtEvent::Finished`] or [`super::ThoughtEvent::Failed`].
    Think {
        /// Comes back with every part of the answer.
        request: RequestId,
        /// Instructions, conversation and tools. The instructions and tools stay the same, to the byte, for as long
        /// as the flow stays in one node.
        prompt: Pii<Prompt>,
    },
    /// Give up a [`Effect::Think`] whose answer nobody waits for any more. What still comes of it is ignored.
    StopThinking {
        /// Which.
        request: RequestId,
    },
    /// Connect the caller to a speech-to-speech model: from here on it hears and speaks. It calls tools by
    /// [`super::Input::RealtimeCall`] and what is said is reported by [`super::Input::RealtimeSaid`], until
    /// [`Effect::EndConverse`] or [`super::Input::RealtimeFailed`].
    Converse {
        /// Comes back with everything the session reports.
        request: RequestId,
        /// The system prompt.
        instructions: String,
        /// The tools it may call.
        tools: Vec<ToolSpec>,
        /// What was said before, oldest first.
        messages: Pii<Vec<Message>>,
        /// Its first line, to be said word for word.
        opening: Option<String>,
        /// Without an `opening`: true when the model speaks first, false when it waits for the caller.
        speak_first: bool,
        /// Send [`super::Input::Silence`] when the caller has said nothing for this long after the model fell silent.
        no_input: Duration,
    },
    /// The answer to [`super::Input::RealtimeCall`].
    ToolAnswer {
        /// Of [`Effect::Converse`].
        request: RequestId,
        /// The call's id, as it came.
        call: String,
        /// The tool's name, as it came.
        tool: String,
        /// JSON, or a sentence that says what failed.
        content: Pii<String>,
        /// True when the tool failed.
        failed: bool,
    },
    /// Let the speech-to-speech model go, once it has said what it is saying. The flow speaks and listens again.
    EndConverse {
        /// Of [`Effect::Converse`].
        request: RequestId,
    },
    /// Hand the call to a destination out of the agent file. Answered by [`super::Input::TransferFinished`].
    Transfer {
        /// Comes back with the outcome.
        request: RequestId,
        /// The destination's id, never a number or URI.
        destination: String,
        /// What the human should know: reason, slots, last words.
        context: Pii<serde_json::Map<String, Value>>,
        /// Said to whoever answers before the caller is connected.
        announcement: Option<Pii<String>>,
    },
    /// End the call after everything said so far has been played.
    Hangup {
        /// `completed`, `caller_silent`, `retries_used_up`, … for the record.
        reason: String,
        /// Whether the task of the call was done.
        completed: bool,
        /// Header fields of the BYE, by name and value.
        headers: Vec<(String, Pii<String>)>,
    },
    /// Something worth a line in the event stream: node entered, slot filled, failure handled.
    Note(Note),
}

/// How to wait for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is expected; turn-taking waits longer inside numbers and names than after a yes.
    pub expect: Expect,
    /// Send [`super::Input::Silence`] when the caller has said nothing for this long after the agent fell silent.
    pub no_input: Duration,
    /// Collect keypad digits too, when given.
    pub digits: Option<CollectDigits>,
    /// Words of the agent file that an answer probably has in it; for recognisers that can be told.
    pub phrases: Vec<String>,
}

/// How to collect keypad digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectDigits {
    /// Complete at this many.
    pub max: usize,
    /// Complete at this key, which is not part of the answer.
    pub terminator: Option<char>,
    /// Complete when no further key came for this long.
    pub between_keys: Duration,
}

/// A class for [`Effect::Classify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Phrases that mean it.
    pub examples: Vec<String>,
}

/// A line for the event stream. Values a caller gave are [`Pii`].
#[derive(Clone, Debug)]
pub enum Note {
    /// The flow entered a node.
    NodeEntered {
        /// The node's id.
        node: String,
    },
    /// A slot was filled or corrected.
    SlotFilled {
        /// The variable.
        slot: String,
        /// Its value as spoken back.
        value: Pii<String>,
        /// True when it replaced an earlier value the caller called wrong.
        corrected: bool,
    },
    /// A failure met its defined response.
    FailureHandled {
        /// `no_input`, `no_match`, `low_confidence`, `wants_human`, `tool_error`, `provider_down`, …
        kind: &'static str,
        /// The node it happened in.
        node: String,
    },
}
