//! Speech by request: OpenAI's `audio/speech` with the servers that copy it, and Piper.
//!
//! Rules they keep the client to: the key behind `Bearer`, all fields of a request, texts of at most 4,096 characters.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Reply, Request, Vendor,
    voice::{self, Encoding, Voice},
};

/// The key that OpenAI accepts; [`POOR`] has no credit.
pub const KEY: &str = "key-of-openai";
/// A key without credit.
pub const POOR: &str = "poor-key";
const FIRST: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(8);
/// Octets of a chunk: odd, so that samples are cut.
const CHUNK: usize = 4_801;
const MOST: usize = 4_096;

/// OpenAI, or a server that copies it.
#[derive(Default)]
pub struct OpenAi;

fn error(status: u16, code: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": format!("the fake says {code}"), "type": "fake", "code": code}}))
}

impl Vendor for OpenAi {
    fn http(&self, request: &Request) -> Reply {
        match request.credentials("Bearer") {
            Some(POOR) => return error(429, "insufficient_quota"),
            Some(KEY) => {}
            _ => return error(401, "invalid_api_key"),
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/models") => Reply::json(200, &json!({"object": "list", "data": []})),
            ("POST", "/v1/audio/speech") => {
                let body = request.json();
                let input = body["input"].as_str().unwrap_or_default();
                if input.chars().count() > MOST || input.is_empty() {
                    request.context.complain("an input of no or more than 4,096 characters");
                }
                if body["model"].as_str().is_none() {
                    request.context.complain("no model");
                }
                if body["voice"] == "nobody" {
                    return error(400, "invalid_voice");
                }
                let samples = Voice::default().speak(input, 24_000);
                match body["response_format"].as_str() {
                    Some("pcm") => {
                        request.context.note("Pcm16 24000");
                        let octets = Encoding::Pcm16.encode(&samples);
                        Reply::stream("application/octet-stream", voice::chunks(&octets, CHUNK, FIRST, GAP))
                    }
                    Some("wav") => {
                        request.context.note("Pcm16 16000");
                        let mut file = voice::wav(&Voice::default().speak(input, 16_000), 16_000);
                        // A server that streams does not know the length.
                        file[40..44].fill(0xFF);
                        Reply::stream("audio/wav", voice::chunks(&file, CHUNK, FIRST, GAP))
                    }
                    other => {
                        request.context.complain(format!("a format that is not for telephones: {other:?}"));
                        error(400, "invalid_format")
                    }
                }
            }
            _ => {
                request.context.complain(format!("no such resource: {} {}", request.method, request.path));
                error(404, "not_found")
            }
        }
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"error": {"message": format!("the fake answers {status}"), "type": "fake", "code": null}})
    }
}

/// Piper's HTTP server.
#[derive(Default)]
pub struct Piper;

impl Vendor for Piper {
    fn http(&self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/voices") => Reply::json(
                200,
                &json!({
                    "en_US-lessac-medium": {"dataset": "lessac", "language": {"code": "en_US"}, "quality": "medium"},
                }),
            ),
            ("POST", "/synthesize") => {
                let body = request.json();
                let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) else {
                    return Reply::whole(500, "text/html", "no text");
                };
                if body["voice"] == "nobody" {
                    return Reply::whole(404, "text/html", "no such voice");
                }
                request.context.note("Pcm16 22050");
                Reply::whole(200, "audio/wav", voice::wav(&Voice::default().speak(text, 22_050), 22_050))
            }
            _ => {
                request.context.complain(format!("no such resource: {} {}", request.method, request.path));
                Reply::whole(404, "text/html", "not found")
            }
        }
    }
}
