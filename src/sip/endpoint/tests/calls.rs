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
