//! A telephone line as the call holds it: the SIP leg, the media leg and what offer and answer agreed.

use crate::base::Random;
use crate::media::{Leg, LegMedia, LegMode, MediaError, Workers};
use crate::net::{LegEvents, NetError, Sip};
use crate::sdp::{Codec, Direction, Negotiated, Negotiation, SdpError};
use crate::sip::event::{EndCause, IncomingCall, Missing, TransferOutcome};
use crate::sip::{CommandError, Event, LegId, OutgoingInvite};
use std::net::IpAddr;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The network side refused or has stopped.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No media for this call.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The peer's session description cannot be used.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The peer did not take the call.
    #[error("the call was not answered: {0}")]
    NotAnswered(String),
}

impl LineError {
    /// The SIP status that refuses an INVITE for this reason.
    #[must_use]
    pub fn sip_status(&self) -> u16 {
        match self {
            Self::Media(error) => error.sip_status(),
            Self::Sdp(error) => error.sip_status(),
            Self::Net(_) | Self::NotAnswered(_) => 500,
        }
    }
}

/// What a line tells the call, after it has seen to offers and answers itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// A key came by SIP INFO.
    Digit(char),
    /// The peer put us on hold (`true`) or took us back.
    Held(bool),
    /// The call is over.
    Ended(EndCause),
    /// The transfer that was asked for is decided.
    Transferred(TransferOutcome),
}

/// See the module.
#[derive(Debug)]
pub struct Line {
    /// The network side.
    pub sip: Sip,
    /// The SIP leg.
    pub leg: LegId,
    /// Audio in and out.
    pub media: Leg,
    events: LegEvents,
    negotiation: Negotiation,
    signalling_ip: IpAddr,
    codec: Option<Codec>,
    held: bool,
}

impl Line {
    /// Takes an incoming call: opens media, answers its offer (or makes one), sends the 200.
    /// On error nothing was sent and the caller of this function must reject the call.
    ///
    /// # Errors
    /// No media, no common codec, or the caller has hung up already.
    pub async fn answer(
        sip: &Sip,
        call: &IncomingCall,
        events: LegEvents,
        workers: &Workers,
        codecs: &[Codec],
        mode: LegMode,
        random: &mut Random,
    ) -> Result<Self, LineError> {
        let media = workers.open(mode)?;
        let negotiation = Negotiation::new(call.local.ip(), media.local_addr().port(), codecs.to_vec(), random);
        let mut line = Self {
            sip: sip.clone(),
            leg: call.leg,
            media,
            events,
            negotiation,
            signalling_ip: call.source.ip(),
            codec: None,
            held: false,
        };
        let sdp = match &call.sdp {
            Some(offer) => {
                let answer = line.negotiation.answer(offer, Direction::SendRecv)?;
                line.apply(&answer.negotiated)?;
                answer.sdp
            }
            None => line.negotiation.offer(Direction::SendRecv),
        };
        let leg = call.leg;
        sip.run(move |endpoint, now| endpoint.answer(now, leg, sdp.into_bytes())).await?.map_err(NetError::from)?;
        Ok(line)
    }

    /// Places a call and waits until it is answered. `prepare` gets our offer and makes the INVITE.
    ///
    /// # Errors
    /// No media, or the peer did not answer.
    pub async fn dial(
        sip: &Sip,
        local_ip: IpAddr,
        workers: &Workers,
        codecs: &[Codec],
        mode: LegMode,
        random: &mut Random,
        prepare: impl FnOnce(Vec<u8>) -> OutgoingInvite,
    ) -> Result<Self, LineError> {
        let media = workers.open(mode)?;
        let mut negotiation = Negotiation::new(local_ip, media.local_addr().port(), codecs.to_vec(), random);
        let invite = prepare(negotiation.offer(Direction::SendRecv).into_bytes());
        let signalling_ip = invite.targets.first().map_or(local_ip, |target| target.remote.ip());
        let (leg, events) = sip.invite(invite).await?;
        let mut line =
            Self { sip: sip.clone(), leg, media, events, negotiation, signalling_ip, codec: None, held: false };
        while let Some(event) = line.events.recv().await {
            match event {
                Event::Answered { sdp: Some(sdp), .. } => {
                    let negotiated = line.negotiation.accept_answer(&sdp).inspect_err(|_| line.hang_up())?;
                    line.apply(&negotiated)?;
                    return Ok(line);
                }
                Event::Answered { sdp: None, .. } => {
                    line.hang_up();
                    return Err(LineError::NotAnswered("the peer's 200 carries no session description".into()));
                }
                Event::Ended { cause, .. } => return Err(LineError::NotAnswered(describe(&cause))),
                _ => {}
            }
        }
        Err(NetError::Stopped.into())
    }

    /// The codec in use; `None` until offer and answer are complete.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Where the signalling comes from.
    #[must_use]
    pub fn signalling_ip(&self) -> IpAddr {
        self.signalling_ip
    }

    /// Whether the peer has put us on hold.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Waits for the next event that concerns the call; `None` when the media leg has frames or events to take.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<LineEvent> {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = self.media.ready() => return None,
            };
            let Some(event) = event else { return Some(LineEvent::Ended(EndCause::Transport)) };
            if let Some(event) = self.take(event) {
                return Some(event);
            }
        }
    }

    /// Ends the call. [`LineEvent::Ended`] follows.
    pub fn hang_up(&self) {
        let leg = self.leg;
        self.sip.post(move |endpoint, now| {
            // An ended leg needs no hang-up.
            let _ = endpoint.hangup(now, leg, &[]);
        });
    }

    fn take(&mut self, event: Event) -> Option<LineEvent> {
        match event {
            Event::Ended { cause, .. } => Some(LineEvent::Ended(cause)),
            Event::Established { sdp: Some(answer), .. } => match self.negotiation.accept_answer(&answer) {
                Ok(negotiated) => self.settle(&negotiated),
                Err(error) => {
                    tracing::info!(leg = %self.leg, %error, "answer_unusable");
                    self.hang_up();
                    None
                }
            },
            Event::Reoffer { sdp, .. } => self.take_reoffer(sdp),
            Event::ReofferAnswered { outcome: Ok(Some(answer)), .. } => {
                self.negotiation.accept_answer(&answer).ok().and_then(|negotiated| self.settle(&negotiated))
            }
            Event::TransferFinished { outcome, .. } => Some(LineEvent::Transferred(outcome)),
            Event::Info { content_type, body, .. } => digit_of_info(&content_type, body.expose()).map(LineEvent::Digit),
            _ => None,
        }
    }

    fn take_reoffer(&mut self, offer: Option<Vec<u8>>) -> Option<LineEvent> {
        let leg = self.leg;
        let Some(offer) = offer else {
            let sdp = self.negotiation.offer(Direction::SendRecv).into_bytes();
            self.sip.post(move |endpoint, now| log_refused(endpoint.answer_reoffer(now, leg, sdp)));
            return None;
        };
        match self.negotiation.answer(&offer, Direction::SendRecv) {
            Ok(answer) => {
                let sdp = answer.sdp.into_bytes();
                self.sip.post(move |endpoint, now| log_refused(endpoint.answer_reoffer(now, leg, sdp)));
                self.settle(&answer.negotiated)
            }
            Err(error) => {
                let code = error.sip_status();
                tracing::info!(leg = %self.leg, %error, "reoffer_refused");
                self.sip.post(move |endpoint, now| log_refused(endpoint.reject_reoffer(now, leg, code)));
                None
            }
        }
    }

    fn settle(&mut self, negotiated: &Negotiated) -> Option<LineEvent> {
        if let Err(error) = self.apply(negotiated) {
            tracing::warn!(leg = %self.leg, %error, "media_not_configured");
        }
        let held = negotiated.is_held();
        (held != std::mem::replace(&mut self.held, held)).then_some(LineEvent::Held(held))
    }

    fn apply(&mut self, negotiated: &Negotiated) -> Result<(), MediaError> {
        self.codec = Some(negotiated.codec);
        self.media.configure(LegMedia::new(negotiated, self.signalling_ip))
    }
}

/// The leg may have ended, or the peer may have waited too long, before the answer was ready.
fn log_refused(outcome: Result<(), CommandError>) {
    if let Err(error) = outcome {
        tracing::info!(%error, "reoffer_not_answered");
    }
}

/// The key of a SIP INFO body: `Signal=5` lines of `application/dtmf-relay`, or the bare key of `application/dtmf`.
fn digit_of_info(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = match content_type {
        "application/dtmf-relay" => text.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        "application/dtmf" => text.trim(),
        _ => return None,
    };
    match signal {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => signal
            .chars()
            .next()
            .filter(|c| signal.len() == 1 && "0123456789*#ABCDabcd".contains(*c))
            .map(|c| c.to_ascii_uppercase()),
    }
}

/// An end in words.
#[must_use]
pub fn describe(cause: &EndCause) -> String {
    match cause {
        EndCause::Cancelled => "the caller gave up before the answer".into(),
        EndCause::DialogLost => "the peer no longer knew the call".into(),
        EndCause::Local => "we hung up".into(),
        EndCause::Rejected { code, phrase, .. } => format!("{code} {phrase}"),
        EndCause::Remote => "the peer hung up".into(),
        EndCause::TimedOut(missing) => format!(
            "no {} came in time",
            match missing {
                Missing::Ack => "ACK",
                Missing::FinalResponse => "final response",
                Missing::OurAnswer => "answer of ours",
                Missing::Prack => "PRACK",
                Missing::Refresh => "refresh of the session",
                Missing::Response => "response",
            }
        ),
        EndCause::Transferred => "transferred".into(),
        EndCause::Transport => "the network side failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_by_sip_info_is_read_in_both_forms() {
        let relay = "application/dtmf-relay";
        assert_eq!(digit_of_info(relay, b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(digit_of_info(relay, b"Signal= *\r\nDuration= 250\r\n"), Some('*'));
        assert_eq!(digit_of_info(relay, b"Signal=11\r\n"), Some('#'));
        assert_eq!(digit_of_info("application/dtmf", b"7"), Some('7'));
        for (content_type, body) in
            [(relay, &b"Duration=160"[..]), (relay, b"Signal=55"), ("text/plain", b"5"), (relay, b"\xff")]
        {
            assert_eq!(digit_of_info(content_type, body), None);
        }
    }
}
