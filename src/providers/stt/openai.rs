//! OpenAI transcription sessions of the Realtime interface (openai-python 3.54.0): audio in base64, words by item.
//!
//! The models for it find no turns themselves: what was said is committed when the caller pauses.

use super::message::{ending, object, refused, text, transient, unauthorized, unpaid};
use super::protocol::{Heard, SttProtocol, SttVendor};
use super::query::{Query, encoding, language, silence};
use super::stream::VendorSpeechToText;
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::error::is_unpaid;
use crate::providers::exchange::wait_in_words;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox};
use crate::providers::{
    Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToText, SttCapabilities, SttRequest,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The vendor in the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToText> = Offer {
    vendor: "openai",
    title: "OpenAI live transcription",
    key_variable: "OPENAI_API_KEY",
    url: "https://api.openai.com/v1",
    model: "gpt-live-transcribe",
    voice: "",
    options: OPTIONS,
    build,
};

const OPTIONS: &[&str] = &["prompt", "delay", "languages", "keywords", TURN_DETECTION, NOISE_REDUCTION, MODEL_IN_URL];
/// The type of the vendor's own turn detection, such as `server_vad`; none unless given, as current models refuse it.
const TURN_DETECTION: &str = "turn_detection";
/// `near_field` or `far_field`.
const NOISE_REDUCTION: &str = "noise_reduction";
/// Ours: whether the model stands in the URL, as gateways want; the vendor itself opens a conversation then.
const MODEL_IN_URL: &str = "model_in_url";
/// The vendor refuses to commit less, in milliseconds.
const SHORTEST_COMMIT_MS: u32 = 100;
/// The vendor ends a session after an hour.
const LIFETIME: Duration = Duration::from_secs(55 * 60);
/// Items waiting for their words, against a vendor that never completes one.
const ITEMS: usize = 64;
/// Most octets of words in one item.
const ITEM_BYTES: usize = 16 * 1024;

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToText>, SettingsError> {
    settings.only_options(OPTIONS)?;
    settings.required_key()?;
    Ok(Arc::new(VendorSpeechToText::new(settings, network, OpenAi { settings: settings.clone() })))
}

struct OpenAi {
    settings: Settings,
}

impl SttVendor for OpenAi {
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(24_000)],
            partials: true,
            end_of_turn: self.settings.options.contains_key(TURN_DETECTION),
            timestamps: false,
            detects_language: false,
            languages: &[],
        }
    }

    fn packet_ms(&self) -> u32 {
        100
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(LIFETIME)
    }

    fn connect(&self, request: &SttRequest, format: AudioFormat) -> Box<dyn SttProtocol> {
        let settings = &self.settings;
        let mut query = Query::default().with("intent", "transcription");
        if settings.options.get(MODEL_IN_URL).and_then(Value::as_bool) == Some(true) {
            query = query.with("model", &settings.model);
        }
        let key = settings.key.as_ref();
        let key = key.map(|key| ("authorization", Pii::new(format!("Bearer {}", key.expose()))));
        Box::new(Transcription {
            provider: settings.name.clone(),
            handshake: Handshake { url: query.url(&settings.url, "/realtime"), headers: key.into_iter().collect() },
            update: update(settings, request, format),
            format,
            uncommitted: 0,
            commits: 0,
            named: 0,
            given_up: 0,
            owed: VecDeque::new(),
            items: VecDeque::new(),
            told: VecDeque::new(),
        })
    }
}

/// The first message: what kind of session it is to be.
fn update(settings: &Settings, request: &SttRequest, format: AudioFormat) -> Value {
    let mut of_audio = json!({"type": encoding(format, ["audio/pcm", "audio/pcmu", "audio/pcma"])});
    if format.encoding == crate::providers::format::Encoding::Pcm16 {
        of_audio["rate"] = format.rate.0.into();
    }
    let mut transcription = json!({"model": settings.model});
    let language = language(request, settings);
    if !language.is_empty() && !settings.options.contains_key("languages") {
        transcription["language"] = language.into();
    }
    for name in ["prompt", "delay", "languages", "keywords"] {
        if let Some(value) = settings.options.get(name) {
            transcription[name] = value.clone();
        }
    }
    let of_type = |name: &str| settings.options.get(name).map_or(Value::Null, |kind| json!({"type": kind}));
    json!({"type": "session.update", "session": {
        "type": "transcription",
        "audio": {"input": {
            "format": of_audio,
            "transcription": transcription,
            "turn_detection": of_type(TURN_DETECTION),
            "noise_reduction": of_type(NOISE_REDUCTION),
        }},
        "include": ["item.input_audio_transcription.logprobs"],
    }})
}

struct Transcription {
    provider: ProviderName,
    handshake: Handshake,
    update: Value,
    format: AudioFormat,
    /// Octets since the last commit.
    uncommitted: usize,
    /// Commits of ours, those whose item is named, and those that were given up.
    commits: u64,
    named: u64,
    given_up: u64,
    /// Commits of ours that had nothing to commit, by how many items have to be complete before they are answered.
    owed: VecDeque<(usize, u64)>,
    /// In the order they were said, which is not that in which they are completed.
    items: VecDeque<Item>,
    /// The last items told.
    told: VecDeque<String>,
}

#[derive(Default)]
struct Item {
    id: String,
    text: Pii<String>,
    confidence: Option<f32>,
    committed: bool,
    /// The number of our commit that made it, which its completion answers.
    request: Option<u64>,
    complete: bool,
}

impl Item {
    /// It answers a commit up to this one.
    fn is_overdue(&self, given_up: u64) -> bool {
        self.request.is_some_and(|request| request <= given_up)
    }
}

impl Transcription {
    fn item(&mut self, id: &str) -> Option<&mut Item> {
        if let Some(place) = self.items.iter().position(|item| item.id == id) {
            return self.items.get_mut(place);
        }
        if id.is_empty() || self.items.len() >= ITEMS || self.told.iter().any(|told| told == id) {
            return None;
        }
        self.items.push_back(Item { id: id.to_owned(), ..Item::default() });
        self.items.back_mut()
    }

    /// Our oldest commit whose item is not named.
    fn next_request(&mut self) -> Option<u64> {
        let is_ours = self.named < self.commits;
        self.named += u64::from(is_ours);
        is_ours.then_some(self.named)
    }

    fn committed(&mut self, id: &str, after: &str) {
        let request = self.next_request();
        let Some(item) = self.item(id) else { return };
        (item.committed, item.request) = (true, request);
        // Words may have come of it before those that it follows were named.
        let place = |id: &str| self.items.iter().position(|item| item.id == id);
        if let (Some(own), Some(before)) = (place(id), place(after))
            && own < before
            && let Some(item) = self.items.remove(own)
        {
            self.items.insert(before, item);
        }
    }

    /// Tells what is complete, in order, and what is under way behind it.
    fn tell(&mut self, heard: &mut Vec<Heard>) {
        let mut told = 0;
        let given_up = self.given_up;
        // Nobody waits for what was given up.
        let in_order = |items: &VecDeque<Item>| {
            let place = items.iter().position(|item| item.complete || !item.is_overdue(given_up))?;
            items.get(place).is_some_and(|item| item.complete).then_some(place)
        };
        while let Some(item) = in_order(&self.items).and_then(|place| self.items.remove(place)) {
            told += 1;
            let words = Heard::Final { text: item.text, confidence: item.confidence, span: None };
            match item.request {
                Some(request) if request <= given_up => heard.extend([Heard::Overdue(request), words]),
                Some(_) => heard.extend([words, Heard::Flushed]),
                None => heard.push(words),
            }
            self.told.push_back(item.id);
            if self.told.len() > ITEMS {
                self.told.pop_front();
            }
        }
        self.owed.iter_mut().for_each(|(items, _)| *items = items.saturating_sub(told));
        while let Some((_, request)) = self.owed.pop_front_if(|(items, _)| *items == 0) {
            heard.extend((request > given_up).then_some(Heard::Flushed));
        }
        let under_way =
            self.items.iter().filter(|item| !item.is_overdue(given_up)).map(|item| item.text.expose().trim());
        let under_way: Vec<&str> = under_way.filter(|text| !text.is_empty()).collect();
        if !under_way.is_empty() {
            heard.push(Heard::Interim { text: Pii::new(under_way.join(" ")), span: None });
        }
    }

    fn failure(&self, error: &Value) -> ProviderError {
        let (kind, code, words) = (text(error, "/type"), text(error, "/code"), text(error, "/message"));
        let provider = &self.provider;
        match (kind, code) {
            _ if is_unpaid(kind) || is_unpaid(code) => unpaid(provider, words),
            (_, "invalid_api_key" | "account_deactivated") | ("authentication_error", _) => {
                unauthorized(provider, words)
            }
            _ if code.contains("rate_limit") || kind == "rate_limit_error" => {
                ProviderError::RateLimited { provider: provider.clone(), retry_after: wait_in_words(words) }
            }
            (_, "session_expired") => transient(provider, words),
            ("invalid_request_error", _) => refused(provider, &format!("{code} {words}")),
            _ => transient(provider, &format!("{code} {words}")),
        }
    }
}

impl SttProtocol for Transcription {
    fn handshake(&self) -> Handshake {
        self.handshake.clone()
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn awaits_ready(&self) -> bool {
        true
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) -> usize {
        self.uncommitted += octets.len();
        out.audio_in_json(r#"{"type":"input_audio_buffer.append","audio":""#, octets, r#""}"#);
        0
    }

    fn finish(&mut self, out: &mut Outbox) -> usize {
        let missing = self.format.bytes_of(SHORTEST_COMMIT_MS).saturating_sub(self.uncommitted);
        if missing > 0 {
            let filling: Vec<u8> = silence(self.format, SHORTEST_COMMIT_MS).into_iter().take(missing).collect();
            self.audio(&filling, out);
        }
        self.uncommitted = 0;
        self.commits += 1;
        out.json(&json!({"type": "input_audio_buffer.commit"}));
        missing
    }

    fn give_up(&mut self) {
        self.given_up = self.commits;
        self.owed.clear();
    }

    fn forget(&mut self) {
        let given_up = self.given_up;
        let (gone, kept) = self.items.drain(..).partition(|item: &Item| item.is_overdue(given_up) && !item.complete);
        self.items = kept;
        let gone: VecDeque<Item> = gone;
        self.told.extend(gone.into_iter().map(|item| item.id));
        let excess = self.told.len().saturating_sub(ITEMS);
        self.told.drain(..excess);
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, heard: &mut Vec<Heard>) -> Result<(), ProviderError> {
        let message = object(&self.provider, &frame)?;
        let id = text(&message, "/item_id");
        match text(&message, "/type") {
            "session.created" | "transcription_session.created" => out.json(&self.update),
            "session.updated" | "transcription_session.updated" => heard.push(Heard::Ready),
            "input_audio_buffer.committed" => {
                self.committed(id, text(&message, "/previous_item_id"));
                self.tell(heard);
            }
            "input_audio_buffer.speech_stopped" => heard.push(Heard::EndOfTurn { eager: false }),
            "conversation.item.input_audio_transcription.delta" => {
                let delta = text(&message, "/delta");
                if let Some(item) = self.item(id).filter(|item| item.text.expose().len() + delta.len() <= ITEM_BYTES) {
                    item.text = Pii::new(format!("{}{delta}", item.text.expose()));
                }
                self.tell(heard);
            }
            "conversation.item.input_audio_transcription.completed" => {
                if let Some(item) = self.item(id) {
                    item.text = Pii::new(text(&message, "/transcript").to_owned());
                    item.confidence = confidence(message.get("logprobs"));
                    item.complete = true;
                }
                self.tell(heard);
            }
            "conversation.item.input_audio_transcription.failed" => {
                return Err(self.failure(message.get("error").unwrap_or(&Value::Null)));
            }
            "error" => {
                let error = message.get("error").unwrap_or(&Value::Null);
                if text(error, "/code") != "input_audio_buffer_commit_empty" {
                    return Err(self.failure(error));
                }
                // The vendor had committed by itself: what it has named so far is all there is.
                if let Some(request) = self.next_request() {
                    self.owed.push_back((self.items.len(), request));
                }
                self.tell(heard);
            }
            _ => {}
        }
        Ok(())
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        out.close(1000);
    }

    fn closed(&self, closed: &Closed) -> Option<ProviderError> {
        Some(match closed.code {
            Some(3000 | 4001) => unauthorized(&self.provider, &ending(closed)),
            Some(1008) => refused(&self.provider, &ending(closed)),
            _ => transient(&self.provider, &ending(closed)),
        })
    }
}

/// How sure the model was of its tokens, in the mean.
fn confidence(logprobs: Option<&Value>) -> Option<f32> {
    super::message::mean(logprobs, "logprob").map(|mean| mean.exp().clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::stt::query::tests::settings;

    fn session(line: AudioFormat, options: &[(&str, Value)]) -> Box<dyn SttProtocol> {
        let vendor = OpenAi { settings: settings(options) };
        let request = SttRequest { line, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
        let format = vendor.format(&request);
        vendor.connect(&request, format)
    }

    fn hear(machine: &mut dyn SttProtocol, message: Value) -> (Vec<Heard>, Outbox) {
        let (mut heard, mut out) = (Vec::new(), Outbox::default());
        machine.received(Frame::Text(message.to_string()), &mut out, &mut heard).expect("a good message");
        (heard, out)
    }

    fn said(heard: &[Heard]) -> Vec<String> {
        heard
            .iter()
            .map(|heard| match heard {
                Heard::Final { text, .. } => format!("final {}", text.expose()),
                Heard::Interim { text, .. } => format!("interim {}", text.expose()),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn the_session_is_told_what_it_is_when_it_exists() {
        let mut machine = session(AudioFormat::ALAW, &[("noise_reduction", json!("far_field"))]);
        assert_eq!(machine.handshake().url, "wss://vendor.example/realtime?intent=transcription");
        let (_, mut out) = hear(machine.as_mut(), json!({"type": "session.created"}));
        let Some(Frame::Text(update)) = out.next_frame() else { panic!("no update") };
        let update: Value = serde_json::from_str(&update).expect("JSON");
        assert_eq!(update["session"]["type"], "transcription");
        let input = &update["session"]["audio"]["input"];
        assert_eq!(input["format"], json!({"type": "audio/pcma"}));
        assert_eq!(input["transcription"], json!({"model": "model-1", "language": "en"}));
        assert_eq!(input["turn_detection"], Value::Null);
        assert_eq!(input["noise_reduction"], json!({"type": "far_field"}));
        assert_eq!(hear(machine.as_mut(), json!({"type": "session.updated"})).0, [Heard::Ready]);
    }

    #[test]
    fn words_come_in_the_order_they_were_said_whatever_is_completed_first() {
        let mut machine = session(AudioFormat::MULAW, &[]);
        machine.finish(&mut Outbox::default());
        machine.finish(&mut Outbox::default());
        hear(
            machine.as_mut(),
            json!({"type": "input_audio_buffer.committed", "item_id": "a", "previous_item_id": null}),
        );
        hear(
            machine.as_mut(),
            json!({"type": "input_audio_buffer.committed", "item_id": "b", "previous_item_id": "a"}),
        );
        let event = |kind: &str, id: &str, field: &str, words: &str| json!({"type": format!("conversation.item.input_audio_transcription.{kind}"), "item_id": id, field: words});
        let (heard, _) = hear(machine.as_mut(), event("completed", "b", "transcript", "two"));
        assert_eq!(said(&heard), ["interim two"]);
        let (heard, _) = hear(machine.as_mut(), event("delta", "a", "delta", "on"));
        assert_eq!(said(&heard), ["interim on two"]);
        let (heard, _) = hear(machine.as_mut(), event("completed", "a", "transcript", "one"));
        assert_eq!(said(&heard), ["final one", "Flushed", "final two", "Flushed"]);
    }

    #[test]
    fn what_was_given_up_is_named_when_it_comes_and_holds_up_nothing_behind_it() {
        let mut machine = session(AudioFormat::MULAW, &[]);
        let committed = |id: &str| json!({"type": "input_audio_buffer.committed", "item_id": id});
        let completed = |id: &str, words: &str| json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": id, "transcript": words});
        machine.finish(&mut Outbox::default());
        hear(machine.as_mut(), committed("a"));
        machine.give_up();
        machine.finish(&mut Outbox::default());
        hear(machine.as_mut(), committed("b"));
        assert_eq!(said(&hear(machine.as_mut(), completed("b", "two")).0), ["final two", "Flushed"]);
        assert_eq!(said(&hear(machine.as_mut(), completed("a", "one")).0), ["Overdue(1)", "final one"]);
        machine.finish(&mut Outbox::default());
        hear(machine.as_mut(), committed("c"));
        machine.give_up();
        machine.forget();
        assert_eq!(hear(machine.as_mut(), completed("c", "three")).0, [], "it is over");
    }

    #[test]
    fn a_commit_of_nothing_is_an_answer_and_a_short_one_is_filled_up() {
        let mut machine = session(AudioFormat::MULAW, &[]);
        assert_eq!(machine.finish(&mut Outbox::default()), 800);
        let empty = json!({"type": "error", "error": {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}});
        assert_eq!(hear(machine.as_mut(), empty).0, [Heard::Flushed]);
        machine.audio(&[0xFF; 800], &mut Outbox::default());
        assert_eq!(machine.finish(&mut Outbox::default()), 0);
    }

    #[test]
    fn errors_say_whose_fault_it_is() {
        let mut machine = session(AudioFormat::MULAW, &[]);
        let mut kind = |kind: &str, code: &str| {
            let message = json!({"type": "error", "error": {"type": kind, "code": code, "message": "m"}});
            let frame = Frame::Text(message.to_string());
            machine.received(frame, &mut Outbox::default(), &mut Vec::new()).map_err(|error| error.kind())
        };
        assert_eq!(kind("invalid_request_error", "invalid_model"), Err("bad_request"));
        assert_eq!(kind("invalid_request_error", "invalid_api_key"), Err("authentication"));
        assert_eq!(kind("", "insufficient_quota"), Err("quota"));
        assert_eq!(kind("", "credit_balance_exhausted"), Err("quota"));
        assert_eq!(kind("", "rate_limit_exceeded"), Err("rate_limited"));
        assert_eq!(kind("", "inference_rate_limit_exceeded"), Err("rate_limited"));
        assert_eq!(kind("server_error", ""), Err("transient"));
    }
}
