//! What callers hear while nobody talks to them.

use crate::audio::tones::{self, Tone};
use crate::audio::wav::{self, WavError};
use crate::base::SampleRate;
use std::path::Path;
use std::sync::Arc;

/// Sounds at 8 kHz, played again and again by the media workers. Made once and shared by all calls.
#[derive(Clone, Debug)]
pub struct Sounds {
    /// While the phone of a transfer's target rings.
    pub ringback: Arc<[i16]>,
    /// For somebody whose other side has put them on hold.
    pub hold_music: Arc<[i16]>,
}

impl Default for Sounds {
    /// The ringing tone of most countries (425 Hz, one second on, four off) and two soft notes every six seconds.
    fn default() -> Self {
        Self {
            ringback: tones::samples(Tone::RingbackItu, SampleRate::NARROWBAND).into(),
            hold_music: tones::samples(Tone::Hold, SampleRate::NARROWBAND).into(),
        }
    }
}

impl Sounds {
    /// Takes hold music out of a WAV file of any usual kind.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn with_hold_music(mut self, file: impl AsRef<Path>) -> Result<Self, WavError> {
        self.hold_music = wav::read_at(file, SampleRate::NARROWBAND)?.into();
        Ok(self)
    }

    /// Takes another ringing tone, such as [`Tone::Ringback`] of North America.
    #[must_use]
    pub fn with_ringback(mut self, tone: Tone) -> Self {
        self.ringback = tones::samples(tone, SampleRate::NARROWBAND).into();
        self
    }
}
