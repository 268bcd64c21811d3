//! What an application may ask about addresses.

use super::Endpoint;
use crate::sip::{LegId, Target};
use std::net::SocketAddr;

impl Endpoint {
    /// The address that a peer reaches us at: SDP towards it should name the same host. `None` without a socket of the
    /// target's transport.
    #[must_use]
    pub fn advertised_towards(&self, target: Target) -> Option<SocketAddr> {
        self.path_to(target.transport, target.remote).map(|path| path.advertised)
    }

    /// Where a leg's requests go at the moment: after a failover another of its targets. `None` for a leg that is gone.
    #[must_use]
    pub fn peer_address(&self, leg: LegId) -> Option<SocketAddr> {
        self.legs.get(&leg).map(|leg| leg.dialog.path.remote)
    }
}
