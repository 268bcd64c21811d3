//! Cost of the media path: each step alone, then whole legs on loopback sockets.
//!
//! `cargo bench --bench media_path` or, for other numbers of legs, `… -- 50 200`. CPU is that of the worker
//! threads only, by their own clocks; on loopback the kernel charges the receiving side's work to the sender.
//! Pacing is measured on eight legs by sockets that block, and so includes the wake-up of their threads.

use offhook::audio::g711::Law;
use offhook::audio::{Concealer, VadMode, VoiceDetector};
use offhook::base::{Random, TurnId};
use offhook::media::{Leg, LegMedia, LegMode, MediaConfig, Workers};
use offhook::rtp::{Header, JitterBuffer, Packet, SourceLock};
use offhook::sdp::Codec;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{park_timeout, spawn};
use std::time::{Duration, Instant};

const SECONDS: u64 = 6;
const SAMPLED: usize = 8;

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![50, 200, 500] } else { counts };
    steps();
    println!(
        "\nmode   legs  CPU ms/call-s  sent/s per leg  returned  pacing p50/p99 ms  round trip p50/p99 ms  late slots  KiB/leg"
    );
    for mode in [LegMode::Echo, LegMode::Agent] {
        for count in &counts {
            legs(mode, *count);
        }
    }
}

fn time(name: &str, mut step: impl FnMut(u32)) {
    const ROUNDS: u32 = 200_000;
    let best = (0..3)
        .map(|_| {
            let started = Instant::now();
            (0..ROUNDS).for_each(&mut step);
            started.elapsed() / ROUNDS
        })
        .min()
        .unwrap_or_default();
    println!("{name:<44} {:>7.3} µs per 20 ms", best.as_secs_f64() * 1e6);
}

/// Each step of the path for one frame.
fn steps() {
    let speech: Vec<i16> =
        (0..8_000).map(|t| (6_000.0 * (t as f32 * 0.1).sin() * (t as f32 * 0.003).sin()) as i16).collect();
    let frame = |n: u32| &speech[(n as usize % 40) * 160..][..160];
    let (mut octets, mut samples) = ([0u8; 160], [0i16; 160]);
    time("G.711 encode", |n| Law::Mu.encode(black_box(frame(n)), &mut octets));
    time("G.711 decode", |_| Law::Mu.decode(black_box(&octets), &mut samples));
    let peer = SocketAddr::from(([127, 0, 0, 1], 4_000));
    let start = Instant::now();
    let mut lock = SourceLock::new(start, peer, peer.ip());
    let mut jitter = JitterBuffer::new(start);
    let mut round = 0u32;
    time("parse, source lock, jitter buffer in and out", |_| {
        round += 1;
        let now = start + Duration::from_millis(20) * round;
        let header =
            Header { sequence: round as u16, timestamp: round.wrapping_mul(160), ssrc: 7, ..Header::default() };
        let mut datagram = [0u8; 172];
        datagram[..12].copy_from_slice(&header.to_octets());
        let Ok(packet) = Packet::parse(black_box(&datagram)) else { return };
        black_box(lock.admit(now, peer, &packet.header, &[0, 101]));
        jitter.insert(now, packet.header.sequence, packet.header.timestamp, packet.payload);
        black_box(jitter.pull(now, false));
    });
    let mut voice = VoiceDetector::new(VadMode::Aggressive, false);
    time("voice activity", |n| {
        black_box(voice.is_voiced(frame(n)));
    });
    let mut concealer = Concealer::default();
    time("concealment, nothing lost", |n| {
        samples.copy_from_slice(frame(n));
        concealer.received(&mut samples[..80], false);
        concealer.received(&mut samples[80..], false);
    });
    time("concealment, every other frame lost", |n| {
        samples.copy_from_slice(frame(n));
        if n % 2 == 0 {
            concealer.conceal(&mut samples[..80]);
            concealer.conceal(&mut samples[80..]);
        } else {
            concealer.received(&mut samples[..80], false);
            concealer.received(&mut samples[80..], false);
        }
    });
}

fn media(remote: SocketAddr) -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, Codec::Pcmu) }
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0.0)
}

/// What one sampled leg's peer saw.
#[derive(Default)]
struct Sample {
    deviations_ms: Vec<f64>,
    round_trips_ms: Vec<f64>,
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn legs(mode: LegMode, count: usize) {
    let config = MediaConfig { bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), workers: 1, ..MediaConfig::default() };
    let Ok(workers) = Workers::start(config, Random::system()) else { return };
    let before_kib = resident_kib();
    let mut legs: Vec<Leg> = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..count {
        let (Ok(mut leg), Ok(peer)) = (workers.open(mode), UdpSocket::bind("127.0.0.1:0")) else { return };
        let Ok(address) = peer.local_addr() else { return };
        let _ = leg.configure(media(address));
        peers.push((peer, leg.local_addr()));
        legs.push(leg);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let samplers: Vec<_> = peers
        .iter()
        .take(SAMPLED.min(count))
        .filter_map(|(peer, _)| peer.try_clone().ok())
        .map(|socket| {
            let stop = Arc::clone(&stop);
            spawn(move || sample(&socket, started, &stop))
        })
        .collect();
    let generator = {
        let stop = Arc::clone(&stop);
        spawn(move || generate(&peers, SAMPLED.min(count), started, &stop))
    };
    // Warm up, then measure.
    let (mut cpu, mut sent, mut from) = (Duration::ZERO, 0, started);
    let mut warm = false;
    let mut turn = 1;
    while started.elapsed() < Duration::from_secs(SECONDS + 2) {
        if !warm && started.elapsed() > Duration::from_secs(2) {
            (cpu, sent, from, warm) = (workers.stats().cpu, total_sent(&legs), Instant::now(), true);
        }
        if mode == LegMode::Agent {
            turn += 1;
            for leg in &mut legs {
                while leg.uplink.try_pop().is_some() {}
                while leg.events.try_pop().is_some() {}
                let free = leg.downlink.free().min(1_600);
                leg.downlink.push(TurnId(1), &[700; 1_600][..free]);
            }
        }
        park_timeout(Duration::from_millis(100));
    }
    black_box(turn);
    let seconds = from.elapsed().as_secs_f64();
    let stats = workers.stats();
    let cpu_ms = (stats.cpu - cpu).as_secs_f64() * 1e3;
    let sent_rate = (total_sent(&legs) - sent) as f64 / seconds / count as f64;
    let kib = (resident_kib() - before_kib) / count as f64;
    stop.store(true, Ordering::Release);
    let returned = generator.join().unwrap_or(0.0);
    let (mut deviations, mut trips) = (Vec::new(), Vec::new());
    for sampler in samplers {
        let sample = sampler.join().unwrap_or_default();
        deviations.extend(sample.deviations_ms);
        trips.extend(sample.round_trips_ms);
    }
    println!(
        "{:<6} {count:>4}  {:>13.3}  {sent_rate:>14.1}  {:>7.2}%  {:>8.2} / {:<7.2}  {:>9.1} / {:<8.1}  {:>10}  {kib:>7.0}   {}",
        format!("{mode:?}"),
        cpu_ms / seconds / count as f64,
        returned * 100.0,
        percentile(deviations.clone(), 0.5),
        percentile(deviations, 0.99),
        percentile(trips.clone(), 0.5),
        percentile(trips, 0.99),
        format!("{:.2}%", stats.late_slots as f64 * 100.0 / stats.slots.max(1) as f64),
        stats.priority.join(","),
    );
}

fn total_sent(legs: &[Leg]) -> u64 {
    legs.iter().map(|leg| leg.stats().sent).sum()
}

/// Sends 50 packets a second to every leg, spread over the 20 ms, and counts what comes back.
fn generate(peers: &[(UdpSocket, SocketAddr)], sampled: usize, started: Instant, stop: &AtomicBool) -> f64 {
    let mut buffer = [0; 2_000];
    let (mut sent, mut returned) = (0u64, 0u64);
    for (peer, _) in peers.iter().skip(sampled) {
        let _ = peer.set_nonblocking(true);
    }
    let mut step = 0u64;
    while !stop.load(Ordering::Acquire) {
        for (n, (peer, leg)) in peers.iter().enumerate().filter(|(n, _)| *n as u64 % 10 == step % 10) {
            let frame = (step / 10) as u32;
            let header =
                Header { sequence: frame as u16, timestamp: frame * 160, ssrc: n as u32 + 1, ..Header::default() };
            let mut packet = [0x2A; 172];
            packet[..12].copy_from_slice(&header.to_octets());
            // The time of sending travels with the packet and comes back with the echo.
            packet[12..20].copy_from_slice(&(started.elapsed().as_micros() as u64).to_be_bytes());
            let _ = peer.send_to(&packet, leg);
            if n >= sampled {
                sent += 1;
                while peer.recv(&mut buffer).is_ok() {
                    returned += 1;
                }
            }
        }
        step += 1;
        park_timeout((started + Duration::from_millis(2 * step)).saturating_duration_since(Instant::now()));
    }
    returned as f64 / sent.max(1) as f64
}

fn sample(socket: &UdpSocket, started: Instant, stop: &AtomicBool) -> Sample {
    let mut sample = Sample::default();
    let mut buffer = [0; 2_000];
    let mut last: Option<Instant> = None;
    let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
    while !stop.load(Ordering::Acquire) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let now = Instant::now();
        if started.elapsed() < Duration::from_secs(2) {
            continue;
        }
        if let Some(last) = last.replace(now) {
            sample.deviations_ms.push(((now - last).as_secs_f64() * 1e3 - 20.0).abs());
        }
        let stamp = buffer.get(12..20).and_then(|s| s.try_into().ok()).map_or(0, u64::from_be_bytes);
        let elapsed = started.elapsed().as_micros() as u64;
        if length == 172 && buffer[30] == 0x2A && stamp < elapsed {
            sample.round_trips_ms.push((elapsed - stamp) as f64 / 1e3);
        }
    }
    sample
}
