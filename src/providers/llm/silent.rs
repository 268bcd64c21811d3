//! What a model thinks in silence but writes among its words: `<think>…</think>` at the start of an answer, with servers
//! that do not take it out themselves.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Lets through what is to be said aloud. Pure; text may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Aloud {
    state: State,
    /// The end of what came, as long as it can be the start of a mark.
    held: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Only blanks, or the start of the mark, so far.
    #[default]
    Start,
    Thinking,
    /// Behind the closing mark, where blanks are none of the words.
    Behind,
    Speaking,
}

impl Aloud {
    /// Takes a piece; what of it is to be said comes back.
    pub(super) fn push(&mut self, text: &str) -> String {
        match self.state {
            State::Speaking => return text.to_owned(),
            State::Behind => return self.begin(text),
            State::Start | State::Thinking => {}
        }
        self.held.push_str(text);
        if self.state == State::Start {
            let begun = self.held.trim_start();
            if begun.len() < OPEN.len() && OPEN.starts_with(begun) {
                return String::new();
            }
            match begun.strip_prefix(OPEN) {
                None => {
                    self.state = State::Speaking;
                    return std::mem::take(&mut self.held);
                }
                Some(rest) => {
                    self.state = State::Thinking;
                    self.held = rest.to_owned();
                }
            }
        }
        match self.held.split_once(CLOSE) {
            Some((_, words)) => {
                let words = words.to_owned();
                self.held.clear();
                self.state = State::Behind;
                self.begin(&words)
            }
            None => {
                // Keep as much as can be the start of the closing mark.
                let keep = (0..CLOSE.len()).rev().find(|n| self.held.ends_with(&CLOSE[..*n])).unwrap_or(0);
                self.held.drain(..self.held.len() - keep);
                String::new()
            }
        }
    }

    fn begin(&mut self, text: &str) -> String {
        let words = text.trim_start();
        if !words.is_empty() {
            self.state = State::Speaking;
        }
        words.to_owned()
    }

    /// The answer has ended: what was held back and is no mark.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        if self.state == State::Start && !held.trim().is_empty() { held } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aloud(text: &str, cut: usize) -> String {
        let mut aloud = Aloud::default();
        let characters: Vec<char> = text.chars().collect();
        let mut said: String =
            characters.chunks(cut).map(|part| aloud.push(&part.iter().collect::<String>())).collect();
        said.push_str(&aloud.finish());
        said
    }

    #[test]
    fn thoughts_at_the_start_are_not_said_wherever_the_text_is_cut() {
        for cut in 1..40 {
            assert_eq!(aloud("\n<think>Hm, 1 < 2. </thin no</think>\n\nYes, we are.", cut), "Yes, we are.", "{cut}");
            assert_eq!(aloud("Yes <think>, we are.", cut), "Yes <think>, we are.", "{cut}");
            assert_eq!(aloud("<think>endless", cut), "", "{cut}");
            assert_eq!(aloud("<thin", cut), "<thin", "{cut}");
        }
    }
}
