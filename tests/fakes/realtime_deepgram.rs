//! Deepgram's Voice Agent.

use super::realtime_script::{Ear, Log, TOOL_ANSWER, Turn, answer, speech};
use super::voice::Encoding;
use super::{Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};
use serde_json::{Value, json};
use std::time::Duration;

/// The time between two pieces of 100 ms.
const PACE: Duration = Duration::from_millis(15);

/// The vendor.
pub struct DeepgramAgent {
    pub key: &'static str,
    pub log: Log,
}

impl Vendor for DeepgramAgent {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.credentials("Token") != Some(self.key) {
            return Err(Reply::json(401, &json!({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."})));
        }
        if request.path != "/v1/agent/converse" || !request.query.is_empty() {
            request.context.complain("it is /v1/agent/converse, without a query");
        }
        Ok(Box::new(Talk {
            context: request.context.clone(),
            log: self.log.clone(),
            format: None,
            ear: Ear::new(8_000),
            calls: 0,
        }))
    }
}

struct Talk {
    context: Context,
    log: Log,
    /// In and out, once the settings are applied.
    format: Option<((Encoding, u32), (Encoding, u32))>,
    ear: Ear,
    calls: u32,
}

impl Talk {
    fn format(&self, audio: &Value) -> (Encoding, u32) {
        let encoding = match audio["encoding"].as_str() {
            Some("mulaw") => Encoding::Mulaw,
            Some("alaw") => Encoding::Alaw,
            Some("linear16") => Encoding::Pcm16,
            _ => {
                self.context.complain("an unknown encoding");
                Encoding::Mulaw
            }
        };
        (encoding, audio["sample_rate"].as_u64().and_then(|rate| u32::try_from(rate).ok()).unwrap_or(8_000))
    }

    fn speak(&self, text: &str) -> Vec<Say> {
        let (encoding, rate) = self.format.map_or((Encoding::Mulaw, 8_000), |(_, out)| out);
        let mut says = vec![
            Say::json(
                &json!({"type": "AgentStartedSpeaking", "total_latency": 0.5, "tts_latency": 0.1, "ttt_latency": 0.3}),
            ),
            Say::json(&json!({"type": "ConversationText", "role": "assistant", "content": text})),
        ];
        let mut at = Duration::ZERO;
        for piece in speech(text, encoding, rate) {
            at += PACE;
            says.push(Say::Binary(piece).after(at));
        }
        says.push(Say::json(&json!({"type": "AgentAudioDone"})).after(at));
        says
    }

    fn reply(&mut self, words: &str) -> Vec<Say> {
        let mut says = vec![
            Say::json(&json!({"type": "ConversationText", "role": "user", "content": words})),
            Say::json(&json!({"type": "AgentThinking", "content": "…"})),
        ];
        match answer(words) {
            Some(text) => says.extend(self.speak(&text)),
            None => {
                self.calls += 1;
                let id = format!("call_{}", self.calls);
                let function = json!({
                    "id": id, "name": "weather", "arguments": "{\"city\":\"Basel\"}", "client_side": true,
                });
                says.push(Say::json(&json!({"type": "FunctionCallRequest", "functions": [function]})));
            }
        }
        says
    }
}

impl Conversation for Talk {
    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""ConversationText","role":"user""#)
    }

    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "Welcome", "request_id": "r"}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        if let Message::Binary(octets) = &message {
            let Some(((encoding, _), _)) = self.format else {
                self.context.complain("audio before SettingsApplied");
                return Vec::new();
            };
            let mut says = Vec::new();
            for turn in self.ear.hear(&encoding.decode(octets)) {
                match turn {
                    Turn::Started => {
                        says.extend([Say::Forget, Say::json(&json!({"type": "UserStartedSpeaking"}))]);
                        if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
                            says.extend([Say::Binary(vec![0x55; 800]), Say::Binary(vec![0x55; 800])]);
                        }
                    }
                    Turn::Stopped(words) => says.extend(self.reply(&words)),
                }
            }
            return says;
        }
        let event = message.json();
        let kind = event["type"].as_str().unwrap_or_default();
        if self.format.is_none() && kind != "Settings" {
            self.context.complain(format!("`{kind}` came before Settings"));
        }
        self.log.note(self.context.connection(), &event);
        match kind {
            "Settings" => {
                let audio = &event["audio"];
                if audio["output"]["container"] != "none" {
                    self.context.complain("audio in a container");
                }
                let (input, output) = (self.format(&audio["input"]), self.format(&audio["output"]));
                self.format = Some((input, output));
                self.ear = Ear::new(input.1);
                for stage in ["listen", "think", "speak"] {
                    if event["agent"][stage]["provider"]["type"].as_str().is_none() {
                        self.context.complain(format!("no provider for `{stage}`"));
                    }
                }
                let mut says = vec![Say::json(&json!({"type": "SettingsApplied"}))];
                if let Some(greeting) = event["agent"]["greeting"].as_str() {
                    says.extend(self.speak(greeting));
                }
                says
            }
            "FunctionCallResponse" => {
                if event["id"] != format!("call_{}", self.calls) || event["name"] != "weather" {
                    self.context.complain("the answer of a call that nobody made");
                }
                self.speak(TOOL_ANSWER)
            }
            "InjectUserMessage" => self.reply(event["content"].as_str().unwrap_or_default()),
            "KeepAlive" | "ForceEndTurn" => Vec::new(),
            "UpdateThink" => vec![Say::json(&json!({"type": "ThinkUpdated"}))],
            _ => {
                self.context.complain(format!("no such message: {kind}"));
                Vec::new()
            }
        }
    }
}
