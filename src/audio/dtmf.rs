//! Keypad tones in the audio (ITU-T Q.23, Q.24): made and recognised at any line rate.
//!
//! The detector looks at blocks of 12.75 ms with a Goertzel filter for each of the eight frequencies. A block holds
//! a key when one frequency of each group stands out from its group, the two are of like strength, and together they
//! are nearly all the energy of the block: speech has its energy spread over harmonics and fails the last test.

use crate::base::SampleRate;
use std::f32::consts::TAU;

/// The lower four frequencies, in Hz: the rows of the keypad.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// The upper four, in Hz: the columns.
const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// The keys by row and column.
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Length of a block, 12.75 ms, in samples at 8 kHz: all eight frequencies lie near the middle of a bin.
const BLOCK_AT_8_KHZ: usize = 102;
/// Blocks in a row with the same key that make a press: 25.5 ms at least, since Q.24 lets receivers ignore less than
/// 23 ms and asks them to take 40 ms.
const BLOCKS_OF_A_PRESS: u8 = 2;
/// Blocks without the key that end the press: a drop-out of 10 ms does not split it (Q.24).
const BLOCKS_OF_A_PAUSE: u8 = 2;
/// Least energy per sample of a tone pair: −43 dBFS in all.
const LEAST_ENERGY: f32 = 55_000.0;
/// The strongest of a group exceeds the others by this factor, 8 dB.
const STANDS_OUT: f32 = 6.3;
/// The upper tone may be stronger by 4 dB (Q.24: line loss falls on the upper tones, so senders raise them) …
const UPPER_STRONGER: f32 = 2.5;
/// … and weaker by 8 dB.
const UPPER_WEAKER: f32 = 6.3;
/// Share of the block's energy that the two tones have: 0.8 is left of clean tones that are off by 1.5 % (Q.24).
const SHARE: f32 = 0.74;

/// Level of each tone of ours: −11 dBFS, about −5 dBm0.
const AMPLITUDE: f32 = 9_000.0;
/// A key of ours lasts 100 ms, and the pause after it 60 ms, above the 40 ms that receivers ask for (Q.24).
const TONE_FRAMES: u8 = 5;
const PAUSE_FRAMES: u8 = 3;
/// Frames of 20 ms in a second.
const FRAMES_PER_SECOND: usize = 50;
/// A key of ours begins and ends over 2 ms, a tenth of a frame, so that it does not click.
const EDGES_PER_FRAME: usize = 10;
/// Keys that can wait.
const QUEUE: usize = 32;

/// The two frequencies of a key, in Hz.
fn frequencies(key: char) -> Option<(f32, f32)> {
    let key = key.to_ascii_uppercase();
    KEYS.iter()
        .zip(ROWS)
        .find_map(|(row, low)| row.iter().zip(COLUMNS).find(|(name, _)| **name == key).map(|(_, high)| (low, high)))
}

/// Filters of the eight frequencies over one block (Goertzel), sample by sample.
#[derive(Clone, Copy, Debug)]
struct Block {
    coefficients: [f32; 8],
    states: [[f32; 2]; 8],
    total: f32,
    filled: usize,
    length: usize,
}

impl Block {
    fn new(rate: SampleRate) -> Self {
        let [a, b, c, d] = ROWS;
        let [e, f, g, h] = COLUMNS;
        let coefficients = [a, b, c, d, e, f, g, h].map(|hz| 2.0 * (TAU * hz / rate.0.max(1) as f32).cos());
        let length = (BLOCK_AT_8_KHZ as u64 * u64::from(rate.0) / 8_000).max(1) as usize;
        Self { coefficients, states: [[0.0; 2]; 8], total: 0.0, filled: 0, length }
    }

    /// Takes a sample; whether the block is full.
    fn push(&mut self, sample: f32) -> bool {
        for (state, coefficient) in self.states.iter_mut().zip(self.coefficients) {
            let [last, before] = *state;
            *state = [coefficient.mul_add(last, sample - before), last];
        }
        self.total += sample * sample;
        self.filled += 1;
        self.filled >= self.length
    }

    /// The key that the full block holds; the next block begins.
    fn key(&mut self) -> Option<char> {
        let length = self.length as f32;
        let mut energies = [0.0; 8];
        for ((energy, state), coefficient) in energies.iter_mut().zip(&mut self.states).zip(self.coefficients) {
            let [last, before] = std::mem::take(state);
            // In units in which a lone tone has the energy of its samples.
            *energy = (last * last + before * before - coefficient * last * before) * 2.0 / length;
        }
        let total = std::mem::take(&mut self.total);
        self.filled = 0;
        if total < LEAST_ENERGY * length {
            return None;
        }
        let (low, high) = energies.split_at(4);
        let (row, low) = strongest(low)?;
        let (column, high) = strongest(high)?;
        let balanced = high < low * UPPER_STRONGER && low < high * UPPER_WEAKER;
        if !balanced || low + high < SHARE * total {
            return None;
        }
        KEYS.get(row)?.get(column).copied()
    }
}

/// The strongest of a group, when it stands out.
fn strongest(energies: &[f32]) -> Option<(usize, f32)> {
    let (at, most) = energies.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let mut others = energies.iter().enumerate().filter(|(n, _)| *n != at);
    others.all(|(_, other)| other * STANDS_OUT < most).then_some((at, most))
}

/// Finds keys in audio, each press once. Keeps state from frame to frame; no allocation.
#[derive(Clone, Debug)]
pub struct ToneDetector {
    block: Block,
    /// The key of the last blocks and how many there were in a row.
    candidate: Option<char>,
    run: u8,
    /// The press that was reported and lasts.
    pressed: Option<char>,
    missed: u8,
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self::new(SampleRate::NARROWBAND)
    }
}

impl ToneDetector {
    /// A detector for a line of `rate` samples per second; 8 to 48 kHz are sensible.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self { block: Block::new(rate), candidate: None, run: 0, pressed: None, missed: 0 }
    }

    /// Takes up to 20 ms of audio; a key when a press was recognised in it. A longer stretch may hold more
    /// presses than the one that is returned.
    pub fn push(&mut self, samples: &[i16]) -> Option<char> {
        let mut found = None;
        for sample in samples {
            if self.block.push(f32::from(*sample)) {
                let key = self.end_block();
                found = found.or(key);
            }
        }
        found
    }

    fn end_block(&mut self) -> Option<char> {
        let key = self.block.key();
        if key.is_some() && key == self.pressed {
            self.missed = 0;
            return None;
        }
        if self.pressed.is_some() {
            self.missed += 1;
            if self.missed >= BLOCKS_OF_A_PAUSE {
                self.pressed = None;
            }
        }
        self.run = if key.is_some() && key == self.candidate { self.run.saturating_add(1) } else { 1 };
        self.candidate = key;
        if key.is_none() || self.run < BLOCKS_OF_A_PRESS {
            return None;
        }
        self.pressed = key;
        self.missed = 0;
        key
    }
}

/// Makes the tones of keys one after the other, 20 ms at a time; no allocation.
#[derive(Clone, Debug)]
pub struct TonePresser {
    queue: [char; QUEUE],
    queued: usize,
    /// The key that sounds, and its frames made so far, the pause included.
    sounding: Option<(char, u8)>,
}

impl Default for TonePresser {
    fn default() -> Self {
        Self { queue: ['0'; QUEUE], queued: 0, sounding: None }
    }
}

impl TonePresser {
    /// Queues a key; false when it is none or 32 wait already.
    pub fn push(&mut self, key: char) -> bool {
        let Some(slot) = self.queue.get_mut(self.queued).filter(|_| frequencies(key).is_some()) else { return false };
        *slot = key;
        self.queued += 1;
        true
    }

    /// Fills `frame`, 20 ms at any rate; false when there is nothing to press and `frame` was left alone.
    pub fn fill(&mut self, frame: &mut [i16]) -> bool {
        let (key, made) = match self.sounding {
            Some(sounding) => sounding,
            None if self.queued > 0 => {
                let key = self.queue.first().copied().unwrap_or_default();
                self.queue.rotate_left(1);
                self.queued -= 1;
                (key, 0)
            }
            None => return false,
        };
        let (low, high) = frequencies(key).unwrap_or_default();
        let (len, offset) = (frame.len(), usize::from(made) * frame.len());
        let (rate, whole) = ((len * FRAMES_PER_SECOND) as f32, usize::from(TONE_FRAMES) * len);
        let edge = (len / EDGES_PER_FRAME).max(1);
        for (n, sample) in frame.iter_mut().enumerate() {
            let at = offset + n;
            let t = at as f32 / rate;
            let wave = (t * low * TAU).sin() + (t * high * TAU).sin();
            let share = at.min(whole.saturating_sub(at + 1)).min(edge) as f32 / edge as f32;
            *sample = (wave * AMPLITUDE * share) as i16;
        }
        self.sounding = (made + 1 < TONE_FRAMES + PAUSE_FRAMES).then_some((key, made + 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;
    use crate::audio::noise::PhoneLine;
    use crate::audio::wav;
    use crate::base::{Random, SampleRate};

    const ALL: &str = "0123456789*#ABCD";

    fn tone(key: char, samples: usize, amplitude: f32, upper_db: f32, off_percent: f32) -> Vec<i16> {
        tone_at(SampleRate(8_000), key, samples, amplitude, upper_db, off_percent)
    }

    fn tone_at(
        rate: SampleRate,
        key: char,
        samples: usize,
        amplitude: f32,
        upper_db: f32,
        off_percent: f32,
    ) -> Vec<i16> {
        let (low, high) = frequencies(key).unwrap();
        let shift = 1.0 + off_percent / 100.0;
        let upper = amplitude * 10f32.powf(upper_db / 20.0);
        (0..samples)
            .map(|n| {
                let t = n as f32 / rate.0 as f32;
                ((t * low * shift * TAU).sin() * amplitude + (t * high * shift * TAU).sin() * upper) as i16
            })
            .collect()
    }

    fn heard(samples: &[i16]) -> String {
        let mut detector = ToneDetector::default();
        samples.chunks(160).filter_map(|frame| detector.push(frame)).collect()
    }

    fn press(key: char, ms: usize) -> Vec<i16> {
        let mut samples = vec![0; 37];
        samples.extend(tone(key, ms * 8, 6_000.0, 0.0, 0.0));
        samples.extend([0; 480]);
        samples
    }

    #[test]
    fn every_key_is_heard_once_per_press_however_long_it_lasts() {
        for ms in [45, 60, 100, 900] {
            let samples: Vec<i16> = ALL.chars().flat_map(|key| press(key, ms)).collect();
            assert_eq!(heard(&samples), ALL, "{ms} ms");
        }
        assert_eq!(heard(&[press('5', 80), press('5', 80)].concat()), "55", "the same key twice");
    }

    #[test]
    fn keys_are_heard_through_both_laws_noise_and_uneven_lines() {
        let mut random = Random::seeded(3);
        for law in [Law::Mu, Law::A] {
            for (amplitude, upper_db, off) in
                [(12_000.0, 0.0, 0.0), (400.0, 0.0, 0.0), (4_000.0, 3.0, 1.4), (4_000.0, -6.5, -1.4)]
            {
                for key in ALL.chars() {
                    let mut samples = vec![0i16; 480];
                    samples.splice(100..100, tone(key, 640, amplitude, upper_db, off));
                    for sample in &mut samples {
                        // 20 dB below the tones.
                        let noise = (random.below(2_001) as f32 / 1_000.0 - 1.0) * amplitude * 0.17;
                        *sample = law.decode_sample(law.encode_sample((f32::from(*sample) + noise) as i16));
                    }
                    assert_eq!(heard(&samples), key.to_string(), "{key} {law:?} {amplitude} {upper_db} {off}");
                }
            }
        }
    }

    #[test]
    fn too_short_too_faint_off_frequency_and_single_tones_are_no_keys() {
        for samples in [
            tone('5', 160, 6_000.0, 0.0, 0.0),
            tone('5', 2_000, 60.0, 0.0, 0.0),
            tone('5', 2_000, 6_000.0, 0.0, 5.0),
            tone('5', 2_000, 6_000.0, 14.0, 0.0),
            tone('5', 2_000, 6_000.0, -16.0, 0.0),
        ] {
            assert_eq!(heard(&samples), "");
        }
        let ringback = crate::audio::tones::samples(crate::audio::tones::Tone::Ringback, SampleRate::NARROWBAND);
        assert_eq!(heard(&ringback), "");
    }

    #[test]
    fn noise_presses_no_key() {
        for dbfs in [-45.0, -25.0, -12.0] {
            let mut samples = vec![0; 8_000 * 30];
            PhoneLine::new(dbfs, 4).pass(&mut samples);
            assert_eq!(heard(&samples), "", "{dbfs} dBFS");
        }
    }

    #[test]
    fn speech_presses_no_key() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller");
        let mut seconds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "wav") {
                let samples = wav::read_at(&path, SampleRate::NARROWBAND).unwrap();
                seconds += samples.len() / 8_000;
                for gain in [0.3, 1.0, 2.5] {
                    let louder: Vec<i16> = samples.iter().map(|s| (f32::from(*s) * gain) as i16).collect();
                    assert_eq!(heard(&louder), "", "{} × {gain}", path.display());
                }
            }
        }
        assert!(seconds > 10, "only {seconds} s of speech");
    }

    #[test]
    fn keys_of_ours_are_heard_by_our_own_ear_in_order() {
        for rate in [8_000, 16_000, 24_000, 48_000].map(SampleRate) {
            let mut presser = TonePresser::default();
            assert!(ALL.chars().all(|key| presser.push(key)) && !presser.push('x'));
            let (mut samples, mut frame) = (Vec::new(), vec![0; rate.samples_in_ms(20)]);
            let mut detector = ToneDetector::new(rate);
            let mut keys = String::new();
            while presser.fill(&mut frame) {
                samples.extend_from_slice(&frame);
                keys.extend(detector.push(&frame));
            }
            assert_eq!(samples.len(), 16 * 8 * rate.samples_in_ms(20));
            assert_eq!(keys, ALL, "{rate:?}");
        }
    }

    #[test]
    fn keys_on_wide_lines_are_heard_in_noise_and_off_frequency_too() {
        let mut random = Random::seeded(5);
        for rate in [16_000, 48_000].map(SampleRate) {
            for (upper_db, off) in [(0.0, 0.0), (3.0, 1.4), (-6.5, -1.4)] {
                for key in ALL.chars() {
                    let mut detector = ToneDetector::new(rate);
                    let mut samples = tone_at(rate, key, rate.samples_in_ms(80), 4_000.0, upper_db, off);
                    samples.extend(vec![0; rate.samples_in_ms(60)]);
                    for sample in &mut samples {
                        *sample += (random.below(1_001) as i16) - 500;
                    }
                    let keys: String =
                        samples.chunks(rate.samples_in_ms(20)).filter_map(|frame| detector.push(frame)).collect();
                    assert_eq!(keys, key.to_string(), "{rate:?} {upper_db} {off}");
                }
            }
        }
    }
}
