//! Filling slots: the one that was asked for, others said along with it, and corrections of earlier ones.

use super::{Aim, Asking, Conversation};
use crate::agent::effect::Note;
use crate::agent::flow::{Body, Failure, NodeIndex};
use crate::agent::rule::{Circumstances, Variable};
use crate::agent::slot::{self, Focus, Found, Grammar, Words, yes_no};
use crate::agent::value::Kind;
use crate::base::Pii;
use jiff::civil::Time;
use serde_json::Value;
use std::sync::Arc;

/// Phrases with which a caller takes back something said before.
const CORRECTING: &[&str] = &[
    "i meant",
    "i mean",
    "sorry",
    "actually",
    "no wait",
    "make that",
    "make it",
    "correction",
    "wrong",
    "change",
    "instead",
    "not right",
    "mistake",
    "should be",
    "that's not",
    "incorrect",
    "scratch that",
    "no",
];

/// Those after which even a short answer belongs to the earlier question.
const CORRECTING_SURELY: &[&str] = &["i meant", "i mean", "make that", "sorry", "correction", "scratch that"];

/// Confidence from which words certainly answer what was asked.
pub(super) const SURELY: f32 = 0.8;

impl Conversation {
    /// The grammar for a variable, at this moment of the conversation.
    pub(super) fn grammar<'a>(&self, agent: &'a crate::agent::Agent, variable: &'a Variable) -> Grammar<'a> {
        Grammar {
            kind: variable.kind,
            choices: &variable.choices,
            today: self.memory.today(),
            day_first: agent.language != "en-US" && agent.language != "en",
            open: self.window(agent, variable),
        }
    }

    /// The times that make sense for a variable.
    fn window(&self, agent: &crate::agent::Agent, variable: &Variable) -> Option<(Time, Time)> {
        if variable.rule.between.is_some() {
            return variable.rule.between;
        }
        let calendar = variable.rule.calendar.and_then(|index| agent.calendars.get(index))?;
        let of_day = self.day_of(variable).map(|day| calendar.on(day)).unwrap_or_default();
        match (of_day.first(), of_day.last()) {
            (Some((from, _)), Some((_, to))) => Some((*from, *to)),
            _ => calendar.window(),
        }
    }

    /// The day on which a time variable is, if the caller has named it.
    fn day_of(&self, variable: &Variable) -> Option<jiff::civil::Date> {
        let name = variable.rule.day.as_ref()?;
        self.memory.value(name)?.as_str()?.parse().ok()
    }

    /// Whether a value is accepted, or the sentence that says why not.
    pub(super) fn check_value(&self, variable: &Variable, found: &Found) -> Result<(), String> {
        let circumstances =
            Circumstances { now: self.memory.now(), calendars: &self.agent.calendars, day: self.day_of(variable) };
        variable.check(&found.value, &circumstances).map_err(|standard| match &variable.reason {
            None => standard,
            Some(own) => {
                let mut scope = self.speech(Some(&found.spoken));
                scope.put("reason", &standard);
                self.agent.templates.line(own, &scope).0
            }
        })
    }

    /// Stores a value and notes it.
    pub(super) fn fill(&mut self, variable: &Variable, found: &Found, corrected: bool) {
        self.confirmed = false;
        self.memory.fill(&variable.name, found.value.clone());
        self.note(Note::SlotFilled { slot: variable.name.clone(), value: Pii::new(found.spoken.clone()), corrected });
    }

    /// Whether an utterance certainly answers the open question.
    pub(super) fn fits_question(&self, asking: &Asking, words: &Words<'_>) -> bool {
        let (Aim::Slot(slot) | Aim::Sure { slot, .. }) = &asking.aim else { return false };
        let Some(variable) = self.agent.variable(slot) else { return false };
        // A yes or no may stand before anything; free text is anything.
        if matches!(variable.kind, Kind::YesNo | Kind::Text) {
            return false;
        }
        let grammar = self.grammar(&self.agent, variable);
        slot::find(words, &grammar, Focus::Asked).is_some_and(|found| found.confidence >= SURELY)
    }

    /// The value of the asked slot in an utterance, after the words that belong to other slots are set aside.
    fn find_asked(&self, variable: &Variable, text: &str) -> Option<Found> {
        let agent = &self.agent;
        let mut words = Words::new(text);
        let others: &[Kind] = match variable.kind {
            Kind::Time | Kind::Number => &[Kind::PhoneNumber, Kind::Date],
            Kind::Date => &[Kind::PhoneNumber, Kind::Time],
            _ => &[],
        };
        for other in others {
            let grammar = Grammar { kind: *other, choices: &[], ..self.grammar(agent, variable) };
            if let Some(found) = slot::find(&words, &grammar, Focus::Volunteered) {
                words.mask(&found.span);
            }
        }
        slot::find(&words, &self.grammar(agent, variable), Focus::Asked)
    }

    /// Reads the answer to the question for a slot.
    pub(super) fn answer_slot(
        &mut self,
        asking: Asking,
        name: &str,
        text: &str,
        confidence: f32,
    ) -> Result<(), Box<Asking>> {
        let agent = Arc::clone(&self.agent);
        let Some(variable) = agent.variable(name) else { return Err(Box::new(asking)) };
        let found = self.find_asked(variable, text);
        if let Some(corrected) = self.correction(variable, found.as_ref(), text) {
            return self.correct_earlier(asking, corrected, variable, found);
        }
        let Some(found) = found else {
            // Something else may have been answered: "tomorrow at three" to the question for the name.
            if self.volunteered(&asking, name, text, None) {
                self.ask(asking);
                return Ok(());
            }
            return Err(Box::new(asking));
        };
        self.volunteered(&asking, name, text, Some(&found));
        self.take(asking, variable, found, confidence);
        Ok(())
    }

    /// Takes a value for the asked slot: refuses it with a reason, makes sure of it, or fills it and goes on.
    fn take(&mut self, mut asking: Asking, variable: &Variable, found: Found, confidence: f32) {
        if let Err(reason) = self.check_value(variable, &found) {
            return self.refuse(asking, variable, &reason);
        }
        let sure = found.confidence.min(confidence);
        if sure < self.agent.confirm_below && !matches!(variable.kind, Kind::YesNo | Kind::Text) {
            asking.aim = Aim::Sure { slot: variable.name.clone(), value: found.value, spoken: found.spoken };
            return self.ask(asking);
        }
        self.fill(variable, &found, false);
        self.go_on_from(asking.node);
    }

    /// A value that is understood but not accepted counts as a failed attempt.
    fn refuse(&mut self, mut asking: Asking, variable: &Variable, reason: &str) {
        asking.attempts += 1;
        asking.aim = Aim::Slot(variable.name.clone());
        self.note_failure("not_allowed", asking.node);
        let retries = self.agent.nodes.get(asking.node).and_then(|node| node.question()).map_or(1, |q| q.retries);
        self.speak(reason, true);
        if asking.attempts >= retries.max(1) {
            return self.respond(&asking, Failure::RetriesUsedUp, 0);
        }
        self.ask(asking);
    }

    /// Follows the edge of a node whose question is answered.
    pub(super) fn go_on_from(&mut self, node: NodeIndex) {
        let agent = Arc::clone(&self.agent);
        if let Some(next) = agent.nodes.get(node).and_then(|node| node.next()) {
            let target = self.follow(next, None);
            self.enter(target);
        }
    }

    /// Takes values for other slots out of an utterance. True when any was taken.
    pub(super) fn volunteered(&mut self, asking: &Asking, asked: &str, text: &str, taken: Option<&Found>) -> bool {
        let agent = Arc::clone(&self.agent);
        let body = agent.nodes.get(asking.node).map(|node| &node.body);
        let Some(Body::Ask { listen_for: wanted, .. } | Body::Route { listen_for: wanted, .. }) = body else {
            return false;
        };
        let mut words = Words::new(text);
        if let Some(found) = taken {
            words.mask(&found.span);
        }
        let mut any = false;
        for variable in in_order(&agent, wanted.iter().filter(|name| *name != asked)) {
            let grammar = self.grammar(&agent, variable);
            let counted = (variable.kind == Kind::Number).then(|| find_named(&words, variable, &grammar)).flatten();
            let Some(found) = counted.or_else(|| slot::find(&words, &grammar, Focus::Volunteered)) else { continue };
            words.mask(&found.span);
            match self.check_value(variable, &found) {
                Ok(()) if found.confidence >= agent.confirm_below => {
                    self.fill(variable, &found, false);
                    any = true;
                }
                Ok(()) => {}
                Err(reason) => {
                    self.speak(&reason, true);
                    any = true;
                }
            }
        }
        any
    }

    /// A correction of an earlier slot inside the answer to another question: the variable and its new value,
    /// or no value when the caller only says that it is wrong.
    fn correction(&self, asked: &Variable, found: Option<&Found>, text: &str) -> Option<(String, Option<Found>)> {
        let agent = &self.agent;
        let words = Words::new(text);
        let cue = words.contains_any(CORRECTING) && asked.kind != Kind::YesNo;
        let mut rest = words.clone();
        if let Some(found) = found {
            rest.mask(&found.span);
        }
        // By name: "change the day to Friday", "the name is wrong".
        if cue {
            for name in self.memory.filled().iter().rev().filter(|name| **name != asked.name) {
                let Some(variable) = agent.variable(name) else { continue };
                let Some((_, after)) = mention(&words, variable) else { continue };
                let value = slot::find(&rest.from_word(after), &self.grammar(agent, variable), Focus::Asked)
                    .or_else(|| slot::find(&rest, &self.grammar(agent, variable), Focus::Volunteered))
                    .filter(|new| Some(&new.value) != self.memory.value(name));
                // "My number is …" names a slot too, but then the asked one was answered.
                if value.is_some()
                    || (found.is_none()
                        && words.contains_any(&["wrong", "change", "not right", "mistake", "incorrect", "correct"]))
                {
                    return Some((name.clone(), value));
                }
            }
        }
        // By kind: "sorry, I meant Thursday" right after the day.
        let last = self.memory.filled().last().filter(|name| **name != asked.name)?;
        let variable = agent.variable(last).filter(|variable| variable.kind != asked.kind)?;
        if found.is_some() && !cue {
            return None;
        }
        let surely = words.contains_any(CORRECTING_SURELY) && found.is_none();
        let can_be_plain = matches!(variable.kind, Kind::Date | Kind::Time | Kind::PhoneNumber);
        if !cue && !can_be_plain {
            return None;
        }
        let start = if surely { after_cue(&words) } else { 0 };
        let focus = if surely { Focus::Asked } else { Focus::Volunteered };
        let value = slot::find(&rest.from_word(start), &self.grammar(agent, variable), focus)?;
        (self.memory.value(last) != Some(&value.value)).then(|| (last.clone(), Some(value)))
    }

    /// Changes an earlier slot and walks on from the node that asked for it, so that whatever depends on it
    /// (free times of the day, say) is looked up anew.
    fn correct_earlier(
        &mut self,
        asking: Asking,
        (name, value): (String, Option<Found>),
        asked: &Variable,
        found: Option<Found>,
    ) -> Result<(), Box<Asking>> {
        let agent = Arc::clone(&self.agent);
        let Some(variable) = agent.variable(&name) else { return Err(Box::new(asking)) };
        if let Some(found) = found.filter(|found| self.check_value(asked, found).is_ok()) {
            self.fill(asked, &found, false);
        }
        match value {
            Some(value) => self.change(vec![(variable, value)]),
            None => self.reask(&[name]),
        }
        Ok(())
    }

    /// Applies corrections and walks on from the earliest node concerned.
    pub(super) fn change(&mut self, changes: Vec<(&Variable, Found)>) {
        let mut heard = Vec::new();
        let mut first: Option<NodeIndex> = None;
        for (variable, found) in changes {
            let node = self.asked_at(&variable.name);
            if let Err(reason) = self.check_value(variable, &found) {
                self.memory.clear(&variable.name);
                return self.reask_slot(node.unwrap_or(0), &variable.name, Some(reason));
            }
            self.fill(variable, &found, true);
            heard.push(found.spoken);
            first = first.into_iter().chain(node).min();
        }
        let spoken = crate::agent::speak::list(&heard, "and");
        let line = self.agent.phrases.corrected.clone();
        self.say_nth(std::slice::from_ref(&line), 0, true, Some(&spoken));
        match first {
            Some(node) => self.go_on_from(node),
            None => self.hang_up("no_question", None),
        }
    }

    /// Empties slots and asks for them again, from the earliest on.
    pub(super) fn reask(&mut self, names: &[String]) {
        for name in names {
            self.memory.clear(name);
        }
        self.confirmed = false;
        let first = names.iter().filter_map(|name| Some((self.asked_at(name)?, name))).min();
        if let Some((node, name)) = first {
            self.reask_slot(node, name, None);
        }
    }

    /// Asks for one slot again, with a reason if there is one.
    pub(super) fn reask_slot(&mut self, node: NodeIndex, name: &str, reason: Option<String>) {
        self.memory.clear(name);
        if let Some(reason) = reason {
            self.speak(&reason, true);
        }
        let node = self.asked_at(name).unwrap_or(node);
        self.ask(Asking::new(node, Aim::Slot(name.to_owned())));
    }

    /// The node that asks for a slot: the one visited last, or the first in the file.
    pub(super) fn asked_at(&self, name: &str) -> Option<NodeIndex> {
        let asks = |index: &NodeIndex| matches!(self.agent.nodes.get(*index).map(|node| &node.body), Some(Body::Ask { slot, .. }) if slot == name);
        self.path.iter().rev().copied().find(asks).or_else(|| (0..self.agent.nodes.len()).find(|index| asks(index)))
    }

    /// The answer to "did you say …?".
    pub(super) fn answer_sure(
        &mut self,
        mut asking: Asking,
        name: &str,
        value: Value,
        spoken: &str,
        text: &str,
        confidence: f32,
    ) -> Result<(), Box<Asking>> {
        let agent = Arc::clone(&self.agent);
        let Some(variable) = agent.variable(name) else { return Err(Box::new(asking)) };
        let words = Words::new(text);
        let answer = yes_no::find(&words);
        if let Some((true, ..)) = answer {
            let found = Found { value, spoken: spoken.to_owned(), confidence: 1.0, span: 0..0 };
            self.fill(variable, &found, false);
            self.go_on_from(asking.node);
            return Ok(());
        }
        let rest = match &answer {
            Some((_, range, _)) => words.from_word(range.end),
            None => words.clone(),
        };
        let grammar = self.grammar(&agent, variable);
        let again = slot::find(&rest, &grammar, Focus::Asked).filter(|found| found.value != value || answer.is_none());
        if let Some(mut found) = again {
            // Said twice: sure enough.
            found.confidence = found.confidence.max(if found.value == value { 1.0 } else { 0.0 });
            let confidence = if found.value == value { 1.0 } else { confidence };
            asking.aim = Aim::Slot(name.to_owned());
            self.take(asking, variable, found, confidence);
            return Ok(());
        }
        if answer.is_some() {
            asking.aim = Aim::Slot(name.to_owned());
            asking.attempts += 1;
            self.ask(asking);
            return Ok(());
        }
        Err(Box::new(asking))
    }

    /// Keypad digits.
    pub(super) fn digits(&mut self, digits: &str) {
        let typed = |wanted: &str| digits.trim_end_matches('#') == wanted;
        let asking = match (&self.state, &self.talk) {
            (super::State::Asking(asking), _) => asking.clone(),
            // A speech-to-speech model hears no keys, but the way to a person stays open.
            (super::State::Conversing, Some(talk)) if typed("0") => {
                let asking = talk.asking.clone();
                return self.respond(&asking, Failure::WantsHuman, 0);
            }
            _ => return,
        };
        self.said.clear();
        let agent = Arc::clone(&self.agent);
        match &asking.aim {
            Aim::Slot(name) => {
                let variable = agent.variable(name);
                let found = variable.and_then(|variable| slot::from_digits(digits, &self.grammar(&agent, variable)));
                match (variable, found) {
                    (Some(variable), Some(found)) => self.take(asking, variable, found, 1.0),
                    _ if typed("0") => self.respond(&asking, Failure::WantsHuman, 0),
                    _ => self.fail(asking, Failure::NoMatch),
                }
            }
            Aim::Route => {
                let target = match agent.nodes.get(asking.node).map(|node| &node.body) {
                    Some(Body::Route { keys, .. }) => {
                        keys.iter().find(|(key, _)| digits.starts_with(*key)).map(|(_, target)| *target)
                    }
                    _ => None,
                };
                match target {
                    Some(target) => self.enter(target),
                    None if typed("0") => self.respond(&asking, Failure::WantsHuman, 0),
                    None => self.fail(asking, Failure::NoMatch),
                }
            }
            Aim::Talk if !typed("0") => self.typed_to_model(asking, digits),
            Aim::Approve | Aim::Confirm | Aim::Meant { .. } | Aim::Sure { .. } if typed("1") || typed("2") => {
                let words = if typed("1") { "yes" } else { "no" };
                self.understand(asking, words, 1.0);
            }
            _ if typed("0") => self.respond(&asking, Failure::WantsHuman, 0),
            _ => self.fail(asking, Failure::NoMatch),
        }
    }
}

/// Variables in the order in which their grammars should claim words: the most unmistakable first.
pub(super) fn in_order<'a>(
    agent: &'a crate::agent::Agent,
    names: impl Iterator<Item = &'a String>,
) -> Vec<&'a Variable> {
    let mut variables: Vec<&Variable> = names.filter_map(|name| agent.variable(name)).collect();
    variables.sort_by_key(|variable| match variable.kind {
        Kind::PhoneNumber => 0,
        Kind::Date => 1,
        Kind::Time => 2,
        Kind::Name => 3,
        Kind::Choice => 4,
        _ => 5,
    });
    variables
}

/// Where the caller names a variable, as the words' indices from and to.
pub(super) fn mention(words: &Words<'_>, variable: &Variable) -> Option<(usize, usize)> {
    let own = variable.name.replace('_', " ");
    variable
        .called
        .iter()
        .map(String::as_str)
        .chain(std::iter::once(own.as_str()))
        .filter_map(|phrase| words.find(phrase).map(|at| (at, at + phrase.split(' ').count())))
        // "phone number" rather than "number": the longest name wins.
        .max_by_key(|(from, to)| to - from)
}

/// A value that the caller names with its variable: "the time is three", "five guests".
pub(super) fn find_named(words: &Words<'_>, variable: &Variable, grammar: &Grammar<'_>) -> Option<Found> {
    let (from, after) = mention(words, variable)?;
    slot::find(&words.from_word(after), grammar, Focus::Asked).or_else(|| {
        let counts = variable.kind == Kind::Number;
        counts.then(|| slot::find(&words.until_word(from), grammar, Focus::Asked)).flatten()
    })
}

/// The word after the last phrase that takes something back.
fn after_cue(words: &Words<'_>) -> usize {
    (0..words.len())
        .filter_map(|at| words.reads_any(at, CORRECTING_SURELY).map(|length| at + length))
        .max()
        .unwrap_or(0)
}
