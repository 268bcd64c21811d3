//! What only the whole graph shows: nodes nobody reaches, circles without an exit, values that may be
//! missing where they are used, things declared and never used.

use super::Agent;
use super::reader::{Fields, Reader};
use crate::agent::diagnostic::{Position, Severity};
use crate::agent::flow::{Body, Node, NodeIndex, Then};
use crate::agent::source::Yaml;
use std::collections::BTreeSet;

/// English text has about this many characters per token of a language model.
const CHARS_PER_TOKEN: usize = 4;
/// Tokens of a prompt from which on its length is worth a warning.
const PROMPT_TOKENS: usize = 2_000;

pub(super) fn graph(reader: &mut Reader, agent: &Agent) {
    let reachable = reachable(agent);
    for (index, node) in agent.nodes.iter().enumerate() {
        if !reachable.contains(&index) {
            let help = Some("lead to it from another node, or remove it".to_owned());
            reader.warn(node.at, node.id.chars().count(), format!("node `{}` is never reached", node.id), help);
        }
        check_node(reader, agent, index);
    }
    circles(reader, agent, &reachable);
    no_way_out(reader, agent, &reachable);
    unset(reader, agent);
}

fn reachable(agent: &Agent) -> BTreeSet<NodeIndex> {
    let mut seen = BTreeSet::new();
    let mut open = vec![agent.start];
    open.extend(agent.intents.iter().filter_map(|intent| intent.next));
    open.extend(agent.on.iter().filter_map(|(_, handler)| match handler.then {
        Then::Go(target) => Some(target),
        _ => None,
    }));
    while let Some(index) = open.pop() {
        if seen.insert(index)
            && let Some(node) = agent.nodes.get(index)
        {
            open.extend(node.targets());
        }
    }
    seen
}

fn check_node(reader: &mut Reader, agent: &Agent, index: NodeIndex) {
    let Some(node) = agent.nodes.get(index) else { return };
    let width = node.id.chars().count();
    match &node.body {
        Body::Confirm { slots, .. } => {
            for slot in slots {
                let asked =
                    agent.nodes.iter().any(|n| matches!(&n.body, Body::Ask { slot: asked, .. } if asked == slot));
                if !asked {
                    let message = format!("`{}` reads `{slot}` back, but no `ask` node asks for it", node.id);
                    let help = Some("a caller who says it is wrong must be asked again".to_owned());
                    reader.report.push(Severity::Error, node.at, width, message, help);
                }
            }
        }
        Body::Converse(converse) => {
            if agent.speech.llm.is_none() && agent.speech.realtime.is_none() {
                let help = Some("name one: `language_model: <provider>` or `speech_to_speech: <provider>`".to_owned());
                let message = format!("in `{}` a model talks, but the agent has none", node.id);
                reader.report.push(Severity::Error, node.at, width, message, help);
            }
            let tokens = converse.prompt.chars().count() / CHARS_PER_TOKEN;
            if tokens > PROMPT_TOKENS {
                let message = format!("the prompt of `{}` is about {tokens} tokens long", node.id);
                let help = Some("it is read before every answer while the caller waits: keep what matters".to_owned());
                reader.warn(node.at, width, message, help);
            }
            // What a model remembers and nobody uses is only told to the model again.
            reader.used.extend(converse.collect.iter().cloned());
        }
        Body::Tool { tool, .. } => {
            let confirmed = agent.tools.get(*tool).is_some_and(|tool| tool.confirm);
            let any_confirm = agent.nodes.iter().any(|n| matches!(n.body, Body::Confirm { .. }));
            if confirmed && !any_confirm {
                let help = Some("put a `confirm` node before it".to_owned());
                let message = format!("the tool of `{}` needs a confirmation, but the agent confirms nothing", node.id);
                reader.report.push(Severity::Error, node.at, width, message, help);
            }
        }
        Body::Route { intents, keys, .. } if intents.is_empty() && keys.is_empty() => {
            let message = format!("`{}` leads nowhere", node.id);
            reader.report.push(Severity::Error, node.at, width, message, Some("list intents under `route:`".into()));
        }
        Body::Say { say, .. } if say.is_empty() => {
            reader.report.push(Severity::Error, node.at, width, format!("`{}` has nothing to say", node.id), None);
        }
        _ => {}
    }
}

/// Circles of nodes that never wait for a caller or a tool: the agent would talk to itself for ever.
fn circles(reader: &mut Reader, agent: &Agent, reachable: &BTreeSet<NodeIndex>) {
    for &start in reachable {
        let Some(node) = agent.nodes.get(start).filter(|node| !node.waits()) else { continue };
        let mut seen = BTreeSet::new();
        let mut open: Vec<NodeIndex> = node.targets();
        while let Some(index) = open.pop() {
            if index == start {
                let help = Some("put a question into the circle, or lead out of it".to_owned());
                let message = format!("`{}` comes back to itself without ever waiting for the caller", node.id);
                // A circle whose every edge is unconditional can never be left.
                let conditional = node.next().is_some_and(|next| !next.when.is_empty())
                    || seen
                        .iter()
                        .any(|i| agent.nodes.get(*i).and_then(Node::next).is_some_and(|n| !n.when.is_empty()));
                let severity = if conditional { Severity::Warning } else { Severity::Error };
                reader.report.push(severity, node.at, node.id.chars().count(), message, help);
                break;
            }
            if seen.insert(index)
                && let Some(next) = agent.nodes.get(index).filter(|node| !node.waits())
            {
                open.extend(next.targets());
            }
        }
    }
}

/// Nodes from which no path leads to the end of the call.
fn no_way_out(reader: &mut Reader, agent: &Agent, reachable: &BTreeSet<NodeIndex>) {
    let mut ending: BTreeSet<NodeIndex> = agent
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| matches!(node.body, Body::Hangup { .. } | Body::Transfer { .. }))
        .map(|(index, _)| index)
        .collect();
    loop {
        let more: Vec<NodeIndex> = reachable
            .iter()
            .filter(|index| !ending.contains(index))
            .filter(|index| {
                agent.nodes.get(**index).is_some_and(|node| node.targets().iter().any(|t| ending.contains(t)))
            })
            .copied()
            .collect();
        if more.is_empty() {
            break;
        }
        ending.extend(more);
    }
    for index in reachable.iter().filter(|index| !ending.contains(index)) {
        if let Some(node) = agent.nodes.get(*index) {
            let help = Some("lead to a `hangup` or `transfer` node somewhere".to_owned());
            let message = format!("from `{}` no path leads to the end of the call", node.id);
            reader.warn(node.at, node.id.chars().count(), message, help);
        }
    }
}

/// Lines that speak a variable which may have no value there: on some path nothing has filled it.
fn unset(reader: &mut Reader, agent: &Agent) {
    let filled = filled_on_entry(agent);
    for (index, node) in agent.nodes.iter().enumerate() {
        let Some(Some(entry)) = filled.get(index) else { continue };
        let mut here = entry.clone();
        let lines: Vec<&String> = match &node.body {
            Body::Say { say, .. } => say.iter().collect(),
            Body::Tool { filler, .. } => filler.iter().collect(),
            Body::Hangup { say, .. } | Body::Transfer { say, .. } => say.iter().collect(),
            Body::Ask { question, .. } | Body::Route { question, .. } => question.wordings.iter().collect(),
            Body::Confirm { slots, question, .. } => {
                // Whatever is missing is asked for before it is read back.
                here.extend(slots.iter().cloned());
                question.wordings.iter().collect()
            }
            Body::Converse(converse) => std::iter::once(&converse.prompt).chain(&converse.opening).collect(),
            Body::Decide { .. } => continue,
        };
        if !matches!(node.body, Body::Say { .. }) {
            apply(node, &mut here);
        }
        // A line with its own conditions takes care of itself.
        for line in lines.into_iter().filter(|line| !line.contains("{%") && !line.contains("default")) {
            for path in agent.templates.check_line(line).unwrap_or_default() {
                let name = path.split('.').next().unwrap_or_default();
                if agent.variable(name).is_some() && !here.contains(name) {
                    let help = Some(format!("ask for it before, give it a default, or write `{{% if {name} %}}`"));
                    let message = format!("`{}` speaks `{name}`, which may have no value here", node.id);
                    reader.warn(node.at, node.id.chars().count(), message, help);
                }
            }
        }
    }
}

/// What a node sets and clears on entry.
fn apply(node: &Node, filled: &mut BTreeSet<String>) {
    filled.extend(node.set.iter().map(|(name, _)| name.clone()));
    for name in &node.clear {
        filled.remove(name);
    }
}

/// For each node, the variables that have a value on every path to it; `None` for nodes nobody reaches.
fn filled_on_entry(agent: &Agent) -> Vec<Option<BTreeSet<String>>> {
    let defaults: BTreeSet<String> =
        agent.variables.iter().filter(|v| v.default.is_some()).map(|v| v.name.clone()).collect();
    let mut filled: Vec<Option<BTreeSet<String>>> = vec![None; agent.nodes.len()];
    let mut open: Vec<(NodeIndex, BTreeSet<String>)> = vec![(agent.start, defaults.clone())];
    // Jumps from anywhere bring nothing along for certain.
    open.extend(agent.intents.iter().filter_map(|intent| intent.next).map(|target| (target, defaults.clone())));
    open.extend(agent.on.iter().filter_map(|(_, handler)| match handler.then {
        Then::Go(target) => Some((target, defaults.clone())),
        _ => None,
    }));
    while let Some((index, arriving)) = open.pop() {
        let (Some(node), Some(known)) = (agent.nodes.get(index), filled.get_mut(index)) else { continue };
        let entry = match known {
            None => arriving,
            Some(known) => known.intersection(&arriving).cloned().collect(),
        };
        if known.as_ref() == Some(&entry) {
            continue;
        }
        *known = Some(entry.clone());
        let mut after = entry;
        apply(node, &mut after);
        open.extend(node.on.iter().filter_map(|(_, handler)| match handler.then {
            Then::Go(target) => Some((target, after.clone())),
            _ => None,
        }));
        match &node.body {
            Body::Converse(converse) => open.extend(converse.exits.iter().map(|exit| (exit.target, after.clone()))),
            Body::Route { intents, keys, .. } => {
                open.extend(intents.iter().map(|(_, target)| (*target, after.clone())));
                open.extend(keys.iter().map(|(_, target)| (*target, after.clone())));
            }
            Body::Tool { failures, .. } => {
                for (_, edge) in failures {
                    if let Then::Go(target) = edge.handler.then {
                        let mut failed = after.clone();
                        failed.extend(edge.result.iter().map(|(name, _)| name.clone()));
                        open.push((target, failed));
                    }
                }
            }
            _ => {}
        }
        match &node.body {
            Body::Ask { slot, .. } => drop(after.insert(slot.clone())),
            Body::Confirm { slots, .. } => after.extend(slots.iter().cloned()),
            Body::Tool { result, .. } => after.extend(result.iter().map(|(name, _)| name.clone())),
            _ => {}
        }
        let Some(next) = node.next() else { continue };
        open.push((next.otherwise, after.clone()));
        for (condition, target) in &next.when {
            // A condition about a variable is taken to have found a value in it.
            let mut known = after.clone();
            known.extend(agent.templates.check_expression(condition).unwrap_or_default());
            open.push((*target, known));
        }
    }
    filled
}

/// Things declared and never used.
pub(super) fn unused(reader: &mut Reader, agent: &Agent, fields: &Fields<'_>) {
    let mut used = reader.used.clone();
    for node in &agent.nodes {
        match &node.body {
            Body::Converse(converse) => {
                used.extend(converse.tools.iter().map(|offered| format!("tool {}", offered.tool)))
            }
            Body::Tool { tool, .. } => drop(used.insert(format!("tool {tool}"))),
            Body::Transfer { destination, .. } => drop(used.insert(format!("destination {destination}"))),
            _ => {}
        }
        for (_, handler) in node.on.iter().chain(&agent.on) {
            if let Then::Transfer(destination) = handler.then {
                used.insert(format!("destination {destination}"));
            }
        }
        if let Body::Tool { failures, .. } = &node.body {
            for (_, edge) in failures {
                if let Then::Transfer(destination) = edge.handler.then {
                    used.insert(format!("destination {destination}"));
                }
            }
        }
    }
    let mut warn = |section: &str, what: &str, is_used: &dyn Fn(usize, &str) -> bool| {
        let Some(Yaml::Map(entries)) = fields.get(section).map(|node| &node.value) else { return };
        let idle: Vec<(Position, String)> = entries
            .iter()
            .enumerate()
            .filter(|(index, (key, _))| !is_used(*index, &key.name))
            .map(|(_, (key, _))| (key.at, key.name.clone()))
            .collect();
        for (at, name) in idle {
            reader.warn(at, name.chars().count(), format!("{what} `{name}` is never used"), None);
        }
    };
    warn("variables", "variable", &|_, name| used.contains(name));
    warn("settings", "setting", &|_, name| used.contains(&format!("settings.{name}")));
    warn("tools", "tool", &|index, _| used.contains(&format!("tool {index}")));
    warn("destinations", "destination", &|index, _| used.contains(&format!("destination {index}")));
    warn("intents", "intent", &|index, name| {
        used.contains(&format!("intent {name}")) || agent.intents.get(index).is_some_and(|i| i.is_global())
    });
    warn("calendars", "calendar", &|index, _| agent.variables.iter().any(|v| v.rule.calendar == Some(index)));
}
