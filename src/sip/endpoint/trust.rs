//! Who may talk to us, and whom a call is attributed to: addresses and registrations, never a header's claim.

use super::Endpoint;
use crate::sip::admission::{Admit, Standing};
use crate::sip::config::{CallLimits, DialogPolicy, KnownPeer, LocalAddress, Transport};
use crate::sip::dialog::Path;
use crate::sip::event::Peer;
use crate::sip::registration::Registration;
use crate::sip::uri::unescaped;
use crate::sip::{HeaderName, Message, Method};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::leg::Leg;

/// Whom a request outside a dialog comes from.
#[derive(Debug)]
pub(super) enum Attribution {
    /// This peer, with what its calls may do and how many it may have.
    Peer(Peer, DialogPolicy, CallLimits),
    /// Somebody who has to show credentials first, in this realm.
    Challenge {
        realm: String,
        /// The credentials it showed were right, but over a nonce that is worth nothing any more.
        stale: bool,
    },
    /// A registrar, for a user that is none of ours.
    NotFound,
    /// Nobody whose requests we serve.
    Nobody,
}

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

    /// What is known of the source of a datagram.
    pub(super) fn standing(&mut self, now: Instant, source: IpAddr, transport: Transport) -> Standing {
        let mut has_credentials = false;
        for peer in self.config.known_peers.iter().filter(|peer| peer.is_at(source, transport)) {
            if peer.authentication.is_none() {
                return Standing::Known;
            }
            has_credentials = true;
        }
        if self.trust.holds(source) {
            Standing::InTouch
        } else if !has_credentials {
            Standing::Stranger
        } else if self.admission.is_proven(now, source) {
            Standing::Proven
        } else {
            Standing::Unproven
        }
    }

    /// Whether a datagram is read, and on what footing. Everybody else gets no answer (security class 9).
    pub(super) fn admit(&mut self, now: Instant, source: IpAddr, transport: Transport) -> Option<Standing> {
        let standing = self.standing(now, source, transport);
        let counter = match (standing, self.admission.admit(now, source, standing)) {
            (_, Admit::Yes) => return Some(standing),
            (Standing::Stranger, _) => &mut self.counters.unheard,
            (_, Admit::Banned) => &mut self.counters.banned,
            (_, Admit::Throttled) => &mut self.counters.throttled,
        };
        *counter = counter.saturating_add(1);
        None
    }

    /// The known peer whose narrowest network holds this address.
    pub(super) fn known_peer(&self, source: IpAddr) -> Option<&KnownPeer> {
        narrowest(self.config.known_peers.iter(), source)
    }

    /// Whom a request outside a dialog is attributed to, and what its calls may do. In this order: a registration whose
    /// registrar sent it (by Request-URI user, then by address of record); the peer whose credentials it shows; the peer
    /// of its source. Never by From.
    pub(super) fn attribute(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        path: Path,
        standing: Standing,
    ) -> Attribution {
        let source = path.remote.ip();
        let registered =
            |r: &Registration| Attribution::Peer(Peer::Registration(r.id()), r.config().dialog, CallLimits::default());
        let user = request.request_uri().ok().and_then(|uri| uri.user().map(unescaped));
        if let Some(registration) = user.as_deref().and_then(|user| self.registration_called(user, source)) {
            return registered(registration);
        }
        let fitting = || self.config.known_peers.iter().filter(|peer| peer.is_at(source, path.transport));
        let served = |peer: &KnownPeer| Attribution::Peer(Peer::Known(peer.name.clone()), peer.dialog, peer.limits);
        let is_call = request.method() == Some(&Method::Invite);
        let has_credentials = fitting().any(|peer| peer.authentication.is_some());
        // What costs nobody anything is not worth a challenge to someone who has passed one, or who is in a call.
        let is_trifle = !is_call && standing > Standing::Unproven;
        let otherwise = narrowest(fitting().filter(|peer| peer.authentication.is_none() || is_trifle), source)
            .map(served)
            .or_else(|| self.attribute_to_registrar(source, is_call));
        if has_credentials && (otherwise.is_none() || request.value(HeaderName::Authorization).is_some()) {
            let authenticated = self.authenticate(now, request, path);
            return match (authenticated, otherwise) {
                (by_password @ Attribution::Peer(..), _) | (by_password, None) => by_password,
                (_, Some(otherwise)) => otherwise,
            };
        }
        otherwise.unwrap_or(Attribution::Nobody)
    }

    /// A registrar that names none of the users registered there: unambiguous while there is one registration. A call is
    /// for nobody then; anything else asks whether we are there.
    fn attribute_to_registrar(&self, source: IpAddr, is_call: bool) -> Option<Attribution> {
        let there = || self.registrations.values().filter(|r| r.has_address(source));
        let first = there().min_by_key(|r| r.id())?;
        if is_call && there().nth(1).is_some() {
            return Some(Attribution::NotFound);
        }
        Some(Attribution::Peer(Peer::Registration(first.id()), first.config().dialog, CallLimits::default()))
    }

    /// The registration at this registrar that a Request-URI with this user is for.
    fn registration_called(&self, user: &str, source: IpAddr) -> Option<&Registration> {
        let there = || self.registrations.values().filter(|r| r.has_address(source));
        there().find(|r| r.config().contact_user == user).or_else(|| {
            there().find(|r| r.config().aor.view().user().is_some_and(|u| u == user || unescaped(u) == user))
        })
    }

    /// Whether `source` is the peer that lives at `home`: the same address, or another one of the same registrar or of
    /// the same peer that is known by its addresses. A peer known by its password may be anywhere, so there its address
    /// says nothing.
    pub(super) fn is_same_peer(&self, home: SocketAddr, source: IpAddr) -> bool {
        let (home, source) = (home.ip().to_canonical(), source.to_canonical());
        if home == source {
            return true;
        }
        let by_address = || self.config.known_peers.iter().filter(|peer| peer.authentication.is_none());
        let name = |address| narrowest(by_address(), address).map(|peer| &peer.name);
        (name(home).is_some() && name(home) == name(source))
            || self.registrations.values().any(|r| r.has_address(home) && r.has_address(source))
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

impl KnownPeer {
    /// Whether it may send from this address by this transport.
    pub(super) fn is_at(&self, source: IpAddr, transport: Transport) -> bool {
        let source = source.to_canonical();
        (self.transports.is_empty() || self.transports.contains(&transport))
            && self.networks.iter().any(|net| net.contains(&source))
    }
}

/// Of these peers the one whose narrowest network holds the address; of equals the first.
fn narrowest<'a>(peers: impl Iterator<Item = &'a KnownPeer>, source: IpAddr) -> Option<&'a KnownPeer> {
    let source = source.to_canonical();
    let width = |peer: &KnownPeer| {
        peer.networks.iter().filter(|net| net.contains(&source)).map(|net| 129 - u16::from(net.prefix_len())).min()
    };
    peers.filter_map(|peer| Some((width(peer)?, peer))).min_by_key(|(width, _)| *width).map(|(_, peer)| peer)
}
