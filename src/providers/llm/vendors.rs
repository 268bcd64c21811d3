//! The vendors of language models, a line each.

use super::{anthropic, compatible, gemini, responses};
use crate::providers::LanguageModel;
use crate::providers::catalogue::Offer;

/// Each vendor once.
pub const OFFERS: &[Offer<dyn LanguageModel>] = &[
    responses::OFFER,
    compatible::OPENAI_CHAT,
    anthropic::OFFER,
    gemini::OFFER,
    compatible::GROQ_OFFER,
    compatible::TOGETHER_OFFER,
    compatible::VLLM_OFFER,
    compatible::OLLAMA_OFFER,
    compatible::LLAMA_CPP_OFFER,
    compatible::COMPATIBLE,
];
