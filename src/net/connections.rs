//! The table of open streams: which one a message to an address goes by. Pure.
//!
//! RFC 3261 §18 and RFC 5923 in short: responses go back on the stream their request came by; requests use an open stream
//! to their target, else one that the target's host opened to us and in which it named that target as its own address
//! (Via or Contact), else a stream is opened. Only an address of the very host at the stream's other end is believed, and
//! never one that the operator asked for: several hosts may share an address behind a NAT, and the one that the operator
//! means is found by connecting to it.

use super::limits::{ALIASES, CONNECTIONS, CONNECTIONS_PER_PEER, CONNECTIONS_PER_SOURCE, REMEMBERED, SILENCE};
use crate::sip::{Message, Transport};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A stream's name for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ConnectionId(u64);

/// Transport and address of a peer.
type Way = (Transport, SocketAddr);

/// One open stream, or one being opened.
#[derive(Debug)]
pub(super) struct Connection<H> {
    pub(super) transport: Transport,
    /// Our socket as the endpoint knows it: the listener's, not the ephemeral one of an outgoing stream.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Whether we opened it.
    pub(super) is_ours: bool,
    /// Since when a request of ours waits for anything to come by it.
    silent_since: Option<Instant>,
    /// Messages that were searched for aliases.
    pub(super) searched: u8,
    /// Further addresses of the peer, in the order learnt.
    aliases: Vec<SocketAddr>,
    /// What moves its bytes.
    pub(super) handle: H,
}

/// A stream that was removed.
#[derive(Debug)]
pub(super) struct Closed<H> {
    pub(super) transport: Transport,
    pub(super) is_ours: bool,
    /// Its address and its aliases that no other stream has taken over: what cannot be reached any more.
    pub(super) remotes: Vec<SocketAddr>,
    pub(super) handle: H,
}

/// Why a stream is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{CONNECTIONS} streams are open")]
    Full,
    #[error("too many streams from this address")]
    TooMany,
}

#[derive(Debug)]
pub(super) struct Connections<H> {
    by_id: HashMap<ConnectionId, Connection<H>>,
    by_remote: HashMap<Way, ConnectionId>,
    by_alias: HashMap<Way, ConnectionId>,
    /// Inbound streams by source address.
    inbound: HashMap<IpAddr, usize>,
    /// Where the peers of closed inbound streams said they listen, and the order these entries came in.
    forwards: HashMap<Way, SocketAddr>,
    forwarded: VecDeque<Way>,
    /// Targets that the operator asked for, and the order they came in: nobody may name them as its own.
    claimed: HashSet<Way>,
    claims: VecDeque<Way>,
    last: u64,
}

impl<H> Default for Connections<H> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            by_remote: HashMap::new(),
            by_alias: HashMap::new(),
            inbound: HashMap::new(),
            forwards: HashMap::new(),
            forwarded: VecDeque::new(),
            claimed: HashSet::new(),
            claims: VecDeque::new(),
            last: 0,
        }
    }
}

impl<H> Connections<H> {
    /// Whether one more stream from `source` is taken in.
    pub(super) fn admit(&self, source: IpAddr, is_acquainted: bool) -> Result<(), Refused> {
        let cap = if is_acquainted { CONNECTIONS_PER_PEER } else { CONNECTIONS_PER_SOURCE };
        let open = self.inbound.get(&source.to_canonical()).copied().unwrap_or_default();
        if self.by_id.len() >= CONNECTIONS {
            return Err(Refused::Full);
        }
        if open >= cap { Err(Refused::TooMany) } else { Ok(()) }
    }

    pub(super) fn next_id(&mut self) -> ConnectionId {
        self.last = self.last.saturating_add(1);
        ConnectionId(self.last)
    }

    /// Adds a stream under an id of [`Self::next_id`].
    pub(super) fn insert(
        &mut self,
        id: ConnectionId,
        (transport, remote): Way,
        local: SocketAddr,
        is_ours: bool,
        handle: H,
    ) {
        if !is_ours {
            let count = self.inbound.entry(remote.ip().to_canonical()).or_default();
            *count = count.saturating_add(1);
        }
        self.by_remote.insert((transport, remote), id);
        let connection = Connection {
            transport,
            local,
            remote,
            is_ours,
            silent_since: None,
            searched: 0,
            aliases: Vec::new(),
            handle,
        };
        self.by_id.insert(id, connection);
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<H>> {
        self.by_id.get_mut(&id)
    }

    /// A request of ours goes by the stream.
    pub(super) fn note_request(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.silent_since.get_or_insert(now);
        }
    }

    /// Something came by the stream.
    pub(super) fn note_sign_of_life(&mut self, id: ConnectionId) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.silent_since = None;
        }
    }

    /// Takes the stream that we opened to this very address out, if nothing has come by it for [`SILENCE`] although we
    /// asked.
    pub(super) fn remove_silent(&mut self, now: Instant, way: Way) -> Option<Closed<H>> {
        let id = self.exact(way)?;
        let connection = self.by_id.get(&id).filter(|connection| connection.is_ours)?;
        let silent_since = connection.silent_since?;
        if now.saturating_duration_since(silent_since) < SILENCE { None } else { self.remove(id) }
    }

    /// The stream to this very address.
    pub(super) fn exact(&self, way: Way) -> Option<ConnectionId> {
        self.by_remote.get(&way).copied()
    }

    /// The stream whose peer said that this is its address, too.
    pub(super) fn alias(&self, way: Way) -> Option<ConnectionId> {
        self.by_alias.get(&way).copied().filter(|_| !self.claimed.contains(&way))
    }

    /// From here on the way is one that the operator asked for.
    pub(super) fn claim(&mut self, way: Way) {
        if self.claimed.insert(way) {
            self.claims.push_back(way);
        }
        if self.claims.len() > REMEMBERED
            && let Some(oldest) = self.claims.pop_front()
        {
            self.claimed.remove(&oldest);
        }
    }

    /// Where the peer of a closed stream said it listens.
    pub(super) fn forward(&self, way: Way) -> Option<SocketAddr> {
        self.forwards.get(&way).copied()
    }

    /// Lets the stream stand for a further address.
    pub(super) fn add_alias(&mut self, id: ConnectionId, address: SocketAddr) {
        let Some(connection) = self.by_id.get_mut(&id) else { return };
        if connection.remote == address || connection.aliases.contains(&address) || connection.aliases.len() >= ALIASES
        {
            return;
        }
        connection.aliases.push(address);
        self.by_alias.insert((connection.transport, address), id);
    }

    /// Learns the peer's own addresses from a message that came by the stream: those of its Via and Contact that name the
    /// host at the other end.
    pub(super) fn learn(&mut self, id: ConnectionId, message: &Message<'_>) {
        let Some(connection) = self.by_id.get(&id) else { return };
        let (peer, transport) = (connection.remote.ip().to_canonical(), connection.transport);
        let via = message.is_request().then(|| message.via().ok()).flatten();
        let sent_by = via.and_then(|via| Some((via.host().address()?, via.port())));
        let contact = message.contact().ok().flatten().and_then(|contact| {
            let uri = contact.uri().ok()?;
            Some((uri.host()?.address()?, uri.port()))
        });
        for (address, port) in [sent_by, contact].into_iter().flatten() {
            if address.to_canonical() != peer {
                continue;
            }
            // Without a port either default may be meant, as an aim at this Contact reads it.
            match port {
                Some(port) => self.add_alias(id, SocketAddr::new(address, port)),
                None if transport == Transport::Tls => {
                    self.add_alias(id, SocketAddr::new(address, 5061));
                    self.add_alias(id, SocketAddr::new(address, 5060));
                }
                None => self.add_alias(id, SocketAddr::new(address, 5060)),
            }
        }
    }

    /// Takes a stream out; `None` when it is out already.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Closed<H>> {
        let Connection { transport, remote, is_ours, aliases, handle, .. } = self.by_id.remove(&id)?;
        if !is_ours {
            let source = remote.ip().to_canonical();
            if let Some(count) = self.inbound.get_mut(&source) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.inbound.remove(&source);
                }
            }
            if let Some(listening) = aliases.first() {
                self.remember((transport, remote), *listening);
            }
        }
        let mut remotes = Vec::new();
        if self.by_remote.get(&(transport, remote)) == Some(&id) {
            self.by_remote.remove(&(transport, remote));
            remotes.push(remote);
        }
        for alias in aliases {
            if self.by_alias.get(&(transport, alias)) == Some(&id) {
                self.by_alias.remove(&(transport, alias));
                remotes.push(alias);
            }
        }
        Some(Closed { transport, is_ours, remotes, handle })
    }

    fn remember(&mut self, closed: Way, listening: SocketAddr) {
        if self.forwards.insert(closed, listening).is_none() {
            self.forwarded.push_back(closed);
        }
        if self.forwarded.len() > REMEMBERED
            && let Some(oldest) = self.forwarded.pop_front()
        {
            self.forwards.remove(&oldest);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LISTENER: ([u8; 4], u16) = ([127, 0, 0, 1], 5060);

    fn remote(port: u16) -> SocketAddr {
        ([192, 0, 2, 7], port).into()
    }

    fn opened(connections: &mut Connections<()>, port: u16, is_ours: bool) -> ConnectionId {
        let id = connections.next_id();
        connections.insert(id, (Transport::Tcp, remote(port)), LISTENER.into(), is_ours, ());
        id
    }

    fn request(via: &str, contact: &str) -> Vec<u8> {
        format!(
            "OPTIONS sip:us SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:us>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn learn(connections: &mut Connections<()>, id: ConnectionId, via: &str, contact: &str) {
        let bytes = request(via, contact);
        connections.learn(id, &Message::parse(&bytes).unwrap());
    }

    #[test]
    fn a_stream_stands_for_the_address_that_its_peer_says_it_listens_on() {
        let mut connections = Connections::default();
        let id = opened(&mut connections, 40_000, false);
        learn(&mut connections, id, "192.0.2.7", "sip:pbx@192.0.2.7:5070;transport=tcp");
        for port in [5060, 5070] {
            assert_eq!(connections.alias((Transport::Tcp, remote(port))), Some(id));
        }
        assert_eq!(connections.alias((Transport::Tls, remote(5060))), None);
        assert_eq!(connections.exact((Transport::Tcp, remote(40_000))), Some(id));
    }

    #[test]
    fn nobody_takes_over_the_address_of_another_host() {
        let mut connections = Connections::default();
        let id = opened(&mut connections, 40_000, false);
        learn(&mut connections, id, "198.51.100.1:5060", "sip:pbx@198.51.100.1");
        learn(&mut connections, id, "pbx.example", "sip:pbx@pbx.example");
        assert_eq!(connections.alias((Transport::Tcp, ([198, 51, 100, 1], 5060).into())), None);
        assert!(connections.remove(id).unwrap().remotes == [remote(40_000)]);
    }

    #[test]
    fn nobody_names_an_address_as_its_own_that_the_operator_asked_for() {
        let mut connections = Connections::default();
        let id = opened(&mut connections, 40_000, false);
        learn(&mut connections, id, "192.0.2.7:5060", "sip:pbx@192.0.2.7:5060");
        connections.claim((Transport::Tcp, remote(5060)));
        assert_eq!(connections.alias((Transport::Tcp, remote(5060))), None);
        for port in 1..=3_000 {
            connections.claim((Transport::Tcp, remote(port)));
        }
        assert_eq!((connections.claimed.len(), connections.claims.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_closed_stream_names_all_addresses_it_stood_for_and_leaves_word_where_its_peer_listens() {
        let mut connections = Connections::default();
        let id = opened(&mut connections, 40_000, false);
        learn(&mut connections, id, "192.0.2.7:5080", "sip:pbx@192.0.2.7:5080");
        assert_eq!(connections.remove(id).unwrap().remotes, [remote(40_000), remote(5080)]);
        assert_eq!(connections.forward((Transport::Tcp, remote(40_000))), Some(remote(5080)));
        assert!(connections.remove(id).is_none() && connections.len() == 0);
    }

    #[test]
    fn an_address_that_another_stream_has_taken_over_is_still_reached() {
        let mut connections = Connections::default();
        let (first, second) = (opened(&mut connections, 40_000, false), opened(&mut connections, 40_001, false));
        for id in [first, second] {
            learn(&mut connections, id, "192.0.2.7:5060", "sip:pbx@192.0.2.7:5060");
        }
        assert_eq!(connections.remove(first).unwrap().remotes, [remote(40_000)]);
        assert_eq!(connections.alias((Transport::Tcp, remote(5060))), Some(second));
    }

    #[test]
    fn a_stream_has_few_aliases_and_few_closed_streams_are_remembered() {
        let mut connections = Connections::default();
        let id = opened(&mut connections, 40_000, false);
        for port in 1..100 {
            connections.add_alias(id, remote(port));
        }
        assert_eq!(connections.remove(id).unwrap().remotes.len(), 1 + ALIASES);
        for port in 1..=3_000 {
            let id = opened(&mut connections, port, false);
            connections.add_alias(id, remote(50_000));
            connections.remove(id);
        }
        assert_eq!((connections.forwards.len(), connections.forwarded.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn strangers_get_32_streams_each_and_acquaintances_more() {
        let mut connections = Connections::default();
        let ids: Vec<_> = (0..32).map(|i| opened(&mut connections, 40_000 + i, false)).collect();
        let source = remote(1).ip();
        assert_eq!(connections.admit(source, false), Err(Refused::TooMany));
        assert_eq!(connections.admit(source, true), Ok(()));
        assert_eq!(connections.admit([192, 0, 2, 8].into(), false), Ok(()));
        connections.remove(ids[0]);
        assert_eq!(connections.admit(source, false), Ok(()));
        // Streams of ours do not count against the peer.
        opened(&mut connections, 5060, true);
        assert_eq!(connections.admit(source, false), Ok(()));
    }

    #[test]
    fn all_streams_together_are_bounded() {
        let mut connections = Connections::default();
        for i in 0..CONNECTIONS {
            let id = connections.next_id();
            let source = ([10, 0, (i >> 8) as u8, i as u8], 1).into();
            connections.insert(id, (Transport::Tcp, source), LISTENER.into(), false, ());
        }
        assert_eq!(connections.admit([192, 0, 2, 8].into(), true), Err(Refused::Full));
    }

    #[test]
    fn a_stream_of_ours_is_silent_once_nothing_has_come_by_it_for_a_while_after_a_request() {
        let way = (Transport::Tcp, remote(5060));
        let (start, mut connections) = (Instant::now(), Connections::default());
        let id = opened(&mut connections, 5060, true);
        assert!(connections.remove_silent(start + 2 * SILENCE, way).is_none(), "nobody asked");
        connections.note_request(start, id);
        connections.note_request(start + SILENCE / 2, id);
        assert!(connections.remove_silent(start + SILENCE - Duration::from_millis(1), way).is_none());
        connections.note_sign_of_life(id);
        assert!(connections.remove_silent(start + SILENCE, way).is_none(), "it has spoken");
        connections.note_request(start + SILENCE, id);
        assert!(connections.remove_silent(start + 2 * SILENCE, way).is_some());
        assert_eq!((connections.exact(way), connections.len()), (None, 0));
        let theirs = opened(&mut connections, 5060, false);
        connections.note_request(start, theirs);
        assert!(connections.remove_silent(start + 2 * SILENCE, way).is_none(), "the peer's own is the peer's to close");
    }
}
