//! Lines synthesised as a whole: the spare line, which a caller hears when text-to-speech itself is down and which is
//! made while the server starts, what is announced to the target of a transfer while its phone rings, a bot's own words.

use crate::agent::Agent;
use crate::audio::tones::{self, Tone};
use crate::base::SampleRate;
use crate::providers::speakable::spoken;
use crate::providers::{ProviderError, SpeakRequest, TextToSpeech};
use std::sync::Arc;

/// Beeps of a fallback without words.
const BEEPS: usize = 4;

/// The voice of an agent: every line of it sounds like every other, whoever hears it.
#[derive(Clone)]
pub(super) struct AgentVoice {
    tts: Arc<dyn TextToSpeech>,
    /// By the provider's id; `None` for its setting.
    voice: Option<String>,
    speed: f32,
    language: String,
}

impl AgentVoice {
    /// The voice that the agent's file names, at the pace it names or else at `speed`.
    pub(super) fn of(agent: &Agent, tts: Arc<dyn TextToSpeech>, speed: f32) -> Self {
        let choice = &agent.speech.tts;
        Self {
            tts,
            voice: choice.voice.clone(),
            speed: choice.speed.unwrap_or(speed),
            language: agent.language.clone(),
        }
    }

    /// Synthesises `text` to the end, at 8 kHz. `fixed` is a line without anything of a call in it, which may be kept on
    /// disk.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn whole_line(&self, text: &str, fixed: bool) -> Result<Arc<[i16]>, ProviderError> {
        let wants_it = self.tts.capabilities().wants_speakable_text;
        let text = if wants_it { spoken(text, &self.language).text } else { text.to_owned() };
        let request = SpeakRequest {
            speed: self.speed,
            voice: self.voice.clone(),
            language: Some(self.language.clone()),
            cacheable: fixed,
            ..SpeakRequest::new(text, SampleRate::NARROWBAND)
        };
        let mut stream = self.tts.speak(request)?;
        let mut samples = Vec::new();
        while let Some(chunk) = stream.recv().await {
            samples.extend_from_slice(&chunk?.samples);
        }
        Ok(samples.into())
    }
}

pub(super) fn beeps() -> Arc<[i16]> {
    let tone = tones::samples(Tone::Reorder, SampleRate::NARROWBAND);
    std::iter::repeat_n(tone, BEEPS).flatten().collect()
}
