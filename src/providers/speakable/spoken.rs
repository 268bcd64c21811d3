//! The spoken form of a text for voices that do not normalise by themselves, or not well enough for a telephone.

use super::normalize::{Kind, Spoken, normalize};

/// Words that a vendor's voice reads better as they are written than as they are spelled out for the offline one.
const KEPT: &[&str] = &["wifi", "wi-fi", "ios", "mychart"];

/// What is to be said, and which part of the text each part of it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpokenText {
    /// Numbers, times, money and abbreviations in words; no digits, in English.
    pub text: String,
    /// Ends of words: in [`Self::text`], and of their source. Empty when both are the same text.
    ends: Vec<(usize, usize)>,
}

impl SpokenText {
    /// Byte offset in the written text up to which everything has been said when [`Self::text`] has been up to
    /// `spoken`: whole sources only, so that what the caller heard of "9:30" is nothing or all.
    #[must_use]
    pub fn written_until(&self, spoken: usize) -> usize {
        if self.ends.is_empty() {
            return spoken;
        }
        let before = self.ends.partition_point(|(end, _)| *end <= spoken);
        let heard = before.checked_sub(1).and_then(|place| self.ends.get(place)).map_or(0, |(_, source)| *source);
        match self.ends.get(before) {
            // Further words of the same source are still to come.
            Some((_, source)) if *source == heard => {
                self.ends.iter().map(|(_, source)| *source).take_while(|source| *source < heard).last().unwrap_or(0)
            }
            _ => heard,
        }
    }
}

/// The spoken form of a text without markdown, in `language` (BCP 47; empty for English). Other languages than English
/// are left to the voice.
#[must_use]
pub fn spoken(text: &str, language: &str) -> SpokenText {
    let english =
        language.is_empty() || language.split(['-', '_']).next().is_some_and(|l| l.eq_ignore_ascii_case("en"));
    if !english {
        return SpokenText { text: text.to_owned(), ends: Vec::new() };
    }
    let mut said = SpokenText::default();
    let mut source_start = 0;
    let pieces = normalize(text);
    let mut rest = pieces.as_slice();
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|piece| piece.text_end == first.text_end).count();
        let (group, behind) = rest.split_at(length);
        let source = text.get(source_start..first.text_end).unwrap_or_default().trim();
        source_start = first.text_end;
        rest = behind;
        let word = source.trim_end_matches(|c: char| !c.is_alphanumeric());
        if KEPT.contains(&word.to_lowercase().as_str()) {
            say(&mut said, &Spoken { text: source.to_owned(), kind: Kind::Word, ..first.clone() });
        } else {
            group.iter().for_each(|piece| say(&mut said, piece));
        }
    }
    said
}

fn say(said: &mut SpokenText, piece: &Spoken) {
    if piece.space_before && !said.text.is_empty() {
        said.text.push(' ');
    }
    match piece.kind {
        Kind::Word | Kind::Run | Kind::Pause => said.text.push_str(&piece.text),
        Kind::Letters => {
            // "SMS" is read by its letters when they stand apart; an ending stays with the last.
            for (place, letter) in piece.text.chars().enumerate() {
                if place > 0 && letter.is_uppercase() {
                    said.text.push(' ');
                }
                said.text.push(letter);
            }
        }
    }
    said.ends.push((said.text.len(), piece.text_end));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &[(&str, &str)]) {
        for (text, expected) in rows {
            assert_eq!(spoken(text, "en-US").text, *expected, "{text}");
        }
    }

    #[test]
    fn numbers_times_and_money_are_words() {
        check(&[
            ("It is $95.50 at 9:30 a.m.", "It is ninety five dollars and fifty cents at nine thirty A M."),
            ("You have 3 messages.", "You have three messages."),
            ("On 11/24/2026 at 2 pm?", "On November twenty fourth, twenty twenty six at two P M?"),
            ("It weighs 2.5 kg.", "It weighs two point five kilograms."),
            ("20% off", "twenty percent off"),
        ]);
    }

    #[test]
    fn telephone_numbers_are_said_digit_by_digit_and_addresses_in_words() {
        check(&[
            ("Call 555-010-0199.", "Call five five five, zero one zero, zero one nine nine."),
            ("Write to info@example.com.", "Write to info at example dot com."),
            ("We are at 1200 Elm St.", "We are at twelve hundred Elm Street."),
            ("Dr. Smith is in.", "Doctor Smith is in."),
        ]);
    }

    #[test]
    fn letters_stand_apart_and_words_stay_as_they_are_written() {
        check(&[
            ("We sent an SMS.", "We sent an S M S."),
            ("The café's Wi-Fi is free!", "The café's Wi-Fi is free!"),
            ("\"Yes,\" she said (quietly).", "“Yes,” she said (quietly)."),
            ("Well… maybe; who knows?", "Well… maybe; who knows?"),
        ]);
    }

    #[test]
    fn other_languages_are_left_to_the_voice() {
        let german = "Es kostet 95,50 €, Dr. Müller.";
        let said = spoken(german, "de-DE");
        assert_eq!(said.text, german);
        assert_eq!(said.written_until(10), 10);
    }

    #[test]
    fn what_was_heard_leads_back_to_what_was_written() {
        let text = "At 9:30 with Dr. Smith.";
        let said = spoken(text, "");
        assert_eq!(said.text, "At nine thirty with Doctor Smith.");
        let heard = |words: &str| &text[..said.written_until(words.len())];
        assert_eq!(heard(""), "");
        assert_eq!(heard("At"), "At");
        assert_eq!(heard("At nine"), "At", "half a time is none");
        assert_eq!(heard("At nine thirty"), "At 9:30");
        assert_eq!(heard("At nine thirty with Doctor Smi"), "At 9:30 with Dr.");
        assert_eq!(heard("At nine thirty with Doctor Smith."), text);
        assert_eq!(said.written_until(usize::MAX), text.len());
    }
}
