//! Is the caller finished? The words decide how long a silence has to be.

use super::TurnSettings;
use crate::base::Expect;
use std::time::Duration;

/// How finished a transcript looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Completeness {
    /// It stops in the middle: more will come.
    Incomplete,
    /// It may be all.
    Likely,
    /// It answers the question that was asked.
    Complete,
}

impl Completeness {
    /// The silence that ends a turn which looks like this.
    #[must_use]
    pub fn wait(self, settings: &TurnSettings) -> Duration {
        match self {
            Self::Incomplete => settings.end_incomplete,
            Self::Likely => settings.end_likely,
            Self::Complete => settings.end_complete,
        }
    }
}

/// Words after which an English speaker goes on.
const LEADS_ON: [&str; 44] = [
    "a", "an", "the", "and", "or", "but", "so", "because", "if", "that", "to", "for", "of", "at", "in", "on", "with",
    "from", "by", "is", "are", "was", "my", "your", "um", "uh", "er", "like", "maybe", "about", "than", "would",
    "could", "can", "i", "i'm", "it's", "we", "you", "let", "want", "need", "next", "this",
];

/// Fewest digits of a telephone number that a caller stops at.
const SHORTEST_PHONE_NUMBER: usize = 7;

/// Judges `text` as the answer to a question that expects `expect`.
#[must_use]
pub fn completeness(text: &str, expect: Expect) -> Completeness {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '.' || c == ':'))
        .map(|w| w.trim_end_matches(['.', ':']))
        .filter(|w| !w.is_empty())
        .collect();
    let Some(last) = words.last() else { return Completeness::Incomplete };
    if expect == Expect::PhoneNumber {
        let digits = count_digits(&words);
        if digits > 0 {
            return if digits < SHORTEST_PHONE_NUMBER { Completeness::Incomplete } else { Completeness::Likely };
        }
    }
    if LEADS_ON.contains(last) && !(words.len() == 1 && matches!(expect, Expect::Choice | Expect::Name)) {
        return Completeness::Incomplete;
    }
    if text.trim_end().ends_with("...") || text.trim_end().ends_with(',') || text.trim_end().ends_with('-') {
        return Completeness::Incomplete;
    }
    match expect {
        Expect::YesNo if starts_with_yes_or_no(&words) && words.len() <= 4 => Completeness::Complete,
        Expect::Name if lower.trim_end_matches(['.', ' ']).ends_with("name is") => Completeness::Incomplete,
        Expect::Name if words.len() == 1 => Completeness::Likely,
        Expect::Choice | Expect::Date | Expect::Time | Expect::Number if text.trim_end().ends_with(['.', '!', '?']) => {
            Completeness::Complete
        }
        Expect::Open if text.trim_end().ends_with('?') => Completeness::Complete,
        _ => Completeness::Likely,
    }
}

fn starts_with_yes_or_no(words: &[&str]) -> bool {
    words.first().is_some_and(|w| {
        matches!(
            *w,
            "yes"
                | "yeah"
                | "yep"
                | "yup"
                | "no"
                | "nope"
                | "nah"
                | "correct"
                | "right"
                | "sure"
                | "exactly"
                | "absolutely"
        )
    })
}

fn count_digits(words: &[&str]) -> usize {
    let mut digits = 0;
    let mut times = 1;
    for word in words {
        match *word {
            "double" => times = 2,
            "triple" => times = 3,
            "zero" | "oh" | "o" | "one" | "two" | "to" | "too" | "three" | "four" | "for" | "five" | "six"
            | "seven" | "eight" | "ate" | "nine" | "won" => {
                digits += times;
                times = 1;
            }
            "hundred" => digits += 2,
            "thousand" => digits += 3,
            other => {
                digits += other.chars().filter(char::is_ascii_digit).count();
                times = 1;
            }
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_decide_how_finished_a_turn_looks() {
        use Completeness::{Complete, Incomplete, Likely};
        for (text, expect, verdict) in [
            ("Yes.", Expect::YesNo, Complete),
            ("Yes, that's right.", Expect::YesNo, Complete),
            ("No, that's wrong, the time is", Expect::YesNo, Incomplete),
            ("Next Tuesday.", Expect::Date, Complete),
            ("Next", Expect::Date, Incomplete),
            ("My name is", Expect::Name, Incomplete),
            ("Anna Berg", Expect::Name, Likely),
            ("five five five", Expect::PhoneNumber, Incomplete),
            ("five five five zero one three four", Expect::PhoneNumber, Likely),
            ("555-0134", Expect::PhoneNumber, Likely),
            ("I'd like to book an appointment.", Expect::Open, Likely),
            ("I'd like to book an appointment and", Expect::Open, Incomplete),
            ("What are your opening hours?", Expect::Open, Complete),
            ("", Expect::Open, Incomplete),
        ] {
            assert_eq!(completeness(text, expect), verdict, "{text:?} for {expect:?}");
        }
    }

    #[test]
    fn the_less_finished_the_longer_the_wait() {
        let settings = TurnSettings::default();
        assert!(Completeness::Incomplete.wait(&settings) > Completeness::Likely.wait(&settings));
        assert!(Completeness::Likely.wait(&settings) > Completeness::Complete.wait(&settings));
    }
}
