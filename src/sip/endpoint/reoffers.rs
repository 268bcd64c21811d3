//! Re-INVITE and UPDATE: the commands of the application, and the offers of the peer.

use super::calling::add_fields;
use super::leg::{Carrier, LegTimer, Offer, Phase, Purpose, REOFFER_ANSWER};
use super::offered::acceptable_body;
use super::transactions::Owner;
use super::{CommandError, Endpoint};
use crate::sip::dialog::Path;
use crate::sip::event::{Event, LegId};
use crate::sip::header::{CSeq, HeaderName, HeaderValue};
use crate::sip::multipart::session_description;
use crate::sip::session_timer::{Asked, POSTPONED};
use crate::sip::transaction::Key;
use crate::sip::{Message, Method, Response, StatusCode};
use std::time::Instant;

/// What `Retry-After` says when the peer re-offers while its last one is unanswered: RFC 3261 §14.2 wants 0–10 s.
const OVERLAP_RETRY_S: &str = "2";

impl Endpoint {
    /// Changes the session of an established leg by re-INVITE. The outcome comes as `Event::ReofferAnswered`; on
    /// glare (491) the endpoint tries again by itself after the back-off of RFC 3261 §14.1. When the peer's offer comes
    /// first during that wait, ours is reported as refused with 491: offer again from the new state.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::OfferPending`].
    pub fn reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        self.offer(now, leg, sdp, Carrier::Invite)
    }

    /// Sends UPDATE (RFC 3311). With `sdp` it is an offer, which an undecided call takes too once its first offer was
    /// answered reliably; a peer that does not allow UPDATE gets a re-INVITE. Without, it only refreshes target and
    /// session. The outcome comes as `Event::ReofferAnswered`; 491 is tried again as for [`Self::reoffer`].
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::OfferPending`],
    /// [`CommandError::Full`].
    pub fn update(&mut self, now: Instant, leg: LegId, sdp: Option<Vec<u8>>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let may_update = state.allows_update;
        match sdp {
            Some(sdp) if state.phase == Phase::Confirmed && !may_update => self.offer(now, leg, sdp, Carrier::Invite),
            Some(sdp) => self.offer(now, leg, sdp, Carrier::Update),
            None if state.phase != Phase::Confirmed || state.final_2xx.is_some() => Err(CommandError::WrongState),
            None if may_update => self.send_bare_update(now, leg, false),
            None => {
                let sdp = state.local_sdp.clone();
                self.offer(now, leg, sdp, Carrier::Invite)
            }
        }
    }

    fn offer(&mut self, now: Instant, id: LegId, sdp: Vec<u8>, carrier: Carrier) -> Result<(), CommandError> {
        let leg = self.live_leg(id)?;
        let is_early_update = carrier == Carrier::Update && leg.allows_update;
        let mut fork = None;
        match leg.phase {
            Phase::Confirmed if leg.final_2xx.is_none() => {}
            Phase::Answered | Phase::Confirmed => return Err(CommandError::OfferPending),
            Phase::Ringing if is_early_update && leg.is_settled_early() && leg.pending_answer.is_none() => {}
            Phase::Calling if is_early_update => {
                let answered = leg.early.iter().rev().find(|early| early.is_answered);
                fork = Some(answered.ok_or(CommandError::WrongState)?.dialog.remote_tag.clone());
            }
            Phase::Calling | Phase::Ringing | Phase::Over => return Err(CommandError::WrongState),
        }
        // RFC 3311 §5.1: one UPDATE at a time.
        let bare = leg.bare_update.filter(|_| carrier == Carrier::Update);
        let is_refreshing = match &leg.offer {
            Offer::None => bare.is_some_and(|bare| bare.is_refresh),
            Offer::Ours { is_refresh, .. } => *is_refresh,
            Offer::Theirs { .. } => false,
        };
        if is_refreshing && leg.queued_offer.is_none() {
            leg.queued_offer = Some((sdp, carrier));
            return Ok(());
        }
        if bare.is_some() || !matches!(leg.offer, Offer::None) {
            return Err(CommandError::OfferPending);
        }
        leg.offer_fork = fork;
        leg.offer = Offer::Ours { sdp, carrier, is_refresh: false, glares: 0, transaction: None };
        self.send_offer(now, id);
        Ok(())
    }

    /// Accepts the peer's re-offer with our answer, or with our offer when it had none.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending, because it was withdrawn or
    /// waited too long.
    pub fn answer_reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let Offer::Theirs { transaction, is_invite, .. } = state.offer else {
            return Err(CommandError::WrongState);
        };
        let offer = std::mem::replace(&mut state.offer, Offer::None);
        state.timers.stop(LegTimer::ReofferAnswer);
        let response = self.response(transaction, 200).ok_or(CommandError::WrongState)?;
        let state = self.live_leg(leg)?;
        let Offer::Theirs { sdp: Some(theirs), .. } = offer else {
            let cseq = cseq_number(&response).unwrap_or_default();
            self.send_2xx(now, leg, transaction, response, sdp, cseq, true);
            return Ok(());
        };
        state.remote_sdp.clone_from(&theirs);
        if is_invite {
            let cseq = cseq_number(&response).unwrap_or_default();
            self.send_2xx(now, leg, transaction, response, sdp, cseq, false);
        } else {
            state.local_sdp.clone_from(&sdp);
            self.note_early_change(leg, Some(theirs));
            let mut response = response.with_body(HeaderValue::cleaned("application/sdp"), sdp);
            self.add_session_to(now, leg, &mut response);
            self.respond(now, transaction, &response);
            self.release_answer(now, leg);
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

    /// Takes the peer's unanswered re-offer off the leg with this status.
    pub(super) fn withdraw_their_offer(&mut self, now: Instant, id: LegId, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Offer::Theirs { transaction, .. } = leg.offer {
            leg.offer = Offer::None;
            leg.offer_fork = None;
            leg.timers.stop(LegTimer::ReofferAnswer);
            self.respond_code(now, transaction, code);
            self.release_answer(now, id);
            self.settle_leg(id);
        }
    }

    /// An offer before the call was taken has changed the session.
    pub(super) fn note_early_change(&mut self, id: LegId, remote: Option<Vec<u8>>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.was_changed_early |= leg.phase == Phase::Ringing;
        if let Some(fork) = leg.offer_fork.take()
            && let Some(early) = leg.early_with(&fork)
        {
            early.is_updated = true;
            early.sdp = remote.or_else(|| early.sdp.take());
        }
    }

    /// Contact, capabilities and, once the call is up, the session timer of a 2xx to UPDATE.
    fn add_session_to(&mut self, now: Instant, id: LegId, response: &mut Response) {
        self.add_contact(id, response);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let policy = leg.policy;
        let fields = if leg.is_up() { leg.session.answer(now, &leg.asked) } else { Vec::new() };
        self.add_capabilities(&mut response.headers, &policy);
        add_fields(&mut response.headers, fields);
    }

    /// A re-INVITE or UPDATE of the peer.
    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        id: LegId,
        request: &Message<'_>,
        key: Key,
        path: Path,
        tag: &str,
    ) {
        if let Err((status, headers)) = acceptable_body(request) {
            return self.answer_request(now, request, key, path, status, headers);
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let asked = Asked::of(request);
        if let Some(min_se) = leg.session.refuses(&asked) {
            let headers = [(HeaderName::MinSe, &*min_se.to_string())];
            return self.answer_request(now, request, key, path, StatusCode::SESSION_INTERVAL_TOO_SMALL, &headers);
        }
        leg.note_allow(request);
        let is_invite = request.method() == Some(&Method::Invite);
        let sdp = session_description(request).map(<[u8]>::to_vec);
        if !is_invite && sdp.is_none() {
            return self.handle_bare_update(now, id, request, key, path, tag);
        }
        if let Err(status) = may_offer(leg, is_invite, request) {
            let overlap = [(HeaderName::RetryAfter, OVERLAP_RETRY_S)];
            let headers = if status == StatusCode::SERVER_INTERNAL_ERROR { &overlap[..] } else { &[] };
            return self.answer_request(now, request, key, path, status, headers);
        }
        let home = leg.home;
        let dialog = leg.dialog_of(request);
        dialog.refresh_target(request);
        dialog.aim(home);
        let fork = dialog.remote_tag.clone();
        let purpose = if is_invite { Purpose::Reoffer } else { Purpose::Update };
        let Some(transaction) = self.start_server(request, path, key, Owner::Leg(id, purpose), tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        if is_invite {
            let trying = Response::to_request(request, StatusCode::TRYING, path.remote, None);
            self.respond(now, transaction, &trying);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            // A re-offer of ours that backs off after a glare gives way: the application sees this offer first.
            let was_asked_for = leg.queued_offer.take().is_some();
            if let Offer::Ours { is_refresh, .. } = leg.offer {
                leg.timers.stop(LegTimer::Glare);
                if is_refresh {
                    leg.session.postpone(now, POSTPONED);
                }
                if !is_refresh || was_asked_for {
                    self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(491) });
                }
            } else if was_asked_for {
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(491) });
            }
            leg.asked = asked;
            leg.offer_fork = (leg.phase == Phase::Calling).then_some(fork);
            leg.offer = Offer::Theirs { transaction, is_invite, sdp: sdp.clone() };
            leg.timers.set(LegTimer::ReofferAnswer, now + REOFFER_ANSWER);
        }
        self.events.push_back(Event::Reoffer { leg: id, sdp });
        self.trust_leg(id);
        self.settle_leg(id);
    }

    /// An UPDATE without offer refreshes target and session, whatever else is going on.
    fn handle_bare_update(&mut self, now: Instant, id: LegId, request: &Message<'_>, key: Key, path: Path, tag: &str) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let home = leg.home;
        let dialog = leg.dialog_of(request);
        dialog.refresh_target(request);
        dialog.aim(home);
        leg.asked = Asked::of(request);
        let Some(transaction) = self.start_server(request, path, key, Owner::Nobody, tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        if let Some(mut response) = self.response(transaction, 200) {
            self.add_session_to(now, id, &mut response);
            self.respond(now, transaction, &response);
        }
        self.trust_leg(id);
        self.settle_leg(id);
    }
}

/// Whether the peer may offer at this moment, or the status that refuses it (RFC 3261 §14.2, RFC 3311 §5.2): 500 while
/// its own last offer is unanswered, 491 while ours is.
fn may_offer(leg: &super::leg::Leg, is_invite: bool, request: &Message<'_>) -> Result<(), StatusCode> {
    const THEIRS: Result<(), StatusCode> = Err(StatusCode::SERVER_INTERNAL_ERROR);
    const OURS: Result<(), StatusCode> = Err(StatusCode::REQUEST_PENDING);
    match (&leg.offer, leg.phase) {
        (Offer::Theirs { .. }, _) => THEIRS,
        (Offer::Ours { transaction: Some(_), .. }, _) => OURS,
        (_, Phase::Calling) => {
            let early = leg.early.iter().find(|early| early.dialog.matches_request(request));
            if !is_invite && early.is_some_and(|early| early.is_answered) { Ok(()) } else { OURS }
        }
        (_, Phase::Ringing) if is_invite => THEIRS,
        (_, Phase::Ringing) if leg.is_settled_early() => Ok(()),
        // Our offer went out reliably and its answer has not come with the PRACK.
        (_, Phase::Ringing) if !leg.has_offer && leg.provisional.as_ref().is_some_and(|p| p.has_sdp()) => OURS,
        (_, Phase::Ringing) => THEIRS,
        (_, Phase::Answered | Phase::Over) => OURS,
        (_, Phase::Confirmed) if leg.final_2xx.is_some() => OURS,
        (_, Phase::Confirmed) => Ok(()),
    }
}

fn cseq_number(response: &Response) -> Option<u32> {
    let cseq = response.headers.value(HeaderName::CSeq)?;
    CSeq::parse(cseq.as_bytes()).ok().map(|cseq| cseq.number)
}
