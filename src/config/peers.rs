//! `[[extension]]` and `[[trunk]]`: whom we register with, and who may send us calls.

use super::BUILT_IN_AGENTS;
use super::diagnostic::nearest;
use super::profile::SipProfile;
use super::reader::{Located, Table};
use super::secret::{Secret, Secrets};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

/// The SIP port when none is written (RFC 3261 section 19.1.2).
const SIP_PORT: u16 = 5060;
/// Longest name, user or number.
const NAME_CHARS: usize = 64;
/// Shortest prefix of a trunk's IPv4 network: `/0` would take calls from the whole internet.
const V4_PREFIX_MIN: u8 = 8;
/// Shortest prefix of a trunk's IPv6 network.
const V6_PREFIX_MIN: u8 = 32;

/// A line we register on a PBX, like a telephone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Its name in logs, events and commands.
    pub name: String,
    /// The registrar.
    pub registrar: HostPort,
    /// The extension number: user part of our address of record.
    pub user: String,
    /// The digest user name; the same as `user` unless the PBX has an authentication ID.
    pub auth_user: String,
    /// The digest password.
    pub password: Secret,
    /// The agent that answers, a name under `[agents]`.
    pub agent: String,
    /// How this make of PBX wants to be treated.
    pub profile: SipProfile,
}

/// A carrier or PBX that sends us calls from known addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trunk {
    /// Its name in logs, events and commands.
    pub name: String,
    /// Where its requests come from. Anything else is a stranger.
    pub hosts: Vec<IpNet>,
    /// The agent that answers, a name under `[agents]`.
    pub agent: String,
    /// How this make of peer wants to be treated.
    pub profile: SipProfile,
    /// Called numbers this trunk may reach; empty means all.
    pub called_numbers: Vec<String>,
}

impl Trunk {
    /// Whether a request from `source` for `called` (user part of the Request-URI) belongs to this trunk.
    #[must_use]
    pub fn accepts(&self, source: IpAddr, called: &str) -> bool {
        self.hosts.iter().any(|network| network.contains(&source.to_canonical()))
            && (self.called_numbers.is_empty() || self.called_numbers.iter().any(|number| number == called))
    }
}

/// A host name or address and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// The port; 5060 when none was written.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').map(Some).or_else(|| rest.is_empty().then_some(None))?)
        } else if let Ok(IpAddr::V6(_)) = text.parse() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let name = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let good =
            host.contains(':') || (host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(name));
        let port = port.map_or(Some(SIP_PORT), |port| port.parse().ok().filter(|port| *port != 0))?;
        good.then(|| Self { host: host.to_owned(), port })
    }
}

/// Names given so far, with the line each stands on.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, usize>);

impl Names {
    fn read(&mut self, table: &Table<'_, '_>, example: &str) -> Option<String> {
        let name = table.required("name", example)?;
        let good = name.value.len() <= NAME_CHARS
            && name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !good {
            let message = format!("`{}` is not a good name", name.value);
            table.error(name.span, message, "use letters, digits, `-`, `_` and `.`, 64 at most");
            return None;
        }
        let line = table.reader().line(&name.span);
        if let Some(first) = self.0.insert(name.value.clone(), line) {
            let message = format!("the name `{}` is taken by line {first}", name.value);
            table.error(name.span, message, "give each extension and trunk a name of its own");
        }
        Some(name.value)
    }
}

/// What extensions and trunks refer to.
pub(super) struct Surroundings<'s> {
    pub base: &'s Path,
    pub agents: &'s BTreeMap<String, super::AgentEntry>,
    pub secrets: &'s Secrets<'s>,
}

impl Surroundings<'_> {
    fn agent(&self, table: &Table<'_, '_>) -> Option<String> {
        let example = self.agents.keys().next().map_or_else(|| "\"clinic\"".to_owned(), |name| format!("\"{name}\""));
        let agent = table.required("agent", &example)?;
        if self.agents.contains_key(&agent.value) || BUILT_IN_AGENTS.contains(&agent.value.as_str()) {
            return Some(agent.value);
        }
        let fix = nearest(&agent.value, self.agents.keys().map(String::as_str).chain(BUILT_IN_AGENTS)).map_or_else(
            || format!("add `{} = \"{}.yaml\"` under [agents]", agent.value, agent.value),
            |right| format!("write \"{right}\""),
        );
        table.error(agent.span, format!("there is no agent `{}`", agent.value), fix);
        None
    }

    fn profile(&self, table: &Table<'_, '_>) -> Option<Located<SipProfile>> {
        let Some(name) = table.text("profile") else {
            return Some(Located { value: SipProfile::default(), span: table.span() });
        };
        match SipProfile::load(&name.value, self.base) {
            Ok(profile) => Some(Located { value: profile, span: name.span }),
            Err(Some(errors)) => {
                table.reader().take_over(errors);
                None
            }
            Err(None) => {
                let fix = SipProfile::unknown_name_fix(&name.value);
                table.error(name.span, format!("there is no profile `{}`", name.value), fix);
                None
            }
        }
    }

    pub(super) fn extension(&self, table: Table<'_, '_>, names: &mut Names) -> Option<Extension> {
        let name = names.read(&table, "\"reception\"");
        if !table.has("registrar") {
            table.missing("registrar", "\"pbx.example.com:5060\"");
        }
        let registrar = table.read("registrar", "a host such as \"pbx.example.com:5060\"", HostPort::parse);
        let user = table.required("user", "\"1001\"").and_then(|user| sip_user(&table, "user", user));
        let auth_user = table.text("auth_user").and_then(|user| sip_user(&table, "auth_user", user));
        let password = self.secrets.read(&table);
        let agent = self.agent(&table);
        let profile = self.profile(&table);
        if let Some(profile) = &profile
            && profile.value.auth_user_required
            && !table.has("auth_user")
        {
            let message = format!("profile `{}` needs `auth_user`", profile.value.name);
            let fix = "add `auth_user = \"…\"`: the PBX shows it as authentication ID or registration name";
            table.error(profile.span.clone(), message, fix);
        }
        table.finish();
        let user = user?;
        Some(Extension {
            name: name?,
            registrar: registrar?.value,
            auth_user: auth_user.unwrap_or_else(|| user.clone()),
            user,
            password: password?,
            agent: agent?,
            profile: profile?.value,
        })
    }

    pub(super) fn trunk(&self, table: Table<'_, '_>, names: &mut Names) -> Option<Located<Trunk>> {
        let name = names.read(&table, "\"carrier\"");
        if !table.has("hosts") {
            table.missing("hosts", "[\"203.0.113.7\", \"198.51.100.0/24\"]");
        }
        let any_host = table.switch("danger_allow_any_host");
        let hosts = table.texts("hosts").map(|hosts| {
            if hosts.is_empty() {
                table.error(table.key_span("hosts"), "`hosts` is empty", "write the addresses calls come from");
            }
            hosts.into_iter().filter_map(|host| network(&table, host, any_host)).collect()
        });
        let agent = self.agent(&table);
        let profile = self.profile(&table);
        let mut called_numbers = Vec::new();
        for number in table.texts("called_numbers").unwrap_or_default() {
            called_numbers.extend(sip_user(&table, "called_numbers", number));
        }
        let span = table.span();
        table.finish();
        let trunk = Trunk { name: name?, hosts: hosts?, agent: agent?, profile: profile?.value, called_numbers };
        Some(Located { value: trunk, span })
    }
}

/// Two trunks that one call would fit into: which of them gets it would be chance.
pub(super) fn check_overlaps(trunks: &[Located<Trunk>], mut report: impl FnMut(Range<usize>, String, &'static str)) {
    for (index, later) in trunks.iter().enumerate() {
        for earlier in &trunks[..index] {
            let (a, b) = (&earlier.value, &later.value);
            let network = a.hosts.iter().find_map(|a| b.hosts.iter().find(|b| a.contains(*b) || b.contains(a)));
            let numbers_meet = a.called_numbers.is_empty()
                || b.called_numbers.is_empty()
                || a.called_numbers.iter().any(|number| b.called_numbers.contains(number));
            if let Some(network) = network
                && numbers_meet
            {
                report(
                    later.span.clone(),
                    format!("trunks `{}` and `{}` both take calls from {network}", a.name, b.name),
                    "give each its own hosts, or tell them apart by `called_numbers`",
                );
            }
        }
    }
}

fn sip_user(table: &Table<'_, '_>, key: &str, user: Located<String>) -> Option<String> {
    // The unreserved and user-unreserved characters of RFC 3261 section 25.1 that need no escaping.
    let good = user.value.len() <= NAME_CHARS
        && user.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,?/#".contains(&b));
    if !good {
        let message = format!("`{key}` holds `{}`, which is not the user part of a SIP address", user.value);
        table.error(user.span, message, "write the number or name alone, such as \"1001\"");
        return None;
    }
    Some(user.value)
}

fn network(table: &Table<'_, '_>, host: Located<String>, any_host: bool) -> Option<IpNet> {
    let parsed = host.value.parse::<IpNet>().ok().or_else(|| host.value.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = parsed else {
        let message = format!("`{}` is neither an address nor a network", host.value);
        let fix = "write an address such as \"203.0.113.7\" or a network such as \"198.51.100.0/24\"";
        table.error(host.span, message, fix);
        return None;
    };
    if network.trunc() != network {
        let message = format!("`{network}` has bits beyond its prefix");
        table.error(host.span, message, format!("write \"{}\"", network.trunc()));
        return None;
    }
    let shortest = if network.addr().is_ipv4() { V4_PREFIX_MIN } else { V6_PREFIX_MIN };
    if network.prefix_len() < shortest && !any_host {
        let message = format!("`{network}` takes calls from a large part of the internet");
        let fix = "write the carrier's own networks; `danger_allow_any_host = true` lifts this check";
        table.error(host.span, message, fix);
        return None;
    }
    Some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrars_are_names_or_addresses_with_or_without_a_port() {
        for (text, host, port) in [
            ("pbx.example.com", "pbx.example.com", 5060),
            ("pbx:5070", "pbx", 5070),
            ("192.0.2.1:5060", "192.0.2.1", 5060),
            ("[2001:db8::1]:5080", "2001:db8::1", 5080),
            ("[2001:db8::1]", "2001:db8::1", 5060),
            ("2001:db8::1", "2001:db8::1", 5060),
        ] {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port));
            assert_eq!(HostPort::parse(&parsed.to_string()), Some(parsed));
        }
        for text in
            ["", ":5060", "pbx:0", "pbx:99999", "pbx:", "sip:pbx", "a b", "pbx..x", "[::1", "[pbx]:5060", "pbx/x"]
        {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_trunk_takes_calls_from_its_own_hosts_for_its_own_numbers() {
        let trunk = Trunk {
            name: "carrier".into(),
            hosts: vec!["198.51.100.0/24".parse().unwrap()],
            agent: "clinic".into(),
            profile: SipProfile::default(),
            called_numbers: vec!["+15550134".into()],
        };
        assert!(trunk.accepts("198.51.100.9".parse().unwrap(), "+15550134"));
        assert!(trunk.accepts("::ffff:198.51.100.9".parse().unwrap(), "+15550134"), "a dual-stack socket's view");
        assert!(!trunk.accepts("198.51.101.9".parse().unwrap(), "+15550134"));
        assert!(!trunk.accepts("198.51.100.9".parse().unwrap(), "+15550135"));
    }
}
