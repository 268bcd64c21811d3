//! Signal processing, pure and without allocation per frame: frames, codecs, resampling, voice activity, loss concealment,
//! tones, WAV files.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod codec;
pub mod comfort_noise;
pub mod dtmf;
pub mod echo_guard;
pub mod frame;
pub mod g711;
pub mod gain;
mod half_band;
pub mod noise;
pub mod noise_suppression;
pub mod plc;
pub mod resample;
pub mod tones;
pub mod vad;
pub mod wav;

pub use comfort_noise::{ComfortNoise, NoiseDescription};
pub use dtmf::{ToneDetector, TonePresser};
pub use echo_guard::{EchoGuard, EchoVerdict};
pub use frame::Frame;
pub use gain::GainControl;
pub use noise_suppression::NoiseSuppressor;
pub use plc::Concealer;
pub use resample::Resampler;
pub use vad::{VadMode, VoiceDetector};
