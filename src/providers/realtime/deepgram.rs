//! Deepgram's Voice Agent (`/v1/agent/converse`; Deepgram's AsyncAPI description and deepgram-sdk 7.17.0).

#[cfg(test)]
mod tests;

use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, Start, ToolResult};
use super::stream::Realtime;
use super::{AnswerId, RealtimeCapabilities, RealtimeRequest, SpeechToSpeech, json};
use crate::base::Pii;
use crate::base::chat::{Message, ToolSpec};
use crate::providers::catalogue::Offer;
use crate::providers::error::in_short;
use crate::providers::format::{AudioFormat, Encoding, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const FORMATS: [AudioFormat; 4] =
    [AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(16_000), AudioFormat::pcm(24_000)];
/// The vendor ends a connection on which nothing comes for some ten seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const LISTEN_MODEL: &str = "nova-3";
const THINK_PROVIDER: &str = "open_ai";
/// What asks for an answer that a lost connection owes, where the caller's words are not the last.
const GO_ON: &str = "(Please go on.)";

const OPTIONS: &[&str] = &[
    "listen_model",
    "keyterms",
    "smart_format",
    "eot_threshold",
    "eager_eot_threshold",
    "eot_timeout_ms",
    "think_provider",
    "temperature",
    "context_length",
    "listen",
    "think",
    "speak",
    "tags",
    "mip_opt_out",
];

/// In the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToSpeech> = Offer {
    vendor: "deepgram",
    title: "Deepgram Voice Agent",
    key_variable: "DEEPGRAM_API_KEY",
    url: "https://agent.deepgram.com/v1",
    model: "gpt-4o-mini",
    voice: "aura-2-thalia-en",
    options: OPTIONS,
    build,
};

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    let objects = ["listen", "think", "speak"];
    if let Some(name) = objects.iter().find(|name| settings.options.get(**name).is_some_and(|v| !v.is_object())) {
        return Err(settings.error(format!("option `{name}` is a table, such as {{ provider = {{ type = \"…\" }} }}")));
    }
    let vendor = Deepgram { settings: settings.clone() };
    let capabilities = RealtimeCapabilities {
        formats: FORMATS.to_vec(),
        local_turns: false,
        tools: true,
        truncate: false,
        update: true,
    };
    Ok(Arc::new(Realtime::new(vendor, capabilities, settings, network)))
}

struct Deepgram {
    settings: Settings,
}

impl RealtimeVendor for Deepgram {
    fn format(&self, request: &RealtimeRequest) -> RealtimeFormats {
        let format = cheapest(request.line, &FORMATS).unwrap_or(AudioFormat::MULAW);
        RealtimeFormats { input: format, output: format, packet_ms: 40 }
    }

    fn reports_speech(&self) -> bool {
        true
    }

    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let mut request = start.request.clone();
        let mut messages = std::mem::take(&mut request.messages).into_exposed();
        let owed = start.answer_due.then(|| json::take_unanswered(&mut messages).unwrap_or_else(|| GO_ON.to_owned()));
        request.messages = Pii::new(messages);
        Ok(Box::new(Connection {
            settings: self.settings.clone(),
            request,
            formats: start.formats,
            owed: owed.map(Pii::new),
            is_ready: false,
            answers: 0,
            current: None,
            muted: false,
        }))
    }
}

struct Connection {
    settings: Settings,
    request: RealtimeRequest,
    formats: RealtimeFormats,
    /// Words of the caller that a lost connection left without answer.
    owed: Option<Pii<String>>,
    is_ready: bool,
    answers: u32,
    current: Option<AnswerId>,
    /// What comes belongs to a void answer.
    muted: bool,
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

    fn copy(&self, names: &[(&str, &str)], into: &mut Map<String, Value>) {
        for (option, field) in names {
            if let Some(value) = self.settings.options.get(*option) {
                into.insert((*field).to_owned(), value.clone());
            }
        }
    }

    fn stage(&self, name: &str) -> Option<Map<String, Value>> {
        self.settings.options.get(name).and_then(Value::as_object).cloned()
    }

    fn listen(&self) -> Value {
        if let Some(listen) = self.stage("listen") {
            return Value::Object(listen);
        }
        let model = self.settings.option("listen_model").unwrap_or_else(|| LISTEN_MODEL.to_owned());
        let mut provider = Map::new();
        provider.insert("type".into(), "deepgram".into());
        let is_flux = model.starts_with("flux");
        provider.insert("version".into(), if is_flux { "v2" } else { "v1" }.into());
        let language = self.request.language.as_deref().unwrap_or(&self.settings.language);
        match language.split('-').next().filter(|language| !language.is_empty()) {
            Some(language) if !is_flux => {
                provider.insert("language".into(), language.into());
            }
            Some(language) if model == "flux-general-multi" => {
                provider.insert("language_hints".into(), json!([language]));
            }
            _ => {}
        }
        provider.insert("model".into(), model.into());
        let names = ["keyterms", "smart_format", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms"];
        self.copy(&names.map(|name| (name, name)), &mut provider);
        json!({"provider": provider})
    }

    fn think(&self, instructions: &str, tools: &[ToolSpec]) -> Value {
        let mut think = self.stage("think").unwrap_or_else(|| {
            let mut provider = Map::new();
            let kind = self.settings.option("think_provider").unwrap_or_else(|| THINK_PROVIDER.to_owned());
            provider.insert("type".into(), kind.into());
            provider.insert("model".into(), self.settings.model.clone().into());
            self.copy(&[("temperature", "temperature")], &mut provider);
            let mut think = Map::new();
            think.insert("provider".into(), Value::Object(provider));
            self.copy(&[("context_length", "context_length")], &mut think);
            think
        });
        think.insert("prompt".into(), instructions.to_owned().into());
        let function = |tool: &ToolSpec| json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters});
        if !tools.is_empty() {
            think.insert("functions".into(), tools.iter().map(function).collect());
        }
        Value::Object(think)
    }

    fn speak(&self) -> Value {
        if let Some(speak) = self.stage("speak") {
            return Value::Object(speak);
        }
        let voice = self.request.voice.as_deref().unwrap_or(&self.settings.voice);
        json!({"provider": {"type": "deepgram", "model": voice}})
    }

    fn settings_message(&self) -> Value {
        let mut agent = Map::new();
        agent.insert("listen".into(), self.listen());
        agent.insert("think".into(), self.think(&self.request.instructions, &self.request.tools));
        agent.insert("speak".into(), self.speak());
        if let Some(opening) = &self.request.opening {
            agent.insert("greeting".into(), opening.clone().into());
        }
        let messages = history(self.request.messages.expose());
        if !messages.is_empty() {
            agent.insert("context".into(), json!({"messages": messages}));
        }
        let format = |format: AudioFormat| json!({"encoding": encoding(format), "sample_rate": format.rate.0});
        let mut output = format(self.formats.output);
        if let Some(object) = output.as_object_mut() {
            object.insert("container".into(), "none".into());
        }
        let mut message = Map::new();
        message.insert("type".into(), "Settings".into());
        self.copy(&[("tags", "tags"), ("mip_opt_out", "mip_opt_out")], &mut message);
        message.insert("audio".into(), json!({"input": format(self.formats.input), "output": output}));
        message.insert("agent".into(), Value::Object(agent));
        Value::Object(message)
    }

    fn failure(&self, event: &Value) -> ProviderError {
        let (code, description) = (json::text(event, "/code"), json::text(event, "/description"));
        let (provider, reason) = (self.provider(), format!("{code}: {}", in_short(description)));
        match code {
            "INVALID_SETTINGS"
            | "USER_AUDIO_FORMAT"
            | "FAILED_TO_START_LISTENING"
            | "FAILED_TO_THINK"
            | "FAILED_TO_SPEAK"
                if !self.is_ready =>
            {
                ProviderError::BadRequest { provider, reason }
            }
            "INVALID_SETTINGS" => ProviderError::BadRequest { provider, reason },
            "UNPARSABLE_CLIENT_MESSAGE" | "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS" | "SETTINGS_ALREADY_APPLIED" => {
                ProviderError::Protocol { provider, reason }
            }
            _ => ProviderError::Transient { provider, reason },
        }
    }

    fn conversation_text(&mut self, event: &Value, events: &mut Vec<Answered>) {
        let words = json::text(event, "/content").trim();
        if json::text(event, "/role") == "user" {
            self.muted = false;
            self.current = None;
            events.push(Answered::SpeechStopped);
            if !words.is_empty() {
                events.push(Answered::CallerSaid(Pii::new(words.to_owned())));
            }
        } else if !self.muted && !words.is_empty() {
            let answer = self.answer();
            events.push(Answered::AgentSaid { answer, text: Pii::new(format!("{words} ")) });
        }
    }
}

fn encoding(format: AudioFormat) -> &'static str {
    match format.encoding {
        Encoding::Mulaw => "mulaw",
        Encoding::Alaw => "alaw",
        Encoding::Pcm16 => "linear16",
    }
}

/// What was said so far, as `agent.context.messages` takes it.
fn history(messages: &[Message]) -> Vec<Value> {
    let line = |role: &str, text: &str| json!({"type": "History", "role": role, "content": text});
    let mut told = Vec::new();
    for message in messages {
        match message {
            Message::Caller(text) => told.push(line("user", text.expose())),
            Message::Agent { text, calls } => {
                if !text.expose().is_empty() {
                    told.push(line("assistant", text.expose()));
                }
                for call in calls {
                    let answer = messages.iter().find_map(|message| match message {
                        Message::ToolResult { call: of, content, .. } if *of == call.id => Some(content.expose()),
                        _ => None,
                    });
                    let mut function = json!({
                        "id": call.id,
                        "name": call.name,
                        "client_side": true,
                        "arguments": Value::Object(call.arguments.expose().clone()).to_string(),
                        "response": answer.map(String::as_str).unwrap_or_default(),
                    });
                    if let (Some(opaque), Some(object)) = (&call.opaque, function.as_object_mut()) {
                        object.insert("thought_signature".into(), opaque.clone().into());
                    }
                    told.push(json!({"type": "History", "function_calls": [function]}));
                }
            }
            Message::ToolResult { .. } => {}
        }
    }
    told
}

impl RealtimeProtocol for Connection {
    fn handshake(&self) -> Handshake {
        let key = self.settings.key.as_ref().map(|key| key.expose().as_str()).unwrap_or_default();
        Handshake {
            url: url(&self.settings.url, "/agent/converse", &[], true),
            headers: vec![("authorization", Pii::new(format!("Token {key}")))],
        }
    }

    fn opened(&mut self, out: &mut Outbox) {
        out.json(&self.settings_message());
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        out.binary(octets.to_vec());
    }

    fn commit(&mut self, out: &mut Outbox) {
        out.json(&json!({"type": "ForceEndTurn"}));
    }

    fn cancel(&mut self, _: &mut Outbox) {
        // It has no message for this: what still comes is dropped until the caller's next turn.
        self.muted = true;
        self.current = None;
    }

    fn tool_result(&mut self, result: &ToolResult<'_>, _: bool, out: &mut Outbox) {
        out.json(&json!({
            "type": "FunctionCallResponse",
            "id": result.call,
            "name": result.tool,
            "content": result.content,
        }));
    }

    fn update(&mut self, instructions: &str, tools: &[ToolSpec], out: &mut Outbox) -> bool {
        out.json(&json!({"type": "UpdateThink", "think": self.think(instructions, tools)}));
        true
    }

    fn tell(&mut self, text: &str, out: &mut Outbox) {
        self.muted = false;
        out.json(&json!({"type": "InjectUserMessage", "content": text}));
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        if let Frame::Binary(octets) = &frame {
            if !self.muted && !octets.is_empty() {
                let answer = self.answer();
                events.push(Answered::Audio { answer, octets: octets.to_vec() });
            }
            return Ok(());
        }
        let Some(event) = json::of_frame(&frame) else {
            return Err(ProviderError::Protocol { provider: self.provider(), reason: "a message is no JSON".into() });
        };
        match json::text(&event, "/type") {
            "SettingsApplied" if !self.is_ready => {
                self.is_ready = true;
                events.push(Answered::Ready);
                if let Some(owed) = self.owed.take() {
                    out.json(&json!({"type": "InjectUserMessage", "content": owed.expose()}));
                }
            }
            "ConversationText" => self.conversation_text(&event, events),
            "UserStartedSpeaking" => {
                self.muted = true;
                self.current = None;
                events.push(Answered::SpeechStarted);
            }
            "AgentThinking" | "AgentStartedSpeaking" => self.muted = false,
            "AgentAudioDone" => {
                self.muted = false;
                if let Some(answer) = self.current.take() {
                    events.push(Answered::AudioEnded { answer });
                }
            }
            "FunctionCallRequest" => {
                let functions = event.get("functions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                for function in functions {
                    if function.get("client_side").and_then(Value::as_bool).unwrap_or(true) {
                        let (id, name) = (json::text(function, "/id"), json::text(function, "/name"));
                        let given = function.get("arguments").unwrap_or(&Value::Null);
                        let mut call = json::call(id, name, given);
                        let opaque = json::text(function, "/thought_signature");
                        call.opaque = (!opaque.is_empty()).then(|| opaque.to_owned());
                        events.push(Answered::Call { answer: None, call });
                    }
                }
            }
            "FunctionCallCancelled" => {
                let functions = event.get("functions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let ids = functions.iter().chain([&event]).map(|of| json::text(of, "/id").to_owned());
                events.push(Answered::CallsCancelled(ids.filter(|id| !id.is_empty()).collect()));
            }
            "Warning" => {
                tracing::warn!(provider = %self.settings.name, code = json::text(&event, "/code"), "deepgram_warning");
            }
            "Error" => return Err(self.failure(&event)),
            _ => {}
        }
        Ok(())
    }

    fn idle_after(&self) -> Option<Duration> {
        Some(KEEP_ALIVE)
    }

    fn idle(&mut self, out: &mut Outbox) {
        out.json(&json!({"type": "KeepAlive"}));
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        json::closed(&self.settings.name, closed)
    }
}
