//! The session description of a message: its whole body, or a part of a multipart body (RFC 5621, RFC 2046 §5.1).

use super::header::{ContentType, HeaderName};
use super::message::Message;
use super::parse::trim;

/// How deep multipart bodies may nest: each level reads the body again (security class 13).
const MAX_DEPTH: u8 = 3;

/// Parts of one multipart body that are looked at: a body of nothing but delimiters would otherwise be all work.
const MAX_PARTS: usize = 16;

/// Longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// What a body holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// Nothing, or only what its sender declared optional.
    Empty,
    /// A session description.
    Sdp(&'a [u8]),
    /// Something else.
    Other,
}

/// What the body of a message holds. A body without Content-Type is taken for a session description, as old peers
/// mean it.
#[must_use]
pub fn body<'a>(message: &Message<'a>) -> Body<'a> {
    if message.body().is_empty() {
        return Body::Empty;
    }
    let Some(raw) = message.value(HeaderName::ContentType) else { return Body::Sdp(message.body()) };
    match (read(raw, message.body(), 0), message.value(HeaderName::ContentDisposition)) {
        (Body::Other, Some(disposition)) if is_optional(disposition) => Body::Empty,
        (body, _) => body,
    }
}

/// The session description of a message, if it has one.
#[must_use]
pub fn session_description<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    match body(message) {
        Body::Sdp(sdp) => Some(sdp),
        Body::Empty | Body::Other => None,
    }
}

fn read<'a>(content_type: &[u8], content: &'a [u8], depth: u8) -> Body<'a> {
    let Ok(kind) = ContentType::parse(content_type) else { return Body::Other };
    if kind.is("application", "sdp") {
        return if content.is_empty() { Body::Empty } else { Body::Sdp(content) };
    }
    if !kind.kind.eq_ignore_ascii_case("multipart") || depth >= MAX_DEPTH {
        return Body::Other;
    }
    let boundary = kind.params.unquoted("boundary");
    let Some(boundary) = boundary.filter(|b| !b.is_empty() && b.len() <= MAX_BOUNDARY_BYTES) else {
        return Body::Other;
    };
    let mut only_optional = true;
    for part in parts(content, boundary.as_bytes()) {
        match read(part.content_type.unwrap_or(b"text/plain"), part.content, depth.saturating_add(1)) {
            Body::Sdp(sdp) if !part.is_encoded => return Body::Sdp(sdp),
            Body::Sdp(_) | Body::Other => only_optional &= part.is_optional,
            Body::Empty => {}
        }
    }
    if only_optional { Body::Empty } else { Body::Other }
}

#[derive(Default)]
struct Part<'a> {
    content_type: Option<&'a [u8]>,
    is_optional: bool,
    is_encoded: bool,
    content: &'a [u8],
}

fn parts<'a>(content: &'a [u8], boundary: &[u8]) -> Vec<Part<'a>> {
    let delimiter = [b"--", boundary].concat();
    let mut parts = Vec::new();
    // Where the part that is being read begins; the preamble before the first delimiter is none.
    let mut begin: Option<usize> = None;
    let mut at = 0_usize;
    while let Some(line) = content.get(at..).filter(|rest| !rest.is_empty()) {
        let length = line.iter().position(|b| *b == b'\n').map_or(line.len(), |n| n.saturating_add(1));
        let next = at.saturating_add(length);
        let line = line.get(..length).unwrap_or_default();
        if let Some(rest) = line.strip_prefix(&*delimiter)
            && let is_last = rest.starts_with(b"--")
            && (is_last || trim(rest).is_empty())
        {
            if let Some(begin) = begin {
                parts.push(part(without_line_break(content.get(begin..at).unwrap_or_default())));
            }
            if is_last || parts.len() >= MAX_PARTS {
                return parts;
            }
            begin = Some(next);
        }
        at = next;
    }
    // The closing delimiter is missing: what is there of the last part is read nevertheless.
    if let Some(begin) = begin {
        parts.push(part(content.get(begin..).unwrap_or_default()));
    }
    parts
}

fn part(mut rest: &[u8]) -> Part<'_> {
    let mut part = Part::default();
    loop {
        let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n.saturating_add(1));
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
        rest = after;
        let line = trim(without_line_break(line));
        if line.is_empty() {
            part.content = rest;
            return part;
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let value = trim(value.get(1..).unwrap_or_default());
        let name = trim(name);
        if name.eq_ignore_ascii_case(b"content-type") {
            part.content_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            part.is_optional = is_optional(value);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            part.is_encoded = ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|e| value.eq_ignore_ascii_case(e));
        }
    }
}

fn is_optional(disposition: &[u8]) -> bool {
    super::header::Tagged::parse(disposition)
        .is_ok_and(|d| d.params.value("handling").is_some_and(|h| h.eq_ignore_ascii_case("optional")))
}

fn without_line_break(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &str, body: &str) -> Vec<u8> {
        format!("INVITE sip:a@b SIP/2.0\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn found(headers: &str, text: &str) -> String {
        let bytes = message(headers, text);
        match body(&Message::parse(&bytes).unwrap()) {
            Body::Empty => "empty".to_owned(),
            Body::Sdp(sdp) => String::from_utf8(sdp.to_vec()).unwrap(),
            Body::Other => "other".to_owned(),
        }
    }

    const MIXED: &str = "Content-Type: multipart/mixed;boundary=\"b 1\"\r\n";

    #[test]
    fn the_session_description_is_found_beside_other_parts() {
        let isup =
            "--b 1\r\nContent-Type: application/ISUP\r\nContent-Disposition: signal;handling=optional\r\n\r\nxx\r\n";
        let sdp = "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n";
        assert_eq!(found(MIXED, &format!("preamble\r\n{isup}{sdp}--b 1--\r\n")), "v=0\r\ns=-");
        assert_eq!(found(MIXED, &format!("{sdp}{isup}--b 1--")), "v=0\r\ns=-");
        assert_eq!(found(MIXED, sdp), "v=0\r\ns=-\r\n", "without its end");
        assert_eq!(found(MIXED, &format!("{isup}--b 1--")), "empty", "what is left is optional");
        assert_eq!(found(MIXED, "--b 1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b 1--"), "other");
    }

    #[test]
    fn a_plain_body_is_judged_by_its_type() {
        assert_eq!(found("", ""), "empty");
        assert_eq!(found("", "v=0"), "v=0");
        assert_eq!(found("c: Application/SDP\r\n", "v=0"), "v=0");
        assert_eq!(found("Content-Type: text/plain\r\n", "v=0"), "other");
        let optional = "Content-Type: application/x-context\r\nContent-Disposition: render;handling=optional\r\n";
        assert_eq!(found(optional, "hello"), "empty");
    }

    #[test]
    fn nesting_is_followed_three_levels_and_no_deeper() {
        let nest = |depth: usize| {
            let mut body = "v=0".to_owned();
            let mut kind = "application/sdp".to_owned();
            for level in 0..depth {
                body = format!("--n{level}\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--n{level}--\r\n");
                kind = format!("multipart/mixed;boundary=n{level}");
            }
            found(&format!("Content-Type: {kind}\r\n"), &body)
        };
        assert_eq!(nest(3), "v=0");
        assert_eq!(nest(4), "other");
    }

    #[test]
    fn an_encoded_description_or_a_missing_boundary_is_not_understood() {
        let encoded =
            "--b 1\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b 1--";
        assert_eq!(found(MIXED, encoded), "other");
        assert_eq!(found("Content-Type: multipart/mixed\r\n", "--\r\n\r\nv=0"), "other");
        let long = "x".repeat(71);
        assert_eq!(found(&format!("Content-Type: multipart/mixed;boundary={long}\r\n"), "v=0"), "other");
    }

    #[test]
    fn a_body_of_nothing_but_delimiters_costs_a_bounded_number_of_parts() {
        let body = "--b\r\n".repeat(10_000);
        assert!(parts(body.as_bytes(), b"b").len() <= MAX_PARTS);
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_read_without_panic(body in proptest::collection::vec(0_u8.., 0..300)) {
            let text = String::from_utf8_lossy(&body).replace('Z', "\r\n--b\r\n");
            let _ = found("Content-Type: multipart/mixed;boundary=b\r\n", &text);
        }
    }
}
