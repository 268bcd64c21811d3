//! Operation lists on a pair of endpoints: the model-level fuzz of transactions and dialogs.
//!
//! Bytes become commands, network weather and passing time; afterwards the promises of the endpoint are checked. The
//! same interpreter serves the seeded runs of the tests.

use super::config::Refer;
use super::endpoint::CommandError;
use super::event::{EndCause, Event, LegId};
use super::pair::{Pair, Side, Weather};
use super::{Message, Method, Uri};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What may be left of the application's own timers when the operations end: the ring time and a transfer.
const APPLICATION_TIMERS: Duration = Duration::from_secs(180);

/// What both sides' applications have seen and promised.
#[derive(Debug, Default)]
struct Applications {
    legs: HashMap<(bool, LegId), Life>,
    tally: Tally,
}

/// How deep a run got, counted over both sides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Calls that were established.
    pub established: u32,
    /// Calls that were cancelled while they rang.
    pub cancelled: u32,
    /// Re-offers that were accepted.
    pub reoffers: u32,
    /// Transfers that were decided.
    pub transfers: u32,
    /// Calls that ended by a time-out.
    pub timeouts: u32,
}

/// One leg as its application sees it.
#[derive(Debug, Default)]
struct Life {
    has_ended: bool,
    was_answered: bool,
    was_established: bool,
}

/// Plays `bytes` as operations on a pair, lets everything end, checks the endpoint's promises, and says how far it got.
///
/// # Panics
/// When a promise is broken: a leg that ends twice or speaks after its end, two different final responses to one
/// request, a live-lock, or anything left over once both sides had time to finish.
pub fn transaction_ops(bytes: &[u8]) -> Tally {
    let seed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut pair = Pair::new(Instant::now(), seed);
    let mut apps = Applications::default();
    for operation in bytes.chunks(2).take(64) {
        let (code, argument) = (operation.first().copied().unwrap_or(0), operation.get(1).copied().unwrap_or(0));
        apply(&mut pair, &apps, code, argument);
        apps.observe(&mut pair);
    }
    settle(&mut pair, &mut apps);
    assert_one_final_response(&pair);
    apps.tally
}

fn apply(pair: &mut Pair, apps: &Applications, code: u8, argument: u8) {
    let side = if argument & 1 == 0 { Side::Alice } else { Side::Bob };
    let now = pair.now;
    let operation = code % 16;
    if operation == 0 {
        pair.call(side, "offer");
        return;
    }
    let live: Vec<LegId> = apps.live(side);
    let leg = live.get(usize::from(argument >> 1) % live.len().max(1)).copied();
    let endpoint = pair.at(side);
    let sdp = || format!("sdp {argument}").into_bytes();
    let outcome = match (operation, leg) {
        (1, Some(leg)) => endpoint.ring(now, leg),
        (2, Some(leg)) => endpoint.progress(now, leg, sdp()),
        (3 | 4, Some(leg)) => endpoint.answer(now, leg, sdp()),
        (5, Some(leg)) => endpoint.reject(now, leg, 400 + u16::from(argument), &[]),
        (6, Some(leg)) => endpoint.hangup(now, leg, &[]),
        (7, Some(leg)) => endpoint.reoffer(now, leg, sdp()),
        (8, Some(leg)) if argument & 2 == 0 => endpoint.answer_reoffer(now, leg, sdp()),
        (8, Some(leg)) => endpoint.reject_reoffer(now, leg, 488),
        (9, Some(leg)) => match Uri::parse("sip:desk@10.0.0.9") {
            Ok(target) => endpoint.refer(now, leg, Refer::blind(target)),
            Err(_) => return,
        },
        (10, Some(leg)) if argument & 2 == 0 => endpoint.accept_refer(now, leg),
        (10, Some(leg)) => endpoint.notify_refer(now, leg, if argument & 4 == 0 { 200 } else { 486 }),
        (11, Some(leg)) => endpoint.info(now, leg, "application/dtmf-relay", b"Signal=1".to_vec()),
        (12, _) => {
            pair.weather = Weather {
                loss: f64::from(argument & 3) * 0.15,
                duplication: f64::from(argument >> 2 & 3) * 0.15,
                delay: Duration::from_millis(u64::from(argument >> 4 & 3) * 20),
                jitter: Duration::from_millis(u64::from(argument >> 6 & 3) * 400),
            };
            return;
        }
        (13, _) => {
            // Both applications say yes to whatever waits for them.
            for side in [Side::Alice, Side::Bob] {
                for leg in apps.live(side) {
                    let _ = pair.at(side).answer_reoffer(now, leg, sdp());
                    let _ = pair.at(side).answer(now, leg, sdp());
                }
            }
            return;
        }
        (_, _) => {
            assert!(pair.run_for(Duration::from_millis(u64::from(argument) * 40)), "live-lock");
            return;
        }
    };
    assert!(
        !matches!(outcome, Err(CommandError::UnknownLeg | CommandError::Full)),
        "a live leg is known and there is room: {outcome:?}"
    );
}

impl Applications {
    fn live(&self, side: Side) -> Vec<LegId> {
        let mut live: Vec<LegId> = self
            .legs
            .iter()
            .filter(|((is_alice, _), life)| *is_alice == (side == Side::Alice) && !life.has_ended)
            .map(|((_, leg), _)| *leg)
            .collect();
        live.sort_unstable();
        live
    }

    /// Reads all events and checks each against what came before it.
    fn observe(&mut self, pair: &mut Pair) {
        pair.collect();
        for (side, event) in std::mem::take(&mut pair.events) {
            let (leg, is_first) = match &event {
                Event::ProbeFinished { .. } => continue,
                Event::IncomingCall(call) => (call.leg, true),
                Event::Answered { leg, .. }
                | Event::Ended { leg, .. }
                | Event::Established { leg, .. }
                | Event::Info { leg, .. }
                | Event::Progress { leg, .. }
                | Event::Reoffer { leg, .. }
                | Event::ReofferAnswered { leg, .. }
                | Event::TransferFinished { leg, .. }
                | Event::TransferProgress { leg, .. }
                | Event::TransferRequested { leg, .. } => (*leg, false),
                Event::RegistrationChanged { .. } => continue,
            };
            let key = (side == Side::Alice, leg);
            assert!(!is_first || !self.legs.contains_key(&key), "a leg begins once");
            let life = self.legs.entry(key).or_default();
            assert!(!life.has_ended, "{side:?} {leg} speaks after its end: {event:?}");
            match event {
                Event::Answered { .. } => assert!(!std::mem::replace(&mut life.was_answered, true), "answered twice"),
                Event::Established { .. } => {
                    assert!(!std::mem::replace(&mut life.was_established, true), "established twice");
                    self.tally.established += 1;
                }
                Event::Ended { cause, .. } => {
                    life.has_ended = true;
                    self.tally.cancelled += u32::from(cause == EndCause::Cancelled);
                    self.tally.timeouts += u32::from(matches!(cause, EndCause::TimedOut(_)));
                }
                Event::ReofferAnswered { outcome: Ok(_), .. } => self.tally.reoffers += 1,
                Event::TransferFinished { .. } => self.tally.transfers += 1,
                _ => {}
            }
        }
    }
}

/// Everybody hangs up, the network heals, and nothing may be left after 64·T1 and the application's timers.
fn settle(pair: &mut Pair, apps: &mut Applications) {
    for side in [Side::Alice, Side::Bob] {
        for leg in apps.live(side) {
            let now = pair.now;
            let ended = pair.at(side).hangup(now, leg, &[]);
            assert_eq!(ended, Ok(()), "a live leg can be hung up");
        }
    }
    apps.observe(pair);
    pair.weather = Weather::FAIR;
    // 64·T1 for what is under way, the ring time for INVITEs still in flight, then 64·T1 for the waits after those.
    assert!(pair.run_for(Duration::from_secs(32) + APPLICATION_TIMERS + Duration::from_secs(100)), "live-lock");
    apps.observe(pair);
    for side in [Side::Alice, Side::Bob] {
        assert_eq!(apps.live(side), [], "{side:?} has a leg without its end");
        assert!(pair.at(side).is_idle(), "{side:?}: {:?}", pair.at(side));
    }
}

/// No request ever got two different final responses.
fn assert_one_final_response(pair: &Pair) {
    let mut finals: HashMap<(bool, String, Method), &[u8]> = HashMap::new();
    for (_, side, bytes) in &pair.wire {
        let message = Message::parse(bytes);
        assert!(message.is_ok(), "we sent what we cannot read");
        let Ok(message) = message else { continue };
        let Some(status) = message.status().filter(|s| s.is_final()) else { continue };
        let branch = message.via().ok().and_then(|via| via.branch()).unwrap_or_default().to_owned();
        let Ok(cseq) = message.cseq() else { continue };
        let first = finals.entry((*side == Side::Alice, branch, cseq.method)).or_insert(bytes);
        assert_eq!(*first, &bytes[..], "two different final responses, the second {status}");
    }
}
