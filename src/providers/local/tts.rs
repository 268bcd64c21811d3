//! Text-to-speech on the inference pool: sentences leave at the telephone's rate as soon as they are made.

use super::hibari::{Hibari, Sentence, VOICE_RATE, VoiceError};
use super::models::{ModelError, Models};
use super::pool::Pool;
use super::queue::Lane;
use super::resample::{Resampler, to_i16};
use super::runtime::Runtime;
use crate::base::SampleRate;
use crate::providers::format::AudioFormat;
use crate::providers::tts::{SpeakRequest, SpeechStream, TextToSpeech, TtsChunk, WordMark};
use crate::providers::{ProviderError, ProviderName, TtsCapabilities};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Longest text of one request, some ten minutes of speech. An agent that says more in one breath is broken,
/// and the pool's thread would be its own for seconds.
const LONGEST_TEXT: usize = 10_000;

/// Chunks that may wait for the call. A text of [`LONGEST_TEXT`] has fewer sentences, so a slow reader loses none.
const CHUNKS: usize = 1_024;

/// A voice that speaks on the calling thread.
pub trait Synthesizer: Send + Sync + 'static {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// Rate of the samples it makes.
    fn rate(&self) -> SampleRate;

    /// Speaks `text`; gives each sentence to `sink` when it is made and stops when `sink` says `false`. Marks count
    /// samples from the start of the utterance.
    ///
    /// # Errors
    /// What the voice said; other texts may work.
    fn synthesize(&self, text: &str, speed: f32, sink: &mut dyn FnMut(Sentence) -> bool) -> Result<(), String>;
}

/// The offline voice.
#[derive(Debug)]
pub struct HibariSynthesizer(Hibari);

impl HibariSynthesizer {
    /// Loads the voice from the store.
    ///
    /// # Errors
    /// [`ModelError`] for a file that is missing or not usable.
    pub fn load(runtime: &Runtime, models: &Models) -> Result<Self, ModelError> {
        let runtime = runtime.clone();
        let folder = models.hibari();
        let open = Box::new(move |bytes: &[u8]| runtime.session_from_bytes(bytes));
        Hibari::load(&folder, open).map(Self).map_err(|error| match error {
            VoiceError::Missing { path, .. } => ModelError::Missing { file: path },
            VoiceError::Unusable { path, reason } => ModelError::Refused { file: path, reason },
            other => ModelError::Refused { file: folder, reason: other.to_string() },
        })
    }
}

impl Synthesizer for HibariSynthesizer {
    fn name(&self) -> &'static str {
        "hibari"
    }

    fn rate(&self) -> SampleRate {
        VOICE_RATE
    }

    fn synthesize(&self, text: &str, speed: f32, sink: &mut dyn FnMut(Sentence) -> bool) -> Result<(), String> {
        self.0.synthesize(text, speed, sink).map_err(|e| e.to_string())
    }
}

/// Text-to-speech on the pool, shared by all calls.
#[derive(Debug)]
pub struct PooledTts<S> {
    pool: Arc<Pool>,
    synthesizer: Arc<S>,
    narrowband: Arc<Resampler>,
}

impl<S: Synthesizer> PooledTts<S> {
    /// Runs `synthesizer` on `pool`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, synthesizer: S) -> Self {
        let narrowband = Arc::new(Resampler::new(synthesizer.rate(), SampleRate::NARROWBAND));
        Self { pool, synthesizer: Arc::new(synthesizer), narrowband }
    }
}

impl<S: Synthesizer> TextToSpeech for PooledTts<S> {
    fn name(&self) -> ProviderName {
        self.synthesizer.name().into()
    }

    fn capabilities(&self) -> TtsCapabilities {
        TtsCapabilities {
            formats: vec![AudioFormat::pcm(self.synthesizer.rate().0)],
            word_timestamps: true,
            cancel: true,
            wants_speakable_text: false,
            languages: &["en"],
        }
    }

    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        let provider = self.synthesizer.name();
        if request.text.len() > LONGEST_TEXT {
            let reason = format!("a text of {} bytes is longer than {LONGEST_TEXT}", request.text.len());
            return Err(ProviderError::Failed { provider: provider.into(), reason });
        }
        let (chunks, stream) = mpsc::channel(CHUNKS);
        let failed = chunks.clone();
        let synthesizer = Arc::clone(&self.synthesizer);
        let resampler = if request.rate == SampleRate::NARROWBAND {
            Arc::clone(&self.narrowband)
        } else {
            Arc::new(Resampler::new(synthesizer.rate(), request.rate))
        };
        self.pool.submit(
            provider,
            Lane::Urgent,
            None,
            move || {
                if chunks.is_closed() {
                    return;
                }
                let mut line = Line::new(synthesizer.rate(), request.rate, resampler);
                let mut since = Instant::now();
                let result = synthesizer.synthesize(&request.text, request.speed, &mut |sentence| {
                    let mut chunk = line.convert(&sentence);
                    chunk.took = since.elapsed();
                    let taken = chunks.try_send(Ok(chunk)).is_ok();
                    since = Instant::now();
                    taken
                });
                if let Err(reason) = result {
                    let _ = chunks.try_send(Err(ProviderError::Failed { provider: provider.into(), reason }));
                }
            },
            move |error| {
                let _ = failed.try_send(Err(error));
            },
        )?;
        Ok(stream)
    }
}

/// Brings the sentences of one utterance to another rate and keeps count, so that marks stay on their words.
struct Line {
    resampler: Arc<Resampler>,
    from: SampleRate,
    to: SampleRate,
    /// Samples before the current sentence, at either rate.
    before: (usize, usize),
}

impl Line {
    fn new(from: SampleRate, to: SampleRate, resampler: Arc<Resampler>) -> Self {
        Self { resampler, from, to, before: (0, 0) }
    }

    fn convert(&mut self, sentence: &Sentence) -> TtsChunk {
        let samples = to_i16(&self.resampler.clip(&sentence.samples_24k));
        let (before_in, before_out) = self.before;
        let scale = |sample: usize| sample as u64 * u64::from(self.to.0) / u64::from(self.from.0.max(1));
        let marks = sentence
            .marks
            .iter()
            .map(|mark| {
                let within = scale(mark.sample_end.saturating_sub(before_in)) as usize;
                WordMark { text_end: mark.text_end, sample_end: before_out + within.min(samples.len()) }
            })
            .collect();
        self.before = (before_in + sentence.samples_24k.len(), before_out + samples.len());
        TtsChunk { samples, marks, ..TtsChunk::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hibari::Mark;
    use super::super::pool::PoolConfig;
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc as std_mpsc;

    /// Speaks each word as 3,000 samples (125 ms) that end with a mark; waits for the gate before each.
    struct Metronome {
        gate: Mutex<std_mpsc::Receiver<()>>,
        spoken: std_mpsc::Sender<String>,
    }

    impl Synthesizer for Metronome {
        fn name(&self) -> &'static str {
            "metronome"
        }

        fn rate(&self) -> SampleRate {
            SampleRate(24_000)
        }

        fn synthesize(&self, text: &str, _: f32, sink: &mut dyn FnMut(Sentence) -> bool) -> Result<(), String> {
            for (n, word) in text.split(' ').enumerate() {
                let _ = self.gate.lock().unwrap().recv();
                let _ = self.spoken.send(word.to_owned());
                match word {
                    "fail" => return Err("out of breath".to_owned()),
                    "panic" => panic!("hiccup"),
                    _ => {}
                }
                let marks = vec![Mark { text_end: n, sample_end: (n + 1) * 3_001 }];
                if !sink(Sentence { samples_24k: vec![0.25; 3_001], marks }) {
                    let _ = self.spoken.send("cancelled".to_owned());
                    return Ok(());
                }
            }
            Ok(())
        }
    }

    fn rig() -> (PooledTts<Metronome>, std_mpsc::Sender<()>, std_mpsc::Receiver<String>) {
        let (open, gate) = std_mpsc::channel();
        let (spoken, heard) = std_mpsc::channel();
        let pool = Arc::new(Pool::start(PoolConfig { threads: 1, queue: 4 }).unwrap());
        (PooledTts::new(pool, Metronome { gate: Mutex::new(gate), spoken }), open, heard)
    }

    fn request(text: &str) -> SpeakRequest {
        SpeakRequest::new(text, SampleRate::NARROWBAND)
    }

    #[test]
    fn the_first_sentence_arrives_while_the_second_is_still_being_made() {
        let (tts, open, _heard) = rig();
        let mut stream = tts.speak(request("one two")).unwrap();
        open.send(()).unwrap();
        let first = stream.blocking_recv().unwrap().unwrap();
        assert_eq!(first.samples.len(), 1_001);
        assert_eq!(first.marks, [WordMark { text_end: 0, sample_end: 1_000 }]);
        open.send(()).unwrap();
        let second = stream.blocking_recv().unwrap().unwrap();
        assert_eq!(second.marks, [WordMark { text_end: 1, sample_end: 1_001 + 1_000 }]);
        assert!(stream.blocking_recv().is_none());
        assert!(second.samples[500].abs_diff(8_192) < 80);
    }

    #[test]
    fn a_dropped_stream_stops_the_voice() {
        let (tts, open, heard) = rig();
        let mut stream = tts.speak(request("one two three")).unwrap();
        open.send(()).unwrap();
        stream.blocking_recv().unwrap().unwrap();
        drop(stream);
        drop(open);
        assert_eq!(heard.iter().take(3).collect::<Vec<_>>(), ["one", "two", "cancelled"]);
    }

    #[test]
    fn a_voice_that_fails_or_panics_says_so_and_speaks_the_next_text() {
        let (tts, open, _heard) = rig();
        drop(open);
        for (text, expected) in
            [("fail", "metronome failed: out of breath"), ("panic", "metronome failed: internal error: hiccup")]
        {
            let mut stream = tts.speak(request(text)).unwrap();
            assert_eq!(stream.blocking_recv().unwrap().unwrap_err().to_string(), expected);
            assert!(stream.blocking_recv().is_none());
        }
        assert!(tts.speak(request("fine")).unwrap().blocking_recv().unwrap().is_ok());
    }

    #[test]
    fn a_text_without_end_is_refused_before_it_takes_a_thread() {
        let (tts, _open, _heard) = rig();
        let error = tts.speak(request(&"so ".repeat(4_000))).unwrap_err();
        assert!(error.to_string().contains("12000 bytes"), "{error}");
    }

    #[test]
    fn other_rates_than_the_telephones_are_served() {
        let (tts, open, _heard) = rig();
        drop(open);
        let wide = SpeakRequest { rate: SampleRate::WIDEBAND, ..request("one") };
        let chunk = tts.speak(wide).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!((chunk.samples.len(), chunk.marks[0].sample_end), (2_001, 2_000));
    }
}
