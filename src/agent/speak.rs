//! Values as a voice says them.

use super::slot::Choice;
use super::value::{Kind, parse_clock};
use jiff::civil::{Date, Time, Weekday};
use serde_json::Value;

/// A day: "Tuesday, November 24th"; with the year when it is more than ten months away or past.
#[must_use]
pub fn date(date: Date, today: Date) -> String {
    let plain = format!("{}, {} {}", weekday(date.weekday()), month(date.month()), ordinal(date.day()));
    let days = (date - today).get_days();
    if (-1..=300).contains(&days) { plain } else { format!("{plain}, {}", date.year()) }
}

/// A time on the twelve-hour clock: "3:00 PM", "noon".
#[must_use]
pub fn time(time: Time) -> String {
    let (hour, minute) = (time.hour(), time.minute());
    match (hour, minute) {
        (12, 0) => "noon".into(),
        (0, 0) => "midnight".into(),
        _ => {
            let half = if hour < 12 { "AM" } else { "PM" };
            let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
            format!("{hour}:{minute:02} {half}")
        }
    }
}

/// Digits one by one in groups, with pauses between them: "5 5 5, 0 1 3 4". Anything else is left out.
#[must_use]
pub fn phone(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    let plus = number.trim_start().starts_with('+');
    let mut sizes = Vec::new();
    let mut left = digits.len();
    // The last group has four digits, those before it three; what is left over stands first.
    if left > 4 {
        sizes.push(4);
        left -= 4;
        while left > 3 {
            sizes.push(3);
            left -= 3;
        }
    }
    if left > 0 {
        sizes.push(left);
    }
    let mut groups = Vec::new();
    let mut rest = digits.as_slice();
    for size in sizes.into_iter().rev() {
        let (group, after) = rest.split_at(size);
        groups.push(group.iter().map(char::to_string).collect::<Vec<_>>().join(" "));
        rest = after;
    }
    let spoken = groups.join(", ");
    if plus { format!("plus {spoken}") } else { spoken }
}

/// Letters and digits one by one: "B, E, R, G".
#[must_use]
pub fn spell(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().to_string()).collect::<Vec<_>>().join(", ")
}

/// An amount of money: "95 dollars", "12 dollars and 50 cents". Unknown currencies are said as they are written.
#[must_use]
pub fn price(amount: f64, currency: &str) -> String {
    let (unit, part) = match currency.to_ascii_uppercase().as_str() {
        "USD" | "$" => ("dollar", "cent"),
        "EUR" | "\u{20ac}" => ("euro", "cent"),
        "GBP" | "\u{a3}" => ("pound", "pence"),
        "CHF" => ("franc", "centime"),
        _ => return format!("{} {currency}", number(amount)),
    };
    let parts = (amount.abs() * 100.0).round() as u64;
    let (whole, rest) = (parts / 100, parts % 100);
    let plural = |count: u64, noun: &str| {
        if count == 1 || noun == "pence" { format!("{count} {noun}") } else { format!("{count} {noun}s") }
    };
    let sign = if amount < 0.0 { "minus " } else { "" };
    match (whole, rest) {
        (0, rest) if rest > 0 => format!("{sign}{}", plural(rest, part)),
        (whole, 0) => format!("{sign}{}", plural(whole, unit)),
        (whole, rest) => format!("{sign}{} and {}", plural(whole, unit), plural(rest, part)),
    }
}

/// A number without needless decimals.
#[must_use]
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 9e15 { format!("{}", value as i64) } else { format!("{value}") }
}

/// "a", "a or b", "a, b or c".
#[must_use]
pub fn list(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

/// "24th".
#[must_use]
pub fn ordinal(number: i8) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// "Tuesday".
#[must_use]
pub fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn month(number: i8) -> &'static str {
    let names = [
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
    usize::try_from(number - 1).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// A value as its kind is said; `choices` give the words for an option.
#[must_use]
pub fn value(kind: Kind, value: &Value, choices: &[Choice], today: Date) -> String {
    let text = value.as_str();
    let spoken = match kind {
        Kind::Date => text.and_then(|t| t.parse().ok()).map(|day| date(day, today)),
        Kind::Time => text.and_then(parse_clock).map(time),
        Kind::PhoneNumber => text.map(phone),
        Kind::Number => value.as_f64().map(number),
        Kind::YesNo => value.as_bool().map(|yes| if yes { "yes" } else { "no" }.to_owned()),
        Kind::Choice => text.and_then(|id| choices.iter().find(|c| c.id == id)).map(|choice| choice.spoken.clone()),
        Kind::List => value.as_array().map(|items| list(&items.iter().map(plain).collect::<Vec<_>>(), "and")),
        Kind::Any | Kind::Name | Kind::Text => None,
    };
    spoken.unwrap_or_else(|| plain(value))
}

/// A JSON value as bare text.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date as day, time as at};

    #[test]
    fn values_are_said_as_people_say_them() {
        let today = day(2026, 11, 23);
        assert_eq!(date(day(2026, 11, 24), today), "Tuesday, November 24th");
        assert_eq!(date(day(2026, 12, 1), today), "Tuesday, December 1st");
        assert_eq!(date(day(2027, 11, 2), today), "Tuesday, November 2nd, 2027");
        assert_eq!(time(at(15, 0, 0, 0)), "3:00 PM");
        assert_eq!(time(at(9, 5, 0, 0)), "9:05 AM");
        assert_eq!(time(at(12, 0, 0, 0)), "noon");
        assert_eq!(time(at(0, 30, 0, 0)), "12:30 AM");
        assert_eq!(phone("5550134"), "5 5 5, 0 1 3 4");
        assert_eq!(phone("+12125550134"), "plus 1, 2 1 2, 5 5 5, 0 1 3 4");
        assert_eq!(phone("911"), "9 1 1");
        assert_eq!(spell("Berg-7"), "B, E, R, G, 7");
        assert_eq!(price(95.0, "USD"), "95 dollars");
        assert_eq!(price(1.0, "USD"), "1 dollar");
        assert_eq!(price(12.5, "USD"), "12 dollars and 50 cents");
        assert_eq!(price(0.5, "GBP"), "50 pence");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()], "or"), "a, b or c");
        assert_eq!((ordinal(11), ordinal(22), ordinal(13)), ("11th".into(), "22nd".into(), "13th".into()));
    }
}
