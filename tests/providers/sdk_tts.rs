//! The fakes of text to speech against the vendors' own clients: a fake that those can talk to is faithful.
//!
//! None of them speaks ElevenLabs' WebSocket of several contexts, so that its fake is held to the vendor's AsyncAPI alone.

use crate::fakes::voice::Voice;
use crate::fakes::{FakeServer, tts_cartesia, tts_deepgram, tts_elevenlabs, tts_servers};
use crate::sdk::understands;

/// Runs a script against the server; it prints how many octets of audio it got for `one two three`.
fn octets(package: &str, fake: &str, script: &str, server: &FakeServer, key: &str) -> usize {
    understands(package, fake, script, server, key).trim().parse().unwrap()
}

fn expected(rate: usize, sample_bytes: usize) -> usize {
    Voice::default().speak("one two three", rate as u32).len() * sample_bytes
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs() {
    let server = FakeServer::start_in_clear(tts_elevenlabs::ElevenLabs);
    assert_eq!(
        octets("elevenlabs", "tts_elevenlabs", "elevenlabs_tts.py", &server, tts_elevenlabs::KEY),
        expected(8_000, 1)
    );
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn cartesia() {
    let server = FakeServer::start_in_clear(tts_cartesia::Cartesia);
    assert_eq!(octets("cartesia", "tts_cartesia", "cartesia_tts.py", &server, tts_cartesia::KEY), expected(8_000, 1));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram() {
    let server = FakeServer::start_in_clear(tts_deepgram::Deepgram);
    assert_eq!(
        octets("deepgram-sdk", "tts_deepgram", "deepgram_tts.py", &server, tts_deepgram::KEY),
        expected(8_000, 1)
    );
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai() {
    let server = FakeServer::start_in_clear(tts_servers::OpenAi);
    assert_eq!(octets("openai", "tts_servers", "openai_tts.py", &server, tts_servers::KEY), expected(24_000, 2));
}
