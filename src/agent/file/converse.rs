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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agent;
    use crate::agent::file::check;

    const START: &str = "agent: a
start: talk
language_model: m
variables: {day: date, free: list}
tools:
  look: {url: \"https://api.example.com/x\", arguments: {date: date}}
  book: {method: POST, url: \"https://api.example.com/x\", arguments: {date: date}, confirm: true}
  exit_now: {url: \"https://api.example.com/x\"}
nodes:
  bye: {hangup: done, say: Bye.}
";

    fn problems(talk: &str) -> Vec<String> {
        let checked = check("a.yaml", &format!("{START}  talk: {talk}\n"), &[]);
        checked.report.errors().map(|d| format!("{}:{} {}", d.at.line, d.at.column, d.message)).collect()
    }

    #[test]
    fn a_converse_node_has_all_its_parts() {
        let talk = "{converse: Be kind., opening: [Hi., Again.], tools: [look, {use: book, filler: Wait., read_back: \"{{ date }}?\"}], \
                    collect: [day], listen_for: day, exits: {a: bye, b: {go: bye, when: Now}}, max_turns: 7, retries: 2, no_input_after: 9s}";
        let agent = Agent::parse("a.yaml", &format!("{START}  talk: {talk}\n"), &[]).unwrap_or_else(|e| panic!("{e}"));
        let Body::Converse(converse) = &agent.nodes[agent.start].body else { panic!("no converse node") };
        assert_eq!((converse.prompt.as_str(), converse.opening.len()), ("Be kind.", 2));
        assert_eq!((converse.max_turns, converse.question.retries, converse.question.no_input_ms), (7, 2, 9_000));
        assert_eq!((converse.tools[0].tool, converse.tools[1].tool), (0, 1));
        assert_eq!(converse.tools[1].read_back.as_deref(), Some("{{ date }}?"));
        assert_eq!((converse.exits[0].when.as_str(), converse.exits[1].when.as_str()), ("", "Now"));
        assert_eq!((&converse.collect, &converse.listen_for), (&vec!["day".to_owned()], &vec!["day".to_owned()]));
    }

    #[test]
    fn every_mistake_in_a_converse_node_is_found_where_it_stands() {
        for (talk, expected) in [
            ("{converse: \" \", exits: {a: bye}}", "11:20 nothing to say"),
            ("{converse: \"{{ nobody }}\", exits: {a: bye}}", "11:24 unknown variable `nobody`"),
            ("{converse: x}", "11:9 a `converse` node needs `exits`"),
            ("{converse: x, exits: {}}", "11:30 `exits` is empty"),
            ("{converse: x, exits: {a: by}}", "11:34 there is no node `by`"),
            ("{converse: x, exits: {a: {when: y}}}", "11:34 an exit needs `go`"),
            ("{converse: x, exits: {\"a b\": bye}}", "11:31 `a b` cannot name an exit"),
            ("{converse: x, exits: {a: bye}, collect: [dya]}", "11:50 there is no variable `dya`"),
            ("{converse: x, exits: {a: bye}, collect: [free]}", "11:40 a caller tells no `list`, which `free` is"),
            ("{converse: x, exits: {a: bye}, tools: [lok]}", "11:48 there is no tool `lok`"),
            ("{converse: x, exits: {a: bye}, tools: [look, look]}", "11:54 `look` is listed twice"),
            (
                "{converse: x, exits: {a: bye}, tools: exit_now}",
                "11:47 a model cannot be given a tool named `exit_now`",
            ),
            (
                "{converse: x, exits: {a: bye}, tools: {use: look, read_back: \"{{ date }}?\"}}",
                "11:70 `look` runs without asking, so nothing is read back",
            ),
            (
                "{converse: x, exits: {a: bye}, tools: {use: book, read_back: Right?}}",
                "11:70 this does not say `date`: the caller would agree to what they never heard",
            ),
            (
                "{converse: x, exits: {a: bye}, opening: y, speak_first: true}",
                "11:52 `opening` and `speak_first` exclude each other",
            ),
            ("{converse: x, exits: {a: bye}, max_turns: 0}", "11:51 a number from 1 to 300 is needed here"),
            ("{converse: x, exits: {a: bye}, prompt: y}", "11:40 unknown key `prompt` in this `converse` node"),
        ] {
            assert_eq!(problems(talk), [expected], "{talk}");
        }
        assert!(
            problems(&format!("{{converse: {}, exits: {{a: bye}}}}", "x".repeat(PROMPT_CHARS + 1)))[0]
                .contains("at most")
        );
    }

    #[test]
    fn a_long_prompt_is_warned_of() {
        let file =
            |words: usize| format!("{START}  talk: {{converse: {}, exits: {{a: bye}}}}\n", "word ".repeat(words));
        let long = |words| {
            let checked = check("a.yaml", &file(words), &[]);
            checked.report.warnings().any(|d| d.message == "the prompt of `talk` is about 2499 tokens long")
        };
        assert!(long(2_000) && !long(1_000));
    }

    #[test]
    fn without_a_model_nobody_can_talk_there() {
        let file = format!("{}  talk: {{converse: x, exits: {{a: bye}}}}\n", START.replace("language_model: m\n", ""));
        let checked = check("a.yaml", &file, &[]);
        let error = checked.report.errors().next().map(|d| (d.at.line, d.message.clone(), d.help.clone()));
        let help = "name one: `language_model: <provider>` or `speech_to_speech: <provider>`".to_owned();
        assert_eq!(error, Some((10, "in `talk` a model talks, but the agent has none".to_owned(), Some(help))));
        let file = file.replace("start:", "speech_to_speech: voice\nstart:");
        assert!(check("a.yaml", &file, &[]).agent.is_some());
    }

    #[test]
    fn what_an_exit_leads_to_is_reached_and_may_lack_what_only_a_model_could_have_asked() {
        let talk = "{converse: x, tools: look, collect: [day], exits: {a: say_day}}\n  say_day: {say: \"{{ day }}\", next: bye}";
        let checked = check("a.yaml", &format!("{START}  talk: {talk}\n"), &[]);
        let warnings: Vec<&str> = checked.report.warnings().map(|d| d.message.as_str()).collect();
        let expected = [
            "variable `free` is never used",
            "tool `book` is never used",
            "tool `exit_now` is never used",
            "`say_day` speaks `day`, which may have no value here",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn the_example_is_good_and_says_so_without_a_warning() {
        let example = include_str!("../../../examples/assistant.yaml");
        let checked = check("examples/assistant.yaml", example, &[]);
        assert!(checked.agent.is_some() && checked.report.diagnostics.is_empty(), "{}", checked.report);
    }
}
