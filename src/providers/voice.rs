//! Neural voice activity as the call sees it.

use super::ProviderError;
use std::time::Instant;
use tokio::sync::mpsc;

/// The detector's verdict.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct VoiceVerdict {
    /// The arrival time that was pushed with the last samples judged.
    pub through: Instant,
    /// 0.0–1.0: how likely those samples are speech.
    pub probability: f32,
}

/// One call's detector. Push only while a cheaper detector hears something: each window costs real time.
pub trait VoiceStream: Send {
    /// Appends samples at 8 kHz that arrived at `through`. Never blocks; under load samples are skipped.
    fn push(&mut self, samples: &[i16], through: Instant);
}

/// A stream and its verdicts.
pub type OpenVoice = (Box<dyn VoiceStream>, mpsc::Receiver<VoiceVerdict>);

/// A neural voice detector.
pub trait VoiceDetector: Send + Sync {
    /// Opens a stream for one call.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when no further call can be served; the call then relies on the cheap detector.
    fn open(&self) -> Result<OpenVoice, ProviderError>;
}
