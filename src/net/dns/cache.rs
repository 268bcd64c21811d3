//! Answers of name servers, kept for as long as they say within bounds of ours. Time is a parameter.

use super::{Answer, Kind};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Answers kept. Names come from the operator's configuration alone, so more means that something loops.
const ENTRIES: usize = 1_024;
/// The shortest time an answer is kept: a TTL of 0 must not make a query of every call.
const TTL_FLOOR: Duration = Duration::from_secs(10);
/// The longest: a forged or mistaken TTL of years must not outlive the mistake.
const TTL_CEILING: Duration = Duration::from_secs(3_600);
/// The same for "there is no such name", or record.
const NEGATIVE_FLOOR: Duration = Duration::from_secs(5);
const NEGATIVE_CEILING: Duration = Duration::from_secs(300);
/// How long a failure of the name servers is taken for granted, so that they are not hammered while they are down.
const FAILURE_TTL: Duration = Duration::from_secs(5);

/// How long an answer wants to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lifetime {
    /// Records, with the least of their TTLs.
    Positive(Duration),
    /// There is none, with the TTL that the zone gives for that.
    Negative(Option<Duration>),
    /// The name servers did not answer, or not properly.
    Failure,
}

impl Lifetime {
    fn bounded(self) -> Duration {
        match self {
            Self::Positive(ttl) => ttl.clamp(TTL_FLOOR, TTL_CEILING),
            Self::Negative(ttl) => ttl.unwrap_or(NEGATIVE_FLOOR).clamp(NEGATIVE_FLOOR, NEGATIVE_CEILING),
            Self::Failure => FAILURE_TTL,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<(String, Kind), (Instant, Answer)>);

impl Cache {
    pub(super) fn get(&self, now: Instant, name: &str, kind: Kind) -> Option<Answer> {
        let (until, answer) = self.0.get(&(name.to_ascii_lowercase(), kind))?;
        (*until > now).then(|| answer.clone())
    }

    pub(super) fn insert(&mut self, now: Instant, name: &str, kind: Kind, answer: Answer, lifetime: Lifetime) {
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= ENTRIES {
            let soonest = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone());
            if let Some(key) = soonest {
                self.0.remove(&key);
            }
        }
        self.0.insert((name.to_ascii_lowercase(), kind), (now + lifetime.bounded(), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Missing;
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn kept_for(lifetime: Lifetime) -> Duration {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.insert(now, "pbx.example", Kind::A, Err(Missing::NoName), lifetime);
        (1..10_000).map(|i| i * S).find(|at| cache.get(now + *at, "PBX.example", Kind::A).is_none()).unwrap()
    }

    #[test]
    fn answers_are_kept_within_floor_and_ceiling() {
        assert_eq!(kept_for(Lifetime::Positive(Duration::ZERO)), 10 * S);
        assert_eq!(kept_for(Lifetime::Positive(60 * S)), 60 * S);
        assert_eq!(kept_for(Lifetime::Positive(1_000_000 * S)), 3_600 * S);
        assert_eq!(kept_for(Lifetime::Negative(None)), 5 * S);
        assert_eq!(kept_for(Lifetime::Negative(Some(1_000_000 * S))), 300 * S);
        assert_eq!(kept_for(Lifetime::Failure), 5 * S);
    }

    #[test]
    fn the_cache_is_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for i in 0..3_000u32 {
            cache.insert(now + i * S, &format!("h{i}"), Kind::A, Err(Missing::NoName), Lifetime::Positive(3_600 * S));
        }
        assert_eq!(cache.0.len(), ENTRIES);
        assert!(cache.get(now + 3_000 * S, "h2999", Kind::A).is_some());
    }
}
