//! ElevenLabs' text to speech: the WebSocket with several contexts, the stream of JSON lines, the list of voices.
//!
//! Rules it keeps the client to: the key in `xi-api-key`, never in the URL; the first text of a context is one blank and
//! alone carries voice settings; every later text ends with a blank; five contexts at the most, those that are closed and
//! not over counted.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    voice::{self, Encoding, Voice},
};

/// The key that is accepted; [`POOR`] has no credit.
pub const KEY: &str = "key-of-elevenlabs";
/// A key without credit.
pub const POOR: &str = "poor-key";
const CONTEXTS: usize = 5;
const FIRST: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(8);
/// Audio per message.
const CHUNK: Duration = Duration::from_millis(100);

/// The vendor.
#[derive(Default)]
pub struct ElevenLabs;

fn detail(status: u16, word: &str) -> Reply {
    Reply::json(status, &json!({"detail": {"status": word, "message": format!("the fake says {word}")}}))
}

fn authorised(request: &Request) -> Result<(), Reply> {
    if request.query.iter().any(|(name, value)| name.contains("key") || value == KEY) {
        request.context.complain("a key in the URL");
    }
    match request.header("xi-api-key") {
        Some(KEY) => Ok(()),
        Some(POOR) => Err(detail(401, "quota_exceeded")),
        _ => Err(detail(401, "invalid_api_key")),
    }
}

/// The encoding and rate of an output format.
fn format(request: &Request) -> Option<(Encoding, u32)> {
    let (kind, rate) = request.param("output_format")?.split_once('_')?;
    let encoding = match kind {
        "ulaw" => Encoding::Mulaw,
        "alaw" => Encoding::Alaw,
        "pcm" => Encoding::Pcm16,
        _ => return None,
    };
    Some((encoding, rate.parse().ok()?))
}

/// The messages of a text: audio with its characters, whose times start anew in each.
fn pieces(text: &str, encoding: Encoding, rate: u32, seconds: bool) -> Vec<Value> {
    let voice = Voice::default();
    let (samples, characters) = (voice.speak(text, rate), voice.characters(text));
    let size = (rate as usize) / 1_000 * CHUNK.as_millis() as usize;
    let chunks = samples.chunks(size).enumerate();
    let piece = |(n, chunk): (usize, &[i16])| {
        let from = CHUNK * n as u32;
        let mine = characters.iter().filter(|c| c.start >= from && c.start < from + CHUNK);
        let mine: Vec<_> = mine.map(|c| (c.text.clone(), c.start - from, c.end - c.start)).collect();
        let audio = voice::base64(&encoding.encode(chunk));
        let of =
            |value: &dyn Fn(&(String, Duration, Duration)) -> Value| -> Vec<Value> { mine.iter().map(value).collect() };
        let chars = of(&|c| json!(c.0));
        if seconds {
            json!({"audio_base64": audio, "normalized_alignment": null, "alignment": {
                "characters": chars,
                "character_start_times_seconds": of(&|c| json!((c.1 + from).as_secs_f64())),
                "character_end_times_seconds": of(&|c| json!((c.1 + c.2 + from).as_secs_f64())),
            }})
        } else {
            json!({"audio": audio, "isFinal": null, "normalizedAlignment": null, "alignment": {
                "chars": chars,
                "charStartTimesMs": of(&|c| json!(c.1.as_millis() as u64)),
                "charDurationsMs": of(&|c| json!(c.2.as_millis() as u64)),
            }})
        }
    };
    chunks.map(piece).collect()
}

impl Vendor for ElevenLabs {
    fn http(&self, request: &Request) -> Reply {
        if let Err(refusal) = authorised(request) {
            return refusal;
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/models") => Reply::json(200, &json!([{"model_id": "eleven_flash_v2_5"}])),
            ("GET", "/v2/voices") => {
                let page = |name: &str, next: Option<&str>| {
                    let voice = json!({"voice_id": format!("id-{name}"), "name": name, "labels": {"language": "en"}});
                    Reply::json(
                        200,
                        &json!({"voices": [voice], "has_more": next.is_some(), "total_count": 2, "next_page_token": next}),
                    )
                };
                if request.param("next_page_token") == Some("two") {
                    page("Bea", None)
                } else {
                    page("Abe", Some("two"))
                }
            }
            ("POST", path) if path.ends_with("/stream/with-timestamps") => {
                let body = request.json();
                let Some((encoding, rate)) = format(request) else { return detail(422, "invalid_output_format") };
                request.context.note(format!("{encoding:?} {rate}"));
                if body["model_id"].as_str().is_none() {
                    request.context.complain("no model_id");
                }
                if path.contains("/nobody/") {
                    return detail(404, "voice_not_found");
                }
                let lines = pieces(body["text"].as_str().unwrap_or_default(), encoding, rate, true);
                let lines = lines
                    .into_iter()
                    .enumerate()
                    .map(|(n, line)| (if n == 0 { FIRST } else { GAP }, format!("{line}\n\n").into_bytes()));
                Reply::stream("application/json", lines.collect::<Vec<_>>())
            }
            _ => {
                request.context.complain(format!("no such resource: {} {}", request.method, request.path));
                detail(404, "not_found")
            }
        }
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        authorised(request)?;
        let path =
            request.path.strip_prefix("/v1/text-to-speech/").and_then(|path| path.strip_suffix("/multi-stream-input"));
        let Some(voice) = path else { return Err(self.http(request)) };
        let Some((encoding, rate)) = format(request) else { return Err(detail(422, "invalid_output_format")) };
        request.context.note(format!("{encoding:?} {rate}"));
        if request.param("model_id").is_none() {
            request.context.complain("no model_id");
        }
        if request.param("inactivity_timeout").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s > 180)) {
            request.context.complain("an inactivity_timeout of more than 180 s");
        }
        let known = voice != "nobody";
        Ok(Box::new(Talk { context: request.context.clone(), encoding, rate, known, contexts: BTreeMap::new() }))
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"detail": {"status": "fake_error", "message": format!("the fake answers {status}")}})
    }
}

struct Talk {
    context: Context,
    encoding: Encoding,
    rate: u32,
    known: bool,
    /// Ticks of 10 ms until each context is over, once it is closed; and how long its audio takes.
    contexts: BTreeMap<String, (Duration, Option<u32>)>,
}

impl Conversation for Talk {
    fn opened(&mut self) -> Vec<Say> {
        if self.known {
            return Vec::new();
        }
        let error = json!({"error": "voice_not_found", "message": "no such voice", "code": 1008});
        vec![Say::json(&error), Say::Close(1008, "voice_not_found".into())]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let message = message.json();
        if message["close_socket"] == true {
            return vec![Say::Close(1000, String::new())];
        }
        let Some(id) = message["context_id"].as_str().map(str::to_owned) else {
            self.context.complain("a message without context_id");
            return Vec::new();
        };
        let text = message["text"].as_str();
        let Some((audio, over)) = self.contexts.get_mut(&id) else {
            if text != Some(" ") {
                self.context.complain("the first text of a context is not one blank");
            }
            if self.contexts.len() == CONTEXTS {
                let error = json!({"error": "max_active_conversations", "message": "too many", "code": 1008});
                return vec![Say::json(&error), Say::Close(1008, "max_active_conversations".into())];
            }
            self.contexts.insert(id, (Duration::ZERO, None));
            return Vec::new();
        };
        if message.get("voice_settings").is_some() {
            self.context.complain("voice settings behind the first message of a context");
        }
        let mut says = Vec::new();
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            if over.is_some() {
                self.context.complain("text for a context that is closed");
            }
            if !text.ends_with(' ') {
                self.context.complain("a text that does not end with a blank");
            }
            let mut at = FIRST + *audio;
            for mut piece in pieces(text, self.encoding, self.rate, false) {
                piece["contextId"] = json!(id);
                says.push(Say::json(&piece).after(at));
                at += GAP;
            }
            *audio = at;
        }
        if message["close_context"] == true {
            let ends = *audio + GAP;
            says.push(Say::json(&json!({"audio": null, "isFinal": true, "contextId": id})).after(ends));
            *over = Some((ends.as_millis() / 10) as u32);
        }
        says
    }

    fn elapsed(&mut self) -> Vec<Say> {
        self.contexts.retain(|_, (_, over)| match over {
            Some(0) => false,
            Some(ticks) => {
                *ticks -= 1;
                true
            }
            None => true,
        });
        Vec::new()
    }

    fn ticks(&self) -> bool {
        self.contexts.values().any(|(_, over)| over.is_some())
    }

    fn unknown(&self) -> String {
        r#"{"contextId":"never-heard-of","usage":{"characters":3}}"#.into()
    }
}
