//! Puts a server together out of a plan: network, media, engines, agents, routes, registrations.

pub mod addresses;
pub(in crate::cli) mod homes;
mod plan;
mod qualify;

use crate::base::Random;
use crate::call::{EventStream, Gateway, PeerTerms, Program, Recordings, Route, Supervisor, SupervisorConfig};
use crate::media::{MediaError, Workers};
use crate::net::{self, Listen, NetConfig, NetError, Sip};
use crate::sip::{EndpointConfig, RegistrationId, Transport};
use homes::Homes;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

pub use plan::{ExtensionPlan, RegistrationPlan, ServerPlan, TrunkPlan};
pub use qualify::{Answer, Reply, TrunkReachability};

/// How long the last BYEs and un-REGISTERs may take at the end: an un-REGISTER gives up after 5 s by itself.
const GOODBYE: Duration = Duration::from_secs(6);
/// How often the end looks whether everything is answered.
const GOODBYE_LOOK: Duration = Duration::from_millis(50);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// SIP socket.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Media workers.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The directory of the recordings cannot be used: the configuration's fault, or the file system's.
    #[error("[recording] directory: {0}: let this user write to it, or name another")]
    Recording(#[source] std::io::Error),
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
    /// What it was started with.
    pub plan: Arc<ServerPlan>,
    /// Whether the trunks that are asked by OPTIONS answer.
    pub reachability: TrunkReachability,
    homes: Arc<Homes>,
    ids: Arc<Mutex<BTreeMap<String, RegistrationId>>>,
    upkeep: Vec<AbortHandle>,
}

impl Server {
    /// Starts everything; registrations follow as their registrars are found.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing is left running.
    pub async fn start(
        plan: ServerPlan,
        agents: &HashMap<String, Program>,
        events: EventStream,
    ) -> Result<Self, ServerError> {
        let (mut trunks, mut gateways, mut registrations) = (HashMap::new(), HashMap::new(), Vec::new());
        for trunk in &plan.trunks {
            let name = trunk.name().to_owned();
            let route = route(agents, &name, &trunk.agent, &trunk.terms)?;
            gateways.extend(trunk.gateway.clone().map(|gateway| (name.clone(), Arc::new(gateway))));
            registrations.extend(trunk.registration.clone().map(|plan| (name.clone(), plan, route.clone())));
            trunks.insert(name, route);
        }
        for extension in &plan.extensions {
            let name = extension.name.clone();
            let route = route(agents, &name, &extension.agent, &extension.terms)?;
            gateways.insert(name.clone(), Arc::new(extension.gateway.clone()));
            registrations.push((name, extension.registration.clone(), route));
        }
        let workers = Arc::new(Workers::start(plan.media.clone(), Random::system())?);
        let listen = sockets(&plan.listen);
        let network = NetConfig { name_servers: plan.dns_servers.clone(), ..NetConfig::default() };
        let mut bound = Vec::new();
        let (sip, inbox) = net::start_with(network, &listen, Random::system(), |found| {
            bound = found.to_vec();
            let first = found.first().map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5060)), |listen| listen.address);
            EndpointConfig {
                local: Homes::first_local_addresses(&plan, found),
                user_agent: plan.user_agent.clone(),
                known_peers: plan.trunks.iter().map(|trunk| trunk.known.clone()).collect(),
                ..EndpointConfig::udp(first, first)
            }
        })?;
        let recordings =
            plan.recordings.as_deref().map(Recordings::start).transpose().map_err(ServerError::Recording)?;
        let config = SupervisorConfig {
            trunks,
            neighbours: neighbours(&plan.trunks),
            gateways,
            sounds: plan.sounds.clone(),
            recordings,
        };
        let supervisor = Supervisor::new(sip.clone(), workers, events.clone(), config);
        tokio::spawn(Arc::clone(&supervisor).run(inbox));
        let plan = Arc::new(plan);
        let mut server = Self {
            homes: Homes::new(sip.clone(), &plan, bound),
            sip,
            supervisor,
            events,
            plan: Arc::clone(&plan),
            reachability: TrunkReachability::default(),
            ids: Arc::default(),
            upkeep: Vec::new(),
        };
        let periods: BTreeMap<String, Duration> =
            registrations.iter().filter_map(|(name, plan, _)| Some((name.clone(), plan.keep_alive?))).collect();
        if !periods.is_empty() {
            let (homes, supervisor) = (Arc::clone(&server.homes), Arc::clone(&server.supervisor));
            server.keep(homes::keep_open(server.events.subscribe(), periods, homes, supervisor));
        }
        if let Some(stun) = plan.stun.clone() {
            server.keep(homes::keep_mapped(stun, Arc::clone(&server.homes)));
        }
        for (name, registration, route) in registrations {
            server.keep(homes::keep_registered(
                name,
                registration,
                route,
                Arc::clone(&server.homes),
                Arc::clone(&server.supervisor),
                Arc::clone(&server.ids),
            ));
        }
        for trunk in &plan.trunks {
            let is_named = trunk.gateway.as_ref().is_some_and(|g| g.destinations.iter().any(homes::is_name));
            if is_named || !trunk.host_names.is_empty() {
                server.keep(homes::keep_located(trunk.clone(), Arc::clone(&server.homes)));
            }
            if let (Some(period), Some(gateway)) = (trunk.qualify, &trunk.gateway) {
                let (name, gateway) = (trunk.name().to_owned(), gateway.clone());
                server.keep(qualify::ask(server.sip.clone(), name, gateway, period, server.reachability.clone()));
            }
        }
        Ok(server)
    }

    fn keep(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.upkeep.push(tokio::spawn(work).abort_handle());
    }

    /// The address our SDP names towards `peer`.
    #[must_use]
    pub fn media_ip_towards(&self, peer: SocketAddr) -> IpAddr {
        self.homes.ip_towards(peer.ip()).unwrap_or_else(|| self.sip.local_addr().ip())
    }

    /// Our public address, as STUN found it.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.homes.mapped()
    }

    /// Where peers are.
    pub(in crate::cli) fn homes(&self) -> Arc<Homes> {
        Arc::clone(&self.homes)
    }

    /// The extension with this name, or the first one.
    #[must_use]
    pub fn extension(&self, name: Option<&str>) -> Option<&ExtensionPlan> {
        self.plan.extensions.iter().find(|extension| name.is_none_or(|name| name == extension.name))
    }

    /// Asks a gateway by OPTIONS whether it is there.
    ///
    /// # Errors
    /// Why nothing came back, in words.
    pub async fn ask(&self, gateway: &Gateway) -> Result<Reply, String> {
        qualify::once(&self.sip, gateway).await
    }

    /// Takes no more calls; living calls go on.
    pub fn drain(&self) {
        self.sip.post(|endpoint, _| endpoint.set_draining(true));
    }

    /// Hangs up what is left of the calls, takes every registration back, waits for the answers of the peers, at the most
    /// [`GOODBYE`], and ends.
    pub async fn stop(self) {
        for task in &self.upkeep {
            task.abort();
        }
        let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        let all: Vec<RegistrationId> = ids.into_values().collect();
        self.sip.post(move |endpoint, now| {
            endpoint.hang_up_all(now);
            for id in all {
                // Already gone is what we want.
                let _ = endpoint.unregister(now, id);
            }
        });
        let answered = async {
            loop {
                // At least once, so that what wants no answer leaves as well.
                tokio::time::sleep(GOODBYE_LOOK).await;
                if !matches!(self.sip.run(|endpoint, _| endpoint.has_loose_ends()).await, Ok(true)) {
                    return;
                }
            }
        };
        // Who is down will forget us by itself.
        let _ = tokio::time::timeout(GOODBYE, answered).await;
    }
}

fn route(agents: &HashMap<String, Program>, peer: &str, agent: &str, terms: &PeerTerms) -> Result<Route, ServerError> {
    let program = agents
        .get(agent)
        .cloned()
        .ok_or_else(|| ServerError::UnknownAgent { peer: peer.to_owned(), agent: agent.to_owned() })?;
    Ok(Route { peer: peer.to_owned(), agent: agent.to_owned(), program, terms: terms.clone() })
}

/// Trunks whose calls come from common addresses, by name: a carrier that several numbers are rented from.
fn neighbours(trunks: &[TrunkPlan]) -> HashMap<String, Vec<String>> {
    let meet = |a: &TrunkPlan, b: &TrunkPlan| {
        let networks = |x: &IpNet| b.known.networks.iter().any(|y| x.contains(y) || y.contains(x));
        a.known.networks.iter().any(networks) || a.host_names.iter().any(|host| b.host_names.contains(host))
    };
    let others = |trunk: &TrunkPlan| {
        let others = trunks.iter().filter(|other| other.name() != trunk.name() && meet(trunk, other));
        others.map(|other| other.name().to_owned()).collect()
    };
    trunks.iter().map(|trunk| (trunk.name().to_owned(), others(trunk))).collect()
}

/// The sockets asked for, and TLS that only goes out where nothing listens for it: a name's records may ask for it.
fn sockets(asked: &[Listen]) -> Vec<Listen> {
    let mut all = asked.to_vec();
    if let Some(first) = asked.first()
        && asked.iter().all(|listen| listen.transport != Transport::Tls)
    {
        let address = SocketAddr::new(first.address.ip(), 5061);
        all.push(Listen { transport: Transport::Tls, address, tls: None });
    }
    all
}
