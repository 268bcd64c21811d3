//! Spoken lines and conditions: minijinja templates over the conversation's variables.

use super::limits::{LINE_CHARS, PROMPT_CHARS, TEMPLATE_FUEL};
use super::slot::Choice;
use super::speak;
use super::value::{Kind, parse_clock};
use jiff::civil::Date;
use minijinja::value::{Object, ObjectRepr, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Filters a template may use, with what they say.
pub const FILTERS: &[(&str, &str)] = &[
    ("date", "a day: Tuesday, November 24th"),
    ("time", "a time: 3:00 PM"),
    ("phone", "digits one by one in groups"),
    ("price", "an amount of money; `price(\"EUR\")` for another currency than dollars"),
    ("spell", "letters one by one"),
    ("list", "a, b and c; `list(\"or\")` for another last word"),
    ("default", "another value when there is none"),
    ("length", "how many"),
    ("first", "the first item"),
    ("last", "the last item"),
    ("join", "items joined by a text"),
    ("lower", "lower case"),
    ("upper", "upper case"),
    ("title", "Title Case"),
    ("capitalize", "First letter big"),
    ("trim", "without outer blanks"),
    ("replace", "a text replaced by another"),
    ("round", "rounded"),
    ("int", "as a whole number"),
    ("float", "as a number"),
    ("string", "as text"),
    ("slice", "cut into parts"),
    ("sort", "sorted"),
    ("reverse", "back to front"),
    ("unique", "without repeats"),
    ("abs", "without sign"),
    ("d", "short for default"),
    ("count", "short for length"),
    ("min", "the least"),
    ("max", "the greatest"),
    ("sum", "the sum"),
    ("select", "items for which a test holds"),
    ("reject", "items for which a test does not hold"),
    ("map", "an attribute of each item"),
];

/// A value that says itself: `{{ day }}` speaks, filters still see the day.
#[derive(Debug)]
struct Spoken {
    raw: Value,
    text: String,
}

impl Object for Spoken {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.raw.is_true()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The value behind a [`Spoken`] one.
fn raw(value: &Value) -> Value {
    value.downcast_object_ref::<Spoken>().map_or_else(|| value.clone(), |spoken| spoken.raw.clone())
}

fn missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

fn expected(what: &str, value: &Value) -> Error {
    if value.is_undefined() {
        return Error::new(ErrorKind::UndefinedError, format!("{what} is not known"));
    }
    Error::new(ErrorKind::InvalidOperation, format!("{what} was expected, not {value}"))
}

/// Applies `say` to a value, or to each item of a list.
fn each(value: &Value, say: &dyn Fn(&Value) -> Result<Value, Error>) -> Result<Value, Error> {
    let value = raw(value);
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return value.try_iter()?.map(|item| say(&raw(&item))).collect::<Result<Vec<_>, _>>().map(Value::from);
    }
    say(&value)
}

/// The variables a template sees.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    values: BTreeMap<String, Value>,
    today: Option<Date>,
}

impl Scope {
    /// Nothing known yet but the day.
    #[must_use]
    pub fn new(today: Date) -> Self {
        Self { values: BTreeMap::new(), today: Some(today) }
    }

    /// Adds a variable as spoken lines see it: printed as its kind is said.
    pub fn speak(&mut self, name: &str, kind: Kind, value: &serde_json::Value, choices: &[Choice]) {
        let text = speak::value(kind, value, choices, self.today.unwrap_or(Date::ZERO));
        let plain = matches!(kind, Kind::Any | Kind::List);
        let raw = Value::from(Serde(value));
        self.values.insert(name.to_owned(), if plain { raw } else { Value::from_object(Spoken { raw, text }) });
    }

    /// Adds a variable as it is.
    pub fn put(&mut self, name: &str, value: impl serde::Serialize) {
        self.values.insert(name.to_owned(), Value::from(Serde(value)));
    }

    fn context(&self) -> Value {
        let mut values = self.values.clone();
        if let Some(today) = self.today {
            values.insert("today".into(), Value::from(today.to_string()));
        }
        Value::from(values)
    }
}

/// A spoken line or condition cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// The line within the template, counted from 1, if known.
    pub line: Option<usize>,
}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let message = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        Self { message, line: error.line() }
    }
}

/// The template engine with the speaking filters.
#[derive(Clone)]
pub struct Templates {
    strict: Environment<'static>,
    lenient: Environment<'static>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Templates")
    }
}

impl Default for Templates {
    fn default() -> Self {
        let environment = |undefined, forgiving| {
            let mut environment = Environment::new();
            environment.set_undefined_behavior(undefined);
            environment.set_fuel(Some(TEMPLATE_FUEL));
            add_filters(&mut environment, forgiving);
            environment
        };
        Self {
            strict: environment(UndefinedBehavior::SemiStrict, false),
            lenient: environment(UndefinedBehavior::Chainable, true),
        }
    }
}

impl Templates {
    /// Checks that `source` is a template and lists the variables it needs.
    ///
    /// # Errors
    /// On a syntax error.
    pub fn check_line(&self, source: &str) -> Result<Vec<String>, TemplateError> {
        let template = self.strict.template_from_str(source)?;
        let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        Ok(names)
    }

    /// Checks that `source` is an expression and lists the variables it needs.
    ///
    /// # Errors
    /// On a syntax error.
    pub fn check_expression(&self, source: &str) -> Result<Vec<String>, TemplateError> {
        let expression = self.strict.compile_expression(source)?;
        let mut names: Vec<String> = expression.undeclared_variables(true).into_iter().collect();
        names.sort();
        Ok(names)
    }

    /// Fills in a spoken line: single blanks, at most [`LINE_CHARS`] characters. The second value is false
    /// when something in it was not known and had to be left out.
    #[must_use]
    pub fn line(&self, source: &str, scope: &Scope) -> (String, bool) {
        let (text, whole) = self.fill_in(source, scope);
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (text.chars().take(LINE_CHARS).collect(), whole)
    }

    /// Fills in instructions for a language model: lines as they are, at most [`PROMPT_CHARS`] characters. The second
    /// value is false when something in it was not known and had to be left out.
    #[must_use]
    pub fn instructions(&self, source: &str, scope: &Scope) -> (String, bool) {
        let (text, whole) = self.fill_in(source, scope);
        (text.trim().chars().take(PROMPT_CHARS).collect(), whole)
    }

    fn fill_in(&self, source: &str, scope: &Scope) -> (String, bool) {
        let context = scope.context();
        match self.strict.render_str(source, context.clone()) {
            Ok(text) => (text, true),
            Err(_) => (self.lenient.render_str(source, context).unwrap_or_default(), false),
        }
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// When it fails on these values, such as the length of nothing.
    pub fn value(&self, source: &str, scope: &Scope) -> Result<serde_json::Value, TemplateError> {
        let value = self.lenient.compile_expression(source)?.eval(scope.context())?;
        let value = raw(&value);
        if value.is_undefined() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::to_value(&value).map_err(|error| TemplateError { message: error.to_string(), line: None })
    }

    /// Whether a condition holds; one that fails to evaluate does not hold.
    #[must_use]
    pub fn holds(&self, source: &str, scope: &Scope) -> bool {
        let Ok(expression) = self.lenient.compile_expression(source) else { return false };
        expression.eval(scope.context()).is_ok_and(|value| value.is_true())
    }
}

/// Adds the speaking filters. A `forgiving` environment says nothing where a value is missing, so that the
/// rest of the line is still heard.
fn add_filters(environment: &mut Environment<'static>, forgiving: bool) {
    let soften = move |result: Result<Value, Error>| match result {
        Err(_) if forgiving => Ok(Value::from("")),
        result => result,
    };
    environment.add_filter("date", move |value: Value| {
        soften(each(&value, &|value| {
            let day =
                value.as_str().and_then(|text| text.parse::<Date>().ok()).ok_or_else(|| expected("a day", value))?;
            Ok(Value::from(speak::date(day, day)))
        }))
    });
    environment.add_filter("time", move |value: Value| {
        soften(each(&value, &|value| {
            let time = value.as_str().and_then(parse_clock).ok_or_else(|| expected("a time", value))?;
            Ok(Value::from(speak::time(time)))
        }))
    });
    environment.add_filter("phone", move |value: Value| {
        soften(each(&value, &|value| {
            let digits =
                Some(value).filter(|value| !missing(value)).ok_or_else(|| expected("a telephone number", value))?;
            Ok(Value::from(speak::phone(&digits.to_string())))
        }))
    });
    environment.add_filter("spell", move |value: Value| {
        soften(each(&value, &|value| {
            let text = Some(value).filter(|value| !missing(value)).ok_or_else(|| expected("a text", value))?;
            Ok(Value::from(speak::spell(&text.to_string())))
        }))
    });
    environment.add_filter("price", move |value: Value, currency: Option<String>| {
        let currency = currency.unwrap_or_else(|| "USD".into());
        soften(each(&value, &|value| {
            let amount = f64::try_from(value.clone())
                .ok()
                .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
                .ok_or_else(|| expected("an amount", value))?;
            Ok(Value::from(speak::price(amount, &currency)))
        }))
    });
    environment.add_filter("list", move |value: Value, last: Option<String>| {
        let value = raw(&value);
        let last = last.unwrap_or_else(|| "and".into());
        let items = || -> Result<Value, Error> {
            if missing(&value) {
                return Err(expected("a list", &value));
            }
            let items: Vec<String> = value.try_iter()?.map(|item| item.to_string()).collect();
            Ok(Value::from(speak::list(&items, &last)))
        };
        soften(items())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let mut scope = Scope::new(jiff::civil::date(2026, 11, 23));
        scope.speak("day", Kind::Date, &json!("2026-11-24"), &[]);
        scope.speak("time", Kind::Time, &json!("15:00"), &[]);
        scope.speak("phone", Kind::PhoneNumber, &json!("5550134"), &[]);
        scope.speak("name", Kind::Name, &json!("Anna Berg"), &[]);
        scope.speak("free", Kind::List, &json!(["9:00", "15:30"]), &[]);
        scope
    }

    #[test]
    fn lines_speak_values_with_and_without_filters() {
        let templates = Templates::default();
        for (source, expected) in [
            ("{{ day }} at {{ time }}", "Tuesday, November 24th at 3:00 PM"),
            ("{{ day | date }} at {{ time | time }}", "Tuesday, November 24th at 3:00 PM"),
            ("{{ phone }}", "5 5 5, 0 1 3 4"),
            ("{{ name | spell }}", "A, N, N, A, B, E, R, G"),
            ("{{ free | time | list('or') }}", "9:00 AM or 3:30 PM"),
            ("{{ 95 | price }} or {{ 80 | price('EUR') }}", "95 dollars or 80 euros"),
            ("{% if name %}Hi\n  {{ name }}{% endif %}", "Hi Anna Berg"),
        ] {
            assert_eq!(templates.line(source, &scope()), (expected.to_owned(), true), "{source}");
        }
    }

    #[test]
    fn an_unknown_value_is_left_out_and_reported() {
        let templates = Templates::default();
        assert_eq!(templates.line("Hello {{ nobody }}!", &scope()), ("Hello !".to_owned(), false));
        assert_eq!(templates.line("At {{ nothing | time }} then.", &scope()), ("At then.".to_owned(), false));
        assert_eq!(templates.line("{{ free[:1] | time | list }}", &scope()), ("9:00 AM".to_owned(), true));
        assert_eq!(templates.check_line("{{ a }} {{ b.c }}").ok(), Some(vec!["a".into(), "b.c".into()]));
        assert!(templates.check_line("{{ a ").is_err());
    }

    #[test]
    fn conditions_see_plain_values_and_never_run_for_ever() {
        let templates = Templates::default();
        let mut scope = Scope::default();
        scope.put("free", json!(["9:00"]));
        scope.put("day", json!("2026-11-24"));
        assert!(templates.holds("free | length == 1 and day == '2026-11-24'", &scope));
        assert!(!templates.holds("nothing.there > 3", &scope));
        assert_eq!(templates.value("free[0]", &scope), Ok(json!("9:00")));
        let (text, whole) =
            templates.line("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", &scope);
        assert!(!whole && text.chars().count() <= LINE_CHARS);
    }
}
