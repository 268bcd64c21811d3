//! How many calls a known peer may have with us, and how fast, in both directions together.

use super::leg::Phase;
use super::{CommandError, Endpoint};
use crate::sip::bucket::Bucket;
use crate::sip::config::{CallLimits, KnownPeer};
use crate::sip::event::Peer;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// The call rate of each known peer that has a limit; as many as there are such peers in the settings.
#[derive(Debug, Default)]
pub(super) struct CallRates(HashMap<String, Bucket>);

impl CallRates {
    /// Forgets peers that are no longer known.
    pub(super) fn retain(&mut self, known: &[KnownPeer]) {
        self.0.retain(|name, _| known.iter().any(|peer| peer.name == *name));
    }
}

impl Endpoint {
    /// Counts a call to a peer that a command places; `peer` is `OutgoingInvite::peer`, else the address tells.
    ///
    /// # Errors
    /// [`CommandError::PeerLimit`] when the peer has as many calls as it may.
    pub(super) fn admit_outgoing_call(
        &mut self,
        now: Instant,
        peer: Option<&str>,
        remote: IpAddr,
    ) -> Result<(), CommandError> {
        let known = match peer {
            Some(name) => self.config.known_peers.iter().find(|known| known.name == name),
            None => self.known_peer(remote),
        };
        let Some((name, limits)) = known.map(|known| (known.name.clone(), known.limits)) else { return Ok(()) };
        if self.admit_call(now, &name, limits) { Ok(()) } else { Err(CommandError::PeerLimit) }
    }

    /// Counts a call of a peer, in or out. False when it has as many as it may; the call then counts for nothing.
    pub(super) fn admit_call(&mut self, now: Instant, name: &str, limits: CallLimits) -> bool {
        let is_over = self.is_over_limit(now, name, limits);
        if is_over {
            self.counters.over_peer_limit = self.counters.over_peer_limit.saturating_add(1);
        }
        !is_over
    }

    fn is_over_limit(&mut self, now: Instant, name: &str, limits: CallLimits) -> bool {
        // A peer that floods meets its rate first, which costs less than counting its calls.
        let per_second = limits.per_second.map(|rate| rate.min(1_000_000) as f32);
        if let Some(rate) = per_second {
            let bucket = self.call_rates.0.entry(name.to_owned()).or_insert_with(|| Bucket::full(now, rate));
            if !bucket.has_token(now, rate, rate) {
                return true;
            }
        }
        if limits.concurrent.is_some_and(|most| self.calls_with(name) >= most as usize) {
            return true;
        }
        if let (Some(rate), Some(bucket)) = (per_second, self.call_rates.0.get_mut(name)) {
            bucket.take(now, rate, rate);
        }
        false
    }

    /// Calls with the known peer of this name, in both directions together.
    #[must_use]
    pub fn calls_with(&self, name: &str) -> usize {
        let is_of_peer = |peer: &Option<Peer>| matches!(peer, Some(Peer::Known(known)) if known == name);
        self.legs.values().filter(|leg| leg.phase != Phase::Over && is_of_peer(&leg.peer)).count()
    }
}
