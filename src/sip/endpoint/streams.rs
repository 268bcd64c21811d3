//! What a stream of a peer may expect of us before anything is read from it.

use super::Endpoint;
use super::leg::{Leg, Phase};
use super::transactions::{Transaction, TransactionId};
use crate::sip::admission::Standing;
use crate::sip::config::{KnownPeer, Target, Transport};
use crate::sip::dialog::Path;
use crate::sip::event::RegistrationId;
use std::net::IpAddr;
use std::time::Instant;

/// How welcome a stream is. A transaction alone makes no difference: whoever may send a request could buy it with one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Welcome {
    /// Nothing from there is read: the stream is not worth keeping open.
    None,
    /// A known peer may come from there, out of a network or by its credentials.
    Guest,
    /// A known peer's own address, a registrar's, or that of the other end of a call; or somebody who has shown the
    /// credentials of a peer.
    Peer,
}

impl Endpoint {
    /// The addresses that a registration goes to; empty when there is no such registration.
    #[must_use]
    pub fn registration_targets(&self, id: RegistrationId) -> Vec<Target> {
        let Some(registration) = self.registrations.get(&id) else { return Vec::new() };
        let mut targets = registration.config().targets.clone();
        if !targets.contains(&registration.target()) {
            targets.push(registration.target());
        }
        targets
    }

    /// The next stream on which a request of ours was left without a word. Unless something else has come by it meanwhile,
    /// nobody reads there: the next request is to open another.
    pub fn poll_silent_stream(&mut self) -> Option<Target> {
        self.silent_streams.pop_front()
    }

    /// A request of ours got no answer. A stream that calls live on is kept: their peer may have no other way to us.
    pub(super) fn note_silence(&mut self, request: TransactionId) {
        let Some(Path { transport, remote, .. }) = self.transactions.get(request).map(Transaction::path) else {
            return;
        };
        let silent = Target { transport, remote };
        let lives_there = |leg: &Leg| {
            let is_there =
                leg.dialog.path.transport == transport && [leg.dialog.path.remote, leg.home].contains(&remote);
            is_there && matches!(leg.phase, Phase::Ringing | Phase::Answered | Phase::Confirmed)
        };
        if transport.is_reliable() && !self.legs.values().any(lives_there) && !self.silent_streams.contains(&silent) {
            self.silent_streams.push_back(silent);
        }
    }

    /// How welcome a stream from this address is.
    pub fn welcome(&mut self, now: Instant, source: IpAddr, transport: Transport) -> Welcome {
        let source = source.to_canonical();
        let is_own = |peer: &KnownPeer| {
            let mut networks = peer.networks.iter();
            peer.authentication.is_none()
                && networks.any(|n| n.prefix_len() == n.max_prefix_len() && n.contains(&source))
        };
        match self.standing(now, source, transport) {
            Standing::Stranger => Welcome::None,
            Standing::Unproven if self.admission.is_banned(now, source) => Welcome::None,
            Standing::Proven => Welcome::Peer,
            Standing::Unproven | Standing::InTouch | Standing::Known => {
                let is_peer = self.config.known_peers.iter().any(is_own)
                    || self.registrations.values().any(|registration| registration.has_address(source))
                    || self.legs.values().any(|leg| leg.trusted.contains(&source));
                if is_peer { Welcome::Peer } else { Welcome::Guest }
            }
        }
    }
}
