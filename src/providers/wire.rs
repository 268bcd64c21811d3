//! What a vendor's protocol machine exchanges with its shell: messages of a WebSocket, the request that opens one, a
//! request of HTTP. Values only; [`super::socket`] and [`super::exchange`] move them.

use crate::base::Pii;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// One message of a WebSocket, either way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Text: JSON with every vendor.
    Text(String),
    /// Octets: audio, or JSON where the vendor likes it so (Gemini Live).
    Binary(Bytes),
}

/// A header of a request. The value may be a key, so it is never shown.
pub type Header = (&'static str, Pii<String>);

/// What stands in place of a key that a vendor repeats.
const HIDDEN: &str = "[key]";
/// Shorter values are no keys.
const KEY_BYTES: usize = 4;

/// The keys among the headers of a request: a vendor that repeats one in what it says is not quoted with it.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Pii<String>>);

impl Keys {
    /// Those of the headers that are named after a key, a token or an authorization.
    #[must_use]
    pub fn of(headers: &[Header]) -> Self {
        let is_secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            ["authorization", "key", "token"].iter().any(|word| name.contains(word))
        };
        let values = headers.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.expose().as_str());
        // Behind the scheme of an authorization.
        let keys = values.filter_map(|value| value.rsplit(' ').next()).filter(|key| key.len() >= KEY_BYTES);
        Self(keys.map(|key| Pii::new(key.to_owned())).collect())
    }

    /// A vendor's words without the keys.
    #[must_use]
    pub fn hide(&self, words: String) -> String {
        self.0.iter().map(Pii::expose).fold(words, |words, key| {
            if words.contains(key.as_str()) { words.replace(key.as_str(), HIDDEN) } else { words }
        })
    }
}

/// The request that opens a WebSocket.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// `wss://…`, or `ws://…` where settings allow it. Its query may hold names and settings, never a key where the
    /// vendor takes one in a header.
    pub url: String,
    /// Beside those of the upgrade itself.
    pub headers: Vec<Header>,
}

/// A request of HTTP.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// `https://…`, or `http://…` where settings allow it.
    pub url: String,
    /// Beside length and host.
    pub headers: Vec<Header>,
    /// The body: the caller's words are in it.
    pub body: Pii<Bytes>,
}

/// What a machine wants done on its connection, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    close: Option<u16>,
}

impl Outbox {
    /// Queues a JSON text.
    pub fn json(&mut self, value: &serde_json::Value) {
        self.frames.push_back(Frame::Text(value.to_string()));
    }

    /// Queues a text as it is.
    pub fn text(&mut self, text: impl Into<String>) {
        self.frames.push_back(Frame::Text(text.into()));
    }

    /// Queues a JSON text whose only changing part is audio in base64, between what stands before and behind.
    pub fn audio_in_json(&mut self, before: &str, octets: &[u8], behind: &str) {
        let mut message = BytesMut::with_capacity(before.len() + octets.len().div_ceil(3) * 4 + behind.len());
        message.extend_from_slice(before.as_bytes());
        super::base64::encode(octets, &mut message);
        message.extend_from_slice(behind.as_bytes());
        // Base64 is ASCII, and the rest is text.
        self.text(String::from_utf8(message.into()).unwrap_or_default());
    }

    /// Queues octets.
    pub fn binary(&mut self, octets: impl Into<Bytes>) {
        self.frames.push_back(Frame::Binary(octets.into()));
    }

    /// Closes the connection with this code once everything before has been written.
    pub fn close(&mut self, code: u16) {
        self.close = Some(code);
    }

    /// The next message to write.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The code of the close, when one is wanted and nothing waits before it.
    #[must_use]
    pub fn wants_close(&self) -> Option<u16> {
        if self.frames.is_empty() { self.close } else { None }
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The code of the close frame; `None` when the connection broke without one.
    pub code: Option<u16>,
    /// Its reason, or what broke.
    pub reason: String,
}

/// Percent-encodes a value of a query (RFC 3986 section 2.1): everything but unreserved characters.
#[must_use]
pub fn query_value(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

/// A URL under a base (`https://api.example.com/v1` and `/listen`) with a query. `scheme` becomes `wss` for a
/// WebSocket (`ws` of `http`).
#[must_use]
pub fn url(base: &str, path: &str, query: &[(&str, &str)], websocket: bool) -> String {
    let base = base.trim_end_matches('/');
    let base = match websocket {
        true if base.starts_with("http") => format!("ws{}", &base[4..]),
        false if base.starts_with("ws") => format!("http{}", &base[2..]),
        _ => base.to_owned(),
    };
    let mut url = format!("{base}{path}");
    for (place, (name, value)) in query.iter().enumerate() {
        url.push(if place == 0 && !url.contains('?') { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.push_str(&query_value(value));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_base_and_encodes_its_query() {
        let plain =
            url("https://a.example/v1/", "/listen", &[("model", "nova-3"), ("keyterm", "Lindenhof & Co")], true);
        assert_eq!(plain, "wss://a.example/v1/listen?model=nova-3&keyterm=Lindenhof%20%26%20Co");
        assert_eq!(url("ws://127.0.0.1:80", "/x?a=1", &[("b", "2")], false), "http://127.0.0.1:80/x?a=1&b=2");
    }

    #[test]
    fn a_key_that_a_vendor_repeats_is_not_quoted_and_its_other_words_are() {
        let header = |name, value: &str| (name, Pii::new(value.to_owned()));
        let keys = Keys::of(&[
            header("authorization", "Bearer sk-0123456789"),
            header("xi-api-key", "abcdef012345"),
            header("anthropic-version", "2023-06-01"),
        ]);
        let said = "sk-0123456789 and abcdef012345 are no keys of version 2023-06-01, says the Bearer".to_owned();
        assert_eq!(keys.hide(said), "[key] and [key] are no keys of version 2023-06-01, says the Bearer");
        assert_eq!(Keys::default().hide("sk-0123456789".into()), "sk-0123456789");
    }

    #[test]
    fn a_close_waits_for_what_was_queued_before_it() {
        let mut outbox = Outbox::default();
        outbox.text("bye");
        outbox.close(1000);
        assert_eq!(outbox.wants_close(), None);
        assert!(outbox.next_frame().is_some());
        assert_eq!(outbox.wants_close(), Some(1000));
    }
}
