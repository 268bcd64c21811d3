//! Gemini Live (`BidiGenerateContent`; google-genai 3.4.0 `live`). Its JSON arrives in binary messages.
//!
//! Newer models end the connection (1007) over `clientContent` in the middle of a session, and some over a history in it
//! (livekit/agents pull request 5251, yagudaev/voiceclaw pull request 252). So what was said goes into the instructions,
//! and words go as `realtimeInput.text`, which every model takes.

#[cfg(test)]
mod tests;

use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, Start, ToolResult};
use super::stream::Realtime;
use super::{AnswerId, RealtimeCapabilities, RealtimeRequest, SpeechToSpeech, TurnsBy, json};
use crate::base::Pii;
use crate::base::chat::{ToolSpec, Usage};
use crate::providers::catalogue::Offer;
use crate::providers::format::{AudioFormat, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, base64};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// It resamples whatever rate it is told; 16 kHz is its own.
const INPUT: [AudioFormat; 2] = [AudioFormat::pcm(16_000), AudioFormat::pcm(8_000)];
const OUTPUT: AudioFormat = AudioFormat::pcm(24_000);
const PACKET_MS: u32 = 40;
/// With our turn-taking: packets of the caller kept while the model speaks, so that an interruption loses no syllable.
const HELD: usize = 1_500 / PACKET_MS as usize;
/// What asks for an answer that a lost connection owes, where the caller's words are not the last.
const GO_ON: &str = "(Please go on.)";
const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
/// A connection lasts about ten minutes; `goAway` tells of its end, and where it does not, this does.
const LIFETIME: Duration = Duration::from_secs(9 * 60);

const OPTIONS: &[&str] = &[
    "temperature",
    "start_sensitivity",
    "end_sensitivity",
    "prefix_padding_ms",
    "silence_duration_ms",
    "thinking_budget",
    "thinking_level",
    "resumption",
    "compression",
];

/// In the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToSpeech> = Offer {
    vendor: "gemini",
    title: "Gemini Live",
    key_variable: "GEMINI_API_KEY",
    url: "https://generativelanguage.googleapis.com",
    model: "gemini-3.8-live",
    voice: "",
    options: OPTIONS,
    build,
};

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    let vendor = Gemini { settings: settings.clone() };
    let capabilities = RealtimeCapabilities {
        formats: INPUT.to_vec(),
        local_turns: true,
        tools: true,
        truncate: false,
        update: false,
    };
    Ok(Arc::new(Realtime::new(vendor, capabilities, settings, network)))
}

struct Gemini {
    settings: Settings,
}

impl RealtimeVendor for Gemini {
    fn format(&self, request: &RealtimeRequest) -> RealtimeFormats {
        let input = cheapest(request.line, &INPUT).unwrap_or(INPUT[0]);
        RealtimeFormats { input, output: OUTPUT, packet_ms: PACKET_MS }
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(LIFETIME)
    }

    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let mut request = start.request.clone();
        let mut messages = std::mem::take(&mut request.messages).into_exposed();
        let owed = start.answer_due.then(|| json::take_unanswered(&mut messages).unwrap_or_else(|| GO_ON.to_owned()));
        request.messages = Pii::new(messages);
        Ok(Box::new(Connection {
            settings: self.settings.clone(),
            request,
            audio_type: format!(r#","mimeType":"audio/pcm;rate={}"}}}}}}"#, start.formats.input.rate.0),
            handle: start.handle.map(str::to_owned),
            owed: owed.map(Pii::new),
            is_local: start.request.turns == TurnsBy::Local,
            is_ready: false,
            is_speaking: false,
            is_answering: false,
            held: VecDeque::new(),
            answers: 0,
            current: None,
            muted: false,
            caller: String::new(),
        }))
    }
}

struct Connection {
    settings: Settings,
    request: RealtimeRequest,
    /// What stands behind the audio in a message.
    audio_type: String,
    handle: Option<String>,
    /// Words of the caller that a lost connection left without answer.
    owed: Option<Pii<String>>,
    is_local: bool,
    is_ready: bool,
    /// With our turn-taking: the caller's turn was opened.
    is_speaking: bool,
    /// The model was asked, and its turn is not complete.
    is_answering: bool,
    held: VecDeque<Vec<u8>>,
    answers: u32,
    current: Option<AnswerId>,
    /// What comes belongs to a void answer, until its turn is complete.
    muted: bool,
    /// The caller's words so far.
    caller: String,
}

impl Connection {
    fn provider(&self) -> ProviderName {
        self.settings.name.clone()
    }

    fn answer(&mut self) -> AnswerId {
        *self.current.get_or_insert_with(|| {
            self.answers += 1;
            AnswerId(self.answers)
        })
    }

    fn setup(&self) -> Value {
        let number = |name: &str| self.settings.options.get(name).cloned();
        let mut speech = Map::new();
        let voice = self.request.voice.as_deref().unwrap_or(&self.settings.voice);
        if !voice.is_empty() {
            speech.insert("voiceConfig".into(), json!({"prebuiltVoiceConfig": {"voiceName": voice}}));
        }
        let language = self.request.language.as_deref().unwrap_or(&self.settings.language);
        if !language.is_empty() {
            speech.insert("languageCode".into(), language.into());
        }
        let mut generation = Map::new();
        generation.insert("responseModalities".into(), json!(["AUDIO"]));
        if !speech.is_empty() {
            generation.insert("speechConfig".into(), Value::Object(speech));
        }
        if let Some(temperature) = number("temperature") {
            generation.insert("temperature".into(), temperature);
        }
        let mut thinking = Map::new();
        for (option, field) in [("thinking_budget", "thinkingBudget"), ("thinking_level", "thinkingLevel")] {
            if let Some(value) = number(option) {
                thinking.insert(field.into(), value);
            }
        }
        if !thinking.is_empty() {
            generation.insert("thinkingConfig".into(), Value::Object(thinking));
        }
        let mut detection = Map::new();
        if self.is_local {
            detection.insert("disabled".into(), true.into());
        } else {
            for (option, field) in [
                ("start_sensitivity", "startOfSpeechSensitivity"),
                ("end_sensitivity", "endOfSpeechSensitivity"),
                ("prefix_padding_ms", "prefixPaddingMs"),
                ("silence_duration_ms", "silenceDurationMs"),
            ] {
                if let Some(value) = number(option) {
                    detection.insert(field.into(), value);
                }
            }
        }
        let mut setup = Map::new();
        setup.insert("model".into(), format!("models/{}", self.settings.model.trim_start_matches("models/")).into());
        setup.insert("generationConfig".into(), Value::Object(generation));
        let mut instructions = self.request.instructions.clone();
        let told = json::transcript(self.request.messages.expose());
        if !told.is_empty() && self.handle.is_none() {
            instructions = format!("{instructions}\n\nWhat was said in this call so far:\n{told}");
        }
        if !instructions.is_empty() {
            setup.insert("systemInstruction".into(), json!({"parts": [{"text": instructions.trim_start()}]}));
        }
        if !self.request.tools.is_empty() {
            let declaration = |tool: &ToolSpec| json!({"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters});
            let declarations: Vec<Value> = self.request.tools.iter().map(declaration).collect();
            setup.insert("tools".into(), json!([{"functionDeclarations": declarations}]));
        }
        setup.insert("realtimeInputConfig".into(), json!({"automaticActivityDetection": detection}));
        setup.insert("inputAudioTranscription".into(), json!({}));
        setup.insert("outputAudioTranscription".into(), json!({}));
        let is_on = |name: &str| self.settings.options.get(name).and_then(Value::as_bool).unwrap_or(true);
        if is_on("resumption") {
            let resumption = self.handle.as_ref().map_or_else(|| json!({}), |handle| json!({"handle": handle}));
            setup.insert("sessionResumption".into(), resumption);
        }
        if is_on("compression") {
            setup.insert("contextWindowCompression".into(), json!({"slidingWindow": {}}));
        }
        json!({"setup": setup})
    }

    fn ready(&mut self, out: &mut Outbox, events: &mut Vec<Answered>) {
        if std::mem::replace(&mut self.is_ready, true) {
            return;
        }
        events.push(Answered::Ready);
        if let Some(opening) = &self.request.opening {
            let words = format!("(The call has just been answered. Say exactly this and nothing else: {opening})");
            self.say(&words, out);
        } else if let Some(owed) = self.owed.take() {
            self.say(owed.expose(), out);
        }
    }

    /// Words in the caller's place.
    fn say(&mut self, words: &str, out: &mut Outbox) {
        self.is_answering = true;
        out.json(&json!({"realtimeInput": {"text": words}}));
    }

    fn send(&self, octets: &[u8], out: &mut Outbox) {
        out.audio_in_json(r#"{"realtimeInput":{"audio":{"data":""#, octets, &format!("\"{}", self.audio_type));
    }

    /// With our turn-taking: the caller's turn begins, with what was kept of it.
    fn open_turn(&mut self, out: &mut Outbox) {
        if !std::mem::replace(&mut self.is_speaking, true) {
            out.json(&json!({"realtimeInput": {"activityStart": {}}}));
        }
        while let Some(octets) = self.held.pop_front() {
            self.send(&octets, out);
        }
    }

    /// The model begins to answer: the caller's words are whole.
    fn flush_caller(&mut self, events: &mut Vec<Answered>) {
        let words = std::mem::take(&mut self.caller);
        if !words.trim().is_empty() {
            events.push(Answered::CallerSaid(Pii::new(words.trim().to_owned())));
        }
    }

    fn content(&mut self, content: &Value, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let is_true = |name: &str| content.get(name).and_then(Value::as_bool).unwrap_or(false);
        self.caller.push_str(json::text(content, "/inputTranscription/text"));
        if is_true("interrupted") {
            self.current = None;
            self.is_answering = false;
            // Our own interruption is confirmed by the same word.
            if !std::mem::take(&mut self.muted) && !self.is_local {
                events.push(Answered::SpeechStarted);
            }
        }
        let parts =
            content.pointer("/modelTurn/parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for part in parts {
            let data = json::text(part, "/inlineData/data");
            if data.is_empty() || self.muted || !json::text(part, "/inlineData/mimeType").starts_with("audio/") {
                continue;
            }
            // Protobuf writes the one alphabet and Google's own libraries the other (RFC 4648 sections 4 and 5).
            let octets = base64::decoded(data);
            let Some(octets) = octets.or_else(|| base64::decoded(&data.replace('-', "+").replace('_', "/"))) else {
                let reason = "audio is no base64".to_owned();
                return Err(ProviderError::Protocol { provider: self.provider(), reason });
            };
            self.flush_caller(events);
            self.is_answering = true;
            let answer = self.answer();
            events.push(Answered::Audio { answer, octets });
        }
        let words = json::text(content, "/outputTranscription/text");
        if !words.is_empty() && !self.muted {
            // Words may lag behind the audio's end: they belong to the answer that was last.
            let answer = match (self.current, self.is_answering) {
                (None, false) if self.answers > 0 => AnswerId(self.answers),
                _ => self.answer(),
            };
            events.push(Answered::AgentSaid { answer, text: Pii::new(words.to_owned()) });
        }
        let is_complete = is_true("turnComplete");
        if is_complete && self.is_answering && !self.muted && self.current.is_none() {
            // It chose to say nothing.
            self.answer();
        }
        if is_true("generationComplete") || is_complete {
            self.flush_caller(events);
            if let Some(answer) = self.current.filter(|_| !self.muted) {
                events.push(Answered::AudioEnded { answer });
            }
        }
        if is_complete {
            self.current = None;
            self.muted = false;
            self.is_answering = false;
        }
        Ok(())
    }
}

impl RealtimeProtocol for Connection {
    fn handshake(&self) -> Handshake {
        let key = self.settings.key.clone().unwrap_or_default();
        Handshake { url: url(&self.settings.url, PATH, &[], true), headers: vec![("x-goog-api-key", key)] }
    }

    fn opened(&mut self, out: &mut Outbox) {
        out.json(&self.setup());
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        if !self.is_local {
            return self.send(octets, out);
        }
        if self.is_answering && !self.is_speaking {
            // The start of a turn would interrupt the model.
            self.held.push_back(octets.to_vec());
            if self.held.len() > HELD {
                self.held.pop_front();
            }
            return;
        }
        self.open_turn(out);
        self.send(octets, out);
    }

    fn commit(&mut self, out: &mut Outbox) {
        self.is_answering = true;
        if self.is_local {
            self.open_turn(out);
            self.is_speaking = false;
            out.json(&json!({"realtimeInput": {"activityEnd": {}}}));
        } else {
            out.json(&json!({"realtimeInput": {"audioStreamEnd": true}}));
        }
    }

    fn cancel(&mut self, out: &mut Outbox) {
        self.muted = self.is_answering;
        self.current = None;
        if self.is_local {
            self.open_turn(out);
        }
    }

    fn tool_result(&mut self, result: &ToolResult<'_>, _: bool, out: &mut Outbox) {
        let content: Value =
            serde_json::from_str(result.content).unwrap_or_else(|_| Value::String(result.content.to_owned()));
        let name = if result.failed { "error" } else { "output" };
        let response = json!({"id": result.call, "name": result.tool, "response": {name: content}});
        out.json(&json!({"toolResponse": {"functionResponses": [response]}}));
    }

    fn update(&mut self, _: &str, _: &[ToolSpec], _: &mut Outbox) -> bool {
        false
    }

    fn tell(&mut self, text: &str, out: &mut Outbox) {
        self.say(text, out);
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let Some(event) = json::of_frame(&frame) else {
            return Err(ProviderError::Protocol { provider: self.provider(), reason: "a message is no JSON".into() });
        };
        if event.get("setupComplete").is_some() {
            self.ready(out, events);
        }
        if let Some(content) = event.get("serverContent") {
            self.content(content, events)?;
        }
        if let Some(calls) = event.pointer("/toolCall/functionCalls").and_then(Value::as_array) {
            self.flush_caller(events);
            for call in calls.iter().filter(|_| !self.muted) {
                let given = call.get("args").unwrap_or(&Value::Null);
                let call = json::call(json::text(call, "/id"), json::text(call, "/name"), given);
                events.push(Answered::Call { answer: None, call });
            }
        }
        if let Some(ids) = event.pointer("/toolCallCancellation/ids").and_then(Value::as_array) {
            let ids = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            events.push(Answered::CallsCancelled(ids));
        }
        if event.get("goAway").is_some() {
            let left = json::text(&event, "/goAway/timeLeft").trim_end_matches('s').parse().ok();
            let within = left.and_then(|left| Duration::try_from_secs_f64(left).ok()).unwrap_or_default();
            events.push(Answered::Expiring { within });
        }
        if event.pointer("/sessionResumptionUpdate/resumable").and_then(Value::as_bool) == Some(true) {
            let handle = json::text(&event, "/sessionResumptionUpdate/newHandle");
            if !handle.is_empty() {
                events.push(Answered::Resumable(handle.to_owned()));
            }
        }
        if let Some(usage) = event.get("usageMetadata") {
            events.push(Answered::Used(Usage {
                input_tokens: json::number(usage, "/promptTokenCount"),
                cached_tokens: json::number(usage, "/cachedContentTokenCount"),
                output_tokens: json::number(usage, "/responseTokenCount"),
            }));
        }
        Ok(())
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        let says = |words: &str| closed.reason.to_ascii_lowercase().contains(words);
        let (provider, reason) = (self.provider(), closed.reason.clone());
        match closed.code {
            Some(1007 | 1008 | 1011) if says("quota") || says("resource_exhausted") => {
                ProviderError::Quota { provider, reason }
            }
            Some(1007 | 1008) if says("api key") || says("permission") || says("unauthenticated") => {
                ProviderError::Authentication { provider, reason }
            }
            // It has no other way to refuse a setup.
            Some(1007) if !self.is_ready => ProviderError::BadRequest { provider, reason },
            _ => json::closed(&self.settings.name, closed),
        }
    }
}
