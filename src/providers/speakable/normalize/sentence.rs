//! Where one sentence ends and the next begins.

use super::{Kind, Spoken};

/// The sentences of a spoken text, in order; `text` is what [`super::normalize`] was given. A full stop before a
/// word written in lower case does not end a sentence.
#[must_use]
pub fn sentences(text: &str, mut spoken: Vec<Spoken>) -> Vec<Vec<Spoken>> {
    let mut out = Vec::new();
    while let Some(end) = (1..spoken.len()).find(|i| is_start(text, &spoken[..*i], &spoken[*i])) {
        let rest = spoken.split_off(end);
        out.push(std::mem::replace(&mut spoken, rest));
    }
    if spoken.iter().any(|s| s.kind != Kind::Pause) {
        out.push(spoken);
    }
    out
}

/// Whether `here` begins a sentence after `before`.
fn is_start(text: &str, before: &[Spoken], here: &Spoken) -> bool {
    let closing = |s: &Spoken| s.kind == Kind::Pause && matches!(s.text.as_str(), "”" | ")");
    let Some(mark) = before.iter().rev().find(|s| !closing(s)).filter(|s| s.kind == Kind::Pause) else { return false };
    match here.kind {
        Kind::Pause if here.text != "“" && here.text != "(" => return false,
        _ => {}
    }
    match mark.text.as_str() {
        "!" | "?" => true,
        "." | "…" => {
            // A number in digits has no case, whatever its words have; a blank line or bullet starts anew.
            let word_end = before.iter().rev().find(|s| s.kind != Kind::Pause).map_or(0, |s| s.text_end);
            let gap = text.get(word_end..here.text_end).unwrap_or_default();
            let written = text.get(mark.text_end..here.text_end).unwrap_or_default();
            gap.contains('\n') || !written.chars().find(|c| c.is_alphanumeric()).is_some_and(char::is_lowercase)
        }
        _ => false,
    }
}
