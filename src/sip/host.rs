//! The host of a URI or a Via: a name or an address (RFC 3261 §25.1, IPv6 as RFC 5118 reads it).

use super::parse::{is_host, text};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host as written by a peer.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A domain name. Never resolved when it comes from a Via or Contact of an untrusted peer.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; written in brackets.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a whole host; `None` if it is neither a name nor an address. IPv6 needs its brackets.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let host = text(bytes)?;
        if let Some(inside) = host.strip_prefix('[') {
            return ipv6(inside.strip_suffix(']')?).map(Self::V6);
        }
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        Some(host.parse().map_or(Self::Name(host), Self::V4))
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(a) => Some((*a).into()),
            Self::V6(a) => Some((*a).into()),
        }
    }
}

/// Reads an IPv6 address. The grammar of RFC 3261 wrongly puts three colons before an embedded IPv4 address; that form is
/// understood too, as RFC 5118 §4.10 asks.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| {
        let (head, v4) = text.split_once(":::")?;
        v4.parse::<Ipv4Addr>().ok()?;
        format!("{head}::{v4}").parse().ok()
    })
}

/// Reads an address with or without brackets, as `received` and `maddr` carry it (RFC 5118 §4.5).
#[must_use]
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    let host = text(bytes)?;
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Names compare without case, addresses by value.
impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            _ => self.address().is_some() && self.address() == other.address(),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(a) => write!(f, "{a}"),
            Self::V6(a) => write!(f, "[{a}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        assert!(matches!(Host::parse(b"pbx_1.example.com"), Some(Host::Name("pbx_1.example.com"))));
        assert!(matches!(Host::parse(b"192.0.2.1"), Some(Host::V4(_))));
        assert!(matches!(Host::parse(b"[2001:db8::1]"), Some(Host::V6(_))));
        assert_eq!(Host::parse(b"[2001:db8:::192.0.2.1]"), Host::parse(b"[2001:db8::192.0.2.1]"));
        for bad in [&b""[..], b"2001:db8::1", b"[2001:db8::1", b"[]", b"[1:::2]", b"[::1]x", b"a b", b"h\xff", b"a/b"] {
            assert_eq!(Host::parse(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(Host::parse(b"EXAMPLE.com"), Host::parse(b"example.COM"));
        assert_eq!(address(b"[::1]"), address(b"::1"));
        assert_eq!(address(b"example.com"), None);
    }
}
