//! Cartesia's text to speech: the WebSocket with contexts, the list of voices.
//!
//! Rules it keeps the client to: the key in `authorization`, a version, all fields of a request, no context used twice. A
//! cancelled context that has begun is spoken to its end, as the vendor does it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    voice::{self, Encoding, Voice},
};

/// The key that is accepted.
pub const KEY: &str = "key-of-cartesia";
const FIRST: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(8);
const CHUNK_MS: usize = 100;

/// The vendor.
#[derive(Default)]
pub struct Cartesia;

fn authorised(request: &Request) -> Result<(), Reply> {
    if request.header("cartesia-version").is_none() && request.param("cartesia_version").is_none() {
        request.context.complain("no cartesia-version");
    }
    match request.credentials("Bearer").or_else(|| request.header("x-api-key")) {
        Some(KEY) => Ok(()),
        _ => Err(Reply::json(401, &json!({"title": "Unauthorized", "message": "Invalid API key", "status_code": 401}))),
    }
}

impl Vendor for Cartesia {
    fn http(&self, request: &Request) -> Reply {
        if let Err(refusal) = authorised(request) {
            return refusal;
        }
        if request.path != "/voices" {
            request.context.complain(format!("no such resource: {} {}", request.method, request.path));
            return Reply::json(404, &json!({"message": "not found"}));
        }
        let voice = |id: &str| {
            json!({
                "id": id, "name": id.to_uppercase(), "language": "en", "access": "public", "description": "",
                "created_at": "2026-01-01T00:00:00Z", "is_owner": false, "locales": [], "tagline": "", "visibility": "all",
            })
        };
        let page = match request.param("starting_after") {
            None => vec![voice("ann")],
            Some("ann") => vec![voice("ben")],
            Some(_) => Vec::new(),
        };
        Reply::json(200, &json!({"data": page}))
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        authorised(request)?;
        if request.path != "/tts/websocket" {
            return Err(self.http(request));
        }
        Ok(Box::new(Talk { context: request.context.clone(), used: BTreeSet::new() }))
    }
}

struct Talk {
    context: Context,
    used: BTreeSet<String>,
}

impl Talk {
    fn error(&self, id: &str, status: u16, title: &str) -> Vec<Say> {
        let error = json!({
            "type": "error", "context_id": id, "done": true, "status_code": status, "title": title,
            "message": "the fake does not like it", "error_code": "fake",
        });
        vec![Say::json(&error)]
    }
}

impl Conversation for Talk {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        let message = message.json();
        let Some(id) = message["context_id"].as_str() else {
            self.context.complain("a message without context_id");
            return Vec::new();
        };
        if message["cancel"] == true {
            self.context.note("told to stop");
            if !self.used.contains(id) {
                self.context.complain("a cancel for a context that was never heard of");
            }
            return Vec::new();
        }
        if !self.used.insert(id.to_owned()) {
            self.context.complain("a context that is used twice");
        }
        let format = &message["output_format"];
        let encoding = match (format["container"].as_str(), format["encoding"].as_str()) {
            (Some("raw"), Some("pcm_mulaw")) => Encoding::Mulaw,
            (Some("raw"), Some("pcm_alaw")) => Encoding::Alaw,
            (Some("raw"), Some("pcm_s16le")) => Encoding::Pcm16,
            (Some("raw"), Some("pcm_f32le")) => Encoding::F32,
            _ => return self.error(id, 400, "invalid output_format"),
        };
        let Some(rate) = format["sample_rate"].as_u64().and_then(|rate| u32::try_from(rate).ok()) else {
            return self.error(id, 400, "invalid sample_rate");
        };
        self.context.note(format!("{encoding:?} {rate}"));
        if message["model_id"].as_str().is_none() {
            self.context.complain("no model_id");
        }
        match message["voice"]["id"].as_str().or_else(|| message["voice"].as_str()) {
            None => self.context.complain("no voice"),
            Some("nobody") => return self.error(id, 404, "voice not found"),
            Some("broke") => return self.error(id, 402, "out of credits"),
            Some(_) => {}
        }
        let text = message["transcript"].as_str().unwrap_or_default();
        let voice = Voice::default();
        let samples = voice.speak(text, rate);
        let mut says = Vec::new();
        let mut at = FIRST;
        for chunk in samples.chunks(rate as usize / 1_000 * CHUNK_MS) {
            let chunk = json!({
                "type": "chunk", "context_id": id, "done": false, "status_code": 206, "step_time": 4.2,
                "data": voice::base64(&encoding.encode(chunk)),
            });
            says.push(Say::json(&chunk).after(at));
            at += GAP;
        }
        if message["add_timestamps"] == true {
            let words = voice.words(text);
            let of = |value: &dyn Fn(&voice::Timed) -> Value| -> Vec<Value> { words.iter().map(value).collect() };
            let times = json!({
                "type": "timestamps", "context_id": id, "done": false, "status_code": 206,
                "word_timestamps": {
                    "words": of(&|w| json!(w.text)),
                    "start": of(&|w| json!(w.start.as_secs_f64())),
                    "end": of(&|w| json!(w.end.as_secs_f64())),
                },
            });
            says.push(Say::json(&times).after(FIRST));
        }
        let done = json!({"type": "done", "context_id": id, "done": true, "status_code": 200});
        says.push(Say::json(&done).after(at));
        says
    }
}
