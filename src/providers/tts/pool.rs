//! Which connection speaks an utterance, which one is opened before anybody asks, and which one is closed because nobody
//! asks any more. Pure: the shell opens and closes.

use super::protocol::SocketTerms;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// A call that rings is answered and greeted within this time; until then a place is kept for it.
const WARM_FOR: Duration = Duration::from_secs(30);
/// Connections per utterance that the key allows at once: spares of other voices among them.
const SPARES: usize = 2;

/// The terms of a vendor that has no connections to pool.
pub const NONE: SocketTerms =
    SocketTerms { at_once: 0, pace: None, idle_close: Duration::ZERO, retire_after: Duration::ZERO };

/// Names a connection of a pool; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Where an utterance goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Over a connection that is there, or being opened.
    On(ConnectionId),
    /// Over one that has to be opened.
    Open {
        /// Its name.
        id: ConnectionId,
        /// An idle one that has to be closed for it, which the pool has forgotten.
        instead_of: Option<ConnectionId>,
    },
}

/// All connections with one key, for all voices.
#[derive(Debug)]
pub struct Pool {
    terms: SocketTerms,
    most: usize,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Calls that ring: the kind of connection they will need, and until when it is kept ready.
    expected: VecDeque<(String, Instant)>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    key: String,
    made: Instant,
    used: Instant,
    open: bool,
    /// Utterances that are not over at the vendor.
    speaking: usize,
    /// When the last utterances began, as far as the vendor's pace counts them.
    begun: VecDeque<Instant>,
    retired: bool,
}

impl Pool {
    /// For a vendor's terms and so many utterances at once.
    #[must_use]
    pub fn new(terms: SocketTerms, concurrency: usize) -> Self {
        let most = concurrency.max(1).saturating_mul(SPARES);
        Self { terms, most, connections: BTreeMap::new(), expected: VecDeque::new(), next: 0 }
    }

    /// A place for an utterance on a connection of this kind. `fresh` wants one that no other utterance has used. `None`
    /// when there are too many connections and none of them is idle.
    pub fn place(&mut self, key: &str, fresh: bool, now: Instant) -> Option<Placement> {
        self.forget_expected(now);
        if let Some(met) = self.expected.iter().position(|(kind, _)| kind == key) {
            self.expected.remove(met);
        }
        let placement = match self.best(key, now).filter(|_| !fresh) {
            Some(id) => Placement::On(id),
            None => self.open(key, now)?,
        };
        let (Placement::On(id) | Placement::Open { id, .. }) = placement;
        let pace = self.terms.pace.map_or(0, |(most, _)| most);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.speaking += 1;
            connection.used = now;
            connection.begun.push_back(now);
            while connection.begun.len() > pace {
                connection.begun.pop_front();
            }
        }
        Some(placement)
    }

    /// A call is ringing that will need this kind of connection: the one to open for it, if there is no free place.
    pub fn warm(&mut self, key: &str, now: Instant) -> Option<Placement> {
        self.forget_expected(now);
        self.expected.push_back((key.to_owned(), now + WARM_FOR));
        let wanted = self.expected.iter().filter(|(kind, _)| kind == key).count();
        let usable = self.connections.values().filter(|c| c.key == key && self.takes(c, now));
        let free: usize = usable.map(|c| self.terms.at_once - c.speaking).sum();
        if free >= wanted { None } else { self.open(key, now) }
    }

    /// The connection is open.
    pub fn opened(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.open = true;
        }
    }

    /// An utterance on it is over at the vendor.
    pub fn ended(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.speaking = connection.speaking.saturating_sub(1);
            connection.used = now;
        }
    }

    /// It is not trusted any more: what speaks on it may go on, nothing else begins.
    pub fn retire(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.retired = true;
        }
    }

    /// It is gone.
    pub fn lost(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// When an idle connection is to be closed: a time in the past means at once. `None` while something speaks on it.
    #[must_use]
    pub fn closes_at(&self, id: ConnectionId) -> Option<Instant> {
        let connection = self.connections.get(&id)?;
        if connection.speaking > 0 {
            return None;
        }
        if connection.retired {
            return Some(connection.made);
        }
        let kept = self.expected.iter().rev().find(|(kind, _)| *kind == connection.key).map(|(_, until)| *until);
        let idle = connection.used + self.terms.idle_close;
        Some(kept.map_or(idle, |kept| kept.max(idle)).min(connection.made + self.terms.retire_after))
    }

    /// Whether nothing else begins on it.
    #[must_use]
    pub fn is_retired(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.retired)
    }

    /// Utterances on it that are not over at the vendor.
    #[must_use]
    pub fn speaking(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |connection| connection.speaking)
    }

    /// Connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Open before opening, then the one with the least to do, then the one used last, so that the others get idle.
    fn best(&self, key: &str, now: Instant) -> Option<ConnectionId> {
        let usable = self.connections.iter().filter(|(_, c)| c.key == key && self.takes(c, now));
        usable.min_by_key(|(_, c)| (!c.open, c.speaking, std::cmp::Reverse(c.used))).map(|(id, _)| *id)
    }

    fn takes(&self, connection: &Connection, now: Instant) -> bool {
        let paced = self.terms.pace.is_some_and(|(most, window)| {
            connection.begun.len() >= most && connection.begun.front().is_some_and(|first| now < *first + window)
        });
        !connection.retired
            && !paced
            && connection.speaking < self.terms.at_once
            && now < connection.made + self.terms.retire_after
    }

    fn open(&mut self, key: &str, now: Instant) -> Option<Placement> {
        let mut instead_of = None;
        if self.connections.len() >= self.most {
            let idle = self.connections.iter().filter(|(_, c)| c.speaking == 0);
            let id = idle.min_by_key(|(_, c)| c.used).map(|(id, _)| *id)?;
            self.connections.remove(&id);
            instead_of = Some(id);
        }
        self.next += 1;
        let id = ConnectionId(self.next);
        let connection = Connection {
            key: key.to_owned(),
            made: now,
            used: now,
            open: false,
            speaking: 0,
            begun: VecDeque::new(),
            retired: false,
        };
        self.connections.insert(id, connection);
        Some(Placement::Open { id, instead_of })
    }

    fn forget_expected(&mut self, now: Instant) {
        while self.expected.front().is_some_and(|(_, until)| *until <= now) {
            self.expected.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: SocketTerms = SocketTerms {
        at_once: 2,
        pace: None,
        idle_close: Duration::from_secs(60),
        retire_after: Duration::from_secs(3_600),
    };

    fn id(placement: Option<Placement>) -> ConnectionId {
        match placement {
            Some(Placement::On(id) | Placement::Open { id, .. }) => id,
            None => panic!("no place"),
        }
    }

    fn opens(placement: Option<Placement>) -> bool {
        matches!(placement, Some(Placement::Open { .. }))
    }

    #[test]
    fn utterances_share_a_connection_up_to_the_vendor_s_limit_and_cancelled_ones_count() {
        let now = Instant::now();
        let mut pool = Pool::new(TERMS, 10);
        let first = id(pool.place("v", false, now));
        assert_eq!(pool.place("v", false, now), Some(Placement::On(first)));
        assert!(opens(pool.place("v", false, now)), "a third has no place on it");
        pool.ended(first, now);
        assert_eq!(pool.place("v", false, now), Some(Placement::On(first)), "the vendor has ended one");
        assert!(opens(pool.place("other", false, now)), "another voice");
    }

    #[test]
    fn a_connection_that_failed_or_is_old_gets_no_further_utterance() {
        let now = Instant::now();
        let mut pool = Pool::new(TERMS, 10);
        let first = id(pool.place("v", false, now));
        pool.retire(first);
        assert_eq!(pool.closes_at(first), None, "what speaks on it goes on");
        let second = id(pool.place("v", false, now));
        assert_ne!(first, second);
        pool.ended(first, now);
        assert!(pool.closes_at(first).unwrap() <= now);
        assert!(opens(pool.place("v", false, now + TERMS.retire_after)));
        assert!(opens(pool.place("v", true, now)), "a fresh one is wanted");
    }

    #[test]
    fn each_call_that_rings_finds_a_free_place() {
        let now = Instant::now();
        let mut pool = Pool::new(TERMS, 10);
        assert!(opens(pool.warm("v", now)));
        assert_eq!(pool.warm("v", now), None, "two places on it");
        assert!(opens(pool.warm("v", now)));
        assert!(!opens(pool.place("v", false, now)));
        assert!(!opens(pool.place("v", false, now)));
        assert_eq!(pool.warm("v", now), None, "two are met, one is waiting: two places are left");
        let later = now + WARM_FOR;
        assert_eq!(pool.warm("v", later), None, "the calls that rang are gone");
    }

    #[test]
    fn an_idle_connection_is_kept_for_a_while_and_longer_for_a_call_that_rings() {
        let now = Instant::now();
        let mut pool = Pool::new(SocketTerms { idle_close: Duration::from_secs(10), ..TERMS }, 10);
        let first = id(pool.place("v", false, now));
        assert_eq!(pool.closes_at(first), None);
        pool.ended(first, now);
        assert_eq!(pool.closes_at(first), Some(now + Duration::from_secs(10)));
        assert_eq!(pool.warm("v", now), None);
        assert_eq!(pool.closes_at(first), Some(now + WARM_FOR));
        pool.lost(first);
        assert_eq!((pool.closes_at(first), pool.len()), (None, 0));
    }

    #[test]
    fn the_vendor_s_pace_is_kept_on_each_connection() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut pool = Pool::new(SocketTerms { at_once: 1, pace: Some((2, minute)), ..TERMS }, 10);
        let first = id(pool.place("v", false, now));
        pool.ended(first, now);
        let second = now + Duration::from_secs(1);
        assert_eq!(pool.place("v", false, second), Some(Placement::On(first)));
        pool.ended(first, second);
        assert!(opens(pool.place("v", false, second)));
        assert_eq!(pool.best("v", now + minute), Some(first));
    }

    #[test]
    fn an_idle_connection_makes_room_for_one_that_is_needed() {
        let now = Instant::now();
        let mut pool = Pool::new(TERMS, 1);
        let first = id(pool.place("a", false, now));
        id(pool.place("b", false, now));
        assert_eq!(pool.place("c", false, now), None, "both are speaking");
        pool.ended(first, now);
        assert!(
            matches!(pool.place("c", false, now), Some(Placement::Open { instead_of, .. }) if instead_of == Some(first))
        );
    }
}
