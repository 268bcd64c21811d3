//! ElevenLabs Agents (`/v1/convai/conversation`; elevenlabs 2.78.0 `conversational_ai` and ElevenLabs' AsyncAPI
//! description). Audio formats, tools and turn-taking are those of the agent in ElevenLabs' own console.

#[cfg(test)]
mod tests;

use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, Start, ToolResult};
use super::stream::Realtime;
use super::{AnswerId, RealtimeCapabilities, RealtimeRequest, SpeechToSpeech, json};
use crate::base::Pii;
use crate::base::chat::ToolSpec;
use crate::providers::catalogue::Offer;
use crate::providers::error::in_short;
use crate::providers::format::AudioFormat;
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, Request, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, base64};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const FORMAT: &str = "ulaw_8000";
/// Silence after which an answer is taken for whole: the vendor marks no end.
const END_GAP: Duration = Duration::from_millis(700);
/// What may be changed of the agent; its own console has to allow each.
const OVERRIDES: [&str; 4] = ["prompt", "first_message", "language", "voice"];
const CONVERSATION: &str = "/v1/convai/conversation";
/// What asks for an answer that a lost connection owes, where the caller's words are not the last.
const GO_ON: &str = "(Please go on.)";

const OPTIONS: &[&str] = &["input_format", "output_format", "end_gap_ms", "overrides", "dynamic_variables", "user_id"];

/// In the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToSpeech> = Offer {
    vendor: "elevenlabs",
    title: "ElevenLabs Agents",
    key_variable: "ELEVENLABS_API_KEY",
    url: "https://api.elevenlabs.io",
    model: "",
    voice: "",
    options: OPTIONS,
    build,
};

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    if settings.model.is_empty() {
        return Err(settings.error("give the agent's id (agent_…) as `model`"));
    }
    let format = |option: &str| {
        let name = settings.option(option).unwrap_or_else(|| FORMAT.to_owned());
        let known = "ulaw_8000, alaw_8000, pcm_8000, pcm_16000, pcm_22050, pcm_24000, pcm_44100, pcm_48000";
        let error = || settings.error(format!("unknown {option} `{name}`; it knows: {known}"));
        format_of(&name).map(|format| (name.clone(), format)).ok_or_else(error)
    };
    let overrides = overrides(settings)?;
    let gap = match settings.option("end_gap_ms") {
        None => END_GAP,
        Some(text) => text.parse().map(Duration::from_millis).map_err(|_| {
            settings.error(format!("end_gap_ms is a number of milliseconds, such as {}", END_GAP.as_millis()))
        })?,
    };
    let vendor = ElevenLabs {
        input: format("input_format")?,
        output: format("output_format")?,
        gap,
        overrides,
        settings: settings.clone(),
    };
    let mut formats = vec![vendor.input.1];
    if vendor.output.1 != vendor.input.1 {
        formats.push(vendor.output.1);
    }
    let capabilities =
        RealtimeCapabilities { formats, local_turns: false, tools: true, truncate: false, update: false };
    Ok(Arc::new(Realtime::new(vendor, capabilities, settings, network)))
}

fn overrides(settings: &Settings) -> Result<Vec<&'static str>, SettingsError> {
    let Some(value) = settings.options.get("overrides") else { return Ok(OVERRIDES[..2].to_vec()) };
    let names: Vec<&str> = match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::String(names) => names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        _ => return Err(settings.error(format!("overrides is a list of: {}", OVERRIDES.join(", ")))),
    };
    let known = |name: &&str| OVERRIDES.iter().find(|known| *known == name).copied();
    let unknown =
        |name: &str| settings.error(format!("unknown override `{name}`; there are: {}", OVERRIDES.join(", ")));
    names.iter().map(|name| known(name).ok_or_else(|| unknown(name))).collect()
}

fn format_of(name: &str) -> Option<AudioFormat> {
    match name {
        "ulaw_8000" => Some(AudioFormat::MULAW),
        "alaw_8000" => Some(AudioFormat::ALAW),
        _ => match name.strip_prefix("pcm_")?.parse().ok()? {
            rate @ (8_000 | 16_000 | 22_050 | 24_000 | 44_100 | 48_000) => Some(AudioFormat::pcm(rate)),
            _ => None,
        },
    }
}

struct ElevenLabs {
    settings: Settings,
    input: (String, AudioFormat),
    output: (String, AudioFormat),
    gap: Duration,
    overrides: Vec<&'static str>,
}

impl RealtimeVendor for ElevenLabs {
    fn format(&self, _: &RealtimeRequest) -> RealtimeFormats {
        RealtimeFormats { input: self.input.1, output: self.output.1, packet_ms: 60 }
    }

    fn before(&self, _: &RealtimeRequest) -> Option<Request> {
        let key = self.settings.key.clone()?;
        let query = [("agent_id", self.settings.model.as_str())];
        Some(Request {
            method: "GET",
            url: url(&self.settings.url, &format!("{CONVERSATION}/get-signed-url"), &query, false),
            headers: vec![("xi-api-key", key)],
            body: Pii::default(),
        })
    }

    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let signed: Option<Value> = start.before.and_then(|body| serde_json::from_slice(body).ok());
        let signed = signed.as_ref().map(|answer| json::text(answer, "/signed_url")).unwrap_or_default();
        if !signed.starts_with("wss://") && !signed.starts_with("ws://") {
            let reason = "its answer has no signed URL".to_owned();
            return Err(ProviderError::Protocol { provider: self.settings.name.clone(), reason });
        }
        if signed.starts_with("ws://") && self.settings.url.starts_with("https") {
            let reason = "its signed URL is not encrypted".to_owned();
            return Err(ProviderError::Protocol { provider: self.settings.name.clone(), reason });
        }
        let mut request = start.request.clone();
        let mut messages = std::mem::take(&mut request.messages).into_exposed();
        let owed = start.answer_due.then(|| json::take_unanswered(&mut messages).unwrap_or_else(|| GO_ON.to_owned()));
        request.messages = Pii::new(messages);
        Ok(Box::new(Connection {
            settings: self.settings.clone(),
            names: (self.input.0.clone(), self.output.0.clone()),
            gap: self.gap,
            overrides: self.overrides.clone(),
            signed: Pii::new(signed.to_owned()),
            request,
            owed: owed.map(Pii::new),
            is_ready: false,
            answers: 0,
            current: None,
            has_words: false,
            muted: false,
            void_up_to: None,
        }))
    }
}

struct Connection {
    settings: Settings,
    names: (String, String),
    gap: Duration,
    overrides: Vec<&'static str>,
    signed: Pii<String>,
    request: RealtimeRequest,
    /// Words of the caller that a lost connection left without answer.
    owed: Option<Pii<String>>,
    is_ready: bool,
    answers: u32,
    current: Option<AnswerId>,
    has_words: bool,
    /// What comes belongs to a void answer.
    muted: bool,
    /// Audio up to this event was interrupted.
    void_up_to: Option<u64>,
}

impl Connection {
    fn provider(&self) -> ProviderName {
        self.settings.name.clone()
    }

    fn answer(&mut self) -> AnswerId {
        *self.current.get_or_insert_with(|| {
            self.answers += 1;
            self.has_words = false;
            AnswerId(self.answers)
        })
    }

    fn initiation(&self) -> Value {
        let (mut agent, mut tts) = (Map::new(), Map::new());
        for name in &self.overrides {
            match *name {
                "prompt" if !self.request.instructions.is_empty() => {
                    agent.insert("prompt".into(), json!({"prompt": self.request.instructions}));
                }
                "first_message" => {
                    // Empty: it waits for the caller.
                    agent.insert("first_message".into(), self.request.opening.clone().unwrap_or_default().into());
                }
                "language" => {
                    let language = self.request.language.as_deref().unwrap_or(&self.settings.language);
                    if let Some(language) = language.split('-').next().filter(|language| !language.is_empty()) {
                        agent.insert("language".into(), language.into());
                    }
                }
                "voice" => {
                    let voice = self.request.voice.as_deref().unwrap_or(&self.settings.voice);
                    if !voice.is_empty() {
                        tts.insert("voice_id".into(), voice.into());
                    }
                }
                _ => {}
            }
        }
        let mut changes = Map::new();
        if !agent.is_empty() {
            changes.insert("agent".into(), Value::Object(agent));
        }
        if !tts.is_empty() {
            changes.insert("tts".into(), Value::Object(tts));
        }
        let mut message = Map::new();
        message.insert("type".into(), "conversation_initiation_client_data".into());
        message.insert("conversation_config_override".into(), Value::Object(changes));
        for name in ["dynamic_variables", "user_id"] {
            if let Some(value) = self.settings.options.get(name) {
                message.insert(name.into(), value.clone());
            }
        }
        Value::Object(message)
    }

    fn started(&mut self, event: &Value, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let event = event.get("conversation_initiation_metadata_event").unwrap_or(event);
        let (input, output) =
            (json::text(event, "/user_input_audio_format"), json::text(event, "/agent_output_audio_format"));
        // An agent that names no format has the one that was configured.
        let differs = |theirs: &str, ours: &str| !theirs.is_empty() && theirs != ours;
        if differs(input, &self.names.0) || differs(output, &self.names.1) {
            let reason = format!(
                "the agent takes {input} and gives {output}: set both to {FORMAT} in its console, or tell us by the \
                 options input_format and output_format"
            );
            return Err(ProviderError::BadRequest { provider: self.provider(), reason: in_short(&reason) });
        }
        if std::mem::replace(&mut self.is_ready, true) {
            return Ok(());
        }
        events.push(Answered::Ready);
        let told = json::transcript(self.request.messages.expose());
        if !told.is_empty() {
            let text = format!("What was said in this call so far:\n{told}");
            out.json(&json!({"type": "contextual_update", "text": text}));
        }
        if let Some(owed) = self.owed.take() {
            out.json(&json!({"type": "user_message", "text": owed.expose()}));
        }
        Ok(())
    }

    fn audio_event(&mut self, event: &Value, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let event = event.get("audio_event").unwrap_or(&Value::Null);
        let id = event.get("event_id").and_then(Value::as_u64);
        if self.muted || id.zip(self.void_up_to).is_some_and(|(id, void)| id <= void) {
            return Ok(());
        }
        let Some(octets) = base64::decoded(json::text(event, "/audio_base_64")) else {
            let reason = "audio is no base64".to_owned();
            return Err(ProviderError::Protocol { provider: self.provider(), reason });
        };
        if !octets.is_empty() {
            let answer = self.answer();
            events.push(Answered::Audio { answer, octets });
        }
        Ok(())
    }
}

impl RealtimeProtocol for Connection {
    fn handshake(&self) -> Handshake {
        Handshake { url: self.signed.expose().clone(), headers: Vec::new() }
    }

    fn opened(&mut self, out: &mut Outbox) {
        out.json(&self.initiation());
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        out.audio_in_json(r#"{"user_audio_chunk":""#, octets, r#""}"#);
    }

    fn commit(&mut self, _: &mut Outbox) {
        // Its turn-taking can be neither switched off nor hurried.
    }

    fn cancel(&mut self, out: &mut Outbox) {
        self.muted = true;
        self.current = None;
        // The nearest there is: the agent does not begin to speak for a moment.
        out.json(&json!({"type": "user_activity"}));
    }

    fn tool_result(&mut self, result: &ToolResult<'_>, _: bool, out: &mut Outbox) {
        out.json(&json!({
            "type": "client_tool_result",
            "tool_call_id": result.call,
            "result": result.content,
            "is_error": result.failed,
        }));
    }

    fn update(&mut self, _: &str, _: &[ToolSpec], _: &mut Outbox) -> bool {
        false
    }

    fn tell(&mut self, text: &str, out: &mut Outbox) {
        self.muted = false;
        self.current = None;
        out.json(&json!({"type": "user_message", "text": text}));
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let Some(event) = json::of_frame(&frame) else {
            return Err(ProviderError::Protocol { provider: self.provider(), reason: "a message is no JSON".into() });
        };
        match json::text(&event, "/type") {
            "conversation_initiation_metadata" => return self.started(&event, out, events),
            "ping" => {
                let id = event.pointer("/ping_event/event_id").cloned().unwrap_or(Value::Null);
                out.json(&json!({"type": "pong", "event_id": id}));
            }
            "audio" => return self.audio_event(&event, events),
            "user_transcript" => {
                self.muted = false;
                self.current = None;
                events.push(Answered::SpeechStopped);
                let words = json::text(&event, "/user_transcription_event/user_transcript").trim();
                if !words.is_empty() {
                    events.push(Answered::CallerSaid(Pii::new(words.to_owned())));
                }
            }
            "agent_response" if !self.muted => {
                if self.has_words {
                    self.current = None;
                }
                let answer = self.answer();
                self.has_words = true;
                let text = Pii::new(json::text(&event, "/agent_response_event/agent_response").to_owned());
                events.push(Answered::AgentSaid { answer, text });
            }
            "agent_response_correction" if self.answers > 0 => {
                let words = json::text(&event, "/agent_response_correction_event/corrected_agent_response");
                let text = Pii::new(words.trim().to_owned());
                events.push(Answered::AgentCorrected { answer: AnswerId(self.answers), text });
            }
            "interruption" => {
                self.void_up_to = event.pointer("/interruption_event/event_id").and_then(Value::as_u64);
                self.muted = false;
                self.current = None;
                events.push(Answered::SpeechStarted);
            }
            "client_tool_call" => {
                let call = event.get("client_tool_call").unwrap_or(&Value::Null);
                let (id, name) = (json::text(call, "/tool_call_id"), json::text(call, "/tool_name"));
                let call = json::call(id, name, call.get("parameters").unwrap_or(&Value::Null));
                events.push(Answered::Call { answer: None, call });
            }
            "error" => {
                let event = event.get("error_event").unwrap_or(&event);
                let reason = in_short(json::text(event, "/message"));
                return Err(ProviderError::Failed { provider: self.provider(), reason });
            }
            _ => {}
        }
        Ok(())
    }

    fn ends_after(&self) -> Option<Duration> {
        Some(self.gap)
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        json::closed(&self.settings.name, closed)
    }
}
