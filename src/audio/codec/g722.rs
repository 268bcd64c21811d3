//! ITU-T G.722 at 64 kbit/s (mode 1): 16 kHz in two bands, each an adaptive difference code, in whole numbers.
//!
//! Names of blocks are those of the recommendation, section 6.2 and its figures. Everything is exact: two
//! implementations give the same bits.

/// Coefficients of the quadrature mirror filters, every other one (table 11).
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];
/// Decision levels of the lower band's quantiser (table 14, Q6).
const DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219, 1_339,
    1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];
/// Output of the lower band's inverse quantiser for six bits (table 16, QM6).
const LEVELS_6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];
/// The same for the four bits that the predictor sees (QM4).
const LEVELS_4: [i32; 16] =
    [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];
/// Output of the upper band's inverse quantiser (QM2).
const LEVELS_2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
/// How each four-bit code moves the logarithm of the lower scale factor (tables WL and RL42 in one).
const STEPS_LOW: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];
/// How each code moves that of the upper (WH and RH2 in one).
const STEPS_HIGH: [i32; 4] = [798, -214, 798, -214];
/// Powers of two by 32nds (table ILB).
const POWERS: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];
/// Greatest logarithms of the scale factors.
const LOG_LOW_MAX: i32 = 18_432;
const LOG_HIGH_MAX: i32 = 22_528;
/// Scale factors at the beginning.
const SCALE_LOW: i32 = 32;
const SCALE_HIGH: i32 = 8;

fn entry<const N: usize>(table: &[i32; N], code: i32) -> i32 {
    table.get(code as usize).copied().unwrap_or_default()
}

const fn saturate(value: i32) -> i32 {
    if value > 32_767 {
        32_767
    } else if value < -32_768 {
        -32_768
    } else {
        value
    }
}

/// Product of a sample with a coefficient in Q15.
const fn scaled(a: i32, b: i32) -> i32 {
    (a * b) >> 15
}

/// `magnitude` where both signs agree, else its negative. Signs are those of the numbers; zero counts as positive.
const fn signed_like(magnitude: i32, a: i32, b: i32) -> i32 {
    if (a < 0) == (b < 0) { magnitude } else { -magnitude }
}

/// One band: its scale factor and its predictor of two poles and six zeros (blocks 3 and 4).
#[derive(Clone, Copy, Debug)]
struct Band {
    log_scale: i32,
    scale: i32,
    poles: [i32; 2],
    zeros: [i32; 6],
    /// Quantised differences, the newest first.
    differences: [i32; 6],
    /// Reconstructed samples.
    reconstructed: [i32; 2],
    /// Those without the part of the poles.
    partial: [i32; 2],
    zero_part: i32,
    prediction: i32,
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            log_scale: 0,
            scale,
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            reconstructed: [0; 2],
            partial: [0; 2],
            zero_part: 0,
            prediction: 0,
        }
    }

    /// Takes the difference of one code, and the code's step of the scale.
    fn adapt(&mut self, difference: i32, step: i32, log_max: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, log_max);
        let power = entry(&POWERS, (self.log_scale >> 6) & 31);
        let down = shift - (self.log_scale >> 11);
        self.scale = (if down < 0 { power << -down } else { power >> down }) << 2;
        self.predict(difference);
    }

    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.prediction + difference);
        let partial = saturate(self.zero_part + difference);
        let [first, second] = self.poles;
        let [before, earlier] = self.partial;
        // UPPOL2
        let leaning = signed_like(-saturate(first << 2), partial, before).min(32_767) >> 7;
        let new_second = (leaning + signed_like(128, partial, earlier) + scaled(second, 32_512)).clamp(-12_288, 12_288);
        // UPPOL1
        let limit = saturate(15_360 - new_second);
        let new_first = saturate(signed_like(192, partial, before) + scaled(first, 32_640)).clamp(-limit, limit);
        // UPZERO
        let move_by = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(self.differences) {
            *zero = saturate(signed_like(move_by, past, difference) + scaled(*zero, 32_640));
        }
        // DELAYA
        self.poles = [new_first, new_second];
        self.partial = [partial, before];
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.differences.copy_within(0..5, 1);
        self.differences[0] = difference;
        // FILTEP, FILTEZ, PREDIC
        let poles = self.poles.iter().zip(self.reconstructed);
        let pole_part = saturate(poles.map(|(a, r)| scaled(*a, saturate(2 * r))).sum());
        let zeros = self.zeros.iter().zip(self.differences);
        self.zero_part = saturate(zeros.map(|(b, d)| scaled(*b, saturate(2 * d))).sum());
        self.prediction = saturate(pole_part + self.zero_part);
    }
}

/// Both bands: the part that encoder and decoder have in common and in step.
#[derive(Clone, Copy, Debug)]
struct Bands {
    low: Band,
    high: Band,
}

impl Bands {
    const fn new(scale_low: i32, scale_high: i32) -> Self {
        Self { low: Band::new(scale_low), high: Band::new(scale_high) }
    }

    fn adapt_low(&mut self, code: i32) {
        let coarse = code >> 2;
        let difference = scaled(self.low.scale, entry(&LEVELS_4, coarse));
        self.low.adapt(difference, entry(&STEPS_LOW, coarse), LOG_LOW_MAX, 8);
    }

    fn adapt_high(&mut self, code: i32) -> i32 {
        let difference = scaled(self.high.scale, entry(&LEVELS_2, code));
        self.high.adapt(difference, entry(&STEPS_HIGH, code), LOG_HIGH_MAX, 10);
        difference
    }
}

/// The last 24 samples of a mirror filter, the even and the odd ones apart.
#[derive(Clone, Copy, Debug)]
struct Mirror {
    even: [i32; 12],
    odd: [i32; 12],
}

impl Mirror {
    const fn new() -> Self {
        Self { even: [0; 12], odd: [0; 12] }
    }

    /// Takes two samples; the sums over the even ones and over the odd ones.
    fn push(&mut self, even: i32, odd: i32) -> (i32, i32) {
        self.even.copy_within(1.., 0);
        self.odd.copy_within(1.., 0);
        self.even[11] = even;
        self.odd[11] = odd;
        let mut sums = (0, 0);
        for ((even, odd), (forward, backward)) in
            self.even.iter().zip(self.odd).zip(MIRROR.iter().zip(MIRROR.iter().rev()))
        {
            sums.0 += even * forward;
            sums.1 += odd * backward;
        }
        sums
    }
}

/// Samples at 16 kHz to octets, one for every two.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    bands: Bands,
    mirror: Mirror,
}

impl Encoder {
    pub(super) const fn new() -> Self {
        Self { bands: Bands::new(SCALE_LOW, SCALE_HIGH), mirror: Mirror::new() }
    }

    /// Encodes as many pairs of samples as there are octets in `out`.
    pub(super) fn encode(&mut self, samples: &[i16], out: &mut [u8]) {
        for (pair, octet) in samples.chunks_exact(2).zip(out) {
            let [even, odd] = *pair else { continue };
            *octet = self.encode_pair(even, odd);
        }
    }

    fn encode_pair(&mut self, even: i16, odd: i16) -> u8 {
        let (sum_even, sum_odd) = self.mirror.push(i32::from(even), i32::from(odd));
        let (low, high) = ((sum_odd + sum_even) >> 14, (sum_odd - sum_even) >> 14);
        // Block 1L: the sign makes two ladders of codes; the step is found among the decision levels.
        let error = saturate(low - self.bands.low.prediction);
        let (magnitude, scale) = (if error < 0 { !error } else { error }, self.bands.low.scale);
        let rung = DECISIONS.partition_point(|level| magnitude >= (level * scale) >> 12) as i32;
        let code_low = match (error < 0, rung) {
            (true, 0 | 1) => 63 - rung,
            (true, _) => 33 - rung,
            (false, _) => 61 - rung,
        };
        self.bands.adapt_low(code_low);
        // Block 1H.
        let error = saturate(high - self.bands.high.prediction);
        let magnitude = if error < 0 { !error } else { error };
        let is_far = magnitude >= (564 * self.bands.high.scale) >> 12;
        let code_high = match (error < 0, is_far) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.bands.adapt_high(code_high);
        (code_high << 6 | code_low) as u8
    }
}

/// Octets to samples at 16 kHz, two for each.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    bands: Bands,
    mirror: Mirror,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { bands: Bands::new(SCALE_LOW, SCALE_HIGH), mirror: Mirror::new() }
    }

    /// Decodes as many octets as `out` has room for pairs of samples.
    pub(super) fn decode(&mut self, octets: &[u8], out: &mut [i16]) {
        for (octet, pair) in octets.iter().zip(out.chunks_exact_mut(2)) {
            let samples = self.decode_octet(*octet);
            pair.copy_from_slice(&samples);
        }
    }

    fn decode_octet(&mut self, octet: u8) -> [i16; 2] {
        let (code_low, code_high) = (i32::from(octet & 63), i32::from(octet >> 6));
        // Blocks 5L and 6L: all six bits are heard, though the predictor sees four.
        let fine = scaled(self.bands.low.scale, entry(&LEVELS_6, code_low));
        let low = (self.bands.low.prediction + fine).clamp(-16_384, 16_383);
        self.bands.adapt_low(code_low);
        let predicted = self.bands.high.prediction;
        let high = (predicted + self.bands.adapt_high(code_high)).clamp(-16_384, 16_383);
        let (sum_even, sum_odd) = self.mirror.push(low + high, low - high);
        [saturate(sum_odd >> 11) as i16, saturate(sum_even >> 11) as i16]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use crate::audio::wav;
    use crate::base::{Random, SampleRate};
    use ezk_g722::libg722::{Bitrate, decoder, encoder};
    use std::f32::consts::TAU;

    /// The other implementation starts with scale factors of zero, the recommendation with 32 and 8.
    fn coders_of_the_other_start() -> (Encoder, Decoder) {
        let bands = Bands::new(0, 0);
        (Encoder { bands, mirror: Mirror::new() }, Decoder { bands, mirror: Mirror::new() })
    }

    fn speech() -> Vec<i16> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
        files.sort();
        files.iter().flat_map(|path| wav::read_at(path, SampleRate::WIDEBAND).unwrap()).collect()
    }

    fn tone(hz: f32, amplitude: f32, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| ((n as f32 * hz / 16_000.0 * TAU).sin() * amplitude) as i16).collect()
    }

    fn noise(amplitude: f64, samples: usize) -> Vec<i16> {
        let mut random = Random::seeded(722);
        (0..samples).map(|_| ((random.unit() * 2.0 - 1.0) * amplitude) as i16).collect()
    }

    /// Every sound, the name first.
    fn sounds() -> Vec<(&'static str, Vec<i16>)> {
        let square =
            |half: usize| (0..16_000).map(|n| if (n / half).is_multiple_of(2) { i16::MAX } else { i16::MIN }).collect();
        let mut random = Random::seeded(3);
        let impulses = (0..16_000).map(|_| if random.below(50) == 0 { random.next_u32() as i16 } else { 0 }).collect();
        vec![
            ("speech", speech()),
            ("low tone", tone(300.0, 9_000.0, 16_000)),
            ("tone of the upper band", tone(6_300.0, 9_000.0, 16_000)),
            ("tone at the seam", tone(4_000.0, 30_000.0, 16_000)),
            ("full tone", tone(1_000.0, 32_767.0, 16_000)),
            ("soft noise", noise(60.0, 32_000)),
            ("loud noise", noise(32_767.0, 32_000)),
            ("slow square", square(97)),
            ("fast square", square(1)),
            ("impulses", impulses),
            ("lowest", vec![i16::MIN; 4_000]),
            ("highest", vec![i16::MAX; 4_000]),
            ("silence", vec![0; 16_000]),
        ]
    }

    #[test]
    fn octets_and_samples_are_those_of_another_implementation_bit_by_bit() {
        let mut compared = 0;
        for (name, samples) in sounds() {
            let (mut ours, mut our_decoder) = coders_of_the_other_start();
            let mut theirs = encoder::Encoder::new(Bitrate::Mode1_64000, false, false);
            let mut their_decoder = decoder::Decoder::new(Bitrate::Mode1_64000, false, false);
            for frame in samples.chunks_exact(320) {
                let mut octets = [0; 160];
                ours.encode(frame, &mut octets);
                assert_eq!(octets[..], theirs.encode(frame)[..], "{name}, after {compared} frames in all");
                let mut heard = [0; 320];
                our_decoder.decode(&octets, &mut heard);
                assert_eq!(heard[..], their_decoder.decode(&octets)[..], "{name}");
                compared += 1;
            }
        }
        assert!(compared > 1_000, "only {compared} frames");
    }

    #[test]
    fn any_octets_are_decoded_as_another_implementation_does() {
        let mut random = Random::seeded(8);
        let (_, mut ours) = coders_of_the_other_start();
        let mut theirs = decoder::Decoder::new(Bitrate::Mode1_64000, false, false);
        for round in 0..2_000 {
            let one = random.next_u32() as u8;
            let octets: Vec<u8> =
                (0..160).map(|_| if round % 3 == 0 { one } else { random.next_u32() as u8 }).collect();
            let mut heard = [0; 320];
            ours.decode(&octets, &mut heard);
            assert_eq!(heard[..], theirs.decode(&octets)[..], "round {round}");
        }
    }

    #[test]
    fn a_decoder_that_joins_late_or_starts_otherwise_soon_hears_the_same() {
        let samples = speech();
        let mut octets = vec![0; samples.len() / 2];
        Encoder::new().encode(&samples, &mut octets);
        let mut whole = vec![0; octets.len() * 2];
        Decoder::new().decode(&octets, &mut whole);
        let (_, other) = coders_of_the_other_start();
        for (mut decoder, from) in [(Decoder::new(), 40_000), (other, 0)] {
            let mut late = vec![0; (octets.len() - from) * 2];
            decoder.decode(&octets[from..], &mut late);
            let rest = 2 * from + 8_000..2 * from + 88_000;
            let error: Vec<i16> =
                whole[rest.clone()].iter().zip(&late[8_000..]).map(|(a, b)| a.saturating_sub(*b)).collect();
            let db = level_dbfs(&whole[rest]) - level_dbfs(&error);
            assert!(db > 20.0, "from {from}: {db:.1} dB");
        }
    }

    /// Signal over what is wrong, in dB, after the delay of the filters, 22 samples, is taken out.
    fn signal_to_noise(samples: &[i16]) -> f32 {
        let mut octets = vec![0; samples.len() / 2];
        Encoder::new().encode(samples, &mut octets);
        let mut heard = vec![0; octets.len() * 2];
        Decoder::new().decode(&octets, &mut heard);
        let error: Vec<i16> = samples.iter().zip(&heard[22..]).map(|(a, b)| a.saturating_sub(*b)).collect();
        level_dbfs(&samples[1_600..]) - level_dbfs(&error[1_600..])
    }

    #[test]
    fn speech_and_tones_come_back_clear() {
        for (what, samples, least) in [
            ("speech", speech(), 20.0),
            ("a tone", tone(1_000.0, 8_000.0, 16_000), 30.0),
            ("a high tone", tone(6_000.0, 8_000.0, 16_000), 12.0),
        ] {
            let db = signal_to_noise(&samples);
            assert!(db > least, "{what}: {db:.1} dB");
        }
    }
}
