//! Opens the WebSocket to a bot: the guard's rules, addresses, TLS, the upgrade.

use super::limits::{READ_BUFFER_BYTES, WRITE_BUFFER_BYTES, WRITE_CHUNK_BYTES};
use super::pipe::upgrade;
use super::setup::BotSetup;
use super::socket::Socket;
use super::stream::BotStream;
use crate::providers::bot::SUBPROTOCOL;
use crate::providers::bot::limits::MESSAGE_BYTES;
use crate::tools::Refusal;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Why there is no connection to the bot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The guard does not let us go there: the configuration's fault.
    #[error("not allowed: {0}")]
    Refused(#[from] Refusal),
    /// The name has no address, or nothing listens there.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The certificate is not good, or the other end speaks no TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The other end answered with something else than a WebSocket.
    #[error("no WebSocket: {0}")]
    Upgrade(String),
    /// Not in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(std::time::Duration),
}

/// A connection, in clear or inside TLS.
#[derive(Debug)]
pub(super) enum Connection {
    Clear(BotStream),
    Tls(Box<TlsStream<BotStream>>),
}

impl Connection {
    /// What carries it.
    pub(super) fn stream(&mut self) -> &mut BotStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Opens a connection, within the time that the agent file gives it.
///
/// # Errors
/// [`ConnectError`], without the URL's path, which may carry a secret.
pub(super) async fn connect(setup: Arc<BotSetup>) -> Result<Socket, ConnectError> {
    let limit = setup.bridge.connect_timeout;
    tokio::time::timeout(limit, open(&setup)).await.unwrap_or(Err(ConnectError::Timeout(limit)))
}

async fn open(setup: &BotSetup) -> Result<Socket, ConnectError> {
    let stream = reach(setup).await?;
    // Audio in pieces of 20 ms must not wait for one another (RFC 896).
    stream.set_nodelay(true).map_err(|error| ConnectError::Unreachable(error.to_string()))?;
    let stream = BotStream::new(stream);
    let connection = match &setup.tls {
        Some((config, name)) => {
            let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
            Connection::Tls(Box::new(handshake.map_err(|error| ConnectError::Tls(error.to_string()))?))
        }
        None => Connection::Clear(stream),
    };
    let mut request = setup.url.as_str().into_client_request().map_err(in_words)?;
    for (name, value) in &setup.headers {
        request.headers_mut().append(name, value.clone());
    }
    if setup.asks_for_subprotocol() {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_CHUNK_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let socket = upgrade(connection, request, config).await.map_err(in_words)?;
    Ok(Socket::new(socket, Instant::now()))
}

/// Looks the host up once and connects to the addresses that were checked, one after the other.
async fn reach(setup: &BotSetup) -> Result<TcpStream, ConnectError> {
    let found = match setup.host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = setup.resolver.resolve(&setup.host).await;
            found.map_err(|error| ConnectError::Unreachable(error.to_string()))?
        }
    };
    let found = found.get(..found.len().min(crate::tools::limits::RESOLVED_ADDRESSES)).unwrap_or_default();
    setup.policy.check_addresses(&setup.host, found)?;
    let mut failure = None;
    for address in found {
        match TcpStream::connect(SocketAddr::new(*address, setup.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(ConnectError::Unreachable(failure.map_or_else(|| "no address".to_owned(), |error| error.to_string())))
}

fn in_words(error: Error) -> ConnectError {
    ConnectError::Upgrade(match error {
        Error::Http(response) => format!("it answered {}", response.status()),
        other => other.to_string(),
    })
}
