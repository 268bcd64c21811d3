//! Our own side of a call in this process: the rooms `net`, `media` and `call` without an agent, so that a test says
//! and hears what it wants and sees what the peer does.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use offhook::{
    base::{Random, TurnId},
    call::{DigitsBy, Line, LineEvent, MediaTerms, line::describe},
    media::{LegEvent, LegMode, LegStats, MediaConfig, Workers},
    net::{self, Arrival, ClientTls, Destination, Inbox, Listen, ServerTls, Sip, TlsIdentity},
    sdp::Codec,
    sip::{DialogPolicy, EndpointConfig, KnownPeer, LegId, LocalAddress, OutgoingInvite, Transport, Uri, event::Party},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::support::{Asterisk, Bench, pause};

/// A SIP side on the bench's address 20, port 5060, of TLS 5061: the far end of Asterisk's lines.
pub struct Own {
    pub sip: Sip,
    inbox: Inbox,
    workers: Workers,
    ip: IpAddr,
    dialog: DialogPolicy,
}

impl Own {
    /// Opens it. Calls are taken from the PBX at `pbx`; `dialog` is what calls may do in either direction.
    pub fn open(bench: &Bench, pbx: SocketAddr, dialog: DialogPolicy) -> Self {
        Self::listen(bench, pbx, dialog, Listen::udp(SocketAddr::new(bench.address(20).into(), 5060)))
    }

    /// The same by TCP, or by TLS with a certificate that the PBX's authority has signed.
    pub fn open_by(bench: &Bench, asterisk: &Asterisk, transport: Transport) -> Self {
        let identity = TlsIdentity { certificate_file: asterisk.key("good.crt"), key_file: asterisk.key("good.key") };
        let is_tls = transport == Transport::Tls;
        let listen = Listen {
            transport,
            address: SocketAddr::new(bench.address(20).into(), if is_tls { 5061 } else { 5060 }),
            tls: is_tls.then_some(ServerTls { identity, client_ca_file: None }),
        };
        Self::listen(bench, asterisk.socket(), DialogPolicy::default(), listen)
    }

    fn listen(bench: &Bench, pbx: SocketAddr, dialog: DialogPolicy, listen: Listen) -> Self {
        let ip = IpAddr::from(bench.address(20));
        let known = KnownPeer { dialog, ..KnownPeer::by_source("pbx", vec![pbx.ip().into()]) };
        let (sip, inbox) = net::start(&[listen], Random::system(), |bound| {
            let Listen { transport, address: socket, .. } = *bound.first().expect("one socket is open");
            let local = LocalAddress { transport, socket, advertised: socket, for_peers: Vec::new() };
            EndpointConfig { known_peers: vec![known], local: vec![local], ..EndpointConfig::udp(socket, socket) }
        })
        .expect("the socket opens");
        let media = MediaConfig { bind_ip: ip, workers: 1, ..MediaConfig::default() };
        let workers = Workers::start(media, Random::system()).expect("the workers start");
        Self { sip, inbox, workers, ip, dialog }
    }

    /// Calls `number` at `pbx` as `user`, which is the line that Asterisk takes us for, and waits for the answer. An
    /// error says in words why there is none.
    pub async fn dial(&self, pbx: SocketAddr, number: &str, user: &str) -> Result<Conversation, String> {
        self.dial_with(pbx, number, user, |_| ()).await
    }

    /// The same by `transport`, over TLS with the PBX's certificate verified.
    pub async fn dial_by(
        &self,
        asterisk: &Asterisk,
        transport: Transport,
        number: &str,
    ) -> Result<Conversation, String> {
        self.dial_as(asterisk, transport, number, "4711", (&Codec::G711).into()).await
    }

    /// The same as `user`, with media by these terms.
    pub async fn dial_as(
        &self,
        asterisk: &Asterisk,
        transport: Transport,
        number: &str,
        user: &str,
        terms: MediaTerms,
    ) -> Result<Conversation, String> {
        let tls = ClientTls { ca_file: Some(asterisk.key("ca.crt")), ..ClientTls::default() };
        let pbx = Destination {
            host: asterisk.socket().ip().to_string(),
            port: Some(if transport == Transport::Tls { 5061 } else { 5060 }),
            transport: Some(transport),
            tls: Some(Arc::new(tls)),
        };
        let targets = self.sip.locate(&pbx).await.map_err(|error| error.to_string())?;
        let change = |invite: &mut OutgoingInvite| invite.targets = targets;
        answered(self.place_by(asterisk.socket(), number, user, DigitsBy::default(), terms, change).await)
    }

    /// The same to a peer that takes keys in this way.
    pub async fn dial_with_keys(
        &self,
        pbx: SocketAddr,
        number: &str,
        user: &str,
        keys: DigitsBy,
    ) -> Result<Conversation, String> {
        answered(self.place_with_keys(pbx, number, user, keys, |_| ()).await)
    }

    /// The same with `change` applied to the INVITE.
    pub async fn dial_with(
        &self,
        pbx: SocketAddr,
        number: &str,
        user: &str,
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Result<Conversation, String> {
        answered(self.place(pbx, number, user, change).await)
    }

    /// Places a call; what happens before its answer is among its events.
    pub async fn place(
        &self,
        pbx: SocketAddr,
        number: &str,
        user: &str,
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Conversation {
        self.place_with_keys(pbx, number, user, DigitsBy::default(), change).await
    }

    async fn place_with_keys(
        &self,
        pbx: SocketAddr,
        number: &str,
        user: &str,
        keys: DigitsBy,
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Conversation {
        self.place_by(pbx, number, user, keys, (&Codec::G711).into(), change).await
    }

    async fn place_by(
        &self,
        pbx: SocketAddr,
        number: &str,
        user: &str,
        keys: DigitsBy,
        terms: MediaTerms,
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Conversation {
        let from = Party { display: None, uri: Uri::sip_address(self.sip.local_addr()).with_user(user) };
        let target = Uri::sip_address(pbx).with_user(number);
        let prepare = |offer| {
            let mut invite = OutgoingInvite::new(target, pbx, from, offer);
            invite.dialog = self.dialog;
            change(&mut invite);
            invite
        };
        let mut random = Random::system();
        let line = Line::place(&self.sip, self.ip, &self.workers, terms, LegMode::Agent, &mut random, prepare).await;
        Conversation::begin(line.expect("the call can be placed").with_digits(keys))
    }

    /// Waits for the next call, lets it ring for half a second and answers it.
    pub async fn ring_and_answer(&mut self) -> Conversation {
        self.take(true, DigitsBy::default()).await
    }

    /// Waits for the next call and answers it.
    pub async fn answer(&mut self) -> Conversation {
        self.take(false, DigitsBy::default()).await
    }

    /// The same from a peer that sends keys in this way.
    pub async fn answer_with_keys(&mut self, keys: DigitsBy) -> Conversation {
        self.take(false, keys).await
    }

    async fn take(&mut self, ring: bool, keys: DigitsBy) -> Conversation {
        loop {
            let arrival = timeout(Duration::from_secs(15), self.inbox.recv()).await.expect("a call comes in time");
            let Some(Arrival::Call(call, events)) = arrival else { continue };
            if ring {
                let leg = call.leg;
                self.sip.post(move |endpoint, now| endpoint.ring(now, leg).expect("the call is there"));
                pause(Duration::from_millis(500));
            }
            let mut random = Random::system();
            let line =
                Line::answer(&self.sip, &call, events, &self.workers, &Codec::G711, LegMode::Agent, &mut random).await;
            return Conversation::begin(line.expect("the call can be answered").with_digits(keys));
        }
    }
}

/// Waits until a call is answered, or says why it is not.
#[track_caller]
fn answered(call: Conversation) -> Result<Conversation, String> {
    call.wait_until(Duration::from_secs(20), "an answer", |call| {
        call.events().iter().any(|e| matches!(e, LineEvent::Answered(_) | LineEvent::Ended(_)))
    });
    match call.events().pop() {
        Some(LineEvent::Ended(cause)) => Err(describe(&cause)),
        _ => Ok(call),
    }
}

type Wish = Box<dyn FnOnce(&mut Line) + Send>;

#[derive(Default)]
struct Happened {
    heard: Vec<i16>,
    events: Vec<LineEvent>,
    digits: String,
    stats: LegStats,
    rate: u32,
}

/// A call that is up: it goes on by itself, keeps what is heard and does what it is told.
pub struct Conversation {
    pub leg: LegId,
    wishes: mpsc::UnboundedSender<Wish>,
    speech: mpsc::UnboundedSender<Vec<i16>>,
    happened: Arc<Mutex<Happened>>,
    task: JoinHandle<()>,
}

impl Conversation {
    /// Lets a call that is up go on by itself.
    pub fn begin(mut line: Line) -> Self {
        let leg = line.leg;
        let (wishes, mut wished) = mpsc::unbounded_channel::<Wish>();
        let (speech, mut spoken) = mpsc::unbounded_channel::<Vec<i16>>();
        let happened = Arc::new(Mutex::new(Happened::default()));
        let seen = Arc::clone(&happened);
        let task = tokio::spawn(async move {
            let mut left = Vec::new();
            loop {
                let event = tokio::select! {
                    event = line.next() => event,
                    Some(wish) = wished.recv() => { wish(&mut line); continue; }
                    Some(more) = spoken.recv() => { left.extend(more); None }
                };
                let mut seen = seen.lock().expect("no test thread panicked with it");
                while let Some(event) = line.media.events.try_pop() {
                    if let LegEvent::Digit(digit) = event
                        && line.takes_event_keys()
                    {
                        seen.digits.push(digit);
                    }
                }
                while let Some(frame) = line.media.uplink.try_pop() {
                    seen.digits.extend(line.key_in(&frame));
                    seen.heard.extend_from_slice(frame.samples.samples());
                }
                let taken = line.media.downlink.push(TurnId(1), &left);
                left.drain(..taken);
                seen.stats = line.media.stats();
                seen.rate = line.media.sample_rate().0;
                if let Some(LineEvent::Digit(digit)) = event {
                    seen.digits.push(digit);
                }
                if let Some(event) = event {
                    let over = matches!(event, LineEvent::Ended(_));
                    seen.events.push(event);
                    if over {
                        break;
                    }
                }
            }
        });
        Self { leg, wishes, speech, happened, task }
    }

    /// Says this after what it has still to say.
    pub fn say(&self, samples: &[i16]) {
        // A call that has ended says nothing.
        let _ = self.speech.send(samples.to_vec());
    }

    /// Runs `wish` on the line.
    pub fn wish(&self, wish: impl FnOnce(&mut Line) + Send + 'static) {
        assert!(self.wishes.send(Box::new(wish)).is_ok(), "the call is up");
    }

    /// Sends keys as agreed with the peer.
    pub fn press(&self, digits: &'static str) {
        self.wish(move |line| {
            for digit in digits.chars() {
                line.press(digit);
            }
        });
    }

    /// Hangs up; [`Self::ended`] waits for the rest.
    pub fn hang_up(&self) {
        let _ = self.wishes.send(Box::new(|line| line.hang_up()));
    }

    /// What was heard since the last time this was asked.
    pub fn take_heard(&self) -> Vec<i16> {
        std::mem::take(&mut self.happened().heard)
    }

    /// Keys that came, in whatever way.
    pub fn digits(&self) -> String {
        self.happened().digits.clone()
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<LineEvent> {
        self.happened().events.clone()
    }

    /// Samples of what is said and heard per sample at 8 kHz, from the answer on.
    pub fn factor(&self) -> usize {
        self.happened().rate as usize / 8_000
    }

    /// Counters of the media leg.
    pub fn stats(&self) -> LegStats {
        self.happened().stats
    }

    fn happened(&self) -> std::sync::MutexGuard<'_, Happened> {
        self.happened.lock().expect("the call's task lives")
    }

    /// Lets the call go on until `condition` holds.
    #[track_caller]
    pub fn wait_until(&self, limit: Duration, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < limit, "waited {limit:?} for: {what}; happened: {:?}", self.events());
            pause(Duration::from_millis(50));
        }
    }

    /// Waits for the end of the call.
    pub async fn ended(self) -> Vec<LineEvent> {
        timeout(Duration::from_secs(40), self.task).await.expect("the call ends in time").expect("the task is whole");
        let happened = self.happened.lock().expect("nobody else has it");
        happened.events.clone()
    }
}
