//! From a host name to the targets a request goes to (RFC 3263): the hosts file, then NAPTR, SRV, A and AAAA records.
//!
//! Only names out of the operator's hands get here: configuration, agent files, what was typed. What a peer writes into a
//! Contact, Via or Route is never resolved (security class 22): the endpoint takes addresses out of those, or answers
//! where the message came from.

mod cache;
mod rfc3263;

use super::{Listen, NetConfig};
use crate::base::Random;
use crate::sip::{Target, Transport};
use cache::{Cache, Lifetime};
use futures_util::future::join_all;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError as LookupError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use rfc3263::{Naptr, Srv, default_port, in_order, is_withdrawn, service_name, services, targets};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

/// How long one query may take, its repetition included.
const QUERY_TIME: Duration = Duration::from_secs(2);
/// How long a name server has before it is asked again.
const ATTEMPT_TIME: Duration = Duration::from_millis(900);
/// The system's files are looked at for changes no more often than this.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);
/// Where the system names its name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    A,
    Aaaa,
    Naptr,
    Srv,
}

/// Records of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Records {
    Addresses(Vec<IpAddr>),
    Naptr(Vec<Naptr>),
    Srv(Vec<Srv>),
}

/// Why there are no records.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Missing {
    NoName,
    NoRecord,
    /// The name servers fail, in words.
    Failed(String),
}

type Answer = Result<Arc<Records>, Missing>;

/// The system's word, read again when its files change.
struct System {
    checked: Option<Instant>,
    hosts: Arc<Hosts>,
    hosts_changed: Option<SystemTime>,
    resolver: Option<TokioResolver>,
    resolver_changed: Option<SystemTime>,
}

/// Resolves host names. Search domains are not tried: a name means the same everywhere.
pub(super) struct Dns {
    name_servers: Vec<SocketAddr>,
    hosts_file: PathBuf,
    /// The transports we have, in the order a host that says nothing is asked for them.
    transports: Vec<Transport>,
    /// Whether we have sockets of IPv4, of IPv6.
    families: (bool, bool),
    system: Mutex<System>,
    cache: Mutex<Cache>,
    random: Mutex<Random>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dns {
    pub(super) fn new(config: &NetConfig, bound: &[Listen]) -> Self {
        let has = |transport: &Transport| bound.iter().any(|listen| listen.transport == *transport);
        Self {
            name_servers: config.name_servers.clone(),
            hosts_file: config.hosts_file.clone(),
            transports: [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(has).collect(),
            families: (bound.iter().any(|l| l.address.is_ipv4()), bound.iter().any(|l| l.address.is_ipv6())),
            system: Mutex::new(System {
                checked: None,
                hosts: Arc::default(),
                hosts_changed: None,
                resolver: None,
                resolver_changed: None,
            }),
            cache: Mutex::default(),
            random: Mutex::new(Random::system()),
        }
    }

    /// The targets that a host leads to, best first (RFC 3263 §4).
    ///
    /// # Errors
    /// Why there are none, in words.
    pub(super) async fn locate(
        &self,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
    ) -> Result<Vec<Target>, String> {
        let host = host.trim_end_matches('.');
        let fallback = transport.or_else(|| self.transports.first().copied()).unwrap_or_default();
        let direct = port.unwrap_or_else(|| default_port(fallback));
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![Target { transport: fallback, remote: SocketAddr::new(ip.to_canonical(), direct) }]);
        }
        if port.is_none() && self.in_hosts(host).is_none() {
            let found = match transport {
                Some(transport) => self.by_services(&[(transport, service_name(transport, host))]).await?,
                None => self.by_records(host).await?,
            };
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let addresses = self.addresses(host).await.map_err(|missing| self.in_words(&missing))?;
        Ok(targets([(fallback, direct, addresses)]))
    }

    /// By the NAPTR records of a host, or without them by SRV records for each of our transports.
    async fn by_records(&self, host: &str) -> Result<Vec<Target>, String> {
        let usual: Vec<_> = self.transports.iter().map(|t| (*t, service_name(*t, host))).collect();
        // Asked for at the same time: most hosts have no NAPTR records, and then these answers are there already.
        let ahead = join_all(usual.iter().map(|(_, name)| self.records(name, Kind::Srv)));
        let (naptr, _) = tokio::join!(self.records(host, Kind::Naptr), ahead);
        let mut known = Vec::new();
        if let Ok(records) = naptr
            && let Records::Naptr(records) = &*records
        {
            known = services(records, &self.transports);
        }
        self.by_services(if known.is_empty() { &usual } else { &known }).await
    }

    /// By the SRV records of these names; empty when there are none at all.
    async fn by_services(&self, services: &[(Transport, String)]) -> Result<Vec<Target>, String> {
        let answers = join_all(services.iter().map(|(_, name)| self.records(name, Kind::Srv))).await;
        let mut hosts = Vec::new();
        let mut withdrawn = false;
        for ((transport, _), answer) in services.iter().zip(answers) {
            let Ok(records) = answer else { continue };
            let Records::Srv(records) = &*records else { continue };
            if is_withdrawn(records) {
                withdrawn = true;
                continue;
            }
            let ordered = in_order(records.clone(), &mut locked(&self.random));
            hosts.extend(ordered.into_iter().map(|record| (*transport, record)));
        }
        if hosts.is_empty() {
            let none = "its SRV records say that SIP is not served there".to_owned();
            return if withdrawn { Err(none) } else { Ok(Vec::new()) };
        }
        hosts.truncate(rfc3263::TARGETS);
        let found = join_all(hosts.iter().map(|(_, record)| self.addresses(&record.target))).await;
        let mut reason = None;
        let resolved = hosts.iter().zip(found).map(|((transport, record), found)| {
            let addresses = found.unwrap_or_else(|missing| {
                reason = Some(format!("its server {} has no address: {}", record.target, self.in_words(&missing)));
                Vec::new()
            });
            (*transport, record.port, addresses)
        });
        let targets = targets(resolved.collect::<Vec<_>>());
        match reason {
            Some(reason) if targets.is_empty() => Err(reason),
            _ => Ok(targets),
        }
    }

    /// The addresses of a host in the families that we have; IPv4 first, where SIP is served more reliably.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Missing> {
        let host = host.trim_end_matches('.');
        let (v4, v6) = self.families;
        let wanted = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
        if let Some(addresses) = self.in_hosts(host) {
            let addresses: Vec<IpAddr> = addresses.into_iter().filter(wanted).collect();
            return if addresses.is_empty() { Err(Missing::NoRecord) } else { Ok(addresses) };
        }
        let ask = async |kind, is_wanted: bool| {
            if is_wanted { self.records(host, kind).await } else { Err(Missing::NoRecord) }
        };
        let (first, second) = tokio::join!(ask(Kind::A, v4), ask(Kind::Aaaa, v6));
        let mut addresses = Vec::new();
        for records in [&first, &second].into_iter().flatten() {
            if let Records::Addresses(found) = &**records {
                addresses.extend(found.iter().copied().take(rfc3263::RECORDS));
            }
        }
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        // The more telling of both reasons.
        Err(match (first.err(), second.err()) {
            (Some(failed @ Missing::Failed(_)), _) | (_, Some(failed @ Missing::Failed(_))) => failed,
            (Some(Missing::NoName), _) | (_, Some(Missing::NoName)) => Missing::NoName,
            _ => Missing::NoRecord,
        })
    }

    async fn records(&self, name: &str, kind: Kind) -> Answer {
        if let Some(answer) = locked(&self.cache).get(Instant::now(), name, kind) {
            return answer;
        }
        let (answer, lifetime) = self.ask(name, kind).await;
        locked(&self.cache).insert(Instant::now(), name, kind, answer, lifetime)
    }

    async fn ask(&self, name: &str, kind: Kind) -> (Answer, Lifetime) {
        let failed = |reason: &str| (Err(Missing::Failed(reason.to_owned())), Lifetime::Failure);
        let Ok(mut query) = Name::from_utf8(name) else { return failed("it is no host name") };
        query.set_fqdn(true);
        let resolver = self.refreshed().resolver.clone();
        let Some(resolver) = resolver else { return failed("this machine has no name servers (/etc/resolv.conf)") };
        let record_type = match kind {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
        };
        match timeout(QUERY_TIME, resolver.lookup(query, record_type)).await {
            Err(_) | Ok(Err(LookupError::Timeout)) => failed("the name servers do not answer"),
            Ok(Ok(lookup)) => match collect(lookup.answers(), kind) {
                Some((records, ttl)) => (Ok(Arc::new(records)), Lifetime::Positive(ttl)),
                None => (Err(Missing::NoRecord), Lifetime::Negative(None)),
            },
            Ok(Err(LookupError::Dns(DnsError::NoRecordsFound(none)))) => {
                let ttl = none.negative_ttl.map(|s| Duration::from_secs(u64::from(s)));
                match none.response_code {
                    ResponseCode::NXDomain => (Err(Missing::NoName), Lifetime::Negative(ttl)),
                    ResponseCode::NoError => (Err(Missing::NoRecord), Lifetime::Negative(ttl)),
                    other => failed(&format!("the name servers fail ({other})")),
                }
            }
            Ok(Err(LookupError::Dns(DnsError::ResponseCode(code)))) => {
                failed(&format!("the name servers fail ({code})"))
            }
            Ok(Err(error)) => failed(&format!("the name servers cannot be asked ({error})")),
        }
    }

    /// The addresses that the machine itself knows for a host.
    fn in_hosts(&self, host: &str) -> Option<Vec<IpAddr>> {
        let hosts = Arc::clone(&self.refreshed().hosts);
        let mut name = Name::from_utf8(host.to_ascii_lowercase()).ok()?;
        name.set_fqdn(true);
        let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [of(RecordType::A), of(RecordType::AAAA)];
        let mut addresses: Vec<IpAddr> = Vec::new();
        for lookup in found.iter().flatten() {
            addresses.extend(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
        }
        if addresses.is_empty()
            && (host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"))
        {
            // RFC 6761 §6.3: never a question for name servers.
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        (!addresses.is_empty()).then_some(addresses)
    }

    fn refreshed(&self) -> MutexGuard<'_, System> {
        let mut system = locked(&self.system);
        let now = Instant::now();
        let is_first = system.checked.is_none();
        if system.checked.is_some_and(|at| now.saturating_duration_since(at) < RELOAD_PAUSE) {
            return system;
        }
        system.checked = Some(now);
        let changed = modified(&self.hosts_file);
        if is_first || changed != system.hosts_changed {
            let mut hosts = Hosts::default();
            if let Ok(file) = File::open(&self.hosts_file) {
                // A line that cannot be read costs that line only.
                let _ = hosts.read_hosts_conf(file);
            }
            system.hosts = Arc::new(hosts);
            system.hosts_changed = changed;
        }
        let changed = modified(Path::new(RESOLV_CONF));
        if is_first || (self.name_servers.is_empty() && changed != system.resolver_changed) {
            system.resolver = resolver(&self.name_servers);
            system.resolver_changed = changed;
        }
        system
    }

    fn in_words(&self, missing: &Missing) -> String {
        match missing {
            Missing::NoName => "there is no such name".to_owned(),
            Missing::NoRecord => match self.families {
                (true, false) => "it has no IPv4 address, and we listen on IPv4 only".to_owned(),
                (false, true) => "it has no IPv6 address, and we listen on IPv6 only".to_owned(),
                _ => "it has no address".to_owned(),
            },
            Missing::Failed(reason) => reason.clone(),
        }
    }
}

/// A resolver for these name servers, or for the system's. None when the system has none.
fn resolver(name_servers: &[SocketAddr]) -> Option<TokioResolver> {
    let mut builder = if name_servers.is_empty() {
        TokioResolver::builder_tokio().ok()?
    } else {
        let at = |mut connection: ConnectionConfig, port| {
            connection.port = port;
            connection
        };
        let servers = name_servers.iter().map(|server| {
            let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            NameServerConfig::new(server.ip(), true, ways.map(|way| at(way, server.port())).into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = ATTEMPT_TIME;
    options.attempts = 2;
    // The cache with our bounds is the only one, and the hosts file is read by us.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().ok()
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

/// The records of one kind among the answers, with the least TTL of the chain that led to them.
fn collect(answers: &[Record], kind: Kind) -> Option<(Records, Duration)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut addresses, mut naptrs, mut srvs) = (Vec::new(), Vec::new(), Vec::new());
    for record in answers {
        match (&record.data, kind) {
            (RData::A(_), Kind::A) | (RData::AAAA(_), Kind::Aaaa) => addresses.extend(record.data.ip_addr()),
            (RData::NAPTR(naptr), Kind::Naptr) => naptrs.push(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                service: text(&naptr.services),
                replacement: naptr.replacement.to_string(),
            }),
            (RData::SRV(srv), Kind::Srv) => srvs.push(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            }),
            _ => {}
        }
    }
    let records = match kind {
        Kind::A | Kind::Aaaa if !addresses.is_empty() => Records::Addresses(addresses),
        Kind::Naptr if !naptrs.is_empty() => Records::Naptr(naptrs),
        Kind::Srv if !srvs.is_empty() => Records::Srv(srvs),
        _ => return None,
    };
    let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    Some((records, Duration::from_secs(u64::from(ttl))))
}
