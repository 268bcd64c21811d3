//! The conversation in the order every vendor accepts: every tool call has its result right behind it, a caller begins
//! and ends, nothing is empty.
//!
//! The same messages give the same turns, whatever is said later, so the start of a prompt stays in vendors' caches.

use super::{Message, ToolCall};
use std::collections::BTreeMap;

/// Stands for the caller where the agent speaks first: some vendors want the first message to be a caller's.
const CALL_BEGINS: &str = "(The call begins. The caller has said nothing yet.)";
/// Stands for the caller where the agent has spoken last: some vendors refuse to continue their own words.
const CALLER_IS_SILENT: &str = "(The caller says nothing.)";
/// The result of a tool call that the caller spoke into, or that never came.
const NO_RESULT: &str = "No result: the call was interrupted before the tool answered.";

/// One step of the conversation.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Turn<'p> {
    /// The caller's words.
    Caller(&'p str),
    /// What the agent said and which tools it called; never both empty.
    Agent {
        /// Empty when it only called tools.
        text: &'p str,
        /// Its calls.
        calls: Vec<&'p ToolCall>,
    },
    /// The results of all calls of the turn before, in the calls' order.
    Results(Vec<Answer<'p>>),
}

/// A tool's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer<'p> {
    /// [`ToolCall::id`].
    pub call: &'p str,
    /// The tool's name.
    pub tool: &'p str,
    /// Its words.
    pub content: &'p str,
    /// It failed.
    pub failed: bool,
}

/// The turns of a conversation.
pub(super) fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut results: BTreeMap<&str, (usize, Answer<'_>)> = BTreeMap::new();
    for (place, message) in messages.iter().enumerate() {
        if let Message::ToolResult { call, tool, content, failed } = message {
            let answer = Answer { call, tool, content: content.expose(), failed: *failed };
            results.entry(call).or_insert((place, answer));
        }
    }
    let mut turns = Vec::with_capacity(messages.len() + 2);
    for (place, message) in messages.iter().enumerate() {
        match message {
            Message::Caller(words) if !words.expose().trim().is_empty() => turns.push(Turn::Caller(words.expose())),
            Message::Agent { text, calls } => {
                let text = text.expose().trim();
                if !text.is_empty() || !calls.is_empty() {
                    turns.push(Turn::Agent { text, calls: calls.iter().collect() });
                }
                if !calls.is_empty() {
                    turns.push(Turn::Results(calls.iter().map(|call| result(call, place, &results)).collect()));
                }
            }
            // A result without its call is dropped, one with it has its place already.
            Message::Caller(_) | Message::ToolResult { .. } => {}
        }
    }
    if !matches!(turns.first(), Some(Turn::Caller(_))) {
        turns.insert(0, Turn::Caller(CALL_BEGINS));
    }
    if matches!(turns.last(), Some(Turn::Agent { .. })) {
        turns.push(Turn::Caller(CALLER_IS_SILENT));
    }
    turns
}

/// The result of a call of the message at `place`: a result told before the call belongs to another of the same id.
fn result<'p>(call: &'p ToolCall, place: usize, results: &BTreeMap<&'p str, (usize, Answer<'p>)>) -> Answer<'p> {
    match results.get(call.id.as_str()) {
        Some((at, answer)) if *at > place => answer.clone(),
        _ => Answer { call: &call.id, tool: &call.name, content: NO_RESULT, failed: true },
    }
}

/// Whether any turn speaks of tools, and of which: each once, in order.
pub(super) fn tools_named<'p>(turns: &[Turn<'p>]) -> Vec<&'p str> {
    let mut names = Vec::new();
    for turn in turns {
        if let Turn::Agent { calls, .. } = turn {
            for call in calls {
                if !names.contains(&call.name.as_str()) {
                    names.push(call.name.as_str());
                }
            }
        }
    }
    names
}

/// An id within `[A-Za-z0-9_-]{1,64}`: what one vendor gave out, another may not accept after a failover.
pub(super) fn portable(id: &str) -> String {
    let mut portable: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).take(64).collect();
    if portable.is_empty() {
        portable.push('_');
    }
    portable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pii;

    fn caller(words: &str) -> Message {
        Message::Caller(Pii::new(words.into()))
    }

    fn agent(text: &str, calls: &[&str]) -> Message {
        let call = |id: &&str| ToolCall {
            id: (*id).into(),
            name: format!("tool_{id}"),
            arguments: Pii::default(),
            opaque: None,
        };
        Message::Agent { text: Pii::new(text.into()), calls: calls.iter().map(call).collect() }
    }

    fn answer(id: &str, content: &str) -> Message {
        let (call, tool) = (id.into(), format!("tool_{id}"));
        Message::ToolResult { call, tool, content: Pii::new(content.into()), failed: false }
    }

    fn shape(messages: &[Message]) -> Vec<String> {
        let one = |turn: Turn<'_>| match turn {
            Turn::Caller(words) => format!("caller: {words}"),
            Turn::Agent { text, calls } => format!("agent: {text} {}", calls.len()),
            Turn::Results(answers) => {
                let one = |a: &Answer<'_>| format!("{}={}{}", a.call, a.content, if a.failed { "!" } else { "" });
                answers.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        };
        turns(messages).into_iter().map(one).collect()
    }

    #[test]
    fn every_call_is_followed_by_its_result_even_when_it_came_late() {
        let messages =
            [caller("a"), agent("b", &["1", "2"]), caller("c"), answer("2", "two"), answer("1", "one"), caller("d")];
        assert_eq!(shape(&messages), ["caller: a", "agent: b 2", "1=one 2=two", "caller: c", "caller: d"]);
    }

    #[test]
    fn a_call_that_was_interrupted_gets_a_failed_result() {
        let messages = [caller("a"), agent("", &["1"]), caller("wait")];
        assert_eq!(shape(&messages), ["caller: a", "agent:  1", &format!("1={NO_RESULT}!"), "caller: wait"]);
    }

    #[test]
    fn a_result_without_a_call_and_an_empty_message_are_dropped() {
        let messages = [answer("0", "x"), caller("a"), agent(" ", &[]), caller("  "), answer("9", "x")];
        assert_eq!(shape(&messages), ["caller: a"]);
    }

    #[test]
    fn a_result_before_its_call_is_not_the_call_s() {
        let messages = [caller("a"), answer("1", "old"), agent("", &["1"])];
        assert_eq!(shape(&messages)[2], format!("1={NO_RESULT}!"));
    }

    #[test]
    fn an_agent_that_speaks_first_or_last_has_a_caller_before_or_behind_it() {
        assert_eq!(shape(&[]), [format!("caller: {CALL_BEGINS}")]);
        let greeting = [agent("Hello", &[])];
        assert_eq!(
            shape(&greeting),
            [&format!("caller: {CALL_BEGINS}"), "agent: Hello 0", &format!("caller: {CALLER_IS_SILENT}")]
        );
        let ends_with_a_result = [caller("a"), agent("", &["1"]), answer("1", "one")];
        assert_eq!(shape(&ends_with_a_result).len(), 3);
    }

    #[test]
    fn what_was_said_stays_as_it_is_when_more_is_said() {
        let all = [agent("Hi", &[]), caller("a"), agent("b", &["1"]), answer("1", "x"), agent("c", &[]), caller("d")];
        let before = turns(&all[..4]);
        assert_eq!(turns(&all)[..before.len()], before);
    }

    #[test]
    fn an_id_is_made_portable_and_stays_the_same() {
        assert_eq!(portable("call_1-A"), "call_1-A");
        assert_eq!(portable("functions.look:0"), "functions_look_0");
        assert_eq!(portable(""), "_");
        assert_eq!(portable(&"x".repeat(99)).len(), 64);
    }
}
