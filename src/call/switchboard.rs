//! What all calls share: the ways in and out, and who holds which leg.

use super::gateway::Gateway;
use super::line::Line;
use super::quality::{LineMeter, LineQuality, NEAR};
use super::sounds::Sounds;
use crate::base::CallId;
use crate::media::{LegMode, Workers};
use crate::net::Sip;
use crate::sip::LegId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// A call that takes the place of another (RFC 3891), already answered.
pub(super) struct Takeover {
    /// The leg that it replaces.
    pub(super) replaced: LegId,
    /// Its line.
    pub(super) line: Box<Line>,
}

/// What a call was when it began.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// Which.
    pub call: CallId,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// The extension or trunk it belongs to.
    pub peer: String,
    /// The agent that talks.
    pub agent: String,
    /// When it was answered.
    pub since: Instant,
}

/// A call that is up, and how its lines sound.
#[derive(Clone, Debug)]
pub struct CallStanding {
    /// What it was when it began.
    pub facts: Arc<CallFacts>,
    /// Its lines: `near` is the caller's, `far` the one that the call was handed to.
    pub lines: Vec<(&'static str, LineQuality)>,
}

struct Seated {
    mode: LegMode,
    facts: Arc<CallFacts>,
    side: &'static str,
    meter: LineMeter,
    mailbox: mpsc::UnboundedSender<Takeover>,
}

/// See the module.
pub(super) struct Switchboard {
    pub(super) sip: Sip,
    pub(super) workers: Arc<Workers>,
    pub(super) gateways: HashMap<String, Arc<Gateway>>,
    pub(super) sounds: Sounds,
    seats: Mutex<HashMap<LegId, Seated>>,
}

impl Switchboard {
    pub(super) fn new(
        sip: Sip,
        workers: Arc<Workers>,
        gateways: HashMap<String, Arc<Gateway>>,
        sounds: Sounds,
    ) -> Arc<Self> {
        Arc::new(Self { sip, workers, gateways, sounds, seats: Mutex::default() })
    }

    /// A place for a call whose first line is this.
    pub(super) fn seat(
        self: &Arc<Self>,
        line: &Line,
        mode: LegMode,
        facts: CallFacts,
    ) -> (Seat, mpsc::UnboundedReceiver<Takeover>) {
        let (mailbox, takeovers) = mpsc::unbounded_channel();
        let facts = Arc::new(facts);
        let mut seat = Seat { switchboard: Arc::clone(self), legs: Vec::new(), mailbox, mode, facts };
        seat.hold(NEAR, line);
        (seat, takeovers)
    }

    /// What the leg's call does with audio; `None` when nobody holds the leg.
    pub(super) fn mode_of(&self, leg: LegId) -> Option<LegMode> {
        self.seats().get(&leg).map(|seated| seated.mode)
    }

    /// Gives a line to the call that holds the leg it replaces. A line that nobody takes is hung up.
    pub(super) fn hand(&self, takeover: Takeover) {
        let mailbox = self.seats().get(&takeover.replaced).map(|seated| seated.mailbox.clone());
        if let Some(mailbox) = mailbox {
            // A call that has just ended drops it.
            let _ = mailbox.send(takeover);
        }
    }

    /// The calls that are up, in the order they began.
    pub(super) fn calls(&self) -> Vec<CallStanding> {
        let mut calls: BTreeMap<CallId, CallStanding> = BTreeMap::new();
        for seated in self.seats().values() {
            let standing = calls
                .entry(seated.facts.call)
                .or_insert_with(|| CallStanding { facts: Arc::clone(&seated.facts), lines: Vec::new() });
            standing.lines.push((seated.side, seated.meter.read()));
        }
        let sorted = |mut standing: CallStanding| {
            standing.lines.sort_by_key(|(side, _)| *side != NEAR);
            standing
        };
        calls.into_values().map(sorted).collect()
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<LegId, Seated>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place at the switchboard; dropping it gives its legs up.
pub(super) struct Seat {
    switchboard: Arc<Switchboard>,
    legs: Vec<LegId>,
    mailbox: mpsc::UnboundedSender<Takeover>,
    mode: LegMode,
    facts: Arc<CallFacts>,
}

impl Seat {
    /// From here on the call holds this line, too, on this side.
    pub(super) fn hold(&mut self, side: &'static str, line: &Line) {
        let leg = line.leg;
        self.legs.push(leg);
        let seated = Seated {
            mode: self.mode,
            facts: Arc::clone(&self.facts),
            side,
            meter: LineMeter::of(line),
            mailbox: self.mailbox.clone(),
        };
        self.switchboard.seats().insert(leg, seated);
    }

    /// The call no longer holds this leg.
    pub(super) fn release(&mut self, leg: LegId) {
        self.legs.retain(|held| *held != leg);
        self.switchboard.seats().remove(&leg);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.switchboard.seats();
        for leg in &self.legs {
            seats.remove(leg);
        }
    }
}
