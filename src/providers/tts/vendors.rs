//! The vendors of text to speech, a line each.

use crate::providers::TextToSpeech;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn TextToSpeech>] = &[];
