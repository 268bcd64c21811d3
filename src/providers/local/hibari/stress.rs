//! Stress marks in phoneme strings: where they stand and how a word's are strengthened or weakened.

/// The mark before the vowel of the strongest syllable.
pub const PRIMARY: char = 'ˈ';
/// The mark before the vowel of a half-strong syllable.
pub const SECONDARY: char = 'ˌ';
const VOWELS: &str = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ";
const CONSONANTS: &str = "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ";
/// Sounds that take two places when syllable weight is compared.
const HEAVY: &str = "AIOQWYʤʧ";

/// How a word's stress departs from the dictionary's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emphasis {
    /// As the dictionary has it.
    Plain,
    /// Primary becomes secondary: the weaker half of a compound.
    Soften,
    /// As [`Self::Soften`]; a word without any mark gets a secondary one. Letters of an initialism.
    Level,
    /// A word without any mark gets a secondary one: capitalised words and -ing forms.
    Mark,
    /// Secondary becomes primary, a word without any mark gets a primary one: words in capitals.
    Strengthen,
}

/// Whether `c` is a vowel sound.
#[must_use]
pub fn is_vowel(c: char) -> bool {
    VOWELS.contains(c)
}

/// Whether `c` is a consonant sound.
#[must_use]
pub fn is_consonant(c: char) -> bool {
    CONSONANTS.contains(c)
}

/// How long the sounds of a part are; the shorter part of a compound loses its stress first.
#[must_use]
pub fn weight(phonemes: &str) -> usize {
    phonemes.chars().map(|c| if HEAVY.contains(c) { 2 } else { 1 }).sum()
}

/// `phonemes` with `emphasis` applied.
#[must_use]
pub fn apply(phonemes: &str, emphasis: Emphasis) -> String {
    let (primary, secondary) = (phonemes.contains(PRIMARY), phonemes.contains(SECONDARY));
    match emphasis {
        Emphasis::Soften | Emphasis::Level if primary => {
            phonemes.chars().filter(|c| *c != SECONDARY).map(|c| if c == PRIMARY { SECONDARY } else { c }).collect()
        }
        Emphasis::Level | Emphasis::Mark if !primary && !secondary => marked(phonemes, SECONDARY),
        Emphasis::Strengthen if !primary && secondary => phonemes.replace(SECONDARY, "ˈ"),
        Emphasis::Strengthen if !primary => marked(phonemes, PRIMARY),
        _ => phonemes.to_owned(),
    }
}

/// `phonemes` with `mark` before its first vowel; unchanged without a vowel.
fn marked(phonemes: &str, mark: char) -> String {
    let Some(at) = phonemes.find(is_vowel) else { return phonemes.to_owned() };
    let (before, rest) = phonemes.split_at(at);
    format!("{before}{mark}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_emphasis_changes_only_the_words_it_is_for() {
        for (phonemes, emphasis, expected) in [
            ("hˈWs", Emphasis::Plain, "hˈWs"),
            ("hˈWs", Emphasis::Soften, "hˌWs"),
            ("ɛvɹiwˌʌn", Emphasis::Soften, "ɛvɹiwˌʌn"),
            ("fˌɔɹtˈin", Emphasis::Soften, "fɔɹtˌin"),
            ("wəz", Emphasis::Soften, "wəz"),
            ("wəz", Emphasis::Level, "wˌəz"),
            ("wəz", Emphasis::Mark, "wˌəz"),
            ("hˈWs", Emphasis::Mark, "hˈWs"),
            ("wəz", Emphasis::Strengthen, "wˈəz"),
            ("wˌʌn", Emphasis::Strengthen, "wˈʌn"),
            ("hˈWs", Emphasis::Strengthen, "hˈWs"),
            ("mm", Emphasis::Strengthen, "mm"),
        ] {
            assert_eq!(apply(phonemes, emphasis), expected, "{phonemes} {emphasis:?}");
        }
    }

    #[test]
    fn diphthongs_and_affricates_weigh_double() {
        assert_eq!(weight("ʧˈɜɹʧ"), 7);
        assert_eq!(weight(""), 0);
    }
}
