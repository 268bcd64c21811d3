//! Call-progress tones and a beep, at 8 kHz.

use crate::base::SampleRate;
use std::f32::consts::TAU;

/// Level of each tone: −18 dBFS, about −12 dBm0 on the line.
const AMPLITUDE: f32 = 4_100.0;
/// Ramp at both ends of every burst, in samples: 5 ms, so that it does not click.
const RAMP: usize = 40;

/// A tone with its cadence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// 1 kHz for 200 ms, once: "speak now".
    Beep,
    /// 480 and 620 Hz, half a second on and off (North America).
    Busy,
    /// 440 and 554 Hz, softly, a third of a second every six: "you are not forgotten".
    Hold,
    /// 440 and 480 Hz, two seconds on and four off (North America).
    Ringback,
    /// 425 Hz, one second on and four off (ITU-T E.182: most other countries).
    RingbackItu,
    /// 480 and 620 Hz, a quarter of a second on and off: the network is busy.
    Reorder,
}

/// Two frequencies in Hz, samples on, samples off; off is 0 for a tone that sounds once.
const fn shape(tone: Tone) -> ([f32; 2], usize, usize) {
    match tone {
        Tone::Beep => ([1_000.0, 0.0], 1_600, 0),
        Tone::Busy => ([480.0, 620.0], 4_000, 4_000),
        Tone::Hold => ([440.0, 554.0], 2_700, 45_300),
        Tone::RingbackItu => ([425.0, 0.0], 8_000, 32_000),
        Tone::Ringback => ([440.0, 480.0], 16_000, 32_000),
        Tone::Reorder => ([480.0, 620.0], 2_000, 2_000),
    }
}

/// Amplitude of each frequency.
const fn level(tone: Tone) -> f32 {
    match tone {
        Tone::Hold => AMPLITUDE / 4.0,
        _ => AMPLITUDE,
    }
}

/// Makes a tone sample by sample, for as long as it is asked to.
#[derive(Clone, Debug)]
pub struct ToneGenerator {
    tone: Tone,
    position: usize,
}

impl ToneGenerator {
    /// Starts at the beginning of a burst.
    #[must_use]
    pub fn new(tone: Tone) -> Self {
        Self { tone, position: 0 }
    }

    /// Fills `samples` with what follows.
    pub fn fill(&mut self, samples: &mut [i16]) {
        let (hz, on, off) = shape(self.tone);
        let rate = SampleRate::NARROWBAND.0 as f32;
        for sample in samples {
            let at = if off == 0 { self.position } else { self.position % (on + off) };
            self.position += 1;
            *sample = if at < on {
                let ramp = at.min(on - 1 - at).min(RAMP) as f32 / RAMP as f32;
                let wave: f32 = hz.iter().map(|hz| (at as f32 * hz / rate * TAU).sin()).sum();
                (wave * level(self.tone) * ramp) as i16
            } else {
                0
            };
        }
    }

    /// Whether a tone that sounds once is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let (_, on, off) = shape(self.tone);
        off == 0 && self.position >= on
    }
}

/// The samples of a tone that sounds once, or of one period of any other.
#[must_use]
pub fn samples(tone: Tone) -> Vec<i16> {
    let (_, on, off) = shape(tone);
    let mut samples = vec![0; on + off];
    ToneGenerator::new(tone).fill(&mut samples);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;

    #[test]
    fn cadences_are_on_and_off_as_long_as_they_should() {
        for (tone, on, off) in
            [(Tone::Busy, 4_000, 4_000), (Tone::Ringback, 16_000, 32_000), (Tone::Reorder, 2_000, 2_000)]
        {
            let period = samples(tone);
            assert_eq!(period.len(), on + off);
            assert!(level_dbfs(&period[RAMP..on - RAMP]) > -20.0);
            assert!(period[on..].iter().all(|s| *s == 0));
        }
    }

    #[test]
    fn bursts_begin_and_end_softly_and_never_clip() {
        for tone in [Tone::Beep, Tone::Busy, Tone::Hold, Tone::Ringback, Tone::RingbackItu, Tone::Reorder] {
            let period = samples(tone);
            let on = shape(tone).1;
            assert!(period[..4].iter().chain(&period[on - 4..on]).all(|s| s.abs() < 900), "{tone:?}");
            assert!(period.iter().all(|s| s.abs() < 9_000));
        }
    }

    #[test]
    fn a_beep_is_over_after_two_hundred_milliseconds_and_pieces_join() {
        let mut generator = ToneGenerator::new(Tone::Beep);
        let mut pieces = Vec::new();
        while !generator.is_over() {
            let mut piece = [0; 160];
            generator.fill(&mut piece);
            pieces.extend(piece);
        }
        assert_eq!(pieces, samples(Tone::Beep));
        generator.fill(&mut [0; 160]);
        assert!(generator.is_over() && !ToneGenerator::new(Tone::Busy).is_over());
    }
}
