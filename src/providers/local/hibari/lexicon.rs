//! How known words sound: two dictionaries, the endings -s, -ed and -ing, letters of initialisms, and the
//! small words whose sound depends on their neighbours.
//!
//! The dictionaries and the conventions the voice was trained on are those of misaki 0.9 (Apache-2.0).

use super::dictionary::{Dictionary, Pronunciation};
use super::stress::{self, Emphasis, PRIMARY, SECONDARY};
use super::supplement::SUPPLEMENT;

/// Vowels after which an American t is flapped ("waiting").
const FLAPS_T: &str = "AIOWYiuæɑəɛɪɹʊʌ";

/// What follows a word; the small words adapt to it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Following {
    /// Whether the next sound is a vowel; `None` at a pause.
    pub vowel: Option<bool>,
    /// Whether the next word is "to".
    pub to: bool,
}

/// A word with its part of speech (Penn Treebank tag).
#[derive(Clone, Copy, Debug)]
pub struct Tagged<'a> {
    /// The word as written.
    pub text: &'a str,
    /// Its tag, empty when unknown.
    pub tag: &'a str,
}

/// The dictionaries with the rules.
#[derive(Debug)]
pub struct Lexicon {
    /// Ours; asked first.
    supplement: Dictionary,
    /// Checked by hand.
    gold: Dictionary,
    /// Derived; asked when gold does not know.
    silver: Dictionary,
}

impl Lexicon {
    /// A lexicon of a checked and a derived dictionary.
    #[must_use]
    pub fn new(gold: Dictionary, silver: Dictionary) -> Self {
        Self { supplement: Dictionary::of(SUPPLEMENT), gold, silver }
    }

    /// Whether `word`, in lower case, is an ordinary word of the checked dictionary.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        self.gold.contains(word)
    }

    /// The phonemes of a word as it stands in a sentence; `None` when it is unknown.
    #[must_use]
    pub fn pronounce(&self, word: Tagged<'_>, next: Following) -> Option<String> {
        let straight = word.text.replace(['‘', '’'], "'");
        let word = Tagged { text: &straight, tag: word.tag };
        let emphasis = match (is_lower(word.text), is_upper(word.text)) {
            (true, _) => Emphasis::Plain,
            (_, true) => Emphasis::Strengthen,
            _ => Emphasis::Mark,
        };
        if let Some(phonemes) = self.small_word(word, emphasis, next) {
            return Some(phonemes);
        }
        let lower = word.text.to_lowercase();
        let word = if self.reads_as_lower(word, &lower, next) { Tagged { text: &lower, tag: word.tag } } else { word };
        if self.knows(word.text) {
            return self.look_up(word, emphasis, next);
        }
        if let Some(stem) = word.text.strip_suffix('\'').filter(|stem| !stem.is_empty()) {
            // The possessive of a plural sounds like the plural.
            return self.pronounce(Tagged { text: stem, tag: word.tag }, next);
        }
        if let Some(clan) = word.text.strip_prefix("O'").filter(|c| c.starts_with(char::is_uppercase)) {
            // "O'Brien".
            return self.pronounce(Tagged { text: clan, tag: word.tag }, next).map(|p| format!("O{p}"));
        }
        self.with_ending(word, emphasis, next)
    }

    /// As [`Self::spell`], with the ending of "IDs" or "PBX's" as one sound.
    #[must_use]
    pub fn spell_initialism(&self, word: &str) -> Option<String> {
        match word.strip_suffix("'s") {
            Some(letters) => self.spell(letters).map(|p| add_s(&p)),
            None => self.spell(word),
        }
    }

    /// The names of the letters of `word`, the last one strongest ("SMS"); `None` for anything but letters
    /// that have names.
    #[must_use]
    pub fn spell(&self, word: &str) -> Option<String> {
        let mut names = String::new();
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            names.push_str(self.gold.find(&letter.to_uppercase().to_string())?.of("")?);
        }
        let level = stress::apply(&names, Emphasis::Level);
        Some(match level.rfind(SECONDARY) {
            Some(at) => format!("{}{PRIMARY}{}", &level[..at], &level[at + SECONDARY.len_utf8()..]),
            None => level,
        })
    }

    /// Whether the word, in this very spelling or read as an initialism, is known without any ending taken off.
    fn knows(&self, word: &str) -> bool {
        if self.in_dictionaries(word) {
            return true;
        }
        if word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
            return false;
        }
        word.len() == 1 || (is_upper(word) && self.gold.contains(&word.to_lowercase())) || is_upper(&word[1..])
    }

    fn in_dictionaries(&self, word: &str) -> bool {
        self.supplement.contains(word) || self.gold.contains(word) || self.silver.contains(word)
    }

    /// Whether a word with capitals is an ordinary word at the start of a sentence, in a title or shouted.
    fn reads_as_lower(&self, word: Tagged<'_>, lower: &str, next: Following) -> bool {
        let text = word.text;
        let letters = text.chars().all(|c| c.is_alphabetic() || c == '\'') && text.chars().nth(1).is_some();
        letters
            && text != lower
            && (word.tag != "NNP" || text.chars().count() > 7)
            && !self.in_dictionaries(text)
            && (is_upper(text) || text.chars().skip(1).all(|c| !c.is_uppercase()))
            && (self.in_dictionaries(lower)
                || self.with_ending(Tagged { text: lower, tag: word.tag }, Emphasis::Plain, next).is_some())
    }

    fn look_up(&self, word: Tagged<'_>, emphasis: Emphasis, next: Following) -> Option<String> {
        let shouted = is_upper(word.text) && !self.gold.contains(word.text);
        let lower = word.text.to_lowercase();
        let text = if shouted { lower.as_str() } else { word.text };
        let name = shouted && word.tag == "NNP";
        let ours = self.supplement.find(text).or_else(|| self.gold.find(text));
        let found = ours.or_else(|| if name { None } else { self.silver.find(text) });
        let phonemes = found.and_then(|p| p.of(tag_in(p, word.tag, next)));
        match phonemes {
            Some(p) if !name || p.contains(PRIMARY) => Some(stress::apply(p, emphasis)),
            _ => self.spell(text).or_else(|| phonemes.map(|p| stress::apply(p, emphasis))),
        }
    }

    /// Words that sound according to their neighbours or part of speech by rule.
    fn small_word(&self, word: Tagged<'_>, emphasis: Emphasis, next: Following) -> Option<String> {
        let Tagged { text, tag } = word;
        let gold = |w: &str, tag: &str| self.gold.find(w).and_then(|p| p.of(tag)).map(str::to_owned);
        let plain = |p: &str| Some(p.to_owned());
        if text.trim_matches('.').contains('.')
            && text.chars().all(|c| c.is_alphabetic() || c == '.')
            && text.split('.').all(|part| part.chars().count() < 3)
        {
            return self.spell(text);
        }
        match text {
            "a" | "A" => plain(if tag == "DT" { "ɐ" } else { "ˈA" }),
            "am" | "Am" | "AM" if tag.starts_with("NN") => self.spell(text),
            "am" if next.vowel.is_some() && emphasis != Emphasis::Strengthen => plain("ɐm"),
            "am" | "Am" | "AM" => gold("am", ""),
            "AN" if tag.starts_with("NN") => self.spell(text),
            "an" | "An" | "AN" => plain("ɐn"),
            "I" if tag == "PRP" => plain("ˌI"),
            "by" | "By" | "BY" if tag.starts_with("RB") => plain("bˈI"),
            "to" | "To" => self.to(next),
            "TO" if tag == "TO" || tag == "IN" => self.to(next),
            "in" | "In" => plain(if next.vowel.is_none() || tag != "IN" { "ˈɪn" } else { "ɪn" }),
            "IN" if tag != "NNP" => plain(if next.vowel.is_none() || tag != "IN" { "ˈɪn" } else { "ɪn" }),
            "the" | "The" => plain(if next.vowel == Some(true) { "ði" } else { "ðə" }),
            "THE" if tag == "DT" => plain(if next.vowel == Some(true) { "ði" } else { "ðə" }),
            "used" | "Used" | "USED" => {
                gold("used", if matches!(tag, "VBD" | "JJ") && next.to { "VBD" } else { "DEFAULT" })
            }
            _ => None,
        }
    }

    fn to(&self, next: Following) -> Option<String> {
        match next.vowel {
            None => self.gold.find("to").and_then(|p| p.of("")).map(str::to_owned),
            Some(false) => Some("tə".to_owned()),
            Some(true) => Some("tʊ".to_owned()),
        }
    }

    fn with_ending(&self, word: Tagged<'_>, emphasis: Emphasis, next: Following) -> Option<String> {
        let sound = |stem: &str, emphasis| self.look_up(Tagged { text: stem, tag: word.tag }, emphasis, next);
        if let Some(stem) = self.stem_of_s(word.text) {
            return sound(&stem, emphasis).map(|p| add_s(&p));
        }
        if let Some(stem) = self.stem_of_ed(word.text) {
            return sound(&stem, emphasis).map(|p| add_ed(&p));
        }
        let stem = self.stem_of_ing(word.text)?;
        sound(&stem, if emphasis == Emphasis::Plain { Emphasis::Mark } else { emphasis }).map(|p| add_ing(&p))
    }

    fn stem_of_s(&self, word: &str) -> Option<String> {
        let stem = word.strip_suffix('s').filter(|_| word.chars().count() > 2)?;
        if !stem.ends_with('s') && self.knows(stem) {
            return Some(stem.to_owned());
        }
        let long = word.chars().count() > 4;
        let of_es = stem.strip_suffix('e').filter(|s| long && !s.ends_with('i'));
        if let Some(stem) = stem.strip_suffix('\'').or(of_es).filter(|s| self.knows(s)) {
            return Some(stem.to_owned());
        }
        stem.strip_suffix("ie").filter(|_| long).map(|s| format!("{s}y")).filter(|s| self.knows(s))
    }

    fn stem_of_ed(&self, word: &str) -> Option<String> {
        let stem = word.strip_suffix('d').filter(|_| word.chars().count() > 3)?;
        if !stem.ends_with('d') && self.knows(stem) {
            return Some(stem.to_owned());
        }
        stem.strip_suffix('e')
            .filter(|s| word.chars().count() > 4 && !s.ends_with('e') && self.knows(s))
            .map(str::to_owned)
    }

    fn stem_of_ing(&self, word: &str) -> Option<String> {
        let length = word.chars().count();
        let stem = word.strip_suffix("ing").filter(|_| length > 4)?;
        if length > 5 && self.knows(stem) {
            return Some(stem.to_owned());
        }
        let with_e = format!("{stem}e");
        if self.knows(&with_e) {
            return Some(with_e);
        }
        let doubled = {
            let mut back = stem.chars().rev();
            match (back.next(), back.next()) {
                (Some('k'), Some('c')) => true,
                (Some(a), Some(b)) => a == b && "bcdgklmnprstvxz".contains(a),
                _ => false,
            }
        };
        let single = stem.char_indices().next_back().map(|(at, _)| &stem[..at])?;
        (length > 5 && doubled && self.knows(single)).then(|| single.to_owned())
    }
}

/// The tag under which `p` lists the sound for a word tagged `tag`.
fn tag_in<'a>(p: Pronunciation<'_>, tag: &'a str, next: Following) -> &'a str {
    if next.vowel.is_none() && p.has("None") {
        return "None";
    }
    if p.has(tag) { tag } else { word_class(tag) }
}

/// The class of a tag: VERB for VBD and so on.
fn word_class(tag: &str) -> &str {
    match tag {
        t if t.starts_with("VB") => "VERB",
        t if t.starts_with("NN") => "NOUN",
        t if t.starts_with("RB") => "ADV",
        t if t.starts_with("JJ") => "ADJ",
        t => t,
    }
}

fn is_lower(word: &str) -> bool {
    word == word.to_lowercase()
}

fn is_upper(word: &str) -> bool {
    word == word.to_uppercase()
}

/// The sound of a plural, a possessive or a third person.
fn add_s(stem: &str) -> String {
    match stem.chars().next_back() {
        Some('p' | 't' | 'k' | 'f' | 'θ') => format!("{stem}s"),
        Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => format!("{stem}ᵻz"),
        _ => format!("{stem}z"),
    }
}

/// The sound of a past tense.
fn add_ed(stem: &str) -> String {
    let mut back = stem.chars().rev();
    match (back.next(), back.next()) {
        (Some('p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ'), _) => format!("{stem}t"),
        (Some('d'), _) => format!("{stem}ᵻd"),
        (Some('t'), Some(before)) if FLAPS_T.contains(before) => format!("{}ɾᵻd", &stem[..stem.len() - 1]),
        (Some('t'), Some(_)) => format!("{stem}ᵻd"),
        (Some('t'), None) => format!("{stem}ɪd"),
        _ => format!("{stem}d"),
    }
}

/// The sound of a present participle.
fn add_ing(stem: &str) -> String {
    let mut back = stem.chars().rev();
    match (back.next(), back.next()) {
        (Some('t'), Some(before)) if FLAPS_T.contains(before) => format!("{}ɾɪŋ", &stem[..stem.len() - 1]),
        _ => format!("{stem}ɪŋ"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let gold = r#"{"S":"ˈɛs","M":"ˈɛm","clean":"klˈin","wait":"wˈAt","to":"tu","am":"æm","nurse":"nˈɜɹs",
            "copy":"kˈɑpi","stop":"stˈɑp","need":"nˈid","used":{"DEFAULT":"jˈuzd","VBD":"jˈust"},
            "record":{"DEFAULT":"ɹˈɛkəɹd","VERB":"ɹəkˈɔɹd"},"that":{"DEFAULT":"ðæt","None":"ðˈæt"},"us":"ˌʌs"}"#;
        Lexicon::new(serde_json::from_str(gold).unwrap(), serde_json::from_str(r#"{"dent":"dˈɛnt"}"#).unwrap())
    }

    fn say(text: &str, tag: &str, vowel: Option<bool>) -> Option<String> {
        lexicon().pronounce(Tagged { text, tag }, Following { vowel, to: false })
    }

    #[test]
    fn endings_follow_the_last_sound_of_the_stem() {
        for (word, expected) in [
            ("waits", "wˈAts"),
            ("waited", "wˈATᵻd"),
            ("waiting", "wˈATɪŋ"),
            ("cleaned", "klˈind"),
            ("cleans", "klˈinz"),
            ("nurses", "nˈɜɹsᵻz"),
            ("nurse's", "nˈɜɹsᵻz"),
            ("copies", "kˈɑpiz"),
            ("stopping", "stˈɑpɪŋ"),
            ("needed", "nˈidᵻd"),
            ("nurses'", "nˈɜɹsᵻz"),
            ("dents", "dˈɛnts"),
        ] {
            let said = say(word, "NN", None).unwrap_or_default().replace('ɾ', "T");
            assert_eq!(said, expected, "{word}");
        }
    }

    #[test]
    fn small_words_listen_to_what_follows() {
        assert_eq!(say("the", "DT", Some(true)).unwrap(), "ði");
        assert_eq!(say("the", "DT", Some(false)).unwrap(), "ðə");
        assert_eq!(say("to", "TO", Some(false)).unwrap(), "tə");
        assert_eq!(say("to", "TO", None).unwrap(), "tu");
        assert_eq!(say("a", "DT", Some(false)).unwrap(), "ɐ");
        assert_eq!(say("A", "NN", Some(false)).unwrap(), "ˈA");
        assert_eq!(say("that", "DT", None).unwrap(), "ðˈæt");
        let to = Following { vowel: Some(false), to: true };
        assert_eq!(lexicon().pronounce(Tagged { text: "used", tag: "VBD" }, to).unwrap(), "jˈust");
    }

    #[test]
    fn the_part_of_speech_picks_the_sound() {
        assert_eq!(say("record", "VB", Some(false)).unwrap(), "ɹəkˈɔɹd");
        assert_eq!(say("record", "NN", Some(false)).unwrap(), "ɹˈɛkəɹd");
    }

    #[test]
    fn capitals_are_words_when_known_and_letters_when_not() {
        assert_eq!(say("CLEAN", "VB", None).unwrap(), "klˈin");
        assert_eq!(say("SMS", "NN", None).unwrap(), "ˌɛsˌɛmˈɛs");
        assert_eq!(lexicon().spell_initialism("SMS's").unwrap(), "ˌɛsˌɛmˈɛsᵻz");
        assert_eq!(say("Clean", "VB", None).unwrap(), "klˈin");
        assert_eq!(say("zzyzx", "NN", None), None);
    }
}
