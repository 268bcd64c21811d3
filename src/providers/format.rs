//! How audio is written on the wire to a vendor, and the way there and back with the least conversion.

use crate::audio::resample::ResampleError;
use crate::audio::{Resampler, g711::Law};
use crate::base::SampleRate;
use std::sync::atomic::{AtomicU64, Ordering};

/// How samples are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// 16-bit signed little endian.
    Pcm16,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    /// Octets per sample.
    #[must_use]
    pub fn sample_bytes(self) -> usize {
        if self == Self::Pcm16 { 2 } else { 1 }
    }

    /// The octet that means silence when repeated: zero is silence in PCM only.
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Self::Pcm16 => 0,
            Self::Mulaw => 0xFF,
            Self::Alaw => 0xD5,
        }
    }
}

/// Mono audio on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AudioFormat {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples per second.
    pub rate: SampleRate,
}

impl AudioFormat {
    /// µ-law at 8 kHz, as a telephone line carries it.
    pub const MULAW: Self = Self { encoding: Encoding::Mulaw, rate: SampleRate::NARROWBAND };
    /// A-law at 8 kHz.
    pub const ALAW: Self = Self { encoding: Encoding::Alaw, rate: SampleRate::NARROWBAND };

    /// 16-bit PCM at a rate in Hz.
    #[must_use]
    pub const fn pcm(hertz: u32) -> Self {
        Self { encoding: Encoding::Pcm16, rate: SampleRate(hertz) }
    }

    /// Octets of so many milliseconds.
    #[must_use]
    pub fn bytes_of(self, milliseconds: u32) -> usize {
        (u64::from(self.rate.0) * u64::from(milliseconds) / 1000) as usize * self.encoding.sample_bytes()
    }
}

/// The one of `offered` (the vendor's formats, its favourite first) that costs the line the least: the line's own format,
/// else its own rate, else the lowest rate above it, else the highest. `None` when nothing is offered.
#[must_use]
pub fn cheapest(line: AudioFormat, offered: &[AudioFormat]) -> Option<AudioFormat> {
    let cost = |format: &AudioFormat| {
        let (own, theirs) = (line.rate.0, format.rate.0);
        // A companded form of a line that is not companded loses quality.
        let companded = format.encoding != Encoding::Pcm16 && format.encoding != line.encoding;
        (*format != line, theirs < own, companded, theirs.abs_diff(own))
    };
    offered.iter().copied().min_by_key(cost)
}

/// Counts of what audio cost on its way, shared by all streams of a provider.
#[derive(Debug, Default)]
pub struct Conversions {
    resampled: AtomicU64,
    passed: AtomicU64,
}

impl Conversions {
    /// Frames that changed their rate.
    #[must_use]
    pub fn resampled(&self) -> u64 {
        self.resampled.load(Ordering::Relaxed)
    }

    /// Frames that kept their rate and, where companded, every value: a G.711 line's own octets.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// Samples of a line to octets for a vendor, or the other way round. One per direction and stream.
#[derive(Debug)]
pub struct Converter {
    to: AudioFormat,
    resampler: Option<Resampler>,
    samples: Vec<i16>,
}

impl Converter {
    /// From samples at `from` to octets in `to`.
    ///
    /// # Errors
    /// A rate that cannot be resampled.
    pub fn outbound(from: SampleRate, to: AudioFormat) -> Result<Self, ResampleError> {
        Ok(Self { to, resampler: resampler(from, to.rate)?, samples: Vec::new() })
    }

    /// Appends the octets of `samples` to `octets`.
    pub fn encode(&mut self, samples: &[i16], octets: &mut Vec<u8>, counts: &Conversions) {
        let samples = match &mut self.resampler {
            Some(resampler) => {
                counts.resampled.fetch_add(1, Ordering::Relaxed);
                self.samples.clear();
                resampler.push(samples, &mut self.samples);
                &self.samples
            }
            None => {
                counts.passed.fetch_add(1, Ordering::Relaxed);
                samples
            }
        };
        match self.to.encoding {
            Encoding::Pcm16 => octets.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
            Encoding::Mulaw => octets.extend(samples.iter().map(|sample| Law::Mu.encode_sample(*sample))),
            Encoding::Alaw => octets.extend(samples.iter().map(|sample| Law::A.encode_sample(*sample))),
        }
    }
}

/// Octets of a vendor to samples of a line.
#[derive(Debug)]
pub struct Decoder {
    from: AudioFormat,
    resampler: Option<Resampler>,
    /// Half of a 16-bit sample that the next octets complete.
    half: Option<u8>,
    samples: Vec<i16>,
    to: SampleRate,
    /// Samples in and out of the resampler.
    taken: u64,
    given: usize,
}

impl Decoder {
    /// From octets in `from` to samples at `to`.
    ///
    /// # Errors
    /// A rate that cannot be resampled.
    pub fn inbound(from: AudioFormat, to: SampleRate) -> Result<Self, ResampleError> {
        let resampler = resampler(from.rate, to)?;
        Ok(Self { from, resampler, half: None, samples: Vec::new(), to, taken: 0, given: 0 })
    }

    /// Appends the samples of `octets`, which may be cut anywhere, to `out`.
    pub fn decode(&mut self, octets: &[u8], out: &mut Vec<i16>, counts: &Conversions) {
        let direct = self.resampler.is_none();
        self.samples.clear();
        let target = if direct { &mut *out } else { &mut self.samples };
        match self.from.encoding {
            Encoding::Pcm16 => {
                let mut octets = octets;
                if let (Some(low), Some((high, rest))) = (self.half, octets.split_first()) {
                    target.push(i16::from_le_bytes([low, *high]));
                    self.half = None;
                    octets = rest;
                }
                let (pairs, rest) = octets.as_chunks::<2>();
                target.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
                if let Some(low) = rest.first() {
                    self.half = Some(*low);
                }
            }
            Encoding::Mulaw => target.extend(octets.iter().map(|octet| Law::Mu.decode_sample(*octet))),
            Encoding::Alaw => target.extend(octets.iter().map(|octet| Law::A.decode_sample(*octet))),
        }
        match &mut self.resampler {
            Some(resampler) => {
                counts.resampled.fetch_add(1, Ordering::Relaxed);
                let before = out.len();
                resampler.push(&self.samples, out);
                self.taken += self.samples.len() as u64;
                self.given += out.len() - before;
            }
            None => {
                counts.passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The audio has ended: appends what a change of rate still holds back, and no silence beyond that.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        self.half = None;
        if let Some(resampler) = &mut self.resampler {
            let whole = (self.taken * u64::from(self.to.0)).div_ceil(u64::from(self.from.rate.0)) as usize;
            let most = out.len() + (whole + resampler.delay()).saturating_sub(self.given);
            resampler.finish(out);
            out.truncate(most);
        }
    }
}

fn resampler(from: SampleRate, to: SampleRate) -> Result<Option<Resampler>, ResampleError> {
    if from == to { Ok(None) } else { Resampler::new(from, to).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_meets_a_vendor_where_the_least_is_lost() {
        let wide = AudioFormat::pcm(16_000);
        let offered = [AudioFormat::pcm(24_000), wide, AudioFormat::MULAW];
        assert_eq!(cheapest(AudioFormat::MULAW, &offered), Some(AudioFormat::MULAW), "its own");
        assert_eq!(cheapest(wide, &offered), Some(wide));
        assert_eq!(cheapest(AudioFormat::ALAW, &offered), Some(wide), "no second companding");
        assert_eq!(cheapest(AudioFormat::MULAW, &[AudioFormat::pcm(24_000), wide]), Some(wide));
        assert_eq!(cheapest(AudioFormat::MULAW, &[]), None);
    }

    #[test]
    fn the_octets_of_a_g711_line_arrive_as_they_were() {
        let counts = Conversions::default();
        let octets: Vec<u8> = (0..=255).collect();
        let mut samples = Vec::new();
        Decoder::inbound(AudioFormat::MULAW, SampleRate::NARROWBAND).unwrap().decode(&octets, &mut samples, &counts);
        let mut back = Vec::new();
        Converter::outbound(SampleRate::NARROWBAND, AudioFormat::MULAW).unwrap().encode(&samples, &mut back, &counts);
        // 0x7F and 0xFF both mean zero.
        let expected: Vec<u8> = octets.iter().map(|o| if *o == 0x7F { 0xFF } else { *o }).collect();
        assert_eq!(back, expected);
        assert_eq!((counts.resampled(), counts.passed()), (0, 2));
    }

    #[test]
    fn the_end_of_an_utterance_is_not_kept_back_by_a_change_of_rate() {
        let counts = Conversions::default();
        let mut decoder = Decoder::inbound(AudioFormat::pcm(24_000), SampleRate::NARROWBAND).unwrap();
        let mut samples = Vec::new();
        decoder.decode(&[0x00, 0x10].repeat(24_000 + 250), &mut samples, &counts);
        assert!(samples.len() <= 8_000);
        decoder.finish(&mut samples);
        assert_eq!(samples.len(), 8_000 + 84 + 40, "every sample, and the 5 ms of delay");
    }

    #[test]
    fn a_sample_cut_between_two_messages_is_whole_again() {
        let counts = Conversions::default();
        let mut decoder = Decoder::inbound(AudioFormat::pcm(8_000), SampleRate::NARROWBAND).unwrap();
        let mut samples = Vec::new();
        for part in [&[0x34][..], &[0x12, 0x78], &[], &[0x56]] {
            decoder.decode(part, &mut samples, &counts);
        }
        assert_eq!(samples, [0x1234, 0x5678]);
    }
}
