//! Playing at the pace of the sender's clock: the audio of a leg is resampled by a few parts per million, so that over
//! hours nothing is left out and nothing is said twice.

use std::sync::LazyLock;

/// Taps of the interpolation, half of them ahead of the sample that is made: 1 ms at 8 kHz.
const TAPS: usize = 16;
/// Products that are summed side by side.
const LANES: usize = 4;
/// Samples kept behind the one that is made.
const BEHIND: usize = TAPS / 2 - 1;
/// Positions between two samples for which taps are kept; between them, taps are blended.
const PHASES: usize = 64;
/// A leg is resampled from this drift on; what slower drifts leave is taken up in the caller's pauses.
pub(super) const WORTH_PPM: f64 = 20.0;
/// The fastest correction, in parts per million: a fifth of what the best ear hears.
const STEEPEST_PPM: f64 = 1_000.0;
/// Parts per million per microsecond off.
const GAIN: f64 = 0.05;
/// Turns over which the distance from the target is averaged: its noise must not be heard.
const AVERAGED: f64 = 128.0;

/// Windowed sinc, one row per phase and one for the next sample.
static SINC: LazyLock<[[f32; TAPS]; PHASES + 1]> = LazyLock::new(|| {
    std::array::from_fn(|phase| {
        let shift = phase as f64 / PHASES as f64;
        let row: [f64; TAPS] = std::array::from_fn(|tap| {
            let x = tap as f64 - BEHIND as f64 - shift;
            let sinc = if x.abs() < 1e-9 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
            let edge = (x / (TAPS / 2) as f64).clamp(-1.0, 1.0);
            sinc * bessel(6.0 * (1.0 - edge * edge).sqrt()) / bessel(6.0)
        });
        let sum: f64 = row.iter().sum();
        row.map(|tap| (tap / sum) as f32)
    })
});

/// The modified Bessel function of order zero, for the Kaiser window.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..24 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

/// Takes playouts of 20 ms by the sender's clock, gives frames of 20 ms by ours. Until it [follows](Self::follow),
/// audio passes by it.
#[derive(Debug)]
pub(super) struct Pace {
    /// What was played last, then what waits.
    audio: Box<[i16]>,
    len: usize,
    /// Where in it the next sample of ours lies.
    at: f64,
    /// Samples of the sender's clock in one of ours.
    step: f64,
    /// How far off the target, averaged, in microseconds.
    off_us: f64,
    frame: usize,
    is_following: bool,
}

impl Pace {
    /// For frames of `frame` samples. Allocates.
    pub(super) fn new(frame: usize) -> Self {
        LazyLock::force(&SINC);
        Self {
            audio: vec![0; 3 * frame + 2 * TAPS].into_boxed_slice(),
            len: BEHIND,
            at: BEHIND as f64,
            step: 1.0,
            off_us: 0.0,
            frame,
            is_following: false,
        }
    }

    /// Forgets the stream, and that its clock drifts.
    pub(super) fn reset(&mut self) {
        self.audio.fill(0);
        (self.len, self.at, self.step, self.off_us) = (BEHIND, BEHIND as f64, 1.0, 0.0);
        self.is_following = false;
    }

    /// Begins to follow the sender's clock. It costs 20 ms of delay, made up as a lost packet is.
    pub(super) fn follow(&mut self) {
        self.is_following = true;
    }

    pub(super) fn is_following(&self) -> bool {
        self.is_following
    }

    /// Remembers the end of audio that passed by, so that following begins smoothly.
    pub(super) fn pass(&mut self, samples: &[i16]) {
        let tail = samples.get(samples.len().saturating_sub(BEHIND)..).unwrap_or_default();
        for (slot, sample) in self.audio.iter_mut().zip(tail) {
            *slot = *sample;
        }
    }

    /// Audio that waits, in microseconds.
    pub(super) fn held_us(&self) -> i64 {
        ((self.len as f64 - self.at) * 20_000.0 / self.frame as f64) as i64
    }

    /// Whether the next frame needs a further playout.
    pub(super) fn wants_more(&self) -> bool {
        let last = self.at + self.step * (self.frame - 1) as f64;
        last as usize + TAPS - BEHIND > self.len && self.len + self.frame <= self.audio.len()
    }

    /// Takes a playout.
    pub(super) fn push(&mut self, samples: &[i16]) {
        let room = self.audio.get_mut(self.len..).unwrap_or_default();
        for (slot, sample) in room.iter_mut().zip(samples) {
            *slot = *sample;
        }
        self.len = (self.len + samples.len()).min(self.audio.len());
    }

    /// Sets the pace: by the drift of the sender's clock (positive when it is the slower one), and by how late the
    /// audio is against its target.
    pub(super) fn steer(&mut self, drift_ppm: f64, late_by_us: i64) {
        self.off_us += (late_by_us as f64 - self.off_us) / AVERAGED;
        let correction = (self.off_us * GAIN - drift_ppm).clamp(-STEEPEST_PPM, STEEPEST_PPM);
        self.step = 1.0 + correction / 1e6;
    }

    /// Makes the next frame.
    pub(super) fn play(&mut self, out: &mut [i16]) {
        for (n, slot) in out.iter_mut().take(self.frame).enumerate() {
            let at = self.at + self.step * n as f64;
            let first = (at as usize).saturating_sub(BEHIND);
            let place = at.fract() * PHASES as f64;
            let blend = place.fract() as f32;
            let phase = place as usize;
            let (Some(near), Some(far)) = (SINC.get(phase), SINC.get(phase + 1)) else { continue };
            let window = self.audio.get(first..).and_then(|rest| rest.first_chunk::<TAPS>());
            let Some(window) = window else { continue };
            *slot = interpolated(window, near, far, blend).round() as i16;
        }
        self.at += self.step * self.frame as f64;
        let spent = (self.at as usize).saturating_sub(BEHIND).min(self.len);
        self.audio.copy_within(spent..self.len, 0);
        self.len -= spent;
        self.at -= spent as f64;
    }
}

/// The sum of samples by taps between two phases. Four sums side by side: the order of floating-point additions is part
/// of the result, so the compiler does not make them of one by itself.
fn interpolated(window: &[i16; TAPS], near: &[f32; TAPS], far: &[f32; TAPS], blend: f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (windows, _) = window.as_chunks::<LANES>();
    let (nears, _) = near.as_chunks::<LANES>();
    let (fars, _) = far.as_chunks::<LANES>();
    for ((samples, near), far) in windows.iter().zip(nears).zip(fars) {
        for (((sum, sample), near), far) in sums.iter_mut().zip(samples).zip(near).zip(far) {
            *sum += f32::from(*sample) * (near + (far - near) * blend);
        }
    }
    let [a, b, c, d] = sums;
    (a + b) + (c + d)
}

#[cfg(test)]
mod tests;
