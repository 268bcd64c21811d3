//! The vendors' own SDKs against the fakes of their language models: what the fakes send is what the vendors send.

use crate::{
    fakes::{
        FakeServer,
        llm_anthropic::Anthropic,
        llm_gemini::Gemini,
        llm_openai::{Flavour, OpenAi},
    },
    sdk::understands,
};

const KEY: &str = "sk-key";

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(OpenAi { key: KEY, flavour: Flavour::OpenAi });
    understands("openai", "llm_openai", "openai_llm.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn groq_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(OpenAi { key: KEY, flavour: Flavour::Groq });
    understands("groq", "llm_openai, in Groq's flavour", "groq_llm.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn anthropic_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(Anthropic { key: KEY });
    understands("anthropic", "llm_anthropic", "anthropic_llm.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn google_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(Gemini { key: KEY });
    understands("google-genai", "llm_gemini", "gemini_llm.py", &server, KEY);
}
