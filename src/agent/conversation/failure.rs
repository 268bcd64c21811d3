//! When something goes wrong: every failure meets the response that the agent file defines.

use super::{Aim, Asking, Conversation, State};
use crate::agent::flow::{Failure, Handler, NodeIndex, Then};
use std::sync::Arc;
use std::time::Duration;

/// Times in a row that a busy engine is waited for before the call counts as one without it.
const BUSY_RETRIES: u32 = 3;

impl Conversation {
    /// A failed attempt at a question: counts it and responds, or gives up when the retries are used up.
    pub(super) fn fail(&mut self, mut asking: Asking, failure: Failure) {
        let attempts = asking.attempts;
        asking.attempts += 1;
        asking.silences += u32::from(failure == Failure::NoInput);
        let retries = self.agent.nodes.get(asking.node).and_then(|node| node.question()).map_or(1, |q| q.retries);
        if asking.attempts >= retries.max(1) {
            let silent = asking.silences == asking.attempts;
            let last = if silent { Failure::CallerSilent } else { Failure::RetriesUsedUp };
            self.note_failure(failure.name(), asking.node);
            self.respond(&asking, last, 0);
            return;
        }
        self.respond(&asking, failure, attempts);
    }

    /// Carries out the response to a failure; `n` counts how often it came in a row.
    pub(super) fn respond(&mut self, asking: &Asking, failure: Failure, n: u32) {
        let agent = Arc::clone(&self.agent);
        self.hush();
        self.note_failure(failure.name(), asking.node);
        let Some(handler) = agent.response(asking.node, failure) else {
            self.hang_up(failure.name(), None);
            return;
        };
        if handler.then == Then::AskAgain {
            self.say_nth(&handler.say, n, true, None);
            self.ask_again(asking.clone());
            return;
        }
        // A response of a node that leads back to the same failing node for ever ends here.
        if let Some(next) = self.carry_out(asking.node, handler, n, failure.name()) {
            self.enter(next);
        }
    }

    /// Says a response's words and goes its way; `Some` is the next node.
    pub(super) fn carry_out(&mut self, node: NodeIndex, handler: &Handler, n: u32, reason: &str) -> Option<NodeIndex> {
        self.say_nth(&handler.say, n, true, None);
        match &handler.then {
            Then::Go(target) => return Some(*target),
            Then::Hangup(reason) => self.hang_up(reason, None),
            Then::Transfer(destination) => self.transfer(node, *destination, reason, &[]),
            // Only questions can be asked again; a tool's failure edge always leads on.
            Then::AskAgain => self.hang_up(reason, None),
        }
        None
    }

    /// Ends the conversation for good: hands it over where `retries_used_up` would, hangs up otherwise.
    pub(super) fn give_up(&mut self, node: NodeIndex, reason: &str) {
        let agent = Arc::clone(&self.agent);
        self.hush();
        self.note_failure(Failure::RetriesUsedUp.name(), node);
        let handler = agent.response(node, Failure::RetriesUsedUp);
        if let Some(handler) = handler {
            self.say_nth(&handler.say, 0, true, None);
        }
        match handler.map(|handler| &handler.then) {
            Some(Then::Transfer(destination)) => self.transfer(node, *destination, reason, &[]),
            _ => self.hang_up(reason, None),
        }
    }

    /// Puts the open question again. A question that grew out of the node's own ("did you say …?") falls
    /// back to the node's own once it has failed.
    pub(super) fn ask_again(&mut self, mut asking: Asking) {
        if asking.attempts > 0 {
            match asking.aim {
                Aim::Sure { ref slot, .. } => asking.aim = Aim::Slot(slot.clone()),
                Aim::Meant { .. } => asking.aim = Aim::Route,
                _ => {}
            }
        }
        self.ask(asking);
    }

    pub(super) fn provider_down(&mut self, stage: &str, busy: bool) {
        let asking = match &self.state {
            // What hears and speaks there is neither of our engines.
            State::Conversing => return,
            State::Thinking => match &self.talk {
                Some(talk) => talk.asking.clone(),
                None => return,
            },
            State::Asking(asking) | State::Classifying { asking, .. } => asking.clone(),
            State::CallingTool { node, .. } | State::Transferring { node, .. } => Asking::new(*node, Aim::Route),
            State::Idle | State::Over => return,
        };
        if stage == "intents" {
            // Key phrases still work; only likeness of meaning is gone.
            self.intents_down = true;
            if let State::Classifying { asking, text, confidence, .. } = self.state.clone() {
                self.understand(asking, &text, confidence);
            }
            return;
        }
        if matches!(self.state, State::Transferring { .. }) {
            // A human is about to take over, which is the best response there is.
            return;
        }
        if busy && matches!(self.state, State::Asking(_)) && asking.attempts < BUSY_RETRIES {
            self.note_failure("provider_busy", asking.node);
            let line = self.agent.phrases.busy.clone();
            self.say_nth(std::slice::from_ref(&line), 0, true, None);
            let mut asking = asking;
            asking.attempts += 1;
            self.listen(asking, Duration::from_secs(7));
            return;
        }
        if busy && matches!(self.state, State::CallingTool { .. } | State::Thinking) {
            return;
        }
        self.respond(&asking, Failure::ProviderDown, 0);
    }
}
