//! Who is answered, and with what: strangers, attribution, malformed and unserved requests, digest traps.

use super::*;
use crate::sip::admission::Standing;
use crate::sip::config::Account;
use crate::sip::event::Peer;
use crate::sip::{KnownPeer, OutgoingInvite, Uri};

const STRANGER: &str = "203.0.113.66:5060";

fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKr{method}\r\n\
         From: <sip:a@x>;tag=fa\r\nTo: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 5 {method}\r\n\
         Contact: <sip:a@10.0.0.1:5060>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// What Bob answers to a datagram from `source`, in text.
fn answers(pair: &mut Pair, source: &str, message: &str) -> Vec<String> {
    let before = pair.wire.len();
    pair.inject(Side::Bob, source.parse().unwrap(), message.as_bytes());
    pair.wire[before..].iter().map(|(_, _, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect()
}

fn answer(message: &str) -> String {
    let mut pair = pair();
    answers(&mut pair, "10.0.0.1:5060", message).pop().unwrap_or_default()
}

#[test]
fn unknown_sources_get_nothing() {
    let (mut pair, _, _) = established();
    for method in ["OPTIONS", "INVITE", "REGISTER", "BYE", "SUBSCRIBE", "FOO", "CANCEL", "ACK"] {
        assert_eq!(answers(&mut pair, STRANGER, &request(method, "")), Vec::<String>::new(), "{method}");
    }
    assert_eq!(answers(&mut pair, STRANGER, "garbage\r\n\r\n"), Vec::<String>::new());
    assert_eq!(incoming(&mut pair, Side::Bob), None);
}

#[test]
fn options_are_answered_to_known_peers_and_with_503_while_draining() {
    let mut pair = pair();
    let ok = answers(&mut pair, "10.0.0.1:5060", &request("OPTIONS", ""));
    assert!(ok[0].starts_with("SIP/2.0 200 ") && ok[0].contains("Allow: INVITE") && ok[0].contains("Accept: "));
    pair.bob.set_draining(true);
    let again = request("OPTIONS", "").replace("z9hG4bKr", "z9hG4bKs").replace("CSeq: 5", "CSeq: 6");
    let unavailable = answers(&mut pair, "10.0.0.1:5060", &again);
    assert!(unavailable[0].starts_with("SIP/2.0 503 ") && unavailable[0].contains("Retry-After: "), "{unavailable:?}");
}

#[test]
fn while_draining_new_calls_get_503_and_calls_in_progress_go_on() {
    let (mut pair, alice, _) = established();
    pair.bob.set_draining(true);
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let end = ended(&mut pair, Side::Alice);
    assert!(matches!(end, Some(EndCause::Rejected { code: 503, retry_after: Some(_), .. })), "{end:?}");
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"offer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert!(pair.take(Side::Bob, |e| matches!(e, Event::Reoffer { .. }).then_some(())).is_some());
}

#[test]
fn unserved_requests_get_the_status_that_says_why() {
    for (message, expected, header) in [
        (request("REGISTER", ""), "405", "Allow: "),
        (request("FOO", ""), "405", "Allow: "),
        (request("SUBSCRIBE", ""), "405", "Allow: "),
        (request("BYE", ""), "481", ""),
        (request("INFO", ""), "481", ""),
        (request("CANCEL", ""), "481", ""),
        (request("REFER", "Refer-To: <sip:+900@10.0.0.2>\r\n"), "603", ""),
        (request("NOTIFY", "Event: message-summary\r\n"), "200", ""),
        (request("NOTIFY", "Event: presence\r\n"), "481", ""),
        (request("INVITE", "Max-Forwards: 0\r\n"), "483", ""),
        (request("INVITE", "Require: 100rel, foo\r\n"), "420", "Unsupported: foo"),
        (request("INVITE", "").replace("To: <sip:b@x>", "To: <sip:b@x>;tag=gone"), "481", ""),
        (request("INVITE", "").replace("Contact: <sip:a@10.0.0.1:5060>\r\n", ""), "400", ""),
        (request("INVITE", "").replace("CSeq: 5 INVITE", "CSeq: 5 BYE"), "400", ""),
        (request("INVITE", "").replace("sip:callee@10.0.0.2 SIP", "mailto:callee SIP"), "416", ""),
        (request("INVITE", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505", ""),
        (request("INVITE", "").replace("Content-Length: 0", "Content-Length: 900"), "400", ""),
        (
            request("INVITE", "").replace("Content-Length: 0", "Content-Type: text/x\r\nContent-Length: 1") + "x",
            "415",
            "Accept: application/sdp",
        ),
    ] {
        let answer = answer(&message);
        assert!(answer.starts_with(&format!("SIP/2.0 {expected} ")), "{message}\n{answer}");
        assert!(answer.contains(header), "{answer}");
    }
}

#[test]
fn a_stray_ack_or_response_or_keep_alive_is_dropped() {
    for message in [request("ACK", "").as_str(), "\r\n\r\n", "", "\0", "SIP/2.0 200 OK\r\n\r\n"] {
        assert_eq!(answer(message), "", "{message}");
    }
}

#[test]
fn a_merged_request_gets_482() {
    let mut pair = pair();
    answers(&mut pair, "10.0.0.1:5060", &request("INVITE", ""));
    let merged = request("INVITE", "").replace("z9hG4bKr", "z9hG4bKother");
    let answer = answers(&mut pair, "10.0.0.1:5060", &merged);
    assert!(answer[0].starts_with("SIP/2.0 482 "), "{answer:?}");
}

#[test]
fn responses_go_back_where_the_request_came_from() {
    let mut pair = pair();
    let with_rport = request("OPTIONS", "").replace(";branch", ";rport;branch");
    pair.bob.handle_datagram(
        pair.now,
        Received {
            transport: Transport::Udp,
            local: Side::Bob.address(),
            remote: "10.0.0.1:4242".parse().unwrap(),
            bytes: with_rport.as_bytes(),
        },
    );
    let response = pair.bob.poll_transmit().unwrap();
    assert_eq!(response.remote.to_string(), "10.0.0.1:4242");
    assert!(String::from_utf8(response.bytes).unwrap().contains(";rport=4242;"));

    let without = request("OPTIONS", "").replace("z9hG4bKr", "z9hG4bKs").replace("10.0.0.1:5060;", "192.168.7.7:5075;");
    let without = without.replace("CSeq: 5", "CSeq: 6");
    pair.bob.handle_datagram(
        pair.now,
        Received {
            transport: Transport::Udp,
            local: Side::Bob.address(),
            remote: "10.0.0.1:4242".parse().unwrap(),
            bytes: without.as_bytes(),
        },
    );
    let response = pair.bob.poll_transmit().unwrap();
    assert_eq!(response.remote.to_string(), "10.0.0.1:5075", "the source's address, never the Via's");
}

#[test]
fn calls_are_attributed_by_source_and_never_by_from() {
    let mut pair = pair();
    let invite = request("INVITE", "X-Tenant: gold\r\n").replace("<sip:a@x>", "\"Boss\" <sip:boss@our.example>");
    answers(&mut pair, "10.0.0.1:5060", &invite);
    pair.take(Side::Bob, |e| match e {
        Event::IncomingCall(call) => {
            assert_eq!(call.peer, Peer::Known("other".to_owned()));
            assert_eq!(call.from.expose().display.as_deref(), Some("Boss"));
            let tenant = call.headers.iter().find(|(name, _)| name == "X-Tenant").unwrap();
            assert_eq!(tenant.1.expose(), "gold");
            assert!(!call.headers.iter().any(|(name, _)| name == "Via" || name == "Call-ID"));
            Some(())
        }
        _ => None,
    })
    .unwrap();
}

#[test]
fn someone_we_only_called_may_hang_up_but_not_call_us() {
    let mut pair = pair();
    let callee: SocketAddr = "198.51.100.9:5060".parse().unwrap();
    let from = crate::sip::event::Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@198.51.100.9").unwrap();
    let now = pair.now;
    pair.bob.invite(now, OutgoingInvite::new(target, callee, from, b"offer".to_vec())).unwrap();
    pair.collect();
    assert_eq!(answers(&mut pair, "198.51.100.9:5060", &request("INVITE", "")), Vec::<String>::new());
    assert_eq!(incoming(&mut pair, Side::Bob), None);
    let bye = request("BYE", "").replace("To: <sip:b@x>", "To: <sip:b@x>;tag=gone");
    assert!(answers(&mut pair, "198.51.100.9:5060", &bye)[0].starts_with("SIP/2.0 481 "));
}

#[test]
fn guessed_and_spoofed_in_dialog_requests_hang_up_nothing() {
    let (mut pair, _, _) = established();
    let ack = pair.wire.iter().find(|(_, _, b)| is(b, "ACK ")).unwrap().2.clone();
    let ack = Message::parse(&ack).unwrap();
    use crate::sip::HeaderName as H;
    let (from, to, call_id) = (ack.text(H::From).unwrap(), ack.text(H::To).unwrap(), ack.text(H::CallId).unwrap());
    let bye = |from: &str, to: &str, call_id: &str, n: u32| {
        format!(
            "BYE sip:x@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKg{n}\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: 99 BYE\r\nContent-Length: 0\r\n\r\n"
        )
    };
    // From off path with all the right words: nothing, not even an answer.
    assert_eq!(answers(&mut pair, STRANGER, &bye(&from, &to, &call_id, 0)), Vec::<String>::new());
    // From the peer's address, with any one word wrong: 481.
    for (n, guess) in [
        bye("<sip:caller@x>;tag=guess", &to, &call_id, 1),
        bye(&from, "<sip:callee@x>;tag=guess", &call_id, 2),
        bye(&from, &to, "guess", 3),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = answers(&mut pair, "10.0.0.1:5060", &guess);
        assert!(answer[0].starts_with("SIP/2.0 481 "), "{n} {answer:?}");
    }
    let mut random = Random::seeded(5);
    for n in 0..10_000 {
        let guess = format!("<sip:callee@x>;tag={}", random.hex(16));
        pair.inject(Side::Bob, Side::Alice.address(), bye(&from, &guess, &call_id, 100 + n).as_bytes());
    }
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert_eq!(pair.bob.leg_count(), 1);
    assert_eq!(answers(&mut pair, "10.0.0.1:5060", &bye(&from, &to, &call_id, 7)).len(), 1);
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote), "the right words from the right place do");
}

/// Bob with a second trunk at 10.0.0.3.
fn two_trunks() -> Pair {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers.push(KnownPeer::by_source("third", vec!["10.0.0.3/32".parse().unwrap()]));
    pair.bob = Endpoint::new(config, Random::seeded(8));
    pair
}

#[test]
fn a_known_peer_cannot_hang_up_the_call_of_another() {
    let mut pair = two_trunks();
    establish(&mut pair);
    let ack = pair.wire.iter().find(|(_, _, b)| is(b, "ACK ")).unwrap().2.clone();
    let bye = String::from_utf8(ack).unwrap().replace("ACK", "BYE").replace("CSeq: 1 ", "CSeq: 99 ");
    let other = bye.replace("z9hG4bK", "z9hG4bKspoof");
    assert_eq!(answers(&mut pair, "10.0.0.3:5060", &other), Vec::<String>::new());
    assert_eq!(pair.bob.counters().spoofed, 1);
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert_eq!(answers(&mut pair, "10.0.0.1:5060", &bye).len(), 1);
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote));
}

#[test]
fn someone_we_called_is_a_stranger_again_once_everything_is_over() {
    let mut pair = pair();
    let callee: SocketAddr = "198.51.100.9:5060".parse().unwrap();
    let from = crate::sip::event::Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@198.51.100.9").unwrap();
    let now = pair.now;
    pair.bob.invite(now, OutgoingInvite::new(target, callee, from, b"offer".to_vec())).unwrap();
    let later = pair.now + 2 * MINUTE;
    assert_eq!(pair.bob.standing(now, callee.ip(), Transport::Udp), Standing::InTouch);
    assert_idle_after(&mut pair, 2 * MINUTE);
    assert_eq!(pair.bob.standing(later, callee.ip(), Transport::Udp), Standing::Stranger);
}

#[test]
fn a_cancel_from_another_address_cancels_nothing() {
    let mut pair = pair();
    pair.bob = Endpoint::new(
        {
            let mut config = crate::sip::pair::config(Side::Bob);
            config.known_peers[0].networks.push("10.0.0.3/32".parse().unwrap());
            config
        },
        Random::seeded(4),
    );
    answers(&mut pair, "10.0.0.1:5060", &request("INVITE", ""));
    let cancel = request("CANCEL", "").replace("z9hG4bKrCANCEL", "z9hG4bKrINVITE");
    assert!(answers(&mut pair, "10.0.0.3:5060", &cancel)[0].starts_with("SIP/2.0 481 "));
    assert_eq!(ended(&mut pair, Side::Bob), None);
}

/// What the peer of an established call sends, `n` times over.
fn infos(pair: &Pair) -> impl Fn(usize) -> String + use<> {
    let ack = pair.wire.iter().find(|(_, _, b)| is(b, "ACK ")).unwrap().2.clone();
    let ack = String::from_utf8(ack).unwrap();
    let branch = ack.split("z9hG4bK").nth(1).unwrap().split(['\r', ';']).next().unwrap().to_owned();
    move |n| {
        ack.replace("ACK", "INFO").replace("CSeq: 1 ", &format!("CSeq: {} ", n + 10)).replace(&branch, &n.to_string())
    }
}

/// The transaction table refuses instead of growing: strangers never get that far, so a peer fills it here.
#[test]
fn a_full_transaction_table_refuses_with_503_and_forgets_nothing() {
    let (mut pair, _, _) = established();
    assert!(pair.run_for(MINUTE));
    let info = infos(&pair);
    for n in 0..transactions::MAX_TRANSACTIONS {
        let bytes = info(n);
        let received = Received {
            transport: Transport::Udp,
            local: Side::Bob.address(),
            remote: Side::Alice.address(),
            bytes: bytes.as_bytes(),
        };
        // Within the budget of a peer.
        pair.now += Duration::from_micros(100);
        pair.bob.handle_datagram(pair.now, received);
        while pair.bob.poll_transmit().is_some() {}
    }
    assert_eq!(pair.bob.transaction_count(), transactions::MAX_TRANSACTIONS);
    let refused = answers(&mut pair, "10.0.0.1:5060", &info(transactions::MAX_TRANSACTIONS));
    assert!(refused[0].starts_with("SIP/2.0 503 "), "{refused:?}");
    let known = answers(&mut pair, "10.0.0.1:5060", &info(3));
    assert!(known[0].starts_with("SIP/2.0 200 "), "{known:?}");
    pair.now += MINUTE;
    let now = pair.now;
    pair.bob.handle_timeout(now);
    assert_eq!(pair.bob.transaction_count(), 0);
}

#[test]
fn guesses_at_dialogs_leave_nothing_behind() {
    let mut pair = pair();
    for n in 0..40_000 {
        let guess = request("BYE", "").replace("To: <sip:b@x>", "To: <sip:b@x>;tag=guess");
        let bytes = guess.replace("z9hG4bKr", &format!("z9hG4bK{n}"));
        let received = Received {
            transport: Transport::Udp,
            local: Side::Bob.address(),
            remote: Side::Alice.address(),
            bytes: bytes.as_bytes(),
        };
        pair.now += Duration::from_micros(100);
        pair.bob.handle_datagram(pair.now, received);
        let answer = pair.bob.poll_transmit().unwrap().bytes;
        assert!(is(&answer, "SIP/2.0 481 "));
    }
    assert_eq!(pair.bob.transaction_count(), 0);
    answers(&mut pair, "10.0.0.1:5060", &request("INVITE", ""));
    assert!(incoming(&mut pair, Side::Bob).is_some());
}

#[test]
fn requests_outside_dialogs_leave_nothing_behind_and_each_copy_gets_the_same_answer() {
    let mut pair = pair();
    for method in ["OPTIONS", "REGISTER", "BYE", "REFER", "SUBSCRIBE", "FOO", "INFO"] {
        let first = answers(&mut pair, "10.0.0.1:5060", &request(method, ""));
        assert!(first.len() == 1 && first == answers(&mut pair, "10.0.0.1:5060", &request(method, "")), "{method}");
    }
    assert!(pair.bob.is_idle());
}

#[test]
fn a_peer_beyond_its_budget_is_not_read_and_others_are_served() {
    let mut pair = two_trunks();
    let mut answered = 0;
    for n in 0..30_000 {
        let options = request("OPTIONS", "").replace("z9hG4bKr", &format!("z9hG4bK{n}"));
        let bytes = options.as_bytes();
        let received =
            Received { transport: Transport::Udp, local: Side::Bob.address(), remote: Side::Alice.address(), bytes };
        pair.bob.handle_datagram(pair.now, received);
        answered += usize::from(pair.bob.poll_transmit().is_some());
    }
    assert_eq!(answered, 20_000);
    assert_eq!(pair.bob.counters().throttled, 10_000);
    let other = request("OPTIONS", "").replace("10.0.0.1:5060", "10.0.0.3:5060");
    assert_eq!(answers(&mut pair, "10.0.0.3:5060", &other).len(), 1);
}

#[test]
fn what_was_not_served_is_counted() {
    let (mut pair, _, _) = established();
    answers(&mut pair, STRANGER, &request("REGISTER", ""));
    answers(&mut pair, "10.0.0.1:5060", "garbage\r\n\r\n");
    pair.bob.set_draining(true);
    answers(&mut pair, "10.0.0.1:5060", &request("INVITE", ""));
    let counters = pair.bob.counters();
    assert_eq!((counters.unheard, counters.malformed, counters.refused), (1, 1, 1), "{counters:?}");
}

fn challenge(request: &[u8], realm: &str, nonce: &str) -> String {
    let message = Message::parse(request).unwrap();
    use crate::sip::HeaderName as H;
    let text = |name| message.text(name).unwrap();
    let tag = if message.to().unwrap().tag().is_some() { "" } else { ";tag=ch" };
    format!(
        "SIP/2.0 401 Unauthorized\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"\r\n\
         Content-Length: 0\r\n\r\n",
        text(H::Via),
        text(H::From),
        text(H::To),
        text(H::CallId),
        text(H::CSeq)
    )
}

fn sent_credentials(pair: &Pair) -> usize {
    pair.wire.iter().filter(|(_, _, bytes)| bytes.windows(14).any(|w| w == b"Authorization:")).count()
}

/// CVE-2021-41158: a caller challenges our requests with realms of its choice.
#[test]
fn a_caller_that_challenges_our_requests_gets_no_credentials() {
    for method in ["BYE", "INVITE", "REFER", "INFO"] {
        for n in 0..20 {
            let (mut pair, _, bob) = established();
            let now = pair.now;
            match method {
                "BYE" => pair.bob.hangup(now, bob, &[]).unwrap(),
                "INVITE" => pair.bob.reoffer(now, bob, b"offer".to_vec()).unwrap(),
                "INFO" => pair.bob.info(now, bob, "text/plain", b"x".to_vec()).unwrap(),
                _ => pair.bob.refer(now, bob, crate::sip::Refer::blind(Uri::parse("sip:d@x").unwrap())).unwrap(),
            }
            pair.collect();
            let request = pair.wire.last().unwrap().2.clone();
            let response = challenge(&request, &format!("realm{n}"), "n1");
            pair.inject(Side::Bob, Side::Alice.address(), response.as_bytes());
            assert_eq!(sent_credentials(&pair), 0, "{method}");
        }
    }
}

fn call_with_account(pair: &mut Pair, realm: Option<&str>) -> Vec<u8> {
    let from = crate::sip::event::Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@10.0.0.1").unwrap();
    let mut call = OutgoingInvite::new(target, Side::Alice.address(), from, b"offer".to_vec());
    call.account = Some(Account { realm: realm.map(str::to_owned), ..Account::new("user", "secret") });
    let now = pair.now;
    pair.bob.invite(now, call).unwrap();
    pair.drop_if(|_, _| true);
    pair.collect();
    pair.wire.last().unwrap().2.clone()
}

#[test]
fn an_invite_is_repeated_with_credentials_once_per_nonce_and_twice_at_most() {
    let mut pair = pair();
    let mut invite = call_with_account(&mut pair, None);
    for (n, expected) in [(1, 1), (2, 2), (3, 2)] {
        let response = challenge(&invite, "trunk", &format!("nonce{n}"));
        pair.inject(Side::Bob, Side::Alice.address(), response.as_bytes());
        assert_eq!(sent_credentials(&pair), expected, "after challenge {n}");
        invite = pair.wire.iter().rev().find(|(_, _, b)| is(b, "INVITE ")).unwrap().2.clone();
    }
    let end = ended(&mut pair, Side::Bob);
    assert!(matches!(end, Some(EndCause::Rejected { code: 401, .. })), "{end:?}");
    let numbers: Vec<u32> = pair
        .wire
        .iter()
        .filter(|(_, _, b)| is(b, "INVITE "))
        .map(|(_, _, b)| Message::parse(b).unwrap().cseq().unwrap().number)
        .collect();
    assert_eq!(numbers, [1, 2, 3], "CSeq grows with each attempt");
}

#[test]
fn a_trunk_that_asks_in_twenty_other_realms_gets_no_credentials() {
    for n in 0..20 {
        let mut pair = pair();
        let invite = call_with_account(&mut pair, Some("trunk"));
        pair.inject(Side::Bob, Side::Alice.address(), challenge(&invite, &format!("realm{n}"), "n").as_bytes());
        let target = Target::udp(Side::Alice.address());
        let from = crate::sip::event::Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
        let uri = Uri::parse("sip:10.0.0.1").unwrap();
        let account = Some(Account { realm: Some("trunk".to_owned()), ..Account::new("user", "secret") });
        let now = pair.now;
        pair.bob.options(now, crate::sip::OutgoingOptions { uri, target, from, account }).unwrap();
        pair.collect();
        let options = pair.wire.last().unwrap().2.clone();
        pair.inject(Side::Bob, Side::Alice.address(), challenge(&options, &format!("realm{n}"), "n").as_bytes());
        assert_eq!(sent_credentials(&pair), 0, "realm{n}");
        assert_eq!(pair.bob.counters().unanswered_challenges, 2);
    }
}

#[test]
fn of_several_realms_only_the_configured_one_is_answered() {
    let mut pair = pair();
    let invite = call_with_account(&mut pair, Some("trunk"));
    let both = challenge(&invite, "elsewhere", "n").replace(
        "Content-Length",
        "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"m\", algorithm=MD5, qop=\"auth\"\r\nContent-Length",
    );
    pair.inject(Side::Bob, Side::Alice.address(), both.as_bytes());
    let again = pair.wire.iter().rev().find(|(_, _, b)| is(b, "INVITE ")).unwrap().2.clone();
    assert!(String::from_utf8(again).unwrap().contains("realm=\"trunk\", nonce=\"m\""));
}

#[test]
fn the_same_nonce_is_not_answered_twice() {
    let mut pair = pair();
    let invite = call_with_account(&mut pair, None);
    pair.inject(Side::Bob, Side::Alice.address(), challenge(&invite, "trunk", "n").as_bytes());
    let again = pair.wire.iter().rev().find(|(_, _, b)| is(b, "INVITE ")).unwrap().2.clone();
    pair.inject(Side::Bob, Side::Alice.address(), challenge(&again, "trunk", "n").as_bytes());
    assert_eq!(sent_credentials(&pair), 1);
}

#[test]
fn a_challenge_from_another_address_or_realm_is_not_answered() {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers.push(KnownPeer::by_source("third", vec!["10.0.0.3/32".parse().unwrap()]));
    pair.bob = Endpoint::new(config, Random::seeded(8));
    let invite = call_with_account(&mut pair, Some("trunk"));
    pair.inject(Side::Bob, "10.0.0.3:5060".parse().unwrap(), challenge(&invite, "trunk", "n").as_bytes());
    assert_eq!(sent_credentials(&pair), 0);
    let invite = call_with_account(&mut pair, Some("trunk"));
    pair.inject(Side::Bob, Side::Alice.address(), challenge(&invite, "other", "n").as_bytes());
    assert_eq!(sent_credentials(&pair), 0);
    let invite = call_with_account(&mut pair, Some("trunk"));
    pair.inject(Side::Bob, Side::Alice.address(), challenge(&invite, "trunk", "n").as_bytes());
    assert_eq!(sent_credentials(&pair), 1);
}

#[test]
fn of_two_algorithms_the_stronger_is_answered() {
    let mut pair = pair();
    let invite = call_with_account(&mut pair, None);
    let both = challenge(&invite, "trunk", "n").replace(
        "Content-Length",
        "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"m\", algorithm=SHA-256, qop=\"auth\"\r\nContent-Length",
    );
    pair.inject(Side::Bob, Side::Alice.address(), both.as_bytes());
    let again =
        String::from_utf8(pair.wire.iter().rev().find(|(_, _, b)| is(b, "INVITE ")).unwrap().2.clone()).unwrap();
    assert!(again.contains("algorithm=SHA-256") && !again.contains("algorithm=MD5"), "{again}");
}
