//! The shell around `sip::Endpoint`: the socket, the clock and one task.
//!
//! Commands are closures run on the endpoint by its own task, so the endpoint needs no lock and its owner no copy
//! of its interface. Events of a leg go to whoever drives that leg; new calls and registrations to the one
//! [`Inbox`] that [`start`] returns.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod locate;
pub mod tls;
mod udp;

use crate::sip::event::{Header, IncomingCall, RegistrationState};
use crate::sip::{
    CommandError, Endpoint, Event, LegId, OutgoingInvite, OutgoingOptions, RegistrationId, Target, Transport,
};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

pub use locate::Destination;
pub use tls::{ClientTls, ServerTls, TlsIdentity};
pub use udp::{start, start_udp};

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
    /// A host name leads nowhere.
    #[error("{host} cannot be reached by name: {reason}. Check the name and this machine's DNS")]
    Locate {
        /// The name.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key file cannot be used.
    #[error("{file}: {reason}")]
    Certificate {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The network task has ended.
    #[error("the SIP side has stopped")]
    Stopped,
}

/// A socket that takes SIP in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Its transport.
    pub transport: Transport,
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What a TLS listener shows; needed there, ignored elsewhere.
    pub tls: Option<ServerTls>,
}

impl Listen {
    /// A UDP socket.
    #[must_use]
    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address, tls: None }
    }
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

/// The final status of an OPTIONS with the header fields of its response; `None` when nobody answered.
pub type ProbeAnswer = Option<(u16, Vec<Header>)>;

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

    /// The addresses of a destination, best first, never empty. TLS connections to them are verified as the
    /// destination says.
    ///
    /// # Errors
    /// [`NetError::Locate`], [`NetError::Certificate`].
    pub async fn locate(&self, destination: &Destination) -> Result<Vec<Target>, NetError> {
        destination.look_up().await
    }

    /// Asks a peer whether it is there and waits for the answer, 32 s at most.
    ///
    /// # Errors
    /// What the endpoint says, or [`NetError::Stopped`].
    pub async fn options(&self, options: OutgoingOptions) -> Result<ProbeAnswer, NetError> {
        let asked = self
            .drive(move |driver, now| {
                let probe = driver.endpoint().options(now, options)?;
                Ok::<_, CommandError>(driver.expect_probe(probe))
            })
            .await??;
        asked.await.map_err(|_| NetError::Stopped)
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
