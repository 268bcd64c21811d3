//! What RFC 3263 makes of NAPTR and SRV records. Pure.

use crate::base::Random;
use crate::sip::{Target, Transport};
use std::net::{IpAddr, SocketAddr};

/// Most records of one answer that are followed, the best ones: an answer of thousands must not become thousands of
/// queries (AST-2018-010).
pub(super) const RECORDS: usize = 16;

/// Most targets that one host leads to: as many as a caller would ever wait for.
pub(super) const TARGETS: usize = 32;

/// A NAPTR record (RFC 3403).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Naptr {
    pub(super) order: u16,
    pub(super) preference: u16,
    pub(super) flags: String,
    pub(super) service: String,
    pub(super) replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// The port of a transport when none is written (RFC 3261 §19.1.2).
pub(super) fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
    }
}

/// The name of the SRV records of a host for one transport.
pub(super) fn service_name(transport: Transport, host: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{host}")
}

/// The services that NAPTR records name and that we can use, best first (RFC 3263 §4.1): transport and SRV name.
pub(super) fn services(records: &[Naptr], ours: &[Transport]) -> Vec<(Transport, String)> {
    let mut records: Vec<&Naptr> = records.iter().collect();
    records.sort_by_key(|record| (record.order, record.preference));
    let usable = records.into_iter().filter_map(|record| {
        let transport = match record.service.to_ascii_uppercase().as_str() {
            "SIP+D2U" => Transport::Udp,
            "SIP+D2T" => Transport::Tcp,
            "SIPS+D2T" => Transport::Tls,
            _ => return None,
        };
        let leads_to_srv = record.flags.eq_ignore_ascii_case("s");
        (leads_to_srv && ours.contains(&transport)).then(|| (transport, record.replacement.clone()))
    });
    usable.take(RECORDS).collect()
}

/// SRV records in the order to try them (RFC 2782): by priority, then at random by weight.
pub(super) fn in_order(mut records: Vec<Srv>, random: &mut Random) -> Vec<Srv> {
    // Zero weights first, so that they keep a small chance.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::new();
    while ordered.len() < RECORDS
        && let Some(priority) = records.first().map(|record| record.priority)
    {
        let total: u64 = alike(&records, priority).map(|record| u64::from(record.weight)).sum();
        let drawn = random.below(total.saturating_add(1));
        let mut sum = 0;
        let chosen = alike(&records, priority).position(|record| {
            sum += u64::from(record.weight);
            sum >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or_default()));
    }
    ordered
}

fn alike(records: &[Srv], priority: u16) -> impl Iterator<Item = &Srv> {
    records.iter().take_while(move |record| record.priority == priority)
}

/// Whether SRV records say that the service is decidedly not there (RFC 2782: the target is the root).
pub(super) fn is_withdrawn(records: &[Srv]) -> bool {
    matches!(records, [only] if matches!(only.target.as_str(), "" | "."))
}

/// Targets in the order of hosts and their addresses, each once, not more than [`TARGETS`].
pub(super) fn targets(hosts: impl IntoIterator<Item = (Transport, u16, Vec<IpAddr>)>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for (transport, port, addresses) in hosts {
        for address in addresses {
            let target = Target { transport, remote: SocketAddr::new(address, port) };
            if targets.len() < TARGETS && !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.to_owned() }
    }

    fn naptr(order: u16, preference: u16, service: &str) -> Naptr {
        let replacement = format!("_x.{service}.example.");
        Naptr { order, preference, flags: "s".to_owned(), service: service.to_owned(), replacement }
    }

    #[test]
    fn services_come_by_order_then_preference_and_only_those_we_speak() {
        let records = [
            naptr(90, 50, "SIP+D2T"),
            naptr(50, 60, "SIP+D2U"),
            naptr(50, 50, "sips+d2t"),
            naptr(1, 1, "E2U+sip"),
            Naptr { flags: "u".to_owned(), ..naptr(1, 1, "SIP+D2U") },
        ];
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let transports = |ours: &[Transport]| services(&records, ours).iter().map(|(t, _)| *t).collect::<Vec<_>>();
        assert_eq!(transports(&all), [Transport::Tls, Transport::Udp, Transport::Tcp]);
        assert_eq!(transports(&[Transport::Tcp]), [Transport::Tcp]);
        assert_eq!(services(&records, &[Transport::Udp])[0].1, "_x.SIP+D2U.example.");
    }

    #[test]
    fn a_lower_priority_number_comes_first_whatever_the_weights() {
        let mut random = Random::seeded(1);
        for _ in 0..100 {
            let records = vec![srv(20, 1_000, "c"), srv(10, 0, "a"), srv(15, 5, "b")];
            let order: Vec<String> = in_order(records, &mut random).into_iter().map(|r| r.target).collect();
            assert_eq!(order, ["a", "b", "c"]);
        }
    }

    #[test]
    fn weights_share_the_first_place_out_in_proportion() {
        let mut random = Random::seeded(2);
        let first = |random: &mut Random| {
            let records = vec![srv(1, 60, "a"), srv(1, 30, "b"), srv(1, 10, "c"), srv(1, 0, "d")];
            in_order(records, random).remove(0).target
        };
        let mut seen = std::collections::HashMap::new();
        for _ in 0..10_000 {
            *seen.entry(first(&mut random)).or_insert(0) += 1;
        }
        for (target, share) in [("a", 6_000), ("b", 3_000), ("c", 1_000)] {
            assert!((share - 400..share + 400).contains(&seen[target]), "{seen:?}");
        }
        assert!((1..400).contains(&seen["d"]), "{seen:?}");
    }

    #[test]
    fn of_a_thousand_records_the_best_sixteen_are_followed() {
        let records = (0..1_000).map(|i| srv(1_000 - i, 1, &format!("h{i}"))).collect();
        let order = in_order(records, &mut Random::seeded(3));
        assert_eq!((order.len(), order[0].target.as_str()), (RECORDS, "h999"));
        let naptrs: Vec<Naptr> = (0..1_000).map(|i| naptr(i, 1, "SIP+D2U")).collect();
        assert_eq!(services(&naptrs, &[Transport::Udp]).len(), RECORDS);
        let addresses: Vec<IpAddr> = (0..1_000u32).map(|i| IpAddr::from((0x0a00_0000 + i).to_be_bytes())).collect();
        assert_eq!(targets([(Transport::Udp, 5060, addresses)]).len(), TARGETS);
    }

    #[test]
    fn the_root_as_only_target_withdraws_the_service() {
        assert!(is_withdrawn(&[srv(0, 0, ".")]));
        assert!(!is_withdrawn(&[srv(0, 0, "a"), srv(0, 0, ".")]) && !is_withdrawn(&[]));
    }

    #[test]
    fn a_target_that_two_names_lead_to_is_tried_once() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let hosts = [(Transport::Udp, 5060, vec![address]), (Transport::Udp, 5060, vec![address])];
        assert_eq!(targets(hosts), [Target::udp((address, 5060).into())]);
    }
}
