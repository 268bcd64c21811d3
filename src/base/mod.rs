//! The cellar: small vocabulary types that every room shares. Knows nothing of SIP, audio or agents.

pub mod backoff;
pub mod ids;
pub mod pii;
pub mod random;
pub mod units;

pub use ids::{CallId, TurnId};
pub use pii::Pii;
pub use random::Random;
pub use units::SampleRate;
