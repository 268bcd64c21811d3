//! What a call costs whose ears, mind and voice are vendors: `offhook serve` with a converse agent, three streaming
//! vendors over TLS, and callers who speak and wait for their answers.
//!
//! `cargo bench --bench ai_path [-- calls|stages]` (`make bench-ai`), after `make models` for voice activity:
//! - `calls`: the echo, the agent with callers who are silent, the agent with callers who talk;
//! - `stages`: each vendor's adapter by itself, in a process with nothing else.
//!
//! The vendors are fakes in a process of their own that do no work: a recogniser that hears the same words in any audio, a
//! model with a short answer, a voice in µ-law at twice the pace of playing. Their processor time is not counted, nor
//! the generator's, but they share the machine.
//!
//! `BENCH_SECONDS` is how long each row is watched (20), `BENCH_CALLS` how many calls there are (`50,200`).

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/fakes/mod.rs"]
mod fakes;
#[allow(dead_code, reason = "the goals of other benches")]
#[path = "media/rows.rs"]
mod rows;
#[path = "ai_path/stages.rs"]
mod stages;
#[path = "../tests/interop/support.rs"]
mod support;
#[path = "ai_path/vendors.rs"]
mod vendors;

use common::speech::human_clips;
use offhook::cli::load::{Kind, Load, Pace};
use offhook::sip::Uri;
use rows::{Row, measure};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use support::{Bench, Running, Server, wait_until};
use vendors::Vendors;

/// Calls at the same time, unless `BENCH_CALLS` says otherwise.
const CALLS: [usize; 2] = [50, 200];
/// Most processor time for a second of a call, in milliseconds.
const GOAL_MS: f64 = 5.0;
/// What every caller says, over and over.
const CLIP: &str = "austen-0880";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["process", "vendors", certificate] => vendors::serve(certificate),
        ["process", "stage", name, count, certificate, urls @ ..] => stages::run(name, count, certificate, urls),
        _ => {}
    }
    let wants = |name: &str| words.is_empty() || words.contains(&name);
    let bench = Bench::open();
    let vendors = Vendors::start(&bench);
    if wants("calls") {
        calls(&bench, &vendors);
    }
    if wants("stages") {
        stages::measure(&bench, &vendors, &counts());
    }
}

/// Starts this program again as one of the other processes, and waits until it is ready.
fn spawn(bench: &Bench, name: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("process").args(arguments);
    let mut running = Running::start(name, &mut command, bench.path().join(format!("{name}.log")));
    wait_until(Duration::from_secs(30), &format!("{name} is ready"), || {
        assert!(running.is_running(), "{name}: {}", running.output());
        running.output().contains("ready")
    });
    running
}

fn counts() -> Vec<usize> {
    let wanted = std::env::var("BENCH_CALLS").unwrap_or_default();
    let wanted: Vec<usize> = wanted.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    if wanted.is_empty() { CALLS.to_vec() } else { wanted }
}

fn calls(bench: &Bench, vendors: &Vendors) {
    let (here, there) = (bench.address(30), SocketAddr::from((bench.address(20), 5060)));
    let clip = human_clips().into_iter().find(|clip| clip.name == CLIP).expect("the clip travels with the source");
    let agent = bench.write("agent.yaml", vendors::AGENT);
    let config = |agent_name: &str| {
        format!(
            "{}[agents]\nassistant = \"{}\"\n[[trunk]]\nname = \"bench\"\nhosts = [\"{here}\"]\nagent = \"{agent_name}\"\n",
            vendors.config(),
            agent.display()
        )
    };
    Row::print_head("whole calls");
    let mut worst = Vec::new();
    for n in counts() {
        let silence = vec![0; clip.samples.len()];
        let rows: [(&'static str, &str, Kind); 3] = [
            ("echo", "echo", Kind::Marks),
            ("agent, silent callers", "assistant", Kind::Speech(silence)),
            ("agent, talking callers", "assistant", Kind::Speech(clip.samples.clone())),
        ];
        for (name, program, kind) in rows {
            let talks = name.ends_with("talking callers");
            let mut offhook = Server::start(bench, &config(program));
            let row = measure(name, offhook.pid(), &load(here, there, n, kind));
            if talks {
                turns(&row, &offhook);
                worst.push((n, row.cost_ms));
            }
            offhook.stop();
        }
    }
    for (n, cost) in worst {
        let verdict = if cost <= GOAL_MS { "holds" } else { "MISSED" };
        println!("  CPU, ms per call-second, {n} calls             goal ≤ {GOAL_MS} measured {cost:.2}: {verdict}");
    }
}

fn load(ip: Ipv4Addr, server: SocketAddr, calls: usize, kind: Kind) -> Load {
    let to = Uri::sip_address(server).with_user("assistant");
    let pace = Pace::new((calls as f64 / 8.0).max(10.0), Duration::ZERO);
    Load { ip: Some(ip.into()), sip_port: 5060, pace, kind, ..Load::marks(to, server, calls) }
}

/// How the turns of a row went: by the caller's ears, and by the server's own clock.
fn turns(row: &Row, server: &Server) {
    let heard = &row.seen.sound.turn;
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
    println!(
        "  turns: {} answered, {} not; from the caller's last voiced packet to the first of the answer p50 {} p95 {} p99 {} ms",
        heard.count(),
        row.seen.sound.unanswered_turns,
        ms(heard.ms(0.5)),
        ms(heard.ms(0.95)),
        ms(heard.ms(0.99)),
    );
    let records = server.events_named("turn_latency");
    let between = |from: &str, to: &str| {
        let times = records.iter().filter_map(|record| {
            let at = |stage: &str| record["ms_after_caller_silent"][stage].as_f64();
            Some(at(to)? - at(from)?)
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let of =
            |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied();
        format!("p50 {} p95 {} p99 {} ms", ms(of(0.5)), ms(of(0.95)), ms(of(0.99)))
    };
    println!(
        "  from the end of the turn to the first packet, vendors included: {}",
        between("end_of_turn", "first_packet")
    );
    println!("    of it to the model's first word: {}", between("end_of_turn", "first_token"));
    println!("    and to the voice's first sound: {}", between("first_token", "first_audio"));
    println!("    and to the wire: {}", between("first_audio", "first_packet"));
}
