//! The cookies of a server (RFC 6347 §4.2.1): one for each address, whatever hello asks for it. Where somebody forges hellos in
//! the peer's name, the answers reach the peer, which takes the first for its own; so that must be as good as its own.

use super::{HANDSHAKE, MESSAGE_HEADER, RECORD_HEADER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::cell::Cell;
use std::net::SocketAddr;

const HELLO_VERIFY_REQUEST: u8 = 3;
/// Octets of a cookie: as many as the library draws for one of its own, and for nothing else.
const LENGTH: usize = 20;

/// A cookie.
pub(super) type Cookie = [u8; LENGTH];

/// What the cookies of one handshake are made with.
#[derive(Clone, Debug)]
pub(super) struct Cookies(pub(super) [u8; 32]);

impl Cookies {
    /// The cookie of an address.
    pub(super) fn of(&self, address: SocketAddr) -> Cookie {
        let mut cookie = [0; LENGTH];
        if let Some(mac) = self.mac(address) {
            cookie.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(octet, of_mac)| *octet = of_mac);
        }
        cookie
    }

    /// Whether this is the cookie of an address.
    pub(super) fn is_of(&self, address: SocketAddr, cookie: &[u8]) -> bool {
        cookie.len() == LENGTH && self.mac(address).is_some_and(|mac| mac.verify_truncated_left(cookie).is_ok())
    }

    /// There is one: HMAC takes keys of any length.
    fn mac(&self, address: SocketAddr) -> Option<Hmac<Sha256>> {
        Hmac::new_from_slice(&self.0).ok().map(|mac: Hmac<Sha256>| mac.chain_update(address.to_string()))
    }
}

/// The HelloVerifyRequest with a cookie.
pub(super) fn request(cookie: &Cookie) -> Vec<u8> {
    const BODY: u8 = 2 + 1 + LENGTH as u8;
    let mut datagram = vec![HANDSHAKE, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, BODY + MESSAGE_HEADER as u8];
    datagram.extend([HELLO_VERIFY_REQUEST, 0, 0, BODY, 0, 0, 0, 0, 0, 0, 0, BODY]);
    datagram.extend([0xFE, 0xFF, LENGTH as u8]);
    datagram.extend(cookie);
    debug_assert_eq!(datagram.len(), RECORD_HEADER + MESSAGE_HEADER + usize::from(BODY));
    datagram
}

thread_local! {
    /// The cookie that the library is to draw.
    static RIGHT: Cell<Option<Cookie>> = const { Cell::new(None) };
}

/// Runs `work`, in which the library draws this cookie and no other.
pub(super) fn with<T>(cookie: Cookie, work: impl FnOnce() -> T) -> T {
    RIGHT.set(Some(cookie));
    let done = work();
    RIGHT.set(None);
    done
}

/// Gives the library's draw the cookie, where it draws one.
pub(super) fn fill(drawn: &mut [u8]) -> bool {
    match (RIGHT.get(), <&mut Cookie>::try_from(drawn)) {
        (Some(cookie), Ok(drawn)) => {
            *drawn = cookie;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_of_its_address_and_its_handshake_alone() {
        let (ours, other) = (Cookies([1; 32]), Cookies([2; 32]));
        let [here, beside] = [4_000, 4_001].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let cookie = ours.of(here);
        assert!(ours.is_of(here, &cookie));
        assert!(!ours.is_of(beside, &cookie) && !other.is_of(here, &cookie));
        assert!(!ours.is_of(here, &[]) && !ours.is_of(here, &cookie[1..]));
    }
}
