//! The vendors' own SDKs against the fakes of their speech to speech: what the fakes send is what the vendors send.

use crate::{
    fakes::{
        FakeServer, realtime_deepgram::DeepgramAgent, realtime_elevenlabs::ElevenLabsAgents,
        realtime_gemini::GeminiLive, realtime_openai::OpenAiRealtime, realtime_script::Log,
    },
    sdk::understands,
};

const KEY: &str = "good-key";

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(OpenAiRealtime { key: KEY, log: Log::default() });
    understands("openai", "realtime_openai", "openai_realtime.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(DeepgramAgent { key: KEY, log: Log::default() });
    understands("deepgram-sdk", "realtime_deepgram", "deepgram_agent.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs_s_sdk_understands_the_fake() {
    let server = FakeServer::start(ElevenLabsAgents { key: KEY, log: Log::default() });
    understands("elevenlabs", "realtime_elevenlabs", "elevenlabs_agents.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn google_s_sdk_understands_the_fake() {
    let server = FakeServer::start(GeminiLive { key: KEY, log: Log::default() });
    understands("google-genai", "realtime_gemini", "gemini_live.py", &server, KEY);
}
