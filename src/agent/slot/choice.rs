//! One of a closed list of options, by name, synonym, place in the list, or something that sounds alike.

use super::words::{Words, likeness, sound_key};
use crate::agent::limits::FUZZY_SHARE;
use std::ops::Range;

/// An option a caller may choose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The value.
    pub id: String,
    /// How the agent says it.
    pub spoken: String,
    /// Other words for it, lower case.
    pub synonyms: Vec<String>,
}

impl Choice {
    /// What it is called, as it is written.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.spoken.as_str())
            .chain(self.synonyms.iter().map(String::as_str))
            .filter(|words| !words.is_empty())
    }

    fn phrases(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.id.replace(['_', '-'], " ").to_lowercase())
            .chain(std::iter::once(self.spoken.to_lowercase()))
            .chain(self.synonyms.iter().map(|s| s.to_lowercase()))
    }
}

/// A chosen option.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundChoice {
    /// Its index in the list.
    pub index: usize,
    /// Words of the utterance.
    pub range: Range<usize>,
    /// 0.0–1.0.
    pub confidence: f32,
}

/// The option an utterance names. `asked`: one was asked for, so that "the second one" and near misses count.
#[must_use]
pub fn find(words: &Words<'_>, options: &[Choice], asked: bool) -> Option<FoundChoice> {
    let mut exact: Vec<FoundChoice> = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let longest = option
            .phrases()
            .filter(|phrase| !phrase.is_empty())
            .filter_map(|phrase| words.find(&phrase).map(|at| at..at + phrase.split(' ').count()))
            .filter(|range| !ruled_out(words, range.start))
            .max_by_key(Range::len);
        exact.extend(longest.map(|range| FoundChoice { index, range, confidence: 1.0 }));
    }
    // "deep cleaning" beats "cleaning": a longer phrase hides the shorter one inside it.
    let hidden: Vec<bool> = exact
        .iter()
        .map(|a| {
            exact
                .iter()
                .any(|b| b.range.len() > a.range.len() && b.range.start <= a.range.start && a.range.end <= b.range.end)
        })
        .collect();
    let mut shown = exact.into_iter().zip(hidden).filter(|(_, hidden)| !hidden).map(|(found, _)| found);
    if let Some(first) = shown.next() {
        return match shown.next() {
            None => Some(first),
            // Two options: no choice was made.
            Some(_) => None,
        };
    }
    if !asked {
        return None;
    }
    by_place(words, options.len()).or_else(|| alike(words, options))
}

/// "not a cleaning", "no filling".
fn ruled_out(words: &Words<'_>, start: usize) -> bool {
    let article = usize::from(matches!(words.at(start.wrapping_sub(1)), "a" | "an" | "the"));
    matches!(words.at(start.wrapping_sub(1 + article)), "not" | "no")
}

/// "the second one", "the last", "option two", "number two".
fn by_place(words: &Words<'_>, count: usize) -> Option<FoundChoice> {
    for index in 0..words.len() {
        let named = match words.at(index) {
            "first" | "former" => Some(0),
            "second" => Some(1),
            "third" => Some(2),
            "fourth" => Some(3),
            "last" | "latter" => count.checked_sub(1),
            "option" | "number" => {
                super::number::small(words, index + 1).and_then(|c| usize::try_from(c.value).ok()?.checked_sub(1))
            }
            _ => None,
        };
        if let Some(place) = named.filter(|place| *place < count) {
            let counted = matches!(words.at(index), "option" | "number");
            return Some(FoundChoice { index: place, range: index..index + 1 + usize::from(counted), confidence: 0.9 });
        }
    }
    None
}

fn alike(words: &Words<'_>, options: &[Choice]) -> Option<FoundChoice> {
    let mut best: Option<FoundChoice> = None;
    let mut tied = false;
    for (index, option) in options.iter().enumerate() {
        for phrase in option.phrases().filter(|p| p.chars().count() >= 4) {
            let length = phrase.split(' ').count();
            for at in 0..(words.len() + 1).saturating_sub(length) {
                if ruled_out(words, at) {
                    continue;
                }
                let said: Vec<&str> = (at..at + length).map(|i| words.at(i)).collect();
                let said = said.join(" ");
                if said.chars().count() < 4 {
                    continue;
                }
                let mut score = likeness(&said, &phrase);
                if sound_key(&said) == sound_key(&phrase) && sound_key(&phrase).len() >= 3 {
                    score = score.max(0.8);
                }
                if score < 1.0 - FUZZY_SHARE {
                    continue;
                }
                let candidate = FoundChoice { index, range: at..at + length, confidence: score.min(0.85) };
                match &best {
                    Some(b) if b.index == index && b.confidence >= candidate.confidence => {}
                    Some(b) if b.index != index && (b.confidence - candidate.confidence).abs() < 0.05 => tied = true,
                    Some(b) if b.confidence > candidate.confidence => {}
                    _ => {
                        tied = false;
                        best = Some(candidate);
                    }
                }
            }
        }
    }
    best.filter(|_| !tied)
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    fn options() -> Vec<Choice> {
        [
            ("cleaning", "a cleaning", &["hygienist", "polish"][..]),
            ("deep_cleaning", "a deep cleaning", &[]),
            ("checkup", "a check-up", &["check up", "examination", "exam"]),
            ("filling", "a filling", &["cavity"]),
        ]
        .map(|(id, spoken, synonyms)| Choice {
            id: id.into(),
            spoken: spoken.into(),
            synonyms: synonyms.iter().map(|s| (*s).to_owned()).collect(),
        })
        .into()
    }

    fn say(text: &str, asked: bool) -> Option<String> {
        let options = options();
        find(&Words::new(text), &options, asked).map(|found| options[found.index].id.clone())
    }

    #[test]
    fn an_option_is_found_by_name_synonym_place_or_likeness() {
        let cases = [
            ("a cleaning please", "cleaning"),
            ("Cleaning.", "cleaning"),
            ("deep cleaning", "deep_cleaning"),
            ("the deep cleaning", "deep_cleaning"),
            ("a check-up", "checkup"),
            ("just a checkup", "checkup"),
            ("an exam", "checkup"),
            ("I have a cavity", "filling"),
            ("the first one", "cleaning"),
            ("the last one", "filling"),
            ("option two", "deep_cleaning"),
            ("number 3", "checkup"),
            ("cleening", "cleaning"),
            ("a fillin", "filling"),
            ("feeling", "filling"),
            ("checkups", "checkup"),
            ("examinashun", "checkup"),
            ("not a cleaning, a filling", "filling"),
        ];
        rows(&cases, |text| say(text, true));
    }

    #[test]
    fn two_options_or_none_are_no_choice() {
        for text in ["a cleaning or a filling", "something else", "", "I don't know", "surgery"] {
            assert_eq!(say(text, true), None, "{text}");
        }
        assert_eq!(say("the first one", false), None);
    }
}
