//! Silero voice activity detection at 8 kHz: how likely it is that somebody speaks, per 32 ms.
//!
//! A window costs 30 µs, twenty-five times the first detector, so it only confirms: a call asks while its cheap gate is open.
//! It asks in its own task, for handing audio to another thread and bringing the answer back costs as much again.
//! No window is left out while the gate is open: asked for every second one in the middle of loud speech, the network loses
//! the thread in noise, and beginnings and ends of speech are others.

mod network;
mod tensors;

use super::models::{ModelError, Models};
use crate::providers::{ProviderError, VoiceDetector, VoiceStream, VoiceVerdict};
use network::{Memory, Network};
use std::collections::VecDeque;
use std::sync::Arc;
use tensors::Tensors;

/// Samples of one window at 8 kHz: 32 ms.
pub const WINDOW: usize = 256;

/// Samples of the window before that the model wants to see again.
const CONTEXT: usize = 32;

/// Audio kept from before the gate opened, so that the model knows the noise before it judges the voice.
const LEAD_IN: usize = 4 * WINDOW;

/// Which of the two networks of the file is for 8 kHz.
const BRANCH: &str = "else_branch";

/// The model. Cheap to clone; all clones share the weights.
#[derive(Clone)]
pub struct Silero {
    network: Arc<Network>,
}

impl std::fmt::Debug for Silero {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Silero").finish_non_exhaustive()
    }
}

/// What the model remembers of one call's audio.
#[derive(Clone, Debug, Default)]
pub struct SpeechMemory {
    network: Memory,
    context: [f32; CONTEXT],
}

impl Silero {
    /// Loads the model from the store.
    ///
    /// # Errors
    /// [`ModelError`] for a file that cannot be read or holds another network.
    pub fn load(models: &Models) -> Result<Self, ModelError> {
        let file = models.silero();
        let octets = match std::fs::read(&file) {
            Ok(octets) => octets,
            Err(error) => return Err(ModelError::Unreadable { file, reason: error.to_string() }),
        };
        match Network::load(&Tensors::of_branch(&octets, BRANCH)) {
            Ok(network) => Ok(Self { network: Arc::new(network) }),
            Err(reason) => Err(ModelError::Refused { file, reason }),
        }
    }

    /// The probability of speech in one window of 8 kHz audio; shorter windows are filled up with silence. Windows
    /// of one call are given in order, with the same `memory`.
    #[must_use]
    pub fn probability(&self, window: &[i16], memory: &mut SpeechMemory) -> f32 {
        let mut input = [0.0; CONTEXT + WINDOW];
        let (context, fresh) = input.split_at_mut(CONTEXT);
        context.copy_from_slice(&memory.context);
        for (slot, sample) in fresh.iter_mut().zip(window) {
            *slot = f32::from(*sample) / 32_768.0;
        }
        memory.context.copy_from_slice(&input[WINDOW..]);
        self.network.probability(&input, &mut memory.network)
    }
}

/// Cuts one call's audio into windows and asks the model.
#[derive(Debug, Default)]
pub struct SpeechProbability {
    waiting: Vec<i16>,
    memory: SpeechMemory,
}

impl SpeechProbability {
    /// Appends 8 kHz samples. The highest probability of the windows that became full, and how many did.
    pub fn push(&mut self, silero: &Silero, samples: &[i16]) -> (Option<f32>, usize) {
        self.waiting.extend_from_slice(samples);
        let (windows, rest) = self.waiting.as_chunks::<WINDOW>();
        let probabilities = windows.iter().map(|window| silero.probability(window, &mut self.memory));
        let (highest, full, rest) = (probabilities.reduce(f32::max), windows.len(), rest.len());
        self.waiting.drain(..self.waiting.len() - rest);
        (highest, full)
    }
}

/// Voice confirmation for all calls.
#[derive(Clone, Debug)]
pub struct Voice {
    silero: Silero,
}

impl Voice {
    /// Asks this model.
    #[must_use]
    pub fn new(silero: Silero) -> Self {
        Self { silero }
    }

    /// Opens the confirmation for one call.
    #[must_use]
    pub fn open(&self) -> VoiceConfirm {
        VoiceConfirm { silero: self.silero.clone(), lead_in: VecDeque::with_capacity(LEAD_IN), heard: None, pushed: 0 }
    }
}

impl VoiceDetector for Voice {
    fn open(&self) -> Result<Box<dyn VoiceStream>, ProviderError> {
        Ok(Box::new(Self::open(self)))
    }
}

/// One call's confirmation. Push all caller audio at 8 kHz; nothing is computed while the gate is closed.
#[derive(Debug)]
pub struct VoiceConfirm {
    silero: Silero,
    lead_in: VecDeque<i16>,
    /// Since the gate opened.
    heard: Option<SpeechProbability>,
    pushed: u64,
}

impl VoiceStream for VoiceConfirm {
    fn push(&mut self, samples: &[i16], gate_open: bool) -> Option<VoiceVerdict> {
        self.pushed += samples.len() as u64;
        if !gate_open {
            // What was heard belongs to an utterance that is over.
            self.heard = None;
            self.lead_in.extend(samples);
            let surplus = self.lead_in.len().saturating_sub(LEAD_IN);
            self.lead_in.drain(..surplus);
            return None;
        }
        let heard = self.heard.get_or_insert_with(SpeechProbability::default);
        // Empty while the gate stays open.
        heard.waiting.extend(self.lead_in.drain(..));
        let (probability, windows) = heard.push(&self.silero, samples);
        let until_sample = self.pushed - heard.waiting.len() as u64;
        probability.map(|probability| VoiceVerdict { probability, windows, until_sample })
    }
}
