//! Written text to spoken words: every number, time, price, symbol and abbreviation becomes the words a
//! receptionist would say. What comes out has no digits.
//!
//! The text is read from left to right. At the start of each token the rules are asked in order; the first one
//! that recognises what stands there says how long it is and how it is read. Each spoken word remembers where in
//! the text its source ends, so that playback can be mapped back to the text.

mod address;
mod amount;
mod clock;
mod date;
mod letters;
pub mod numbers;
mod phone;
mod sentence;
mod state;
mod symbol;

#[cfg(test)]
mod tests;

pub use sentence::sentences;

use regex::Regex;

/// What a [`Spoken`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A word; may have apostrophes, hyphens and capitals, never digits.
    Word,
    /// Letters that are said by name: "SMS".
    Letters,
    /// A run of letters in an address, which can be several words: "lakeviewdental".
    Run,
    /// One punctuation mark the voice hears: `, ; : . ! ? … — ( ) “ ”`.
    Pause,
}

/// One thing to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// The word, the letters or the mark.
    pub text: String,
    /// Which of these it is.
    pub kind: Kind,
    /// Whether a space goes before it.
    pub space_before: bool,
    /// Byte offset in the original text just after what it was read from. Several spoken words can share a source.
    pub text_end: usize,
}

/// How a stretch of text is read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Reading {
    /// Bytes of text it covers.
    len: usize,
    pieces: Vec<(Kind, String)>,
    /// The text ends with a full stop that belongs to an abbreviation and may end the sentence as well.
    dotted: bool,
}

impl Reading {
    fn new(len: usize) -> Self {
        Self { len, ..Self::default() }
    }

    /// Adds words separated by spaces; a comma at a word's end is a pause.
    fn say(mut self, words: &str) -> Self {
        for word in words.split_whitespace() {
            let (word, pause) = word.strip_suffix(',').map_or((word, false), |w| (w, true));
            if !word.is_empty() {
                self.pieces.push((Kind::Word, word.to_owned()));
            }
            if pause {
                self.pieces.push((Kind::Pause, ",".to_owned()));
            }
        }
        self
    }

    fn letters(mut self, letters: &str) -> Self {
        self.pieces.push((Kind::Letters, letters.to_owned()));
        self
    }

    fn dotted(mut self, dotted: bool) -> Self {
        self.dotted = dotted;
        self
    }

    fn then(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }
}

/// The reader's place in the text and what it has said so far.
#[derive(Debug)]
struct Scan<'t> {
    text: &'t str,
    at: usize,
    out: Vec<Spoken>,
    /// Whether the next word is joined to what was said before.
    joined: bool,
}

/// A rule: how the text from here on is read, if it is of the rule's sort.
type Rule = fn(&Scan<'_>) -> Option<Reading>;

/// In order: the more specific first.
const RULES: &[Rule] = &[
    address::email,
    address::web,
    phone::number,
    state::zip,
    date::iso,
    date::numeric,
    date::month_day,
    date::day_month,
    clock::range,
    clock::time,
    amount::money,
    amount::blood_pressure,
    phone::identifier,
    amount::range,
    amount::mixed_fraction,
    amount::fraction,
    amount::measure,
    amount::ordinal,
    amount::decade,
    phone::version,
    letters::code,
    phone::hyphenated,
    amount::house_number,
    amount::number,
    date::weekday,
    letters::title,
    letters::abbreviation,
    date::month,
    letters::dotted,
    letters::initialism,
    letters::word,
    symbol::symbol,
];

/// The spoken form of `text`.
#[must_use]
pub fn normalize(text: &str) -> Vec<Spoken> {
    let mut scan = Scan { text, at: 0, out: Vec::new(), joined: true };
    while let Some(next) = scan.rest().chars().next() {
        if next.is_whitespace() {
            scan.blank(next);
        } else if let Some(reading) = RULES.iter().find_map(|rule| rule(&scan)) {
            scan.accept(reading);
        } else {
            scan.at += next.len_utf8();
        }
    }
    while scan.out.last().is_some_and(|s| s.kind == Kind::Pause && "(“".contains(&s.text)) {
        scan.out.pop();
    }
    scan.out
}

/// The spoken words of `text` in lower case, letters one by one, without punctuation: what a listener would write.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for spoken in normalize(text) {
        match spoken.kind {
            Kind::Pause => {}
            Kind::Letters => {
                out.extend(spoken.text.chars().filter(|c| c.is_alphabetic()).map(|c| c.to_lowercase().to_string()))
            }
            Kind::Word | Kind::Run => {
                let lower = spoken.text.to_lowercase().replace('’', "'");
                out.extend(lower.split('-').filter(|w| !w.is_empty()).map(str::to_owned));
            }
        }
    }
    out
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn before(&self) -> Option<char> {
        self.text[..self.at].chars().next_back()
    }

    /// The match of an anchored pattern at this place, if no letter or digit follows it.
    fn find(&self, pattern: &Regex) -> Option<regex::Captures<'t>> {
        pattern.captures(self.rest()).filter(|c| self.ends_token(c.get_match().end()))
    }

    /// Whether a token of `len` bytes would end here: no letter or digit goes on.
    fn ends_token(&self, len: usize) -> bool {
        !self.rest()[len..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    fn starts_with_digit(&self) -> bool {
        self.rest().starts_with(|c: char| c.is_ascii_digit())
    }

    /// The last words said, latest first, in lower case.
    fn said(&self) -> impl Iterator<Item = String> + '_ {
        self.out.iter().rev().filter(|s| s.kind != Kind::Pause).map(|s| s.text.to_lowercase())
    }

    /// The words said in the sentence so far, latest first, in lower case.
    fn said_in_sentence(&self) -> impl Iterator<Item = String> + '_ {
        let here = self.out.iter().rev().take_while(|s| s.kind != Kind::Pause || !".!?…".contains(&s.text));
        here.filter(|s| s.kind != Kind::Pause).map(|s| s.text.to_lowercase())
    }

    fn said_last(&self, word: &str) -> bool {
        self.said().next().is_some_and(|w| w == word)
    }

    /// The text `len` bytes further on, without leading spaces.
    fn after(&self, len: usize) -> &'t str {
        self.rest()[len..].trim_start_matches([' ', '\u{a0}'])
    }

    fn blank(&mut self, c: char) {
        self.joined = false;
        if c != '\n' {
            self.at += c.len_utf8();
            return;
        }
        // A blank line or a bullet ends the sentence; another line is a pause unless it goes on in lower case.
        let next = self.rest().trim_start();
        let lines = self.rest()[..self.rest().len() - next.len()].matches('\n').count();
        self.at = self.text.len() - next.len();
        let bullet = next.strip_prefix(['-', '*', '•', '–']).is_some_and(|r| r.starts_with(' '));
        if lines > 1 || bullet {
            self.pause('.');
        } else if !next.starts_with(char::is_lowercase) {
            self.pause(',');
        }
    }

    fn accept(&mut self, reading: Reading) {
        let end = self.at + reading.len;
        for (kind, text) in reading.pieces {
            if kind == Kind::Pause {
                for mark in text.chars() {
                    self.pause_until(mark, end);
                }
            } else {
                let first = self.out.is_empty() || (self.joined && self.opens());
                self.out.push(Spoken { text, kind, space_before: !first, text_end: end });
            }
            self.joined = false;
        }
        self.at = end;
        self.joined = true;
        let next = self.rest().trim_start();
        let at_end = next.trim_start_matches(['"', '”', ')', '’', '\'']).is_empty();
        if reading.dotted && (at_end || (next.starts_with(char::is_uppercase) && !date::starts_with_name(next))) {
            self.pause('.');
        }
    }

    /// Whether the last thing said was an opening mark.
    fn opens(&self) -> bool {
        self.out.last().is_some_and(|s| s.kind == Kind::Pause && "(“".contains(&s.text))
    }

    fn pause(&mut self, mark: char) {
        self.pause_until(mark, self.at);
    }

    /// Adds a punctuation mark. Of two pauses in a row the stronger one stays; none comes first.
    fn pause_until(&mut self, mark: char, text_end: usize) {
        let rank = |c: char| "—,;:….?!".chars().position(|m| m == c);
        let opening = "(“".contains(mark);
        match self.out.last_mut() {
            None if !opening => return,
            Some(last) if last.kind == Kind::Pause => {
                let old = last.text.chars().next().unwrap_or(mark);
                match (rank(old), rank(mark)) {
                    (Some(old), Some(new)) => {
                        if new > old {
                            mark.to_string().clone_into(&mut last.text);
                        }
                        last.text_end = text_end;
                        return;
                    }
                    // Nothing was said since the opening mark.
                    _ if "(“".contains(old) && !opening => return,
                    _ => {}
                }
            }
            _ => {}
        }
        let spaced = mark == '—' || opening;
        let space_before = spaced && !self.out.is_empty();
        self.out.push(Spoken { text: mark.to_string(), kind: Kind::Pause, space_before, text_end });
    }
}

/// A pattern of ours; it is tested, so it compiles.
fn pattern(source: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "patterns are constants and each is used by a test")]
    Regex::new(source).expect("a constant pattern")
}
