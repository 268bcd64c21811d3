//! The voice network: phoneme ids in, spectra and phoneme durations out.

use super::waveform::{HOP, Spectra, Vocoder};
use super::{VoiceError, assets};
use ort::session::Session;
use ort::value::TensorRef;
use std::collections::HashMap;
use std::path::Path;

/// Samples (24 kHz) of one unit of duration: two frames, 25 ms.
pub const DURATION_UNIT: usize = 2 * HOP;
/// The tensor inside the graph that holds the duration of each phoneme. The published graph keeps it to itself.
const DURATIONS: &str = "/Cast_32_output_0";
/// Id 0 stands at both ends of an utterance; the network gives it the silence before and after.
const EDGE: i64 = 0;

/// The phonemes of the network's alphabet and their ids.
#[derive(Debug)]
pub struct Alphabet(HashMap<char, i64>);

impl Alphabet {
    /// Reads `vocab.json`.
    pub fn load(path: &Path) -> Result<Self, VoiceError> {
        Ok(Self(assets::json(path)?))
    }

    /// An alphabet of the given phonemes, for tests.
    #[cfg(test)]
    pub(super) fn of<const N: usize>(phonemes: [(char, i64); N]) -> Self {
        Self(phonemes.into())
    }

    /// The id of a phoneme; `None` for one that the network does not know and that is left out.
    #[must_use]
    pub fn id(&self, phoneme: char) -> Option<i64> {
        self.0.get(&phoneme).copied()
    }
}

/// One utterance as the network spoke it.
#[derive(Debug)]
pub struct Spoken {
    /// Mono samples at 24 kHz, the silence at both ends included.
    pub samples: Vec<f32>,
    /// For each phoneme id given, and one edge before and after them, the sample at which it ends.
    pub ends: Vec<usize>,
}

/// A copy of the model's bytes with the durations added to the graph's outputs.
///
/// In protocol buffers a message that appears twice is merged and its lists are joined, so a second `graph`
/// field (number 7 of the model) with nothing but one more `output` (12) named (1) like the tensor does it.
#[must_use]
pub fn with_durations(model: &[u8]) -> Vec<u8> {
    let field = |number: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        [&[number << 3 | 2, length], body].concat()
    };
    [model, &field(7, &field(12, &field(1, DURATIONS.as_bytes())))].concat()
}

/// Runs the network and the waveform stage on `phonemes`. At speed 2.0 the speech takes half the time.
pub fn speak(session: &mut Session, vocoder: &mut Vocoder, phonemes: &[i64], speed: f32) -> Result<Spoken, VoiceError> {
    let mut ids = Vec::with_capacity(phonemes.len() + 2);
    ids.push(EDGE);
    ids.extend_from_slice(phonemes);
    ids.push(EDGE);
    let input = TensorRef::from_array_view(([1, ids.len()], ids.as_slice())).map_err(failed)?;
    let speed = [speed];
    let speed = TensorRef::from_array_view(([1], speed.as_slice())).map_err(failed)?;
    let outputs = session.run(ort::inputs!["ids" => input, "speed" => speed]).map_err(failed)?;
    let matrix = |name: &'static str| {
        let value = outputs.get(name).ok_or_else(|| failed(format!("no output `{name}`")))?;
        value.try_extract_tensor::<f32>().map(|(_, values)| values).map_err(failed)
    };
    let spectra = Spectra {
        lh: matrix("lh")?,
        theta: matrix("theta")?,
        ln: matrix("ln")?,
        lr: matrix("lr")?,
        phi: matrix("phi")?,
        f0: matrix("f0")?,
    };
    let samples = vocoder.render(&spectra);
    let durations = outputs.get(DURATIONS).and_then(|v| v.try_extract_tensor::<i64>().ok().map(|(_, d)| d.to_vec()));
    let ends = ends(durations, ids.len(), samples.len());
    Ok(Spoken { samples, ends })
}

/// Running sum of the durations in samples; when the graph gave none, phonemes are taken as equally long.
fn ends(durations: Option<Vec<i64>>, ids: usize, samples: usize) -> Vec<usize> {
    match durations {
        Some(durations) if durations.len() == ids => durations
            .iter()
            .scan(0usize, |at, units| {
                *at += usize::try_from(*units).unwrap_or(0) * DURATION_UNIT;
                Some((*at).min(samples))
            })
            .collect(),
        _ => (1..=ids).map(|i| samples * i / ids.max(1)).collect(),
    }
}

fn failed(error: impl std::fmt::Display) -> VoiceError {
    VoiceError::Inference(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_ends_are_the_running_sum_of_durations_and_never_beyond_the_audio() {
        assert_eq!(ends(Some(vec![2, 1, 3]), 3, 3000), [1200, 1800, 3000]);
    }

    #[test]
    fn without_durations_the_time_is_shared_out_evenly() {
        assert_eq!(ends(None, 4, 2400), [600, 1200, 1800, 2400]);
        assert_eq!(ends(Some(vec![1]), 2, 2400), [1200, 2400]);
    }

    #[test]
    fn the_added_output_is_a_second_graph_field_after_the_model() {
        let patched = with_durations(b"model");
        let name = DURATIONS.len() as u8;
        assert_eq!(&patched[..5], b"model");
        assert_eq!(&patched[5..11], &[0x3a, name + 4, 0x62, name + 2, 0x0a, name]);
        assert!(patched.ends_with(DURATIONS.as_bytes()));
    }
}
