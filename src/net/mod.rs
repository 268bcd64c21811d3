//! The shell around `sip::Endpoint`: sockets, streams, names, the clock and one task.
//!
//! Commands are closures run on the endpoint by its own task, so the endpoint needs no lock and its owner no copy
//! of its interface. Events of a leg go to whoever drives that leg; new calls and registrations to the one
//! [`Inbox`] that [`start()`] returns.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod connection;
mod connections;
mod dns;
mod driver;
mod errors;
pub mod keep_alive;
pub mod limits;
pub mod locate;
mod socket;
mod start;
mod stun;
pub mod tls;

use crate::sip::StreamDeadlines;
use crate::sip::event::{Header, IncomingCall, RegistrationState};
use crate::sip::{
    CommandError, Endpoint, Event, LegId, OutgoingInvite, OutgoingOptions, RegistrationId, Target, Transport,
};
use dns::Dns;
use driver::Driver;
use errors::TransportErrors;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Demand;
use tokio::sync::{mpsc, oneshot};

pub use locate::Destination;
pub use start::{start, start_udp, start_with};
pub use tls::{CertificateFacts, ClientTls, ServerTls, TlsIdentity, describe_certificate};

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
    /// The certificate that a peer has shown on an open connection does not fit a destination that leads to the same
    /// address.
    #[error("{host} cannot be called by TLS: {reason}")]
    Unverified {
        /// The host.
        host: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// A STUN server does not tell our address.
    #[error("the STUN server {server} does not tell our public address: {reason}")]
    Stun {
        /// The server.
        server: String,
        /// Why.
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
    /// What a TLS listener shows; ignored elsewhere. Without it TLS only goes out: no socket is opened, and `address` is
    /// what the endpoint's [`crate::sip::LocalAddress`] for TLS names as its socket.
    pub tls: Option<ServerTls>,
}

/// Waits and name servers of the network side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetConfig {
    /// What peers that we know nothing of are allowed on a stream.
    pub stranger_deadlines: StreamDeadlines,
    /// What trunks, registrars and peers of calls are allowed.
    pub peer_deadlines: StreamDeadlines,
    /// How long opening a stream may take, its TLS handshake included.
    pub connect_time: Duration,
    /// How long an inbound TLS handshake may take.
    pub handshake_time: Duration,
    /// How long a peer may leave unread what we write to its stream.
    pub write_time: Duration,
    /// The name servers to ask; empty asks the system's.
    pub name_servers: Vec<SocketAddr>,
    /// The file of hosts that are known without asking.
    pub hosts_file: PathBuf,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            stranger_deadlines: StreamDeadlines::STRANGER,
            peer_deadlines: StreamDeadlines::PEER,
            connect_time: limits::CONNECT_TIME,
            handshake_time: limits::HANDSHAKE_TIME,
            write_time: limits::WRITE_TIME,
            name_servers: Vec::new(),
            hosts_file: "/etc/hosts".into(),
        }
    }
}

impl Listen {
    /// A UDP socket.
    #[must_use]
    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address, tls: None }
    }

    /// A TCP listener.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, address, tls: None }
    }

    /// A TLS listener.
    #[must_use]
    pub fn tls(address: SocketAddr, tls: ServerTls) -> Self {
        Self { transport: Transport::Tls, address, tls: Some(tls) }
    }
}

/// A function run on the endpoint by its task.
type Command = Box<dyn FnOnce(&mut Driver, Instant) + Send>;

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

/// The events of one leg, ending with `Event::Ended`. Boxed on their way: a channel keeps room for 32 of what it carries.
#[derive(Debug)]
pub struct LegEvents(mpsc::UnboundedReceiver<Box<Event>>);

impl LegEvents {
    /// The next event; `None` after the last. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await.map(|event| *event)
    }

    /// The oldest event not yet taken, without waiting.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok().map(|event| *event)
    }
}

/// A handle to the SIP side. Cheap to clone; the task ends when all handles are gone.
#[derive(Clone)]
pub struct Sip {
    commands: mpsc::UnboundedSender<Command>,
    bound: Arc<[Listen]>,
    errors: TransportErrors,
    dns: Arc<Dns>,
}

impl fmt::Debug for Sip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sip").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Sip {
    /// The address of the first socket, with the real port when 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.first().map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |listen| listen.address)
    }

    /// All sockets in the order asked for, with their real ports.
    #[must_use]
    pub fn bound(&self) -> &[Listen] {
        &self.bound
    }

    /// Why the last attempt to reach that address by that transport failed, in words; `None` once one succeeded.
    #[must_use]
    pub fn last_transport_error(&self, transport: Transport, remote: SocketAddr) -> Option<String> {
        self.errors.last(Target { transport, remote })
    }

    /// Keeps the way to a registrar or trunk open (RFC 5626 §4.4): pings on its stream, while one is open, or datagrams
    /// through the NAT, each after 80–100 % of `period`. [`keep_alive::STREAM_PERIOD`] is usual on streams; a NAT forgets
    /// datagrams within 30 s. `None` ends it.
    pub fn keep_alive(&self, remote: SocketAddr, transport: Transport, period: Option<Duration>) {
        let target = Target { transport, remote };
        // A stopped network side keeps nothing alive.
        let _ = self.commands.send(Box::new(move |driver, now| driver.keep_alive(now, target, period)));
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
    /// [`NetError::Locate`], [`NetError::Certificate`], [`NetError::Unverified`].
    pub async fn locate(&self, destination: &Destination) -> Result<Vec<Target>, NetError> {
        let Destination { host, port, transport, .. } = destination;
        let failed = |reason| NetError::Locate { host: host.clone(), reason };
        let targets = self.dns.locate(host, *port, *transport).await.map_err(failed)?;
        let is_tls = |target: &&Target| target.transport == Transport::Tls;
        let mut demand = None;
        for Target { remote, .. } in targets.iter().filter(is_tls).copied() {
            let wanted = Demand::new(host, destination.tls.clone().unwrap_or_default())?;
            let shown = self.drive(move |driver, _| driver.certificates(remote)).await?;
            tls::check(wanted.clone(), shown).await?;
            demand = Some(wanted);
        }
        let claimed = targets.clone();
        self.drive(move |driver, _| driver.claim(&claimed, demand)).await?;
        Ok(targets)
    }

    /// The address that our UDP socket has on the far side of a NAT, as a STUN server sees it (RFC 8489). Asked out of that
    /// very socket; up to 16 s for each of the server's first two addresses.
    ///
    /// # Errors
    /// [`NetError::Locate`], [`NetError::Stun`], [`NetError::Stopped`].
    pub async fn mapped_address(&self, server: &Destination) -> Result<SocketAddr, NetError> {
        let port = server.port.unwrap_or(stun::PORT);
        let failed = |reason| NetError::Locate { host: server.host.clone(), reason };
        let servers = self.dns.locate(&server.host, Some(port), Some(Transport::Udp)).await.map_err(failed)?;
        let mut last = "it has no address".to_owned();
        for Target { remote, .. } in servers.into_iter().take(2) {
            let asked = self.drive(move |driver, now| driver.ask_mapped_address(now, remote)).await?;
            match asked.await.map_err(|_| NetError::Stopped)? {
                Ok(mapped) => return Ok(mapped),
                Err(reason) => last = reason,
            }
        }
        Err(NetError::Stun { server: server.host.clone(), reason: last })
    }

    /// What the certificate of a TLS peer says, while a connection to it is open.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn peer_certificate(&self, remote: SocketAddr) -> Result<Option<CertificateFacts>, NetError> {
        let shown = self.drive(move |driver, _| driver.certificates(remote)).await?;
        Ok(shown.first().and_then(CertificateFacts::of))
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
        command: impl FnOnce(&mut Driver, Instant) -> R + Send + 'static,
    ) -> Result<R, NetError> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |driver, now| {
            let _ = answer.send(command(driver, now));
        });
        self.commands.send(command).map_err(|_| NetError::Stopped)?;
        answered.await.map_err(|_| NetError::Stopped)
    }
}
