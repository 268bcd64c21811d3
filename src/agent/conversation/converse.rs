//! A `converse` node: a language model finds the words, the conversation keeps the reins.
//!
//! ```text
//! caller's words ──> Think ──> sentences ──> Speak, each at once
//!        ^             ^  \──> tool calls ──> run one after the other (`model_tools.rs`), then Think again
//!        └── Listen <──┴────── the answer is whole
//! ```
//!
//! Whatever the caller says meanwhile stops the answer; what was heard of it stays in the history.

use super::model_tools::{Approval, Running};
use super::{Aim, Asking, Conversation, State};
use crate::agent::command::Command;
use crate::agent::effect::{Effect, RequestId};
use crate::agent::flow::{Body, Converse, Failure, NodeIndex};
use crate::agent::input::ThoughtEvent;
use crate::agent::limits::{ANSWER_CHARS, MODEL_CALLS, MODEL_MISTAKES, MODEL_RETRIES, MODEL_ROUNDS};
use crate::agent::offer;
use crate::agent::slot::{self, Focus, Words};
use crate::base::Pii;
use crate::base::chat::{Finish, Prompt, ToolCall, ToolSpec};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Words that surely end a call. "That's all" may answer the model's question as well.
const FAREWELL: &[&str] =
    &["bye", "goodbye", "good bye", "bye bye", "hang up", "end the call", "see you", "talk to you later"];

/// A stay in a `converse` node.
#[derive(Debug)]
pub(super) struct Talk {
    /// The node, and its failed attempts.
    pub(super) asking: Asking,
    /// Filled in once, so that the vendor finds in its cache what it has read before.
    pub(super) instructions: Pii<String>,
    pub(super) specs: Vec<ToolSpec>,
    pub(super) channel: Channel,
    /// Turns of the caller.
    pub(super) turns: u32,
    /// Unusable calls in a row.
    pub(super) mistakes: u32,
    /// Answers in a row that failed on the way.
    pub(super) failures: u32,
    pub(super) answer: Answer,
    /// Calls still to be run.
    pub(super) calls: VecDeque<ToolCall>,
    pub(super) running: Option<Running>,
    pub(super) approval: Option<Approval>,
    /// The action that the caller has said yes to and that has not succeeded yet.
    pub(super) approved: Option<Pii<(usize, String)>>,
    /// What was to be said first in a speech-to-speech session of which nothing was heard yet.
    pub(super) first: Option<(Option<String>, bool)>,
}

/// Who has the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Channel {
    /// The conversation.
    Own,
    /// The conversation, and a model thinks about an answer.
    Thinking(RequestId),
    /// A speech-to-speech model.
    Live(RequestId),
}

/// What came of the model's present answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    chars: usize,
    /// Something was said since the caller or a tool had the last word.
    pub(super) spoke: bool,
    /// One of its calls failed.
    pub(super) failed: bool,
}

impl Talk {
    pub(super) fn is_running(&self, request: RequestId) -> bool {
        self.running.as_ref().is_some_and(|running| running.request == request)
    }

    pub(super) fn node(&self) -> NodeIndex {
        self.asking.node
    }
}

/// Whether the model answers what elsewhere is a request to the conversation itself.
pub(super) fn is_for_model(command: Command, words: &Words<'_>, said_nothing: bool) -> bool {
    match command {
        Command::Greeting | Command::Help => true,
        Command::Goodbye => !words.contains_any(FAREWELL),
        Command::Repeat => said_nothing,
        Command::Human | Command::Wait => false,
    }
}

impl Conversation {
    /// Enters a `converse` node.
    pub(super) fn start_talk(&mut self, node: NodeIndex, converse: &Converse, visit: u32) {
        let agent = Arc::clone(&self.agent);
        let scope = self.speech(None);
        let (mut instructions, whole) = agent.templates.instructions(&converse.prompt, &scope);
        if !whole {
            self.note_failure("unset_variable", node);
        }
        let manners = agent.templates.instructions(&agent.phrases.telephone, &scope).0;
        instructions = format!("{instructions}\n\n{manners}");
        let asking = Asking::new(node, Aim::Talk);
        self.talk = Some(Talk {
            asking: asking.clone(),
            instructions: Pii::new(instructions),
            specs: offer::specs(&agent, converse),
            channel: Channel::Own,
            turns: 0,
            mistakes: 0,
            failures: 0,
            answer: Answer::default(),
            calls: VecDeque::new(),
            running: None,
            approval: None,
            approved: None,
            first: None,
        });
        let n = usize::try_from(visit).unwrap_or(usize::MAX).min(converse.opening.len().saturating_sub(1));
        let opening = converse.opening.get(n).map(|source| agent.templates.line(source, &scope).0);
        let opening = opening.filter(|line| !line.is_empty());
        // A caller who has just spoken is answered, not waited for.
        let speak_first = opening.is_none() && (converse.speak_first || self.memory.dialogue.awaits_agent());
        if self.wants_realtime() {
            return self.go_live(opening, speak_first);
        }
        self.begin_talk(opening, speak_first);
    }

    /// The first words of a node, or the first silence.
    pub(super) fn begin_talk(&mut self, opening: Option<String>, speak_first: bool) {
        let Some(asking) = self.talk.as_ref().map(|talk| talk.asking.clone()) else { return };
        if speak_first {
            return self.think();
        }
        if let Some(line) = opening {
            self.speak(&line, true);
        }
        self.ask(asking);
    }

    /// Waits for the caller, in whichever way this call talks.
    pub(super) fn let_caller_talk(&mut self, asking: Asking) {
        let Some(talk) = &mut self.talk else { return self.give_up(asking.node, "no_conversation") };
        talk.asking = asking.clone();
        if self.wants_realtime() {
            return self.go_live(None, false);
        }
        let wait = self.agent.nodes.get(asking.node).and_then(|node| node.question()).map_or(7_000, |q| q.no_input_ms);
        self.listen(asking, Duration::from_millis(wait));
    }

    /// The caller's words go to the model.
    pub(super) fn answer_talk(&mut self, asking: Asking, text: &str) {
        if self.count_turn(text) {
            return self.respond(&asking, Failure::RetriesUsedUp, 0);
        }
        if let Some(talk) = &mut self.talk {
            talk.asking = asking;
        }
        self.think();
    }

    /// Counts a turn of the caller and takes variables out of it; true when it is one too many.
    pub(super) fn count_turn(&mut self, text: &str) -> bool {
        let agent = Arc::clone(&self.agent);
        let Some(talk) = &mut self.talk else { return false };
        let Some(Body::Converse(converse)) = agent.nodes.get(talk.node()).map(|node| &node.body) else { return false };
        self.rounds = 0;
        talk.turns += 1;
        talk.mistakes = 0;
        talk.answer.spoke = false;
        if talk.turns > converse.max_turns {
            return true;
        }
        let mut words = Words::new(text);
        for variable in super::ask::in_order(&agent, converse.listen_for.iter()) {
            let Some(found) = slot::find(&words, &self.grammar(&agent, variable), Focus::Volunteered) else { continue };
            words.mask(&found.span);
            // The model hears the caller too: what cannot be accepted is left to it.
            if found.confidence >= agent.confirm_below && self.check_value(variable, &found).is_ok() {
                self.fill(variable, &found, false);
            }
        }
        false
    }

    /// Digits from the keypad go to the model as they are.
    pub(super) fn typed_to_model(&mut self, asking: Asking, digits: &str) {
        self.memory.dialogue.caller(&format!("(on the keypad: {digits})"));
        self.answer_talk(asking, "");
    }

    /// Asks the model for its answer to all that was said.
    pub(super) fn think(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        self.rounds += 1;
        let asking = talk.asking.clone();
        if self.rounds > MODEL_ROUNDS || talk.mistakes > MODEL_MISTAKES {
            return self.respond(&asking, Failure::RetriesUsedUp, 0);
        }
        self.memory.dialogue.cue();
        let prompt = Prompt {
            instructions: talk.instructions.expose().clone(),
            messages: self.memory.dialogue.messages(),
            tools: talk.specs.clone(),
            output_tokens_max: self.agent.speech.llm.as_ref().and_then(|llm| llm.max_tokens).unwrap_or(0),
        };
        talk.answer = Answer { spoke: talk.answer.spoke, ..Answer::default() };
        talk.calls.clear();
        self.last_request += 1;
        let request = RequestId(self.last_request);
        talk.channel = Channel::Thinking(request);
        self.effects.push_back(Effect::Think { request, prompt: Pii::new(prompt) });
        self.state = State::Thinking;
    }

    /// A part of the model's answer.
    pub(super) fn thought(&mut self, request: RequestId, event: ThoughtEvent) {
        let Some(talk) = self.talk.as_mut().filter(|talk| talk.channel == Channel::Thinking(request)) else { return };
        match event {
            ThoughtEvent::Speech(text) => {
                let text = text.expose().trim();
                talk.answer.chars += text.chars().count();
                if talk.answer.chars > ANSWER_CHARS {
                    self.effects.push_back(Effect::StopThinking { request });
                    return self.answer_ended(Finish::Length);
                }
                talk.answer.spoke |= !text.is_empty();
                self.speak(text, true);
            }
            ThoughtEvent::Call(call) if talk.calls.len() < MODEL_CALLS => talk.calls.push_back(call),
            ThoughtEvent::Call(_) => {}
            ThoughtEvent::Finished(finish) => self.answer_ended(finish),
            ThoughtEvent::Failed { kind, retryable } => {
                talk.channel = Channel::Own;
                talk.calls.clear();
                talk.failures += 1;
                let (asking, again) = (talk.asking.clone(), retryable && talk.failures <= MODEL_RETRIES);
                let spoke = talk.answer.spoke;
                self.note_failure(kind, asking.node);
                if again {
                    // The caller, who may have waited for as long as a model is given, hears that the call is there.
                    if !spoke {
                        self.fill_pause();
                    }
                    return self.think();
                }
                self.respond(&asking, Failure::ProviderDown, 0);
            }
        }
    }

    fn answer_ended(&mut self, finish: Finish) {
        let Some(talk) = &mut self.talk else { return };
        talk.channel = Channel::Own;
        talk.failures = 0;
        let asking = talk.asking.clone();
        if matches!(finish, Finish::Refused | Finish::Filtered) {
            return self.fail(asking, Failure::ModelRefused);
        }
        if !talk.calls.is_empty() {
            for call in &talk.calls {
                self.memory.dialogue.call(call.clone());
            }
            return self.run_calls();
        }
        if talk.answer.spoke {
            return self.ask(Asking::new(asking.node, Aim::Talk));
        }
        self.fail(asking, Failure::NoMatch);
    }

    /// The caller has the floor: an answer that is still being thought of is given up.
    pub(super) fn interrupt_thinking(&mut self) {
        if !matches!(self.state, State::Thinking) {
            return;
        }
        self.hush();
        if let Some(talk) = &self.talk {
            self.state = State::Asking(talk.asking.clone());
        }
    }

    /// Takes the call back from the model, without leaving its node.
    pub(super) fn hush(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        let effect = match std::mem::replace(&mut talk.channel, Channel::Own) {
            Channel::Own => return,
            Channel::Thinking(request) => Effect::StopThinking { request },
            Channel::Live(request) => Effect::EndConverse { request },
        };
        talk.calls.clear();
        self.effects.push_back(effect);
    }

    /// Ends the stay in a `converse` node, if there is one.
    pub(super) fn leave_talk(&mut self) {
        self.hush();
        self.talk = None;
    }
}
