//! The ClientHello as a server reads it before anything is kept for its sender (RFC 6347 §4.2.1, RFC 5246 §7.4.1.2).

use super::{CLIENT_HELLO, HANDSHAKE, MESSAGE_HEADER, RECORD_HEADER};

/// Octets of version and random, with which a hello begins.
const FIXED: usize = 2 + 32;
/// Longest session id (RFC 5246 §7.4.1.2).
const SESSION_ID: usize = 32;

/// A ClientHello that is alone in its datagram, in one piece, and whose lengths agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello<'d> {
    /// By which clients are told apart.
    pub(super) random: [u8; 32],
    /// What proves that its sender gets what is sent to its address; empty in a first hello.
    pub(super) cookie: &'d [u8],
    /// The body before the cookie's length, and after the cookie.
    around: (&'d [u8], &'d [u8]),
}

/// Whether a datagram begins as a ClientHello does.
pub(super) fn begins(datagram: &[u8]) -> bool {
    matches!(datagram, [HANDSHAKE, 0xFE, _, 0, 0, ..]) && datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO)
}

impl<'d> Hello<'d> {
    pub(super) fn read(datagram: &'d [u8]) -> Option<Self> {
        let ([HANDSHAKE, 0xFE, _, 0, 0, _, _, _, _, _, _, l0, l1], fragment) =
            datagram.split_first_chunk::<RECORD_HEADER>()?
        else {
            return None;
        };
        let ([CLIENT_HELLO, m0, m1, m2, _, _, 0, 0, 0, f0, f1, f2], body) =
            fragment.split_first_chunk::<MESSAGE_HEADER>()?
        else {
            return None;
        };
        let length = |octets: [u8; 3]| u32::from_be_bytes([0, octets[0], octets[1], octets[2]]) as usize;
        let is_whole = usize::from(u16::from_be_bytes([*l0, *l1])) == fragment.len()
            && length([*m0, *m1, *m2]) == body.len()
            && length([*f0, *f1, *f2]) == body.len();
        if !is_whole {
            return None;
        }
        let random = body.get(2..FIXED)?.try_into().ok()?;
        let session_id = usize::from(*body.get(FIXED)?);
        let (before, rest) = body.split_at_checked(FIXED + 1 + session_id)?;
        let (cookie_length, rest) = rest.split_first()?;
        let (cookie, after) = rest.split_at_checked(usize::from(*cookie_length))?;
        let is_sound = session_id <= SESSION_ID && lists_agree(after);
        is_sound.then_some(Self { random, cookie, around: (before, after) })
    }

    /// The hello with which this client began: the same without a cookie, as message and record 0.
    pub(super) fn first(&self) -> Vec<u8> {
        let (before, after) = self.around;
        let body = before.len() + 1 + after.len();
        let [_, b0, b1, b2] = (body as u32).to_be_bytes();
        let [r0, r1] = ((body + MESSAGE_HEADER) as u16).to_be_bytes();
        let mut datagram = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, r0, r1];
        datagram.extend([CLIENT_HELLO, b0, b1, b2, 0, 0, 0, 0, 0, b0, b1, b2]);
        datagram.extend(before);
        datagram.push(0);
        datagram.extend(after);
        datagram
    }
}

/// A hello in a record with the number 1.
pub(super) fn as_second_record(hello: &[u8]) -> Vec<u8> {
    let mut datagram = hello.to_vec();
    if let Some([_, _, _, _, _, number @ .., _, _]) = datagram.first_chunk_mut::<RECORD_HEADER>() {
        *number = [0, 0, 0, 0, 0, 1];
    }
    datagram
}

/// Whether suites, compression methods and extensions fill what is left, and no more.
fn lists_agree(rest: &[u8]) -> bool {
    let after_suites = || {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        rest.get(length..).filter(|_| length >= 2 && length.is_multiple_of(2))
    };
    let after_methods = |rest: &'_ [u8]| {
        let (length, _) = rest.split_first()?;
        Some(1 + usize::from(*length)).filter(|length| (2..=rest.len()).contains(length))
    };
    let Some(rest) = after_suites() else { return false };
    let Some(extensions) = after_methods(rest).and_then(|at| rest.get(at..)) else { return false };
    match extensions.split_first_chunk::<2>() {
        Some((length, list)) => usize::from(u16::from_be_bytes(*length)) == list.len(),
        None => extensions.is_empty(),
    }
}
