//! A Whisper-compatible server for recordings.

use serde_json::json;

use super::{Reply, Request, Vendor, stt_ear::Ear, voice::Encoding};

/// The server. Its key is `good-key`.
pub struct Whisper;

impl Vendor for Whisper {
    fn http(&self, request: &Request) -> Reply {
        let complain = |what: &str| request.context.complain(what);
        // Groq has its own prefix.
        let path = request.path.strip_prefix("/openai").unwrap_or(&request.path);
        if (request.method.as_str(), path) != ("POST", "/v1/audio/transcriptions") {
            complain("no such resource");
            return Reply::json(404, &json!({"error": {"message": "not found"}}));
        }
        if request.credentials("Bearer") != Some("good-key") {
            return Reply::json(401, &json!({"error": {"message": "Incorrect API key"}}));
        }
        let boundary = request.header("content-type").and_then(|kind| kind.split_once("boundary="));
        let Some((_, boundary)) = boundary else {
            complain("no form");
            return Reply::json(400, &json!({"error": {"message": "no form"}}));
        };
        let find = |octets: &[u8], what: &[u8]| octets.windows(what.len()).position(|part| part == what);
        let field = |name: &str| {
            let marker = format!("name=\"{name}\"");
            let from = find(&request.body, marker.as_bytes())?;
            let part = &request.body[from..];
            let part = &part[find(part, b"\r\n\r\n")? + 4..];
            Some(part[..find(part, format!("\r\n--{boundary}").as_bytes())?].to_vec())
        };
        if field("model").is_none_or(|model| model.is_empty()) {
            return Reply::json(400, &json!({"error": {"message": "you must provide a model parameter"}}));
        }
        let Some(wav) = field("file").filter(|file| file.starts_with(b"RIFF")) else {
            complain("no file");
            return Reply::json(400, &json!({"error": {"message": "no file"}}));
        };
        let rate = wav.get(24..28).and_then(|rate| rate.try_into().ok()).map_or(8_000, u32::from_le_bytes);
        let mut ear = Ear::new(Encoding::Pcm16, rate);
        ear.take(wav.get(44..).unwrap_or_default());
        Reply::json(200, &json!({"text": format!(" {}", ear.text()), "usage": {"type": "duration", "seconds": 1}}))
    }
}
