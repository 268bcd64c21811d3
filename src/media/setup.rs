//! What the call side builds for a worker, and what a worker gives back to be freed.
//!
//! Everything that allocates is made where the call runs; the worker swaps it in between two turns and hands what it
//! replaced to the bell, so that the media thread neither allocates nor frees.

use super::LegMedia;
use super::bridge::BridgePort;
use super::engine::Engine;
use std::sync::Arc;

/// One configuration of a leg, ready to use.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) media: LegMedia,
}

impl Setup {
    /// Builds it. Allocates.
    pub(super) fn new(media: LegMedia) -> Box<Self> {
        Box::new(Self { media })
    }
}

/// What the media thread has done with. The bell frees it by dropping it.
#[derive(Debug)]
#[expect(dead_code, reason = "kept only to be dropped elsewhere")]
pub(super) enum Retired {
    Background(Arc<[i16]>),
    Bridge(BridgePort),
    Engine(Box<Engine>),
    Setup(Box<Setup>),
}
