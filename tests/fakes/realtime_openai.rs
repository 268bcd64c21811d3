//! OpenAI Realtime, as general availability speaks it.

use super::realtime_script::{Ear, Log, TOOL_ANSWER, Turn, answer, speech};
use super::voice::{self, Encoding};
use super::{Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The time between two pieces of 100 ms.
const PACE: Duration = Duration::from_millis(15);

/// The vendor.
pub struct OpenAiRealtime {
    pub key: &'static str,
    pub log: Log,
}

impl Vendor for OpenAiRealtime {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.credentials("Bearer") != Some(self.key) {
            let error =
                json!({"error": {"type": "invalid_request_error", "code": "invalid_api_key", "message": "wrong"}});
            return Err(Reply::json(401, &error));
        }
        if request.path != "/v1/realtime" || request.param("model") != Some("gpt-realtime-2.1") {
            request.context.complain("it is /v1/realtime?model=…");
        }
        if request.header("openai-beta").is_some() {
            request.context.complain("`OpenAI-Beta` asks for the shape that is withdrawn");
        }
        Ok(Box::new(Talk {
            context: request.context.clone(),
            log: self.log.clone(),
            session: Value::Null,
            ear: Ear::new(8_000),
            active: None,
            responses: 0,
            turns: 0,
            sent_ms: 0,
            calls: Vec::new(),
            last_words: String::new(),
        }))
    }
}

struct Talk {
    context: Context,
    log: Log,
    session: Value,
    ear: Ear,
    /// The response under way, and when it is done.
    active: Option<(u32, Instant)>,
    responses: u32,
    /// Turns of the caller that were transcribed.
    turns: u32,
    /// Audio of the last item.
    sent_ms: u64,
    calls: Vec<String>,
    last_words: String,
}

impl Talk {
    fn format(&self, side: &str) -> (Encoding, u32) {
        match self.session["audio"][side]["format"]["type"].as_str() {
            Some("audio/pcmu") => (Encoding::Mulaw, 8_000),
            Some("audio/pcma") => (Encoding::Alaw, 8_000),
            Some("audio/pcm") if self.session["audio"][side]["format"]["rate"] == 24_000 => (Encoding::Pcm16, 24_000),
            _ => {
                self.context.complain(format!("an unknown {side} format"));
                (Encoding::Mulaw, 8_000)
            }
        }
    }

    fn is_local(&self) -> bool {
        self.session["audio"]["input"]["turn_detection"].is_null()
    }

    fn error(&self, code: &str, of: &Value) -> Say {
        let error = json!({
            "type": "invalid_request_error", "code": code, "message": code, "param": null, "event_id": of["event_id"],
        });
        Say::json(&json!({"type": "error", "event_id": "e", "error": error}))
    }

    fn respond(&mut self, text: Option<String>) -> Vec<Say> {
        self.responses += 1;
        let n = self.responses;
        let (id, item) = (format!("resp_{n}"), format!("item_{n}"));
        let mut says = vec![json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})];
        let mut at = Duration::ZERO;
        let mut timed = Vec::new();
        let output = match &text {
            Some(text) => {
                self.sent_ms = 0;
                let (encoding, rate) = self.format("output");
                says.push(json!({"type": "response.output_item.added", "response_id": id, "item": {"id": item, "type": "message"}}));
                for word in text.split_inclusive(' ') {
                    says.push(json!({
                        "type": "response.output_audio_transcript.delta", "response_id": id, "item_id": item,
                        "output_index": 0, "content_index": 0, "delta": word,
                    }));
                }
                for piece in speech(text, encoding, rate) {
                    at += PACE;
                    self.sent_ms += 100;
                    timed.push((at, json!({
                        "type": "response.output_audio.delta", "response_id": id, "item_id": item, "output_index": 0,
                        "content_index": 0, "delta": voice::base64(&piece),
                    })));
                }
                timed.push((at, json!({"type": "response.output_audio.done", "response_id": id, "item_id": item})));
                json!([{"id": item, "type": "message"}])
            }
            None => {
                let call = format!("call_{n}");
                self.calls.push(call.clone());
                let goodbye = self.last_words.contains("stop");
                let (name, arguments) = if goodbye { ("exit_done", "{}") } else { ("weather", "{\"city\":\"Basel\"}") };
                let call = json!({
                    "id": item, "type": "function_call", "status": "completed", "call_id": call, "name": name,
                    "arguments": arguments,
                });
                timed.push((at, json!({"type": "response.output_item.done", "response_id": id, "item": call})));
                json!([call])
            }
        };
        let usage = json!({"input_tokens": 30, "output_tokens": 20, "input_token_details": {"cached_tokens": 10}});
        let response = json!({"id": id, "status": "completed", "output": output, "usage": usage});
        timed.push((at, json!({"type": "response.done", "response": response})));
        self.active = Some((n, Instant::now() + at));
        let at_once = says.iter().map(Say::json);
        at_once.chain(timed.iter().map(|(at, event)| Say::json(event).after(*at))).collect()
    }

    fn cancelled(&mut self, reason: &str) -> Vec<Say> {
        let Some((n, _)) = self.active.take().filter(|(_, done)| *done > Instant::now()) else { return Vec::new() };
        let mut says = vec![Say::Forget];
        if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
            let audio = voice::base64(&[0x55; 800]);
            let late = json!({
                "type": "response.output_audio.delta", "response_id": format!("resp_{n}"), "content_index": 0,
                "item_id": format!("item_{n}"), "delta": audio,
            });
            says.extend([Say::json(&late), Say::json(&late)]);
        }
        let response = json!({
            "id": format!("resp_{n}"), "status": "cancelled", "status_details": {"type": "cancelled", "reason": reason},
        });
        says.push(Say::json(&json!({"type": "response.done", "response": response})));
        says
    }

    fn turn(&mut self, words: &str) -> Vec<Say> {
        self.last_words = words.to_owned();
        let mut says = self.respond(answer(words));
        says.push(self.transcript(words));
        says
    }

    /// The caller's words, under the name of their item.
    fn transcript(&mut self, words: &str) -> Say {
        self.turns += 1;
        Say::json(&json!({
            "type": "conversation.item.input_audio_transcription.completed", "item_id": format!("u{}", self.turns),
            "content_index": 0, "transcript": words,
        }))
    }

    fn is_active(&self) -> bool {
        self.active.is_some_and(|(_, done)| done > Instant::now())
    }
}

impl Conversation for Talk {
    fn is_final(&self, text: &str) -> bool {
        text.contains("input_audio_transcription.completed")
    }

    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "session.created", "session": {"id": "sess_1", "type": "realtime"}}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let event = message.json();
        let kind = event["type"].as_str().unwrap_or_default();
        if self.session.is_null() && kind != "session.update" {
            self.context.complain(format!("`{kind}` came before the session was configured"));
        }
        if kind == "input_audio_buffer.append" {
            let (encoding, rate) = self.format("input");
            if self.ear.is_empty() {
                self.ear = Ear::new(rate);
            }
            let Some(octets) = event["audio"].as_str().and_then(voice::from_base64) else {
                self.context.complain("the audio is no base64");
                return Vec::new();
            };
            let samples = encoding.decode(&octets);
            if self.is_local() {
                self.ear.gather(&samples);
                return Vec::new();
            }
            let turns = self.ear.hear(&samples);
            let mut says = Vec::new();
            for turn in turns {
                match turn {
                    Turn::Started => {
                        says.push(Say::json(&json!({"type": "input_audio_buffer.speech_started", "item_id": "u"})));
                        says.extend(self.cancelled("turn_detected"));
                    }
                    Turn::Stopped(words) => {
                        says.push(Say::json(&json!({"type": "input_audio_buffer.speech_stopped", "item_id": "u"})));
                        says.extend(self.turn(&words));
                    }
                }
            }
            return says;
        }
        self.log.note(self.context.connection(), &event);
        match kind {
            "session.update" => {
                if event["session"]["type"] != "realtime" {
                    self.context.complain("`session.type` is mandatory");
                    return vec![self.error("missing_required_parameter", &event)];
                }
                if event["session"]["input_audio_format"].is_string() || event["session"]["modalities"].is_array() {
                    self.context.complain("keys of the beta");
                }
                if self.session.is_null() {
                    self.session = event["session"].clone();
                }
                vec![Say::json(&json!({"type": "session.updated", "session": self.session}))]
            }
            "input_audio_buffer.commit" => {
                if self.ear.is_empty() {
                    return vec![self.error("input_audio_buffer_commit_empty", &event)];
                }
                self.last_words = self.ear.take();
                let committed =
                    json!({"type": "input_audio_buffer.committed", "item_id": format!("u{}", self.turns + 1)});
                let words = self.last_words.clone();
                vec![Say::json(&committed), self.transcript(&words)]
            }
            "response.create" => {
                if self.is_active() {
                    return vec![self.error("conversation_already_has_active_response", &event)];
                }
                if let Some(words) = event["response"]["instructions"].as_str() {
                    let words = words.rsplit(": ").next().unwrap_or_default().to_owned();
                    return self.respond(Some(words));
                }
                let words = self.last_words.clone();
                self.respond(if words == "tool" { Some(TOOL_ANSWER.into()) } else { answer(&words) })
            }
            "response.cancel" => match self.is_active() {
                false => vec![self.error("response_cancel_not_active", &event)],
                true => self.cancelled("client_cancelled"),
            },
            "conversation.item.create" => {
                let item = &event["item"];
                if item["type"] == "function_call" {
                    self.calls.push(item["call_id"].as_str().unwrap_or_default().to_owned());
                }
                if item["type"] == "function_call_output" {
                    if !self.calls.iter().any(|call| item["call_id"] == call.as_str()) {
                        self.context.complain("the output of a call that nobody made");
                    }
                    self.last_words = "tool".into();
                }
                if item["role"] == "user" {
                    self.last_words = item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
                }
                vec![Say::json(&json!({"type": "conversation.item.added", "item": item}))]
            }
            "conversation.item.truncate" => {
                if event["audio_end_ms"].as_u64().is_none_or(|end| end > self.sent_ms) {
                    self.context.complain("cut behind the end of the audio");
                }
                vec![Say::json(&json!({"type": "conversation.item.truncated", "item_id": event["item_id"]}))]
            }
            "conversation.item.delete" => Vec::new(),
            _ => {
                self.context.complain(format!("no such event: {kind}"));
                Vec::new()
            }
        }
    }
}
