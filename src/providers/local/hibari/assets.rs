//! The files of the voice, read from the models directory.

use super::VoiceError;
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// No file of the voice is larger; a longer one is not ours, and a decompression bomb ends here.
const LONGEST_FILE: u64 = 64 << 20;

/// The bytes of `path`.
pub fn bytes(path: &Path) -> Result<Vec<u8>, VoiceError> {
    let mut out = Vec::new();
    open(path)?
        .take(LONGEST_FILE)
        .read_to_end(&mut out)
        .map_err(|source| VoiceError::Missing { path: path.to_owned(), source })?;
    Ok(out)
}

/// The value in a JSON file; `.gz` files are decompressed on the way.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, VoiceError> {
    let file = BufReader::new(open(path)?);
    let mut text = String::new();
    let read = if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(file).take(LONGEST_FILE).read_to_string(&mut text)
    } else {
        file.take(LONGEST_FILE).read_to_string(&mut text)
    };
    read.map_err(|source| VoiceError::Missing { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| VoiceError::Unusable { path: path.to_owned(), reason: error.to_string() })
}

fn open(path: &Path) -> Result<File, VoiceError> {
    File::open(path).map_err(|source| VoiceError::Missing { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_names_itself_and_the_command_that_fetches_it() {
        let error = bytes(Path::new("/nowhere/hibari.onnx")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/hibari.onnx") && error.contains("make models"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_json_is_reported_as_unusable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.json");
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(json::<Vec<u8>>(&path), Err(VoiceError::Unusable { .. })));
    }
}
