//! `nodes:`.

use super::reader::{Fields, Reader};
use super::{Names, conversation, converse, services};
use crate::agent::diagnostic::suggestion;
use crate::agent::flow::{Body, Next, Node, Question, Then, ToolEdge};
use crate::agent::rule::Variable;
use crate::agent::source::{self, Key, Yaml};
use crate::agent::tool::ToolDefinition;

/// Keys that say what a node does; each node has exactly one.
const KINDS: &[&str] = &["ask", "confirm", "converse", "decide", "hangup", "route", "say", "tool", "transfer"];

/// Keys every node may have beside its kind.
const COMMON: &[&str] = &["clear", "completes", "on", "set"];

/// Failure kinds a tool's node may answer.
const TOOL_FAILURES: &[&str] =
    &["error", "timeout", "refused", "not_json", "not_allowed", "circuit_open", "bad_answer", "busy", "too_large"];

/// What nodes may refer to.
pub(super) struct Context<'c> {
    pub(super) names: &'c Names,
    pub(super) variables: &'c [Variable],
    pub(super) tools: &'c [ToolDefinition],
    pub(super) usual: Question,
}

pub(super) fn read_nodes(
    reader: &mut Reader,
    fields: &Fields<'_>,
    names: &Names,
    variables: &[Variable],
    tools: &[ToolDefinition],
    usual: Question,
) -> Vec<Node> {
    let Some(entries) = fields.get("nodes").and_then(|node| reader.mapping(node, "`nodes`")) else { return Vec::new() };
    let context = Context { names, variables, tools, usual };
    entries.iter().map(|(key, node)| read_node(reader, key, node, &context)).collect()
}

fn read_node(reader: &mut Reader, key: &Key, node: &source::Node, context: &Context<'_>) -> Node {
    let mut result = Node {
        id: key.name.clone(),
        at: key.at,
        clear: Vec::new(),
        set: Vec::new(),
        completes: false,
        body: Body::Decide { next: Next { when: Vec::new(), otherwise: 0 } },
        on: Vec::new(),
    };
    let Some(all) = reader.mapping(node, &format!("node `{}`", key.name)) else { return result };
    let kinds: Vec<&Key> = all.iter().map(|(key, _)| key).filter(|key| KINDS.contains(&key.name.as_str())).collect();
    // `say` is a node's kind only when nothing else is; a hangup or transfer may say something too.
    let kind = kinds.iter().find(|kind| kind.name != "say").or_else(|| kinds.first());
    let Some(kind) = kind else {
        let help = all
            .iter()
            .find_map(|(key, _)| crate::agent::diagnostic::nearest(&key.name, KINDS.iter().copied()))
            .map(|near| format!("did you mean `{near}`?"))
            .or_else(|| Some(format!("give one of: {}", KINDS.join(", "))));
        reader.error_at_key(key, format!("node `{}` does nothing", key.name), help);
        return result;
    };
    if let Some(second) = kinds.iter().find(|other| other.name != "say" && other.name != kind.name) {
        reader.error_at_key(
            second,
            format!("a node does one thing: `{}` and `{}` exclude each other", kind.name, second.name),
            Some("make two nodes".into()),
        );
    }
    let own: &[&str] = match kind.name.as_str() {
        "ask" => &["ask", "question", "listen_for", "next", "retries", "no_input_after"],
        "confirm" => &["confirm", "question", "which", "next", "retries", "no_input_after"],
        "converse" => converse::KEYS,
        "decide" => &["decide"],
        "hangup" => &["hangup", "say", "completed", "headers"],
        "route" => &["route", "question", "keys", "listen_for", "retries", "no_input_after"],
        "tool" => &["tool", "with", "filler", "result", "next"],
        "transfer" => &["transfer", "say", "context", "reason"],
        _ => &["say", "interruptible", "next"],
    };
    let known: Vec<&str> = own.iter().chain(COMMON).copied().collect();
    let Some(fields) = reader.fields(node, &format!("this `{}` node", kind.name), &known) else { return result };
    let value = fields.get(&kind.name);
    let body = match kind.name.as_str() {
        "ask" => read_ask(reader, &fields, value, context),
        "confirm" => read_confirm(reader, &fields, value, context),
        "converse" => converse::read_converse(reader, &fields, value, context),
        "decide" => value.map(|node| Body::Decide { next: read_next_node(reader, node, context, &[]) }),
        "hangup" => Some(Body::Hangup {
            say: lines(reader, &fields, "say"),
            reason: value.and_then(|node| reader.text(node)).unwrap_or_else(|| "done".into()),
            completed: fields.get("completed").and_then(|node| reader.truth(node)),
            headers: fields.get("headers").map(|node| bye_headers(reader, node)).unwrap_or_default(),
        }),
        "route" => read_route(reader, &fields, value, context),
        "tool" => read_tool(reader, key, &fields, value, context),
        "transfer" => value.and_then(|node| reader.reference(node, "destination", &context.names.destinations)).map(
            |destination| Body::Transfer {
                destination,
                say: lines(reader, &fields, "say"),
                context: slots(reader, fields.get("context"), context),
                reason: fields.get("reason").and_then(|node| reader.text(node)).unwrap_or_else(|| key.name.clone()),
            },
        ),
        _ => {
            let interruptible = fields.get("interruptible").and_then(|node| reader.truth(node)).unwrap_or(true);
            Some(Body::Say {
                say: lines(reader, &fields, "say"),
                interruptible,
                next: read_next(reader, &fields, context),
            })
        }
    };
    if value.is_none() && kind.name != "hangup" {
        reader.error_at_key(kind, format!("`{}` needs a value", kind.name), None);
    }
    if let Some(body) = body {
        result.body = body;
    }
    result.completes = fields.get("completes").and_then(|node| reader.truth(node)).unwrap_or(false);
    result.clear = slots(reader, fields.get("clear"), context);
    if let Some(entries) = fields.get("set").and_then(|node| reader.mapping(node, "`set`")) {
        for (key, node) in entries.iter() {
            check_variable(reader, key, context);
            if let Some(expression) = reader.expression(node, &[]) {
                result.set.push((key.name.clone(), expression));
            }
        }
    }
    if kind.name != "tool"
        && let Some(node) = fields.get("on")
    {
        result.on = conversation::read_handlers(reader, node, context.names, false);
    }
    result
}

/// Header fields of SIP that the call itself sets.
const OWN_HEADERS: &[&str] = &[
    "authorization",
    "call-id",
    "contact",
    "content-length",
    "content-type",
    "cseq",
    "from",
    "max-forwards",
    "proxy-authorization",
    "record-route",
    "route",
    "to",
    "via",
];

fn bye_headers(reader: &mut Reader, node: &source::Node) -> Vec<(String, String)> {
    let Some(entries) = reader.mapping(node, "`headers`") else { return Vec::new() };
    let mut headers = Vec::new();
    for (key, node) in entries.iter() {
        let is_token =
            !key.name.is_empty() && key.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !is_token || OWN_HEADERS.contains(&key.name.to_ascii_lowercase().as_str()) {
            let help = Some("such as `X-Outcome` or `Reason`".to_owned());
            reader.error_at_key(key, format!("`{}` cannot be set on the BYE", key.name), help);
        }
        headers.extend(reader.lines(node, &[]).into_iter().next().map(|value| (key.name.clone(), value)));
    }
    headers
}

fn lines(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Vec<String> {
    fields.get(name).map(|node| reader.lines(node, &[])).unwrap_or_default()
}

fn check_variable(reader: &mut Reader, key: &Key, context: &Context<'_>) {
    if !context.names.variables.contains(&key.name) {
        let help = suggestion(&key.name, context.names.variables.iter().map(String::as_str));
        reader.error_at_key(key, format!("unknown variable `{}`", key.name), help);
    }
}

/// A list of variables.
pub(super) fn slots(reader: &mut Reader, node: Option<&source::Node>, context: &Context<'_>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let items: Vec<&source::Node> = match &node.value {
        Yaml::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    items.into_iter().filter_map(|item| slot(reader, item, context)).collect()
}

fn slot(reader: &mut Reader, node: &source::Node, context: &Context<'_>) -> Option<String> {
    let index = reader.reference(node, "variable", &context.names.variables)?;
    let name = context.names.variables[index].clone();
    reader.used.insert(name.clone());
    Some(name)
}

fn read_question(reader: &mut Reader, fields: &Fields<'_>, context: &Context<'_>, what: &str) -> Question {
    let mut question = read_patience(reader, fields, context);
    if let Some(node) = reader.require(fields, "question", what) {
        question.wordings = reader.lines(node, &[]);
    }
    question
}

/// `retries` and `no_input_after`.
pub(super) fn read_patience(reader: &mut Reader, fields: &Fields<'_>, context: &Context<'_>) -> Question {
    let mut question = context.usual.clone();
    if let Some(retries) = fields.get("retries").and_then(|node| reader.number(node, 1.0, 10.0)) {
        question.retries = retries as u32;
    }
    if let Some(wait) = fields.get("no_input_after").and_then(|node| conversation::read_no_input(reader, node)) {
        question.no_input_ms = wait;
    }
    question
}

fn read_ask(
    reader: &mut Reader,
    fields: &Fields<'_>,
    value: Option<&source::Node>,
    context: &Context<'_>,
) -> Option<Body> {
    let question = read_question(reader, fields, context, "an `ask` node");
    let next = read_next_of(reader, fields, context);
    let node = value?;
    let slot = slot(reader, node, context)?;
    if let Some(variable) = context.variables.iter().find(|v| v.name == slot)
        && !variable.kind.can_be_asked()
    {
        reader.error(
            node,
            format!("nobody can be asked for a `{}`", variable.kind),
            Some("ask for a name, date, time, number, phone_number, yes_no, choice or text".into()),
        );
    }
    let listen_for = slots(reader, fields.get("listen_for"), context);
    Some(Body::Ask { slot, question, listen_for, next: next? })
}

fn read_confirm(
    reader: &mut Reader,
    fields: &Fields<'_>,
    value: Option<&source::Node>,
    context: &Context<'_>,
) -> Option<Body> {
    let question = read_question(reader, fields, context, "a `confirm` node");
    let next = read_next_of(reader, fields, context);
    let slots = slots(reader, value, context);
    Some(Body::Confirm { slots, question, which: lines(reader, fields, "which"), next: next? })
}

fn read_route(
    reader: &mut Reader,
    fields: &Fields<'_>,
    value: Option<&source::Node>,
    context: &Context<'_>,
) -> Option<Body> {
    let question = read_question(reader, fields, context, "a `route` node");
    let mut intents = Vec::new();
    if let Some(entries) = value.and_then(|node| reader.mapping(node, "`route`")) {
        for (key, node) in entries.iter() {
            let intent = context.names.intents.iter().position(|name| *name == key.name);
            if intent.is_none() {
                let help = suggestion(&key.name, context.names.intents.iter().map(String::as_str))
                    .or_else(|| Some("declare it under `intents:`".into()));
                reader.error_at_key(key, format!("there is no intent `{}`", key.name), help);
            }
            reader.used.insert(format!("intent {}", key.name));
            let target = reader.reference(node, "node", &context.names.nodes);
            intents.extend(intent.zip(target));
        }
    }
    let mut keys = Vec::new();
    if let Some(entries) = fields.get("keys").and_then(|node| reader.mapping(node, "`keys`")) {
        for (key, node) in entries.iter() {
            let pressed =
                key.name.chars().next().filter(|c| key.name.chars().count() == 1 && "0123456789*#".contains(*c));
            if pressed.is_none() {
                reader.error_at_key(
                    key,
                    format!("`{}` is no key of a telephone", key.name),
                    Some("one of 0–9, * and #".into()),
                );
            }
            keys.extend(pressed.zip(reader.reference(node, "node", &context.names.nodes)));
        }
    }
    Some(Body::Route { question, intents, keys, listen_for: slots(reader, fields.get("listen_for"), context) })
}

fn read_tool(
    reader: &mut Reader,
    key: &Key,
    fields: &Fields<'_>,
    value: Option<&source::Node>,
    context: &Context<'_>,
) -> Option<Body> {
    let tool = value.and_then(|node| reader.reference(node, "tool", &context.names.tools));
    let definition = tool.and_then(|index| context.tools.iter().find(|t| t.id == context.names.tools[index]));
    let mut with = Vec::new();
    if let Some(entries) = fields.get("with").and_then(|node| reader.mapping(node, "`with`")) {
        for (key, node) in entries.iter() {
            if let Some(definition) = definition
                && definition.argument(&key.name).is_none()
            {
                let help = suggestion(&key.name, definition.arguments.iter().map(|a| a.name.as_str()));
                reader.error_at_key(key, format!("tool `{}` has no argument `{}`", definition.id, key.name), help);
            }
            if let Some(expression) = reader.expression(node, &[]) {
                with.push((key.name.clone(), expression));
            }
        }
    }
    if let Some(definition) = definition {
        for argument in
            definition.arguments.iter().filter(|a| a.required && !with.iter().any(|(name, _)| *name == a.name))
        {
            let place = fields.key("with").or_else(|| fields.key("tool")).unwrap_or(key);
            let help = Some(format!("add `{}: <expression>` under `with:`", argument.name));
            reader.error_at_key(
                place,
                format!("tool `{}` needs the argument `{}`", definition.id, argument.name),
                help,
            );
        }
    }
    let filler = lines(reader, fields, "filler");
    let mut result =
        fields.get("result").map(|node| services::read_result(reader, node, context.variables)).unwrap_or_default();
    for (variable, pointer) in definition.map(|d| d.result.as_slice()).unwrap_or_default() {
        if !result.iter().any(|(known, _)| known == variable) {
            result.push((variable.clone(), pointer.clone()));
        }
    }
    let next = fields.get("next").map(|node| read_next_node(reader, node, context, &["result"]));
    if next.is_none() {
        reader.require(fields, "next", "a `tool` node");
    }
    let mut failures = Vec::new();
    if let Some(entries) = fields.get("on").and_then(|node| reader.mapping(node, "`on`")) {
        for (key, node) in entries.iter() {
            let status = key
                .name
                .strip_prefix("status_")
                .is_some_and(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()));
            if !status && !TOOL_FAILURES.contains(&key.name.as_str()) {
                let help = suggestion(&key.name, TOOL_FAILURES.iter().copied().chain(["status_404", "status_409"]));
                reader.error_at_key(key, format!("a tool does not fail with `{}`", key.name), help);
                continue;
            }
            let mapping = match &node.value {
                Yaml::Map(entries) => entries.iter().find(|(key, _)| key.name == "result").map(|(_, node)| node),
                _ => None,
            };
            let result = mapping.map(|node| services::read_result(reader, node, context.variables)).unwrap_or_default();
            if let Some(handler) = conversation::read_handler(reader, node, context.names, &["result"]) {
                if handler.then == Then::AskAgain {
                    let help = Some("give `next`, `transfer` or `hangup`".to_owned());
                    reader.error_at_key(key, "a tool asks nothing that could be asked again", help);
                }
                failures.push((key.name.clone(), ToolEdge { result, handler }));
            }
        }
    }
    if !failures.iter().any(|(kind, _)| kind == "error") {
        let has_error_key = fields.get("on").and_then(|node| match &node.value {
            Yaml::Map(entries) => entries.iter().find(|(key, _)| key.name == "error"),
            _ => None,
        });
        if has_error_key.is_none() {
            let help = Some("add `on: {error: <node>}`: every tool fails one day".to_owned());
            reader.error_at_key(
                key,
                format!("tool node `{}` does not say what happens when the tool fails", key.name),
                help,
            );
        }
    }
    Some(Body::Tool { tool: tool?, with, filler, result, next: next?, failures })
}

fn read_next(reader: &mut Reader, fields: &Fields<'_>, context: &Context<'_>) -> Next {
    read_next_of(reader, fields, context).unwrap_or(Next { when: Vec::new(), otherwise: 0 })
}

fn read_next_of(reader: &mut Reader, fields: &Fields<'_>, context: &Context<'_>) -> Option<Next> {
    let node = reader.require(fields, "next", "this node")?;
    Some(read_next_node(reader, node, context, &[]))
}

/// A node's name, or a list of `{if: …, go: …}` with a last `{go: …}`.
fn read_next_node(reader: &mut Reader, node: &source::Node, context: &Context<'_>, also: &[&str]) -> Next {
    let mut next = Next { when: Vec::new(), otherwise: 0 };
    let Yaml::List(items) = &node.value else {
        next.otherwise = reader.reference(node, "node", &context.names.nodes).unwrap_or(0);
        return next;
    };
    let mut last = false;
    for item in items {
        let Some(fields) = reader.fields(item, "an edge", &["if", "go"]) else { continue };
        let target = reader
            .require(&fields, "go", "an edge")
            .and_then(|node| reader.reference(node, "node", &context.names.nodes));
        let condition = fields.get("if").and_then(|node| reader.expression(node, also));
        if last {
            reader.error(item, "this edge can never be taken: the one before has no `if`", None);
        }
        match (fields.get("if"), condition, target) {
            (Some(_), Some(condition), Some(target)) => next.when.push((condition, target)),
            (None, _, target) => {
                last = true;
                next.otherwise = target.unwrap_or(0);
            }
            _ => {}
        }
    }
    if !last {
        reader.error(
            node,
            "the last edge must have no `if`",
            Some("add `- go: <node>` for when no condition holds".into()),
        );
    }
    next
}
