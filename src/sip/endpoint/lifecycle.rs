//! The life of legs: their timers, their ends, and when they are forgotten.

use super::leg::{InboundRefer, Leg, LegTimer, Offer, Phase, Purpose};
use super::transactions::Owner;
use super::{Endpoint, Wake};
use crate::sip::event::{EndCause, Event, LegId, Missing, TransferOutcome};
use crate::sip::session_timer::Duty;
use crate::sip::timer::T1_64;
use crate::sip::{Method, Request};
use std::time::Instant;

impl Endpoint {
    pub(super) fn add_leg(&mut self, leg: Leg) {
        let id = leg.id;
        self.by_tag.insert(leg.dialog.local_tag.clone(), id);
        for address in &leg.trusted {
            self.trust.add(*address);
        }
        self.live_legs = self.live_legs.saturating_add(1);
        self.legs.insert(id, leg);
        self.trust_leg(id);
        self.settle_leg(id);
    }

    /// Hears the address that the leg's dialog sends to.
    pub(super) fn trust_leg(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            let early = leg.early.iter().map(|early| early.dialog.path.remote.ip());
            for address in early.chain([leg.home.ip(), leg.dialog.path.remote.ip()]) {
                // Home and one address per change of target; a peer that keeps moving keeps the first few.
                if !leg.trusted.contains(&address) && leg.trusted.len() < 8 {
                    leg.trusted.push(address);
                    self.trust.add(address);
                }
            }
        }
    }

    /// Brings the wake-up of a leg up to date, or forgets the leg if nothing is left to do.
    pub(super) fn settle_leg(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.is_done() {
            let Some(leg) = self.legs.remove(&id) else { return };
            self.reschedule(Wake::Leg(id), leg.wake, None);
            self.by_tag.remove(&leg.dialog.local_tag);
            for address in leg.trusted {
                self.trust.remove(address);
            }
            return;
        }
        let next = [leg.timers.next(), leg.session.poll_timeout()].into_iter().flatten().min();
        let previous = std::mem::replace(&mut leg.wake, next);
        self.reschedule(Wake::Leg(id), previous, next);
    }

    /// Reports the end of a leg, once, and drops what only made sense while it lived.
    pub(super) fn end(&mut self, now: Instant, id: LegId, cause: EndCause, reason: Option<String>) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.phase != Phase::Over) else { return };
        leg.phase = Phase::Over;
        self.live_legs = self.live_legs.saturating_sub(1);
        for timer in [
            LegTimer::Ring,
            LegTimer::ReofferAnswer,
            LegTimer::Glare,
            LegTimer::ReferAnswer,
            LegTimer::Failover,
            LegTimer::ResendProvisional,
            LegTimer::GiveUpProvisional,
            LegTimer::Subscription,
            LegTimer::Transfer,
        ] {
            leg.timers.stop(timer);
        }
        leg.session.stop();
        leg.attempt = None;
        leg.pending_answer = None;
        leg.bare_update = None;
        leg.queued_offer = None;
        // A peer that never decides a request of ours must not keep the leg.
        leg.timers.set(LegTimer::LastResponses, now + T1_64);
        let offer = std::mem::replace(&mut leg.offer, Offer::None);
        let inbound_refer = leg.inbound_refer.take();
        let had_transfer = leg.transfer.take().is_some();
        if let Offer::Theirs { transaction, .. } = offer {
            self.respond_code(now, transaction, 487);
        }
        if let Some(InboundRefer::Pending(transaction)) = inbound_refer {
            self.respond_code(now, transaction, 603);
        }
        if had_transfer {
            let outcome = match cause {
                EndCause::Remote => TransferOutcome::PeerHungUp,
                _ => TransferOutcome::TimedOut,
            };
            self.events.push_back(Event::TransferFinished { leg: id, outcome });
        }
        self.events.push_back(Event::Ended { leg: id, cause, reason });
        self.settle_leg(id);
    }

    /// Ends a leg from our side with what its state needs, and reports `cause`.
    pub(super) fn hang_up(&mut self, now: Instant, id: LegId, cause: EndCause, headers: &[(&str, &str)]) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.phase {
            Phase::Calling => {
                let invite = leg.invite;
                if std::mem::take(&mut leg.is_cancellable) {
                    if let Some(invite) = invite {
                        self.start_cancel(now, invite);
                    }
                } else {
                    leg.cancel_wanted = true;
                }
            }
            Phase::Ringing => {
                if let Some(invite) = leg.invite {
                    let code = match cause {
                        EndCause::TimedOut(Missing::Prack) => 504,
                        EndCause::TimedOut(_) => 480,
                        _ => 603,
                    };
                    self.respond_code(now, invite, code);
                }
            }
            Phase::Answered | Phase::Confirmed => {
                let mut bye = leg.dialog.request(Method::Bye);
                for (name, value) in headers {
                    // Checked by the command; what the endpoint itself gives is always writable.
                    let _ = bye.headers.push_spelled(name, value);
                }
                if leg.final_2xx.is_some() && leg.phase == Phase::Answered {
                    // RFC 3261 §15: no BYE before the ACK of our 2xx.
                    leg.bye_when_acked = Some(bye);
                } else {
                    self.send_bye(now, id, bye);
                }
            }
            Phase::Over => return,
        }
        self.end(now, id, cause, None);
    }

    pub(super) fn send_bye(&mut self, now: Instant, id: LegId, bye: Request) {
        let Some(leg) = self.legs.get(&id) else { return };
        let (path, identity) = (leg.dialog.path, leg.identity.clone());
        if let Ok(transaction) = self.start_client(now, bye, path, Owner::Leg(id, Purpose::Bye), identity)
            && let Some(leg) = self.legs.get_mut(&id)
        {
            leg.open.push(transaction);
            leg.timers.set(LegTimer::LastResponses, now + T1_64);
            leg.final_2xx = None;
            leg.timers.stop(LegTimer::Resend2xx);
            leg.timers.stop(LegTimer::GiveUp2xx);
        }
    }

    /// Sends the BYE that waited for an ACK.
    pub(super) fn send_waiting_bye(&mut self, now: Instant, id: LegId) {
        if let Some(bye) = self.legs.get_mut(&id).and_then(|leg| leg.bye_when_acked.take()) {
            self.send_bye(now, id, bye);
        }
    }

    /// Fires the timers of a leg.
    pub(super) fn fire_leg(&mut self, now: Instant, id: LegId) {
        while let Some(timer) = self.legs.get_mut(&id).and_then(|leg| leg.timers.expire(now)) {
            self.handle_leg_timer(now, id, timer);
        }
        while let Some(duty) = self.legs.get_mut(&id).and_then(|leg| leg.session.handle_timeout(now)) {
            match duty {
                Duty::Refresh => self.refresh_session(now, id),
                Duty::Expire => self.hang_up(now, id, EndCause::TimedOut(Missing::Refresh), &[]),
            }
        }
        self.settle_leg(id);
    }

    fn handle_leg_timer(&mut self, now: Instant, id: LegId, timer: LegTimer) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match timer {
            LegTimer::Ring => {
                let missing = match leg.phase {
                    Phase::Ringing => Missing::OurAnswer,
                    _ => Missing::FinalResponse,
                };
                self.hang_up(now, id, EndCause::TimedOut(missing), &[]);
            }
            LegTimer::Resend2xx => {
                let Some(last) = &mut leg.final_2xx else { return };
                let (path, bytes) = (last.path, last.bytes.clone());
                leg.timers.set(LegTimer::Resend2xx, now + last.resend.next_interval());
                self.transmit(&path, bytes);
            }
            LegTimer::GiveUp2xx => {
                leg.final_2xx = None;
                leg.timers.stop(LegTimer::Resend2xx);
                if leg.bye_when_acked.is_some() {
                    self.send_waiting_bye(now, id);
                } else {
                    self.hang_up(now, id, EndCause::TimedOut(Missing::Ack), &[]);
                }
            }
            LegTimer::ReofferAnswer => self.withdraw_their_offer(now, id, 500),
            LegTimer::Glare => self.send_offer(now, id),
            LegTimer::Failover => self.abandon_target(now, id),
            LegTimer::ResendProvisional => self.resend_provisional(now, id),
            LegTimer::GiveUpProvisional => self.give_up_provisional(now, id),
            LegTimer::Subscription => self.expire_subscription(now, id),
            LegTimer::ReferAnswer => {
                if let Some(InboundRefer::Pending(transaction)) = leg.inbound_refer.take() {
                    self.respond_code(now, transaction, 603);
                }
            }
            LegTimer::Transfer => {
                leg.transfer = None;
                self.events.push_back(Event::TransferFinished { leg: id, outcome: TransferOutcome::TimedOut });
            }
            LegTimer::ReofferGiveUp => self.give_up_offer(now, id),
            LegTimer::LastResponses => {
                for transaction in std::mem::take(&mut leg.open) {
                    self.abandon(now, transaction);
                }
            }
        }
    }
}
