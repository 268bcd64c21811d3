//! The pure SIP machine: datagrams, timeouts and commands in; datagrams, events and the next timeout out.
//!
//! The owner's loop, after every `handle_*` and every command:
//! 1. [`Endpoint::poll_transmit`] until `None`, sending each;
//! 2. [`Endpoint::poll_event`] until `None`;
//! 3. wait for a datagram or until [`Endpoint::poll_timeout`], then `handle_datagram` or `handle_timeout`.

mod advertised;
mod answering;
mod auth;
mod call_limits;
mod calling;
mod challenge;
mod changes;
mod commands;
mod counters;
mod in_dialog;
mod inbound;
mod leg;
mod lifecycle;
mod offered;
mod outcomes;
mod referring;
mod registrations;
mod reoffers;
mod size;
mod streams;
mod transactions;
mod trust;

use super::admission::Admission;
use super::config::{EndpointConfig, Target, Transport};
use super::event::{Event, LegId, RegistrationId};
use super::nonce::Nonces;
use super::registration::Registration;
use super::table::Table;
use crate::base::Random;
use auth::PinnedRealms;
use call_limits::CallRates;
pub use counters::Counters;
use leg::Leg;
use registrations::{Pace, Upkeeps};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
pub use streams::Welcome;
use transactions::{TransactionId, Transactions, Trust};

/// A datagram that came in. `Debug` shows its length only.
#[derive(Clone, Copy)]
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

/// A datagram to send. `Debug` shows its length only: numbers and names of people are in it.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes by {:?} from {} to {}", self.bytes.len(), self.transport, self.remote, self.local)
    }
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes by {:?} from {} to {}", self.bytes.len(), self.transport, self.local, self.remote)
    }
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
    /// The known peer has as many calls as its `CallLimits` allow, or got them too fast. Try another trunk, or later.
    #[error("the peer's limit of calls is reached; try another trunk or later")]
    PeerLimit,
    /// A header name or value holds a byte that no header can hold, such as a line break.
    #[error("a header name or value cannot be written")]
    InvalidHeader,
    /// The list of targets is empty: the name did not resolve.
    #[error("no target address to send to")]
    NoTarget,
    /// No local address has this transport.
    #[error("no local address for this transport")]
    NoLocalAddress,
}

/// Whom a timer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wake {
    Transaction(TransactionId),
    Leg(LegId),
    Registration(RegistrationId),
}

/// The SIP side of the server: transactions, dialogs and registrations over any number of sockets.
///
/// `Debug` shows how much there is of everything, and nothing of what people said or are called.
pub struct Endpoint {
    config: EndpointConfig,
    random: Random,
    draining: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Every running timer's owner at its earliest moment.
    wakes: BTreeSet<(Instant, Wake)>,
    transactions: Transactions,
    legs: HashMap<LegId, Leg>,
    /// Legs by our tag, which nobody can guess.
    by_tag: HashMap<Box<str>, LegId>,
    /// Legs whose end was not reported.
    live_legs: usize,
    registrations: HashMap<RegistrationId, Registration>,
    upkeeps: Upkeeps,
    pace: Pace,
    admission: Admission,
    nonces: Nonces,
    /// Hosts that took no TCP, and until when they are spared.
    without_tcp: Table<IpAddr, Instant>,
    /// Streams on which a request was left without a word.
    silent_streams: VecDeque<Target>,
    trust: Trust,
    pinned: PinnedRealms,
    call_rates: CallRates,
    counters: Counters,
    tag_secret: u64,
    last_id: u64,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("draining", &self.draining)
            .field("legs", &self.legs.len())
            .field("transactions", &self.transactions.len())
            .field("registrations", &self.registrations.len())
            .field("timers", &self.wakes.len())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without calls. `random` makes tags, branches and Call-IDs, so give it the system's source.
    #[must_use]
    pub fn new(config: EndpointConfig, mut random: Random) -> Self {
        Self {
            config,
            tag_secret: random.next_u64(),
            draining: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            wakes: BTreeSet::new(),
            transactions: Transactions::default(),
            legs: HashMap::new(),
            by_tag: HashMap::new(),
            live_legs: 0,
            registrations: HashMap::new(),
            upkeeps: Upkeeps::new(),
            pace: Pace::default(),
            admission: Admission::new(&mut random),
            nonces: Nonces::new(&mut random),
            without_tcp: Table::new(size::WITHOUT_TCP, random.next_u64()),
            silent_streams: VecDeque::new(),
            trust: Trust::default(),
            pinned: PinnedRealms::default(),
            call_rates: CallRates::default(),
            counters: Counters::default(),
            last_id: 0,
            random,
        }
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, wake)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            match wake {
                Wake::Transaction(id) => self.fire_transaction(now, id),
                Wake::Leg(id) => self.fire_leg(now, id),
                Wake::Registration(id) => self.fire_registration(now, id),
            }
            // Its owner has moved it, unless the owner is gone.
            if self.wakes.first() == Some(&(at, wake)) {
                self.wakes.remove(&(at, wake));
            }
        }
    }

    /// When `handle_timeout` wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Tells the endpoint that `remote` cannot be reached by `transport` (ICMP port unreachable, a stream that broke or
    /// was not made): requests on their way there fail at once instead of by time-out, and registrations that lived on
    /// that stream are renewed (RFC 5626 §4.4.1).
    pub fn handle_transport_error(&mut self, now: Instant, transport: Transport, remote: SocketAddr) {
        self.fail_transactions(now, transport, remote);
        self.lose_stream(now, transport, remote);
    }

    /// While draining, new calls and OPTIONS get 503, so that dispatchers route around us; calls in progress go on.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Legs that have not ended.
    #[must_use]
    pub fn leg_count(&self) -> usize {
        self.live_legs
    }

    /// Transactions that have not ended. Zero, with no legs and registrations, means that nothing is left over.
    #[must_use]
    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// Whether no leg, transaction or timer is left: what a drained endpoint becomes.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.legs.is_empty() && self.transactions.len() == 0 && self.wakes.is_empty() && self.by_tag.is_empty()
    }

    /// Whether something that was ended is not over for its peer: a BYE, CANCEL or un-REGISTER without an answer. Wait for
    /// it, within bounds, before the network side stops.
    #[must_use]
    pub fn has_loose_ends(&self) -> bool {
        !self.legs.is_empty() || self.registrations.values().any(Registration::was_bound)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    fn reschedule(&mut self, wake: Wake, previous: Option<Instant>, next: Option<Instant>) {
        if previous == next {
            return;
        }
        if let Some(at) = previous {
            self.wakes.remove(&(at, wake));
        }
        if let Some(at) = next {
            self.wakes.insert((at, wake));
        }
    }
}

#[cfg(test)]
mod tests;
