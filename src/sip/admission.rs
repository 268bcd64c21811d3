//! Who is read at all, before a byte of the message is looked at (security classes 9–11).
//!
//! A pure machine with bounded memory: it knows addresses and time. Whether an address belongs to a peer is its
//! caller's to say, see [`Standing`].

use super::bucket::Bucket;
use super::table::Table;
use crate::base::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Sources in no proven relation to us whose budget, strikes and proofs are remembered. Answers floods from spoofed
/// addresses, which would otherwise choose our memory: 2 MiB at most.
pub const SOURCES: usize = 16_384;

/// Networks (/24, /64) whose common budget is remembered. Answers floods that use each address of a network once.
pub const NETWORKS: usize = 4_096;

/// Addresses of peers whose budget is remembered.
pub const PEERS: usize = 4_096;

/// Datagrams a second, and at once, from one address that has not shown who it is: a few calls being set up.
const SOURCE_PER_S: f32 = 10.0;
const SOURCE_BURST: f32 = 30.0;

/// The same for one network.
const NETWORK_PER_S: f32 = 50.0;
const NETWORK_BURST: f32 = 150.0;

/// The same for all of them together: bounds the work that any number of spoofed addresses makes.
const UNPROVEN_PER_S: f32 = 2_000.0;
const UNPROVEN_BURST: f32 = 2_000.0;

/// Datagrams a second, and at once, from one address of a peer: what a carrier sends at a thousand calls a second. A
/// peer that loops, or that somebody speaks for with forged addresses, must not take what the others need.
const PEER_PER_S: f32 = 20_000.0;
const PEER_BURST: f32 = 20_000.0;

/// Strikes that ban an address (class 9), and how fast they are forgiven.
const STRIKES: f32 = 10.0;
const FORGIVEN_PER_S: f32 = 1.0 / 60.0;

/// How long a ban lasts. A datagram can claim any address, so a ban must end by itself before it does an attacker's
/// work.
pub const BAN: Duration = Duration::from_secs(600);

/// How long an address counts as that of a peer after it showed the right credentials.
pub const PROOF: Duration = Duration::from_secs(3_600);

/// What is known of a source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Nobody we know: gets nothing.
    Stranger,
    /// Its address is one that a peer with credentials may use, and it has not shown any lately.
    Unproven,
    /// It has shown the credentials of a peer within [`PROOF`].
    Proven,
    /// The other end of a dialog, transaction or registration of ours.
    InTouch,
    /// The address of a peer that is known by its address.
    Known,
}

/// Whether to read a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// Read it.
    Yes,
    /// Its source is banned.
    Banned,
    /// Its source, network or all that has not been proven is beyond its budget.
    Throttled,
}

/// What an address did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strike {
    /// Something that a datagram with a forged address does as well: proven addresses do not answer for it.
    Claimed,
    /// Wrong credentials over a nonce that only this address can have got from us.
    Shown,
}

#[derive(Debug)]
struct Source {
    budget: Bucket,
    /// Runs empty with strikes.
    patience: Bucket,
    banned_until: Option<Instant>,
    proven_until: Option<Instant>,
}

impl Source {
    fn new(now: Instant) -> Self {
        Self {
            budget: Bucket::full(now, SOURCE_BURST),
            patience: Bucket::full(now, STRIKES),
            banned_until: None,
            proven_until: None,
        }
    }

    /// Bans and proofs must outlive a flood of other addresses.
    fn is_worth_keeping(&self) -> bool {
        self.banned_until.is_some() || self.proven_until.is_some()
    }
}

/// Budgets, bans and proofs by address.
#[derive(Debug)]
pub struct Admission {
    sources: Table<IpAddr, Source>,
    networks: Table<IpAddr, Bucket>,
    peers: Table<IpAddr, Bucket>,
    unproven: Option<Bucket>,
}

impl Admission {
    /// Nobody banned, nobody proven.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        Self {
            sources: Table::new(SOURCES, random.next_u64()),
            networks: Table::new(NETWORKS, random.next_u64()),
            peers: Table::new(PEERS, random.next_u64()),
            unproven: None,
        }
    }

    /// Whether the address showed a peer's credentials lately.
    pub fn is_proven(&mut self, now: Instant, source: IpAddr) -> bool {
        let entry = self.sources.get_mut(&source.to_canonical());
        entry.is_some_and(|source| source.proven_until.is_some_and(|until| until > now))
    }

    /// Whether the address is banned. Only the unproven care.
    pub fn is_banned(&mut self, now: Instant, source: IpAddr) -> bool {
        let entry = self.sources.get_mut(&source.to_canonical());
        entry.is_some_and(|source| source.banned_until.is_some_and(|until| until > now))
    }

    /// Takes a datagram from the budget of its source. Strangers are the caller's to drop; none is admitted here.
    pub fn admit(&mut self, now: Instant, source: IpAddr, standing: Standing) -> Admit {
        let source = source.to_canonical();
        match standing {
            Standing::Stranger => Admit::Throttled,
            Standing::Unproven => self.admit_unproven(now, source),
            Standing::Proven | Standing::InTouch | Standing::Known => {
                let budget = self.peers.entry(now, source, || Bucket::full(now, PEER_BURST), |_| false);
                let is_within = budget.is_none_or(|budget| budget.take(now, PEER_PER_S, PEER_BURST));
                if is_within { Admit::Yes } else { Admit::Throttled }
            }
        }
    }

    fn admit_unproven(&mut self, now: Instant, source: IpAddr) -> Admit {
        let Some(entry) = self.sources.entry(now, source, || Source::new(now), Source::is_worth_keeping) else {
            return Admit::Throttled;
        };
        match entry.banned_until {
            Some(until) if until > now => return Admit::Banned,
            Some(_) => *entry = Source::new(now),
            None => {}
        }
        // The narrowest budget first: one loud address must not use up what its neighbours share.
        if !entry.budget.take(now, SOURCE_PER_S, SOURCE_BURST) {
            return Admit::Throttled;
        }
        let full = || Bucket::full(now, NETWORK_BURST);
        let network = self.networks.entry(now, network_of(source), full, |_| false);
        if !network.is_none_or(|budget| budget.take(now, NETWORK_PER_S, NETWORK_BURST)) {
            return Admit::Throttled;
        }
        let all = self.unproven.get_or_insert_with(|| Bucket::full(now, UNPROVEN_BURST));
        if all.take(now, UNPROVEN_PER_S, UNPROVEN_BURST) { Admit::Yes } else { Admit::Throttled }
    }

    /// Counts something that an honest peer does not do. True when it was once too often and the address is banned from
    /// here on.
    pub fn strike(&mut self, now: Instant, source: IpAddr, strike: Strike) -> bool {
        let source = source.to_canonical();
        let Some(entry) = self.sources.entry(now, source, || Source::new(now), Source::is_worth_keeping) else {
            return false;
        };
        let is_proven = entry.proven_until.is_some_and(|until| until > now);
        if entry.banned_until.is_some_and(|until| until > now) || (is_proven && strike == Strike::Claimed) {
            return false;
        }
        entry.patience.take(now, FORGIVEN_PER_S, STRIKES);
        if entry.patience.has_token(now, FORGIVEN_PER_S, STRIKES) {
            return false;
        }
        (entry.banned_until, entry.proven_until) = (Some(now + BAN), None);
        true
    }

    /// The address showed the right credentials.
    pub fn prove(&mut self, now: Instant, source: IpAddr) {
        let source = source.to_canonical();
        if let Some(entry) = self.sources.entry(now, source, || Source::new(now), Source::is_worth_keeping) {
            entry.patience = Bucket::full(now, STRIKES);
            (entry.banned_until, entry.proven_until) = (None, Some(now + PROOF));
        }
    }

    /// Addresses remembered for any reason.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len().saturating_add(self.networks.len()).saturating_add(self.peers.len())
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The network that shares a budget: /24, or /64, which is what one IPv6 customer has at least.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
#[path = "tests/admission.rs"]
mod tests;
