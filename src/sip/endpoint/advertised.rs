//! What an application may ask about our own addresses.

use super::Endpoint;
use crate::sip::Target;
use std::net::SocketAddr;

impl Endpoint {
    /// The address that a peer reaches us at: SDP towards it should name the same host. `None` without a socket of the
    /// target's transport.
    #[must_use]
    pub fn advertised_towards(&self, target: Target) -> Option<SocketAddr> {
        self.path_to(target.transport, target.remote).map(|path| path.advertised)
    }
}
