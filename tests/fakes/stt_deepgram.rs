//! Deepgram's speech to text: `v1/listen` and Flux on `v2/listen`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Context, Conversation, Message, Reply, Request, Say, Vendor,
    stt_ear::{Ear, joined},
    voice::{Encoding, Timed},
};

/// What either interface knows; the vendor refuses the rest.
const V1: [&str; 10] = [
    "keyterm",
    "model",
    "encoding",
    "sample_rate",
    "channels",
    "language",
    "interim_results",
    "endpointing",
    "utterance_end_ms",
    "smart_format",
];
const V2: [&str; 7] =
    ["model", "encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "keyterm"];
/// How long a `Configure` is considered.
const CONSIDERED: Duration = Duration::from_millis(30);
/// Audio to which there is an answer in any case.
const ANSWERED: Duration = Duration::from_secs(1);
/// Silence from which a turn may be over, early and for good.
const EAGER: Duration = Duration::from_millis(120);
const ENDED: Duration = Duration::from_millis(300);

/// The vendor. Its key is `good-key`.
pub struct Deepgram {
    /// Without audio or text for so long, it closes; ten seconds, but tests are in a hurry.
    pub patience: Duration,
}

impl Vendor for Deepgram {
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        if request.credentials("Token") != Some("good-key") {
            let body = json!({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."});
            let repeated = format!("Invalid credentials: {}.", request.credentials("Token").unwrap_or_default());
            return Err(Reply::json(401, &body).with("dg-error", &repeated));
        }
        let known: &[&str] = match request.path.as_str() {
            "/v1/listen" => &V1,
            "/v2/listen" => &V2,
            _ => return Err(self.http(request)),
        };
        let bad =
            |why: String| Reply::json(400, &json!({"err_code": "Bad Request", "err_msg": why})).with("dg-error", why);
        if let Some((name, _)) = request.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(bad(format!("unknown parameter {name}")));
        }
        let encoding = match request.param("encoding") {
            Some("mulaw") => Encoding::Mulaw,
            Some("alaw") => Encoding::Alaw,
            Some("linear16") => Encoding::Pcm16,
            other => return Err(bad(format!("encoding {other:?}"))),
        };
        let number = |name: &str| request.param(name).and_then(|value| value.parse::<u32>().ok());
        let Some(rate) = number("sample_rate") else { return Err(bad("sample_rate".into())) };
        if number("utterance_end_ms").is_some_and(|ms| ms < 1_000) {
            return Err(bad("utterance_end_ms".into()));
        }
        let listening = Listening {
            context: request.context.clone(),
            ear: Ear::new(encoding, rate),
            configuring: None,
            told: String::new(),
            idle: Duration::ZERO,
            patience: self.patience,
            answered: false,
            left: false,
        };
        Ok(if request.path == "/v1/listen" {
            Box::new(Listen { listening })
        } else {
            let eager = request.param("eager_eot_threshold").is_some();
            Box::new(Flux { listening, eager, in_turn: false, guessed: false, turn: 0, sequence: 0 })
        })
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"err_code": "REFUSED", "err_msg": format!("the fake answers {status}")})
    }
}

struct Listening {
    context: Context,
    ear: Ear,
    /// A `Configure` that is not answered, and its age.
    configuring: Option<(Value, Duration)>,
    told: String,
    idle: Duration,
    patience: Duration,
    /// It has said something, or has heard as much as it answers to: before that, nothing but audio keeps it.
    answered: bool,
    left: bool,
}

impl Listening {
    /// Takes audio; false when it is none.
    fn audio(&mut self, octets: &[u8]) {
        self.idle = Duration::ZERO;
        if octets.is_empty() || octets.starts_with(b"{\"type\"") {
            self.context.complain("control as binary, or an empty message of audio");
        }
        if self.left {
            self.context.complain("audio after CloseStream");
        }
        if self.ear.take(octets) > Duration::from_millis(260) {
            self.context.complain("a message of more than 250 ms");
        }
        self.answered |= self.ear.audio() >= ANSWERED;
    }

    /// Takes a `Configure`, one at a time.
    fn configure(&mut self, message: Value) -> Vec<Say> {
        self.idle = Duration::ZERO;
        if self.configuring.is_some() {
            self.context.complain("a Configure before the answer to the one before");
            return vec![Say::json(
                &json!({"type": "ConfigureFailure", "request_id": "r", "code": "CONFIGURE_ALREADY_PENDING",
                "description": "pending", "sequence_id": 0}),
            )];
        }
        self.configuring = Some((message, Duration::ZERO));
        Vec::new()
    }

    fn elapsed(&mut self) -> Vec<Say> {
        if let Some((message, age)) = &mut self.configuring {
            *age += Duration::from_millis(10);
            if *age >= CONSIDERED {
                let terms = message["keyterms"].clone();
                self.ear.expect(&terms);
                self.configuring = None;
                return vec![Say::json(&json!({"type": "ConfigureSuccess", "request_id": "r", "keyterms": terms,
                    "thresholds": {}, "sequence_id": 0}))];
            }
        }
        self.idle += Duration::from_millis(10);
        if self.idle < self.patience { Vec::new() } else { vec![Say::Close(1011, "NET-0001".into())] }
    }

    /// The words so far, when they are others than those told.
    fn news(&mut self) -> Option<String> {
        let text = self.ear.text();
        (text != self.told).then(|| {
            self.told.clone_from(&text);
            text
        })
    }
}

struct Listen {
    listening: Listening,
}

impl Listen {
    fn results(&self, words: &[Timed], kind: (bool, bool, bool)) -> Say {
        let list: Vec<Value> = words
            .iter()
            .map(|w| json!({"word": w.text, "start": w.start.as_secs_f64(), "end": w.end.as_secs_f64(), "confidence": 0.9}))
            .collect();
        let confidence = self.listening.ear.confidence(words);
        Say::json(&json!({
            "type": "Results", "channel_index": [0, 1], "start": 0.0, "duration": self.listening.ear.audio().as_secs_f64(),
            "is_final": kind.0, "speech_final": kind.1, "from_finalize": kind.2,
            "channel": {"alternatives": [{"transcript": joined(words), "confidence": confidence, "words": list}]},
        }))
    }

    fn report(&mut self, speech_final: bool, from_finalize: bool) -> Vec<Say> {
        let words = self.listening.ear.report();
        self.listening.told.clear();
        self.listening.answered = true;
        vec![self.results(&words, (true, speech_final, from_finalize))]
    }
}

impl Conversation for Listen {
    fn heard(&mut self, message: Message) -> Vec<Say> {
        if let Message::Binary(octets) = &message {
            self.listening.audio(octets);
            if self.listening.ear.has_paused(ENDED) {
                return self.report(true, false);
            }
            let words = self.listening.ear.words();
            return self.listening.news().map(|_| self.results(&words, (false, false, false))).into_iter().collect();
        }
        let kind = message.json()["type"].clone();
        if kind != "KeepAlive" || self.listening.answered {
            self.listening.idle = Duration::ZERO;
        }
        match kind.as_str() {
            Some("Finalize") => self.report(false, true),
            Some("KeepAlive") => Vec::new(),
            Some("Configure") => self.listening.configure(message.json()),
            Some("CloseStream") => {
                self.listening.left = true;
                let metadata = json!({"type": "Metadata", "duration": self.listening.ear.audio().as_secs_f64()});
                vec![Say::json(&metadata), Say::Close(1000, String::new())]
            }
            other => {
                self.listening.context.complain(format!("a message of type {other:?}"));
                Vec::new()
            }
        }
    }

    fn elapsed(&mut self) -> Vec<Say> {
        self.listening.elapsed()
    }

    fn ticks(&self) -> bool {
        true
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""is_final":true"#)
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.listening.left {
            self.listening.context.complain("it left without CloseStream");
        }
    }
}

struct Flux {
    listening: Listening,
    eager: bool,
    in_turn: bool,
    guessed: bool,
    turn: u64,
    sequence: u64,
}

impl Flux {
    fn info(&mut self, event: &str, words: &[Timed]) -> Say {
        self.sequence += 1;
        let confidence = self.listening.ear.confidence(words);
        let list: Vec<Value> = words.iter().map(|w| json!({"word": w.text, "confidence": confidence})).collect();
        let time = |end: Option<Duration>| end.unwrap_or_default().as_secs_f64();
        Say::json(&json!({
            "type": "TurnInfo", "event": event, "turn_index": self.turn, "sequence_id": self.sequence,
            "audio_window_start": time(words.first().map(|w| w.start)), "audio_window_end": time(words.last().map(|w| w.end)),
            "transcript": joined(words), "words": list, "end_of_turn_confidence": 0.5,
        }))
    }

    fn end(&mut self) -> Vec<Say> {
        let words = self.listening.ear.report();
        self.listening.told.clear();
        (self.in_turn, self.guessed) = (false, false);
        let say = self.info("EndOfTurn", &words);
        self.turn += 1;
        vec![say]
    }
}

impl Conversation for Flux {
    fn opened(&mut self) -> Vec<Say> {
        vec![Say::json(&json!({"type": "Connected", "request_id": "r", "sequence_id": 0}))]
    }

    fn heard(&mut self, message: Message) -> Vec<Say> {
        if let Message::Binary(octets) = &message {
            self.listening.audio(octets);
            let words = self.listening.ear.words();
            let mut says = Vec::new();
            if self.listening.news().is_some() && !words.is_empty() {
                if std::mem::take(&mut self.guessed) {
                    says.push(self.info("TurnResumed", &words));
                }
                let event = if std::mem::replace(&mut self.in_turn, true) { "Update" } else { "StartOfTurn" };
                says.push(self.info(event, &words));
            }
            if self.in_turn && self.listening.ear.has_paused(ENDED) {
                says.extend(self.end());
            } else if self.in_turn && self.eager && !self.guessed && self.listening.ear.has_paused(EAGER) {
                self.guessed = true;
                says.push(self.info("EagerEndOfTurn", &words));
            }
            return says;
        }
        match message.json()["type"].as_str() {
            Some("ForceEndTurn") if self.in_turn => self.end(),
            Some("ForceEndTurn") => Vec::new(),
            Some("Configure") => self.listening.configure(message.json()),
            Some("CloseStream") => {
                self.listening.left = true;
                vec![Say::Close(1000, String::new())]
            }
            other => {
                self.listening.context.complain(format!("v2 knows no {other:?}"));
                vec![Say::json(&json!({"type": "Error", "code": "INVALID_MESSAGE", "description": "unknown type"}))]
            }
        }
    }

    fn elapsed(&mut self) -> Vec<Say> {
        self.listening.elapsed()
    }

    fn ticks(&self) -> bool {
        true
    }

    fn is_final(&self, text: &str) -> bool {
        text.contains(r#""event":"EndOfTurn""#)
    }

    fn closed(&mut self, _: Option<u16>) {
        if !self.listening.left {
            self.listening.context.complain("it left without CloseStream");
        }
    }
}
