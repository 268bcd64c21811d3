//! The cellar: small vocabulary types that every room shares. Knows nothing of SIP, audio or agents.

pub mod backoff;
pub mod breaker;
pub mod chat;
pub mod expect;
pub mod ids;
pub mod pii;
pub mod random;
pub mod srtp;
pub mod units;

pub use expect::Expect;
pub use ids::{CallId, SegmentId, TurnId};
pub use pii::Pii;
pub use random::Random;
pub use srtp::{SrtpKey, SrtpKeys, SrtpSuite};
pub use units::SampleRate;
