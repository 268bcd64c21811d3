//! Silero voice activity detection at 8 kHz: how likely it is that somebody speaks, per 32 ms.
//!
//! It costs 0.1–0.2 ms a window, fifty times the first detector, so it only confirms: it runs on a thread of its
//! own ([`Pool::start_quick`]), and only while the cheap gate is open.

use super::models::{ModelError, Models};
use super::pool::{Pool, Shelf};
use super::queue::{Lane, StreamId};
use super::runtime::Runtime;
use crate::providers::{OpenVoice, ProviderError, VoiceDetector, VoiceStream, VoiceVerdict};
use ort::session::Session;
use ort::value::{Tensor, TensorRef};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Samples of one window at 8 kHz: 32 ms.
pub const WINDOW: usize = 256;

/// Samples of the window before that the model wants to see again.
const CONTEXT: usize = 32;

/// Numbers of the recurrent state: two layers of 128.
const STATE: usize = 256;

/// Audio kept from before the gate opened, so that the model knows the noise before it judges the voice.
const LEAD_IN: usize = 4 * WINDOW;

/// Audio that may wait for the pool. What is older than a second tells nothing about the caller of this moment.
const LONGEST_WAITING: usize = 8_000;

/// Readings waiting for the call.
const READINGS: usize = 16;

/// One copy of the model, used by one thread at a time.
#[derive(Debug)]
pub struct Silero {
    session: Session,
}

/// What the model remembers of one call's audio.
#[derive(Clone, Debug)]
pub struct SpeechMemory {
    state: Vec<f32>,
    context: [f32; CONTEXT],
}

impl Default for SpeechMemory {
    fn default() -> Self {
        Self { state: vec![0.0; STATE], context: [0.0; CONTEXT] }
    }
}

impl Silero {
    /// Loads the model from the store.
    ///
    /// # Errors
    /// [`ModelError`] for a file that is missing or that the runtime refuses.
    pub fn load(runtime: &Runtime, models: &Models) -> Result<Self, ModelError> {
        Ok(Self { session: runtime.session(&models.silero())? })
    }

    /// The probability of speech in one window of 8 kHz audio; shorter windows are filled up with silence. Windows
    /// of one call are given in order, with the same `memory`.
    ///
    /// # Errors
    /// The runtime's own.
    pub fn probability(&mut self, window: &[i16], memory: &mut SpeechMemory) -> ort::Result<f32> {
        let mut input = [0.0; CONTEXT + WINDOW];
        let (context, fresh) = input.split_at_mut(CONTEXT);
        context.copy_from_slice(&memory.context);
        for (slot, sample) in fresh.iter_mut().zip(window) {
            *slot = f32::from(*sample) / 32_768.0;
        }
        let (probability, state) = {
            let input = TensorRef::from_array_view(([1, CONTEXT + WINDOW], &input[..]))?;
            let state = TensorRef::from_array_view(([2usize, 1, STATE / 2], &memory.state[..]))?;
            let rate = Tensor::from_array(((), vec![8_000i64]))?;
            let outputs = self.session.run(ort::inputs! { "input" => input, "state" => state, "sr" => rate })?;
            let output = outputs.get("output").ok_or_else(|| ort::Error::new("no output"))?;
            let probability = output.try_extract_tensor::<f32>()?.1.first().copied().unwrap_or(0.0);
            let state = outputs.get("stateN").ok_or_else(|| ort::Error::new("no state"))?;
            (probability, state.try_extract_tensor::<f32>()?.1.to_vec())
        };
        if state.len() == STATE {
            memory.state = state;
        }
        memory.context.copy_from_slice(&input[WINDOW..]);
        Ok(probability)
    }
}

/// Cuts one call's audio into windows and asks the model at once, on the calling thread.
#[derive(Debug, Default)]
pub struct SpeechProbability {
    waiting: Vec<i16>,
    memory: SpeechMemory,
}

impl SpeechProbability {
    /// Appends 8 kHz samples. The highest probability of the windows that became full, if any did.
    ///
    /// # Errors
    /// The runtime's own.
    pub fn push(&mut self, silero: &mut Silero, samples: &[i16]) -> ort::Result<Option<f32>> {
        self.waiting.extend_from_slice(samples);
        let mut highest = None;
        let full = self.waiting.len() / WINDOW * WINDOW;
        for window in self.waiting.get(..full).unwrap_or_default().chunks_exact(WINDOW) {
            let probability = silero.probability(window, &mut self.memory)?;
            highest = Some(probability.max(highest.unwrap_or(0.0)));
        }
        self.waiting.drain(..full);
        Ok(highest)
    }
}

/// Voice confirmation for all calls.
#[derive(Clone, Debug)]
pub struct Voice {
    pool: Arc<Pool>,
    shelf: Arc<Shelf<Silero>>,
}

impl Voice {
    /// Runs the models of `shelf` on `pool`, which has as many threads as there are copies.
    #[must_use]
    pub fn new(pool: Arc<Pool>, shelf: Arc<Shelf<Silero>>) -> Self {
        Self { pool, shelf }
    }

    /// Opens the confirmation for one call. Readings arrive on the receiver until the handle is dropped.
    #[must_use]
    pub fn open(&self) -> (VoiceConfirm, mpsc::Receiver<VoiceVerdict>) {
        let (readings, receiver) = mpsc::channel(READINGS);
        let confirm = VoiceConfirm {
            stream: self.pool.new_stream(),
            voice: self.clone(),
            lead_in: VecDeque::with_capacity(LEAD_IN),
            open: false,
            pushed: 0,
            desk: Arc::new(Mutex::new(Desk::default())),
            readings,
        };
        (confirm, receiver)
    }
}

/// One call's confirmation. Push all caller audio at 8 kHz; nothing is computed while the gate is closed.
#[derive(Debug)]
pub struct VoiceConfirm {
    stream: StreamId,
    voice: Voice,
    lead_in: VecDeque<i16>,
    open: bool,
    pushed: u64,
    desk: Arc<Mutex<Desk>>,
    readings: mpsc::Sender<VoiceVerdict>,
}

/// Audio handed to the pool and not yet judged.
#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<i16>,
    memory: SpeechMemory,
    /// Position, in pushed samples, of the end of `waiting`.
    until: u64,
    /// A job is queued or running.
    busy: bool,
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VoiceConfirm {
    /// Appends samples; `gate_open` says whether the first detector takes them for a voice. Never blocks. When
    /// the pool is full the audio waits for the next call of this method, a second of it at most.
    pub fn push(&mut self, samples: &[i16], gate_open: bool) {
        self.pushed += samples.len() as u64;
        if !gate_open {
            if self.open {
                self.open = false;
                // The rest belongs to an utterance that is over.
                lock(&self.desk).waiting.clear();
            }
            self.lead_in.extend(samples);
            let surplus = self.lead_in.len().saturating_sub(LEAD_IN);
            self.lead_in.drain(..surplus);
            return;
        }
        let mut desk = lock(&self.desk);
        if !self.open {
            self.open = true;
            desk.memory = SpeechMemory::default();
            desk.waiting.extend(self.lead_in.drain(..));
        }
        desk.waiting.extend(samples);
        let surplus = desk.waiting.len().saturating_sub(LONGEST_WAITING);
        desk.waiting.drain(..surplus);
        desk.until = self.pushed;
        if desk.busy || desk.waiting.len() < WINDOW {
            return;
        }
        desk.busy = true;
        drop(desk);
        let (desk, failed) = (Arc::clone(&self.desk), Arc::clone(&self.desk));
        let (shelf, readings) = (Arc::clone(&self.voice.shelf), self.readings.clone());
        let submitted = self.voice.pool.submit(
            "silero",
            Lane::Urgent,
            Some(self.stream),
            move || judge(&shelf, &desk, &readings),
            move |_| lock(&failed).busy = false,
        );
        if submitted.is_err() {
            lock(&self.desk).busy = false;
        }
    }
}

impl VoiceStream for VoiceConfirm {
    fn push(&mut self, samples: &[i16], gate_open: bool) {
        Self::push(self, samples, gate_open);
    }
}

impl VoiceDetector for Voice {
    fn open(&self) -> Result<OpenVoice, ProviderError> {
        let (confirm, verdicts) = Self::open(self);
        Ok((Box::new(confirm), verdicts))
    }
}

impl Drop for VoiceConfirm {
    fn drop(&mut self) {
        self.voice.pool.cancel(self.stream);
    }
}

/// Judges the windows that wait, in one go.
fn judge(shelf: &Shelf<Silero>, desk: &Mutex<Desk>, readings: &mpsc::Sender<VoiceVerdict>) {
    let (audio, mut memory, until) = {
        let mut desk = lock(desk);
        let full = desk.waiting.len() / WINDOW * WINDOW;
        let audio: Vec<i16> = desk.waiting.drain(..full).collect();
        (audio, std::mem::take(&mut desk.memory), desk.until - desk.waiting.len() as u64)
    };
    let judged = shelf.with(|silero| {
        audio
            .chunks_exact(WINDOW)
            .map(|window| silero.probability(window, &mut memory))
            .try_fold(0.0f32, |highest, probability| Ok::<_, ort::Error>(highest.max(probability?)))
    });
    {
        let mut desk = lock(desk);
        desk.memory = memory;
        desk.busy = false;
    }
    match judged {
        // A call that does not read its readings misses some; the next ones tell it more.
        Some(Ok(probability)) => {
            let _ = readings.try_send(VoiceVerdict { probability, windows: audio.len() / WINDOW, until_sample: until });
        }
        Some(Err(error)) => tracing::warn!(%error, "voice confirmation failed"),
        None => tracing::warn!("every copy of the voice model is in use"),
    }
}
