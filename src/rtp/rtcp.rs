//! Sender and receiver reports (RFC 3550 §6.4) with their canonical name: enough for a peer to see that its
//! packets arrive, and for us to know the round trip.

use super::{Reception, SendSession};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest report we write: header, sender info, one report block, SDES.
pub const MAX_REPORT: usize = 96;
/// Seconds between reports of one leg (RFC 3550 §6.2).
pub const INTERVAL: Duration = Duration::from_secs(5);

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// Seconds between 1900 and 1970 (RFC 3550 §4).
const NTP_EPOCH: u64 = 2_208_988_800;

/// What a peer reported about our stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerReport {
    /// The source of the report.
    pub ssrc: u32,
    /// The middle 32 bits of the sender report's NTP time, to be echoed; 0 without a sender report.
    pub last_sender_report: u32,
    /// Fraction of our packets it lost since its last report, in 256ths.
    pub fraction_lost: Option<u8>,
    /// From our sender report to this reply, the peer's own delay taken off.
    pub round_trip: Option<Duration>,
    /// It says that it leaves. Never a reason to end a call: signalling does that.
    pub goodbye: bool,
}

/// A report as octets.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    octets: [u8; MAX_REPORT],
    len: usize,
}

impl Report {
    /// Writes a compound packet: a sender report when something was sent, otherwise a receiver report, with a
    /// block about `peer` (its SSRC, its last report's time and how long ago that came), and our CNAME.
    #[must_use]
    pub fn new(
        wall: SystemTime,
        session: &SendSession,
        reception: &mut Reception,
        peer: Option<(u32, u32, Duration)>,
    ) -> Self {
        let mut report = Self { octets: [0; MAX_REPORT], len: 0 };
        let (packets, octets) = session.sent();
        let blocks = u8::from(peer.is_some());
        let (kind, words) = if packets > 0 { (SENDER_REPORT, 6) } else { (RECEIVER_REPORT, 1) };
        report.put(&[0x80 | blocks, kind]);
        report.put(&(words + 6 * u16::from(blocks)).to_be_bytes());
        report.put(&session.ssrc().to_be_bytes());
        if packets > 0 {
            report.put(&ntp(wall).to_be_bytes());
            report.put(&session.timestamp().to_be_bytes());
            report.put(&packets.to_be_bytes());
            report.put(&octets.to_be_bytes());
        }
        if let Some((ssrc, last, since)) = peer {
            report.put(&ssrc.to_be_bytes());
            // The cumulative count is a signed number of 24 bits.
            let lost = reception.lost().min(0x7F_FFFF);
            report.put(&(u32::from(reception.fraction_lost()) << 24 | lost).to_be_bytes());
            report.put(&reception.highest().to_be_bytes());
            report.put(&reception.jitter_ticks().to_be_bytes());
            report.put(&last.to_be_bytes());
            let delay = if last == 0 { 0 } else { u32::try_from(since.as_micros() * 65_536 / 1_000_000).unwrap_or(0) };
            report.put(&delay.to_be_bytes());
        }
        // The CNAME is the SSRC in hexadecimal: random per call, it names nobody (RFC 7022).
        report.put(&[0x81, SOURCE_DESCRIPTION, 0, 4]);
        report.put(&session.ssrc().to_be_bytes());
        report.put(&[1, 8]);
        let digits = (0..8).map(|n| b"0123456789abcdef".get((session.ssrc() >> (28 - 4 * n)) as usize & 15).copied());
        for digit in digits {
            report.put(&[digit.unwrap_or(b'0')]);
        }
        report.put(&[0; 2]);
        report
    }

    /// The octets to send.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    fn put(&mut self, octets: &[u8]) {
        if let Some(room) = self.octets.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }
}

/// NTP time as RTCP carries it: seconds since 1900 in the upper half, their fraction in the lower.
fn ntp(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs() + NTP_EPOCH) << 32 | fraction
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Reads a compound packet; every length is checked by packet type. `ours` is our SSRC. `None` when it is not RTCP
/// or any packet in it is shorter than its type demands: such a datagram is dropped whole.
#[must_use]
pub fn parse(datagram: &[u8], wall: SystemTime, ours: u32) -> Option<PeerReport> {
    let mut report = PeerReport::default();
    let mut rest = datagram;
    let mut first = true;
    while !rest.is_empty() {
        let [flags, kind, length @ ..] = rest else { return None };
        let words = usize::from(u16::from_be_bytes(length.get(..2)?.try_into().ok()?));
        let (packet, later) = rest.split_at_checked((words + 1) * 4)?;
        if flags >> 6 != 2 || (first && !matches!(*kind, SENDER_REPORT | RECEIVER_REPORT)) {
            return None;
        }
        let count = usize::from(flags & 0x1F);
        match *kind {
            SENDER_REPORT | RECEIVER_REPORT => {
                let blocks_at = if *kind == SENDER_REPORT { 28 } else { 8 };
                if packet.len() < blocks_at + 24 * count {
                    return None;
                }
                report.ssrc = word(packet, 4)?;
                if *kind == SENDER_REPORT {
                    report.last_sender_report = word(packet, 8)? << 16 | word(packet, 12)? >> 16;
                }
                for at in (0..count).map(|n| blocks_at + 24 * n) {
                    if word(packet, at)? == ours {
                        report.fraction_lost = packet.get(at + 4).copied();
                        let (last, delay) = (word(packet, at + 16)?, word(packet, at + 20)?);
                        let middle = (ntp(wall) >> 16) as u32;
                        let ticks = middle.wrapping_sub(last).wrapping_sub(delay);
                        // More than a minute is a peer that echoes nonsense.
                        report.round_trip = (last != 0 && ticks < 60 << 16)
                            .then(|| Duration::from_micros(u64::from(ticks) * 1_000_000 / 65_536));
                    }
                }
            }
            GOODBYE => {
                if packet.len() < 4 + 4 * count {
                    return None;
                }
                report.goodbye = true;
            }
            _ => {}
        }
        (rest, first) = (later, false);
    }
    (!first).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use std::time::Instant;

    fn session(packets: u32) -> SendSession {
        let mut session = SendSession::new(&mut Random::seeded(6));
        (0..packets).for_each(|_| {
            session.next_header(0, 160, 160);
        });
        session
    }

    #[test]
    fn a_report_tells_the_peer_its_loss_and_us_the_round_trip() {
        let wall = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let (ours, theirs) = (session(50), SendSession::new(&mut Random::seeded(7)));
        let mut reception = Reception::default();
        let sent = Report::new(wall, &ours, &mut reception, None);
        assert_eq!(sent.octets().len(), 28 + 20);
        let read = parse(sent.octets(), wall, 0).unwrap();
        assert_eq!((read.ssrc, read.round_trip), (ours.ssrc(), None));

        let mut heard = Reception::default();
        for sequence in [1, 2, 4, 5] {
            heard.record(Instant::now(), sequence, None);
        }
        let held = Duration::from_millis(300);
        let reply = Report::new(wall, &theirs, &mut heard, Some((ours.ssrc(), read.last_sender_report, held)));
        let back = parse(reply.octets(), wall + held + Duration::from_millis(40), ours.ssrc()).unwrap();
        assert_eq!(back.fraction_lost, Some(51));
        let round_trip = back.round_trip.unwrap();
        assert!(round_trip.abs_diff(Duration::from_millis(40)) < Duration::from_millis(1), "{round_trip:?}");
    }

    #[test]
    fn every_length_of_every_type_is_read_or_refused_without_panic() {
        for kind in 192..=223u8 {
            for length in 0..=64usize {
                for words in [0u16, 1, 6, 7, 15, 0xFFFF] {
                    for count in [0u8, 1, 31] {
                        let mut datagram = vec![0xAB; length];
                        let [w0, w1] = words.to_be_bytes();
                        for (slot, octet) in datagram.iter_mut().zip([0x80 | count, kind, w0, w1]) {
                            *slot = octet;
                        }
                        let read = parse(&datagram, UNIX_EPOCH, 0xABAB_ABAB);
                        let sender = kind == SENDER_REPORT && length >= 28 + 24 * usize::from(count);
                        let receiver = kind == RECEIVER_REPORT && length >= 8 + 24 * usize::from(count);
                        assert!(read.is_none() || sender || receiver, "{kind} {length} {words} {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_short_goodbye_spoils_the_datagram() {
        let report = Report::new(UNIX_EPOCH, &session(1), &mut Reception::default(), None);
        let mut whole = report.octets().to_vec();
        whole.extend([0x81, GOODBYE, 0, 1, 1, 2, 3, 4]);
        assert!(parse(&whole, UNIX_EPOCH, 0).unwrap().goodbye);
        let mut short = report.octets().to_vec();
        short.extend([0x81, GOODBYE, 0, 0]);
        assert_eq!(parse(&short, UNIX_EPOCH, 0), None);
        assert_eq!(parse(&[], UNIX_EPOCH, 0), None);
    }
}
