//! What all calls share: the ways in and out, and who holds which leg.

use super::gateway::Gateway;
use super::line::Line;
use super::sounds::Sounds;
use crate::media::{LegMode, Workers};
use crate::net::Sip;
use crate::sip::LegId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// A call that takes the place of another (RFC 3891), already answered.
pub(super) struct Takeover {
    /// The leg that it replaces.
    pub(super) replaced: LegId,
    /// Its line.
    pub(super) line: Line,
}

struct Seated {
    mode: LegMode,
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

    /// A place for a call whose first leg is `leg`.
    pub(super) fn seat(self: &Arc<Self>, leg: LegId, mode: LegMode) -> (Seat, mpsc::UnboundedReceiver<Takeover>) {
        let (mailbox, takeovers) = mpsc::unbounded_channel();
        let mut seat = Seat { switchboard: Arc::clone(self), legs: Vec::new(), mailbox, mode };
        seat.hold(leg);
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
}

impl Seat {
    /// From here on the call holds this leg, too.
    pub(super) fn hold(&mut self, leg: LegId) {
        self.legs.push(leg);
        let seated = Seated { mode: self.mode, mailbox: self.mailbox.clone() };
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
