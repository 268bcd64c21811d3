//! `offhook providers` and `check` against fake vendors: what is shown, what is measured, and that no key is.

use crate::fakes::llm_openai::{Flavour, OpenAi};
use crate::fakes::realtime_openai::OpenAiRealtime;
use crate::fakes::realtime_script::Log;
use crate::fakes::stt_deepgram::Deepgram;
use crate::fakes::{FakeServer, Misbehaviour, tts_cartesia, tts_deepgram, tts_elevenlabs, tts_servers};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

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

pub fn offhook(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offhook"));
    command.args(["--log", "trace"]).args(arguments).env("OPENAI_API_KEY", KEY);
    command.output().expect("offhook starts")
}

pub fn said(output: &Output) -> String {
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
    let row: Value = stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|row: &Value| row["name"] == "brain" && row["in_use"] == true)
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

/// A configuration with one provider per line of `providers`, whose keys stand in files beside it. No agent names any;
/// their stages' tables make them count as in use.
pub struct House(tempfile::TempDir);

impl House {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self) -> String {
        self.0.path().join("offhook.toml").to_string_lossy().into_owned()
    }

    /// A file beside it.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Writes it anew; `agent` are further lines of the only agent.
    pub fn write(&self, roots: Option<&FakeServer>, providers: &str, agent: &str) {
        let at = |name: &str| self.0.path().join(name);
        let agent = format!("agent: a\n{agent}start: bye\nnodes: {{bye: {{hangup: done}}}}\n");
        std::fs::write(at("a.yaml"), agent).unwrap();
        let ca = roots.map_or_else(String::new, |server| {
            std::fs::write(at("ca.pem"), server.ca_pem()).unwrap();
            "[providers]\nca_file = \"ca.pem\"\n".to_owned()
        });
        let rest = "[agents]\na = \"a.yaml\"\n[[trunk]]\nname = \"t\"\nhosts = [\"203.0.113.7\"]\nagent = \"a\"\n";
        std::fs::write(at("offhook.toml"), format!("{ca}{providers}{rest}")).unwrap();
    }

    /// A provider named as its vendor, with its key in a file.
    fn provider(&self, vendor: &str, stage: &str, url: &str, key: &str, further: &str) -> String {
        self.named(vendor, vendor, stage, url, key, further)
    }

    fn named(&self, name: &str, vendor: &str, stage: &str, url: &str, key: &str, further: &str) -> String {
        let key_line = if key.is_empty() {
            String::new()
        } else {
            let file = format!("key-of-{name}");
            std::fs::write(self.0.path().join(&file), key).unwrap();
            format!("key_file = \"{file}\"\n")
        };
        format!(
            "[[provider]]\nname = \"{name}\"\nvendor = \"{vendor}\"\n{key_line}url = \"{url}\"\n\
             first_timeout = \"5s\"\n[provider.{stage}]\n{further}"
        )
    }

    /// The exit code, the JSON row of a provider, and everything that was printed at the most talkative level of the log.
    #[track_caller]
    fn asked(&self, argument: &str, name: &str) -> (Option<i32>, Value, String) {
        let output = offhook(&["providers", "-c", &self.file(), argument, "--json"]);
        let text = said(&output);
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut rows = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let row = rows.find(|row| row["name"] == name && row["in_use"] == true).unwrap_or_else(|| panic!("{text}"));
        (output.status.code(), row, text)
    }
}

/// A stage as it is probed: what is asked, what it costs, and whose fault each failure is.
struct Stage {
    vendor: &'static str,
    stage: &'static str,
    server: FakeServer,
    path: &'static str,
    key: &'static str,
    costs: &'static str,
}

const WRONG_KEY: &str = "a-key-that-nobody-gave-out";

fn probes_in_words(stage: &Stage) {
    let Stage { vendor, server, key, .. } = stage;
    let house = House::new();
    let configure = |key: &str, roots: bool| {
        let provider = house.provider(vendor, stage.stage, &server.http_url(stage.path), key, "");
        house.write(roots.then_some(server), &provider, "");
    };
    let hides = |text: &str| {
        for key in [key, WRONG_KEY, KEY] {
            assert!(!text.contains(key), "{vendor}: a key is shown:\n{text}");
        }
    };
    let fails = |kind: &str, words: &str, fix: &str| {
        let (code, row, text) = house.asked("--probe", vendor);
        assert_eq!((code, row["probe"]["ok"].as_bool()), (Some(1), Some(false)), "{vendor} {kind}: {text}");
        let of = |field: &str| row["probe"][field].as_str().unwrap_or_default().to_owned();
        assert_eq!(of("kind"), kind, "{vendor}: {row}");
        assert!(of("reason").contains(words) && of("fix").contains(fix), "{vendor} {kind}: {row}");
        hides(&text);
    };

    configure(key, true);
    let (code, row, text) = house.asked("--probe", vendor);
    assert_eq!(code, Some(0), "{text}");
    for field in ["stage", "name", "vendor", "title", "model", "voice", "url", "key"] {
        assert!(row[field].is_string(), "{vendor}: {field} in {row}");
    }
    assert!(row["can"].is_array() && row["connect_ms"].as_f64() > Some(0.0), "{row}");
    let probe = &row["probe"];
    assert_eq!((probe["ok"].as_bool(), probe["costs"].as_str()), (Some(true), Some(stage.costs)), "{row}");
    assert!(probe["first_ms"].as_f64() > Some(0.0) && probe["all_ms"].as_f64() >= probe["first_ms"].as_f64(), "{row}");
    hides(&text);
    assert_eq!(server.complaints(), Vec::<String>::new());

    server.misbehave(Misbehaviour::status(402));
    fails("quota", "quota is used up", "add credit");
    server.behave();
    server.misbehave(Misbehaviour::Refuse);
    fails("unreachable", "no connection to localhost:", "correct `url`");
    server.behave();
    configure(key, false);
    fails("unreachable", "signed by no authority that is trusted here", "`ca_file` in [providers]");
    configure(WRONG_KEY, true);
    fails("authentication", "does not accept the key", "a new key");
    // For people: one line with the fault and the remedy.
    let output = offhook(&["providers", "-c", &house.file(), "--probe"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("does not accept the key") && text.contains("; make a new key at the vendor"), "{text}");
    hides(&text);
}

#[test]
fn a_probe_of_speech_to_text_says_whose_fault_a_failure_is() {
    probes_in_words(&Stage {
        vendor: "deepgram",
        stage: "speech_to_text",
        server: FakeServer::start(Deepgram { patience: Duration::from_secs(10) }),
        path: "",
        key: "good-key",
        costs: "1 s of audio",
    });
}

#[test]
fn a_probe_of_text_to_speech_says_whose_fault_a_failure_is() {
    probes_in_words(&Stage {
        vendor: "elevenlabs",
        stage: "text_to_speech",
        server: FakeServer::start(tts_elevenlabs::ElevenLabs),
        path: "",
        key: tts_elevenlabs::KEY,
        costs: "6 characters",
    });
}

#[test]
fn a_probe_of_speech_to_speech_says_whose_fault_a_failure_is() {
    let key = "the-key-of-a-realtime-vendor";
    probes_in_words(&Stage {
        vendor: "openai",
        stage: "speech_to_speech",
        server: FakeServer::start(OpenAiRealtime { key, log: Log::default() }),
        path: "/v1",
        key,
        costs: "a session without audio",
    });
}

#[test]
fn voices_are_shown_for_every_vendor_that_lists_them() {
    let house = House::new();
    let elevenlabs = FakeServer::start(tts_elevenlabs::ElevenLabs);
    let cartesia = FakeServer::start(tts_cartesia::Cartesia);
    let deepgram = FakeServer::start(tts_deepgram::Deepgram);
    let piper = FakeServer::start(tts_servers::Piper);
    let openai = FakeServer::start(tts_servers::OpenAi);
    let list = [
        ("elevenlabs", &elevenlabs, "", tts_elevenlabs::KEY, "id-Bea"),
        ("cartesia", &cartesia, "", tts_cartesia::KEY, "ben"),
        ("deepgram", &deepgram, "", tts_deepgram::KEY, "aura-2-thalia-en"),
        ("piper", &piper, "", "", "en_US-lessac-medium"),
        ("openai", &openai, "/v1", tts_servers::KEY, ""),
    ];
    let write = |wrong: bool| {
        let providers = list.map(|(vendor, server, path, key, _)| {
            let key = if wrong && vendor == "cartesia" { WRONG_KEY } else { key };
            house.provider(vendor, "text_to_speech", &server.http_url(path), key, "")
        });
        house.write(Some(&elevenlabs), &providers.concat(), "");
    };
    write(false);
    for (vendor, server, _, key, last) in list {
        let (code, row, text) = house.asked("--voices", vendor);
        assert_eq!(code, Some(0), "{text}");
        let voices = row["voices"].as_array().cloned().unwrap_or_default();
        let ids: Vec<&str> = voices.iter().filter_map(|voice| voice["id"].as_str()).collect();
        assert_eq!(ids.last().copied().unwrap_or_default(), last, "{row}");
        assert!(row.get("voices_error").is_none() && (key.is_empty() || !text.contains(key)), "{text}");
        assert_eq!(server.complaints(), Vec::<String>::new(), "{vendor}");
    }
    write(true);
    let (code, row, text) = house.asked("--voices", "cartesia");
    assert_eq!(code, Some(1), "{text}");
    assert!(row["voices_error"].as_str().is_some_and(|words| words.contains("; make a new key")), "{row}");
    assert!(!text.contains(WRONG_KEY), "{text}");
}

#[test]
fn a_model_that_will_be_withdrawn_is_told_with_its_successor_where_it_is_listed_and_checked() {
    let house = House::new();
    let old =
        house.provider("openai", "speech_to_speech", "https://localhost:9/v1", WRONG_KEY, "model = \"gpt-realtime\"\n");
    house.write(None, &old, "speech_to_speech: openai\n");
    let (code, row, text) = house.asked("--all", "openai");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(row["withdrawn_after"].as_str(), Some("2027-01-20"), "{row}");
    assert_eq!(row["instead"].as_str(), Some("gpt-realtime-2.1"), "{row}");
    let words = "gpt-realtime is withdrawn after 2027-01-20; its vendor names gpt-realtime-2.1 instead: set `model`";
    assert!(said(&offhook(&["providers", "-c", &house.file()])).contains(words));
    let checked = offhook(&["check", &house.file()]);
    let text = said(&checked);
    assert!(checked.status.success() && text.contains("a.yaml:2:19") && text.contains(words), "{text}");
    assert_eq!(offhook(&["check", "--strict", &house.file()]).status.code(), Some(1));
}

#[test]
fn a_change_of_language_that_can_never_happen_is_refused_with_what_would_do() {
    let house = House::new();
    let nowhere = "https://localhost:9";
    let deaf = house.provider("deepgram", "speech_to_text", nowhere, KEY, "");
    let keen = house.provider("cartesia", "speech_to_text", nowhere, KEY, "");
    let flux = house.provider("deepgram-flux", "speech_to_text", nowhere, KEY, "");
    let spanish = house.named("spanish", "deepgram", "text_to_speech", nowhere, KEY, "voice = \"aura-2-celeste-es\"\n");
    let providers = format!("{deaf}{keen}{flux}{spanish}");
    let check = |agent: &str| {
        house.write(None, &providers, agent);
        let output = offhook(&["check", &house.file()]);
        (output.status.code(), said(&output))
    };
    let (code, text) = check("speech_to_text: {use: [deepgram, local], languages: {de: cartesia}}\n");
    assert!(code == Some(1) && text.contains("a.yaml:2:42"), "{text}");
    assert!(text.contains("no call ever changes its language: none of deepgram, local detects one"), "{text}");
    assert!(text.contains("name one under `use` that detects languages"), "{text}");
    let (code, text) = check("speech_to_text: {use: cartesia, languages: {de: deepgram}}\n");
    assert!(code == Some(0) && text.contains("a.yaml:2:45"), "{text}");
    assert!(text.contains("a call that goes over to `de` stays there: none of deepgram detects one"), "{text}");
    let (code, text) = check("speech_to_text: {use: cartesia, languages: {multi: cartesia}}\n");
    assert!(code == Some(1) && text.contains("`multi` is no language that is heard"), "{text}");
    let (code, text) = check("speech_to_text: {use: cartesia, languages: {de: carthesia}}\n");
    assert!(code == Some(1) && text.contains("`carthesia` is no provider of speech to text"), "{text}");
    assert!(text.contains("a.yaml:2:49") && text.contains("write `cartesia`"), "{text}");
    let (code, text) = check("speech_to_text: {use: deepgram-flux, language: de}\n");
    assert!(code == Some(0) && text.contains("provider deepgram-flux has no `de`: it knows en"), "{text}");
    assert!(text.contains("a.yaml:2:23") && text.contains("flux-general-multi"), "{text}");
    let (code, text) = check("speech_to_text: {use: [deepgram, local], language: fr-FR}\n");
    assert!(code == Some(0) && text.contains("provider local has no `fr-FR`: it knows en"), "{text}");
    assert!(text.contains("name a provider that knows `fr-FR`"), "{text}");
    let (code, text) = check("text_to_speech: spanish\n");
    assert!(code == Some(0) && text.contains("provider spanish has no `en-US`: it knows es"), "{text}");
    assert!(text.contains("name a `voice` that speaks `en-US`"), "{text}");
    for good in
        ["{use: cartesia, languages: {de: cartesia}}", "{use: deepgram, language: multi, languages: {de: cartesia}}"]
    {
        let (code, text) = check(&format!("speech_to_text: {good}\n"));
        assert!(code == Some(0) && text.contains("0 warnings"), "{text}");
    }
}

/// A server that runs until the test is done with it.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the server and returns once it takes calls.
fn serve(file: &str) -> Running {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(env!("CARGO_BIN_EXE_offhook"));
    command.args(["serve", "-c", file]).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("listening for SIP on"))), "the server starts");
    std::thread::spawn(move || lines.for_each(drop));
    running
}

#[test]
fn a_line_of_an_agent_file_is_paid_for_once_by_two_runs_of_the_server_and_outlives_the_vendor() {
    let (server, house) = (FakeServer::start(tts_servers::OpenAi), House::new());
    let at = |name: &str| house.0.path().join(name);
    std::fs::write(at("ca.pem"), server.ca_pem()).unwrap();
    let write = |phrases: &str| {
        let voice = house.provider("openai", "text_to_speech", &server.http_url("/v1"), tts_servers::KEY, "");
        let config = format!(
            "[server]\nsip_listen = [\"127.0.0.1:0\"]\n[providers]\nca_file = \"ca.pem\"\n{phrases}{voice}\
             [agents]\na = \"a.yaml\"\n[[trunk]]\nname = \"t\"\nhosts = [\"203.0.113.7\"]\nagent = \"a\"\n"
        );
        std::fs::write(at("offhook.toml"), config).unwrap();
    };
    let agent = "agent: a\ntext_to_speech: openai\nbridge:\n  url: wss://bot.example/\n  protocol: twilio\n  \
                 fallback: {say: Please call again later.}\n";
    std::fs::write(at("a.yaml"), agent).unwrap();
    let asked = || server.requests().iter().filter(|request| request.method == "POST").count();
    write("");
    for n in 1..3 {
        drop(serve(&house.file()));
        assert_eq!(asked(), n, "nothing is kept unless a directory is named");
    }
    write("phrases = \"lines\"\nphrases_mb = 1\n");
    drop(serve(&house.file()));
    assert_eq!((asked(), std::fs::read_dir(at("lines")).unwrap().count()), (3, 1));
    server.misbehave(Misbehaviour::Refuse);
    drop(serve(&house.file()));
    assert_eq!(asked(), 3);
    // The listing of providers speaks to the vendor itself, not to what is kept of it.
    let (code, row, text) = house.asked("--probe", "openai");
    assert_eq!((code, row["probe"]["kind"].as_str()), (Some(1), Some("unreachable")), "{text}");
}

#[test]
fn an_option_that_a_vendor_does_not_know_is_told_with_the_nearest_that_it_does() {
    let house = House::new();
    let wrong =
        house.provider("deepgram", "speech_to_text", "https://localhost:9", KEY, "options = { endpoiting = 300 }\n");
    house.write(None, &wrong, "speech_to_text: deepgram\n");
    let output = offhook(&["check", &house.file()]);
    let text = said(&output);
    assert!(output.status.code() == Some(1) && text.contains("a.yaml:2:17"), "{text}");
    assert!(text.contains("unknown option `endpoiting`: write `endpointing`"), "{text}");
}

#[test]
fn the_pages_of_the_stages_name_every_vendor_and_every_option() {
    use offhook::providers::catalogue::{LLM, Offer, REALTIME, STT, TTS};
    fn check<P: ?Sized>(page: &str, offers: &[Offer<P>]) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers").join(page);
        let text = std::fs::read_to_string(&file).unwrap();
        for offer in offers {
            for word in offer.options.iter().chain([&offer.vendor]) {
                assert!(text.contains(&format!("`{word}`")), "{page} says nothing of {}: `{word}`", offer.vendor);
            }
        }
    }
    check("speech-to-text.md", STT);
    check("language-models.md", LLM);
    check("text-to-speech.md", TTS);
    check("speech-to-speech.md", REALTIME);
}
