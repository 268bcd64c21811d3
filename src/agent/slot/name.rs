//! People's names: "my name is Anna Berg", "it's Berg, B E R G", "B as in boy".

use super::words::{Words, likeness};
use std::ops::Range;

/// A name, its bytes in the utterance and how sure it is.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundName {
    /// As it is written: `Anna Berg`.
    pub name: String,
    /// Bytes of the utterance.
    pub span: Range<usize>,
    /// 0.0–1.0.
    pub confidence: f32,
}

/// Phrases after which a name certainly follows.
const PLAIN_CUES: &[&str] = &[
    "my name is",
    "my name's",
    "my full name is",
    "the name is",
    "the name's",
    "name is",
    "name's",
    "call me",
    "i am called",
    "i'm called",
    "put down",
    "put it under",
    "under the name",
    "under the name of",
    "my names",
    "last name is",
    "my last name is",
    "first name is",
    "my first name is",
    "surname is",
];

/// Phrases after which a name may follow when one was asked for, or when it is capitalised.
const LOOSE_CUES: &[&str] = &[
    "this is",
    "it is",
    "it's",
    "its",
    "i am",
    "i'm",
    "that is",
    "that's",
    "that would be",
    "that'd be",
    "it would be",
    "for",
    "under",
    "speaking to",
    "yes it's",
    "make it",
    "should be",
];

/// Words that stand before or after a name without being part of it.
const EDGE: &[&str] = &[
    "yes",
    "yeah",
    "yep",
    "sure",
    "ok",
    "okay",
    "uh",
    "um",
    "uhm",
    "er",
    "erm",
    "ah",
    "oh",
    "well",
    "so",
    "hi",
    "hello",
    "hey",
    "please",
    "thanks",
    "thank",
    "you",
    "here",
    "speaking",
    "calling",
    "alright",
    "right",
    "hmm",
    "of",
    "course",
    "certainly",
    "and",
    "no",
    "sorry",
    "actually",
    "mister",
    "mr",
    "mrs",
    "ms",
    "miss",
    "just",
    "a",
    "the",
    "with",
];

/// Words that no name is made of: one of them and the phrase is not a name.
const NO_NAME: &[&str] = &[
    "what",
    "why",
    "how",
    "when",
    "where",
    "who",
    "which",
    "do",
    "don't",
    "does",
    "did",
    "is",
    "are",
    "was",
    "can",
    "can't",
    "could",
    "would",
    "should",
    "want",
    "wanna",
    "need",
    "like",
    "have",
    "has",
    "had",
    "get",
    "got",
    "know",
    "think",
    "not",
    "i",
    "i'd",
    "i'll",
    "i've",
    "we",
    "we're",
    "he",
    "she",
    "they",
    "my",
    "your",
    "appointment",
    "book",
    "booking",
    "looking",
    "trying",
    "going",
    "wondering",
    "afraid",
    "interested",
    "available",
    "busy",
    "free",
    "fine",
    "good",
    "great",
    "tomorrow",
    "today",
    "tonight",
    "morning",
    "afternoon",
    "evening",
    "night",
    "about",
    "something",
    "anything",
    "nothing",
    "somebody",
    "someone",
    "anyone",
    "person",
    "human",
    "operator",
    "time",
    "day",
    "date",
    "number",
    "phone",
    "name",
    "names",
    "spell",
    "spelled",
    "spelt",
    "tell",
    "say",
    "said",
    "again",
    "wait",
    "moment",
    "it",
    "this",
    "that",
    "to",
    "at",
    "on",
    "in",
    "if",
    "but",
    "or",
    "because",
    "there",
    "then",
    "correct",
    "wrong",
    "new",
    "patient",
    "customer",
    "o'clock",
    "oclock",
    "pm",
    "am",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "whatever",
    "forget",
    "never",
    "mind",
    "goodbye",
    "bye",
    "help",
    "pardon",
    "speak",
    "talk",
    "calling",
    "cancel",
    "change",
    "really",
    "very",
    "be",
    "me",
    "you",
    "private",
    "secret",
    "any",
    "some",
    "late",
    "running",
    "sick",
    "here's",
    "ready",
    "done",
    "hold",
    "minute",
    "second",
    "price",
    "cost",
    "much",
    "many",
];

/// Particles that stay small inside a name.
const PARTICLES: &[&str] =
    &["van", "von", "de", "der", "den", "da", "di", "du", "la", "le", "al", "bin", "ter", "ten", "zu"];

const NATO: [&str; 26] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima",
    "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "xray",
    "yankee", "zulu",
];

/// The name an utterance holds. `asked`: a name was asked for, so that "Anna Berg" alone is one.
#[must_use]
pub fn find(words: &Words<'_>, asked: bool) -> Option<FoundName> {
    let cue =
        (0..words.len()).find_map(|index| words.reads_any(index, PLAIN_CUES).map(|length| (index, index + length)));
    if let Some((start, after)) = cue {
        return read(words, after, true)
            .map(|found| FoundName { span: words.span(start..after).start..found.span.end, ..found });
    }
    let loose = (0..words.len()).find_map(|index| {
        let after = index + words.reads_any(index, LOOSE_CUES)?;
        let capital = words.word(after).is_some_and(|w| w.capital)
            && !NO_NAME.contains(&words.at(after))
            && spelled(words, after).is_none();
        // Unasked, only "this is Anna" and "I'm Anna" speak of the caller.
        let about_self = matches!(words.at(index), "this" | "i'm") || words.reads(index, "i am");
        (capital && (asked || about_self) || (asked && leads(words, index))).then_some(after)
    });
    if let Some(found) = loose.and_then(|after| read(words, after, asked)) {
        return Some(found);
    }
    if !asked {
        return None;
    }
    // "Anna Berg, that's B E R G": from the first word on; "No. Berg." after a reply word.
    let mut start = 0;
    while start < words.len()
        && spelled(words, start).is_none()
        && (EDGE.contains(&words.at(start)) || words.is_masked(start))
    {
        start += 1;
    }
    read(words, start, true)
}

/// Whether only edge words stand before `index`.
fn leads(words: &Words<'_>, index: usize) -> bool {
    (0..index).all(|at| EDGE.contains(&words.at(at)) || words.is_masked(at))
}

/// One piece of a name as it was said.
struct Piece {
    text: String,
    spelled: bool,
}

/// Reads the name that starts at word `from`.
fn read(words: &Words<'_>, from: usize, asked: bool) -> Option<FoundName> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = from;
    while spelled(words, at).is_none() && (EDGE.contains(&words.at(at)) || matches!(words.at(at), "for" | "under")) {
        at += 1;
    }
    let from = at;
    let mut end = from;
    let mut odd = false;
    while at < words.len() && pieces.len() < 8 {
        if let Some((text, length)) = spelled(words, at) {
            pieces.push(Piece { text, spelled: true });
            at += length;
            end = at;
            continue;
        }
        let word = words.at(at);
        if let Some(length) = words.reads_any(
            at,
            &[
                "that's spelled",
                "that is spelled",
                "spelled",
                "spelt",
                "i'll spell it",
                "i spell",
                "i spell it",
                "spelling",
                "that's",
                "that is",
                "with a",
                "it's spelled",
                "which is",
                "as in",
                "written",
            ],
        ) {
            // A spelling follows, or the name is over.
            if spelled(words, at + length).is_some() && !pieces.is_empty() {
                at += length;
                continue;
            }
            if pieces.is_empty() {
                return None;
            }
            break;
        }
        if words.is_masked(at) || number_like(word) {
            break;
        }
        if EDGE.contains(&word) && !pieces.is_empty() {
            // "Anna Berg please": over; anything after that is another sentence.
            break;
        }
        let capital = words.word(at).is_some_and(|w| w.capital);
        if NO_NAME.contains(&word) && !(capital && matches!(word, "may" | "will" | "new")) {
            if pieces.is_empty() || !ended_before(words, at) {
                odd = true;
            }
            break;
        }
        let mut text = raw(words, at);
        // A hyphen joins: Anna-Lena, Smith-Jones.
        while joined(words, at) && !words.at(at + 1).is_empty() {
            at += 1;
            text = format!("{text}-{}", raw(words, at));
        }
        pieces.push(Piece { text, spelled: false });
        at += 1;
        end = at;
        let stop = words.word(at - 1).and_then(|w| w.stop);
        let more = spelled(words, at).is_some()
            || words
                .reads_any(at, &["that's", "spelled", "spelt", "i spell", "with a", "which is", "that is"])
                .is_some();
        if matches!(stop, Some('.' | '?' | '!' | ';')) && !more {
            // "Berg. Anna Berg." says it twice, the second time whole.
            let again = at < words.len()
                && words.word(at).is_some_and(|w| w.capital)
                && words.len() - at <= 4
                && pieces.len() == 1
                && (at..words.len()).any(|index| raw(words, index).eq_ignore_ascii_case(&pieces[0].text));
            if again {
                return read(words, at, asked);
            }
            break;
        }
        if stop == Some(',') && !more && !words.word(at).is_some_and(|w| w.capital && pieces.len() < 2) {
            break;
        }
    }
    let name = assemble(&pieces);
    let count = name.split(' ').count();
    let letters = name.chars().filter(|c| c.is_alphabetic()).count();
    if letters < 2 || count > 5 || (odd && pieces.iter().all(|p| !p.spelled)) || !asked && count > 4 {
        return None;
    }
    let capitals = words.source.chars().any(char::is_uppercase);
    let likely = pieces.iter().any(|p| p.spelled || p.text.starts_with(char::is_uppercase)) || !capitals;
    let confidence = if likely { if count <= 3 { 0.9 } else { 0.6 } } else { 0.6 };
    Some(FoundName { name, span: words.span(from..end), confidence })
}

fn number_like(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        || super::number::below_twenty(word).is_some()
        || super::number::tens(word).is_some()
}

/// Whether a phrase ended just before word `at`.
fn ended_before(words: &Words<'_>, at: usize) -> bool {
    at.checked_sub(1).and_then(|before| words.word(before)).is_some_and(|w| w.stop.is_some()) || words.at(at) == "i"
}

/// The word as the utterance writes it.
fn raw(words: &Words<'_>, at: usize) -> String {
    words.word(at).and_then(|w| words.source.get(w.span.clone())).unwrap_or_default().to_owned()
}

/// Whether only a hyphen stands between this word and the next.
fn joined(words: &Words<'_>, at: usize) -> bool {
    let (Some(this), Some(next)) = (words.word(at), words.word(at + 1)) else { return false };
    words.source.get(this.span.end..next.span.start) == Some("-") && this.text.len() > 1 && next.text.len() > 1
}

/// The letter a single word stands for.
fn letter(word: &str) -> Option<char> {
    let mut characters = word.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if c.is_alphabetic() => Some(c),
        _ => None,
    }
}

/// Words that sound like a letter; they count only beside real letters.
fn sounds_like_letter(word: &str) -> Option<char> {
    Some(match word {
        "bee" | "be" => 'b',
        "see" | "sea" => 'c',
        "dee" => 'd',
        "ee" => 'e',
        "gee" => 'g',
        "aitch" => 'h',
        "eye" => 'i',
        "jay" => 'j',
        "kay" => 'k',
        "el" | "ell" => 'l',
        "em" => 'm',
        "en" => 'n',
        "oh" => 'o',
        "pee" | "pea" => 'p',
        "queue" | "cue" => 'q',
        "are" | "ar" => 'r',
        "ess" => 's',
        "tea" | "tee" => 't',
        "you" => 'u',
        "vee" => 'v',
        "ex" => 'x',
        "why" => 'y',
        "zee" | "zed" => 'z',
        _ => return None,
    })
}

/// A spelled stretch that starts at `at`: "b e r g", "B as in boy, E …", "bravo echo romeo golf", "double n".
fn spelled(words: &Words<'_>, at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut index = at;
    let mut real = 0;
    let mut nato = 0;
    while index < words.len() {
        let word = words.at(index);
        let (twice, here) = if word == "double" { (true, index + 1) } else { (false, index) };
        let word = words.at(here);
        let as_in = words.reads_any(here + 1, &["as in", "for", "like in", "like"]);
        let explained = as_in.map(|length| words.at(here + 1 + length)).unwrap_or_default();
        let (letter, used) = if let Some(letter) = letter(word) {
            real += 1;
            let matches = explained.starts_with(letter) && explained.len() > 1;
            (letter, 1 + if matches { as_in.unwrap_or(0) + 1 } else { 0 })
        } else if let Some(letter) =
            sounds_like_letter(word).filter(|letter| explained.starts_with(*letter) && explained.len() > 1)
        {
            real += 1;
            (letter, 2 + as_in.unwrap_or(0))
        } else if let Some(position) = NATO.iter().position(|name| *name == word) {
            nato += 1;
            (char::from(b'a' + u8::try_from(position).unwrap_or(0)), 1)
        } else if let Some(letter) =
            sounds_like_letter(word).filter(|_| !text.is_empty() || letter_after(words, here + 1))
        {
            (letter, 1)
        } else {
            break;
        };
        text.push(letter);
        if twice {
            text.push(letter);
        }
        index = here + used;
        // A full stop ends the spelling of one word: "A N N A. B E R G."
        let stop = words.word(index - 1).and_then(|w| w.stop);
        if stop == Some('.')
            && text.len() > 2
            && !words.source.get(words.span(index - 1..index + 1)).is_some_and(|s| s.contains("-"))
        {
            let single = letter_run_continues(words, index);
            if !single {
                break;
            }
        }
    }
    let enough = real >= 2 && text.chars().count() >= 2 || nato >= 3;
    (enough && !matches!(text.as_str(), "am" | "pm")).then_some((text, index - at))
}

/// Two real letters follow: a spoken letter before them belongs to the spelling.
fn letter_after(words: &Words<'_>, at: usize) -> bool {
    letter(words.at(at)).is_some() && letter(words.at(at + 1)).is_some()
}

/// "B. E. R. G.": every letter carries a stop, so a stop does not end the word.
fn letter_run_continues(words: &Words<'_>, at: usize) -> bool {
    letter(words.at(at)).is_some()
        && at
            .checked_sub(2)
            .is_some_and(|before| words.word(before).is_some_and(|w| w.stop == Some('.') && w.text.len() == 1))
}

/// Puts the pieces together; a spelling replaces the spoken word that it spells.
fn assemble(pieces: &[Piece]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for piece in pieces {
        if !piece.spelled {
            parts.push(capitalise(&piece.text, parts.is_empty()));
            continue;
        }
        let written = title(&piece.text);
        let spoken = parts.iter().rposition(|part| {
            likeness(&part.to_lowercase(), &piece.text) >= 0.5
                || (part.to_lowercase().chars().next() == piece.text.chars().next()
                    && likeness(&part.to_lowercase(), &piece.text) >= 0.3)
        });
        match spoken {
            Some(index) => parts[index] = written,
            None => parts.push(written),
        }
    }
    parts.join(" ")
}

/// Lower case after a capital first letter.
fn title(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters.flat_map(char::to_lowercase)).collect())
        .unwrap_or_default()
}

/// Capitals as names carry them; inner capitals (McDonald, O'Brien) stay.
fn capitalise(text: &str, first: bool) -> String {
    if !first && PARTICLES.contains(&text) {
        return text.to_owned();
    }
    text.split('-')
        .map(|part| {
            let inner = part.chars().skip(1).any(char::is_uppercase) && part.chars().any(char::is_lowercase);
            if inner {
                return part.to_owned();
            }
            match part.split_once('\'') {
                Some((before, after)) if before.chars().count() == 1 => format!("{}'{}", title(before), title(after)),
                _ => title(part),
            }
        })
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    fn say(text: &str, asked: bool) -> Option<String> {
        find(&Words::new(text), asked).map(|found| found.name)
    }

    #[test]
    fn names_are_found_however_they_are_given() {
        let cases = [
            ("Anna Berg", "Anna Berg"),
            ("Anna Berg.", "Anna Berg"),
            ("anna berg", "Anna Berg"),
            ("My name is Anna Berg.", "Anna Berg"),
            ("my name's anna berg", "Anna Berg"),
            ("Yes, it's Anna Berg.", "Anna Berg"),
            ("This is Anna Berg speaking.", "Anna Berg"),
            ("I'm Anna Berg", "Anna Berg"),
            ("Uh, Anna Berg, please.", "Anna Berg"),
            ("The name is Berg, Anna Berg.", "Berg Anna Berg"),
            ("Sure. John Smith.", "John Smith"),
            ("It's for Peter Miller.", "Peter Miller"),
            ("Anna.", "Anna"),
            ("berg", "Berg"),
            ("Maria del Carmen", "Maria Del Carmen"),
            ("Ludwig van Beethoven", "Ludwig van Beethoven"),
            ("Sean O'Brien", "Sean O'Brien"),
            ("Ronald McDonald", "Ronald McDonald"),
            ("Anna-Lena Schmidt", "Anna-Lena Schmidt"),
            ("Berg, B E R G", "Berg"),
            ("B-E-R-G", "Berg"),
            ("b e r g", "Berg"),
            ("B. E. R. G.", "Berg"),
            ("Anna Burg, that's B E R G", "Anna Berg"),
            ("Anna Burke, B as in boy, E R G", "Anna Berg"),
            ("My last name is Berg, spelled B E R G.", "Berg"),
            ("bravo echo romeo golf", "Berg"),
            ("B for bravo, E for echo, R for romeo, G for golf", "Berg"),
            ("A double N A", "Anna"),
            ("My name is Anna Berg and my number is five five five", "Anna Berg"),
            ("My name is Anna Berg, I'd like an appointment", "Anna Berg"),
            ("Mr. John Smith", "John Smith"),
            ("call me Joe", "Joe"),
            ("Jos\u{e9} Garc\u{ed}a", "Jos\u{e9} Garc\u{ed}a"),
        ];
        rows(&cases, |text| say(text, true));
    }

    #[test]
    fn a_name_is_taken_unasked_only_when_announced() {
        for (text, expected) in [
            ("tomorrow at three, my name is Anna Berg", Some("Anna Berg")),
            ("Hi, this is Anna Berg, I need an appointment", Some("Anna Berg")),
            ("I'm Anna and I need help", Some("Anna")),
            ("Anna Berg", None),
            ("I'm looking for a dentist", None),
            ("this is about my tooth", None),
            ("it's Tuesday", None),
            ("I am not sure", None),
        ] {
            assert_eq!(say(text, false).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for text in [
            "",
            "what do you mean",
            "I don't want to tell you",
            "why do you need that",
            "five five five",
            "um",
            "can I speak to someone",
        ] {
            assert_eq!(say(text, true), None, "{text}");
        }
    }
}
