//! Tool calls from the gate to a server and back: retries, circuit breaker, budgets, audit.

use offhook::agent::tool::{Argument, Method, Place, ToolDefinition};
use offhook::agent::value::Kind;
use offhook::base::{CallId, Pii, Random};
use offhook::cli::booking::BookingService;
use offhook::tools::{
    CallBudget, Egress, EgressPolicy, Gate, HostRule, HttpTools, SystemResolver, ToolOutcome, ToolRequest, ToolSet,
    limits,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers the requests it gets with the replies it was given, one each, then closes without a word.
struct Scripted {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(replies: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let mut replies = replies.iter().map(|reply| (*reply).to_owned()).collect::<Vec<_>>().into_iter();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0; 16_384];
                let length = stream.read(&mut request).unwrap_or(0);
                log.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
                if let Some(reply) = replies.next() {
                    let _ = stream.write_all(reply.as_bytes());
                }
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn argument(name: &str, kind: Kind, place: Place) -> Argument {
    Argument { name: name.into(), kind, place, required: true, max_chars: 80 }
}

fn book(port: u16, retries: u32) -> ToolDefinition {
    ToolDefinition {
        id: "book".into(),
        description: String::new(),
        method: Method::Post,
        url: format!("http://127.0.0.1:{port}/bookings"),
        headers: Vec::new(),
        arguments: vec![
            argument("name", Kind::Name, Place::Body),
            argument("date", Kind::Date, Place::Body),
            argument("time", Kind::Time, Place::Body),
            argument("phone", Kind::PhoneNumber, Place::Body),
        ],
        timeout: Duration::from_secs(5),
        retries,
        confirm: true,
        result: Vec::new(),
    }
}

fn look_up(port: u16) -> ToolDefinition {
    ToolDefinition {
        id: "look_up".into(),
        method: Method::Get,
        url: format!("http://127.0.0.1:{port}/bookings/{{reference}}"),
        arguments: vec![argument("reference", Kind::Text, Place::Path)],
        confirm: false,
        ..book(port, 0)
    }
}

struct Caller {
    gate: Gate,
    tools: Arc<HttpTools>,
}

impl Caller {
    fn new(port: u16, definitions: &[ToolDefinition]) -> Self {
        let rule = HostRule::new("127.0.0.1").ports([port]).danger_allow_private_addresses().danger_allow_http();
        let egress = Egress::new(EgressPolicy::new([rule]), Arc::new(SystemResolver), b"").unwrap();
        let set = ToolSet::new(definitions, egress.policy(), &|_| None).unwrap();
        Self {
            gate: Gate::new(CallId(7), Arc::new(set), CallBudget { calls: 100, ..CallBudget::default() }),
            tools: Arc::new(HttpTools::new(Arc::new(egress), Random::seeded(1))),
        }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> ToolOutcome {
        let outcome = self.tools.run(self.gate.admit(request(tool, arguments)).unwrap()).await;
        self.gate.settle(outcome.took);
        outcome
    }
}

fn request(tool: &str, arguments: Value) -> ToolRequest {
    ToolRequest {
        tool: tool.into(),
        arguments: Pii::new(arguments.as_object().unwrap().clone()),
        idempotency_key: "call-000007/book".into(),
        confirmed: true,
    }
}

fn anna() -> Value {
    json!({"name": "Anna Berg", "date": "2026-11-24", "time": "15:00", "phone": "5550134"})
}

#[tokio::test]
async fn a_booking_is_made_refused_with_alternatives_and_looked_up() {
    let monday = jiff::civil::date(2026, 11, 23).at(9, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let service = BookingService::open(Path::new(":memory:"), Arc::new(move || monday.clone())).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(service.serve(listener, std::future::pending()));
    let mut caller = Caller::new(port, &[book(port, 2), look_up(port)]);

    let first = caller.call("book", anna()).await.result.unwrap();
    assert_eq!(first["time"], "15:00");
    let again = caller.call("book", anna()).await.result.unwrap();
    assert_eq!(first, again, "the same idempotency key books once");
    let found = caller.call("look_up", json!({"reference": first["reference"]})).await.result.unwrap();
    assert_eq!(found, first);

    let mut other = Caller::new(port, &[book(port, 2)]);
    let another = ToolRequest { idempotency_key: "call-000008/book".into(), ..request("book", anna()) };
    let failure = other.tools.run(other.gate.admit(another).unwrap()).await.result.unwrap_err();
    assert_eq!(failure.kind, "status_409");
    assert_eq!(failure.body.unwrap()["alternatives"], json!(["14:00", "14:30", "15:30"]));
    let traversal = caller.call("look_up", json!({"reference": "../bookings?date=2026-11-24"})).await;
    assert_eq!(traversal.result.unwrap_err().kind, "status_404", "an argument stays one path segment");
    server.abort();
}

#[tokio::test]
async fn a_busy_server_is_tried_again_under_the_same_idempotency_key() {
    let server = Scripted::start(&[
        &reply("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        "",
        &reply("201 Created", "", r#"{"id":1}"#),
    ]);
    let outcome = Caller::new(server.port, &[book(server.port, 2)]).call("book", anna()).await;
    assert_eq!((outcome.result, outcome.attempts), (Ok(json!({"id": 1})), 3));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert!(request.starts_with("POST /bookings HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nidempotency-key: call-000007/book\r\n"), "{request}");
        assert!(request.contains("\r\ncontent-type: application/json\r\n"), "{request}");
        assert!(request.ends_with(r#"{"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"}"#));
    }
}

#[tokio::test]
async fn without_declared_retries_a_request_is_sent_once() {
    let server = Scripted::start(&[]);
    let outcome = Caller::new(server.port, &[book(server.port, 0)]).call("book", anna()).await;
    assert_eq!((outcome.result.unwrap_err().kind.as_str(), outcome.attempts), ("broken", 1));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_is_not_repeated_whatever_it_says() {
    for (status, kind) in [
        ("400 Bad Request", "status_400"),
        ("401 Unauthorized", "status_401"),
        ("302 Found", "status_302"),
        ("500 Internal Server Error", "status_500"),
        ("429 Too Many Requests", "status_429"),
    ] {
        let server = Scripted::start(&[&reply(status, "Retry-After: 3600\r\n", "{}"), &reply("200 OK", "", "{}")]);
        let outcome = Caller::new(server.port, &[book(server.port, 2)]).call("book", anna()).await;
        assert_eq!(outcome.result.unwrap_err().kind, kind);
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_dead_server_opens_the_circuit_and_is_left_alone() {
    // Bound and not listening, a socket keeps its port and refuses.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = held.local_addr().unwrap().port();
    let mut caller = Caller::new(closed, &[book(closed, 0)]);
    for _ in 0..limits::BREAKER.failures {
        let outcome = caller.call("book", anna()).await;
        assert_eq!((outcome.result.unwrap_err().kind.as_str(), outcome.attempts), ("refused", 1));
    }
    let outcome = caller.call("book", anna()).await;
    assert_eq!((outcome.result.unwrap_err().kind.as_str(), outcome.attempts), ("circuit_open", 0));
}

#[tokio::test]
async fn refusals_by_the_service_do_not_open_the_circuit() {
    let replies = vec![reply("409 Conflict", "", "{}"); 8];
    let server = Scripted::start(&replies.iter().map(String::as_str).collect::<Vec<_>>());
    let mut caller = Caller::new(server.port, &[book(server.port, 0)]);
    for _ in 0..8 {
        assert_eq!(caller.call("book", anna()).await.result.unwrap_err().kind, "status_409");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_within_the_tools_own_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tool = ToolDefinition { timeout: Duration::from_millis(80), ..book(port, 3) };
    let outcome = Caller::new(port, &[tool]).call("book", anna()).await;
    assert_eq!(outcome.result.unwrap_err().kind, "timeout");
    assert_eq!(outcome.attempts, 1, "no time was left for another");
    assert!((Duration::from_millis(80)..Duration::from_secs(4)).contains(&outcome.took), "{:?}", outcome.took);
    drop(listener);
}

#[tokio::test]
async fn a_call_that_ends_while_its_tool_runs_frees_its_place() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut caller = Caller::new(port, &[book(port, 0)]);
    for _ in 0..limits::CONCURRENT_PER_TOOL + 1 {
        let hung_up = tokio::time::timeout(Duration::from_millis(1), caller.call("book", anna())).await;
        assert!(hung_up.is_err());
    }
    drop(listener);
}

#[tokio::test]
async fn a_slow_tool_takes_no_more_than_its_own_places() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut caller = Caller::new(port, &[book(port, 0)]);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..limits::CONCURRENT_PER_TOOL {
        let request = request("book", anna());
        let (tools, admitted) = (Arc::clone(&caller.tools), caller.gate.admit(request).unwrap());
        waiting.spawn(async move { tools.run(admitted).await });
    }
    // Each has taken its place once it has been polled.
    tokio::task::yield_now().await;
    let outcome = caller.call("book", anna()).await;
    assert_eq!((outcome.result.unwrap_err().kind.as_str(), outcome.attempts), ("busy", 0));
    waiting.shutdown().await;
    drop(listener);
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_audit_line_names_the_tool_and_the_outcome_and_no_personal_data() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Scripted::start(&[&reply("201 Created", "", r#"{"reference":"canary-77"}"#)]);
    let mut caller = Caller::new(server.port, &[book(server.port, 0), look_up(server.port)]);
    caller.call("book", anna()).await.result.unwrap();
    caller.call("look_up", json!({"reference": "canary-88"})).await.result.unwrap_err();
    let bad = json!({"name": "Canary\u{1}", "date": "2026-11-24", "time": "15:00", "phone": "5550134"});
    assert!(caller.gate.admit(request("book", bad)).is_err());
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for wanted in ["tool_call", "call-000007", "book", "outcome=\"ok\"", "tool_call_denied", "egress_guard_weakened"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let ours: String = text.lines().filter(|line| line.contains("offhook")).collect();
    for secret in ["Anna", "5550134", "canary-77", "canary-88", "Canary"] {
        assert!(!ours.contains(secret), "{secret} in {ours}");
    }
}
