//! Bots on loopback that do what a test says, over plain WebSockets.

use super::{PATIENCE, Phone, TestServer};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use offhook::tools::{EgressPolicy, HostRule};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Where bots listen.
pub struct BotHost {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// One connection, as the bot sees it.
pub struct Bot {
    pub socket: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
    pub path: String,
    /// What `start` said.
    pub start: Value,
}

/// A call that a bot holds.
pub struct BotCall {
    pub host: BotHost,
    pub server: TestServer,
    pub phone: Phone,
    pub bot: Bot,
}

impl BotCall {
    /// Rings a server whose bot speaks `protocol`; `more` are further lines of `bridge`.
    pub async fn begin(protocol: &str, more: &str) -> Self {
        let host = BotHost::open().await;
        let server = host.server(protocol, more).await;
        let phone = Phone::call(&server.server, [127, 0, 0, 1]).await.unwrap();
        let bot = host.bot().await;
        Self { host, server, phone, bot }
    }
}

/// A message of the caller's side.
#[derive(Debug)]
pub enum Heard {
    Audio(Vec<u8>),
    Notice(Value),
    Closed(Option<u16>),
}

impl BotHost {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// What lets a server reach bots here.
    pub fn policy(&self) -> EgressPolicy {
        EgressPolicy::new([HostRule::new("127.0.0.1")
            .ports([self.address.port()])
            .danger_allow_private_addresses()
            .danger_allow_http()])
    }

    /// An agent file whose bot listens here; `more` are further lines of `bridge`.
    pub fn agent(&self, protocol: &str, more: &str) -> String {
        format!(
            "agent: bot\ndestinations:\n  desk: {{extension: \"20\"}}\nbridge:\n  url: ws://{}/media\n  protocol: {protocol}\n{more}",
            self.address
        )
    }

    /// A server whose calls have a bot here.
    pub async fn server(&self, protocol: &str, more: &str) -> TestServer {
        TestServer::start(&self.agent(protocol, more), &[], self.policy()).await
    }

    /// A TCP connection that nobody has said anything on.
    pub async fn accept(&self) -> TcpStream {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("nobody calls").unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection, upgraded.
    #[allow(clippy::result_large_err, reason = "the library's type")]
    pub async fn upgraded(&self) -> Bot {
        let stream = self.accept().await;
        let (mut headers, mut path) = (HeaderMap::new(), String::new());
        let note = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            headers = request.headers().clone();
            path = request.uri().path().to_owned();
            if let Some(wanted) = request.headers().get("sec-websocket-protocol") {
                response.headers_mut().insert("sec-websocket-protocol", HeaderValue::clone(wanted));
            }
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
        Bot { socket, headers, path, start: Value::Null }
    }

    /// The next connection after its `start`.
    pub async fn bot(&self) -> Bot {
        let mut bot = self.upgraded().await;
        loop {
            if let Heard::Notice(notice) = bot.hears().await {
                let is_start = notice["event"] == "start" || notice["type"] == "start";
                if is_start {
                    bot.start = notice;
                    return bot;
                }
            }
        }
    }
}

impl Bot {
    /// The next message.
    pub async fn hears(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing comes");
            return match message {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    match value["media"]["payload"].as_str() {
                        Some(payload) => Heard::Audio(unbase64(payload)),
                        None => Heard::Notice(value),
                    }
                }
                Some(Ok(Message::Binary(octets))) => Heard::Audio(octets[8..].to_vec()),
                Some(Ok(Message::Close(frame))) => Heard::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Closed(None),
            };
        }
    }

    /// The next message that is no audio.
    pub async fn notice(&mut self) -> Value {
        loop {
            match self.hears().await {
                Heard::Notice(notice) => return notice,
                Heard::Audio(_) => {}
                Heard::Closed(code) => panic!("closed with {code:?}"),
            }
        }
    }

    /// The next message that is no audio and has this kind.
    pub async fn noticed(&mut self, kind: &str) -> Value {
        loop {
            let notice = self.notice().await;
            if notice["event"] == kind || notice["type"] == kind {
                return notice;
            }
        }
    }

    /// The code that the connection is closed with.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hears().await {
                return code;
            }
        }
    }

    pub async fn text(&mut self, text: impl Into<Utf8Bytes>) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    pub async fn say(&mut self, value: Value) {
        self.text(value.to_string()).await;
    }

    pub async fn binary(&mut self, octets: Vec<u8>) {
        self.socket.send(Message::Binary(Bytes::from(octets))).await.unwrap();
    }

    pub async fn close(&mut self, code: u16) {
        let _ = self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
    }

    /// Twilio's `media` with these octets of µ-law.
    pub async fn media(&mut self, octets: &[u8]) {
        let sid = self.start["streamSid"].clone();
        self.say(json!({"event": "media", "streamSid": sid, "media": {"payload": base64(octets)}})).await;
    }

    /// Twilio's `mark` or `clear`.
    pub async fn twilio(&mut self, event: &str, mark: Option<&str>) {
        let sid = self.start["streamSid"].clone();
        let mut message = json!({"event": event, "streamSid": sid});
        if let Some(name) = mark {
            message["mark"] = json!({"name": name});
        }
        self.say(message).await;
    }

    /// Audio of the lean protocol: PCM at 16 kHz.
    pub async fn pcm(&mut self, samples: &[i16]) {
        let mut octets = vec![1, 0x02, 0, 0, 0, 0, 0, 0];
        octets.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.binary(octets).await;
    }
}

/// A hum as µ-law.
pub fn mulaw_hum(milliseconds: usize) -> Vec<u8> {
    let mut codes = vec![0; milliseconds * 8];
    offhook::audio::g711::Law::Mu.encode(&super::hum(milliseconds * 8), &mut codes);
    codes
}

pub fn base64(octets: &[u8]) -> String {
    offhook::providers::bot::base64_of(octets)
}

fn unbase64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values: Vec<u32> =
        text.bytes().filter_map(|b| DIGITS.iter().position(|d| *d == b)).map(|value| value as u32).collect();
    let octets = values.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    octets.collect()
}
