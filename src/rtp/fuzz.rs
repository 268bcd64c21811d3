//! Body of the fuzz target `rtp`.

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
}
