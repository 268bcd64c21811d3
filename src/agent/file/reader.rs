//! Taking values out of the tree, with a message for everything that is not as it should be.

use crate::agent::diagnostic::{Position, Report, Severity, suggestion};
use crate::agent::source::{Key, Node, Yaml};
use crate::agent::template::{FILTERS, Templates};
use regex::Regex;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

/// Collects problems while values are taken out.
#[derive(Debug)]
pub struct Reader {
    /// Where problems go.
    pub report: Report,
    /// Checks lines and expressions.
    pub templates: Templates,
    /// Names a template may use.
    pub names: BTreeSet<String>,
    /// Names that some template or expression did use.
    pub used: BTreeSet<String>,
}

/// A mapping whose keys have been checked against the known ones.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'n> {
    /// Where it starts.
    pub at: Position,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key, unless it is missing or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key)
    }

    /// All keys and values in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> {
        self.entries.iter().map(|(key, node)| (key, node))
    }
}

impl Reader {
    /// An error at a value.
    pub fn error(&mut self, node: &Node, message: impl Into<String>, help: Option<String>) {
        self.report.push(Severity::Error, node.at, node.width, message, help);
    }

    /// An error at a key.
    pub fn error_at_key(&mut self, key: &Key, message: impl Into<String>, help: Option<String>) {
        self.report.push(Severity::Error, key.at, key.name.chars().count(), message, help);
    }

    /// A warning.
    pub fn warn(&mut self, at: Position, width: usize, message: impl Into<String>, help: Option<String>) {
        self.report.push(Severity::Warning, at, width, message, help);
    }

    /// Notes a default that was applied.
    pub fn default(&mut self, text: impl Into<String>) {
        self.report.defaults.push(text.into());
    }

    /// A mapping with any keys.
    pub fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        match &node.value {
            Yaml::Map(entries) => Some(Fields { at: node.at, entries }),
            _ => {
                let message = format!("{what} must be a mapping (`key: value` lines), not {}", node.description());
                self.error(node, message, None);
                None
            }
        }
    }

    /// A mapping with only these keys; others are errors.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let fields = self.mapping(node, what)?;
        for (key, _) in fields.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let help = if key.name.contains(' ') {
                Some("if this is text with a comma inside `{…}`, put the whole text in quotes".to_owned())
            } else {
                suggestion(&key.name, known.iter().copied())
            };
            self.error_at_key(key, format!("unknown key `{}` in {what}", key.name), help);
        }
        Some(fields)
    }

    /// A required key.
    pub fn require<'n>(&mut self, fields: &Fields<'n>, name: &str, what: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            let at = fields.key(name).map_or(fields.at, |key| key.at);
            self.report.push(Severity::Error, at, 1, format!("{what} needs `{name}`"), None);
        }
        node
    }

    /// Text.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        match node.scalar() {
            Some(text) if !node.is_null() => Some(text.to_owned()),
            _ => {
                self.error(node, format!("text is needed here, not {}", node.description()), None);
                None
            }
        }
    }

    /// A name: letters, digits, `_` and `-`.
    pub fn check_name(&mut self, key: &Key, what: &str) {
        let name = &key.name;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            let help = Some("use letters, digits, `_` and `-`".to_owned());
            self.error_at_key(key, format!("`{name}` cannot name {what}"), help);
        }
    }

    /// A text or a list of texts.
    pub fn texts(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            Yaml::List(items) => {
                if items.is_empty() {
                    self.error(node, "this list is empty", None);
                }
                items.iter().filter_map(|item| self.text(item)).collect()
            }
            _ => self.text(node).into_iter().collect(),
        }
    }

    /// Wordings of a spoken line: one or several templates.
    pub fn lines(&mut self, node: &Node, also: &[&str]) -> Vec<String> {
        let items: Vec<&Node> = match &node.value {
            Yaml::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        for item in &items {
            if let Some(source) = item.scalar() {
                if source.trim().is_empty() {
                    self.error(item, "nothing to say", Some("write the words, or leave the key out".into()));
                }
                self.check_template(item, source, also, false);
            }
        }
        self.texts(node)
    }

    /// An expression over variables.
    pub fn expression(&mut self, node: &Node, also: &[&str]) -> Option<String> {
        let source = self.text(node)?;
        self.check_template(node, &source, also, true);
        Some(source)
    }

    /// Checks syntax, variables and filters of a template or an expression.
    fn check_template(&mut self, node: &Node, source: &str, also: &[&str], expression: bool) {
        let checked =
            if expression { self.templates.check_expression(source) } else { self.templates.check_line(source) };
        let names = match checked {
            Ok(names) => names,
            Err(error) => {
                let what = if expression { "condition" } else { "template" };
                let help = (!expression)
                    .then(|| "`{{ name }}` inserts a variable, `{{ day | date }}` speaks a day".to_owned());
                self.error(node, format!("this {what} cannot be read: {}", error.message), help);
                return;
            }
        };
        for path in names {
            let name = path.split('.').next().unwrap_or_default().to_owned();
            let own: BTreeSet<&str> = also.iter().copied().chain(BUILT_IN.iter().copied()).collect();
            let known = own.contains(name.as_str()) || self.names.contains(&name);
            self.used.insert(name.clone());
            if path.starts_with("settings.") {
                self.used.insert(path.clone());
            }
            if !known {
                let at = self.place_in(node, &name);
                let candidates: Vec<&str> = self.names.iter().map(String::as_str).chain(own).collect();
                let help = suggestion(&name, candidates.iter().copied())
                    .or_else(|| Some("declare it under `variables:`".to_owned()));
                let width = name.chars().count();
                self.report.push(Severity::Error, at, width, format!("unknown variable `{name}`"), help);
            } else if let Some(setting) = path.strip_prefix("settings.")
                && !self.names.contains(&path)
            {
                let at = self.place_in(node, setting);
                let settings: Vec<String> =
                    self.names.iter().filter_map(|n| n.strip_prefix("settings.").map(str::to_owned)).collect();
                let help = suggestion(setting, settings.iter().map(String::as_str));
                let width = setting.chars().count();
                self.report.push(Severity::Error, at, width, format!("unknown setting `{setting}`"), help);
            }
        }
        let pieces: Vec<&str> =
            if expression { vec![source] } else { CODE.find_iter(source).map(|m| m.as_str()).collect() };
        for piece in pieces {
            for filter in FILTER.captures_iter(piece).filter_map(|c| c.get(1)) {
                let name = filter.as_str();
                if !FILTERS.iter().any(|(known, _)| *known == name) {
                    let at = self.place_in(node, name);
                    let help = suggestion(name, FILTERS.iter().map(|(known, _)| *known));
                    self.report.push(
                        Severity::Error,
                        at,
                        name.chars().count(),
                        format!("unknown filter `{name}`"),
                        help,
                    );
                }
            }
        }
    }

    /// Where a word of a scalar stands in the file: the first occurrence of it from the scalar's start on.
    fn place_in(&self, node: &Node, word: &str) -> Position {
        let mut column = node.at.column - 1;
        for (index, line) in self.report.source.lines().enumerate().skip(node.at.line - 1).take(40) {
            let characters: Vec<char> = line.chars().collect();
            let wanted: Vec<char> = word.chars().collect();
            let boundary = |c: Option<&char>| c.is_none_or(|c| !c.is_alphanumeric() && *c != '_');
            let found = (column..characters.len()).find(|start| {
                characters.get(*start..*start + wanted.len()) == Some(wanted.as_slice())
                    && boundary(start.checked_sub(1).and_then(|before| characters.get(before)))
                    && boundary(characters.get(*start + wanted.len()))
            });
            if let Some(start) = found {
                return Position { line: index + 1, column: start + 1 };
            }
            column = 0;
        }
        node.at
    }

    /// `true` or `false`.
    pub fn truth(&mut self, node: &Node) -> Option<bool> {
        match node.scalar() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                self.error(node, "`true` or `false` is needed here", None);
                None
            }
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, node: &Node, least: f64, most: f64) -> Option<f64> {
        let value =
            node.scalar().and_then(|text| text.parse::<f64>().ok()).filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.error(node, format!("a number from {least} to {most} is needed here"), None);
        }
        value
    }

    /// A length of time: `6s`, `500ms`, `2 min`; a bare number counts seconds.
    pub fn duration(&mut self, node: &Node, least: Duration, most: Duration) -> Option<Duration> {
        let parsed = node.scalar().and_then(parse_duration).filter(|d| (least..=most).contains(d));
        if parsed.is_none() {
            let help = Some(format!("such as `6s` or `500ms`, from {least:?} to {most:?}"));
            self.error(node, "this is not a length of time that is allowed here", help);
        }
        parsed
    }

    /// One of a closed list of words.
    pub fn one_of<T: Copy>(&mut self, node: &Node, what: &str, known: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(node)?;
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let help = suggestion(&text, names.iter().copied());
            self.error(node, format!("`{text}` is not {what}"), help);
        }
        found
    }

    /// The name of something declared elsewhere, as its index.
    pub fn reference(&mut self, node: &Node, what: &str, known: &[String]) -> Option<usize> {
        let name = self.text(node)?;
        let found = known.iter().position(|k| *k == name);
        if found.is_none() {
            let help = suggestion(&name, known.iter().map(String::as_str))
                .or_else(|| Some(format!("the file declares no {what} at all")));
            self.error(node, format!("there is no {what} `{name}`"), help);
        }
        found
    }
}

/// Names every template knows beside the variables.
pub const BUILT_IN: &[&str] = &["settings", "call", "today", "greeting", "now", "range"];

static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\{[{%].*?[%}]\}"));
static FILTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\|\s*([A-Za-z_][A-Za-z0-9_]*)"));

/// A pattern written in this file.
fn pattern(source: &str) -> Regex {
    #[expect(clippy::unwrap_used, reason = "the pattern is a constant that a test compiles")]
    Regex::new(source).unwrap()
}

/// Reads `6s`, `500ms`, `1.5 s`, `2 min`, `6`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "" | "s" | "sec" | "seconds" | "second" => number,
        "ms" => number / 1000.0,
        "m" | "min" | "minutes" | "minute" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
