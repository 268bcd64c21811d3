//! Words to phonemes: contractions and compounds are taken apart, tagged, looked up from the last word to the
//! first (a word's sound depends on what follows), and put together again.

use super::VoiceError;
use super::assets;
use super::dictionary::Dictionary;
use super::lexicon::{Following, Lexicon, Tagged};
use super::stress::{self, Emphasis, PRIMARY};
use super::tagger::Tagger;
use crate::providers::speakable::normalize::{Kind, Spoken};
use std::collections::HashMap;
use std::path::Path;

/// Characters within a word that have no sound of their own.
const SILENT: &str = "',-._‘’/";
/// Words joined in an address have at least so many letters: shorter ones are found in any name.
const SHORTEST_JOINED: usize = 3;
/// Longer runs are not searched for words; it takes time with the square of the length.
const LONGEST_JOINED: usize = 40;
/// Punctuation the voice hears as a pause or a tone.
const PAUSES: &str = ";:,.!?—…";

/// The phonemes of one spoken word or of a punctuation mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phonemes {
    /// In the voice's alphabet; may be empty.
    pub text: String,
    /// Whether a space goes before it.
    pub space_before: bool,
}

/// Everything that is needed to read words; read-only once loaded.
#[derive(Debug)]
pub struct Reader {
    lexicon: Lexicon,
    tagger: Tagger,
    /// Contractions and their parts: "don't" → "do", "n't".
    contractions: HashMap<String, Vec<String>>,
}

/// A part of a word: the tagger sees contractions and compounds in parts.
struct Part<'a> {
    text: String,
    tag: &'a str,
}

impl Reader {
    /// Reads the dictionaries, the tagger and the table of contractions of the American voice.
    pub fn load(dir: &Path) -> Result<Self, VoiceError> {
        let gold: Dictionary = assets::json(&dir.join("lexicon_us_gold.json.gz"))?;
        let silver: Dictionary = assets::json(&dir.join("lexicon_us_silver.json.gz"))?;
        Ok(Self {
            lexicon: Lexicon::new(gold, silver),
            tagger: assets::json(&dir.join("tagger.json.gz"))?,
            contractions: assets::json(&dir.join("tokenizer_exceptions.json"))?,
        })
    }

    /// One entry of phonemes for each entry of `sentence`. `unknown` reads words in neither dictionary.
    pub fn read(
        &self,
        sentence: &[Spoken],
        mut unknown: impl FnMut(&str) -> Result<String, VoiceError>,
    ) -> Result<Vec<Phonemes>, VoiceError> {
        let parts: Vec<Vec<String>> = sentence.iter().map(|s| self.parts(s)).collect();
        let flat: Vec<&String> = parts.iter().flatten().collect();
        let mut tags = self.tagger.tag(&flat).into_iter();
        let mut words: Vec<Vec<Part<'_>>> = Vec::with_capacity(parts.len());
        for word in parts {
            words.push(word.into_iter().map(|text| Part { text, tag: tags.next().unwrap_or("NN") }).collect());
        }
        let mut next = Following::default();
        let mut out = Vec::with_capacity(sentence.len());
        for (spoken, parts) in sentence.iter().zip(&words).rev() {
            let text = match spoken.kind {
                Kind::Pause => spoken.text.clone(),
                Kind::Letters => match self.lexicon.spell_initialism(&spoken.text) {
                    Some(names) => names,
                    None => unknown(&spoken.text)?,
                },
                Kind::Word => self.word(parts, next, &mut unknown)?,
                Kind::Run => match self.split(&spoken.text) {
                    Some(words) => self.run(&words),
                    None => self.word(parts, next, &mut unknown)?,
                },
            };
            next = following(&text, &spoken.text, next);
            let text = text.replace('ɾ', "T").replace('ʔ', "t");
            out.push(Phonemes { text, space_before: spoken.space_before });
        }
        out.reverse();
        Ok(out)
    }

    /// The parts the tagger sees: "they're" → "they", "'re"; "Anna's" → "Anna", "'s"; "follow-up" → "follow",
    /// "-", "up".
    fn parts(&self, spoken: &Spoken) -> Vec<String> {
        let text = spoken.text.replace('’', "'");
        if spoken.kind != Kind::Word {
            return vec![text];
        }
        if let Some(parts) = self.contractions.get(&text) {
            return parts.clone();
        }
        let (stem, possessive) = match text.strip_suffix("'s").or_else(|| text.strip_suffix("'S")) {
            Some(stem) if !stem.is_empty() => (stem, Some(text[stem.len()..].to_owned())),
            _ => (text.as_str(), None),
        };
        let mut parts = Vec::new();
        if let Some(known) = self.contractions.get(stem) {
            parts.extend(known.iter().cloned());
        } else {
            let mut rest = stem;
            while let Some(at) = rest.find('-').filter(|at| *at > 0 && *at + 1 < rest.len()) {
                parts.extend([rest[..at].to_owned(), "-".to_owned()]);
                rest = &rest[at + 1..];
            }
            parts.push(rest.to_owned());
        }
        parts.extend(possessive);
        parts
    }

    /// `run` as the fewest known words, if it is not one itself: "lakeviewdental" → "lakeview", "dental".
    fn split<'a>(&self, run: &'a str) -> Option<Vec<&'a str>> {
        if run.len() < 2 * SHORTEST_JOINED
            || run.len() > LONGEST_JOINED
            || !run.is_ascii()
            || self.lexicon.has_word(run)
        {
            return None;
        }
        // For each place, the best way to reach it: number of words and where the last one starts.
        let mut reached: Vec<Option<(usize, usize)>> = vec![None; run.len() + 1];
        reached[0] = Some((0, 0));
        for end in SHORTEST_JOINED..=run.len() {
            reached[end] = (0..=end - SHORTEST_JOINED)
                .filter_map(|start| reached[start].map(|(words, _)| (words + 1, start)))
                .filter(|(_, start)| self.lexicon.has_word(&run[*start..end]))
                .min();
        }
        let mut words = Vec::new();
        let mut end = run.len();
        while end > 0 {
            let (_, start) = reached[end]?;
            words.push(&run[start..end]);
            end = start;
        }
        words.reverse();
        Some(words)
    }

    fn run(&self, words: &[&str]) -> String {
        let mut next = Following::default();
        let mut sounds: Vec<String> = Vec::new();
        for word in words.iter().rev() {
            let sound = self.lexicon.pronounce(Tagged { text: word, tag: "NN" }, next).unwrap_or_default();
            next = following(&sound, word, next);
            sounds.push(sound);
        }
        sounds.reverse();
        sounds.join(" ")
    }

    fn word(
        &self,
        parts: &[Part<'_>],
        next: Following,
        unknown: &mut impl FnMut(&str) -> Result<String, VoiceError>,
    ) -> Result<String, VoiceError> {
        let humps: Vec<Part<'_>> = parts
            .iter()
            .flat_map(|p| humps(&p.text).into_iter().map(|text| Part { text: text.to_owned(), tag: p.tag }))
            .collect();
        let mut sounds: Vec<String> = vec![String::new(); humps.len()];
        let (mut end, mut heard) = (humps.len(), next);
        // From the end, the longest run of parts that the lexicon knows as one word.
        while end > 0 {
            let run = (0..end).find_map(|start| {
                let (text, tag) = joined(&humps[start..end]);
                let sound = self.lexicon.pronounce(Tagged { text: &text, tag }, heard)?;
                Some((start, text, sound))
            });
            match run {
                Some((start, text, sound)) => {
                    heard = following(&sound, &text, heard);
                    sounds[start] = sound;
                    end = start;
                }
                None if humps[end - 1].text.chars().all(|c| SILENT.contains(c)) => end -= 1,
                None => {
                    let whole = joined(&humps).0;
                    let letters = whole.split(|c: char| !c.is_alphabetic() && c != '\'');
                    let read: Result<Vec<String>, VoiceError> = letters
                        .map(|w| w.trim_matches('\''))
                        .filter(|w| !w.is_empty())
                        .map(|w| match w.strip_prefix("O'") {
                            // "O'Brien".
                            Some(clan) => Ok(format!("O{}", unknown(clan)?)),
                            None => unknown(w),
                        })
                        .collect();
                    return Ok(read?.join(" "));
                }
            }
        }
        soften_compound(&humps, &mut sounds);
        Ok(sounds.concat())
    }
}

/// Too many strong syllables in one compound: the lighter half of the parts becomes half strong.
fn soften_compound(parts: &[Part<'_>], sounds: &mut [String]) {
    let mut order: Vec<(bool, usize, usize)> = sounds
        .iter()
        .enumerate()
        .filter(|(_, s)| !s.is_empty())
        .map(|(i, s)| (s.contains(PRIMARY), stress::weight(s), i))
        .collect();
    let strong = order.iter().filter(|(primary, ..)| *primary).count();
    let softer: Vec<usize> = match order.as_slice() {
        [(_, _, first), (_, _, second)] if parts[*first].text.chars().count() == 1 => vec![*second],
        _ if order.len() < 2 || strong <= order.len().div_ceil(2) => return,
        _ => {
            order.sort_unstable();
            order.iter().take(order.len() / 2).map(|(_, _, i)| *i).collect()
        }
    };
    for i in softer {
        sounds[i] = stress::apply(&sounds[i], Emphasis::Soften);
    }
}

fn joined<'a>(parts: &[Part<'a>]) -> (String, &'a str) {
    let text = parts.iter().map(|p| p.text.as_str()).collect();
    let size = |p: &Part<'_>| p.text.chars().map(|c| if c.is_uppercase() { 2usize } else { 1 }).sum::<usize>();
    // The first of the largest parts names the whole.
    let tag = parts.iter().rev().max_by_key(|p| size(p)).map_or("", |p| p.tag);
    (text, tag)
}

/// "MyChart" → "My", "Chart"; "HTMLPage" → "HTML", "Page"; "can't" stays whole.
fn humps(word: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    let mut cuts = vec![0];
    for i in 1..chars.len() {
        let (before, (at, here)) = (chars[i - 1].1, chars[i]);
        let after = chars.get(i + 1).map(|(_, c)| *c);
        let rises = before.is_lowercase() && here.is_uppercase();
        let last_of_run = before.is_uppercase() && here.is_uppercase() && after.is_some_and(char::is_lowercase);
        if rises || last_of_run {
            cuts.push(at);
        }
    }
    cuts.push(word.len());
    cuts.windows(2).map(|w| &word[w[0]..w[1]]).filter(|s| !s.is_empty()).collect()
}

/// What the word before hears of this one.
fn following(phonemes: &str, text: &str, otherwise: Following) -> Following {
    let first = phonemes.chars().find(|c| stress::is_vowel(*c) || stress::is_consonant(*c) || PAUSES.contains(*c));
    let vowel = match first {
        Some(c) if PAUSES.contains(c) => None,
        Some(c) => Some(stress::is_vowel(c)),
        None => otherwise.vowel,
    };
    Following { vowel, to: matches!(text, "to" | "To") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        let gold = r#"{"X":"ˈɛks","ray":"ɹˈA","follow":"fˈɑlO","up":"ˈʌp","don't":"dˈOnt","my":"mI",
            "chart":"ʧˈɑɹt","call":"kˈɔl","to":"tu","Anna":"ˈænə","old":"ˈOld","the":"ði","twenty":"twˈɛnti",
            "five":"fˈIv","year":"jˈɪɹ"}"#;
        Reader {
            lexicon: Lexicon::new(serde_json::from_str(gold).unwrap(), Dictionary::default()),
            tagger: serde_json::from_str(
                r#"{"tags":["NN","DT","TO"],"tagdict":{"the":"DT","to":"TO"},"vocab":[],"weights":{}}"#,
            )
            .unwrap(),
            contractions: [("don't".to_owned(), vec!["do".to_owned(), "n't".to_owned()])].into(),
        }
    }

    fn read(text: &str) -> String {
        let spoken: Vec<Spoken> = text
            .split(' ')
            .enumerate()
            .map(|(i, w)| Spoken {
                text: w.to_owned(),
                kind: if PAUSES.contains(w) { Kind::Pause } else { Kind::Word },
                space_before: i > 0 && !PAUSES.contains(w),
                text_end: 0,
            })
            .collect();
        let out = reader().read(&spoken, |w| Ok(format!("<{w}>"))).unwrap();
        out.iter().map(|p| format!("{}{}", if p.space_before { " " } else { "" }, p.text)).collect()
    }

    #[test]
    fn contractions_compounds_and_possessives_sound_as_one_word() {
        assert_eq!(read("don't"), "dˈOnt");
        assert_eq!(read("Anna's"), "ˈænəz");
        assert_eq!(read("MyChart"), "mˌIʧˈɑɹt");
        assert_eq!(read("X-ray"), "ˈɛksɹˌA");
        assert_eq!(read("twenty-five-year-old"), "twˈɛntifˌIvjˌɪɹˈOld");
    }

    #[test]
    fn the_next_word_changes_the_one_before() {
        assert_eq!(read("the old call"), "ði ˈOld kˈɔl");
        assert_eq!(read("the call ."), "ðə kˈɔl.");
        assert_eq!(read("to call , to"), "tə kˈɔl, tu");
    }

    #[test]
    fn words_joined_in_an_address_are_found() {
        assert_eq!(reader().split("mycallchart"), None, "two letters are too few");
        assert_eq!(reader().split("followchart").unwrap(), ["follow", "chart"]);
        assert_eq!(reader().split("callcallcall").unwrap(), ["call", "call", "call"]);
        assert_eq!(reader().split("calls"), None);
        assert_eq!(reader().run(&["the", "call"]), "ðə kˈɔl");
    }

    #[test]
    fn words_nobody_knows_go_to_the_network_with_letters_only() {
        assert_eq!(read("call Zyxtrova-Klein"), "kˈɔl <Zyxtrova> <Klein>");
    }
}
