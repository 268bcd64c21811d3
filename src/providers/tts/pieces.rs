//! A text cut into requests: at the ends of sentences, else of clauses, else between words.

use super::protocol::Cut;
use std::ops::Range;

/// A sentence shorter than this, in characters, goes together with the next one: a voice that begins anew for `Dr.` or
/// `Yes.` sounds chopped.
const SHORTEST: usize = 12;

/// The pieces of `text`, which together are all of it.
pub(super) fn cut(text: &str, terms: Cut) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < text.len() {
        let rest = text.get(from..).unwrap_or_default();
        let length = first_piece(rest, terms).max(1);
        pieces.push(from..from + length);
        from += length;
    }
    pieces
}

/// Octets of the first piece of `text`.
fn first_piece(text: &str, terms: Cut) -> usize {
    let (mut sentence, mut clause, mut word) = (None, None, None);
    let mut last = ' ';
    let mut last_end = 0;
    for (count, (at, c)) in text.char_indices().enumerate() {
        if count >= terms.most.max(1) {
            return sentence.or(clause).or(word).unwrap_or(last_end);
        }
        if c.is_whitespace() && !last.is_whitespace() {
            let end = at + c.len_utf8();
            match last {
                '.' | '!' | '?' | '…' | '\u{3002}' | '\u{ff01}' | '\u{ff1f}' if count >= SHORTEST => {
                    sentence = Some(end);
                    let over = text.get(end..).is_none_or(|rest| rest.trim().is_empty());
                    if terms.sentences && !over {
                        return end;
                    }
                }
                ',' | ';' | ':' | '–' => clause = Some(end),
                _ => word = Some(end),
            }
        }
        last = c;
        last_end = at + c.len_utf8();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, most: usize, sentences: bool) -> Vec<&str> {
        let ranges = cut(text, Cut { most, sentences });
        let all: Vec<&str> = ranges.into_iter().map(|range| &text[range]).collect();
        assert_eq!(all.concat(), text, "nothing is lost");
        all
    }

    #[test]
    fn sentences_go_one_by_one_where_the_vendor_answers_in_whole() {
        let text = "Good morning to you. Yes. How may I help you today? ";
        assert_eq!(pieces(text, 1_000, true), ["Good morning to you. ", "Yes. How may I help you today? "]);
        assert_eq!(pieces(text, 1_000, false), [text]);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_where_it_hurts_least() {
        assert_eq!(pieces("One two three four. Five six", 24, false), ["One two three four. ", "Five six"]);
        assert_eq!(pieces("One two, three four five", 16, false), ["One two, ", "three four five"]);
        assert_eq!(pieces("abcdefgh éééé", 5, false), ["abcde", "fgh ", "éééé"]);
        assert!(pieces("", 5, true).is_empty());
    }
}
