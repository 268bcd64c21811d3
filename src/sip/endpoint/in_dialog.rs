//! Requests of the peer within a dialog: whose they are, whether they come in order, and what serves them.

use super::Endpoint;
use super::leg::{Leg, LegTimer, Phase};
use super::offered::{ALLOW, unsupported_extensions};
use crate::base::Pii;
use crate::sip::dialog::Path;
use crate::sip::event::{EndCause, Event, LegId};
use crate::sip::header::HeaderName;
use crate::sip::multipart::session_description;
use crate::sip::transaction::Key;
use crate::sip::validate::Head;
use crate::sip::{Message, Method, StatusCode};
use std::time::Instant;

/// The kinds of INFO that carry DTMF, as their 415 lists them.
const INFO_KINDS: &str = "application/dtmf-relay, application/dtmf, audio/telephone-event";

impl Endpoint {
    /// The leg whose dialog a request names, whoever sent it.
    fn leg_of(&self, request: &Message<'_>, head: &Head<'_>) -> Option<LegId> {
        let id = *self.by_tag.get(head.to.tag()?)?;
        let leg = self.legs.get(&id)?;
        let is_early = || leg.early.iter().any(|early| early.dialog.matches_request(request));
        (leg.dialog.matches_request(request) || is_early()).then_some(id)
    }

    /// Whether a request names a call of ours, by words that nobody guesses, whose answer has not come: it has overtaken
    /// the response that makes its dialog. Its repetition comes in order; a 481 would end the call that is being made.
    fn is_ahead_of_its_dialog(&self, request: &Message<'_>, head: &Head<'_>) -> bool {
        let leg = head.to.tag().and_then(|tag| self.legs.get(self.by_tag.get(tag)?));
        leg.is_some_and(|leg| {
            leg.phase == Phase::Calling
                && !leg.dialog.path.transport.is_reliable()
                && request.call_id().is_ok_and(|id| *id == *leg.dialog.call_id)
        })
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
        let may_speak = |leg: &Leg| {
            let source = path.remote.ip();
            let is_early = || leg.early.iter().any(|early| self.is_same_peer(early.dialog.path.remote, source));
            self.may_speak_for(leg, source) || is_early()
        };
        let Some(id) = found.filter(|id| self.legs.get(id).is_some_and(may_speak)) else {
            // The right tags from the wrong place are an attack or a broken network; a wrong tag is a lost dialog.
            match found {
                Some(_) => self.counters.spoofed = self.counters.spoofed.saturating_add(1),
                None if self.is_ahead_of_its_dialog(request, head) => {}
                None => self.answer_stateless(request, path, StatusCode::CALL_DOES_NOT_EXIST, &[]),
            }
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let tag = leg.dialog.local_tag.to_string();
        if !leg.dialog_of(request).accept_cseq(head.cseq.number) {
            return self.answer_request(now, request, key, path, StatusCode::SERVER_INTERNAL_ERROR, &[]);
        }
        if leg.phase == Phase::Over && head.cseq.method != Method::Bye {
            return self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        }
        if let Some(unsupported) = unsupported_extensions(request, &leg.policy) {
            let headers = [(HeaderName::Unsupported, unsupported.as_str())];
            return self.answer_request(now, request, key, path, StatusCode::BAD_EXTENSION, &headers);
        }
        let is_early_fit = matches!(head.cseq.method, Method::Bye | Method::Info | Method::Options | Method::Update);
        if leg.phase == Phase::Calling && !is_early_fit {
            return self.answer_request(now, request, key, path, StatusCode::CALL_DOES_NOT_EXIST, &[]);
        }
        match head.cseq.method {
            Method::Bye => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                self.handle_bye(now, id, request);
            }
            Method::Invite | Method::Update => self.handle_offer(now, id, request, key, path, &tag),
            Method::Info => self.handle_info(now, id, request, key, path),
            Method::Notify => self.handle_notify(now, id, request, key, path),
            Method::Options => {
                let headers = [(HeaderName::Allow, ALLOW), (HeaderName::Accept, "application/sdp")];
                self.answer_request(now, request, key, path, StatusCode::OK, &headers);
            }
            Method::Refer => self.handle_refer(now, id, request, key, path, &tag),
            Method::Prack => self.handle_prack(now, id, request, key, path, &tag),
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
        let sdp = session_description(ack).filter(|_| acked.answer_in_ack).map(<[u8]>::to_vec);
        if let Some(sdp) = &sdp {
            leg.remote_sdp.clone_from(sdp);
        }
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
        if leg.phase == Phase::Calling {
            // The callee took the call, its 2xx did not get through, and it gave up. Other forks may still take it.
            leg.early.retain(|early| !early.dialog.matches_request(bye));
            if leg.early.is_empty() {
                self.hang_up(now, id, EndCause::Remote, &[]);
            }
            return;
        }
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

    /// INFO (RFC 6086): DTMF reaches the application; an empty one is a keep-alive. Packages are not served: 469.
    fn handle_info(&mut self, now: Instant, id: LegId, request: &Message<'_>, key: Key, path: Path) {
        if request.values_spelled("Info-Package").next().is_some() {
            return self.answer_request(now, request, key, path, StatusCode::BAD_INFO_PACKAGE, &[]);
        }
        if request.body().is_empty() {
            return self.answer_request(now, request, key, path, StatusCode::OK, &[]);
        }
        let kind = request.content_type().ok().flatten();
        let kind = kind.map(|kind| format!("{}/{}", kind.kind, kind.subtype).to_ascii_lowercase());
        match kind.filter(|kind| INFO_KINDS.split(", ").any(|served| served == kind)) {
            Some(content_type) => {
                self.answer_request(now, request, key, path, StatusCode::OK, &[]);
                let body = Pii::new(request.body().to_vec());
                self.events.push_back(Event::Info { leg: id, content_type, body });
            }
            None => {
                let headers = [(HeaderName::Accept, INFO_KINDS)];
                self.answer_request(now, request, key, path, StatusCode::UNSUPPORTED_MEDIA_TYPE, &headers);
            }
        }
    }
}
