//! Parts of speech: an averaged perceptron over words, endings and neighbours (Penn Treebank tags).
//!
//! Needed where one spelling has two sounds: "a record" and "to record", "I read it" and "to read".

use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// Weights come with one decimal; kept as whole tenths so that sums are exact.
const TENTHS: f64 = 10.0;

/// The model file.
#[derive(Deserialize)]
struct Written {
    tags: Vec<String>,
    tagdict: HashMap<String, String>,
    vocab: Vec<String>,
    weights: HashMap<String, HashMap<String, f64>>,
}

/// The tagger. Feature names are kept as hashes only.
#[derive(Debug)]
pub struct Tagger {
    /// In ascending order: the later of two equal scores wins.
    tags: Vec<String>,
    /// Words with one dominant tag.
    certain: HashMap<String, u8>,
    vocabulary: HashSet<String>,
    /// Feature hash → its run in `weights`.
    features: HashMap<u64, (u32, u8)>,
    weights: Vec<(u8, i16)>,
    /// What a word gets that no feature speaks for.
    noun: u8,
}

impl<'de> Deserialize<'de> for Tagger {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Written::deserialize(deserializer)?;
        written.tags.sort();
        let index = |tag: &String| written.tags.binary_search(tag).ok().and_then(|i| u8::try_from(i).ok());
        let mut features = HashMap::with_capacity(written.weights.len());
        let mut weights = Vec::new();
        for (name, by_tag) in &written.weights {
            let first = weights.len();
            weights.extend(by_tag.iter().filter_map(|(t, w)| Some((index(t)?, (w * TENTHS).round() as i16))));
            features.insert(Hash::of(&[name]), (first as u32, (weights.len() - first) as u8));
        }
        Ok(Self {
            certain: written.tagdict.iter().filter_map(|(w, t)| Some((w.clone(), index(t)?))).collect(),
            noun: index(&"NN".to_owned()).unwrap_or_default(),
            vocabulary: written.vocab.into_iter().collect(),
            tags: written.tags,
            features,
            weights,
        })
    }
}

impl Tagger {
    /// One tag per word of a sentence. Punctuation counts as words; contractions come in two parts ("do", "n't").
    #[must_use]
    pub fn tag<S: AsRef<str>>(&self, words: &[S]) -> Vec<&str> {
        let mut window: Vec<String> = vec!["-START2-".into(), "-START-".into()];
        window.extend(words.iter().map(|w| self.familiar(w.as_ref())));
        window.extend(["-END-".into(), "-END2-".into()]);
        let (mut before, mut before_that) = ("-START-", "-START2-");
        let mut out = Vec::with_capacity(words.len());
        for (i, word) in words.iter().enumerate() {
            let word = word.as_ref();
            let tag = match self.certain.get(word) {
                Some(tag) => *tag,
                None => self.decide(word, i == 0, &window[i..i + 5], before, before_that),
            };
            let tag = self.tags.get(usize::from(tag)).map_or("NN", String::as_str);
            (before_that, before) = (before, tag);
            out.push(tag);
        }
        out
    }

    /// The word as the features name it: lower case, classes for numbers, the shape for a rare word.
    fn familiar(&self, word: &str) -> String {
        let name = class(word);
        if self.vocabulary.contains(&name) { name } else { format!("<{}>", shape(word)) }
    }

    fn decide(&self, word: &str, first: bool, window: &[String], before: &str, before_that: &str) -> u8 {
        let [w2, w1, w, n1, n2] = window else { return self.noun };
        let initial = word.chars().next().map(String::from).unwrap_or_default();
        let hashes = [
            Hash::of(&["b"]),
            Hash::of(&["s3=", ending(word)]),
            Hash::of(&["p1=", &initial]),
            Hash::of(&["w=", w]),
            Hash::of(&["sh=", &shape(word)]),
            Hash::of(&[if first { "i0" } else { "i+" }]),
            Hash::of(&["t-1=", before]),
            Hash::of(&["t-2=", before_that]),
            Hash::of(&["t-12=", before, ",", before_that]),
            Hash::of(&["w-1=", w1]),
            Hash::of(&["s3-1=", ending(w1)]),
            Hash::of(&["w-2=", w2]),
            Hash::of(&["w+1=", n1]),
            Hash::of(&["s3+1=", ending(n1)]),
            Hash::of(&["w+2=", n2]),
        ];
        let mut scores = vec![0i32; self.tags.len()];
        let mut spoken_for = false;
        for (first, count) in hashes.iter().filter_map(|h| self.features.get(h)) {
            let run = *first as usize..*first as usize + usize::from(*count);
            for (tag, weight) in &self.weights[run] {
                spoken_for = true;
                scores[usize::from(*tag)] += i32::from(*weight);
            }
        }
        let best = scores.iter().enumerate().max_by_key(|(i, score)| (**score, *i));
        best.filter(|_| spoken_for).and_then(|(i, _)| u8::try_from(i).ok()).unwrap_or(self.noun)
    }
}

/// The last three letters.
fn ending(word: &str) -> &str {
    word.char_indices().rev().nth(2).map_or(word, |(at, _)| &word[at..])
}

fn class(word: &str) -> String {
    let digit = |c: char| c.is_ascii_digit();
    if word.contains('-') && !word.starts_with('-') {
        "!HYPHEN".into()
    } else if word.len() == 4 && word.chars().all(digit) {
        "!YEAR".into()
    } else if word.starts_with(digit) {
        "!DIGITS".into()
    } else {
        word.to_lowercase()
    }
}

fn shape(word: &str) -> String {
    if !word.is_empty() && word.chars().all(char::is_alphabetic) {
        let upper = word.chars().filter(|c| c.is_uppercase()).count();
        let lower = word.chars().filter(|c| c.is_lowercase()).count();
        let starts_upper = word.starts_with(char::is_uppercase);
        return match (lower, upper) {
            (1.., 0) => "x",
            (0, 1) => "X1",
            (0, 2..) => "XX",
            (_, 1) if starts_upper && lower > 0 => "Xx",
            _ => "xX",
        }
        .into();
    }
    if !word.is_empty() && word.chars().all(char::is_numeric) {
        return "d".into();
    }
    let letter = |c: char| match c {
        c if c.is_numeric() => 'd',
        c if c.is_alphabetic() => 'x',
        c => c,
    };
    word.chars().take(4).map(letter).collect()
}

/// FNV-1a over the parts of a feature's name: names are never stored, collisions in 2⁶⁴ are of no account.
struct Hash;

impl Hash {
    fn of(parts: &[&str]) -> u64 {
        parts
            .iter()
            .flat_map(|p| p.bytes())
            .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagger() -> Tagger {
        serde_json::from_str(
            r#"{"tags":["VB","NN","TO","DT"],"tagdict":{"to":"TO","the":"DT"},"vocab":["record","to","the"],
                "weights":{"w=record":{"NN":1.0,"VB":0.9},"t-1=TO":{"VB":2.5,"NN":-2.5},"t-1=DT":{"NN":3.0}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_word_before_decides_between_noun_and_verb() {
        assert_eq!(tagger().tag(&["to", "record"]), ["TO", "VB"]);
        assert_eq!(tagger().tag(&["the", "record"]), ["DT", "NN"]);
    }

    #[test]
    fn a_word_nothing_speaks_for_is_a_noun() {
        assert_eq!(tagger().tag(&["xyzzy"]), ["NN"]);
        assert!(tagger().tag::<&str>(&[]).is_empty());
    }

    #[test]
    fn shapes_and_classes_name_unknown_words() {
        for (word, expected) in
            [("abc", "x"), ("ABC", "XX"), ("A", "X1"), ("Abc", "Xx"), ("aBc", "xX"), ("12", "d"), ("1a-b!", "dx-x")]
        {
            assert_eq!(shape(word), expected);
        }
        assert_eq!(class("X-ray"), "!HYPHEN");
        assert_eq!(class("1984"), "!YEAR");
        assert_eq!(class("3rd"), "!DIGITS");
    }
}
