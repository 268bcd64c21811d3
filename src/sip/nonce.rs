//! Nonces of our own: made without a table, recognised by a MAC, remembered only once they were used rightly.

use super::table::Table;
use crate::base::{Pii, Random};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a nonce of ours may be used. Answers captured on the wire are worth nothing after it.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Nonces whose count is remembered. Only right answers get here, so peers alone decide what is in it; with more, an old
/// answer could be repeated from the same address while its nonce lives.
pub const USED_NONCES: usize = 16_384;

/// Hexadecimal digits of time, serial number and MAC. Short, since a challenge must not be longer than what it answers.
const TIME_DIGITS: usize = 10;
const SERIAL_DIGITS: usize = 6;
const MAC_DIGITS: usize = 24;

/// Makes and recognises nonces. Each carries its time and a MAC over it, our realm and the address it was made for, so
/// that a flood of requests without credentials leaves nothing behind and a nonce is of no use elsewhere.
#[derive(Debug)]
pub struct Nonces {
    /// As long as a block of the hash, so that it is used as it is (RFC 2104 §2).
    key: Pii<[u8; 64]>,
    epoch: Option<Instant>,
    serial: u32,
    /// The highest nonce count seen.
    used: Table<Box<str>, u32>,
}

impl Nonces {
    /// Nonces under a fresh key. Those of an earlier process are not recognised: their users are asked again.
    pub fn new(random: &mut Random) -> Self {
        let mut key = [0u8; 64];
        for chunk in key.chunks_mut(8) {
            for (byte, fresh) in chunk.iter_mut().zip(random.next_u64().to_le_bytes()) {
                *byte = fresh;
            }
        }
        Self { key: Pii::new(key), epoch: None, serial: 0, used: Table::new(USED_NONCES, random.next_u64()) }
    }

    /// A nonce for a challenge to `source`. Each is another one.
    pub fn issue(&mut self, now: Instant, realm: &str, source: IpAddr) -> String {
        let epoch = *self.epoch.get_or_insert(now);
        self.serial = self.serial.wrapping_add(1) & 0xff_ffff;
        let age = now.saturating_duration_since(epoch).as_millis();
        let head = format!("{age:0TIME_DIGITS$x}{:0SERIAL_DIGITS$x}", self.serial);
        let mac = self.mac(&head, realm, source);
        head + &mac
    }

    /// How old a nonce is; `None` if we did not make it for that realm and address.
    #[must_use]
    pub fn age(&self, now: Instant, realm: &str, source: IpAddr, nonce: &str) -> Option<Duration> {
        let (head, mac) = nonce.split_at_checked(TIME_DIGITS + SERIAL_DIGITS)?;
        if !equal_in_constant_time(self.mac(head, realm, source).as_bytes(), mac.as_bytes()) {
            return None;
        }
        let made_ms = u64::from_str_radix(head.get(..TIME_DIGITS)?, 16).ok()?;
        let made = self.epoch?.checked_add(Duration::from_millis(made_ms))?;
        Some(now.saturating_duration_since(made))
    }

    /// Notes that a right answer used a nonce for the `count`th time. False if it was used as often before: the answer
    /// is a repetition.
    pub fn use_once(&mut self, now: Instant, nonce: &str, count: u32) -> bool {
        let Some(highest) = self.used.entry(now, nonce.into(), || 0, |_| false) else { return false };
        let is_fresh = count > *highest;
        *highest = count.max(*highest);
        is_fresh
    }

    fn mac(&self, head: &str, realm: &str, source: IpAddr) -> String {
        let source = source.to_canonical().to_string();
        let parts = [head.as_bytes(), b":", source.as_bytes(), b":", realm.as_bytes()];
        let mac = Hmac::<Sha256>::new(self.key.expose().into());
        let mac = parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize();
        let mut digits = hex(&mac.into_bytes());
        digits.truncate(MAC_DIGITS);
        digits
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Compares without telling by its duration where the difference lies. Lengths are no secret.
pub(super) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0u8, |d, (x, y)| d | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5));

    #[test]
    fn a_nonce_is_good_for_its_realm_and_address_and_tells_its_age() {
        let start = Instant::now();
        let mut nonces = Nonces::new(&mut Random::seeded(1));
        nonces.issue(start, "r", HERE);
        let later = start + Duration::from_secs(100);
        let nonce = nonces.issue(later, "r", HERE);
        assert_eq!(nonces.age(later + Duration::from_secs(7), "r", HERE, &nonce), Some(Duration::from_secs(7)));
        assert_eq!(nonces.age(later, "other", HERE, &nonce), None);
        assert_eq!(nonces.age(later, "r", [203, 0, 113, 6].into(), &nonce), None);
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] ^= 1;
            assert_eq!(nonces.age(later, "r", HERE, &String::from_utf8(forged).unwrap()), None, "digit {at}");
        }
        for junk in ["", "ä", "0000000000000001", &"f".repeat(5_000)] {
            assert_eq!(nonces.age(later, "r", HERE, junk), None);
        }
    }

    #[test]
    fn no_two_challenges_share_a_nonce_even_at_one_moment() {
        let start = Instant::now();
        let mut nonces = Nonces::new(&mut Random::seeded(1));
        let made: std::collections::HashSet<String> = (0..10_000).map(|_| nonces.issue(start, "r", HERE)).collect();
        assert_eq!(made.len(), 10_000);
    }

    #[test]
    fn a_count_is_taken_once_and_must_grow() {
        let start = Instant::now();
        let mut nonces = Nonces::new(&mut Random::seeded(1));
        let taken: Vec<bool> = [1, 1, 2, 5, 3, 5, 6].map(|count| nonces.use_once(start, "n", count)).to_vec();
        assert_eq!(taken, [true, false, true, true, false, false, true]);
        assert!(nonces.use_once(start, "another", 1));
    }
}
