//! `[[trunk]]`.

use super::address::{self, Host, domain, sip_user};
use super::{Names, Outgoing, PeerAddress, RING_MAX, RING_MIN, Surroundings};
use crate::config::profile::{EXPIRES_MAX, EXPIRES_MIN, SipProfile};
use crate::config::reader::{Located, Table};
use crate::config::secret::{INBOUND_PASSWORD, PASSWORD, Secret};
use crate::net::ClientTls;
use crate::sip::digest::Credentials;
use crate::sip::{InboundAuthentication, Transport};
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// The realm of our challenges, where none is written.
const OWN_REALM: &str = "offhook";
/// Most calls and calls a second that a limit may say.
const CALLS_MAX: i64 = 100_000;
/// How often a trunk is asked by OPTIONS at most and at least.
const QUALIFY_MIN: Duration = Duration::from_secs(5);
const QUALIFY_MAX: Duration = Duration::from_secs(3_600);

/// Who we are to a trunk that challenges us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnCredentials {
    /// The account; user part of our address of record where we register.
    pub username: String,
    /// The digest user name; mostly the same.
    pub auth_user: String,
    /// The password.
    pub password: Secret,
    /// The only realm whose challenges are answered; `None` keeps the first that worked.
    pub realm: Option<String>,
}

/// A carrier or PBX that sends us calls from known addresses, or takes ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trunk {
    /// Its name in logs, events and commands.
    pub name: String,
    /// Where its requests come from. Anything else is a stranger.
    pub networks: Vec<IpNet>,
    /// Host names whose addresses its requests may come from as well.
    pub host_names: Vec<String>,
    /// The transports its requests may come by; empty means all.
    pub transports: Vec<Transport>,
    /// Where our calls go, best first.
    pub gateways: Vec<PeerAddress>,
    /// Host part of the addresses we call, where it is not the first gateway's.
    pub domain: Option<String>,
    /// Our credentials there.
    pub credentials: Option<OwnCredentials>,
    /// What the peer has to know.
    pub inbound: Option<InboundAuthentication>,
    /// Whether we register with the first gateway.
    pub registers: bool,
    /// The lifetime to ask for, if we register.
    pub expires: Duration,
    /// User part of our own address: the main number.
    pub user: Option<String>,
    /// TLS towards the gateways; `None` verifies against the system's roots.
    pub tls: Option<ClientTls>,
    /// How long callers hear ringing before the agent answers.
    pub ring: Option<Duration>,
    /// WAV file that callers hear once, as early media, before they are answered.
    pub announcement: Option<PathBuf>,
    /// Our own calls.
    pub outgoing: Outgoing,
    /// Calls at one time, in both directions together.
    pub max_calls: Option<u32>,
    /// New calls a second, in both directions together.
    pub max_calls_per_second: Option<u32>,
    /// Ask the first gateway by OPTIONS this often whether it is there.
    pub qualify: Option<Duration>,
    /// The agent that answers, a name under `[agents]`.
    pub agent: String,
    /// How this make of peer wants to be treated, overrides included.
    pub profile: SipProfile,
    /// Called numbers this trunk may reach; empty means all.
    pub called_numbers: Vec<String>,
}

impl Trunk {
    /// Whether a request from `source` for `called` (user part of the Request-URI) belongs to this trunk.
    #[must_use]
    pub fn accepts(&self, source: IpAddr, called: &str) -> bool {
        self.networks.iter().any(|network| network.contains(&source.to_canonical()))
            && (self.called_numbers.is_empty() || self.called_numbers.iter().any(|number| number == called))
    }
}

impl Surroundings<'_> {
    pub(in crate::config) fn trunk(&self, table: Table<'_, '_>, names: &mut Names) -> Option<Located<Trunk>> {
        let name = names.read(&table, "\"carrier\"");
        let profile = self.profile(&table);
        let ways = profile.as_ref().map(|profile| &profile.value);
        let gateways = gateways(&table, ways);
        let hosts = hosts(&table, ways, &gateways);
        let transports = transports(&table);
        let credentials = self.own_credentials(&table);
        let inbound = self.inbound(&table);
        let registers = table.switch("register");
        if registers {
            Self::check_registering(&table, ways, &gateways, credentials.as_ref().is_none_or(Option::is_some));
        }
        let expires = table.duration("expires", EXPIRES_MIN..=EXPIRES_MAX);
        let user = table.text("user").and_then(|user| sip_user(&table, "user", user));
        let domain = domain(&table, "domain");
        let tls = self.tls(&table);
        let ring = table.duration("ring", RING_MIN..=RING_MAX);
        let announcement = self.announcement(&table);
        let outgoing = Outgoing::read(&table);
        let limit = |key| table.integer(key, 1..=CALLS_MAX).and_then(|limit| u32::try_from(limit).ok());
        let (max_calls, max_calls_per_second) = (limit("max_calls"), limit("max_calls_per_second"));
        let qualify = table.duration("qualify", QUALIFY_MIN..=QUALIFY_MAX);
        if qualify.is_some() && gateways.as_ref().is_some_and(Vec::is_empty) {
            table.error(
                table.key_span("qualify"),
                "there is no gateway to ask",
                "add `gateways = [\"sip.example.com\"]`",
            );
        }
        let agent = self.agent(&table);
        let mut called_numbers = Vec::new();
        for number in table.texts("called_numbers").unwrap_or_default() {
            called_numbers.extend(sip_user(&table, "called_numbers", number));
        }
        let span = table.span();
        table.finish();
        let (networks, host_names) = hosts?;
        let profile = profile?.value;
        let trunk = Trunk {
            name: name?,
            networks,
            host_names,
            transports,
            gateways: gateways?,
            domain,
            credentials: credentials.flatten(),
            inbound: inbound.flatten(),
            registers,
            expires: expires.unwrap_or(profile.register_expires),
            user,
            tls,
            ring,
            announcement,
            outgoing,
            max_calls,
            max_calls_per_second,
            qualify,
            agent: agent?,
            profile,
            called_numbers,
        };
        Some(Located { value: trunk, span })
    }

    /// `username`, `auth_user`, `password…`, `realm`: ours to them. The outer `None` is for a mistake.
    fn own_credentials(&self, table: &Table<'_, '_>) -> Option<Option<OwnCredentials>> {
        let username = table.text("username").and_then(|user| sip_user(table, "username", user));
        let auth_user = table.text("auth_user").and_then(|user| sip_user(table, "auth_user", user));
        let password = self.secrets.optional(table, &PASSWORD)?;
        let realm = table.text("realm").map(|realm| realm.value);
        match (username, password) {
            (Some(username), Some(password)) => Some(Some(OwnCredentials {
                auth_user: auth_user.unwrap_or_else(|| username.clone()),
                username,
                password,
                realm,
            })),
            (None, None) => Some(None),
            (Some(_), None) => {
                table.error(
                    table.key_span("username"),
                    "`username` has no password",
                    "add `password_env = \"CARRIER_PASSWORD\"`",
                );
                None
            }
            (None, Some(_)) => {
                if !table.has("username") {
                    table.missing("username", "\"account\"");
                }
                None
            }
        }
    }

    /// `inbound_username`, `inbound_password…`, `inbound_realm`: theirs to us.
    fn inbound(&self, table: &Table<'_, '_>) -> Option<Option<InboundAuthentication>> {
        let username = table.text("inbound_username");
        let password = self.secrets.optional(table, &INBOUND_PASSWORD)?;
        let realm = table.text("inbound_realm").map_or_else(|| OWN_REALM.to_owned(), |realm| realm.value);
        match (username, password) {
            (Some(username), Some(password)) => Some(Some(InboundAuthentication {
                realm,
                credentials: Credentials { username: crate::base::Pii::new(username.value), password },
            })),
            (None, None) => Some(None),
            (Some(username), None) => {
                let fix = "add `inbound_password_env = \"TRUNK_PASSWORD\"`";
                table.error(username.span, "`inbound_username` has no password", fix);
                None
            }
            (None, Some(_)) => {
                table.missing("inbound_username", "\"carrier\"");
                None
            }
        }
    }

    fn check_registering(
        table: &Table<'_, '_>,
        profile: Option<&SipProfile>,
        gateways: &Option<Vec<PeerAddress>>,
        has_credentials: bool,
    ) {
        let at = table.key_span("register");
        if let Some(profile) = profile
            && !profile.takes_registrations
        {
            let message = format!("profile `{}` has no registrations", profile.name);
            table.error(at, message, "remove `register`: the peer knows us by address or by credentials of each call");
        } else if gateways.as_ref().is_some_and(Vec::is_empty) {
            table.error(at, "there is no gateway to register with", "add `gateways = [\"sip.example.com\"]`");
        } else if !has_credentials && !table.has("username") {
            table.error(at, "a registration needs an account", "add `username = \"…\"` and `password_env = \"…\"`");
        }
    }
}

fn gateways(table: &Table<'_, '_>, profile: Option<&SipProfile>) -> Option<Vec<PeerAddress>> {
    let Some(written) = table.texts("gateways") else {
        return (!table.has("gateways")).then(Vec::new);
    };
    let mut all = Vec::new();
    let mut good = true;
    for text in written {
        match PeerAddress::parse(&text.value) {
            Some(address) => all.push(PeerAddress {
                port: address.port.or_else(|| profile?.port),
                transport: address.transport.or_else(|| profile?.transport),
                ..address
            }),
            None => {
                good = false;
                let message = format!("`{}` is not a gateway", text.value);
                let fix =
                    "write a host such as \"sip.example.com\", \"192.0.2.7:5060\" or \"sip.example.com;transport=tls\"";
                table.error(text.span, message, fix);
            }
        }
    }
    good.then_some(all)
}

/// The networks and names that requests come from: as written, else the profile's, and always the gateways.
fn hosts(
    table: &Table<'_, '_>,
    profile: Option<&SipProfile>,
    gateways: &Option<Vec<PeerAddress>>,
) -> Option<(Vec<IpNet>, Vec<String>)> {
    let any_host = table.switch("danger_allow_any_host");
    let (mut networks, mut names) = (Vec::new(), Vec::new());
    if table.has("hosts") {
        let written = table.texts("hosts")?;
        if written.is_empty() {
            table.error(table.key_span("hosts"), "`hosts` is empty", "write the addresses calls come from");
            return None;
        }
        let count = written.len();
        for text in written {
            match address::host(table, text, any_host) {
                Some(Host::Network(network)) => networks.push(network),
                Some(Host::Name(name)) => names.push(name),
                None => {}
            }
        }
        if networks.len() + names.len() < count {
            return None;
        }
    } else {
        networks = profile.map(|profile| profile.source_networks.clone()).unwrap_or_default();
        if networks.is_empty() && gateways.as_ref().is_some_and(Vec::is_empty) {
            table.missing("hosts", "[\"203.0.113.7\", \"198.51.100.0/24\"]");
            return None;
        }
    }
    for gateway in gateways.iter().flatten() {
        match gateway.ip() {
            Some(ip) if !networks.iter().any(|network| network.contains(&ip)) => networks.push(ip.into()),
            Some(_) => {}
            None if !names.contains(&gateway.host) => names.push(gateway.host.clone()),
            None => {}
        }
    }
    Some((networks, names))
}

fn transports(table: &Table<'_, '_>) -> Vec<Transport> {
    let mut all = Vec::new();
    for word in table.texts("transports").unwrap_or_default() {
        match address::TRANSPORTS.iter().find(|(known, _)| *known == word.value) {
            Some((_, transport)) => all.push(*transport),
            None => {
                let message = format!("there is no transport `{}`", word.value);
                table.error(word.span, message, "write \"udp\", \"tcp\" or \"tls\"");
            }
        }
    }
    all
}

/// Two trunks that one call would fit into: which of them gets it would be chance.
pub(in crate::config) fn check_overlaps(
    trunks: &[Located<Trunk>],
    mut report: impl FnMut(Range<usize>, String, &'static str),
) {
    for (index, later) in trunks.iter().enumerate() {
        for earlier in &trunks[..index] {
            let (a, b) = (&earlier.value, &later.value);
            let network = a.networks.iter().find_map(|a| b.networks.iter().find(|b| a.contains(*b) || b.contains(a)));
            let numbers_meet = a.called_numbers.is_empty()
                || b.called_numbers.is_empty()
                || a.called_numbers.iter().any(|number| b.called_numbers.contains(number));
            let told_apart_by_digest = match (&a.inbound, &b.inbound) {
                (Some(a), Some(b)) => a.credentials.username != b.credentials.username,
                _ => false,
            };
            if let Some(network) = network
                && numbers_meet
                && !told_apart_by_digest
            {
                report(
                    later.span.clone(),
                    format!("trunks `{}` and `{}` both take calls from {network}", a.name, b.name),
                    "give each its own hosts, or tell them apart by `called_numbers` or `inbound_username`",
                );
            }
        }
    }
}
