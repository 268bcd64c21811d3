//! Calls before they are taken: reliable provisional responses (RFC 3262), UPDATE (RFC 3311), forks.

use super::*;
use crate::sip::{DialogPolicy, ReliableProvisional};

fn policy(reliable_provisional: ReliableProvisional) -> DialogPolicy {
    DialogPolicy { reliable_provisional, ..DialogPolicy::default() }
}

/// Alice, who requires 100rel, calls Bob.
fn requiring() -> (Pair, LegId, LegId) {
    let (alice, bob) = (policy(ReliableProvisional::Required), policy(ReliableProvisional::Supported));
    let mut pair = Pair::with_policies(Instant::now(), 5, alice, bob);
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    (pair, alice, bob)
}

/// The same, once Bob's answer in a reliable 183 is acknowledged.
fn with_early_media() -> (Pair, LegId, LegId) {
    let (mut pair, alice, bob) = requiring();
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    (pair, alice, bob)
}

fn progress(pair: &mut Pair) -> Vec<(u16, Option<Vec<u8>>, u8)> {
    let mut seen = Vec::new();
    pair.take(Side::Alice, |e| {
        if let Event::Progress { code, sdp, fork, .. } = e {
            seen.push((*code, sdp.clone(), *fork));
        }
        None::<()>
    });
    seen
}

#[test]
fn what_the_caller_requires_reliably_is_acknowledged_with_prack() {
    let (mut pair, alice, bob) = with_early_media();
    assert_eq!(progress(&mut pair), [(183, Some(b"early".to_vec()), 0)]);
    let now = pair.now;
    pair.bob.answer(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(answered(&mut pair, Side::Alice), Some(Some(b"early".to_vec())));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "PRACK", "ACK", "BYE"]);
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "183 INVITE", "200 PRACK", "200 INVITE", "200 BYE"]);
    let rseq = field(&all_sent(&pair, Side::Bob, "SIP/2.0 183")[0], "RSeq").unwrap();
    let rack = field(&all_sent(&pair, Side::Alice, "PRACK ")[0], "RAck").unwrap();
    assert_eq!(rack, format!("{rseq} 1 INVITE"));
}

#[test]
fn a_reliable_response_is_repeated_until_the_prack_comes_and_taken_once() {
    let (mut pair, _, bob) = requiring();
    let mut lost = 0;
    pair.drop_if(move |side, bytes| {
        let is_lost = side == Side::Alice && is(bytes, "PRACK ") && lost < 3;
        lost += u32::from(is_lost);
        is_lost
    });
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(20)));
    let times: Vec<u128> =
        pair.wire.iter().filter(|(_, _, b)| is(b, "SIP/2.0 183")).map(|(at, _, _)| at.as_millis()).collect();
    assert_eq!(times.iter().map(|t| t - times[0]).collect::<Vec<_>>(), [0, 500, 1500, 3500]);
    assert_eq!(progress(&mut pair).len(), 1);
    let pracks = all_sent(&pair, Side::Alice, "PRACK ");
    assert_eq!(pracks.len(), 4);
    assert!(pracks.windows(2).all(|w| w[0] == w[1]), "one PRACK, repeated by its transaction");
}

#[test]
fn without_prack_the_call_is_refused_after_64_t1() {
    let (mut pair, _, bob) = requiring();
    pair.drop_if(|side, bytes| side == Side::Alice && is(bytes, "PRACK "));
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(31)));
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert!(pair.run_for(Duration::from_secs(2)));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::TimedOut(Missing::Prack)));
    assert!(matches!(ended(&mut pair, Side::Alice), Some(EndCause::Rejected { code: 504, .. })));
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn a_2xx_waits_for_the_prack_of_a_description_but_not_of_a_mere_ringing() {
    let (mut pair, _, bob) = requiring();
    pair.drop_if(|side, bytes| side == Side::Alice && is(bytes, "PRACK "));
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    pair.bob.answer(now, bob, b"early".to_vec()).unwrap();
    assert_eq!(pair.bob.answer(now, bob, Vec::new()), Err(CommandError::WrongState), "once");
    assert!(pair.run_for(Duration::from_secs(3)));
    assert_eq!(answered(&mut pair, Side::Alice), None);
    pair.drop_none();
    assert!(pair.run_for(Duration::from_secs(3)));
    assert!(answered(&mut pair, Side::Alice).is_some());

    let (mut pair, _, bob) = requiring();
    pair.drop_if(|side, bytes| side == Side::Alice && is(bytes, "PRACK "));
    let now = pair.now;
    pair.bob.ring(now, bob).unwrap();
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert!(answered(&mut pair, Side::Alice).is_some());
    pair.drop_none();
    assert!(pair.run_for(Duration::from_secs(2)));
    assert!(sent(&pair, Side::Bob).contains(&"200 PRACK".to_owned()), "a late PRACK is understood");
}

#[test]
fn hanging_up_or_cancelling_does_not_wait_for_a_prack() {
    for by_caller in [true, false] {
        let (mut pair, alice, bob) = requiring();
        pair.drop_if(|side, bytes| side == Side::Alice && is(bytes, "PRACK "));
        let now = pair.now;
        pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
        pair.bob.answer(now, bob, b"early".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(100)));
        let now = pair.now;
        if by_caller {
            pair.alice.hangup(now, alice, &[]).unwrap();
        } else {
            pair.bob.hangup(now, bob, &[]).unwrap();
        }
        assert_idle_after(&mut pair, 2 * MINUTE);
        let expected = if by_caller { EndCause::Cancelled } else { EndCause::Local };
        assert_eq!(ended(&mut pair, Side::Bob), Some(expected));
    }
}

#[test]
fn the_second_reliable_response_waits_for_the_prack_of_the_first() {
    let (mut pair, _, bob) = requiring();
    let now = pair.now;
    pair.bob.ring(now, bob).unwrap();
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    pair.collect();
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "180 INVITE"]);
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(sent(&pair, Side::Bob)[2..], ["200 PRACK", "183 INVITE", "200 PRACK"]);
    assert_eq!(progress(&mut pair), [(180, None, 0), (183, Some(b"early".to_vec()), 0)]);
}

#[test]
fn provisional_responses_are_reliable_only_where_someone_requires_it() {
    for (alice, bob, is_reliable) in [
        (ReliableProvisional::Supported, ReliableProvisional::Supported, false),
        (ReliableProvisional::Supported, ReliableProvisional::Required, true),
        (ReliableProvisional::Required, ReliableProvisional::Supported, true),
        (ReliableProvisional::Off, ReliableProvisional::Supported, false),
    ] {
        let mut pair = Pair::with_policies(Instant::now(), 5, policy(alice), policy(bob));
        pair.call(Side::Alice, "offer").unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        let leg = incoming(&mut pair, Side::Bob).unwrap();
        let now = pair.now;
        pair.bob.progress(now, leg, b"early".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(!all_sent(&pair, Side::Alice, "PRACK ").is_empty(), is_reliable, "{alice:?} {bob:?}");
        assert_eq!(progress(&mut pair), [(183, Some(b"early".to_vec()), 0)]);
    }
}

#[test]
fn a_call_without_100rel_is_refused_with_421_where_it_is_required_and_420_where_it_is_off() {
    for (alice, bob, code, header) in [
        (ReliableProvisional::Off, ReliableProvisional::Required, 421, ("Require", "100rel")),
        (ReliableProvisional::Required, ReliableProvisional::Off, 420, ("Unsupported", "100rel")),
    ] {
        let mut pair = Pair::with_policies(Instant::now(), 5, policy(alice), policy(bob));
        pair.call(Side::Alice, "offer").unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(incoming(&mut pair, Side::Bob), None);
        let refusal = all_sent(&pair, Side::Bob, &format!("SIP/2.0 {code}")).remove(0);
        assert_eq!(field(&refusal, header.0).as_deref(), Some(header.1));
    }
}

#[test]
fn a_prack_that_matches_nothing_gets_481_and_one_without_rack_400() {
    let (mut pair, _, _) = with_early_media();
    let prack = all_sent(&pair, Side::Alice, "PRACK ").remove(0);
    let again = |n: u32, more: &str| {
        let rack = format!("RAck: {}\r\n", field(&prack, "RAck").unwrap());
        prack
            .replace("z9hG4bK", &format!("z9hG4bK{n}"))
            .replace("CSeq: 2 ", &format!("CSeq: {n} "))
            .replace(&rack, more)
    };
    for (n, more, status) in [(20, "RAck: 1 1 INVITE\r\n", "481"), (21, "", "400")] {
        let answer = inject_from_alice(&mut pair, &again(n, more)).unwrap();
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
    }
}

#[test]
fn an_unknown_source_that_requires_100rel_gets_nothing() {
    let mut pair = pair();
    let invite = OFFERLESS.replace("CSeq", "Require: 100rel\r\nCSeq");
    pair.inject(Side::Bob, "203.0.113.66:5060".parse().unwrap(), invite.as_bytes());
    assert!(pair.run_for(MINUTE));
    assert!(pair.wire.is_empty());
}

const OFFERLESS: &str = "INVITE sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport\r\n\
    From: <sip:a@x>;tag=fa\r\nTo: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 5 INVITE\r\nMax-Forwards: 70\r\n\
    Contact: <sip:a@10.0.0.1:5060>\r\nAllow: UPDATE\r\nContent-Length: 0\r\n\r\n";

#[test]
fn an_offerless_call_with_100rel_gets_our_offer_in_183_and_answers_in_prack() {
    let mut pair = pair();
    let invite = OFFERLESS.replace("CSeq", "Require: 100rel\r\nCSeq");
    pair.inject(Side::Bob, Side::Alice.address(), invite.as_bytes());
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.ring(now, bob).unwrap();
    pair.collect();
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE"], "the first reliable response must offer (RFC 3262 §5)");
    pair.bob.progress(now, bob, b"our offer".to_vec()).unwrap();
    pair.collect();
    let progress = all_sent(&pair, Side::Bob, "SIP/2.0 183").remove(0);
    assert!(progress.ends_with("\r\n\r\nour offer"));
    let prack = format!(
        "PRACK sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKp\r\nFrom: <sip:a@x>;tag=fa\r\n\
         To: {}\r\nCall-ID: c1\r\nCSeq: 6 PRACK\r\nRAck: {} 5 INVITE\r\nContent-Type: application/sdp\r\n\
         Content-Length: 6\r\n\r\nanswer",
        field(&progress, "To").unwrap(),
        field(&progress, "RSeq").unwrap()
    );
    pair.inject(Side::Bob, Side::Alice.address(), prack.as_bytes());
    assert_eq!(outcome(&mut pair, Side::Bob), Some(Ok(Some(b"answer".to_vec()))));
    let now = pair.now;
    pair.bob.answer(now, bob, b"our offer".to_vec()).unwrap();
    pair.collect();
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").into_iter().find(|m| is_cseq(m, "INVITE")).unwrap();
    assert!(ok.ends_with("\r\n\r\n"), "offer and answer are done: {ok}");
}

#[test]
fn an_offerless_call_without_100rel_sees_no_offer_before_the_200() {
    let mut pair = pair();
    pair.inject(Side::Bob, Side::Alice.address(), OFFERLESS.as_bytes());
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.progress(now, bob, b"our offer".to_vec()).unwrap();
    pair.collect();
    assert!(all_sent(&pair, Side::Bob, "SIP/2.0 183")[0].ends_with("\r\n\r\n"));
}

#[test]
fn early_media_may_be_changed_by_update_from_either_side() {
    for side in [Side::Alice, Side::Bob] {
        let (mut pair, alice, bob) = with_early_media();
        let (ours, theirs) = if side == Side::Alice { (alice, bob) } else { (bob, alice) };
        let now = pair.now;
        pair.at(side).update(now, ours, Some(b"changed".to_vec())).unwrap();
        assert_eq!(pair.at(side).update(now, ours, Some(b"x".to_vec())), Err(CommandError::OfferPending));
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(reoffer(&mut pair, side.other()), Some(Some(b"changed".to_vec())));
        let now = pair.now;
        pair.at(side.other()).answer_reoffer(now, theirs, b"accepted".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        assert_eq!(outcome(&mut pair, side), Some(Ok(Some(b"accepted".to_vec()))));
        let now = pair.now;
        pair.bob.answer(now, bob, b"early".to_vec()).unwrap();
        assert!(pair.run_for(Duration::from_millis(50)));
        let holds = if side == Side::Alice { b"accepted".to_vec() } else { b"changed".to_vec() };
        assert_eq!(answered(&mut pair, Side::Alice), Some(Some(holds)), "not what the 183 said");
        let now = pair.now;
        pair.alice.hangup(now, alice, &[]).unwrap();
        assert_idle_after(&mut pair, MINUTE);
    }
}

#[test]
fn a_200_waits_until_an_early_update_is_decided() {
    let (mut pair, alice, bob) = with_early_media();
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"changed".to_vec())).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let now = pair.now;
    pair.bob.answer(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(1)));
    assert_eq!(answered(&mut pair, Side::Alice), None);
    let now = pair.now;
    pair.bob.reject_reoffer(now, bob, 488).unwrap();
    assert!(pair.run_for(Duration::from_secs(1)));
    assert!(answered(&mut pair, Side::Alice).is_some());
}

#[test]
fn an_update_that_crosses_gets_491_and_one_too_early_500_with_retry_after() {
    let (mut pair, alice, bob) = with_early_media();
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"a".to_vec())).unwrap();
    pair.bob.update(now, bob, Some(b"b".to_vec())).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(all_sent(&pair, Side::Alice, "SIP/2.0 491").len(), 1);
    assert_eq!(all_sent(&pair, Side::Bob, "SIP/2.0 491").len(), 1);

    // Bob has not answered Alice's offer: his commands and her requests are both too early.
    let (mut pair, alice, bob) = requiring();
    let now = pair.now;
    assert_eq!(pair.bob.update(now, bob, Some(b"x".to_vec())), Err(CommandError::WrongState));
    assert_eq!(pair.alice.update(now, alice, Some(b"x".to_vec())), Err(CommandError::WrongState));
    pair.drop_if(|side, bytes| side == Side::Alice && is(bytes, "PRACK "));
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let prack = all_sent(&pair, Side::Alice, "PRACK ").remove(0);
    let rack = format!("RAck: {}\r\n", field(&prack, "RAck").unwrap());
    let update = prack
        .replace("PRACK", "UPDATE")
        .replace("CSeq: 2 ", "CSeq: 3 ")
        .replace(&rack, "Content-Type: application/sdp\r\n")
        .replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nx");
    let answer = inject_from_alice(&mut pair, &update).unwrap();
    assert!(answer.starts_with("SIP/2.0 500 ") && answer.contains("Retry-After: "), "{answer}");
}

#[test]
fn a_prack_may_offer_again_and_is_answered_in_its_200() {
    let (mut pair, _, bob) = requiring();
    let mut pracks = 0;
    pair.rewrite(move |_, text| {
        pracks += u32::from(text.starts_with("PRACK "));
        // The second PRACK: that of the 180 after the 183.
        if !text.starts_with("PRACK ") || pracks != 2 {
            return text;
        }
        text.replace("Content-Length: 0\r\n\r\n", "Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nmore")
    });
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    pair.bob.ring(now, bob).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(reoffer(&mut pair, Side::Bob), Some(Some(b"more".to_vec())));
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"less".to_vec()).unwrap();
    pair.collect();
    let ok = all_sent(&pair, Side::Bob, "SIP/2.0 200").pop().unwrap();
    assert!(is_cseq(&ok, "PRACK") && ok.ends_with("\r\n\r\nless"), "{ok}");
}

/// A response to Alice's INVITE as one of several phones behind a proxy would send it.
fn from_fork(pair: &mut Pair, status: &str, tag: &str, more: &str, body: &str) {
    use crate::sip::HeaderName as H;
    let invite = pair.wire[0].2.clone();
    let invite = Message::parse(&invite).unwrap();
    let text = |name| invite.text(name).unwrap();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let response = format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:{tag}@10.0.0.2:5060>\r\nAllow: INVITE, UPDATE\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        text(H::Via),
        text(H::From),
        text(H::To),
        text(H::CallId),
        text(H::CSeq),
        body.len()
    );
    pair.inject(Side::Alice, Side::Bob.address(), response.as_bytes());
}

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 7\r\n";

fn forked() -> (Pair, LegId) {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    pair.drop_if(|_, _| true);
    pair.collect();
    (pair, alice)
}

#[test]
fn each_fork_has_its_early_dialog_its_prack_and_its_media() {
    let (mut pair, alice) = forked();
    from_fork(&mut pair, "183 Session Progress", "one", RELIABLE, "first");
    from_fork(&mut pair, "183 Session Progress", "two", RELIABLE, "second");
    from_fork(&mut pair, "180 Ringing", "one", "", "");
    assert_eq!(
        progress(&mut pair),
        [(183, Some(b"first".to_vec()), 0), (183, Some(b"second".to_vec()), 1), (180, None, 0)]
    );
    let pracks = all_sent(&pair, Side::Alice, "PRACK ");
    assert_eq!(pracks.len(), 2);
    assert!(pracks[0].starts_with("PRACK sip:one@") && field(&pracks[0], "To").unwrap().ends_with(";tag=one"));
    assert!(pracks[1].starts_with("PRACK sip:two@") && field(&pracks[1], "To").unwrap().ends_with(";tag=two"));
    from_fork(&mut pair, "200 OK", "two", "", "");
    assert_eq!(answered(&mut pair, Side::Alice), Some(Some(b"second".to_vec())), "of the fork that took the call");
    // The other phone was quick, too.
    from_fork(&mut pair, "200 OK", "one", "", "late");
    let bye = all_sent(&pair, Side::Alice, "BYE ").remove(0);
    assert!(field(&bye, "To").unwrap().ends_with(";tag=one"));
    assert_eq!(pair.alice.leg_count(), 1);
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
}

#[test]
fn reliable_responses_are_taken_in_order_and_repetitions_are_no_news() {
    let (mut pair, _) = forked();
    let numbered = |n: u32| format!("Require: 100rel\r\nRSeq: {n}\r\n");
    from_fork(&mut pair, "180 Ringing", "one", &numbered(7), "");
    from_fork(&mut pair, "180 Ringing", "one", &numbered(7), "");
    from_fork(&mut pair, "182 Queued", "one", &numbered(9), "");
    from_fork(&mut pair, "183 Session Progress", "one", &numbered(8), "sdp");
    from_fork(&mut pair, "182 Queued", "one", &numbered(9), "");
    let codes: Vec<u16> = progress(&mut pair).into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, [180, 183, 182]);
    let racks: Vec<String> =
        all_sent(&pair, Side::Alice, "PRACK ").iter().filter_map(|prack| field(prack, "RAck")).collect();
    assert_eq!(racks, ["7 1 INVITE", "8 1 INVITE", "9 1 INVITE"]);
}

#[test]
fn forks_without_end_make_eight_early_dialogs_and_no_more() {
    let (mut pair, alice) = forked();
    for n in 0..50 {
        from_fork(&mut pair, "183 Session Progress", &format!("t{n}"), RELIABLE, "sdp");
    }
    assert_eq!(all_sent(&pair, Side::Alice, "PRACK ").len(), 8);
    assert_eq!(progress(&mut pair).len(), 8);
    from_fork(&mut pair, "200 OK", "t49", "", "answer");
    assert_eq!(answered(&mut pair, Side::Alice), Some(Some(b"answer".to_vec())));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn an_update_in_a_fork_that_lost_is_void() {
    let (mut pair, alice) = forked();
    from_fork(&mut pair, "183 Session Progress", "one", RELIABLE, "first");
    let now = pair.now;
    pair.alice.update(now, alice, Some(b"changed".to_vec())).unwrap();
    pair.collect();
    let update = all_sent(&pair, Side::Alice, "UPDATE ").remove(0);
    assert!(field(&update, "To").unwrap().ends_with(";tag=one"));
    from_fork(&mut pair, "200 OK", "two", "", "second");
    let events: Vec<String> = pair
        .events
        .drain(..)
        .filter_map(|(_, event)| match event {
            Event::Answered { sdp, .. } => Some(format!("answered {}", String::from_utf8(sdp.unwrap()).unwrap())),
            Event::ReofferAnswered { outcome, .. } => Some(format!("{outcome:?}")),
            _ => None,
        })
        .collect();
    assert_eq!(events, ["answered second", "Err(487)"]);
    let now = pair.now;
    assert_eq!(pair.alice.reoffer(now, alice, b"hold".to_vec()), Ok(()), "nothing is pending");
}

#[test]
fn a_request_that_overtakes_the_answer_waits_for_its_repetition() {
    let mut pair = pair();
    let mut lost = 0;
    // The 200 is lost twice; Bob's request gets ahead of its repetition.
    pair.drop_if(move |side, bytes| {
        let is_answer = side == Side::Bob && is(bytes, "SIP/2.0 200");
        lost += u32::from(is_answer);
        is_answer && lost <= 2
    });
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    pair.bob.info(now, bob, "application/dtmf", b"1".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(sent(&pair, Side::Alice), ["INVITE"], "no 481 to a call that is being made");
    assert!(pair.run_for(Duration::from_secs(10)));
    assert!(sent(&pair, Side::Alice).contains(&"200 INFO".to_owned()));
    assert_eq!((pair.alice.leg_count(), pair.bob.leg_count()), (1, 1));
}

#[test]
fn a_callee_whose_answer_never_got_through_hangs_up_an_early_dialog() {
    let mut pair = pair();
    pair.drop_if(|side, bytes| side == Side::Bob && is(bytes, "SIP/2.0 200"));
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.ring(now, bob).unwrap();
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(34)));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::TimedOut(Missing::Ack)));
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn a_bye_of_one_fork_leaves_the_call_to_the_others() {
    let (mut pair, _) = forked();
    from_fork(&mut pair, "180 Ringing", "one", "", "");
    from_fork(&mut pair, "180 Ringing", "two", "", "");
    let invite = String::from_utf8(pair.wire[0].2.clone()).unwrap();
    let bye = |tag: &str| {
        format!(
            "BYE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{tag}\r\nFrom: {};tag={tag}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            field(&invite, "To").unwrap(),
            field(&invite, "From").unwrap(),
            field(&invite, "Call-ID").unwrap()
        )
    };
    pair.inject(Side::Alice, Side::Bob.address(), bye("one").as_bytes());
    assert_eq!(ended(&mut pair, Side::Alice), None);
    pair.inject(Side::Alice, Side::Bob.address(), bye("two").as_bytes());
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
    assert_eq!(all_sent(&pair, Side::Alice, "CANCEL ").len(), 1, "whoever else may ring");
}
