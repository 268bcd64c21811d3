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
/// The same for records that a host may do without: routers that drop such questions must not slow down every call.
const OPTIONAL_FAILURE_TTL: Duration = Duration::from_secs(120);
/// How long after its end an answer still serves while the name servers fail (RFC 8767): calls outlive their outage.
const STALE: Duration = Duration::from_secs(24 * 3_600);

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
    fn bounded(self, kind: Kind) -> Duration {
        match self {
            Self::Failure if matches!(kind, Kind::Naptr | Kind::Srv) => OPTIONAL_FAILURE_TTL,
            Self::Positive(ttl) => ttl.clamp(TTL_FLOOR, TTL_CEILING),
            Self::Negative(ttl) => ttl.unwrap_or(NEGATIVE_FLOOR).clamp(NEGATIVE_FLOOR, NEGATIVE_CEILING),
            Self::Failure => FAILURE_TTL,
        }
    }
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    until: Instant,
    /// Until when it serves in place of a failure.
    stale_until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<(String, Kind), Entry>);

impl Cache {
    pub(super) fn get(&self, now: Instant, name: &str, kind: Kind) -> Option<Answer> {
        let entry = self.0.get(&(name.to_ascii_lowercase(), kind))?;
        (entry.until > now).then(|| entry.answer.clone())
    }

    /// Keeps an answer, and gives the one to act on: in place of a failure the last good one, if it is not too old.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        name: &str,
        kind: Kind,
        answer: Answer,
        lifetime: Lifetime,
    ) -> Answer {
        let key = (name.to_ascii_lowercase(), kind);
        let until = now + lifetime.bounded(kind);
        if lifetime == Lifetime::Failure
            && let Some(entry) = self.0.get_mut(&key).filter(|entry| entry.answer.is_ok() && entry.stale_until > now)
        {
            entry.until = until;
            return entry.answer.clone();
        }
        if self.0.len() >= ENTRIES && !self.0.contains_key(&key) {
            let soonest = self.0.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
            if let Some(key) = soonest {
                self.0.remove(&key);
            }
        }
        self.0.insert(key, Entry { answer: answer.clone(), until, stale_until: until + STALE });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::Missing;
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn kept_for(lifetime: Lifetime) -> Duration {
        let (mut cache, now) = (Cache::default(), Instant::now());
        assert!(cache.insert(now, "pbx.example", Kind::A, Err(Missing::NoName), lifetime).is_err());
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
    fn while_the_name_servers_fail_the_last_good_answer_serves_for_a_day() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let good: Answer = Ok(std::sync::Arc::new(super::super::Records::Addresses(Vec::new())));
        let failed: Answer = Err(Missing::Failed("down".to_owned()));
        let mut ask = |at: u32, answer: &Answer, lifetime| {
            cache.insert(now + at * S, "pbx.example", Kind::A, answer.clone(), lifetime)
        };
        assert_eq!(ask(0, &good, Lifetime::Positive(60 * S)), good);
        for at in [61, 70, 3_600, 86_400] {
            assert_eq!(ask(at, &failed, Lifetime::Failure), good);
        }
        assert_eq!(ask(86_461, &failed, Lifetime::Failure), failed);
        // That a name is gone is an answer, no failure.
        assert_eq!(ask(86_500, &good, Lifetime::Positive(60 * S)), good);
        assert_eq!(ask(86_600, &Err(Missing::NoName), Lifetime::Negative(None)), Err(Missing::NoName));
    }

    #[test]
    fn a_question_that_a_router_drops_is_not_asked_before_every_call() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        assert!(cache.insert(now, "pbx.example", Kind::Naptr, Err(Missing::NoRecord), Lifetime::Failure).is_err());
        assert!(cache.get(now + 119 * S, "pbx.example", Kind::Naptr).is_some());
        assert!(cache.get(now + 120 * S, "pbx.example", Kind::Naptr).is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for i in 0..3_000u32 {
            let hour = Lifetime::Positive(3_600 * S);
            assert!(cache.insert(now + i * S, &format!("h{i}"), Kind::A, Err(Missing::NoName), hour).is_err());
        }
        assert_eq!(cache.0.len(), ENTRIES);
        assert!(cache.get(now + 3_000 * S, "h2999", Kind::A).is_some());
    }
}
