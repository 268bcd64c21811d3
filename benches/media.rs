//! What a call costs here and elsewhere: the same calls of the same generator, one server after the other.
//!
//! `cargo bench --bench media [-- echo|bridge|designs|soak …]` (`make bench-media` is the first two):
//! - `echo`: our echo beside Asterisk's `Echo()`, and beside the bare prototype that is the bound for it;
//! - `bridge`: a call bridged to a bot in another process that sends everything back: our 16 kHz bridge beside
//!   Asterisk's AudioSocket and chan_websocket, and beside the bare prototype;
//! - `designs`: bare prototypes of several ways to move RTP;
//! - `soak`: our echo at 200 calls that come and go, for `BENCH_SOAK_MINUTES` (3): memory, descriptors, threads.
//!
//! Columns: processor time of the server's process, user and system, for each second of a call; memory that a call adds;
//! packets that came back of those sent; audio there and back; how far the gaps between packets are from 20 ms. A server
//! that is saturated looks cheap: read all columns. The bots' and the generator's processor time is not counted, but
//! they share the machine.
//!
//! `BENCH_SECONDS` is how long each row is watched (10), `BENCH_CALLS` how many calls there are (`50,200,500,1000`),
//! `BENCH_SERVERS` which of the servers take them: those whose name in the table has one of the words
//! (`offhook,echo(),audiosocket`); all without it.

#[path = "media/answerer.rs"]
mod answerer;
#[path = "media/bots.rs"]
mod bots;
#[path = "media/bridge_bound.rs"]
mod bridge_bound;
#[path = "media/designs.rs"]
mod designs;
#[path = "media/rows.rs"]
mod rows;
#[path = "media/soak.rs"]
mod soak;
#[path = "../tests/interop/support.rs"]
mod support;
#[path = "media/sys.rs"]
mod sys;

use offhook::cli::load::{Kind, Load, Pace};
use offhook::sip::Uri;
use rows::{Goals, Row, measure};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use support::{Asterisk, Bench, Running, Server, wait_until};

/// Calls at the same time, unless `BENCH_CALLS` says otherwise.
const CALLS: [usize; 4] = [50, 200, 500, 1_000];
/// Rows that are compared.
const OFFHOOK_ECHO: &str = "Offhook echo";
const ASTERISK_ECHO: &str = "Asterisk Echo()";
const OFFHOOK_BRIDGE: &str = "Offhook bridge, 16 kHz";
const AUDIOSOCKET: &str = "Asterisk AudioSocket, 8 kHz";
/// Port of the bots.
const BOT_PORT: u16 = 9_090;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["process", kind, name, rest @ ..] = words.as_slice() {
        let result = process(kind, name, rest);
        panic!("{kind} {name} ended: {result:?}");
    }
    let wants = |name: &str| if words.is_empty() { name == "echo" || name == "bridge" } else { words.contains(&name) };
    let bench = Bench::open();
    if wants("echo") {
        echo(&bench);
    }
    if wants("bridge") {
        bridge(&bench);
    }
    if wants("designs") {
        for (name, what) in designs::DESIGNS {
            println!("{name}: {what}");
        }
        designs(&bench);
    }
    if wants("soak") {
        soak::run(&bench);
    }
}

/// The other processes of a run are this program again.
fn process(kind: &str, name: &str, rest: &[&str]) -> std::io::Result<()> {
    let address = |n: usize| rest.get(n).and_then(|text| text.parse().ok()).expect("an address");
    match kind {
        "bot" => bots::run(name, address(0)),
        "design" => designs::run(name, address(0).ip()),
        "bridge" => bridge_bound::run(address(0).ip(), address(1)),
        _ => Err(std::io::Error::other("no such process")),
    }
}

/// Starts a process of [`process`] and waits until it is ready.
fn spawn(bench: &Bench, kind: &str, name: &str, addresses: &[SocketAddr]) -> Running {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["process", kind, name]).args(addresses.iter().map(ToString::to_string));
    let mut running = Running::start(name, &mut command, bench.path().join(format!("{kind}-{name}.log")));
    wait_until(Duration::from_secs(10), &format!("{kind} {name} is ready"), || {
        assert!(running.is_running(), "{kind} {name}: {}", running.output());
        running.output().contains("ready")
    });
    running
}

fn calls() -> Vec<usize> {
    let wanted = std::env::var("BENCH_CALLS").unwrap_or_default();
    let wanted: Vec<usize> = wanted.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    if wanted.is_empty() { CALLS.to_vec() } else { wanted }
}

/// Whether a server is to be measured.
fn is_wanted(name: &str) -> bool {
    let wanted = std::env::var("BENCH_SERVERS").unwrap_or_default().to_lowercase();
    let name = name.to_lowercase();
    let mut words = wanted.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    words.peek().is_none() || words.any(|word| name.contains(word))
}

/// Calls with marks from `ip` to `number` at `server`.
fn load(ip: Ipv4Addr, server: SocketAddr, number: &str, calls: usize) -> Load {
    let pace = Pace::new((calls as f64 / 8.0).max(25.0), Duration::ZERO);
    let to = Uri::sip_address(server).with_user(number);
    Load { ip: Some(ip.into()), sip_port: 5060, pace, ..Load::marks(to, server, calls) }
}

fn sip(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, 5060))
}

fn echo(bench: &Bench) {
    let (here, there) = (bench.address(30), bench.address(20));
    let mut rows = Vec::new();
    Row::print_head("echo");
    for n in calls() {
        if is_wanted(ASTERISK_ECHO) {
            let asterisk = Asterisk::start(bench, 3600);
            // The trunk's far end is what Asterisk takes calls from without asking.
            let load = load(there, asterisk.socket(), "600", n);
            rows.push(measure(ASTERISK_ECHO, asterisk.pid(), &load));
        }
        if is_wanted(OFFHOOK_ECHO) {
            let mut offhook = Server::start(bench, &trunk(here, "echo", ""));
            rows.push(measure(OFFHOOK_ECHO, offhook.pid(), &load(here, sip(there), "echo", n)));
            offhook.stop();
        }
        if is_wanted("bound: bare wheel") {
            let bound = spawn(bench, "design", "wheel", &[sip(there)]);
            rows.push(measure("bound: bare wheel", bound.pid(), &load(here, sip(there), "x", n)));
        }
    }
    Goals { ours: OFFHOOK_ECHO, theirs: ASTERISK_ECHO, most_ms: 0.8, most_ratio: 0.6 }.print(&rows);
}

/// A trunk for the generator's address that leads to `agent`.
fn trunk(from: Ipv4Addr, agent: &str, more: &str) -> String {
    format!("{more}[[trunk]]\nname = \"bench\"\nhosts = [\"{from}\"]\nagent = \"{agent}\"\n")
}

fn bridge(bench: &Bench) {
    let (here, there) = (bench.address(30), bench.address(20));
    let bot = SocketAddr::from((bench.address(40), BOT_PORT));
    let tones = |load: Load| Load { kind: Kind::Tones, ..load };
    let mut rows = Vec::new();
    Row::print_head("bridge");
    for n in calls() {
        for (name, kind, number) in [
            (AUDIOSOCKET, "audiosocket", "630"),
            ("Asterisk chan_websocket, µ-law", "websocket", "631"),
            ("Asterisk chan_websocket, 16 kHz", "websocket", "632"),
        ] {
            if !is_wanted(name) {
                continue;
            }
            let asterisk = Asterisk::start(bench, 3600);
            asterisk.set_global("AUDIOSOCKET", &bot.to_string());
            let _bot = spawn(bench, "bot", kind, &[bot]);
            rows.push(measure(name, asterisk.pid(), &tones(load(there, asterisk.socket(), number, n))));
        }
        let _bot = spawn(bench, "bot", "websocket", &[bot]);
        let agent =
            format!("agent: bot\nbridge: {{url: \"ws://{bot}/\", protocol: lean, encoding: pcm16, rate: 16000}}\n");
        let agent = format!(
            "[agents]\nbot = \"{}\"\n[[tools.host]]\nname = \"{}\"\nports = [{BOT_PORT}]\ndanger_allow_http = true\n\
             danger_allow_private_addresses = true\n",
            bench.write("bot.yaml", &agent).display(),
            bot.ip()
        );
        if is_wanted(OFFHOOK_BRIDGE) {
            let mut offhook = Server::start(bench, &trunk(here, "bot", &agent));
            rows.push(measure(OFFHOOK_BRIDGE, offhook.pid(), &tones(load(here, sip(there), "bot", n))));
            offhook.stop();
        }
        if is_wanted("bound: bare 16 kHz bridge") {
            let bound = spawn(bench, "bridge", "bound", &[sip(there), bot]);
            rows.push(measure("bound: bare 16 kHz bridge", bound.pid(), &tones(load(here, sip(there), "x", n))));
        }
    }
    Goals { ours: OFFHOOK_BRIDGE, theirs: AUDIOSOCKET, most_ms: 2.0, most_ratio: 0.7 }.print(&rows);
}

fn designs(bench: &Bench) {
    let (here, there) = (bench.address(30), bench.address(20));
    let wanted = std::env::var("BENCH_DESIGNS").unwrap_or_default();
    Row::print_head("design");
    for n in calls() {
        for (name, _) in designs::DESIGNS {
            if !wanted.is_empty() && !wanted.split(',').any(|w| w == name) {
                continue;
            }
            let prototype = spawn(bench, "design", name, &[sip(there)]);
            // One port for all calls needs a far side with one address for each; the others get the same.
            measure(name, prototype.pid(), &Load { sockets: n, ..load(here, sip(there), "x", n) });
        }
    }
}
