//! What comes in: strangers dropped, messages judged, requests and responses sent to whom they belong.

use super::challenge::Sender;
use super::leg::{Phase, Purpose};
use super::offered::{ALLOW, unsupported_extensions};
use super::transactions::{MergeKey, Owner, TransactionId, merge_key, reply_address, server_key};
use super::trust::Attribution;
use super::{Endpoint, Received};
use crate::sip::admission::{Standing, Strike};
use crate::sip::config::{CallLimits, DialogPolicy};
use crate::sip::dialog::Path;
use crate::sip::event::{EndCause, Peer};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::message::is_keep_alive;
use crate::sip::registration::{Registration, contact_uri};
use crate::sip::transaction::Key;
use crate::sip::validate::{Head, Verdict, judge};
use crate::sip::{Message, Method, Response, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

impl Endpoint {
    /// Takes a datagram in. Never fails: what cannot be understood is answered or dropped as RFC 3261 says, and a
    /// stranger's datagram is dropped unread.
    pub fn handle_datagram(&mut self, now: Instant, received: Received<'_>) {
        let source = received.remote.ip();
        let Some(standing) = self.admit(now, source, received.transport) else { return };
        if is_keep_alive(received.bytes) {
            return;
        }
        let path = self.path_back(received.transport, received.local, received.remote);
        match judge(received.bytes) {
            Verdict::Accept { message, head } if message.is_request() => {
                let sender = Sender { standing, bytes: received.bytes.len() };
                self.handle_request(now, &message, &head, path, sender);
            }
            Verdict::Accept { message, head } => self.handle_response(now, &message, &head, path),
            Verdict::Reject { request, fault } => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                if standing == Standing::Unproven {
                    return self.strike(now, source, Strike::Claimed);
                }
                tracing::debug!(%fault, "malformed request refused");
                self.answer_stateless(&request, path, fault.status, &[]);
            }
            Verdict::Drop { fault } => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                tracing::debug!(%fault, "malformed message dropped");
                if standing == Standing::Unproven {
                    self.strike(now, source, Strike::Claimed);
                }
            }
        }
    }

    fn handle_response(&mut self, now: Instant, message: &Message<'_>, head: &Head<'_>, path: Path) {
        let Some(branch) = head.via.branch() else { return };
        if let Some(id) = self.transactions.find(&Key::client(branch, head.cseq.method.clone())) {
            self.handle_client_response(now, id, message, path.remote);
        }
    }

    fn handle_request(&mut self, now: Instant, request: &Message<'_>, head: &Head<'_>, path: Path, sender: Sender) {
        let (Some(method), Some(key)) = (request.method(), server_key(request)) else { return };
        if sender.standing == Standing::Unproven {
            return self.handle_unproven(now, request, head, key, path, sender);
        }
        if let Some(id) = self.transactions.find(&key) {
            return self.handle_server_repeat(now, id, *method == Method::Ack);
        }
        match method {
            Method::Ack => return self.handle_ack(now, request, head, path),
            Method::Cancel => return self.handle_cancel(now, request, key, path),
            _ => {}
        }
        if head.to.tag().is_some() {
            return self.handle_in_dialog(now, request, head, key, path);
        }
        if request.max_forwards().ok().flatten() == Some(0) {
            return self.answer_stateless(request, path, StatusCode::TOO_MANY_HOPS, &[]);
        }
        if let Some(merge) = merge_key(request)
            && self.is_merged(&merge)
        {
            return self.answer_stateless(request, path, StatusCode::LOOP_DETECTED, &[]);
        }
        // A peer that is heard only because we called it may answer and hang up, but not call us.
        self.attribute_and_serve(now, request, head, key, path, sender);
    }

    /// A request of somebody who has not shown credentials lately. Nothing is kept for it before it does, and only what
    /// a peer starts with is challenged: an INVITE, and the OPTIONS that asks whether we are there.
    fn handle_unproven(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
        sender: Sender,
    ) {
        match request.method() {
            Some(Method::Invite | Method::Options) if head.to.tag().is_none() => {}
            // Nobody registers with us, so who tries is looking for somebody else.
            Some(Method::Register) => return self.strike(now, path.remote.ip(), Strike::Claimed),
            _ => return,
        }
        self.attribute_and_serve(now, request, head, key, path, sender);
    }

    fn attribute_and_serve(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
        sender: Sender,
    ) {
        match self.attribute(now, request, path, sender.standing) {
            Attribution::Peer(peer, policy, limits) => {
                self.serve(now, request, head, key, path, (peer, policy, limits));
            }
            Attribution::Challenge { realm, stale } => self.challenge(now, request, path, sender, &realm, stale),
            Attribution::NotFound => self.answer_stateless(request, path, StatusCode::NOT_FOUND, &[]),
            Attribution::Nobody => {}
        }
    }

    /// A request outside a dialog of a peer that may make it. Only a call is kept in mind; everything else gets the same
    /// answer to each copy (RFC 3261 §8.2.7), so that a flood of it, or one in a peer's name, leaves nothing behind.
    fn serve(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
        (peer, policy, limits): (Peer, DialogPolicy, CallLimits),
    ) {
        let Some(method) = request.method() else { return };
        if let Some(unsupported) = unsupported_extensions(request, &policy) {
            let headers = [(HeaderName::Unsupported, unsupported.as_str())];
            return self.answer_stateless(request, path, StatusCode::BAD_EXTENSION, &headers);
        }
        if let (Method::Invite, Peer::Known(name)) = (method, &peer)
            && !self.admit_call(now, name, limits)
        {
            return self.answer_unavailable(request, path);
        }
        match method {
            Method::Invite => self.handle_invite(now, request, head, key, path, peer, policy),
            Method::Options if self.draining => self.answer_unavailable(request, path),
            Method::Options => {
                let headers = [(HeaderName::Allow, ALLOW), (HeaderName::Accept, "application/sdp")];
                self.answer_stateless(request, path, StatusCode::OK, &headers);
            }
            Method::Notify if is_unsolicited(request) => self.answer_stateless(request, path, StatusCode::OK, &[]),
            Method::Bye | Method::Info | Method::Notify | Method::Prack | Method::Update => {
                self.answer_stateless(request, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
            }
            // Nobody makes us dial without a call.
            Method::Refer => self.answer_stateless(request, path, StatusCode::DECLINE, &[]),
            Method::Ack
            | Method::Cancel
            | Method::Extension(_)
            | Method::Message
            | Method::Publish
            | Method::Register
            | Method::Subscribe => {
                let headers = [(HeaderName::Allow, ALLOW)];
                self.answer_stateless(request, path, StatusCode::METHOD_NOT_ALLOWED, &headers);
            }
        }
    }

    /// Another copy of the request is being served under another branch (RFC 3261 §8.2.2.2).
    fn is_merged(&self, key: &MergeKey) -> bool {
        self.transactions.find_merged(key).is_some()
    }

    fn handle_cancel(&mut self, now: Instant, cancel: &Message<'_>, key: Key, path: Path) {
        let invite = key.cancelled_invite().and_then(|key| self.transactions.find(&key));
        let owner = invite.and_then(|id| self.transactions.get(id)).map(|t| (t.owner, t.path().remote.ip()));
        let Some((owner, source)) = owner.filter(|(_, source)| *source == path.remote.ip()) else {
            self.counters.spoofed = self.counters.spoofed.saturating_add(u64::from(owner.is_some()));
            return self.answer_stateless(cancel, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        };
        debug_assert_eq!(source, path.remote.ip());
        let tag = match owner {
            Owner::Leg(leg, _) => self.legs.get(&leg).map(|leg| leg.dialog.local_tag.to_string()),
            Owner::Nobody | Owner::Probe(_) | Owner::Registration(_) => None,
        };
        let tag = tag.unwrap_or_else(|| self.random.hex(16));
        if let Some(id) = self.start_server(cancel, path, key, Owner::Nobody, &tag) {
            self.respond_code(now, id, 200);
        }
        match owner {
            Owner::Leg(leg, Purpose::Invite) => {
                if self.legs.get(&leg).is_some_and(|l| l.phase == Phase::Ringing) {
                    if let Some(invite) = invite {
                        self.respond_code(now, invite, 487);
                    }
                    self.end(now, leg, EndCause::Cancelled, cancel.text(HeaderName::Reason));
                }
            }
            Owner::Leg(leg, _) => self.withdraw_their_offer(now, leg, 487),
            Owner::Nobody | Owner::Probe(_) | Owner::Registration(_) => {}
        }
    }

    /// Answers a request in a transaction of its own, so that its repetitions get the same.
    pub(super) fn answer_request(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        key: Key,
        path: Path,
        status: StatusCode,
        headers: &[(HeaderName, &str)],
    ) {
        let tag = self.stateless_tag(request);
        let Some(id) = self.start_server(request, path, key, Owner::Nobody, &tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        self.respond_with(now, id, status, headers);
    }

    /// Answers a server transaction with a status and header fields of ours.
    pub(super) fn respond_with(
        &mut self,
        now: Instant,
        id: TransactionId,
        status: StatusCode,
        headers: &[(HeaderName, &str)],
    ) {
        if let Some(mut response) = self.response(id, status.code()) {
            for (name, value) in headers {
                response.headers.push(*name, HeaderValue::cleaned(value));
            }
            self.respond(now, id, &response);
        }
    }

    /// Answers without keeping anything (RFC 3261 §8.2.7): one response to each copy of the request.
    pub(super) fn answer_stateless(
        &mut self,
        request: &Message<'_>,
        path: Path,
        status: StatusCode,
        headers: &[(HeaderName, &str)],
    ) {
        let tag = self.stateless_tag(request);
        let mut response = Response::to_request(request, status, path.remote, Some(&tag));
        for (name, value) in headers {
            response.headers.push(*name, HeaderValue::cleaned(value));
        }
        self.transmit_stateless(request, path, response.write());
    }

    /// Sends a response to where a request came from. An ACK gets none.
    pub(super) fn transmit_stateless(&mut self, request: &Message<'_>, path: Path, response: Vec<u8>) {
        let Ok(via) = request.via() else { return };
        if request.method() != Some(&Method::Ack) {
            let path = Path { remote: reply_address(&via, path.transport, path.remote), ..path };
            self.transmit(&path, response);
        }
    }

    pub(super) fn answer_unavailable(&mut self, request: &Message<'_>, path: Path) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        let retry_after = self.config.retry_after.as_secs().to_string();
        let headers = [(HeaderName::RetryAfter, retry_after.as_str())];
        self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &headers);
    }

    /// A To tag that is the same for every copy of a request and that nobody else can foretell.
    pub(super) fn stateless_tag(&self, request: &Message<'_>) -> String {
        let mut hasher = DefaultHasher::new();
        self.tag_secret.hash(&mut hasher);
        request.value(HeaderName::CallId).hash(&mut hasher);
        request.value(HeaderName::From).hash(&mut hasher);
        request.value(HeaderName::CSeq).hash(&mut hasher);
        request.via().ok().and_then(|via| via.branch()).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Our Contact with this user on this path: the one that is registered there, if it is, since a registrar behind a
    /// NAT knows our address better.
    pub(super) fn contact_value(&self, user: &str, path: Path) -> HeaderValue {
        let registered = self.registrations.values().find(|registration| {
            registration.config().contact_user == user && registration.has_address(path.remote.ip())
        });
        let uri = registered.map_or_else(|| contact_uri(user, path.advertised, path), Registration::contact_uri);
        HeaderValue::name_addr(None, &uri, &[])
    }
}

/// NOTIFYs that PBXs send without a subscription: waiting messages, keep-alives through NAT, "read your settings".
pub(super) fn is_unsolicited(notify: &Message<'_>) -> bool {
    let event = notify.tagged(HeaderName::Event).ok().flatten();
    event.is_some_and(|e| e.is("message-summary") || e.is("keep-alive") || e.is("check-sync"))
}
