//! From what a language model writes to what a voice says. Pure; used between every model and every voice.
//!
//! A model writes pieces of words, with markdown; a voice wants whole sentences, early. [`Speakable`] takes the one and
//! gives the other: [`plain`] removes what is for the eye, [`chunk`] cuts where a speaker would pause. A vendor's voice
//! is then given the spoken form ([`spoken()`]) of each piece; the offline voice normalises by itself.

pub mod chunk;
mod marks;
pub mod normalize;
pub mod plain;
mod spoken;

pub use spoken::{SpokenText, spoken};

use chunk::Chunker;
use plain::Plain;

/// One answer of a model on its way to a voice.
#[derive(Debug)]
pub struct Speakable {
    plain: Plain,
    chunker: Chunker,
}

impl Speakable {
    /// For an answer in this language (BCP 47; empty for English).
    #[must_use]
    pub fn new(language: &str) -> Self {
        Self { plain: Plain::default(), chunker: Chunker::new(language) }
    }

    /// Takes the next characters; the sentences and clauses that are ready to be said come back, without markdown.
    pub fn push(&mut self, text: &str) -> Vec<String> {
        let mut words = String::new();
        self.plain.push(text, &mut words);
        self.chunker.push(&words);
        if words.ends_with(['.', '!', '?', '…']) {
            // A word is handed on because a blank follows it.
            self.chunker.push(" ");
        }
        std::iter::from_fn(|| self.chunker.next_chunk()).collect()
    }

    /// The answer, or the part of it before a tool call, has ended: what is left. The next one begins anew.
    pub fn finish(&mut self) -> Vec<String> {
        let mut words = String::new();
        self.plain.finish(&mut words);
        self.chunker.push(&words);
        let mut chunks: Vec<String> = std::iter::from_fn(|| self.chunker.next_chunk()).collect();
        chunks.extend(self.chunker.finish());
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str, cut: usize) -> Vec<String> {
        let mut speakable = Speakable::new("en-US");
        let characters: Vec<char> = text.chars().collect();
        let mut chunks: Vec<String> = Vec::new();
        for part in characters.chunks(cut) {
            chunks.extend(speakable.push(&part.iter().collect::<String>()));
        }
        chunks.extend(speakable.finish());
        chunks
    }

    #[test]
    fn a_list_in_markdown_becomes_sentences_wherever_the_pieces_are_cut() {
        let text = "I have **two times** free:\n\n- Monday at 9:30 a.m. with Dr. Smith\n- Tuesday at *2 p.m.* 🙂\n\nWhich one suits you?";
        for cut in [1, 2, 3, 7, 1000] {
            assert_eq!(
                said(text, cut).join(" "),
                "I have two times free: Monday at 9:30 a.m. with Dr. Smith. Tuesday at 2 p.m. Which one suits you?",
                "{cut}"
            );
        }
    }

    #[test]
    fn the_first_sentence_is_ready_before_the_answer_is() {
        let mut speakable = Speakable::new("en");
        assert_eq!(speakable.push("Sure, I can do that"), Vec::<String>::new());
        assert_eq!(speakable.push(". Let"), ["Sure, I can do that."]);
        assert_eq!(speakable.push(" me look."), Vec::<String>::new());
        assert_eq!(speakable.finish(), ["Let me look."]);
        assert_eq!(speakable.finish(), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_text_is_lost_or_made_up_and_no_piece_is_too_long(text in "[a-zA-Z0-9 .,!?*_#\n-]{0,600}", cut in 1usize..20) {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let chunks = said(&text, cut);
            prop_assert_eq!(letters(&chunks.concat()), letters(&text));
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= chunk::LONGEST && !chunk.trim().is_empty()));
        }

        #[test]
        fn any_text_at_all_is_survived(text in "\\PC{0,200}", cut in 1usize..9) {
            let _ = said(&text, cut);
            let _ = spoken(&text, "en");
        }
    }
}
