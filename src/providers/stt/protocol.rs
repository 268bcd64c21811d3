//! What a vendor of speech-to-text has to say about its wire format, as a pure machine: one value per connection.
//!
//! The shell ([`super::stream`]) owns the connection; the session ([`super::session`]) owns everything that is the same
//! for all vendors: segments, packets of the wanted length, keep-alives when they are due, deadlines, reconnection with
//! the audio replayed.

use super::pace::Pace;
use crate::base::Pii;
use crate::providers::format::{AudioFormat, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{ProviderError, SttCapabilities, SttRequest};
use std::time::Duration;

/// A vendor. One value serves all calls and makes a machine for each connection.
pub trait SttVendor: Send + Sync + 'static {
    /// What it can do, as it is set up.
    fn capabilities(&self) -> SttCapabilities;
    /// The audio it is best sent for this line.
    fn format(&self, request: &SttRequest) -> AudioFormat {
        cheapest(request.line, &self.capabilities().formats).unwrap_or_else(|| AudioFormat::pcm(request.rate.0))
    }
    /// Milliseconds of audio per message: 20–250, within the vendor's bounds.
    fn packet_ms(&self) -> u32;
    /// How fast it may be sent what has piled up.
    fn pace(&self) -> Pace {
        Pace::default()
    }
    /// When its silence is a failure.
    fn answers(&self) -> Answers {
        Answers::Finish
    }
    /// The longest that a connection is used; after it, a fresh one is opened at the next pause.
    fn lifetime(&self) -> Option<Duration> {
        None
    }
    /// A machine for one connection that takes audio in `format`.
    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol>;
}

/// To what a vendor answers for certain, so that no answer is a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    /// Any audio, within a second of it.
    Audio,
    /// [`SttProtocol::finish`], words or not.
    Finish,
    /// Words only: noise may be passed over.
    Words,
}

/// One connection. Nothing in here waits or reads a clock. Methods that send audio return how many octets of silence
/// they added of their own, because vendors tell time by the audio they were sent.
pub trait SttProtocol: Send {
    /// The request that opens it.
    fn handshake(&self) -> Handshake;

    /// The connection is open: what has to be said first.
    fn opened(&mut self, out: &mut Outbox);

    /// Words that are likely to be heard from here on, in place of those told before. Called on a connection that takes
    /// audio. A vendor that takes none, or is not to be told, does nothing.
    fn expect(&mut self, phrases: &[String], out: &mut Outbox) {
        let _ = (phrases, out);
    }

    /// Whether audio has to wait for [`Heard::Ready`].
    fn awaits_ready(&self) -> bool {
        false
    }

    /// One packet of audio ([`SttVendor::packet_ms`] long; the last one before [`Self::finish`] may be shorter).
    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize;

    /// The caller has paused: have the vendor report now. It must lead to [`Heard::Flushed`] or the session goes by its
    /// deadline.
    fn finish(&mut self, out: &mut Outbox) -> usize;

    /// The requests so far are given up: the session goes on without their answers. Those that come after all are reported
    /// behind a [`Heard::Overdue`], and without a [`Heard::Flushed`], where the vendor's order tells them from later ones:
    /// by an id, or because it answers each request for certain and one after the other.
    fn give_up(&mut self) {}
    /// They will not come any more.
    fn forget(&mut self) {}

    /// The vendor's message. Unknown types and fields are ignored.
    ///
    /// # Errors
    /// The vendor reports a failure, or what it sent is no protocol of its.
    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError>;

    /// After how long without audio something has to be sent; asked again after each.
    fn idle_after(&self) -> Option<Duration> {
        None
    }
    /// Nothing was sent for [`Self::idle_after`].
    fn idle(&mut self, out: &mut Outbox) -> usize {
        let _ = out;
        0
    }

    /// The call is over: the vendor's own goodbye, then [`Outbox::close`] where we are to close.
    fn goodbye(&mut self, out: &mut Outbox);

    /// What a close by the vendor means; `None` when it is the good end that a goodbye or a last request asked for.
    fn closed(&self, closed: &Closed) -> Option<ProviderError>;
}

/// Start and end in the audio of a connection.
pub type Span = (Duration, Duration);

/// What a vendor's message means.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// The connection takes audio from here on, for vendors that say so; others are ready when opened.
    Ready,
    /// Words that may still change, in addition to those [`Heard::Final`] so far.
    Interim {
        /// The words since the last `Final`.
        text: Pii<String>,
        /// Where the vendor says.
        span: Option<Span>,
    },
    /// Words that stand.
    Final {
        /// The words since the last `Final`; may be empty.
        text: Pii<String>,
        /// 0.0–1.0; `None` where the vendor gives none.
        confidence: Option<f32>,
        /// Where the vendor says.
        span: Option<Span>,
    },
    /// The next words answer this request, the first of a connection being 1, which was given up.
    Overdue(u64),
    /// Everything sent before the earliest unanswered [`SttProtocol::finish`] has been reported.
    Flushed,
    /// The vendor takes the turn for finished.
    EndOfTurn {
        /// An early guess.
        eager: bool,
    },
    /// The early guess was wrong.
    TurnResumed,
    /// The language heard.
    Language {
        /// BCP 47.
        tag: String,
        /// 0.0–1.0, where the vendor says.
        confidence: Option<f32>,
    },
    /// The session will be ended by the vendor soon: change to a fresh connection at the next pause.
    Expiring,
}
