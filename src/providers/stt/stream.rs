//! A vendor as [`SpeechToText`]: one task per call between the call, the [`Session`] and the [`Socket`].

use super::limits::{EVENTS, EVENTS_KEPT, FLUSH_TIMEOUT, INBOX_PIECES};
use super::protocol::SttVendor;
use super::session::{Output, Session, Terms};
use crate::base::{SampleRate, SegmentId};
use crate::providers::inbox::{Inbox, Input, Taken};
use crate::providers::limits::GOODBYE;
use crate::providers::socket::Socket;
use crate::providers::wire::{Closed, Frame};
use crate::providers::{
    Meter, Network, ProviderError, ProviderName, Settings, SpeechToText, SttCapabilities, SttEvent, SttRequest,
    SttStream,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// A vendor over WebSocket. One value serves all calls.
pub struct VendorSpeechToText {
    terms: Terms,
    connect_timeout: Duration,
    vendor: Arc<dyn SttVendor>,
    network: Network,
    meter: Arc<Meter>,
    places: Arc<Semaphore>,
    concurrency: usize,
}

impl VendorSpeechToText {
    /// A vendor as it is configured. Opens no connection.
    pub fn new(settings: &Settings, network: &Network, vendor: impl SttVendor) -> Self {
        let terms = Terms {
            name: settings.name.clone(),
            connect_timeout: settings.connect_timeout,
            stall_timeout: settings.stall_timeout,
            flush_timeout: FLUSH_TIMEOUT.min(settings.first_timeout),
        };
        Self {
            terms,
            connect_timeout: settings.connect_timeout,
            vendor: Arc::new(vendor),
            network: network.clone(),
            meter: Arc::default(),
            places: Arc::new(Semaphore::new(settings.concurrency)),
            concurrency: settings.concurrency,
        }
    }
}

impl SpeechToText for VendorSpeechToText {
    fn name(&self) -> ProviderName {
        self.terms.name.clone()
    }

    fn capabilities(&self) -> SttCapabilities {
        self.vendor.capabilities()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.meter))
    }

    fn open(&self, request: SttRequest) -> Result<(Box<dyn SttStream>, mpsc::Receiver<SttEvent>), ProviderError> {
        let provider = self.name();
        let permit = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| ProviderError::Busy { provider: provider.clone(), waiting: self.concurrency })
            .inspect_err(|error| self.meter.failed(error))?;
        let now = Instant::now().into_std();
        let rate = request.rate;
        let session = Session::new(self.terms.clone(), Arc::clone(&self.vendor), request, now)
            .map_err(|error| ProviderError::BadRequest { provider: provider.clone(), reason: error.to_string() })?;
        let inbox = Arc::new(Inbox::new(INBOX_PIECES));
        let (events, receiver) = mpsc::channel(EVENTS);
        let task = Task {
            session,
            rate,
            inbox: Arc::clone(&inbox),
            events,
            meter: Arc::clone(&self.meter),
            network: self.network.clone(),
            provider,
            connect_timeout: self.connect_timeout,
            socket: None,
            opening: None,
            _permit: permit,
        };
        tokio::spawn(task.run());
        Ok((Box::new(Stream { inbox }), receiver))
    }
}

/// What the call says beside its audio.
enum Control {
    Start(SegmentId),
    Finish(SegmentId),
    Discard,
    Expect(Vec<String>),
}

struct Stream {
    inbox: Arc<Inbox<Control>>,
}

impl SttStream for Stream {
    fn push(&mut self, samples: &[i16]) {
        self.inbox.push(samples);
    }

    fn start(&mut self, segment: SegmentId) {
        self.inbox.put(Control::Start(segment));
    }

    fn finish(&mut self, segment: SegmentId) {
        self.inbox.put(Control::Finish(segment));
    }

    fn discard(&mut self) {
        self.inbox.put(Control::Discard);
    }

    fn expect(&mut self, phrases: &[String]) {
        self.inbox.put(Control::Expect(phrases.to_vec()));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Socket, ProviderError>> + Send>>;

struct Task {
    session: Session,
    /// Of the samples that are pushed.
    rate: SampleRate,
    inbox: Arc<Inbox<Control>>,
    events: mpsc::Sender<SttEvent>,
    meter: Arc<Meter>,
    network: Network,
    provider: ProviderName,
    connect_timeout: Duration,
    socket: Option<Socket>,
    opening: Option<Opening>,
    /// A place of the key; free again when the vendor has been left.
    _permit: OwnedSemaphorePermit,
}

impl Task {
    async fn run(mut self) {
        while self.obey().await {
            let due = self.session.poll_timeout().map(Instant::from_std);
            tokio::select! {
                () = self.inbox.stirred() => {
                    if !self.read_inbox() {
                        break;
                    }
                }
                frame = next(self.socket.as_mut()) => {
                    let now = Instant::now().into_std();
                    match frame {
                        Ok(frame) => self.session.received(frame, now),
                        Err(closed) => {
                            self.socket = None;
                            self.session.closed(&closed, now);
                        }
                    }
                }
                opened = opened(self.opening.as_mut()) => {
                    self.opening = None;
                    let now = Instant::now().into_std();
                    match opened {
                        Ok(socket) => {
                            self.meter.connected();
                            self.socket = Some(socket);
                            self.session.opened(now);
                        }
                        Err(error) => {
                            self.meter.failed(&error);
                            self.session.broken(error, now);
                        }
                    }
                }
                () = sleep_until(due) => self.session.timeout(Instant::now().into_std()),
                () = self.events.closed() => break,
            }
        }
        self.leave().await;
    }

    /// False when the call has left.
    fn read_inbox(&mut self) -> bool {
        let Taken { inputs, lost, closed } = self.inbox.take();
        if lost > 0 {
            self.meter.dropped(lost);
            tracing::warn!(provider = %self.provider, pieces = lost, "speech_to_text_audio_dropped");
        }
        let now = Instant::now().into_std();
        for input in inputs {
            match input {
                Input::Audio(samples) => self.session.push(&samples, now, &self.meter.conversions),
                Input::Control(Control::Start(segment)) => {
                    self.meter.began();
                    self.session.start(segment, now);
                }
                Input::Control(Control::Finish(segment)) => self.session.finish(segment, now),
                Input::Control(Control::Discard) => self.session.discard(now),
                Input::Control(Control::Expect(phrases)) => self.session.expect(phrases),
            }
        }
        let appetite = u32::try_from(self.session.appetite().as_millis()).unwrap_or(u32::MAX);
        self.inbox.rest(self.rate.samples_in_ms(appetite));
        !closed
    }

    /// Does what the session wants. False when it has stopped or nobody listens.
    async fn obey(&mut self) -> bool {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open(handshake) => {
                    let (provider, network, limit) =
                        (self.provider.clone(), self.network.clone(), self.connect_timeout);
                    self.socket = None;
                    self.opening =
                        Some(Box::pin(async move { Socket::open(provider, &network, &handshake, limit).await }));
                }
                Output::Send(frame) => {
                    if let Some(Err(error)) = self.socket.as_mut().map(|socket| socket.queue(frame)) {
                        self.socket = None;
                        self.meter.failed(&error);
                        self.session.broken(error, Instant::now().into_std());
                    }
                }
                Output::Close(code) => {
                    if let Some(socket) = self.socket.take() {
                        socket.close(code);
                    }
                }
                Output::Leave => {
                    if let Some(socket) = self.socket.take() {
                        tokio::spawn(farewell(socket));
                    }
                }
                Output::Moved(audio) => self.meter.moved(audio),
                Output::Stop => return false,
                Output::Event(event) => {
                    if !tell(&self.events, &self.meter, event).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    async fn leave(mut self) {
        self.session.end();
        drop(self.events);
        let Some(mut socket) = self.socket.take() else { return };
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(frame) => match socket.queue(frame) {
                    Ok(()) => {}
                    Err(_) => return,
                },
                Output::Close(code) => {
                    socket.close(code);
                    return;
                }
                _ => {}
            }
        }
        farewell(socket).await;
    }
}

async fn tell(events: &mpsc::Sender<SttEvent>, meter: &Meter, event: SttEvent) -> bool {
    match &event {
        SttEvent::Partial { .. } if events.capacity() <= EVENTS_KEPT => return true,
        SttEvent::Final { took, .. } => meter.first(*took),
        SttEvent::Failed { error, .. } => meter.failed(error),
        _ => {}
    }
    events.send(event).await.is_ok()
}

/// Lets the vendor finish and close; closes where it does not.
async fn farewell(mut socket: Socket) {
    let closing = async { while socket.next().await.is_ok() {} };
    if tokio::time::timeout(GOODBYE, closing).await.is_err() {
        socket.close(1000);
    }
}

async fn next(socket: Option<&mut Socket>) -> Result<Frame, Closed> {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

async fn opened(opening: Option<&mut Opening>) -> Result<Socket, ProviderError> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
