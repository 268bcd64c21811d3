//! Providers in order: the first that is well serves, the next takes over, in the middle of a call too. Health is shared
//! by all calls, so that one call's bad luck spares the next ones.
//!
//! ```text
//!              admit?         first word or sound late?          fails before / after it began
//!   request ──▶ [a] ─────────▶ hedge: [b] too, first wins ──────▶ [b] from the start / from where [a] stopped
//!                 └ circuit open ──▶ [b]
//! ```
//!
//! A provider of a call's ear or conversation that nobody stands behind is its own successor, once: late, or gone, it is
//! asked again over a fresh connection and hears the same. Where that is of no use either, the call says so.

mod course;
mod health;
mod llm;
mod realtime;
mod stt;
pub(in crate::providers) mod tape;
mod tts;

pub use course::{HedgeTerms, Hedging};
pub use health::{Health, State as HealthState};
pub use llm::SteadyLanguageModel;
pub use realtime::SteadySpeechToSpeech;
pub use stt::SteadySpeechToText;
pub use tts::SteadyTextToSpeech;

use super::ProviderError;
use std::sync::Arc;

/// One provider of a stage with what is known of its health.
pub struct Member<P: ?Sized> {
    /// The provider.
    pub provider: Arc<P>,
    /// Shared by all calls and all orders it stands in.
    pub health: Arc<Health>,
}

impl<P: ?Sized> Clone for Member<P> {
    fn clone(&self) -> Self {
        Self { provider: Arc::clone(&self.provider), health: Arc::clone(&self.health) }
    }
}

impl<P: ?Sized> Member<P> {
    /// A provider nothing bad is known of.
    #[must_use]
    pub fn new(provider: Arc<P>) -> Self {
        Self { provider, health: Arc::default() }
    }
}

/// Whether a provider that nobody stands behind is asked once more: not where it asks to be left alone, and not where it
/// would say the same again.
fn may_do_better(error: &ProviderError) -> bool {
    error.is_retryable() && !matches!(error, ProviderError::Busy { .. } | ProviderError::RateLimited { .. })
}

/// The first of `members` from `after` on that takes requests, else the first that has not been tried: a caller is better
/// served by a provider that may be down than by none.
fn pick<P: ?Sized>(members: &[Member<P>], tried: &[usize]) -> Option<usize> {
    let untried = || (0..members.len()).filter(|place| !tried.contains(place));
    untried().find(|place| members.get(*place).is_some_and(|m| m.health.admit())).or_else(|| untried().next())
}
