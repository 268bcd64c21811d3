//! What can go wrong with a provider, whose fault it is and whether trying again makes sense.

use super::reach::Unreachable;
use std::borrow::Cow;
use std::time::Duration;

/// A provider as configuration, events and metrics call it.
pub type ProviderName = Cow<'static, str>;

/// Most octets of a vendor's own words in an error.
const REASON_BYTES: usize = 200;

/// A provider's failure. No variant carries a key, a transcript or a URL's query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// All places of the inference pool (or of our own limit per key) are taken: try again later, or say so.
    #[error("{provider} is busy: {waiting} requests are waiting already")]
    Busy {
        /// The provider's name.
        provider: ProviderName,
        /// Requests ahead of this one.
        waiting: usize,
    },
    /// The engine failed on this request; another request may work.
    #[error("{provider} failed: {reason}")]
    Failed {
        /// The provider's name.
        provider: ProviderName,
        /// What it said.
        reason: String,
    },
    /// The provider is gone for good: its thread has ended.
    #[error("{provider} has stopped")]
    Stopped {
        /// The provider's name.
        provider: ProviderName,
    },
    /// The key is missing, wrong or not allowed to do this (401, 403): the configuration's fault.
    #[error("{provider} does not accept the key: {reason}; check the key in offhook.toml")]
    Authentication {
        /// The provider's name.
        provider: ProviderName,
        /// What it said.
        reason: String,
    },
    /// The account has no credit left (402, or a 429 that says so): trying again is useless until somebody pays.
    #[error("{provider}: the account's quota is used up: {reason}")]
    Quota {
        /// The provider's name.
        provider: ProviderName,
        /// What it said.
        reason: String,
    },
    /// Too many requests or streams at once (429).
    #[error("{provider} asks for fewer requests{}", retry_in(.retry_after))]
    RateLimited {
        /// The provider's name.
        provider: ProviderName,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// The request itself is refused (400, 404, 422): a setting (model, voice, parameter) is wrong.
    #[error("{provider} refuses the request: {reason}; check model, voice and options in offhook.toml")]
    BadRequest {
        /// The provider's name.
        provider: ProviderName,
        /// What it said.
        reason: String,
    },
    /// The vendor or the way to it failed (5xx, broken connection): another try may work.
    #[error("{provider} is not available: {reason}")]
    Transient {
        /// The provider's name.
        provider: ProviderName,
        /// What happened.
        reason: String,
    },
    /// Its certificate is no good, so that it may be somebody else: the configuration's fault, or that of the network
    /// between. No key was shown to it.
    #[error("{provider} is not trusted: {why}; {}", .why.fix())]
    Untrusted {
        /// The provider's name.
        provider: ProviderName,
        /// What is wrong with the certificate.
        why: Unreachable,
    },
    /// Not in time.
    #[error("{provider}: no {stage} within {} ms", .after.as_millis())]
    Timeout {
        /// The provider's name.
        provider: ProviderName,
        /// What did not come: `connection`, `first word`, `first audio`, `sign of life`.
        stage: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// It answered with something that its protocol does not know: the vendor's fault, or ours.
    #[error("{provider} broke its protocol: {reason}")]
    Protocol {
        /// The provider's name.
        provider: ProviderName,
        /// What was wrong.
        reason: String,
    },
}

/// Codes for an account without money: OpenAI's, which servers that follow it use as well.
pub const NO_CREDIT: &[&str] =
    &["insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "billing_not_active"];

/// Whether a vendor's words hold one of [`NO_CREDIT`].
#[must_use]
pub fn is_unpaid(words: &str) -> bool {
    NO_CREDIT.iter().any(|code| words.contains(code))
}

fn retry_in(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |after| format!(" for {} s", after.as_secs_f32()))
}

/// A vendor's words, cut to a line of bearable length.
#[must_use]
pub fn in_short(words: &str) -> String {
    let words = words.trim();
    let mut end = words.len().min(REASON_BYTES);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl ProviderError {
    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        match self {
            Self::Busy { provider, .. }
            | Self::Failed { provider, .. }
            | Self::Stopped { provider }
            | Self::Authentication { provider, .. }
            | Self::Quota { provider, .. }
            | Self::RateLimited { provider, .. }
            | Self::BadRequest { provider, .. }
            | Self::Transient { provider, .. }
            | Self::Untrusted { provider, .. }
            | Self::Timeout { provider, .. }
            | Self::Protocol { provider, .. } => provider,
        }
    }

    /// One word for events and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
            Self::Stopped { .. } => "stopped",
            Self::Authentication { .. } => "authentication",
            Self::Quota { .. } => "quota",
            Self::RateLimited { .. } => "rate_limited",
            Self::BadRequest { .. } => "bad_request",
            Self::Transient { .. } => "transient",
            Self::Untrusted { .. } => "untrusted",
            Self::Timeout { .. } => "timeout",
            Self::Protocol { .. } => "protocol",
        }
    }

    /// Whether the same request to the same provider may succeed within this call.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Failed { .. }
                | Self::RateLimited { .. }
                | Self::Transient { .. }
                | Self::Timeout { .. }
                | Self::Protocol { .. }
        )
    }

    /// Whether it says something about the provider's health. A request that was wrong or one too many does not.
    #[must_use]
    pub fn counts_against_health(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::BadRequest { .. })
    }

    /// The error for an HTTP status (of a request, or of a refused WebSocket upgrade). `words` is what the body says,
    /// `retry_after` the header of that name. 429 for want of money is known by [`NO_CREDIT`]; where a vendor has other
    /// words for it, find them before calling this.
    #[must_use]
    pub fn from_status(provider: ProviderName, status: u16, words: &str, retry_after: Option<Duration>) -> Self {
        let reason = match in_short(words) {
            words if words.is_empty() => format!("status {status}"),
            words => format!("status {status}: {words}"),
        };
        match status {
            // Azure, among others, refuses in this way who has used up a plan.
            403 if words.to_ascii_lowercase().contains("quota") => Self::Quota { provider, reason },
            401 | 403 => Self::Authentication { provider, reason },
            402 => Self::Quota { provider, reason },
            429 if is_unpaid(words) => Self::Quota { provider, reason },
            429 => Self::RateLimited { provider, retry_after },
            408 | 409 | 425 | 500..=599 => Self::Transient { provider, reason },
            400..=499 => Self::BadRequest { provider, reason },
            _ => Self::Protocol { provider, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_whose_fault_it_is() {
        let of = |status| ProviderError::from_status("v".into(), status, "why", None).kind();
        assert_eq!(
            [400, 401, 402, 403, 404, 408, 422, 429, 500, 503, 529, 302].map(of),
            [
                "bad_request",
                "authentication",
                "quota",
                "authentication",
                "bad_request",
                "transient",
                "bad_request",
                "rate_limited",
                "transient",
                "transient",
                "transient",
                "protocol"
            ]
        );
    }

    #[test]
    fn too_many_requests_for_want_of_money_are_told_from_too_many_requests() {
        let of = |words| ProviderError::from_status("v".into(), 429, words, None).kind();
        assert_eq!(of(r#"{"error":{"type":"insufficient_quota"}}"#), "quota");
        assert_eq!(of(r#"{"error":{"code":"rate_limit_exceeded"}}"#), "rate_limited");
    }

    #[test]
    fn a_vendor_s_words_are_cut_at_a_character_and_kept_on_one_line() {
        let long = format!("a\nb{}", "é".repeat(200));
        let short = in_short(&long);
        assert!(short.len() <= REASON_BYTES && short.starts_with("a b"));
    }
}
