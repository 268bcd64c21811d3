//! Comfort noise (RFC 3389): the background of the other side, described in a few octets and made anew here.
//!
//! A description is a level and the shape of the spectrum as reflection coefficients. [`NoiseMeter`] takes one of the
//! audio while nobody speaks, [`ComfortNoise`] makes noise of one, and [`SilenceSender`] decides when to send audio, a
//! description or nothing. All pure; none allocates.

/// Coefficients used at most. More describe no background better; what a longer packet says beyond is left out, as the
/// RFC allows (section 3.2).
pub const ORDER_MAX: usize = 12;
/// Coefficients of our own descriptions: enough for the tilt and the hum of a room.
const OWN_ORDER: usize = 6;
/// The quietest level of a description, in dB below overload.
const QUIETEST: u8 = 127;
/// Coefficients come in steps of 258/32768, and this code is zero (RFC 3389, section 3.2).
const CODE_OF_ZERO: i32 = 127;
const STEP: f32 = 258.0 / 32_768.0;
/// Reflections nearer to 1 would let the filter ring.
const REFLECTION_MAX: f32 = 0.98;
/// How fast the sound follows a new description: per sample, 20 ms at 8 kHz to get two thirds of the way.
const GLIDE: f32 = 1.0 / 160.0;
/// Root mean square of full scale, 0 dBov.
const OVERLOAD: f32 = 32_768.0;
/// Root mean square of numbers evenly spread over ±1.
const SPREAD: f32 = 0.577_350_3;

/// The background of a line: what one comfort noise packet says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NoiseDescription {
    /// Level in dB below overload, 0 to 127.
    pub level: u8,
    /// Reflection coefficients, the first ones first; the rest are zero.
    reflections: [f32; ORDER_MAX],
    order: usize,
}

impl NoiseDescription {
    /// Noise of the same strength at all frequencies, `level` dB below overload.
    #[must_use]
    pub const fn white(level: u8) -> Self {
        Self { level: if level > QUIETEST { QUIETEST } else { level }, reflections: [0.0; ORDER_MAX], order: 0 }
    }

    /// Reads the payload of a comfort noise packet; `None` when it is empty. The first bit is ignored, and so are
    /// coefficients beyond [`ORDER_MAX`].
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (level, codes) = payload.split_first()?;
        let mut description = Self::white(level & 0x7F);
        for (reflection, code) in description.reflections.iter_mut().zip(codes) {
            *reflection = ((i32::from(*code) - CODE_OF_ZERO) as f32 * STEP).clamp(-REFLECTION_MAX, REFLECTION_MAX);
        }
        description.order = codes.len().min(ORDER_MAX);
        Some(description)
    }

    /// Writes the payload and says how many octets of `out` it takes: one, and one for each coefficient that fits.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let codes = self
            .reflections
            .iter()
            .take(self.order)
            .map(|reflection| ((reflection / STEP).round() as i32 + CODE_OF_ZERO).clamp(0, 2 * CODE_OF_ZERO) as u8);
        let mut written = 0;
        for (octet, code) in out.iter_mut().zip(std::iter::once(self.level).chain(codes)) {
            *octet = code;
            written += 1;
        }
        written
    }
}

/// Makes noise of descriptions. Glides from one to the next, so that a refresh is not heard.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    wanted: NoiseDescription,
    /// Root mean square of the noise that drives the filter: where it is, and where it goes.
    drive: f32,
    wanted_drive: f32,
    /// Coefficients in use, on their way to the wanted ones.
    reflections: [f32; ORDER_MAX],
    backward: [f32; ORDER_MAX],
    random: u32,
}

impl Default for ComfortNoise {
    fn default() -> Self {
        Self::new(1)
    }
}

impl ComfortNoise {
    /// Silence, until something is described. Streams of one `seed` are equal.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self {
            wanted: NoiseDescription::white(QUIETEST),
            drive: 0.0,
            wanted_drive: 0.0,
            reflections: [0.0; ORDER_MAX],
            backward: [0.0; ORDER_MAX],
            // The generator never leaves zero.
            random: seed | 1,
        }
    }

    /// Takes a description: the noise goes over to it within some 20 ms.
    pub fn describe(&mut self, description: NoiseDescription) {
        self.wanted = description;
        // The filter makes the noise louder by what its reflections return.
        let passes: f32 = description.reflections.iter().map(|k| 1.0 - k * k).product();
        let level = OVERLOAD * 10f32.powf(-f32::from(description.level) / 20.0);
        self.wanted_drive = if description.level >= QUIETEST { 0.0 } else { level * passes.sqrt() };
    }

    /// Fills `samples` with what follows.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for (reflection, wanted) in self.reflections.iter_mut().zip(self.wanted.reflections) {
            // Once per call: sets of coefficients between two stable ones are stable, each being below 1.
            *reflection += (wanted - *reflection) * 0.5;
        }
        for sample in samples {
            self.drive += (self.wanted_drive - self.drive) * GLIDE;
            *sample = self.next().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
        }
    }

    /// One sample: white noise through a lattice of the reflections.
    fn next(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let white = (self.random as i32) as f32 / 2_147_483_648.0;
        let mut forward = white * self.drive / SPREAD;
        // From the last stage to the first. What a stage sends back, the stage after it gets a sample later, so that each
        // place is written when both stages beside it have read it.
        let mut after: Option<&mut f32> = None;
        for (backward, reflection) in self.backward.iter_mut().zip(&self.reflections).rev() {
            forward -= reflection * *backward;
            let returned = reflection * forward + *backward;
            if let Some(after) = after {
                *after = returned;
            }
            after = Some(backward);
        }
        if let Some(first) = after {
            *first = forward;
        }
        forward
    }
}

/// Measures the background of a line while nobody speaks.
#[derive(Clone, Debug)]
pub struct NoiseMeter {
    /// Smoothed products of samples with those some places earlier, per sample.
    products: [f32; OWN_ORDER + 1],
    frames: u32,
}

impl Default for NoiseMeter {
    fn default() -> Self {
        Self { products: [0.0; OWN_ORDER + 1], frames: 0 }
    }
}

impl NoiseMeter {
    /// Takes a frame without speech, some 20 ms.
    pub fn push(&mut self, samples: &[i16]) {
        if samples.len() <= OWN_ORDER {
            return;
        }
        self.frames = self.frames.saturating_add(1);
        // The first frames count alike, then the last half second does.
        let share = 1.0 / self.frames.min(25) as f32;
        for (lag, product) in self.products.iter_mut().enumerate() {
            let earlier = samples.iter();
            let later = samples.get(lag..).unwrap_or_default();
            let sum: f32 = later.iter().zip(earlier).map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
            *product += (sum / samples.len() as f32 - *product) * share;
        }
    }

    /// What was measured: silence before the first frame.
    #[must_use]
    pub fn description(&self) -> NoiseDescription {
        let energy = self.products.first().copied().unwrap_or(0.0);
        if energy < 1.0 {
            return NoiseDescription::white(QUIETEST);
        }
        let level = (20.0 * (OVERLOAD / energy.sqrt()).log10()).round().clamp(0.0, f32::from(QUIETEST));
        let mut description = NoiseDescription::white(level as u8);
        description.order = OWN_ORDER;
        // Durbin's recursion; a little white noise keeps it from following a hum too closely.
        let mut predictor = [0.0f32; OWN_ORDER + 1];
        let mut rest = energy * 1.001 + 1.0;
        for stage in 1..=OWN_ORDER {
            let at = |lag: usize| self.products.get(lag).copied().unwrap_or(0.0);
            let sum: f32 = predictor.iter().take(stage).skip(1).enumerate().map(|(n, a)| a * at(stage - 1 - n)).sum();
            let reflection = (-(at(stage) + sum) / rest).clamp(-REFLECTION_MAX, REFLECTION_MAX);
            let before = predictor;
            for (n, a) in predictor.iter_mut().enumerate().take(stage).skip(1) {
                *a += reflection * before.get(stage - n).copied().unwrap_or(0.0);
            }
            if let Some(a) = predictor.get_mut(stage) {
                *a = reflection;
            }
            rest *= 1.0 - reflection * reflection;
            if let Some(slot) = description.reflections.get_mut(stage - 1) {
                *slot = reflection;
            }
        }
        description
    }

    /// Forgets the line.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Level of a frame in dB below overload, by the scale of descriptions.
fn level_of(samples: &[i16]) -> u8 {
    let energy: f32 = samples.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum();
    let mean = energy / samples.len().max(1) as f32;
    if mean > 0.0 {
        (20.0 * (OVERLOAD / mean.sqrt()).log10()).round().clamp(0.0, f32::from(QUIETEST)) as u8
    } else {
        QUIETEST
    }
}

/// What to send for a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum SilenceTurn {
    /// The frame itself.
    Audio,
    /// A comfort noise packet with this description instead of the frame.
    Describe(NoiseDescription),
    /// Nothing.
    Nothing,
}

/// Frames without speech after which silence begins: 200 ms, so that no end of a word is cut.
const HANGOVER_FRAMES: u32 = 10;
/// A description is repeated after this many frames, 1 s: a lost one is made good, and a NAT binding and the peer's patience
/// last longer.
const REFRESH_FRAMES: u32 = 50;
/// … or at once when the level has moved by this many dB.
const LEVEL_CHANGE: u8 = 4;

/// Decides frame by frame, by the verdict of a voice detector, what is sent to a peer that takes comfort noise.
#[derive(Clone, Debug, Default)]
pub struct SilenceSender {
    meter: NoiseMeter,
    quiet_frames: u32,
    since_description: u32,
    described: Option<NoiseDescription>,
}

impl SilenceSender {
    /// Takes a frame of 20 ms and whether there is speech in it.
    pub fn push(&mut self, samples: &[i16], voiced: bool) -> SilenceTurn {
        if voiced {
            self.quiet_frames = 0;
            self.described = None;
            return SilenceTurn::Audio;
        }
        self.quiet_frames = self.quiet_frames.saturating_add(1);
        self.meter.push(samples);
        if self.quiet_frames <= HANGOVER_FRAMES {
            return SilenceTurn::Audio;
        }
        self.since_description = self.since_description.saturating_add(1);
        let now = i32::from(level_of(samples));
        let is_due = match self.described {
            None => true,
            Some(described) => {
                self.since_description >= REFRESH_FRAMES
                    || (now - i32::from(described.level)).unsigned_abs() >= u32::from(LEVEL_CHANGE) * 2
            }
        };
        if !is_due {
            return SilenceTurn::Nothing;
        }
        let description = self.meter.description();
        self.since_description = 0;
        self.described = Some(description);
        SilenceTurn::Describe(description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use crate::audio::noise::PhoneLine;

    /// Mean product of neighbours over energy: the tilt of a spectrum.
    fn tilt(samples: &[i16], lag: usize) -> f32 {
        let product: f32 = samples[lag..].iter().zip(samples).map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
        let energy: f32 = samples.iter().map(|s| f32::from(*s) * f32::from(*s)).sum();
        product / energy
    }

    fn noise_of(description: NoiseDescription, samples: usize) -> Vec<i16> {
        let mut noise = ComfortNoise::new(7);
        noise.describe(description);
        let mut settling = [0; 1_600];
        settling.chunks_mut(160).for_each(|frame| noise.fill(frame));
        let mut out = vec![0; samples];
        out.chunks_mut(160).for_each(|frame| noise.fill(frame));
        out
    }

    #[test]
    fn a_level_alone_makes_white_noise_of_that_level() {
        for level in [30, 50, 70] {
            let noise = noise_of(NoiseDescription::parse(&[level]).unwrap(), 16_000);
            assert!((level_dbfs(&noise) + f32::from(level)).abs() < 1.0, "{level}: {}", level_dbfs(&noise));
            assert!(tilt(&noise, 1).abs() < 0.05);
        }
        assert!(noise_of(NoiseDescription::white(127), 160).iter().all(|s| *s == 0));
    }

    #[test]
    fn payloads_are_read_as_they_are_written_and_long_or_marked_ones_are_taken() {
        let payload = [0x80 | 50, 127, 0, 254, 200, 100, 255];
        let description = NoiseDescription::parse(&payload).unwrap();
        let mut out = [0; 20];
        assert_eq!(description.write(&mut out), 7);
        assert_eq!(out[..2], [50, 127]);
        assert!(out[2] < 5 && out[3] > 249 && out[4..6] == [200, 100]);
        assert_eq!(NoiseDescription::parse(&[]), None);
        let long: Vec<u8> = (0..200).collect();
        assert_eq!(NoiseDescription::parse(&long).unwrap().write(&mut out), 1 + ORDER_MAX);
        assert_eq!(description.write(&mut out[..2]), 2);
    }

    #[test]
    fn any_payload_makes_noise_that_stays_near_its_level() {
        let mut random = crate::base::Random::seeded(4);
        for _ in 0..300 {
            let payload: Vec<u8> = (0..=random.below(20)).map(|_| random.next_u32() as u8).collect();
            let description = NoiseDescription::parse(&payload).unwrap();
            let level = level_dbfs(&noise_of(description, 4_000));
            assert!(level < 6.0 - f32::from(description.level.min(90)), "{payload:?}: {level}");
        }
    }

    #[test]
    fn the_background_of_a_line_sounds_alike_after_it_was_described() {
        let mut line = vec![0; 24_000];
        PhoneLine::new(-45.0, 3).pass(&mut line);
        let mut meter = NoiseMeter::default();
        line.chunks(160).for_each(|frame| meter.push(frame));
        let mut payload = [0; 16];
        let octets = meter.description().write(&mut payload);
        assert_eq!(octets, 7);
        let noise = noise_of(NoiseDescription::parse(&payload[..octets]).unwrap(), 24_000);
        assert!((level_dbfs(&noise) - level_dbfs(&line)).abs() < 1.5, "{} {}", level_dbfs(&noise), level_dbfs(&line));
        for lag in 1..4 {
            assert!((tilt(&noise, lag) - tilt(&line, lag)).abs() < 0.1, "lag {lag}");
        }
    }

    #[test]
    fn noise_goes_over_to_another_level_without_a_click() {
        let mut noise = ComfortNoise::default();
        noise.describe(NoiseDescription::white(60));
        let mut line = [0; 800];
        line.chunks_mut(160).for_each(|frame| noise.fill(frame));
        noise.describe(NoiseDescription::white(35));
        let mut after = [0; 800];
        after.chunks_mut(160).for_each(|frame| noise.fill(frame));
        assert!(level_dbfs(&after[..40]) < -44.0 && level_dbfs(&after[640..]) > -37.0);
    }

    #[test]
    fn silence_is_described_after_its_hangover_and_again_now_and_then() {
        let mut sender = SilenceSender::default();
        let quiet = noise_of(NoiseDescription::white(55), 160 * 120);
        assert_eq!(sender.push(&quiet[..160], true), SilenceTurn::Audio);
        let turns: Vec<_> = quiet.chunks(160).map(|frame| sender.push(frame, false)).collect();
        assert!(turns[..10].iter().all(|turn| *turn == SilenceTurn::Audio));
        let SilenceTurn::Describe(description) = turns[10] else { panic!("{:?}", turns[10]) };
        assert!((50..60).contains(&description.level));
        let described = turns.iter().filter(|turn| matches!(turn, SilenceTurn::Describe(_))).count();
        let nothing = turns.iter().filter(|turn| **turn == SilenceTurn::Nothing).count();
        assert_eq!((described, nothing), (3, 107));
        assert_eq!(sender.push(&quiet[..160], true), SilenceTurn::Audio);
        assert_eq!(sender.push(&quiet[..160], false), SilenceTurn::Audio, "the hangover begins anew");
    }

    #[test]
    fn louder_background_is_described_at_once() {
        let mut sender = SilenceSender::default();
        let quiet = noise_of(NoiseDescription::white(60), 160 * 12);
        let louder = noise_of(NoiseDescription::white(40), 160);
        quiet.chunks(160).for_each(|frame| {
            sender.push(frame, false);
        });
        assert!(matches!(sender.push(&louder, false), SilenceTurn::Describe(_)));
    }
}
