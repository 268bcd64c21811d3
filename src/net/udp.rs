//! SIP over UDP: one socket, one task.

use super::{Arrival, Command, Inbox, LegEvents, Listen, NetError, ProbeAnswer, Sip};
use crate::base::Random;
use crate::sip::{Endpoint, EndpointConfig, Event, LegId, ProbeId, Received, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

/// Largest datagram read; UDP cannot carry more.
const DATAGRAM_BYTES: usize = 65_535;
/// Datagrams handled before timers and commands get their turn again: a flood must not starve them.
const DATAGRAMS_PER_ROUND: usize = 64;
/// Kernel buffer asked for, so that a burst of INVITEs survives a busy moment.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The endpoint with its socket and the receivers of its legs' events.
pub(super) struct Driver {
    endpoint: Endpoint,
    socket: UdpSocket,
    local: SocketAddr,
    legs: HashMap<LegId, mpsc::UnboundedSender<Event>>,
    probes: HashMap<ProbeId, oneshot::Sender<ProbeAnswer>>,
    inbox: mpsc::UnboundedSender<Arrival>,
}

/// Opens the sockets and starts the task. `configure` gets them with their real addresses, in the order of `listen`,
/// and makes the endpoint's settings.
///
/// # Errors
/// [`NetError::Bind`].
pub fn start(
    listen: &[Listen],
    random: Random,
    configure: impl FnOnce(&[Listen]) -> EndpointConfig,
) -> Result<(Sip, Inbox), NetError> {
    let address = listen.first().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |l| l.address);
    let bind = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The kernel caps these silently; a smaller buffer only means earlier loss under a flood.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    let bound = |source| NetError::Bind { address, source };
    let socket = bind().map_err(bound)?;
    let local = socket.local_addr().map_err(bound)?;
    let (commands, queue) = mpsc::unbounded_channel();
    let (inbox, arrivals) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new(configure(&[Listen::udp(local)]), random);
    tokio::spawn(Driver { endpoint, socket, local, legs: HashMap::new(), probes: HashMap::new(), inbox }.run(queue));
    Ok((Sip { commands, local }, arrivals))
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

impl Driver {
    /// The endpoint, for a command.
    pub(super) fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// From here on the leg's events go to the receiver.
    pub(super) fn watch(&mut self, leg: LegId) -> LegEvents {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.legs.insert(leg, sender);
        receiver
    }

    /// From here on the outcome of the probe goes to the receiver.
    pub(super) fn expect_probe(&mut self, probe: ProbeId) -> oneshot::Receiver<ProbeAnswer> {
        let (sender, receiver) = oneshot::channel();
        self.probes.insert(probe, sender);
        receiver
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            self.flush().await;
            let timeout = self.endpoint.poll_timeout();
            let timer = async {
                match timeout {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => command(&mut self, Instant::now()),
                    None => return,
                },
                ready = self.socket.readable() => if ready.is_ok() {
                    self.receive(&mut buffer);
                },
                () = timer => self.endpoint.handle_timeout(Instant::now()),
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_ROUND {
            match self.socket.try_recv_from(buffer) {
                Ok((length, remote)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    let received = Received { transport: Transport::Udp, local: self.local, remote, bytes };
                    self.endpoint.handle_datagram(Instant::now(), received);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "sip_receive_failed");
                    return;
                }
            }
        }
    }

    async fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if let Err(error) = self.socket.send_to(&transmit.bytes, transmit.remote).await {
                // Lost like any datagram: the transaction repeats it or times out.
                tracing::debug!(%error, "sip_send_failed");
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.route(event);
        }
    }

    fn route(&mut self, event: Event) {
        let leg = match &event {
            Event::IncomingCall(call) => {
                let events = self.watch(call.leg);
                if let Event::IncomingCall(call) = event {
                    let _ = self.inbox.send(Arrival::Call(call, events));
                }
                return;
            }
            Event::RegistrationChanged { registration, state } => {
                let _ = self.inbox.send(Arrival::Registration(*registration, state.clone()));
                return;
            }
            Event::ProbeFinished { probe, answer } => {
                if let Some(waiting) = self.probes.remove(probe) {
                    let _ = waiting.send(answer.clone());
                }
                return;
            }
            Event::Progress { leg, .. }
            | Event::Answered { leg, .. }
            | Event::Established { leg, .. }
            | Event::Ended { leg, .. }
            | Event::Reoffer { leg, .. }
            | Event::ReofferAnswered { leg, .. }
            | Event::TransferRequested { leg, .. }
            | Event::TransferProgress { leg, .. }
            | Event::TransferFinished { leg, .. }
            | Event::Info { leg, .. } => *leg,
        };
        let ended = matches!(event, Event::Ended { .. });
        if let Some(receiver) = self.legs.get(&leg) {
            let _ = receiver.send(event);
        }
        if ended {
            self.legs.remove(&leg);
        }
    }
}
