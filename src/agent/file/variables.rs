//! `variables:` and `calendars:`.

use super::Names;
use super::reader::{Fields, Reader};
use crate::agent::calendar::{Calendar, parse_spans, parse_weekdays};
use crate::agent::rule::{DayLimit, Rule, Variable};
use crate::agent::slot::Choice;
use crate::agent::source::{Node, Yaml};
use crate::agent::value::{Kind, parse_clock};

/// Keys of every variable.
const KEYS: &[&str] = &["type", "called", "default", "reason", "description"];

/// Further keys by kind.
fn keys_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Choice => &["options"],
        Kind::Date => &["from", "until", "open"],
        Kind::Time => &["between", "open", "on_day", "every_minutes"],
        Kind::Number => &["min", "max", "whole"],
        Kind::PhoneNumber => &["digits"],
        Kind::Any | Kind::List | Kind::Name | Kind::Text | Kind::YesNo => &[],
    }
}

pub(super) fn read_variables(reader: &mut Reader, fields: &Fields<'_>, names: &Names) -> Vec<Variable> {
    let Some(entries) = fields.get("variables").and_then(|node| reader.mapping(node, "`variables`")) else {
        return Vec::new();
    };
    entries.iter().filter_map(|(key, node)| read_variable(reader, &key.name, node, names)).collect()
}

fn read_variable(reader: &mut Reader, name: &str, node: &Node, names: &Names) -> Option<Variable> {
    // `name: date` is short for `name: {type: date}`.
    let short = node.scalar().is_some();
    let kind = if short {
        reader.one_of(node, "a type", &Kind::NAMES)?
    } else {
        let fields = reader.mapping(node, &format!("variable `{name}`"))?;
        let given = reader.require(&fields, "type", &format!("variable `{name}`"))?;
        reader.one_of(given, "a type", &Kind::NAMES)?
    };
    let mut variable = Variable {
        name: name.to_owned(),
        kind,
        called: Vec::new(),
        choices: Vec::new(),
        default: None,
        rule: Rule::default(),
        reason: None,
    };
    if short {
        if kind == Kind::Choice {
            reader.error(
                node,
                "a choice needs `options`",
                Some("write `type: choice` and `options:` with a list".into()),
            );
        }
        return Some(variable);
    }
    let known: Vec<&str> = KEYS.iter().chain(keys_of(kind)).copied().collect();
    let fields = reader.fields(node, &format!("a {kind} variable"), &known)?;
    variable.called = fields.get("called").map(|node| reader.texts(node)).unwrap_or_default();
    for called in &mut variable.called {
        *called = called.to_lowercase();
    }
    variable.reason = fields
        .get("reason")
        .map(|node| reader.lines(node, &["heard", "reason"]))
        .and_then(|lines| lines.into_iter().next());
    if let Some(options) = fields.get("options") {
        variable.choices = read_options(reader, options);
    } else if kind == Kind::Choice {
        reader.require(&fields, "options", &format!("choice `{name}`"));
    }
    read_rule(reader, &fields, &mut variable, names);
    if let Some(node) = fields.get("default") {
        let value = literal(kind, node);
        if value.is_none() {
            reader.error(node, format!("this is no {kind}"), Some(example(kind).to_owned()));
        }
        variable.default = value;
    }
    Some(variable)
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "a date is written 2026-11-24",
        Kind::Time => "a time is written \"15:00\"",
        Kind::PhoneNumber => "a phone number is digits with an optional leading +",
        Kind::YesNo => "true or false",
        Kind::Number => "a number is written 12 or 2.5",
        _ => "write the value as text",
    }
}

/// A value written in the file.
fn literal(kind: Kind, node: &Node) -> Option<serde_json::Value> {
    let value = match (&node.value, kind) {
        (Yaml::List(items), Kind::List | Kind::Any) => {
            items.iter().map(|item| item.scalar().map(serde_json::Value::from)).collect::<Option<Vec<_>>>()?.into()
        }
        (Yaml::Scalar { text, .. }, Kind::Number) => crate::agent::slot::number_value(text.parse().ok()?),
        (Yaml::Scalar { text, .. }, Kind::YesNo) => serde_json::Value::from(text.parse::<bool>().ok()?),
        (Yaml::Scalar { text, .. }, _) => serde_json::Value::from(text.as_str()),
        _ => return None,
    };
    kind.admits(&value).then_some(value)
}

fn read_options(reader: &mut Reader, node: &Node) -> Vec<Choice> {
    match &node.value {
        Yaml::List(items) => items
            .iter()
            .filter_map(|item| reader.text(item))
            .map(|id| Choice { spoken: id.replace('_', " "), id, synonyms: Vec::new() })
            .collect(),
        Yaml::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| {
                let id = key.name.clone();
                // `cleaning: [polish, hygienist]` or `cleaning: {say: a cleaning, synonyms: [...]}`
                if matches!(value.value, Yaml::Map(_)) {
                    let fields = reader.fields(value, "an option", &["say", "synonyms"])?;
                    let spoken =
                        fields.get("say").and_then(|node| reader.text(node)).unwrap_or_else(|| id.replace('_', " "));
                    let synonyms = fields.get("synonyms").map(|node| reader.texts(node)).unwrap_or_default();
                    return Some(Choice { id, spoken, synonyms });
                }
                let synonyms = if value.is_null() { Vec::new() } else { reader.texts(value) };
                Some(Choice { spoken: id.replace('_', " "), id, synonyms })
            })
            .collect(),
        Yaml::Scalar { .. } => {
            reader.error(node, "options are a list or a mapping", Some("such as `[cleaning, filling]`".into()));
            Vec::new()
        }
    }
}

fn read_rule(reader: &mut Reader, fields: &Fields<'_>, variable: &mut Variable, names: &Names) {
    let rule = &mut variable.rule;
    let mut day_limit = |key: &str| {
        let node = fields.get(key)?;
        let limit = node.scalar().and_then(DayLimit::parse);
        if limit.is_none() {
            reader.error(node, "this is no day", Some("`today`, `tomorrow`, `+90 days` or `2026-12-31`".into()));
        }
        limit
    };
    rule.days = (day_limit("from"), day_limit("until"));
    if variable.kind == Kind::Date && rule.days.0.is_none() && fields.get("open").is_some() {
        // Whoever is asked against opening hours cannot come in the past.
        rule.days.0 = Some(DayLimit::Ahead(0));
    }
    rule.calendar = fields.get("open").and_then(|node| reader.reference(node, "calendar", &names.calendars));
    if let Some(node) = fields.get("on_day") {
        rule.day = reader.reference(node, "variable", &names.variables).map(|index| names.variables[index].clone());
        reader.used.extend(rule.day.clone());
    }
    if let Some(node) = fields.get("between") {
        let times: Vec<_> = reader.texts(node).iter().filter_map(|text| parse_clock(text)).collect();
        match times.as_slice() {
            [from, to] if from < to => rule.between = Some((*from, *to)),
            _ => reader.error(node, "two times are needed, the earlier first", Some("`[\"9:00\", \"17:00\"]`".into())),
        }
    }
    rule.every_minutes = fields.get("every_minutes").and_then(|node| reader.number(node, 1.0, 60.0)).map(|n| n as i8);
    rule.min = fields.get("min").and_then(|node| reader.number(node, -1e12, 1e12));
    rule.max = fields.get("max").and_then(|node| reader.number(node, -1e12, 1e12));
    if let (Some(min), Some(max), Some(node)) = (rule.min, rule.max, fields.get("max"))
        && min > max
    {
        reader.error(node, format!("`max` is below `min` ({min})"), None);
    }
    rule.whole = fields.get("whole").and_then(|node| reader.truth(node)).unwrap_or(false);
    if let Some(node) = fields.get("digits") {
        let counts: Vec<usize> = reader.texts(node).iter().filter_map(|text| text.parse().ok()).collect();
        match counts.as_slice() {
            [count] if (1..=15).contains(count) => rule.digits = Some((*count, *count)),
            [least, most] if least <= most && (1..=15).contains(most) => rule.digits = Some((*least, *most)),
            _ => reader.error(node, "one or two counts up to 15 are needed", Some("`[7, 15]`, fewest and most".into())),
        }
    }
}

pub(super) fn read_calendars(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Calendar> {
    let Some(entries) = fields.get("calendars").and_then(|node| reader.mapping(node, "`calendars`")) else {
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|(key, node)| {
            let mut calendar = Calendar { id: key.name.clone(), week: Default::default(), closed: Vec::new() };
            for (day, hours) in reader.mapping(node, &format!("calendar `{}`", key.name))?.iter() {
                if day.name == "closed" {
                    for text in reader.texts(hours) {
                        match text.parse() {
                            Ok(date) => calendar.closed.push(date),
                            Err(_) => reader.error(
                                hours,
                                format!("`{text}` is no date"),
                                Some("a date is written 2026-12-25".into()),
                            ),
                        }
                    }
                    continue;
                }
                let Some(days) = parse_weekdays(&day.name) else {
                    let help = Some("a weekday, several (`monday-friday`), or `closed` with dates".to_owned());
                    reader.error_at_key(day, format!("`{}` is no weekday", day.name), help);
                    continue;
                };
                let Some(spans) = reader.text(hours).as_deref().and_then(parse_spans) else {
                    reader.error(
                        hours,
                        "these are no opening hours",
                        Some("such as `9:00-12:00, 13:00-17:00` or `closed`".into()),
                    );
                    continue;
                };
                for index in days {
                    if let Some(slot) = calendar.week.get_mut(index) {
                        slot.clone_from(&spans);
                    }
                }
            }
            Some(calendar)
        })
        .collect()
}
