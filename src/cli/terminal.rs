//! Colours only where a person looks, and tables that line up.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// How to write for the present output.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colours: bool,
}

/// A meaning that has a colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// Something went well.
    Good,
    /// Something needs attention.
    Warning,
    /// Something failed.
    Bad,
    /// The agent's side of a conversation.
    Agent,
    /// The caller's side.
    Caller,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
}

impl Style {
    /// For standard output: colours on a terminal, unless `NO_COLOR` is set.
    #[must_use]
    pub fn stdout() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Without colours.
    #[must_use]
    pub fn plain() -> Self {
        Self { colours: false }
    }

    /// `text` in the colour of its meaning.
    #[must_use]
    pub fn paint(self, ink: Ink, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Good => "32",
            Ink::Warning => "33",
            Ink::Bad => "31",
            Ink::Agent => "36",
            Ink::Caller => "35",
            Ink::Faint => "2",
            Ink::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether a cell begins with a number, or with the dash for none: `12.4 ms`, but not `3CX`.
fn is_number(cell: &str) -> bool {
    let first = cell.split(' ').next().unwrap_or_default();
    !first.is_empty() && first.chars().all(|c| c.is_ascii_digit() || ",.–%".contains(c))
}

/// Rows under headings, columns as wide as their widest cell, numbers to the right.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .chain([headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: &[String]| {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "  " } else { "   " };
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let numeric = is_number(cell);
            let _ = if numeric { write!(out, "{gap}{pad}{cell}") } else { write!(out, "{gap}{cell}{pad}") };
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    };
    line(&headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    line(&widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_are_right_aligned() {
        let text = table(&["stage", "p50"], &[vec!["total".into(), "412".into()], vec!["x".into(), "7".into()]]);
        assert_eq!(text, "  stage   p50\n  ─────   ───\n  total   412\n  x         7\n");
    }

    #[test]
    fn plain_style_adds_nothing() {
        assert_eq!(Style::plain().paint(Ink::Bad, "no"), "no");
    }
}
