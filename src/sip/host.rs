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
            return inside.strip_suffix(']')?.parse().ok().map(Self::V6);
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
