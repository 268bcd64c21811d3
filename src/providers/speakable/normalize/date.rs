//! Dates, months and weekdays: "2026-11-24", "Nov 24", "24/11/2026", "Mon–Fri".

use super::{Reading, Scan, numbers, pattern};
use regex::Regex;
use std::sync::LazyLock;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTH: &str = "(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)";
const WEEKDAY: &str =
    "(Mon(?:day)?|Tue(?:s(?:day)?)?|Wed(?:nesday)?|Thu(?:r(?:s(?:day)?)?)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)";

static ISO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2}\b)?)?")
});
static NUMERIC: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{1,2})([/.-])(\d{1,2})([/.-])(\d{4}|\d{2})"));
static MONTH_DAY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(r"^{MONTH}\.?\s(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?(?:[-–]|to)\s?(\d{{1,2}})(?:st|nd|rd|th)?)?\b"))
});
static DAY_MONTH: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^(\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?{MONTH}\b(\.?)")));
static YEAR_AFTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^,?\s((?:19|20)\d{2})\b"));
static MONTH_ALONE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"^{MONTH}\b(\.?)")));
static WEEKDAY_ALONE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^{WEEKDAY}\b(\.?)(?:\s?[-–]\s?{WEEKDAY}\b(\.?))?")));

fn named(names: &[&'static str], written: &str) -> Option<&'static str> {
    let start = written.get(..3)?;
    names.iter().find(|n| n.starts_with(start)).copied()
}

/// Whether a weekday or month starts here: an abbreviation before it ("9 a.m. Monday") does not end the sentence.
pub(super) fn starts_with_name(text: &str) -> bool {
    MONTH_ALONE.is_match(text) || WEEKDAY_ALONE.is_match(text)
}

/// "November twenty fourth, twenty twenty six".
fn spoken(reading: Reading, year: Option<u64>, month: u64, day: u64) -> Option<Reading> {
    let name = MONTHS.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=31).contains(&day) {
        return None;
    }
    let reading = reading.say(name).say(&numbers::ordinal(day));
    Some(match year {
        Some(year) => reading.say(",").say(&numbers::year(year)),
        None => reading,
    })
}

/// `2026-11-24`, with or without a time.
pub(super) fn iso(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let found = scan.find(&ISO)?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse().ok());
    let reading = spoken(Reading::new(found.get_match().end()), number(1), number(2)?, number(3)?)?;
    let Some(time) = found.get(4) else { return Some(reading) };
    let time = Scan { text: time.as_str(), at: 0, out: Vec::new(), joined: true };
    Some(reading.say("at").then(super::clock::time(&time)?))
}

/// `11/24/2026` (month first, unless it cannot be one), `24.11.2026`, `24-11-2026` (day first).
pub(super) fn numeric(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let found = scan.find(&NUMERIC)?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let (first, second, mut year) = (number(1)?, number(3)?, number(5)?);
    if found.get(2)?.as_str() != found.get(4)?.as_str() {
        return None;
    }
    if found.get(5)?.as_str().len() == 2 {
        year += if year > 40 { 1900 } else { 2000 };
    }
    let american = found.get(2)?.as_str() != ".";
    let (month, day) = if (american && first <= 12) || second > 12 { (first, second) } else { (second, first) };
    spoken(Reading::new(found.get_match().end()), Some(year), month, day)
}

/// "Nov 24", "November 24th, 2026", "Nov 24–26".
pub(super) fn month_day(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&MONTH_DAY)?;
    let (mut end, month) = (found.get_match().end(), named(&MONTHS, found.get(1)?.as_str())?);
    let after = &scan.rest()[end..];
    if after.starts_with([':', '%']) || after.starts_with(".5") {
        return None;
    }
    let day = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let first = day(2).filter(|d| (1..=31).contains(d))?;
    let mut reading = Reading::new(end).say(month).say(&numbers::ordinal(first));
    if let Some(last) = day(3) {
        if last > 31 || last <= first {
            return None;
        }
        reading = reading.say("to").say(&numbers::ordinal(last));
    }
    if let Some(year) = YEAR_AFTER.captures(after) {
        end += year.get_match().end();
        reading = reading.say(",").say(&numbers::year(year.get(1)?.as_str().parse().ok()?));
    }
    reading.len = end;
    Some(reading)
}

/// "24 November", "the 24th of Nov. 2026".
pub(super) fn day_month(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let found = scan.find(&DAY_MONTH)?;
    let day = found.get(1)?.as_str().parse::<u64>().ok().filter(|d| (1..=31).contains(d))?;
    let month = named(&MONTHS, found.get(2)?.as_str())?;
    // "after 3 May call": "May" alone is a month only with a day that looks like one; taken so.
    let mut end = found.get_match().end();
    let mut dotted = found.get(3).is_some_and(|m| !m.is_empty());
    let mut reading = Reading::new(end);
    if !scan.said_last("the") {
        reading = reading.say("the");
    }
    reading = reading.say(&numbers::ordinal(day)).say("of").say(month);
    if let Some(year) = YEAR_AFTER.captures(&scan.rest()[end..]) {
        end += year.get_match().end();
        dotted = false;
        reading = reading.say(",").say(&numbers::year(year.get(1)?.as_str().parse().ok()?));
    }
    reading.len = end;
    Some(reading.dotted(dotted))
}

/// "Nov.", "Sept 2026". The short forms that are words of their own need a dot or a year.
pub(super) fn month(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&MONTH_ALONE)?;
    let (written, dot) = (found.get(1)?.as_str(), found.get(2).is_some_and(|m| !m.is_empty()));
    let name = named(&MONTHS, written)?;
    let end = found.get_match().end();
    if written == name {
        // A full stop after the whole name is one.
        return Some(Reading::new(written.len()).say(name));
    }
    let before_number = scan.after(end).starts_with(|c: char| c.is_ascii_digit());
    let own_word = matches!(written, "Mar" | "Jan" | "Dec" | "Sept" | "Jun" | "Jul");
    let dot_is_its_own = dot && (!own_word || before_number || written != "Mar");
    (dot_is_its_own || before_number || !own_word)
        .then(|| Reading::new(if dot { end } else { written.len() }).say(name).dotted(dot))
}

/// "Mon", "Tues.", "Mon–Fri", "Monday-Friday". "Sat" and "Sun" need a dot or a number, comma or dash after them.
pub(super) fn weekday(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&WEEKDAY_ALONE)?;
    let written = found.get(1)?.as_str();
    let name = named(&WEEKDAYS, written)?;
    if let Some(last) = found.get(3) {
        let to = named(&WEEKDAYS, last.as_str())?;
        let dotted = found.get(4).is_some_and(|m| !m.is_empty());
        let whole = to == last.as_str();
        let end = if whole { last.end() } else { found.get_match().end() };
        return Some(Reading::new(end).say(name).say("to").say(to).dotted(dotted && !whole));
    }
    if written == name {
        return Some(Reading::new(written.len()).say(name));
    }
    let dot = found.get(2).is_some_and(|m| !m.is_empty());
    let end = written.len() + usize::from(dot);
    let next = scan.after(end);
    let clear = dot || next.starts_with(|c: char| c.is_ascii_digit() || c == ',') || MONTH_ALONE.is_match(next);
    (clear || !matches!(written, "Sat" | "Sun")).then(|| Reading::new(end).say(name).dotted(dot))
}
