//! Header smuggling and injection, both ways (security class 14): what peers send, and what applications hand us.

use super::*;
use crate::sip::config::{OutgoingInvite, OutgoingOptions, Refer, RegistrationConfig, Target};
use crate::sip::event::Party;
use crate::sip::{Account, DialogPolicy, Uri};
use proptest::prelude::*;

/// How Bob's endpoint answers an INVITE of a known peer: the status, or nothing.
fn verdict(invite: &str) -> Option<String> {
    let mut pair = pair();
    let before = pair.wire.len();
    pair.inject(Side::Bob, Side::Alice.address(), invite.as_bytes());
    let answer = pair.wire.get(before).map(|(_, _, bytes)| String::from_utf8_lossy(bytes).into_owned());
    answer.map(|text| text.split(' ').nth(1).unwrap().to_owned())
}

fn invite(change: impl Fn(&str) -> String) -> String {
    change(
        "INVITE sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKs\r\nFrom: <sip:a@x>;tag=f\r\n\
         To: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 5 INVITE\r\nContact: <sip:a@10.0.0.1>\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n",
    )
}

#[test]
fn blanks_before_the_colon_do_not_hide_a_header() {
    assert_eq!(verdict(&invite(str::to_owned)).as_deref(), Some("100"));
    for (from, to) in [
        ("Max-Forwards: 70", "Max-Forwards : 0"),
        ("Max-Forwards: 70", "Max-Forwards\t: 0"),
        ("Max-Forwards: 70", "max-forwards  :0"),
    ] {
        assert_eq!(verdict(&invite(|text| text.replace(from, to))).as_deref(), Some("483"), "{to}");
    }
}

#[test]
fn a_header_that_may_come_once_comes_once() {
    for line in
        ["From: <sip:boss@x>;tag=g", "f: <sip:boss@x>;tag=g", "To: <sip:c@x>", "Call-ID: c2", "i: c2", "CSeq: 6 INVITE"]
    {
        let doubled = invite(|text| text.replace("Max-Forwards: 70", line));
        assert_eq!(verdict(&doubled).as_deref(), Some("400"), "{line}");
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    for lines in [
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nl: 0",
        "Content-Length : 7",
        "Content-Length: 0, 5",
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length: 18446744073709551616",
    ] {
        let conflicting = invite(|text| text.replace("Content-Length: 0", lines));
        assert_eq!(verdict(&conflicting).as_deref(), Some("400"), "{lines}");
    }
}

#[test]
fn bytes_that_end_lines_elsewhere_are_refused() {
    for line in ["X: a\rBcc: b", "X: a\0b", "X\r: a", "X\0: a"] {
        let smuggled = invite(|text| text.replace("Max-Forwards: 70", line));
        assert_eq!(verdict(&smuggled).as_deref(), Some("400"), "{line:?}");
    }
}

#[test]
fn claims_of_identity_are_claims_and_attribute_nothing() {
    let claims = "P-Asserted-Identity: <sip:boss@our.example>\r\nRemote-Party-ID: <sip:boss@our.example>;screen=yes\r\n\
        Diversion: <sip:boss@our.example>\r\nX-Tenant: gold\r\nAuthorization: Digest username=\"boss\"\r\nMax-Forwards: 70";
    let mut pair = pair();
    let text = invite(|text| text.replace("Max-Forwards: 70", claims));
    pair.inject(Side::Bob, Side::Alice.address(), text.as_bytes());
    let peer = pair.take(Side::Bob, |event| match event {
        Event::IncomingCall(call) => {
            assert!(!call.headers.iter().any(|(name, _)| name == "Authorization"));
            Some(call.peer.clone())
        }
        _ => None,
    });
    assert_eq!(peer, Some(crate::sip::event::Peer::Known("other".to_owned())));
}

/// Everything that leaves is one message whose every line is a header that we mean to send.
fn assert_clean(bytes: &[u8]) {
    let message = Message::parse(bytes).unwrap_or_else(|e| panic!("{:?} {}", e.fault, bytes.escape_ascii()));
    for field in message.fields() {
        assert!(!field.spelling.eq_ignore_ascii_case(b"X-Smuggled"), "{}", bytes.escape_ascii());
        assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{}", bytes.escape_ascii());
    }
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    assert_eq!(bytes.len() - head - 4, message.body().len(), "nothing follows the body");
}

#[test]
fn an_application_cannot_repeat_a_header_that_a_message_has_once() {
    let (mut pair, alice, _) = established();
    let now = pair.now;
    for name in ["From", "f", "call-id", "CSeq", "Max-Forwards"] {
        let mut refer = Refer::blind(Uri::parse("sip:host.example").unwrap());
        refer.headers = vec![(name.to_owned(), "x".to_owned())];
        assert!(matches!(pair.alice.refer(now, alice, refer), Err(CommandError::InvalidHeader)), "{name}");
    }
}

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\nX-Smuggled: 1".to_owned()),
        Just("\nX-Smuggled: 1\r\n".to_owned()),
        Just("\r\n\r\nINVITE sip:x SIP/2.0".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just(">;x=\"".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("%0d%0a".to_owned()),
        "[ -~]{0,8}",
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_an_application_breaks_out_of_its_header(
        a in nasty(), b in nasty(), c in nasty(), name in nasty(),
    ) {
        let (mut pair, alice, _) = established();
        pair.drop_if(|_, _| true);
        let start = pair.wire.len();
        let now = pair.now;
        let uri = Uri::parse("sip:host.example").unwrap().with_user(&a).with_parameter(&b, Some(&c));
        let from = Party { display: Some(b.clone()), uri: uri.clone() };
        let mut call = OutgoingInvite::new(uri.clone(), Side::Bob.address(), from.clone(), b"offer".to_vec());
        call.headers = vec![(name.clone(), a.clone()), ("X-Note".to_owned(), c.clone())];
        call.contact_user = Some(c.clone());
        call.account = Some(Account::new(&a, &b));
        let _ = pair.alice.invite(now, OutgoingInvite { headers: Vec::new(), ..call.clone() });
        let _ = pair.alice.invite(now, call);
        let account = Some(Account::new(&a, &b));
        let target = Target::udp(Side::Bob.address());
        let _ = pair.alice.options(now, OutgoingOptions { uri: uri.clone(), target, from, account });
        let _ = pair.alice.register(now, RegistrationConfig {
            registrar: uri.clone(),
            targets: vec![target],
            outbound_proxy: Some(uri.clone()),
            aor: uri.clone(),
            display: Some(a.clone()),
            account: Account::new(&a, &b),
            contact_user: c.clone(),
            expires: Duration::from_secs(60),
            dialog: DialogPolicy::default(),
        });
        let _ = pair.alice.info(now, alice, &a, b"body".to_vec());
        let mut refer = Refer::blind(uri.clone());
        refer.replaces = Some(a.clone());
        refer.referred_by = Some(uri);
        refer.headers = vec![(name.clone(), b.clone())];
        let _ = pair.alice.refer(now, alice, refer.clone());
        refer.headers.clear();
        let _ = pair.alice.refer(now, alice, refer);
        let _ = pair.alice.hangup(now, alice, &[(&name, &c)]);
        let _ = pair.alice.hangup(now, alice, &[("Reason", &c)]);
        pair.collect();
        for (_, _, bytes) in &pair.wire[start..] {
            assert_clean(bytes);
        }
        prop_assert!(pair.wire.len() > start + 2);
    }
}
