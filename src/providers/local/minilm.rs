//! all-MiniLM-L6-v2: sentences to vectors of 384 numbers, for intents.

use super::models::{ModelError, Models};
use super::pool::{Pool, Shelf};
use super::queue::Lane;
use super::runtime::Runtime;
use super::wordpiece::WordPiece;
use crate::providers::ProviderError;
use crate::providers::embed::{Embedder, Embeddings};
use ort::session::Session;
use ort::value::Tensor;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Vectors kept: the exemplars of a few hundred intents, 3 MB.
const KEPT: usize = 2_048;

/// A request with more new texts than this is the loading of an agent, which can wait for callers.
const MANY: usize = 4;

/// The provider's name.
const NAME: &str = "minilm";

/// One copy of the model, used by one thread at a time.
#[derive(Debug)]
pub struct MiniLm {
    session: Session,
    tokenizer: Arc<WordPiece>,
}

impl MiniLm {
    /// Loads the model from the store.
    ///
    /// # Errors
    /// [`ModelError`] for a file that is missing or that our reader or the runtime refuses.
    pub fn load(runtime: &Runtime, models: &Models) -> Result<Self, ModelError> {
        let file = models.minilm().join("tokenizer.json");
        let bytes = std::fs::read(&file).map_err(|_| ModelError::Missing { file: file.clone() })?;
        let tokenizer = WordPiece::parse(&bytes).map_err(|reason| ModelError::Refused { file, reason })?;
        Ok(Self { session: runtime.session(&models.minilm().join("model.onnx"))?, tokenizer: Arc::new(tokenizer) })
    }

    /// The unit vector of one text: the mean over its tokens. Texts are taken one at a time, because the
    /// quantised model's answer would depend on its neighbours in a batch. About 5 ms.
    ///
    /// # Errors
    /// The runtime's own.
    pub fn embed(&mut self, text: &str) -> ort::Result<Vec<f32>> {
        let tokens: Vec<i64> = self.tokenizer.encode(text).into_iter().map(i64::from).collect();
        let length = tokens.len();
        let outputs = self.session.run(ort::inputs! {
            "input_ids" => Tensor::from_array(([1, length], tokens))?,
            "attention_mask" => Tensor::from_array(([1, length], vec![1i64; length]))?,
            "token_type_ids" => Tensor::from_array(([1, length], vec![0i64; length]))?,
        })?;
        let hidden = outputs.get("last_hidden_state").ok_or_else(|| ort::Error::new("no hidden state"))?;
        let (_, hidden) = hidden.try_extract_tensor::<f32>()?;
        let mut mean = vec![0.0; hidden.len() / length];
        for token in hidden.chunks_exact(mean.len().max(1)) {
            for (sum, value) in mean.iter_mut().zip(token) {
                *sum += value;
            }
        }
        let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        mean.iter_mut().for_each(|x| *x /= norm);
        Ok(mean)
    }
}

/// The embedding engine on the inference pool, shared by all calls. Vectors of texts asked for lately are kept, under
/// a hash of the text: exemplars are computed once, and no caller's words stay in memory.
#[derive(Debug)]
pub struct PooledEmbedder {
    pool: Arc<Pool>,
    shelf: Arc<Shelf<MiniLm>>,
    cache: Arc<Mutex<Cache>>,
}

type Key = [u8; 32];

#[derive(Debug, Default)]
struct Cache {
    vectors: HashMap<Key, (u64, Vec<f32>)>,
    clock: u64,
}

impl Cache {
    fn find(&mut self, key: &Key) -> Option<Vec<f32>> {
        self.clock += 1;
        let (used, vector) = self.vectors.get_mut(key)?;
        *used = self.clock;
        Some(vector.clone())
    }

    /// Keeps a vector; when full, the quarter that was used longest ago goes.
    fn keep(&mut self, key: Key, vector: Vec<f32>) {
        self.clock += 1;
        if self.vectors.len() >= KEPT {
            let mut ages: Vec<u64> = self.vectors.values().map(|(used, _)| *used).collect();
            ages.sort_unstable();
            let oldest_kept = ages.get(KEPT / 4).copied().unwrap_or(0);
            self.vectors.retain(|_, (used, _)| *used >= oldest_kept);
        }
        self.vectors.insert(key, (self.clock, vector));
    }
}

impl PooledEmbedder {
    /// Runs the model on `pool`, which has as many threads as `copies`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, copies: Vec<MiniLm>) -> Self {
        Self { pool, shelf: Arc::new(Shelf::new(copies)), cache: Arc::default() }
    }
}

impl Embedder for PooledEmbedder {
    fn embed(&self, texts: Vec<String>) -> Result<Embeddings, ProviderError> {
        let (answer, receiver) = oneshot::channel();
        let keys: Vec<Key> = texts.iter().map(|text| Sha256::digest(text.as_bytes()).into()).collect();
        let known: Vec<Option<Vec<f32>>> = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| cache.find(key)).collect()
        };
        let new = known.iter().filter(|vector| vector.is_none()).count();
        if new == 0 {
            let _ = answer.send(Ok(known.into_iter().flatten().collect()));
            return Ok(receiver);
        }
        let lane = if new > MANY { Lane::Background } else { Lane::Urgent };
        let (shelf, cache) = (Arc::clone(&self.shelf), Arc::clone(&self.cache));
        let answer = Arc::new(Mutex::new(Some(answer)));
        let on_failure = Arc::clone(&answer);
        let reply = move |answer: &Mutex<Option<oneshot::Sender<_>>>, result| {
            if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Nobody listens any more: the call is over.
                let _ = answer.send(result);
            }
        };
        self.pool.submit(
            NAME,
            lane,
            None,
            move || {
                let vectors: Result<Vec<Vec<f32>>, ProviderError> = texts
                    .iter()
                    .zip(keys)
                    .zip(known)
                    .map(|((text, key), known)| match known {
                        Some(vector) => Ok(vector),
                        None => {
                            let failed = |reason: String| ProviderError::Failed { provider: NAME.into(), reason };
                            let vector = shelf
                                .with(|model| model.embed(text))
                                .ok_or_else(|| failed("every copy of the model is in use".to_owned()))?
                                .map_err(|e| failed(e.to_string()))?;
                            cache.lock().unwrap_or_else(PoisonError::into_inner).keep(key, vector.clone());
                            Ok(vector)
                        }
                    })
                    .collect();
                reply(&answer, vectors);
            },
            move |error| reply(&on_failure, Err(error)),
        )?;
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_leaves_the_full_cache_first() {
        let mut cache = Cache::default();
        let key = |n: usize| -> Key { Sha256::digest(n.to_le_bytes()).into() };
        for n in 0..KEPT {
            cache.keep(key(n), vec![n as f32]);
        }
        assert_eq!(cache.find(&key(0)), Some(vec![0.0]), "the oldest, but just used");
        cache.keep(key(KEPT), vec![1.0]);
        assert!(cache.vectors.len() < KEPT);
        assert!(cache.find(&key(0)).is_some() && cache.find(&key(KEPT)).is_some());
        assert!(cache.find(&key(1)).is_none());
    }
}
