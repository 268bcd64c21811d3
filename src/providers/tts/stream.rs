//! The shell of every vendor: a request becomes a stream of chunks, over a connection of the pool or by HTTP, within
//! deadlines. Dropping the stream cancels: nothing of it is heard here any more, and the vendor is told.

use super::connection::{Command, Connection, Heard};
use super::http;
use super::pool::{ConnectionId, Placement, Pool};
use super::protocol::{TtsSocketVendor, TtsTransport, TtsVendor, Utterance, Voiced};
use super::speech::{Deadlines, Speech};
use super::{SpeakRequest, SpeechStream, TextToSpeech, TtsCapabilities, TtsChunk, Voices};
use crate::base::SampleRate;
use crate::providers::format::AudioFormat;
use crate::providers::limits::{BEHIND, VOICE_PATIENCE};
use crate::providers::{Meter, Network, ProviderError, ProviderName, Settings};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Chunks between us and the call. What is too much for them becomes one larger chunk.
const CHUNKS: usize = 8;
/// Longest text of one request, some ten minutes of speech: an agent that says more in one breath is broken.
const LONGEST_TEXT: usize = 10_000;

/// A place among the utterances that the key allows at once.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// A vendor as the call sees it. Dropping it closes what is idle; what is being spoken is spoken to its end.
pub struct VendorTts {
    shared: Arc<Shared>,
}

/// What all utterances and connections share.
pub(super) struct Shared {
    pub name: ProviderName,
    pub network: Network,
    pub vendor: Box<dyn TtsVendor>,
    pub connect_timeout: Duration,
    pub deadlines: Deadlines,
    patience: Duration,
    pub meter: Arc<Meter>,
    concurrency: usize,
    permits: Arc<Semaphore>,
    sockets: Mutex<Sockets>,
    ids: AtomicU32,
    /// How the last utterance was asked for, without its text: the next call will likely ask alike.
    usual: Mutex<SpeakRequest>,
}

/// The pool and the way to each of its connections.
pub(super) struct Sockets {
    pub pool: Pool,
    commands: HashMap<ConnectionId, UnboundedSender<Command>>,
}

impl Sockets {
    /// The connection is gone.
    pub fn forget(&mut self, id: ConnectionId) {
        self.pool.lost(id);
        self.commands.remove(&id);
    }

    /// Forgets the connection if it is still due and only those `void` utterances are on it; false when somebody has just
    /// come.
    pub fn forget_unused(&mut self, id: ConnectionId, now: std::time::Instant, void: usize) -> bool {
        let idle = self.closes_at(id, now).is_some_and(|at| at <= now);
        let unused = idle || self.pool.is_retired(id) && self.pool.speaking(id) == void;
        if unused {
            self.forget(id);
        }
        unused
    }

    /// As [`Pool::closes_at`]; at once for a connection that had to make room for another.
    pub fn closes_at(&self, id: ConnectionId, now: std::time::Instant) -> Option<std::time::Instant> {
        if self.commands.contains_key(&id) { self.pool.closes_at(id) } else { Some(now) }
    }
}

impl Shared {
    pub fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an utterance to a connection.
    fn place(
        self: &Arc<Self>,
        vendor: &dyn TtsSocketVendor,
        request: &Arc<SpeakRequest>,
        format: AudioFormat,
        permit: Permit,
        fresh: bool,
    ) -> Result<Line, ProviderError> {
        let key = vendor.connection_key(request, format);
        let mut sockets = self.sockets();
        let placement = sockets.pool.place(&key, fresh, Instant::now().into_std()).ok_or_else(|| self.busy())?;
        let connection = self.connection(&mut sockets, placement, || vendor.connect(request, format));
        let Some((connection, commands)) = connection else { return Err(self.busy()) };
        let id = Utterance(self.ids.fetch_add(1, Ordering::Relaxed));
        let (events, heard) = unbounded_channel();
        let _ =
            commands.send(Command::Speak { id, request: Arc::clone(request), events, asked: Instant::now(), permit });
        Ok(Line { shared: Arc::clone(self), connection, id, commands, heard, over: false })
    }

    /// The way to a connection that the pool names, which is opened if need be.
    fn connection(
        self: &Arc<Self>,
        sockets: &mut Sockets,
        placement: Placement,
        protocol: impl FnOnce() -> Box<dyn super::protocol::TtsProtocol>,
    ) -> Option<(ConnectionId, UnboundedSender<Command>)> {
        let id = match placement {
            Placement::On(id) => return sockets.commands.get(&id).map(|commands| (id, commands.clone())),
            Placement::Open { id, instead_of } => {
                if let Some(idle) = instead_of.and_then(|idle| sockets.commands.remove(&idle)) {
                    let _ = idle.send(Command::Look);
                }
                id
            }
        };
        let (sender, commands) = unbounded_channel();
        sockets.commands.insert(id, sender.clone());
        tokio::spawn(Connection { shared: Arc::clone(self), id, protocol: protocol(), commands }.run());
        Some((id, sender))
    }

    fn busy(&self) -> ProviderError {
        ProviderError::Busy { provider: self.name.clone(), waiting: self.concurrency }
    }

    pub fn failed(&self, reason: impl Into<String>) -> ProviderError {
        ProviderError::Failed { provider: self.name.clone(), reason: reason.into() }
    }

    /// The vendor's audio is missing.
    pub fn silent(&self) -> ProviderError {
        ProviderError::Protocol { provider: self.name.clone(), reason: "no audio for a text with words".to_owned() }
    }
}

/// An utterance's end of its connection. Dropping it before the end cancels.
struct Line {
    shared: Arc<Shared>,
    connection: ConnectionId,
    id: Utterance,
    commands: UnboundedSender<Command>,
    heard: UnboundedReceiver<Heard>,
    over: bool,
}

impl Line {
    /// The vendor is late: whoever speaks next does so over another connection.
    fn distrust(&self) {
        self.shared.sockets().pool.retire(self.connection);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.over {
            self.heard.close();
            let _ = self.commands.send(Command::Cancel(self.id));
        }
    }
}

impl VendorTts {
    /// A vendor with its settings.
    #[must_use]
    pub fn new(settings: &Settings, network: &Network, vendor: impl TtsVendor) -> Self {
        let concurrency = settings.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let pool = match vendor.transport() {
            TtsTransport::Socket(socket) => Pool::new(socket.terms(), concurrency),
            TtsTransport::Http(_) => Pool::new(super::pool::NONE, 0),
        };
        let usual =
            SpeakRequest { line: AudioFormat::MULAW, ..SpeakRequest::new(String::new(), SampleRate::NARROWBAND) };
        let meter = Arc::default();
        let (first, stall) = (settings.first_timeout, settings.stall_timeout);
        let deadlines = Deadlines { first, stall, behind: settings.lag(BEHIND) };
        Self {
            shared: Arc::new(Shared {
                name: settings.name.clone(),
                network: network.of_provider(settings.connect_timeout, &meter),
                vendor: Box::new(vendor),
                connect_timeout: settings.connect_timeout,
                deadlines,
                patience: settings.patience(VOICE_PATIENCE),
                meter,
                concurrency,
                permits: Arc::new(Semaphore::new(concurrency)),
                sockets: Mutex::new(Sockets { pool, commands: HashMap::new() }),
                ids: AtomicU32::new(1),
                usual: Mutex::new(usual),
            }),
        }
    }

    fn begin(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        let shared = &self.shared;
        if request.text.len() > LONGEST_TEXT {
            let reason = format!("a text of {} octets is longer than {LONGEST_TEXT}", request.text.len());
            return Err(ProviderError::BadRequest { provider: shared.name.clone(), reason });
        }
        let (out, stream) = mpsc::channel(CHUNKS);
        if request.text.trim().is_empty() {
            return Ok(stream);
        }
        let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| shared.busy())?;
        let permit = Arc::new(permit);
        let format = shared.vendor.format(&request);
        let timed = shared.vendor.capabilities().word_timestamps;
        let now = Instant::now().into_std();
        let speech = Speech::new(&request, format, timed, shared.deadlines, Arc::clone(&shared.meter), now)
            .map_err(|error| shared.failed(error.to_string()))?;
        *shared.usual.lock().unwrap_or_else(PoisonError::into_inner) =
            SpeakRequest { text: String::new(), ..request.clone() };
        let characters = request.text.chars().count();
        let request = Arc::new(request);
        match shared.vendor.transport() {
            TtsTransport::Socket(vendor) => {
                let line = shared.place(vendor, &request, format, Arc::clone(&permit), false)?;
                tokio::spawn(utter(request, format, speech, line, permit, out));
            }
            TtsTransport::Http(_) => {
                tokio::spawn(http::utter(Arc::clone(shared), request, format, speech, permit, out));
            }
        }
        shared.meter.began();
        shared.meter.spoke(characters);
        Ok(stream)
    }
}

impl TextToSpeech for VendorTts {
    fn name(&self) -> ProviderName {
        self.shared.name.clone()
    }

    fn capabilities(&self) -> TtsCapabilities {
        self.shared.vendor.capabilities()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.shared.meter))
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.shared.patience)
    }

    fn warm(&self) {
        let shared = &self.shared;
        match shared.vendor.transport() {
            TtsTransport::Socket(vendor) => {
                let usual = shared.usual.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let format = shared.vendor.format(&usual);
                let key = vendor.connection_key(&usual, format);
                let mut sockets = shared.sockets();
                if let Some(placement) = sockets.pool.warm(&key, Instant::now().into_std()) {
                    shared.connection(&mut sockets, placement, || vendor.connect(&usual, format));
                }
            }
            TtsTransport::Http(vendor) => {
                if let Some(request) = vendor.warm() {
                    tokio::spawn(http::warm(Arc::clone(shared), request));
                }
            }
        }
    }

    fn voices(&self) -> Option<Voices> {
        let first = self.shared.vendor.list(None)?;
        Some(Box::pin(http::voices(Arc::clone(&self.shared), first)))
    }

    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        self.begin(request).inspect_err(|error| self.shared.meter.failed(error))
    }
}

impl Drop for VendorTts {
    fn drop(&mut self) {
        let mut sockets = self.shared.sockets();
        let ids: Vec<_> = sockets.commands.keys().copied().collect();
        for id in ids {
            sockets.pool.retire(id);
            if let Some(commands) = sockets.commands.get(&id) {
                let _ = commands.send(Command::Look);
            }
        }
    }
}

/// One utterance over a connection of the pool.
async fn utter(
    request: Arc<SpeakRequest>,
    format: AudioFormat,
    mut speech: Speech,
    mut line: Line,
    permit: Permit,
    out: mpsc::Sender<Result<TtsChunk, ProviderError>>,
) {
    let mut permit = Some(permit);
    let shared = Arc::clone(&line.shared);
    let mut fresh = false;
    let error = loop {
        if speech.is_over() && !speech.has_chunk() {
            return;
        }
        let deadline = speech.deadline();
        tokio::select! {
            biased;
            () = out.closed() => return,
            place = out.reserve(), if speech.has_chunk() => match place {
                Ok(place) => place.send(Ok(speech.take_chunk())),
                Err(_) => return,
            },
            heard = line.heard.recv(), if !speech.is_over() => match heard {
                Some(Heard::Voiced(Voiced::Failed { error, .. })) => {
                    line.over = true;
                    break error;
                }
                Some(Heard::Voiced(voiced)) => {
                    if let Err(error) = speech.hear(&voiced, Instant::now().into_std()) {
                        break shared.failed(error.to_string());
                    }
                    if matches!(voiced, Voiced::Done { .. }) {
                        line.over = true;
                        // The place is free before the call learns that all has come.
                        permit = None;
                        if speech.is_missing() {
                            break shared.silent();
                        }
                        speech.finish();
                    }
                }
                Some(Heard::Lost { error, stale }) => {
                    line.over = true;
                    let TtsTransport::Socket(vendor) = shared.vendor.transport() else { break error };
                    let Some(permit) = permit.as_ref().filter(|_| stale && !fresh && error.is_retryable()) else {
                        break error;
                    };
                    fresh = true;
                    match shared.place(vendor, &request, format, Arc::clone(permit), true) {
                        Ok(other) => line = other,
                        Err(error) => break error,
                    }
                }
                None => break ProviderError::Stopped { provider: shared.name.clone() },
            },
            (stage, after) = late(deadline) => {
                line.distrust();
                break ProviderError::Timeout { provider: shared.name.clone(), stage, after };
            }
        }
    };
    drop(line);
    fail(&shared, speech, error, &out).await;
}

/// Waits until the vendor is late ([`Speech::deadline`]), and says what for and after how long.
pub(super) async fn late(deadline: Option<(std::time::Instant, &'static str, Duration)>) -> (&'static str, Duration) {
    match deadline {
        Some((at, stage, after)) => {
            tokio::time::sleep_until(at.into()).await;
            (stage, after)
        }
        None => std::future::pending().await,
    }
}

/// Hands over what came before the failure, then the failure.
pub(super) async fn fail(
    shared: &Shared,
    mut speech: Speech,
    error: ProviderError,
    out: &mpsc::Sender<Result<TtsChunk, ProviderError>>,
) {
    shared.meter.failed(&error);
    if speech.has_chunk() && out.send(Ok(speech.take_chunk())).await.is_err() {
        return;
    }
    let _ = out.send(Err(error)).await;
}
