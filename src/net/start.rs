//! Opens the sockets and starts the task.

use super::connections::Connections;
use super::dns::Dns;
use super::driver::{Driver, Inputs};
use super::errors::TransportErrors;
use super::limits::{ACCEPTED, HANDSHAKES, STREAM_MESSAGES};
use super::tls::{Acceptor, Demands};
use super::{Inbox, Listen, NetConfig, NetError, Sip, socket};
use crate::base::Random;
use crate::sip::{Endpoint, EndpointConfig, Transport};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc};

/// The port of an outgoing-only TLS entry that names none: what its Via claims (RFC 3261 §18.1.1).
const TLS_PORT: u16 = 5061;

/// Opens the sockets and starts the task. `configure` gets them with their real addresses, in the order of `listen`, and
/// makes the endpoint's settings: for each one or more [`crate::sip::LocalAddress`] with its transport and, as `socket`,
/// its address.
///
/// # Errors
/// [`NetError::Bind`], [`NetError::Certificate`].
pub fn start(
    listen: &[Listen],
    random: Random,
    configure: impl FnOnce(&[Listen]) -> EndpointConfig,
) -> Result<(Sip, Inbox), NetError> {
    start_with(NetConfig::default(), listen, random, configure)
}

/// As [`start`], with other waits and name servers.
///
/// # Errors
/// As [`start`].
pub fn start_with(
    config: NetConfig,
    listen: &[Listen],
    random: Random,
    configure: impl FnOnce(&[Listen]) -> EndpointConfig,
) -> Result<(Sip, Inbox), NetError> {
    let mut bound = listen.to_vec();
    let mut sockets = Vec::new();
    let mut listeners = Vec::new();
    let mut acceptors = HashMap::new();
    let now = Instant::now();
    for listen in &mut bound {
        let failed = |source| NetError::Bind { address: listen.address, source };
        match listen.transport {
            Transport::Udp => {
                let socket = socket::bind_udp(listen.address).map_err(failed)?;
                listen.address = socket.local_addr().map_err(failed)?;
                sockets.push((listen.address, socket));
            }
            Transport::Tls if listen.tls.is_none() => {
                if listen.address.port() == 0 {
                    listen.address.set_port(TLS_PORT);
                }
            }
            Transport::Tcp | Transport::Tls => {
                let mut acceptor = None;
                if let Some(tls) = listen.tls.clone().filter(|_| listen.transport == Transport::Tls) {
                    acceptor = Some(Acceptor::new(now, tls)?);
                }
                let listener = socket::bind_tcp(listen.address).map_err(failed)?;
                listen.address = listener.local_addr().map_err(failed)?;
                if let Some(acceptor) = acceptor {
                    acceptors.insert(listen.address, acceptor);
                }
                listeners.push((listen.clone(), listener));
            }
        }
    }
    let (commands, queue) = mpsc::unbounded_channel();
    let (inbox, arrivals) = mpsc::unbounded_channel();
    let (reports, reported) = mpsc::channel(STREAM_MESSAGES);
    let (accepts, accepted) = mpsc::channel(ACCEPTED);
    for (listen, listener) in listeners {
        tokio::spawn(socket::accept(listener, listen.address, listen.transport, accepts.clone()));
    }
    let errors = TransportErrors::default();
    let dns = Arc::new(Dns::new(&config, &bound));
    let driver = Driver {
        endpoint: Endpoint::new(configure(&bound), random),
        config,
        sockets,
        turn: 0,
        streams: Connections::default(),
        acceptors,
        handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        demands: Demands::default(),
        reports,
        errors: errors.clone(),
        failed: VecDeque::new(),
        keep_alives: HashMap::new(),
        next_pulse: None,
        bindings: Vec::new(),
        random: Random::system(),
        legs: HashMap::new(),
        probes: HashMap::new(),
        inbox,
    };
    tokio::spawn(driver.run(Inputs { commands: queue, reports: reported, accepted }));
    Ok((Sip { commands, bound: bound.into(), errors, dns }, arrivals))
}

/// One UDP socket: for tools and tests that need no streams. See [`start`].
///
/// # Errors
/// [`NetError::Bind`].
pub fn start_udp(
    address: SocketAddr,
    random: Random,
    configure: impl FnOnce(SocketAddr) -> EndpointConfig,
) -> Result<(Sip, Inbox), NetError> {
    start(&[Listen::udp(address)], random, |bound| configure(bound.first().map_or(address, |l| l.address)))
}
