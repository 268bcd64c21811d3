//! Azure speech to text as the Speech SDK 1.53.0 speaks it: messages with headers of their own inside a WebSocket
//! ([`super::azure_message`]).
//!
//! A connection holds one turn at a time. A turn begins with its context and a RIFF header, is ended by an empty message
//! of audio, and is answered up to its `turn.end`; audio that comes meanwhile waits here for the next turn. Times begin
//! anew with each turn.

use super::azure_message::{STREAM, Said, audio, riff, said, text as message};
use super::message::{
    ending, limited, number, protocol, refused, seconds, text, transient, unauthorized, unpaid, words,
};
use super::pace::Pace;
use super::protocol::{Heard, Span, SttProtocol, SttVendor};
use super::query::{Query, language, silence};
use super::stream::VendorSpeechToText;
use crate::base::{Pii, Random};
use crate::providers::catalogue::Offer;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{
    Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText, SttCapabilities, SttRequest,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The vendor in the catalogue. Its address is a region's or a container's, so there is none that is everybody's; a model
/// is the endpoint's id of a custom one.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "azure",
    title: "Azure speech to text",
    key_variable: "SPEECH_KEY",
    url: "",
    model: "",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &[MODE, "profanity", PHRASES, SEGMENTATION, LANGUAGES, QUERY, EXPECTED, LIFETIME];
/// Ours: `conversation` (the default), `interactive` or `dictation`; part of the URL.
const MODE: &str = "mode";
const MODES: [&str; 3] = ["conversation", "interactive", "dictation"];
/// Ours: words that are more likely than others.
const PHRASES: &str = "phrases";
/// Ours: milliseconds of silence after which the vendor takes a phrase for finished.
const SEGMENTATION: &str = "segmentation_silence_ms";
/// Ours: the languages that may be spoken; each turn is heard in the one it begins in.
const LANGUAGES: &str = "languages";
/// Ours: a table of further parameters for the URL.
const QUERY: &str = "query";
/// Ours: whether the words that the flow expects are told the vendor.
const EXPECTED: &str = "expected_words";
/// Ours: how long a connection is used, in seconds. The vendor ends one after ten minutes.
const LIFETIME: &str = "session_seconds";
const LIFETIME_SECONDS: u64 = 9 * 60;
/// Where a language is given without a country: the vendor knows only both.
const LOCALES: &[&str] = &[
    "en-US", "ar-EG", "bg-BG", "ca-ES", "cs-CZ", "da-DK", "de-DE", "el-GR", "es-ES", "et-EE", "fi-FI", "fr-FR",
    "he-IL", "hi-IN", "hr-HR", "hu-HU", "id-ID", "it-IT", "ja-JP", "ko-KR", "lt-LT", "lv-LV", "nb-NO", "nl-NL",
    "pl-PL", "pt-BR", "ro-RO", "ru-RU", "sk-SK", "sl-SI", "sv-SE", "th-TH", "tr-TR", "uk-UA", "vi-VN", "zh-CN",
];
/// Audio that waits for the end of a turn; behind it, the turn is given up and a fresh one begun.
const WAITING: Duration = Duration::from_secs(2);
/// Silence that is sent where words are asked for and no turn is open, so that there is something to answer.
const ASKING_SILENCE_MS: u32 = 100;
/// The vendor's own client sends so much at once, and what is more at twice its pace.
const PACE: Pace = Pace { speed: 2.0, burst: Duration::from_secs(5) };

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    let option = |name: &str| settings.options.get(name);
    let mode = settings.option(MODE).unwrap_or_else(|| MODES[0].to_owned());
    if !MODES.contains(&mode.as_str()) {
        return Err(settings.error(format!("{MODE} is one of {}", MODES.join(", "))));
    }
    let texts = |name: &str| match option(name) {
        None => Ok(Vec::new()),
        Some(list) => list
            .as_array()
            .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>())
            .ok_or_else(|| settings.error(format!("{name} is a list of texts"))),
    };
    let segmentation = match option(SEGMENTATION) {
        None => None,
        Some(value) => {
            let ms = value.as_u64().filter(|ms| (100..=5_000).contains(ms));
            Some(ms.ok_or_else(|| settings.error(format!("{SEGMENTATION} is a number from 100 to 5000")))?)
        }
    };
    let lifetime = option(LIFETIME).map_or(Some(LIFETIME_SECONDS), Value::as_u64);
    let lifetime = lifetime.filter(|seconds| (10..=86_400).contains(seconds));
    let lifetime = lifetime.ok_or_else(|| settings.error(format!("{LIFETIME} is a number from 10 to 86400")))?;
    let expects = option(EXPECTED).map_or(Some(true), Value::as_bool);
    let expects = expects.ok_or_else(|| settings.error(format!("{EXPECTED} is true or false")))?;
    let query = match option(QUERY) {
        None => Vec::new(),
        Some(Value::Object(table)) => table.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Some(_) => return Err(settings.error(format!("{QUERY} is a table of names and values"))),
    };
    let vendor = Azure {
        settings: settings.clone(),
        mode,
        phrases: texts(PHRASES)?,
        languages: texts(LANGUAGES)?.iter().map(|tag| locale(tag)).collect(),
        segmentation,
        query,
        expects,
        lifetime: Duration::from_secs(lifetime),
    };
    Ok(Arc::new(VendorSpeechToText::new(settings, network, vendor)))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A language as the vendor names it.
fn locale(tag: &str) -> String {
    if tag.is_empty() {
        return LOCALES[0].to_owned();
    }
    let of_tag = |known: &&&str| known.split('-').next().is_some_and(|first| first.eq_ignore_ascii_case(tag));
    LOCALES.iter().find(of_tag).map_or_else(|| tag.to_owned(), |known| (*known).to_owned())
}

struct Azure {
    settings: Settings,
    mode: String,
    phrases: Vec<String>,
    languages: Vec<String>,
    segmentation: Option<u64>,
    query: Vec<(String, String)>,
    expects: bool,
    lifetime: Duration,
}

impl Azure {
    /// What a turn begins with, but for the phrases.
    fn context(&self, locale: &str) -> Value {
        let mut detection = json!({});
        if let Some(ms) = self.segmentation {
            let mode = self.mode.to_ascii_uppercase();
            let segmentation = json!({"mode": "Custom", "segmentationSilenceTimeoutMs": ms});
            detection = json!({"mode": mode, mode.as_str(): {"segmentation": segmentation}});
        }
        let mut context = json!({"audio": {"streams": {STREAM: null}}, "phraseOutput": {"format": "Detailed"}});
        if self.languages.is_empty() {
            detection["language"] = json!(locale);
        } else {
            let nothing = json!({"action": "None"});
            detection["onSuccess"] = nothing.clone();
            detection["onInterim"] = nothing.clone();
            context["languageId"] = json!({
                "languages": self.languages, "mode": "DetectAtAudioStart", "Priority": "PrioritizeLatency",
                "onSuccess": {"action": "Recognize"}, "onUnknown": nothing,
            });
            context["phraseOutput"] = json!({
                "format": "Detailed", "interimResults": {"resultType": "Auto"}, "phraseResults": {"resultType": "Always"},
            });
        }
        context["phraseDetection"] = detection;
        context
    }
}

impl SttVendor for Azure {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(16_000), AudioFormat::pcm(8_000)],
            partials: true,
            end_of_turn: true,
            timestamps: true,
            detects_language: !self.languages.is_empty(),
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        100
    }

    fn pace(&self) -> Pace {
        PACE
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(self.lifetime)
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let mut random = Random::system();
        let mut id = || format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        let locale = locale(&language(request, &self.settings));
        let mut query = Query::default()
            .with("format", "detailed")
            .with("language", &locale)
            .with_some("cid", &self.settings.model);
        if !self.languages.is_empty() {
            query = query.with("lidEnabled", self.languages.join(","));
        }
        query = query.with_options(&self.settings, &["profanity"]);
        for (name, value) in &self.query {
            query = query.with(name, value);
        }
        let path = format!("/speech/recognition/{}/cognitiveservices/v1", self.mode);
        let key = self.settings.key.as_ref().map(|key| ("ocp-apim-subscription-key", key.clone()));
        let headers = key.into_iter().chain([("x-connectionid", Pii::new(id()))]).collect();
        Box::new(Session {
            provider: self.settings.name.clone(),
            handshake: Handshake { url: query.url(&self.settings.url, &path), headers },
            format,
            context: self.context(&locale),
            phrases: self.phrases.clone(),
            expected: Vec::new(),
            expects: self.expects,
            begun: Timestamp::now(),
            seed: id(),
            turns: 0,
            turn: Turn::None,
            waiting: VecDeque::new(),
            sent: 0,
            base: 0,
            leaving: false,
        })
    }
}

/// What the connection is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// No turn: its first audio begins one.
    None,
    Open,
    /// Ended by us, for so many requests of words.
    Ending(u32),
}

/// What waits for the end of a turn.
enum Waiting {
    Audio(Vec<u8>),
    Finish,
}

struct Session {
    provider: ProviderName,
    handshake: Handshake,
    format: AudioFormat,
    context: Value,
    phrases: Vec<String>,
    /// What the flow expects besides, from the next turn on.
    expected: Vec<String>,
    expects: bool,
    /// When the connection was asked for: messages bear the time at which their audio was heard.
    begun: Timestamp,
    /// Of which the turns' ids are made.
    seed: String,
    turns: u64,
    turn: Turn,
    waiting: VecDeque<Waiting>,
    /// Octets of audio sent, and of those the ones before the present turn.
    sent: u64,
    base: u64,
    leaving: bool,
}

impl Session {
    /// The id of the present turn: 32 digits.
    fn request(&self) -> String {
        let seed = self.seed.get(..16).unwrap_or_default();
        format!("{seed}{:016x}", self.turns)
    }

    fn timestamp(&self) -> String {
        let heard = super::session::duration_of(self.format, self.sent);
        let at = SignedDuration::try_from(heard).ok().and_then(|heard| self.begun.checked_add(heard).ok());
        format!("{:.3}", at.unwrap_or(self.begun))
    }

    fn send(&mut self, octets: &[u8], out: &mut Outbox) {
        if self.turn == Turn::None {
            self.begin(out);
        }
        out.binary(audio(&self.request(), &self.timestamp(), None, octets));
        self.sent += octets.len() as u64;
    }

    fn begin(&mut self, out: &mut Outbox) {
        self.turns += 1;
        (self.turn, self.base) = (Turn::Open, self.sent);
        let (request, timestamp) = (self.request(), self.timestamp());
        let mut context = self.context.clone();
        let items: Vec<Value> =
            self.phrases.iter().chain(&self.expected).map(|phrase| json!({"Text": phrase})).collect();
        if !items.is_empty() {
            context["dgi"] = json!({"Groups": [{"Type": "Generic", "Items": items}], "bias": 1.0});
        }
        out.text(message("speech.context", Some(&request), &timestamp, &context));
        out.binary(audio(&request, &timestamp, Some("audio/x-wav"), &riff(self.format)));
    }

    fn end(&mut self, out: &mut Outbox) {
        out.binary(audio(&self.request(), &self.timestamp(), None, &[]));
        self.turn = Turn::Ending(1);
    }

    /// Goes on with what waited.
    fn next_turn(&mut self, out: &mut Outbox) {
        self.turn = Turn::None;
        while !matches!(self.turn, Turn::Ending(_)) {
            match self.waiting.pop_front() {
                Some(Waiting::Audio(octets)) => self.send(&octets, out),
                Some(Waiting::Finish) => self.end(out),
                None => break,
            }
        }
    }

    /// Octets that wait.
    fn held(&self) -> usize {
        let octets = |waiting: &Waiting| if let Waiting::Audio(octets) = waiting { octets.len() } else { 0 };
        self.waiting.iter().map(octets).sum()
    }

    /// Where words were, on the connection. The vendor counts in 100 ns.
    fn span(&self, body: &Value) -> Option<Span> {
        let base = super::session::duration_of(self.format, self.base);
        let (start, length) = (number(body, "/Offset")? * 1e-7, number(body, "/Duration")? * 1e-7);
        Some((base + seconds(start)?, base + seconds(start + length)?))
    }

    fn phrase(&self, body: &Value, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let (provider, status) = (&self.provider, text(body, "/RecognitionStatus"));
        let why = || format!("its status is {status}");
        match status {
            "Error" | "ServiceUnavailable" => return Err(transient(provider, &why())),
            "TooManyRequests" => return Err(limited(provider)),
            "BadRequest" | "InvalidMessage" => return Err(refused(provider, &why())),
            "Forbidden" => return Err(unpaid(provider, &why())),
            _ => {}
        }
        let best = body.pointer("/NBest/0").unwrap_or(&Value::Null);
        let mut said = words(best, "/Display");
        if said.expose().is_empty() {
            said = words(body, "/DisplayText");
        }
        let is_heard = !said.expose().is_empty();
        let tag = text(body, "/PrimaryLanguage/Language");
        if is_heard && !tag.is_empty() {
            let confidence = match text(body, "/PrimaryLanguage/Confidence") {
                "High" => Some(0.9),
                "Medium" => Some(0.6),
                "Low" => Some(0.3),
                _ => None,
            };
            heard.push(Heard::Language { tag: tag.to_owned(), confidence });
        }
        let confidence = number(best, "/Confidence").map(|confidence| confidence as f32);
        heard.push(Heard::Final { text: said, confidence, span: self.span(body) });
        if is_heard && self.turn == Turn::Open {
            heard.push(Heard::EndOfTurn { eager: false });
        }
        Ok(())
    }
}

impl SttProtocol for Session {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, out: &mut Outbox) {
        let system = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
        let source = json!({"type": "Stream", "samplerate": self.format.rate.0.to_string(), "channelcount": "1",
            "bitspersample": (8 * self.format.encoding.sample_bytes()).to_string()});
        let config = json!({"context": {"system": system, "audio": {"source": source}}});
        out.text(message("speech.config", None, &self.timestamp(), &config));
    }

    fn expect(&mut self, phrases: &[String], _: &mut Outbox) {
        if self.expects {
            self.expected = phrases.to_vec();
        }
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        if matches!(self.turn, Turn::Ending(_)) {
            self.waiting.push_back(Waiting::Audio(octets.to_vec()));
            if super::session::duration_of(self.format, self.held() as u64) > WAITING {
                self.next_turn(out);
            }
        } else {
            self.send(octets, out);
        }
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        match &mut self.turn {
            Turn::Open => self.end(out),
            Turn::Ending(requests) if self.waiting.is_empty() => *requests += 1,
            Turn::Ending(_) => self.waiting.push_back(Waiting::Finish),
            Turn::None => {
                let octets = silence(self.format, ASKING_SILENCE_MS);
                self.send(&octets, out);
                self.end(out);
                return octets.len();
            }
        }
        0
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        // Binary messages are of other services on the same protocol.
        let Frame::Text(frame) = frame else { return Ok(()) };
        let said = said(&frame).ok_or_else(|| protocol(&self.provider, "a message without headers, path or JSON"))?;
        let Said { path, request, body } = said;
        // What is still said of a turn that was given up counts no more.
        if !request.is_empty() && !request.eq_ignore_ascii_case(&self.request()) {
            return Ok(());
        }
        match path.as_str() {
            "speech.hypothesis" | "speech.fragment" => {
                heard.push(Heard::Interim { text: words(&body, "/Text"), span: self.span(&body) });
            }
            "speech.phrase" => self.phrase(&body, heard)?,
            "turn.end" => {
                if let Turn::Ending(requests) = self.turn {
                    heard.extend(std::iter::repeat_n(Heard::Flushed, requests as usize));
                }
                self.next_turn(out);
            }
            _ => {}
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        self.leaving = true;
        out.close(1000);
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        let (provider, why) = (&self.provider, ending(closed));
        let reason = closed.reason.to_ascii_lowercase();
        Some(match closed.code {
            Some(1000) if self.leaving => return None,
            // Between two turns it may close what is not used.
            Some(1000 | 1001) if self.turn == Turn::None && self.turns > 0 => return None,
            // Speech SDK issue 2785: 1007 with these words for a plan that is used up.
            _ if reason.contains("quota") => unpaid(provider, &why),
            _ if reason.contains("authentication") || reason.contains("unauthorized") => unauthorized(provider, &why),
            Some(4_429) => limited(provider),
            Some(4_401 | 4_403) => unauthorized(provider, &why),
            Some(1002 | 1003 | 1007 | 4_000) => refused(provider, &why),
            _ => transient(provider, &why),
        })
    }
}

#[cfg(test)]
#[path = "azure_tests.rs"]
mod tests;
