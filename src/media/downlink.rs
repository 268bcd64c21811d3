//! Agent audio on its way to the caller.

use super::framed::FrameProducer;
use super::limits::{DOWNLINK_FRAMES, DOWNLINK_RESERVE};
use super::shared::Shared;
use crate::audio::Frame;
use crate::audio::frame::FRAME_MS;
use crate::base::{SampleRate, TurnId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is known about up to 20 ms of one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnFrame {
    pub(super) turn: u32,
    /// No audio of this turn follows.
    pub(super) last: bool,
    /// Of a frame without a turn: the count of flushes when it was queued.
    pub(super) generation: u32,
}

/// The agent's side of a leg: samples at [`super::Leg::sample_rate`] by turn, sent in order, one frame per 20 ms.
///
/// Turn ids may only grow from call to call of [`Self::push`]. [`TurnId::NONE`] is for tones: it makes no
/// events and is never starved, and may be pushed between turns at any time. Before the first
/// [`super::Leg::configure`] nothing is taken.
#[derive(Debug)]
pub struct Downlink {
    /// `None` before the first [`super::Leg::configure`].
    ring: Option<FrameProducer<TurnFrame>>,
    /// Samples of a whole frame.
    frame: usize,
    shared: Arc<Shared>,
    turn: u32,
    generation: u32,
    /// What is not a whole frame yet.
    staged: Frame,
}

impl Downlink {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let frame = SampleRate::NARROWBAND.samples_in_ms(FRAME_MS);
        Self { ring: None, frame, shared, turn: 0, generation: 0, staged: Frame::EMPTY }
    }

    /// Audio may be pushed from here on, at this rate.
    pub(super) fn start(&mut self, ring: FrameProducer<TurnFrame>, sample_rate: SampleRate) {
        self.ring = Some(ring);
        self.frame = sample_rate.samples_in_ms(FRAME_MS);
    }

    /// Queues samples of `turn` and says how many were taken; the rest does not fit yet. Samples of a turn
    /// that was flushed are taken and dropped. The last 20 ms wait for more samples or [`Self::end_of_turn`].
    pub fn push(&mut self, turn: TurnId, samples: &[i16]) -> usize {
        if self.is_flushed(turn) {
            return samples.len();
        }
        if self.ring.is_none() {
            return 0;
        }
        self.begin(turn, DOWNLINK_RESERVE);
        let mut rest = samples;
        while !rest.is_empty() {
            if self.staged.len() == self.frame && !self.send_staged(false, DOWNLINK_RESERVE) {
                break;
            }
            let room = (self.frame - self.staged.len()).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.staged.append(now);
            rest = later;
        }
        if self.staged.len() == self.frame {
            self.send_staged(false, DOWNLINK_RESERVE);
        }
        samples.len() - rest.len()
    }

    /// Samples that [`Self::push`] would take at this moment.
    #[must_use]
    pub fn free(&self) -> usize {
        let Some(ring) = &self.ring else { return 0 };
        ring.free().saturating_sub(DOWNLINK_RESERVE) * self.frame + self.frame.saturating_sub(self.staged.len())
    }

    /// Samples queued and not yet sent, at most: the last frame of a turn counts as a whole one.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.ring.as_ref().map_or(0, FrameProducer::waiting) * self.frame + self.staged.len()
    }

    /// No more audio of `turn` will come: when what is queued has been sent the line is silent, not starved,
    /// and [`super::LegEvent::PlayoutEnded`] follows. Also for a turn without any audio.
    pub fn end_of_turn(&mut self, turn: TurnId) {
        if self.is_flushed(turn) {
            return;
        }
        self.begin(turn, 0);
        self.send_staged(true, 0);
        self.staged = Frame::EMPTY;
        self.shared.ended_below.fetch_max(u64::from(turn.0) + 1, Ordering::Release);
    }

    /// Whether a turn was flushed, in which case what is staged of it is forgotten. Tones start anew.
    fn is_flushed(&mut self, turn: TurnId) -> bool {
        let tones = self.shared.tones.load(Ordering::Acquire);
        let below = self.shared.flushed_below.load(Ordering::Acquire);
        if self.generation != tones {
            self.generation = tones;
            if self.turn == 0 || u64::from(self.turn) < below {
                self.staged = Frame::EMPTY;
            }
        }
        turn != TurnId::NONE && u64::from(turn.0) < below
    }

    /// Voids all audio of `turn` and every turn before it, queued or still to come, and the tones queued so
    /// far: atomic stores only, obeyed within 20 ms with a fade of 10 ms.
    pub fn flush_through(&self, turn: TurnId) {
        self.shared.flushed_below.fetch_max(u64::from(turn.0) + 1, Ordering::Release);
        self.shared.tones.fetch_add(1, Ordering::Release);
    }

    /// Samples of `turn` that were really sent, for the last few turns; 0 for any other.
    #[must_use]
    pub fn played(&self, turn: TurnId) -> u64 {
        self.shared.played(turn.0)
    }

    /// What is staged of another turn goes into the ring as it is.
    fn begin(&mut self, turn: TurnId, reserve: usize) {
        if turn.0 != self.turn {
            self.send_staged(false, reserve);
            self.turn = turn.0;
            self.staged = Frame::EMPTY;
        }
    }

    /// Moves the staged samples into the ring unless it has at most `reserve` free slots; true when nothing
    /// is left staged.
    fn send_staged(&mut self, last: bool, reserve: usize) -> bool {
        if self.staged.is_empty() && !last {
            return true;
        }
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.free() > reserve) else { return false };
        let head = TurnFrame { turn: self.turn, last, generation: self.generation };
        let sent = ring.push(head, self.staged.samples());
        if sent {
            self.staged = Frame::EMPTY;
        }
        sent
    }
}

/// Frames that the deepest ring of a downlink holds.
pub(super) const RING_FRAMES: usize = DOWNLINK_FRAMES + DOWNLINK_RESERVE;
