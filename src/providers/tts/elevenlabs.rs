//! ElevenLabs (elevenlabs 2.78.0): the WebSocket with several contexts, a context per utterance, and the stream by HTTP
//! where `transport = "http"`.
//!
//! A context is closed as soon as its text is sent: the vendor speaks it to the end and says `isFinal`. So there is
//! nothing left to tell it when the utterance is cancelled; it counts until then.

use super::elevenlabs_http::Lines;
use super::protocol::{
    Cut, SocketTerms, TtsHttpVendor, TtsProtocol, TtsReply, TtsSocketVendor, TtsTransport, TtsVendor, Utterance, Voiced,
};
use super::stream::VendorTts;
use super::vendors::seconds;
use super::{SpeakRequest, TextToSpeech, TtsCapabilities, Voice};
use crate::base::Pii;
use crate::providers::error::in_short;
use crate::providers::exchange::Refusal;
use crate::providers::format::{AudioFormat, Encoding, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Header, Outbox, Request, query_value, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, base64};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Its options: the vendor's own names, and ours for the way and how connections are used.
pub const OPTIONS: &[&str] = &[
    "transport",
    "stability",
    "similarity_boost",
    "style",
    "use_speaker_boost",
    "auto_mode",
    "apply_text_normalization",
    "inactivity_timeout",
    "enable_logging",
    "seed",
    "contexts",
];
/// Those that belong to the voice.
const VOICE_OPTIONS: [&str; 4] = ["stability", "similarity_boost", "style", "use_speaker_boost"];
/// Contexts at once: the vendor closes the whole connection at the sixth.
const CONTEXTS: usize = 5;
/// Seconds without a message after which the vendor closes: the most it allows.
const INACTIVITY: usize = 180;
/// An idle connection is closed this long before the vendor does so.
const BEFORE: Duration = Duration::from_secs(10);
/// No limit is known; a connection that lives for ever hides a change of address.
const RETIRE: Duration = Duration::from_secs(6 * 3_600);
/// Characters of one request by HTTP (the most of the flash models is far above).
const MOST: usize = 5_000;
/// Voices per page of the list.
const PAGE: &str = "100";

const FORMATS: [AudioFormat; 8] = [
    AudioFormat::MULAW,
    AudioFormat::ALAW,
    AudioFormat::pcm(24_000),
    AudioFormat::pcm(16_000),
    AudioFormat::pcm(8_000),
    AudioFormat::pcm(22_050),
    AudioFormat::pcm(44_100),
    AudioFormat::pcm(48_000),
];

#[derive(Clone)]
struct ElevenLabs {
    settings: Settings,
    terms: SocketTerms,
    inactivity: usize,
    http: bool,
}

/// ElevenLabs.
///
/// # Errors
/// No key, no voice, or an option that is unknown or wrong.
pub fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    if settings.voice.is_empty() {
        return Err(settings.error("it needs a `voice`"));
    }
    let http = match settings.option("transport").as_deref() {
        None | Some("websocket") => false,
        Some("http") => true,
        Some(_) => return Err(settings.error("`transport` is `websocket` or `http`")),
    };
    let inactivity = super::vendors::number(settings, "inactivity_timeout", INACTIVITY)?;
    let terms = SocketTerms {
        at_once: super::vendors::number(settings, "contexts", CONTEXTS)?.clamp(1, CONTEXTS),
        pace: None,
        idle_close: Duration::from_secs(inactivity as u64).saturating_sub(BEFORE).max(Duration::from_secs(1)),
        retire_after: RETIRE,
    };
    let vendor = ElevenLabs { settings: settings.clone(), terms, inactivity, http };
    Ok(Arc::new(VendorTts::new(settings, network, vendor)))
}

impl ElevenLabs {
    fn headers(&self) -> Vec<Header> {
        self.settings.key.iter().map(|key| ("xi-api-key", key.clone())).collect()
    }

    fn voice_settings(&self, speed: f32) -> Value {
        let mut voice = serde_json::Map::new();
        for name in VOICE_OPTIONS {
            if let Some(value) = self.settings.options.get(name) {
                voice.insert(name.into(), value.clone());
            }
        }
        if (speed - 1.0).abs() > f32::EPSILON {
            voice.insert("speed".into(), speed.clamp(0.7, 1.2).into());
        }
        voice.into()
    }

    fn path(&self, request: &SpeakRequest, end: &str) -> String {
        let voice = request.voice.as_deref().unwrap_or(&self.settings.voice);
        format!("/v1/text-to-speech/{}/{end}", query_value(voice))
    }

    fn socket_url(&self, request: &SpeakRequest, format: AudioFormat) -> String {
        let (output, inactivity) = (name_of(format), self.inactivity.to_string());
        let auto = self.settings.option("auto_mode").unwrap_or_else(|| "true".to_owned());
        let mut query = vec![
            ("model_id", self.settings.model.as_str()),
            ("output_format", &output),
            ("inactivity_timeout", &inactivity),
            ("auto_mode", &auto),
            ("sync_alignment", "true"),
        ];
        let language = self.language(request);
        query.extend(language.iter().map(|language| ("language_code", language.as_str())));
        let names = ["apply_text_normalization", "enable_logging", "seed"];
        let options: Vec<_> = names.iter().filter_map(|name| Some((*name, self.settings.option(name)?))).collect();
        query.extend(options.iter().map(|(name, value)| (*name, value.as_str())));
        url(&self.settings.url, &self.path(request, "multi-stream-input"), &query, true)
    }

    /// Two letters (ISO 639-1).
    fn language(&self, request: &SpeakRequest) -> Option<String> {
        let tag = request.language.as_deref().unwrap_or(&self.settings.language);
        let primary = tag.split('-').next().unwrap_or_default();
        (!primary.is_empty()).then(|| primary.to_ascii_lowercase())
    }
}

fn name_of(format: AudioFormat) -> String {
    let kind = match format.encoding {
        Encoding::Pcm16 => "pcm",
        Encoding::Mulaw => "ulaw",
        Encoding::Alaw => "alaw",
    };
    format!("{kind}_{}", format.rate.0)
}

impl TtsVendor for ElevenLabs {
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: FORMATS.to_vec(),
            word_timestamps: true,
            cancel: self.http,
            // Once is enough.
            wants_speakable_text: self.settings.option("apply_text_normalization").as_deref() != Some("on"),
            languages: &[],
        }
    }

    fn format(&self, request: &SpeakRequest) -> AudioFormat {
        cheapest(request.line, &FORMATS).unwrap_or(AudioFormat::pcm(24_000))
    }

    fn transport(&self) -> TtsTransport<'_> {
        if self.http { TtsTransport::Http(self) } else { TtsTransport::Socket(self) }
    }

    fn list(&self, page: Option<&str>) -> Option<Request> {
        let mut query = vec![("page_size", PAGE)];
        query.extend(page.map(|page| ("next_page_token", page)));
        let url = url(&self.settings.url, "/v2/voices", &query, false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn listed(&self, body: &[u8]) -> Result<(Vec<Voice>, Option<String>), ProviderError> {
        #[derive(Deserialize)]
        struct Listed {
            voice_id: String,
            name: Option<String>,
            #[serde(default)]
            labels: Option<HashMap<String, String>>,
        }
        #[derive(Deserialize)]
        struct Page {
            voices: Vec<Listed>,
            #[serde(default)]
            has_more: bool,
            next_page_token: Option<String>,
        }
        let page: Page = serde_json::from_slice(body).map_err(|error| ProviderError::Protocol {
            provider: self.settings.name.clone(),
            reason: in_short(&error.to_string()),
        })?;
        let voice = |mut v: Listed| Voice {
            name: v.name.take().unwrap_or_else(|| v.voice_id.clone()),
            languages: v.labels.and_then(|mut labels| labels.remove("language")).into_iter().collect(),
            id: v.voice_id,
        };
        Ok((page.voices.into_iter().map(voice).collect(), page.next_page_token.filter(|_| page.has_more)))
    }
}

impl TtsSocketVendor for ElevenLabs {
    fn connection_key(&self, request: &SpeakRequest, format: AudioFormat) -> String {
        self.socket_url(request, format)
    }

    fn connect(&self, request: &SpeakRequest, format: AudioFormat) -> Box<dyn TtsProtocol> {
        let url = self.socket_url(request, format);
        Box::new(Contexts { vendor: self.clone(), url, format, spoken: HashMap::new() })
    }

    fn terms(&self) -> SocketTerms {
        self.terms
    }
}

impl TtsHttpVendor for ElevenLabs {
    fn cut(&self) -> Cut {
        Cut { most: MOST, sentences: false }
    }

    fn warm(&self) -> Option<Request> {
        let url = url(&self.settings.url, "/v1/models", &[], false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn request(&self, request: &SpeakRequest, format: AudioFormat) -> Request {
        let mut body = json!({"text": request.text, "model_id": self.settings.model});
        let voice = self.voice_settings(request.speed);
        if voice.as_object().is_some_and(|voice| !voice.is_empty()) {
            body["voice_settings"] = voice;
        }
        if let Some(language) = self.language(request) {
            body["language_code"] = language.into();
        }
        for name in ["apply_text_normalization", "seed"] {
            if let Some(value) = self.settings.options.get(name) {
                body[name] = value.clone();
            }
        }
        let output = name_of(format);
        let logging = self.settings.option("enable_logging");
        let mut query = vec![("output_format", output.as_str())];
        query.extend(logging.iter().map(|logging| ("enable_logging", logging.as_str())));
        let mut headers = self.headers();
        headers.push(("content-type", Pii::new("application/json".to_owned())));
        let url = url(&self.settings.url, &self.path(request, "stream/with-timestamps"), &query, false);
        Request { method: "POST", url, headers, body: Pii::new(body.to_string().into()) }
    }

    fn reply(&self, _: &SpeakRequest, format: AudioFormat) -> Box<dyn TtsReply> {
        Box::new(Lines::new(self.settings.name.clone(), format))
    }

    fn takes(&self, content_type: &str) -> bool {
        content_type.contains("json") || content_type.contains("event-stream")
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        let name = self.settings.name.clone();
        let status: Option<Value> = serde_json::from_str(&refusal.body).ok();
        let word = status.as_ref().and_then(|body| body.pointer("/detail/status")?.as_str()).unwrap_or_default();
        match fault(&name, word, &refusal.message()) {
            Some(ProviderError::RateLimited { provider, .. }) => {
                ProviderError::RateLimited { provider, retry_after: refusal.retry_after }
            }
            Some(error) => error,
            None => refusal.into_error(name),
        }
    }
}

/// What the vendor's own word for an error means.
fn fault(name: &ProviderName, word: &str, words: &str) -> Option<ProviderError> {
    let (provider, reason) = (name.clone(), in_short(&format!("{word}: {words}")));
    Some(match word {
        "quota_exceeded" | "insufficient_credits" => ProviderError::Quota { provider, reason },
        "too_many_concurrent_requests" | "max_active_conversations" | "rate_limit_exceeded" => {
            ProviderError::RateLimited { provider, retry_after: None }
        }
        "system_busy" => ProviderError::Transient { provider, reason },
        "invalid_api_key" | "missing_api_key" | "unauthorized" | "authentication_error" => {
            ProviderError::Authentication { provider, reason }
        }
        word if word.ends_with("_not_found") || word.starts_with("invalid_") => {
            ProviderError::BadRequest { provider, reason }
        }
        _ => return None,
    })
}

/// One connection.
struct Contexts {
    vendor: ElevenLabs,
    url: String,
    format: AudioFormat,
    spoken: HashMap<Utterance, Spelling>,
}

/// The words of an utterance, which the vendor spells character by character.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    word: String,
    end: Duration,
    /// Audio so far.
    audio: Duration,
}

/// When each character is spoken, in the vendor's various spellings.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Alignment {
    #[serde(default, alias = "characters")]
    chars: Vec<String>,
    #[serde(default, rename = "charStartTimesMs", alias = "charsStartTimesMs", alias = "char_start_times_ms")]
    starts: Vec<f64>,
    #[serde(default, rename = "charDurationsMs", alias = "charsDurationsMs", alias = "char_durations_ms")]
    durations: Vec<f64>,
    #[serde(default, rename = "character_start_times_seconds")]
    starts_s: Vec<f64>,
    #[serde(default, rename = "character_end_times_seconds")]
    ends_s: Vec<f64>,
}

/// Times that start anew with each chunk are told from those that go on by this much.
const NEAR: Duration = Duration::from_millis(60);

impl Spelling {
    /// A chunk of audio of this length with its characters: the words that end in it.
    pub fn hear(&mut self, audio: Duration, alignment: Option<&Alignment>) -> Vec<(String, Duration)> {
        let before = self.audio;
        self.audio += audio;
        let mut words = Vec::new();
        let Some(alignment) = alignment else { return words };
        let starts = alignment.starts.iter().map(|ms| seconds(ms / 1_000.0));
        let starts: Vec<_> = starts.chain(alignment.starts_s.iter().map(|s| seconds(*s))).collect();
        let durations = alignment.durations.iter().zip(&starts).map(|(ms, start)| *start + seconds(ms / 1_000.0));
        let ends: Vec<_> = durations.chain(alignment.ends_s.iter().map(|s| seconds(*s))).collect();
        let offset = match starts.first() {
            Some(first) if *first + NEAR < before => before,
            _ => Duration::ZERO,
        };
        for (text, end) in alignment.chars.iter().zip(ends) {
            if text.chars().all(char::is_whitespace) {
                words.extend(self.word_over());
            } else {
                self.word.push_str(text);
                self.end = offset + end;
            }
        }
        words
    }

    /// The last word, which no blank follows.
    pub fn word_over(&mut self) -> Option<(String, Duration)> {
        (!self.word.is_empty()).then(|| (std::mem::take(&mut self.word), self.end))
    }
}

#[derive(Deserialize)]
struct Message {
    audio: Option<String>,
    #[serde(rename = "contextId", alias = "context_id")]
    context: Option<String>,
    #[serde(rename = "isFinal", alias = "is_final")]
    is_final: Option<bool>,
    alignment: Option<Alignment>,
    error: Option<String>,
    message: Option<String>,
}

impl Contexts {
    fn name(&self) -> ProviderName {
        self.vendor.settings.name.clone()
    }

    fn wrong(&self, reason: &str) -> ProviderError {
        ProviderError::Protocol { provider: self.name(), reason: in_short(reason) }
    }

    fn error(&self, word: &str, words: &str) -> ProviderError {
        let fallback =
            || ProviderError::Failed { provider: self.name(), reason: in_short(&format!("{word}: {words}")) };
        fault(&self.name(), word, words).unwrap_or_else(fallback)
    }
}

impl TtsProtocol for Contexts {
    fn handshake(&self) -> Handshake {
        Handshake { url: self.url.clone(), headers: self.vendor.headers() }
    }

    /// The vendor says 401 for want of credit too.
    fn refused(&self, error: ProviderError) -> ProviderError {
        match error {
            ProviderError::Authentication { provider, reason } if reason.contains("quota_exceeded") => {
                ProviderError::Quota { provider, reason }
            }
            other => other,
        }
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn speak(&mut self, id: Utterance, request: &SpeakRequest, out: &mut Outbox) {
        let context = format!("u{}", id.0);
        let voice = self.vendor.voice_settings(request.speed);
        // The first message of a context is one blank; settings are heard in it alone.
        out.json(&json!({"text": " ", "context_id": context, "voice_settings": voice}));
        // Every text ends with a blank, or its last word waits for more letters.
        let text = format!("{} ", request.text.trim_end());
        out.json(&json!({"text": text, "context_id": context, "flush": true}));
        out.json(&json!({"context_id": context, "close_context": true}));
        self.spoken.insert(id, Spelling::default());
    }

    fn cancel(&mut self, _: Utterance, _: &mut Outbox) {}

    fn received(&mut self, frame: Frame, _: &mut Outbox, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let Frame::Text(text) = frame else { return Ok(()) };
        let message: Message = serde_json::from_str(&text).map_err(|error| self.wrong(&error.to_string()))?;
        let id = message.context.as_deref().and_then(|context| context.strip_prefix('u')?.parse().ok()).map(Utterance);
        if let Some(word) = &message.error {
            let error = self.error(word, message.message.as_deref().unwrap_or_default());
            let Some(id) = id.filter(|id| self.spoken.remove(id).is_some()) else { return Err(error) };
            voiced.push(Voiced::Failed { id, error });
            return Ok(());
        }
        let Some(id) = id else { return Ok(()) };
        let octets = message.audio.as_deref().map_or(Some(Vec::new()), base64::decoded);
        let octets = octets.ok_or_else(|| self.wrong("audio that is no base64"))?;
        let Some(spelling) = self.spoken.get_mut(&id) else { return Ok(()) };
        let samples = octets.len() / self.format.encoding.sample_bytes();
        let mut words = spelling.hear(self.format.rate.duration_of(samples), message.alignment.as_ref());
        let is_final = message.is_final == Some(true);
        if is_final {
            words.extend(spelling.word_over());
            self.spoken.remove(&id);
        }
        if !octets.is_empty() {
            voiced.push(Voiced::Audio { id, octets });
        }
        if !words.is_empty() {
            voiced.push(Voiced::Words { id, words });
        }
        if is_final {
            voiced.push(Voiced::Done { id });
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        out.json(&json!({"close_socket": true}));
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        let reason = in_short(&format!("the connection was closed: {}", closed.reason));
        let provider = self.name();
        let words = ["quota_exceeded", "max_active_conversations", "too_many_concurrent_requests", "invalid_api_key"];
        if let Some(word) = words.into_iter().find(|word| closed.reason.contains(word)) {
            return fault(&provider, word, &closed.reason);
        }
        match closed.code {
            Some(1000) => None,
            Some(1008) => Some(ProviderError::BadRequest { provider, reason }),
            _ => Some(ProviderError::Transient { provider, reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn alignment(text: &str, from: u32) -> Alignment {
        let chars: Vec<String> = text.chars().map(String::from).collect();
        let starts = (0..chars.len() as u32).map(|n| f64::from(from + n * 10)).collect();
        Alignment { durations: vec![10.0; chars.len()], starts, chars, ..Alignment::default() }
    }

    #[test]
    fn a_word_cut_between_two_chunks_ends_where_its_last_letter_does() {
        for restarts in [true, false] {
            let mut spelling = Spelling::default();
            let first = spelling.hear(100 * MS, Some(&alignment("ab cdefghi", 0)));
            assert_eq!(first, [("ab".to_owned(), 20 * MS)]);
            let second = spelling.hear(50 * MS, Some(&alignment("jk lm", if restarts { 0 } else { 100 })));
            assert_eq!(second, [("cdefghijk".to_owned(), 120 * MS)]);
            assert_eq!(spelling.word_over(), Some(("lm".to_owned(), 150 * MS)));
            assert_eq!(spelling.word_over(), None);
        }
    }

    #[test]
    fn both_spellings_of_an_answer_are_read() {
        for (context, last) in [("contextId", "isFinal"), ("context_id", "is_final")] {
            let text = json!({context: "u7", last: true, "audio": null, "later": {"x": 1}}).to_string();
            let message: Message = serde_json::from_str(&text).unwrap();
            assert_eq!((message.context.as_deref(), message.is_final), (Some("u7"), Some(true)));
        }
    }

    #[test]
    fn the_vendor_s_words_for_an_error_are_understood() {
        let kind = |word| fault(&"e".into(), word, "").map(|error| error.kind());
        assert_eq!(kind("quota_exceeded"), Some("quota"));
        assert_eq!(kind("max_active_conversations"), Some("rate_limited"));
        assert_eq!(kind("system_busy"), Some("transient"));
        assert_eq!(kind("voice_not_found"), Some("bad_request"));
        assert_eq!(kind("invalid_api_key"), Some("authentication"));
        assert_eq!(kind("something_new"), None);
    }
}
