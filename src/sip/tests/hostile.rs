//! Bytes that no peer should send: damaged torture messages and generated ones.

use super::super::fuzz::sip_message;
use super::super::{OwnedMessage, Verdict, judge};
use super::*;
use generator::{Torture, all, ipv6};
use proptest::prelude::*;
use std::time::Instant;

#[path = "../../../tests/rfc4475/generator.rs"]
mod generator;

fn torture() -> impl Iterator<Item = Torture> {
    all().into_iter().chain(ipv6())
}

#[test]
fn no_truncation_of_a_torture_message_panics_and_none_within_the_headers_is_accepted() {
    for Torture { name, section, bytes } in torture() {
        let headers = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        // The long message repeats itself: every thirteenth cut meets all of its parts.
        let step = if name == "longreq" { 13 } else { 1 };
        for end in (0..bytes.len()).step_by(step) {
            sip_message(&bytes[..end]);
            if end < headers {
                assert!(!matches!(judge(&bytes[..end]), Verdict::Accept { .. }), "{name} ({section}) cut at {end}");
            }
        }
    }
}

/// The bytes that mean something to a parser, and some that mean nothing.
const TELLING: [u8; 12] = *b"\0\r\n \"\\<;,:@\xff";

#[test]
fn no_change_of_a_single_byte_of_a_torture_message_panics() {
    for Torture { name, mut bytes, .. } in torture() {
        // The long message repeats itself: every 31st byte meets all of its parts.
        let step = if name == "longreq" { 31 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let original = bytes[at];
            for (i, changed) in TELLING.into_iter().chain([original ^ 0x20]).enumerate() {
                bytes[at] = changed;
                // Every change is judged, every twelfth read in all ways: the full reading is ten times the work.
                if (i + at) % 12 == 0 { sip_message(&bytes) } else { drop(judge(&bytes)) }
            }
            bytes[at] = original;
        }
    }
}

#[test]
fn every_value_of_every_byte_of_a_plain_request_is_survived() {
    let mut bytes = torture().find(|t| t.name == "lwsdisp").unwrap().bytes;
    for at in 0..bytes.len() {
        let original = bytes[at];
        for changed in 0..=255 {
            bytes[at] = changed;
            let _ = judge(&bytes);
        }
        bytes[at] = original;
    }
}

/// Pieces that make messages near the edge of being well formed.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "INVITE ",
        "ACK ",
        "REGISTER ",
        "SIP/2.0",
        "SIP/2.0 200 OK",
        " ",
        "\r\n",
        "\n",
        "\r\n ",
        "\t",
        ":",
        "::",
        ";",
        ",",
        "\"",
        "\\",
        "<",
        ">",
        "=",
        "%",
        "%41",
        "@",
        "?",
        "&",
        "[",
        "]",
        "[::1]",
        "192.0.2.1",
        "sip:",
        "sips:a@b",
        "tel:+1",
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        "v: ",
        "From: ",
        "To: ",
        "f: <sip:a@b>;tag=1",
        "t: <sip:a@b>",
        "Call-ID: x",
        "i: y@z",
        "CSeq: 1 INVITE",
        "CSeq: ",
        "Contact: *",
        "m: <sip:a@b>",
        "Content-Length: 3",
        "l: 99999999999",
        "Max-Forwards: 70",
        "Route: <sip:r;lr>",
        "WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"",
        "Authorization: Digest ",
        "username=\"u\"",
        "Expires: 60",
        "(",
        ")",
        "\0",
        "\u{e9}",
    ];
    prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(|w| w.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        sip_message(&bytes);
    }

    #[test]
    fn any_pieces_of_messages_are_read_without_panic(pieces in proptest::collection::vec(piece(), 0..60)) {
        sip_message(&pieces.concat());
    }

    #[test]
    fn any_header_line_of_pieces_is_read_without_panic_and_written_stably(pieces in proptest::collection::vec(piece(), 0..20), which in 0usize..12) {
        let name = ["Via", "From", "To", "Contact", "Route", "WWW-Authenticate", "Authorization", "CSeq", "Refer-To", "Replaces", "X-Other", "Session-Expires"][which];
        let head = format!("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\ni: c\r\nCSeq: 1 OPTIONS\r\n{name}: ");
        let value: Vec<u8> = pieces.concat().into_iter().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect();
        sip_message(&[head.as_bytes(), &value, b"\r\n\r\n"].concat());
    }

    #[test]
    fn a_composed_message_reads_back_as_it_was_composed(
        user in "[a-zA-Z0-9 ;?@:%\"<>\u{e9}]{0,12}", display in "\\PC{0,20}", tag in "[a-z0-9]{1,10}", number in any::<u32>(),
        extra in "[!-~][ -~]{0,40}[!-~]", body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = Uri::parse("sip:192.0.2.1:5070").unwrap().with_user(&user);
        prop_assert_eq!(super::super::uri::unescaped(uri.view().user().unwrap()), user);
        let mut request = super::super::Request::new(Method::Info, uri.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, super::super::HeaderValue::via("UDP", "[::1]:5060", "z9hG4bKx"));
        headers.push(HeaderName::From, super::super::HeaderValue::name_addr(Some(&display), &uri, &[("tag", Some(&tag))]));
        headers.push(HeaderName::To, super::super::HeaderValue::name_addr(None, &uri, &[]));
        headers.push_spelled("Call-ID", "abc@def").unwrap();
        headers.push_spelled("X-Extra", &extra).unwrap();
        headers.push(HeaderName::CSeq, super::super::HeaderValue::try_from(format!("{number} INFO")).unwrap());
        let request = request.with_body(super::super::HeaderValue::new("application/octet-stream").unwrap(), body.clone());
        let wire = request.write();
        let Verdict::Accept { message, head } = judge(&wire) else { panic!("{}", wire.escape_ascii()) };
        prop_assert_eq!(message.body(), &body[..]);
        prop_assert_eq!(head.from.tag(), Some(tag.as_str()));
        prop_assert_eq!(head.from.display_name(), display);
        prop_assert!(head.from.uri().unwrap().is_equivalent(&uri.view()));
        prop_assert_eq!(head.cseq.number, number);
        prop_assert_eq!(message.values_spelled("x-extra").next(), Some(extra.as_bytes()));
        prop_assert_eq!(OwnedMessage::echo(&message).unwrap().write(), wire.clone());
        prop_assert_eq!(frame_length(&wire).unwrap(), Some(wire.len()));
        for end in 0..wire.len() {
            prop_assert_eq!(frame_length(&wire[..end]).unwrap(), None);
        }
    }
}

#[test]
fn oversized_messages_and_endless_headers_are_refused() {
    let head = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\ni: c\r\nCSeq: 1 OPTIONS\r\n";
    let status = |bytes: &[u8]| match judge(bytes) {
        Verdict::Reject { fault, .. } => Some(fault.status.code()),
        Verdict::Accept { .. } => Some(0),
        Verdict::Drop { .. } => None,
    };
    let with = |lines: String| format!("{head}{lines}\r\n").into_bytes();
    assert_eq!(status(&with(format!("Z: {}\r\n", "a".repeat(limits::HEADER_LINE_BYTES - 5)))), Some(0));
    assert_eq!(status(&with(format!("Z: {}\r\n", "a".repeat(limits::HEADER_LINE_BYTES - 4)))), Some(513));
    assert_eq!(status(&with(format!("Z: a{}\r\n", "\r\n a".repeat(limits::HEADER_LINE_BYTES / 4)))), Some(513));
    assert_eq!(status(&with("Z: a\r\n".repeat(limits::HEADER_FIELDS - 5))), Some(0));
    assert_eq!(status(&with("Z: a\r\n".repeat(limits::HEADER_FIELDS - 4))), Some(513));
    let long_uri = String::from_utf8(with(String::new()))
        .unwrap()
        .replace("sip:a@b SIP", &format!("sip:{}@b SIP", "a".repeat(limits::START_LINE_BYTES)));
    assert_eq!(status(long_uri.as_bytes()), Some(414));
    assert_eq!(status(&vec![b'a'; limits::MESSAGE_BYTES + 1]), None);
    assert!(frame_length(&vec![b'a'; limits::MESSAGE_BYTES + 1]).is_err());
    assert!(frame_length(&with(format!("l: {}\r\n", limits::MESSAGE_BYTES))).is_err());
}

/// A parser that is quadratic anywhere takes seconds for one of these. The bound is loose because the machine is busy and
/// the build not optimised; the best of several rounds counts.
#[test]
fn no_64_kib_of_any_shape_takes_long() {
    let head = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\ni: c\r\nCSeq: 1 INVITE\r\n";
    let names = [
        "Via",
        "From",
        "m",
        "Record-Route",
        "WWW-Authenticate",
        "Authorization",
        "Z",
        "Session-Expires",
        "Retry-After",
    ];
    let shapes = [
        ",",
        ";",
        ";a",
        "\"",
        "\\",
        "\"\"",
        "<",
        "<>",
        "(",
        "()",
        "a=",
        "a=b,",
        "Digest a=b ",
        "\r\n a",
        ":",
        "%41",
        "@",
        "[",
        "/",
        "sip:a@b,",
        "<sip:a@b;a;b>,",
        "<sip:a@b?a=b&c=d>,",
        "SIP/2.0/UDP h,",
        "SIP / 2.0 / UDP h;a=\"\" ,",
    ];
    for name in names {
        for shape in shapes {
            let line = format!("{name}: {}\r\n", shape.repeat((limits::HEADER_LINE_BYTES - 30) / shape.len()));
            let message = format!("{head}{}\r\n", line.repeat(7));
            assert!(message.len() <= limits::MESSAGE_BYTES);
            let round = || {
                let start = Instant::now();
                drop(judge(message.as_bytes()));
                start.elapsed().as_millis()
            };
            let best = (0..5).map(|_| round()).min().unwrap();
            assert!(best < 50, "{name} of {shape:?} took {best} ms");
        }
    }
    let pathological = format!("sip:b;{}", "a=%41;".repeat(limits::URI_PARAMETERS - 2));
    let uri = UriRef::parse(&pathological).unwrap();
    let start = Instant::now();
    assert!(uri.is_equivalent(&uri));
    assert!(start.elapsed().as_millis() < 100);
}

#[test]
fn a_stream_needs_one_content_length_and_keep_alives_are_skipped() {
    let head = "OPTIONS sip:a@b SIP/2.0\r\n";
    assert!(frame_length(format!("{head}\r\n").as_bytes()).is_err());
    assert!(frame_length(format!("{head}l: 1\r\nContent-Length: 1\r\n\r\nx").as_bytes()).is_err());
    assert!(frame_length(format!("{head}l: 1x\r\n\r\nx").as_bytes()).is_err());
    assert_eq!(frame_length(b"\r\n\r\n").unwrap(), None);
    let folded = format!("\r\n\r\n{head}Content-Length:\r\n 3\r\n\r\nabcNEXT");
    assert_eq!(frame_length(folded.as_bytes()).unwrap(), Some(folded.len() - 4));
    assert!(super::super::message::is_keep_alive(b"\r\n\r\n") && super::super::message::is_keep_alive(b"\0\0\0\0"));
    assert!(!super::super::message::is_keep_alive(b"\r\nx"));
}
