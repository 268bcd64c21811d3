//! Requests of the peer within a dialog: ACK, BYE, re-INVITE, UPDATE, INFO, REFER, NOTIFY.

use super::Endpoint;
use super::leg::{InboundRefer, LegTimer, Offer, Phase, Purpose, REFER_ANSWER, REOFFER_ANSWER};
use super::offered::{ALLOW, acceptable_body, unsupported_extensions};
use super::transactions::Owner;
use crate::base::Pii;
use crate::sip::dialog::Path;
use crate::sip::event::{EndCause, Event, LegId, TransferOutcome};
use crate::sip::header::HeaderName;
use crate::sip::transaction::Key;
use crate::sip::validate::Head;
use crate::sip::{Message, Method, Response, StatusCode};
use std::time::Instant;

/// What `Retry-After` says when the peer re-offers while its last one is unanswered: RFC 3261 §14.2 wants 0–10 s.
const OVERLAP_RETRY_S: &str = "2";

impl Endpoint {
    /// The leg whose dialog a request names, whoever sent it.
    fn leg_of(&self, request: &Message<'_>, head: &Head<'_>) -> Option<LegId> {
        let id = *self.by_tag.get(head.to.tag()?)?;
        self.legs.get(&id)?.dialog.matches_request(request).then_some(id)
    }

    pub(super) fn handle_in_dialog(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        head: &Head<'_>,
        key: Key,
        path: Path,
    ) {
        let found = self.leg_of(request, head);
        let Some(id) =
            found.filter(|id| self.legs.get(id).is_some_and(|leg| self.may_speak_for(leg, path.remote.ip())))
        else {
            // The right tags from the wrong place are an attack or a broken network; a wrong tag is a lost dialog.
            if found.is_none() {
                self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
            }
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let tag = leg.dialog.local_tag.to_string();
        if !leg.dialog.accept_cseq(head.cseq.number) {
            return self.answer_request(now, request, key, path, StatusCode::SERVER_INTERNAL_ERROR, &[]);
        }
        if leg.phase == Phase::Over && head.cseq.method != Method::Bye {
            return self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        }
        if let Some(unsupported) = unsupported_extensions(request, &leg.policy) {
            let headers = [(HeaderName::Unsupported, unsupported.as_str())];
            return self.answer_request(now, request, key, path, StatusCode::BAD_EXTENSION, &headers);
        }
        match head.cseq.method {
            Method::Bye => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                self.handle_bye(now, id, request);
            }
            Method::Invite | Method::Update => self.handle_offer(now, id, request, key, path, &tag),
            Method::Info => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                let content_type = request.content_type().ok().flatten();
                if let Some(kind) = content_type.filter(|_| !request.body().is_empty()) {
                    self.events.push_back(Event::Info {
                        leg: id,
                        content_type: format!("{}/{}", kind.kind, kind.subtype).to_ascii_lowercase(),
                        body: Pii::new(request.body().to_vec()),
                    });
                }
            }
            Method::Notify => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                if request.tagged(HeaderName::Event).ok().flatten().is_some_and(|event| event.is("refer")) {
                    let news =
                        self.legs.get_mut(&id).and_then(|l| l.transfer.as_mut()).and_then(|t| t.handle_notify(request));
                    self.handle_transfer_news(now, id, news);
                }
            }
            Method::Options => {
                let headers = [(HeaderName::Allow, ALLOW), (HeaderName::Accept, "application/sdp")];
                self.answer_request(now, request, key, path, StatusCode::OK, &headers);
            }
            Method::Refer => self.handle_refer(now, id, request, key, path, &tag),
            Method::Prack => self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]),
            Method::Ack
            | Method::Cancel
            | Method::Extension(_)
            | Method::Message
            | Method::Publish
            | Method::Register
            | Method::Subscribe => {
                let headers = [(HeaderName::Allow, ALLOW)];
                self.answer_request(now, request, key, path, StatusCode::METHOD_NOT_ALLOWED, &headers);
            }
        }
    }

    /// An ACK that belongs to no transaction is for a 2xx of ours (RFC 3261 §13.3.1.4).
    pub(super) fn handle_ack(&mut self, now: Instant, ack: &Message<'_>, head: &Head<'_>, path: Path) {
        let Some(id) = self.leg_of(ack, head) else { return };
        if !self.legs.get(&id).is_some_and(|leg| self.may_speak_for(leg, path.remote.ip())) {
            return;
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(acked) = leg.final_2xx.take_if(|f| f.cseq == head.cseq.number) else { return };
        leg.timers.stop(LegTimer::Resend2xx);
        leg.timers.stop(LegTimer::GiveUp2xx);
        let sdp = (acked.answer_in_ack && !ack.body().is_empty()).then(|| ack.body().to_vec());
        if leg.phase == Phase::Answered {
            leg.phase = Phase::Confirmed;
            self.events.push_back(Event::Established { leg: id, sdp });
        } else if leg.phase == Phase::Confirmed && acked.answer_in_ack {
            self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Ok(sdp) });
        }
        self.send_waiting_bye(now, id);
        self.settle_leg(id);
    }

    fn handle_bye(&mut self, now: Instant, id: LegId, bye: &Message<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        // Whoever hangs up has our 2xx, or does not want it any more.
        leg.final_2xx = None;
        leg.bye_when_acked = None;
        leg.timers.stop(LegTimer::Resend2xx);
        leg.timers.stop(LegTimer::GiveUp2xx);
        if leg.phase == Phase::Ringing
            && let Some(invite) = leg.invite
        {
            self.respond_code(now, invite, 487);
        }
        self.end(now, id, EndCause::Remote, bye.text(HeaderName::Reason));
        self.settle_leg(id);
    }

    fn handle_offer(&mut self, now: Instant, id: LegId, request: &Message<'_>, key: Key, path: Path, tag: &str) {
        if let Err((status, headers)) = acceptable_body(request) {
            return self.answer_request(now, request, key, path, status, headers);
        }
        let is_invite = request.method() == Some(&Method::Invite);
        let has_offer = !request.body().is_empty();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let is_in_order = is_invite || has_offer;
        match (&leg.offer, leg.phase) {
            // An UPDATE without offer refreshes the target and the session, whatever else is going on.
            _ if !is_in_order => {
                leg.dialog.refresh_target(request);
                let contact = contact_of(leg);
                return self.answer_request(
                    now,
                    request,
                    key,
                    path,
                    StatusCode::OK,
                    &[(HeaderName::Contact, &contact)],
                );
            }
            (Offer::Theirs { .. }, _) => {
                let headers = [(HeaderName::RetryAfter, OVERLAP_RETRY_S)];
                return self.answer_request(now, request, key, path, StatusCode::SERVER_INTERNAL_ERROR, &headers);
            }
            (Offer::Ours { transaction: Some(_), .. }, _) => {
                return self.answer_request(now, request, key, path, StatusCode::REQUEST_PENDING, &[]);
            }
            (_, Phase::Calling | Phase::Ringing | Phase::Answered | Phase::Over) => {
                return self.answer_request(now, request, key, path, StatusCode::REQUEST_PENDING, &[]);
            }
            (_, Phase::Confirmed) if leg.final_2xx.is_some() => {
                return self.answer_request(now, request, key, path, StatusCode::REQUEST_PENDING, &[]);
            }
            (Offer::None | Offer::Ours { transaction: None, .. }, Phase::Confirmed) => {}
        }
        leg.dialog.refresh_target(request);
        let home = leg.home;
        leg.dialog.aim(home);
        let owner = Owner::Leg(id, Purpose::Reoffer);
        let Some(transaction) = self.start_server(request, path, key, owner, tag) else {
            return self.answer_stateless(request, path, StatusCode::SERVICE_UNAVAILABLE, &[]);
        };
        if is_invite {
            let trying = Response::to_request(request, StatusCode::TRYING, path.remote, None);
            self.respond(now, transaction, &trying);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            // A re-offer of ours that backs off after a glare gives way: the application sees this offer first.
            if let Offer::Ours { .. } = leg.offer {
                leg.timers.stop(LegTimer::Glare);
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(491) });
            }
            leg.offer = Offer::Theirs { transaction, is_invite, has_offer };
            leg.timers.set(LegTimer::ReofferAnswer, now + REOFFER_ANSWER);
        }
        let sdp = has_offer.then(|| request.body().to_vec());
        self.events.push_back(Event::Reoffer { leg: id, sdp });
        self.trust_leg(id);
        self.settle_leg(id);
    }

    /// Takes the peer's unanswered re-offer off the leg with this status.
    pub(super) fn withdraw_their_offer(&mut self, now: Instant, id: LegId, code: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Offer::Theirs { transaction, .. } = leg.offer {
            leg.offer = Offer::None;
            leg.timers.stop(LegTimer::ReofferAnswer);
            self.respond_code(now, transaction, code);
            self.settle_leg(id);
        }
    }

    fn handle_refer(&mut self, now: Instant, id: LegId, request: &Message<'_>, key: Key, path: Path, tag: &str) {
        let Some(leg) = self.legs.get(&id) else { return };
        if !leg.policy.accept_refer || leg.inbound_refer.is_some() || leg.phase != Phase::Confirmed {
            return self.answer_request(now, request, key, path, StatusCode::DECLINE, &[]);
        }
        let target = request.address(HeaderName::ReferTo).ok().flatten().and_then(|to| Some(to.uri().ok()?.to_owned()));
        let Some(target) = target else {
            return self.answer_request(now, request, key, path, StatusCode::BAD_REQUEST, &[]);
        };
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

    /// Reports news of a transfer of ours and ends the leg after success.
    pub(super) fn handle_transfer_news(
        &mut self,
        now: Instant,
        id: LegId,
        news: Option<crate::sip::refer::TransferNews>,
    ) {
        use crate::sip::refer::TransferNews;
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

fn contact_of(leg: &super::leg::Leg) -> String {
    leg.dialog.contact.to_text().into_owned()
}
