//! The vendors of speech to text, a line each.

use crate::providers::SpeechToText;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn SpeechToText>] = &[];
