//! A Vosk server: one reply to each binary message, and to the end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::Encoding,
};

/// Silence that ends an utterance.
const ENDED: Duration = Duration::from_millis(500);

/// The server. It has no key.
pub struct Vosk;

impl Vendor for Vosk {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.header("authorization").is_some() {
            request.context.complain("a key for a server that has none");
        }
        Ok(Box::new(Session { context: request.context.clone(), ear: None, left: false }))
    }
}

struct Session {
    context: Context,
    ear: Option<Ear>,
    left: bool,
}

impl Session {
    fn result(&mut self) -> Say {
        let words = self.ear.as_mut().map(Ear::report).unwrap_or_default();
        let list: Vec<Value> = words
            .iter()
            .map(|w| json!({"word": w.text, "start": w.start.as_secs_f64(), "end": w.end.as_secs_f64(), "conf": 0.9}))
            .collect();
        Say::json(&if list.is_empty() { json!({"text": ""}) } else { json!({"text": joined(&words), "result": list}) })
    }
}

impl Conversation for Session {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        match message {
            Message::Text(text) if text.contains("config") => {
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                let rate = json["config"]["sample_rate"].as_u64().and_then(|rate| u32::try_from(rate).ok());
                if self.ear.is_some() || rate.is_none() {
                    self.context.complain("a configuration that comes too late or names no rate");
                }
                self.ear = Some(Ear::new(Encoding::Pcm16, rate.unwrap_or(8_000)));
                Vec::new()
            }
            Message::Text(text) if text == r#"{"eof" : 1}"# => {
                self.left = true;
                vec![self.result(), Say::Close(1000, String::new())]
            }
            Message::Text(text) => {
                self.context.complain(format!("it takes this for audio: {text}"));
                vec![Say::Drop]
            }
            Message::Binary(octets) => {
                let ear = self.ear.get_or_insert_with(|| Ear::new(Encoding::Pcm16, 8_000));
                ear.take(&octets);
                if ear.has_paused(ENDED) {
                    return vec![self.result()];
                }
                vec![Say::json(&json!({"partial": ear.text()}))]
            }
        }
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.left {
            self.context.complain("it left without the end");
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.starts_with(r#"{"text""#)
    }

    fn unknown(&self) -> String {
        r#"{"note":"a client ignores this"}"#.into()
    }
}
