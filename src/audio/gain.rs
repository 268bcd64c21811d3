//! Automatic gain control in front of speech recognition: slow, by the level of what is said, with a limiter.

use super::frame::level_dbfs;
use crate::base::SampleRate;

/// The level that speech is brought to, where recognisers are at their best.
const TARGET_DBFS: f32 = -23.0;
/// Speech is made louder by this at most …
const GAIN_MAX_DB: f32 = 24.0;
/// … and softer by this.
const GAIN_MIN_DB: f32 = -12.0;
/// How fast the gain rises, in dB per second of speech: a pause between words does not pump.
const RISE_DB: f32 = 4.0;
/// How fast it falls: too loud is mended sooner.
const FALL_DB: f32 = 12.0;
/// Below this nothing is taken for speech, whatever the detector says.
const SPEECH_FLOOR_DBFS: f32 = -60.0;
/// Peaks are held below this, −1 dBFS.
const CEILING: f32 = 29_204.0;
/// The limiter lets go of a peak within this.
const RELEASE_MS: u32 = 60;

/// Keeps speech at one level. Pure, without allocation; one for each stream.
#[derive(Clone, Debug)]
pub struct GainControl {
    gain_db: f32,
    /// Smoothed level of speech, once there was some.
    level: Option<f32>,
    /// What the limiter multiplies by.
    limit: f32,
    release: f32,
    /// The factor at the end of the last frame, from which the next one starts.
    factor: f32,
    rate: SampleRate,
}

impl GainControl {
    /// A control for a stream of `rate` samples per second.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        let release = 1.0 / rate.samples_in_ms(RELEASE_MS).max(1) as f32;
        Self { gain_db: 0.0, level: None, limit: 1.0, release, factor: 1.0, rate }
    }

    /// Brings a frame to level, in place; the gain moves only while it is `voiced`.
    pub fn process(&mut self, samples: &mut [i16], voiced: bool) {
        let level = level_dbfs(samples);
        if voiced && level > SPEECH_FLOOR_DBFS {
            let smoothed = self.level.map_or(level, |before| before + (level - before) * 0.1);
            self.level = Some(smoothed);
            let seconds = samples.len() as f32 / self.rate.0.max(1) as f32;
            let wanted = (TARGET_DBFS - smoothed).clamp(GAIN_MIN_DB, GAIN_MAX_DB);
            self.gain_db += (wanted - self.gain_db).clamp(-FALL_DB * seconds, RISE_DB * seconds);
        }
        let wanted = 10f32.powf(self.gain_db / 20.0);
        let step = (wanted - self.factor) / samples.len().max(1) as f32;
        for sample in samples {
            self.factor += step;
            let louder = f32::from(*sample) * self.factor;
            let peak = louder.abs() * self.limit;
            if peak > CEILING {
                self.limit = CEILING / louder.abs();
            }
            *sample = (louder * self.limit) as i16;
            self.limit += (1.0 - self.limit) * self.release;
        }
    }

    /// The gain in use, in dB.
    #[must_use]
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::wav;

    fn speech() -> Vec<i16> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/phone.wav");
        wav::read_at(file, SampleRate::NARROWBAND).unwrap()
    }

    fn controlled(samples: &[i16]) -> (Vec<i16>, GainControl) {
        let mut control = GainControl::new(SampleRate::NARROWBAND);
        let mut out = samples.to_vec();
        for frame in out.chunks_mut(160) {
            let voiced = level_dbfs(frame) > level_dbfs(samples) - 10.0;
            control.process(frame, voiced);
        }
        (out, control)
    }

    #[test]
    fn faint_and_loud_speech_come_to_one_level() {
        let said = speech().repeat(5);
        let own = level_dbfs(&said);
        let mut ends = Vec::new();
        for change in [-18.0, -6.0, 8.0] {
            let factor = 10f32.powf((-25.0 + change - own) / 20.0);
            let changed: Vec<i16> =
                said.iter().map(|s| (f32::from(*s) * factor).clamp(-32_768.0, 32_767.0) as i16).collect();
            let (out, control) = controlled(&changed);
            ends.push(level_dbfs(&out[out.len() * 4 / 5..]));
            assert!(control.gain_db() * change < 0.0, "{change} dB: gain {}", control.gain_db());
        }
        let spread = ends.iter().copied().fold(f32::MIN, f32::max) - ends.iter().copied().fold(f32::MAX, f32::min);
        assert!(spread < 4.0, "26 dB apart before, now {ends:?}");
    }

    #[test]
    fn pauses_and_noise_do_not_raise_the_gain() {
        let mut control = GainControl::new(SampleRate::NARROWBAND);
        for _ in 0..500 {
            control.process(&mut [20; 160], false);
        }
        assert_eq!(control.gain_db(), 0.0);
        control.process(&mut [0; 160], true);
        assert_eq!(control.gain_db(), 0.0);
    }

    #[test]
    fn a_sudden_shout_is_held_below_full_scale() {
        let (_, mut control) = controlled(&speech().iter().map(|s| s / 16).collect::<Vec<_>>().repeat(6));
        assert!(control.gain_db() > 10.0);
        let mut shout: Vec<i16> = (0..1_600).map(|n| ((n as f32 * 0.3).sin() * 25_000.0) as i16).collect();
        shout.chunks_mut(160).for_each(|frame| control.process(frame, true));
        assert!(shout.iter().all(|s| s.unsigned_abs() <= 29_204));
        let flat = shout.windows(3).filter(|w| w[0] == w[1] && w[1] == w[2] && w[0] != 0).count();
        // It looks not ahead: the first rise to a peak is flattened.
        assert!(flat * 20 < shout.len(), "{flat} clipped");
    }
}
