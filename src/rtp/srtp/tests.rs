use super::cipher::{Cipher, derive};
use super::*;
use crate::base::Random;
use crate::rtp::Header;
use crate::rtp::source_lock::Claim;

mod key_lines;
mod vectors;

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Two ends with the same key.
fn pair(suite: Suite, seed: u64) -> (SrtpSender, SrtpReceiver) {
    let key = MasterKey::random(suite, &mut Random::seeded(seed));
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
    for suite in Suite::ALL {
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
