use super::*;
use crate::sip::Message;
use crate::sip::event::{EndCause, Missing};
use crate::sip::pair::{Pair, Side};
use std::time::Duration;

mod calls;
mod chaos;
mod failover;
mod injection;
mod passwords;
mod registrar;
mod registrations;
mod rules;
mod sessions;
mod size;

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
