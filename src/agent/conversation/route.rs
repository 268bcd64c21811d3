//! Going where the caller wants to go.

use super::{Aim, Asking, Conversation};
use crate::agent::flow::{Body, Failure};
use crate::agent::slot::{Words, yes_no};
use std::sync::Arc;

impl Conversation {
    /// Goes where an intent leads from here, taking along what else the caller said.
    pub(super) fn follow_intent(&mut self, asking: Asking, intent: usize, text: &str) {
        let agent = Arc::clone(&self.agent);
        let listed = match agent.nodes.get(asking.node).map(|node| &node.body) {
            Some(Body::Route { intents, .. }) => {
                intents.iter().find(|(known, _)| *known == intent).map(|(_, target)| *target)
            }
            _ => None,
        };
        match listed.or_else(|| agent.intents.get(intent).and_then(|intent| intent.next)) {
            Some(target) => {
                self.volunteered(&asking, "", text, None);
                self.enter(target);
            }
            None => self.fail(asking, Failure::OutOfScope),
        }
    }

    /// An utterance at a route without any key phrase: what else it says is kept, the rest must be judged.
    pub(super) fn answer_route(&mut self, asking: Asking, text: &str) -> Result<(), Box<Asking>> {
        self.volunteered(&asking, "", text, None);
        Err(Box::new(asking))
    }

    /// The answer to "did you mean …?".
    pub(super) fn answer_meant(&mut self, mut asking: Asking, intent: usize, text: &str) -> Result<(), Box<Asking>> {
        match yes_no::find(&Words::new(text)) {
            Some((true, ..)) => {
                asking.aim = Aim::Route;
                let before = self.memory.take_uncertain();
                self.act(asking, intent, &before);
                Ok(())
            }
            Some((false, ..)) => {
                asking.aim = Aim::Route;
                asking.attempts += 1;
                self.ask(asking);
                Ok(())
            }
            None => {
                asking.aim = Aim::Route;
                Err(Box::new(asking))
            }
        }
    }
}
