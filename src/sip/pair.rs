//! Two endpoints on a bad network, in virtual time. For tests and fuzzing only.
//!
//! [`Pair::step`] moves what both sides want to send into the network, jumps the clock to the next arrival or timer and
//! hands it over. Loss, delay, duplication and (by unequal delays) reordering come from a seed, so a run repeats itself.

use super::config::{DialogPolicy, EndpointConfig, KnownPeer, OutgoingInvite};
use super::event::{Event, LegId, Party};
use super::{Endpoint, Received, Transmit, Uri};
use crate::base::Random;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One of the two endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// 10.0.0.1:5060.
    Alice,
    /// 10.0.0.2:5060.
    Bob,
}

impl Side {
    /// The one opposite.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Alice => Self::Bob,
            Self::Bob => Self::Alice,
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Alice => SocketAddr::from(([10, 0, 0, 1], 5060)),
            Self::Bob => SocketAddr::from(([10, 0, 0, 2], 5060)),
        }
    }
}

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Share of datagrams lost, 0.0–1.0.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Least delay of a datagram.
    pub delay: Duration,
    /// What is added to it at most; unequal delays reorder.
    pub jitter: Duration,
}

impl Weather {
    /// 10 ms and nothing lost.
    pub const FAIR: Self =
        Self { loss: 0.0, duplication: 0.0, delay: Duration::from_millis(10), jitter: Duration::ZERO };
}

/// A filter that may drop a datagram: true drops it.
pub type Filter = Box<dyn FnMut(Side, &[u8]) -> bool>;

/// Changes what a side sends, to make another implementation of it.
pub type Rewrite = Box<dyn FnMut(Side, String) -> String>;

/// Two endpoints and the network between them.
pub struct Pair {
    /// Alice's endpoint.
    pub alice: Endpoint,
    /// Bob's endpoint.
    pub bob: Endpoint,
    /// The virtual time.
    pub now: Instant,
    /// When it started.
    pub start: Instant,
    /// The network's behaviour from here on.
    pub weather: Weather,
    /// Every datagram that was sent, lost or not: when, by whom, the bytes.
    pub wire: Vec<(Duration, Side, Vec<u8>)>,
    /// Events that nobody took yet.
    pub events: VecDeque<(Side, Event)>,
    outgoing: [DialogPolicy; 2],
    filter: Option<Filter>,
    rewrite: Option<Rewrite>,
    random: Random,
    in_flight: BTreeMap<(Instant, u64), (Side, Transmit)>,
    sent: u64,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("elapsed", &(self.now - self.start)).finish_non_exhaustive()
    }
}

/// The settings of one side: it knows the other as trunk "other", which may REFER.
#[must_use]
pub fn config(side: Side) -> EndpointConfig {
    config_with(side, DialogPolicy { accept_refer: true, ..DialogPolicy::default() })
}

/// As [`config`], with this policy for calls of the other side.
#[must_use]
pub fn config_with(side: Side, dialog: DialogPolicy) -> EndpointConfig {
    let mut config = EndpointConfig::udp(side.address(), side.address());
    let networks = vec![side.other().address().ip().into()];
    config.known_peers = vec![KnownPeer { dialog, ..KnownPeer::by_source("other", networks) }];
    config
}

impl Pair {
    /// Both endpoints, idle, in fair weather. The seed decides tags, branches and the network's whims.
    #[must_use]
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            alice: Endpoint::new(config(Side::Alice), Random::seeded(seed)),
            bob: Endpoint::new(config(Side::Bob), Random::seeded(!seed)),
            now,
            start: now,
            weather: Weather::FAIR,
            wire: Vec::new(),
            events: VecDeque::new(),
            outgoing: [DialogPolicy::default(); 2],
            filter: None,
            rewrite: None,
            random: Random::seeded(seed.rotate_left(17)),
            in_flight: BTreeMap::new(),
            sent: 0,
        }
    }

    /// As [`Self::new`], with a policy for all calls of each side, placed and taken.
    #[must_use]
    pub fn with_policies(now: Instant, seed: u64, alice: DialogPolicy, bob: DialogPolicy) -> Self {
        let mut pair = Self::new(now, seed);
        pair.alice = Endpoint::new(config_with(Side::Alice, alice), Random::seeded(seed));
        pair.bob = Endpoint::new(config_with(Side::Bob, bob), Random::seeded(!seed));
        pair.outgoing = [alice, bob];
        pair
    }

    /// One side's endpoint.
    pub fn at(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Alice => &mut self.alice,
            Side::Bob => &mut self.bob,
        }
    }

    /// Drops every datagram for which `filter` is true, besides the weather's own losses.
    pub fn drop_if(&mut self, filter: impl FnMut(Side, &[u8]) -> bool + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Drops nothing any more besides the weather's own losses.
    pub fn drop_none(&mut self) {
        self.filter = None;
    }

    /// Changes every datagram that is sent from here on.
    pub fn rewrite(&mut self, rewrite: impl FnMut(Side, String) -> String + 'static) {
        self.rewrite = Some(Box::new(rewrite));
    }

    /// The call of `side` to the other with the offer `sdp`.
    #[must_use]
    pub fn outgoing(&self, side: Side, sdp: &str) -> OutgoingInvite {
        let (ours, theirs) = (side.address(), side.other().address());
        let from = Party { display: None, uri: Uri::sip_address(ours).with_user("caller") };
        let target = Uri::sip_address(theirs).with_user("callee");
        let mut call = OutgoingInvite::new(target, theirs, from, sdp.as_bytes().to_vec());
        let [alice, bob] = self.outgoing;
        call.dialog = if side == Side::Alice { alice } else { bob };
        call
    }

    /// `side` calls the other with the offer `sdp`. `None` if the endpoint refuses the command.
    pub fn call(&mut self, side: Side, sdp: &str) -> Option<LegId> {
        let (now, call) = (self.now, self.outgoing(side, sdp));
        self.at(side).invite(now, call).ok()
    }

    /// Hands a datagram to one side as if it came from `source`, past the network.
    pub fn inject(&mut self, to: Side, source: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let received = Received { transport: super::Transport::Udp, local: to.address(), remote: source, bytes };
        self.at(to).handle_datagram(now, received);
        self.collect();
    }

    /// Moves datagrams into the network and events to [`Pair::events`].
    pub fn collect(&mut self) {
        for side in [Side::Alice, Side::Bob] {
            while let Some(mut transmit) = self.at(side).poll_transmit() {
                if let Some(rewrite) = &mut self.rewrite {
                    transmit.bytes = rewrite(side, String::from_utf8_lossy(&transmit.bytes).into_owned()).into_bytes();
                }
                self.wire.push((self.now - self.start, side, transmit.bytes.clone()));
                self.launch(side, transmit);
            }
            while let Some(event) = self.at(side).poll_event() {
                self.events.push_back((side, event));
            }
        }
    }

    fn launch(&mut self, side: Side, transmit: Transmit) {
        let is_dropped = self.filter.as_mut().is_some_and(|filter| filter(side, &transmit.bytes));
        if is_dropped || self.random.unit() < self.weather.loss {
            return;
        }
        let copies = if self.random.unit() < self.weather.duplication { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.weather.delay + self.weather.jitter.mul_f64(self.random.unit());
            self.sent += 1;
            self.in_flight.insert((self.now + delay, self.sent), (side, transmit.clone()));
        }
    }

    /// When something happens next by itself.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        [arrival, self.alice.poll_timeout(), self.bob.poll_timeout()].into_iter().flatten().min()
    }

    /// Jumps to the next thing that happens, if it happens before `limit`. False when nothing does.
    pub fn step(&mut self, limit: Instant) -> bool {
        self.collect();
        let Some(next) = self.next_wake().filter(|next| *next <= limit) else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        if let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now) {
            let (from, transmit) = entry.remove();
            let to = from.other();
            if transmit.remote == to.address() {
                let received = Received {
                    transport: transmit.transport,
                    local: to.address(),
                    remote: from.address(),
                    bytes: &transmit.bytes,
                };
                self.at(to).handle_datagram(now, received);
            }
        } else {
            self.alice.handle_timeout(now);
            self.bob.handle_timeout(now);
        }
        self.collect();
        true
    }

    /// Runs for this long, or until both sides are idle. False means a live-lock: more steps than any real exchange.
    #[must_use]
    pub fn run_for(&mut self, time: Duration) -> bool {
        let limit = self.now + time;
        for _ in 0..50_000 {
            if !self.step(limit) {
                self.now = if self.next_wake().is_some() { limit } else { self.now };
                return true;
            }
        }
        false
    }

    /// Takes the next event of one side for which `pick` gives something; earlier events of that side are dropped.
    pub fn take<T>(&mut self, side: Side, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.events.retain(|(at, event)| {
            if *at != side || found.is_some() {
                return true;
            }
            found = pick(event);
            false
        });
        found
    }
}
