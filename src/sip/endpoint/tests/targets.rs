//! Calls over several targets (RFC 3263 §4.3).

use super::*;
use crate::sip::{OutgoingInvite, Target};

const FIRST: &str = "10.0.0.8:5060";

/// A call of Alice's that tries a host that is not there before Bob.
fn call_over_two(pair: &Pair) -> OutgoingInvite {
    let mut call = pair.outgoing(Side::Alice, "offer");
    call.targets.insert(0, Target::udp(FIRST.parse().unwrap()));
    call
}

fn start() -> (Pair, LegId) {
    let mut pair = pair();
    let (now, call) = (pair.now, call_over_two(&pair));
    let leg = pair.alice.invite(now, call).unwrap();
    pair.collect();
    (pair, leg)
}

/// A response of the first target to Alice's first INVITE.
fn from_first(pair: &mut Pair, status: &str) {
    use crate::sip::HeaderName as H;
    let invite = pair.wire[0].2.clone();
    let invite = Message::parse(&invite).unwrap();
    let text = |name| invite.text(name).unwrap();
    let response = format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=first\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:first@10.0.0.8:5060>\r\nContent-Length: 0\r\n\r\n",
        text(H::Via),
        text(H::From),
        text(H::To),
        text(H::CallId),
        text(H::CSeq)
    );
    pair.inject(Side::Alice, FIRST.parse().unwrap(), response.as_bytes());
}

fn invites(pair: &Pair) -> Vec<String> {
    all_sent(pair, Side::Alice, "INVITE ")
}

#[test]
fn a_silent_target_gives_way_after_4_seconds_to_the_next_with_the_same_call_id() {
    let (mut pair, _) = start();
    assert!(pair.run_for(Duration::from_millis(3_990)));
    assert_eq!(incoming(&mut pair, Side::Bob), None);
    assert!(pair.run_for(Duration::from_millis(100)));
    assert!(incoming(&mut pair, Side::Bob).is_some());
    let (first, last) = (invites(&pair)[0].clone(), invites(&pair).pop().unwrap());
    assert_eq!(field(&first, "Call-ID"), field(&last, "Call-ID"));
    assert_eq!(field(&first, "From"), field(&last, "From"));
    assert_ne!(field(&first, "Via"), field(&last, "Via"), "another branch");
    assert_eq!(
        (field(&first, "CSeq").as_deref(), field(&last, "CSeq").as_deref()),
        (Some("1 INVITE"), Some("2 INVITE"))
    );
}

#[test]
fn a_call_that_the_second_target_takes_is_a_call_like_any_other() {
    let (mut pair, alice) = start();
    assert!(pair.run_for(Duration::from_millis(4_100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(answered(&mut pair, Side::Alice), Some(Some(b"answer".to_vec())));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_idle_after(&mut pair, 2 * MINUTE);
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote));
}

#[test]
fn a_target_that_rings_after_it_was_given_up_is_cancelled() {
    let (mut pair, _) = start();
    assert!(pair.run_for(Duration::from_secs(5)));
    from_first(&mut pair, "180 Ringing");
    from_first(&mut pair, "180 Ringing");
    assert_eq!(all_sent(&pair, Side::Alice, "CANCEL ").len(), 1);
    from_first(&mut pair, "487 Request Terminated");
    assert_eq!(all_sent(&pair, Side::Alice, "ACK ").len(), 1);
    assert_eq!(pair.alice.leg_count(), 1, "the call goes on at the second");
}

#[test]
fn a_target_that_takes_the_call_after_it_was_given_up_gets_ack_and_bye() {
    let (mut pair, _) = start();
    assert!(pair.run_for(Duration::from_secs(5)));
    from_first(&mut pair, "200 OK");
    let bye = all_sent(&pair, Side::Alice, "BYE ");
    assert_eq!((all_sent(&pair, Side::Alice, "ACK ").len(), bye.len()), (1, 1));
    assert!(bye[0].contains(";tag=first"));
    assert_eq!(answered(&mut pair, Side::Alice), None);
    assert_eq!(pair.alice.leg_count(), 1);
}

#[test]
fn a_target_that_said_100_is_not_given_up() {
    let (mut pair, _) = start();
    from_first(&mut pair, "100 Trying");
    assert!(pair.run_for(MINUTE));
    assert_eq!(invites(&pair).len(), 1);
}

#[test]
fn a_503_or_an_unreachable_target_gives_way_at_once() {
    let (mut pair, _) = start();
    from_first(&mut pair, "100 Trying");
    from_first(&mut pair, "503 Service Unavailable");
    assert!(pair.run_for(Duration::from_millis(50)));
    assert!(incoming(&mut pair, Side::Bob).is_some());

    let (mut pair, _) = start();
    let now = pair.now;
    pair.alice.handle_transport_error(now, Transport::Udp, FIRST.parse().unwrap());
    assert!(pair.run_for(Duration::from_millis(50)));
    assert!(incoming(&mut pair, Side::Bob).is_some());
}

#[test]
fn a_refusal_a_redirection_or_a_503_after_ringing_stands() {
    for (before, status, code) in [
        ("100 Trying", "486 Busy Here", 486),
        ("100 Trying", "302 Moved Temporarily", 302),
        ("180 Ringing", "503 Service Unavailable", 503),
        ("100 Trying", "500 Server Internal Error", 500),
    ] {
        let (mut pair, _) = start();
        from_first(&mut pair, before);
        from_first(&mut pair, status);
        let end = ended(&mut pair, Side::Alice);
        assert!(matches!(end, Some(EndCause::Rejected { code: c, .. }) if c == code), "{status} {end:?}");
        assert_eq!(invites(&pair).len(), 1, "{status}");
        assert_idle_after(&mut pair, 2 * MINUTE);
    }
}

#[test]
fn what_the_last_target_says_is_the_outcome() {
    let (mut pair, _) = start();
    pair.bob.set_draining(true);
    assert_idle_after(&mut pair, 2 * MINUTE);
    let end = ended(&mut pair, Side::Alice);
    assert!(matches!(end, Some(EndCause::Rejected { code: 503, .. })), "{end:?}");

    let (mut pair, _) = start();
    pair.drop_if(|side, _| side == Side::Bob);
    assert_idle_after(&mut pair, 5 * MINUTE);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::TimedOut(Missing::Response)));
}

#[test]
fn hanging_up_leaves_no_target_ringing() {
    let (mut pair, alice) = start();
    assert!(pair.run_for(Duration::from_secs(5)));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    from_first(&mut pair, "180 Ringing");
    from_first(&mut pair, "487 Request Terminated");
    assert_idle_after(&mut pair, 2 * MINUTE);
    let cancels = all_sent(&pair, Side::Alice, "CANCEL ");
    let branches: BTreeSet<_> = cancels.iter().filter_map(|c| field(c, "Via")).collect();
    assert_eq!(branches.len(), 2, "one for each target");
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Cancelled));
}

#[test]
fn a_target_without_a_local_address_of_its_transport_is_skipped() {
    let mut pair = pair();
    let mut call = call_over_two(&pair);
    call.targets[0].transport = Transport::Tls;
    let now = pair.now;
    pair.alice.invite(now, call.clone()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert!(incoming(&mut pair, Side::Bob).is_some());
    call.targets.truncate(1);
    assert_eq!(pair.alice.invite(now, call.clone()), Err(CommandError::NoLocalAddress));
    call.targets.clear();
    assert_eq!(pair.alice.invite(now, call), Err(CommandError::NoTarget));
}

#[test]
fn a_target_that_challenges_has_answered() {
    let mut pair = pair();
    let mut call = call_over_two(&pair);
    call.account = Some(crate::sip::Account::new("user", "secret"));
    let now = pair.now;
    pair.alice.invite(now, call).unwrap();
    pair.collect();
    let challenge = "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5";
    from_first(&mut pair, challenge);
    assert!(pair.run_for(Duration::from_secs(10)));
    assert!(invites(&pair).pop().unwrap().contains("Authorization: Digest"));
    assert_eq!(incoming(&mut pair, Side::Bob), None);
}

#[test]
fn a_target_that_was_given_up_is_not_tried_by_another_transport() {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Alice);
    let tcp = crate::sip::LocalAddress { transport: Transport::Tcp, ..config.local[0].clone() };
    config.local.push(tcp);
    pair.alice = Endpoint::new(config, Random::seeded(3));
    let mut call = call_over_two(&pair);
    call.sdp = vec![b'x'; 1_500];
    let now = pair.now;
    pair.alice.invite(now, call).unwrap();
    assert!(pair.run_for(Duration::from_secs(5)));
    assert_eq!(invites(&pair).len(), 2, "one by TCP to each, which need no repetition");
    let now = pair.now;
    pair.alice.handle_transport_error(now, Transport::Tcp, FIRST.parse().unwrap());
    assert!(pair.run_for(Duration::from_secs(1)));
    assert_eq!(invites(&pair).len(), 2, "too late for UDP");
    assert_eq!(pair.alice.leg_count(), 1);
}
