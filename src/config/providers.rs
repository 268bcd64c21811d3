//! `[[provider]]`: accounts with vendors of speech and language models, by the names that agent files use.

use super::Phrases;
use super::diagnostic::nearest;
use super::reader::{Located, Table};
use super::secret::{PROVIDER_KEY, Secrets};
use crate::providers::catalogue;
use crate::providers::registry::{LOCAL, ProviderSpec, StageSpec};
use crate::providers::settings::StageKind;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Most streams or requests at once that can be configured.
const CONCURRENCY_MAX: i64 = 100_000;
/// Bounds of the deadlines: a caller does not wait longer.
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Most disk that fixed lines may take, in megabytes, and what they may where nothing is said.
const PHRASES_MB_MAX: i64 = 100_000;
const PHRASES_MB: u64 = 256;

/// Reads `[providers]`: the certificates trusted on the way out, and where fixed lines are kept.
pub(super) fn read_common(table: Table<'_, '_>, base: &Path) -> (Option<PathBuf>, Option<Phrases>) {
    let ca_file = table.text("ca_file").map(|file| base.join(file.value));
    let directory = table.text("phrases").map(|directory| base.join(directory.value));
    let megabytes = table.integer("phrases_mb", 1..=PHRASES_MB_MAX).and_then(|n| u64::try_from(n).ok());
    if megabytes.is_some() && directory.is_none() {
        table.error(table.key_span("phrases_mb"), "no fixed lines are kept", "say where: `phrases = \"phrases\"`");
    }
    table.finish();
    let phrases = directory.map(|directory| Phrases { directory, octets: megabytes.unwrap_or(PHRASES_MB) << 20 });
    (ca_file, phrases)
}

/// Reads every `[[provider]]`.
pub(super) fn read(tables: Vec<Table<'_, '_>>, secrets: &Secrets<'_>) -> Vec<ProviderSpec> {
    let mut names: Vec<String> = Vec::new();
    let mut specs = Vec::new();
    for table in tables {
        let Some(spec) = provider(table, secrets, &names) else { continue };
        names.push(spec.name.clone());
        specs.push(spec);
    }
    specs
}

fn provider(table: Table<'_, '_>, secrets: &Secrets<'_>, taken: &[String]) -> Option<ProviderSpec> {
    let name = table.required("name", "\"deepgram\"");
    let vendor = table.text("vendor");
    let key = secrets.optional(&table, &PROVIDER_KEY);
    let danger = table.switch("danger_allow_plaintext");
    let url = url(&table, danger);
    let concurrency = table.integer("concurrency", 1..=CONCURRENCY_MAX).and_then(|n| usize::try_from(n).ok());
    let connect_timeout = table.duration("connect_timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let first_timeout = table.duration("first_timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let stall_timeout = table.duration("stall_timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let mut stages = BTreeMap::new();
    for stage in StageKind::ALL {
        if let Some(own) = table.table(stage.name(), stage.name()) {
            stages.insert(stage, of_stage(own, danger));
        }
    }
    let name = name.filter(|name| {
        if taken.contains(&name.value) {
            let message = format!("there is a [[provider]] named `{}` already", name.value);
            table.error(name.span.clone(), message, "give each a name of its own");
        } else if name.value == LOCAL {
            let message = "`local` is the name of the offline engines";
            table.error(name.span.clone(), message, "give this provider another name");
        } else {
            return true;
        }
        false
    });
    let known = vendors();
    let vendor = match (&vendor, &name) {
        (Some(vendor), _) => known_vendor(&table, vendor, &known),
        (None, Some(name)) if known.contains(&name.value.as_str()) => Some(name.value.clone()),
        (None, Some(_)) => {
            table.missing("vendor", "\"deepgram\"");
            None
        }
        (None, None) => None,
    };
    if let Some(vendor) = &vendor {
        for stage in stages.keys() {
            if !serves(vendor, *stage) {
                let message = format!("{vendor} does no {}", stage.name().replace('_', " "));
                table.error(
                    table.key_span(stage.name()),
                    message,
                    "remove this table; `offhook providers` lists who does",
                );
            }
        }
    }
    table.finish();
    Some(ProviderSpec {
        name: name?.value,
        vendor: vendor?,
        key: key?,
        url,
        concurrency,
        connect_timeout,
        first_timeout,
        stall_timeout,
        stages,
    })
}

fn of_stage(table: Table<'_, '_>, danger: bool) -> StageSpec {
    let spec = StageSpec {
        url: url(&table, danger),
        model: table.text("model").map(|model| model.value),
        voice: table.text("voice").map(|voice| voice.value),
        language: table.text("language").map(|language| language.value),
        options: table.table("options", "options").map(options).unwrap_or_default(),
    };
    table.finish();
    spec
}

/// The vendor's own parameters: text, whole and other numbers, truth values, lists of these.
fn options(table: Table<'_, '_>) -> BTreeMap<String, serde_json::Value> {
    let mut options = BTreeMap::new();
    for (name, value) in table.entries() {
        match json(value.get_ref()) {
            Some(value) => {
                options.insert(name.value, value);
            }
            None => table.error(
                name.span,
                format!("`{}` is neither text, a number, true or false, nor a list of these", name.value),
                "write it as the vendor's documentation does",
            ),
        }
    }
    options
}

fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Into::into),
        DeValue::Boolean(truth) => Some((*truth).into()),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>().map(Into::into)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn url(table: &Table<'_, '_>, danger: bool) -> Option<String> {
    let url = table.text("url")?;
    let rest = |schemes: [&str; 2]| schemes.iter().find_map(|scheme| url.value.strip_prefix(scheme));
    if rest(["https://", "wss://"]).is_some() {
        return Some(url.value);
    }
    let Some(clear) = rest(["http://", "ws://"]) else {
        table.error(url.span, format!("`{}` is no URL of a server", url.value), "write \"https://…\" or \"wss://…\"");
        return None;
    };
    let authority = clear.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_here && !danger {
        let message = format!("`{}` would send what callers say, and the key, without encryption", url.value);
        let fix = "write https:// or wss://; in a network of your own, `danger_allow_plaintext = true`";
        table.error(url.span, message, fix);
        return None;
    }
    Some(url.value)
}

fn vendors() -> Vec<&'static str> {
    let stt = catalogue::STT.iter().map(|offer| offer.vendor);
    let llm = catalogue::LLM.iter().map(|offer| offer.vendor);
    let tts = catalogue::TTS.iter().map(|offer| offer.vendor);
    let realtime = catalogue::REALTIME.iter().map(|offer| offer.vendor);
    let mut all: Vec<_> = stt.chain(llm).chain(tts).chain(realtime).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn serves(vendor: &str, stage: StageKind) -> bool {
    match stage {
        StageKind::SpeechToText => catalogue::offer(catalogue::STT, vendor).is_some(),
        StageKind::LanguageModel => catalogue::offer(catalogue::LLM, vendor).is_some(),
        StageKind::TextToSpeech => catalogue::offer(catalogue::TTS, vendor).is_some(),
        StageKind::SpeechToSpeech => catalogue::offer(catalogue::REALTIME, vendor).is_some(),
    }
}

fn known_vendor(table: &Table<'_, '_>, vendor: &Located<String>, known: &[&str]) -> Option<String> {
    if known.contains(&vendor.value.as_str()) {
        return Some(vendor.value.clone());
    }
    let fix = match nearest(&vendor.value, known.iter().copied()) {
        Some(near) => format!("write \"{near}\""),
        None => format!("write one of: {}", known.join(", ")),
    };
    table.error(vendor.span.clone(), format!("there is no vendor `{}`", vendor.value), fix);
    None
}
