//! Where one sound ends and another begins: no step that clicks.

/// A cut is smoothed over this many milliseconds.
pub(super) const CUT_FADE_MS: u32 = 5;
/// A step of more than this is heard as a click: −42 dBFS.
pub(super) const STEP: u16 = 260;

/// How much of a sample is heard at place `n` of a fade of `len` samples: from nothing to all of it, level at both ends,
/// so that the fade has no corner that could be heard.
pub(super) fn ramp(n: usize, len: usize) -> f32 {
    let t = (n + 1) as f32 / (len + 1) as f32;
    t * t * 2.0f32.mul_add(-t, 3.0)
}

/// Leads from a sample over to what follows it.
pub(super) fn join<'a>(before: i16, samples: impl ExactSizeIterator<Item = &'a mut i16>) {
    let (len, before) = (samples.len(), f32::from(before));
    for (n, sample) in samples.enumerate() {
        let share = ramp(n, len);
        *sample = before.mul_add(1.0 - share, f32::from(*sample) * share) as i16;
    }
}

/// Who is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Voice {
    #[default]
    Nobody,
    Agent,
    Background,
    Key,
    OtherLeg,
}

/// Joins what comes from different sources. What one source plays is its own affair.
#[derive(Debug, Default)]
pub(super) struct Seam {
    voice: Voice,
    last_sample: i16,
}

impl Seam {
    /// Takes the click out of the beginning of `frame`, in which `voice` is heard. `fade` in samples.
    pub(super) fn pass(&mut self, voice: Voice, frame: &mut [i16], fade: usize) {
        let first = frame.first().copied().unwrap_or(0);
        if std::mem::replace(&mut self.voice, voice) != voice && first.abs_diff(self.last_sample) > STEP {
            join(self.last_sample, frame.iter_mut().take(fade));
        }
        self.last_sample = frame.last().copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest_step(samples: &[i16]) -> u16 {
        samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or(0)
    }

    #[test]
    fn music_that_is_cut_off_by_silence_or_a_voice_makes_no_step() {
        for next in [0, -9_000, 9_500] {
            let mut seam = Seam::default();
            let mut samples = Vec::new();
            for (voice, level) in [(Voice::Background, 9_000), (Voice::Background, 9_000), (Voice::Agent, next)] {
                let mut frame = [level; 160];
                seam.pass(voice, &mut frame, 40);
                samples.extend(frame);
            }
            assert!(largest_step(&samples) < 700, "{next}: {}", largest_step(&samples));
            assert_eq!(samples[200..320], [9_000; 120]);
            assert_eq!(samples[360..], [next; 120]);
        }
    }

    #[test]
    fn one_source_is_left_alone() {
        let mut seam = Seam::default();
        let mut first = [0; 160];
        seam.pass(Voice::OtherLeg, &mut first, 40);
        let mut second = [20_000; 160];
        seam.pass(Voice::OtherLeg, &mut second, 40);
        assert_eq!(second, [20_000; 160]);
    }
}
