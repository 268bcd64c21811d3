//! No key of any vendor is printed or logged, at the most talkative level of the log: not by the command that asks every
//! vendor once, not where a key is refused, and not in calls, whatever goes wrong in them ([`watch`]).

use crate::command::{House, offhook, said};
use crate::fakes::Certificate;
use crate::roster::{Played, played};
use offhook::providers::StageKind;
use serde_json::Value;
use std::collections::HashMap;
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

/// Asks these vendors with these keys; the exit code, the rows by vendor, and everything that was printed.
fn probe(
    stage: StageKind,
    vendors: &[Played],
    key: impl Fn(&Played) -> &str,
) -> (Option<i32>, HashMap<String, Value>, String) {
    let house = House::new();
    let servers: Vec<_> = vendors.iter().map(|played| played.serve(Certificate::Good)).collect();
    let lines = vendors.iter().zip(&servers).map(|(played, server)| {
        let file = format!("key-of-{}", played.name());
        std::fs::write(house.path(&file), key(played)).unwrap();
        played.in_toml(&format!("my-{}", played.name()), server, &file)
    });
    house.write(servers.first(), &lines.collect::<String>(), "");
    let output = offhook(&["providers", "-c", &house.file(), "--probe", "--json"]);
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rows = rows.filter(|row| row["stage"] == stage.name());
    let rows = rows.filter_map(|row| Some((row["name"].as_str()?.strip_prefix("my-")?.to_owned(), row.clone())));
    let rows = rows.collect();
    for (played, server) in vendors.iter().zip(&servers) {
        assert_eq!(server.complaints(), Vec::<String>::new(), "{}", played.name());
    }
    (output.status.code(), rows, said(&output))
}

fn shows_no_key(stage: StageKind) {
    let vendors = played(stage);
    let (code, rows, text) = probe(stage, &vendors, |played| played.key);
    assert_eq!(code, Some(0), "{text}");
    for played in &vendors {
        let row = rows.get(&played.name()).unwrap_or_else(|| panic!("{} is not asked: {text}", played.name()));
        assert_eq!(row["probe"]["ok"], true, "{row}");
        assert!(played.key.is_empty() || !text.contains(played.key), "{}: a key is shown:\n{text}", played.name());
    }
    // Some vendors repeat the key that they refuse.
    let with_key: Vec<Played> = vendors.into_iter().filter(|played| !played.key.is_empty()).collect();
    let (code, rows, text) = probe(stage, &with_key, |_| WRONG_KEY);
    assert_eq!((code, rows.len()), (Some(1), with_key.len()), "{text}");
    for (name, row) in rows {
        assert_eq!(row["probe"]["kind"], "authentication", "{name}: {row}");
    }
    assert!(!text.contains(WRONG_KEY), "a key is shown:\n{text}");
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
