//! The tools of one agent, checked and made ready when the agent is loaded: the closed list that every
//! call's gate consults.

use super::limits::RETRIES;
use super::policy::{CheckedUrl, EgressPolicy, Refusal};
use crate::agent::tool::{Argument, HeaderText, Method, Place, ToolDefinition};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One tool, ready to run.
#[derive(Clone, Debug)]
pub struct HttpTool {
    pub(super) id: String,
    pub(super) method: reqwest::Method,
    url: String,
    origin: String,
    pub(super) headers: HeaderMap,
    pub(super) arguments: Vec<Argument>,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) confirm: bool,
}

/// The closed list of an agent's tools, by id.
#[derive(Clone, Debug, Default)]
pub struct ToolSet {
    tools: BTreeMap<String, Arc<HttpTool>>,
}

/// What is wrong with one tool's declaration or its surroundings. The agent file's author or the
/// operator mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tool {tool}: {problem}")]
pub struct ToolSetupError {
    /// The tool's id.
    pub tool: String,
    /// The problem.
    pub problem: ToolProblem,
}

/// See [`ToolSetupError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolProblem {
    /// Two tools have this id.
    #[error("declared twice")]
    Duplicate,
    /// A header comes from an environment variable that is not set.
    #[error("header {header} wants the environment variable {variable}, which is not set")]
    Environment {
        /// The header.
        header: String,
        /// The variable.
        variable: String,
    },
    /// A header comes from a file that cannot be used.
    #[error("header {header} wants the first line of {file}: {reason}")]
    File {
        /// The header.
        header: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header the HTTP client or this server sets itself.
    #[error("header {0} is set by the server and may not be declared")]
    HeaderReserved(String),
    /// A header name or value with characters that HTTP does not allow.
    #[error("header {0} has a name or value that HTTP does not allow")]
    HeaderText(String),
    /// A placeholder outside the path, one without a path argument, or a path argument without one.
    #[error("{0}")]
    Placeholder(String),
    /// The egress guard refuses the URL.
    #[error(transparent)]
    Url(#[from] Refusal),
}

/// Largest file that a secret is read from.
const SECRET_BYTES: u64 = 4_096;

/// Headers that belong to the connection, the framing or this server.
const RESERVED_HEADERS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl ToolSet {
    /// Checks all declarations of an agent file. `environment` looks up the variables that headers name.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn new(
        definitions: &[ToolDefinition],
        policy: &EgressPolicy,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ToolSetupError>> {
        let mut tools = BTreeMap::new();
        let mut errors = Vec::new();
        for definition in definitions {
            let mut problem =
                |problem: ToolProblem| errors.push(ToolSetupError { tool: definition.id.clone(), problem });
            match HttpTool::new(definition, policy, environment) {
                Ok(tool) => {
                    if tools.insert(definition.id.clone(), Arc::new(tool)).is_some() {
                        problem(ToolProblem::Duplicate);
                    }
                }
                Err(problems) => problems.into_iter().for_each(problem),
            }
        }
        if errors.is_empty() { Ok(Self { tools }) } else { Err(errors) }
    }

    /// The tool with this id.
    #[must_use]
    pub fn tool(&self, id: &str) -> Option<&Arc<HttpTool>> {
        self.tools.get(id)
    }

    /// All ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }
}

impl HttpTool {
    fn new(
        definition: &ToolDefinition,
        policy: &EgressPolicy,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ToolProblem>> {
        let mut problems = Vec::new();
        let mut origin = String::new();
        match check_placeholders(definition) {
            Err(problem) => problems.push(ToolProblem::Placeholder(problem)),
            Ok(()) => match policy.check(&definition.url.replace(['{', '}'], "_")) {
                Err(refusal) => problems.push(ToolProblem::Url(refusal)),
                Ok(url) => origin = url.url().origin().ascii_serialization(),
            },
        }
        let mut headers = HeaderMap::new();
        for (name, text) in &definition.headers {
            match header(name, text, environment) {
                Ok((name, value)) => {
                    headers.append(name, value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            id: definition.id.clone(),
            method: match definition.method {
                Method::Delete => reqwest::Method::DELETE,
                Method::Get => reqwest::Method::GET,
                Method::Patch => reqwest::Method::PATCH,
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
            },
            origin,
            url: definition.url.clone(),
            headers,
            arguments: definition.arguments.clone(),
            timeout: definition.timeout,
            retries: definition.retries.min(RETRIES),
            confirm: definition.confirm,
        })
    }

    /// The tool's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Scheme, host and port, the same for every call.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The URL with path and query arguments filled in. Each path argument stays one segment.
    pub(super) fn filled_url(
        &self,
        policy: &EgressPolicy,
        arguments: &Map<String, Value>,
    ) -> Result<CheckedUrl, Refusal> {
        let mut url = self.url.clone();
        let mut query = String::new();
        for argument in &self.arguments {
            let Some(value) = arguments.get(&argument.name) else { continue };
            match argument.place {
                Place::Body => {}
                Place::Path => url = url.replace(&format!("{{{}}}", argument.name), &percent_encoded(&plain(value))),
                Place::Query => {
                    query.push(if query.is_empty() && !url.contains('?') { '?' } else { '&' });
                    query.push_str(&percent_encoded(&argument.name));
                    query.push('=');
                    query.push_str(&percent_encoded(&plain(value)));
                }
            }
        }
        url.push_str(&query);
        policy.check(&url)
    }

    /// The JSON body, when the method or an argument asks for one.
    pub(super) fn body(&self, arguments: &Map<String, Value>) -> Option<Vec<u8>> {
        let has_place = self.arguments.iter().any(|argument| argument.place == Place::Body);
        let takes_body = [reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::PATCH].contains(&self.method);
        if !has_place && !takes_body {
            return None;
        }
        let members: Map<String, Value> = self
            .arguments
            .iter()
            .filter(|argument| argument.place == Place::Body)
            .filter_map(|argument| Some((argument.name.clone(), arguments.get(&argument.name)?.clone())))
            .collect();
        Some(Value::Object(members).to_string().into_bytes())
    }
}

/// A value as URL text: strings bare, everything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Everything but the unreserved characters of RFC 3986 section 2.3 becomes `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn check_placeholders(definition: &ToolDefinition) -> Result<(), String> {
    let url = &definition.url;
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    let query = url.find(['?', '#']).unwrap_or(url.len());
    let mut named = Vec::new();
    let mut rest = 0;
    while let Some(open) = url[rest..].find(['{', '}']).map(|at| rest + at) {
        let Some(close) = url[open..].find('}').map(|at| open + at).filter(|close| *close > open) else {
            return Err("a brace in the URL has no partner".to_owned());
        };
        let name = &url[open + 1..close];
        if open < path || close > query {
            return Err(format!("{{{name}}} may stand in the path of the URL only"));
        }
        if definition.argument(name).is_none_or(|argument| argument.place != Place::Path || !argument.required) {
            return Err(format!("{{{name}}} in the URL needs a required argument {name} with place: path"));
        }
        named.push(name);
        rest = close + 1;
    }
    match definition.arguments.iter().find(|a| a.place == Place::Path && !named.contains(&a.name.as_str())) {
        Some(argument) => Err(format!("the path argument {0} has no {{{0}}} in the URL", argument.name)),
        None => Ok(()),
    }
}

/// A header field as an agent file declares it, ready to be sent. Secrets are marked, so that no log shows them.
///
/// # Errors
/// The name or the text is not of HTTP, the server sets this header itself, or its secret is not to be had.
pub fn header(
    name: &str,
    text: &HeaderText,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(HeaderName, HeaderValue), ToolProblem> {
    let bad = || ToolProblem::HeaderText(name.to_owned());
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    if RESERVED_HEADERS.contains(&header.as_str()) {
        return Err(ToolProblem::HeaderReserved(name.to_owned()));
    }
    let mut value = HeaderValue::from_str(&header_text(name, text, environment)?).map_err(|_| bad())?;
    value.set_sensitive(!matches!(text, HeaderText::Literal(_)));
    Ok((header, value))
}

/// The text of a header field, or of a key that an agent file declares the same way. It may be a secret.
///
/// # Errors
/// The variable is not set, or the file cannot be used.
pub fn header_text(
    name: &str,
    text: &HeaderText,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ToolProblem> {
    match text {
        HeaderText::Literal(text) => Ok(text.clone()),
        HeaderText::Environment(variable) => {
            let missing = || ToolProblem::Environment { header: name.to_owned(), variable: variable.clone() };
            Ok(environment(variable).ok_or_else(missing)?.trim_end().to_owned())
        }
        HeaderText::File(file) => {
            let unusable = |reason: String| ToolProblem::File { header: name.to_owned(), file: file.clone(), reason };
            let size = std::fs::metadata(file).map_err(|error| unusable(error.to_string()))?.len();
            if size > SECRET_BYTES {
                return Err(unusable(format!("it has more than {SECRET_BYTES} bytes")));
            }
            let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
            let line = text.lines().next().unwrap_or_default().trim_end();
            if line.is_empty() { Err(unusable("it is empty".to_owned())) } else { Ok(line.to_owned()) }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::value::Kind;
    use serde_json::json;

    pub(in crate::tools) fn argument(name: &str, kind: Kind, place: Place) -> Argument {
        Argument { name: name.into(), kind, place, required: true, max_chars: 40 }
    }

    pub(in crate::tools) fn booking_tool() -> ToolDefinition {
        ToolDefinition {
            id: "book".into(),
            description: "books".into(),
            method: Method::Post,
            url: "https://booking.example/v1/{clinic}/bookings".into(),
            headers: vec![("Authorization".into(), HeaderText::Environment("TOKEN".into()))],
            arguments: vec![
                argument("clinic", Kind::Text, Place::Path),
                argument("name", Kind::Name, Place::Body),
                argument("date", Kind::Date, Place::Body),
                Argument { required: false, ..argument("note", Kind::Text, Place::Query) },
            ],
            timeout: Duration::from_secs(5),
            retries: 2,
            confirm: true,
            result: Vec::new(),
        }
    }

    fn environment(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "Bearer abc\n".to_owned())
    }

    fn problems(change: impl FnOnce(&mut ToolDefinition)) -> Vec<ToolProblem> {
        let mut tool = booking_tool();
        change(&mut tool);
        ToolSet::new(&[tool], &EgressPolicy::default(), &environment)
            .unwrap_err()
            .into_iter()
            .map(|error| error.problem)
            .collect()
    }

    #[test]
    fn arguments_land_in_path_query_and_body_and_cannot_leave_their_place() {
        let policy = EgressPolicy::default();
        let set = ToolSet::new(&[booking_tool()], &policy, &environment).unwrap();
        let tool = set.tool("book").unwrap();
        let arguments =
            json!({"clinic": "../admin?x=1#y", "name": "Anna \"B\" Berg", "date": "2026-11-24", "note": "a&b=c"});
        let arguments = arguments.as_object().unwrap();
        assert_eq!(
            tool.filled_url(&policy, arguments).unwrap().url().as_str(),
            "https://booking.example/v1/..%2Fadmin%3Fx%3D1%23y/bookings?note=a%26b%3Dc"
        );
        let body: Value = serde_json::from_slice(&tool.body(arguments).unwrap()).unwrap();
        assert_eq!(body, json!({"name": "Anna \"B\" Berg", "date": "2026-11-24"}));
        assert!(tool.headers["authorization"].is_sensitive());
        assert_eq!(tool.headers["authorization"], "Bearer abc");
    }

    #[test]
    fn a_placeholder_may_not_choose_the_host_or_the_query() {
        for url in [
            "https://{clinic}/x",
            "https://a.{clinic}.example/x",
            "https://a.example:{clinic}/x",
            "https://a.example?x={clinic}",
            "https://a.example/?x={clinic}",
            "https://a.example/{clinic",
            "https://a.example/clinic}",
            "https://a.example/{name}",
            "https://a.example/{unknown}",
            "https://a.example/none",
        ] {
            let found = problems(|tool| tool.url = url.into());
            assert!(matches!(found[..], [ToolProblem::Placeholder(_)]), "{url}: {found:?}");
        }
    }

    #[test]
    fn bad_urls_headers_and_missing_secrets_are_all_reported_when_the_agent_is_loaded() {
        assert!(matches!(problems(|t| t.url = "https://10.0.0.1/{clinic}".into())[..], [ToolProblem::Url(_)]));
        let found = problems(|tool| {
            tool.headers = vec![
                ("Host".into(), HeaderText::Literal("evil".into())),
                ("X-A".into(), HeaderText::Literal("a\r\nX-B: b".into())),
                ("X A".into(), HeaderText::Literal("a".into())),
                ("X-Key".into(), HeaderText::Environment("MISSING".into())),
            ];
        });
        assert!(
            matches!(
                found[..],
                [
                    ToolProblem::HeaderReserved(_),
                    ToolProblem::HeaderText(_),
                    ToolProblem::HeaderText(_),
                    ToolProblem::Environment { .. }
                ]
            ),
            "{found:?}"
        );
        let twice = ToolSet::new(&[booking_tool(), booking_tool()], &EgressPolicy::default(), &environment);
        assert_eq!(twice.unwrap_err()[0].problem, ToolProblem::Duplicate);
    }
}
