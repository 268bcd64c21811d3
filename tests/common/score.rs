//! How near what was heard is to what was said: an objective score of sound for tests and benches.
//!
//! Both are brought into line in time by cross-correlation, once for the whole and again every quarter of a second, since
//! a jitter buffer may stretch and shrink pauses. Then the spectra are compared in bands like those of the ear, in
//! dB, where something is said or heard. It is no PESQ: it orders things of one kind, and its points mean nothing beside
//! those of another scale.

use realfft::RealFftPlanner;
use std::f64::consts::TAU;

/// Upper edges of the bands in Hz, the critical bands of the ear from 200 Hz on.
const EDGES: [f64; 21] = [
    200.0, 300.0, 400.0, 510.0, 630.0, 770.0, 920.0, 1_080.0, 1_270.0, 1_480.0, 1_720.0, 2_000.0, 2_320.0, 2_700.0,
    3_150.0, 3_700.0, 4_400.0, 5_300.0, 6_400.0, 7_700.0, 9_500.0,
];
/// Window of a spectrum, and its step.
const WINDOW_MS: usize = 32;
const STEP_MS: usize = 16;
/// Bands below this, relative to the mean of the spoken parts, are alike however much less they hold.
const FLOOR_DB: f64 = -35.0;
/// Windows of the reference and of what was heard that are both below this, relative to the same, are pauses.
const PAUSE_DB: f64 = -25.0;
/// A band that differs by more counts as this much.
const WORST_DB: f64 = 30.0;
/// The stretch that is brought into line by itself, and how far it may move against the one before.
const STRETCH_MS: usize = 250;
const SHIFT_MS: usize = 70;
/// A stretch moves only when it then resembles the reference better by this much of 1.
const MOVES_FOR: f64 = 0.1;
/// Spectral distance that takes the points down to 37 of 100.
const DISTANCE_OF_37: f64 = 9.0;

/// What a comparison gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score {
    /// From 0 to 100; 100 is equal sound. Falls monotonously with [`Self::distance_db`].
    pub points: f64,
    /// Log-spectral distance over the bands, root mean square over the spoken windows, in dB; 0 is equal.
    pub distance_db: f64,
    /// Mean over the spoken windows of signal over error, each held within −10 to 35 dB.
    pub segmental_snr_db: f64,
    /// By how much what was heard lags the reference.
    pub delay_ms: f64,
    /// Share of the spoken windows that differ by more than half of the worst: holes and bursts.
    pub spoilt: f64,
}

/// Compares what was heard with the reference, both mono at `rate`. A difference in level over the whole does not count.
/// `heard` may begin up to two seconds late and end early; what is missing at its end counts as silence.
pub fn score(reference: &[i16], heard: &[i16], rate: u32) -> Score {
    let rate = rate as usize;
    let reference: Vec<f64> = reference.iter().map(|s| f64::from(*s)).collect();
    let heard: Vec<f64> = heard.iter().map(|s| f64::from(*s)).collect();
    let delay = best_lag(&reference, &heard, 2 * rate);
    let aligned = align_stretches(&reference, &heard, delay, rate);
    let gain = {
        let (said, got) = (energy(&reference), energy(&aligned));
        if got > 0.0 { (said / got).sqrt().clamp(0.1, 10.0) } else { 1.0 }
    };
    let aligned: Vec<f64> = aligned.iter().map(|s| s * gain).collect();

    let spectrum = Spectrum::new(rate);
    let windows: Vec<(Vec<f64>, Vec<f64>, f64)> = (0..reference.len().saturating_sub(spectrum.window))
        .step_by(rate * STEP_MS / 1_000)
        .map(|at| {
            let (a, b) = (&reference[at..at + spectrum.window], &aligned[at..at + spectrum.window]);
            (spectrum.bands(a), spectrum.bands(b), segment_snr(a, b))
        })
        .collect();
    let loudness = |bands: &[f64]| bands.iter().sum::<f64>() / bands.len() as f64;
    let mean = {
        let mut all: Vec<f64> = windows.iter().map(|(said, ..)| loudness(said)).collect();
        all.sort_by(f64::total_cmp);
        // The louder half: pauses in the recording do not lower the floor.
        let loud = &all[all.len() / 2..];
        loud.iter().sum::<f64>() / loud.len().max(1) as f64
    };
    let (mut squares, mut snr, mut spoken, mut spoilt) = (0.0, 0.0, 0usize, 0usize);
    for (said, got, segment) in &windows {
        let pause = mean * 10f64.powf(PAUSE_DB / 10.0);
        if loudness(said) < pause && loudness(got) < pause {
            continue;
        }
        let floor = mean * 10f64.powf(FLOOR_DB / 10.0) + 1e-9;
        let differs =
            said.iter().zip(got).map(|(a, b)| (10.0 * ((a + floor) / (b + floor)).log10()).abs().min(WORST_DB));
        let distance = differs.sum::<f64>() / said.len() as f64;
        squares += distance * distance;
        snr += segment;
        spoken += 1;
        spoilt += usize::from(distance > WORST_DB / 2.0);
    }
    let spoken = spoken.max(1) as f64;
    let distance_db = (squares / spoken).sqrt();
    Score {
        points: 100.0 * (-distance_db / DISTANCE_OF_37).exp(),
        distance_db,
        segmental_snr_db: snr / spoken,
        delay_ms: delay as f64 * 1_000.0 / rate as f64,
        spoilt: spoilt as f64 / spoken,
    }
}

fn energy(samples: &[f64]) -> f64 {
    samples.iter().map(|s| s * s).sum()
}

fn segment_snr(said: &[f64], got: &[f64]) -> f64 {
    let error: f64 = said.iter().zip(got).map(|(a, b)| (a - b) * (a - b)).sum();
    (10.0 * ((energy(said) + 1e-9) / (error + 1e-9)).log10()).clamp(-10.0, 35.0)
}

/// Windowed power spectra, summed into bands.
struct Spectrum {
    window: usize,
    shape: Vec<f64>,
    fft: std::sync::Arc<dyn realfft::RealToComplex<f64>>,
    /// First and last bin of each band.
    bands: Vec<(usize, usize)>,
}

impl Spectrum {
    fn new(rate: usize) -> Self {
        let window = rate * WINDOW_MS / 1_000;
        let shape = (0..window).map(|n| 0.5 - 0.5 * (n as f64 / window as f64 * TAU).cos()).collect();
        let width = rate as f64 / window as f64;
        let top = (rate as f64 / 2.0).min(*EDGES.last().unwrap());
        let bands = EDGES
            .windows(2)
            .filter(|edges| edges[1] <= top)
            .map(|edges| ((edges[0] / width).round() as usize, ((edges[1] / width).round() as usize).max(1)))
            .collect();
        Self { window, shape, fft: RealFftPlanner::new().plan_fft_forward(window), bands }
    }

    fn bands(&self, samples: &[f64]) -> Vec<f64> {
        let mut shaped: Vec<f64> = samples.iter().zip(&self.shape).map(|(s, w)| s * w).collect();
        let mut bins = self.fft.make_output_vec();
        self.fft.process(&mut shaped, &mut bins).unwrap();
        self.bands
            .iter()
            .map(|(from, to)| bins[*from..*to].iter().map(|bin| bin.norm_sqr()).sum::<f64>() / (to - from) as f64)
            .collect()
    }
}

/// The lag of `heard` at which it resembles the reference best, within ±`most`.
fn best_lag(reference: &[f64], heard: &[f64], most: usize) -> isize {
    let size = (reference.len() + heard.len()).next_power_of_two().max(2);
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, back) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let transform = |samples: &[f64]| {
        let mut padded = vec![0.0; size];
        padded[..samples.len()].copy_from_slice(samples);
        let mut bins = forward.make_output_vec();
        forward.process(&mut padded, &mut bins).unwrap();
        bins
    };
    let (a, b) = (transform(reference), transform(heard));
    let mut product: Vec<_> = a.iter().zip(&b).map(|(a, b)| a.conj() * b).collect();
    product[0].im = 0.0;
    product[size / 2].im = 0.0;
    let mut correlation = back.make_output_vec();
    back.process(&mut product, &mut correlation).unwrap();
    let at = |lag: isize| correlation[lag.rem_euclid(size as isize) as usize];
    let most = most.min(size / 2 - 1) as isize;
    (-most..=most).max_by(|a, b| at(*a).total_cmp(&at(*b)).then(b.abs().cmp(&a.abs()))).unwrap_or(0)
}

/// Likeness of two stretches from every `stride`th sample, 1 when they are equal but for the level.
fn resemblance(a: &[f64], b: &[f64], stride: usize) -> f64 {
    let (mut cross, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b).step_by(stride) {
        cross += a * b;
        first += a * a;
        second += b * b;
    }
    cross / ((first * second).sqrt() + 1.0)
}

/// What was heard, as long as the reference and in line with it stretch by stretch.
fn align_stretches(reference: &[f64], heard: &[f64], delay: isize, rate: usize) -> Vec<f64> {
    let cut = |from: isize, len: usize| -> Vec<f64> {
        (from..from + len as isize)
            .map(|n| usize::try_from(n).ok().and_then(|n| heard.get(n)).copied().unwrap_or(0.0))
            .collect()
    };
    let stretch = rate * STRETCH_MS / 1_000;
    let reach = (rate * SHIFT_MS / 1_000) as isize;
    // Pitch and syllables place a stretch as well as all its samples do; the last step is by the sample.
    let coarse = (rate / 4_000).max(1);
    let spoken = energy(reference) / reference.len().max(1) as f64 / 300.0;
    let (mut out, mut lag) = (Vec::with_capacity(reference.len()), delay);
    for piece in reference.chunks(stretch) {
        let at = out.len() as isize;
        let stays = resemblance(piece, &cut(at + lag, piece.len()), coarse);
        if stays < 0.95 && energy(piece) / piece.len() as f64 > spoken {
            let around = cut(at + lag - reach, piece.len() + 2 * reach as usize);
            let best_of = |shifts: &mut dyn Iterator<Item = usize>, stride| {
                shifts
                    .map(|shift| (resemblance(piece, &around[shift..shift + piece.len()], stride), shift))
                    .max_by(|a, b| a.0.total_cmp(&b.0))
                    .unwrap_or((stays, reach as usize))
            };
            let (_, near) = best_of(&mut (0..=2 * reach as usize).step_by(coarse), 2 * coarse);
            let (best, shift) =
                best_of(&mut (near.saturating_sub(coarse)..=(near + coarse).min(2 * reach as usize)), coarse);
            if best > stays + MOVES_FOR {
                lag += shift as isize - reach;
            }
        }
        out.extend(cut(at + lag, piece.len()));
    }
    out
}
