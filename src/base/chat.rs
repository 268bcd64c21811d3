//! What passes between a conversation and a language model: messages, tools, why an answer ended. Neither side's wire
//! format.

use super::Pii;
use serde_json::{Map, Value};

/// One message of the conversation so far, oldest first in a [`Prompt`].
#[derive(Clone, Debug)]
pub enum Message {
    /// The caller's words.
    Caller(Pii<String>),
    /// What the agent said (only what the caller heard of it), and the tools it asked for after that.
    Agent {
        /// Spoken words; empty when it only called tools.
        text: Pii<String>,
        /// Tool calls; each must be followed by its [`Message::ToolResult`].
        calls: Vec<ToolCall>,
    },
    /// The answer to a tool call of an earlier [`Message::Agent`].
    ToolResult {
        /// [`ToolCall::id`].
        call: String,
        /// The tool's name.
        tool: String,
        /// JSON, or one sentence that says what failed.
        content: Pii<String>,
        /// True when the tool failed.
        failed: bool,
    },
}

/// A tool that the model wants to run. The name comes from the model: look it up in the closed list before anything else.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolCall {
    /// The vendor's id, opaque; made up where the vendor gives none.
    pub id: String,
    /// One of [`ToolSpec::name`], or what the model invented.
    pub name: String,
    /// Arguments as the model gave them, unchecked; see [`Self::malformed_arguments`].
    pub arguments: Pii<Map<String, Value>>,
    /// What the vendor wants to see again in the history, unread (Gemini's `thoughtSignature`). Each adapter knows its
    /// own by how it starts.
    pub opaque: Option<String>,
}

impl ToolCall {
    /// The only argument of a call whose arguments are no JSON object; its value is what the model wrote. No schema has
    /// it, so checking the arguments refuses the call, and the model sees in the history what it wrote.
    pub const MALFORMED: &'static str = "malformed_arguments";

    /// A call whose arguments are no JSON object. Answer it with a failed [`Message::ToolResult`] that says so.
    #[must_use]
    pub fn malformed(id: String, name: String, written: String) -> Self {
        let arguments = Map::from_iter([(Self::MALFORMED.to_owned(), Value::String(written))]);
        Self { id, name, arguments: Pii::new(arguments), opaque: None }
    }

    /// What the model wrote in place of arguments; `None` for a call that may be checked and run.
    #[must_use]
    pub fn malformed_arguments(&self) -> Option<&str> {
        self.arguments.expose().get(Self::MALFORMED)?.as_str()
    }
}

/// A tool the model may call.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolSpec {
    /// `[A-Za-z0-9_-]{1,64}`, the common ground of all vendors.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
}

/// What a language model is asked.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// The system prompt. Stable between turns, so that vendors can cache it.
    pub instructions: String,
    /// The conversation, oldest first; ends with the caller or a tool result.
    pub messages: Vec<Message>,
    /// The tools of this turn.
    pub tools: Vec<ToolSpec>,
    /// Most output tokens; 0 leaves it to the provider's configuration.
    pub output_tokens_max: u32,
}

/// What an answer cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from the vendor's cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Why the model's answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// It said all it wanted.
    Complete,
    /// It waits for the results of its tool calls.
    ToolCalls,
    /// It ran into the limit of output tokens: the last sentence may be cut.
    Length,
    /// The model declined to answer.
    Refused,
    /// The vendor's filter stopped it.
    Filtered,
}
