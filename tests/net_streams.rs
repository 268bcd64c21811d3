//! SIP over TCP on loopback: framing, reuse, reconnection, limits, whole calls.

#[path = "support/streams.rs"]
mod streams;

use offhook::net::{Arrival, Inbox, Listen, NetConfig, Sip, limits};
use offhook::sip::event::Event;
use offhook::sip::{OutgoingInvite, StreamDeadlines, Target, Transport};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use streams::{
    SDP, any, call_through, call_to, endpoint, is_closed, ok_to, options, probe, read_head, registration, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// An endpoint that knows everybody on `peers`, listening by TCP and UDP.
fn server_with(config: NetConfig, ip: IpAddr, peers: &[&str]) -> (Sip, Inbox) {
    endpoint(config, &[Listen::tcp(any(ip)), Listen::udp(any(ip))], peers)
}

fn server() -> (Sip, Inbox) {
    server_with(NetConfig::default(), Ipv4Addr::LOCALHOST.into(), &["127.0.0.1/32"])
}

fn tcp(remote: SocketAddr) -> Target {
    Target { transport: Transport::Tcp, remote }
}

/// An address that refuses connections for as long as its socket is held: it is bound and does not listen.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(any(Ipv4Addr::LOCALHOST)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
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
    // That they ask something and are answered does not make the source an acquaintance.
    for cseq in 1..=limits::CONNECTIONS_PER_SOURCE as u32 {
        let mut stream = connect([127, 0, 0, 4]).await;
        stream.write_all(options(cseq, any([127, 0, 0, 4])).as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("SIP/2.0 200"));
        streams.push(stream);
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
                assert_eq!(sip.options(probe(tcp(target))).await.unwrap().unwrap().0, 200);
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
    let (_held, gone) = refusing();
    assert_eq!(soon("the failure", sip.options(probe(tcp(gone)))).await.unwrap(), None);
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
    let (answer, ()) = soon("the failure", async { tokio::join!(sip.options(probe(tcp(target))), break_off) }).await;
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
    let (answered, ()) = soon("the probe", async { tokio::join!(sip.options(probe(tcp(listening))), answer) }).await;
    assert_eq!(answered.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_is_slowed_down_and_then_cut_off() {
    let config = NetConfig { write_time: Duration::from_millis(200), ..NetConfig::default() };
    let (sip, _inbox) = server_with(config, Ipv4Addr::LOCALHOST.into(), &["127.0.0.1/32"]);
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    // Each request is answered; the answers fill the kernel's buffers, then nothing moves.
    let requests: String = (0..100).map(|cseq| options(cseq, any([127, 0, 0, 1]))).collect();
    let flood = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    soon("the cut", flood).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_our_requests_is_cut_off_when_the_queue_is_full() {
    let (sip, _inbox) = server();
    let peer = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let target = tcp(peer.local_addr().unwrap());
    let place = async {
        let (mut ended, mut legs) = (None, Vec::new());
        while ended.is_none() {
            let call = OutgoingInvite { sdp: vec![b'a'; 60_000], ..call_to(vec![target], sip.local_addr()) };
            legs.push(sip.invite(call).await.unwrap().1);
            ended = legs.iter_mut().find_map(|events| events.try_recv());
        }
        ended
    };
    let (accepted, ended) = soon("the cut", async { tokio::join!(peer.accept(), place) }).await;
    assert!(matches!(ended, Some(Event::Ended { .. })), "{ended:?}");
    let reason = sip.last_transport_error(Transport::Tcp, target.remote).unwrap();
    assert!(reason.contains("does not read"), "{reason}");
    drop(accepted);
}

#[tokio::test]
async fn an_open_stream_is_kept_alive_with_pings() {
    let (sip, _inbox) = server();
    let peer = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let target = peer.local_addr().unwrap();
    sip.keep_alive(target, Transport::Tcp, Some(Duration::from_secs(1)));
    let answer = async {
        let (mut stream, _) = peer.accept().await.unwrap();
        let request = read_head(&mut stream).await;
        stream.write_all(ok_to(&request).as_bytes()).await.unwrap();
        let mut ping = [0; 4];
        soon("a ping", stream.read_exact(&mut ping)).await.unwrap();
        assert_eq!(&ping, b"\r\n\r\n");
        stream
    };
    let (answered, mut stream) = tokio::join!(sip.options(probe(tcp(target))), answer);
    assert_eq!(answered.unwrap().unwrap().0, 200);
    sip.keep_alive(target, Transport::Tcp, None);
    // Nothing but an answer to a question of ours comes from here on.
    stream.write_all(options(1, target).as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.trim_start().starts_with("SIP/2.0 200"));
}

#[tokio::test]
async fn a_binding_of_a_nat_is_kept_open_with_datagrams_out_of_the_sip_socket() {
    let (sip, _inbox) = server();
    let registrar = UdpSocket::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    sip.keep_alive(registrar.local_addr().unwrap(), Transport::Udp, Some(Duration::from_secs(1)));
    let mut buffer = [0; 100];
    let (length, from) = soon("a datagram", registrar.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..length], from), (&b"\r\n\r\n"[..], sip.bound()[1].address));
}

#[tokio::test]
async fn a_registration_comes_back_by_another_stream_when_its_own_breaks() {
    let (sip, _inbox) = server();
    let registrar = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let remote = registrar.local_addr().unwrap();
    let registration = registration(vec![tcp(remote)]);
    sip.run(move |endpoint, now| endpoint.register(now, registration)).await.unwrap().unwrap();
    for _ in 0..2 {
        let (mut stream, _) = soon("a stream", registrar.accept()).await.unwrap();
        let register = read_head(&mut stream).await;
        assert!(register.starts_with("REGISTER ") && register.contains(";transport=tcp"), "{register}");
        let contact = register.lines().find(|line| line.starts_with("Contact:")).unwrap();
        let ok = ok_to(&register).replace("Content-Length", &format!("{contact};expires=3600\r\nContent-Length"));
        stream.write_all(ok.as_bytes()).await.unwrap();
        // A question in between shows that the answer has been read before the stream breaks.
        stream.write_all(options(1, remote).as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    }
}

#[tokio::test]
async fn a_registrar_that_takes_connections_and_drops_what_comes_is_asked_again_by_another_connection() {
    let (sip, _inbox) = server();
    let registrar = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let registration = registration(vec![tcp(registrar.local_addr().unwrap())]);
    sip.run(move |endpoint, now| endpoint.register(now, registration)).await.unwrap().unwrap();
    let (mut first, _) = soon("a stream", registrar.accept()).await.unwrap();
    assert!(read_head(&mut first).await.starts_with("REGISTER "));
    let (mut second, _) = soon("another stream", registrar.accept()).await.unwrap();
    assert!(read_head(&mut second).await.starts_with("REGISTER "));
    assert!(is_closed(&mut first).await, "the silent one is not kept");
}

#[tokio::test]
async fn the_answer_to_a_call_whose_stream_broke_goes_to_where_the_caller_listens() {
    let (sip, mut inbox) = server();
    let caller = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let listening = caller.local_addr().unwrap();
    let invite = options(1, listening).replace("OPTIONS", "INVITE");
    let mut stream = TcpStream::connect(sip.local_addr()).await.unwrap();
    stream.write_all(invite.as_bytes()).await.unwrap();
    let Some(Arrival::Call(call, _events)) = soon("the call", inbox.recv()).await else { panic!("no call") };
    assert!(read_head(&mut stream).await.starts_with("SIP/2.0 100"));
    drop(stream);
    let leg = call.leg;
    let answer = sip.run(move |endpoint, now| endpoint.answer(now, leg, SDP.to_vec()));
    answer.await.unwrap().unwrap();
    let (mut again, _) = soon("another stream", caller.accept()).await.unwrap();
    assert!(read_head(&mut again).await.starts_with("SIP/2.0 200"));
}

#[tokio::test]
async fn a_call_goes_on_to_the_next_target_when_nothing_listens_at_the_first() {
    let (alice, _alices) = server();
    let (bob, mut bobs) = server();
    let (_held, dead) = refusing();
    call_through(&alice, vec![tcp(dead), tcp(bob.local_addr())], &bob, &mut bobs, Transport::Tcp).await;
    assert!(alice.last_transport_error(Transport::Tcp, dead).is_some());
}

#[tokio::test]
async fn hundreds_of_silent_streams_do_not_hold_up_a_call() {
    let (alice, _alices) = server();
    let (bob, mut bobs) = server();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(bob.local_addr()).await.unwrap();
        stream.write_all(b"OPTIONS sip:a SIP/2.0\r\n").await.unwrap();
        silent.push(stream);
    }
    call_through(&alice, vec![tcp(bob.local_addr())], &bob, &mut bobs, Transport::Tcp).await;
}

#[tokio::test]
async fn a_flood_on_one_stream_does_not_starve_the_others() {
    let (alice, _alices) = server();
    let (bob, mut bobs) = server();
    let mut flood = TcpStream::connect(bob.local_addr()).await.unwrap();
    let requests: String = (0..20).map(|cseq| options(cseq, any([127, 0, 0, 1]))).collect();
    let (mut answers, mut questions) = flood.split();
    let mut sink = [0; 65_536];
    let read = async { while answers.read(&mut sink).await.is_ok_and(|length| length > 0) {} };
    let write = async { while questions.write_all(requests.as_bytes()).await.is_ok() {} };
    let call = call_through(&alice, vec![tcp(bob.local_addr())], &bob, &mut bobs, Transport::Tcp);
    tokio::select! {
        () = call => {}
        () = read => panic!("the flood was cut off"),
        () = write => panic!("the flood was cut off"),
    }
}

async fn call_between(ip: IpAddr, network: &str) {
    let (alice, _alices) = server_with(NetConfig::default(), ip, &[network]);
    let (bob, mut bobs) = server_with(NetConfig::default(), ip, &[network]);
    call_through(&alice, vec![tcp(bob.local_addr())], &bob, &mut bobs, Transport::Tcp).await;
}

#[tokio::test]
async fn a_call_goes_over_tcp_from_invite_to_bye() {
    call_between(Ipv4Addr::LOCALHOST.into(), "127.0.0.1/32").await;
}

#[tokio::test]
async fn a_call_goes_over_tcp_on_ipv6() {
    call_between("::1".parse().unwrap(), "::1/128").await;
}

#[tokio::test]
async fn a_call_goes_over_udp_on_ipv6_beside_ipv4_on_the_same_port() {
    let v6 = "::1".parse::<IpAddr>().unwrap();
    let peers = ["127.0.0.1/32", "::1/128"];
    let (alice, _alices) = endpoint(NetConfig::default(), &[Listen::udp(any(v6))], &peers);
    let listen = [Listen::udp(any([0, 0, 0, 0])), Listen::udp(any(v6))];
    let (bob, mut bobs) = endpoint(NetConfig::default(), &listen, &peers);
    let target = Target::udp(bob.bound()[1].address);
    call_through(&alice, vec![target], &bob, &mut bobs, Transport::Udp).await;
    let port = bob.bound()[0].address.port();
    let both = [Listen::udp((v6, port).into())];
    let _beside = endpoint(NetConfig::default(), &both, &peers);
}
