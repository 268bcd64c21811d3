//! AssemblyAI's Universal-Streaming v3.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::{Encoding, Timed},
};

/// Silence that ends a turn.
const ENDED: Duration = Duration::from_millis(400);
/// Audio ahead of the clock that is borne with, and how much faster than the clock it may come.
const AHEAD: Duration = Duration::from_millis(1_500);
const SPEED: f64 = 1.25;

/// The vendor. Its key is `good-key`.
pub struct AssemblyAi;

impl Vendor for AssemblyAi {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/v3/ws" {
            return Err(self.http(request));
        }
        if request.header("authorization") != Some("good-key") {
            return Err(Reply::json(401, &json!({"error": "Unauthorized"})));
        }
        let encoding = match request.param("encoding") {
            Some("pcm_mulaw") => Encoding::Mulaw,
            None | Some("pcm_s16le") => Encoding::Pcm16,
            other => return Err(Reply::json(400, &json!({"error": format!("encoding {other:?}")}))),
        };
        let rate = request.param("sample_rate").and_then(|rate| rate.parse().ok());
        let Some(rate) = rate else { return Err(Reply::json(400, &json!({"error": "sample_rate"}))) };
        let formats = request.param("format_turns") == Some("true");
        Ok(Box::new(Session {
            context: request.context.clone(),
            ear: Ear::new(encoding, rate),
            told: String::new(),
            formats,
            turn: 0,
            began: Instant::now(),
            left: false,
        }))
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"error": format!("the fake answers {status}")})
    }
}

struct Session {
    context: Context,
    ear: Ear,
    told: String,
    formats: bool,
    turn: u64,
    began: Instant,
    left: bool,
}

impl Session {
    fn turn(&self, words: &[Timed], ends: bool, formatted: bool) -> Say {
        let confidence = self.ear.confidence(words);
        let list: Vec<Value> = words
            .iter()
            .map(|w| {
                let (start, end) = (w.start.as_millis() as u64, w.end.as_millis() as u64);
                json!({"text": w.text, "start": start, "end": end, "confidence": confidence, "word_is_final": ends})
            })
            .collect();
        // Until the end, the transcript lacks the last word: it may still change.
        let stands = if ends { words.len() } else { words.len().saturating_sub(1) };
        Say::json(&json!({"type": "Turn", "turn_order": self.turn, "turn_is_formatted": formatted, "end_of_turn": ends,
            "transcript": joined(&words[..stands]), "words": list, "end_of_turn_confidence": 0.5}))
    }

    fn end(&mut self) -> Vec<Say> {
        let words = self.ear.report();
        self.told.clear();
        let mut says = vec![self.turn(&words, true, false)];
        if self.formats {
            says.push(self.turn(&words, true, true));
        }
        self.turn += 1;
        says
    }
}

impl Conversation for Session {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "Begin", "id": "s", "expires_at": 4_000_000_000_u64}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        if let Message::Binary(octets) = &message {
            let length = self.ear.take(octets);
            if length < Duration::from_millis(50) || length > Duration::from_secs(1) {
                self.context.complain(format!("a message of {} ms", length.as_millis()));
                return vec![Say::Close(3007, "Input Duration Violation".into())];
            }
            if self.ear.audio() > self.began.elapsed().mul_f64(SPEED) + AHEAD {
                self.context.complain("audio faster than real time");
                return vec![Say::Close(3007, "Audio Transmission Rate Exceeded".into())];
            }
            if self.ear.has_paused(ENDED) {
                return self.end();
            }
            let words = self.ear.words();
            let text = joined(&words);
            if text == self.told {
                return Vec::new();
            }
            self.told = text;
            return vec![self.turn(&words, false, false)];
        }
        match message.json()["type"].as_str() {
            Some("ForceEndpoint") if self.ear.text().is_empty() => Vec::new(),
            Some("ForceEndpoint") => self.end(),
            Some("KeepAlive") => Vec::new(),
            Some("UpdateConfiguration") => {
                self.ear.expect(&message.json()["keyterms_prompt"]);
                Vec::new()
            }
            Some("Terminate") => {
                self.left = true;
                let audio = self.ear.audio().as_secs();
                let end =
                    json!({"type": "Termination", "audio_duration_seconds": audio, "session_duration_seconds": 1});
                vec![Say::json(&end), Say::Close(1000, String::new())]
            }
            other => {
                self.context.complain(format!("a message of type {other:?}"));
                vec![Say::Close(3006, "Invalid Message".into())]
            }
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""end_of_turn":true"#)
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.left {
            self.context.complain("it left without Terminate: the session goes on and is billed");
        }
    }
}
