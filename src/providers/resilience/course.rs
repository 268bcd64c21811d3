//! The course of one request that is answered by a stream: through the members in order, hedged when the first is slower
//! than usual, and by two at once when it is late: a slow vendor is not thrown out, a dead one costs no more than that.

use super::{Member, pick};
use crate::providers::{ProviderError, ProviderName};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
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
    /// The provider's name.
    fn name(&self, provider: &Self::Provider) -> ProviderName;
    /// Once so long has passed without a first piece the provider is late, and the next is asked besides; `None` never.
    fn patience(&self, provider: &Self::Provider) -> Option<Duration>;
    /// Once so long has passed without an answer, another is asked too if the share of hedges allows; `None` never.
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
    let mut field = Field { members: &members, tried: Vec::new(), failure: None };
    let mut handed_on = false;
    loop {
        let (mut runner, mut item) = match field.race(&leg, &hedging, &out).await {
            Race::Won(runner, first) => (runner, first),
            Race::Lost => break,
            Race::Unheard => return,
        };
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
                Some(Err(error)) => break error,
                None if leg.is_whole() => return,
                None => break runner.gone(),
            }
            tokio::select! {
                next = runner.items.recv() => item = next,
                () = out.closed() => return,
            }
        };
        field.lost(runner, error);
        leg.moves_on();
        if handed_on && !leg.may_go_on() {
            break;
        }
    }
    let none = || ProviderError::Stopped { provider: "every provider".into() };
    let _ = out.send(Err(field.failure.unwrap_or_else(none))).await;
}

/// A piece, an error, or the end of the stream.
type Piece<T> = Option<Result<T, ProviderError>>;

/// How a race for the first piece ended.
enum Race<L: Leg> {
    /// This one has begun, or ended without a piece where that is all there is to say.
    Won(Runner<L>, Piece<L::Item>),
    /// Everybody has failed.
    Lost,
    /// Nobody listens any more.
    Unheard,
}

/// Who may be asked, who was, and the last error.
struct Field<'m, P: ?Sized> {
    members: &'m [Member<P>],
    tried: Vec<usize>,
    failure: Option<ProviderError>,
}

impl<P: ?Sized + Send + Sync> Field<'_, P> {
    /// Asks providers until one begins: the next one at once when none runs, and besides those that run when all of them
    /// are late. One that is not late yet may be hedged, once.
    async fn race<L: Leg<Provider = P>>(
        &mut self,
        leg: &L,
        hedging: &Hedging,
        out: &mpsc::Sender<Result<L::Item, ProviderError>>,
    ) -> Race<L> {
        let mut running: Vec<Runner<L>> = Vec::new();
        let mut may_hedge = true;
        loop {
            let now = Instant::now();
            let is_any_left = self.tried.len() < self.members.len();
            let all_late = || running.iter().try_fold(now, |at, runner| Some(at.max(runner.late_at()?)));
            let next_at = is_any_left.then(all_late).flatten();
            match next_at {
                Some(at) if at <= now => {
                    running.extend(self.start(leg));
                    continue;
                }
                None if running.is_empty() => return Race::Lost,
                _ => {}
            }
            let hedge_at = match running.as_slice() {
                [only] if may_hedge && is_any_left => leg
                    .hedge_after(&only.member.provider, hedging.terms)
                    .map(|after| only.began + after.max(hedging.terms.least))
                    .filter(|at| next_at.is_none_or(|next| *at < next)),
                _ => None,
            };
            tokio::select! {
                biased;
                (place, first) = first_of(&mut running) => {
                    let runner = running.swap_remove(place);
                    match first {
                        Some(Err(error)) => self.lost(runner, error),
                        None if !leg.is_whole() => {
                            let error = runner.gone();
                            self.lost(runner, error);
                        }
                        first => {
                            // Those that lost have not failed for good: the winner may yet.
                            self.tried.retain(|place| running.iter().all(|lost| lost.place != *place));
                            return Race::Won(runner, first);
                        }
                    }
                }
                () = out.closed() => return Race::Unheard,
                () = until(hedge_at) => {
                    may_hedge = false;
                    if hedging.take() {
                        running.extend(self.start(leg));
                    }
                }
                () = until(next_at) => {}
            }
        }
    }

    /// Asks the next one that takes the request.
    fn start<L: Leg<Provider = P>>(&mut self, leg: &L) -> Option<Runner<L>> {
        while let Some(place) = pick(self.members, &self.tried) {
            self.tried.push(place);
            let member = self.members.get(place)?;
            match leg.start(&member.provider) {
                Ok(items) => {
                    let (name, patience) = (leg.name(&member.provider), leg.patience(&member.provider));
                    let began = Instant::now();
                    let member = member.clone();
                    return Some(Runner { place, member, name, items, began, patience, settled: false });
                }
                Err(error) => {
                    member.health.failed(&error);
                    self.failure = Some(error);
                }
            }
        }
        None
    }

    fn lost<L: Leg<Provider = P>>(&mut self, mut runner: Runner<L>, error: ProviderError) {
        runner.settled = true;
        runner.member.health.failed(&error);
        self.failure = Some(error);
    }
}

/// The next piece of any of them, and whose.
async fn first_of<L: Leg>(running: &mut [Runner<L>]) -> (usize, Piece<L::Item>) {
    poll_fn(|cx| {
        for (place, runner) in running.iter_mut().enumerate() {
            if let Poll::Ready(piece) = runner.items.poll_recv(cx) {
                return Poll::Ready((place, piece));
            }
        }
        Poll::Pending
    })
    .await
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A provider that was asked. One that is dropped without a verdict has failed if it was late; else its circuit's probe is
/// free again.
struct Runner<L: Leg> {
    place: usize,
    member: Member<L::Provider>,
    name: ProviderName,
    items: mpsc::Receiver<Result<L::Item, ProviderError>>,
    began: Instant,
    patience: Option<Duration>,
    settled: bool,
}

impl<L: Leg> Runner<L> {
    /// When its first piece is late.
    fn late_at(&self) -> Option<Instant> {
        self.patience.map(|patience| self.began + patience)
    }

    fn well(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.member.health.succeeded();
        }
    }

    fn gone(&self) -> ProviderError {
        let reason = "the answer ended without its end".to_owned();
        ProviderError::Protocol { provider: self.name.clone(), reason }
    }
}

impl<L: Leg> Drop for Runner<L> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        match self.patience.filter(|patience| self.began.elapsed() >= *patience) {
            Some(after) => {
                let error = ProviderError::Timeout { provider: self.name.clone(), stage: "first piece", after };
                self.member.health.failed(&error);
            }
            None => self.member.health.abandoned(),
        }
    }
}

#[cfg(test)]
mod tests;
