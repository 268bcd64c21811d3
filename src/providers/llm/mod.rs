//! Language models as the call sees them, and as a vendor's protocol machine sees them ([`protocol`]).
//!
//! A vendor is a file with a machine that writes requests and reads events; [`stream`] is the shell around all of them.
//! What a model writes is no speech yet: [`super::speakable`] makes it so.

mod anthropic;
mod calls;
mod chat;
mod compatible;
mod fault;
mod flow;
mod gemini;
mod history;
mod parameters;
pub mod protocol;
mod responses;
mod silent;
pub mod sse;
pub mod stream;
pub mod vendors;

#[cfg(test)]
pub(super) mod tests;

use super::meter::Meter;
use super::{ProviderError, ProviderName};
use crate::base::Pii;
pub use crate::base::chat::{Finish, Message, Prompt, ToolCall, ToolSpec, Usage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A piece of an answer, in order; the last is [`Thought::Finished`], then the channel closes.
#[derive(Clone, Debug)]
pub enum Thought {
    /// Some characters of what is to be said, as the model writes them: markdown and half words included.
    Text(Pii<String>),
    /// A whole tool call.
    Call(ToolCall),
    /// The end.
    Finished {
        /// Why.
        finish: Finish,
        /// What it cost, where the vendor says so.
        usage: Usage,
    },
}

/// The answer to one prompt. Dropping it stops the vendor.
pub type ThoughtStream = mpsc::Receiver<Result<Thought, ProviderError>>;

/// What a model can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LlmCapabilities {
    /// Calls tools.
    pub tools: bool,
    /// The vendor caches the start of prompts.
    pub prompt_cache: bool,
}

/// A language model.
pub trait LanguageModel: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> ProviderName;

    /// What it can do.
    fn capabilities(&self) -> LlmCapabilities;

    /// What it has done so far.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }

    /// How long its first word is waited for before another model is asked besides; `None` as long as it takes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// A call is ringing: have a connection ready. Returns at once.
    fn warm(&self) {}

    /// Starts to answer. Never blocks.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when as many requests are under way as the key allows.
    fn think(&self, prompt: Arc<Prompt>) -> Result<ThoughtStream, ProviderError>;
}
