//! What is wrong with a configuration file: where, what, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake. The operator who wrote the file mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line as written, a password blotted out.
    pub source: String,
    /// Characters to underline from `column` on.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub fix: String,
}

/// Every mistake of a file, in the order of the file. Its text is meant for people: one block each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.source.is_empty() {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            // Tabs stay tabs above the caret, so that both lines are equally wide.
            let lead: String =
                self.source.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n  {number} | {}\n  {margin} | {lead}{}", self.source, "^".repeat(self.width.max(1)))?;
        }
        if !self.fix.is_empty() {
            write!(f, "\n  fix: {}", self.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl ConfigError {
    /// A mistake at bytes `span` of `text`.
    #[must_use]
    pub fn at(file: &Path, text: &str, span: Range<usize>, message: String, fix: String) -> Self {
        let start = floor_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_boundary(text, span.end).clamp(start, line_end);
        let mut error = Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source: text[line_start..line_end].trim_end().to_owned(),
            width: text[start..end].chars().count(),
            message,
            fix,
        };
        error.blot_secret();
        error
    }

    /// A file that could not be read.
    #[must_use]
    pub fn unreadable(file: &Path, message: String, fix: String) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, source: String::new(), width: 0, message, fix }
    }

    /// Error texts end up in logs and tickets; a password's value must not, nor that of a header, which may be a token.
    fn blot_secret(&mut self) {
        let Some(secret) = secret_at(&self.source) else { return };
        let before = self.source[..secret].chars().count();
        self.source.truncate(secret);
        self.source.push_str("{redacted}");
        if self.column > before {
            self.column = before + 1;
            self.width = "{redacted}".len();
        }
    }
}

/// Where the value of the first secret in a line begins: after `password =` or `headers =`, in a section of its own or
/// inside braces, but not after `password_env` or `password_file`.
fn secret_at(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(equals) = line[from..].find('=').map(|at| from + at) {
        let key = line[..equals].trim_end().trim_end_matches(['"', '\'']);
        let is_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let start = key.char_indices().rev().find(|(_, c)| !is_of_key(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        let key = &key[start..];
        let is_elsewhere = key.ends_with("_env") || key.ends_with("_file");
        from = equals + 1;
        if (key.contains("pass") || key == "headers") && !is_elsewhere {
            let spaces = line[from..].len() - line[from..].trim_start().len();
            return Some(from + spaces);
        }
    }
    None
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The name among `known` that `wrong` was probably meant to be: at most a third of it differs.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    known
        .into_iter()
        .map(|name| (edits(&wrong, &plain(name)), name))
        .filter(|(edits, name)| edits * 3 <= name.chars().count().max(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words
/// (optimal string alignment distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_the_caret_stands_under_the_mistake() {
        let text = "a = 1\n\"ü\" = x\n";
        let error = ConfigError::at(Path::new("o.toml"), text, 13..14, "bad".into(), "good".into());
        assert_eq!((error.line, error.column), (2, 7));
        assert_eq!(error.to_string(), "o.toml:2:7: bad\n  2 | \"ü\" = x\n    |       ^\n  fix: good");
    }

    #[test]
    fn a_password_never_shows_in_an_error() {
        let text = "password = hunter2\n";
        let error = ConfigError::at(Path::new("o.toml"), text, 11..18, "bad".into(), String::new());
        assert_eq!(error.to_string(), "o.toml:1:12: bad\n  1 | password = {redacted}\n    |            ^^^^^^^^^^");
    }

    #[test]
    fn secrets_inside_braces_and_headers_do_not_show_either() {
        for (line, shown) in [
            ("x = { user = \"a\", password = \"hunter2\", y = 1 }", "x = { user = \"a\", password = {redacted}"),
            ("inbound_password=\"hunter2\"", "inbound_password={redacted}"),
            ("\"password\" = \"hunter2\"", "\"password\" = {redacted}"),
            ("headers = { X-Token = \"hunter2\" }", "headers = {redacted}"),
            ("password_env = \"PBX\"", "password_env = \"PBX\""),
            ("password_file = \"a=b\"", "password_file = \"a=b\""),
        ] {
            let error = ConfigError::at(Path::new("o.toml"), line, 0..1, "bad".into(), String::new());
            assert_eq!(error.source, shown);
            let end =
                ConfigError::at(Path::new("o.toml"), line, line.len() - 1..line.len(), "bad".into(), String::new());
            assert!(end.column <= end.source.chars().count(), "{end}");
        }
    }

    #[test]
    fn spans_beyond_the_text_or_inside_a_character_do_not_panic() {
        for span in [0..0, 0..99, 99..120, 1..2, 2..3] {
            let _ = ConfigError::at(Path::new("o.toml"), "ü\n", span, String::new(), String::new()).to_string();
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_right_name() {
        let known = ["registrar", "user", "password_env", "auth_user"];
        assert_eq!(nearest("registar", known), Some("registrar"));
        assert_eq!(nearest("password-env", known), Some("password_env"));
        assert_eq!(nearest("uesr", known), Some("user"));
        assert_eq!(nearest("transport", known), None);
    }
}
