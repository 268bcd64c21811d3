//! The shell around a [`Session`]: one task per session that owns its connection, and the handle that feeds it.

use super::protocol::RealtimeVendor;
use super::session::{Deadlines, Session, Wish};
use super::{
    AnswerId, Patience, RealtimeCapabilities, RealtimeEvent, RealtimeRequest, RealtimeSession, RealtimeStream,
    SpeechToSpeech,
};
use crate::base::Pii;
use crate::base::chat::ToolSpec;
use crate::providers::exchange::Exchange;
use crate::providers::inbox::{Inbox, Input, Taken};
use crate::providers::limits::{LAST_TRY, PATIENCE, VOICE_PATIENCE};
use crate::providers::network::Network;
use crate::providers::socket::Socket;
use crate::providers::wire::{Handshake, Request};
use crate::providers::{Meter, ProviderError, ProviderName, Settings};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

/// Events in the call's receiver. Few, so that an interruption leaves little void audio behind.
const EVENTS: usize = 32;
/// Events that wait because the call does not read: minutes of speech. Beyond that the session is given up.
const EVENTS_WAITING: usize = 8_192;
/// Pushed audio that the task has not taken yet: two seconds of 20 ms frames. The oldest goes first.
const FRAMES_WAITING: usize = 100;

/// A vendor behind the trait of the call.
pub struct Realtime {
    vendor: Arc<dyn RealtimeVendor>,
    name: ProviderName,
    capabilities: RealtimeCapabilities,
    deadlines: Deadlines,
    patience: Patience,
    network: Network,
    meter: Arc<Meter>,
    places: Arc<Semaphore>,
    concurrency: usize,
}

impl Realtime {
    /// With the deadlines and the concurrency of `settings`.
    pub fn new(
        vendor: impl RealtimeVendor,
        capabilities: RealtimeCapabilities,
        settings: &Settings,
        network: &Network,
    ) -> Self {
        // The deadlines are where a vendor fails by itself; it has company before that.
        let session = settings.connect_timeout.min(settings.patience(VOICE_PATIENCE));
        let (answer, last_try) = (settings.patience(PATIENCE), settings.patience(LAST_TRY));
        let patience = Patience { session, answer, last_try };
        Self {
            vendor: Arc::new(vendor),
            name: settings.name.clone(),
            capabilities,
            deadlines: Deadlines::from(settings),
            patience,
            network: network.clone(),
            meter: Arc::default(),
            places: Arc::new(Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS))),
            concurrency: settings.concurrency,
        }
    }
}

impl SpeechToSpeech for Realtime {
    fn name(&self) -> ProviderName {
        self.name.clone()
    }

    fn capabilities(&self) -> RealtimeCapabilities {
        self.capabilities.clone()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.meter))
    }

    fn patience(&self) -> Option<Patience> {
        Some(self.patience)
    }

    fn reports_speech(&self) -> bool {
        self.vendor.reports_speech()
    }

    fn open(&self, request: RealtimeRequest) -> Result<RealtimeSession, ProviderError> {
        let fail = |error: ProviderError| {
            self.meter.failed(&error);
            error
        };
        let busy = |_| fail(ProviderError::Busy { provider: self.name.clone(), waiting: self.concurrency });
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let (vendor, meter) = (Arc::clone(&self.vendor), Arc::clone(&self.meter));
        let session = Session::new(self.name.clone(), vendor, self.deadlines, meter, request).map_err(fail)?;
        self.meter.began();
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared { inbox: Inbox::new(FRAMES_WAITING), void: AtomicU32::new(0) });
        let task = Task {
            name: self.name.clone(),
            network: self.network.clone(),
            connect: self.deadlines.connect,
            session,
            meter: Arc::clone(&self.meter),
            shared: Arc::clone(&shared),
            events,
            waiting: VecDeque::new(),
            socket: None,
            opening: None,
            _place: place,
        };
        tokio::spawn(task.run());
        Ok((Box::new(Handle { shared }), receiver))
    }
}

/// What the call says beside its audio.
enum Control {
    Commit,
    Interrupt(AnswerId, Duration),
    Result { call: String, tool: String, content: Pii<String>, failed: bool },
    Update { instructions: String, tools: Vec<ToolSpec> },
    Tell(Pii<String>),
    Probe,
}

/// Between the handle and the task.
struct Shared {
    inbox: Inbox<Control>,
    /// Answers up to this one are void already, whatever the task still does.
    void: AtomicU32,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

impl RealtimeStream for Handle {
    fn push(&mut self, samples: &[i16]) {
        self.shared.inbox.push(samples);
    }
    fn commit(&mut self) {
        self.shared.inbox.put(Control::Commit);
    }
    fn interrupt(&mut self, answer: AnswerId, heard: Duration) {
        self.shared.void.fetch_max(answer.0, Ordering::AcqRel);
        self.shared.inbox.put(Control::Interrupt(answer, heard));
    }
    fn tool_result(&mut self, call: &str, tool: &str, content: &str, failed: bool) {
        let (call, tool, content) = (call.to_owned(), tool.to_owned(), Pii::new(content.to_owned()));
        self.shared.inbox.put(Control::Result { call, tool, content, failed });
    }
    fn update(&mut self, instructions: &str, tools: &[ToolSpec]) {
        self.shared.inbox.put(Control::Update { instructions: instructions.to_owned(), tools: tools.to_vec() });
    }
    fn probe(&mut self) {
        self.shared.inbox.put(Control::Probe);
    }
    fn tell(&mut self, text: &str) {
        self.shared.inbox.put(Control::Tell(Pii::new(text.to_owned())));
    }
}

enum Opened {
    Fetched(Result<Vec<u8>, ProviderError>),
    Connected(Result<Box<Socket>, ProviderError>),
}

type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;

struct Task {
    name: ProviderName,
    network: Network,
    connect: Duration,
    session: Session,
    meter: Arc<Meter>,
    shared: Arc<Shared>,
    events: mpsc::Sender<RealtimeEvent>,
    /// Events that the receiver has no room for.
    waiting: VecDeque<RealtimeEvent>,
    socket: Option<Socket>,
    opening: Option<Opening>,
    _place: OwnedSemaphorePermit,
}

impl Task {
    async fn run(mut self) {
        let started = Instant::now();
        loop {
            let now = started.elapsed();
            if self.shared.inbox.is_closed() || self.events.is_closed() {
                self.session.goodbye(now);
                self.perform(now);
                return;
            }
            self.take(now);
            self.perform(now);
            self.collect();
            if self.session.is_over() {
                return self.deliver_rest().await;
            }
            if self.waiting.len() > EVENTS_WAITING {
                let reason = "nobody reads its events".to_owned();
                self.session.give_up(ProviderError::Failed { provider: self.name.clone(), reason });
                continue;
            }
            let due = self.session.poll_timeout().map(|at| started + at);
            tokio::select! {
                biased;
                () = self.shared.inbox.stirred() => {}
                () = self.events.closed() => {}
                permit = self.events.reserve(), if !self.waiting.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.waiting.pop_front()) {
                        permit.send(event);
                    }
                }
                opened = async { match &mut self.opening { Some(opening) => opening.await, None => pending().await } } => {
                    self.opening = None;
                    let now = started.elapsed();
                    match opened {
                        Opened::Fetched(answer) => self.session.fetched(now, answer),
                        Opened::Connected(Ok(socket)) => {
                            self.socket = Some(*socket);
                            self.session.connected(now, Ok(()));
                        }
                        Opened::Connected(Err(error)) => self.session.connected(now, Err(error)),
                    }
                }
                message = async { match &mut self.socket { Some(socket) => socket.hear().await, None => pending().await } } => {
                    let now = started.elapsed();
                    match message {
                        Ok(Some(frame)) => self.session.received(now, frame),
                        Ok(None) => self.session.alive(),
                        Err(closed) => {
                            self.socket = None;
                            self.session.disconnected(now, &closed);
                        }
                    }
                }
                () = async { match due { Some(at) => sleep_until(at).await, None => pending().await } } => {
                    self.session.timeout(started.elapsed());
                }
            }
        }
    }

    /// What the call has pushed meanwhile.
    fn take(&mut self, now: Duration) {
        let Taken { inputs, lost, .. } = self.shared.inbox.take();
        if lost > 0 {
            self.meter.dropped(lost);
            tracing::warn!(provider = %self.name, lost, "session_inputs_lost");
        }
        for input in inputs {
            match input {
                Input::Audio(samples) => self.session.push(now, &samples),
                Input::Control(Control::Commit) => self.session.commit(now),
                Input::Control(Control::Interrupt(answer, heard)) => self.session.interrupt(now, answer, heard),
                Input::Control(Control::Result { call, tool, content, failed }) => {
                    self.session.tool_result(now, &call, &tool, content.expose(), failed);
                }
                Input::Control(Control::Update { instructions, tools }) => {
                    self.session.update(now, &instructions, &tools)
                }
                Input::Control(Control::Tell(text)) => self.session.tell(now, text.expose()),
                Input::Control(Control::Probe) => self.session.probe(now),
            }
        }
        self.shared.inbox.rest(self.session.appetite());
    }

    fn perform(&mut self, now: Duration) {
        while let Some(wish) = self.session.poll_wish() {
            match wish {
                Wish::Fetch(request) => self.opening = Some(self.fetch(request)),
                Wish::Connect(handshake) => self.opening = Some(self.open(handshake)),
                Wish::Send(frame) => {
                    if let Some(Err(error)) = self.socket.as_mut().map(|socket| socket.queue(frame)) {
                        self.socket = None;
                        self.session.failed(now, error);
                    }
                }
                Wish::Ping => {
                    if let Some(Err(error)) = self.socket.as_mut().map(Socket::ping) {
                        self.socket = None;
                        self.session.failed(now, error);
                    }
                }
                Wish::Close(code) => {
                    if let Some(socket) = self.socket.take() {
                        socket.close(code);
                    }
                }
                Wish::Drop => {
                    self.socket = None;
                    self.opening = None;
                }
            }
        }
    }

    /// Takes the session's events over and hands out those that fit.
    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.waiting.push_back(event);
        }
        let void = self.shared.void.load(Ordering::Acquire);
        while let Some(event) = self.waiting.front() {
            let is_void = match event {
                RealtimeEvent::Audio { answer, .. } | RealtimeEvent::AudioEnded { answer } => {
                    answer.0 <= void || self.session.is_void(*answer)
                }
                _ => false,
            };
            if !is_void {
                let Ok(permit) = self.events.try_reserve() else { return };
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            } else {
                self.waiting.pop_front();
            }
        }
    }

    /// The last events of a session that has failed.
    async fn deliver_rest(mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    fn fetch(&self, request: Request) -> Opening {
        let (name, network, limit) = (self.name.clone(), self.network.clone(), self.connect);
        Box::pin(async move {
            let fetched = match Exchange::begin(name.clone(), &network, &request, limit).await {
                Ok(Ok(exchange)) => exchange.whole(limit).await,
                Ok(Err(refusal)) => Err(refusal.into_error(name)),
                Err(error) => Err(error),
            };
            Opened::Fetched(fetched)
        })
    }

    fn open(&self, handshake: Handshake) -> Opening {
        let (name, network, limit) = (self.name.clone(), self.network.clone(), self.connect);
        Box::pin(async move { Opened::Connected(Socket::open(name, &network, &handshake, limit).await.map(Box::new)) })
    }
}
