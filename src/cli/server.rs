//! Puts a server together out of a plan: network, media, engines, agents, routes, registrations.

use crate::base::{Pii, Random};
use crate::call::{EventStream, PeerTerms, Program, Route, Supervisor, SupervisorConfig};
use crate::media::{MediaConfig, MediaError, Workers};
use crate::net::{self, Listen, NetError, Sip};
use crate::sip::{
    Account, DialogPolicy, EndpointConfig, KnownPeer, LocalAddress, RegistrationConfig, RegistrationId, Target,
    Transport, Uri,
};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long the last BYEs and un-REGISTERs may take at the end.
const GOODBYE: Duration = Duration::from_secs(4);

/// Who may call and which agent answers.
#[derive(Clone, Debug)]
pub struct TrunkPlan {
    /// Its name.
    pub name: String,
    /// Source networks of its calls.
    pub networks: Vec<IpNet>,
    /// The agent's name.
    pub agent: String,
    /// The peer's ways.
    pub terms: PeerTerms,
}

/// An extension to register.
#[derive(Clone, Debug)]
pub struct ExtensionPlan {
    /// Its name.
    pub name: String,
    /// The registrar's host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The extension number.
    pub user: String,
    /// The authentication id, where it is another than the extension.
    pub auth_user: String,
    /// The password.
    pub password: Pii<String>,
    /// The lifetime to ask for.
    pub expires: Duration,
    /// The agent's name.
    pub agent: String,
    /// The peer's ways.
    pub terms: PeerTerms,
}

/// Everything a server needs besides its agents.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// SIP socket.
    pub listen: SocketAddr,
    /// The address peers reach us at, when it is not the one of our socket.
    pub advertised: Option<IpAddr>,
    /// Media workers.
    pub media: MediaConfig,
    /// User-Agent and Server.
    pub user_agent: Option<String>,
    /// Who may call.
    pub trunks: Vec<TrunkPlan>,
    /// What to register.
    pub extensions: Vec<ExtensionPlan>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// SIP socket.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Media workers.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A registrar's name does not resolve.
    #[error(
        "extension {extension}: the registrar {host} has no address ({reason}). Check `registrar` and this machine's DNS"
    )]
    Resolve {
        /// The extension.
        extension: String,
        /// The host.
        host: String,
        /// The resolver's word.
        reason: String,
    },
    /// A value cannot be part of a SIP URI.
    #[error("extension {extension}: {value} cannot be part of a SIP address")]
    Uri {
        /// The extension.
        extension: String,
        /// The text.
        value: String,
    },
    /// A route names an agent that does not exist.
    #[error("{peer} is answered by agent {agent}, which is not declared under [agents]")]
    UnknownAgent {
        /// The trunk or extension.
        peer: String,
        /// The name.
        agent: String,
    },
}

/// A running server.
pub struct Server {
    /// The network side.
    pub sip: Sip,
    /// The calls.
    pub supervisor: Arc<Supervisor>,
    /// What happens.
    pub events: EventStream,
    extensions: Vec<(ExtensionPlan, SocketAddr, Option<RegistrationId>)>,
    advertised: Option<IpAddr>,
}

impl Server {
    /// Starts everything and registers the extensions.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing is left running.
    pub async fn start(
        plan: ServerPlan,
        agents: &HashMap<String, Program>,
        events: EventStream,
    ) -> Result<Self, ServerError> {
        let route = |peer: &str, agent: &str, terms: &PeerTerms| {
            let program = agents
                .get(agent)
                .cloned()
                .ok_or_else(|| ServerError::UnknownAgent { peer: peer.to_owned(), agent: agent.to_owned() })?;
            Ok::<_, ServerError>(Route {
                peer: peer.to_owned(),
                agent: agent.to_owned(),
                program,
                terms: terms.clone(),
            })
        };
        let mut trunks = HashMap::new();
        for trunk in &plan.trunks {
            trunks.insert(trunk.name.clone(), route(&trunk.name, &trunk.agent, &trunk.terms)?);
        }
        let mut extensions = Vec::new();
        for extension in plan.extensions.clone() {
            let address = resolve(&extension).await?;
            extensions.push((extension, address, None));
        }
        let peers: Vec<IpNet> = plan
            .trunks
            .iter()
            .flat_map(|t| t.networks.iter().copied())
            .chain(extensions.iter().map(|(_, address, _)| IpNet::from(address.ip())))
            .collect();
        let workers = Arc::new(Workers::start(plan.media.clone(), Random::system())?);
        let (sip, inbox) = net::start(&[Listen::udp(plan.listen)], Random::system(), |bound| {
            let socket = bound.first().map_or(plan.listen, |l| l.address);
            EndpointConfig {
                local: local_addresses(socket, plan.advertised, &peers),
                user_agent: plan.user_agent.clone(),
                known_peers: plan.trunks.iter().map(known_peer).collect(),
                ..EndpointConfig::udp(socket, socket)
            }
        })?;
        let supervisor = Supervisor::new(
            sip.clone(),
            workers,
            events.clone(),
            SupervisorConfig { trunks, gateways: HashMap::new() },
        );
        tokio::spawn(Arc::clone(&supervisor).run(inbox));
        let mut server = Self { sip, supervisor, events, extensions, advertised: plan.advertised };
        for index in 0..server.extensions.len() {
            let Some((extension, address, _)) = server.extensions.get(index) else { continue };
            let config = registration(extension, *address)?;
            let route = route(&extension.name, &extension.agent, &extension.terms)?;
            let id =
                server.sip.run(move |endpoint, now| endpoint.register(now, config)).await?.map_err(NetError::from)?;
            server.supervisor.route_registration(id, route);
            if let Some((_, _, slot)) = server.extensions.get_mut(index) {
                *slot = Some(id);
            }
        }
        Ok(server)
    }

    /// The address our SDP names towards `peer`.
    #[must_use]
    pub fn media_ip_towards(&self, peer: SocketAddr) -> IpAddr {
        let local = self.sip.local_addr().ip();
        self.advertised
            .unwrap_or_else(|| if local.is_unspecified() { outgoing_ip(peer).unwrap_or(local) } else { local })
    }

    /// The extension with this name (or the only one) and its registrar's address, for calls through it.
    #[must_use]
    pub fn extension(&self, name: Option<&str>) -> Option<(&ExtensionPlan, SocketAddr)> {
        self.extensions.iter().find(|(e, ..)| name.is_none_or(|n| n == e.name)).map(|(e, address, _)| (e, *address))
    }

    /// Takes no more calls; living calls go on.
    pub fn drain(&self) {
        self.sip.post(|endpoint, _| endpoint.set_draining(true));
    }

    /// Takes every registration back and ends.
    pub async fn stop(self) {
        let ids: Vec<RegistrationId> = self.extensions.iter().filter_map(|(.., id)| *id).collect();
        let unregistered = self.supervisor.change();
        let any = !ids.is_empty();
        self.sip.post(move |endpoint, now| {
            for id in ids {
                // Already gone is what we want.
                let _ = endpoint.unregister(now, id);
            }
        });
        if any {
            // A registrar that is down will forget us by itself.
            let _ = tokio::time::timeout(GOODBYE, unregistered).await;
        }
    }
}

/// The user part of an extension's Contact: the same after every restart, so that a binding left by a crash is known
/// as ours, and unlike that of other phones of the same extension.
fn contact_user(extension: &ExtensionPlan) -> String {
    let digest = Sha256::digest(format!("{}\0{}\0{}", extension.name, extension.user, extension.host));
    let token: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("{}-{token}", extension.user)
}

fn registration(extension: &ExtensionPlan, remote: SocketAddr) -> Result<RegistrationConfig, ServerError> {
    let uri = Uri::sip(&extension.host, (extension.port != 5060).then_some(extension.port))
        .map_err(|_| ServerError::Uri { extension: extension.name.clone(), value: extension.host.clone() })?;
    Ok(RegistrationConfig {
        aor: uri.with_user(&extension.user),
        registrar: uri,
        targets: vec![Target::udp(remote)],
        outbound_proxy: None,
        display: None,
        account: account(extension),
        contact_user: contact_user(extension),
        expires: extension.expires,
        dialog: DialogPolicy::default(),
    })
}

/// The credentials of an extension.
#[must_use]
pub fn account(extension: &ExtensionPlan) -> Account {
    Account::new(&extension.auth_user, extension.password.expose())
}

fn known_peer(trunk: &TrunkPlan) -> KnownPeer {
    KnownPeer::by_source(&trunk.name, trunk.networks.clone())
}

async fn resolve(extension: &ExtensionPlan) -> Result<SocketAddr, ServerError> {
    let fail = |reason: String| ServerError::Resolve {
        extension: extension.name.clone(),
        host: extension.host.clone(),
        reason,
    };
    let mut found =
        tokio::net::lookup_host((extension.host.as_str(), extension.port)).await.map_err(|e| fail(e.to_string()))?;
    found.next().ok_or_else(|| fail("no address".into()))
}

/// The names of our socket: as configured, or for each peer the address that the system routes to it from.
fn local_addresses(socket: SocketAddr, advertised: Option<IpAddr>, peers: &[IpNet]) -> Vec<LocalAddress> {
    let local = |ip: IpAddr, for_peers: Vec<IpNet>| LocalAddress {
        transport: Transport::Udp,
        socket,
        advertised: SocketAddr::new(ip, socket.port()),
        for_peers,
    };
    if let Some(ip) = advertised {
        return vec![local(ip, Vec::new())];
    }
    if !socket.ip().is_unspecified() {
        return vec![local(socket.ip(), Vec::new())];
    }
    let mut all: Vec<LocalAddress> = peers
        .iter()
        .filter_map(|net| Some(local(outgoing_ip(SocketAddr::new(net.addr(), 5060))?, vec![*net])))
        .collect();
    all.push(local(IpAddr::from([127, 0, 0, 1]), Vec::new()));
    all
}

/// The source address that packets to `peer` leave from. Sends nothing.
fn outgoing_ip(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    probe.connect(peer).ok()?;
    probe.local_addr().ok().map(|a| a.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension() -> ExtensionPlan {
        ExtensionPlan {
            name: "front".into(),
            host: "127.0.0.10".into(),
            port: 5062,
            user: "1001".into(),
            auth_user: "auth-1001".into(),
            password: Pii::new("secret".into()),
            expires: Duration::from_secs(300),
            agent: "echo".into(),
            terms: PeerTerms::default(),
        }
    }

    #[test]
    fn the_contact_of_an_extension_is_the_same_after_a_restart_and_its_own() {
        let same = contact_user(&extension());
        assert_eq!(same, contact_user(&extension()));
        assert!(same.starts_with("1001-") && same.len() == 13);
        assert_ne!(same, contact_user(&ExtensionPlan { name: "back".into(), ..extension() }));
    }

    #[test]
    fn the_authentication_id_is_apart_from_the_extension_number() {
        let config = registration(&extension(), ([127, 0, 0, 10], 5062).into()).unwrap();
        assert_eq!(config.account.credentials.username.expose(), "auth-1001");
        assert_eq!(config.aor.as_str(), "sip:1001@127.0.0.10:5062");
        assert_eq!(config.registrar.as_str(), "sip:127.0.0.10:5062");
    }

    #[test]
    fn an_unspecified_socket_is_advertised_by_the_address_that_routes_to_each_peer() {
        let peers = ["127.0.0.10/32".parse().unwrap()];
        let all = local_addresses(([0, 0, 0, 0], 5060).into(), None, &peers);
        assert_eq!(all[0].advertised, ([127, 0, 0, 1], 5060).into());
        assert_eq!(all[0].for_peers, peers);
        let fixed = local_addresses(([0, 0, 0, 0], 5060).into(), Some([203, 0, 113, 9].into()), &peers);
        assert_eq!(fixed.len(), 1);
        assert_eq!(fixed[0].advertised.ip(), IpAddr::from([203, 0, 113, 9]));
    }
}
