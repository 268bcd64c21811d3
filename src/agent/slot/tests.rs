//! Grammars as the conversation uses them, and what must hold for any text.

use super::*;
use jiff::civil::{date, time};
use proptest::prelude::*;

/// Asserts every row and shows all that fail at once.
pub(super) fn rows(cases: &[(&str, &str)], say: impl Fn(&str) -> Option<String>) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let got = say(text);
            (got.as_deref() != Some(*expected)).then(|| format!("{text:?}: expected {expected:?}, got {got:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn grammar(kind: Kind) -> Grammar<'static> {
    let open = Some((time(9, 0, 0, 0), time(17, 0, 0, 0)));
    Grammar { kind, choices: &[], today: date(2026, 11, 23), day_first: false, open }
}

fn value(kind: Kind, text: &str, focus: Focus) -> Option<String> {
    find(&Words::new(text), &grammar(kind), focus).map(|found| speak::plain(&found.value))
}

#[test]
fn what_is_said_after_a_repair_counts() {
    for (kind, text, expected) in [
        (Kind::Date, "Tuesday, no, Wednesday", "2026-11-25"),
        (Kind::Date, "Tuesday. Sorry, I mean Thursday.", "2026-11-26"),
        (Kind::Date, "on Monday, actually make that Friday", "2026-11-27"),
        (Kind::Date, "no, Wednesday", "2026-11-25"),
        (Kind::Time, "at three, no wait, at four", "16:00"),
        (Kind::Time, "three, sorry, half past three", "15:30"),
        (Kind::Number, "three, no, four", "4"),
        (Kind::Name, "Anna Berk, sorry, Anna Berg", "Anna Berg"),
    ] {
        assert_eq!(value(kind, text, Focus::Asked).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn each_slot_takes_its_own_words_of_one_utterance() {
    let text = "Tomorrow at three, my name is Anna Berg and my number is five five five oh one three four";
    for (kind, expected) in
        [(Kind::Date, "2026-11-24"), (Kind::Time, "15:00"), (Kind::Name, "Anna Berg"), (Kind::PhoneNumber, "5550134")]
    {
        assert_eq!(value(kind, text, Focus::Volunteered).as_deref(), Some(expected), "{kind}");
    }
}

#[test]
fn keypad_digits_answer_too() {
    for (kind, digits, expected) in [
        (Kind::PhoneNumber, "5550134", "5550134"),
        (Kind::Number, "12", "12"),
        (Kind::YesNo, "1", "true"),
        (Kind::YesNo, "2", "false"),
        (Kind::Date, "1124", "2026-11-24"),
        (Kind::Time, "1530", "15:30"),
        (Kind::Time, "330", "15:30"),
        (Kind::Time, "10", "10:00"),
    ] {
        let found = from_digits(digits, &grammar(kind));
        assert_eq!(found.map(|f| speak::plain(&f.value)).as_deref(), Some(expected), "{kind} {digits}");
    }
    assert_eq!(from_digits("3", &grammar(Kind::YesNo)), None);
    assert_eq!(from_digits("99", &grammar(Kind::Date)), None);
    assert_eq!(from_digits("", &grammar(Kind::Time)), None);
}

fn utterance() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "tomorrow",
        "next",
        "tuesday",
        "the",
        "first",
        "of",
        "november",
        "twenty",
        "four",
        "to",
        "at",
        "half",
        "past",
        "quarter",
        "pm",
        "3:30",
        "11/24",
        "99",
        "double",
        "oh",
        "hundred",
        "thousand",
        "plus",
        "my name is",
        "Anna",
        "B",
        "e",
        "as in",
        "boy",
        "no",
        "yes",
        "not",
        "sorry",
        "in",
        "a",
        "week",
        "month",
        "point",
        ".",
        ",",
        "-",
        "+1",
        "2026",
        "minus",
        "million",
        "0",
        "24th",
        "I'm",
        "spelled",
        "'",
        "é",
        "\u{130}",
        "ß",
    ]);
    prop::collection::vec(word, 0..20).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_a_grammar_panic_and_spans_stay_inside(text in prop_oneof![".{0,60}", utterance()]) {
        for (_, kind) in Kind::NAMES {
            for focus in [Focus::Asked, Focus::Volunteered] {
                if let Some(found) = find(&Words::new(&text), &grammar(kind), focus) {
                    prop_assert!(text.get(found.span.clone()).is_some(), "{kind} {:?}", found.span);
                    prop_assert!((0.0..=1.0).contains(&found.confidence));
                    prop_assert!(kind.admits(&found.value), "{kind} {}", found.value);
                }
            }
            let _ = from_digits(&text, &grammar(kind));
        }
    }
}
