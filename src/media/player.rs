//! Agent audio, turn by turn, one frame every 20 ms.

use super::downlink::{RING_FRAMES, TurnFrame};
use super::event::LegEvent;
use super::framed::FrameConsumer;
use super::seam::{CUT_FADE_MS, STEP, join, ramp};
use super::shared::Shared;
use crate::base::{SampleRate, TurnId};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A flushed turn fades within this many milliseconds.
const FLUSH_FADE_MS: u32 = 10;
/// A frame is audible when a sample exceeds this: −54 dBFS, above comfort noise of a voice's pauses.
pub(super) const AUDIBLE: u16 = 65;
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
    ring: FrameConsumer<TurnFrame>,
    sample_rate: SampleRate,
    turn: Option<Turn>,
    /// Turns below this have been reported as ended.
    reported_below: u64,
    last_sample: i16,
    /// The next audio does not follow what was last played.
    cut: bool,
    pub(super) starved: u64,
}

impl Player {
    pub(super) fn new(ring: FrameConsumer<TurnFrame>, sample_rate: SampleRate) -> Self {
        Self { ring, sample_rate, turn: None, reported_below: 0, last_sample: 0, cut: true, starved: 0 }
    }

    /// Fills `frame`, 20 ms at the line rate, and reports what happened. `now` is when the frame is sent.
    pub(super) fn next(
        &mut self,
        now: Instant,
        frame: &mut [i16],
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> Content {
        let before = self.last_sample;
        let content = if self.drop_flushed(now, Some(&mut *frame), shared, report) {
            Content::Audio { starts: None }
        } else {
            self.take_frame(now, frame, shared, report)
        };
        self.last_sample = frame.last().copied().unwrap_or(0);
        // What was cut off without warning dies away.
        if content == Content::Silence && before.unsigned_abs() > STEP {
            join(before, frame.iter_mut().take(self.samples(CUT_FADE_MS)));
            return Content::Audio { starts: None };
        }
        content
    }

    /// While nothing may be sent: obeys flushes.
    pub(super) fn hold(&mut self, now: Instant, shared: &Shared, report: &mut dyn FnMut(LegEvent)) {
        self.drop_flushed(now, None, shared, report);
        self.last_sample = 0;
        self.cut = true;
    }

    fn samples(&self, ms: u32) -> usize {
        self.sample_rate.samples_in_ms(ms)
    }

    fn take_frame(
        &mut self,
        now: Instant,
        frame: &mut [i16],
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> Content {
        for _ in 0..RING_FRAMES {
            let Some((head, len)) = self.ring.pop(frame) else {
                frame.fill(0);
                self.starve(now, shared, report);
                return Content::Silence;
            };
            if self.turn.is_some_and(|turn| turn.id != head.turn) {
                self.end(now, report);
            }
            let turn = self.turn.get_or_insert(Turn { id: head.turn, played: 0, audible: false, starved: 0 });
            let len = len.min(frame.len());
            if len == 0 {
                if head.last {
                    self.end(now, report);
                }
                continue;
            }
            if turn.starved > 0 {
                report(LegEvent::Starved { turn: TurnId(turn.id), frames: std::mem::take(&mut turn.starved) });
            }
            turn.played = turn.played.saturating_add(len as u32);
            shared.store_played(turn.id, turn.played);
            let (audio, rest) = frame.split_at_mut(len);
            rest.fill(0);
            let audible = audio.iter().any(|s| s.unsigned_abs() > AUDIBLE);
            let starts = (audible && !turn.audible && turn.id != 0).then_some(TurnId(turn.id));
            turn.audible |= audible;
            let ends_here = !rest.is_empty();
            self.smooth(audio, ends_here);
            if head.last {
                self.end(now, report);
            }
            return Content::Audio { starts };
        }
        frame.fill(0);
        Content::Silence
    }

    /// Takes the clicks out of the beginning and the end of a stretch of audio.
    fn smooth(&mut self, audio: &mut [i16], ends_here: bool) {
        let fade = self.samples(CUT_FADE_MS);
        let first = audio.first().copied().unwrap_or(0);
        if std::mem::replace(&mut self.cut, ends_here) && first.abs_diff(self.last_sample) > STEP {
            join(self.last_sample, audio.iter_mut().take(fade));
        }
        if ends_here && audio.last().is_some_and(|last| last.unsigned_abs() > STEP) {
            for (n, sample) in audio.iter_mut().rev().take(fade).enumerate() {
                *sample = (f32::from(*sample) * ramp(n, fade)) as i16;
            }
        }
    }

    /// Nothing is queued: silence between turns, starvation within one.
    fn starve(&mut self, now: Instant, shared: &Shared, report: &mut dyn FnMut(LegEvent)) {
        self.cut = true;
        let Some(turn) = self.turn.as_mut() else { return };
        if turn.id == 0 || u64::from(turn.id) < shared.ended_below.load(Ordering::Acquire) {
            self.end(now, report);
            return;
        }
        turn.starved += 1;
        self.starved += 1;
    }

    /// Drops all audio of flushed turns. True when `frame` was filled with the fading end of one that played.
    fn drop_flushed(
        &mut self,
        now: Instant,
        frame: Option<&mut [i16]>,
        shared: &Shared,
        report: &mut dyn FnMut(LegEvent),
    ) -> bool {
        let flushed_below = shared.flushed_below.load(Ordering::Acquire);
        let tones = shared.tones.load(Ordering::Acquire);
        let void = |head: &TurnFrame| {
            if head.turn == 0 { head.generation != tones } else { u64::from(head.turn) < flushed_below }
        };
        let mut faded = false;
        if let Some(mut turn) = self.turn
            && turn.id != 0
            && u64::from(turn.id) < flushed_below
        {
            self.cut = true;
            if let Some(frame) = frame
                && let Some((head, len)) = self.ring.peek()
                && head.turn == turn.id
                && len > 0
            {
                self.ring.pop(frame);
                let len = len.min(self.samples(FLUSH_FADE_MS));
                for (n, sample) in frame.iter_mut().enumerate() {
                    *sample = if n < len { (f32::from(*sample) * ramp(len - 1 - n, len)) as i16 } else { 0 };
                }
                turn.played = turn.played.saturating_add(len as u32);
                shared.store_played(turn.id, turn.played);
                faded = true;
            }
            self.turn = Some(turn);
            self.end(now, report);
        }
        while let Some((head, _)) = self.ring.peek().filter(|(head, _)| void(head)) {
            let id = head.turn;
            self.ring.pop(&mut []);
            if id != 0 && u64::from(id) >= self.reported_below {
                self.turn = Some(Turn { id, played: 0, audible: false, starved: 0 });
                self.end(now, report);
            }
        }
        faded
    }

    fn end(&mut self, now: Instant, report: &mut dyn FnMut(LegEvent)) {
        let Some(turn) = self.turn.take() else { return };
        self.cut = true;
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
