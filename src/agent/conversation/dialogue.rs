//! The conversation as a language model is shown it: what was heard, tool calls with their answers, within a bound.

use crate::agent::effect::UtteranceId;
use crate::agent::limits::{HISTORY_CHARS, HISTORY_EXCHANGES};
use crate::base::Pii;
use crate::base::chat::{Message, ToolCall};
use std::collections::VecDeque;

/// Stands where a model must speak and the caller has said nothing since.
const CUE: &str = "(The caller waits for you to speak.)";
/// The answer of a call that was never run.
const NOT_RUN: &str = "Not run: the conversation went on without it.";

/// Messages between caller and agent, oldest first. Lines of the agent count as heard until it is known that they
/// were not.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
enum Entry {
    Caller(Pii<String>),
    Agent { lines: Vec<Line>, calls: Vec<Called> },
}

#[derive(Debug)]
struct Line {
    /// Of a line whose end is still to be reported.
    utterance: Option<UtteranceId>,
    text: Pii<String>,
}

/// A call and what came of it. Kept together, so that neither is ever shown without the other.
#[derive(Debug)]
struct Called {
    call: ToolCall,
    answer: Option<(Pii<String>, bool)>,
}

impl Entry {
    fn chars(&self) -> usize {
        match self {
            Self::Caller(text) => text.expose().chars().count(),
            Self::Agent { lines, calls } => {
                let answers = calls.iter().filter_map(|called| called.answer.as_ref().map(|(text, _)| text));
                lines.iter().map(|line| &line.text).chain(answers).map(|text| text.expose().chars().count()).sum()
            }
        }
    }
}

impl Dialogue {
    pub(super) fn caller(&mut self, text: &str) {
        self.entries.push_back(Entry::Caller(Pii::new(text.trim().to_owned())));
        self.trim();
    }

    /// Takes back the caller's last words, which were an answer to a question of the system and not for the model.
    pub(super) fn unsay_caller(&mut self) {
        if matches!(self.entries.back(), Some(Entry::Caller(_))) {
            self.entries.pop_back();
        }
    }

    pub(super) fn agent(&mut self, utterance: Option<UtteranceId>, text: &str) {
        let line = Line { utterance, text: Pii::new(text.trim().to_owned()) };
        self.with_turn_of_agent(|lines, _| lines.push(line));
    }

    /// An utterance is over: what was not heard was not said.
    pub(super) fn heard(&mut self, utterance: UtteranceId, heard: &str, complete: bool) {
        for (index, entry) in self.entries.iter_mut().enumerate().rev() {
            let Entry::Agent { lines, calls } = entry else { continue };
            let Some(at) = lines.iter().position(|line| line.utterance == Some(utterance)) else { continue };
            let heard = heard.trim();
            match lines.get_mut(at) {
                Some(line) if complete || !heard.is_empty() => {
                    line.utterance = None;
                    if !complete {
                        line.text = Pii::new(heard.to_owned());
                    }
                }
                _ => drop(lines.remove(at)),
            }
            if lines.is_empty() && calls.is_empty() {
                self.entries.remove(index);
            }
            return;
        }
    }

    pub(super) fn call(&mut self, call: ToolCall) {
        self.with_turn_of_agent(|_, calls| calls.push(Called { call, answer: None }));
    }

    /// Answers the oldest open call with this id.
    pub(super) fn answer(&mut self, id: &str, content: &str, failed: bool) {
        let calls = self.entries.iter_mut().flat_map(|entry| match entry {
            Entry::Agent { calls, .. } => calls.as_mut_slice(),
            Entry::Caller(_) => &mut [],
        });
        let open = calls.into_iter().find(|called| called.call.id == id && called.answer.is_none());
        if let Some(called) = open {
            called.answer = Some((Pii::new(content.to_owned()), failed));
        }
    }

    /// Whether it is the agent's turn: the caller spoke last, or a tool answered.
    pub(super) fn awaits_agent(&self) -> bool {
        match self.entries.back() {
            Some(Entry::Caller(_)) => true,
            Some(Entry::Agent { calls, .. }) => !calls.is_empty(),
            None => false,
        }
    }

    /// Makes sure that it is the agent's turn.
    pub(super) fn cue(&mut self) {
        if !self.awaits_agent() {
            self.caller(CUE);
        }
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Caller(text) => messages.push(Message::Caller(text.clone())),
                Entry::Agent { lines, calls } => {
                    let text: Vec<&str> = lines.iter().map(|line| line.text.expose().as_str()).collect();
                    let text = Pii::new(text.join(" "));
                    messages.push(Message::Agent { text, calls: calls.iter().map(|c| c.call.clone()).collect() });
                    messages.extend(calls.iter().map(|called| {
                        let (content, failed) =
                            called.answer.clone().unwrap_or_else(|| (Pii::new(NOT_RUN.to_owned()), true));
                        let ToolCall { id, name, .. } = &called.call;
                        Message::ToolResult { call: id.clone(), tool: name.clone(), content, failed }
                    }));
                }
            }
        }
        messages
    }

    /// What the agent says or calls belongs to its last entry until the caller speaks or all calls are answered.
    fn with_turn_of_agent(&mut self, act: impl FnOnce(&mut Vec<Line>, &mut Vec<Called>)) {
        if let Some(Entry::Agent { lines, calls }) = self.entries.back_mut()
            && (calls.is_empty() || calls.iter().any(|called| called.answer.is_none()))
        {
            return act(lines, calls);
        }
        let (mut lines, mut calls) = (Vec::new(), Vec::new());
        act(&mut lines, &mut calls);
        self.entries.push_back(Entry::Agent { lines, calls });
    }

    /// Drops the oldest exchanges once there is too much, and then a good part of them: what is left stays the same for
    /// many turns, and with it what a vendor has cached.
    fn trim(&mut self) {
        let total = |this: &Self| (this.exchanges(), this.entries.iter().map(Entry::chars).sum::<usize>());
        let (exchanges, chars) = total(self);
        if exchanges <= HISTORY_EXCHANGES && chars <= HISTORY_CHARS {
            return;
        }
        loop {
            let (exchanges, chars) = total(self);
            if exchanges <= 1 || exchanges <= HISTORY_EXCHANGES / 2 && chars <= HISTORY_CHARS / 2 {
                return;
            }
            self.entries.pop_front();
            while self.entries.len() > 1 && !self.starts_exchange(0) {
                self.entries.pop_front();
            }
        }
    }

    /// An exchange is the caller's words and all that follows up to their next ones.
    fn exchanges(&self) -> usize {
        (0..self.entries.len()).filter(|index| self.starts_exchange(*index)).count()
    }

    fn starts_exchange(&self, index: usize) -> bool {
        let is_caller = |index: usize| matches!(self.entries.get(index), Some(Entry::Caller(_)));
        is_caller(index) && index.checked_sub(1).is_none_or(|before| !is_caller(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.into(), name: "look".into(), arguments: Pii::default(), opaque: None }
    }

    /// Messages, one a line.
    fn shown(dialogue: &Dialogue) -> Vec<String> {
        let show = |message: Message| match message {
            Message::Caller(text) => format!("caller: {}", text.expose()),
            Message::Agent { text, calls } => {
                format!("agent: {} {:?}", text.expose(), calls.iter().map(|c| c.id.as_str()).collect::<Vec<_>>())
            }
            Message::ToolResult { call, content, failed, .. } => {
                format!("{call}{}: {}", if failed { " failed" } else { "" }, content.expose())
            }
        };
        dialogue.messages().into_iter().map(show).collect()
    }

    #[test]
    fn only_what_was_heard_is_shown() {
        let mut dialogue = Dialogue::default();
        dialogue.caller("Hello");
        dialogue.agent(Some(UtteranceId(1)), "We have ten, eleven and twelve.");
        dialogue.agent(Some(UtteranceId(2)), "Which one?");
        assert_eq!(shown(&dialogue), ["caller: Hello", "agent: We have ten, eleven and twelve. Which one? []"]);
        dialogue.heard(UtteranceId(1), "We have ten", false);
        dialogue.heard(UtteranceId(2), "", false);
        assert_eq!(shown(&dialogue), ["caller: Hello", "agent: We have ten []"]);
    }

    #[test]
    fn an_answer_of_which_nothing_was_heard_leaves_no_trace() {
        let mut dialogue = Dialogue::default();
        dialogue.caller("Hello");
        dialogue.agent(Some(UtteranceId(1)), "Yes?");
        dialogue.heard(UtteranceId(1), " ", false);
        dialogue.caller("Are you there?");
        assert_eq!(shown(&dialogue), ["caller: Hello", "caller: Are you there?"]);
    }

    #[test]
    fn an_answer_stands_next_to_its_call_whatever_was_said_meanwhile() {
        let mut dialogue = Dialogue::default();
        dialogue.caller("Tomorrow?");
        dialogue.agent(Some(UtteranceId(1)), "Let me see.");
        dialogue.call(call("a"));
        dialogue.call(call("b"));
        dialogue.caller("Hurry up");
        dialogue.answer("a", "{}", false);
        assert!(dialogue.awaits_agent());
        let expected = [
            "caller: Tomorrow?",
            "agent: Let me see. [\"a\", \"b\"]",
            "a: {}",
            "b failed: Not run: the conversation went on without it.",
            "caller: Hurry up",
        ];
        assert_eq!(shown(&dialogue), expected);
    }

    #[test]
    fn calls_with_the_same_id_are_answered_in_turn() {
        let mut dialogue = Dialogue::default();
        dialogue.caller("x");
        dialogue.call(call("a"));
        dialogue.answer("a", "one", false);
        dialogue.call(call("a"));
        dialogue.answer("a", "two", true);
        let expected = ["caller: x", "agent:  [\"a\"]", "a: one", "agent:  [\"a\"]", "a failed: two"];
        assert_eq!(shown(&dialogue), expected);
    }

    #[test]
    fn a_model_that_must_speak_unasked_gets_a_cue_once() {
        let mut dialogue = Dialogue::default();
        dialogue.agent(None, "Good morning.");
        assert!(!dialogue.awaits_agent());
        dialogue.cue();
        dialogue.cue();
        assert_eq!(shown(&dialogue), ["agent: Good morning. []".to_owned(), format!("caller: {CUE}")]);
    }

    #[test]
    fn the_oldest_exchanges_are_dropped_whole_and_not_one_by_one() {
        let mut dialogue = Dialogue::default();
        dialogue.agent(None, "Welcome.");
        let mut starts = std::collections::BTreeSet::new();
        for turn in 0..3 * HISTORY_EXCHANGES {
            dialogue.caller(&format!("question {turn}"));
            dialogue.call(call(&format!("call {turn}")));
            dialogue.answer(&format!("call {turn}"), "{}", false);
            dialogue.agent(None, "Well.");
            assert!(dialogue.exchanges() <= HISTORY_EXCHANGES);
            let messages = shown(&dialogue);
            starts.insert(messages[0].clone());
            assert!(messages[0] == "agent: Welcome. []" || messages[0].starts_with("caller: "), "{}", messages[0]);
        }
        assert!(starts.len() <= 6, "the front moved {} times", starts.len());
    }

    #[test]
    fn long_answers_of_tools_count_too_and_the_last_exchange_stays() {
        let mut dialogue = Dialogue::default();
        for turn in 0..4 {
            dialogue.caller("q");
            dialogue.call(call(&turn.to_string()));
            dialogue.answer(&turn.to_string(), &"x".repeat(HISTORY_CHARS), false);
            assert_eq!(dialogue.exchanges(), 1);
        }
        dialogue.caller("last");
        assert_eq!(shown(&dialogue), ["caller: last"]);
    }
}
