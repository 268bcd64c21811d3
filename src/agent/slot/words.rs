//! An utterance cut into words, the way every slot grammar reads it.

use std::ops::Range;

/// One word in lower case with its place in the utterance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Lower-case letters and digits; `am`/`pm` without dots; `o'clock` as `oclock`; digits and letters apart (`3`, `pm`).
    pub text: String,
    /// Bytes of the utterance.
    pub span: Range<usize>,
    /// Starts with a capital letter.
    pub capital: bool,
    /// Punctuation that ends a phrase follows: `,`, `.`, `?`, `!`, `;` or `:`.
    pub stop: Option<char>,
}

/// The words of an utterance; some may be masked because another slot has already claimed them.
#[derive(Clone, Debug)]
pub struct Words<'t> {
    /// The utterance.
    pub source: &'t str,
    words: Vec<Word>,
}

/// What a masked word reads as; no grammar knows it.
const MASK: &str = "\u{0}";

impl<'t> Words<'t> {
    /// Cuts `source` up. Hyphens and slashes separate, except in `11/24`; `3:30` and `24th` stay whole.
    #[must_use]
    pub fn new(source: &'t str) -> Self {
        let mut words = Vec::new();
        let mut at = 0;
        for chunk in source.split_whitespace() {
            // `split_whitespace` yields slices of `source` in order, so the search cannot miss.
            let start = source.get(at..).and_then(|rest| rest.find(chunk)).map_or(at, |offset| at + offset);
            at = start + chunk.len();
            cut_chunk(chunk, start, &mut words);
        }
        Self { source, words }
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The `index`-th word's text, or `""` past the end.
    #[must_use]
    pub fn at(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.text.as_str())
    }

    /// The `index`-th word.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<&Word> {
        self.words.get(index)
    }

    /// All words in order.
    pub fn iter(&self) -> impl Iterator<Item = &Word> {
        self.words.iter()
    }

    /// Whether the words from `index` on read `phrase` (lower case, single spaces).
    #[must_use]
    pub fn reads(&self, index: usize, phrase: &str) -> bool {
        phrase.split(' ').enumerate().all(|(offset, text)| self.at(index + offset) == text)
    }

    /// The first of `phrases` that the words from `index` on read, and its length in words.
    #[must_use]
    pub fn reads_any(&self, index: usize, phrases: &[&str]) -> Option<usize> {
        phrases.iter().filter(|phrase| self.reads(index, phrase)).map(|phrase| phrase.split(' ').count()).max()
    }

    /// Where `phrase` starts, if it occurs.
    #[must_use]
    pub fn find(&self, phrase: &str) -> Option<usize> {
        (0..self.len()).find(|index| self.reads(*index, phrase))
    }

    /// Whether any of `phrases` occurs.
    #[must_use]
    pub fn contains_any(&self, phrases: &[&str]) -> bool {
        (0..self.len()).any(|index| self.reads_any(index, phrases).is_some())
    }

    /// Bytes of the utterance from the first to the last of these words.
    #[must_use]
    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        let start = self.words.get(range.start).map_or(self.source.len(), |word| word.span.start);
        let end = range.end.checked_sub(1).and_then(|last| self.words.get(last)).map_or(start, |word| word.span.end);
        start..end.max(start)
    }

    /// Hides words that another slot has claimed, so that no grammar reads them twice.
    pub fn mask(&mut self, span: &Range<usize>) {
        for word in self.words.iter_mut().filter(|w| w.span.start < span.end && span.start < w.span.end) {
            MASK.clone_into(&mut word.text);
        }
    }

    /// Whether this word is masked.
    #[must_use]
    pub fn is_masked(&self, index: usize) -> bool {
        self.at(index) == MASK
    }

    /// The same utterance with only the words from `index` on; the others are masked.
    #[must_use]
    pub fn from_word(&self, index: usize) -> Self {
        let mut rest = self.clone();
        for word in rest.words.iter_mut().take(index) {
            MASK.clone_into(&mut word.text);
        }
        rest
    }

    /// The same utterance with only the words before `index`; the others are masked.
    #[must_use]
    pub fn until_word(&self, index: usize) -> Self {
        let mut start = self.clone();
        for word in start.words.iter_mut().skip(index) {
            MASK.clone_into(&mut word.text);
        }
        start
    }

    /// Whether every word outside `range` is masked or a filler: the utterance says this and no more.
    #[must_use]
    pub fn nothing_but(&self, range: &Range<usize>) -> bool {
        self.words
            .iter()
            .enumerate()
            .all(|(index, word)| range.contains(&index) || word.text == MASK || FILLERS.contains(&word.text.as_str()))
    }
}

/// Words that carry no answer.
pub const FILLERS: &[&str] = &[
    "a", "ah", "alright", "and", "at", "eh", "er", "erm", "hello", "hey", "hi", "hm", "hmm", "i", "id", "i'd", "is",
    "it", "it's", "its", "just", "let's", "like", "make", "maybe", "mm", "my", "of", "oh", "ok", "okay", "on",
    "please", "say", "so", "sure", "take", "thank", "thanks", "that", "that's", "the", "then", "think", "uh", "uhm",
    "um", "umm", "well", "would", "yeah", "yep", "yes", "you",
];

/// Words after which a speaker replaces what was just said: "Tuesday, no, Wednesday".
const REPAIRS: &[&str] = &[
    "no wait",
    "no sorry",
    "oh sorry",
    "i mean",
    "i meant",
    "make that",
    "or rather",
    "scratch that",
    "correction",
    "sorry",
    "actually",
    "no",
    "wait",
];

impl Words<'_> {
    /// The index just after the last phrase with which the speaker takes back what came before it, if
    /// anything stands on both sides of it.
    #[must_use]
    pub fn after_repair(&self) -> Option<usize> {
        (1..self.len())
            .rev()
            .filter_map(|index| self.reads_any(index, REPAIRS).map(|length| index + length))
            .find(|after| *after < self.len())
    }
}

fn cut_chunk(chunk: &str, offset: usize, words: &mut Vec<Word>) {
    let lower = chunk.to_lowercase().replace(['\u{2019}', '\u{2018}', '`'], "'");
    let bare = lower.trim_matches(|c: char| !c.is_alphanumeric());
    // Forms in which inner punctuation does not separate.
    let whole = match bare {
        "a.m" | "am" => Some("am"),
        "p.m" | "pm" => Some("pm"),
        "o'clock" | "oclock" => Some("oclock"),
        _ => None,
    };
    if let Some(text) = whole {
        let stop =
            stop_of(chunk.rsplit(|c: char| c.is_alphanumeric()).next().unwrap_or_default().trim_start_matches('.'));
        words.push(Word { text: text.to_owned(), span: offset..offset + chunk.len(), capital: false, stop });
        return;
    }
    let characters: Vec<(usize, char)> = chunk.char_indices().collect();
    let mut index = 0;
    while let Some(&(start, first)) = characters.get(index) {
        let mut end = index;
        if first == '+' {
            words.push(Word {
                text: "plus".into(),
                span: offset + start..offset + start + 1,
                capital: false,
                stop: None,
            });
            index += 1;
            continue;
        }
        if first.is_ascii_digit() {
            while let Some(&(_, c)) = characters.get(end) {
                let next_is_digit = characters.get(end + 1).is_some_and(|(_, n)| n.is_ascii_digit());
                let inside = matches!(c, ':' | '/' | '.' | ',') && next_is_digit;
                if !c.is_ascii_digit() && !inside {
                    break;
                }
                end += 1;
            }
            // An ordinal keeps its ending: 24th.
            let ending: String = characters.iter().skip(end).take(2).map(|(_, c)| c.to_ascii_lowercase()).collect();
            let after = characters.get(end + 2).is_some_and(|(_, c)| c.is_alphanumeric());
            if matches!(ending.as_str(), "st" | "nd" | "rd" | "th") && !after {
                end += 2;
            }
        } else if first.is_alphabetic() {
            while let Some(&(_, c)) = characters.get(end) {
                let apostrophe = matches!(c, '\'' | '\u{2019}' | '\u{2018}')
                    && characters.get(end + 1).is_some_and(|(_, n)| n.is_alphabetic());
                if !c.is_alphabetic() && !apostrophe {
                    break;
                }
                end += 1;
            }
        } else {
            if let (Some(word), Some(stop)) = (words.last_mut().filter(|w| w.span.end > offset), stop_of_char(first)) {
                word.stop = Some(stop);
            }
            index += 1;
            continue;
        }
        let stop_byte = characters.get(end).map_or(chunk.len(), |(byte, _)| *byte);
        let raw = chunk.get(start..stop_byte).unwrap_or_default();
        let text = raw.to_lowercase().replace(['\u{2019}', '\u{2018}'], "'");
        let capital = first.is_uppercase();
        words.push(Word { text, span: offset + start..offset + stop_byte, capital, stop: None });
        index = end;
    }
}

fn stop_of(tail: &str) -> Option<char> {
    tail.chars().find_map(stop_of_char)
}

fn stop_of_char(c: char) -> Option<char> {
    matches!(c, ',' | '.' | '?' | '!' | ';' | ':').then_some(c)
}

/// The number of single-letter edits (insert, delete, replace, swap neighbours) between two words.
#[must_use]
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(ca != cb)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// How alike two words are: 1.0 for equal, 0.0 for nothing in common.
#[must_use]
pub fn likeness(a: &str, b: &str) -> f32 {
    let longest = a.chars().count().max(b.chars().count());
    if longest == 0 { 1.0 } else { 1.0 - edit_distance(a, b) as f32 / longest as f32 }
}

/// A rough key of how a word sounds: words that speech-to-text confuses often share it.
#[must_use]
pub fn sound_key(word: &str) -> String {
    let mut text = word.to_lowercase();
    for (from, to) in [
        ("ph", "f"),
        ("ght", "t"),
        ("kn", "n"),
        ("wr", "r"),
        ("ck", "k"),
        ("sch", "sk"),
        ("tch", "x"),
        ("ch", "x"),
        ("sh", "x"),
        ("th", "t"),
        ("qu", "kw"),
        ("ce", "se"),
        ("ci", "si"),
        ("cy", "sy"),
        ("ge", "je"),
        ("gi", "ji"),
        ("mb", "m"),
    ] {
        text = text.replace(from, to);
    }
    let mut key = String::new();
    for (index, c) in text.chars().filter(|c| c.is_alphanumeric()).enumerate() {
        let c = match c {
            'c' | 'q' => 'k',
            'z' => 's',
            'v' => 'f',
            'd' => 't',
            'b' => 'p',
            'g' => 'k',
            'h' | 'w' if index > 0 => continue,
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' if index > 0 => continue,
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' => 'a',
            other => other,
        };
        if !key.ends_with(c) {
            key.push(c);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_utterance_is_cut_where_speech_to_text_glues() {
        for (text, expected) in [
            ("3pm", "3 pm"),
            ("At 3:30 P.M., please.", "at 3:30 pm please"),
            ("twenty-fourth", "twenty fourth"),
            ("the 24th", "the 24th"),
            ("11/24", "11/24"),
            ("555-0134", "555 0134"),
            ("+1 (555) 0134", "plus 1 555 0134"),
            ("two o\u{2019}clock", "two oclock"),
            ("B-E-R-G", "b e r g"),
            ("I'm O'Brien.", "i'm o'brien"),
            ("1,200", "1,200"),
        ] {
            let words: Vec<String> = Words::new(text).iter().map(|w| w.text.clone()).collect();
            assert_eq!(words.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn spans_point_back_into_the_utterance() {
        let text = "Well, next  Tuesday.";
        let words = Words::new(text);
        assert_eq!(&text[words.span(1..3)], "next  Tuesday");
        assert_eq!(words.word(0).and_then(|w| w.stop), Some(','));
        assert_eq!(words.word(2).and_then(|w| w.stop), Some('.'));
    }

    #[test]
    fn a_repair_starts_after_the_last_phrase_that_takes_back() {
        let words = Words::new("Tuesday, no wait, Wednesday");
        assert_eq!(words.after_repair().map(|at| words.at(at)), Some("wednesday"));
        assert_eq!(Words::new("no").after_repair(), None);
    }

    #[test]
    fn likeness_and_sound_bring_near_words_together() {
        assert_eq!(edit_distance("cleaning", "cleanign"), 1);
        assert!(likeness("checkup", "checkups") > 0.8);
        assert_eq!(sound_key("Berg"), sound_key("Burk"));
        assert_ne!(sound_key("filling"), sound_key("cleaning"));
    }
}
