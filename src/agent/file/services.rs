//! `tools:` and `destinations:`.

use super::reader::{Fields, Reader};
use crate::agent::destination::{Destination, RING_FOR, Target, TransferMode};
use crate::agent::limits::{ARGUMENT_CHARS, TOOL_RETRIES, TOOL_TIMEOUT};
use crate::agent::rule::Variable;
use crate::agent::source::{Node, Yaml};
use crate::agent::tool::{Argument, HeaderText, Method, Place, ToolDefinition};
use crate::agent::value::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

const TOOL_KEYS: &[&str] =
    &["arguments", "confirm", "description", "headers", "method", "result", "retries", "timeout", "url"];

pub(super) fn read_tools(
    reader: &mut Reader,
    fields: &Fields<'_>,
    settings: &BTreeMap<String, String>,
    variables: &[Variable],
) -> Vec<ToolDefinition> {
    let Some(entries) = fields.get("tools").and_then(|node| reader.mapping(node, "`tools`")) else { return Vec::new() };
    entries.iter().filter_map(|(key, node)| read_tool(reader, &key.name, node, settings, variables)).collect()
}

fn read_tool(
    reader: &mut Reader,
    id: &str,
    node: &Node,
    settings: &BTreeMap<String, String>,
    variables: &[Variable],
) -> Option<ToolDefinition> {
    let what = format!("tool `{id}`");
    let fields = reader.fields(node, &what, TOOL_KEYS)?;
    let method = match fields.get("method") {
        Some(node) => reader.one_of(node, "a method", &Method::NAMES).unwrap_or(Method::Get),
        None => Method::Get,
    };
    let url_node = reader.require(&fields, "url", &what);
    let url = url_node.and_then(|node| fill_url(reader, node, settings));
    let arguments = fields.get("arguments").map(|node| read_arguments(reader, node, method)).unwrap_or_default();
    if let (Some(node), Some(url)) = (url_node, &url) {
        check_url(reader, node, url, &arguments);
    }
    let headers = fields.get("headers").map(|node| read_headers(reader, node)).unwrap_or_default();
    let timeout = fields
        .get("timeout")
        .and_then(|node| reader.duration(node, Duration::from_millis(100), TOOL_TIMEOUT))
        .unwrap_or(Duration::from_secs(5));
    let retries =
        fields.get("retries").and_then(|node| reader.number(node, 0.0, f64::from(TOOL_RETRIES))).unwrap_or(1.0);
    Some(ToolDefinition {
        id: id.to_owned(),
        description: fields.get("description").and_then(|node| reader.text(node)).unwrap_or_default(),
        method,
        url: url.unwrap_or_default(),
        headers,
        arguments,
        timeout,
        retries: retries as u32,
        confirm: fields.get("confirm").and_then(|node| reader.truth(node)).unwrap_or(false),
        result: fields.get("result").map(|node| read_result(reader, node, variables)).unwrap_or_default(),
    })
}

/// Puts settings into the URL. Nothing else may stand there: the host never comes from a call.
pub(super) fn fill_url(reader: &mut Reader, node: &Node, settings: &BTreeMap<String, String>) -> Option<String> {
    let mut rest = reader.text(node)?;
    let mut url = String::new();
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else {
            reader.error(node, "`{{` is not closed", None);
            return None;
        };
        let name = rest[start + 2..start + length].trim().to_owned();
        let Some(setting) = name.strip_prefix("settings.") else {
            let help = Some(
                "only settings may stand here (`{{ settings.booking_url }}`); values of a call go into `arguments`"
                    .to_owned(),
            );
            reader.error(node, format!("`{{{{ {name} }}}}` may not stand in a URL"), help);
            return None;
        };
        let Some(value) = settings.get(setting) else {
            let help = crate::agent::diagnostic::suggestion(setting, settings.keys().map(String::as_str));
            reader.error(node, format!("unknown setting `{setting}`"), help);
            return None;
        };
        reader.used.insert(name);
        url.push_str(&rest[..start]);
        url.push_str(value.trim_end_matches('/'));
        rest = rest[start + length + 2..].to_owned();
    }
    Some(url + &rest)
}

fn check_url(reader: &mut Reader, node: &Node, url: &str, arguments: &[Argument]) {
    let Some(after_scheme) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        let help =
            Some("such as `https://api.example.com/bookings` or `{{ settings.booking_url }}/bookings`".to_owned());
        reader.error(node, "a tool's URL starts with `https://` (or `http://` for services on this machine)", help);
        return;
    };
    let (host, path) = after_scheme.split_at(after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len()));
    if host.is_empty() || host.contains(['{', '}', '@', ' ', '\\']) {
        reader.error(
            node,
            "the host of a tool's URL must be written out",
            Some("no `{argument}` and no user name before the path".into()),
        );
    }
    let mut placed: Vec<&str> = Vec::new();
    let mut rest = path;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else {
            reader.error(node, "`{` is not closed", None);
            return;
        };
        let name = &rest[start + 1..start + length];
        placed.push(name);
        if !arguments.iter().any(|a| a.name == name && a.place == Place::Path) {
            let help = Some(format!("declare it: `arguments: {{{name}: {{type: text, in: path}}}}`"));
            reader.error(node, format!("`{{{name}}}` is no argument with `in: path`"), help);
        }
        rest = &rest[start + length + 1..];
    }
    for argument in arguments.iter().filter(|a| a.place == Place::Path && !placed.contains(&a.name.as_str())) {
        let help = Some(format!("write `{{{}}}` in the URL's path", argument.name));
        reader.error(node, format!("argument `{}` is `in: path` but the path does not hold it", argument.name), help);
    }
}

fn read_arguments(reader: &mut Reader, node: &Node, method: Method) -> Vec<Argument> {
    let usual = if matches!(method, Method::Get | Method::Delete) { Place::Query } else { Place::Body };
    let Some(entries) = reader.mapping(node, "`arguments`") else { return Vec::new() };
    entries
        .iter()
        .filter_map(|(key, node)| {
            let plain = Argument {
                name: key.name.clone(),
                kind: Kind::Text,
                place: usual,
                required: true,
                max_chars: ARGUMENT_CHARS,
            };
            if node.scalar().is_some() {
                return Some(Argument { kind: reader.one_of(node, "a type", &Kind::NAMES)?, ..plain });
            }
            let fields = reader.fields(node, "an argument", &["type", "in", "required", "max_chars"])?;
            let kind = reader
                .require(&fields, "type", "an argument")
                .and_then(|node| reader.one_of(node, "a type", &Kind::NAMES))?;
            let place = match fields.get("in") {
                Some(node) => reader.one_of(node, "a place", &Place::NAMES)?,
                None => usual,
            };
            let required = fields.get("required").and_then(|node| reader.truth(node)).unwrap_or(true);
            let max_chars = fields.get("max_chars").and_then(|node| reader.number(node, 1.0, 10_000.0));
            if let Some(given) = fields.get("in")
                && place == Place::Body
                && method == Method::Get
            {
                reader.error(given, "a GET request has no body", Some("use `in: query`".into()));
            }
            Some(Argument {
                kind,
                place,
                required,
                max_chars: max_chars.map_or(ARGUMENT_CHARS, |n| n as usize),
                ..plain
            })
        })
        .collect()
}

pub(super) fn read_headers(reader: &mut Reader, node: &Node) -> Vec<(String, HeaderText)> {
    let Some(entries) = reader.mapping(node, "`headers`") else { return Vec::new() };
    entries
        .iter()
        .filter_map(|(key, node)| {
            let valid = !key.name.is_empty()
                && key.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            if !valid {
                reader.error_at_key(key, format!("`{}` is no header name", key.name), None);
            }
            if matches!(node.value, Yaml::Map(_)) {
                return Some((key.name.clone(), read_header(reader, node)?));
            }
            let text = reader.text(node)?;
            if text.chars().any(char::is_control) {
                reader.error(node, "a header's text holds no line breaks or control characters", None);
            }
            let secret =
                ["authorization", "x-api-key", "api-key", "cookie"].contains(&key.name.to_lowercase().as_str());
            if secret {
                let help = Some(format!("`{}: {{env: NAME_OF_A_VARIABLE}}` keeps it out of the file", key.name));
                reader.warn(node.at, node.width, "a secret is written in the file", help);
            }
            Some((key.name.clone(), HeaderText::Literal(text)))
        })
        .collect()
}

/// A text from elsewhere: `{env: NAME}` or `{file: PATH}`.
pub(super) fn read_header(reader: &mut Reader, node: &Node) -> Option<HeaderText> {
    let fields = reader.fields(node, "a text from elsewhere", &["env", "file"])?;
    match (fields.get("env"), fields.get("file")) {
        (Some(_), Some(file)) => {
            reader.error(file, "give `env` or `file`, not both", None);
            None
        }
        (None, Some(file)) => reader.text(file).map(HeaderText::File),
        _ => reader
            .require(&fields, "env", "a text from elsewhere")
            .and_then(|node| reader.text(node))
            .map(HeaderText::Environment),
    }
}

/// `variable: /pointer` pairs.
pub(super) fn read_result(reader: &mut Reader, node: &Node, variables: &[Variable]) -> Vec<(String, String)> {
    let Some(entries) = reader.mapping(node, "`result`") else { return Vec::new() };
    entries
        .iter()
        .filter_map(|(key, node)| {
            if !variables.iter().any(|v| v.name == key.name) {
                let help = crate::agent::diagnostic::suggestion(&key.name, variables.iter().map(|v| v.name.as_str()));
                reader.error_at_key(key, format!("unknown variable `{}`", key.name), help);
            }
            let pointer = reader.text(node)?;
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let help = Some(format!("a JSON pointer starts with a slash: `/{}`", pointer.replace('.', "/")));
                reader.error(node, format!("`{pointer}` is no JSON pointer"), help);
            }
            Some((key.name.clone(), pointer))
        })
        .collect()
}

pub(super) fn read_destinations(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Destination> {
    let Some(entries) = fields.get("destinations").and_then(|node| reader.mapping(node, "`destinations`")) else {
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|(key, node)| {
            let what = format!("destination `{}`", key.name);
            let fields = reader.fields(
                node,
                &what,
                &["announce", "description", "extension", "mode", "ring_for", "through", "uri"],
            )?;
            let description = fields
                .get("description")
                .and_then(|node| reader.text(node))
                .unwrap_or_else(|| key.name.replace(['_', '-'], " "));
            let target = match (fields.get("extension"), fields.get("uri")) {
                (Some(node), None) => {
                    let text = reader.text(node)?;
                    let keys = text.strip_prefix('+').unwrap_or(&text);
                    if keys.is_empty()
                        || text.len() > 32
                        || !keys.bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b))
                    {
                        reader.error(
                            node,
                            format!("`{text}` is no extension"),
                            Some("digits, `*` and `#`, or a number with `+` in front".into()),
                        );
                    }
                    Target::Extension(text)
                }
                (None, Some(node)) => {
                    let text = reader.text(node)?;
                    let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
                    let plain = rest.is_some_and(|rest| {
                        !rest.is_empty()
                            && rest
                                .chars()
                                .all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '"'))
                    });
                    if !plain {
                        reader.error(
                            node,
                            format!("`{text}` is no SIP URI"),
                            Some("such as `sip:desk@pbx.example.com`".into()),
                        );
                    }
                    Target::Uri(text)
                }
                (Some(node), Some(_)) => {
                    reader.error(node, "give `extension` or `uri`, not both", None);
                    return None;
                }
                (None, None) => {
                    reader.error_at_key(
                        key,
                        format!("{what} has no target"),
                        Some("give `extension: \"20\"` or `uri: sip:…`".into()),
                    );
                    return None;
                }
            };
            let mode = fields.get("mode").and_then(|node| reader.one_of(node, "a mode", &TransferMode::NAMES));
            let ring_for = fields
                .get("ring_for")
                .and_then(|node| reader.duration(node, Duration::from_secs(5), Duration::from_secs(180)));
            let mode = mode.unwrap_or_default();
            let announce = fields.get("announce").map(|node| (node, reader.lines(node, &[])));
            if let Some((node, _)) = announce.as_ref().filter(|_| mode != TransferMode::Attended) {
                let help = Some("write `mode: attended` beside it".to_owned());
                reader.error(
                    node,
                    "only an attended transfer can be announced: otherwise the peer places the call",
                    help,
                );
            }
            Some(Destination {
                id: key.name.clone(),
                announce: announce.and_then(|(_, lines)| lines.into_iter().next()),
                description,
                target,
                mode,
                ring_for: ring_for.unwrap_or(RING_FOR),
                through: fields.get("through").and_then(|node| reader.text(node)),
            })
        })
        .collect()
}
