//! Messages of Azure's speech service (its Universal Speech Protocol, as the Speech SDK 1.53.0 writes and reads it): a
//! block of headers, an empty line and a body; in binary messages the block's length stands in front, in two octets.

use crate::providers::format::{AudioFormat, Encoding};
use serde_json::Value;

/// The stream of audio that a turn has; there is never another.
pub(super) const STREAM: &str = "1";

/// A message of the vendor.
pub(super) struct Said<'a> {
    /// What it is, in lower case.
    pub(super) path: String,
    /// The turn it belongs to; empty where it names none.
    pub(super) request: &'a str,
    /// Its body; an empty object where there is none.
    pub(super) body: Value,
}

/// Reads a text message; `None` when it is none of this protocol.
pub(super) fn said(message: &str) -> Option<Said<'_>> {
    let (headers, body) = message.split_once("\r\n\r\n")?;
    let header = |wanted: &str| {
        let lines = headers.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let body = match body.trim() {
        "" => Value::Object(serde_json::Map::new()),
        body => serde_json::from_str(body).ok().filter(Value::is_object)?,
    };
    Some(Said { path: header("path")?.to_ascii_lowercase(), request: header("x-requestid").unwrap_or_default(), body })
}

/// A text message with a JSON body. The session's own message names no turn.
pub(super) fn text(path: &str, request: Option<&str>, timestamp: &str, body: &Value) -> String {
    let request = request.map_or_else(String::new, |request| format!("X-RequestId:{request}\r\n"));
    format!("X-Timestamp:{timestamp}\r\nPath:{path}\r\nContent-Type:application/json\r\n{request}\r\n{body}")
}

/// A binary message of audio. Without octets, it ends the turn.
pub(super) fn audio(request: &str, timestamp: &str, content_type: Option<&str>, octets: &[u8]) -> Vec<u8> {
    let kind = content_type.map_or_else(String::new, |kind| format!("Content-Type:{kind}\r\n"));
    let headers =
        format!("X-Timestamp:{timestamp}\r\nPath:audio\r\n{kind}X-RequestId:{request}\r\nX-StreamId:{STREAM}\r\n");
    let length = u16::try_from(headers.len()).unwrap_or(u16::MAX);
    let mut message = Vec::with_capacity(2 + headers.len() + octets.len());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(headers.as_bytes());
    message.extend_from_slice(octets);
    message
}

/// The header of a WAV file without an end, which says what audio follows. G.711 has its own tags in it.
pub(super) fn riff(format: AudioFormat) -> Vec<u8> {
    let tag: u16 = match format.encoding {
        Encoding::Pcm16 => 1,
        Encoding::Alaw => 6,
        Encoding::Mulaw => 7,
    };
    let width = if format.encoding == Encoding::Pcm16 { 2_u16 } else { 1 };
    let rate = format.rate.0;
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF\0\0\0\0WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&tag.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * u32::from(width)).to_le_bytes());
    header.extend_from_slice(&width.to_le_bytes());
    header.extend_from_slice(&(width * 8).to_le_bytes());
    header.extend_from_slice(b"data\0\0\0\0");
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_riff_header_is_the_one_the_vendor_s_own_client_sends() {
        let hex = |format| riff(format).iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        assert_eq!(
            hex(AudioFormat::pcm(8_000)),
            "524946460000000057415645666d74201000000001000100401f0000803e0000020010006461746100000000"
        );
        assert_eq!(
            hex(AudioFormat::MULAW),
            "524946460000000057415645666d74201000000007000100401f0000401f0000010008006461746100000000"
        );
    }

    #[test]
    fn headers_are_read_in_any_case_and_order_and_what_is_no_message_is_told() {
        let message =
            said("x-requestid: a1\r\nContent-Type:application/json; charset=utf-8\r\nPATH:Turn.End\r\n\r\n{}");
        let message = message.expect("a message");
        assert_eq!((message.path.as_str(), message.request), ("turn.end", "a1"));
        assert!(said("Path:turn.end\r\n\r\n").is_some_and(|message| message.request.is_empty()));
        for bad in ["", "null", "{}", "Path:x\r\n\r\n{", "Path:x\r\n\r\n[]", "X:y\r\n\r\n{}", "Path:x"] {
            assert!(said(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_message_of_audio_says_how_long_its_headers_are() {
        let message = audio("r1", "2026-01-02T03:04:05.678Z", None, &[1, 2, 3]);
        let length = usize::from(u16::from_be_bytes([message[0], message[1]]));
        let headers = "X-Timestamp:2026-01-02T03:04:05.678Z\r\nPath:audio\r\nX-RequestId:r1\r\nX-StreamId:1\r\n";
        assert_eq!(&message[2..2 + length], headers.as_bytes());
        assert_eq!(&message[2 + length..], [1, 2, 3]);
    }
}
