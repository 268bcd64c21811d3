//! Which address of ours each peer is told: as configured, as STUN found it, or as the route to the peer says.

use crate::config::Advertised;
use crate::net::Listen;
use crate::sip::{LocalAddress, Transport};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address of the public internet that the default route leads to (documentation range: nothing is sent there).
const PUBLIC_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const PUBLIC_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The names of our sockets. `homes` are the networks of peers, `route` says from which address packets to a peer
/// leave.
pub(super) fn local_addresses(
    bound: &[Listen],
    advertised: &[Advertised],
    mapped: Option<SocketAddr>,
    homes: &[IpNet],
    route: &dyn Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<LocalAddress> {
    let mut all = Vec::new();
    for listen in bound {
        let socket = listen.address;
        let mut name = |ip: IpAddr, port: u16, for_peers: Vec<IpNet>| {
            all.push(LocalAddress {
                transport: listen.transport,
                socket,
                advertised: SocketAddr::new(ip, port),
                for_peers,
            });
        };
        for entry in advertised {
            name(entry.address, socket.port(), entry.networks.clone());
        }
        if advertised.iter().any(|entry| entry.networks.is_empty()) {
            continue;
        }
        if !socket.ip().is_unspecified() && mapped.is_none() {
            name(socket.ip(), socket.port(), Vec::new());
            continue;
        }
        // Peers that are reached from the same address share an entry.
        let mut routed: Vec<(IpAddr, Vec<IpNet>)> = Vec::new();
        for home in homes.iter().filter(|home| mapped.is_none() || !is_public(home.addr())) {
            let from = if socket.ip().is_unspecified() { route(home.addr()) } else { Some(socket.ip()) };
            let Some(from) = from else { continue };
            match routed.iter_mut().find(|(ip, _)| *ip == from) {
                Some((_, homes)) => homes.push(*home),
                None => routed.push((from, vec![*home])),
            }
        }
        for (ip, homes) in routed {
            name(ip, socket.port(), homes);
        }
        match mapped {
            // STUN looked through the UDP socket: other sockets have the address in common, not the port.
            Some(mapped) if listen.transport == Transport::Udp => name(mapped.ip(), mapped.port(), Vec::new()),
            Some(mapped) => name(mapped.ip(), socket.port(), Vec::new()),
            None => {
                let public = if socket.is_ipv4() { PUBLIC_V4 } else { PUBLIC_V6 };
                let own = route(public).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                name(own, socket.port(), Vec::new());
            }
        }
    }
    all
}

/// The address of ours that `peer` is told in SDP.
pub(super) fn address_towards(local: &[LocalAddress], peer: IpAddr) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    let same_family = |address: &&LocalAddress| address.advertised.is_ipv4() == peer.is_ipv4();
    local
        .iter()
        .find(|address| address.for_peers.iter().any(|network| network.contains(&peer)))
        .or_else(|| local.iter().filter(same_family).find(|address| address.for_peers.is_empty()))
        .or_else(|| local.iter().find(same_family))
        .map(|address| address.advertised.ip())
}

/// Whether packets to this address leave the house. Private (RFC 1918), carrier-grade NAT (RFC 6598), link-local,
/// loopback and unique local addresses (RFC 4193) do not.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// The source address that packets to `peer` leave from. Sends nothing.
#[must_use]
pub fn outgoing_ip(peer: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    probe.connect(SocketAddr::new(peer, 5060)).ok()?;
    probe.local_addr().ok().map(|a| a.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// A machine at 192.168.1.5 with an overlay address 10.8.0.2.
    fn route(peer: IpAddr) -> Option<IpAddr> {
        Some(if peer.is_loopback() {
            ip("127.0.0.1")
        } else if network("10.8.0.0/16").contains(&peer) {
            ip("10.8.0.2")
        } else {
            ip("192.168.1.5")
        })
    }

    fn towards(local: &[LocalAddress], peer: &str) -> IpAddr {
        address_towards(local, ip(peer)).unwrap()
    }

    #[test]
    fn an_unspecified_socket_is_named_by_the_address_that_routes_to_each_peer() {
        let listen = [Listen::udp(([0, 0, 0, 0], 5060).into())];
        let homes = [network("127.0.0.10/32"), network("10.8.0.9/32"), network("10.8.0.10/32")];
        let local = local_addresses(&listen, &[], None, &homes, &route);
        assert_eq!(local.len(), 3, "peers behind the same address share an entry");
        assert_eq!(towards(&local, "127.0.0.10"), ip("127.0.0.1"));
        assert_eq!(towards(&local, "10.8.0.10"), ip("10.8.0.2"));
        assert_eq!(towards(&local, "198.51.100.7"), ip("192.168.1.5"), "the default route for everybody else");
        assert!(local.iter().all(|address| address.advertised.port() == 5060));
    }

    #[test]
    fn several_advertised_addresses_are_chosen_by_where_the_peer_is() {
        let listen = [Listen::udp(([0, 0, 0, 0], 5060).into())];
        let advertised = [
            Advertised { address: ip("10.8.0.2"), networks: vec![network("10.8.0.0/16")] },
            Advertised { address: ip("192.168.1.5"), networks: vec![network("192.168.0.0/16")] },
            Advertised { address: ip("203.0.113.9"), networks: Vec::new() },
        ];
        let local = local_addresses(&listen, &advertised, None, &[network("10.8.0.9/32")], &route);
        assert_eq!(towards(&local, "10.8.0.9"), ip("10.8.0.2"));
        assert_eq!(towards(&local, "192.168.7.7"), ip("192.168.1.5"));
        assert_eq!(towards(&local, "198.51.100.7"), ip("203.0.113.9"));
    }

    #[test]
    fn what_stun_found_is_told_to_public_peers_only_and_its_port_is_that_of_udp() {
        let tcp = Listen { transport: Transport::Tcp, address: ([0, 0, 0, 0], 5060).into(), tls: None };
        let listen = [Listen::udp(([0, 0, 0, 0], 5060).into()), tcp];
        let homes = [network("192.168.1.20/32"), network("198.51.100.7/32")];
        let local = local_addresses(&listen, &[], Some("203.0.113.9:61000".parse().unwrap()), &homes, &route);
        assert_eq!(towards(&local, "192.168.1.20"), ip("192.168.1.5"));
        assert_eq!(towards(&local, "198.51.100.7"), ip("203.0.113.9"));
        let port = |transport| {
            let entry = local.iter().find(|l| l.transport == transport && l.for_peers.is_empty());
            entry.unwrap().advertised.port()
        };
        assert_eq!((port(Transport::Udp), port(Transport::Tcp)), (61_000, 5060));
    }

    #[test]
    fn a_bound_address_is_its_own_name() {
        let listen = [Listen::udp(([192, 0, 2, 1], 5070).into())];
        let local = local_addresses(&listen, &[], None, &[network("127.0.0.1/32")], &route);
        assert_eq!(local.len(), 1);
        assert_eq!(local[0].advertised, SocketAddr::from(([192, 0, 2, 1], 5070)));
    }

    #[test]
    fn private_shared_and_local_addresses_are_not_public() {
        for text in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_public(ip(text)), "{text}");
        }
        for text in ["203.0.113.9", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(is_public(ip(text)), "{text}");
        }
    }
}
