//! What the fake speech-to-speech vendors hear and answer: turns are told by loudness, words by their pitch.

use super::voice::{self, Voice};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// The words a caller of these fakes may say.
pub const VOCABULARY: [&str; 8] = ["hello", "there", "count", "weather", "please", "thanks", "wait", "stop"];
/// The long answer, for interruptions.
pub const LONG: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
                        sixteen seventeen eighteen nineteen twenty";
/// What is said once the tool has answered.
pub const TOOL_ANSWER: &str = "it is sunny today";
/// The silence that ends a turn, in milliseconds.
const SILENCE_MS: usize = 200;
/// The mean loudness from which a stretch is speech.
const LOUD: i64 = 800;

/// What the client sent besides audio, by connection, for tests to look at.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(u64, Value)>>>);

impl Log {
    /// Notes a message.
    pub fn note(&self, connection: u64, message: &Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((connection, message.clone()));
    }

    /// The messages of a connection, counted from 1.
    pub fn of(&self, connection: u64) -> Vec<Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|(of, _)| *of == connection).map(|(_, message)| message.clone()).collect()
    }

    /// The messages of all connections.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, message)| message.clone()).collect()
    }
}

/// What was noticed in the caller's audio.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Speech began.
    Started,
    /// It ended; these were the words.
    Stopped(String),
}

/// Listens for turns.
pub struct Ear {
    rate: u32,
    samples: Vec<i16>,
    judged: usize,
    silent: usize,
    speaks: bool,
}

impl Ear {
    /// For samples at this rate.
    pub fn new(rate: u32) -> Self {
        Self { rate, samples: Vec::new(), judged: 0, silent: 0, speaks: false }
    }

    /// Takes audio.
    pub fn hear(&mut self, samples: &[i16]) -> Vec<Turn> {
        self.samples.extend_from_slice(samples);
        let block = self.rate as usize / 50;
        let mut turns = Vec::new();
        while self.samples.len() >= self.judged + block {
            let part = &self.samples[self.judged..self.judged + block];
            let loud = part.iter().map(|s| i64::from(*s).abs()).sum::<i64>() > LOUD * block as i64;
            self.judged += block;
            self.silent = if loud { 0 } else { self.silent + 20 };
            if loud && !self.speaks {
                self.speaks = true;
                turns.push(Turn::Started);
            } else if self.speaks && self.silent >= SILENCE_MS {
                turns.push(Turn::Stopped(self.take()));
            }
        }
        turns
    }

    /// Takes audio of a client that decides itself when a turn is over.
    pub fn gather(&mut self, samples: &[i16]) {
        self.samples.extend_from_slice(samples);
    }

    /// The words so far; begins anew.
    pub fn take(&mut self) -> String {
        let heard = voice::recognise(&self.samples, self.rate, &VOCABULARY);
        let words: Vec<String> = heard.into_iter().map(|word| word.text).collect();
        *self = Self::new(self.rate);
        words.join(" ")
    }

    /// Nothing was heard since the last turn.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// What is answered to these words; `None` calls the tool `weather`, or takes the exit `done` for a stop.
pub fn answer(words: &str) -> Option<String> {
    if words.contains("weather") || words.contains("stop") {
        None
    } else if words.contains("count") {
        Some(LONG.into())
    } else {
        Some(format!("you said {words}"))
    }
}

/// The text as audio in 100 ms pieces.
pub fn speech(text: &str, encoding: voice::Encoding, rate: u32) -> Vec<Vec<u8>> {
    let samples = Voice::default().speak(text, rate);
    samples.chunks(rate as usize / 10).map(|piece| encoding.encode(piece)).collect()
}
