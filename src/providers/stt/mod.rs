//! Speech-to-text as the call sees it, and as a vendor's protocol machine sees it ([`protocol`]).

mod assemblyai;
mod azure;
mod azure_message;
mod cartesia;
mod deepgram;
mod deepgram_flux;
mod elevenlabs;
mod keyterms;
pub mod language;
pub mod limits;
mod message;
mod openai;
mod owed;
pub mod pace;
pub mod protocol;
mod query;
mod ring;
pub mod router;
mod segment;
pub mod session;
pub mod stream;
pub mod vendors;
mod vosk;
pub mod whisper;
mod words;

use super::format::AudioFormat;
use super::meter::Meter;
use super::{ProviderError, ProviderName};
pub use crate::base::SegmentId;
use crate::base::{Pii, SampleRate};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a stream is opened with.
#[derive(Clone, Debug)]
pub struct SttRequest {
    /// Rate of the 16-bit mono samples that will be pushed.
    pub rate: SampleRate,
    /// How the line carries them: a vendor that takes this form gets it untouched.
    pub line: AudioFormat,
    /// BCP 47; `None` for the provider's setting.
    pub language: Option<String>,
    /// Audio kept from before [`SttStream::start`], so that a late voice detector loses no syllable (300–500 ms).
    pub pre_roll: Duration,
}

/// A speech-to-text engine or vendor.
pub trait SpeechToText: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> ProviderName;

    /// What it can do.
    fn capabilities(&self) -> SttCapabilities;

    /// What it has done so far; `None` for engines that count elsewhere.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }

    /// Opens a stream for one call. Events arrive on the receiver until the stream is dropped.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when no further call can be served.
    fn open(&self, request: SttRequest) -> Result<(Box<dyn SttStream>, mpsc::Receiver<SttEvent>), ProviderError>;
}

/// One call's stream. Push **all** caller audio, silence too: the stream keeps the pre-roll itself.
/// No method blocks.
pub trait SttStream: Send {
    /// Appends samples at the requested rate.
    fn push(&mut self, samples: &[i16]);

    /// The caller is heard (again): audio from `pre_roll` ago on belongs to `segment`. With the id of the
    /// current segment this resumes it, with a greater one it starts a new segment and forgets the old.
    /// From here on partials arrive while audio is pushed.
    fn start(&mut self, segment: SegmentId);

    /// The caller has paused: report [`SttEvent::Final`] for everything in `segment` so far, as soon as possible. Exactly one
    /// `Final` or `Failed` answers each `finish`, unless `start` overtakes it: words that were on their way then come as a
    /// `Partial`. If the caller goes on, `start` with the same id resumes, and a later `finish` reports a `Final` that covers
    /// the whole.
    fn finish(&mut self, segment: SegmentId);

    /// Forgets the current segment (noise, or audio that must not be transcribed).
    fn discard(&mut self);

    /// What the caller is likely to say from here on, in place of what was told before; empty for nothing in particular.
    /// A hint: an engine that takes none ignores it.
    fn expect(&mut self, phrases: &[String]) {
        let _ = phrases;
    }
}

impl SttRequest {
    /// For samples at `rate` of a line that is not companded, in the provider's own language.
    #[must_use]
    pub const fn new(rate: SampleRate, pre_roll: Duration) -> Self {
        Self { rate, line: AudioFormat::pcm(rate.0), language: None, pre_roll }
    }
}

/// What an engine or vendor can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SttCapabilities {
    /// Audio it takes, its favourite first.
    pub formats: Vec<AudioFormat>,
    /// Reports words while the caller speaks.
    pub partials: bool,
    /// Says by itself when the caller has finished ([`SttEvent::EndOfTurn`]).
    pub end_of_turn: bool,
    /// Says when words were spoken, so that late words are told from early ones.
    pub timestamps: bool,
    /// Says which language it hears ([`SttEvent::Language`]).
    pub detects_language: bool,
    /// BCP 47 tags or their first parts; empty for "ask the vendor".
    pub languages: &'static [&'static str],
}

/// What a stream reports. Text is the caller's own words, so it is [`Pii`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SttEvent {
    /// Words so far; may change. Sent about every 0.5 s while the caller speaks.
    Partial {
        /// Which segment.
        segment: SegmentId,
        /// All words of the segment so far.
        text: Pii<String>,
    },
    /// The words of the segment up to the last `finish`.
    Final {
        /// Which segment.
        segment: SegmentId,
        /// All words; empty when there was no speech.
        text: Pii<String>,
        /// 0.0–1.0; how sure the engine is, from its own token probabilities.
        confidence: f32,
        /// Length of audio it covers, pre-roll included.
        audio: Duration,
        /// From `finish` to this event, queueing included.
        took: Duration,
    },
    /// The vendor takes the caller's turn for finished. A hint: turn-taking decides, and `finish` still asks for the words.
    EndOfTurn {
        /// Which segment.
        segment: SegmentId,
        /// True for an early guess that [`SttEvent::TurnResumed`] may take back.
        eager: bool,
    },
    /// The early guess was wrong: the caller goes on.
    TurnResumed {
        /// Which segment.
        segment: SegmentId,
    },
    /// The language that is heard, as often as the vendor says; before the words in it stand.
    Language {
        /// BCP 47.
        tag: String,
        /// 0.0–1.0, where the vendor says.
        confidence: Option<f32>,
    },
    /// The stream has moved to another provider in the middle of the call, or to a fresh stream of the same.
    FellOver {
        /// The one that failed.
        from: ProviderName,
        /// The one in use from here on.
        to: ProviderName,
    },
    /// The vendor has not said a thing since the segment began: its [`SttEvent::Final`], which follows, is empty for want of
    /// an answer. With another provider at hand it is asked instead.
    Unheard {
        /// Which segment.
        segment: SegmentId,
    },
    /// The engine could not do the work; with [`ProviderError::Busy`] the next `finish` may succeed.
    Failed {
        /// Which segment.
        segment: SegmentId,
        /// Why.
        error: ProviderError,
    },
}
