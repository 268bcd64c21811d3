//! What a variable accepts, and what is said when a value does not fit.

use super::calendar::Calendar;
use super::slot::Choice;
use super::speak;
use super::value::{Kind, parse_clock};
use jiff::Span;
use jiff::civil::{Date, DateTime, Time, Weekday};
use serde_json::Value;

/// A variable of the agent file: what it holds and what it accepts.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What callers call it when they correct it: "day", "date". The name itself always counts.
    pub called: Vec<String>,
    /// Options of a choice.
    pub choices: Vec<Choice>,
    /// Its value at the start of a call.
    pub default: Option<Value>,
    /// What it accepts.
    pub rule: Rule,
    /// Said instead of the standard reason when a value does not fit; a template.
    pub reason: Option<String>,
}

/// What a variable accepts beyond its kind. Everything is optional.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rule {
    /// Earliest and latest day.
    pub days: (Option<DayLimit>, Option<DayLimit>),
    /// Opening hours that a day or time must respect.
    pub calendar: Option<usize>,
    /// The variable that holds the day a time is on, for that day's hours.
    pub day: Option<String>,
    /// Earliest time, and the time from which on it is too late.
    pub between: Option<(Time, Time)>,
    /// Only every so many minutes past the hour.
    pub every_minutes: Option<i8>,
    /// Least number.
    pub min: Option<f64>,
    /// Greatest number.
    pub max: Option<f64>,
    /// Whole numbers only.
    pub whole: bool,
    /// Fewest and most digits of a telephone number.
    pub digits: Option<(usize, usize)>,
}

/// A bound on a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DayLimit {
    /// So many days from today.
    Ahead(i32),
    /// This very day.
    On(Date),
}

impl DayLimit {
    /// Reads `today`, `tomorrow`, `+90 days`, `90 days` or `2026-12-31`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "today" => return Some(Self::Ahead(0)),
            "tomorrow" => return Some(Self::Ahead(1)),
            _ => {}
        }
        if let Ok(date) = text.parse::<Date>() {
            return Some(Self::On(date));
        }
        let (count, unit) = text.trim_start_matches('+').split_once(' ')?;
        let count: i32 = count.parse().ok()?;
        let days = match unit {
            "day" | "days" => count,
            "week" | "weeks" => count.checked_mul(7)?,
            _ => return None,
        };
        (-3660..=3660).contains(&days).then_some(Self::Ahead(days))
    }

    fn on(self, today: Date) -> Date {
        match self {
            Self::On(date) => date,
            Self::Ahead(days) => today.checked_add(Span::new().days(days)).unwrap_or(today),
        }
    }
}

/// What a rule is checked against beside the value.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'c> {
    /// The business's date and time.
    pub now: DateTime,
    /// All calendars of the agent.
    pub calendars: &'c [Calendar],
    /// The day a time is on, if known.
    pub day: Option<Date>,
}

impl Variable {
    /// Whether a value fits, or the reason to say.
    ///
    /// # Errors
    /// The standard reason, a whole sentence.
    pub fn check(&self, value: &Value, circumstances: &Circumstances<'_>) -> Result<(), String> {
        let text = value.as_str();
        match self.kind {
            Kind::Date => text.and_then(|t| t.parse().ok()).map_or(Ok(()), |day| self.check_date(day, circumstances)),
            Kind::Time => text.and_then(parse_clock).map_or(Ok(()), |time| self.check_time(time, circumstances)),
            Kind::Number => value.as_f64().map_or(Ok(()), |number| self.check_number(number)),
            Kind::PhoneNumber => text.map_or(Ok(()), |number| self.check_phone(number)),
            _ => Ok(()),
        }
    }

    fn check_date(&self, day: Date, circumstances: &Circumstances<'_>) -> Result<(), String> {
        let today = circumstances.now.date();
        let say = |day| speak::date(day, today);
        if let Some(earliest) = self.rule.days.0.map(|limit| limit.on(today)).filter(|earliest| day < *earliest) {
            if day < today {
                return Err(format!("{} has already passed.", say(day)));
            }
            return Err(format!("The earliest I can do is {}.", say(earliest)));
        }
        if let Some(latest) = self.rule.days.1.map(|limit| limit.on(today)).filter(|latest| day > *latest) {
            return Err(format!("The latest I can do is {}.", say(latest)));
        }
        let Some(calendar) = self.rule.calendar.and_then(|index| circumstances.calendars.get(index)) else {
            return Ok(());
        };
        if calendar.closed.contains(&day) {
            return Err(format!("We're closed on {}.", say(day)));
        }
        if calendar.on_weekday(day.weekday()).is_empty() {
            return Err(format!("We're closed on {}s.", weekday(day.weekday())));
        }
        Ok(())
    }

    fn check_time(&self, time: Time, circumstances: &Circumstances<'_>) -> Result<(), String> {
        if let Some((from, to)) = self.rule.between
            && !(from <= time && time < to)
        {
            return Err(format!("It has to be between {} and {}.", speak::time(from), speak::time(to)));
        }
        if let Some(calendar) = self.rule.calendar.and_then(|index| circumstances.calendars.get(index)) {
            let fits = |spans: &[(Time, Time)]| spans.iter().any(|(from, to)| *from <= time && time < *to);
            match circumstances.day {
                Some(day) if !fits(calendar.on(day)) => {
                    let spans = calendar.on(day);
                    if spans.is_empty() {
                        return Err(format!("We're closed on {}.", speak::date(day, circumstances.now.date())));
                    }
                    return Err(format!("On {}s we're open {}.", weekday(day.weekday()), Calendar::spoken(spans)));
                }
                None if !calendar.week.iter().any(|spans| fits(spans)) => {
                    let hours = calendar.window().map(|window| Calendar::spoken(&[window])).unwrap_or_default();
                    return Err(format!("We're open {hours}."));
                }
                _ => {}
            }
        }
        if circumstances.day == Some(circumstances.now.date()) && time <= circumstances.now.time() {
            return Err(format!("{} today has already passed.", speak::time(time)));
        }
        if let Some(every) = self.rule.every_minutes.filter(|every| *every > 0 && time.minute() % every != 0) {
            let start = i16::from(time.minute() / every) * i16::from(every);
            let at = |minute: i16| {
                let hour = i16::from(time.hour()) + minute / 60;
                Time::new(i8::try_from(hour % 24).unwrap_or(0), i8::try_from(minute % 60).unwrap_or(0), 0, 0).ok()
            };
            let near: Vec<String> =
                [at(start), at(start + i16::from(every))].into_iter().flatten().map(speak::time).collect();
            return Err(format!("I can offer {}.", speak::list(&near, "or")));
        }
        Ok(())
    }

    fn check_number(&self, number: f64) -> Result<(), String> {
        if self.rule.whole && number.fract() != 0.0 {
            return Err("It has to be a whole number.".into());
        }
        if let Some(min) = self.rule.min.filter(|min| number < *min) {
            return Err(format!("It has to be at least {}.", speak::number(min)));
        }
        if let Some(max) = self.rule.max.filter(|max| number > *max) {
            return Err(format!("It can be at most {}.", speak::number(max)));
        }
        Ok(())
    }

    fn check_phone(&self, number: &str) -> Result<(), String> {
        let count = number.bytes().filter(u8::is_ascii_digit).count();
        let (fewest, most) = self.rule.digits.unwrap_or((7, 15));
        if count < fewest {
            return Err(format!("I only heard {count} digits."));
        }
        if count > most {
            return Err(format!("I heard {count} digits, which is too many."));
        }
        Ok(())
    }
}

fn weekday(day: Weekday) -> &'static str {
    speak::weekday(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};
    use serde_json::json;

    fn variable(kind: Kind, rule: Rule) -> Variable {
        Variable { name: "x".into(), kind, called: vec![], choices: vec![], default: None, rule, reason: None }
    }

    fn check(variable: &Variable, value: &Value, day: Option<Date>) -> Result<(), String> {
        let mut week: [Vec<(Time, Time)>; 7] = Default::default();
        for spans in week.iter_mut().take(5) {
            spans.push((time(9, 0, 0, 0), time(17, 0, 0, 0)));
        }
        let calendars = [Calendar { id: "practice".into(), week, closed: vec![date(2026, 12, 25)] }];
        // Monday, 11:00
        let now = date(2026, 11, 23).at(11, 0, 0, 0);
        variable.check(value, &Circumstances { now, calendars: &calendars, day })
    }

    #[test]
    fn a_day_must_lie_ahead_within_reach_and_on_an_open_day() {
        let limits = (Some(DayLimit::Ahead(0)), DayLimit::parse("+90 days"));
        let day = variable(Kind::Date, Rule { days: limits, calendar: Some(0), ..Rule::default() });
        assert_eq!(check(&day, &json!("2026-11-24"), None), Ok(()));
        for (value, reason) in [
            ("2026-11-20", "Friday, November 20th, 2026 has already passed."),
            ("2027-06-01", "The latest I can do is Sunday, February 21st."),
            ("2026-11-28", "We're closed on Saturdays."),
            ("2026-12-25", "We're closed on Friday, December 25th."),
        ] {
            assert_eq!(check(&day, &json!(value), None), Err(reason.to_owned()), "{value}");
        }
    }

    #[test]
    fn a_time_must_lie_within_the_hours_of_its_day() {
        let rule = Rule { calendar: Some(0), every_minutes: Some(30), ..Rule::default() };
        let at = variable(Kind::Time, rule);
        let tuesday = Some(date(2026, 11, 24));
        assert_eq!(check(&at, &json!("15:00"), tuesday), Ok(()));
        for (value, day, reason) in [
            ("18:00", tuesday, "On Tuesdays we're open from 9:00 AM to 5:00 PM."),
            ("18:00", None, "We're open from 9:00 AM to 5:00 PM."),
            ("15:10", tuesday, "I can offer 3:00 PM or 3:30 PM."),
            ("15:50", tuesday, "I can offer 3:30 PM or 4:00 PM."),
            ("10:00", Some(date(2026, 11, 23)), "10:00 AM today has already passed."),
            ("10:00", Some(date(2026, 11, 29)), "We're closed on Sunday, November 29th."),
        ] {
            assert_eq!(check(&at, &json!(value), day), Err(reason.to_owned()), "{value}");
        }
    }

    #[test]
    fn numbers_and_telephone_numbers_have_bounds() {
        let count = variable(Kind::Number, Rule { min: Some(1.0), max: Some(8.0), whole: true, ..Rule::default() });
        assert_eq!(check(&count, &json!(4), None), Ok(()));
        assert_eq!(check(&count, &json!(0), None), Err("It has to be at least 1.".into()));
        assert_eq!(check(&count, &json!(9), None), Err("It can be at most 8.".into()));
        assert_eq!(check(&count, &json!(2.5), None), Err("It has to be a whole number.".into()));
        let phone = variable(Kind::PhoneNumber, Rule::default());
        assert_eq!(check(&phone, &json!("5550134"), None), Ok(()));
        assert_eq!(check(&phone, &json!("555"), None), Err("I only heard 3 digits.".into()));
    }
}
