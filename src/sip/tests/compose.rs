//! Responses built from requests, and headers nobody can break out of.

use super::*;
use crate::sip::header::Via;

const INVITE: &str = "INVITE sip:agent@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKtop;received=203.0.113.9, SIP/2.0/UDP proxy;branch=z9hG4bKlow\r\n\
    v: SIP/2.0/TCP far\r\n\x20;branch=z9hG4bKfar\r\n\
    Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>,\r\n\x20<sip:p3;lr>\r\n\
    f: \"A\" <sip:a@10.0.0.5>;tag=from\r\nt: <sip:agent@192.0.2.1>\r\ni: call@10.0.0.5\r\nCSeq: 3 INVITE\r\nTimestamp: 54\r\n\r\n";

fn respond(request: &str, status: StatusCode, source: &str, tag: Option<&str>) -> String {
    let message = Message::parse(request.as_bytes()).unwrap();
    String::from_utf8(Response::to_request(&message, status, source.parse().unwrap(), tag).write()).unwrap()
}

fn top_via(response: &str) -> Via<'_> {
    Message::parse(response.as_bytes()).unwrap().via().unwrap()
}

#[test]
fn a_response_carries_what_rfc_3261_section_8_2_6_says() {
    let text = respond(INVITE, StatusCode::OK, "198.51.100.7:4321", Some("mine"));
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!((message.status(), message.reason_phrase().as_ref()), (Some(StatusCode::OK), "OK"));
    let branches: Vec<_> = message.vias().map(|v| v.unwrap().branch().unwrap()).collect();
    assert_eq!(branches, ["z9hG4bKtop", "z9hG4bKlow", "z9hG4bKfar"]);
    assert_eq!((message.from().unwrap().tag(), message.to().unwrap().tag()), (Some("from"), Some("mine")));
    assert_eq!((message.call_id().unwrap(), message.cseq().unwrap().number), ("call@10.0.0.5", 3));
    let routes: Vec<_> =
        message.addresses(HeaderName::RecordRoute).unwrap().iter().map(|r| r.uri_text().to_owned()).collect();
    assert_eq!(routes, ["sip:p1;lr", "sip:p2;lr", "sip:p3;lr"]);
    assert_eq!(message.value(HeaderName::Timestamp), None);
    assert!(text.ends_with("Content-Length: 0\r\n\r\n"));
}

#[test]
fn the_top_via_says_where_the_request_really_came_from() {
    let nat = respond(INVITE, StatusCode::RINGING, "198.51.100.7:4321", Some("t"));
    assert_eq!(top_via(&nat).received(), Some("198.51.100.7".parse().unwrap()));
    assert_eq!(top_via(&nat).rport(), Some(Some(4321)));
    assert!(!nat.contains("203.0.113.9"), "what the peer claimed is gone");
    let without = INVITE.replace(";rport", "").replace(";received=203.0.113.9", "");
    let same = respond(&without, StatusCode::RINGING, "10.0.0.5:4321", Some("t"));
    assert_eq!((top_via(&same).received(), top_via(&same).rport()), (None, None));
    let mapped = respond(&without, StatusCode::RINGING, "[::ffff:10.0.0.5]:4321", Some("t"));
    assert_eq!(top_via(&mapped).received(), None);
    let named =
        respond(&without.replace("10.0.0.5:5060", "phone.example.com"), StatusCode::RINGING, "10.0.0.5:1", None);
    assert_eq!(top_via(&named).received(), Some("10.0.0.5".parse().unwrap()));
    let v6 = respond(INVITE, StatusCode::RINGING, "[2001:db8::5]:9", Some("t"));
    assert_eq!(top_via(&v6).received(), Some("2001:db8::5".parse().unwrap()));
}

#[test]
fn a_100_has_no_tag_of_ours_but_the_timestamp() {
    let text = respond(INVITE, StatusCode::TRYING, "10.0.0.5:5060", Some("mine"));
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.to().unwrap().tag(), None);
    assert_eq!(message.value(HeaderName::Timestamp), Some(&b"54"[..]));
    assert_eq!(message.value(HeaderName::RecordRoute), None);
}

#[test]
fn a_to_tag_that_is_there_stays() {
    let text = respond(
        &INVITE.replace("t: <sip:agent@192.0.2.1>", "t: <sip:agent@192.0.2.1>;tag=theirs"),
        StatusCode::OK,
        "10.0.0.5:1",
        Some("mine"),
    );
    assert_eq!(Message::parse(text.as_bytes()).unwrap().to().unwrap().tag(), Some("theirs"));
}

#[test]
fn no_setter_lets_a_line_break_into_a_message() {
    let attack = "x\r\nX-Evil: 1\r\n\r\nbody\0";
    let mut request = Request::new(Method::Bye, Uri::sip("h", None).unwrap().with_user(attack));
    let uri = request.uri.clone();
    assert_eq!(
        request.headers.push_spelled("X-Note", attack),
        Err(InvalidHeader::Value(InvalidValue { offset: 1, byte: b'\r' }))
    );
    assert_eq!(request.headers.push_spelled("X: y\r\nZ", "v"), Err(InvalidHeader::Name));
    assert_eq!(request.headers.push_spelled("", "v"), Err(InvalidHeader::Name));
    request
        .headers
        .push(HeaderName::From, HeaderValue::name_addr(Some(attack), &uri, &[("tag", Some(attack)), (attack, None)]));
    request.headers.push(HeaderName::Via, HeaderValue::via(attack, attack, attack));
    request.headers.push(HeaderName::Reason, HeaderValue::cleaned(attack));
    let wire = request.write();
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.fields().len(), 4, "{}", wire.escape_ascii());
    assert_eq!(message.values_spelled("X-Evil").count(), 0);
    assert!(message.body().is_empty());
}

#[test]
fn content_length_is_always_that_of_the_body() {
    let mut request = Request::new(Method::Info, Uri::sip("h", None).unwrap());
    request.headers.push_spelled("content-length", "9999").unwrap();
    assert_eq!(request.headers.push_spelled("L", "1"), Err(InvalidHeader::Repeated));
    let wire = request.with_body(HeaderValue::new("application/dtmf-relay").unwrap(), b"Signal=5".to_vec()).write();
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.values(HeaderName::ContentLength).collect::<Vec<_>>(), [b"8"]);
    assert_eq!(message.body(), b"Signal=5");
}

#[test]
fn setting_replaces_all_fields_of_a_name() {
    let mut headers = Headers::default();
    for value in ["a", "b", "c"] {
        headers.push(HeaderName::Subject, HeaderValue::new(value).unwrap());
    }
    headers.push_front(HeaderName::Via, HeaderValue::via("UDP", "h", "z9hG4bK1"));
    headers.set(HeaderName::Subject, HeaderValue::new("d").unwrap());
    assert_eq!(
        headers.iter().map(|(n, v)| (n, v.to_text().into_owned())).collect::<Vec<_>>(),
        [("Via", "SIP/2.0/UDP h;rport;branch=z9hG4bK1".into()), ("Subject", "d".into())]
    );
    headers.remove(HeaderName::Subject);
    assert_eq!(headers.value(HeaderName::Subject), None);
}

#[test]
fn a_tag_of_a_peer_goes_back_as_it_came() {
    for tag in ["z9hG4bK-1", "a:b@c/d==", "(x){y}", "1.2?3&4", "\u{e9}"] {
        let header = format!("<sip:a@b>;tag={tag}");
        let read = NameAddr::parse(header.as_bytes()).unwrap().tag().unwrap();
        let uri = Uri::sip("b", None).unwrap();
        let written = HeaderValue::name_addr(None, &uri, &[("tag", Some(read))]);
        assert_eq!(NameAddr::parse(written.as_bytes()).unwrap().tag(), Some(tag));
    }
}
