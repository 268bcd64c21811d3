//! Yes and no in their many forms.

use super::words::Words;
use std::ops::Range;

const YES: &[&str] = &[
    "yes",
    "yeah",
    "yep",
    "yup",
    "yah",
    "ya",
    "yea",
    "aye",
    "sure",
    "correct",
    "right",
    "exactly",
    "absolutely",
    "definitely",
    "of course",
    "okay",
    "ok",
    "fine",
    "perfect",
    "great",
    "sounds good",
    "sounds great",
    "please do",
    "go ahead",
    "i do",
    "it is",
    "i would",
    "i am",
    "uh huh",
    "mm hmm",
    "mhm",
    "mmhmm",
    "indeed",
    "affirmative",
    "that works",
    "that's it",
    "you got it",
    "very good",
    "all good",
    "that'll do",
    "works for me",
    "no problem",
    "i guess so",
    "i think so",
    "yes please",
    "do it",
    "certainly",
    "why not",
    "lovely",
    "all right",
    "alright",
    "true",
    "that's me",
    "let's do it",
    "let's do that",
    "you bet",
    "good",
    "confirmed",
    "i confirm",
    "please",
];

const NO: &[&str] = &[
    "no",
    "nope",
    "nah",
    "na",
    "no thanks",
    "no thank you",
    "negative",
    "incorrect",
    "wrong",
    "not really",
    "not quite",
    "never",
    "uh uh",
    "nuh uh",
    "i don't",
    "i do not",
    "i don't think so",
    "don't",
    "do not",
    "it isn't",
    "it is not",
    "that's not it",
    "not at all",
    "not now",
    "not yet",
    "i'm not",
    "i am not",
    "i wouldn't",
    "no way",
    "false",
    "mistake",
    "cancel that",
    "rather not",
    "not correct",
    "not right",
    "isn't right",
    "isn't correct",
    "not that",
    "noo",
];

/// "no", which is also what these begin with and yet mean yes.
const YES_AFTER_NO: &[&str] = &[
    "no that's right",
    "no that's correct",
    "no that's fine",
    "no that's good",
    "no that's perfect",
    "no it's fine",
    "no it's right",
    "no it's correct",
    "no problem",
    "no worries",
    "no that is right",
    "no that is correct",
    "not bad",
    "no that works",
];

/// "right" and "sure" that answer nothing.
const EMPTY: &[&str] = &[
    "right now",
    "right away",
    "not sure",
    "i'm not sure",
    "i don't know",
    "good morning",
    "good afternoon",
    "good evening",
    "good day",
    "good bye",
    "all right then what",
    "oh right",
];

/// Yes or no, its words, how sure.
#[must_use]
pub fn find(words: &Words<'_>) -> Option<(bool, Range<usize>, f32)> {
    if words.contains_any(&["not sure", "don't know", "no idea"]) {
        return None;
    }
    if let Some(phrase) = YES_AFTER_NO.iter().find(|phrase| words.find(phrase).is_some()) {
        let at = words.find(phrase).unwrap_or(0);
        return Some((true, at..at + phrase.split(' ').count(), 0.9));
    }
    let mut yes: Option<Range<usize>> = None;
    let mut no: Option<Range<usize>> = None;
    let mut index = 0;
    while index < words.len() {
        if let Some(length) = words.reads_any(index, EMPTY) {
            index += length;
        } else if let Some(length) = words.reads_any(index, NO) {
            no.get_or_insert(index..index + length);
            index += length;
            // "not right at all": the positive word belongs to the denial.
            index += usize::from(
                words.reads_any(index, YES).is_some() && matches!(words.at(index.wrapping_sub(1)), "not" | "don't"),
            );
        } else if negated(words, index) && words.reads_any(index, YES).is_some() {
            no.get_or_insert(index..index + 1);
            index += 1;
        } else if let Some(length) = words.reads_any(index, YES) {
            // A polite "please" or "good" at the end is no yes of its own.
            let weak =
                matches!(words.at(index), "please" | "good" | "right" | "fine" | "ok" | "okay" | "alright" | "great")
                    && length == 1;
            if !weak || words.len() <= 4 {
                yes.get_or_insert(index..index + length);
            }
            index += length;
        } else {
            index += 1;
        }
    }
    if yes.is_none() && no.is_none() && words.nothing_but(&(0..1)) && words.at(0) == "know" {
        return Some((false, 0..1, 0.6));
    }
    match (yes, no) {
        (Some(range), None) => Some((true, range, 1.0)),
        (None, Some(range)) => Some((false, range, 1.0)),
        // "Yeah, no, that's wrong": the first word is often only politeness.
        (Some(yes), Some(no)) if yes.start < no.start => Some((false, no, 0.7)),
        (Some(_), Some(no)) => Some((false, no, 0.7)),
        (None, None) => None,
    }
}

/// "isn't right", "not correct", "that's not it".
fn negated(words: &Words<'_>, index: usize) -> bool {
    (index.saturating_sub(3)..index).any(|before| {
        let word = words.at(before);
        let stopped = (before..index).any(|at| words.word(at).is_some_and(|w| w.stop.is_some()));
        !stopped && (word == "not" || word.ends_with("n't"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_understood_in_their_many_forms() {
        for text in [
            "yes",
            "Yes.",
            "yeah",
            "yep",
            "yup",
            "sure",
            "correct",
            "That's correct.",
            "that's right",
            "exactly",
            "absolutely",
            "of course",
            "okay",
            "OK",
            "fine",
            "perfect",
            "sounds good",
            "please do",
            "go ahead",
            "I do",
            "it is",
            "uh-huh",
            "mm-hmm",
            "yes please",
            "yes, that's right",
            "right",
            "no problem",
            "No, that's right.",
            "no that's fine",
            "that works for me",
            "yes I would",
            "certainly",
            "all right",
            "let's do it",
            "why not",
            "please",
            "definitely",
            "yeah that's it",
            "yes, thank you",
            "good",
        ] {
            assert_eq!(find(&Words::new(text)).map(|(answer, ..)| answer), Some(true), "{text}");
        }
        for text in [
            "no",
            "No.",
            "nope",
            "nah",
            "no thanks",
            "no thank you",
            "not really",
            "wrong",
            "That's wrong.",
            "that is wrong",
            "that's not right",
            "that isn't right",
            "that's not correct",
            "incorrect",
            "never",
            "don't",
            "I don't think so",
            "not quite",
            "no, it isn't",
            "uh-uh",
            "know",
            "yeah no",
            "no, please don't",
            "not at all",
            "it's not right",
            "no no no",
            "that was a mistake",
            "I'd rather not",
            "it is not",
        ] {
            assert_eq!(find(&Words::new(text)).map(|(answer, ..)| answer), Some(false), "{text}");
        }
    }

    #[test]
    fn what_answers_neither_is_neither() {
        for text in [
            "",
            "I'm not sure",
            "I don't know",
            "what",
            "Tuesday",
            "good morning",
            "the right tooth is hurting me",
            "maybe",
            "no idea",
        ] {
            assert_eq!(find(&Words::new(text)), None, "{text}");
        }
    }
}
