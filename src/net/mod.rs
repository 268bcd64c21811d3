//! The shell around `sip::Endpoint`: the socket, the clock and one task.
//!
//! Commands are closures run on the endpoint by its own task, so the endpoint needs no lock and its owner no copy
//! of its interface. Events of a leg go to whoever drives that leg; new calls and registrations to the one
//! [`Inbox`] that [`start`] returns.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod udp;

use crate::sip::event::{IncomingCall, RegistrationState};
use crate::sip::{CommandError, Endpoint, Event, LegId, OutgoingInvite, RegistrationId};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

pub use udp::start;

/// Why the network side could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The socket could not be opened.
    #[error(
        "cannot listen for SIP on {address}: {source}. Is another server on that port? Set [server] listen to another one"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// The endpoint refused the command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The network task has ended.
    #[error("the SIP side has stopped")]
    Stopped,
}

/// A function run on the endpoint by its task.
type Command = Box<dyn FnOnce(&mut udp::Driver, Instant) + Send>;

/// What belongs to no leg that somebody drives already.
#[derive(Debug)]
pub enum Arrival {
    /// A call came in; its further events come on the receiver.
    Call(Box<IncomingCall>, LegEvents),
    /// A registration changed its state.
    Registration(RegistrationId, RegistrationState),
}

/// Arrivals, in order.
pub type Inbox = mpsc::UnboundedReceiver<Arrival>;

/// The events of one leg, ending with `Event::Ended`.
pub type LegEvents = mpsc::UnboundedReceiver<Event>;

/// A handle to the SIP side. Cheap to clone; the task ends when all handles are gone.
#[derive(Clone, Debug)]
pub struct Sip {
    commands: mpsc::UnboundedSender<Command>,
    local: SocketAddr,
}

impl Sip {
    /// The address of the socket, with the real port when 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Runs `command` on the endpoint and returns what it returns.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn run<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Endpoint, Instant) -> R + Send + 'static,
    ) -> Result<R, NetError> {
        self.drive(move |driver, now| command(driver.endpoint(), now)).await
    }

    /// Runs `command` on the endpoint; nobody waits for it.
    pub fn post(&self, command: impl FnOnce(&mut Endpoint, Instant) + Send + 'static) {
        // A stopped network side has ended every leg already.
        let _ = self.commands.send(Box::new(move |driver, now| command(driver.endpoint(), now)));
    }

    /// Places a call; its events come on the receiver.
    ///
    /// # Errors
    /// What the endpoint says, or [`NetError::Stopped`].
    pub async fn invite(&self, call: OutgoingInvite) -> Result<(LegId, LegEvents), NetError> {
        let placed = self
            .drive(move |driver, now| {
                let leg = driver.endpoint().invite(now, call)?;
                Ok::<_, CommandError>((leg, driver.watch(leg)))
            })
            .await?;
        Ok(placed?)
    }

    async fn drive<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut udp::Driver, Instant) -> R + Send + 'static,
    ) -> Result<R, NetError> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |driver, now| {
            let _ = answer.send(command(driver, now));
        });
        self.commands.send(command).map_err(|_| NetError::Stopped)?;
        answered.await.map_err(|_| NetError::Stopped)
    }
}
