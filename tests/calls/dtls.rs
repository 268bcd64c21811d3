//! Calls of peers with which no handshake can succeed: their DTLS refuses every cipher suite of ours.

use crate::support::TestServer;
use offhook::base::Random;
use offhook::call::{CallEvent, MediaTerms};
use offhook::media::dtls::Identity;
use offhook::net::{self, LegEvents, Sip};
use offhook::sdp::{Codec, Keying, SrtpPolicy};
use offhook::sip::event::Party;
use offhook::sip::{EndpointConfig, Event, LegId, OutgoingInvite, Uri};
use offhook::tools::EgressPolicy;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const FINGERPRINT: &str =
    "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1";
/// handshake_failure, in clear.
const REFUSAL: [u8; 15] = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40];

async fn server(srtp: SrtpPolicy) -> TestServer {
    TestServer::start_with(AGENT, &[], EgressPolicy::default(), |plan| {
        let identity = Identity::new(&mut Random::system());
        plan.trunks[0].terms.media =
            MediaTerms { srtp, keying: vec![Keying::Dtls], identity, ..MediaTerms::from(&[Codec::Pcmu]) };
    })
    .await
}

/// A phone whose RTP port refuses every hello.
struct Refuser {
    sip: Sip,
    leg: LegId,
    events: LegEvents,
    media: UdpSocket,
}

fn description(media: &UdpSocket, proto: &str, more: &str) -> Vec<u8> {
    let port = media.local_addr().unwrap().port();
    format!(
        "v=0\r\no=- 7 7 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} {proto} 0\r\n{more}"
    )
    .into()
}

impl Refuser {
    async fn call(server: &TestServer) -> Self {
        let (sip, _inbox) =
            net::start_udp(SocketAddr::from(([127, 0, 0, 1], 0)), Random::system(), |s| EndpointConfig::udp(s, s))
                .unwrap();
        let media = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = server.server.sip.local_addr();
        let from = Party { display: None, uri: Uri::sip_address(sip.local_addr()).with_user("phone") };
        let keys = format!("a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:passive\r\n");
        let offer = description(&media, "UDP/TLS/RTP/SAVP", &keys);
        let invite = OutgoingInvite::new(Uri::sip_address(target).with_user("agent"), target, from, offer);
        let (leg, events) = sip.invite(invite).await.unwrap();
        Self { sip, leg, events, media }
    }

    /// Refuses hellos until the call changes or ends: the offer that came, or `None`.
    async fn refuse(&mut self) -> Option<String> {
        let mut packet = [0; 2_000];
        let told = async {
            loop {
                tokio::select! {
                    received = self.media.recv_from(&mut packet) => {
                        let (_, from) = received.unwrap();
                        assert_eq!(packet[0], 22, "a hello, and nothing in clear before");
                        self.media.send_to(&REFUSAL, from).await.unwrap();
                    }
                    event = self.events.recv() => match event {
                        Some(Event::Reoffer { sdp: Some(offer), .. }) => return Some(String::from_utf8(offer).unwrap()),
                        Some(Event::Ended { .. }) | None => return None,
                        Some(_) => {}
                    },
                }
            }
        };
        tokio::time::timeout(crate::support::PATIENCE, told).await.expect("an offer or the end")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_handshake_cannot_succeed_goes_on_in_clear_where_encryption_is_only_preferred() {
    let server = server(SrtpPolicy::Preferred).await;
    let mut phone = Refuser::call(&server).await;
    let offer = phone.refuse().await.expect("another offer");
    assert!(offer.contains(" RTP/AVP 0") && !offer.contains("fingerprint"), "{offer}");
    let (answer, leg) = (description(&phone.media, "RTP/AVP", ""), phone.leg);
    phone.sip.run(move |endpoint, now| endpoint.answer_reoffer(now, leg, answer)).await.unwrap().unwrap();
    let mut packet = [0; 2_000];
    let heard = async {
        loop {
            let (length, _) = phone.media.recv_from(&mut packet).await.unwrap();
            if packet[0] == 0x80 {
                return (length, packet[1] & 0x7F);
            }
        }
    };
    let heard = tokio::time::timeout(crate::support::PATIENCE, heard).await.expect("audio");
    assert_eq!(heard, (172, 0), "20 ms of \u{b5}-law in clear");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_encryption_is_required_such_a_call_ends_with_the_reason() {
    let mut server = server(SrtpPolicy::Required).await;
    let mut phone = Refuser::call(&server).await;
    assert_eq!(phone.refuse().await, None, "no offer in clear");
    let reason = server.event("the end", |event| match event {
        CallEvent::CallEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason.contains("refused every cipher suite") && reason.contains("SDES over TLS"), "{reason}");
}
