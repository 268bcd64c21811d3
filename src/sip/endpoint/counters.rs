//! What the endpoint did with what it did not serve.

use super::Endpoint;

/// Sums since the endpoint was made: what was not served, and why. A monitor reads them; nothing is decided by them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Datagrams of strangers, dropped unread.
    pub unheard: u64,
    /// Datagrams of banned sources, dropped unread.
    pub banned: u64,
    /// Sources that were banned.
    pub bans: u64,
    /// Datagrams of heard sources beyond their budget, dropped unread.
    pub throttled: u64,
    /// Datagrams that are no SIP message, or one with a fault.
    pub malformed: u64,
    /// Requests challenged with 401.
    pub challenged: u64,
    /// Requests whose credentials were wrong.
    pub unauthenticated: u64,
    /// Calls refused because the endpoint is full or draining.
    pub refused: u64,
    /// Calls refused because of their peer's limits, in and out.
    pub over_peer_limit: u64,
    /// Requests within a dialog, and CANCELs, from an address that may not speak for it.
    pub spoofed: u64,
    /// Challenges of peers that deserved no answer.
    pub unanswered_challenges: u64,
}

impl Endpoint {
    /// What was not served so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
