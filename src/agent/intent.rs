//! What a caller wants: recognised by key phrases first, by likeness of meaning second.

use super::slot::Words;
use regex::Regex;

/// Something a caller may want.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its name.
    pub id: String,
    /// How the agent names it in "did you mean …?".
    pub label: String,
    /// Words and phrases that mean it, lower case.
    pub keywords: Vec<String>,
    /// Regular expressions over the utterance in lower case.
    pub patterns: Vec<Regex>,
    /// Phrases that mean it, for likeness of meaning.
    pub examples: Vec<String>,
    /// Answered in place, wherever the conversation is; wordings of which the n-th is said the n-th time.
    pub answer: Option<Vec<String>>,
    /// Leaves whatever is going on for this node.
    pub next: Option<usize>,
}

impl Intent {
    /// Whether it can come up anywhere, not only where a `route` lists it.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.answer.is_some() || self.next.is_some()
    }

    /// How strongly key phrases of this intent occur: the length of the longest in characters, 0 for none,
    /// and where it starts.
    #[must_use]
    pub fn keyword_match(&self, words: &Words<'_>) -> Option<(usize, usize)> {
        let by_phrase = self.keywords.iter().filter_map(|phrase| {
            let at = find_inflected(words, phrase)?;
            Some((phrase.chars().count(), words.word(at).map_or(0, |w| w.span.start)))
        });
        let lower = words.source.to_lowercase();
        let by_pattern = self
            .patterns
            .iter()
            .filter_map(|pattern| pattern.find(&lower).map(|found| (found.as_str().chars().count(), found.start())));
        by_phrase.chain(by_pattern).max_by_key(|(length, _)| *length)
    }
}

/// Finds a phrase; the plural and "-ing" of each single word count too.
fn find_inflected(words: &Words<'_>, phrase: &str) -> Option<usize> {
    let parts: Vec<&str> = phrase.split(' ').collect();
    (0..words.len()).find(|start| {
        parts.iter().enumerate().all(|(offset, part)| {
            let word = words.at(start + offset);
            word == *part
                || (part.len() >= 4
                    && word.strip_prefix(part).is_some_and(|ending| matches!(ending, "s" | "es" | "'s" | "ing" | "ed")))
        })
    })
}

/// What a ranking of likenesses says.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// This is meant.
    Accept(String),
    /// This may be meant: ask.
    Suggest(String),
    /// Nothing known is meant.
    Neither,
}

/// From which likeness on an intent is taken or suggested.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    /// At least this likeness to act at once.
    pub accept: f32,
    /// At least this likeness to ask "did you mean …?".
    pub suggest: f32,
    /// The best must lead the second by this much to act at once.
    pub margin: f32,
}

impl Default for Thresholds {
    /// Set on sentence embeddings of the MiniLM family: unrelated phrases stay below 0.41, so 0.45 begins
    /// to mean something.
    fn default() -> Self {
        Self { accept: 0.58, suggest: 0.45, margin: 0.05 }
    }
}

impl Thresholds {
    /// Judges a ranking, best first. `NaN` counts as nothing.
    #[must_use]
    pub fn judge(&self, ranking: &[(String, f32)]) -> Verdict {
        let Some((best, score)) = ranking.first().filter(|(_, score)| score.is_finite()) else {
            return Verdict::Neither;
        };
        let lead = ranking.get(1).map_or(f32::INFINITY, |(_, second)| score - second);
        if *score >= self.accept && lead >= self.margin {
            Verdict::Accept(best.clone())
        } else if *score >= self.suggest {
            Verdict::Suggest(best.clone())
        } else {
            Verdict::Neither
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_phrases_match_whole_words_and_simple_endings() {
        let intent = Intent {
            id: "prices".into(),
            label: String::new(),
            keywords: vec!["price".into(), "how much".into()],
            patterns: vec![Regex::new(r"\bcosts?\b").unwrap_or_else(|e| panic!("{e}"))],
            examples: vec![],
            answer: None,
            next: None,
        };
        for (text, expected) in [
            ("what are your prices", true),
            ("How much is a cleaning?", true),
            ("what does it cost", true),
            ("it's priceless", false),
            ("how are you", false),
        ] {
            assert_eq!(intent.keyword_match(&Words::new(text)).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn a_close_second_is_asked_about_and_a_weak_best_is_neither() {
        let judge = |scores: &[f32]| {
            let ranking: Vec<(String, f32)> = scores.iter().enumerate().map(|(i, s)| (i.to_string(), *s)).collect();
            Thresholds::default().judge(&ranking)
        };
        assert_eq!(judge(&[0.8, 0.3]), Verdict::Accept("0".into()));
        assert_eq!(judge(&[0.8, 0.79]), Verdict::Suggest("0".into()));
        assert_eq!(judge(&[0.5]), Verdict::Suggest("0".into()));
        assert_eq!(judge(&[0.3]), Verdict::Neither);
        assert_eq!(judge(&[f32::NAN]), Verdict::Neither);
        assert_eq!(judge(&[]), Verdict::Neither);
    }
}
