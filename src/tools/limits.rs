//! Every cap of the room, each with the attack or need that it answers.

use crate::base::breaker::BreakerTerms;
use std::time::Duration;

/// Longest time one exchange may take, from name look-up to the last byte of the answer. A caller
/// waits on the line meanwhile, and a server that drips one byte a second must not hold a task.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time to connect, TLS handshake included: a dead host is known before the caller wonders.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Longest time one name look-up may take (security class 22).
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most addresses of one name that are looked at: a hostile zone answers with thousands.
pub const RESOLVED_ADDRESSES: usize = 32;

/// Largest answer body that is read. A bigger one is an error, not a truncated document.
pub const ANSWER_BYTES: usize = 1024 * 1024;

/// Largest request body: arguments of one tool call are a few hundred bytes.
pub const REQUEST_BYTES: usize = 64 * 1024;

/// Longest URL after its arguments are filled in; longer ones break proxies on the way.
pub const URL_BYTES: usize = 2_048;

/// Most headers accepted in an answer.
pub const ANSWER_HEADERS: usize = 64;

/// Exchanges under way at once in the whole process: a slow host must not eat every file descriptor.
pub const CONCURRENT_EXCHANGES: usize = 128;

/// Exchanges under way at once per tool: one slow tool must not starve the others.
pub const CONCURRENT_PER_TOOL: usize = 32;

/// Idle connections kept for the next call.
pub const IDLE_CONNECTIONS_PER_HOST: usize = 8;

/// How long an idle connection is kept; after that the name is looked up and checked again.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Retries that a tool may ask for at most: the caller is waiting.
pub const RETRIES: u32 = 5;

/// First wait before a retry.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest wait before a retry, `Retry-After` included; a server that asks for more is not retried.
pub const RETRY_CEILING: Duration = Duration::from_secs(2);

/// When a tool's circuit opens and for how long.
pub const BREAKER: BreakerTerms = BreakerTerms {
    failures: 5,
    first: Duration::from_secs(5),
    ceiling: Duration::from_secs(120),
    probe: Duration::from_secs(2 * EXCHANGE_TIMEOUT.as_secs()),
};

/// Arguments in one tool call.
pub const ARGUMENTS: usize = 32;

/// Characters of a text argument when its declaration gives no limit of its own.
pub const ARGUMENT_CHARS: usize = 500;

/// Characters of an idempotency key.
pub const IDEMPOTENCY_KEY_CHARS: usize = 128;

/// Tool calls in one phone call, unless configured otherwise: a flow that loops, or a talked-into
/// agent, stops here (security class 18).
pub const CALLS_PER_PHONE_CALL: u32 = 40;

/// Time spent in tools in one phone call, unless configured otherwise.
pub const TIME_PER_PHONE_CALL: Duration = Duration::from_secs(120);
