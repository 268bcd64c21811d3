//! Reads TOML tables key by key, remembers what was asked for, and collects mistakes with positions.

use super::diagnostic::{ConfigError, ConfigErrors, nearest};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with the bytes of the file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// One file being read.
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Reader<'a> {
    /// A reader of `text`, which came from `file`.
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, errors: RefCell::default() }
    }

    /// Parses the file; syntax errors are collected, and then there is nothing to read.
    pub fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(table);
        }
        for error in errors {
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            let fix = if message.starts_with("duplicate key") { "keep one of the two" } else { "see https://toml.io" };
            self.error(error.span().unwrap_or_default(), message, fix);
        }
        None
    }

    /// Notes a mistake.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        let error = ConfigError::at(self.file, self.text, span, message.into(), fix.into());
        self.errors.borrow_mut().push(error);
    }

    /// Takes over the mistakes of a file this one refers to.
    pub fn take_over(&self, errors: ConfigErrors) {
        self.errors.borrow_mut().extend(errors.0);
    }

    /// The line a span begins on, from 1.
    pub fn line(&self, span: &Range<usize>) -> usize {
        self.text[..span.start.min(self.text.len())].matches('\n').count() + 1
    }

    /// The value, unless there were mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.errors.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => {
                errors.sort_by(|a, b| {
                    (a.file != self.file, a.line, a.column).cmp(&(b.file != self.file, b.line, b.column))
                });
                Err(ConfigErrors(errors))
            }
        }
    }
}

/// One table of the file. Each method names the key it wants; [`Table::finish`] refuses the others.
pub struct Table<'r, 'a> {
    reader: &'r Reader<'a>,
    table: &'r DeTable<'a>,
    /// The table's header, for mistakes of omission.
    span: Range<usize>,
    /// The header as written, such as `[[extension]]`.
    name: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'r, 'a> Table<'r, 'a> {
    /// The table `name`, whose header (or file) is at `span`.
    pub fn new(reader: &'r Reader<'a>, table: &'r DeTable<'a>, span: Range<usize>, name: &str) -> Self {
        Self { reader, table, span, name: name.to_owned(), known: RefCell::default() }
    }

    /// Where the table's header stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where a key stands, or the table's header when it is missing.
    pub fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span(), |(key, _)| key.span())
    }

    /// Whether the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key holds exactly this word. Reads nothing else and reports nothing.
    pub fn holds(&self, key: &'static str, word: &str) -> bool {
        self.get(key).and_then(|value| value.get_ref().as_str()) == Some(word)
    }

    /// Notes a mistake.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        self.reader.error(span, message, fix);
    }

    fn get(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'a>>> {
        self.ask_for(key);
        self.table.get(key)
    }

    fn ask_for(&self, key: &'static str) {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'a>>, wanted: &str) {
        let message = format!("`{key}` is of type {}, but a {wanted} is wanted", value.get_ref().type_str());
        self.error(value.span(), message, format!("write `{key}` as a {wanted}"));
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<Located<String>> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => Some(Located { value: text.to_owned(), span: value.span() }),
            Some(_) => {
                self.error(value.span(), format!("`{key}` is empty"), format!("give `{key}` a value, or remove it"));
                None
            }
            None => {
                self.wrong_type(key, value, "string");
                None
            }
        }
    }

    /// A text that must be there; `example` goes into the fix.
    pub fn required(&self, key: &'static str, example: &str) -> Option<Located<String>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key)
    }

    /// Notes that a key is missing, unless a misspelt one stands for it: [`Table::finish`] reports that.
    pub fn missing(&self, key: &'static str, example: &str) {
        self.ask_for(key);
        if self.table.keys().any(|written| nearest(written.get_ref(), [key]).is_some()) {
            return;
        }
        self.error(self.span(), format!("{} has no `{key}`", self.name), format!("add `{key} = {example}`"));
    }

    /// A text read by its type's own parser; `wanted` says what it should look like.
    pub fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str, wanted: &str) -> Option<Located<T>> {
        self.read(key, wanted, |text| text.parse().ok())
    }

    /// A text read by `read`; `wanted` says what it should look like.
    pub fn read<T>(&self, key: &'static str, wanted: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Located<T>> {
        let text = self.text(key)?;
        let value = read(&text.value);
        if value.is_none() {
            self.error(
                text.span.clone(),
                format!("`{key}` is `{}`, which is not {wanted}", text.value),
                format!("write {wanted}"),
            );
        }
        Some(Located { value: value?, span: text.span })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<Located<T>> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            let fix = nearest(&text.value, words.iter().map(|(word, _)| *word))
                .map_or_else(|| format!("write one of {all}"), |word| format!("write \"{word}\""));
            self.error(text.span.clone(), format!("`{key}` is `{}`; known are {all}", text.value), fix);
        }
        Some(Located { value: found?.1, span: text.span })
    }

    /// A whole number within `range`.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.get(key)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let bounds = format!("{} to {}", range.start(), range.end());
                self.error(value.span(), format!("`{key}` is {number}, outside {bounds}"), format!("write {bounds}"));
                None
            }
            None => {
                self.wrong_type(key, value, "whole number");
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        let on = value.get_ref().as_bool();
        if on.is_none() {
            self.wrong_type(key, value, "boolean");
        }
        on
    }

    /// A `true` or `false` in the place of a word, with its place: for keys that want something else.
    pub fn misplaced_boolean(&self, key: &'static str) -> Option<(bool, Range<usize>)> {
        let value = self.get(key)?;
        value.get_ref().as_bool().map(|on| (on, value.span()))
    }

    /// `true` or `false`; false when it is not there.
    pub fn switch(&self, key: &'static str) -> bool {
        self.boolean(key).unwrap_or(false)
    }

    /// A duration such as `"90s"`, within `range`.
    pub fn duration(&self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let found = self.read(key, "a duration such as \"500ms\", \"90s\", \"10m\" or \"1h\"", parse_duration)?;
        if !range.contains(&found.value) {
            let bounds = format!("{} to {}", show_duration(*range.start()), show_duration(*range.end()));
            let message = format!("`{key}` is {}, outside {bounds}", show_duration(found.value));
            self.error(found.span, message, format!("write {bounds}"));
            return None;
        }
        Some(found.value)
    }

    /// A list of texts, each with its place.
    pub fn texts(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let value = self.get(key)?;
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "list of strings");
            return None;
        };
        let mut texts = Vec::new();
        for item in list {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located { value: text.to_owned(), span: item.span() }),
                None => self.wrong_type(key, item, "string"),
            }
        }
        Some(texts)
    }

    /// One text or a list of texts; `wanted` says what they should look like.
    pub fn text_or_texts(&self, key: &'static str, wanted: &str) -> Option<Vec<Located<String>>> {
        match self.get(key)?.get_ref() {
            DeValue::Array(_) => self.texts(key),
            DeValue::String(_) => self.text(key).map(|text| vec![text]),
            other => {
                let value = self.get(key)?;
                let message = format!("`{key}` is of type {}, but a string or list is wanted", other.type_str());
                self.error(value.span(), message, format!("write {wanted}"));
                None
            }
        }
    }

    /// A list of whole numbers within `range`.
    pub fn integers(&self, key: &'static str, range: RangeInclusive<i64>) -> Vec<i64> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "list of whole numbers");
            return Vec::new();
        };
        list.iter()
            .filter_map(|item| {
                let number = item.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
                if number.is_none_or(|number| !range.contains(&number)) {
                    let bounds = format!("whole numbers from {} to {}", range.start(), range.end());
                    self.error(
                        item.span(),
                        format!("`{key}` holds something else than {bounds}"),
                        format!("write {bounds}"),
                    );
                }
                number
            })
            .collect()
    }

    /// A sub-table; `name` is how its header is written.
    pub fn table(&self, key: &'static str, name: &str) -> Option<Self> {
        let value = self.get(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Table::new(self.reader, table, value.span(), name)),
            None => {
                self.wrong_type(key, value, "table");
                None
            }
        }
    }

    /// All tables of `[[key]]`.
    pub fn tables(&self, key: &'static str, name: &str) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let message = format!("`{key}` is of type {}, but a list of tables is wanted", value.get_ref().type_str());
            self.error(value.span(), message, format!("write the header as {name}"));
            return Vec::new();
        };
        list.iter()
            .filter_map(|item| match item.get_ref().as_table() {
                Some(table) => Some(Table::new(self.reader, table, item.span(), name)),
                None => {
                    self.wrong_type(key, item, "table");
                    None
                }
            })
            .collect()
    }

    /// Keys and values of a table whose keys are the operator's own names.
    pub fn entries(&self) -> impl Iterator<Item = (Located<String>, &'r Spanned<DeValue<'a>>)> {
        self.table
            .iter()
            .map(|(key, value)| (Located { value: key.get_ref().clone().into_owned(), span: key.span() }, value))
    }

    /// The reader the table belongs to.
    pub fn reader(&self) -> &'r Reader<'a> {
        self.reader
    }

    /// Refuses every key that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if known.iter().all(|known| *known != name) {
                let all = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let fix = nearest(name, known.iter().copied())
                    .map_or_else(|| format!("remove it; known here are {all}"), |right| format!("write `{right}`"));
                self.error(key.span(), format!("{} has no key `{name}`", self.name), fix);
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        _ => None,
    }
}

fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() > 0 {
        format!("{}ms", duration.as_millis())
    } else if seconds >= 3_600 && seconds.is_multiple_of(3_600) {
        format!("{}h", seconds / 3_600)
    } else if seconds >= 60 && seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, expected) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("90s", Some(Duration::from_secs(90))),
            ("10 m", Some(Duration::from_secs(600))),
            ("1h", Some(Duration::from_secs(3_600))),
            ("90", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(show_duration(Duration::from_secs(7_200)), "2h");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
    }
}
