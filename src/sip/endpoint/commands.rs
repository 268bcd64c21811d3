//! What the application tells the endpoint to do.

use super::leg::{Final2xx, InboundRefer, Leg, LegTimer, Offer, Phase, Purpose};
use super::offered::ALLOW;
use super::transactions::{Identity, Owner, TransactionId};
use super::{CommandError, Endpoint};
use crate::sip::config::{OutgoingInvite, OutgoingOptions, Refer, Target};
use crate::sip::dialog::Dialog;
use crate::sip::event::{EndCause, LegId, ProbeId};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::refer::{Transfer, sipfrag};
use crate::sip::timer::{Doubling, T1, T1_64};
use crate::sip::{Headers, Method, Request, Response, StatusCode};
use std::time::Instant;

impl Endpoint {
    /// Places a call. Its course comes as events of the leg; exactly one `Ended` closes it.
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::InvalidHeader`], [`CommandError::NoLocalAddress`],
    /// [`CommandError::NoTarget`], [`CommandError::PeerLimit`].
    pub fn invite(&mut self, now: Instant, call: OutgoingInvite) -> Result<LegId, CommandError> {
        let target = *call.targets.first().ok_or(CommandError::NoTarget)?;
        let path = self.path_to(target.transport, target.remote).ok_or(CommandError::NoLocalAddress)?;
        if self.live_legs >= self.config.max_legs {
            return Err(CommandError::Full);
        }
        self.admit_outgoing_call(now, call.peer.as_deref(), target.remote.ip())?;
        let local_tag = self.random.hex(16);
        let user = call.contact_user.as_deref().unwrap_or(&self.config.contact_user);
        let mut dialog = Dialog {
            call_id: self.random.hex(32).into(),
            local_party: HeaderValue::name_addr(
                call.from.display.as_deref(),
                &call.from.uri,
                &[("tag", Some(&local_tag))],
            ),
            local_tag: local_tag.into(),
            remote_party: HeaderValue::name_addr(None, &call.target.to_request_uri(), &[]),
            remote_tag: "".into(),
            local_cseq: 0,
            remote_cseq: None,
            route_set: call.route,
            remote_target: call.target,
            contact: self.contact_value(user, path),
            path,
            owns_call_id: true,
        };
        let mut request = dialog.request(Method::Invite);
        self.add_capabilities(&mut request.headers);
        if let Some(agent) = &self.config.user_agent {
            request.headers.push(HeaderName::UserAgent, HeaderValue::cleaned(agent));
        }
        add_headers(&mut request, call.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())))?;
        let request = with_sdp(request, call.sdp);
        let identity = call.account.map(|account| Identity { account, peer: target.remote });
        let id = LegId(self.next_id());
        let owner = Owner::Leg(id, Purpose::Invite);
        let transaction = self.start_client(now, request, path, owner, identity.clone())?;
        let template = dialog.clone();
        self.with_client(transaction, |client| client.template = Some(template));
        let mut leg = Leg::new(id, Phase::Calling, dialog, target.remote);
        leg.peer = self.known_peer(target.remote.ip()).map(|p| crate::sip::event::Peer::Known(p.name.clone()));
        leg.policy = call.dialog;
        leg.identity = identity;
        leg.invite = Some(transaction);
        leg.open.push(transaction);
        leg.timers.set(LegTimer::Ring, now + self.config.ring_timeout);
        self.add_leg(leg);
        Ok(id)
    }

    /// Sends 180 Ringing to an incoming call.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] unless the call is incoming and undecided.
    pub fn ring(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        let (transaction, mut response) = self.ringing(leg, 180)?;
        self.add_contact(leg, &mut response);
        self.respond(now, transaction, &response);
        Ok(())
    }

    /// Sends 183 Session Progress with early media to an incoming call.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn progress(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let (transaction, mut response) = self.ringing(leg, 183)?;
        self.add_contact(leg, &mut response);
        let response = response.with_body(HeaderValue::cleaned("application/sdp"), sdp);
        self.respond(now, transaction, &response);
        Ok(())
    }

    /// Takes an incoming call: 200 with `sdp`, which is the answer to its offer, or our offer when it had none.
    /// The 200 is repeated until the ACK comes.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn answer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let (transaction, response) = self.ringing(leg, 200)?;
        let state = self.legs.get_mut(&leg).ok_or(CommandError::UnknownLeg)?;
        let (cseq, answer_in_ack) = (state.invite_cseq, !state.has_offer);
        state.phase = Phase::Answered;
        state.timers.stop(LegTimer::Ring);
        self.send_2xx(now, leg, transaction, response, sdp, cseq, answer_in_ack);
        Ok(())
    }

    /// Refuses an incoming call with a final status of 300–699 and further header fields such as `Retry-After`.
    /// The leg ends at once with `EndCause::Local`. A code outside that range is taken for 603.
    ///
    /// # Errors
    /// As [`Self::ring`], and [`CommandError::InvalidHeader`].
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        headers: &[(&str, &str)],
    ) -> Result<(), CommandError> {
        let code = if (300..700).contains(&code) { code } else { 603 };
        let (transaction, mut response) = self.ringing(leg, code)?;
        for (name, value) in headers {
            response.headers.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
        }
        self.respond(now, transaction, &response);
        self.end(now, leg, EndCause::Local, None);
        Ok(())
    }

    /// Ends the leg in whatever state it is: CANCEL, 603, or BYE with these header fields (`Reason` and the like).
    /// `Ended` comes at once; the endpoint finishes the protocol behind it.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::InvalidHeader`].
    pub fn hangup(&mut self, now: Instant, leg: LegId, headers: &[(&str, &str)]) -> Result<(), CommandError> {
        self.live_leg(leg)?;
        let mut scratch = Headers::default();
        for (name, value) in headers {
            scratch.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
        }
        self.hang_up(now, leg, EndCause::Local, headers);
        Ok(())
    }

    /// Changes the session of an established leg by re-INVITE. The outcome comes as `Event::ReofferAnswered`; on
    /// glare (491) the endpoint tries again by itself after the back-off of RFC 3261 §14.1. When the peer's offer comes
    /// first during that wait, ours is reported as refused with 491: offer again from the new state.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::OfferPending`].
    pub fn reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        match (state.phase, &state.offer) {
            (Phase::Confirmed, Offer::None) if state.final_2xx.is_none() => {}
            (Phase::Answered | Phase::Confirmed, _) => return Err(CommandError::OfferPending),
            _ => return Err(CommandError::WrongState),
        }
        state.offer = Offer::Ours { sdp, glares: 0, transaction: None };
        self.send_reoffer(now, leg);
        Ok(())
    }

    /// Sends UPDATE (RFC 3311). With `sdp` it is an offer, which an undecided call takes too once its first offer was
    /// answered reliably; a peer that does not allow UPDATE gets a re-INVITE. Without, it only refreshes target and
    /// session. The outcome comes as `Event::ReofferAnswered`; 491 is tried again as for [`Self::reoffer`].
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::OfferPending`],
    /// [`CommandError::Full`].
    pub fn update(&mut self, now: Instant, leg: LegId, sdp: Option<Vec<u8>>) -> Result<(), CommandError> {
        match sdp {
            Some(sdp) => self.reoffer(now, leg, sdp),
            None => Err(CommandError::WrongState),
        }
    }

    /// What Replaces says for this leg's dialog when its peer is to be called by someone else in our stead:
    /// `call-id;to-tag=…;from-tag=…` as that peer sees them (RFC 3891 §6.1). For the attended REFER to another leg, or for
    /// [`OutgoingInvite::replaces`]. `None` unless the leg is up.
    #[must_use]
    pub fn replaces_value(&self, leg: LegId) -> Option<String> {
        let dialog = &self.legs.get(&leg).filter(|leg| leg.is_up())?.dialog;
        Some(format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.remote_tag, dialog.local_tag))
    }

    /// Accepts the peer's re-offer with our answer, or with our offer when it had none.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending, because it was withdrawn or
    /// waited too long.
    pub fn answer_reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let Offer::Theirs { transaction, is_invite, has_offer } = state.offer else {
            return Err(CommandError::WrongState);
        };
        state.offer = Offer::None;
        state.timers.stop(LegTimer::ReofferAnswer);
        // Requests of the peer come in order, so the last number is the re-INVITE's unless others followed it.
        let response = self.response(transaction, 200).ok_or(CommandError::WrongState)?;
        if is_invite {
            let cseq = cseq_number(&response).unwrap_or_default();
            self.send_2xx(now, leg, transaction, response, sdp, cseq, !has_offer);
        } else {
            let mut response = response.with_body(HeaderValue::cleaned("application/sdp"), sdp);
            self.add_contact(leg, &mut response);
            self.respond(now, transaction, &response);
            self.settle_leg(leg);
        }
        Ok(())
    }

    /// Refuses the peer's re-offer, usually with 488; the session stays as it was.
    ///
    /// # Errors
    /// As [`Self::answer_reoffer`].
    pub fn reject_reoffer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        match self.live_leg(leg)?.offer {
            Offer::Theirs { .. } => self.withdraw_their_offer(now, leg, code.clamp(300, 699)),
            Offer::None | Offer::Ours { .. } => return Err(CommandError::WrongState),
        }
        Ok(())
    }

    /// Asks the peer to call someone else. 202 is not success: see `Event::TransferFinished`.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when the leg is not established or a transfer
    /// is under way; [`CommandError::InvalidHeader`]; [`CommandError::Full`].
    pub fn refer(&mut self, now: Instant, leg: LegId, refer: Refer) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        if state.phase != Phase::Confirmed || state.transfer.is_some() {
            return Err(CommandError::WrongState);
        }
        let mut request = state.dialog.request(Method::Refer);
        let target = match &refer.replaces {
            Some(replaces) => refer.target.with_header("Replaces", replaces),
            None => refer.target,
        };
        request.headers.push(HeaderName::ReferTo, HeaderValue::name_addr(None, &target, &[]));
        if let Some(by) = &refer.referred_by {
            request.headers.push(HeaderName::ReferredBy, HeaderValue::name_addr(None, by, &[]));
        }
        add_headers(&mut request, refer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())))?;
        self.send_in_dialog(now, leg, request, Purpose::Refer)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            state.transfer = Some(Transfer::default());
            state.timers.set(LegTimer::Transfer, now + refer.timeout);
        }
        self.settle_leg(leg);
        Ok(())
    }

    /// Accepts the peer's REFER with 202 and tells it "100 Trying"; report the rest with [`Self::notify_refer`].
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending.
    pub fn accept_refer(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        let transaction = self.pending_refer(leg)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            state.inbound_refer = Some(InboundRefer::Accepted);
        }
        if let Some(mut response) = self.response(transaction, 202) {
            self.add_contact(leg, &mut response);
            self.respond(now, transaction, &response);
        }
        self.notify_refer(now, leg, 100)
    }

    /// Tells the peer how the call that it asked for goes: a status of 100–699; a final one ends the subscription.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when no REFER was accepted; [`CommandError::Full`].
    pub fn notify_refer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let status = StatusCode::new(code).ok_or(CommandError::WrongState)?;
        if !matches!(state.inbound_refer, Some(InboundRefer::Accepted)) {
            return Err(CommandError::WrongState);
        }
        if status.is_final() {
            state.inbound_refer = None;
        }
        let mut notify = state.dialog.request(Method::Notify);
        let subscription = if status.is_final() { "terminated;reason=noresource" } else { "active;expires=60" };
        notify.headers.push(HeaderName::Event, HeaderValue::cleaned("refer"));
        notify.headers.push(HeaderName::SubscriptionState, HeaderValue::cleaned(subscription));
        let notify = notify.with_body(HeaderValue::cleaned("message/sipfrag;version=2.0"), sipfrag(status));
        self.send_in_dialog(now, leg, notify, Purpose::Notify)
    }

    /// Refuses the peer's REFER with `code`.
    ///
    /// # Errors
    /// As [`Self::accept_refer`].
    pub fn reject_refer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let transaction = self.pending_refer(leg)?;
        self.respond_code(now, transaction, code.clamp(300, 699));
        Ok(())
    }

    /// Sends an INFO request within an established leg. Its response is not reported.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::InvalidHeader`],
    /// [`CommandError::Full`].
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &str, body: Vec<u8>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        if !state.is_up() {
            return Err(CommandError::WrongState);
        }
        let content_type = HeaderValue::try_from(content_type).map_err(|_| CommandError::InvalidHeader)?;
        let info = state.dialog.request(Method::Info).with_body(content_type, body);
        self.send_in_dialog(now, leg, info, Purpose::Info)
    }

    /// Asks a peer whether it is there (OPTIONS outside a dialog). [`crate::sip::Event::ProbeFinished`] follows.
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::NoLocalAddress`].
    pub fn options(&mut self, now: Instant, options: OutgoingOptions) -> Result<ProbeId, CommandError> {
        let Target { transport, remote } = options.target;
        let path = self.path_to(transport, remote).ok_or(CommandError::NoLocalAddress)?;
        let tag = self.random.hex(16);
        let dialog = Dialog {
            call_id: self.random.hex(32).into(),
            local_party: HeaderValue::name_addr(
                options.from.display.as_deref(),
                &options.from.uri,
                &[("tag", Some(&tag))],
            ),
            local_tag: tag.into(),
            remote_party: HeaderValue::name_addr(None, &options.uri.to_request_uri(), &[]),
            remote_tag: "".into(),
            local_cseq: 0,
            remote_cseq: None,
            route_set: Vec::new(),
            remote_target: options.uri,
            contact: self.contact_value(&self.config.contact_user, path),
            path,
            owns_call_id: true,
        };
        let mut request = { dialog }.request(Method::Options);
        request.headers.push(HeaderName::Accept, HeaderValue::cleaned("application/sdp"));
        if let Some(agent) = &self.config.user_agent {
            request.headers.push(HeaderName::UserAgent, HeaderValue::cleaned(agent));
        }
        let id = ProbeId(self.next_id());
        let identity = options.account.map(|account| Identity { account, peer: remote });
        self.start_client(now, request, path, Owner::Probe(id), identity)?;
        Ok(id)
    }

    fn live_leg(&mut self, leg: LegId) -> Result<&mut Leg, CommandError> {
        self.legs.get_mut(&leg).filter(|leg| leg.phase != Phase::Over).ok_or(CommandError::UnknownLeg)
    }

    /// The INVITE transaction of an undecided incoming call, with the pattern of a response to it.
    fn ringing(&mut self, leg: LegId, code: u16) -> Result<(TransactionId, Response), CommandError> {
        let state = self.live_leg(leg)?;
        if state.phase != Phase::Ringing {
            return Err(CommandError::WrongState);
        }
        let transaction = state.invite.ok_or(CommandError::WrongState)?;
        Ok((transaction, self.response(transaction, code).ok_or(CommandError::WrongState)?))
    }

    fn pending_refer(&mut self, leg: LegId) -> Result<TransactionId, CommandError> {
        let state = self.live_leg(leg)?;
        let Some(InboundRefer::Pending(transaction)) = state.inbound_refer else {
            return Err(CommandError::WrongState);
        };
        state.inbound_refer = None;
        state.timers.stop(LegTimer::ReferAnswer);
        Ok(transaction)
    }

    fn send_in_dialog(
        &mut self,
        now: Instant,
        leg: LegId,
        request: Request,
        purpose: Purpose,
    ) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let (path, identity) = (state.dialog.path, state.identity.clone());
        let transaction = self.start_client(now, request, path, Owner::Leg(leg, purpose), identity)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            state.open.push(transaction);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one call for the first 2xx and for that of a re-INVITE")]
    fn send_2xx(
        &mut self,
        now: Instant,
        leg: LegId,
        transaction: TransactionId,
        mut response: Response,
        sdp: Vec<u8>,
        cseq: u32,
        answer_in_ack: bool,
    ) {
        self.add_contact(leg, &mut response);
        self.add_capabilities(&mut response.headers);
        let response = response.with_body(HeaderValue::cleaned("application/sdp"), sdp);
        let path = self.transactions.get(transaction).map(super::transactions::Transaction::path);
        let bytes = self.respond(now, transaction, &response);
        if let (Some(path), Some(bytes), Some(state)) = (path, bytes, self.legs.get_mut(&leg)) {
            let resend = Doubling::UP_TO_T2;
            state.final_2xx = Some(Final2xx { cseq, bytes, path, resend, answer_in_ack });
            // Over a reliable transport too: the 2xx is end to end (RFC 3261 §13.3.1.4).
            state.timers.set(LegTimer::Resend2xx, now + T1);
            state.timers.set(LegTimer::GiveUp2xx, now + T1_64);
        }
        self.settle_leg(leg);
    }

    fn add_contact(&self, leg: LegId, response: &mut Response) {
        if let Some(state) = self.legs.get(&leg) {
            response.headers.push(HeaderName::Contact, state.dialog.contact.clone());
        }
    }

    fn add_capabilities(&self, headers: &mut Headers) {
        headers.push(HeaderName::Allow, HeaderValue::cleaned(ALLOW));
    }
}

fn add_headers<'a>(
    request: &mut Request,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), CommandError> {
    for (name, value) in headers {
        request.headers.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
    }
    Ok(())
}

fn with_sdp(request: Request, sdp: Vec<u8>) -> Request {
    if sdp.is_empty() { request } else { request.with_body(HeaderValue::cleaned("application/sdp"), sdp) }
}

fn cseq_number(response: &Response) -> Option<u32> {
    let cseq = response.headers.value(HeaderName::CSeq)?;
    crate::sip::header::CSeq::parse(cseq.as_bytes()).ok().map(|cseq| cseq.number)
}
