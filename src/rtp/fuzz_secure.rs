//! Bodies of the fuzz targets `srtp_unprotect` and `rtcp`.

use super::rtcp::{self, MAX_REPORT, Report};
use super::srtp::{MAX_RTCP_OVERHEAD, MAX_RTP_OVERHEAD};
use super::{Claim, Header, Reception, SendSession, SrtpReceiver, SrtpSender};
use crate::base::Random;
use crate::base::{SrtpKey, SrtpSuite};
use std::time::{Duration, UNIX_EPOCH};

/// Longest plain packet of the model.
const PLAIN: usize = 12 + 255;

/// Plays the input as datagrams of one encrypted stream. The first octet names the suite; each datagram is an octet of kind,
/// one of length, then that many octets: either as they are, or laid over a packet of the peer. Whatever comes, only what the
/// peer protected is opened, once, and reads as it was.
pub fn srtp_unprotect(input: &[u8]) {
    let Some((choice, mut rest)) = input.split_first() else { return };
    let suite = SrtpSuite::ALL.into_iter().cycle().nth(usize::from(*choice)).unwrap_or(SrtpSuite::AeadAes128Gcm);
    let Some(key) = SrtpKey::new(suite, &vec![7; suite.key_length() + suite.salt_length()]) else { return };
    let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
    let mut sequence = 65_500u16;
    while let [kind, len, tail @ ..] = rest {
        let (octets, later) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = later;
        let claim = match kind & 3 {
            0 => Claim::Begins,
            1 => Claim::Candidate,
            _ => Claim::Continues,
        };
        let mut room = [0; PLAIN + MAX_RTP_OVERHEAD + MAX_RTCP_OVERHEAD];
        if kind & 4 == 0 {
            let datagram = room.get_mut(..octets.len()).unwrap_or_default();
            datagram.copy_from_slice(octets);
            let before = receiver.ssrc();
            assert!(receiver.check(datagram).is_err() && receiver.open(claim, datagram).is_err());
            assert!(receiver.unprotect_rtcp(datagram).is_err());
            assert_eq!((datagram as &[u8], receiver.ssrc()), (octets, before));
            continue;
        }
        sequence = sequence.wrapping_add(1 + u16::from(kind >> 5));
        let header = Header { sequence, ssrc: u32::from(kind >> 3 & 1), ..Header::default() };
        let plain = [&header.to_octets()[..], octets].concat();
        room.get_mut(..plain.len()).unwrap_or_default().copy_from_slice(&plain);
        // A source whose numbers went on meanwhile begins elsewhere.
        let Ok(len) = sender.protect(&mut room, plain.len()) else { continue };
        let mut packet = room.get(..len).unwrap_or_default().to_vec();
        if kind & 16 != 0 {
            let at = octets.first().map_or(0, |at| usize::from(*at)) % len;
            if let Some(octet) = packet.get_mut(at) {
                *octet ^= 1 << (kind >> 5);
            }
            assert!(receiver.open(claim, &mut packet).is_err(), "a flipped bit passed");
        } else if let Ok(opened) = receiver.open(claim, &mut packet) {
            if claim == Claim::Candidate {
                assert_eq!(packet.get(..opened), room.get(..len));
            } else {
                assert_eq!(packet.get(..opened), Some(&plain[..]));
                let mut again = room.get(..len).unwrap_or_default().to_vec();
                assert!(receiver.unprotect(&mut again).is_err(), "a repetition passed");
            }
        }
    }
}

/// Reads the input as an RTCP datagram, alone and behind a report of ours. Whatever comes, nothing panics, and a report of
/// ours is not spoiled by what a reader must skip.
pub fn rtcp(input: &[u8]) {
    let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let alone = rtcp::parse(input, wall, 7);
    assert!(alone.is_none() || input.len() >= 8);
    assert!(alone.and_then(|report| report.round_trip).is_none_or(|way| way <= Duration::from_secs(60)));
    let session = SendSession::new(&mut Random::seeded(1));
    let report = Report::new(wall, &session, &mut Reception::default(), Some((7, 1, Duration::from_secs(1))));
    assert!(report.octets().len() <= MAX_REPORT);
    let behind = [report.octets(), input].concat();
    if let Some(read) = rtcp::parse(&behind, wall, 7) {
        assert_eq!(read.ssrc, session.ssrc());
    }
    let last = rtcp::parse(report.with_goodbye().octets(), wall, 7);
    assert!(last.is_some_and(|read| read.goodbye && read.fraction_lost == Some(0)));
}

#[cfg(test)]
mod tests {
    use crate::base::Random;

    #[test]
    fn random_datagrams_do_not_pass_for_encrypted_ones() {
        let mut random = Random::seeded(78);
        for choice in 0..200u8 {
            let mut input = vec![choice];
            for _ in 0..random.below(40) {
                let length = random.below(60) as u8;
                input.extend([random.next_u32() as u8, length]);
                input.extend((0..length).map(|_| random.next_u32() as u8));
            }
            super::srtp_unprotect(&input);
        }
    }

    #[test]
    fn random_reports_are_read_or_refused() {
        let mut random = Random::seeded(79);
        for _ in 0..5_000 {
            let mut input = Vec::new();
            for _ in 0..random.below(4) {
                let words = random.below(16) as u8;
                let kind = if random.below(4) == 0 { random.next_u32() as u8 } else { 200 + random.below(8) as u8 };
                input.extend([0x80 | random.below(32) as u8, kind, 0, words]);
                input.extend((0..usize::from(words) * 4).map(|_| random.next_u32() as u8 & 7));
            }
            input.truncate(input.len().saturating_sub(random.below(3) as usize));
            super::rtcp(&input);
        }
    }
}
