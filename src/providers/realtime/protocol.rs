//! What a speech-to-speech vendor has to say about its wire format, as a pure machine: one value per connection.
//!
//! [`super::session`] owns everything that is the same for all vendors: packets of the wanted length, the numbers of
//! answers within a session, what was said so far, deadlines, fresh connections.

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
    fn before(&self, request: &RealtimeRequest) -> Option<Request> {
        let _ = request;
        None
    }
    /// After how long a connection is exchanged for a fresh one, at the next quiet moment: before the vendor's own limit.
    fn lifetime(&self) -> Option<Duration> {
        None
    }
    /// See [`SpeechToSpeech::reports_speech`](super::SpeechToSpeech::reports_speech).
    fn reports_speech(&self) -> bool {
        false
    }
    /// A machine for one connection.
    ///
    /// # Errors
    /// The answer to [`Self::before`] is not what it should be.
    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError>;
}

/// What a connection starts with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Instructions, tools and what was said so far; `opening` only until it was said.
    pub request: &'a RealtimeRequest,
    /// [`RealtimeVendor::format`].
    pub formats: RealtimeFormats,
    /// The body of the answer to [`RealtimeVendor::before`].
    pub before: Option<&'a [u8]>,
    /// The vendor's own memory of this session ([`Answered::Resumable`]): nothing has to be told again.
    pub handle: Option<&'a str>,
    /// The last of the messages waits for an answer that no connection has given.
    pub answer_due: bool,
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

/// One connection. Nothing in here waits or reads a clock. Between [`Self::opened`] and [`Answered::Ready`] nothing else is
/// called but [`Self::received`] and [`Self::idle`].
pub trait RealtimeProtocol: Send {
    /// The request that opens it.
    fn handshake(&self) -> Handshake;
    /// The connection is open: what has to be said first.
    fn opened(&mut self, out: &mut Outbox);
    /// One packet of audio.
    fn audio(&mut self, octets: &[u8], out: &mut Outbox);
    /// The caller has finished: answer. Called only when no answer is under way.
    fn commit(&mut self, out: &mut Outbox);
    /// Whatever is under way or asked for is void: nothing that still comes of it is reported, and the vendor is told
    /// where it can be.
    fn cancel(&mut self, out: &mut Outbox);
    /// Only so much of a void answer was played.
    fn heard(&mut self, answer: AnswerId, heard: Duration, out: &mut Outbox) {
        let _ = (answer, heard, out);
    }
    /// The answer to a tool call. With `go_on` no call waits any more and the
    /// caller does not speak: the vendor is to answer.
    fn tool_result(&mut self, result: &ToolResult<'_>, go_on: bool, out: &mut Outbox);
    /// New instructions and tools. False where they cannot change within a connection: then a fresh one is opened at
    /// the next quiet moment.
    fn update(&mut self, instructions: &str, tools: &[ToolSpec], out: &mut Outbox) -> bool;
    /// Words on the caller's side, to be answered.
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
    /// For a vendor that does not mark the end of an answer: so long without audio is one.
    fn ends_after(&self) -> Option<Duration> {
        None
    }
    /// The session is not wanted any more.
    fn goodbye(&mut self, out: &mut Outbox) {
        out.close(1000);
    }
    /// What a close by the vendor means. A close in the middle of a call is never good: even a friendly one needs a
    /// fresh connection.
    fn closed(&self, closed: &Closed) -> ProviderError;
}

/// The answer to a tool call.
#[derive(Clone, Copy, Debug)]
pub struct ToolResult<'a> {
    /// [`ToolCall::id`].
    pub call: &'a str,
    /// The tool's name.
    pub tool: &'a str,
    /// JSON, or a sentence that says what failed.
    pub content: &'a str,
    /// True when the tool failed.
    pub failed: bool,
}

/// Names a turn of the caller within a connection; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TurnId(pub u32);

/// What a vendor's message means. Answers are numbered from 1 within a connection, in the order in which they begin.
#[derive(Clone, Debug)]
pub enum Answered {
    /// The session is set up.
    Ready,
    /// The caller began to speak, by the vendor's judgement: what it was saying is void.
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
    /// Nothing more comes of an answer, which may have had no audio at all.
    AudioEnded {
        /// Which answer.
        answer: AnswerId,
    },
    /// The caller's words.
    CallerSaid(Pii<String>),
    /// For a vendor that orders what is said: a turn of the caller stands in the conversation. Its words follow by
    /// [`Self::TurnSaid`], and what stands behind it waits for them.
    CallerTurn {
        /// Which turn.
        turn: TurnId,
        /// The turn it stands before; `None` for the last place.
        before: Option<TurnId>,
    },
    /// The words of a turn.
    TurnSaid {
        /// Which turn.
        turn: TurnId,
        /// `None` when there are none: the transcription has failed, or it was noise.
        text: Option<Pii<String>>,
    },
    /// The next of the agent's words, white space included.
    AgentSaid {
        /// Which answer.
        answer: AnswerId,
        /// The words.
        text: Pii<String>,
    },
    /// All of the agent's words as they were heard, by the vendor's judgement.
    AgentCorrected {
        /// Which answer.
        answer: AnswerId,
        /// The words.
        text: Pii<String>,
    },
    /// A whole tool call.
    Call {
        /// Of which answer, where the vendor says.
        answer: Option<AnswerId>,
        /// The call.
        call: ToolCall,
    },
    /// The vendor does not want the results of these calls any more.
    CallsCancelled(Vec<String>),
    /// What an answer cost.
    Used(Usage),
    /// What a later connection may go on with.
    Resumable(String),
    /// The connection will be ended in so much time.
    Expiring {
        /// Zero when the vendor does not say.
        within: Duration,
    },
}
