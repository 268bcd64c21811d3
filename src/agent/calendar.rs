//! Opening hours.

use super::speak;
use super::value::parse_clock;
use jiff::civil::{Date, Time, Weekday};

/// Opening hours by weekday, with days on which everything is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// Its name in the agent file.
    pub id: String,
    /// Spans per weekday, Monday first; an end is not itself open. Empty means closed.
    pub week: [Vec<(Time, Time)>; 7],
    /// Days on which it is closed whatever the weekday.
    pub closed: Vec<Date>,
}

impl Calendar {
    /// The spans of one weekday.
    #[must_use]
    pub fn on_weekday(&self, day: Weekday) -> &[(Time, Time)] {
        usize::try_from(day.to_monday_zero_offset())
            .ok()
            .and_then(|index| self.week.get(index))
            .map_or(&[], Vec::as_slice)
    }

    /// The spans of one day.
    #[must_use]
    pub fn on(&self, day: Date) -> &[(Time, Time)] {
        if self.closed.contains(&day) { &[] } else { self.on_weekday(day.weekday()) }
    }

    /// Whether it is open at this moment.
    #[must_use]
    pub fn is_open(&self, day: Date, time: Time) -> bool {
        self.on(day).iter().any(|(from, to)| *from <= time && time < *to)
    }

    /// From the earliest opening to the latest closing of any day: the window in which "at three" makes sense.
    #[must_use]
    pub fn window(&self) -> Option<(Time, Time)> {
        let spans = self.week.iter().flatten();
        let from = spans.clone().map(|(from, _)| *from).min()?;
        Some((from, spans.map(|(_, to)| *to).max()?))
    }

    /// "from 9:00 AM to noon and from 1:00 PM to 5:00 PM".
    #[must_use]
    pub fn spoken(spans: &[(Time, Time)]) -> String {
        let spoken: Vec<String> =
            spans.iter().map(|(from, to)| format!("from {} to {}", speak::time(*from), speak::time(*to))).collect();
        speak::list(&spoken, "and")
    }
}

/// Reads `9:00-12:00, 13:00-17:00` or `closed`.
#[must_use]
pub fn parse_spans(text: &str) -> Option<Vec<(Time, Time)>> {
    if text.trim() == "closed" {
        return Some(Vec::new());
    }
    text.split(',')
        .map(|span| {
            let (from, to) = span.trim().split_once(['-', '\u{2013}'])?;
            let (from, to) = (parse_clock(from.trim())?, parse_clock(to.trim())?);
            (from < to).then_some((from, to))
        })
        .collect()
}

/// Reads `monday` or `monday-friday` as weekday indices, Monday first.
#[must_use]
pub fn parse_weekdays(text: &str) -> Option<Vec<usize>> {
    let index = |name: &str| {
        super::slot::date::weekday(name.trim()).and_then(|day| usize::try_from(day.to_monday_zero_offset()).ok())
    };
    match text.split_once('-') {
        None => index(text).map(|day| vec![day]),
        Some((from, to)) => {
            let (from, to) = (index(from)?, index(to)?);
            Some((0..7).map(|step| (from + step) % 7).take((7 + to - from) % 7 + 1).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    #[test]
    fn hours_are_read_and_applied() {
        let mut week: [Vec<(Time, Time)>; 7] = Default::default();
        for day in parse_weekdays("monday-friday").unwrap_or_default() {
            week[day] = parse_spans("9:00-12:00, 13:00-17:00").unwrap_or_default();
        }
        let calendar = Calendar { id: "practice".into(), week, closed: vec![date(2026, 12, 25)] };
        assert!(calendar.is_open(date(2026, 11, 23), time(9, 0, 0, 0)));
        assert!(!calendar.is_open(date(2026, 11, 23), time(12, 0, 0, 0)), "the end is not open");
        assert!(!calendar.is_open(date(2026, 11, 22), time(10, 0, 0, 0)), "a Sunday");
        assert!(!calendar.is_open(date(2026, 12, 25), time(10, 0, 0, 0)), "a closed Friday");
        assert_eq!(calendar.window(), Some((time(9, 0, 0, 0), time(17, 0, 0, 0))));
        assert_eq!(
            Calendar::spoken(calendar.on(date(2026, 11, 23))),
            "from 9:00 AM to noon and from 1:00 PM to 5:00 PM"
        );
        assert_eq!(parse_weekdays("saturday-monday"), Some(vec![5, 6, 0]));
        assert_eq!(parse_spans("17:00-9:00"), None);
    }
}
