//! The vendors' own SDKs against the fakes of their speech to text: what the fakes send is what the vendors send.
//! `make sdk` installs the SDKs, and `make test-sdk` runs these tests alone.

use std::{path::Path, process::Command, time::Duration};

use crate::fakes::{
    FakeServer, stt_assemblyai::AssemblyAi, stt_azure::Azure, stt_cartesia::Cartesia, stt_deepgram::Deepgram, stt_elevenlabs::ElevenLabs,
    stt_openai::OpenAi,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[track_caller]
fn holds(script: &str, server: &FakeServer) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/sdk-venv/bin/python");
    assert!(python.exists(), "no SDKs here; run `make sdk` once");
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, server.ca_pem()).expect("a file");
    let run = Command::new(python)
        .arg(project.join("tests/sdk").join(script))
        .args([&server.http_url(""), "good-key"])
        .env("SSL_CERT_FILE", authority)
        .output()
        .expect("a script that starts");
    assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(server.complaints(), Vec::<String>::new(), "{script}");
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn deepgram_s_sdk_understands_the_fake() {
    holds("deepgram_stt.py", &FakeServer::start_in_clear(Deepgram { patience: PATIENCE }));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn assemblyai_s_sdk_understands_the_fake() {
    holds("assemblyai_stt.py", &FakeServer::start(AssemblyAi));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    holds("openai_stt.py", &FakeServer::start_in_clear(OpenAi));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn elevenlabs_s_sdk_understands_the_fake() {
    holds("elevenlabs_stt.py", &FakeServer::start_in_clear(ElevenLabs { patience: PATIENCE }));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn cartesia_s_sdk_understands_the_fake() {
    holds("cartesia_stt.py", &FakeServer::start_in_clear(Cartesia));
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn microsoft_s_sdk_understands_the_fake() {
    holds("azure_stt.py", &FakeServer::start_in_clear(Azure));
}
