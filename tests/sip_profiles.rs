//! Every profile against its make of peer: exchanges written from the vendors' documentation, in virtual time.
//!
//! `tests/data/profiles/<profile>/offhook.toml` is the configuration, each `*.sip` beside it an exchange. Its first lines
//! name the source. Addresses are from the documentation ranges; numbers are fictitious. An exchange is a list of steps:
//!
//! ```text
//! peer at 198.51.100.10:5060 udp      where the peer is
//! do register                         a command of ours: register, call NUMBER, answer, refer NUMBER, hangup, wait SECONDS
//! we send REGISTER sip:pbx.example    what leaves us next; `we send 200` for a response
//!   Header: part                      … whose header contains this
//!   Header absent                     … which has no such header
//!   body: part
//! peer answers 401 Unauthorized       to our latest request; further header lines follow, then a body after an empty line
//! peer sends INVITE {contact}         a request; To, From, Call-ID and CSeq where it is not in a dialog
//! event registered | failed PART | call | answered | established | transferred | info PART | variable NAME=VALUE
//! silence                             nothing of ours is left to send
//! ```

use offhook::base::Random;
use offhook::cli::plan::server_plan;
use offhook::cli::server::ServerPlan;
use offhook::config::{Config, SipProfile};
use offhook::sdp::{Codec, Direction, Negotiation};
use offhook::sip::event::{EndCause, RegistrationState, TransferOutcome};
use offhook::sip::{
    Endpoint, EndpointConfig, Event, LegId, LocalAddress, Message, OutgoingInvite, Received, Refer, Target, Transport,
    Uri,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const US: &str = "203.0.113.9";
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\n\
                     m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                     a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

fn folder(profile: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/profiles").join(profile)
}

fn plan_of(profile: &str) -> ServerPlan {
    let config = Config::load(&folder(profile).join("offhook.toml")).unwrap_or_else(|e| panic!("{e}"));
    server_plan(&config).unwrap()
}

struct Scene {
    name: String,
    line: usize,
    plan: ServerPlan,
    endpoint: Endpoint,
    now: Instant,
    peer: Target,
    sent: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    /// Our latest request, and our latest response.
    request: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
    /// The peer's latest request, so that later ones are in its dialog.
    incoming: Option<Vec<u8>>,
    contact_user: String,
    leg: Option<LegId>,
    offer: Option<Vec<u8>>,
    random: Random,
    cseq: u32,
}

impl Scene {
    fn new(profile: &str, name: &str) -> Self {
        let plan = plan_of(profile);
        let local = |transport, port| {
            let socket = SocketAddr::from(([0, 0, 0, 0], port));
            let advertised = SocketAddr::new(US.parse().unwrap(), port);
            LocalAddress { transport, socket, advertised, for_peers: Vec::new() }
        };
        let socket = SocketAddr::from(([0, 0, 0, 0], 5060));
        let config = EndpointConfig {
            local: vec![local(Transport::Udp, 5060), local(Transport::Tcp, 5060), local(Transport::Tls, 5061)],
            known_peers: plan.trunks.iter().map(|trunk| trunk.known.clone()).collect(),
            user_agent: plan.user_agent.clone(),
            ..EndpointConfig::udp(socket, socket)
        };
        let registration = plan.extensions.first().map(|extension| &extension.registration);
        let registration = registration.or_else(|| plan.trunks.first()?.registration.as_ref());
        Self {
            name: format!("{profile}/{name}"),
            line: 0,
            contact_user: registration.map_or_else(String::new, |plan| plan.config.contact_user.clone()),
            plan,
            endpoint: Endpoint::new(config, Random::seeded(7)),
            now: Instant::now(),
            peer: Target { transport: Transport::Udp, remote: "198.51.100.10:5060".parse().unwrap() },
            sent: VecDeque::new(),
            events: VecDeque::new(),
            request: None,
            response: None,
            incoming: None,
            leg: None,
            offer: None,
            random: Random::seeded(8),
            cseq: 100,
        }
    }

    #[track_caller]
    fn fail(&self, message: &str) -> ! {
        panic!("{}.sip:{}: {message}", self.name, self.line)
    }

    fn pump(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            assert_eq!(transmit.transport, self.peer.transport, "{}: transport", self.name);
            // ACKs of refusals and our 100 are the transactions' own business.
            let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
            let is_own_business = text.starts_with("SIP/2.0 100") || (text.starts_with("ACK") && self.leg.is_none());
            if !is_own_business {
                self.sent.push_back(transmit.bytes);
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.events.push_back(event);
        }
    }

    fn receive(&mut self, text: &str) {
        let local = if self.peer.transport == Transport::Tls { 5061 } else { 5060 };
        let received = Received {
            transport: self.peer.transport,
            local: SocketAddr::from(([0, 0, 0, 0], local)),
            remote: self.peer.remote,
            bytes: text.as_bytes(),
        };
        self.endpoint.handle_datagram(self.now, received);
        self.pump();
    }

    fn header(bytes: &[u8], name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let head = text.split("\r\n\r\n").next()?.to_owned();
        let fields: Vec<String> = head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect();
        (!fields.is_empty()).then(|| fields.join(", "))
    }

    /// Puts values of earlier messages in.
    fn filled(&self, text: &str) -> String {
        let of = |bytes: &Option<Vec<u8>>, name| bytes.as_ref().and_then(|bytes| Self::header(bytes, name));
        let ours = self.request.as_ref().or(self.response.as_ref()).cloned();
        let contact = of(&ours, "Contact").unwrap_or_default();
        let contact = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        text.replace("{contact}", &contact)
            .replace("{contact-user}", &self.contact_user)
            .replace("{us}", US)
            .replace("{peer}", &self.peer.remote.to_string())
    }

    fn body_and_headers(&self, lines: &[&str]) -> (String, String) {
        let mut headers = String::new();
        let mut body = String::new();
        let mut in_body = false;
        for line in lines {
            let line = line.strip_prefix("  ").unwrap_or(line);
            match (in_body, line) {
                (false, "") => in_body = true,
                (false, "sdp") => {
                    headers.push_str("Content-Type: application/sdp\r\n");
                    body.push_str(OFFER);
                }
                (false, line) => headers.push_str(&format!("{}\r\n", self.filled(line))),
                (true, line) => body.push_str(&format!("{}\r\n", self.filled(line))),
            }
        }
        headers.push_str(&format!("Content-Length: {}\r\n", body.len()));
        (headers, body)
    }

    /// A response of the peer to our latest request.
    fn answer(&mut self, status: &str, lines: &[&str]) {
        let Some(request) = self.request.clone() else { self.fail("there is no request of ours") };
        let field = |name: &str| Self::header(&request, name).unwrap();
        let mut to = field("To");
        if !to.contains(";tag=") {
            to.push_str(";tag=peer");
        }
        let (headers, body) = self.body_and_headers(lines);
        let via = field("Via");
        let own_port = if self.peer.transport == Transport::Tls { 5061 } else { 5060 };
        let seen = format!("{via};received={US}").replace(";rport;", &format!(";rport={own_port};"));
        let (from, call_id, cseq) = (field("From"), field("Call-ID"), field("CSeq"));
        self.receive(&format!(
            "SIP/2.0 {status}\r\nVia: {seen}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             {headers}\r\n{body}"
        ));
    }

    /// A request of the peer; within the dialog of its latest INVITE once we have answered that.
    fn ask(&mut self, method: &str, uri: &str, lines: &[&str]) {
        let uri = self.filled(uri);
        let (headers, body) = self.body_and_headers(lines);
        self.cseq += 1;
        let number = if method == "ACK" { self.cseq - 1 } else { self.cseq };
        let has = |name: &str| headers.lines().any(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        let mut head = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bK{number}{method};rport\r\nMax-Forwards: 70\r\n",
            self.peer.transport.via_name(),
            self.peer.remote
        );
        let dialog = match (&self.response, &self.incoming, &self.request) {
            // The peer called us: our response has our tag.
            (Some(response), Some(_), _) => Some((response, "From", "To")),
            // We called the peer: its From is our To.
            (_, None, Some(request)) if self.leg.is_some() => Some((request, "To", "From")),
            _ => None,
        };
        if let Some((message, from, to)) = dialog {
            let mut from = Self::header(message, from).unwrap();
            if !from.contains(";tag=") {
                from.push_str(";tag=peer");
            }
            let to = Self::header(message, to).unwrap();
            let call_id = Self::header(message, "Call-ID").unwrap();
            head.push_str(&format!("From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"));
        } else {
            if !has("from") {
                head.push_str(&format!("From: <sip:peer@{}>;tag=peer\r\n", self.peer.remote.ip()));
            }
            if !has("to") {
                head.push_str(&format!("To: <{uri}>\r\n"));
            }
            if !has("call-id") {
                head.push_str(&format!("Call-ID: {number}@{}\r\n", self.peer.remote.ip()));
            }
        }
        head.push_str(&format!("CSeq: {number} {method}\r\n"));
        if !has("contact") && ["INVITE", "UPDATE"].contains(&method) {
            head.push_str(&format!("Contact: <sip:peer@{}>\r\n", self.peer.remote));
        }
        let text = format!("{head}{headers}\r\n{body}");
        if method == "INVITE" && self.incoming.is_none() {
            self.incoming = Some(text.clone().into_bytes());
        }
        self.receive(&text);
    }

    fn expect_sent(&mut self, what: &str, lines: &[&str]) {
        let (kind, uri) = what.split_once(' ').unwrap_or((what, ""));
        let Some(bytes) = self.sent.pop_front() else { self.fail(&format!("nothing is sent, but {what} is expected")) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Message::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e:?}\n{text}", self.name));
        let start: Vec<&str> = text.lines().next().unwrap_or_default().splitn(3, ' ').collect();
        if start[0] == "SIP/2.0" {
            if start[1] != kind {
                self.fail(&format!("we send something else than {what}:\n{text}"));
            }
            self.response = Some(bytes.clone());
        } else {
            if start[0] != kind || !(uri.is_empty() || start[1] == self.filled(uri)) {
                self.fail(&format!("we send something else than {what}:\n{text}"));
            }
            if kind != "ACK" {
                self.request = Some(bytes.clone());
            }
        }
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        for line in lines {
            let line = self.filled(line.trim());
            if let Some(name) = line.strip_suffix(" absent") {
                if Self::header(&bytes, name).is_some() {
                    self.fail(&format!("{name} is there:\n{text}"));
                }
            } else if let Some(part) = line.strip_prefix("body: ") {
                if !body.contains(part) {
                    self.fail(&format!("the body lacks `{part}`:\n{text}"));
                }
            } else if let Some((name, part)) = line.split_once(':') {
                let found = Self::header(&bytes, name);
                if found.as_ref().is_none_or(|value| !value.contains(part.trim())) {
                    self.fail(&format!("{name} is {found:?}, without `{}`:\n{text}", part.trim()));
                }
            }
        }
    }

    fn expect_event(&mut self, what: &str) {
        let (kind, detail) = what.split_once(' ').unwrap_or((what, ""));
        while let Some(event) = self.events.pop_front() {
            let found = match (&event, kind) {
                (Event::RegistrationChanged { state: RegistrationState::Registered { .. }, .. }, "registered") => true,
                (Event::RegistrationChanged { state: RegistrationState::Failed { reason, .. }, .. }, "failed") => {
                    reason.contains(detail)
                }
                (Event::IncomingCall(call), "call") => {
                    self.leg = Some(call.leg);
                    self.offer = call.sdp.clone();
                    true
                }
                (Event::IncomingCall(call), "variable") => {
                    let (name, value) = detail.split_once('=').unwrap();
                    let terms = self.plan.trunks.first().map(|trunk| &trunk.terms);
                    let terms = terms.or_else(|| self.plan.extensions.first().map(|extension| &extension.terms));
                    let is_chosen = terms.unwrap().header_variables.iter().any(|known| known == name);
                    let found = call.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                    // More variables of the same call may be asked for.
                    self.events.push_front(event.clone());
                    is_chosen && found.is_some_and(|(_, found)| found.expose().contains(value))
                }
                (Event::Answered { .. }, "answered") | (Event::Established { .. }, "established") => true,
                (Event::TransferFinished { outcome: TransferOutcome::Accepted, .. }, "transferred") => true,
                (Event::Info { content_type, .. }, "info") => content_type.contains(detail),
                (Event::Ended { cause: EndCause::Rejected { code, .. }, .. }, "rejected") => code.to_string() == detail,
                _ => false,
            };
            if found {
                return;
            }
            if kind == "variable" && matches!(event, Event::IncomingCall(_)) {
                break;
            }
        }
        self.fail(&format!("no event {what}"));
    }

    fn command(&mut self, what: &str) {
        let (verb, detail) = what.split_once(' ').unwrap_or((what, ""));
        let gateway = self.plan.trunks.first().and_then(|trunk| trunk.gateway.clone());
        let gateway = gateway.or_else(|| self.plan.extensions.first().map(|extension| extension.gateway.clone()));
        match verb {
            "register" => {
                let trunk = self.plan.trunks.first().and_then(|trunk| trunk.registration.clone());
                let plan = trunk.or_else(|| self.plan.extensions.first().map(|e| e.registration.clone()));
                let mut config = plan.expect("there is something to register").config;
                config.targets = vec![self.peer];
                self.endpoint.register(self.now, config).unwrap();
            }
            "call" => {
                let gateway = gateway.expect("there is a gateway");
                let sdp =
                    Negotiation::new(US.parse().unwrap(), 30_000, gateway.terms.media.codecs.clone(), &mut self.random)
                        .offer(Direction::SendRecv);
                let outbound = offhook::call::Outbound::to(offhook::call::Approved::by_operator(detail).unwrap());
                let invite: OutgoingInvite = outbound.invite(&gateway, vec![self.peer], sdp.into_bytes());
                self.leg = Some(self.endpoint.invite(self.now, invite).unwrap());
            }
            "answer" => {
                let codecs = Codec::G711.to_vec();
                let mut negotiation = Negotiation::new(US.parse().unwrap(), 30_000, codecs, &mut self.random);
                let sdp = match &self.offer {
                    Some(offer) => negotiation.answer(offer, Direction::SendRecv).unwrap().sdp,
                    None => negotiation.offer(Direction::SendRecv),
                };
                self.endpoint.answer(self.now, self.leg.unwrap(), sdp.into_bytes()).unwrap();
            }
            "refer" => {
                // What the call room makes of the profile, without a call around it.
                let gateway = gateway.expect("there is a way out");
                let number = gateway.terms.numbers.apply(detail);
                let target = if gateway.terms.refer_as_tel {
                    Uri::parse(format!("tel:{number}")).unwrap()
                } else {
                    gateway.domain.with_user(&number)
                };
                let mut refer = Refer::blind(target);
                if let Some(name) = &gateway.terms.context_header {
                    refer.headers.push((name.clone(), "abc".to_owned()));
                }
                if gateway.terms.refer_with_diversion {
                    let own = gateway.domain.with_user(&gateway.user);
                    refer.headers.push(("Diversion".to_owned(), format!("<{own}>;reason=deflection")));
                }
                self.endpoint.refer(self.now, self.leg.unwrap(), refer).unwrap();
            }
            "hangup" => self.endpoint.hangup(self.now, self.leg.unwrap(), &[]).unwrap(),
            "wait" => {
                let until = self.now + Duration::from_secs(detail.parse().unwrap());
                while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
                    self.now = self.now.max(at);
                    self.endpoint.handle_timeout(self.now);
                    self.pump();
                }
                self.now = until;
            }
            _ => self.fail(&format!("there is no command {what}")),
        }
        self.pump();
    }

    fn play(&mut self, text: &str) {
        assert!(text.starts_with("# Source: "), "{}: the source comes first", self.name);
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            at += 1;
            self.line = at;
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            // What is indented belongs to the step; an empty line only between two indented ones.
            let mut end = at;
            while end < lines.len()
                && (lines[end].starts_with("  ")
                    || (lines[end].is_empty() && lines.get(end + 1).is_some_and(|next| next.starts_with("  "))))
            {
                end += 1;
            }
            let more = &lines[at..end];
            at = end;
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (first, rest) {
                ("do", what) => self.command(what),
                ("event", what) => self.expect_event(what),
                ("we", what) => self.expect_sent(what.strip_prefix("send ").unwrap_or(what), more),
                ("silence", _) => {
                    if let Some(bytes) = self.sent.front() {
                        self.fail(&format!("we send:\n{}", String::from_utf8_lossy(bytes)));
                    }
                }
                ("peer", what) => {
                    if let Some(place) = what.strip_prefix("at ") {
                        let (address, transport) = place.split_once(' ').unwrap();
                        let transport = match transport {
                            "tcp" => Transport::Tcp,
                            "tls" => Transport::Tls,
                            _ => Transport::Udp,
                        };
                        self.peer = Target { transport, remote: address.parse().unwrap() };
                    } else if let Some(status) = what.strip_prefix("answers ") {
                        self.answer(status, more);
                    } else {
                        let request = what.strip_prefix("sends ").unwrap();
                        let (method, uri) = request.split_once(' ').unwrap();
                        self.ask(method, uri, more);
                    }
                }
                _ => self.fail(&format!("no step: {line}")),
            }
        }
    }
}

fn play_all(profile: &str) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(profile))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{profile} has no exchange");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        Scene::new(profile, &file.file_stem().unwrap().to_string_lossy()).play(&text);
    }
}

macro_rules! profiles {
    ($($test:ident: $profile:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                play_all($profile);
            }
        )*

        #[test]
        fn every_built_in_profile_has_exchanges() {
            let tested = [$($profile),*];
            for name in SipProfile::built_in_names() {
                assert!(tested.contains(&name), "{name}");
            }
        }
    };
}

profiles! {
    threecx_wants_its_authentication_id_in_answer_to_a_407: "3cx",
    asterisk_refreshes_sessions_and_tells_who_called: "asterisk",
    cisco_gets_early_offers_and_makes_none_itself: "cisco",
    freepbx_keeps_one_contact_and_asks_whether_we_live: "freepbx",
    freeswitch_needs_rtcp_mux_answered_and_has_session_timers: "freeswitch",
    a_generic_pbx_registers_by_its_extension_number: "generic",
    signalwire_registers_over_tls_and_refreshes_by_update: "signalwire",
    telnyx_wants_diversion_in_transfers: "telnyx",
    twilio_takes_no_register_and_transfers_to_tel_numbers: "twilio",
    vonage_numbers_have_no_plus_and_the_caller_is_asserted: "vonage",
    yeastar_sees_the_same_user_agent_always: "yeastar",
}

#[test]
fn carriers_are_heard_at_their_published_networks_and_nowhere_else() {
    for (profile, inside, outside) in [
        ("twilio", "54.172.60.3", "54.172.60.4"),
        ("telnyx", "185.246.41.141", "185.246.41.142"),
        ("vonage", "216.147.5.2", "216.147.5.3"),
    ] {
        let profile = SipProfile::built_in(profile).unwrap();
        let holds = |ip: &str| {
            profile.source_networks.iter().any(|network| network.contains(&ip.parse::<std::net::IpAddr>().unwrap()))
        };
        assert!(holds(inside) && !holds(outside), "{}", profile.name);
    }
}

#[test]
fn who_has_no_registrations_is_not_registered_with() {
    for profile in ["twilio", "vonage"] {
        assert!(plan_of(profile).trunks[0].registration.is_none(), "{profile}");
        assert!(!SipProfile::built_in(profile).unwrap().takes_registrations, "{profile}");
    }
}

#[test]
fn a_secure_trunk_offers_keys_and_refuses_plain_media() {
    let text = "[[trunk]]\nname = \"t\"\nagent = \"echo\"\nprofile = \"twilio\"\noverrides = { srtp = \"required\" }\n";
    let config = Config::parse(Path::new("o.toml"), text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let plan = server_plan(&config).unwrap();
    let terms = plan.trunks[0].terms.media.stream(true);
    let mut ours = Negotiation::new(US.parse().unwrap(), 30_000, terms, &mut Random::seeded(1));
    let offer = ours.offer(Direction::SendRecv);
    assert!(offer.contains("RTP/SAVP") && offer.contains("AES_CM_128_HMAC_SHA1_80 inline:"), "{offer}");
    let plain = offer.lines().filter(|line| !line.starts_with("a=crypto")).collect::<Vec<_>>().join("\r\n");
    let refused = ours.answer(plain.replace("RTP/SAVP", "RTP/AVP").as_bytes(), Direction::SendRecv).unwrap_err();
    assert_eq!(refused.sip_status(), 488);
}
