//! What an agent file says about a tool. Only data: `tools/` runs it.

use super::value::Kind;
use std::time::Duration;

/// An HTTP request the agent may make, as declared under `tools:`.
///
/// The host is literal: it comes from the file (or a setting), never from a caller or a model. What a
/// call supplies are [`Argument`]s, each placed in the path, the query or the JSON body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolDefinition {
    /// Its name in the agent file.
    pub id: String,
    /// One line for people.
    pub description: String,
    /// HTTP method.
    pub method: Method,
    /// Absolute URL with settings filled in. `{argument}` may stand in the path only; each is replaced by
    /// the percent-encoded argument.
    pub url: String,
    /// Request headers in file order.
    pub headers: Vec<(String, HeaderText)>,
    /// Arguments in file order; no others may be sent.
    pub arguments: Vec<Argument>,
    /// For the whole action, retries included.
    pub timeout: Duration,
    /// Further attempts after a failure that permits one (connection refused, 502–504, timeout with an idempotent request).
    pub retries: u32,
    /// True when the caller must have said yes to a read-back of the arguments first
    /// (`confirmed` in [`super::Effect::CallTool`]).
    pub confirm: bool,
    /// Variables filled from a successful answer: variable, JSON pointer (RFC 6901).
    pub result: Vec<(String, String)>,
}

impl ToolDefinition {
    /// The argument with this name.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|a| a.name == name)
    }
}

/// An HTTP method a tool may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each variant is the method of that name")]
pub enum Method {
    Delete,
    Get,
    Patch,
    Post,
    Put,
}

impl Method {
    /// Every method with its name on the wire.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("DELETE", Self::Delete),
        ("GET", Self::Get),
        ("PATCH", Self::Patch),
        ("POST", Self::Post),
        ("PUT", Self::Put),
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, method)| *method == self).map_or("GET", |(name, _)| name)
    }
}

/// Where a header's text comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeaderText {
    /// Written in the file. Not for secrets.
    Literal(String),
    /// Read from this environment variable when the server starts: `{env: BOOKING_TOKEN}`.
    Environment(String),
    /// The one line of this file, read when the server starts: `{file: token.txt}`.
    File(String),
}

/// One argument of a tool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name in `with:` and on the wire.
    pub name: String,
    /// The JSON form it must have.
    pub kind: Kind,
    /// Where it goes.
    pub place: Place,
    /// False when it may be left out.
    pub required: bool,
    /// Longest text in characters; [`super::limits::ARGUMENT_CHARS`] unless given.
    pub max_chars: usize,
}

/// Where an argument stands in the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A member of the JSON body. The default for POST, PUT and PATCH.
    Body,
    /// In place of `{name}` in the URL's path.
    Path,
    /// A query parameter. The default for GET and DELETE.
    Query,
}

impl Place {
    /// Every place with its name in the agent file.
    pub const NAMES: [(&'static str, Self); 3] = [("body", Self::Body), ("path", Self::Path), ("query", Self::Query)];
}
