//! A vendor as [`SpeechToText`]: one task per call between the call, the [`Session`] and the [`Socket`].

use super::limits::{EVENTS, EVENTS_KEPT, FLUSH_TIMEOUT, INBOX_PIECES};
use super::protocol::SttVendor;
use super::session::{Output, Session, Terms};
use crate::base::{SampleRate, SegmentId};
use crate::providers::limits::GOODBYE;
use crate::providers::socket::Socket;
use crate::providers::wire::{Closed, Frame};
use crate::providers::{
    Meter, Network, ProviderError, ProviderName, Settings, SpeechToText, SttCapabilities, SttEvent, SttRequest,
    SttStream,
};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
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
        let inbox = Arc::new(Inbox::default());
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

enum Input {
    Audio(Vec<i16>),
    Start(SegmentId),
    Finish(SegmentId),
    Discard,
    Expect(Vec<String>),
}

/// What the call has said and the task has not yet heard. Of too much audio, the oldest is dropped.
#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    stirred: Notify,
}

#[derive(Default)]
struct Queue {
    inputs: VecDeque<Input>,
    pieces: usize,
    /// Samples in them, and how many of those are worth waking the task for.
    samples: usize,
    appetite: usize,
    dropped: u64,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, input: Input) {
        let is_due = {
            let mut queue = self.lock();
            let mut is_due = true;
            if let Input::Audio(samples) = &input {
                queue.pieces += 1;
                queue.samples = queue.samples.saturating_add(samples.len());
                is_due = queue.samples >= queue.appetite;
                if queue.pieces > INBOX_PIECES {
                    let oldest = queue.inputs.iter().position(|input| matches!(input, Input::Audio(_)));
                    if oldest.and_then(|place| queue.inputs.remove(place)).is_some() {
                        queue.pieces -= 1;
                        queue.dropped += 1;
                    }
                }
            }
            queue.inputs.push_back(input);
            is_due
        };
        if is_due {
            self.stirred.notify_one();
        }
    }

    /// Audio alone does not wake the task before there are so many samples of it.
    fn rest(&self, appetite: usize) {
        let mut queue = self.lock();
        queue.appetite = appetite;
        if queue.pieces > 0 && queue.samples >= appetite {
            self.stirred.notify_one();
        }
    }

    /// Everything that waits, how many pieces were dropped since the last time, and whether nobody will say more.
    fn take(&self) -> (VecDeque<Input>, u64, bool) {
        let mut queue = self.lock();
        (queue.pieces, queue.samples) = (0, 0);
        (std::mem::take(&mut queue.inputs), std::mem::take(&mut queue.dropped), queue.closed)
    }
}

struct Stream {
    inbox: Arc<Inbox>,
}

impl SttStream for Stream {
    fn push(&mut self, samples: &[i16]) {
        self.inbox.put(Input::Audio(samples.to_vec()));
    }

    fn start(&mut self, segment: SegmentId) {
        self.inbox.put(Input::Start(segment));
    }

    fn finish(&mut self, segment: SegmentId) {
        self.inbox.put(Input::Finish(segment));
    }

    fn discard(&mut self) {
        self.inbox.put(Input::Discard);
    }

    fn expect(&mut self, phrases: &[String]) {
        self.inbox.put(Input::Expect(phrases.to_vec()));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.inbox.lock().closed = true;
        self.inbox.stirred.notify_one();
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Socket, ProviderError>> + Send>>;

struct Task {
    session: Session,
    /// Of the samples that are pushed.
    rate: SampleRate,
    inbox: Arc<Inbox>,
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
                () = self.inbox.stirred.notified() => {
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
        let (inputs, dropped, closed) = self.inbox.take();
        if dropped > 0 {
            self.meter.dropped(dropped);
            tracing::warn!(provider = %self.provider, pieces = dropped, "speech_to_text_audio_dropped");
        }
        let now = Instant::now().into_std();
        for input in inputs {
            match input {
                Input::Audio(samples) => self.session.push(&samples, now, &self.meter.conversions),
                Input::Start(segment) => {
                    self.meter.began();
                    self.session.start(segment, now);
                }
                Input::Finish(segment) => self.session.finish(segment, now),
                Input::Discard => self.session.discard(now),
                Input::Expect(phrases) => self.session.expect(phrases),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_much_audio_the_oldest_is_dropped_and_counted_and_nothing_else() {
        let inbox = Arc::new(Inbox::default());
        let mut stream = Stream { inbox: Arc::clone(&inbox) };
        stream.push(&[0]);
        stream.start(SegmentId(1));
        for piece in 1..=INBOX_PIECES as i16 + 2 {
            stream.push(&[piece]);
        }
        stream.finish(SegmentId(1));
        let (inputs, dropped, closed) = inbox.take();
        assert_eq!((inputs.len(), dropped, closed), (INBOX_PIECES + 2, 3, false));
        assert!(matches!(inputs.front(), Some(Input::Start(SegmentId(1)))));
        assert!(matches!(inputs.get(1), Some(Input::Audio(samples)) if samples == &[3]));
        assert!(matches!(inputs.back(), Some(Input::Finish(SegmentId(1)))));
        drop(stream);
        assert!(inbox.take().2, "the call has left");
    }

    #[tokio::test]
    async fn audio_wakes_nobody_before_there_is_a_packet_of_it_and_everything_else_does_at_once() {
        let inbox = Arc::new(Inbox::default());
        let mut stream = Stream { inbox: Arc::clone(&inbox) };
        let wakes = || {
            let woken = std::pin::pin!(inbox.stirred.notified()).enable();
            inbox.take();
            woken
        };
        inbox.rest(480);
        stream.push(&[0; 160]);
        stream.push(&[0; 160]);
        assert!(!wakes());
        (0..3).for_each(|_| stream.push(&[0; 160]));
        assert!(wakes());
        stream.push(&[0; 160]);
        stream.finish(SegmentId(1));
        assert!(wakes());
        stream.push(&[0; 160]);
        inbox.rest(160);
        assert!(wakes(), "what came meanwhile counts");
        inbox.rest(0);
        assert!(!wakes(), "nothing has come");
    }
}
