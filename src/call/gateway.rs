//! A way out: how calls are placed through an extension or trunk.

use super::PeerTerms;
use crate::base::Pii;
use crate::net::Destination;
use crate::sip::{Account, Transport, Uri};
use std::net::SocketAddr;

/// Whom a call of ours says it is from.
#[derive(Clone, Debug, Default)]
pub struct CallerIdentity {
    /// User part of From; `None` takes the gateway's own user.
    pub number: Option<Pii<String>>,
    /// Display name.
    pub name: Option<Pii<String>>,
    /// `Privacy: id` and an anonymous From (RFC 3323, RFC 3325); the number then travels in P-Asserted-Identity only.
    pub is_private: bool,
    /// Send P-Asserted-Identity (RFC 3325). Only towards peers that are to trust us with it.
    pub assert: bool,
    /// Whom the call was for before it was diverted to us: Diversion (RFC 5806).
    pub diverted_from: Option<Pii<String>>,
}

/// An extension or trunk as a way out.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Name of the extension or trunk.
    pub peer: String,
    /// `sip:host[:port][;transport=…]`: numbers become its user part.
    pub domain: Uri,
    /// User part of From and P-Asserted-Identity: the extension, or the trunk's main number.
    pub user: String,
    /// Where its INVITEs go, best first: registrar, trunk hosts, or the outbound proxy.
    pub destinations: Vec<Destination>,
    /// Preloaded Route: the outbound proxy, if there is one.
    pub route: Vec<Uri>,
    /// Answers to its challenges.
    pub account: Option<Account>,
    /// User part of our Contact, for extensions the registered one.
    pub contact_user: Option<String>,
    /// Whom calls say they are from, unless the call itself says otherwise.
    pub identity: CallerIdentity,
    /// Header fields of every INVITE, by name and value.
    pub headers: Vec<(String, String)>,
    /// Beginnings of numbers that may be dialled, in digits with `+` where the peer wants it. Empty: none but the
    /// destinations of agent files and what the operator types.
    pub allowed_prefixes: Vec<String>,
    /// The peer's ways.
    pub terms: PeerTerms,
}

impl Gateway {
    /// The way back to a peer that no gateway is configured for: to where its call came from, without account.
    #[must_use]
    pub fn back_to(peer: &str, transport: Transport, source: SocketAddr, user: &str, terms: PeerTerms) -> Self {
        let destination = Destination {
            host: source.ip().to_string(),
            port: Some(source.port()),
            transport: Some(transport),
            tls: None,
        };
        Self {
            peer: peer.to_owned(),
            domain: Uri::sip_address(source),
            user: user.to_owned(),
            destinations: vec![destination],
            route: Vec::new(),
            account: None,
            contact_user: None,
            identity: CallerIdentity::default(),
            headers: Vec::new(),
            allowed_prefixes: Vec::new(),
            terms,
        }
    }

    /// An address of ours there. RFC 3261 §19.1.1 allows no `transport` in From, so only user, host and port remain.
    #[must_use]
    pub fn own_address(&self, user: &str) -> Uri {
        let view = self.domain.view();
        let host = view.host().map(|host| host.to_string()).unwrap_or_default();
        Uri::sip(&host, view.port()).unwrap_or_else(|_| self.domain.clone()).with_user(user)
    }

    /// The hosts that mean this gateway in a peer's REFER: its domain and where its INVITEs go.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let domain = self.domain.view().host().map(|host| host.to_string());
        domain.into_iter().chain(self.destinations.iter().map(|destination| destination.host.clone())).collect()
    }
}
