//! The demo's caller: our own user agent with recorded speech on a slightly noisy line.

use super::script::{Action, Script};
use crate::audio::noise::PhoneLine;
use crate::base::TurnId;
use crate::call::line::describe;
use crate::call::{Line, LineEvent};
use std::time::Instant;

/// All that the caller sends is one long turn: speech where there is some, line noise elsewhere.
const TURN: TurnId = TurnId(1);
/// How far ahead of the line the caller's audio is queued.
const AHEAD_SAMPLES: usize = 800;
/// From this level on the agent is audible; its silence is digital silence.
const AUDIBLE_DBFS: f32 = -50.0;

/// How the caller's side of the call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// True when every line of the script was spoken; whoever hung up then.
    pub script_spoken: bool,
    /// In words.
    pub reason: String,
}

/// The caller's voice and the line it speaks on.
pub struct Caller {
    line: Line,
    script: Script,
    /// One recording per line of the script, 8 kHz.
    recordings: Vec<Vec<i16>>,
    sound: PhoneLine,
    sent: usize,
    /// Samples that went down the line and found no room yet.
    ready: Vec<i16>,
    /// The recording being spoken: its samples begin at this position of the stream.
    speaking: Option<(usize, usize)>,
}

impl Caller {
    /// A caller on an answered line. `sound` is what the line makes of the voice.
    #[must_use]
    pub fn new(line: Line, script: Script, recordings: Vec<Vec<i16>>, sound: PhoneLine) -> Self {
        Self { line, script, recordings, sound, sent: 0, ready: Vec::new(), speaking: None }
    }

    /// Speaks by the script until the call is over. `say` is told each line as it begins.
    pub async fn run(mut self, mut say: impl FnMut(&str)) -> Outcome {
        loop {
            match self.line.next().await {
                Some(LineEvent::Ended(cause)) => {
                    return Outcome { script_spoken: self.script.is_spoken(), reason: describe(&cause) };
                }
                Some(_) => {}
                None => {
                    while self.line.media.events.try_pop().is_some() {}
                    while let Some(frame) = self.line.media.uplink.try_pop() {
                        match self.script.hear(Instant::now(), frame.level_dbfs > AUDIBLE_DBFS) {
                            Some(Action::Say(line)) => {
                                say(self.script.words(line));
                                self.speaking = Some((line, self.sent));
                            }
                            Some(Action::HangUp | Action::GiveUp) => self.line.hang_up(),
                            None => {}
                        }
                    }
                    self.speak();
                }
            }
        }
    }

    fn speak(&mut self) {
        let played = self.line.media.downlink.played(TURN) as usize;
        while self.sent < played + AHEAD_SAMPLES {
            if self.ready.is_empty() {
                self.ready = (self.sent..self.sent + 160).map(|at| self.voice(at)).collect();
                self.sound.pass(&mut self.ready);
            }
            let taken = self.line.media.downlink.push(TURN, &self.ready);
            self.ready.drain(..taken);
            self.sent += taken;
            if !self.ready.is_empty() {
                break;
            }
        }
        if let Some((line, began)) = self.speaking {
            let length = self.recordings.get(line).map_or(0, Vec::len);
            if played >= began + length {
                self.speaking = None;
                self.script.said(Instant::now());
            }
        }
    }

    fn voice(&self, at: usize) -> i16 {
        let spoken =
            self.speaking.and_then(|(line, began)| self.recordings.get(line)?.get(at.checked_sub(began)?).copied());
        spoken.unwrap_or(0)
    }
}
