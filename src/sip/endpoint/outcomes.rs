//! What becomes of our requests: responses, time-outs, transport failures.

use super::Endpoint;
use super::leg::{GLARE_ATTEMPTS, LegTimer, Offer, Phase, Purpose};
use super::offered::call_headers;
use super::transactions::{Owner, TransactionId};
use crate::sip::dialog::Dialog;
use crate::sip::event::{EndCause, Event, LegId, Missing, TransferOutcome};
use crate::sip::header::HeaderName;
use crate::sip::transaction::Tell;
use crate::sip::{Message, Method, StatusCode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

impl Endpoint {
    /// A response that the transaction machine let through.
    pub(super) fn handle_outcome(
        &mut self,
        now: Instant,
        id: TransactionId,
        owner: Owner,
        response: &Message<'_>,
        source: SocketAddr,
    ) {
        let (Some(status), Ok(cseq)) = (response.status(), response.cseq()) else { return };
        let is_invite = cseq.method == Method::Invite;
        if is_invite && status.is_success() {
            let tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default();
            if self.repeat_ack(id, tag) {
                return;
            }
        }
        if status.is_success() {
            self.pin_realm(id);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            && !self.is_unwanted(owner)
            && let Some(again) = self.answer_challenge(now, id, owner, response, source)
        {
            self.set_owner(id, Owner::Nobody);
            self.replace_transaction(owner, id, again);
            return;
        }
        match owner {
            Owner::Leg(leg, Purpose::Invite) => self.handle_invite_response(now, id, leg, response, status),
            Owner::Leg(leg, Purpose::Reoffer) => {
                self.handle_reoffer_response(now, id, leg, response, status, cseq.number);
            }
            Owner::Leg(leg, purpose) if status.is_final() => {
                self.close_request(leg, id);
                match purpose {
                    Purpose::Refer => self.handle_refer_response(now, leg, response, status),
                    Purpose::Info | Purpose::Notify if status == StatusCode::CALL_DOES_NOT_EXIST => {
                        self.lose_dialog(now, leg);
                    }
                    Purpose::Bye | Purpose::Info | Purpose::Invite | Purpose::Notify | Purpose::Reoffer => {}
                }
                self.settle_leg(leg);
            }
            Owner::Probe(probe) if status.is_final() => {
                self.set_owner(id, Owner::Nobody);
                let answer = Some((status.code(), call_headers(response)));
                self.events.push_back(Event::ProbeFinished { probe, answer });
            }
            Owner::Registration(registration) if status.is_final() => {
                self.set_owner(id, Owner::Nobody);
                self.handle_register_response(now, registration, response);
            }
            Owner::Nobody if is_invite && status.is_success() => self.refuse_fork(now, id, response),
            Owner::Leg(..) | Owner::Nobody | Owner::Probe(_) | Owner::Registration(_) => {}
        }
    }

    /// Whether a challenge of this request would only prolong what is over: an INVITE that was hung up.
    fn is_unwanted(&self, owner: Owner) -> bool {
        match owner {
            Owner::Leg(id, Purpose::Bye) => !self.legs.contains_key(&id),
            Owner::Leg(id, _) => self.legs.get(&id).is_none_or(|leg| leg.phase == Phase::Over),
            Owner::Nobody | Owner::Probe(_) | Owner::Registration(_) => false,
        }
    }

    /// A request of a leg goes on in another transaction.
    fn replace_transaction(&mut self, owner: Owner, old: TransactionId, new: TransactionId) {
        let Owner::Leg(leg, purpose) = owner else { return };
        let Some(leg) = self.legs.get_mut(&leg) else { return };
        leg.open.retain(|id| *id != old);
        leg.open.push(new);
        match (purpose, &mut leg.offer) {
            (Purpose::Invite, _) => {
                leg.invite = Some(new);
                leg.is_cancellable = false;
            }
            (Purpose::Reoffer, Offer::Ours { transaction, .. }) => *transaction = Some(new),
            _ => {}
        }
    }

    fn close_request(&mut self, leg: LegId, id: TransactionId) {
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.open.retain(|open| *open != id);
        }
    }

    fn handle_invite_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        leg_id: LegId,
        response: &Message<'_>,
        status: StatusCode,
    ) {
        let Some(leg) = self.legs.get_mut(&leg_id).filter(|leg| leg.invite == Some(id)) else {
            if status.is_success() {
                self.refuse_fork(now, id, response);
            }
            return;
        };
        if status.is_provisional() {
            leg.is_cancellable = true;
            if leg.cancel_wanted {
                leg.cancel_wanted = false;
                self.start_cancel(now, id);
            } else if status.code() > 100 && leg.phase == Phase::Calling {
                let sdp = (!response.body().is_empty()).then(|| response.body().to_vec());
                if let (Some(sdp), Some(tag)) = (&sdp, response.to().ok().and_then(|to| to.tag())) {
                    leg.early_sdp = Some((tag.into(), sdp.clone()));
                }
                self.events.push_back(Event::Progress { leg: leg_id, code: status.code(), sdp, fork: 0 });
            }
            return;
        }
        leg.open.retain(|open| *open != id);
        if !status.is_success() {
            let cause = EndCause::Rejected {
                code: status.code(),
                phrase: response.reason_phrase().into_owned(),
                retry_after: retry_after(response),
            };
            self.end(now, leg_id, cause, response.text(HeaderName::Reason));
            return self.settle_leg(leg_id);
        }
        if leg.phase != Phase::Calling {
            // Hung up before it was answered, or another fork answered first.
            self.refuse_fork(now, id, response);
            return self.settle_leg(leg_id);
        }
        let Some(dialog) = self.acknowledge(id, response) else {
            // A 2xx that makes no dialog cannot even be hung up.
            self.end(now, leg_id, EndCause::DialogLost, None);
            return self.settle_leg(leg_id);
        };
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        leg.timers.stop(LegTimer::Ring);
        leg.phase = Phase::Confirmed;
        let tag = dialog.remote_tag.clone();
        leg.dialog = Dialog { local_cseq: leg.dialog.local_cseq, ..dialog };
        let early = leg.early_sdp.take().filter(|(early, _)| *early == tag).map(|(_, sdp)| sdp);
        let sdp = if response.body().is_empty() { early } else { Some(response.body().to_vec()) };
        self.events.push_back(Event::Answered { leg: leg_id, sdp, headers: call_headers(response) });
        self.trust_leg(leg_id);
        self.settle_leg(leg_id);
    }

    /// Sends the ACK of a 2xx to the INVITE of this transaction; gives the dialog the 2xx made.
    fn acknowledge(&mut self, id: TransactionId, response: &Message<'_>) -> Option<Dialog> {
        let template = self.transactions.get(id)?.client()?.template.as_ref()?;
        let dialog = template.from_response(response).ok()?;
        let ack = dialog.ack(response.cseq().ok()?.number);
        let (tag, path) = (dialog.remote_tag.clone(), dialog.path);
        self.send_ack(id, &tag, ack, path);
        Some(dialog)
    }

    /// A 2xx that nobody wants any more: acknowledged and hung up (RFC 3261 §13.2.2.4).
    fn refuse_fork(&mut self, now: Instant, id: TransactionId, response: &Message<'_>) {
        if let Some(mut dialog) = self.acknowledge(id, response) {
            let identity = self.transactions.get(id).and_then(|t| t.client()?.identity.clone());
            let bye = dialog.request(Method::Bye);
            // A full table leaves the BYE to the peer's own time-out.
            let _ = self.start_client(now, bye, dialog.path, Owner::Nobody, identity);
        }
    }

    fn handle_reoffer_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        leg_id: LegId,
        response: &Message<'_>,
        status: StatusCode,
        cseq: u32,
    ) {
        if status.is_provisional() {
            return;
        }
        let Some(leg) = self.legs.get_mut(&leg_id) else {
            return self.acknowledge_stray_reoffer(id, response);
        };
        leg.open.retain(|open| *open != id);
        if status.is_success() {
            if leg.phase != Phase::Over {
                leg.dialog.refresh_target(response);
                let home = leg.home;
                leg.dialog.aim(home);
            }
            let (ack, tag, path) = (leg.dialog.ack(cseq), leg.dialog.remote_tag.clone(), leg.dialog.path);
            self.send_ack(id, &tag, ack, path);
            self.trust_leg(leg_id);
        }
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        let is_ours = matches!(&leg.offer, Offer::Ours { transaction: Some(t), .. } if *t == id);
        if !is_ours || leg.phase == Phase::Over {
            return self.settle_leg(leg_id);
        }
        leg.timers.stop(LegTimer::ReofferGiveUp);
        let Offer::Ours { sdp, glares, .. } = std::mem::replace(&mut leg.offer, Offer::None) else { return };
        match status.code() {
            200..=299 => {
                let answer = (!response.body().is_empty()).then(|| response.body().to_vec());
                self.events.push_back(Event::ReofferAnswered { leg: leg_id, outcome: Ok(answer) });
            }
            491 if glares < GLARE_ATTEMPTS => {
                // RFC 3261 §14.1: 2.1–4 s for the side that made the Call-ID, 0–2 s for the other, in steps of 10 ms.
                let steps = if leg.dialog.owns_call_id { 210 + self.random.below(191) } else { self.random.below(201) };
                leg.timers.set(LegTimer::Glare, now + Duration::from_millis(steps * 10));
                leg.offer = Offer::Ours { sdp, glares: glares.saturating_add(1), transaction: None };
            }
            408 | 481 => self.lose_dialog(now, leg_id),
            code => self.events.push_back(Event::ReofferAnswered { leg: leg_id, outcome: Err(code) }),
        }
        self.settle_leg(leg_id);
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
        ack.headers.set(HeaderName::CSeq, crate::sip::HeaderValue::cleaned(&format!("{} ACK", cseq.number)));
        let tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default().to_owned();
        self.send_ack(id, &tag, ack, path);
    }

    fn handle_refer_response(&mut self, now: Instant, id: LegId, response: &Message<'_>, status: StatusCode) {
        if status == StatusCode::CALL_DOES_NOT_EXIST {
            return self.lose_dialog(now, id);
        }
        let Some(transfer) = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut()) else { return };
        let news = transfer.handle_response(status, &response.reason_phrase());
        self.handle_transfer_news(now, id, news);
    }

    /// The peer does not know the dialog: BYE for the sake of a half-open one, and the end (RFC 3261 §12.2.1.2).
    fn lose_dialog(&mut self, now: Instant, id: LegId) {
        if self.legs.get(&id).is_some_and(|leg| leg.phase != Phase::Over) {
            self.hang_up(now, id, EndCause::DialogLost, &[]);
        }
    }

    /// A transaction ended without a final response.
    pub(super) fn handle_failure(&mut self, now: Instant, id: TransactionId, owner: Owner, tell: Tell) {
        match owner {
            Owner::Leg(leg, Purpose::Invite) => {
                self.close_request(leg, id);
                if self.legs.get(&leg).is_some_and(|l| l.invite == Some(id) && l.phase == Phase::Calling) {
                    let cause = match tell {
                        Tell::TransportFailed => EndCause::Transport,
                        Tell::Response | Tell::TimedOut => EndCause::TimedOut(Missing::Response),
                    };
                    self.end(now, leg, cause, None);
                }
                self.settle_leg(leg);
            }
            Owner::Leg(leg, Purpose::Reoffer) => {
                self.close_request(leg, id);
                if self
                    .legs
                    .get(&leg)
                    .is_some_and(|l| matches!(&l.offer, Offer::Ours { transaction: Some(t), .. } if *t == id))
                {
                    self.lose_dialog(now, leg);
                }
                self.settle_leg(leg);
            }
            Owner::Leg(leg, Purpose::Refer) => {
                self.close_request(leg, id);
                if self.legs.get(&leg).is_some_and(|l| l.transfer.is_some()) {
                    let outcome = TransferOutcome::Refused { code: 408, phrase: "no answer to the REFER".to_owned() };
                    let news = crate::sip::refer::TransferNews::Finished(outcome);
                    self.handle_transfer_news(now, leg, Some(news));
                }
                self.settle_leg(leg);
            }
            Owner::Leg(leg, Purpose::Bye | Purpose::Info | Purpose::Notify) => {
                self.close_request(leg, id);
                self.settle_leg(leg);
            }
            Owner::Registration(registration) => self.handle_register_failure(now, registration, tell),
            Owner::Probe(probe) => self.events.push_back(Event::ProbeFinished { probe, answer: None }),
            Owner::Nobody => {}
        }
    }
}

fn retry_after(response: &Message<'_>) -> Option<Duration> {
    response.seconds(HeaderName::RetryAfter).ok().flatten().map(|s| Duration::from_secs(u64::from(s)))
}
