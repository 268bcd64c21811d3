//! Problems of an agent file, each with its place in the file and what would be right.

use super::limits::DIAGNOSTICS;
use super::slot::words::edit_distance;
use std::fmt::Write as _;

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, serde::Serialize)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The agent cannot be used.
    Error,
    /// The agent works, but probably not as meant.
    Warning,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub at: Position,
    /// Characters to underline.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// All that was found in one file.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The file's name as given.
    pub path: String,
    /// Its text, for quoting lines.
    pub source: String,
    /// Problems in file order.
    pub diagnostics: Vec<Diagnostic>,
    /// Responses and settings the file leaves out, with what is used instead.
    pub defaults: Vec<String>,
}

impl Report {
    /// Adds a problem; beyond [`DIAGNOSTICS`] they are dropped.
    pub fn push(
        &mut self,
        severity: Severity,
        at: Position,
        width: usize,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        if self.diagnostics.len() < DIAGNOSTICS {
            let diagnostic = Diagnostic { severity, at, width: width.max(1), message: message.into(), help };
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// Problems that forbid using the agent.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error)
    }

    /// Problems that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Warning)
    }

    /// Puts the problems in file order, errors before warnings of the same place.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by_key(|d| (d.at, d.severity));
    }

    /// The whole report as text: place, problem, the line with a caret under it, what would be right.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint =
            |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        let mut out = String::new();
        for Diagnostic { severity, at, width, message, help } in &self.diagnostics {
            let kind = match severity {
                Severity::Error => paint("1;31", "error"),
                Severity::Warning => paint("1;33", "warning"),
            };
            let place = paint("1", &format!("{}:{}:{}", self.path, at.line, at.column));
            let _ = writeln!(out, "{place}: {kind}: {message}");
            if let Some(line) = at.line.checked_sub(1).and_then(|index| self.source.lines().nth(index)) {
                let number = at.line.to_string();
                let gutter = " ".repeat(number.len());
                let lead: String = line
                    .chars()
                    .take(at.column.saturating_sub(1))
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                let room = line.chars().count().saturating_sub(at.column - 1).max(1);
                let carets = paint("1;31", &"^".repeat((*width).min(room)));
                let _ = writeln!(out, " {number} | {line}\n {gutter} | {lead}{carets}");
            }
            if let Some(help) = help {
                let _ = writeln!(out, "   {} {help}", paint("1;32", "help:"));
            }
        }
        out
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

/// An agent that cannot be used, and why. Printing it prints every problem with its place.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read: a wrong path or missing permission.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has errors its author must mend.
    #[error("{0}")]
    Wrong(Box<Report>),
}

/// The known name nearest to a mistyped one, if any is near.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| {
            let plain = candidate.to_lowercase();
            let contained =
                lower.len() >= 4 && (plain.contains(&lower) || (plain.len() >= 4 && lower.contains(&plain)));
            (if contained { 1 } else { edit_distance(&lower, &plain) }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().max(lower.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the list of what is known when nothing is near and the list is short.
#[must_use]
pub fn suggestion<'k>(name: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.into_iter().collect();
    (!all.is_empty() && all.len() <= 16).then(|| format!("known here: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let mut report = Report { path: "a.yaml".into(), source: "agent: x\nnodse: {}\n".into(), ..Report::default() };
        report.push(
            Severity::Error,
            Position { line: 2, column: 1 },
            5,
            "unknown key `nodse`",
            suggestion("nodse", ["nodes", "start"]),
        );
        assert_eq!(
            report.render(false),
            "a.yaml:2:1: error: unknown key `nodse`\n 2 | nodse: {}\n   | ^^^^^\n   help: did you mean `nodes`?\n"
        );
        assert!(report.render(true).contains("\x1b[1;31m"));
    }

    #[test]
    fn the_nearest_name_is_suggested_only_when_near() {
        assert_eq!(nearest("qestion", ["question", "next"]), Some("question"));
        assert_eq!(nearest("front-desk", ["front_desk"]), Some("front_desk"));
        assert_eq!(nearest("zebra", ["question", "next"]), None);
    }
}
