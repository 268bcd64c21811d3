//! How peers are addressed: hosts with port and transport, networks, user parts, header fields.

use crate::config::reader::{Located, Table};
use crate::sip::{HeaderName, HeaderValue, Transport};
use ipnet::IpNet;
use std::net::IpAddr;

/// Longest name, user or number.
pub(super) const NAME_CHARS: usize = 64;
/// Longest value of a header field written in the configuration: all of an INVITE should fit one datagram.
const HEADER_CHARS: usize = 256;
/// Most header fields of ours per peer, for the same reason.
const HEADERS_MAX: usize = 16;
/// Shortest prefix of a trunk's IPv4 network: `/0` would take calls from the whole internet.
const V4_PREFIX_MIN: u8 = 8;
/// Shortest prefix of a trunk's IPv6 network.
const V6_PREFIX_MIN: u8 = 32;
/// Header fields that the protocol itself writes: another value would break calls or contradict other keys.
const OWN_HEADERS: [HeaderName; 24] = [
    HeaderName::Accept,
    HeaderName::Allow,
    HeaderName::Authorization,
    HeaderName::CallId,
    HeaderName::Contact,
    HeaderName::ContentEncoding,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::CSeq,
    HeaderName::Diversion,
    HeaderName::From,
    HeaderName::MaxForwards,
    HeaderName::PAssertedIdentity,
    HeaderName::Privacy,
    HeaderName::ProxyAuthorization,
    HeaderName::RecordRoute,
    HeaderName::Replaces,
    HeaderName::Require,
    HeaderName::Route,
    HeaderName::SessionExpires,
    HeaderName::Supported,
    HeaderName::To,
    HeaderName::UserAgent,
    HeaderName::Via,
];

/// Where a peer is: `host[:port][;transport=udp|tcp|tls]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// The port, when it is written. Without it a name may have SRV records.
    pub port: Option<u16>,
    /// The transport, when it is written. Without it a name may have NAPTR records.
    pub transport: Option<Transport>,
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.uri_host())?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={}", transport.via_name().to_ascii_lowercase()),
            None => Ok(()),
        }
    }
}

impl PeerAddress {
    /// Reads an address; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, transport) = match text.split_once(';') {
            None => (text, None),
            Some((address, parameter)) => (address, Some(transport(parameter.strip_prefix("transport=")?)?)),
        };
        let (host, port) = if let Some(rest) = address.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').map(Some).or_else(|| rest.is_empty().then_some(None))?)
        } else if let Ok(IpAddr::V6(_)) = address.parse() {
            (address, None)
        } else {
            match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
            None => None,
        };
        (host.contains(':') || is_host_name(host)).then(|| Self { host: host.to_owned(), port, transport })
    }

    /// The host as a URI writes it: an IPv6 address in brackets.
    #[must_use]
    pub fn uri_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The IP address, when the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// `udp`, `tcp` or `tls`.
fn transport(word: &str) -> Option<Transport> {
    match word.to_ascii_lowercase().as_str() {
        "udp" => Some(Transport::Udp),
        "tcp" => Some(Transport::Tcp),
        "tls" => Some(Transport::Tls),
        _ => None,
    }
}

/// The words for transports.
pub(in crate::config) const TRANSPORTS: [(&str, Transport); 3] =
    [("tcp", Transport::Tcp), ("tls", Transport::Tls), ("udp", Transport::Udp)];

fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

/// Reads a peer's address under `key`; `port` and `transport` fill what it leaves out.
pub(super) fn peer_address(
    table: &Table<'_, '_>,
    key: &'static str,
    port: Option<u16>,
    transport: Option<Transport>,
) -> Option<PeerAddress> {
    let wanted = "a host such as \"pbx.example.com:5060\" or \"pbx.example.com;transport=tls\"";
    let found = table.read(key, wanted, PeerAddress::parse)?.value;
    Some(PeerAddress { port: found.port.or(port), transport: found.transport.or(transport), ..found })
}

/// A host name or address alone.
pub(super) fn domain(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let wanted = "a domain such as \"example.com\", without port";
    table
        .read(key, wanted, |text| PeerAddress::parse(text).filter(|a| a.port.is_none() && a.transport.is_none()))
        .map(|address| address.value.host)
}

/// The user part of a SIP address: the unreserved and user-unreserved characters of RFC 3261 §25.1 that need no
/// escaping.
pub(super) fn sip_user(table: &Table<'_, '_>, key: &str, user: Located<String>) -> Option<String> {
    let good = user.value.len() <= NAME_CHARS
        && user.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,?/#".contains(&b));
    if !good {
        let message = format!("`{key}` holds `{}`, which is not the user part of a SIP address", user.value);
        table.error(user.span, message, "write the number or name alone, such as \"1001\"");
        return None;
    }
    Some(user.value)
}

/// The value of a text that goes into a quoted string of a header field.
pub(super) fn display_text(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let wanted = "a name of at most 64 characters without control characters";
    let good = |text: &str| text.chars().count() <= NAME_CHARS && !text.chars().any(char::is_control);
    table.read(key, wanted, |text| good(text).then(|| text.to_owned())).map(|text| text.value)
}

/// Header fields of ours: `{ "X-Token" = "…" }`.
pub(super) fn headers(table: &Table<'_, '_>) -> Vec<(String, String)> {
    let Some(fields) = table.table("headers", "headers") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in fields.entries() {
        let Some(text) = value.get_ref().as_str() else {
            let message = format!("header `{}` is of type {}", name.value, value.get_ref().type_str());
            fields.error(value.span(), message, "write a string");
            continue;
        };
        if header_name(&name.value).is_none() {
            let message = format!("`{}` is not a header name", name.value);
            fields.error(name.span, message, "write letters, digits and hyphens, such as \"X-Token\"");
        } else if OWN_HEADERS.contains(&HeaderName::parse(name.value.as_bytes())) {
            let message = format!("`{}` is written by the protocol itself", name.value);
            fields.error(
                name.span,
                message,
                "remove it; `assert_identity`, `privacy` and `diversion` have keys of their own",
            );
        } else if text.chars().count() > HEADER_CHARS || HeaderValue::new(text).is_err() {
            let message = format!("the value of `{}` cannot stand in a header field", name.value);
            fields.error(value.span(), message, format!("write one line of at most {HEADER_CHARS} characters"));
        } else {
            all.push((name.value, text.to_owned()));
        }
    }
    if all.len() > HEADERS_MAX {
        let message = format!("`headers` has {} fields", all.len());
        table.error(table.key_span("headers"), message, format!("write at most {HEADERS_MAX}"));
    }
    all
}

/// A header name: a token (RFC 3261 §25.1) of letters, digits, hyphens, underscores and dots.
pub(in crate::config) fn header_name(text: &str) -> Option<String> {
    let good = text.len() <= NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    good.then(|| text.to_owned())
}

/// A list of header names.
pub(in crate::config) fn header_names(table: &Table<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    let names = table.texts(key)?;
    Some(
        names
            .into_iter()
            .filter_map(|name| {
                let good = header_name(&name.value);
                if good.is_none() {
                    let message = format!("`{}` is not a header name", name.value);
                    table.error(name.span, message, "write letters, digits and hyphens, such as \"X-Customer\"");
                }
                good
            })
            .collect(),
    )
}

/// A network, or an address as a network of one.
pub(in crate::config) fn network(table: &Table<'_, '_>, host: Located<String>, any_host: bool) -> Option<IpNet> {
    let parsed = host.value.parse::<IpNet>().ok().or_else(|| host.value.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = parsed else {
        let message = format!("`{}` is neither an address nor a network", host.value);
        let fix = "write an address such as \"203.0.113.7\" or a network such as \"198.51.100.0/24\"";
        table.error(host.span, message, fix);
        return None;
    };
    if network.trunc() != network {
        let message = format!("`{network}` has bits beyond its prefix");
        table.error(host.span, message, format!("write \"{}\"", network.trunc()));
        return None;
    }
    if is_wide(&network) && !any_host {
        let message = format!("`{network}` takes calls from a large part of the internet");
        let fix = "write the carrier's own networks; `danger_allow_any_host = true` lifts this check";
        table.error(host.span, message, fix);
        return None;
    }
    Some(network)
}

/// Whether a network is a large part of the internet.
pub(in crate::config) fn is_wide(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { V4_PREFIX_MIN } else { V6_PREFIX_MIN }
}

/// One of a trunk's hosts: a network, an address, or a name that is looked up.
pub(super) enum Host {
    Network(IpNet),
    Name(String),
}

pub(super) fn host(table: &Table<'_, '_>, written: Located<String>, any_host: bool) -> Option<Host> {
    // What ends in a letter cannot be an address, unless it is an IPv6 one.
    let is_name =
        written.value.ends_with(|c: char| c.is_ascii_alphabetic() || c == '.') && !written.value.contains(':');
    if !is_name {
        return network(table, written, any_host).map(Host::Network);
    }
    if !is_host_name(&written.value) {
        let message = format!("`{}` is neither an address, a network nor a host name", written.value);
        table.error(written.span, message, "write \"203.0.113.7\", \"198.51.100.0/24\" or \"sip.example.com\"");
        return None;
    }
    Some(Host::Name(written.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_names_or_addresses_with_or_without_port_and_transport() {
        for (text, host, port, transport) in [
            ("pbx.example.com", "pbx.example.com", None, None),
            ("pbx:5070", "pbx", Some(5070), None),
            ("192.0.2.1:5060", "192.0.2.1", Some(5060), None),
            ("[2001:db8::1]:5080", "2001:db8::1", Some(5080), None),
            ("[2001:db8::1]", "2001:db8::1", None, None),
            ("2001:db8::1", "2001:db8::1", None, None),
            ("pbx;transport=tls", "pbx", None, Some(Transport::Tls)),
            ("pbx:5061;transport=TCP", "pbx", Some(5061), Some(Transport::Tcp)),
        ] {
            let parsed = PeerAddress::parse(text).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port, parsed.transport), (host, port, transport));
            assert_eq!(PeerAddress::parse(&parsed.to_string()), Some(parsed));
        }
        for text in [
            "",
            ":5060",
            "pbx:0",
            "pbx:99999",
            "pbx:",
            "sip:pbx",
            "a b",
            "pbx..x",
            "[::1",
            "[pbx]:5060",
            "pbx/x",
            "pbx;transport=sctp",
            "pbx;lr",
            "anna@pbx",
        ] {
            assert_eq!(PeerAddress::parse(text), None, "{text}");
        }
    }
}
