//! The kinds of values an agent works with, and how a value is held.

use std::fmt;

/// The type of a variable, slot or tool argument, and the JSON form its values have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Any JSON value: what a tool answered, taken as it is.
    Any,
    /// One of a closed list: the option's id as a JSON string.
    Choice,
    /// A calendar day: `"2026-11-24"`.
    Date,
    /// A JSON array.
    List,
    /// A person's name: `"Anna Berg"`.
    Name,
    /// A number: JSON number, whole where it is whole.
    Number,
    /// A telephone number: digits with an optional leading `+`, as a string.
    PhoneNumber,
    /// Free text.
    Text,
    /// A time of day on the 24-hour clock: `"15:00"`.
    Time,
    /// `true` or `false`.
    YesNo,
}

impl Kind {
    /// Every kind with its name in the agent file.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("any", Self::Any),
        ("choice", Self::Choice),
        ("date", Self::Date),
        ("list", Self::List),
        ("name", Self::Name),
        ("number", Self::Number),
        ("phone_number", Self::PhoneNumber),
        ("text", Self::Text),
        ("time", Self::Time),
        ("yes_no", Self::YesNo),
    ];

    /// The kind with this name in the agent file.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind)
    }

    /// The name in the agent file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("any", |(name, _)| name)
    }

    /// Whether a caller can be asked for it: there is a grammar for it.
    #[must_use]
    pub fn can_be_asked(self) -> bool {
        !matches!(self, Self::Any | Self::List)
    }

    /// Whether `value` has the JSON form of this kind.
    #[must_use]
    pub fn admits(self, value: &serde_json::Value) -> bool {
        match self {
            Self::Any => true,
            Self::List => value.is_array(),
            Self::Number => value.is_number(),
            Self::YesNo => value.is_boolean(),
            Self::Choice | Self::Name | Self::Text => value.is_string(),
            Self::Date => value.as_str().is_some_and(|text| text.parse::<jiff::civil::Date>().is_ok()),
            Self::Time => value.as_str().is_some_and(|text| parse_clock(text).is_some()),
            Self::PhoneNumber => value.as_str().is_some_and(|text| {
                let digits = text.strip_prefix('+').unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads `"15:00"` or `"9:30"`; `None` for anything else.
#[must_use]
pub fn parse_clock(text: &str) -> Option<jiff::civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    if hour.is_empty() || hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    jiff::civil::Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// Writes `15:00`.
#[must_use]
pub fn clock(time: jiff::civil::Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_admits_only_its_own_json_form() {
        for (kind, good, bad) in [
            (Kind::Date, json!("2026-11-24"), json!("tomorrow")),
            (Kind::Time, json!("15:00"), json!("3 pm")),
            (Kind::PhoneNumber, json!("+15550134"), json!("call me")),
            (Kind::Number, json!(3), json!("3")),
            (Kind::YesNo, json!(true), json!("yes")),
            (Kind::Name, json!("Anna Berg"), json!(7)),
            (Kind::List, json!([]), json!({})),
        ] {
            assert!(kind.admits(&good), "{kind} {good}");
            assert!(!kind.admits(&bad), "{kind} {bad}");
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
    }
}
