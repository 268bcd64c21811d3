//! Before a tool with `confirm` runs for a model: the conversation itself reads its arguments back, word for word what
//! will be sent, and only the caller's plain yes lets it run.

use super::{Asking, Conversation};
use crate::agent::effect::UtteranceId;
use crate::agent::flow::Body;
use crate::agent::slot::{Words, yes_no};
use crate::agent::speak;
use serde_json::json;
use std::sync::Arc;

/// Words that change nothing about a yes. Any other word beside it may be a condition or a correction.
const AGREEING: &[&str] = &[
    "absolutely",
    "all",
    "ahead",
    "are",
    "book",
    "both",
    "correct",
    "do",
    "everything",
    "exactly",
    "fine",
    "go",
    "good",
    "great",
    "it'll",
    "lovely",
    "me",
    "perfect",
    "right",
    "sounds",
    "this",
    "very",
    "works",
    "much",
    "for",
    "to",
    "that'll",
];

impl Conversation {
    /// Reads the arguments of the call that waits for a yes.
    pub(super) fn read_back(&mut self) -> Option<UtteranceId> {
        let agent = Arc::clone(&self.agent);
        let talk = self.talk.as_ref()?;
        let approval = talk.approval.as_ref()?;
        let definition = agent.tools.get(approval.tool)?;
        let own = match agent.nodes.get(talk.node()).map(|node| &node.body) {
            Some(Body::Converse(converse)) => {
                converse.tools.iter().find(|offered| offered.tool == approval.tool).and_then(|o| o.read_back.as_ref())
            }
            _ => None,
        };
        let today = self.memory.today();
        let mut scope = self.speech(None);
        let mut heard = Vec::new();
        for argument in &definition.arguments {
            // One that is left out hides a variable of the same name.
            scope.put(&argument.name, serde_json::Value::Null);
            let Some(value) = approval.arguments.expose().get(&argument.name) else { continue };
            scope.speak(&argument.name, argument.kind, value, &[]);
            let spoken = speak::value(argument.kind, value, &[], today);
            heard.push(format!("{}: {spoken}", argument.name.replace(['_', '-'], " ")));
        }
        scope.put("heard", heard.join(", "));
        let line = agent.templates.line(own.unwrap_or(&agent.phrases.read_back), &scope).0;
        self.speak(&line, true)
    }

    /// The answer to the read-back.
    pub(super) fn answer_approve(&mut self, asking: Asking, text: &str) -> Result<(), Box<Asking>> {
        let agreed = is_plain_yes(text);
        // A "yes" into the first words of the read-back agrees to nothing: most of it was not heard.
        if agreed && asking.cut_short {
            self.memory.dialogue.unsay_caller();
            self.ask(asking);
            return Ok(());
        }
        let Some(talk) = &mut self.talk else { return Err(Box::new(asking)) };
        let Some(approval) = talk.approval.take() else { return Err(Box::new(asking)) };
        if agreed {
            self.memory.dialogue.unsay_caller();
            self.run_approved(approval);
            return Ok(());
        }
        self.rounds = 0;
        talk.turns += 1;
        talk.calls.clear();
        talk.answer.spoke = false;
        let what = "Not run: the caller was asked and gave no plain yes. Settle with them what is to be different, \
                    then call again.";
        self.answer_call(&approval.call, &json!({"error": what}).to_string(), true);
        self.go_on_talking();
        Ok(())
    }
}

/// Whether an utterance agrees and does nothing else.
fn is_plain_yes(text: &str) -> bool {
    let mut words = Words::new(text);
    if !matches!(yes_no::find(&words), Some((true, ..))) {
        return false;
    }
    while let Some((yes, range, _)) = yes_no::find(&words) {
        if !yes {
            return false;
        }
        let span = words.span(range);
        words.mask(&span);
    }
    (0..words.len()).all(|at| {
        words.is_masked(at)
            || AGREEING.contains(&words.at(at))
            || words.from_word(at).until_word(at + 1).nothing_but(&(0..0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_agrees() {
        for text in [
            "yes",
            "Yes, please.",
            "yeah that's right",
            "Yes that is all correct, thank you",
            "correct",
            "sure, go ahead",
            "okay",
            "yes yes yes",
            "That's right.",
            "perfect, book it",
            "sounds good to me",
        ] {
            assert!(is_plain_yes(text), "{text}");
        }
        for text in [
            "no",
            "yes but at four",
            "yes, under Bergman",
            "yes no wait",
            "yeah Friday",
            "what",
            "maybe",
            "yes if it's free",
            "",
            "not right",
            "yes, and tell me the price",
            "I think it's Tuesday",
            "okay stop",
            "yes except the name",
        ] {
            assert!(!is_plain_yes(text), "{text}");
        }
    }
}
