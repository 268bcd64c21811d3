//! Slot grammars: what a caller says becomes a typed value, deterministically.
//!
//! Each grammar reads [`words::Words`] and answers with a value, the words it took and how sure it is.
//! They are made for what speech-to-text writes on phone audio: homophones, missing punctuation,
//! digits and words mixed.

pub mod choice;
pub mod date;
pub mod name;
pub mod number;
pub mod phone;
pub mod time;
pub mod words;
pub mod yes_no;

#[cfg(test)]
mod tests;

pub use choice::Choice;
pub use words::Words;

use super::limits::UTTERANCE_CHARS;
use super::speak;
use super::value::{Kind, clock};
use jiff::civil::{Date, Time};
use serde_json::Value;
use std::ops::Range;

/// Whether this very slot was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Focus {
    /// The agent has just asked for it: short and loose answers count.
    Asked,
    /// The caller may have said it along with something else: only plain forms count.
    Volunteered,
}

/// What a grammar needs to know beside the words.
#[derive(Clone, Copy, Debug)]
pub struct Grammar<'g> {
    /// The kind of value looked for.
    pub kind: Kind,
    /// The options of a [`Kind::Choice`].
    pub choices: &'g [Choice],
    /// The business's today.
    pub today: Date,
    /// `24/11` rather than `11/24`.
    pub day_first: bool,
    /// Times that make sense, for "at three".
    pub open: Option<(Time, Time)>,
}

/// A value found in an utterance.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// In the JSON form of its kind.
    pub value: Value,
    /// As the agent says it.
    pub spoken: String,
    /// 0.0–1.0.
    pub confidence: f32,
    /// Bytes of the utterance it came from.
    pub span: Range<usize>,
}

/// The start of an utterance that grammars look at.
#[must_use]
pub fn bounded(text: &str) -> &str {
    text.char_indices().nth(UTTERANCE_CHARS).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Finds a value of the grammar's kind. When the speaker takes something back ("Tuesday, no, Wednesday"),
/// what comes after counts.
#[must_use]
pub fn find(words: &Words<'_>, grammar: &Grammar<'_>, focus: Focus) -> Option<Found> {
    if !matches!(grammar.kind, Kind::YesNo | Kind::Text | Kind::PhoneNumber)
        && let Some(after) = words.after_repair()
        && let Some(mut found) = find_in(&words.from_word(after), grammar, focus)
        // Before the repair stood a value of this kind, or else the phrase was no repair.
        && find_in(words, grammar, focus).is_some()
    {
        found.confidence = found.confidence.min(0.9);
        return Some(found);
    }
    find_in(words, grammar, focus)
}

fn find_in(words: &Words<'_>, grammar: &Grammar<'_>, focus: Focus) -> Option<Found> {
    let asked = focus == Focus::Asked;
    let (value, span, confidence) = match grammar.kind {
        Kind::Any | Kind::List => return None,
        Kind::Choice => {
            let found = choice::find(words, grammar.choices, asked)?;
            let id = grammar.choices.get(found.index)?.id.clone();
            (Value::from(id), words.span(found.range), found.confidence)
        }
        Kind::Date => {
            let almanac = date::Almanac { today: grammar.today, day_first: grammar.day_first };
            let found = almanac.find(words, asked)?;
            (Value::from(found.date.to_string()), words.span(found.range), found.confidence)
        }
        Kind::Name => {
            let found = name::find(words, asked)?;
            (Value::from(found.name), found.span, found.confidence)
        }
        Kind::Number => {
            // A number by itself says nothing about what it counts.
            let (value, range, confidence) = number::find(words, true).filter(|_| asked)?;
            (number_value(value), words.span(range), confidence)
        }
        Kind::PhoneNumber => {
            let found = phone::find(words, asked)?;
            (Value::from(found.number), words.span(found.range), found.confidence)
        }
        Kind::Text => {
            let text = words.source.trim();
            if !asked || text.is_empty() {
                return None;
            }
            (Value::from(text), 0..words.source.len(), 1.0)
        }
        Kind::Time => {
            let found = time::find(words, grammar.open, asked)?;
            (Value::from(clock(found.time)), words.span(found.range), found.confidence)
        }
        Kind::YesNo => {
            let (answer, range, confidence) = yes_no::find(words).filter(|_| asked)?;
            (Value::from(answer), words.span(range), confidence)
        }
    };
    let spoken = speak::value(grammar.kind, &value, grammar.choices, grammar.today);
    Some(Found { value, spoken, confidence, span })
}

/// A JSON number, whole when it is whole.
#[must_use]
pub fn number_value(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { Value::from(value as i64) } else { Value::from(value) }
}

/// Reads keypad digits as an answer: `1130` for a time, `1124` for a day, `1`/`2` for yes and no, the
/// place in the list for a choice.
#[must_use]
pub fn from_digits(digits: &str, grammar: &Grammar<'_>) -> Option<Found> {
    let plain: String = digits.chars().filter(char::is_ascii_digit).collect();
    let value = match grammar.kind {
        Kind::PhoneNumber => Value::from(plain.clone()),
        Kind::Number => number_value(plain.parse().ok()?),
        Kind::YesNo => match plain.as_str() {
            "1" => Value::from(true),
            "2" => Value::from(false),
            _ => return None,
        },
        Kind::Choice => Value::from(grammar.choices.get(plain.parse::<usize>().ok()?.checked_sub(1)?)?.id.clone()),
        Kind::Date => {
            let almanac = date::Almanac { today: grammar.today, day_first: grammar.day_first };
            let (a, b) = plain.split_at_checked(2).filter(|(_, b)| b.len() == 2)?;
            Value::from(almanac.find(&Words::new(&format!("{a}/{b}")), true)?.date.to_string())
        }
        Kind::Time => {
            let text = if plain.len() <= 2 { plain.clone() } else { format!("{plain:0>4}") };
            let text = if text.len() == 4 && plain.len() == 3 { text.trim_start_matches('0').to_owned() } else { text };
            Value::from(clock(time::find(&Words::new(&text), grammar.open, true)?.time))
        }
        Kind::Any | Kind::List | Kind::Name | Kind::Text => return None,
    };
    let spoken = speak::value(grammar.kind, &value, grammar.choices, grammar.today);
    Some(Found { value, spoken, confidence: 1.0, span: 0..digits.len() })
}
