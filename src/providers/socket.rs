//! A WebSocket to a vendor: opened within a deadline, over TLS that is verified, with its messages as [`Frame`]s.

use super::error::{ProviderError, ProviderName, in_short};
use super::limits::{CONNECT_TIMEOUT, DEAD_AFTER, GOODBYE, MESSAGE_BYTES, PING_AFTER, UNSENT_BYTES};
use super::network::Network;
use super::reach::of_certificate;
use super::wire::{Closed, Frame, Handshake, Keys};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, Uri};
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Octets read at once; kept small because every call has a socket.
const READ_BUFFER_BYTES: usize = 4 * 1024;

trait Octets: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Octets for T {}

/// An open WebSocket. [`Self::queue`] messages, then [`Self::next`] writes them and waits for the vendor's.
pub struct Socket {
    provider: ProviderName,
    keys: Keys,
    stream: WebSocketStream<Box<dyn Octets>>,
    dirty: bool,
    heard_at: Instant,
    pinged: bool,
    life: Pin<Box<tokio::time::Sleep>>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Socket {
    /// Connects and upgrades within `limit` (at most; [`CONNECT_TIMEOUT`] is the usual one).
    ///
    /// # Errors
    /// [`ProviderError`], by the status where the vendor refuses the upgrade.
    pub async fn open(
        provider: ProviderName,
        network: &Network,
        handshake: &Handshake,
        limit: Duration,
    ) -> Result<Self, ProviderError> {
        let limit = if limit.is_zero() { CONNECT_TIMEOUT } else { limit };
        let opening = Self::upgrade(&provider, network, handshake);
        match tokio::time::timeout(limit, opening).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::Timeout { provider, stage: "connection", after: limit }),
        }
    }

    async fn upgrade(provider: &ProviderName, network: &Network, handshake: &Handshake) -> Result<Self, ProviderError> {
        let bad = |reason: String| ProviderError::BadRequest { provider: provider.clone(), reason };
        let gone = |reason: String| ProviderError::Transient { provider: provider.clone(), reason: in_short(&reason) };
        let keys = Keys::of(&handshake.headers);
        let mut request = handshake.url.as_str().into_client_request().map_err(|_| bad("no URL".to_owned()))?;
        for (name, value) in &handshake.headers {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad(format!("header {name}")))?;
            value.set_sensitive(true);
            request.headers_mut().insert(*name, value);
        }
        let (host, port, secure) = authority(request.uri()).ok_or_else(|| bad("no host in the URL".to_owned()))?;
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| gone(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| gone(e.to_string()))?;
        let stream: Box<dyn Octets> = if secure {
            let address = format!("{host}:{port}");
            let name = ServerName::try_from(host).map_err(|_| bad("no host name in the URL".to_owned()))?;
            let tls = TlsConnector::from(Arc::clone(&network.tls)).connect(name, stream).await;
            Box::new(tls.map_err(|e| match of_certificate(&address, &e) {
                Some(why) => ProviderError::Untrusted { provider: provider.clone(), why },
                None => gone(format!("no TLS with {address}: {e}")),
            })?)
        } else {
            Box::new(stream)
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(UNSENT_BYTES)
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        let stream = match client_async_with_config(request, stream, Some(config)).await {
            Ok((stream, _)) => stream,
            Err(Error::Http(response)) => return Err(refused(provider.clone(), &response, &keys)),
            Err(error) => return Err(gone(error.to_string())),
        };
        let now = Instant::now();
        Ok(Self {
            provider: provider.clone(),
            keys,
            stream,
            dirty: false,
            heard_at: now,
            pinged: false,
            life: Box::pin(tokio::time::sleep_until(now + PING_AFTER)),
        })
    }

    /// Queues a message; [`Self::next`] writes it.
    ///
    /// # Errors
    /// [`ProviderError::Transient`] when the vendor does not read, or the connection is gone.
    pub fn queue(&mut self, frame: Frame) -> Result<(), ProviderError> {
        let message = match frame {
            Frame::Text(text) => Message::Text(Utf8Bytes::from(text)),
            Frame::Binary(octets) => Message::Binary(octets),
        };
        self.start(message)
    }

    fn start(&mut self, message: Message) -> Result<(), ProviderError> {
        self.dirty = true;
        Pin::new(&mut self.stream).start_send(message).map_err(|error| {
            let reason = match error {
                Error::WriteBufferFull(_) => "it does not read".to_owned(),
                other => in_short(&other.to_string()),
            };
            ProviderError::Transient { provider: self.provider.clone(), reason }
        })
    }

    /// The vendor's next message; writes what is queued meanwhile, asks for a sign of life after [`PING_AFTER`] of silence
    /// and gives up after [`DEAD_AFTER`]. Cancel-safe.
    ///
    /// # Errors
    /// How the connection ended; then it is of no more use.
    pub async fn next(&mut self) -> Result<Frame, Closed> {
        loop {
            if let Some(frame) = self.hear().await? {
                return Ok(frame);
            }
        }
    }

    /// The same, where the answer to a ping counts: `None` is one.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn hear(&mut self) -> Result<Option<Frame>, Closed> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Asks for a sign of life, at once. Queued as by [`Self::queue`].
    ///
    /// # Errors
    /// As [`Self::queue`].
    pub fn ping(&mut self) -> Result<(), ProviderError> {
        self.start(Message::Ping(Bytes::new()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Closed>> {
        loop {
            if self.dirty {
                match Pin::new(&mut self.stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.dirty = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                    Poll::Pending => {}
                }
            }
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => {}
                Poll::Ready(None) => return Poll::Ready(Err(Closed { code: None, reason: "it ended".to_owned() })),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(Some(Ok(message))) => {
                    self.heard_at = Instant::now();
                    self.pinged = false;
                    match message {
                        Message::Text(text) => {
                            return Poll::Ready(Ok(Some(Frame::Text(self.keys.hide(text.as_str().to_owned())))));
                        }
                        Message::Binary(octets) => return Poll::Ready(Ok(Some(Frame::Binary(octets)))),
                        Message::Close(frame) => {
                            let (code, reason) = frame.map_or((None, String::new()), |frame| {
                                (Some(frame.code.into()), in_short(&self.keys.hide(frame.reason.as_str().to_owned())))
                            });
                            return Poll::Ready(Err(Closed { code, reason }));
                        }
                        // The library has queued the answer to a ping.
                        Message::Pong(_) => return Poll::Ready(Ok(None)),
                        Message::Ping(_) | Message::Frame(_) => {
                            self.dirty = true;
                            continue;
                        }
                    }
                }
            }
            let due = self.heard_at + if self.pinged { DEAD_AFTER } else { PING_AFTER };
            if self.life.deadline() != due {
                self.life.as_mut().reset(due);
            }
            if self.life.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.pinged {
                let reason = format!("no sign of life for {} s", DEAD_AFTER.as_secs());
                return Poll::Ready(Err(Closed { code: None, reason }));
            }
            self.pinged = true;
            if self.start(Message::Ping(Bytes::new())).is_err() {
                return Poll::Ready(Err(Closed { code: None, reason: "it does not read".to_owned() }));
            }
        }
    }

    /// Says goodbye in the background: writes what is queued and the close frame, waits shortly for the answer.
    pub fn close(mut self, code: u16) {
        tokio::spawn(async move {
            let goodbye = async {
                let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
                let _ = self.start(Message::Close(Some(frame)));
                while self.next().await.is_ok() {}
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        });
    }
}

fn authority(uri: &Uri) -> Option<(String, u16, bool)> {
    let secure = match uri.scheme_str()? {
        "wss" => true,
        "ws" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 }), secure))
}

/// Headers by which vendors name a request.
const REQUEST_IDS: [&str; 3] = ["dg-request-id", "x-request-id", "request-id"];

fn refused(provider: ProviderName, response: &Response<Option<Vec<u8>>>, keys: &Keys) -> ProviderError {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let words = keys.hide(header("dg-error").unwrap_or(&body).to_owned());
    // What the vendor's support asks for.
    if let Some(request) = REQUEST_IDS.iter().find_map(|name| header(name)) {
        tracing::warn!(%provider, status = response.status().as_u16(), request = in_short(request), "provider_refuses");
    }
    let retry_after = header("retry-after").and_then(super::exchange::retry_after);
    ProviderError::from_status(provider, response.status().as_u16(), &words, retry_after)
}

fn broken(error: &Error) -> Closed {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Closed { code: None, reason: "it is closed".to_owned() },
        other => Closed { code: None, reason: in_short(&other.to_string()) },
    }
}
