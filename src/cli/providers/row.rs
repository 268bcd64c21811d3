//! One line of the table.

use super::outcome_json;
use super::probe::{self, Outcome};
use crate::cli::speech_check::sunset_words;
use crate::cli::terminal::Ink;
use crate::providers::format::{AudioFormat, Encoding};
use crate::providers::listing::{KeyState, Listing};
use crate::providers::reach::Unreachable;
use crate::providers::registry::Probed;
use crate::providers::tts::Voice;
use crate::providers::{ProviderError, SettingsError};
use serde_json::{Value, json};
use std::time::Duration;

/// A provider at a stage, with what was found out about it.
pub(super) struct Row {
    pub listing: Listing,
    pub is_used: bool,
    /// What it can do, as far as it can be set up.
    pub can: Vec<String>,
    /// Why it cannot be set up.
    pub problem: Option<String>,
    pub reach: Option<Result<Duration, Unreachable>>,
    pub outcome: Option<Result<Outcome, ProviderError>>,
    pub voices: Option<Result<Vec<Voice>, String>>,
}

impl Row {
    pub(super) fn new(listing: Listing, is_used: bool, made: Option<&Result<Probed, SettingsError>>) -> Self {
        let can = match made {
            Some(Ok(made)) => capabilities(made),
            _ => Vec::new(),
        };
        let problem = made.and_then(|made| made.as_ref().err()).map(ToString::to_string);
        Self { listing, is_used, can, problem, reach: None, outcome: None, voices: None }
    }

    /// Whether something that was asked of it failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.reach, Some(Err(_)))
            || matches!(self.outcome, Some(Err(_)))
            || matches!(self.voices, Some(Err(_)))
    }

    pub(super) fn to_json(&self) -> Value {
        let Listing { name, vendor, title, stage, model, voice, url, key, sunset } = &self.listing;
        let mut entry = json!({
            "stage": stage.name(),
            "name": name,
            "vendor": vendor,
            "title": title,
            "model": model,
            "voice": voice,
            "url": url,
            "in_use": self.is_used,
            "key": key_word(*key),
            "can": self.can,
            "problem": self.problem,
        });
        if let Some(sunset) = sunset {
            entry["withdrawn_after"] = json!(sunset.on.to_string());
            entry["instead"] = json!(sunset.instead);
        }
        match &self.reach {
            Some(Ok(took)) => entry["connect_ms"] = json!((took.as_secs_f64() * 1e4).round() / 10.0),
            Some(Err(reason)) => {
                let says =
                    json!({ "ok": false, "kind": "unreachable", "reason": reason.to_string(), "fix": reason.fix() });
                entry["probe"] = says;
            }
            None => {}
        }
        if let Some(outcome) = &self.outcome {
            entry["probe"] = outcome_json(outcome);
        }
        match &self.voices {
            Some(Ok(voices)) => {
                let voice = |v: &Voice| json!({ "id": v.id, "name": v.name, "languages": v.languages });
                entry["voices"] = voices.iter().map(voice).collect();
            }
            Some(Err(reason)) => entry["voices_error"] = json!(reason),
            None => {}
        }
        entry
    }

    pub(super) fn cells(&self, is_probed: bool) -> Vec<String> {
        let or_dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        let ms = |duration: Duration| format!("{:.0} ms", duration.as_secs_f64() * 1e3);
        let mut cells = vec![
            self.listing.name.clone(),
            self.listing.vendor.clone(),
            or_dash(&self.listing.model),
            or_dash(&self.listing.voice),
            key_word(self.listing.key),
            if self.is_used { "yes".to_owned() } else { "no".to_owned() },
            or_dash(&self.can.join(", ")),
        ];
        if is_probed {
            cells.push(match &self.reach {
                Some(Ok(took)) => ms(*took),
                Some(Err(_)) => "failed".to_owned(),
                None => "–".to_owned(),
            });
            match &self.outcome {
                Some(Ok(outcome)) => {
                    cells.extend([ms(outcome.first), ms(outcome.whole), outcome.costs.to_owned()]);
                }
                Some(Err(_)) => cells.extend(["failed", "–", "–"].map(str::to_owned)),
                None => cells.extend(["–", "–", "–"].map(str::to_owned)),
            }
        }
        cells
    }

    /// What does not fit into a table.
    pub(super) fn notes(&self) -> Vec<(Ink, String)> {
        let mut notes = Vec::new();
        let name = &self.listing.name;
        // A vendor of the catalogue without a key is not a mistake.
        if let Some(problem) = self.problem.as_ref().filter(|_| self.is_used) {
            notes.push((Ink::Bad, problem.clone()));
        }
        if let Some(sunset) = self.listing.sunset {
            notes.push((Ink::Warning, format!("{name}: {}", sunset_words(&self.listing.model, sunset))));
        }
        if let Some(Err(reason)) = &self.reach {
            notes.push((Ink::Bad, format!("{name}: {reason}; {}", reason.fix())));
        }
        if let Some(Err(error)) = &self.outcome {
            notes.push((Ink::Bad, format!("{error}; {}", probe::fix(error))));
        }
        match &self.voices {
            Some(Ok(voices)) => notes.extend(voices.iter().map(|voice| {
                let languages = voice.languages.join(", ");
                (Ink::Faint, format!("{name} voice {}: {} {languages}", voice.id, voice.name).trim_end().to_owned())
            })),
            Some(Err(reason)) => notes.push((Ink::Bad, format!("{name}: the voices: {reason}"))),
            None => {}
        }
        notes
    }
}

/// Where a key was found or looked for.
pub(super) fn key_word(key: KeyState) -> String {
    match key {
        KeyState::Configured => "configured".to_owned(),
        KeyState::Environment(variable) => format!("from {variable}"),
        KeyState::Missing(variable) => format!("none: {variable} is not set"),
        KeyState::NotNeeded => "not needed".to_owned(),
    }
}

/// What a provider can do, in a few words each.
pub(super) fn capabilities(made: &Probed) -> Vec<String> {
    let mut can: Vec<String> = Vec::new();
    let mut say = |yes: bool, words: &str| {
        if yes {
            can.push(words.to_owned());
        }
    };
    match made {
        Probed::Stt(member) => {
            let has = member.provider.capabilities();
            say(true, &formats(&has.formats));
            say(has.partials, "partials");
            say(has.end_of_turn, "own end of turn");
            say(has.timestamps, "timestamps");
            say(has.detects_language, "detects language");
        }
        Probed::Llm(member) => {
            let has = member.provider.capabilities();
            say(has.tools, "tools");
            say(has.prompt_cache, "prompt cache");
        }
        Probed::Tts(member) => {
            let has = member.provider.capabilities();
            say(true, &formats(&has.formats));
            say(has.word_timestamps, "word timestamps");
            say(has.cancel, "cancel");
        }
        Probed::Realtime(member) => {
            let has = member.provider.capabilities();
            say(true, &formats(&has.formats));
            say(has.local_turns, "our turn-taking");
            say(has.tools, "tools");
            say(has.truncate, "truncate");
            say(has.update, "update");
        }
    }
    can
}

fn formats(all: &[AudioFormat]) -> String {
    let word = |format: &AudioFormat| match format.encoding {
        Encoding::Mulaw => format!("µ-law {}", kilohertz(format.rate.0)),
        Encoding::Alaw => format!("A-law {}", kilohertz(format.rate.0)),
        Encoding::Pcm16 => format!("PCM {}", kilohertz(format.rate.0)),
    };
    all.iter().map(word).collect::<Vec<_>>().join("/")
}

fn kilohertz(hertz: u32) -> String {
    format!("{} kHz", f64::from(hertz) / 1000.0)
}
