//! Base64 with the standard alphabet (RFC 4648 §4), for audio inside JSON.

use bytes::BytesMut;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID: u8 = 0xFF;

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which would stop at an index out of bounds")]
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut index = 0;
    while index < 64 {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
};

fn digit(bits: u32) -> u8 {
    ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A')
}

/// Appends `octets` with padding to `out`.
pub fn encode(octets: &[u8], out: &mut BytesMut) {
    out.reserve(octets.len().div_ceil(3) * 4);
    let mut groups = octets.chunks_exact(3);
    for group in &mut groups {
        let bits = group.iter().fold(0, |bits, octet| bits << 8 | u32::from(*octet));
        out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    }
    match *groups.remainder() {
        [one] => {
            let bits = u32::from(one) << 16;
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), b'=', b'=']);
        }
        [one, two] => {
            let bits = u32::from(one) << 16 | u32::from(two) << 8;
            out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), b'=']);
        }
        _ => {}
    }
}

/// Hands every octet of `text` to `take`; padding may be left out. False when it is no base64: what came before the
/// fault has been handed over.
#[must_use]
pub fn decode(text: &[u8], mut take: impl FnMut(u8)) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return false;
    }
    let digits = text.get(..text.len() - padding).unwrap_or_default();
    let value = |byte: u8| VALUES.get(usize::from(byte)).copied().unwrap_or(INVALID);
    let mut groups = digits.chunks_exact(4);
    for group in &mut groups {
        let (mut bits, mut seen) = (0_u32, 0_u8);
        for byte in group {
            let value = value(*byte);
            seen |= value;
            bits = bits << 6 | u32::from(value & 63);
        }
        if seen & 0xC0 != 0 {
            return false;
        }
        let [_, first, second, third] = bits.to_be_bytes();
        take(first);
        take(second);
        take(third);
    }
    let rest = groups.remainder();
    let bits = rest.iter().try_fold(0_u32, |bits, byte| match value(*byte) {
        INVALID => None,
        value => Some(bits << 6 | u32::from(value)),
    });
    let Some(bits) = bits else { return false };
    match (rest.len(), padding) {
        (0, 0) => true,
        (2, 0 | 2) => {
            take((bits >> 4) as u8);
            true
        }
        (3, 0 | 1) => {
            take((bits >> 10) as u8);
            take((bits >> 2) as u8);
            true
        }
        _ => false,
    }
}

/// The octets of `text`; `None` when it is no base64.
#[must_use]
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    decode(text.as_bytes(), |octet| out.push(octet)).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(octets: &[u8]) -> String {
        let mut out = BytesMut::new();
        encode(octets, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_4648_come_out_and_go_back() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(octets.as_bytes()), text);
            assert_eq!(decoded(text).as_deref(), Some(octets.as_bytes()));
            assert_eq!(decoded(text.trim_end_matches('=')).as_deref(), Some(octets.as_bytes()), "without padding");
        }
    }

    #[test]
    fn every_octet_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Some(all));
    }

    #[test]
    fn what_is_no_base64_is_told_apart() {
        for text in ["Z", "Zg=", "Zg===", "Zm9v!A==", "Zm 9v", "Zm-_", "====", "=Zm9v", "Zm9v=", "Zm9vY"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
