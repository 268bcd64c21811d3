//! Where peers are: names looked up and looked up again, so that a changed DNS record or a late name server needs no
//! restart.

use super::addresses::{address_towards, local_addresses, outgoing_ip};
use super::plan::{RegistrationPlan, ServerPlan, TrunkPlan};
use crate::base::Random;
use crate::call::{CallEvent, Route, Supervisor};
use crate::config::Advertised;
use crate::net::keep_alive::STREAM_PERIOD;
use crate::net::{Destination, Listen, NetError, Sip};
use crate::sip::event::RegistrationState;
use crate::sip::{KnownPeer, LocalAddress, RegistrationId, Target, Transport};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

/// How often names are looked up again. Answers are cached below for as long as their records say.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// How often STUN is asked: often enough that its answers keep the NAT's binding alive (RFC 8489 names no period).
const MAP_AGAIN: Duration = Duration::from_secs(25);
/// First and longest wait after a name that was not found.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LONGEST: Duration = Duration::from_secs(120);

/// The addresses of peers and, out of them, ours.
pub(in crate::cli) struct Homes {
    sip: Sip,
    bound: Vec<Listen>,
    advertised: Vec<Advertised>,
    fixed: Vec<KnownPeer>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    mapped: Option<SocketAddr>,
    /// Targets of registrations, by the name of the extension or trunk.
    registrars: BTreeMap<String, Vec<Target>>,
    /// Networks of trunk hosts, by the trunk's name.
    trunks: BTreeMap<String, Vec<IpNet>>,
    local: Vec<LocalAddress>,
}

impl Homes {
    /// Before any name is known: what an endpoint starts with.
    pub(super) fn first_local_addresses(plan: &ServerPlan, bound: &[Listen]) -> Vec<LocalAddress> {
        let homes: Vec<IpNet> = plan.trunks.iter().flat_map(|trunk| trunk.known.networks.iter().copied()).collect();
        local_addresses(bound, &plan.advertised, None, &homes, &outgoing_ip)
    }

    pub(super) fn new(sip: Sip, plan: &ServerPlan, bound: Vec<Listen>) -> Arc<Self> {
        let local = Self::first_local_addresses(plan, &bound);
        Arc::new(Self {
            sip,
            bound,
            advertised: plan.advertised.clone(),
            fixed: plan.trunks.iter().map(|trunk| trunk.known.clone()).collect(),
            found: Mutex::new(Found { local, ..Found::default() }),
        })
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address our SDP names towards `peer`.
    pub(super) fn ip_towards(&self, peer: IpAddr) -> Option<IpAddr> {
        address_towards(&self.found().local, peer)
    }

    /// Our address as STUN found it.
    pub(in crate::cli) fn mapped(&self) -> Option<SocketAddr> {
        self.found().mapped
    }

    /// STUN found our public address.
    pub(super) fn note_mapped(&self, mapped: SocketAddr) {
        let changed = self.found().mapped.replace(mapped) != Some(mapped);
        if changed {
            tracing::info!(address = %mapped, "public_address_found");
            self.apply();
        }
    }

    fn note_registrar(&self, name: &str, targets: &[Target]) {
        let changed = {
            let mut found = self.found();
            // A thousand extensions of one PBX are one place.
            let known: BTreeSet<IpNet> = found.registrars.values().flat_map(|targets| networks(targets)).collect();
            found.registrars.insert(name.to_owned(), targets.to_vec());
            networks(targets).iter().any(|network| !known.contains(network))
        };
        if changed {
            self.apply();
        }
    }

    fn note_trunk(&self, name: &str, networks: Vec<IpNet>) {
        let before = self.found().trunks.insert(name.to_owned(), networks.clone());
        if before.as_ref() != Some(&networks) {
            self.apply();
        }
    }

    /// Tells the endpoint who is where and by which address of ours they reach us.
    fn apply(&self) {
        let mut found = self.found();
        let known: Vec<KnownPeer> = self
            .fixed
            .iter()
            .map(|peer| {
                let mut peer = peer.clone();
                peer.networks.extend(found.trunks.get(&peer.name).into_iter().flatten());
                peer
            })
            .collect();
        let homes: BTreeSet<IpNet> = known
            .iter()
            .flat_map(|peer| peer.networks.iter())
            .copied()
            .chain(found.registrars.values().flat_map(|targets| networks(targets)))
            .collect();
        let homes: Vec<IpNet> = homes.into_iter().collect();
        let local = local_addresses(&self.bound, &self.advertised, found.mapped, &homes, &outgoing_ip);
        let changed = (local != found.local).then(|| local.clone());
        found.local = local;
        drop(found);
        self.sip.post(move |endpoint, now| {
            endpoint.set_known_peers(known);
            if let Some(local) = changed {
                endpoint.set_local_addresses(now, local);
            }
        });
    }
}

fn networks(targets: &[Target]) -> Vec<IpNet> {
    let mut all: Vec<IpNet> = targets.iter().map(|target| IpNet::from(target.remote.ip().to_canonical())).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A wait of about `period`, so that many peers are not looked up at the same moment.
fn about(period: Duration) -> Duration {
    period.mul_f64(0.75 + Random::system().unit() / 2.0)
}

/// Registers as soon as the registrar is found and follows it when it moves. Ends with the network side.
pub(super) async fn keep_registered(
    name: String,
    plan: RegistrationPlan,
    route: Route,
    homes: Arc<Homes>,
    supervisor: Arc<Supervisor>,
    ids: Arc<Mutex<BTreeMap<String, RegistrationId>>>,
) {
    let mut id: Option<RegistrationId> = None;
    let mut wait = RETRY_FIRST;
    loop {
        match homes.sip.locate(&plan.destination).await {
            Ok(targets) => {
                wait = RETRY_FIRST;
                homes.note_registrar(&name, &targets);
                let done = match id {
                    Some(id) => homes.sip.run(move |endpoint, now| endpoint.retarget(now, id, targets)).await,
                    None => {
                        let mut config = plan.config.clone();
                        config.targets = targets;
                        let (supervisor, route, ids, name) =
                            (Arc::clone(&supervisor), route.clone(), Arc::clone(&ids), name.clone());
                        // Within the endpoint's task, so that its first event finds the route.
                        let registered = homes
                            .sip
                            .run(move |endpoint, now| {
                                let id = endpoint.register(now, config)?;
                                supervisor.route_registration(id, route);
                                ids.lock().unwrap_or_else(PoisonError::into_inner).insert(name, id);
                                Ok(id)
                            })
                            .await;
                        registered.map(|result| result.map(|registered| id = Some(registered)))
                    }
                };
                match done {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(extension = name, reason = %error, "registration_not_possible");
                        supervisor.note_registration_state(&name, failed(error.to_string(), LOOK_AGAIN));
                    }
                    Err(_) => return,
                }
                sleep(about(LOOK_AGAIN)).await;
            }
            Err(NetError::Stopped) => return,
            Err(error) => {
                if id.is_none() {
                    supervisor.note_registration_state(&name, failed(error.to_string(), wait));
                } else {
                    tracing::warn!(extension = name, reason = %error, "registrar_not_found_again");
                }
                sleep(about(wait)).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
        }
    }
}

fn failed(reason: String, wait: Duration) -> RegistrationState {
    RegistrationState::Failed { code: None, reason, retry_at: Some(Instant::now() + wait) }
}

/// Keeps the addresses of a trunk's host names up to date. Ends with the network side.
pub(super) async fn keep_located(trunk: TrunkPlan, homes: Arc<Homes>) {
    let gateways = trunk.gateway.iter().flat_map(|gateway| gateway.destinations.clone());
    let named = trunk.host_names.iter().map(|host| {
        // Requests of a carrier come from the addresses of the name itself, whatever its SRV records say.
        Destination { host: host.clone(), port: Some(5060), transport: None, tls: None }
    });
    let destinations: Vec<Destination> = gateways.chain(named).collect();
    let mut wait = RETRY_FIRST;
    loop {
        let mut found = Vec::new();
        let mut failed = false;
        for destination in &destinations {
            match homes.sip.locate(destination).await {
                Ok(targets) => found.extend(networks(&targets)),
                Err(NetError::Stopped) => return,
                Err(error) => {
                    failed = true;
                    tracing::warn!(trunk = trunk.name(), reason = %error, "trunk_host_not_found");
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        // A name that is not found at the moment keeps the addresses it had.
        if !failed || !found.is_empty() {
            homes.note_trunk(trunk.name(), found);
        }
        if failed {
            sleep(about(wait)).await;
            wait = (wait * 2).min(RETRY_LONGEST);
        } else {
            wait = RETRY_FIRST;
            sleep(about(LOOK_AGAIN)).await;
        }
    }
}

/// Asks the STUN server for our public address, again and again: it changes with the router's. Ends with the network
/// side.
pub(super) async fn keep_mapped(server: Destination, homes: Arc<Homes>) {
    let mut wait = RETRY_FIRST;
    loop {
        match homes.sip.mapped_address(&server).await {
            Ok(mapped) => {
                wait = RETRY_FIRST;
                homes.note_mapped(mapped);
                sleep(about(MAP_AGAIN)).await;
            }
            Err(NetError::Stopped) => return,
            Err(error) => {
                tracing::warn!(reason = %error, "public_address_not_found");
                sleep(about(wait)).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// Keeps the ways to registrars open: streams always, datagrams where a NAT is between. `periods` are those of the
/// profiles, by the name of the registration.
pub(super) async fn keep_open(
    mut events: tokio::sync::broadcast::Receiver<CallEvent>,
    periods: BTreeMap<String, Duration>,
    homes: Arc<Homes>,
    supervisor: Arc<Supervisor>,
) {
    loop {
        let name = match events.recv().await {
            Ok(CallEvent::Registration { extension, state: "registered", .. }) => extension,
            // What was missed comes again with the next refresh.
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let (Some(period), Some(RegistrationState::Registered { contact, .. })) =
            (periods.get(&name), supervisor.registration_state(&name))
        else {
            continue;
        };
        let targets = homes.found().registrars.get(&name).cloned().unwrap_or_default();
        for target in targets {
            let is_behind_nat = || outgoing_ip(target.remote.ip()) != Some(contact.ip().to_canonical());
            let period = match target.transport {
                Transport::Tcp | Transport::Tls => Some(STREAM_PERIOD),
                Transport::Udp => is_behind_nat().then_some(*period),
            };
            homes.sip.keep_alive(target.remote, target.transport, period);
        }
    }
}

/// Whether a destination has to be looked up.
pub(super) fn is_name(destination: &Destination) -> bool {
    destination.host.parse::<IpAddr>().is_err()
}
