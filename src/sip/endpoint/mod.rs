//! The pure SIP machine: datagrams, timeouts and commands in; datagrams, events and the next timeout out.
//!
//! The owner's loop, after every `handle_*` and every command:
//! 1. [`Endpoint::poll_transmit`] until `None`, sending each;
//! 2. [`Endpoint::poll_event`] until `None`;
//! 3. wait for a datagram or until [`Endpoint::poll_timeout`], then `handle_datagram` or `handle_timeout`.

use super::config::{EndpointConfig, OutgoingInvite, Refer, RegistrationConfig, Transport};
use super::event::{Event, LegId, RegistrationId};
use crate::base::Random;
use std::net::SocketAddr;
use std::time::Instant;

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Transport it came by.
    pub transport: Transport,
    /// Our socket.
    pub local: SocketAddr,
    /// Its source.
    pub remote: SocketAddr,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Transport to send it by.
    pub transport: Transport,
    /// Our socket to send it from.
    pub local: SocketAddr,
    /// Where to.
    pub remote: SocketAddr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why a command was not carried out. The endpoint's state is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The leg has ended or never was.
    #[error("no such leg: it has ended; its Ended event says why")]
    UnknownLeg,
    /// The registration was taken back or never was.
    #[error("no such registration")]
    UnknownRegistration,
    /// The command does not fit the leg's state, such as answering an answered call.
    #[error("the leg's state does not allow this command")]
    WrongState,
    /// A re-offer of ours or of the peer is not finished. Try again after its event.
    #[error("another offer is pending on this leg")]
    OfferPending,
    /// The transaction or leg table is full.
    #[error("the endpoint is at its limit; refuse or retry later")]
    Full,
    /// A header name or value holds a byte that no header can hold, such as a line break.
    #[error("a header name or value cannot be written")]
    InvalidHeader,
    /// No local address has this transport.
    #[error("no local address for this transport")]
    NoLocalAddress,
}

/// The SIP side of the server: transactions, dialogs and registrations over any number of sockets.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    random: Random,
    draining: bool,
}

impl Endpoint {
    /// An endpoint without calls. `random` makes tags, branches and Call-IDs, so give it the system's source.
    #[must_use]
    pub fn new(config: EndpointConfig, random: Random) -> Self {
        Self { config, random, draining: false }
    }

    /// Takes a datagram in. Never fails: what cannot be understood is answered or dropped as RFC 3261 says, and a
    /// stranger's datagram is dropped unread.
    pub fn handle_datagram(&mut self, now: Instant, received: Received<'_>) {
        let _ = (now, received);
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When `handle_timeout` wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Places a call. Its course comes as events of the leg; exactly one `Ended` closes it.
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::InvalidHeader`], [`CommandError::NoLocalAddress`].
    pub fn invite(&mut self, now: Instant, call: OutgoingInvite) -> Result<LegId, CommandError> {
        let _ = (now, call);
        Err(CommandError::Full)
    }

    /// Sends 180 Ringing to an incoming call.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] unless the call is incoming and undecided.
    pub fn ring(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        let _ = (now, leg);
        Err(CommandError::UnknownLeg)
    }

    /// Sends 183 Session Progress with early media to an incoming call.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn progress(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let _ = (now, leg, sdp);
        Err(CommandError::UnknownLeg)
    }

    /// Takes an incoming call: 200 with `sdp`, which is the answer to its offer, or our offer when it had none.
    /// The 200 is repeated until the ACK comes.
    ///
    /// # Errors
    /// As [`Self::ring`].
    pub fn answer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let _ = (now, leg, sdp);
        Err(CommandError::UnknownLeg)
    }

    /// Refuses an incoming call with a final status of 300–699 and further header fields such as `Retry-After`.
    /// The leg ends at once with `EndCause::Local`.
    ///
    /// # Errors
    /// As [`Self::ring`], and [`CommandError::InvalidHeader`].
    pub fn reject(
        &mut self,
        now: Instant,
        leg: LegId,
        code: u16,
        headers: &[(&str, &str)],
    ) -> Result<(), CommandError> {
        let _ = (now, leg, code, headers);
        Err(CommandError::UnknownLeg)
    }

    /// Ends the leg in whatever state it is: CANCEL, 603, or BYE with these header fields (`Reason` and the like).
    /// `Ended` comes at once; the endpoint finishes the protocol behind it.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::InvalidHeader`].
    pub fn hangup(&mut self, now: Instant, leg: LegId, headers: &[(&str, &str)]) -> Result<(), CommandError> {
        let _ = (now, leg, headers);
        Err(CommandError::UnknownLeg)
    }

    /// Changes the session of an established leg by re-INVITE. The outcome comes as `Event::ReofferAnswered`; on
    /// glare (491) the endpoint tries again by itself after the back-off of RFC 3261 §14.1.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::OfferPending`].
    pub fn reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let _ = (now, leg, sdp);
        Err(CommandError::UnknownLeg)
    }

    /// Accepts the peer's re-offer with our answer, or with our offer when it had none.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending.
    pub fn answer_reoffer(&mut self, now: Instant, leg: LegId, sdp: Vec<u8>) -> Result<(), CommandError> {
        let _ = (now, leg, sdp);
        Err(CommandError::UnknownLeg)
    }

    /// Refuses the peer's re-offer, usually with 488; the session stays as it was.
    ///
    /// # Errors
    /// As [`Self::answer_reoffer`].
    pub fn reject_reoffer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let _ = (now, leg, code);
        Err(CommandError::UnknownLeg)
    }

    /// Asks the peer to call someone else. 202 is not success: see `Event::TransferFinished`.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when the leg is not established or a transfer
    /// is under way; [`CommandError::InvalidHeader`].
    pub fn refer(&mut self, now: Instant, leg: LegId, refer: Refer) -> Result<(), CommandError> {
        let _ = (now, leg, refer);
        Err(CommandError::UnknownLeg)
    }

    /// Accepts the peer's REFER with 202 and tells it "100 Trying"; report the rest with [`Self::notify_refer`].
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when none is pending.
    pub fn accept_refer(&mut self, now: Instant, leg: LegId) -> Result<(), CommandError> {
        let _ = (now, leg);
        Err(CommandError::UnknownLeg)
    }

    /// Tells the peer how the call that it asked for goes: a status of 100–699; a final one ends the subscription.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`]; [`CommandError::WrongState`] when no REFER was accepted.
    pub fn notify_refer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let _ = (now, leg, code);
        Err(CommandError::UnknownLeg)
    }

    /// Refuses the peer's REFER with `code`.
    ///
    /// # Errors
    /// As [`Self::accept_refer`].
    pub fn reject_refer(&mut self, now: Instant, leg: LegId, code: u16) -> Result<(), CommandError> {
        let _ = (now, leg, code);
        Err(CommandError::UnknownLeg)
    }

    /// Sends an INFO request within an established leg. Its response is not reported.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::InvalidHeader`].
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &str, body: Vec<u8>) -> Result<(), CommandError> {
        let _ = (now, leg, content_type, body);
        Err(CommandError::UnknownLeg)
    }

    /// Registers and keeps registered until [`Self::unregister`].
    ///
    /// # Errors
    /// [`CommandError::NoLocalAddress`].
    pub fn register(&mut self, now: Instant, config: RegistrationConfig) -> Result<RegistrationId, CommandError> {
        let _ = (now, config);
        Err(CommandError::NoLocalAddress)
    }

    /// Takes a registration back. `RegistrationState::Unregistered` follows when the registrar has said so, or
    /// after 5 s without an answer.
    ///
    /// # Errors
    /// [`CommandError::UnknownRegistration`].
    pub fn unregister(&mut self, now: Instant, registration: RegistrationId) -> Result<(), CommandError> {
        let _ = (now, registration);
        Err(CommandError::UnknownRegistration)
    }

    /// While draining, new calls and OPTIONS get 503, so that dispatchers route around us; calls in progress go on.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Legs that have not ended.
    #[must_use]
    pub fn leg_count(&self) -> usize {
        0
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }
}
