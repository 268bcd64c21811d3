//! The base of the fake vendors, each promise of it tried with a plain client.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::fakes::{
    Context, Conversation, FakeServer, Message as Heard, Misbehaviour, Reply, Request, Say, Vendor,
    echo::Echo,
    frames::{Assembler, Incoming},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::CloseFrame},
};

/// Far more than anything on the loopback takes; reached only by a failure.
const LIMIT: Duration = Duration::from_secs(10);

/// Long enough for something that must not come to come.
const QUIET: Duration = Duration::from_millis(150);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
type Socket = WebSocketStream<Box<dyn Stream>>;

async fn connect(server: &FakeServer) -> std::io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect(server.address()).await?;
    if server.url("").starts_with("ws://") {
        return Ok(Box::new(tcp));
    }
    let mut roots = RootCertStore::empty();
    roots.add(server.ca_der().to_vec().into()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

async fn upgrade(server: &FakeServer) -> Result<Socket, tungstenite::Error> {
    let stream = connect(server).await.map_err(tungstenite::Error::Io)?;
    client_async(server.url("/ws?model=a%20b"), stream).await.map(|(socket, _)| socket)
}

async fn begun(server: &FakeServer) -> Socket {
    let mut socket = upgrade(server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    assert_eq!(text(&mut socket).await, r#"{"type":"begun"}"#);
    socket
}

async fn tell(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("a connection");
}

async fn next(socket: &mut Socket) -> Option<Result<Message, tungstenite::Error>> {
    timeout(LIMIT, socket.next()).await.expect("something within the limit")
}

async fn text(socket: &mut Socket) -> String {
    match next(socket).await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("no text but {other:?}"),
    }
}

async fn exchange(stream: &mut Box<dyn Stream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("a connection");
    let mut answer = Vec::new();
    // A reply cut short is an answer too.
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an end within the limit");
    String::from_utf8(answer).expect("text")
}

async fn post(server: &FakeServer, path: &str, content_type: &str, body: &str) -> String {
    let mut stream = connect(server).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    exchange(&mut stream, &request).await
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// What a chunked body carries.
fn dechunked(answer: &str) -> String {
    let mut rest = body(answer);
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    whole
}

fn nothing_to_complain_of(server: &FakeServer) {
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_conversation_is_held_over_tls_and_in_clear() {
    for server in [FakeServer::start(Echo), FakeServer::start_in_clear(Echo)] {
        let mut socket = begun(&server).await;
        tell(&mut socket, json!("hello")).await;
        assert_eq!(text(&mut socket).await, r#"{"type":"final","text":"\"hello\""}"#);
        let long = vec![7; 70_000];
        for octets in [vec![1; 125], vec![2; 126], long] {
            socket.send(Message::binary(octets.clone())).await.expect("a connection");
            assert_eq!(next(&mut socket).await.expect("open").expect("sound"), Message::binary(octets));
        }
        socket.send(Message::Ping(vec![1, 2].into())).await.expect("a connection");
        assert_eq!(next(&mut socket).await.expect("open").expect("sound"), Message::Pong(vec![1, 2].into()));
        assert_eq!((server.connections(), server.open_connections()), (1, 1));
        let requests = server.requests();
        assert_eq!((requests[0].path.as_str(), requests[0].param("model")), ("/ws", Some("a b")));
        socket.close(None).await.expect("a close");
        assert!(matches!(next(&mut socket).await, Some(Ok(Message::Close(None)))));
        assert!(server.until(LIMIT, |server| server.open_connections() == 0).await);
        nothing_to_complain_of(&server);
    }
}

#[tokio::test]
async fn a_close_is_carried_in_both_directions() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    tell(&mut socket, json!({"type": "goodbye"})).await;
    let close = CloseFrame { code: 1000.into(), reason: "goodbye".into() };
    assert_eq!(next(&mut socket).await.expect("open").expect("sound"), Message::Close(Some(close)));
    assert!(next(&mut socket).await.is_none());
    assert!(server.until(LIMIT, |server| server.open_connections() == 0).await);

    let mut socket = begun(&server).await;
    tell(&mut socket, json!({"type": "vanish"})).await;
    assert!(next(&mut socket).await.is_some_and(|last| last.is_err()));
    nothing_to_complain_of(&server);
}

#[tokio::test]
async fn what_is_said_later_comes_later_or_is_taken_back() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    let start = Instant::now();
    tell(&mut socket, json!({"type": "later"})).await;
    assert_eq!(text(&mut socket).await, r#"{"type":"late"}"#);
    assert!(start.elapsed() >= Duration::from_millis(20));
    tell(&mut socket, json!({"type": "never"})).await;
    assert_eq!(text(&mut socket).await, r#"{"type":"forgotten"}"#);
    assert!(timeout(QUIET, socket.next()).await.is_err());
}

#[tokio::test]
async fn a_conversation_that_asks_for_it_is_told_every_ten_milliseconds() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    let start = Instant::now();
    tell(&mut socket, json!({"type": "speak"})).await;
    for _ in 0..10 {
        assert!(matches!(next(&mut socket).await, Some(Ok(Message::Binary(frame))) if frame.len() == 160));
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(190), "ten frames of 20 ms took {took:?}");
    tell(&mut socket, json!({"type": "cancel"})).await;
    while !matches!(next(&mut socket).await, Some(Ok(Message::Text(_)))) {}
    assert!(timeout(QUIET, socket.next()).await.is_err());
}

#[tokio::test]
async fn requests_share_a_connection_and_keep_their_bodies() {
    let server = FakeServer::start(Echo);
    let mut stream = connect(&server).await.expect("a connection");
    let answer = exchange(
        &mut stream,
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
         POST /echo?q=%2B+1&q=2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: bearer k\r\nConnection: close\r\n\
         Content-Length: 2\r\n\r\nfg",
    )
    .await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(answer.contains("\r\n\r\nabcdeHTTP/1.1") && answer.ends_with("\r\n\r\nfg"), "{answer}");
    let second = &server.requests()[1];
    assert_eq!(second.params("q").collect::<Vec<_>>(), ["+ 1", "2"]);
    assert_eq!(second.credentials("Bearer"), Some("k"));
    assert_eq!(server.connections(), 1);
    nothing_to_complain_of(&server);
}

#[tokio::test]
async fn events_come_one_by_one() {
    let server = FakeServer::start(Echo);
    let start = Instant::now();
    let answer = post(&server, "/events", "text/plain", "one two").await;
    assert!(answer.contains("content-type: text/event-stream\r\n"));
    assert_eq!(dechunked(&answer), "data: {\"word\":\"one\"}\n\ndata: {\"word\":\"two\"}\n\ndata: [DONE]\n\n");
    assert!(start.elapsed() >= Duration::from_millis(15));
    assert_eq!(server.abandoned(), 0);
}

#[tokio::test]
async fn a_stream_whose_client_leaves_is_counted_as_abandoned() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::SlowDrip(Duration::from_millis(5)));
    let mut stream = connect(&server).await.expect("a connection");
    let request = "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none";
    stream.write_all(request.as_bytes()).await.expect("a connection");
    stream.read_u8().await.expect("the first octet");
    drop(stream);
    assert!(server.until(LIMIT, |server| server.abandoned() == 1).await);
}

#[tokio::test]
async fn wrong_use_is_complained_of() {
    let server = FakeServer::start_in_clear(Echo);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!("no begin")).await;
    text(&mut socket).await;
    drop(socket);
    let mut unmasked = begun(&server).await;
    unmasked.get_mut().write_all(&[0x81, 1, b'a']).await.expect("a connection");
    assert!(
        matches!(next(&mut unmasked).await, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1002)
    );
    for request in ["GET / HTTP/1.1\r\n\r\n", "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"] {
        exchange(&mut connect(&server).await.expect("a connection"), request).await;
    }
    let bare = "GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\r\n";
    assert!(exchange(&mut connect(&server).await.expect("a connection"), bare).await.starts_with("HTTP/1.1 400"));
    assert!(server.until(LIMIT, |server| server.complaints().len() == 6).await, "{:?}", server.complaints());
    let complaints = server.complaints().join("\n");
    for part in [
        "connection 1: the first message was not `begin`",
        "connection 1: the client went without a close",
        "connection 2: a frame from the client without a mask",
        "connection 3: a request without `host`",
        "connection 4: no such resource: GET /nowhere",
        "connection 5: an upgrade without `sec-websocket-version: 13`",
    ] {
        assert!(complaints.contains(part), "no {part:?} in {complaints}");
    }
}

#[tokio::test]
async fn a_vendor_that_panics_is_complained_of() {
    struct Clumsy;
    impl Vendor for Clumsy {
        fn http(&self, _: &Request) -> Reply {
            panic!("on purpose")
        }
    }
    let server = FakeServer::start_in_clear(Clumsy);
    let mut stream = connect(&server).await.expect("a connection");
    exchange(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(server.until(LIMIT, |server| !server.complaints().is_empty()).await);
}

#[tokio::test]
async fn a_subprotocol_and_headers_are_answered() {
    struct Named;
    struct Silent;
    impl Vendor for Named {
        fn websocket(&self, _: &Request) -> Result<Box<dyn Conversation>, Reply> {
            Ok(Box::new(Silent))
        }
    }
    impl Conversation for Silent {
        fn heard(&mut self, _: Heard) -> Vec<Say> {
            Vec::new()
        }
        fn headers(&self) -> Vec<(String, String)> {
            vec![("x-request-id".into(), "r1".into())]
        }
    }
    let server = FakeServer::start(Named);
    let mut request = server.url("/").into_client_request().expect("a URL");
    request.headers_mut().insert("sec-websocket-protocol", "token, key".parse().expect("a value"));
    let (_socket, answer) = client_async(request, connect(&server).await.expect("TLS")).await.expect("an upgrade");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "token");
    assert_eq!(answer.headers()["x-request-id"], "r1");
}

#[tokio::test]
async fn refuse_closes_the_port_and_opens_the_same_again() {
    let server = FakeServer::start(Echo);
    let mut open = begun(&server).await;
    for _ in 0..3 {
        server.misbehave(Misbehaviour::Refuse);
        let refused = TcpStream::connect(server.address()).await.expect_err("a refusal");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        server.behave();
        begun(&server).await;
    }
    tell(&mut open, json!("still here")).await;
    text(&mut open).await;
}

#[tokio::test]
async fn refuse_resets_one_connection_or_one_that_is_old_enough() {
    let server = FakeServer::start_in_clear(Echo);
    server.misbehave_on(2, Misbehaviour::Refuse);
    server.misbehave_on_after(3, QUIET, Misbehaviour::Refuse);
    begun(&server).await;
    // The reset may be there before the connection is looked at.
    let reset = async || match connect(&server).await {
        Ok(mut stream) => timeout(LIMIT, stream.read_u8()).await.expect("soon").expect_err("no octet"),
        Err(early) => early,
    };
    assert_eq!(reset().await.kind(), std::io::ErrorKind::ConnectionReset);
    let start = Instant::now();
    assert_eq!(reset().await.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(start.elapsed() >= QUIET);
    begun(&server).await;
}

#[tokio::test]
async fn stall_in_tls_answers_no_hello_until_it_is_over() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::StallInTls);
    let left = timeout(QUIET, connect(&server)).await;
    assert!(left.is_err());
    assert!(server.until(LIMIT, |server| server.open_connections() == 0).await);
    let waiting = connect(&server);
    tokio::pin!(waiting);
    assert!(timeout(QUIET, &mut waiting).await.is_err());
    server.behave();
    assert!(timeout(LIMIT, waiting).await.expect("an answer").is_ok());
}

#[tokio::test]
async fn stall_after_upgrade_reads_and_writes_nothing() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::StallAfterUpgrade);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    let flood = async {
        for _ in 0..1000 {
            socket.send(Message::binary(vec![0; 64 * 1024])).await.expect("a connection");
        }
    };
    assert!(timeout(QUIET, flood).await.is_err(), "64 MB fit into the buffers of a connection");
    assert!(timeout(QUIET, socket.next()).await.is_err());
    // The end of a full connection can not get through; that of an empty one is noticed without a read.
    drop(upgrade(&server).await.expect("an upgrade"));
    assert!(server.until(LIMIT, |server| server.connections() == 2 && server.open_connections() == 1).await);

    let mut stream = connect(&server).await.expect("TLS");
    stream.write_all(b"POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na").await.expect("a connection");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("a head");
    assert!(timeout(QUIET, stream.read_to_end(&mut Vec::new())).await.is_err());
    server.behave();
    stream.write_all(b"GET /ws HTTP/1.1\r\nconnection: close\r\nhost: x\r\n\r\n").await.expect("a connection");
    let mut rest = String::new();
    timeout(LIMIT, stream.read_to_string(&mut rest)).await.expect("an end").expect("text");
    assert!(rest.contains("[DONE]"));
}

#[tokio::test]
async fn a_status_answers_requests_and_upgrades() {
    let server = FakeServer::start(Echo);
    server.misbehave_on(1, Misbehaviour::Status { code: 429, retry_after: Some(7) });
    let Err(tungstenite::Error::Http(answer)) = upgrade(&server).await else { panic!("no refusal") };
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().expect("a value")));
    server.misbehave_on(2, Misbehaviour::status(503));
    let answer = post(&server, "/echo", "text/plain", "a").await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && answer.contains(r#""code":503"#), "{answer}");
    begun(&server).await;
}

#[tokio::test]
async fn half_a_message_is_all_there_is() {
    let server = FakeServer::start_in_clear(Echo);
    server.misbehave(Misbehaviour::HalfMessage);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    assert!(next(&mut socket).await.is_some_and(|last| last.is_err()));
    let mut raw = upgrade(&server).await.expect("an upgrade");
    tell(&mut raw, json!({"type": "begin"})).await;
    let mut octets = Vec::new();
    timeout(LIMIT, raw.get_mut().read_to_end(&mut octets)).await.expect("an end").expect("a connection");
    assert_eq!(octets, [&[0x81, 16][..], br#"{"type":"#].concat(), "the head promises 16 octets, 8 come");
    let answer = post(&server, "/echo", "text/plain", "abcd").await;
    assert!(answer.contains("content-length: 4\r\n") && answer.ends_with("\r\n\r\nab"), "{answer}");
    let answer = post(&server, "/events", "text/plain", "one").await;
    assert_eq!(body(&answer), "16\r\ndata: {\"wor");
}

#[tokio::test]
async fn wrong_json_is_wrong_in_four_ways() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::WrongJson);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    let mut seen = vec![text(&mut socket).await];
    for _ in 0..4 {
        tell(&mut socket, json!({"a": 1})).await;
        seen.push(text(&mut socket).await);
    }
    assert_eq!(seen[..4], [r#"{"type":"#, "null", r#"{"type":7}"#, "this is no JSON"]);
    assert!(serde_json::from_str::<Value>(&seen[4]).is_err());
    let answer = dechunked(&post(&server, "/events", "text/plain", "one two").await);
    assert_eq!(answer, "data: {\"word\"\n\ndata: null\n\ndata: {\"type\":7}\n\n");
    assert!(post(&server, "/echo", "application/json", r#"{"abc":1}"#).await.ends_with("\r\n\r\n{\"ab"));
}

#[tokio::test]
async fn unknown_types_and_fields_come_between_the_known() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::UnknownTypes);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    let unknown: Value = serde_json::from_str(&text(&mut socket).await).expect("JSON");
    assert_eq!(unknown["type"], "fake.unknown_event");
    let known: Value = serde_json::from_str(&text(&mut socket).await).expect("JSON");
    assert_eq!(known["type"], "begun");
    assert!(known["x_fake_extra"].is_object());
    let answer = dechunked(&post(&server, "/events", "text/plain", "one").await);
    let word = answer.lines().find(|line| line.contains("word")).expect("the known event");
    assert!(word.contains("x_fake_extra") && answer.contains("event: fake.unknown_event\n"), "{answer}");
    assert!(answer.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_huge_frame_comes_once_and_before_the_next_message() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::HugeFrame(3_000_000));
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    assert_eq!(text(&mut socket).await.len(), 3_000_000);
    assert_eq!(text(&mut socket).await, r#"{"type":"begun"}"#);
    tell(&mut socket, json!("a")).await;
    assert!(text(&mut socket).await.len() < 100);
    assert!(body(&post(&server, "/echo", "application/json", "{}").await).len() == 3_000_002);
    assert!(dechunked(&post(&server, "/events", "", "a").await).contains(&"a".repeat(2_999_999)));
}

#[tokio::test]
async fn a_slow_drip_is_an_octet_at_a_time() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    server.misbehave(Misbehaviour::SlowDrip(Duration::from_millis(3)));
    let start = Instant::now();
    socket.send(Message::binary(vec![0; 40])).await.expect("a connection");
    next(&mut socket).await.expect("open").expect("sound");
    assert!(start.elapsed() >= Duration::from_millis(41 * 3), "42 octets in {:?}", start.elapsed());
    server.behave();
    socket.send(Message::binary(vec![0; 40_000])).await.expect("a connection");
    next(&mut socket).await.expect("open").expect("sound");
}

#[tokio::test]
async fn the_conversation_answers_the_misbehaviours_that_need_it() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    server.misbehave(Misbehaviour::DuplicateFinals);
    tell(&mut socket, json!("one")).await;
    assert_eq!(text(&mut socket).await, text(&mut socket).await);
    server.behave();
    server.misbehave(Misbehaviour::OutOfOrderFinals);
    tell(&mut socket, json!("one")).await;
    tell(&mut socket, json!("two")).await;
    assert!(text(&mut socket).await.contains("two"));
    assert!(text(&mut socket).await.contains("one"));
    server.behave();
    server.misbehave(Misbehaviour::LateAudioAfterCancel);
    tell(&mut socket, json!({"type": "cancel"})).await;
    assert!(text(&mut socket).await.contains("cancelled"));
    assert!(matches!(next(&mut socket).await, Some(Ok(Message::Binary(_)))));
}

#[tokio::test]
async fn close_mid_word_closes_behind_a_message_or_at_an_age() {
    let server = FakeServer::start(Echo);
    server.misbehave_on(1, Misbehaviour::CloseMidWord(1011));
    server.misbehave_on_after(2, 4 * QUIET, Misbehaviour::CloseMidWord(4003));
    server.misbehave_on(3, Misbehaviour::CloseMidWord(1006));
    let closes =
        |last, code| matches!(last, Some(Ok(Message::Close(Some(CloseFrame { code: c, .. })))) if u16::from(c) == code);
    let mut first = begun(&server).await;
    assert!(closes(next(&mut first).await, 1011));
    let start = Instant::now();
    let mut second = upgrade(&server).await.expect("an upgrade");
    assert!(closes(next(&mut second).await, 4003));
    assert!(start.elapsed() >= 4 * QUIET);
    let mut third = begun(&server).await;
    assert!(next(&mut third).await.is_some_and(|last| last.is_err()));
    server.misbehave(Misbehaviour::CloseMidWord(1000));
    assert_eq!(body(&post(&server, "/events", "", "one two").await), "16\r\ndata: {\"word\":\"one\"}\n\n\r\n0\r\n\r\n");
    assert!(post(&server, "/echo", "text/plain", "abcd").await.ends_with("content-length: 2\r\n\r\nab"));
}

#[tokio::test]
async fn silence_accepts_everything_and_says_nothing() {
    let server = FakeServer::start(Echo);
    server.misbehave(Misbehaviour::Silence);
    let mut socket = upgrade(&server).await.expect("an upgrade");
    tell(&mut socket, json!({"type": "begin"})).await;
    assert!(timeout(QUIET, socket.next()).await.is_err());
    socket.send(Message::Ping(vec![1].into())).await.expect("a connection");
    assert_eq!(next(&mut socket).await.expect("open").expect("sound"), Message::Pong(vec![1].into()));
    assert!(timeout(QUIET, post(&server, "/echo", "text/plain", "a")).await.is_err());
    server.behave();
    tell(&mut socket, json!({"type": "begin"})).await;
    assert_eq!(text(&mut socket).await, r#"{"type":"begun"}"#);
}

#[tokio::test]
async fn a_delay_spoils_a_stream_in_its_middle() {
    let endings = [
        (Misbehaviour::HalfMessage, false),
        (Misbehaviour::CloseMidWord(1000), true),
        (Misbehaviour::Refuse, false),
        (Misbehaviour::UnknownTypes, true),
    ];
    for (what, well_formed) in endings {
        let server = FakeServer::start_in_clear(Endless);
        server.misbehave_after(4 * QUIET, what);
        let start = Instant::now();
        let mut stream = connect(&server).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("a connection");
        let mut answer = Vec::new();
        let mut some = [0; 4096];
        while let Ok(n @ 1..) = timeout(LIMIT, stream.read(&mut some)).await.expect("an end within the limit") {
            answer.extend_from_slice(&some[..n]);
            if answer.windows(7).any(|part| part == b"unknown") {
                break;
            }
        }
        let answer = String::from_utf8(answer).expect("text");
        assert!(start.elapsed() >= 4 * QUIET, "{what:?} came early");
        assert!(answer.matches("{\"word\":1}").count() >= 2, "{what:?} left nothing to come before it: {answer}");
        assert_eq!(answer.ends_with("\r\n0\r\n\r\n") || answer.contains("unknown"), well_formed, "{what:?}: {answer}");
    }
}

/// Streams events for ever.
struct Endless;

impl Vendor for Endless {
    fn http(&self, _: &Request) -> Reply {
        let word = (String::new(), json!({"word": 1}).to_string());
        let gap = Duration::from_millis(10);
        Reply::events(gap, gap, std::iter::repeat(word))
    }
}

#[test]
fn frames_are_put_together_however_they_arrive() {
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(octet, mask)| octet ^ mask));
        frame
    };
    let stream = [
        masked(0x01, "grü".as_bytes()).as_slice(),
        &masked(0x89, b"ping"),
        &masked(0x00, b""),
        &masked(0x80, b"n"),
        &masked(0x8A, b""),
        &masked(0x82, &[0xFF]),
        &masked(0x88, &[0x03, 0xE8, b'x']),
    ]
    .concat();
    let expected = [
        Incoming::Ping(b"ping".to_vec()),
        Incoming::Message(Heard::Text("grün".into())),
        Incoming::Pong,
        Incoming::Message(Heard::Binary(vec![0xFF])),
        Incoming::Close(1000),
    ];
    for piece in [1, 2, 3, 7, stream.len()] {
        let (mut assembler, mut inbox, mut seen) = (Assembler::default(), Vec::new(), Vec::new());
        for octets in stream.chunks(piece) {
            inbox.extend_from_slice(octets);
            while let Some(incoming) = assembler.next(&mut inbox).expect("sound frames") {
                seen.push(incoming);
            }
        }
        assert_eq!(seen, expected, "in pieces of {piece}");
    }
    let wrong = [
        (masked(0x80, b"a"), "continuation"),
        (masked(0x81, &[0xFF]), "UTF-8"),
        (masked(0xC1, b"a"), "reserved"),
        (masked(0x83, b"a"), "opcode"),
        (masked(0x09, b"a"), "fragments"),
        (masked(0x88, b"a"), "one octet"),
        ([masked(0x01, b"a"), masked(0x81, b"b")].concat(), "inside"),
        ([&[0x89, 0xFE, 0, 126, 0, 0, 0, 0], &[0; 126][..]].concat(), "125"),
        (vec![0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], "takes"),
    ];
    for (mut inbox, part) in wrong {
        let complaint = Assembler::default().next(&mut inbox).expect_err("a broken rule");
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn a_conversation_can_be_tried_without_a_server() {
    let context = Context::alone();
    context.complain("too loud");
    assert!(!context.misbehaves(Misbehaviour::DuplicateFinals));
    assert_eq!(context.complaints(), ["connection 1: too loud"]);
}

#[tokio::test]
async fn connections_are_cut_when_the_vendor_restarts_or_stops() {
    let server = FakeServer::start(Echo);
    let mut socket = begun(&server).await;
    server.cut_connections();
    assert!(next(&mut socket).await.is_some_and(|last| last.is_err()));
    let mut socket = begun(&server).await;
    let address = server.address();
    drop(server);
    assert!(next(&mut socket).await.is_some_and(|last| last.is_err()));
    assert!(TcpStream::connect(address).await.is_err());
}
