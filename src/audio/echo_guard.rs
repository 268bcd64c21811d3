//! Tells our own voice that a line sends back from the caller's.
//!
//! No echo is taken out. What was played is kept for a while, thinned to 4 kHz; when what is heard resembles it at one
//! lag, again and again, the line echoes. From then on a frame that is no louder than the echo should be, and is made of
//! it, is no voice. A caller who talks at the same time adds what the echo does not explain, and is heard.

use crate::base::SampleRate;

/// Samples per second of the comparison: enough for the pitch and the first formants.
const RATE: usize = 4_000;
/// Lags looked at: 0 to 500 ms, as far as an international line with a satellite goes.
const LAGS: usize = RATE / 2;
/// What is heard is compared over this stretch in a search, 120 ms …
const SEARCHED: usize = RATE * 12 / 100;
/// … and over this for a verdict, 40 ms.
const JUDGED: usize = RATE * 4 / 100;
/// Samples of what was played that are kept.
const PLAYED: usize = LAGS + SEARCHED + JUDGED;
/// Frames between searches.
const SEARCH_EVERY: u32 = 4;
/// Resemblance that counts as a find, 1 being equal …
const FOUND: f32 = 0.5;
/// … and that needs no second find at the same lag.
const SURE: f32 = 0.75;
/// Finds at lags that differ by less are the same, 2 ms.
const SAME_LAG: usize = RATE / 500;
/// Searches in a row without a find after which the line is taken not to echo: some two seconds of our voice.
const MISSES_MAX: u32 = 24;
/// Mean square below which there is nothing: −60 dBFS.
const SILENCE: f32 = 1_073.0;
/// A frame may have this many times the energy of the echo that is due, 5 dB.
const LOUDER: f32 = 3.2;
/// What the echo does not explain may be this many times what it usually leaves.
const UNEXPLAINED: f32 = 3.0;
/// How far around its lag the echo is looked for, and where its loudest counts: a room smears it, 8 ms.
const SMEAR: usize = RATE * 8 / 1_000;

/// What a frame is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EchoVerdict {
    /// The caller's own sound, as far as can be told.
    Caller,
    /// Our own voice, come back.
    Echo,
}

/// Thins a stream to 4 kHz by means over whole groups of samples.
#[derive(Clone, Debug)]
struct Thinner {
    group: usize,
    filled: usize,
    sum: f32,
}

impl Thinner {
    fn new(rate: SampleRate) -> Self {
        Self { group: (rate.0 as usize / RATE).max(1), filled: 0, sum: 0.0 }
    }

    fn push(&mut self, samples: &[i16], line: &mut Vec<f32>, keep: usize) {
        for sample in samples {
            self.sum += f32::from(*sample);
            self.filled += 1;
            if self.filled == self.group {
                line.push(self.sum / self.group as f32);
                self.filled = 0;
                self.sum = 0.0;
            }
        }
        let over = line.len().saturating_sub(keep);
        line.drain(..over);
    }
}

/// See the module. For one call; the frames of both directions are to be given in the order in which they sound.
#[derive(Clone, Debug)]
pub struct EchoGuard {
    played: Vec<f32>,
    heard: Vec<f32>,
    play_thinner: Thinner,
    hear_thinner: Thinner,
    /// The lag of the echo, once it is known.
    lag: Option<usize>,
    candidate: Option<usize>,
    misses: u32,
    since_search: u32,
    /// Energy of the echo over that of what was played.
    gain: f32,
    /// Share of the echo that what was played does not explain, usually.
    left_over: f32,
}

impl EchoGuard {
    /// A guard for a line of `rate` samples per second.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self {
            played: vec![0.0; PLAYED],
            heard: vec![0.0; SEARCHED],
            play_thinner: Thinner::new(rate),
            hear_thinner: Thinner::new(rate),
            lag: None,
            candidate: None,
            misses: 0,
            since_search: 0,
            gain: 0.0,
            left_over: 0.5,
        }
    }

    /// Takes what was sent to the caller, silence included; before the [`EchoGuard::heard`] of the same 20 ms.
    pub fn played(&mut self, samples: &[i16]) {
        self.play_thinner.push(samples, &mut self.played, PLAYED);
    }

    /// Takes what came from the caller and says what it is.
    pub fn heard(&mut self, samples: &[i16]) -> EchoVerdict {
        self.hear_thinner.push(samples, &mut self.heard, SEARCHED);
        self.since_search += 1;
        let judged = tail(&self.heard, JUDGED, 0);
        let energy = mean_square(judged);
        if energy < SILENCE {
            return EchoVerdict::Caller;
        }
        if self.since_search >= SEARCH_EVERY {
            self.since_search = 0;
            self.search();
        }
        let Some(lag) = self.lag else { return EchoVerdict::Caller };
        self.judge(lag, energy)
    }

    /// How long the echo takes, in milliseconds, once the line is known to echo.
    #[must_use]
    pub fn delay_ms(&self) -> Option<u32> {
        self.lag.map(|lag| (lag * 1_000 / RATE) as u32)
    }

    fn judge(&mut self, lag: usize, energy: f32) -> EchoVerdict {
        let judged = tail(&self.heard, JUDGED, 0);
        let near = lag.saturating_sub(SMEAR)..=(lag + SMEAR).min(LAGS - 1);
        let (mut alike, mut loudest) = (0.0f32, 0.0f32);
        for lag in near {
            let played = tail(&self.played, JUDGED, lag);
            alike = alike.max(resemblance(judged, played));
            loudest = loudest.max(mean_square(played));
        }
        let due = loudest * self.gain;
        let left = energy * (1.0 - alike * alike);
        let usual = (self.left_over * due).max(0.05 * due);
        let is_echo = loudest > SILENCE && energy <= due * LOUDER && left <= usual * UNEXPLAINED;
        if is_echo && alike > FOUND {
            self.learn(energy / loudest, 1.0 - alike * alike, 0.05);
        }
        if is_echo { EchoVerdict::Echo } else { EchoVerdict::Caller }
    }

    fn learn(&mut self, gain: f32, left_over: f32, share: f32) {
        self.gain += (gain - self.gain) * share;
        self.left_over += (left_over - self.left_over) * share;
    }

    /// Looks for the lag at which what is heard resembles what was played.
    fn search(&mut self) {
        let heard = tail(&self.heard, SEARCHED, 0);
        // The played stretches of all lags, and only where there was something to play.
        if mean_square(heard) < SILENCE || mean_square(&self.played) < SILENCE {
            return;
        }
        let coarse = (0..LAGS).step_by(2).map(|lag| (thin_resemblance(heard, tail(&self.played, SEARCHED, lag)), lag));
        let Some((_, near)) = coarse.max_by(|a, b| a.0.total_cmp(&b.0)) else { return };
        let fine = near.saturating_sub(2)..=(near + 2).min(LAGS - 1);
        let at = |lag: usize| (resemblance(heard, tail(&self.played, SEARCHED, lag)), lag);
        let Some((alike, lag)) = fine.map(at).max_by(|a, b| a.0.total_cmp(&b.0)) else { return };
        if alike < FOUND {
            self.misses += 1;
            if self.misses > MISSES_MAX {
                self.lag = None;
                self.candidate = None;
            }
            return;
        }
        self.misses = 0;
        let again = self.candidate.is_some_and(|before| before.abs_diff(lag) <= SAME_LAG);
        self.candidate = Some(lag);
        let is_known = self.lag.is_some_and(|known| known.abs_diff(lag) <= SAME_LAG);
        if !is_known && (again || alike >= SURE) {
            self.lag = Some(lag);
            let played = mean_square(tail(&self.played, SEARCHED, lag)).max(1.0);
            self.learn(mean_square(heard) / played, 1.0 - alike * alike, 1.0);
        }
    }
}

/// `len` samples that end `back` before the newest.
fn tail(line: &[f32], len: usize, back: usize) -> &[f32] {
    let end = line.len().saturating_sub(back);
    line.get(end.saturating_sub(len)..end).unwrap_or_default()
}

fn mean_square(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32
}

/// Likeness of two stretches of equal length, sign included: 1 when equal but for the level.
fn resemblance(a: &[f32], b: &[f32]) -> f32 {
    let (mut cross, mut first, mut second) = (0.0f32, 0.0f32, 0.0f32);
    for (a, b) in a.iter().zip(b) {
        cross += a * b;
        first += a * a;
        second += b * b;
    }
    cross.abs() / ((first * second).sqrt() + 1.0)
}

/// The same from every other sample, for a first look.
fn thin_resemblance(a: &[f32], b: &[f32]) -> f32 {
    let (mut cross, mut first, mut second) = (0.0f32, 0.0f32, 0.0f32);
    for (a, b) in a.chunks_exact(2).zip(b.chunks_exact(2)) {
        let ([a, a2], [b, b2]) = (a, b) else { continue };
        let (a, b) = (a + a2, b + b2);
        cross += a * b;
        first += a * a;
        second += b * b;
    }
    cross.abs() / ((first * second).sqrt() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use crate::audio::g711::Law;
    use crate::audio::noise::PhoneLine;
    use crate::audio::wav;

    fn clip(name: &str, rate: SampleRate) -> Vec<i16> {
        wav::read_at(format!("{}/examples/caller/{name}.wav", env!("CARGO_MANIFEST_DIR")), rate).unwrap()
    }

    /// What the line sends back of `played`: later, softer, band-limited, coded, in noise.
    fn echo_of(played: &[i16], delay_ms: u32, loss_db: f32) -> Vec<i16> {
        let mut line = vec![0; delay_ms as usize * 8];
        line.extend(played);
        line.truncate(played.len());
        let factor = 10f32.powf(-loss_db / 20.0);
        line.iter_mut().for_each(|s| *s = (f32::from(*s) * factor) as i16);
        PhoneLine::new(-62.0, 5).pass(&mut line);
        line.iter().map(|s| Law::A.decode_sample(Law::A.encode_sample(*s))).collect()
    }

    /// Frames that are loud enough for a voice detector, and which of them were taken for echo.
    fn judge(guard: &mut EchoGuard, played: &[i16], heard: &[i16]) -> Vec<(bool, EchoVerdict)> {
        let frames = played.chunks_exact(160).zip(heard.chunks_exact(160));
        frames
            .map(|(played, heard)| {
                guard.played(played);
                (level_dbfs(heard) > -45.0, guard.heard(heard))
            })
            .collect()
    }

    fn share(verdicts: &[(bool, EchoVerdict)], wanted: EchoVerdict) -> f64 {
        let loud = verdicts.iter().filter(|(loud, _)| *loud).count();
        verdicts.iter().filter(|(loud, verdict)| *loud && *verdict == wanted).count() as f64 / loud.max(1) as f64
    }

    fn agent() -> Vec<i16> {
        [clip("opening-hours", SampleRate(8_000)), clip("parking", SampleRate(8_000)), clip("book", SampleRate(8_000))]
            .concat()
    }

    #[test]
    fn our_voice_that_comes_back_is_echo_at_any_delay_and_level() {
        for (delay_ms, loss_db) in [(0, 6.0), (35, 12.0), (180, 15.0), (460, 10.0)] {
            let played = agent();
            let heard = echo_of(&played, delay_ms, loss_db);
            let mut guard = EchoGuard::new(SampleRate::NARROWBAND);
            judge(&mut guard, &played, &heard);
            let found = guard.delay_ms().unwrap();
            assert!(found.abs_diff(delay_ms) <= 3, "{delay_ms} ms: {found}");
            let again = judge(&mut guard, &played, &heard);
            let taken = share(&again, EchoVerdict::Echo);
            assert!(taken > 0.9, "{delay_ms} ms, {loss_db} dB: {taken:.2}");
        }
    }

    #[test]
    fn the_echo_is_known_within_four_hundred_milliseconds() {
        let played = agent();
        let heard = echo_of(&played, 60, 12.0);
        let mut guard = EchoGuard::new(SampleRate::NARROWBAND);
        let first = heard.chunks(160).position(|frame| level_dbfs(frame) > -45.0).unwrap();
        let verdicts = judge(&mut guard, &played, &heard);
        let known = verdicts.iter().position(|(_, verdict)| *verdict == EchoVerdict::Echo).unwrap();
        assert!(known <= first + 20, "after {} ms", known.saturating_sub(first) * 20);
    }

    #[test]
    fn a_caller_who_talks_over_the_echo_is_heard() {
        for (delay_ms, loss_db) in [(60, 15.0), (200, 10.0)] {
            let played = agent().repeat(2);
            let mut heard = echo_of(&played, delay_ms, loss_db);
            let start = agent().len();
            let said = clip("price-interruption", SampleRate(8_000));
            for (sample, own) in heard[start..].iter_mut().zip(&said) {
                *sample = sample.saturating_add(*own);
            }
            let mut guard = EchoGuard::new(SampleRate::NARROWBAND);
            let verdicts = judge(&mut guard, &played, &heard);
            let frames = start / 160..(start + said.len()) / 160;
            let own: Vec<_> = frames
                .clone()
                .map(|n| (level_dbfs(&said[(n - frames.start) * 160..][..160]) > -35.0, verdicts[n].1))
                .collect();
            let heard_of_it = share(&own, EchoVerdict::Caller);
            assert!(heard_of_it > 0.75, "{delay_ms} ms: {heard_of_it:.2}");
            let first = own.iter().position(|(loud, _)| *loud).unwrap();
            let noticed = own[first..].iter().position(|(_, verdict)| *verdict == EchoVerdict::Caller).unwrap();
            assert!(noticed <= 3, "noticed after {} ms", noticed * 20);
        }
    }

    #[test]
    fn a_line_without_echo_is_never_silenced() {
        let played = agent();
        let mut said = [clip("phone", SampleRate(8_000)), clip("name", SampleRate(8_000))].concat();
        said.resize(played.len(), 0);
        PhoneLine::new(-50.0, 8).pass(&mut said);
        let mut guard = EchoGuard::new(SampleRate::NARROWBAND);
        let verdicts = judge(&mut guard, &played, &said);
        assert!(share(&verdicts, EchoVerdict::Caller) > 0.97, "{}", share(&verdicts, EchoVerdict::Caller));
        let mut silent = EchoGuard::new(SampleRate::NARROWBAND);
        let alone = judge(&mut silent, &vec![0; said.len()], &said);
        assert_eq!(share(&alone, EchoVerdict::Caller), 1.0);
    }

    #[test]
    fn after_our_voice_has_ended_the_caller_is_heard_at_once() {
        let mut played = agent();
        let end = played.len();
        let mut heard = echo_of(&played, 120, 10.0);
        let said = clip("time", SampleRate(8_000));
        played.resize(end + 1_600 + said.len(), 0);
        heard.resize(end + 1_600, 0);
        heard.extend(&said);
        let mut guard = EchoGuard::new(SampleRate::NARROWBAND);
        let verdicts = judge(&mut guard, &played, &heard);
        assert_eq!(share(&verdicts[(end + 1_600) / 160 + 1..], EchoVerdict::Caller), 1.0);
    }

    #[test]
    fn wide_lines_are_guarded_alike() {
        for rate in [SampleRate(16_000), SampleRate(48_000)] {
            let frame = rate.samples_in_ms(20);
            let played = [clip("opening-hours", rate), clip("parking", rate), clip("book", rate)].concat();
            let mut guard = EchoGuard::new(rate);
            let delay = rate.samples_in_ms(100);
            let heard: Vec<i16> =
                (0..played.len()).map(|n| n.checked_sub(delay).map_or(0, |n| played[n] / 4)).collect();
            for (played, heard) in played.chunks_exact(frame).zip(heard.chunks_exact(frame)) {
                guard.played(played);
                guard.heard(heard);
            }
            assert!(guard.delay_ms().unwrap().abs_diff(100) <= 2, "{:?}", guard.delay_ms());
        }
    }
}
