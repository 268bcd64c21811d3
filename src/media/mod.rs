//! Media workers: dedicated threads, the 20 ms wheel, sockets and ports, and the rings to the calls.
//!
//! [`Workers::start`] once per process; [`Workers::open`] per call leg; [`Leg::configure`] after every offer
//! and answer. The call then reads [`Leg::uplink`] and [`Leg::events`] whenever [`Leg::ready`] resolves, and
//! keeps [`Leg::downlink`] filled while the agent talks. Dropping the [`Leg`] ends its media.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod admission;
mod bridge;
pub mod config;
mod converter;
pub mod datagram;
pub mod downlink;
mod drift;
pub mod dtls;
mod ear;
mod engine;
pub mod error;
pub mod event;
mod framed;
pub mod leg;
pub mod leg_media;
pub mod limits;
pub mod meter;
mod mouth;
mod player;
pub mod ports;
mod protection;
mod receive;
mod seam;
mod send;
mod setup;
mod shared;
mod slots;
pub mod sys;
pub mod tap;
pub mod uplink;
mod worker;
pub mod workers;

pub use admission::Admission;
pub use config::MediaConfig;
pub use datagram::Datagram;
pub use downlink::Downlink;
pub use error::MediaError;
pub use event::{Events, LegEvent};
pub use leg::{Leg, LegMode, LegOptions, LegStats};
pub use leg_media::{LegMedia, LegSecurity};
pub use meter::LegMeter;
pub use tap::{Tap, TapFrame};
pub use uplink::{Uplink, UplinkFrame};
pub use workers::{WorkerStats, Workers};

#[cfg(test)]
mod tests;
