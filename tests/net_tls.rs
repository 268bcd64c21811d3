//! SIP over TLS on loopback: whom we trust, what we say when we do not, whole calls.

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/streams.rs"]
mod streams;

use certificates::Authority;
use offhook::net::{
    Arrival, ClientTls, Destination, Inbox, Listen, NetConfig, NetError, ServerTls, Sip, TlsIdentity,
    describe_certificate, limits,
};
use offhook::sip::event::RegistrationState;
use offhook::sip::{StreamDeadlines, Target, Transport};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use streams::{any, call_through, endpoint, is_closed, probe, registration, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const PEERS: [&str; 1] = ["127.0.0.0/8"];

fn server(tls: ServerTls) -> (Sip, Inbox) {
    endpoint(NetConfig::default(), &[Listen::tls(any(Ipv4Addr::LOCALHOST), tls)], &PEERS)
}

/// An endpoint that only calls out by TLS, and opens no socket for it.
fn client() -> Sip {
    let outgoing = Listen { transport: Transport::Tls, address: any(Ipv4Addr::LOCALHOST), tls: None };
    endpoint(NetConfig::default(), &[outgoing], &PEERS).0
}

fn destination(host: &str, server: SocketAddr, tls: Arc<ClientTls>) -> Destination {
    Destination { host: host.to_owned(), port: Some(server.port()), transport: Some(Transport::Tls), tls: Some(tls) }
}

fn tls_target(remote: SocketAddr) -> Target {
    Target { transport: Transport::Tls, remote }
}

/// The status of an OPTIONS to `host` at `server`, or why there is none.
async fn ask(client: &Sip, host: &str, server: SocketAddr, tls: &Arc<ClientTls>) -> Result<u16, String> {
    let targets = client.locate(&destination(host, server, Arc::clone(tls))).await.map_err(|e| e.to_string())?;
    let target = targets.into_iter().find(|target| target.remote.is_ipv4()).unwrap();
    match soon("an answer", client.options(probe(target))).await.unwrap() {
        Some((status, _)) => Ok(status),
        None => Err(client.last_transport_error(target.transport, target.remote).unwrap_or_default()),
    }
}

#[tokio::test]
async fn a_call_goes_over_tls_from_invite_to_bye_on_one_verified_connection() {
    let authority = Authority::new("Test authority");
    let (bob, mut bobs) = server(authority.server(authority.sign("bob", &["127.0.0.1"], |_| {})));
    let alice = client();
    let host = destination("127.0.0.1", bob.local_addr(), authority.trusted());
    let targets = alice.locate(&host).await.unwrap();
    assert_eq!(targets, [tls_target(bob.local_addr())]);
    call_through(&alice, targets, &bob, &mut bobs, Transport::Tls).await;
    let facts = alice.peer_certificate(bob.local_addr()).await.unwrap().unwrap();
    assert_eq!((facts.names, facts.issuer.as_str()), (vec!["127.0.0.1".to_owned()], "CN=Test authority"));
}

#[tokio::test]
async fn a_host_name_is_verified_and_an_address_too() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.sign("bob", &["localhost", "127.0.0.1"], |_| {})));
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(ask(&client(), host, bob.local_addr(), &authority.trusted()).await, Ok(200));
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_date() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.expired("bob", &["127.0.0.1"])));
    let refused = ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.unwrap_err();
    assert!(refused.contains("expired on 2021-02-03"), "{refused}");
}

#[tokio::test]
async fn the_state_of_a_registration_says_what_is_wrong_with_the_certificate() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.expired("bob", &["127.0.0.1"])));
    let outgoing = Listen { transport: Transport::Tls, address: any(Ipv4Addr::LOCALHOST), tls: None };
    let (alice, mut inbox) = endpoint(NetConfig::default(), &[outgoing], &[]);
    let targets = alice.locate(&destination("127.0.0.1", bob.local_addr(), authority.trusted())).await.unwrap();
    let registration = registration(targets);
    alice.run(move |endpoint, now| endpoint.register(now, registration)).await.unwrap().unwrap();
    let reason = loop {
        match soon("the state", inbox.recv()).await.unwrap() {
            Arrival::Registration(_, RegistrationState::Failed { reason, .. }) => break reason,
            Arrival::Registration(..) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("expired on 2021-02-03"), "{reason}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_with_both_names() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.sign("bob", &["pbx.example"], |_| {})));
    let refused = ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.unwrap_err();
    assert!(refused.contains("for pbx.example, not for 127.0.0.1"), "{refused}");
    // Unless the settings say that this is its name.
    let named = Arc::new(ClientTls { server_name: Some("pbx.example".into()), ..(*authority.trusted()).clone() });
    assert_eq!(ask(&client(), "127.0.0.1", bob.local_addr(), &named).await, Ok(200));
}

#[tokio::test]
async fn an_unknown_authority_is_refused_by_name_and_the_way_out_is_told() {
    let (authority, other) = (Authority::new("Test authority"), Authority::new("Another authority"));
    let (bob, _bobs) = server(authority.server(authority.sign("bob", &["127.0.0.1"], |_| {})));
    for trusted in [other.trusted(), Arc::new(ClientTls::default())] {
        let refused = ask(&client(), "127.0.0.1", bob.local_addr(), &trusted).await.unwrap_err();
        assert!(refused.contains("signed by CN=Test authority") || refused.contains("none were found"), "{refused}");
        assert!(refused.contains("`ca`"), "{refused}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_accepted_only_when_it_is_named_itself() {
    let authority = Authority::new("Test authority");
    let identity = authority.self_signed("bob", &["127.0.0.1"]);
    let pinned = Arc::new(ClientTls { ca_file: Some(identity.certificate_file.clone()), ..ClientTls::default() });
    let (bob, _bobs) = server(authority.server(identity));
    assert!(ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.is_err());
    assert_eq!(ask(&client(), "127.0.0.1", bob.local_addr(), &pinned).await, Ok(200));
}

#[tokio::test]
async fn a_certificate_without_any_host_is_accepted_only_when_it_is_named_itself() {
    let authority = Authority::new("Test authority");
    let identity = authority.sign("bob", &[], |_| {});
    let pinned = Arc::new(ClientTls { ca_file: Some(identity.certificate_file.clone()), ..ClientTls::default() });
    let (bob, _bobs) = server(authority.server(identity));
    let refused = ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.unwrap_err();
    assert!(refused.contains("for no host at all"), "{refused}");
    assert_eq!(ask(&client(), "127.0.0.1", bob.local_addr(), &pinned).await, Ok(200));
}

#[tokio::test]
async fn only_the_dangerous_switch_accepts_any_certificate() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.expired("bob", &["pbx.example"])));
    let dangerous = Arc::new(ClientTls { danger_accept_any_certificate: true, ..ClientTls::default() });
    assert_eq!(ask(&client(), "127.0.0.1", bob.local_addr(), &dangerous).await, Ok(200));
}

#[tokio::test]
async fn a_target_that_nobody_located_is_refused_rather_than_called_unverified() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.sign("bob", &["127.0.0.1"], |_| {})));
    let alice = client();
    let target = tls_target(bob.local_addr());
    assert_eq!(soon("the refusal", alice.options(probe(target))).await.unwrap(), None);
    assert!(alice.last_transport_error(Transport::Tls, target.remote).unwrap().contains("nobody asked for a host"));
}

#[tokio::test]
async fn two_hosts_at_one_address_share_a_connection_only_if_its_certificate_names_both() {
    let authority = Authority::new("Test authority");
    let alice = client();
    let (bob, _bobs) = server(authority.server(authority.sign("bob", &["localhost"], |_| {})));
    assert_eq!(ask(&alice, "localhost", bob.local_addr(), &authority.trusted()).await, Ok(200));
    let other = destination("127.0.0.1", bob.local_addr(), authority.trusted());
    match alice.locate(&other).await {
        Err(NetError::Unverified { host, reason }) => {
            assert!(host == "127.0.0.1" && reason.contains("for localhost"), "{host}: {reason}");
        }
        other => panic!("{other:?}"),
    }
    // The host that is verified goes on.
    assert_eq!(ask(&alice, "localhost", bob.local_addr(), &authority.trusted()).await, Ok(200));
}

#[tokio::test]
async fn a_peer_that_demands_a_certificate_gets_ours_and_refuses_who_has_none() {
    let authority = Authority::new("Test authority");
    let identity = authority.sign("bob", &["127.0.0.1"], |_| {});
    let (bob, _bobs) = server(ServerTls { identity, client_ca_file: Some(authority.ca_file.clone()) });
    let refused = ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.unwrap_err();
    assert!(refused.contains("the peer wants a certificate from us"), "{refused}");
    let ours = Arc::new(ClientTls {
        identity: Some(authority.sign("alice", &["alice.example"], |_| {})),
        ..(*authority.trusted()).clone()
    });
    assert_eq!(ask(&client(), "127.0.0.1", bob.local_addr(), &ours).await, Ok(200));
}

#[tokio::test]
async fn a_peer_without_tls_on_that_port_is_told_apart() {
    let authority = Authority::new("Test authority");
    let peer = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let address = peer.local_addr().unwrap();
    let answer_in_clear = async {
        let (mut stream, _) = peer.accept().await.unwrap();
        stream.write_all(b"SIP/2.0 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (alice, trusted) = (client(), authority.trusted());
    let (refused, _stream) = tokio::join!(ask(&alice, "127.0.0.1", address, &trusted), answer_in_clear);
    assert!(refused.clone().unwrap_err().contains("does not speak TLS"), "{refused:?}");
}

#[tokio::test]
async fn unusable_files_are_named_before_anything_is_sent() {
    let authority = Authority::new("Test authority");
    let good = authority.sign("bob", &["127.0.0.1"], |_| {});
    let other = authority.sign("other", &["127.0.0.1"], |_| {});
    let start = |identity: TlsIdentity| {
        let listen = [Listen::tls(any(Ipv4Addr::LOCALHOST), authority.server(identity))];
        let started = offhook::net::start(&listen, offhook::base::Random::system(), |bound| {
            offhook::sip::EndpointConfig::udp(bound[0].address, bound[0].address)
        });
        started.err().unwrap().to_string()
    };
    let missing = start(TlsIdentity { key_file: "/nowhere.key".into(), ..good.clone() });
    assert!(missing.contains("/nowhere.key: cannot be read"), "{missing}");
    let mismatch = start(TlsIdentity { key_file: other.key_file, ..good.clone() });
    assert!(mismatch.contains("does not belong to the key"), "{mismatch}");
    let swapped = start(TlsIdentity { certificate_file: good.key_file.clone(), ..good.clone() });
    assert!(swapped.contains("holds no certificate"), "{swapped}");
    let ca = Arc::new(ClientTls { ca_file: Some(good.key_file), ..ClientTls::default() });
    let refused = client().locate(&destination("127.0.0.1", any([127, 0, 0, 1]), ca)).await.unwrap_err();
    assert!(matches!(refused, NetError::Certificate { .. }), "{refused}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let authority = Authority::new("Test authority");
    let (bob, _bobs) = server(authority.server(authority.expired("bob", &["127.0.0.1"])));
    assert!(ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await.is_err());
    authority.sign("bob", &["127.0.0.1"], |_| {});
    // Files are looked at once a second; each attempt is a connection of its own.
    let renewed = async {
        while ask(&client(), "127.0.0.1", bob.local_addr(), &authority.trusted()).await != Ok(200) {
            tokio::task::yield_now().await;
        }
    };
    soon("the renewed certificate", renewed).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let authority = Authority::new("Test authority");
    let tls = authority.server(authority.sign("bob", &["127.0.0.1"], |_| {}));
    let config = NetConfig { handshake_time: Duration::from_millis(60), ..NetConfig::default() };
    let (bob, _bobs) = endpoint(config, &[Listen::tls(any(Ipv4Addr::LOCALHOST), tls)], &PEERS);
    let mut stream = TcpStream::connect(bob.local_addr()).await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn no_more_than_200_handshakes_are_under_way_at_one_time() {
    let authority = Authority::new("Test authority");
    let tls = authority.server(authority.sign("bob", &["127.0.0.1"], |_| {}));
    let (bob, _bobs) = endpoint(NetConfig::default(), &[Listen::tls(any(Ipv4Addr::LOCALHOST), tls)], &["127.0.0.1/32"]);
    let mut waiting = Vec::new();
    for _ in 0..limits::HANDSHAKES {
        waiting.push(TcpStream::connect(bob.local_addr()).await.unwrap());
    }
    let mut one_too_many = TcpStream::connect(bob.local_addr()).await.unwrap();
    assert!(is_closed(&mut one_too_many).await);
    drop(waiting);
    let alice = client();
    let answered = async {
        while ask(&alice, "127.0.0.1", bob.local_addr(), &authority.trusted()).await != Ok(200) {
            tokio::task::yield_now().await;
        }
    };
    soon("a handshake once there is room", answered).await;
}

#[tokio::test]
async fn silence_after_the_handshake_is_closed_too() {
    let authority = Authority::new("Test authority");
    let tls = authority.server(authority.sign("bob", &["127.0.0.1"], |_| {}));
    let deadlines = StreamDeadlines { idle: Duration::from_millis(400), ..StreamDeadlines::STRANGER };
    let config = NetConfig { stranger_deadlines: deadlines, peer_deadlines: deadlines, ..NetConfig::default() };
    let (bob, _bobs) = endpoint(config, &[Listen::tls(any(Ipv4Addr::LOCALHOST), tls)], &PEERS);
    let alice = client();
    assert_eq!(ask(&alice, "127.0.0.1", bob.local_addr(), &authority.trusted()).await, Ok(200));
    let closed = async {
        while alice.peer_certificate(bob.local_addr()).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the connection", closed).await;
    // And the next request makes another one.
    assert_eq!(ask(&alice, "127.0.0.1", bob.local_addr(), &authority.trusted()).await, Ok(200));
}

#[test]
fn a_certificate_file_tells_whose_it_is_and_until_when() {
    let authority = Authority::new("Test authority");
    let identity = authority.expired("bob", &["pbx.example", "192.0.2.1"]);
    let facts = describe_certificate(&identity.certificate_file).unwrap();
    assert!(facts.subject.contains("CN=bob"), "{}", facts.subject);
    assert_eq!(facts.names, ["pbx.example", "192.0.2.1"]);
    assert_eq!(facts.not_after.to_string(), "2021-02-03T00:00:00Z");
    assert!(describe_certificate(&identity.key_file).is_err());
}
