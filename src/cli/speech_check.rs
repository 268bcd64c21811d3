//! The providers an agent names, held against the configuration and the catalogue. Opens no connection.

use crate::agent::Agent;
use crate::agent::diagnostic::{Diagnostic, Position, Severity, nearest};
use crate::agent::speech::{LOCAL, SpeechChoice};
use crate::providers::catalogue::{self, LOCAL_LANGUAGES, Sunset};
use crate::providers::listing::vendors;
use crate::providers::registry::{ANY_LANGUAGE, Probed, Registry};
use crate::providers::{SettingsError, StageKind};

/// A stage by its name in agent files.
pub(super) fn stage_named(name: &str) -> Option<StageKind> {
    StageKind::ALL.into_iter().find(|stage| stage.name() == name)
}

/// What the end of a model means, in words.
pub(super) fn sunset_words(model: &str, sunset: &Sunset) -> String {
    let instead = match sunset.instead {
        "" => String::new(),
        instead => format!("; its vendor names {instead} instead: set `model`"),
    };
    format!("{model} is withdrawn after {}{instead}", sunset.on)
}

/// Models that a choice uses and that their vendors will withdraw: a sentence each.
pub(super) fn sunsets(choice: &SpeechChoice, registry: &Registry) -> Vec<String> {
    let named = choice.named().filter_map(|(stage, name)| {
        let listing = registry.listing(stage_named(stage)?, name)?;
        let words = sunset_words(&listing.model, listing.sunset?);
        Some(format!("{stage}: provider {name}: {words}"))
    });
    named.collect()
}

/// A provider whose model lacks the language that it is to hear or speak.
struct Lack<'a> {
    stage: StageKind,
    name: &'a str,
    message: String,
    help: String,
}

fn lacks<'a>(agent: &'a Agent, registry: &Registry) -> Vec<Lack<'a>> {
    if agent.bridge.is_some() {
        // It hears for itself.
        return Vec::new();
    }
    let SpeechChoice { stt, tts, .. } = &agent.speech;
    let (hears, speaks) = (StageKind::SpeechToText, StageKind::TextToSpeech);
    // What a provider is set up with is judged there, where the agent names none.
    let of_provider = |stage: StageKind, name: &str| {
        let spec = registry.specs().find(|spec| spec.name == name)?;
        spec.stages.get(&stage)?.language.as_deref()
    };
    let mut wanted = Vec::new();
    for name in &stt.providers {
        let language = stt.language.as_deref().or_else(|| of_provider(hears, name)).unwrap_or(&agent.language);
        wanted.push((hears, name, language));
    }
    wanted.extend(
        stt.languages.iter().flat_map(|(tag, names)| names.iter().map(move |name| (hears, name, tag.as_str()))),
    );
    let spoken = tts.providers.iter().enumerate().filter(|(place, _)| *place > 0 || tts.voice.is_none());
    wanted.extend(spoken.map(|(_, name)| (speaks, name, agent.language.as_str())));
    let lack = |(stage, name, language): (StageKind, &'a String, &str)| {
        let known = match registry.probe(stage, name) {
            _ if name == LOCAL => LOCAL_LANGUAGES,
            Ok(Probed::Stt(member)) => member.provider.capabilities().languages,
            Ok(Probed::Tts(member)) => member.provider.capabilities().languages,
            _ => return None,
        };
        if language == ANY_LANGUAGE || catalogue::has_language(known, language) {
            return None;
        }
        let listing = registry.listing(stage, name);
        let tongue = listing.as_ref().and_then(|listing| catalogue::tongue(&listing.vendor, &listing.model));
        let help = match (tongue.map(|tongue| tongue.instead).filter(|instead| !instead.is_empty()), stage) {
            (Some(instead), _) => format!("write a [[provider]] with `model = \"{instead}\"`"),
            (None, StageKind::TextToSpeech) if name != LOCAL => format!("name a `voice` that speaks `{language}`"),
            _ => format!("name a provider that knows `{language}`"),
        };
        let message = format!("provider {name} has no `{language}`: it knows {}", known.join(", "));
        Some(Lack { stage, name, message, help })
    };
    wanted.into_iter().filter_map(lack).collect()
}

/// Languages that an agent wants of providers that do not have them: a sentence each.
pub(super) fn missing_languages(agent: &Agent, registry: &Registry) -> Vec<String> {
    let words = |lack: Lack<'_>| format!("{}: {}; {}", lack.stage.name(), lack.message, lack.help);
    lacks(agent, registry).into_iter().map(words).collect()
}

/// Names that stand for nothing, providers that cannot be set up, and models that will be withdrawn, with their places.
pub(super) fn diagnostics(agent: &Agent, source: &str, registry: &Registry) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (word, name) in agent.speech.named() {
        let Some(stage) = stage_named(word) else { continue };
        let is_offline = name == LOCAL && matches!(stage, StageKind::SpeechToText | StageKind::TextToSpeech);
        if is_offline {
            continue;
        }
        let mut add = |severity, message, help| {
            let at = place(source, word, name);
            found.push(Diagnostic { severity, at, width: name.chars().count(), message, help });
        };
        match registry.probe(stage, name) {
            Err(error) => {
                let (message, help) = words(stage, name, &error, registry);
                add(Severity::Error, message, help);
            }
            Ok(_) => {
                let listing = registry.listing(stage, name);
                if let Some((model, sunset)) = listing.and_then(|listing| Some((listing.model, listing.sunset?))) {
                    add(Severity::Warning, format!("provider {name}: {}", sunset_words(&model, sunset)), None);
                }
            }
        }
    }
    found.extend(languages(agent, source, registry));
    for Lack { stage, name, message, help } in lacks(agent, registry) {
        let (at, width) = (place(source, stage.name(), name), name.chars().count());
        found.push(Diagnostic { severity: Severity::Warning, at, width, message, help: Some(help) });
    }
    if let Some(llm) = &agent.speech.llm
        && found.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
        && let Err(error) = registry.language_model(&llm.providers, llm.temperature)
    {
        let at = place(source, StageKind::LanguageModel.name(), "temperature");
        let help = Some("remove it here".to_owned());
        found.push(Diagnostic { severity: Severity::Error, at, width: 11, message: error.to_string(), help });
    }
    found
}

/// Languages that no call would ever go over to, and those that none would come back from.
fn languages(agent: &Agent, source: &str, registry: &Registry) -> Vec<Diagnostic> {
    let choice = &agent.speech.stt;
    let stage = StageKind::SpeechToText;
    // What cannot be set up is told elsewhere.
    let detects = |name: &String| match registry.probe(stage, name) {
        Ok(Probed::Stt(member)) => member.provider.capabilities().detects_language,
        _ => name != LOCAL,
    };
    let mut found = Vec::new();
    let mut add = |severity, word: &str, message, help: &str| {
        let (at, width) = (place(source, stage.name(), word), word.chars().count());
        found.push(Diagnostic { severity, at, width, message, help: Some(help.to_owned()) });
    };
    let listed = |names: &[String]| names.join(", ");
    if !choice.languages.is_empty()
        && choice.language.as_deref() != Some(ANY_LANGUAGE)
        && !choice.providers.iter().any(detects)
    {
        let message = format!("no call ever changes its language: none of {} detects one", listed(&choice.providers));
        let help =
            "name one under `use` that detects languages; docs/providers/speech-to-text.md says what each needs for it";
        add(Severity::Error, "languages", message, help);
        return found;
    }
    for (language, names) in &choice.languages {
        if language == ANY_LANGUAGE {
            let message = format!("`{ANY_LANGUAGE}` is no language that is heard");
            add(
                Severity::Error,
                language,
                message,
                "write a tag such as `de`; `language: multi` begins with several at once",
            );
        } else if !names.iter().any(detects) {
            let message =
                format!("a call that goes over to `{language}` stays there: none of {} detects one", listed(names));
            let help = "name a provider for it that detects languages, if callers are to come back";
            add(Severity::Warning, language, message, help);
        }
    }
    found
}

fn words(stage: StageKind, name: &str, error: &SettingsError, registry: &Registry) -> (String, Option<String>) {
    if registry.listing(stage, name).is_some() {
        return (error.to_string(), None);
    }
    let mut known: Vec<&str> = registry.specs().map(|spec| spec.name.as_str()).collect();
    known.retain(|known| registry.listing(stage, known).is_some());
    known.extend(vendors(stage));
    if matches!(stage, StageKind::SpeechToText | StageKind::TextToSpeech) {
        known.push(LOCAL);
    }
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("write `{near}`"),
        None => format!("write one of: {}, or configure a [[provider]] named `{name}`", known.join(", ")),
    };
    (format!("`{name}` is no provider of {}", stage.name().replace('_', " ")), Some(help))
}

/// Where a word stands in the section of a key at the top of an agent file; the file's start when it is not found.
fn place(source: &str, section: &str, word: &str) -> Position {
    let start = Position { line: 1, column: 1 };
    let is_key = |text: &str| text.strip_prefix(section).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let mut lines = source.lines().enumerate().skip_while(|(_, text)| !is_key(text));
    let Some(first) = lines.next() else { return start };
    let rest = lines.take_while(|(_, text)| text.is_empty() || text.starts_with([' ', '-', '#']));
    for (line, text) in std::iter::once(first).chain(rest) {
        let from = if line == first.0 { section.len() } else { 0 };
        let spelled = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let hit = text.match_indices(word).find(|(at, _)| {
            let before = text.get(..*at).and_then(|t| t.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
            *at >= from && !before.is_some_and(spelled) && !after.is_some_and(spelled)
        });
        if let Some((at, _)) = hit {
            let column = text.get(..at).map_or(0, |t| t.chars().count()) + 1;
            return Position { line: line + 1, column };
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_its_own_section_as_a_whole_word() {
        let source = "agent: deepgram\ntext_to_speech: deepgram-eu\nspeech_to_text:\n  use: [deepgram-eu, deepgram]\n";
        assert_eq!(place(source, "speech_to_text", "deepgram"), Position { line: 4, column: 22 });
        assert_eq!(place(source, "text_to_speech", "deepgram-eu"), Position { line: 2, column: 17 });
        assert_eq!(place(source, "language_model", "deepgram"), Position { line: 1, column: 1 });
    }
}
