//! A telephone line as the call holds it: the SIP leg, the media leg and what offer and answer agreed.

use super::handshake::{Agreement, LineHandshake};
pub use super::line_error::LineError;
use super::media_terms::MediaTerms;
use super::quality::{Carriage, LineQuality};
use super::signals::Signals;
use super::terms::DigitsBy;
use super::unanswered::Unanswered;
use crate::audio::ToneDetector;
use crate::base::{Pii, Random, SampleRate, SrtpSuite};
use crate::media::dtls::DtlsError;
use crate::media::{Leg, LegMedia, LegMode, LegOptions, MediaError, UplinkFrame, Workers};
use crate::net::{LegEvents, NetError, Sip};
use crate::providers::format::AudioFormat;
use crate::sdp::{Codec, Direction, Negotiated, Negotiation, Security, SrtpPolicy};
use crate::sip::event::{EndCause, Header, IncomingCall, Missing, TransferOutcome};
use crate::sip::{CommandError, Event, LegId, OutgoingInvite, Transport, Uri};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Content-Type of keys that we send by SIP INFO.
const DTMF_RELAY: &str = "application/dtmf-relay";

/// What a line tells the call, after it has seen to offers and answers itself.
#[derive(Clone, PartialEq, Debug)]
pub enum LineEvent {
    /// A call of ours was taken, with the header fields of the 200.
    Answered(Vec<Header>),
    /// A key came by SIP INFO.
    Digit(char),
    /// The callee's side lets us hear something before it answers: its audio comes from here on.
    EarlyMedia(u16),
    /// The call is over.
    Ended(EndCause),
    /// The peer put us on hold (`true`) or took us back.
    Held(bool),
    /// There will be no media, and why in words; the call is being hung up. Only where encryption failed.
    MediaFailed(String),
    /// Our hold or resume was refused with this status; the session is as it was.
    HoldRefused(u16),
    /// The callee's phone rings, or whatever its side says with a provisional response.
    Ringing(u16),
    /// The peer works on the transfer that was asked for: its latest status.
    TransferProgress(u16),
    /// The peer asks us to call somebody else (REFER). To be accepted or refused within 5 s.
    TransferRequested(TransferRequest),
    /// The transfer that was asked for is decided.
    Transferred(TransferOutcome),
}

/// A peer's REFER. Every text in it is a claim.
#[derive(Clone, PartialEq, Debug)]
pub struct TransferRequest {
    /// Whom to call.
    pub target: Pii<Uri>,
    /// Who asks.
    pub referred_by: Option<Pii<String>>,
    /// The dialog at the target that the call replaces.
    pub replaces: Option<Pii<String>>,
}

/// What an undecided INVITE will be answered with. Nothing is sent to its caller before it knows.
#[derive(Clone, Debug, Default)]
struct Prepared {
    sdp: Vec<u8>,
    /// What it agrees to; `None` when it is an offer.
    agreed: Option<Negotiated>,
}

/// See the module. Dropping a line ends its call.
#[derive(Debug)]
pub struct Line {
    /// The network side.
    pub sip: Sip,
    /// The SIP leg.
    pub leg: LegId,
    /// Audio in and out.
    pub media: Leg,
    signals: Signals,
    negotiation: Negotiation,
    terms: MediaTerms,
    codec: Option<Codec>,
    /// How the agreed stream is encrypted; `None` in clear.
    suite: Option<SrtpSuite>,
    /// Both, for readers elsewhere.
    carriage: Carriage,
    /// What the leg was configured with last.
    agreed: Option<LegMedia>,
    /// Where keys are agreed by DTLS.
    handshake: Option<LineHandshake>,
    held: bool,
    /// The direction that we want: less than both ways while we hold the peer.
    wanted: Direction,
    digits: DigitsBy,
    has_events: bool,
    detector: ToneDetector,
    detector_rate: SampleRate,
    /// For the peer's undecided INVITE.
    prepared: Option<Prepared>,
    early_fork: Option<u8>,
    fault: Option<Unanswered>,
    /// Offer and answer are complete, and so is the INVITE.
    is_up: bool,
    /// Why another way to keys was offered than the DTLS that was agreed, until the peer has answered.
    without_dtls: Option<String>,
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
        terms: impl Into<MediaTerms>,
        mode: LegMode,
        random: &mut Random,
    ) -> Result<Self, LineError> {
        let mut line = Self::prepare(sip, call, events, workers, terms, mode, random)?;
        line.pick_up().await?;
        Ok(line)
    }

    /// Makes everything ready for an incoming call without telling it: [`Self::ring`], [`Self::progress`] and
    /// [`Self::pick_up`] follow. Dropping it refuses the call; an error leaves that to the caller of this function.
    ///
    /// # Errors
    /// No media, no common codec.
    pub fn prepare(
        sip: &Sip,
        call: &IncomingCall,
        events: LegEvents,
        workers: &Workers,
        terms: impl Into<MediaTerms>,
        mode: LegMode,
        random: &mut Random,
    ) -> Result<Self, LineError> {
        let terms = terms.into();
        let stream = terms.stream(call.transport == Transport::Tls);
        let mut options = LegOptions { mode, max_sample_rate: terms.max_sample_rate() };
        if call.sdp.is_none() {
            stream.check_offer()?;
            // The agent begins to speak before the ACK says which codec it is.
            options.max_sample_rate = SampleRate::NARROWBAND;
        }
        let media = workers.open(options)?;
        let mut negotiation = Negotiation::new(call.local.ip(), media.local_addr().port(), stream, random);
        let prepared = match &call.sdp {
            Some(offer) => {
                let answer = negotiation.answer(offer, Direction::SendRecv)?;
                Prepared { sdp: answer.sdp.into_bytes(), agreed: Some(answer.negotiated) }
            }
            None => Prepared { sdp: negotiation.offer(Direction::SendRecv).into_bytes(), agreed: None },
        };
        let signals = Signals::new(sip, call.leg, events, call.source.ip());
        let mut line = Self::new(signals, media, negotiation, terms);
        line.codec = prepared.agreed.as_ref().map(|agreed| agreed.codec);
        line.prepared = Some(prepared);
        Ok(line)
    }

    fn new(signals: Signals, media: Leg, negotiation: Negotiation, terms: MediaTerms) -> Self {
        Self {
            sip: signals.sip.clone(),
            leg: signals.leg,
            media,
            signals,
            negotiation,
            terms,
            codec: None,
            suite: None,
            carriage: Carriage::default(),
            agreed: None,
            handshake: None,
            held: false,
            wanted: Direction::SendRecv,
            digits: DigitsBy::default(),
            has_events: false,
            detector: ToneDetector::default(),
            detector_rate: SampleRate::NARROWBAND,
            prepared: None,
            early_fork: None,
            fault: None,
            is_up: false,
            without_dtls: None,
        }
    }

    /// Lets the caller's phone ring: 180.
    pub fn ring(&self) {
        let leg = self.leg;
        self.sip.post(move |endpoint, now| log_refused(endpoint.ring(now, leg)));
    }

    /// Lets the caller hear what is pushed into the downlink, before the call is taken: 183 with our answer. A caller
    /// who made no offer hears its own ringing tone instead (180), since an unreliable 183 cannot make one.
    pub fn progress(&mut self) {
        let (leg, prepared) = (self.leg, self.prepared.clone());
        let Some(Prepared { sdp, agreed: Some(agreed) }) = prepared else { return self.ring() };
        self.settle(&agreed);
        self.sip.post(move |endpoint, now| log_refused(endpoint.progress(now, leg, sdp)));
    }

    /// Takes the call: 200.
    ///
    /// # Errors
    /// The caller has hung up already.
    pub async fn pick_up(&mut self) -> Result<(), LineError> {
        let Prepared { sdp, agreed } = self.prepared.take().unwrap_or_default();
        if let Some(agreed) = agreed {
            self.settle(&agreed);
        }
        let leg = self.leg;
        self.sip.run(move |endpoint, now| endpoint.answer(now, leg, sdp)).await?.map_err(NetError::from)?;
        self.is_up = true;
        Ok(())
    }

    /// Places a call and waits until it is answered. `prepare` gets our offer and makes the INVITE.
    ///
    /// # Errors
    /// No media, or the peer did not answer.
    pub async fn dial(
        sip: &Sip,
        local_ip: IpAddr,
        workers: &Workers,
        terms: impl Into<MediaTerms>,
        mode: LegMode,
        random: &mut Random,
        prepare: impl FnOnce(Vec<u8>) -> OutgoingInvite,
    ) -> Result<Self, LineError> {
        let mut line = Self::place(sip, local_ip, workers, terms, mode, random, prepare).await?;
        line.answered().await?;
        Ok(line)
    }

    /// Places a call. [`LineEvent::Ringing`], [`LineEvent::EarlyMedia`] and then [`LineEvent::Answered`] or
    /// [`LineEvent::Ended`] follow; [`Self::unanswered`] says why in words.
    ///
    /// # Errors
    /// No media, or the network side refuses.
    pub async fn place(
        sip: &Sip,
        local_ip: IpAddr,
        workers: &Workers,
        terms: impl Into<MediaTerms>,
        mode: LegMode,
        random: &mut Random,
        prepare: impl FnOnce(Vec<u8>) -> OutgoingInvite,
    ) -> Result<Self, LineError> {
        let terms = terms.into();
        let media = workers.open(LegOptions { mode, max_sample_rate: terms.max_sample_rate() })?;
        let port = media.local_addr().port();
        let mut negotiate = |over_tls| {
            let stream = terms.stream(over_tls);
            stream.check_offer().map(|()| Negotiation::new(local_ip, port, stream, random))
        };
        let (invite, negotiation) = if terms.srtp == SrtpPolicy::Off {
            let mut negotiation = negotiate(false)?;
            (prepare(negotiation.offer(Direction::SendRecv).into_bytes()), negotiation)
        } else {
            // Whether keys may go into the offer depends on the way that the INVITE takes.
            let mut invite = prepare(Vec::new());
            let over_tls = invite.targets.iter().all(|target| target.transport == Transport::Tls);
            let mut negotiation = negotiate(over_tls)?;
            invite.sdp = negotiation.offer(Direction::SendRecv).into_bytes();
            (invite, negotiation)
        };
        let signalling_ip = invite.targets.first().map_or(local_ip, |target| target.remote.ip());
        let may_move = invite.targets.len() > 1;
        let spare = (terms.srtp == SrtpPolicy::Preferred).then(|| Box::new(invite.clone()));
        let sip = sip.clone();
        // A task of its own: were this future dropped while the INVITE leaves, nobody would hang up.
        let placed = tokio::spawn(async move {
            let (leg, events) = sip.invite(invite).await?;
            let mut signals = Signals::new(&sip, leg, events, signalling_ip);
            (signals.may_move, signals.spare) = (may_move, spare);
            Ok(Self::new(signals, media, negotiation, terms))
        });
        placed.await.unwrap_or_else(|_| Err(NetError::Stopped.into()))
    }

    /// Waits until a call of ours is answered and returns the header fields of the 200. Early media is in the uplink
    /// meanwhile, which nobody need read.
    ///
    /// # Errors
    /// The peer did not answer.
    pub async fn answered(&mut self) -> Result<Vec<Header>, LineError> {
        loop {
            match self.next().await {
                Some(LineEvent::Answered(headers)) => return Ok(headers),
                Some(LineEvent::Ended(cause)) => return Err(LineError::NotAnswered(self.unanswered(&cause))),
                Some(_) => {}
                None => while self.media.events.try_pop().is_some() || self.media.uplink.try_pop().is_some() {},
            }
        }
    }

    /// Why a call of ours ended before it was answered.
    #[must_use]
    pub fn unanswered(&self, cause: &EndCause) -> Unanswered {
        self.fault.clone().unwrap_or_else(|| Unanswered::of(cause))
    }

    /// How keys come from this peer and go to it.
    #[must_use]
    pub fn with_digits(mut self, digits: DigitsBy) -> Self {
        self.digits = digits;
        self
    }

    /// The codec in use; `None` until offer and answer are complete.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// How this line carries audio: G.711 lines meet vendors that take it without a conversion.
    #[must_use]
    pub fn audio_format(&self) -> AudioFormat {
        match self.codec {
            Some(Codec::Pcmu) => AudioFormat::MULAW,
            Some(Codec::Pcma) => AudioFormat::ALAW,
            _ => AudioFormat::pcm(self.sample_rate().0),
        }
    }

    /// Samples per second of [`Leg::uplink`] and [`Leg::downlink`]: the first agreed codec's, for the whole call.
    #[must_use]
    pub fn sample_rate(&self) -> SampleRate {
        self.media.sample_rate()
    }

    /// How audio is encrypted; `None` when it is not, or not yet.
    #[must_use]
    pub fn suite(&self) -> Option<SrtpSuite> {
        self.suite
    }

    /// How its audio is carried, and what was measured of it so far.
    #[must_use]
    pub fn quality(&self) -> LineQuality {
        LineQuality { codec: self.codec, suite: self.suite, stats: self.media.stats() }
    }

    /// Codec and encryption as they are at any later time.
    pub(super) fn carriage(&self) -> Carriage {
        Arc::clone(&self.carriage)
    }

    /// Where the signalling comes from.
    #[must_use]
    pub fn signalling_ip(&self) -> IpAddr {
        self.signals.from
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
            let wake_at = self.handshake.as_ref().and_then(LineHandshake::wake_at);
            let event = tokio::select! {
                event = self.signals.next() => event,
                () = self.media.ready() => {
                    let failed = self.drive_handshake();
                    if failed.is_some() {
                        return failed;
                    }
                    return None;
                }
                () = sleep_until(wake_at) => {
                    let failed = self.drive_handshake();
                    if failed.is_some() {
                        return failed;
                    }
                    continue;
                }
            };
            let Some(event) = event else { return Some(LineEvent::Ended(EndCause::Transport)) };
            self.leg = self.signals.leg;
            if let Some(event) = self.take(event) {
                return Some(event);
            }
        }
    }

    /// Whether everything that [`Self::next`] waits for is [`Self::next_signal`] and [`Leg::ready`].
    pub(super) fn is_settled(&self) -> bool {
        self.handshake.is_none() && self.is_up
    }

    /// As [`Self::next`] without the media leg, for a line that [is settled](Self::is_settled); `None` when it has seen to
    /// something itself and may be settled no more. Cancel-safe.
    pub(super) async fn next_signal(&mut self) -> Option<LineEvent> {
        let Some(event) = self.signals.next().await else { return Some(LineEvent::Ended(EndCause::Transport)) };
        self.leg = self.signals.leg;
        self.take(event)
    }

    /// Lets the handshake go on; with its keys media begins.
    fn drive_handshake(&mut self) -> Option<LineEvent> {
        let Some(handshake) = &mut self.handshake else {
            // Of a handshake that nobody wants any more.
            while self.media.next_datagram().is_some() {}
            return None;
        };
        match handshake.drive(Instant::now(), &mut self.media) {
            Ok(false) => None,
            Ok(true) => {
                self.suite = handshake.suite();
                let media = LegMedia { security: handshake.security(), ..self.agreed.clone()? };
                self.configure(media)
            }
            Err(error) if self.goes_on_without_dtls(&error) => None,
            Err(error) => Some(self.fail(error.to_string())),
        }
    }

    /// Offers the peer another way to keys, or media in clear, where the handshake cannot succeed and the terms allow it.
    fn goes_on_without_dtls(&mut self, error: &DtlsError) -> bool {
        let may = self.is_up && error.is_incompatible() && self.media.give_up_handshake();
        if !may || !self.negotiation.give_up_dtls() {
            return false;
        }
        tracing::warn!(leg = %self.leg, %error, "dtls_given_up");
        self.handshake = None;
        self.without_dtls = Some(error.to_string());
        let (leg, sdp) = (self.leg, self.negotiation.offer(self.wanted).into_bytes());
        self.sip.post(move |endpoint, now| {
            if let Err(error) = endpoint.reoffer(now, leg, sdp) {
                tracing::info!(%leg, %error, "no_other_way_to_keys");
                // Without it nobody would hear anything; the leg may have ended already.
                let _ = endpoint.hangup(now, leg, &[]);
            }
        });
        true
    }

    fn configure(&mut self, media: LegMedia) -> Option<LineEvent> {
        *self.carriage.lock().unwrap_or_else(PoisonError::into_inner) = (self.codec, self.suite);
        match self.media.configure(media) {
            Ok(()) => None,
            Err(error @ MediaError::Busy(_)) => {
                tracing::warn!(leg = %self.leg, %error, "media_not_configured");
                None
            }
            Err(error) => Some(self.fail(error.to_string())),
        }
    }

    /// No media: the call ends.
    fn fail(&mut self, fault: String) -> LineEvent {
        tracing::info!(leg = %self.leg, fault, "media_failed");
        self.fault = Some(Unanswered::Unusable(fault.clone()));
        self.hang_up();
        LineEvent::MediaFailed(fault)
    }

    /// Ends the call. [`LineEvent::Ended`] follows.
    pub fn hang_up(&self) {
        self.hang_up_with(Vec::new());
    }

    /// Ends the call with these header fields in the BYE. A field that cannot be sent is left out.
    pub fn hang_up_with(&self, headers: Vec<(String, String)>) {
        let leg = self.leg;
        self.sip.post(move |endpoint, now| {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            if endpoint.hangup(now, leg, &headers) == Err(CommandError::InvalidHeader) {
                tracing::warn!(%leg, "the header fields for BYE cannot be sent");
                let _ = endpoint.hangup(now, leg, &[]);
            }
        });
    }

    /// Puts the peer on hold by re-INVITE: it hears what we send (`true`), or nothing, and we do not hear it. A
    /// refusal comes as [`LineEvent::HoldRefused`].
    ///
    /// # Errors
    /// The leg is not up, or another offer is in the air.
    pub async fn hold(&mut self, with_music: bool) -> Result<(), LineError> {
        self.reoffer(if with_music { Direction::SendOnly } else { Direction::Inactive }).await
    }

    /// Takes the peer back from hold.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub async fn resume(&mut self) -> Result<(), LineError> {
        self.reoffer(Direction::SendRecv).await
    }

    async fn reoffer(&mut self, wanted: Direction) -> Result<(), LineError> {
        let (leg, sdp) = (self.leg, self.negotiation.offer(wanted).into_bytes());
        self.sip.run(move |endpoint, now| endpoint.reoffer(now, leg, sdp)).await?.map_err(NetError::from)?;
        self.wanted = wanted;
        Ok(())
    }

    /// Sends a key the way the peer wants it.
    pub fn press(&mut self, key: char) {
        let sent = match self.digits {
            DigitsBy::Rfc4733 => self.media.send_digit(key),
            DigitsBy::Inband => self.media.send_tone(key),
            DigitsBy::Info => {
                let (leg, body) = (self.leg, format!("Signal={key}\r\nDuration=160\r\n").into_bytes());
                self.sip.post(move |endpoint, now| log_refused(endpoint.info(now, leg, DTMF_RELAY, body)));
                Ok(())
            }
        };
        if let Err(error) = sent {
            tracing::warn!(leg = %self.leg, %error, "key_not_sent");
        }
    }

    /// Whether RTP telephone-events count as keys: each press must count once, however many ways it comes.
    #[must_use]
    pub fn takes_event_keys(&self) -> bool {
        self.digits == DigitsBy::Rfc4733
    }

    /// A key whose tones end within this frame, where tones count.
    pub fn key_in(&mut self, frame: &UplinkFrame) -> Option<char> {
        (self.digits == DigitsBy::Inband).then(|| self.detector.push(frame.samples.samples())).flatten()
    }

    fn takes_info_keys(&self) -> bool {
        match self.digits {
            DigitsBy::Info => true,
            DigitsBy::Rfc4733 => !self.has_events,
            DigitsBy::Inband => false,
        }
    }

    fn take(&mut self, event: Event) -> Option<LineEvent> {
        match event {
            Event::Ended { cause: EndCause::Rejected { code, .. }, .. } if self.call_in_clear(code) => None,
            Event::Ended { cause, .. } => Some(LineEvent::Ended(cause)),
            Event::Progress { code, sdp, fork, .. } => Some(self.take_progress(code, sdp, fork)),
            Event::Answered { sdp, headers, .. } => self.take_answer(sdp, headers),
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
                self.without_dtls = None;
                self.negotiation.accept_answer(&answer).ok().and_then(|negotiated| self.settle(&negotiated))
            }
            Event::ReofferAnswered { outcome: Err(code), .. } => self.take_refusal(code),
            Event::TransferProgress { code, .. } => Some(LineEvent::TransferProgress(code)),
            Event::TransferFinished { outcome, .. } => Some(LineEvent::Transferred(outcome)),
            Event::TransferRequested { target, referred_by, replaces, .. } => {
                Some(LineEvent::TransferRequested(TransferRequest { target, referred_by, replaces }))
            }
            Event::Info { content_type, body, .. } if self.takes_info_keys() => {
                digit_of_info(&content_type, body.expose()).map(LineEvent::Digit)
            }
            _ => None,
        }
    }

    /// Calls again with a plain offer, where the peer refused an encrypted one that need not be.
    fn call_in_clear(&mut self, code: u16) -> bool {
        const MEDIA_REFUSED: [u16; 3] = [415, 488, 606];
        if !MEDIA_REFUSED.contains(&code) || !self.negotiation.fall_back_to_plain() {
            return false;
        }
        let offer = self.negotiation.offer(Direction::SendRecv);
        self.early_fork = None;
        let again = self.signals.call_again(offer.into_bytes());
        if again {
            tracing::info!(leg = %self.leg, code, "encrypted_offer_refused");
        }
        again
    }

    fn take_progress(&mut self, code: u16, sdp: Option<Vec<u8>>, fork: u8) -> LineEvent {
        let Some(sdp) = sdp.filter(|_| *self.early_fork.get_or_insert(fork) == fork) else {
            return LineEvent::Ringing(code);
        };
        let applied = self.negotiation.accept_answer(&sdp).map(|negotiated| self.settle(&negotiated));
        if let Err(error) = applied {
            tracing::info!(leg = %self.leg, %error, "early_answer_unusable");
            return LineEvent::Ringing(code);
        }
        LineEvent::EarlyMedia(code)
    }

    fn take_answer(&mut self, sdp: Option<Vec<u8>>, headers: Vec<Header>) -> Option<LineEvent> {
        self.is_up = true;
        let fault = match sdp {
            Some(sdp) => match self.negotiation.accept_answer(&sdp) {
                Ok(negotiated) => {
                    self.settle(&negotiated);
                    return Some(LineEvent::Answered(headers));
                }
                Err(error) => error.to_string(),
            },
            None if self.codec.is_some() => return Some(LineEvent::Answered(headers)),
            None => "its 200 carries no session description".to_owned(),
        };
        tracing::info!(leg = %self.leg, fault, "answer_unusable");
        self.fault = Some(Unanswered::Unusable(fault));
        self.hang_up();
        None
    }

    /// Our re-offer was refused. After a glare it is made anew from the state that the peer's offer left.
    fn take_refusal(&mut self, code: u16) -> Option<LineEvent> {
        const REQUEST_PENDING: u16 = 491;
        if code == REQUEST_PENDING {
            let (leg, sdp) = (self.leg, self.negotiation.offer(self.wanted).into_bytes());
            self.sip.post(move |endpoint, now| log_refused(endpoint.reoffer(now, leg, sdp)));
            return None;
        }
        if let Some(fault) = self.without_dtls.take() {
            return Some(self.fail(format!("{fault}; the peer refused another way with {code}")));
        }
        let is_hold = std::mem::take(&mut self.wanted) != Direction::SendRecv;
        is_hold.then_some(LineEvent::HoldRefused(code))
    }

    fn take_reoffer(&mut self, offer: Option<Vec<u8>>) -> Option<LineEvent> {
        let leg = self.leg;
        let Some(offer) = offer else {
            let sdp = self.negotiation.offer(self.wanted).into_bytes();
            self.sip.post(move |endpoint, now| log_refused(endpoint.answer_reoffer(now, leg, sdp)));
            return None;
        };
        match self.negotiation.answer(&offer, self.wanted) {
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

    /// The handshake in use goes on while its two sides stay the same; otherwise one begins anew.
    fn agree_on_handshake(&mut self, agreement: Agreement, negotiated: &Negotiated) {
        let Some(identity) = &self.terms.identity else { return };
        if self.handshake.as_ref().is_none_or(|handshake| !handshake.is_for(&agreement)) {
            let now = Instant::now();
            self.handshake = Some(LineHandshake::begin(now, identity, agreement, negotiated.remote));
        }
    }

    fn settle(&mut self, negotiated: &Negotiated) -> Option<LineEvent> {
        self.codec = Some(negotiated.codec);
        self.has_events = negotiated.telephone_event.is_some();
        let mut media = LegMedia {
            opus: self.terms.opus_towards(&negotiated.opus),
            suppress_silence: negotiated.comfort_noise.is_some(),
            ..LegMedia::new(negotiated, self.signals.from)
        };
        self.suite = match &negotiated.security {
            Security::Plain | Security::Dtls { .. } => None,
            Security::Sdes { suite, .. } => Some(*suite),
        };
        match &negotiated.security {
            Security::Dtls { fingerprints, setup, tls_id } => {
                let (fingerprints, tls_id) = (fingerprints.clone(), tls_id.clone());
                self.agree_on_handshake(Agreement { fingerprints, setup: *setup, tls_id }, negotiated);
                if let Some(handshake) = &self.handshake {
                    (media.security, self.suite) = (handshake.security(), handshake.suite());
                }
            }
            Security::Plain | Security::Sdes { .. } => self.handshake = None,
        }
        self.agreed = Some(media.clone());
        let failed = self.configure(media).or_else(|| self.drive_handshake());
        if failed.is_some() {
            return failed;
        }
        // The line's rate is fixed from the first time on.
        if self.detector_rate != self.media.sample_rate() {
            self.detector_rate = self.media.sample_rate();
            self.detector = ToneDetector::new(self.detector_rate);
        }
        // While we hold, not sending is our own wish.
        let held = negotiated.is_held() && self.wanted.sends();
        (held != std::mem::replace(&mut self.held, held)).then_some(LineEvent::Held(held))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Usually the leg has ended already.
        self.hang_up();
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
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
