//! One segment of caller speech: what is listened to, what has been heard, who waits for it.

use super::words::Words;
use crate::base::{Pii, SegmentId};
use crate::providers::SttEvent;
use crate::providers::format::AudioFormat;
use std::time::Instant;

/// A segment. Places are octets since the call began; clocks are octets on the present connection.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    begin: u64,
    /// Between `start` and `finish`.
    pub(super) listening: bool,
    /// Where the last `finish` was.
    pub(super) end: u64,
    pub(super) words: Words,
    /// The answer that is waited for.
    pub(super) want: Option<Want>,
    /// Words without times are this segment's once so many requests of the connection are answered.
    pub(super) after: u64,
    /// The connection's clock where the segment begins.
    pub(super) clock: u64,
    /// When its audio began to be sent on this connection.
    pub(super) sent_since: Option<Instant>,
    /// Octets of it sent on this connection.
    pub(super) sent: u64,
    /// The vendor has said anything since.
    pub(super) answered: bool,
    /// Place up to which audio had been sent when the vendor took the turn for finished; none once it has heard more.
    pub(super) ended: Option<u64>,
    /// Everything before has been heard for good.
    stable: u64,
    told: Pii<String>,
}

/// A `finish` that waits for its answer.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) since: Instant,
    /// Answers owed: one for each `finish`.
    count: u32,
    /// The number of the request that the vendor has been sent.
    pub(super) asked: Option<u64>,
    flush_due: Option<Instant>,
    latest: Instant,
}

impl Want {
    /// When what is known is given.
    pub(super) fn due(&self) -> Instant {
        self.flush_due.unwrap_or(self.latest).min(self.latest)
    }
}

impl Segment {
    pub(super) fn new(id: SegmentId, begin: u64, after: u64, clock: u64) -> Self {
        Self {
            id,
            begin,
            listening: true,
            end: begin,
            words: Words::default(),
            want: None,
            after,
            clock,
            sent_since: None,
            sent: 0,
            answered: false,
            ended: None,
            stable: begin,
            told: Pii::default(),
        }
    }

    /// Where its audio ends, of which so much has been sent.
    pub(super) fn end_of_audio(&self, sent_to: u64) -> u64 {
        if self.listening { sent_to.max(self.begin) } else { self.end }
    }

    pub(super) fn resume(&mut self) {
        self.listening = true;
        self.want = None;
    }

    pub(super) fn finish(&mut self, end: u64, now: Instant, latest: Instant) {
        if self.listening {
            self.end = end;
        }
        self.listening = false;
        match &mut self.want {
            Some(want) => want.count += 1,
            None => self.want = Some(Want { since: now, count: 1, asked: None, flush_due: None, latest }),
        }
    }

    /// The vendor has been asked.
    pub(super) fn asked(&mut self, number: u64, flush_due: Instant) {
        if let Some(want) = &mut self.want {
            want.asked = Some(number);
            want.flush_due = Some(flush_due);
        }
    }

    /// So many requests are answered.
    pub(super) fn flushed(&mut self, answered: u64, sent_to: u64) {
        let all = self.want.as_ref().and_then(|want| want.asked).is_some_and(|asked| answered >= asked);
        if all {
            self.stable = self.stable.max(sent_to.min(self.end));
        }
    }

    /// From where on a fresh connection would have to hear; `None` when everything has been heard and answered.
    pub(super) fn unheard_from(&self) -> Option<u64> {
        let is_answered = !self.listening && self.want.is_none() && self.stable >= self.end;
        (!is_answered).then_some(self.stable)
    }

    /// Goes over to a fresh connection, and says from where on it has to hear.
    pub(super) fn tell_again(&mut self, oldest: u64) -> u64 {
        (self.after, self.clock, self.sent, self.sent_since, self.answered) = (0, 0, 0, None, false);
        self.ended = None;
        if let Some(want) = &mut self.want {
            (want.asked, want.flush_due) = (None, None);
        }
        let from = self.stable.max(oldest);
        self.words.rewind(from);
        from
    }

    /// Whether a vendor that has answered so many requests speaks of this segment, and of what is being said.
    pub(super) fn hears(&self, answered: u64) -> bool {
        self.listening && answered >= self.after
    }

    /// The words so far, when they are others than those told and the caller speaks or is waited for.
    pub(super) fn partial(&mut self) -> Option<SttEvent> {
        let text = self.words.text();
        let fresh = (self.listening || self.want.is_some()) && text != self.told && !text.expose().is_empty();
        fresh.then(|| {
            self.told = text.clone();
            SttEvent::Partial { segment: self.id, text }
        })
    }

    /// The answers owed.
    pub(super) fn answer(&mut self, now: Instant, format: AudioFormat, complete: bool) -> Vec<SttEvent> {
        let Some(want) = self.want.take() else { return Vec::new() };
        if complete {
            self.stable = self.end;
        }
        let audio = super::session::duration_of(format, self.end.saturating_sub(self.begin));
        let took = now.saturating_duration_since(want.since);
        let (text, confidence) = (self.words.text(), self.words.confidence());
        let answer = SttEvent::Final { segment: self.id, text, confidence, audio, took };
        std::iter::repeat_n(answer, want.count as usize).collect()
    }
}
