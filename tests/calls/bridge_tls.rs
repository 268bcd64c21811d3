//! A bot behind TLS: its certificate has to be of an authority that is trusted, and for the host of its URL.

use crate::certificates::Authority;
use crate::support::bot::BotHost;
use crate::support::{Phone, TestServer, hum};
use futures_util::{SinkExt, StreamExt};
use offhook::call::CallEvent;
use offhook::net::TlsIdentity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

const CALLER: [u8; 4] = [127, 0, 0, 1];

fn acceptor(identity: &TlsIdentity) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&identity.certificate_file).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key_file).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn server(host: &BotHost, authority: &Authority) -> TestServer {
    let agent = host.agent("lean", "").replace("ws://", "wss://");
    let roots = std::fs::read(&authority.ca_file).unwrap();
    TestServer::start_trusting(&roots, &agent, host.policy()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_with_a_certificate_of_our_own_authority_holds_a_call_inside_tls() {
    let (authority, host) = (Authority::new("house"), BotHost::open().await);
    let acceptor = acceptor(&authority.sign("bot", &["127.0.0.1"], |_| ()));
    let server = server(&host, &authority).await;
    let bot = async {
        let stream = acceptor.accept(host.accept().await).await.expect("a handshake");
        assert!(stream.get_ref().1.protocol_version().is_some());
        #[expect(clippy::result_large_err, reason = "the crate's callback")]
        let subprotocol =
            |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
             mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
                let wanted = request.headers().get("sec-websocket-protocol").unwrap().clone();
                response.headers_mut().insert("sec-websocket-protocol", wanted);
                Ok(response)
            };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, subprotocol).await.unwrap();
        let start = socket.next().await.unwrap().unwrap().into_text().unwrap();
        let start: Value = serde_json::from_str(&start).unwrap();
        assert_eq!(start["type"], "start", "{start}");
        // The caller is heard here as well.
        while !matches!(socket.next().await.unwrap().unwrap(), Message::Binary(_)) {}
        socket
    };
    let (phone, mut socket) = tokio::join!(Phone::call(&server.server, CALLER), bot);
    let mut phone = phone.unwrap();
    let octets: Vec<u8> = hum(48_000).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for piece in octets.chunks(640) {
        // Version 1, audio, and numbers that a bot may leave at zero (docs/bridge.md).
        let frame = [&[1, 0x02, 0, 0, 0, 0, 0, 0], piece].concat();
        socket.send(Message::Binary(frame.into())).await.unwrap();
    }
    phone.wait_for(true, 10).await;
    socket.send(Message::Text(json!({"type": "hangup"}).to_string().into())).await.unwrap();
    phone.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_of_an_unknown_authority_or_another_name_is_refused_in_words_and_the_caller_hears_the_fallback() {
    let (authority, stranger) = (Authority::new("house"), Authority::new("stranger"));
    for (identity, words) in [
        (stranger.sign("stranger", &["127.0.0.1"], |_| ()), "UnknownIssuer"),
        (authority.sign("other", &["bot.example.com"], |_| ()), "not valid for name"),
        (authority.expired("expired", &["127.0.0.1"]), "expired"),
    ] {
        let host = BotHost::open().await;
        let acceptor = acceptor(&identity);
        let mut server = server(&host, &authority).await;
        let refused = async {
            loop {
                let failed = acceptor.accept(host.accept().await).await;
                assert!(failed.is_err(), "the handshake went through");
            }
        };
        let told = async {
            let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
            phone.wait_for(true, 5).await;
        };
        tokio::select! {
            () = refused => {}
            () = told => {}
        }
        let why = server.event("why", |event| match event {
            CallEvent::Bot { state: "not_reached", detail, .. } => Some(detail.clone()),
            _ => None,
        });
        let why = why.await;
        assert!(why.starts_with("no TLS: ") && why.contains(words), "{why}");
    }
}
