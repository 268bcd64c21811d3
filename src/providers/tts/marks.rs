//! Where each word of a text ends in its audio: from the vendor's word times, matched to the text as it was asked for, or
//! spread evenly by characters where the vendor tells none.
//!
//! A vendor times the words it speaks, and those may differ from the text: `$5` is spoken as two words, `Dr.` as
//! another. Words are compared by their letters and digits; what lies between two matches is shared out among the times
//! between them, so that an error never reaches further than the next word that matches.

use super::WordMark;

/// How fast a voice speaks when nothing is known yet: characters per second, blanks included.
const CHARACTERS_PER_SECOND: f64 = 15.0;
/// Words of the text that may be skipped to find a vendor's word.
const FURTHEST: usize = 12;

/// The marks of one utterance.
#[derive(Debug)]
pub struct Marks {
    words: Vec<Word>,
    letters: Vec<char>,
    /// Words and letters that are behind us.
    word: usize,
    letter: usize,
    /// Ends of the vendor's words since the last one that matched.
    strangers: Vec<usize>,
    /// Matched and not handed out, because the audio has not come so far.
    waiting: Vec<WordMark>,
    last_sample: usize,
    /// Characters and samples where even spreading begins.
    anchor: (usize, usize),
    timed: bool,
    samples_per_character: f64,
}

#[derive(Debug)]
struct Word {
    /// Behind it and its punctuation, in octets of the text.
    text_end: usize,
    /// The same in characters.
    characters: usize,
    /// Its place in the letters.
    from: usize,
    to: usize,
}

impl Marks {
    /// For a text that is spoken at `speed` times the voice's pace into `rate` samples per second. `timed`: the vendor
    /// tells when words are spoken.
    #[must_use]
    pub fn new(text: &str, timed: bool, rate: u32, speed: f32) -> Self {
        let mut words: Vec<Word> = Vec::new();
        let mut letters = Vec::new();
        let mut open = false;
        // Signs behind a blank belong to the word they open, or else to the word before.
        let mut signs: Option<(usize, usize)> = None;
        for (characters, (at, c)) in text.char_indices().enumerate() {
            let end = (at + c.len_utf8(), characters + 1);
            if c.is_alphanumeric() {
                let from = letters.len();
                letters.extend(c.to_lowercase());
                if !open || stands_alone(c) {
                    words.push(Word { text_end: 0, characters: 0, from, to: from });
                }
                (open, signs) = (true, None);
                extend(&mut words, end, letters.len());
            } else if c.is_whitespace() {
                open = false;
                if let Some(signs) = signs.take() {
                    extend(&mut words, signs, letters.len());
                }
            } else if open {
                extend(&mut words, end, letters.len());
            } else {
                signs = Some(end);
            }
        }
        if let Some(signs) = signs {
            extend(&mut words, signs, letters.len());
        }
        let pace = CHARACTERS_PER_SECOND * f64::from(speed.clamp(0.25, 4.0));
        Self {
            words,
            letters,
            word: 0,
            letter: 0,
            strangers: Vec::new(),
            waiting: Vec::new(),
            last_sample: 0,
            anchor: (0, 0),
            timed,
            samples_per_character: f64::from(rate) / pace,
        }
    }

    /// The vendor speaks `word`, which ends at this sample of the utterance.
    pub fn spoken(&mut self, word: &str, sample_end: usize) {
        let spoken: Vec<char> = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if spoken.is_empty() {
            return;
        }
        let Some((word, letter)) = self.find(&spoken) else {
            self.strangers.push(sample_end);
            return;
        };
        self.share_out(word);
        self.letter = letter + spoken.len();
        while let Some(next) = self.words.get(self.word).filter(|next| next.to <= self.letter) {
            self.waiting.push(WordMark { text_end: next.text_end, sample_end });
            self.word += 1;
        }
    }

    /// The text up to this octet has been spoken at this sample: what is left of it is shared out.
    pub fn reached(&mut self, text_end: usize, sample: usize) {
        let end = self.words.partition_point(|word| word.text_end <= text_end);
        if !self.strangers.is_empty() {
            self.share_out(end);
        }
        let from = self.word.checked_sub(1).and_then(|last| self.words.get(last)).map_or(0, |word| word.characters);
        let from = if self.timed { (from, self.last_waiting()) } else { self.anchor };
        let characters =
            end.checked_sub(1).and_then(|last| self.words.get(last)).map_or(from.0, |word| word.characters);
        let each = sample.saturating_sub(from.1) as f64 / characters.saturating_sub(from.0).max(1) as f64;
        for word in self.words.get(self.word..end).unwrap_or_default() {
            let sample_end = from.1 + (word.characters.saturating_sub(from.0) as f64 * each).round() as usize;
            self.waiting.push(WordMark { text_end: word.text_end, sample_end: sample_end.min(sample) });
        }
        self.pass(end);
        self.anchor = (characters, sample);
    }

    /// Marks that lie within the first `samples` and were not handed out. A vendor without word times has its words
    /// guessed at the usual pace as far as `playable`, the samples that can have been played by now: the end corrects the
    /// guess for all later ones.
    pub fn take(&mut self, samples: usize, playable: usize) -> Vec<WordMark> {
        if !self.timed {
            let horizon = samples.min(playable);
            while let Some(word) = self.words.get(self.word) {
                let ahead = word.characters.saturating_sub(self.anchor.0) as f64 * self.samples_per_character;
                let sample_end = self.anchor.1 + ahead as usize;
                if sample_end > horizon {
                    break;
                }
                self.anchor = (word.characters, sample_end);
                self.waiting.push(WordMark { text_end: word.text_end, sample_end });
                self.pass(self.word + 1);
            }
        }
        let due = self.waiting.iter().take_while(|mark| mark.sample_end <= samples).count();
        let mut marks: Vec<WordMark> = self.waiting.drain(..due).collect();
        for mark in &mut marks {
            mark.sample_end = mark.sample_end.max(self.last_sample);
            self.last_sample = mark.sample_end;
        }
        marks
    }

    /// Hands out all that is left: the utterance is as long as `samples`.
    pub fn finish(&mut self, text_len: usize, samples: usize) -> Vec<WordMark> {
        self.reached(text_len, samples);
        for mark in &mut self.waiting {
            mark.sample_end = mark.sample_end.min(samples);
        }
        self.take(samples, 0)
    }

    /// Whether there is anything to pronounce.
    pub fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    fn last_waiting(&self) -> usize {
        self.waiting.last().map_or(self.last_sample, |mark| mark.sample_end.max(self.last_sample))
    }

    /// The word and letter where `spoken` goes on: right here, or at the start of a word not further ahead than strangers
    /// have come.
    fn find(&self, spoken: &[char]) -> Option<(usize, usize)> {
        let fits = |at: usize| self.letters.get(at..).is_some_and(|rest| rest.starts_with(spoken));
        if fits(self.letter) {
            return Some((self.word, self.letter));
        }
        let furthest = FURTHEST.min(self.strangers.len() + 1);
        let ahead = self.words.iter().enumerate().skip(self.word).take(furthest + 1);
        ahead.map(|(place, word)| (place, word.from)).find(|(_, from)| *from > self.letter && fits(*from))
    }

    /// Gives the words up to `end` the times of the strangers.
    fn share_out(&mut self, end: usize) {
        let skipped = self.words.get(self.word..end).unwrap_or_default();
        let last = self.last_waiting();
        for (place, word) in (1..).zip(skipped) {
            let stranger = (place * self.strangers.len()).div_ceil(skipped.len().max(1)).checked_sub(1);
            let sample_end = stranger.and_then(|stranger| self.strangers.get(stranger)).copied().unwrap_or(last);
            self.waiting.push(WordMark { text_end: word.text_end, sample_end });
        }
        self.strangers.clear();
        self.pass(end);
    }

    fn pass(&mut self, end: usize) {
        if end > self.word {
            self.word = end;
            self.letter = end.checked_sub(1).and_then(|last| self.words.get(last)).map_or(self.letter, |word| word.to);
        }
    }
}

/// The last word reaches to `end`, in octets and characters.
fn extend(words: &mut [Word], end: (usize, usize), to: usize) {
    if let Some(word) = words.last_mut() {
        (word.text_end, word.characters, word.to) = (end.0, end.1, to);
    }
}

/// Scripts without blanks: each character counts as a word.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0E7F}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(text: &str, spoken: &[(&str, usize)], samples: usize) -> Vec<(String, usize)> {
        let mut marks = Marks::new(text, true, 8_000, 1.0);
        spoken.iter().for_each(|(word, end)| marks.spoken(word, *end));
        let all = marks.finish(text.len(), samples);
        let ordered = all.windows(2).all(|w| w[0].text_end < w[1].text_end && w[0].sample_end <= w[1].sample_end);
        assert!(ordered, "{all:?}");
        let mut from = 0;
        all.iter()
            .map(|mark| {
                let word = text[std::mem::replace(&mut from, mark.text_end)..mark.text_end].trim().to_owned();
                (word, mark.sample_end)
            })
            .collect()
    }

    fn owned(marks: &[(&str, usize)]) -> Vec<(String, usize)> {
        marks.iter().map(|(word, end)| ((*word).to_owned(), *end)).collect()
    }

    #[test]
    fn words_are_found_whatever_their_case_and_punctuation() {
        let marks = timed("Hello, \u{201c}World\u{201d} – bye!", &[("hello", 10), ("world", 20), ("Bye", 30)], 40);
        assert_eq!(marks, owned(&[("Hello,", 10), ("\u{201c}World\u{201d} –", 20), ("bye!", 30)]));
    }

    #[test]
    fn a_number_that_is_spoken_as_words_ends_with_the_last_of_them() {
        let spoken = [("at", 10), ("two", 20), ("thirty", 30), ("p", 40), ("m", 50), ("today", 60)];
        let marks = timed("At 2:30 pm today.", &spoken, 70);
        assert_eq!(marks, owned(&[("At", 10), ("2:30", 30), ("pm", 50), ("today.", 60)]));
    }

    #[test]
    fn a_word_of_a_number_is_not_taken_for_a_later_word() {
        let spoken = [("one", 10), ("thousand", 20), ("two", 30), ("hundred", 40), ("and", 50), ("one", 60)];
        assert_eq!(timed("1,200 and one", &spoken, 60), owned(&[("1,200", 40), ("and", 50), ("one", 60)]));
    }

    #[test]
    fn a_word_that_the_vendor_drops_or_splits_costs_no_later_word() {
        let spoken = [("I", 5), ("don", 10), ("'t", 15), ("know", 20), ("him", 30)];
        let marks = timed("I don't (sighs) know him.", &spoken, 40);
        assert_eq!(marks, owned(&[("I", 5), ("don't", 15), ("(sighs)", 15), ("know", 20), ("him.", 30)]));
    }

    #[test]
    fn what_the_vendor_does_not_tell_is_spread_to_the_end() {
        assert_eq!(timed("aa bb cc", &[("aa", 10)], 40), owned(&[("aa", 10), ("bb", 25), ("cc", 40)]));
        assert_eq!(timed("aa bb", &[("xx", 10), ("yy", 20)], 40), owned(&[("aa", 10), ("bb", 20)]));
        assert_eq!(timed("", &[("xx", 10)], 40), []);
    }

    #[test]
    fn a_script_without_blanks_is_marked_by_characters() {
        let marks = timed("東京です。", &[("東", 10), ("京", 20), ("です", 30)], 30);
        assert_eq!(marks, owned(&[("東", 10), ("京", 20), ("で", 30), ("す。", 30)]));
    }

    #[test]
    fn a_mark_waits_for_its_audio() {
        let mut marks = Marks::new("one two", true, 8_000, 1.0);
        marks.spoken("one", 100);
        marks.spoken("two", 200);
        assert_eq!(marks.take(99, 0), []);
        assert_eq!(marks.take(150, 0), [WordMark { text_end: 3, sample_end: 100 }]);
        assert_eq!(marks.finish(7, 180), [WordMark { text_end: 7, sample_end: 180 }], "never behind the audio");
    }

    #[test]
    fn without_word_times_words_are_even_once_the_length_is_known() {
        let mut marks = Marks::new("aaaa bbbb cccc dddd", false, 8_000, 1.0);
        assert_eq!(marks.take(1_900, 0), [], "nothing can have been played");
        let ends: Vec<_> = marks.finish(19, 1_900).iter().map(|mark| mark.sample_end).collect();
        assert_eq!(ends, [400, 900, 1_400, 1_900]);
    }

    #[test]
    fn without_word_times_what_may_be_playing_is_guessed_and_the_rest_even() {
        let mut marks = Marks::new("aaaa bbbb cccc dddd", false, 15, 1.0);
        let guessed = marks.take(100, 10);
        assert_eq!(guessed.iter().map(|m| (m.text_end, m.sample_end)).collect::<Vec<_>>(), [(4, 4), (9, 9)]);
        let rest: Vec<_> = marks.finish(19, 109).iter().map(|m| (m.text_end, m.sample_end)).collect();
        assert_eq!(rest, [(14, 59), (19, 109)]);
    }

    #[test]
    fn a_piece_that_is_over_holds_its_words_in_place() {
        let mut marks = Marks::new("aa bb. cccc", false, 8_000, 1.0);
        marks.reached(6, 600);
        let ends: Vec<_> = marks.finish(11, 800).iter().map(|mark| (mark.text_end, mark.sample_end)).collect();
        assert_eq!(ends, [(2, 200), (6, 600), (11, 800)]);
    }
}
