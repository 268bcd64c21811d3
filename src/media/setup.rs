//! What the call side builds for a worker, and what a worker gives back to be freed.
//!
//! Everything that allocates is made where the call runs; the worker swaps it in between two turns and hands what it
//! replaced to the bell, so that the media thread neither allocates nor frees.

use super::bridge::BridgePort;
use super::datagram::Datagram;
use super::ear::{Ear, Ears};
use super::engine::Engine;
use super::framed::FrameProducer;
use super::mouth::Mouth;
use super::player::Player;
use super::protection::Protection;
use super::tap::TapPort;
use super::uplink::Heard;
use super::{LegMedia, MediaError};
use crate::base::SampleRate;
use rtrb::Producer;
use std::sync::Arc;

/// The worker's ends of the rings, which are as wide as the line rate wants them.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) sample_rate: SampleRate,
    pub(super) uplink: FrameProducer<Heard>,
    pub(super) player: Player,
}

/// One configuration of a leg, ready to use.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) media: LegMedia,
    pub(super) ears: Ears,
    pub(super) mouth: Mouth,
    pub(super) protection: Protection,
    /// To the call, where a handshake takes place.
    pub(super) handshake: Option<Producer<Datagram>>,
    /// With the first configuration only.
    pub(super) rings: Option<Rings>,
}

impl Setup {
    /// Builds it for a leg of this line rate. Allocates.
    pub(super) fn new(media: LegMedia, line: SampleRate, rings: Option<Rings>) -> Result<Box<Self>, MediaError> {
        let coding = media.coding(line);
        let alternate = media
            .alternate
            .map(|(payload_type, codec)| Ear::new(payload_type, media.coding_of(codec, line), line))
            .transpose()?;
        let ears = Ears::new(Ear::new(media.payload_type, coding, line)?, alternate);
        let mouth = Mouth::new(coding, line, media.ptime_ms)?;
        let protection = Protection::new(&media);
        Ok(Box::new(Self { media, ears, mouth, protection, handshake: None, rings }))
    }

    /// Goes on where the configuration before was, as far as both agree; true when what was received and not played yet
    /// is of a codec that is heard no more. Does not allocate.
    pub(super) fn take_over(&mut self, before: &mut Self) -> bool {
        let is_another = self.ears.take_over(&mut before.ears);
        self.mouth.take_over(&mut before.mouth);
        self.protection.take_over(&mut before.protection);
        if self.handshake.is_none() {
            std::mem::swap(&mut self.handshake, &mut before.handshake);
        }
        is_another
    }
}

/// What the media thread has done with. The bell frees it by dropping it.
#[derive(Debug)]
#[expect(dead_code, reason = "kept only to be dropped elsewhere")]
pub(super) enum Retired {
    Background(Arc<[i16]>),
    Bridge(Box<BridgePort>),
    Engine(Box<Engine>),
    Setup(Box<Setup>),
    Tap(Box<TapPort>),
}
