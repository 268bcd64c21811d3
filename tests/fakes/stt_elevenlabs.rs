//! ElevenLabs' Scribe, realtime.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::{Encoding, from_base64},
};

/// The vendor. Its key is `good-key`.
pub struct ElevenLabs {
    /// Without a chunk for so long, it closes.
    pub patience: Duration,
}

impl Vendor for ElevenLabs {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/v1/speech-to-text/realtime" {
            return Err(self.http(request));
        }
        if request.header("xi-api-key") != Some("good-key") {
            return Err(Reply::json(
                401,
                &json!({"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}),
            ));
        }
        let (encoding, rate) = match request.param("audio_format") {
            Some("ulaw_8000") => (Encoding::Mulaw, 8_000),
            Some("pcm_8000") => (Encoding::Pcm16, 8_000),
            Some("pcm_16000") => (Encoding::Pcm16, 16_000),
            other => return Err(Reply::json(422, &json!({"detail": format!("audio_format {other:?}")}))),
        };
        if request.param("model_id").is_none() || request.param("commit_strategy") != Some("manual") {
            request.context.complain("no model_id, or commits that this fake does not make");
        }
        Ok(Box::new(Session {
            context: request.context.clone(),
            ear: Ear::new(encoding, rate),
            rate,
            in_detail: request.param("include_timestamps") == Some("true"),
            told: String::new(),
            idle: Duration::ZERO,
            patience: self.patience,
        }))
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"detail": {"status": "refused", "message": format!("the fake answers {status}")}})
    }
}

struct Session {
    context: Context,
    ear: Ear,
    rate: u32,
    in_detail: bool,
    told: String,
    idle: Duration,
    patience: Duration,
}

impl Conversation for Session {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"message_type": "session_started", "session_id": "s", "config": {}}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        self.idle = Duration::ZERO;
        let json = message.json();
        let octets = json["audio_base_64"].as_str().and_then(from_base64);
        let (Some("input_audio_chunk"), Some(octets), true) =
            (json["message_type"].as_str(), octets, json["sample_rate"] == self.rate)
        else {
            self.context.complain("a message that is no chunk of audio as announced");
            return vec![Say::json(&json!({"message_type": "input_error", "error": "bad chunk"}))];
        };
        self.ear.take(&octets);
        if json["commit"] == true {
            if self.ear.unreported() < Duration::from_millis(300) {
                self.context.complain("a commit of less than 0.3 s");
                return vec![Say::json(&json!({"message_type": "commit_throttled", "error": "too little"})), Say::Drop];
            }
            let words = self.ear.report();
            self.told.clear();
            let mut says = vec![Say::json(&json!({"message_type": "committed_transcript", "text": joined(&words)}))];
            if self.in_detail {
                let list: Vec<Value> = words
                    .iter()
                    .map(|w| json!({"text": w.text, "start": w.start.as_secs_f64(), "end": w.end.as_secs_f64()}))
                    .collect();
                let kind = "committed_transcript_with_timestamps";
                says.push(Say::json(&json!({"message_type": kind, "text": joined(&words), "words": list})));
            }
            return says;
        }
        let text = self.ear.text();
        if text == self.told {
            return Vec::new();
        }
        self.told.clone_from(&text);
        vec![Say::json(&json!({"message_type": "partial_transcript", "text": text}))]
    }

    fn elapsed(&mut self) -> Vec<Say> {
        self.idle += Duration::from_millis(10);
        if self.idle < self.patience {
            return Vec::new();
        }
        let error = json!({"message_type": "insufficient_audio_activity", "error": "no audio"});
        vec![Say::json(&error), Say::Close(1008, "inactivity".into())]
    }

    fn ticks(&self) -> bool {
        true
    }

    fn closed(&mut self, code: Option<u16>) {
        if code != Some(1000) {
            self.context.complain(format!("it left with {code:?}"));
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""committed_transcript"#)
    }

    fn unknown(&self) -> String {
        r#"{"message_type":"fake_unknown","note":"a client ignores this"}"#.into()
    }
}
