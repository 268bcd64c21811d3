//! Reading back: yes goes on, anything else finds out what is wrong and mends only that.

use super::ask::{find_named, in_order, mention};
use super::{Aim, Asking, Conversation};
use crate::agent::flow::Body;
use crate::agent::rule::Variable;
use crate::agent::slot::{self, Focus, Found, Words, yes_no};
use std::sync::Arc;

/// Words that call something wrong.
const WRONG: &[&str] = &[
    "wrong",
    "change",
    "different",
    "not right",
    "not correct",
    "incorrect",
    "mistake",
    "fix",
    "instead",
    "isn't right",
    "isn't correct",
    "correct the",
    "rather",
    "misheard",
    "i meant",
    "i said",
];

/// Words that call everything wrong.
const ALL: &[&str] = &["everything", "all of it", "all of them", "start over", "from the beginning", "all wrong"];

/// Words that call nothing wrong after all.
const NOTHING: &[&str] = &[
    "nothing",
    "never mind",
    "it's fine",
    "it's all right",
    "it's correct",
    "it is correct",
    "that's fine",
    "it's right",
];

impl Conversation {
    /// The first of these slots that is missing or no longer accepted, with the reason for the latter.
    pub(super) fn first_unfit(&self, slots: &[String]) -> Option<(String, Option<String>)> {
        slots.iter().find_map(|name| {
            let variable = self.agent.variable(name)?;
            let Some(value) = self.memory.value(name) else { return Some((name.clone(), None)) };
            let today = self.memory.today();
            let spoken = crate::agent::speak::value(variable.kind, value, &variable.choices, today);
            let found = Found { value: value.clone(), spoken, confidence: 1.0, span: 0..0 };
            self.check_value(variable, &found).err().map(|reason| (name.clone(), Some(reason)))
        })
    }

    /// New values for slots that were read back, and the slots that are named in the utterance.
    fn corrections<'a>(
        &self,
        agent: &'a crate::agent::Agent,
        slots: &'a [String],
        words: &Words<'_>,
    ) -> (Vec<(&'a Variable, Found)>, Vec<String>) {
        let mut rest = words.clone();
        let mut changes = Vec::new();
        let mut mentions = Vec::new();
        for variable in in_order(agent, slots.iter()) {
            let grammar = self.grammar(agent, variable);
            if mention(words, variable).is_some() {
                mentions.push(variable.name.clone());
            }
            let found =
                find_named(&rest, variable, &grammar).or_else(|| slot::find(&rest, &grammar, Focus::Volunteered));
            if let Some(found) = found {
                rest.mask(&found.span);
                if self.memory.value(&variable.name) != Some(&found.value) {
                    changes.push((variable, found));
                }
            }
        }
        (changes, mentions)
    }

    /// The answer to a read-back, or (`which`) to "what should I change?".
    pub(super) fn answer_confirm(&mut self, mut asking: Asking, text: &str, which: bool) -> Result<(), Box<Asking>> {
        let agent = Arc::clone(&self.agent);
        let Some(Body::Confirm { slots, .. }) = agent.nodes.get(asking.node).map(|node| &node.body) else {
            return Err(Box::new(asking));
        };
        let words = Words::new(text);
        let answer = yes_no::find(&words).map(|(answer, ..)| answer);
        let wrong = words.contains_any(WRONG) || answer == Some(false);
        let (changes, mentions) = self.corrections(&agent, slots, &words);
        if !changes.is_empty() {
            self.change(changes);
            return Ok(());
        }
        if words.contains_any(ALL) && (wrong || which) {
            self.reask(slots);
            return Ok(());
        }
        if !mentions.is_empty() && (wrong || which) {
            self.reask(&mentions);
            return Ok(());
        }
        if which {
            if words.contains_any(NOTHING) || answer == Some(false) {
                asking.aim = Aim::Confirm;
                self.ask(asking);
                return Ok(());
            }
            return Err(Box::new(asking));
        }
        if answer == Some(true) && !words.contains_any(WRONG) {
            // A "yes" into the first words of the read-back confirms nothing: most of it was not heard.
            if asking.cut_short {
                self.ask(asking);
                return Ok(());
            }
            self.confirmed = true;
            self.go_on_from(asking.node);
            return Ok(());
        }
        if wrong {
            match slots.as_slice() {
                [only] => self.reask(std::slice::from_ref(only)),
                _ => {
                    asking.aim = Aim::Which;
                    asking.attempts = 0;
                    self.ask(asking);
                }
            }
            return Ok(());
        }
        Err(Box::new(asking))
    }
}
