//! What of the records in clear is shown to the library: what can be the next of this handshake, from a peer whose certificate
//! hashes to the fingerprint. Whoever writes the peer's address knows no certificate, and the library forgives nothing.

use super::{CERTIFICATE, HANDSHAKE, MESSAGE_HEADER, RECORD_HEADER, SERVER_HELLO, fingerprint_of};
use crate::sdp::Fingerprint;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HELLO_VERIFY_REQUEST: u8 = 3;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// 1.2.840.113549.1.1.1 in DER, the algorithm of an RSA public key (RFC 8017 appendix A.1).
pub(super) const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// A certificate that will not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Misfit {
    /// The list is empty.
    Nothing,
    /// Its key is RSA.
    Rsa,
    /// It hashes to something else.
    Other(Fingerprint),
}

/// What one peer has shown so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    /// The number of the message with a certificate that fits, or with the beginning of one that comes in pieces.
    certificate: Option<u16>,
}

impl Screen {
    /// Whether a datagram may be shown to the library. It is not where one of its records is out of place; why, where that
    /// says something of the peer.
    pub(super) fn admit(
        &mut self,
        datagram: &[u8],
        wanted: &[Fingerprint],
        of_client: bool,
    ) -> Result<(), Option<Misfit>> {
        let mut shown = self.clone();
        let mut rest = datagram;
        while !rest.is_empty() {
            let ([kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1], tail) =
                rest.split_first_chunk::<RECORD_HEADER>().ok_or(None)?;
            let (fragment, later) = tail.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1]))).ok_or(None)?;
            rest = later;
            let in_clear = [*e0, *e1] == [0, 0];
            match *kind {
                HANDSHAKE if in_clear => shown.admit_message(fragment, wanted, of_client)?,
                // What comes encrypted is authenticated by the library; before there can be keys it is not kept.
                _ if shown.certificate.is_some()
                    && ([*e0, *e1] == [0, 1] || in_clear && *kind == CHANGE_CIPHER_SPEC) => {}
                _ => return Err(None),
            }
        }
        *self = shown;
        Ok(())
    }

    fn admit_message(
        &mut self,
        fragment: &[u8],
        wanted: &[Fingerprint],
        of_client: bool,
    ) -> Result<(), Option<Misfit>> {
        let ([kind, m0, m1, m2, s0, s1, o0, o1, o2, f0, f1, f2], body) =
            fragment.split_first_chunk::<MESSAGE_HEADER>().ok_or(None)?;
        let number = u16::from_be_bytes([*s0, *s1]);
        let after_certificate = self.certificate.map(|certificate| number.wrapping_sub(certificate));
        let is_in_place = match (*kind, of_client) {
            // After two hellos: the first brought the cookie, which this server always asks for.
            (CERTIFICATE, true) => number == 2,
            (CLIENT_KEY_EXCHANGE, true) | (SERVER_KEY_EXCHANGE, false) => after_certificate == Some(1),
            (CERTIFICATE_VERIFY, true) | (CERTIFICATE_REQUEST, false) => after_certificate == Some(2),
            (SERVER_HELLO_DONE, false) => after_certificate == Some(3),
            (HELLO_VERIFY_REQUEST, false) => number == 0 && self.certificate.is_none(),
            (SERVER_HELLO, false) => number <= 1 && self.certificate.is_none(),
            (CERTIFICATE, false) => number <= 2,
            _ => false,
        };
        if !is_in_place {
            return Err(None);
        }
        if *kind == CERTIFICATE {
            let is_whole = [o0, o1, o2] == [&0; 3] && [m0, m1, m2] == [f0, f1, f2];
            Self::judge(body, is_whole, wanted)?;
            self.certificate = Some(number);
        }
        Ok(())
    }

    fn judge(body: &[u8], is_whole: bool, wanted: &[Fingerprint]) -> Result<(), Option<Misfit>> {
        let certificate = certificate_of(body);
        let fits = |certificate: &[u8]| wanted.iter().any(|wanted| fingerprint_of(wanted.hash, certificate) == *wanted);
        if certificate.is_some_and(fits) {
            return Ok(());
        }
        if is_whole && body == [0, 0, 0] {
            return Err(Some(Misfit::Nothing));
        }
        if body.windows(RSA_ENCRYPTION.len()).any(|window| window == RSA_ENCRYPTION) {
            return Err(Some(Misfit::Rsa));
        }
        match (certificate, wanted.first()) {
            (Some(certificate), Some(wanted)) => Err(Some(Misfit::Other(fingerprint_of(wanted.hash, certificate)))),
            // A chain that comes in pieces is judged when the library has it whole.
            _ if !is_whole => Ok(()),
            _ => Err(None),
        }
    }
}

/// The first certificate of a list (RFC 5246 §7.4.2), where it is whole in what there is.
fn certificate_of(body: &[u8]) -> Option<&[u8]> {
    let (_, list) = body.split_first_chunk::<3>()?;
    let ([a, b, c], rest) = list.split_first_chunk::<3>()?;
    rest.get(..u32::from_be_bytes([0, *a, *b, *c]) as usize).filter(|certificate| !certificate.is_empty())
}
