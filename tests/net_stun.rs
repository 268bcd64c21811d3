//! Our address as a STUN server sees it, asked out of the SIP socket.

#[path = "support/streams.rs"]
mod streams;

use offhook::net::{Destination, Listen, NetConfig, NetError, Sip};
use std::net::{Ipv4Addr, SocketAddr};
use streams::{any, endpoint, soon};
use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec, TransactionId};
use tokio::net::UdpSocket;

const MAPPED: ([u8; 4], u16) = ([203, 0, 113, 9], 40_000);

async fn parties() -> (Sip, UdpSocket, Destination) {
    let (sip, _inbox) = endpoint(NetConfig::default(), &[Listen::udp(any(Ipv4Addr::LOCALHOST))], &[]);
    let server = UdpSocket::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let address = server.local_addr().unwrap();
    let destination =
        Destination { host: address.ip().to_string(), port: Some(address.port()), transport: None, tls: None };
    (sip, server, destination)
}

async fn request(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1_500];
    let (length, from) = soon("a request", server.recv_from(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    (buffer, from)
}

fn success(request: &[u8], id: Option<TransactionId>) -> Vec<u8> {
    let request = Message::from_bytes(request).unwrap();
    let id = id.unwrap_or_else(|| request.transaction_id());
    let kind = stun_types::message::MessageType::from_class_method(
        stun_types::message::MessageClass::Success,
        stun_types::message::BINDING,
    );
    let mut answer = Message::builder(kind, id, MessageWriteVec::new());
    answer.add_attribute(&XorMappedAddress::new(MAPPED.into(), id)).unwrap();
    answer.finish()
}

#[tokio::test]
async fn the_answer_to_the_second_request_counts_when_the_first_is_lost() {
    let (sip, server, destination) = parties().await;
    let answering = async {
        let (first, _) = request(&server).await;
        let (second, from) = request(&server).await;
        assert_eq!((first, from), (second.clone(), sip.local_addr()));
        server.send_to(&success(&second, None), from).await.unwrap();
    };
    let (mapped, ()) = tokio::join!(soon("the address", sip.mapped_address(&destination)), answering);
    assert_eq!(mapped.unwrap(), SocketAddr::from(MAPPED));
}

#[tokio::test]
async fn answers_with_another_transaction_or_from_elsewhere_are_not_believed() {
    let (sip, server, destination) = parties().await;
    let stranger = UdpSocket::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let answering = async {
        let (bytes, from) = request(&server).await;
        server.send_to(&success(&bytes, Some(7.into())), from).await.unwrap();
        stranger.send_to(&success(&bytes, None), from).await.unwrap();
        // Neither ended it: it is sent again.
        let (bytes, _) = request(&server).await;
        let mut refusal = Message::builder_error(&Message::from_bytes(&bytes).unwrap(), MessageWriteVec::new());
        refusal.add_attribute(&ErrorCode::new(500, "Server Error").unwrap()).unwrap();
        server.send_to(&refusal.finish(), from).await.unwrap();
    };
    let (mapped, ()) = tokio::join!(soon("the refusal", sip.mapped_address(&destination)), answering);
    match mapped {
        Err(NetError::Stun { reason, .. }) => assert!(reason.contains("500 Server Error"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_a_family_that_we_do_not_have_is_refused_at_once() {
    let (sip, ..) = parties().await;
    let server = Destination { host: "::1".to_owned(), port: None, transport: None, tls: None };
    assert!(matches!(soon("the refusal", sip.mapped_address(&server)).await, Err(NetError::Stun { .. })));
}
