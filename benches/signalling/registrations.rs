//! A thousand registrations in one process.

use super::cpu_ms;
use super::support::{Bench, Server, pause};
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Registrations kept alive.
const REGISTRATIONS: usize = 1_000;
/// Lifetime that the registrar grants: what FreePBX takes at least.
const GRANTED_S: u32 = 120;
/// How long is measured: more than one refresh of each.
const WATCHED: Duration = Duration::from_secs(120);

pub fn run(bench: &Bench) {
    let ip = bench.address(10);
    let socket = UdpSocket::bind((ip, 5060)).expect("the registrar listens");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let registrar = {
        let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
        std::thread::spawn(move || registrar(&socket, &stop, &requests))
    };
    let mut config = String::new();
    for number in 0..REGISTRATIONS {
        let _ = write!(
            config,
            "[[extension]]\nname = \"x{number}\"\nregistrar = \"{ip}:5060\"\nuser = \"{}\"\npassword = \"secret\"\nagent = \"echo\"\n",
            10_000 + number
        );
    }
    let mut server = Server::start(bench, &config);
    let start = Instant::now();
    let registered = || {
        let mut names: Vec<String> = server
            .events_named("registration")
            .iter()
            .filter(|e| e["state"] == "registered")
            .filter_map(|e| Some(e["extension"].as_str()?.to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    while registered() < REGISTRATIONS {
        assert!(start.elapsed() < Duration::from_secs(120), "only {} of them registered", registered());
        pause(Duration::from_millis(500));
    }
    println!("{REGISTRATIONS} registrations up after {:.1} s", start.elapsed().as_secs_f64());
    let (before, asked) = (cpu_ms(server.pid()), requests.load(Relaxed));
    pause(WATCHED);
    let (cpu, asked) = (cpu_ms(server.pid()) - before, requests.load(Relaxed) - asked);
    println!(
        "kept alive for {} s, granted {GRANTED_S} s each: {asked} REGISTERs, {:.2} % of a core",
        WATCHED.as_secs(),
        cpu as f64 / WATCHED.as_millis() as f64 * 100.0
    );
    server.stop();
    stop.store(true, Relaxed);
    let _ = registrar.join();
}

/// Challenges a REGISTER without credentials, accepts one with them, and checks neither: the cost of the client is
/// what is measured.
fn registrar(socket: &UdpSocket, stop: &AtomicBool, requests: &AtomicU64) {
    let mut buffer = [0; 8192];
    while !stop.load(Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]);
        if !text.starts_with("REGISTER ") {
            continue;
        }
        requests.fetch_add(1, Relaxed);
        let has_credentials = text.lines().any(|line| line.starts_with("Authorization:"));
        let mut out = if has_credentials { "SIP/2.0 200 OK\r\n" } else { "SIP/2.0 401 Unauthorized\r\n" }.to_owned();
        for line in text.lines().take_while(|line| !line.is_empty()) {
            if let Some(to) = line.strip_prefix("To:") {
                let _ = write!(out, "To:{to};tag=registrar\r\n");
            } else if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                let _ = write!(out, "{line}\r\n");
            } else if has_credentials && line.starts_with("Contact:") {
                let contact = line.split(";expires").next().unwrap_or(line);
                let _ = write!(out, "{contact};expires={GRANTED_S}\r\n");
            }
        }
        if !has_credentials {
            out += "WWW-Authenticate: Digest realm=\"bench\", nonce=\"0f1e2d3c4b5a\", algorithm=MD5, qop=\"auth\"\r\n";
        }
        let _ = socket.send_to((out + "Content-Length: 0\r\n\r\n").as_bytes(), from);
    }
}
