//! A ring towards the caller for tests: it takes what fits, and a test plays it by hand.

use super::playout::Downlink;
use crate::base::TurnId;
use std::collections::{HashMap, VecDeque};

pub(super) struct HandPlayedRing {
    /// Samples that fit in.
    room: usize,
    pub(super) waiting: VecDeque<(TurnId, usize)>,
    pub(super) played: HashMap<TurnId, u64>,
    pub(super) ended: Vec<TurnId>,
    pub(super) flushed: Option<TurnId>,
}

impl HandPlayedRing {
    pub(super) fn new(room: usize) -> Self {
        Self { room, waiting: VecDeque::new(), played: HashMap::new(), ended: Vec::new(), flushed: None }
    }

    pub(super) fn play(&mut self, mut samples: usize) {
        while let (true, Some((turn, waiting))) = (samples > 0, self.waiting.front_mut()) {
            let now = samples.min(*waiting);
            *self.played.entry(*turn).or_default() += now as u64;
            *waiting -= now;
            samples -= now;
            if *waiting == 0 {
                self.waiting.pop_front();
            }
        }
    }
}

impl Downlink for HandPlayedRing {
    fn push(&mut self, turn: TurnId, samples: &[i16]) -> usize {
        let free = self.room - self.waiting.iter().map(|(_, n)| n).sum::<usize>();
        let taken = samples.len().min(free);
        self.waiting.push_back((turn, taken));
        taken
    }
    fn end_of_turn(&mut self, turn: TurnId) {
        self.ended.push(turn);
    }
    fn flush_through(&mut self, turn: TurnId) {
        self.flushed = Some(turn);
        self.waiting.retain(|(waiting, _)| *waiting > turn);
    }
    fn played(&self, turn: TurnId) -> u64 {
        self.played.get(&turn).copied().unwrap_or(0)
    }
}
