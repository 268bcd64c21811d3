//! What a vendor of language models has to say about its wire format, as a pure machine: one [`Reply`] per request.
//!
//! All vendors here answer with server-sent events; the shell ([`super::stream`]) owns the request, the parsing of
//! events, deadlines, cancelling and counting.

use super::{LlmCapabilities, Prompt, Thought};
use crate::providers::ProviderError;
use crate::providers::exchange::Refusal;
use crate::providers::wire::Request;

/// A vendor. One value serves all calls.
pub trait LlmVendor: Send + Sync + 'static {
    /// What its model can do.
    fn capabilities(&self) -> LlmCapabilities;
    /// The request for an answer. Stable parts of the prompt come first and byte for byte the same, for caches' sake.
    fn request(&self, prompt: &Prompt) -> Request;
    /// A request that costs nothing and leaves an open connection, or wakes a server of one's own up; `None` where there
    /// is no such thing. Whatever it is answered counts as success.
    fn warm(&self) -> Option<Request>;
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

    /// How much of the answer has come: grows with every piece of text or of a tool call, and stays for pings and for
    /// what the model thinks in silence. Zero before the first piece.
    fn progress(&self) -> u64;

    /// The stream has ended. Must give [`Thought::Finished`] unless it was given before.
    ///
    /// # Errors
    /// It ended too early.
    fn ended(&mut self, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError>;
}
