//! DTLS-SRTP (RFC 5763, RFC 5764): the handshake in the media path that agrees on the keys of SRTP.
//!
//! [`Handshake`] is pure: datagrams and time go in, datagrams and one [outcome](Handshake::poll_outcome) come out. Whoever
//! drives it shows it what the media socket receives with a first octet of 20 to 63 (RFC 7983), sends what
//! [`Handshake::poll_transmit`] gives, and calls [`Handshake::handle_timeout`] when [`Handshake::poll_timeout`] says so;
//! also after the outcome, because the peer may have missed our last flight and asks for it again.
//!
//! # Attacks, and what answers them
//! - **Hello race** (CVE-2023-49786): datagrams of addresses that neither the session description nor the signalling names
//!   are not to be shown to the machine ([`SourceLock::admits_handshake`](crate::rtp::SourceLock::admits_handshake)). What
//!   comes from the rest is kept apart by address and hello, so that no client can spoil the handshake of another.
//! - **Hello flood in the peer's name**: a server answers a first hello with a cookie and forgets it; only whoever brings the
//!   cookie back, and so reads what is sent to that address, gets a place. The cookie is that of the address, so that answers
//!   to forged hellos do the peer no harm. Of the rest only what is in place is shown to the library, and key exchanges only
//!   from behind a certificate that fits. What remains: a client that is shown a forged HelloVerifyRequest or ServerHello
//!   before its server's begins anew after 4 s.
//! - **Teardown by bad records**: a damaged handshake is begun again until the time is up; alerts in clear are not obeyed.
//! - **Man in the middle**: keys are used only when the certificate hashes to a fingerprint of the description.
//! - **Weak hashes**: MD5 and SHA-1 are not read from descriptions at all.

mod cookie;
mod hello;
mod identity;
mod screen;

pub use identity::Identity;

use crate::base::{SrtpKey, SrtpKeys, SrtpSuite};
use crate::sdp::{Fingerprint, Setup};
use cookie::Cookies;
use dimpl::{Dtls, KeyingMaterial, Output, SrtpProfile};
use hello::Hello;
use identity::fingerprint_of;
use screen::{Misfit, Screen};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a handshake may take. Answers a peer that never finishes.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Clients whose handshakes are kept apart. Answers a sprayer behind the peer's NAT.
pub const MAX_ATTEMPTS: usize = 8;
/// After how long without an end a client says hello anew. Answers whoever mixed foreign answers in: three beginnings fit into
/// the time.
const RENEWAL: Duration = Duration::from_secs(4);
/// How often a damaged handshake with one address is begun again.
const MAX_RESTARTS: u32 = 16;
/// Datagrams that wait to be sent. Answers a driver that receives without sending.
const MAX_WAITING: usize = 64;
/// Longest record layer output that a buffer grows to.
const MAX_OUTPUT: usize = 16_384;

/// After a sign that the peer's certificate does not fit: how long the handshake may still succeed. Answers whoever forges
/// the sign: the peer proper is through within this time.
const PROOF_TIME: Duration = Duration::from_secs(2);
/// What to do about it.
const ECDSA_ONLY: &str =
    "only ECDSA is checked here: give it an ECDSA certificate (P-256), or agree on keys by SDES over TLS";

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
/// The alert of a server that finds no cipher suite for its certificate (RFC 5246 §7.2.2).
const HANDSHAKE_FAILURE: u8 = 40;
/// Octets before a handshake message's body (RFC 6347 §4.2.2).
const MESSAGE_HEADER: usize = 12;
/// Octets before a record's fragment (RFC 6347 §4.1).
const RECORD_HEADER: usize = 13;
/// Why there are no keys. Media cannot flow; the call is to be ended with these words.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DtlsError {
    /// Somebody else answered, or the peer's description is wrong.
    #[error("DTLS: the certificate of {from} is {found}, which is not the fingerprint of its session description")]
    Fingerprint {
        /// Whose certificate it is.
        from: SocketAddr,
        /// What it hashes to.
        found: String,
    },
    /// The peer does DTLS but agreed on no SRTP profile.
    #[error(
        "DTLS: {0} agreed on no SRTP profile; it must offer use_srtp with AES128_CM_HMAC_SHA1_80 or AES-GCM (RFC 5764)"
    )]
    NoSrtp(SocketAddr),
    /// The peer's certificate, in clear on its way, is of a kind that is not checked here.
    #[error("DTLS: the certificate of {0} is RSA; {ECDSA_ONLY}")]
    RsaCertificate(SocketAddr),
    /// The peer, asked for an ECDSA certificate, has none to show.
    #[error("DTLS: {0} shows no certificate when asked for an ECDSA one, so its own is RSA, most likely; {ECDSA_ONLY}")]
    NoCertificate(SocketAddr),
    /// The peer refused our hello by alert 40, and nothing else came.
    #[error("DTLS: {0} refused every cipher suite (alert 40), so its certificate is RSA, most likely; {ECDSA_ONLY}")]
    NoCommonSuite(SocketAddr),
    /// The time was up.
    #[error("DTLS: no handshake within 10 s; {0}")]
    Timeout(Hint),
}

impl DtlsError {
    /// Whether the peer proper cannot do with us what it was asked for, so that keys may be agreed in another way where the
    /// policy knows one. What may be an attack, or the way between, is no such reason.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        match self {
            Self::RsaCertificate(_) | Self::NoCertificate(_) | Self::NoCommonSuite(_) => true,
            Self::Fingerprint { .. } | Self::NoSrtp(_) | Self::Timeout(_) => false,
        }
    }
}

/// What was last seen of a handshake that did not end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Hint {
    /// Nothing came.
    #[error("nothing was heard from the peer: is UDP from it let through, and does it do DTLS?")]
    Silence,
    /// Something came, but no end.
    #[error("the peer began and did not finish")]
    Unfinished,
    /// An alert in clear, which proves nothing but may help a reader.
    #[error("the peer last sent alert {0} (RFC 5246 section 7.2); does it have an ECDSA certificate and DTLS 1.2?")]
    Alert(u8),
}

/// A handshake that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Established {
    /// The keys of both directions.
    pub keys: SrtpKeys,
    /// With whom.
    pub peer: SocketAddr,
}

/// A datagram to send from the media port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub datagram: Vec<u8>,
}

/// One side of a handshake with one peer.
#[derive(Debug)]
pub struct Handshake {
    identity: Identity,
    cookies: Cookies,
    role: Setup,
    remote: SocketAddr,
    fingerprints: Vec<Fingerprint>,
    deadline: Instant,
    attempts: Vec<Attempt>,
    waiting: VecDeque<Transmit>,
    progress: Progress,
    hint: Hint,
    /// A sign that the peer's certificate does not fit, and since when.
    misfit: Option<(Instant, DtlsError)>,
}

#[derive(Debug)]
enum Progress {
    Running,
    Ended(Result<Established, DtlsError>),
    Told,
}

/// The handshake with one client, or with the one server.
#[derive(Debug)]
struct Attempt {
    from: SocketAddr,
    /// The random of the client's hello, by which a server tells clients apart; none on a client.
    random: Option<[u8; 32]>,
    /// Records in clear that were shown to the library.
    records: u32,
    dtls: Option<Dtls>,
    screen: Screen,
    wake: Option<Instant>,
    connected: bool,
    /// The certificate, hashed by each function that the description uses.
    found: Vec<Fingerprint>,
    keys: Option<SrtpKeys>,
    began: Instant,
    restarts: u32,
}

impl Handshake {
    /// Begins. `role` is ours ([`Setup::Active`] sends the first hello), `remote` the peer's RTP address in its session
    /// description, `fingerprints` what its certificate may hash to.
    #[must_use]
    pub fn new(
        now: Instant,
        identity: &Identity,
        role: Setup,
        remote: SocketAddr,
        fingerprints: Vec<Fingerprint>,
    ) -> Self {
        let mut handshake = Self {
            cookies: identity.cookies(),
            identity: identity.clone(),
            role,
            remote: canonical(remote),
            fingerprints,
            deadline: now + TIME_LIMIT,
            attempts: Vec::new(),
            waiting: VecDeque::new(),
            progress: Progress::Running,
            hint: Hint::Silence,
            misfit: None,
        };
        if handshake.is_client() {
            handshake.begin(now, handshake.remote);
        }
        handshake
    }

    fn is_client(&self) -> bool {
        self.role == Setup::Active
    }

    /// Shows the machine a datagram from the media port.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let from = canonical(from);
        if let Some(alert) = alert_in_clear(datagram) {
            self.hint = Hint::Alert(alert);
            if self.is_client() && from == self.remote && alert == HANDSHAKE_FAILURE {
                self.misfit.get_or_insert((now, DtlsError::NoCommonSuite(from)));
            }
            return;
        }
        if self.is_client() && from == self.remote && datagram.first() == Some(&HANDSHAKE) {
            // A server that answers has a suite.
            self.misfit.take_if(|(_, misfit)| matches!(misfit, DtlsError::NoCommonSuite(_)));
        }
        let hello = Hello::read(datagram);
        if hello::begins(datagram) {
            let Some(hello) = hello.filter(|_| !self.is_client()) else { return };
            if !self.attempts.iter().any(|attempt| attempt.is_of(from, &hello)) {
                return self.answer_hello(now, from, &hello, datagram);
            }
        }
        let client = self.is_client();
        let mut datagram = datagram.to_vec();
        for at in 0..self.attempts.len() {
            let Some(attempt) = self.attempts.get_mut(at) else { continue };
            let is_meant = match &hello {
                Some(hello) => attempt.is_of(from, hello),
                None => attempt.from == from,
            };
            if !is_meant {
                continue;
            }
            if hello.is_none() && !attempt.connected {
                match attempt.screen.admit(&datagram, &self.fingerprints, !client) {
                    Ok(()) => {}
                    Err(misfit) => {
                        self.note_misfit(now, from, misfit);
                        continue;
                    }
                }
            }
            if self.hint == Hint::Silence {
                self.hint = Hint::Unfinished;
            }
            if let Some(attempt) = self.attempts.get_mut(at) {
                renumber(&mut datagram, &mut attempt.records);
            }
            self.drive(now, at, |dtls| dtls.handle_packet(&datagram));
        }
        self.attempts.retain(|attempt| client || attempt.dtls.is_some() || attempt.connected);
    }

    /// What a certificate says of the peer, where it came from the peer's own address.
    fn note_misfit(&mut self, now: Instant, from: SocketAddr, misfit: Option<Misfit>) {
        let error = match misfit.filter(|_| from == self.remote) {
            // A server has chosen a suite, and with it a certificate, by then.
            Some(Misfit::Nothing | Misfit::Rsa) if self.is_client() => return,
            Some(Misfit::Nothing) => DtlsError::NoCertificate(from),
            Some(Misfit::Rsa) => DtlsError::RsaCertificate(from),
            Some(Misfit::Other(found)) => DtlsError::Fingerprint { from, found: found.to_string() },
            None => return,
        };
        self.misfit.get_or_insert((now, error));
    }

    /// Answers a hello of a client that has no place. Nothing is kept for it before it brings a cookie back.
    fn answer_hello(&mut self, now: Instant, from: SocketAddr, hello: &Hello<'_>, datagram: &[u8]) {
        if !matches!(self.progress, Progress::Running) {
            return;
        }
        let cookie = self.cookies.of(from);
        if hello.cookie.is_empty() {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(Transmit { to: from, datagram: cookie::request(&cookie) });
            }
            return;
        }
        if !self.cookies.is_of(from, hello.cookie) {
            return;
        }
        let mut attempt = Attempt::new(now, from, Some(hello.random), self.fresh(now));
        let mut answers = VecDeque::new();
        let (first, mut second) = (hello.first(), datagram.to_vec());
        attempt.records = 1;
        renumber(&mut second, &mut attempt.records);
        let is_through = cookie::with(cookie, || {
            // The library wants to have given the cookie out itself.
            let mut show = |answers: &mut _, hello: &[u8]| {
                attempt.pass(now, answers, &self.fingerprints, false, |dtls| dtls.handle_packet(hello))
            };
            show(&mut VecDeque::new(), &first) && show(&mut answers, &second)
        });
        if !is_through || answers.front().is_none_or(|answer| answer.datagram.get(RECORD_HEADER) != Some(&SERVER_HELLO))
        {
            return;
        }
        if self.attempts.len() >= MAX_ATTEMPTS {
            // The oldest, but one from the address of the description last of all.
            let at = self.attempts.iter().position(|attempt| attempt.from != self.remote);
            self.attempts.remove(at.unwrap_or(0));
        }
        self.attempts.push(attempt);
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(answers.into_iter().take(room));
    }

    fn misfit_due(&self) -> Option<Instant> {
        let (since, _) = self.misfit.as_ref().filter(|_| matches!(self.progress, Progress::Running))?;
        Some(*since + PROOF_TIME)
    }

    /// Lets time pass: to be called when [`Self::poll_timeout`] is reached.
    pub fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.attempts.len() {
            if self.attempts.get(at).and_then(|attempt| self.renewal(attempt)).is_some_and(|due| due <= now) {
                self.restart(now, at);
                self.drive(now, at, |_| Ok(()));
            }
            if self.attempts.get(at).and_then(|attempt| attempt.wake).is_some_and(|wake| wake <= now) {
                self.drive(now, at, |_| Ok(()));
            }
        }
        if self.misfit_due().is_some_and(|due| due <= now)
            && let Some((_, misfit)) = self.misfit.take()
        {
            self.progress = Progress::Ended(Err(misfit));
            self.attempts.clear();
        }
        if now >= self.deadline && matches!(self.progress, Progress::Running) {
            self.progress = Progress::Ended(Err(DtlsError::Timeout(self.hint)));
            self.attempts.clear();
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = matches!(self.progress, Progress::Running).then_some(self.deadline);
        let renewals = self.attempts.iter().filter_map(|attempt| self.renewal(attempt));
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.wake)
            .chain(renewals)
            .chain(deadline)
            .chain(self.misfit_due())
            .min()
    }

    /// When a client begins anew.
    fn renewal(&self, attempt: &Attempt) -> Option<Instant> {
        (self.is_client() && matches!(self.progress, Progress::Running)).then(|| attempt.began + RENEWAL)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.waiting.pop_front()
    }

    /// How it ended: once, then `None` again. Keep driving a handshake that succeeded as long as the media goes on.
    pub fn poll_outcome(&mut self) -> Option<Result<Established, DtlsError>> {
        if !matches!(self.progress, Progress::Ended(_)) {
            return None;
        }
        match std::mem::replace(&mut self.progress, Progress::Told) {
            Progress::Ended(outcome) => Some(outcome),
            Progress::Running | Progress::Told => None,
        }
    }

    fn begin(&mut self, now: Instant, from: SocketAddr) {
        let attempt = Attempt::new(now, from, None, self.fresh(now));
        self.attempts.push(attempt);
        self.drive(now, self.attempts.len() - 1, |_| Ok(()));
    }

    fn fresh(&self, now: Instant) -> Dtls {
        let certificate = self.identity.certificate.clone();
        let mut dtls = Dtls::new_12(Arc::clone(&self.identity.config), certificate, now);
        dtls.set_active(self.is_client());
        dtls
    }

    /// Gives an attempt its time and an input, and takes its output. A failure of the library is final for its instance:
    /// while the time is not up, another one takes its place.
    fn drive(&mut self, now: Instant, at: usize, input: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>) {
        let client = self.is_client();
        let Some(attempt) = self.attempts.get_mut(at) else { return };
        if attempt.dtls.is_none() {
            return;
        }
        let alive = attempt.pass(now, &mut self.waiting, &self.fingerprints, client, input);
        if alive || attempt.connected {
            attempt.wake = attempt.wake.filter(|_| alive);
            self.conclude(at);
            return;
        }
        attempt.restarts += 1;
        if client && attempt.restarts <= MAX_RESTARTS {
            self.restart(now, at);
        }
    }

    /// Another instance of the library takes the place of the one before.
    fn restart(&mut self, now: Instant, at: usize) {
        // After a while, so that a stream of bad records does not make a stream of hellos.
        let wake = Some(now + Duration::from_millis(100));
        let fresh = self.fresh(now);
        if let Some(attempt) = self.attempts.get_mut(at) {
            attempt.found.clear();
            attempt.screen = Screen::default();
            (attempt.dtls, attempt.wake, attempt.began) = (Some(fresh), wake, now);
        }
    }

    /// Ends the whole when an attempt is through.
    fn conclude(&mut self, at: usize) {
        let Some(attempt) = self.attempts.get(at).filter(|attempt| attempt.connected) else { return };
        if !matches!(self.progress, Progress::Running) {
            return;
        }
        let is_meant = attempt.found.iter().any(|found| self.fingerprints.contains(found));
        let outcome = match &attempt.keys {
            _ if !is_meant => Err(DtlsError::Fingerprint {
                from: attempt.from,
                found: attempt.found.first().map_or_else(|| "not shown".to_owned(), ToString::to_string),
            }),
            None => Err(DtlsError::NoSrtp(attempt.from)),
            Some(keys) => Ok(Established { keys: keys.clone(), peer: attempt.from }),
        };
        let from = attempt.from;
        if outcome.is_err() && from != self.remote {
            // Not the address of the description: the peer itself may still come.
            self.attempts.remove(at);
            return;
        }
        // A server keeps the one that is through, to say its last words again.
        self.attempts.retain(|attempt| attempt.connected && outcome.is_ok());
        self.progress = Progress::Ended(outcome);
    }
}

impl Attempt {
    fn new(now: Instant, from: SocketAddr, random: Option<[u8; 32]>, dtls: Dtls) -> Self {
        Self {
            from,
            random,
            records: 0,
            dtls: Some(dtls),
            screen: Screen::default(),
            wake: None,
            connected: false,
            found: Vec::new(),
            keys: None,
            began: now,
            restarts: 0,
        }
    }

    fn is_of(&self, from: SocketAddr, hello: &Hello<'_>) -> bool {
        self.from == from && self.random == Some(hello.random)
    }

    /// Gives the library its time and an input, and takes its output. False when it is through with this connection; then
    /// the instance is gone.
    fn pass(
        &mut self,
        now: Instant,
        waiting: &mut VecDeque<Transmit>,
        wanted: &[Fingerprint],
        client: bool,
        input: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>,
    ) -> bool {
        let Some(mut dtls) = self.dtls.take() else { return false };
        self.wake = None;
        let mut alive = dtls.handle_timeout(now).is_ok();
        alive = alive && self.collect(&mut dtls, waiting, wanted, client);
        alive = alive && input(&mut dtls).is_ok();
        alive = self.collect(&mut dtls, waiting, wanted, client) && alive;
        // What a hello or a finished flight brought about may be due at once.
        alive = alive && dtls.handle_timeout(now).is_ok();
        alive = alive && self.collect(&mut dtls, waiting, wanted, client);
        self.dtls = Some(dtls).filter(|_| alive);
        alive
    }

    /// Takes everything that the library has to say. False when it is through with this connection.
    fn collect(
        &mut self,
        dtls: &mut Dtls,
        waiting: &mut VecDeque<Transmit>,
        wanted: &[Fingerprint],
        client: bool,
    ) -> bool {
        let mut room = vec![0; 2_048];
        loop {
            match dtls.poll_output(&mut room) {
                Output::BufferTooSmall { needed } => {
                    if needed > MAX_OUTPUT {
                        return false;
                    }
                    room.resize(needed, 0);
                }
                Output::CloseNotify => return false,
                Output::Connected => self.connected = true,
                Output::KeyingMaterial(material, profile) => self.keys = keys_of(&material, profile, client),
                Output::Packet(packet) if waiting.len() < MAX_WAITING => {
                    waiting.push_back(Transmit { to: self.from, datagram: packet.to_vec() });
                }
                Output::PeerCert(certificate) => {
                    self.found = wanted.iter().map(|wanted| fingerprint_of(wanted.hash, certificate)).collect();
                }
                Output::Timeout(at) => {
                    self.wake = Some(at);
                    return true;
                }
                _ => {}
            }
        }
    }
}

/// The keys of both directions out of what DTLS exported (RFC 5764 §4.2): client's key, server's key, client's salt, server's
/// salt.
fn keys_of(material: &KeyingMaterial, profile: SrtpProfile, client: bool) -> Option<SrtpKeys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => SrtpSuite::AesCm128HmacSha1Tag80,
        SrtpProfile::AEAD_AES_128_GCM => SrtpSuite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => SrtpSuite::AeadAes256Gcm,
        _ => return None,
    };
    let (keys, salts) = material.split_at_checked(2 * suite.key_length())?;
    let (client_key, server_key) = keys.split_at_checked(suite.key_length())?;
    let (client_salt, server_salt) = salts.split_at_checked(suite.salt_length())?;
    let [of_client, of_server] =
        [(client_key, client_salt), (server_key, server_salt)].map(|(key, salt)| SrtpKey::from_parts(suite, key, salt));
    let (send, receive) = if client { (of_client?, of_server?) } else { (of_server?, of_client?) };
    Some(SrtpKeys { send, receive })
}

/// The description of the first record in clear that is an alert. Anybody can write one, so none is obeyed; alerts of the
/// peer proper are encrypted once it has keys.
fn alert_in_clear(datagram: &[u8]) -> Option<u8> {
    let mut rest = datagram;
    while let [kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1, fragment @ ..] = rest {
        let (fragment, later) = fragment.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        if *kind == ALERT && [*e0, *e1] == [0, 0] {
            return Some(fragment.get(1).copied().unwrap_or(0));
        }
        rest = later;
    }
    None
}

/// Gives the records in clear numbers of our own, one after the other. Theirs are not authenticated, and a forged high one
/// would make the replay window refuse all that follow (RFC 6347 §4.1.2.6). What was sent again is told by its handshake
/// message number.
fn renumber(datagram: &mut [u8], records: &mut u32) {
    let mut rest = datagram;
    while let Some((header, tail)) = rest.split_first_chunk_mut::<RECORD_HEADER>() {
        let [_, _, _, e0, e1, s0, s1, number @ .., l0, l1] = header;
        if [*e0, *e1] == [0, 0] {
            [*s0, *s1] = [0, 0];
            *number = records.to_be_bytes();
            *records = records.wrapping_add(1);
        }
        let Some((_, later)) = tail.split_at_mut_checked(usize::from(u16::from_be_bytes([*l0, *l1]))) else { return };
        rest = later;
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
