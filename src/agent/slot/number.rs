//! Numbers as people say them: "a hundred and twenty", "2.5", "twenty-fourth".

use super::words::Words;

/// A number and the words it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Counted {
    /// The number.
    pub value: u64,
    /// How many words it takes.
    pub length: usize,
    /// "third" or "3rd" rather than "three".
    pub ordinal: bool,
}

/// 0–9 and 10–19 by word; `None` for any other word.
#[must_use]
pub fn below_twenty(word: &str) -> Option<u64> {
    Some(match word {
        "zero" | "nought" | "naught" | "nil" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" | "niner" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "thirteen" => 13,
        "fourteen" => 14,
        "fifteen" => 15,
        "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        _ => return None,
    })
}

/// 20, 30 … 90 by word.
#[must_use]
pub fn tens(word: &str) -> Option<u64> {
    Some(match word {
        "twenty" => 20,
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        _ => return None,
    })
}

/// What speech-to-text writes for a digit when it hears another word: "to", "for", "ate", "won", "oh".
#[must_use]
pub fn homophone(word: &str) -> Option<u64> {
    Some(match word {
        "won" => 1,
        "to" | "too" => 2,
        "tree" | "free" => 3,
        "for" | "fore" => 4,
        "sicks" => 6,
        "ate" => 8,
        "o" | "oh" | "owe" => 0,
        _ => return None,
    })
}

fn ordinal_word(word: &str) -> Option<u64> {
    Some(match word {
        "first" => 1,
        "second" => 2,
        "third" => 3,
        "fourth" | "forth" => 4,
        "fifth" => 5,
        "sixth" => 6,
        "seventh" => 7,
        "eighth" => 8,
        "ninth" => 9,
        "tenth" => 10,
        "eleventh" => 11,
        "twelfth" => 12,
        "thirteenth" => 13,
        "fourteenth" => 14,
        "fifteenth" => 15,
        "sixteenth" => 16,
        "seventeenth" => 17,
        "eighteenth" => 18,
        "nineteenth" => 19,
        "twentieth" => 20,
        "thirtieth" => 30,
        _ => return None,
    })
}

/// Digits such as `24`, `1,200` or `24th`.
fn written(word: &str) -> Option<(u64, bool)> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let ordinal = digits.len() < word.len();
    let plain: String = digits.chars().filter(|c| *c != ',').collect();
    if plain.is_empty() || plain.len() > 15 || !plain.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // `1,200` is grouped in threes; `1,2` is two numbers to nobody.
    if digits.contains(',') && !digits.split(',').skip(1).all(|group| group.len() == 3) {
        return None;
    }
    plain.parse().ok().map(|value| (value, ordinal))
}

/// A number below one hundred that starts at `at`.
#[must_use]
pub fn small(words: &Words<'_>, at: usize) -> Option<Counted> {
    let word = words.at(at);
    if let Some((value, ordinal)) = written(word) {
        return (value < 100).then_some(Counted { value, length: 1, ordinal });
    }
    if let Some(value) = ordinal_word(word) {
        return Some(Counted { value, length: 1, ordinal: true });
    }
    if let Some(ten) = tens(word) {
        let next = words.at(at + 1);
        if let Some(unit) = below_twenty(next).filter(|unit| (1..10).contains(unit)) {
            return Some(Counted { value: ten + unit, length: 2, ordinal: false });
        }
        if let Some(unit) = ordinal_word(next).filter(|unit| *unit < 10) {
            return Some(Counted { value: ten + unit, length: 2, ordinal: true });
        }
        return Some(Counted { value: ten, length: 1, ordinal: false });
    }
    below_twenty(word).map(|value| Counted { value, length: 1, ordinal: false })
}

/// A whole number that starts at `at`: "two thousand five hundred and six", "twelve hundred", "1,200".
#[must_use]
pub fn whole(words: &Words<'_>, at: usize) -> Option<Counted> {
    if let Some((value, ordinal)) = written(words.at(at)).filter(|(value, _)| *value >= 100) {
        return Some(Counted { value, length: 1, ordinal });
    }
    let mut index = at;
    let mut total: u64 = 0;
    let mut group: Option<u64> = None;
    let mut ordinal = false;
    loop {
        let word = words.at(index);
        let article = word == "a" && matches!(words.at(index + 1), "hundred" | "thousand" | "million" | "dozen");
        if article && group.is_none() {
            group = Some(1);
            index += 1;
        } else if let Some(part) = small(words, index).filter(|part| match group {
            None => true,
            Some(so_far) => so_far % 100 == 0 && so_far > 0 && part.value < 100,
        }) {
            group = Some(group.unwrap_or(0) + part.value);
            index += part.length;
            ordinal = part.ordinal;
            if ordinal {
                break;
            }
        } else if word == "hundred" && group.is_some_and(|g| g > 0 && g < 100) {
            group = group.map(|g| g * 100);
            index += 1;
        } else if word == "dozen" && group.is_some_and(|g| g < 100) {
            group = group.map(|g| g * 12);
            index += 1;
            break;
        } else if matches!(word, "thousand" | "million") && group.is_some() {
            let scale = if word == "thousand" { 1_000 } else { 1_000_000 };
            total = total.saturating_add(group.take().unwrap_or(0).saturating_mul(scale));
            index += 1;
        } else if word == "and"
            && index > at
            && matches!(words.at(index - 1), "hundred" | "thousand" | "million")
            && small(words, index + 1).is_some()
        {
            index += 1;
        } else {
            break;
        }
    }
    (index > at && (group.is_some() || total > 0)).then(|| Counted {
        value: total.saturating_add(group.unwrap_or(0)),
        length: index - at,
        ordinal,
    })
}

/// A count or amount that starts at `at`, with its length in words: "minus two point five", "a couple", "3.5".
#[must_use]
pub fn amount(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    if matches!(words.at(at), "minus" | "negative") {
        return amount(words, at + 1).map(|(value, length)| (-value, length + 1));
    }
    if let Some(length) = words.reads_any(at, &["a couple of", "a couple", "a pair"]) {
        return Some((2.0, length));
    }
    if let Some(length) = words.reads_any(at, &["half a dozen"]) {
        return Some((6.0, length));
    }
    let written = words.at(at);
    if written.matches('.').count() == 1 && written.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return written.parse().ok().map(|value| (value, 1));
    }
    let number = whole(words, at)?;
    let mut value = number.value as f64;
    let mut length = number.length;
    if words.at(at + length) == "point" {
        let mut digits = String::new();
        let mut index = at + length + 1;
        while let Some(digit) = below_twenty(words.at(index)).filter(|d| *d < 10).or_else(|| {
            let word = words.at(index);
            (word.len() == 1).then(|| word.parse().ok()).flatten().or_else(|| homophone(word))
        }) {
            digits.push_str(&digit.to_string());
            index += 1;
        }
        if let Ok(fraction) = format!("0.{digits}").parse::<f64>()
            && !digits.is_empty()
        {
            value += fraction;
            length = index - at;
        }
    } else if words.reads(at + length, "and a half") {
        value += 0.5;
        length += 3;
    }
    Some((value, length))
}

/// The number an utterance names, its words and how sure that is. `asked`: a number was asked for, so
/// that a lone "to" or "for" is one too.
#[must_use]
pub fn find(words: &Words<'_>, asked: bool) -> Option<(f64, std::ops::Range<usize>, f32)> {
    let mut found = None;
    let mut index = 0;
    while index < words.len() {
        if let Some((value, length)) = amount(words, index) {
            // The last number wins only when nothing but fillers stands between: "two, three" is unsure.
            let confidence = if found.is_some() { 0.5 } else { 1.0 };
            if found.is_none() {
                found = Some((value, index..index + length, confidence));
            } else if let Some((_, _, sure)) = &mut found {
                *sure = 0.5;
            }
            index += length;
        } else {
            index += 1;
        }
    }
    if found.is_none() && asked {
        for index in 0..words.len() {
            if let Some(value) = homophone(words.at(index)).filter(|_| words.nothing_but(&(index..index + 1))) {
                return Some((value as f64, index..index + 1, 0.6));
            }
        }
        if words.contains_any(&["none", "nobody", "no one"]) && words.len() <= 3 {
            return Some((0.0, 0..words.len(), 0.8));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_say_them() {
        for (text, expected) in [
            ("seven", 7.0),
            ("7", 7.0),
            ("twenty four", 24.0),
            ("twenty-four", 24.0),
            ("a hundred", 100.0),
            ("a hundred and twenty", 120.0),
            ("one hundred twenty", 120.0),
            ("two hundred and five", 205.0),
            ("twelve hundred", 1200.0),
            ("two thousand five hundred and six", 2506.0),
            ("1,200", 1200.0),
            ("three million", 3_000_000.0),
            ("two point five", 2.5),
            ("3.5", 3.5),
            ("three and a half", 3.5),
            ("minus ten", -10.0),
            ("a dozen", 12.0),
            ("half a dozen", 6.0),
            ("a couple", 2.0),
            ("twenty-first", 21.0),
            ("the 3rd", 3.0),
            ("um, four people", 4.0),
            ("for four people please", 4.0),
            ("I think fifteen", 15.0),
            ("zero", 0.0),
            ("nineteen", 19.0),
            ("ninety nine", 99.0),
            ("one thousand", 1000.0),
            ("a thousand and one", 1001.0),
        ] {
            let words = Words::new(text);
            assert_eq!(find(&words, true).map(|(value, ..)| value), Some(expected), "{text}");
        }
    }

    #[test]
    fn homophones_count_only_when_a_number_was_asked_for_and_nothing_else_was_said() {
        for (text, expected) in
            [("to", 2.0), ("Too.", 2.0), ("for", 4.0), ("ate", 8.0), ("won", 1.0), ("for please", 4.0)]
        {
            assert_eq!(find(&Words::new(text), true).map(|(value, ..)| value), Some(expected), "{text}");
            assert_eq!(find(&Words::new(text), false), None, "{text}");
        }
        assert_eq!(find(&Words::new("I want to go"), true), None);
    }

    #[test]
    fn two_numbers_leave_doubt() {
        assert_eq!(find(&Words::new("three or four"), true).map(|(.., sure)| sure), Some(0.5));
    }
}
