//! Gemini Live. Answers in binary messages.

use super::realtime_script::{Ear, Log, TOOL_ANSWER, Turn, answer, speech};
use super::voice::{self, Encoding};
use super::{Context, Conversation, Message, Misbehaviour, Reply, Request, Say, Vendor};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The time between two pieces of 100 ms.
const PACE: Duration = Duration::from_millis(15);

/// The vendor.
pub struct GeminiLive {
    pub key: &'static str,
    pub log: Log,
}

impl Vendor for GeminiLive {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.header("x-goog-api-key") != Some(self.key) {
            return Err(Reply::json(
                403,
                &json!({"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}),
            ));
        }
        if !request.path.ends_with("v1beta.GenerativeService.BidiGenerateContent") || !request.query.is_empty() {
            request.context.complain("another path, or a query");
        }
        Ok(Box::new(Talk {
            context: request.context.clone(),
            log: self.log.clone(),
            setup: Value::Null,
            ear: None,
            activity: false,
            generating: None,
            calls: 0,
        }))
    }
}

struct Talk {
    context: Context,
    log: Log,
    setup: Value,
    ear: Option<Ear>,
    activity: bool,
    /// Until when it speaks.
    generating: Option<Instant>,
    calls: u32,
}

/// Protobuf takes both alphabets of base64 (RFC 4648 §4 and §5), and Google's own client uses the other one.
fn octets(text: &str) -> Option<Vec<u8>> {
    voice::from_base64(&text.replace('-', "+").replace('_', "/"))
}

fn say(value: &Value) -> Say {
    Say::Binary(value.to_string().into_bytes())
}

impl Talk {
    fn is_local(&self) -> bool {
        self.setup["realtimeInputConfig"]["automaticActivityDetection"]["disabled"] == true
    }

    fn speak(&mut self, text: &str) -> Vec<Say> {
        let mut says = Vec::new();
        let mut at = Duration::ZERO;
        for piece in speech(text, Encoding::Pcm16, 24_000) {
            at += PACE;
            let part = json!({"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": voice::base64(&piece)}});
            says.push(say(&json!({"serverContent": {"modelTurn": {"parts": [part]}}})).after(at));
        }
        says.push(say(&json!({"serverContent": {"outputTranscription": {"text": text}}})).after(at));
        says.push(say(&json!({"serverContent": {"generationComplete": true}})).after(at));
        self.generating = Some(Instant::now() + at);
        let usage = json!({"promptTokenCount": 30, "responseTokenCount": 20, "totalTokenCount": 50});
        says.push(say(&json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage})).after(at + PACE));
        let update = json!({"newHandle": "handle_1", "resumable": true});
        says.push(say(&json!({"sessionResumptionUpdate": update})).after(at + PACE));
        says
    }

    fn interrupted(&mut self) -> Vec<Say> {
        if self.generating.take().is_none_or(|until| until < Instant::now()) {
            return Vec::new();
        }
        let mut says = vec![Say::Forget];
        if self.context.misbehaves(Misbehaviour::LateAudioAfterCancel) {
            let part = json!({"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": voice::base64(&[0x11; 960])}});
            says.push(say(&json!({"serverContent": {"modelTurn": {"parts": [part]}}})));
        }
        says.push(say(&json!({"serverContent": {"interrupted": true}})));
        says.push(say(&json!({"serverContent": {"turnComplete": true}})));
        says
    }

    fn reply(&mut self, words: &str) -> Vec<Say> {
        match answer(words) {
            Some(text) => self.speak(&text),
            None => {
                self.calls += 1;
                let call = json!({"id": format!("call_{}", self.calls), "name": "weather", "args": {"city": "Basel"}});
                vec![say(&json!({"toolCall": {"functionCalls": [call]}}))]
            }
        }
    }

    fn turn(&mut self, words: &str) -> Vec<Say> {
        let mut says = vec![say(&json!({"serverContent": {"inputTranscription": {"text": words}}}))];
        says.extend(self.reply(words));
        says
    }

    fn audio(&mut self, audio: &Value) -> Vec<Say> {
        let kind = audio["mimeType"].as_str().or_else(|| audio["mime_type"].as_str());
        let rate = kind.and_then(|kind| kind.strip_prefix("audio/pcm;rate=")?.parse().ok());
        let (Some(rate), Some(octets)) = (rate, audio["data"].as_str().and_then(octets)) else {
            self.context.complain("audio without its rate, or no base64");
            return Vec::new();
        };
        if self.is_local() && !self.activity {
            self.context.complain("audio outside of an activity");
        }
        let is_local = self.is_local();
        let ear = self.ear.get_or_insert_with(|| Ear::new(rate));
        if is_local {
            ear.gather(&Encoding::Pcm16.decode(&octets));
            return Vec::new();
        }
        let turns = ear.hear(&Encoding::Pcm16.decode(&octets));
        let mut says = Vec::new();
        for turn in turns {
            match turn {
                Turn::Started => says.extend(self.interrupted()),
                Turn::Stopped(words) => says.extend(self.turn(&words)),
            }
        }
        says
    }
}

impl Conversation for Talk {
    fn is_final(&self, text: &str) -> bool {
        text.contains("inputTranscription")
    }

    fn writes_text_in_binary(&self) -> bool {
        true
    }

    fn unknown(&self) -> String {
        r#"{"fakeUnknown":{"note":"a client ignores this"}}"#.into()
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let mut event = message.json();
        // Protobuf takes both spellings, and Google's own client uses both.
        for (snake, camel) in [("realtime_input", "realtimeInput"), ("tool_response", "toolResponse")] {
            if let Some(inner) = event.as_object_mut().and_then(|event| event.remove(snake)) {
                event[camel] = inner;
            }
        }
        let input = &event["realtimeInput"];
        if self.setup.is_null() && event["setup"].is_null() {
            self.context.complain("the first message was not `setup`");
        }
        if input["audio"].is_object() {
            return self.audio(&input["audio"]);
        }
        self.log.note(self.context.connection(), &event);
        if event["setup"].is_object() {
            if !self.setup.is_null() {
                self.context.complain("a second setup");
            }
            self.setup = event["setup"].clone();
            if !self.setup["model"].as_str().unwrap_or_default().starts_with("models/") {
                self.context.complain("a model's name begins with `models/`");
            }
            return vec![say(&json!({"setupComplete": {}}))];
        }
        if input["activityStart"].is_object() {
            if !self.is_local() || std::mem::replace(&mut self.activity, true) {
                self.context.complain("an activity that is open, or that the vendor finds by itself");
            }
            self.ear = None;
            return self.interrupted();
        }
        if input["activityEnd"].is_object() {
            if !std::mem::take(&mut self.activity) {
                self.context.complain("the end of no activity");
            }
            let words = self.ear.take().map(|mut ear| ear.take()).unwrap_or_default();
            return self.turn(&words);
        }
        if event["clientContent"].is_object() {
            self.context.complain("newer models take no `clientContent`");
            return vec![Say::Close(1007, "Request contains an invalid argument.".into())];
        }
        if let Some(words) = input["text"].as_str() {
            if let Some((_, opening)) = words.split_once("nothing else: ") {
                return self.speak(opening.trim_end_matches(')'));
            }
            return self.reply(words);
        }
        if let Some(responses) = event["toolResponse"]["functionResponses"].as_array() {
            if responses.iter().any(|of| of["id"] != format!("call_{}", self.calls) || !of["response"].is_object()) {
                self.context.complain("the response of a call that nobody made");
            }
            return self.speak(TOOL_ANSWER);
        }
        self.context.complain(format!("no such message: {event}"));
        Vec::new()
    }
}
