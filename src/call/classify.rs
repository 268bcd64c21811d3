//! Which label does a sentence mean? The likeness of its embedding to the nearest example of each label.

use crate::agent::Label;
use crate::providers::{Embedder, embed::cosine};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Examples kept; an agent has hundreds, so this serves many agents.
const EXEMPLARS_KEPT: usize = 20_000;

/// Embeddings of example phrases, made once and shared by all calls.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<HashMap<String, Arc<[f32]>>>);

/// Labels with their likeness, best first. Empty when the engine gives no answer.
pub(super) async fn classify(
    embedder: &dyn Embedder,
    exemplars: &Exemplars,
    text: String,
    labels: Vec<Label>,
) -> Vec<(String, f32)> {
    let mut wanted: Vec<String> = {
        let known = exemplars.0.lock().unwrap_or_else(PoisonError::into_inner);
        labels.iter().flat_map(|l| &l.examples).filter(|e| !known.contains_key(*e)).cloned().collect()
    };
    wanted.push(text);
    let Ok(answer) = embedder.embed(wanted.clone()) else { return Vec::new() };
    let Ok(Ok(mut vectors)) = answer.await else { return Vec::new() };
    let (Some(sentence), Some(_)) = (vectors.pop(), wanted.pop()) else { return Vec::new() };
    let mut known = exemplars.0.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() + wanted.len() > EXEMPLARS_KEPT {
        known.clear();
    }
    known.extend(wanted.into_iter().zip(vectors.into_iter().map(Arc::from)));
    let mut ranking: Vec<(String, f32)> = labels
        .into_iter()
        .filter_map(|label| {
            let likeness =
                label.examples.iter().filter_map(|e| known.get(e)).map(|e| cosine(&sentence, e)).reduce(f32::max);
            Some((label.name, likeness?))
        })
        .collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranking
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ProviderError;
    use crate::providers::embed::Embeddings;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    /// One dimension per letter; counts the texts it was given.
    #[derive(Default)]
    struct Letters(AtomicUsize);

    impl Embedder for Letters {
        fn embed(&self, texts: Vec<String>) -> Result<Embeddings, ProviderError> {
            self.0.fetch_add(texts.len(), Ordering::Relaxed);
            let vectors = texts
                .iter()
                .map(|t| {
                    let counts: Vec<f32> = ('a'..='z').map(|l| t.matches(l).count() as f32).collect();
                    let norm = counts.iter().map(|c| c * c).sum::<f32>().sqrt().max(1e-6);
                    counts.into_iter().map(|c| c / norm).collect()
                })
                .collect();
            let (sender, receiver) = oneshot::channel();
            let _ = sender.send(Ok(vectors));
            Ok(receiver)
        }
    }

    fn labels() -> Vec<Label> {
        let label =
            |name: &str, example: &str| Label { name: name.into(), examples: vec![example.into(), "zzz".into()] };
        vec![label("hours", "opening hours"), label("price", "how much")]
    }

    #[tokio::test]
    async fn the_nearest_example_ranks_its_label_first_and_examples_are_embedded_once() {
        let (engine, exemplars) = (Letters::default(), Exemplars::default());
        let ranking = classify(&engine, &exemplars, "opening hours please".into(), labels()).await;
        assert_eq!(ranking[0].0, "hours");
        let first = engine.0.swap(0, Ordering::Relaxed);
        classify(&engine, &exemplars, "how much is it".into(), labels()).await;
        assert!(first > 1 && engine.0.load(Ordering::Relaxed) == 1, "only the sentence itself");
    }

    #[tokio::test]
    async fn a_busy_engine_gives_an_empty_ranking() {
        struct Busy;
        impl Embedder for Busy {
            fn embed(&self, _: Vec<String>) -> Result<Embeddings, ProviderError> {
                Err(ProviderError::Busy { provider: "intents".into(), waiting: 9 })
            }
        }
        assert!(classify(&Busy, &Exemplars::default(), "hello".into(), labels()).await.is_empty());
    }
}
