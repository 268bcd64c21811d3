//! The size rule of RFC 3261 §18.1.1.

use super::*;
use crate::sip::config::{LocalAddress, OutgoingInvite};
use crate::sip::endpoint::size::DATAGRAM_REQUEST_BYTES;
use crate::sip::event::Party;
use crate::sip::{KnownPeer, Uri};

const PEER: &str = "10.0.0.1:5060";

fn endpoint(peer_transports: Vec<Transport>) -> Endpoint {
    let mut config = crate::sip::pair::config(Side::Bob);
    config.local.push(LocalAddress { transport: Transport::Tcp, ..config.local[0].clone() });
    config.known_peers = vec![KnownPeer {
        transports: peer_transports,
        ..KnownPeer::by_source("other", vec!["10.0.0.1/32".parse().unwrap()])
    }];
    Endpoint::new(config, Random::seeded(5))
}

fn call(endpoint: &mut Endpoint, now: Instant, sdp_bytes: usize) -> LegId {
    let from = Party { display: None, uri: Uri::parse("sip:us@x").unwrap() };
    let target = Uri::parse("sip:them@10.0.0.1").unwrap();
    let mut call = OutgoingInvite::new(target, PEER.parse().unwrap(), from, vec![b'x'; sdp_bytes]);
    call.account = Some(crate::sip::Account::new("user", "secret"));
    endpoint.invite(now, call).unwrap()
}

fn next(endpoint: &mut Endpoint) -> Transmit {
    endpoint.poll_transmit().expect("something to send")
}

fn via(transmit: &Transmit) -> String {
    Message::parse(&transmit.bytes).unwrap().text(crate::sip::HeaderName::Via).unwrap()
}

#[test]
fn a_request_over_1300_bytes_goes_by_tcp_and_says_so_in_its_via() {
    let (mut endpoint, now) = (endpoint(Vec::new()), Instant::now());
    call(&mut endpoint, now, 1_000);
    let sent = next(&mut endpoint);
    assert_eq!((sent.transport, sent.remote.to_string().as_str()), (Transport::Tcp, PEER));
    assert!(via(&sent).starts_with("SIP/2.0/TCP "), "{}", via(&sent));
    assert!(endpoint.poll_transmit().is_none());
}

#[test]
fn nothing_over_1300_bytes_and_nothing_under_1100_takes_the_wrong_transport() {
    for sdp_bytes in (0..1_500).step_by(7) {
        let (mut endpoint, now) = (endpoint(Vec::new()), Instant::now());
        call(&mut endpoint, now, sdp_bytes);
        let sent = next(&mut endpoint);
        let length = sent.bytes.len();
        assert!(sent.transport == Transport::Tcp || length <= DATAGRAM_REQUEST_BYTES, "{length}");
        assert!(sent.transport == Transport::Udp || length > 1_100, "{length}");
    }
}

#[test]
fn a_peer_without_tcp_gets_it_by_udp_at_once_and_is_spared_the_next_time() {
    let (mut endpoint, now) = (endpoint(Vec::new()), Instant::now());
    call(&mut endpoint, now, 1_200);
    let by_tcp = next(&mut endpoint);
    endpoint.handle_transport_error(now, Transport::Tcp, PEER.parse().unwrap());
    let by_udp = next(&mut endpoint);
    assert_eq!(by_udp.transport, Transport::Udp);
    assert!(via(&by_udp).starts_with("SIP/2.0/UDP ") && via(&by_udp) != via(&by_tcp));
    assert_eq!(Message::parse(&by_udp.bytes).unwrap().elements(crate::sip::HeaderName::Via).count(), 1);
    assert!(endpoint.poll_event().is_none(), "the call goes on");

    call(&mut endpoint, now, 1_200);
    assert_eq!(next(&mut endpoint).transport, Transport::Udp);
    let later = now + Duration::from_secs(3_700);
    call(&mut endpoint, later, 1_200);
    assert_eq!(next(&mut endpoint).transport, Transport::Tcp);
}

#[test]
fn a_call_that_fell_back_to_udp_is_answered_and_a_dead_udp_peer_ends_it() {
    let (mut endpoint, now) = (endpoint(Vec::new()), Instant::now());
    let leg = call(&mut endpoint, now, 1_200);
    next(&mut endpoint);
    endpoint.handle_transport_error(now, Transport::Tcp, PEER.parse().unwrap());
    let invite = next(&mut endpoint);
    let request = Message::parse(&invite.bytes).unwrap();
    let mut ok = crate::sip::Response::to_request(&request, crate::sip::StatusCode::OK, invite.local, Some("t"));
    ok.headers.push(crate::sip::HeaderName::Contact, crate::sip::HeaderValue::cleaned("<sip:them@10.0.0.1>"));
    let bytes = ok.write();
    let received = Received { transport: Transport::Udp, local: invite.local, remote: invite.remote, bytes: &bytes };
    endpoint.handle_datagram(now, received);
    let answered =
        std::iter::from_fn(|| endpoint.poll_event()).any(|e| matches!(e, Event::Answered { leg: l, .. } if l == leg));
    assert!(answered);

    let dead = call(&mut endpoint, now, 1_200);
    endpoint.handle_transport_error(now, Transport::Udp, PEER.parse().unwrap());
    let ended = std::iter::from_fn(|| endpoint.poll_event())
        .any(|e| matches!(e, Event::Ended { leg, cause: EndCause::Transport, .. } if leg == dead));
    assert!(ended);
}

#[test]
fn without_a_tcp_socket_or_with_a_peer_of_udp_alone_everything_stays_with_udp() {
    let now = Instant::now();
    let mut only_udp = endpoint(vec![Transport::Udp]);
    call(&mut only_udp, now, 1_200);
    assert_eq!(next(&mut only_udp).transport, Transport::Udp);
    let mut no_socket = Endpoint::new(crate::sip::pair::config(Side::Bob), Random::seeded(5));
    call(&mut no_socket, now, 1_200);
    assert_eq!(next(&mut no_socket).transport, Transport::Udp);
}
