//! The model store: where the files of the offline engines lie and whether they are whole.

use super::manifest::{Asset, PACKAGES, Package};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The command that mends a missing or damaged model.
pub const MEND: &str = "offhook models fetch";

/// A model cannot be used. The installation's fault, never a caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is not there.
    #[error("model file {} is missing; `{MEND}` fetches it (in a source tree: `make models`)", file.display())]
    Missing {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// The file is not the one that was published.
    #[error(
        "model file {} is damaged: sha256 is {actual}, expected {expected}; \
         `{MEND}` replaces it (in a source tree: `make models`)", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The checksum it must have, in hexadecimal.
        expected: &'static str,
        /// The checksum it has.
        actual: String,
    },
    /// The system does not let us read or write the file.
    #[error("model file {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is there, but the runtime or our reader does not accept it.
    #[error("model file {} cannot be used: {reason}; if it is damaged, `{MEND}` replaces it", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A package could not be fetched.
    #[error("{package} cannot be fetched: {reason}")]
    Fetch {
        /// Name and version.
        package: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// The engines' threads could not be started.
    #[error("the inference pool cannot start: {reason}")]
    Pool {
        /// What the system said.
        reason: String,
    },
}

/// The engines that can be left out; intents and voice activity are always there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    /// Speech to text.
    pub stt: bool,
    /// Text to speech.
    pub tts: bool,
}

impl Parts {
    /// Everything.
    pub const ALL: Self = Self { stt: true, tts: true };

    fn need(self, path: &str) -> bool {
        match path.split('/').next() {
            Some("moonshine") => self.stt,
            Some("hibari") => self.tts,
            _ => true,
        }
    }
}

/// A models directory whose files have been checked.
#[derive(Clone, Debug)]
pub struct Models {
    directory: PathBuf,
}

impl Models {
    /// Opens the store and checks every file's checksum (110 MB, 0.1–0.3 s): a damaged weight would not
    /// crash, it would mishear.
    ///
    /// # Errors
    /// [`ModelError`] for the first file that is missing, damaged or unreadable; its text names the file and
    /// the command that mends it.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        Self::open_parts(directory, Parts::ALL)
    }

    /// The same for the files of some engines alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_parts(directory: &Path, parts: Parts) -> Result<Self, ModelError> {
        for (_, asset) in wanted().filter(|(_, asset)| parts.need(asset.path)) {
            check(directory, asset)?;
        }
        Ok(Self { directory: directory.to_path_buf() })
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
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

    /// The folder of the text-to-speech model.
    #[must_use]
    pub fn hibari(&self) -> PathBuf {
        self.directory.join("hibari")
    }

    /// The voice activity model.
    #[must_use]
    pub fn silero(&self) -> PathBuf {
        self.directory.join("silero").join("silero_vad.onnx")
    }

    /// The folder of the embedding model.
    #[must_use]
    pub fn minilm(&self) -> PathBuf {
        self.directory.join("minilm")
    }
}

/// Every file that this machine needs, with its package.
pub fn wanted() -> impl Iterator<Item = (&'static Package, &'static Asset)> {
    PACKAGES.iter().flat_map(|package| package.assets_for(std::env::consts::ARCH).map(move |asset| (package, asset)))
}

/// Checks one file of a store.
///
/// # Errors
/// [`ModelError::Missing`], [`ModelError::Damaged`] or [`ModelError::Unreadable`].
pub fn check(directory: &Path, asset: &Asset) -> Result<(), ModelError> {
    let file = directory.join(asset.path);
    let actual = match File::open(&file).and_then(|opened| sha256(opened, u64::MAX)) {
        Ok((actual, _)) => actual,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(ModelError::Missing { file }),
        Err(e) => return Err(ModelError::Unreadable { file, reason: e.to_string() }),
    };
    if actual == asset.sha256 { Ok(()) } else { Err(ModelError::Damaged { file, expected: asset.sha256, actual }) }
}

/// SHA-256 of what `source` holds, in lower-case hexadecimal, and its length; reads `limit` bytes at most.
///
/// # Errors
/// The source's.
pub fn sha256(source: impl Read, limit: u64) -> std::io::Result<(String, u64)> {
    let mut source = source.take(limit);
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        let read = source.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(block.get(..read).unwrap_or_default());
        length += read as u64;
    }
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok((text, length))
}

/// What of the surroundings decides where the models lie.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$OFFHOOK_MODELS`.
    pub offhook_models: Option<OsString>,
    /// Whether `models/` exists in the working directory.
    pub models_here: bool,
    /// `$XDG_DATA_HOME`.
    pub xdg_data_home: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            offhook_models: std::env::var_os("OFFHOOK_MODELS"),
            models_here: Path::new("models").is_dir(),
            xdg_data_home: std::env::var_os("XDG_DATA_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// The models directory: `chosen` (`--models`), else `$OFFHOOK_MODELS`, else `models/` in the working
    /// directory if it exists, else `offhook/models` in the user's data directory. Empty variables count as unset.
    #[must_use]
    pub fn models_directory(&self, chosen: Option<&Path>) -> PathBuf {
        let set = |value: &Option<OsString>| value.clone().filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(chosen) = chosen.map(Path::to_path_buf).or_else(|| set(&self.offhook_models)) {
            return chosen;
        }
        if self.models_here {
            return PathBuf::from("models");
        }
        // The XDG base directory rules: a relative path in the variable is invalid and ignored.
        let data = set(&self.xdg_data_home).filter(|p| p.is_absolute());
        match data.or_else(|| set(&self.home).map(|home| home.join(".local").join("share"))) {
            Some(data) => data.join("offhook").join("models"),
            None => PathBuf::from("models"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_directory_is_the_first_that_is_set() {
        let mut around = Surroundings {
            offhook_models: Some("/env".into()),
            models_here: true,
            xdg_data_home: Some("/data".into()),
            home: Some("/home/anna".into()),
        };
        assert_eq!(around.models_directory(Some(Path::new("/flag"))), Path::new("/flag"));
        assert_eq!(around.models_directory(None), Path::new("/env"));
        around.offhook_models = Some("".into());
        assert_eq!(around.models_directory(None), Path::new("models"));
        around.models_here = false;
        assert_eq!(around.models_directory(None), Path::new("/data/offhook/models"));
        around.xdg_data_home = Some("relative".into());
        assert_eq!(around.models_directory(None), Path::new("/home/anna/.local/share/offhook/models"));
        around.home = None;
        assert_eq!(around.models_directory(None), Path::new("models"));
    }

    #[test]
    fn sha256_of_abc_is_the_one_of_fips_180() {
        let (hex, length) = sha256(&b"abc"[..], 10).unwrap();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(length, 3);
    }

    #[test]
    fn every_asset_has_a_full_checksum_and_a_safe_path() {
        for package in PACKAGES {
            assert!(!package.wheels.is_empty() && !package.licence.is_empty(), "{}", package.name);
            assert!(package.wheels.iter().all(|w| w.sha256.len() == 64 && w.bytes > 0), "{}", package.name);
            for asset in package.assets {
                assert_eq!(asset.sha256.len(), 64, "{}", asset.path);
                let path = Path::new(asset.path);
                assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))), "{}", asset.path);
            }
        }
    }
}
