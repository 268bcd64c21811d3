//! Which addresses and host names an outgoing request may go to (security class 17).
//!
//! Pure: no look-up happens here. The sources are the IANA special-purpose address registries
//! (RFC 6890 and its updates) and the clouds' documentation of their metadata services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address or name may be trusted as the target of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Never a target, whatever is switched on: metadata services, link-local, multicast, unspecified,
    /// reserved space, and IPv6 forms that hide an IPv4 address.
    Never(&'static str),
    /// Inside the operator's own house: only with `danger_allow_private_addresses`.
    Private(&'static str),
    /// On the public internet.
    Public,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never(why) | Self::Private(why) => f.write_str(why),
            Self::Public => f.write_str("public"),
        }
    }
}

/// Classifies an address.
#[must_use]
pub fn reach_of_address(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_of_v4(v4),
        IpAddr::V6(v6) => reach_of_v6(v6),
    }
}

fn reach_of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, ..) => Reach::Never("\"this network\" 0.0.0.0/8, which reaches the own machine"),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Reach::Private("a private address (RFC 1918)"),
        (100, 100, 100, 200) => Reach::Never("a cloud metadata service"),
        (100, 64..=127, ..) => Reach::Private("a carrier-grade NAT address (RFC 6598)"),
        (127, ..) => Reach::Private("a loopback address"),
        (168, 63, 129, 16) => Reach::Never("a cloud metadata service"),
        (169, 254, ..) => Reach::Never("a link-local address, where cloud metadata services live"),
        (192, 0, 0, _) => Reach::Never("a protocol assignment of 192.0.0.0/24"),
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => Reach::Never("a documentation address (RFC 5737)"),
        (192, 88, 99, _) => Reach::Never("a 6to4 relay address (RFC 7526)"),
        (198, 18..=19, ..) => Reach::Never("a benchmark address (RFC 2544)"),
        (224..=239, ..) => Reach::Never("a multicast address"),
        (240..=255, ..) => Reach::Never("a reserved address of 240.0.0.0/4"),
        _ => Reach::Public,
    }
}

fn reach_of_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never("the unspecified address, which reaches the own machine"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private("a loopback address"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Reach::Never("an IPv4-mapped address: write the IPv4 address"),
        [0, 0, 0, 0, 0, 0, ..] => Reach::Never("an IPv4-compatible address (RFC 4291 section 2.5.5.1)"),
        [0x64, 0xff9b, ..] => Reach::Never("a NAT64 address (RFC 6052, RFC 8215)"),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Reach::Never("a cloud metadata service"),
        [0xfc00..=0xfdff, ..] => Reach::Private("a unique local address (RFC 4193)"),
        [0xfe80..=0xfebf, ..] => Reach::Never("a link-local address"),
        [0xfec0..=0xfeff, ..] => Reach::Never("a site-local address (RFC 3879)"),
        [0xff00..=0xffff, ..] => Reach::Never("a multicast address"),
        [0x2001, 0, ..] => Reach::Never("a Teredo address (RFC 4380)"),
        [0x2001, 0x0db8, ..] => Reach::Never("a documentation address (RFC 3849)"),
        // The remainder of 2001::/23 is set apart for protocols (RFC 2928).
        [0x2001, 0x0001..=0x01ff, ..] => Reach::Never("a protocol assignment of 2001::/23"),
        [0x2002, ..] => Reach::Never("a 6to4 address (RFC 3056)"),
        [0x3fff, 0..=0x0fff, ..] => Reach::Never("a documentation address (RFC 9637)"),
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never("outside the global unicast space 2000::/3"),
    }
}

/// Names of metadata services, each with the cloud that uses it.
const METADATA_NAMES: [&str; 12] = [
    "instance-data",                // Amazon EC2
    "instance-data.ec2.internal",   // Amazon EC2
    "metadata",                     // Google Compute Engine, short form
    "metadata.azure.com",           // Azure, used by guest agents
    "metadata.azure.internal",      // Azure
    "metadata.goog",                // Google
    "metadata.google.internal",     // Google Compute Engine
    "metadata.oraclecloud.com",     // Oracle
    "metadata.packet.net",          // Equinix Metal
    "metadata.platformequinix.com", // Equinix Metal
    "metadata.tencentyun.com",      // Tencent
    "rancher-metadata",             // Rancher
];

/// Suffixes that name something inside a house: RFC 6761, 6762, 8375, 9476 and common practice.
const PRIVATE_SUFFIXES: [&str; 11] = [
    ".cluster.local",
    ".corp",
    ".home",
    ".home.arpa",
    ".internal",
    ".intranet",
    ".lan",
    ".local",
    ".localdomain",
    ".localhost",
    ".private",
];

/// Classifies a host name by its spelling alone; its addresses are checked after the look-up.
/// `name` is lower case and carries no final dot.
#[must_use]
pub fn reach_of_name(name: &str) -> Reach {
    if METADATA_NAMES.contains(&name) {
        return Reach::Never("a cloud metadata service");
    }
    if name == "localhost" || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return Reach::Private("a name for the own machine or network");
    }
    if !name.contains('.') {
        return Reach::Private("a name without a dot, which the local search list completes");
    }
    Reach::Public
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_purpose_block_is_refused_at_both_ends() {
        let never = [
            "0.0.0.0",
            "0.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "192.0.0.0",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a9fe:a9fe",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "3fff:fff:ffff::1",
            "5f00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for text in never {
            let address: IpAddr = text.parse().unwrap();
            assert!(matches!(reach_of_address(address), Reach::Never(_)), "{text}: {:?}", reach_of_address(address));
        }
        let private = [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
        ];
        for text in private {
            let address: IpAddr = text.parse().unwrap();
            assert!(matches!(reach_of_address(address), Reach::Private(_)), "{text}: {:?}", reach_of_address(address));
        }
    }

    #[test]
    fn neighbours_of_the_special_blocks_are_public() {
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2003::1",
            "2606:4700::1111",
            "3fff:1000::1",
        ];
        for text in public {
            assert_eq!(reach_of_address(text.parse().unwrap()), Reach::Public, "{text}");
        }
    }

    #[test]
    fn names_of_metadata_services_and_of_the_own_house_are_told_apart_from_public_ones() {
        for name in ["metadata.google.internal", "metadata", "instance-data"] {
            assert!(matches!(reach_of_name(name), Reach::Never(_)), "{name}");
        }
        for name in ["localhost", "a.localhost", "printer.local", "db", "api.internal", "nas.home.arpa", "x.lan"] {
            assert!(matches!(reach_of_name(name), Reach::Private(_)), "{name}");
        }
        for name in ["example.com", "localhost.example.com", "local.example", "metadata.example"] {
            assert_eq!(reach_of_name(name), Reach::Public, "{name}");
        }
    }
}
