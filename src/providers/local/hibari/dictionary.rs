//! A pronunciation dictionary in little memory: two flat arrays instead of a map of strings.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Words and how they sound. About 30 bytes a word; found by binary search.
#[derive(Debug, Default)]
pub struct Dictionary {
    text: String,
    entries: Vec<Entry>,
    variants: Vec<(String, Option<String>)>,
}

/// A stretch of [`Dictionary::text`].
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u32,
    len: u16,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    word: Span,
    sound: Sound,
}

#[derive(Clone, Copy, Debug)]
enum Sound {
    One(Span),
    /// A run in [`Dictionary::variants`].
    ByTag {
        first: u32,
        count: u16,
    },
}

/// What a dictionary says of one word.
#[derive(Clone, Copy, Debug)]
pub enum Pronunciation<'a> {
    /// The word sounds the same wherever it stands.
    Always(&'a str),
    /// It depends on the part of speech: (tag, phonemes) pairs with one `DEFAULT`. No phonemes means that the
    /// word is read letter by letter.
    ByTag(&'a [(String, Option<String>)]),
}

impl<'a> Pronunciation<'a> {
    /// The phonemes for `tag`, or the default ones.
    #[must_use]
    pub fn of(self, tag: &str) -> Option<&'a str> {
        match self {
            Self::Always(phonemes) => Some(phonemes),
            Self::ByTag(variants) => variants
                .iter()
                .find(|(t, _)| t == tag)
                .or_else(|| variants.iter().find(|(t, _)| t == "DEFAULT"))
                .and_then(|(_, phonemes)| phonemes.as_deref()),
        }
    }

    /// Whether there are phonemes for `tag` itself.
    #[must_use]
    pub fn has(self, tag: &str) -> bool {
        matches!(self, Self::ByTag(variants) if variants.iter().any(|(t, _)| t == tag))
    }
}

impl Dictionary {
    /// A small dictionary of words that sound the same everywhere.
    #[must_use]
    pub fn of(words: &[(&str, &str)]) -> Self {
        let mut out = Self::default();
        for (word, phonemes) in words {
            if let (Some(word), Some(phonemes)) = (out.keep(word), out.keep(phonemes)) {
                out.entries.push(Entry { word, sound: Sound::One(phonemes) });
            }
        }
        out.sort();
        out
    }

    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|a, b| self.slice(a.word).cmp(self.slice(b.word)));
        self.entries = entries;
    }

    /// The entry for `word`. A lower-case entry also answers for the capitalised word and the other way round,
    /// unless that has an entry of its own.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<Pronunciation<'_>> {
        if let Some(exact) = self.exact(word) {
            return Some(exact);
        }
        let lower = word.to_lowercase();
        let capital = capitalised(&lower);
        if word.chars().nth(1).is_none() || lower == capital {
            None
        } else if word == lower {
            self.exact(&capital)
        } else if word == capital {
            self.exact(&lower)
        } else {
            None
        }
    }

    /// Whether [`Self::find`] knows `word`.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        self.find(word).is_some()
    }

    fn exact(&self, word: &str) -> Option<Pronunciation<'_>> {
        let index = self.entries.binary_search_by(|e| self.slice(e.word).cmp(word)).ok()?;
        Some(match self.entries[index].sound {
            Sound::One(span) => Pronunciation::Always(self.slice(span)),
            Sound::ByTag { first, count } => {
                Pronunciation::ByTag(&self.variants[first as usize..first as usize + usize::from(count)])
            }
        })
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.at as usize..span.at as usize + usize::from(span.len)]
    }

    fn keep(&mut self, text: &str) -> Option<Span> {
        let span = Span { at: u32::try_from(self.text.len()).ok()?, len: u16::try_from(text.len()).ok()? };
        self.text.push_str(text);
        Some(span)
    }
}

/// `lower` with its first letter as a capital.
#[must_use]
fn capitalised(lower: &str) -> String {
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    #[serde(borrow)]
    One(std::borrow::Cow<'a, str>),
    ByTag(BTreeMap<String, Option<String>>),
}

impl<'de> Deserialize<'de> for Dictionary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Dictionary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of words and their phonemes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dictionary, A::Error> {
                let mut out = Dictionary::default();
                let too_long = || A::Error::custom("a dictionary of more than 4 GB or a word of more than 64 kB");
                while let Some((word, written)) = map.next_entry::<String, Written<'_>>()? {
                    let word = out.keep(&word).ok_or_else(too_long)?;
                    let sound = match written {
                        Written::One(phonemes) => Sound::One(out.keep(&phonemes).ok_or_else(too_long)?),
                        Written::ByTag(variants) => {
                            let (first, count) = (out.variants.len() as u32, variants.len() as u16);
                            out.variants.extend(variants);
                            Sound::ByTag { first, count }
                        }
                    };
                    out.entries.push(Entry { word, sound });
                }
                out.sort();
                out.entries.shrink_to_fit();
                out.text.shrink_to_fit();
                Ok(out)
            }
        }
        deserializer.deserialize_map(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary() -> Dictionary {
        serde_json::from_str(
            r#"{"zoo":"zˈu","house":{"DEFAULT":"hˈWs","VERB":"hˈWz"},"Polish":"pˈOlɪʃ","polish":"pˈɑlɪʃ",
                "IT":{"DEFAULT":"ɪt","NOUN":null},"Bob":"bˈɑb","a":"ɐ"}"#,
        )
        .unwrap()
    }

    fn sound(word: &str, tag: &str) -> Option<String> {
        dictionary().find(word)?.of(tag).map(str::to_owned)
    }

    #[test]
    fn words_are_found_in_either_case_but_an_own_entry_wins() {
        assert_eq!(sound("Zoo", "NN").as_deref(), Some("zˈu"));
        assert_eq!(sound("bob", "NN").as_deref(), Some("bˈɑb"));
        assert_eq!(sound("Polish", "JJ").as_deref(), Some("pˈOlɪʃ"));
        assert_eq!(sound("polish", "VB").as_deref(), Some("pˈɑlɪʃ"));
        assert_eq!(sound("ZOO", "NN"), None);
        assert_eq!(sound("A", "NN"), None, "one letter answers only for itself");
    }

    #[test]
    fn a_tag_without_an_own_sound_gets_the_default_and_null_means_letters() {
        assert_eq!(sound("house", "VERB").as_deref(), Some("hˈWz"));
        assert_eq!(sound("house", "NN").as_deref(), Some("hˈWs"));
        assert_eq!(sound("IT", "NOUN"), None);
        assert!(dictionary().contains("IT"));
    }
}
