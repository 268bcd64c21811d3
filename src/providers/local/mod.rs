//! The offline engines: in process, no keys, no network. Models are loaded once and shared by all calls.
//!
//! Who calls whom: [`models`] (the checked store, filled by [`fetch`] as [`manifest`] says) and [`runtime`] (ONNX
//! Runtime) carry the models [`moonshine`], [`minilm`] and [`hibari`]; [`pool`] runs them; [`stt`], [`tts`] and
//! [`minilm::PooledEmbedder`] are what a call sees. [`silero`] needs neither runtime nor pool: a call asks it itself.

pub mod fetch;
pub mod hibari;
pub mod manifest;
pub mod minilm;
pub mod models;
pub mod moonshine;
pub mod pieces;
pub mod pool;
pub mod queue;
pub mod resample;
pub mod runtime;
pub mod silero;
pub mod stt;
pub mod tokens;
pub mod tts;
pub mod wordpiece;

use crate::providers::{Embedder, SpeechToText, TextToSpeech};
use minilm::{MiniLm, PooledEmbedder};
use models::{ModelError, Models, Parts};
use moonshine::MoonshineRecognizer;
use pool::{Pool, PoolConfig};
use runtime::Runtime;
use silero::{Silero, Voice};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stt::PooledStt;
use tts::{HibariSynthesizer, PooledTts};

/// The offline engines that were asked for, loaded. Cheap to clone; the models go when the last clone and the last call's
/// stream are gone.
#[derive(Clone)]
pub struct LocalEngines {
    pool: Arc<Pool>,
    stt: Option<Arc<dyn SpeechToText>>,
    tts: Option<Arc<dyn TextToSpeech>>,
    embedder: Arc<dyn Embedder>,
    voice: Voice,
}

/// One engine has been loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Which.
    pub engine: &'static str,
    /// How long it took.
    pub took: Duration,
}

impl LocalEngines {
    /// Loads every engine and starts the pool. Takes about a second; run it before answering calls, not on a
    /// thread that must answer. `progress` hears of each engine as it is ready.
    ///
    /// # Errors
    /// [`ModelError`] naming the file at fault, or the pool's threads.
    pub fn load(models: &Models, config: PoolConfig, progress: impl FnMut(Loaded)) -> Result<Self, ModelError> {
        Self::load_parts(models, Parts::ALL, config, progress)
    }

    /// The same for some engines alone.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_parts(
        models: &Models,
        parts: Parts,
        config: PoolConfig,
        mut progress: impl FnMut(Loaded),
    ) -> Result<Self, ModelError> {
        let copies = config.threads.max(1);
        let mut timed = |engine: &'static str, started: Instant| progress(Loaded { engine, took: started.elapsed() });

        let started = Instant::now();
        let runtime = Runtime::open(&models.onnxruntime())?;
        let no_thread = |e: std::io::Error| ModelError::Pool { reason: e.to_string() };
        let pool = Arc::new(Pool::start(config).map_err(no_thread)?);
        timed("onnxruntime", started);

        let started = Instant::now();
        let silero = Silero::load(models)?;
        let voice = Voice::new(silero.clone());
        timed("silero", started);

        let mut stt: Option<Arc<dyn SpeechToText>> = None;
        if parts.stt {
            let started = Instant::now();
            let recognizer = MoonshineRecognizer::load(&runtime, models, copies, silero)?;
            stt = Some(Arc::new(PooledStt::new(Arc::clone(&pool), recognizer)));
            timed("moonshine", started);
        }

        let started = Instant::now();
        let embedders: Result<Vec<_>, _> = (0..copies).map(|_| MiniLm::load(&runtime, models)).collect();
        let embedder = PooledEmbedder::new(Arc::clone(&pool), embedders?);
        timed("minilm", started);

        let mut tts: Option<Arc<dyn TextToSpeech>> = None;
        if parts.tts {
            let started = Instant::now();
            let synthesizer = HibariSynthesizer::load(&runtime, models)?;
            tts = Some(Arc::new(PooledTts::new(Arc::clone(&pool), synthesizer)));
            timed("hibari", started);
        }
        Ok(Self { pool, stt, tts, embedder: Arc::new(embedder), voice })
    }

    /// Speech-to-text: Moonshine tiny-en. `None` where it was not asked for.
    #[must_use]
    pub fn stt(&self) -> Option<Arc<dyn SpeechToText>> {
        self.stt.clone()
    }

    /// Text-to-speech: hibari, voice heart. `None` where it was not asked for.
    #[must_use]
    pub fn tts(&self) -> Option<Arc<dyn TextToSpeech>> {
        self.tts.clone()
    }

    /// Sentence embeddings: all-MiniLM-L6-v2.
    #[must_use]
    pub fn embedder(&self) -> Arc<dyn Embedder> {
        Arc::clone(&self.embedder)
    }

    /// Voice confirmation: Silero, behind the call's own gate.
    #[must_use]
    pub fn voice(&self) -> &Voice {
        &self.voice
    }
}

impl std::fmt::Debug for LocalEngines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEngines").field("pool", &self.pool).finish_non_exhaustive()
    }
}
