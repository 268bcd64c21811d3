//! Operation lists on a pair of endpoints: the model-level fuzz of transactions and dialogs.
//!
//! Bytes become commands, network weather and passing time; afterwards the promises of the endpoint are checked. The
//! same interpreter serves the seeded runs of the tests.

use super::config::{DialogPolicy, Refer, Refresher, ReliableProvisional, SessionTimer, Target};
use super::endpoint::CommandError;
use super::event::{EndCause, Event, LegId};
use super::pair::{Pair, Side, Weather};
use super::timer::T1_64;
use super::{Message, Method, Uri};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// What may be left of the application's own timers when the operations end: the ring time, a transfer and its
/// subscription.
const APPLICATION_TIMERS: Duration = Duration::from_secs(180);

/// The session interval of every call that has one: the least there is, so that runs see refreshes.
const SESSION: Duration = Duration::from_secs(90);

/// A host that no datagram reaches.
const NOBODY: ([u8; 4], u16) = ([10, 0, 0, 8], 5060);

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
    /// Reliable provisional responses that were acknowledged.
    pub pracks: u32,
    /// UPDATEs, of applications and of session timers.
    pub updates: u32,
    /// Calls that reached the second of two targets.
    pub failovers: u32,
    /// Calls that took over another.
    pub replacements: u32,
    /// Runs at whose end calls were up, and on both sides the same.
    pub agreements: u32,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.established += other.established;
        self.cancelled += other.cancelled;
        self.reoffers += other.reoffers;
        self.transfers += other.transfers;
        self.timeouts += other.timeouts;
        self.pracks += other.pracks;
        self.updates += other.updates;
        self.failovers += other.failovers;
        self.replacements += other.replacements;
        self.agreements += other.agreements;
    }
}

/// One side's policy, out of some bits.
fn policy(bits: u64) -> DialogPolicy {
    let session_timer = |refresher| Some(SessionTimer { expires: SESSION, min_se: SESSION, refresher });
    DialogPolicy {
        accept_refer: true,
        accept_replaces: true,
        session_timer: match bits % 5 {
            0 => None,
            1 => session_timer(Refresher::Ours),
            2 => session_timer(Refresher::Theirs),
            _ => session_timer(Refresher::Either),
        },
        reliable_provisional: match bits / 5 % 8 {
            0 => ReliableProvisional::Off,
            1..=4 => ReliableProvisional::Supported,
            _ => ReliableProvisional::Required,
        },
    }
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
/// request, a live-lock, a call that stays up on one side only although it has a session timer, or anything left over
/// once both sides had time to finish.
pub fn transaction_ops(bytes: &[u8]) -> Tally {
    let seed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
    let (alice, bob) = (policy(seed >> 8), policy(seed >> 20));
    let mut pair = Pair::with_policies(Instant::now(), seed, alice, bob);
    let mut apps = Applications::default();
    for operation in bytes.chunks(2).take(64) {
        let (code, argument) = (operation.first().copied().unwrap_or(0), operation.get(1).copied().unwrap_or(0));
        apply(&mut pair, &apps, code, argument);
        apps.observe(&mut pair);
    }
    if seed & 1 == 0 && alice.session_timer.is_some() && bob.session_timer.is_some() {
        assert_agreement(&mut pair, &mut apps);
    }
    settle(&mut pair, &mut apps);
    assert_one_final_response(&pair);
    apps.count(&pair);
    apps.tally
}

fn apply(pair: &mut Pair, apps: &Applications, code: u8, argument: u8) {
    let side = if argument & 1 == 0 { Side::Alice } else { Side::Bob };
    let now = pair.now;
    let operation = code % 20;
    let live: Vec<LegId> = apps.live(side);
    let leg = live.get(usize::from(argument >> 1) % live.len().max(1)).copied();
    if matches!(operation, 0 | 18 | 19) {
        let mut call = pair.outgoing(side, "offer");
        if operation == 18 {
            call.targets.insert(0, Target::udp(NOBODY.into()));
        }
        if operation == 19 {
            call.replaces = leg.and_then(|leg| pair.at(side).replaces_value(leg));
        }
        // A full endpoint refuses.
        let _ = pair.at(side).invite(now, call);
        return;
    }
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
        (16, Some(leg)) => endpoint.update(now, leg, Some(sdp())),
        (17, Some(leg)) => endpoint.update(now, leg, None),
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
                Event::IncomingCall(call) => {
                    let replaced = call.replaces.map(|leg| (key.0, leg));
                    self.tally.replacements += u32::from(replaced.is_some());
                    let is_live = |key| self.legs.get(&key).is_some_and(|life| !life.has_ended);
                    assert!(replaced.is_none_or(is_live), "only a live leg is replaced");
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

impl Applications {
    /// What only the wire shows.
    fn count(&mut self, pair: &Pair) {
        for (_, _, bytes) in &pair.wire {
            let starts = |start: &str| u32::from(bytes.starts_with(start.as_bytes()));
            self.tally.updates += starts("UPDATE ");
            self.tally.pracks += starts("PRACK ");
        }
        let second = pair
            .wire
            .iter()
            .filter(|(_, _, bytes)| bytes.starts_with(b"INVITE ") && bytes.windows(14).any(|w| w == b"CSeq: 2 INVITE"));
        self.tally.failovers += u32::try_from(second.count()).unwrap_or(u32::MAX);
    }
}

/// The network heals and nobody does anything: then a call that is up on one side is up on the other, too, whatever
/// was lost before.
fn assert_agreement(pair: &mut Pair, apps: &mut Applications) {
    pair.weather = Weather::FAIR;
    // 64·T1 for what is under way (twice: a change may follow a change), and what the session timer takes to find a
    // peer that is gone.
    assert!(pair.run_for(Duration::from_secs(64) + SESSION + Duration::from_secs(36)), "live-lock");
    apps.observe(pair);
    let dialogs = |side, pair: &mut Pair| -> BTreeSet<(String, String, String)> {
        let values = apps.live(side).into_iter().filter_map(|leg| pair.at(side).replaces_value(leg));
        values
            .filter_map(|value| {
                let replaces = super::header::Replaces::parse(value.as_bytes()).ok()?;
                let (to, from) = (replaces.to_tag.to_owned(), replaces.from_tag.to_owned());
                let (alices, bobs) = if side == Side::Alice { (from, to) } else { (to, from) };
                Some((replaces.call_id.to_owned(), alices, bobs))
            })
            .collect()
    };
    let (alices, bobs) = (dialogs(Side::Alice, pair), dialogs(Side::Bob, pair));
    assert_eq!(alices, bobs, "a call stays up on one side only");
    apps.tally.agreements += u32::from(!alices.is_empty());
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

/// No request ever got two different final responses while its transaction lived. A copy that the network holds back
/// until after timers J and L is another request to us (RFC 3261 §17.2.2, RFC 6026), and its sender has stopped listening.
fn assert_one_final_response(pair: &Pair) {
    let mut finals: HashMap<(bool, String, Method), (Duration, &[u8])> = HashMap::new();
    for (at, side, bytes) in &pair.wire {
        let message = Message::parse(bytes);
        assert!(message.is_ok(), "we sent what we cannot read");
        let Ok(message) = message else { continue };
        let Some(status) = message.status().filter(|s| s.is_final()) else { continue };
        let branch = message.via().ok().and_then(|via| via.branch()).unwrap_or_default().to_owned();
        let Ok(cseq) = message.cseq() else { continue };
        let (first_at, first) = finals.entry((*side == Side::Alice, branch, cseq.method)).or_insert((*at, bytes));
        let is_late = *at >= *first_at + T1_64;
        assert!(is_late || *first == &bytes[..], "two different final responses, the second {status}");
    }
}
