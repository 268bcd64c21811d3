//! Decides **what** the agent says and does: the agent file, its flow graph, slots, intents and templates.
//!
//! Pure: `Conversation::handle(now, Input)` puts a happening in, `poll_effect()` takes the consequences out.

pub mod destination;
pub mod diagnostic;
pub mod effect;
pub mod input;
pub mod limits;
pub mod slot;
pub mod source;
pub mod speak;
pub mod template;
pub mod tool;
pub mod value;

pub use crate::base::Expect;
pub use effect::{CollectDigits, Effect, Label, Listen, Note, RequestId, UtteranceId};
pub use input::{Input, ToolFailure};
