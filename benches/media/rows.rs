//! A row of the table, and what it has to hold.

use super::support::{open_udp_ports, resident_bytes, wait_until};
use offhook::cli::load::{Figures, Generator, Load};
use std::time::{Duration, Instant};

/// Most spread of the cost of a call, from the fewest calls to the most.
const FLAT: f64 = 0.10;

/// What one server did with one number of calls.
pub struct Row {
    pub name: &'static str,
    pub calls: usize,
    /// Milliseconds of processor time for a second of a call.
    pub cost_ms: f64,
    pub kb_per_call: f64,
    pub seen: Figures,
}

impl Row {
    pub fn print_head(first: &str) {
        println!(
            "\n{first:<32} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "calls", "CPU ms/cs", "kB/call", "sent/s", "back %", "trip p50", "p99 ms", "pacing", "p99 ms", "setup ms"
        );
    }

    /// Whether the calls were up and their audio came back.
    fn is_whole(&self) -> bool {
        let sound = &self.seen.sound;
        self.cost_ms.is_finite() && sound.received as f64 >= sound.sent as f64 * 0.99
    }

    fn print(&self, setup: Option<f64>) {
        let sound = &self.seen.sound;
        let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        println!(
            "{:<32} {:>5} {:>9.2} {:>8.0} {:>8} {:>8.2} {:>8} {:>8} {:>8} {:>8} {:>8}",
            self.name,
            self.calls,
            self.cost_ms,
            self.kb_per_call,
            sound.sent / seconds(),
            sound.received as f64 / sound.sent.max(1) as f64 * 100.0,
            ms(sound.round_trip.ms(0.5)),
            ms(sound.round_trip.ms(0.99)),
            ms(sound.pacing.ms(0.5)),
            ms(sound.pacing.ms(0.99)),
            ms(setup),
        );
    }
}

pub fn seconds() -> u64 {
    std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10)
}

/// User and system time of `pid` so far, in milliseconds (the kernel counts in hundredths of a second).
pub fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

/// Places the calls, watches them for [`seconds`], hangs up, prints the row.
pub fn measure(name: &'static str, pid: u32, load: &Load) -> Row {
    let place = |load: Load| {
        let limit = Duration::from_secs(40);
        let placed = Generator::start(load).unwrap_or_else(|error| panic!("{name}: {error}"));
        let figures = placed.all_up(limit);
        (placed, figures)
    };
    let ports = open_udp_ports(pid);
    // The first calls warm up what is loaded or grown once.
    let (warm, up) = place(Load { calls: 5, sockets: load.sockets.min(5), ..load.clone() });
    up.unwrap_or_else(|error| panic!("{name}: {error}"));
    let _ = warm.watch(Duration::from_secs(1));
    drop(warm);
    wait_until(Duration::from_secs(10), "the first calls are over", || open_udp_ports(pid) <= ports + 1);
    let idle_bytes = resident_bytes(pid);

    let (placed, up) = place(load.clone());
    let setup = match up {
        Ok(figures) => figures.signalling.setup.ms(0.5),
        Err(error) => {
            println!("{name:<32} {:>5} {error}", load.calls);
            return Row { name, calls: load.calls, cost_ms: f64::NAN, kb_per_call: f64::NAN, seen: Figures::default() };
        }
    };
    let _ = placed.watch(Duration::from_secs(2));
    let (start, before) = (Instant::now(), cpu_ms(pid));
    let seen = placed.watch(Duration::from_secs(seconds()));
    let (took, cpu) = (start.elapsed(), cpu_ms(pid) - before);
    let bytes = resident_bytes(pid).saturating_sub(idle_bytes);
    let failed = placed.end().signalling.failed();
    if failed > 0 {
        println!("{failed} of the calls of the next row did not end as they should");
    }
    let row = Row {
        name,
        calls: load.calls,
        cost_ms: cpu as f64 / (load.calls as f64 * took.as_secs_f64()),
        kb_per_call: bytes as f64 / load.calls as f64 / 1_000.0,
        seen,
    };
    row.print(setup);
    row
}

/// What our rows have to hold.
pub struct Goals {
    pub ours: &'static str,
    pub theirs: &'static str,
    pub most_ms: f64,
    pub most_ratio: f64,
}

impl Goals {
    pub fn print(&self, rows: &[Row]) {
        let ours: Vec<&Row> = rows.iter().filter(|row| row.name == self.ours && row.cost_ms.is_finite()).collect();
        let (Some(first), Some(last)) = (ours.first(), ours.last()) else { return };
        println!();
        let worst = |what: &str, most: f64, values: Vec<(usize, Option<f64>)>| {
            let (calls, value) = values
                .into_iter()
                .map(|(calls, value)| (calls, value.unwrap_or(f64::INFINITY)))
                .fold((0, f64::NEG_INFINITY), |worst, next| if next.1 > worst.1 { next } else { worst });
            let verdict = if value <= most { "holds" } else { "MISSED" };
            println!("  {what:<44} goal ≤ {most:<6} worst {value:.2} at {calls} calls: {verdict}");
        };
        let of = |what: fn(&Row) -> Option<f64>| ours.iter().map(|row| (row.calls, what(row))).collect::<Vec<_>>();
        worst("CPU, ms per call-second", self.most_ms, of(|row| Some(row.cost_ms)));
        let ratios = ours.iter().filter_map(|row| {
            let theirs = rows.iter().find(|r| r.name == self.theirs && r.calls == row.calls)?;
            // One that is saturated, or did not take the calls, is no measure.
            theirs.is_whole().then(|| (row.calls, Some(row.cost_ms / theirs.cost_ms)))
        });
        worst(&format!("CPU, as a share of {}", self.theirs), self.most_ratio, ratios.collect());
        worst("memory, kB per call", 100.0, of(|row| Some(row.kb_per_call)));
        worst("round trip p50, ms", 25.0, of(|row| row.seen.sound.round_trip.ms(0.5)));
        let paced = ours.iter().filter(|row| row.calls <= 500).map(|row| (row.calls, row.seen.sound.pacing.ms(0.99)));
        worst("pacing p99 up to 500 calls, ms", 2.0, paced.collect());
        let growth = last.cost_ms / first.cost_ms - 1.0;
        let verdict = if growth.abs() <= FLAT { "flat" } else { "NOT flat" };
        println!(
            "  cost of a call from {} to {} calls: {:+.0} %, {verdict} within {:.0} %",
            first.calls,
            last.calls,
            growth * 100.0,
            FLAT * 100.0
        );
    }
}
