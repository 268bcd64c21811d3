//! What a language model in a `converse` node is offered: the node's tools, `remember` for variables, one tool per exit.
//!
//! The schemas keep to the few keywords that every vendor understands.

use super::file::Agent;
use super::flow::{Converse, Exit};
use super::rule::Variable;
use super::slot::Choice;
use super::tool::ToolDefinition;
use super::value::Kind;
use crate::base::chat::ToolSpec;
use serde_json::{Map, Value, json};

/// The tool by which a model fills variables.
pub const REMEMBER: &str = "remember";
/// What the tools start with by which a model leaves a node.
pub const EXIT_PREFIX: &str = "exit_";

/// All that the model of this node may call, always in the same order.
#[must_use]
pub fn specs(agent: &Agent, converse: &Converse) -> Vec<ToolSpec> {
    let tools = converse.tools.iter().filter_map(|offered| agent.tools.get(offered.tool)).map(tool);
    let collected: Vec<&Variable> = converse.collect.iter().filter_map(|name| agent.variable(name)).collect();
    let remember = (!collected.is_empty()).then(|| remember(&collected));
    tools.chain(remember).chain(converse.exits.iter().map(exit)).collect()
}

fn tool(definition: &ToolDefinition) -> ToolSpec {
    let mut properties = Map::new();
    for argument in &definition.arguments {
        properties.insert(argument.name.clone(), schema(argument.kind, &[], &argument.name.replace(['_', '-'], " ")));
    }
    let required: Vec<&str> = definition.arguments.iter().filter(|a| a.required).map(|a| a.name.as_str()).collect();
    let mut description = definition.description.clone();
    if description.is_empty() {
        description = definition.id.replace(['_', '-'], " ");
    }
    if definition.confirm {
        description = sentence(&description);
        description.push_str(
            " Before it runs, the caller is asked for a yes to these arguments: do not ask for it yourself, \
             and call it once you know them all.",
        );
    }
    ToolSpec { name: definition.id.clone(), description, parameters: object(properties, &required) }
}

fn remember(variables: &[&Variable]) -> ToolSpec {
    let mut properties = Map::new();
    for variable in variables {
        let what = variable.called.first().cloned().unwrap_or_else(|| variable.name.replace('_', " "));
        properties.insert(variable.name.clone(), schema(variable.kind, &variable.choices, &what));
    }
    ToolSpec {
        name: REMEMBER.to_owned(),
        description: "Notes what the caller has said, as soon as they have said it, and again when they correct it. \
                      Give only what is new. The answer says what cannot be accepted and why."
            .to_owned(),
        parameters: object(properties, &[]),
    }
}

fn exit(exit: &Exit) -> ToolSpec {
    let description = if exit.when.is_empty() {
        format!("Ends this part of the conversation: {}.", exit.name.replace(['_', '-'], " "))
    } else {
        format!("Ends this part of the conversation. When to call it: {}", sentence(&exit.when))
    };
    ToolSpec { name: format!("{EXIT_PREFIX}{}", exit.name), description, parameters: object(Map::new(), &[]) }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.to_vec().into());
    }
    schema.into()
}

/// The form a value must have, in words.
#[must_use]
pub fn form(kind: Kind, choices: &[Choice]) -> String {
    match kind {
        Kind::Any => "a text".to_owned(),
        Kind::Choice if choices.is_empty() => "the id of an option".to_owned(),
        Kind::Choice => {
            format!("one of {}", choices.iter().map(|choice| choice.id.as_str()).collect::<Vec<_>>().join(", "))
        }
        Kind::Date => "a day as YYYY-MM-DD".to_owned(),
        Kind::List => "a list of texts".to_owned(),
        Kind::Name => "a person's name as text".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::PhoneNumber => {
            "a telephone number as text, digits only, with + in front if the caller said it".to_owned()
        }
        Kind::Text => "a text".to_owned(),
        Kind::Time => "a time of day as HH:MM on the 24-hour clock".to_owned(),
        Kind::YesNo => "true or false".to_owned(),
    }
}

fn schema(kind: Kind, choices: &[Choice], what: &str) -> Value {
    let description = format!("{what}: {}", form(kind, choices));
    match kind {
        Kind::Number => json!({"type": "number", "description": description}),
        Kind::YesNo => json!({"type": "boolean", "description": description}),
        Kind::List => json!({"type": "array", "items": {"type": "string"}, "description": description}),
        Kind::Choice if !choices.is_empty() => {
            let ids: Vec<&str> = choices.iter().map(|choice| choice.id.as_str()).collect();
            json!({"type": "string", "enum": ids, "description": description})
        }
        _ => json!({"type": "string", "description": description}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::flow::Body;

    const AGENT: &str = "
agent: a
start: talk
language_model: m
variables:
  day: date
  size: {type: choice, options: {small: [little], big: [large]}}
tools:
  look: {url: \"https://api.example.com/x\", description: Free times of one day, arguments: {date: date, late: {type: yes_no, required: false}}}
  book: {method: POST, url: \"https://api.example.com/x\", description: Books it, arguments: {date: date}, confirm: true}
nodes:
  talk: {converse: Be kind., tools: [look, book], collect: [day, size], exits: {done: bye, lost: {go: bye, when: The caller is lost}}}
  bye: {hangup: done}
";

    fn offered() -> Vec<ToolSpec> {
        let agent = Agent::parse("a.yaml", AGENT, &[]).unwrap_or_else(|error| panic!("{error}"));
        let Body::Converse(converse) = &agent.nodes[agent.start].body else { panic!("no converse node") };
        specs(&agent, converse)
    }

    #[test]
    fn a_model_is_offered_tools_variables_and_exits_and_nothing_else() {
        let names: Vec<String> = offered().into_iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["look", "book", "remember", "exit_done", "exit_lost"]);
    }

    #[test]
    fn the_schemas_follow_the_declared_kinds() {
        let specs = offered();
        assert_eq!(specs[0].parameters["required"], json!(["date"]));
        assert_eq!(specs[0].parameters["properties"]["late"]["type"], "boolean");
        assert_eq!(specs[2].parameters["properties"]["size"]["enum"], json!(["small", "big"]));
        assert_eq!(specs[2].parameters["properties"]["day"]["description"], "day: a day as YYYY-MM-DD");
        assert!(specs[2].parameters.get("required").is_none());
        assert_eq!(specs[3].parameters, json!({"type": "object", "properties": {}}));
    }

    #[test]
    fn descriptions_say_who_asks_for_the_yes_and_when_to_leave() {
        let specs = offered();
        assert_eq!(specs[0].description, "Free times of one day");
        assert!(specs[1].description.starts_with("Books it. Before it runs, the caller is asked for a yes"));
        assert_eq!(specs[4].description, "Ends this part of the conversation. When to call it: The caller is lost.");
    }
}
