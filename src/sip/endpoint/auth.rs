//! When a challenge is answered: for our own account, from our own peer, in its pinned realm, twice at most
//! (security class 7, CVE-2021-41158).

use super::Endpoint;
use super::transactions::{Identity, Owner, TransactionId};
use crate::sip::Message;
use crate::sip::config::Account;
use crate::sip::digest::{self, Authority, Challenge};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::registration::Registration;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Challenges answered for one request: the second serves a stale nonce, or a server behind a proxy.
const MAX_ATTEMPTS: usize = 2;

/// Realms remembered; peers come from settings, so this only bounds a mistake.
const MAX_PINNED: usize = 10_000;

/// The credentials that a request of ours carries.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    authority: Authority,
    realm: String,
    is_md5: bool,
}

type Pin = (IpAddr, String, Authority);

/// The realm in which each account had its first success: by peer, user name, and whether a proxy or a server asked.
#[derive(Debug, Default)]
pub(super) struct PinnedRealms(HashMap<Pin, String>);

impl PinnedRealms {
    /// The realm to insist on, if one is configured or pinned.
    fn realm<'a>(&'a self, identity: &'a Identity, authority: Authority) -> Option<&'a str> {
        let account = &identity.account;
        let pinned = || self.0.get(&Self::key(account, identity.peer, authority)).map(String::as_str);
        account.realm.as_deref().or_else(pinned)
    }

    fn pin(&mut self, identity: &Identity, carried: Carried) {
        if identity.account.realm.is_none() && self.0.len() < MAX_PINNED {
            self.0.entry(Self::key(&identity.account, identity.peer, carried.authority)).or_insert(carried.realm);
        }
    }

    fn key(account: &Account, peer: SocketAddr, authority: Authority) -> Pin {
        (peer.ip().to_canonical(), account.credentials.username.expose().clone(), authority)
    }

    /// Who answers challenges within calls that come from a registrar: the registration's account, once its realm is known.
    pub(super) fn identity_of(&self, registration: &Registration) -> Option<Identity> {
        let identity = Identity { account: registration.config().account.clone(), peer: registration.remote() };
        let is_known = |authority| self.realm(&identity, authority).is_some();
        (is_known(Authority::Server) || is_known(Authority::Proxy)).then_some(identity)
    }
}

impl Endpoint {
    /// Repeats a challenged request with credentials, in a new transaction with the next CSeq number. `None` when the
    /// challenge deserves no answer; the response then stands.
    pub(super) fn answer_challenge(
        &mut self,
        now: Instant,
        id: TransactionId,
        owner: Owner,
        response: &Message<'_>,
        source: SocketAddr,
    ) -> Option<TransactionId> {
        let again = self.answer_worthy_challenge(now, id, owner, response, source);
        if again.is_none() {
            self.counters.unanswered_challenges = self.counters.unanswered_challenges.saturating_add(1);
        }
        again
    }

    fn answer_worthy_challenge(
        &mut self,
        now: Instant,
        id: TransactionId,
        owner: Owner,
        response: &Message<'_>,
        source: SocketAddr,
    ) -> Option<TransactionId> {
        let transaction = self.transactions.get(id)?;
        let (client, path) = (transaction.client()?, transaction.path());
        let identity = client.identity.clone()?;
        if !self.is_same_peer(identity.peer, source.ip()) || !self.is_same_peer(identity.peer, path.remote.ip()) {
            return None;
        }
        let authority = Authority::of(response.status()?)?;
        let (_, challenge) = match self.pinned.realm(&identity, authority) {
            Some(realm) => Challenge::strongest_in_realm(response, realm),
            None => Challenge::strongest(response),
        }?;
        let is_used = client.nonces.iter().any(|n| **n == *challenge.nonce);
        if is_used || client.nonces.len() >= MAX_ATTEMPTS {
            return None;
        }
        let carried = client.realm.clone();
        // Who asks for a weaker hash the second time is not who asked the first time.
        let asked_better = |carried: &Carried| carried.authority == authority && !carried.is_md5;
        if challenge.algorithm.is_md5() && carried.as_ref().is_some_and(asked_better) {
            return None;
        }
        let mut nonces = client.nonces.clone();
        nonces.push(challenge.nonce.as_str().into());
        let template = client.template.clone();
        let mut request = client.request.clone();
        let number = match owner {
            Owner::Leg(leg, _) => self.legs.get_mut(&leg).map(|leg| {
                leg.dialog.local_cseq = leg.dialog.local_cseq.saturating_add(1);
                leg.dialog.local_cseq
            }),
            Owner::Registration(registration) => self.registrations.get_mut(&registration).map(Registration::next_cseq),
            Owner::Nobody | Owner::Probe(_) => None,
        };
        let number = number.or_else(|| Some(response.cseq().ok()?.number.saturating_add(1)))?;
        let cnonce = self.random.hex(32);
        let credentials = &identity.account.credentials;
        let value =
            digest::answer(&challenge, credentials, &request.method, request.uri.as_str(), &request.body, 1, &cnonce);
        request.headers.remove(HeaderName::Via);
        request.headers.set(HeaderName::CSeq, HeaderValue::cleaned(&format!("{number} {}", request.method)));
        request.headers.set(authority.credentials_header(), value);
        // A server that asks behind a proxy means that the proxy is content.
        if let Some(passed) = carried.filter(|carried| carried.authority != authority) {
            self.pinned.pin(&identity, passed);
        }
        let again = self.start_client(now, request, path, owner, Some(identity)).ok()?;
        let carried = Carried { authority, realm: challenge.realm.clone(), is_md5: challenge.algorithm.is_md5() };
        self.with_client(again, |client| {
            client.nonces = nonces;
            client.template = template.map(|mut template| {
                template.local_cseq = number;
                template
            });
            client.realm = Some(carried);
        });
        if let Owner::Registration(id) = owner {
            self.replace_register(id, again);
            if let Some(registration) = self.registrations.get_mut(&id) {
                registration.note_challenge(authority, challenge);
            }
        }
        Some(again)
    }

    /// A request with credentials was taken: its realm is the account's from here on.
    pub(super) fn pin_realm(&mut self, id: TransactionId) {
        let Some(client) = self.transactions.get(id).and_then(|t| t.client()) else { return };
        if let (Some(identity), Some(carried)) = (client.identity.clone(), client.realm.clone()) {
            self.pinned.pin(&identity, carried);
        }
    }
}
