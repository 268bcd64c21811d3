//! BERT's WordPiece tokenizer (uncased English): text to the numbers that MiniLM reads.

use serde::Deserialize;
use std::collections::HashMap;

/// Longest sequence that the embedding model was made for, its two frame tokens included.
pub const LONGEST: usize = 128;

/// Longest word that is looked up; longer ones are unknown, as in the reference.
const LONGEST_WORD: usize = 100;

/// Text that is looked at. 128 tokens never need more, and a stranger may send megabytes.
const LONGEST_TEXT: usize = 4_096;

/// The part of a `tokenizer.json` that we read.
#[derive(Deserialize)]
struct TokenizerFile {
    model: ModelSection,
}

#[derive(Deserialize)]
struct ModelSection {
    vocab: HashMap<String, u32>,
    #[serde(rename = "type")]
    kind: String,
}

/// The vocabulary and its rules.
#[derive(Debug)]
pub struct WordPiece {
    vocabulary: HashMap<String, u32>,
    begin: u32,
    end: u32,
    unknown: u32,
}

impl WordPiece {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let file: TokenizerFile = serde_json::from_slice(file).map_err(|e| e.to_string())?;
        if file.model.kind != "WordPiece" {
            return Err(format!("the tokenizer is {}, not WordPiece", file.model.kind));
        }
        Self::new(file.model.vocab)
    }

    fn new(vocabulary: HashMap<String, u32>) -> Result<Self, String> {
        let special = |name: &str| vocabulary.get(name).copied().ok_or_else(|| format!("no {name} in the vocabulary"));
        let (begin, end, unknown) = (special("[CLS]")?, special("[SEP]")?, special("[UNK]")?);
        Ok(Self { vocabulary, begin, end, unknown })
    }

    /// The tokens of a text, between `[CLS]` and `[SEP]`; at most [`LONGEST`], the rest is cut off.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = vec![self.begin];
        for word in words(text) {
            self.pieces(&word, &mut tokens);
            if tokens.len() >= LONGEST {
                break;
            }
        }
        tokens.truncate(LONGEST - 1);
        tokens.push(self.end);
        tokens
    }

    /// The longest known beginning, then the longest known continuation, and so on; all or nothing.
    fn pieces(&self, word: &str, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut rest = word;
        let mut key = String::new();
        while !rest.is_empty() {
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let found = ends.into_iter().find_map(|end| {
                let piece = rest.get(..end)?;
                key.clear();
                if tokens.len() > before {
                    key.push_str("##");
                }
                key.push_str(piece);
                self.vocabulary.get(&key).map(|&token| (token, end))
            });
            match found {
                Some((token, end)) if word.chars().count() <= LONGEST_WORD => {
                    tokens.push(token);
                    rest = rest.get(end..).unwrap_or_default();
                }
                _ => {
                    tokens.truncate(before);
                    tokens.push(self.unknown);
                    return;
                }
            }
        }
    }
}

/// Lower-case words without accents; every punctuation mark and every Chinese character is a word of its own.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().take(LONGEST_TEXT).flat_map(char::to_lowercase) {
        let c = without_accent(c);
        if c.is_whitespace() || is_combining(c) || is_invisible(c) {
            if c.is_whitespace() && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else if is_punctuation(c) || is_chinese(c) {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            words.push(c.to_string());
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Controls, the replacement character and format characters such as the zero-width space.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{FEFF}' | '\u{FFFD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}')
}

fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36F}').contains(&c)
}

/// ASCII symbols count as punctuation, as in the reference; beyond ASCII, the general punctuation blocks.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿')
        || ('\u{2010}'..='\u{2027}').contains(&c)
        || ('\u{2030}'..='\u{205E}').contains(&c) && !matches!(c, '\u{2044}' | '\u{2052}')
        || ('\u{3001}'..='\u{3003}').contains(&c)
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{2CEAF}')
}

/// The letter below the accent, for the Latin letters of European names.
fn without_accent(c: char) -> char {
    const ROWS: [(&str, char); 20] = [
        ("àáâãäåāăąǎ", 'a'),
        ("çćĉċč", 'c'),
        ("ďḍ", 'd'),
        ("èéêëēĕėęě", 'e'),
        ("ĝğġģ", 'g'),
        ("ĥ", 'h'),
        ("ìíîïĩīĭįǐ", 'i'),
        ("ĵ", 'j'),
        ("ķ", 'k'),
        ("ĺļľ", 'l'),
        ("ñńņňǹ", 'n'),
        ("òóôõöōŏőǒ", 'o'),
        ("ŕŗř", 'r'),
        ("śŝşšș", 's'),
        ("ţťț", 't'),
        ("ùúûüũūŭůűųǔ", 'u'),
        ("ŵ", 'w'),
        ("ýÿŷ", 'y'),
        ("źżž", 'z'),
        ("ṃ", 'm'),
    ];
    if c.is_ascii() {
        return c;
    }
    ROWS.iter().find(|(accented, _)| accented.contains(c)).map_or(c, |(_, plain)| *plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> WordPiece {
        let list = ["[CLS]", "[SEP]", "[UNK]", "play", "##ing", "##ed", "cafe", "'", "s", "!", "un"];
        WordPiece::new(list.iter().enumerate().map(|(n, w)| ((*w).to_owned(), n as u32)).collect()).unwrap()
    }

    #[test]
    fn words_become_the_longest_known_pieces() {
        assert_eq!(toy().encode("playing PLAYED"), [0, 3, 4, 3, 5, 1]);
    }

    #[test]
    fn accents_go_and_punctuation_stands_alone() {
        assert_eq!(toy().encode("Café's!"), [0, 6, 7, 8, 9, 1]);
        assert_eq!(toy().encode("cafe\u{301}"), [0, 6, 1]);
    }

    #[test]
    fn a_word_with_an_unknown_end_is_unknown_as_a_whole() {
        assert_eq!(toy().encode("unplayx play"), [0, 2, 3, 1]);
        assert_eq!(toy().encode(&"s".repeat(101)), [0, 2, 1]);
    }

    #[test]
    fn long_texts_are_cut_at_the_longest_sequence() {
        let tokens = toy().encode(&"play ".repeat(100_000));
        assert_eq!((tokens.len(), tokens[LONGEST - 1]), (LONGEST, 1));
        assert_eq!(toy().encode(""), [0, 1]);
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        assert!(WordPiece::parse(br#"{"model":{"type":"BPE","vocab":{}}}"#).unwrap_err().contains("BPE"));
        assert!(WordPiece::parse(br#"{"model":{"type":"WordPiece","vocab":{}}}"#).unwrap_err().contains("[CLS]"));
    }
}
