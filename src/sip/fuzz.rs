//! Bodies of the fuzz targets: what must hold of any bytes. Called by `fuzz/` and by the tests.

use super::admission::{Admission, Admit, BAN, NETWORKS, PEERS, SOURCES, Standing, Strike};
use super::compose::{OwnedMessage, Response};
use super::digest::{Algorithm, Authority, Authorization, Challenge, Credentials, Expected, answer, next_nonce};
use super::header::{Elements, HeaderName, NameAddr, RAck, Reason, Tagged, Via, Warning, field};
use super::limits;
use super::message::{Message, frame_length};
use super::method::Method;
use super::multipart;
use super::nonce::Nonces;
use super::status::StatusCode;
use super::stream::{Framer, StreamDeadlines, StreamFault, StreamItem};
use super::uri::{Uri, UriRef};
use super::validate::{Verdict, judge};
use crate::base::Random;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

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
    if let Some(sdp) = multipart::session_description(message) {
        let (part, whole) = (sdp.as_ptr_range(), message.body().as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end && !sdp.is_empty());
    }
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

/// Reads bytes as a challenge, as Authentication-Info and as credentials. Checks that an answer to any challenge stays in
/// its line, and that no credentials are right for a user who does not exist or whose password they cannot know.
///
/// # Panics
/// If one of that does not hold.
pub fn digest(bytes: &[u8]) {
    let ours = Credentials::new("user", "secret");
    for challenge in Challenge::parse(bytes).unwrap_or_default() {
        for value in [answer(&challenge, &ours, &Method::Invite, "sip:h", b"body", 1, "c"), challenge.to_header()] {
            assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{}", value.to_text());
        }
    }
    let _ = next_nonce(bytes);
    let Some(claimed) = Authorization::parse(bytes) else { return };
    let now = Instant::now();
    let mut nonces = Nonces::new(&mut Random::seeded(1));
    let source = Ipv4Addr::LOCALHOST.into();
    nonces.issue(now, &claimed.realm, source);
    let request = b"INVITE sip:h SIP/2.0\r\n\r\n";
    let Ok(request) = Message::parse(request) else { return };
    for credentials in [None, Some(&ours)] {
        let expected = Expected { realm: &claimed.realm, source, algorithms: &ALGORITHMS, credentials };
        assert!(claimed.verify(&mut nonces, now, &expected, &request).is_err());
    }
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

/// Plays bytes as datagrams, strikes and proofs of a few addresses in passing time. Checks that memory stays bounded, a
/// ban holds until it ends or a proof lifts it, and nobody unproven gets more than its budget.
///
/// # Panics
/// If one of that does not hold.
pub fn admission_ops(bytes: &[u8]) {
    let mut admission = Admission::new(&mut Random::seeded(1));
    let start = Instant::now();
    let mut now = start;
    let mut banned: HashMap<IpAddr, Instant> = HashMap::new();
    let mut read = 0u32;
    for op in bytes.chunks_exact(3) {
        let [what, who, wait] = op else { continue };
        now += Duration::from_millis(u64::from(*wait) * u64::from(*wait));
        let source = match who & 0x80 {
            0 => IpAddr::from([198, 51, 100, who & 0x0f]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, u16::from(who & 3), 0, 0, 0, u16::from(*who)]),
        };
        let is_banned = banned.get(&source).is_some_and(|until| *until > now);
        match what % 6 {
            0..=2 => {
                let verdict = admission.admit(now, source, Standing::Unproven);
                assert_eq!(verdict == Admit::Banned, is_banned);
                read += u32::from(verdict == Admit::Yes);
            }
            3 => {
                let _ = admission.admit(now, source, Standing::Known);
            }
            4 => {
                let strike = if what & 0x80 == 0 { Strike::Claimed } else { Strike::Shown };
                if admission.strike(now, source, strike) {
                    assert!(!is_banned && !admission.is_proven(now, source));
                    banned.insert(source, now + BAN);
                }
            }
            _ => {
                admission.prove(now, source);
                assert!(admission.is_proven(now, source));
                banned.remove(&source);
            }
        }
    }
    assert!(admission.len() <= SOURCES + NETWORKS + PEERS);
    // Five networks (one of IPv4, four of IPv6), each with a burst of 150 and 50 a second.
    let budget = 5.0 * (150.0 + 50.0 * now.duration_since(start).as_secs_f64()) + 5.0;
    assert!(f64::from(read) <= budget, "{read} read, {budget} allowed");
}

#[cfg(test)]
#[path = "tests/hostile.rs"]
mod tests;
