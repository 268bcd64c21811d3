//! Calls both ways, early media, CANCEL, lost messages.

use super::*;

#[test]
fn a_call_is_set_up_and_hung_up_by_the_caller() {
    let (mut pair, alice, _) = established();
    let now = pair.now;
    pair.alice.hangup(now, alice, &[("Reason", "Q.850;cause=16")]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "ACK", "BYE"]);
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "200 INVITE", "200 BYE"]);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Local));
    let end = pair.take(Side::Bob, |e| match e {
        Event::Ended { cause, reason, .. } => Some((cause.clone(), reason.clone())),
        _ => None,
    });
    assert_eq!(end, Some((EndCause::Remote, Some("Q.850;cause=16".to_owned()))));
}

#[test]
fn a_call_is_hung_up_by_the_callee() {
    let (mut pair, _, bob) = established();
    let now = pair.now;
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Local));
}

#[test]
fn an_invite_gets_100_at_once() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer");
    assert!(pair.run_for(Duration::from_millis(15)));
    let (at, _, trying) = pair.wire.iter().find(|(_, side, _)| *side == Side::Bob).unwrap();
    assert!(is(trying, "SIP/2.0 100 ") && *at <= Duration::from_millis(200));
}

#[test]
fn ringing_and_early_media_are_reported_and_the_answer_may_come_early() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.ring(now, bob).unwrap();
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    pair.bob.answer(now, bob, Vec::new()).unwrap();
    assert_eq!(pair.bob.ring(now, bob), Err(CommandError::WrongState));
    assert!(pair.run_for(Duration::from_millis(100)));
    let mut progress = Vec::new();
    pair.take(Side::Alice, |e| match e {
        Event::Progress { leg, code, sdp, fork: 0 } => {
            assert_eq!(*leg, alice);
            progress.push((*code, sdp.clone()));
            None::<()>
        }
        Event::Answered { sdp, .. } => {
            assert_eq!(sdp.as_deref(), Some(&b"early"[..]), "an answer given in 183 need not be repeated");
            Some(())
        }
        _ => None,
    })
    .unwrap();
    assert_eq!(progress, [(180, None), (183, Some(b"early".to_vec()))]);
}

#[test]
fn an_offerless_invite_gets_our_offer_in_the_200_and_its_answer_comes_with_the_ack() {
    let mut pair = pair();
    let invite = "INVITE sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport\r\n\
        From: <sip:a@x>;tag=fa\r\nTo: <sip:b@x>\r\nCall-ID: c1\r\nCSeq: 5 INVITE\r\nMax-Forwards: 70\r\n\
        Contact: <sip:a@10.0.0.1:5060>\r\nContent-Length: 0\r\n\r\n";
    pair.inject(Side::Bob, Side::Alice.address(), invite.as_bytes());
    let bob = pair
        .take(Side::Bob, |e| match e {
            Event::IncomingCall(call) => Some((call.leg, call.sdp.clone())),
            _ => None,
        })
        .unwrap();
    assert_eq!(bob.1, None);
    let now = pair.now;
    pair.bob.answer(now, bob.0, b"our offer".to_vec()).unwrap();
    pair.collect();
    let ok = Message::parse(&pair.wire.last().unwrap().2).unwrap();
    assert_eq!(ok.body(), b"our offer");
    let tag = ok.to().unwrap().tag().unwrap().to_owned();
    let ack = format!(
        "ACK sip:callee@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKy\r\nFrom: <sip:a@x>;tag=fa\r\n\
         To: <sip:b@x>;tag={tag}\r\nCall-ID: c1\r\nCSeq: 5 ACK\r\nContent-Type: application/sdp\r\n\
         Content-Length: 6\r\n\r\nanswer"
    );
    pair.inject(Side::Bob, Side::Alice.address(), ack.as_bytes());
    let sdp = pair.take(Side::Bob, |e| match e {
        Event::Established { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    assert_eq!(sdp, Some(Some(b"answer".to_vec())));
}

#[test]
fn a_refused_call_ends_on_both_sides_with_its_code_and_headers() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    assert_eq!(pair.bob.reject(now, bob, 486, &[("X-Bad", "a\r\nb")]), Err(CommandError::InvalidHeader));
    pair.bob.reject(now, bob, 486, &[("Retry-After", "30")]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(
        ended(&mut pair, Side::Alice),
        Some(EndCause::Rejected {
            code: 486,
            phrase: "Busy Here".to_owned(),
            retry_after: Some(Duration::from_secs(30))
        })
    );
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "ACK"]);
}

#[test]
fn hanging_up_a_ringing_call_cancels_it() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_eq!(pair.alice.hangup(now, alice, &[]), Err(CommandError::UnknownLeg));
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Local));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Cancelled));
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "200 CANCEL", "487 INVITE"]);
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut pair = pair();
    pair.drop_if(|side, _| side == Side::Bob);
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(700)));
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "INVITE"], "RFC 3261 §9.1");
    pair.drop_none();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "INVITE", "INVITE", "CANCEL", "ACK"]);
}

#[test]
fn a_2xx_that_crosses_the_cancel_gets_ack_and_bye() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Remote));
}

#[test]
fn a_cancelled_invite_without_final_response_is_given_up_after_64_t1() {
    let mut pair = pair();
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    pair.drop_if(|side, _| side == Side::Bob);
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert!(pair.run_for(Duration::from_secs(33)));
    assert!(pair.alice.is_idle());
}

#[test]
fn a_lost_ack_is_repeated_for_each_repetition_of_the_2xx() {
    let mut pair = pair();
    let mut lost = 0;
    pair.drop_if(move |_, bytes| {
        lost += u32::from(is(bytes, "ACK "));
        is(bytes, "ACK ") && lost <= 2
    });
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(3)));
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "ACK", "ACK", "ACK"]);
    let acks: Vec<_> = pair.wire.iter().filter(|(_, _, b)| is(b, "ACK ")).map(|(_, _, b)| b).collect();
    assert!(acks.windows(2).all(|w| w[0] == w[1]), "the same ACK each time");
    assert_eq!(pair.take(Side::Alice, |e| matches!(e, Event::Answered { .. }).then_some(())), Some(()));
    assert_eq!(answered(&mut pair, Side::Alice), None, "answered once");
    assert!(pair.take(Side::Bob, |e| matches!(e, Event::Established { .. }).then_some(())).is_some());
}

#[test]
fn a_lost_200_is_repeated_until_the_ack_comes() {
    let mut pair = pair();
    let mut lost = 0;
    pair.drop_if(move |_, bytes| {
        lost += u32::from(is(bytes, "SIP/2.0 200"));
        is(bytes, "SIP/2.0 200") && lost <= 3
    });
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(10)));
    assert!(answered(&mut pair, Side::Alice).is_some());
    let ok = pair.wire.iter().filter(|(_, _, b)| is(b, "SIP/2.0 200"));
    let at: Vec<u128> = ok.map(|(at, _, _)| at.as_millis()).collect();
    assert_eq!(at.iter().map(|t| t - at[0]).collect::<Vec<_>>(), [0, 500, 1500, 3500]);
}

#[test]
fn without_ack_the_callee_hangs_up_after_64_t1() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    pair.drop_if(|side, _| side == Side::Alice);
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_secs(31)));
    assert_eq!(ended(&mut pair, Side::Bob), None);
    assert!(pair.run_for(Duration::from_secs(2)));
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::TimedOut(Missing::Ack)));
    assert!(sent(&pair, Side::Bob).contains(&"BYE".to_owned()));
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn hanging_up_before_the_ack_delays_the_bye_until_it_comes() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert_eq!(ended(&mut pair, Side::Bob), None);
    pair.collect();
    assert_eq!(ended(&mut pair, Side::Bob), Some(EndCause::Local));
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "200 INVITE"]);
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Bob), ["100 INVITE", "200 INVITE", "BYE"]);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Remote));
}

#[test]
fn byes_that_cross_are_both_answered() {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    pair.bob.hangup(now, bob, &[]).unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(sent(&pair, Side::Alice), ["INVITE", "ACK", "BYE", "200 BYE"]);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Local));
    assert_eq!(ended(&mut pair, Side::Alice), None);
}

#[test]
fn a_peer_that_never_answers_ends_the_call_after_64_t1() {
    let mut pair = pair();
    pair.drop_if(|_, _| true);
    pair.call(Side::Alice, "offer").unwrap();
    assert_idle_after(&mut pair, MINUTE);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::TimedOut(Missing::Response)));
}

#[test]
fn an_unreachable_peer_ends_the_call_at_once() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    let now = pair.now;
    pair.alice.handle_transport_error(now, Transport::Udp, Side::Bob.address());
    pair.collect();
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::Transport));
    assert!(pair.alice.is_idle());
}

#[test]
fn a_call_that_nobody_takes_ends_after_the_ring_time_on_both_sides() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    assert_idle_after(&mut pair, 5 * MINUTE);
    assert_eq!(ended(&mut pair, Side::Alice), Some(EndCause::TimedOut(Missing::FinalResponse)));
    // Bob's timer runs one network delay later, so the CANCEL comes first or his own timer does.
    let bob = ended(&mut pair, Side::Bob);
    assert!(matches!(bob, Some(EndCause::Cancelled | EndCause::TimedOut(Missing::OurAnswer))), "{bob:?}");
}

#[test]
fn retransmitted_invite_gets_same_final_response() {
    let mut pair = pair();
    pair.call(Side::Alice, "offer").unwrap();
    pair.collect();
    let invite = pair.wire[0].2.clone();
    assert!(pair.run_for(Duration::from_millis(100)));
    pair.inject(Side::Bob, Side::Alice.address(), &invite);
    let bob = incoming(&mut pair, Side::Bob).unwrap();
    assert_eq!(incoming(&mut pair, Side::Bob), None, "one call, however often its INVITE comes");
    pair.drop_if(|side, _| side == Side::Alice);
    let now = pair.now;
    pair.bob.reject(now, bob, 486, &[]).unwrap();
    pair.inject(Side::Bob, Side::Alice.address(), &invite);
    pair.inject(Side::Bob, Side::Alice.address(), &invite);
    let finals: Vec<_> = pair.wire.iter().filter(|(_, _, b)| is(b, "SIP/2.0 486")).map(|(_, _, b)| b).collect();
    assert_eq!(finals.len(), 3);
    assert!(finals.windows(2).all(|w| w[0] == w[1]));
}

/// A 200 to Alice's INVITE as another phone behind a forking proxy would send it.
fn second_200(pair: &Pair, tag: &str) -> String {
    let invite = Message::parse(&pair.wire[0].2).unwrap();
    let text = |name| invite.text(name).unwrap();
    use crate::sip::HeaderName as H;
    format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:fork@10.0.0.2:5060>\r\nContent-Length: 0\r\n\r\n",
        text(H::Via),
        text(H::From),
        text(H::To),
        text(H::CallId),
        text(H::CSeq)
    )
}

#[test]
fn a_2xx_of_a_second_fork_gets_ack_and_bye_and_its_repetition_the_ack_again() {
    let (mut pair, alice, _) = established();
    let fork = second_200(&pair, "other-phone");
    let before = pair.wire.len();
    pair.inject(Side::Alice, Side::Bob.address(), fork.as_bytes());
    pair.inject(Side::Alice, Side::Bob.address(), fork.as_bytes());
    let new: Vec<String> = pair.wire[before..].iter().map(|(_, _, b)| String::from_utf8(b.clone()).unwrap()).collect();
    assert_eq!(new.len(), 3, "{new:#?}");
    assert!(new[0].starts_with("ACK sip:fork@10.0.0.2") && new[1].starts_with("BYE sip:fork@10.0.0.2"));
    assert!(new.iter().all(|m| m.contains(";tag=other-phone")));
    assert_eq!(new[0], new[2]);
    let now = pair.now;
    assert_eq!(pair.alice.hangup(now, alice, &[]), Ok(()), "the first fork's call is not touched");
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn a_second_fork_is_hung_up_even_after_the_call_is_over() {
    let (mut pair, alice, _) = established();
    let fork = second_200(&pair, "other-phone");
    let now = pair.now;
    pair.alice.hangup(now, alice, &[]).unwrap();
    assert!(pair.run_for(Duration::from_secs(8)));
    let before = pair.wire.len();
    pair.inject(Side::Alice, Side::Bob.address(), fork.as_bytes());
    assert_eq!(pair.wire[before..].len(), 2);
    assert_idle_after(&mut pair, 2 * MINUTE);
}

#[test]
fn forks_beyond_the_limit_cost_nothing() {
    let (mut pair, _, _) = established();
    for i in 0..50 {
        let fork = second_200(&pair, &format!("t{i}"));
        pair.inject(Side::Alice, Side::Bob.address(), fork.as_bytes());
    }
    let byes = pair.wire.iter().filter(|(_, side, b)| *side == Side::Alice && is(b, "BYE ")).count();
    assert_eq!(byes, 7, "eight forks with the first");
}

#[test]
fn calls_beyond_the_limit_get_503_with_retry_after() {
    let mut pair = Pair::new(Instant::now(), 3);
    let mut config = crate::sip::pair::config(Side::Bob);
    config.max_legs = 1;
    pair.bob = Endpoint::new(config, Random::seeded(9));
    pair.call(Side::Alice, "offer").unwrap();
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(300)));
    let end = ended(&mut pair, Side::Alice);
    assert!(matches!(end, Some(EndCause::Rejected { code: 503, retry_after: Some(_), .. })), "{end:?}");
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn info_carries_digits_to_the_other_side() {
    let (mut pair, alice, _) = established();
    let now = pair.now;
    pair.alice.info(now, alice, "application/dtmf-relay", b"Signal=5\r\nDuration=160".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let info = pair.take(Side::Bob, |e| match e {
        Event::Info { content_type, body, .. } => Some((content_type.clone(), body.expose().clone())),
        _ => None,
    });
    assert_eq!(info, Some(("application/dtmf-relay".to_owned(), b"Signal=5\r\nDuration=160".to_vec())));
    assert!(sent(&pair, Side::Bob).contains(&"200 INFO".to_owned()));
}
