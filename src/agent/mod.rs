//! Decides **what** the agent says and does: the agent file, its flow graph, slots, intents and templates.
//!
//! Pure: `Conversation::handle(now, Input)` puts a happening in, `poll_effect()` takes the consequences out.

pub mod bridge;
pub mod calendar;
pub mod command;
pub mod conversation;
pub mod destination;
pub mod diagnostic;
pub mod effect;
pub mod file;
pub mod flow;
pub mod input;
pub mod intent;
pub mod limits;
pub mod listening;
pub mod offer;
pub mod rule;
pub mod slot;
pub mod source;
pub mod speak;
pub mod speech;
pub mod template;
pub mod tool;
pub mod value;

pub use conversation::{Conversation, Memory, Speaker, Turn};
pub use diagnostic::{LoadError, Report};
pub use effect::{CollectDigits, Effect, Expect, Label, Listen, Note, RequestId, UtteranceId};
pub use file::{Agent, Checked, check};
pub use input::{Input, ThoughtEvent, ToolFailure};
pub use listening::Listening;
