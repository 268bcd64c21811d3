use super::*;
use std::time::Instant;

fn target(transport: Transport) -> Target {
    Target { transport, remote: "192.0.2.10:5060".parse().unwrap() }
}

fn failed(code: Option<u16>) -> RegistrationState {
    RegistrationState::Failed { code, reason: "the registrar's word".into(), retry_at: None }
}

#[track_caller]
fn expect(finding: &Finding, level: Level, says: &str, fix: &str) {
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.says.contains(says), "`{says}` is not in {finding:?}");
    assert!(finding.fix.contains(fix), "`{fix}` is not in {finding:?}");
    assert_eq!(finding.fix.is_empty(), level == Level::Ok, "all but what is well has a fix: {finding:?}");
    assert!(!finding.says.ends_with('.') && !finding.fix.ends_with('.'), "{finding:?}");
}

#[test]
fn names_show_every_target_in_order() {
    let targets = vec![target(Transport::Tls), target(Transport::Udp)];
    expect(&names("pbx.example", &Ok(targets)), Level::Ok, "tls 192.0.2.10:5060, then udp 192.0.2.10:5060", "");
    expect(&names("pbx.example", &Err("no such name".into())), Level::Fail, "no such name", "dns_servers");
    let unverified = names("pbx.example", &Err("the certificate of pbx.example expired".into()));
    expect(&unverified, Level::Fail, "expired", "renewed");
    assert_eq!(unverified.check, "certificate");
}

#[test]
fn connections_tell_a_closed_port_from_a_bad_certificate() {
    let took = Duration::from_millis(12);
    let of = |transport, outcome, udp| connection(target(transport), outcome, udp);
    expect(&of(Transport::Tcp, Ok(took), None).unwrap(), Level::Ok, "takes TCP after 12 ms", "");
    expect(&of(Transport::Tcp, Err("refused"), None).unwrap(), Level::Fail, "cannot be reached by TCP", "port 5060");
    let expired = Err("the certificate ended yesterday");
    expect(&of(Transport::Tls, expired, None).unwrap(), Level::Fail, "does not pass verification", "server_name");
    expect(&of(Transport::Udp, Ok(took), Some(UdpPort::Refused)).unwrap(), Level::Fail, "refuses UDP port 5060", "tcp");
    assert_eq!(
        of(Transport::Udp, Ok(took), Some(UdpPort::Silent)),
        None,
        "silence is what SIP servers answer to noise"
    );
}

#[test]
fn certificates_are_judged_by_their_dates() {
    let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    let of = |from: &str, until: &str| {
        let facts = CertificateFacts {
            subject: "CN=pbx".into(),
            issuer: "CN=House".into(),
            names: vec!["pbx.example".into()],
            not_before: from.parse().unwrap(),
            not_after: until.parse().unwrap(),
        };
        certificate(&facts, now)
    };
    expect(&of("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"), Level::Ok, "ends in 92 days", "");
    expect(&of("2026-01-01T00:00:00Z", "2026-03-08T00:00:00Z"), Level::Warn, "ends in 7 days", "renewed");
    expect(&of("2026-01-01T00:00:00Z", "2026-02-27T00:00:00Z"), Level::Fail, "ended 2 days ago", "renew");
    expect(&of("2026-04-01T00:00:00Z", "2026-06-01T00:00:00Z"), Level::Fail, "valid from", "clock");
}

#[test]
fn options_say_whether_the_peer_knows_us() {
    let answer = |status, ms| Ok((status, Duration::from_millis(ms)));
    let silence = Err("no answer from 192.0.2.10:5060".to_owned());
    expect(&options(&answer(200, 12), None, false), Level::Ok, "200 after 12 ms", "");
    expect(&options(&answer(404, 12), None, false), Level::Ok, "404", "");
    expect(&options(&answer(200, 700), None, false), Level::Warn, "700 ms", "nearer");
    expect(&options(&answer(503, 12), None, false), Level::Warn, "503", "drains");
    expect(&options(&answer(403, 12), None, false), Level::Fail, "403", "allow it there");
    expect(&options(&silence, None, false), Level::Fail, "no answer", "fail2ban");
    expect(&options(&silence, Some(UdpPort::Refused), false), Level::Fail, "no answer", "nothing listens");
    expect(&options(&silence, None, true), Level::Ok, "REGISTER is", "");
}

#[test]
fn registrations_tell_a_wrong_password_from_a_forbidden_account_from_silence() {
    let waited = Duration::from_secs(12);
    let contact = "192.0.2.5:5060".parse().unwrap();
    let good = RegistrationState::Registered { expires_at: Instant::now(), contact };
    expect(&registration(Some(&good), waited, None), Level::Ok, "reachable at 192.0.2.5:5060", "");
    for (state, fix) in [
        (failed(Some(401)), "password or the authentication id"),
        (failed(Some(407)), "password or the authentication id"),
        (failed(Some(403)), "another telephone holds"),
        (failed(Some(404)), "domain"),
        (failed(Some(503)), "of its own"),
        (failed(Some(488)), "log"),
        (failed(None), "ban of this machine"),
    ] {
        expect(&registration(Some(&state), waited, None), Level::Fail, "the registrar's word", fix);
    }
    let refused = registration(Some(&failed(None)), waited, Some(UdpPort::Refused));
    expect(&refused, Level::Fail, "the registrar's word", "nothing listens");
    expect(&registration(None, waited, None), Level::Fail, "within 12 s", "firewall");
    let undelivered = registration(None, waited, Some(UdpPort::Refused));
    expect(&undelivered, Level::Fail, "cannot be delivered", "nothing listens");
    expect(&registration(Some(&RegistrationState::Registering), waited, None), Level::Fail, "no answer", "firewall");
}

#[test]
fn addresses_are_compared_with_what_the_peer_and_stun_see() {
    let of = |peer: &str, seen: Option<&str>, told: &str, mapped: Option<&str>, is_configured| {
        address(AddressFacts {
            peer: peer.parse().unwrap(),
            seen: seen.map(|seen| seen.parse().unwrap()),
            told: told.parse().unwrap(),
            mapped: mapped.map(|mapped| mapped.parse().unwrap()),
            is_configured,
        })
    };
    let (inside, outside) = ("192.168.1.20", "198.51.100.7");
    expect(&of(inside, Some("192.168.1.5:5060"), "192.168.1.5", None, false), Level::Ok, "192.168.1.5", "");
    expect(&of(outside, None, "203.0.113.9", None, true), Level::Ok, "203.0.113.9", "");
    let behind_nat = of(outside, Some("203.0.113.9:61000"), "192.168.1.5", None, false);
    expect(&behind_nat, Level::Fail, "there is a NAT", "advertised_address = \"203.0.113.9\"");
    let outdated = of(outside, Some("203.0.113.9:5060"), "203.0.113.8", None, true);
    expect(&outdated, Level::Fail, "audio will go to 203.0.113.8", "203.0.113.9");
    expect(&of(outside, None, "10.0.0.5", None, false), Level::Fail, "private address", "stun");
    expect(&of(outside, None, "10.0.0.5", Some("203.0.113.9:5060"), true), Level::Fail, "private", "\"203.0.113.9\"");
    expect(&of(outside, None, "203.0.113.8", Some("203.0.113.9:5060"), true), Level::Warn, "STUN", "out of date");
    expect(&of(inside, None, "192.168.1.5", Some("203.0.113.9:5060"), false), Level::Ok, "192.168.1.5", "");
}

#[test]
fn clocks_that_differ_are_named() {
    let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    let at = |text: &str| clock(Some(text.parse().unwrap()), now).unwrap();
    assert_eq!(clock(None, now), None);
    expect(&at("2026-03-01T00:00:05Z"), Level::Ok, "5 s", "");
    expect(&at("2026-02-28T23:59:00Z"), Level::Warn, "60 s", "NTP");
    expect(&at("2026-03-01T01:00:00Z"), Level::Fail, "3600 s", "NTP");
}

#[test]
fn ports_that_others_hold_are_counted() {
    let range = (20_000, 29_999);
    expect(&ports(range, 20, 0), Level::Ok, "can be opened", "");
    expect(&ports(range, 20, 5), Level::Ok, "can be opened", "");
    expect(&ports(range, 20, 6), Level::Warn, "6 of 20", "range of its own");
    expect(&ports(range, 20, 20), Level::Fail, "no port", "bind");
}

#[test]
fn audio_that_flows_one_way_is_explained() {
    let to = Some("198.51.100.7:20000".parse().unwrap());
    let flowing = LegStats { sent: 150, received: 148, sends_to: to, hears_from: to, ..LegStats::default() };
    expect(&media(&flowing, false), Level::Ok, "both ways: 150 packets", "");
    expect(&media(&LegStats { lost: 20, ..flowing }, false), Level::Warn, "% lost", "Wi-Fi");
    let deaf = LegStats { received: 0, hears_from: None, ..flowing };
    expect(&media(&deaf, false), Level::Fail, "one way: 150 packets went to 198.51.100.7:20000", "rtp_ports");
    expect(&media(&deaf, true), Level::Warn, "on hold", "another number");
    let elsewhere = LegStats { refused_from: Some("203.0.113.77:4000".parse().unwrap()), ..deaf };
    expect(&media(&elsewhere, false), Level::Fail, "comes from 203.0.113.77:4000", "behind a NAT");
    let private = LegStats { sends_to: Some("10.0.0.7:4000".parse().unwrap()), ..deaf };
    expect(&media(&private, false), Level::Fail, "one way", "private address itself");
    expect(&media(&LegStats { sent: 0, ..flowing }, false), Level::Fail, "not one packet", "route");
}

#[test]
fn calls_that_did_not_come_up_are_told_apart() {
    let of = |unanswered| super::unanswered("600", &LineError::NotAnswered(unanswered));
    let forbidden = Unanswered::Forbidden { code: 403, phrase: "Forbidden".into() };
    expect(&of(forbidden), Level::Fail, "the call to 600", "rights");
    expect(&of(Unanswered::NoCommonMedia), Level::Fail, "the call to 600", "PCMU");
    expect(&of(Unanswered::NoSuchNumber), Level::Warn, "the call to 600", "--call");
    expect(&of(Unanswered::Busy), Level::Warn, "the call to 600", "again");
}
