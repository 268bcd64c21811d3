//! What a provider has done and cost so far, and how fast it was: counters that all its streams share.

use super::error::ProviderError;
use super::format::Conversions;
use crate::base::chat::Usage;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Latencies remembered for the running percentiles.
const REMEMBERED: usize = 256;

/// The counters of one provider and stage. Nothing in here blocks for longer than a sort of [`REMEMBERED`] numbers.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    connections: AtomicU64,
    input_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    output_tokens: AtomicU64,
    characters: AtomicU64,
    audio_ms: AtomicU64,
    dropped: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    first: Mutex<Latencies>,
    /// What audio cost on its way.
    pub conversions: Conversions,
}

#[derive(Debug, Default)]
struct Latencies {
    ring: Vec<Duration>,
    next: usize,
}

/// A reading of a [`Meter`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// Requests, utterances or streams begun.
    pub requests: u64,
    /// Connections opened for them.
    pub connections: u64,
    /// Tokens of language models.
    pub usage: Usage,
    /// Characters synthesised.
    pub characters: u64,
    /// Audio sent to the vendor or got from it.
    pub audio: Duration,
    /// Pieces of caller audio that were dropped.
    pub dropped: u64,
    /// Failures by [`ProviderError::kind`].
    pub failures: BTreeMap<&'static str, u64>,
    /// From a request to its first word or sound: median, 95th and 99th percentile of the last 256; zero without any.
    pub first_p50: Duration,
    /// See above.
    pub first_p95: Duration,
    /// See above.
    pub first_p99: Duration,
}

impl Meter {
    /// A request, utterance or stream has begun.
    pub fn began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The first word or sound came after this long.
    pub fn first(&self, after: Duration) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.ring.len() < REMEMBERED {
            first.ring.push(after);
        } else {
            let next = first.next;
            if let Some(place) = first.ring.get_mut(next) {
                *place = after;
            }
        }
        first.next = (first.next + 1) % REMEMBERED;
    }

    /// A percentile (0–100) of the last latencies; `None` before there are `least` of them.
    #[must_use]
    pub fn first_percentile(&self, percent: usize, least: usize) -> Option<Duration> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.ring.len() < least.max(1) {
            return None;
        }
        let mut sorted = first.ring.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1)).copied()
    }

    /// Something failed.
    pub fn failed(&self, error: &ProviderError) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(error.kind()).or_default() += 1;
    }

    /// Tokens were used.
    pub fn used(&self, usage: Usage) {
        self.input_tokens.fetch_add(usage.input_tokens, Ordering::Relaxed);
        self.cached_tokens.fetch_add(usage.cached_tokens, Ordering::Relaxed);
        self.output_tokens.fetch_add(usage.output_tokens, Ordering::Relaxed);
    }

    /// Characters were synthesised.
    pub fn spoke(&self, characters: usize) {
        self.characters.fetch_add(characters as u64, Ordering::Relaxed);
    }

    /// Audio went to the vendor or came from it.
    pub fn moved(&self, audio: Duration) {
        self.audio_ms.fetch_add(audio.as_millis() as u64, Ordering::Relaxed);
    }

    /// Pieces of caller audio were dropped, because they came faster than they could be taken.
    pub fn dropped(&self, pieces: u64) {
        self.dropped.fetch_add(pieces, Ordering::Relaxed);
    }

    /// The counters as they are.
    #[must_use]
    pub fn read(&self) -> Reading {
        let percentile = |percent| self.first_percentile(percent, 1).unwrap_or_default();
        Reading {
            requests: self.requests.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            usage: Usage {
                input_tokens: self.input_tokens.load(Ordering::Relaxed),
                cached_tokens: self.cached_tokens.load(Ordering::Relaxed),
                output_tokens: self.output_tokens.load(Ordering::Relaxed),
            },
            characters: self.characters.load(Ordering::Relaxed),
            audio: Duration::from_millis(self.audio_ms.load(Ordering::Relaxed)),
            dropped: self.dropped.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            first_p50: percentile(50),
            first_p95: percentile(95),
            first_p99: percentile(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_follow_the_last_latencies() {
        let meter = Meter::default();
        assert_eq!(meter.first_percentile(95, 1), None);
        (1..=300).for_each(|ms| meter.first(Duration::from_millis(ms)));
        assert_eq!(meter.first_percentile(0, 1), Some(Duration::from_millis(45)), "the first 44 are forgotten");
        assert_eq!(meter.first_percentile(100, 1), Some(Duration::from_millis(300)));
        assert_eq!(meter.first_percentile(50, 257), None, "too few");
    }
}
