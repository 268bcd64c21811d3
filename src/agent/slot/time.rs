//! Times of day as callers say them: "half past two", "three thirty", "3 pm", "quarter to nine".

use super::number;
use super::words::Words;
use jiff::civil::Time;
use std::ops::Range;

/// A time, the words it takes and how sure it is.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundTime {
    /// The time.
    pub time: Time,
    /// Words of the utterance.
    pub range: Range<usize>,
    /// 0.0–1.0.
    pub confidence: f32,
}

/// Which half of the day a phrase speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Before,
    After,
}

/// Hour and minute as said, before the half of the day is known.
#[derive(Clone, Copy)]
struct Clock {
    hour: i8,
    minute: i8,
    /// 13–23 or `15:00`-like: nothing to decide.
    full_day: bool,
    /// The words themselves show that it is a time ("o'clock", "half past", "3:30", "at …").
    plain: bool,
}

/// The time an utterance names.
///
/// `open` is the window in which an answer makes sense (opening hours): "at 3" is 15:00 when the business
/// opens at 9. Without one, 7–11 is the morning and 12–6 the afternoon. `asked`: a time was asked for, so
/// that "three" alone is one.
#[must_use]
pub fn find(words: &Words<'_>, open: Option<(Time, Time)>, asked: bool) -> Option<FoundTime> {
    let half_of_utterance = (0..words.len()).find_map(|index| part_of_day(words, index).map(|(half, _)| half));
    let mut found: Vec<FoundTime> = Vec::new();
    let mut index = 0;
    while index < words.len() {
        let Some(candidate) = at(words, index, half_of_utterance, open, asked) else {
            index += 1;
            continue;
        };
        index = candidate.range.end.max(index + 1);
        let before = candidate.range.start.wrapping_sub(1);
        if !matches!(words.at(before), "not" | "than") {
            found.push(candidate);
        }
    }
    let distinct = found.iter().map(|f| f.time).collect::<std::collections::BTreeSet<_>>().len();
    let mut best = found
        .into_iter()
        .reduce(|a, b| if (b.confidence, b.range.len()) > (a.confidence, a.range.len()) { b } else { a })?;
    if distinct > 1 {
        best.confidence *= 0.6;
    }
    Some(best)
}

/// "in the morning", "this afternoon", "at night", with its length.
fn part_of_day(words: &Words<'_>, index: usize) -> Option<(Half, usize)> {
    let lead = words.reads_any(index, &["in the", "at", "this"]).unwrap_or(0);
    let half = match words.at(index + lead) {
        "morning" => Half::Before,
        "afternoon" | "evening" | "tonight" | "night" => Half::After,
        _ => return None,
    };
    Some((half, lead + 1))
}

fn meridiem(words: &Words<'_>, index: usize) -> Option<(Half, usize)> {
    match words.at(index) {
        "am" => Some((Half::Before, 1)),
        "pm" => Some((Half::After, 1)),
        "a" if words.at(index + 1) == "m" => Some((Half::Before, 2)),
        "p" if words.at(index + 1) == "m" => Some((Half::After, 2)),
        _ => part_of_day(words, index),
    }
}

fn at(
    words: &Words<'_>,
    index: usize,
    half: Option<Half>,
    open: Option<(Time, Time)>,
    asked: bool,
) -> Option<FoundTime> {
    let lead = usize::from(matches!(words.at(index), "at" | "around" | "about" | "by" | "from" | "after" | "before"));
    let start = index + lead;
    for (phrase, hour) in [("noon", 12), ("midday", 12), ("mid day", 12), ("midnight", 0)] {
        if words.reads(start, phrase) {
            let range = index..start + phrase.split(' ').count();
            return Time::new(hour, 0, 0, 0).ok().map(|time| FoundTime { time, range, confidence: 1.0 });
        }
    }
    let (mut clock, length) = spoken_clock(words, start, lead == 1, asked)?;
    clock.plain |= lead == 1;
    let mut end = start + length;
    if let Some(extra) = words.reads_any(end, &["oclock", "o clock", "hours", "sharp", "ish"]) {
        clock.plain |= words.at(end) != "ish" && words.at(end) != "hours";
        end += extra;
    }
    let said = meridiem(words, end);
    if let Some((_, extra)) = said {
        end += extra;
        clock.plain = true;
    }
    if !clock.plain && !asked {
        return None;
    }
    let range = index..end;
    if !clock.plain && !only_a_time(words, &range) {
        return None;
    }
    let (time, sure) = settle(clock, said.map(|(half, _)| half).or(half), open)?;
    Some(FoundTime { time, range, confidence: if clock.plain { sure } else { sure * 0.9 } })
}

/// A bare "three" answers the question for the time only when no other number stands around it.
fn only_a_time(words: &Words<'_>, range: &Range<usize>) -> bool {
    let counts_something = matches!(
        words.at(range.end),
        "people"
            | "persons"
            | "days"
            | "day"
            | "weeks"
            | "week"
            | "months"
            | "month"
            | "minutes"
            | "hours"
            | "of"
            | "or"
            | "dollars"
            | "euros"
            | "pounds"
            | "percent"
            | "teeth"
            | "things"
            | "kids"
            | "children"
            | "years"
            | "times"
    );
    !counts_something && (0..words.len()).filter(|at| !range.contains(at)).all(|at| number::small(words, at).is_none())
}

/// Reads hour and minute at `index`.
fn spoken_clock(words: &Words<'_>, index: usize, cue: bool, asked: bool) -> Option<(Clock, usize)> {
    let word = words.at(index);
    // 3:30, 15:30, 3.30
    if let Some((hour, minute)) = word.split_once(':').or_else(|| word.split_once('.').filter(|(_, m)| m.len() == 2)) {
        let hour: i8 = hour.parse().ok().filter(|h| (0..24).contains(h))?;
        let leading_zero = word.starts_with('0');
        let minute: i8 = minute.get(..2)?.parse().ok().filter(|m| (0..60).contains(m))?;
        return Some((Clock { hour, minute, full_day: hour > 12 || hour == 0 || leading_zero, plain: true }, 1));
    }
    // half past two, quarter to nine, ten past three, twenty five minutes to four
    if let Some(found) = past_or_to(words, index) {
        return Some(found);
    }
    // 1530, 0930: four figures, or three when a time is expected.
    if (word.len() == 4 || (word.len() == 3 && (asked || cue))) && word.bytes().all(|b| b.is_ascii_digit()) {
        let value: i16 = word.parse().ok()?;
        let (hour, minute) = (i8::try_from(value / 100).ok()?, i8::try_from(value % 100).ok()?);
        if !(0..24).contains(&hour) || minute > 59 {
            return None;
        }
        let full_day = hour > 12 || word.starts_with('0');
        return Some((Clock { hour, minute, full_day, plain: cue }, 1));
    }
    let (hour, mut length) = hour(words, index, cue, asked)?;
    let after = index + length;
    let mut minute = 0;
    let mut plain = false;
    if words.at(after) == "hundred" && (10..24).contains(&hour) {
        length += 1;
        plain = true;
    } else if matches!(words.at(after), "oh" | "o" | "zero")
        && let Some(unit) = number::below_twenty(words.at(after + 1)).filter(|u| (1..10).contains(u))
    {
        (minute, length, plain) = (i8::try_from(unit).ok()?, length + 2, true);
    } else if let Some(counted) = number::small(words, after).filter(|c| !c.ordinal && (10..60).contains(&c.value)) {
        minute = i8::try_from(counted.value).ok()?;
        // "three thirty" is a time by itself; "three twelve" might be anything.
        plain = minute % 15 == 0;
        length += counted.length;
    }
    Some((Clock { hour, minute, full_day: hour > 12 || hour == 0, plain }, length))
}

fn past_or_to(words: &Words<'_>, index: usize) -> Option<(Clock, usize)> {
    let article = usize::from(words.at(index) == "a");
    let at = index + article;
    let (minutes, used) = match words.at(at) {
        "half" => (30, 1),
        "quarter" => (15, 1),
        _ => {
            let counted = number::small(words, at).filter(|c| !c.ordinal && (1..=29).contains(&c.value))?;
            (i8::try_from(counted.value).ok()?, counted.length)
        }
    };
    let mut next = at + used + usize::from(matches!(words.at(at + used), "minutes" | "minute"));
    let direction = words.at(next);
    let hour_at = |at: usize| -> Option<(i8, usize)> {
        if words.at(at) == "noon" || words.at(at) == "midday" {
            return Some((12, 1));
        }
        // After "to" the hour may itself be heard as "to": "quarter to to".
        let counted = number::small(words, at).filter(|c| !c.ordinal).map(|c| (c.value, c.length));
        let (value, length) = counted.or_else(|| number::homophone(words.at(at)).map(|value| (value, 1)))?;
        i8::try_from(value).ok().filter(|h| (1..=12).contains(h)).map(|hour| (hour, length))
    };
    let (hour, minute) = match direction {
        "past" | "after" | "passed" => {
            let (hour, length) = hour_at(next + 1)?;
            next += 1 + length;
            (hour, minutes)
        }
        "to" | "two" | "till" | "til" | "of" | "before" | "until" if minutes != 30 => {
            // "ten to eleven" may count something else; a quarter never does.
            let (hour, length) = hour_at(next + 1)?;
            next += 1 + length;
            (if hour == 1 { 12 } else { hour - 1 }, 60 - minutes)
        }
        // British "half two" is half past two.
        _ if minutes == 30 => {
            let (hour, length) = hour_at(next)?;
            next += length;
            (hour, 30)
        }
        _ => return None,
    };
    Some((Clock { hour, minute, full_day: false, plain: true }, next - index))
}

fn hour(words: &Words<'_>, index: usize, cue: bool, asked: bool) -> Option<(i8, usize)> {
    if let Some(counted) = number::small(words, index).filter(|c| !c.ordinal && c.value < 24) {
        return i8::try_from(counted.value).ok().map(|hour| (hour, counted.length));
    }
    // "at to", "at for pm", "for thirty", and alone when asked: speech-to-text wrote another word for the digit.
    let value = number::homophone(words.at(index)).filter(|value| *value > 0)?;
    let next = words.at(index + 1);
    let supported =
        matches!(next, "oclock" | "am" | "pm" | "thirty" | "fifteen") || meridiem(words, index + 1).is_some();
    let alone = words.nothing_but(&(index..index + 1)) && asked;
    let closes = cue && (next.is_empty() || supported || matches!(next, "please" | "on" | "would"));
    (supported || alone || closes).then_some((i8::try_from(value).ok()?, 1))
}

/// Decides the half of the day.
fn settle(clock: Clock, half: Option<Half>, open: Option<(Time, Time)>) -> Option<(Time, f32)> {
    let Clock { hour, minute, .. } = clock;
    if clock.full_day {
        return Time::new(hour, minute, 0, 0).ok().map(|time| (time, 1.0));
    }
    let (early, late) = (if hour == 12 { 0 } else { hour }, if hour == 12 { 12 } else { hour + 12 });
    let (early, late) = (Time::new(early, minute, 0, 0).ok()?, Time::new(late, minute, 0, 0).ok()?);
    match half {
        Some(Half::Before) => return Some((early, 1.0)),
        Some(Half::After) => return Some((late, 1.0)),
        None => {}
    }
    let usual = if (7..12).contains(&hour) { early } else { late };
    let Some((from, to)) = open else { return Some((usual, 0.9)) };
    let fits = |time: Time| from <= time && time < to;
    Some(match (fits(early), fits(late)) {
        (true, false) => (early, 1.0),
        (false, true) => (late, 1.0),
        (true, true) => (usual, 0.6),
        (false, false) => (usual, 0.9),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use crate::agent::value::clock;

    const OPEN: Option<(Time, Time)> = Some((jiff::civil::time(9, 0, 0, 0), jiff::civil::time(17, 0, 0, 0)));

    fn say(text: &str, asked: bool) -> Option<String> {
        find(&Words::new(text), OPEN, asked).map(|found| clock(found.time))
    }

    #[test]
    fn times_are_found_however_they_are_said() {
        let cases = [
            ("half past two", "14:30"),
            ("half two", "14:30"),
            ("quarter to nine", "08:45"),
            ("a quarter to three", "14:45"),
            ("quarter past ten", "10:15"),
            ("quarter after ten", "10:15"),
            ("quarter of three", "14:45"),
            ("ten past three", "15:10"),
            ("ten to eleven", "10:50"),
            ("twenty five to four", "15:35"),
            ("twenty minutes past one", "13:20"),
            ("quarter to to", "13:45"),
            ("half passed too", "14:30"),
            ("three thirty", "15:30"),
            ("Three-thirty.", "15:30"),
            ("three fifteen", "15:15"),
            ("nine forty five", "09:45"),
            ("three oh five", "15:05"),
            ("ten twenty", "10:20"),
            ("3:30", "15:30"),
            ("3.30", "15:30"),
            ("330", "15:30"),
            ("15:30", "15:30"),
            ("1530", "15:30"),
            ("09:30", "09:30"),
            ("fifteen thirty", "15:30"),
            ("fifteen hundred", "15:00"),
            ("fourteen hundred hours", "14:00"),
            ("3 pm", "15:00"),
            ("3pm", "15:00"),
            ("3 p.m.", "15:00"),
            ("three p m", "15:00"),
            ("9am", "09:00"),
            ("9:15 a.m.", "09:15"),
            ("three thirty pm", "15:30"),
            ("noon", "12:00"),
            ("at midday", "12:00"),
            ("midnight", "00:00"),
            ("twelve", "12:00"),
            ("12", "12:00"),
            ("twelve thirty", "12:30"),
            ("two o'clock", "14:00"),
            ("two o'clock in the afternoon", "14:00"),
            ("ten o'clock in the morning", "10:00"),
            ("eight in the evening", "20:00"),
            ("seven in the morning", "07:00"),
            ("at 3", "15:00"),
            ("at three", "15:00"),
            ("three", "15:00"),
            ("nine", "09:00"),
            ("around eleven", "11:00"),
            ("about four", "16:00"),
            ("four-ish", "16:00"),
            ("at to", "14:00"),
            ("to", "14:00"),
            ("at for", "16:00"),
            ("For thirty.", "16:30"),
            ("too o'clock", "14:00"),
            ("at for pm", "16:00"),
            ("won o'clock", "13:00"),
            ("how about Tuesday afternoon at four", "16:00"),
            ("in the morning, at ten", "10:00"),
            ("three would be good", "15:00"),
            ("not three, four thirty", "16:30"),
            ("yes, at ten please", "10:00"),
        ];
        rows(&cases, |text| say(text, true));
    }

    #[test]
    fn only_plain_times_are_taken_unasked() {
        for (text, expected) in [
            ("tomorrow at three", Some("15:00")),
            ("I'd like to come at half past two", Some("14:30")),
            ("three pm", Some("15:00")),
            ("three thirty", Some("15:30")),
            ("three", None),
            ("four people", None),
            ("to book an appointment", None),
            ("I want to ask for two things", None),
            ("number 12", None),
        ] {
            assert_eq!(say(text, false).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_time_is_no_time() {
        for text in ["", "in the morning", "I don't know", "whenever", "three or so people", "25:00", "it depends"] {
            assert_eq!(say(text, true), None, "{text}");
        }
    }

    #[test]
    fn without_opening_hours_the_usual_half_of_the_day_is_meant() {
        let hour = |text| find(&Words::new(text), None, true).map(|found| found.time.hour());
        assert_eq!(hour("seven"), Some(7));
        assert_eq!(hour("six"), Some(18));
        assert_eq!(hour("eleven"), Some(11));
        assert_eq!(hour("twelve"), Some(12));
    }
}
