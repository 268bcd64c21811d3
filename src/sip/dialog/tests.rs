use super::*;

fn path() -> Path {
    Path {
        transport: Transport::Udp,
        local: "10.0.0.2:5060".parse().unwrap(),
        advertised: "10.0.0.2:5060".parse().unwrap(),
        remote: "10.0.0.1:5060".parse().unwrap(),
    }
}

const INVITE: &[u8] = b"INVITE sip:us@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\n\
    Record-Route: <sip:10.0.0.9;lr>, <sip:10.0.0.8;lr>\r\nFrom: A <sip:a@x>;tag=fa\r\nTo: <sip:us@x>\r\n\
    Call-ID: c1\r\nCSeq: 7 INVITE\r\nContact: <sip:a@10.0.0.1:5062>\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_uas_dialog_takes_the_record_route_in_order_and_sends_there() {
    let message = Message::parse(INVITE).unwrap();
    let mut d = Dialog::from_request(&message, "ours", HeaderValue::cleaned("<sip:us@10.0.0.2>"), path()).unwrap();
    assert_eq!(d.path.remote.to_string(), "10.0.0.9:5060");
    let bye = String::from_utf8(d.request(Method::Bye).write()).unwrap();
    assert!(bye.starts_with("BYE sip:a@10.0.0.1:5062 SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("Route: <sip:10.0.0.9;lr>\r\nRoute: <sip:10.0.0.8;lr>\r\n"), "{bye}");
    assert!(bye.contains("From: <sip:us@x>;tag=ours\r\nTo: A <sip:a@x>;tag=fa\r\n"), "{bye}");
    assert!(bye.contains("CSeq: 1 BYE\r\n"), "{bye}");
}

#[test]
fn cseq_numbers_of_the_peer_only_grow() {
    let message = Message::parse(INVITE).unwrap();
    let mut d = Dialog::from_request(&message, "ours", HeaderValue::cleaned("<sip:us@x>"), path()).unwrap();
    assert!(!d.accept_cseq(6));
    assert!(!d.accept_cseq(7));
    assert!(d.accept_cseq(9));
    assert!(!d.accept_cseq(8));
}

#[test]
fn a_uac_dialog_reverses_the_record_route_and_acks_with_the_invites_number() {
    let response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
        Record-Route: <sip:10.0.0.9;lr>, <sip:10.0.0.8;lr>\r\nFrom: <sip:us@x>;tag=ours\r\nTo: <sip:a@x>;tag=ta\r\n\
        Call-ID: c1\r\nCSeq: 3 INVITE\r\nContact: <sip:a@10.0.0.1:5062>\r\nContent-Length: 0\r\n\r\n";
    let response = Message::parse(response).unwrap();
    let template = Dialog {
        call_id: "c1".into(),
        local_party: HeaderValue::cleaned("<sip:us@x>;tag=ours"),
        local_tag: "ours".into(),
        remote_party: HeaderValue::cleaned("<sip:a@x>"),
        remote_tag: "".into(),
        local_cseq: 3,
        remote_cseq: None,
        route_set: Vec::new(),
        remote_target: Uri::parse("sip:a@x").unwrap(),
        contact: HeaderValue::cleaned("<sip:us@10.0.0.2>"),
        path: path(),
        owns_call_id: true,
    };
    let d = template.from_response(&response).unwrap();
    assert_eq!((&*d.remote_tag, d.path.remote.to_string().as_str()), ("ta", "10.0.0.8:5060"));
    let ack = String::from_utf8(d.ack(3).write()).unwrap();
    assert!(ack.contains("Route: <sip:10.0.0.8;lr>\r\nRoute: <sip:10.0.0.9;lr>\r\n"), "{ack}");
    assert!(ack.contains("CSeq: 3 ACK\r\n"), "{ack}");
}
