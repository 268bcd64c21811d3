//! WebSocket frames of the server's side (RFC 6455 §5), by octets, so that they can be spoilt. Pure.

use super::vendor::Message;

/// A text message.
pub const TEXT: u8 = 0x1;
/// A binary message.
pub const BINARY: u8 = 0x2;
/// A close.
pub const CLOSE: u8 = 0x8;
/// A ping.
pub const PING: u8 = 0x9;
/// A pong.
pub const PONG: u8 = 0xA;

const CONTINUATION: u8 = 0x0;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The longest frame a fake takes, in octets. No vendor takes a longer one.
const LONGEST: usize = 16 << 20;

/// One final, unmasked frame.
pub fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(FINAL | opcode);
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close frame; code 1005 has no body (RFC 6455 §7.4.1).
pub fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    if code == 1005 {
        return encode(CLOSE, &[]);
    }
    let mut body = code.to_be_bytes().to_vec();
    body.extend(reason.bytes().take(123));
    encode(CLOSE, &body)
}

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message, its fragments put together.
    Message(Message),
    /// A ping, to be answered with the same octets.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close with its code, 1005 when it has none.
    Close(u16),
}

/// Puts frames and messages together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The opcode and what came so far of a message in fragments.
    partial: Option<(u8, Vec<u8>)>,
}

impl Assembler {
    /// Takes the next item from the front of `inbox`; `None` when more octets are needed. An error is a broken rule of
    /// RFC 6455, after which the connection can not go on.
    pub fn next(&mut self, inbox: &mut Vec<u8>) -> Result<Option<Incoming>, String> {
        loop {
            let Some((first, payload)) = frame(inbox)? else { return Ok(None) };
            let (last, opcode) = (first & FINAL != 0, first & 0x0F);
            if opcode >= CLOSE && !last {
                return Err("a control frame in fragments (RFC 6455 §5.5)".into());
            }
            match (opcode, self.partial.take()) {
                (CLOSE | PING | PONG, partial) => {
                    self.partial = partial;
                    return control(opcode, payload).map(Some);
                }
                (CONTINUATION, None) => return Err("a continuation of nothing (RFC 6455 §5.4)".into()),
                (TEXT | BINARY, Some(_)) => return Err("a message inside another's fragments (RFC 6455 §5.4)".into()),
                (CONTINUATION, Some((kind, mut whole))) => {
                    whole.extend_from_slice(&payload);
                    if last {
                        return message(kind, whole).map(Some);
                    }
                    self.partial = Some((kind, whole));
                }
                (TEXT | BINARY, None) if last => return message(opcode, payload).map(Some),
                (TEXT | BINARY, None) => self.partial = Some((opcode, payload)),
                (other, _) => return Err(format!("an unknown opcode {other:#x} (RFC 6455 §5.2)")),
            }
        }
    }
}

fn message(opcode: u8, payload: Vec<u8>) -> Result<Incoming, String> {
    if opcode == BINARY {
        return Ok(Incoming::Message(Message::Binary(payload)));
    }
    let text = String::from_utf8(payload).map_err(|_| "a text message that is not UTF-8 (RFC 6455 §8.1)")?;
    Ok(Incoming::Message(Message::Text(text)))
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Incoming, String> {
    if payload.len() > 125 {
        return Err("a control frame of more than 125 octets (RFC 6455 §5.5)".into());
    }
    match (opcode, payload.as_slice()) {
        (PING, _) => Ok(Incoming::Ping(payload)),
        (PONG, _) => Ok(Incoming::Pong),
        (_, []) => Ok(Incoming::Close(1005)),
        (_, [high, low, ..]) => Ok(Incoming::Close(u16::from_be_bytes([*high, *low]))),
        (_, [_]) => Err("a close code of one octet (RFC 6455 §5.5.1)".into()),
    }
}

/// Takes one frame from the front: its first octet and its payload, unmasked.
fn frame(inbox: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    let [first, second, ..] = inbox[..] else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err("a reserved bit without an extension that uses it (RFC 6455 §5.2)".into());
    }
    if second & MASKED == 0 {
        return Err("a frame from the client without a mask (RFC 6455 §5.1)".into());
    }
    let extended = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let head = 2 + extended + 4;
    if inbox.len() < head {
        return Ok(None);
    }
    let length = match extended {
        0 => usize::from(second & 0x7F),
        _ => inbox[2..2 + extended].iter().fold(0, |n, octet| n << 8 | usize::from(*octet)),
    };
    if length > LONGEST {
        return Err(format!("a frame of {length} octets; a vendor takes {LONGEST} at the most"));
    }
    if inbox.len() < head + length {
        return Ok(None);
    }
    let mask = [inbox[head - 4], inbox[head - 3], inbox[head - 2], inbox[head - 1]];
    let mut payload: Vec<u8> = inbox.drain(..head + length).skip(head).collect();
    for (octet, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *octet ^= mask;
    }
    Ok(Some((first, payload)))
}
