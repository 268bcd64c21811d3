//! Offer and answer (RFC 3264) on top of `sdp-types`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod codec;
mod crypto;
pub mod direction;
mod dtls;
pub mod error;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
pub mod negotiation;
pub mod opus;
mod protection;
pub mod security;
mod stream;
pub mod terms;

pub use codec::Codec;
pub use direction::Direction;
pub use error::SdpError;
pub use negotiation::{Answer, Negotiated, Negotiation};
pub use opus::OpusParameters;
pub use security::{Fingerprint, HashFunction, Keying, Security, Setup, SrtpPolicy};
pub use terms::{CodecPreference, StreamTerms};
