//! Body of the fuzz target `sdp`.

use super::{Codec, Direction, Negotiation};
use crate::base::Random;
use std::net::{IpAddr, Ipv4Addr};

/// Reads the input as offer and as answer. What we answer to an offer is a description that our own reader
/// accepts, with as many streams as the offer and never more than it allows.
pub fn sdp(input: &[u8]) {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let mut ours = Negotiation::new(address, 20_000, Codec::G711.to_vec(), &mut Random::seeded(1));
    let _ = ours.accept_answer(input);
    let Ok(answer) = ours.answer(input, Direction::SendRecv) else { return };
    assert!(answer.sdp.is_ascii() || std::str::from_utf8(input).is_err() || !input.is_ascii());
    let lines = |text: &[u8]| text.split(|o| *o == b'\n').filter(|line| line.starts_with(b"m=")).count();
    assert_eq!(lines(answer.sdp.as_bytes()), lines(input), "one answered stream per offered stream");
    assert!((10..=60).contains(&answer.negotiated.ptime_ms));
    let again = ours.answer(input, Direction::SendRecv).map(|again| again.sdp);
    assert_eq!(again.as_deref(), Ok(&*answer.sdp), "an unchanged answer keeps its version");
    let offer = ours.offer(Direction::SendRecv);
    assert_eq!(lines(offer.as_bytes()), lines(input), "a re-offer keeps the number of streams");
    let mut theirs = Negotiation::new(address, 30_000, Codec::G711.to_vec(), &mut Random::seeded(2));
    let reply =
        theirs.answer(offer.as_bytes(), Direction::SendRecv).map(|reply| ours.accept_answer(reply.sdp.as_bytes()));
    assert!(matches!(reply, Ok(Ok(_))), "a re-offer of ours can be answered: {reply:?}");
}

#[cfg(test)]
mod tests {
    use crate::base::Random;

    #[test]
    fn damaged_offers_do_not_break_the_reader() {
        let offer = include_str!("../../tests/sdp/asterisk-offer.sdp");
        let mut random = Random::seeded(5);
        for _ in 0..3_000 {
            let mut octets = offer.as_bytes().to_vec();
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
