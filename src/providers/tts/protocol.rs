//! What a vendor of text-to-speech has to say about its wire format, as pure machines: one value per connection of a
//! WebSocket ([`TtsProtocol`]), or one per request of HTTP ([`TtsReply`]).
//!
//! The shell owns connections, deadlines, cancelling, fades and conversions.

use super::Voice;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, Request};
use crate::providers::{ProviderError, SpeakRequest, TtsCapabilities};
use std::time::Duration;

/// A vendor. One value serves all calls.
pub trait TtsVendor: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> TtsCapabilities;
    /// The audio it is best asked for on this line.
    fn format(&self, request: &SpeakRequest) -> AudioFormat;
    /// How it is spoken to.
    fn transport(&self) -> TtsTransport<'_>;
    /// The request that lists voices, the first page or the one called `page`; `None` where the vendor lists none.
    fn list(&self, page: Option<&str>) -> Option<Request> {
        let _ = page;
        None
    }
    /// Reads a page of the list, and what the next one is called.
    ///
    /// # Errors
    /// It is not what the vendor's protocol says.
    fn listed(&self, body: &[u8]) -> Result<(Vec<Voice>, Option<String>), ProviderError> {
        let _ = body;
        Ok((Vec::new(), None))
    }
}

/// The two ways vendors are spoken to.
pub enum TtsTransport<'v> {
    /// A WebSocket that is kept and serves one utterance after the other, or several at once.
    Socket(&'v dyn TtsSocketVendor),
    /// A request of HTTP per utterance.
    Http(&'v dyn TtsHttpVendor),
}

/// Over a WebSocket.
pub trait TtsSocketVendor: Send + Sync {
    /// What must be equal for two utterances to share a connection: voice, format and the like, where the vendor fixes
    /// them by URL.
    fn connection_key(&self, request: &SpeakRequest, format: AudioFormat) -> String;
    /// A machine for one connection.
    fn connect(&self, request: &SpeakRequest, format: AudioFormat) -> Box<dyn TtsProtocol>;
    /// How its connections are used.
    fn terms(&self) -> SocketTerms;
}

/// How the connections of a vendor are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketTerms {
    /// Utterances at once on one connection, those counted that are cancelled and not yet over at the vendor.
    pub at_once: usize,
    /// So many utterances in so long a time on one connection; `None` for any number.
    pub pace: Option<(usize, Duration)>,
    /// An idle connection is closed after this long, before the vendor does so.
    pub idle_close: Duration,
    /// A connection of this age takes no further utterance.
    pub retire_after: Duration,
}

/// Names an utterance on one connection; never used twice on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Utterance(pub u32);

/// One connection. Nothing in here waits or reads a clock.
pub trait TtsProtocol: Send {
    /// The request that opens it.
    fn handshake(&self) -> Handshake;
    /// What a refused handshake means, where the vendor's words say more than the status.
    fn refused(&self, error: ProviderError) -> ProviderError {
        error
    }
    /// The connection is open: what has to be said first.
    fn opened(&mut self, out: &mut Outbox);
    /// An utterance begins: the whole of [`SpeakRequest::text`], which [`Voiced::Done`] ends.
    fn speak(&mut self, id: Utterance, request: &SpeakRequest, out: &mut Outbox);
    /// The utterance is void. Later audio of it is dropped by the shell; the machine tells the vendor.
    fn cancel(&mut self, id: Utterance, out: &mut Outbox);
    /// The vendor's message. Unknown types and fields are ignored.
    ///
    /// # Errors
    /// The whole connection has failed. A failure of one utterance is [`Voiced::Failed`].
    fn received(&mut self, frame: Frame, out: &mut Outbox, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError>;
    /// After how long without anything sent something has to be sent.
    fn idle_after(&self) -> Option<Duration> {
        None
    }
    /// Nothing was sent for [`Self::idle_after`].
    fn idle(&mut self, out: &mut Outbox) {
        let _ = out;
    }
    /// The connection is not wanted any more.
    fn goodbye(&mut self, out: &mut Outbox);
    /// What a close by the vendor means; `None` when it is a good end.
    fn closed(&self, closed: &Closed) -> Option<ProviderError>;
}

/// What a vendor's message means.
#[derive(Clone, PartialEq, Debug)]
pub enum Voiced {
    /// What follows is in this format, whatever was asked for.
    Format {
        /// Whose.
        id: Utterance,
        /// As the head of the answer says.
        format: AudioFormat,
    },
    /// Audio in the connection's format.
    Audio {
        /// Whose.
        id: Utterance,
        /// Octets, cut anywhere.
        octets: Vec<u8>,
    },
    /// When words are spoken.
    Words {
        /// Whose.
        id: Utterance,
        /// The word as the vendor spells it, and its end from the start of the utterance.
        words: Vec<(String, Duration)>,
    },
    /// All audio of the utterance has come, or its cancelling is done: it no longer counts.
    Done {
        /// Whose.
        id: Utterance,
    },
    /// The utterance failed; the connection is still good.
    Failed {
        /// Whose.
        id: Utterance,
        /// Why.
        error: ProviderError,
    },
}

impl Voiced {
    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> Utterance {
        match self {
            Self::Format { id, .. }
            | Self::Audio { id, .. }
            | Self::Words { id, .. }
            | Self::Done { id }
            | Self::Failed { id, .. } => *id,
        }
    }
}

/// How a text is cut for a vendor that is asked by request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Most characters of a request.
    pub most: usize,
    /// Each sentence by itself: the vendor answers when all of it is spoken, so the first must be short.
    pub sentences: bool,
}

/// The name of the only utterance of an answer by HTTP.
pub const ONLY: Utterance = Utterance(0);

/// Over HTTP.
pub trait TtsHttpVendor: Send + Sync {
    /// How texts are cut into requests.
    fn cut(&self) -> Cut;
    /// A request that costs nothing and leaves a warm connection behind; `None` where none is known.
    fn warm(&self) -> Option<Request> {
        None
    }
    /// The request for a piece of text, which is the whole of `request.text`.
    fn request(&self, request: &SpeakRequest, format: AudioFormat) -> Request;
    /// Whether an answer of this kind can be audio; a page or an error in its place must not be played.
    fn takes(&self, content_type: &str) -> bool {
        !content_type.contains("json") && !content_type.starts_with("text/")
    }
    /// Reads the body of its answer.
    fn reply(&self, request: &SpeakRequest, format: AudioFormat) -> Box<dyn TtsReply>;
    /// The error in a refusal, by the vendor's own words where they say more than the status.
    fn refused(&self, refusal: crate::providers::exchange::Refusal) -> ProviderError;
}

/// The body of one answer, cut anywhere. Its utterance is called [`ONLY`]; word times count from the start of the answer.
pub trait TtsReply: Send {
    /// More octets.
    ///
    /// # Errors
    /// They are not what the vendor's protocol says.
    fn received(&mut self, octets: &[u8], voiced: &mut Vec<Voiced>) -> Result<(), ProviderError>;
    /// The body has ended.
    ///
    /// # Errors
    /// Too early.
    fn ended(&mut self, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError>;
}
