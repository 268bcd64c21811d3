//! Bodies of the fuzz targets: what must hold of any bytes. Called by `fuzz/` and by the tests.

use super::compose::{OwnedMessage, Response};
use super::digest::{Authority, Authorization, Challenge};
use super::header::{Elements, HeaderName, NameAddr, RAck, Reason, Tagged, Via, Warning, field};
use super::limits;
use super::message::{Message, frame_length};
use super::status::StatusCode;
use super::stream::{Framer, StreamDeadlines, StreamFault, StreamItem};
use super::uri::{Uri, UriRef};
use super::validate::{Verdict, judge};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

/// Reads a datagram in every way there is. Checks that a stream is framed as the datagram is, that what is written out
/// reads back the same, and that an answer to it stays one message.
///
/// # Panics
/// If one of that does not hold.
pub fn sip_message(bytes: &[u8]) {
    let framed = frame_length(bytes);
    if let Ok(Some(length)) = framed {
        assert!(length <= bytes.len() && length <= limits::MESSAGE_BYTES);
        // Framing and parsing must see the same Content-Length, or bytes of one message become another.
        let frame = bytes.get(..length).unwrap_or_default();
        if let Ok(message) = Message::parse(frame) {
            assert_eq!(message.body().as_ptr_range().end, frame.as_ptr_range().end);
        }
    }
    match judge(bytes) {
        Verdict::Accept { message, head } => {
            views(&message);
            assert!(!head.call_id.is_empty());
            answers(&message, StatusCode::OK);
            rewrites(&message);
        }
        Verdict::Reject { request, fault } => {
            views(&request);
            assert!(!fault.expected.is_empty() && fault.status.is_final() && !fault.status.is_success());
            answers(&request, fault.status);
        }
        Verdict::Drop { .. } => match Message::parse(bytes) {
            Ok(message) => {
                views(&message);
                rewrites(&message);
            }
            Err(error) => error.salvage.iter().for_each(|m| views(m)),
        },
    }
}

/// Cuts bytes into messages as they come from a stream. The first byte chooses the size of the pieces. Checks that pieces
/// of any size give the same, that every message is framed as [`frame_length`] frames it, and that no more than one
/// message is kept.
///
/// # Panics
/// If one of that does not hold.
pub fn sip_stream(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let whole = stream_items(stream, usize::MAX);
    let pieces = stream_items(stream, usize::from(*size).saturating_add(1));
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1.is_some(), pieces.1.is_some());
    for item in &whole.0 {
        if let StreamItem::Message(message) = item {
            assert_eq!(frame_length(message).ok().flatten(), Some(message.len()));
        }
    }
}

fn stream_items(stream: &[u8], size: usize) -> (Vec<StreamItem>, Option<StreamFault>) {
    let now = Instant::now();
    let (mut framer, mut items) = (Framer::new(now, StreamDeadlines::STRANGER), Vec::new());
    for mut piece in stream.chunks(size.min(stream.len()).max(1)) {
        loop {
            match framer.next(now, &mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return (items, Some(fault)),
            }
            assert!(framer.buffered() <= limits::MESSAGE_BYTES);
        }
        assert!(framer.buffered() <= limits::MESSAGE_BYTES);
    }
    (items, None)
}

/// Every typed view of every field, fitting or not.
fn views(message: &Message<'_>) {
    assert!(message.fields().len() <= limits::HEADER_FIELDS);
    let _ = (message.via(), message.from(), message.to(), message.call_id(), message.cseq(), message.rack());
    let _ = (message.max_forwards(), message.contacts(), message.contact(), message.session_expires());
    let _ = (message.replaces(), message.content_type(), message.rseq(), message.reason_phrase());
    let _ = Challenge::strongest(message);
    if let Ok(uri) = message.request_uri() {
        uri_views(uri);
    }
    for field in message.fields() {
        for element in Elements::new(field.value).take(limits::LIST_ELEMENTS) {
            if let Ok(address) = NameAddr::parse(element) {
                let _ = (address.display_name(), address.tag(), address.expires_s());
                if let Ok(uri) = address.uri() {
                    uri_views(uri);
                }
            }
            if let Ok(via) = Via::parse(element) {
                let _ = (via.branch(), via.received(), via.rport(), via.maddr(), via.has_magic_cookie());
            }
            let _ = (Tagged::parse(element), Reason::parse(element), Warning::parse(element));
        }
        let _ = (field::seconds(field.value), RAck::parse(field.value), Authorization::parse(field.value));
        let _ = Challenge::parse(field.value);
        let _ = message.text(field.name);
    }
    for authority in [Authority::Server, Authority::Proxy] {
        let _ = Authorization::of_request(message, authority, "realm");
    }
}

fn uri_views(uri: UriRef<'_>) {
    let (_, _, _) = (uri.host(), uri.port(), uri.opaque());
    assert!(uri.headers().all(|(name, _)| uri.header(name).is_some()));
    assert!(uri.parameters().all(|(name, _)| uri.parameter(name).is_some()));
    assert!(uri.is_equivalent(&uri), "a URI equals itself");
    let owned: Uri = uri.to_owned();
    for changed in [
        owned.with_user("u@\r\n"),
        owned.with_parameter("p;", Some("=<v>")),
        owned.with_header("Replaces", "a;b=c"),
        owned.to_request_uri(),
    ] {
        assert!(UriRef::parse(changed.as_str()).is_ok());
        assert!(!changed.as_str().bytes().any(|b| matches!(b, b'\r' | b'\n' | b'<' | b'>' | b' ')));
    }
}

/// An answer holds no byte that could start another line, and reads back with the fields of the request.
fn answers(request: &Message<'_>, status: StatusCode) {
    if !request.is_request() {
        return;
    }
    let source = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), 4321));
    let response = Response::to_request(request, status, source, Some("our-tag"));
    for (name, value) in response.headers.iter() {
        assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{name}");
    }
    let wire = response.write();
    let Ok(read) = Message::parse(&wire) else { return };
    assert_eq!(read.status(), Some(status));
    if let Ok(call_id) = request.call_id() {
        assert_eq!(read.call_id().ok(), Some(call_id));
    }
    if let Ok(cseq) = request.cseq() {
        assert_eq!(read.cseq().ok(), Some(cseq));
    }
    if let (Ok(asked), Ok(answered)) = (request.via(), read.via()) {
        assert_eq!(asked.branch(), answered.branch());
    }
}

/// Writing is stable: what was written reads back to the same message, which is written the same.
fn rewrites(message: &Message<'_>) {
    let Ok(owned) = OwnedMessage::echo(message) else { return };
    let wire = owned.write();
    // The long form of a name may push a message that was just short enough over the cap.
    let Ok(read) = Message::parse(&wire) else {
        assert!(wire.len() > limits::HEADER_LINE_BYTES, "{}", wire.escape_ascii());
        return;
    };
    assert_eq!(read.body(), message.body());
    assert_eq!(read.method(), message.method());
    assert_eq!(read.value(HeaderName::CallId).is_some(), message.value(HeaderName::CallId).is_some());
    let again = OwnedMessage::echo(&read).map(|m| m.write());
    assert_eq!(again.ok(), Some(wire));
}

#[cfg(test)]
#[path = "tests/hostile.rs"]
mod tests;
