//! `[server]`: where we speak SIP, and by which address peers reach us.

use super::peers::address::{PeerAddress, network};
use super::reader::{Located, Table};
use crate::net::{Listen, ServerTls, TlsIdentity};
use crate::sip::Transport;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest drain: after an hour a call is no longer waited for.
const DRAIN_MAX: Duration = Duration::from_secs(3_600);
/// Most listeners and advertised addresses: more is a mistake.
const ADDRESSES_MAX: usize = 16;

/// An address of ours, for the peers that reach us by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertised {
    /// The address.
    pub address: IpAddr,
    /// Where those peers are; empty means everywhere else.
    pub networks: Vec<IpNet>,
}

/// `[server]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Sockets for SIP. Default UDP and TCP on `0.0.0.0:5060`.
    pub sip_listen: Vec<Listen>,
    /// Addresses for Contact, Via and SDP, those for certain networks first. Where none fits: what STUN found for
    /// public peers, else the address of the route to the peer.
    pub advertised: Vec<Advertised>,
    /// A STUN server that is asked for our public address (RFC 8489).
    pub stun: Option<PeerAddress>,
    /// Name servers instead of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// The Unix socket for `offhook status`; `None` takes a place that is found by the configuration's path.
    pub control_socket: Option<PathBuf>,
    /// How long calls may go on after SIGTERM. Default 10 minutes.
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5060);
        Self {
            sip_listen: both(everywhere),
            advertised: Vec::new(),
            stun: None,
            dns_servers: Vec::new(),
            control_socket: None,
            drain: Duration::from_secs(600),
        }
    }
}

impl Server {
    pub(super) fn read(table: Table<'_, '_>, base: &Path) -> Option<Self> {
        let default = Self::default();
        let tls = table.table("tls", "[server.tls]").and_then(|tls| server_tls(tls, base));
        let server = Self {
            sip_listen: listeners(&table, tls).unwrap_or(default.sip_listen),
            advertised: advertised(&table),
            stun: table
                .read("stun", "a STUN server such as \"stun.example.com:3478\"", PeerAddress::parse)
                .map(|server| server.value),
            dns_servers: name_servers(&table),
            control_socket: table.text("control_socket").map(|path| base.join(path.value)),
            drain: table.duration("drain", Duration::ZERO..=DRAIN_MAX).unwrap_or(default.drain),
        };
        table.finish();
        Some(server)
    }
}

fn both(address: SocketAddr) -> Vec<Listen> {
    vec![Listen::udp(address), Listen { transport: Transport::Tcp, address, tls: None }]
}

fn server_tls(table: Table<'_, '_>, base: &Path) -> Option<ServerTls> {
    let certificate = table.required("certificate", "\"sip.example.com.pem\"");
    let key = table.required("key", "\"sip.example.com.key\"");
    let client_ca = table.text("client_ca");
    table.finish();
    Some(ServerTls {
        identity: TlsIdentity { certificate_file: base.join(certificate?.value), key_file: base.join(key?.value) },
        client_ca_file: client_ca.map(|file| base.join(file.value)),
    })
}

fn listeners(table: &Table<'_, '_>, tls: Option<ServerTls>) -> Option<Vec<Listen>> {
    const WANTED: &str = "an address and port such as \"0.0.0.0:5060\", or a list such as \
                          [\"udp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"]";
    let written = table.text_or_texts("sip_listen", WANTED);
    if !table.has("sip_listen") {
        if tls.is_some() {
            table.error(
                table.key_span("tls"),
                "[server.tls] has a certificate, but nothing listens for TLS",
                "add `sip_listen = [\"udp:0.0.0.0:5060\", \"tcp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"]` under [server]",
            );
        }
        return None;
    }
    let written = written?;
    if written.is_empty() || written.len() > ADDRESSES_MAX {
        let message = format!("`sip_listen` has {} addresses", written.len());
        table.error(table.key_span("sip_listen"), message, format!("write 1 to {ADDRESSES_MAX} addresses"));
        return None;
    }
    let mut all: Vec<Listen> = Vec::new();
    for text in written {
        let (transports, address): (&[Transport], &str) = match text.value.split_once(':') {
            Some(("udp", rest)) => (&[Transport::Udp], rest),
            Some(("tcp", rest)) => (&[Transport::Tcp], rest),
            Some(("tls", rest)) => (&[Transport::Tls], rest),
            _ => (&[Transport::Udp, Transport::Tcp], &text.value),
        };
        let Ok(address) = address.parse::<SocketAddr>() else {
            let message = format!("`sip_listen` is `{}`, which is not {WANTED}", text.value);
            table.error(
                text.span,
                message,
                "write \"0.0.0.0:5060\", with udp:, tcp: or tls: before it for one of them",
            );
            continue;
        };
        for transport in transports {
            if all
                .iter()
                .any(|listen| listen.transport == *transport && listen.address == address && address.port() != 0)
            {
                let message = format!("`{}` is listened on already", text.value);
                table.error(text.span.clone(), message, "remove one of the two");
            }
            if *transport == Transport::Tls && tls.is_none() && !table.has("tls") {
                let fix = "add [server.tls] with `certificate = \"…\"` and `key = \"…\"`, both PEM files";
                table.error(text.span.clone(), "a TLS listener needs a certificate", fix);
            }
            let tls = tls.clone().filter(|_| *transport == Transport::Tls);
            all.push(Listen { transport: *transport, address, tls });
        }
    }
    if tls.is_some() && all.iter().all(|listen| listen.transport != Transport::Tls) {
        table.error(
            table.key_span("tls"),
            "[server.tls] has a certificate, but nothing listens for TLS",
            "add \"tls:0.0.0.0:5061\" to `sip_listen`",
        );
    }
    (!all.is_empty()).then_some(all)
}

fn reachable(table: &Table<'_, '_>, address: &Located<IpAddr>) -> bool {
    if address.value.is_unspecified() || address.value.is_multicast() {
        let message = format!("nobody can send to `{}`", address.value);
        table.error(address.span.clone(), message, "write the address that peers reach, or leave it out");
        return false;
    }
    true
}

fn advertised(table: &Table<'_, '_>) -> Vec<Advertised> {
    const WANTED: &str = "an address such as \"203.0.113.7\"";
    let mut all = Vec::new();
    for entry in table.tables("advertised_addresses", "advertised_addresses = [{ address = …, for = […] }]") {
        if !entry.has("address") {
            entry.missing("address", "\"10.8.0.1\"");
        }
        let address = entry.parsed::<IpAddr>("address", WANTED).filter(|address| reachable(&entry, address));
        if !entry.has("for") {
            entry.missing("for", "[\"10.8.0.0/16\"]");
        }
        let written = entry.texts("for").unwrap_or_default();
        let networks: Vec<IpNet> = written.into_iter().filter_map(|written| network(&entry, written, true)).collect();
        entry.finish();
        if let Some(address) = address {
            all.push(Advertised { address: address.value, networks });
        }
    }
    if all.len() > ADDRESSES_MAX {
        let message = format!("`advertised_addresses` has {} entries", all.len());
        table.error(table.key_span("advertised_addresses"), message, format!("write at most {ADDRESSES_MAX}"));
    }
    // The longest prefix says most about where a peer is.
    all.sort_by_key(|entry: &Advertised| {
        std::cmp::Reverse(entry.networks.iter().map(IpNet::prefix_len).max().unwrap_or_default())
    });
    let everywhere = table.parsed::<IpAddr>("advertised_address", WANTED).filter(|address| reachable(table, address));
    all.extend(everywhere.map(|address| Advertised { address: address.value, networks: Vec::new() }));
    all
}

fn name_servers(table: &Table<'_, '_>) -> Vec<SocketAddr> {
    let written = table.texts("dns_servers").unwrap_or_default();
    written
        .into_iter()
        .filter_map(|text| {
            let address = text.value.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
            let address = address.or_else(|_| text.value.parse());
            if address.is_err() {
                let message = format!("`{}` is not the address of a name server", text.value);
                table.error(text.span, message, "write an address such as \"192.0.2.53\" or \"192.0.2.53:5353\"");
            }
            address.ok()
        })
        .collect()
}
