//! Changes within a call: re-INVITE, UPDATE, glare, REFER.

use super::*;
use crate::sip::event::TransferOutcome;
use crate::sip::{Refer, Uri};

#[test]
fn a_reoffer_is_answered_from_the_current_offer_in_either_direction() {
    let (mut pair, alice, bob) = established();
    for (from, leg, peer) in [(Side::Alice, alice, bob), (Side::Bob, bob, alice), (Side::Alice, alice, bob)] {
        let now = pair.now;
        pair.at(from).reoffer(now, leg, b"hold".to_vec()).unwrap();
        assert_eq!(pair.at(from).reoffer(now, leg, b"again".to_vec()), Err(CommandError::OfferPending));
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(reoffer(&mut pair, from.other()), Some(Some(b"hold".to_vec())));
        let now = pair.now;
        pair.at(from.other()).answer_reoffer(now, peer, b"held".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(outcome(&mut pair, from), Some(Ok(Some(b"held".to_vec()))));
    }
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
}

#[test]
fn a_refused_reoffer_leaves_the_call_up() {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"video".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let now = pair.now;
    pair.bob.reject_reoffer(now, bob, 488).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(488)));
    assert_eq!((pair.alice.leg_count(), pair.bob.leg_count()), (1, 1));
    let now = pair.now;
    assert_eq!(pair.bob.answer_reoffer(now, bob, Vec::new()), Err(CommandError::WrongState));
}

#[test]
fn an_application_that_does_not_answer_a_reoffer_costs_the_peer_ten_seconds() {
    let (mut pair, alice, _) = established();
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"offer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(11)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(500)));
}

#[test]
fn reoffers_that_cross_get_491_and_both_come_through_after_the_back_off() {
    for seed in 0..20 {
        let mut pair = Pair::new(Instant::now(), seed);
        let (alice, bob) = establish(&mut pair);
        let now = pair.now;
        pair.alice.reoffer(now, alice, b"from alice".to_vec()).unwrap();
        pair.bob.reoffer(now, bob, b"from bob".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(pair.wire.iter().filter(|(_, _, b)| is(b, "SIP/2.0 491")).count(), 2);
        // Bob did not make the Call-ID: his turn comes within 2 s, Alice's after 2.1 s.
        assert!(pair.run_for(Duration::from_millis(2_040)));
        assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(491)), "an offer in back-off gives way");
        assert_eq!(reoffer(&mut pair, Side::Alice), Some(Some(b"from bob".to_vec())), "seed {seed}");
        let now = pair.now;
        pair.alice.answer_reoffer(now, alice, b"to bob".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(40)));
        assert_eq!(outcome(&mut pair, Side::Bob), Some(Ok(Some(b"to bob".to_vec()))));
        let now = pair.now;
        pair.alice.reoffer(now, alice, b"from alice".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"from alice".to_vec())));
    }
}

#[test]
fn a_peer_that_lost_the_dialog_ends_the_call_with_bye() {
    let (mut pair, alice, _) = established();
    pair.bob = Endpoint::new(crate::sip::pair::config(Side::Bob), Random::seeded(77));
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"offer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(200)));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::DialogLost));
    assert_idle_after(&mut pair, MINUTE);
}

#[test]
fn an_update_with_offer_is_answered_in_its_200_and_moves_the_target() {
    let (mut pair, _, bob) = established();
    let update = in_dialog(&pair, "UPDATE", 10, "Content-Type: application/sdp\r\n", "resume");
    assert_eq!(inject_from_alice(&mut pair, &update), None, "the application answers");
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"resume".to_vec())));
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"resumed".to_vec()).unwrap();
    pair.collect();
    let ok = String::from_utf8(pair.wire.last().unwrap().2.clone()).unwrap();
    assert!(ok.starts_with("SIP/2.0 200 OK") && ok.ends_with("\r\n\r\nresumed") && ok.contains("Contact: "), "{ok}");
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert_eq!(pair.bob.poll_transmit().unwrap().remote.to_string(), "10.0.0.1:5070");
}

#[test]
fn an_update_without_offer_is_answered_at_once() {
    let (mut pair, _, _) = established();
    let update = in_dialog(&pair, "UPDATE", 10, "", "");
    assert!(inject_from_alice(&mut pair, &update).unwrap().starts_with("SIP/2.0 200 "));
    assert_eq!(reoffer(&mut pair, Side::Bob), None);
}

#[test]
fn a_reinvite_without_sdp_gets_our_offer_and_its_answer_comes_with_the_ack() {
    let (mut pair, _, bob) = established();
    let invite = in_dialog(&pair, "INVITE", 10, "", "");
    inject_from_alice(&mut pair, &invite);
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(None));
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"our offer".to_vec()).unwrap();
    let ack = in_dialog(&pair, "ACK", 10, "Content-Type: application/sdp\r\n", "answer");
    inject_from_alice(&mut pair, &ack);
    assert_eq!(outcome(&mut pair, Side::Bob), Some(Ok(Some(b"answer".to_vec()))));
}

#[test]
fn a_second_reinvite_during_the_first_gets_500_with_retry_after() {
    let (mut pair, _, _) = established();
    let (first, second) = (in_dialog(&pair, "INVITE", 10, "", ""), in_dialog(&pair, "INVITE", 11, "", ""));
    inject_from_alice(&mut pair, &first);
    let answer = inject_from_alice(&mut pair, &second).unwrap();
    assert!(answer.starts_with("SIP/2.0 500 ") && answer.contains("Retry-After: "), "{answer}");
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_up() {
    let (mut pair, _, bob) = established();
    let invite = in_dialog(&pair, "INVITE", 10, "", "");
    inject_from_alice(&mut pair, &invite);
    let cancel = in_dialog(&pair, "CANCEL", 10, "", "").replace("z9hG4bKCANCEL10", "z9hG4bKINVITE10");
    let answer = inject_from_alice(&mut pair, &cancel).unwrap();
    assert!(answer.starts_with("SIP/2.0 487 "), "{answer}");
    let now = pair.now;
    assert_eq!(pair.bob.answer_reoffer(now, bob, Vec::new()), Err(CommandError::WrongState));
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_request_with_a_smaller_cseq_gets_500() {
    let (mut pair, _, _) = established();
    let (late, early) = (in_dialog(&pair, "INFO", 9, "", ""), in_dialog(&pair, "INFO", 10, "", ""));
    assert!(inject_from_alice(&mut pair, &early).unwrap().starts_with("SIP/2.0 200 "));
    assert!(inject_from_alice(&mut pair, &late).unwrap().starts_with("SIP/2.0 500 "));
}

#[test]
fn a_body_that_is_no_sdp_gets_415_with_accept() {
    let (mut pair, _, _) = established();
    let invite = in_dialog(&pair, "INVITE", 10, "Content-Type: text/plain\r\n", "hello");
    let answer = inject_from_alice(&mut pair, &invite).unwrap();
    assert!(answer.starts_with("SIP/2.0 415 ") && answer.contains("Accept: application/sdp"), "{answer}");
}

fn transfer_events(pair: &mut Pair, side: Side) -> (Vec<u16>, Option<TransferOutcome>) {
    let mut codes = Vec::new();
    let outcome = pair.take(side, |e| match e {
        Event::TransferProgress { code, .. } => {
            codes.push(*code);
            None
        }
        Event::TransferFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    (codes, outcome)
}

fn start_transfer() -> (Pair, LegId, LegId) {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    let mut refer = Refer::blind(Uri::parse("sip:desk@10.0.0.9").unwrap());
    refer.referred_by = Some(Uri::parse("sip:agent@10.0.0.1").unwrap());
    refer.headers.push(("X-Context".to_owned(), "Anna, appointment".to_owned()));
    refer.replaces = Some("c9;to-tag=1;from-tag=2".to_owned());
    pair.alice.refer(now, alice, refer.clone()).unwrap();
    assert_eq!(pair.alice.refer(now, alice, refer), Err(CommandError::WrongState));
    assert!(pair.run_for(Duration::from_millis(50)));
    let (target, replaces) = pair
        .take(Side::Bob, |e| match e {
            Event::TransferRequested { target, replaces, .. } => {
                Some((target.expose().as_str().to_owned(), replaces.clone().unwrap().into_exposed()))
            }
            _ => None,
        })
        .unwrap();
    assert_eq!((target.as_str(), replaces.as_str()), ("sip:desk@10.0.0.9", "c9;to-tag=1;from-tag=2"));
    assert!(pair.wire.iter().any(|(_, _, b)| is(b, "REFER ") && b.windows(9).any(|w| w == b"X-Context")));
    (pair, alice, bob)
}

#[test]
fn a_transfer_succeeds_with_the_notify_and_then_the_leg_is_ended_with_bye() {
    let (mut pair, _, bob) = start_transfer();
    let now = pair.now;
    pair.bob.accept_refer(now, bob).unwrap();
    pair.bob.notify_refer(now, bob, 180).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(pair.alice.leg_count(), 1, "202 is not success");
    let now = pair.now;
    pair.bob.notify_refer(now, bob, 200).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(transfer_events(&mut pair, Side::Alice), (vec![100, 180], Some(TransferOutcome::Accepted)));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Transferred));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote));
}

#[test]
fn a_transfer_whose_target_is_busy_returns_the_call() {
    let (mut pair, _, bob) = start_transfer();
    let now = pair.now;
    pair.bob.accept_refer(now, bob).unwrap();
    pair.bob.notify_refer(now, bob, 486).unwrap();
    assert!(pair.run_for(Duration::from_secs(70)));
    let busy = TransferOutcome::Refused { code: 486, phrase: "Busy Here".to_owned() };
    assert_eq!(transfer_events(&mut pair, Side::Alice), (vec![100], Some(busy)));
    assert_eq!(pair.alice.leg_count(), 1);
}

#[test]
fn a_refused_or_unanswered_refer_returns_the_call() {
    let (mut pair, _, bob) = start_transfer();
    let now = pair.now;
    pair.bob.reject_refer(now, bob, 603).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let declined = TransferOutcome::Refused { code: 603, phrase: "Decline".to_owned() };
    assert_eq!(transfer_events(&mut pair, Side::Alice).1, Some(declined.clone()));

    let (mut pair, _, _) = start_transfer();
    assert!(pair.run_for(Duration::from_secs(6)));
    assert_eq!(transfer_events(&mut pair, Side::Alice).1, Some(declined), "nobody decided within 5 s");
    assert_eq!(pair.alice.leg_count(), 1);
}

#[test]
fn a_transfer_without_a_final_notify_times_out_and_returns_the_call() {
    let (mut pair, _, bob) = start_transfer();
    let now = pair.now;
    pair.bob.accept_refer(now, bob).unwrap();
    assert!(pair.run_for(Duration::from_secs(61)));
    assert_eq!(transfer_events(&mut pair, Side::Alice).1, Some(TransferOutcome::TimedOut));
    assert_eq!(pair.alice.leg_count(), 1);
}

#[test]
fn a_peer_that_hangs_up_during_the_transfer_leaves_its_outcome_open() {
    let (mut pair, _, bob) = start_transfer();
    let now = pair.now;
    pair.bob.accept_refer(now, bob).unwrap();
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(transfer_events(&mut pair, Side::Alice).1, Some(TransferOutcome::PeerHungUp));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
}

#[test]
fn a_refer_from_a_peer_that_may_not_gets_603_and_reaches_nobody() {
    let mut pair = pair();
    let mut config = crate::sip::pair::config(Side::Bob);
    config.known_peers[0].dialog.accept_refer = false;
    pair.bob = Endpoint::new(config, Random::seeded(9));
    let (alice, _) = establish(&mut pair);
    let now = pair.now;
    pair.alice.refer(now, alice, Refer::blind(Uri::parse("sip:+4490@10.0.0.2").unwrap())).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert!(pair.take(Side::Bob, |e| matches!(e, Event::TransferRequested { .. }).then_some(())).is_none());
    assert!(sent(&pair, Side::Bob).contains(&"603 REFER".to_owned()));
}

#[test]
fn a_reoffer_that_the_peer_never_decides_is_given_up_and_does_not_keep_the_leg() {
    let (mut pair, alice, _) = established();
    pair.drop_if(|side, bytes| side == Side::Bob && !is(bytes, "SIP/2.0 1") && !is(bytes, "SIP/2.0 200 "));
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"offer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(33)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(408)));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert!(pair.run_for(Duration::from_secs(70)));
    assert!(pair.alice.is_idle(), "{:?}", pair.alice);
}

/// What a PBX does that takes the media off its own path (`direct_media=yes`).
#[test]
fn a_reinvite_right_behind_the_ack_reaches_the_application() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(10)));
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"elsewhere".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(20)));
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "ACK", "INVITE"]);
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"elsewhere".to_vec())));
}

#[test]
fn a_reinvite_that_overtakes_the_ack_gets_491_and_comes_through_afterwards() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let mut acks = 0;
    pair.drop_if(move |_, bytes| {
        acks += u32::from(is(bytes, "ACK "));
        is(bytes, "ACK ") && acks == 1
    });
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(10)));
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"elsewhere".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(5)));
    assert_eq!(all_sent(&pair, Side::Bob, "SIP/2.0 491").len(), 1);
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"elsewhere".to_vec())));
}

#[test]
fn a_refusal_or_a_late_answer_of_an_update_keeps_the_session_as_it_was() {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"video".to_vec())).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let now = pair.now;
    pair.bob.reject_reoffer(now, bob, 488).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(488)));
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"video".to_vec())).unwrap();
    assert!(pair.run_for(Duration::from_secs(11)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(500)));
    assert_eq!((pair.alice.leg_count(), pair.bob.leg_count()), (1, 1));
}

#[test]
fn updates_that_cross_get_491_and_are_tried_again() {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"a".to_vec())).unwrap();
    pair.bob.update(now, bob, Some(b"b".to_vec())).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(pair.wire.iter().filter(|(_, _, b)| is(b, "SIP/2.0 491")).count(), 2);
    assert!(pair.run_for(Duration::from_millis(2_040)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Err(491)));
    assert_eq!(reoffer(&mut pair, Side::Alice), Some(Some(b"b".to_vec())));
}
