//! Digits that are not a quantity: telephone numbers, account numbers, extensions, rooms, versions.

use super::numbers::{self, digits};
use super::{Kind, Reading, Scan, pattern};
use regex::Regex;
use std::sync::LazyLock;

/// North American with the area code in brackets; British; other North American; anything international.
static FORMS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        pattern(r"^(?:\+?1[\s.-]?)?\(\d{3}\)\s?\d{3}[\s.-]?\d{4}"),
        pattern(r"^\(?0\d{2,4}\)?[\s-]\d{3,4}(?:[\s-]\d{3,4})?"),
        pattern(r"^(?:\+?1[\s.-])?(?:\d{3}[\s.-])?\d{3}[\s.-]\d{4}"),
        pattern(r"^\+\d{1,3}(?:[\s.-]?\(?\d{1,5}\)?){1,5}"),
    ]
});
static EXTENSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^,?\s?(?:ext\.?|x|extension)\s?(\d{1,6})\b"));
static VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d+(?:\.\d+){2,}"));
static DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^#?\d+(?:-\d+)*"));

/// Fewer digits are no telephone number.
const FEWEST: usize = 7;
/// E.164 allows no more (section 6).
const MOST: usize = 15;

/// A number of two digits or more after one of these words is a name, not a quantity: read digit by digit.
const IDENTIFIERS: &[&str] = &[
    "account",
    "code",
    "confirmation",
    "extension",
    "id",
    "passcode",
    "password",
    "pin",
    "postcode",
    "reference",
    "zip",
];
/// After one of these three digits or more are: "order 12 boxes" but "order 48291".
const WEAK_IDENTIFIERS: &[&str] = &[
    "booking",
    "case",
    "claim",
    "invoice",
    "member",
    "membership",
    "number",
    "order",
    "phone",
    "policy",
    "record",
    "ref",
    "telephone",
    "ticket",
    "tracking",
];
/// These may stand between the word and the number.
const BETWEEN: &[&str] = &["is", "number", "was", "code", "no", "ending", "in", "ends", "id"];
/// So many words before a number are looked at; some of them may be digits.
const CONTEXT: usize = 12;
/// A number after one of these is read in pairs.
const PLACES: &[&str] = &["room", "suite", "apartment", "unit", "flat", "flight", "bay", "office", "highway", "route"];

/// "+1 (555) 010-0199", "555 0134", "020 7946 0958", each with an extension after it.
pub(super) fn number(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.rest().starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '(') {
        return None;
    }
    let whole = FORMS.iter().find_map(|form| {
        let text = form.find(scan.rest())?.as_str().trim_end();
        let count = text.chars().filter(char::is_ascii_digit).count();
        let after = &scan.rest()[text.len()..];
        let goes_on = after.starts_with(['-', '.', '/', ':']) && after[1..].starts_with(|c: char| c.is_ascii_digit());
        ((FEWEST..=MOST).contains(&count) && scan.ends_token(text.len()) && !goes_on).then_some(text)
    })?;
    let mut reading = Reading::new(whole.len());
    let mut groups: Vec<&str> = whole.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).collect();
    if whole.starts_with('+') {
        reading = reading.say("plus");
    }
    if groups.len() == 1 {
        groups = evenly(groups.first().copied().unwrap_or_default());
    }
    reading = reading.say(&groups.iter().map(|g| digits(g)).collect::<Vec<_>>().join(", "));
    if let Some(found) = EXTENSION.captures(&scan.rest()[whole.len()..]) {
        reading = reading.say(", extension").say(&digits(found.get(1)?.as_str()));
        reading.len += found.get_match().end();
    }
    Some(reading)
}

/// "1.2.3".
pub(super) fn version(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&VERSION)?;
    let words: Vec<String> = found.get_match().as_str().split('.').map(short).collect();
    Some(Reading::new(found.get_match().end()).say(&words.join(" point ")))
}

fn short(part: &str) -> String {
    match part.parse() {
        Ok(n) if part.len() <= 3 && (part == "0" || !part.starts_with('0')) => numbers::cardinal(n),
        _ => digits(part),
    }
}

/// A number whose word before it says that it is a name: "extension 204", "code 4521", "room 204".
pub(super) fn identifier(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&DIGITS)?;
    let written = found.get_match().as_str();
    if scan.rest()[written.len()..].starts_with(['.', ',', '%'])
        && scan.rest()[written.len() + 1..].starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let plain: String = written.chars().filter(char::is_ascii_digit).collect();
    let reading = Reading::new(written.len());
    let mut before: Vec<String> = scan.said_in_sentence().take(CONTEXT).collect();
    // "730 945": the second group goes on like the first.
    let mut pause = "";
    if scan.out.last().is_some_and(|s| s.kind == Kind::Word && numbers::is_digit(&s.text)) {
        before.drain(..before.iter().take_while(|w| numbers::is_digit(w)).count());
        pause = ",";
    }
    let place = before.first().is_some_and(|w| PLACES.contains(&w.as_str()))
        || (before.first().is_some_and(|w| w == "number")
            && before.get(1).is_some_and(|w| PLACES.contains(&w.as_str())));
    if place && plain.len() <= 4 && !plain.starts_with('0') {
        return Some(reading.say(&numbers::in_pairs(plain.parse().ok()?)));
    }
    // The nearest word that is not one of those between, and those between: "code is", "number ending in".
    let between = before.iter().take_while(|w| BETWEEN.contains(&w.as_str())).count();
    let mut names = before.iter().take(between + 1);
    let strong = names.clone().any(|w| IDENTIFIERS.contains(&w.as_str()));
    let weak = names.any(|w| WEAK_IDENTIFIERS.contains(&w.as_str()));
    if !(strong && plain.len() > 1 || weak && plain.len() > 2) {
        return None;
    }
    Some(written.split('-').fold(reading.say(pause), |reading, part| {
        let pause = if reading.pieces.is_empty() { "" } else { "," };
        grouped(reading.say(pause), part.trim_start_matches('#'))
    }))
}

/// Hyphenated digits that are neither range nor date: "12-3456".
pub(super) fn hyphenated(scan: &Scan<'_>) -> Option<Reading> {
    let written = scan.find(&DIGITS)?.get_match().as_str();
    let parts = written.split('-').map(digits).collect::<Vec<_>>().join(", ");
    (written.contains('-') && !written.starts_with('#')).then(|| Reading::new(written.len()).say(&parts))
}

/// Digit by digit, in groups of three or four with a pause between when there are more than five.
pub(super) fn grouped(reading: Reading, written: &str) -> Reading {
    let words: Vec<String> = evenly(written).into_iter().map(digits).collect();
    reading.say(&words.join(", "))
}

/// Digits in groups as people say them: 3-3, 3-4, 4-4, 3-3-3, 3-3-4, then fours.
fn evenly(written: &str) -> Vec<&str> {
    let sizes: &[usize] = match written.len() {
        0..=5 => &[5],
        6 | 9 => &[3],
        7 => &[3, 4],
        10 => &[3, 3, 4],
        11 => &[1, 3, 3, 4],
        _ => &[4],
    };
    let mut groups = Vec::new();
    let (mut rest, mut sizes) = (written, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(4, |s| (*s).min(rest.len()));
        groups.push(&rest[..size]);
        rest = &rest[size..];
    }
    groups
}

/// The digits of a code, each said alone, for [`super::letters::code`].
pub(super) fn spelled(text: &str) -> Vec<(Kind, String)> {
    digits(text).split(' ').map(|w| (Kind::Word, w.to_owned())).collect()
}
