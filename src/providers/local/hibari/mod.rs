//! The offline voice "heart": text in, speech at 24 kHz out, no keys and no network.
//!
//! Text → spoken words ([`normalize`]) → phonemes (dictionaries, part-of-speech tagger, a network for names) →
//! spectra (the voice network) → samples (waveform stage), sentence by sentence, so that the first sentence plays
//! while the next ones are made. The model files are those of the `hibari-tts` 0.2 package (Apache-2.0).

mod assets;
mod dictionary;
mod error;
mod g2p;
mod level;
mod lexicon;

mod oov;
mod stress;
mod supplement;
mod tagger;
mod utterance;
mod voice;
mod waveform;

pub use error::VoiceError;
pub use waveform::VOICE_RATE;

use crate::providers::speakable::normalize::{self, Spoken};
use g2p::Reader;
use level::Follows;
use ort::session::Session;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use voice::Alphabet;
use waveform::Vocoder;

/// Speeds outside are brought back to the nearest: the voice is not intelligible beyond.
const SPEEDS: std::ops::RangeInclusive<f32> = 0.5..=2.0;
/// The voice network in the directory of the voice.
const VOICE_MODEL: &str = "hibari.onnx";
/// The network for unknown words.
const OOV_MODEL: &str = "oov.onnx";

/// Makes an inference session of a model's bytes. One thread per session is enough: the voice runs about fifty
/// times faster than real time.
pub type OpenSession = dyn Fn(&[u8]) -> Result<Session, ort::Error> + Send + Sync;

/// The end of a word in the audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Byte offset in the text just after the word (for "9:30 pm" after the whole of it).
    pub text_end: usize,
    /// Samples from the start of the whole utterance to the end of the word.
    pub sample_end: usize,
}

/// The audio of one sentence, or of one clause of a long sentence.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Sentence {
    /// Mono samples at [`VOICE_RATE`], between −1 and 1.
    pub samples_24k: Vec<f32>,
    /// The words in it, in order.
    pub marks: Vec<Mark>,
}

/// The voice: what is read once (dictionaries, tables) and sessions that are made as callers need them.
pub struct Hibari {
    dir: PathBuf,
    open: Box<OpenSession>,
    reader: Reader,
    letters: oov::Alphabets,
    alphabet: Alphabet,
    /// Engines nobody is using; there are never more than there were callers at one time.
    idle: Mutex<Vec<Engine>>,
}

/// What one synthesis needs for itself.
struct Engine {
    voice: Session,
    oov: Session,
    vocoder: Vocoder,
}

impl std::fmt::Debug for Hibari {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hibari").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Hibari {
    /// Loads the voice from `dir` (about 0.7 s of processor time). `open` makes the sessions, also later, when more callers
    /// than before speak at one time.
    ///
    /// # Errors
    /// [`VoiceError::Missing`] and [`VoiceError::Unusable`] name the file and the command that fetches it.
    pub fn load(dir: &Path, open: Box<OpenSession>) -> Result<Self, VoiceError> {
        let hibari = Self {
            reader: Reader::load(dir)?,
            letters: oov::Alphabets::load(&dir.join("oov.json"))?,
            alphabet: Alphabet::load(&dir.join("vocab.json"))?,
            dir: dir.to_owned(),
            open,
            idle: Mutex::default(),
        };
        let engine = hibari.engine()?;
        hibari.give_back(engine);
        Ok(hibari)
    }

    /// Speaks `text` at `speed` (1.0 is the voice's own pace, 2.0 twice as fast). Blocks the thread; calls `sink` with
    /// each sentence as soon as it is made and stops when `sink` returns false. Text without words makes no call.
    /// Any number of threads may speak at once; the caller bounds them.
    ///
    /// # Errors
    /// [`VoiceError::Inference`] when a network fails; the voice stays usable.
    pub fn synthesize(&self, text: &str, speed: f32, sink: &mut dyn FnMut(Sentence) -> bool) -> Result<(), VoiceError> {
        let mut engine = self.engine()?;
        let result = self.speak(&mut engine, text, speed, sink);
        self.give_back(engine);
        result
    }

    /// The phonemes of `text` in the voice's alphabet, one string per sentence.
    ///
    /// # Errors
    /// As [`Self::synthesize`].
    pub fn phonemes(&self, text: &str) -> Result<Vec<String>, VoiceError> {
        let mut engine = self.engine()?;
        let sentences = normalize::sentences(text, normalize::normalize(text));
        let read = |sentence: &Vec<Spoken>| {
            let words = self.reader.read(sentence, |word| oov::read(&mut engine.oov, &self.letters, word))?;
            Ok(words.iter().map(|w| format!("{}{}", if w.space_before { " " } else { "" }, w.text)).collect::<String>())
        };
        let out = sentences.iter().map(read).map(|r| r.map(|s| s.trim().to_owned())).collect();
        self.give_back(engine);
        out
    }

    fn speak(
        &self,
        engine: &mut Engine,
        text: &str,
        speed: f32,
        sink: &mut dyn FnMut(Sentence) -> bool,
    ) -> Result<(), VoiceError> {
        let speed = if speed.is_finite() { speed.clamp(*SPEEDS.start(), *SPEEDS.end()) } else { 1.0 };
        let sentences = normalize::sentences(text, normalize::normalize(text));
        let mut spoken_samples = 0;
        for (number, sentence) in sentences.iter().enumerate() {
            let phonemes = self.reader.read(sentence, |word| oov::read(&mut engine.oov, &self.letters, word))?;
            let pieces = utterance::pieces(sentence, &phonemes, &self.alphabet, number == 0);
            let count = pieces.len();
            for (part, piece) in pieces.iter().enumerate() {
                let follows = match (number, part) {
                    (0, 0) => Follows::Nothing,
                    (_, 0) => Follows::Sentence,
                    _ => Follows::Clause,
                };
                let mut said = voice::speak(&mut engine.voice, &mut engine.vocoder, &piece.ids, speed)?;
                let last = number + 1 == sentences.len() && part + 1 == count;
                let speech_from = said.ends.first().copied().unwrap_or(0);
                let cut = level::finish(&mut said.samples, speech_from, follows, last);
                let marks = piece.marks.iter().map(|(text_end, count)| {
                    let end = said.ends.get(*count).copied().unwrap_or(usize::MAX);
                    let sample_end = spoken_samples + end.saturating_sub(cut).min(said.samples.len());
                    Mark { text_end: *text_end, sample_end }
                });
                let marks = marks.collect();
                spoken_samples += said.samples.len();
                if !sink(Sentence { samples_24k: said.samples, marks }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn engine(&self) -> Result<Engine, VoiceError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(engine) = idle {
            return Ok(engine);
        }
        let path = self.dir.join(VOICE_MODEL);
        let model = assets::bytes(&path)?;
        // A graph without the durations still speaks; then the words' places are estimated.
        let voice = (self.open)(&voice::with_durations(&model))
            .or_else(|_| (self.open)(&model))
            .map_err(|error| VoiceError::Unusable { path, reason: error.to_string() })?;
        let path = self.dir.join(OOV_MODEL);
        let oov = (self.open)(&assets::bytes(&path)?)
            .map_err(|error| VoiceError::Unusable { path, reason: error.to_string() })?;
        Ok(Engine { voice, oov, vocoder: Vocoder::new() })
    }

    fn give_back(&self, engine: Engine) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(engine);
    }
}
