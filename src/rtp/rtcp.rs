//! Reports about what is heard, with canonical name, and the goodbye at the end (RFC 3550 §6): enough for a peer to see
//! that its packets arrive, and for us to know how ours do.
//!
//! What is read is believed only from the source that the lock follows
//! ([`SourceLock::admits_report`](super::SourceLock::admits_report)), and nothing of it ever ends a call.

use super::session::CNAME;
use super::{Reception, SendSession};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest report we write: sender info, one report block, SDES with our CNAME, BYE.
pub const MAX_REPORT: usize = 28 + 24 + 28 + 8;
/// Seconds between reports of one leg (RFC 3550 §6.2).
pub const INTERVAL: Duration = Duration::from_secs(5);

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// The only item of a source description that must be there (RFC 3550 §6.5.1).
const CNAME_ITEM: u8 = 1;
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
    /// Our packets it lost since it began; less than none when duplicates arrived.
    pub lost: Option<i32>,
    /// Jitter of our packets where they arrive, in ticks of the codec's clock.
    pub jitter_ticks: Option<u32>,
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
    ssrc: u32,
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
        let mut report = Self { octets: [0; MAX_REPORT], len: 0, ssrc: session.ssrc() };
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
        // One chunk with the CNAME, ended by a zero octet and filled up to a word.
        report.put(&[0x81, SOURCE_DESCRIPTION, 0, 6]);
        report.put(&session.ssrc().to_be_bytes());
        report.put(&[CNAME_ITEM, CNAME as u8]);
        report.put(session.cname());
        report.put(&[0; 2]);
        report
    }

    /// The same report with a goodbye: the last one of a session (RFC 3550 §6.6).
    #[must_use]
    pub fn with_goodbye(mut self) -> Self {
        self.put(&[0x81, GOODBYE, 0, 1]);
        self.put(&self.ssrc.to_be_bytes());
        self
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

/// The round trip that a report block tells: since our report with that time, the peer's own delay taken off. More than a
/// minute is a peer that echoes nonsense.
fn round_trip(wall: SystemTime, last: u32, delay: u32) -> Option<Duration> {
    let ticks = ((ntp(wall) >> 16) as u32).wrapping_sub(last).wrapping_sub(delay);
    (last != 0 && ticks < 60 << 16).then(|| Duration::from_micros(u64::from(ticks) * 1_000_000 / 65_536))
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
                let ssrc = word(packet, 4)?;
                if first {
                    report.ssrc = ssrc;
                }
                if ssrc != report.ssrc {
                    // A mixer's report of somebody else.
                    (rest, first) = (later, false);
                    continue;
                }
                if *kind == SENDER_REPORT {
                    report.last_sender_report = word(packet, 8)? << 16 | word(packet, 12)? >> 16;
                }
                for at in (0..count).map(|n| blocks_at + 24 * n) {
                    if word(packet, at)? == ours {
                        let lost = word(packet, at + 4)?;
                        report.fraction_lost = Some((lost >> 24) as u8);
                        // A signed number of 24 bits.
                        report.lost = Some((lost << 8) as i32 >> 8);
                        report.jitter_ticks = word(packet, at + 12);
                        report.round_trip = round_trip(wall, word(packet, at + 16)?, word(packet, at + 20)?);
                    }
                }
            }
            GOODBYE => {
                if packet.len() < 4 + 4 * count {
                    return None;
                }
                for at in (0..count).map(|n| 4 + 4 * n) {
                    report.goodbye |= word(packet, at)? == report.ssrc;
                }
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
        assert_eq!(sent.octets().len(), 28 + 28);
        assert!(sent.octets().windows(18).any(|item| item[..2] == [1, 16] && item[2..] == *ours.cname()));
        let read = parse(sent.octets(), wall, 0).unwrap();
        assert_eq!((read.ssrc, read.round_trip), (ours.ssrc(), None));

        let mut heard = Reception::default();
        for sequence in [1, 2, 4, 5] {
            heard.record(Instant::now(), sequence, None);
        }
        let held = Duration::from_millis(300);
        let reply = Report::new(wall, &theirs, &mut heard, Some((ours.ssrc(), read.last_sender_report, held)));
        let back = parse(reply.octets(), wall + held + Duration::from_millis(40), ours.ssrc()).unwrap();
        assert_eq!((back.fraction_lost, back.lost, back.jitter_ticks), (Some(51), Some(1), Some(0)));
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
    fn a_goodbye_counts_for_the_source_that_reports_and_a_short_one_spoils_the_datagram() {
        let session = session(1);
        let report = Report::new(UNIX_EPOCH, &session, &mut Reception::default(), Some((1, 0, Duration::ZERO)));
        assert!(!parse(report.octets(), UNIX_EPOCH, 0).unwrap().goodbye);
        let leaving = report.with_goodbye();
        assert_eq!(leaving.octets().len(), MAX_REPORT);
        assert!(parse(leaving.octets(), UNIX_EPOCH, 0).unwrap().goodbye);
        let mut of_another = report.octets().to_vec();
        of_another.extend([0x81, GOODBYE, 0, 1, 1, 2, 3, 4]);
        assert!(!parse(&of_another, UNIX_EPOCH, 0).unwrap().goodbye);
        let mut short = report.octets().to_vec();
        short.extend([0x81, GOODBYE, 0, 0]);
        assert_eq!(parse(&short, UNIX_EPOCH, 0), None);
        assert_eq!(parse(&[], UNIX_EPOCH, 0), None);
    }

    #[test]
    fn duplicates_may_make_less_than_nothing_lost() {
        let mut octets = vec![0x81, RECEIVER_REPORT, 0, 7, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0xFF, 0xFF, 0xFE];
        octets.extend([0; 16]);
        assert_eq!(parse(&octets, UNIX_EPOCH, 9).unwrap().lost, Some(-2));
    }

    #[test]
    fn names_are_long_and_differ_from_session_to_session() {
        let names: std::collections::HashSet<_> =
            (0..100).map(|seed| *SendSession::new(&mut Random::seeded(seed)).cname()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().flatten().all(|octet| octet.is_ascii_alphanumeric() || b"+/".contains(octet)));
    }
}
