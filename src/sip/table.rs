//! A table that cannot grow: for what strangers make us remember.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

/// Entries that compete for the same places.
const WAYS: usize = 8;

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used_at: Instant,
}

type Set<K, V> = [Option<Entry<K, V>>; WAYS];

/// At most `capacity` entries; a further one takes the place of an old one. Which entries compete is decided by a keyed
/// hash, so that a stranger can neither aim at an entry nor make a look-up slow.
#[derive(Debug)]
pub struct Table<K, V> {
    sets: Vec<Set<K, V>>,
    set_count: usize,
    secret: u64,
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// An empty table, which takes memory with its first entry.
    #[must_use]
    pub fn new(capacity: usize, secret: u64) -> Self {
        Self { sets: Vec::new(), set_count: capacity.div_ceil(WAYS).max(1), secret }
    }

    fn index(&self, key: &K) -> usize {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        key.hash(&mut hasher);
        let count = u64::try_from(self.set_count).unwrap_or(1);
        usize::try_from(hasher.finish().checked_rem(count).unwrap_or(0)).unwrap_or(0)
    }

    /// The entry of a key, if there is one.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let index = self.index(key);
        let set = self.sets.get_mut(index)?;
        set.iter_mut().flatten().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
    }

    /// The entry of a key, made by `fresh` if there is none. For a new one the entry goes that was not used for longest,
    /// of those that `keep` does not hold if there are any.
    pub fn entry(
        &mut self,
        now: Instant,
        key: K,
        fresh: impl FnOnce() -> V,
        keep: impl Fn(&V) -> bool,
    ) -> Option<&mut V> {
        if self.sets.is_empty() {
            self.sets.resize_with(self.set_count, || std::array::from_fn(|_| None));
        }
        let index = self.index(&key);
        let set = self.sets.get_mut(index)?;
        let held = set.iter().position(|slot| slot.as_ref().is_some_and(|entry| entry.key == key));
        if let Some(at) = held {
            let entry = set.get_mut(at)?.as_mut()?;
            entry.used_at = now;
            return Some(&mut entry.value);
        }
        let slot = set.iter_mut().min_by_key(|slot| slot.as_ref().map(|entry| (keep(&entry.value), entry.used_at)))?;
        Some(&mut slot.insert(Entry { key, value: fresh(), used_at: now }).value)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.iter().flatten().flatten().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_table_never_holds_more_than_its_capacity_and_keeps_what_was_used_last() {
        let start = Instant::now();
        let mut table = Table::new(1_024, 7);
        assert!(table.is_empty());
        for n in 0..100_000u64 {
            *table.entry(start + Duration::from_micros(n), n, || 0, |_| false).unwrap() = n;
        }
        assert!(table.len() <= 1_024);
        assert_eq!(table.get_mut(&99_999), Some(&mut 99_999));
        assert_eq!(table.get_mut(&1), None);
    }

    #[test]
    fn what_is_held_outlives_a_flood_of_others() {
        let start = Instant::now();
        let mut table = Table::new(256, 7);
        table.entry(start, u64::MAX, || true, |held| *held);
        for n in 0..100_000u64 {
            table.entry(start + Duration::from_micros(n), n, || false, |held| *held);
        }
        assert_eq!(table.get_mut(&u64::MAX), Some(&mut true));
    }
}
