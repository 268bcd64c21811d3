//! The vendors' process: a recogniser, a model and a voice behind TLS, each in a thread of its own.

use super::fakes::llm_openai::{Flavour, OpenAi};
use super::fakes::{FakeServer, plain};
use super::spawn;
use super::support::{Bench, Running};
use std::fmt::Write as _;
use std::path::PathBuf;

/// An agent that converses through all three.
pub const AGENT: &str = "
agent: assistant
start: talk
speech_to_text: ears
language_model: mind
text_to_speech: voice
nodes:
  talk:
    converse: You answer the telephone of a restaurant. Be brief.
    exits: {done: bye}
  bye: {hangup: done, say: Goodbye.}
";
/// What the fakes take for a key.
const KEY: &str = "key-of-the-bench";

/// Serves until the process is ended. The certificate to trust is written to a file.
pub fn serve(certificate: &str) -> ! {
    let ears = FakeServer::start(plain::Deepgram);
    let mind = FakeServer::start(OpenAi { key: KEY, flavour: Flavour::Groq });
    let voice = FakeServer::start(plain::Deepgram);
    std::fs::write(certificate, ears.ca_pem()).expect("a folder of ours");
    println!("urls {} {} {}\nready", ears.http_url(""), mind.http_url("/v1"), voice.http_url(""));
    loop {
        std::thread::park();
    }
}

/// The process and how to reach it.
pub struct Vendors {
    _running: Running,
    pub certificate: PathBuf,
    pub urls: Vec<String>,
}

impl Vendors {
    pub fn start(bench: &Bench) -> Self {
        let certificate = bench.path().join("ca.pem");
        let running = spawn(bench, "vendors", &["vendors", &certificate.to_string_lossy()]);
        let output = running.output();
        let line = output.lines().find_map(|line| line.strip_prefix("urls ")).expect("the line was printed");
        Self { urls: line.split(' ').map(str::to_owned).collect(), certificate, _running: running }
    }

    /// The lines of `offhook.toml`.
    pub fn config(&self) -> String {
        let mut lines = format!("[providers]\nca_file = \"{}\"\n", self.certificate.display());
        let vendors = [("ears", "deepgram"), ("mind", "groq"), ("voice", "deepgram")];
        for ((name, vendor), url) in vendors.iter().zip(&self.urls) {
            let _ = write!(
                lines,
                "[[provider]]\nname = \"{name}\"\nvendor = \"{vendor}\"\nkey = \"{KEY}\"\nurl = \"{url}\"\nconcurrency = 2000\n"
            );
        }
        lines
    }
}

/// A provider of one stage at its URL.
pub fn spec(vendor: &str, url: &str) -> offhook::providers::registry::ProviderSpec {
    offhook::providers::registry::ProviderSpec {
        key: Some(offhook::base::Pii::new(KEY.to_owned())),
        url: Some(url.to_owned()),
        concurrency: Some(2_000),
        ..offhook::providers::registry::ProviderSpec::of_vendor(vendor)
    }
}
