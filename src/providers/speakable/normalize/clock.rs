//! Times of day: "9:30", "14:00", "2 pm", "9am–5pm".

use super::{Reading, Scan, numbers, pattern};
use regex::Regex;
use std::sync::LazyLock;

static TIME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s?([AaPp])(?:\.\s?[Mm]\.?|[Mm]\b))?"));
static HOUR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(\d{1,2})(?:\.(\d{2}))?()\s?([AaPp])(?:\.\s?[Mm]\.?|[Mm]\b)"));
static BARE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{1,2})(?:\.(\d{2}))?()()"));
static BETWEEN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s?(?:[-–—]|to\b)\s?"));

/// A time as it was written.
#[derive(Clone, Copy, Debug)]
struct Clock {
    hour: u64,
    minute: u64,
    second: Option<u64>,
    /// "a" or "p".
    half: Option<char>,
    /// Written with two digits and a zero before: the 24-hour clock.
    padded: bool,
    /// Written with a colon.
    colon: bool,
    len: usize,
    dotted: bool,
}

impl Clock {
    fn read(text: &str, patterns: &[&LazyLock<Regex>]) -> Option<Self> {
        let found = patterns.iter().find_map(|p| p.captures(text))?;
        let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
        let whole = found.get_match();
        if text[whole.end()..].starts_with(|c: char| c.is_alphanumeric()) {
            return None;
        }
        let half = found.get(4).and_then(|m| m.as_str().chars().next()).map(|c| c.to_ascii_lowercase());
        let clock = Self {
            hour: number(1)?,
            minute: number(2).unwrap_or(0),
            second: number(3),
            half,
            padded: found.get(1).is_some_and(|m| m.as_str().starts_with('0')),
            colon: whole.as_str().contains(':'),
            len: whole.end(),
            dotted: whole.as_str().ends_with('.'),
        };
        let sane = clock.hour < 24 && clock.minute < 60 && clock.second.unwrap_or(0) < 60;
        (sane && (clock.half.is_none() || (1..=12).contains(&clock.hour))).then_some(clock)
    }

    fn is_24_hour(&self) -> bool {
        self.half.is_none() && (self.hour > 12 || (self.padded && self.colon) || (self.hour == 0 && self.colon))
    }

    /// Adds the words. `whole_hour` is said when there are neither minutes nor "AM" ("o'clock").
    fn say(&self, reading: Reading, on_24_hours: bool, whole_hour: &str) -> Reading {
        if self.minute == 0 && self.second.is_none() && self.half.is_none() && self.colon {
            match self.hour {
                0 => return reading.say("midnight"),
                12 if !whole_hour.is_empty() || on_24_hours => return reading.say("twelve noon"),
                _ => {}
            }
        }
        let hour = match self.hour {
            0 => 12,
            h @ 13.. => h - 12,
            h => h,
        };
        let half = self.half.or_else(|| on_24_hours.then_some(if self.hour < 12 { 'a' } else { 'p' }));
        let mut reading = reading.say(&numbers::cardinal(hour));
        match self.minute {
            0 if half.is_none() && self.second.is_none() => reading = reading.say(whole_hour),
            0 => {}
            m @ 1..10 => reading = reading.say("oh").say(&numbers::cardinal(m)),
            m => reading = reading.say(&numbers::cardinal(m)),
        }
        if let Some(seconds) = self.second.filter(|s| *s > 0) {
            reading = reading.say("and").say(&numbers::cardinal(seconds));
            reading = reading.say(if seconds == 1 { "second" } else { "seconds" });
        }
        match half {
            Some('a') => reading.letters("AM"),
            Some(_) => reading.letters("PM"),
            None => reading,
        }
    }
}

/// One time of day.
pub(super) fn time(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let clock = Clock::read(scan.rest(), &[&TIME, &HOUR])?;
    let next = scan.after(clock.len);
    let whole_hour = if next.starts_with("o'clock") || next.starts_with("o’clock") { "" } else { "o'clock" };
    if clock.hour == 12 && clock.minute == 0 && (next.starts_with("noon") || next.starts_with("midnight")) {
        return Some(Reading::new(clock.len).say("twelve"));
    }
    Some(clock.say(Reading::new(clock.len), clock.is_24_hour(), whole_hour).dotted(clock.dotted))
}

/// From one time to another: "9am–5pm", "9-5pm", "09:00 - 17:30". One of the two must look like a time.
pub(super) fn range(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let first = Clock::read(scan.rest(), &[&TIME, &HOUR, &BARE])?;
    let between = BETWEEN.find(&scan.rest()[first.len..])?;
    let second_at = first.len + between.end();
    let second = Clock::read(&scan.rest()[second_at..], &[&TIME, &HOUR, &BARE])?;
    let certain = |c: &Clock| c.colon || c.half.is_some();
    let plausible = certain(&second) || (first.half.is_some() && (1..=12).contains(&second.hour));
    if !plausible || (!certain(&first) && !(1..=12).contains(&first.hour)) {
        return None;
    }
    let on_24_hours =
        (first.is_24_hour() && first.colon) || (second.is_24_hour() && second.colon && first.half.is_none());
    let reading = first.say(Reading::new(second_at + second.len), on_24_hours, "").say("to");
    Some(second.say(reading, on_24_hours && second.half.is_none(), "").dotted(second.dotted))
}
