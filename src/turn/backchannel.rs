//! Words that say "go on" and are no turn.

use crate::base::Pii;

/// True when the caller only signalled that they are listening ("mm-hm", "okay"), which is no reason to
/// stop. When a yes or no is expected only sounds count: "okay" would be an answer.
#[must_use]
pub fn is_backchannel(text: &Pii<String>, yes_no_expected: bool) -> bool {
    const SOUNDS: [&str; 9] = ["mm", "mhm", "mmhm", "mm hm", "mm hmm", "uh huh", "uhhuh", "hm", "hmm"];
    const WORDS: [&str; 8] = ["okay", "ok", "right", "i see", "sure", "got it", "all right", "alright"];
    let plain: String = text
        .expose()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    SOUNDS.contains(&plain.as_str()) || (!yes_no_expected && WORDS.contains(&plain.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_backchannels_and_sentences_are_not() {
        let is = |text: &str, yes_no| is_backchannel(&Pii::new(text.to_owned()), yes_no);
        assert!(is("Mm-hmm.", true) && is("Uh-huh", false) && is("Okay.", false));
        assert!(!is("Okay.", true) && !is("No", false) && !is("Okay, Tuesday then", false) && !is("", false));
    }
}
