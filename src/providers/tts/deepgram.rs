//! Deepgram Aura over `v1/speak` (deepgram-sdk 7.17.0): one text after the other on a connection, audio without a name,
//! the end of a text told by `Flushed`. Models called `flux-…` are spoken to by [`super::deepgram_flux`].

use super::deepgram_flux::Turns;
use super::protocol::{Cut, SocketTerms, TtsProtocol, TtsSocketVendor, TtsTransport, TtsVendor, Utterance, Voiced};
use super::stream::VendorTts;
use super::{SpeakRequest, TextToSpeech, TtsCapabilities, Voice, pieces};
use crate::base::Pii;
use crate::providers::error::in_short;
use crate::providers::format::{AudioFormat, Encoding, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Header, Outbox, Request, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Its options: the vendor's own names, and ours for how connections are used.
pub const OPTIONS: &[&str] = &["mip_opt_out", "tag", "expressivity", "flushes_per_minute", "idle_seconds"];
/// Characters of one message, and of what waits for a flush.
const MOST: usize = 2_000;
/// Flushes a minute on one connection where nothing else is configured.
const FLUSHES: usize = 20;
/// How long an idle connection is kept where nothing else is configured.
const IDLE: Duration = Duration::from_secs(50);
/// The vendor ends a session after an hour.
const RETIRE: Duration = Duration::from_secs(55 * 60);

const FORMATS: [AudioFormat; 6] = [
    AudioFormat::MULAW,
    AudioFormat::ALAW,
    AudioFormat::pcm(24_000),
    AudioFormat::pcm(16_000),
    AudioFormat::pcm(8_000),
    AudioFormat::pcm(48_000),
];

#[derive(Clone)]
pub(super) struct Deepgram {
    pub settings: Settings,
    terms: SocketTerms,
}

/// Deepgram.
///
/// # Errors
/// No key, or an unknown option.
pub fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    let flushes = super::vendors::number(settings, "flushes_per_minute", FLUSHES)?;
    let idle = super::vendors::number(settings, "idle_seconds", IDLE.as_secs() as usize)?;
    let terms = SocketTerms {
        at_once: 1,
        pace: (flushes > 0).then_some((flushes, Duration::from_secs(60))),
        idle_close: Duration::from_secs(idle as u64),
        retire_after: RETIRE,
    };
    Ok(Arc::new(VendorTts::new(settings, network, Deepgram { settings: settings.clone(), terms })))
}

impl Deepgram {
    /// The vendor's models are its voices.
    pub fn model<'a>(&'a self, request: &'a SpeakRequest) -> &'a str {
        let own = if self.settings.voice.is_empty() { &self.settings.model } else { &self.settings.voice };
        request.voice.as_deref().unwrap_or(own)
    }

    /// A voice has one language, by the end of its name (`aura-2-thalia-en`).
    fn languages(&self) -> &'static [&'static str] {
        const KNOWN: &[&str] = &["en", "es", "de", "fr", "nl", "it", "ja"];
        let voice = if self.settings.voice.is_empty() { &self.settings.model } else { &self.settings.voice };
        let of_voice = voice.rsplit('-').next().and_then(|end| KNOWN.iter().position(|known| *known == end));
        of_voice.and_then(|place| KNOWN.get(place..=place)).unwrap_or_default()
    }

    fn is_flux(&self, request: &SpeakRequest) -> bool {
        self.model(request).starts_with("flux")
    }

    pub fn headers(&self) -> Vec<Header> {
        let key = self.settings.key.as_ref().map(|key| key.expose().as_str()).unwrap_or_default();
        vec![("authorization", Pii::new(format!("Token {key}")))]
    }

    fn handshake(&self, request: &SpeakRequest, format: AudioFormat) -> Handshake {
        let encoding = match format.encoding {
            Encoding::Pcm16 => "linear16",
            Encoding::Mulaw => "mulaw",
            Encoding::Alaw => "alaw",
        };
        let rate = format.rate.0.to_string();
        let speed = request.speed.clamp(0.7, 1.5).to_string();
        let mut query = vec![("model", self.model(request)), ("encoding", encoding), ("sample_rate", &rate)];
        if (request.speed - 1.0).abs() > f32::EPSILON {
            query.push(("speed", &speed));
        }
        let options: Vec<_> = OPTIONS.iter().take(3).filter_map(|o| Some((*o, self.settings.option(o)?))).collect();
        query.extend(options.iter().map(|(name, value)| (*name, value.as_str())));
        let path = if self.is_flux(request) { "/v2/speak" } else { "/v1/speak" };
        Handshake { url: url(&self.settings.url, path, &query, true), headers: self.headers() }
    }
}

impl TtsVendor for Deepgram {
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: FORMATS.to_vec(),
            word_timestamps: false,
            cancel: true,
            wants_speakable_text: true,
            languages: self.languages(),
        }
    }

    fn format(&self, request: &SpeakRequest) -> AudioFormat {
        cheapest(request.line, &FORMATS).unwrap_or(AudioFormat::pcm(24_000))
    }

    fn transport(&self) -> TtsTransport<'_> {
        TtsTransport::Socket(self)
    }

    fn list(&self, page: Option<&str>) -> Option<Request> {
        let url = url(&self.settings.url, "/v1/models", &[], false);
        page.is_none().then(|| Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn listed(&self, body: &[u8]) -> Result<(Vec<Voice>, Option<String>), ProviderError> {
        #[derive(Deserialize)]
        struct Listed {
            canonical_name: String,
            #[serde(default)]
            name: String,
            #[serde(default)]
            languages: Vec<String>,
        }
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            tts: Vec<Listed>,
        }
        let list: List = serde_json::from_slice(body).map_err(|error| ProviderError::Protocol {
            provider: self.settings.name.clone(),
            reason: in_short(&error.to_string()),
        })?;
        let voice = |v: Listed| Voice { id: v.canonical_name, name: v.name, languages: v.languages };
        Ok((list.tts.into_iter().map(voice).collect(), None))
    }
}

impl TtsSocketVendor for Deepgram {
    fn connection_key(&self, request: &SpeakRequest, format: AudioFormat) -> String {
        self.handshake(request, format).url
    }

    fn connect(&self, request: &SpeakRequest, format: AudioFormat) -> Box<dyn TtsProtocol> {
        let handshake = self.handshake(request, format);
        if self.is_flux(request) {
            Box::new(Turns::new(self.settings.name.clone(), handshake))
        } else {
            Box::new(Texts { name: self.settings.name.clone(), handshake, current: None })
        }
    }

    fn terms(&self) -> SocketTerms {
        self.terms
    }
}

/// One connection to Aura.
struct Texts {
    name: ProviderName,
    handshake: Handshake,
    current: Option<Current>,
}

struct Current {
    id: Utterance,
    /// Flushes that are not answered.
    flushes: usize,
    cancelled: bool,
}

/// A text message of either protocol.
#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(rename = "type", default)]
    pub kind: Value,
    #[serde(alias = "err_code")]
    pub code: Option<Value>,
    #[serde(alias = "err_msg", alias = "message")]
    pub description: Option<String>,
    pub speech_id: Option<String>,
}

/// Reads a text message; `Err` when it is none.
pub(super) fn message(name: &ProviderName, text: &str) -> Result<Message, ProviderError> {
    let wrong = |reason: String| ProviderError::Protocol { provider: name.clone(), reason };
    let message: Message = serde_json::from_str(text).map_err(|error| wrong(in_short(&error.to_string())))?;
    if message.kind.is_string() { Ok(message) } else { Err(wrong("a message without a type".to_owned())) }
}

/// The error in an `Error` message or a close: codes that start with `NET` are the vendor's or the way's fault, the others
/// what we sent (`DATA`, `BIG`, `MESSAGE`).
pub(super) fn fault(name: &ProviderName, code: &str, words: &str) -> ProviderError {
    let provider = name.clone();
    let reason = in_short(&format!("{code} {words}"));
    let said = |word: &str| code.contains(word) || words.contains(word);
    if said("DATA-") || said("BIG-") || said("MESSAGE-") {
        ProviderError::BadRequest { provider, reason }
    } else {
        ProviderError::Transient { provider, reason }
    }
}

pub(super) fn error_of(name: &ProviderName, message: &Message) -> ProviderError {
    let code = match &message.code {
        Some(Value::String(code)) => code.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    fault(name, &code, message.description.as_deref().unwrap_or_default())
}

pub(super) fn close_of(name: &ProviderName, closed: &Closed) -> Option<ProviderError> {
    (closed.code != Some(1000)).then(|| fault(name, "", &format!("the connection was closed: {}", closed.reason)))
}

impl TtsProtocol for Texts {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn speak(&mut self, id: Utterance, request: &SpeakRequest, out: &mut Outbox) {
        let mut flushes = 0;
        for piece in pieces::cut(&request.text, Cut { most: MOST, sentences: false }) {
            out.json(&json!({"type": "Speak", "text": request.text.get(piece).unwrap_or_default()}));
            out.json(&json!({"type": "Flush"}));
            flushes += 1;
        }
        self.current = Some(Current { id, flushes, cancelled: false });
    }

    fn cancel(&mut self, id: Utterance, out: &mut Outbox) {
        if let Some(current) = self.current.as_mut().filter(|current| current.id == id) {
            current.cancelled = true;
            out.json(&json!({"type": "Clear"}));
        }
    }

    fn received(&mut self, frame: Frame, _: &mut Outbox, voiced: &mut Vec<Voiced>) -> Result<(), ProviderError> {
        let text = match frame {
            Frame::Binary(octets) => {
                if let Some(current) = &self.current {
                    voiced.push(Voiced::Audio { id: current.id, octets: octets.to_vec() });
                }
                return Ok(());
            }
            Frame::Text(text) => text,
        };
        let message = message(&self.name, &text)?;
        let over = match (message.kind.as_str(), &mut self.current) {
            (Some("Error"), _) => return Err(error_of(&self.name, &message)),
            // A flush may be answered when the clearing is under way; audio may still follow.
            (Some("Flushed"), Some(current)) if !current.cancelled => {
                current.flushes = current.flushes.saturating_sub(1);
                current.flushes == 0
            }
            (Some("Cleared"), Some(current)) => current.cancelled,
            _ => false,
        };
        if over && let Some(current) = self.current.take() {
            voiced.push(Voiced::Done { id: current.id });
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        out.json(&json!({"type": "Close"}));
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        close_of(&self.name, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;

    const A: Utterance = Utterance(1);
    const B: Utterance = Utterance(2);

    fn machine() -> Texts {
        let handshake = Handshake { url: String::new(), headers: Vec::new() };
        Texts { name: "deepgram".into(), handshake, current: None }
    }

    fn hear(machine: &mut Texts, frame: Frame) -> Vec<Voiced> {
        let mut voiced = Vec::new();
        machine.received(frame, &mut Outbox::default(), &mut voiced).unwrap();
        voiced
    }

    fn text(kind: &str) -> Frame {
        Frame::Text(json!({"type": kind, "sequence_id": 0}).to_string())
    }

    fn speak(machine: &mut Texts, id: Utterance, text: &str) -> usize {
        let mut out = Outbox::default();
        machine.speak(id, &SpeakRequest::new(text, SampleRate::NARROWBAND), &mut out);
        std::iter::from_fn(|| out.next_frame()).count()
    }

    #[test]
    fn a_long_text_is_over_when_each_of_its_flushes_is_answered() {
        let mut machine = machine();
        assert_eq!(speak(&mut machine, A, &"Many words here. ".repeat(150)), 4);
        assert_eq!(hear(&mut machine, text("Flushed")), []);
        assert_eq!(hear(&mut machine, Frame::Binary(vec![1].into())), [Voiced::Audio { id: A, octets: vec![1] }]);
        assert_eq!(hear(&mut machine, text("Flushed")), [Voiced::Done { id: A }]);
        assert_eq!(hear(&mut machine, Frame::Binary(vec![1].into())), [], "nobody's");
    }

    #[test]
    fn audio_between_clear_and_cleared_is_that_of_the_cancelled_text() {
        let mut machine = machine();
        speak(&mut machine, A, "one");
        machine.cancel(A, &mut Outbox::default());
        assert_eq!(hear(&mut machine, text("Flushed")), [], "it was under way");
        assert_eq!(hear(&mut machine, Frame::Binary(vec![1].into())), [Voiced::Audio { id: A, octets: vec![1] }]);
        assert_eq!(hear(&mut machine, text("Cleared")), [Voiced::Done { id: A }]);
        speak(&mut machine, B, "two");
        assert_eq!(hear(&mut machine, text("Metadata")), []);
        assert_eq!(hear(&mut machine, text("Flushed")), [Voiced::Done { id: B }]);
    }

    #[test]
    fn an_error_says_whose_fault_it_is() {
        let of =
            |json: Value| machine().received(Frame::Text(json.to_string()), &mut Outbox::default(), &mut Vec::new());
        let kind = |json| of(json).unwrap_err().kind();
        assert_eq!(kind(json!({"type": "Error", "code": "DATA-0000", "description": "no"})), "bad_request");
        assert_eq!(kind(json!({"type": "Error", "err_code": "NET-0003", "err_msg": "gone"})), "transient");
        assert_eq!(kind(json!({"type": 7})), "protocol");
        assert!(of(json!({"type": "Warning", "code": "X"})).is_ok());
        let closed = |code, reason: &str| machine().closed(&Closed { code: Some(code), reason: reason.into() });
        assert_eq!(closed(1000, ""), None);
        assert_eq!(closed(1008, "DATA-0001").unwrap().kind(), "bad_request");
        assert_eq!(closed(1011, "NET-0001").unwrap().kind(), "transient");
    }
}
