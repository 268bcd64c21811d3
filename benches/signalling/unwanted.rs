//! What strangers cost those who are on the line.

use super::support::{Bench, pause, resident_bytes};
use super::{cpu_ms, echo_server, echo_server_with, rates};
use offhook::cli::load::{Generator, Load, Sound};
use offhook::sip::Uri;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Calls with audio that must not notice.
const CALLS: usize = 50;
/// Forged INVITEs each second, and for how long.
const FLOOD_RATE: u64 = 50_000;
const FLOOD_TIME: Duration = Duration::from_secs(30);
/// Addresses they seem to come from.
const FORGED: u32 = 512;
/// Connections that send a byte now and then.
const SLOW: usize = 2_000;

/// INVITEs from spoofed loopback addresses while calls run.
pub fn flood(bench: &Bench) {
    let (mut server, address) = echo_server(bench);
    let to = Uri::sip_address(address).with_user("echo");
    let load = Load { ip: Some(bench.address(30).into()), sip_port: 5060, ..Load::marks(to, address, CALLS) };
    let calls = Generator::start(load).expect("the sockets open");
    let up = calls.all_up(Duration::from_secs(20)).expect("the calls are answered");
    println!("50 calls up, setup p99 {:.2} ms", up.signalling.setup.ms(0.99).unwrap_or(f64::NAN));
    let _ = calls.watch(Duration::from_secs(2));
    let calm = calls.watch(Duration::from_secs(10)).sound;
    let (resident, cpu) = (resident_bytes(server.pid()), cpu_ms(server.pid()));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let attacker = {
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        std::thread::spawn(move || attack(address, &stop, &sent))
    };
    let begun = Instant::now();
    let under = calls.watch(FLOOD_TIME).sound;
    stop.store(true, Relaxed);
    let answered = attacker.join().expect("the attacker has not panicked");
    let (took, sent) = (begun.elapsed().as_secs_f64(), sent.load(Relaxed));
    let spent = cpu_ms(server.pid()) - cpu;
    let peak = resident_bytes(server.pid());
    pause(Duration::from_secs(5));
    let after = resident_bytes(server.pid());
    println!(
        "flood: {:.0} INVITEs/s for {took:.0} s from {FORGED} addresses, {answered} bytes answered, {:.1} µs CPU each (calls included)",
        sent as f64 / took,
        spent as f64 * 1000.0 / sent.max(1) as f64
    );
    show("audio of 50 calls before", &calm);
    show("audio of 50 calls during", &under);
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!("resident: {:.1} MB before, {:.1} MB during, {:.1} MB after", mb(resident), mb(peak), mb(after));
    assert_eq!(calls.end().signalling.failed(), 0, "the calls end");
    server.stop();
}

fn show(name: &str, seen: &Sound) {
    let ms = |value: Option<f64>| value.unwrap_or(f64::NAN);
    println!(
        "{name}: pacing p99 {:.2} ms, round trip p50 {:.2} p99 {:.2} ms, {:.2} % back",
        ms(seen.pacing.ms(0.99)),
        ms(seen.round_trip.ms(0.5)),
        ms(seen.round_trip.ms(0.99)),
        seen.received as f64 / seen.sent.max(1) as f64 * 100.0
    );
}

/// Sends until told to stop; gives the bytes that came back.
fn attack(server: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) -> u64 {
    let sockets: Vec<UdpSocket> = (0..FORGED)
        .map(|n| {
            let socket = UdpSocket::bind((Ipv4Addr::from(0x7f50_0000 + 257 * n + 1), 5060)).expect("loopback is ours");
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            socket
        })
        .collect();
    let start = Instant::now();
    let (mut count, mut back) = (0_u64, 0_u64);
    let mut buffer = [0; 4096];
    while !stop.load(Relaxed) {
        let due = (start.elapsed().as_secs_f64() * FLOOD_RATE as f64) as u64;
        while count < due {
            let socket = &sockets[(count % u64::from(FORGED)) as usize];
            let ip = socket.local_addr().map_or_else(|_| Ipv4Addr::LOCALHOST.into(), |a| a.ip());
            let invite = format!(
                "INVITE sip:00{count}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK{count}\r\nMax-Forwards: 70\r\n\
                 From: <sip:100@{ip}>;tag={count}\r\nTo: <sip:00{count}@{server}>\r\nCall-ID: {count}@{ip}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:100@{ip}:5060>\r\nContent-Length: 0\r\n\r\n"
            );
            // A full queue loses it: what a flood does.
            let _ = socket.send_to(invite.as_bytes(), server);
            count += 1;
        }
        sent.store(count, Relaxed);
        for socket in &sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                back += length as u64;
            }
        }
        pause(Duration::from_millis(1));
    }
    back
}

/// Connections that never finish a message, while calls are set up: from strangers, and from the network of a trunk.
pub fn slow_connections(bench: &Bench) {
    let (mut server, address) =
        echo_server_with(bench, "[[trunk]]\nname = \"wide\"\nhosts = [\"127.96.0.0/12\"]\nagent = \"echo\"\n");
    let from = bench.address(30);
    let p99 = || {
        let (setup, done) = rates::place(from, address, "echo", 1_000, 100).expect("the calls are answered");
        assert_eq!(done, 1_000, "every call goes all the way");
        setup.value_at_quantile(0.99) as f64 / 1000.0
    };
    println!("slow connections, {SLOW} kept up by opening them again: setup p99 of calls {:.2} ms without them", p99());
    for (who, first) in [("strangers", 0x7f50_0001_u32), ("a trunk's network", 0x7f60_0001)] {
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let open: Vec<TcpStream> = (0..SLOW).filter_map(|n| open_slowly(first, n, address, &opened)).collect();
        let drip = {
            let (stop, opened) = (Arc::clone(&stop), Arc::clone(&opened));
            std::thread::spawn(move || drip(open, first, address, &stop, &opened))
        };
        let during = p99();
        stop.store(true, Relaxed);
        let left = drip.join().expect("nobody panicked");
        println!("  from {who}: {during:.2} ms; {left} open at the end, {} opened in all", opened.load(Relaxed));
    }
    server.stop();
}

/// Sends a byte on each connection every half second, and opens again what the server closed.
fn drip(mut open: Vec<TcpStream>, first: u32, server: SocketAddr, stop: &AtomicBool, opened: &AtomicU64) -> usize {
    while !stop.load(Relaxed) {
        open.retain_mut(|stream| stream.write_all(b"x").is_ok());
        let missing = SLOW - open.len();
        open.extend((0..missing).filter_map(|n| open_slowly(first, n, server, opened)));
        pause(Duration::from_millis(500));
    }
    open.len()
}

fn open_slowly(first: u32, n: usize, server: SocketAddr, opened: &AtomicU64) -> Option<TcpStream> {
    let mut stream = connect(Ipv4Addr::from(first + (n as u32 / 8) * 256), server).ok()?;
    opened.fetch_add(1, Relaxed);
    stream.write_all(b"INVITE sip:echo SIP/2.0\r\nVia: S").ok()?;
    Some(stream)
}

fn connect(source: Ipv4Addr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&server.into(), Duration::from_secs(2))?;
    Ok(socket.into())
}
