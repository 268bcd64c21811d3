//! From, To, Contact, Route and every other header made of a URI with a display name (RFC 3261 §20.10).

use super::params::Params;
use crate::sip::parse::{Cursor, Fault, is_lws, text, trim, unescape};
use crate::sip::uri::UriRef;

/// `"Display" <uri>;params` or `uri;params`, as one header element carries it.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    display: &'a [u8],
    uri: &'a str,
    params: Params<'a>,
    raw: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one element. The URI is only delimited here; [`NameAddr::uri`] reads it.
    ///
    /// # Errors
    /// Where it is malformed. A bare URI that holds a comma, a question mark or (before its parameters) nothing is
    /// refused: without brackets nobody can tell whose they are (RFC 3261 §20).
    pub fn parse(element: &'a [u8]) -> Result<Self, Fault> {
        let raw = trim(element);
        let mut cursor = Cursor::new(raw);
        let display = if cursor.peek() == Some(b'"') {
            let start = cursor.rest();
            cursor.quoted().ok_or_else(|| cursor.fault("a closing quote"))?;
            let length = start.len().saturating_sub(cursor.rest().len());
            cursor.skip_lws();
            if cursor.peek() != Some(b'<') {
                return Err(cursor.fault("an angle bracket after the display name"));
            }
            start.get(..length).unwrap_or_default()
        } else {
            let mut ahead = cursor;
            // Names that should be quoted but are not ("Müller (Büro)", "Smith, John") are common and plain in meaning.
            let words = ahead.take_while(|b| !matches!(b, b'<' | b'"' | b';' | b'@'));
            if ahead.peek() == Some(b'<') {
                cursor = ahead;
                trim(words)
            } else {
                &[]
            }
        };
        let uri = if cursor.eat(b'<') {
            let uri = cursor.take_while(|b| b != b'>');
            if !cursor.eat(b'>') {
                return Err(cursor.fault("a closing angle bracket"));
            }
            trim(uri)
        } else {
            let uri = cursor.take_while(|b| !is_lws(b) && b != b';');
            if uri.iter().any(|b| matches!(b, b',' | b'?' | b'"' | b'>' | b'<')) {
                return Err(cursor.fault("angle brackets around this URI"));
            }
            uri
        };
        if uri.is_empty() {
            return Err(cursor.fault("a URI"));
        }
        let uri = text(uri).ok_or_else(|| cursor.fault("UTF-8"))?;
        Ok(Self { display, uri, params: Params::parse(cursor)?, raw })
    }

    /// The display name without quotes, escapes and control characters; empty if there is none. Claimed by the peer,
    /// never an identity.
    #[must_use]
    pub fn display_name(&self) -> String {
        let mut name = match self.display {
            [b'"', ..] => unescape(Cursor::new(self.display).quoted().unwrap_or_default()),
            words => String::from_utf8_lossy(words).into_owned(),
        };
        name.retain(|c| !c.is_control());
        name
    }

    /// The URI.
    ///
    /// # Errors
    /// If it is none. An unknown scheme is no error.
    pub fn uri(&self) -> Result<UriRef<'a>, Fault> {
        UriRef::parse(self.uri)
    }

    /// The URI as it came, unchecked.
    #[must_use]
    pub fn uri_text(&self) -> &'a str {
        self.uri
    }

    /// The header parameters: those after the brackets, or all of them where there are no brackets.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The `tag` parameter of From and To (RFC 3261 §19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag").filter(|t| !t.is_empty())
    }

    /// The `expires` parameter of a Contact in seconds; more than 32 bits saturate, other nonsense is ignored
    /// (RFC 3261 §10.2.1.1: then it counts as 3600).
    #[must_use]
    pub fn expires_s(&self) -> Option<u32> {
        let raw = self.params.find("expires").flatten()?;
        Some(crate::sip::parse::saturating_number(raw).map_or(3600, |n| u32::try_from(n).unwrap_or(u32::MAX)))
    }

    /// The whole element as it came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// What the Contact fields of one message say together.
#[derive(Clone, Debug)]
pub enum Contacts<'a> {
    /// `*`: all bindings, in a REGISTER that removes them (RFC 3261 §10.2.2).
    Star,
    /// The addresses, in order; possibly none.
    Addresses(Vec<NameAddr<'a>>),
}

impl<'a> Contacts<'a> {
    /// The first address, the remote target of a dialog.
    #[must_use]
    pub fn first(&self) -> Option<NameAddr<'a>> {
        match self {
            Self::Star => None,
            Self::Addresses(list) => list.first().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(element: &str) -> NameAddr<'_> {
        NameAddr::parse(element.as_bytes()).unwrap()
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (element, display, uri, tag) in [
            ("<sip:a@b>", "", "sip:a@b", None),
            ("sip:a@b;tag=1", "", "sip:a@b", Some("1")),
            ("\"A. \\\"B\\\" C\" <sip:a@b;lr>;tag=x", "A. \"B\" C", "sip:a@b;lr", Some("x")),
            ("Anna Schmidt  <tel:+1-555>\r\n ;TAG=y", "Anna Schmidt", "tel:+1-555", Some("y")),
            ("Smith, John <sip:j@x>;tag=c", "Smith, John", "sip:j@x", Some("c")),
            ("Müller (Büro) <sip:m@x>;tag=z", "Müller (Büro)", "sip:m@x", Some("z")),
            ("\"\"<sip:[::1]:5060>;tag=q", "", "sip:[::1]:5060", Some("q")),
            ("<sip:501@10.0.0.5:5060;ob=1:2;line=a>", "", "sip:501@10.0.0.5:5060;ob=1:2;line=a", None),
            ("http://www.example.com/a", "", "http://www.example.com/a", None),
        ] {
            let addr = read(element);
            assert_eq!((addr.display_name().as_str(), addr.uri_text(), addr.tag()), (display, uri, tag), "{element}");
        }
    }

    #[test]
    fn ambiguous_and_broken_addresses_are_refused() {
        for bad in [
            "",
            "<>",
            "<sip:a@b",
            "\"a <sip:a@b>",
            "\"a\" sip:a@b",
            "sip:a@b?x=y",
            "sip:a,b@c",
            "<sip:a@b>x",
            "<sip:a@b>;;",
        ] {
            assert!(NameAddr::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn contact_expiry_saturates_and_nonsense_counts_as_an_hour() {
        assert_eq!(read("<sip:a@b>;expires=60").expires_s(), Some(60));
        assert_eq!(read("<sip:a@b>;expires=99999999999999999999999").expires_s(), Some(u32::MAX));
        assert_eq!(read("<sip:a@b>;expires=soon").expires_s(), Some(3600));
        assert_eq!(read("<sip:a@b>").expires_s(), None);
    }
}
