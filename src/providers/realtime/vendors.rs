//! The vendors of speech to speech, a line each.

use crate::providers::SpeechToSpeech;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn SpeechToSpeech>] = &[
    super::openai::OFFER,
    super::deepgram::OFFER,
    super::elevenlabs::OFFER,
    super::gemini::OFFER,
    super::ultravox::OFFER,
];
