//! `speech_to_text:`, `language_model:`, `text_to_speech:` and `speech_to_speech:`, who listens, thinks and speaks.

use super::reader::{Fields, Reader};
use crate::agent::limits::{ANSWER_TOKENS, PROVIDERS};
use crate::agent::source::{Node, Yaml};
use crate::agent::speech::{LOCAL, LanguageModel, SpeechChoice, SpeechToSpeech, TextToSpeech, Turns};

/// Longest name of a provider, in characters.
const NAME_CHARS: usize = 64;

pub(super) fn read_speech(reader: &mut Reader, root: &Fields<'_>) -> SpeechChoice {
    let mut choice = SpeechChoice::default();
    match root.get("speech_to_text") {
        None => reader.default(format!("speech_to_text: {LOCAL}")),
        Some(node) => {
            let (providers, fields) = read_stage(reader, node, "speech_to_text", &["language", "languages"]);
            choice.stt.providers = providers;
            choice.stt.language = field(fields, "language").and_then(|node| language(reader, node));
            if let Some(entries) = field(fields, "languages").and_then(|node| reader.mapping(node, "`languages`")) {
                for (key, node) in entries.iter() {
                    if !is_language(&key.name) {
                        reader.error_at_key(key, format!("`{}` is no language", key.name), Some(LANGUAGE.into()));
                    }
                    choice.stt.languages.insert(key.name.clone(), names(reader, node));
                }
            }
        }
    }
    if let Some(node) = root.get("language_model") {
        let (providers, fields) = read_stage(reader, node, "language_model", &["temperature", "max_tokens"]);
        let temperature = field(fields, "temperature").and_then(|node| reader.number(node, 0.0, 2.0));
        let max_tokens =
            field(fields, "max_tokens").and_then(|node| reader.number(node, 1.0, f64::from(ANSWER_TOKENS)));
        choice.llm = Some(LanguageModel {
            providers,
            temperature: temperature.map(|value| value as f32),
            max_tokens: max_tokens.map(|value| value as u32),
        });
    }
    match root.get("text_to_speech") {
        None => reader.default(format!("text_to_speech: {LOCAL}")),
        Some(node) => {
            let (providers, fields) = read_stage(reader, node, "text_to_speech", &["voice", "speed"]);
            let speed = field(fields, "speed").and_then(|node| reader.number(node, 0.5, 2.0));
            choice.tts = TextToSpeech {
                providers,
                voice: field(fields, "voice").and_then(|node| reader.text(node)),
                speed: speed.map(|value| value as f32),
            };
        }
    }
    if let Some(node) = root.get("speech_to_speech") {
        let (providers, fields) = read_stage(reader, node, "speech_to_speech", &["voice", "turns"]);
        let turns = field(fields, "turns").and_then(|node| reader.one_of(node, "who takes turns", &Turns::NAMES));
        choice.realtime = Some(SpeechToSpeech {
            providers,
            voice: field(fields, "voice").and_then(|node| reader.text(node)),
            turns: turns.unwrap_or_default(),
        });
    }
    choice
}

fn field<'n>(fields: Option<Fields<'n>>, name: &str) -> Option<&'n Node> {
    fields.and_then(|fields| fields.get(name))
}

/// A name, a list of names, or a mapping with `use` and the stage's own keys.
fn read_stage<'n>(reader: &mut Reader, node: &'n Node, stage: &str, own: &[&str]) -> (Vec<String>, Option<Fields<'n>>) {
    if !matches!(node.value, Yaml::Map(_)) {
        return (names(reader, node), None);
    }
    let known: Vec<&str> = std::iter::once("use").chain(own.iter().copied()).collect();
    let what = format!("`{stage}`");
    let Some(fields) = reader.fields(node, &what, &known) else { return (Vec::new(), None) };
    let providers = reader.require(&fields, "use", &what).map(|node| names(reader, node)).unwrap_or_default();
    (providers, Some(fields))
}

/// Names of providers, as far as spelling goes.
fn names(reader: &mut Reader, node: &Node) -> Vec<String> {
    let items: Vec<&Node> = match &node.value {
        Yaml::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    if items.is_empty() || items.len() > PROVIDERS {
        reader.error(node, format!("1 to {PROVIDERS} providers are needed here"), None);
    }
    let mut names: Vec<String> = Vec::new();
    for item in items {
        let Some(name) = reader.text(item) else { continue };
        let spelled = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_CHARS || !name.chars().all(spelled) {
            let help =
                Some("the name of a provider, such as `deepgram`, or `local` for the offline engines".to_owned());
            reader.error(item, format!("`{name}` cannot name a provider"), help);
        } else if names.contains(&name) {
            let help = Some("a fallback is another provider: remove it here".to_owned());
            reader.error(item, format!("`{name}` is listed twice"), help);
        } else {
            names.push(name);
        }
    }
    names
}

const LANGUAGE: &str = "a language tag such as `en`, `en-GB` or `multi`";

fn is_language(text: &str) -> bool {
    let part = |part: &str| (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric());
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('-').all(part)
}

/// A language tag (RFC 5646 §2.1), as far as spelling goes; vendors add words of their own such as `multi`.
fn language(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if !is_language(&text) {
        reader.error(node, format!("`{text}` is no language"), Some(LANGUAGE.into()));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::file::check;
    use crate::agent::speech::SpeechToText;

    const START: &str = "agent: a\nstart: bye\nnodes: {bye: {hangup: done}}\n";

    fn speech(section: &str) -> Result<SpeechChoice, String> {
        let checked = check("a.yaml", &format!("{START}{section}"), &[]);
        let errors: Vec<_> =
            checked.report.errors().map(|d| format!("{}:{} {}", d.at.line, d.at.column, d.message)).collect();
        checked.agent.map(|agent| agent.speech).ok_or_else(|| errors.join("; "))
    }

    #[test]
    fn without_a_choice_the_offline_engines_serve_and_no_model_thinks() {
        let choice = speech("").unwrap();
        assert_eq!((choice.stt.providers, choice.tts.providers), (vec!["local".to_owned()], vec!["local".to_owned()]));
        assert!(choice.llm.is_none() && choice.realtime.is_none());
    }

    #[test]
    fn a_stage_is_a_name_a_list_or_a_mapping() {
        let choice = speech(
            "speech_to_text: {use: [deepgram, local], language: en, languages: {es: other, de: [a, b]}}\n\
             language_model: {use: openai, temperature: 0.4, max_tokens: 300}\n\
             text_to_speech: [elevenlabs, local]\n\
             speech_to_speech: {use: openai-realtime, voice: marin, turns: local}\n",
        )
        .unwrap();
        assert_eq!(choice.stt.providers, ["deepgram", "local"]);
        assert_eq!(choice.stt.language.as_deref(), Some("en"));
        assert_eq!(choice.stt.languages["de"], ["a", "b"]);
        let llm = choice.llm.clone().unwrap();
        assert_eq!((llm.providers, llm.temperature, llm.max_tokens), (vec!["openai".to_owned()], Some(0.4), Some(300)));
        assert_eq!(choice.tts.providers, ["elevenlabs", "local"]);
        let realtime = choice.realtime.clone().unwrap();
        assert_eq!((realtime.voice.as_deref(), realtime.turns), (Some("marin"), Turns::Local));
        assert_eq!(choice.named().count(), 9);
        assert_eq!(speech("speech_to_speech: x\n").unwrap().realtime.unwrap().turns, Turns::Vendor);
        let voice = speech("text_to_speech: {use: local, voice: \"id 7\", speed: 1.2}\n").unwrap().tts;
        assert_eq!((voice.voice.as_deref(), voice.speed), (Some("id 7"), Some(1.2)));
    }

    #[test]
    fn what_cannot_be_a_choice_is_refused_where_it_stands() {
        for (section, at, part) in [
            ("speech_to_text: \"deep gram\"\n", "4:17", "cannot name a provider"),
            ("speech_to_text: []\n", "4:17", "1 to"),
            ("text_to_speech: [local, local]\n", "4:25", "listed twice"),
            ("text_to_speech: {voice: x}\n", "4:17", "needs `use`"),
            ("language_model: {use: openai, temperature: 3}\n", "4:44", "a number from 0 to 2"),
            ("language_model: {use: openai, temprature: 1}\n", "4:31", "unknown key"),
            ("speech_to_speech: {use: x, turns: mine}\n", "4:35", "who takes turns"),
            ("speech_to_text: {use: x, language: \"en us\"}\n", "4:36", "no language"),
            ("speech_to_text: {use: x, languages: {\"e s\": y}}\n", "4:38", "no language"),
        ] {
            let error = speech(section).unwrap_err();
            assert!(error.starts_with(at) && error.contains(part), "{section}: {error}");
        }
    }

    #[test]
    fn the_stages_are_named_in_the_order_of_the_file_format() {
        let stt = SpeechToText { providers: vec!["a".into()], ..SpeechToText::default() };
        let choice = SpeechChoice { stt, ..SpeechChoice::default() };
        assert_eq!(choice.named().collect::<Vec<_>>(), [("speech_to_text", "a"), ("text_to_speech", "local")]);
    }
}
