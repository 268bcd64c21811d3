//! Offhook's own protocol, version 1: binary messages of audio, JSON for everything else.
//!
//! A binary message is [`HEADER_BYTES`] of header, then samples:
//!
//! ```text
//!  0        1        2        3        4        5        6        7
//! +--------+--------+--------+--------+--------+--------+--------+--------+
//! |   1    | format |    sequence     |             timestamp             |
//! +--------+--------+--------+--------+--------+--------+--------+--------+
//! ```
//!
//! Numbers are little-endian. The format is 16 × encoding (0 pcm16, 1 mulaw) + rate (1: 8 kHz, 2: 16 kHz, 3: 24 kHz).
//! The sequence counts messages and the timestamp samples; both wrap. A bot may leave them 0.

use super::limits::{CONTEXT_ENTRIES, DIGITS, MARK_BYTES, NAME_BYTES, REASON_BYTES, SAY_CHARS};
use super::{AudioFormat, BotMessage, Encoding, Greeting, Notice, Opcode, WireError, cut, too_large, write_json};
use crate::base::{Pii, SampleRate};
use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Octets in front of the audio of a binary message.
pub const HEADER_BYTES: usize = 8;
/// Name of the protocol in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "offhook.bridge.v1";
/// First octet of a binary message.
const VERSION: u8 = 1;

/// The format octet of the header, and the format it stands for.
fn format_octet(format: AudioFormat) -> u8 {
    let rate = AudioFormat::RATES.iter().position(|rate| *rate == format.rate).unwrap_or_default() as u8 + 1;
    let encoding = match format.encoding {
        Encoding::Pcm16 => 0x00,
        Encoding::Mulaw => 0x10,
    };
    encoding | rate
}

fn format_of(octet: u8) -> Option<AudioFormat> {
    let encoding = match octet >> 4 {
        0 => Encoding::Pcm16,
        1 => Encoding::Mulaw,
        _ => return None,
    };
    let rate = AudioFormat::RATES.get(usize::from(octet & 0x0F).checked_sub(1)?).copied()?;
    Some(AudioFormat { encoding, rate })
}

fn described(format: AudioFormat) -> Value {
    json!({"encoding": format.encoding.name(), "rate": format.rate.0, "channels": 1, "frame_ms": 20})
}

/// One bridge. The format and the count of messages live as long as the call.
#[derive(Debug)]
pub struct Lean {
    format: AudioFormat,
    barge_in: bool,
    sequence: u16,
    /// Sequence that the bot's next message should have; `None` until it counts.
    expected: Option<u16>,
    gaps: u64,
}

/// All fields of all messages; each kind reads its own.
#[derive(Deserialize)]
struct Message<'m> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'m, str>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    destination: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    digits: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    rate: Option<u32>,
    #[serde(default)]
    completed: Option<bool>,
    #[serde(default)]
    on: Option<bool>,
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

impl Lean {
    /// A bridge that begins with this format. `barge_in` tells the bot that the caller's voice silences it here.
    #[must_use]
    pub fn new(format: AudioFormat, barge_in: bool) -> Self {
        Self { format, barge_in, sequence: 0, expected: None, gaps: 0 }
    }

    /// The format that caller audio is sent in.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Messages missing in the bot's own count.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    pub(super) fn open(&mut self, greeting: &Greeting<'_>, send: &mut dyn FnMut(Opcode, BytesMut)) {
        self.expected = None;
        let parameters: Map<String, Value> =
            greeting.parameters.iter().map(|(name, value)| (name.clone(), json!(value.expose()))).collect();
        let destinations: Vec<Value> = greeting
            .destinations
            .iter()
            .map(|(name, description)| json!({"name": name, "description": description}))
            .collect();
        let start = json!({
            "type": "start",
            "version": VERSION,
            "call": greeting.call,
            "direction": greeting.direction,
            "audio": described(self.format),
            "parameters": parameters,
            "destinations": destinations,
            "barge_in": if self.barge_in { "local" } else { "off" },
            "resumed": greeting.resumed,
        });
        let mut out = BytesMut::new();
        write_json(&start, &mut out);
        send(Opcode::Text, out);
    }

    pub(super) fn audio(&mut self, timestamp: u32, octets: &[u8], out: &mut BytesMut) -> Opcode {
        out.reserve(HEADER_BYTES + octets.len());
        out.put_u8(VERSION);
        out.put_u8(format_octet(self.format));
        out.put_u16_le(self.sequence);
        out.put_u32_le(timestamp);
        out.extend_from_slice(octets);
        self.sequence = self.sequence.wrapping_add(1);
        Opcode::Binary
    }

    pub(super) fn notice(&self, notice: &Notice<'_>, out: &mut BytesMut) -> Option<Opcode> {
        let message = match *notice {
            Notice::BargeIn { timestamp } => json!({"type": "barge_in", "timestamp": timestamp}),
            Notice::Digit(digit) => json!({"type": "dtmf", "digits": digit.to_string()}),
            Notice::Fault { code, message } => json!({"type": "error", "code": code, "message": message}),
            Notice::Held(on) => json!({"type": "held", "on": on}),
            Notice::Mark { name, played } => json!({"type": "mark", "name": name, "played": played}),
            Notice::Stop { reason } => json!({"type": "stop", "reason": reason}),
            Notice::Transferred { destination, accepted, reason } => {
                json!({"type": "transfer", "destination": destination, "accepted": accepted, "reason": reason})
            }
        };
        write_json(&message, out);
        Some(Opcode::Text)
    }

    pub(super) fn read_binary(&mut self, octets: &[u8], samples: &mut Vec<i16>) -> Result<BotMessage, WireError> {
        let (header, audio) = octets.split_first_chunk::<HEADER_BYTES>().ok_or(WireError::Header)?;
        let [version, format, sequence @ .., _, _, _, _] = *header;
        if version != VERSION {
            return Err(WireError::Header);
        }
        let format = format_of(format).ok_or(WireError::Format)?;
        if !audio.len().is_multiple_of(format.encoding.sample_bytes()) {
            return Err(WireError::HalfSample);
        }
        let sequence = u16::from_le_bytes(sequence);
        self.gaps += u64::from(self.expected.is_some_and(|expected| expected != sequence));
        // A bot that leaves the number 0 does not count.
        self.expected = (self.expected.is_some() || sequence != 0).then(|| sequence.wrapping_add(1));
        format.decode(audio, samples);
        Ok(BotMessage::Audio(format))
    }

    pub(super) fn read_text(&mut self, text: &str) -> Result<BotMessage, WireError> {
        let message: Message<'_> = serde_json::from_str(text).map_err(|_| WireError::Json)?;
        let reason = |text: Option<String>, default: &str| match text {
            Some(text) => cut(&text, REASON_BYTES).to_owned(),
            None => default.to_owned(),
        };
        Ok(match &*message.kind {
            "clear" => BotMessage::Clear,
            "dtmf" => {
                let digits = message.digits.ok_or(WireError::Field("digits"))?;
                too_large("the number of digits", digits.len(), DIGITS)?;
                if digits.is_empty() || !digits.bytes().all(|key| b"0123456789*#ABCD".contains(&key)) {
                    return Err(WireError::Field("digits"));
                }
                BotMessage::Digits(Pii::new(digits))
            }
            "error" => BotMessage::Complaint(reason(message.message, "")),
            "format" => {
                let encoding = message.encoding.ok_or(WireError::Field("encoding"))?;
                let rate = SampleRate(message.rate.ok_or(WireError::Field("rate"))?);
                let encoding =
                    Encoding::NAMES.iter().find(|(name, _)| *name == encoding).map(|(_, encoding)| *encoding);
                let encoding = encoding.ok_or(WireError::Format)?;
                if !AudioFormat::RATES.contains(&rate) {
                    return Err(WireError::Format);
                }
                self.format = AudioFormat { encoding, rate };
                BotMessage::Format(self.format)
            }
            "hangup" => BotMessage::Hangup {
                reason: reason(message.reason, "the bot hung up"),
                completed: message.completed.unwrap_or(true),
            },
            "hold" => BotMessage::Hold(message.on.ok_or(WireError::Field("on"))?),
            "mark" => {
                let name = message.name.ok_or(WireError::Field("name"))?;
                too_large("the name of a mark", name.len(), MARK_BYTES)?;
                BotMessage::Mark(name)
            }
            "say" => {
                let text = message.text.ok_or(WireError::Field("text"))?;
                too_large("a text to say", text.chars().count(), SAY_CHARS)?;
                BotMessage::Say(Pii::new(text))
            }
            "stop" => BotMessage::Stop,
            "transfer" => {
                let destination = message.destination.ok_or(WireError::Field("destination"))?;
                too_large("the name of a destination", destination.len(), NAME_BYTES)?;
                let mut context = message.context.unwrap_or_default();
                too_large("the context of a transfer", context.len(), CONTEXT_ENTRIES)?;
                if let Some(reason) = message.reason {
                    context.insert("reason".to_owned(), json!(cut(&reason, REASON_BYTES)));
                }
                BotMessage::Transfer { destination, context: Pii::new(context) }
            }
            _ => BotMessage::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean() -> Lean {
        Lean::new(AudioFormat::WIDEBAND, false)
    }

    #[test]
    fn the_header_carries_version_format_sequence_and_timestamp() {
        let mut lean = lean();
        let mut out = BytesMut::new();
        assert_eq!(lean.audio(0x0102_0304, &[1, 2], &mut out), Opcode::Binary);
        assert_eq!(out[..], [1, 0x02, 0, 0, 4, 3, 2, 1, 1, 2]);
        out.clear();
        lean.audio(0, &[], &mut out);
        assert_eq!(out[2..4], [1, 0], "the next message");
    }

    #[test]
    fn audio_of_every_format_is_read_and_carries_its_own_format() {
        let mut lean = lean();
        for encoding in [Encoding::Pcm16, Encoding::Mulaw] {
            for rate in AudioFormat::RATES {
                let format = AudioFormat { encoding, rate };
                let mut message = vec![1, format_octet(format), 0, 0, 0, 0, 0, 0];
                message.extend([0x00, 0x80]);
                let mut samples = Vec::new();
                assert_eq!(lean.read_binary(&message, &mut samples), Ok(BotMessage::Audio(format)));
                assert_eq!(samples.len(), 2 / encoding.sample_bytes());
            }
        }
    }

    #[test]
    fn binary_rubbish_is_told_apart_by_what_is_wrong() {
        let mut lean = lean();
        let mut samples = Vec::new();
        for (octets, error) in [
            (&[][..], WireError::Header),
            (&[1, 2, 0, 0, 0, 0, 0], WireError::Header),
            (&[2, 2, 0, 0, 0, 0, 0, 0], WireError::Header),
            (&[1, 0x00, 0, 0, 0, 0, 0, 0], WireError::Format),
            (&[1, 0x04, 0, 0, 0, 0, 0, 0], WireError::Format),
            (&[1, 0x21, 0, 0, 0, 0, 0, 0], WireError::Format),
            (&[1, 0x02, 0, 0, 0, 0, 0, 0, 9], WireError::HalfSample),
        ] {
            assert_eq!(lean.read_binary(octets, &mut samples), Err(error), "{octets:?}");
        }
        assert!(samples.is_empty());
    }

    #[test]
    fn gaps_in_the_count_of_a_bot_that_counts_are_counted() {
        let mut lean = lean();
        let mut message = |sequence: u16| {
            let [low, high] = sequence.to_le_bytes();
            lean.read_binary(&[1, 0x11, low, high, 0, 0, 0, 0], &mut Vec::new()).unwrap();
            lean.gaps()
        };
        assert_eq!([message(0), message(0)], [0, 0], "it does not count");
        assert_eq!([message(1), message(2), message(5), message(6)], [0, 0, 1, 1]);
    }

    #[test]
    fn control_messages_are_read_whatever_else_they_carry() {
        let mut lean = lean();
        let mut context = Map::new();
        context.insert("order".into(), json!(7));
        context.insert("reason".into(), json!("wants Anna"));
        let transfer = BotMessage::Transfer { destination: "desk".into(), context: Pii::new(context) };
        let narrow = AudioFormat { encoding: Encoding::Mulaw, rate: SampleRate::NARROWBAND };
        for (text, message) in [
            (r#"{"type":"clear","x":{}}"#, BotMessage::Clear),
            (r#"{"type":"mark","name":"m"}"#, BotMessage::Mark("m".into())),
            (r#"{"type":"dtmf","digits":"12#"}"#, BotMessage::Digits(Pii::new("12#".into()))),
            (r#"{"type":"hangup"}"#, BotMessage::Hangup { reason: "the bot hung up".into(), completed: true }),
            (
                r#"{"type":"hangup","reason":"no stock","completed":false}"#,
                BotMessage::Hangup { reason: "no stock".into(), completed: false },
            ),
            (r#"{"type":"hold","on":true}"#, BotMessage::Hold(true)),
            (r#"{"type":"say","text":"Hello."}"#, BotMessage::Say(Pii::new("Hello.".into()))),
            (r#"{"type":"error","message":"out of tokens"}"#, BotMessage::Complaint("out of tokens".into())),
            (r#"{"type":"stop"}"#, BotMessage::Stop),
            (r#"{"type":"ready"}"#, BotMessage::Unknown),
            (r#"{"type":"transfer","destination":"desk","reason":"wants Anna","context":{"order":7}}"#, transfer),
            (r#"{"type":"format","encoding":"mulaw","rate":8000}"#, BotMessage::Format(narrow)),
        ] {
            assert_eq!(lean.read_text(text), Ok(message), "{text}");
        }
        assert_eq!(lean.format(), narrow);
    }

    #[test]
    fn control_rubbish_is_told_apart_by_what_is_wrong() {
        let mut lean = lean();
        let digits = format!(r#"{{"type":"dtmf","digits":"{}"}}"#, "1".repeat(DIGITS + 1));
        for (text, error) in [
            ("nonsense", WireError::Json),
            ("{}", WireError::Json),
            (r#"{"type":"dtmf","digits":7}"#, WireError::Json),
            (r#"{"type":"dtmf"}"#, WireError::Field("digits")),
            (r#"{"type":"dtmf","digits":"12x"}"#, WireError::Field("digits")),
            (&digits, WireError::TooLarge { what: "the number of digits", limit: DIGITS }),
            (r#"{"type":"mark"}"#, WireError::Field("name")),
            (r#"{"type":"transfer"}"#, WireError::Field("destination")),
            (r#"{"type":"format","encoding":"opus","rate":8000}"#, WireError::Format),
            (r#"{"type":"format","encoding":"mulaw","rate":44100}"#, WireError::Format),
        ] {
            assert_eq!(lean.read_text(text), Err(error), "{text}");
        }
        assert_eq!(lean.format(), AudioFormat::WIDEBAND, "a bad wish changes nothing");
    }

    #[test]
    fn a_bridge_opens_with_everything_a_bot_needs_to_know() {
        let parameters = [("customer".to_owned(), Pii::new("Anna".to_owned()))];
        let destinations = [("desk".to_owned(), "the desk".to_owned())];
        let greeting = Greeting {
            direction: "inbound",
            call: "call-000001",
            parameters: &parameters,
            destinations: &destinations,
            resumed: true,
        };
        let mut sent = Vec::new();
        Lean::new(AudioFormat::WIDEBAND, true).open(&greeting, &mut |_, message| sent.push(message));
        let start: Value = serde_json::from_slice(&sent[0]).unwrap();
        assert_eq!(
            start,
            json!({
                "type": "start", "version": 1, "call": "call-000001", "direction": "inbound",
                "audio": {"encoding": "pcm16", "rate": 16000, "channels": 1, "frame_ms": 20},
                "parameters": {"customer": "Anna"},
                "destinations": [{"name": "desk", "description": "the desk"}],
                "barge_in": "local", "resumed": true,
            })
        );
    }
}
