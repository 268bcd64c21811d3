//! The flow graph of an agent: nodes, edges and the responses to failures.

use super::diagnostic::Position;
use serde_json::Value;

/// Index of a node in [`super::Agent::nodes`].
pub type NodeIndex = usize;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// Where its name stands in the file.
    pub at: Position,
    /// Variables emptied on entry, after `set`; a `say` node speaks first.
    pub clear: Vec<String>,
    /// Variables set on entry: name, expression.
    pub set: Vec<(String, String)>,
    /// Entering it means that the task of the call is done.
    pub completes: bool,
    /// What it does.
    pub body: Body,
    /// Responses of this node; the agent's own apply where it has none.
    pub on: Vec<(Failure, Handler)>,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Body {
    /// Asks for one slot and goes on once it is filled. Skipped while the slot is filled already.
    Ask {
        /// The variable.
        slot: String,
        /// The question and how it is put again.
        question: Question,
        /// Other variables taken from the same utterance.
        listen_for: Vec<String>,
        /// Then.
        next: Next,
    },
    /// Reads several slots back and goes on after a yes; anything else is corrected first.
    Confirm {
        /// The variables read back.
        slots: Vec<String>,
        /// The read-back, ending in a question.
        question: Question,
        /// "What should I change?"
        which: Vec<String>,
        /// Then.
        next: Next,
    },
    /// A language model talks, within what the node lets it do.
    Converse(Box<Converse>),
    /// Only decides where to go.
    Decide {
        /// Where.
        next: Next,
    },
    /// Ends the call.
    Hangup {
        /// Last words.
        say: Vec<String>,
        /// For the record.
        reason: String,
        /// Whether the task was done; otherwise it was done if a `completes` node was entered.
        completed: Option<bool>,
        /// Header fields of the BYE: names, and templates of their values.
        headers: Vec<(String, String)>,
    },
    /// Finds out what the caller wants.
    Route {
        /// The question and how it is put again.
        question: Question,
        /// Intent index and where it leads.
        intents: Vec<(usize, NodeIndex)>,
        /// Keys of the telephone and where they lead.
        keys: Vec<(char, NodeIndex)>,
        /// Variables taken from the caller's request.
        listen_for: Vec<String>,
    },
    /// Says something.
    Say {
        /// Wordings; the n-th visit says the n-th, the last one from then on.
        say: Vec<String>,
        /// Whether the caller may interrupt.
        interruptible: bool,
        /// Then.
        next: Next,
    },
    /// Runs a tool.
    Tool {
        /// Index in [`super::Agent::tools`].
        tool: usize,
        /// Argument and expression.
        with: Vec<(String, String)>,
        /// Said while it runs.
        filler: Vec<String>,
        /// Variable and JSON pointer into the answer.
        result: Vec<(String, String)>,
        /// Then.
        next: Next,
        /// Failure kind (`status_409`, `timeout`, … or `error` for all others) and the response.
        failures: Vec<(String, ToolEdge)>,
    },
    /// Hands the call over.
    Transfer {
        /// Index in [`super::Agent::destinations`].
        destination: usize,
        /// Announcement.
        say: Vec<String>,
        /// Variables the human gets; all that are filled when empty.
        context: Vec<String>,
        /// Why, for the human.
        reason: String,
    },
}

/// What a language model is told in a `converse` node, and all that it may do there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Converse {
    /// Template of its instructions, filled in once on entry.
    pub prompt: String,
    /// Wordings of a first line said word for word; the n-th visit says the n-th, the last one from then on.
    pub opening: Vec<String>,
    /// Without an opening: true when the model speaks first. It answers at once when the caller has just spoken.
    pub speak_first: bool,
    /// The tools it may run.
    pub tools: Vec<ModelTool>,
    /// The ways out, at least one.
    pub exits: Vec<Exit>,
    /// The variables it may fill.
    pub collect: Vec<String>,
    /// Variables taken from the caller's words by their grammars.
    pub listen_for: Vec<String>,
    /// Retries and patience; it has no wordings.
    pub question: Question,
    /// Turns of the caller before `retries_used_up`.
    pub max_turns: u32,
}

/// A tool that a model may run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModelTool {
    /// Index in [`super::Agent::tools`].
    pub tool: usize,
    /// Said while it runs, unless the model has said something itself.
    pub filler: Vec<String>,
    /// What a caller is asked before a tool with `confirm` runs: a template over the tool's arguments, ending in a
    /// question. [`super::file::Phrases::read_back`] when absent.
    pub read_back: Option<String>,
}

/// A way out of a `converse` node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Its name; the model takes it by calling `exit_<name>`.
    pub name: String,
    /// Where it leads.
    pub target: NodeIndex,
    /// When to take it, for the model; empty when the name says it all.
    pub when: String,
}

/// How something is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Question {
    /// Wordings; the n-th attempt uses the n-th, the last one from then on.
    pub wordings: Vec<String>,
    /// Failed attempts before `retries_used_up`.
    pub retries: u32,
    /// Caller's silence after which `no_input` is due, in milliseconds.
    pub no_input_ms: u64,
}

/// An edge: the first condition that holds decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// Condition and where it leads.
    pub when: Vec<(String, NodeIndex)>,
    /// Where else.
    pub otherwise: NodeIndex,
}

/// The edge of a tool failure.
#[derive(Clone, Debug)]
pub struct ToolEdge {
    /// Variable and JSON pointer into the body that came with the error.
    pub result: Vec<(String, String)>,
    /// The response.
    pub handler: Handler,
}

/// What can go wrong with the caller, the line or a provider, each with a response in every agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// The caller never said anything to one question, retries included.
    CallerSilent,
    /// The caller says goodbye.
    Goodbye,
    /// The words are too uncertain to act on.
    LowConfidence,
    /// The language model declined to answer, or its vendor's filter stopped it.
    ModelRefused,
    /// The caller said nothing.
    NoInput,
    /// The answer fits nothing that was asked.
    NoMatch,
    /// The caller wants what this agent cannot do.
    OutOfScope,
    /// Speech-to-text, text-to-speech or the language model is gone.
    ProviderDown,
    /// The question was put often enough.
    RetriesUsedUp,
    /// Nobody took the transferred call.
    TransferFailed,
    /// The caller wants a person.
    WantsHuman,
}

impl Failure {
    /// Every failure with its name under `on:`.
    pub const NAMES: [(&'static str, Self); 11] = [
        ("caller_silent", Self::CallerSilent),
        ("goodbye", Self::Goodbye),
        ("low_confidence", Self::LowConfidence),
        ("model_refused", Self::ModelRefused),
        ("no_input", Self::NoInput),
        ("no_match", Self::NoMatch),
        ("out_of_scope", Self::OutOfScope),
        ("provider_down", Self::ProviderDown),
        ("retries_used_up", Self::RetriesUsedUp),
        ("transfer_failed", Self::TransferFailed),
        ("wants_human", Self::WantsHuman),
    ];

    /// Its name under `on:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, failure)| *failure == self).map_or("failure", |(name, _)| name)
    }

    /// Whether its response may put the question again: those that count against the retries may.
    #[must_use]
    pub fn may_ask_again(self) -> bool {
        matches!(
            self,
            Self::LowConfidence
                | Self::ModelRefused
                | Self::NoInput
                | Self::NoMatch
                | Self::OutOfScope
                | Self::WantsHuman
        )
    }
}

/// The response to a failure: words, then a way on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handler {
    /// Wordings; the n-th time in a row says the n-th.
    pub say: Vec<String>,
    /// The way on.
    pub then: Then,
}

/// The way on after a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// Put the question again.
    AskAgain,
    /// Go to a node.
    Go(NodeIndex),
    /// Hang up with this reason.
    Hangup(String),
    /// Hand over to the destination with this index.
    Transfer(usize),
}

impl Node {
    /// Every node this one can lead to, failure edges included.
    #[must_use]
    pub fn targets(&self) -> Vec<NodeIndex> {
        let mut targets = Vec::new();
        if let Some(next) = self.next() {
            targets.extend(next.when.iter().map(|(_, target)| *target));
            targets.push(next.otherwise);
        }
        match &self.body {
            Body::Converse(converse) => targets.extend(converse.exits.iter().map(|exit| exit.target)),
            Body::Route { intents, keys, .. } => {
                targets.extend(intents.iter().map(|(_, target)| *target));
                targets.extend(keys.iter().map(|(_, target)| *target));
            }
            Body::Tool { failures, .. } => {
                targets.extend(failures.iter().filter_map(|(_, edge)| edge.handler.target()));
            }
            _ => {}
        }
        targets.extend(self.on.iter().filter_map(|(_, handler)| handler.target()));
        targets
    }

    /// The edge to the following node, where the kind has one.
    #[must_use]
    pub fn next(&self) -> Option<&Next> {
        match &self.body {
            Body::Ask { next, .. }
            | Body::Confirm { next, .. }
            | Body::Decide { next }
            | Body::Say { next, .. }
            | Body::Tool { next, .. } => Some(next),
            Body::Converse(_) | Body::Hangup { .. } | Body::Route { .. } | Body::Transfer { .. } => None,
        }
    }

    /// Whether the conversation stops here for the outside world: a caller, a tool, the end.
    #[must_use]
    pub fn waits(&self) -> bool {
        !matches!(self.body, Body::Decide { .. } | Body::Say { .. })
    }

    /// Whether a caller is asked something here.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.question().is_some()
    }

    /// What is asked here.
    #[must_use]
    pub fn question(&self) -> Option<&Question> {
        match &self.body {
            Body::Ask { question, .. } | Body::Confirm { question, .. } | Body::Route { question, .. } => {
                Some(question)
            }
            Body::Converse(converse) => Some(&converse.question),
            _ => None,
        }
    }
}

impl Handler {
    fn target(&self) -> Option<NodeIndex> {
        match self.then {
            Then::Go(target) => Some(target),
            _ => None,
        }
    }
}

/// The part of a JSON answer at a pointer (RFC 6901); the empty pointer is the whole.
#[must_use]
pub fn part<'v>(answer: &'v Value, pointer: &str) -> Option<&'v Value> {
    answer.pointer(pointer).filter(|value| !value.is_null())
}
