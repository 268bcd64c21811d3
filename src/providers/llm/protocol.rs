//! What a vendor of language models has to say about its wire format, as a pure machine: one [`Reply`] per request.
//!
//! All vendors here answer with server-sent events; the shell owns the request, the parsing of events, deadlines,
//! cancelling and counting.

use super::{Prompt, Thought};
use crate::providers::ProviderError;
use crate::providers::exchange::Refusal;
use crate::providers::wire::Request;

/// A vendor. One value serves all calls.
pub trait LlmVendor: Send + Sync + 'static {
    /// The request for an answer. Stable parts of the prompt come first and byte for byte the same, for caches' sake.
    fn request(&self, prompt: &Prompt) -> Request;
    /// Reads the events of its answer.
    fn reply(&self) -> Box<dyn Reply>;
    /// The error in a refusal, by the vendor's own words where they say more than the status.
    fn refused(&self, refusal: Refusal) -> ProviderError;
}

/// The events of one answer.
pub trait Reply: Send {
    /// One event: its name where it has one, and its data. Unknown events and fields are ignored.
    ///
    /// # Errors
    /// The vendor reports a failure within the stream, or what it sent is no protocol of its.
    fn event(&mut self, name: Option<&str>, data: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError>;

    /// The stream has ended. Must give [`Thought::Finished`] unless it was given before.
    ///
    /// # Errors
    /// It ended too early.
    fn ended(&mut self, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError>;
}
