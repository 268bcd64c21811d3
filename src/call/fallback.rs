//! Lines synthesised as a whole: the spare line, which a caller hears when text-to-speech itself is down and which is
//! made while the server starts, and what is announced to the target of a transfer while its phone rings.

use crate::base::SampleRate;
use crate::providers::{ProviderError, SpeakRequest, TextToSpeech};
use std::sync::Arc;

/// Synthesises `text` to the end.
///
/// # Errors
/// What the engine says: an agent that cannot apologise must not take calls.
pub(super) async fn whole_line(tts: &dyn TextToSpeech, text: &str, speed: f32) -> Result<Arc<[i16]>, ProviderError> {
    let request = SpeakRequest { speed, ..SpeakRequest::new(text, SampleRate::NARROWBAND) };
    let mut stream = tts.speak(request)?;
    let mut samples = Vec::new();
    while let Some(chunk) = stream.recv().await {
        samples.extend_from_slice(&chunk?.samples);
    }
    Ok(samples.into())
}
