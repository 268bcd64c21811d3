//! What the agent is saying: a deep queue of synthesised speech above the shallow ring of the media worker.
//!
//! Each run of an utterance into the ring carries a [`TurnId`] of its own, so a hold is one atomic flush and
//! the part that was really played is known to the sample. A held utterance goes on from the word it was in.

use crate::agent::UtteranceId;
use crate::audio::resample;
use crate::base::{SampleRate, TurnId};
use crate::providers::{TtsChunk, WordMark};
use std::collections::VecDeque;

/// The way down to the caller's ear: what a media leg offers.
pub trait Downlink {
    /// Appends samples of `turn`; returns how many found room.
    fn push(&mut self, turn: TurnId, samples: &[i16]) -> usize;
    /// No more audio of `turn` will come.
    fn end_of_turn(&mut self, turn: TurnId);
    /// Drops all audio of `turn` and earlier at once.
    fn flush_through(&mut self, turn: TurnId);
    /// Samples of `turn` that were sent.
    fn played(&self, turn: TurnId) -> u64;
}

/// An utterance is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// Which.
    pub utterance: UtteranceId,
    /// The part that was played, cut at a word.
    pub heard: String,
    /// Samples of it that were played.
    pub played: usize,
    /// True when it was played to its end.
    pub complete: bool,
}

#[derive(Debug)]
struct Utterance {
    id: UtteranceId,
    text: String,
    interruptible: bool,
    /// The same in every call.
    fixed: bool,
    /// Its audio comes by itself, from a speech-to-speech model.
    live: bool,
    samples: Vec<i16>,
    marks: Vec<WordMark>,
    synthesised: bool,
    /// Where the present run into the ring began, and how far it got.
    run: Option<Run>,
    /// Played in earlier runs, at a word's start.
    offset: usize,
}

#[derive(Debug)]
struct Run {
    turn: TurnId,
    from: usize,
    pushed: usize,
    ended: bool,
}

impl Utterance {
    /// Samples played so far: earlier runs and the present one.
    fn played(&self, downlink: &impl Downlink) -> usize {
        match &self.run {
            Some(run) => run.from + (downlink.played(run.turn) as usize).min(run.pushed - run.from),
            None => self.offset,
        }
    }

    fn heard(&self, played: usize) -> String {
        let end = self.marks.iter().filter(|m| m.sample_end <= played).map(|m| m.text_end).max().unwrap_or(0);
        self.text.get(..end).unwrap_or(&self.text).to_owned()
    }
}

/// The queue. Rule for the caller: [`Self::pump`] after every change and at least every 200 ms while speaking.
#[derive(Debug, Default)]
pub struct Playout {
    queue: VecDeque<Utterance>,
    last_turn: TurnId,
    held: bool,
}

impl Playout {
    /// Queues an utterance; its audio follows.
    pub fn speak(&mut self, id: UtteranceId, text: String, interruptible: bool, fixed: bool) {
        self.queue_up(id, text, interruptible, fixed, false);
    }

    /// Queues an utterance whose audio nobody has to ask for, and whose words follow by [`Self::word`], if at all.
    pub fn speak_live(&mut self, id: UtteranceId) {
        self.queue_up(id, String::new(), true, false, true);
    }

    fn queue_up(&mut self, id: UtteranceId, text: String, interruptible: bool, fixed: bool, live: bool) {
        self.queue.push_back(Utterance {
            id,
            text,
            interruptible,
            fixed,
            live,
            samples: Vec::new(),
            marks: Vec::new(),
            synthesised: false,
            run: None,
            offset: 0,
        });
    }

    /// The first utterance that still needs synthesis, with its text, and whether that is the same in every call.
    #[must_use]
    pub fn next_to_synthesise(&self) -> Option<(UtteranceId, &str, bool)> {
        self.queue.iter().find(|u| !u.synthesised && !u.live).map(|u| (u.id, u.text.as_str(), u.fixed))
    }

    /// Whether an utterance is queued or playing.
    #[must_use]
    pub fn has(&self, id: UtteranceId) -> bool {
        self.queue.iter().any(|u| u.id == id)
    }

    /// Whether more audio of an utterance is to come.
    #[must_use]
    pub fn awaits_audio(&self, id: UtteranceId) -> bool {
        self.queue.iter().any(|u| u.id == id && !u.synthesised)
    }

    /// The words of a live utterance, whose times nobody tells: they are spread over its audio so far.
    pub fn word(&mut self, id: UtteranceId, text: String) {
        let Some(u) = self.queue.iter_mut().find(|u| u.id == id && u.live) else { return };
        let ends = text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
        let ends = ends.chain(std::iter::once(text.len()));
        let (length, samples) = (text.len().max(1), u.samples.len());
        u.marks = ends.map(|end| WordMark { text_end: end, sample_end: samples * end / length }).collect();
        u.text = text;
    }

    /// Whether everything queued may be interrupted.
    #[must_use]
    pub fn interruptible(&self) -> bool {
        self.queue.iter().all(|u| u.interruptible)
    }

    /// True when nothing is queued, held or playing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Audio of an utterance; ignored when the utterance is gone.
    pub fn audio(&mut self, id: UtteranceId, chunk: TtsChunk) {
        if let Some(u) = self.queue.iter_mut().find(|u| u.id == id) {
            u.samples.extend_from_slice(&chunk.samples);
            u.marks.extend_from_slice(&chunk.marks);
        }
    }

    /// All audio of an utterance has come (or, after a failure, no more will).
    pub fn synthesised(&mut self, id: UtteranceId) {
        if let Some(u) = self.queue.iter_mut().find(|u| u.id == id) {
            u.synthesised = true;
        }
    }

    /// Moves audio into the ring and takes finished utterances off the queue.
    pub fn pump(&mut self, downlink: &mut impl Downlink) -> Vec<Spoken> {
        let mut spoken = Vec::new();
        if self.held {
            return spoken;
        }
        while let Some(first) = self.queue.front() {
            let done = first.synthesised
                && (first.samples.is_empty()
                    || first
                        .run
                        .as_ref()
                        .is_some_and(|r| r.ended && r.from + downlink.played(r.turn) as usize >= first.samples.len()));
            if !done {
                break;
            }
            spoken.extend(self.queue.pop_front().map(|u| Spoken {
                utterance: u.id,
                played: u.samples.len(),
                heard: u.text,
                complete: true,
            }));
        }
        for u in &mut self.queue {
            if u.run.is_none() && u.samples.len() > u.offset {
                self.last_turn = self.last_turn.next();
                u.run = Some(Run { turn: self.last_turn, from: u.offset, pushed: u.offset, ended: false });
            }
            if let Some(run) = &mut u.run {
                if let Some(rest) = u.samples.get(run.pushed..).filter(|r| !r.is_empty()) {
                    run.pushed += downlink.push(run.turn, rest);
                }
                if u.synthesised && !run.ended && run.pushed == u.samples.len() {
                    run.ended = true;
                    downlink.end_of_turn(run.turn);
                }
            }
            if !u.run.as_ref().is_some_and(|r| r.ended) {
                break;
            }
        }
        spoken
    }

    /// The turn of the media run that plays `turn`'s audio belongs to an utterance still queued.
    #[must_use]
    pub fn is_current(&self, turn: TurnId) -> bool {
        self.queue.iter().any(|u| u.run.as_ref().is_some_and(|r| r.turn == turn))
    }

    /// Silences the agent at once and keeps what was not played.
    pub fn hold(&mut self, downlink: &mut impl Downlink) {
        if std::mem::replace(&mut self.held, true) {
            return;
        }
        for u in &mut self.queue {
            let played = u.played(downlink);
            u.run = None;
            u.offset = u
                .marks
                .iter()
                .map(|m| m.sample_end)
                .filter(|end| *end <= played)
                .max()
                .unwrap_or(0)
                .max(u.offset.min(played));
        }
        downlink.flush_through(self.last_turn);
    }

    /// What was not played goes on at another rate. Rule for the caller: [`Self::hold`] first.
    pub fn change_rate(&mut self, from: SampleRate, to: SampleRate) {
        for u in &mut self.queue {
            let all = TtsChunk {
                samples: std::mem::take(&mut u.samples),
                marks: std::mem::take(&mut u.marks),
                ..TtsChunk::default()
            };
            TtsChunk { samples: u.samples, marks: u.marks, .. } = at_rate(all, from, to);
            u.offset = scaled(u.offset, from, to).min(u.samples.len());
        }
    }

    /// Lets a held agent go on.
    pub fn resume(&mut self) {
        self.held = false;
    }

    /// Forgets everything not played and says what was heard of each utterance that had begun or was waiting.
    pub fn void(&mut self, downlink: &mut impl Downlink) -> Vec<Spoken> {
        let spoken = self
            .queue
            .drain(..)
            .map(|u| {
                let played = u.played(downlink);
                Spoken { utterance: u.id, heard: u.heard(played), played, complete: false }
            })
            .collect();
        downlink.flush_through(self.last_turn);
        self.held = false;
        spoken
    }
}

/// A piece of audio at another rate, its marks with it.
pub(super) fn at_rate(mut chunk: TtsChunk, from: SampleRate, to: SampleRate) -> TtsChunk {
    if from != to {
        chunk.samples = resample::convert(&chunk.samples, from, to).unwrap_or_default();
        for mark in &mut chunk.marks {
            mark.sample_end = scaled(mark.sample_end, from, to);
        }
    }
    chunk
}

fn scaled(at: usize, from: SampleRate, to: SampleRate) -> usize {
    (at as u64 * u64::from(to.0) / u64::from(from.0.max(1))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::hand_played_ring::HandPlayedRing;

    /// Not as long as an utterance of two words.
    const ROOM: usize = 1_000;

    fn two_words() -> TtsChunk {
        TtsChunk {
            samples: vec![1; 1_600],
            marks: vec![WordMark { text_end: 5, sample_end: 800 }, WordMark { text_end: 11, sample_end: 1_600 }],
            ..TtsChunk::default()
        }
    }

    #[test]
    fn an_utterance_longer_than_the_ring_is_played_to_its_end_and_reported_once() {
        let (mut playout, mut ring) = (Playout::default(), HandPlayedRing::new(ROOM));
        playout.speak(UtteranceId(1), "Hello there".into(), true, false);
        playout.audio(UtteranceId(1), two_words());
        playout.synthesised(UtteranceId(1));
        assert!(playout.pump(&mut ring).is_empty());
        ring.play(1_000);
        assert!(playout.pump(&mut ring).is_empty());
        ring.play(600);
        let spoken = playout.pump(&mut ring);
        assert_eq!(spoken.len(), 1);
        assert_eq!((spoken[0].utterance, spoken[0].heard.as_str()), (UtteranceId(1), "Hello there"));
        assert!(spoken[0].complete);
        assert!(playout.is_empty());
    }

    #[test]
    fn only_the_words_that_were_played_count_as_heard() {
        let (mut playout, mut ring) = (Playout::default(), HandPlayedRing::new(ROOM));
        playout.speak(UtteranceId(1), "Hello there".into(), true, false);
        playout.speak(UtteranceId(2), "Second".into(), true, false);
        playout.audio(UtteranceId(1), two_words());
        playout.pump(&mut ring);
        ring.play(900);
        let spoken = playout.void(&mut ring);
        assert_eq!(spoken[0].heard, "Hello");
        let nothing = Spoken { utterance: UtteranceId(2), heard: String::new(), played: 0, complete: false };
        assert_eq!(spoken[1], nothing);
        assert!(ring.waiting.is_empty());
    }

    #[test]
    fn a_held_utterance_goes_on_at_the_word_it_was_in() {
        let (mut playout, mut ring) = (Playout::default(), HandPlayedRing::new(ROOM));
        playout.speak(UtteranceId(1), "Hello there".into(), true, false);
        playout.audio(UtteranceId(1), two_words());
        playout.synthesised(UtteranceId(1));
        playout.pump(&mut ring);
        ring.play(900);
        playout.hold(&mut ring);
        assert!(ring.waiting.is_empty() && playout.pump(&mut ring).is_empty() && ring.waiting.is_empty());
        playout.resume();
        playout.pump(&mut ring);
        assert_eq!(ring.waiting.iter().map(|(_, n)| n).sum::<usize>(), 800, "from the start of the second word");
        ring.play(800);
        assert!(playout.pump(&mut ring)[0].complete);
    }

    #[test]
    fn a_held_utterance_goes_on_at_the_same_word_on_a_line_of_another_rate() {
        let (mut playout, mut ring) = (Playout::default(), HandPlayedRing::new(ROOM));
        playout.speak(UtteranceId(1), "Hello there".into(), true, false);
        playout.audio(UtteranceId(1), two_words());
        playout.synthesised(UtteranceId(1));
        playout.pump(&mut ring);
        ring.play(900);
        playout.hold(&mut ring);
        playout.change_rate(SampleRate::NARROWBAND, SampleRate::WIDEBAND);
        playout.resume();
        playout.pump(&mut ring);
        ring.play(1_000);
        playout.pump(&mut ring);
        let second = 1_000 + ring.waiting.iter().map(|(_, n)| n).sum::<usize>();
        assert!((1_580..=1_620).contains(&second), "{second}: the second word, twice as many samples");
        ring.play(1_000);
        assert_eq!(playout.pump(&mut ring)[0].heard, "Hello there");
    }

    #[test]
    fn an_utterance_without_audio_is_over_at_once() {
        let (mut playout, mut ring) = (Playout::default(), HandPlayedRing::new(ROOM));
        playout.speak(UtteranceId(1), String::new(), true, false);
        playout.synthesised(UtteranceId(1));
        assert!(playout.pump(&mut ring)[0].complete);
    }
}
