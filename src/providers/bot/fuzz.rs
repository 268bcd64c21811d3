//! Body of the fuzz target `bridge_frames`: what must hold of anything that a bot may send.

use super::limits::{DIGITS, MARK_BYTES, MESSAGE_BYTES, NAME_BYTES, SAY_CHARS};
use super::{AudioFormat, BotMessage, Lean, Notice, Twilio, Wire};
use crate::base::Random;
use bytes::BytesMut;

/// Reads messages, each introduced by a length and a kind, with both protocols. Checks that a fault leaves no audio, that
/// audio is never longer than its message, that names stay within their bounds, and that what is sent back is JSON.
///
/// # Panics
/// If one of that does not hold.
pub fn bridge_frames(bytes: &[u8]) {
    let mut random = Random::seeded(1);
    let mut wires = [Wire::Twilio(Twilio::new(None, &mut random)), Wire::Lean(Lean::new(AudioFormat::WIDEBAND, false))];
    let mut rest = bytes;
    while let Some(([low, high], after)) = rest.split_first_chunk::<2>() {
        let (message, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes([*low, *high]) >> 1)));
        rest = after;
        for wire in &mut wires {
            let mut samples = Vec::new();
            let read = match std::str::from_utf8(message) {
                Ok(text) if low & 1 == 0 => wire.read_text(text, &mut samples),
                _ => wire.read_binary(message, &mut samples),
            };
            assert!(samples.len() <= message.len() && message.len() <= MESSAGE_BYTES);
            match read {
                Ok(BotMessage::Audio(format)) => assert!(AudioFormat::RATES.contains(&format.rate)),
                Ok(message) => {
                    assert!(samples.is_empty());
                    check(wire, &message);
                }
                Err(error) => {
                    assert!(samples.is_empty());
                    answer(wire, &Notice::Fault { code: error.code(), message: &error.to_string() });
                }
            }
        }
    }
}

fn check(wire: &mut Wire, message: &BotMessage) {
    match message {
        BotMessage::Digits(digits) => assert!((1..=DIGITS).contains(&digits.expose().len())),
        BotMessage::Format(format) => assert!(wire.format() == *format),
        BotMessage::Mark(name) => {
            assert!(name.len() <= MARK_BYTES);
            answer(wire, &Notice::Mark { name, played: true });
        }
        BotMessage::Say(text) => assert!(text.expose().chars().count() <= SAY_CHARS),
        BotMessage::Transfer { destination, .. } => {
            assert!(destination.len() <= NAME_BYTES);
            answer(wire, &Notice::Transferred { destination, accepted: false, reason: destination });
        }
        _ => {}
    }
}

fn answer(wire: &mut Wire, notice: &Notice<'_>) {
    let mut out = BytesMut::new();
    if wire.notice(notice, &mut out).is_some() {
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok_and(|value| value.is_object()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages as the fuzz target takes them.
    fn framed(messages: &[(bool, Vec<u8>)]) -> Vec<u8> {
        let frame = |(binary, message): &(bool, Vec<u8>)| {
            let length = (message.len() as u16) << 1 | u16::from(*binary);
            [&length.to_le_bytes()[..], message].concat()
        };
        messages.iter().flat_map(frame).collect()
    }

    #[test]
    fn every_seed_holds() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/bridge_frames");
        let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        assert!(seeds.len() >= 4);
        for seed in seeds {
            bridge_frames(&std::fs::read(seed.path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn nothing_a_bot_sends_breaks_a_rule(messages in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..8)) {
            bridge_frames(&framed(&messages));
        }

        #[test]
        fn nothing_that_looks_like_a_message_breaks_a_rule(kind in "(media|mark|clear|dtmf|format|hold|say|transfer)",
            value in "\\PC{0,40}") {
            let value = serde_json::to_string(&value).unwrap();
            let text = format!(
                r#"{{"event":"{kind}","type":"{kind}","name":{value},"digits":{value},"text":{value},"destination":{value},
                "media":{{"payload":{value}}},"mark":{{"name":{value}}},"encoding":{value},"rate":8000}}"#
            );
            bridge_frames(&framed(&[(false, text.into_bytes())]));
        }
    }
}
