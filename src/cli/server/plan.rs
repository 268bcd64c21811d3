//! What a server is started with.

use crate::call::{Gateway, PeerTerms, Sounds};
use crate::config::Advertised;
use crate::media::MediaConfig;
use crate::net::{Destination, Listen};
use crate::sip::{KnownPeer, RegistrationConfig};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A peer that calls from known addresses, or takes our calls.
#[derive(Clone, Debug)]
pub struct TrunkPlan {
    /// Who it is; names of hosts are looked up and their addresses added.
    pub known: KnownPeer,
    /// Hosts, by name, that its requests come from as well.
    pub host_names: Vec<String>,
    /// How calls go out through it.
    pub gateway: Option<Gateway>,
    /// How to register with it.
    pub registration: Option<RegistrationPlan>,
    /// How often the first gateway is asked by OPTIONS.
    pub qualify: Option<Duration>,
    /// The agent's name.
    pub agent: String,
    /// The peer's ways.
    pub terms: PeerTerms,
}

impl TrunkPlan {
    /// A peer that is known by its source networks and only calls us.
    #[must_use]
    pub fn by_source(name: &str, networks: Vec<IpNet>, agent: &str, terms: PeerTerms) -> Self {
        Self {
            known: KnownPeer { dialog: terms.dialog, ..KnownPeer::by_source(name, networks) },
            host_names: Vec::new(),
            gateway: None,
            registration: None,
            qualify: None,
            agent: agent.to_owned(),
            terms,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.known.name
    }
}

/// An extension to register.
#[derive(Clone, Debug)]
pub struct ExtensionPlan {
    /// Its name.
    pub name: String,
    /// The registration.
    pub registration: RegistrationPlan,
    /// How calls go out through it.
    pub gateway: Gateway,
    /// The agent's name.
    pub agent: String,
    /// The peer's ways.
    pub terms: PeerTerms,
}

/// A registration before its registrar has been looked up.
#[derive(Clone, Debug)]
pub struct RegistrationPlan {
    /// What to register; `targets` are filled when the destination is found.
    pub config: RegistrationConfig,
    /// Where REGISTER goes: the registrar, or the outbound proxy.
    pub destination: Destination,
    /// How often the way is kept open, if there is a NAT on it.
    pub keep_alive: Option<Duration>,
}

/// Everything a server needs besides its agents.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// SIP sockets, at least one.
    pub listen: Vec<Listen>,
    /// The addresses peers reach us at, when they are not those of our sockets.
    pub advertised: Vec<Advertised>,
    /// Who is asked for our public address.
    pub stun: Option<Destination>,
    /// Name servers instead of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Media workers.
    pub media: MediaConfig,
    /// What callers hear while nobody talks to them.
    pub sounds: Sounds,
    /// Where calls are recorded, if they are.
    pub recordings: Option<PathBuf>,
    /// User-Agent and Server.
    pub user_agent: Option<String>,
    /// Who may call, and who takes our calls.
    pub trunks: Vec<TrunkPlan>,
    /// What to register.
    pub extensions: Vec<ExtensionPlan>,
}

impl ServerPlan {
    /// A server that knows nobody yet.
    #[must_use]
    pub fn new(listen: Vec<Listen>, media: MediaConfig) -> Self {
        Self {
            listen,
            advertised: Vec::new(),
            stun: None,
            dns_servers: Vec::new(),
            media,
            sounds: Sounds::default(),
            recordings: None,
            user_agent: Some("Offhook".to_owned()),
            trunks: Vec::new(),
            extensions: Vec::new(),
        }
    }
}
