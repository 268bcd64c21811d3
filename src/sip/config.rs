//! What an endpoint, a call and a registration are told at their start.

use super::digest::Credentials;
use super::event::Party;
use crate::sip::Uri;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

/// How datagrams or streams reach a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Transport {
    /// Datagrams: lossy, so transactions retransmit.
    #[default]
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// True when the transport itself repeats lost bytes.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The name in a Via header.
    #[must_use]
    pub fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// One of our sockets and the name we give it in Via and Contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAddress {
    /// Transport of the socket.
    pub transport: Transport,
    /// The socket, as it appears in `Received::local` and `Transmit::local`.
    pub socket: SocketAddr,
    /// The address peers reach it at: never unspecified, and a public one behind static NAT.
    pub advertised: SocketAddr,
    /// The peers this entry is for; empty means all. The first entry that fits is used.
    pub for_peers: Vec<IpNet>,
}

/// A trunk or PBX that may send us requests without our having contacted it first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownPeer {
    /// The name of the trunk; comes back in `Peer::Known`.
    pub name: String,
    /// Its source networks.
    pub networks: Vec<IpNet>,
    /// Whether a REFER from this peer reaches the application. Otherwise it gets 603: a caller must not make us dial.
    pub accept_refer: bool,
}

/// Settings of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Our sockets; at least one.
    pub local: Vec<LocalAddress>,
    /// User part of our Contact outside registrations.
    pub contact_user: String,
    /// User-Agent and Server; without a version, which only helps attackers. `None` sends neither.
    pub user_agent: Option<String>,
    /// Who may call us besides registrars.
    pub known_peers: Vec<KnownPeer>,
    /// A call that is neither answered nor refused after this time ends by itself.
    pub ring_timeout: Duration,
    /// Calls at one time; further INVITEs get 503 with `Retry-After`.
    pub max_legs: usize,
    /// What `Retry-After` says in a 503 of ours.
    pub retry_after: Duration,
}

impl EndpointConfig {
    /// One UDP socket and no known peers: ring time 180 s, 2,000 legs.
    #[must_use]
    pub fn udp(socket: SocketAddr, advertised: SocketAddr) -> Self {
        Self {
            local: vec![LocalAddress { transport: Transport::Udp, socket, advertised, for_peers: Vec::new() }],
            contact_user: "offhook".to_owned(),
            user_agent: Some("Offhook".to_owned()),
            known_peers: Vec::new(),
            ring_timeout: Duration::from_secs(180),
            max_legs: 2_000,
            retry_after: Duration::from_secs(10),
        }
    }
}

/// Who we are when a peer challenges a call or registration (RFC 7616).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// User name (the authentication id, which some PBXs keep apart from the extension) and password.
    pub credentials: Credentials,
    /// The only realm that is answered. `None` pins the realm of the first success.
    pub realm: Option<String>,
}

impl Account {
    /// An account whose realm is pinned with the first success.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self { credentials: Credentials::new(username, password), realm: None }
    }
}

/// A call to place.
#[derive(Clone, Debug)]
pub struct OutgoingInvite {
    /// Request-URI and To.
    pub target: Uri,
    /// Where to send it: the resolved address of the target, its trunk or its outbound proxy.
    pub remote: SocketAddr,
    /// Transport towards `remote`.
    pub transport: Transport,
    /// From.
    pub from: Party,
    /// User part of our Contact; `None` takes the endpoint's. Calls through a registration use that registration's.
    pub contact_user: Option<String>,
    /// Further header fields by name and value.
    pub headers: Vec<(String, String)>,
    /// Answers to challenges of `remote`.
    pub account: Option<Account>,
    /// The offer; `None` asks the peer for one, whose answer then has to be given before the ACK and is not supported:
    /// always give one.
    pub sdp: Vec<u8>,
    /// Preloaded Route set (RFC 3261 §12.2), such as an outbound proxy; usually empty.
    pub route: Vec<Uri>,
}

impl OutgoingInvite {
    /// A call over UDP without further headers, account or route.
    #[must_use]
    pub fn new(target: Uri, remote: SocketAddr, from: Party, sdp: Vec<u8>) -> Self {
        Self {
            target,
            remote,
            transport: Transport::Udp,
            from,
            contact_user: None,
            headers: Vec::new(),
            account: None,
            sdp,
            route: Vec::new(),
        }
    }
}

/// A transfer to ask the peer for (RFC 3515).
#[derive(Clone, Debug)]
pub struct Refer {
    /// Refer-To; peers differ in the form they take (`sip:`, `tel:`).
    pub target: Uri,
    /// Referred-By (RFC 3892).
    pub referred_by: Option<Uri>,
    /// `call-id;to-tag=…;from-tag=…` of the dialog to replace: an attended transfer (RFC 3891).
    pub replaces: Option<String>,
    /// Further header fields by name and value: context for the human, as the peer's profile names it.
    pub headers: Vec<(String, String)>,
    /// How long to wait for the final NOTIFY.
    pub timeout: Duration,
}

impl Refer {
    /// A blind transfer, decided within 60 s.
    #[must_use]
    pub fn blind(target: Uri) -> Self {
        Self { target, referred_by: None, replaces: None, headers: Vec::new(), timeout: Duration::from_secs(60) }
    }
}

/// A registration to keep alive (RFC 3261 §10).
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// The registrar: `sip:host[:port]`. A user part is left out of the Request-URI.
    pub registrar: Uri,
    /// Its resolved address.
    pub remote: SocketAddr,
    /// Transport towards it.
    pub transport: Transport,
    /// The address of record: `sip:extension@domain`.
    pub aor: Uri,
    /// Display name for From and To.
    pub display: Option<String>,
    /// Answers to the registrar's challenges.
    pub account: Account,
    /// User part of our Contact. Keep it the same over restarts of the process: bindings with this user and
    /// another address are taken for remains of a crash and removed. Attributes incoming calls, too.
    pub contact_user: String,
    /// The lifetime to ask for; the registrar decides.
    pub expires: Duration,
    /// Whether a REFER in calls of this registration reaches the application.
    pub accept_refer: bool,
}
