//! What SRTP costs: microseconds per packet of G.711 (160 octets of payload), protected and unprotected in place, for each
//! suite; and what a forged packet costs. `cargo bench --bench srtp`.

use offhook::base::Random;
use offhook::base::{SrtpKey, SrtpSuite};
use offhook::rtp::srtp::MAX_RTP_OVERHEAD;
use offhook::rtp::{Header, SrtpReceiver, SrtpSender};
use std::hint::black_box;
use std::time::Instant;

const PACKETS: u32 = 1_000;
const ROUNDS: usize = 500;
const PLAIN: usize = 12 + 160;

/// The best of many short rounds, in µs per packet: the others were disturbed.
fn best(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn per_packet(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6 / f64::from(PACKETS)
}

fn main() {
    println!("| suite | protect, µs | unprotect, µs | refuse a forgery, µs |");
    println!("|---|---|---|---|");
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::random(suite, &mut Random::seeded(1));
        let mut protected = vec![[0; PLAIN + MAX_RTP_OVERHEAD]; PACKETS as usize];
        let mut length = 0;
        let protect = best(|| {
            let mut sender = SrtpSender::new(&key);
            for (n, packet) in protected.iter_mut().enumerate() {
                let header = Header { sequence: n as u16, ssrc: 7, ..Header::default() };
                packet[..12].copy_from_slice(&header.to_octets());
            }
            let start = Instant::now();
            for packet in &mut protected {
                length = black_box(sender.protect(packet, PLAIN)).unwrap_or(0);
            }
            per_packet(start)
        });
        let unprotect = best(|| {
            let mut receiver = SrtpReceiver::new(&key);
            let mut packets = protected.clone();
            let start = Instant::now();
            let opened = packets.iter_mut().filter_map(|packet| receiver.unprotect(&mut packet[..length]).ok()).count();
            let cost = per_packet(start);
            assert_eq!(opened, PACKETS as usize);
            cost
        });
        let refuse = best(|| {
            let mut receiver = SrtpReceiver::new(&key);
            let mut first = protected[0];
            receiver.unprotect(&mut first[..length]).ok();
            let mut packet = protected[1];
            packet[100] ^= 1;
            let start = Instant::now();
            let refused = (0..PACKETS).filter(|_| receiver.unprotect(&mut packet[..length]).is_err()).count();
            let cost = per_packet(start);
            assert_eq!(refused, PACKETS as usize);
            cost
        });
        println!("| {suite} | {protect:.2} | {unprotect:.2} | {refuse:.2} |");
    }
}
