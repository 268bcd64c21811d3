//! Concealment of lost audio at 8 kHz by repeating the last pitch cycle, in the manner of G.711 Appendix I.
//!
//! Ten milliseconds at a time. The first are repeated as they are, then the level falls by a fifth per 10 ms
//! until it is silent after 60 ms. The first audio after a loss is cross-faded from what was made up. No delay
//! is added: unlike the appendix, the audio before the loss is left as it was played.

/// Samples per call: 10 ms.
pub const GRANULE: usize = 80;
/// Pitch cycles looked for: 66 to 200 Hz.
const SHORTEST: usize = 40;
const LONGEST: usize = 120;
/// Samples compared to find the cycle: 20 ms.
const WINDOW: usize = 160;
/// Samples remembered.
const HISTORY: usize = WINDOW + LONGEST;
/// Silent from this granule on.
const SILENT_AFTER: u32 = 6;

/// Hears every 10 ms of a stream and fills in for those that are missing.
#[derive(Debug)]
pub struct Concealer {
    history: [i16; HISTORY],
    cycle: [i16; LONGEST],
    cycle_len: usize,
    position: usize,
    missing: u32,
    skipped: bool,
}

impl Default for Concealer {
    fn default() -> Self {
        Self {
            history: [0; HISTORY],
            cycle: [0; LONGEST],
            cycle_len: SHORTEST,
            position: 0,
            missing: 0,
            skipped: false,
        }
    }
}

impl Concealer {
    /// Takes received samples. After a loss, or when the stream `jumped`, their beginning is cross-faded in place.
    pub fn received(&mut self, samples: &mut [i16], jumped: bool) {
        if self.missing > 0 || jumped || self.skipped {
            self.skipped = false;
            if self.missing == 0 {
                self.find_cycle();
            }
            let fade = (self.cycle_len / 4 + 32 * self.missing as usize).min(samples.len()).max(1);
            let level = self.level();
            for (n, sample) in samples.iter_mut().take(fade).enumerate() {
                let made_up = i32::from(self.next_of_cycle()) * level / 256;
                let share = n as i32 + 1;
                let total = fade as i32 + 1;
                *sample = ((i32::from(*sample) * share + made_up * (total - share)) / total) as i16;
            }
            self.missing = 0;
        }
        self.remember(samples);
    }

    /// Says that the next samples do not follow the last ones: they will be cross-faded.
    pub fn skipped(&mut self) {
        self.skipped = true;
    }

    /// Whether the last samples were made up, so that the next received ones will be cross-faded.
    #[must_use]
    pub fn is_concealing(&self) -> bool {
        self.missing > 0
    }

    /// Makes up samples for missing ones.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if self.missing == 0 {
            self.find_cycle();
        }
        let (from, to) = (self.level(), level_after(self.missing + 1));
        let len = samples.len().max(1) as i32;
        for (n, sample) in samples.iter_mut().enumerate() {
            let level = from + (to - from) * n as i32 / len;
            *sample = (i32::from(self.next_of_cycle()) * level / 256) as i16;
        }
        self.missing = self.missing.saturating_add(1);
        self.remember(samples);
    }

    /// The sender is silent: nothing to repeat. The samples become zero, after a fade from what was made up.
    pub fn silence(&mut self, samples: &mut [i16]) {
        samples.fill(0);
        if self.missing > 0 {
            self.received(samples, false);
        } else {
            self.remember(samples);
        }
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Level at the end of what was made up so far, in 256ths.
    fn level(&self) -> i32 {
        level_after(self.missing)
    }

    fn next_of_cycle(&mut self) -> i16 {
        let sample = self.cycle.get(self.position).copied().unwrap_or_default();
        self.position = (self.position + 1) % self.cycle_len.max(1);
        sample
    }

    /// Finds the lag at which the history resembles itself best, and keeps its last cycle with the ends
    /// blended so that it can be repeated.
    fn find_cycle(&mut self) {
        let (_, recent) = self.history.split_at(HISTORY - WINDOW);
        let mut best = (f32::MIN, SHORTEST);
        for lag in SHORTEST..=LONGEST {
            let earlier = self.history.get(HISTORY - WINDOW - lag..HISTORY - lag).unwrap_or_default();
            let (mut cross, mut energy) = (0i64, 1i64);
            // Every other sample decides as well as all of them.
            for (a, b) in recent.iter().zip(earlier).step_by(2) {
                cross += i64::from(*a) * i64::from(*b);
                energy += i64::from(*b) * i64::from(*b);
            }
            let score = cross as f32 / (energy as f32).sqrt();
            if score > best.0 {
                best = (score, lag);
            }
        }
        self.cycle_len = best.1;
        self.position = 0;
        let last = self.history.get(HISTORY - self.cycle_len..).unwrap_or_default();
        for (slot, sample) in self.cycle.iter_mut().zip(last) {
            *slot = *sample;
        }
        let blend = self.cycle_len / 4;
        let before = self.history.get(HISTORY - self.cycle_len - blend..).unwrap_or_default();
        let tail = self.cycle.get_mut(self.cycle_len - blend..self.cycle_len).unwrap_or_default();
        for (n, (sample, earlier)) in tail.iter_mut().zip(before).enumerate() {
            let (share, total) = (n as i32 + 1, blend as i32 + 1);
            *sample = ((i32::from(*earlier) * share + i32::from(*sample) * (total - share)) / total) as i16;
        }
    }

    fn remember(&mut self, samples: &[i16]) {
        let kept = samples.len().min(HISTORY);
        self.history.rotate_left(kept);
        let newest = samples.get(samples.len() - kept..).unwrap_or_default();
        for (slot, sample) in self.history.iter_mut().skip(HISTORY - kept).zip(newest) {
            *slot = *sample;
        }
    }
}

/// Level after `granules` of 10 ms, in 256ths.
const fn level_after(granules: u32) -> i32 {
    match granules {
        0 | 1 => 256,
        SILENT_AFTER.. => 0,
        n => 256 - (n as i32 - 1) * 51,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;

    fn tone(from: usize, n: usize) -> Vec<i16> {
        (from..from + n)
            .map(|t| (8_000.0 * (t as f32 * 125.0 / 8_000.0 * std::f32::consts::TAU).sin()) as i16)
            .collect()
    }

    fn primed() -> Concealer {
        let mut concealer = Concealer::default();
        for mut granule in tone(0, 800).chunks(GRANULE).map(<[i16]>::to_vec) {
            concealer.received(&mut granule, false);
        }
        concealer
    }

    #[test]
    fn a_lost_granule_of_a_steady_tone_is_hardly_off() {
        let mut concealer = primed();
        let mut made_up = [0; GRANULE];
        concealer.conceal(&mut made_up);
        let wanted = tone(800, GRANULE);
        let error: Vec<i16> = made_up.iter().zip(&wanted).map(|(a, b)| a.wrapping_sub(*b)).collect();
        assert!(level_dbfs(&error) < level_dbfs(&wanted) - 18.0, "{} dB", level_dbfs(&error));
    }

    #[test]
    fn concealment_is_silent_after_sixty_milliseconds() {
        let mut concealer = primed();
        let levels: Vec<f32> = (0..8)
            .map(|_| {
                let mut granule = [0; GRANULE];
                concealer.conceal(&mut granule);
                level_dbfs(&granule)
            })
            .collect();
        assert!(levels.windows(2).all(|w| w[1] <= w[0] + 0.5), "{levels:?}");
        assert!(levels[0] > -16.0 && levels[4] < -25.0, "{levels:?}");
        assert_eq!(levels[6..], [-96.0, -96.0]);
    }

    #[test]
    fn there_is_no_click_into_or_out_of_a_loss() {
        for lost in 1..8 {
            let mut concealer = primed();
            let mut line = tone(720, GRANULE);
            for _ in 0..lost {
                let mut granule = [0; GRANULE];
                concealer.conceal(&mut granule);
                line.extend(granule);
            }
            for n in 0..3 {
                let mut granule = tone(800 + (lost + n) * GRANULE, GRANULE);
                concealer.received(&mut granule, false);
                line.extend(granule);
            }
            let steepest = line.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
            // The tone itself moves by 785 per sample.
            assert!(steepest < 2_000, "{lost} lost: {steepest}");
        }
    }

    #[test]
    fn a_jump_in_the_stream_is_smoothed() {
        let mut concealer = primed();
        let mut line = tone(720, GRANULE);
        let mut granule = tone(832, GRANULE);
        concealer.received(&mut granule, true);
        line.extend(granule);
        let steepest = line.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
        assert!(steepest < 2_000, "{steepest}");
    }

    #[test]
    fn silence_after_a_loss_fades() {
        let mut concealer = primed();
        concealer.conceal(&mut [0; GRANULE]);
        let mut granule = [1; GRANULE];
        concealer.silence(&mut granule);
        assert!(granule.iter().take(30).any(|s| s.abs() > 500));
        assert_eq!(granule[GRANULE - 1], 0);
        let mut next = [5; GRANULE];
        concealer.silence(&mut next);
        assert_eq!(next, [0; GRANULE]);
    }

    #[test]
    fn full_scale_and_short_slices_do_not_overflow() {
        let mut concealer = Concealer::default();
        for n in 0..20 {
            concealer.received(&mut [if n % 2 == 0 { i16::MAX } else { i16::MIN }; GRANULE], n % 3 == 0);
            concealer.conceal(&mut [0; 7]);
            concealer.conceal(&mut []);
        }
        concealer.received(&mut [i16::MIN; 500], true);
    }
}
