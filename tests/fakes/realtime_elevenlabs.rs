//! ElevenLabs Agents: a signed URL over HTTP, then a WebSocket. The agent's formats are µ-law both ways.

use super::realtime_script::{Ear, Log, TOOL_ANSWER, Turn, answer, speech};
use super::voice::{self, Encoding};
use super::{Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};
use serde_json::json;
use std::time::Duration;

/// The time between two pieces of 100 ms.
const PACE: Duration = Duration::from_millis(15);

/// The vendor.
pub struct ElevenLabsAgents {
    pub key: &'static str,
    pub log: Log,
}

impl Vendor for ElevenLabsAgents {
    fn http(&self, request: &Request) -> Reply {
        if request.header("xi-api-key") != Some(self.key) {
            return Reply::json(401, &json!({"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}));
        }
        let is_right =
            request.path == "/v1/convai/conversation/get-signed-url" && request.param("agent_id") == Some("agent_1");
        if request.method != "GET" || !is_right {
            request.context.complain(format!("no such resource: {} {}", request.method, request.path));
            return Reply::json(404, &json!({"detail": "Not Found"}));
        }
        let host = request.header("host").unwrap_or_default();
        let url = format!("wss://{host}/v1/convai/conversation?agent_id=agent_1&conversation_signature=cvtkn_1");
        Reply::json(200, &json!({"signed_url": url}))
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.param("conversation_signature") != Some("cvtkn_1") {
            return Err(Reply::json(403, &json!({"detail": "forbidden"})));
        }
        if request.header("xi-api-key").is_some() {
            request.context.complain("the key goes with a signed URL");
        }
        Ok(Box::new(Talk {
            context: request.context.clone(),
            log: self.log.clone(),
            begun: false,
            ear: Ear::new(8_000),
            event: 0,
            calls: 0,
            pinged: 0,
        }))
    }
}

struct Talk {
    context: Context,
    log: Log,
    begun: bool,
    ear: Ear,
    event: u64,
    calls: u32,
    pinged: u64,
}

impl Talk {
    fn speak(&mut self, text: &str) -> Vec<Say> {
        let response = json!({"agent_response": text});
        let mut says = vec![Say::json(&json!({"type": "agent_response", "agent_response_event": response}))];
        let mut at = Duration::ZERO;
        for piece in speech(text, Encoding::Mulaw, 8_000) {
            at += PACE;
            self.event += 1;
            let audio = json!({"audio_base_64": voice::base64(&piece), "event_id": self.event});
            says.push(Say::json(&json!({"type": "audio", "audio_event": audio})).after(at));
        }
        says
    }

    fn reply(&mut self, words: &str) -> Vec<Say> {
        let event = json!({"user_transcript": words});
        let mut says = vec![Say::json(&json!({"type": "user_transcript", "user_transcription_event": event}))];
        match answer(words) {
            Some(text) => says.extend(self.speak(&text)),
            None => {
                self.calls += 1;
                let call = json!({
                    "tool_name": "weather", "tool_call_id": format!("call_{}", self.calls),
                    "parameters": {"city": "Basel"}, "expects_response": true,
                });
                says.push(Say::json(&json!({"type": "client_tool_call", "client_tool_call": call})));
            }
        }
        says
    }
}

impl Conversation for Talk {
    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""user_transcript","#)
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let event = message.json();
        if let Some(chunk) = event["user_audio_chunk"].as_str() {
            if !self.begun || event["type"].is_string() {
                self.context.complain("audio before the beginning, or with a type");
            }
            let Some(octets) = voice::from_base64(chunk) else {
                self.context.complain("the audio is no base64");
                return Vec::new();
            };
            let mut says = Vec::new();
            for turn in self.ear.hear(&Encoding::Mulaw.decode(&octets)) {
                match turn {
                    Turn::Started if self.event > 0 => {
                        let interruption = json!({"event_id": self.event});
                        says.push(Say::Forget);
                        says.push(Say::json(&json!({"type": "interruption", "interruption_event": interruption})));
                        if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
                            let audio = json!({"audio_base_64": voice::base64(&[0x55; 800]), "event_id": self.event});
                            says.push(Say::json(&json!({"type": "audio", "audio_event": audio})));
                        }
                    }
                    Turn::Started => {}
                    Turn::Stopped(words) => says.extend(self.reply(&words)),
                }
            }
            return says;
        }
        let kind = event["type"].as_str().unwrap_or_default();
        self.log.note(self.context.connection(), &event);
        if !self.begun && kind != "conversation_initiation_client_data" {
            self.context.complain(format!("`{kind}` came before the beginning"));
        }
        match kind {
            "conversation_initiation_client_data" => {
                self.begun = true;
                self.pinged = 1;
                let metadata = json!({
                    "conversation_id": "conv_1", "agent_output_audio_format": "ulaw_8000",
                    "user_input_audio_format": "ulaw_8000",
                });
                let metadata = json!({
                    "type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": metadata,
                });
                let ping = json!({"type": "ping", "ping_event": {"event_id": 1, "ping_ms": 20}});
                let mut says = vec![Say::json(&metadata), Say::json(&ping)];
                let first =
                    event["conversation_config_override"]["agent"]["first_message"].as_str().unwrap_or_default();
                if !first.is_empty() {
                    says.extend(self.speak(first));
                }
                says
            }
            "pong" => {
                if event["event_id"] != self.pinged {
                    self.context.complain("a pong to no ping");
                }
                Vec::new()
            }
            "client_tool_result" => {
                if event["tool_call_id"] != format!("call_{}", self.calls) || !event["is_error"].is_boolean() {
                    self.context.complain("the result of a call that nobody made");
                }
                self.speak(TOOL_ANSWER)
            }
            "user_message" => self.reply(event["text"].as_str().unwrap_or_default()),
            "contextual_update" | "user_activity" => Vec::new(),
            _ => {
                self.context.complain(format!("no such message: {kind}"));
                Vec::new()
            }
        }
    }
}
