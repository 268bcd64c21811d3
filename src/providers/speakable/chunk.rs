//! Plain text cut into what is said in one breath, as early as it is safe.
//!
//! The first piece is the first sentence, or its first clause once that is long enough: the caller waits for it. The
//! others are sentences, since a voice speaks those best; short ones go together with the next.

use std::ops::Range;

/// Most octets of a piece.
pub const LONGEST: usize = 400;
/// A sentence longer than this is cut at its last clause.
const COMFORTABLE: usize = 220;
/// The first clause is said by itself when it has this many characters.
const FIRST_CLAUSE: usize = 24;
/// A later sentence shorter than this waits for the next.
const SHORTEST: usize = 24;

/// Before a name: the full stop never ends a sentence.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms", "mx", "dr", "drs", "prof", "st", "mt", "ft", "gen", "gov", "sen", "rep", "capt", "lt", "col",
    "sgt", "rev", "hon", "fr", "sr", "sra", "srta", "hr", "herr", "mme", "mlle", "nr", "vs", "approx", "ext", "tel",
    "fig", "vol", "ca", "bzw", "usw", "cf", "incl", "excl", "dept", "apt", "ste",
];
/// The full stop ends a sentence only before a capital letter.
const ABBREVIATIONS: &[&str] = &[
    "jr", "etc", "no", "nos", "inc", "ltd", "co", "corp", "bros", "ave", "blvd", "rd", "ln", "hwy", "esq", "hrs",
    "min", "mins", "max", "est", "appt", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov",
    "dec", "mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun", "p.ej", "z.b", "d.h", "u.a",
    "str", "uhr",
];
/// A date goes on with these: no pause before them is worth a breath.
const CALENDAR: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// Languages that write ordinals with a full stop: "der 24. November".
const DOTTED_ORDINALS: &[&str] =
    &["de", "da", "nb", "nn", "no", "fi", "cs", "sk", "pl", "hu", "et", "lv", "hr", "sl", "is"];

/// The state of one text.
#[derive(Debug)]
pub struct Chunker {
    text: String,
    /// Up to here there is no end of a sentence.
    searched: usize,
    first: bool,
    dotted_ordinals: bool,
}

impl Chunker {
    /// For text in this language (BCP 47; empty for English).
    #[must_use]
    pub fn new(language: &str) -> Self {
        let language = language.split(['-', '_']).next().unwrap_or_default().to_lowercase();
        let dotted_ordinals = DOTTED_ORDINALS.contains(&language.as_str());
        Self { text: String::new(), searched: 0, first: true, dotted_ordinals }
    }

    /// Takes more text. A sentence's end is seen once the blank behind it is there.
    pub fn push(&mut self, text: &str) {
        // Blanks that come in two pieces are one.
        let twice = self.text.ends_with(' ') || self.text.is_empty();
        self.text.push_str(if twice { text.trim_start_matches(' ') } else { text });
    }

    /// The next piece that is ready. Ask until there is none: what waits is bounded by what was pushed in between.
    pub fn next_chunk(&mut self) -> Option<String> {
        loop {
            let end = self.boundary()?;
            if let Some(chunk) = self.take(end) {
                return Some(chunk);
            }
        }
    }

    /// The text has ended: what is left, after [`Self::next_chunk`] gave all it had. The next text begins anew.
    pub fn finish(&mut self) -> Option<String> {
        let chunk = self.take(self.text.len());
        self.first = true;
        chunk
    }

    /// Cuts the text off at `end`; nothing when no word is in it.
    fn take(&mut self, end: usize) -> Option<String> {
        let rest = self.text.split_off(end);
        let chunk = std::mem::replace(&mut self.text, rest);
        self.text.drain(..self.text.len() - self.text.trim_start().len());
        self.searched = 0;
        let chunk = chunk.trim();
        if !chunk.contains(char::is_alphanumeric) {
            return None;
        }
        self.first = false;
        Some(chunk.to_owned())
    }

    /// Where the next piece ends.
    fn boundary(&mut self) -> Option<usize> {
        let mut short = None;
        while let Some(end) = self.sentence_end() {
            self.searched = end;
            let length = self.text.get(..end).map_or(0, |piece| piece.trim().len());
            if self.first || length >= SHORTEST {
                return Some(self.bounded(end));
            }
            short = Some(end);
        }
        // The short sentences so far begin the piece that the next one ends.
        if self.first
            && let Some(end) = self.clause_ends(0..self.text.len()).find(|end| *end >= FIRST_CLAUSE)
        {
            return Some(self.bounded(end));
        }
        if self.text.len() > LONGEST {
            let end = short.filter(|end| *end >= SHORTEST).unwrap_or(self.text.len());
            return Some(self.bounded(end));
        }
        if self.text.len() > COMFORTABLE {
            return self.clause_ends(0..COMFORTABLE).filter(|end| *end >= COMFORTABLE / 3).last();
        }
        None
    }

    /// An end within [`LONGEST`] octets: of a sentence, else of a clause, of a word, of a character.
    fn bounded(&self, end: usize) -> usize {
        if end <= COMFORTABLE {
            return end;
        }
        if let Some(clause) = self.clause_ends(0..COMFORTABLE).filter(|end| *end >= COMFORTABLE / 3).last() {
            return clause;
        }
        if end <= LONGEST {
            return end;
        }
        let mut limit = LONGEST;
        while !self.text.is_char_boundary(limit) {
            limit -= 1;
        }
        let head = self.text.get(..limit).unwrap_or_default();
        head.rfind(char::is_whitespace).filter(|at| *at > 0).unwrap_or(limit)
    }

    /// The end of the first sentence behind `searched`, which is moved on to where nothing was found.
    fn sentence_end(&mut self) -> Option<usize> {
        let mut from = self.searched;
        loop {
            let rest = self.text.get(from..)?;
            let Some((at, mark)) = rest.char_indices().find(|(_, c)| ".!?…。！？｡।؟۔".contains(*c)) else {
                self.searched = self.text.len();
                return None;
            };
            let start = from + at;
            // Several marks and closing quotation marks are one end.
            let behind = self.text.get(start..)?.trim_start_matches([
                '.', '!', '?', '…', '。', '！', '？', '｡', '।', '؟', '۔', '"', '”', '’', '\'', ')', ']', '»', '」',
                '』',
            ]);
            let end = self.text.len() - behind.len();
            match self.ends_sentence(start..end, mark, behind) {
                Some(true) => return Some(end),
                Some(false) => from = end,
                None => {
                    self.searched = start;
                    return None;
                }
            }
        }
    }

    /// Whether the marks in `range` end a sentence before `behind`; `None` when that cannot be told yet.
    fn ends_sentence(&self, range: Range<usize>, mark: char, behind: &str) -> Option<bool> {
        if "。！？｡".contains(mark) {
            // Written without blanks; a further mark may come, which then stands alone and is dropped.
            return Some(true);
        }
        let next = behind.chars().next()?;
        if !next.is_whitespace() {
            return Some(false);
        }
        let marks = self.text.get(range.clone()).unwrap_or_default();
        let dots = marks.chars().filter(|c| matches!(c, '.' | '…')).count();
        if marks.contains(['!', '?', '।', '؟', '۔']) {
            return Some(true);
        }
        let following = behind.trim_start();
        if dots > 1 || mark == '…' {
            return following.chars().next().map(|c| !c.is_lowercase());
        }
        let before = self.text.get(..range.start).unwrap_or_default();
        let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let word = word.trim_start_matches(['(', '"', '“', '\'', '[']);
        let lower = word.to_lowercase();
        let digits = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        if digits && word.len() <= 2 && (self.dotted_ordinals || word.len() == before.trim_start().len()) {
            // The number of an item, or an ordinal.
            return Some(false);
        }
        if TITLES.contains(&lower.as_str()) && marks.len() == 1 {
            return Some(false);
        }
        let letters = lower.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic));
        if letters && !lower.contains('.') && word.chars().all(char::is_uppercase) && word != "I" {
            // An initial: "J. Smith". A single letter may end a sentence, but that is rare.
            return Some(false);
        }
        if (letters && lower.contains('.')) || lower == "ph.d" || ABBREVIATIONS.contains(&lower.as_str()) {
            return self.capital_follows(following);
        }
        Some(true)
    }

    /// Whether a sentence begins with what follows an abbreviation; a day or month is none.
    fn capital_follows(&self, following: &str) -> Option<bool> {
        let first = following.chars().next()?;
        if !first.is_uppercase() {
            return Some(false);
        }
        let (word, _) = following.split_once(|c: char| !c.is_alphanumeric())?;
        Some(!CALENDAR.contains(&word.to_lowercase().as_str()))
    }

    /// The ends of clauses within a range, each behind its mark.
    fn clause_ends(&self, range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let text = self.text.get(..range.end.min(self.text.len())).or_else(|| {
            let mut end = range.end.min(self.text.len());
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            self.text.get(..end)
        });
        let text = text.unwrap_or_default();
        text.char_indices().filter_map(move |(at, c)| {
            let end = at + c.len_utf8();
            if "，；：、".contains(c) {
                return Some(end);
            }
            if !",;:—–".contains(c) {
                return None;
            }
            let behind = text.get(end..)?;
            let following = behind.trim_start();
            if following.len() == behind.len() {
                return None;
            }
            // A date, a number or a list of two is not torn apart; what follows must be known for that.
            let (word, _) = following.split_once(char::is_whitespace)?;
            let word = word.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            let goes_on = word.starts_with(|c: char| c.is_ascii_digit()) || CALENDAR.contains(&word.as_str());
            (!goes_on).then_some(end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, language: &str, step: usize) -> Vec<String> {
        let mut chunker = Chunker::new(language);
        let characters: Vec<char> = text.chars().collect();
        let mut chunks = Vec::new();
        for part in characters.chunks(step) {
            chunker.push(&part.iter().collect::<String>());
            chunks.extend(std::iter::from_fn(|| chunker.next_chunk()));
        }
        chunks.extend(chunker.finish());
        chunks
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        for step in [1, 2, 5] {
            assert_eq!(cut(text, "en", step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn the_first_sentence_comes_alone_however_short() {
        check(
            "Sure. I can book that for you. Which day do you want?",
            &["Sure.", "I can book that for you.", "Which day do you want?"],
        );
    }

    #[test]
    fn a_long_first_sentence_begins_with_its_first_clause() {
        check(
            "I have looked at the calendar, and there are two times left. Which one?",
            &["I have looked at the calendar,", "and there are two times left.", "Which one?"],
        );
        check("Yes, of course, we can do that.", &["Yes, of course, we can do that."]);
    }

    #[test]
    fn short_sentences_behind_the_first_go_together() {
        check(
            "Hello there. Yes. No. Maybe we can find a time.",
            &["Hello there.", "Yes. No. Maybe we can find a time."],
        );
    }

    #[test]
    fn titles_initials_and_abbreviations_do_not_end_a_sentence() {
        check(
            "You will see Dr. Smith at St. Mary. Is it good?",
            &["You will see Dr. Smith at St. Mary.", "Is it good?"],
        );
        check("Ask for J. Smith or Prof. Lee today.", &["Ask for J. Smith or Prof. Lee today."]);
        check("We need e.g. a card. Thanks.", &["We need e.g. a card.", "Thanks."]);
        check("It is approx. five minutes. Fine?", &["It is approx. five minutes.", "Fine?"]);
    }

    #[test]
    fn a_time_of_day_ends_a_sentence_only_before_a_new_one() {
        check("Come at 3 p.m. Dr. Lee is in then.", &["Come at 3 p.m.", "Dr. Lee is in then."]);
        check("Come at 3 p.m. on the day. Good?", &["Come at 3 p.m. on the day.", "Good?"]);
        check("Is 9 a.m. Monday good? Tell me.", &["Is 9 a.m. Monday good?", "Tell me."]);
    }

    #[test]
    fn decimals_addresses_and_numbered_items_stay_whole() {
        check(
            "It costs 3.50 at www.example.com/a.b today. Good?",
            &["It costs 3.50 at www.example.com/a.b today.", "Good?"],
        );
        check("1. Monday at nine. 2. Tuesday", &["1. Monday at nine.", "2. Tuesday"]);
        check("It costs 95. Shall I book it?", &["It costs 95.", "Shall I book it?"]);
    }

    #[test]
    fn a_date_is_not_torn_apart() {
        check(
            "I can see you on Tuesday, November 24, 2026, if that is fine with you.",
            &["I can see you on Tuesday, November 24, 2026,", "if that is fine with you."],
        );
    }

    #[test]
    fn an_ellipsis_ends_a_sentence_only_before_a_new_one() {
        check("Well... let me see. Yes.", &["Well... let me see.", "Yes."]);
        check("Well… Let me see now.", &["Well…", "Let me see now."]);
    }

    #[test]
    fn closing_quotation_marks_belong_to_their_sentence() {
        check("She said \"Yes.\" Then she left us.", &["She said \"Yes.\"", "Then she left us."]);
        check("(Really?) I did not know that.", &["(Really?)", "I did not know that."]);
    }

    #[test]
    fn languages_with_other_marks_are_cut_at_theirs() {
        assert_eq!(cut("好的。我来看一下。", "zh", 1), ["好的。", "我来看一下。"]);
        assert_eq!(cut("Am 24. November um neun. Passt das?", "de-DE", 1), ["Am 24. November um neun.", "Passt das?"]);
        assert_eq!(cut("¿Qué día prefiere? El lunes, quizás.", "es", 1), ["¿Qué día prefiere?", "El lunes, quizás."]);
        assert_eq!(cut("हाँ। मैं देखता हूँ।", "hi", 1), ["हाँ।", "मैं देखता हूँ।"]);
    }

    #[test]
    fn a_sentence_without_end_is_cut_at_a_clause_else_at_a_word_else_anywhere() {
        let clauses = "we open at nine and close at five, ".repeat(40);
        let chunks = cut(&clauses, "en", 3);
        assert!(chunks.iter().all(|c| c.len() <= COMFORTABLE && c.ends_with(',')), "{chunks:?}");
        assert_eq!(chunks.join(" "), clauses.trim());
        let words = "word ".repeat(300);
        let chunks = cut(&words, "en", 3);
        assert!(chunks.iter().all(|c| c.len() <= LONGEST && c.ends_with("word")), "{chunks:?}");
        let endless = "é".repeat(1000);
        let chunks = cut(&endless, "en", 7);
        assert!(chunks.iter().all(|c| c.len() <= LONGEST));
        assert_eq!(chunks.concat(), endless);
    }

    #[test]
    fn marks_without_words_are_not_said() {
        assert_eq!(cut(" ... — !  ", "en", 1), Vec::<String>::new());
        assert_eq!(cut("Yes. … OK now then, thanks", "en", 1).first().map(String::as_str), Some("Yes."));
    }
}
