//! Keys in `a=crypto` lines (RFC 4568).

use super::limits::MAX_CRYPTO;
use crate::base::{SrtpKey, SrtpSuite};
use sdp_types::Attribute;

/// Most digits of a tag (RFC 4568 §9.1).
const TAG_DIGITS: usize = 9;

/// One line that can be used: known suite, one key, nothing that weakens the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Crypto {
    /// As written; the answer repeats it.
    pub(super) tag: String,
    pub(super) key: SrtpKey,
}

impl Crypto {
    /// The usable `a=crypto` lines of a section, in order.
    pub(super) fn read_all(attributes: &[Attribute]) -> Vec<Self> {
        let lines = attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("crypto"));
        lines.take(MAX_CRYPTO).filter_map(|a| Self::read(a.value.as_deref()?)).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let tag = fields.next().filter(|tag| is_tag(tag))?;
        let suite = SrtpSuite::from_name(fields.next()?)?;
        let key = inline_key(suite, fields.next()?)?;
        fields.all(is_harmless).then(|| Self { tag: tag.to_owned(), key })
    }

    /// The attribute that hands over `key`.
    pub(super) fn attribute(tag: &str, key: &SrtpKey) -> Attribute {
        let octets = [key.master_key(), key.master_salt()].concat();
        Attribute::with_value("crypto", format!("{tag} {} inline:{}", key.suite(), base64(&octets)))
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_DIGITS).contains(&tag.len()) && tag.bytes().all(|octet| octet.is_ascii_digit())
}

/// `inline:<key and salt>[|lifetime][|MKI:length]`. Several keys, and keys with an identifier that every packet would
/// have to carry, are not taken; nor is a lifetime that is none.
fn inline_key(suite: SrtpSuite, parameter: &str) -> Option<SrtpKey> {
    let (method, rest) = parameter.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") || rest.contains(';') {
        return None;
    }
    let mut parts = rest.split('|');
    let octets = octets_of_base64(parts.next()?)?;
    let lifetime = match (parts.next(), parts.next()) {
        (None, None) => None,
        (Some(lifetime), None) => Some(packets(lifetime)?),
        // The third part could only be an identifier.
        _ => return None,
    };
    Some(SrtpKey::new(suite, &octets)?.with_lifetime(lifetime))
}

/// A lifetime: a number of packets, or a power of two (RFC 4568 §6.1), at most what SRTP allows (RFC 3711 §9.2).
fn packets(lifetime: &str) -> Option<u64> {
    let number =
        |digits: &str| digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    let packets = match lifetime.strip_prefix("2^") {
        Some(power) => 1_u64.checked_shl(u32::try_from(number(power)?).ok()?)?,
        None => number(lifetime)?,
    };
    (1..=1 << 48).contains(&packets).then_some(packets)
}

/// Session parameters (RFC 4568 §6.3): what does not change the packets may be ignored, and so may what the writer marks
/// as optional with a hyphen. Everything else means another stream than the one that is spoken here.
fn is_harmless(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    parameter.starts_with('-') || name.eq_ignore_ascii_case("WSH") || parameter.eq_ignore_ascii_case("KDR=0")
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4, with padding.
fn base64(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let digit = ALPHABET.get((bits >> (18 - 6 * position) & 0x3F) as usize).copied().unwrap_or(b'=');
            text.push(char::from(if position <= group.len() { digit } else { b'=' }));
        }
    }
    text
}

/// RFC 4648 §4. Padding may be missing, as some write it; anything else than the alphabet is an error.
fn octets_of_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut octets = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Crypto> {
        Crypto::read(line)
    }

    /// The example of RFC 4568 §9.2, 30 octets.
    const INLINE: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_example_of_rfc_4568_is_read() {
        let crypto = read(&format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE}|2^20")).unwrap();
        assert_eq!((crypto.tag.as_str(), crypto.key.suite()), ("1", SrtpSuite::AesCm128HmacSha1Tag80));
        assert_eq!(crypto.key.master_key(), b"YS___semctl () {");
        assert_eq!(crypto.key.master_salt(), b"\t220;}\n}\nunles");
        assert_eq!(crypto.key.lifetime(), Some(1 << 20));
    }

    #[test]
    fn a_lifetime_is_a_number_of_packets_or_a_power_of_two() {
        let lifetime = |text: &str| {
            let crypto = read(&format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE}|{text}"))?;
            crypto.key.lifetime()
        };
        for (text, packets) in [("1", 1), ("1000", 1_000), ("2^31", 1 << 31), ("2^48", 1 << 48)] {
            assert_eq!(lifetime(text), Some(packets), "{text}");
        }
        for text in ["", "0", "2^49", "2^64", "2^", "281474976710657", "-1", "2^-1", "1e3"] {
            assert_eq!(lifetime(text), None, "{text}");
        }
        assert_eq!(read(&format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE}")).unwrap().key.lifetime(), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let octets: Vec<u8> = (0..44).map(|n| n * 5 + 3).collect();
        for suite in SrtpSuite::ALL {
            let key = SrtpKey::new(suite, &octets[..suite.key_length() + suite.salt_length()]).unwrap();
            let attribute = Crypto::attribute("7", &key);
            assert_eq!(read(&attribute.value.unwrap()), Some(Crypto { tag: "7".into(), key }));
        }
    }

    #[test]
    fn lines_that_cannot_be_honoured_are_passed_over() {
        for (what, line) in [
            ("unknown suite", format!("1 F8_128_HMAC_SHA1_80 {INLINE}")),
            ("no key", "1 AES_CM_128_HMAC_SHA1_80".to_owned()),
            ("key too short", "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7".to_owned()),
            ("key too long for the suite", format!("1 AEAD_AES_128_GCM {INLINE}")),
            ("not base64", format!("1 AES_CM_128_HMAC_SHA1_80 {}", INLINE.replace('W', "*"))),
            ("two keys", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE}|1:4;{INLINE}|2:4")),
            ("an identifier in every packet", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE}|2^20|1:4")),
            ("another key method", format!("1 AES_CM_128_HMAC_SHA1_80 {}", INLINE.replace("inline", "uri"))),
            ("no encryption", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE} UNENCRYPTED_SRTP")),
            ("no encryption of RTCP", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE} UNENCRYPTED_SRTCP")),
            ("no authentication", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE} UNAUTHENTICATED_SRTP")),
            ("key derivation again and again", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE} KDR=1")),
            ("error correction", format!("1 AES_CM_128_HMAC_SHA1_80 {INLINE} FEC_ORDER=SRTP_FEC")),
            ("a tag of letters", format!("a AES_CM_128_HMAC_SHA1_80 {INLINE}")),
            ("a tag of ten digits", format!("1234567890 AES_CM_128_HMAC_SHA1_80 {INLINE}")),
            ("nothing", String::new()),
        ] {
            assert_eq!(read(&line), None, "{what}");
        }
    }

    #[test]
    fn hints_and_optional_parameters_are_ignored() {
        for line in ["2 aes_cm_128_hmac_sha1_80 {} WSH=128", "2 AES_CM_128_HMAC_SHA1_80 {} KDR=0 -FUTURE=1"] {
            assert!(read(&line.replace("{}", INLINE)).is_some(), "{line}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648_hold_both_ways() {
        for (octets, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(octets.as_bytes()), text);
            assert_eq!(octets_of_base64(text).unwrap(), octets.as_bytes());
            assert_eq!(octets_of_base64(text.trim_end_matches('=')).unwrap(), octets.as_bytes(), "without padding");
        }
        for bad in ["A", "====", "Zg===", "Z=g=", "Zm9v\u{e9}"] {
            assert_eq!(octets_of_base64(bad), None, "{bad}");
        }
    }
}
