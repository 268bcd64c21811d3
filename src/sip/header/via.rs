//! Via: where a request came through and where its response goes (RFC 3261 §20.42, RFC 3581).

use super::params::Params;
use crate::sip::host::{Host, address};
use crate::sip::parse::{Cursor, Fault, is_host, number, trim};
use std::net::IpAddr;

/// One Via value.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    transport: &'a str,
    host: Host<'a>,
    port: Option<u16>,
    params: Params<'a>,
    raw: &'a [u8],
}

impl<'a> Via<'a> {
    /// What a branch begins with when its sender follows RFC 3261 and not RFC 2543 (§8.1.1.7).
    pub const MAGIC_COOKIE: &'static str = "z9hG4bK";

    /// Reads one Via value.
    ///
    /// # Errors
    /// Where it is malformed; also for a protocol other than SIP. Any version is read, so that a request of an unknown one
    /// can be told so (505).
    pub fn parse(element: &'a [u8]) -> Result<Self, Fault> {
        let raw = trim(element);
        let mut cursor = Cursor::new(raw);
        let name = cursor.token();
        let version = if cursor.eat_spaced(b'/') { cursor.token() } else { None };
        if !name.is_some_and(|n| n.eq_ignore_ascii_case("SIP")) || version.is_none() {
            return Err(cursor.fault("SIP and a version"));
        }
        let transport = if cursor.eat_spaced(b'/') { cursor.token() } else { None };
        let transport = transport.ok_or_else(|| cursor.fault("a transport"))?;
        if cursor.take_while(crate::sip::parse::is_lws).is_empty() {
            return Err(cursor.fault("white space before sent-by"));
        }
        let host = if cursor.peek() == Some(b'[') {
            let start = cursor.rest();
            cursor.take_while(|b| b != b']');
            cursor.eat(b']');
            start.get(..start.len().saturating_sub(cursor.rest().len())).unwrap_or_default()
        } else {
            cursor.take_while(is_host)
        };
        let host = Host::parse(host).ok_or_else(|| cursor.fault("a host"))?;
        let port = if cursor.eat_spaced(b':') {
            let port = number(cursor.take_while(|b| b.is_ascii_digit())).and_then(|p| u16::try_from(p).ok());
            Some(port.ok_or_else(|| cursor.fault("a port"))?)
        } else {
            None
        };
        Ok(Self { transport, host, port, params: Params::parse(cursor)?, raw })
    }

    /// The transport as it came: `UDP`, `TCP`, `TLS`, … Compare without case.
    #[must_use]
    pub fn transport(&self) -> &'a str {
        self.transport
    }

    /// The host of `sent-by`.
    #[must_use]
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port of `sent-by`, if written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The transaction's branch.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params.value("branch").filter(|b| !b.is_empty())
    }

    /// Whether the branch is unique by RFC 3261; otherwise transactions are matched as RFC 2543 did (§17.2.3).
    #[must_use]
    pub fn has_magic_cookie(&self) -> bool {
        // Cookies compare without case, as tokens do. A branch that is nothing but the cookie identifies nothing.
        self.branch()
            .and_then(|b| b.split_at_checked(Self::MAGIC_COOKIE.len()))
            .is_some_and(|(cookie, id)| cookie.eq_ignore_ascii_case(Self::MAGIC_COOKIE) && !id.is_empty())
    }

    /// The address the request was seen to come from, with or without brackets.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.params.find("received").flatten().and_then(address)
    }

    /// RFC 3581: `Some(None)` asks for the source port, `Some(Some(p))` tells it.
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        Some(self.params.find("rport")?.and_then(number).and_then(|p| u16::try_from(p).ok()))
    }

    /// Where to send responses instead of `sent-by`, as a multicast address or an address of the sender's choice. An
    /// unverified peer's value must not be obeyed: it points our packets at a third party.
    #[must_use]
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.value("maddr")
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The whole value as it came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_folds_may_stand_around_every_separator() {
        let via =
            Via::parse(b"SIP  /   2.0\r\n  /UDP\r\n    192.0.2.2 : 5070 ;branch=z9hG4bKa;rport;\r\n received=10.0.0.1")
                .unwrap();
        assert_eq!((via.transport(), via.port(), via.branch()), ("UDP", Some(5070), Some("z9hG4bKa")));
        assert_eq!(via.host(), Host::parse(b"192.0.2.2").unwrap());
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received(), Some("10.0.0.1".parse().unwrap()));
        assert!(via.has_magic_cookie());
    }

    #[test]
    fn ipv6_is_read_with_brackets_in_sent_by_and_either_way_in_received() {
        for received in ["[2001:db8::9:255]", "2001:db8::9:255"] {
            let text =
                format!("SIP/2.0/UDP [2001:db8::9:1]:5061;received={received};rport=49152;branch=z9hG4bKas3-111");
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!(via.host().address(), Some("2001:db8::9:1".parse().unwrap()));
            assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
            assert_eq!((via.port(), via.rport()), (Some(5061), Some(Some(49152))));
        }
    }

    #[test]
    fn malformed_vias_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP//UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP ::1",
        ] {
            assert!(Via::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
