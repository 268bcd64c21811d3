//! Echo calls, ours beside Asterisk's `Echo()`, with the same generator in the same run.
//!
//! `cargo bench --bench calls [-- asterisk|offhook]` prints a table: set-up time, CPU of the server's process
//! for each second of a call (user and system), resident memory a call adds, round trip and pacing of the
//! audio, and how much of it came back. Figures move from machine to machine; compare the rows.
//! `BENCH_SECONDS` is how long each number of calls is watched (15).

#[path = "../tests/interop/support.rs"]
mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use offhook::{
    cli::load::{Generator, Load, Pace},
    sip::Uri,
};
use support::{Asterisk, Bench, Server, resident_bytes};

/// Calls at the same time.
const CALLS: [usize; 2] = [50, 200];
/// New calls each second.
const RATE: f64 = 50.0;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    let bench = Bench::open();
    println!(
        "{:<10} {:>5} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>10} {:>8}",
        "server", "calls", "setup p50", "p99 ms", "CPU ms/s", "kB/call", "trip p50", "p99 ms", "pacing p99", "back %"
    );
    for calls in CALLS {
        if wants("asterisk") {
            let asterisk = Asterisk::start(&bench, 3600);
            let server = asterisk.address().parse().expect("an address");
            measure("Asterisk", asterisk.pid(), &load(bench.address(20), server, "600", calls), seconds);
        }
        if wants("offhook") {
            let trunk = format!("[[trunk]]\nname = \"bench\"\nhosts = [\"{}\"]\nagent = \"echo\"\n", bench.address(30));
            let mut offhook = Server::start(&bench, &trunk);
            let server = SocketAddr::new(bench.address(20).into(), 5060);
            measure("Offhook", offhook.pid(), &load(bench.address(30), server, "echo", calls), seconds);
            offhook.stop();
        }
    }
}

fn load(from: Ipv4Addr, server: SocketAddr, number: &str, calls: usize) -> Load {
    let to = Uri::sip_address(server).with_user(number);
    let pace = Pace::new(RATE, Duration::ZERO);
    Load { ip: Some(from.into()), sip_port: 5060, pace, ..Load::marks(to, server, calls) }
}

fn measure(name: &str, pid: u32, load: &Load, seconds: u64) {
    let calls = load.calls;
    let place = |load: Load| {
        let limit = Duration::from_secs_f64(load.calls as f64 / RATE + 10.0);
        let placed = Generator::start(load).unwrap_or_else(|error| panic!("{name}: {error}"));
        let figures = placed.all_up(limit).unwrap_or_else(|error| panic!("{name}: {error}"));
        (placed, figures)
    };
    // The first calls warm up what is loaded or grown once.
    let (warm, _) = place(Load { calls: 5, ..load.clone() });
    let _ = warm.watch(Duration::from_secs(1));
    drop(warm);
    let idle_bytes = resident_bytes(pid);

    let (placed, figures) = place(load.clone());
    let setup = figures.signalling.setup;
    let _ = placed.watch(Duration::from_secs(1));
    let before = cpu_ms(pid);
    let seen = placed.watch(Duration::from_secs(seconds)).sound;
    let cpu = cpu_ms(pid) - before;
    let bytes = resident_bytes(pid).saturating_sub(idle_bytes);
    assert_eq!(placed.end().signalling.failed(), 0, "{name}: calls failed");

    let ms = |value: Option<f64>| value.unwrap_or(f64::NAN);
    println!(
        "{name:<10} {calls:>5} {:>9.2} {:>9.2} {:>10.2} {:>9.0} {:>9.2} {:>9.2} {:>10.2} {:>8.2}",
        ms(setup.ms(0.5)),
        ms(setup.ms(0.99)),
        cpu as f64 / (calls as u64 * seconds) as f64,
        bytes as f64 / calls as f64 / 1000.0,
        ms(seen.round_trip.ms(0.5)),
        ms(seen.round_trip.ms(0.99)),
        ms(seen.pacing.ms(0.99)),
        seen.received as f64 / seen.sent.max(1) as f64 * 100.0,
    );
}

/// User and system time of `pid` so far, in milliseconds (the kernel counts in hundredths of a second).
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}
