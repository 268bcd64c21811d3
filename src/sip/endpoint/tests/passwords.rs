//! Peers that are known by a password, from anywhere; and how many calls a peer may have.

use super::*;
use crate::sip::admission::{BAN, PROOF, Standing};
use crate::sip::config::{CallLimits, InboundAuthentication, OutgoingInvite};
use crate::sip::digest::{Challenge, Credentials, answer};
use crate::sip::endpoint::streams::Welcome;
use crate::sip::event::{Party, Peer};
use crate::sip::nonce::NONCE_LIFETIME;
use crate::sip::{Account, HeaderName, KnownPeer, Uri};

const CALLER: &str = "198.51.100.7:5060";
const OTHER: &str = "198.51.100.99:5060";
const CARRIER: &str = "10.0.0.1:5060";

fn by_password(name: &str, user: &str, password: &str) -> KnownPeer {
    KnownPeer {
        authentication: Some(InboundAuthentication {
            realm: "offhook".to_owned(),
            credentials: Credentials::new(user, password),
        }),
        ..KnownPeer::by_source(name, vec!["0.0.0.0/0".parse().unwrap()])
    }
}

/// Bob with two trunks that may call from anywhere, and a carrier known by its address.
fn scene() -> Pair {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers = vec![by_password("office", "alice", "secret"), by_password("branch", "bert", "other")];
    config.known_peers.push(KnownPeer::by_source("carrier", vec!["10.0.0.1/32".parse().unwrap()]));
    pair.bob = Endpoint::new(config, Random::seeded(11));
    pair
}

struct Call<'a> {
    method: &'a str,
    n: u32,
    from: &'a str,
    more: String,
}

impl Call<'_> {
    fn write(&self) -> String {
        let Self { method, n, from, more } = self;
        let sdp = "v=0\r\n".repeat(60);
        format!(
            "{method} sip:100@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bKp{method}{n}\r\n\
             From: <sip:a@x>;tag=f{n}\r\nTo: <sip:100@x>\r\nCall-ID: call{n}\r\nCSeq: {n} {method}\r\n\
             Contact: <sip:a@{from}>\r\n{more}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }
}

fn plain(method: &str, n: u32, from: &str) -> String {
    Call { method, n, from, more: String::new() }.write()
}

fn answers(pair: &mut Pair, source: &str, message: &str) -> Vec<String> {
    let before = pair.wire.len();
    pair.inject(Side::Bob, source.parse().unwrap(), message.as_bytes());
    pair.wire[before..].iter().map(|(_, _, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect()
}

/// The request once more with credentials that answer the `which`th challenge of a 401.
fn with_credentials(refusal: &str, which: usize, method: &str, n: u32, from: &str, user: (&str, &str)) -> String {
    let response = Message::parse(refusal.as_bytes()).unwrap();
    let challenge =
        Challenge::parse(response.values(HeaderName::WwwAuthenticate).nth(which).unwrap()).unwrap().remove(0);
    let credentials = Credentials::new(user.0, user.1);
    let method_token = crate::sip::Method::parse(method.as_bytes()).unwrap();
    let value = answer(&challenge, &credentials, &method_token, "sip:100@10.0.0.2", b"", 1, "cafe");
    Call { method, n, from, more: format!("Authorization: {}\r\n", value.to_text()) }.write()
}

fn peer_of_call(pair: &mut Pair) -> Option<Peer> {
    pair.take(Side::Bob, |event| match event {
        Event::IncomingCall(call) => Some(call.peer.clone()),
        _ => None,
    })
}

fn known(name: &str) -> Option<Peer> {
    Some(Peer::Known(name.to_owned()))
}

/// A call with these credentials; gives what came after the second INVITE.
fn call(pair: &mut Pair, source: &str, n: u32, user: (&str, &str)) -> Vec<String> {
    let refusal = answers(pair, source, &plain("INVITE", n, source)).pop().unwrap_or_default();
    if !refusal.starts_with("SIP/2.0 401 ") {
        return Vec::new();
    }
    answers(pair, source, &with_credentials(&refusal, 0, "INVITE", n + 1, source, user))
}

#[test]
fn a_challenge_keeps_nothing_and_is_not_repeated() {
    let mut pair = scene();
    let refusal = answers(&mut pair, CALLER, &plain("INVITE", 1, CALLER));
    assert!(refusal.len() == 1 && refusal[0].starts_with("SIP/2.0 401 "), "{refusal:?}");
    let hashes: Vec<bool> = ["algorithm=SHA-256", "algorithm=MD5"].map(|a| refusal[0].contains(a)).to_vec();
    assert_eq!(hashes, [true, true]);
    assert!(pair.bob.is_idle() && pair.bob.poll_timeout().is_none());
    assert_eq!(pair.bob.counters().challenged, 1);
}

#[test]
fn callers_from_one_address_are_told_apart_by_user_name_in_either_hash() {
    for which in [0, 1] {
        let mut pair = scene();
        for (n, user, trunk) in [(1, ("alice", "secret"), "office"), (3, ("bert", "other"), "branch")] {
            let refusal = answers(&mut pair, CALLER, &plain("INVITE", n, CALLER)).pop().unwrap();
            answers(&mut pair, CALLER, &with_credentials(&refusal, which, "INVITE", n + 1, CALLER, user));
            assert_eq!(peer_of_call(&mut pair), known(trunk));
        }
    }
}

#[test]
fn unknown_user_and_wrong_password_get_the_same_answer() {
    let mut pair = scene();
    let refusals = [("alice", "wrong"), ("nobody", "secret"), ("", "")].map(|user| {
        let refusal = call(&mut pair, CALLER, 1, user).pop().unwrap();
        let nonce = refusal.find("nonce=").unwrap();
        let tag = refusal.find(";tag=").unwrap();
        assert!(!refusal.contains("stale"), "{refusal}");
        (refusal.len(), refusal[..tag].to_owned(), refusal[nonce + 54..].len())
    });
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    assert_eq!(peer_of_call(&mut pair), None);
    assert_eq!(pair.bob.counters().unauthenticated, 3);
}

#[test]
fn ten_wrong_passwords_ban_the_source_for_ten_minutes() {
    let mut pair = scene();
    for n in 0..10 {
        assert_eq!(call(&mut pair, CALLER, 10 * n + 1, ("alice", "guess")).len(), 1, "attempt {n}");
        pair.now += Duration::from_secs(1);
    }
    assert_eq!(pair.bob.counters().bans, 1);
    assert_eq!(answers(&mut pair, CALLER, &plain("INVITE", 500, CALLER)), Vec::<String>::new());
    assert_eq!(pair.bob.counters().banned, 1);
    call(&mut pair, OTHER, 600, ("bert", "other"));
    assert_eq!(peer_of_call(&mut pair), known("branch"), "others are heard");
    pair.now += BAN;
    call(&mut pair, CALLER, 700, ("alice", "secret"));
    assert_eq!(peer_of_call(&mut pair), known("office"));
}

#[test]
fn before_it_shows_a_password_a_source_gets_an_answer_to_invite_and_options_alone() {
    let mut pair = scene();
    for method in ["BYE", "CANCEL", "ACK", "SUBSCRIBE", "REFER", "NOTIFY", "MESSAGE", "FOO", "INFO"] {
        assert_eq!(answers(&mut pair, CALLER, &plain(method, 1, CALLER)), Vec::<String>::new(), "{method}");
    }
    let malformed = plain("INVITE", 1, CALLER).replace("CSeq: 1 INVITE", "CSeq: x");
    assert_eq!(answers(&mut pair, CALLER, &malformed), Vec::<String>::new());
    let in_dialog = plain("INVITE", 1, CALLER).replace("To: <sip:100@x>", "To: <sip:100@x>;tag=guess");
    assert_eq!(answers(&mut pair, CALLER, &in_dialog), Vec::<String>::new());
    assert!(pair.bob.is_idle());
}

#[test]
fn a_scanner_that_registers_gets_nothing_and_is_banned_after_ten() {
    let mut pair = scene();
    for n in 0..4_000 {
        assert_eq!(answers(&mut pair, CALLER, &plain("REGISTER", n, CALLER)), Vec::<String>::new());
        pair.now += Duration::from_millis(50);
    }
    let counters = pair.bob.counters();
    assert_eq!((counters.bans, counters.banned), (1, 3_990));
    assert!(pair.bob.is_idle());
}

#[test]
fn options_of_a_peer_are_challenged_until_it_has_shown_its_password() {
    let mut pair = scene();
    let refusal = answers(&mut pair, CALLER, &plain("OPTIONS", 1, CALLER)).pop().unwrap();
    assert!(refusal.starts_with("SIP/2.0 401 "), "{refusal}");
    let right = with_credentials(&refusal, 0, "OPTIONS", 2, CALLER, ("alice", "secret"));
    assert!(answers(&mut pair, CALLER, &right)[0].starts_with("SIP/2.0 200 "));
    pair.now += MINUTE;
    assert!(answers(&mut pair, CALLER, &plain("OPTIONS", 3, CALLER))[0].starts_with("SIP/2.0 200 "));
    assert!(answers(&mut pair, CALLER, &plain("INVITE", 4, CALLER))[0].starts_with("SIP/2.0 401 "), "calls cost money");
    pair.now += PROOF;
    pair.now += MINUTE;
    let now = pair.now;
    pair.bob.handle_timeout(now);
    assert!(answers(&mut pair, CALLER, &plain("OPTIONS", 5, CALLER))[0].starts_with("SIP/2.0 401 "));
}

/// The OPTIONS that Asterisk sends to see whether a trunk is there has no body and few headers.
#[test]
fn the_keep_alive_of_a_pbx_is_too_short_for_a_challenge_and_gets_a_shorter_answer() {
    let mut pair = scene();
    let options = "OPTIONS sip:offhook.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 198.51.100.7:5060;rport;branch=z9hG4bKPj8f2c1a54-3f0e-4f0a-9d2b-9f7c6f3f9f11\r\n\
        From: <sip:pbx@198.51.100.7>;tag=5a1e7c0e-61a4-4b77-8a3e-0c6f3d2a9b10\r\nTo: <sip:offhook.example.com>\r\n\
        Contact: <sip:pbx@198.51.100.7:5060>\r\nCall-ID: 1b0f4b7e-7a57-4a5e-a0c5-3f4be1d21b6b\r\nCSeq: 4242 OPTIONS\r\n\
        Max-Forwards: 70\r\nUser-Agent: Asterisk PBX 22.1.0\r\nContent-Length:  0\r\n\r\n";
    let refusal = answers(&mut pair, CALLER, options);
    assert!(refusal.len() == 1 && refusal[0].starts_with("SIP/2.0 403 "), "{refusal:?}");
    assert!(refusal[0].len() <= options.len());
}

#[test]
fn captured_credentials_are_worth_nothing_a_second_time_later_or_elsewhere() {
    let mut pair = scene();
    let refusal = answers(&mut pair, CALLER, &plain("INVITE", 1, CALLER)).pop().unwrap();
    let right = with_credentials(&refusal, 0, "INVITE", 2, CALLER, ("alice", "secret"));
    let elsewhere = answers(&mut pair, OTHER, &right);
    assert!(elsewhere[0].starts_with("SIP/2.0 401 ") && !elsewhere[0].contains("stale"), "{elsewhere:?}");
    answers(&mut pair, CALLER, &right);
    assert_eq!(peer_of_call(&mut pair), known("office"));
    // The same credentials in another call.
    let replayed = right.replace("call2", "call3").replace("z9hG4bKpINVITE2", "z9hG4bKpINVITE3");
    let again = answers(&mut pair, CALLER, &replayed);
    assert!(again[0].starts_with("SIP/2.0 401 ") && again[0].contains("stale=true"), "{again:?}");
    assert_eq!(peer_of_call(&mut pair), None);

    let refusal = answers(&mut pair, OTHER, &plain("INVITE", 11, OTHER)).pop().unwrap();
    let late = with_credentials(&refusal, 0, "INVITE", 12, OTHER, ("bert", "other"));
    pair.now += NONCE_LIFETIME + Duration::from_secs(1);
    let again = answers(&mut pair, OTHER, &late);
    assert!(again[0].contains("stale=true"), "{again:?}");
    answers(&mut pair, OTHER, &with_credentials(&again[0], 0, "INVITE", 13, OTHER, ("bert", "other")));
    assert_eq!(peer_of_call(&mut pair), known("branch"));
}

#[test]
fn a_retransmitted_invite_with_credentials_is_one_call() {
    let mut pair = scene();
    let refusal = answers(&mut pair, CALLER, &plain("INVITE", 1, CALLER)).pop().unwrap();
    let right = with_credentials(&refusal, 0, "INVITE", 2, CALLER, ("alice", "secret"));
    for _ in 0..5 {
        let trying = answers(&mut pair, CALLER, &right);
        assert!(trying[0].starts_with("SIP/2.0 100 "), "{trying:?}");
    }
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn the_unproven_never_get_more_bytes_than_they_sent() {
    let mut pair = scene();
    let (mut out, mut answered) = (0, [0; 3]);
    for length in 0..700 {
        for method in ["INVITE", "OPTIONS"] {
            let head = format!(
                "{method} sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{length}\r\nFrom: <sip:a@x>;tag=f\r\n\
                 To: <sip:1@x>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContact: <sip:a@h>\r\n"
            );
            let request = format!("{head}X: {}\r\n\r\n", "x".repeat(length));
            let is_options = method == "OPTIONS";
            let source = format!("198.51.{}.{}:5060", length / 250, length % 250);
            let got = answers(&mut pair, &source, &request);
            assert!(got.len() <= 1);
            let bytes: usize = got.iter().map(String::len).sum();
            assert!(bytes <= request.len(), "{bytes} for {}", request.len());
            out += bytes;
            if is_options {
                assert!(length < 60 || !got.is_empty(), "at {length}");
            } else {
                answered[got.first().map_or(0, |a| a.matches("WWW-Authenticate").count())] += 1;
            }
            pair.now += Duration::from_secs(1);
        }
    }
    assert!(out > 0 && answered.iter().all(|n| *n > 50), "{answered:?}");
    assert!(pair.bob.is_idle(), "and nothing is repeated");
}

#[test]
fn a_challenge_by_tcp_is_complete_however_short_the_request() {
    let mut pair = scene();
    let request = "OPTIONS sip:1@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=f\r\n\
        To: <sip:1@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let received = Received {
        transport: Transport::Tcp,
        local: Side::Bob.address(),
        remote: CALLER.parse().unwrap(),
        bytes: request.as_bytes(),
    };
    pair.bob.handle_datagram(pair.now, received);
    let sent = String::from_utf8(pair.bob.poll_transmit().unwrap().bytes).unwrap();
    assert_eq!(sent.matches("WWW-Authenticate").count(), 2);
}

#[test]
fn nobody_hangs_up_the_call_of_a_peer_that_may_be_anywhere() {
    let mut pair = scene();
    let trying = call(&mut pair, CALLER, 1, ("alice", "secret"));
    assert_eq!(trying.len(), 1);
    let leg = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    let before = pair.wire.len();
    pair.bob.answer(now, leg, b"answer".to_vec()).unwrap();
    pair.collect();
    let ok = String::from_utf8(pair.wire[before].2.clone()).unwrap();
    let to = ok.lines().find(|line| line.starts_with("To:")).unwrap();
    let bye = |n: u32| {
        format!(
            "BYE sip:100@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKb{n}\r\nFrom: <sip:a@x>;tag=f2\r\n{to}\r\n\
             Call-ID: call2\r\nCSeq: {n} BYE\r\nContent-Length: 0\r\n\r\n"
        )
    };
    assert_eq!(answers(&mut pair, OTHER, &bye(50)), Vec::<String>::new());
    // Not even somebody who has shown another peer's password, or this one's, from there.
    call(&mut pair, OTHER, 20, ("bert", "other"));
    answers(&mut pair, OTHER, &bye(51));
    assert_eq!(answers(&mut pair, CARRIER, &bye(52)), Vec::<String>::new());
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert!(answers(&mut pair, CALLER, &bye(53))[0].starts_with("SIP/2.0 200 "));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote));
}

#[test]
fn a_peer_that_may_be_anywhere_gets_no_credentials_of_ours_from_elsewhere() {
    let mut pair = scene();
    let from = Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@198.51.100.7").unwrap();
    let mut call = OutgoingInvite::new(target, CALLER.parse().unwrap(), from, b"offer".to_vec());
    call.account = Some(Account::new("user", "secret"));
    let now = pair.now;
    pair.bob.invite(now, call).unwrap();
    pair.collect();
    let invite = pair.wire.last().unwrap().2.clone();
    let request = Message::parse(&invite).unwrap();
    let mut refusal = crate::sip::Response::to_request(
        &request,
        crate::sip::StatusCode::UNAUTHORIZED,
        Side::Bob.address(),
        Some("t"),
    );
    let challenge = crate::sip::HeaderValue::cleaned("Digest realm=\"r\", nonce=\"n\", qop=\"auth\"");
    refusal.headers.push(HeaderName::WwwAuthenticate, challenge);
    let refusal = String::from_utf8(refusal.write()).unwrap();
    let again = answers(&mut pair, OTHER, &refusal);
    assert!(again.iter().all(|message| !message.contains("Authorization")), "{again:?}");
    assert_eq!(pair.bob.counters().unanswered_challenges, u64::from(!again.is_empty()));
}

#[test]
fn a_password_outweighs_the_source_and_the_source_serves_without() {
    let mut pair = scene();
    answers(&mut pair, CARRIER, &plain("INVITE", 1, CARRIER));
    assert_eq!(peer_of_call(&mut pair), known("carrier"));
    let refusal = answers(&mut pair, CALLER, &plain("INVITE", 2, CALLER)).pop().unwrap();
    // A nonce is bound to its address, so this is wrong there and the source decides.
    answers(&mut pair, CARRIER, &with_credentials(&refusal, 0, "INVITE", 3, CARRIER, ("alice", "secret")));
    assert_eq!(peer_of_call(&mut pair), known("carrier"));
}

#[test]
fn a_peer_of_tls_alone_is_a_stranger_by_udp() {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers[0].transports = vec![Transport::Tls];
    pair.bob = Endpoint::new(config, Random::seeded(12));
    assert_eq!(answers(&mut pair, CARRIER, &plain("INVITE", 1, CARRIER)), Vec::<String>::new());
    assert_eq!(pair.bob.counters().unheard, 1);
    let bytes = plain("INVITE", 1, CARRIER).replace("SIP/2.0/UDP", "SIP/2.0/TLS");
    let remote = CARRIER.parse().unwrap();
    let received = Received { transport: Transport::Tls, local: Side::Bob.address(), remote, bytes: bytes.as_bytes() };
    pair.bob.handle_datagram(pair.now, received);
    assert!(matches!(pair.bob.poll_event(), Some(Event::IncomingCall(_))));
}

#[test]
fn the_narrowest_network_decides_between_peers_of_one_source() {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers = [("wide", "10.0.0.0/8"), ("host", "10.0.0.1/32"), ("lan", "10.0.0.0/24")]
        .map(|(name, net)| KnownPeer::by_source(name, vec![net.parse().unwrap()]))
        .to_vec();
    pair.bob = Endpoint::new(config, Random::seeded(13));
    for (n, source, name) in [(1, "10.0.0.1:5060", "host"), (2, "10.0.0.9:5060", "lan"), (3, "10.9.0.1:5060", "wide")] {
        answers(&mut pair, source, &plain("INVITE", n, source));
        assert_eq!(peer_of_call(&mut pair), known(name));
    }
}

#[test]
fn known_peers_may_change_while_calls_go_on() {
    let (mut pair, _, bob) = established();
    let now = pair.now;
    pair.bob.set_known_peers(vec![KnownPeer::by_source("new", vec!["198.51.100.7/32".parse().unwrap()])]);
    answers(&mut pair, CALLER, &plain("INVITE", 1, CALLER));
    assert_eq!(peer_of_call(&mut pair), known("new"));
    assert_eq!(pair.bob.standing(now, Side::Alice.address().ip(), Transport::Udp), Standing::InTouch);
    assert_eq!(answers(&mut pair, CARRIER, &plain("INVITE", 2, CARRIER)), Vec::<String>::new());
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert!(pair.run_for(MINUTE));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
}

#[test]
fn streams_are_heard_from_whoever_may_be_a_peer_until_banned_and_known_better_by_password() {
    let mut pair = scene();
    let now = pair.now;
    let (caller, carrier): (SocketAddr, SocketAddr) = (CALLER.parse().unwrap(), CARRIER.parse().unwrap());
    let of = |pair: &mut Pair, source: SocketAddr| pair.bob.welcome(now, source.ip(), Transport::Tcp);
    assert_eq!(of(&mut pair, carrier), Welcome::Peer);
    assert_eq!(of(&mut pair, caller), Welcome::Guest);
    assert_eq!(of(&mut pair, "[2001:db8::1]:5060".parse().unwrap()), Welcome::None);
    for n in 0..10 {
        answers(&mut pair, OTHER, &plain("REGISTER", n, OTHER));
    }
    assert_eq!(of(&mut pair, OTHER.parse().unwrap()), Welcome::None);
    let refusal = answers(&mut pair, CALLER, &plain("OPTIONS", 1, CALLER)).pop().unwrap();
    answers(&mut pair, CALLER, &with_credentials(&refusal, 0, "OPTIONS", 2, CALLER, ("alice", "secret")));
    assert_eq!(of(&mut pair, caller), Welcome::Peer);
}

/// Bob with limits for Alice's trunk.
fn limited(limits: CallLimits) -> Pair {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers[0].limits = limits;
    pair.bob = Endpoint::new(config, Random::seeded(14));
    pair
}

fn call_out(pair: &mut Pair) -> Result<LegId, CommandError> {
    let from = Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@10.0.0.1").unwrap();
    let now = pair.now;
    pair.bob.invite(now, OutgoingInvite::new(target, Side::Alice.address(), from, b"offer".to_vec()))
}

#[test]
fn a_peer_has_as_many_calls_as_it_may_in_both_directions_together() {
    let mut pair = limited(CallLimits { concurrent: Some(2), per_second: None });
    establish(&mut pair);
    let out = call_out(&mut pair).unwrap();
    assert_eq!(call_out(&mut pair), Err(CommandError::PeerLimit));
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let end = ended(&mut pair, Side::Alice);
    assert!(matches!(end, Some(EndCause::Rejected { code: 503, retry_after: Some(_), .. })), "{end:?}");
    assert_eq!(pair.bob.counters().over_peer_limit, 2);
    let now = pair.now;
    pair.bob.hangup(now, out, &[]).unwrap();
    call_out(&mut pair).unwrap();
}

#[test]
fn a_peer_gets_calls_no_faster_than_its_rate() {
    let mut pair = limited(CallLimits { concurrent: None, per_second: Some(3) });
    let taken = (0..10).filter(|_| call_out(&mut pair).is_ok()).count();
    assert_eq!(taken, 3);
    pair.now += Duration::from_secs(1);
    let taken = (0..10).filter(|_| call_out(&mut pair).is_ok()).count();
    assert_eq!(taken, 3);
}

#[test]
fn the_limit_of_a_peer_that_is_named_counts_wherever_the_call_goes() {
    let mut pair = limited(CallLimits { concurrent: Some(0), per_second: None });
    let from = Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@10.0.0.77").unwrap();
    let mut call = OutgoingInvite::new(target, "10.0.0.77:5060".parse().unwrap(), from, b"offer".to_vec());
    call.peer = Some("other".to_owned());
    let now = pair.now;
    assert_eq!(pair.bob.invite(now, call), Err(CommandError::PeerLimit));
}
