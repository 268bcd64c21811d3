//! A call that is offered to us: whether its INVITE can be served, and what the application learns about it.

use super::Endpoint;
use super::leg::{Leg, LegTimer, Phase, Purpose};
use super::transactions::Owner;
use crate::base::Pii;
use crate::sip::config::{DialogPolicy, ReliableProvisional};
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{Event, Header, IncomingCall, LegId, Party, Peer};
use crate::sip::header::{HeaderName, NameAddr};
use crate::sip::message::unfolded;
use crate::sip::multipart::{Body, body, session_description};
use crate::sip::reliable::Sender;
use crate::sip::replaces::{Named, judge};
use crate::sip::session_timer::{Asked, Session};
use crate::sip::transaction::Key;
use crate::sip::validate::Head;
use crate::sip::{Message, Response, StatusCode};
use std::time::Instant;

/// Methods we serve.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, REFER, UPDATE, PRACK";

impl Endpoint {
    /// An INVITE outside a dialog, from a peer that may call us.
    #[expect(clippy::too_many_arguments, reason = "the request, its head and key, and who sent it")]
    pub(super) fn handle_invite(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
        peer: Peer,
        policy: DialogPolicy,
    ) {
        if self.draining || self.leg_count() >= self.config.max_legs {
            return self.answer_unavailable(request, path);
        }
        if let Err((status, headers)) = acceptable_body(request) {
            return self.answer_request(now, request, key, path, status, headers);
        }
        if policy.reliable_provisional == ReliableProvisional::Required && !wants_reliable(request).0 {
            let headers = [(HeaderName::Require, "100rel")];
            return self.answer_request(now, request, key, path, StatusCode::EXTENSION_REQUIRED, &headers);
        }
        if let Some(min_se) = Session::new(policy.session_timer).refuses(&Asked::of(request)) {
            let headers = [(HeaderName::MinSe, &*min_se.to_string())];
            return self.answer_request(now, request, key, path, StatusCode::SESSION_INTERVAL_TOO_SMALL, &headers);
        }
        let replaces = match self.replaced_leg(request, path, &peer, &policy) {
            Ok(replaces) => replaces,
            Err(status) => return self.answer_request(now, request, key, path, status, &[]),
        };
        match self.incoming_call(now, request, head, key, path, peer, policy) {
            Ok(mut call) => {
                call.replaces = replaces;
                self.events.push_back(Event::IncomingCall(call));
            }
            Err(status) => self.answer_stateless(request, path, status, &[]),
        }
    }

    /// The leg that an INVITE wants to take over (RFC 3891 §3). Only one of the same peer: whoever learns the names of
    /// another's call must not get it.
    fn replaced_leg(
        &self,
        request: &Message<'_>,
        path: Path,
        peer: &Peer,
        policy: &DialogPolicy,
    ) -> Result<Option<LegId>, StatusCode> {
        let Some(replaces) = request.replaces().map_err(|fault| fault.status)? else { return Ok(None) };
        if request.values_spelled("Join").next().is_some() {
            return Err(StatusCode::BAD_REQUEST);
        }
        if !policy.accept_replaces {
            return Err(StatusCode::DECLINE);
        }
        let found = self.by_tag.get(replaces.to_tag).and_then(|id| self.legs.get(id)).filter(|leg| {
            let is_of_peer = leg.peer.as_ref() == Some(peer) || self.is_same_peer(leg.home, path.remote.ip());
            is_of_peer && *leg.dialog.call_id == *replaces.call_id
        });
        let has_tag = |tag: &str| *tag == *replaces.from_tag || (tag.is_empty() && replaces.from_tag == "0");
        let named = found.map_or(Named::Unknown, |leg| match leg.phase {
            Phase::Calling if leg.early.iter().any(|early| has_tag(&early.dialog.remote_tag)) => Named::Outgoing,
            Phase::Calling => Named::Unknown,
            _ if !has_tag(&leg.dialog.remote_tag) => Named::Unknown,
            Phase::Ringing => Named::Incoming,
            Phase::Answered | Phase::Confirmed => Named::Confirmed,
            Phase::Over => Named::Over,
        });
        judge(named, replaces.early_only)?;
        Ok(found.map(|leg| leg.id))
    }

    #[expect(clippy::too_many_arguments, reason = "the request, its head and key, and who sent it")]
    fn incoming_call(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
        peer: Peer,
        policy: DialogPolicy,
    ) -> Result<Box<IncomingCall>, StatusCode> {
        let tag = self.random.hex(16);
        let id = LegId(self.next_id());
        let call = IncomingCall {
            leg: id,
            peer: peer.clone(),
            source: path.remote,
            transport: path.transport,
            local: path.advertised,
            replaces: None,
            call_id: Pii::new(head.call_id.to_owned()),
            from: Pii::new(party(&head.from)?),
            to: Pii::new(party(&head.to)?),
            request_uri: Pii::new(request.request_uri().map_err(|f| f.status)?.to_owned()),
            headers: call_headers(request),
            sdp: session_description(request).map(<[u8]>::to_vec),
        };
        let contact_user = call.request_uri.expose().view().user().map(crate::sip::uri::unescaped);
        let is_registered = |user: &String| self.registrations.values().any(|r| r.config().contact_user == *user);
        let contact_user = contact_user.filter(is_registered).unwrap_or_else(|| self.config.contact_user.clone());
        let contact = self.contact_value(&contact_user, path);
        let dialog = Dialog::from_request(request, &tag, contact, path).map_err(|f| f.status)?;
        let owner = Owner::Leg(id, Purpose::Invite);
        let transaction = self.start_server(request, path, key, owner, &tag).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let trying = Response::to_request(request, StatusCode::TRYING, path.remote, None);
        self.respond(now, transaction, &trying);
        let mut leg = Leg::new(id, Phase::Ringing, dialog, path.remote, policy);
        if let Peer::Registration(id) = &peer {
            leg.identity = self.registrations.get(id).and_then(|r| self.pinned.identity_of(r));
        }
        leg.peer = Some(peer);
        leg.invite = Some(transaction);
        leg.invite_cseq = head.cseq.number;
        leg.has_offer = call.sdp.is_some();
        leg.remote_sdp = call.sdp.clone().unwrap_or_default();
        leg.asked = Asked::of(request);
        leg.note_allow(request);
        let (supports, requires) = wants_reliable(request);
        if requires || (supports && policy.reliable_provisional == ReliableProvisional::Required) {
            leg.provisional = Some(Sender::new(head.cseq.number, self.random.next_u32()));
        }
        leg.timers.set(LegTimer::Ring, now + self.config.ring_timeout);
        self.add_leg(leg);
        Ok(Box::new(call))
    }
}

fn party(address: &NameAddr<'_>) -> Result<Party, StatusCode> {
    let display = Some(address.display_name()).filter(|d| !d.is_empty());
    Ok(Party { display, uri: address.uri().map_err(|f| f.status)?.to_owned() })
}

/// Header fields that say something about the call rather than about its transport.
pub(super) fn call_headers(message: &Message<'_>) -> Vec<Header> {
    let fields = message.fields().iter().filter(|field| {
        !matches!(
            field.name,
            HeaderName::Authorization
                | HeaderName::CallId
                | HeaderName::ContentLength
                | HeaderName::CSeq
                | HeaderName::From
                | HeaderName::MaxForwards
                | HeaderName::ProxyAuthorization
                | HeaderName::RecordRoute
                | HeaderName::Route
                | HeaderName::To
                | HeaderName::Via
        )
    });
    fields
        .map(|field| {
            let name = match field.name {
                HeaderName::Extension => String::from_utf8_lossy(field.spelling).into_owned(),
                known => known.as_str().to_owned(),
            };
            (name, Pii::new(unfolded(field.value)))
        })
        .collect()
}

/// The required extensions that we do not have, as the Unsupported header lists them. An unwanted Replaces is refused
/// by policy and not for its name.
pub(super) fn unsupported_extensions(request: &Message<'_>, policy: &DialogPolicy) -> Option<String> {
    let is_served = |tag: &str| match tag.to_ascii_lowercase().as_str() {
        "100rel" => policy.reliable_provisional != ReliableProvisional::Off,
        "replaces" | "timer" => true,
        _ => false,
    };
    let tags: Vec<&str> = request.tokens(HeaderName::Require).filter(|tag| !is_served(tag)).collect();
    (!tags.is_empty()).then(|| tags.join(", "))
}

/// Whether an INVITE supports reliable provisional responses, and whether it requires them.
fn wants_reliable(invite: &Message<'_>) -> (bool, bool) {
    let requires = invite.has_token(HeaderName::Require, "100rel");
    (requires || invite.has_token(HeaderName::Supported, "100rel"), requires)
}

/// A status with the header fields that belong to it.
pub(super) type Refusal = (StatusCode, &'static [(HeaderName, &'static str)]);

/// Whether we can read the body of an INVITE or UPDATE; otherwise what to answer.
pub(super) fn acceptable_body(request: &Message<'_>) -> Result<(), Refusal> {
    const ACCEPT: &[(HeaderName, &str)] = &[(HeaderName::Accept, "application/sdp, multipart/mixed")];
    const PLAIN: &[(HeaderName, &str)] = &[(HeaderName::AcceptEncoding, "identity")];
    let is_encoded = request.tokens(HeaderName::ContentEncoding).any(|t| !t.eq_ignore_ascii_case("identity"));
    match body(request) {
        Body::Sdp(_) if is_encoded => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, PLAIN)),
        Body::Sdp(_) | Body::Empty => Ok(()),
        Body::Other => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT)),
    }
}
