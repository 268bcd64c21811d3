use super::cipher::{Cipher, derive};
use super::*;
use crate::base::{Random, SrtpKey, SrtpKeys, SrtpSuite};
use crate::rtp::Header;
use crate::rtp::source_lock::Claim;

mod vectors;

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Two ends with the same key.
fn pair(suite: SrtpSuite, seed: u64) -> (SrtpSender, SrtpReceiver) {
    let key = SrtpKey::random(suite, &mut Random::seeded(seed));
    (SrtpSender::new(&key), SrtpReceiver::new(&key))
}

fn packet(ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
    let header = Header { sequence, timestamp: u32::from(sequence) * 160, ssrc, ..Header::default() };
    let mut packet = header.to_octets().to_vec();
    packet.extend((0..payload).map(|n| n as u8));
    packet
}

fn protected(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut room = plain.to_vec();
    room.resize(plain.len() + MAX_RTP_OVERHEAD, 0xEE);
    let len = sender.protect(&mut room, plain.len()).unwrap();
    room.truncate(len);
    room
}

fn opened(receiver: &mut SrtpReceiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut room = packet.to_vec();
    let len = receiver.unprotect(&mut room)?;
    room.truncate(len);
    Ok(room)
}

#[test]
fn what_is_protected_is_read_back_at_every_length() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, 1);
        for length in 0..=1_988usize {
            let plain = packet(7, length as u16, length);
            let sealed = protected(&mut sender, &plain);
            assert_eq!(sealed.len(), plain.len() + suite.rtp_overhead());
            assert_eq!(sealed[..12], plain[..12], "the header stays readable");
            assert!(length < 16 || sealed[12..plain.len()] != plain[12..]);
            assert_eq!(opened(&mut receiver, &sealed).unwrap(), plain, "{suite} {length}");
        }
    }
}

fn sealed_rtcp(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut room = plain.to_vec();
    room.resize(plain.len() + MAX_RTCP_OVERHEAD, 0xEE);
    let len = sender.protect_rtcp(&mut room, plain.len()).unwrap();
    room.truncate(len);
    room
}

fn receiver_report(ssrc: u32) -> Vec<u8> {
    let mut report = vec![0x80, 201, 0, 1];
    report.extend(ssrc.to_be_bytes());
    report.extend([0x81, 202, 0, 3, 0, 0, 0, 7, 1, 4, b'n', b'a', b'm', b'e', 0, 0]);
    report
}

#[test]
fn three_wraps_with_reordering_and_loss_lose_nothing_that_arrives() {
    for suite in [SrtpSuite::AesCm128HmacSha1Tag32, SrtpSuite::AeadAes128Gcm] {
        let (mut sender, mut receiver) = pair(suite, 2);
        let mut random = Random::seeded(2);
        let mut flying: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let (mut arrived, total) = (0, 3 * 65_536 + 500);
        // Most of each turn passes unseen; around the wraps every packet counts.
        for n in 65_000..65_000 + total {
            let near_wrap = (n + 300) % 65_536 < 600;
            if !near_wrap && n % 1_000 != 0 {
                continue;
            }
            let plain = packet(7, n as u16, 20);
            let sealed = protected(&mut sender, &plain);
            if random.below(20) != 0 {
                flying.push((plain, sealed));
            }
            let depth = if near_wrap { 12 } else { 0 };
            while flying.len() > depth {
                let (plain, sealed) = flying.remove(random.below(depth as u64 + 1) as usize);
                assert_eq!(opened(&mut receiver, &sealed).unwrap(), plain, "{suite} {n}");
                assert_eq!(opened(&mut receiver, &sealed), Err(SrtpError::Replayed));
                arrived += 1;
            }
        }
        assert!(arrived > 2_000, "{arrived}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_changes_nothing() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, 3);
        opened(&mut receiver, &protected(&mut sender, &packet(7, 1, 20))).unwrap();
        let plain = packet(7, 2, 30);
        let sealed = protected(&mut sender, &plain);
        let before = format!("{receiver:?}");
        for octet in 0..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[octet] ^= 1 << bit;
                let kept = forged.clone();
                assert!(receiver.check(&forged).is_err(), "{suite} {octet} {bit}");
                assert!(receiver.unprotect(&mut forged).is_err(), "{suite} {octet} {bit}");
                assert_eq!(forged, kept, "a refused packet is left as it came");
                assert!(receiver.open(Claim::Begins, &mut forged).is_err());
            }
        }
        assert_eq!(format!("{receiver:?}"), before);
        assert_eq!(opened(&mut receiver, &sealed).unwrap(), plain);
    }
}

#[test]
fn a_flipped_bit_in_a_report_is_noticed() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, 4);
        let plain = receiver_report(7);
        let sealed = sealed_rtcp(&mut sender, &plain);
        assert_eq!(sealed.len(), plain.len() + suite.rtcp_overhead());
        for octet in 0..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[octet] ^= 1 << bit;
                let kept = forged.clone();
                assert!(receiver.unprotect_rtcp(&mut forged).is_err(), "{suite} {octet} {bit}");
                assert_eq!(forged, kept);
            }
        }
        let mut room = sealed.clone();
        assert_eq!(receiver.unprotect_rtcp(&mut room), Ok(plain.len()));
        assert_eq!(room[..plain.len()], plain);
        assert_eq!(receiver.unprotect_rtcp(&mut sealed.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn reports_in_clear_and_of_other_sources_are_refused() {
    let (mut sender, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1Tag80, 5);
    opened(&mut receiver, &protected(&mut sender, &packet(7, 1, 20))).unwrap();
    let mut other = sealed_rtcp(&mut sender, &receiver_report(8));
    assert_eq!(receiver.unprotect_rtcp(&mut other), Err(SrtpError::OtherSource));
    let mut clear = sealed_rtcp(&mut sender, &receiver_report(7));
    let index = clear.len() - 14;
    clear[index] &= 0x7F;
    assert_eq!(receiver.unprotect_rtcp(&mut clear), Err(SrtpError::Unencrypted));
}

#[test]
fn every_length_is_read_or_refused_without_panic() {
    for suite in SrtpSuite::ALL {
        let (_, mut receiver) = pair(suite, 6);
        let mut random = Random::seeded(6);
        for length in 0..=2_000usize {
            let mut packet: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
            for flags in [0x80, 0x8F, 0x90, 0xBF, 0x00] {
                if let Some(first) = packet.first_mut() {
                    *first = flags;
                }
                assert!(receiver.check(&packet).is_err());
                assert!(receiver.unprotect(&mut packet).is_err());
                assert!(receiver.unprotect_rtcp(&mut packet).is_err());
            }
        }
        assert_eq!(receiver.ssrc(), None);
    }
}

#[test]
fn what_cannot_be_protected_is_an_error_in_words() {
    for suite in SrtpSuite::ALL {
        let (mut sender, _) = pair(suite, 7);
        let plain = packet(7, 1, 20);
        let mut tight = plain.clone();
        assert_eq!(sender.protect(&mut tight, plain.len()), Err(SrtpError::NoRoom));
        assert_eq!(sender.protect(&mut tight, plain.len() + 1), Err(SrtpError::NoRoom));
        for length in 0..12 {
            assert_eq!(sender.protect(&mut plain.clone(), length), Err(SrtpError::Truncated), "{length}");
        }
        for length in 0..8 {
            assert_eq!(sender.protect_rtcp(&mut [0x80; 40], length), Err(SrtpError::Truncated), "{length}");
        }
        assert_eq!(sender.protect_rtcp(&mut [0x80; 10], 8), Err(SrtpError::NoRoom));
        protected(&mut sender, &plain);
        let mut again = [plain.clone(), vec![0; 16]].concat();
        assert_eq!(sender.protect(&mut again, plain.len()), Err(SrtpError::IndexReused));
        assert_eq!(again[..plain.len()], plain, "nothing leaves half encrypted");
    }
}

#[test]
fn a_candidate_leaves_no_trace_and_the_source_that_begins_is_followed() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, 8);
        opened(&mut receiver, &protected(&mut sender, &packet(7, 1, 20))).unwrap();
        let before = format!("{receiver:?}");
        for sequence in 1..4 {
            let mut candidate = protected(&mut sender, &packet(8, sequence, 20));
            let kept = candidate.clone();
            assert_eq!(receiver.open(Claim::Candidate, &mut candidate), Ok(kept.len()));
            assert_eq!(candidate, kept);
            assert_eq!(receiver.open(Claim::Continues, &mut candidate), Err(SrtpError::OtherSource));
        }
        assert_eq!(format!("{receiver:?}"), before);
        let plain = packet(8, 4, 20);
        let mut first = protected(&mut sender, &plain);
        assert_eq!(receiver.open(Claim::Begins, &mut first), Ok(plain.len()));
        assert_eq!((receiver.ssrc(), &first[..plain.len()]), (Some(8), &plain[..]));
    }
}

#[test]
fn a_source_whose_first_packets_were_lost_at_a_wrap_is_understood() {
    let (mut sender, mut receiver) = pair(SrtpSuite::AesCm128HmacSha1Tag80, 9);
    protected(&mut sender, &packet(7, 65_535, 20));
    let sealed = protected(&mut sender, &packet(7, 0, 20));
    assert_eq!(receiver.check(&sealed), Ok(()));
    assert!(opened(&mut receiver, &sealed).is_ok());
}

#[test]
fn the_same_key_in_a_further_offer_keeps_counting() {
    let key = SrtpKey::random(SrtpSuite::AeadAes256Gcm, &mut Random::seeded(10));
    let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
    for sequence in [65_535, 0, 1] {
        opened(&mut receiver, &protected(&mut sender, &packet(7, sequence, 20))).unwrap();
    }
    let old = protected(&mut sender, &packet(7, 2, 20));
    opened(&mut receiver, &old).unwrap();
    sender.rekey(&mut SrtpSender::new(&key));
    receiver.rekey(&mut SrtpReceiver::new(&key));
    assert_eq!(opened(&mut receiver, &old), Err(SrtpError::Replayed));
    assert!(opened(&mut receiver, &protected(&mut sender, &packet(7, 3, 20))).is_ok());
}

#[test]
fn another_key_is_taken_whether_the_peer_starts_counting_over_or_not() {
    let [first, second] =
        [11, 12].map(|seed| SrtpKey::random(SrtpSuite::AesCm128HmacSha1Tag80, &mut Random::seeded(seed)));
    for starts_over in [true, false] {
        let (mut sender, mut receiver) = (SrtpSender::new(&first), SrtpReceiver::new(&first));
        let mut ahead = SrtpSender::new(&second);
        for turn in 0..3u16 {
            for sequence in [0, 20_000, 40_000, 60_000 + turn] {
                opened(&mut receiver, &protected(&mut sender, &packet(7, sequence, 20))).unwrap();
                if !starts_over {
                    protected(&mut ahead, &packet(7, sequence, 20));
                }
            }
        }
        receiver.rekey(&mut SrtpReceiver::new(&second));
        let before = protected(&mut sender, &packet(7, 60_003, 20));
        assert_eq!(opened(&mut receiver, &before), Err(SrtpError::Unauthentic), "the key before counts no more");
        for sequence in 60_004..60_010 {
            let plain = packet(7, sequence, 20);
            assert_eq!(opened(&mut receiver, &protected(&mut ahead, &plain)), Ok(plain), "{starts_over}");
        }
    }
}

#[test]
fn a_lifetime_is_respected_on_both_sides() {
    let key = SrtpKey::random(SrtpSuite::AeadAes128Gcm, &mut Random::seeded(13));
    let mut sender = SrtpSender::new(&key);
    let mut receiver = SrtpReceiver::new(&key.clone().with_lifetime(Some(3)));
    for sequence in 0..3 {
        opened(&mut receiver, &protected(&mut sender, &packet(7, sequence, 20))).unwrap();
    }
    assert_eq!(opened(&mut receiver, &protected(&mut sender, &packet(7, 3, 20))), Err(SrtpError::KeyExhausted));
    let mut sender = SrtpSender::new(&key.with_lifetime(Some(1)));
    protected(&mut sender, &packet(7, 1, 20));
    let mut next = packet(7, 2, 40);
    assert_eq!(sender.protect(&mut next, 32), Err(SrtpError::KeyExhausted));
    sealed_rtcp(&mut sender, &receiver_report(7));
    assert_eq!(sender.protect_rtcp(&mut [0x80; 40], 8), Err(SrtpError::KeyExhausted));
}

#[test]
fn contributing_sources_and_extensions_stay_readable_and_are_authenticated() {
    for suite in SrtpSuite::ALL {
        let (mut sender, mut receiver) = pair(suite, 14);
        let mut plain = packet(7, 1, 0);
        plain[0] = 0x92;
        plain.extend([1, 1, 1, 1, 2, 2, 2, 2, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        let header = plain.len();
        plain.extend([5; 40]);
        let sealed = protected(&mut sender, &plain);
        assert_eq!(sealed[..header], plain[..header]);
        assert_ne!(sealed[header..plain.len()], plain[header..]);
        let mut forged = sealed.clone();
        forged[header - 1] ^= 1;
        assert_eq!(opened(&mut receiver, &forged), Err(SrtpError::Unauthentic));
        assert_eq!(opened(&mut receiver, &sealed).unwrap(), plain);
    }
}

#[test]
fn no_key_shows_in_debug_output() {
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::new(suite, &[0xA7; 44][..suite.key_length() + suite.salt_length()]).unwrap();
        let keys = SrtpKeys { send: key.clone(), receive: key.clone() };
        let shown = format!("{key:?} {keys:?} {:?} {:?}", SrtpSender::new(&key), SrtpReceiver::new(&key));
        assert!(!shown.contains("167") && !shown.to_lowercase().contains("a7"), "{shown}");
    }
}
