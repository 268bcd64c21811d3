//! The vendors of language models, a line each.

use crate::providers::LanguageModel;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn LanguageModel>] = &[];
