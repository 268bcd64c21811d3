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
