//! What signalling costs, and what attackers can make it cost.
//!
//! `cargo bench --bench signalling [-- rates|registrations|flood|slow]`:
//! - `rates`: INVITE–200–ACK–BYE, ours beside Asterisk's, with the same generator in the same run: CPU of the server's
//!   process for each call and the time from INVITE to 200;
//! - `registrations`: what 1,000 registrations cost the process that keeps them alive;
//! - `flood`: INVITEs from thousands of spoofed addresses while calls with audio run;
//! - `slow`: TCP connections that send a byte now and then, while calls are set up.
//!
//! Figures move from machine to machine; compare the rows.

#[path = "signalling/rates.rs"]
mod rates;
#[path = "signalling/registrations.rs"]
mod registrations;
#[path = "../tests/interop/support.rs"]
mod support;
#[path = "signalling/unwanted.rs"]
mod unwanted;

use std::net::SocketAddr;
use support::{Bench, Server};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let bench = Bench::open();
    if wants("rates") {
        rates::run(&bench);
    }
    if wants("registrations") {
        registrations::run(&bench);
    }
    if wants("flood") {
        unwanted::flood(&bench);
    }
    if wants("slow") {
        unwanted::slow_connections(&bench);
    }
}

/// Our server with an echo for calls from the bench's address 30, and its SIP address.
fn echo_server(bench: &Bench) -> (Server, SocketAddr) {
    echo_server_with(bench, "")
}

/// The same with more in its configuration.
fn echo_server_with(bench: &Bench, more: &str) -> (Server, SocketAddr) {
    let trunk = format!("[[trunk]]\nname = \"bench\"\nhosts = [\"{}\"]\nagent = \"echo\"\n", bench.address(30));
    (Server::start(bench, &(trunk + more)), SocketAddr::new(bench.address(20).into(), 5060))
}

/// User and system time of `pid` so far, in milliseconds (the kernel counts in hundredths of a second).
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}
