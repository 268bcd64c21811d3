//! Body of the fuzz target `sdp`.

use super::{Codec, Direction, Fingerprint, HashFunction, Keying, Negotiation, Security, SrtpPolicy, StreamTerms};
use crate::base::Random;
use std::net::{IpAddr, Ipv4Addr};

/// Reads the input as offer and as answer, under each policy of encryption. What we answer to an offer is a description
/// that our own reader accepts, with as many streams as the offer and never more than it allows; where encryption is
/// required nothing is agreed in clear.
pub fn sdp(input: &[u8]) {
    for policy in [SrtpPolicy::Off, SrtpPolicy::Preferred, SrtpPolicy::Required] {
        under(policy, input);
    }
}

fn terms(srtp: SrtpPolicy) -> StreamTerms {
    StreamTerms {
        srtp,
        comfort_noise: true,
        keying: vec![Keying::Sdes, Keying::Dtls],
        private_signalling: true,
        fingerprint: Some(Fingerprint { hash: HashFunction::Sha256, octets: vec![0xA5; 32] }),
        ..StreamTerms::from(&Codec::ALL)
    }
}

fn under(policy: SrtpPolicy, input: &[u8]) {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let may_be_clear = policy != SrtpPolicy::Required;
    let mut ours = Negotiation::new(address, 20_000, terms(policy), &mut Random::seeded(1));
    ours.offer(Direction::SendRecv);
    if let Ok(negotiated) = ours.accept_answer(input) {
        assert!(may_be_clear || negotiated.security.is_secure(), "{negotiated:?}");
    }
    let mut ours = Negotiation::new(address, 20_000, terms(policy), &mut Random::seeded(1));
    let Ok(answer) = ours.answer(input, Direction::SendRecv) else { return };
    let agreed = &answer.negotiated;
    assert!(answer.sdp.is_ascii() || std::str::from_utf8(input).is_err() || !input.is_ascii());
    assert!(may_be_clear || agreed.security.is_secure(), "{agreed:?}");
    assert!(policy != SrtpPolicy::Off || !agreed.security.is_secure(), "{agreed:?}");
    assert_eq!(answer.sdp.contains("a=crypto:"), matches!(agreed.security, Security::Sdes { .. }));
    assert_eq!(answer.sdp.contains("a=fingerprint:"), matches!(agreed.security, Security::Dtls { .. }));
    let lines = |text: &[u8]| text.split(|o| *o == b'\n').filter(|line| line.starts_with(b"m=")).count();
    assert_eq!(lines(answer.sdp.as_bytes()), lines(input), "one answered stream per offered stream");
    assert!((10..=60).contains(&agreed.ptime_ms));
    let again = ours.answer(input, Direction::SendRecv).map(|again| again.sdp);
    assert_eq!(again.as_deref(), Ok(&*answer.sdp), "an unchanged answer keeps its version");
    let offer = ours.offer(Direction::SendRecv);
    assert_eq!(lines(offer.as_bytes()), lines(input), "a re-offer keeps the number of streams");
    let mut theirs = Negotiation::new(address, 30_000, terms(policy), &mut Random::seeded(2));
    let reply =
        theirs.answer(offer.as_bytes(), Direction::SendRecv).map(|reply| ours.accept_answer(reply.sdp.as_bytes()));
    let is_secure = reply.as_ref().map(|read| read.as_ref().map(|agreed| agreed.security.is_secure()));
    let protects_as_before = matches!(is_secure, Ok(Ok(secure)) if secure == agreed.security.is_secure());
    assert!(protects_as_before, "a re-offer of ours can be answered: {reply:?}");
}

#[cfg(test)]
mod tests {
    use crate::base::Random;

    #[test]
    fn damaged_offers_do_not_break_the_reader() {
        let plain = include_str!("../../tests/sdp/asterisk-offer.sdp");
        let secure = include_str!("../../tests/sdp/secure-offer.sdp");
        let mut random = Random::seeded(5);
        for round in 0..3_000 {
            let mut octets = if round % 2 == 0 { plain } else { secure }.as_bytes().to_vec();
            for _ in 0..random.below(6) {
                let at = random.below(octets.len() as u64) as usize;
                match random.below(4) {
                    0 => octets[at] = random.next_u32() as u8,
                    1 => octets.truncate(at.max(1)),
                    2 => octets.insert(at, b'\n'),
                    _ => {
                        let tail = octets.split_off(at);
                        octets.extend_from_slice(&tail);
                        octets.extend_from_slice(&tail);
                    }
                }
            }
            super::sdp(&octets);
        }
    }
}
