//! Transfers: REFER both ways and the NOTIFYs that report on them (RFC 3515, RFC 3892, RFC 3891).

use super::leg::{InboundRefer, LegTimer, Phase, Purpose, REFER_ANSWER, REFER_SUBSCRIPTION};
use super::transactions::{Owner, TransactionId};
use super::{CommandError, Endpoint};
use crate::base::Pii;
use crate::sip::config::Refer;
use crate::sip::dialog::Path;
use crate::sip::event::{EndCause, Event, LegId, TransferOutcome};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::refer::{Transfer, TransferNews, is_invitation, sipfrag};
use crate::sip::transaction::Key;
use crate::sip::{Message, Method, StatusCode};
use std::time::Instant;

impl Endpoint {
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
        let number = state.dialog.local_cseq;
        let target = match &refer.replaces {
            Some(replaces) => refer.target.with_header("Replaces", replaces),
            None => refer.target,
        };
        request.headers.push(HeaderName::ReferTo, HeaderValue::name_addr(None, &target, &[]));
        if let Some(by) = &refer.referred_by {
            request.headers.push(HeaderName::ReferredBy, HeaderValue::name_addr(None, by, &[]));
        }
        for (name, value) in &refer.headers {
            request.headers.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
        }
        self.send_in_dialog(now, leg, request, Purpose::Refer)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            state.transfer = Some(Transfer::new(number));
            state.has_referred = true;
            state.timers.set(LegTimer::Transfer, now + refer.timeout);
        }
        self.settle_leg(leg);
        Ok(())
    }

    /// Accepts the peer's REFER with 202 and tells it "100 Trying"; report the rest with [`Self::notify_refer`]. The
    /// peer's subscription lasts 180 s; a transfer undecided by then is reported so by the endpoint.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending.
    pub fn accept_refer(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        let transaction = self.pending_refer(leg)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            let until = now + REFER_SUBSCRIPTION;
            state.inbound_refer = Some(InboundRefer::Accepted { until, last: 100 });
            state.timers.set(LegTimer::Subscription, until);
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
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when no REFER was accepted or its subscription is over;
    /// [`CommandError::Full`].
    pub fn notify_refer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let status = StatusCode::new(code).ok_or(CommandError::WrongState)?;
        let Some(InboundRefer::Accepted { until, last }) = &mut state.inbound_refer else {
            return Err(CommandError::WrongState);
        };
        *last = code;
        let left_s = until.saturating_duration_since(now).as_secs();
        if status.is_final() {
            state.inbound_refer = None;
            state.timers.stop(LegTimer::Subscription);
            self.settle_leg(leg);
            return self.send_report(now, leg, status, "terminated;reason=noresource");
        }
        self.settle_leg(leg);
        self.send_report(now, leg, status, &format!("active;expires={left_s}"))
    }

    /// The subscription of the peer's REFER ends undecided (RFC 6665 §4.2.2).
    pub(super) fn expire_subscription(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(InboundRefer::Accepted { last, .. }) = leg.inbound_refer
            && let Some(status) = StatusCode::new(last)
        {
            leg.inbound_refer = None;
            // Nobody else is to be told when it cannot be sent.
            let _ = self.send_report(now, id, status, "terminated;reason=timeout");
        }
    }

    fn send_report(
        &mut self,
        now: Instant,
        leg: LegId,
        status: StatusCode,
        subscription: &str,
    ) -> Result<(), CommandError> {
        let mut notify = self.live_leg(leg)?.dialog.request(Method::Notify);
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

    fn pending_refer(&mut self, leg: LegId) -> Result<TransactionId, CommandError> {
        let state = self.live_leg(leg)?;
        let Some(InboundRefer::Pending(transaction)) = state.inbound_refer else {
            return Err(CommandError::WrongState);
        };
        state.inbound_refer = None;
        state.timers.stop(LegTimer::ReferAnswer);
        Ok(transaction)
    }

    pub(super) fn handle_refer(
        &mut self,
        now: Instant,
        id: LegId,
        request: &Message<'_>,
        key: Key,
        path: Path,
        tag: &str,
    ) {
        let Some(leg) = self.legs.get(&id) else { return };
        if !leg.policy.accept_refer || leg.inbound_refer.is_some() || leg.phase != Phase::Confirmed {
            return self.answer_request(now, request, key, path, StatusCode::DECLINE, &[]);
        }
        let target = request.address(HeaderName::ReferTo).ok().flatten().and_then(|to| Some(to.uri().ok()?.to_owned()));
        let Some(target) = target else {
            return self.answer_request(now, request, key, path, StatusCode::BAD_REQUEST, &[]);
        };
        // Nobody has us send BYE or anything else to third parties.
        if !is_invitation(&target) {
            return self.answer_request(now, request, key, path, StatusCode::DECLINE, &[]);
        }
        let Some(transaction) = self.start_server(request, path, key, Owner::Leg(id, Purpose::Refer), tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.inbound_refer = Some(InboundRefer::Pending(transaction));
            leg.timers.set(LegTimer::ReferAnswer, now + REFER_ANSWER);
        }
        self.events.push_back(Event::TransferRequested {
            leg: id,
            replaces: target.view().header("Replaces").map(Pii::new),
            target: Pii::new(target.to_request_uri()),
            referred_by: request.text(HeaderName::ReferredBy).map(Pii::new),
        });
        self.settle_leg(id);
    }

    /// A NOTIFY within a call: about a REFER of ours, which may come before the 202, or what PBXs send unasked. A
    /// subscription that never was gets 481 (RFC 6665 §4.1.3).
    pub(super) fn handle_notify(&mut self, now: Instant, id: LegId, request: &Message<'_>, key: Key, path: Path) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let is_refer = request.tagged(HeaderName::Event).ok().flatten().is_some_and(|event| event.is("refer"));
        if !(is_refer && leg.has_referred || super::inbound::is_unsolicited(request)) {
            return self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        }
        let news = leg.transfer.as_mut().filter(|_| is_refer).and_then(|transfer| transfer.handle_notify(request));
        self.answer_request(now, request, key, path, StatusCode::OK, &[]);
        self.handle_transfer_news(now, id, news);
    }

    pub(super) fn handle_refer_response(
        &mut self,
        now: Instant,
        id: LegId,
        response: &Message<'_>,
        status: StatusCode,
    ) {
        if status == StatusCode::CALL_DOES_NOT_EXIST {
            return self.lose_dialog(now, id);
        }
        let Some(transfer) = self.legs.get_mut(&id).and_then(|leg| leg.transfer.as_mut()) else { return };
        let news = transfer.handle_response(status, &response.reason_phrase());
        self.handle_transfer_news(now, id, news);
    }

    /// Our REFER got no answer.
    pub(super) fn handle_refer_failure(&mut self, now: Instant, id: TransactionId, leg: LegId) {
        self.close_request(leg, id);
        if self.legs.get(&leg).is_some_and(|l| l.transfer.is_some()) {
            let outcome = TransferOutcome::Refused { code: 408, phrase: "no answer to the REFER".to_owned() };
            self.handle_transfer_news(now, leg, Some(TransferNews::Finished(outcome)));
        }
        self.settle_leg(leg);
    }

    /// Reports news of a transfer of ours and ends the leg after success.
    fn handle_transfer_news(&mut self, now: Instant, id: LegId, news: Option<TransferNews>) {
        match news {
            None => {}
            Some(TransferNews::Progress(code)) => self.events.push_back(Event::TransferProgress { leg: id, code }),
            Some(TransferNews::Finished(outcome)) => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.transfer = None;
                    leg.timers.stop(LegTimer::Transfer);
                }
                let is_accepted = outcome == TransferOutcome::Accepted;
                self.events.push_back(Event::TransferFinished { leg: id, outcome });
                if is_accepted {
                    self.hang_up(now, id, EndCause::Transferred, &[]);
                }
                self.settle_leg(id);
            }
        }
    }
}
