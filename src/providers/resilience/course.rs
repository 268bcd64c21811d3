//! The course of one request that is answered by a stream: through the members in order, hedged when the first is late.

use super::{Member, pick};
use crate::providers::ProviderError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// When a second provider is asked before the first has failed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HedgeTerms {
    /// Never before this.
    pub least: Duration,
    /// Latencies that have to be known before the running p95 says anything.
    pub known: usize,
    /// Most hedged requests of a hundred: hedging doubles the cost of each.
    pub percent: u64,
}

impl Default for HedgeTerms {
    fn default() -> Self {
        Self { least: Duration::from_millis(150), known: 20, percent: 10 }
    }
}

/// The share of requests that were hedged. Shared by all calls.
#[derive(Debug, Default)]
pub struct Hedging {
    terms: HedgeTerms,
    requests: AtomicU64,
    hedged: AtomicU64,
}

impl Hedging {
    /// With these terms.
    #[must_use]
    pub fn new(terms: HedgeTerms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// Requests so far and how many of them were hedged.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.hedged.load(Ordering::Relaxed))
    }

    fn began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one of the allowed hedges. The first is allowed when a hundred requests would not be too few for it.
    fn take(&self) -> bool {
        let (requests, hedged) = self.counts();
        let allowed = (hedged + 1) * 100 <= requests.max(100 / self.terms.percent.max(1)) * self.terms.percent;
        if allowed {
            self.hedged.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }
}

/// What a stage's requests have in common.
pub(super) trait Leg: Send + Sync + 'static {
    /// The provider.
    type Provider: ?Sized + Send + Sync;
    /// A piece of an answer.
    type Item: Send;

    /// Asks a provider.
    fn start(
        &self,
        provider: &Self::Provider,
    ) -> Result<mpsc::Receiver<Result<Self::Item, ProviderError>>, ProviderError>;
    /// Once so long has passed without an answer, another is asked too; `None` never.
    fn hedge_after(&self, provider: &Self::Provider, terms: HedgeTerms) -> Option<Duration>;
    /// A piece on its way to the call: notes what would be left to ask for.
    fn pass(&mut self, item: Self::Item) -> Self::Item;
    /// The provider has failed: the next one is asked for what is left.
    fn moves_on(&mut self) {}
    /// Whether the rest can be had from another provider after pieces have been handed on.
    fn may_go_on(&self) -> bool;
    /// Whether the last piece has been handed on.
    fn is_whole(&self) -> bool;
}

/// Runs a request to its end. The stream is never silent for long: members keep their own deadlines.
pub(super) async fn run<L: Leg>(
    mut leg: L,
    members: Arc<[Member<L::Provider>]>,
    hedging: Arc<Hedging>,
    out: mpsc::Sender<Result<L::Item, ProviderError>>,
) {
    hedging.began();
    let mut tried = Vec::new();
    let mut failure = None;
    let mut handed_on = false;
    while let Some(place) = pick(&members, &tried) {
        tried.push(place);
        let Some(member) = members.get(place) else { break };
        let mut runner = match leg.start(&member.provider) {
            Ok(items) => Runner { member: member.clone(), items, settled: false },
            Err(error) => {
                member.health.failed(&error);
                failure = Some(error);
                continue;
            }
        };
        let first = match first_item(&leg, &members, &mut tried, &mut runner, &hedging, &out).await {
            None => return,
            Some(first) => first,
        };
        let mut item = first;
        let error = loop {
            match item {
                Some(Ok(piece)) => {
                    runner.well();
                    let piece = leg.pass(piece);
                    handed_on = true;
                    if out.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => break Some(error),
                None => break None,
            }
            tokio::select! {
                next = runner.items.recv() => item = next,
                () = out.closed() => return,
            }
        };
        let error = match error {
            None if leg.is_whole() => return,
            None => runner.gone(),
            Some(error) => error,
        };
        runner.failed(&error);
        failure = Some(error);
        leg.moves_on();
        if handed_on && !leg.may_go_on() {
            break;
        }
    }
    let none = || ProviderError::Stopped { provider: "every provider".into() };
    let _ = out.send(Err(failure.unwrap_or_else(none))).await;
}

type First<T> = Option<Result<T, ProviderError>>;

/// Waits for the first item of `runner`, or of a hedge that is faster, which then is `runner`. `None` when nobody listens.
async fn first_item<L: Leg>(
    leg: &L,
    members: &[Member<L::Provider>],
    tried: &mut Vec<usize>,
    runner: &mut Runner<L>,
    hedging: &Hedging,
    out: &mpsc::Sender<Result<L::Item, ProviderError>>,
) -> Option<First<L::Item>> {
    let began = Instant::now();
    let hedge_after = leg.hedge_after(&runner.member.provider, hedging.terms);
    let hedge_at = hedge_after.map(|after| began + after.max(hedging.terms.least));
    let late = async {
        match hedge_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        first = runner.items.recv() => return Some(first),
        () = out.closed() => return None,
        () = late => {}
    }
    let second = pick(members, tried).filter(|_| hedging.take());
    let Some((place, member)) = second.and_then(|place| Some((place, members.get(place)?))) else {
        return tokio::select! {
            first = runner.items.recv() => Some(first),
            () = out.closed() => None,
        };
    };
    tried.push(place);
    let Ok(items) = leg.start(&member.provider).inspect_err(|error| member.health.failed(error)) else {
        return tokio::select! {
            first = runner.items.recv() => Some(first),
            () = out.closed() => None,
        };
    };
    let mut hedge = Runner { member: member.clone(), items, settled: false };
    let (first, is_hedge) = tokio::select! {
        biased;
        first = runner.items.recv() => (first, false),
        first = hedge.items.recv() => (first, true),
        () = out.closed() => return None,
    };
    if matches!(first, Some(Ok(_))) {
        if is_hedge {
            std::mem::swap(runner, &mut hedge);
        }
        return Some(first);
    }
    // One of the two has failed: the other is all there is.
    let error = match first {
        Some(Err(error)) => error,
        _ => runner.gone(),
    };
    if !is_hedge {
        std::mem::swap(runner, &mut hedge);
    }
    hedge.failed(&error);
    tokio::select! {
        first = runner.items.recv() => Some(first),
        () = out.closed() => None,
    }
}

/// A provider that is answering. One that is dropped without a verdict frees its circuit's probe.
struct Runner<L: Leg> {
    member: Member<L::Provider>,
    items: mpsc::Receiver<Result<L::Item, ProviderError>>,
    settled: bool,
}

impl<L: Leg> Runner<L> {
    fn well(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.member.health.succeeded();
        }
    }

    fn failed(&mut self, error: &ProviderError) {
        self.settled = true;
        self.member.health.failed(error);
    }

    fn gone(&self) -> ProviderError {
        ProviderError::Protocol { provider: "provider".into(), reason: "the answer ended without its end".into() }
    }
}

impl<L: Leg> Drop for Runner<L> {
    fn drop(&mut self) {
        if !self.settled {
            self.member.health.abandoned();
        }
    }
}

#[cfg(test)]
mod tests;
