//! Vendors that cost next to nothing, for many calls at once: recognisers that hear the same words in any audio, a voice
//! that hums in the pace of a vendor. The protocols are kept, the rules of the vendors are checked elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Context, Conversation, Message, Reply, Request, Say, Vendor, voice::from_base64};

/// What every caller says.
pub const WORDS: &str = "table for two";
/// Audio below this has no words in it.
const LEAST_MS: u64 = 200;

/// Audio by its length alone, in µ-law at 8 kHz.
#[derive(Default)]
struct Clock {
    ms: u64,
    reported: u64,
    told: bool,
}

impl Clock {
    fn take(&mut self, octets: &[u8]) {
        self.ms += octets.len() as u64 / 8;
    }

    /// True once in each utterance, when there are words.
    fn news(&mut self) -> bool {
        let news = !self.told && self.ms - self.reported >= LEAST_MS;
        self.told |= news;
        news
    }

    /// The words with their beginnings and ends in milliseconds; none when there is too little audio.
    fn words(&self) -> Vec<(&'static str, u64, u64)> {
        let span = self.ms - self.reported;
        if span < LEAST_MS {
            return Vec::new();
        }
        let count = WORDS.split(' ').count() as u64;
        let at = |n: u64| self.reported + span * n / count;
        (0..).zip(WORDS.split(' ')).map(|(n, word)| (word, at(n), at(n + 1))).collect()
    }

    fn report(&mut self) -> Vec<(&'static str, u64, u64)> {
        let words = self.words();
        self.reported = self.ms;
        self.told = false;
        words
    }
}

fn joined(words: &[(&'static str, u64, u64)]) -> String {
    words.iter().map(|(word, ..)| *word).collect::<Vec<_>>().join(" ")
}

/// Deepgram: `v1/listen` in µ-law, and `v1/speak` in µ-law.
pub struct Deepgram;

impl Vendor for Deepgram {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        match request.path.as_str() {
            "/v1/listen" => Ok(Box::new(Listen { clock: Clock::default() })),
            "/v1/speak" => Ok(Box::new(Speak { text: 0, flushes: 0 })),
            _ => Err(self.http(request)),
        }
    }
}

struct Listen {
    clock: Clock,
}

impl Listen {
    fn results(&self, words: &[(&'static str, u64, u64)], stands: bool) -> Say {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let list: Vec<Value> = words
            .iter()
            .map(|(word, start, end)| json!({"word": word, "start": seconds(*start), "end": seconds(*end), "confidence": 0.9}))
            .collect();
        Say::json(&json!({
            "type": "Results", "channel_index": [0, 1], "start": 0.0, "duration": seconds(self.clock.ms),
            "is_final": stands, "speech_final": false, "from_finalize": stands,
            "channel": {"alternatives": [{"transcript": joined(words), "confidence": 0.9, "words": list}]},
        }))
    }
}

impl Conversation for Listen {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        match &message {
            Message::Binary(octets) => {
                self.clock.take(octets);
                if self.clock.news() { vec![self.results(&self.clock.words(), false)] } else { Vec::new() }
            }
            Message::Text(text) if text.contains("Finalize") => {
                let words = self.clock.report();
                vec![self.results(&words, true)]
            }
            Message::Text(text) if text.contains("CloseStream") => vec![Say::Close(1000, String::new())],
            Message::Text(_) => Vec::new(),
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""is_final":true"#)
    }
}

/// Octets of audio for a character, some 14 characters a second.
const OCTETS: usize = 570;
/// Octets of one message, and the time between two: twice as fast as it is played.
const CHUNK: usize = 800;
const GAP: Duration = Duration::from_millis(50);

struct Speak {
    text: usize,
    flushes: u64,
}

/// A hum of 200 Hz in µ-law, by its two loudest codes.
fn hum(octets: usize) -> Vec<u8> {
    (0..octets).map(|n| if n % 40 < 20 { 0x90 } else { 0x10 }).collect()
}

impl Conversation for Speak {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        let Message::Text(text) = &message else { return Vec::new() };
        if text.contains("\"Speak\"") {
            self.text += message.json()["text"].as_str().map_or(0, |text| text.chars().count());
            return Vec::new();
        }
        if text.contains("\"Flush\"") {
            let mut left = std::mem::take(&mut self.text) * OCTETS;
            let (mut says, mut at) = (Vec::new(), Duration::ZERO);
            while left > 0 {
                let octets = left.min(CHUNK);
                says.push(Say::Binary(hum(octets)).after(at));
                left -= octets;
                at += GAP;
            }
            self.flushes += 1;
            says.push(Say::json(&json!({"type": "Flushed", "sequence_id": self.flushes - 1})).after(at));
            return says;
        }
        if text.contains("\"Clear\"") {
            return vec![Say::Forget, Say::json(&json!({"type": "Cleared", "sequence_id": self.flushes}))];
        }
        if text.contains("\"Close\"") {
            return vec![Say::Close(1000, String::new())];
        }
        Vec::new()
    }
}

/// AssemblyAI: `v3/ws` in µ-law.
pub struct AssemblyAi;

impl Vendor for AssemblyAi {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/v3/ws" {
            return Err(self.http(request));
        }
        Ok(Box::new(Turns { context: request.context.clone(), clock: Clock::default(), turn: 0, left: false }))
    }
}

struct Turns {
    context: Context,
    clock: Clock,
    turn: u64,
    left: bool,
}

impl Turns {
    fn turn(&self, words: &[(&'static str, u64, u64)], ends: bool) -> Say {
        let list: Vec<Value> = words
            .iter()
            .map(|(word, start, end)| json!({"text": word, "start": start, "end": end, "confidence": 0.9, "word_is_final": ends}))
            .collect();
        Say::json(&json!({"type": "Turn", "turn_order": self.turn, "turn_is_formatted": false, "end_of_turn": ends,
            "transcript": if ends { joined(words) } else { String::new() }, "words": list, "end_of_turn_confidence": 0.5}))
    }
}

impl Conversation for Turns {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "Begin", "id": "s", "expires_at": 4_000_000_000_u64}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        match &message {
            Message::Binary(octets) => {
                self.clock.take(octets);
                if self.clock.news() { vec![self.turn(&self.clock.words(), false)] } else { Vec::new() }
            }
            Message::Text(text) if text.contains("ForceEndpoint") => {
                let words = self.clock.report();
                let say = self.turn(&words, true);
                self.turn += 1;
                if words.is_empty() { Vec::new() } else { vec![say] }
            }
            Message::Text(text) if text.contains("Terminate") => {
                self.left = true;
                let end = json!({"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1});
                vec![Say::json(&end), Say::Close(1000, String::new())]
            }
            Message::Text(_) => Vec::new(),
        }
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.left {
            self.context.complain("it left without Terminate: the session goes on and is billed");
        }
    }
}

/// OpenAI's transcription over the realtime interface, in µ-law.
pub struct OpenAi;

impl Vendor for OpenAi {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.path != "/v1/realtime" {
            return Err(self.http(request));
        }
        Ok(Box::new(Transcription { clock: Clock::default(), item: 1 }))
    }
}

struct Transcription {
    clock: Clock,
    /// The ordinal of the item that is not committed yet.
    item: u64,
}

/// What every caller says after a pause.
pub const AFTER_A_PAUSE: &str = "please";

impl Transcription {
    /// The words of the present item, where it has any.
    fn of_item(&self, words: String) -> String {
        if self.item > 1 && !words.is_empty() { AFTER_A_PAUSE.into() } else { words }
    }

    fn event(&self, kind: &str, field: &str, words: &str) -> Say {
        let kind = format!("conversation.item.input_audio_transcription.{kind}");
        Say::json(&json!({"type": kind, "item_id": format!("item-{}", self.item), "content_index": 0, field: words}))
    }
}

impl Conversation for Transcription {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "session.created", "session": {"type": "transcription"}}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        let json = message.json();
        match json["type"].as_str() {
            Some("session.update") => vec![Say::json(&json!({"type": "session.updated", "session": json["session"]}))],
            Some("input_audio_buffer.append") => {
                let octets = json["audio"].as_str().and_then(from_base64).unwrap_or_default();
                self.clock.take(&octets);
                let words = if self.clock.news() { joined(&self.clock.words()) } else { String::new() };
                let words = self.of_item(words);
                if words.is_empty() { Vec::new() } else { vec![self.event("delta", "delta", &words)] }
            }
            Some("input_audio_buffer.commit") => {
                let words = joined(&self.clock.report());
                let words = self.of_item(words);
                let previous = (self.item > 1).then(|| format!("item-{}", self.item - 1));
                let item = format!("item-{}", self.item);
                let committed =
                    json!({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous});
                let completed = self.event("completed", "transcript", &words);
                self.item += 1;
                vec![Say::json(&committed), completed]
            }
            _ => Vec::new(),
        }
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains("input_audio_transcription.completed")
    }
}
