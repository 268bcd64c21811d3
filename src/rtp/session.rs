//! The sending half of an RTP session (RFC 3550 §5.1): sequence, timestamp, source, marker.

use super::Header;
use crate::base::Random;

/// Octets of a canonical name: 96 random bits in base64 (RFC 7022 §4.2).
pub const CNAME: usize = 16;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Numbers outgoing packets. The stream is continuous while sending: silence is sent as packets, so the
/// marker is set only on the first packet and after a pause (RFC 3551 §4.1).
#[derive(Debug)]
pub struct SendSession {
    ssrc: u32,
    cname: [u8; CNAME],
    sequence: u16,
    timestamp: u32,
    spurt_starts: bool,
    packets: u32,
    octets: u32,
}

impl SendSession {
    /// A session with a random source, first sequence number and first timestamp, none guessable.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        Self {
            ssrc: random.next_u32(),
            cname: std::array::from_fn(|_| BASE64.get(random.below(64) as usize).copied().unwrap_or(b'A')),
            // Below 2¹⁵, so that the first packets do not wrap: some peers mistake an early wrap (RFC 3711 §3.3.1).
            sequence: (random.next_u32() >> 17) as u16,
            timestamp: random.next_u32(),
            spurt_starts: true,
            packets: 0,
            octets: 0,
        }
    }

    /// The header of the next packet, which carries `ticks` of the clock in `octets` octets.
    pub fn next_header(&mut self, payload_type: u8, ticks: u32, octets: usize) -> Header {
        let header = self.event_header(payload_type, self.timestamp, self.spurt_starts, octets);
        self.spurt_starts = false;
        self.timestamp = self.timestamp.wrapping_add(ticks);
        header
    }

    /// The header of a packet outside the clock's course, such as a telephone-event, whose timestamp stands
    /// still at the event's start.
    pub fn event_header(&mut self, payload_type: u8, timestamp: u32, marker: bool, octets: usize) -> Header {
        let header = Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        header
    }

    /// Lets `ticks` pass in which nothing is sent.
    pub fn skip(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
    }

    /// The next packet is the first after a pause.
    pub fn pause(&mut self) {
        self.spurt_starts = true;
    }

    /// Timestamp of the next packet.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Our synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Our canonical name: random for each session, so that it names nobody and links no two calls (RFC 7022 §4.2).
    #[must_use]
    pub fn cname(&self) -> &[u8; CNAME] {
        &self.cname
    }

    /// Packets and payload octets sent, modulo 2³² as a sender report wants them (RFC 3550 §6.4.1).
    #[must_use]
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_packet_and_the_first_after_a_pause_carry_the_marker() {
        let mut session = SendSession::new(&mut Random::seeded(1));
        let first = session.next_header(0, 160, 160);
        let second = session.next_header(0, 160, 160);
        session.pause();
        session.skip(320);
        let third = session.next_header(0, 160, 160);
        assert_eq!([first.marker, second.marker, third.marker], [true, false, true]);
        assert_eq!(second.sequence, first.sequence + 1);
        assert_eq!(third.sequence, first.sequence + 2);
        assert_eq!(third.timestamp, first.timestamp.wrapping_add(160 * 2 + 320));
        assert_eq!(session.sent(), (3, 480));
    }

    #[test]
    fn an_event_does_not_move_the_clock() {
        let mut session = SendSession::new(&mut Random::seeded(2));
        let before = session.timestamp();
        let event = session.event_header(101, before, true, 4);
        assert_eq!((event.timestamp, session.timestamp()), (before, before));
    }
}
