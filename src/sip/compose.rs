//! Messages of our own: built from parts that cannot break out of their line, written with the right Content-Length.

use super::header::{HeaderName, HeaderValue, InvalidValue, NameAddr, Via};
use super::message::{Message, StartLine};
use super::method::Method;
use super::parse::{is_parameter_value, is_token, quote};
use super::status::StatusCode;
use super::uri::Uri;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// The name of a header to write.
#[derive(Clone, PartialEq, Eq, Debug)]
enum FieldName {
    Known(HeaderName),
    Spelled(Box<str>),
}

impl FieldName {
    fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name.as_str(),
            Self::Spelled(name) => name,
        }
    }
}

/// A header that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The name is no token.
    #[error("a header name must be a token of RFC 3261 §25.1")]
    Name,
    /// The value holds a control byte.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// A message has only one such header (RFC 3261 §7.3.1), and this one has it.
    #[error("the message has this header already, and may have one only")]
    Repeated,
}

/// The header fields of a message to write, in order. Content-Length is not among them: writing adds it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers(Vec<(FieldName, HeaderValue)>);

impl Headers {
    /// Adds a field at the end. [`HeaderName::Extension`] has no spelling and adds nothing: see [`Headers::push_spelled`].
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        if name != HeaderName::Extension {
            self.0.push((FieldName::Known(name), value));
        }
    }

    /// Adds a field at the top, as a proxy or client adds its Via.
    pub fn push_front(&mut self, name: HeaderName, value: HeaderValue) {
        if name != HeaderName::Extension {
            self.0.insert(0, (FieldName::Known(name), value));
        }
    }

    /// Adds a field by its spelling, known or not: for headers named in a profile or by an agent.
    ///
    /// # Errors
    /// If the name is no token, the value holds a control byte, or the header may stand once and is there already.
    pub fn push_spelled(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(InvalidHeader::Name);
        }
        let value = HeaderValue::new(value)?;
        match HeaderName::parse(name.as_bytes()) {
            HeaderName::Extension => self.0.push((FieldName::Spelled(name.into()), value)),
            known if known.is_single() && self.0.iter().any(|(name, _)| *name == FieldName::Known(known)) => {
                return Err(InvalidHeader::Repeated);
            }
            known => self.0.push((FieldName::Known(known), value)),
        }
        Ok(())
    }

    /// Replaces all fields of that name with one.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter_mut().find(|(n, _)| *n == FieldName::Known(name)) {
            Some((_, old)) => {
                *old = value;
                let mut first = true;
                self.0.retain(|(n, _)| *n != FieldName::Known(name) || std::mem::take(&mut first));
            }
            None => self.push(name, value),
        }
    }

    /// Removes all fields of that name.
    pub fn remove(&mut self, name: HeaderName) {
        self.0.retain(|(n, _)| *n != FieldName::Known(name));
    }

    /// The first value of that name.
    #[must_use]
    pub fn value(&self, name: HeaderName) -> Option<&HeaderValue> {
        self.values(name).next()
    }

    /// All values of that name.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &HeaderValue> + '_ {
        self.0.iter().filter(move |(n, _)| *n == FieldName::Known(name)).map(|(_, v)| v)
    }

    /// All fields in order, by spelling.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> + '_ {
        self.0.iter().map(|(n, v)| (n.as_str(), v))
    }

    /// The fields of a received message, as they will be written: long names, folds as blanks.
    #[must_use]
    pub fn echo(message: &Message<'_>) -> Self {
        let known = |f: &super::message::HeaderField<'_>| match f.name {
            HeaderName::Extension => FieldName::Spelled(String::from_utf8_lossy(f.spelling).into()),
            name => FieldName::Known(name),
        };
        Self(message.fields().iter().map(|f| (known(f), HeaderValue::echo(f.value))).collect())
    }

    fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        for (name, value) in self.0.iter().filter(|(n, _)| *n != FieldName::Known(HeaderName::ContentLength)) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // Writing to a vector cannot fail.
        let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
        out.extend_from_slice(body);
    }
}

/// A request to write.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI. A URI with headers must first go through [`Uri::to_request_uri`].
    pub uri: Uri,
    /// The header fields.
    pub headers: Headers,
    /// The body; its type is the caller's header.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: Headers::default(), body: Vec::new() }
    }

    /// Sets body and Content-Type together.
    #[must_use]
    pub fn with_body(mut self, content_type: HeaderValue, body: Vec<u8>) -> Self {
        self.headers.set(HeaderName::ContentType, content_type);
        self.body = body;
        self
    }

    /// The bytes to send.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(600 + self.body.len());
        let _ = write!(out, "{} {} SIP/2.0\r\n", self.method, self.uri);
        self.headers.write(&self.body, &mut out);
        out
    }
}

/// A response to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase.
    pub reason: HeaderValue,
    /// The header fields.
    pub headers: Headers,
    /// The body; its type is the caller's header.
    pub body: Vec<u8>,
}

impl Response {
    /// The response to a request, as RFC 3261 §8.2.6 builds it: Via, From, To, Call-ID and CSeq copied; `to_tag` added to
    /// a To without tag unless the status is 100; Timestamp copied into a 100; Record-Route copied into what makes a dialog.
    ///
    /// `source` is where the request came from: the top Via gets `received`, and `rport` if asked for (RFC 3261 §18.2.1,
    /// RFC 3581 §4). Whatever the peer wrote into `received` itself is replaced.
    #[must_use]
    pub fn to_request(request: &Message<'_>, status: StatusCode, source: SocketAddr, to_tag: Option<&str>) -> Self {
        let mut headers = Headers::default();
        for (i, via) in request.elements(HeaderName::Via).enumerate() {
            let value = if i == 0 { received_via(via, source) } else { HeaderValue::echo(via) };
            headers.push(HeaderName::Via, value);
        }
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            let Some(raw) = request.value(name) else { continue };
            let value = match to_tag {
                Some(tag) if name == HeaderName::To && status != StatusCode::TRYING && !has_tag(raw) => {
                    let tag: String = tag.bytes().filter(|b| is_token(*b)).map(char::from).collect();
                    HeaderValue::echo(&[raw, b";tag=", tag.as_bytes()].concat())
                }
                _ => HeaderValue::echo(raw),
            };
            headers.push(name, value);
        }
        let makes_dialog =
            matches!(request.method(), Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify));
        if makes_dialog && (101..300).contains(&status.code()) {
            for route in request.values(HeaderName::RecordRoute) {
                headers.push(HeaderName::RecordRoute, HeaderValue::echo(route));
            }
        }
        if status == StatusCode::TRYING
            && let Some(timestamp) = request.value(HeaderName::Timestamp)
        {
            headers.push(HeaderName::Timestamp, HeaderValue::echo(timestamp));
        }
        Self { status, reason: HeaderValue::cleaned(status.default_reason()), headers, body: Vec::new() }
    }

    /// Sets body and Content-Type together.
    #[must_use]
    pub fn with_body(mut self, content_type: HeaderValue, body: Vec<u8>) -> Self {
        self.headers.set(HeaderName::ContentType, content_type);
        self.body = body;
        self
    }

    /// The bytes to send.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(500 + self.body.len());
        let _ = write!(out, "SIP/2.0 {} ", self.status);
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        self.headers.write(&self.body, &mut out);
        out
    }
}

fn has_tag(raw: &[u8]) -> bool {
    NameAddr::parse(raw).is_ok_and(|a| a.tag().is_some())
}

/// The top Via of a response: what the request said, plus where it really came from.
fn received_via(raw: &[u8], source: SocketAddr) -> HeaderValue {
    let Ok(via) = Via::parse(raw) else { return HeaderValue::echo(raw) };
    let source_ip = canonical(source.ip());
    let differs = via.host().address().map(canonical) != Some(source_ip);
    let head = raw.len().saturating_sub(via.params().raw().len());
    let mut value = super::parse::trim(raw.get(..head).unwrap_or_default()).to_vec();
    for (name, param) in via.params().iter() {
        if name.eq_ignore_ascii_case("received") {
            continue;
        }
        let _ = write!(value, ";{name}");
        if name.eq_ignore_ascii_case("rport") {
            let _ = write!(value, "={}", source.port());
        } else if let Some(param) = param {
            value.push(b'=');
            value.extend_from_slice(param);
        }
    }
    if differs || via.rport().is_some() {
        let _ = write!(value, ";received={source_ip}");
    }
    HeaderValue::echo(&value)
}

/// IPv4 as IPv4, also when it came over a dual-stack socket.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Either kind of message, owned.
#[derive(Clone, PartialEq, Debug)]
pub enum OwnedMessage {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl OwnedMessage {
    /// An owned copy of a received message.
    ///
    /// # Errors
    /// If its Request-URI is none.
    pub fn echo(message: &Message<'_>) -> Result<Self, super::parse::Fault> {
        let (headers, body) = (Headers::echo(message), message.body().to_vec());
        Ok(match message.start() {
            StartLine::Request { method, .. } => {
                let uri = message.request_uri()?.to_owned();
                Self::Request(Request { method: method.clone(), uri, headers, body })
            }
            StartLine::Response { status, reason } => {
                Self::Response(Response { status: *status, reason: HeaderValue::echo(reason), headers, body })
            }
        })
    }

    /// The bytes to send.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.write(),
            Self::Response(response) => response.write(),
        }
    }
}

/// Header values made of checked parts.
impl HeaderValue {
    /// `"display" <uri>;tag=…`, for From, To, Contact, Refer-To and the like. Parameter names lose what is no token
    /// character. Values keep all that can stand there without quotes: a peer's tag must go back as it came.
    #[must_use]
    pub fn name_addr(display: Option<&str>, uri: &Uri, params: &[(&str, Option<&str>)]) -> Self {
        let mut value = display.filter(|d| !d.is_empty()).map(|d| quote(d) + " ").unwrap_or_default();
        value.push('<');
        value.push_str(uri.as_str());
        value.push('>');
        for (name, param) in params {
            value.push(';');
            value.extend(name.bytes().filter(|b| is_token(*b)).map(char::from));
            if let Some(param) = param {
                value.push('=');
                value.extend(param.chars().filter(|c| !c.is_ascii() || u8::try_from(*c).is_ok_and(is_parameter_value)));
            }
        }
        Self::cleaned(&value)
    }

    /// A Via of our own: `transport` as `UDP`, `sent_by` our address as the peer may reach it, asking for `rport`.
    #[must_use]
    pub fn via(transport: &str, sent_by: &str, branch: &str) -> Self {
        Self::cleaned(&format!("SIP/2.0/{transport} {sent_by};rport;branch={branch}"))
    }
}

#[cfg(test)]
#[path = "tests/compose.rs"]
mod tests;
