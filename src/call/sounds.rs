//! What callers hear while nobody talks to them.

use crate::audio::resample::convert;
use crate::audio::tones::{self, Tone};
use crate::audio::wav::{self, WavError};
use crate::base::SampleRate;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a clip comes from.
#[derive(Debug)]
enum Origin {
    Clip(Arc<[i16]>, SampleRate),
    Tone(Tone),
}

/// A clip at one rate.
type Rendition = (SampleRate, Arc<[i16]>);

/// A clip that lines of any rate can play. Each rate is made once, when the first line asks for it, and shared.
#[derive(Clone, Debug)]
pub struct Sound {
    origin: Arc<Origin>,
    made: Arc<Mutex<Vec<Rendition>>>,
}

impl From<Tone> for Sound {
    fn from(tone: Tone) -> Self {
        Self { origin: Arc::new(Origin::Tone(tone)), made: Arc::default() }
    }
}

impl Sound {
    /// A clip of this rate.
    #[must_use]
    pub fn new(samples: impl Into<Arc<[i16]>>, rate: SampleRate) -> Self {
        Self { origin: Arc::new(Origin::Clip(samples.into(), rate)), made: Arc::default() }
    }

    /// The clip for a line of this rate. The first call for a rate converts the whole clip.
    #[must_use]
    pub fn at(&self, rate: SampleRate) -> Arc<[i16]> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, samples)) = made.iter().find(|(known, _)| *known == rate) {
            return Arc::clone(samples);
        }
        let samples: Arc<[i16]> = match &*self.origin {
            Origin::Clip(samples, own) => at_rate(samples, *own, rate),
            Origin::Tone(tone) => tones::samples(*tone, rate).into(),
        };
        made.push((rate, Arc::clone(&samples)));
        samples
    }
}

/// A whole clip at another rate. The rates of lines can all be converted; what cannot be falls silent.
pub(super) fn at_rate(samples: &Arc<[i16]>, from: SampleRate, to: SampleRate) -> Arc<[i16]> {
    if from == to {
        return Arc::clone(samples);
    }
    convert(samples, from, to).unwrap_or_default().into()
}

/// Sounds played again and again by the media workers. Made once and shared by all calls.
#[derive(Clone, Debug)]
pub struct Sounds {
    /// While the phone of a transfer's target rings.
    pub ringback: Sound,
    /// For somebody whose other side has put them on hold.
    pub hold_music: Sound,
}

impl Default for Sounds {
    /// The ringing tone of most countries (425 Hz, one second on, four off) and two soft notes every six seconds.
    fn default() -> Self {
        Self { ringback: Tone::RingbackItu.into(), hold_music: Tone::Hold.into() }
    }
}

impl Sounds {
    /// Takes hold music out of a WAV file of any usual kind.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn with_hold_music(mut self, file: impl AsRef<Path>) -> Result<Self, WavError> {
        let (samples, rate) = wav::read(file)?;
        self.hold_music = Sound::new(samples, rate);
        Ok(self)
    }

    /// Takes another ringing tone, such as [`Tone::Ringback`] of North America.
    #[must_use]
    pub fn with_ringback(mut self, tone: Tone) -> Self {
        self.ringback = tone.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_lasts_as_long_at_every_rate_and_is_made_once() {
        let clip = Sound::new(vec![1_000; 44_100], SampleRate(44_100));
        for sound in [clip, Tone::RingbackItu.into()] {
            let narrow = sound.at(SampleRate::NARROWBAND);
            let seconds = SampleRate::NARROWBAND.duration_of(narrow.len()).as_secs_f64();
            for rate in [SampleRate::WIDEBAND, SampleRate(24_000), SampleRate(48_000)] {
                let wide = sound.at(rate);
                assert!((rate.duration_of(wide.len()).as_secs_f64() - seconds).abs() < 0.03, "{rate:?}");
                assert!(wide.iter().any(|sample| *sample != 0) && Arc::ptr_eq(&wide, &sound.at(rate)));
            }
        }
    }
}
