//! One registration as a UAC keeps it: RFC 3261 §10.2 and what registrars make of it.
//!
//! A pure machine: it makes REGISTER requests, reads their outcome and says when it wants to be called next. Challenges
//! are answered before a response reaches it. Call-ID and From tag stay the same for its whole life and CSeq grows.

mod challenges;
mod contact;
mod targets;

use super::config::{RegistrationConfig, Target, Transport};
use super::dialog::Path;
use super::digest::{Authority, Challenge};
use super::event::{RegistrationId, RegistrationState};
use super::header::{Contacts, HeaderName, HeaderValue};
use super::{Message, Method, Request, Uri};
use crate::base::Random;
use crate::base::backoff::Backoff;
use challenges::Challenges;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use targets::Targets;

pub use contact::contact_uri;

/// First and longest wait after a registrar did not answer or was not able to.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_CEILING: Duration = Duration::from_secs(300);
/// How long a word is waited for while there are other targets. Whoever got a request says at least 100 after 3.5 s
/// (RFC 4320 §4.1); the rest is for the way there, a handshake included.
const FAILOVER_WAIT: Duration = Duration::from_secs(6);
/// The same for the last target, by a stream: a request arrives there or the stream breaks, so that silence means that
/// the peer dropped it, as a PBX does that still loads, and nothing sends it again. Connecting may take five seconds of it.
/// A flow is given up after the same ten seconds (RFC 5626 §4.4.1). By UDP the last target has the 32 s of its transaction.
const STREAM_WAIT: Duration = Duration::from_secs(10);
/// Wait after a refusal that only a person can mend, such as a wrong password: rare enough not to get us banned.
const REFUSED_RETRY: Duration = Duration::from_secs(600);
/// First wait after a refusal by a registrar that has had us: one that restarts refuses until it has read its accounts.
const FORGOTTEN_RETRY: Duration = Duration::from_secs(30);
/// Longest Retry-After that is obeyed: a registrar must not put us off for days.
const RETRY_AFTER_CEILING: Duration = Duration::from_secs(3600);
/// Longest lifetime that a 423 talks us into.
const EXPIRES_CEILING: Duration = Duration::from_secs(86_400);
/// A refresh comes no sooner than this after the last one, however short the granted lifetime.
const REFRESH_FLOOR: Duration = Duration::from_secs(5);
/// A stream that carried a binding for this long was a good one (RFC 5626 §4.5); sooner losses are waited out longer
/// each time, since a server that closes after each answer would make us register for ever.
const STREAM_STABLE: Duration = Duration::from_secs(120);
/// How long to wait for the answer when taking a registration back.
const UNREGISTER_WAIT: Duration = Duration::from_secs(5);
/// Extra REGISTERs within one refresh (423, moved contact, stale bindings): answers a registrar that never agrees.
const EXTRA_ROUNDS: u8 = 3;

/// What the REGISTER under way is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errand {
    /// Bind our contact, and remove stale ones.
    Bind,
    /// Ask for the bindings, after a refusal that may come from a stale one.
    Query,
    /// Remove our contact.
    Unbind,
}

/// Why a REGISTER has no final response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing came in time.
    NoAnswer,
    /// The target cannot be reached: connection refused or broken, no route.
    Unreachable,
    /// No local address of ours has the target's transport.
    NoLocalAddress,
    /// The endpoint has as many transactions as it can hold.
    Full,
}

impl Failure {
    fn reason(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer: check the registrar's address, and that it is up and reachable",
            Self::Unreachable => "no connection: check the registrar's address, port and transport, and any firewall",
            Self::NoLocalAddress => "we do not listen by the registrar's transport: add it to the listening addresses",
            Self::Full => "too many requests are under way here: this server is overloaded",
        }
    }
}

/// What to do after an input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Reaction {
    /// The next REGISTER is to be sent at once: take it from [`Registration::request`].
    pub send: bool,
    /// The state to report.
    pub state: Option<RegistrationState>,
}

impl Reaction {
    const SEND: Self = Self { send: true, state: None };

    fn report(state: RegistrationState) -> Self {
        Self { send: false, state: Some(state) }
    }
}

/// A registration.
#[derive(Debug)]
pub struct Registration {
    id: RegistrationId,
    config: RegistrationConfig,
    targets: Targets,
    path: Path,
    call_id: String,
    from_tag: String,
    cseq: u32,
    errand: Errand,
    /// The lifetime to ask for; a 423 raises it.
    expires: Duration,
    /// Our address as the registrar sees it.
    contact: SocketAddr,
    /// Bindings to remove with the next request.
    stale: Vec<Uri>,
    challenges: Challenges,
    rounds: u8,
    has_queried: bool,
    /// A REGISTER has no final response yet, and is not given up.
    is_waiting: bool,
    /// The last REGISTER was given up without a word of the registrar.
    was_silent: bool,
    /// The registrar has our contact, as far as we know.
    is_bound: bool,
    /// It has had it before.
    was_bound: bool,
    has_failed: bool,
    backoff: Backoff,
    refusals: Backoff,
    /// Streams that were lost soon after they carried a binding.
    losses: Backoff,
    bound_at: Option<Instant>,
    /// Where requests to the registrar's network go first (RFC 3608).
    service_route: Vec<Uri>,
    /// When to send the next REGISTER, or to stop waiting for the last one.
    due: Option<Instant>,
    /// Retry-After of the last response.
    retry_after: Duration,
    is_finished: bool,
}

impl Registration {
    /// A registration whose first REGISTER is to be sent next; `None` when it has no targets. `path` leads to the first
    /// of them.
    #[must_use]
    pub fn new(id: RegistrationId, config: RegistrationConfig, path: Path, random: &mut Random) -> Option<Self> {
        Some(Self {
            id,
            expires: config.expires,
            targets: Targets::new(&config.targets)?,
            config,
            path,
            call_id: random.hex(32),
            from_tag: random.hex(16),
            // A number that grows over restarts is not needed, since the Call-ID is another then.
            cseq: 0,
            errand: Errand::Bind,
            contact: path.advertised,
            stale: Vec::new(),
            challenges: Challenges::default(),
            rounds: 0,
            has_queried: false,
            is_waiting: false,
            was_silent: false,
            is_bound: false,
            was_bound: false,
            has_failed: false,
            backoff: Backoff::new(RETRY_FIRST, RETRY_CEILING),
            refusals: Backoff::new(FORGOTTEN_RETRY, REFUSED_RETRY),
            losses: Backoff::new(RETRY_FIRST, RETRY_CEILING),
            bound_at: None,
            service_route: Vec::new(),
            due: None,
            retry_after: Duration::ZERO,
            is_finished: false,
        })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> RegistrationId {
        self.id
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &RegistrationConfig {
        &self.config
    }

    /// The registrar's address in use.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.path.remote
    }

    /// The way to the registrar.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Where the next REGISTER goes.
    #[must_use]
    pub fn target(&self) -> Target {
        self.targets.current()
    }

    /// All addresses of the registrar.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.targets.iter().map(|target| target.remote.ip())
    }

    /// Whether this is one of the registrar's addresses.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.targets.has_address(address)
    }

    /// Our contact towards this registrar.
    #[must_use]
    pub fn contact_uri(&self) -> Uri {
        contact_uri(&self.config.contact_user, self.contact, self.path)
    }

    /// The Route set for calls through this registration, as the registrar wants it (RFC 3608 §5); usually empty.
    #[must_use]
    pub fn service_route(&self) -> &[Uri] {
        &self.service_route
    }

    /// Whether the registrar has our contact, as far as we know.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Whether the registrar has had our contact.
    #[must_use]
    pub fn was_bound(&self) -> bool {
        self.was_bound
    }

    /// Whether a REGISTER is under way whose outcome matters. One that was given up may still be answered.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Whether the last REGISTER was given up without a word of the registrar: a stream that it went by is not to be used
    /// again.
    #[must_use]
    pub fn was_silent(&self) -> bool {
        self.was_silent
    }

    /// Whether it has been taken back and can be forgotten.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The next CSeq number, for a REGISTER repeated with credentials.
    pub fn next_cseq(&mut self) -> u32 {
        self.cseq = self.cseq.saturating_add(1);
        self.cseq
    }

    /// The way to [`Self::target`], before [`Self::request`]. A way with another address of ours changes the Contact;
    /// taking a binding back names the Contact that was bound.
    pub fn set_path(&mut self, path: Path) {
        if path.remote != self.path.remote {
            // A nonce is its server's.
            self.challenges.forget();
        }
        let is_other_contact = (path.advertised, path.transport) != (self.path.advertised, self.path.transport);
        if self.errand != Errand::Unbind && is_other_contact {
            if self.was_bound {
                self.stale = vec![self.contact_uri()];
            }
            self.contact = path.advertised;
        }
        self.path = if self.errand == Errand::Unbind { self.path } else { path };
    }

    /// The REGISTER to send now, without Via. Answers to challenges of the registrar that are still good are in it.
    pub fn request(&mut self, now: Instant, random: &mut Random) -> Request {
        let number = self.next_cseq();
        let aor = &self.config.aor;
        let mut request = Request::new(Method::Register, contact::without_user(&self.config.registrar));
        let aor_value = |tag: Option<&str>| {
            let tag = tag.map(|t| ("tag", Some(t)));
            HeaderValue::name_addr(self.config.display.as_deref(), aor, tag.as_slice())
        };
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, HeaderValue::from(70));
        if let Some(proxy) = &self.config.outbound_proxy {
            // Without `lr` it would be a strict router, which no proxy has been since RFC 3261.
            let route = if proxy.view().is_loose_router() { proxy.clone() } else { proxy.with_parameter("lr", None) };
            headers.push(HeaderName::Route, HeaderValue::name_addr(None, &route, &[]));
        }
        headers.push(HeaderName::From, aor_value(Some(&self.from_tag)));
        headers.push(HeaderName::To, aor_value(None));
        headers.push(HeaderName::CallId, HeaderValue::cleaned(&self.call_id));
        headers.push(HeaderName::CSeq, HeaderValue::cleaned(&format!("{number} REGISTER")));
        let expires = match self.errand {
            Errand::Query => None,
            Errand::Bind => Some(self.expires.as_secs().to_string()),
            Errand::Unbind => Some("0".to_owned()),
        };
        if let Some(expires) = expires {
            let contact = contact_uri(&self.config.contact_user, self.contact, self.path);
            headers.push(HeaderName::Contact, HeaderValue::name_addr(None, &contact, &[("expires", Some(&expires))]));
            for stale in self.stale.drain(..) {
                headers.push(HeaderName::Contact, HeaderValue::name_addr(None, &stale, &[("expires", Some("0"))]));
            }
            headers.push(HeaderName::Expires, HeaderValue::cleaned(&expires));
        }
        self.challenges.answer(&mut request, &self.config.account.credentials, random);
        (self.is_waiting, self.was_silent) = (true, false);
        if self.errand != Errand::Unbind {
            let wait = match self.path.transport {
                _ if self.targets.has_other(now) => Some(FAILOVER_WAIT),
                Transport::Tcp | Transport::Tls => Some(STREAM_WAIT),
                Transport::Udp => None,
            };
            self.due = wait.map(|wait| now + wait);
        }
        request
    }

    /// The registrar has the last REGISTER and takes its time over it: it has that of the transaction.
    pub fn note_progress(&mut self) {
        if self.is_waiting && self.errand != Errand::Unbind {
            self.due = None;
        }
    }

    /// The last REGISTER was challenged and goes again with credentials: the target is alive, and later REGISTERs may
    /// answer the challenge unasked.
    pub fn note_challenge(&mut self, authority: Authority, challenge: Challenge) {
        self.challenges.note(authority, challenge);
        (self.is_waiting, self.was_silent) = (true, false);
        self.note_progress();
    }

    /// Reads the final response to the last REGISTER. A 401 or 407 that comes here could not be answered.
    pub fn handle_response(&mut self, now: Instant, response: &Message<'_>, random: &mut Random) -> Reaction {
        let Some(status) = response.status() else { return Reaction::default() };
        // An answer to a REGISTER that another one has overtaken says nothing any more.
        if self.is_finished || response.cseq().is_ok_and(|cseq| cseq.number != self.cseq) {
            return Reaction::default();
        }
        (self.is_waiting, self.was_silent) = (false, false);
        let asked = response.seconds(HeaderName::RetryAfter).ok().flatten().unwrap_or(0);
        self.retry_after = Duration::from_secs(u64::from(asked)).min(RETRY_AFTER_CEILING);
        match (self.errand, status.code()) {
            // Credentials that nobody asked for may be what is refused.
            (_, code @ 400..=499) if !matches!(code, 408 | 423 | 480) && self.challenges.forget() => Reaction::SEND,
            (Errand::Unbind, _) => self.finish(),
            (Errand::Bind, 200..=299) => self.bound(now, response, random),
            (Errand::Query, 200..=299) => {
                self.challenges.confirm(response);
                self.errand = Errand::Bind;
                self.stale = contact::stale_bindings(response, &self.contact_uri());
                if self.stale.is_empty() {
                    let reason = "403 Forbidden: the registrar refuses this account; check its rights there, and how \
                        many contacts it may have";
                    return self.refused(now, Some(403), reason.to_owned(), random);
                }
                Reaction::SEND
            }
            (Errand::Bind, 423) if self.has_round() => {
                let floor = response.seconds(HeaderName::MinExpires).ok().flatten().map(u64::from);
                self.expires = floor
                    .map_or_else(|| self.expires.saturating_mul(2), Duration::from_secs)
                    .clamp(self.expires.min(EXPIRES_CEILING), EXPIRES_CEILING);
                Reaction::SEND
            }
            (Errand::Bind, 300..=399) => self.redirected(now, response, random),
            (Errand::Bind, code @ (408 | 480 | 500..=599)) => {
                if self.targets.fail(now, self.retry_after) {
                    return Reaction::SEND;
                }
                let reason = format!("{code} {}: the registrar is not able to now", response.reason_phrase());
                let wait = self.backoff.next_wait(random);
                self.failed(now, Some(code), reason, wait)
            }
            (Errand::Query, _) => {
                self.errand = Errand::Bind;
                let reason = format!("403, then {status} to a query: the registrar refuses this account");
                self.refused(now, Some(403), reason, random)
            }
            (Errand::Bind, 403) if !self.has_queried => {
                self.has_queried = true;
                self.errand = Errand::Query;
                Reaction::SEND
            }
            (Errand::Bind, code @ (401 | 407)) => {
                let reason = format!("{code}: the registrar does not take the user name, password or realm");
                self.refused(now, Some(code), reason, random)
            }
            (Errand::Bind, 404) => {
                let reason = "404: the registrar has no such extension; check its number and domain".to_owned();
                self.refused(now, Some(404), reason, random)
            }
            (Errand::Bind, code) => {
                let reason = format!("{code} {}: the registrar refuses", response.reason_phrase());
                self.refused(now, Some(code), reason, random)
            }
        }
    }

    /// The last REGISTER got no answer, or could not be sent.
    pub fn handle_failure(&mut self, now: Instant, failure: Failure, random: &mut Random) -> Reaction {
        (self.is_waiting, self.was_silent) = (false, failure == Failure::NoAnswer);
        self.retry_after = Duration::ZERO;
        match self.errand {
            Errand::Unbind => self.finish(),
            Errand::Bind | Errand::Query => {
                self.errand = Errand::Bind;
                if self.targets.fail(now, Duration::ZERO) {
                    return Reaction::SEND;
                }
                let wait = self.backoff.next_wait(random);
                self.failed(now, None, failure.reason().to_owned(), wait)
            }
        }
    }

    /// The stream that the binding lives on broke: the registrar cannot reach us until we register again, which is to
    /// happen at `at`, or later when streams there do not live long (RFC 5626 §4.5). Nothing changes while a REGISTER is
    /// under way or a failure is waited out.
    pub fn handle_stream_lost(&mut self, now: Instant, at: Instant, random: &mut Random) -> Reaction {
        if !self.is_bound || self.is_waiting || self.errand != Errand::Bind {
            return Reaction::default();
        }
        let was_stable = self.bound_at.is_none_or(|bound_at| now.saturating_duration_since(bound_at) >= STREAM_STABLE);
        if was_stable {
            self.losses.reset();
        }
        let wait = self.losses.next_wait(random);
        self.is_bound = false;
        self.due = Some(if was_stable { at } else { at.max(now + wait) });
        Reaction::report(RegistrationState::Registering)
    }

    /// The moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant, random: &mut Random) -> Reaction {
        if self.due.is_none_or(|due| due > now) {
            return Reaction::default();
        }
        self.due = None;
        if self.errand == Errand::Unbind {
            return self.finish();
        }
        if self.is_waiting {
            return self.handle_failure(now, Failure::NoAnswer, random);
        }
        self.restart(now);
        let state = std::mem::take(&mut self.has_failed).then_some(RegistrationState::Registering);
        Reaction { send: true, state }
    }

    /// Takes the binding back.
    pub fn unregister(&mut self, now: Instant) -> Reaction {
        if self.is_finished || self.errand == Errand::Unbind {
            return Reaction::default();
        }
        self.errand = Errand::Unbind;
        self.stale.clear();
        self.due = Some(now + UNREGISTER_WAIT);
        Reaction::SEND
    }

    /// Registers again at once, whatever is being waited for.
    pub fn reregister(&mut self, now: Instant) -> Reaction {
        if self.is_finished || self.errand == Errand::Unbind {
            return Reaction::default();
        }
        self.restart(now);
        let state = (!self.is_bound).then_some(RegistrationState::Registering);
        self.has_failed = false;
        Reaction { send: true, state }
    }

    /// Sends the next REGISTER at `at` instead of at once.
    pub fn postpone(&mut self, at: Instant) {
        if !self.is_finished && self.errand != Errand::Unbind {
            self.due = Some(at);
        }
    }

    /// Other targets, best first. An empty list changes nothing.
    pub fn retarget(&mut self, now: Instant, targets: Vec<Target>) -> Reaction {
        let Some(list) = Targets::new(&targets) else { return Reaction::default() };
        self.config.targets = targets;
        if self.targets.replace(list) { Reaction::default() } else { self.reregister(now) }
    }

    fn restart(&mut self, now: Instant) {
        self.targets.choose(now);
        (self.rounds, self.has_queried, self.errand, self.due) = (0, false, Errand::Bind, None);
    }

    fn bound(&mut self, now: Instant, response: &Message<'_>, random: &mut Random) -> Reaction {
        self.challenges.confirm(response);
        self.backoff.reset();
        self.refusals.reset();
        if !self.is_bound {
            self.bound_at = Some(now);
        }
        (self.is_bound, self.was_bound) = (true, true);
        let seen = contact::seen_address(response).unwrap_or(self.contact);
        if seen != self.contact && self.has_round() {
            // The registrar sees us elsewhere: a NAT is in between, or has moved us. Rebind there, in one request.
            self.stale = vec![self.contact_uri()];
            self.contact = seen;
            return Reaction::SEND;
        }
        let ours = self.contact_uri();
        let stale = contact::stale_bindings(response, &ours);
        if !stale.is_empty() && self.has_round() {
            self.stale = stale;
            return Reaction::SEND;
        }
        self.service_route = contact::service_route(response);
        let granted = contact::granted_s(response, &ours)
            .or_else(|| response.seconds(HeaderName::Expires).ok().flatten())
            .map_or(self.expires, |s| Duration::from_secs(u64::from(s)).min(EXPIRES_CEILING));
        let wait = granted.mul_f64(0.5 + 0.35 * random.unit()).max(REFRESH_FLOOR);
        (self.rounds, self.has_queried, self.has_failed) = (0, false, false);
        self.due = Some(now + wait);
        Reaction::report(RegistrationState::Registered { expires_at: now + granted, contact: self.contact })
    }

    /// A 3xx is followed to addresses of the registrar only: anything else would send our credentials where a
    /// response says.
    fn redirected(&mut self, now: Instant, response: &Message<'_>, random: &mut Random) -> Reaction {
        let to = match response.contacts() {
            Ok(Contacts::Addresses(contacts)) => contacts.iter().find_map(|c| c.uri().ok().map(|uri| uri.to_owned())),
            _ => None,
        };
        let host = to.as_ref().and_then(|uri| uri.view().host());
        let address = host.as_ref().and_then(super::host::Host::address);
        let port = to.as_ref().and_then(|uri| uri.view().port());
        if address.is_some_and(|address| self.targets.move_to(address, port)) && self.has_round() {
            return Reaction::SEND;
        }
        let code = response.status().map(|status| status.code());
        let reason = host.map_or_else(
            || "the registrar redirects us nowhere: ask its operator where to register".to_owned(),
            |host| format!("the registrar redirects us to {host}: if that is right, set it as the registrar"),
        );
        self.refused(now, code, reason, random)
    }

    fn has_round(&mut self) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        self.rounds <= EXTRA_ROUNDS
    }

    fn refused(&mut self, now: Instant, code: Option<u16>, reason: String, random: &mut Random) -> Reaction {
        let wait = if self.was_bound {
            self.refusals.next_wait(random)
        } else {
            REFUSED_RETRY.mul_f64(0.75 + 0.5 * random.unit())
        };
        self.failed(now, code, reason, wait)
    }

    fn failed(&mut self, now: Instant, code: Option<u16>, reason: String, wait: Duration) -> Reaction {
        let retry_at = now + wait.max(self.retry_after);
        self.due = Some(retry_at);
        (self.is_bound, self.has_failed) = (false, true);
        Reaction::report(RegistrationState::Failed { code, reason, retry_at: Some(retry_at) })
    }

    fn finish(&mut self) -> Reaction {
        if self.is_finished {
            return Reaction::default();
        }
        self.is_finished = true;
        self.is_bound = false;
        self.due = None;
        Reaction::report(RegistrationState::Unregistered)
    }
}
