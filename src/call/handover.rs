//! A call on its way to somebody else: does what [`super::transfer`] decides, and holds both legs when they are bridged.

use super::CallEvent;
use super::context::context_value;
use super::dial_policy::Approved;
use super::gateway::{CallerIdentity, Gateway};
use super::legs::Legs;
use super::line::{Line, LineError, LineEvent};
use super::outbound::{Outbound, diversion, place};
use super::quality::FAR;
use super::session::Session;
use super::sounds::at_rate;
use super::transfer::{Transfer, TransferEffect, TransferInput, TransferPlan};
use super::unanswered::Unanswered;
use crate::agent::destination::{Destination, Target};
use crate::agent::{Input, RequestId};
use crate::base::{Pii, SampleRate};
use crate::media::{LegEvent, LegMode};
use crate::sip::event::{EndCause, TransferOutcome};
use crate::sip::{Refer, Uri};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A transfer under way.
pub(super) struct Handover {
    request: RequestId,
    destination: String,
    machine: Transfer,
    refer: Refer,
    gateway: Arc<Gateway>,
    outbound: Outbound,
    announcement: Option<Pii<String>>,
}

/// The other side of a call that was handed over, or is to be.
#[derive(Default)]
pub(super) struct FarSide {
    /// Its line, from our INVITE on.
    pub(super) line: Option<Box<Line>>,
    /// The caller hears it and is heard by it.
    pub(super) coupled: bool,
    /// The media workers pass keys on by themselves; otherwise this call does, since one side wants them another way.
    pub(super) passes_keys: bool,
    /// The call belongs to the two of them.
    pub(super) bridged: bool,
    placing: Option<oneshot::Receiver<Result<Line, LineError>>>,
    /// What is to be announced, being synthesised or ready.
    announcement: Option<oneshot::Receiver<Arc<[i16]>>>,
    /// Whoever answered is to hear it as soon as it is ready.
    is_announcing: bool,
    announced_at: Option<Instant>,
    /// What became of the last transfer, until whoever asked for it is told.
    pub(super) decided: Option<Decided>,
}

/// The outcome of a transfer.
pub(super) struct Decided {
    pub(super) request: RequestId,
    pub(super) destination: String,
    pub(super) accepted: bool,
    pub(super) reason: String,
}

/// Time for the peer's word after the target's phone stopped ringing.
const REFER_MARGIN: Duration = Duration::from_secs(10);
/// Silence after an announcement: the worker's turn may be this late to hear that it is over.
const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(100);

/// What the far side had to say.
pub(super) enum FarEvent {
    /// The announcement, or `None` when it cannot be made.
    Announcement(Option<Arc<[i16]>>),
    Line(LineEvent),
    Media,
    Placed(Result<Box<Line>, LineError>),
}

impl FarSide {
    /// Whether nothing will come from there.
    pub(super) const fn is_idle(&self) -> bool {
        self.placing.is_none() && self.line.is_none()
    }

    /// The next thing from there. Pending while there is nothing. Cancel-safe.
    pub(super) async fn next(&mut self) -> FarEvent {
        if let Some(placing) = &mut self.placing {
            let placed = placing.await.unwrap_or_else(|_| Err(LineError::NotDialled("the call was not placed".into())));
            self.placing = None;
            return FarEvent::Placed(placed.map(Box::new));
        }
        let Self { line: Some(line), announcement, is_announcing, .. } = self else {
            return std::future::pending().await;
        };
        let ready = async {
            match announcement.as_mut().filter(|_| *is_announcing) {
                Some(announcement) => announcement.await.ok(),
                None => std::future::pending().await,
            }
        };
        let samples = tokio::select! {
            event = line.next() => return event.map_or(FarEvent::Media, FarEvent::Line),
            samples = ready => samples,
        };
        (self.announcement, self.is_announcing) = (None, false);
        FarEvent::Announcement(samples)
    }
}

impl Legs {
    /// Somebody wants the call handed over. A transfer that cannot be is decided at once.
    pub(super) fn transfer(
        &mut self,
        destinations: &[Destination],
        request: RequestId,
        destination: String,
        context: &Pii<Map<String, Value>>,
        announcement: Option<Pii<String>>,
    ) {
        let declared = destinations.iter().find(|d| d.id == destination);
        let handover = declared
            .ok_or_else(|| format!("the agent file has no destination {destination}"))
            .and_then(|declared| self.hand_over_to(request, declared, context.expose(), announcement));
        match handover {
            Ok(handover) => self.handover = Some(handover),
            Err(reason) => {
                tracing::warn!(call = %self.call, destination, reason, "transfer_impossible");
                self.decide(request, destination, false, reason);
            }
        }
    }

    fn decide(&mut self, request: RequestId, destination: String, accepted: bool, reason: String) {
        let event = CallEvent::TransferFinished {
            call: self.call,
            destination: destination.clone(),
            accepted,
            reason: reason.clone(),
        };
        self.events.send(event);
        self.far.decided = Some(Decided { request, destination, accepted, reason });
    }

    fn hand_over_to(
        &self,
        request: RequestId,
        to: &Destination,
        context: &Map<String, Value>,
        announcement: Option<Pii<String>>,
    ) -> Result<Handover, String> {
        let gateway = match &to.through {
            Some(name) => self.switchboard.gateways.get(name).cloned().ok_or_else(|| {
                format!("destination {} goes through {name}, which is no extension or trunk with a way out", to.id)
            })?,
            None => Arc::clone(&self.gateway),
        };
        let written = match &to.target {
            Target::Extension(number) => number,
            Target::Uri(uri) => uri,
        };
        let mut outbound = Outbound::to(Approved::by_operator(written)?);
        let context_headers = |name: Option<&String>| {
            name.map(|name| (name.clone(), context_value(name, context))).into_iter().collect::<Vec<_>>()
        };
        outbound.headers = context_headers(gateway.terms.context_header.as_ref());
        outbound.ring_for = to.ring_for;
        outbound.identity = Some(self.identity_towards(&gateway));
        let target = match &to.target {
            Target::Extension(number) if self.terms.refer_as_tel => {
                Uri::parse(format!("tel:{}", self.terms.numbers.apply(number)))
            }
            Target::Extension(number) => Ok(self.gateway.domain.with_user(&self.terms.numbers.apply(number))),
            Target::Uri(uri) => Uri::parse(uri.as_str()),
        };
        let mut refer = Refer::blind(target.map_err(|e| format!("{written} is no SIP address: {e}"))?);
        refer.timeout = refer.timeout.max(to.ring_for + REFER_MARGIN);
        refer.headers = context_headers(self.terms.context_header.as_ref());
        if self.terms.refer_with_diversion {
            let called = self.called_number.as_ref().map_or(self.gateway.user.as_str(), |number| number.expose());
            refer.headers.push(diversion(&self.gateway, called));
        }
        let by_other_way = to.through.as_ref().is_some_and(|name| *name != self.gateway.peer);
        let plan = TransferPlan {
            // The peer of this call cannot be asked to call through another one.
            by: if by_other_way { super::TransferBy::Bridge } else { self.terms.transfer },
            mode: to.mode,
            ring_for: to.ring_for,
            announces: announcement.is_some(),
        };
        let (destination, machine) = (to.id.clone(), Transfer::new(plan));
        Ok(Handover { request, destination, machine, refer, gateway, outbound, announcement })
    }

    /// The gateway's own number, with the caller's name for whoever picks up.
    fn identity_towards(&self, gateway: &Gateway) -> CallerIdentity {
        let mut identity = gateway.identity.clone();
        if identity.name.is_none() && !identity.is_private {
            identity.name = self.caller_name.clone();
        }
        identity
    }

    /// Begins the transfer once everything said before it has been heard, and goes on with it.
    pub(super) fn drive_handover(&mut self, now: Instant, silent: bool) {
        if let Some(handover) = &mut self.handover
            && handover.machine.is_waiting()
            && silent
        {
            handover.machine.start(now);
            let event = CallEvent::TransferStarted { call: self.call, destination: handover.destination.clone() };
            self.events.send(event);
        }
        while let Some(effect) = self.handover.as_mut().and_then(|handover| handover.machine.poll_effect()) {
            self.execute_handover(effect);
        }
    }

    /// Time has passed.
    pub(super) fn on_handover_timeout(&mut self, now: Instant) {
        if let Some(handover) = &mut self.handover {
            handover.machine.handle_timeout(now);
        }
        if self.far.announced_at.is_some_and(|at| at <= now) {
            self.far.announced_at = None;
            self.tell(now, TransferInput::Announced);
        }
    }

    /// When the handover has to be looked at again.
    pub(super) fn handover_timeout(&self) -> Option<Instant> {
        [self.handover.as_ref()?.machine.poll_timeout(), self.far.announced_at].into_iter().flatten().min()
    }

    fn tell(&mut self, now: Instant, input: TransferInput) {
        if let Some(handover) = &mut self.handover {
            handover.machine.handle(now, input);
        }
    }

    fn execute_handover(&mut self, effect: TransferEffect) {
        match effect {
            TransferEffect::Refer { replaces } => self.refer(replaces),
            TransferEffect::Announce => self.far.is_announcing = true,
            TransferEffect::Call => self.call_target(),
            TransferEffect::Ringback(on) => {
                let rate = self.line.sample_rate();
                self.set_background(on.then(|| self.switchboard.sounds.ringback.at(rate)));
            }
            TransferEffect::Couple => self.couple(),
            TransferEffect::Uncouple => {
                (self.far.coupled, self.far.passes_keys) = (false, false);
                if let Err(error) = self.line.media.unbridge() {
                    tracing::warn!(call = %self.call, %error, "legs_not_uncoupled");
                }
            }
            TransferEffect::HangUpTarget => self.drop_far_side(),
            TransferEffect::Finished { accepted, reason } => self.finish_handover(accepted, reason),
        }
    }

    fn refer(&self, replaces: bool) {
        let Some(handover) = &self.handover else { return };
        let (leg, mut refer) = (self.line.leg, handover.refer.clone());
        let target = replaces.then(|| self.far.line.as_ref().map(|line| line.leg)).flatten();
        let failures = self.refer_failures.clone();
        self.line.sip.post(move |endpoint, now| {
            refer.replaces = target.and_then(|target| endpoint.replaces_value(target));
            let sent = match (replaces, &refer.replaces) {
                (true, None) => Err("the call to the target is not up".to_owned()),
                _ => endpoint.refer(now, leg, refer).map_err(|error| error.to_string()),
            };
            if let Err(reason) = sent {
                // The call may be over.
                let _ = failures.send(reason);
            }
        });
    }

    /// The REFER could not be sent.
    pub(super) fn on_refer_failure(&mut self, reason: String) {
        self.tell(Instant::now(), TransferInput::ReferNotSent(reason));
    }

    fn call_target(&mut self) {
        let Some(handover) = &self.handover else { return };
        let (gateway, outbound) = (Arc::clone(&handover.gateway), handover.outbound.clone());
        let switchboard = Arc::clone(&self.switchboard);
        let (placed, placing) = oneshot::channel();
        tokio::spawn(async move {
            let line = place(&switchboard.sip, &switchboard.workers, &gateway, &outbound, LegMode::Agent).await;
            // A line that nobody waits for is dropped, which gives the call up.
            let _ = placed.send(line);
        });
        self.far.placing = Some(placing);
        if let Some(words) = handover.announcement.clone() {
            // While the phone rings there is time enough.
            let Some(voice) = self.voice.clone() else { return };
            let (made, announcement) = oneshot::channel();
            tokio::spawn(async move {
                match voice.whole_line(words.expose(), false).await {
                    Ok(samples) => drop(made.send(samples)),
                    Err(error) => tracing::warn!(%error, "announcement_not_made"),
                }
            });
            self.far.announcement = Some(announcement);
        }
    }

    /// Plays the announcement to the target. Without one, the two are connected at once.
    fn announce(&mut self, now: Instant, samples: Option<Arc<[i16]>>) {
        let (Some(samples), Some(far)) = (samples, &mut self.far.line) else {
            return self.tell(now, TransferInput::Announced);
        };
        let rate = far.sample_rate();
        let samples = at_rate(&samples, SampleRate::NARROWBAND, rate);
        let length = rate.duration_of(samples.len());
        let pause = std::iter::repeat_n(0, rate.samples_in_ms(1_000));
        let once: Arc<[i16]> = samples.iter().copied().chain(pause).collect();
        if let Err(error) = far.media.set_background(Some(once)) {
            tracing::warn!(call = %self.call, %error, "announcement_not_played");
        }
        self.far.announced_at = Some(now + length + ANNOUNCEMENT_PAUSE);
    }

    /// Goes on with another line on the far side, which is up.
    pub(super) fn adopt_far(&mut self, line: Line) {
        if let Some(old) = &self.far.line {
            self.seat.release(old.leg);
        }
        self.seat.hold(FAR, &line);
        // Dropping the old line hangs it up.
        self.far.line = Some(Box::new(line));
        if self.far.coupled {
            self.couple();
        }
        self.tell(Instant::now(), TransferInput::Answered);
    }

    pub(super) fn couple(&mut self) {
        let Some(far) = &mut self.far.line else { return };
        self.far.coupled = true;
        self.far.passes_keys = self.line.takes_event_keys() && far.takes_event_keys();
        if let Err(error) = self.line.media.bridge(&mut far.media, self.far.passes_keys) {
            tracing::warn!(call = %self.call, %error, "legs_not_coupled");
        }
        self.play_to_who_waits();
    }

    /// Whoever's other side is on hold hears music; the side that holds plays its own, where it sends any.
    pub(super) fn play_to_who_waits(&mut self) {
        let music = |on: bool, line: &Line| on.then(|| self.switchboard.sounds.hold_music.at(line.sample_rate()));
        let Some(far) = &mut self.far.line else { return };
        let (for_caller, for_target) = (music(far.is_held(), &self.line), music(self.line.is_held(), far));
        let failed = [self.line.media.set_background(for_caller), far.media.set_background(for_target)];
        for error in failed.into_iter().filter_map(Result::err) {
            tracing::warn!(call = %self.call, %error, "music_not_played");
        }
    }

    fn set_background(&mut self, samples: Option<Arc<[i16]>>) {
        if let Err(error) = self.line.media.set_background(samples) {
            tracing::warn!(call = %self.call, %error, "background_not_played");
        }
    }

    fn drop_far_side(&mut self) {
        if let Some(line) = self.far.line.take() {
            self.seat.release(line.leg);
        }
        self.far = FarSide::default();
    }

    fn finish_handover(&mut self, accepted: bool, reason: String) {
        let Some(handover) = self.handover.take() else { return };
        if accepted {
            self.far.bridged = self.far.coupled;
            if !self.far.bridged {
                self.hangup = Some(("transferred".to_owned(), true));
            }
        } else {
            self.drop_far_side();
        }
        self.decide(handover.request, handover.destination, accepted, reason);
    }

    /// The peer's word on a REFER of ours.
    pub(super) fn on_refer_progress(&mut self, code: u16) {
        self.report_transfer_progress(code);
        self.tell(Instant::now(), TransferInput::ReferProgress(code));
    }

    /// The peer's last word on a REFER of ours.
    pub(super) fn on_refer_decided(&mut self, outcome: TransferOutcome) {
        self.tell(Instant::now(), TransferInput::ReferDecided(outcome));
    }

    fn report_transfer_progress(&self, code: u16) {
        if let Some(handover) = &self.handover {
            let destination = handover.destination.clone();
            self.events.send(CallEvent::TransferProgress { call: self.call, destination, code });
        }
    }

    /// Something came from the far side.
    pub(super) fn on_far_side(&mut self, event: FarEvent) {
        let now = Instant::now();
        match event {
            FarEvent::Announcement(samples) => self.announce(now, samples),
            FarEvent::Placed(Ok(line)) => {
                self.seat.hold(FAR, &line);
                self.far.line = Some(line);
            }
            FarEvent::Placed(Err(error)) => {
                tracing::info!(call = %self.call, %error, "transfer_call_not_placed");
                let unanswered = match error {
                    LineError::NotAnswered(unanswered) => unanswered,
                    LineError::Net(_) => Unanswered::Unreachable,
                    other => Unanswered::Unusable(other.to_string()),
                };
                self.tell(now, TransferInput::NotAnswered(unanswered));
            }
            FarEvent::Media => self.drain_far_media(),
            FarEvent::Line(event) => self.on_far_line(now, event),
        }
    }

    fn on_far_line(&mut self, now: Instant, event: LineEvent) {
        match event {
            LineEvent::Ringing(code) => {
                self.report_transfer_progress(code);
                self.tell(now, TransferInput::Ringing);
            }
            LineEvent::EarlyMedia(code) => {
                self.report_transfer_progress(code);
                self.tell(now, TransferInput::EarlyMedia);
            }
            LineEvent::Answered(_) => {
                self.report_transfer_progress(200);
                self.tell(now, TransferInput::Answered);
            }
            LineEvent::Digit(key) => self.line.press(key),
            LineEvent::Held(_) => self.play_to_who_waits(),
            LineEvent::Ended(cause) => self.on_far_end(now, &cause),
            LineEvent::TransferRequested(_) => {
                if let Some(line) = &self.far.line {
                    super::referral::refuse(line);
                }
            }
            LineEvent::HoldRefused(_)
            | LineEvent::MediaFailed(_)
            | LineEvent::TransferProgress(_)
            | LineEvent::Transferred(_) => {}
        }
    }

    fn on_far_end(&mut self, now: Instant, cause: &EndCause) {
        if self.far.bridged || self.far.coupled && self.handover.is_none() {
            self.hangup = Some(("transferred".to_owned(), true));
            self.ended_by_far_side = true;
            self.line.hang_up();
            return;
        }
        let unanswered = self.far.line.as_ref().map_or(Unanswered::GivenUp, |line| line.unanswered(cause));
        self.tell(now, TransferInput::NotAnswered(unanswered));
    }

    fn drain_far_media(&mut self) {
        let Some(line) = &mut self.far.line else { return };
        while line.media.uplink.try_pop().is_some() {}
        let mut is_lost = false;
        while let Some(event) = line.media.events.try_pop() {
            is_lost |= matches!(event, LegEvent::MediaTimeout { .. } | LegEvent::Panicked);
            if let LegEvent::Digit(key) = event
                && self.far.coupled
                && !self.far.passes_keys
                && line.takes_event_keys()
            {
                self.line.press(key);
            }
        }
        if is_lost && self.far.bridged {
            line.hang_up();
        }
    }
}

impl Session {
    /// The agent wants the call handed over.
    pub(super) fn transfer(
        &mut self,
        now: Instant,
        request: RequestId,
        destination: String,
        context: &Pii<Map<String, Value>>,
        announcement: Option<Pii<String>>,
    ) {
        self.legs.transfer(&self.setup.agent.destinations, request, destination, context, announcement);
        self.tell_decided(now);
    }

    /// Begins the transfer once everything said before it has been heard, and goes on with it.
    pub(super) fn drive_handover(&mut self, now: Instant) {
        let silent = self.playout.is_empty();
        self.legs.drive_handover(now, silent);
        self.tell_decided(now);
    }

    fn tell_decided(&mut self, now: Instant) {
        let Some(Decided { request, accepted, reason, .. }) = self.legs.far.decided.take() else { return };
        if accepted && self.legs.far.bridged {
            self.rest_engines();
        }
        self.conversation.handle(now, Input::TransferFinished { request, accepted, reason });
    }

    /// When the handover has to be looked at again.
    pub(super) fn handover_timeout(&self) -> Option<Instant> {
        self.legs.handover_timeout()
    }

    /// Time has passed.
    pub(super) fn on_handover_timeout(&mut self, now: Instant) {
        self.legs.on_handover_timeout(now);
    }

    /// The REFER could not be sent.
    pub(super) fn on_refer_failure(&mut self, reason: String) {
        self.legs.on_refer_failure(reason);
    }

    /// The peer's word on a REFER of ours.
    pub(super) fn on_refer_progress(&mut self, code: u16) {
        self.legs.on_refer_progress(code);
    }

    /// The peer's last word on a REFER of ours.
    pub(super) fn on_refer_decided(&mut self, outcome: TransferOutcome) {
        self.legs.on_refer_decided(outcome);
    }

    /// Something came from the far side.
    pub(super) fn on_far_side(&mut self, event: FarEvent) {
        self.legs.on_far_side(event);
    }

    /// Goes on with another line on the far side, which is up.
    pub(super) fn adopt_far(&mut self, line: Line) {
        self.legs.adopt_far(line);
    }

    /// Couples both legs.
    pub(super) fn couple(&mut self) {
        self.legs.couple();
    }

    /// The caller's leg was put on hold or taken back.
    pub(super) fn on_held(&mut self, held: bool) {
        if self.legs.far.coupled {
            self.legs.play_to_who_waits();
        } else if held {
            self.playout.hold(&mut self.legs.line.media.downlink);
        } else {
            self.playout.resume();
        }
    }
}
