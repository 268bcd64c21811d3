//! Streaming speech-to-text on a model that only knows whole clips: the segment so far is decoded again every
//! half second for partials, and once more when the caller pauses.

use super::pieces::{cut, loudest_dbfs};
use super::pool::Pool;
use super::queue::{Lane, StreamId};
use crate::base::{Pii, SampleRate};
use crate::providers::format::AudioFormat;
use crate::providers::{
    ProviderError, ProviderName, SegmentId, SpeechToText, SttCapabilities, SttEvent, SttRequest, SttStream,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Audio between two partials. Beyond four seconds of speech the distance grows with the clip (an eighth of it),
/// so that one caller's partials never take more than about a third of a core.
const PARTIAL_EVERY_MS: u32 = 500;

/// Longest segment: a caller (or a stuck line) who talks on is cut off here, at 2 MB of memory a call.
const LONGEST_SEGMENT_MS: u32 = 120_000;

/// Largest pre-roll, against a request that would keep the whole call.
const LONGEST_PRE_ROLL_MS: u32 = 2_000;

/// Audio whose loudest tenth of a second is below this holds no speech, and a model asked what was said in it
/// would invent something.
const SILENCE_DBFS: f32 = -60.0;

/// Events waiting for the call. It reads them at once; when it does not, partials are dropped first.
const EVENTS: usize = 64;
/// Places kept for finals.
const EVENTS_FOR_FINALS: usize = 16;

/// What a recognizer heard in one clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// The words.
    pub text: String,
    /// 0.0–1.0.
    pub confidence: f32,
    /// How much the confidence weighs beside that of other clips.
    pub tokens: usize,
}

/// A model that turns a clip into words on the calling thread.
pub trait Recognizer: Send + Sync + 'static {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// The words in `samples`, mono at `rate`. Asks `go_on` now and then and gives `None` when told to stop.
    ///
    /// # Errors
    /// What the model said; other clips may work.
    fn hear(&self, samples: &[i16], rate: SampleRate, go_on: &dyn Fn() -> bool) -> Result<Option<Heard>, String>;
}

/// Speech-to-text on the inference pool, shared by all calls.
#[derive(Debug)]
pub struct PooledStt<R> {
    pool: Arc<Pool>,
    recognizer: Arc<R>,
}

impl<R: Recognizer> PooledStt<R> {
    /// Runs `recognizer` on `pool`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, recognizer: R) -> Self {
        Self { pool, recognizer: Arc::new(recognizer) }
    }
}

impl<R: Recognizer> SpeechToText for PooledStt<R> {
    fn name(&self) -> ProviderName {
        self.recognizer.name().into()
    }

    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: vec![AudioFormat::pcm(SampleRate::WIDEBAND.0)],
            partials: true,
            end_of_turn: false,
            timestamps: false,
            detects_language: false,
            languages: &["en"],
        }
    }

    fn open(&self, request: SttRequest) -> Result<(Box<dyn SttStream>, mpsc::Receiver<SttEvent>), ProviderError> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let pre_roll_ms = u32::try_from(request.pre_roll.as_millis()).unwrap_or(u32::MAX).min(LONGEST_PRE_ROLL_MS);
        let stream = Stream {
            id: self.pool.new_stream(),
            pool: Arc::clone(&self.pool),
            recognizer: Arc::clone(&self.recognizer),
            rate: request.rate,
            events,
            pre_roll: VecDeque::new(),
            pre_roll_samples: request.rate.samples_in_ms(pre_roll_ms),
            segment: None,
            listening: false,
        };
        Ok((Box::new(stream), receiver))
    }
}

/// One call's audio and its segment.
struct Stream<R> {
    id: StreamId,
    pool: Arc<Pool>,
    recognizer: Arc<R>,
    rate: SampleRate,
    events: mpsc::Sender<SttEvent>,
    /// The last audio that belongs to no segment.
    pre_roll: VecDeque<i16>,
    pre_roll_samples: usize,
    segment: Option<Segment>,
    /// Between `start` and `finish`.
    listening: bool,
}

struct Segment {
    id: SegmentId,
    /// Long speech: what has been cut off the front.
    pieces: Vec<Arc<Piece>>,
    /// What follows the pieces.
    tail: Vec<i16>,
    /// Samples in pieces and tail.
    samples: usize,
    /// Value of `samples` at which the next partial is due.
    partial_due: usize,
    shared: Arc<Shared>,
}

/// A finished part of a long segment; its words are found once.
struct Piece {
    samples: Vec<i16>,
    heard: Mutex<Option<Heard>>,
}

/// What jobs on the pool know of their segment.
struct Shared {
    /// Counts `start` and `finish` of this segment; [`FORGOTTEN`] when nobody wants to hear of it any more.
    epoch: AtomicU64,
    /// The last words of the whole segment, and how many samples they cover: a `finish` without new audio
    /// costs nothing.
    whole: Mutex<Option<(usize, Heard)>>,
}

const FORGOTTEN: u64 = u64::MAX;

impl Shared {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// All that a job needs to decode a segment as it is at one moment.
struct Snapshot<R> {
    recognizer: Arc<R>,
    rate: SampleRate,
    segment: SegmentId,
    pieces: Vec<Arc<Piece>>,
    tail: Vec<i16>,
    samples: usize,
    shared: Arc<Shared>,
    epoch: u64,
}

impl<R: Recognizer> Snapshot<R> {
    fn hear(&self, go_on: &dyn Fn() -> bool) -> Result<Option<Heard>, String> {
        if let Some((samples, heard)) = &*self.shared.whole.lock().unwrap_or_else(PoisonError::into_inner)
            && *samples == self.samples
        {
            return Ok(Some(heard.clone()));
        }
        let mut parts = Vec::with_capacity(self.pieces.len() + 1);
        for piece in &self.pieces {
            let known = piece.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let heard = match known {
                Some(heard) => heard,
                None => {
                    let Some(heard) = self.hear_clip(&piece.samples, go_on)? else { return Ok(None) };
                    *piece.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard.clone());
                    heard
                }
            };
            parts.push(heard);
        }
        let Some(heard) = self.hear_clip(&self.tail, go_on)? else { return Ok(None) };
        parts.push(heard);
        let whole = join(&parts);
        *self.shared.whole.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.samples, whole.clone()));
        Ok(Some(whole))
    }

    fn hear_clip(&self, samples: &[i16], go_on: &dyn Fn() -> bool) -> Result<Option<Heard>, String> {
        if loudest_dbfs(samples, self.rate) < SILENCE_DBFS {
            return Ok(Some(Heard::default()));
        }
        self.recognizer.hear(samples, self.rate, go_on)
    }
}

/// The words of consecutive clips; the confidence is the mean over all tokens, as if it were one clip.
fn join(parts: &[Heard]) -> Heard {
    let spoken: Vec<&Heard> = parts.iter().filter(|part| !part.text.is_empty()).collect();
    let tokens: usize = spoken.iter().map(|part| part.tokens).sum();
    let log: f32 = spoken.iter().map(|part| part.confidence.max(1e-6).ln() * part.tokens as f32).sum();
    Heard {
        text: spoken.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(" "),
        confidence: if tokens == 0 { 0.0 } else { (log / tokens as f32).exp() },
        tokens,
    }
}

impl<R: Recognizer> Stream<R> {
    fn forget(&mut self) {
        if let Some(old) = self.segment.take() {
            old.shared.epoch.store(FORGOTTEN, Ordering::Release);
            self.pool.cancel(self.id);
        }
        self.listening = false;
    }

    fn append(&mut self, samples: &[i16]) {
        let longest = self.rate.samples_in_ms(LONGEST_SEGMENT_MS);
        let Some(segment) = &mut self.segment else { return };
        let room = longest.saturating_sub(segment.samples).min(samples.len());
        let samples = samples.get(..room).unwrap_or_default();
        segment.tail.extend_from_slice(samples);
        segment.samples += samples.len();
        while let Some(place) = cut(&segment.tail, self.rate) {
            let rest = segment.tail.split_off(place);
            let samples = std::mem::replace(&mut segment.tail, rest);
            segment.pieces.push(Arc::new(Piece { samples, heard: Mutex::new(None) }));
        }
    }

    fn snapshot(&self, segment: &Segment, epoch: u64) -> Snapshot<R> {
        Snapshot {
            recognizer: Arc::clone(&self.recognizer),
            rate: self.rate,
            segment: segment.id,
            pieces: segment.pieces.clone(),
            tail: segment.tail.clone(),
            samples: segment.samples,
            shared: Arc::clone(&segment.shared),
            epoch,
        }
    }

    /// Samples from this moment to the next partial.
    fn partial_distance(&self, tail: usize) -> usize {
        self.rate.samples_in_ms(PARTIAL_EVERY_MS).max(tail / 8)
    }

    fn partial_if_due(&mut self) {
        let Some(segment) = &self.segment else { return };
        if segment.samples < segment.partial_due {
            return;
        }
        let due = segment.samples + self.partial_distance(segment.tail.len());
        let job = self.snapshot(segment, segment.shared.epoch());
        let (pool, events) = (Arc::clone(&self.pool), self.events.clone());
        // Refused when the pool is full: counted there, and the next partial comes in half a second.
        let _ = self.pool.submit(
            self.recognizer.name(),
            Lane::Background,
            Some(self.id),
            move || {
                let wanted = || job.shared.epoch() == job.epoch && !pool.urgent_waits();
                if !wanted() {
                    return;
                }
                if let Ok(Some(heard)) = job.hear(&wanted)
                    && job.shared.epoch() == job.epoch
                    && !heard.text.is_empty()
                {
                    send_partial(&events, job.segment, heard.text);
                }
            },
            |_| (),
        );
        if let Some(segment) = &mut self.segment {
            segment.partial_due = due;
        }
    }
}

fn send_partial(events: &mpsc::Sender<SttEvent>, segment: SegmentId, text: String) {
    if events.capacity() > EVENTS_FOR_FINALS {
        let _ = events.try_send(SttEvent::Partial { segment, text: Pii::new(text) });
    }
}

fn send(events: &mpsc::Sender<SttEvent>, event: SttEvent) {
    if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(event) {
        tracing::warn!("a call does not read its transcripts; one is lost");
    }
}

impl<R: Recognizer> SttStream for Stream<R> {
    fn push(&mut self, samples: &[i16]) {
        if self.listening {
            self.append(samples);
            self.partial_if_due();
            return;
        }
        self.pre_roll.extend(samples);
        let surplus = self.pre_roll.len().saturating_sub(self.pre_roll_samples);
        self.pre_roll.drain(..surplus);
    }

    fn start(&mut self, segment: SegmentId) {
        match &self.segment {
            Some(current) if current.id > segment => return,
            Some(current) if current.id == segment => {
                if self.listening {
                    return;
                }
                current.shared.next_epoch();
            }
            _ => {
                self.forget();
                self.segment = Some(Segment {
                    id: segment,
                    pieces: Vec::new(),
                    tail: Vec::new(),
                    samples: 0,
                    partial_due: 0,
                    shared: Arc::new(Shared { epoch: AtomicU64::new(0), whole: Mutex::new(None) }),
                });
            }
        }
        self.listening = true;
        let before: Vec<i16> = self.pre_roll.drain(..).collect();
        self.append(&before);
        let distance = self.segment.as_ref().map_or(0, |s| self.partial_distance(s.tail.len()));
        if let Some(segment) = &mut self.segment {
            segment.partial_due = segment.samples + distance;
        }
    }

    fn finish(&mut self, segment: SegmentId) {
        let asked = Instant::now();
        let Some(current) = self.segment.as_ref().filter(|current| current.id == segment) else {
            // Nothing is known of it, so nothing was said in it; the call must not wait for ever.
            let (audio, took) = (Duration::ZERO, Duration::ZERO);
            send(&self.events, SttEvent::Final { segment, text: Pii::default(), confidence: 0.0, audio, took });
            return;
        };
        // Asked again with nothing new in between: the answer under way stands, and so will this one.
        let epoch = if self.listening { current.shared.next_epoch() } else { current.shared.epoch() };
        self.listening = false;
        let audio = self.rate.duration_of(current.samples);
        let job = self.snapshot(current, epoch);
        let events = self.events.clone();
        let (shared, failure_events) = (Arc::clone(&current.shared), self.events.clone());
        let provider = self.recognizer.name();
        let submitted = self.pool.submit(
            provider,
            Lane::Urgent,
            Some(self.id),
            move || {
                let outcome = job.hear(&|| job.shared.epoch() != FORGOTTEN);
                let now = job.shared.epoch();
                match outcome {
                    _ if now == FORGOTTEN => {}
                    Ok(None) => {}
                    // The caller went on: these are not the final words any more.
                    Ok(Some(heard)) if now != job.epoch => send_partial(&events, segment, heard.text),
                    Ok(Some(heard)) => send(
                        &events,
                        SttEvent::Final {
                            segment,
                            text: Pii::new(heard.text),
                            confidence: heard.confidence,
                            audio,
                            took: asked.elapsed(),
                        },
                    ),
                    Err(reason) => {
                        send(
                            &events,
                            SttEvent::Failed {
                                segment,
                                error: ProviderError::Failed { provider: provider.into(), reason },
                            },
                        );
                    }
                }
            },
            move |error| {
                if shared.epoch() == epoch {
                    send(&failure_events, SttEvent::Failed { segment, error });
                }
            },
        );
        if let Err(error) = submitted {
            send(&self.events, SttEvent::Failed { segment, error });
        }
    }

    fn discard(&mut self) {
        self.forget();
    }
}

impl<R> Drop for Stream<R> {
    fn drop(&mut self) {
        if let Some(segment) = &self.segment {
            segment.shared.epoch.store(FORGOTTEN, Ordering::Release);
        }
        self.pool.cancel(self.id);
    }
}

#[cfg(test)]
#[path = "stt_tests.rs"]
mod tests;
