//! Agent audio on its way to the caller.

use super::limits::{DOWNLINK_FRAMES, DOWNLINK_RESERVE};
use super::shared::Shared;
use crate::audio::frame::NARROWBAND_FRAME;
use crate::base::TurnId;
use rtrb::Producer;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Up to 20 ms of one turn as it crosses the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnFrame {
    pub(super) turn: u32,
    pub(super) len: u16,
    /// No audio of this turn follows.
    pub(super) last: bool,
    /// Of a frame without a turn: the count of flushes when it was queued.
    pub(super) generation: u32,
    pub(super) samples: [i16; NARROWBAND_FRAME],
}

/// The agent's side of a leg: 8 kHz samples by turn, sent in order, one frame per 20 ms.
///
/// Turn ids may only grow from call to call of [`Self::push`]. [`TurnId::NONE`] is for tones: it makes no
/// events and is never starved, and may be pushed between turns at any time.
#[derive(Debug)]
pub struct Downlink {
    pub(super) ring: Producer<TurnFrame>,
    pub(super) shared: Arc<Shared>,
    pub(super) staged: TurnFrame,
}

impl Downlink {
    pub(super) fn new(ring: Producer<TurnFrame>, shared: Arc<Shared>) -> Self {
        Self {
            ring,
            shared,
            staged: TurnFrame { turn: 0, len: 0, last: false, generation: 0, samples: [0; NARROWBAND_FRAME] },
        }
    }

    /// Queues samples of `turn` and says how many were taken; the rest does not fit yet. Samples of a turn
    /// that was flushed are taken and dropped. The last 20 ms wait for more samples or [`Self::end_of_turn`].
    pub fn push(&mut self, turn: TurnId, samples: &[i16]) -> usize {
        if self.is_flushed(turn) {
            return samples.len();
        }
        if turn.0 != self.staged.turn {
            self.send_staged(false, DOWNLINK_RESERVE);
            self.staged.turn = turn.0;
            self.staged.len = 0;
        }
        let mut taken = 0;
        for sample in samples {
            if usize::from(self.staged.len) == NARROWBAND_FRAME && !self.send_staged(false, DOWNLINK_RESERVE) {
                break;
            }
            if let Some(slot) = self.staged.samples.get_mut(usize::from(self.staged.len)) {
                *slot = *sample;
                self.staged.len += 1;
                taken += 1;
            }
        }
        if usize::from(self.staged.len) == NARROWBAND_FRAME {
            self.send_staged(false, DOWNLINK_RESERVE);
        }
        taken
    }

    /// Samples that [`Self::push`] would take at this moment.
    #[must_use]
    pub fn free(&self) -> usize {
        self.ring.slots().saturating_sub(DOWNLINK_RESERVE) * NARROWBAND_FRAME
            + (NARROWBAND_FRAME - usize::from(self.staged.len))
    }

    /// Samples queued and not yet sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        (DOWNLINK_FRAMES + DOWNLINK_RESERVE).saturating_sub(self.ring.slots()) * NARROWBAND_FRAME
            + usize::from(self.staged.len)
    }

    /// No more audio of `turn` will come: when what is queued has been sent the line is silent, not starved,
    /// and [`super::LegEvent::PlayoutEnded`] follows. Also for a turn without any audio.
    pub fn end_of_turn(&mut self, turn: TurnId) {
        if self.is_flushed(turn) {
            return;
        }
        if turn.0 != self.staged.turn {
            self.send_staged(false, 0);
            self.staged.turn = turn.0;
            self.staged.len = 0;
        }
        self.send_staged(true, 0);
        self.staged.len = 0;
        self.shared.ended_below.fetch_max(u64::from(turn.0) + 1, Ordering::Release);
    }

    /// Whether a turn was flushed, in which case what is staged of it is forgotten. Tones start anew.
    fn is_flushed(&mut self, turn: TurnId) -> bool {
        let tones = self.shared.tones.load(Ordering::Acquire);
        let below = self.shared.flushed_below.load(Ordering::Acquire);
        if self.staged.generation != tones {
            self.staged.generation = tones;
            if self.staged.turn == 0 || u64::from(self.staged.turn) < below {
                self.staged.len = 0;
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

    /// Moves the staged samples into the ring unless it has at most `reserve` free slots; true when nothing
    /// is left staged.
    fn send_staged(&mut self, last: bool, reserve: usize) -> bool {
        if self.staged.len == 0 && !last {
            return true;
        }
        if self.ring.slots() <= reserve {
            return false;
        }
        self.staged.last = last;
        let sent = self.ring.push(self.staged).is_ok();
        if sent {
            self.staged.len = 0;
        }
        sent
    }
}
