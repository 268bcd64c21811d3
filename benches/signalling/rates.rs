//! Calls that are hung up as soon as they are answered.

use super::support::{Asterisk, Bench};
use super::{cpu_ms, echo_server};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Calls placed in a row of the table.
const CALLS: u32 = 3_000;
/// Calls each second: far below what either server can do, so that setup time is not queueing time.
const RATE: u32 = 150;
/// After the last INVITE, calls that are not over by then have failed.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(bench: &Bench) {
    println!(
        "{:<10} {:>6} {:>6} {:>12} {:>10} {:>10}",
        "server", "calls", "failed", "CPU ms/call", "setup p50", "p99 ms"
    );
    {
        let asterisk = Asterisk::start(bench, 3600);
        let server = asterisk.address().parse().expect("an address");
        row("Asterisk", asterisk.pid(), bench.address(20), server, "600");
    }
    let (mut offhook, server) = echo_server(bench);
    row("Offhook", offhook.pid(), bench.address(30), server, "echo");
    offhook.stop();
}

fn row(name: &str, pid: u32, from: Ipv4Addr, server: SocketAddr, number: &str) {
    // The first calls warm up what is loaded or grown once.
    place(from, server, number, 100, RATE).unwrap_or_else(|error| panic!("{name}: {error}"));
    let before = cpu_ms(pid);
    let (setup, done) = place(from, server, number, CALLS, RATE).unwrap_or_else(|error| panic!("{name}: {error}"));
    let cpu = cpu_ms(pid) - before;
    let ms = |quantile| setup.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{name:<10} {CALLS:>6} {:>6} {:>12.2} {:>10.2} {:>10.2}",
        CALLS - done,
        f64::from(u32::try_from(cpu).unwrap_or(u32::MAX)) / f64::from(CALLS),
        ms(0.5),
        ms(0.99)
    );
}

struct Call {
    invited: Instant,
    is_answered: bool,
}

/// Places `calls` calls, `rate` each second; gives INVITE to 200 in microseconds and how many calls went all the way.
pub fn place(
    from: Ipv4Addr,
    server: SocketAddr,
    number: &str,
    calls: u32,
    rate: u32,
) -> io::Result<(Histogram<u64>, u32)> {
    let socket = UdpSocket::bind((from, 5060))?;
    let mut setup = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order");
    let mut open: HashMap<u32, Call> = HashMap::new();
    let run = format!("{}-{:x}", std::process::id(), Instant::now().elapsed().as_nanos() ^ u128::from(calls));
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let run = format!("{run}-{stamp:x}");
    let gap = Duration::from_secs(1) / rate;
    let start = Instant::now();
    let (mut placed, mut done) = (0, 0);
    let mut buffer = [0; 8192];
    loop {
        let next = start + gap * placed;
        let limit = if placed < calls { next } else { start + gap * calls + PATIENCE };
        let now = Instant::now();
        if placed < calls && now >= next {
            open.insert(placed, Call { invited: Instant::now(), is_answered: false });
            socket.send_to(message("INVITE", &run, placed, from, server, number, None).as_bytes(), server)?;
            placed += 1;
            continue;
        }
        if placed == calls && (open.is_empty() || now >= limit) {
            return Ok((setup, done));
        }
        socket.set_read_timeout(Some((limit - now).max(Duration::from_micros(50))))?;
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]);
        if !text.starts_with("SIP/2.0 ") {
            continue;
        }
        let Some(index) = field(&text, "Call-ID").rsplit('-').next().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Some(call) = open.get_mut(&index) else { continue };
        let status = text.get(8..11).unwrap_or_default();
        let is_invite = field(&text, "CSeq").ends_with("INVITE");
        match (status, is_invite) {
            ("200", true) => {
                let (to, contact) = (field(&text, "To").to_owned(), uri_of(field(&text, "Contact")).to_owned());
                let dialog = Some((to.as_str(), contact.as_str()));
                socket.send_to(message("ACK", &run, index, from, server, number, dialog).as_bytes(), server)?;
                if !call.is_answered {
                    call.is_answered = true;
                    let _ = setup.record((call.invited.elapsed().as_micros() as u64).max(1));
                    socket.send_to(message("BYE", &run, index, from, server, number, dialog).as_bytes(), server)?;
                }
            }
            ("200", false) => {
                open.remove(&index);
                done += 1;
            }
            (code, true) if code > "299" => {
                return Err(io::Error::other(format!(
                    "a call was refused: {}",
                    text.lines().next().unwrap_or_default()
                )));
            }
            _ => {}
        }
    }
}

fn message(
    method: &str,
    run: &str,
    index: u32,
    from: Ipv4Addr,
    server: SocketAddr,
    number: &str,
    dialog: Option<(&str, &str)>,
) -> String {
    let target = format!("sip:{number}@{server}");
    let (to, uri) =
        dialog.map_or_else(|| (format!("<{target}>"), target.clone()), |(t, c)| (t.to_owned(), c.to_owned()));
    let cseq = if method == "BYE" { 2 } else { 1 };
    let body = if method == "INVITE" {
        format!(
            "v=0\r\no=- {index} 1 IN IP4 {from}\r\ns=-\r\nc=IN IP4 {from}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        )
    } else {
        String::new()
    };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from}:5060;branch=z9hG4bK{method}{run}-{index}\r\nMax-Forwards: 70\r\n\
         From: <sip:load@{from}:5060>;tag=t{index}\r\nTo: {to}\r\nCall-ID: {run}-{index}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:load@{from}:5060>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
        .unwrap_or_default()
}

fn uri_of(contact: &str) -> &str {
    contact.split(['<', '>']).nth(1).unwrap_or(contact)
}
