//! Where a request within a dialog goes: RFC 3261 §12.2.1.1 and §16.12, and what NAT makes of it.

use crate::sip::Uri;
use std::net::{IpAddr, SocketAddr};

/// The port of SIP without TLS when a URI names none.
const DEFAULT_PORT: u16 = 5060;

/// Request-URI and Route headers of a request. A first hop without `lr` is a strict router: it becomes the
/// Request-URI and the remote target goes to the end of the routes.
#[must_use]
pub fn request_uri_and_routes(route_set: &[Uri], remote_target: &Uri) -> (Uri, Vec<Uri>) {
    match route_set.split_first() {
        Some((strict, rest)) if !strict.view().is_loose_router() => {
            let routes = rest.iter().chain([remote_target]).cloned().collect();
            (strict.to_request_uri(), routes)
        }
        _ => (remote_target.to_request_uri(), route_set.to_vec()),
    }
}

/// The address of the next hop: that of the first route, or else of the remote target.
///
/// Falls back on `heard_from`, the address the peer really uses, when the URI names a host instead of an address
/// (names of a Contact are not resolved, so that a peer cannot make us query for it), when it names no host that can be
/// meant (`0.0.0.0`), and when a public peer gives a private address, which is a NAT's work.
#[must_use]
pub fn next_hop(route_set: &[Uri], remote_target: &Uri, heard_from: SocketAddr) -> SocketAddr {
    let hop = route_set.first().unwrap_or(remote_target).view();
    let Some(address) = hop.host().and_then(|h| h.address()).map(|a| a.to_canonical()) else { return heard_from };
    let meant = !address.is_unspecified() && !address.is_multicast() && address.is_ipv4() == heard_from.is_ipv4();
    if !meant || (is_private(address) && !is_private(heard_from.ip())) {
        return heard_from;
    }
    SocketAddr::new(address, hop.port().unwrap_or(DEFAULT_PORT))
}

/// Whether an address is of no use outside its own network.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            a.is_private() || a.is_loopback() || a.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(a) => a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap()
    }

    fn texts(uris: &[Uri]) -> Vec<&str> {
        uris.iter().map(Uri::as_str).collect()
    }

    #[test]
    fn a_loose_route_keeps_the_remote_target_as_request_uri() {
        let set = [uri("sip:p1;lr"), uri("sip:p2;lr")];
        let (request_uri, routes) = request_uri_and_routes(&set, &uri("sip:bob@b"));
        assert_eq!((request_uri.as_str(), texts(&routes)), ("sip:bob@b", vec!["sip:p1;lr", "sip:p2;lr"]));
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri_and_the_target_the_last_route() {
        let set = [uri("sip:p1"), uri("sip:p2;lr")];
        let (request_uri, routes) = request_uri_and_routes(&set, &uri("sip:bob@b"));
        assert_eq!((request_uri.as_str(), texts(&routes)), ("sip:p1", vec!["sip:p2;lr", "sip:bob@b"]));
    }

    #[test]
    fn the_next_hop_is_the_first_route_then_the_target_then_where_the_peer_was_heard() {
        let heard: SocketAddr = "198.51.100.7:5080".parse().unwrap();
        let hop = |routes: &[&str], target: &str| {
            let routes: Vec<Uri> = routes.iter().map(|r| uri(r)).collect();
            next_hop(&routes, &uri(target), heard).to_string()
        };
        assert_eq!(hop(&["sip:203.0.113.1;lr"], "sip:b@203.0.113.2:5070"), "203.0.113.1:5060");
        assert_eq!(hop(&[], "sip:b@203.0.113.2:5070"), "203.0.113.2:5070");
        for fallback in ["sip:b@pbx.example", "sip:b@192.168.1.5", "sip:b@0.0.0.0", "sip:b@[2001:db8::1]", "tel:+1"] {
            assert_eq!(hop(&[], fallback), "198.51.100.7:5080", "{fallback}");
        }
        let lan: SocketAddr = "10.0.0.1:5060".parse().unwrap();
        assert_eq!(next_hop(&[], &uri("sip:b@192.168.1.5:5066"), lan).to_string(), "192.168.1.5:5066");
    }
}
