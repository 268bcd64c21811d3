//! Long speech in pieces that the model can take, cut where the caller paused.

use crate::base::SampleRate;

/// Longest piece given to the model: its cost and its errors grow faster than the clip beyond this.
pub const LONGEST_SECONDS: usize = 12;

/// No piece is shorter than this, so that words keep their context.
const SHORTEST_SECONDS: usize = 4;

/// Width of the pause looked for.
const PAUSE_MS: u32 = 200;

/// Where the next piece ends: `None` while `samples` fit into one piece, else the middle of the quietest
/// stretch between 4 and 12 seconds. Only the first 12 seconds decide, so the cut of a growing recording stays
/// where it is and a piece's words need be found only once.
#[must_use]
pub fn cut(samples: &[i16], rate: SampleRate) -> Option<usize> {
    let second = rate.0 as usize;
    let longest = LONGEST_SECONDS * second;
    if samples.len() <= longest {
        return None;
    }
    let width = rate.samples_in_ms(PAUSE_MS).max(1);
    let step = (width / 4).max(1);
    let energy = |at: usize| -> u64 {
        let window = samples.get(at..at + width).unwrap_or_default();
        window.iter().map(|&s| u64::from(s.unsigned_abs()).pow(2)).sum()
    };
    (SHORTEST_SECONDS * second..longest.saturating_sub(width))
        .step_by(step)
        .min_by_key(|&at| energy(at))
        .map(|at| at + width / 2)
}

/// Level of the loudest tenth of a second, in decibels below full scale (0.0 or less).
#[must_use]
pub fn loudest_dbfs(samples: &[i16], rate: SampleRate) -> f32 {
    let width = rate.samples_in_ms(100).max(1);
    let loudest = samples
        .chunks(width)
        .map(|chunk| chunk.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / width as f64)
        .fold(0.0, f64::max);
    (10.0 * (loudest / f64::from(i16::MAX).powi(2)).max(1e-12).log10()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate(1_000);

    #[test]
    fn a_cut_lies_in_the_pause_and_stays_there_while_speech_goes_on() {
        let mut samples = vec![1_000; 13_000];
        samples[7_000..7_300].fill(0);
        let place = cut(&samples, RATE).unwrap();
        assert!((7_000..7_300).contains(&place), "{place}");
        samples.extend([0; 5_000]);
        assert_eq!(cut(&samples, RATE), Some(place));
        assert_eq!(cut(&samples[..12_000], RATE), None);
    }

    #[test]
    fn speech_without_a_pause_is_cut_all_the_same() {
        let samples = vec![1_000; 12_001];
        assert!((4_000..12_000).contains(&cut(&samples, RATE).unwrap()));
    }

    #[test]
    fn the_level_is_that_of_the_loudest_moment() {
        let mut samples = vec![0; 1_000];
        assert!(loudest_dbfs(&samples, RATE) <= -100.0);
        samples[500..600].fill(i16::MAX / 10);
        assert!((loudest_dbfs(&samples, RATE) + 20.0).abs() < 0.5);
        assert!(loudest_dbfs(&[], RATE) <= -100.0);
    }
}
