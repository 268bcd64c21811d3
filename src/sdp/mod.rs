//! Offer and answer (RFC 3264) on top of `sdp-types`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod codec;
pub mod direction;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
pub mod negotiation;
pub mod opus;
pub mod security;
mod stream;

pub use codec::Codec;
pub use direction::Direction;
pub use error::SdpError;
pub use negotiation::{Answer, Negotiated, Negotiation};
pub use opus::OpusParameters;
pub use security::{Fingerprint, HashFunction, Keying, Security, Setup, SrtpKey, SrtpPolicy, SrtpSuite};
