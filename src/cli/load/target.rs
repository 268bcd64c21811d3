//! Whom the load is for, and whether that may be.

use crate::sip::{Uri, uri::Scheme};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// SIP's port (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// A far side that was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its URI as given.
    pub uri: Uri,
    /// Where its SIP goes.
    pub address: SocketAddr,
}

/// Whose network an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nearness {
    /// This machine.
    Here,
    /// A private network (RFC 1918, RFC 4193, RFC 6598, link-local).
    Private,
    /// Everybody's: somebody else may pay for the load.
    Public,
}

impl Target {
    /// Reads the URI and finds its address: as written, or the first that the system's resolver has for its name.
    /// `text` may leave out `sip:`.
    ///
    /// # Errors
    /// In words, with the fix.
    pub fn find(text: &str) -> Result<Self, String> {
        let uri = read(text)?;
        let view = uri.view();
        let (host, port) = (view.host().ok_or("the URI names no host")?, view.port().unwrap_or(SIP_PORT));
        let address = match host.address() {
            Some(ip) => SocketAddr::new(ip, port),
            None => (host.to_string().as_str(), port)
                .to_socket_addrs()
                .map_err(|error| format!("{host} has no address: {error}"))?
                .next()
                .ok_or_else(|| format!("{host} has no address"))?,
        };
        Ok(Self { uri, address })
    }

    /// Whose network it is in.
    #[must_use]
    pub fn nearness(&self) -> Nearness {
        nearness(self.address.ip())
    }
}

fn read(text: &str) -> Result<Uri, String> {
    let with_scheme = if text.contains(':') && text.split(':').next().is_some_and(|s| !s.contains(['@', '.'])) {
        text.to_owned()
    } else {
        format!("sip:{text}")
    };
    let uri = Uri::parse(with_scheme).map_err(|fault| format!("{text} is no SIP address: {fault}"))?;
    let view = uri.view();
    match view.scheme() {
        Scheme::Sip => {}
        Scheme::Sips => return Err("load speaks SIP by UDP only: write sip: instead of sips:".to_owned()),
        _ => return Err(format!("{text} is no SIP address: write sip:USER@HOST or sip:USER@HOST:PORT")),
    }
    match view.parameter("transport") {
        Some(transport) if !transport.eq_ignore_ascii_case("udp") => {
            Err(format!("load speaks SIP by UDP only: leave out ;transport={transport}"))
        }
        _ => Ok(uri),
    }
}

/// Whose network the address is in.
#[must_use]
pub fn nearness(ip: IpAddr) -> Nearness {
    match ip.to_canonical() {
        ip if ip.is_loopback() || ip.is_unspecified() => Nearness::Here,
        IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() || is_shared(v4) => Nearness::Private,
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Nearness::Private,
        _ => Nearness::Public,
    }
}

/// 100.64.0.0/10, behind a carrier's NAT (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b & 0xc0 == 64
}

/// Our address on the way to `target`.
///
/// # Errors
/// The system's: there is no way there.
pub fn local_ip(target: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_with_and_without_scheme_and_port() {
        for (text, address) in [
            ("sip:echo@127.0.0.1:5070", "127.0.0.1:5070"),
            ("echo@127.0.0.1", "127.0.0.1:5060"),
            ("sip:600@[::1]", "[::1]:5060"),
            ("127.0.0.2:5080", "127.0.0.2:5080"),
            ("sip:a@127.0.0.1;transport=UDP", "127.0.0.1:5060"),
        ] {
            let target = Target::find(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.address.to_string(), address, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_the_fix() {
        for (text, part) in [
            ("sips:a@127.0.0.1", "write sip:"),
            ("sip:a@127.0.0.1;transport=tcp", "leave out ;transport=tcp"),
            ("tel:+15550134", "sip:USER@HOST"),
            ("sip:a b@c", "no SIP address"),
        ] {
            let error = Target::find(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn networks_of_others_are_told_from_our_own() {
        for (ip, expected) in [
            ("127.9.9.9", Nearness::Here),
            ("::1", Nearness::Here),
            ("::ffff:127.0.0.1", Nearness::Here),
            ("10.1.2.3", Nearness::Private),
            ("172.31.0.1", Nearness::Private),
            ("172.32.0.1", Nearness::Public),
            ("100.64.0.1", Nearness::Private),
            ("100.128.0.1", Nearness::Public),
            ("fd00::1", Nearness::Private),
            ("fe80::1", Nearness::Private),
            ("192.0.2.1", Nearness::Public),
            ("2001:db8::1", Nearness::Public),
        ] {
            assert_eq!(nearness(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
