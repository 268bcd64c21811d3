//! Calls that take over others (RFC 3891).

use super::*;
use crate::sip::{DialogPolicy, KnownPeer};

const POLICY: fn() -> DialogPolicy = || DialogPolicy { accept_replaces: true, ..DialogPolicy::default() };

fn accepting() -> Pair {
    Pair::with_policies(Instant::now(), 3, POLICY(), POLICY())
}

/// Alice calls Bob with this Replaces; the leg that Bob is to give up, or Alice's refusal.
fn replace(pair: &mut Pair, value: &str) -> Result<Option<LegId>, u16> {
    let mut call = pair.outgoing(Side::Alice, "offer");
    call.replaces = Some(value.to_owned());
    let now = pair.now;
    pair.alice.invite(now, call).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    match ended(pair, Side::Alice) {
        Some(EndCause::Rejected { code, .. }) => Err(code),
        Some(other) => panic!("{other:?}"),
        None => Ok(pair
            .take(Side::Bob, |e| match e {
                Event::IncomingCall(call) => Some(call.replaces),
                _ => None,
            })
            .unwrap()),
    }
}

#[test]
fn a_call_takes_over_the_one_its_replaces_names() {
    let mut pair = accepting();
    let (alice, bob) = establish(&mut pair);
    // What Alice would tell a third party about her call with Bob.
    let value = pair.alice.replaces_value(alice).unwrap();
    assert_eq!(replace(&mut pair, &value), Ok(Some(bob)));
    let invite = all_sent(&pair, Side::Alice, "INVITE ").pop().unwrap();
    assert_eq!(field(&invite, "Require").as_deref(), Some("replaces"));
    assert_eq!(field(&invite, "Replaces"), Some(value));
    assert!(field(&invite, "Supported").unwrap().contains("replaces"));
}

#[test]
fn the_value_names_the_tags_as_the_peer_of_the_leg_sees_them() {
    let mut pair = accepting();
    let (alice, bob) = establish(&mut pair);
    let (ours, theirs) = (pair.alice.replaces_value(alice).unwrap(), pair.bob.replaces_value(bob).unwrap());
    let tags = |value: &str| {
        let replaces = crate::sip::header::Replaces::parse(value.as_bytes()).unwrap();
        (replaces.to_tag.to_owned(), replaces.from_tag.to_owned())
    };
    assert_eq!(tags(&ours), {
        let (to, from) = tags(&theirs);
        (from, to)
    });
    let ringing = pair.call(Side::Alice, "offer").unwrap();
    assert_eq!(pair.alice.replaces_value(ringing), None, "not up");
    assert_eq!(pair.alice.replaces_value(LegId(999)), None);
}

#[test]
fn what_is_not_there_or_may_not_be_replaced_is_refused() {
    let mut pair = accepting();
    let (alice, bob) = establish(&mut pair);
    let value = pair.alice.replaces_value(alice).unwrap();
    assert_eq!(replace(&mut pair, "nobody;to-tag=1;from-tag=2"), Err(481));
    assert_eq!(replace(&mut pair, &value.replace("from-tag=", "from-tag=x")), Err(481));
    assert_eq!(replace(&mut pair, &value.replace(";to-tag", "x;to-tag")), Err(481), "another Call-ID");
    assert_eq!(replace(&mut pair, &format!("{value};early-only")), Err(486));
    assert_eq!(replace(&mut pair, "no tags"), Err(400));
    // A call that rings at Bob is not Bob's to replace.
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let ringing = incoming(&mut pair, Side::Bob).unwrap();
    let dialog = &pair.bob.legs[&ringing].dialog;
    let early = format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.local_tag, dialog.remote_tag);
    assert_eq!(replace(&mut pair, &early), Err(481));
    // One that has just ended is declined.
    pair.drop_if(|side, bytes| side == Side::Bob && is(bytes, "BYE "));
    let now = pair.now;
    pair.bob.hangup(now, bob, &[]).unwrap();
    pair.collect();
    assert_eq!(replace(&mut pair, &value), Err(603));
}

#[test]
fn a_call_that_we_are_placing_may_be_taken_over_once_it_rings() {
    let mut pair = accepting();
    let bob = pair.call(Side::Bob, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let alice = incoming(&mut pair, Side::Alice).unwrap();
    let now = pair.now;
    pair.alice.ring(now, alice).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let dialog = &pair.alice.legs[&alice].dialog;
    let value = format!("{};to-tag={};from-tag={};early-only", dialog.call_id, dialog.remote_tag, dialog.local_tag);
    assert_eq!(replace(&mut pair, &value), Ok(Some(bob)));
}

#[test]
fn a_peer_that_may_not_replace_is_declined() {
    let mut pair = Pair::new(Instant::now(), 3);
    let (alice, _) = establish(&mut pair);
    let value = pair.alice.replaces_value(alice).unwrap();
    assert_eq!(replace(&mut pair, &value), Err(603));
    let invite = all_sent(&pair, Side::Alice, "INVITE ").remove(0);
    assert!(!field(&invite, "Supported").unwrap().contains("replaces"));
}

#[test]
fn the_call_of_one_peer_is_not_given_to_another() {
    let mut pair = accepting();
    let mut config = crate::sip::pair::config_with(Side::Bob, POLICY());
    let third = KnownPeer { dialog: POLICY(), ..KnownPeer::by_source("third", vec!["10.0.0.3/32".parse().unwrap()]) };
    config.known_peers.push(third);
    pair.bob = Endpoint::new(config, Random::seeded(8));
    let (alice, bob) = establish(&mut pair);
    let value = pair.alice.replaces_value(alice).unwrap();
    let invite = format!(
        "INVITE sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.3:5060;branch=z9hG4bKthird;rport\r\n\
         From: <sip:a@x>;tag=fa\r\nTo: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 5 INVITE\r\nReplaces: {value}\r\n\
         Contact: <sip:a@10.0.0.3:5060>\r\nContent-Length: 0\r\n\r\n"
    );
    pair.inject(Side::Bob, "10.0.0.3:5060".parse().unwrap(), invite.as_bytes());
    assert!(is(&pair.wire.last().unwrap().2, "SIP/2.0 481 "));
    let twice =
        invite.replace("z9hG4bKthird", "z9hG4bKtwice").replace("Contact:", &format!("Replaces: {value}\r\nContact:"));
    pair.inject(Side::Bob, "10.0.0.3:5060".parse().unwrap(), twice.as_bytes());
    assert!(is(&pair.wire.last().unwrap().2, "SIP/2.0 400 "), "two of them");
    assert!(pair.bob.replaces_value(bob).is_some());
}
