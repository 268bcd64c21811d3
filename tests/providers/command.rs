//! `offhook providers` and `check` against fake vendors: what is shown, what is measured, and that no key is.

use crate::fakes::FakeServer;
use crate::fakes::llm_openai::{Flavour, OpenAi};
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "sk-the-secret-key";
const WRONG: &str = "sk-another-secret-key";

fn write(folder: &Path, server: &FakeServer, key: &str) -> String {
    std::fs::write(folder.join("ca.pem"), server.ca_pem()).unwrap();
    std::fs::write(folder.join("key"), key).unwrap();
    let agent = "agent: a\nlanguage_model: brain\nstart: bye\nnodes: {bye: {hangup: done}}\n";
    std::fs::write(folder.join("a.yaml"), agent).unwrap();
    let config = format!(
        "[providers]\nca_file = \"ca.pem\"\n[[provider]]\nname = \"brain\"\nvendor = \"openai-chat\"\n\
         key_file = \"key\"\nurl = \"{}\"\nfirst_timeout = \"5s\"\n[agents]\na = \"a.yaml\"\n\
         [[trunk]]\nname = \"t\"\nhosts = [\"203.0.113.7\"]\nagent = \"a\"\n",
        server.http_url("/v1")
    );
    let file = folder.join("offhook.toml");
    std::fs::write(&file, config).unwrap();
    file.to_string_lossy().into_owned()
}

fn offhook(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offhook"));
    command.args(["--log", "trace"]).args(arguments).env("OPENAI_API_KEY", KEY);
    command.output().expect("offhook starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn shows_no_key(text: &str) {
    assert!(!text.contains(KEY) && !text.contains(WRONG), "a key is shown:\n{text}");
}

#[test]
fn a_probe_measures_the_provider_and_shows_no_key() {
    let server = FakeServer::start(OpenAi { key: KEY, flavour: Flavour::OpenAi });
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &server, KEY);
    let output = offhook(&["providers", "-c", &file, "--probe", "--json"]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let row: serde_json::Value = stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|row: &serde_json::Value| row["name"] == "brain" && row["in_use"] == true)
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!((row["key"].as_str(), row["probe"]["ok"].as_bool()), (Some("configured"), Some(true)), "{row}");
    assert!(row["probe"]["first_ms"].as_f64() > Some(0.0) && row["connect_ms"].is_number(), "{row}");
    shows_no_key(&text);
    shows_no_key(&said(&offhook(&["providers", "-c", &file, "--probe"])));
}

#[test]
fn a_refused_key_is_said_in_words_and_fails() {
    let server = FakeServer::start(OpenAi { key: KEY, flavour: Flavour::OpenAi });
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &server, WRONG);
    let output = offhook(&["providers", "-c", &file, "--probe"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("brain does not accept the key"), "{text}");
    shows_no_key(&text);
}

#[test]
fn check_names_the_place_of_a_provider_that_does_not_exist_and_the_nearest_that_does() {
    let server = FakeServer::start(OpenAi { key: KEY, flavour: Flavour::OpenAi });
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &server, KEY);
    assert!(offhook(&["check", &file]).status.success());
    let agent = "agent: a\nlanguage_model: brian\nstart: bye\nnodes: {bye: {hangup: done}}\n";
    std::fs::write(folder.path().join("a.yaml"), agent).unwrap();
    let output = offhook(&["check", &file]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("a.yaml:2:17") && text.contains("`brian` is no provider of language model"), "{text}");
    assert!(text.contains("write `brain`"), "{text}");
    shows_no_key(&text);
    let agent = "agent: a\nspeech_to_text: whisper\nstart: bye\nnodes: {bye: {hangup: done}}\n";
    std::fs::write(folder.path().join("a.yaml"), agent).unwrap();
    let text = said(&offhook(&["check", &file]));
    assert!(text.contains("a.yaml:2:17") && text.contains("transcribes whole recordings"), "{text}");
    assert!(!text.contains("is good: 1 node"), "{text}");
}

#[test]
fn the_documentation_holds_the_catalogue_as_it_is() {
    let output = offhook(&["providers", "--markdown"]);
    assert!(output.status.success(), "{}", said(&output));
    let catalogue = String::from_utf8_lossy(&output.stdout).into_owned();
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md")).unwrap();
    let written = docs.split_once("<!-- offhook providers --markdown -->\n\n").map(|(_, rest)| rest);
    assert_eq!(
        written,
        Some(catalogue.as_str()),
        "write what `offhook providers --markdown` says into docs/providers.md"
    );
}
