//! Bad input from the network: each kind gets a clear answer or none, and the next good call is served.

mod support;

use offhook::tools::EgressPolicy;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use support::{PATIENCE, Phone, TestServer};

const AGENT: &str = include_str!("data/agents/greeter.yaml");
/// Long enough for an answer on loopback; a test that expects silence waits this long once.
const SILENCE: Duration = Duration::from_millis(400);

const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";

struct Peer {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Peer {
    fn new(server: SocketAddr, ip: [u8; 4]) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from((ip, 0))).unwrap();
        Self { socket, server }
    }

    fn request(&self, method: &str, branch: &str, call: &str, to_tag: &str, body: &str) -> String {
        let (own, server) = (self.socket.local_addr().unwrap(), self.server);
        let sequence = if method == "BYE" { 2 } else { 1 };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:agent@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:peer@{own}>;tag=f{call}\r\nTo: <sip:agent@{server}>{to_tag}\r\n\
             Call-ID: {call}@test\r\nCSeq: {sequence} {method}\r\nContact: <sip:peer@{own}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).unwrap();
    }

    fn receive(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4_096];
        let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The status line of the first final response.
    fn answer(&self, bytes: &[u8]) -> String {
        self.send(bytes);
        loop {
            let response = self.receive(PATIENCE).expect("no final response");
            if !response.starts_with("SIP/2.0 1") {
                return response.lines().next().unwrap_or_default().to_owned();
            }
        }
    }
}

async fn server() -> (TestServer, Peer) {
    let server = TestServer::start(AGENT, &[], EgressPolicy::default()).await;
    let peer = Peer::new(server.server.sip.local_addr(), [127, 0, 0, 1]);
    (server, peer)
}

async fn still_serves(server: &mut TestServer) {
    let phone = Phone::call(&server.server, [127, 0, 0, 1]).await.unwrap();
    phone.line.hang_up();
    server.event("the call's end", |e| matches!(e, offhook::call::CallEvent::CallEnded { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_gets_no_answer_and_the_next_call_is_served() {
    let (mut server, peer) = server().await;
    let mut random = offhook::base::Random::seeded(5);
    for length in [0, 1, 2, 4, 12, 100, 1_500, 60_000] {
        let garbage: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
        peer.send(&garbage);
    }
    peer.send(b"\r\n\r\n\r\n");
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(peer.receive(SILENCE), None);
    still_serves(&mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_cut_anywhere_is_refused_or_dropped_and_harms_nobody() {
    let (mut server, peer) = server().await;
    let whole = peer.request("INVITE", "cut", "cut", "", OFFER);
    for length in (0..whole.len()).step_by(7) {
        peer.send(&whole.as_bytes()[..length]);
    }
    while let Some(answer) = peer.receive(SILENCE) {
        assert!(answer.starts_with("SIP/2.0 4") || answer.starts_with("SIP/2.0 1"), "{answer}");
    }
    still_serves(&mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_without_audio_or_without_a_known_codec_gets_488() {
    let (_server, peer) = server().await;
    let video = OFFER.replace("m=audio 40000 RTP/AVP 0", "m=video 40000 RTP/AVP 96\r\na=rtpmap:96 H264/90000");
    let g729 = OFFER.replace("RTP/AVP 0", "RTP/AVP 18");
    for (name, body) in [("video", video.as_str()), ("g729", g729.as_str())] {
        let request = peer.request("INVITE", name, name, "", body);
        assert!(peer.answer(request.as_bytes()).starts_with("SIP/2.0 488"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_that_cannot_be_read_is_refused_with_4xx() {
    let (_server, peer) = server().await;
    for (name, body) in [("empty-lines", "\r\n\r\n"), ("words", "hello there"), ("half", &OFFER[..30])] {
        let request = peer.request("INVITE", name, name, "", body);
        assert!(peer.answer(request.as_bytes()).starts_with("SIP/2.0 4"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_invite_with_the_same_branch_is_the_same_call() {
    let (mut server, peer) = server().await;
    let request = peer.request("INVITE", "twice", "twice", "", OFFER);
    assert!(peer.answer(request.as_bytes()).starts_with("SIP/2.0 200"));
    assert!(peer.answer(request.as_bytes()).starts_with("SIP/2.0 200"), "the retransmission gets the same answer");
    assert_eq!(server.server.supervisor.active_calls(), 1);
    server.event("one call", |e| matches!(e, offhook::call::CallEvent::CallStarted { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_for_an_unknown_dialog_gets_481() {
    let (_server, peer) = server().await;
    let request = peer.request("BYE", "bye", "nobody", ";tag=none", "");
    assert!(peer.answer(request.as_bytes()).starts_with("SIP/2.0 481"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_source_gets_no_answer_at_all() {
    let (server, _) = server().await;
    let stranger = Peer::new(server.server.sip.local_addr(), [127, 0, 0, 77]);
    for method in ["OPTIONS", "INVITE", "REGISTER", "BYE"] {
        stranger.send(stranger.request(method, method, method, "", "").as_bytes());
    }
    assert_eq!(stranger.receive(SILENCE), None);
}
