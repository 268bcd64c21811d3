//! Tool calls of a model, one after the other. Names come from closed lists and arguments are checked against their
//! kinds; what is wrong goes back to the model with what would be right.

use super::ask::{SURELY, in_order};
use super::converse::Channel;
use super::memory::shaped;
use super::{Aim, Asking, Conversation, State};
use crate::agent::Agent;
use crate::agent::effect::{Effect, RequestId};
use crate::agent::flow::{Body, Converse, ModelTool, NodeIndex};
use crate::agent::input::ToolFailure;
use crate::agent::limits::{ARGUMENT_CHARS, TOOL_ANSWER_CHARS, TOOL_NAME_CHARS};
use crate::agent::offer::{EXIT_PREFIX, REMEMBER, form};
use crate::agent::slot::{self, Choice, Focus, Found, Grammar, Words, bounded};
use crate::agent::speak;
use crate::agent::tool::ToolDefinition;
use crate::agent::value::Kind;
use crate::base::Pii;
use crate::base::chat::ToolCall;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A tool that runs for a model.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) request: RequestId,
    /// The model's call.
    pub(super) call: Call,
    pub(super) tool: usize,
}

/// What of a call its answer needs.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// The speech-to-speech session that made it.
    pub(super) session: Option<RequestId>,
}

/// A tool call that waits for the caller's yes.
#[derive(Debug)]
pub(super) struct Approval {
    pub(super) call: Call,
    pub(super) tool: usize,
    pub(super) arguments: Pii<Map<String, Value>>,
}

/// What came of a call.
enum Verdict {
    /// Answered at once.
    Answer { content: String, failed: bool },
    /// Cannot be used as it is; the sentence says what would be right.
    Mistake(String),
    /// The conversation goes on elsewhere.
    Exit(NodeIndex),
    /// A tool may run.
    Run { offered: usize, arguments: Map<String, Value> },
}

impl Conversation {
    /// Runs the calls of the present answer, until one has to be waited for. Then the model thinks again.
    pub(super) fn run_calls(&mut self) {
        let agent = Arc::clone(&self.agent);
        loop {
            let Some(talk) = self.talk.as_mut().filter(|talk| talk.running.is_none()) else { return };
            let Some(Body::Converse(converse)) = agent.nodes.get(talk.node()).map(|node| &node.body) else { return };
            let Some(call) = talk.calls.pop_front() else { break };
            let session = match talk.channel {
                Channel::Live(request) => Some(request),
                Channel::Own | Channel::Thinking(_) => None,
            };
            let name = Call { id: call.id.clone(), name: call.name.clone(), session };
            match self.judge(&agent, converse, &call) {
                Verdict::Answer { content, failed } => self.answer_call(&name, &content, failed),
                Verdict::Mistake(what) => {
                    if let Some(talk) = &mut self.talk {
                        talk.mistakes += 1;
                    }
                    self.answer_call(&name, &json!({"error": what}).to_string(), true);
                }
                Verdict::Exit(target) => {
                    self.memory.dialogue.answer(&name.id, "{}", false);
                    return self.enter(target);
                }
                Verdict::Run { offered, arguments } => {
                    let Some(offered) = converse.tools.get(offered) else { continue };
                    if self.must_approve(offered.tool, &arguments) {
                        return self.seek_approval(name, offered.tool, arguments);
                    }
                    return self.run_model_tool(offered, name, arguments);
                }
            }
        }
        self.go_on_talking();
    }

    /// All calls are answered: the model says what comes of it.
    pub(super) fn go_on_talking(&mut self) {
        let Some(talk) = &self.talk else { return };
        match talk.channel {
            Channel::Live(_) => self.state = State::Conversing,
            _ if self.wants_realtime() => self.go_live(None, true),
            _ => self.think(),
        }
    }

    fn judge(&mut self, agent: &Agent, converse: &Converse, call: &ToolCall) -> Verdict {
        let arguments = call.arguments.expose();
        if let Some(name) = call.name.strip_prefix(EXIT_PREFIX)
            && let Some(exit) = converse.exits.iter().find(|exit| exit.name == name)
        {
            // "Book it and say goodbye" must not say goodbye when nothing was booked.
            if self.talk.as_ref().is_some_and(|talk| talk.answer.failed) {
                let what = "Not taken, because a call before it failed. Settle that with the caller first.";
                return Verdict::Answer { content: json!({"error": what}).to_string(), failed: true };
            }
            return Verdict::Exit(exit.target);
        }
        if call.name == REMEMBER && !converse.collect.is_empty() {
            return self.remember(agent, converse, arguments);
        }
        let tool = |offered: &ModelTool| agent.tools.get(offered.tool).filter(|tool| tool.id == call.name);
        let Some((offered, definition)) =
            converse.tools.iter().enumerate().find_map(|(index, offered)| Some((index, tool(offered)?)))
        else {
            let known = self.talk.iter().flat_map(|talk| &talk.specs).map(|spec| spec.name.as_str());
            let name: String = call.name.chars().take(TOOL_NAME_CHARS).collect();
            let known = known.collect::<Vec<_>>().join(", ");
            return Verdict::Mistake(format!("There is no tool `{name}` here. There are: {known}."));
        };
        match self.fit_arguments(agent, definition, arguments) {
            Ok(arguments) => Verdict::Run { offered, arguments },
            Err(what) => Verdict::Mistake(what),
        }
    }

    /// Arguments in the declared order and form, or what is wrong with them.
    fn fit_arguments(
        &self,
        agent: &Agent,
        definition: &ToolDefinition,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        if let Some(name) = given.keys().find(|name| definition.argument(name).is_none()) {
            let name: String = name.chars().take(TOOL_NAME_CHARS).collect();
            let known: Vec<&str> = definition.arguments.iter().map(|argument| argument.name.as_str()).collect();
            return Err(format!("`{}` has no argument `{name}`, only: {}.", definition.id, known.join(", ")));
        }
        let mut arguments = Map::new();
        for argument in &definition.arguments {
            let name = &argument.name;
            let form = || form(argument.kind, &[]);
            let Some(value) = given.get(name).filter(|value| !value.is_null()) else {
                if argument.required {
                    return Err(format!("`{name}` is missing: {}. Ask the caller if you do not know it.", form()));
                }
                continue;
            };
            let fitting = self.fit(agent, argument.kind, &[], value);
            let value = fitting.ok_or_else(|| format!("`{name}` must be {}.", form()))?;
            if !is_plain(&value, argument.max_chars) {
                let most = argument.max_chars;
                return Err(format!("`{name}` must be one line of at most {most} characters."));
            }
            arguments.insert(name.clone(), value);
        }
        Ok(arguments)
    }

    /// A value in the form of its kind. What a caller would say ("tomorrow", "half past two") is read by the grammars.
    fn fit(&self, agent: &Agent, kind: Kind, choices: &[Choice], value: &Value) -> Option<Value> {
        let value = shaped(kind, value.clone());
        let listed = |value: &Value| {
            kind != Kind::Choice
                || choices.is_empty()
                || choices.iter().any(|choice| Some(choice.id.as_str()) == value.as_str())
        };
        if kind.admits(&value) && listed(&value) {
            return Some(value);
        }
        if matches!(kind, Kind::Any | Kind::List | Kind::Name | Kind::Text) {
            return None;
        }
        let grammar = Grammar {
            kind,
            choices,
            today: self.memory.today(),
            day_first: agent.language != "en-US" && agent.language != "en",
            open: None,
        };
        let found = slot::find(&Words::new(bounded(value.as_str()?)), &grammar, Focus::Asked)?;
        (found.confidence >= SURELY).then_some(found.value)
    }

    /// Fills variables: those that are accepted, with a reason for each that is not.
    fn remember(&mut self, agent: &Agent, converse: &Converse, given: &Map<String, Value>) -> Verdict {
        let mut problems = Map::new();
        for name in given.keys().filter(|name| !converse.collect.contains(name)) {
            let name: String = name.chars().take(TOOL_NAME_CHARS).collect();
            problems.insert(name, format!("Unknown; there are: {}.", converse.collect.join(", ")).into());
        }
        let mut remembered = Map::new();
        for variable in in_order(agent, converse.collect.iter()) {
            let Some(value) = given.get(&variable.name).filter(|value| !value.is_null()) else { continue };
            let fitting = self.fit(agent, variable.kind, &variable.choices, value);
            let Some(value) = fitting.filter(|value| is_plain(value, ARGUMENT_CHARS)) else {
                let form = form(variable.kind, &variable.choices);
                problems.insert(variable.name.clone(), format!("It must be {form}.").into());
                continue;
            };
            let spoken = speak::value(variable.kind, &value, &variable.choices, self.memory.today());
            let found = Found { value, spoken, confidence: 1.0, span: 0..0 };
            if let Err(reason) = self.check_value(variable, &found) {
                problems.insert(variable.name.clone(), reason.into());
                continue;
            }
            let before = self.memory.value(&variable.name);
            let corrected = before.is_some_and(|before| *before != found.value);
            if before != Some(&found.value) {
                self.fill(variable, &found, corrected);
            }
            remembered.insert(variable.name.clone(), found.value);
        }
        if remembered.is_empty() && problems.is_empty() {
            return Verdict::Mistake(format!("Give at least one of: {}.", converse.collect.join(", ")));
        }
        let failed = !problems.is_empty();
        let mut content = json!({"remembered": remembered});
        if let (true, Some(content)) = (failed, content.as_object_mut()) {
            content.insert("problems".into(), problems.into());
        }
        Verdict::Answer { content: content.to_string(), failed }
    }

    /// Gives the model the answer to one of its calls.
    pub(super) fn answer_call(&mut self, call: &Call, content: &str, failed: bool) {
        self.memory.dialogue.answer(&call.id, content, failed);
        let Some(talk) = &mut self.talk else { return };
        talk.answer.failed |= failed;
        if !failed {
            talk.mistakes = 0;
        }
        if let (Channel::Live(request), Some(session)) = (talk.channel, call.session)
            && request == session
        {
            let content = Pii::new(content.to_owned());
            let Call { id, name, .. } = call.clone();
            self.effects.push_back(Effect::ToolAnswer { request, call: id, tool: name, content, failed });
        }
    }

    fn run_model_tool(&mut self, offered: &ModelTool, call: Call, arguments: Map<String, Value>) {
        let agent = Arc::clone(&self.agent);
        let Some(definition) = agent.tools.get(offered.tool) else { return };
        let Some(talk) = &self.talk else { return };
        let (node, live, spoke) = (talk.node(), matches!(talk.channel, Channel::Live(_)), talk.answer.spoke);
        let confirmed = definition.confirm;
        let quiet = live || spoke;
        let calling = |request| State::CallingTool { request, node, interruptions: 0 };
        if !quiet {
            // In this state already, so that the model is not shown a line that is not its own.
            self.state = calling(RequestId::default());
            self.say_nth(&offered.filler, self.fillers, true, None);
            self.fillers += 1;
        }
        let request = self.run_tool(offered.tool, definition.id.clone(), arguments, confirmed);
        self.state = if live { State::Conversing } else { calling(request) };
        if let Some(talk) = &mut self.talk {
            talk.running = Some(Running { request, call, tool: offered.tool });
        }
    }

    /// Runs a tool to which the caller has said yes.
    pub(super) fn run_approved(&mut self, Approval { call, tool, arguments }: Approval) {
        let agent = Arc::clone(&self.agent);
        let Some(talk) = &mut self.talk else { return };
        let arguments = arguments.into_exposed();
        talk.approved = Some(action(tool, &arguments));
        talk.answer.spoke = false;
        let Some(Body::Converse(converse)) = agent.nodes.get(talk.node()).map(|node| &node.body) else { return };
        if let Some(offered) = converse.tools.iter().find(|offered| offered.tool == tool) {
            self.run_model_tool(offered, call, arguments);
        }
    }

    /// Whether the caller must say yes to this very action first.
    fn must_approve(&self, tool: usize, arguments: &Map<String, Value>) -> bool {
        let confirm = self.agent.tools.get(tool).is_some_and(|definition| definition.confirm);
        confirm && self.talk.as_ref().is_none_or(|talk| talk.approved.as_ref() != Some(&action(tool, arguments)))
    }

    fn seek_approval(&mut self, call: Call, tool: usize, arguments: Map<String, Value>) {
        self.hush();
        let Some(talk) = &mut self.talk else { return };
        talk.approved = None;
        talk.approval = Some(Approval { call, tool, arguments: Pii::new(arguments) });
        let node = talk.node();
        self.ask(Asking::new(node, Aim::Approve));
    }

    /// A tool that ran for the model has an outcome.
    pub(super) fn model_tool_finished(&mut self, outcome: Result<Value, ToolFailure>) {
        let agent = Arc::clone(&self.agent);
        let Some(talk) = &mut self.talk else { return };
        let node = talk.node();
        let Some(Running { call, tool, .. }) = talk.running.take() else { return };
        // What a tool answers must be told.
        talk.answer.spoke = false;
        let mapping = agent.tools.get(tool).map(|definition| definition.result.as_slice()).unwrap_or_default();
        let outcome = outcome.and_then(|answer| self.take_result(mapping, &answer).map(|()| answer));
        match outcome {
            Ok(answer) => {
                if let Some(talk) = &mut self.talk {
                    talk.approved = None;
                }
                self.answer_call(&call, &cut(&answer.to_string()), false);
            }
            Err(failure) => {
                self.note_failure("tool_error", node);
                // The detail is for the log: it may tell of hosts and addresses.
                let mut content = json!({"error": failure.kind});
                if let (Some(body), Some(content)) = (failure.body, content.as_object_mut()) {
                    content.insert("answer".into(), body);
                }
                self.answer_call(&call, &cut(&content.to_string()), true);
            }
        }
        self.run_calls();
    }
}

/// A tool and its arguments, to compare one action with another.
fn action(tool: usize, arguments: &Map<String, Value>) -> Pii<(usize, String)> {
    Pii::new((tool, Value::from(arguments.clone()).to_string()))
}

/// Whether a value is one line of at most `most` characters.
fn is_plain(value: &Value, most: usize) -> bool {
    value.as_str().is_none_or(|text| text.chars().count() <= most && !text.chars().any(char::is_control))
}

/// The start of an answer that is too long, marked as such.
fn cut(answer: &str) -> String {
    match answer.char_indices().nth(TOOL_ANSWER_CHARS) {
        Some((end, _)) => format!("{} … (cut off)", answer.get(..end).unwrap_or_default()),
        None => answer.to_owned(),
    }
}
