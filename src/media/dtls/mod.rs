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

mod association;
mod cookie;
mod hello;
mod identity;
mod provider;
mod screen;

pub use identity::Identity;

use crate::base::{SrtpKey, SrtpKeys, SrtpSuite};
use crate::sdp::{Fingerprint, Setup};
use association::{Association, Fault};
use cookie::Cookies;
use hello::Hello;
use identity::fingerprint_of;
use screen::{Misfit, Screen};
use std::collections::VecDeque;
use std::net::SocketAddr;
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

/// After a sign that the peer's certificate does not fit: how long the handshake may still succeed. Answers whoever forges
/// the sign: the peer proper is through within this time.
const PROOF_TIME: Duration = Duration::from_secs(2);
/// What to do about it.
const KEYS: &str = "what is verified here is ECDSA on P-256 or P-384 and RSA of 2048 bits or more; give it such a certificate, or agree on \
     keys by SDES over TLS";

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
    /// The peer's certificate is its own, but of a kind that is not verified here.
    #[error("DTLS: the key in the certificate of {from} is {key}; {KEYS}")]
    UnverifiableKey {
        /// Whose certificate it is.
        from: SocketAddr,
        /// What its key is.
        key: String,
    },
    /// The peer, asked for a certificate, has none to show.
    #[error("DTLS: {0} shows no certificate when asked for one; {KEYS}")]
    NoCertificate(SocketAddr),
    /// The peer refused our hello by alert 40, and nothing else came.
    #[error(
        "DTLS: {0} refused every cipher suite (alert 40); it must know ECDHE with AES-128-GCM (RFC 5289), or agree on keys \
         by SDES over TLS"
    )]
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
            Self::UnverifiableKey { .. } | Self::NoCertificate(_) | Self::NoCommonSuite(_) => true,
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
    #[error("the peer last sent alert {0} (RFC 5246 section 7.2); does it have DTLS 1.2?")]
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
    dtls: Option<Association>,
    screen: Screen,
    wake: Option<Instant>,
    connected: bool,
    /// The certificate of the peer, once it has proved that it is its own.
    certificate: Option<Vec<u8>>,
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
        if hello::begins(datagram) {
            let Some(hello) = Hello::read(datagram).filter(|_| !self.is_client()) else { return };
            // One that comes again gets its answer when the library's timer says so.
            if !self.attempts.iter().any(|attempt| attempt.is_of(from, &hello)) {
                self.answer_hello(now, from, &hello, datagram);
            }
            return;
        }
        let client = self.is_client();
        for at in 0..self.attempts.len() {
            let Some(attempt) = self.attempts.get_mut(at).filter(|attempt| attempt.from == from) else { continue };
            let (shown, misfit) = attempt.screen.admit(datagram, &self.fingerprints);
            if misfit.is_some() {
                self.note_misfit(now, from, misfit);
            }
            if shown.is_empty() {
                continue;
            }
            if self.hint == Hint::Silence {
                self.hint = Hint::Unfinished;
            }
            self.drive(now, at, |dtls| dtls.show(now, &shown));
        }
        self.attempts.retain(|attempt| client || attempt.dtls.is_some() || attempt.connected);
    }

    /// What a certificate says of the peer, where it came from the peer's own address.
    fn note_misfit(&mut self, now: Instant, from: SocketAddr, misfit: Option<Misfit>) {
        let error = match misfit.filter(|_| from == self.remote) {
            Some(Misfit::Nothing) => DtlsError::NoCertificate(from),
            Some(Misfit::Key(key)) => DtlsError::UnverifiableKey { from, key },
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
        let (first, second) = (hello.first(), hello::as_second_record(datagram));
        let is_through = cookie::with(cookie, || {
            // The library wants to have given the cookie out itself.
            let mut show = |answers: &mut _, hello: &[u8]| attempt.pass(answers, |dtls| dtls.show(now, hello)).is_ok();
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
            }
            if self.attempts.get(at).and_then(|attempt| attempt.wake).is_some_and(|wake| wake <= now) {
                self.drive(now, at, |dtls| dtls.pass_time(now));
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

    /// When a client begins anew, unless it has answered a whole flight: the library gives up by itself then.
    fn renewal(&self, attempt: &Attempt) -> Option<Instant> {
        let may_begin = self.is_client() && matches!(self.progress, Progress::Running);
        (may_begin && !attempt.screen.is_flight_shown()).then(|| attempt.began + RENEWAL)
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

    fn fresh(&self, now: Instant) -> Option<Association> {
        Association::new(now, &self.identity, self.is_client())
    }

    /// Gives an attempt an input, and takes its output. A failure of the library is final for its instance: while the time is
    /// not up, another one takes its place.
    fn drive(&mut self, now: Instant, at: usize, input: impl FnOnce(&mut Association) -> Result<(), Fault>) {
        let client = self.is_client();
        let Some(attempt) = self.attempts.get_mut(at) else { return };
        let fault = attempt.pass(&mut self.waiting, input).err();
        if fault.is_none() || attempt.connected {
            attempt.wake = attempt.wake.filter(|_| fault.is_none());
            self.conclude(at);
            return;
        }
        if fault == Some(Fault::NoSrtp) && attempt.from == self.remote {
            self.misfit.get_or_insert((now, DtlsError::NoSrtp(attempt.from)));
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
            attempt.screen = Screen::of_server();
            (attempt.dtls, attempt.wake, attempt.began) = (fresh, wake, now);
        }
    }

    /// Ends the whole when an attempt is through.
    fn conclude(&mut self, at: usize) {
        let Some(attempt) = self.attempts.get(at).filter(|attempt| attempt.connected) else { return };
        if !matches!(self.progress, Progress::Running) {
            return;
        }
        let hashed = |hash| attempt.certificate.as_ref().map(|certificate| fingerprint_of(hash, certificate));
        let is_meant = self.fingerprints.iter().any(|wanted| hashed(wanted.hash).as_ref() == Some(wanted));
        let found = self.fingerprints.first().and_then(|wanted| hashed(wanted.hash));
        let outcome = match &attempt.keys {
            _ if !is_meant => Err(DtlsError::Fingerprint {
                from: attempt.from,
                found: found.map_or_else(|| "not shown".to_owned(), |found| found.to_string()),
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
    fn new(now: Instant, from: SocketAddr, random: Option<[u8; 32]>, dtls: Option<Association>) -> Self {
        Self {
            from,
            random,
            dtls,
            screen: if random.is_some() { Screen::of_client() } else { Screen::of_server() },
            wake: None,
            connected: false,
            certificate: None,
            keys: None,
            began: now,
            restarts: 0,
        }
    }

    fn is_of(&self, from: SocketAddr, hello: &Hello<'_>) -> bool {
        self.from == from && self.random == Some(hello.random)
    }

    /// Gives the library an input, and takes its output. With a fault the instance is gone.
    fn pass(
        &mut self,
        waiting: &mut VecDeque<Transmit>,
        input: impl FnOnce(&mut Association) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.wake = None;
        let mut dtls = self.dtls.take().ok_or(Fault::Broken)?;
        input(&mut dtls)?;
        while let Some(transmit) = dtls.poll_transmit(self.from) {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(transmit);
            }
        }
        self.wake = dtls.poll_timeout();
        if dtls.is_connected() && !self.connected {
            self.connected = true;
            self.certificate = dtls.certificate().map(<[u8]>::to_vec);
            self.keys = dtls.keys();
        }
        self.dtls = Some(dtls);
        Ok(())
    }
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

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
