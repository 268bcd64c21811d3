//! The wire protocols of outside bots: pure machines that turn what comes over a WebSocket into happenings and back.
//!
//! [`Twilio`] is Twilio's Media Streams, as a bidirectional `<Connect><Stream>` speaks it; [`Lean`] is Offhook's own
//! protocol with binary audio. `docs/bridge.md` specifies both. Neither knows a socket or a clock: the call hands
//! in whole messages and sends what comes out.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod lean;
pub mod limits;
mod twilio;

pub use lean::{HEADER_BYTES, Lean, SUBPROTOCOL};
pub use twilio::Twilio;

use super::base64;
use crate::audio::g711::Law;
use crate::base::{Pii, SampleRate};
use bytes::BytesMut;
use serde_json::{Map, Value};

/// How samples stand on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// G.711 µ-law, one octet per sample.
    Mulaw,
    /// 16-bit linear, little-endian.
    Pcm16,
}

impl Encoding {
    /// Every encoding with its name in the agent file and in the lean protocol.
    pub const NAMES: [(&'static str, Self); 2] = [("mulaw", Self::Mulaw), ("pcm16", Self::Pcm16)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mulaw => "mulaw",
            Self::Pcm16 => "pcm16",
        }
    }

    /// Octets of one sample.
    #[must_use]
    pub fn sample_bytes(self) -> usize {
        match self {
            Self::Mulaw => 1,
            Self::Pcm16 => 2,
        }
    }
}

/// What audio on the wire is: mono, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioFormat {
    /// How a sample is written.
    pub encoding: Encoding,
    /// One of [`Self::RATES`].
    pub rate: SampleRate,
}

impl AudioFormat {
    /// What every Twilio stream has.
    pub const TWILIO: Self = Self { encoding: Encoding::Mulaw, rate: SampleRate::NARROWBAND };
    /// What the lean protocol begins with where the agent file says nothing else.
    pub const WIDEBAND: Self = Self { encoding: Encoding::Pcm16, rate: SampleRate::WIDEBAND };
    /// The rates there are.
    pub const RATES: [SampleRate; 3] = [SampleRate::NARROWBAND, SampleRate::WIDEBAND, SampleRate(24_000)];

    /// Writes samples as they stand on the wire and says how many octets that took: as many as both lists hold.
    pub fn encode(self, samples: &[i16], octets: &mut [u8]) -> usize {
        let room = octets.len() / self.encoding.sample_bytes();
        match self.encoding {
            Encoding::Mulaw => Law::Mu.encode(samples, octets),
            Encoding::Pcm16 => {
                let (pairs, _) = octets.as_chunks_mut::<2>();
                for (pair, sample) in pairs.iter_mut().zip(samples) {
                    *pair = sample.to_le_bytes();
                }
            }
        }
        samples.len().min(room) * self.encoding.sample_bytes()
    }

    /// Appends the samples of `octets`; half a sample at the end is left out.
    pub fn decode(self, octets: &[u8], out: &mut Vec<i16>) {
        match self.encoding {
            Encoding::Mulaw => out.extend(octets.iter().map(|octet| Law::Mu.decode_sample(*octet))),
            Encoding::Pcm16 => {
                let (pairs, _) = octets.as_chunks::<2>();
                out.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
            }
        }
    }
}

/// What a bot said, whichever protocol it speaks.
#[derive(Clone, PartialEq, Debug)]
pub enum BotMessage {
    /// Audio for the caller; its samples were appended to the list that the reader was given.
    Audio(AudioFormat),
    /// Everything not played yet is void.
    Clear,
    /// The bot reports a fault of its own, in its words.
    Complaint(String),
    /// Keys to press on the line.
    Digits(Pii<String>),
    /// What the bot wants to hear and will say from here on.
    Format(AudioFormat),
    /// End the call once everything said so far has been played.
    Hangup {
        /// For the record.
        reason: String,
        /// Whether the task of the call was done.
        completed: bool,
    },
    /// Put the caller on hold (`true`) or take it back.
    Hold(bool),
    /// Say so when everything sent so far has been played.
    Mark(String),
    /// Speak this text with Offhook's own voice.
    Say(Pii<String>),
    /// The bot has done its part: the connection may be closed.
    Stop,
    /// Hand the call to a destination out of the agent file.
    Transfer {
        /// Its name there; never a number.
        destination: String,
        /// What the human should know.
        context: Pii<Map<String, Value>>,
    },
    /// A message of a kind that this side does not know: to be counted.
    Unknown,
}

/// A message that is not of the protocol. The bot is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A binary message where the protocol has none.
    #[error("a binary message: this protocol has text alone")]
    Binary,
    /// The audio inside a message is no base64.
    #[error("the audio is no base64 (RFC 4648 section 4)")]
    Base64,
    /// An audio format that is not served.
    #[error("an unknown audio format: mulaw or pcm16 at 8000, 16000 or 24000")]
    Format,
    /// Text that is no JSON object of the protocol's shape.
    #[error("no JSON object of this protocol")]
    Json,
    /// A field that this kind of message needs is missing or of another kind.
    #[error("the field `{0}` is missing or of another kind")]
    Field(&'static str),
    /// A binary message that is shorter than its header, or of another version of it.
    #[error("the header of the audio is not of version 1")]
    Header,
    /// Half a sample at the end of the audio.
    #[error("the audio ends in the middle of a sample")]
    HalfSample,
    /// Something is larger than it may be.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// What is allowed.
        limit: usize,
    },
    /// The message names another stream than this one.
    #[error("the message is for another stream")]
    WrongStream,
}

impl WireError {
    /// The word for it in the lean protocol's `error` message.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Binary => "unexpected_binary",
            Self::Base64 => "bad_base64",
            Self::Format => "bad_format",
            Self::Json => "bad_json",
            Self::Field(_) => "bad_field",
            Self::Header => "bad_header",
            Self::HalfSample => "half_sample",
            Self::TooLarge { .. } => "too_large",
            Self::WrongStream => "wrong_stream",
        }
    }
}

/// Whether an encoded message goes out as text or as octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Octets.
    Binary,
}

/// A call, as a bot is told about it.
#[derive(Clone, Debug)]
pub struct Greeting<'g> {
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// Number of the call in Offhook's events.
    pub call: &'g str,
    /// Named values for the bot, in order.
    pub parameters: &'g [(String, Pii<String>)],
    /// Destinations that the bot may transfer to: name and description.
    pub destinations: &'g [(String, String)],
    /// The connection takes the place of one that broke: audio that the bot has missed follows.
    pub resumed: bool,
}

/// Something besides audio that a bot is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice<'n> {
    /// The caller spoke over the bot, and what was queued is void.
    BargeIn {
        /// Sample of the caller's audio at which the voice began, in the format that is sent.
        timestamp: u32,
    },
    /// The caller pressed a key.
    Digit(char),
    /// Something the bot asked for was not done, or what it sent was not understood.
    Fault {
        /// Its word.
        code: &'n str,
        /// For people.
        message: &'n str,
    },
    /// The caller's side was put on hold, or taken back.
    Held(bool),
    /// Everything before this mark was played, or is void.
    Mark {
        /// Its name.
        name: &'n str,
        /// False when it was voided by a clear.
        played: bool,
    },
    /// The bridge ends.
    Stop {
        /// Why.
        reason: &'n str,
    },
    /// A transfer is decided.
    Transferred {
        /// Where to.
        destination: &'n str,
        /// Whether the other side took the call.
        accepted: bool,
        /// Status and reason.
        reason: &'n str,
    },
}

/// One of the two protocols.
#[derive(Debug)]
pub enum Wire {
    /// Twilio Media Streams.
    Twilio(Twilio),
    /// The lean protocol.
    Lean(Lean),
}

impl Wire {
    /// Appends the messages that open a stream, each with its opcode, by handing them to `send`.
    pub fn open(&mut self, greeting: &Greeting<'_>, send: &mut dyn FnMut(Opcode, BytesMut)) {
        match self {
            Self::Twilio(twilio) => twilio.open(greeting, send),
            Self::Lean(lean) => lean.open(greeting, send),
        }
    }

    /// The format that caller audio is sent in.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        match self {
            Self::Twilio(_) => AudioFormat::TWILIO,
            Self::Lean(lean) => lean.format(),
        }
    }

    /// Appends one message of caller audio to `out`. `timestamp` counts samples of the format from the first one on.
    pub fn audio(&mut self, timestamp: u32, octets: &[u8], out: &mut BytesMut) -> Opcode {
        match self {
            Self::Twilio(twilio) => twilio.audio(timestamp, octets, out),
            Self::Lean(lean) => lean.audio(timestamp, octets, out),
        }
    }

    /// Appends a notice to `out`; `None` where the protocol has no word for it.
    pub fn notice(&mut self, notice: &Notice<'_>, out: &mut BytesMut) -> Option<Opcode> {
        match self {
            Self::Twilio(twilio) => twilio.notice(notice, out),
            Self::Lean(lean) => lean.notice(notice, out),
        }
    }

    /// Reads a text message. Samples of audio in it are appended to `samples`.
    ///
    /// # Errors
    /// [`WireError`]: nothing was appended that counts.
    pub fn read_text(&mut self, text: &str, samples: &mut Vec<i16>) -> Result<BotMessage, WireError> {
        too_large("a message", text.len(), limits::MESSAGE_BYTES)?;
        match self {
            Self::Twilio(twilio) => twilio.read(text, samples),
            Self::Lean(lean) => lean.read_text(text),
        }
    }

    /// Reads a binary message. Samples of audio in it are appended to `samples`.
    ///
    /// # Errors
    /// [`WireError`]: nothing was appended that counts.
    pub fn read_binary(&mut self, octets: &[u8], samples: &mut Vec<i16>) -> Result<BotMessage, WireError> {
        too_large("a message", octets.len(), limits::MESSAGE_BYTES)?;
        match self {
            Self::Twilio(_) => Err(WireError::Binary),
            Self::Lean(lean) => lean.read_binary(octets, samples),
        }
    }
}

/// Octets as base64 (RFC 4648 §4).
#[must_use]
pub fn base64_of(octets: &[u8]) -> String {
    let mut out = BytesMut::new();
    base64::encode(octets, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn too_large(what: &'static str, length: usize, limit: usize) -> Result<(), WireError> {
    if length > limit { Err(WireError::TooLarge { what, limit }) } else { Ok(()) }
}

/// The first bytes of a text, cut at a character.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// Appends JSON. A value made of strings, numbers and maps of strings cannot fail to be written.
fn write_json(value: &Value, out: &mut BytesMut) {
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mulaw_passes_without_any_loss_and_pcm_is_little_endian() {
        let codes: Vec<u8> = (0..=255).collect();
        let (mut samples, mut back) = (Vec::new(), [0; 256]);
        AudioFormat::TWILIO.decode(&codes, &mut samples);
        assert_eq!(AudioFormat::TWILIO.encode(&samples, &mut back), 256);
        // Both zeros of the law are one sample.
        assert!(codes.iter().zip(&back).all(|(code, other)| code == other || (*code, *other) == (0x7F, 0xFF)));
        let mut octets = [0; 5];
        assert_eq!(AudioFormat::WIDEBAND.encode(&[0x0102, -2, 7], &mut octets), 4);
        assert_eq!(octets, [0x02, 0x01, 0xFE, 0xFF, 0]);
        samples.clear();
        AudioFormat::WIDEBAND.decode(&[0x02, 0x01, 0xFE, 0xFF, 0x07], &mut samples);
        assert_eq!(samples, [0x0102, -2]);
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("ab", 9), "ab");
    }
}
