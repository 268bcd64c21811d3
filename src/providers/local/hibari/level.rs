//! The finish of a piece of speech: silence cut to a natural length, level checked.

use super::waveform::VOICE_RATE;

/// Before the first sound of an utterance.
const LEAD_MS: u32 = 15;
/// Before a sentence after another; with the silence after the full stop about 0.35 s.
const SENTENCE_LEAD_MS: u32 = 150;
/// Before a clause of the same sentence; the comma before it has its own silence.
const CLAUSE_LEAD_MS: u32 = 25;
/// After the last sound of an utterance: whoever waits for the end of playback should not wait for silence.
const TAIL_MS: u32 = 80;
/// Quieter than this (about −54 dB of full scale) is silence.
const SILENCE: f32 = 0.002;
/// Louder peaks are scaled down to this.
const CEILING: f32 = 0.95;
/// Length of the fades at cut ends, against clicks.
const FADE_MS: u32 = 3;

/// What a piece of speech follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    /// Nothing: the utterance begins.
    Nothing,
    /// Another sentence.
    Sentence,
    /// A clause of the same sentence.
    Clause,
}

/// Cuts the silence at both ends, scales down peaks, and returns how many samples were cut at the front.
/// `speech_from` is the sample by which the first phoneme has started (its breath or closure may be heard before it),
/// `last` is set for the end of an utterance.
/// Samples that are not numbers become silence.
pub fn finish(samples: &mut Vec<f32>, speech_from: usize, follows: Follows, last: bool) -> usize {
    for sample in samples.iter_mut().filter(|s| !s.is_finite()) {
        *sample = 0.0;
    }
    if last {
        let sound_end = samples.iter().rposition(|s| s.abs() > SILENCE).map_or(0, |i| i + 1);
        samples.truncate(sound_end + VOICE_RATE.samples_in_ms(TAIL_MS));
    }
    let lead = match follows {
        Follows::Nothing => LEAD_MS,
        Follows::Sentence => SENTENCE_LEAD_MS,
        Follows::Clause => CLAUSE_LEAD_MS,
    };
    let first_sound = samples.iter().position(|s| s.abs() > SILENCE).unwrap_or(samples.len());
    let cut = speech_from.min(first_sound).saturating_sub(VOICE_RATE.samples_in_ms(lead)).min(samples.len());
    samples.drain(..cut);
    let peak = samples.iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
    let gain = if peak > CEILING { CEILING / peak } else { 1.0 };
    let fade = VOICE_RATE.samples_in_ms(FADE_MS);
    let length = samples.len();
    for (i, sample) in samples.iter_mut().enumerate() {
        let from_edge = (i + 1).min(length - i);
        *sample *= gain * (from_edge as f32 / fade as f32).min(1.0);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(silence_before: usize, tone: usize, silence_after: usize) -> Vec<f32> {
        let mut out = vec![0.0; silence_before];
        out.extend((0..tone).map(|i| if i % 2 == 0 { 0.5 } else { -0.5 }));
        out.extend(vec![0.0; silence_after]);
        out
    }

    #[test]
    fn silence_is_cut_to_its_natural_length_at_both_ends() {
        let mut samples = tone(7200, 24_000, 9600);
        let cut = finish(&mut samples, 7200, Follows::Nothing, true);
        assert_eq!(cut, 7200 - 360);
        assert_eq!(samples.len(), 360 + 24_000 + 1920);
        let mut samples = tone(7200, 2400, 9600);
        assert_eq!(finish(&mut samples, 7200, Follows::Sentence, false), 7200 - 3600);
        assert_eq!(samples.len(), 3600 + 2400 + 9600);
    }

    #[test]
    fn loud_and_broken_samples_come_out_in_range() {
        let mut samples = tone(0, 2400, 0).iter().map(|s| s * 8.0).collect::<Vec<_>>();
        samples[100] = f32::NAN;
        finish(&mut samples, 0, Follows::Clause, false);
        assert!(samples.iter().all(|s| s.abs() <= CEILING));
    }

    #[test]
    fn silence_alone_does_not_panic() {
        let mut samples = vec![0.0; 100];
        finish(&mut samples, 5000, Follows::Nothing, true);
        finish(&mut Vec::new(), 0, Follows::Nothing, true);
    }
}
