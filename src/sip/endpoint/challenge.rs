//! Peers that are known by their password: challenged with 401, without keeping anything for those who do not have it
//! (RFC 3261 §22.2, RFC 8760; security classes 9 and 11).

use super::Endpoint;
use super::trust::Attribution;
use crate::sip::admission::{Standing, Strike};
use crate::sip::config::{InboundAuthentication, KnownPeer};
use crate::sip::dialog::Path;
use crate::sip::digest::{Algorithm, Authority, Authorization, Challenge, Expected, Refusal};
use crate::sip::event::Peer;
use crate::sip::{Message, Method, Response, StatusCode};
use std::net::IpAddr;
use std::time::Instant;

/// What we ask for, strongest first. MD5 is for the many that have nothing else.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

/// Who sent a datagram, and how much of it there was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) standing: Standing,
    /// Bytes received: what an answer to the unproven must not exceed.
    pub(super) bytes: usize,
}

impl Sender {
    /// Whether an answer may be longer than the request: the address is not forged, as far as one can tell.
    fn may_get_more(self, path: Path) -> bool {
        self.standing > Standing::Unproven || path.transport.is_reliable()
    }
}

impl Endpoint {
    /// Judges a request of a source that peers with credentials may use. The one whose user name and password it shows
    /// is who sent it.
    pub(super) fn authenticate(&mut self, now: Instant, request: &Message<'_>, path: Path) -> Attribution {
        let source = path.remote.ip();
        let fitting = |peer: &&KnownPeer| peer.authentication.is_some() && peer.is_at(source, path.transport);
        let candidates: Vec<(&KnownPeer, &InboundAuthentication)> = self
            .config
            .known_peers
            .iter()
            .filter(fitting)
            .filter_map(|peer| Some((peer, peer.authentication.as_ref()?)))
            .collect();
        let Some((_, first)) = candidates.first() else { return Attribution::Nobody };
        let again = |stale| Attribution::Challenge { realm: first.realm.clone(), stale };
        let shown = |(_, ours): &(&KnownPeer, &InboundAuthentication)| {
            Authorization::of_request(request, Authority::Server, &ours.realm)
        };
        let Some(authorization) = candidates.iter().find_map(shown) else { return again(false) };
        let claimed = candidates.iter().find(|(_, ours)| ours.credentials.username == authorization.username);
        let expected = Expected {
            realm: &authorization.realm,
            source,
            algorithms: &ALGORITHMS,
            credentials: claimed.map(|(_, ours)| &ours.credentials),
        };
        let verdict = authorization.verify(&mut self.nonces, now, &expected, request);
        match (verdict, claimed) {
            (Ok(()), Some((peer, _))) => {
                let attribution = Attribution::Peer(Peer::Known(peer.name.clone()), peer.dialog, peer.limits);
                self.admission.prove(now, source);
                attribution
            }
            (Err(Refusal::Stale | Refusal::Replayed), _) => again(true),
            (Ok(()) | Err(_), _) => {
                let again = again(false);
                let is_own = authorization.has_nonce_of(&self.nonces, now, source);
                self.counters.unauthenticated = self.counters.unauthenticated.saturating_add(1);
                self.strike(now, source, if is_own { Strike::Shown } else { Strike::Claimed });
                again
            }
        }
    }

    /// Asks for credentials and forgets the request. Whoever has not shown any before gets no more bytes than it sent:
    /// one algorithm if need be, which must be the one that everybody has, or nothing. An OPTIONS is always too short,
    /// and a PBX that hears nothing takes us for dead and sends no call either, so it gets a bare 403.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        path: Path,
        sender: Sender,
        realm: &str,
        stale: bool,
    ) {
        let tag = self.stateless_tag(request);
        let offers = Challenge::offer(&mut self.nonces, now, realm, path.remote.ip(), &ALGORITHMS, stale);
        let refusal = |status| Response::to_request(request, status, path.remote, Some(&tag));
        let asking = |offers: &[Challenge]| {
            let mut response = refusal(StatusCode::UNAUTHORIZED);
            for offer in offers {
                response.headers.push(Authority::Server.challenge_header(), offer.to_header());
            }
            response.write()
        };
        let mut bytes = asking(&offers);
        let fits = |bytes: &[u8]| bytes.len() <= sender.bytes || sender.may_get_more(path);
        if !fits(&bytes) {
            let unnamed: Vec<Challenge> = offers.iter().take(1).map(Challenge::in_md5_unnamed).collect();
            bytes = asking(&unnamed);
        }
        if !fits(&bytes) && request.method() == Some(&Method::Options) {
            bytes = refusal(StatusCode::FORBIDDEN).write();
        }
        if fits(&bytes) {
            self.counters.challenged = self.counters.challenged.saturating_add(1);
            self.transmit_stateless(request, path, bytes);
        }
    }

    /// Counts what an honest peer does not do.
    pub(super) fn strike(&mut self, now: Instant, source: IpAddr, strike: Strike) {
        if self.admission.strike(now, source, strike) {
            self.counters.bans = self.counters.bans.saturating_add(1);
            tracing::warn!(%source, "a source was banned for ten minutes: scanning, or a wrong password");
        }
    }
}
