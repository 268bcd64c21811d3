//! Calls that change their other side: a peer's REFER, and an INVITE that replaces a leg.

use super::CallEvent;
use super::dial_policy::{Approved, DialPolicy};
use super::gateway::Gateway;
use super::line::{Line, LineError, LineEvent, TransferRequest};
use super::outbound::{Outbound, place};
use super::quality::NEAR;
use super::session::Session;
use super::switchboard::{Switchboard, Takeover};
use super::unanswered::Unanswered;
use crate::media::LegMode;
use crate::sip::{HeaderValue, LegId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a leg that was replaced waits for the peer's BYE before we send ours.
const GOODBYE: Duration = Duration::from_secs(10);

/// A call that a peer asked for.
pub(super) type Referral = oneshot::Receiver<Result<Line, Unanswered>>;

/// Refuses a peer's REFER.
pub(super) fn refuse(line: &Line) {
    let leg = line.leg;
    line.sip.post(move |endpoint, now| {
        // The endpoint refuses by itself what waits too long.
        let _ = endpoint.reject_refer(now, leg, 603);
    });
}

/// Keeps a replaced leg until its peer hangs up, which the peer does by itself (RFC 3515), or for ten seconds.
pub(super) fn retire(mut line: Line) {
    tokio::spawn(async move {
        let goodbye = async {
            loop {
                match line.next().await {
                    Some(LineEvent::Ended(_)) => return,
                    Some(_) => {}
                    None => {
                        while line.media.uplink.try_pop().is_some() {}
                        while line.media.events.try_pop().is_some() {}
                    }
                }
            }
        };
        // Dropping the line hangs up.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    });
}

/// Whether a peer may have this called, by its gateway's policy. The result is a number at that gateway.
fn approve(gateway: &Gateway, line: &Line, request: &TransferRequest) -> Result<Approved, String> {
    if !gateway.terms.dialog.accept_refer {
        return Err("this peer may not make us call".to_owned());
    }
    let hosts: Vec<String> = gateway.hosts().into_iter().chain([line.signalling_ip().to_string()]).collect();
    let policy = DialPolicy { allowed_prefixes: &gateway.allowed_prefixes, hosts: &hosts };
    policy.approve(request.target.expose().as_str()).map_err(|refusal| refusal.to_string())
}

/// Calls whom the peer named and tells it how that goes.
async fn follow(
    switchboard: Arc<Switchboard>,
    gateway: Arc<Gateway>,
    call: Outbound,
    referrer: LegId,
) -> Result<Line, Unanswered> {
    let notify = |code: u16| {
        switchboard.sip.post(move |endpoint, now| {
            // The referrer may have hung up.
            let _ = endpoint.notify_refer(now, referrer, code);
        });
    };
    let dial = async {
        let placed = place(&switchboard.sip, &switchboard.workers, &gateway, &call, LegMode::Agent).await;
        let mut line = placed.map_err(|error| match error {
            LineError::NotAnswered(unanswered) => unanswered,
            other => Unanswered::Unusable(other.to_string()),
        })?;
        loop {
            match line.next().await {
                Some(LineEvent::Answered(_)) => return Ok(line),
                Some(LineEvent::Ended(cause)) => return Err(line.unanswered(&cause)),
                Some(LineEvent::Ringing(code) | LineEvent::EarlyMedia(code)) => notify(code),
                Some(_) => {}
                None => {
                    while line.media.uplink.try_pop().is_some() {}
                    while line.media.events.try_pop().is_some() {}
                }
            }
        }
    };
    let outcome = tokio::time::timeout(call.ring_for, dial).await.unwrap_or(Err(Unanswered::NoAnswer));
    notify(outcome.as_ref().map_or_else(Unanswered::sip_status, |_| 200));
    outcome
}

impl Session {
    /// The caller's side wants us to call somebody else and to go on there.
    pub(super) fn on_transfer_requested(&mut self, request: &TransferRequest) {
        let allowed = match &self.referral {
            Some(_) => Err("a transfer is under way".to_owned()),
            None if self.legs.handover.is_some() || self.legs.far.line.is_some() => {
                Err("the call is being handed over".to_owned())
            }
            None => approve(&self.legs.gateway, &self.legs.line, request),
        };
        let approved = match allowed {
            Ok(approved) => approved,
            Err(reason) => {
                tracing::info!(call = %self.legs.call, reason, "refer_refused");
                self.legs.events.send(CallEvent::TransferRefused { call: self.legs.call, reason });
                refuse(&self.legs.line);
                return;
            }
        };
        let mut outbound = Outbound::to(approved);
        outbound.replaces = request.replaces.as_ref().map(|replaces| replaces.expose().clone());
        let by = request.referred_by.as_ref().map(|by| by.expose().clone());
        let by = by.filter(|by| HeaderValue::try_from(by.as_str()).is_ok());
        outbound.headers.extend(by.map(|by| ("Referred-By".to_owned(), by)));
        let leg = self.legs.line.leg;
        self.legs.line.sip.post(move |endpoint, now| {
            // The peer may have hung up meanwhile.
            let _ = endpoint.accept_refer(now, leg);
        });
        let (switchboard, gateway) = (Arc::clone(&self.legs.switchboard), Arc::clone(&self.legs.gateway));
        let (answer, referral) = oneshot::channel();
        tokio::spawn(async move {
            // A line that nobody waits for is dropped, which hangs up.
            let _ = answer.send(follow(switchboard, gateway, outbound, leg).await);
        });
        self.referral = Some(referral);
    }

    /// What became of the call that the peer asked for.
    pub(super) fn on_referral(&mut self, outcome: Result<Line, Unanswered>) {
        self.referral = None;
        match outcome {
            Ok(line) => {
                self.legs.events.send(CallEvent::LegReplaced { call: self.legs.call, by: "refer" });
                let old = self.adopt(line);
                if self.referrer_gone.take().is_none() {
                    retire(old);
                }
            }
            Err(unanswered) => {
                self.ended = self.referrer_gone.take();
                self.legs
                    .events
                    .send(CallEvent::TransferRefused { call: self.legs.call, reason: unanswered.to_string() });
            }
        }
    }

    /// Another call takes the place of one of our legs (RFC 3891 §3): it gets the leg's part, and the leg gets BYE.
    pub(super) fn on_takeover(&mut self, takeover: Takeover) {
        let Takeover { replaced, line } = takeover;
        if replaced == self.legs.line.leg {
            // Dropping the old line hangs it up.
            drop(self.adopt(*line));
        } else if self.legs.far.line.as_ref().is_some_and(|far| far.leg == replaced) {
            self.adopt_far(*line);
        } else {
            return;
        }
        self.legs.events.send(CallEvent::LegReplaced { call: self.legs.call, by: "replaces" });
    }

    /// Goes on with another line on the caller's side; the agent resumes at the word it was in.
    fn adopt(&mut self, line: Line) -> Line {
        self.legs.seat.release(self.legs.line.leg);
        self.legs.seat.hold(NEAR, &line);
        self.playout.hold(&mut self.legs.line.media.downlink);
        let old = std::mem::replace(&mut self.legs.line, line);
        self.follow_rate(old.sample_rate());
        self.playout.resume();
        if self.legs.far.coupled {
            self.couple();
        }
        old
    }
}
