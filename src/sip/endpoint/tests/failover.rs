//! Registrations that last for months: other targets, broken streams, changed addresses, challenges answered unasked.

use super::registrar::{REGISTRAR, Scene, settings};
use super::*;
use crate::sip::config::{LocalAddress, Target};
use crate::sip::digest::{Algorithm, Authority};
use crate::sip::event::{Peer, RegistrationState};
use crate::sip::{HeaderName, HeaderValue, KnownPeer, Response, StatusCode, Uri};

const SECOND: &str = "10.0.0.3:5060";

fn target(text: &str) -> Target {
    Target::udp(text.parse().unwrap())
}

fn two_targets() -> Vec<Target> {
    vec![target(REGISTRAR), target(SECOND)]
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

fn failure(scene: &Scene) -> (Option<u16>, String) {
    match scene.last() {
        RegistrationState::Failed { code, reason, .. } => (*code, reason.clone()),
        other => panic!("{other:?}"),
    }
}

/// The value of a parameter in the credentials of each REGISTER that had some.
fn credentials(scene: &Scene, parameter: &str) -> Vec<String> {
    let with = scene.registrar.seen.iter().filter(|(_, has_credentials, _)| *has_credentials);
    with.filter_map(|(_, _, text)| {
        let from = text.find("Digest ")?;
        let rest = &text[from + text[from..].find(parameter)? + parameter.len()..];
        Some(rest.split([',', '\r']).next().unwrap().trim_matches('"').to_owned())
    })
    .collect()
}

#[test]
fn a_silent_target_is_left_for_the_next_after_six_seconds_and_returned_to_later() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.granted = 1_000;
        registrar.down.push(REGISTRAR.to_owned());
    });
    scene.run(Duration::from_secs(7));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert!(scene.registrar.seen_at.iter().all(|at| at == SECOND));
    assert_eq!(scene.endpoint.transaction_count(), 2, "the 401 and the 200; what was sent to the silent one is gone");
    scene.registrar.down.clear();
    scene.run(Duration::from_secs(1_000));
    assert_eq!(scene.registrar.seen_at.last().unwrap(), REGISTRAR, "the best target has us again");
    assert!(!scene.states.iter().any(|(_, state)| matches!(state, RegistrationState::Failed { .. })));
}

#[test]
fn a_503_and_a_broken_transport_fail_over_at_once() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.unavailable.push(REGISTRAR.to_owned());
    });
    scene.run(Duration::from_millis(1));
    assert!(scene.is_registered(), "{:?}", scene.states);

    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.down.push(REGISTRAR.to_owned());
    });
    scene.run(Duration::from_millis(1));
    let now = scene.now;
    scene.endpoint.handle_transport_error(now, Transport::Udp, REGISTRAR.parse().unwrap());
    scene.run(Duration::from_millis(1));
    assert!(scene.is_registered(), "{:?}", scene.states);
}

#[test]
fn when_every_target_fails_it_is_said_and_all_are_tried_again_after_the_wait() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.is_down = true;
    });
    scene.run(Duration::from_millis(38_500));
    assert_eq!(failure(&scene).0, None);
    scene.registrar.is_down = false;
    scene.run(Duration::from_secs(3));
    assert!(scene.is_registered());
    assert_eq!(scene.registrar.seen_at[0], REGISTRAR);
}

#[test]
fn fresh_dns_answers_move_the_binding_only_when_its_target_is_gone() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    let (now, seen) = (scene.now, scene.registrar.seen.len());
    assert_eq!(scene.endpoint.retarget(now, scene.id, Vec::new()), Err(CommandError::NoTarget));
    scene.endpoint.retarget(now, scene.id, vec![target(SECOND), target(REGISTRAR)]).unwrap();
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.seen.len(), seen, "the target in use is still there");
    let now = scene.now;
    scene.endpoint.retarget(now, scene.id, vec![target("10.0.0.4:5060"), target(SECOND)]).unwrap();
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.seen_at.last().unwrap(), "10.0.0.4:5060");
    assert!(scene.is_registered());
    let now = scene.now;
    let standing =
        |scene: &mut Scene, address: &str| scene.endpoint.standing(now, address.parse().unwrap(), Transport::Udp);
    use crate::sip::admission::Standing;
    assert_eq!(standing(&mut scene, "10.0.0.4"), Standing::InTouch);
    assert_eq!(standing(&mut scene, "10.0.0.3"), Standing::InTouch);
    scene.run(Duration::from_secs(40));
    assert_eq!(standing(&mut scene, "10.0.0.1"), Standing::Stranger, "who is not the registrar any more is a stranger");
    let now = scene.now;
    scene.endpoint.unregister(now, scene.id).unwrap();
    scene.run(Duration::from_secs(40));
    assert_eq!(standing(&mut scene, "10.0.0.4"), Standing::Stranger);
}

#[test]
fn calls_from_any_address_of_the_registrar_are_the_registrations() {
    let mut scene = Scene::new(|_, config| config.targets = two_targets());
    scene.run(Duration::from_secs(1));
    let invite = "INVITE sip:1001-a1b2@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.3:5060;branch=z9hG4bKi\r\n\
        From: <sip:7@pbx.example>;tag=i\r\nTo: <sip:1001@pbx.example>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:7@10.0.0.3>\r\nContent-Length: 0\r\n\r\n";
    let received = Received {
        transport: Transport::Udp,
        local: Side::Bob.address(),
        remote: SECOND.parse().unwrap(),
        bytes: invite.as_bytes(),
    };
    let now = scene.now;
    scene.endpoint.handle_datagram(now, received);
    let peer = std::iter::from_fn(|| scene.endpoint.poll_event()).find_map(|event| match event {
        Event::IncomingCall(call) => Some(call.peer),
        _ => None,
    });
    assert_eq!(peer, Some(Peer::Registration(scene.id)));
}

fn from_registrar(scene: &mut Scene, method: &str, user: &str) -> (Option<Peer>, String) {
    let at = if user.is_empty() { String::new() } else { format!("{user}@") };
    let request = format!(
        "{method} sip:{at}10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{method}{user}\r\n\
         From: <sip:7@pbx.example>;tag={user}i\r\nTo: <sip:1001@pbx.example>\r\nCall-ID: c{user}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:7@10.0.0.1>\r\nContent-Length: 0\r\n\r\n"
    );
    let received = Received {
        transport: Transport::Udp,
        local: Side::Bob.address(),
        remote: REGISTRAR.parse().unwrap(),
        bytes: request.as_bytes(),
    };
    let now = scene.now;
    scene.endpoint.handle_datagram(now, received);
    let peer = std::iter::from_fn(|| scene.endpoint.poll_event()).find_map(|event| match event {
        Event::IncomingCall(call) => Some(call.peer),
        _ => None,
    });
    let answer = scene.endpoint.poll_transmit().map(|transmit| String::from_utf8(transmit.bytes).unwrap());
    (peer, answer.unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn a_registrar_that_calls_nobody_we_know_hears_so_and_may_ask_whether_we_are_there() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    let only = Some(Peer::Registration(scene.id));
    assert_eq!(from_registrar(&mut scene, "INVITE", "15551234"), (only.clone(), "100".to_owned()));
    let mut second = settings();
    (second.contact_user, second.aor) = ("1002-c3d4".to_owned(), uri("sip:1002@pbx.example"));
    let now = scene.now;
    scene.endpoint.register(now, second).unwrap();
    while scene.endpoint.poll_transmit().is_some() {}
    assert_eq!(from_registrar(&mut scene, "INVITE", "15559999"), (None, "404".to_owned()));
    assert_eq!(from_registrar(&mut scene, "OPTIONS", ""), (None, "200".to_owned()));
    assert_eq!(from_registrar(&mut scene, "INVITE", "1001"), (only, "100".to_owned()));
}

#[test]
fn calls_of_a_registrar_are_not_challenged_for_a_peer_that_may_be_anywhere() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    scene.endpoint.set_known_peers(vec![KnownPeer {
        authentication: Some(crate::sip::InboundAuthentication {
            realm: "offhook".to_owned(),
            credentials: crate::sip::digest::Credentials::new("alice", "secret"),
        }),
        ..KnownPeer::by_source("anywhere", vec!["0.0.0.0/0".parse().unwrap()])
    }]);
    let only = Some(Peer::Registration(scene.id));
    assert_eq!(from_registrar(&mut scene, "INVITE", "15551234"), (only, "100".to_owned()));
}

#[test]
fn calls_through_a_registration_take_its_service_route() {
    let mut scene =
        Scene::new(|registrar, _| registrar.service_route = Some("<sip:edge.example;lr>, <sip:core;lr>".to_owned()));
    scene.run(Duration::from_secs(1));
    let from = crate::sip::event::Party { display: None, uri: uri("sip:1001@pbx.example") };
    let mut call = crate::sip::OutgoingInvite::new(
        uri("sip:2000@pbx.example"),
        REGISTRAR.parse().unwrap(),
        from,
        b"offer".to_vec(),
    );
    let mut routes = |call: &crate::sip::OutgoingInvite| {
        scene.endpoint.invite(scene.now, call.clone()).unwrap();
        let invite = scene.endpoint.poll_transmit().unwrap();
        let message = Message::parse(&invite.bytes).unwrap();
        message.elements(HeaderName::Route).map(|r| String::from_utf8_lossy(r).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(routes(&call), Vec::<String>::new(), "not through the registration");
    call.contact_user = Some("1001-a1b2".to_owned());
    assert_eq!(routes(&call), ["<sip:edge.example;lr>", "<sip:core;lr>"]);
    call.route = vec![uri("sip:mine;lr")];
    assert_eq!(routes(&call), ["<sip:mine;lr>"]);
}

#[test]
fn an_outbound_proxy_is_a_loose_route_before_an_unchanged_request_uri() {
    let mut scene = Scene::new(|_, config| config.outbound_proxy = Some(uri("sip:edge.example:5070")));
    scene.run(Duration::from_secs(1));
    let first = &scene.registrar.seen[0].2;
    assert!(first.starts_with("REGISTER sip:10.0.0.1 SIP/2.0\r\n"), "{first}");
    assert!(first.contains("Route: <sip:edge.example:5070;lr>\r\n"), "{first}");
    assert!(scene.is_registered());
}

#[test]
fn a_redirect_to_another_target_is_followed_and_one_to_elsewhere_is_reported() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.redirects.push((REGISTRAR.to_owned(), "sip:10.0.0.3".to_owned()));
    });
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert_eq!(scene.registrar.seen_at.last().unwrap(), SECOND);

    let mut scene = Scene::new(|registrar, _| {
        registrar.redirects.push((REGISTRAR.to_owned(), "sip:203.0.113.66".to_owned()));
    });
    scene.run(Duration::from_secs(60));
    let (code, reason) = failure(&scene);
    assert!(code == Some(302) && reason.contains("203.0.113.66"), "{reason}");
    assert!(scene.registrar.seen_at.iter().all(|at| at == REGISTRAR));
}

#[test]
fn a_redirect_loop_ends() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.redirects.push((REGISTRAR.to_owned(), "sip:10.0.0.3".to_owned()));
        registrar.redirects.push((SECOND.to_owned(), "sip:10.0.0.1".to_owned()));
    });
    scene.run(Duration::from_secs(60));
    assert!(scene.registrar.seen.len() <= 5, "{}", scene.registrar.seen.len());
    assert_eq!(failure(&scene).0, Some(302));
}

#[test]
fn each_refusal_says_what_to_do() {
    for (code, words) in [(404, "extension"), (401, "password"), (603, "refuses"), (500, "not able")] {
        let mut scene = Scene::new(|registrar, _| registrar.broken = Some((code, None)));
        scene.run(Duration::from_secs(1));
        let (shown, reason) = failure(&scene);
        assert!(shown == Some(code) && reason.contains(words), "{code} {reason}");
    }
}

#[test]
fn retry_after_is_obeyed_whatever_the_refusal_up_to_an_hour() {
    for (code, asked, waited) in [(404, 1_200, 1_200), (486, 1_200, 1_200), (503, 1_200, 1_200), (404, 900_000, 3_600)]
    {
        let mut scene = Scene::new(|registrar, _| registrar.broken = Some((code, Some(asked))));
        scene.run(Duration::from_secs(1));
        scene.registrar.broken = None;
        scene.run(Duration::from_secs(waited - 2));
        assert!(!scene.is_registered(), "{code}");
        scene.run(Duration::from_secs(3));
        assert!(scene.is_registered(), "{code} {asked}");
    }
}

#[test]
fn a_registrar_that_forgot_us_in_a_restart_has_us_again_soon() {
    for code in [403, 404, 401, 481] {
        let mut scene = Scene::new(|registrar, _| registrar.granted = 120);
        scene.run(Duration::from_secs(1));
        assert!(scene.is_registered());
        scene.registrar.bindings.clear();
        scene.registrar.broken = Some((code, None));
        scene.run(Duration::from_secs(110));
        assert!(!scene.is_registered(), "{code}");
        scene.registrar.broken = None;
        scene.run(Duration::from_secs(65));
        assert!(scene.is_registered(), "{code} {:?}", scene.states);
        assert_eq!(scene.registrar.bindings.len(), 1);
    }
}

#[test]
fn refreshes_answer_the_known_challenge_unasked_with_a_growing_count() {
    let mut scene = Scene::new(|registrar, _| registrar.granted = 60);
    scene.run(Duration::from_secs(280));
    let counts = credentials(&scene, "nc=");
    assert!(counts.len() >= 5, "{counts:?}");
    let expected: Vec<String> = (1..=counts.len()).map(|n| format!("{n:08x}")).collect();
    assert_eq!(counts, expected);
    assert_eq!(scene.registrar.seen.len(), counts.len() + 1, "one 401, at the start");
    let cnonces: std::collections::HashSet<_> = credentials(&scene, "cnonce=").into_iter().collect();
    assert_eq!(cnonces.len(), counts.len());
}

#[test]
fn a_stale_nonce_costs_one_round_and_a_registrar_of_short_nonces_is_not_bothered_with_old_ones() {
    // Nonces of the registrar live 300 s; refreshes come after 500 s at least.
    let mut scene = Scene::new(|registrar, _| registrar.granted = 1_000);
    scene.run(Duration::from_secs(20_000));
    assert!(scene.is_registered());
    assert!(!scene.states.iter().any(|(_, state)| matches!(state, RegistrationState::Failed { .. })));
    let unasked = scene.registrar.seen.windows(2).filter(|pair| pair[0].1 && pair[1].1).count();
    assert_eq!(unasked, 2 * 2, "two refreshes came with an old nonce, each between two others with credentials");
}

#[test]
fn a_registrar_that_refuses_unasked_credentials_is_asked_without() {
    for code in [400, 403, 404] {
        let mut scene = Scene::new(|registrar, _| {
            registrar.granted = 60;
            registrar.refuses_unasked = Some(code);
        });
        scene.run(Duration::from_secs(600));
        assert!(!scene.states.iter().any(|(_, state)| matches!(state, RegistrationState::Failed { .. })), "{code}");
        assert!(scene.registrar.seen.len() > 20);
    }
}

#[test]
fn the_next_nonce_that_a_registrar_gives_is_used_with_its_own_count() {
    let mut scene = Scene::new(|registrar, _| {
        registrar.granted = 60;
        registrar.next_nonces = Some(0);
    });
    scene.run(Duration::from_secs(2_000));
    let (counts, nonces) = (credentials(&scene, "nc="), credentials(&scene, "nonce="));
    assert!(counts.len() > 30 && counts.iter().all(|nc| nc == "00000001"), "{counts:?}");
    assert_eq!(nonces.iter().collect::<std::collections::HashSet<_>>().len(), nonces.len());
    assert_eq!(scene.registrar.seen.len(), counts.len() + 1, "one 401, at the start");
}

#[test]
fn a_proxy_and_the_registrar_behind_it_may_both_ask_in_their_own_realms() {
    let mut scene = Scene::new(|registrar, _| {
        registrar.has_proxy = true;
        registrar.granted = 1_000;
    });
    scene.run(Duration::from_secs(10_000));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert!(!scene.states.iter().any(|(_, state)| matches!(state, RegistrationState::Failed { .. })));
    let last = &scene.registrar.seen.last().unwrap().2;
    assert!(last.contains("Proxy-Authorization: ") && last.contains("\r\nAuthorization: "), "{last}");
}

#[test]
fn a_registrar_with_sha_256_is_not_answered_in_md5_afterwards() {
    let mut scene = Scene::new(|registrar, _| {
        registrar.algorithms = vec![Algorithm::Sha256];
        registrar.credentials = crate::sip::digest::Credentials::new("auth-id", "other");
        registrar.downgrades = true;
    });
    scene.run(Duration::from_secs(60));
    assert!(scene.registrar.seen.iter().all(|(_, _, text)| !text.contains("algorithm=MD5")));
    assert_eq!(failure(&scene).0, Some(401));
}

fn tcp(text: &str) -> Target {
    Target { transport: Transport::Tcp, ..target(text) }
}

/// An endpoint with a UDP and a TCP socket, and a registrar by TCP.
fn over_tcp() -> Scene {
    to_targets(vec![tcp(REGISTRAR)])
}

fn to_targets(targets: Vec<Target>) -> Scene {
    let mut scene = Scene::new(|_, _| {});
    let mut config = EndpointConfig::udp(Side::Bob.address(), Side::Bob.address());
    config.local.push(LocalAddress { transport: Transport::Tcp, ..config.local[0].clone() });
    scene.endpoint = Endpoint::new(config, Random::seeded(7));
    let mut registration = settings();
    registration.targets = targets;
    let now = scene.now;
    scene.id = scene.endpoint.register(now, registration).unwrap();
    scene
}

#[test]
fn a_broken_stream_brings_the_registration_back_within_two_seconds() {
    let mut scene = over_tcp();
    scene.run(Duration::from_secs(60));
    assert!(scene.is_registered());
    assert!(scene.registrar.bindings[0].as_str().ends_with(";transport=tcp"), "{:?}", scene.registrar.bindings);
    let (now, seen) = (scene.now, scene.registrar.seen.len());
    scene.endpoint.handle_transport_error(now, Transport::Udp, REGISTRAR.parse().unwrap());
    scene.endpoint.handle_transport_error(now, Transport::Tcp, SECOND.parse().unwrap());
    scene.run(Duration::from_secs(3));
    assert_eq!(scene.registrar.seen.len(), seen, "another stream is none of its business");
    let now = scene.now;
    scene.endpoint.handle_transport_error(now, Transport::Tcp, REGISTRAR.parse().unwrap());
    scene.run(Duration::ZERO);
    assert_eq!(*scene.last(), RegistrationState::Registering);
    scene.run(Duration::from_secs(2));
    assert!(scene.registrar.seen.len() > seen && scene.is_registered());
}

#[test]
fn a_server_that_closes_after_each_answer_is_registered_at_ever_more_rarely() {
    let mut scene = over_tcp();
    for _ in 0..36_000 {
        scene.run(Duration::from_millis(100));
        if scene.is_registered() {
            let now = scene.now;
            scene.endpoint.handle_transport_error(now, Transport::Tcp, REGISTRAR.parse().unwrap());
        }
    }
    let bound = scene.states.iter().filter(|(_, s)| matches!(s, RegistrationState::Registered { .. })).count();
    assert!((15..40).contains(&bound), "{bound} in an hour");
    // A stream that lives for minutes is a good one again.
    scene.run(Duration::from_secs(600));
    assert!(scene.is_registered());
    let now = scene.now;
    scene.endpoint.handle_transport_error(now, Transport::Tcp, REGISTRAR.parse().unwrap());
    scene.run(Duration::from_secs(2));
    assert!(scene.is_registered());
}

/// What the registrar says to the REGISTER that it was sent, without saying it.
fn answer(scene: &mut Scene, register: &Transmit, code: Option<u16>) -> Vec<u8> {
    let request = Message::parse(&register.bytes).unwrap();
    let status = code.map(|code| StatusCode::new(code).unwrap());
    let bytes = status.map(|status| Response::to_request(&request, status, Side::Bob.address(), Some("reg")).write());
    bytes.unwrap_or_else(|| scene.registrar.handle(scene.now, REGISTRAR, &register.bytes).unwrap())
}

fn hears(scene: &mut Scene, from: &Transmit, bytes: &[u8]) {
    let received = Received { transport: from.transport, local: from.local, remote: from.remote, bytes };
    let now = scene.now;
    scene.endpoint.handle_datagram(now, received);
}

#[test]
fn a_registrar_that_drops_what_comes_by_its_stream_is_given_up_after_ten_seconds_and_tried_again_by_another() {
    let mut scene = over_tcp();
    scene.registrar.is_down = true;
    scene.run(Duration::from_millis(9_900));
    assert!(!scene.states.iter().any(|(_, state)| matches!(state, RegistrationState::Failed { .. })));
    scene.run(Duration::from_millis(200));
    assert_eq!(failure(&scene).0, None);
    assert_eq!(scene.endpoint.poll_silent_stream(), None, "an answer may still come by it");
    scene.registrar.is_down = false;
    scene.run(Duration::from_secs(2));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert_eq!(scene.endpoint.poll_silent_stream(), Some(tcp(REGISTRAR)));
    scene.run(Duration::from_secs(60));
    assert_eq!(scene.endpoint.poll_silent_stream(), None);
    assert!(scene.is_registered(), "what was given up fails once: {:?}", scene.states);
}

#[test]
fn a_silent_stream_is_left_for_the_next_target_after_six_seconds_and_not_used_again() {
    let mut scene = to_targets(vec![tcp(REGISTRAR), tcp(SECOND)]);
    scene.registrar.down.push(REGISTRAR.to_owned());
    scene.run(Duration::from_millis(5_900));
    assert!(scene.registrar.seen.is_empty());
    scene.run(Duration::from_millis(200));
    assert!(scene.is_registered() && scene.registrar.seen_at.iter().all(|at| at == SECOND), "{:?}", scene.states);
    assert_eq!(scene.endpoint.poll_silent_stream(), Some(tcp(REGISTRAR)));
    assert_eq!(scene.endpoint.poll_silent_stream(), None);
}

#[test]
fn a_registrar_that_says_100_has_the_time_of_the_transaction() {
    for targets in [vec![tcp(REGISTRAR)], vec![tcp(REGISTRAR), tcp(SECOND)]] {
        let mut scene = to_targets(targets);
        scene.registrar.is_down = true;
        let register = scene.endpoint.poll_transmit().unwrap();
        scene.run(Duration::from_secs(3));
        let trying = answer(&mut scene, &register, Some(100));
        hears(&mut scene, &register, &trying);
        scene.run(Duration::from_secs(28));
        assert_eq!(*scene.last(), RegistrationState::Registering);
        assert!(scene.endpoint.poll_transmit().is_none());
    }
}

#[test]
fn an_answer_that_comes_after_we_gave_up_counts_until_the_next_try() {
    let mut scene = over_tcp();
    scene.registrar.is_down = true;
    let first = scene.endpoint.poll_transmit().unwrap();
    scene.run(Duration::from_millis(10_500));
    assert_eq!(failure(&scene).0, None);
    scene.registrar.is_down = false;
    let challenge = answer(&mut scene, &first, None);
    hears(&mut scene, &first, &challenge);
    scene.run(Duration::ZERO);
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert_eq!(scene.registrar.seen.len(), 2, "the first and the one with credentials");
    scene.run(Duration::from_secs(60));
    assert!(scene.is_registered() && scene.endpoint.poll_silent_stream().is_none(), "{:?}", scene.states);
}

#[test]
fn credentials_that_a_late_challenge_asked_for_are_not_waited_for_without_end() {
    let mut scene = over_tcp();
    scene.registrar.is_down = true;
    let first = scene.endpoint.poll_transmit().unwrap();
    scene.run(Duration::from_millis(10_500));
    scene.registrar.is_down = false;
    let challenge = answer(&mut scene, &first, None);
    scene.registrar.is_down = true;
    hears(&mut scene, &first, &challenge);
    scene.run(Duration::from_secs(40));
    scene.registrar.is_down = false;
    // The transaction has 32 s; then come a wait, another silent try and another wait.
    scene.run(Duration::from_secs(20));
    assert!(scene.is_registered(), "{:?}", scene.states);
}

#[test]
fn a_stream_that_a_call_lives_on_is_kept_whatever_is_not_answered_by_it() {
    for is_called in [false, true] {
        let mut scene = over_tcp();
        scene.run(Duration::from_secs(1));
        assert!(scene.is_registered());
        if is_called {
            let invite = "INVITE sip:1001-a1b2@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKi\r\n\
                From: <sip:7@pbx.example>;tag=i\r\nTo: <sip:1001@pbx.example>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\n\
                Contact: <sip:7@10.0.0.1;transport=tcp>\r\nContent-Length: 0\r\n\r\n";
            let from = Transmit {
                transport: Transport::Tcp,
                local: Side::Bob.address(),
                remote: REGISTRAR.parse().unwrap(),
                bytes: Vec::new(),
            };
            hears(&mut scene, &from, invite.as_bytes());
            while scene.endpoint.poll_transmit().is_some() {}
        }
        scene.registrar.is_down = true;
        let now = scene.now;
        scene.endpoint.reregister(now, scene.id).unwrap();
        scene.run(Duration::from_secs(13));
        let left = scene.endpoint.poll_silent_stream();
        assert_eq!(left, (!is_called).then(|| tcp(REGISTRAR)), "with a call: {is_called}");
    }
}

#[test]
fn a_stream_that_cannot_be_made_is_tried_with_growing_waits() {
    let mut scene = over_tcp();
    scene.registrar.is_down = true;
    let mut tries = 0;
    for _ in 0..6_000 {
        let now = scene.now;
        scene.endpoint.handle_transport_error(now, Transport::Tcp, REGISTRAR.parse().unwrap());
        let before = scene.states.len();
        scene.run(Duration::from_millis(100));
        tries += scene.states[before..].iter().filter(|(_, s)| matches!(s, RegistrationState::Failed { .. })).count();
    }
    assert!((6..=12).contains(&tries), "{tries} in ten minutes");
    assert!(failure(&scene).1.contains("no connection"));
}

#[test]
fn a_person_may_ask_for_a_registration_at_once() {
    let mut scene = Scene::new(|registrar, _| registrar.broken = Some((404, None)));
    scene.run(Duration::from_secs(5));
    scene.registrar.broken = None;
    let now = scene.now;
    scene.endpoint.reregister(now, scene.id).unwrap();
    scene.run(Duration::from_millis(1));
    assert!(scene.is_registered());
    assert_eq!(scene.endpoint.reregister(now, RegistrationId(999)), Err(CommandError::UnknownRegistration));
}

#[test]
fn changed_local_addresses_change_the_contact_and_remove_the_old_one() {
    let mut scene = Scene::new(|registrar, _| registrar.has_nat = false);
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.bindings, [uri("sip:1001-a1b2@10.0.0.2:5060")]);
    let (now, advertised) = (scene.now, "192.0.2.77:5060".parse().unwrap());
    let local = LocalAddress { advertised, ..scene.endpoint.config().local[0].clone() };
    scene.endpoint.set_local_addresses(now, vec![local.clone()]);
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.bindings, [uri("sip:1001-a1b2@192.0.2.77:5060")]);
    let (now, seen) = (scene.now, scene.registrar.seen.len());
    scene.endpoint.set_local_addresses(now, vec![local]);
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.seen.len(), seen, "the same again changes nothing");
}

#[test]
fn an_answer_to_a_register_that_another_one_overtook_says_nothing() {
    let mut scene = Scene::new(|registrar, config| {
        config.targets = two_targets();
        registrar.down.push(REGISTRAR.to_owned());
    });
    let first = scene.endpoint.poll_transmit().unwrap();
    scene.run(Duration::from_secs(7));
    assert!(scene.is_registered());
    let request = Message::parse(&first.bytes).unwrap();
    let mut late = Response::to_request(&request, StatusCode::new(403).unwrap(), Side::Bob.address(), Some("late"));
    late.headers.push(HeaderName::RetryAfter, HeaderValue::from(9));
    let bytes = late.write();
    let received =
        Received { transport: Transport::Udp, local: Side::Bob.address(), remote: first.remote, bytes: &bytes };
    let now = scene.now;
    scene.endpoint.handle_datagram(now, received);
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered());
}

#[test]
fn a_thousand_registrations_start_one_after_another_and_each_has_one_contact() {
    let mut scene = Scene::new(|registrar, _| (registrar.max_contacts, registrar.is_by_user) = (2_000, true));
    let now = scene.now;
    for n in 1..1_000 {
        let mut config = settings();
        config.contact_user = format!("user{n}");
        config.aor = uri(&format!("sip:{n}@pbx.example"));
        scene.endpoint.register(now, config).unwrap();
    }
    scene.pump();
    let at_once = scene.registrar.seen.len();
    assert!((50..=2 * 51).contains(&at_once), "{at_once} requests at once");
    scene.run(Duration::from_secs(10));
    assert!(scene.registrar.bindings.len() <= 560, "{}", scene.registrar.bindings.len());
    scene.run(Duration::from_secs(15));
    assert_eq!(scene.registrar.bindings.len(), 1_000);
}

#[test]
fn a_registrar_that_returns_many_contacts_has_only_ours_removed() {
    let mut scene = Scene::new(|registrar, _| {
        registrar.max_contacts = 500;
        for n in 0..80 {
            registrar.bindings.push(uri(&format!("sip:phone{n}@10.0.1.{n}:5060")));
        }
        registrar.bindings.push(uri("sip:1001-a1b2@10.0.0.2:40000"));
    });
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered());
    assert_eq!(scene.registrar.bindings.len(), 81);
    assert!(scene.registrar.bindings.contains(&uri("sip:1001-a1b2@10.0.0.2:5060")));
}

/// Loss, restarts that forget everything, a NAT that moves, busy and forbidding phases; then calm.
#[test]
fn after_any_weather_there_is_one_contact_and_it_is_the_right_one() {
    for seed in 0..60 {
        let mut scene = Scene::new(|registrar, config| {
            registrar.granted = 300;
            registrar.whims = Random::seeded(seed);
            registrar.max_contacts = if seed % 2 == 0 { 1 } else { 5 };
            registrar.authority = if seed % 3 == 0 { Authority::Proxy } else { Authority::Server };
            config.targets = two_targets();
        });
        let mut whims = Random::seeded(!seed);
        for _ in 0..40 {
            let registrar = &mut scene.registrar;
            registrar.loss = 0.6 * whims.unit() * whims.unit();
            match whims.below(8) {
                0 => registrar.bindings.clear(),
                1 => registrar.is_down = !registrar.is_down,
                2 => registrar.nat_port = 40_000 + whims.below(1_000) as u16,
                3 => {
                    registrar.broken =
                        [None, Some((503, Some(9))), Some((403, None)), Some((404, None))][whims.below(4) as usize]
                }
                4 => registrar.down = vec![[REGISTRAR, SECOND][whims.below(2) as usize].to_owned()],
                5 => registrar.down.clear(),
                6 => registrar.next_nonces = Some(0).filter(|_| whims.below(2) == 0),
                _ => registrar.broken = None,
            }
            scene.run(Duration::from_secs(whims.below(400)));
        }
        let registrar = &mut scene.registrar;
        (registrar.loss, registrar.broken, registrar.is_down) = (0.0, None, false);
        registrar.down.clear();
        scene.run(Duration::from_secs(660));
        assert!(scene.is_registered(), "seed {seed}: {:?}", scene.last());
        let ours = uri(&format!("sip:1001-a1b2@10.0.0.2:{}", scene.registrar.nat_port));
        assert_eq!(scene.registrar.bindings, [ours], "seed {seed}");
        let numbers: Vec<u32> = scene.registrar.seen.iter().map(|(number, ..)| *number).collect();
        assert!(numbers.windows(2).all(|w| w[1] >= w[0]), "seed {seed}: CSeq never falls");
        assert!(numbers.len() < 2_500, "seed {seed}: {} messages", numbers.len());
        let now = scene.now;
        scene.endpoint.unregister(now, scene.id).unwrap();
        scene.run(Duration::from_secs(60));
        assert!(scene.registrar.bindings.is_empty() && scene.endpoint.is_idle(), "seed {seed}");
    }
}
