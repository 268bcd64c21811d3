//! One conversation: happenings go in, effects come out.
//!
//! ```text
//!            CallStarted
//!                 v
//!   walk nodes until one waits ---> Asking ----> (words, digits, silence) ---> walk on
//!                 |                   ^  \-----> Classifying --> (ranking) ---/
//!                 |                   |
//!                 +--> CallingTool ---+   (result or failure edge)
//!                 +--> Thinking ------+   (a language model's answer; back again from CallingTool)
//!                 +--> Conversing ----+   (a speech-to-speech model has the call)
//!                 +--> Transferring --+   (only when it fails)
//!                 +--> Over
//! ```
//!
//! After every input exactly one of `Listen`, `Classify`, `CallTool`, `Think`, `Converse`, `Transfer` and `Hangup` is
//! outstanding (and beside `Converse` perhaps a `CallTool`), so that a call can never hang in silence.

mod approve;
mod ask;
mod confirm;
mod converse;
mod dialogue;
mod failure;
mod memory;
mod model_tools;
mod realtime;
mod route;
mod understand;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use memory::{Memory, Speaker, Turn};

use super::effect::{CollectDigits, Effect, Expect, Listen, Note, RequestId, UtteranceId};
use super::file::Agent;
use super::flow::{Body, Failure, Next, NodeIndex, part};
use super::input::{Input, ToolFailure};
use super::limits::{EXPECTED_PHRASE_BYTES, EXPECTED_PHRASES, STEPS_PER_INPUT};
use super::slot::{Choice, bounded};
use super::template::Scope;
use super::value::Kind;
use crate::base::Pii;
use converse::Talk;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller who asked for a moment may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often "one moment, please" is said while a tool runs and the caller talks.
const BUSY_LINES: u32 = 2;

/// One call's conversation. Pure and deterministic: the same inputs at the same times give the same effects.
///
/// Feed every happening to [`Conversation::handle`], then take effects with [`Conversation::poll_effect`]
/// until there are none.
#[derive(Debug)]
pub struct Conversation {
    agent: Arc<Agent>,
    key: String,
    state: State,
    memory: Memory,
    effects: VecDeque<Effect>,
    last_utterance: u32,
    last_request: u32,
    /// Lines of the agent's last turn, for "pardon?".
    said: Vec<String>,
    /// Nodes entered, latest last; each once.
    path: Vec<NodeIndex>,
    /// How often each node was entered.
    visits: BTreeMap<NodeIndex, u32>,
    /// How often each intent was answered.
    answers: BTreeMap<usize, u32>,
    /// Actions taken, so that the same action gets the same idempotency key.
    actions: Vec<(usize, String)>,
    turns: u32,
    task_done: bool,
    confirmed: bool,
    intents_down: bool,
    /// While a `converse` node has the call.
    talk: Option<Talk>,
    realtime_down: bool,
    /// Answers of a model since the caller spoke.
    rounds: u32,
    /// How often a tool's filler was said for a model.
    fillers: u32,
}

/// What the conversation is waiting for.
#[derive(Clone, Debug)]
enum State {
    /// The call.
    Idle,
    /// The caller.
    Asking(Asking),
    /// A ranking for what the caller said.
    Classifying { request: RequestId, asking: Asking, text: String, confidence: f32, among: Vec<usize> },
    /// A tool's answer.
    CallingTool { request: RequestId, node: NodeIndex, interruptions: u32 },
    /// A language model's answer.
    Thinking,
    /// Whatever a speech-to-speech model reports.
    Conversing,
    /// A transfer's outcome.
    Transferring { request: RequestId, node: NodeIndex },
    /// Nothing: the call has ended or is no longer ours.
    Over,
}

/// A question that is open.
#[derive(Clone, PartialEq, Debug)]
struct Asking {
    node: NodeIndex,
    aim: Aim,
    /// Failed attempts so far.
    attempts: u32,
    /// Those of them in which the caller was silent.
    silences: u32,
    /// The utterance that put the question, and whether too little of it was heard.
    utterance: UtteranceId,
    cut_short: bool,
}

/// What an answer is expected to be.
#[derive(Clone, PartialEq, Debug)]
enum Aim {
    /// Yes to a tool call that a model wants and that was read back.
    Approve,
    /// Yes to a read-back, or corrections.
    Confirm,
    /// Yes or no to "did you mean …?".
    Meant { intent: usize },
    /// One of the intents.
    Route,
    /// A slot's value.
    Slot(String),
    /// Yes or no to "did you say …?".
    Sure { slot: String, value: serde_json::Value, spoken: String },
    /// Anything, for a language model.
    Talk,
    /// Which of the slots read back is wrong.
    Which,
}

impl Asking {
    fn new(node: NodeIndex, aim: Aim) -> Self {
        Self { node, aim, attempts: 0, silences: 0, utterance: UtteranceId(0), cut_short: false }
    }
}

impl Conversation {
    /// A conversation of `agent`. `key` names the call in idempotency keys: unguessable and never used for
    /// another call.
    #[must_use]
    pub fn new(agent: Arc<Agent>, key: impl Into<String>) -> Self {
        let memory = Memory::new(&agent);
        Self {
            agent,
            key: key.into(),
            state: State::Idle,
            memory,
            effects: VecDeque::new(),
            last_utterance: 0,
            last_request: 0,
            said: Vec::new(),
            path: Vec::new(),
            visits: BTreeMap::new(),
            answers: BTreeMap::new(),
            actions: Vec::new(),
            turns: 0,
            task_done: false,
            confirmed: false,
            intents_down: false,
            talk: None,
            realtime_down: false,
            rounds: 0,
            fillers: 0,
        }
    }

    /// The next thing to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What has been said and learned so far.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// True once the call has ended or been handed over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes in something that happened at `now`. Inputs that answer nothing outstanding are ignored.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.memory.set_now(now);
        match input {
            Input::CallStarted { variables, local_time } => {
                if matches!(self.state, State::Idle) {
                    self.memory.start(variables, local_time, now);
                    let start = self.agent.start;
                    self.enter(start);
                }
            }
            Input::SpeechEnded { utterance, heard, complete } => self.speech_ended(utterance, &heard, complete),
            Input::RealtimeSaid { request, speaker, text } => self.realtime_said(request, speaker, text.expose()),
            _ if matches!(self.state, State::Idle | State::Over) => {}
            Input::CallerSaid { text, confidence } => {
                let text = bounded(text.expose()).to_owned();
                self.memory.caller_said(&text);
                self.caller_said(&text, if confidence.is_nan() { 0.0 } else { confidence.clamp(0.0, 1.0) });
            }
            Input::Digits(digits) => {
                self.memory.caller_typed(digits.expose().chars().count());
                self.interrupt_thinking();
                if !self.too_long() {
                    self.digits(digits.expose());
                }
            }
            Input::Silence if matches!(self.state, State::Conversing) => self.realtime_silent(),
            Input::Silence => {
                if !self.too_long()
                    && let State::Asking(asking) = self.state.clone()
                {
                    self.said.clear();
                    self.fail(asking, Failure::NoInput);
                }
            }
            Input::Classified { request, ranking } => self.classified(request, &ranking),
            Input::ToolFinished { request, outcome } => self.tool_finished(request, outcome),
            Input::TransferFinished { request, accepted, .. } => self.transfer_finished(request, accepted),
            Input::ProviderDown { stage, busy } => self.provider_down(stage, busy),
            Input::Thought { request, event } => self.thought(request, event),
            Input::RealtimeCall { request, call } => self.realtime_call(request, call),
            Input::RealtimeFailed { request } => self.realtime_failed(request),
        }
    }

    fn speech_ended(&mut self, utterance: UtteranceId, heard: &str, complete: bool) {
        let whole = self.memory.heard(utterance, heard, complete);
        if let State::Asking(asking) | State::Classifying { asking, .. } = &mut self.state
            && asking.utterance == utterance
            && !complete
        {
            asking.cut_short = whole.is_some_and(|length| heard.chars().count() * 2 < length);
        }
    }

    fn caller_said(&mut self, text: &str, confidence: f32) {
        self.interrupt_thinking();
        if self.too_long() {
            return;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(asking) => self.understand(asking, text, confidence),
            // The caller goes on while the first part is still being judged: judge both together.
            State::Classifying { asking, text: before, confidence: sure, .. } => {
                self.understand(asking, bounded(&format!("{before} {text}")), confidence.min(sure));
            }
            State::CallingTool { request, node, interruptions } => {
                self.state = State::CallingTool { request, node, interruptions: interruptions + 1 };
                if interruptions < BUSY_LINES {
                    self.fill_pause();
                }
            }
            other => self.state = other,
        }
    }

    /// Walks the graph from `node` until something has to be waited for.
    fn enter(&mut self, node: NodeIndex) {
        let mut at = Some(node);
        let mut steps = 0;
        while let Some(index) = at {
            steps += 1;
            let agent = Arc::clone(&self.agent);
            let Some(node) = agent.nodes.get(index).filter(|_| steps <= STEPS_PER_INPUT) else {
                // A circle of conditions that all hold: the check warned of it.
                self.give_up(index, "flow_circle");
                return;
            };
            self.leave_talk();
            self.note(Note::NodeEntered { node: node.id.clone() });
            self.path.retain(|known| *known != index);
            self.path.push(index);
            let visit = self.visits.entry(index).or_insert(0);
            *visit += 1;
            let visit = *visit - 1;
            if let Body::Say { say, interruptible, .. } = &node.body {
                // Words first: they may speak of what is cleared here.
                self.say_nth(say, visit, *interruptible, None);
            }
            for (name, expression) in &node.set {
                let value = agent.templates.value(expression, &self.facts(None, None)).unwrap_or_default();
                self.memory.set(&agent, name, value);
            }
            for name in &node.clear {
                self.memory.clear(name);
                self.confirmed = false;
            }
            self.task_done |= node.completes;
            at = match &node.body {
                Body::Say { next, .. } | Body::Decide { next } => Some(self.follow(next, None)),
                Body::Ask { slot, next, .. } if self.memory.has(slot) => Some(self.follow(next, None)),
                Body::Ask { slot, .. } => {
                    self.ask(Asking::new(index, Aim::Slot(slot.clone())));
                    None
                }
                Body::Confirm { slots, .. } => match self.first_unfit(slots) {
                    Some((slot, reason)) => {
                        self.reask_slot(index, &slot, reason);
                        None
                    }
                    None => {
                        self.ask(Asking::new(index, Aim::Confirm));
                        None
                    }
                },
                Body::Converse(converse) => {
                    self.start_talk(index, converse, visit);
                    None
                }
                Body::Route { .. } => {
                    self.ask(Asking::new(index, Aim::Route));
                    None
                }
                Body::Tool { tool, with, filler, .. } => self.call_tool(index, *tool, with, filler, visit),
                Body::Transfer { destination, say, context, reason } => {
                    self.say_nth(say, visit, true, None);
                    self.transfer(index, *destination, reason, context);
                    None
                }
                Body::Hangup { say, reason, completed, headers } => {
                    self.say_nth(say, visit, true, None);
                    let scope = self.speech(None);
                    let line = |source: &String| Pii::new(agent.templates.line(source, &scope).0);
                    let headers = headers.iter().map(|(name, source)| (name.clone(), line(source))).collect();
                    self.hang_up_with(reason, *completed, headers);
                    None
                }
            };
        }
    }

    /// The node an edge leads to.
    fn follow(&self, next: &Next, result: Option<&serde_json::Value>) -> NodeIndex {
        if next.when.is_empty() {
            return next.otherwise;
        }
        let scope = self.facts(result, None);
        next.when
            .iter()
            .find(|(condition, _)| self.agent.templates.holds(condition, &scope))
            .map_or(next.otherwise, |(_, target)| *target)
    }

    // ── tools, transfer, end ──

    /// Starts a tool. When its arguments cannot be made, its failure edge is the way on.
    fn call_tool(
        &mut self,
        node: NodeIndex,
        tool: usize,
        with: &[(String, String)],
        filler: &[String],
        visit: u32,
    ) -> Option<NodeIndex> {
        let agent = Arc::clone(&self.agent);
        let definition = agent.tools.get(tool)?;
        let scope = self.facts(None, None);
        let mut arguments = serde_json::Map::new();
        for (name, expression) in with {
            let value = agent.templates.value(expression, &scope).unwrap_or_default();
            let Some(argument) = definition.argument(name) else { continue };
            if value.is_null() && !argument.required {
                continue;
            }
            if !argument.kind.admits(&value) {
                let failure = ToolFailure::new("not_allowed", format!("argument `{name}` is no {}", argument.kind));
                return self.tool_failed(node, failure);
            }
            arguments.insert(name.clone(), value);
        }
        self.say_nth(filler, visit, true, None);
        let request = self.run_tool(tool, definition.id.clone(), arguments, self.confirmed);
        self.state = State::CallingTool { request, node, interruptions: 0 };
        None
    }

    fn run_tool(
        &mut self,
        tool: usize,
        id: String,
        arguments: serde_json::Map<String, serde_json::Value>,
        confirmed: bool,
    ) -> RequestId {
        let action = serde_json::Value::from(arguments.clone()).to_string();
        let number = match self.actions.iter().position(|known| known.0 == tool && known.1 == action) {
            Some(number) => number,
            None => {
                self.actions.push((tool, action));
                self.actions.len() - 1
            }
        };
        let request = self.next_request();
        let idempotency_key = format!("{}-{}", self.key, number + 1);
        let arguments = Pii::new(arguments);
        self.effects.push_back(Effect::CallTool { request, tool: id, arguments, idempotency_key, confirmed });
        request
    }

    fn tool_finished(&mut self, request: RequestId, outcome: Result<serde_json::Value, ToolFailure>) {
        if self.talk.as_ref().is_some_and(|talk| talk.is_running(request)) {
            return self.model_tool_finished(outcome);
        }
        let State::CallingTool { request: expected, node, .. } = self.state else { return };
        if expected != request {
            return;
        }
        let agent = Arc::clone(&self.agent);
        let Some(Body::Tool { result, next, .. }) = agent.nodes.get(node).map(|node| &node.body) else { return };
        let next = match outcome {
            Ok(answer) => match self.take_result(result, &answer) {
                Ok(()) => Some(self.follow(next, Some(&answer))),
                Err(failure) => self.tool_failed(node, failure),
            },
            Err(failure) => self.tool_failed(node, failure),
        };
        if let Some(next) = next {
            self.enter(next);
        }
    }

    /// Fills variables from an answer; all or none.
    fn take_result(&mut self, mapping: &[(String, String)], answer: &serde_json::Value) -> Result<(), ToolFailure> {
        let agent = Arc::clone(&self.agent);
        let mut values = Vec::new();
        for (name, pointer) in mapping {
            let kind = agent.variable(name).map_or(Kind::Any, |variable| variable.kind);
            let value = part(answer, pointer).cloned().map(|value| memory::shaped(kind, value));
            match value.filter(|value| kind.admits(value)) {
                Some(value) => values.push((name, value)),
                None => {
                    let detail = format!("the answer holds no {kind} at `{pointer}`");
                    return Err(ToolFailure::new("bad_answer", detail));
                }
            }
        }
        for (name, value) in values {
            self.memory.set(&agent, name, value);
        }
        Ok(())
    }

    /// Goes the way of a tool's failure; `Some` is the next node.
    fn tool_failed(&mut self, node: NodeIndex, failure: ToolFailure) -> Option<NodeIndex> {
        let agent = Arc::clone(&self.agent);
        let Some(Body::Tool { failures, .. }) = agent.nodes.get(node).map(|node| &node.body) else { return None };
        self.note_failure("tool_error", node);
        let by_kind = failures.iter().find(|(kind, _)| *kind == failure.kind);
        let body = failure.body.unwrap_or_default();
        // An edge that cannot read what it needs is no help: the general one is.
        let edge = by_kind
            .filter(|(_, edge)| self.take_result(&edge.result, &body).is_ok())
            .or_else(|| failures.iter().find(|(kind, _)| kind == "error"));
        let Some((_, edge)) = edge else {
            self.respond(&Asking::new(node, Aim::Route), Failure::RetriesUsedUp, 0);
            return None;
        };
        self.carry_out(node, &edge.handler, 0, "tool_error")
    }

    fn transfer(&mut self, node: NodeIndex, destination: usize, reason: &str, only: &[String]) {
        self.leave_talk();
        let agent = Arc::clone(&self.agent);
        let Some(destination) = agent.destinations.get(destination) else {
            self.hang_up("no_destination", None);
            return;
        };
        let context = self.memory.hand_over(&agent, reason, only);
        let request = self.next_request();
        let announcement = destination.announce.as_ref();
        let announcement = announcement.map(|source| Pii::new(agent.templates.line(source, &self.speech(None)).0));
        self.effects.push_back(Effect::Transfer {
            request,
            destination: destination.id.clone(),
            context: Pii::new(context),
            announcement: announcement.filter(|words| !words.expose().trim().is_empty()),
        });
        self.state = State::Transferring { request, node };
    }

    fn transfer_finished(&mut self, request: RequestId, accepted: bool) {
        let State::Transferring { request: expected, node } = self.state else { return };
        if expected != request {
            return;
        }
        if accepted {
            self.state = State::Over;
            return;
        }
        self.respond(&Asking::new(node, Aim::Route), Failure::TransferFailed, 0);
    }

    fn hang_up(&mut self, reason: &str, completed: Option<bool>) {
        self.hang_up_with(reason, completed, Vec::new());
    }

    fn hang_up_with(&mut self, reason: &str, completed: Option<bool>, headers: Vec<(String, Pii<String>)>) {
        self.leave_talk();
        let completed = completed.unwrap_or(self.task_done);
        self.effects.push_back(Effect::Hangup { reason: reason.to_owned(), completed, headers });
        self.state = State::Over;
    }

    // ── speaking and listening ──

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn note(&mut self, note: Note) {
        self.effects.push_back(Effect::Note(note));
    }

    fn note_failure(&mut self, kind: &'static str, node: NodeIndex) {
        let node = self.agent.nodes.get(node).map(|node| node.id.clone()).unwrap_or_default();
        self.note(Note::FailureHandled { kind, node });
    }

    /// Says the n-th wording of a line, the last one when there are fewer.
    fn say_nth(
        &mut self,
        wordings: &[String],
        n: u32,
        interruptible: bool,
        heard: Option<&str>,
    ) -> Option<UtteranceId> {
        let index = usize::try_from(n).unwrap_or(usize::MAX).min(wordings.len().checked_sub(1)?);
        let source = wordings.get(index)?;
        let agent = Arc::clone(&self.agent);
        let (text, whole) = agent.templates.line(source, &self.speech(heard));
        if !whole {
            let node = String::new();
            self.note(Note::FailureHandled { kind: "unset_variable", node });
        }
        // A line without anything to fill in.
        let fixed = !source.contains("{{") && !source.contains("{%");
        self.speak_line(&text, interruptible, fixed)
    }

    /// Says finished text of this call.
    fn speak(&mut self, text: &str, interruptible: bool) -> Option<UtteranceId> {
        self.speak_line(text, interruptible, false)
    }

    fn speak_line(&mut self, text: &str, interruptible: bool, fixed: bool) -> Option<UtteranceId> {
        let utterance = self.utter(text, interruptible, fixed)?;
        // What is said while a tool runs is no part of what a model has to know.
        if !matches!(self.state, State::CallingTool { .. }) {
            self.memory.dialogue.agent(Some(utterance), text);
        }
        Some(utterance)
    }

    /// "One moment, please", which a model does not have to know of either.
    fn fill_pause(&mut self) {
        let busy = self.agent.phrases.busy.clone();
        self.utter(&busy, true, false);
    }

    fn utter(&mut self, text: &str, interruptible: bool, fixed: bool) -> Option<UtteranceId> {
        if text.is_empty() {
            return None;
        }
        self.last_utterance += 1;
        let utterance = UtteranceId(self.last_utterance);
        self.memory.agent_says(utterance, text);
        self.said.push(text.to_owned());
        self.effects.push_back(Effect::Speak { utterance, text: text.to_owned(), interruptible, fixed });
        Some(utterance)
    }

    /// Puts the question and waits for the caller.
    fn ask(&mut self, mut asking: Asking) {
        if asking.aim == Aim::Talk {
            return self.let_caller_talk(asking);
        }
        let agent = Arc::clone(&self.agent);
        let question = agent.nodes.get(asking.node).and_then(|node| node.question());
        let wordings = question.map(|q| q.wordings.as_slice()).unwrap_or_default();
        let spoken = match &asking.aim {
            Aim::Approve => self.read_back(),
            Aim::Slot(_) | Aim::Route | Aim::Confirm | Aim::Talk => self.say_nth(wordings, asking.attempts, true, None),
            Aim::Sure { spoken, .. } => {
                let heard = spoken.clone();
                self.say_nth(std::slice::from_ref(&agent.phrases.sure), 0, true, Some(&heard))
            }
            Aim::Meant { intent } => {
                let label = agent.intents.get(*intent).map(|intent| intent.label.clone()).unwrap_or_default();
                self.say_nth(std::slice::from_ref(&agent.phrases.did_you_mean), 0, true, Some(&label))
            }
            Aim::Which => match agent.nodes.get(asking.node).map(|node| &node.body) {
                Some(Body::Confirm { which, .. }) if !which.is_empty() => {
                    self.say_nth(which, asking.attempts, true, None)
                }
                _ => self.say_nth(std::slice::from_ref(&agent.phrases.which), 0, true, None),
            },
        };
        asking.utterance = spoken.unwrap_or_default();
        asking.cut_short = false;
        let wait = question.map_or(7_000, |q| q.no_input_ms);
        self.listen(asking, Duration::from_millis(wait));
    }

    fn listen(&mut self, asking: Asking, no_input: Duration) {
        let (expect, digits) = self.expectation(&asking);
        let phrases = self.expected_phrases(&asking);
        self.effects.push_back(Effect::Listen(Listen { expect, no_input, digits, phrases }));
        self.state = State::Asking(asking);
    }

    /// What options are called that may be named in the answer.
    fn expected_phrases(&self, asking: &Asking) -> Vec<String> {
        let names: Vec<&str> = match (&asking.aim, self.agent.nodes.get(asking.node).map(|node| &node.body)) {
            (Aim::Slot(name), _) => vec![name],
            (Aim::Route, Some(Body::Route { listen_for, .. })) => listen_for.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let choices = names.iter().filter_map(|name| self.agent.variable(name)).flat_map(|variable| &variable.choices);
        let mut phrases: Vec<String> = Vec::new();
        for phrase in choices.flat_map(Choice::words) {
            if phrases.len() == EXPECTED_PHRASES {
                break;
            }
            if phrase.len() <= EXPECTED_PHRASE_BYTES && !phrases.iter().any(|known| known == phrase) {
                phrases.push(phrase.to_owned());
            }
        }
        phrases
    }

    /// What turn-taking should expect.
    fn expectation(&self, asking: &Asking) -> (Expect, Option<CollectDigits>) {
        let keys = |max: usize, terminator: Option<char>| {
            Some(CollectDigits { max, terminator, between_keys: Duration::from_secs(3) })
        };
        match &asking.aim {
            Aim::Approve | Aim::Confirm | Aim::Meant { .. } | Aim::Sure { .. } => (Expect::YesNo, keys(1, None)),
            Aim::Talk => (Expect::Open, keys(15, Some('#'))),
            Aim::Which => (Expect::Open, None),
            Aim::Route => {
                let has_keys = matches!(
                    self.agent.nodes.get(asking.node).map(|node| &node.body),
                    Some(Body::Route { keys, .. }) if !keys.is_empty()
                );
                (Expect::Open, if has_keys { keys(1, None) } else { None })
            }
            Aim::Slot(name) => {
                let variable = self.agent.variable(name);
                match variable.map_or(Kind::Any, |variable| variable.kind) {
                    Kind::Choice => (Expect::Choice, keys(1, None)),
                    Kind::Date => (Expect::Date, keys(4, Some('#'))),
                    Kind::Name => (Expect::Name, None),
                    Kind::Number => (Expect::Number, keys(10, Some('#'))),
                    Kind::PhoneNumber => (Expect::PhoneNumber, keys(15, Some('#'))),
                    Kind::Time => (Expect::Time, keys(4, Some('#'))),
                    Kind::YesNo => (Expect::YesNo, keys(1, None)),
                    Kind::Any | Kind::List | Kind::Text => (Expect::Open, None),
                }
            }
        }
    }

    /// Variables as spoken lines see them.
    fn speech(&self, heard: Option<&str>) -> Scope {
        let mut scope = self.memory.speech(&self.agent);
        if let Some(heard) = heard {
            scope.put("heard", heard);
            scope.put("label", heard);
            scope.put("reason", heard);
        }
        scope
    }

    /// Variables as conditions see them.
    fn facts(&self, result: Option<&serde_json::Value>, error: Option<&str>) -> Scope {
        let mut scope = self.memory.facts(&self.agent);
        if let Some(result) = result {
            scope.put("result", result);
        }
        if let Some(error) = error {
            scope.put("error", error);
        }
        scope
    }
}
