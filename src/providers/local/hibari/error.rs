//! Why the voice could not be loaded or could not speak.

use std::path::PathBuf;

/// A failure of the offline voice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceError {
    /// A model file is absent or unreadable: the installation is incomplete.
    #[error("cannot read {path}: {source}; `make models` fetches the model files")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model file is there but is not what this version expects.
    #[error("{path} is not what this version expects: {reason}; `make models` fetches the right files")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// The network failed while it ran; another text may work.
    #[error("the voice network failed: {0}")]
    Inference(String),
}
