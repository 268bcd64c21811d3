//! SIP, SIPS, tel and other URIs (RFC 3261 §19.1, RFC 3966): a borrowed view and an owned form.

use super::host::Host;
use super::limits;
use super::parse::{Fault, number};
use std::fmt;
use std::ops::Range;

/// The scheme of a URI. Schemes are compared without case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`: every hop protected by TLS.
    Sips,
    /// `tel` (RFC 3966): a telephone number.
    Tel,
    /// Any other, spelled as it came.
    Other(&'a str),
}

/// Where the parts of a URI's text lie. Offsets fit: a URI is no longer than [`UriRef::MAX_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Parts {
    scheme_end: u16,
    user: Option<(u16, u16)>,
    password: Option<(u16, u16)>,
    host: (u16, u16),
    port: Option<u16>,
    parameters: (u16, u16),
    headers: (u16, u16),
}

/// A parsed URI that borrows its text. Escapes (`%41`) are kept as they came; [`unescaped`] resolves them.
#[derive(Clone, Copy, Debug)]
pub struct UriRef<'a> {
    text: &'a str,
    parts: Parts,
}

/// A URI that owns its text. Always well formed, never holds a control character, a space, a quote or an angle
/// bracket, so it can stand in any header.
#[derive(Clone)]
pub struct Uri {
    text: String,
    parts: Parts,
}

/// Splits at the first `byte`: what is before it, and what is after if it is there.
fn split(text: &str, byte: char) -> (&str, Option<&str>) {
    text.split_once(byte).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn span(whole: &str, part: &str) -> (u16, u16) {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    (start as u16, start.wrapping_add(part.len()) as u16)
}

fn slice(text: &str, (start, end): (u16, u16)) -> &str {
    text.get(Range { start: usize::from(start), end: usize::from(end) }).unwrap_or_default()
}

fn fault(at: usize, expected: &'static str) -> Fault {
    Fault::new(at, expected)
}

/// Whether every `%` begins an escape of two hexadecimal digits.
fn escapes_are_whole(text: &str) -> bool {
    text.as_bytes().iter().enumerate().filter(|(_, b)| **b == b'%').all(|(i, _)| {
        text.as_bytes()
            .get(i.saturating_add(1)..i.saturating_add(3))
            .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit))
    })
}

impl Parts {
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > UriRef::MAX_BYTES {
            return Err(fault(UriRef::MAX_BYTES, "a shorter URI"));
        }
        if [b';', b'&'].iter().any(|mark| text.bytes().filter(|b| b == mark).count() > limits::URI_PARAMETERS) {
            return Err(fault(0, "fewer parameters"));
        }
        if let Some(bad) = text.bytes().position(|b| matches!(b, 0..=b' ' | 0x7f | b'<' | b'>' | b'"')) {
            return Err(fault(bad, "a URI character"));
        }
        let (scheme, Some(rest)) = split(text, ':') else { return Err(fault(0, "a URI scheme and a colon")) };
        let mut letters = scheme.bytes();
        if !letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            || !letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return Err(fault(0, "a URI scheme"));
        }
        let mut parts = Self { scheme_end: scheme.len() as u16, ..Self::default() };
        if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
            parts.parse_sip(text, rest)?;
        } else if scheme.eq_ignore_ascii_case("tel") {
            let (subscriber, parameters) = split(rest, ';');
            let digits = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'+' | b'*' | b'#' | b'-' | b'.' | b'(' | b')');
            if subscriber.is_empty() || !subscriber.bytes().all(digits) {
                return Err(fault(usize::from(parts.scheme_end), "a telephone number"));
            }
            parts.user = Some(span(text, subscriber));
            parts.parameters =
                parameters.map_or_else(|| span(text, rest.get(rest.len()..).unwrap_or_default()), |p| span(text, p));
        } else if rest.is_empty() {
            return Err(fault(text.len(), "something after the scheme"));
        }
        Ok(parts)
    }

    fn parse_sip(&mut self, text: &str, rest: &str) -> Result<(), Fault> {
        // `?` and `;` may stand in a user part, `@` may not: so the first `@` ends it, and peers that forget to escape
        // one in a header (`?Replaces=id@host`) are still understood.
        let (userinfo, hostport) = match rest.split_once('@') {
            Some((userinfo, hostport)) => (Some(userinfo), hostport),
            None => (None, rest),
        };
        if let Some(userinfo) = userinfo {
            let (user, password) = split(userinfo, ':');
            let at = span(text, userinfo).0;
            // An empty user is against the grammar, yet "sip:@host" is what anonymous callers of some gateways send.
            if !escapes_are_whole(userinfo) {
                return Err(fault(usize::from(at), "a user part with whole escapes"));
            }
            self.user = Some(span(text, user));
            self.password = password.map(|p| span(text, p));
        }
        let (before_headers, headers) = split(hostport, '?');
        let (hostport, parameters) = split(before_headers, ';');
        let end = text.get(text.len()..).unwrap_or_default();
        self.headers = span(text, headers.unwrap_or(end));
        self.parameters = span(text, parameters.unwrap_or(end));
        let (host, port) = match hostport.strip_prefix('[').and_then(|h| h.split_once(']')) {
            Some((inside, after)) => {
                let host = hostport.get(..inside.len().saturating_add(2)).unwrap_or_default();
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(fault(usize::from(span(text, after).0), "a colon and a port")),
                }
            }
            None => split(hostport, ':'),
        };
        let at = usize::from(span(text, host).0);
        if Host::parse(host.as_bytes()).is_none() {
            return Err(fault(at, "a host"));
        }
        self.host = span(text, host);
        self.port = match port {
            None | Some("") => None,
            Some(port) => Some(
                number(port.as_bytes())
                    .and_then(|p| u16::try_from(p).ok())
                    .ok_or_else(|| fault(usize::from(span(text, port).0), "a port"))?,
            ),
        };
        Ok(())
    }
}

/// One `name=value` of a URI's parameters or headers; `value` is `None` where no `=` stands.
fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(separator).filter(|p| !p.is_empty()).map(|pair| split(pair, '='))
}

impl<'a> UriRef<'a> {
    /// Longest URI read, in bytes.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Reads a whole URI.
    ///
    /// # Errors
    /// Where it stops being one. An unknown scheme is no error: see [`UriRef::scheme`].
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        Parts::parse(text).map(|parts| Self { text, parts })
    }

    /// Reads a URI out of a message's bytes.
    ///
    /// # Errors
    /// As [`UriRef::parse`]; also if the bytes are not UTF-8.
    pub fn parse_bytes(bytes: &'a [u8]) -> Result<Self, Fault> {
        std::str::from_utf8(bytes).map_err(|e| fault(e.valid_up_to(), "UTF-8")).and_then(Self::parse)
    }

    /// The URI as it came.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme<'a> {
        match slice(self.text, (0, self.parts.scheme_end)) {
            s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
            s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
            other => Scheme::Other(other),
        }
    }

    /// Whether this is a `sip:` or `sips:` URI, the only ones with a host.
    #[must_use]
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme(), Scheme::Sip | Scheme::Sips)
    }

    /// The user part, escapes as they came; of a `tel:` URI, the number.
    #[must_use]
    pub fn user(&self) -> Option<&'a str> {
        self.parts.user.map(|u| slice(self.text, u))
    }

    /// The password in the user part, escapes as they came.
    #[must_use]
    pub fn password(&self) -> Option<&'a str> {
        self.parts.password.map(|p| slice(self.text, p))
    }

    /// The host; `None` unless [`UriRef::is_sip`].
    #[must_use]
    pub fn host(&self) -> Option<Host<'a>> {
        Host::parse(slice(self.text, self.parts.host).as_bytes())
    }

    /// The port, if one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// What follows the scheme and its colon, for schemes without a known structure.
    #[must_use]
    pub fn opaque(&self) -> &'a str {
        self.text.get(usize::from(self.parts.scheme_end).saturating_add(1)..).unwrap_or_default()
    }

    /// The URI parameters in order, values as they came.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        pairs(slice(self.text, self.parts.parameters), ';')
    }

    /// The value of the parameter `name` (compared without case): `Some("")` if it stands without a value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters().find(|(n, _)| same(n, name)).map(|(_, v)| v.unwrap_or_default())
    }

    /// The headers after `?`, names and values with their escapes.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(slice(self.text, self.parts.headers), '&').map(|(n, v)| (n, v.unwrap_or_default()))
    }

    /// The value of the URI header `name`, with escapes resolved.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().find(|(n, _)| same(n, name)).map(|(_, v)| unescaped(v))
    }

    /// Whether the hop takes part in loose routing (RFC 3261 §16.12): the `lr` parameter, with or without value.
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.parameter("lr").is_some()
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> Uri {
        Uri { text: self.text.to_owned(), parts: self.parts }
    }

    /// Equality by RFC 3261 §19.1.4 for SIP and SIPS, by RFC 3966 §4 for tel, by text for the rest.
    ///
    /// User and password compare with case, all else without; escapes compare as what they stand for; `user`,
    /// `ttl`, `method`, `maddr` and `transport` must agree in presence, other parameters only where both have them;
    /// headers must all agree; a default port differs from an absent one. Of a name that stands there twice the first counts.
    #[must_use]
    pub fn is_equivalent(&self, other: &UriRef<'_>) -> bool {
        let scheme = match (self.scheme(), other.scheme()) {
            (Scheme::Other(a), Scheme::Other(b)) => a.eq_ignore_ascii_case(b) && self.opaque() == other.opaque(),
            (Scheme::Other(_), _) | (_, Scheme::Other(_)) => false,
            (a, b) => a.name() == b.name(),
        };
        if !scheme {
            return false;
        }
        if self.scheme() == Scheme::Tel {
            let all_in = |a: &UriRef<'_>, b: &UriRef<'_>| {
                a.parameters()
                    .all(|(n, _)| matches!((a.parameter(n), b.parameter(n)), (Some(v), Some(w)) if same(v, w)))
            };
            return visual_digits(self.user()).eq(visual_digits(other.user()))
                && all_in(self, other)
                && all_in(other, self);
        }
        let same_user = |a: Option<&str>, b: Option<&str>| a.map(unescaped) == b.map(unescaped);
        same_user(self.user(), other.user())
            && same_user(self.password(), other.password())
            && self.host() == other.host()
            && self.port() == other.port()
            && self.has_compatible_parameters(other)
            && other.has_compatible_parameters(self)
            && self.headers().count() == other.headers().count()
            && self.headers().all(
                |(n, _)| matches!((self.header(n), other.header(n)), (Some(v), Some(w)) if v.eq_ignore_ascii_case(&w)),
            )
    }

    fn has_compatible_parameters(&self, other: &UriRef<'_>) -> bool {
        self.parameters().all(|(name, _)| match (self.parameter(name), other.parameter(name)) {
            (Some(ours), Some(theirs)) => same(ours, theirs),
            _ => !["user", "ttl", "method", "maddr", "transport"].iter().any(|must| same(name, must)),
        })
    }
}

impl Scheme<'_> {
    /// The scheme in lower case, or as it came for [`Scheme::Other`].
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(name) => name,
        }
    }
}

/// Equal without case once escapes are resolved.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || ((a.contains('%') || b.contains('%')) && unescaped(a).eq_ignore_ascii_case(&unescaped(b)))
}

fn visual_digits(number: Option<&str>) -> impl Iterator<Item = u8> {
    number
        .unwrap_or_default()
        .bytes()
        .filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')'))
        .map(|b| b.to_ascii_lowercase())
}

/// Resolves `%XX` escapes. Bytes that then are not UTF-8 become U+FFFD.
#[must_use]
pub fn unescaped(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        match pair.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if *first == b'%' => {
                plain.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Escapes every byte that is neither unreserved nor in `also_allowed` as `%XX` (RFC 3261 §19.1.2).
#[must_use]
pub fn escaped(text: &str, also_allowed: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) || also_allowed.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Reserved characters that may stand bare in a user part (`user-unreserved`).
const USER_BARE: &[u8] = b"&=+$,;?/";
/// Reserved characters that may stand bare in a URI parameter (`param-unreserved`).
const PARAMETER_BARE: &[u8] = b"[]/:&+$";
/// Reserved characters that may stand bare in a URI header (`hnv-unreserved`).
const HEADER_BARE: &[u8] = b"[]/?:+$";

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// As [`UriRef::parse`].
    pub fn parse(text: impl Into<String>) -> Result<Self, Fault> {
        let text = text.into();
        let parts = Parts::parse(&text)?;
        Ok(Self { text, parts })
    }

    /// A `sip:` URI of a host, which may be a domain name or an address (`[…]` around IPv6), without user part, as a
    /// REGISTER's Request-URI wants it.
    ///
    /// # Errors
    /// If `host` is no host.
    pub fn sip(host: &str, port: Option<u16>) -> Result<Self, Fault> {
        Self::parse(format!("sip:{host}{}", port.map_or_else(String::new, |p| format!(":{p}"))))
    }

    /// A `sip:` URI of a socket address. The zone of a link-local IPv6 address means nothing to a peer and is left out.
    #[must_use]
    pub fn sip_address(address: std::net::SocketAddr) -> Self {
        let address = std::net::SocketAddr::new(address.ip(), address.port());
        Self::parse(format!("sip:{address}")).unwrap_or_else(|_| Self { text: String::new(), parts: Parts::default() })
    }

    /// The view with all the readers.
    #[must_use]
    pub fn view(&self) -> UriRef<'_> {
        UriRef { text: &self.text, parts: self.parts }
    }

    /// The URI as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn rebuilt(&self, text: String) -> Self {
        Self::parse(text).unwrap_or_else(|_| self.clone())
    }

    /// The same URI with this user part, which is escaped as needed. Only for `sip:` and `sips:`; others stay.
    #[must_use]
    pub fn with_user(&self, user: &str) -> Self {
        if !self.view().is_sip() {
            return self.clone();
        }
        let host_on = self.text.get(usize::from(self.parts.host.0)..).unwrap_or_default();
        self.rebuilt(format!("{}:{}@{host_on}", self.view().scheme().name(), escaped(user, USER_BARE)))
    }

    /// The same URI with this parameter set (replacing one of that name); no value is written for `None`.
    #[must_use]
    pub fn with_parameter(&self, name: &str, value: Option<&str>) -> Self {
        let view = self.view();
        if !matches!(view.scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel) {
            return self.clone();
        }
        let (before_headers, headers) = self.headers_apart();
        let bare = match view.parameters().next() {
            Some(_) => before_headers.get(..usize::from(self.parts.parameters.0).saturating_sub(1)).unwrap_or_default(),
            None => before_headers.trim_end_matches(';'),
        };
        let mut text = bare.to_owned();
        for (n, v) in view.parameters().filter(|(n, _)| !same(n, name)) {
            text.push(';');
            text.push_str(n);
            if let Some(v) = v {
                text.push('=');
                text.push_str(v);
            }
        }
        text.push(';');
        text.push_str(&escaped(name, PARAMETER_BARE));
        if let Some(value) = value {
            text.push('=');
            text.push_str(&escaped(value, PARAMETER_BARE));
        }
        text.push_str(headers);
        self.rebuilt(text)
    }

    /// The same URI with this header added after `?`, name and value escaped: `Replaces` in a Refer-To, for one.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        if !self.view().is_sip() {
            return self.clone();
        }
        let joint = if self.view().headers().next().is_some() { '&' } else { '?' };
        let text = self.text.trim_end_matches('?');
        self.rebuilt(format!("{text}{joint}{}={}", escaped(name, HEADER_BARE), escaped(value, HEADER_BARE)))
    }

    /// The same URI without headers and without the `method` parameter, as a Request-URI must be (RFC 3261 §19.1.1).
    #[must_use]
    pub fn to_request_uri(&self) -> Self {
        if !self.view().is_sip() {
            return self.clone();
        }
        let (before_headers, _) = self.headers_apart();
        if self.view().parameter("method").is_none() {
            return self.rebuilt(before_headers.to_owned());
        }
        let bare = before_headers.get(..usize::from(self.parts.parameters.0).saturating_sub(1)).unwrap_or_default();
        let kept = self.view().parameters().filter(|(n, _)| !same(n, "method"));
        self.rebuilt(kept.fold(bare.to_owned(), |text, (n, v)| match v {
            Some(v) => format!("{text};{n}={v}"),
            None => format!("{text};{n}"),
        }))
    }

    /// The text up to `?`, and from it on.
    fn headers_apart(&self) -> (&str, &str) {
        if self.parts.headers.0 == 0 {
            return (&self.text, "");
        }
        let mark = usize::from(self.parts.headers.0).saturating_sub(1);
        match self.text.get(mark..) {
            Some(headers) if headers.starts_with('?') => (self.text.get(..mark).unwrap_or_default(), headers),
            _ => (&self.text, ""),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Shows scheme and host only: the user part is a person's number or name.
impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{{redacted}}@{}", self.view().scheme().name(), slice(&self.text, self.parts.host))
    }
}

/// Equal as RFC 3261 §19.1.4 says; not transitive where one URI lacks a parameter, so `Eq` is not implemented.
impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.view().is_equivalent(&other.view())
    }
}

impl std::str::FromStr for Uri {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::parse(text)
    }
}

#[cfg(test)]
#[path = "tests/uri.rs"]
mod tests;
