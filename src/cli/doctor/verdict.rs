//! From what was measured to what is wrong and what to do. Pure: a table of tests decides what it says.

use crate::call::{LineError, Unanswered};
use crate::cli::server::addresses::is_public;
use crate::media::LegStats;
use crate::net::tls::CertificateFacts;
use crate::sip::event::RegistrationState;
use crate::sip::{Target, Transport};
use ipnet::IpNet;
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A clock this far off breaks certificates and one-time passwords; digest nonces of some peers much earlier.
const CLOCK_WARN_S: i64 = 30;
const CLOCK_FAIL_S: i64 = 600;
/// A certificate that ends sooner is worth a word.
const EXPIRY_WARN_DAYS: i64 = 21;
/// A round trip above it is heard in every answer.
const SLOW: Duration = Duration::from_millis(300);
/// Share of lost packets that is heard.
const LOSS_WARN: f64 = 0.02;

/// What to do about a certificate that does not pass.
const UNVERIFIED_FIX: &str = "for an authority of the house set `tls = { ca = \"file.pem\" }`; for a certificate made out \
                              to another name set `server_name`; an expired one has to be renewed by its owner";

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Works, but will trouble somebody.
    Warn,
    /// Does not work.
    Fail,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub level: Level,
    /// What was looked at: `names`, `connection`, …
    pub check: &'static str,
    /// One sentence.
    pub says: String,
    /// What to do; empty where all is well.
    pub fix: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, says: says.into(), fix: String::new() }
    }

    pub(super) fn warn(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, check, says: says.into(), fix: fix.into() }
    }

    pub(super) fn fail(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, says: says.into(), fix: fix.into() }
    }
}

/// What the name led to.
pub(super) fn names(host: &str, found: &Result<Vec<Target>, String>) -> Finding {
    const CHECK: &str = "names";
    match found {
        Ok(targets) => {
            let all: Vec<String> = targets
                .iter()
                .map(|target| format!("{} {}", target.transport.via_name().to_ascii_lowercase(), target.remote))
                .collect();
            Finding::ok(CHECK, format!("{host} leads to {}", all.join(", then ")))
        }
        Err(reason) if reason.contains("certificate") => Finding::fail("certificate", reason.clone(), UNVERIFIED_FIX),
        Err(reason) => Finding::fail(
            CHECK,
            reason.clone(),
            "check the spelling; `dns_servers` under [server] names other name servers, and an address needs none",
        ),
    }
}

/// What happened to a few bytes sent to a UDP port, apart from SIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum UdpPort {
    /// The host says that nothing listens there.
    Refused,
    /// Nothing came back, as from a SIP server or a firewall.
    Silent,
}

/// Whether anything answers at the target.
pub(super) fn connection(target: Target, outcome: Result<Duration, &str>, udp: Option<UdpPort>) -> Option<Finding> {
    const CHECK: &str = "connection";
    let Target { transport, remote } = target;
    let name = transport.via_name();
    match (outcome, transport) {
        (Ok(_), Transport::Udp) => match udp {
            Some(UdpPort::Refused) => Some(Finding::fail(
                CHECK,
                format!("{} refuses UDP port {}: nothing listens for SIP there", remote.ip(), remote.port()),
                "check the port, or set `transport = \"tcp\"` or \"tls\" if the peer takes only that",
            )),
            _ => None,
        },
        (Ok(took), _) => Some(Finding::ok(CHECK, format!("{remote} takes {name} after {} ms", took.as_millis()))),
        (Err(reason), Transport::Tls) if reason.contains("certificate") => {
            Some(Finding::fail(CHECK, format!("{remote} does not pass verification: {reason}"), UNVERIFIED_FIX))
        }
        (Err(reason), _) => Some(Finding::fail(
            CHECK,
            format!("{remote} cannot be reached by {name}: {reason}"),
            format!("check that the peer listens for {name} on port {}, and the firewalls between", remote.port()),
        )),
    }
}

/// The peer's certificate.
pub(super) fn certificate(facts: &CertificateFacts, now: Timestamp) -> Finding {
    const CHECK: &str = "certificate";
    let days = |until: Timestamp| (until.as_second() - now.as_second()).div_euclid(86_400);
    let left = days(facts.not_after);
    let whose = if facts.names.is_empty() { facts.subject.clone() } else { facts.names.join(", ") };
    if now < facts.not_before {
        return Finding::fail(
            CHECK,
            format!("the certificate of {whose} is valid from {} on", facts.not_before),
            "set this machine's clock, or wait",
        );
    }
    if left < 0 {
        return Finding::fail(
            CHECK,
            format!("the certificate of {whose} ended {} days ago", -left),
            "its owner has to renew it",
        );
    }
    let says = format!("the certificate of {whose}, signed by {}, ends in {left} days", facts.issuer);
    if left < EXPIRY_WARN_DAYS {
        Finding::warn(CHECK, says, "have it renewed before calls fail")
    } else {
        Finding::ok(CHECK, says)
    }
}

/// What came back for an OPTIONS. Registrars and carriers may leave it unanswered, so silence alone is not a failure
/// where a registration works.
pub(super) fn options(outcome: &Result<(u16, Duration), String>, udp: Option<UdpPort>, is_registered: bool) -> Finding {
    const CHECK: &str = "options";
    match outcome {
        Ok((status, took)) => {
            let says = format!("OPTIONS is answered with {status} after {} ms", took.as_millis());
            match status {
                503 => Finding::warn(CHECK, says, "the peer is overloaded or drains: calls will be refused as well"),
                403 => Finding::fail(CHECK, says, "the peer does not know this machine's address: allow it there"),
                _ if *took > SLOW => {
                    Finding::warn(CHECK, says, "every answer is heard this much later: use a nearer host")
                }
                _ => Finding::ok(CHECK, says),
            }
        }
        Err(_) if is_registered => Finding::ok(CHECK, "OPTIONS is not answered, REGISTER is".to_owned()),
        Err(reason) if udp == Some(UdpPort::Refused) => {
            Finding::fail(CHECK, format!("OPTIONS: {reason}"), "nothing listens on that port: check host and port")
        }
        Err(reason) => Finding::fail(
            CHECK,
            format!("OPTIONS: {reason}"),
            "a firewall drops it, or the peer ignores strangers: allow this machine's address there; after wrong \
             passwords look at its ban list (fail2ban, Intrusion Detection, IP blacklist)",
        ),
    }
}

/// Where a registration stands.
pub(super) fn registration(state: Option<&RegistrationState>, waited: Duration, udp: Option<UdpPort>) -> Finding {
    const CHECK: &str = "registration";
    match state {
        Some(RegistrationState::Registered { contact, .. }) => {
            Finding::ok(CHECK, format!("registered, reachable at {contact}"))
        }
        Some(RegistrationState::Failed { code, reason, .. }) => {
            let fix = match code {
                Some(401 | 407) => {
                    "the password or the authentication id is wrong: look both up on the PBX. Do not try often: it bans"
                }
                Some(403) => {
                    "the account is known and not allowed: wrong authentication id (3CX, Yeastar), a place that another \
                     telephone holds (FreePBX: Max Contacts 1), or registration from outside switched off"
                }
                Some(404) => "the extension does not exist there, or `domain` must name the PBX's own domain",
                Some(423) => "raise `expires`",
                Some(500..=599) => "the PBX has a trouble of its own: see its log",
                Some(_) => "see the PBX's log for this request",
                None if udp == Some(UdpPort::Refused) => "nothing listens on that port: check host, port and transport",
                None => {
                    "nothing came back: a firewall, the wrong host, or a ban of this machine after wrong passwords \
                     (fail2ban, Intrusion Detection, IP blacklist)"
                }
            };
            Finding::fail(CHECK, reason.clone(), fix)
        }
        _ if udp == Some(UdpPort::Refused) => Finding::fail(
            CHECK,
            "REGISTER cannot be delivered".to_owned(),
            "nothing listens on that port: check host, port and transport",
        ),
        _ => Finding::fail(
            CHECK,
            format!("no answer to REGISTER within {} s", waited.as_secs()),
            "check host and transport, and that no firewall drops what goes there or comes back",
        ),
    }
}

/// Our address as the peer saw it, and as we tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressFacts {
    /// Where the peer is.
    pub peer: IpAddr,
    /// `received` and `rport`, or the Contact the registrar has.
    pub seen: Option<SocketAddr>,
    /// What our SDP and Contact say to this peer.
    pub told: IpAddr,
    /// What STUN found.
    pub mapped: Option<SocketAddr>,
    /// Whether `advertised_address` or `advertised_addresses` decides it.
    pub is_configured: bool,
}

pub(super) fn address(facts: AddressFacts) -> Finding {
    const CHECK: &str = "address";
    let AddressFacts { peer, seen, told, mapped, is_configured } = facts;
    let seen = seen.map(|seen| seen.ip().to_canonical());
    match seen {
        Some(seen) if seen != told && is_configured => Finding::fail(
            CHECK,
            format!("the peer sees us at {seen}, but is told {told}: audio will go to {told}"),
            format!("set `advertised_address = \"{seen}\"`, or an entry of `advertised_addresses` for {peer}"),
        ),
        Some(seen) if seen != told => Finding::fail(
            CHECK,
            format!("there is a NAT: the peer sees us at {seen}, but SDP says {told}, so its audio may not arrive"),
            format!("set `advertised_address = \"{seen}\"` and forward the RTP ports, or set `stun`"),
        ),
        _ if is_public(peer) && !is_public(told) => Finding::fail(
            CHECK,
            format!("the peer is on the internet, but is told our private address {told}"),
            mapped.map_or_else(
                || "set `advertised_address` to the public one, or `stun`".to_owned(),
                |mapped| format!("set `advertised_address = \"{}\"`", mapped.ip()),
            ),
        ),
        _ => match mapped {
            Some(mapped) if is_public(told) && mapped.ip() != told => Finding::warn(
                CHECK,
                format!("STUN sees us at {}, but peers are told {told}", mapped.ip()),
                "one of the two is out of date: check `advertised_address`",
            ),
            _ => Finding::ok(CHECK, format!("the peer is told {told}")),
        },
    }
}

/// The peer's clock against ours; a peer without Date says nothing.
pub(super) fn clock(date: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    const CHECK: &str = "clock";
    let off = date?.as_second() - now.as_second();
    let says = format!("the peer's clock and ours differ by {} s", off.abs());
    let fix = "let both keep time by NTP: certificates and nonces depend on it";
    Some(if off.abs() >= CLOCK_FAIL_S {
        Finding::fail(CHECK, says, fix)
    } else if off.abs() >= CLOCK_WARN_S {
        Finding::warn(CHECK, says, fix)
    } else {
        Finding::ok(CHECK, says)
    })
}

/// Whether RTP ports can be opened: how many were tried and how many others hold.
pub(super) fn ports(range: (u16, u16), tried: usize, taken: usize) -> Finding {
    const CHECK: &str = "rtp ports";
    let (first, last) = range;
    if tried > 0 && taken == tried {
        return Finding::fail(
            CHECK,
            format!("no port of {first}-{last} can be opened"),
            "set `bind` under [media] to an address of this machine, or `rtp_ports` to a free range",
        );
    }
    if taken * 4 > tried {
        return Finding::warn(
            CHECK,
            format!("{taken} of {tried} ports tried in {first}-{last} belong to something else"),
            "set `rtp_ports` to a range of its own",
        );
    }
    Finding::ok(CHECK, format!("ports {first}-{last} can be opened; a firewall must let UDP in there"))
}

/// A trial call: what of its audio went where.
pub(super) fn media(stats: &LegStats, held: bool) -> Finding {
    const CHECK: &str = "audio";
    let to = stats.sends_to.map_or_else(|| "nowhere".to_owned(), |to| to.to_string());
    if stats.sent == 0 {
        return Finding::fail(
            CHECK,
            format!("not one packet left us ({} send errors)", stats.send_errors),
            "the peer's SDP names an address that this machine has no route to",
        );
    }
    if stats.received == 0 {
        if let Some(refused) = stats.refused_from {
            return Finding::fail(
                CHECK,
                format!("we send to {to}, but audio comes from {refused}, which its SDP does not name"),
                "the peer is behind a NAT and tells its private address: set its own public address there, or let it \
                 handle media (PBX delivers audio, rtp_symmetric, direct_media=no)",
            );
        }
        if held {
            return Finding::warn(
                CHECK,
                format!("we send to {to}; the peer put the call on hold"),
                "call another number",
            );
        }
        let mut fix =
            "the peer's audio does not reach us: let UDP in on `rtp_ports`, forward them through the NAT, and \
                       check that `advertised_address` is the one the peer can reach"
                .to_owned();
        if stats.sends_to.is_some_and(|to| !is_public(to.ip())) {
            fix.push_str("; it names a private address itself, which is right only in the same network");
        }
        return Finding::fail(CHECK, format!("one way: {} packets went to {to}, none came back", stats.sent), fix);
    }
    let from = stats.hears_from.map_or_else(|| "somewhere".to_owned(), |from| from.to_string());
    let all = (stats.received + stats.lost).max(1);
    let loss = stats.lost as f64 / all as f64;
    let says = format!(
        "both ways: {} packets to {to}, {} from {from}, {:.1} % lost, jitter {} ms",
        stats.sent,
        stats.received,
        loss * 100.0,
        stats.jitter.as_millis()
    );
    if loss > LOSS_WARN {
        return Finding::warn(CHECK, says, "the way loses audio: look at Wi-Fi, VPN and the line's load");
    }
    Finding::ok(CHECK, says)
}

/// A trial call that did not come up.
pub(super) fn unanswered(number: &str, error: &LineError) -> Finding {
    const CHECK: &str = "call";
    let says = format!("the call to {number}: {error}");
    match error {
        LineError::NotAnswered(Unanswered::Forbidden { .. }) => {
            Finding::fail(CHECK, says, "the peer does not let this account call there: check its rights and caller id")
        }
        LineError::NotAnswered(Unanswered::NoSuchNumber) => {
            Finding::warn(CHECK, says, "give another one with --call NUMBER")
        }
        LineError::NotAnswered(Unanswered::NoCommonMedia) | LineError::Sdp(_) => Finding::fail(
            CHECK,
            says,
            "no common codec, or the peer insists on SRTP: allow PCMU or PCMA and plain RTP for this account there",
        ),
        LineError::NotAnswered(_) => Finding::warn(CHECK, says, "try again, or another number with --call NUMBER"),
        _ => Finding::fail(CHECK, says, "see the reason"),
    }
}

/// Our own certificate cannot be read.
pub(super) fn own_certificate_unreadable(reason: &str) -> Finding {
    let fix = "check the files of [server.tls] and that this user may read them";
    Finding::fail("certificate", format!("our own certificate: {reason}"), fix)
}

/// A trunk that only calls us.
pub(super) fn only_inbound(networks: &[IpNet]) -> Finding {
    let all: Vec<String> = networks.iter().map(ToString::to_string).collect();
    Finding::ok("names", format!("only takes calls, from {}; nothing can be asked without `gateways`", all.join(", ")))
}

/// There is nobody to call.
pub(super) fn no_number(reason: &str) -> Finding {
    Finding::warn("call", reason.to_owned(), "write a number, with + where the peer wants it")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
