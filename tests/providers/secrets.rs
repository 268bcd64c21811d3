//! No key of any vendor is printed or logged, at the most talkative level of the log: not by the command that asks every
//! vendor once, not where a key is refused, and not in calls, whatever goes wrong in them ([`watch`]).

use crate::command::{House, offhook, said};
use crate::fakes::Certificate;
use crate::roster::{Played, played};
use offhook::providers::StageKind;
use serde_json::Value;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

const WRONG_KEY: &str = "a-key-that-nobody-gave-out";

/// Lines of the log in which a key stands.
static SHOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reads the log in place of people.
struct Reader;

impl Write for Reader {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(octets);
        let played = StageKind::ALL.into_iter().flat_map(played);
        let mut keys = played.map(|played| played.key).filter(|key| !key.is_empty()).chain([WRONG_KEY]);
        if keys.any(|key| line.contains(key)) {
            SHOWN.lock().unwrap_or_else(PoisonError::into_inner).push(line.into_owned());
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Reader {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Logs everything from here on, for [`assert_no_key_was_logged`].
pub fn watch() {
    static LOGGING: OnceLock<()> = OnceLock::new();
    LOGGING.get_or_init(|| {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(Reader).finish();
        tracing::subscriber::set_global_default(log).expect("the only log of the process");
    });
}

/// # Panics
/// A key of a vendor was logged since [`watch`].
pub fn assert_no_key_was_logged() {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(shown.is_empty(), "a key is shown:\n{}", shown.join("\n"));
}

#[test]
fn a_key_that_is_logged_is_found() {
    let mut reader = Reader;
    reader.write_all(b"authorization: Token the-key-of-a-vendor").unwrap();
    let found = std::mem::take(&mut *SHOWN.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(found.len(), 1);
}

/// Asks a vendor once, with this key: the exit code, its row, and everything that was printed.
fn probe(played: &Played, key: &str) -> (Option<i32>, Value, String) {
    let (house, server) = (House::new(), played.serve(Certificate::Good));
    std::fs::write(house.path("key"), key).unwrap();
    house.write(Some(&server), &played.in_toml("my-vendor", &server, "key"), "");
    let output = offhook(&["providers", "-c", &house.file(), "--probe", "--json"]);
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut rows = rows.filter(|row| row["stage"] == played.stage.name() && row["name"] == "my-vendor");
    let text = said(&output);
    let row = rows.next().unwrap_or_else(|| panic!("{} is not asked: {text}", played.name()));
    assert_eq!(server.complaints(), Vec::<String>::new(), "{}", played.name());
    (output.status.code(), row, text)
}

fn keeps_its_key(played: &Played) {
    let name = played.name();
    let (code, row, text) = probe(played, played.key);
    assert_eq!((code, row["probe"]["ok"].as_bool()), (Some(0), Some(true)), "{name}: {row}");
    if played.key.is_empty() {
        return;
    }
    assert!(!text.contains(played.key), "{name}: a key is shown:\n{text}");
    // Some vendors repeat the key that they refuse.
    let (code, row, text) = probe(played, WRONG_KEY);
    assert_eq!((code, row["probe"]["kind"].as_str()), (Some(1), Some("authentication")), "{name}: {row}");
    assert!(!text.contains(WRONG_KEY), "{name}: a key is shown:\n{text}");
}

/// All vendors of a stage at once: a recogniser is told a second of audio.
fn shows_no_key(stage: StageKind) {
    std::thread::scope(|scope| {
        for played in played(stage) {
            scope.spawn(move || keeps_its_key(&played));
        }
    });
}

#[test]
fn no_key_of_any_recogniser_is_printed_at_any_level_of_the_log() {
    shows_no_key(StageKind::SpeechToText);
}

#[test]
fn no_key_of_any_language_model_is_printed_at_any_level_of_the_log() {
    shows_no_key(StageKind::LanguageModel);
}

#[test]
fn no_key_of_any_voice_is_printed_at_any_level_of_the_log() {
    shows_no_key(StageKind::TextToSpeech);
}

#[test]
fn no_key_of_any_vendor_of_speech_to_speech_is_printed_at_any_level_of_the_log() {
    shows_no_key(StageKind::SpeechToSpeech);
}
