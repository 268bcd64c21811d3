//! A missing or damaged model is found before it can mishear, and the error says what to do.

mod common;

use common::speech::models;
use offhook::providers::local::fetch::{Step, fetch};
use offhook::providers::local::manifest::PACKAGES;
use offhook::providers::local::models::{ModelError, Models, wanted};
use std::path::Path;

/// A store that shares all files with the real one.
fn copy_of_the_store() -> tempfile::TempDir {
    let real = models();
    let copy = tempfile::tempdir().unwrap();
    for (_, asset) in wanted() {
        let place = copy.path().join(asset.path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let target = std::fs::canonicalize(real.directory().join(asset.path)).unwrap();
        std::os::unix::fs::symlink(target, place).unwrap();
    }
    copy
}

/// Replaces one file of the copy by its own content, changed.
fn change(directory: &Path, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let file = directory.join(path);
    let mut bytes = std::fs::read(&file).unwrap();
    change(&mut bytes);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_flipped_byte_is_named_with_both_checksums_and_the_command_that_mends_it() {
    let copy = copy_of_the_store();
    change(copy.path(), "moonshine/encoder_model.ort", |bytes| bytes[1_000_000] ^= 1);
    let error = Models::open(copy.path()).unwrap_err();
    let ModelError::Damaged { file, expected, actual } = &error else { panic!("{error}") };
    assert!(file.ends_with("moonshine/encoder_model.ort"));
    let text = error.to_string();
    assert!(text.contains(expected) && text.contains(actual.as_str()) && actual.len() == 64, "{text}");
    assert!(text.contains("encoder_model.ort is damaged") && text.contains("offhook models fetch"), "{text}");
}

#[test]
fn a_truncated_file_is_damaged_and_a_deleted_one_is_missing() {
    let copy = copy_of_the_store();
    change(copy.path(), "silero/silero_vad.onnx", |bytes| bytes.truncate(bytes.len() / 2));
    let error = Models::open(copy.path()).unwrap_err();
    assert!(matches!(error, ModelError::Damaged { .. }), "{error}");

    std::fs::remove_file(copy.path().join("silero/silero_vad.onnx")).unwrap();
    let error = Models::open(copy.path()).unwrap_err();
    assert!(matches!(error, ModelError::Missing { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("silero/silero_vad.onnx is missing") && text.contains("offhook models fetch"), "{text}");
}

#[test]
fn a_whole_store_is_not_downloaded_again() {
    let copy = copy_of_the_store();
    let mut steps = Vec::new();
    fetch(copy.path(), None, |step| steps.push(step)).unwrap();
    let whole: Vec<Step> = PACKAGES.iter().map(|p| Step::Whole { package: p.name }).collect();
    assert_eq!(steps, whole);
}
