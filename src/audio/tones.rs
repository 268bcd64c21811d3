//! Call-progress tones and a beep, at any sample rate.

use crate::base::SampleRate;
use std::f32::consts::TAU;

/// Level of each tone: −18 dBFS, about −12 dBm0 on the line.
const AMPLITUDE: f32 = 4_100.0;
/// Ramp at both ends of every burst, so that it does not click.
const RAMP_MS: u32 = 5;

/// A tone with its cadence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// 1 kHz for 200 ms, once: "speak now".
    Beep,
    /// 480 and 620 Hz, half a second on and off (North America).
    Busy,
    /// 425 Hz, half a second on and off (ITU-T E.182: most other countries).
    BusyItu,
    /// 425 Hz, a quarter of a second on and off: the network is busy (ITU-T E.182).
    CongestionItu,
    /// 440 and 554 Hz, softly, a third of a second every six: "you are not forgotten".
    Hold,
    /// 440 and 480 Hz, two seconds on and four off (North America).
    Ringback,
    /// 425 Hz, one second on and four off (ITU-T E.182: most other countries).
    RingbackItu,
    /// 480 and 620 Hz, a quarter of a second on and off: the network is busy (North America).
    Reorder,
}

/// What a tone is made of, for those that [`Tone`] does not name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cadence {
    /// Two frequencies in Hz; zero for none.
    pub hz: [f32; 2],
    /// Amplitude of each of them, of 32,767.
    pub amplitude: f32,
    /// How long it sounds.
    pub on_ms: u32,
    /// How long it pauses before it sounds again; zero for a tone that sounds once.
    pub off_ms: u32,
}

impl Tone {
    /// What the tone is made of.
    #[must_use]
    pub const fn cadence(self) -> Cadence {
        let (hz, on_ms, off_ms) = match self {
            Self::Beep => ([1_000.0, 0.0], 200, 0),
            Self::Busy => ([480.0, 620.0], 500, 500),
            Self::BusyItu => ([425.0, 0.0], 500, 500),
            Self::CongestionItu => ([425.0, 0.0], 250, 250),
            Self::Hold => ([440.0, 554.0], 340, 5_660),
            Self::RingbackItu => ([425.0, 0.0], 1_000, 4_000),
            Self::Ringback => ([440.0, 480.0], 2_000, 4_000),
            Self::Reorder => ([480.0, 620.0], 250, 250),
        };
        let amplitude = if matches!(self, Self::Hold) { AMPLITUDE / 4.0 } else { AMPLITUDE };
        Cadence { hz, amplitude, on_ms, off_ms }
    }
}

impl From<Tone> for Cadence {
    fn from(tone: Tone) -> Self {
        tone.cadence()
    }
}

/// Makes a tone sample by sample, for as long as it is asked to.
#[derive(Clone, Debug)]
pub struct ToneGenerator {
    cadence: Cadence,
    rate: SampleRate,
    position: usize,
}

impl ToneGenerator {
    /// Starts at the beginning of a burst, at `rate`.
    #[must_use]
    pub fn new(tone: impl Into<Cadence>, rate: SampleRate) -> Self {
        Self { cadence: tone.into(), rate, position: 0 }
    }

    /// Fills `samples` with what follows.
    pub fn fill(&mut self, samples: &mut [i16]) {
        let Cadence { hz, amplitude, .. } = self.cadence;
        let (on, off) = self.lengths();
        let rate = self.rate.0 as f32;
        let whole = self.rate.samples_in_ms(RAMP_MS).max(1);
        for sample in samples {
            let at = if off == 0 { self.position } else { self.position % (on + off) };
            self.position += 1;
            *sample = if at < on {
                let ramp = at.min(on - 1 - at).min(whole) as f32 / whole as f32;
                let wave: f32 = hz.iter().map(|hz| (at as f32 * hz / rate * TAU).sin()).sum();
                (wave * amplitude * ramp) as i16
            } else {
                0
            };
        }
    }

    /// Whether a tone that sounds once is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let (on, off) = self.lengths();
        off == 0 && self.position >= on
    }

    /// Samples on and off.
    fn lengths(&self) -> (usize, usize) {
        (self.rate.samples_in_ms(self.cadence.on_ms), self.rate.samples_in_ms(self.cadence.off_ms))
    }
}

/// The samples of a tone that sounds once, or of one period of any other, at `rate`.
#[must_use]
pub fn samples(tone: impl Into<Cadence>, rate: SampleRate) -> Vec<i16> {
    let mut generator = ToneGenerator::new(tone, rate);
    let (on, off) = generator.lengths();
    let mut samples = vec![0; on + off];
    generator.fill(&mut samples);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;

    const ALL: [Tone; 8] = [
        Tone::Beep,
        Tone::Busy,
        Tone::BusyItu,
        Tone::CongestionItu,
        Tone::Hold,
        Tone::Ringback,
        Tone::RingbackItu,
        Tone::Reorder,
    ];

    #[test]
    fn cadences_are_on_and_off_as_long_as_they_should_at_every_rate() {
        for rate in [8_000, 16_000, 24_000, 48_000] {
            let rate = SampleRate(rate);
            for (tone, on, off) in [(Tone::Busy, 500, 500), (Tone::Ringback, 2_000, 4_000), (Tone::BusyItu, 500, 500)] {
                let (on, off, ramp) = (rate.samples_in_ms(on), rate.samples_in_ms(off), rate.samples_in_ms(5));
                let period = samples(tone, rate);
                assert_eq!(period.len(), on + off);
                assert!((level_dbfs(&period[ramp..on - ramp]) + 19.5).abs() < 2.0);
                assert!(period[on..].iter().all(|s| *s == 0));
            }
        }
    }

    #[test]
    fn a_tone_is_the_same_sound_at_every_rate() {
        let narrow = samples(Tone::RingbackItu, SampleRate(8_000));
        let wide = samples(Tone::RingbackItu, SampleRate(48_000));
        assert!(narrow.iter().zip(wide.iter().step_by(6)).all(|(a, b)| (a - b).abs() < 300));
    }

    #[test]
    fn bursts_begin_and_end_softly_and_never_clip() {
        for tone in ALL {
            let rate = SampleRate::NARROWBAND;
            let period = samples(tone, rate);
            let on = rate.samples_in_ms(tone.cadence().on_ms);
            assert!(period[..4].iter().chain(&period[on - 4..on]).all(|s| s.abs() < 900), "{tone:?}");
            assert!(period.iter().all(|s| s.abs() < 9_000));
        }
    }

    #[test]
    fn a_beep_is_over_after_two_hundred_milliseconds_and_pieces_join() {
        let rate = SampleRate::NARROWBAND;
        let mut generator = ToneGenerator::new(Tone::Beep, rate);
        let mut pieces = Vec::new();
        while !generator.is_over() {
            let mut piece = [0; 160];
            generator.fill(&mut piece);
            pieces.extend(piece);
        }
        assert_eq!(pieces, samples(Tone::Beep, rate));
        generator.fill(&mut [0; 160]);
        assert!(generator.is_over() && !ToneGenerator::new(Tone::Busy, rate).is_over());
    }
}
