//! A SIP message as it was received: one pass over the bytes, borrowed, bounded (RFC 3261 §7, §18.3).
//!
//! [`Message::parse`] delimits the start line, the header fields and the body and refuses what is ambiguous; the typed
//! views ([`Message::via`], [`Message::cseq`], …) read a field only when asked. Nothing is copied: folded lines, escapes
//! and bytes that are not UTF-8 stay as they came.

use super::header::{
    CSeq, Contacts, ContentType, Elements, HeaderName, NameAddr, RAck, Replaces, SessionExpires, Tagged, Via, field,
};
use super::limits;
use super::method::Method;
use super::parse::{Cursor, Fault, ParseError, is_lws, is_token, is_word, number, text, trim};
use super::status::StatusCode;
use super::uri::UriRef;

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `METHOD uri SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// The Request-URI as it came; read it with [`Message::request_uri`].
        uri: &'a [u8],
    },
    /// `SIP/2.0 code reason`
    Response {
        /// The status code.
        status: StatusCode,
        /// The reason phrase, possibly empty, possibly not UTF-8.
        reason: &'a [u8],
    },
}

/// One header field as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// Which header it is, whatever its spelling.
    pub name: HeaderName,
    /// The name as spelled: any case, perhaps the compact form.
    pub spelling: &'a [u8],
    /// The value without white space at its ends. Folds inside are kept: CR, LF and blanks.
    pub value: &'a [u8],
}

/// A received message. All that it says is a stranger's claim until someone checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    start: StartLine<'a>,
    fields: Vec<HeaderField<'a>>,
    body: &'a [u8],
}

/// Whether a datagram, or what stands between two messages of a stream, is only a keep-alive: nothing, line breaks, or
/// the NULs some devices send (RFC 5626 §3.5.1 and older habits). It is no message and wants no answer on UDP.
#[must_use]
pub fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0))
}

/// Steps over one line and its line break. A bare LF ends a line too, as every large stack reads it.
fn line<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let line = cursor.take_while(|b| b != b'\n');
    cursor.eat(b'\n').then(|| line.strip_suffix(b"\r").unwrap_or(line))
}

impl<'a> Message<'a> {
    /// Reads one datagram (RFC 3261 §18.3): a Content-Length below what is there cuts the body, one above it is an
    /// error, none takes all the rest as body. Line breaks before the start line are skipped.
    ///
    /// # Errors
    /// The first fault, with all that was understood nevertheless, so that a request can be refused properly.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError<'a>> {
        let mut faults = Faults(None);
        let message = Self::read(datagram, &mut faults);
        match (message, faults.0) {
            (Some(message), None) => Ok(message),
            (salvage, fault) => Err(ParseError {
                fault: fault.unwrap_or_else(|| Fault::new(0, "a SIP message")),
                salvage: salvage.map(Box::new),
            }),
        }
    }

    fn read(datagram: &'a [u8], faults: &mut Faults) -> Option<Self> {
        if datagram.len() > limits::MESSAGE_BYTES {
            faults.add(Fault::new(limits::MESSAGE_BYTES, "a shorter message").answered(StatusCode::MESSAGE_TOO_LARGE));
            return None;
        }
        let mut cursor = Cursor::new(datagram);
        cursor.take_while(|b| matches!(b, b'\r' | b'\n'));
        let first_offset = cursor.offset();
        let Some(first) = line(&mut cursor) else {
            faults.add(Fault::new(first_offset, "a line break after the start line"));
            return None;
        };
        let start = StartLine::parse(first, first_offset, faults)?;
        let fields = read_fields(&mut cursor, faults);
        let mut message = Self { start, fields, body: cursor.rest() };
        if let Some(length) = message.value(HeaderName::ContentLength) {
            match number(length).and_then(|l| usize::try_from(l).ok()) {
                Some(length) => match message.body.get(..length) {
                    Some(body) => message.body = body,
                    None => faults.add(
                        Fault::in_field(HeaderName::ContentLength, "no more than what was received").at(datagram.len()),
                    ),
                },
                None => faults.add(Fault::in_field(HeaderName::ContentLength, "a number of bytes").at(cursor.offset())),
            }
        }
        Some(message)
    }

    /// The start line.
    #[must_use]
    pub fn start(&self) -> &StartLine<'a> {
        &self.start
    }

    /// Whether this is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The method of a request's start line.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The status code of a response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match &self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(*status),
        }
    }

    /// The reason phrase of a response, with U+FFFD for what is not UTF-8; empty for a request.
    #[must_use]
    pub fn reason_phrase(&self) -> std::borrow::Cow<'a, str> {
        match &self.start {
            StartLine::Request { .. } => "".into(),
            StartLine::Response { reason, .. } => String::from_utf8_lossy(reason),
        }
    }

    /// The Request-URI. Schemes other than `sip`, `sips` and `tel` are read too; serving them is the caller's choice.
    ///
    /// # Errors
    /// If it is no URI (to be answered 400), or this is a response.
    pub fn request_uri(&self) -> Result<UriRef<'a>, Fault> {
        match &self.start {
            StartLine::Request { uri, .. } => UriRef::parse_bytes(uri),
            StartLine::Response { .. } => Err(Fault::new(0, "a request")),
        }
    }

    /// All header fields in order.
    #[must_use]
    pub fn fields(&self) -> &[HeaderField<'a>] {
        &self.fields
    }

    /// The body, of the length Content-Length says.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The raw value of the first field of that name.
    #[must_use]
    pub fn value(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.fields.iter().find(|f| f.name == name).map(|f| f.value)
    }

    /// The raw values of all fields of that name, not split at commas.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.fields.iter().filter(move |f| f.name == name).map(|f| f.value)
    }

    /// The raw values of all fields spelled `name` (compared without case), for headers without a [`HeaderName`].
    pub fn values_spelled<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.fields.iter().filter(move |f| f.spelling.eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
    }

    /// The comma-joined elements of all fields of that name, in order, at most [`limits::LIST_ELEMENTS`]. Only for headers
    /// whose grammar is a list; authentication headers have commas of their own.
    pub fn elements(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.values(name).flat_map(Elements::new).take(limits::LIST_ELEMENTS)
    }

    /// The tokens of a list such as Allow, Supported, Require, Unsupported.
    pub fn tokens(&self, name: HeaderName) -> impl Iterator<Item = &'a str> + '_ {
        self.elements(name).filter_map(text).filter(|t| !t.is_empty() && t.bytes().all(is_token))
    }

    /// Whether a token list names `token`, compared without case.
    #[must_use]
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    fn required(&self, name: HeaderName) -> Result<&'a [u8], Fault> {
        self.value(name).ok_or_else(|| Fault::in_field(name, "the header"))
    }

    fn optional<T>(
        &self,
        name: HeaderName,
        read: impl FnOnce(&'a [u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.value(name).map(read).transpose().map_err(|f| f.of(name))
    }

    /// The top Via: the transaction, and where the response goes.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn via(&self) -> Result<Via<'a>, Fault> {
        let field = self.required(HeaderName::Via)?;
        Via::parse(Elements::new(field).next().unwrap_or_default()).map_err(|f| f.of(HeaderName::Via))
    }

    /// All Vias, top first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'a>, Fault>> + '_ {
        self.elements(HeaderName::Via).map(|e| Via::parse(e).map_err(|f| f.of(HeaderName::Via)))
    }

    /// The From header: who claims to send.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn from(&self) -> Result<NameAddr<'a>, Fault> {
        NameAddr::parse(self.required(HeaderName::From)?).map_err(|f| f.of(HeaderName::From))
    }

    /// The To header.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn to(&self) -> Result<NameAddr<'a>, Fault> {
        NameAddr::parse(self.required(HeaderName::To)?).map_err(|f| f.of(HeaderName::To))
    }

    /// The Call-ID. Compared byte by byte.
    ///
    /// # Errors
    /// If it is missing or holds what no Call-ID may hold.
    pub fn call_id(&self) -> Result<&'a str, Fault> {
        let id = self.required(HeaderName::CallId)?;
        text(id)
            .filter(|id| !id.is_empty() && id.bytes().all(|b| is_word(b) || b == b'@'))
            .ok_or_else(|| Fault::in_field(HeaderName::CallId, "a word"))
    }

    /// The CSeq.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn cseq(&self) -> Result<CSeq, Fault> {
        CSeq::parse(self.required(HeaderName::CSeq)?).map_err(|f| f.of(HeaderName::CSeq))
    }

    /// The RAck of a PRACK.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn rack(&self) -> Result<RAck, Fault> {
        RAck::parse(self.required(HeaderName::RAck)?).map_err(|f| f.of(HeaderName::RAck))
    }

    /// The hops left; `None` if the header is absent.
    ///
    /// # Errors
    /// If it is no number of 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, Fault> {
        self.optional(HeaderName::MaxForwards, |v| {
            number(v).and_then(|n| u8::try_from(n).ok()).ok_or_else(|| Fault::new(0, "a number of 0 to 255"))
        })
    }

    /// The Contact fields.
    ///
    /// # Errors
    /// If one is malformed, or `*` stands beside others.
    pub fn contacts(&self) -> Result<Contacts<'a>, Fault> {
        let mut addresses = Vec::new();
        let mut star = false;
        for element in self.elements(HeaderName::Contact) {
            if element == b"*" {
                star = true;
            } else {
                addresses.push(NameAddr::parse(element).map_err(|f| f.of(HeaderName::Contact))?);
            }
        }
        match (star, addresses.is_empty()) {
            (true, true) => Ok(Contacts::Star),
            (true, false) => Err(Fault::in_field(HeaderName::Contact, "* alone")),
            (false, _) => Ok(Contacts::Addresses(addresses)),
        }
    }

    /// The first Contact: the remote target of a dialog. `None` if absent or `*`. Reads no further than it needs.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn contact(&self) -> Result<Option<NameAddr<'a>>, Fault> {
        match self.elements(HeaderName::Contact).next() {
            None | Some(b"*") => Ok(None),
            Some(element) => NameAddr::parse(element).map(Some).map_err(|f| f.of(HeaderName::Contact)),
        }
    }

    /// The addresses of a list header: Route, Record-Route, Path, Service-Route, P-Asserted-Identity, Diversion.
    ///
    /// # Errors
    /// If one is malformed: a route set is taken whole or not at all.
    pub fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr<'a>>, Fault> {
        self.elements(name).map(|e| NameAddr::parse(e).map_err(|f| f.of(name))).collect()
    }

    /// The address of a header with one: Refer-To, Referred-By, Remote-Party-ID.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn address(&self, name: HeaderName) -> Result<Option<NameAddr<'a>>, Fault> {
        self.optional(name, NameAddr::parse)
    }

    /// Seconds of Expires, Min-Expires, Min-SE or Retry-After; more than 32 bits saturate.
    ///
    /// # Errors
    /// If it is no number.
    pub fn seconds(&self, name: HeaderName) -> Result<Option<u32>, Fault> {
        self.optional(name, |v| field::seconds(v).map(|(s, _)| s))
    }

    /// The RSeq of a reliable provisional response.
    ///
    /// # Errors
    /// If it is no number of 32 bits.
    pub fn rseq(&self) -> Result<Option<u32>, Fault> {
        self.optional(HeaderName::RSeq, |v| number(v).ok_or_else(|| Fault::new(0, "a number of 32 bits")))
    }

    /// The Session-Expires header.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, Fault> {
        self.optional(HeaderName::SessionExpires, SessionExpires::parse)
    }

    /// The Replaces header of an INVITE.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn replaces(&self) -> Result<Option<Replaces<'a>>, Fault> {
        self.optional(HeaderName::Replaces, Replaces::parse)
    }

    /// Event, Subscription-State, Content-Disposition: a token with parameters.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn tagged(&self, name: HeaderName) -> Result<Option<Tagged<'a>>, Fault> {
        self.optional(name, Tagged::parse)
    }

    /// The type of the body.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn content_type(&self) -> Result<Option<ContentType<'a>>, Fault> {
        self.optional(HeaderName::ContentType, ContentType::parse)
    }

    /// The value of a free-text header, folds as blanks and U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn text(&self, name: HeaderName) -> Option<String> {
        self.value(name).map(unfolded)
    }

    /// Whether a response can be written to this request at all: its start line names a method other than ACK, and the top
    /// Via, From, To, Call-ID and CSeq were understood (RFC 3261 §8.2.6.2). Everything else, responses included, is dropped.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        self.method().is_some_and(|m| *m != Method::Ack)
            && self.via().is_ok()
            && [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]
                .iter()
                .all(|n| self.value(*n).is_some())
    }
}

/// A header value as text: folds become one blank, other bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn unfolded(value: &[u8]) -> String {
    super::header::HeaderValue::echo(value).to_text().into_owned()
}

/// The first fault of a message, while reading goes on.
struct Faults(Option<Fault>);

impl Faults {
    fn add(&mut self, fault: Fault) {
        // What an unknown version calls malformed cannot be known, so the version outweighs faults of form.
        if self.0.is_none() || fault.status == StatusCode::VERSION_NOT_SUPPORTED {
            self.0 = Some(fault);
        }
    }
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a [u8], offset: usize, faults: &mut Faults) -> Option<Self> {
        if line.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"SIP/")) {
            Self::parse_status(line).or_else(|| {
                faults.add(Fault::new(offset, "SIP/2.0, a status code of 100 to 699 and a reason"));
                None
            })
        } else {
            Self::parse_request(line, offset, faults)
        }
    }

    fn parse_status(line: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(line.get(4..)?);
        (cursor.take_while(|b| b != b' ') == b"2.0" && cursor.eat(b' ')).then_some(())?;
        let digits = cursor.take_while(|b| b.is_ascii_digit());
        let status = number(digits)
            .filter(|_| digits.len() == 3)
            .and_then(|c| u16::try_from(c).ok())
            .and_then(StatusCode::new)?;
        // The blank before an empty reason is required, yet left out by several devices.
        (cursor.at_end() || cursor.eat(b' ')).then_some(())?;
        Some(Self::Response { status, reason: trim(cursor.rest()) })
    }

    fn parse_request(line: &'a [u8], offset: usize, faults: &mut Faults) -> Option<Self> {
        let mut cursor = Cursor::new(line);
        let Some(method) = Method::parse(cursor.take_while(is_token)).filter(|_| cursor.eat(b' ')) else {
            faults.add(Fault::new(offset, "a method and one blank"));
            return None;
        };
        if line.len() > limits::START_LINE_BYTES {
            faults.add(Fault::new(offset, "a shorter start line").answered(StatusCode::REQUEST_URI_TOO_LONG));
        }
        let rest = cursor.rest();
        let uri_end = trim(rest).iter().rposition(|b| is_lws(*b));
        let (uri, version) = uri_end.and_then(|end| trim(rest).split_at_checked(end)).unwrap_or((rest, b""));
        let version = trim(version);
        let is_version = |v: &[u8]| v.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"SIP/"));
        if !is_version(version) {
            faults.add(Fault::new(offset, "SIP/2.0 at the end of the request line"));
        } else if version.get(4..) != Some(b"2.0") {
            faults.add(Fault::new(offset, "SIP/2.0").answered(StatusCode::VERSION_NOT_SUPPORTED));
        }
        // method SP uri SP version, each blank exactly one: uri and version fill the rest but for one byte.
        if uri.len().saturating_add(version.len()).saturating_add(1) != rest.len() || uri.iter().any(|b| is_lws(*b)) {
            faults.add(Fault::new(offset.saturating_add(cursor.offset()), "a Request-URI between single blanks"));
        }
        Some(Self::Request { method, uri: trim(uri) })
    }
}

fn read_fields<'a>(cursor: &mut Cursor<'a>, faults: &mut Faults) -> Vec<HeaderField<'a>> {
    let mut fields = Vec::with_capacity(24);
    let mut seen = 0u128;
    loop {
        let offset = cursor.offset();
        let start = cursor.rest();
        let Some(first) = line(cursor) else {
            faults.add(Fault::new(offset, "an empty line after the headers"));
            cursor.skip(usize::MAX);
            return fields;
        };
        if first.is_empty() {
            return fields;
        }
        while matches!(cursor.peek(), Some(b' ' | b'\t')) && line(cursor).is_some() {}
        let length = start.len().saturating_sub(cursor.rest().len());
        let whole = start.get(..length).unwrap_or_default();
        if length > limits::HEADER_LINE_BYTES {
            faults.add(Fault::new(offset, "a shorter header").answered(StatusCode::MESSAGE_TOO_LARGE));
            continue;
        }
        let Some(field) = read_field(whole) else {
            faults.add(Fault::new(offset, "a header name, a colon and a value without stray control bytes"));
            continue;
        };
        if fields.len() == limits::HEADER_FIELDS {
            faults.add(Fault::new(offset, "fewer headers").answered(StatusCode::MESSAGE_TOO_LARGE));
            continue;
        }
        if field.name.is_single() {
            let bit = 1u128.checked_shl(field.name as u32).unwrap_or(0);
            if seen & bit != 0 {
                faults.add(Fault::in_field(field.name, "one such header").at(offset));
                continue;
            }
            seen |= bit;
        }
        fields.push(field);
    }
}

fn read_field(whole: &[u8]) -> Option<HeaderField<'_>> {
    let mut cursor = Cursor::new(whole);
    let spelling = cursor.take_while(is_token);
    cursor.take_while(|b| matches!(b, b' ' | b'\t'));
    if spelling.is_empty() || !cursor.eat(b':') {
        return None;
    }
    let value = trim(cursor.rest());
    has_only_lawful_controls(value).then(|| HeaderField { name: HeaderName::parse(spelling), spelling, value })
}

/// Whether every CR is part of a line break and every NUL is escaped (RFC 3261 §25.1 `quoted-pair`).
fn has_only_lawful_controls(value: &[u8]) -> bool {
    if !value.iter().any(|b| matches!(b, b'\r' | 0)) {
        return true;
    }
    let mut before = 0u8;
    let mut bytes = value.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            0 if before != b'\\' => return false,
            b'\r' if bytes.peek() != Some(&&b'\n') => return false,
            _ => before = *byte,
        }
    }
    true
}

/// How long the first message on a stream is, in bytes, line breaks before it included: `None` if more must be read
/// first (RFC 3261 §18.3).
///
/// # Errors
/// If no message can follow: the header section or the Content-Length exceeds [`limits::MESSAGE_BYTES`], Content-Length is
/// missing, malformed or there twice. The stream has lost its framing and must be closed.
pub fn frame_length(stream: &[u8]) -> Result<Option<usize>, Fault> {
    let whole = frame_parts(stream)?.map(|(head, body)| head.saturating_add(body));
    Ok(whole.filter(|whole| *whole <= stream.len()))
}

/// The lengths of the head, up to and with its empty line, and of the body that follows: `None` if more of the head must
/// be read first.
///
/// # Errors
/// As [`frame_length`].
pub fn frame_parts(stream: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut cursor = Cursor::new(stream);
    cursor.take_while(|b| matches!(b, b'\r' | b'\n'));
    let mut length = None;
    let mut is_start = true;
    while let Some(first) = line(&mut cursor) {
        if cursor.offset() > limits::MESSAGE_BYTES {
            break;
        }
        if first.is_empty() {
            let Some(body) = length else {
                return Err(Fault::in_field(HeaderName::ContentLength, "the header on a stream").at(cursor.offset()));
            };
            let whole = cursor.offset().saturating_add(body);
            if whole > limits::MESSAGE_BYTES {
                return Err(Fault::new(cursor.offset(), "a shorter message").answered(StatusCode::MESSAGE_TOO_LARGE));
            }
            return Ok(Some((cursor.offset(), body)));
        }
        let name = Cursor::new(first).take_while(is_token);
        if !is_start && HeaderName::parse(name) == HeaderName::ContentLength {
            // A folded Content-Length is read like any other value: the fold belongs to this line.
            let mut value = Cursor::new(first);
            value.take_while(|b| b != b':');
            value.eat(b':');
            let mut digits = trim(value.rest());
            while matches!(cursor.peek(), Some(b' ' | b'\t')) {
                match line(&mut cursor) {
                    Some(fold) if digits.is_empty() => digits = trim(fold),
                    Some(fold) if trim(fold).is_empty() => {}
                    Some(_) => return Err(Fault::in_field(HeaderName::ContentLength, "one number").at(cursor.offset())),
                    None => return Ok(None),
                }
            }
            let value = number(digits).and_then(|n| usize::try_from(n).ok());
            let value = value
                .ok_or_else(|| Fault::in_field(HeaderName::ContentLength, "a number of bytes").at(cursor.offset()))?;
            if length.replace(value).is_some() {
                return Err(Fault::in_field(HeaderName::ContentLength, "one such header").at(cursor.offset()));
            }
        }
        is_start = false;
    }
    if stream.len() > limits::MESSAGE_BYTES {
        return Err(Fault::new(limits::MESSAGE_BYTES, "the end of the headers").answered(StatusCode::MESSAGE_TOO_LARGE));
    }
    Ok(None)
}
