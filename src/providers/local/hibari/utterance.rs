//! A sentence as the network gets it: phonemes cut into pieces short enough to be spoken in one go, each word with
//! its place among them.

use super::g2p::Phonemes;
use super::voice::Alphabet;
use crate::providers::speakable::normalize::{Kind, Spoken};

/// The network was trained on no longer pieces, and its memory grows with the square of the length.
const LONGEST: usize = 400;
/// A sentence longer than this (about 12 s) is spoken clause by clause.
const COMFORTABLE: usize = 180;
/// The first piece of an utterance is kept shorter: the caller waits for it.
const FIRST: usize = 110;
/// Clauses shorter than this are not worth a break in the melody.
const SHORTEST: usize = 30;

/// What one run of the network speaks.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Piece {
    /// Phoneme ids without the edges.
    pub ids: Vec<i64>,
    /// For each source of words: where it ends in the text, and the number of `ids` up to its end.
    pub marks: Vec<(usize, usize)>,
}

/// Cuts a sentence into pieces. `first` is set for the first sentence of an utterance.
pub fn pieces(sentence: &[Spoken], phonemes: &[Phonemes], alphabet: &Alphabet, first: bool) -> Vec<Piece> {
    let words: Vec<Vec<i64>> = phonemes
        .iter()
        .map(|p| {
            let space = p.space_before.then_some(' ');
            space.into_iter().chain(p.text.chars()).filter_map(|c| alphabet.id(c)).take(LONGEST).collect()
        })
        .collect();
    let mut out = Vec::new();
    let mut piece = Piece::default();
    for (i, (spoken, ids)) in sentence.iter().zip(&words).enumerate() {
        let clause = clause_length(sentence, &words, i);
        let comfortable = if first && out.is_empty() { FIRST } else { COMFORTABLE };
        let after_pause = i > 0 && breaks_clause(&sentence[i - 1]);
        let natural = after_pause && piece.ids.len() >= SHORTEST && piece.ids.len() + clause > comfortable;
        let remaining: usize = words[i..].iter().map(Vec::len).sum();
        if (natural && remaining >= SHORTEST) || piece.ids.len() + ids.len() > LONGEST {
            out.push(std::mem::take(&mut piece));
        }
        piece.ids.extend(ids);
        // Only the last of the words read from one source completes it.
        let completes = sentence.get(i + 1).is_none_or(|next| next.text_end > spoken.text_end);
        if spoken.kind != Kind::Pause && completes {
            piece.marks.push((spoken.text_end, piece.ids.len()));
        }
    }
    out.push(piece);
    out.retain(|p| !p.ids.is_empty());
    for piece in &mut out {
        if piece.ids.first().copied() == alphabet.id(' ') {
            piece.ids.remove(0);
            piece.marks.iter_mut().for_each(|(_, count)| *count -= 1);
        }
    }
    out
}

fn breaks_clause(spoken: &Spoken) -> bool {
    spoken.kind == Kind::Pause && matches!(spoken.text.as_str(), "," | ";" | ":" | "—" | ")" | "…")
}

/// The number of ids from word `from` to the end of its clause.
fn clause_length(sentence: &[Spoken], words: &[Vec<i64>], from: usize) -> usize {
    let end = (from..sentence.len()).find(|i| breaks_clause(&sentence[*i])).unwrap_or(sentence.len() - 1);
    words[from..=end].iter().map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alphabet() -> Alphabet {
        Alphabet::of([(' ', 16), (',', 3), ('.', 4), ('a', 43)])
    }

    /// Words of `a`s with the given lengths; 0 is a comma.
    fn sentence(lengths: &[usize]) -> (Vec<Spoken>, Vec<Phonemes>) {
        let mut text_end = 0;
        lengths
            .iter()
            .enumerate()
            .map(|(i, n)| {
                text_end += n.max(&1);
                let (kind, text) = if *n == 0 { (Kind::Pause, ",".into()) } else { (Kind::Word, "a".repeat(*n)) };
                let space_before = i > 0 && *n > 0;
                (Spoken { text: text.clone(), kind, space_before, text_end }, Phonemes { text, space_before })
            })
            .unzip()
    }

    fn lengths(words: &[usize], first: bool) -> Vec<usize> {
        let (spoken, phonemes) = sentence(words);
        pieces(&spoken, &phonemes, &alphabet(), first).iter().map(|p| p.ids.len()).collect()
    }

    #[test]
    fn a_short_sentence_is_one_piece_and_marks_count_ids() {
        let (spoken, phonemes) = sentence(&[3, 2, 0, 4]);
        let out = pieces(&spoken, &phonemes, &alphabet(), true);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].marks, [(3, 3), (5, 6), (10, 12)]);
    }

    #[test]
    fn the_first_piece_of_an_utterance_breaks_at_an_earlier_clause() {
        assert_eq!(lengths(&[60, 0, 60, 0, 40], true), [61, 61 + 1 + 40]);
        assert_eq!(lengths(&[60, 0, 60, 0, 40], false), [164]);
    }

    #[test]
    fn without_any_pause_a_piece_still_ends_before_the_network_limit() {
        let out = lengths(&[30; 40], false);
        assert!(out.iter().all(|n| *n <= LONGEST), "{out:?}");
        assert_eq!(out.iter().sum::<usize>(), 40 * 30 + 39 - (out.len() - 1));
        assert_eq!(lengths(&[5000], true), [LONGEST]);
    }

    #[test]
    fn words_from_one_source_share_the_mark_of_the_last() {
        let (mut spoken, phonemes) = sentence(&[3, 3, 3]);
        spoken[0].text_end = 6;
        let out = pieces(&spoken, &phonemes, &alphabet(), true);
        assert_eq!(out[0].marks, [(6, 7), (9, 11)]);
    }
}
