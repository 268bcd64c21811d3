//! RTP as pure machines: packets, encryption, jitter buffer, digits, source lock, reports, send session.
//!
//! A datagram passes, in this order, [`Header::read`], [`SourceLock::admit_with`] (which asks [`SrtpReceiver::open`] where
//! media is encrypted), [`Packet::parse`], then [`Reception`] for the statistics and either [`DigitReceiver`] or
//! [`JitterBuffer`]. What is sent comes from [`SendSession`] and goes through [`SrtpSender`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod delay;
mod drift;
pub mod dtmf;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz_secure;
pub mod jitter;
pub mod packet;
pub mod quality;
pub mod reception;
pub mod rtcp;
pub mod session;
pub mod source_lock;
pub mod srtp;

pub use dtmf::{DigitReceiver, DigitSender};
pub use jitter::{JitterBuffer, Playout, Source};
pub use packet::{Header, Packet, PacketError};
pub use quality::Quality;
pub use reception::Reception;
pub use session::SendSession;
pub use source_lock::{Admission, Claim, Refusal, SourceLock};
pub use srtp::{SrtpReceiver, SrtpSender};
