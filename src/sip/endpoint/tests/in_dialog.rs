//! Requests within a call that are not about its session: INFO, NOTIFY, MESSAGE, REFER's details, bodies in parts.

use super::*;
use crate::sip::event::TransferOutcome;
use crate::sip::{Refer, Uri};

#[test]
fn info_is_served_for_dtmf_and_refused_politely_otherwise() {
    for (headers, body, status, header) in [
        ("Content-Type: application/dtmf-relay\r\n", "Signal=1", "200", ""),
        ("Content-Type: application/dtmf\r\n", "1", "200", ""),
        ("Content-Type: audio/telephone-event\r\n", "1", "200", ""),
        ("", "", "200", ""),
        ("Content-Type: application/media_control+xml\r\n", "<x/>", "415", "Accept: application/dtmf-relay"),
        ("Info-Package: foo\r\nContent-Type: application/dtmf\r\n", "1", "469", ""),
    ] {
        let (mut pair, _, _) = established();
        let info = in_dialog(&pair, "INFO", 10, headers, body);
        let answer = inject_from_alice(&mut pair, &info).unwrap();
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")) && answer.contains(header), "{answer}");
        let reported = pair.take(Side::Bob, |e| matches!(e, Event::Info { .. }).then_some(())).is_some();
        assert_eq!(reported, status == "200" && !body.is_empty(), "{headers}");
    }
}

#[test]
fn message_subscribe_and_publish_within_a_call_get_405_with_allow() {
    let (mut pair, _, _) = established();
    for (n, method) in ["MESSAGE", "SUBSCRIBE", "PUBLISH", "REGISTER"].into_iter().enumerate() {
        let request = in_dialog(&pair, method, 10 + n as u32, "Event: presence\r\n", "");
        let answer = inject_from_alice(&mut pair, &request).unwrap();
        assert!(answer.starts_with("SIP/2.0 405 ") && answer.contains("Allow: INVITE"), "{answer}");
    }
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_notify_without_its_subscription_gets_481_and_what_pbxs_send_unasked_200() {
    let (mut pair, _, _) = established();
    for (n, (event, status)) in
        [("refer", "481"), ("dialog", "481"), ("message-summary", "200"), ("keep-alive", "200"), ("check-sync", "200")]
            .into_iter()
            .enumerate()
    {
        let more = format!("Event: {event}\r\nSubscription-State: active\r\n");
        let notify = in_dialog(&pair, "NOTIFY", 10 + n as u32, &more, "");
        let answer = inject_from_alice(&mut pair, &notify).unwrap();
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{event} {answer}");
    }
}

/// Bob asks Alice to call someone, whose answers do not arrive by themselves; gives the REFER's CSeq number.
fn refer_in_silence(pair: &mut Pair, bob: LegId) -> u32 {
    pair.drop_if(|_, _| true);
    let now = pair.now;
    pair.bob.refer(now, bob, Refer::blind(Uri::parse("sip:desk@10.0.0.9").unwrap())).unwrap();
    pair.collect();
    let refer = all_sent(pair, Side::Bob, "REFER ").pop().unwrap();
    field(&refer, "CSeq").unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn notify(pair: &mut Pair, cseq: u32, event: &str, state: &str, body: &str) -> String {
    let more = format!("Event: {event}\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n");
    let notify = in_dialog(pair, "NOTIFY", cseq, &more, body);
    inject_from_alice(pair, &notify).unwrap()
}

fn finished(pair: &mut Pair) -> Option<TransferOutcome> {
    pair.take(Side::Bob, |e| match e {
        Event::TransferFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn a_notify_that_overtakes_the_202_decides_the_transfer_once() {
    let (mut pair, _, bob) = established();
    refer_in_silence(&mut pair, bob);
    assert!(notify(&mut pair, 10, "refer", "terminated", "SIP/2.0 486 Busy Here").starts_with("SIP/2.0 200 "));
    assert!(matches!(finished(&mut pair), Some(TransferOutcome::Refused { code: 486, .. })));
    assert!(
        notify(&mut pair, 11, "refer", "terminated", "SIP/2.0 200 OK").starts_with("SIP/2.0 200 "),
        "late, but ours"
    );
    assert_eq!(finished(&mut pair), None);
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_report_about_an_earlier_refer_does_not_decide_the_later_one() {
    let (mut pair, _, bob) = established();
    let first = refer_in_silence(&mut pair, bob);
    notify(&mut pair, 10, "refer", "terminated", "SIP/2.0 486 Busy Here");
    assert!(finished(&mut pair).is_some());
    let second = refer_in_silence(&mut pair, bob);
    notify(&mut pair, 11, &format!("refer;id={first}"), "terminated", "SIP/2.0 200 OK");
    assert_eq!(finished(&mut pair), None);
    notify(&mut pair, 12, &format!("refer;id={second}"), "terminated", "SIP/2.0 200 OK");
    assert_eq!(finished(&mut pair), Some(TransferOutcome::Accepted));
}

#[test]
fn a_report_that_ends_without_a_result_leaves_the_call_to_the_agent() {
    let (mut pair, _, bob) = established();
    refer_in_silence(&mut pair, bob);
    notify(&mut pair, 10, "refer", "terminated;reason=noresource", "");
    assert!(matches!(finished(&mut pair), Some(TransferOutcome::Refused { .. })));
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_refer_to_anything_but_a_call_is_declined() {
    for target in ["<sip:x@10.0.0.9;method=BYE>", "<sip:x@10.0.0.9;method=SUBSCRIBE>", "<http://x.example/>"] {
        let (mut pair, _, _) = established();
        let refer = in_dialog(&pair, "REFER", 10, &format!("Refer-To: {target}\r\n"), "");
        assert!(inject_from_alice(&mut pair, &refer).unwrap().starts_with("SIP/2.0 603 "), "{target}");
    }
    let (mut pair, _, _) = established();
    let refer =
        in_dialog(&pair, "REFER", 10, "Refer-To: <tel:+4930123;method=INVITE>\r\nReferred-By: <sip:boss@x>\r\n", "");
    assert_eq!(inject_from_alice(&mut pair, &refer), None, "the application decides");
    let by = pair.take(Side::Bob, |e| match e {
        Event::TransferRequested { referred_by, .. } => Some(referred_by.clone().unwrap().into_exposed()),
        _ => None,
    });
    assert_eq!(by.as_deref(), Some("<sip:boss@x>"));
}

#[test]
fn the_subscription_of_an_accepted_refer_ends_with_a_last_notify() {
    let (mut pair, alice, bob) = established();
    let now = pair.now;
    let refer = Refer { timeout: 10 * MINUTE, ..Refer::blind(Uri::parse("sip:desk@10.0.0.9").unwrap()) };
    pair.alice.refer(now, alice, refer).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let now = pair.now;
    pair.bob.accept_refer(now, bob).unwrap();
    pair.bob.notify_refer(now, bob, 180).unwrap();
    assert!(pair.run_for(4 * MINUTE));
    let notifies = all_sent(&pair, Side::Bob, "NOTIFY ");
    let states: Vec<String> = notifies.iter().filter_map(|n| field(n, "Subscription-State")).collect();
    assert_eq!(states, ["active;expires=180", "active;expires=180", "terminated;reason=timeout"]);
    let now = pair.now;
    assert_eq!(pair.bob.notify_refer(now, bob, 200), Err(CommandError::WrongState));
    let outcome = pair.take(Side::Alice, |e| match e {
        Event::TransferFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    assert!(matches!(outcome, Some(TransferOutcome::Refused { code: 180, .. })), "{outcome:?}");
    assert_eq!(pair.bob.leg_count(), 1);
}

#[test]
fn a_peer_that_forgot_its_subscription_keeps_the_call() {
    let (mut pair, _, bob) = established();
    let refer = in_dialog(&pair, "REFER", 10, "Refer-To: <sip:x@10.0.0.9>\r\n", "");
    inject_from_alice(&mut pair, &refer);
    let now = pair.now;
    // Alice's endpoint sent no REFER: she knows no subscription.
    pair.bob.accept_refer(now, bob).unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    assert!(sent(&pair, Side::Alice).contains(&"481 NOTIFY".to_owned()));
    assert_eq!(pair.bob.leg_count(), 1);
    let now = pair.now;
    assert_eq!(pair.bob.notify_refer(now, bob, 180), Err(CommandError::WrongState));
}

const MIXED: &str = "Content-Type: multipart/mixed;boundary=b\r\n";

fn in_parts(sdp: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/ISUP\r\nContent-Disposition: signal;handling=optional\r\n\r\nx\r\n\
         --b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
    )
}

#[test]
fn a_session_description_among_other_parts_is_found_in_requests_and_responses() {
    let mut pair = pair();
    pair.rewrite(|_, text| {
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| !body.is_empty()) else { return text };
        let body = in_parts(body);
        let fields = head.split("\r\n").filter(|l| !l.starts_with("Content-"));
        let head = fields.collect::<Vec<_>>().join("\r\n");
        format!("{head}\r\n{MIXED}Content-Length: {}\r\n\r\n{body}", body.len())
    });
    pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let bob = pair
        .take(Side::Bob, |e| match e {
            Event::IncomingCall(call) => {
                assert_eq!(call.sdp.as_deref(), Some(&b"offer"[..]));
                Some(call.leg)
            }
            _ => None,
        })
        .unwrap();
    let now = pair.now;
    pair.bob.progress(now, bob, b"early".to_vec()).unwrap();
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let early = pair.take(Side::Alice, |e| match e {
        Event::Progress { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    assert_eq!(early, Some(Some(b"early".to_vec())));
    assert_eq!(answered(&mut pair, Side::Alice), Some(Some(b"answer".to_vec())));
    let now = pair.now;
    pair.bob.reoffer(now, bob, b"hold".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    assert_eq!(reoffer(&mut pair, Side::Alice), Some(Some(b"hold".to_vec())));
}

#[test]
fn the_answer_in_an_ack_of_parts_is_found() {
    let (mut pair, _, bob) = established();
    let invite = in_dialog(&pair, "INVITE", 10, "", "");
    inject_from_alice(&mut pair, &invite);
    let now = pair.now;
    pair.bob.answer_reoffer(now, bob, b"our offer".to_vec()).unwrap();
    let ack = in_dialog(&pair, "ACK", 10, MIXED, &in_parts("answer"));
    inject_from_alice(&mut pair, &ack);
    assert_eq!(outcome(&mut pair, Side::Bob), Some(Ok(Some(b"answer".to_vec()))));
}

#[test]
fn options_within_a_call_are_answered_even_while_draining() {
    let (mut pair, _, _) = established();
    pair.bob.set_draining(true);
    let options = in_dialog(&pair, "OPTIONS", 10, "", "");
    let answer = inject_from_alice(&mut pair, &options).unwrap();
    assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains("Allow: INVITE"), "{answer}");
}

#[test]
fn message_and_publish_outside_a_call_get_405_with_allow() {
    for method in ["MESSAGE", "PUBLISH"] {
        let (mut pair, _, _) = established();
        let request = in_dialog(&pair, method, 10, "", "");
        let to = request.lines().find(|line| line.starts_with("To: ")).unwrap();
        let outside = request.replace(to, "To: <sip:callee@10.0.0.2>");
        let answer = inject_from_alice(&mut pair, &outside).unwrap();
        assert!(answer.starts_with("SIP/2.0 405 ") && answer.contains("Allow: INVITE"), "{answer}");
    }
}

#[test]
fn a_refer_names_its_target_in_the_form_it_was_given() {
    for target in ["tel:+4930123", "sip:desk@10.0.0.9;user=phone"] {
        let (mut pair, alice, _) = established();
        let now = pair.now;
        pair.alice.refer(now, alice, Refer::blind(Uri::parse(target).unwrap())).unwrap();
        pair.collect();
        let refer = all_sent(&pair, Side::Alice, "REFER ").remove(0);
        assert_eq!(field(&refer, "Refer-To"), Some(format!("<{target}>")));
    }
}

#[test]
fn an_attended_refer_carries_the_dialog_of_the_other_leg() {
    let (mut pair, alice, _) = established();
    let (consulted, _) = establish(&mut pair);
    let value = pair.alice.replaces_value(consulted).unwrap();
    let mut refer = Refer::blind(Uri::parse("sip:human@10.0.0.9").unwrap());
    refer.replaces = Some(value.clone());
    let now = pair.now;
    pair.alice.refer(now, alice, refer).unwrap();
    assert!(pair.run_for(Duration::from_millis(50)));
    let replaces = pair.take(Side::Bob, |e| match e {
        Event::TransferRequested { replaces, .. } => replaces.clone().map(crate::base::Pii::into_exposed),
        _ => None,
    });
    assert_eq!(replaces, Some(value));
}
