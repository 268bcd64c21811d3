//! The vendors' own SDKs against the fakes of their speech to text: what the fakes send is what the vendors send.
//!
//! Vosk has none: its package is the engine itself, and its server comes with examples only.

use std::time::Duration;

use crate::{
    fakes::{
        FakeServer, stt_assemblyai::AssemblyAi, stt_azure::Azure, stt_cartesia::Cartesia, stt_deepgram::Deepgram,
        stt_elevenlabs::ElevenLabs, stt_openai::OpenAi, stt_whisper::Whisper,
    },
    sdk::understands,
};

const KEY: &str = "good-key";
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(Deepgram { patience: PATIENCE });
    understands("deepgram-sdk", "stt_deepgram", "deepgram_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn assemblyai_s_sdk_understands_the_fake() {
    let server = FakeServer::start(AssemblyAi);
    understands("assemblyai", "stt_assemblyai", "assemblyai_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(OpenAi);
    understands("openai", "stt_openai", "openai_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake_of_recordings() {
    let server = FakeServer::start_in_clear(Whisper);
    understands("openai", "stt_whisper", "openai_recording.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(ElevenLabs { patience: PATIENCE });
    understands("elevenlabs", "stt_elevenlabs", "elevenlabs_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn cartesia_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(Cartesia);
    understands("cartesia", "stt_cartesia", "cartesia_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn microsoft_s_sdk_understands_the_fake() {
    let server = FakeServer::start_in_clear(Azure);
    understands("azure-cognitiveservices-speech", "stt_azure", "azure_stt.py", &server, KEY);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn groq_s_sdk_understands_the_fake_of_recordings() {
    let server = FakeServer::start_in_clear(Whisper);
    understands("groq", "stt_whisper", "groq_recording.py", &server, KEY);
}
