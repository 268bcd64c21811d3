//! The egress guard (security class 17): 0 connects to anything inside, whatever the spelling and
//! whatever the name resolves to.

use offhook::tools::{
    Egress, EgressError, EgressPolicy, EgressRequest, HostResolver, HostRule, Refusal, egress::Addresses, limits,
};
use reqwest::header::HeaderMap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Answers each look-up with the next list; the last one repeats.
struct Zone {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl Zone {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().rev().map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
        Arc::new(Self { answers: Mutex::new(answers.collect()), lookups: AtomicUsize::new(0) })
    }
}

impl HostResolver for Zone {
    fn resolve(&self, _: &str) -> Addresses {
        self.lookups.fetch_add(1, SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

/// A server inside the house that counts who connects and answers every request with `reply`.
struct Inside {
    address: SocketAddr,
    connects: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Inside {
    fn start(bind: &str, reply: &'static [u8]) -> Self {
        Self::start_with(bind, move |stream, requests| {
            while let Some(head) = read_head(stream) {
                requests.lock().unwrap().push(head);
                if stream.write_all(reply).is_err() {
                    return;
                }
            }
        })
    }

    fn start_with(
        bind: &str,
        serve: impl Fn(&mut std::net::TcpStream, &Mutex<Vec<String>>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(bind).unwrap();
        let address = listener.local_addr().unwrap();
        let (connects, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counter, log, serve) = (Arc::clone(&connects), Arc::clone(&requests), Arc::new(serve));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, SeqCst);
                let (log, serve) = (Arc::clone(&log), Arc::clone(&serve));
                std::thread::spawn(move || serve(&mut stream, &log));
            }
        });
        Self { address, connects, requests }
    }

    fn connects(&self) -> usize {
        self.connects.load(SeqCst)
    }
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

async fn fetch(egress: &Egress, url: &str) -> Result<u16, EgressError> {
    let request = EgressRequest {
        method: reqwest::Method::GET,
        url: egress.policy().check(url)?,
        headers: HeaderMap::new(),
        body: None,
        timeout: Duration::from_secs(5),
    };
    Ok(egress.send(request).await?.status.as_u16())
}

fn house_rule(host: &str, port: u16) -> HostRule {
    HostRule::new(host).ports([port]).danger_allow_http()
}

/// Ways to write an address inside, `%` being the port of a server that would count the connect.
const SPELLINGS: [&str; 86] = [
    // loopback, IPv4
    "http://127.0.0.1:%/",
    "http://127.1:%/",
    "http://127.0.1:%/",
    "http://127.000.000.001:%/",
    "http://0177.0.0.1:%/",
    "http://0177.0.0.01:%/",
    "http://0x7f.0.0.1:%/",
    "http://0x7f.1:%/",
    "http://0X7F.0X0.0X0.0X1:%/",
    "http://0x7f000001:%/",
    "http://2130706433:%/",
    "http://017700000001:%/",
    "http://127.0.0.1.:%/",
    "http://127.0.0.2:%/",
    "http://127.127.127.127:%/",
    "http://127.255.255.254:%/",
    "http://１２７.０.０.１:%/",
    "http://127。0。0。1:%/",
    "http://127．0．0．1:%/",
    "http://①②⑦.0.0.1:%/",
    "http://%31%32%37.0.0.1:%/",
    "http://127.0.0.%31:%/",
    "http://127%2e0%2e0%2e1:%/",
    // this network, which reaches the own machine on Linux
    "http://0.0.0.0:%/",
    "http://0:%/",
    "http://0x0:%/",
    "http://00000:%/",
    "http://0.1:%/",
    // loopback and the like, IPv6
    "http://[::1]:%/",
    "http://[0:0:0:0:0:0:0:1]:%/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:%/",
    "http://[::0001]:%/",
    "http://[0::1]:%/",
    "http://[::0.0.0.1]:%/",
    "http://[::]:%/",
    "http://[0:0:0:0:0:0:0:0]:%/",
    "http://[::ffff:127.0.0.1]:%/",
    "http://[::ffff:7f00:1]:%/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:%/",
    "http://[::FFFF:7F00:0001]:%/",
    "http://[::ffff:0.0.0.0]:%/",
    "http://[::ffff:10.0.0.1]:%/",
    "http://[::ffff:169.254.169.254]:%/",
    "http://[::127.0.0.1]:%/",
    "http://[64:ff9b::127.0.0.1]:%/",
    "http://[64:ff9b::a9fe:a9fe]:%/",
    "http://[64:ff9b:1::7f00:1]:%/",
    "http://[2002:7f00:1::]:%/",
    "http://[2002:a9fe:a9fe::1]:%/",
    "http://[2001:0:7f00:1::]:%/",
    "http://[fe80::1]:%/",
    "http://[fec0::1]:%/",
    "http://[fc00::1]:%/",
    "http://[fd00:ec2::254]:%/",
    "http://[ff02::1]:%/",
    "http://[ff05::1:3]:%/",
    // names of the own machine
    "http://localhost:%/",
    "http://LOCALHOST:%/",
    "http://localhost.:%/",
    "http://ｌｏｃａｌｈｏｓｔ:%/",
    "http://loc%61lhost:%/",
    "http://a.localhost:%/",
    "http://localhost.localdomain:%/",
    "http://ip6-localhost:%/",
    // metadata services
    "http://169.254.169.254:%/latest/meta-data/",
    "http://0xa9fea9fe:%/",
    "http://2852039166:%/",
    "http://0251.0376.0251.0376:%/",
    "http://169.254.170.2:%/",
    "http://100.100.100.200:%/",
    "http://168.63.129.16:%/",
    "http://192.0.0.192:%/",
    "http://metadata.google.internal:%/",
    "http://metadata:%/",
    // other special blocks
    "http://10.0.0.1:%/",
    "http://172.16.0.1:%/",
    "http://192.168.1.1:%/",
    "http://100.64.0.1:%/",
    "http://198.18.0.1:%/",
    "http://224.0.0.1:%/",
    "http://255.255.255.255:%/",
    // disguises of the host itself
    "http://example.com@127.0.0.1:%/",
    "http://127.0.0.1:%\\@example.com/",
    "http://example.com\\@127.0.0.1:%/",
    "http://127.0.0.1:%#@example.com/",
    "http:/\\127.0.0.1:%/",
];

/// Puts the port in the place of its own `%`, not of the percent signs of an encoded host.
fn on_port(spelling: &str, port: u16) -> String {
    spelling.replace(":%", &format!(":{port}"))
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_connected_to() {
    let v4 = Inside::start("0.0.0.0:0", OK);
    let port = v4.address.port();
    // The same port on IPv6, when the machine has it.
    let v6 = TcpListener::bind(("::1", port)).ok().inspect(|listener| {
        listener.set_nonblocking(true).unwrap();
    });
    // Clear text and the port are allowed for each host on the list, so that only the address guard is left.
    let open = EgressPolicy::new(SPELLINGS.iter().filter_map(|spelling| {
        let url = reqwest::Url::parse(&on_port(spelling, port)).ok()?;
        Some(house_rule(url.host_str()?, port))
    }));
    let egress = Egress::new(open, Zone::of(&[&["127.0.0.1"]]), b"").unwrap();
    for spelling in SPELLINGS {
        let url = on_port(spelling, port);
        let refused = fetch(&egress, &url).await;
        let by_target = matches!(refused, Err(EgressError::Refused(Refusal::Address { .. } | Refusal::Name { .. })));
        let disguised = url.contains(['@', '\\']) && matches!(refused, Err(EgressError::Refused(_)));
        assert!(by_target || disguised, "{url}: {refused:?}");
    }
    assert_eq!(v4.connects(), 0);
    if let Some(v6) = v6 {
        assert!(v6.accept().is_err(), "nobody connected over IPv6");
    }
}

#[tokio::test]
async fn the_list_of_spellings_can_fail() {
    // The same guard with private addresses allowed lets the plain spelling through: the server is really there.
    let inside = Inside::start("127.0.0.1:0", OK);
    let port = inside.address.port();
    let rule = house_rule("127.0.0.1", port).danger_allow_private_addresses();
    let egress = Egress::new(EgressPolicy::new([rule]), Zone::of(&[&[]]), b"").unwrap();
    for spelling in ["127.0.0.1", "0x7f.1", "2130706433"] {
        assert_eq!(fetch(&egress, &format!("http://{spelling}:{port}/")).await, Ok(200));
    }
    assert!(inside.connects() > 0);
}

#[tokio::test]
async fn a_name_that_rebinds_is_never_connected_to_inside() {
    let inside = Inside::start("0.0.0.0:0", OK);
    let port = inside.address.port();
    let zone = Zone::of(&[
        &["127.0.0.1"],
        &["93.184.216.34", "127.0.0.1"],
        &["2606:4700::1111", "::1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["169.254.169.254"],
        &["64:ff9b::7f00:1"],
        &["10.0.0.1", "127.0.0.1"],
        &[],
    ]);
    let egress = Egress::new(EgressPolicy::new([house_rule("rebind.example", port)]), zone.clone(), b"").unwrap();
    for round in 1..=9 {
        let refused = fetch(&egress, &format!("http://rebind.example:{port}/")).await;
        assert!(matches!(refused, Err(EgressError::Refused(_))), "{round}: {refused:?}");
        assert_eq!(zone.lookups.load(SeqCst), round, "one look-up per connection");
    }
    assert_eq!(inside.connects(), 0);
}

#[tokio::test]
async fn the_checked_address_is_the_one_connected_to_and_the_host_header_stays() {
    let inside = Inside::start("127.0.0.1:0", OK);
    let port = inside.address.port();
    // The second answer would be refused: it must not be asked for while the connection lives.
    let zone = Zone::of(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let rule = house_rule("booking.test", port).danger_allow_private_addresses();
    let egress = Egress::new(EgressPolicy::new([rule]), zone.clone(), b"").unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&egress, &format!("http://booking.test:{port}/x")).await, Ok(200));
    }
    assert_eq!((zone.lookups.load(SeqCst), inside.connects()), (1, 1));
    let head = inside.requests.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains(&format!("\r\nhost: booking.test:{port}\r\n")), "{head}");
    assert!(!head.contains("cookie") && !head.contains("referer"), "{head}");
}

#[tokio::test]
async fn a_redirect_to_an_inner_address_is_not_followed() {
    let secret = Inside::start("127.0.0.1:0", OK);
    let location = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", secret.address);
    let outside = Inside::start("127.0.0.1:0", location.leak().as_bytes());
    let port = outside.address.port();
    let rule = house_rule("booking.test", port).danger_allow_private_addresses();
    let egress = Egress::new(EgressPolicy::new([rule]), Zone::of(&[&["127.0.0.1"]]), b"").unwrap();
    assert_eq!(fetch(&egress, &format!("http://booking.test:{port}/")).await, Ok(302));
    assert_eq!(secret.connects(), 0);
}

#[test]
fn a_proxy_from_the_environment_gets_nothing() {
    // A proxy would make the connection after the guard has looked elsewhere.
    let proxy = Inside::start("127.0.0.1:0", OK);
    let url = format!("http://{}", proxy.address);
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(variable, &url);
    }
    let name = "the_checked_address_is_the_one_connected_to_and_the_host_header_stays";
    let output = again.env_remove("REQUEST_METHOD").args(["--exact", name]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.connects(), 0);
}

#[tokio::test]
async fn large_endless_and_silent_answers_are_cut_off() {
    let declared = Inside::start("127.0.0.1:0", b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n");
    let endless = Inside::start_with("127.0.0.1:0", |stream, _| {
        read_head(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 16_384]).is_ok() {}
    });
    let silent = Inside::start_with("127.0.0.1:0", |stream, _| while read_head(stream).is_some() {});
    let rules = [&declared, &endless, &silent]
        .map(|server| house_rule("127.0.0.1", server.address.port()).danger_allow_private_addresses());
    let egress = Egress::new(EgressPolicy::new(rules), Zone::of(&[&[]]), b"").unwrap();
    let too_large = Err(EgressError::TooLarge { what: "the answer", limit: limits::ANSWER_BYTES });
    assert_eq!(fetch(&egress, &format!("http://{}/", declared.address)).await, too_large);
    assert_eq!(fetch(&egress, &format!("http://{}/", endless.address)).await, too_large);
    let started = Instant::now();
    let timeout = Duration::from_millis(50);
    let request = EgressRequest {
        method: reqwest::Method::GET,
        url: egress.policy().check(&format!("http://{}/", silent.address)).unwrap(),
        headers: HeaderMap::new(),
        body: None,
        timeout,
    };
    assert_eq!(egress.send(request).await.unwrap_err(), EgressError::Timeout(timeout));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_refused_connection_and_a_broken_exchange_are_told_apart() {
    // Bound and not listening, a socket keeps its port and refuses.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let closed = held.local_addr().unwrap();
    let rude = Inside::start_with("127.0.0.1:0", |stream, _| {
        read_head(stream);
    });
    let rules = [closed, rude.address].map(|a| house_rule("127.0.0.1", a.port()).danger_allow_private_addresses());
    let egress = Egress::new(EgressPolicy::new(rules), Zone::of(&[&[]]), b"").unwrap();
    let refused = fetch(&egress, &format!("http://{closed}/secret-path")).await.unwrap_err();
    assert!(matches!(refused, EgressError::Connect(_)), "{refused}");
    let broken = fetch(&egress, &format!("http://{}/secret-path?phone=5550134", rude.address)).await.unwrap_err();
    assert!(matches!(broken, EgressError::Broken(_)), "{broken}");
    for error in [refused, broken] {
        assert!(!error.to_string().contains("secret-path"), "the URL may carry personal data: {error}");
    }
}

/// Speaks TLS with the certificate of `booking.test` and logs the server name it is asked for.
fn tls_server() -> Inside {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("data/tls/booking.test.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("data/tls/booking.test.key")).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    Inside::start_with("127.0.0.1:0", move |stream, requests| {
        let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = rustls::Stream::new(&mut session, stream);
        if let Some(head) = read_head(&mut tls) {
            // Noted before the answer, which is what the test waits for.
            requests.lock().unwrap().push(format!("{} {head}", tls.conn.server_name().unwrap_or("-")));
            let _ = tls.write_all(OK);
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    })
}

#[tokio::test]
async fn https_goes_to_the_checked_address_under_the_hosts_own_name() {
    let server = tls_server();
    let port = server.address.port();
    let rules =
        ["booking.test", "other.test"].map(|host| HostRule::new(host).ports([port]).danger_allow_private_addresses());
    let root = include_bytes!("data/tls/root.pem");
    let zone = || Zone::of(&[&["127.0.0.1"]]);
    let egress = Egress::new(EgressPolicy::new(rules.clone()), zone(), root).unwrap();
    assert_eq!(fetch(&egress, &format!("https://booking.test:{port}/x")).await, Ok(200));
    assert!(server.requests.lock().unwrap()[0].starts_with("booking.test GET /x "));

    let other_name = fetch(&egress, &format!("https://other.test:{port}/x")).await.unwrap_err();
    assert!(matches!(other_name, EgressError::Connect(_)), "a certificate for another name: {other_name}");
    let without_root = Egress::new(EgressPolicy::new(rules), zone(), b"").unwrap();
    let unknown_root = fetch(&without_root, &format!("https://booking.test:{port}/x")).await.unwrap_err();
    assert!(matches!(unknown_root, EgressError::Connect(_)), "an unknown root: {unknown_root}");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[test]
fn weak_rules_never_reach_what_is_never_a_target() {
    let rule = |host| HostRule::new(host).ports([80]).danger_allow_private_addresses().danger_allow_http();
    for host in ["169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]", "metadata.google.internal", "[fe80::1]"] {
        let policy = EgressPolicy::new([rule(host)]);
        let refused = policy.check(&format!("http://{host}/")).unwrap_err();
        assert!(matches!(
            refused,
            Refusal::Address { switchable: false, .. } | Refusal::Name { switchable: false, .. }
        ));
    }
}
