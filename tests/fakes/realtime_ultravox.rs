//! Ultravox: a call made over HTTP, then a WebSocket with bare samples both ways and JSON beside them.

use super::realtime_script::{Ear, Log, TOOL_ANSWER, Turn, answer, speech};
use super::voice::Encoding;
use super::{Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};
use serde_json::{Value, json};
use std::time::Duration;

/// The time between two pieces of 100 ms.
const PACE: Duration = Duration::from_millis(15);

/// The vendor.
pub struct Ultravox {
    pub key: &'static str,
    pub log: Log,
}

impl Vendor for Ultravox {
    fn http(&self, request: &Request) -> Reply {
        if request.header("x-api-key") != Some(self.key) {
            return Reply::json(401, &json!({"detail": "Invalid API key."}));
        }
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/api/calls") {
            request.context.complain(format!("no such resource: {} {}", request.method, request.path));
            return Reply::json(404, &json!({"detail": "Not found."}));
        }
        let call = request.json();
        let medium = &call["medium"]["serverWebSocket"];
        let rate = medium["inputSampleRate"].as_u64().filter(|rate| [8_000, 16_000, 24_000, 48_000].contains(rate));
        let (Some(rate), Some(_)) = (rate, call["systemPrompt"].as_str()) else {
            return Reply::json(400, &json!({"medium": ["a rate that is not there, or no prompt"]}));
        };
        if medium["outputSampleRate"] != rate || !call["maxDuration"].as_str().is_some_and(|text| text.ends_with('s')) {
            request.context.complain("an output rate that this fake does not speak, or a duration without its unit");
        }
        for tool in call["selectedTools"].as_array().into_iter().flatten() {
            let tool = &tool["temporaryTool"];
            let has_all = |parameter: &Value| {
                parameter["location"] == "PARAMETER_LOCATION_BODY" && parameter["schema"].is_object()
            };
            let parameters = tool["dynamicParameters"].as_array();
            if !tool["modelToolName"].is_string()
                || !tool["client"].is_object()
                || !parameters.is_some_and(|all| all.iter().all(has_all))
            {
                request.context.complain(format!("no tool: {tool}"));
            }
        }
        request.context.note(format!("Pcm16 {rate}"));
        let host = request.header("host").unwrap_or_default();
        let join = format!("wss://{host}/calls/call_1/server_web_socket?rate={rate}&token=t_1");
        Reply::json(201, &json!({"callId": "call_1", "joinUrl": join, "created": "2026-01-02T03:04:05Z"}))
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.param("token") != Some("t_1") {
            return Err(Reply::json(403, &json!({"detail": "forbidden"})));
        }
        if request.header("x-api-key").is_some() {
            request.context.complain("the key goes with a joinUrl");
        }
        let rate = request.param("rate").and_then(|rate| rate.parse().ok()).unwrap_or(8_000);
        let (context, log) = (request.context.clone(), self.log.clone());
        Ok(Box::new(Talk { context, log, rate, ear: Ear::new(rate), has_spoken: false, calls: 0, ordinal: 0 }))
    }
}

struct Talk {
    context: Context,
    log: Log,
    rate: u32,
    ear: Ear,
    has_spoken: bool,
    calls: u32,
    ordinal: u32,
}

impl Talk {
    fn state(state: &str) -> Say {
        Say::json(&json!({"type": "state", "state": state}))
    }

    fn transcript(&mut self, role: &str, text: &str) -> Say {
        self.ordinal += 1;
        Say::json(&json!({"type": "transcript", "role": role, "medium": "voice", "text": text, "final": true,
            "ordinal": self.ordinal}))
    }

    fn speak(&mut self, text: &str) -> Vec<Say> {
        self.has_spoken = true;
        let mut says = vec![Self::state("thinking"), Self::state("speaking"), self.transcript("agent", text)];
        let mut at = Duration::ZERO;
        for piece in speech(text, Encoding::Pcm16, self.rate) {
            at += PACE;
            says.push(Say::Binary(piece).after(at));
        }
        says.push(Self::state("listening").after(at + PACE));
        says
    }

    fn reply(&mut self, words: &str) -> Vec<Say> {
        match answer(words) {
            Some(text) => self.speak(&text),
            None => {
                self.calls += 1;
                let call = json!({"type": "client_tool_invocation", "toolName": "weather",
                    "invocationId": format!("invocation_{}", self.calls), "parameters": {"city": "Basel"}});
                vec![Self::state("thinking"), Say::json(&call)]
            }
        }
    }

    fn audio(&mut self, octets: &[u8]) -> Vec<Say> {
        if octets.len() % 2 == 1 {
            self.context.complain("half a sample");
        }
        let mut says = Vec::new();
        for turn in self.ear.hear(&Encoding::Pcm16.decode(octets)) {
            match turn {
                Turn::Started if self.has_spoken => {
                    says.extend([
                        Say::Forget,
                        Say::json(&json!({"type": "playback_clear_buffer"})),
                        Self::state("listening"),
                    ]);
                    if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
                        says.push(Say::Binary(vec![0x11; 1_600]));
                    }
                }
                Turn::Started => {}
                Turn::Stopped(words) => {
                    says.push(self.transcript("user", &words));
                    says.extend(self.reply(&words));
                }
            }
        }
        says
    }
}

impl Conversation for Talk {
    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""transcript","role":"user""#)
    }

    fn opened(&mut self) -> Vec<Say> {
        let started = json!({"type": "call_started", "callId": "call_1"});
        vec![Say::json(&started), Self::state("idle"), Self::state("listening")]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        if let Message::Binary(octets) = &message {
            return self.audio(octets);
        }
        let event = message.json();
        self.log.note(self.context.connection(), &event);
        match event["type"].as_str().unwrap_or_default() {
            "user_text_message" if event["deferResponse"] == true => Vec::new(),
            "user_text_message" => {
                let mut says = vec![Say::Forget];
                says.extend(self.reply(event["text"].as_str().unwrap_or_default()));
                says
            }
            "forced_agent_message" => self.speak(event["content"].as_str().unwrap_or_default()),
            "client_tool_result" => {
                let is_answer = event["result"].is_string() || event["errorMessage"].is_string();
                if event["invocationId"] != format!("invocation_{}", self.calls) || !is_answer {
                    self.context.complain("the result of a call that nobody made");
                }
                self.speak(TOOL_ANSWER)
            }
            "ping" => vec![Say::json(&json!({"type": "pong", "timestamp": event["timestamp"]}))],
            kind => {
                self.context.complain(format!("no such message: {kind}"));
                Vec::new()
            }
        }
    }
}
