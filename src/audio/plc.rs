//! Concealment of lost audio by repeating the last pitch cycles, as G.711 Appendix I does it, at any rate.
//!
//! The first 10 ms of a loss repeat the last cycle, the second the last two and from the third on the last three, so
//! that a long loss does not buzz; from 10 ms on the level falls by a fifth per 10 ms and is zero after 60 ms. The first
//! audio after a loss is cross-faded from what was made up. No delay is added: where the appendix holds 3.75 ms back to
//! blend into the loss, here the step at its beginning is evened out within it.

use crate::base::SampleRate;

/// Samples of 10 ms at 8 kHz.
pub const GRANULE: usize = 80;
/// Pitch cycles looked for: 66 to 200 Hz.
const SHORTEST_MS: u32 = 5;
const LONGEST_MS: u32 = 15;
/// Stretch compared to find the cycle.
const WINDOW_MS: u32 = 20;
/// The level is whole for this long …
const WHOLE_MS: u32 = 10;
/// … and zero after this.
const SILENT_AFTER_MS: u32 = 60;
/// Cycles repeated at most.
const CYCLES_MAX: usize = 3;
/// The cross-fade after a loss: a quarter of the cycle and this for each 10 ms lost …
const FADE_PER_GRANULE_MS: u32 = 4;
/// … up to this.
const FADE_MAX_MS: u32 = 10;
/// Samples per second that decide about the pitch; more do not find it better.
const PITCH_RATE: u32 = 4_000;
/// Samples at [`PITCH_RATE`] that are compared, and the longest lag in them.
const WINDOW: usize = (WINDOW_MS * PITCH_RATE / 1_000) as usize;
const LAGS: usize = (LONGEST_MS * PITCH_RATE / 1_000) as usize;
/// Numbers that are added up beside each other.
const LANES: usize = 8;

/// A place in the repetition of the last cycles.
#[derive(Clone, Copy, Debug)]
struct Place {
    cycles: usize,
    offset: usize,
}

/// Hears a stream and fills in for what is missing in it. No allocation after [`Concealer::new`].
#[derive(Debug)]
pub struct Concealer {
    rate: SampleRate,
    /// The last samples played; they stay as they are while something is made up.
    history: Box<[i16]>,
    /// What was made up since then, for the next search.
    made_up: Box<[i16]>,
    pitch: usize,
    place: Place,
    /// The repetition that is being left, and the samples until it is.
    leaving: Option<(Place, usize)>,
    /// The step from the last real sample to the repetition, and how far it is evened out.
    step: i32,
    evened: usize,
    /// Samples made up in this loss.
    missing: usize,
    skipped: bool,
}

impl Default for Concealer {
    fn default() -> Self {
        Self::new(SampleRate::NARROWBAND)
    }
}

impl Concealer {
    /// A concealer for a stream of `rate` samples per second. Allocates all that it needs.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        // Three cycles and a quarter of the longest, and no less than the search needs.
        let longest = rate.samples_in_ms(LONGEST_MS).max(1);
        let history = (CYCLES_MAX * longest + longest / 4 + 1).max(longest + rate.samples_in_ms(WINDOW_MS));
        Self {
            rate,
            history: vec![0; history].into_boxed_slice(),
            made_up: vec![0; history].into_boxed_slice(),
            pitch: longest,
            place: Place { cycles: 1, offset: 0 },
            leaving: None,
            step: 0,
            evened: 0,
            missing: 0,
            skipped: false,
        }
    }

    /// Takes received samples. After a loss, or when the stream `jumped`, their beginning is cross-faded in place.
    pub fn received(&mut self, samples: &mut [i16], jumped: bool) {
        if self.missing > 0 || jumped || self.skipped {
            self.skipped = false;
            if self.missing == 0 {
                self.begin();
            }
            let lost_ms = (self.missing as u64 * 1_000 / u64::from(self.rate.0.max(1))) as u32;
            let longest = self.rate.samples_in_ms(FADE_MAX_MS);
            let fade = self.pitch / 4 + self.rate.samples_in_ms(FADE_PER_GRANULE_MS * lost_ms.div_ceil(10).min(10));
            let fade = fade.min(longest).min(samples.len());
            for (n, sample) in samples.iter_mut().take(fade).enumerate() {
                let made_up = i32::from(self.next_made_up());
                let (share, total) = (n as i32 + 1, fade as i32 + 1);
                *sample = ((i32::from(*sample) * share + made_up * (total - share)) / total) as i16;
            }
            self.missing = 0;
            remember(&mut self.made_up, samples);
            self.history.copy_from_slice(&self.made_up);
            return;
        }
        remember(&mut self.history, samples);
    }

    /// Says that the next samples do not follow the last ones: they will be cross-faded.
    pub fn skipped(&mut self) {
        self.skipped = true;
    }

    /// Makes up samples for missing ones.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if self.missing == 0 && !samples.is_empty() {
            self.begin();
        }
        for sample in samples.iter_mut() {
            *sample = self.next_made_up();
        }
        remember(&mut self.made_up, samples);
    }

    /// The sender is silent: nothing to repeat. The samples become zero, after a fade from what was made up.
    pub fn silence(&mut self, samples: &mut [i16]) {
        samples.fill(0);
        self.received(samples, false);
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.missing = 0;
        self.skipped = false;
    }

    /// A loss begins: finds the cycle and gets ready to repeat it.
    fn begin(&mut self) {
        self.pitch = self.find_pitch();
        self.place = Place { cycles: 1, offset: 0 };
        self.leaving = None;
        self.made_up.copy_from_slice(&self.history);
        let at = |back: usize| self.history.len().checked_sub(back).and_then(|at| self.history.get(at));
        let (last, before_cycle) = (at(1).copied().unwrap_or(0), at(self.pitch + 1).copied().unwrap_or(0));
        self.step = i32::from(last) - i32::from(before_cycle);
        self.evened = 0;
    }

    /// The next sample of the loss.
    fn next_made_up(&mut self) -> i16 {
        let granule = self.rate.samples_in_ms(WHOLE_MS).max(1);
        if self.missing > 0 && self.missing.is_multiple_of(granule) && self.place.cycles < CYCLES_MAX {
            self.leaving = Some((self.place, self.pitch / 4));
            self.place = Place { cycles: self.place.cycles + 1, offset: self.place.offset % self.pitch };
        }
        let mut sample = self.repeated(self.place);
        self.place = self.after(self.place);
        if let Some((place, left)) = self.leaving {
            let (left, whole) = (left as i32, (self.pitch / 4) as i32 + 1);
            sample = (self.repeated(place) * left + sample * (whole - left)) / whole;
            self.leaving = (left > 1).then(|| (self.after(place), left as usize - 1));
        }
        let ramp = (self.pitch / 4).max(1);
        if self.evened < ramp {
            sample += self.step * (ramp - self.evened) as i32 / ramp as i32;
            self.evened += 1;
        }
        let silent = self.rate.samples_in_ms(SILENT_AFTER_MS);
        let level = silent.saturating_sub(self.missing.max(granule)) as i64;
        self.missing += 1;
        let faded = i64::from(sample) * level / (silent - granule).max(1) as i64;
        faded.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
    }

    fn after(&self, place: Place) -> Place {
        let next = place.offset + 1;
        Place { offset: if next < place.cycles * self.pitch { next } else { 0 }, ..place }
    }

    /// The sample at a place; the last quarter of a cycle is blended into what came before the first, so that the
    /// repetition has no seam.
    fn repeated(&self, place: Place) -> i32 {
        let (len, quarter) = (self.history.len(), self.pitch / 4);
        let start = len - (place.cycles * self.pitch).min(len);
        let at = |index: usize| self.history.get(index).copied().map_or(0, i32::from);
        let sample = at(start + place.offset);
        let to_end = len - start - place.offset.min(len - start);
        if to_end > quarter {
            return sample;
        }
        let (share, whole) = ((quarter + 1 - to_end) as i32, quarter as i32 + 1);
        (at(start.saturating_sub(to_end)) * share + sample * (whole - share)) / whole
    }

    /// The lag at which the history resembles itself best: of the last 20 ms at [`PITCH_RATE`], then nearby of as much at
    /// twice that rate.
    fn find_pitch(&self) -> usize {
        let shortest = self.rate.samples_in_ms(SHORTEST_MS).max(1);
        let longest = self.rate.samples_in_ms(LONGEST_MS).max(shortest);
        let stride = (self.rate.0 / PITCH_RATE).max(1) as usize;
        let thinned: [f32; WINDOW + LAGS] = self.thinned((WINDOW + LAGS) * stride, stride);
        let (_, recent) = thinned.split_at(LAGS);
        let lags = SHORTEST_MS as usize * LAGS / LONGEST_MS as usize..=LAGS;
        let coarse = best_of(lags.filter_map(|lag| {
            let earlier = thinned.get(LAGS - lag..)?.get(..WINDOW)?;
            Some((resemblance(recent, earlier), lag * stride))
        }));
        let coarse = coarse.unwrap_or(shortest);
        let near = (coarse + 1).saturating_sub(stride).max(shortest)..=(coarse + stride - 1).min(longest);
        let step = stride.div_ceil(2);
        let recent: [f32; 2 * WINDOW] = self.thinned(2 * WINDOW * step, step);
        let near =
            near.map(|lag| (resemblance(&recent, &self.thinned::<{ 2 * WINDOW }>(2 * WINDOW * step + lag, step)), lag));
        best_of(near).unwrap_or(coarse)
    }

    /// Every `step`th sample of the history from `back` samples before its end on.
    fn thinned<const COUNT: usize>(&self, back: usize, step: usize) -> [f32; COUNT] {
        let mut thinned = [0.0; COUNT];
        let samples = self.history.get(self.history.len().saturating_sub(back)..).unwrap_or_default();
        for (slot, sample) in thinned.iter_mut().zip(samples.iter().step_by(step)) {
            *slot = f32::from(*sample);
        }
        thinned
    }
}

/// The lag of the greatest resemblance.
fn best_of(lags: impl Iterator<Item = (f32, usize)>) -> Option<usize> {
    lags.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, lag)| lag)
}

/// Correlation of both, over the strength of the second. In lanes: a whole trunk may lose a packet at once, and the media
/// thread has this to do for all its calls.
fn resemblance(recent: &[f32], earlier: &[f32]) -> f32 {
    let ((recent, _), (earlier, _)) = (recent.as_chunks::<LANES>(), earlier.as_chunks::<LANES>());
    let (mut cross, mut energy) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (recent, earlier) in recent.iter().zip(earlier) {
        for ((cross, energy), (a, b)) in cross.iter_mut().zip(&mut energy).zip(recent.iter().zip(earlier)) {
            *cross += a * b;
            *energy += b * b;
        }
    }
    cross.iter().sum::<f32>() / (1.0 + energy.iter().sum::<f32>()).sqrt()
}

/// Appends the newest samples to a line of fixed length.
fn remember(line: &mut [i16], samples: &[i16]) {
    let kept = samples.len().min(line.len());
    let newest = samples.get(samples.len() - kept..).unwrap_or_default();
    line.copy_within(kept.., 0);
    let start = line.len() - kept;
    for (slot, sample) in line.iter_mut().skip(start).zip(newest) {
        *slot = *sample;
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
