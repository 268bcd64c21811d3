//! What a speech-to-speech vendor has to say about its wire format, as a pure machine: one value per connection.

use super::{AnswerId, RealtimeRequest};
use crate::base::Pii;
use crate::base::chat::{ToolCall, ToolSpec, Usage};
use crate::providers::ProviderError;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, Request};
use std::time::Duration;

/// A vendor. One value serves all calls.
pub trait RealtimeVendor: Send + Sync + 'static {
    /// The audio both ways for this line.
    fn format(&self, request: &RealtimeRequest) -> RealtimeFormats;
    /// A request that has to be answered before the connection (a signed URL); `None` for most. The body of its answer
    /// goes to [`Self::connect`].
    fn before(&self) -> Option<Request> {
        None
    }
    /// A machine for one connection.
    ///
    /// # Errors
    /// The answer to [`Self::before`] is not what it should be.
    fn connect(
        &self,
        request: &RealtimeRequest,
        formats: RealtimeFormats,
        before: Option<&[u8]>,
    ) -> Result<Box<dyn RealtimeProtocol>, ProviderError>;
}

/// The audio each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealtimeFormats {
    /// Toward the vendor.
    pub input: AudioFormat,
    /// From it.
    pub output: AudioFormat,
    /// Milliseconds per message toward it.
    pub packet_ms: u32,
}

/// One connection. Nothing in here waits or reads a clock.
pub trait RealtimeProtocol: Send {
    /// The request that opens it.
    fn handshake(&self) -> Handshake;
    /// The connection is open: what has to be said first.
    fn opened(&mut self, out: &mut Outbox);
    /// One packet of audio.
    fn audio(&mut self, octets: &[u8], out: &mut Outbox);
    /// The caller has finished.
    fn commit(&mut self, out: &mut Outbox);
    /// The answer under way is void; `heard` of its audio was played.
    fn interrupt(&mut self, heard: Duration, out: &mut Outbox);
    /// The answer to a tool call.
    fn tool_result(&mut self, call: &str, tool: &str, content: &str, failed: bool, out: &mut Outbox);
    /// New instructions and tools.
    fn update(&mut self, instructions: &str, tools: &[ToolSpec], out: &mut Outbox);
    /// Words on the caller's side.
    fn tell(&mut self, text: &str, out: &mut Outbox);
    /// The vendor's message. Unknown types and fields are ignored.
    ///
    /// # Errors
    /// The session has failed.
    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError>;
    /// After how long without anything sent something has to be sent.
    fn idle_after(&self) -> Option<Duration> {
        None
    }
    /// Nothing was sent for [`Self::idle_after`].
    fn idle(&mut self, out: &mut Outbox) {
        let _ = out;
    }
    /// The session is not wanted any more.
    fn goodbye(&mut self, out: &mut Outbox);
    /// What a close by the vendor means; `None` when it is a good end.
    fn closed(&self, closed: &Closed) -> Option<ProviderError>;
}

/// What a vendor's message means.
#[derive(Clone, Debug)]
pub enum Answered {
    /// The session is set up.
    Ready,
    /// The caller began to speak, by the vendor's judgement.
    SpeechStarted,
    /// The caller has finished, by the vendor's judgement.
    SpeechStopped,
    /// Audio in the output format.
    Audio {
        /// Which answer.
        answer: AnswerId,
        /// Octets, cut anywhere.
        octets: Vec<u8>,
    },
    /// All audio of an answer has come.
    AudioEnded {
        /// Which answer.
        answer: AnswerId,
    },
    /// The caller's words.
    CallerSaid(Pii<String>),
    /// The agent's words.
    AgentSaid {
        /// Which answer.
        answer: AnswerId,
        /// The words.
        text: Pii<String>,
    },
    /// A whole tool call.
    Call(ToolCall),
    /// What an answer cost.
    Used(Usage),
    /// The session will be ended soon: connect anew, with this handle where the vendor gave one.
    Expiring {
        /// Opaque.
        handle: Option<String>,
    },
}
