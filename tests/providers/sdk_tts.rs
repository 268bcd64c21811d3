//! The fakes of text to speech against the vendors' own clients: a fake that those can talk to is faithful. `make sdk`
//! fetches the clients, and `make test-sdk` runs these tests alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use crate::fakes::voice::Voice;
use crate::fakes::{FakeServer, tts_cartesia, tts_deepgram, tts_elevenlabs, tts_servers};
use std::path::Path;
use std::process::Command;

/// Runs a script against the server; it prints how many octets of audio it got for `one two three`.
fn octets(script: &str, server: &FakeServer, key: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|path| path.join("tests/sdk").is_dir()).unwrap();
    let python = root.join("target/sdk-venv/bin/python");
    assert!(python.exists(), "no clients here; run `make sdk` once");
    let url = server.http_url("");
    let script = root.join("tests/sdk").join(script);
    let run = Command::new(python).arg(script).args([&url, key]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}{err}");
    assert_eq!(server.complaints(), Vec::<String>::new());
    out.trim().parse().unwrap()
}

fn expected(rate: usize, sample_bytes: usize) -> usize {
    Voice::default().speak("one two three", rate as u32).len() * sample_bytes
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs() {
    let server = FakeServer::start_in_clear(tts_elevenlabs::ElevenLabs);
    assert_eq!(octets("elevenlabs_tts.py", &server, tts_elevenlabs::KEY), expected(8_000, 1));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn cartesia() {
    let server = FakeServer::start_in_clear(tts_cartesia::Cartesia);
    assert_eq!(octets("cartesia_tts.py", &server, tts_cartesia::KEY), expected(8_000, 1));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram() {
    let server = FakeServer::start_in_clear(tts_deepgram::Deepgram);
    assert_eq!(octets("deepgram_tts.py", &server, tts_deepgram::KEY), expected(8_000, 1));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai() {
    let server = FakeServer::start_in_clear(tts_servers::OpenAi);
    assert_eq!(octets("openai_tts.py", &server, tts_servers::KEY), expected(24_000, 2));
}
