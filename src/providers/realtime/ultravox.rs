//! Ultravox: a call is made over HTTP, then joined over a WebSocket with bare samples both ways and JSON beside them.
//!
//! From the vendor's own pages and the client of livekit-agents (plugin 1.8.9); the vendor's clients speak WebRTC only. Its
//! turn-taking cannot be switched off, and nothing stops an answer from our side: it is dropped until the next turn.

use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, Start, ToolResult};
use super::stream::Realtime;
use super::{AnswerId, RealtimeCapabilities, RealtimeRequest, json};
use crate::base::Pii;
use crate::base::chat::ToolSpec;
use crate::providers::catalogue::Offer;
use crate::providers::format::{AudioFormat, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, Request, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, SpeechToSpeech};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const OPTIONS: &[&str] =
    &["temperature", MAX_DURATION, BUFFER, "external_voice", "vad_settings", "first_speaker_settings"];
/// Ours: how long a call may last, in seconds; the vendor's own limit is an hour.
const MAX_DURATION: &str = "max_duration_s";
const MAX_DURATION_S: u64 = 3_600;
/// A call is exchanged for a fresh one so long before its end.
const BEFORE_THE_END: Duration = Duration::from_secs(300);
/// Ours: milliseconds of audio that the vendor may be ahead of what is played.
const BUFFER: &str = "client_buffer_ms";
const BUFFER_MS: u64 = 30_000;
/// Rates it takes and gives.
const FORMATS: [AudioFormat; 4] =
    [AudioFormat::pcm(8_000), AudioFormat::pcm(16_000), AudioFormat::pcm(24_000), AudioFormat::pcm(48_000)];
const PACKET_MS: u32 = 40;
/// What stands for words that were lost with a connection.
const GO_ON: &str = "Please go on.";

/// In the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToSpeech> = Offer {
    vendor: "ultravox",
    title: "Ultravox",
    key_variable: "ULTRAVOX_API_KEY",
    url: "https://api.ultravox.ai/api",
    model: "fixie-ai/ultravox",
    voice: "Mark",
    options: OPTIONS,
    build,
};

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    let number = |name: &str, usual: u64, least: u64, most: u64| {
        let value = settings.options.get(name).map_or(Some(usual), Value::as_u64);
        let value = value.filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| settings.error(format!("{name} is a number from {least} to {most}")))
    };
    let vendor = Ultravox {
        max_duration: number(MAX_DURATION, MAX_DURATION_S, 600, 86_400)?,
        buffer: number(BUFFER, BUFFER_MS, 60, 60_000)?,
        settings: settings.clone(),
    };
    let formats = FORMATS.to_vec();
    let capabilities =
        RealtimeCapabilities { formats, local_turns: false, tools: true, truncate: false, update: false };
    Ok(Arc::new(Realtime::new(vendor, capabilities, settings, network)))
}

struct Ultravox {
    settings: Settings,
    max_duration: u64,
    buffer: u64,
}

impl Ultravox {
    fn call(&self, request: &RealtimeRequest) -> Value {
        let rate = self.format(request).input.rate.0;
        let mut call = Map::new();
        let mut put = |name: &str, value: Value| call.insert(name.to_owned(), value);
        put("systemPrompt", request.instructions.clone().into());
        put("model", self.settings.model.clone().into());
        let medium = json!({"inputSampleRate": rate, "outputSampleRate": rate, "clientBufferSizeMs": self.buffer});
        put("medium", json!({"serverWebSocket": medium}));
        put("selectedTools", request.tools.iter().map(tool).collect());
        put("maxDuration", format!("{}s", self.max_duration).into());
        let voice = request.voice.as_deref().unwrap_or(&self.settings.voice);
        match self.settings.options.get("external_voice") {
            Some(external) => put("externalVoice", external.clone()),
            None => put("voice", voice.into()),
        };
        let language = request.language.as_deref().unwrap_or(&self.settings.language);
        if !language.is_empty() {
            put("languageHint", language.into());
        }
        // The opening is said word for word when the call is joined; the model is not to find one of its own.
        match self.settings.options.get("first_speaker_settings") {
            Some(own) => put("firstSpeakerSettings", own.clone()),
            None => put("firstSpeaker", "FIRST_SPEAKER_USER".into()),
        };
        for (option, name) in [("temperature", "temperature"), ("vad_settings", "vadSettings")] {
            if let Some(value) = self.settings.options.get(option) {
                put(name, value.clone());
            }
        }
        Value::Object(call)
    }
}

/// A tool as the vendor wants it: each parameter by itself.
fn tool(tool: &ToolSpec) -> Value {
    let required: Vec<&str> = match tool.parameters.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let properties = tool.parameters.get("properties").and_then(Value::as_object);
    let parameter = |(name, schema): (&String, &Value)| {
        json!({"name": name, "location": "PARAMETER_LOCATION_BODY", "schema": schema,
            "required": required.contains(&name.as_str())})
    };
    let parameters: Vec<Value> = properties.into_iter().flatten().map(parameter).collect();
    json!({"temporaryTool": {"modelToolName": tool.name, "description": tool.description,
        "dynamicParameters": parameters, "client": {}}})
}

impl RealtimeVendor for Ultravox {
    fn format(&self, request: &RealtimeRequest) -> RealtimeFormats {
        let format = cheapest(request.line, &FORMATS).unwrap_or(FORMATS[0]);
        RealtimeFormats { input: format, output: format, packet_ms: PACKET_MS }
    }

    fn before(&self, request: &RealtimeRequest) -> Option<Request> {
        let key = self.settings.key.clone()?;
        let body = Bytes::from(self.call(request).to_string());
        Some(Request {
            method: "POST",
            url: url(&self.settings.url, "/calls", &[], false),
            headers: vec![("x-api-key", key), ("content-type", Pii::new("application/json".to_owned()))],
            body: Pii::new(body),
        })
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.max_duration).saturating_sub(BEFORE_THE_END))
    }

    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let protocol =
            |reason: &str| ProviderError::Protocol { provider: self.settings.name.clone(), reason: reason.to_owned() };
        let created: Option<Value> = start.before.and_then(|body| serde_json::from_slice(body).ok());
        let join = created.as_ref().map(|answer| json::text(answer, "/joinUrl")).unwrap_or_default();
        if !join.starts_with("wss://") && !join.starts_with("ws://") {
            return Err(protocol("its answer has no joinUrl"));
        }
        if join.starts_with("ws://") && self.settings.url.starts_with("https") {
            return Err(protocol("its joinUrl is not encrypted"));
        }
        let mut messages = start.request.messages.expose().clone();
        let owed = start.answer_due.then(|| json::take_unanswered(&mut messages).unwrap_or_else(|| GO_ON.to_owned()));
        Ok(Box::new(Connection {
            provider: self.settings.name.clone(),
            join: Pii::new(join.to_owned()),
            told: Pii::new(json::transcript(&messages)),
            owed: owed.map(Pii::new),
            opening: start.request.opening.clone(),
            is_ready: false,
            is_busy: false,
            asked: start.answer_due || start.request.opening.is_some(),
            answers: 0,
            current: None,
            words: None,
            muted: false,
        }))
    }
}

struct Connection {
    provider: ProviderName,
    join: Pii<String>,
    /// What was said in the call so far.
    told: Pii<String>,
    /// Words of the caller that a lost connection left without answer.
    owed: Option<Pii<String>>,
    opening: Option<String>,
    is_ready: bool,
    /// The vendor thinks or speaks.
    is_busy: bool,
    /// What it thinks of next was asked by us, not by the caller's voice.
    asked: bool,
    answers: u32,
    current: Option<AnswerId>,
    /// The agent's words so far in the utterance of this number, and whose they are.
    words: Option<(u64, AnswerId, Pii<String>)>,
    /// What comes belongs to a void answer.
    muted: bool,
}

impl Connection {
    fn answer(&mut self) -> AnswerId {
        *self.current.get_or_insert_with(|| {
            self.answers += 1;
            AnswerId(self.answers)
        })
    }

    fn ready(&mut self, out: &mut Outbox, events: &mut Vec<Answered>) {
        if std::mem::replace(&mut self.is_ready, true) {
            return;
        }
        events.push(Answered::Ready);
        if !self.told.expose().is_empty() {
            let text = format!("What was said in this call so far:\n{}", self.told.expose());
            out.json(&json!({"type": "user_text_message", "text": text, "urgency": "later", "deferResponse": true}));
        }
        if let Some(opening) = self.opening.take() {
            out.json(&json!({"type": "forced_agent_message", "content": opening, "urgency": "immediate"}));
        }
        if let Some(owed) = self.owed.take() {
            out.json(&json!({"type": "user_text_message", "text": owed.expose(), "urgency": "immediate"}));
        }
    }

    fn state(&mut self, state: &str, events: &mut Vec<Answered>) {
        let was_busy = self.is_busy;
        match state {
            "thinking" | "speaking" => {
                self.is_busy = true;
                if !was_busy {
                    self.muted = false;
                    if !std::mem::take(&mut self.asked) {
                        events.push(Answered::SpeechStopped);
                    }
                }
            }
            "listening" | "idle" => {
                self.is_busy = false;
                if let Some(answer) = self.current.take() {
                    events.push(Answered::AudioEnded { answer });
                }
            }
            _ => {}
        }
    }

    /// The agent's words, as a piece or as the whole so far.
    fn agent_said(&mut self, event: &Value, events: &mut Vec<Answered>) {
        let ordinal = json::number(event, "/ordinal");
        let (delta, whole) = (json::text(event, "/delta"), json::text(event, "/text"));
        if self.muted || (delta.is_empty() && whole.is_empty()) {
            return;
        }
        let (answer, said) = match self.words.take() {
            Some((known, answer, said)) if known == ordinal => (answer, said.into_exposed()),
            // Late words are those of the last answer.
            _ if !self.is_busy && self.answers > 0 => (AnswerId(self.answers), String::new()),
            _ => (self.answer(), String::new()),
        };
        // A whole that has changed in what was told before adds nothing.
        let news = if whole.is_empty() { delta } else { whole.strip_prefix(said.as_str()).unwrap_or_default() };
        if !news.is_empty() {
            events.push(Answered::AgentSaid { answer, text: Pii::new(news.to_owned()) });
        }
        let mut said = said;
        said.push_str(news);
        self.words = Some((ordinal, answer, Pii::new(said)));
    }
}

impl RealtimeProtocol for Connection {
    fn handshake(&self) -> Handshake {
        Handshake { url: self.join.expose().clone(), headers: Vec::new() }
    }

    fn opened(&mut self, _: &mut Outbox) {}

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        out.binary(octets.to_vec());
    }

    fn commit(&mut self, _: &mut Outbox) {
        // Its turn-taking can be neither switched off nor hurried.
    }

    fn cancel(&mut self, _: &mut Outbox) {
        self.muted = true;
        self.current = None;
        // The next state that thinks or speaks is another answer's.
        self.is_busy = false;
    }

    fn tool_result(&mut self, result: &ToolResult<'_>, go_on: bool, out: &mut Outbox) {
        self.asked = true;
        let reaction = if go_on { "speaks" } else { "listens" };
        let mut message = json!({"type": "client_tool_result", "invocationId": result.call,
            "responseType": "tool-response", "agentReaction": reaction});
        if result.failed {
            message["errorType"] = "implementation-error".into();
            message["errorMessage"] = result.content.into();
        } else {
            message["result"] = result.content.into();
        }
        out.json(&message);
    }

    fn update(&mut self, _: &str, _: &[ToolSpec], _: &mut Outbox) -> bool {
        false
    }

    fn tell(&mut self, text: &str, out: &mut Outbox) {
        (self.muted, self.asked, self.is_busy, self.current) = (false, true, false, None);
        out.json(&json!({"type": "user_text_message", "text": text, "urgency": "immediate"}));
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let text = match frame {
            Frame::Binary(octets) => {
                if !self.muted && !octets.is_empty() {
                    let answer = self.answer();
                    events.push(Answered::Audio { answer, octets: octets.to_vec() });
                }
                return Ok(());
            }
            Frame::Text(text) => text,
        };
        let Ok(event) = serde_json::from_str::<Value>(&text) else {
            let reason = "a message is no JSON".to_owned();
            return Err(ProviderError::Protocol { provider: self.provider.clone(), reason });
        };
        match json::text(&event, "/type") {
            "call_started" => self.ready(out, events),
            "state" => {
                self.ready(out, events);
                self.state(json::text(&event, "/state"), events);
            }
            "transcript" if json::text(&event, "/role") == "agent" => self.agent_said(&event, events),
            // Typed words are ours.
            "transcript" if json::text(&event, "/medium") != "text" => {
                let words = json::text(&event, "/text").trim();
                if event.get("final").and_then(Value::as_bool).unwrap_or(false) && !words.is_empty() {
                    events.push(Answered::CallerSaid(Pii::new(words.to_owned())));
                }
            }
            "playback_clear_buffer" => {
                (self.muted, self.current, self.is_busy, self.asked) = (true, None, false, false);
                events.push(Answered::SpeechStarted);
            }
            "client_tool_invocation" => {
                let (id, name) = (json::text(&event, "/invocationId"), json::text(&event, "/toolName"));
                let call = json::call(id, name, event.get("parameters").unwrap_or(&Value::Null));
                events.push(Answered::Call { answer: None, call });
            }
            _ => {}
        }
        Ok(())
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        json::closed(&self.provider, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::realtime::TurnsBy;
    use std::collections::BTreeMap;

    fn vendor(options: &[(&str, Value)]) -> Ultravox {
        let settings = Settings {
            name: "ultravox".into(),
            key: Some(Pii::new("secret-key".into())),
            url: "https://vendor.example/api".into(),
            model: "model-1".into(),
            voice: "Mark".into(),
            language: "en-GB".into(),
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            concurrency: 1,
            connect_timeout: Duration::from_secs(1),
            first_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(1),
        };
        Ultravox { settings, max_duration: 3_600, buffer: 30_000 }
    }

    fn request() -> RealtimeRequest {
        RealtimeRequest {
            tools: vec![ToolSpec {
                name: "weather".into(),
                description: "Tells it.".into(),
                parameters: json!({"type": "object", "required": ["city"],
                    "properties": {"city": {"type": "string"}, "day": {"type": "string"}}}),
            }],
            ..RealtimeRequest::new(SampleRate(8_000), AudioFormat::MULAW, TurnsBy::Vendor, "Be kind.")
        }
    }

    fn connection(request: &RealtimeRequest, join: &str) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        let vendor = vendor(&[]);
        let body = json!({"callId": "c", "joinUrl": join}).to_string();
        let formats = vendor.format(request);
        vendor.connect(&Start { request, formats, before: Some(body.as_bytes()), handle: None, answer_due: false })
    }

    fn hear(machine: &mut dyn RealtimeProtocol, event: Value) -> Vec<String> {
        let mut events = Vec::new();
        let frame = Frame::Text(event.to_string());
        machine.received(frame, &mut Outbox::default(), &mut events).expect("a good message");
        events
            .iter()
            .map(|event| format!("{event:?}").split(['(', ' ']).next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn a_call_is_made_with_the_line_s_rate_and_each_parameter_of_a_tool() {
        let vendor = vendor(&[("temperature", json!(0.2))]);
        let made = vendor.before(&request()).expect("a request");
        assert_eq!((made.method, made.url.as_str()), ("POST", "https://vendor.example/api/calls"));
        assert!(!format!("{made:?}").contains("secret-key"));
        let call: Value = serde_json::from_slice(made.body.expose()).expect("JSON");
        assert_eq!(call["medium"]["serverWebSocket"]["inputSampleRate"], 8_000);
        assert_eq!((&call["voice"], &call["languageHint"]), (&json!("Mark"), &json!("en-GB")));
        assert_eq!((&call["temperature"], &call["maxDuration"]), (&json!(0.2), &json!("3600s")));
        let tool = &call["selectedTools"][0]["temporaryTool"];
        let parameter =
            |n: usize| (tool["dynamicParameters"][n]["name"].clone(), tool["dynamicParameters"][n]["required"].clone());
        assert_eq!((parameter(0), parameter(1)), ((json!("city"), json!(true)), (json!("day"), json!(false))));
        assert_eq!(tool["client"], json!({}));
    }

    #[test]
    fn a_call_that_cannot_be_joined_in_secret_is_not_joined() {
        for join in ["", "https://x.example", "ws://x.example/1"] {
            assert_eq!(connection(&request(), join).err().map(|error| error.kind()), Some("protocol"), "{join}");
        }
        assert!(connection(&request(), "wss://x.example/1").is_ok());
    }

    #[test]
    fn states_say_where_answers_end_and_whose_turn_it_was() {
        let mut machine = connection(&request(), "wss://x.example/1").expect("a connection");
        assert_eq!(hear(machine.as_mut(), json!({"type": "call_started", "callId": "c"})), ["Ready"]);
        assert!(hear(machine.as_mut(), json!({"type": "state", "state": "listening"})).is_empty());
        assert_eq!(hear(machine.as_mut(), json!({"type": "state", "state": "thinking"})), ["SpeechStopped"]);
        assert!(hear(machine.as_mut(), json!({"type": "state", "state": "speaking"})).is_empty());
        let agent = |text: &str, last: bool| json!({"type": "transcript", "role": "agent", "medium": "voice", "text": text, "final": last, "ordinal": 2});
        assert_eq!(hear(machine.as_mut(), agent("Good ", false)), ["AgentSaid"]);
        let mut events = Vec::new();
        let (mut out, frame) = (Outbox::default(), Frame::Text(agent("Good day.", true).to_string()));
        machine.received(frame, &mut out, &mut events).expect("a good message");
        assert!(matches!(&events[..], [Answered::AgentSaid { text, answer: AnswerId(1) }] if text.expose() == "day."));
        assert_eq!(hear(machine.as_mut(), json!({"type": "state", "state": "listening"})), ["AudioEnded"]);
        machine.tell("hello", &mut out);
        assert!(hear(machine.as_mut(), json!({"type": "state", "state": "thinking"})).is_empty(), "we asked ourselves");
    }

    #[test]
    fn nothing_of_an_answer_is_heard_behind_the_order_to_clear_it() {
        let mut machine = connection(&request(), "wss://x.example/1").expect("a connection");
        let audio = |machine: &mut dyn RealtimeProtocol| {
            let mut events = Vec::new();
            let frame = Frame::Binary(vec![0; 640].into());
            machine.received(frame, &mut Outbox::default(), &mut events).expect("audio");
            events.first().map(|event| match event {
                Answered::Audio { answer, .. } => answer.0,
                other => panic!("{other:?}"),
            })
        };
        hear(machine.as_mut(), json!({"type": "state", "state": "speaking"}));
        assert_eq!(audio(machine.as_mut()), Some(1));
        assert_eq!(hear(machine.as_mut(), json!({"type": "playback_clear_buffer"})), ["SpeechStarted"]);
        assert_eq!(audio(machine.as_mut()), None);
        hear(machine.as_mut(), json!({"type": "state", "state": "listening"}));
        assert_eq!(audio(machine.as_mut()), None);
        hear(machine.as_mut(), json!({"type": "state", "state": "thinking"}));
        assert_eq!(audio(machine.as_mut()), Some(2));
        machine.cancel(&mut Outbox::default());
        assert_eq!(audio(machine.as_mut()), None);
    }
}
