//! The answers of a session, numbered across its connections: what came of each, what is void.

use super::AnswerId;
use super::protocol::TurnId;
use std::collections::VecDeque;
use std::time::Duration;

/// Answers remembered; an interruption concerns the last two or three.
const KEPT: usize = 8;
/// Octets of the words of one answer: some minutes of speech. What is beyond does not come into the history.
const WORDS_BYTES: usize = 16 * 1024;

/// One answer.
pub(super) struct Answer {
    pub(super) id: AnswerId,
    /// Audio received.
    pub(super) audio: Duration,
    /// The agent's words so far.
    pub(super) words: String,
    /// The vendor itself said which words were heard.
    pub(super) corrected: bool,
    /// Its words were reported.
    pub(super) reported: bool,
    /// It wants tools.
    pub(super) calls: bool,
    /// Nothing more is expected of it.
    pub(super) over: bool,
    /// How much was heard was told to the vendor.
    pub(super) cut: bool,
    /// The last turn of the caller before it.
    pub(super) after: TurnId,
}

impl Answer {
    fn new(id: AnswerId, after: TurnId) -> Self {
        let (audio, words) = (Duration::ZERO, String::new());
        Self { id, audio, words, corrected: false, reported: false, calls: false, over: false, cut: false, after }
    }

    pub(super) fn add_words(&mut self, words: &str) {
        let room = WORDS_BYTES.saturating_sub(self.words.len());
        if words.len() <= room && !self.corrected {
            self.words.push_str(words);
        }
    }

    /// The words that were heard when so much of the audio was: cut at a word, by their share.
    pub(super) fn words_heard(&self, heard: Duration) -> &str {
        let words = self.words.trim();
        if self.corrected || heard >= self.audio {
            return words;
        }
        let share = heard.as_secs_f64() / self.audio.as_secs_f64();
        let end = (words.len() as f64 * share) as usize;
        // A word counts once it was heard to its end.
        let ends = words.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
        ends.take_while(|at| *at <= end).last().and_then(|at| words.get(..at)).unwrap_or_default().trim_end()
    }
}

/// The last answers.
#[derive(Default)]
pub(super) struct Answers {
    kept: VecDeque<Answer>,
    newest: u32,
    /// Every answer up to this one is void.
    void: u32,
    /// The newest answer before this connection.
    base: u32,
    /// The last turn of the caller over this connection.
    turn: TurnId,
}

impl Answers {
    /// The number within the session of an answer of this connection.
    pub(super) fn global(&self, local: AnswerId) -> AnswerId {
        AnswerId(self.base.saturating_add(local.0))
    }

    /// The number within this connection; `None` for an answer of an earlier one.
    pub(super) fn local(&self, global: AnswerId) -> Option<AnswerId> {
        global.0.checked_sub(self.base).filter(|local| *local > 0).map(AnswerId)
    }

    pub(super) fn newest(&self) -> AnswerId {
        AnswerId(self.newest)
    }

    pub(super) fn is_void(&self, answer: AnswerId) -> bool {
        answer.0 <= self.void
    }

    /// An answer, begun with the first that is heard of it.
    pub(super) fn begin(&mut self, answer: AnswerId) -> Option<&mut Answer> {
        if answer.0 > self.newest {
            self.newest = answer.0;
            self.kept.push_back(Answer::new(answer, self.turn));
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
        self.get(answer)
    }

    pub(super) fn get(&mut self, answer: AnswerId) -> Option<&mut Answer> {
        self.kept.iter_mut().find(|kept| kept.id == answer)
    }

    /// The answers that are not over and not void, oldest first.
    pub(super) fn under_way(&self) -> Vec<AnswerId> {
        self.kept.iter().filter(|kept| !kept.over && !self.is_void(kept.id)).map(|kept| kept.id).collect()
    }

    pub(super) fn any_under_way(&self) -> bool {
        self.kept.iter().any(|kept| !kept.over && !self.is_void(kept.id))
    }

    /// Every answer so far is void.
    pub(super) fn void_all(&mut self) {
        self.void = self.newest;
    }

    /// A turn of the caller stands before the answers to come.
    pub(super) fn turn(&mut self, turn: TurnId) {
        self.turn = turn;
    }

    /// A fresh connection begins to number anew.
    pub(super) fn rebase(&mut self) {
        self.base = self.newest;
        self.turn = TurnId::default();
        self.kept.iter_mut().for_each(|answer| answer.after = TurnId::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(words: &str, audio: u64) -> Answer {
        let mut answer = Answer::new(AnswerId(1), TurnId(0));
        answer.add_words(words);
        answer.audio = Duration::from_millis(audio);
        answer
    }

    #[test]
    fn words_are_heard_by_their_share_of_the_audio() {
        let answer = answer("One two three four", 1_800);
        let heard = |ms| answer.words_heard(Duration::from_millis(ms));
        assert_eq!([heard(0), heard(300), heard(750), heard(1_700)], ["", "One", "One two", "One two three"]);
        assert_eq!(heard(1_800), "One two three four");
        assert_eq!(heard(9_000), "One two three four");
    }

    #[test]
    fn the_vendor_knows_best_what_was_heard() {
        let mut answer = answer("One two", 1_000);
        answer.corrected = true;
        assert_eq!(answer.words_heard(Duration::ZERO), "One two");
    }

    #[test]
    fn numbers_grow_across_connections() {
        let mut answers = Answers::default();
        answers.begin(answers.global(AnswerId(1)));
        answers.begin(answers.global(AnswerId(2)));
        answers.rebase();
        assert_eq!(answers.global(AnswerId(1)), AnswerId(3));
        assert_eq!(answers.local(AnswerId(2)), None);
        assert_eq!(answers.local(AnswerId(3)), Some(AnswerId(1)));
    }

    #[test]
    fn what_begins_after_an_interruption_is_not_void() {
        let mut answers = Answers::default();
        answers.begin(AnswerId(1));
        answers.void_all();
        answers.begin(AnswerId(2));
        assert!(answers.is_void(AnswerId(1)) && !answers.is_void(AnswerId(2)));
        assert_eq!(answers.under_way(), [AnswerId(2)]);
    }
}
