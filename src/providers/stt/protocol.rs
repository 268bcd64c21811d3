//! What a vendor of speech-to-text has to say about its wire format, as a pure machine: one value per connection.
//!
//! The shell ([`super::stream`]) owns the connection and everything that is the same for all vendors: segments,
//! packets of the wanted length, keep-alives when they are due, deadlines, reconnection with the audio replayed.

use crate::base::Pii;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{ProviderError, SttRequest};
use std::time::Duration;

/// A vendor. One value serves all calls and makes a machine for each connection.
pub trait SttVendor: Send + Sync + 'static {
    /// The audio it is best sent for this line.
    fn format(&self, request: &SttRequest) -> AudioFormat;
    /// Milliseconds of audio per message: 20–250, within the vendor's bounds.
    fn packet_ms(&self) -> u32;
    /// A machine for one connection that takes audio in `format`.
    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol>;
}

/// One connection. Nothing in here waits or reads a clock.
pub trait SttProtocol: Send {
    /// The request that opens it.
    fn handshake(&self) -> Handshake;

    /// The connection is open: what has to be said first.
    fn opened(&mut self, out: &mut Outbox);

    /// One packet of audio ([`SttVendor::packet_ms`] long; the last one before [`Self::finish`] may be shorter).
    fn audio(&mut self, octets: &[u8], out: &mut Outbox);

    /// The caller has paused: have the vendor report now. It must lead to [`Heard::Flushed`] or the shell goes by its
    /// deadline.
    fn finish(&mut self, out: &mut Outbox);

    /// The vendor's message. Unknown types and fields are ignored.
    ///
    /// # Errors
    /// The vendor reports a failure, or what it sent is no protocol of its.
    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError>;

    /// After how long without audio something has to be sent, and what; called again after each.
    fn idle_after(&self) -> Option<Duration> {
        None
    }
    /// Nothing was sent for [`Self::idle_after`].
    fn idle(&mut self, out: &mut Outbox) {
        let _ = out;
    }

    /// The call is over: the vendor's own goodbye, then [`Outbox::close`] where we are to close.
    fn goodbye(&mut self, out: &mut Outbox);

    /// What a close by the vendor means; `None` when it is the good end that a goodbye asked for.
    fn closed(&self, closed: &Closed) -> Option<ProviderError>;
}

/// What a vendor's message means.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The connection takes audio from here on, for vendors that say so; others are ready when opened.
    Ready,
    /// The caller began to speak.
    SpeechStarted,
    /// Words that may still change, in addition to those [`Heard::Final`] so far.
    Interim {
        /// The words since the last `Final`.
        text: Pii<String>,
        /// Start and end in the audio of this connection, where the vendor says.
        span: Option<(Duration, Duration)>,
    },
    /// Words that stand.
    Final {
        /// The words since the last `Final`; may be empty.
        text: Pii<String>,
        /// 0.0–1.0; `None` where the vendor gives none.
        confidence: Option<f32>,
        /// Start and end in the audio of this connection, where the vendor says.
        span: Option<(Duration, Duration)>,
    },
    /// Everything sent before the last [`SttProtocol::finish`] has been reported.
    Flushed,
    /// The vendor takes the turn for finished.
    EndOfTurn {
        /// An early guess.
        eager: bool,
    },
    /// The early guess was wrong.
    TurnResumed,
    /// The language heard, BCP 47.
    Language(String),
    /// The session will be ended by the vendor soon: change to a fresh connection at the next pause.
    Expiring,
}
