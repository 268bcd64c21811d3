//! OpenAI `audio/speech` (openai-python 3.54.0), and the servers of one's own that copy it: Speaches, Kokoro-FastAPI and
//! the like.

use super::protocol::{Cut, TtsHttpVendor, TtsReply, TtsTransport, TtsVendor};
use super::stream::VendorTts;
use super::wav::AudioBody;
use super::{SpeakRequest, TextToSpeech, TtsCapabilities};
use crate::base::Pii;
use crate::providers::exchange::Refusal;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Request, url};
use crate::providers::{Network, ProviderError, Settings, SettingsError};
use serde_json::json;
use std::sync::Arc;

/// Options of both.
pub const OPTIONS: &[&str] = &["instructions", "response_format", "sample_rate"];
/// Characters of one request.
const MOST: usize = 4_096;
/// The rate of `pcm`, in Hz.
const RATE: u32 = 24_000;

struct OpenAi {
    settings: Settings,
    response_format: String,
    rate: u32,
    /// A server of one's own answers by the sentence and needs no key.
    own: bool,
}

/// OpenAI's own service.
///
/// # Errors
/// No key, or an unknown option.
pub fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.required_key()?;
    made(settings, network, "pcm", false)
}

/// A server of one's own.
///
/// # Errors
/// An unknown option.
pub fn build_compatible(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    made(settings, network, "wav", true)
}

fn made(
    settings: &Settings,
    network: &Network,
    response_format: &str,
    own: bool,
) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.only_options(OPTIONS)?;
    let response_format = settings.option("response_format").unwrap_or_else(|| response_format.to_owned());
    if !["pcm", "wav"].contains(&response_format.as_str()) {
        return Err(settings.error("`response_format` is `pcm` or `wav`; the others are not for telephones"));
    }
    let rate = settings.option("sample_rate").map_or(Ok(RATE), |rate| rate.parse());
    let rate = rate.map_err(|_| settings.error("`sample_rate` is a number of Hz"))?;
    let vendor = OpenAi { settings: settings.clone(), response_format, rate, own };
    Ok(Arc::new(VendorTts::new(settings, network, vendor)))
}

impl OpenAi {
    fn headers(&self) -> Vec<(&'static str, Pii<String>)> {
        let key = self.settings.key.as_ref();
        key.map(|key| ("authorization", Pii::new(format!("Bearer {}", key.expose())))).into_iter().collect()
    }
}

impl TtsVendor for OpenAi {
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: vec![AudioFormat::pcm(self.rate)],
            word_timestamps: false,
            cancel: true,
            wants_speakable_text: true,
            languages: &[],
        }
    }

    fn format(&self, _: &SpeakRequest) -> AudioFormat {
        AudioFormat::pcm(self.rate)
    }

    fn transport(&self) -> TtsTransport<'_> {
        TtsTransport::Http(self)
    }
}

impl TtsHttpVendor for OpenAi {
    fn cut(&self) -> Cut {
        Cut { most: MOST, sentences: self.own }
    }

    fn warm(&self) -> Option<Request> {
        let url = url(&self.settings.url, "/models", &[], false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn request(&self, request: &SpeakRequest, _: AudioFormat) -> Request {
        let mut body = json!({
            "model": self.settings.model,
            "voice": request.voice.as_deref().unwrap_or(&self.settings.voice),
            "input": request.text,
            "response_format": self.response_format,
        });
        if let Some(instructions) = self.settings.option("instructions") {
            body["instructions"] = instructions.into();
        }
        if self.settings.options.contains_key("sample_rate") {
            body["sample_rate"] = self.rate.into();
        }
        let speed = request.speed.clamp(0.25, 4.0);
        if (speed - 1.0).abs() > f32::EPSILON {
            body["speed"] = speed.into();
        }
        let mut headers = self.headers();
        headers.push(("content-type", Pii::new("application/json".to_owned())));
        let url = url(&self.settings.url, "/audio/speech", &[], false);
        Request { method: "POST", url, headers, body: Pii::new(body.to_string().into()) }
    }

    fn reply(&self, _: &SpeakRequest, _: AudioFormat) -> Box<dyn TtsReply> {
        let provider = self.settings.name.clone();
        Box::new(if self.response_format == "wav" { AudioBody::of_file(provider) } else { AudioBody::new(provider) })
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        refusal.into_error(self.settings.name.clone())
    }
}
