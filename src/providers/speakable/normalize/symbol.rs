//! Punctuation and symbols.

use super::Kind;
use super::{Reading, Scan};

/// The mark or the word for the character that stands here; markup is passed over in silence.
pub(super) fn symbol(scan: &Scan<'_>) -> Option<Reading> {
    let rest = scan.rest();
    let c = rest.chars().next()?;
    let len = c.len_utf8();
    let next = rest[len..].chars().next();
    let free = scan.before().is_none_or(char::is_whitespace) && next.is_none_or(char::is_whitespace);
    let between = scan.before().is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
    let pause =
        |len: usize, mark: &str| Some(Reading { len, pieces: vec![(Kind::Pause, mark.to_owned())], dotted: false });
    let word = |w: &str| Some(Reading::new(len).say(w));
    match c {
        '.' if rest.starts_with("..") => pause(rest.len() - rest.trim_start_matches('.').len(), "…"),
        '…' => pause(len, "…"),
        '.' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '“' | '”' | '—' => pause(len, &c.to_string()),
        '[' | '{' => pause(len, "("),
        ']' | '}' => pause(len, ")"),
        '¿' | '¡' => Some(Reading::new(len)),
        '"' | '„' | '«' | '»' => {
            let opens =
                scan.before().is_none_or(|b| b.is_whitespace() || b == '(') && next.is_some_and(|n| !n.is_whitespace());
            pause(len, if opens { "“" } else { "”" })
        }
        '-' | '–' | '―' if rest.starts_with("--") => pause(rest.len() - rest.trim_start_matches('-').len(), "—"),
        // A dash between spaces is a pause, at the start of a line a bullet.
        '-' | '–' | '―' | '−' if free && scan.out.last().is_some_and(|s| !".!?…".contains(&s.text)) => {
            pause(len, "—")
        }
        '–' | '―' => pause(len, "—"),
        '/' if between && next.is_some_and(|n| n.is_ascii_digit()) => word("slash"),
        '/' if between => word("or"),
        '/' if free => word("slash"),
        '&' => word("and"),
        '@' => word("at"),
        '%' => word("percent"),
        '+' => word("plus"),
        '=' => word("equals"),
        '<' if free => word("less than"),
        '>' if free => word("greater than"),
        '~' | '≈' => word("about"),
        '°' => word("degrees"),
        '§' => word("section"),
        '±' => word("plus or minus"),
        '×' => word("times"),
        '÷' => word("divided by"),
        '→' => word("to"),
        '©' => word("copyright"),
        '#' if next.is_some_and(|n| n.is_ascii_digit()) => word("number"),
        '#' if free || scan.said_last("press") || next.is_some_and(|n| ".,;!?".contains(n)) => word("pound"),
        '*' if next.is_some_and(|n| n.is_ascii_digit()) => word("star"),
        '*' if scan.said_last("press") || scan.said_last("or") => word("star"),
        _ => Some(Reading::new(len)),
    }
}
