//! Azure's speech to text: messages with headers of their own inside a WebSocket, one turn after the other.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::{Encoding, Timed},
};

/// Silence from which a phrase is over.
const ENDED: Duration = Duration::from_millis(300);

/// The vendor. Its key is `good-key`.
pub struct Azure;

impl Vendor for Azure {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        let modes = ["conversation", "interactive", "dictation"];
        if !modes.iter().any(|mode| request.path == format!("/speech/recognition/{mode}/cognitiveservices/v1")) {
            return Err(self.http(request));
        }
        if request.header("ocp-apim-subscription-key") != Some("good-key") {
            let why = "Access denied due to invalid subscription key or wrong API endpoint.";
            return Err(Reply::json(401, &json!({"error": {"code": "401", "message": why}})));
        }
        let complain = |why: &str| request.context.complain(why);
        let id = request.header("x-connectionid").unwrap_or_default();
        if id.len() != 32 || !id.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            complain("a connection's id is 32 hexadecimal digits");
        }
        if request.param("format") != Some("detailed") {
            complain("a format that this fake does not write");
        }
        if !request.param("language").is_some_and(|locale| locale.len() == 5 && locale.contains('-')) {
            let why = "Specified language is not supported.";
            return Err(Reply::json(400, &json!({"error": {"code": "400", "message": why}})));
        }
        Ok(Box::new(Speech { context: request.context.clone(), is_configured: false, turn: None, told: String::new() }))
    }
}

struct Speech {
    context: Context,
    is_configured: bool,
    turn: Option<Turn>,
    told: String,
}

struct Turn {
    id: String,
    ear: Option<Ear>,
    /// `speech.context`.
    terms: Value,
    heard: bool,
}

/// A message's headers, names in lower case, and its body.
type Parsed<'a> = (Vec<(String, &'a str)>, &'a [u8]);

fn parsed(message: &Message) -> Option<Parsed<'_>> {
    let (headers, body) = match message {
        Message::Text(text) => {
            let (headers, body) = text.split_once("\r\n\r\n")?;
            (headers, body.as_bytes())
        }
        Message::Binary(octets) => {
            let (length, rest) = octets.split_first_chunk::<2>()?;
            let (headers, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            (std::str::from_utf8(headers).ok()?, body)
        }
    };
    let lines = headers.split("\r\n").filter(|line| !line.is_empty());
    let pairs = lines.map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim())));
    Some((pairs.collect::<Option<_>>()?, body))
}

/// The audio that a RIFF header announces.
fn announced(header: &[u8]) -> Option<(Encoding, u32)> {
    let number = |at: usize| Some(u16::from_le_bytes(*header.get(at..)?.first_chunk::<2>()?));
    let rate = u32::from_le_bytes(*header.get(24..)?.first_chunk::<4>()?);
    if !header.starts_with(b"RIFF") || header.get(8..16)? != b"WAVEfmt " || number(22)? != 1 {
        return None;
    }
    match (number(20)?, number(34)?) {
        (1, 16) => Some((Encoding::Pcm16, rate)),
        (6, 8) => Some((Encoding::Alaw, rate)),
        (7, 8) => Some((Encoding::Mulaw, rate)),
        _ => None,
    }
}

/// In units of 100 ns.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() / 100).unwrap_or(u64::MAX)
}

impl Speech {
    fn say(id: &str, path: &str, body: &Value) -> Say {
        let kind = "application/json; charset=utf-8";
        Say::Text(format!("X-RequestId:{id}\r\nContent-Type:{kind}\r\nPath:{path}\r\n\r\n{body}"))
    }

    fn close(&self, why: &str) -> Vec<Say> {
        self.context.complain(why);
        vec![Say::Close(1007, why.to_owned())]
    }

    /// Reports the words since the last report, if there are any or a report is owed.
    fn phrase(&mut self, owed: bool) -> Vec<Say> {
        self.told.clear();
        let Some(Turn { id, ear: Some(ear), .. }) = &mut self.turn else { return Vec::new() };
        let words = ear.report();
        if words.is_empty() && !owed {
            return Vec::new();
        }
        vec![Self::say(id, "speech.phrase", &body(&words, ear.confidence(&words)))]
    }

    fn audio(&mut self, id: &str, kind: Option<&str>, octets: &[u8]) -> Vec<Say> {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == id) else {
            return self.close("audio without a context of its turn, or behind its end");
        };
        let Some(ear) = &mut turn.ear else {
            let Some((encoding, rate)) = announced(octets).filter(|_| kind == Some("audio/x-wav")) else {
                return self.close("the first audio of a turn is a RIFF header");
            };
            let mut ear = Ear::new(encoding, rate);
            ear.expect(turn.terms.pointer("/dgi/Groups/0/Items").unwrap_or(&Value::Null));
            turn.ear = Some(ear);
            return vec![Self::say(id, "turn.start", &json!({"context": {"serviceTag": "tag"}}))];
        };
        if octets.is_empty() {
            let offset = ticks(ear.audio());
            let mut says = vec![Self::say(id, "speech.endDetected", &json!({"Offset": offset}))];
            let heard = turn.heard;
            says.extend(self.phrase(!heard));
            says.push(Self::say(id, "turn.end", &json!({})));
            self.turn = None;
            return says;
        }
        ear.take(octets);
        if ear.has_paused(ENDED) {
            return self.phrase(false);
        }
        let words = ear.words();
        let text = joined(&words);
        let Some(first) = words.first().filter(|_| text != self.told) else { return Vec::new() };
        self.told.clone_from(&text);
        let mut says = Vec::new();
        if !std::mem::replace(&mut turn.heard, true) {
            says.push(Self::say(id, "speech.startDetected", &json!({"Offset": ticks(first.start)})));
        }
        let span = words.last().map_or(Duration::ZERO, |last| last.end.saturating_sub(first.start));
        let body = json!({"Id": "0", "Text": text, "Offset": ticks(first.start), "Duration": ticks(span)});
        says.push(Self::say(id, "speech.hypothesis", &body));
        says
    }
}

fn body(words: &[Timed], confidence: f64) -> Value {
    let Some((first, last)) = words.first().zip(words.last()) else {
        return json!({"Id": "0", "RecognitionStatus": "NoMatch", "Offset": 0, "Duration": 0, "Channel": 0});
    };
    let text = joined(words);
    let best = json!({"Confidence": confidence, "Lexical": text, "ITN": text, "MaskedITN": text, "Display": text});
    json!({"Id": "0", "RecognitionStatus": "Success", "Offset": ticks(first.start), "Channel": 0, "Type": "ConversationTranscription",
        "Duration": ticks(last.end - first.start), "DisplayText": text, "NBest": [best]})
}

impl Conversation for Speech {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        let Some((headers, body)) = parsed(&message) else {
            return self.close("a message without headers");
        };
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let stamp = header("x-timestamp").unwrap_or_default();
        if stamp.len() != "2026-01-02T03:04:05.678Z".len() || !stamp.ends_with('Z') {
            self.context.complain(format!("the time {stamp}"));
        }
        let id = header("x-requestid").unwrap_or_default().to_owned();
        let path = header("path").unwrap_or_default();
        if matches!(message, Message::Binary(_)) {
            if path != "audio" {
                return self.close("octets that are no audio");
            }
            return self.audio(&id, header("content-type"), body);
        }
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        match path {
            "speech.config" if !self.is_configured && json.pointer("/context/system/name").is_some() => {
                self.is_configured = true;
            }
            "speech.context" if self.is_configured && json.is_object() => {
                if id.len() != 32 || self.turn.is_some() {
                    self.context.complain("a turn without an id, or within another");
                }
                self.turn = Some(Turn { id, ear: None, terms: json, heard: false });
            }
            "telemetry" => {}
            other => return self.close(&format!("a message of {other} in this place")),
        }
        Vec::new()
    }

    fn closed(&mut self, code: Option<u16>) {
        if code != Some(1000) {
            self.context.complain(format!("it left with {code:?}"));
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains("Path:speech.phrase\r\n")
    }

    fn unknown(&self) -> String {
        "Path:fake.unknown\r\n\r\n{\"note\":\"a client ignores this\"}".into()
    }
}
