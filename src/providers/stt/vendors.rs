//! The vendors of speech to text, a line each.
//!
//! Google is none of them: its streaming interface is gRPC only, and wants short-lived tokens of a service account.

use super::{assemblyai, azure, cartesia, deepgram, deepgram_flux, elevenlabs, openai, vosk, whisper};
use crate::providers::SpeechToText;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn SpeechToText>] = &[
    deepgram::OFFER,
    deepgram_flux::OFFER,
    assemblyai::OFFER,
    openai::OFFER,
    elevenlabs::OFFER,
    cartesia::OFFER,
    azure::OFFER,
    vosk::OFFER,
    whisper::OFFER,
];
