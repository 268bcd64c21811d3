//! Caps of the agent room, each with the need or attack it answers.

use std::time::Duration;

/// Longest agent file in bytes: a file is read whole, and a mistaken path must not fill the memory.
pub const FILE_BYTES: usize = 1 << 20;
/// Deepest nesting of an agent file: a parser must not run out of stack on `[[[[[…`.
pub const FILE_DEPTH: usize = 32;
/// Most YAML nodes of one file, aliases expanded: answers alias bombs.
pub const FILE_NODES: usize = 100_000;
/// Most problems printed for one file; the rest is counted.
pub const DIAGNOSTICS: usize = 200;
/// Longest caller turn that is looked at, in characters: a minute of speech is about 900.
pub const UTTERANCE_CHARS: usize = 2_000;
/// Longest text sent to be classified, in characters: sentence embeddings read about 256 tokens.
pub const CLASSIFY_CHARS: usize = 600;
/// Longest text argument of a tool unless the file says otherwise, in characters.
pub const ARGUMENT_CHARS: usize = 500;
/// Longest value kept of a call variable (SIP headers are the caller's to fill), in characters.
pub const VARIABLE_CHARS: usize = 256;
/// Most call variables kept.
pub const VARIABLES: usize = 64;
/// Nodes entered without anything to wait for before a flow counts as stuck in a circle.
pub const STEPS_PER_INPUT: usize = 200;
/// Instructions one template or condition may execute.
pub const TEMPLATE_FUEL: u64 = 100_000;
/// Longest spoken line after filling in, in characters: about two minutes of speech.
pub const LINE_CHARS: usize = 2_000;
/// Turns of history kept for context; older ones are dropped.
pub const HISTORY_TURNS: usize = 200;
/// Largest edit distance, as a share of the word's length, at which a word still counts as an option's.
pub const FUZZY_SHARE: f32 = 0.34;
/// Longest `timeout` of a tool: a caller waits for it.
pub const TOOL_TIMEOUT: Duration = Duration::from_secs(30);
/// Most `retries` of a tool.
pub const TOOL_RETRIES: u32 = 3;
/// Most `retries` of a question.
pub const QUESTION_RETRIES: u32 = 10;
/// Turns of a conversation after which it is handed over or ended: answers robots that talk for ever.
pub const TURNS: u32 = 300;
/// Shortest and longest `connect_timeout` of a bridge: a caller waits for it.
pub const BRIDGE_CONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Least and most caller audio that a bridge keeps: memory of every call whose bot is away.
pub const BRIDGE_BUFFER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// Least and most audio of a bot that may wait to be heard: memory of every call whose bot talks faster than anyone hears.
pub const BRIDGE_QUEUE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Most `reconnects` of a bridge.
pub const BRIDGE_RECONNECTS: u32 = 20;
/// Most `parameters` of a bridge.
pub const BRIDGE_PARAMETERS: usize = 64;
/// Most providers of one stage: each one that is down costs the caller its timeout.
pub const PROVIDERS: usize = 8;
/// Most `max_tokens` of a language model's answer: a caller listens to it.
pub const ANSWER_TOKENS: u32 = 4_096;
/// Longest instructions of a language model after filling in, in characters: every one is paid for in every turn.
pub const PROMPT_CHARS: usize = 32_000;
/// Exchanges of history a language model is given; past them the older half is dropped, so that what a vendor has
/// cached stays good for long.
pub const HISTORY_EXCHANGES: usize = 60;
/// Characters of history a language model is given, tool answers included; past them the older half is dropped.
pub const HISTORY_CHARS: usize = 48_000;
/// Longest answer of a tool that a language model is given, in characters: an API's page of results is no reading matter.
pub const TOOL_ANSWER_CHARS: usize = 4_000;
/// Answers of a language model between two turns of the caller: answers models that call tools in a circle.
pub const MODEL_ROUNDS: u32 = 8;
/// Tool calls of one answer; what is beyond is not run.
pub const MODEL_CALLS: usize = 8;
/// Unusable tool calls in a row that are explained to a language model before the node counts as failed.
pub const MODEL_MISTAKES: u32 = 4;
/// Times that an answer which failed on the way is asked for again.
pub const MODEL_RETRIES: u32 = 1;
/// Longest answer that is said, in characters: about three minutes of speech.
pub const ANSWER_CHARS: usize = 3_000;
/// Turns of the caller in one `converse` node unless the file says otherwise.
pub const CONVERSE_TURNS: u32 = 40;
/// Longest name of a tool that models are told of: the common ground of all vendors.
pub const TOOL_NAME_CHARS: usize = 64;
/// Phrases that a recogniser is told to expect at one question: what vendors take at the least.
pub const EXPECTED_PHRASES: usize = 50;
/// Longest of them, in octets; vendors refuse longer ones.
pub const EXPECTED_PHRASE_BYTES: usize = 50;
