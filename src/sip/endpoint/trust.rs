//! Who may talk to us, and whom a call is attributed to: addresses and registrations, never a header's claim.

use super::Endpoint;
use crate::sip::config::{DialogPolicy, KnownPeer, LocalAddress, Transport};
use crate::sip::dialog::Path;
use crate::sip::event::Peer;
use crate::sip::{Message, UriRef};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::leg::Leg;

impl Endpoint {
    /// Replaces our sockets and their advertised addresses: after STUN, or when the network changed. Requests from here
    /// on name the new addresses; registrations whose way is another one register again with the changed Contact. A
    /// dialog keeps its Contact until a re-INVITE or UPDATE of ours carries another.
    pub fn set_local_addresses(&mut self, now: Instant, local: Vec<LocalAddress>) {
        self.config.local = local;
        self.refresh_registration_paths(now);
    }

    /// Replaces the known peers: fresh DNS answers, or changed settings. Calls in progress go on, and count for the peer
    /// of the same name.
    pub fn set_known_peers(&mut self, peers: Vec<KnownPeer>) {
        self.call_rates.retain(&peers);
        self.config.known_peers = peers;
    }

    /// Whether a datagram from this address is read at all: it belongs to a known peer, to a registrar of ours, or to the
    /// other end of a dialog or transaction. Everybody else gets no answer (security class 9).
    pub(super) fn is_heard(&self, source: IpAddr) -> bool {
        self.trust.holds(source) || self.known_peer(source).is_some()
    }

    /// The known peer with this source address.
    pub(super) fn known_peer(&self, source: IpAddr) -> Option<&KnownPeer> {
        let source = source.to_canonical();
        self.config.known_peers.iter().find(|peer| peer.networks.iter().any(|net| net.contains(&source)))
    }

    /// Whom a request outside a dialog is attributed to, and what its calls may do: a registration whose registrar
    /// sent it (by Request-URI user, then by address of record), else the known peer of its source. Never by From.
    pub(super) fn attribute(&self, request: &Message<'_>, source: SocketAddr) -> Option<(Peer, DialogPolicy)> {
        let uri = request.request_uri().ok()?;
        let from_registrar = || self.registrations.values().filter(|r| self.is_same_peer(r.remote(), source.ip()));
        let registration = from_registrar()
            .find(|r| has_user(&uri, &r.config().contact_user))
            .or_else(|| from_registrar().find(|r| r.config().aor.view().user().is_some_and(|u| has_user(&uri, u))));
        if let Some(registration) = registration {
            return Some((Peer::Registration(registration.id()), registration.config().dialog));
        }
        if let Some(peer) = self.known_peer(source.ip()) {
            return Some((Peer::Known(peer.name.clone()), peer.dialog));
        }
        // A registrar that calls by another user: unambiguous only while there is one registration there.
        let mut there = from_registrar();
        let only = there.next().filter(|_| there.next().is_none())?;
        Some((Peer::Registration(only.id()), only.config().dialog))
    }

    /// Whether `source` is the peer that lives at `home`: the same address, or another one of the same known peer.
    pub(super) fn is_same_peer(&self, home: SocketAddr, source: IpAddr) -> bool {
        let (home, source) = (home.ip().to_canonical(), source.to_canonical());
        if home == source {
            return true;
        }
        let name = |address| self.known_peer(address).map(|p| &p.name);
        name(home).is_some() && name(home) == name(source)
    }

    /// Whether a request within the leg's dialog may come from `source` (security class 15).
    pub(super) fn may_speak_for(&self, leg: &Leg, source: IpAddr) -> bool {
        self.is_same_peer(leg.home, source) || self.is_same_peer(leg.dialog.path.remote, source)
    }

    /// The local address to use towards `remote`; `socket` restricts it to one of our sockets.
    fn local_address(&self, transport: Transport, remote: IpAddr, socket: Option<SocketAddr>) -> Option<&LocalAddress> {
        let remote = remote.to_canonical();
        let fits = |address: &&LocalAddress| {
            address.transport == transport && socket.is_none_or(|socket| socket == address.socket)
        };
        let same_family = |address: &&LocalAddress| address.advertised.is_ipv4() == remote.is_ipv4();
        let all = || self.config.local.iter().filter(fits);
        all()
            .find(|address| address.for_peers.iter().any(|net| net.contains(&remote)))
            .or_else(|| all().filter(same_family).find(|address| address.for_peers.is_empty()))
            .or_else(|| all().find(same_family))
            .or_else(|| all().next())
    }

    /// The way to `remote` from the local address that fits it.
    pub(super) fn path_to(&self, transport: Transport, remote: SocketAddr) -> Option<Path> {
        let local = self.local_address(transport, remote.ip(), None)?;
        Some(Path { transport, local: local.socket, advertised: local.advertised, remote })
    }

    /// The way back to where a datagram came from, out of the socket it came in by.
    pub(super) fn path_back(&self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Path {
        let advertised = self.local_address(transport, remote.ip(), Some(local)).map_or(local, |l| l.advertised);
        Path { transport, local, advertised, remote }
    }
}

fn has_user(uri: &UriRef<'_>, user: &str) -> bool {
    uri.user().map(crate::sip::uri::unescaped).is_some_and(|u| u == crate::sip::uri::unescaped(user))
}
