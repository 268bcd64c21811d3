//! One call's signalling as its caller: INVITE, ACK, BYE or CANCEL, and the answers to what the far side asks.
//!
//! Pure: datagrams and time go in, datagrams and an [`Outcome`] come out. Much lighter than [`crate::sip::Endpoint`],
//! and not to be taken for it: one UDP hop, no forking (the first 200 is the call), no session timer of its own.

use super::figures::Failure;
use super::limits::{ANSWER, GOODBYE, RINGING, T1, T2};
use super::sounds::{Codec, PACKET_MS};
use crate::base::Random;
use crate::sip::digest::{Challenge, Credentials, answer};
use crate::sip::{HeaderName, HeaderValue, Message, Method, Request, Response, StatusCode, Uri};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Answers to a challenge before it counts as a refusal: one, and one more for a nonce that was too old.
const ATTEMPTS: u32 = 2;

/// What all calls of a run have in common.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whom to call.
    pub to: Uri,
    /// Who calls.
    pub from: Uri,
    /// Our SIP address.
    pub sip: SocketAddr,
    /// The codec that is offered, the only one.
    pub codec: Codec,
    /// What to answer a challenge with.
    pub credentials: Option<Credentials>,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is up: audio goes there.
    Answered(SocketAddr),
    /// It failed. If it was up, it is over.
    Failed(Failure),
    /// The far side hung up.
    HungUp,
    /// We hung up, and the far side agreed.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// INVITE sent.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// 200 and ACK.
    Up,
    /// BYE sent.
    Ending,
    /// CANCEL sent, or wanted as soon as a provisional response comes.
    Cancelling,
    /// Nothing more to do but to confirm what is said again.
    Over,
}

/// One call.
#[derive(Debug)]
pub struct Dialog {
    state: State,
    call_id: String,
    tag: String,
    audio: SocketAddr,
    /// The To header, with the far side's tag once it is known.
    to: HeaderValue,
    /// Where requests within the call are addressed.
    target: Uri,
    routes: Vec<HeaderValue>,
    cseq: u32,
    invite_cseq: u32,
    authorization: Option<(HeaderName, HeaderValue)>,
    attempts: u32,
    deadline: Instant,
    resend: Option<(Instant, Duration)>,
    /// The request that is sent again.
    pending: Vec<u8>,
    /// The ACK of the 200, for a 200 that comes again.
    ack: Vec<u8>,
}

impl Dialog {
    /// A call that sends audio from `audio`; the datagram to send is added to `out`. `id` is unique.
    #[must_use]
    pub fn invite(identity: &Identity, id: &str, audio: SocketAddr, now: Instant, out: &mut Vec<Vec<u8>>) -> Self {
        let mut this = Self {
            state: State::Calling,
            call_id: id.to_owned(),
            tag: id.replace('@', "-"),
            audio,
            to: HeaderValue::name_addr(None, &identity.to, &[]),
            target: identity.to.to_request_uri(),
            routes: Vec::new(),
            cseq: 1,
            invite_cseq: 1,
            authorization: None,
            attempts: 0,
            deadline: now + ANSWER,
            resend: None,
            pending: Vec::new(),
            ack: Vec::new(),
        };
        this.send_invite(identity, now, out);
        this
    }

    /// Its Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether audio flows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether nothing is expected any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Up | State::Over => None,
            _ => Some(self.resend.map_or(self.deadline, |(at, _)| at.min(self.deadline))),
        }
    }

    /// Ends the call: BYE when it is up, CANCEL while it is not.
    pub fn hang_up(&mut self, identity: &Identity, now: Instant, out: &mut Vec<Vec<u8>>) {
        match self.state {
            State::Up => {
                self.state = State::Ending;
                self.cseq += 1;
                let request = self.request(identity, Method::Bye, self.cseq);
                self.send_again_and_again(request.write(), now, out);
                self.deadline = now + GOODBYE;
            }
            State::Proceeding => {
                self.cancel(identity, out);
                self.deadline = now + GOODBYE;
            }
            State::Calling => {
                self.state = State::Cancelling;
                self.deadline = now + GOODBYE;
            }
            State::Ending | State::Cancelling | State::Over => {}
        }
    }

    /// Sends again what was not answered; gives up in the end. True as the second part when something was sent again.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> (Option<Outcome>, bool) {
        if matches!(self.state, State::Up | State::Over) {
            return (None, false);
        }
        if now >= self.deadline {
            let failure = if self.state == State::Ending { Failure::NoGoodbye } else { Failure::NoAnswer };
            // A call that was to be cancelled before anybody answered has not failed.
            let outcome = if self.state == State::Cancelling { Outcome::Closed } else { Outcome::Failed(failure) };
            self.state = State::Over;
            return (Some(outcome), false);
        }
        match &mut self.resend {
            Some((at, interval)) if now >= *at => {
                *interval *= 2;
                if self.state == State::Ending {
                    *interval = (*interval).min(T2);
                }
                *at = now + *interval;
                out.push(self.pending.clone());
                (None, true)
            }
            _ => (None, false),
        }
    }

    /// A response of the far side.
    pub fn handle_response(
        &mut self,
        identity: &Identity,
        random: &mut Random,
        now: Instant,
        message: &Message<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Outcome> {
        let status = message.status()?;
        let cseq = message.cseq().ok()?;
        match (&cseq.method, self.state) {
            (Method::Bye, State::Ending) if status.is_final() => {
                self.state = State::Over;
                Some(Outcome::Closed)
            }
            (Method::Invite, _) if cseq.number != self.invite_cseq => {
                // The final response to an INVITE before the challenge, once more.
                None
            }
            (Method::Invite, State::Up | State::Ending) if status.is_success() => {
                // Our ACK was lost.
                out.push(self.ack.clone());
                None
            }
            (Method::Invite, State::Calling | State::Proceeding) if status.is_provisional() => {
                self.state = State::Proceeding;
                self.resend = None;
                self.deadline = now + RINGING;
                None
            }
            (Method::Invite, State::Cancelling) if status.is_provisional() => {
                if self.resend.take().is_some() {
                    self.cancel(identity, out);
                }
                None
            }
            (Method::Invite, State::Calling | State::Proceeding | State::Cancelling) if status.is_success() => {
                self.accept(identity, now, message, out)
            }
            (Method::Invite, State::Calling | State::Proceeding | State::Cancelling | State::Over)
                if status.is_final() && !status.is_success() =>
            {
                self.refused(identity, random, now, status, message, out)
            }
            _ => None,
        }
    }

    /// A request of the far side within the call; the response is added to `out`.
    pub fn handle_request(
        &mut self,
        identity: &Identity,
        message: &Message<'_>,
        source: SocketAddr,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Outcome> {
        let method = message.method()?;
        if *method == Method::Ack {
            return None;
        }
        let mut response = Response::to_request(message, StatusCode::OK, source, Some(&self.tag));
        if matches!(method, Method::Invite | Method::Update) && !message.body().is_empty() {
            response = response.with_body(HeaderValue::cleaned("application/sdp"), self.description(identity));
        }
        if matches!(method, Method::Invite | Method::Update) {
            response.headers.push(HeaderName::Contact, contact(identity));
        }
        out.push(response.write());
        if *method == Method::Bye && matches!(self.state, State::Up | State::Ending) {
            let outcome = if self.state == State::Up { Outcome::HungUp } else { Outcome::Closed };
            self.state = State::Over;
            return Some(outcome);
        }
        None
    }

    fn send_invite(&mut self, identity: &Identity, now: Instant, out: &mut Vec<Vec<u8>>) {
        let mut request = self.request(identity, Method::Invite, self.invite_cseq);
        request.headers.push(HeaderName::Contact, contact(identity));
        request.headers.push(HeaderName::Allow, HeaderValue::cleaned("INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"));
        if let Some((name, value)) = &self.authorization {
            request.headers.push(*name, value.clone());
        }
        let request = request.with_body(HeaderValue::cleaned("application/sdp"), self.description(identity));
        self.send_again_and_again(request.write(), now, out);
    }

    fn send_again_and_again(&mut self, datagram: Vec<u8>, now: Instant, out: &mut Vec<Vec<u8>>) {
        out.push(datagram.clone());
        self.pending = datagram;
        self.resend = Some((now + T1, T1));
    }

    fn cancel(&mut self, identity: &Identity, out: &mut Vec<Vec<u8>>) {
        self.state = State::Cancelling;
        self.resend = None;
        out.push(self.request(identity, Method::Cancel, self.invite_cseq).write());
    }

    fn accept(
        &mut self,
        identity: &Identity,
        now: Instant,
        message: &Message<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Outcome> {
        self.resend = None;
        if let Some(to) = message.value(HeaderName::To) {
            self.to = HeaderValue::echo(to);
        }
        if let Ok(Some(contact)) = message.contact()
            && let Ok(uri) = contact.uri()
        {
            self.target = uri.to_owned();
        }
        self.routes = message.elements(HeaderName::RecordRoute).map(HeaderValue::echo).collect();
        self.routes.reverse();
        let was_cancelled = self.state == State::Cancelling;
        self.state = State::Up;
        self.cseq = self.invite_cseq;
        let mut ack = self.request(identity, Method::Ack, self.invite_cseq);
        if let Some((name, value)) = &self.authorization {
            ack.headers.push(*name, value.clone());
        }
        self.ack = ack.write();
        out.push(self.ack.clone());
        if was_cancelled {
            self.hang_up(identity, now, out);
            return None;
        }
        match audio_address(message.body()) {
            Some(audio) => Some(Outcome::Answered(audio)),
            None => {
                self.hang_up(identity, now, out);
                Some(Outcome::Failed(Failure::NoAudio))
            }
        }
    }

    fn refused(
        &mut self,
        identity: &Identity,
        random: &mut Random,
        now: Instant,
        status: StatusCode,
        message: &Message<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Option<Outcome> {
        let asked = self.to.clone();
        if let Some(to) = message.value(HeaderName::To) {
            self.to = HeaderValue::echo(to);
        }
        // The ACK of a refusal is part of the INVITE's transaction: same branch, same Request-URI (RFC 3261 §17.1.1.3).
        out.push(self.request_in(identity, Method::Ack, self.invite_cseq, self.invite_cseq).write());
        self.to = asked;
        if self.state == State::Over {
            return None;
        }
        self.resend = None;
        if self.state == State::Cancelling {
            self.state = State::Over;
            return Some(Outcome::Closed);
        }
        let challenge = Challenge::strongest(message).filter(|(_, c)| self.attempts == 0 || c.stale);
        if let (Some((authority, challenge)), Some(credentials)) = (challenge, &identity.credentials)
            && self.attempts < ATTEMPTS
        {
            self.attempts += 1;
            let body = self.description(identity);
            let (uri, cnonce) = (self.target.as_str().to_owned(), random.hex(16));
            let value = answer(&challenge, credentials, &Method::Invite, &uri, &body, 1, &cnonce);
            self.authorization = Some((authority.credentials_header(), value));
            self.invite_cseq += 1;
            self.state = State::Calling;
            self.deadline = now + ANSWER;
            self.send_invite(identity, now, out);
            return None;
        }
        self.state = State::Over;
        Some(Outcome::Failed(Failure::Status(status.code(), message.reason_phrase().into_owned())))
    }

    fn request(&self, identity: &Identity, method: Method, cseq: u32) -> Request {
        // A CANCEL belongs to its INVITE's transaction; the ACK of a 200 and a BYE are their own.
        let branch = if method == Method::Cancel { self.invite_cseq } else { cseq };
        self.request_in(identity, method, cseq, branch)
    }

    fn request_in(&self, identity: &Identity, method: Method, cseq: u32, branch: u32) -> Request {
        let is_in_dialog = matches!(self.state, State::Up | State::Ending);
        let kind = match method {
            Method::Ack if is_in_dialog => "a",
            Method::Bye => "b",
            _ => "i",
        };
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bK{kind}{branch}{};rport", identity.sip, self.tag);
        let cseq = format!("{cseq} {method}");
        let mut request = Request::new(method, self.target.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, HeaderValue::cleaned(&via));
        headers.push(HeaderName::MaxForwards, HeaderValue::cleaned("70"));
        for route in &self.routes {
            headers.push(HeaderName::Route, route.clone());
        }
        headers.push(HeaderName::From, HeaderValue::name_addr(None, &identity.from, &[("tag", Some(&self.tag))]));
        headers.push(HeaderName::To, self.to.clone());
        headers.push(HeaderName::CallId, HeaderValue::cleaned(&self.call_id));
        headers.push(HeaderName::CSeq, HeaderValue::cleaned(&cseq));
        headers.push(HeaderName::UserAgent, HeaderValue::cleaned(concat!("offhook-load/", env!("CARGO_PKG_VERSION"))));
        request
    }

    /// The offer, and the answer to a re-INVITE: one codec, 20 ms.
    fn description(&self, identity: &Identity) -> Vec<u8> {
        let (ip, port) = (self.audio.ip(), self.audio.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let (payload_type, rtpmap) = (identity.codec.payload_type(), identity.codec.rtpmap());
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {payload_type}\r\n\
             a=rtpmap:{payload_type} {rtpmap}\r\na=ptime:{PACKET_MS}\r\na=sendrecv\r\n"
        )
        .into_bytes()
    }
}

fn contact(identity: &Identity) -> HeaderValue {
    HeaderValue::name_addr(None, &Uri::sip_address(identity.sip).with_user("load"), &[])
}

/// Where the first audio stream of a description wants its packets; `None` when it takes none.
fn audio_address(description: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(description).ok()?;
    let (mut session, mut media, mut port) = (None, None, None);
    for line in text.lines().map(str::trim_end) {
        if let Some(stream) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            let mut words = stream.split(' ');
            if words.next() == Some("audio") {
                port = words.next()?.split('/').next()?.parse::<u16>().ok();
            }
        } else if let Some(address) = line.strip_prefix("c=IN IP4 ").or_else(|| line.strip_prefix("c=IN IP6 ")) {
            let address = address.split('/').next()?.parse::<IpAddr>().ok();
            if port.is_some() { media = address } else { session = address }
        }
    }
    let port = port.filter(|port| *port > 0)?;
    Some(SocketAddr::new(media.or(session)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Caller {
        identity: Identity,
        dialog: Dialog,
        out: Vec<Vec<u8>>,
        now: Instant,
        random: Random,
    }

    const SDP: &str =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    impl Caller {
        fn new(credentials: Option<Credentials>) -> Self {
            let identity = Identity {
                to: Uri::parse("sip:echo@192.0.2.9").unwrap(),
                from: Uri::parse("sip:load@192.0.2.1").unwrap(),
                sip: "192.0.2.1:5060".parse().unwrap(),
                codec: Codec::Pcmu,
                credentials,
            };
            let (now, mut out) = (Instant::now(), Vec::new());
            let dialog = Dialog::invite(&identity, "1@load", "192.0.2.1:4000".parse().unwrap(), now, &mut out);
            Self { identity, dialog, out, now, random: Random::seeded(1) }
        }

        /// What was sent since it was last asked.
        fn sent(&mut self) -> Vec<String> {
            self.out.drain(..).map(|datagram| String::from_utf8(datagram).unwrap()).collect()
        }

        fn hears(&mut self, status: &str, request: &str, more: &str, body: &str) -> Option<Outcome> {
            let copied: String = request
                .lines()
                .take_while(|line| !line.is_empty())
                .filter(|line| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
                .map(|line| format!("{line}\r\n"))
                .collect();
            let text = format!(
                "SIP/2.0 {status}\r\n{copied}To: <sip:echo@192.0.2.9>;tag=far\r\n{more}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let message = Message::parse(text.as_bytes()).unwrap();
            self.dialog.handle_response(&self.identity, &mut self.random, self.now, &message, &mut self.out)
        }

        fn answered(&mut self) -> String {
            let invite = self.sent().remove(0);
            let contact =
                "Contact: <sip:far@192.0.2.10:5070>\r\nRecord-Route: <sip:b.example;lr>, <sip:a.example;lr>\r\n";
            let outcome = self.hears("200 OK", &invite, contact, SDP);
            assert_eq!(outcome, Some(Outcome::Answered("192.0.2.9:4000".parse().unwrap())));
            invite
        }
    }

    #[test]
    fn a_call_is_invited_acknowledged_and_hung_up_along_its_route() {
        let mut caller = Caller::new(None);
        let invite = caller.answered();
        assert!(invite.starts_with("INVITE sip:echo@192.0.2.9 SIP/2.0\r\n"), "{invite}");
        assert!(invite.contains("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20"), "{invite}");
        let ack = caller.sent().remove(0);
        assert!(ack.starts_with("ACK sip:far@192.0.2.10:5070 SIP/2.0\r\n"), "{ack}");
        let (a, b) = (ack.find("a.example").unwrap(), ack.find("b.example").unwrap());
        assert!(a < b && ack.contains("tag=far"), "{ack}");
        let branch = |text: &str| text.split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        assert_ne!(branch(&ack), branch(&invite), "the ACK of a 200 is its own transaction");
        // The ACK was lost.
        assert_eq!(caller.hears("200 OK", &invite, "", SDP), None);
        assert_eq!(caller.sent(), [ack]);
        caller.dialog.hang_up(&caller.identity, caller.now, &mut caller.out);
        let bye = caller.sent().remove(0);
        assert!(bye.starts_with("BYE sip:far@192.0.2.10:5070 SIP/2.0\r\n") && bye.contains("CSeq: 2 BYE"), "{bye}");
        assert_eq!(caller.hears("200 OK", &bye, "", ""), Some(Outcome::Closed));
        assert!(caller.dialog.is_over() && caller.dialog.timeout().is_none());
    }

    #[test]
    fn an_invite_is_sent_again_at_growing_intervals_until_it_rings_and_gives_up_in_the_end() {
        let mut caller = Caller::new(None);
        let invite = caller.sent().remove(0);
        let start = caller.now;
        let mut again = Vec::new();
        while again.len() < 4 {
            caller.now = caller.dialog.timeout().unwrap();
            assert!(caller.dialog.handle_timeout(caller.now, &mut caller.out).1);
            again.push((caller.now - start).as_millis());
        }
        assert_eq!(again, [500, 1_500, 3_500, 7_500]);
        assert!(caller.sent().iter().all(|text| *text == invite));
        assert_eq!(caller.hears("180 Ringing", &invite, "", ""), None);
        let end = caller.dialog.timeout().unwrap();
        assert_eq!(end - caller.now, RINGING);
        let (outcome, _) = caller.dialog.handle_timeout(end, &mut caller.out);
        assert_eq!(outcome, Some(Outcome::Failed(Failure::NoAnswer)));
    }

    #[test]
    fn a_refusal_is_acknowledged_in_its_transaction_and_names_its_code() {
        let mut caller = Caller::new(None);
        let invite = caller.sent().remove(0);
        let outcome = caller.hears("503 Service Unavailable", &invite, "", "");
        assert_eq!(outcome, Some(Outcome::Failed(Failure::Status(503, "Service Unavailable".into()))));
        let ack = caller.sent().remove(0);
        let via = |text: &str| text.lines().find(|line| line.starts_with("Via:")).unwrap().to_owned();
        assert!(ack.starts_with("ACK sip:echo@192.0.2.9 ") && via(&ack) == via(&invite), "{ack}");
        // Said again, it is acknowledged again and counted once.
        assert_eq!(caller.hears("503 Service Unavailable", &invite, "", ""), None);
        assert_eq!(caller.sent(), [ack]);
    }

    #[test]
    fn a_challenge_is_answered_once() {
        let mut caller = Caller::new(Some(Credentials::new("alice", "secret")));
        let first = caller.sent().remove(0);
        let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
        assert_eq!(caller.hears("401 Unauthorized", &first, challenge, ""), None);
        let [ack, second] = caller.sent().try_into().unwrap();
        assert!(ack.starts_with("ACK ") && second.contains("CSeq: 2 INVITE"), "{second}");
        assert!(second.contains("Authorization: Digest username=\"alice\", realm=\"pbx\""), "{second}");
        // The refusal of the first INVITE, once more, refuses nothing.
        assert_eq!(caller.hears("401 Unauthorized", &first, challenge, ""), None);
        assert!(matches!(
            caller.hears("401 Unauthorized", &second, challenge, ""),
            Some(Outcome::Failed(Failure::Status(401, _)))
        ));
    }

    #[test]
    fn a_call_that_rings_is_cancelled_and_has_not_failed() {
        let mut caller = Caller::new(None);
        let invite = caller.sent().remove(0);
        caller.hears("180 Ringing", &invite, "", "");
        caller.dialog.hang_up(&caller.identity, caller.now, &mut caller.out);
        let cancel = caller.sent().remove(0);
        let via = |text: &str| text.lines().find(|line| line.starts_with("Via:")).unwrap().to_owned();
        assert!(cancel.starts_with("CANCEL ") && via(&cancel) == via(&invite), "{cancel}");
        assert_eq!(caller.hears("487 Request Terminated", &invite, "", ""), Some(Outcome::Closed));
    }

    #[test]
    fn the_far_sides_bye_and_options_are_answered() {
        let mut caller = Caller::new(None);
        caller.answered();
        caller.sent();
        let request = |method: &str| {
            format!(
                "{method} sip:load@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                 From: <sip:echo@192.0.2.9>;tag=far\r\nTo: <sip:load@192.0.2.1>;tag=1-load\r\nCall-ID: 1@load\r\n\
                 CSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        for (method, outcome) in [("OPTIONS", None), ("BYE", Some(Outcome::HungUp)), ("BYE", None)] {
            let text = request(method);
            let message = Message::parse(text.as_bytes()).unwrap();
            let source = "192.0.2.9:5060".parse().unwrap();
            let found = caller.dialog.handle_request(&caller.identity, &message, source, &mut caller.out);
            assert_eq!(found, outcome, "{method}");
            assert!(caller.sent().remove(0).starts_with("SIP/2.0 200 OK"), "{method}");
        }
    }

    #[test]
    fn an_answer_without_audio_is_hung_up() {
        for body in ["", "v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 0 RTP/AVP 0\r\n", "m=video 5 RTP/AVP 31\r\n"] {
            let mut caller = Caller::new(None);
            let invite = caller.sent().remove(0);
            assert_eq!(caller.hears("200 OK", &invite, "", body), Some(Outcome::Failed(Failure::NoAudio)));
            assert!(caller.sent().iter().any(|text| text.starts_with("BYE ")));
        }
        assert_eq!(
            audio_address(b"c=IN IP4 192.0.2.1\r\nm=video 7 RTP/AVP 31\r\nm=audio 8/2 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\nm=audio 9 RTP/AVP 0\r\n"),
            Some("[2001:db8::1]:8".parse().unwrap())
        );
    }
}
