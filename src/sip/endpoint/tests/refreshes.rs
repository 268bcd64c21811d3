//! Session timers at work (RFC 4028): refreshes by UPDATE and re-INVITE, refusals, and sessions that die.

use super::*;
use crate::sip::{DialogPolicy, Refresher, SessionTimer};

fn timer(expires_s: u64, min_se_s: u64, refresher: Refresher) -> DialogPolicy {
    let (expires, min_se) = (Duration::from_secs(expires_s), Duration::from_secs(min_se_s));
    let session_timer = Some(SessionTimer { expires, min_se, refresher });
    DialogPolicy { session_timer, accept_refer: true, ..DialogPolicy::default() }
}

/// Sessions of 90 s, which the side with the policy `Ours` refreshes.
fn short(alice: Refresher) -> Pair {
    Pair::with_policies(Instant::now(), 7, timer(90, 90, alice), timer(90, 90, Refresher::Either))
}

/// Makes the other side one that does not serve UPDATE.
fn without_update(text: String) -> String {
    text.replace(", UPDATE", "")
}

fn count(pair: &Pair, side: Side, start: &str) -> usize {
    all_sent(pair, side, start).len()
}

#[test]
fn the_refresher_sends_updates_without_body_and_no_application_hears_of_it() {
    for (refresher, side) in [(Refresher::Ours, Side::Alice), (Refresher::Theirs, Side::Bob)] {
        let mut pair = short(refresher);
        let (alice, _) = establish(&mut pair);
        assert!(pair.run_for(10 * MINUTE));
        // Every 45 s of 600.
        assert_eq!(count(&pair, side, "UPDATE "), 13, "{side:?}");
        assert_eq!(count(&pair, side.other(), "UPDATE "), 0);
        let update = all_sent(&pair, side, "UPDATE ").remove(0);
        assert!(update.ends_with("Content-Length: 0\r\n\r\n"));
        assert_eq!(field(&update, "Session-Expires").as_deref(), Some("90;refresher=uac"));
        assert!(pair.events.is_empty(), "{:?}", pair.events);
        assert_eq!((pair.alice.leg_count(), pair.bob.leg_count()), (1, 1));
        let now = pair.now;
        pair.alice.hangup(now, alice, &[]).unwrap();
        assert_idle_after(&mut pair, MINUTE);
    }
}

#[test]
fn the_invite_asks_and_the_200_says_who_refreshes() {
    let mut pair = Pair::new(Instant::now(), 7);
    establish(&mut pair);
    let invite = all_sent(&pair, Side::Alice, "INVITE ").remove(0);
    assert_eq!(field(&invite, "Session-Expires").as_deref(), Some("1800"));
    assert_eq!(field(&invite, "Min-SE").as_deref(), Some("90"));
    assert!(field(&invite, "Supported").unwrap().contains("timer"));
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").remove(0);
    assert_eq!(field(&ok, "Session-Expires").as_deref(), Some("1800;refresher=uas"));

    let mut pair = short(Refresher::Ours);
    establish(&mut pair);
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").remove(0);
    assert_eq!(field(&ok, "Session-Expires").as_deref(), Some("90;refresher=uac"));
    assert_eq!(field(&ok, "Require").as_deref(), Some("timer"));
}

#[test]
fn a_peer_without_update_is_refreshed_by_reinvite_with_the_session_as_it_is() {
    let mut pair = short(Refresher::Ours);
    pair.rewrite(|_, text| without_update(text));
    let (alice, bob) = establish(&mut pair);
    assert!(pair.run_for(Duration::from_secs(50)));
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"offer".to_vec())), "what holds since the call was taken");
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(1)));
    assert_eq!(outcome(&mut pair, Side::Alice), None, "nothing changed");
    // Put on hold, the refresh repeats the hold.
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"hold".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    reoffer(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"held".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(50)));
    assert!(outcome(&mut pair, Side::Alice).is_some());
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"hold".to_vec())));
}

#[test]
fn an_answer_to_a_refresh_that_changes_the_session_reaches_the_application() {
    let mut pair = short(Refresher::Ours);
    pair.rewrite(|_, text| without_update(text));
    let (_, bob) = establish(&mut pair);
    assert!(pair.run_for(Duration::from_secs(50)));
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"another".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(1)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Ok(Some(b"another".to_vec()))));
}

#[test]
fn an_offer_of_the_application_waits_for_the_end_of_a_refresh() {
    let mut pair = short(Refresher::Ours);
    pair.rewrite(|_, text| without_update(text));
    let (alice, bob) = establish(&mut pair);
    assert!(pair.run_for(Duration::from_secs(46)));
    let now = pair.now;
    assert_eq!(pair.alice.reoffer(now, alice, b"hold".to_vec()), Ok(()));
    assert_eq!(pair.alice.reoffer(now, alice, b"more".to_vec()), Err(CommandError::OfferPending));
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"offer".to_vec())));
    pair.bob.answer_reoffer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"hold".to_vec())));
}

#[test]
fn an_interval_too_small_gets_422_and_the_call_is_tried_again_with_the_minimum() {
    let (alice, bob) = (timer(90, 90, Refresher::Either), timer(600, 300, Refresher::Either));
    let mut pair = Pair::with_policies(Instant::now(), 7, alice, bob);
    establish(&mut pair);
    let refusal = all_sent(&pair, Side::Bob, "SIP/2.0 422").remove(0);
    assert_eq!(field(&refusal, "Min-SE").as_deref(), Some("300"));
    let invites = all_sent(&pair, Side::Alice, "INVITE ");
    assert_eq!(invites.len(), 2);
    assert_eq!(field(&invites[1], "Session-Expires").as_deref(), Some("300"));
    assert_eq!(field(&invites[1], "Min-SE").as_deref(), Some("300"));
    assert_eq!(field(&invites[1], "CSeq").as_deref(), Some("2 INVITE"));
    assert_eq!(field(&invites[0], "Call-ID"), field(&invites[1], "Call-ID"));
}

#[test]
fn a_peer_that_always_wants_more_is_asked_three_times() {
    let (alice, bob) = (timer(90, 90, Refresher::Either), timer(600, 300, Refresher::Either));
    let mut pair = Pair::with_policies(Instant::now(), 7, alice, bob);
    pair.rewrite(|side, text| if side == Side::Bob { text.replace("Min-SE: 300", "Min-SE: 200") } else { text });
    pair.call(Side::Alice, "offer").unwrap();
    assert_idle_after(&mut pair, 2 * MINUTE);
    assert_eq!(count(&pair, Side::Alice, "INVITE "), 3);
    assert!(matches!(ended(&mut pair, Side::Alice), Some(EndCause::Rejected { code: 422, .. })));
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_call_with_bye_on_both_sides() {
    let mut pair = short(Refresher::Ours);
    establish(&mut pair);
    let mut is_gone = false;
    pair.drop_if(move |side, bytes| {
        is_gone |= is(bytes, "UPDATE ");
        is_gone && (side == Side::Bob || is(bytes, "UPDATE "))
    });
    assert!(pair.run_for(2 * MINUTE));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::TimedOut(Missing::Refresh)));
    assert!(count(&pair, Side::Alice, "BYE ") > 0);
    // Bob hears Alice's BYE, or gives up by himself; either way the call is over.
    let bob = ended(&mut pair, Side::Bob);
    assert!(matches!(bob, Some(EndCause::Remote | EndCause::TimedOut(Missing::Refresh))), "{bob:?}");
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn the_side_that_waits_for_refreshes_ends_a_dead_session_before_it_expires() {
    let mut pair = short(Refresher::Ours);
    establish(&mut pair);
    pair.drop_if(|_, _| true);
    assert!(pair.run_for(Duration::from_secs(59)));
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert!(pair.run_for(Duration::from_secs(2)));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::TimedOut(Missing::Refresh)), "90 s less a third");
    assert!(count(&pair, Side::Bob, "BYE ") > 0);
    assert_idle_after(&mut pair, 3 * MINUTE);
}

#[test]
fn a_refresh_that_meets_a_lost_dialog_ends_the_call() {
    let mut pair = short(Refresher::Ours);
    establish(&mut pair);
    pair.bob = Endpoint::new(crate::sip::pair::config(Side::Bob), Random::seeded(77));
    assert!(pair.run_for(Duration::from_secs(50)));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::DialogLost));
    assert!(count(&pair, Side::Alice, "BYE ") > 0);
}

/// Bob's responses to UPDATE become this status.
fn refusing_updates(status: &'static str) -> Pair {
    let mut pair = short(Refresher::Ours);
    establish(&mut pair);
    pair.rewrite(move |side, text| {
        let is_answer = side == Side::Bob && text.starts_with("SIP/2.0 200") && is_cseq(&text, "UPDATE");
        if is_answer { text.replacen("200 OK", status, 1) } else { text }
    });
    pair
}

#[test]
fn a_refused_update_falls_back_on_reinvite() {
    for status in ["405 Method Not Allowed", "501 Not Implemented", "488 Not Acceptable Here", "420 Bad Extension"] {
        let mut pair = refusing_updates(status);
        assert!(pair.run_for(Duration::from_secs(50)));
        assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"offer".to_vec())), "{status}");
        assert_eq!(pair.alice.leg_count(), 1);
    }
}

#[test]
fn an_update_that_meets_a_glare_or_an_overlap_is_tried_again() {
    for status in ["491 Request Pending", "500 Server Internal Error", "503 Service Unavailable"] {
        let mut pair = refusing_updates(status);
        assert!(pair.run_for(Duration::from_secs(46)));
        pair.rewrite(|_, text| text);
        assert!(pair.run_for(Duration::from_secs(30)));
        assert_eq!(count(&pair, Side::Alice, "UPDATE "), 2, "{status}");
        assert!(pair.run_for(5 * MINUTE));
        assert_eq!(pair.alice.leg_count(), 1);
        assert!(pair.events.is_empty(), "{:?}", pair.events);
    }
}

#[test]
fn a_peer_without_timers_is_left_alone_unless_settings_have_us_refresh() {
    for (refresher, updates) in [(Refresher::Either, 0), (Refresher::Theirs, 0), (Refresher::Ours, 6)] {
        let mut pair = short(refresher);
        pair.rewrite(|side, text| {
            if side == Side::Alice {
                return text;
            }
            let is_kept = |line: &&str| {
                !line.starts_with("Session-Expires") && !line.starts_with("Supported") && *line != "Require: timer"
            };
            let kept: Vec<&str> = text.split("\r\n").filter(is_kept).collect();
            kept.join("\r\n")
        });
        establish(&mut pair);
        assert!(pair.run_for(Duration::from_secs(280)));
        assert_eq!(count(&pair, Side::Alice, "UPDATE "), updates, "{refresher:?}");
        assert_eq!(pair.alice.leg_count(), 1);
    }
}

#[test]
fn a_peer_that_requires_timers_gets_them() {
    let plain = DialogPolicy { session_timer: None, ..DialogPolicy::default() };
    let mut pair = Pair::with_policies(Instant::now(), 7, timer(90, 90, Refresher::Ours), plain);
    pair.rewrite(|side, text| {
        if side == Side::Alice { text.replacen("Supported: 100rel, timer", "Require: timer", 1) } else { text }
    });
    establish(&mut pair);
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").remove(0);
    assert_eq!(field(&ok, "Session-Expires").as_deref(), Some("90;refresher=uac"));
    assert!(pair.run_for(5 * MINUTE));
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_reoffer_of_the_peer_begins_the_session_anew_and_its_2xx_says_so() {
    let mut pair = short(Refresher::Ours);
    let (alice, bob) = establish(&mut pair);
    // Alice's refreshes are lost from here on, her re-INVITE is not.
    pair.drop_if(|_, bytes| is(bytes, "UPDATE "));
    assert!(pair.run_for(Duration::from_secs(40)));
    let now = pair.now;
    pair.alice.reoffer(now, alice, b"hold".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"held".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").pop().unwrap();
    assert_eq!(field(&ok, "Session-Expires").as_deref(), Some("90;refresher=uac"), "{ok}");
    assert!(pair.run_for(Duration::from_secs(58)));
    assert_eq!(pair.bob.leg_count(), 1, "98 s after the call was taken, 58 s after the re-INVITE");
    assert!(pair.run_for(Duration::from_secs(4)));
    assert_eq!(pair.bob.leg_count(), 0);
}

#[test]
fn an_update_below_our_minimum_gets_422() {
    let (mut pair, _, _) = established();
    let update = in_dialog(&pair, "UPDATE", 10, "Supported: timer\r\nSession-Expires: 30\r\n", "");
    let answer = inject_from_alice(&mut pair, &update).unwrap();
    assert!(answer.starts_with("SIP/2.0 422 ") && answer.contains("Min-SE: 90\r\n"), "{answer}");
}

#[test]
fn an_application_may_refresh_by_itself() {
    let (mut pair, alice, _) = established();
    let now = pair.now;
    pair.alice.update(now, alice, None).unwrap();
    assert_eq!(pair.alice.update(now, alice, None), Err(CommandError::OfferPending));
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(outcome(&mut pair, Side::Alice), Some(Ok(None)));
    assert_eq!(reoffer(&mut pair, Side::Bob), None);
}

#[test]
fn an_update_with_offer_goes_by_reinvite_to_a_peer_without_update() {
    for allows in [true, false] {
        let mut pair = pair();
        if !allows {
            pair.rewrite(|_, text| without_update(text));
        }
        let (alice, bob) = establish(&mut pair);
        let now = pair.now;
        pair.alice.update(now, alice, Some(b"hold".to_vec())).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"hold".to_vec())));
        let now = pair.now;
        pair.bob.answer_reoffer(now, bob, b"held".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(outcome(&mut pair, Side::Alice), Some(Ok(Some(b"held".to_vec()))));
        assert_eq!(count(&pair, Side::Alice, "UPDATE ") == 1, allows);
    }
}
