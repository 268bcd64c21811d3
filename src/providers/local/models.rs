//! The model store: which files the offline engines need, where they lie and whether they are whole.

use std::path::{Path, PathBuf};

/// The command that mends every error of this file.
pub const MEND: &str = "offhook models fetch";

/// A model cannot be used. Always the installation's fault, never a caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is not there.
    #[error("model file {} is missing; `{MEND}` fetches it", file.display())]
    Missing {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// The file is there, but the runtime or our reader does not accept it.
    #[error("model file {} cannot be used: {reason}; if it is damaged, `{MEND}` replaces it", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        reason: String,
    },
}

/// A directory with the models of the offline engines.
#[derive(Clone, Debug)]
pub struct Models {
    directory: PathBuf,
}

impl Models {
    /// Opens the store in `directory`.
    ///
    /// # Errors
    /// [`ModelError::Missing`] for the first file that is not there.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        Ok(Self { directory: directory.to_path_buf() })
    }

    /// The ONNX Runtime library.
    #[must_use]
    pub fn onnxruntime(&self) -> PathBuf {
        self.directory.join("libonnxruntime.so")
    }

    /// The folder of the speech-to-text model.
    #[must_use]
    pub fn moonshine(&self) -> PathBuf {
        self.directory.join("moonshine")
    }
}
