//! The caller's audio on its way to speech recognition: our own echo left out, noise taken out, speech brought to level.
//!
//! On the call's side, never on a media thread. Each part is off unless the agent file asks for it ([`Listening`]).

use crate::agent::listening::Listening;
use crate::audio::resample::ResampleError;
use crate::audio::{EchoGuard, EchoVerdict, GainControl, NoiseSuppressor};
use crate::base::SampleRate;
use crate::media::{Leg, Tap, UplinkFrame};

/// Frames without speech after which a frame of echo silences what follows it in the same word no more.
const NOT_ECHO_AFTER: u32 = 3;

/// See the module. One for each call.
#[derive(Debug)]
pub struct Hearing {
    /// With what was played, for the guard.
    guard: Option<EchoGuard>,
    tap: Option<Tap>,
    suppressor: Option<NoiseSuppressor>,
    gain: Option<GainControl>,
    /// Frames of the caller's in a row since the last of echo.
    own: u32,
}

impl Hearing {
    /// What an agent asks for, on a line of `rate` samples per second.
    ///
    /// # Errors
    /// The rate cannot be converted to that of the noise suppressor.
    pub fn new(listening: Listening, rate: SampleRate) -> Result<Self, ResampleError> {
        Ok(Self {
            guard: listening.echo_guard.then(|| EchoGuard::new(rate)),
            tap: None,
            suppressor: listening.noise_suppression.then(|| NoiseSuppressor::new(rate)).transpose()?,
            gain: listening.gain_control.then(|| GainControl::new(rate)),
            own: NOT_ECHO_AFTER,
        })
    }

    /// The hearing of an agent on a leg that was configured; `None` when nothing is asked for.
    pub(super) fn on(listening: Listening, leg: &mut Leg) -> Option<Self> {
        if !listening.is_on() {
            return None;
        }
        let mut hearing = Self::new(listening, leg.sample_rate()).ok()?;
        hearing.tap = hearing.guard.is_some().then(|| leg.tap().ok()).flatten();
        Some(hearing)
    }

    /// Takes what was sent to the caller, when there is no tap to take it from. Before [`Hearing::hear`] of the same 20 ms.
    pub fn played(&mut self, samples: &[i16]) {
        if let Some(guard) = &mut self.guard {
            guard.played(samples);
        }
    }

    /// Prepares a frame for recognition, in place. A frame of echo becomes silence, and is not voiced.
    pub fn hear(&mut self, frame: &mut UplinkFrame) {
        if let Some(guard) = &mut self.guard {
            while let Some(both) = self.tap.as_mut().and_then(Tap::try_pop) {
                guard.played(both.agent.samples());
            }
            if guard.heard(frame.samples.samples()) == EchoVerdict::Echo {
                self.own = 0;
            } else {
                self.own = self.own.saturating_add(1);
            }
            // A frame amid echo that the guard could not place is none of the caller's words yet.
            if self.own < NOT_ECHO_AFTER {
                frame.samples.samples_mut().fill(0);
                frame.voiced = false;
                frame.level_dbfs = frame.samples.level_dbfs();
            }
        }
        if let Some(suppressor) = &mut self.suppressor {
            suppressor.process(frame.samples.samples_mut());
        }
        if let Some(gain) = &mut self.gain {
            gain.process(frame.samples.samples_mut(), frame.voiced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::frame::level_dbfs;
    use crate::audio::{Frame, wav};
    use std::time::Instant;

    const ALL: Listening = Listening { echo_guard: true, gain_control: true, noise_suppression: true };

    fn clip(name: &str) -> Vec<i16> {
        let file = format!("{}/examples/caller/{name}.wav", env!("CARGO_MANIFEST_DIR"));
        wav::read_at(file, SampleRate::NARROWBAND).unwrap()
    }

    fn uplink(samples: &[i16]) -> UplinkFrame {
        let samples = Frame::from_samples(samples);
        let level_dbfs = samples.level_dbfs();
        UplinkFrame {
            samples,
            rtp_timestamp: 0,
            arrived: Instant::now(),
            voiced: level_dbfs > -45.0,
            level_dbfs,
            concealed: false,
        }
    }

    /// Voiced frames that come out, and all samples.
    fn run(hearing: &mut Hearing, played: &[i16], heard: &[i16]) -> (usize, Vec<i16>) {
        let (mut voiced, mut out) = (0, Vec::new());
        for (played, heard) in played.chunks_exact(160).zip(heard.chunks_exact(160)) {
            let mut frame = uplink(heard);
            hearing.played(played);
            hearing.hear(&mut frame);
            voiced += usize::from(frame.voiced);
            out.extend_from_slice(frame.samples.samples());
        }
        (voiced, out)
    }

    #[test]
    fn an_echo_is_neither_voice_nor_heard_and_the_caller_over_it_is_both() {
        let played = [clip("opening-hours"), clip("parking"), clip("book")].concat();
        let mut heard = vec![0; 800];
        heard.extend(played.iter().map(|s| s / 5));
        heard.truncate(played.len());
        let only_guard = Listening { echo_guard: true, ..Listening::default() };
        let mut hearing = Hearing::new(only_guard, SampleRate::NARROWBAND).unwrap();
        let unguarded = heard.chunks_exact(160).filter(|frame| level_dbfs(frame) > -45.0).count();
        run(&mut hearing, &played, &heard);
        let (voiced, _) = run(&mut hearing, &played, &heard);
        assert!(voiced * 20 < unguarded, "{voiced} of {unguarded} frames of echo are voice");
        let said = clip("price-interruption");
        let mut over = heard.clone();
        over.iter_mut().zip(&said).for_each(|(sample, own)| *sample = sample.saturating_add(*own));
        let loud = said.chunks_exact(160).filter(|frame| level_dbfs(frame) > -30.0).count();
        let (voiced, out) = run(&mut hearing, &played[..said.len()], &over[..said.len()]);
        assert!(voiced * 10 > loud * 7, "{voiced} of {loud} frames of the caller are voice");
        assert!(level_dbfs(&out) > level_dbfs(&said) - 3.0);
    }

    #[test]
    fn everything_at_once_keeps_speech_and_takes_the_noise() {
        let mut line = [vec![0; 16_000], clip("phone"), clip("book")].concat();
        crate::audio::noise::PhoneLine::new(-42.0, 3).pass(&mut line);
        let mut hearing = Hearing::new(ALL, SampleRate::NARROWBAND).unwrap();
        let (voiced, out) = run(&mut hearing, &vec![0; line.len()], &line);
        assert!(voiced > 100);
        let (noise, speech) = (level_dbfs(&out[8_000..15_000]), level_dbfs(&out[16_000..]));
        let before = level_dbfs(&line[16_000..]) - level_dbfs(&line[8_000..15_000]);
        assert!(speech - noise > before + 8.0, "{before:.0} dB of speech over noise became {:.0}", speech - noise);
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let mut hearing = Hearing::new(Listening::default(), SampleRate::NARROWBAND).unwrap();
        let line = clip("book");
        let (_, out) = run(&mut hearing, &line, &line);
        assert_eq!(out[..], line[..out.len()]);
    }
}
