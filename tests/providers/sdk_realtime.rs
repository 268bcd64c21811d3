//! The vendors' own SDKs against the fakes of their speech to speech: what the fakes send is what the vendors send.
//! `make sdk` installs the SDKs, and `make test-sdk` runs these tests alone.

use std::{path::Path, process::Command};

use crate::fakes::{
    FakeServer, Vendor, realtime_deepgram::DeepgramAgent, realtime_elevenlabs::ElevenLabsAgents,
    realtime_gemini::GeminiLive, realtime_openai::OpenAiRealtime, realtime_script::Log,
};

const KEY: &str = "good-key";

#[track_caller]
fn holds(script: &str, vendor: impl Vendor, in_clear: bool) {
    let server = if in_clear { FakeServer::start_in_clear(vendor) } else { FakeServer::start(vendor) };
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/sdk-venv/bin/python");
    assert!(python.exists(), "no SDKs here; run `make sdk` once");
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, server.ca_pem()).expect("a file");
    let run = Command::new(python)
        .arg(project.join("tests/sdk").join(script))
        .args([&server.http_url(""), KEY])
        .env("SSL_CERT_FILE", authority)
        .output()
        .expect("a script that starts");
    assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(server.complaints(), Vec::<String>::new(), "{script}");
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    holds("openai_realtime.py", OpenAiRealtime { key: KEY, log: Log::default() }, true);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram_s_sdk_understands_the_fake() {
    holds("deepgram_agent.py", DeepgramAgent { key: KEY, log: Log::default() }, true);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs_s_sdk_understands_the_fake() {
    holds("elevenlabs_agents.py", ElevenLabsAgents { key: KEY, log: Log::default() }, false);
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn google_s_sdk_understands_the_fake() {
    holds("gemini_live.py", GeminiLive { key: KEY, log: Log::default() }, false);
}
