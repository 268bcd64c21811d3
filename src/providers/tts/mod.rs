//! Text-to-speech as the call sees it, and as a vendor's protocol machine sees it ([`protocol`]).

mod cartesia;
mod connection;
mod deepgram;
mod deepgram_flux;
mod elevenlabs;
mod elevenlabs_http;
mod http;
mod marks;
mod openai;
pub mod phrase_cache;
mod pieces;
mod piper;
pub mod pool;
pub mod protocol;
mod speech;
mod stream;
pub mod vendors;
mod wav;

pub use phrase_cache::{CachedTts, PhraseCache};
pub use stream::VendorTts;

use super::format::AudioFormat;
use super::meter::Meter;
use super::{ProviderError, ProviderName};
use crate::base::SampleRate;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// One thing to say.
#[derive(Clone)]
pub struct SpeakRequest {
    /// Plain text, one or more sentences. The engine splits it into sentences and normalises numbers, times, prices.
    pub text: String,
    /// Rate of the samples wanted.
    pub rate: SampleRate,
    /// How the line carries them: a vendor that gives this form is not converted.
    pub line: AudioFormat,
    /// The voice by the provider's id; `None` for the provider's setting.
    pub voice: Option<String>,
    /// BCP 47; `None` for the provider's setting.
    pub language: Option<String>,
    /// 1.0 is the voice's own pace.
    pub speed: f32,
    /// A line that stands in the agent file word for word, and so may be kept on disk. Never what a model or a caller
    /// said: personal data may be in it.
    pub cacheable: bool,
}

impl fmt::Debug for SpeakRequest {
    /// Without the text, which may name the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpeakRequest")
            .field("octets", &self.text.len())
            .field("rate", &self.rate)
            .field("line", &self.line)
            .field("voice", &self.voice)
            .field("language", &self.language)
            .field("speed", &self.speed)
            .field("cacheable", &self.cacheable)
            .finish()
    }
}

impl SpeakRequest {
    /// A text at the voice's own pace, for a line that is not companded, in the provider's own voice.
    #[must_use]
    pub fn new(text: impl Into<String>, rate: SampleRate) -> Self {
        Self {
            text: text.into(),
            rate,
            line: AudioFormat::pcm(rate.0),
            voice: None,
            language: None,
            speed: 1.0,
            cacheable: false,
        }
    }
}

/// When a word starts in the audio: what was heard is known from how much was played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WordMark {
    /// Byte offset in [`SpeakRequest::text`] **just after** the word.
    pub text_end: usize,
    /// Samples from the start of the whole utterance to the end of the word.
    pub sample_end: usize,
}

/// A piece of audio, in order. The first arrives as soon as the first sentence (or clause) is ready.
#[derive(Clone, Debug, Default)]
pub struct TtsChunk {
    /// Mono samples at the requested rate.
    pub samples: Vec<i16>,
    /// Words that end within the audio so far and were not reported before.
    pub marks: Vec<WordMark>,
    /// Compute time spent on this chunk, waiting in the queue excluded.
    pub took: Duration,
}

/// What an engine or vendor can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TtsCapabilities {
    /// Audio it gives, its favourite first.
    pub formats: Vec<AudioFormat>,
    /// Reports when each word is spoken; otherwise marks are estimated from the text.
    pub word_timestamps: bool,
    /// Can be stopped on the wire; otherwise what is under way is only dropped here.
    pub cancel: bool,
    /// The text is made speakable (numbers, markdown) before it is sent; false where the engine does so itself.
    pub wants_speakable_text: bool,
    /// BCP 47 tags or their first parts; empty for "ask the vendor".
    pub languages: &'static [&'static str],
}

/// A voice that a vendor offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voice {
    /// What [`SpeakRequest::voice`] calls it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// BCP 47, as far as the vendor says so.
    pub languages: Vec<String>,
}

/// A list of voices under way.
pub type Voices = Pin<Box<dyn Future<Output = Result<Vec<Voice>, ProviderError>> + Send>>;

/// The audio of one utterance: chunks in order, then the channel closes. Dropping it cancels the rest.
pub type SpeechStream = mpsc::Receiver<Result<TtsChunk, ProviderError>>;

/// A text-to-speech engine or vendor.
pub trait TextToSpeech: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> ProviderName;

    /// What it can do.
    fn capabilities(&self) -> TtsCapabilities;

    /// What it has done so far; `None` for engines that count elsewhere.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }

    /// How long its first sound is waited for before another voice is asked besides; `None` as long as it takes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// A call is ringing: have a connection ready. Returns at once.
    fn warm(&self) {}

    /// Asks for the list of voices; `None` where there is none to ask for. The future asks when it is polled.
    fn voices(&self) -> Option<Voices> {
        None
    }

    /// Starts to synthesise. Never blocks.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when the pool is full.
    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError>;
}
