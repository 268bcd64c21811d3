//! Calendar days as callers say them: "next Tuesday", "the 24th", "in two weeks", "11/24".

use super::number::{self, Counted};
use super::words::{Words, edit_distance};
use jiff::Span;
use jiff::civil::{Date, Weekday};
use std::ops::Range;

/// How a caller's words are turned into a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Almanac {
    /// The business's today.
    pub today: Date,
    /// `24/11` rather than `11/24`.
    pub day_first: bool,
}

/// A day, the words it takes and how sure it is.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundDate {
    /// The day.
    pub date: Date,
    /// Words of the utterance.
    pub range: Range<usize>,
    /// 0.0–1.0.
    pub confidence: f32,
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Days with a name and a fixed date.
const FEASTS: [(&str, i8, i8); 9] = [
    ("christmas eve", 12, 24),
    ("christmas day", 12, 25),
    ("christmas", 12, 25),
    ("boxing day", 12, 26),
    ("new year's eve", 12, 31),
    ("new year's day", 1, 1),
    ("halloween", 10, 31),
    ("valentine's day", 2, 14),
    ("independence day", 7, 4),
];

/// The weekday a word names, misspellings, plurals and common abbreviations included.
#[must_use]
pub fn weekday(word: &str) -> Option<Weekday> {
    let abbreviated = match word {
        "mon" => Some(Weekday::Monday),
        "tue" | "tues" | "choose day" => Some(Weekday::Tuesday),
        "wed" | "weds" | "wensday" | "wendsday" => Some(Weekday::Wednesday),
        "thu" | "thur" | "thurs" => Some(Weekday::Thursday),
        "fri" => Some(Weekday::Friday),
        _ => None,
    };
    if abbreviated.is_some() {
        return abbreviated;
    }
    let word = word.strip_suffix("'s").unwrap_or(word);
    let singular = if word.ends_with("days") { word.strip_suffix('s').unwrap_or(word) } else { word };
    WEEKDAYS
        .iter()
        .find(|(name, _)| *name == singular || (singular.len() >= 6 && edit_distance(name, singular) <= 1))
        // "monday" and "sunday" are two edits apart; one edit cannot be ambiguous.
        .filter(|(name, _)| name.starts_with(singular.get(..1).unwrap_or_default()))
        .map(|(_, weekday)| *weekday)
}

fn month(word: &str) -> Option<i8> {
    let abbreviated = match word {
        "jan" => Some(1),
        "feb" | "febuary" => Some(2),
        "apr" => Some(4),
        "aug" => Some(8),
        "sep" | "sept" => Some(9),
        "oct" => Some(10),
        "nov" => Some(11),
        "dec" => Some(12),
        _ => None,
    };
    if abbreviated.is_some() {
        return abbreviated;
    }
    (1..)
        .zip(MONTHS)
        .find(|(_, name)| *name == word || (word.len() >= 7 && name.len() >= 7 && edit_distance(name, word) <= 1))
        .map(|(number, _)| number)
}

fn add_days(date: Date, days: i32) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn add_months(date: Date, months: i32) -> Option<Date> {
    date.checked_add(Span::new().try_months(months).ok()?).ok()
}

/// The first such weekday after `today`.
fn coming(today: Date, day: Weekday) -> Option<Date> {
    let ahead =
        (i32::from(day.to_monday_zero_offset()) - i32::from(today.weekday().to_monday_zero_offset())).rem_euclid(7);
    add_days(today, if ahead == 0 { 7 } else { ahead })
}

/// This weekday in the calendar week (Monday first) `weeks` after the current one.
fn in_week(today: Date, day: Weekday, weeks: i32) -> Option<Date> {
    let monday = add_days(today, -i32::from(today.weekday().to_monday_zero_offset()))?;
    add_days(monday, weeks * 7 + i32::from(day.to_monday_zero_offset()))
}

/// The next such day and month, today included.
fn next_yearly(today: Date, month: i8, day: i8) -> Option<Date> {
    (0..=8).filter_map(|ahead| Date::new(today.year().checked_add(ahead)?, month, day).ok()).find(|date| *date >= today)
}

/// The next such day of the month, today included.
fn next_monthly(today: Date, day: i8) -> Option<Date> {
    (0..=12)
        .filter_map(|ahead| add_months(today.first_of_month(), ahead))
        .filter_map(|first| Date::new(first.year(), first.month(), day).ok())
        .find(|date| *date >= today)
}

impl Almanac {
    /// The day an utterance names. `asked`: a date was asked for, so that "twenty four" or "24" is one.
    #[must_use]
    pub fn find(&self, words: &Words<'_>, asked: bool) -> Option<FoundDate> {
        let mut found: Vec<FoundDate> = Vec::new();
        let mut index = 0;
        while index < words.len() {
            match self.at(words, index, asked) {
                Some((date, length, confidence)) if length > 0 => {
                    if !refused(words, index) {
                        found.push(FoundDate { date, range: index..index + length, confidence });
                    }
                    index += length;
                }
                _ => index += 1,
            }
        }
        if found.is_empty() && asked {
            found.extend(self.bare_numbers(words));
        }
        // "Monday, the third" in two pieces: the surer, longer one; doubt when two days were named.
        let distinct = found.iter().map(|f| f.date).collect::<std::collections::BTreeSet<_>>().len();
        let mut best = found
            .into_iter()
            .reduce(|a, b| if (b.confidence, b.range.len()) > (a.confidence, a.range.len()) { b } else { a })?;
        if distinct > 1 {
            best.confidence *= 0.6;
        }
        Some(best)
    }

    /// The date that starts at `index`: itself, its words, its confidence.
    fn at(&self, words: &Words<'_>, index: usize, asked: bool) -> Option<(Date, usize, f32)> {
        self.relative(words, index)
            .or_else(|| self.numeric(words.at(index)).map(|date| (date, 1, 0.95)))
            .or_else(|| self.iso(words, index))
            .or_else(|| self.month_and_day(words, index))
            .or_else(|| self.by_weekday(words, index))
            .or_else(|| self.day_of_month(words, index, asked))
            .or_else(|| self.feast(words, index))
    }

    fn relative(&self, words: &Words<'_>, index: usize) -> Option<(Date, usize, f32)> {
        for (phrase, days) in [
            ("the day after tomorrow", 2),
            ("day after tomorrow", 2),
            ("a week from tomorrow", 8),
            ("a week from today", 7),
            ("a week today", 7),
            ("today week", 7),
            ("this afternoon", 0),
            ("this morning", 0),
            ("this evening", 0),
            ("tomorrow", 1),
            ("to morrow", 1),
            ("tomorow", 1),
            ("today", 0),
            ("tonight", 0),
            ("yesterday", -1),
        ] {
            if words.reads(index, phrase) {
                let doubt = if phrase.starts_with("this ") { 0.8 } else { 1.0 };
                return add_days(self.today, days).map(|date| (date, phrase.split(' ').count(), doubt));
            }
        }
        // "in two weeks", "two weeks from now", "in a fortnight", "a week from Tuesday"
        let lead = usize::from(matches!(words.at(index), "in" | "within"));
        let start = index + lead;
        let (count, used) = if let Some(length) = words.reads_any(start, &["a couple of", "a couple"]) {
            (2, length)
        } else if matches!(words.at(start), "a" | "an" | "one") {
            (1, 1)
        } else {
            let counted = number::small(words, start).filter(|c| !c.ordinal)?;
            (i32::try_from(counted.value).ok()?, counted.length)
        };
        let unit_at = start + used;
        let unit = words.at(unit_at);
        let mut length = lead + used + 1;
        let tail = unit_at + 1;
        let from = if let Some(extra) = words.reads_any(tail, &["from now", "from today", "time"]) {
            length += extra;
            Some(self.today)
        } else if matches!(words.at(tail), "from" | "after" | "on") {
            let skip = usize::from(words.at(tail + 1) == "next") + 1;
            weekday(words.at(tail + skip)).and_then(|day| coming(self.today, day)).inspect(|_| length += skip + 1)
        } else {
            (lead == 1).then_some(self.today)
        }?;
        let date = match unit {
            "day" | "days" => add_days(from, count),
            "week" | "weeks" | "week's" => add_days(from, count * 7),
            "fortnight" => add_days(from, count * 14),
            "month" | "months" => add_months(from, count),
            _ => None,
        }?;
        Some((date, length, 0.95))
    }

    /// `11/24`, `11/24/2026`, `24.11.2026`.
    fn numeric(&self, word: &str) -> Option<Date> {
        let separator = ['/', '.'].into_iter().find(|s| word.contains(*s))?;
        let parts: Vec<i16> = word.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
        let (a, b, year) = match parts.as_slice() {
            [a, b] if separator == '/' => (*a, *b, None),
            [a, b, year] => (*a, *b, Some(if *year < 100 { year + 2000 } else { *year })),
            _ => return None,
        };
        let (a, b) = (i8::try_from(a).ok()?, i8::try_from(b).ok()?);
        let day_first = self.day_first || separator == '.' || a > 12;
        let (month, day) = if day_first && b <= 12 { (b, a) } else { (a, b) };
        match year {
            Some(year) => Date::new(year, month, day).ok(),
            None => next_yearly(self.today, month, day),
        }
    }

    fn iso(&self, words: &Words<'_>, index: usize) -> Option<(Date, usize, f32)> {
        let year: i16 = Some(words.at(index)).filter(|y| y.len() == 4 && y.starts_with("20"))?.parse().ok()?;
        let date = Date::new(year, words.at(index + 1).parse().ok()?, words.at(index + 2).parse().ok()?).ok()?;
        Some((date, 3, 0.95))
    }

    /// "November 24th", "the 24th of November 2026", "24 November".
    fn month_and_day(&self, words: &Words<'_>, index: usize) -> Option<(Date, usize, f32)> {
        let day_at = |at: usize| -> Option<Counted> {
            let at_number = at + usize::from(words.at(at) == "the");
            number::small(words, at_number)
                .filter(|counted| (1..=31).contains(&counted.value))
                .map(|counted| Counted { length: counted.length + (at_number - at), ..counted })
        };
        let (month, day, mut length) = if let Some(month) = month(words.at(index)) {
            let day = day_at(index + 1)?;
            (month, day.value, 1 + day.length)
        } else {
            let day = day_at(index)?;
            let of = usize::from(words.at(index + day.length) == "of");
            (month(words.at(index + day.length + of))?, day.value, day.length + of + 1)
        };
        let day = i8::try_from(day).ok()?;
        let year = self.year(words, index + length);
        if let Some((year, used)) = year {
            length += used;
            return Date::new(year, month, day).ok().map(|date| (date, length, 1.0));
        }
        next_yearly(self.today, month, day).map(|date| (date, length, 1.0))
    }

    /// "2026", "twenty twenty six", "two thousand twenty six".
    fn year(&self, words: &Words<'_>, index: usize) -> Option<(i16, usize)> {
        let near = |year: &i16| (self.today.year() - 1..=self.today.year() + 10).contains(year);
        if let Some(year) = words.at(index).parse::<i16>().ok().filter(near) {
            return Some((year, 1));
        }
        if words.at(index) == "twenty"
            && let Some(rest) = number::small(words, index + 1)
            && let Some(year) = i16::try_from(rest.value).ok().map(|value| 2000 + value).filter(near)
        {
            return Some((year, 1 + rest.length));
        }
        let whole = number::whole(words, index)?;
        i16::try_from(whole.value).ok().filter(near).map(|year| (year, whole.length))
    }

    /// "Tuesday", "next Tuesday", "Tuesday week", "Monday the third", "Monday, November 3rd".
    fn by_weekday(&self, words: &Words<'_>, index: usize) -> Option<(Date, usize, f32)> {
        let mut at = index;
        let mut weeks: Option<i32> = None;
        let mut coming_one = false;
        if let Some(length) = words.reads_any(at, &["next week on", "next week"]) {
            (weeks, at) = (Some(1), at + length);
        } else if let Some(length) = words.reads_any(at, &["this week on", "this week"]) {
            (weeks, at) = (Some(0), at + length);
        } else if matches!(words.at(at), "next") {
            (weeks, at) = (Some(1), at + 1);
        } else if matches!(words.at(at), "this" | "coming" | "upcoming" | "following") {
            coming_one = true;
            at += 1;
        }
        let day = weekday(words.at(at))?;
        at += 1;
        // A day of the month may follow: "Monday the third", "Monday, November 3rd".
        let after = at + usize::from(words.at(at) == "on");
        if let Some((dated, length, _)) = self.month_and_day(words, after) {
            let sure = if dated.weekday() == day { 1.0 } else { 0.4 };
            return Some((dated, after + length - index, sure));
        }
        let the = usize::from(words.at(after) == "the");
        if let Some(counted) = number::small(words, after + the)
            .filter(|counted| (1..=31).contains(&counted.value) && (the == 1 || counted.ordinal))
            && let Ok(number) = i8::try_from(counted.value)
            && !matches!(words.at(after + the + counted.length), "oclock" | "am" | "pm")
        {
            let length = after + the + counted.length - index;
            let matching = (0..=12)
                .filter_map(|ahead| add_months(self.today.first_of_month(), ahead))
                .filter_map(|first| Date::new(first.year(), first.month(), number).ok())
                .find(|date| *date >= self.today && date.weekday() == day);
            return match matching {
                // Months away: more likely one of the two was misheard.
                Some(date) if (date - self.today).get_days() <= 62 => Some((date, length, 1.0)),
                _ => next_monthly(self.today, number).map(|date| (date, length, 0.4)),
            };
        }
        if let Some(length) = words.reads_any(at, &["next week", "of next week"]) {
            return in_week(self.today, day, 1).map(|date| (date, at + length - index, 1.0));
        }
        if let Some(length) = words.reads_any(at, &["after next", "in two weeks"]) {
            return in_week(self.today, day, 2).map(|date| (date, at + length - index, 0.9));
        }
        if words.at(at) == "week" {
            let date = coming(self.today, day).and_then(|date| add_days(date, 7));
            return date.map(|date| (date, at + 1 - index, 0.9));
        }
        if let Some(weeks) = weeks {
            let date = in_week(self.today, day, weeks)?;
            // "next Friday" said on a Monday: some mean this week's.
            let sure = if weeks == 1 && Some(date) != coming(self.today, day) { 0.8 } else { 1.0 };
            return Some((date, at - index, sure));
        }
        let date = if coming_one && self.today.weekday() == day { Some(self.today) } else { coming(self.today, day) };
        date.map(|date| (date, at - index, 1.0))
    }

    /// "the 24th", "the first of next month", and when asked "24th".
    fn day_of_month(&self, words: &Words<'_>, index: usize, asked: bool) -> Option<(Date, usize, f32)> {
        let the = usize::from(words.at(index) == "the");
        let counted = number::small(words, index + the).filter(|c| c.ordinal && (1..=31).contains(&c.value))?;
        let end = index + the + counted.length;
        let day = i8::try_from(counted.value).ok()?;
        if let Some(length) = words.reads_any(end, &["of next month", "next month"]) {
            let first = add_months(self.today.first_of_month(), 1)?;
            return Date::new(first.year(), first.month(), day).ok().map(|date| (date, end + length - index, 1.0));
        }
        if let Some(length) = words.reads_any(end, &["of this month", "of the month"]) {
            return next_monthly(self.today, day).map(|date| (date, end + length - index, 1.0));
        }
        // "the first one", "a second", "the third option", "the first available slot" name no day.
        let pointing = matches!(
            words.at(end),
            "one"
                | "available"
                | "option"
                | "slot"
                | "appointment"
                | "time"
                | "free"
                | "choice"
                | "floor"
                | "visit"
                | "thing"
        );
        if pointing || (the == 0 && !asked) || (the == 0 && words.at(index.wrapping_sub(1)) == "a") {
            return None;
        }
        next_monthly(self.today, day).map(|date| (date, end - index, if the == 1 { 0.95 } else { 0.85 }))
    }

    fn feast(&self, words: &Words<'_>, index: usize) -> Option<(Date, usize, f32)> {
        let (phrase, month, day) = FEASTS.iter().find(|(phrase, ..)| words.reads(index, phrase))?;
        next_yearly(self.today, *month, *day).map(|date| (date, phrase.split(' ').count(), 0.9))
    }

    /// "twenty four", "24", "eleven twenty four", said in answer to a question for the day.
    fn bare_numbers(&self, words: &Words<'_>) -> Option<FoundDate> {
        for index in 0..words.len() {
            let Some(first) = number::small(words, index).filter(|c| (1..=31).contains(&c.value)) else { continue };
            let after = index + first.length;
            let second = number::small(words, after).filter(|c| (1..=31).contains(&c.value));
            let (date, end, confidence) = match second {
                Some(second) => {
                    let (a, b) = (i8::try_from(first.value).ok()?, i8::try_from(second.value).ok()?);
                    let (month, day) = if (self.day_first && b <= 12) || a > 12 { (b, a) } else { (a, b) };
                    (next_yearly(self.today, month, day)?, after + second.length, 0.6)
                }
                None => (next_monthly(self.today, i8::try_from(first.value).ok()?)?, after, 0.6),
            };
            let range = index..end;
            let of_time = matches!(words.at(index.wrapping_sub(1)), "at" | "around" | "by")
                || matches!(words.at(end), "oclock" | "am" | "pm");
            if of_time {
                return None;
            }
            return words.nothing_but(&range).then_some(FoundDate { date, range, confidence });
        }
        None
    }
}

/// Whether the speaker rules out what starts at `index`: "not Tuesday", "I can't do Tuesday".
fn refused(words: &Words<'_>, index: usize) -> bool {
    (index.saturating_sub(3)..index).rev().any(|before| {
        let stopped = (before..index).any(|at| words.word(at).is_some_and(|w| w.stop.is_some()));
        let word = words.at(before);
        !stopped
            && (matches!(word, "not" | "except" | "cannot" | "never") || (word.ends_with("n't") && word != "don't"))
            && !words.reads(before, "not sure")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    /// A Monday.
    const TODAY: Date = jiff::civil::date(2026, 11, 23);

    fn find(text: &str, asked: bool) -> Option<String> {
        let almanac = Almanac { today: TODAY, day_first: false };
        almanac.find(&Words::new(text), asked).map(|found| found.date.to_string())
    }

    #[test]
    fn days_are_found_however_they_are_said() {
        let cases = [
            ("tomorrow", "2026-11-24"),
            ("Tomorrow, please.", "2026-11-24"),
            ("today", "2026-11-23"),
            ("the day after tomorrow", "2026-11-25"),
            ("day after tomorrow would be great", "2026-11-25"),
            ("Tuesday", "2026-11-24"),
            ("On Tuesday.", "2026-11-24"),
            ("tuesdays", "2026-11-24"),
            ("this Tuesday", "2026-11-24"),
            ("next Tuesday", "2026-12-01"),
            ("next Monday", "2026-11-30"),
            ("Monday", "2026-11-30"),
            ("Tuesday next week", "2026-12-01"),
            ("next week Tuesday", "2026-12-01"),
            ("next week on Thursday", "2026-12-03"),
            ("Friday of next week", "2026-12-04"),
            ("Tuesday week", "2026-12-01"),
            ("the Friday after next", "2026-12-11"),
            ("the 24th", "2026-11-24"),
            ("the twenty fourth", "2026-11-24"),
            ("the twenty-fourth.", "2026-11-24"),
            ("24th", "2026-11-24"),
            ("the third", "2026-12-03"),
            ("the 3rd of December", "2026-12-03"),
            ("November 24th", "2026-11-24"),
            ("November twenty fourth", "2026-11-24"),
            ("November the twenty fourth", "2026-11-24"),
            ("Novemeber 24", "2026-11-24"),
            ("24 November", "2026-11-24"),
            ("the twenty fourth of November", "2026-11-24"),
            ("November 24th 2026", "2026-11-24"),
            ("November twenty fourth twenty twenty six", "2026-11-24"),
            ("March 1st", "2027-03-01"),
            ("January 5", "2027-01-05"),
            ("May 2nd", "2027-05-02"),
            ("Monday the third", "2026-12-03"),
            ("Thursday the third", "2026-12-03"),
            ("Thursday, December 3rd", "2026-12-03"),
            ("Thursday the 3rd of December", "2026-12-03"),
            ("in two weeks", "2026-12-07"),
            ("two weeks from now", "2026-12-07"),
            ("in a week", "2026-11-30"),
            ("a week from today", "2026-11-30"),
            ("a week from Tuesday", "2026-12-01"),
            ("in three days", "2026-11-26"),
            ("in 3 days", "2026-11-26"),
            ("in a fortnight", "2026-12-07"),
            ("in a month", "2026-12-23"),
            ("in a couple of days", "2026-11-25"),
            ("in ten days' time", "2026-12-03"),
            ("11/24", "2026-11-24"),
            ("11/24/2026", "2026-11-24"),
            ("24/11", "2026-11-24"),
            ("2026-11-24", "2026-11-24"),
            ("24.11.2026", "2026-11-24"),
            ("eleven twenty four", "2026-11-24"),
            ("twenty four", "2026-11-24"),
            ("the first of next month", "2026-12-01"),
            ("Christmas Eve", "2026-12-24"),
            ("wednsday", "2026-11-25"),
            ("Wendesday", "2026-11-25"),
            ("how about Wednesday afternoon at three", "2026-11-25"),
            ("I'd like to come in on Friday if that's possible", "2026-11-27"),
            ("not Tuesday, Wednesday", "2026-11-25"),
            ("I can't do Tuesday, but Thursday works", "2026-11-26"),
            ("uh, let me see, maybe Thursday", "2026-11-26"),
        ];
        rows(&cases, |text| find(text, true));
    }

    #[test]
    fn what_names_no_day_is_no_day() {
        for text in [
            "",
            "I don't know",
            "the first available",
            "wait a second",
            "as soon as possible",
            "may I ask something",
            "at three",
            "march on",
        ] {
            assert_eq!(find(text, true), None, "{text}");
        }
    }

    #[test]
    fn only_plain_days_are_taken_unasked() {
        for text in ["twenty four", "24", "second", "eleven twenty four"] {
            assert_eq!(find(text, false), None, "{text}");
        }
        assert_eq!(find("my name is Anna and I'd like tomorrow", false).as_deref(), Some("2026-11-24"));
    }

    #[test]
    fn a_weekday_that_contradicts_the_date_leaves_doubt() {
        let almanac = Almanac { today: TODAY, day_first: false };
        let sure = |text| almanac.find(&Words::new(text), true).map(|f| f.confidence);
        assert!(sure("Monday the third") < Some(0.5));
        assert_eq!(sure("Thursday the third"), Some(1.0));
        assert!(sure("Tuesday or Wednesday") < Some(0.7));
    }

    #[test]
    fn day_first_countries_read_numbers_their_way() {
        let almanac = Almanac { today: TODAY, day_first: true };
        let date = |text| almanac.find(&Words::new(text), true).map(|f| f.date.to_string());
        assert_eq!(date("3/12").as_deref(), Some("2026-12-03"));
        assert_eq!(find("3/12", true).as_deref(), Some("2027-03-12"));
    }
}
