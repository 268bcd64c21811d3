//! The vendors' own SDKs against the fakes of their language models: what the fakes send is what the vendors send.
//! `make sdk` installs the SDKs, and `make test-sdk` runs these tests alone.

use crate::fakes::llm_anthropic::Anthropic;
use crate::fakes::llm_gemini::Gemini;
use crate::fakes::llm_openai::{Flavour, OpenAi};
use crate::fakes::{FakeServer, Vendor};
use std::path::Path;
use std::process::Command;

const KEY: &str = "sk-key";

#[track_caller]
fn holds(script: &str, vendor: impl Vendor) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/sdk-venv/bin/python");
    assert!(python.exists(), "no SDKs here; run `make sdk` once");
    let server = FakeServer::start_in_clear(vendor);
    let run = Command::new(python)
        .arg(project.join("tests/sdk").join(script))
        .args([&server.http_url(""), KEY])
        .output()
        .expect("a script that starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{script}: {said}");
    assert_eq!(server.complaints(), Vec::<String>::new(), "{script}");
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn openai_s_sdk_understands_the_fake() {
    holds("openai_llm.py", OpenAi { key: KEY, flavour: Flavour::OpenAi });
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn groq_s_sdk_understands_the_fake() {
    holds("groq_llm.py", OpenAi { key: KEY, flavour: Flavour::Groq });
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn anthropic_s_sdk_understands_the_fake() {
    holds("anthropic_llm.py", Anthropic { key: KEY });
}

#[test]
#[ignore = "needs the vendor's SDK"]
fn google_s_sdk_understands_the_fake() {
    holds("gemini_llm.py", Gemini { key: KEY });
}
