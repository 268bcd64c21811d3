//! Calls to us until they are taken: provisional responses, reliable where the peer wants them, PRACK, and the answer.

use super::calling::add_fields;
use super::leg::{Final2xx, LegTimer, Offer, Phase, Purpose, REOFFER_ANSWER};
use super::transactions::{Owner, Transaction, TransactionId};
use super::{CommandError, Endpoint};
use crate::sip::dialog::Path;
use crate::sip::event::{EndCause, Event, LegId, Missing};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::multipart::session_description;
use crate::sip::timer::{Doubling, T1, T1_64};
use crate::sip::transaction::Key;
use crate::sip::{Message, Response, StatusCode};
use std::time::Instant;

impl Endpoint {
    /// Sends 180 Ringing to an incoming call; reliably where [`crate::sip::DialogPolicy::reliable_provisional`] or the
    /// peer requires it (RFC 3262), after what was sent so before. A call without offer that wants it reliably must see
    /// our offer first: give it with [`Self::progress`], this does nothing then.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] unless the call is incoming and undecided.
    pub fn ring(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        self.send_provisional(now, leg, 180, Vec::new())
    }

    /// Sends 183 Session Progress with early media to an incoming call, reliably as [`Self::ring`] does. `sdp` answers its
    /// offer. When it made none and is served reliably, `sdp` is our offer and the answer comes as
    /// [`Event::ReofferAnswered`]; otherwise our offer has to wait for the 200 and is left out.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn progress(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        self.send_provisional(now, leg, 183, sdp)
    }

    /// Takes an incoming call: 200 with `sdp`, which is the answer to its offer, or our offer when it had none. After
    /// [`Self::progress`] the same description may be repeated, or left out by an empty one. The 200 waits for the
    /// PRACK of a reliable response with a description (RFC 3262 §3), and is repeated until the ACK comes.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn answer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        self.ringing(leg, 200)?;
        let state = self.legs.get_mut(&leg).ok_or(CommandError::UnknownLeg)?;
        state.timers.stop(LegTimer::Ring);
        state.pending_answer = Some(sdp);
        if let Some(sender) = &mut state.provisional {
            sender.finish();
        }
        self.release_answer(now, leg);
        self.settle_leg(leg);
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

    /// The INVITE transaction of an undecided incoming call, with the pattern of a response to it.
    fn ringing(&mut self, leg: LegId, code: u16) -> Result<(TransactionId, Response), CommandError> {
        let state = self.live_leg(leg)?;
        if state.phase != Phase::Ringing || state.pending_answer.is_some() {
            return Err(CommandError::WrongState);
        }
        let transaction = state.invite.ok_or(CommandError::WrongState)?;
        Ok((transaction, self.response(transaction, code).ok_or(CommandError::WrongState)?))
    }

    fn send_provisional(&mut self, now: Instant, id: LegId, code: u16, sdp: Vec<u8>) -> Result<(), CommandError> {
        let (transaction, mut response) = self.ringing(id, code)?;
        self.add_contact(id, &mut response);
        let policy = self.live_leg(id)?.policy;
        self.add_capabilities(&mut response.headers, &policy);
        let with_body = |response: Response, sdp: &[u8]| {
            let is_empty = sdp.is_empty();
            if is_empty { response } else { response.with_body(HeaderValue::cleaned("application/sdp"), sdp.to_vec()) }
        };
        let leg = self.live_leg(id)?;
        let Some(sender) = &mut leg.provisional else {
            // RFC 3261 §13.2.1: only a reliable response may hold an offer.
            if leg.has_offer && !sdp.is_empty() {
                response = with_body(response, &sdp);
                leg.local_sdp = sdp;
            }
            self.respond(now, transaction, &response);
            return Ok(());
        };
        if !sender.has_sdp() {
            if !leg.has_offer && sdp.is_empty() {
                return Ok(());
            }
            response = with_body(response, &sdp);
            if !sdp.is_empty() {
                leg.local_sdp = sdp;
            }
        }
        if let Some(response) = sender.push(response) {
            self.launch_provisional(now, id, transaction, &response);
        }
        Ok(())
    }

    fn launch_provisional(&mut self, now: Instant, id: LegId, transaction: TransactionId, response: &Response) {
        self.respond(now, transaction, response);
        if let Some(leg) = self.legs.get_mut(&id) {
            // Over a reliable transport too: a proxy's next hop may not be (RFC 3262 §3).
            leg.timers.set(LegTimer::ResendProvisional, now + T1);
            leg.timers.set(LegTimer::GiveUpProvisional, now + T1_64);
        }
        self.settle_leg(id);
    }

    pub(super) fn resend_provisional(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Ringing) else { return };
        let Some((response, wait)) = leg.provisional.as_mut().and_then(|sender| sender.resend()) else { return };
        let (response, invite) = (response.clone(), leg.invite);
        leg.timers.set(LegTimer::ResendProvisional, now + wait);
        if let Some(invite) = invite {
            self.respond(now, invite, &response);
        }
    }

    /// The PRACK did not come: the call is refused (RFC 3262 §3).
    pub(super) fn give_up_provisional(&mut self, now: Instant, id: LegId) {
        if self.legs.get(&id).is_some_and(|leg| leg.phase == Phase::Ringing) {
            self.hang_up(now, id, EndCause::TimedOut(Missing::Prack), &[]);
        }
    }

    pub(super) fn handle_prack(
        &mut self,
        now: Instant,
        id: LegId,
        request: &Message<'_>,
        key: Key,
        path: Path,
        tag: &str,
    ) {
        let Ok(rack) = request.rack() else {
            return self.answer_request(now, request, key, path, StatusCode::BAD_REQUEST, &[]);
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(acknowledged) = leg.provisional.as_mut().and_then(|sender| sender.acknowledge(&rack)) else {
            return self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        };
        leg.timers.stop(LegTimer::ResendProvisional);
        leg.timers.stop(LegTimer::GiveUpProvisional);
        let is_answer = acknowledged.has_sdp && !leg.has_offer;
        let sdp = session_description(request).map(<[u8]>::to_vec);
        match sdp {
            Some(sdp) if is_answer => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.remote_sdp.clone_from(&sdp);
                }
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Ok(Some(sdp)) });
            }
            // Another offer, now that the first is answered (§5).
            Some(sdp) => self.take_offer_of_prack(now, id, request, key, path, tag, sdp),
            None => self.answer_request(now, request, key, path, StatusCode::OK, &[]),
        }
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Ringing) else { return };
        let next = leg.provisional.as_mut().and_then(|sender| sender.next_waiting());
        if let (Some(response), Some(invite)) = (next, leg.invite) {
            self.launch_provisional(now, id, invite, &response);
        }
        self.release_answer(now, id);
        self.settle_leg(id);
    }

    #[expect(clippy::too_many_arguments, reason = "a request with its key and way, and what was read from it")]
    fn take_offer_of_prack(
        &mut self,
        now: Instant,
        id: LegId,
        request: &Message<'_>,
        key: Key,
        path: Path,
        tag: &str,
        sdp: Vec<u8>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.phase != Phase::Ringing || !leg.is_settled_early() || !matches!(leg.offer, Offer::None) {
            return self.answer_request(now, request, key, path, StatusCode::NOT_ACCEPTABLE_HERE, &[]);
        }
        let Some(transaction) = self.start_server(request, path, key, Owner::Leg(id, Purpose::Prack), tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.offer = Offer::Theirs { transaction, is_invite: false, sdp: Some(sdp.clone()) };
            leg.timers.set(LegTimer::ReofferAnswer, now + REOFFER_ANSWER);
        }
        self.events.push_back(Event::Reoffer { leg: id, sdp: Some(sdp) });
    }

    /// Sends the 2xx that the application wants, once nothing of the session is undecided.
    pub(super) fn release_answer(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Ringing) else { return };
        let owes_sdp = leg.provisional.as_ref().is_some_and(|sender| sender.owes_sdp());
        if owes_sdp || !matches!(leg.offer, Offer::None) {
            return;
        }
        let (Some(invite), Some(sdp)) = (leg.invite, leg.pending_answer.take()) else { return };
        let is_settled = leg.is_settled_early();
        let sdp = if is_settled && (!leg.has_offer || leg.was_changed_early) {
            Vec::new()
        } else if sdp.is_empty() && !is_settled {
            // What a provisional response said without reliability has to be said again.
            leg.local_sdp.clone()
        } else {
            sdp
        };
        let (cseq, answer_in_ack) = (leg.invite_cseq, !leg.has_offer && !is_settled);
        leg.phase = Phase::Answered;
        leg.timers.stop(LegTimer::ResendProvisional);
        leg.timers.stop(LegTimer::GiveUpProvisional);
        if let Some(response) = self.response(invite, 200) {
            self.send_2xx(now, id, invite, response, sdp, cseq, answer_in_ack);
        }
    }

    /// Sends the 2xx of an INVITE or re-INVITE and repeats it until its ACK comes.
    #[expect(clippy::too_many_arguments, reason = "one call for the first 2xx and for that of a re-INVITE")]
    pub(super) fn send_2xx(
        &mut self,
        now: Instant,
        id: LegId,
        transaction: TransactionId,
        mut response: Response,
        sdp: Vec<u8>,
        cseq: u32,
        answer_in_ack: bool,
    ) {
        self.add_contact(id, &mut response);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (policy, fields) = (leg.policy, leg.session.answer(now, &leg.asked));
        if !sdp.is_empty() {
            leg.local_sdp.clone_from(&sdp);
        }
        self.add_capabilities(&mut response.headers, &policy);
        add_fields(&mut response.headers, fields);
        if !sdp.is_empty() {
            response = response.with_body(HeaderValue::cleaned("application/sdp"), sdp);
        }
        let path = self.transactions.get(transaction).map(Transaction::path);
        let bytes = self.respond(now, transaction, &response);
        if let (Some(path), Some(bytes), Some(leg)) = (path, bytes, self.legs.get_mut(&id)) {
            let resend = Doubling::UP_TO_T2;
            leg.final_2xx = Some(Final2xx { cseq, bytes, path, resend, answer_in_ack });
            // Over a reliable transport too: the 2xx is end to end (RFC 3261 §13.3.1.4).
            leg.timers.set(LegTimer::Resend2xx, now + T1);
            leg.timers.set(LegTimer::GiveUp2xx, now + T1_64);
        }
        self.settle_leg(id);
    }

    pub(super) fn add_contact(&self, leg: LegId, response: &mut Response) {
        if let Some(leg) = self.legs.get(&leg) {
            response.headers.push(HeaderName::Contact, leg.dialog.contact.clone());
        }
    }
}
