//! What every driver of a call holds: its line, the other side of a transfer, and the way back to the peer.

use super::fallback::AgentVoice;
use super::gateway::Gateway;
use super::handover::{FarSide, Handover};
use super::line::describe;
use super::quality::{self, QUALITY_INTERVAL};
use super::switchboard::{CallFacts, Seat, Switchboard, Takeover};
use super::terms::PeerTerms;
use super::{CallEvent, EventStream, Line};
use crate::base::{CallId, Pii};
use crate::media::LegMode;
use crate::sip::event::EndCause;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// The peer of a call, and how it is dealt with.
pub(super) struct Counterpart {
    /// The way back to it, which is also the way out for transfers.
    pub(super) gateway: Arc<Gateway>,
    pub(super) terms: PeerTerms,
    pub(super) caller_name: Option<Pii<String>>,
    pub(super) called_number: Option<Pii<String>>,
}

/// See the module.
pub(super) struct Legs {
    pub(super) call: CallId,
    pub(super) line: Line,
    pub(super) far: FarSide,
    /// The transfer under way.
    pub(super) handover: Option<Handover>,
    pub(super) events: EventStream,
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) seat: Seat,
    pub(super) takeovers: mpsc::UnboundedReceiver<Takeover>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) terms: PeerTerms,
    pub(super) caller_name: Option<Pii<String>>,
    pub(super) called_number: Option<Pii<String>>,
    /// REFERs that could not be sent.
    pub(super) refer_failures: mpsc::UnboundedSender<String>,
    pub(super) refer_failed: mpsc::UnboundedReceiver<String>,
    /// Makes announcements to whoever takes a transferred call; without it there are none.
    pub(super) voice: Option<AgentVoice>,
    /// Why the call ends, and whether its task is done.
    pub(super) hangup: Option<(String, bool)>,
    pub(super) ended_by_far_side: bool,
    /// When the quality of the lines is told next.
    pub(super) quality_at: Instant,
    pub(super) started: Instant,
}

impl Legs {
    /// A call on an answered line.
    pub(super) fn new(
        line: Line,
        facts: CallFacts,
        peer: Counterpart,
        switchboard: Arc<Switchboard>,
        events: EventStream,
    ) -> Self {
        let now = Instant::now();
        let call = facts.call;
        let (seat, takeovers) = switchboard.seat(&line, LegMode::Agent, facts);
        let (refer_failures, refer_failed) = mpsc::unbounded_channel();
        let Counterpart { gateway, terms, caller_name, called_number } = peer;
        Self {
            call,
            line,
            far: FarSide::default(),
            handover: None,
            events,
            switchboard,
            seat,
            takeovers,
            gateway,
            terms,
            caller_name,
            called_number,
            refer_failures,
            refer_failed,
            voice: None,
            hangup: None,
            ended_by_far_side: false,
            quality_at: now + QUALITY_INTERVAL,
            started: now,
        }
    }

    /// The line has ended: why, in words for the call's record. A caller who has been handed over is no loss.
    pub(super) fn reason_of_end(&mut self, cause: &EndCause) -> String {
        if self.far.bridged || self.handover.take().is_some() && *cause == EndCause::Transferred {
            self.hangup.get_or_insert_with(|| ("transferred".into(), true));
        }
        match (cause, &self.hangup) {
            _ if self.ended_by_far_side => "the other side hung up".into(),
            (EndCause::Local | EndCause::Transferred, Some((reason, _))) => reason.clone(),
            (cause, _) => describe(cause),
        }
    }

    /// Tells the quality of the lines where that is due.
    pub(super) fn tell_quality_when_due(&mut self, now: Instant) {
        if now >= self.quality_at {
            self.quality_at = now + QUALITY_INTERVAL;
            self.tell_quality();
        }
    }

    fn tell_quality(&self) {
        let lines = [(quality::NEAR, Some(&self.line)), (quality::FAR, self.far.line.as_deref())];
        for (leg, line) in lines.into_iter().filter_map(|(leg, line)| Some((leg, line?))) {
            self.events.send(CallEvent::MediaQuality { call: self.call, leg, quality: Box::new(line.quality()) });
        }
    }

    /// Tells the last quality and the end, with these figures beside those of the lines.
    pub(super) fn tell_end(&self, reason: String, further: &[(&'static str, u64)]) {
        self.tell_quality();
        let mut media = quality::near_figures(&self.line.media.stats());
        if let Some(far) = &self.far.line {
            media.extend(quality::far_figures(&far.media.stats()));
        }
        media.extend_from_slice(further);
        self.events.send(CallEvent::CallEnded {
            call: self.call,
            reason,
            completed: self.hangup.as_ref().is_some_and(|(_, completed)| *completed),
            duration: self.started.elapsed(),
            media,
        });
    }
}
