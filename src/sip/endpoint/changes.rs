//! Changes of a session that we ask for: offers by re-INVITE and UPDATE, glare, and the refreshes of the session timer.

use super::calling::{add_fields, retry_after};
use super::leg::{BareUpdate, Carrier, GLARE_ATTEMPTS, LegTimer, Offer, Phase, Purpose, REOFFER_GIVE_UP};
use super::transactions::{Owner, TransactionId};
use super::{CommandError, Endpoint};
use crate::sip::event::{EndCause, Event, LegId, Missing};
use crate::sip::header::{CSeq, HeaderName, HeaderValue};
use crate::sip::multipart::session_description;
use crate::sip::session_timer::{Asked, POSTPONED};
use crate::sip::{Message, Method, StatusCode};
use std::time::{Duration, Instant};

impl Endpoint {
    /// Sends our pending offer as a re-INVITE or UPDATE.
    pub(super) fn send_offer(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Offer::Ours { sdp, carrier, is_refresh, transaction: None, .. } = &leg.offer else { return };
        let (body, carrier, is_refresh) = (sdp.clone(), *carrier, *is_refresh);
        let (method, purpose) = match carrier {
            Carrier::Invite => (Method::Invite, Purpose::Reoffer),
            Carrier::Update => (Method::Update, Purpose::Update),
        };
        let fork = leg.offer_fork.clone();
        let (mut request, path) = leg.request_in(fork.as_deref(), method);
        let (policy, identity) = (leg.policy, leg.identity.clone());
        if leg.session.is_running() {
            add_fields(&mut request.headers, leg.session.request_fields());
        }
        self.add_capabilities(&mut request.headers, &policy);
        let request = request.with_body(HeaderValue::cleaned("application/sdp"), body);
        let started = self.start_client(now, request, path, Owner::Leg(id, purpose), identity);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match started {
            Ok(new) => {
                leg.open.push(new);
                // An UPDATE is decided or timed out by then anyhow.
                if carrier == Carrier::Invite {
                    leg.timers.set(LegTimer::ReofferGiveUp, now + REOFFER_GIVE_UP);
                }
                if let Offer::Ours { transaction, .. } = &mut leg.offer {
                    *transaction = Some(new);
                }
            }
            Err(_) => {
                leg.offer = Offer::None;
                leg.offer_fork = None;
                if is_refresh {
                    leg.session.retry(now);
                } else {
                    self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(503) });
                }
            }
        }
        self.settle_leg(id);
    }

    pub(super) fn send_bare_update(&mut self, now: Instant, id: LegId, is_refresh: bool) -> Result<(), CommandError> {
        let leg = self.live_leg(id)?;
        let is_updating = matches!(leg.offer, Offer::Ours { carrier: Carrier::Update, transaction: Some(_), .. });
        if leg.bare_update.is_some() || is_updating {
            return Err(CommandError::OfferPending);
        }
        let (mut request, path) = leg.request_in(None, Method::Update);
        let (policy, identity) = (leg.policy, leg.identity.clone());
        if leg.session.is_running() {
            add_fields(&mut request.headers, leg.session.request_fields());
        }
        self.add_capabilities(&mut request.headers, &policy);
        let transaction = self.start_client(now, request, path, Owner::Leg(id, Purpose::Update), identity)?;
        let leg = self.live_leg(id)?;
        leg.open.push(transaction);
        leg.bare_update = Some(BareUpdate { transaction, is_refresh });
        self.settle_leg(id);
        Ok(())
    }

    /// The session timer says that it is time (RFC 4028 §7.4): UPDATE where the peer serves it, else a re-INVITE with the
    /// session as it is. Waits while another change is under way, since that refreshes too.
    pub(super) fn refresh_session(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Confirmed) else { return };
        let is_busy = leg.final_2xx.is_some() || leg.bare_update.is_some() || !matches!(leg.offer, Offer::None);
        if is_busy {
            leg.session.postpone(now, POSTPONED);
        } else if leg.allows_update {
            if self.send_bare_update(now, id, true).is_err()
                && let Some(leg) = self.legs.get_mut(&id)
            {
                leg.session.retry(now);
            }
        } else if !leg.local_sdp.is_empty() {
            let sdp = leg.local_sdp.clone();
            leg.offer = Offer::Ours { sdp, carrier: Carrier::Invite, is_refresh: true, glares: 0, transaction: None };
            self.send_offer(now, id);
        }
        self.settle_leg(id);
    }

    /// A response to a re-INVITE or UPDATE of ours.
    pub(super) fn handle_change_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        leg_id: LegId,
        response: &Message<'_>,
        status: StatusCode,
        cseq: &CSeq,
    ) {
        if status.is_provisional() {
            return;
        }
        let is_invite = cseq.method == Method::Invite;
        let Some(leg) = self.legs.get_mut(&leg_id) else {
            if is_invite {
                self.acknowledge_stray_reoffer(id, response);
            }
            return;
        };
        leg.open.retain(|open| *open != id);
        if status.is_success() {
            if leg.phase != Phase::Over {
                let home = leg.home;
                let dialog = leg.offer_dialog();
                // An early dialog may have lost against another since.
                if response.to().ok().and_then(|to| to.tag()).unwrap_or_default() == &*dialog.remote_tag {
                    dialog.refresh_target(response);
                    dialog.aim(home);
                    leg.note_allow(response);
                }
            }
            if is_invite {
                let dialog = &leg.dialog;
                let (ack, tag, path) = (dialog.ack(cseq.number), dialog.remote_tag.clone(), dialog.path);
                self.send_ack(id, &tag, ack, path);
            }
            self.trust_leg(leg_id);
        }
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        if leg.phase != Phase::Over {
            if let Some(bare) = leg.bare_update.take_if(|bare| bare.transaction == id) {
                self.decide_bare_update(now, leg_id, bare, response, status);
            } else if matches!(&leg.offer, Offer::Ours { transaction: Some(t), .. } if *t == id) {
                self.decide_offer(now, leg_id, response, status);
            }
            self.release_queued_offer(now, leg_id);
            self.release_answer(now, leg_id);
        }
        self.settle_leg(leg_id);
    }

    fn decide_offer(&mut self, now: Instant, id: LegId, response: &Message<'_>, status: StatusCode) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.timers.stop(LegTimer::ReofferGiveUp);
        let Offer::Ours { sdp, carrier, is_refresh, glares, .. } = std::mem::replace(&mut leg.offer, Offer::None)
        else {
            return;
        };
        let is_confirmed = leg.phase == Phase::Confirmed;
        let again = |carrier, glares| Offer::Ours { sdp: sdp.clone(), carrier, is_refresh, glares, transaction: None };
        let asked = Asked::of(response);
        match status.code() {
            200..=299 => {
                if is_confirmed {
                    leg.session.accept(now, &asked);
                }
                let answer = session_description(response).map(<[u8]>::to_vec);
                let has_changed = answer.as_ref().is_some_and(|answer| !is_same_session(answer, &leg.remote_sdp));
                if let Some(answer) = &answer {
                    leg.remote_sdp.clone_from(answer);
                }
                leg.local_sdp = sdp;
                if !is_refresh || has_changed {
                    let outcome = Ok(answer.clone());
                    self.events.push_back(Event::ReofferAnswered { leg: id, outcome });
                }
                self.note_early_change(id, answer);
            }
            422 if leg.session.raise(asked.min_se_s) => {
                leg.offer = again(carrier, glares);
                self.send_offer(now, id);
            }
            491 if glares < GLARE_ATTEMPTS => {
                leg.offer = again(carrier, glares.saturating_add(1));
                let wait = self.glare_back_off(id);
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.timers.set(LegTimer::Glare, now + wait);
                }
            }
            408 if is_refresh => self.hang_up(now, id, EndCause::TimedOut(Missing::Refresh), &[]),
            408 | 481 if is_confirmed => self.lose_dialog(now, id),
            405 | 501 if carrier == Carrier::Update && is_confirmed => {
                leg.allows_update = false;
                leg.offer = again(Carrier::Invite, glares);
                self.send_offer(now, id);
            }
            _ if is_refresh => leg.session.retry(now),
            code => {
                leg.offer_fork = None;
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(code) });
            }
        }
    }

    fn decide_bare_update(
        &mut self,
        now: Instant,
        id: LegId,
        bare: BareUpdate,
        response: &Message<'_>,
        status: StatusCode,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let asked = Asked::of(response);
        match status.code() {
            200..=299 => {
                leg.session.accept(now, &asked);
                if !bare.is_refresh {
                    self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Ok(None) });
                }
            }
            422 if leg.session.raise(asked.min_se_s) => {
                // A full table leaves the session to its expiry.
                let _ = self.send_bare_update(now, id, bare.is_refresh);
            }
            481 => self.lose_dialog(now, id),
            408 if bare.is_refresh => self.hang_up(now, id, EndCause::TimedOut(Missing::Refresh), &[]),
            code if !bare.is_refresh => {
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(code) });
            }
            491 => {
                let wait = self.glare_back_off(id);
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.session.postpone(now, wait);
                }
            }
            500 | 503 => leg.session.postpone(now, retry_after(response).unwrap_or(POSTPONED).max(POSTPONED)),
            _ => {
                leg.allows_update = false;
                self.refresh_session(now, id);
            }
        }
    }

    /// A re-INVITE or UPDATE of ours got no final response, or could not be sent.
    pub(super) fn handle_change_failure(&mut self, now: Instant, id: TransactionId, leg_id: LegId) {
        self.close_request(leg_id, id);
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        let bare = leg.bare_update.take_if(|bare| bare.transaction == id);
        let refreshes = match (&leg.offer, bare) {
            (_, Some(bare)) => Some(bare.is_refresh),
            (Offer::Ours { transaction: Some(t), is_refresh, .. }, None) if *t == id => Some(*is_refresh),
            _ => None,
        };
        match refreshes {
            Some(true) => self.hang_up(now, leg_id, EndCause::TimedOut(Missing::Refresh), &[]),
            Some(false) if leg.phase == Phase::Confirmed => self.lose_dialog(now, leg_id),
            Some(false) => {
                leg.offer = Offer::None;
                leg.offer_fork = None;
                self.events.push_back(Event::ReofferAnswered { leg: leg_id, outcome: Err(408) });
                self.release_answer(now, leg_id);
            }
            None => {}
        }
        self.settle_leg(leg_id);
    }

    /// A re-INVITE of ours has stayed undecided too long.
    pub(super) fn give_up_offer(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Offer::Ours { transaction: Some(transaction), is_refresh, .. } = leg.offer else { return };
        leg.offer = Offer::None;
        leg.offer_fork = None;
        self.start_cancel(now, transaction);
        if is_refresh {
            self.hang_up(now, id, EndCause::TimedOut(Missing::Refresh), &[]);
        } else {
            self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(408) });
            self.release_queued_offer(now, id);
        }
    }

    /// Sends the application's offer that waited for the end of a refresh.
    fn release_queued_offer(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Confirmed) else { return };
        if !matches!(leg.offer, Offer::None) || leg.bare_update.is_some() {
            return;
        }
        if let Some((sdp, carrier)) = leg.queued_offer.take() {
            leg.offer = Offer::Ours { sdp, carrier, is_refresh: false, glares: 0, transaction: None };
            self.send_offer(now, id);
        }
    }

    /// RFC 3261 §14.1: 2.1–4 s for the side that made the Call-ID, 0–2 s for the other, in steps of 10 ms.
    fn glare_back_off(&mut self, id: LegId) -> Duration {
        let owns_call_id = self.legs.get(&id).is_some_and(|leg| leg.dialog.owns_call_id);
        let steps = if owns_call_id { 210 + self.random.below(191) } else { self.random.below(201) };
        Duration::from_millis(steps * 10)
    }

    /// The leg of a re-INVITE is gone, but its 2xx still wants an ACK, made from the request itself.
    fn acknowledge_stray_reoffer(&mut self, id: TransactionId, response: &Message<'_>) {
        let Some(status) = response.status().filter(|s| s.is_success()) else { return };
        debug_assert!(status.is_success());
        let Some(transaction) = self.transactions.get(id) else { return };
        let (Some(client), path) = (transaction.client(), transaction.path()) else { return };
        let mut ack = client.request.clone();
        ack.method = Method::Ack;
        ack.body.clear();
        for name in [HeaderName::Via, HeaderName::ContentType, HeaderName::Contact] {
            ack.headers.remove(name);
        }
        let Ok(cseq) = response.cseq() else { return };
        ack.headers.set(HeaderName::CSeq, HeaderValue::cleaned(&format!("{} ACK", cseq.number)));
        let tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default().to_owned();
        self.send_ack(id, &tag, ack, path);
    }
}

/// Whether two session descriptions say the same, whatever their origin lines count.
fn is_same_session(one: &[u8], other: &[u8]) -> bool {
    let lines = |sdp: &[u8]| {
        let lines = sdp.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty() && !line.starts_with(b"o=")).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}
