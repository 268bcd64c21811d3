//! From words to meaning: commands first, then questions answered in place, then the answer that was asked for.

use super::converse::is_for_model;
use super::{Aim, Asking, Conversation, PATIENCE, State};
use crate::agent::command::{self, Command};
use crate::agent::effect::{Effect, Label, RequestId};
use crate::agent::flow::{Body, Failure};
use crate::agent::intent::Verdict;
use crate::agent::limits::{CLASSIFY_CHARS, TURNS};
use crate::agent::slot::{Words, yes_no};
use crate::agent::value::Kind;
use crate::base::Pii;
use std::sync::Arc;

/// Fewest words that are worth comparing by meaning when something else was asked.
const CLASSIFY_WORDS: usize = 3;

/// What key phrases found in an utterance.
#[derive(Debug, Default)]
struct KeyPhrases {
    /// Intents to be answered in place, in the order they were mentioned.
    answers: Vec<usize>,
    /// The intent to follow: where it stands in the list and the strength of its phrase.
    follow: Option<(usize, usize)>,
    /// The parts of the utterance that no intent took.
    rest: String,
}

impl Conversation {
    /// Makes sense of what the caller said in answer to an open question.
    pub(super) fn understand(&mut self, asking: Asking, text: &str, confidence: f32) {
        let before = std::mem::take(&mut self.said);
        let words = Words::new(text);
        if words.is_empty() {
            return self.fail(asking, Failure::NoMatch);
        }
        let command = command::find(&words);
        if command == Some(Command::Human) {
            return self.respond(&asking, Failure::WantsHuman, asking.attempts);
        }
        if confidence < self.agent.low_confidence {
            return self.fail(asking, Failure::LowConfidence);
        }
        if let Some(command) = command.filter(|command| !self.is_answer(&asking, *command, &words, before.is_empty())) {
            return self.obey(asking, command, before);
        }
        let found = self.key_phrases(&asking, text);
        if !found.answers.is_empty() || found.follow.is_some() {
            return self.act_on(asking, &found, text, confidence);
        }
        let Err(asking) = self.answer(asking, text, confidence) else { return };
        self.classify(*asking, text, confidence);
    }

    /// "No, that's all" is a goodbye, but also the answer to "anything else?".
    fn is_answer(&self, asking: &Asking, command: Command, words: &Words<'_>, said_nothing: bool) -> bool {
        if asking.aim == Aim::Talk {
            return is_for_model(command, words, said_nothing);
        }
        let yes_no_asked = match &asking.aim {
            Aim::Slot(slot) => self.agent.variable(slot).is_some_and(|variable| variable.kind == Kind::YesNo),
            Aim::Approve | Aim::Confirm | Aim::Meant { .. } | Aim::Sure { .. } => true,
            Aim::Route | Aim::Talk | Aim::Which => false,
        };
        let said_no = matches!(yes_no::find(words), Some((false, ..)));
        yes_no_asked && said_no && command == Command::Goodbye
    }

    fn obey(&mut self, asking: Asking, command: Command, before: Vec<String>) {
        match command {
            Command::Goodbye => self.respond(&asking, Failure::Goodbye, 0),
            Command::Greeting => self.ask_again(asking),
            Command::Human => self.respond(&asking, Failure::WantsHuman, 0),
            Command::Help => {
                let mut asking = asking;
                // The next wording says more than the first one.
                asking.attempts = asking.attempts.max(1);
                self.ask_again(asking);
            }
            Command::Repeat => {
                let wait =
                    self.agent.nodes.get(asking.node).and_then(|node| node.question()).map_or(7_000, |q| q.no_input_ms);
                let mut asking = asking;
                for line in &before {
                    if let Some(utterance) = self.speak(line, true) {
                        asking.utterance = utterance;
                    }
                }
                asking.cut_short = false;
                self.listen(asking, std::time::Duration::from_millis(wait));
            }
            Command::Wait => {
                let line = self.agent.phrases.wait.clone();
                self.say_nth(std::slice::from_ref(&line), 0, true, None);
                // What the caller may want repeated is the question, not "take your time".
                self.said = before;
                self.listen(asking, PATIENCE);
            }
        }
    }

    /// Finds intents by their key phrases, clause by clause.
    fn key_phrases(&self, asking: &Asking, text: &str) -> KeyPhrases {
        let mut found = KeyPhrases::default();
        let routed = self.routed(asking);
        for clause in clauses(text) {
            let words = Words::new(clause);
            let question = is_question(&words, clause);
            let mut matched: Vec<(usize, usize, usize)> = Vec::new();
            for (index, intent) in self.agent.intents.iter().enumerate() {
                let listed = routed.contains(&index);
                if (listed || intent.is_global())
                    && let Some((strength, at)) = intent.keyword_match(&words)
                {
                    matched.push((index, strength, at));
                }
            }
            // A clause that answers what was asked is no question about something else.
            let answers_slot = !question && self.fits_question(asking, &words);
            matched.retain(|(index, ..)| {
                let answered_in_place = self.agent.intents.get(*index).is_some_and(|intent| intent.answer.is_some());
                !(answers_slot && answered_in_place)
            });
            matched.sort_by_key(|(_, _, at)| *at);
            let mut answers = 0;
            for (index, ..) in &matched {
                if self.agent.intents.get(*index).is_some_and(|intent| intent.answer.is_some())
                    && !routed.contains(index)
                {
                    answers += 1;
                    if !found.answers.contains(index) {
                        found.answers.push(*index);
                    }
                }
            }
            // "How much is an appointment?" asks for the price and books nothing.
            let only_asks = question && answers > 0 && !words.contains_any(&["and", "also"]);
            for (index, strength, _) in &matched {
                let leads = self.agent.intents.get(*index).is_some_and(|intent| intent.answer.is_none())
                    || routed.contains(index);
                if leads && !only_asks && found.follow.is_none_or(|(_, best)| *strength > best) {
                    found.follow = Some((*index, *strength));
                }
            }
            if matched.is_empty() {
                found.rest.push_str(clause);
                found.rest.push(' ');
            }
        }
        found
    }

    /// Intents the open route lists.
    fn routed(&self, asking: &Asking) -> Vec<usize> {
        match self.agent.nodes.get(asking.node).map(|node| &node.body) {
            Some(Body::Route { intents, .. }) => intents.iter().map(|(intent, _)| *intent).collect(),
            _ => Vec::new(),
        }
    }

    /// Answers in place, then follows where the caller wants to go or comes back to the open question.
    fn act_on(&mut self, asking: Asking, found: &KeyPhrases, text: &str, confidence: f32) {
        for intent in &found.answers {
            self.answer_in_place(*intent);
        }
        if let Some((intent, _)) = found.follow {
            return self.follow_intent(asking, intent, text);
        }
        let rest = found.rest.trim();
        let asking = if Words::new(rest).nothing_but(&(0..0)) {
            asking
        } else {
            match self.answer(asking, rest, confidence) {
                Ok(()) => return,
                Err(asking) => *asking,
            }
        };
        self.ask_again(asking);
    }

    fn answer_in_place(&mut self, intent: usize) {
        let agent = Arc::clone(&self.agent);
        let count = self.answers.entry(intent).or_insert(0);
        *count += 1;
        let n = *count - 1;
        if let Some(wordings) = agent.intents.get(intent).and_then(|intent| intent.answer.as_ref()) {
            self.say_nth(wordings, n, true, None);
        }
    }

    /// Does what an intent stands for: answers it, or goes where it leads.
    pub(super) fn act(&mut self, asking: Asking, intent: usize, text: &str) {
        if self.routed(&asking).contains(&intent) {
            return self.follow_intent(asking, intent, text);
        }
        if self.agent.intents.get(intent).is_some_and(|intent| intent.answer.is_some()) {
            self.answer_in_place(intent);
            return self.ask_again(asking);
        }
        self.follow_intent(asking, intent, text);
    }

    /// Tries to read the answer that was asked for.
    fn answer(&mut self, asking: Asking, text: &str, confidence: f32) -> Result<(), Box<Asking>> {
        match asking.aim.clone() {
            Aim::Slot(slot) => self.answer_slot(asking, &slot, text, confidence),
            Aim::Sure { slot, value, spoken } => self.answer_sure(asking, &slot, value, &spoken, text, confidence),
            Aim::Confirm => self.answer_confirm(asking, text, false),
            Aim::Which => self.answer_confirm(asking, text, true),
            Aim::Route => self.answer_route(asking, text),
            Aim::Meant { intent } => self.answer_meant(asking, intent, text),
            Aim::Approve => self.answer_approve(asking, text),
            Aim::Talk => {
                self.answer_talk(asking, text);
                Ok(())
            }
        }
    }

    /// Asks what the words mean, when that can be asked at all.
    fn classify(&mut self, asking: Asking, text: &str, confidence: f32) {
        let routed = self.routed(&asking);
        let route = matches!(asking.aim, Aim::Route | Aim::Meant { .. });
        let among: Vec<usize> = self
            .agent
            .intents
            .iter()
            .enumerate()
            .filter(|(index, intent)| !intent.examples.is_empty() && (routed.contains(index) || intent.is_global()))
            .map(|(index, _)| index)
            .collect();
        let worth_it = route || Words::new(text).len() >= CLASSIFY_WORDS;
        if self.intents_down || among.is_empty() || !worth_it {
            return self.fail(asking, if route { Failure::OutOfScope } else { Failure::NoMatch });
        }
        let labels = among
            .iter()
            .filter_map(|index| self.agent.intents.get(*index))
            .map(|intent| Label { name: intent.id.clone(), examples: intent.examples.clone() })
            .collect();
        let request = self.next_request();
        let short: String = text.chars().take(CLASSIFY_CHARS).collect();
        self.effects.push_back(Effect::Classify { request, text: Pii::new(short), labels });
        self.state = State::Classifying { request, asking, text: text.to_owned(), confidence, among };
    }

    pub(super) fn classified(&mut self, request: RequestId, ranking: &[(String, f32)]) {
        let State::Classifying { request: expected, asking, text, among, .. } = self.state.clone() else { return };
        if expected != request {
            return;
        }
        let known = |name: &str| {
            among.iter().copied().find(|i| self.agent.intents.get(*i).is_some_and(|intent| intent.id == name))
        };
        let verdict = self.agent.thresholds.judge(ranking);
        let route = matches!(asking.aim, Aim::Route | Aim::Meant { .. });
        match verdict {
            Verdict::Accept(name) => match known(&name) {
                Some(intent) => self.act(asking, intent, &text),
                None => self.fail(asking, Failure::NoMatch),
            },
            Verdict::Suggest(name) if route => match known(&name) {
                Some(intent) => {
                    let mut asking = asking;
                    asking.aim = Aim::Meant { intent };
                    self.memory.uncertain(&text);
                    self.ask(asking);
                }
                None => self.fail(asking, Failure::OutOfScope),
            },
            _ if route && ranking.is_empty() => self.fail(asking, Failure::NoMatch),
            _ => self.fail(asking, if route { Failure::OutOfScope } else { Failure::NoMatch }),
        }
    }

    /// Counts a caller's turn; true when the conversation has gone on for too long and was ended.
    pub(super) fn too_long(&mut self) -> bool {
        self.turns += 1;
        let State::Asking(asking) = self.state.clone() else { return false };
        if self.turns <= TURNS {
            return false;
        }
        self.give_up(asking.node, "call_too_long");
        true
    }
}

/// Cuts an utterance into clauses at the ends of sentences and before "but".
fn clauses(text: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for (index, c) in text.char_indices() {
        let ends = match c {
            '?' | '!' | ';' => true,
            // Not inside "3.30", "a.m." and "B. E. R. G.".
            '.' => {
                let next_blank = bytes.get(index + 1).is_none_or(u8::is_ascii_whitespace);
                let word = text
                    .get(start..index)
                    .unwrap_or_default()
                    .rsplit(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap_or_default();
                next_blank && word.chars().count() > 1
            }
            _ => false,
        };
        let but = c == ' ' && text.get(index..).is_some_and(|rest| rest.starts_with(" but "));
        if ends || but {
            let end = if but { index } else { index + c.len_utf8() };
            clauses.extend(text.get(start..end).map(str::trim).filter(|clause| !clause.is_empty()));
            start = if but { index + 4 } else { end };
        }
    }
    clauses.extend(text.get(start..).map(str::trim).filter(|clause| !clause.is_empty()));
    clauses
}

/// Whether a clause asks something.
fn is_question(words: &Words<'_>, clause: &str) -> bool {
    let fillers = ["well", "and", "so", "oh", "uh", "um", "okay", "yes", "but", "also", "sorry", "hi", "hello"];
    let first = (0..words.len()).find(|at| !fillers.contains(&words.at(*at))).unwrap_or(0);
    let asks = [
        "what", "what's", "when", "where", "where's", "how", "why", "who", "which", "do", "does", "are", "is", "can",
        "could", "would", "will", "have", "tell me",
    ];
    clause.trim_end().ends_with('?') && words.len() > 2 || words.reads_any(first, &asks).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_end_where_sentences_end() {
        assert_eq!(
            clauses("Monday, but how much is it? At 3.30 p.m. please."),
            ["Monday,", "how much is it?", "At 3.30 p.m. please."]
        );
        assert_eq!(clauses("B. E. R. G."), ["B. E. R. G."]);
        assert!(clauses("  ").is_empty());
    }

    #[test]
    fn questions_are_told_from_answers() {
        for (text, expected) in [
            ("what are your hours", true),
            ("and how much is it", true),
            ("Do you have parking?", true),
            ("Monday at nine", false),
            ("Anna?", false),
        ] {
            assert_eq!(is_question(&Words::new(text), text), expected, "{text}");
        }
    }
}
