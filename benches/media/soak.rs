//! Calls that come and go for a long time, and whether anything is left behind.

use super::rows::cpu_ms;
use super::support::{Bench, Server, open_udp_ports, pause, resident_bytes, threads, wait_until};
use super::{load, sip, trunk};
use offhook::cli::load::{Generator, Load};
use std::time::{Duration, Instant};

/// Calls at the same time.
const CALLS: usize = 200;
/// How long each lasts: with 200 of them, ten new ones each second.
const CALL_LENGTH: Duration = Duration::from_secs(20);
/// Time between two samples of memory.
const SAMPLE: Duration = Duration::from_secs(5);
/// Most growth after the warm-up, in megabytes per hour.
const MOST_GROWTH: f64 = 1.0;

/// What is counted of a process.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Held {
    udp_ports: usize,
    descriptors: usize,
    threads: usize,
}

fn held(pid: u32) -> Held {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Held { udp_ports: open_udp_ports(pid), descriptors, threads: threads(pid) }
}

/// Growth in bytes per second by least squares over (seconds, bytes).
fn slope(samples: &[(f64, f64)]) -> f64 {
    let n = samples.len() as f64;
    let (mean_t, mean_b) = (samples.iter().map(|s| s.0).sum::<f64>() / n, samples.iter().map(|s| s.1).sum::<f64>() / n);
    let (over, under) = samples.iter().fold((0.0, 0.0), |(over, under), (t, b)| {
        (over + (t - mean_t) * (b - mean_b), under + (t - mean_t) * (t - mean_t))
    });
    over / under
}

pub fn run(bench: &Bench) {
    let minutes: f64 = std::env::var("BENCH_SOAK_MINUTES").ok().and_then(|m| m.parse().ok()).unwrap_or(3.0);
    let total = Duration::from_secs_f64(minutes * 60.0);
    // Five minutes, or a third of a run that is shorter than fifteen.
    let warm_up = Duration::from_secs(300).min(total / 3);
    let (here, there) = (bench.address(30), bench.address(20));
    let mut offhook = Server::start(bench, &trunk(here, "echo", ""));
    let pid = offhook.pid();
    let calls = |n: usize| load(here, sip(there), "echo", n);

    // One round of calls opens what is opened once.
    let first = Generator::start(calls(CALLS)).expect("the sockets open");
    first.all_up(Duration::from_secs(30)).expect("the calls are answered");
    drop(first.end());
    pause(Duration::from_secs(2));
    let base = held(pid);

    let generator =
        Generator::start(Load { call_length: Some(CALL_LENGTH), ..calls(CALLS) }).expect("the sockets open");
    let (start, cpu) = (Instant::now(), cpu_ms(pid));
    let mut samples = Vec::new();
    let mut all = offhook::cli::load::Figures::default();
    println!("\nsoak: {CALLS} calls of {} s, {minutes} minutes", CALL_LENGTH.as_secs());
    while start.elapsed() < total {
        pause(SAMPLE);
        let (at, bytes) = (start.elapsed(), resident_bytes(pid));
        let last = generator.take();
        if at >= warm_up {
            samples.push((at.as_secs_f64(), bytes as f64));
        }
        all.add(&last);
        if at.as_secs() % 60 < SAMPLE.as_secs() {
            println!(
                "{:>5} s  {:.2} MB  {} up  {} calls so far  round trip p99 {:.1} ms  pacing p99 {:.2} ms  loss {:.3} %",
                at.as_secs(),
                bytes as f64 / 1e6,
                generator.up(),
                all.signalling.placed,
                last.sound.round_trip.ms(0.99).unwrap_or(f64::NAN),
                last.sound.pacing.ms(0.99).unwrap_or(f64::NAN),
                last.sound.loss_percent().unwrap_or(f64::NAN),
            );
        }
    }
    let spent = (cpu_ms(pid) - cpu) as f64 / (CALLS as f64 * start.elapsed().as_secs_f64());
    all.add(&generator.end());
    wait_until(Duration::from_secs(60), "ports are back to base", || held(pid).udp_ports <= base.udp_ports);
    pause(Duration::from_secs(2));
    let after = held(pid);
    let growth = slope(&samples) * 3_600.0 / 1e6;
    let (least, most) = samples.iter().fold((f64::MAX, 0.0_f64), |(l, m), (_, b)| (l.min(*b), m.max(*b)));
    let (placed, failed) = (all.signalling.placed, all.signalling.failed());
    println!(
        "{placed} calls, {failed} failed, {spent:.2} ms CPU per call-second, loss {:.4} %",
        all.sound.loss_percent().unwrap_or(f64::NAN)
    );
    println!(
        "resident after {} s: {:.2} to {:.2} MB, slope {growth:+.2} MB/h (goal ≤ {MOST_GROWTH}): {}",
        warm_up.as_secs(),
        least / 1e6,
        most / 1e6,
        if growth <= MOST_GROWTH { "holds" } else { "MISSED" }
    );
    println!(
        "before: {base:?}\nafter:  {after:?}: {}",
        if after.udp_ports <= base.udp_ports && after.descriptors <= base.descriptors && after.threads <= base.threads {
            "back to base"
        } else {
            "NOT back to base"
        }
    );
    offhook.stop();
}
