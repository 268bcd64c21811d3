//! Text-to-speech as the call sees it.

use super::ProviderError;
use crate::base::SampleRate;
use std::time::Duration;
use tokio::sync::mpsc;

/// One thing to say.
#[derive(Clone, Debug)]
pub struct SpeakRequest {
    /// Plain text, one or more sentences. The engine splits it into sentences and normalises numbers, times, prices.
    pub text: String,
    /// Rate of the samples wanted.
    pub rate: SampleRate,
    /// 1.0 is the voice's own pace.
    pub speed: f32,
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

/// The audio of one utterance: chunks in order, then the channel closes. Dropping it cancels the rest.
pub type SpeechStream = mpsc::Receiver<Result<TtsChunk, ProviderError>>;

/// A text-to-speech engine or vendor.
pub trait TextToSpeech: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// Starts to synthesise. Never blocks.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when the pool is full.
    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError>;
}
