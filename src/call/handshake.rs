//! The DTLS handshake of a line: which one goes on, and what it has come to.

use crate::base::{SrtpKeys, SrtpSuite};
use crate::media::dtls::{DtlsError, Handshake, Identity};
use crate::media::{Leg, LegSecurity};
use crate::sdp::{Fingerprint, Setup};
use std::net::SocketAddr;
use std::time::Instant;

/// What two descriptions agree on; the same again is the same handshake (RFC 8842 §3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Agreement {
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Setup,
    pub(super) tls_id: Option<String>,
}

/// One handshake of a line, kept as long as its keys are in use: the peer may ask for the last flight again.
#[derive(Debug)]
pub(super) struct LineHandshake {
    agreement: Agreement,
    machine: Handshake,
    keys: Option<SrtpKeys>,
}

impl LineHandshake {
    /// Begins a handshake with the peer at `remote`.
    pub(super) fn begin(now: Instant, identity: &Identity, agreement: Agreement, remote: SocketAddr) -> Self {
        let machine = Handshake::new(now, identity, agreement.setup, remote, agreement.fingerprints.clone());
        Self { agreement, machine, keys: None }
    }

    /// Whether this is the handshake that was agreed on.
    pub(super) fn is_for(&self, agreement: &Agreement) -> bool {
        self.agreement == *agreement
    }

    /// How the leg is protected so far.
    pub(super) fn security(&self) -> LegSecurity {
        match &self.keys {
            Some(SrtpKeys { send, receive }) => LegSecurity::Srtp { send: send.clone(), receive: receive.clone() },
            None => LegSecurity::Pending,
        }
    }

    /// The suite, once there are keys.
    pub(super) fn suite(&self) -> Option<SrtpSuite> {
        self.keys.as_ref().map(|keys| keys.send.suite())
    }

    /// When [`Self::drive`] is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Shows the machine what came and the time, and sends what it wants to send. True once: there are keys.
    ///
    /// # Errors
    /// There will be none.
    pub(super) fn drive(&mut self, now: Instant, leg: &mut Leg) -> Result<bool, DtlsError> {
        while let Some(datagram) = leg.next_datagram() {
            self.machine.handle(now, datagram.from(), datagram.octets());
        }
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
        }
        while let Some(transmit) = self.machine.poll_transmit() {
            // What the system refuses is sent again by the machine's own timer.
            let _ = leg.send_datagram(transmit.to, &transmit.datagram);
        }
        let Some(outcome) = self.machine.poll_outcome() else { return Ok(false) };
        self.keys = Some(outcome?.keys);
        Ok(true)
    }
}
