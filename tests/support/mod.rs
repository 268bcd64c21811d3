//! Engines without models and a server on loopback, for tests of whole calls. Every wait is for an event.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod bot;

use offhook::agent::Agent;
use offhook::base::{Pii, Random, TurnId};
use offhook::call::bot::{BotSetup, BotSurroundings};
use offhook::call::{
    AgentSetup, CallEvent, DigitsBy, Engines, EventStream, Gateway, Line, LineError, LineEvent, PeerTerms, Program,
};
use offhook::cli::server::{Server, ServerPlan, TrunkPlan};
use offhook::media::{LegEvent, LegMode, MediaConfig, Workers};
use offhook::net::{self, Arrival, Inbox, Sip};
use offhook::providers::embed::Embeddings;
use offhook::providers::format::AudioFormat;
use offhook::providers::{
    Embedder, ProviderError, ProviderName, SegmentId, SpeakRequest, SpeechStream, SpeechToText, SttCapabilities,
    SttEvent, SttRequest, SttStream, TextToSpeech, TtsCapabilities, TtsChunk, VoiceDetector, VoiceStream, VoiceVerdict,
    WordMark,
};
use offhook::sdp::Codec;
use offhook::sip::event::{IncomingCall, Party};
use offhook::sip::{DialogPolicy, EndpointConfig, KnownPeer, OutgoingInvite, Transport, Uri};
use offhook::tools::{CallBudget, Egress, EgressPolicy, HttpTools, SystemResolver, ToolSet};
use offhook::turn::TurnSettings;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Longest wait for anything in a test: far above what it takes, so that a loaded machine does not fail it.
pub const PATIENCE: Duration = Duration::from_secs(20);
const BUSY: ProviderError = ProviderError::Busy { provider: ProviderName::Borrowed("fake"), waiting: 1 };

/// Speech-to-text that "hears" the next line of a script at each finished segment.
#[derive(Default)]
pub struct ScriptedStt {
    lines: Arc<Mutex<VecDeque<(String, f32)>>>,
    pub busy: AtomicBool,
}

struct ScriptedStream {
    lines: Arc<Mutex<VecDeque<(String, f32)>>>,
    heard: Option<(SegmentId, (String, f32))>,
    events: mpsc::Sender<SttEvent>,
}

impl SpeechToText for ScriptedStt {
    fn name(&self) -> ProviderName {
        "scripted".into()
    }
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::pcm(8_000)],
            partials: false,
            end_of_turn: false,
            timestamps: false,
            detects_language: false,
            languages: &[],
        }
    }
    fn open(&self, _: SttRequest) -> Result<(Box<dyn SttStream>, mpsc::Receiver<SttEvent>), ProviderError> {
        if self.busy.load(Ordering::Relaxed) {
            return Err(BUSY);
        }
        let (events, receiver) = mpsc::channel(16);
        Ok((Box::new(ScriptedStream { lines: Arc::clone(&self.lines), heard: None, events }), receiver))
    }
}

impl SttStream for ScriptedStream {
    fn push(&mut self, _: &[i16]) {}
    fn start(&mut self, _: SegmentId) {}
    fn finish(&mut self, segment: SegmentId) {
        if self.heard.as_ref().is_none_or(|(s, _)| *s != segment) {
            let line = self.lines.lock().unwrap().pop_front().unwrap_or_default();
            self.heard = Some((segment, line));
        }
        let Some((_, (text, confidence))) = self.heard.clone() else { return };
        let event =
            SttEvent::Final { segment, text: Pii::new(text), confidence, audio: Duration::ZERO, took: Duration::ZERO };
        let _ = self.events.try_send(event);
    }
    fn discard(&mut self) {
        self.heard = None;
    }
}

/// Text-to-speech that hums 40 ms per character, and remembers what it was asked for.
#[derive(Default)]
pub struct HummingTts {
    pub busy: AtomicBool,
    pub asked: Mutex<Vec<SpeakRequest>>,
}

impl TextToSpeech for HummingTts {
    fn name(&self) -> ProviderName {
        "humming".into()
    }
    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: vec![AudioFormat::pcm(8_000)],
            word_timestamps: true,
            cancel: true,
            wants_speakable_text: false,
            languages: &[],
        }
    }
    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        if self.busy.load(Ordering::Relaxed) {
            return Err(BUSY);
        }
        self.asked.lock().unwrap().push(request.clone());
        let per_character = request.rate.samples_in_ms(40);
        let samples = hum(request.text.chars().count() * per_character);
        let marks = request
            .text
            .match_indices(' ')
            .map(|(at, _)| WordMark { text_end: at, sample_end: at * per_character })
            .collect();
        let (sender, receiver) = mpsc::channel(1);
        let _ = sender.try_send(Ok(TtsChunk { samples, marks, took: Duration::ZERO }));
        Ok(receiver)
    }
}

/// A voice-like 200 Hz tone with harmonics and syllables.
pub fn hum(samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|i| {
            let t = i as f64 / 8_000.0;
            let tone: f64 =
                (1..=8).map(|h| (t * 200.0 * f64::from(h) * std::f64::consts::TAU).sin() / f64::from(h)).sum();
            (tone * 4_000.0 * (0.7 + 0.3 * (t * 4.0 * std::f64::consts::TAU).sin())) as i16
        })
        .collect()
}

struct NoEmbedder;

impl Embedder for NoEmbedder {
    fn embed(&self, texts: Vec<String>) -> Result<Embeddings, ProviderError> {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(Ok(texts.iter().map(|_| vec![1.0, 0.0]).collect()));
        Ok(receiver)
    }
}

/// Voice by level.
struct LevelVoice;

struct LevelStream(u64);

impl VoiceDetector for LevelVoice {
    fn open(&self) -> Result<Box<dyn VoiceStream>, ProviderError> {
        Ok(Box::new(LevelStream(0)))
    }
}

impl VoiceStream for LevelStream {
    fn push(&mut self, samples: &[i16], gate_open: bool) -> Option<VoiceVerdict> {
        self.0 += samples.len() as u64;
        let loud = samples.iter().any(|s| s.unsigned_abs() > 500);
        let probability = if loud { 0.95 } else { 0.02 };
        gate_open.then_some(VoiceVerdict { probability, windows: 1, until_sample: self.0 })
    }
}

/// A server whose engines are scripted.
pub struct TestServer {
    pub server: Server,
    pub stt: Arc<ScriptedStt>,
    pub tts: Arc<HummingTts>,
    pub events: broadcast::Receiver<CallEvent>,
    pub programs: HashMap<String, Program>,
}

impl TestServer {
    /// Serves `agent_yaml` to every caller on loopback; `heard` is what speech-to-text will hear, in order.
    pub async fn start(agent_yaml: &str, heard: &[&str], policy: EgressPolicy) -> Self {
        Self::start_with(agent_yaml, heard, policy, |_| ()).await
    }

    /// The same with another plan: the first trunk is the agent's, the second the echo's.
    pub async fn start_with(
        agent_yaml: &str,
        heard: &[&str],
        policy: EgressPolicy,
        change: impl FnOnce(&mut ServerPlan),
    ) -> Self {
        Self::start_thinking(agent_yaml, heard, policy, |_| (), change).await
    }

    /// The same where bots are trusted by these authorities (PEM) beside the system's.
    pub async fn start_trusting(authorities: &[u8], agent_yaml: &str, policy: EgressPolicy) -> Self {
        Self::start_by(authorities, agent_yaml, &[], policy, |_| (), |_| ()).await
    }

    /// The same with other engines.
    pub async fn start_thinking(
        agent_yaml: &str,
        heard: &[&str],
        policy: EgressPolicy,
        equip: impl FnOnce(&mut Engines),
        change: impl FnOnce(&mut ServerPlan),
    ) -> Self {
        Self::start_by(&[], agent_yaml, heard, policy, equip, change).await
    }

    async fn start_by(
        authorities: &[u8],
        agent_yaml: &str,
        heard: &[&str],
        policy: EgressPolicy,
        equip: impl FnOnce(&mut Engines),
        change: impl FnOnce(&mut ServerPlan),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        std::fs::write(&file, agent_yaml).unwrap();
        let agent = Arc::new(Agent::load(&file, &[]).unwrap_or_else(|e| panic!("{e}")));
        let stt = Arc::new(ScriptedStt::default());
        stt.lines.lock().unwrap().extend(heard.iter().map(|h| ((*h).to_owned(), 0.9)));
        let tts = Arc::new(HummingTts::default());
        let mut engines = Engines {
            stt: Arc::clone(&stt) as _,
            llm: None,
            realtime: None,
            tts: Arc::clone(&tts) as _,
            embedder: Arc::new(NoEmbedder),
            voice: Arc::new(LevelVoice),
            exemplars: Arc::default(),
        };
        equip(&mut engines);
        let surroundings = BotSurroundings {
            policy: policy.clone(),
            resolver: Arc::new(SystemResolver),
            extra_roots: authorities,
            environment: &|name| (name == "BOT_KEY").then(|| "12345".to_owned()),
            voice: Some((Arc::clone(&tts) as _, 1.0)),
        };
        let bot = BotSetup::new(Arc::clone(&agent), surroundings).await.unwrap_or_else(|e| panic!("{e}"));
        let tool_set = ToolSet::new(&agent.tools, &policy, &|_| None).unwrap();
        let egress = Egress::new(policy, Arc::new(SystemResolver), &[]).unwrap();
        let setup = Arc::new(AgentSetup {
            agent,
            tool_set: Arc::new(tool_set),
            tools: Arc::new(HttpTools::new(Arc::new(egress), Random::system())),
            turn: TurnSettings::default(),
            speed: 1.0,
            header_variables: Vec::new(),
            time_zone: jiff::tz::TimeZone::UTC,
            budget: CallBudget::default(),
            spare_line: hum(8_000).into(),
        });
        let program = bot.map_or_else(|| Program::Agent(setup, engines), |bot| Program::Bot(Arc::new(bot)));
        let programs = HashMap::from([("test".to_owned(), program), ("echo".to_owned(), Program::Echo)]);
        let trunk =
            |name: &str, net: &str| TrunkPlan::by_source(name, vec![net.parse().unwrap()], name, PeerTerms::default());
        let listen = vec![net::Listen::udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))];
        let mut plan = ServerPlan::new(listen, loopback_media());
        plan.trunks = vec![trunk("test", "127.0.0.1/32"), trunk("echo", "127.0.0.2/32")];
        change(&mut plan);
        let server = Server::start(plan, &programs, EventStream::default()).await.unwrap();
        let events = server.events.subscribe();
        Self { server, stt, tts, events, programs }
    }

    /// Waits for an event that `pick` takes.
    pub async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&CallEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = self.events.recv().await.ok().as_ref().and_then(&mut pick) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no event: {what}"))
    }

    /// Waits for the end of a call, which did what it was for.
    pub async fn completes(&mut self) {
        let completed = self.event("the end", |event| match event {
            CallEvent::CallEnded { completed, reason, .. } => Some((*completed, reason.clone())),
            _ => None,
        });
        let (completed, reason) = completed.await;
        assert!(completed, "{reason}");
    }
}

pub fn loopback_media() -> MediaConfig {
    MediaConfig { bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), workers: 1, ..MediaConfig::default() }
}

/// A phone on loopback.
pub struct Phone {
    pub line: Line,
    pub sip: Sip,
    workers: Arc<Workers>,
    turn: TurnId,
    /// All that was heard by [`Self::pass_frame`], once it is wanted.
    pub heard: Option<Vec<i16>>,
}

fn workers_at(ip: IpAddr) -> Arc<Workers> {
    let media = MediaConfig { bind_ip: ip, ..loopback_media() };
    Arc::new(Workers::start(media, Random::system()).unwrap())
}

impl Phone {
    /// Calls the server from `ip`.
    pub async fn call(server: &Server, ip: [u8; 4]) -> Result<Self, LineError> {
        let mut phone = Self::dial(server, ip, |_| ()).await?;
        phone.line.answered().await?;
        Ok(phone)
    }

    /// Begins to call the server from `ip`; `change` may alter the INVITE.
    pub async fn dial(
        server: &Server,
        ip: [u8; 4],
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Result<Self, LineError> {
        Self::dial_at(server.sip.local_addr(), ip, change).await
    }

    /// The same with a server that is known by its address alone.
    pub async fn dial_at(
        target: SocketAddr,
        ip: [u8; 4],
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Result<Self, LineError> {
        let (sip, _inbox) = net::start_udp(SocketAddr::from((ip, 0)), Random::system(), |s| EndpointConfig::udp(s, s))?;
        Self::dial_from(sip, workers_at(ip.into()), target, change).await
    }

    async fn dial_from(
        sip: Sip,
        workers: Arc<Workers>,
        target: SocketAddr,
        change: impl FnOnce(&mut OutgoingInvite),
    ) -> Result<Self, LineError> {
        let own = Uri::sip_address(sip.local_addr()).with_user("phone");
        let ip = sip.local_addr().ip();
        let line = Line::place(&sip, ip, &workers, &Codec::G711, LegMode::Agent, &mut Random::system(), |offer| {
            let uri = Uri::sip_address(target).with_user("agent");
            let mut invite = OutgoingInvite::new(uri, target, Party { display: None, uri: own }, offer);
            change(&mut invite);
            invite
        })
        .await?;
        Ok(Self { line, sip, workers, turn: TurnId::NONE, heard: None })
    }

    /// Begins a second call of this phone, to `target`.
    pub async fn dial_also(&self, target: SocketAddr) -> Self {
        self.try_dial_also(target).await.unwrap()
    }

    /// The same where this phone's own media may be too late for one more call.
    pub async fn try_dial_also(&self, target: SocketAddr) -> Result<Self, LineError> {
        Self::dial_from(self.sip.clone(), Arc::clone(&self.workers), target, |_| ()).await
    }

    /// Waits for the next event of the line that `pick` takes.
    pub async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&LineEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                match self.line.next().await {
                    Some(event) => {
                        if let Some(found) = pick(&event) {
                            return found;
                        }
                        assert!(!matches!(event, LineEvent::Ended(_)), "no {what}, but {event:?}");
                    }
                    None => {
                        while self.line.media.events.try_pop().is_some() {}
                        while self.line.media.uplink.try_pop().is_some() {}
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no event: {what}"))
    }

    /// Sends a key in one of the ways there are.
    pub fn press(&mut self, key: char, way: DigitsBy) {
        match way {
            DigitsBy::Rfc4733 => self.line.media.send_digit(key).unwrap(),
            DigitsBy::Inband => self.line.media.send_tone(key).unwrap(),
            DigitsBy::Info => {
                let (leg, body) = (self.line.leg, format!("Signal={key}\r\nDuration=160\r\n"));
                self.sip.post(move |endpoint, now| {
                    endpoint.info(now, leg, "application/dtmf-relay", body.into_bytes()).unwrap();
                });
            }
        }
    }

    /// Passes what there is and says which key was in it, by the line's own way of keys.
    pub async fn next_key(&mut self) -> Option<char> {
        if let Some(event) = self.line.next().await {
            return if let LineEvent::Digit(key) = event { Some(key) } else { None };
        }
        let mut key = None;
        while let Some(event) = self.line.media.events.try_pop() {
            key = match event {
                LegEvent::Digit(digit) if self.line.takes_event_keys() => Some(digit),
                _ => key,
            };
        }
        while let Some(frame) = self.line.media.uplink.try_pop() {
            let tone = self.line.key_in(&frame);
            key = key.or(tone);
        }
        key
    }

    /// Whether nothing audible comes for this long. What was under way when it began does not count.
    pub async fn hears_nothing_for(&mut self, span: Duration) -> bool {
        let (mut quiet_since, deadline) = (Instant::now(), Instant::now() + PATIENCE);
        while quiet_since.elapsed() < span {
            let _ = tokio::time::timeout(span / 4, self.line.next()).await;
            while self.line.media.events.try_pop().is_some() {}
            while let Some(frame) = self.line.media.uplink.try_pop() {
                if frame.level_dbfs > -50.0 {
                    quiet_since = Instant::now();
                }
            }
            if Instant::now() > deadline {
                return false;
            }
        }
        true
    }

    /// Speaks (hums) for `milliseconds` and returns when the last sample has been queued and heard by the line.
    pub async fn speak(&mut self, milliseconds: usize) {
        self.play(&hum(milliseconds * 8)).await;
    }

    /// Plays samples and returns when the last of them has been sent.
    pub async fn play(&mut self, samples: &[i16]) {
        self.turn = self.turn.next();
        let mut sent = 0;
        while sent < samples.len() {
            sent += self.line.media.downlink.push(self.turn, &samples[sent..]);
            self.pass_frame().await;
        }
        self.line.media.downlink.end_of_turn(self.turn);
        while (self.line.media.downlink.played(self.turn) as usize) < samples.len() {
            self.pass_frame().await;
        }
    }

    /// Waits for the next frame of the agent's side and says how loud it was.
    pub async fn pass_frame(&mut self) -> f32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while self.line.media.events.try_pop().is_some() {}
            if let Some(frame) = self.line.media.uplink.try_pop() {
                if let Some(heard) = &mut self.heard {
                    heard.extend_from_slice(frame.samples.samples());
                }
                return frame.level_dbfs;
            }
            assert!(Instant::now() < deadline, "no audio came");
            match tokio::time::timeout(PATIENCE, self.line.next()).await {
                Ok(Some(LineEvent::Ended(cause))) => panic!("the call ended: {cause:?}"),
                Ok(_) => {}
                Err(_) => panic!("no audio came"),
            }
        }
    }

    /// Keeps this phone's audio moving until `work` is done.
    pub async fn while_talking<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = self.pass_frame() => {}
            }
        }
    }

    /// Waits until the agent has been audible (`true`) or silent (`false`) for `frames` frames.
    pub async fn wait_for(&mut self, audible: bool, frames: usize) {
        let (deadline, mut run) = (Instant::now() + PATIENCE, 0);
        while run < frames {
            run = if (self.pass_frame().await > -50.0) == audible { run + 1 } else { 0 };
            assert!(Instant::now() < deadline, "the agent never was {}", if audible { "audible" } else { "silent" });
        }
    }

    /// Waits for the end of the call.
    pub async fn ended(&mut self) -> offhook::sip::event::EndCause {
        let wait = async {
            loop {
                match self.line.next().await {
                    Some(LineEvent::Ended(cause)) => return cause,
                    Some(_) => {}
                    None => {
                        while self.line.media.events.try_pop().is_some() {}
                        while self.line.media.uplink.try_pop().is_some() {}
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the call goes on")
    }
}

/// A phone that is called.
pub struct Desk {
    pub sip: Sip,
    inbox: Inbox,
    workers: Arc<Workers>,
}

/// A call that rings at a desk.
pub struct RingingPhone {
    pub call: Box<IncomingCall>,
    pub phone: Phone,
}

impl Desk {
    /// Waits for calls at `ip`, on a port of its own.
    pub fn open(ip: [u8; 4]) -> Self {
        let policy = DialogPolicy { accept_refer: true, accept_replaces: true, ..DialogPolicy::default() };
        let anyone = KnownPeer { dialog: policy, ..KnownPeer::by_source("any", vec!["127.0.0.0/8".parse().unwrap()]) };
        let (sip, inbox) = net::start_udp(SocketAddr::from((ip, 0)), Random::system(), |s| EndpointConfig {
            known_peers: vec![anyone],
            ..EndpointConfig::udp(s, s)
        })
        .unwrap();
        Self { sip, inbox, workers: workers_at(ip.into()) }
    }

    /// How a server reaches it.
    pub fn gateway(&self, name: &str, terms: PeerTerms) -> Gateway {
        Gateway::back_to(name, Transport::Udp, self.sip.local_addr(), "main", terms)
    }

    /// The next call; nothing but 100 was answered.
    pub async fn ringing(&mut self) -> RingingPhone {
        let arrival = tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("nobody calls");
        let Some(Arrival::Call(call, events)) = arrival else { panic!("{arrival:?}") };
        let mut random = Random::system();
        let line =
            Line::prepare(&self.sip, &call, events, &self.workers, &Codec::G711, LegMode::Agent, &mut random).unwrap();
        let phone =
            Phone { line, sip: self.sip.clone(), workers: Arc::clone(&self.workers), turn: TurnId::NONE, heard: None };
        RingingPhone { call, phone }
    }

    /// Calls `target` from here.
    pub async fn dial(&self, target: SocketAddr, change: impl FnOnce(&mut OutgoingInvite)) -> Phone {
        Phone::dial_from(self.sip.clone(), Arc::clone(&self.workers), target, change).await.unwrap()
    }
}

impl RingingPhone {
    /// Takes the call.
    pub async fn answer(mut self) -> Phone {
        self.phone.line.pick_up().await.unwrap();
        self.phone
    }

    /// Refuses it.
    pub fn refuse(&self, code: u16) {
        let leg = self.phone.line.leg;
        self.phone.sip.post(move |endpoint, now| endpoint.reject(now, leg, code, &[]).unwrap());
    }

    /// The value of a header of the INVITE.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.call.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.expose().clone())
    }
}
