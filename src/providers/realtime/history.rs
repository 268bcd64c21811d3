//! What was said in a session, as a fresh connection has to be told it: the agent's words only as far as they were heard.

use crate::base::Pii;
use crate::base::chat::{Message, ToolCall};
use std::collections::VecDeque;

/// Messages kept; the oldest go first.
const MESSAGES_MAX: usize = 60;
/// Turns of the caller whose words may still come.
const AWAITED_MAX: usize = 2;

enum Entry {
    /// A turn of the caller whose words are not known yet.
    Awaited,
    /// The agent's words in an answer.
    Agent(u32, String),
    Call(ToolCall),
    Other(Message),
}

/// The messages so far, oldest first.
#[derive(Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    pub(super) fn new(messages: &[Message]) -> Self {
        let mut history = Self::default();
        for message in messages {
            match message {
                Message::Agent { text, calls } => {
                    if !text.expose().is_empty() {
                        history.push(Entry::Agent(0, text.expose().clone()));
                    }
                    calls.iter().for_each(|call| history.call(call.clone()));
                }
                other => history.push(Entry::Other(other.clone())),
            }
        }
        history
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        while self.entries.len() > MESSAGES_MAX {
            self.entries.pop_front();
        }
    }

    /// The caller has finished a turn: its words belong here, whenever they come.
    pub(super) fn turn(&mut self) {
        let awaited = self.entries.iter().filter(|entry| matches!(entry, Entry::Awaited)).count();
        if awaited >= AWAITED_MAX {
            self.unheard();
        }
        self.push(Entry::Awaited);
    }

    /// The words of the oldest turn that has none, or of a turn of their own.
    pub(super) fn caller(&mut self, text: &str) {
        let entry = Entry::Other(Message::Caller(Pii::new(text.to_owned())));
        match self.entries.iter_mut().find(|entry| matches!(entry, Entry::Awaited)) {
            Some(awaited) => *awaited = entry,
            None => self.push(entry),
        }
    }

    /// The words of the oldest turn that has none will not come.
    pub(super) fn unheard(&mut self) {
        if let Some(oldest) = self.entries.iter().position(|entry| matches!(entry, Entry::Awaited)) {
            self.entries.remove(oldest);
        }
    }

    /// Words told in the caller's place.
    pub(super) fn told(&mut self, text: &str) {
        self.push(Entry::Other(Message::Caller(Pii::new(text.to_owned()))));
    }

    /// The agent's words in an answer, all of them; replaces what was known of that answer.
    pub(super) fn agent(&mut self, answer: u32, text: &str) {
        let known = self.entries.iter().position(|entry| matches!(entry, Entry::Agent(id, _) if *id == answer));
        match known {
            Some(place) if text.is_empty() => {
                self.entries.remove(place);
            }
            Some(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    *entry = Entry::Agent(answer, text.to_owned());
                }
            }
            None if text.is_empty() => {}
            None => self.push(Entry::Agent(answer, text.to_owned())),
        }
    }

    pub(super) fn call(&mut self, call: ToolCall) {
        self.push(Entry::Call(call));
    }

    pub(super) fn result(&mut self, call: &str, tool: &str, content: &str, failed: bool) {
        self.push(Entry::Other(Message::ToolResult {
            call: call.to_owned(),
            tool: tool.to_owned(),
            content: Pii::new(content.to_owned()),
            failed,
        }));
    }

    /// The messages. Calls and results without their counterpart are left out: vendors refuse them.
    pub(super) fn messages(&self) -> Vec<Message> {
        let result_of = |wanted: &str| {
            self.entries.iter().find_map(|entry| match entry {
                Entry::Other(message @ Message::ToolResult { call, .. }) if call == wanted => Some(message.clone()),
                _ => None,
            })
        };
        let mut messages = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            match entry {
                Entry::Awaited | Entry::Other(Message::ToolResult { .. }) => {}
                Entry::Agent(_, text) => {
                    messages.push(Message::Agent { text: Pii::new(text.clone()), calls: Vec::new() });
                }
                Entry::Call(call) => {
                    if let Some(result) = result_of(&call.id) {
                        messages.push(Message::Agent { text: Pii::default(), calls: vec![call.clone()] });
                        messages.push(result);
                    }
                }
                Entry::Other(message) => messages.push(message.clone()),
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(history: &History) -> Vec<String> {
        let line = |message: &Message| match message {
            Message::Caller(text) => format!("caller: {}", text.expose()),
            Message::Agent { text, calls } if calls.is_empty() => format!("agent: {}", text.expose()),
            Message::Agent { calls, .. } => format!("calls {}", calls[0].name),
            Message::ToolResult { tool, content, .. } => format!("{tool} says {}", content.expose()),
        };
        history.messages().iter().map(line).collect()
    }

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.into(), name: "slots".into(), arguments: Pii::default(), opaque: None }
    }

    #[test]
    fn late_words_of_the_caller_stand_before_the_answer_to_them() {
        let mut history = History::new(&[]);
        history.turn();
        history.agent(1, "At noon.");
        history.caller("When?");
        assert_eq!(shown(&history), ["caller: When?", "agent: At noon."]);
    }

    #[test]
    fn an_answer_is_kept_as_far_as_it_was_heard() {
        let mut history = History::new(&[]);
        history.agent(1, "One two three.");
        history.agent(2, "Four.");
        history.agent(1, "One");
        history.agent(2, "");
        assert_eq!(shown(&history), ["agent: One"]);
    }

    #[test]
    fn calls_are_told_with_their_results_or_not_at_all() {
        let mut history = History::new(&[]);
        history.call(call("a"));
        history.call(call("b"));
        history.result("b", "slots", "noon", false);
        history.result("x", "slots", "nothing asked for this", false);
        assert_eq!(shown(&history), ["calls slots", "slots says noon"]);
    }

    #[test]
    fn a_long_call_forgets_its_beginning() {
        let mut history = History::new(&[]);
        (0..200).for_each(|n| history.told(&n.to_string()));
        assert_eq!(history.messages().len(), MESSAGES_MAX);
        assert_eq!(shown(&history)[0], "caller: 140");
    }
}
