//! Attacks on the media of many calls at once: spray, forged packets, packets with bad tags, broken reports. The calls go
//! on as if nothing were there. The figures of the security policy need a quiet machine:
//!
//!     OFFHOOK_ATTACK=full cargo nextest run --release --test rtp_attack
//!
//! runs 200 calls against 10,000 packets a second for 10 s, and a million packets with bad tags; otherwise it is a fifth
//! of that or less.

#[path = "support/peers.rs"]
mod peers;

use offhook::base::{Random, SrtpKey, SrtpSuite};
use offhook::media::{Leg, LegMedia, LegMode, LegSecurity, Workers};
use offhook::rtp::srtp::{SrtpReceiver, SrtpSender};
use peers::{HONEST, HONEST_AUDIO, Heard, STRANGE_AUDIO, STRANGER, Source, audio, key_press, pause, socket};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No sample of the honest is louder.
const QUIET: u16 = 4_000;

fn is_full() -> bool {
    std::env::var("OFFHOOK_ATTACK").is_ok_and(|size| size == "full")
}

fn workers(ports: RangeInclusive<u16>) -> Workers {
    peers::workers(ports, 2)
}

fn media(remote: SocketAddr) -> LegMedia {
    peers::media(remote, HONEST)
}

/// An honest peer of one call.
fn peer(ssrc: u32) -> Source {
    Source::new(HONEST, ssrc, HONEST_AUDIO)
}

/// Sprays `ports` from the stranger's address at `per_second` until told to end: runs of packets that a stream might
/// have, audio and keys, from a few sockets. Gives how many were sent and how many came back.
fn spray(ports: RangeInclusive<u16>, per_second: u64, end: &AtomicBool) -> (u64, u64) {
    let sockets: Vec<UdpSocket> = (0..4).map(|_| socket(STRANGER)).collect();
    let (started, mut sent, mut sequence) = (Instant::now(), 0, 0u16);
    let mut targets = ports.clone().cycle();
    let mut buffer = [0; 2_000];
    let mut back = 0;
    while !end.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * per_second as f64) as u64;
        while sent < due {
            let port = targets.next().unwrap_or(0);
            if port == *ports.start() {
                sequence = sequence.wrapping_add(1);
            }
            let from = usize::from(sequence) / 16 % sockets.len();
            let ssrc = 0x5000 + from as u32;
            let packet =
                if sent % 5 == 4 { key_press(sequence, ssrc, 9) } else { audio(sequence, ssrc, STRANGE_AUDIO) };
            let _ = sockets[from].send_to(&packet, (Ipv4Addr::LOCALHOST, port));
            sent += 1;
        }
        back += sockets.iter().map(|s| std::iter::from_fn(|| s.recv(&mut buffer).ok()).count() as u64).sum::<u64>();
        pause(1);
    }
    (sent, back)
}

/// Ends the sprayer when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends one packet of every peer every 20 ms and lets every call hear, for `time`.
fn go_on(calls: &mut [(Leg, Source, Heard)], time: Duration) {
    let (started, mut rounds) = (Instant::now(), 0u32);
    while started.elapsed() < time {
        for (leg, peer, heard) in calls.iter_mut() {
            peer.send(leg.local_addr().port());
            peer.came += peer.received().len() as u64;
            heard.listen(leg);
        }
        rounds += 1;
        let next = Duration::from_millis(20) * rounds;
        std::thread::park_timeout(next.saturating_sub(started.elapsed()));
    }
}

#[test]
fn a_sprayer_over_the_port_range_of_many_calls_gets_nothing_and_is_not_heard_and_nat_moves_are_followed() {
    let (calls, rate, time) = if is_full() { (200, 10_000, 10) } else { (40, 4_000, 3) };
    let ports = 24_000..=24_000 + 2 * calls as u16 + 20;
    let workers = workers(ports.clone());
    let end = AtomicBool::new(false);
    let ((sent, back), mut calls) = std::thread::scope(|scope| {
        // Also when an assertion fails, or nobody would stop the sprayer.
        let over = Over(&end);
        // It is there before the calls are, in the moments of their answers, and to their end.
        let sprayer = scope.spawn(|| spray(ports.clone(), rate, &end));
        pause(50);
        let mut calls: Vec<(Leg, Source, Heard)> = (0..calls)
            .map(|n| {
                let mut leg = workers.open(LegMode::Agent).unwrap();
                let peer = peer(100 + n);
                leg.configure(media(peer.address())).unwrap();
                (leg, peer, Heard::default())
            })
            .collect();
        go_on(&mut calls, Duration::from_secs(time));
        for (leg, peer, heard) in &calls {
            let (stats, came) = (leg.stats(), peer.came);
            assert!(stats.received > time * 45 && came > time * 40, "drowned: {came} back, {stats:?}");
            assert!(heard.frames as u64 > time * 40, "{heard:?}");
        }
        // The NAT of a tenth of the peers gives them another port, which signalling renews: their re-INVITE names the
        // old one, their packets come from a new one.
        let old: Vec<_> = calls.iter().map(|(_, peer, _)| peer.address()).collect();
        for (_, peer, _) in calls.iter_mut().step_by(10) {
            (peer.socket, peer.came) = (socket(HONEST), 0);
        }
        go_on(&mut calls, Duration::from_millis(60));
        for ((leg, ..), old) in calls.iter_mut().zip(old).step_by(10) {
            leg.configure(media(old)).unwrap();
        }
        let moved = Instant::now();
        let mut found = Vec::new();
        while found.len() < calls.len().div_ceil(10) && moved.elapsed() < Duration::from_secs(5) {
            go_on(&mut calls, Duration::from_millis(20));
            for (n, (_, peer, _)) in calls.iter().enumerate().step_by(10) {
                if !found.contains(&n) && peer.came > 0 {
                    found.push(n);
                }
            }
            if found.len() == calls.len().div_ceil(10) {
                println!("{} peers were followed within {:?}", found.len(), moved.elapsed());
            }
        }
        let took = moved.elapsed();
        assert_eq!(found.len(), calls.len().div_ceil(10), "moved peers that were found");
        // 200 ms by their packets, and room for a machine that other tests load.
        assert!(took < Duration::from_millis(if is_full() { 220 } else { 600 }), "{took:?}");
        go_on(&mut calls, Duration::from_millis(500));
        drop(over);
        (sprayer.join().unwrap(), calls)
    });
    println!("{sent} packets were sprayed over {} calls, {back} came back", calls.len());
    assert_eq!(back, 0, "packets went to the stranger");
    assert!(sent > rate * time / 2, "the sprayer was slow: {sent}");
    for (leg, _, heard) in &mut calls {
        heard.listen(leg);
        assert!(heard.loudest < QUIET, "the stranger was heard: {heard:?}");
        assert_eq!(heard.digits, "", "the stranger pressed keys");
        assert!(leg.stats().rejected > 0);
    }
}

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1Tag80;

/// A call that is encrypted, and its peer's contexts.
fn encrypted(workers: &Workers, peer: &Source) -> (Leg, SrtpSender, SrtpReceiver) {
    let (ours, theirs) = ([7u8; 30], [8u8; 30]);
    let key = |octets: &[u8]| SrtpKey::new(SUITE, octets).unwrap();
    let mut leg = workers.open(LegMode::Agent).unwrap();
    let security = LegSecurity::Srtp { send: key(&ours), receive: key(&theirs) };
    leg.configure(LegMedia { security, ..media(peer.address()) }).unwrap();
    let sender = SrtpSender::new(&SrtpKey::new(SUITE, &theirs).unwrap());
    (leg, sender, SrtpReceiver::new(&SrtpKey::new(SUITE, &ours).unwrap()))
}

fn protect(sender: &mut SrtpSender, packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + 16, 0);
    let length = sender.protect(&mut room, packet.len()).unwrap();
    room.truncate(length);
    room
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn packets_with_bad_tags_leave_the_call_alive_and_memory_as_it_was() {
    // As the leg counts them: the kernel drops what does not fit into the socket's queue.
    let bad: u64 = if is_full() { 1_000_000 } else { 200_000 };
    let workers = workers(24_600..=24_639);
    let mut peer = peer(100);
    let (mut leg, mut sender, _) = encrypted(&workers, &peer);
    let port = leg.local_addr().port();
    let mut heard = Heard::default();
    let mut random = Random::seeded(5);
    for _ in 0..20 {
        let packet = protect(&mut sender, &peer.packet());
        peer.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port)).unwrap();
        pause(20);
        heard.listen(&mut leg);
    }
    assert!(heard.frames > 5 && heard.loudest > 0, "the call is up: {heard:?}");
    let before = (resident_kib(), heard.frames);
    let (started, mut sent, mut good) = (Instant::now(), 0, 0u32);
    let refused = |leg: &Leg| leg.stats().srtp_failures + leg.stats().rejected;
    while refused(&leg) < bad {
        assert!(started.elapsed() < Duration::from_secs(120), "{:?}", leg.stats());
        // From the peer's own address: right SSRC and sequence, other SSRCs, rubbish.
        for _ in 0..200 {
            let ssrc = if sent % 3 == 0 { 100 } else { random.next_u32() };
            let mut bad = audio(peer.sequence.wrapping_add((sent % 8) as u16), ssrc, STRANGE_AUDIO);
            bad.extend(random.next_u64().to_le_bytes());
            bad.extend([0, 0]);
            let _ = peer.socket.send_to(&bad, (Ipv4Addr::LOCALHOST, port));
            sent += 1;
        }
        if started.elapsed() > Duration::from_millis(20) * good {
            let packet = protect(&mut sender, &peer.packet());
            let _ = peer.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
            good += 1;
        }
        heard.listen(&mut leg);
    }
    let (grown, took) = (resident_kib().saturating_sub(before.0), started.elapsed());
    for _ in 0..25 {
        let packet = protect(&mut sender, &peer.packet());
        let _ = peer.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
        pause(20);
        heard.listen(&mut leg);
    }
    let stats = leg.stats();
    println!("{sent} bad packets in {took:?}, {} counted, {grown} KiB more", refused(&leg));
    assert!(grown < 2_048, "{grown} KiB more after {sent} bad packets");
    assert!(stats.srtp_failures > 0, "{stats:?}");
    assert!(heard.loudest < QUIET && heard.digits.is_empty(), "{heard:?}");
    // While bad packets fill the socket's queue, good ones are lost in the kernel; the call is heard again at once.
    assert!(heard.frames > before.1 + 20, "{heard:?}");
    assert!(!peer.received().is_empty());
}

#[test]
fn an_encrypted_call_neither_sends_nor_hears_a_packet_in_clear() {
    let workers = workers(24_700..=24_739);
    let mut peer = peer(100);
    let (mut leg, mut sender, mut receiver) = encrypted(&workers, &peer);
    let port = leg.local_addr().port();
    let mut heard = Heard::default();
    let mut clear = Source { socket: peer.socket.try_clone().unwrap(), ..Source::new(HONEST, 100, HONEST_AUDIO) };
    for _ in 0..40 {
        // Louder than anything that the peer says.
        let packet = audio(clear.sequence, 100, STRANGE_AUDIO);
        clear.sequence += 1;
        clear.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port)).unwrap();
        clear.socket.send_to(&key_press(clear.sequence, 100, 9), (Ipv4Addr::LOCALHOST, port)).unwrap();
        pause(10);
        heard.listen(&mut leg);
    }
    assert!(heard.loudest == 0 && heard.digits.is_empty(), "{heard:?}");
    for _ in 0..30 {
        let packet = protect(&mut sender, &peer.packet());
        peer.socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port)).unwrap();
        pause(20);
        heard.listen(&mut leg);
    }
    assert!(heard.loudest > 0 && heard.loudest < QUIET, "{heard:?}");
    let sent = peer.received();
    assert!(sent.len() > 20);
    for mut packet in sent {
        let silence = packet.windows(8).any(|octets| octets == [0xFF; 8]);
        assert!(!silence, "silence in clear: {packet:02x?}");
        if !(72..=76).contains(&(packet[1] & 0x7F)) {
            assert_eq!(receiver.unprotect(&mut packet), Ok(172), "what leaves is SRTP");
        }
    }
    // Plain again is not possible, whatever a re-offer agrees on.
    assert!(leg.configure(media(peer.address())).is_err());
}

#[test]
fn reports_of_every_type_and_length_do_a_live_call_no_harm() {
    let workers = workers(24_800..=24_839);
    let mut peer = peer(100);
    let mut leg = workers.open(LegMode::Agent).unwrap();
    // Multiplexed: reports come to the RTP port.
    leg.configure(LegMedia { rtcp: peer.address(), ..media(peer.address()) }).unwrap();
    let port = leg.local_addr().port();
    let mut heard = Heard::default();
    let mut random = Random::seeded(3);
    let sent = AtomicU64::new(0);
    for length in 0..=64usize {
        for packet_type in 192..=223u8 {
            for (count, words) in [(0, None), (1, None), (31, None), (1, Some(0)), (1, Some(0xFFFF))] {
                let mut report: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
                // Version 2, a count of blocks, and a length that fits or lies.
                let words = words.unwrap_or_else(|| (length / 4).saturating_sub(1) as u16).to_be_bytes();
                let head = [0x80 | count, packet_type, words[0], words[1], 0, 0, 0, 100];
                let known = length.min(head.len());
                report[..known].copy_from_slice(&head[..known]);
                for to in [port, port + 1] {
                    let _ = peer.socket.send_to(&report, (Ipv4Addr::LOCALHOST, to));
                }
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        peer.send(port);
        pause(5);
        heard.listen(&mut leg);
    }
    for _ in 0..30 {
        peer.send(port);
        pause(20);
        heard.listen(&mut leg);
    }
    assert!(heard.frames > 20 && heard.loudest > 0 && heard.digits.is_empty(), "{heard:?}");
    assert!(leg.stats().received >= 30, "{:?}", leg.stats());
    assert!(peer.received().len() > 20);
}
