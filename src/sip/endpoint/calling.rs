//! Calls of ours until they are taken: the INVITE, its targets one after the other, early dialogs and their PRACKs.

use super::leg::{Attempt, Early, FAILOVER, Leg, LegTimer, MAX_EARLY_DIALOGS, Offer, Phase, Purpose};
use super::offered::call_headers;
use super::transactions::{Identity, Owner, TransactionId};
use super::{CommandError, Endpoint};
use crate::sip::config::{DialogPolicy, OutgoingInvite, ReliableProvisional};
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{EndCause, Event, LegId, Missing, Peer};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::multipart::session_description;
use crate::sip::reliable::Receiver;
use crate::sip::session_timer::{Asked, Session};
use crate::sip::transaction::Tell;
use crate::sip::{Headers, Message, Method, Request, StatusCode};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

impl Endpoint {
    /// Places a call. Its course comes as events of the leg; exactly one `Ended` closes it. A target that does not answer
    /// within 4 s, cannot be reached or says 503 before it rings gives way to the next (RFC 3263 §4.3); redirections are
    /// not followed.
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::InvalidHeader`], [`CommandError::NoLocalAddress`],
    /// [`CommandError::NoTarget`], [`CommandError::PeerLimit`].
    pub fn invite(&mut self, now: Instant, mut call: OutgoingInvite) -> Result<LegId, CommandError> {
        let mut targets: VecDeque<_> = std::mem::take(&mut call.targets).into();
        if targets.is_empty() {
            return Err(CommandError::NoTarget);
        }
        let path = std::iter::from_fn(|| targets.pop_front())
            .find_map(|target| self.path_to(target.transport, target.remote))
            .ok_or(CommandError::NoLocalAddress)?;
        if self.live_legs >= self.config.max_legs {
            return Err(CommandError::Full);
        }
        let local_tag = self.random.hex(16);
        let from = &call.from;
        let mut dialog = Dialog {
            call_id: self.random.hex(32).into(),
            local_party: HeaderValue::name_addr(from.display.as_deref(), &from.uri, &[("tag", Some(&local_tag))]),
            local_tag: local_tag.into(),
            remote_party: HeaderValue::name_addr(None, &call.target.to_request_uri(), &[]),
            remote_tag: "".into(),
            local_cseq: 0,
            remote_cseq: None,
            route_set: self.route_of(&call, path),
            remote_target: call.target.clone(),
            contact: HeaderValue::cleaned(""),
            path,
            owns_call_id: true,
        };
        let session = Session::new(call.dialog.session_timer);
        let request = self.compose_invite(&mut dialog, &call, &session)?;
        self.admit_outgoing_call(now, call.peer.as_deref(), path.remote.ip())?;
        let id = LegId(self.next_id());
        let mut leg = Leg::new(id, Phase::Calling, dialog, path.remote, call.dialog);
        leg.peer = call.peer.clone().map(Peer::Known);
        leg.local_sdp.clone_from(&call.sdp);
        leg.attempt = Some(Attempt { call, targets, has_progressed: false }.into());
        leg.timers.set(LegTimer::Ring, now + self.config.ring_timeout);
        self.start_invite(now, &mut leg, request)?;
        self.add_leg(leg);
        Ok(id)
    }

    fn compose_invite(
        &self,
        dialog: &mut Dialog,
        call: &OutgoingInvite,
        session: &Session,
    ) -> Result<Request, CommandError> {
        let user = call.contact_user.as_deref().unwrap_or(&self.config.contact_user);
        dialog.contact = self.contact_value(user, dialog.path);
        let mut request = dialog.request(Method::Invite);
        self.add_capabilities(&mut request.headers, &call.dialog);
        add_fields(&mut request.headers, session.request_fields());
        let mut required = Vec::new();
        if call.dialog.reliable_provisional == ReliableProvisional::Required {
            required.push("100rel");
        }
        if let Some(replaces) = &call.replaces {
            let value = HeaderValue::try_from(replaces.as_str()).map_err(|_| CommandError::InvalidHeader)?;
            request.headers.push(HeaderName::Replaces, value);
            required.push("replaces");
        }
        if !required.is_empty() {
            request.headers.push(HeaderName::Require, HeaderValue::cleaned(&required.join(", ")));
        }
        if let Some(agent) = &self.config.user_agent {
            request.headers.push(HeaderName::UserAgent, HeaderValue::cleaned(agent));
        }
        for (name, value) in &call.headers {
            request.headers.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
        }
        Ok(if call.sdp.is_empty() {
            request
        } else {
            request.with_body(HeaderValue::cleaned("application/sdp"), call.sdp.clone())
        })
    }

    /// Sends an INVITE of a leg that is calling, the first or another one.
    fn start_invite(&mut self, now: Instant, leg: &mut Leg, request: Request) -> Result<(), CommandError> {
        let (path, owner) = (leg.dialog.path, Owner::Leg(leg.id, Purpose::Invite));
        let account = leg.attempt.as_ref().and_then(|attempt| attempt.call.account.clone());
        let identity = account.map(|account| Identity { account, peer: path.remote });
        let transaction = self.start_client(now, request, path, owner, identity.clone())?;
        let template = leg.dialog.clone();
        self.with_client(transaction, |client| client.template = Some(template));
        if !matches!((&leg.peer, &leg.attempt), (Some(Peer::Known(_)), Some(attempt)) if attempt.call.peer.is_some()) {
            leg.peer = self.known_peer(path.remote.ip()).map(|peer| Peer::Known(peer.name.clone()));
        }
        leg.identity = identity;
        leg.invite = Some(transaction);
        leg.invite_cseq = leg.dialog.local_cseq;
        leg.is_cancellable = false;
        leg.home = path.remote;
        leg.open.push(transaction);
        if leg.attempt.as_ref().is_some_and(|attempt| !attempt.targets.is_empty()) {
            leg.timers.set(LegTimer::Failover, now + FAILOVER);
        } else {
            leg.timers.stop(LegTimer::Failover);
        }
        Ok(())
    }

    /// Sends the INVITE again by this way, with the next CSeq number. False if it cannot be sent.
    fn invite_again(&mut self, now: Instant, id: LegId, path: Path) -> bool {
        let Some(mut leg) = self.legs.remove(&id) else { return false };
        leg.dialog.path = path;
        leg.early.clear();
        let composed = leg.attempt.as_ref().map(|attempt| {
            let mut dialog = Dialog { route_set: self.route_of(&attempt.call, path), ..leg.dialog.clone() };
            self.compose_invite(&mut dialog, &attempt.call, &leg.session).map(|request| (dialog, request))
        });
        let is_sent = match composed {
            Some(Ok((dialog, request))) => {
                leg.dialog = dialog;
                self.start_invite(now, &mut leg, request).is_ok()
            }
            Some(Err(_)) | None => false,
        };
        self.legs.insert(id, leg);
        self.trust_leg(id);
        self.settle_leg(id);
        is_sent
    }

    /// Tries the next target of a call that is still undecided. False when none is left.
    fn try_next_target(&mut self, now: Instant, id: LegId) -> bool {
        loop {
            let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Calling) else { return false };
            let Some(attempt) = &mut leg.attempt else { return false };
            if attempt.has_progressed {
                return false;
            }
            let Some(target) = attempt.targets.pop_front() else { return false };
            if let Some(path) = self.path_to(target.transport, target.remote)
                && self.invite_again(now, id, path)
            {
                tracing::info!(leg = %id, "the target did not serve the call; trying the next");
                return true;
            }
        }
    }

    /// A target has said a word: it is not given up for its silence.
    pub(super) fn target_has_answered(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id)
            && leg.timers.is_running(LegTimer::Failover)
        {
            leg.timers.stop(LegTimer::Failover);
            self.settle_leg(id);
        }
    }

    /// A target has not said a word in [`FAILOVER`]. Its INVITE is left to itself: see [`Purpose::Abandoned`].
    pub(super) fn abandon_target(&mut self, now: Instant, id: LegId) {
        let silent = self.legs.get(&id).filter(|leg| leg.phase == Phase::Calling).and_then(|leg| leg.invite);
        let Some(silent) = silent else { return };
        if self.try_next_target(now, id) {
            self.set_owner(silent, Owner::Leg(id, Purpose::Abandoned));
        }
    }

    /// A response to an INVITE that was given up: cancelled when it rings, hung up when it is taken.
    pub(super) fn handle_abandoned(
        &mut self,
        now: Instant,
        id: TransactionId,
        leg: LegId,
        response: &Message<'_>,
        status: StatusCode,
    ) {
        if status.is_provisional() {
            return self.start_cancel(now, id);
        }
        if status.is_success() {
            self.refuse_fork(now, id, response);
        }
        self.close_request(leg, id);
        self.settle_leg(leg);
    }

    /// The INVITE of a call was not answered at all.
    pub(super) fn handle_invite_failure(&mut self, now: Instant, id: TransactionId, leg: LegId, tell: Tell) {
        self.close_request(leg, id);
        let is_calling = self.legs.get(&leg).is_some_and(|l| l.invite == Some(id) && l.phase == Phase::Calling);
        if is_calling && !self.try_next_target(now, leg) {
            let cause = match tell {
                Tell::TransportFailed => EndCause::Transport,
                Tell::Response | Tell::TimedOut => EndCause::TimedOut(Missing::Response),
            };
            self.end(now, leg, cause, None);
        }
        self.settle_leg(leg);
    }

    pub(super) fn handle_invite_response(
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
            return self.handle_provisional(now, id, leg_id, response, status);
        }
        leg.open.retain(|open| *open != id);
        if !status.is_success() {
            return self.handle_refusal(now, leg_id, response, status);
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
        self.take_up(now, leg_id, dialog, response);
    }

    /// A call of ours was taken by the side of this dialog.
    fn take_up(&mut self, now: Instant, id: LegId, dialog: Dialog, response: &Message<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.timers.stop(LegTimer::Ring);
        leg.phase = Phase::Confirmed;
        leg.attempt = None;
        let winner = leg.early.iter().position(|early| early.dialog.remote_tag == dialog.remote_tag);
        let winner = winner.map(|index| leg.early.swap_remove(index));
        leg.early.clear();
        let remote_cseq = winner.as_ref().and_then(|early| early.dialog.remote_cseq);
        let tag = dialog.remote_tag.clone();
        leg.dialog = Dialog { local_cseq: leg.dialog.local_cseq, remote_cseq, ..dialog };
        leg.note_allow(response);
        leg.session.accept(now, &Asked::of(response));
        let stated = session_description(response).map(<[u8]>::to_vec);
        let sdp = match winner {
            // RFC 3261 §13.2.1 has the reliable answer stand; what peers repeat is the same unless UPDATE changed it.
            Some(early) if early.is_updated => early.sdp,
            Some(early) => stated.or(early.sdp),
            None => stated,
        };
        if let Some(sdp) = &sdp {
            leg.remote_sdp.clone_from(sdp);
        }
        let lost = leg.offer_fork.take().is_some_and(|fork| fork != tag);
        self.events.push_back(Event::Answered { leg: id, sdp, headers: call_headers(response) });
        if lost {
            self.drop_offer_of_lost_fork(now, id);
        }
        self.trust_leg(id);
        self.settle_leg(id);
    }

    /// The early dialog in which an offer went on was not the one that was taken.
    fn drop_offer_of_lost_fork(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.timers.stop(LegTimer::ReofferAnswer);
        leg.timers.stop(LegTimer::ReofferGiveUp);
        leg.timers.stop(LegTimer::Glare);
        match std::mem::replace(&mut leg.offer, Offer::None) {
            Offer::Theirs { transaction, .. } => self.respond_code(now, transaction, 481),
            Offer::Ours { .. } => {
                self.events.push_back(Event::ReofferAnswered { leg: id, outcome: Err(487) });
            }
            Offer::None => {}
        }
    }

    fn handle_refusal(&mut self, now: Instant, id: LegId, response: &Message<'_>, status: StatusCode) {
        if let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase == Phase::Calling) {
            let path = leg.dialog.path;
            let min_se = Asked::of(response).min_se_s;
            let is_worth_it = status == StatusCode::SESSION_INTERVAL_TOO_SMALL && leg.session.raise(min_se);
            if is_worth_it && self.invite_again(now, id, path) {
                return;
            }
            if status == StatusCode::SERVICE_UNAVAILABLE && self.try_next_target(now, id) {
                return;
            }
        }
        let cause = EndCause::Rejected {
            code: status.code(),
            phrase: response.reason_phrase().into_owned(),
            retry_after: retry_after(response),
        };
        self.end(now, id, cause, response.text(HeaderName::Reason));
        self.settle_leg(id);
    }

    fn handle_provisional(
        &mut self,
        now: Instant,
        id: TransactionId,
        leg_id: LegId,
        response: &Message<'_>,
        status: StatusCode,
    ) {
        let Some(leg) = self.legs.get_mut(&leg_id) else { return };
        leg.is_cancellable = true;
        if std::mem::take(&mut leg.cancel_wanted) {
            return self.start_cancel(now, id);
        }
        if status.code() == 100 || leg.phase != Phase::Calling {
            return self.settle_leg(leg_id);
        }
        if let Some(attempt) = &mut leg.attempt {
            attempt.has_progressed = true;
        }
        leg.note_allow(response);
        let rseq = response.rseq().ok().flatten().filter(|_| {
            leg.policy.reliable_provisional != ReliableProvisional::Off
                && response.has_token(HeaderName::Require, "100rel")
        });
        let sdp = session_description(response).map(<[u8]>::to_vec);
        let mut fork = 0;
        if let Some(tag) = response.to().ok().and_then(|to| to.tag()) {
            let Some(index) = self.early_dialog(id, leg_id, tag, response) else { return self.settle_leg(leg_id) };
            fork = u8::try_from(index).unwrap_or(u8::MAX);
            let Some(leg) = self.legs.get_mut(&leg_id) else { return };
            let Some(early) = leg.early.get_mut(index) else { return };
            if let Some(rseq) = rseq {
                if !early.received.take(rseq) {
                    return self.settle_leg(leg_id);
                }
                early.is_answered |= sdp.is_some();
            }
            if sdp.is_some() {
                early.sdp.clone_from(&sdp);
            }
            if let Some(rseq) = rseq {
                self.send_prack(now, leg_id, tag, rseq, response);
            }
        }
        self.events.push_back(Event::Progress { leg: leg_id, code: status.code(), sdp, fork });
        self.trust_leg(leg_id);
        self.settle_leg(leg_id);
    }

    /// The early dialog of a provisional response, made if it is new. `None` when there are too many, or when the
    /// response makes none.
    fn early_dialog(&mut self, id: TransactionId, leg: LegId, tag: &str, response: &Message<'_>) -> Option<usize> {
        let template = self.transactions.get(id)?.client()?.template.as_ref()?;
        let leg = self.legs.get_mut(&leg)?;
        let known = leg.early.iter().position(|early| *early.dialog.remote_tag == *tag);
        if known.is_some() || leg.early.len() >= MAX_EARLY_DIALOGS {
            return known;
        }
        let dialog = template.from_response(response).ok()?;
        let received = Receiver::default();
        leg.early.push(Early { dialog, received, sdp: None, is_answered: false, is_updated: false });
        leg.early.len().checked_sub(1)
    }

    fn send_prack(&mut self, now: Instant, id: LegId, tag: &str, rseq: u32, response: &Message<'_>) {
        let (Some(leg), Ok(cseq)) = (self.legs.get_mut(&id), response.cseq()) else { return };
        let (mut prack, path) = leg.request_in(Some(tag), Method::Prack);
        prack.headers.push(HeaderName::RAck, HeaderValue::cleaned(&format!("{rseq} {cseq}")));
        let identity = leg.identity.clone();
        // A full table leaves it to the peer's repetition, which finds the number taken, and to its time-out.
        if let Ok(transaction) = self.start_client(now, prack, path, Owner::Leg(id, Purpose::Prack), identity)
            && let Some(leg) = self.legs.get_mut(&id)
        {
            leg.open.push(transaction);
        }
    }

    /// What an INVITE, a re-INVITE, an UPDATE or a 2xx of theirs says about us.
    pub(super) fn add_capabilities(&self, headers: &mut Headers, policy: &DialogPolicy) {
        headers.push(HeaderName::Allow, HeaderValue::cleaned(super::offered::ALLOW));
        let mut supported = Vec::new();
        if policy.reliable_provisional != ReliableProvisional::Off {
            supported.push("100rel");
        }
        if policy.accept_replaces {
            supported.push("replaces");
        }
        if policy.session_timer.is_some() {
            supported.push("timer");
        }
        if !supported.is_empty() {
            headers.push(HeaderName::Supported, HeaderValue::cleaned(&supported.join(", ")));
        }
    }
}

/// Adds header fields whose values are ours.
pub(super) fn add_fields(headers: &mut Headers, fields: Vec<(HeaderName, String)>) {
    for (name, value) in fields {
        headers.push(name, HeaderValue::cleaned(&value));
    }
}

/// Seconds of a Retry-After, if there is one.
pub(super) fn retry_after(response: &Message<'_>) -> Option<Duration> {
    response.seconds(HeaderName::RetryAfter).ok().flatten().map(|s| Duration::from_secs(u64::from(s)))
}
