//! Words without what is for the eye: markdown, HTML tags, pictographs, addresses of links. In any language.
//!
//! A word is handed on once a blank follows it. The items of a list, headings and paragraphs become sentences; the text
//! of links, code and tables stays.

use super::marks::{ENTITIES, is_bullet, is_pictograph};

/// A longer word is handed on in parts.
const WORD_BYTES: usize = 1024;
/// A tag or the address of a link that does not end within this many words is none.
const SKIPPED_WORDS: u32 = 16;

/// The state of one text.
#[derive(Debug, Default)]
pub struct Plain {
    word: String,
    /// Nothing but marks has come on this line.
    within_line: bool,
    /// Line ends since the last word.
    line_ends: u32,
    /// The line is a heading: its end is a sentence's.
    heading: bool,
    /// The line is a row of a table.
    row: bool,
    skip: Option<Skip>,
    skipped: u32,
    /// The last character that was handed on.
    last: Option<char>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Skip {
    /// Up to the `)` of a link's address.
    Address,
    /// Up to the `>` of a tag.
    Tag,
}

impl Plain {
    /// Takes the next characters and appends the words they complete.
    pub fn push(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            if !c.is_whitespace() {
                self.word.push(c);
                if self.word.len() >= WORD_BYTES {
                    self.word_ends(out);
                }
                continue;
            }
            self.word_ends(out);
            if c == '\n' {
                self.line_ends += 1;
                if self.heading {
                    self.sentence_ends(out);
                }
                (self.within_line, self.heading, self.row) = (false, false, false);
            }
        }
    }

    /// The text has ended: appends what is left and begins anew.
    pub fn finish(&mut self, out: &mut String) {
        self.word_ends(out);
        *self = Self::default();
    }

    fn word_ends(&mut self, out: &mut String) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() || (!self.within_line && self.begins_line(&word, out)) {
            return;
        }
        self.within_line = true;
        let word = if self.row { word.replace('|', ",") } else { word };
        let word = self.without_skipped(&word);
        let word = without_marks(&word);
        self.say(&word, out);
    }

    /// Whether the first word of a line is a mark of markdown, which is then done with.
    fn begins_line(&mut self, word: &str, out: &mut String) -> bool {
        let all = |c: char| word.chars().all(|other| other == c);
        let rule = word.len() >= 3 && "-*_=".chars().any(all);
        if rule || is_bullet(word) {
            self.sentence_ends(out);
            // A dash goes on with the line; a box to tick may follow.
            self.within_line = false;
            return true;
        }
        if word.len() <= 6 && all('#') {
            self.sentence_ends(out);
            self.heading = true;
            return true;
        }
        if let Some(language) = word.strip_prefix("```").or_else(|| word.strip_prefix("~~~")) {
            self.sentence_ends(out);
            return !language.contains('`');
        }
        if word.starts_with('|') {
            self.row = true;
            self.sentence_ends(out);
            return word.chars().all(|c| "|-: ".contains(c));
        }
        let numbered = word.strip_suffix(['.', ')']).is_some_and(|n| n.len() <= 2 && n.parse::<u8>().is_ok());
        if numbered {
            self.sentence_ends(out);
        }
        matches!(word, ">" | "[x]" | "[X]" | "[" | "]" | "[]")
    }

    /// What is left of a word without addresses of links and tags, which may go on over several words.
    fn without_skipped(&mut self, word: &str) -> String {
        let mut left = String::with_capacity(word.len());
        let mut rest = word;
        loop {
            if let Some(skip) = self.skip {
                let end = if skip == Skip::Address { ')' } else { '>' };
                match rest.split_once(end) {
                    Some((_, behind)) => {
                        self.skip = None;
                        rest = behind;
                    }
                    None => {
                        self.skipped += 1;
                        if self.skipped > SKIPPED_WORDS {
                            self.skip = None;
                        }
                        return left;
                    }
                }
            }
            let address = rest.find("](").map(|at| (at, 2, Skip::Address));
            let tag = rest.match_indices('<').map(|(at, _)| at).find(|at| {
                let inside = &rest[at + 1..];
                let link = inside.starts_with("http") || inside.starts_with("mailto:");
                inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!') && !link
            });
            let next = [address, tag.map(|at| (at, 1, Skip::Tag))].into_iter().flatten().min_by_key(|(at, ..)| *at);
            let Some((at, length, skip)) = next else {
                left.push_str(rest);
                return left;
            };
            left.push_str(&rest[..at]);
            rest = &rest[at + length..];
            (self.skip, self.skipped) = (Some(skip), 0);
        }
    }

    fn say(&mut self, word: &str, out: &mut String) {
        let word = word.trim();
        // Marks that stood alone, or that a pictograph stood before, belong to the word before.
        let bare = word.chars().all(|c| ",.;:!?)…".contains(c));
        let said_already =
            word.chars().all(|c| ",.;:".contains(c)) && self.last.is_none_or(|last| ",.;:!?…".contains(last));
        if word.is_empty() || said_already {
            return;
        }
        let new_line = std::mem::take(&mut self.line_ends);
        if new_line > 1 {
            self.sentence_ends(out);
        } else if new_line == 1 && self.last.is_some_and(char::is_alphanumeric) && !word.starts_with(char::is_lowercase)
        {
            out.push(',');
        }
        if self.last.is_some() && !bare {
            out.push(' ');
        }
        out.push_str(word);
        self.last = word.chars().next_back();
    }

    /// Ends the sentence, unless it has its end.
    fn sentence_ends(&mut self, out: &mut String) {
        let open = self.last.is_some_and(|last| last.is_alphanumeric() || ")]\"”’'%€$£°".contains(last));
        if open {
            out.push('.');
            self.last = Some('.');
        }
        self.line_ends = 0;
    }
}

/// A word without emphasis, code marks, brackets and pictographs.
fn without_marks(word: &str) -> String {
    let mut text: String = word.chars().filter(|c| !is_pictograph(*c)).collect();
    for (entity, meaning) in ENTITIES {
        if text.contains(entity) {
            text = text.replace(entity, meaning);
        }
    }
    for mark in ["**", "__", "~~", "`", "![", "[", "]"] {
        if text.contains(mark) && text != mark {
            text = text.replace(mark, "");
        }
    }
    let address = text.contains("://");
    if text.starts_with('<') && address {
        text = text.trim_matches(['<', '>']).to_owned();
    }
    // `#tag` is a word, `#5` a number. A star alone is a key or a times; one before several digits is a service code.
    let code = text.strip_prefix('*').is_some_and(|rest| {
        let rest = rest.trim_end_matches([',', '.', '?', '!', ';', ':']);
        rest.len() > 1 && rest.chars().all(|c| c.is_ascii_digit())
    });
    let core = |text: &str| text.trim_end_matches([',', '.', '?', '!', ';', ':', ')']).to_owned();
    if !code && core(&text) != "*" && !address {
        text = text.replace('*', "");
    }
    if text.starts_with('_') || core(&text).ends_with('_') {
        let (body, tail) = text.split_at(core(&text).len());
        text = format!("{}{tail}", body.trim_matches('_'));
    }
    if text.strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic)) {
        text.remove(0);
    }
    match text.as_str() {
        "•" | "·" | "|" => ",".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let (mut plain, mut out) = (Plain::default(), String::new());
        plain.push(text, &mut out);
        plain.finish(&mut out);
        let mut by_characters = String::new();
        for c in text.chars() {
            plain.push(&c.to_string(), &mut by_characters);
        }
        plain.finish(&mut by_characters);
        assert_eq!(out, by_characters, "however it is cut");
        out
    }

    #[track_caller]
    fn check(rows: &[(&str, &str)]) {
        let wrong: Vec<String> = rows
            .iter()
            .filter(|(text, expected)| plain(text) != *expected)
            .map(|(text, expected)| format!("{text:?}\n   expected {expected:?}\n   plain    {:?}", plain(text)))
            .collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    #[test]
    fn emphasis_and_code_lose_their_marks() {
        check(&[
            ("It is **very** important.", "It is very important."),
            ("**Nine thirty**, please.", "Nine thirty, please."),
            ("at *9:30*, or _later_.", "at 9:30, or later."),
            ("***both***", "both"),
            ("~~old~~ new", "old new"),
            ("Type `reset`.", "Type reset."),
            ("some**bold**text", "someboldtext"),
            ("**two words**", "two words"),
        ]);
    }

    #[test]
    fn stars_underscores_and_hashes_that_mean_something_stay() {
        check(&[
            ("Dial *67, then the number.", "Dial *67, then the number."),
            ("Press * or #.", "Press * or #."),
            ("2 * 3", "2 * 3"),
            ("john_smith@example.com", "john_smith@example.com"),
            ("Room #5", "Room #5"),
            ("#winning", "winning"),
            ("~5 minutes", "~5 minutes"),
            ("3 < 5", "3 < 5"),
        ]);
    }

    #[test]
    fn the_items_of_a_list_are_sentences() {
        check(&[
            ("- one\n- two\n- three", "one. two. three"),
            ("Choose:\n* one;\n* two.", "Choose: one; two."),
            ("• Monday\n• Tuesday", "Monday. Tuesday"),
            ("1. Monday\n2. Tuesday", "1. Monday. 2. Tuesday"),
            ("- [ ] open\n- [x] done", "open. done"),
            ("  - nested\n    - deeper", "nested. deeper"),
        ]);
    }

    #[test]
    fn headings_rules_quotations_and_paragraphs_end_a_sentence() {
        check(&[
            ("# Opening hours\nWe open at nine", "Opening hours. We open at nine"),
            ("### Prices:\nNinety", "Prices: Ninety"),
            ("One\n\nTwo", "One. Two"),
            ("One!\n\nTwo", "One! Two"),
            ("One\n---\nTwo", "One. Two"),
            ("> quoted\n> words", "quoted words"),
        ]);
    }

    #[test]
    fn a_line_end_within_a_paragraph_is_a_blank_or_a_pause() {
        check(&[
            ("one\ntwo", "one two"),
            ("12 Main Street\nSpringfield", "12 Main Street, Springfield"),
            ("one,\nTwo", "one, Two"),
            ("a\r\nb", "a b"),
        ]);
    }

    #[test]
    fn links_are_their_text_and_tags_nothing() {
        check(&[
            ("See [our website](https://x.example/a_b?c=(1)) now.", "See our website) now."),
            ("See [our website](https://x.example/ab).", "See our website."),
            ("[Home](/home \"The start\"), then", "Home, then"),
            ("![a map](map.png) shows", "a map shows"),
            ("<https://x.example>", "https://x.example"),
            ("one<br>two <b>bold</b> <a href=\"x y\">link</a>", "onetwo bold link"),
            ("Smith &amp; Sons", "Smith & Sons"),
        ]);
    }

    #[test]
    fn fences_vanish_and_what_is_in_them_stays() {
        check(&[
            ("Your code:\n```text\nA B 7\n```\nKeep it.", "Your code: A B 7. Keep it."),
            ("| Day | Time |\n|---|:--|\n| Monday | 9:00 |", "Day, Time, Monday, 9:00,"),
        ]);
    }

    #[test]
    fn pictographs_vanish_in_every_language() {
        check(&[
            ("Great 🎉! See you 👋🏽", "Great! See you"),
            ("✅ Fait. ☎️ Appelez", "Fait. Appelez"),
            ("¿Qué tal? 🇪🇸 Bien", "¿Qué tal? Bien"),
            ("你好😀。再见", "你好。再见"),
            ("go → there", "go → there"),
        ]);
    }

    #[test]
    fn something_that_never_ends_does_not_swallow_the_rest() {
        let text = format!("a <b {} end", "word ".repeat(40));
        assert!(plain(&text).ends_with("word end"));
        assert_eq!(plain(&"x".repeat(5000)).replace(' ', "").len(), 5000);
    }
}
