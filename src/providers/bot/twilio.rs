//! Twilio Media Streams, as a bidirectional stream (`<Connect><Stream>`) speaks it.
//!
//! Towards the bot: `connected`, `start`, then `media`, `dtmf` and `mark`, at last `stop`. From the bot: `media`,
//! `mark` and `clear`. Numbers travel as decimal strings, audio as base64 µ-law at 8 kHz. A message with another
//! event is counted and ignored, as Twilio does with a warning.

use super::limits::MARK_BYTES;
use super::{AudioFormat, BotMessage, Greeting, Notice, Opcode, WireError, base64, too_large, write_json};
use crate::audio::g711::Law;
use crate::base::Random;
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt::Write;

/// Samples in a millisecond.
const SAMPLES_PER_MS: u32 = 8;

/// One stream. Ids live as long as the call; numbers count anew on each connection.
#[derive(Debug)]
pub struct Twilio {
    account: String,
    call: String,
    stream: String,
    /// Messages sent on this connection after `connected`.
    sequence: u64,
    /// `media` messages sent on this connection.
    chunk: u64,
}

#[derive(Deserialize)]
struct Message<'m> {
    #[serde(borrow)]
    event: Cow<'m, str>,
    #[serde(default, rename = "streamSid")]
    stream: Option<Value>,
    #[serde(borrow, default)]
    media: Option<Media<'m>>,
    #[serde(borrow, default)]
    mark: Option<Mark<'m>>,
}

#[derive(Deserialize)]
struct Media<'m> {
    #[serde(borrow)]
    payload: Cow<'m, str>,
}

#[derive(Deserialize)]
struct Mark<'m> {
    #[serde(borrow)]
    name: Cow<'m, str>,
}

impl Twilio {
    /// A stream with ids of its own. `account` is what the bot sees as `accountSid`; by default one made up.
    #[must_use]
    pub fn new(account: Option<&str>, random: &mut Random) -> Self {
        let mut id = |kind: &str| format!("{kind}{}", random.hex(32));
        Self {
            account: account.map_or_else(|| id("AC"), str::to_owned),
            call: id("CA"),
            stream: id("MZ"),
            sequence: 0,
            chunk: 0,
        }
    }

    fn next_sequence(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }

    pub(super) fn open(&mut self, greeting: &Greeting<'_>, send: &mut dyn FnMut(Opcode, BytesMut)) {
        (self.sequence, self.chunk) = (0, 0);
        let parameters: Map<String, Value> =
            greeting.parameters.iter().map(|(name, value)| (name.clone(), json!(value.expose()))).collect();
        let start = json!({
            "event": "start",
            "sequenceNumber": self.next_sequence(),
            "start": {
                "accountSid": self.account,
                "streamSid": self.stream,
                "callSid": self.call,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            },
            "streamSid": self.stream,
        });
        for message in [json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}), start] {
            let mut out = BytesMut::new();
            write_json(&message, &mut out);
            send(Opcode::Text, out);
        }
    }

    pub(super) fn audio(&mut self, timestamp: u32, octets: &[u8], out: &mut BytesMut) -> Opcode {
        self.sequence += 1;
        self.chunk += 1;
        let (sequence, chunk, milliseconds) = (self.sequence, self.chunk, timestamp / SAMPLES_PER_MS);
        // Nothing here needs escapes: digits, base64 and an id of hexadecimal digits.
        let _ = write!(
            out,
            r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{milliseconds}","payload":""#
        );
        base64::encode(octets, out);
        let _ = write!(out, r#""}},"streamSid":"{}"}}"#, self.stream);
        Opcode::Text
    }

    pub(super) fn notice(&mut self, notice: &Notice<'_>, out: &mut BytesMut) -> Option<Opcode> {
        let (event, value) = match notice {
            Notice::Digit(digit) => ("dtmf", json!({"track": "inbound_track", "digit": digit.to_string()})),
            Notice::Mark { name, .. } => ("mark", json!({"name": name})),
            Notice::Stop { .. } => ("stop", json!({"accountSid": self.account, "callSid": self.call})),
            Notice::BargeIn { .. } | Notice::Fault { .. } | Notice::Held(_) | Notice::Transferred { .. } => {
                return None;
            }
        };
        let sequence = self.next_sequence();
        let mut message = Map::new();
        message.insert("event".to_owned(), json!(event));
        message.insert("sequenceNumber".to_owned(), json!(sequence));
        message.insert("streamSid".to_owned(), json!(self.stream));
        message.insert(event.to_owned(), value);
        write_json(&Value::Object(message), out);
        Some(Opcode::Text)
    }

    pub(super) fn read(&self, text: &str, samples: &mut Vec<i16>) -> Result<BotMessage, WireError> {
        let message: Message<'_> = serde_json::from_str(text).map_err(|_| WireError::Json)?;
        let known = matches!(&*message.event, "media" | "mark" | "clear");
        if !known {
            return Ok(BotMessage::Unknown);
        }
        if message.stream.is_some_and(|stream| stream != *self.stream) {
            return Err(WireError::WrongStream);
        }
        match &*message.event {
            "media" => {
                let media = message.media.ok_or(WireError::Field("media.payload"))?;
                let before = samples.len();
                samples.reserve(media.payload.len() / 4 * 3);
                if !base64::decode(media.payload.as_bytes(), |octet| samples.push(Law::Mu.decode_sample(octet))) {
                    samples.truncate(before);
                    return Err(WireError::Base64);
                }
                Ok(BotMessage::Audio(AudioFormat::TWILIO))
            }
            "mark" => {
                let mark = message.mark.ok_or(WireError::Field("mark.name"))?;
                too_large("the name of a mark", mark.name.len(), MARK_BYTES)?;
                Ok(BotMessage::Mark(mark.name.into_owned()))
            }
            _ => Ok(BotMessage::Clear),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pii;

    fn stream() -> Twilio {
        Twilio::new(None, &mut Random::seeded(7))
    }

    fn opened(twilio: &mut Twilio) -> Vec<Value> {
        let parameters = [("customer".to_owned(), Pii::new("Anna \"A\"".to_owned()))];
        let greeting = Greeting {
            direction: "inbound",
            call: "call-1",
            parameters: &parameters,
            destinations: &[],
            resumed: false,
        };
        let mut sent = Vec::new();
        twilio.open(&greeting, &mut |opcode, message| {
            assert_eq!(opcode, Opcode::Text);
            sent.push(serde_json::from_slice(&message).unwrap());
        });
        sent
    }

    fn noticed(twilio: &mut Twilio, notice: &Notice<'_>) -> Option<Value> {
        let mut out = BytesMut::new();
        twilio.notice(notice, &mut out)?;
        Some(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn a_stream_opens_with_connected_and_start_and_counts_from_one() {
        let mut twilio = stream();
        let sent = opened(&mut twilio);
        assert_eq!(sent[0], json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
        let start = &sent[1];
        assert_eq!(start["event"], "start");
        assert_eq!(start["sequenceNumber"], "1");
        assert_eq!(start["start"]["tracks"], json!(["inbound"]));
        assert_eq!(
            start["start"]["mediaFormat"],
            json!({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1})
        );
        assert_eq!(start["start"]["customParameters"], json!({"customer": "Anna \"A\""}));
        assert_eq!(start["streamSid"], start["start"]["streamSid"]);
        for (field, prefix) in [("accountSid", "AC"), ("callSid", "CA"), ("streamSid", "MZ")] {
            let id = start["start"][field].as_str().unwrap();
            assert!(id.starts_with(prefix) && id.len() == 34, "{id}");
        }
        let mut out = BytesMut::new();
        twilio.audio(160, &[0xFF, 0x7F, 0x00], &mut out);
        let media: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            media,
            json!({
                "event": "media", "sequenceNumber": "2", "streamSid": &twilio.stream,
                "media": {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": "/38A"},
            })
        );
        assert_eq!(opened(&mut twilio)[1]["sequenceNumber"], "1", "a further connection counts anew");
    }

    #[test]
    fn keys_marks_and_the_end_have_their_messages_and_other_notices_none() {
        let mut twilio = stream();
        let stream = twilio.stream.clone();
        let digit = noticed(&mut twilio, &Notice::Digit('#')).unwrap();
        assert_eq!(digit["dtmf"], json!({"track": "inbound_track", "digit": "#"}));
        let mark = noticed(&mut twilio, &Notice::Mark { name: "m\"1", played: false }).unwrap();
        assert_eq!(
            mark,
            json!({"event": "mark", "sequenceNumber": "2", "streamSid": stream, "mark": {"name": "m\"1"}})
        );
        let stop = noticed(&mut twilio, &Notice::Stop { reason: "x" }).unwrap();
        assert_eq!(stop["stop"]["callSid"], twilio.call);
        assert_eq!(noticed(&mut twilio, &Notice::Held(true)), None);
        assert_eq!(noticed(&mut twilio, &Notice::BargeIn { timestamp: 1 }), None);
    }

    #[test]
    fn audio_marks_and_clears_of_a_bot_are_read() {
        let twilio = stream();
        let stream = twilio.stream.clone();
        let mut samples = Vec::new();
        let media =
            json!({"event": "media", "streamSid": stream, "media": {"payload": "/38A"}, "extra": [1, {"a": 2}]});
        assert_eq!(
            twilio.read(&media.to_string(), &mut samples),
            Ok(BotMessage::Audio(AudioFormat { ..AudioFormat::TWILIO }))
        );
        assert_eq!(samples, [0, 0, -32_124]);
        // PHP escapes slashes.
        let escaped = format!(r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"\/38A"}}}}"#);
        assert!(twilio.read(&escaped, &mut samples).is_ok());
        let mark = json!({"event": "mark", "streamSid": stream, "mark": {"name": "one"}});
        assert_eq!(twilio.read(&mark.to_string(), &mut samples), Ok(BotMessage::Mark("one".into())));
        assert_eq!(twilio.read(r#"{"event":"clear"}"#, &mut samples), Ok(BotMessage::Clear));
        assert_eq!(twilio.read(r#"{"event":"someday","x":1}"#, &mut samples), Ok(BotMessage::Unknown));
    }

    #[test]
    fn rubbish_is_told_apart_by_what_is_wrong_and_leaves_no_audio() {
        let twilio = stream();
        let mut samples = vec![1];
        let long = format!(r#"{{"event":"mark","mark":{{"name":"{}"}}}}"#, "x".repeat(MARK_BYTES + 1));
        for (text, error) in [
            ("", WireError::Json),
            ("[]", WireError::Json),
            ("{\"event\":7}", WireError::Json),
            (r#"{"event":"media"}"#, WireError::Field("media.payload")),
            (r#"{"event":"media","media":{"payload":"AAA*"}}"#, WireError::Base64),
            (r#"{"event":"media","media":{"payload":"AAAAA"}}"#, WireError::Base64),
            (r#"{"event":"mark"}"#, WireError::Field("mark.name")),
            (r#"{"event":"clear","streamSid":"MZother"}"#, WireError::WrongStream),
            (r#"{"event":"clear","streamSid":7}"#, WireError::WrongStream),
            (&long, WireError::TooLarge { what: "the name of a mark", limit: MARK_BYTES }),
        ] {
            assert_eq!(twilio.read(text, &mut samples), Err(error), "{text}");
            assert_eq!(samples, [1]);
        }
    }
}
