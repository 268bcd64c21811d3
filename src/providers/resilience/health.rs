//! Whether a provider is well: the circuit that all calls share.

use crate::base::Random;
use crate::base::breaker::{Breaker, BreakerTerms};
use crate::providers::ProviderError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Two failures in a row are enough: there is a fallback, and a caller is waiting.
const TERMS: BreakerTerms = BreakerTerms {
    failures: 2,
    first: Duration::from_secs(2),
    ceiling: Duration::from_secs(60),
    probe: Duration::from_secs(10),
};
/// A key that is refused or an account without credit does not mend itself.
const UNTIL_SOMEBODY_ACTS: Duration = Duration::from_secs(60);
/// A vendor that asks to be left alone without saying for how long.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// The longest wait that a vendor is granted.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(120);

/// The circuit of one provider and stage.
#[derive(Debug)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    random: Random,
}

/// A reading of [`Health`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Requests go through.
    Well,
    /// None, or one probe at a time.
    Resting,
}

impl Default for Health {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { breaker: Breaker::new(TERMS), random: Random::system() }) }
    }
}

impl Health {
    /// Whether a request may be sent. Its outcome must be reported by one of the other methods.
    pub fn admit(&self) -> bool {
        self.lock().breaker.admit(Instant::now().into_std()).is_ok()
    }

    /// It began to answer.
    pub fn succeeded(&self) {
        self.lock().breaker.succeeded();
    }

    /// It failed.
    pub fn failed(&self, error: &ProviderError) {
        let now = Instant::now().into_std();
        let mut inner = self.lock();
        let Inner { breaker, random } = &mut *inner;
        match error {
            ProviderError::Authentication { .. } | ProviderError::Quota { .. } => {
                breaker.open_until(now + UNTIL_SOMEBODY_ACTS);
            }
            ProviderError::RateLimited { retry_after, .. } => {
                breaker.open_until(now + retry_after.unwrap_or(LEFT_ALONE).min(LEFT_ALONE_MAX));
            }
            error if error.counts_against_health() => {
                let opened = breaker.failed(now, random);
                if opened {
                    tracing::warn!(provider = error.provider(), kind = error.kind(), "provider_resting");
                }
            }
            _ => breaker.abandoned(now),
        }
    }

    /// The request ended without a verdict: the caller hung up, or another provider was faster.
    pub fn abandoned(&self) {
        self.lock().breaker.abandoned(Instant::now().into_std());
    }

    /// For people.
    #[must_use]
    pub fn state(&self) -> State {
        if self.lock().breaker.is_closed() { State::Well } else { State::Resting }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transient() -> ProviderError {
        ProviderError::Transient { provider: "v".into(), reason: "gone".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn two_failures_rest_a_provider_until_a_probe_succeeds() {
        let health = Health::default();
        health.failed(&transient());
        assert!(health.admit());
        health.failed(&transient());
        assert!(!health.admit());
        assert_eq!(health.state(), State::Resting);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(health.admit(), "the probe");
        assert!(!health.admit(), "one at a time");
        health.succeeded();
        assert!(health.admit() && health.admit());
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendor_that_asks_to_be_left_alone_is_left_alone_for_so_long() {
        let health = Health::default();
        health.failed(&ProviderError::RateLimited { provider: "v".into(), retry_after: Some(Duration::from_secs(7)) });
        tokio::time::advance(Duration::from_millis(6_900)).await;
        assert!(!health.admit());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(health.admit());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_rests_a_provider_at_once_and_a_wrong_request_does_not() {
        let health = Health::default();
        for _ in 0..5 {
            health.failed(&ProviderError::BadRequest { provider: "v".into(), reason: String::new() });
        }
        assert!(health.admit());
        health.failed(&ProviderError::Authentication { provider: "v".into(), reason: String::new() });
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!health.admit());
    }
}
