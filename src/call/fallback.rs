//! Lines synthesised as a whole: the spare line, which a caller hears when text-to-speech itself is down and which is
//! made while the server starts, and what is announced to the target of a transfer while its phone rings.

use crate::audio::tones::{self, Tone};
use crate::base::SampleRate;
use crate::providers::{ProviderError, SpeakRequest, TextToSpeech};
use std::sync::Arc;

/// Beeps of a fallback without words.
const BEEPS: usize = 4;

/// Synthesises `text` to the end.
///
/// # Errors
/// What the engine says: an agent that cannot apologise must not take calls.
pub(super) async fn whole_line(
    tts: &dyn TextToSpeech,
    text: &str,
    voice: Option<&str>,
    speed: f32,
) -> Result<Arc<[i16]>, ProviderError> {
    let voice = voice.map(str::to_owned);
    let request = SpeakRequest { speed, voice, ..SpeakRequest::new(text, SampleRate::NARROWBAND) };
    let mut stream = tts.speak(request)?;
    let mut samples = Vec::new();
    while let Some(chunk) = stream.recv().await {
        samples.extend_from_slice(&chunk?.samples);
    }
    Ok(samples.into())
}

pub(super) fn beeps() -> Arc<[i16]> {
    let tone = tones::samples(Tone::Reorder, SampleRate::NARROWBAND);
    std::iter::repeat_n(tone, BEEPS).flatten().collect()
}
