//! SIP over TCP on loopback: framing, reuse, reconnection, limits, whole calls.

use offhook::base::Random;
use offhook::net::{self, Arrival, Inbox, LegEvents, Listen, NetConfig, Sip, limits};
use offhook::sip::event::{EndCause, Event, Party};
use offhook::sip::{
    EndpointConfig, KnownPeer, LegId, LocalAddress, OutgoingInvite, OutgoingOptions, StreamDeadlines, Target, Transport,
    Uri,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time: {what}"))
}

fn any(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 0)
}

/// An endpoint that knows everybody on `peers`, listening by UDP and TCP on one address.
fn server_with(config: NetConfig, ip: IpAddr, peers: &[&str]) -> (Sip, Inbox) {
    let listen = [Listen::tcp(any(ip)), Listen::udp(any(ip))];
    net::start_with(config, &listen, Random::system(), |bound| {
        let local = bound.iter().map(|listen| LocalAddress {
            transport: listen.transport,
            socket: listen.address,
            advertised: listen.address,
            for_peers: Vec::new(),
        });
        EndpointConfig {
            local: local.collect(),
            known_peers: vec![KnownPeer::by_source("pbx", peers.iter().map(|n| n.parse().unwrap()).collect())],
            ..EndpointConfig::udp(any(ip), any(ip))
        }
    })
    .unwrap()
}

fn server() -> (Sip, Inbox) {
    server_with(NetConfig::default(), Ipv4Addr::LOCALHOST.into(), &["127.0.0.1/32"])
}

fn options(cseq: u32, via: SocketAddr) -> String {
    format!(
        "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:us@127.0.0.1>\r\nCall-ID: c{cseq}\r\nCSeq: {cseq} OPTIONS\r\n\
         Contact: <sip:a@{via}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Reads one message without body.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(soon("a message", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// A 200 to a request read with [`read_head`].
fn ok_to(request: &str) -> String {
    let keep = |line: &&str| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|n| line.starts_with(n));
    let headers: Vec<&str> = request.lines().filter(keep).collect();
    format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", headers.join("\r\n"))
}

fn is_end(read: std::io::Result<usize>) -> bool {
    matches!(read, Ok(0) | Err(_))
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    is_end(soon("the end of the stream", stream.read(&mut [0; 1])).await)
}

fn probe(target: SocketAddr) -> OutgoingOptions {
    let uri = Uri::sip_address(target);
    OutgoingOptions {
        from: Party { display: None, uri: uri.with_user("probe") },
        uri,
        target: Target { transport: Transport::Tcp, remote: target },
        account: None,
    }
}

#[tokio::test]
async fn a_message_in_single_bytes_and_two_in_one_segment_are_answered_on_their_stream() {
    let (sip, _inbox) = server();
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    // Another port than the stream's, as listening peers give: the answer comes back on the stream nevertheless.
    let via = ([127, 0, 0, 1], 9).into();
    stream.set_nodelay(true).unwrap();
    for byte in options(1, via).bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert!(read_head(&mut stream).await.starts_with("SIP/2.0 200"));
    stream.write_all((options(2, via) + &options(3, via)).as_bytes()).await.unwrap();
    for cseq in ["CSeq: 2 OPTIONS", "CSeq: 3 OPTIONS"] {
        assert!(read_head(&mut stream).await.contains(cseq));
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_a_single_line_break() {
    let (sip, _inbox) = server();
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    stream.write_all(options(1, sip.local_addr()).as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("\r\nSIP/2.0 200"));
}

#[tokio::test]
async fn a_stream_that_lost_its_framing_is_closed() {
    let (sip, _inbox) = server();
    for bad in ["Content-Length: 4000000000", "X: y", "Content-Length: 1\r\nContent-Length: 2"] {
        let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
        stream.write_all(format!("OPTIONS sip:a SIP/2.0\r\n{bad}\r\n\r\n").as_bytes()).await.unwrap();
        assert!(is_closed(&mut stream).await, "{bad}");
    }
}

#[tokio::test]
async fn slow_headers_slow_bodies_and_silence_are_closed() {
    let short = Duration::from_millis(60);
    let long = Duration::from_secs(3_600);
    for (header, body, idle, sent) in [
        (short, long, long, "OPTIONS sip:a SIP/2.0\r\n"),
        (long, short, long, "OPTIONS sip:a SIP/2.0\r\nContent-Length: 9\r\n\r\nab"),
        (long, long, short, ""),
    ] {
        let deadlines = StreamDeadlines { header, body, idle };
        let config = NetConfig { stranger_deadlines: deadlines, peer_deadlines: deadlines, ..NetConfig::default() };
        let (sip, _inbox) = server_with(config, Ipv4Addr::LOCALHOST.into(), &["127.0.0.1/32"]);
        let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert!(is_closed(&mut stream).await, "{sent}");
    }
}

#[tokio::test]
async fn a_stranger_is_not_kept() {
    let (sip, _inbox) = server_with(NetConfig::default(), Ipv4Addr::LOCALHOST.into(), &["192.0.2.0/24"]);
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn the_33rd_stream_from_one_source_of_a_wide_network_is_closed_and_other_sources_still_connect() {
    let (sip, _inbox) = server_with(NetConfig::default(), Ipv4Addr::LOCALHOST.into(), &["127.0.0.0/8"]);
    let connect = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(any(from)).unwrap();
        socket.connect(sip.local_addr()).await.unwrap()
    };
    let mut streams = Vec::new();
    for cseq in 1..=limits::CONNECTIONS_PER_SOURCE as u32 {
        let mut stream = connect([127, 0, 0, 3]).await;
        stream.write_all(options(cseq, any([127, 0, 0, 3])).as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("SIP/2.0 200"));
        streams.push(stream);
    }
    // The answers show that the endpoint's transactions made an acquaintance of the source; one that only connects
    // stays a stranger.
    let mut idle = Vec::new();
    for _ in 0..limits::CONNECTIONS_PER_SOURCE {
        idle.push(connect([127, 0, 0, 4]).await);
    }
    let mut one_too_many = connect([127, 0, 0, 4]).await;
    assert!(is_closed(&mut one_too_many).await);
    let mut other = connect([127, 0, 0, 5]).await;
    other.write_all(options(1, any([127, 0, 0, 5])).as_bytes()).await.unwrap();
    assert!(read_head(&mut other).await.starts_with("SIP/2.0 200"));
}

#[tokio::test]
async fn requests_reuse_an_open_stream_and_open_another_once_the_peer_has_closed_it() {
    let (sip, _inbox) = server();
    let peer = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let target = peer.local_addr().unwrap();
    for _ in 0..2 {
        let answer_two = async {
            let (mut stream, _) = peer.accept().await.unwrap();
            for _ in 0..2 {
                let request = read_head(&mut stream).await;
                assert!(request.contains("Via: SIP/2.0/TCP"));
                stream.write_all(ok_to(&request).as_bytes()).await.unwrap();
            }
            stream
        };
        let ask_two = async {
            for _ in 0..2 {
                assert_eq!(sip.options(probe(target)).await.unwrap().unwrap().0, 200);
            }
        };
        let (mut stream, ()) = soon("two probes", async { tokio::join!(answer_two, ask_two) }).await;
        stream.shutdown().await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
}

#[tokio::test]
async fn a_refused_connection_fails_the_request_at_once_and_is_told_in_words() {
    let (sip, _inbox) = server();
    let gone = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap().local_addr().unwrap();
    assert_eq!(soon("the failure", sip.options(probe(gone))).await.unwrap(), None);
    let reason = sip.last_transport_error(Transport::Tcp, gone).unwrap();
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_breaks_off_in_the_middle_of_a_request_fails_it_at_once() {
    let (sip, _inbox) = server();
    let peer = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let target = peer.local_addr().unwrap();
    let break_off = async {
        let (mut stream, _) = peer.accept().await.unwrap();
        read_head(&mut stream).await;
    };
    let (answer, ()) = soon("the failure", async { tokio::join!(sip.options(probe(target)), break_off) }).await;
    assert_eq!(answer.unwrap(), None);
    assert!(sip.last_transport_error(Transport::Tcp, target).is_some());
}

#[tokio::test]
async fn a_request_to_the_address_that_a_peer_names_as_its_own_goes_by_the_stream_it_opened() {
    let (sip, _inbox) = server();
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    let listening = SocketAddr::from(([127, 0, 0, 1], 9));
    stream.write_all(options(1, listening).as_bytes()).await.unwrap();
    read_head(&mut stream).await;
    let answer = async {
        let request = read_head(&mut stream).await;
        stream.write_all(ok_to(&request).as_bytes()).await.unwrap();
    };
    let (answered, ()) = soon("the probe", async { tokio::join!(sip.options(probe(listening)), answer) }).await;
    assert_eq!(answered.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let (sip, _inbox) = server();
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    // Each request is answered; the answers fill the kernel's buffers, then the queue.
    let mut cseq = 0;
    let flood = async {
        loop {
            cseq += 1;
            if writer.write_all(options(cseq, any([127, 0, 0, 1])).as_bytes()).await.is_err() {
                return;
            }
        }
    };
    soon("the cut", flood).await;
    let mut rest = Vec::new();
    assert!(soon("the end", reader.read_to_end(&mut rest)).await.is_err() || !rest.is_empty());
}

async fn next(events: &mut LegEvents, what: &str) -> Event {
    soon(what, events.recv()).await.expect("an event")
}

async fn place(from: &Sip, to: &Sip) -> (LegId, LegEvents) {
    let target = to.local_addr();
    let uri = Uri::sip_address(target).with_user("agent");
    let own = Party { display: None, uri: Uri::sip_address(from.local_addr()).with_user("phone") };
    let mut invite = OutgoingInvite::new(uri, target, own, SDP.to_vec());
    invite.targets = vec![Target { transport: Transport::Tcp, remote: target }];
    from.invite(invite).await.unwrap()
}

async fn call_between(ip: IpAddr, network: &str) {
    let (alice, _alices) = server_with(NetConfig::default(), ip, &[network]);
    let (bob, mut bobs) = server_with(NetConfig::default(), ip, &[network]);
    let (_, mut events) = place(&alice, &bob).await;
    let Some(Arrival::Call(call, mut at_bob)) = soon("the call", bobs.recv()).await else { panic!("no call") };
    assert_eq!((call.transport, call.local), (Transport::Tcp, bob.local_addr()));
    let answering = call.leg;
    bob.run(move |endpoint, now| endpoint.answer(now, answering, SDP.to_vec())).await.unwrap().unwrap();
    assert!(matches!(next(&mut events, "the answer").await, Event::Answered { .. }));
    assert!(matches!(next(&mut at_bob, "the ACK").await, Event::Established { .. }));
    // The callee hangs up: its BYE goes to the caller's Contact by the stream that the caller opened.
    bob.run(move |endpoint, now| endpoint.hangup(now, answering, &[])).await.unwrap().unwrap();
    loop {
        match next(&mut events, "the BYE").await {
            Event::Ended { cause, .. } => return assert_eq!(cause, EndCause::Remote),
            other => assert!(matches!(other, Event::Established { .. }), "{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_call_goes_over_tcp_from_invite_to_bye() {
    call_between(Ipv4Addr::LOCALHOST.into(), "127.0.0.1/32").await;
}

#[tokio::test]
async fn a_call_goes_over_tcp_on_ipv6() {
    call_between("::1".parse().unwrap(), "::1/128").await;
}
