//! What becomes of our requests: responses, time-outs, transport failures.

use super::Endpoint;
use super::leg::{InboundRefer, LegTimer, Offer, Phase, Purpose};
use super::offered::call_headers;
use super::transactions::{Owner, TransactionId};
use crate::sip::dialog::Dialog;
use crate::sip::event::{EndCause, Event, LegId};
use crate::sip::transaction::Tell;
use crate::sip::{Message, Method, StatusCode};
use std::net::SocketAddr;
use std::time::Instant;

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
        if let Owner::Leg(leg, Purpose::Invite) = owner {
            self.target_has_answered(leg);
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
            Owner::Leg(leg, Purpose::Reoffer | Purpose::Update) => {
                self.handle_change_response(now, id, leg, response, status, &cseq);
            }
            Owner::Leg(leg, Purpose::Abandoned) => self.handle_abandoned(now, id, leg, response, status),
            Owner::Leg(leg, purpose) if status.is_final() => {
                self.close_request(leg, id);
                match purpose {
                    Purpose::Refer => self.handle_refer_response(now, leg, response, status),
                    Purpose::Info if status == StatusCode::CALL_DOES_NOT_EXIST => self.lose_dialog(now, leg),
                    // RFC 5057 §5.2: that ends the subscription, not the call.
                    Purpose::Notify if status == StatusCode::CALL_DOES_NOT_EXIST => self.end_subscription(leg),
                    _ => {}
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
            Owner::Registration(registration) => self.handle_register_progress(registration),
            Owner::Nobody if is_invite && status.is_success() => self.refuse_fork(now, id, response),
            Owner::Leg(..) | Owner::Nobody | Owner::Probe(_) => {}
        }
    }

    /// Whether a challenge of this request would only prolong what is over: an INVITE that was hung up.
    fn is_unwanted(&self, owner: Owner) -> bool {
        match owner {
            Owner::Leg(id, Purpose::Bye) => !self.legs.contains_key(&id),
            Owner::Leg(_, Purpose::Abandoned) => true,
            Owner::Leg(id, _) => self.legs.get(&id).is_none_or(|leg| leg.phase == Phase::Over),
            Owner::Nobody | Owner::Probe(_) | Owner::Registration(_) => false,
        }
    }

    /// A request of a leg goes on in another transaction.
    pub(super) fn replace_transaction(&mut self, owner: Owner, old: TransactionId, new: TransactionId) {
        let Owner::Leg(leg, purpose) = owner else { return };
        let Some(leg) = self.legs.get_mut(&leg) else { return };
        leg.open.retain(|id| *id != old);
        leg.open.push(new);
        if purpose == Purpose::Invite {
            leg.invite = Some(new);
            leg.is_cancellable = false;
        }
        if let Offer::Ours { transaction: Some(transaction), .. } = &mut leg.offer
            && *transaction == old
        {
            *transaction = new;
        }
        if let Some(bare) = leg.bare_update.as_mut().filter(|bare| bare.transaction == old) {
            bare.transaction = new;
        }
    }

    pub(super) fn close_request(&mut self, leg: LegId, id: TransactionId) {
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.open.retain(|open| *open != id);
        }
    }

    /// Sends the ACK of a 2xx to the INVITE of this transaction; gives the dialog the 2xx made.
    pub(super) fn acknowledge(&mut self, id: TransactionId, response: &Message<'_>) -> Option<Dialog> {
        let template = self.transactions.get(id)?.client()?.template.as_ref()?;
        let dialog = template.from_response(response).ok()?;
        let ack = dialog.ack(response.cseq().ok()?.number);
        let (tag, path) = (dialog.remote_tag.clone(), dialog.path);
        self.send_ack(id, &tag, ack, path);
        Some(dialog)
    }

    /// A 2xx that nobody wants any more: acknowledged and hung up (RFC 3261 §13.2.2.4).
    pub(super) fn refuse_fork(&mut self, now: Instant, id: TransactionId, response: &Message<'_>) {
        if let Some(mut dialog) = self.acknowledge(id, response) {
            let identity = self.transactions.get(id).and_then(|t| t.client()?.identity.clone());
            let bye = dialog.request(Method::Bye);
            // A full table leaves the BYE to the peer's own time-out.
            let _ = self.start_client(now, bye, dialog.path, Owner::Nobody, identity);
        }
    }

    /// The peer does not know the dialog: BYE for the sake of a half-open one, and the end (RFC 3261 §12.2.1.2).
    pub(super) fn lose_dialog(&mut self, now: Instant, id: LegId) {
        if self.legs.get(&id).is_some_and(|leg| leg.phase != Phase::Over) {
            self.hang_up(now, id, EndCause::DialogLost, &[]);
        }
    }

    /// The peer has forgotten that its REFER subscribed it to reports.
    fn end_subscription(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.inbound_refer.take_if(|refer| matches!(refer, InboundRefer::Accepted { .. }));
            leg.timers.stop(LegTimer::Subscription);
        }
    }

    /// A transaction ended without a final response.
    pub(super) fn handle_failure(&mut self, now: Instant, id: TransactionId, owner: Owner, tell: Tell) {
        match owner {
            Owner::Leg(leg, Purpose::Invite) => self.handle_invite_failure(now, id, leg, tell),
            Owner::Leg(leg, Purpose::Reoffer | Purpose::Update) => self.handle_change_failure(now, id, leg),
            Owner::Leg(leg, Purpose::Refer) => self.handle_refer_failure(now, id, leg),
            Owner::Leg(leg, Purpose::Abandoned | Purpose::Bye | Purpose::Info | Purpose::Notify | Purpose::Prack) => {
                self.close_request(leg, id);
                self.settle_leg(leg);
            }
            Owner::Registration(registration) => self.handle_register_failure(now, registration, tell),
            Owner::Probe(probe) => self.events.push_back(Event::ProbeFinished { probe, answer: None }),
            Owner::Nobody => {}
        }
    }
}
