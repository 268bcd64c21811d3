//! One registration against the registrar of `registrar.rs`: its course, its refusals, its contact.

use super::registrar::{REGISTRAR, Scene, settings};
use super::*;
use crate::sip::Uri;
use crate::sip::digest::{Authority, Credentials};
use crate::sip::event::{Peer, RegistrationState};

#[test]
fn register_goes_to_a_uri_without_user_with_the_auth_id_apart_from_the_extension() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert_eq!(scene.states[0].1, RegistrationState::Registering);
    let (_, _, second) = &scene.registrar.seen[1];
    assert!(second.starts_with("REGISTER sip:10.0.0.1 SIP/2.0\r\n"), "{second}");
    assert!(second.contains("username=\"auth-id\"") && second.contains("algorithm=SHA-256"), "{second}");
    assert!(second.contains("To: <sip:1001@pbx.example>\r\n"), "{second}");
    assert_eq!(scene.registrar.bindings.len(), 1);
}

#[test]
fn a_407_is_answered_like_a_401_and_cseq_grows_under_one_call_id() {
    let mut scene = Scene::new(|registrar, _| registrar.authority = Authority::Proxy);
    scene.run(Duration::from_secs(20_000));
    assert!(scene.is_registered());
    let seen = &scene.registrar.seen;
    assert!(seen.len() > 8, "refreshed for hours");
    assert!(seen.windows(2).all(|w| w[1].0 == w[0].0 + 1), "CSeq grows by one");
    let call_ids: std::collections::HashSet<_> =
        seen.iter().map(|(_, _, t)| t.lines().find(|l| l.starts_with("Call-ID")).unwrap().to_owned()).collect();
    assert_eq!(call_ids.len(), 1);
}

#[test]
fn the_refresh_comes_at_a_jittered_50_to_85_percent_of_the_granted_time() {
    let mut scene = Scene::new(|registrar, _| registrar.granted = 1000);
    scene.run(Duration::from_secs(100_000));
    let at: Vec<f64> = scene
        .states
        .iter()
        .filter(|(_, state)| matches!(state, RegistrationState::Registered { .. }))
        .map(|(at, _)| at.as_secs_f64())
        .collect();
    let gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.len() > 100 && gaps.iter().all(|gap| (499.0..851.0).contains(gap)), "{gaps:?}");
    let spread = gaps.iter().fold(0.0f64, |m, g| m.max(*g)) - gaps.iter().fold(f64::MAX, |m, g| m.min(*g));
    assert!(spread > 200.0, "jittered");
}

#[test]
fn a_423_raises_the_expiry_to_min_expires() {
    let mut scene = Scene::new(|registrar, _| registrar.min_expires = 1800);
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered());
    assert!(scene.registrar.seen.last().unwrap().2.contains("Expires: 1800"));
}

#[test]
fn a_registrar_that_always_says_423_is_not_asked_for_ever() {
    let mut scene = Scene::new(|registrar, _| registrar.broken = Some((423, None)));
    scene.run(Duration::from_secs(60));
    assert!(scene.registrar.seen.len() <= 5, "{}", scene.registrar.seen.len());
    assert!(matches!(scene.last(), RegistrationState::Failed { code: Some(423), .. }));
}

#[test]
fn a_wrong_password_is_tried_slowly_and_says_why() {
    let mut scene = Scene::new(|registrar, _| registrar.credentials = Credentials::new("auth-id", "other"));
    scene.run(Duration::from_secs(3600));
    assert!(scene.registrar.seen.len() <= 3 * 9, "{} tries in an hour", scene.registrar.seen.len());
    let RegistrationState::Failed { code: Some(401), reason, retry_at: Some(_) } = scene.last() else {
        panic!("{:?}", scene.last())
    };
    assert!(reason.contains("password"), "{reason}");
}

#[test]
fn a_busy_registrar_is_left_alone_for_retry_after() {
    let mut scene = Scene::new(|registrar, _| registrar.broken = Some((503, Some(120))));
    scene.run(Duration::from_secs(119));
    assert_eq!(scene.registrar.seen.len(), 1);
    scene.registrar.broken = None;
    scene.run(Duration::from_secs(5));
    assert!(scene.is_registered());
}

#[test]
fn a_registrar_that_restarts_has_us_again_by_itself() {
    let mut scene = Scene::new(|registrar, _| registrar.granted = 300);
    scene.run(Duration::from_secs(100));
    assert!(scene.is_registered());
    scene.registrar.is_down = true;
    scene.run(Duration::from_secs(600));
    assert!(matches!(scene.last(), RegistrationState::Failed { code: None, .. }), "{:?}", scene.last());
    scene.registrar.is_down = false;
    scene.registrar.bindings.clear();
    // The longest back-off and one time-out.
    scene.run(Duration::from_secs(335));
    assert!(scene.is_registered());
    assert_eq!(scene.registrar.bindings.len(), 1);
}

#[test]
fn waits_between_failures_grow_with_jitter_up_to_five_minutes() {
    let mut scene = Scene::new(|registrar, _| registrar.broken = Some((503, None)));
    scene.run(Duration::from_secs(4000));
    let at: Vec<f64> = scene
        .states
        .iter()
        .filter(|(_, s)| matches!(s, RegistrationState::Failed { .. }))
        .map(|(at, _)| at.as_secs_f64())
        .collect();
    let gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps[0] <= 2.1 && *gaps.last().unwrap() >= 149.0, "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= 301.0), "{gaps:?}");
}

#[test]
fn after_a_crash_the_old_contact_is_found_and_removed() {
    // max_contacts=1 and nothing replaced: the binding of the crashed process, at another port, blocks us with 403.
    let mut scene = Scene::new(|registrar, _| {
        registrar.bindings.push(Uri::parse("sip:1001-a1b2@10.0.0.2:40000").unwrap());
    });
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered(), "{:?}", scene.states);
    assert_eq!(scene.registrar.bindings, [Uri::parse("sip:1001-a1b2@10.0.0.2:5060").unwrap()]);

    // With room for two, the 200 shows it.
    let mut scene = Scene::new(|registrar, _| {
        registrar.max_contacts = 5;
        registrar.bindings.push(Uri::parse("sip:1001-a1b2@10.0.0.2:40000").unwrap());
        registrar.bindings.push(Uri::parse("sip:desk-phone@10.0.0.7:5060").unwrap());
    });
    scene.run(Duration::from_secs(1));
    assert!(scene.is_registered());
    assert_eq!(scene.registrar.bindings.len(), 2, "a phone that is not ours stays");
}

#[test]
fn a_403_that_no_stale_contact_explains_is_shown_and_tried_slowly() {
    let mut scene = Scene::new(|registrar, _| {
        registrar.bindings.push(Uri::parse("sip:desk-phone@10.0.0.7:5060").unwrap());
    });
    scene.run(Duration::from_secs(300));
    assert!(matches!(scene.last(), RegistrationState::Failed { code: Some(403), .. }));
    assert_eq!(scene.registrar.bindings.len(), 1);
}

#[test]
fn the_contact_follows_the_address_the_registrar_sees() {
    let mut scene = Scene::new(|registrar, _| registrar.nat_port = 61_000);
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.registrar.bindings, [Uri::parse("sip:1001-a1b2@10.0.0.2:61000").unwrap()]);
    scene.registrar.nat_port = 62_000;
    scene.run(Duration::from_secs(3600));
    assert_eq!(scene.registrar.bindings, [Uri::parse("sip:1001-a1b2@10.0.0.2:62000").unwrap()]);
    assert!(scene.is_registered());
}

#[test]
fn unregistering_removes_the_binding_and_ends_the_registration() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    let now = scene.now;
    scene.endpoint.unregister(now, scene.id).unwrap();
    scene.run(Duration::from_secs(40));
    assert_eq!(*scene.last(), RegistrationState::Unregistered);
    assert!(scene.registrar.bindings.is_empty());
    assert_eq!(scene.endpoint.unregister(now, scene.id), Err(CommandError::UnknownRegistration));
    assert!(scene.endpoint.is_idle());
}

#[test]
fn unregistering_at_a_dead_registrar_takes_five_seconds() {
    let mut scene = Scene::new(|registrar, _| registrar.is_down = true);
    let now = scene.now;
    scene.endpoint.unregister(now, scene.id).unwrap();
    scene.run(Duration::from_secs(6));
    assert_eq!(scene.states.last().unwrap(), &(Duration::from_secs(5), RegistrationState::Unregistered));
}

#[test]
fn an_invite_to_our_contact_is_attributed_to_the_registration_and_a_strangers_is_not_heard() {
    let mut scene = Scene::new(|_, _| {});
    scene.run(Duration::from_secs(1));
    let invite = |user: &str| {
        format!(
            "INVITE sip:{user}@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{user}\r\n\
             From: <sip:7@pbx.example>;tag={user}\r\nTo: <sip:1001@pbx.example>\r\nCall-ID: {user}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:7@10.0.0.1>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (user, source, expected) in [
        ("1001-a1b2", REGISTRAR, true),
        ("1001", REGISTRAR, true),
        ("unknown", REGISTRAR, true),
        ("1001-a1b2", "203.0.113.5:5060", false),
    ] {
        let (now, bytes) = (scene.now, invite(user));
        let remote = source.parse().unwrap();
        let received =
            Received { transport: Transport::Udp, local: Side::Bob.address(), remote, bytes: bytes.as_bytes() };
        scene.endpoint.handle_datagram(now, received);
        let peer = std::iter::from_fn(|| scene.endpoint.poll_event()).find_map(|event| match event {
            Event::IncomingCall(call) => Some(call.peer),
            _ => None,
        });
        assert_eq!(peer, expected.then_some(Peer::Registration(scene.id)), "{user} from {source}");
        assert_eq!(scene.endpoint.poll_transmit().is_some(), expected);
        while scene.endpoint.poll_transmit().is_some() {}
    }
}

#[test]
fn debug_output_holds_neither_passwords_nor_messages() {
    let mut scene = Scene::new(|_, _| {});
    let transmit = scene.endpoint.poll_transmit().unwrap();
    let event = scene.endpoint.poll_event();
    let text = format!("{:?} {:?} {transmit:?} {event:?}", settings(), scene.endpoint);
    for secret in ["secret", "auth-id", "sip:1001@", "82, 69, 71", "REGISTER sip"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
