//! Cartesia's WebSocket (cartesia 4.2.0): many contexts on one connection, a context per utterance.

use super::protocol::{SocketTerms, TtsProtocol, TtsSocketVendor, TtsTransport, TtsVendor, Utterance, Voiced};
use super::stream::VendorTts;
use super::{SpeakRequest, TextToSpeech, TtsCapabilities, Voice};
use crate::base::Pii;
use crate::providers::error::in_short;
use crate::providers::format::{AudioFormat, Encoding, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Header, Outbox, Request, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, base64};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Its options: the vendor's own names, and ours for how connections are used.
pub const OPTIONS: &[&str] =
    &["version", "max_buffer_delay_ms", "volume", "emotion", "pronunciation_dict_id", "contexts", "idle_seconds"];
/// The version of the API that is spoken here.
const VERSION: &str = "2026-08-14";
/// Contexts on one connection where nothing else is configured: a broken one takes so many calls' words with it.
const CONTEXTS: usize = 10;
/// The vendor closes an idle connection after five minutes.
const IDLE: Duration = Duration::from_secs(240);
/// No limit is known; a connection that lives for ever hides a change of address.
const RETIRE: Duration = Duration::from_secs(6 * 3_600);
/// Voices per page of the list.
const PAGE: &str = "100";

/// The rates it gives, besides G.711.
const FORMATS: [AudioFormat; 7] = [
    AudioFormat::MULAW,
    AudioFormat::ALAW,
    AudioFormat::pcm(24_000),
    AudioFormat::pcm(16_000),
    AudioFormat::pcm(8_000),
    AudioFormat::pcm(44_100),
    AudioFormat::pcm(48_000),
];

#[derive(Clone)]
struct Cartesia {
    settings: Settings,
    terms: SocketTerms,
}

/// Cartesia.
///
/// # Errors
/// No key, no voice, or an unknown option.
pub fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    if settings.voice.is_empty() {
        return Err(settings.error("it needs a `voice`"));
    }
    let terms = SocketTerms {
        at_once: super::vendors::number(settings, "contexts", CONTEXTS)?.max(1),
        pace: None,
        idle_close: Duration::from_secs(
            super::vendors::number(settings, "idle_seconds", IDLE.as_secs() as usize)? as u64
        ),
        retire_after: RETIRE,
    };
    Ok(Arc::new(VendorTts::new(settings, network, Cartesia { settings: settings.clone(), terms })))
}

impl Cartesia {
    fn headers(&self) -> Vec<Header> {
        let key = self.settings.key.as_ref().map(|key| key.expose().as_str()).unwrap_or_default();
        let version = self.settings.option("version").unwrap_or_else(|| VERSION.to_owned());
        vec![("authorization", Pii::new(format!("Bearer {key}"))), ("cartesia-version", Pii::new(version))]
    }
}

impl TtsVendor for Cartesia {
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: FORMATS.to_vec(),
            word_timestamps: true,
            cancel: true,
            wants_speakable_text: true,
            languages: &[],
        }
    }

    fn format(&self, request: &SpeakRequest) -> AudioFormat {
        cheapest(request.line, &FORMATS).unwrap_or(AudioFormat::pcm(24_000))
    }

    fn transport(&self) -> TtsTransport<'_> {
        TtsTransport::Socket(self)
    }

    fn list(&self, page: Option<&str>) -> Option<Request> {
        let mut query = vec![("limit", PAGE)];
        query.extend(page.map(|page| ("starting_after", page)));
        let url = url(&self.settings.url, "/voices", &query, false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn listed(&self, body: &[u8]) -> Result<(Vec<Voice>, Option<String>), ProviderError> {
        #[derive(Deserialize)]
        struct Listed {
            id: String,
            #[serde(default)]
            name: String,
            language: Option<String>,
        }
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Listed>,
            has_more: Option<bool>,
        }
        let page: Page = serde_json::from_slice(body).map_err(|error| ProviderError::Protocol {
            provider: self.settings.name.clone(),
            reason: in_short(&error.to_string()),
        })?;
        // Where the vendor does not say so, the last page is the empty one.
        let next = page.data.last().filter(|_| page.has_more != Some(false)).map(|last| last.id.clone());
        let voice = |v: Listed| Voice { id: v.id, name: v.name, languages: v.language.into_iter().collect() };
        Ok((page.data.into_iter().map(voice).collect(), next))
    }
}

impl TtsSocketVendor for Cartesia {
    /// Voice and format stand in each message.
    fn connection_key(&self, _: &SpeakRequest, _: AudioFormat) -> String {
        String::new()
    }

    fn connect(&self, _: &SpeakRequest, _: AudioFormat) -> Box<dyn TtsProtocol> {
        Box::new(Contexts { vendor: self.clone() })
    }

    fn terms(&self) -> SocketTerms {
        self.terms
    }
}

/// One connection.
struct Contexts {
    vendor: Cartesia,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type", default)]
    kind: Value,
    context_id: Option<String>,
    data: Option<String>,
    word_timestamps: Option<WordTimestamps>,
    status_code: Option<u16>,
    title: Option<String>,
    message: Option<String>,
    error: Option<String>,
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct WordTimestamps {
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    end: Vec<f64>,
}

impl Contexts {
    fn name(&self) -> ProviderName {
        self.vendor.settings.name.clone()
    }

    fn wrong(&self, reason: impl Into<String>) -> ProviderError {
        ProviderError::Protocol { provider: self.name(), reason: reason.into() }
    }

    fn error(&self, message: &Message) -> ProviderError {
        let words = [&message.title, &message.message, &message.error, &message.error_code];
        let words = words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(": ");
        let words = in_short(&words);
        if words.contains("credit") || words.contains("quota") {
            return ProviderError::Quota { provider: self.name(), reason: words };
        }
        match message.status_code {
            Some(status) if status >= 400 => ProviderError::from_status(self.name(), status, &words, None),
            _ => ProviderError::Failed { provider: self.name(), reason: words },
        }
    }
}

impl TtsProtocol for Contexts {
    fn handshake(&self) -> Handshake {
        let url = url(&self.vendor.settings.url, "/tts/websocket", &[], true);
        Handshake { url, headers: self.vendor.headers() }
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn speak(&mut self, id: Utterance, request: &SpeakRequest, out: &mut Outbox) {
        let settings = &self.vendor.settings;
        let format = self.vendor.format(request);
        let encoding = match format.encoding {
            Encoding::Pcm16 => "pcm_s16le",
            Encoding::Mulaw => "pcm_mulaw",
            Encoding::Alaw => "pcm_alaw",
        };
        let mut message = json!({
            "model_id": settings.model,
            "transcript": request.text,
            "voice": {"mode": "id", "id": request.voice.as_deref().unwrap_or(&settings.voice)},
            "output_format": {"container": "raw", "encoding": encoding, "sample_rate": format.rate.0},
            "context_id": context(id),
            "continue": false,
            "add_timestamps": true,
            // The times then follow the text as it was sent.
            "use_normalized_timestamps": false,
            "max_buffer_delay_ms": 0,
        });
        if let Some(language) = language(request, settings) {
            message["language"] = language.into();
        }
        for name in ["max_buffer_delay_ms", "pronunciation_dict_id"] {
            if let Some(value) = settings.options.get(name) {
                message[name] = value.clone();
            }
        }
        let mut generation = serde_json::Map::new();
        if (request.speed - 1.0).abs() > f32::EPSILON {
            generation.insert("speed".into(), request.speed.clamp(0.6, 1.5).into());
        }
        for name in ["volume", "emotion"] {
            if let Some(value) = settings.options.get(name) {
                generation.insert(name.into(), value.clone());
            }
        }
        if !generation.is_empty() {
            message["generation_config"] = generation.into();
        }
        out.json(&message);
    }

    fn cancel(&mut self, id: Utterance, out: &mut Outbox) {
        out.json(&json!({"context_id": context(id), "cancel": true}));
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let Frame::Text(text) = frame else { return Ok(()) };
        let message: Message = serde_json::from_str(&text).map_err(|error| self.wrong(in_short(&error.to_string())))?;
        let kind = message.kind.as_str().ok_or_else(|| self.wrong("a message without a type"))?;
        let id = message.context_id.as_deref().and_then(utterance);
        match (kind, id) {
            ("chunk", Some(id)) => {
                let data = message.data.as_deref().unwrap_or_default();
                let octets = base64::decoded(data).ok_or_else(|| self.wrong("audio that is no base64"))?;
                voiced.push(Voiced::Audio { id, octets });
            }
            ("timestamps", Some(id)) => {
                let Some(times) = message.word_timestamps else { return Ok(()) };
                let ends = times.end.iter().map(|end| super::vendors::seconds(*end));
                voiced.push(Voiced::Words { id, words: times.words.into_iter().zip(ends).collect() });
            }
            ("done", Some(id)) => voiced.push(Voiced::Done { id }),
            ("error", Some(id)) => voiced.push(Voiced::Failed { id, error: self.error(&message) }),
            ("error", None) => return Err(self.error(&message)),
            _ => {}
        }
        Ok(())
    }

    fn goodbye(&mut self, _: &mut Outbox) {}

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        (closed.code != Some(1000)).then(|| ProviderError::Transient {
            provider: self.name(),
            reason: format!("the connection was closed: {}", closed.reason),
        })
    }
}

fn context(id: Utterance) -> String {
    format!("u{}", id.0)
}

fn utterance(context: &str) -> Option<Utterance> {
    context.strip_prefix('u')?.parse().ok().map(Utterance)
}

/// Two letters: the vendor knows no regions here.
fn language(request: &SpeakRequest, settings: &Settings) -> Option<String> {
    let tag = request.language.as_deref().unwrap_or(&settings.language);
    let primary = tag.split('-').next().unwrap_or_default();
    (!primary.is_empty()).then(|| primary.to_ascii_lowercase())
}
