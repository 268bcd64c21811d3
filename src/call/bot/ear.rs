//! Caller audio on its way to the bot: in the bot's format, kept for a while when the bot is away or slow.

use crate::audio::Resampler;
use crate::base::SampleRate;
use crate::providers::bot::AudioFormat;
use std::collections::VecDeque;
use std::time::Duration;

/// A frame is this long.
const FRAME: Duration = Duration::from_millis(20);

/// Up to 20 ms in the bot's format.
#[derive(Clone, Debug)]
pub(super) struct CallerFrame {
    /// Samples of the format from the first one of the call to this frame's first.
    pub(super) timestamp: u32,
    octets: Vec<u8>,
}

impl CallerFrame {
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// See the module. Frames leave in the order they came; when there are too many, the oldest are dropped and counted.
#[derive(Debug)]
pub(super) struct Ear {
    line_rate: SampleRate,
    format: AudioFormat,
    /// `None` where both rates are the same, or cannot be converted.
    resampler: Option<Resampler>,
    timestamp: u32,
    waiting: VecDeque<CallerFrame>,
    limit: usize,
    dropped: u64,
}

impl Ear {
    /// Keeps at most `buffer` of audio.
    pub(super) fn new(format: AudioFormat, line_rate: SampleRate, buffer: Duration) -> Self {
        Self {
            line_rate,
            format,
            resampler: converter(line_rate, format.rate),
            timestamp: 0,
            waiting: VecDeque::new(),
            limit: (buffer.as_millis() / FRAME.as_millis()).max(1) as usize,
            dropped: 0,
        }
    }

    /// Sample of the format at which the next frame begins.
    pub(super) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Frames dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Goes on in another format. What waits in the old one is dropped.
    pub(super) fn set_format(&mut self, format: AudioFormat) {
        let scaled = u64::from(self.timestamp) * u64::from(format.rate.0) / u64::from(self.format.rate.0.max(1));
        self.timestamp = scaled as u32;
        self.format = format;
        self.resampler = converter(self.line_rate, format.rate);
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
    }

    /// Goes on with a line of this rate.
    pub(super) fn set_line_rate(&mut self, rate: SampleRate) {
        if rate != self.line_rate {
            self.line_rate = rate;
            self.resampler = converter(rate, self.format.rate);
        }
    }

    /// Takes in a frame of the line.
    pub(super) fn push(&mut self, samples: &[i16]) {
        let per_frame = self.format.rate.samples_in_ms(FRAME.as_millis() as u32).max(1);
        let mut converted = Vec::new();
        let converted = match &mut self.resampler {
            Some(resampler) => {
                converted.reserve(per_frame);
                resampler.push(samples, &mut converted);
                converted.as_slice()
            }
            None => samples,
        };
        for piece in converted.chunks(per_frame) {
            if self.waiting.len() >= self.limit {
                self.waiting.pop_front();
                self.dropped += 1;
            }
            let mut octets = vec![0; piece.len() * self.format.encoding.sample_bytes()];
            self.format.encode(piece, &mut octets);
            self.waiting.push_back(CallerFrame { timestamp: self.timestamp, octets });
            self.timestamp = self.timestamp.wrapping_add(piece.len() as u32);
        }
    }

    /// The oldest frame that waits.
    pub(super) fn pop(&mut self) -> Option<CallerFrame> {
        let frame = self.waiting.pop_front();
        // The memory of a long wait is given back.
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        frame
    }
}

/// A converter, where one is needed. The rates are those of codecs and formats, which all can be converted.
pub(super) fn converter(from: SampleRate, to: SampleRate) -> Option<Resampler> {
    if from == to {
        return None;
    }
    Resampler::new(from, to).inspect_err(|error| tracing::warn!(%error, "bot_audio_not_converted")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mulaw_of_a_narrow_line_passes_without_a_change_and_counts_its_samples() {
        let mut ear = Ear::new(AudioFormat::TWILIO, SampleRate::NARROWBAND, Duration::from_secs(1));
        ear.push(&[0; 160]);
        ear.push(&[-32_124; 160]);
        let first = ear.pop().unwrap();
        assert_eq!((first.timestamp, first.octets()), (0, &[0xFF; 160][..]));
        let second = ear.pop().unwrap();
        assert_eq!((second.timestamp, second.octets()), (160, &[0x00; 160][..]));
        assert!(ear.pop().is_none());
    }

    #[test]
    fn a_wide_format_gets_twenty_milliseconds_for_every_frame() {
        let mut ear = Ear::new(AudioFormat::WIDEBAND, SampleRate::NARROWBAND, Duration::from_secs(1));
        for _ in 0..3 {
            ear.push(&[100; 160]);
        }
        let frames: Vec<_> = std::iter::from_fn(|| ear.pop()).collect();
        assert_eq!(
            frames.iter().map(|f| (f.timestamp, f.octets().len())).collect::<Vec<_>>(),
            [(0, 640), (320, 640), (640, 640)]
        );
    }

    #[test]
    fn a_bot_that_is_away_too_long_misses_the_oldest_audio() {
        let mut ear = Ear::new(AudioFormat::TWILIO, SampleRate::NARROWBAND, Duration::from_millis(100));
        for _ in 0..12 {
            ear.push(&[0; 160]);
        }
        assert_eq!(ear.dropped(), 7);
        assert_eq!(ear.pop().unwrap().timestamp, 7 * 160);
    }

    #[test]
    fn another_format_goes_on_at_the_same_time() {
        let mut ear = Ear::new(AudioFormat::TWILIO, SampleRate::NARROWBAND, Duration::from_secs(1));
        ear.push(&[0; 160]);
        ear.set_format(AudioFormat::WIDEBAND);
        assert_eq!((ear.timestamp(), ear.dropped()), (320, 1));
    }
}
