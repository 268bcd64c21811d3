//! Smaller headers: Event, Subscription-State, Replaces, Session-Expires, Reason, Content-Type, Retry-After,
//! Warning.

use super::params::Params;
use crate::sip::parse::{Cursor, Fault, is_lws, number, saturating_number, trim};

/// A token with parameters: Event, Subscription-State, Reason, Content-Disposition and their like.
#[derive(Clone, Copy, Debug)]
pub struct Tagged<'a> {
    /// The token before the parameters: the event package, the state, the protocol. Compare without case.
    pub value: &'a str,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Tagged<'a> {
    /// Reads `token *(;param)`.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(trim(value));
        let token = cursor.token().ok_or_else(|| cursor.fault("a token"))?;
        Ok(Self { value: token, params: Params::parse(cursor)? })
    }

    /// Whether the token is `word`, compared without case.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.value.eq_ignore_ascii_case(word)
    }
}

/// Which dialog an INVITE takes over (RFC 3891).
#[derive(Clone, Copy, Debug)]
pub struct Replaces<'a> {
    /// The Call-ID of the dialog to replace.
    pub call_id: &'a str,
    /// Its tag on the receiver's side.
    pub to_tag: &'a str,
    /// Its tag on the other side.
    pub from_tag: &'a str,
    /// Whether only an early dialog may be replaced.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a Replaces value, from the header or out of a Refer-To URI once its escapes are resolved.
    ///
    /// # Errors
    /// Where it is malformed or a tag is missing.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(trim(value));
        let call_id = cursor.take_while(|b| b != b';' && !is_lws(b));
        let call_id =
            crate::sip::parse::text(call_id).filter(|c| !c.is_empty()).ok_or_else(|| cursor.fault("a Call-ID"))?;
        let params = Params::parse(cursor)?;
        match (params.value("to-tag"), params.value("from-tag")) {
            (Some(to_tag), Some(from_tag)) => {
                Ok(Self { call_id, to_tag, from_tag, early_only: params.has("early-only") })
            }
            _ => Err(cursor.fault("to-tag and from-tag")),
        }
    }
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresher {
    /// The one who sent the request that set the timer.
    Uac,
    /// The one who answered it.
    Uas,
}

/// Session-Expires (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionExpires {
    /// The session interval in seconds.
    pub interval_s: u32,
    /// Who refreshes, if said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a Session-Expires value.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let (interval_s, params) = seconds(value)?;
        let refresher = match params.value("refresher") {
            Some(r) if r.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(r) if r.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Ok(Self { interval_s, refresher })
    }
}

/// Seconds, an optional comment, and parameters: Retry-After, Min-SE, Expires. More than 32 bits saturate.
///
/// # Errors
/// If no number is there.
pub fn seconds(value: &[u8]) -> Result<(u32, Params<'_>), Fault> {
    let mut cursor = Cursor::new(trim(value));
    let number = saturating_number(cursor.take_while(|b| b.is_ascii_digit())).ok_or_else(|| cursor.fault("seconds"))?;
    cursor.skip_lws();
    skip_comment(&mut cursor)?;
    Ok((u32::try_from(number).unwrap_or(u32::MAX), Params::parse(cursor)?))
}

/// How deep comments may nest: each level is a turn of a loop, not of the stack, but no peer nests any.
const COMMENT_DEPTH: usize = 8;

fn skip_comment(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    let (mut depth, mut escaped) = (0usize, false);
    if cursor.peek() != Some(b'(') {
        return Ok(());
    }
    while let Some(byte) = cursor.peek() {
        cursor.skip(1);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' if depth == COMMENT_DEPTH => return Err(cursor.fault("fewer nested comments")),
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err(cursor.fault("the end of a comment"))
}

/// Content-Type (RFC 3261 §20.15).
#[derive(Clone, Copy, Debug)]
pub struct ContentType<'a> {
    /// `application` of `application/sdp`.
    pub kind: &'a str,
    /// `sdp` of `application/sdp`.
    pub subtype: &'a str,
    /// Parameters such as `boundary`.
    pub params: Params<'a>,
}

impl<'a> ContentType<'a> {
    /// Reads a Content-Type value.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(trim(value));
        let kind = cursor.token().ok_or_else(|| cursor.fault("a media type"))?;
        if !cursor.eat_spaced(b'/') {
            return Err(cursor.fault("a slash"));
        }
        let subtype = cursor.token().ok_or_else(|| cursor.fault("a media subtype"))?;
        Ok(Self { kind, subtype, params: Params::parse(cursor)? })
    }

    /// Whether this is `kind/subtype`, compared without case.
    #[must_use]
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

/// Why a request was sent or a call ended (RFC 3326): `Q.850;cause=16;text="Normal"`.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, …
    pub protocol: &'a str,
    /// The cause code within the protocol.
    pub cause: Option<u16>,
    /// All parameters; `text` is [`Params::unquoted`].
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    /// Reads one Reason element.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(element: &'a [u8]) -> Result<Self, Fault> {
        let Tagged { value, params } = Tagged::parse(element)?;
        let cause = params.find("cause").flatten().and_then(number).and_then(|c| u16::try_from(c).ok());
        Ok(Self { protocol: value, cause, params })
    }
}

/// A Warning's code and text (RFC 3261 §20.43): `307 isi.edu "Session parameter 'foo' not understood"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Three digits.
    pub code: u16,
    /// The text without quotes.
    pub text: String,
}

impl Warning {
    /// Reads one Warning element.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(element: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(trim(element));
        let digits = cursor.take_while(|b| b.is_ascii_digit());
        let code = number(digits).filter(|_| digits.len() == 3).and_then(|c| u16::try_from(c).ok());
        let code = code.ok_or_else(|| cursor.fault("a warning code of three digits"))?;
        cursor.skip_lws();
        cursor.take_while(|b| !is_lws(b));
        cursor.skip_lws();
        let text = cursor.quoted().ok_or_else(|| cursor.fault("a quoted warning text"))?;
        Ok(Self { code, text: crate::sip::parse::unescape(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_states_carry_their_parameters() {
        let state = Tagged::parse(b"terminated ; reason=noresource;retry-after=3").unwrap();
        assert!(state.is("Terminated"));
        assert_eq!(state.params.value("reason"), Some("noresource"));
        assert!(Tagged::parse(b";x").is_err());
    }

    #[test]
    fn replaces_needs_both_tags() {
        let replaces = Replaces::parse(b"12adf2f34456gs5@host ;to-tag=12345;from-tag=54321;early-only").unwrap();
        assert_eq!((replaces.call_id, replaces.to_tag, replaces.from_tag), ("12adf2f34456gs5@host", "12345", "54321"));
        assert!(replaces.early_only);
        assert!(Replaces::parse(b"abc;to-tag=1").is_err());
    }

    #[test]
    fn session_expires_says_who_refreshes() {
        assert_eq!(
            SessionExpires::parse(b"1800;refresher=UAS").unwrap(),
            SessionExpires { interval_s: 1800, refresher: Some(Refresher::Uas) }
        );
        assert_eq!(SessionExpires::parse(b"90").unwrap().refresher, None);
        assert!(SessionExpires::parse(b"soon").is_err());
    }

    #[test]
    fn retry_after_may_carry_a_comment_and_saturates() {
        let (s, params) = seconds(b"18000 (in a \\) (nested) meeting);duration=3600").unwrap();
        assert_eq!((s, params.value("duration")), (18000, Some("3600")));
        assert_eq!(seconds(b"949302838503028349304023988").unwrap().0, u32::MAX);
        assert!(seconds(b"5 (open").is_err());
        assert!(seconds(&[b"5 ".as_slice(), &[b'('; 100], &[b')'; 100]].concat()).is_err());
    }

    #[test]
    fn reasons_and_warnings_are_read() {
        let reason = Reason::parse(b"Q.850 ;cause=16 ;text=\"Normal; clearing\"").unwrap();
        assert_eq!((reason.protocol, reason.cause), ("Q.850", Some(16)));
        assert_eq!(reason.params.unquoted("text").as_deref(), Some("Normal; clearing"));
        assert_eq!(
            Warning::parse(b"307 isi.edu \"not understood\"").unwrap(),
            Warning { code: 307, text: "not understood".into() }
        );
        assert!(Warning::parse(b"1812 overture \"In Progress\"").is_err());
    }
}
