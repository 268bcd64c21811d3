//! Key lines in session descriptions (RFC 4568): the value of `a=crypto`.

use super::{MasterKey, Suite};
use std::fmt::Write;
use thiserror::Error;

/// Longest key line that is read: the longest sensible one has about 150 octets.
pub const MAX_LINE: usize = 512;
/// Longest lifetime RFC 4568 §6.1 lets anyone write, in packets.
const MAX_LIFETIME: u64 = 1 << 48;

/// Why a key line cannot be used. All are the writer's; another line of the same offer may do.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SdesError {
    /// It is not `tag suite inline:key`.
    #[error("a=crypto is not `tag suite inline:key`")]
    Malformed,
    /// A suite we do not have.
    #[error("a=crypto: suite {0} is not supported; offer AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM")]
    Suite(String),
    /// The key is not base64, or not as long as the suite wants it.
    #[error("a=crypto: the key is not base64 of {0} octets")]
    Key(usize),
    /// A lifetime that is no number, zero, or over 2^48.
    #[error("a=crypto: the key's lifetime must be 1 to 2^48 packets")]
    Lifetime,
    /// Master key identifiers would stand in every packet.
    #[error("a=crypto: master key identifiers (MKI) are not supported; offer one key without MKI")]
    KeyIdentifier,
    /// Several keys in one line.
    #[error("a=crypto: several keys in one line are not supported; offer one key")]
    SeveralKeys,
    /// A session parameter that changes what is on the wire.
    #[error("a=crypto: session parameter {0} is not supported")]
    Parameter(String),
}

/// One `a=crypto` line: what its writer encrypts its own media with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CryptoLine {
    /// Names the line; an answer repeats the tag of the line it takes.
    pub tag: u32,
    /// Suite, key, salt and lifetime.
    pub key: MasterKey,
}

impl CryptoLine {
    /// Reads the value of `a=crypto` (without `crypto:`).
    ///
    /// # Errors
    /// It is malformed, or asks for what we do not do: then the line must be ignored as a whole (RFC 4568 §5.1.2).
    pub fn parse(value: &str) -> Result<Self, SdesError> {
        if value.len() > MAX_LINE {
            return Err(SdesError::Malformed);
        }
        let mut words = value.split([' ', '\t']).filter(|word| !word.is_empty());
        let (Some(tag), Some(suite), Some(keys)) = (words.next(), words.next(), words.next()) else {
            return Err(SdesError::Malformed);
        };
        let tag = tag.parse().ok().filter(|_| tag.len() <= 9 && tag.bytes().all(|b| b.is_ascii_digit()));
        let tag = tag.ok_or(SdesError::Malformed)?;
        let suite = Suite::from_name(suite).ok_or_else(|| SdesError::Suite(suite.chars().take(64).collect()))?;
        if keys.contains(';') {
            return Err(SdesError::SeveralKeys);
        }
        let inline = keys.get(..7).filter(|method| method.eq_ignore_ascii_case("inline:")).and(keys.get(7..));
        let mut parts = inline.ok_or(SdesError::Malformed)?.split('|');
        let key = parts.next().and_then(|text| key_of(suite, text));
        let key = key.ok_or(SdesError::Key(suite.key_length() + suite.salt_length()))?;
        let mut lifetime = None;
        for (n, part) in parts.enumerate() {
            if part.contains(':') {
                return Err(SdesError::KeyIdentifier);
            }
            if n > 0 {
                return Err(SdesError::Malformed);
            }
            lifetime = Some(lifetime_of(part).ok_or(SdesError::Lifetime)?);
        }
        for parameter in words {
            if !is_harmless(parameter) {
                return Err(SdesError::Parameter(parameter.chars().take(64).collect()));
            }
        }
        Ok(Self { tag, key: key.with_lifetime(lifetime) })
    }

    /// The value of `a=crypto`. **Secret**: it holds the key; for a session description and for nothing that is kept or
    /// shown.
    #[must_use]
    pub fn to_value(&self) -> String {
        let mut value = format!("{} {} inline:", self.tag, self.key.suite());
        encode(self.key.octets(), &mut value);
        if let Some(packets) = self.key.lifetime() {
            if packets.is_power_of_two() {
                let _ = write!(value, "|2^{}", packets.ilog2());
            } else {
                let _ = write!(value, "|{packets}");
            }
        }
        value
    }
}

/// Session parameters that leave the packets as they are: no derivation rate, a hint on the replay window, and those the
/// writer lets us ignore (RFC 4568 §6.3).
fn is_harmless(parameter: &str) -> bool {
    let upper = parameter.to_ascii_uppercase();
    upper == "KDR=0" || upper.starts_with("WSH=") || upper.starts_with('-')
}

fn lifetime_of(text: &str) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let packets = match text.strip_prefix("2^") {
        Some(power) => 1u64.checked_shl(u32::try_from(digits(power)?).ok()?)?,
        None => digits(text)?,
    };
    (1..=MAX_LIFETIME).contains(&packets).then_some(packets)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(octets: &[u8], out: &mut String) {
    for chunk in octets.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|n| u32::from(chunk.get(n).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for n in 0..4 {
            let sextet = (bits >> (18 - 6 * n) & 63) as usize;
            let digit = ALPHABET.get(sextet).map_or('A', |digit| char::from(*digit));
            out.push(if n <= chunk.len() { digit } else { '=' });
        }
    }
}

/// The key that a base64 text holds; its padding may be missing, as with some phones.
fn key_of(suite: Suite, text: &str) -> Option<MasterKey> {
    let wanted = suite.key_length() + suite.salt_length();
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() != (wanted * 4).div_ceil(3) {
        return None;
    }
    let mut octets = [0; super::MAX_KEYING_MATERIAL];
    let mut room = octets.iter_mut();
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits.bytes() {
        bits = bits << 6 | sextet_of(digit)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            *room.next()? = (bits >> held) as u8;
            bits &= (1 << held) - 1;
        }
    }
    let key = octets.get(..wanted).and_then(|used| MasterKey::new(suite, used));
    octets = [0; super::MAX_KEYING_MATERIAL];
    std::hint::black_box(&octets);
    // Bits beyond the last octet must be zero, or one key would have several spellings.
    key.filter(|_| bits == 0)
}

fn sextet_of(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}
