//! From octets to packets: packet time, digits, headers.

use super::leg_media::LegMedia;
use crate::base::Random;
use crate::rtp::dtmf::{DigitTurn, EVENT_LEN};
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::{DigitSender, Header, SendSession};

/// Octets of 20 ms.
const TURN: usize = 160;
/// Octets of the longest packet, 60 ms.
const LONGEST: usize = 480;

/// The sending half of a leg. Pure: give it 20 ms, then take packets until there is none.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) session: SendSession,
    digits: DigitSender,
    pending: [u8; LONGEST],
    filled: usize,
    event: Option<(Header, [u8; EVENT_LEN])>,
    packet: [u8; HEADER_LEN + LONGEST],
}

/// Octets per packet for a packet time: the longest of 10, 20, 40 and 60 ms that does not exceed it.
const fn packet_octets(ptime_ms: u8) -> usize {
    match ptime_ms {
        0..20 => 80,
        20..40 => 160,
        40..60 => 320,
        _ => LONGEST,
    }
}

impl Sender {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            session: SendSession::new(random),
            digits: DigitSender::default(),
            pending: [0; LONGEST],
            filled: 0,
            event: None,
            packet: [0; HEADER_LEN + LONGEST],
        }
    }

    /// Queues a digit; false when it is no key or too many wait.
    pub(super) fn push_digit(&mut self, digit: char) -> bool {
        self.digits.push(digit)
    }

    /// Whether the next 20 ms belong to a digit, so that audio has to wait.
    pub(super) fn digit_turn(&mut self, media: &LegMedia) -> Option<DigitTurn> {
        let payload_type = media.telephone_event?;
        if !self.digits.is_busy() || self.filled > 0 {
            return None;
        }
        let turn = self.digits.next_packet(&mut self.session, payload_type);
        if let DigitTurn::Event(header, payload) = turn {
            self.event = Some((header, payload));
        }
        Some(turn)
    }

    /// Takes 20 ms of encoded audio.
    pub(super) fn push(&mut self, octets: &[u8; TURN]) {
        if let Some(room) = self.pending.get_mut(self.filled..self.filled + TURN) {
            room.copy_from_slice(octets);
            self.filled += TURN;
        }
    }

    /// The next packet that is due.
    pub(super) fn next_packet(&mut self, media: &LegMedia) -> Option<&[u8]> {
        if let Some((header, payload)) = self.event.take() {
            return self.write(header, &payload);
        }
        let len = packet_octets(media.ptime_ms);
        if self.filled < len {
            return None;
        }
        let mut payload = [0; LONGEST];
        payload.copy_from_slice(&self.pending);
        self.pending.rotate_left(len);
        self.filled -= len;
        let header = self.session.next_header(media.payload_type, len as u32, len);
        self.write(header, payload.get(..len)?)
    }

    /// Forgets audio that waits for a full packet: it is of another codec.
    pub(super) fn drop_pending(&mut self) {
        self.filled = 0;
    }

    /// Lets `turns` of 20 ms pass in which nothing is sent; the next packet starts a talk spurt.
    pub(super) fn pause(&mut self, turns: u32) {
        self.session.skip(turns * TURN as u32 + self.filled as u32);
        self.session.pause();
        self.filled = 0;
    }

    fn write(&mut self, header: Header, payload: &[u8]) -> Option<&[u8]> {
        let (head, body) = self.packet.split_at_mut(HEADER_LEN);
        head.copy_from_slice(&header.to_octets());
        body.get_mut(..payload.len())?.copy_from_slice(payload);
        self.packet.get(..HEADER_LEN + payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packet;

    fn lengths(ptime_ms: u8, turns: usize) -> Vec<usize> {
        let media = LegMedia { ptime_ms, ..crate::media::leg::example() };
        let mut sender = Sender::new(&mut Random::seeded(1));
        let mut lengths = Vec::new();
        let mut expected = None;
        for n in 0..turns {
            sender.push(&[n as u8; 160]);
            while let Some(packet) = sender.next_packet(&media) {
                let packet = Packet::parse(packet).unwrap();
                let timestamp = expected.unwrap_or(packet.header.timestamp);
                assert_eq!(packet.header.timestamp, timestamp);
                expected = Some(timestamp.wrapping_add(packet.payload.len() as u32));
                lengths.push(packet.payload.len());
            }
        }
        lengths
    }

    #[test]
    fn packets_have_the_peer_s_packet_time() {
        assert_eq!(lengths(10, 2), [80; 4]);
        assert_eq!(lengths(20, 3), [160; 3]);
        assert_eq!(lengths(30, 3), [160; 3]);
        assert_eq!(lengths(40, 5), [320; 2]);
        assert_eq!(lengths(60, 7), [480; 2]);
    }

    #[test]
    fn a_digit_takes_the_place_of_audio() {
        let media = crate::media::leg::example();
        let mut sender = Sender::new(&mut Random::seeded(1));
        assert!(sender.push_digit('5'));
        let mut events = 0;
        while let Some(turn) = sender.digit_turn(&media) {
            if matches!(turn, DigitTurn::Event(..)) {
                let packet = Packet::parse(sender.next_packet(&media).unwrap()).unwrap();
                assert_eq!((packet.header.payload_type, packet.payload[0]), (101, 5));
                events += 1;
            } else {
                sender.push(&[0xFF; 160]);
                assert!(sender.next_packet(&media).is_some());
            }
        }
        assert_eq!(events, 8);
        assert!(!sender.push_digit('x'));
    }

    #[test]
    fn after_a_pause_the_marker_is_set_and_the_clock_has_gone_on() {
        let media = crate::media::leg::example();
        let mut sender = Sender::new(&mut Random::seeded(1));
        sender.push(&[0; 160]);
        let first = Packet::parse(sender.next_packet(&media).unwrap()).unwrap().header;
        sender.pause(50);
        sender.push(&[0; 160]);
        let second = Packet::parse(sender.next_packet(&media).unwrap()).unwrap().header;
        assert!(first.marker && second.marker);
        assert_eq!(second.timestamp, first.timestamp.wrapping_add(51 * 160));
        assert_eq!(second.sequence, first.sequence + 1);
    }
}
