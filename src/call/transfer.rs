//! How a call is handed to somebody else: a pure machine. The shell does its effects and tells it what came of them.
//!
//! ```text
//!              REFER                    refused, and a second call may do it
//!  Waiting ──────────────► Referring ─────────────────────────┐
//!     │                        │ accepted / failed           ▼
//!     │ call (bridge,          ▼                          Calling ──► failed (busy, declined, no answer)
//!     │ attended)            Over ◄───── failed ───────────   │
//!     └───────────────────────────────────────────────────────┤ answered
//!                                                             ▼
//!                                                     Announcing, if it is to be announced
//!                                                             ▼
//!                          Over ◄── accepted ── Replacing ◄─ coupled ─► Over (bridged)
//! ```

use super::terms::TransferBy;
use super::unanswered::Unanswered;
use crate::agent::destination::TransferMode;
use crate::sip::event::TransferOutcome;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How this transfer is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferPlan {
    /// What the peer can do.
    pub by: TransferBy,
    /// Hand over at once, or first see that somebody is there.
    pub mode: TransferMode,
    /// How long the target's phone rings.
    pub ring_for: Duration,
    /// Something is said to whoever answers before the two are connected.
    pub announces: bool,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferInput {
    /// The announcement was played, or cannot be.
    Announced,
    /// The target took our call.
    Answered,
    /// The target's side lets us hear something before it answers.
    EarlyMedia,
    /// Our call was not taken, or could not be placed.
    NotAnswered(Unanswered),
    /// The outcome of the REFER.
    ReferDecided(TransferOutcome),
    /// The REFER could not be sent.
    ReferNotSent(String),
    /// The peer took the REFER and reports this status.
    ReferProgress(u16),
    /// The target's phone rings.
    Ringing,
}

/// Something to do, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferEffect {
    /// Say the announcement to the target.
    Announce,
    /// Call the target.
    Call,
    /// Couple the media of both legs.
    Couple,
    /// End the coupling: the caller is the agent's again.
    Uncouple,
    /// Give up the call to the target.
    HangUpTarget,
    /// Send REFER; with the dialog of our call to the target for the peer to replace, when `replaces`.
    Refer {
        /// An attended transfer (RFC 3891).
        replaces: bool,
    },
    /// Let the caller hear a ringing tone, or no longer.
    Ringback(bool),
    /// It is decided.
    Finished {
        /// The target has the call.
        accepted: bool,
        /// In words.
        reason: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    /// The REFER is out; the peer has `taken` it when it has reported on it.
    Referring {
        taken: bool,
    },
    Calling {
        until: Instant,
        coupled: bool,
    },
    /// The target listens to the announcement.
    Announcing,
    /// Both legs are coupled, and the peer is asked to connect them without us. Our call to the target may be `gone`:
    /// by the peer's doing, or because somebody hung up.
    Replacing {
        gone: bool,
    },
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Transfer {
    plan: TransferPlan,
    state: State,
    effects: VecDeque<TransferEffect>,
}

impl Transfer {
    /// A transfer that has not begun.
    #[must_use]
    pub fn new(plan: TransferPlan) -> Self {
        Self { plan, state: State::Waiting, effects: VecDeque::new() }
    }

    /// Begins. A second time is ignored.
    pub fn start(&mut self, now: Instant) {
        if self.state != State::Waiting {
            return;
        }
        match (self.plan.mode, self.plan.by) {
            (TransferMode::Blind, TransferBy::Refer | TransferBy::ReferThenBridge) => {
                self.state = State::Referring { taken: false };
                self.effects.push_back(TransferEffect::Refer { replaces: false });
            }
            (TransferMode::Attended, _) | (_, TransferBy::Bridge) => self.call(now),
        }
    }

    /// Whether it waits for its start.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// What to do next.
    pub fn poll_effect(&mut self) -> Option<TransferEffect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Calling { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Gives up a target that rings for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|until| until <= now) {
            self.effects.push_back(TransferEffect::HangUpTarget);
            self.handle(now, TransferInput::NotAnswered(Unanswered::NoAnswer));
        }
    }

    /// Takes what happened. What does not fit the state is ignored: it comes from an attempt that is over.
    pub fn handle(&mut self, now: Instant, input: TransferInput) {
        match (self.state.clone(), input) {
            (State::Referring { .. }, TransferInput::ReferProgress(_)) => self.state = State::Referring { taken: true },
            (
                State::Referring { .. } | State::Replacing { .. },
                TransferInput::ReferDecided(TransferOutcome::Accepted),
            ) => {
                self.finish(true, "accepted".to_owned());
            }
            (
                State::Referring { .. } | State::Replacing { .. },
                TransferInput::ReferDecided(TransferOutcome::PeerHungUp),
            ) => {
                self.finish(true, "the peer took the call and hung up".to_owned());
            }
            (State::Referring { taken }, TransferInput::ReferDecided(outcome)) => {
                let (code, reason) = match outcome {
                    TransferOutcome::Refused { code, phrase } => (code, format!("{code} {phrase}")),
                    _ => (408, "the peer did not say what became of it".to_owned()),
                };
                self.refer_failed(now, taken || is_about_the_target(code), reason);
            }
            (State::Referring { taken }, TransferInput::ReferNotSent(reason)) => self.refer_failed(now, taken, reason),
            (State::Replacing { .. }, TransferInput::NotAnswered(_)) => self.state = State::Replacing { gone: true },
            (State::Replacing { gone: true }, TransferInput::ReferDecided(_) | TransferInput::ReferNotSent(_)) => {
                self.effects.push_back(TransferEffect::Uncouple);
                self.finish(false, "the other side hung up".to_owned());
            }
            (State::Replacing { gone: false }, TransferInput::ReferDecided(_) | TransferInput::ReferNotSent(_)) => {
                self.finish(true, "connected through us, since the peer does not connect the two itself".to_owned());
            }
            (State::Calling { until, coupled: false }, TransferInput::EarlyMedia) => {
                self.state = State::Calling { until, coupled: true };
                self.effects.extend([TransferEffect::Ringback(false), TransferEffect::Couple]);
            }
            (State::Calling { coupled, .. }, TransferInput::Answered) if self.plan.announces => {
                self.state = State::Announcing;
                if coupled {
                    self.effects.extend([TransferEffect::Uncouple, TransferEffect::Ringback(true)]);
                }
                self.effects.push_back(TransferEffect::Announce);
            }
            (State::Calling { coupled, .. }, TransferInput::Answered) => self.connect(coupled),
            (State::Announcing, TransferInput::Announced) => self.connect(false),
            (State::Announcing, TransferInput::NotAnswered(_)) => {
                self.effects.push_back(TransferEffect::Ringback(false));
                self.finish(false, "the other side hung up".to_owned());
            }
            (State::Calling { coupled, .. }, TransferInput::NotAnswered(unanswered)) => {
                self.effects.push_back(TransferEffect::Ringback(false));
                if coupled {
                    self.effects.push_back(TransferEffect::Uncouple);
                }
                self.finish(false, unanswered.to_string());
            }
            _ => {}
        }
    }

    fn connect(&mut self, coupled: bool) {
        if !coupled {
            self.effects.extend([TransferEffect::Ringback(false), TransferEffect::Couple]);
        }
        if self.plan.mode == TransferMode::Attended && self.plan.by != TransferBy::Bridge {
            self.state = State::Replacing { gone: false };
            self.effects.push_back(TransferEffect::Refer { replaces: true });
        } else {
            self.finish(true, "connected through us".to_owned());
        }
    }

    /// The REFER did not do it. A second call of ours may, unless the peer has tried the target already.
    fn refer_failed(&mut self, now: Instant, target_was_tried: bool, reason: String) {
        if self.plan.by == TransferBy::ReferThenBridge && !target_was_tried {
            self.call(now);
        } else {
            self.finish(false, reason);
        }
    }

    fn call(&mut self, now: Instant) {
        self.state = State::Calling { until: now + self.plan.ring_for, coupled: false };
        self.effects.extend([TransferEffect::Ringback(true), TransferEffect::Call]);
    }

    fn finish(&mut self, accepted: bool, reason: String) {
        self.state = State::Over;
        self.effects.push_back(TransferEffect::Finished { accepted, reason });
    }
}

/// Statuses that speak of whoever was called, not of the REFER: calling the same target again would only ring it twice.
fn is_about_the_target(code: u16) -> bool {
    matches!(code, 404 | 410 | 480 | 484 | 486 | 487 | 600 | 604)
}

#[cfg(test)]
mod tests {
    use super::TransferEffect::{Call, Couple, Finished, HangUpTarget, Refer, Ringback, Uncouple};
    use super::*;

    const RING: Duration = Duration::from_secs(30);

    fn started(by: TransferBy, mode: TransferMode) -> (Transfer, Instant, Vec<TransferEffect>) {
        let now = Instant::now();
        let mut transfer = Transfer::new(TransferPlan { by, mode, ring_for: RING, announces: false });
        transfer.start(now);
        let effects = effects(&mut transfer);
        (transfer, now, effects)
    }

    fn effects(transfer: &mut Transfer) -> Vec<TransferEffect> {
        std::iter::from_fn(|| transfer.poll_effect()).collect()
    }

    fn after(transfer: &mut Transfer, now: Instant, inputs: &[TransferInput]) -> Vec<TransferEffect> {
        inputs.iter().for_each(|input| transfer.handle(now, input.clone()));
        effects(transfer)
    }

    fn finished(accepted: bool, reason: &str) -> TransferEffect {
        Finished { accepted, reason: reason.to_owned() }
    }

    fn refused(code: u16) -> TransferInput {
        TransferInput::ReferDecided(TransferOutcome::Refused { code, phrase: "X".into() })
    }

    #[test]
    fn a_blind_transfer_asks_the_peer_and_ends_with_its_word() {
        let (mut transfer, now, first) = started(TransferBy::ReferThenBridge, TransferMode::Blind);
        assert_eq!(first, [Refer { replaces: false }]);
        let end = after(
            &mut transfer,
            now,
            &[TransferInput::ReferProgress(180), TransferInput::ReferDecided(TransferOutcome::Accepted)],
        );
        assert_eq!(end, [finished(true, "accepted")]);
        assert_eq!(after(&mut transfer, now, &[refused(500), TransferInput::Answered]), [], "over is over");
        transfer.start(now);
        assert_eq!(effects(&mut transfer), []);
    }

    #[test]
    fn a_peer_that_refuses_refer_is_made_up_for_by_a_call_of_ours() {
        for failure in [
            refused(405),
            refused(501),
            refused(603),
            TransferInput::ReferDecided(TransferOutcome::TimedOut),
            TransferInput::ReferNotSent("the leg is not up".into()),
        ] {
            let (mut transfer, now, _) = started(TransferBy::ReferThenBridge, TransferMode::Blind);
            assert_eq!(after(&mut transfer, now, &[failure]), [Ringback(true), Call]);
            let end = after(&mut transfer, now, &[TransferInput::Ringing, TransferInput::Answered]);
            assert_eq!(end, [Ringback(false), Couple, finished(true, "connected through us")]);
        }
    }

    #[test]
    fn a_target_that_the_peer_has_tried_is_not_called_again() {
        let (mut transfer, now, _) = started(TransferBy::ReferThenBridge, TransferMode::Blind);
        assert_eq!(after(&mut transfer, now, &[refused(486)]), [finished(false, "486 X")]);
        let (mut transfer, now, _) = started(TransferBy::ReferThenBridge, TransferMode::Blind);
        let end = after(&mut transfer, now, &[TransferInput::ReferProgress(100), refused(503)]);
        assert_eq!(end, [finished(false, "503 X")]);
    }

    #[test]
    fn a_peer_that_only_refers_gives_the_call_back_when_it_refuses() {
        let (mut transfer, now, _) = started(TransferBy::Refer, TransferMode::Blind);
        assert_eq!(after(&mut transfer, now, &[refused(405)]), [finished(false, "405 X")]);
    }

    #[test]
    fn early_media_takes_the_place_of_the_ringing_tone_and_goes_when_nobody_answers() {
        let (mut transfer, now, first) = started(TransferBy::Bridge, TransferMode::Blind);
        assert_eq!(first, [Ringback(true), Call]);
        let early = after(&mut transfer, now, &[TransferInput::EarlyMedia, TransferInput::EarlyMedia]);
        assert_eq!(early, [Ringback(false), Couple], "once");
        let end = after(&mut transfer, now, &[TransferInput::NotAnswered(Unanswered::Busy)]);
        assert_eq!(end, [Ringback(false), Uncouple, finished(false, "busy")]);
    }

    #[test]
    fn a_target_that_rings_too_long_is_given_up() {
        let (mut transfer, now, _) = started(TransferBy::Bridge, TransferMode::Blind);
        assert_eq!(transfer.poll_timeout(), Some(now + RING));
        transfer.handle_timeout(now + RING / 2);
        assert_eq!(effects(&mut transfer), []);
        transfer.handle_timeout(now + RING);
        assert_eq!(effects(&mut transfer), [HangUpTarget, Ringback(false), finished(false, "no answer")]);
        assert_eq!(transfer.poll_timeout(), None);
    }

    #[test]
    fn a_call_is_announced_to_whoever_answers_before_the_two_are_connected() {
        let now = Instant::now();
        let plan =
            TransferPlan { by: TransferBy::Bridge, mode: TransferMode::Attended, ring_for: RING, announces: true };
        let announcing = |early: bool| {
            let mut transfer = Transfer::new(plan);
            transfer.start(now);
            if early {
                transfer.handle(now, TransferInput::EarlyMedia);
            }
            effects(&mut transfer);
            let answered = after(&mut transfer, now, &[TransferInput::Answered]);
            (transfer, answered)
        };
        let (mut transfer, answered) = announcing(false);
        assert_eq!(answered, [TransferEffect::Announce]);
        let connected = after(&mut transfer, now, &[TransferInput::Announced]);
        assert_eq!(connected, [Ringback(false), Couple, finished(true, "connected through us")]);
        let (mut transfer, answered) = announcing(true);
        assert_eq!(answered, [Uncouple, Ringback(true), TransferEffect::Announce], "the caller does not hear it");
        let end = after(&mut transfer, now, &[TransferInput::NotAnswered(Unanswered::GivenUp)]);
        assert_eq!(end, [Ringback(false), finished(false, "the other side hung up")]);
    }

    #[test]
    fn a_target_that_hangs_up_before_the_peer_has_decided_gives_the_caller_back() {
        let (mut transfer, now, _) = started(TransferBy::Refer, TransferMode::Attended);
        after(&mut transfer, now, &[TransferInput::Answered]);
        let end = after(&mut transfer, now, &[TransferInput::NotAnswered(Unanswered::GivenUp), refused(501)]);
        assert_eq!(end, [Uncouple, finished(false, "the other side hung up")]);
        let (mut transfer, now, _) = started(TransferBy::Refer, TransferMode::Attended);
        after(&mut transfer, now, &[TransferInput::Answered]);
        let accepted = TransferInput::ReferDecided(TransferOutcome::Accepted);
        let end = after(&mut transfer, now, &[TransferInput::NotAnswered(Unanswered::GivenUp), accepted]);
        assert_eq!(end, [finished(true, "accepted")], "the peer took the call over");
    }

    #[test]
    fn an_attended_transfer_calls_first_and_then_lets_the_peer_connect_the_two() {
        for by in [TransferBy::Refer, TransferBy::ReferThenBridge] {
            let (mut transfer, now, first) = started(by, TransferMode::Attended);
            assert_eq!(first, [Ringback(true), Call]);
            let answered = after(&mut transfer, now, &[TransferInput::Answered]);
            assert_eq!(answered, [Ringback(false), Couple, Refer { replaces: true }]);
            let accepted = TransferInput::ReferDecided(TransferOutcome::Accepted);
            assert_eq!(after(&mut transfer, now, &[accepted]), [finished(true, "accepted")]);
        }
        let (mut transfer, now, _) = started(TransferBy::Refer, TransferMode::Attended);
        let end = after(&mut transfer, now, &[TransferInput::Answered, refused(501)]);
        assert!(matches!(end.last(), Some(Finished { accepted: true, .. })), "the two stay coupled: {end:?}");
        let (mut transfer, now, _) = started(TransferBy::Bridge, TransferMode::Attended);
        let end = after(&mut transfer, now, &[TransferInput::Answered]);
        assert_eq!(end.last(), Some(&finished(true, "connected through us")));
    }
}
