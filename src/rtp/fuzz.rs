//! Bodies of the fuzz targets `rtp`, `dtmf` and `jitter_ops`.

use super::jitter::{GRANULE, MAX_PAYLOAD};
use super::{Admission, DigitReceiver, JitterBuffer, Packet, Reception, SourceLock};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Plays the input as datagrams of one call: each is two octets of length and source, then that many octets.
/// Whatever comes, the receive path keeps its promises and does not panic.
pub fn rtp(input: &[u8]) {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
    let mut now = Instant::now();
    let (mut lock, mut jitter) = (SourceLock::new(now, peer, peer.ip()), JitterBuffer::new(now));
    let (mut digits, mut reception) = (DigitReceiver::default(), Reception::default());
    let mut rest = input;
    while let [len, source, tail @ ..] = rest {
        let (datagram, later) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = later;
        now += Duration::from_millis(u64::from(source >> 2));
        if let Ok(packet) = Packet::parse(datagram) {
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000 + u16::from(source & 3)));
            let header = packet.header;
            let admission = lock.admit(now, from, &header, &[0, 101]);
            if let Admission::AcceptedNew { .. } = admission {
                jitter.reset();
                digits.reset();
                reception = Reception::default();
            }
            if !matches!(admission, Admission::Refused(_)) {
                if header.payload_type == 101 {
                    digits.receive(now, header.timestamp, packet.payload);
                } else {
                    reception.record(now, header.sequence, Some(header.timestamp));
                    jitter.insert(now, header.sequence, header.timestamp, packet.payload);
                }
            }
        }
        if source & 4 != 0 {
            jitter.pull(now, source & 8 != 0);
        }
        assert!(reception.lost() <= reception.expected());
    }
}

/// Plays the input as telephone-events: each is a step of the clock, a step of the timestamp, and a payload of four
/// octets or fewer. A packet makes at most one digit, and one that is repeated at once makes none.
pub fn dtmf(input: &[u8]) {
    let (mut now, mut timestamp) = (Instant::now(), 0u32);
    let mut digits = DigitReceiver::default();
    let mut rest = input;
    while let [flags, step, tail @ ..] = rest {
        let (payload, later) = tail.split_at(tail.len().min(usize::from(flags & 7).min(4)));
        rest = later;
        digits.set_clock_rate([8_000, 16_000, 48_000, 0].get(usize::from(flags >> 6)).copied().unwrap_or(0));
        now += Duration::from_millis(u64::from(step & 0x0F) * 10);
        let leap = if flags & 0x20 != 0 { 1 << 24 } else { 160 };
        timestamp = timestamp.wrapping_add(u32::from(step >> 4).wrapping_mul(leap));
        if flags & 0x10 != 0 {
            digits.reset();
        }
        digits.receive(now, timestamp, payload);
        let again = digits.receive(now, timestamp, payload);
        assert!(again.is_none(), "a repeat made a digit");
    }
}

/// Plays the input as operations on two equal jitter buffers: packets, pauses, playouts, resets. What is played
/// came before and is whole, no target is beyond its limit, and both buffers say the same.
pub fn jitter_ops(input: &[u8]) {
    let start = Instant::now();
    let mut now = start;
    let (mut buffer, mut twin) = (JitterBuffer::new(start), JitterBuffer::new(start));
    let (mut sequence, mut timestamp) = (0u16, 0u32);
    let room = [0x55; MAX_PAYLOAD + 1];
    for operation in input.chunks_exact(3) {
        let &[kind, a, b] = operation else { return };
        now += Duration::from_millis(u64::from(kind >> 3));
        match kind & 7 {
            0..=2 => {
                let ticks = GRANULE * usize::from(a % 14) + usize::from(b & 1);
                let payload = room.get(..ticks.min(MAX_PAYLOAD + 1)).unwrap_or_default();
                sequence = sequence.wrapping_add(u16::from(b >> 4)).wrapping_sub(2);
                timestamp = timestamp.wrapping_add(payload.len() as u32 * u32::from(b >> 4)).wrapping_sub(160);
                let kept = buffer.insert(now, sequence, timestamp, payload);
                assert_eq!(kept, twin.insert(now, sequence, timestamp, payload), "not deterministic");
            }
            3 => timestamp = timestamp.wrapping_add(u32::from_be_bytes([a, b, a, b])),
            4 => {
                buffer.pause(sequence.wrapping_add(u16::from(a)));
                twin.pause(sequence.wrapping_add(u16::from(a)));
            }
            5 if a == 0 => {
                buffer.reset();
                twin.reset();
            }
            5 if a & 1 == 0 => {
                buffer.follow_clock(i64::from(b) * 100);
                twin.follow_clock(i64::from(b) * 100);
            }
            _ => {
                let (played, same) = (buffer.pull(now, a & 1 != 0), twin.pull(now, a & 1 != 0));
                assert_eq!((played.halves, played.octets), (same.halves, same.octets), "not deterministic");
                assert!(played.arrived.is_none_or(|arrived| arrived <= now), "played before it came");
                assert!(buffer.target().as_millis() <= 320, "a target beyond every limit");
                for (half, octets) in played.halves.iter().zip(played.octets.chunks_exact(GRANULE)) {
                    assert!(!half.is_audio() || octets.iter().all(|octet| *octet == 0x55), "not what came");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Random;

    #[test]
    fn random_calls_do_not_break_the_receive_path() {
        let mut random = Random::seeded(77);
        for _ in 0..300 {
            let mut input = Vec::new();
            for n in 0..random.below(60) as u8 {
                let mut datagram = vec![0x80, if random.below(4) == 0 { 101 } else { 0 }, 0, n, 0, 0, n, 0, 1, 2, 3, 4];
                datagram.resize(12 + random.below(200) as usize, 5);
                if random.below(5) == 0 {
                    let at = random.below(datagram.len() as u64) as usize;
                    datagram[at] = random.next_u32() as u8;
                }
                input.extend([datagram.len() as u8, random.next_u32() as u8]);
                input.extend(datagram);
            }
            super::rtp(&input);
        }
    }

    #[test]
    fn random_events_and_operations_keep_their_promises() {
        let mut random = Random::seeded(78);
        for _ in 0..500 {
            let input: Vec<u8> = (0..random.below(900)).map(|_| random.next_u32() as u8).collect();
            super::dtmf(&input);
            super::jitter_ops(&input);
        }
    }
}
