use super::*;
use crate::sip::Message;
use crate::sip::event::{EndCause, Missing};
use crate::sip::pair::{Pair, Side};
use std::time::Duration;

mod calls;
mod chaos;
mod early;
mod failover;
mod in_dialog;
mod injection;
mod passwords;
mod refreshes;
mod registrar;
mod registrations;
mod replaces;
mod rules;
mod sessions;
mod size;
mod targets;

const MINUTE: Duration = Duration::from_secs(60);

fn pair() -> Pair {
    Pair::new(Instant::now(), 1)
}

/// The start lines that one side sent, in order.
fn sent(pair: &Pair, side: Side) -> Vec<String> {
    pair.wire
        .iter()
        .filter(|(_, s, _)| *s == side)
        .map(|(_, _, bytes)| {
            let message = Message::parse(bytes).unwrap();
            match (message.method(), message.status()) {
                (Some(method), _) => method.to_string(),
                (_, Some(status)) => format!("{status} {}", message.cseq().unwrap().method),
                _ => unreachable!(),
            }
        })
        .collect()
}

fn is(bytes: &[u8], start: &str) -> bool {
    bytes.starts_with(start.as_bytes())
}

fn incoming(pair: &mut Pair, side: Side) -> Option<LegId> {
    pair.take(side, |event| match event {
        Event::IncomingCall(call) => Some(call.leg),
        _ => None,
    })
}

fn answered(pair: &mut Pair, side: Side) -> Option<Option<Vec<u8>>> {
    pair.take(side, |event| match event {
        Event::Answered { sdp, .. } => Some(sdp.clone()),
        _ => None,
    })
}

fn ended(pair: &mut Pair, side: Side) -> Option<EndCause> {
    pair.take(side, |event| match event {
        Event::Ended { cause, .. } => Some(cause.clone()),
        _ => None,
    })
}

/// Alice calls Bob, who takes it.
fn established() -> (Pair, LegId, LegId) {
    let mut pair = pair();
    let (alice, bob) = establish(&mut pair);
    (pair, alice, bob)
}

fn establish(pair: &mut Pair) -> (LegId, LegId) {
    let alice = pair.call(Side::Alice, "offer").unwrap();
    assert!(pair.run_for(Duration::from_millis(100)));
    let bob = incoming(pair, Side::Bob).unwrap();
    let now = pair.now;
    pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
    assert!(pair.run_for(Duration::from_millis(200)));
    assert_eq!(answered(pair, Side::Alice), Some(Some(b"answer".to_vec())));
    assert_eq!(pair.take(Side::Bob, |e| matches!(e, Event::Established { sdp: None, .. }).then_some(())), Some(()));
    (alice, bob)
}

/// Nothing is left on either side after `time`.
fn assert_idle_after(pair: &mut Pair, time: Duration) {
    assert!(pair.run_for(time), "live-lock");
    assert!(pair.alice.is_idle(), "{:?}", pair.alice);
    assert!(pair.bob.is_idle(), "{:?}", pair.bob);
}

fn reoffer(pair: &mut Pair, side: Side) -> Option<Option<Vec<u8>>> {
    pair.take(side, |e| match e {
        Event::Reoffer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    })
}

fn outcome(pair: &mut Pair, side: Side) -> Option<Result<Option<Vec<u8>>, u16>> {
    pair.take(side, |e| match e {
        Event::ReofferAnswered { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

/// A request of Alice within her call, as another implementation might send it.
fn in_dialog(pair: &Pair, method: &str, cseq: u32, more: &str, body: &str) -> String {
    let ack = pair.wire.iter().find(|(_, _, b)| is(b, "ACK ")).map(|(_, _, b)| Message::parse(b).unwrap()).unwrap();
    use crate::sip::HeaderName as H;
    let text = |name| ack.text(name).unwrap();
    format!(
        "{method} sip:offhook@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{method}{cseq}\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:moved@10.0.0.1:5070>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        text(H::From),
        text(H::To),
        text(H::CallId),
        body.len()
    )
}

fn inject_from_alice(pair: &mut Pair, message: &str) -> Option<String> {
    let before = pair.wire.len();
    pair.inject(Side::Bob, Side::Alice.address(), message.as_bytes());
    let new: Vec<&(Duration, Side, Vec<u8>)> = pair.wire[before..].iter().filter(|(_, s, _)| *s == Side::Bob).collect();
    new.last().map(|(_, _, bytes)| String::from_utf8(bytes.clone()).unwrap())
}

/// What one side sent that begins so, as text.
fn all_sent(pair: &Pair, side: Side, start: &str) -> Vec<String> {
    let by_side = pair.wire.iter().filter(|(_, s, bytes)| *s == side && is(bytes, start));
    by_side.map(|(_, _, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect()
}

fn is_cseq(message: &str, method: &str) -> bool {
    message.lines().any(|line| line.starts_with("CSeq: ") && line.ends_with(&format!(" {method}")))
}

/// The value of a header field in a message as text.
fn field(message: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    message.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}
