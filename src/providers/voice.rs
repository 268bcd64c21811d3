//! Neural voice activity as the call sees it.

use super::ProviderError;

/// The detector's verdict on the latest audio.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct VoiceVerdict {
    /// 0.0–1.0: the highest likelihood of speech among the windows judged.
    pub probability: f32,
    /// Windows judged.
    pub windows: usize,
    /// Samples pushed to the stream up to the end of the last window, those pushed while the gate was closed included.
    pub until_sample: u64,
}

/// One call's detector. Push **all** caller audio; nothing is computed while the gate is closed.
pub trait VoiceStream: Send {
    /// Appends samples at 8 kHz; `gate_open` says whether a cheaper detector takes them for a voice. The verdict on what
    /// they made complete, at once: asked by the call's own task, it takes well below a millisecond.
    fn push(&mut self, samples: &[i16], gate_open: bool) -> Option<VoiceVerdict>;
}

/// A neural voice detector.
pub trait VoiceDetector: Send + Sync {
    /// Opens a stream for one call.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when no further call can be served; the call then relies on the cheap detector.
    fn open(&self) -> Result<Box<dyn VoiceStream>, ProviderError>;
}
