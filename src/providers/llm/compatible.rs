//! OpenAI's Chat Completions and the servers that speak it: which each one is and what it does differently.

use super::LanguageModel;
use super::chat::{Chat, Dialect, OPENAI, OPTIONS, Warm};
use super::stream::Streaming;
use crate::providers::catalogue::Offer;
use crate::providers::{Network, Settings, SettingsError};
use serde_json::json;
use std::sync::Arc;

/// What any server is taken to understand.
const PLAIN: Dialect = Dialect {
    limit_field: "max_tokens",
    stream_options: Some(|| json!({"include_usage": true})),
    effort: |_| None,
    warm: Warm::Models,
    prompt_cache: false,
};
/// Groq counts in `x_groq.usage`, too.
const GROQ: Dialect = Dialect { limit_field: "max_completion_tokens", warm: Warm::Model, prompt_cache: true, ..PLAIN };
/// Together counts on its last chunk, asked or not.
const TOGETHER: Dialect = Dialect { stream_options: None, ..PLAIN };
/// vLLM and llama.cpp keep the start of prompts in memory.
const OWN: Dialect = Dialect { prompt_cache: true, ..PLAIN };
/// Ollama loads a model with the first request that names it, which takes tens of seconds.
const OLLAMA: Dialect = Dialect { warm: Warm::Load, prompt_cache: true, ..PLAIN };

fn build(dialect: Dialect, settings: &Settings, network: &Network) -> Result<Arc<dyn LanguageModel>, SettingsError> {
    Ok(Arc::new(Streaming::new(Chat::new(settings, dialect)?, settings, network)))
}

fn build_with_key(
    dialect: Dialect,
    settings: &Settings,
    network: &Network,
) -> Result<Arc<dyn LanguageModel>, SettingsError> {
    settings.required_key()?;
    build(dialect, settings, network)
}

/// OpenAI by its older interface.
pub(super) const OPENAI_CHAT: Offer<dyn LanguageModel> = Offer {
    vendor: "openai-chat",
    title: "OpenAI, Chat Completions interface",
    key_variable: "OPENAI_API_KEY",
    url: "https://api.openai.com/v1",
    model: "gpt-5.4-mini",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build_with_key(OPENAI, settings, network),
};

/// Any server.
pub(super) const COMPATIBLE: Offer<dyn LanguageModel> = Offer {
    vendor: "openai-compatible",
    title: "any server with OpenAI's Chat Completions interface",
    key_variable: "",
    url: "",
    model: "",
    voice: "",
    options: OPTIONS,
    build: |settings, network| {
        if settings.url.is_empty() {
            return Err(settings.error("it needs the server's address: give url = \"http://…/v1\""));
        }
        build(PLAIN, settings, network)
    },
};

/// Groq.
pub(super) const GROQ_OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "groq",
    title: "Groq",
    key_variable: "GROQ_API_KEY",
    url: "https://api.groq.com/openai/v1",
    model: "llama-3.3-70b-versatile",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build_with_key(GROQ, settings, network),
};

/// Together.
pub(super) const TOGETHER_OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "together",
    title: "Together AI",
    key_variable: "TOGETHER_API_KEY",
    url: "https://api.together.xyz/v1",
    model: "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build_with_key(TOGETHER, settings, network),
};

/// vLLM. Tools need `--enable-auto-tool-choice --tool-call-parser …` at its start.
pub(super) const VLLM_OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "vllm",
    title: "vLLM, a server of your own",
    key_variable: "VLLM_API_KEY",
    url: "http://127.0.0.1:8000/v1",
    model: "",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build(OWN, settings, network),
};

/// Ollama. It drops the oldest messages in silence when they exceed its context (`num_ctx` of the model file).
pub(super) const OLLAMA_OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "ollama",
    title: "Ollama, a server of your own",
    key_variable: "",
    url: "http://127.0.0.1:11434/v1",
    model: "llama3.2",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build(OLLAMA, settings, network),
};

/// llama.cpp's server. Tools need `--jinja` at its start; the model is the one it was started with.
pub(super) const LLAMA_CPP_OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "llama.cpp",
    title: "llama.cpp, a server of your own",
    key_variable: "",
    url: "http://127.0.0.1:8080/v1",
    model: "default",
    voice: "",
    options: OPTIONS,
    build: |settings, network| build(OWN, settings, network),
};
