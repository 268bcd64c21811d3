//! `converse` nodes, in which a language model talks.

use super::nodes::{Context, read_patience, slots};
use super::reader::{Fields, Reader};
use crate::agent::diagnostic::Severity;
use crate::agent::flow::{Body, Converse, Exit, ModelTool};
use crate::agent::limits::{CONVERSE_TURNS, PROMPT_CHARS, TOOL_NAME_CHARS, TURNS};
use crate::agent::offer::{EXIT_PREFIX, REMEMBER};
use crate::agent::source::{Node, Yaml};

pub(super) const KEYS: &[&str] = &[
    "collect",
    "converse",
    "exits",
    "listen_for",
    "max_turns",
    "no_input_after",
    "opening",
    "retries",
    "speak_first",
    "tools",
];

pub(super) fn read_converse(
    reader: &mut Reader,
    fields: &Fields<'_>,
    value: Option<&Node>,
    context: &Context<'_>,
) -> Option<Body> {
    let mut converse = Converse {
        prompt: value.and_then(|node| read_prompt(reader, node)).unwrap_or_default(),
        opening: fields.get("opening").map(|node| reader.lines(node, &[])).unwrap_or_default(),
        speak_first: fields.get("speak_first").and_then(|node| reader.truth(node)).unwrap_or(false),
        tools: fields.get("tools").map(|node| read_tools(reader, node, context)).unwrap_or_default(),
        exits: Vec::new(),
        collect: slots(reader, fields.get("collect"), context),
        listen_for: slots(reader, fields.get("listen_for"), context),
        question: read_patience(reader, fields, context),
        max_turns: CONVERSE_TURNS,
    };
    if let Some(turns) = fields.get("max_turns").and_then(|node| reader.number(node, 1.0, f64::from(TURNS))) {
        converse.max_turns = turns as u32;
    }
    if let Some(key) = fields.key("speak_first").filter(|_| converse.speak_first && !converse.opening.is_empty()) {
        let help = Some("keep the `opening`, or let the model find its own first words".to_owned());
        reader.error_at_key(key, "`opening` and `speak_first` exclude each other", help);
    }
    for name in &converse.collect {
        let Some(variable) = context.variables.iter().find(|variable| variable.name == *name) else { continue };
        if let Some(key) = fields.key("collect").filter(|_| !variable.kind.can_be_asked()) {
            let help = Some("collect a name, date, time, number, phone_number, yes_no, choice or text".to_owned());
            reader.error_at_key(key, format!("a caller tells no `{}`, which `{name}` is", variable.kind), help);
        }
    }
    if let Some(node) = reader.require(fields, "exits", "a `converse` node") {
        converse.exits = read_exits(reader, node, context);
    }
    Some(Body::Converse(Box::new(converse)))
}

fn read_prompt(reader: &mut Reader, node: &Node) -> Option<String> {
    let prompt = reader.text(node)?;
    if prompt.chars().count() > PROMPT_CHARS {
        reader.error(node, format!("a prompt has at most {PROMPT_CHARS} characters"), None);
    }
    reader.lines(node, &[]);
    Some(prompt)
}

/// Names of tools, or `{use, filler, read_back}`.
fn read_tools(reader: &mut Reader, node: &Node, context: &Context<'_>) -> Vec<ModelTool> {
    let items: Vec<&Node> = match &node.value {
        Yaml::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut tools: Vec<ModelTool> = Vec::new();
    for item in items {
        let fields = match &item.value {
            Yaml::Map(_) => match reader.fields(item, "a tool of a model", &["filler", "read_back", "use"]) {
                Some(fields) => Some(fields),
                None => continue,
            },
            _ => None,
        };
        let name = match &fields {
            Some(fields) => reader.require(fields, "use", "a tool of a model"),
            None => Some(item),
        };
        let Some((name, index)) = name.and_then(|n| Some((n, reader.reference(n, "tool", &context.names.tools)?)))
        else {
            continue;
        };
        let id = context.names.tools.get(index).map(String::as_str).unwrap_or_default();
        if id == REMEMBER || id.starts_with(EXIT_PREFIX) || id.len() > TOOL_NAME_CHARS {
            let help = Some(format!(
                "`{REMEMBER}` and `{EXIT_PREFIX}…` are what a model fills variables and takes exits by; \
                 vendors allow {TOOL_NAME_CHARS} characters"
            ));
            reader.error(name, format!("a model cannot be given a tool named `{id}`"), help);
        }
        if tools.iter().any(|known| known.tool == index) {
            reader.error(name, format!("`{id}` is listed twice"), None);
            continue;
        }
        let filler = fields.and_then(|fields| fields.get("filler")).map(|node| reader.lines(node, &[]));
        let read_back = fields
            .and_then(|fields| fields.get("read_back"))
            .and_then(|node| read_read_back(reader, node, id, context));
        tools.push(ModelTool { tool: index, filler: filler.unwrap_or_default(), read_back });
    }
    tools
}

/// The question before a tool runs. It speaks every argument: nobody agrees to what they have not heard.
fn read_read_back(reader: &mut Reader, node: &Node, tool: &str, context: &Context<'_>) -> Option<String> {
    let definition = context.tools.iter().find(|definition| definition.id == tool)?;
    if !definition.confirm {
        let help = Some(format!("write `confirm: true` at tool `{tool}`, or leave this out"));
        reader.error(node, format!("`{tool}` runs without asking, so nothing is read back"), help);
    }
    let names: Vec<&str> = definition.arguments.iter().map(|argument| argument.name.as_str()).collect();
    let line = reader.text(node)?;
    reader.lines(node, &names);
    let spoken = reader.templates.check_line(&line).unwrap_or_default();
    for name in names {
        if !spoken.iter().any(|path| path.split('.').next() == Some(name)) {
            let help = Some(format!("put `{{{{ {name} }}}}` into the line"));
            reader.error(
                node,
                format!("this does not say `{name}`: the caller would agree to what they never heard"),
                help,
            );
        }
    }
    Some(line)
}

/// `name: node` or `name: {go: node, when: text}`.
fn read_exits(reader: &mut Reader, node: &Node, context: &Context<'_>) -> Vec<Exit> {
    let Some(entries) = reader.mapping(node, "`exits`") else { return Vec::new() };
    let mut exits = Vec::new();
    for (key, node) in entries.iter() {
        reader.check_name(key, "an exit");
        if key.name.len() + EXIT_PREFIX.len() > TOOL_NAME_CHARS {
            reader.error_at_key(key, format!("longer than {} characters", TOOL_NAME_CHARS - EXIT_PREFIX.len()), None);
        }
        let (target, when) = match &node.value {
            Yaml::Map(_) => {
                let Some(fields) = reader.fields(node, "an exit", &["go", "when"]) else { continue };
                let when = fields.get("when").and_then(|node| reader.text(node));
                (reader.require(&fields, "go", "an exit"), when.unwrap_or_default())
            }
            _ => (Some(node), String::new()),
        };
        let target = target.and_then(|node| reader.reference(node, "node", &context.names.nodes));
        exits.extend(target.map(|target| Exit { name: key.name.clone(), target, when }));
    }
    if exits.is_empty() && entries.iter().next().is_none() {
        let help = Some("a model needs a way to end: `exits: {done: <node>}`".to_owned());
        reader.report.push(Severity::Error, node.at, node.width, "`exits` is empty", help);
    }
    exits
}
