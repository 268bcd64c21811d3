//! Requests too large for a datagram go by TCP, and come back to UDP where there is none (RFC 3261 §18.1.1).

use super::Endpoint;
use super::transactions::{Owner, TransactionId};
use crate::sip::Request;
use crate::sip::config::Transport;
use crate::sip::dialog::Path;
use crate::sip::header::HeaderName;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Largest request sent by UDP while the path's MTU is unknown: larger ones are cut into fragments, which many NATs and
/// firewalls drop.
pub(super) const DATAGRAM_REQUEST_BYTES: usize = 1_300;

/// What our Via adds to a request at most: transport, a bracketed IPv6 address with port, branch.
const VIA_BYTES: usize = 110;

/// How long a host that took no TCP is spared further tries: where a firewall swallows them, each costs a call five
/// seconds.
const TCP_REST: Duration = Duration::from_secs(3_600);

/// Hosts without TCP that are remembered. They are peers that we call, so this only bounds a mistake.
pub(super) const WITHOUT_TCP: usize = 1_024;

impl Endpoint {
    /// The way a request takes: by TCP instead of UDP when it is too large and both sides have TCP, as far as we know.
    pub(super) fn path_by_size(&mut self, now: Instant, request: &Request, path: Path) -> Path {
        if path.transport != Transport::Udp || size(request) <= DATAGRAM_REQUEST_BYTES {
            return path;
        }
        let host = path.remote.ip().to_canonical();
        let has_none = self.without_tcp.get_mut(&host).is_some_and(|until| *until > now);
        if has_none || !self.may_use_tcp(host) {
            return path;
        }
        self.path_to(Transport::Tcp, path.remote).unwrap_or(path)
    }

    /// Whether the settings leave TCP to this host.
    fn may_use_tcp(&self, host: IpAddr) -> bool {
        self.known_peer(host).is_none_or(|peer| peer.transports.is_empty() || peer.transports.contains(&Transport::Tcp))
    }

    /// A request that went by TCP for its size alone could not be sent: it goes by UDP after all. False when that is not
    /// what happened.
    pub(super) fn fall_back_to_udp(&mut self, now: Instant, id: TransactionId, owner: Owner) -> bool {
        let Some(client) = self.transactions.get(id).and_then(|t| t.client()) else { return false };
        let Some(path) = client.by_udp else { return false };
        let mut request = client.request.clone();
        let (identity, nonces) = (client.identity.clone(), client.nonces.clone());
        let (realm, template) = (client.realm.clone(), client.template.clone());
        request.headers.remove(HeaderName::Via);
        let host = path.remote.ip().to_canonical();
        if let Some(until) = self.without_tcp.entry(now, host, || now, |_| false) {
            *until = now + TCP_REST;
        }
        let Ok(again) = self.start_client(now, request, path, owner, identity) else { return false };
        self.with_client(again, |client| {
            (client.nonces, client.realm, client.template) = (nonces, realm, template);
        });
        self.set_owner(id, Owner::Nobody);
        match owner {
            Owner::Registration(registration) => self.replace_register(registration, again),
            _ => self.replace_transaction(owner, id, again),
        }
        true
    }
}

/// The bytes of a request with its Via.
fn size(request: &Request) -> usize {
    let fields = request.headers.iter().map(|(name, value)| name.len().saturating_add(value.as_bytes().len()));
    // Each field has ": " and a line break, and so have the start line and Content-Length with their words.
    let lines = fields.fold(0usize, |sum, field| sum.saturating_add(field).saturating_add(4));
    let start = request.uri.as_str().len().saturating_add(60);
    [lines, start, request.body.len(), VIA_BYTES].into_iter().fold(0, usize::saturating_add)
}
