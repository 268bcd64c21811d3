//! What of a peer's datagrams is shown to the library: whole flights from a peer whose certificate hashes to the fingerprint,
//! in order and once. Whoever writes the peer's address knows no certificate; and the library puts what comes in pieces
//! together without a bound, by recursion, and forgets its timer with the first message of a flight.

use super::{CERTIFICATE, HANDSHAKE, MESSAGE_HEADER, RECORD_HEADER, SERVER_HELLO, fingerprint_of};
use crate::sdp::Fingerprint;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HELLO_VERIFY_REQUEST: u8 = 3;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Longest chain of certificates, in octets.
const MAX_CERTIFICATE: usize = 16_384;
/// Longest other message, in octets.
const MAX_MESSAGE: usize = 4_096;
/// Longest encrypted record, in octets: `Finished` and alerts take 61 at most.
const MAX_ENCRYPTED: usize = 128;
/// Records of the last flight of one peer, those included that ask for ours again.
const MAX_LAST_RECORDS: u32 = 64;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// P-256 and P-384.
const CURVES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), ObjectIdentifier::new_unwrap("1.3.132.0.34")];

/// A certificate that will not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Misfit {
    /// The list is empty.
    Nothing,
    /// It is the peer's, but its signatures cannot be verified here: what its key is.
    Key(String),
    /// It hashes to something else.
    Other(Fingerprint),
}

/// What one peer has shown so far.
#[derive(Debug)]
pub(super) struct Screen {
    of_client: bool,
    /// The number of the next message that the library is to see.
    next: u16,
    held: Vec<Message>,
    /// The number of the message with the certificate that fits.
    certificate: Option<u16>,
    /// Whether the library has seen the flight with it.
    is_flight_shown: bool,
    /// Records in clear that were shown to the library, which get numbers of our own: theirs are not authenticated, and a
    /// forged high one would make the replay window refuse all that follow (RFC 6347 §4.1.2.6).
    records: u32,
    last_records: u32,
}

/// A message of which there is some.
#[derive(Debug)]
struct Message {
    number: u16,
    kind: u8,
    body: Vec<u8>,
    /// Which octets of the body are there.
    has: Vec<bool>,
}

impl Message {
    fn is_whole(&self) -> bool {
        self.has.iter().all(|has| *has)
    }
}

impl Screen {
    /// What a client shows after its hellos, of which the library has seen two in as many records.
    pub(super) fn of_client() -> Self {
        Self { of_client: true, next: 2, records: 2, ..Self::of_server() }
    }

    /// What a server shows.
    pub(super) fn of_server() -> Self {
        Self {
            of_client: false,
            next: 0,
            held: Vec::new(),
            certificate: None,
            is_flight_shown: false,
            records: 0,
            last_records: 0,
        }
    }

    /// What the library is to be shown because of this datagram, and what it says of the peer's certificate where that is a
    /// hindrance.
    pub(super) fn admit(&mut self, datagram: &[u8], wanted: &[Fingerprint]) -> (Vec<u8>, Option<Misfit>) {
        let (mut shown, mut misfit) = (Vec::new(), None);
        let mut rest = datagram;
        while let Some((header, tail)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let [kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1] = *header;
            let Some((fragment, later)) = tail.split_at_checked(usize::from(u16::from_be_bytes([l0, l1]))) else {
                break;
            };
            rest = later;
            match (kind, [e0, e1]) {
                (HANDSHAKE, [0, 0]) => misfit = self.take_messages(fragment, wanted).or(misfit),
                _ if !self.is_flight_shown || self.last_records >= MAX_LAST_RECORDS => {}
                (CHANGE_CIPHER_SPEC, [0, 0]) if fragment == [1] => {
                    self.last_records += 1;
                    self.write_record(&mut shown, CHANGE_CIPHER_SPEC, &[fragment]);
                }
                (_, [0, 1]) if fragment.len() <= MAX_ENCRYPTED => {
                    self.last_records += 1;
                    shown.extend(header);
                    shown.extend(fragment);
                }
                _ => {}
            }
            self.release(&mut shown);
        }
        (shown, misfit)
    }

    /// Whether the library has seen the flight with the peer's certificate.
    pub(super) fn is_flight_shown(&self) -> bool {
        self.is_flight_shown
    }

    /// Octets of messages that are kept.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.held.iter().map(|message| message.body.len() + message.has.len()).sum()
    }

    fn write_record(&mut self, shown: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
        let [l0, l1] = (parts.iter().map(|part| part.len()).sum::<usize>() as u16).to_be_bytes();
        let [r0, r1, r2, r3] = self.records.to_be_bytes();
        shown.extend([kind, 0xFE, 0xFD, 0, 0, 0, 0, r0, r1, r2, r3, l0, l1]);
        parts.iter().for_each(|part| shown.extend_from_slice(part));
        self.records += 1;
    }

    /// Takes the messages of a record, or pieces of them.
    fn take_messages(&mut self, mut fragment: &[u8], wanted: &[Fingerprint]) -> Option<Misfit> {
        let mut misfit = None;
        while let Some(([kind, m0, m1, m2, s0, s1, o0, o1, o2, f0, f1, f2], tail)) =
            fragment.split_first_chunk::<MESSAGE_HEADER>()
        {
            let length = |octets: [u8; 3]| u32::from_be_bytes([0, octets[0], octets[1], octets[2]]) as usize;
            let (total, offset) = (length([*m0, *m1, *m2]), length([*o0, *o1, *o2]));
            let Some((piece, later)) = tail.split_at_checked(length([*f0, *f1, *f2])) else { break };
            fragment = later;
            let number = u16::from_be_bytes([*s0, *s1]);
            let limit = if *kind == CERTIFICATE { MAX_CERTIFICATE } else { MAX_MESSAGE };
            if total <= limit && offset + piece.len() <= total && self.is_in_place(*kind, number) {
                misfit = self.take(*kind, number, total, offset, piece, wanted).or(misfit);
            }
        }
        misfit
    }

    /// Whether such a message may come at this point, whoever wrote it. Key exchanges may only behind a certificate that fits.
    fn is_in_place(&self, kind: u8, number: u16) -> bool {
        let after_certificate = self.certificate.map(|certificate| number.wrapping_sub(certificate));
        number >= self.next
            && match (kind, self.of_client) {
                // After two hellos: the first brought the cookie, which this server always asks for.
                (CERTIFICATE, true) => number == 2 && self.certificate.is_none(),
                (CLIENT_KEY_EXCHANGE, true) | (SERVER_KEY_EXCHANGE, false) => after_certificate == Some(1),
                (CERTIFICATE_VERIFY, true) | (CERTIFICATE_REQUEST, false) => after_certificate == Some(2),
                (SERVER_HELLO_DONE, false) => after_certificate == Some(3),
                (HELLO_VERIFY_REQUEST, false) => number == 0,
                (SERVER_HELLO, false) => number == self.next,
                (CERTIFICATE, false) => number == self.next + 1 && self.certificate.is_none(),
                _ => false,
            }
    }

    fn take(
        &mut self,
        kind: u8,
        number: u16,
        total: usize,
        offset: usize,
        piece: &[u8],
        wanted: &[Fingerprint],
    ) -> Option<Misfit> {
        let at = match self.held.iter().position(|held| (held.kind, held.number) == (kind, number)) {
            Some(at) => at,
            None => {
                self.held.push(Message { number, kind, body: vec![0; total], has: vec![false; total] });
                self.held.len() - 1
            }
        };
        let message = self.held.get_mut(at)?;
        if message.is_whole() && !message.body.is_empty() {
            return None;
        }
        if message.body.len() != total {
            // Pieces of two messages: one that comes whole is better than either.
            if piece.len() < total {
                return None;
            }
            (message.body, message.has) = (vec![0; total], vec![false; total]);
        }
        message.body.get_mut(offset..offset + piece.len())?.copy_from_slice(piece);
        message.has.get_mut(offset..offset + piece.len())?.fill(true);
        if kind != CERTIFICATE || !message.is_whole() {
            return None;
        }
        match judge(&message.body, wanted) {
            Ok(()) => {
                self.certificate = Some(number);
                None
            }
            Err(misfit) => {
                self.held.remove(at);
                misfit
            }
        }
    }

    /// Shows the library a flight that is whole.
    fn release(&mut self, shown: &mut Vec<u8>) {
        let kinds: &[u8] = match (self.certificate, self.of_client) {
            _ if self.is_flight_shown => return,
            (Some(_), true) => &[CERTIFICATE, CLIENT_KEY_EXCHANGE, CERTIFICATE_VERIFY],
            (Some(_), false) => {
                &[SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE]
            }
            (None, false) if self.next == 0 => &[HELLO_VERIFY_REQUEST],
            (None, _) => return,
        };
        let numbered = || (self.next..).zip(kinds);
        let find = |number: u16, kind: u8| {
            self.held.iter().position(|held| (held.number, held.kind) == (number, kind) && held.is_whole())
        };
        let Some(order) = numbered().map(|(number, kind)| find(number, *kind)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let held = std::mem::take(&mut self.held);
        for message in order.into_iter().filter_map(|at| held.get(at)) {
            let [_, b0, b1, b2] = (message.body.len() as u32).to_be_bytes();
            let [n0, n1] = message.number.to_be_bytes();
            let header = [message.kind, b0, b1, b2, n0, n1, 0, 0, 0, b0, b1, b2];
            self.write_record(shown, HANDSHAKE, &[&header, &message.body]);
        }
        self.next += kinds.len() as u16;
        self.is_flight_shown = self.certificate.is_some();
    }
}

/// What the list of a certificate message is worth.
fn judge(body: &[u8], wanted: &[Fingerprint]) -> Result<(), Option<Misfit>> {
    let Some(certificate) = certificate_of(body) else {
        return Err(Some(Misfit::Nothing).filter(|_| body == [0, 0, 0]));
    };
    let fits = |wanted: &&Fingerprint| fingerprint_of(wanted.hash, certificate) == **wanted;
    match (wanted.iter().find(fits), wanted.first()) {
        (Some(_), _) => unverifiable(certificate).map_or(Ok(()), |key| Err(Some(Misfit::Key(key)))),
        (None, Some(wanted)) => Err(Some(Misfit::Other(fingerprint_of(wanted.hash, certificate)))),
        (None, None) => Err(None),
    }
}

/// The first certificate of a list (RFC 5246 §7.4.2).
fn certificate_of(body: &[u8]) -> Option<&[u8]> {
    let (_, list) = body.split_first_chunk::<3>()?;
    let ([a, b, c], rest) = list.split_first_chunk::<3>()?;
    rest.get(..u32::from_be_bytes([0, *a, *b, *c]) as usize).filter(|certificate| !certificate.is_empty())
}

/// What the key of a certificate is, where it is none whose signatures are verified here.
fn unverifiable(certificate: &[u8]) -> Option<String> {
    let Ok(read) = Certificate::from_der(certificate) else { return Some("not readable".to_owned()) };
    let key = read.tbs_certificate().subject_public_key_info();
    let curve = || key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok();
    match key.algorithm.oid {
        RSA => {
            let bits = 8 * modulus_length(key.subject_public_key.raw_bytes()).unwrap_or(0);
            (!(2_048..=8_192).contains(&bits)).then(|| format!("RSA of {bits} bits"))
        }
        EC => match curve() {
            Some(curve) if CURVES.contains(&curve) => None,
            curve => Some(format!("on the curve {}", curve.map_or_else(|| "?".to_owned(), |curve| curve.to_string()))),
        },
        other => Some(format!("of the kind {other}")),
    }
}

/// Octets of the modulus of an RSA key (RFC 8017 appendix A.1.1).
fn modulus_length(key: &[u8]) -> Option<usize> {
    use x509_cert::der::asn1::{AnyRef, UintRef};
    use x509_cert::der::{Reader, SliceReader};
    let sequence = AnyRef::from_der(key).ok()?;
    let modulus = SliceReader::new(sequence.value()).ok()?.decode::<UintRef<'_>>().ok()?;
    Some(modulus.as_bytes().len())
}
