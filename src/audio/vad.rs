//! Voice activity by webrtc-vad: 1.2 µs a frame, good enough to decide when to look closer.

use super::frame::{NARROWBAND_FRAME, WIDEBAND_FRAME};
use webrtc_vad::{SampleRate as VadRate, Vad, VadMode as Mode};

/// How eagerly a frame is called voiced; each step hears less noise and misses more quiet speech.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VadMode {
    /// Mode 0: misses the least speech.
    Quality,
    /// Mode 1.
    LowBitrate,
    /// Mode 2.
    #[default]
    Aggressive,
    /// Mode 3: lets the least noise through.
    VeryAggressive,
}

/// Decides per frame of 20 ms whether someone speaks. Keeps state from frame to frame. Not `Send`: create it
/// on the thread that uses it.
pub struct VoiceDetector {
    vad: Vad,
    wideband: bool,
}

impl VoiceDetector {
    /// A detector for 8 kHz, or 16 kHz when `wideband`. Allocates.
    #[must_use]
    pub fn new(mode: VadMode, wideband: bool) -> Self {
        let rate = if wideband { VadRate::Rate16kHz } else { VadRate::Rate8kHz };
        Self { vad: Vad::new_with_rate_and_mode(rate, mode.into()), wideband }
    }

    /// Forgets the past, for another stream.
    pub fn restart(&mut self, mode: VadMode) {
        self.vad.reset();
        self.vad.set_sample_rate(if self.wideband { VadRate::Rate16kHz } else { VadRate::Rate8kHz });
        self.vad.set_mode(mode.into());
    }

    /// Whether a frame is voiced; false for frames that are not 20 ms of the detector's rate.
    pub fn is_voiced(&mut self, frame: &[i16]) -> bool {
        let expected = if self.wideband { WIDEBAND_FRAME } else { NARROWBAND_FRAME };
        frame.len() == expected && self.vad.is_voice_segment(frame).unwrap_or(false)
    }
}

impl std::fmt::Debug for VoiceDetector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VoiceDetector({})", if self.wideband { "16 kHz" } else { "8 kHz" })
    }
}

impl From<VadMode> for Mode {
    fn from(mode: VadMode) -> Self {
        match mode {
            VadMode::Quality => Self::Quality,
            VadMode::LowBitrate => Self::LowBitrate,
            VadMode::Aggressive => Self::Aggressive,
            VadMode::VeryAggressive => Self::VeryAggressive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vowel-like buzz: pulses at 120 Hz through a formant at 700 Hz.
    fn vowel(n: usize) -> Vec<i16> {
        (0..n)
            .map(|t| {
                let since_pulse = (t % 67) as f32 / 8_000.0;
                (12_000.0 * (-since_pulse * 300.0).exp() * (since_pulse * 700.0 * std::f32::consts::TAU).sin()) as i16
            })
            .collect()
    }

    #[test]
    fn silence_is_unvoiced_and_a_vowel_is_voiced() {
        for mode in [VadMode::Quality, VadMode::Aggressive, VadMode::VeryAggressive] {
            let mut detector = VoiceDetector::new(mode, false);
            assert!((0..20).all(|_| !detector.is_voiced(&[0; 160])));
            let voiced = vowel(160 * 20).chunks(160).filter(|f| detector.is_voiced(f)).count();
            assert!(voiced >= 15, "{mode:?}: {voiced} of 20");
            detector.restart(mode);
            assert!(!detector.is_voiced(&[0; 160]));
        }
    }

    #[test]
    fn frames_of_another_length_are_unvoiced() {
        let mut detector = VoiceDetector::new(VadMode::default(), false);
        for length in [0, 1, 80, 320] {
            assert!(!detector.is_voiced(&vec![9_000; length]));
        }
    }
}
