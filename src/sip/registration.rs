//! One registration as a UAC keeps it: RFC 3261 §10.2 and what registrars make of it.
//!
//! A pure machine: it makes REGISTER requests, reads their outcome and says when it wants to be called next. Challenges
//! are answered before a response reaches it. Call-ID and From tag stay the same for its whole life and CSeq grows.

use super::config::{RegistrationConfig, Target};
use super::dialog::Path;
use super::event::{RegistrationId, RegistrationState};
use super::header::{Contacts, HeaderName, HeaderValue};
use super::{Message, Method, Request, Uri};
use crate::base::Random;
use crate::base::backoff::Backoff;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// First and longest wait after a registrar did not answer or was not able to.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_CEILING: Duration = Duration::from_secs(300);
/// Wait after a refusal that only a person can mend, such as a wrong password: rare enough not to get us banned.
const REFUSED_RETRY: Duration = Duration::from_secs(600);
/// Longest Retry-After that is obeyed: a registrar must not put us off for days.
const RETRY_AFTER_CEILING: Duration = Duration::from_secs(3600);
/// Longest lifetime that a 423 talks us into.
const EXPIRES_CEILING: Duration = Duration::from_secs(86_400);
/// A refresh comes no sooner than this after the last one, however short the granted lifetime.
const REFRESH_FLOOR: Duration = Duration::from_secs(5);
/// How long to wait for the answer when taking a registration back.
const UNREGISTER_WAIT: Duration = Duration::from_secs(5);
/// Extra REGISTERs within one refresh (423, moved contact, stale bindings): answers a registrar that never agrees.
const EXTRA_ROUNDS: u8 = 3;
/// Stale bindings removed in one request.
const MAX_REMOVED: usize = 8;

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
    rounds: u8,
    has_queried: bool,
    backoff: Backoff,
    /// When to send the next REGISTER, or to stop waiting for the last one.
    due: Option<Instant>,
    is_finished: bool,
}

impl Registration {
    /// A registration that wants its first REGISTER sent at once.
    #[must_use]
    pub fn new(id: RegistrationId, config: RegistrationConfig, path: Path, random: &mut Random) -> Self {
        Self {
            id,
            expires: config.expires,
            config,
            path,
            call_id: random.hex(32),
            from_tag: random.hex(16),
            // A number that grows over restarts is not needed, since the Call-ID is another then.
            cseq: 0,
            errand: Errand::Bind,
            contact: path.advertised,
            stale: Vec::new(),
            rounds: 0,
            has_queried: false,
            backoff: Backoff::new(RETRY_FIRST, RETRY_CEILING),
            due: None,
            is_finished: false,
        }
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

    /// The registrar's address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.path.remote
    }

    /// The way to the registrar.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Our contact towards this registrar.
    #[must_use]
    pub fn contact_uri(&self) -> Uri {
        contact_uri(&self.config.contact_user, self.contact, self.path)
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

    /// The REGISTER to send now, without Via.
    pub fn request(&mut self) -> Request {
        let number = self.next_cseq();
        let aor = &self.config.aor;
        let mut request = Request::new(Method::Register, without_user(&self.config.registrar));
        let aor_value = |tag: Option<&str>| {
            let tag = tag.map(|t| ("tag", Some(t)));
            HeaderValue::name_addr(self.config.display.as_deref(), aor, tag.as_slice())
        };
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, HeaderValue::from(70));
        headers.push(HeaderName::From, aor_value(Some(&self.from_tag)));
        headers.push(HeaderName::To, aor_value(None));
        headers.push(HeaderName::CallId, HeaderValue::cleaned(&self.call_id));
        headers.push(HeaderName::CSeq, HeaderValue::cleaned(&format!("{number} REGISTER")));
        let expires = match self.errand {
            Errand::Query => return request,
            Errand::Bind => self.expires.as_secs().to_string(),
            Errand::Unbind => "0".to_owned(),
        };
        let contact = contact_uri(&self.config.contact_user, self.contact, self.path);
        headers.push(HeaderName::Contact, HeaderValue::name_addr(None, &contact, &[("expires", Some(&expires))]));
        for stale in self.stale.drain(..) {
            headers.push(HeaderName::Contact, HeaderValue::name_addr(None, &stale, &[("expires", Some("0"))]));
        }
        headers.push(HeaderName::Expires, HeaderValue::cleaned(&expires));
        self.due = (self.errand == Errand::Unbind).then_some(self.due).flatten();
        request
    }

    /// Reads the final response to the last REGISTER. A 401 or 407 that comes here could not be answered.
    pub fn handle_response(&mut self, now: Instant, response: &Message<'_>, random: &mut Random) -> Reaction {
        let Some(status) = response.status() else { return Reaction::default() };
        // An answer to a REGISTER that another one has overtaken says nothing any more.
        if self.is_finished || response.cseq().is_ok_and(|cseq| cseq.number != self.cseq) {
            return Reaction::default();
        }
        match (self.errand, status.code()) {
            (Errand::Unbind, _) => self.finish(),
            (Errand::Bind, 200..=299) => self.bound(now, response, random),
            (Errand::Query, 200..=299) => {
                self.errand = Errand::Bind;
                self.stale = self.stale_bindings(response);
                if self.stale.is_empty() {
                    let reason = "403 Forbidden: the registrar refuses this account; check its rights there";
                    return self.refused(now, Some(403), reason.to_owned(), random);
                }
                Reaction::SEND
            }
            (Errand::Query, _) => {
                self.errand = Errand::Bind;
                let reason = format!("403, then {status} to a query: the registrar refuses this account");
                self.refused(now, Some(403), reason, random)
            }
            (Errand::Bind, 423) if self.has_round() => {
                let floor = response.seconds(HeaderName::MinExpires).ok().flatten().map(u64::from);
                self.expires = floor
                    .map_or_else(|| self.expires.saturating_mul(2), Duration::from_secs)
                    .clamp(self.expires, EXPIRES_CEILING);
                Reaction::SEND
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
            (Errand::Bind, code @ (408 | 480 | 500..=599)) => {
                let reason = format!("{code} {}: the registrar is not able to now", response.reason_phrase());
                let retry_after = response.seconds(HeaderName::RetryAfter).ok().flatten().unwrap_or(0);
                let wait = self.backoff.next_wait(random);
                let asked = Duration::from_secs(u64::from(retry_after)).min(RETRY_AFTER_CEILING);
                self.failed(now, Some(code), reason, wait.max(asked))
            }
            (Errand::Bind, code) => {
                let reason = format!("{code} {}: the registrar refuses", response.reason_phrase());
                self.refused(now, Some(code), reason, random)
            }
        }
    }

    /// The last REGISTER got no answer, or could not be sent.
    pub fn handle_failure(&mut self, now: Instant, random: &mut Random) -> Reaction {
        match self.errand {
            Errand::Unbind => self.finish(),
            Errand::Bind | Errand::Query => {
                self.errand = Errand::Bind;
                let wait = self.backoff.next_wait(random);
                let reason = "no answer: check the registrar's address, and that it is up and reachable";
                self.failed(now, None, reason.to_owned(), wait)
            }
        }
    }

    /// The moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Reaction {
        if self.due.is_none_or(|due| due > now) {
            return Reaction::default();
        }
        self.due = None;
        if self.errand == Errand::Unbind {
            return self.finish();
        }
        self.rounds = 0;
        self.has_queried = false;
        let state = (self.backoff.failures() > 0).then_some(RegistrationState::Registering);
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
    pub fn reregister(&mut self, _now: Instant) -> Reaction {
        if self.is_finished || self.errand == Errand::Unbind {
            return Reaction::default();
        }
        (self.rounds, self.has_queried, self.errand, self.due) = (0, false, Errand::Bind, None);
        Reaction::SEND
    }

    /// Other targets, best first.
    pub fn retarget(&mut self, now: Instant, targets: Vec<Target>) -> Reaction {
        let is_still_there = targets.iter().any(|t| t.remote == self.path.remote);
        self.config.targets = targets;
        if is_still_there { Reaction::default() } else { self.reregister(now) }
    }

    /// Another way to the same registrar: our own address changed.
    pub fn repath(&mut self, now: Instant, path: Path) -> Reaction {
        if path == self.path {
            return Reaction::default();
        }
        self.stale = vec![self.contact_uri()];
        (self.path, self.contact) = (path, path.advertised);
        self.reregister(now)
    }

    fn bound(&mut self, now: Instant, response: &Message<'_>, random: &mut Random) -> Reaction {
        self.backoff.reset();
        let seen = seen_address(response).unwrap_or(self.contact);
        if seen != self.contact && self.has_round() {
            // The registrar sees us elsewhere: a NAT is in between, or has moved us. Rebind there, in one request.
            self.stale = vec![self.contact_uri()];
            self.contact = seen;
            return Reaction::SEND;
        }
        let stale = self.stale_bindings(response);
        if !stale.is_empty() && self.has_round() {
            self.stale = stale;
            return Reaction::SEND;
        }
        let granted = self.granted(response);
        let wait = granted.mul_f64(0.5 + 0.35 * random.unit()).max(REFRESH_FLOOR);
        self.rounds = 0;
        self.has_queried = false;
        self.due = Some(now + wait);
        Reaction::report(RegistrationState::Registered { expires_at: now + granted, contact: self.contact })
    }

    /// The lifetime that the registrar granted: of our contact, else of the response, else what we asked for.
    fn granted(&self, response: &Message<'_>) -> Duration {
        let ours = self.contact_uri();
        let own = match response.contacts() {
            Ok(Contacts::Addresses(contacts)) => contacts
                .iter()
                .find(|c| c.uri().is_ok_and(|uri| same_binding(&uri.to_owned(), &ours)))
                .and_then(super::header::NameAddr::expires_s),
            _ => None,
        };
        own.or_else(|| response.seconds(HeaderName::Expires).ok().flatten())
            .map_or(self.expires, |s| Duration::from_secs(u64::from(s)).min(EXPIRES_CEILING))
    }

    /// Bindings in a 2xx that carry our contact user at another address: remains of a crash or of an earlier NAT address.
    fn stale_bindings(&self, response: &Message<'_>) -> Vec<Uri> {
        let ours = self.contact_uri();
        let Ok(Contacts::Addresses(contacts)) = response.contacts() else { return Vec::new() };
        contacts
            .iter()
            .filter_map(|c| c.uri().ok().map(|uri| uri.to_owned()))
            .filter(|uri| uri.view().is_sip() && uri.view().user() == ours.view().user() && !same_binding(uri, &ours))
            .take(MAX_REMOVED)
            .collect()
    }

    fn has_round(&mut self) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        self.rounds <= EXTRA_ROUNDS
    }

    fn refused(&mut self, now: Instant, code: Option<u16>, reason: String, random: &mut Random) -> Reaction {
        let _ = self.backoff.next_wait(random);
        self.failed(now, code, reason, REFUSED_RETRY.mul_f64(0.75 + 0.5 * random.unit()))
    }

    fn failed(&mut self, now: Instant, code: Option<u16>, reason: String, wait: Duration) -> Reaction {
        let retry_at = now + wait;
        self.due = Some(retry_at);
        Reaction::report(RegistrationState::Failed { code, reason, retry_at: Some(retry_at) })
    }

    fn finish(&mut self) -> Reaction {
        if self.is_finished {
            return Reaction::default();
        }
        self.is_finished = true;
        self.due = None;
        Reaction::report(RegistrationState::Unregistered)
    }
}

/// Our Contact URI on a path.
#[must_use]
pub fn contact_uri(user: &str, address: SocketAddr, path: Path) -> Uri {
    let uri = Uri::sip_address(address).with_user(user);
    match path.transport {
        super::Transport::Udp => uri,
        reliable => uri.with_parameter("transport", Some(&reliable.via_name().to_ascii_lowercase())),
    }
}

/// User, host and port are what makes a binding here; registrars add parameters.
fn same_binding(a: &Uri, b: &Uri) -> bool {
    let (a, b) = (a.view(), b.view());
    a.user() == b.user() && a.host() == b.host() && a.port().unwrap_or(5060) == b.port().unwrap_or(5060)
}

/// The registrar's URI as the Request-URI of a REGISTER: "userinfo MUST NOT be present" (§10.2); FRITZ!Box insists.
fn without_user(registrar: &Uri) -> Uri {
    let view = registrar.view();
    let Some(host) = view.host() else { return registrar.clone() };
    let bare = Uri::sip(&host.to_string(), view.port()).unwrap_or_else(|_| registrar.clone());
    match view.parameter("transport") {
        Some(transport) => bare.with_parameter("transport", Some(transport)),
        None => bare,
    }
}

/// Our address as the registrar saw it: `received` and `rport` of our Via (RFC 3581).
fn seen_address(response: &Message<'_>) -> Option<SocketAddr> {
    let via = response.via().ok()?;
    let address = via.received().or_else(|| via.host().address())?;
    let port = via.rport().flatten().or_else(|| via.port())?;
    (!address.is_unspecified() && port != 0).then(|| SocketAddr::new(address, port))
}
