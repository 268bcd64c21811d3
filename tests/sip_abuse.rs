//! Strangers, scanners and forgers against real sockets on loopback. What the endpoint does in virtual time is tested
//! beside it; here the socket, its task and both ends of a digest are real.

use offhook::base::Random;
use offhook::net::{self, Arrival, Inbox, Sip};
use offhook::sip::digest::Credentials;
use offhook::sip::event::{Party, Peer};
use offhook::sip::{Account, EndpointConfig, Event, InboundAuthentication, KnownPeer, LegId, OutgoingInvite, Uri};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const KNOWN: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);

fn by_address() -> KnownPeer {
    KnownPeer::by_source("carrier", vec![IpAddr::from(KNOWN).into()])
}

/// A peer with a password that may call from the whole loopback network.
fn by_password() -> KnownPeer {
    KnownPeer {
        authentication: Some(InboundAuthentication {
            realm: "offhook".to_owned(),
            credentials: Credentials::new("alice", "secret"),
        }),
        ..KnownPeer::by_source("office", vec!["127.0.0.0/8".parse().unwrap()])
    }
}

fn start(peers: Vec<KnownPeer>) -> (Sip, Inbox) {
    net::start_udp(SocketAddr::from(([127, 0, 0, 1], 0)), Random::system(), |local| EndpointConfig {
        known_peers: peers,
        ..EndpointConfig::udp(local, local)
    })
    .unwrap()
}

fn socket(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What a scanner sends: the methods and user names of a honeypot's log.
fn scan(method: &str, n: usize, from: SocketAddr) -> String {
    let sdp = if method == "INVITE" { "v=0\r\n".repeat(50) } else { String::new() };
    format!(
        "{method} sip:{}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{n};rport\r\nMax-Forwards: 70\r\n\
         From: \"sipvicious\"<sip:{n}@1.1.1.1>;tag={n:x}\r\nTo: \"sipvicious\"<sip:{n}@1.1.1.1>\r\nCall-ID: {n}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:{n}@{from}>\r\nUser-Agent: friendly-scanner\r\nAccept: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        100 + n % 900,
        sdp.len()
    )
}

/// Asks as a peer that is known by its address, and waits for the answer: everything sent before it was read by then.
fn ping(server: SocketAddr, socket: &UdpSocket, n: usize) -> String {
    socket.send_to(scan("OPTIONS", n, socket.local_addr().unwrap()).as_bytes(), server).unwrap();
    let mut buffer = [0; 2_000];
    let (length, _) = socket.recv_from(&mut buffer).expect("a known peer is answered");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Bytes that came back so far.
fn received(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_000];
    let mut sum = 0;
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        sum += length;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_scanner_registers_get_no_answer_while_a_peer_does() {
    let (sip, _inbox) = start(vec![by_address()]);
    let (server, scanner, known) = (sip.local_addr(), socket(Ipv4Addr::new(127, 0, 66, 6)), socket(KNOWN));
    let from = scanner.local_addr().unwrap();
    for n in 0..4_254 {
        scanner.send_to(scan("REGISTER", n, from).as_bytes(), server).unwrap();
        if n % 50 == 49 {
            assert!(ping(server, &known, n).starts_with("SIP/2.0 200 "));
        }
    }
    for (n, method) in ["OPTIONS", "INVITE", "SUBSCRIBE", "ACK", "BYE", "CANCEL", "FOO"].iter().enumerate() {
        scanner.send_to(scan(method, 9_000 + n, from).as_bytes(), server).unwrap();
    }
    scanner.send_to(b"\0\x01 not SIP at all", server).unwrap();
    ping(server, &known, 9_999);
    assert_eq!(received(&scanner), 0);
    let counters = sip.run(|endpoint, _| endpoint.counters()).await.unwrap();
    assert_eq!(counters.unheard, 4_254 + 8);
    assert!(sip.run(|endpoint, _| endpoint.is_idle()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_password_is_asked_of_everybody_no_more_bytes_go_out_than_came_in() {
    let (sip, _inbox) = start(vec![by_address(), by_password()]);
    let (server, known) = (sip.local_addr(), socket(KNOWN));
    let scanners: Vec<UdpSocket> = (1..=20).map(|n| socket(Ipv4Addr::new(127, 1, n, 7))).collect();
    let mut sent = 0;
    for n in 0..2_000 {
        let scanner = &scanners[n % scanners.len()];
        let method = ["INVITE", "REGISTER", "OPTIONS", "REGISTER"][n / 20 % 4];
        sent += scanner.send_to(scan(method, n, scanner.local_addr().unwrap()).as_bytes(), server).unwrap();
        if n % 50 == 49 {
            ping(server, &known, 10_000 + n);
        }
    }
    let answered: usize = scanners.iter().map(received).sum();
    assert!(answered > 0 && answered <= sent, "{answered} of {sent}");
    let counters = sip.run(|endpoint, _| endpoint.counters()).await.unwrap();
    assert_eq!(counters.bans, 20, "{counters:?}");
    assert!(counters.challenged > 0 && counters.banned > 0, "{counters:?}");
    assert!(sip.run(|endpoint, _| endpoint.is_idle()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invites_from_forged_addresses_leave_nothing_behind_and_peers_are_served() {
    let (sip, mut inbox) = start(vec![by_address(), by_password()]);
    let (server, known) = (sip.local_addr(), socket(KNOWN));
    let forged: Vec<UdpSocket> =
        (0..=255).map(|n| UdpSocket::bind((Ipv4Addr::new(127, 2, n, 5), 0)).unwrap()).collect();
    for n in 0..20_000 {
        let socket = &forged[n % forged.len()];
        // A full buffer of the kernel loses some, as it does in a flood.
        let _ = socket.send_to(scan("INVITE", n, socket.local_addr().unwrap()).as_bytes(), server);
        if n % 50 == 49 {
            assert!(ping(server, &known, 50_000 + n).starts_with("SIP/2.0 200 "));
        }
    }
    assert!(sip.run(|endpoint, _| endpoint.is_idle()).await.unwrap());
    let counters = sip.run(|endpoint, _| endpoint.counters()).await.unwrap();
    assert!(counters.throttled > 5_000, "{counters:?}");
    let call = scan("INVITE", 99_999, known.local_addr().unwrap());
    known.send_to(call.as_bytes(), server).unwrap();
    let arrival = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap();
    assert!(matches!(arrival, Some(Arrival::Call(call, _)) if call.peer == Peer::Known("carrier".to_owned())));
}

/// Places a call as `user` and gives the final status, or `None` once the call reached the other side.
async fn call_as(caller: &Sip, server: SocketAddr, inbox: &mut Inbox, user: &str, password: &str) -> Result<Peer, u16> {
    let from = Party { display: None, uri: Uri::parse("sip:caller@example.com").unwrap() };
    let target = Uri::sip_address(server).with_user("100");
    let mut invite = OutgoingInvite::new(target, server, from, b"v=0\r\n".repeat(60));
    invite.account = Some(Account::new(user, password));
    let (leg, mut events): (LegId, _) = caller.invite(invite).await.unwrap();
    let outcome = async {
        loop {
            tokio::select! {
                arrival = inbox.recv() => match arrival {
                    Some(Arrival::Call(call, _)) => return Ok(call.peer),
                    Some(_) => {}
                    None => return Err(0),
                },
                event = events.recv() => match event {
                    Some(Event::Ended { cause: offhook::sip::event::EndCause::Rejected { code, .. }, .. }) => {
                        return Err(code);
                    }
                    Some(_) => {}
                    None => return Err(0),
                },
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, outcome).await.unwrap();
    let _ = caller.run(move |endpoint, now| endpoint.hangup(now, leg, &[])).await;
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_the_right_password_calls_and_one_with_a_wrong_one_is_refused_then_banned() {
    let (sip, mut inbox) = start(vec![by_password()]);
    let (caller, _) = start(Vec::new());
    let server = sip.local_addr();
    let right = call_as(&caller, server, &mut inbox, "alice", "secret").await;
    assert_eq!(right, Ok(Peer::Known("office".to_owned())));
    assert_eq!(call_as(&caller, server, &mut inbox, "alice", "guess").await, Err(401));
    assert_eq!(call_as(&caller, server, &mut inbox, "mallory", "secret").await, Err(401));
    let counters = sip.run(|endpoint, _| endpoint.counters()).await.unwrap();
    assert!(counters.unauthenticated >= 2 && counters.bans == 0, "{counters:?}");
}
