//! Reading bytes of a stranger: the cursor, the character classes and the error of the whole message layer.

use super::header::HeaderName;
use super::message::Message;
use super::status::StatusCode;

/// Why a message, or one header of it, was not understood.
///
/// The fault is always the peer's. What to do follows from [`Fault::status`]: a request is answered with it
/// if the rest allows an answer ([`Message::is_answerable`]), a response is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: expected {expected}{}", self.in_header())]
pub struct Fault {
    /// Where in the datagram (or, for a header read later, where in its value) reading stopped, in bytes.
    pub offset: usize,
    /// What should have stood there.
    pub expected: &'static str,
    /// The header field at fault, if it was one.
    pub header: Option<HeaderName>,
    /// What a UAS answers to a request with this fault.
    pub status: StatusCode,
}

impl Fault {
    pub(super) fn new(offset: usize, expected: &'static str) -> Self {
        Self { offset, expected, header: None, status: StatusCode::BAD_REQUEST }
    }

    pub(super) fn in_field(header: HeaderName, expected: &'static str) -> Self {
        Self { header: Some(header), ..Self::new(0, expected) }
    }

    pub(super) fn of(mut self, header: HeaderName) -> Self {
        self.header = Some(header);
        self
    }

    pub(super) fn answered(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    fn in_header(&self) -> String {
        self.header.map_or_else(String::new, |h| format!(" in {h}"))
    }
}

/// A datagram that is not a well-formed message, with what could be read of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError<'a> {
    /// The first fault met.
    pub fault: Fault,
    /// What was understood in spite of it: `None` when not even a start line was found.
    pub salvage: Option<Box<Message<'a>>>,
}

const TOKEN: u8 = 1;
const LWS: u8 = 2;
const WORD: u8 = 4;
const HOST: u8 = 8;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where a wrong index is a build error")]
const CLASSES: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            table[byte] = TOKEN | WORD | HOST;
        }
        byte += 1;
    }
    let mut i = 0;
    let token = b"-.!%*_+`'~";
    while i < token.len() {
        table[token[i] as usize] |= TOKEN | WORD;
        i += 1;
    }
    let mut i = 0;
    let word = b"()<>:\\\"/[]?{}";
    while i < word.len() {
        table[word[i] as usize] |= WORD;
        i += 1;
    }
    let mut i = 0;
    let host = b"-._";
    while i < host.len() {
        table[host[i] as usize] |= HOST;
        i += 1;
    }
    table[b' ' as usize] |= LWS;
    table[b'\t' as usize] |= LWS;
    table[b'\r' as usize] |= LWS;
    table[b'\n' as usize] |= LWS;
    table
};

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// `token` of RFC 3261 §25.1.
pub(super) fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

/// A byte of `word` (RFC 3261 §25.1), what Call-IDs are made of, besides `@`.
pub(super) fn is_word(byte: u8) -> bool {
    class(byte) & WORD != 0
}

/// A byte of a host name; the underscore is no host character but stands in many.
pub(super) fn is_host(byte: u8) -> bool {
    class(byte) & HOST != 0
}

/// Space, tab, and the line breaks that can only be folds inside a header value.
pub(super) fn is_lws(byte: u8) -> bool {
    class(byte) & LWS != 0
}

/// A byte of a parameter value that is not quoted: all that cannot end it. Broader than the grammar, since peers put `:`,
/// `@` and `/` here.
pub(super) fn is_parameter_value(byte: u8) -> bool {
    !is_lws(byte) && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>' | 0..=31 | 127)
}

/// The bytes without white space at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The text of ASCII or UTF-8 bytes.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Decimal digits as a number within 32 bits; nothing else is accepted, no sign, no space.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    match saturating_number(bytes)? {
        u64::MAX => None,
        n => u32::try_from(n).ok(),
    }
}

/// Decimal digits as a number; more than 64 bits give `u64::MAX`.
pub(super) fn saturating_number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n.saturating_mul(10).saturating_add(u64::from(b.wrapping_sub(b'0'))))
    })
}

/// A position in a header value. Never reads past the end, never fails: what is not there is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    start: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { start: bytes, rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn offset(&self) -> usize {
        self.start.len().saturating_sub(self.rest.len())
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Steps over `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Steps over `LWS byte LWS`; stays in place if `byte` does not follow.
    pub(super) fn eat_spaced(&mut self, byte: u8) -> bool {
        let mut ahead = *self;
        ahead.skip_lws();
        if !ahead.eat(byte) {
            return false;
        }
        ahead.skip_lws();
        *self = ahead;
        true
    }

    pub(super) fn skip_lws(&mut self) {
        self.take_while(is_lws);
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|b| !accept(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// A non-empty `token`.
    pub(super) fn token(&mut self) -> Option<&'a str> {
        match self.take_while(is_token) {
            [] => None,
            token => text(token),
        }
    }

    /// The inside of a quoted string, escapes as they were. Steps over both quotes; the cursor must stand on the
    /// first. `None` if the second is missing.
    pub(super) fn quoted(&mut self) -> Option<&'a [u8]> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let mut escaped = false;
        let end = inside.iter().position(|b| match b {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            b => *b == b'"',
        })?;
        let (quoted, rest) = inside.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(quoted)
    }

    pub(super) fn fault(&self, expected: &'static str) -> Fault {
        Fault::new(self.offset(), expected)
    }
}

/// Removes the backslashes of a quoted string's escapes (RFC 3261 §25.1 `quoted-pair`) and the folds.
#[must_use]
pub(super) fn unescape(quoted: &[u8]) -> String {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            b'\r' | b'\n' => {}
            other => plain.push(*other),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Puts text into double quotes, escaping what must be.
#[must_use]
pub(super) fn quote(plain: &str) -> String {
    let mut quoted = String::with_capacity(plain.len() + 2);
    quoted.push('"');
    for c in plain.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_end_at_the_first_unescaped_quote() {
        let mut cursor = Cursor::new(br#""a \"b\\" rest"#);
        assert_eq!(cursor.quoted(), Some(&br#"a \"b\\"#[..]));
        assert_eq!(cursor.rest(), b" rest");
        assert_eq!(Cursor::new(br#""open \""#).quoted(), None);
        assert_eq!(unescape(br#"a \"b\\"#), r#"a "b\"#);
    }

    #[test]
    fn quoting_and_unescaping_return_the_text() {
        for plain in ["", "Anna", r#"a "b" \c"#, "Jürgen"] {
            let quoted = quote(plain);
            assert_eq!(unescape(Cursor::new(quoted.as_bytes()).quoted().unwrap()), plain);
        }
        assert_eq!(quote("a\r\nb\0"), "\"ab\"");
    }

    #[test]
    fn numbers_take_digits_only_and_stop_at_32_bits() {
        assert_eq!(number(b"0070"), Some(70));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"-1", b"+1", b"4294967296", b"99999999999999999999999", b"1 "] {
            assert_eq!(number(bad), None);
        }
    }
}
