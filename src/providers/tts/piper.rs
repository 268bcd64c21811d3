//! Piper's HTTP server, a voice on a machine of one's own (`python -m piper.http_server`, piper1-gpl b275826): a WAV file
//! per request, not streamed, so that a text goes by the sentence.

use super::protocol::{Cut, TtsHttpVendor, TtsReply, TtsTransport, TtsVendor};
use super::stream::VendorTts;
use super::wav::AudioBody;
use super::{SpeakRequest, TextToSpeech, TtsCapabilities, Voice};
use crate::base::Pii;
use crate::providers::exchange::Refusal;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Request, url};
use crate::providers::{Network, ProviderError, Settings, SettingsError};
use serde_json::{Value, json};
use std::sync::Arc;

/// Its options.
pub const OPTIONS: &[&str] = &["path", "speaker", "speaker_id", "noise_scale", "noise_w_scale"];
/// Characters of one request: a sentence that is longer would keep the caller waiting.
const MOST: usize = 600;
/// The rate of most voices, in Hz; the WAV file tells the true one.
const RATE: u32 = 22_050;

struct Piper(Settings);

/// A server of one's own.
///
/// # Errors
/// An unknown option.
pub fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.only_options(OPTIONS)?;
    Ok(Arc::new(VendorTts::new(settings, network, Piper(settings.clone()))))
}

impl TtsVendor for Piper {
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: vec![AudioFormat::pcm(RATE)],
            word_timestamps: false,
            // It synthesises a sentence to its end, whether anybody waits for it or not.
            cancel: false,
            wants_speakable_text: true,
            languages: &[],
        }
    }

    fn format(&self, _: &SpeakRequest) -> AudioFormat {
        AudioFormat::pcm(RATE)
    }

    fn transport(&self) -> TtsTransport<'_> {
        TtsTransport::Http(self)
    }

    fn list(&self, page: Option<&str>) -> Option<Request> {
        let url = url(&self.0.url, "/voices", &[], false);
        page.is_none().then(|| Request { method: "GET", url, headers: Vec::new(), body: Pii::default() })
    }

    /// An object with a member per voice.
    fn listed(&self, body: &[u8]) -> Result<(Vec<Voice>, Option<String>), ProviderError> {
        let wrong = |reason: String| ProviderError::Protocol { provider: self.0.name.clone(), reason };
        let list: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        let list = list.as_object().ok_or_else(|| wrong("the list of voices is no object".to_owned()))?;
        let voices = list.iter().map(|(id, about)| Voice {
            id: id.clone(),
            name: about.pointer("/dataset").and_then(Value::as_str).unwrap_or(id).to_owned(),
            languages: about
                .pointer("/language/code")
                .and_then(Value::as_str)
                .map(|l| l.replace('_', "-"))
                .into_iter()
                .collect(),
        });
        Ok((voices.collect(), None))
    }
}

impl TtsHttpVendor for Piper {
    fn cut(&self) -> Cut {
        Cut { most: MOST, sentences: true }
    }

    fn request(&self, request: &SpeakRequest, _: AudioFormat) -> Request {
        let mut body = json!({"text": request.text});
        let voice = request.voice.as_deref().unwrap_or(&self.0.voice);
        if !voice.is_empty() {
            body["voice"] = voice.into();
        }
        for name in OPTIONS.iter().skip(1) {
            if let Some(value) = self.0.options.get(*name) {
                body[*name] = value.clone();
            }
        }
        // Piper stretches: twice as long is half as fast.
        body["length_scale"] = (1.0 / request.speed.clamp(0.25, 4.0)).into();
        let path = self.0.option("path").unwrap_or_else(|| "/synthesize".to_owned());
        let headers = vec![("content-type", Pii::new("application/json".to_owned()))];
        let url = url(&self.0.url, &path, &[], false);
        Request { method: "POST", url, headers, body: Pii::new(body.to_string().into()) }
    }

    fn reply(&self, _: &SpeakRequest, _: AudioFormat) -> Box<dyn TtsReply> {
        Box::new(AudioBody::of_file(self.0.name.clone()))
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        refusal.into_error(self.0.name.clone())
    }
}
