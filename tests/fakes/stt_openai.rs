//! OpenAI's transcription sessions of the Realtime interface.

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::{Encoding, from_base64},
};

/// The vendor. Its key is `good-key`.
pub struct OpenAi;

impl Vendor for OpenAi {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/v1/realtime" {
            return Err(self.http(request));
        }
        if request.credentials("Bearer") != Some("good-key") {
            let error = json!({"code": "invalid_api_key", "message": "Incorrect API key provided"});
            return Err(Reply::json(401, &json!({"error": error})));
        }
        if request.param("intent") != Some("transcription") || request.param("model").is_some() {
            request.context.complain("a transcription session is asked for by intent, without a model");
        }
        if request.header("openai-beta").is_some() {
            request.context.complain("the beta is over");
        }
        let context = request.context.clone();
        Ok(Box::new(Session { context, ear: None, told: 0, item: 1, named: false }))
    }
}

struct Session {
    context: Context,
    ear: Option<Ear>,
    /// Octets of the present item's words that have been told.
    told: usize,
    item: u32,
    named: bool,
}

impl Session {
    fn error(kind: &str, code: &str) -> Say {
        Say::json(&json!({"type": "error", "error": {"type": kind, "code": code, "message": code}}))
    }

    fn update(&mut self, session: &Value) -> Vec<Say> {
        let input = &session["audio"]["input"];
        let encoding = match input["format"]["type"].as_str() {
            Some("audio/pcmu") => (Encoding::Mulaw, 8_000),
            Some("audio/pcma") => (Encoding::Alaw, 8_000),
            Some("audio/pcm") if input["format"]["rate"] == 24_000 => (Encoding::Pcm16, 24_000),
            _ => return vec![Self::error("invalid_request_error", "invalid_format")],
        };
        if session["type"] != "transcription" || !input["transcription"]["model"].is_string() {
            return vec![Self::error("invalid_request_error", "invalid_model")];
        }
        if !input["turn_detection"].is_null() {
            return vec![Self::error("invalid_request_error", "turn_detection_not_supported")];
        }
        self.ear = Some(Ear::new(encoding.0, encoding.1));
        vec![Say::json(&json!({"type": "session.updated", "session": session}))]
    }

    fn event(&self, kind: &str, field: &str, text: &str) -> Say {
        let kind = format!("conversation.item.input_audio_transcription.{kind}");
        Say::json(&json!({"type": kind, "item_id": format!("item-{}", self.item), "content_index": 0, field: text}))
    }

    fn commit(&mut self) -> Vec<Say> {
        let Some(ear) = &mut self.ear else { return Vec::new() };
        if ear.unreported().as_millis() < 100 {
            return vec![Self::error("invalid_request_error", "input_audio_buffer_commit_empty")];
        }
        let text = joined(&ear.report());
        let previous = (self.item > 1).then(|| format!("item-{}", self.item - 1));
        let committed = json!({"type": "input_audio_buffer.committed", "item_id": format!("item-{}", self.item), "previous_item_id": previous});
        let says = vec![Say::json(&committed), self.event("completed", "transcript", &text)];
        (self.item, self.told, self.named) = (self.item + 1, 0, false);
        says
    }
}

impl Conversation for Session {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "session.created", "session": {"type": "transcription"}}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let json = message.json();
        match json["type"].as_str() {
            Some("session.update") => self.update(&json["session"]),
            Some("input_audio_buffer.append") => {
                let Some(ear) = &mut self.ear else {
                    self.context.complain("audio before the session is what it is to be");
                    return Vec::new();
                };
                let Some(octets) = json["audio"].as_str().and_then(from_base64) else {
                    self.context.complain("audio that is no base64");
                    return Vec::new();
                };
                ear.take(&octets);
                let text = ear.text();
                let delta = text.get(self.told..).unwrap_or_default().to_owned();
                if delta.is_empty() {
                    return Vec::new();
                }
                self.told = text.len();
                vec![self.event("delta", "delta", &delta)]
            }
            Some("input_audio_buffer.commit") => self.commit(),
            Some("input_audio_buffer.clear") => Vec::new(),
            other => {
                self.context.complain(format!("a message of type {other:?}"));
                vec![Self::error("invalid_request_error", "unknown_type")]
            }
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains("input_audio_transcription.completed")
    }

    fn closed(&mut self, code: Option<u16>) {
        if code.is_none() {
            self.context.complain("it left without a close");
        }
    }
}
