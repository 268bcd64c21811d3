//! Endpoints on loopback and raw streams beside them. Every wait is bounded.
#![allow(dead_code, reason = "each test binary uses its own part")]

use offhook::base::Random;
use offhook::net::{self, Arrival, Inbox, LegEvents, Listen, NetConfig, Sip};
use offhook::sip::event::{EndCause, Event, Party};
use offhook::sip::{
    Account, DialogPolicy, EndpointConfig, KnownPeer, LocalAddress, OutgoingInvite, OutgoingOptions,
    RegistrationConfig, Target, Transport, Uri,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time: {what}"))
}

pub fn any(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 0)
}

/// An endpoint on these sockets that knows everybody on `peers`.
pub fn endpoint(config: NetConfig, listen: &[Listen], peers: &[&str]) -> (Sip, Inbox) {
    net::start_with(config, listen, Random::system(), |bound| {
        let local = bound.iter().map(|listen| LocalAddress {
            transport: listen.transport,
            socket: listen.address,
            advertised: listen.address,
            for_peers: Vec::new(),
        });
        EndpointConfig {
            local: local.collect(),
            known_peers: vec![KnownPeer::by_source("pbx", peers.iter().map(|n| n.parse().unwrap()).collect())],
            ..EndpointConfig::udp(bound[0].address, bound[0].address)
        }
    })
    .unwrap()
}

pub fn options(cseq: u32, via: SocketAddr) -> String {
    format!(
        "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:us@127.0.0.1>\r\nCall-ID: c{cseq}\r\nCSeq: {cseq} OPTIONS\r\n\
         Contact: <sip:a@{via}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Reads one message without body.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(soon("a message", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// A 200 to a request read with [`read_head`].
pub fn ok_to(request: &str) -> String {
    let keep = |line: &&str| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|n| line.starts_with(n));
    let headers: Vec<&str> = request.lines().filter(keep).collect();
    format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", headers.join("\r\n"))
}

pub async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(soon("the end of the stream", stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}

/// An OPTIONS to a target.
pub fn probe(target: Target) -> OutgoingOptions {
    let uri = Uri::sip_address(target.remote);
    OutgoingOptions { from: Party { display: None, uri: uri.with_user("probe") }, uri, target, account: None }
}

/// A registration of extension 1001 at these targets.
pub fn registration(targets: Vec<Target>) -> RegistrationConfig {
    let uri = Uri::sip_address(targets[0].remote);
    RegistrationConfig {
        aor: uri.with_user("1001"),
        registrar: uri,
        targets,
        outbound_proxy: None,
        display: None,
        account: Account::new("1001", "secret"),
        contact_user: "1001-token".to_owned(),
        expires: Duration::from_secs(3_600),
        dialog: DialogPolicy::default(),
    }
}

pub async fn next(events: &mut LegEvents, what: &str) -> Event {
    soon(what, events.recv()).await.expect("an event")
}

/// A call to these targets.
pub fn call_to(targets: Vec<Target>, from: SocketAddr) -> OutgoingInvite {
    let uri = Uri::sip_address(targets[0].remote).with_user("agent");
    let own = Party { display: None, uri: Uri::sip_address(from).with_user("phone") };
    OutgoingInvite { targets, ..OutgoingInvite::new(uri, from, own, SDP.to_vec()) }
}

/// Calls from one endpoint to the other, which answers and hangs up.
pub async fn call_through(alice: &Sip, targets: Vec<Target>, bob: &Sip, bobs: &mut Inbox, transport: Transport) {
    let (_, mut events) = alice.invite(call_to(targets, alice.local_addr())).await.unwrap();
    let Some(Arrival::Call(call, mut at_bob)) = soon("the call", bobs.recv()).await else { panic!("no call") };
    assert_eq!(call.transport, transport);
    let answering = call.leg;
    bob.run(move |endpoint, now| endpoint.answer(now, answering, SDP.to_vec())).await.unwrap().unwrap();
    assert!(matches!(next(&mut events, "the answer").await, Event::Answered { .. }));
    assert!(matches!(next(&mut at_bob, "the ACK").await, Event::Established { .. }));
    // The BYE of the callee goes to the caller's Contact, by the stream that the caller opened.
    bob.run(move |endpoint, now| endpoint.hangup(now, answering, &[])).await.unwrap().unwrap();
    loop {
        match next(&mut events, "the BYE").await {
            Event::Ended { cause, .. } => return assert_eq!(cause, EndCause::Remote),
            other => assert!(matches!(other, Event::Established { .. }), "{other:?}"),
        }
    }
}
