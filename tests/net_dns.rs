//! Names to targets (RFC 3263) with a name server on loopback: order, failover lists, caches, and answers meant to hurt.

#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/streams.rs"]
mod streams;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use name_server::{NameServer, Reply, address};
use offhook::net::{Arrival, Destination, Listen, NetConfig, Sip};
use offhook::sip::{Transport, Uri};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use streams::{SDP, any, endpoint, soon};
use tokio::net::UdpSocket;

fn config(server: &NameServer) -> NetConfig {
    NetConfig { name_servers: vec![server.address], hosts_file: "/nonexistent".into(), ..NetConfig::default() }
}

/// An endpoint with UDP, TCP and outgoing TLS on IPv4.
fn sip(server: &NameServer) -> Sip {
    let ip = Ipv4Addr::LOCALHOST;
    let tls = Listen { transport: Transport::Tls, address: any(ip), tls: None };
    endpoint(config(server), &[Listen::udp(any(ip)), Listen::tcp(any(ip)), tls], &[]).0
}

fn host(host: &str, port: Option<u16>, transport: Option<Transport>) -> Destination {
    Destination { host: host.to_owned(), port, transport, tls: None }
}

async fn located(sip: &Sip, destination: &Destination) -> Vec<String> {
    let targets = soon("the targets", sip.locate(destination)).await.unwrap();
    targets.iter().map(|t| format!("{} {}", t.transport.via_name(), t.remote)).collect()
}

async fn refused(sip: &Sip, destination: &Destination) -> String {
    soon("the refusal", sip.locate(destination)).await.unwrap_err().to_string()
}

#[tokio::test]
async fn naptr_chooses_the_transport_srv_the_hosts_and_every_host_is_a_way_out() {
    let server = NameServer::start().await;
    server
        .naptr(
            "example.com",
            &[(20, 1, "SIP+D2U", "_sip._udp.example.com"), (10, 1, "SIP+D2T", "_sip._tcp.example.com")],
        )
        .srv("_sip._tcp.example.com", &[(2, 0, 5070, "b.example.com"), (1, 0, 5060, "a.example.com")])
        .srv("_sip._udp.example.com", &[(1, 0, 5080, "a.example.com")])
        .address_of("a.example.com", &["192.0.2.1", "192.0.2.2"])
        .address_of("b.example.com", &["192.0.2.3"]);
    assert_eq!(
        located(&sip(&server), &host("example.com", None, None)).await,
        ["TCP 192.0.2.1:5060", "TCP 192.0.2.2:5060", "TCP 192.0.2.3:5070", "UDP 192.0.2.1:5080", "UDP 192.0.2.2:5080"]
    );
}

#[tokio::test]
async fn without_naptr_each_of_our_transports_is_asked_for_and_without_srv_the_address_is_taken() {
    let server = NameServer::start().await;
    server
        .srv("_sip._tcp.trunk.example", &[(1, 0, 5062, "a.trunk.example")])
        .address_of("a.trunk.example", &["192.0.2.1"])
        .address_of("trunk.example", &["192.0.2.9"])
        .address_of("plain.example", &["192.0.2.8"]);
    let sip = sip(&server);
    assert_eq!(located(&sip, &host("trunk.example", None, None)).await, ["TCP 192.0.2.1:5062"]);
    assert_eq!(located(&sip, &host("plain.example.", None, None)).await, ["UDP 192.0.2.8:5060"]);
    assert_eq!(located(&sip, &host("plain.example", None, Some(Transport::Tcp))).await, ["TCP 192.0.2.8:5060"]);
}

#[tokio::test]
async fn a_written_port_asks_for_addresses_only_and_a_written_transport_for_no_naptr() {
    let server = NameServer::start().await;
    server
        .naptr("example.com", &[(10, 1, "SIP+D2T", "_sip._tcp.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 0, 5060, "a.example.com")])
        .srv("_sips._tcp.example.com", &[(1, 0, 5071, "a.example.com")])
        .address_of("a.example.com", &["192.0.2.1"])
        .address_of("example.com", &["192.0.2.9"]);
    let sip = sip(&server);
    assert_eq!(located(&sip, &host("example.com", Some(5090), None)).await, ["UDP 192.0.2.9:5090"]);
    assert_eq!(server.asked("_sip._tcp.example.com", RecordType::SRV), 0);
    let uri = Uri::parse("sips:example.com").unwrap();
    let by_scheme = Destination::from_uri(&uri.view(), None).unwrap();
    assert_eq!(located(&sip, &by_scheme).await, ["TLS 192.0.2.1:5071"]);
    assert_eq!(server.asked("example.com", RecordType::NAPTR), 0);
}

#[tokio::test]
async fn addresses_need_no_name_server() {
    let server = NameServer::start().await;
    let sip = sip(&server);
    assert_eq!(located(&sip, &host("192.0.2.5", None, None)).await, ["UDP 192.0.2.5:5060"]);
    assert_eq!(located(&sip, &host("2001:db8::1", None, Some(Transport::Tls))).await, ["TLS [2001:db8::1]:5061"]);
    assert_eq!(located(&sip, &host("localhost", Some(5070), None)).await, ["UDP 127.0.0.1:5070"]);
    assert!(server.zone.lock().unwrap().asked.is_empty());
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let server = NameServer::start().await;
    server.address_of("pbx.lan", &["192.0.2.1"]);
    let directory = tempfile::tempdir().unwrap();
    let hosts_file = directory.path().join("hosts");
    std::fs::write(&hosts_file, "# ours\n192.0.2.77 PBX.lan pbx\nnonsense\n").unwrap();
    let config = NetConfig { hosts_file, ..config(&server) };
    let (sip, _inbox) = endpoint(config, &[Listen::udp(any(Ipv4Addr::LOCALHOST))], &[]);
    for name in ["pbx.lan", "pbx"] {
        assert_eq!(located(&sip, &host(name, None, None)).await, ["UDP 192.0.2.77:5060"]);
    }
    assert!(server.zone.lock().unwrap().asked.is_empty());
}

#[tokio::test]
async fn only_families_that_we_listen_on_are_asked_for() {
    let server = NameServer::start().await;
    server.address_of("both.example", &["192.0.2.1", "2001:db8::1"]).address_of("six.example", &["2001:db8::6"]);
    let v4 = Listen::udp(any(Ipv4Addr::LOCALHOST));
    let v6 = Listen::udp(any("::1".parse::<IpAddr>().unwrap()));
    let (only4, _a) = endpoint(config(&server), std::slice::from_ref(&v4), &[]);
    assert_eq!(located(&only4, &host("both.example", Some(5060), None)).await, ["UDP 192.0.2.1:5060"]);
    let reason = refused(&only4, &host("six.example", Some(5060), None)).await;
    assert!(reason.contains("no IPv4 address"), "{reason}");
    assert_eq!(server.asked("both.example", RecordType::AAAA), 0);
    let (both, _b) = endpoint(config(&server), &[v4, v6], &[]);
    let located = located(&both, &host("both.example", Some(5060), None)).await;
    assert_eq!(located, ["UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060"]);
}

#[tokio::test]
async fn an_answer_of_a_thousand_records_becomes_a_few_targets_and_few_questions() {
    let server = NameServer::start().await;
    let names: Vec<String> = (0..1_000).map(|i| format!("h{i}.example")).collect();
    let records: Vec<(u16, u16, u16, &str)> =
        names.iter().enumerate().map(|(i, name)| (i as u16, 0, 5060, name.as_str())).collect();
    server.srv("_sip._tcp.big.example", &records);
    for name in &names {
        server.address_of(name, &["192.0.2.1"]);
    }
    let addresses = (0..1_000u32).map(|i| address(IpAddr::from((0x0a00_0000 + i).to_be_bytes())));
    server.says("many.example", RecordType::A, Reply::Records(addresses.collect()));
    let sip = sip(&server);
    assert_eq!(located(&sip, &host("big.example", None, Some(Transport::Tcp))).await, ["TCP 192.0.2.1:5060"]);
    // A question that is sent again is the same question.
    let asked = server.zone.lock().unwrap().asked.clone();
    let hosts: BTreeSet<_> = asked.iter().filter(|(_, kind)| *kind == RecordType::A).map(|(name, _)| name).collect();
    assert_eq!(hosts.len(), 16);
    assert_eq!(located(&sip, &host("many.example", Some(5060), None)).await.len(), 16);
}

#[tokio::test]
async fn an_alias_is_followed_and_a_loop_of_aliases_ends() {
    let server = NameServer::start().await;
    server
        .alias("www.example", RecordType::A, "a.example")
        .address_of("a.example", &["192.0.2.1"])
        .alias("one.example", RecordType::A, "two.example")
        .alias("two.example", RecordType::A, "one.example");
    let sip = sip(&server);
    assert_eq!(located(&sip, &host("www.example", Some(5060), None)).await, ["UDP 192.0.2.1:5060"]);
    refused(&sip, &host("one.example", Some(5060), None)).await;
    assert!(server.asked("one.example", RecordType::A) < 20);
}

#[tokio::test]
async fn a_failing_or_silent_name_server_is_told_apart_from_a_name_that_is_not_there() {
    let server = NameServer::start().await;
    server
        .says("fails.example", RecordType::A, Reply::Fail(ResponseCode::ServFail))
        .says("silent.example", RecordType::A, Reply::Silence)
        .says("empty.example", RecordType::TXT, Reply::Records(Vec::new()));
    let sip = sip(&server);
    for (name, words) in [
        ("fails.example", "the name servers fail"),
        ("silent.example", "the name servers do not answer"),
        ("absent.example", "there is no such name"),
        ("empty.example", "it has no IPv4 address"),
    ] {
        let start = Instant::now();
        let reason = refused(&sip, &host(name, Some(5060), None)).await;
        assert!(reason.contains(words), "{name}: {reason}");
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
    }
}

#[tokio::test]
async fn good_answers_bad_answers_and_failures_are_not_asked_for_again_at_once() {
    let server = NameServer::start().await;
    // Records whose TTL is 0 are kept nevertheless, for a little while.
    server.address_of("good.example", &["192.0.2.1"]).says(
        "fails.example",
        RecordType::A,
        Reply::Fail(ResponseCode::ServFail),
    );
    let sip = sip(&server);
    for name in ["good.example", "absent.example", "fails.example"] {
        let destination = host(name, Some(5060), None);
        let first = soon("an answer", sip.locate(&destination)).await.is_ok();
        let asked = server.asked(name, RecordType::A);
        assert!(asked > 0);
        for _ in 0..10 {
            assert_eq!(soon("an answer", sip.locate(&destination)).await.is_ok(), first);
        }
        assert_eq!(server.asked(name, RecordType::A), asked, "{name}");
    }
}

#[tokio::test]
async fn a_service_that_is_withdrawn_is_not_looked_for_elsewhere() {
    let server = NameServer::start().await;
    server.srv("_sip._tcp.gone.example", &[(0, 0, 0, "")]).address_of("gone.example", &["192.0.2.1"]);
    let reason = refused(&sip(&server), &host("gone.example", None, Some(Transport::Tcp))).await;
    assert!(reason.contains("not served there"), "{reason}");
}

#[tokio::test]
async fn a_server_without_address_is_named() {
    let server = NameServer::start().await;
    server.srv("_sip._tcp.example.com", &[(1, 0, 5060, "lost.example.com")]);
    let reason = refused(&sip(&server), &host("example.com", None, Some(Transport::Tcp))).await;
    assert!(reason.contains("lost.example.com") && reason.contains("no such name"), "{reason}");
}

#[tokio::test]
async fn search_domains_are_not_tried() {
    let server = NameServer::start().await;
    refused(&sip(&server), &host("pbx", Some(5060), None)).await;
    let asked = server.zone.lock().unwrap().asked.clone();
    assert!(asked.iter().all(|(name, _)| name == "pbx."), "{asked:?}");
}

#[tokio::test]
async fn a_name_in_the_contact_of_a_peer_is_never_looked_up() {
    let server = NameServer::start().await;
    let listen = [Listen::udp(any(Ipv4Addr::LOCALHOST))];
    let (sip, mut inbox) = endpoint(config(&server), &listen, &["127.0.0.1/32"]);
    let peer = UdpSocket::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let own = peer.local_addr().unwrap();
    let invite = format!(
        "INVITE sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP via.example;rport;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:a@from.example>;tag=1\r\nTo: <sip:us@127.0.0.1>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@contact.example>\r\nRecord-Route: <sip:route.example;lr>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{}",
        SDP.len(),
        String::from_utf8_lossy(SDP)
    );
    peer.send_to(invite.as_bytes(), sip.local_addr()).await.unwrap();
    let Some(Arrival::Call(call, _events)) = soon("the call", inbox.recv()).await else { panic!("no call") };
    let leg = call.leg;
    sip.run(move |endpoint, now| endpoint.answer(now, leg, SDP.to_vec())).await.unwrap().unwrap();
    let mut buffer = vec![0; 4_096];
    let to_tag = loop {
        let length = soon("the 200", peer.recv(&mut buffer)).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.starts_with("SIP/2.0 200") {
            break text.lines().find(|line| line.starts_with("To:")).unwrap().to_owned();
        }
    };
    let ack = format!(
        "ACK sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP via.example;rport;branch=z9hG4bK2\r\nMax-Forwards: 70\r\n\
         From: <sip:a@from.example>;tag=1\r\n{to_tag}\r\nCall-ID: c1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    peer.send_to(ack.as_bytes(), sip.local_addr()).await.unwrap();
    sip.run(move |endpoint, now| endpoint.hangup(now, leg, &[])).await.unwrap().unwrap();
    loop {
        let (length, from) = soon("the BYE", peer.recv_from(&mut buffer)).await.unwrap();
        if buffer[..length].starts_with(b"BYE ") {
            assert_eq!((from, peer.local_addr().unwrap()), (sip.local_addr(), own));
            break;
        }
    }
    assert!(server.zone.lock().unwrap().asked.is_empty());
}
