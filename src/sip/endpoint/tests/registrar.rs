//! A small registrar that behaves like FreePBX (one contact, nothing replaced by itself), and an endpoint before it.

use super::*;
use crate::sip::config::{Account, DialogPolicy, RegistrationConfig, Target};
use crate::sip::digest::{Algorithm, Authority, Authorization, Challenge, Credentials, Expected, Refusal};
use crate::sip::event::RegistrationState;
use crate::sip::header::Contacts;
use crate::sip::nonce::Nonces;
use crate::sip::{HeaderName, HeaderValue, Response, StatusCode, Uri};

pub(super) const REGISTRAR: &str = "10.0.0.1:5060";

pub(super) struct Registrar {
    pub(super) nonces: Nonces,
    pub(super) authority: Authority,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) credentials: Credentials,
    pub(super) max_contacts: usize,
    pub(super) min_expires: u64,
    pub(super) granted: u64,
    /// Answers everything with this status instead.
    pub(super) broken: Option<(u16, Option<u32>)>,
    pub(super) is_down: bool,
    /// Port that the registrar sees us at, as behind a NAT.
    pub(super) nat_port: u16,
    pub(super) bindings: Vec<Uri>,
    /// Targets that do not answer.
    pub(super) down: Vec<String>,
    /// Targets that say 503.
    pub(super) unavailable: Vec<String>,
    /// Targets that say 302, and where they send us.
    pub(super) redirects: Vec<(String, String)>,
    /// Has an address of record for each user, as real registrars do: a 200 lists that user's bindings alone.
    pub(super) is_by_user: bool,
    /// Share of messages lost on their way, each way, and whose whims decide it.
    pub(super) loss: f64,
    pub(super) whims: Random,
    /// The Service-Route of its 200s.
    pub(super) service_route: Option<String>,
    /// Asks for MD5 once it has seen credentials.
    pub(super) downgrades: bool,
    /// Sees us at `nat_port` of one address; otherwise at what our Via says.
    pub(super) has_nat: bool,
    /// Answers REGISTERs with credentials that nobody asked for with this status, as some registrars do.
    pub(super) refuses_unasked: Option<u16>,
    /// Sends the next nonce in each 200, and how many such there were.
    pub(super) next_nonces: Option<u32>,
    /// A proxy asks for credentials too, before the registrar does.
    pub(super) has_proxy: bool,
    /// Nonces of challenges that were not used yet.
    asked: Vec<String>,
    /// Where each REGISTER went.
    pub(super) seen_at: Vec<String>,
    /// CSeq numbers seen, and whether each carried credentials.
    pub(super) seen: Vec<(u32, bool, String)>,
}

impl Registrar {
    pub(super) fn new() -> Self {
        Self {
            nonces: Nonces::new(&mut Random::seeded(99)),
            authority: Authority::Server,
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            credentials: Credentials::new("auth-id", "secret"),
            max_contacts: 1,
            min_expires: 60,
            granted: 3600,
            broken: None,
            is_down: false,
            nat_port: 5060,
            bindings: Vec::new(),
            down: Vec::new(),
            unavailable: Vec::new(),
            redirects: Vec::new(),
            downgrades: false,
            is_by_user: false,
            loss: 0.0,
            whims: Random::seeded(0),
            service_route: None,
            has_nat: true,
            refuses_unasked: None,
            next_nonces: None,
            has_proxy: false,
            asked: Vec::new(),
            seen_at: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn handle(&mut self, now: Instant, at: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let request = Message::parse(bytes).unwrap();
        if self.is_down || self.down.iter().any(|down| down == at) {
            return None;
        }
        self.seen_at.push(at.to_owned());
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.seen.push((request.cseq().unwrap().number, text.contains("uthorization: "), text));
        let mut source = SocketAddr::from(([10, 0, 0, 2], self.nat_port));
        if !self.has_nat {
            let via = request.via().unwrap();
            source = SocketAddr::new(via.host().address().unwrap(), via.port().unwrap());
        }
        let respond = |code| Response::to_request(&request, StatusCode::new(code).unwrap(), source, Some("reg"));
        if self.unavailable.iter().any(|busy| busy == at) {
            return Some(respond(503).write());
        }
        if let Some((_, to)) = self.redirects.iter().find(|(from, _)| from == at) {
            let mut response = respond(302);
            response.headers.push(HeaderName::Contact, HeaderValue::cleaned(&format!("<{to}>")));
            return Some(response.write());
        }
        if let Some((code, retry_after)) = self.broken {
            let mut response = respond(code);
            if let Some(seconds) = retry_after {
                response.headers.push(HeaderName::RetryAfter, HeaderValue::from(seconds));
            }
            return Some(response.write());
        }
        if self.has_proxy && Authorization::of_request(&request, Authority::Proxy, "proxy").is_none() {
            let mut response = respond(407);
            let offered = Challenge::offer(&mut self.nonces, now, "proxy", source.ip(), &self.algorithms, false);
            response.headers.push(HeaderName::ProxyAuthenticate, offered[0].to_header());
            return Some(response.write());
        }
        let expected = Expected {
            realm: "pbx",
            source: source.ip(),
            algorithms: &self.algorithms,
            credentials: Some(&self.credentials),
        };
        let verdict = Authorization::of_request(&request, self.authority, "pbx")
            .map(|authorization| authorization.verify(&mut self.nonces, now, &expected, &request));
        let text = &self.seen.last().unwrap().2;
        let was_asked = self.asked.iter().any(|nonce| text.contains(nonce.as_str()));
        if let Some(code) = self.refuses_unasked.filter(|_| verdict.is_some() && !was_asked) {
            return Some(respond(code).write());
        }
        if verdict != Some(Ok(())) {
            if self.downgrades && verdict.is_some() {
                self.algorithms = vec![Algorithm::Md5];
            }
            let mut response = respond(self.authority.status().code());
            let is_stale = matches!(verdict, Some(Err(Refusal::Stale | Refusal::Replayed)));
            let offered = Challenge::offer(&mut self.nonces, now, "pbx", source.ip(), &self.algorithms, is_stale);
            self.asked.push(offered[0].nonce.clone());
            for challenge in offered {
                response.headers.push(self.authority.challenge_header(), challenge.to_header());
            }
            return Some(response.write());
        }
        self.asked.clear();
        let header_expires = request.seconds(HeaderName::Expires).unwrap();
        let Contacts::Addresses(contacts) = request.contacts().unwrap() else { panic!("no star from us") };
        let (mut added, mut bindings) = (Vec::new(), self.bindings.clone());
        for contact in &contacts {
            let uri = contact.uri().unwrap().to_owned();
            let expires = contact.expires_s().or(header_expires).unwrap_or(3600);
            bindings.retain(|b| *b != uri);
            if expires > 0 {
                if u64::from(expires) < self.min_expires {
                    let mut response = respond(423);
                    response.headers.push(HeaderName::MinExpires, HeaderValue::from(self.min_expires as u32));
                    return Some(response.write());
                }
                added.push(uri);
            }
        }
        bindings.extend(added);
        if bindings.len() > self.max_contacts {
            return Some(respond(403).write());
        }
        self.bindings = bindings;
        let mut response = respond(200);
        if let Some(route) = &self.service_route {
            response.headers.push(HeaderName::ServiceRoute, HeaderValue::cleaned(route));
        }
        if let Some(count) = &mut self.next_nonces {
            *count += 1;
            let nonce = self.nonces.issue(now, "pbx", source.ip());
            let info = format!("qop=auth, nextnonce=\"{nonce}\"");
            response.headers.push(HeaderName::AuthenticationInfo, HeaderValue::cleaned(&info));
        }
        let user = |uri: &Uri| uri.view().user().map(str::to_owned);
        let asked = contacts.first().and_then(|contact| user(&contact.uri().ok()?.to_owned()));
        for binding in self.bindings.iter().filter(|binding| !self.is_by_user || user(binding) == asked) {
            let granted = self.granted.to_string();
            let value = HeaderValue::name_addr(None, binding, &[("expires", Some(&granted))]);
            response.headers.push(HeaderName::Contact, value);
        }
        Some(response.write())
    }
}

pub(super) fn settings() -> RegistrationConfig {
    RegistrationConfig {
        registrar: Uri::parse("sip:ignored@10.0.0.1").unwrap(),
        targets: vec![Target::udp(REGISTRAR.parse().unwrap())],
        outbound_proxy: None,
        aor: Uri::parse("sip:1001@pbx.example").unwrap(),
        display: None,
        account: Account::new("auth-id", "secret"),
        contact_user: "1001-a1b2".to_owned(),
        expires: Duration::from_secs(300),
        dialog: DialogPolicy::default(),
    }
}

pub(super) struct Scene {
    pub(super) endpoint: Endpoint,
    pub(super) registrar: Registrar,
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) id: RegistrationId,
    pub(super) states: Vec<(Duration, RegistrationState)>,
}

impl Scene {
    pub(super) fn new(change: impl FnOnce(&mut Registrar, &mut RegistrationConfig)) -> Self {
        let now = Instant::now();
        let mut registrar = Registrar::new();
        let mut config = settings();
        change(&mut registrar, &mut config);
        let address = Side::Bob.address();
        let mut endpoint = Endpoint::new(EndpointConfig::udp(address, address), Random::seeded(6));
        let id = endpoint.register(now, config).unwrap();
        Self { endpoint, registrar, now, start: now, id, states: Vec::new() }
    }

    pub(super) fn pump(&mut self) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                if let Event::RegistrationChanged { state, registration } = event
                    && registration == self.id
                {
                    self.states.push((self.now - self.start, state));
                }
            }
            let Some(transmit) = self.endpoint.poll_transmit() else { return };
            let at = transmit.remote.to_string();
            if self.registrar.whims.unit() < self.registrar.loss {
                continue;
            }
            let answer = self.registrar.handle(self.now, &at, &transmit.bytes);
            if let Some(bytes) = answer.filter(|_| self.registrar.whims.unit() >= self.registrar.loss) {
                let received = Received {
                    transport: transmit.transport,
                    local: transmit.local,
                    remote: transmit.remote,
                    bytes: &bytes,
                };
                self.endpoint.handle_datagram(self.now, received);
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) -> &mut Self {
        let limit = self.now + time;
        self.pump();
        for _ in 0..10_000 {
            match self.endpoint.poll_timeout().filter(|at| *at <= limit) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = limit;
                    return self;
                }
            }
            self.endpoint.handle_timeout(self.now);
            self.pump();
        }
        panic!("live-lock");
    }

    pub(super) fn last(&self) -> &RegistrationState {
        &self.states.last().unwrap().1
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.last(), RegistrationState::Registered { .. })
    }
}
