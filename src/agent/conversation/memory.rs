//! What a conversation knows: variables, the caller's claims about the call, the time, and what was said.

use super::dialogue::Dialogue;
use crate::agent::effect::UtteranceId;
use crate::agent::file::Agent;
use crate::agent::limits::{HISTORY_TURNS, VARIABLE_CHARS, VARIABLES};
use crate::agent::speak;
use crate::agent::template::Scope;
use crate::agent::value::{Kind, clock, parse_clock};
use crate::base::Pii;
use jiff::civil::{Date, DateTime};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// We.
    Agent,
    /// The caller.
    Caller,
}

/// Something that was said, as far as it was heard.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Who.
    pub speaker: Speaker,
    /// The words. Of the agent's, only those that were played.
    pub text: Pii<String>,
}

/// Turns of the last few minutes handed to a human with the call.
const HAND_OVER_TURNS: usize = 6;

/// What a conversation knows.
#[derive(Debug)]
pub struct Memory {
    values: BTreeMap<String, Value>,
    /// Slots in the order the caller filled them.
    filled: Vec<String>,
    call: BTreeMap<String, String>,
    start: Option<(jiff::Zoned, Instant)>,
    elapsed: Duration,
    history: Vec<Turn>,
    /// The same for a language model, with its tool calls.
    pub(super) dialogue: Dialogue,
    /// Agent lines not yet known to have been heard.
    pending: Vec<(UtteranceId, String)>,
    /// What the caller said before "did you mean …?".
    uncertain: String,
}

impl Memory {
    /// The defaults of an agent's variables.
    pub(super) fn new(agent: &Agent) -> Self {
        let values =
            agent.variables.iter().filter_map(|v| v.default.clone().map(|value| (v.name.clone(), value))).collect();
        Self {
            values,
            filled: Vec::new(),
            call: BTreeMap::new(),
            start: None,
            elapsed: Duration::ZERO,
            history: Vec::new(),
            dialogue: Dialogue::default(),
            pending: Vec::new(),
            uncertain: String::new(),
        }
    }

    pub(super) fn start(&mut self, variables: Vec<(String, Pii<String>)>, local_time: jiff::Zoned, now: Instant) {
        for (name, value) in variables.into_iter().take(VARIABLES) {
            self.call.insert(name, value.into_exposed().chars().take(VARIABLE_CHARS).collect());
        }
        self.start = Some((local_time, now));
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        if let Some((_, start)) = &self.start {
            self.elapsed = now.saturating_duration_since(*start);
        }
    }

    /// The business's date and time.
    #[must_use]
    pub fn now(&self) -> DateTime {
        let Some((zoned, _)) = &self.start else { return DateTime::default() };
        zoned.checked_add(self.elapsed).unwrap_or_else(|_| zoned.clone()).datetime()
    }

    /// The business's today.
    #[must_use]
    pub fn today(&self) -> Date {
        self.now().date()
    }

    /// A variable's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Whether a variable has a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Everything said so far, in order.
    #[must_use]
    pub fn history(&self) -> &[Turn] {
        &self.history
    }

    /// Slots in the order in which the caller filled them.
    #[must_use]
    pub fn filled(&self) -> &[String] {
        &self.filled
    }

    pub(super) fn fill(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
        self.filled.retain(|known| known != name);
        self.filled.push(name.to_owned());
    }

    pub(super) fn clear(&mut self, name: &str) {
        self.values.remove(name);
        self.filled.retain(|known| known != name);
    }

    /// Sets a variable from an expression or a tool; what does not fit its kind empties it.
    pub(super) fn set(&mut self, agent: &Agent, name: &str, value: Value) {
        let kind = agent.variable(name).map_or(Kind::Any, |variable| variable.kind);
        let value = shaped(kind, value);
        if value.is_null() || !kind.admits(&value) {
            self.clear(name);
        } else {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// Variables as spoken lines see them.
    pub(super) fn speech(&self, agent: &Agent) -> Scope {
        let mut scope = Scope::new(self.today());
        for (name, value) in &self.values {
            if let Some(variable) = agent.variable(name) {
                scope.speak(name, variable.kind, value, &variable.choices);
            }
        }
        self.surroundings(agent, &mut scope);
        scope
    }

    /// Variables as conditions see them; those without a value are `none`.
    pub(super) fn facts(&self, agent: &Agent) -> Scope {
        let mut scope = Scope::new(self.today());
        for variable in &agent.variables {
            scope.put(&variable.name, self.values.get(&variable.name));
        }
        self.surroundings(agent, &mut scope);
        scope
    }

    fn surroundings(&self, agent: &Agent, scope: &mut Scope) {
        scope.put("settings", &agent.settings);
        scope.put("call", &self.call);
        let time = self.now().time();
        scope.put("now", clock(time));
        scope.put(
            "greeting",
            match time.hour() {
                0..12 => "Good morning",
                12..18 => "Good afternoon",
                _ => "Good evening",
            },
        );
    }

    pub(super) fn uncertain(&mut self, text: &str) {
        text.clone_into(&mut self.uncertain);
    }

    pub(super) fn take_uncertain(&mut self) -> String {
        std::mem::take(&mut self.uncertain)
    }

    // ── what was said ──

    pub(super) fn agent_says(&mut self, utterance: UtteranceId, text: &str) {
        self.pending.push((utterance, text.to_owned()));
    }

    /// An utterance is over; the length of its whole text in characters, if it is known.
    pub(super) fn heard(&mut self, utterance: UtteranceId, heard: &str, complete: bool) -> Option<usize> {
        self.dialogue.heard(utterance, heard, complete);
        let index = self.pending.iter().position(|(known, _)| *known == utterance)?;
        let (_, text) = self.pending.remove(index);
        let length = text.chars().count();
        let words = if complete { text } else { heard.trim().to_owned() };
        if !words.is_empty() {
            self.push(Speaker::Agent, words);
        }
        Some(length)
    }

    /// Words of the agent that were played without an utterance of ours.
    pub(super) fn agent_said(&mut self, text: &str) {
        self.dialogue.agent(None, text);
        self.push(Speaker::Agent, text.trim().to_owned());
    }

    pub(super) fn caller_said(&mut self, text: &str) {
        self.dialogue.caller(text);
        self.push(Speaker::Caller, text.trim().to_owned());
    }

    pub(super) fn caller_typed(&mut self, count: usize) {
        self.push(Speaker::Caller, format!("({count} keys pressed)"));
    }

    fn push(&mut self, speaker: Speaker, text: String) {
        if self.history.len() >= HISTORY_TURNS {
            self.history.remove(0);
        }
        self.history.push(Turn { speaker, text: Pii::new(text) });
    }

    /// What a human should know when the call is handed over. `only` names variables; none means all filled.
    pub(super) fn hand_over(&self, agent: &Agent, reason: &str, only: &[String]) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert("reason".into(), reason.into());
        let mut slots = Map::new();
        for variable in &agent.variables {
            let wanted = if only.is_empty() {
                variable.kind.can_be_asked() && self.filled.contains(&variable.name)
            } else {
                only.contains(&variable.name)
            };
            if let Some(value) = self.values.get(&variable.name).filter(|_| wanted) {
                slots.insert(variable.name.clone(), value.clone());
            }
        }
        context.insert("slots".into(), slots.into());
        let spoken: Vec<Value> = self
            .history
            .iter()
            .rev()
            .filter(|turn| turn.speaker == Speaker::Caller)
            .take(HAND_OVER_TURNS)
            .map(|turn| Value::from(turn.text.expose().as_str()))
            .collect();
        context.insert("caller_said".into(), spoken.into_iter().rev().collect::<Vec<_>>().into());
        context
    }
}

/// Gives a value the exact form of its kind where that is safe: `9:00` becomes `09:00`, `7` as text stays text.
pub(super) fn shaped(kind: Kind, value: Value) -> Value {
    match (kind, &value) {
        (Kind::Time, Value::String(text)) => {
            parse_clock(text.get(..5).unwrap_or(text)).map_or(value, |time| clock(time).into())
        }
        (Kind::Text | Kind::Name, Value::Number(_)) => Value::from(speak::plain(&value)),
        (Kind::Number, Value::String(text)) => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map_or(value, crate::agent::slot::number_value)
        }
        _ => value,
    }
}
