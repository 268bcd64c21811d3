//! Agent audio, turn by turn, one frame every 20 ms.

use super::downlink::TurnFrame;
use super::event::LegEvent;
use super::limits::{DOWNLINK_FRAMES, DOWNLINK_RESERVE};
use super::shared::Shared;
use crate::audio::frame::NARROWBAND_FRAME;
use crate::base::TurnId;
use rtrb::Consumer;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Samples over which a flushed turn fades: 10 ms.
const FADE: usize = 80;
/// Samples over which a turn without further audio fades: 5 ms.
const STARVED_FADE: usize = 40;
/// A frame is audible when a sample exceeds this: −54 dBFS, above comfort noise of a voice's pauses.
const AUDIBLE: i16 = 65;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// Digital silence.
    Silence,
    /// Agent audio. `starts` is the turn whose first audible audio it is.
    Audio { starts: Option<TurnId> },
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    id: u32,
    played: u32,
    audible: bool,
    starved: u32,
}

/// Plays turns out of the ring and reports them.
#[derive(Debug)]
pub(super) struct Player {
    ring: Consumer<TurnFrame>,
    turn: Option<Turn>,
    /// Turns below this have been reported as ended.
    reported_below: u64,
    last_sample: i16,
    pub(super) starved: u64,
}

impl Player {
    pub(super) fn new(ring: Consumer<TurnFrame>) -> Self {
        Self { ring, turn: None, reported_below: 0, last_sample: 0, starved: 0 }
    }

    /// Fills `frame` and reports what happened. `now` is when the frame is sent.
    pub(super) fn next(
        &mut self,
        now: Instant,
        frame: &mut [i16; NARROWBAND_FRAME],
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> Content {
        frame.fill(0);
        if self.drop_flushed(now, Some(frame), shared, report) {
            self.last_sample = 0;
            return Content::Audio { starts: None };
        }
        let content = self.take_frame(now, frame, shared, report);
        self.last_sample = frame.last().copied().unwrap_or(0);
        content
    }

    /// While nothing may be sent: obeys flushes.
    pub(super) fn hold(&mut self, now: Instant, shared: &Shared, report: &mut dyn FnMut(LegEvent)) {
        self.drop_flushed(now, None, shared, report);
    }

    fn take_frame(
        &mut self,
        now: Instant,
        frame: &mut [i16; NARROWBAND_FRAME],
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> Content {
        for _ in 0..DOWNLINK_FRAMES + DOWNLINK_RESERVE {
            let Ok(head) = self.ring.pop() else {
                return self.starve(now, frame, shared, report);
            };
            if self.turn.is_some_and(|turn| turn.id != head.turn) {
                self.end(now, report);
            }
            let turn = self.turn.get_or_insert(Turn { id: head.turn, played: 0, audible: false, starved: 0 });
            let len = usize::from(head.len).min(NARROWBAND_FRAME);
            if len == 0 {
                if head.last {
                    self.end(now, report);
                }
                continue;
            }
            if turn.starved > 0 {
                report(LegEvent::Starved { turn: TurnId(turn.id), frames: std::mem::take(&mut turn.starved) });
            }
            for (slot, sample) in frame.iter_mut().zip(head.samples.iter().take(len)) {
                *slot = *sample;
            }
            turn.played = turn.played.saturating_add(len as u32);
            shared.store_played(turn.id, turn.played);
            let audible = frame.iter().any(|s| s.unsigned_abs() > AUDIBLE.unsigned_abs());
            let starts = (audible && !turn.audible && turn.id != 0).then_some(TurnId(turn.id));
            turn.audible |= audible;
            if head.last {
                self.end(now, report);
            }
            return Content::Audio { starts };
        }
        Content::Silence
    }

    /// Nothing is queued: silence between turns, starvation within one.
    fn starve(
        &mut self,
        now: Instant,
        frame: &mut [i16; NARROWBAND_FRAME],
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> Content {
        let Some(turn) = self.turn.as_mut() else { return Content::Silence };
        if turn.id == 0 || u64::from(turn.id) < shared.ended_below.load(Ordering::Acquire) {
            self.end(now, report);
            return Content::Silence;
        }
        turn.starved += 1;
        self.starved += 1;
        if self.last_sample == 0 {
            return Content::Silence;
        }
        // The cut would click.
        for (n, sample) in frame.iter_mut().take(STARVED_FADE).enumerate() {
            *sample = (i32::from(self.last_sample) * (STARVED_FADE - n) as i32 / (STARVED_FADE + 1) as i32) as i16;
        }
        Content::Audio { starts: None }
    }

    /// Drops all audio of flushed turns. True when `frame` was filled with the fading end of one that played.
    fn drop_flushed(
        &mut self,
        now: Instant,
        frame: Option<&mut [i16; NARROWBAND_FRAME]>,
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> bool {
        let flushed_below = shared.flushed_below.load(Ordering::Acquire);
        let tones = shared.tones.load(Ordering::Acquire);
        let void = |turn: u32, generation: u32| {
            if turn == 0 { generation != tones } else { u64::from(turn) < flushed_below }
        };
        let mut faded = false;
        if let Some(mut turn) = self.turn
            && turn.id != 0
            && u64::from(turn.id) < flushed_below
        {
            if let Some(frame) = frame
                && let Ok(head) = self.ring.peek()
                && head.turn == turn.id
                && head.len > 0
            {
                let len = usize::from(head.len).min(FADE);
                for (n, (slot, sample)) in frame.iter_mut().zip(head.samples.iter().take(len)).enumerate() {
                    *slot = (i32::from(*sample) * (len - n) as i32 / (len + 1) as i32) as i16;
                }
                turn.played = turn.played.saturating_add(len as u32);
                shared.store_played(turn.id, turn.played);
                faded = true;
            }
            self.turn = Some(turn);
            self.end(now, report);
        }
        while let Ok(head) = self.ring.peek()
            && void(head.turn, head.generation)
        {
            let id = head.turn;
            let _ = self.ring.pop();
            if id != 0 && u64::from(id) >= self.reported_below {
                self.turn = Some(Turn { id, played: 0, audible: false, starved: 0 });
                self.end(now, report);
            }
        }
        faded
    }

    fn end(&mut self, now: Instant, report: &mut dyn FnMut(LegEvent)) {
        let Some(turn) = self.turn.take() else { return };
        if turn.id == 0 || u64::from(turn.id) < self.reported_below {
            return;
        }
        self.reported_below = u64::from(turn.id) + 1;
        if turn.starved > 0 {
            report(LegEvent::Starved { turn: TurnId(turn.id), frames: turn.starved });
        }
        let samples_played = u64::from(turn.played);
        report(LegEvent::PlayoutEnded { turn: TurnId(turn.id), at: now, samples_played });
    }
}

#[cfg(test)]
mod tests;
