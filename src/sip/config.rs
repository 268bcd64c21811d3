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

/// One way to a host: what RFC 3263 makes of its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// Transport.
    pub transport: Transport,
    /// Address and port.
    pub remote: SocketAddr,
}

impl Target {
    /// A target over UDP.
    #[must_use]
    pub fn udp(remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, remote }
    }
}

/// Who is to refresh a session (RFC 4028 §7.1), as we would like it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refresher {
    /// Whoever the peer names; ourselves when it leaves the choice to us.
    #[default]
    Either,
    /// We refresh.
    Ours,
    /// The peer refreshes.
    Theirs,
}

/// Session timers towards one peer (RFC 4028).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionTimer {
    /// The interval we ask for. A peer that asks for another one, no shorter than `min_se`, gets its own.
    pub expires: Duration,
    /// The shortest interval we take: 422 below it. RFC 4028 §4 wants 90 s at least.
    pub min_se: Duration,
    /// Who refreshes.
    pub refresher: Refresher,
}

impl Default for SessionTimer {
    /// 30 minutes as RFC 4028 §4 recommends, and its least `Min-SE` of 90 s.
    fn default() -> Self {
        Self { expires: Duration::from_secs(1_800), min_se: Duration::from_secs(90), refresher: Refresher::default() }
    }
}

/// Reliable provisional responses (RFC 3262).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReliableProvisional {
    /// Neither offered nor taken: `Require: 100rel` gets 420.
    Off,
    /// Offered in `Supported`, done when the peer requires it.
    #[default]
    Supported,
    /// Required of the peer; a call without it is refused with 421.
    Required,
}

/// What calls with one peer may do, apart from their media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DialogPolicy {
    /// Whether a REFER reaches the application. Otherwise it gets 603: a caller must not make us dial.
    pub accept_refer: bool,
    /// Whether an INVITE with Replaces (RFC 3891) may take over a call. Otherwise it gets 603.
    pub accept_replaces: bool,
    /// `None`: we neither ask for session timers nor refresh; a peer may still refresh by itself.
    pub session_timer: Option<SessionTimer>,
    /// Reliable provisional responses.
    pub reliable_provisional: ReliableProvisional,
}

impl Default for DialogPolicy {
    /// Nobody makes us dial or takes over calls; session timers and 100rel as the RFCs recommend.
    fn default() -> Self {
        Self {
            accept_refer: false,
            accept_replaces: false,
            session_timer: Some(SessionTimer::default()),
            reliable_provisional: ReliableProvisional::default(),
        }
    }
}

/// How many calls one peer may have with us, in both directions together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallLimits {
    /// Calls at one time; `None` leaves only the endpoint's own limit.
    pub concurrent: Option<u32>,
    /// New calls a second, with a burst of as many; `None` does not limit.
    pub per_second: Option<u32>,
}

/// What a peer has to know before its INVITEs are served (RFC 3261 §22.2): user name and password, in our realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboundAuthentication {
    /// The realm of our challenges.
    pub realm: String,
    /// What the peer has to know.
    pub credentials: Credentials,
}

/// A trunk or PBX that may send us requests without our having contacted it first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownPeer {
    /// The name of the trunk; comes back in `Peer::Known`.
    pub name: String,
    /// Its source networks.
    pub networks: Vec<IpNet>,
    /// The transports it may use; empty means all.
    pub transports: Vec<Transport>,
    /// Challenge its INVITEs; `None` trusts the source address.
    pub authentication: Option<InboundAuthentication>,
    /// How many calls.
    pub limits: CallLimits,
    /// What its calls may do.
    pub dialog: DialogPolicy,
}

impl KnownPeer {
    /// A peer known by its source networks alone, with the default policy and no limits of its own.
    #[must_use]
    pub fn by_source(name: &str, networks: Vec<IpNet>) -> Self {
        Self {
            name: name.to_owned(),
            networks,
            transports: Vec::new(),
            authentication: None,
            limits: CallLimits::default(),
            dialog: DialogPolicy::default(),
        }
    }
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
    /// Where to send it, best first: what the target, its trunk or its outbound proxy resolves to. The next is tried
    /// when one does not answer, cannot be reached or says 503 (RFC 3263 §4.3).
    pub targets: Vec<Target>,
    /// The known peer that the call counts for; `None` finds it by address.
    pub peer: Option<String>,
    /// From.
    pub from: Party,
    /// User part of our Contact; `None` takes the endpoint's. Calls through a registration use that registration's.
    pub contact_user: Option<String>,
    /// Further header fields by name and value.
    pub headers: Vec<(String, String)>,
    /// Answers to challenges of the targets.
    pub account: Option<Account>,
    /// Our offer; never empty.
    pub sdp: Vec<u8>,
    /// Preloaded Route set (RFC 3261 §12.2), such as an outbound proxy; usually empty.
    pub route: Vec<Uri>,
    /// `call-id;to-tag=…;from-tag=…` of the dialog at the target that this call replaces (RFC 3891).
    pub replaces: Option<String>,
    /// What the call may do.
    pub dialog: DialogPolicy,
}

impl OutgoingInvite {
    /// A call over UDP without further headers, account or route.
    #[must_use]
    pub fn new(target: Uri, remote: SocketAddr, from: Party, sdp: Vec<u8>) -> Self {
        Self {
            target,
            targets: vec![Target::udp(remote)],
            peer: None,
            from,
            contact_user: None,
            headers: Vec::new(),
            account: None,
            sdp,
            route: Vec::new(),
            replaces: None,
            dialog: DialogPolicy::default(),
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

/// An OPTIONS request outside a dialog (RFC 3261 §11): asks whether a peer is there. Not retried, not failed over.
#[derive(Clone, Debug)]
pub struct OutgoingOptions {
    /// Request-URI and To.
    pub uri: Uri,
    /// Where to send it.
    pub target: Target,
    /// From.
    pub from: Party,
    /// Answers to challenges of the target.
    pub account: Option<Account>,
}

/// A registration to keep alive (RFC 3261 §10).
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// The registrar: `sip:host[:port]`. A user part is left out of the Request-URI.
    pub registrar: Uri,
    /// What its name resolves to, best first; the next is tried when one fails.
    pub targets: Vec<Target>,
    /// Preloaded Route (RFC 3261 §8.1.2): the outbound proxy, whose addresses `targets` then holds.
    pub outbound_proxy: Option<Uri>,
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
    /// What calls of this registration may do.
    pub dialog: DialogPolicy,
}
