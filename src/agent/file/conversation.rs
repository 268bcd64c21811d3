//! `intents:`, `phrases:`, `understanding:`, `retries:` and the agent's own `on:`.

use super::reader::{Fields, Reader};
use super::{Names, Phrases};
use crate::agent::diagnostic::suggestion;
use crate::agent::flow::{Failure, Handler, Question, Then};
use crate::agent::intent::{Intent, Thresholds};
use crate::agent::limits::QUESTION_RETRIES;
use crate::agent::source::{Node, Yaml};
use regex::RegexBuilder;
use std::time::Duration;

/// Largest compiled size of one `patterns` entry in bytes: a file must not make every utterance slow.
const PATTERN_BYTES: usize = 1 << 20;

pub(super) fn read_intents(reader: &mut Reader, fields: &Fields<'_>, names: &Names) -> Vec<Intent> {
    let Some(entries) = fields.get("intents").and_then(|node| reader.mapping(node, "`intents`")) else {
        return Vec::new();
    };
    entries
        .iter()
        .map(|(key, node)| {
            let mut intent = Intent {
                id: key.name.clone(),
                label: key.name.replace(['_', '-'], " "),
                keywords: Vec::new(),
                patterns: Vec::new(),
                examples: Vec::new(),
                answer: None,
                next: None,
            };
            let known = ["label", "keywords", "patterns", "examples", "answer", "next"];
            let Some(fields) = reader.fields(node, &format!("intent `{}`", key.name), &known) else { return intent };
            if let Some(label) = fields.get("label").and_then(|node| reader.text(node)) {
                intent.label = label;
            }
            intent.keywords = fields.get("keywords").map(|node| reader.texts(node)).unwrap_or_default();
            for keyword in &mut intent.keywords {
                // Compared word by word with what was said.
                let words = crate::agent::slot::Words::new(keyword);
                let joined = words.iter().map(|w| w.text.clone()).collect::<Vec<_>>().join(" ");
                *keyword = joined;
            }
            if let Some(node) = fields.get("patterns") {
                for text in reader.texts(node) {
                    match RegexBuilder::new(&text).size_limit(PATTERN_BYTES).build() {
                        Ok(pattern) => intent.patterns.push(pattern),
                        Err(error) => {
                            let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                            reader.error(node, format!("`{text}` is no regular expression: {reason}"), None);
                        }
                    }
                }
            }
            intent.examples = fields.get("examples").map(|node| reader.texts(node)).unwrap_or_default();
            intent.answer = fields.get("answer").map(|node| reader.lines(node, &[]));
            intent.next = fields.get("next").and_then(|node| reader.reference(node, "node", &names.nodes));
            if intent.answer.is_some()
                && let Some(next) = fields.key("next").filter(|_| fields.get("next").is_some())
            {
                let help = Some("an intent is answered in place, or it leads somewhere".to_owned());
                reader.error_at_key(next, "`answer` and `next` exclude each other", help);
            }
            if intent.keywords.is_empty() && intent.patterns.is_empty() && intent.examples.is_empty() {
                let help = Some("give `keywords:`, `patterns:` or `examples:`".to_owned());
                reader.error_at_key(key, format!("intent `{}` can never be recognised", key.name), help);
            }
            intent
        })
        .collect()
}

pub(super) fn read_phrases(reader: &mut Reader, fields: &Fields<'_>) -> Phrases {
    let mut phrases = Phrases::default();
    let known = ["busy", "corrected", "did_you_mean", "read_back", "sure", "telephone", "wait", "which"];
    let Some(given) = fields.get("phrases").and_then(|node| reader.fields(node, "`phrases`", &known)) else {
        reader.default(format!("phrases: the standard sentences ({})", known.join(", ")));
        return phrases;
    };
    for (name, phrase) in [
        ("busy", &mut phrases.busy),
        ("corrected", &mut phrases.corrected),
        ("did_you_mean", &mut phrases.did_you_mean),
        ("read_back", &mut phrases.read_back),
        ("sure", &mut phrases.sure),
        ("telephone", &mut phrases.telephone),
        ("wait", &mut phrases.wait),
        ("which", &mut phrases.which),
    ] {
        let line = given.get(name).map(|node| reader.lines(node, &["heard", "label"]));
        if let Some(line) = line.and_then(|lines| lines.into_iter().next()) {
            *phrase = line;
        }
    }
    phrases
}

pub(super) fn read_understanding(reader: &mut Reader, fields: &Fields<'_>) -> (Thresholds, f32, f32) {
    let mut thresholds = Thresholds::default();
    let (mut low, mut confirm) = (0.35_f32, 0.6_f32);
    let known = ["accept", "suggest", "margin", "low_confidence", "confirm_below"];
    if let Some(given) = fields.get("understanding").and_then(|node| reader.fields(node, "`understanding`", &known)) {
        for (name, value) in [
            ("accept", &mut thresholds.accept),
            ("suggest", &mut thresholds.suggest),
            ("margin", &mut thresholds.margin),
            ("low_confidence", &mut low),
            ("confirm_below", &mut confirm),
        ] {
            if let Some(number) = given.get(name).and_then(|node| reader.number(node, 0.0, 1.0)) {
                *value = number as f32;
            }
        }
        if let Some(node) = given.get("suggest").filter(|_| thresholds.suggest > thresholds.accept) {
            reader.error(node, format!("`suggest` is above `accept` ({})", thresholds.accept), None);
        }
    } else {
        reader.default(format!(
            "understanding: accept {} · suggest {} · margin {} · low_confidence {low} · confirm_below {confirm}",
            thresholds.accept, thresholds.suggest, thresholds.margin
        ));
    }
    (thresholds, low, confirm)
}

/// What a question uses when it says nothing itself.
pub(super) fn read_retries(reader: &mut Reader, fields: &Fields<'_>) -> Question {
    let retries = fields.get("retries").and_then(|node| reader.number(node, 1.0, f64::from(QUESTION_RETRIES)));
    let wait = fields.get("no_input_after").and_then(|node| read_no_input(reader, node));
    if fields.get("retries").is_none() {
        reader.default("retries: 3");
    }
    if fields.get("no_input_after").is_none() {
        reader.default("no_input_after: 7s");
    }
    Question { wordings: Vec::new(), retries: retries.unwrap_or(3.0) as u32, no_input_ms: wait.unwrap_or(7_000) }
}

/// `no_input_after:` in milliseconds.
pub(super) fn read_no_input(reader: &mut Reader, node: &Node) -> Option<u64> {
    let wait = reader.duration(node, Duration::from_secs(1), Duration::from_secs(120))?;
    u64::try_from(wait.as_millis()).ok()
}

/// The agent's responses: those given, and a default for each that is not.
pub(super) fn read_agent_handlers(reader: &mut Reader, fields: &Fields<'_>, names: &Names) -> Vec<(Failure, Handler)> {
    let node = fields.get("on");
    let mut handlers = node.map(|node| read_handlers(reader, node, names, true)).unwrap_or_default();
    let only_destination = (names.destinations.len() == 1).then_some(0);
    for (name, failure) in Failure::NAMES {
        if handlers.iter().any(|(known, _)| *known == failure) {
            continue;
        }
        if failure == Failure::WantsHuman && names.destinations.len() > 1 {
            let at = fields.key("on").map_or(fields.at, |key| key.at);
            let help = Some(format!("`on: {{wants_human: {{transfer: {}}}}}`", names.destinations[0]));
            let message = "there are several destinations: say where a caller who wants a human goes";
            reader.report.push(crate::agent::diagnostic::Severity::Error, at, 2, message, help);
        }
        let handler = standard(failure, only_destination);
        let way = match &handler.then {
            Then::AskAgain => "ask again".to_owned(),
            Then::Hangup(reason) => format!("hang up ({reason})"),
            Then::Transfer(index) => format!("transfer to {}", names.destinations[*index]),
            Then::Go(index) => format!("go to {}", names.nodes[*index]),
        };
        reader.default(format!("on.{name}: say \"{}\", then {way}", handler.say.join("\" / \"")));
        handlers.push((failure, handler));
    }
    handlers
}

/// The response when neither the node nor the agent gives one.
fn standard(failure: Failure, destination: Option<usize>) -> Handler {
    let (say, then): (&[&str], Then) = match failure {
        Failure::CallerSilent => (
            &["I can't hear anything, so I'll end the call here. Please call again any time. Goodbye."],
            Then::Hangup("caller_silent".into()),
        ),
        Failure::Goodbye => (&["Thank you for calling. Goodbye."], Then::Hangup("caller_said_goodbye".into())),
        Failure::LowConfidence => {
            (&["I'm sorry, I couldn't hear you well.", "The line is a little unclear, I'm sorry."], Then::AskAgain)
        }
        Failure::ModelRefused => {
            (&["I'm afraid I can't talk about that.", "I'm sorry, I have to leave that aside."], Then::AskAgain)
        }
        Failure::NoInput => (&["Are you still there?", "I didn't hear anything."], Then::AskAgain),
        Failure::NoMatch => (&["Sorry, I didn't get that.", "I'm sorry, I still didn't understand."], Then::AskAgain),
        Failure::OutOfScope => {
            (&["I'm afraid I can't help with that.", "I'm sorry, that's not something I can do."], Then::AskAgain)
        }
        Failure::ProviderDown => match destination {
            Some(index) => (&["I'm sorry, I have a technical problem. I'll put you through."], Then::Transfer(index)),
            None => (
                &["I'm sorry, we have a technical problem. Please call again in a few minutes."],
                Then::Hangup("provider_down".into()),
            ),
        },
        Failure::RetriesUsedUp => match destination {
            Some(index) => (
                &["I'm sorry, I'm having trouble understanding. I'll put you through to someone."],
                Then::Transfer(index),
            ),
            None => (
                &["I'm sorry, I'm having trouble understanding. Please call again later. Goodbye."],
                Then::Hangup("retries_used_up".into()),
            ),
        },
        Failure::TransferFailed => (
            &["I'm sorry, nobody is answering there at the moment. Please call again later. Goodbye."],
            Then::Hangup("transfer_failed".into()),
        ),
        Failure::WantsHuman => match destination {
            Some(index) => (&["Of course, I'll put you through."], Then::Transfer(index)),
            None => (&["I'm sorry, there is nobody I can put you through to."], Then::AskAgain),
        },
    };
    Handler { say: say.iter().map(|line| (*line).to_owned()).collect(), then }
}

/// `on:` of an agent or a node.
pub(super) fn read_handlers(
    reader: &mut Reader,
    node: &Node,
    names: &Names,
    whole_agent: bool,
) -> Vec<(Failure, Handler)> {
    let Some(entries) = reader.mapping(node, "`on`") else { return Vec::new() };
    let mut handlers = Vec::new();
    for (key, node) in entries.iter() {
        let Some((_, failure)) = Failure::NAMES.iter().find(|(name, _)| *name == key.name) else {
            let help = suggestion(&key.name, Failure::NAMES.iter().map(|(name, _)| *name));
            reader.error_at_key(key, format!("there is no failure `{}`", key.name), help);
            continue;
        };
        let handler = if node.is_null() {
            let help = Some("say something, or give `next`, `transfer` or `hangup`".to_owned());
            reader.error_at_key(key, format!("`{}` has no response", key.name), help);
            None
        } else {
            read_handler(reader, node, names, &[])
        };
        let Some(handler) = handler else { continue };
        if handler.then == Then::AskAgain && !failure.may_ask_again() {
            let help = Some("give `next`, `transfer` or `hangup`".to_owned());
            reader.error_at_key(
                key,
                format!("`{}` leads nowhere: asking again is what has just failed", key.name),
                help,
            );
        }
        if let (Failure::ProviderDown, Then::Go(_), true) = (failure, &handler.then, whole_agent) {
            let help = Some("use `transfer` or `hangup`".to_owned());
            reader.error_at_key(key, "without its provider the agent cannot go on to another node", help);
        }
        handlers.push((*failure, handler));
    }
    handlers
}

/// One response: a node's name, or words with a way on.
pub(super) fn read_handler(reader: &mut Reader, node: &Node, names: &Names, also: &[&str]) -> Option<Handler> {
    if !matches!(node.value, Yaml::Map(_)) {
        let target = reader.reference(node, "node", &names.nodes)?;
        return Some(Handler { say: Vec::new(), then: Then::Go(target) });
    }
    let known: Vec<&str> = ["say", "next", "transfer", "hangup"].iter().chain(also).copied().collect();
    let fields = reader.fields(node, "a response", &known)?;
    let say = fields.get("say").map(|node| reader.lines(node, &["reason", "heard"])).unwrap_or_default();
    let ways: Vec<&str> = ["next", "transfer", "hangup"].into_iter().filter(|key| fields.get(key).is_some()).collect();
    if let [_, second, ..] = ways.as_slice()
        && let Some(key) = fields.key(second)
    {
        reader.error_at_key(key, format!("`{}` and `{second}` exclude each other", ways[0]), None);
    }
    let then = if let Some(node) = fields.get("next") {
        Then::Go(reader.reference(node, "node", &names.nodes)?)
    } else if let Some(node) = fields.get("transfer") {
        Then::Transfer(reader.reference(node, "destination", &names.destinations)?)
    } else if let Some(node) = fields.get("hangup") {
        Then::Hangup(reader.text(node)?)
    } else {
        if say.is_empty() {
            reader.error(node, "this response neither says anything nor leads anywhere", None);
        }
        Then::AskAgain
    };
    Some(Handler { say, then })
}
