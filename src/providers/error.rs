//! What can go wrong with a provider, whose fault it is and whether trying again makes sense.

/// A provider's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// All places of the inference pool (or the vendor's concurrency limit) are taken: try again later, or say so.
    #[error("{provider} is busy: {waiting} requests are waiting already")]
    Busy {
        /// The provider's name.
        provider: &'static str,
        /// Requests ahead of this one.
        waiting: usize,
    },
    /// The engine or vendor failed on this request; another request may work.
    #[error("{provider} failed: {reason}")]
    Failed {
        /// The provider's name.
        provider: &'static str,
        /// What it said.
        reason: String,
    },
    /// The provider is gone for good: its thread or connection has ended.
    #[error("{provider} has stopped")]
    Stopped {
        /// The provider's name.
        provider: &'static str,
    },
}
