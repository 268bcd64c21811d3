//! Whisper-compatible transcription of whole recordings: `/audio/transcriptions` of OpenAI, Groq, Speaches and others.
//!
//! It hears nothing before the caller has finished, so it serves recordings only, never a live call.

use crate::base::{Pii, Random};
use crate::providers::catalogue::Offer;
use crate::providers::exchange::Exchange;
use crate::providers::wire::{Request, url};
use crate::providers::{Meter, Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText};
use bytes::Bytes;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The vendor in the catalogue: known by name, so that its error can say why it is not for calls.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "whisper",
    title: "Whisper-compatible transcription of recordings",
    key_variable: "",
    url: "https://api.openai.com/v1",
    model: "gpt-transcribe",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &["prompt", "temperature", TIMEOUT];
/// Ours: seconds within which a recording has to be transcribed.
const TIMEOUT: &str = "timeout_s";
const TIMEOUT_S: u64 = 120;
/// Largest recording: the vendors' own cap.
const RECORDING_BYTES: usize = 25_000_000;

fn build(settings: &Settings, _: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    Err(settings.error(
        "it transcribes whole recordings: in a call it would hear nothing until the caller has finished, and invent \
         words in silence; name a streaming provider, such as deepgram, assemblyai, vosk or local",
    ))
}

/// The words of a recording, when they come.
pub type Transcription<'a> = Pin<Box<dyn Future<Output = Result<Pii<String>, ProviderError>> + Send + 'a>>;

/// Speech to text for recordings.
pub trait BatchSpeechToText: Send + Sync {
    /// The name used in configuration, events and metrics.
    fn name(&self) -> ProviderName;

    /// The words of a recording, given as a WAV file.
    ///
    /// # Errors
    /// [`ProviderError::BadRequest`] for a recording that is too large; else what the vendor says.
    fn transcribe(&self, wav: Bytes) -> Transcription<'_>;
}

/// A server that speaks as OpenAI's `/audio/transcriptions` does.
#[derive(Debug)]
pub struct Whisper {
    settings: Settings,
    network: Network,
    timeout: Duration,
    meter: Arc<Meter>,
}

impl Whisper {
    /// A server as it is configured; a key is sent where there is one.
    ///
    /// # Errors
    /// An option it does not know.
    pub fn new(settings: &Settings, network: &Network) -> Result<Self, SettingsError> {
        settings.only_options(OPTIONS)?;
        let timeout = settings.options.get(TIMEOUT).map_or(Some(TIMEOUT_S), Value::as_u64);
        let timeout = timeout.filter(|seconds| (1..=3_600).contains(seconds));
        let timeout = timeout.ok_or_else(|| settings.error(format!("{TIMEOUT} is a number from 1 to 3600")))?;
        let timeout = Duration::from_secs(timeout);
        Ok(Self { settings: settings.clone(), network: network.clone(), timeout, meter: Arc::default() })
    }

    /// What it has done so far.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn request(&self, wav: &[u8]) -> Request {
        let boundary = boundary(wav, &mut Random::system());
        let mut body = Vec::with_capacity(wav.len() + 1_024);
        let mut field = |name: &str, value: &str| {
            let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        };
        field("model", &self.settings.model);
        field("response_format", "json");
        if !self.settings.language.is_empty() {
            field("language", &self.settings.language);
        }
        for name in ["prompt", "temperature"] {
            if let Some(value) = self.settings.option(name) {
                field(name, &value);
            }
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"recording.wav\"\r\n\
             Content-Type: audio/wav\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(wav);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let kind = ("content-type", Pii::new(format!("multipart/form-data; boundary={boundary}")));
        let key = self.settings.key.as_ref();
        let key = key.map(|key| ("authorization", Pii::new(format!("Bearer {}", key.expose()))));
        Request {
            method: "POST",
            url: url(&self.settings.url, "/audio/transcriptions", &[], false),
            headers: key.into_iter().chain([kind]).collect(),
            body: Pii::new(body.into()),
        }
    }

    async fn words(&self, wav: Bytes) -> Result<Pii<String>, ProviderError> {
        let provider = self.name();
        if wav.len() > RECORDING_BYTES {
            let reason = format!("a recording of more than {RECORDING_BYTES} octets");
            return Err(ProviderError::BadRequest { provider, reason });
        }
        let request = self.request(&wav);
        let exchange = match Exchange::begin(provider.clone(), &self.network, &request, self.timeout).await? {
            Ok(exchange) => exchange,
            Err(refusal) => return Err(refusal.into_error(provider)),
        };
        let body = exchange.whole(self.timeout).await?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match answer.as_ref().and_then(|answer| answer.get("text")).and_then(Value::as_str) {
            Some(text) => Ok(Pii::new(text.trim().to_owned())),
            None => Err(ProviderError::Protocol { provider, reason: "an answer without `text`".into() }),
        }
    }
}

impl BatchSpeechToText for Whisper {
    fn name(&self) -> ProviderName {
        self.settings.name.clone()
    }

    fn transcribe(&self, wav: Bytes) -> Transcription<'_> {
        Box::pin(async move {
            self.meter.began();
            self.words(wav).await.inspect_err(|error| self.meter.failed(error))
        })
    }
}

/// A line that is not in the recording (RFC 2046 section 5.1.1).
fn boundary(wav: &[u8], random: &mut Random) -> String {
    loop {
        let boundary = format!("recording-{}", random.hex(16));
        if !wav.windows(boundary.len()).any(|part| part == boundary.as_bytes()) {
            return boundary;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::stt::query::tests::settings;

    #[test]
    fn a_live_call_is_told_why_it_is_not_served() {
        let network = Network::new(&[]).expect("a network");
        let error = build(&settings(&[]), &network).err().expect("no provider");
        assert!(error.reason.contains("whole recordings") && error.reason.contains("streaming"), "{error}");
    }

    #[test]
    fn a_recording_travels_as_a_file_with_an_extension() {
        let network = Network::new(&[]).expect("a network");
        let whisper = Whisper::new(&settings(&[("prompt", "Lindenhof".into())]), &network).expect("settings");
        let request = whisper.request(b"RIFFwave");
        let body = String::from_utf8(request.body.expose().to_vec()).expect("text");
        assert!(
            body.contains("name=\"file\"; filename=\"recording.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFFwave\r\n--")
        );
        assert!(
            body.contains("name=\"model\"\r\n\r\nmodel-1\r\n") && body.contains("name=\"prompt\"\r\n\r\nLindenhof\r\n")
        );
        assert!(body.ends_with("--\r\n"));
        assert_eq!(request.url, "https://vendor.example/audio/transcriptions");
    }
}
