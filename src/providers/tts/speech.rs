//! One utterance on its way to the call: octets and word times come in, chunks go out, and time shows when the vendor is
//! late. Pure.

use super::marks::Marks;
use super::protocol::Voiced;
use super::{SpeakRequest, TtsChunk};
use crate::audio::resample::ResampleError;
use crate::base::SampleRate;
use crate::providers::Meter;
use crate::providers::format::{AudioFormat, Decoder};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Audio that can be playing before we know: what a call takes ahead of time.
const AHEAD: Duration = Duration::from_millis(400);

/// What is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Deadlines {
    /// From the request, or that for a further piece, to its first audio.
    pub first: Duration,
    /// Between two signs of progress after that.
    pub stall: Duration,
    /// How far the audio of a piece may fall behind the clock once all of it is played.
    pub behind: Duration,
}

/// One utterance.
pub(super) struct Speech {
    meter: Arc<Meter>,
    rate: SampleRate,
    text_len: usize,
    decoder: Decoder,
    marks: Marks,
    deadlines: Deadlines,
    pending: TtsChunk,
    began: Instant,
    /// The piece that is awaited or being heard: since when, and the sample where it begins.
    piece: (Instant, usize),
    started: Option<Instant>,
    progress: Option<Instant>,
    /// When the audio so far will have been played, if it is played as it comes.
    lasts: Instant,
    samples: usize,
    over: bool,
}

impl Speech {
    /// An utterance that is asked for `now`.
    ///
    /// # Errors
    /// The vendor's rate cannot be brought to the line's.
    pub fn new(
        request: &SpeakRequest,
        format: AudioFormat,
        timed: bool,
        deadlines: Deadlines,
        meter: Arc<Meter>,
        now: Instant,
    ) -> Result<Self, ResampleError> {
        Ok(Self {
            meter,
            rate: request.rate,
            text_len: request.text.len(),
            decoder: Decoder::inbound(format, request.rate)?,
            marks: Marks::new(&request.text, timed, request.rate.0, request.speed),
            deadlines,
            pending: TtsChunk::default(),
            began: now,
            piece: (now, 0),
            started: None,
            progress: None,
            lasts: now,
            samples: 0,
            over: false,
        })
    }

    /// The vendor's news of it. [`Voiced::Failed`] is not for here.
    ///
    /// # Errors
    /// A format that cannot be brought to the line's rate.
    pub fn hear(&mut self, voiced: &Voiced, now: Instant) -> Result<(), ResampleError> {
        match voiced {
            Voiced::Format { format, .. } => self.decoder = Decoder::inbound(*format, self.rate)?,
            Voiced::Audio { octets, .. } => {
                if octets.is_empty() {
                    return Ok(());
                }
                if self.started.is_none() {
                    self.started = Some(now);
                    self.meter.first(now.saturating_duration_since(self.began));
                }
                if self.progress.is_none() {
                    self.lasts = self.lasts.max(now);
                }
                self.progress = Some(now);
                let before = self.pending.samples.len();
                self.decoder.decode(octets, &mut self.pending.samples, &self.meter.conversions);
                let more = self.pending.samples.len() - before;
                self.samples += more;
                self.lasts += self.rate.duration_of(more);
            }
            Voiced::Words { words, .. } => {
                self.progress = self.progress.map(|_| now);
                for (word, end) in words {
                    let samples = (end.as_secs_f64() * f64::from(self.rate.0)) as usize;
                    self.marks.spoken(word, self.piece.1 + samples);
                }
            }
            Voiced::Done { .. } | Voiced::Failed { .. } => {}
        }
        let playable = self.started.map_or(Duration::ZERO, |at| now.saturating_duration_since(at) + AHEAD);
        let playable = (playable.as_secs_f64() * f64::from(self.rate.0)) as usize;
        self.pending.marks.extend(self.marks.take(self.samples, playable));
        Ok(())
    }

    /// The next piece of the text is asked for; all audio up to `text_end` has come.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn next_piece(&mut self, text_end: usize, format: AudioFormat, now: Instant) -> Result<(), ResampleError> {
        self.drain();
        self.decoder = Decoder::inbound(format, self.rate)?;
        self.marks.reached(text_end, self.samples);
        self.pending.marks.extend(self.marks.take(self.samples, 0));
        self.piece = (now, self.samples);
        self.progress = None;
        Ok(())
    }

    /// All audio has come.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.drain();
            self.pending.marks.extend(self.marks.finish(self.text_len, self.samples));
            self.meter.moved(self.rate.duration_of(self.samples));
        }
    }

    fn drain(&mut self) {
        let before = self.pending.samples.len();
        self.decoder.finish(&mut self.pending.samples);
        self.samples += self.pending.samples.len() - before;
    }

    /// Whether there is something for the call.
    pub fn has_chunk(&self) -> bool {
        !self.pending.samples.is_empty() || !self.pending.marks.is_empty()
    }

    /// What there is for the call.
    pub fn take_chunk(&mut self) -> TtsChunk {
        std::mem::take(&mut self.pending)
    }

    /// Audio that waits for the call.
    pub fn waiting(&self) -> Duration {
        self.rate.duration_of(self.pending.samples.len())
    }

    /// Whether a text with words has no audio: the vendor's answer is none.
    pub fn is_missing(&self) -> bool {
        self.started.is_none() && self.marks.has_words()
    }

    /// The vendor was not read for a while: it gets its time anew.
    pub fn resumed(&mut self, now: Instant) {
        self.progress = self.progress.map(|_| now);
        self.lasts = self.lasts.max(now);
    }

    /// Whether all has come.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// When the vendor is too late, what for, and after how long; `None` when nothing is awaited.
    pub fn deadline(&self) -> Option<(Instant, &'static str, Duration)> {
        if self.over {
            return None;
        }
        let Deadlines { first, stall, behind } = self.deadlines;
        let Some(at) = self.progress else { return Some((self.piece.0 + first, "first audio", first)) };
        let (stalls, lags) = (at + stall, self.lasts + behind);
        Some(if lags < stalls {
            (lags, "audio as fast as it is spoken", behind)
        } else {
            (stalls, "further audio", stall)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::WordMark;
    use super::super::protocol::ONLY;
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DEADLINES: Deadlines = Deadlines {
        first: Duration::from_millis(100),
        stall: Duration::from_millis(50),
        behind: Duration::from_millis(80),
    };

    fn speech(text: &str, timed: bool, format: AudioFormat, now: Instant) -> Speech {
        let request = SpeakRequest::new(text, SampleRate::NARROWBAND);
        Speech::new(&request, format, timed, DEADLINES, Arc::default(), now).unwrap()
    }

    fn audio(octets: &[u8]) -> Voiced {
        Voiced::Audio { id: ONLY, octets: octets.to_vec() }
    }

    #[test]
    fn chunks_that_nobody_takes_become_one_and_nothing_is_lost() {
        let now = Instant::now();
        let mut speech = speech("one two", true, AudioFormat::MULAW, now);
        for _ in 0..100 {
            speech.hear(&audio(&[0xFF; 160]), now).unwrap();
        }
        let words = vec![("one".to_owned(), 500 * MS), ("two".to_owned(), 1_500 * MS)];
        speech.hear(&Voiced::Words { id: ONLY, words }, now).unwrap();
        speech.finish();
        let chunk = speech.take_chunk();
        assert_eq!(chunk.samples.len(), 16_000);
        let marks = [WordMark { text_end: 3, sample_end: 4_000 }, WordMark { text_end: 7, sample_end: 12_000 }];
        assert_eq!(chunk.marks, marks);
        assert!(!speech.has_chunk());
        assert_eq!(speech.meter.read().audio, 2_000 * MS);
        assert_eq!((speech.meter.conversions.passed(), speech.meter.conversions.resampled()), (100, 0));
    }

    #[test]
    fn the_first_audio_and_every_later_one_have_their_deadline() {
        let now = Instant::now();
        let mut speech = speech("one", false, AudioFormat::MULAW, now);
        assert_eq!(speech.deadline(), Some((now + 100 * MS, "first audio", 100 * MS)));
        speech.hear(&Voiced::Words { id: ONLY, words: Vec::new() }, now + 90 * MS).unwrap();
        assert_eq!(speech.deadline().unwrap().0, now + 100 * MS, "word times are no audio");
        speech.hear(&audio(&[0xFF]), now + 90 * MS).unwrap();
        assert_eq!(speech.deadline(), Some((now + 140 * MS, "further audio", 50 * MS)));
        speech.next_piece(3, AudioFormat::MULAW, now + 130 * MS).unwrap();
        assert_eq!(speech.deadline(), Some((now + 230 * MS, "first audio", 100 * MS)));
        speech.finish();
        assert_eq!(speech.deadline(), None);
    }

    /// When a vendor is given up that sends `octets` of µ-law every 20 ms, if within `messages` of them.
    fn given_up(octets: usize, messages: u32) -> Option<(Duration, &'static str)> {
        let began = Instant::now();
        let mut speech = speech("one", false, AudioFormat::MULAW, began);
        for n in 1..=messages {
            let now = began + 20 * MS * n;
            if let Some((at, stage, _)) = speech.deadline().filter(|(at, ..)| *at <= now) {
                return Some((at - began, stage));
            }
            speech.hear(&audio(&vec![0xFF; octets]), now).unwrap();
        }
        None
    }

    #[test]
    fn audio_that_comes_slower_than_it_is_spoken_is_given_up_once_there_is_a_hole() {
        assert_eq!(given_up(160, 1_000), None, "just as fast");
        assert_eq!(given_up(159, 500), None, "ten seconds at 159/160 are a hole of 62 ms");
        let (at, stage) = given_up(1, 1_000).expect("an octet at a time");
        assert_eq!(stage, "audio as fast as it is spoken");
        assert!(at >= 80 * MS && at <= 120 * MS, "{at:?}");
        let (half, _) = given_up(80, 1_000).expect("half as fast");
        assert!(half >= 160 * MS && half <= 200 * MS, "{half:?}");
    }

    #[test]
    fn what_a_vendor_is_ahead_it_may_be_slow_later_and_a_further_piece_begins_anew() {
        let now = Instant::now();
        let mut speech = speech("one. two.", false, AudioFormat::MULAW, now);
        speech.hear(&audio(&[0xFF; 800]), now).unwrap();
        speech.hear(&audio(&[0xFF]), now + 40 * MS).unwrap();
        assert_eq!(speech.deadline().unwrap().0, now + 90 * MS, "the next message is due, the hole is not there yet");
        speech.next_piece(5, AudioFormat::MULAW, now + 200 * MS).unwrap();
        speech.hear(&audio(&[0xFF; 8]), now + 290 * MS).unwrap();
        assert_eq!(speech.deadline(), Some((now + 340 * MS, "further audio", 50 * MS)));
    }

    #[test]
    fn a_format_that_only_the_answer_tells_is_taken_up() {
        let now = Instant::now();
        let mut speech = speech("one", false, AudioFormat::pcm(22_050), now);
        speech.hear(&Voiced::Format { id: ONLY, format: AudioFormat::pcm(8_000) }, now).unwrap();
        speech.hear(&audio(&[0; 320]), now).unwrap();
        assert_eq!(speech.take_chunk().samples.len(), 160);
    }

    #[test]
    fn word_times_of_a_later_piece_count_from_its_own_start() {
        let now = Instant::now();
        let mut speech = speech("one. two.", true, AudioFormat::MULAW, now);
        speech.hear(&audio(&[0xFF; 800]), now).unwrap();
        speech.next_piece(5, AudioFormat::MULAW, now).unwrap();
        speech.hear(&Voiced::Words { id: ONLY, words: vec![("two".to_owned(), 20 * MS)] }, now).unwrap();
        speech.hear(&audio(&[0xFF; 800]), now).unwrap();
        speech.finish();
        let ends: Vec<_> = speech.take_chunk().marks.iter().map(|mark| (mark.text_end, mark.sample_end)).collect();
        assert_eq!(ends, [(4, 800), (9, 960)]);
    }
}
