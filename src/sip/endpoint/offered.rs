//! A call that is offered to us: whether its INVITE can be served, and what the application learns about it.

use super::Endpoint;
use super::leg::{Leg, LegTimer, Phase, Purpose};
use super::transactions::Owner;
use crate::base::Pii;
use crate::sip::config::DialogPolicy;
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{Event, Header, IncomingCall, LegId, Party, Peer};
use crate::sip::header::{HeaderName, NameAddr};
use crate::sip::message::unfolded;
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
        match self.incoming_call(now, request, head, key, path, peer, policy) {
            Ok(call) => self.events.push_back(Event::IncomingCall(call)),
            Err(status) => self.answer_stateless(request, path, status, &[]),
        }
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
            sdp: (!request.body().is_empty()).then(|| request.body().to_vec()),
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
        let mut leg = Leg::new(id, Phase::Ringing, dialog, path.remote);
        if let Peer::Registration(id) = &peer {
            leg.identity = self.registrations.get(id).and_then(|r| self.pinned.identity_of(r));
        }
        leg.peer = Some(peer);
        leg.policy = policy;
        leg.invite = Some(transaction);
        leg.invite_cseq = head.cseq.number;
        leg.has_offer = call.sdp.is_some();
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

/// The required extensions that we do not have, as the Unsupported header lists them.
pub(super) fn unsupported_extensions(request: &Message<'_>, _policy: &DialogPolicy) -> Option<String> {
    let tags: Vec<&str> = request.tokens(HeaderName::Require).collect();
    (!tags.is_empty()).then(|| tags.join(", "))
}

/// A status with the header fields that belong to it.
pub(super) type Refusal = (StatusCode, &'static [(HeaderName, &'static str)]);

/// Whether we can read the body of an INVITE or UPDATE; otherwise what to answer.
pub(super) fn acceptable_body(request: &Message<'_>) -> Result<(), Refusal> {
    const ACCEPT: &[(HeaderName, &str)] = &[(HeaderName::Accept, "application/sdp")];
    const PLAIN: &[(HeaderName, &str)] = &[(HeaderName::AcceptEncoding, "identity")];
    if request.body().is_empty() {
        return Ok(());
    }
    let is_sdp = request.content_type().ok().flatten().is_some_and(|t| t.is("application", "sdp"));
    let is_encoded = request.tokens(HeaderName::ContentEncoding).any(|t| !t.eq_ignore_ascii_case("identity"));
    match (is_sdp, is_encoded) {
        (true, false) => Ok(()),
        (true, true) => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, PLAIN)),
        (false, _) => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT)),
    }
}
