//! How unknown words sound: a small character network reads them, usually names.

use super::{VoiceError, assets};
use ort::session::Session;
use ort::value::TensorRef;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// The alphabets of the network; id 0 is the blank on both sides.
#[derive(Deserialize)]
struct Written {
    r#in: Vec<char>,
    out: Vec<char>,
    maxlen: usize,
}

/// Letters to ids and ids to phonemes. Shared by all sessions.
#[derive(Debug)]
pub struct Alphabets {
    letters: HashMap<char, i64>,
    phonemes: Vec<char>,
    /// Longer words are cut: the network was trained on no longer ones.
    longest: usize,
}

impl Alphabets {
    /// Reads `oov.json`.
    pub fn load(path: &Path) -> Result<Self, VoiceError> {
        let written: Written = assets::json(path)?;
        Ok(Self {
            letters: written.r#in.into_iter().zip(1..).collect(),
            phonemes: written.out,
            longest: written.maxlen,
        })
    }

    fn ids(&self, word: &str) -> Vec<i64> {
        word.chars().filter_map(|c| self.letters.get(&c).copied()).take(self.longest).collect()
    }

    /// Repeated ids are one sound, 0 is none (connectionist temporal classification).
    fn phonemes(&self, ids: &[i64]) -> String {
        let mut before = 0;
        let mut out = String::new();
        for id in ids {
            if *id != before && *id > 0 {
                out.extend(usize::try_from(*id - 1).ok().and_then(|i| self.phonemes.get(i)));
            }
            before = *id;
        }
        out
    }
}

/// The phonemes of `word`, which has letters only; empty when no letter is known.
pub fn read(session: &mut Session, alphabets: &Alphabets, word: &str) -> Result<String, VoiceError> {
    let ids = alphabets.ids(word);
    if ids.is_empty() {
        return Ok(String::new());
    }
    let input = TensorRef::from_array_view(([1, ids.len()], ids.as_slice())).map_err(failed)?;
    let outputs = session.run(ort::inputs!["chars" => input]).map_err(failed)?;
    let Some(output) = outputs.get("ids") else { return Err(failed("no output `ids`")) };
    let (_, ids) = output.try_extract_tensor::<i64>().map_err(failed)?;
    Ok(alphabets.phonemes(ids))
}

fn failed(error: impl std::fmt::Display) -> VoiceError {
    VoiceError::Inference(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alphabets() -> Alphabets {
        Alphabets { letters: [('a', 1), ('b', 2)].into(), phonemes: vec!['æ', 'b', 'ˈ'], longest: 3 }
    }

    #[test]
    fn repeats_collapse_and_blanks_separate() {
        assert_eq!(alphabets().phonemes(&[0, 3, 1, 1, 0, 1, 2, 0, 9, -1]), "ˈææb");
    }

    #[test]
    fn unknown_letters_are_left_out_and_long_words_cut() {
        assert_eq!(alphabets().ids("a?babab"), [1, 2, 1]);
    }
}
