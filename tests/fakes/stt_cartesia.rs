//! Cartesia's Ink: words when asked for, and turns.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, language},
    voice::Encoding,
};

/// Silence that ends a turn.
const ENDED: Duration = Duration::from_millis(400);

/// The vendor. Its key is `good-key`.
pub struct Cartesia;

impl Vendor for Cartesia {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        let turns = match request.path.as_str() {
            "/stt/websocket" => false,
            "/stt/turns/websocket" => true,
            _ => return Err(self.http(request)),
        };
        if request.credentials("Bearer") != Some("good-key") {
            return Err(Reply::json(401, &json!({"error_code": "unauthorized", "message": "Invalid API key"})));
        }
        if request.header("cartesia-version").is_none_or(|version| version.len() != 10) {
            request.context.complain("no version is pinned");
        }
        let encoding = match request.param("encoding") {
            Some("pcm_mulaw") => Encoding::Mulaw,
            Some("pcm_alaw") => Encoding::Alaw,
            Some("pcm_s16le") => Encoding::Pcm16,
            other => return Err(Reply::json(400, &json!({"message": format!("encoding {other:?}")}))),
        };
        let rate = request.param("sample_rate").and_then(|rate| rate.parse().ok());
        let Some(rate) = rate else { return Err(Reply::json(400, &json!({"message": "sample_rate"}))) };
        let (context, ear) = (request.context.clone(), Ear::new(encoding, rate));
        Ok(Box::new(Session { context, ear, turns, told: String::new(), left: false }))
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"error_code": "refused", "message": format!("the fake answers {status}"), "status_code": status})
    }
}

struct Session {
    context: Context,
    ear: Ear,
    turns: bool,
    told: String,
    left: bool,
}

impl Session {
    fn words(&self, text: &str, is_final: bool, language: &str) -> Say {
        let said = json!({
            "type": "transcript", "text": text, "is_final": is_final, "language": language, "request_id": "r",
        });
        Say::json(&said)
    }

    fn audio(&mut self) -> Vec<Say> {
        let text = self.ear.text();
        if self.turns && self.ear.has_paused(ENDED) {
            self.ear.report();
            self.told.clear();
            let end = Say::json(&json!({"type": "turn.end", "transcript": text, "request_id": "r"}));
            return vec![end];
        }
        if text == self.told {
            return Vec::new();
        }
        let first = self.told.is_empty();
        self.told.clone_from(&text);
        if !self.turns {
            return vec![self.words(&text, false, language(&text))];
        }
        let start = first.then(|| Say::json(&json!({"type": "turn.start", "request_id": "r"})));
        let update = Say::json(&json!({"type": "turn.update", "transcript": text, "request_id": "r"}));
        start.into_iter().chain([update]).collect()
    }
}

fn is_close(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|message| message["type"] == "close")
}

impl Conversation for Session {
    fn opened(&mut self) -> Vec<Say> {
        let connected = self.turns.then(|| Say::json(&json!({"type": "connected", "request_id": "r"})));
        connected.into_iter().collect()
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let text = match message {
            Message::Binary(octets) => {
                self.ear.take(&octets);
                return self.audio();
            }
            Message::Text(text) => text,
        };
        match (self.turns, text.as_str()) {
            (false, "finalize") => {
                let text = self.ear.text();
                self.ear.report();
                self.told.clear();
                // Cut in the middle of a word: the pieces are to be put together as they are.
                let (one, two) = text.split_at(text.len() / 2);
                let done = Say::json(&json!({"type": "flush_done", "request_id": "r"}));
                let tag = language(&text);
                vec![self.words(one, true, tag), self.words(two, true, tag), done]
            }
            (false, "close") => {
                self.left = true;
                vec![Say::json(&json!({"type": "done"})), Say::Close(1000, String::new())]
            }
            (true, text) if is_close(text) => {
                self.left = true;
                vec![Say::Close(1000, String::new())]
            }
            _ => {
                self.context.complain(format!("this interface knows no {text}"));
                vec![Say::json(&json!({"type": "error", "status_code": 400, "message": "unknown message"}))]
            }
        }
    }

    // The pieces of a transcript are no results of their own: the one behind another adds to it.
    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""turn.end""#)
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.left {
            self.context.complain("it left without a close of its own kind");
        }
    }
}
