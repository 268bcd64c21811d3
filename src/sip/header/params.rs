//! `;name=value` parameters after a header value (RFC 3261 §25.1 `generic-param`), and comma-joined lists.

use crate::sip::parse::{Cursor, Fault, is_parameter_value, is_token, text, trim, unescape};
use std::borrow::Cow;

/// The parameters that follow a header value. Checked once when read; looked up without allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a>(&'a [u8]);

/// One parameter: its name, and the raw value with quotes and escapes, if it has one.
pub type Param<'a> = (&'a str, Option<&'a [u8]>);

fn next<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Param<'a>>, Fault> {
    cursor.skip_lws();
    if cursor.at_end() {
        return Ok(None);
    }
    if !cursor.eat(b';') {
        return Err(cursor.fault("a semicolon"));
    }
    cursor.skip_lws();
    let name = cursor.take_while(is_token);
    let name = text(name).filter(|n| !n.is_empty()).ok_or_else(|| cursor.fault("a parameter name"))?;
    if !cursor.eat_spaced(b'=') {
        return Ok(Some((name, None)));
    }
    let start = cursor.rest();
    if cursor.peek() == Some(b'"') {
        cursor.quoted().ok_or_else(|| cursor.fault("a closing quote"))?;
        let length = start.len().saturating_sub(cursor.rest().len());
        return Ok(Some((name, start.get(..length))));
    }
    Ok(Some((name, Some(cursor.take_while(is_parameter_value)))))
}

impl<'a> Params<'a> {
    /// Checks all that is left of a header value as parameters.
    pub(in crate::sip) fn parse(cursor: Cursor<'a>) -> Result<Self, Fault> {
        let mut ahead = cursor;
        while next(&mut ahead)?.is_some() {}
        Ok(Self(cursor.rest()))
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || next(&mut cursor).ok().flatten())
    }

    /// The parameter `name`, compared without case: `Some(None)` if it has no value.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// Whether the parameter is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of an unquoted parameter; `None` if it is absent, has no value or is not UTF-8. Quotes stay.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).flatten().and_then(text)
    }

    /// The value with quotes and escapes resolved.
    #[must_use]
    pub fn unquoted(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.find(name).flatten()?;
        Some(match raw {
            [b'"', ..] => Cow::Owned(unescape(Cursor::new(raw).quoted()?)),
            plain => String::from_utf8_lossy(plain),
        })
    }

    /// The parameters as they came, from the first semicolon on.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }
}

/// Elements of a comma-joined header value, trimmed. Commas in quotes and in angle brackets do not count.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    /// The elements of one field's value.
    #[must_use]
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
        let comma = rest.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' if !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' => return !quoted && !bracketed,
                _ => {}
            }
            false
        });
        match comma.and_then(|at| rest.split_at_checked(at)) {
            Some((element, tail)) => {
                self.rest = tail.get(1..);
                Some(trim(element))
            }
            None => {
                self.rest = None;
                Some(trim(rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_quotes_and_brackets_do_not_split() {
        let value = br#""Doe, \"J\", x" <sip:a,b@c;p="1,2">;q=1 , <sip:d@e>,f"#;
        let elements: Vec<_> = Elements::new(value).collect();
        assert_eq!(elements, [&br#""Doe, \"J\", x" <sip:a,b@c;p="1,2">;q=1"#[..], b"<sip:d@e>", b"f"]);
        assert_eq!(Elements::new(b"").count(), 1);
        assert_eq!(Elements::new(b"a,,b").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn parameters_are_found_in_any_case_with_blanks_around_every_part() {
        let params = Params::parse(Cursor::new(b" ; Tag = abc ;lr;x=\"a;b\\\"\" ;ob=1:2@3 ")).unwrap();
        assert_eq!(params.value("tag"), Some("abc"));
        assert_eq!(params.find("LR"), Some(None));
        assert_eq!(params.unquoted("x").as_deref(), Some("a;b\""));
        assert_eq!(params.value("ob"), Some("1:2@3"));
        assert!(!params.has("absent"));
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn empty_and_broken_parameters_are_refused() {
        for bad in [&b";;"[..], b";", b";a=\"x", b"x", b";=1", b";a b", b";a=1 2"] {
            assert!(Params::parse(Cursor::new(bad)).is_err(), "{}", bad.escape_ascii());
        }
    }
}
