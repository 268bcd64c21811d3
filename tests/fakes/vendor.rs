//! What a vendor is: the two traits a fake implements and the values that pass through them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    misbehaviour::{Active, Misbehaviour},
    server::State,
};

/// A vendor: answers requests and holds conversations. Called from the server's own thread; must not block.
pub trait Vendor: Send + Sync + 'static {
    /// Answers a plain HTTP request. A vendor without any keeps this one, which complains and answers 404.
    fn http(&self, request: &Request) -> Reply {
        request.context.complain(format!("no such resource: {} {}", request.method, request.path));
        Reply::json(404, &serde_json::json!({"error": {"message": "not found"}}))
    }

    /// Takes up a WebSocket, or refuses the upgrade with a reply. A vendor without any keeps this one.
    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        Err(self.http(request))
    }

    /// The body of the error that goes with a status of [`Misbehaviour::Status`], as JSON.
    fn refusal(&self, status: u16) -> Value {
        serde_json::json!({"error": {"code": status, "message": format!("the fake answers {status}")}})
    }
}

impl<V: Vendor> Vendor for Arc<V> {
    fn http(&self, request: &Request) -> Reply {
        V::http(self, request)
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Conversation>, Reply> {
        V::websocket(self, request)
    }

    fn refusal(&self, status: u16) -> Value {
        V::refusal(self, status)
    }
}

/// One WebSocket: told what happens, returns what to say. Pings, pongs and closing are the server's business.
pub trait Conversation: Send {
    /// The upgrade is answered.
    fn opened(&mut self) -> Vec<Say> {
        Vec::new()
    }

    /// A whole message came.
    fn heard(&mut self, message: Message) -> Vec<Say>;

    /// Ten milliseconds have passed. Called once for each of them, late ones too, while [`Conversation::ticks`].
    fn elapsed(&mut self) -> Vec<Say> {
        Vec::new()
    }

    /// Whether [`Conversation::elapsed`] is to be called. Asked after every other call; a tick costs a wake-up, so say
    /// no when there is nothing to pace.
    fn ticks(&self) -> bool {
        false
    }

    /// The client has left: with its close code (1005 when it gave none), or `None` when it just went. Not called when
    /// this side ends the conversation.
    fn closed(&mut self, _code: Option<u16>) {}

    /// Which of the subprotocols the client offers is taken (RFC 6455 §4.2.2). The first, unless overridden.
    fn subprotocol(&self, offered: &[&str]) -> Option<String> {
        offered.first().map(|name| (*name).to_owned())
    }

    /// More headers for the answer to the upgrade.
    fn headers(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether this message is a final result: what was said, for good. For [`Misbehaviour::DuplicateFinals`] and
    /// [`Misbehaviour::OutOfOrderFinals`].
    fn is_final(&self, _text: &str) -> bool {
        false
    }

    /// Whether its binary messages are text, as some vendors' are.
    fn writes_text_in_binary(&self) -> bool {
        false
    }

    /// A text message of a type the vendor may invent tomorrow, for [`Misbehaviour::UnknownTypes`].
    fn unknown(&self) -> String {
        r#"{"type":"fake.unknown_event","event_id":"unknown","note":"a client ignores this"}"#.into()
    }
}

/// A whole message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, checked to be UTF-8.
    Text(String),
    /// Octets.
    Binary(Vec<u8>),
}

impl Message {
    /// The message as JSON; `Null` when it is binary or no JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            Self::Binary(_) => Value::Null,
        }
    }
}

/// What a conversation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// Sends a text message.
    Text(String),
    /// Sends a binary message.
    Binary(Vec<u8>),
    /// Does it later, counted from when it was returned. Those of one time keep their order.
    After(Duration, Box<Self>),
    /// Takes back all that waits in [`Say::After`].
    Forget,
    /// Closes with this code and reason.
    Close(u16, String),
    /// Drops the connection without a close frame, behind what was said.
    Drop,
}

impl Say {
    /// A text message with this JSON.
    pub fn json(value: &Value) -> Self {
        Self::Text(value.to_string())
    }

    /// The same, later.
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ….
    pub method: String,
    /// The path without the query, as sent.
    pub path: String,
    /// The query's pairs in their order, percent-decoded.
    pub query: Vec<(String, String)>,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunks put together.
    pub body: Vec<u8>,
    /// When its last octet came.
    pub arrived: Instant,
    /// The connection it came on.
    pub context: Context,
}

impl Request {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first value of this key in the query.
    pub fn param(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// All values of this key in the query.
    pub fn params<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The credentials behind this scheme in `authorization`, such as `Bearer` or `Token`.
    pub fn credentials(&self, scheme: &str) -> Option<&str> {
        let (given, credentials) = self.header("authorization")?.split_once(' ')?;
        given.eq_ignore_ascii_case(scheme).then_some(credentials)
    }

    /// True when it asks for a WebSocket (RFC 6455 §4.2.1).
    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }
}

/// The connection a request came on, shared with its conversation.
#[derive(Clone)]
pub struct Context {
    pub(super) state: Arc<State>,
    pub(super) connection: u64,
    pub(super) opened: Instant,
}

impl Context {
    /// A context of no server, to try a conversation by itself.
    pub fn alone() -> Self {
        Self { state: Arc::new(State::default()), connection: 1, opened: Instant::now() }
    }

    /// The ordinal of the connection, from 1.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// Whether the conversation is to fail in this way from this moment.
    pub fn misbehaves(&self, what: Misbehaviour) -> bool {
        self.active().has(what)
    }

    /// What holds on the connection at this moment.
    pub(super) fn active(&self) -> Active {
        self.state.active(self.connection, self.opened.elapsed())
    }

    /// Reports that the client broke a rule of the vendor.
    pub fn complain(&self, what: impl AsRef<str>) {
        self.state.complain(self.connection, what.as_ref());
    }

    /// Writes down what a test may ask for: that it was told to stop, in which form it was asked for audio.
    pub fn note(&self, what: impl AsRef<str>) {
        self.state.note(what.as_ref());
    }

    /// What was complained of so far, on any connection of the server.
    pub fn complaints(&self) -> Vec<String> {
        self.state.complaints()
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// An HTTP reply.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers, without those that frame the body.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// The body of a reply.
pub enum Body {
    /// Sent at once, with `content-length`.
    Whole(Vec<u8>),
    /// Sent in chunks, each so long after the one before it.
    Stream(Box<dyn Iterator<Item = (Duration, Vec<u8>)> + Send>),
}

impl Reply {
    /// A whole reply.
    pub fn whole(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body: Body::Whole(body.into()) }
    }

    /// A whole reply of JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, "application/json", body.to_string())
    }

    /// A stream of chunks, each with the time since the one before it.
    pub fn stream<I>(content_type: &str, chunks: I) -> Self
    where
        I: IntoIterator<Item = (Duration, Vec<u8>)>,
        I::IntoIter: Send + 'static,
    {
        Self {
            status: 200,
            headers: vec![("content-type".into(), content_type.into())],
            body: Body::Stream(Box::new(chunks.into_iter())),
        }
    }

    /// Server-sent events: the first after `first`, the others `gap` apart. Each is `(event, data)`; an empty event
    /// has no `event:` line.
    pub fn events<I>(first: Duration, gap: Duration, events: I) -> Self
    where
        I: IntoIterator<Item = (String, String)>,
        I::IntoIter: Send + 'static,
    {
        let chunks = events.into_iter().enumerate().map(move |(n, (event, data))| {
            let name = if event.is_empty() { String::new() } else { format!("event: {event}\n") };
            (if n == 0 { first } else { gap }, format!("{name}data: {data}\n\n").into_bytes())
        });
        Self::stream("text/event-stream", chunks)
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}
