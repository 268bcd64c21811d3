//! What may be dialled (`security`: toll fraud). One pure function decides; its answer is a token without which no
//! call is placed.
//!
//! Numbers that the operator types or names in an agent file are the operator's word. Everything else, above all the
//! target of a peer's REFER, must be a plain number, or a SIP address at the peer's own host whose user part is one, and
//! must begin with a prefix that the operator allowed; by default none is. Whatever has more than one reading is refused
//! rather than normalised: an attacker would choose the other reading.

use crate::sip::Uri;
use crate::sip::uri::UriRef;
use std::fmt;

/// Most digits of a number: 15 of E.164 and an international prefix.
const MAX_DIGITS: usize = 18;
/// International prefixes that are written instead of `+`.
const INTERNATIONAL: [&str; 2] = ["00", "011"];

/// Whom to call, approved. Only this module makes one.
#[derive(Clone, PartialEq, Debug)]
pub struct Approved(Callee);

/// What was approved.
#[derive(Clone, PartialEq, Debug)]
pub enum Callee {
    /// A number at the gateway.
    Number(String),
    /// A SIP address of its own.
    Address(Uri),
}

/// Why something may not be dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialRefusal {
    /// It is neither a number nor a SIP address with one.
    NotPlain,
    /// It lies at another host than the peer's.
    ForeignHost,
    /// No allowed prefix fits.
    NotAllowed,
}

impl fmt::Display for DialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPlain => "the target is no plain number",
            Self::ForeignHost => "the target is at another host than the peer's",
            Self::NotAllowed => "the number begins with none of the allowed prefixes (`allowed_prefixes`)",
        })
    }
}

impl Approved {
    /// The operator's own word: typed on the command line or written in an agent file. A number, `*` and `#` included,
    /// or a SIP address.
    ///
    /// # Errors
    /// A sentence for whoever typed it.
    pub fn by_operator(text: &str) -> Result<Self, String> {
        let is_key = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#');
        let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        if !digits.is_empty() && digits.chars().all(is_key) {
            return Ok(Self(Callee::Number(number)));
        }
        let with_scheme = match text.split_once(':') {
            Some((scheme, _)) if ["sip", "sips", "tel"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) => {
                text.to_owned()
            }
            _ if text.contains('@') => format!("sip:{text}"),
            _ => return Err(format!("{text} is neither a number nor a SIP address; write 600 or sip:user@host")),
        };
        let uri = Uri::parse(with_scheme)
            .map_err(|e| format!("{text} is no SIP address ({e}); write sip:user@host or a number of the PBX"))?;
        match uri.view() {
            view if view.is_sip() => Ok(Self(Callee::Address(uri))),
            view => Self::by_operator(view.user().unwrap_or_default()),
        }
    }

    /// What may be called.
    #[must_use]
    pub fn callee(&self) -> &Callee {
        &self.0
    }
}

/// What one gateway lets others dial.
#[derive(Clone, Copy, Debug)]
pub struct DialPolicy<'a> {
    /// Beginnings of numbers; empty allows none.
    pub allowed_prefixes: &'a [String],
    /// Hosts that mean the gateway itself: its domain, its addresses. Anything else would be dialled past it.
    pub hosts: &'a [String],
}

impl DialPolicy<'_> {
    /// Judges a target that does not come from the operator. The result holds the number alone: nothing of the
    /// given text but its digits reaches a message.
    ///
    /// # Errors
    /// Why not.
    pub fn approve(&self, text: &str) -> Result<Approved, DialRefusal> {
        let number = match text.split_once(':') {
            None => text.to_owned(),
            Some(_) => self.number_of(text)?,
        };
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let is_plain = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_plain {
            return Err(DialRefusal::NotPlain);
        }
        if !self.allowed_prefixes.iter().any(|prefix| begins_with(&number, prefix)) {
            return Err(DialRefusal::NotAllowed);
        }
        Ok(Approved(Callee::Number(number)))
    }

    fn number_of(&self, text: &str) -> Result<String, DialRefusal> {
        let uri = UriRef::parse(text).map_err(|_| DialRefusal::NotPlain)?;
        let number = uri.user().filter(|_| uri.headers().next().is_none() && uri.password().is_none());
        let number = number.ok_or(DialRefusal::NotPlain)?;
        let plain_parameters = uri.parameters().all(|(name, value)| {
            // The call goes through the gateway whatever transport is named.
            name.eq_ignore_ascii_case("transport")
                || name.eq_ignore_ascii_case("user") && value.is_some_and(|v| v.eq_ignore_ascii_case("phone"))
        });
        if !plain_parameters || text.contains('?') {
            return Err(DialRefusal::NotPlain);
        }
        if uri.is_sip() {
            let host = uri.host().map(|host| host.to_string()).unwrap_or_default();
            let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            if !self.hosts.iter().any(|known| bare(known) == bare(&host)) {
                return Err(DialRefusal::ForeignHost);
            }
            return Ok(number.to_owned());
        }
        // Of a `tel:` URI: what follows the scheme must be the number and nothing else.
        let is_tel = matches!(uri.scheme(), crate::sip::uri::Scheme::Tel) && uri.opaque() == number;
        if is_tel { Ok(number.to_owned()) } else { Err(DialRefusal::NotPlain) }
    }
}

/// Whether a number begins with a prefix without leaving the country that the prefix means: `0` allows national
/// numbers, not `00` and `011`, which dial abroad.
fn begins_with(number: &str, prefix: &str) -> bool {
    if prefix.is_empty() || !number.starts_with(prefix) {
        return false;
    }
    INTERNATIONAL.iter().all(|abroad| !number.starts_with(abroad) || prefix.starts_with(abroad))
}

#[cfg(test)]
mod tests;
