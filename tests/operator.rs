//! What an operator does at a terminal: connect a PBX, look at a running server, examine what does not work. Against a
//! scripted PBX on loopback.

use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything: far above what it takes, so that a loaded machine does not fail a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where nobody listens: a port that the system gives to no socket by itself (discard, RFC 863).
const CLOSED: &str = "127.0.0.1:9";

/// A PBX that registers 1001, refuses everybody else, answers OPTIONS, and takes calls without ever sending audio. The first
/// copies of each goodbye are lost on their way to it, one of an un-REGISTER and two of a BYE: who does not wait for each
/// answer never sends another.
struct Pbx {
    address: SocketAddr,
    /// How many calls were hung up.
    hung_up: Arc<AtomicUsize>,
    /// How often a contact was taken back.
    unregistered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pbx {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let unregistered = Arc::new(AtomicUsize::new(0));
        let hung_up = Arc::new(AtomicUsize::new(0));
        let (taken_back, ended) = (Arc::clone(&unregistered), Arc::clone(&hung_up));
        let thread = std::thread::spawn(move || {
            // Silent: it takes audio and sends none.
            let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut buffer = [0; 65_536];
            // One that is sent again is the same.
            let (mut lost, mut answered) = (HashMap::new(), HashSet::new());
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let is_goodbye = is_unregister(&text) || text.starts_with("BYE ");
                if is_goodbye {
                    let copies = lost.entry(text.clone()).or_insert(0);
                    *copies += 1;
                    if *copies <= if is_unregister(&text) { 1 } else { 2 } {
                        continue;
                    }
                }
                if let Some(answer) = answer(&text, from, address, rtp.local_addr().unwrap()) {
                    if is_goodbye && answer.starts_with("SIP/2.0 200") && answered.insert(text.clone()) {
                        let count = if is_unregister(&text) { &taken_back } else { &ended };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    socket.send_to(answer.as_bytes(), from).unwrap();
                }
            }
        });
        Self { address, hung_up, unregistered, stop, thread: Some(thread) }
    }
}

impl Drop for Pbx {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_unregister(request: &str) -> bool {
    request.starts_with("REGISTER") && (request.contains("\r\nExpires: 0\r\n") || request.contains("expires=0"))
}

fn answer(request: &str, from: SocketAddr, own: SocketAddr, rtp: SocketAddr) -> Option<String> {
    let method = request.split(' ').next()?;
    let field = |name: &str| {
        request.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let contact = field("Contact").unwrap_or_default();
    let user_is =
        |user: &str| field("Authorization").is_some_and(|value| value.contains(&format!("username=\"{user}\"")));
    let unregisters = is_unregister(request);
    let (status, extra, body) = match method {
        "REGISTER" if !user_is("1001") => {
            let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\r\n";
            ("401 Unauthorized", challenge.to_owned(), String::new())
        }
        "REGISTER" if unregisters => ("200 OK", String::new(), String::new()),
        "REGISTER" => ("200 OK", format!("Contact: {contact};expires=120\r\n"), String::new()),
        "INVITE" => {
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
                rtp.port()
            );
            let extra = format!("Contact: <sip:pbx@{own}>\r\nContent-Type: application/sdp\r\n");
            ("200 OK", extra, sdp)
        }
        "OPTIONS" | "BYE" => ("200 OK", String::new(), String::new()),
        _ => return None,
    };
    let via =
        format!("{};received={}", field("Via")?, from.ip()).replace(";rport;", &format!(";rport={};", from.port()));
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap();
    let (ours, theirs) = (field("From")?, field("To")?);
    let theirs = if theirs.contains(";tag=") { theirs } else { format!("{theirs};tag=pbx") };
    Some(format!(
        "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {ours}\r\nTo: {theirs}\r\nCall-ID: {}\r\nCSeq: {}\r\nDate: {date}\r\n\
         {extra}Content-Length: {}\r\n\r\n{body}",
        field("Call-ID")?,
        field("CSeq")?,
        body.len()
    ))
}

fn offhook(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offhook")).args(arguments).stdin(Stdio::null()).output().expect("offhook starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    let text = stdout(output);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| {
        panic!("no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// A folder with a configuration that has comments and no peer yet.
fn house() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offhook.toml");
    std::fs::write(folder.path().join("pw"), "secret\n").unwrap();
    let text =
        "# the house's own\n[server]\nsip_listen = \"udp:127.0.0.1:0\" # any port\n[media]\nbind = \"127.0.0.1\"\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

fn connect(host: &str, user: &str, file: &str, more: &[&str]) -> Output {
    let mut arguments = vec!["connect", "--profile", "freepbx", "--host", host, "--user", user];
    arguments.extend(["--password-file", "pw", "--agent", "echo", "--json", "-c", file]);
    arguments.extend(more);
    offhook(&arguments)
}

#[test]
fn connecting_writes_the_section_and_registers_at_once() {
    let pbx = Pbx::start();
    let (_folder, file) = house();
    let host = pbx.address.to_string();
    let output = connect(&host, "1001", &file, &[]);
    let result = json(&output);
    assert!(output.status.success() && result["ok"] == true, "{result}");
    assert_eq!(result["name"], "freepbx-1001");
    assert!(result["result"].as_str().unwrap().contains("registered for"), "{result}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# the house's own\n[server]\nsip_listen = \"udp:127.0.0.1:0\" # any port\n"), "{text}");
    assert!(text.contains("[[extension]]\nname = \"freepbx-1001\"\nprofile = \"freepbx\"\n"), "{text}");
    assert!(!text.contains("password = "), "{text}");
    assert!(offhook(&["check", &file]).status.success());

    let again = connect(&host, "1001", &file, &[]);
    assert!(!again.status.success());
    assert!(json(&again)["error"].as_str().unwrap().contains("as `freepbx-1001`"), "{}", stdout(&again));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "nothing is written twice");
}

#[test]
fn connecting_says_why_the_peer_refuses() {
    let pbx = Pbx::start();
    let (_folder, file) = house();
    let output = connect(&pbx.address.to_string(), "1002", &file, &[]);
    let result = json(&output);
    assert_eq!(output.status.code(), Some(1), "{result}");
    assert!(result["result"].as_str().unwrap().contains("password"), "{result}");
}

#[test]
fn a_dry_run_shows_the_section_and_touches_nothing() {
    let (_folder, file) = house();
    let before = std::fs::read_to_string(&file).unwrap();
    let output = connect(CLOSED, "1001", &file, &["--dry-run"]);
    assert!(output.status.success());
    assert!(json(&output)["section"].as_str().unwrap().contains("password_file = \"pw\""), "{}", stdout(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn a_program_is_told_which_flag_is_missing_instead_of_asked() {
    let (_folder, file) = house();
    let output = offhook(&["connect", "--profile", "3cx", "--host", "pbx", "--user", "1", "-c", &file, "--json"]);
    assert!(json(&output)["error"].as_str().unwrap().contains("--auth-user"), "{}", stdout(&output));
}

#[test]
fn a_section_that_would_be_wrong_is_not_written() {
    let (_folder, file) = house();
    let before = std::fs::read_to_string(&file).unwrap();
    let output = connect("sip:pbx@example.com", "1001", &file, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&output)["error"].as_str().unwrap().contains("not a host"), "{}", stdout(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
}

fn findings(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn finding<'f>(all: &'f [Value], check: &str) -> &'f Value {
    all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check}: {all:#?}"))
}

fn with_extension(file: &str, host: &str, user: &str) {
    let mut text = std::fs::read_to_string(file).unwrap();
    text.push_str(&format!(
        "[[extension]]\nname = \"line\"\nregistrar = \"{host}\"\nuser = \"{user}\"\npassword = \"secret\"\n\
         agent = \"echo\"\nprofile = \"freepbx\"\n"
    ));
    std::fs::write(file, text).unwrap();
}

#[test]
fn doctor_registers_asks_and_finds_the_audio_that_does_not_come_back() {
    let pbx = Pbx::start();
    let (_folder, file) = house();
    with_extension(&file, &pbx.address.to_string(), "1001");
    let output = offhook(&["doctor", "-c", &file, "--json"]);
    let all = findings(&output);
    for check in ["rtp ports", "names", "options", "registration", "clock", "address"] {
        assert_eq!(finding(&all, check)["level"], "ok", "{all:#?}");
    }
    let audio = finding(&all, "audio");
    assert_eq!(audio["level"], "fail", "{all:#?}");
    assert!(audio["says"].as_str().unwrap().starts_with("one way: "), "{audio}");
    assert!(audio["fix"].as_str().unwrap().contains("rtp_ports"), "{audio}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(all.last().unwrap()["fail"], 1, "{all:#?}");

    let quiet = offhook(&["doctor", "-c", &file, "--no-call"]);
    assert!(quiet.status.success(), "{}", stdout(&quiet));
    assert!(stdout(&quiet).contains("ok   registration: registered"), "{}", stdout(&quiet));
}

#[test]
fn doctor_ends_once_its_goodbyes_are_answered() {
    let pbx = Pbx::start();
    let (_folder, file) = house();
    with_extension(&file, &pbx.address.to_string(), "1001");
    offhook(&["doctor", "-c", &file, "--json"]);
    let seen = (pbx.hung_up.load(Ordering::Relaxed), pbx.unregistered.load(Ordering::Relaxed));
    assert_eq!(seen, (1, 1), "calls hung up, contacts taken back");
}

#[test]
fn doctor_tells_a_wrong_password_from_a_port_where_nobody_listens() {
    let pbx = Pbx::start();
    let (_folder, file) = house();
    with_extension(&file, &pbx.address.to_string(), "1002");
    let all = findings(&offhook(&["doctor", "-c", &file, "--json"]));
    let registration = finding(&all, "registration");
    assert_eq!(registration["level"], "fail", "{all:#?}");
    assert!(registration["fix"].as_str().unwrap().contains("password"), "{registration}");
    assert!(all.iter().all(|finding| finding["check"] != "audio"), "nobody is called without a registration");

    let (_folder, file) = house();
    with_extension(&file, CLOSED, "1001");
    let output = offhook(&["doctor", "-c", &file, "--json"]);
    let connection = findings(&output);
    assert!(
        finding(&connection, "connection")["says"].as_str().unwrap().contains("nothing listens"),
        "{connection:#?}"
    );
    assert_eq!(output.status.code(), Some(1));
}

/// A PBX that speaks TLS, with a certificate that only its own house has signed.
fn tls_pbx(folder: &Path) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(["pbx.example".to_owned()]).unwrap();
    std::fs::write(folder.join("house.pem"), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, config) = (stream.unwrap(), Arc::clone(&config));
            std::thread::spawn(move || {
                let from = stream.peer_addr().unwrap();
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
                let (mut buffer, mut read) = ([0; 65_536], String::new());
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    read.push_str(&String::from_utf8_lossy(&buffer[..length]));
                    // Requests without a body; two may come at once.
                    while let Some(end) = read.find("\r\n\r\n") {
                        let request: String = read.drain(..end + 4).collect();
                        let request = request.trim_start();
                        if !request.is_empty()
                            && let Some(answer) = answer(request, from, address, from)
                        {
                            stream.write_all(answer.as_bytes()).unwrap();
                        }
                    }
                }
            });
        }
    });
    address
}

#[test]
fn doctor_shows_whose_certificate_it_is_and_what_to_do_when_nobody_known_signed_it() {
    let (folder, file) = house();
    let host = format!("{};transport=tls", tls_pbx(folder.path()));
    with_extension(&file, &host, "1001");
    let stranger = findings(&offhook(&["doctor", "-c", &file, "--json", "--no-call"]));
    let about = stranger.iter().find(|finding| finding["says"].as_str().is_some_and(|s| s.contains("certificate")));
    let about = about.unwrap_or_else(|| panic!("{stranger:#?}"));
    assert_eq!(about["level"], "fail", "{stranger:#?}");
    assert!(about["fix"].as_str().unwrap().contains("ca = "), "{about}");

    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("tls = { ca = \"house.pem\", server_name = \"pbx.example\" }\n");
    std::fs::write(&file, text).unwrap();
    let output = offhook(&["doctor", "-c", &file, "--json", "--no-call"]);
    let known = findings(&output);
    assert!(output.status.success(), "{known:#?}");
    assert!(finding(&known, "certificate")["says"].as_str().unwrap().contains("pbx.example"), "{known:#?}");
    assert_eq!(finding(&known, "registration")["level"], "ok", "{known:#?}");
}

#[test]
fn doctor_names_an_unknown_peer() {
    let (_folder, file) = house();
    with_extension(&file, CLOSED, "1001");
    let output = offhook(&["doctor", "-c", &file, "--peer", "nobody", "--json"]);
    assert!(json(&output)["says"].as_str().unwrap().contains("named nobody"), "{}", stdout(&output));
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(file: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_offhook"))
        .args(["serve", "-c", file])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("listening for SIP on"))), "the server starts");
    // Somebody has to read on, or the server's log stands still.
    std::thread::spawn(move || lines.for_each(drop));
    Running(child)
}

fn status_until(file: &str, what: &str, holds: impl Fn(&Value) -> bool) -> (Value, Option<i32>) {
    let started = Instant::now();
    loop {
        let output = offhook(&["status", "-c", file, "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if holds(&answer) {
            return (answer, output.status.code());
        }
        assert!(started.elapsed() < PATIENCE, "never {what}: {answer} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn status_shows_a_running_server_and_says_when_none_runs() {
    let pbx = Pbx::start();
    let (folder, file) = house();
    let socket = folder.path().join("control.sock");
    let text = std::fs::read_to_string(&file).unwrap();
    let control = format!("[server]\ncontrol_socket = \"{}\"\n", socket.display());
    std::fs::write(&file, text.replace("[server]\n", &control)).unwrap();
    with_extension(&file, &pbx.address.to_string(), "1001");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str(&format!(
        "[[trunk]]\nname = \"carrier\"\ngateways = [\"{}\"]\nqualify = \"5s\"\nmax_calls = 3\nagent = \"echo\"\n",
        pbx.address
    ));
    std::fs::write(&file, text).unwrap();

    let none = offhook(&["status", "-c", &file]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no server runs"), "{none:?}");

    let server = serve(&file);
    let (answer, code) = status_until(&file, "registered", |answer| {
        answer["registrations"][0]["state"] == "registered" && answer["trunks"][0]["options"]["status"] == 200
    });
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(answer["registrations"][0]["name"], "line");
    assert_eq!((&answer["trunks"][0]["calls"], &answer["trunks"][0]["max_calls"]), (&0.into(), &3.into()), "{answer}");
    assert_eq!(mode(&socket), 0o600, "others may not ask");
    let shown = offhook(&["status", "-c", &file]);
    assert!(stdout(&shown).contains("registered") && stdout(&shown).contains("200 in"), "{}", stdout(&shown));
    drop(server);
    let killed = offhook(&["status", "-c", &file]);
    assert!(String::from_utf8_lossy(&killed.stderr).contains("no server runs"), "a socket left behind is no server");
    // And the next server takes the place of what was left.
    let _server = serve(&file);
    status_until(&file, "up again", |answer| answer["uptime_s"].is_u64());
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_server_that_is_told_to_end_takes_every_registration_back() {
    let pbx = Pbx::start();
    let (folder, file) = house();
    let text = std::fs::read_to_string(&file).unwrap();
    let control = format!("[server]\ncontrol_socket = \"{}\"\n", folder.path().join("c").display());
    std::fs::write(&file, text.replace("[server]\n", &control)).unwrap();
    for name in ["a", "b", "c"] {
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&format!(
            "[[extension]]\nname = \"{name}\"\nregistrar = \"{}\"\nuser = \"1001\"\npassword = \"s\"\nagent = \"echo\"\n",
            pbx.address
        ));
        std::fs::write(&file, text).unwrap();
    }
    let mut server = serve(&file);
    status_until(&file, "registered", |answer| {
        (0..3).all(|index| answer["registrations"][index]["state"] == "registered")
    });
    assert!(Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap().success());
    assert!(server.0.wait().unwrap().success(), "it ends by itself");
    assert_eq!(pbx.unregistered.load(Ordering::Relaxed), 3);
}

#[test]
fn a_registrar_whose_name_leads_nowhere_is_looked_for_again_and_the_server_runs() {
    let (folder, file) = house();
    let text = std::fs::read_to_string(&file).unwrap();
    let socket = folder.path().join("c");
    let server = format!("[server]\ndns_servers = [\"{CLOSED}\"]\ncontrol_socket = \"{}\"\n", socket.display());
    std::fs::write(&file, text.replace("[server]\n", &server)).unwrap();
    with_extension(&file, "pbx.invalid", "1001");
    let _server = serve(&file);
    let (answer, code) = status_until(&file, "looked for", |answer| answer["registrations"][0]["state"] == "failed");
    assert_eq!(code, Some(1));
    assert!(answer["registrations"][0]["reason"].as_str().unwrap().contains("pbx.invalid"), "{answer}");
    assert!(answer["registrations"][0]["retry_in_s"].is_u64(), "{answer}");
}

#[test]
fn the_public_address_is_asked_of_stun_out_of_the_sip_socket() {
    let stun = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = stun.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = stun.recv_from(&mut buffer) {
            // A Binding request (RFC 8489 section 5); the answer says 203.0.113.9 and the port it came from.
            if length < 20 || buffer[..2] != [0, 1] {
                continue;
            }
            let mut answer = vec![1, 1, 0, 12];
            answer.extend(&buffer[4..20]);
            answer.extend([0, 0x20, 0, 8, 0, 1]);
            answer.extend((from.port() ^ 0x2112).to_be_bytes());
            answer.extend([203 ^ 0x21, 0x12, 113 ^ 0xa4, 9 ^ 0x42]);
            stun.send_to(&answer, from).unwrap();
        }
    });
    let (folder, file) = house();
    let text = std::fs::read_to_string(&file).unwrap();
    let socket = folder.path().join("c");
    let server = format!("[server]\nstun = \"{address}\"\ncontrol_socket = \"{}\"\n", socket.display());
    let trunk = "[[trunk]]\nname = \"t\"\nhosts = [\"198.51.100.7\"]\nagent = \"echo\"\n";
    std::fs::write(&file, format!("{}{trunk}", text.replace("[server]\n", &server))).unwrap();
    let _server = serve(&file);
    let (answer, _) = status_until(&file, "mapped", |answer| answer["public_address"].is_string());
    let port = answer["listening"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert_eq!(answer["public_address"], format!("203.0.113.9:{port}"), "{answer}");
}

#[test]
fn two_numbers_of_one_carrier_have_their_own_trunks() {
    let (folder, file) = house();
    let text = std::fs::read_to_string(&file).unwrap();
    let socket = format!("[server]\ncontrol_socket = \"{}\"\n", folder.path().join("control.sock").display());
    let trunk = |name: &str, number: &str| {
        format!(
            "[[trunk]]\nname = \"{name}\"\nhosts = [\"127.0.0.1\"]\ncalled_numbers = [\"{number}\"]\nagent = \"echo\"\n"
        )
    };
    let trunks = format!("{}{}", trunk("sales", "+15550100001"), trunk("service", "+15550100002"));
    std::fs::write(&file, format!("{}{trunks}", text.replace("[server]\n", &socket))).unwrap();
    let _server = serve(&file);
    let (answer, _) = status_until(&file, "up", |answer| answer["listening"].is_string());
    let server: SocketAddr = answer["listening"].as_str().unwrap().parse().unwrap();
    let carrier = UdpSocket::bind("127.0.0.1:0").unwrap();
    carrier.set_read_timeout(Some(PATIENCE)).unwrap();
    let here = carrier.local_addr().unwrap();
    let call = |number: &str| {
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        let invite = format!(
            "INVITE sip:{number}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{0};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:+15550100009@{here}>;tag=a{0}\r\nTo: <sip:{number}@{server}>\r\nCall-ID: {0}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{here}>\r\nContent-Type: application/sdp\r\nContent-Length: {1}\r\n\r\n{sdp}",
            number.trim_start_matches('+'),
            sdp.len()
        );
        carrier.send_to(invite.as_bytes(), server).unwrap();
        let mut buffer = [0; 65_536];
        loop {
            let (length, _) = carrier.recv_from(&mut buffer).expect("an answer");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
            if status >= 200 {
                return status;
            }
        }
    };
    assert_eq!(call("+15550100001"), 200);
    assert_eq!(call("+15550100002"), 200, "the second trunk's number");
    assert_eq!(call("+15550100003"), 404, "a number of neither");
}

#[test]
fn profiles_are_listed_and_shown_with_what_they_inherit() {
    let list = stdout(&offhook(&["profiles"]));
    assert!(list.contains("freepbx") && list.contains("twilio"), "{list}");
    let twilio = json(&offhook(&["profiles", "twilio", "--json"]));
    assert_eq!((&twilio["refer_target"], &twilio["register"]), (&"tel".into(), &false.into()));
    assert_eq!(twilio["dtmf"], "rfc4733", "inherited");
    let source = stdout(&offhook(&["profiles", "twilio", "--source"]));
    assert!(source.starts_with("# Twilio"), "{source}");
    let wrong = offhook(&["profiles", "twillio"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("write \"twilio\""), "{wrong:?}");
}
