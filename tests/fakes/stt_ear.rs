//! What the fake recognisers have in common: ears for the words of [`voice`](super::voice).

use std::time::Duration;

use serde_json::Value;

use super::voice::{Encoding, Timed, recognise};

/// The words a caller may say; no two sound alike.
pub const VOCABULARY: [&str; 12] =
    ["table", "for", "two", "friday", "please", "yes", "seven", "thanks", "guten", "danke", "bitte", "arigato"];
/// Those of them that are of another language than English.
const FOREIGN: [(&str, &str); 4] = [("guten", "de"), ("danke", "de"), ("bitte", "de"), ("arigato", "ja")];

/// The language of a text, by its first word that is not English.
pub fn language(text: &str) -> &'static str {
    let foreign = |word: &str| FOREIGN.iter().find(|(known, _)| *known == word).map(|(_, language)| *language);
    text.split_whitespace().find_map(foreign).unwrap_or("en")
}

/// The confidence in words that were expected.
pub const EXPECTED: f64 = 0.99;

/// Audio of one connection and how much of it has been reported for good.
pub struct Ear {
    encoding: Encoding,
    rate: u32,
    samples: Vec<i16>,
    cut: usize,
    expected: Vec<String>,
}

impl Ear {
    /// Hears audio in this form.
    pub fn new(encoding: Encoding, rate: u32) -> Self {
        Self { encoding, rate, samples: Vec::new(), cut: 0, expected: Vec::new() }
    }

    /// Takes audio; its length.
    pub fn take(&mut self, octets: &[u8]) -> Duration {
        let samples = self.encoding.decode(octets);
        self.samples.extend_from_slice(&samples);
        Duration::from_secs_f64(samples.len() as f64 / f64::from(self.rate))
    }

    /// Is told what is likely to be said: JSON texts, alone or within objects as their `Text`.
    pub fn expect(&mut self, phrases: &Value) {
        let phrases = phrases.as_array().into_iter().flatten();
        self.expected = phrases
            .filter_map(|phrase| phrase["Text"].as_str().or_else(|| phrase.as_str()))
            .map(str::to_owned)
            .collect();
    }

    /// How sure it is of words: surer of what it was told to expect.
    pub fn confidence(&self, words: &[Timed]) -> f64 {
        let is_expected =
            |word: &Timed| self.expected.iter().any(|phrase| phrase.split(' ').any(|part| part == word.text));
        if words.iter().all(is_expected) { EXPECTED } else { 0.9 }
    }

    /// All audio so far.
    pub fn audio(&self) -> Duration {
        self.time(self.samples.len())
    }

    /// Audio since the last report.
    pub fn unreported(&self) -> Duration {
        self.time(self.samples.len() - self.cut)
    }

    /// The words since the last report, with their times on the connection.
    pub fn words(&self) -> Vec<Timed> {
        let mut words = recognise(&self.samples[self.cut..], self.rate, &VOCABULARY);
        let offset = self.time(self.cut);
        for word in &mut words {
            (word.start, word.end) = (word.start + offset, word.end + offset);
        }
        words
    }

    /// The same as a text.
    pub fn text(&self) -> String {
        self.words().into_iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
    }

    /// Reports what there is.
    pub fn report(&mut self) -> Vec<Timed> {
        let words = self.words();
        self.cut = self.samples.len();
        words
    }

    /// Whether words are followed by so much silence.
    pub fn has_paused(&self, silence: Duration) -> bool {
        self.words().last().is_some_and(|word| word.end + silence <= self.audio())
    }

    fn time(&self, samples: usize) -> Duration {
        Duration::from_secs_f64(samples as f64 / f64::from(self.rate))
    }
}

/// Words as a text.
pub fn joined(words: &[Timed]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}
