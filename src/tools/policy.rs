//! What an outgoing URL may be, before anything is looked up (security class 17).

use super::address::{Reach, reach_of_address, reach_of_name};
use super::limits::URL_BYTES;
use reqwest::Url;
use std::net::IpAddr;

/// Ports open to every host. Others are named per host.
const USUAL_PORTS: [u16; 2] = [443, 8443];

/// What is different for one host. Each `danger_` switch weakens the guard and is logged at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    host: String,
    ports: Vec<u16>,
    private_addresses: bool,
    http: bool,
}

impl HostRule {
    /// A rule for one host, a name or a literal address, compared without regard to case.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self { host: plain_host(host), ports: Vec::new(), private_addresses: false, http: false }
    }

    /// Also these ports, beside 443 and 8443.
    #[must_use]
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports.extend(ports);
        self
    }

    /// Lets the host be or resolve to a loopback, private, CGNAT or unique local address. Metadata
    /// services, link-local, multicast and disguised addresses stay refused.
    #[must_use]
    pub fn danger_allow_private_addresses(mut self) -> Self {
        self.private_addresses = true;
        self
    }

    /// Lets requests go to the host in clear text.
    #[must_use]
    pub fn danger_allow_http(mut self) -> Self {
        self.http = true;
        self
    }

    /// The host the rule is for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The rules for all hosts. Without a rule a host gets https, usual ports and public addresses only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    rules: Vec<HostRule>,
}

/// A URL that passed [`EgressPolicy::check`]: proof for [`super::Egress::send`], which takes no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUrl(Url);

impl CheckedUrl {
    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// Why a request may not go out. Whoever wrote the URL or the DNS zone is at fault; the text never
/// repeats the path or query, which may carry personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The host's address may not be reached.
    #[error("{host} is or resolves to {address}, {why}{}", hint(*switchable, host))]
    Address {
        /// The host as written in the URL.
        host: String,
        /// The first offending address.
        address: IpAddr,
        /// What kind of address it is.
        why: &'static str,
        /// Whether `danger_allow_private_addresses` would let it pass.
        switchable: bool,
    },
    /// The host's name alone gives it away.
    #[error("{host} is {why}{}", hint(*switchable, host))]
    Name {
        /// The host.
        host: String,
        /// What kind of name it is.
        why: &'static str,
        /// Whether `danger_allow_private_addresses` would let it pass.
        switchable: bool,
    },
    /// Not a URL, or one without a host.
    #[error("not a URL with a host: {0}")]
    NotAUrl(String),
    /// A port that is not open for this host.
    #[error("port {port} of {host} is not allowed: add it to the ports of that host under [[tools.host]]")]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Neither https nor allowed http.
    #[error("{scheme} to {host} is not allowed: use https, or danger_allow_http for that host under [[tools.host]]")]
    Scheme {
        /// The host.
        host: String,
        /// The scheme as written.
        scheme: String,
    },
    /// The URL is too long once its arguments are filled in.
    #[error("the URL has {bytes} bytes; at most {URL_BYTES} are sent")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    Unknown {
        /// The host.
        host: String,
    },
    /// A user name or password inside the URL.
    #[error("the URL of {host} carries a user name or password: send an Authorization header instead")]
    UserInfo {
        /// The host.
        host: String,
    },
}

fn hint(switchable: bool, host: &str) -> String {
    if switchable {
        format!("; if {host} is yours, set danger_allow_private_addresses for it under [[tools.host]]")
    } else {
        String::new()
    }
}

impl EgressPolicy {
    /// A policy out of the rules of its hosts.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = HostRule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// The rules that weaken the guard, for the log at start: host and switch.
    pub fn dangers(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.rules.iter().flat_map(|rule| {
            [(rule.private_addresses, "danger_allow_private_addresses"), (rule.http, "danger_allow_http")]
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, switch)| (rule.host.as_str(), switch))
        })
    }

    fn rules_for<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a HostRule> {
        self.rules.iter().filter(move |rule| rule.host == host)
    }

    /// Reads a URL as a browser would (so that `0x7f.1`, `127.1`, `2130706433` and full-width digits
    /// become the address they mean) and checks scheme, user info, port, name and literal address.
    ///
    /// # Errors
    /// The first [`Refusal`] met.
    pub fn check(&self, url: &str) -> Result<CheckedUrl, Refusal> {
        if url.len() > URL_BYTES {
            return Err(Refusal::TooLong { bytes: url.len() });
        }
        // What the URL parser strips or turns round silently is a sign of a smuggled URL.
        if url.chars().any(|c| c.is_control() || c == '\\' || c.is_whitespace()) {
            return Err(Refusal::NotAUrl("control characters, spaces and backslashes are not allowed".into()));
        }
        let mut url = Url::parse(url).map_err(|error| Refusal::NotAUrl(error.to_string()))?;
        url.set_fragment(None);
        let host = plain_host(url.host_str().unwrap_or_default());
        if host.is_empty() {
            return Err(Refusal::NotAUrl("no host".into()));
        }
        match url.scheme() {
            "https" => {}
            "http" if self.rules_for(&host).any(|rule| rule.http) => {}
            scheme => return Err(Refusal::Scheme { scheme: scheme.to_owned(), host }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo { host });
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let clear_text_default = url.scheme() == "http" && port == 80;
        if !USUAL_PORTS.contains(&port)
            && !clear_text_default
            && !self.rules_for(&host).any(|rule| rule.ports.contains(&port))
        {
            return Err(Refusal::Port { host, port });
        }
        match host.parse::<IpAddr>() {
            Ok(address) => self.check_addresses(&host, &[address])?,
            Err(_) => match reach_of_name(&host) {
                Reach::Public => {}
                Reach::Private(_) if self.rules_for(&host).any(|rule| rule.private_addresses) => {}
                Reach::Private(why) => return Err(Refusal::Name { host, why, switchable: true }),
                Reach::Never(why) => return Err(Refusal::Name { host, why, switchable: false }),
            },
        }
        Ok(CheckedUrl(url))
    }

    /// Checks everything a name resolved to. One bad address among good ones refuses the host: which of
    /// them would be connected to is the attacker's choice.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] when there is no address, [`Refusal::Address`] for the first bad one.
    pub fn check_addresses(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let host = plain_host(host);
        if addresses.is_empty() {
            return Err(Refusal::Unknown { host });
        }
        let private_allowed = self.rules_for(&host).any(|rule| rule.private_addresses);
        for &address in addresses {
            match reach_of_address(address) {
                Reach::Public => {}
                Reach::Private(_) if private_allowed => {}
                Reach::Private(why) => return Err(Refusal::Address { host, address, why, switchable: true }),
                Reach::Never(why) => return Err(Refusal::Address { host, address, why, switchable: false }),
            }
        }
        Ok(())
    }
}

/// A host as the rules write it: lower case, no brackets around IPv6, no final dot, addresses in their
/// shortest form.
fn plain_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_https_url_passes_and_loses_its_fragment() {
        let policy = EgressPolicy::default();
        let url = policy.check("https://API.example.com:8443/v1?x=1#secret").unwrap();
        assert_eq!(url.url().as_str(), "https://api.example.com:8443/v1?x=1");
    }

    #[test]
    fn scheme_port_and_user_info_are_refused_with_the_fix() {
        let policy = EgressPolicy::default();
        let refused = |url: &str| policy.check(url).unwrap_err();
        assert!(matches!(refused("http://example.com/"), Refusal::Scheme { .. }));
        assert!(matches!(refused("ftp://example.com/"), Refusal::Scheme { .. }));
        assert!(matches!(refused("file:///etc/passwd"), Refusal::NotAUrl(_)));
        assert!(matches!(refused("https://example.com:22/"), Refusal::Port { port: 22, .. }));
        assert!(matches!(refused("https://user:pass@example.com/"), Refusal::UserInfo { .. }));
        assert!(matches!(refused("https://example.com@127.0.0.1/"), Refusal::UserInfo { .. }));
        assert!(refused("http://example.com/").to_string().contains("danger_allow_http"));
        assert!(refused("https://127.0.0.1/").to_string().contains("danger_allow_private_addresses"));
        assert!(!refused("https://169.254.169.254/").to_string().contains("danger_"));
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES));
        assert!(matches!(refused(&long), Refusal::TooLong { .. }));
    }

    #[test]
    fn a_rule_opens_its_own_host_only() {
        let policy = EgressPolicy::new([HostRule::new("127.0.0.1")
            .ports([8089])
            .danger_allow_private_addresses()
            .danger_allow_http()]);
        assert!(policy.check("http://127.0.0.1:8089/bookings").is_ok());
        assert!(policy.check("http://127.0.0.1/bookings").is_ok(), "port 80 comes with http");
        assert!(policy.check("http://127.0.0.2:8089/").is_err());
        assert!(policy.check("http://127.0.0.1:8090/").is_err());
        assert!(policy.check("http://localhost:8089/").is_err());
        let dangers: Vec<_> = policy.dangers().collect();
        assert_eq!(dangers, [("127.0.0.1", "danger_allow_private_addresses"), ("127.0.0.1", "danger_allow_http")]);
    }

    #[test]
    fn one_bad_address_among_good_ones_refuses_the_host() {
        let policy = EgressPolicy::default();
        let good: IpAddr = "93.184.216.34".parse().unwrap();
        assert!(policy.check_addresses("example.com", &[good]).is_ok());
        assert!(policy.check_addresses("example.com", &[good, "10.0.0.1".parse().unwrap()]).is_err());
        assert_eq!(policy.check_addresses("example.com", &[]), Err(Refusal::Unknown { host: "example.com".into() }));
    }

    #[test]
    fn private_permission_never_opens_metadata_or_disguised_addresses() {
        let policy = EgressPolicy::new([HostRule::new("inside.example").danger_allow_private_addresses()]);
        assert!(policy.check_addresses("inside.example", &["10.0.0.1".parse().unwrap()]).is_ok());
        for address in ["169.254.169.254", "::ffff:10.0.0.1", "0.0.0.0", "::", "fd00:ec2::254", "64:ff9b::a00:1"] {
            assert!(policy.check_addresses("inside.example", &[address.parse().unwrap()]).is_err(), "{address}");
        }
    }
}
