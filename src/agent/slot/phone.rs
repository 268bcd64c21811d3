//! Telephone numbers as callers read them out: "plus one, five five five, oh one three four", "double seven".

use super::number;
use super::words::Words;
use std::ops::Range;

/// A telephone number, its words and how sure it is.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundPhone {
    /// Digits with an optional leading `+`.
    pub number: String,
    /// Words of the utterance.
    pub range: Range<usize>,
    /// 0.0–1.0.
    pub confidence: f32,
}

/// Fewest digits that look like a telephone number when none was asked for.
const PLAIN_DIGITS: usize = 7;
/// Fewest digits kept as an (incomplete) answer when one was asked for.
const ANSWER_DIGITS: usize = 3;
/// Most digits of an international number (E.164 §6.2.1).
const E164_DIGITS: usize = 15;

/// The telephone number an utterance holds. `asked`: one was asked for, so that a short run of digits is
/// an answer too (which the slot's length rule then refuses with a reason).
#[must_use]
pub fn find(words: &Words<'_>, asked: bool) -> Option<FoundPhone> {
    let least = if asked { ANSWER_DIGITS } else { PLAIN_DIGITS };
    let mut best: Option<FoundPhone> = None;
    let mut index = 0;
    while index < words.len() {
        let Some(run) = run(words, index) else {
            index += 1;
            continue;
        };
        index = run.range.end.max(index + 1);
        let digits = count_digits(&run.number);
        // The longest run wins, the later of two equal ones: callers repeat to correct themselves.
        if digits >= least && best.as_ref().is_none_or(|b| digits >= count_digits(&b.number)) {
            best = Some(run);
        }
    }
    best.map(|mut found| {
        if count_digits(&found.number) > E164_DIGITS {
            found.confidence = 0.2;
        }
        found
    })
}

fn count_digits(number: &str) -> usize {
    number.bytes().filter(u8::is_ascii_digit).count()
}

/// Digits one word stands for inside a run.
fn digits(words: &Words<'_>, index: usize) -> Option<(String, usize)> {
    let word = words.at(index);
    let written: String = word.chars().filter(|c| !matches!(c, '.' | ',' | '/' | ':')).collect();
    if !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit()) {
        return Some((written, 1));
    }
    if matches!(word, "double" | "triple") {
        let (digit, length) = digits(words, index + 1).or_else(|| doubled_homophone(words, index + 1))?;
        // "double oh seven" doubles the first digit only.
        let (first, rest) = digit.split_at_checked(1)?;
        let times = if word == "double" { 2 } else { 3 };
        return Some((first.repeat(times) + rest, length + 1));
    }
    if let Some(value) = number::below_twenty(word) {
        let after = words.at(index + 1);
        if value > 0 && after == "hundred" {
            let (rest, used) = match number::small(words, index + 2 + usize::from(words.at(index + 2) == "and")) {
                Some(part) if part.value >= 10 && !part.ordinal && words.at(index + 2) != "plus" => {
                    (part.value, part.length + usize::from(words.at(index + 2) == "and"))
                }
                _ => (0, 0),
            };
            return Some(((value * 100 + rest).to_string(), 2 + used));
        }
        if value > 0 && after == "thousand" {
            return Some(((value * 1000).to_string(), 2));
        }
        return Some((value.to_string(), 1));
    }
    if let Some(ten) = number::tens(word) {
        let unit = number::below_twenty(words.at(index + 1)).filter(|unit| (1..10).contains(unit));
        return Some(((ten + unit.unwrap_or(0)).to_string(), 1 + usize::from(unit.is_some())));
    }
    None
}

fn doubled_homophone(words: &Words<'_>, index: usize) -> Option<(String, usize)> {
    number::homophone(words.at(index)).map(|value| (value.to_string(), 1))
}

/// The run of digits that starts at `index`.
fn run(words: &Words<'_>, index: usize) -> Option<FoundPhone> {
    let plus = words.at(index) == "plus";
    let mut number = String::new();
    if plus {
        number.push('+');
    }
    let mut at = index + usize::from(plus);
    let mut end = at;
    let mut confidence: f32 = 1.0;
    while at < words.len() {
        if let Some((more, length)) = digits(words, at) {
            number.push_str(&more);
            at += length;
            end = at;
            continue;
        }
        let word = words.at(at);
        if let Some(value) = number::homophone(word) {
            let zero = value == 0;
            let starts = number.is_empty() || number == "+";
            let follows = digits(words, at + 1).is_some() || number::homophone(words.at(at + 1)).is_some();
            // "oh" is a digit beside digits; "to" and "for" only inside the run or at its very end.
            let belongs = if zero { !starts || follows } else { !starts && (follows || at + 1 == words.len()) };
            if belongs {
                number.push_str(&value.to_string());
                if !zero {
                    confidence = confidence.min(0.7);
                }
                at += 1;
                end = at;
                continue;
            }
        }
        let pause = matches!(
            word,
            "and" | "um" | "uh" | "er" | "dash" | "hyphen" | "then" | "area" | "code" | "space" | "is" | "okay"
        );
        if pause && !number.is_empty() {
            at += 1;
            continue;
        }
        break;
    }
    (count_digits(&number) > 0).then_some(FoundPhone { number, range: index..end, confidence })
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    fn say(text: &str, asked: bool) -> Option<String> {
        find(&Words::new(text), asked).map(|found| found.number)
    }

    #[test]
    fn numbers_are_found_however_they_are_read_out() {
        let cases = [
            ("five five five oh one three four", "5550134"),
            ("555-0134", "5550134"),
            ("555 0134", "5550134"),
            ("5550134.", "5550134"),
            ("5, 5, 5, 0, 1, 3, 4", "5550134"),
            ("five five five, zero one three four", "5550134"),
            ("it's 555 oh one three four", "5550134"),
            ("my number is five five five 0 1 34", "5550134"),
            ("double five five oh one three four", "5550134"),
            ("triple five oh one three four", "5550134"),
            ("five double five oh one double three", "5550133"),
            ("five five five, um, oh one three four", "5550134"),
            ("five five five and then oh one three four", "5550134"),
            ("five five five, oh won three for", "5550134"),
            ("five five five oh one to three", "5550123"),
            ("five five five two to two too", "5552222"),
            ("plus one five five five oh one three four", "+15550134"),
            ("+1 212 555 0134", "+12125550134"),
            ("(212) 555-0134", "2125550134"),
            ("area code two one two, five five five, oh one three four", "2125550134"),
            ("eight hundred five five five oh one three four", "8005550134"),
            ("one eight hundred five five five twelve twelve", "18005551212"),
            ("two one two five fifty five oh one thirty four", "2125550134"),
            ("five five five twenty four sixty", "5552460"),
            ("five five five one thousand", "5551000"),
            ("nine hundred and eleven five five five five", "9115555"),
            ("oh three oh four four five six seven eight", "030445678"),
            ("nought two oh seven nine four six oh nine five eight", "02079460958"),
            ("plus four nine three oh one two three four five six seven", "+49301234567"),
            ("sure, you can reach me at 555.013.4321", "5550134321"),
            ("5 5 5 0 1 3 4 thanks", "5550134"),
        ];
        rows(&cases, |text| say(text, true));
        rows(&cases, |text| say(text, false));
    }

    #[test]
    fn a_short_run_is_an_answer_only_when_a_number_was_asked_for() {
        assert_eq!(say("five five five", true).as_deref(), Some("555"));
        assert_eq!(say("five hundred", true).as_deref(), Some("500"));
        for text in ["five five five", "tomorrow at three", "the 24th at 3 30"] {
            assert_eq!(say(text, false), None, "{text}");
        }
        for text in ["", "I don't know it", "to whom", "for me", "one moment"] {
            assert_eq!(say(text, true), None, "{text}");
        }
    }

    #[test]
    fn the_later_of_two_equal_runs_is_the_correction() {
        assert_eq!(
            say("five five five oh one three four no five five five oh one three six", true).as_deref(),
            Some("5550136")
        );
    }
}
