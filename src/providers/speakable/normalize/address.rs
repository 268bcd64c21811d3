//! E-mail and web addresses: "anna dot lee at example dot com".

use super::{Kind, Reading, Scan, numbers, pattern};
use regex::Regex;
use std::sync::LazyLock;

static EMAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"));
static WEB: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:(?:(?i:https?|ftp)://|www\.)[^\s<>()]+|(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|io|co|uk|de|fr|info|biz|us|ca|au|health|clinic|care|app|dev|ai)\b(?:/[^\s<>()]*)?)",
    )
});

/// `anna.lee@example.com`.
pub(super) fn email(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&EMAIL)?;
    Some(spelled(found.get_match().as_str()))
}

/// `https://www.example.com/book`, `example.org`. Neither the scheme nor "www" is said.
pub(super) fn web(scan: &Scan<'_>) -> Option<Reading> {
    let whole = WEB.find(scan.rest())?.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', '/', '"', '\'']);
    let spoken = whole.split_once("://").map_or(whole, |(_, rest)| rest);
    let spoken = spoken.strip_prefix("www.").unwrap_or(spoken);
    let mut reading = spelled(spoken);
    reading.len = whole.len();
    scan.ends_token(whole.len()).then_some(reading)
}

/// Words between the signs are words, the signs are named, digits are said one by one.
fn spelled(text: &str) -> Reading {
    let class = |c: char| (c.is_alphabetic(), c.is_ascii_digit());
    let mut reading = Reading::new(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = if class(first) == (false, false) {
            first.len_utf8()
        } else {
            rest.find(|c| class(c) != class(first)).unwrap_or(rest.len())
        };
        let (part, after) = rest.split_at(run);
        reading = reading.then(match class(first) {
            (true, _) => letters(part),
            (_, true) => Reading::default().say(&numbers::digits(part)),
            _ => Reading::default().say(sign(first)),
        });
        rest = after;
    }
    reading
}

fn sign(c: char) -> &'static str {
    match c {
        '.' => "dot",
        '@' => "at",
        '-' => "dash",
        '_' => "underscore",
        '+' => "plus",
        '/' => "slash",
        '%' => "percent",
        '?' => "question mark",
        '=' => "equals",
        '&' => "and",
        '#' => "hash",
        ':' => "colon",
        '~' => "tilde",
        _ => "",
    }
}

/// Words of two letters that are likelier than two initials.
const SHORT_WORDS: [&str; 16] =
    ["my", "me", "we", "go", "at", "in", "on", "to", "by", "no", "is", "it", "be", "do", "up", "us"];

fn letters(text: &str) -> Reading {
    let lower = text.to_lowercase();
    let vowels = lower.chars().any(|c| "aeiouyáéíóúäöü".contains(c));
    let word = vowels && (text.chars().count() > 2 || SHORT_WORDS.contains(&lower.as_str()));
    let reading = Reading::default();
    if word { Reading { pieces: vec![(Kind::Run, lower)], ..reading } } else { reading.letters(&text.to_uppercase()) }
}
