//! Deepgram's text to speech: Aura on `v1/speak`, Flux on `v2/speak`, the list of models.
//!
//! Rules it keeps the client to: the key behind `Token`, the encodings and rates there are, no more than 2,000 characters
//! a message and 20 flushes a minute, and audio only after a flush.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor,
    voice::{Encoding, Voice},
};

/// The key that is accepted.
pub const KEY: &str = "key-of-deepgram";
const FIRST: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(8);
const CHUNK_MS: usize = 100;
const MOST: usize = 2_000;
const FLUSHES: usize = 20;

/// The vendor.
#[derive(Default)]
pub struct Deepgram;

fn authorised(request: &Request) -> Result<(), Reply> {
    if request.credentials("Token") == Some(KEY) {
        return Ok(());
    }
    Err(Reply::json(401, &json!({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials.", "request_id": "r"})))
}

impl Vendor for Deepgram {
    fn http(&self, request: &Request) -> Reply {
        if let Err(refusal) = authorised(request) {
            return refusal;
        }
        if request.path != "/v1/models" {
            request.context.complain(format!("no such resource: {} {}", request.method, request.path));
            return Reply::json(404, &json!({"err_code": "NOT_FOUND", "err_msg": "not found"}));
        }
        let voice =
            json!({"name": "thalia", "canonical_name": "aura-2-thalia-en", "languages": ["en", "en-US"], "uuid": "u"});
        Reply::json(200, &json!({"stt": [], "tts": [voice]}))
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        authorised(request)?;
        let flux = match request.path.as_str() {
            "/v1/speak" => false,
            "/v2/speak" => true,
            _ => return Err(self.http(request)),
        };
        let model = request.param("model").unwrap_or_default();
        if model.starts_with("flux") != flux {
            request.context.complain(format!("{model:?} is not spoken on {}", request.path));
        }
        if model.contains("nobody") {
            let body = json!({"err_code": "INVALID_QUERY_PARAMETER", "err_msg": "No such model"});
            return Err(Reply::json(400, &body).with("dg-error", "No such model"));
        }
        let encoding = match request.param("encoding") {
            None | Some("linear16") => Encoding::Pcm16,
            Some("mulaw") => Encoding::Mulaw,
            Some("alaw") => Encoding::Alaw,
            Some(_) => return Err(Reply::json(400, &json!({"err_msg": "Unsupported encoding"}))),
        };
        let rate = request.param("sample_rate").unwrap_or("24000").parse().unwrap_or(0);
        if ![8_000, 16_000, 24_000, 32_000, 48_000].contains(&rate) || encoding != Encoding::Pcm16 && rate > 16_000 {
            return Err(Reply::json(400, &json!({"err_msg": "Unsupported sample_rate"})));
        }
        request.context.note(format!("{encoding:?} {rate}"));
        let talk = Talk {
            context: request.context.clone(),
            encoding,
            rate,
            flux,
            text: String::new(),
            flushes: 0,
            ends: 0,
            turns: 0,
        };
        Ok(Box::new(talk))
    }
}

struct Talk {
    context: Context,
    encoding: Encoding,
    rate: u32,
    flux: bool,
    text: String,
    flushes: usize,
    /// Ticks of 10 ms until the audio under way is out.
    ends: u32,
    turns: u32,
}

impl Talk {
    fn flush(&mut self) -> Vec<Say> {
        self.flushes += 1;
        if self.flushes > FLUSHES && !self.flux {
            self.context.complain("more than 20 flushes a minute");
        }
        let text = std::mem::take(&mut self.text);
        let samples = Voice::default().speak(&text, self.rate);
        let mut at = FIRST + Duration::from_millis(10) * self.ends;
        let mut says = Vec::new();
        let speech = format!("dg_sp_{:012x}", self.turns);
        self.turns += 1;
        if self.flux {
            says.push(Say::json(&json!({"type": "SpeechStarted", "speech_id": speech})).after(at));
            says.push(Say::json(&json!({"type": "Flushed"})).after(at));
        }
        for chunk in samples.chunks(self.rate as usize / 1_000 * CHUNK_MS) {
            says.push(Say::Binary(self.encoding.encode(chunk)).after(at));
            at += GAP;
        }
        let last = if self.flux {
            let length = samples.len() as u64 * 1_000 / u64::from(self.rate);
            json!({
                "type": "SpeechMetadata", "speech_id": speech, "audio_duration_ms": length,
                "input_character_count": text.len(), "billable_character_count": text.len(),
                "controls_applied": {"pronunciations_applied": 0},
            })
        } else {
            json!({"type": "Flushed", "sequence_id": self.flushes - 1})
        };
        says.push(Say::json(&last).after(at));
        self.ends = (at.as_millis() / 10) as u32 + 1;
        says
    }

    fn stop(&mut self) -> Vec<Say> {
        let active = std::mem::take(&mut self.ends) > 0;
        self.text.clear();
        let mut says = Vec::new();
        if self.flux && !active {
            return vec![Say::json(
                &json!({"type": "Warning", "code": "NO_ACTIVE_SPEECH", "description": "nothing to interrupt"}),
            )];
        }
        says.push(Say::Forget);
        if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
            let late = Voice::default().speak("late late late", self.rate);
            says.push(Say::Binary(self.encoding.encode(&late)));
        }
        says.push(Say::json(&if self.flux {
            let speech = format!("dg_sp_{:012x}", self.turns.saturating_sub(1));
            json!({"type": "SpeechInterrupted", "audio_played_ms": 100, "metadata": {"speech_id": speech}})
        } else {
            json!({"type": "Cleared", "sequence_id": self.flushes})
        }));
        says
    }
}

impl Conversation for Talk {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&if self.flux {
            json!({"type": "Connected", "request_id": "r", "model_name": "flux", "model_version": "1", "model_uuids": ["u"]})
        } else {
            json!({"type": "Metadata", "request_id": "r", "model_name": "aura", "model_version": "1", "model_uuid": "u"})
        })]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let message = message.json();
        match message["type"].as_str() {
            Some("Speak") => {
                let text = message["text"].as_str().unwrap_or_default();
                if text.chars().count() > MOST {
                    self.context.complain("a text of more than 2,000 characters");
                }
                self.text.push_str(text);
                Vec::new()
            }
            Some("Flush") => self.flush(),
            Some(kind @ ("Clear" | "Interrupt")) if (kind == "Interrupt") == self.flux => {
                self.context.note("told to stop");
                self.stop()
            }
            Some("Close") => vec![Say::Close(1000, String::new())],
            _ => {
                self.context.complain(format!("an unknown message: {message}"));
                let error = json!({"type": "Error", "code": "DATA-0000", "description": "unknown message"});
                vec![Say::json(&error), Say::Close(1008, "DATA-0000".into())]
            }
        }
    }

    fn elapsed(&mut self) -> Vec<Say> {
        self.ends = self.ends.saturating_sub(1);
        Vec::new()
    }

    fn ticks(&self) -> bool {
        self.ends > 0
    }
}
