//! The task that owns the endpoint: it hands it datagrams and messages, timeouts and commands, and carries out what it
//! wants sent.

use super::connection::{self, Handle, Order, Report, StreamLimits};
use super::connections::{ConnectionId, Connections};
use super::keep_alive::{Due, KeepAlive, PING};
use super::limits::ALIAS_MESSAGES;
use super::socket::{self, Accepted};
use super::stun::{self, Binding, Step};
use super::tls::{self, Acceptor, Demand, Demands, PeerCertificates};
use super::{Arrival, Command, LegEvents, NetConfig, ProbeAnswer, TransportErrors};
use crate::base::Random;
use crate::sip::endpoint::Welcome;
use crate::sip::event::RegistrationState;
use crate::sip::{Endpoint, Event, LegId, Message, ProbeId, Received, RegistrationId, Target, Transmit, Transport};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

/// Largest datagram read; UDP cannot carry more.
const DATAGRAM_BYTES: usize = 65_535;
/// Datagrams, and messages of streams, handled before timers and commands get their turn again: a flood must not starve
/// them.
const MESSAGES_PER_ROUND: usize = 64;

/// The endpoint with its sockets, its streams and the receivers of its legs' events.
pub(super) struct Driver {
    pub(super) endpoint: Endpoint,
    pub(super) config: NetConfig,
    /// UDP sockets with the addresses they are known by.
    pub(super) sockets: Vec<(SocketAddr, UdpSocket)>,
    /// The socket that is read first in the next round.
    pub(super) turn: usize,
    pub(super) streams: Connections<Stream>,
    /// What TLS listeners show, by their addresses.
    pub(super) acceptors: HashMap<SocketAddr, Acceptor>,
    /// Inbound TLS handshakes that may still begin.
    pub(super) handshakes: Arc<Semaphore>,
    /// Whom the certificates of TLS targets must name.
    pub(super) demands: Demands,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) errors: TransportErrors,
    /// Failures the endpoint has not been told of.
    pub(super) failed: VecDeque<Target>,
    pub(super) keep_alives: HashMap<Target, Pulse>,
    /// When the next datagram of a keep-alive is due.
    pub(super) next_pulse: Option<Instant>,
    /// STUN requests under way, and who waits for their outcome.
    pub(super) bindings: Vec<(Binding, oneshot::Sender<Mapped>)>,
    pub(super) random: Random,
    pub(super) legs: HashMap<LegId, mpsc::UnboundedSender<Box<Event>>>,
    pub(super) probes: HashMap<ProbeId, oneshot::Sender<ProbeAnswer>>,
    pub(super) inbox: mpsc::UnboundedSender<Arrival>,
}

/// Our address as a server sees it, or why it does not say.
pub(super) type Mapped = Result<SocketAddr, String>;

/// A stream's task, and who is at its other end.
pub(super) struct Stream {
    handle: Handle,
    certificates: PeerCertificates,
    /// Whether it has the deadlines of a peer.
    is_peer: bool,
    /// Whether a request of ours went by it.
    carries_requests: bool,
}

impl Stream {
    fn new(handle: Handle, is_peer: bool) -> Self {
        Self { handle, certificates: PeerCertificates::new(), is_peer, carries_requests: false }
    }
}

/// What keeps the way to a peer open.
pub(super) enum Pulse {
    /// The streams do it themselves.
    Stream(Duration),
    Datagrams(KeepAlive),
}

/// What the driver listens to.
pub(super) struct Inputs {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) accepted: mpsc::Receiver<Accepted>,
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
        LegEvents(receiver)
    }

    /// From here on the outcome of the probe goes to the receiver.
    pub(super) fn expect_probe(&mut self, probe: ProbeId) -> oneshot::Receiver<ProbeAnswer> {
        let (sender, receiver) = oneshot::channel();
        self.probes.insert(probe, sender);
        receiver
    }

    /// Keeps the way to `target` open from here on, or no longer.
    pub(super) fn keep_alive(&mut self, now: Instant, target: Target, period: Option<Duration>) {
        let stream = self.streams.exact((target.transport, target.remote));
        if let Some(connection) = stream.and_then(|id| self.streams.get_mut(id)) {
            connection.handle.handle.order(Order::KeepAlive(period));
            if period.is_some() {
                connection.handle.handle.order(Order::Deadlines(self.config.peer_deadlines));
            }
        }
        match period {
            None => _ = self.keep_alives.remove(&target),
            Some(period) => {
                let pulse = match target.transport {
                    Transport::Udp => Pulse::Datagrams(KeepAlive::new(now, period, &mut self.random)),
                    Transport::Tcp | Transport::Tls => Pulse::Stream(period),
                };
                self.keep_alives.insert(target, pulse);
            }
        }
        self.settle_pulses();
    }

    fn settle_pulses(&mut self) {
        let due = self.keep_alives.values().filter_map(|pulse| match pulse {
            Pulse::Datagrams(pulse) => Some(pulse.poll_timeout()),
            Pulse::Stream(_) => None,
        });
        self.next_pulse = due.min();
    }

    /// Asks a STUN server, out of the UDP socket of its family, how it sees that socket.
    pub(super) fn ask_mapped_address(&mut self, now: Instant, server: SocketAddr) -> oneshot::Receiver<Mapped> {
        let (sender, receiver) = oneshot::channel();
        if !self.sockets.iter().any(|(local, _)| local.is_ipv4() == server.is_ipv4()) {
            let _ = sender.send(Err("there is no UDP socket of its address family".to_owned()));
        } else if self.bindings.len() >= stun::BINDINGS {
            let _ = sender.send(Err("too many such questions are under way".to_owned()));
        } else {
            let id = (u128::from(self.random.next_u64()) << 64) | u128::from(self.random.next_u64());
            self.bindings.push((Binding::new(now, server, id), sender));
        }
        receiver
    }

    fn send_bindings(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (index, (binding, waiting)) in self.bindings.iter_mut().enumerate() {
            let server = binding.server();
            match binding.handle_timeout(now) {
                _ if waiting.is_closed() => silent.push(index),
                Some(Step::Send) => {
                    let socket = self.sockets.iter().find(|(local, _)| local.is_ipv4() == server.is_ipv4());
                    if let Some((_, socket)) = socket {
                        // What is lost is sent again.
                        let _ = socket.try_send_to(&binding.request(), server);
                    }
                }
                Some(Step::GiveUp) => silent.push(index),
                None => {}
            }
        }
        for index in silent.into_iter().rev() {
            let (_, waiting) = self.bindings.swap_remove(index);
            let _ = waiting.send(Err("it does not answer".to_owned()));
        }
    }

    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            self.flush().await;
            let timeout = self.poll_timeout();
            let timer = async {
                match timeout {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = inputs.commands.recv() => match command {
                    Some(command) => command(&mut self, Instant::now()),
                    None => return,
                },
                index = readable(&self.sockets, self.turn) => self.receive(index, &mut buffer),
                Some(report) = inputs.reports.recv() => {
                    self.handle_report(report);
                    for _ in 1..MESSAGES_PER_ROUND {
                        match inputs.reports.try_recv() {
                            Ok(report) => self.handle_report(report),
                            Err(_) => break,
                        }
                    }
                }
                Some(accepted) = inputs.accepted.recv() => self.take_in(accepted),
                () = timer => self.handle_timeout(Instant::now()),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let bindings = self.bindings.iter().map(|(binding, _)| binding.poll_timeout());
        bindings.chain(self.next_pulse).chain(self.endpoint.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.send_bindings(now);
        if self.next_pulse.is_none_or(|at| at > now) {
            return;
        }
        let mut pings = Vec::new();
        for (target, pulse) in &mut self.keep_alives {
            if let Pulse::Datagrams(pulse) = pulse
                && pulse.handle_timeout(now, &mut self.random) == Some(Due::Ping)
            {
                pings.push(target.remote);
            }
        }
        for remote in pings {
            if let Some((_, socket)) = self.sockets.iter().find(|(local, _)| local.is_ipv4() == remote.is_ipv4()) {
                // The next one follows soon.
                let _ = socket.try_send_to(PING, remote);
            }
        }
        self.settle_pulses();
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) {
        self.turn = index.saturating_add(1);
        let Some((local, socket)) = self.sockets.get(index) else { return };
        for _ in 0..MESSAGES_PER_ROUND {
            match socket.try_recv_from(buffer) {
                Ok((length, remote)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if stun::is_stun(bytes) {
                        let mut answered = self.bindings.iter().enumerate();
                        let answered = answered.find_map(|(i, (binding, _))| Some((i, binding.handle(remote, bytes)?)));
                        if let Some((index, outcome)) = answered {
                            let _ = self.bindings.swap_remove(index).1.send(outcome);
                        }
                        continue;
                    }
                    let received = Received { transport: Transport::Udp, local: *local, remote, bytes };
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

    /// Takes an accepted stream in, if its source may be heard at all.
    fn take_in(&mut self, accepted: Accepted) {
        let Accepted { local, transport, remote, stream } = accepted;
        let source = remote.ip();
        let welcome = self.endpoint.welcome(Instant::now(), source, transport);
        if welcome == Welcome::None {
            tracing::debug!(%source, "stream of a stranger closed");
            return;
        }
        if let Err(refused) = self.streams.admit(source, welcome == Welcome::Peer) {
            tracing::debug!(%source, %refused, "sip_stream_refused");
            return;
        }
        let limits = self.limits(welcome == Welcome::Peer);
        let id = self.streams.next_id();
        let reports = self.reports.clone();
        socket::tune(&stream);
        let handle = match self.acceptors.get_mut(&local) {
            None => connection::spawn(id, reports, limits, || async move { Ok((stream, PeerCertificates::new())) }),
            Some(acceptor) => {
                let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                    tracing::debug!(%source, "sip_tls_handshakes_full");
                    return;
                };
                let (config, within) = (acceptor.current(Instant::now()), self.config.handshake_time);
                connection::spawn(id, reports, limits, || async move {
                    let _permit = permit;
                    let made = timeout(within, tls::accept(stream, config)).await;
                    made.unwrap_or_else(|_| Err("the TLS handshake took too long".to_owned()))
                })
            }
        };
        self.streams.insert(id, (transport, remote), local, false, Stream::new(handle, welcome == Welcome::Peer));
    }

    fn limits(&self, is_peer: bool) -> StreamLimits {
        let deadlines = if is_peer { self.config.peer_deadlines } else { self.config.stranger_deadlines };
        StreamLimits { deadlines, write_time: self.config.write_time }
    }

    /// The certificates shown on the open stream to a TLS target; empty without one.
    pub(super) fn certificates(&mut self, remote: SocketAddr) -> PeerCertificates {
        let stream = self.streams.exact((Transport::Tls, remote));
        stream.and_then(|id| self.streams.get_mut(id)).map(|s| s.handle.certificates.clone()).unwrap_or_default()
    }

    /// From here on these are targets that the operator asked for, and connections to those of TLS have to meet the
    /// demand.
    pub(super) fn claim(&mut self, targets: &[Target], demand: Option<Demand>) {
        for Target { transport, remote } in targets.iter().copied() {
            self.streams.claim((transport, remote));
            if let Some(demand) = demand.clone().filter(|_| transport == Transport::Tls) {
                self.demands.add(remote, demand);
            }
        }
    }

    fn handle_report(&mut self, report: Report) {
        match report {
            Report::Open(id, certificates) => {
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.handle.certificates = certificates;
                    let target = Target { transport: stream.transport, remote: stream.remote };
                    self.errors.clear(target);
                }
            }
            Report::Message(id, bytes) => {
                self.streams.note_sign_of_life(id);
                let Some(stream) = self.streams.get_mut(id) else { return };
                let (transport, local, remote) = (stream.transport, stream.local, stream.remote);
                if stream.searched < ALIAS_MESSAGES {
                    stream.searched = stream.searched.saturating_add(1);
                    if let Ok(message) = Message::parse(&bytes) {
                        self.streams.learn(id, &message);
                    }
                }
                let received = Received { transport, local, remote, bytes: &bytes };
                let now = Instant::now();
                self.endpoint.handle_datagram(now, received);
                self.befriend(now, id, &bytes);
            }
            Report::Closed(id, reason) => self.close(id, &reason),
        }
    }

    /// A stream that a call has come by is kept like that of a peer.
    fn befriend(&mut self, now: Instant, id: ConnectionId, message: &[u8]) {
        let may_begin = message.starts_with(b"INVITE ") || message.starts_with(b"ACK ");
        let Some(stream) = self.streams.get_mut(id).filter(|stream| may_begin && !stream.handle.is_peer) else {
            return;
        };
        let (transport, remote) = (stream.transport, stream.remote);
        if self.endpoint.welcome(now, remote.ip(), transport) == Welcome::Peer
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.handle.is_peer = true;
            stream.handle.handle.order(Order::Deadlines(self.config.peer_deadlines));
        }
    }

    /// Takes a stream out and notes everything that cannot be reached by it any more.
    fn close(&mut self, id: ConnectionId, reason: &str) {
        let Some(closed) = self.streams.remove(id) else { return };
        closed.handle.handle.abort();
        tracing::debug!(transport = ?closed.transport, remotes = ?closed.remotes, reason, "sip_stream_closed");
        for remote in closed.remotes {
            let target = Target { transport: closed.transport, remote };
            if closed.is_ours {
                self.fail(target, reason);
            } else if closed.handle.carries_requests {
                self.failed.push_back(target);
            }
        }
    }

    /// Closes a stream by which nothing comes. What was asked by it is left to its timers, since the same target may have
    /// been asked again meanwhile.
    fn leave(&mut self, target: Target) {
        if self.streams.remove_silent(Instant::now(), (target.transport, target.remote)).is_some() {
            tracing::debug!(transport = ?target.transport, remote = %target.remote, "sip_stream_left");
        }
    }

    fn fail(&mut self, target: Target, reason: &str) {
        self.errors.note(target, reason);
        self.failed.push_back(target);
    }

    /// Carries out all that the endpoint wants, and what follows from failures in doing so.
    async fn flush(&mut self) {
        loop {
            // Before what is sent by the streams that are opened instead.
            while let Some(silent) = self.endpoint.poll_silent_stream() {
                self.leave(silent);
            }
            while let Some(transmit) = self.endpoint.poll_transmit() {
                match transmit.transport {
                    Transport::Udp => self.send_datagram(transmit).await,
                    Transport::Tcp | Transport::Tls => self.send_by_stream(transmit),
                }
            }
            let Some(Target { transport, remote }) = self.failed.pop_front() else { break };
            self.endpoint.handle_transport_error(Instant::now(), transport, remote);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.route(event);
        }
    }

    async fn send_datagram(&mut self, transmit: Transmit) {
        let Transmit { local, remote, bytes, .. } = transmit;
        let exact = self.sockets.iter().find(|(address, _)| *address == local);
        let socket = exact.or_else(|| self.sockets.iter().find(|(a, _)| a.is_ipv4() == remote.is_ipv4()));
        let Some((_, socket)) = socket else {
            return self.fail(Target::udp(remote), "there is no UDP socket of that address family");
        };
        match socket.send_to(&bytes, remote).await {
            Ok(_) => self.errors.clear(Target::udp(remote)),
            Err(error) => {
                tracing::debug!(%error, "sip_send_failed");
                self.fail(Target::udp(remote), &connection::in_words(&error));
            }
        }
    }

    fn send_by_stream(&mut self, transmit: Transmit) {
        let Transmit { transport, local, remote, bytes } = transmit;
        let is_response = bytes.starts_with(b"SIP/2.0 ");
        let Some(id) = self.stream_to(transport, local, remote, is_response) else { return };
        if !is_response && !bytes.starts_with(b"ACK ") {
            self.streams.note_request(Instant::now(), id);
        }
        let taken = self.streams.get_mut(id).is_some_and(|stream| {
            stream.handle.carries_requests |= !is_response;
            stream.handle.handle.send(bytes)
        });
        if !taken {
            self.close(id, "the peer does not read what is sent to it");
        }
    }

    /// The stream to send by, opened if need be. A response alone opens none: whoever asked has gone.
    fn stream_to(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
        is_response: bool,
    ) -> Option<ConnectionId> {
        let way = (transport, remote);
        if let Some(id) = self.streams.exact(way).or_else(|| self.streams.alias(way)) {
            return Some(id);
        }
        let Some(listening) = self.streams.forward(way) else {
            return if is_response { None } else { self.open(transport, local, remote) };
        };
        let way = (transport, listening);
        let other = self.streams.exact(way).or_else(|| self.streams.alias(way));
        let id = other.or_else(|| self.open(transport, local, listening))?;
        // Its failure is one of the address asked for, too.
        self.streams.add_alias(id, remote);
        Some(id)
    }

    fn open(&mut self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Option<ConnectionId> {
        let target = Target { transport, remote };
        if self.streams.len() >= super::limits::CONNECTIONS {
            self.fail(target, "too many connections are open");
            return None;
        }
        let within = self.config.connect_time;
        let id = self.streams.next_id();
        let (reports, limits) = (self.reports.clone(), self.limits(true));
        let handle = if transport == Transport::Tls {
            let demands = self.demands.of(remote).to_vec();
            if demands.is_empty() {
                self.fail(
                    target,
                    "nobody asked for a host by TLS at this address, so nobody knows whom its certificate must name",
                );
                return None;
            }
            connection::spawn(id, reports, limits, move || async move {
                let open = async { tls::connect(socket::connect(local, remote, within).await?, demands).await };
                let opened = timeout(within, open).await;
                opened.unwrap_or_else(|_| Err("the TLS handshake took too long".to_owned()))
            })
        } else {
            connection::spawn(id, reports, limits, move || async move {
                Ok((socket::connect(local, remote, within).await?, PeerCertificates::new()))
            })
        };
        if let Some(Pulse::Stream(period)) = self.keep_alives.get(&target) {
            handle.order(Order::KeepAlive(Some(*period)));
        }
        self.streams.insert(id, (transport, remote), local, true, Stream::new(handle, true));
        Some(id)
    }

    /// A failure without an answer, with what the transports say about the registrar's addresses.
    fn with_transport_errors(&self, id: RegistrationId, state: RegistrationState) -> RegistrationState {
        let RegistrationState::Failed { code: None, mut reason, retry_at } = state else { return state };
        let targets = self.endpoint.registration_targets(id);
        let mut told: Vec<String> = targets.iter().filter_map(|target| self.errors.last(*target)).collect();
        told.dedup();
        if !told.is_empty() {
            reason = format!("{reason} ({})", told.join("; "));
        }
        RegistrationState::Failed { code: None, reason, retry_at }
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
                let state = self.with_transport_errors(*registration, state.clone());
                let _ = self.inbox.send(Arrival::Registration(*registration, state));
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
            let _ = receiver.send(Box::new(event));
        }
        if ended {
            self.legs.remove(&leg);
        }
    }
}

/// Waits until one of the sockets can be read, asking the one at `first` first, so that a flood on one does not hide the
/// others.
async fn readable(sockets: &[(SocketAddr, UdpSocket)], first: usize) -> usize {
    std::future::poll_fn(|context| {
        let count = sockets.len();
        for offset in 0..count {
            let index = first.wrapping_add(offset).checked_rem(count).unwrap_or_default();
            if let Some((_, socket)) = sockets.get(index)
                && socket.poll_recv_ready(context).is_ready()
            {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
    .await
}
