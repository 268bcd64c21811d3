//! Sentence embeddings: texts that mean the same lie close together.

use super::ProviderError;
use tokio::sync::oneshot;

/// The vectors of one request, or why there are none.
pub type Embeddings = oneshot::Receiver<Result<Vec<Vec<f32>>, ProviderError>>;

/// An embedding engine.
pub trait Embedder: Send + Sync {
    /// One unit-length vector per text, in order. Never blocks; the answer arrives on the receiver.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when the pool is full.
    fn embed(&self, texts: Vec<String>) -> Result<Embeddings, ProviderError>;
}

/// The cosine of the angle between two unit vectors: 1.0 for the same meaning, about 0 for unrelated.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
